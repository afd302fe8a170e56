"""The C text of a loop of a schedule. Imports axes, passes, elementwise and codegen.

A loop becomes one function. Steps are written in passes over the innermost axis, or over a row
where some read a sum of their row; what one pass computes and a later one reads is kept in a buffer
of the length of a row, or of a block of the innermost axis. Loops with many steps run in blocks, so
that these buffers stay in the cache and no pass needs more registers than there are. Sums are added
up in blocks, whose sums are added up in float64.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from gpugrad.compiler.c.axes import Axes
from gpugrad.compiler.c.functions import (
    MANY,
    MEMORY,
    SIZES,
    Function,
    Parts,
    Scratch,
    function_text,
    part_text,
    parts_of,
    shared_text,
)
from gpugrad.compiler.c.passes import pass_call
from gpugrad.compiler.c.reductions import BLOCK, Reduction
from gpugrad.compiler.schedule.elementwise import HostWriter, memory_type, row_step
from gpugrad.compiler.schedule.items import Array, Loop, Ref
from gpugrad.compiler.schedule.layout import contiguous
from gpugrad.compiler.schedule.steps import weight_of

__all__ = ["loop_function"]

# The weight of a pass: one function and some arithmetic. With more, a processor that looks some
# hundred instructions ahead waits for one element instead of computing several at once. Where there
# are few elements, more passes are only more to compile.
PASS, LONG_PASS, FEW = 28, 120, 128
ONE_ELEMENT = 1000  # the weight of a pass over one element, whose values stay in registers
AGAIN = 4  # steps by which a repetition is known
LONG = 1024  # elements that are added up without a block


def _declared(scratch: Scratch) -> str:
    return f"{scratch.type} *restrict {scratch.name}"


def loop_function(
    name: str, loop: Loop, names: Callable[[Array], str], index: int, passes: dict[str, str]
) -> Function:
    """The function that runs item ``index``, a loop; ``names`` gives the name of an array.

    ``passes`` has the functions of passes, to which those that it calls are added.
    """
    return _Writer(loop, names, index, passes).function(name)


class _Writer(Axes):
    def __init__(
        self, loop: Loop, names: Callable[[Array], str], index: int, functions: dict[str, str]
    ) -> None:
        super().__init__(loop, index)
        self.functions = functions
        self.names = names
        self.scratch: dict[str, Scratch] = {}
        self.common: set[str] = set()  # scratch memory that is not of one thread
        # By name: the array, whether it is written, and where it begins.
        self.used: dict[str, tuple[Array, bool, int]] = {}
        self.filled: list[str] = []  # what comes before the loops
        self.passes = self._passes()
        self.pass_of = {a.number: i for i, one in enumerate(self.passes) for a in one}
        self.last_pass = {  # that reads an array
            ref.array.number: i
            for i, one in enumerate(self.passes)
            for a in one
            for ref in a.operands
            if isinstance(ref, Ref)
        }
        long = any(
            r.depth < len(self.sizes) and r.wide == "double" for r in self.reductions.values()
        )
        innermost = self.sizes[-1]
        self.blocks = loop.rows is None and (len(self.passes) > 1 or (long and innermost > LONG))
        self.length = min(BLOCK, innermost) if self.blocks else prod(self.sizes[self.rows :])
        self.parts = self._parts()
        self.ends: list[str] = []  # what comes after all parts

    def _parts(self) -> Parts | None:
        """The parts of the outermost axis that threads share."""
        size, total = self.sizes[0], prod(self.sizes)
        weight = sum(weight_of(array.step) for array in self.loop.arrays)
        steps = total * (weight + MEMORY * len(self.accesses))
        least = BLOCK if len(self.sizes) == 1 else 1
        for r in self.reductions.values():
            if r.in_memory and r.strides[0]:
                return None  # its accumulators are those of several parts
            if r.in_memory:  # a part costs as much as some rows
                least = max(least, 16 * r.elements * size // total)
        parts = parts_of(size, steps, least)
        for r in self.reductions.values():
            if parts and not r.strides[0]:
                r.share(parts.number)
        return parts

    def _passes(self) -> list[list[Array]]:
        """The steps of the loop by pass; those of rows come at the end of the pass before.

        A pass ends as well where the same steps as at its beginning come again, as in an unrolled
        loop: then many are one function.
        """
        passes: list[list[Array]] = []
        size = prod(self.loop.shape)
        most = PASS if size > FEW else LONG_PASS if size > 1 else ONE_ELEMENT
        for part in range(max((a.part for a in self.loop.arrays), default=0) + 1):
            steps = [a for a in self.loop.arrays if a.part == part and not a.row]
            names = [array.step.name for array in steps]
            weight = start = 0
            for i, array in enumerate(steps):
                weight += weight_of(array.step)
                again = names[i : i + AGAIN] == names[start : start + AGAIN]
                if i > start and (weight > most or (weight > most // 2 and again)):
                    passes.append(steps[start:i])
                    weight, start = weight_of(array.step), i
            passes.append(
                [*steps[start:], *(a for a in self.loop.arrays if a.part == part and a.row)]
            )
        return passes

    # The function.

    def function(self, name: str) -> Function:
        body = self._indented(self._nest(0), 1)
        before, after = self._in_memory()
        names = list(self.used)
        declared = [
            f"{'' if written else 'const '}{memory_type(array.dtype)} *restrict {one}"
            for one, (array, written, _) in ((one, self.used[one]) for one in names)
        ]
        arrays, _, offsets = zip(*self.used.values())
        scratch = list(self.scratch.values())
        if self.parts is None:
            declared += map(_declared, scratch)
            text = function_text(name, declared, [*before, *body, *after])
            many = len(declared) > MANY
            return Function(name, text, arrays, tuple(scratch), offsets=offsets, packed=many)
        common = [one for one in scratch if one.name in self.common]
        own = [one for one in scratch if one.name not in self.common]
        declared += map(_declared, common)
        part = part_text(name, declared, own, [*before, *body])
        text, size = shared_text(name, declared, own, [*self.ends, *after], self.parts)
        work = Scratch("work", "char", size)
        many = len(declared) + len(own) > MANY
        taken = (*common, work)
        return Function(name, f"{part}{text}", arrays, taken, ("share",), offsets, many)

    def _indented(self, lines: list[str], depth: int) -> list[str]:
        return [f"{'    ' * depth}{line}" for line in lines]

    def _in_memory(self) -> tuple[list[str], list[str]]:
        """What comes before and after the loops for sums that are added up in memory."""
        before, after = [], []
        for number, r in self.reductions.items():
            if not r.in_memory:
                continue
            target = self._target(r)
            head = "    for (index_t i = {}; i < {}; i++) {}"
            before.append(head.format(0, r.elements, f"{target}[i] = {r.first};"))
            size, total = r.array.size, r.elements * r.parts
            if total > size:
                after.append(f"    for (index_t k = {size}; k < {total}; k += {size})")
                more = r.into(f"d{number}[i]", f"d{number}[k + i]")
                after.append(f"    {head.format(0, size, more)}")
            if r.careful:
                result = f"{self._name(r.array, True)}[i] = ({r.type})d{number}[i];"
                after.append(head.format(0, size, result))
        return before + self.filled, after

    def _target(self, r: Reduction) -> str:
        if not r.careful:
            return self._name(r.array, True)
        name = f"d{r.array.number}"
        self._buffer_of(name, r.wide, r.elements * r.parts, r.parts > 1)
        return f"(d{r.array.number} + part * {r.elements})" if r.parts > 1 else name

    def _buffer_of(self, name: str, kind: str, elements: int, is_common: bool = False) -> None:
        """Have scratch memory: of each thread, or one that is common to all."""
        self.scratch[name] = Scratch(name, kind, elements * SIZES[kind])
        if is_common:
            self.common.add(name)

    def _periods(self, array: Array, stride: int, offset: int) -> str:
        """The name of an array that has several periods of an array side by side."""
        name = f"p{array.number}_{stride}_{offset}".replace("-", "m")
        if name not in self.scratch:
            size = self.sizes[-1]
            self._buffer_of(name, memory_type(array.dtype), size)
            element = f"{self._name(array, False, offset)}[i % {self.period} * {stride}]"
            self.filled.append(f"    for (index_t i = 0; i < {size}; i++) {name}[i] = {element};")
        return name

    def _name(self, array: Array, written: bool = False, offset: int = 0) -> str:
        name = f"{self.names(array)}_{offset}" if offset else self.names(array)
        written = written or (name in self.used and self.used[name][1])
        self.used[name] = array, written, offset
        return name

    def _element(self, strides: Sequence[int], offset: int = 0) -> str:
        terms = [
            f"i{axis}" if stride == 1 else f"i{axis} * {stride}"
            for axis, stride in enumerate(strides)
            if stride
        ]
        return " + ".join([*terms, *([str(offset)] if offset or not terms else [])])

    # Loops.

    def _nest(self, depth: int) -> list[str]:
        """The loops from a depth on."""
        lines = self._accumulators(depth)
        if depth == len(self.sizes) - 1 and self.blocks:
            inner = self._blocks()
        elif depth == self.rows and not self.blocks:
            inner = [line for i in range(len(self.passes)) for line in self._pass(i)]
        else:
            inner = self._for(depth, self._nest(depth + 1))
        return [*lines, *inner, *self._results(depth)]

    def _for(self, depth: int, body: list[str], pragma: str = "") -> list[str]:
        start, stop = self._bounds(depth)
        head = f"for (index_t i{depth} = {start}; i{depth} < {stop}; i{depth}++) {{"
        return [*([pragma] if pragma else []), head, *self._indented(body, 1), "}"]

    def _bounds(self, depth: int) -> tuple[str, str]:
        """Where a loop begins and stops."""
        return ("0", str(self.sizes[depth])) if depth or self.parts is None else ("from", "stop")

    def _blocks(self) -> list[str]:
        """The innermost axis in blocks, each of which all passes go over."""
        start, stop = self._bounds(len(self.sizes) - 1)
        inner = [line for i in range(len(self.passes)) for line in self._pass(i)]
        return [
            f"for (index_t b = {start}; b < {stop}; b += {self.length}) {{",
            f"    const index_t end = b + {self.length} < {stop} ? b + {self.length} : {stop};",
            *self._indented(inner, 1),
            "}",
        ]

    def _accumulators(self, depth: int, within: Sequence[int] | None = None) -> list[str]:
        """The accumulators of reductions whose loops all begin here."""
        return [
            line
            for number, r in self.reductions.items()
            if r.depth == depth < len(self.sizes) and self._belongs(number, depth, within)
            for line in (
                f"{r.wide} w{number} = {r.first};",
                *([f"int m{number} = 0;"] if r.nan else []),
            )
        ]

    def _results(self, depth: int, within: Sequence[int] | None = None) -> list[str]:
        """What becomes of these accumulators in the end."""
        lines = []
        for number, r in self.reductions.items():
            if r.depth != depth or depth == len(self.sizes):
                continue
            if not self._belongs(number, depth, within):
                continue
            if r.nan:
                lines.append(f"if (m{number}) w{number} = NAN;")
            if r.parts > 1 and not r.in_memory:
                lines.append(f"q{number}[part] = w{number};")
                self._buffer_of(f"q{number}", r.wide, r.parts, True)
                more = r.into(f"q{number}[0]", f"q{number}[i]")
                result = f"{self._name(r.array, True)}[0] = ({r.type})q{number}[0];"
                self.ends += [
                    f"    for (index_t i = 1; i < {r.parts}; i++) {more}",
                    f"    {result}",
                ]
                continue
            if r.in_memory:
                place = f"{self._target(r)}[{self._element(r.strides)}]"
                lines.append(r.into(place, f"w{number}"))
                continue
            lines.append(f"const {r.type} r{number} = ({r.type})w{number};")
            if r.array.stored:
                lines.append(
                    f"{self._name(r.array, True)}[{self._element(r.strides)}] = r{number};"
                )
        return lines

    def _belongs(self, number: int, depth: int, within: Sequence[int] | None) -> bool:
        """Whether a reduction begins in the loops of a pass, or around all passes."""
        inside = depth >= self.rows and not self.blocks
        return number in within if within is not None else not inside

    def _pass(self, number: int) -> list[str]:
        """One pass over a row, a block, or all axes."""
        arrays = self.passes[number]
        steps = [array for array in arrays if not array.row]
        own = [array.number for array in steps if array.axes is not None]
        lines = self._inner(self.rows if not self.blocks else len(self.sizes) - 1, steps, own)
        if self.blocks and not own:
            types = {one: memory_type(array.dtype) for one, (array, *_) in self.used.items()}
            types |= {one: scratch.type for one, scratch in self.scratch.items()}
            one_block = self.length == self.sizes[-1] and self.parts is None
            size = self.length if one_block else None
            lines = [pass_call(lines, types, f"i{len(self.sizes) - 1}", self.functions, size)]
        rows = [array for array in arrays if array.row]
        return [*lines, *(line for array in rows for line in self._row_step(array))]

    def _inner(self, depth: int, steps: Sequence[Array], own: Sequence[int]) -> list[str]:
        last = depth == len(self.sizes) - 1
        lines = [] if self.blocks else self._accumulators(depth, own)
        if not last:
            lines += self._for(depth, self._inner(depth + 1, steps, own))
        else:
            lines += self._innermost(depth, steps, own)
        return lines if self.blocks else [*lines, *self._results(depth, own)]

    def _innermost(self, depth: int, steps: Sequence[Array], own: Sequence[int]) -> list[str]:
        summed = [self.reductions[n] for n in own if self.reductions[n].depth < len(self.sizes)]
        lines, clauses = [], ""
        for r in summed:
            number = r.array.number
            lines.append(f"{r.type} s{number} = {r.first};")
            if r.nan:
                lines.append(f"int n{number} = 0;")
            clauses += r.clause(number)
        pragma = f"#pragma omp simd{clauses}"
        body = self._indented(self._statements(steps), 1)
        if self.blocks:
            lines += [pragma, f"for (index_t i{depth} = b; i{depth} < end; i{depth}++) {{"]
            lines += [*body, "}"]
        else:
            lines += self._for(depth, self._statements(steps), pragma)
        for r in summed:
            number = r.array.number
            if r.nan:
                sign = ">" if r.kind == "max" else "<"
                lines.append(f"w{number} = s{number} {sign} w{number} ? s{number} : w{number};")
                lines.append(f"m{number} |= n{number};")
            else:
                lines.append(r.into(f"w{number}", f"s{number}"))
        return lines

    # Statements.

    def _statements(self, steps: Sequence[Array]) -> list[str]:
        """The statements of one pass for one element."""
        writer = HostWriter()
        known: dict[int, Any] = {}
        ends = []
        for array in steps:
            given = [self._operand(writer, known, array, i) for i in range(len(array.operands))]
            if array.axes is not None:
                ends.append(self._accumulate(self.reductions[array.number], given[0]))
                continue
            value = writer.step(array.step.name, given, array.step.parameters)
            known[array.number] = value
            code = writer.converted(value, array.dtype, array.weak)
            if array.stored:
                strides = self.accesses[array.number, -1]
                ends.append(f"{self._name(array, True)}[{self._element(strides)}] = {code};")
            elif self.last_pass.get(array.number, 0) > self.pass_of[array.number]:
                ends.append(f"{self._buffer(array)} = {code};")
        return [*writer.lines, *ends]

    def _buffer(self, array: Array) -> str:
        """The element of the buffer that an array has between passes."""
        name = f"c{array.number}"
        self._buffer_of(name, memory_type(array.dtype), self.length)
        if self.blocks:
            return f"{name}[i{len(self.sizes) - 1} - b]"
        strides = (0,) * self.rows + contiguous(self.sizes[self.rows :]).strides
        return f"{name}[{self._element(strides)}]"

    def _operand(self, writer: HostWriter, known: dict[int, Any], array: Array, i: int) -> Any:
        """An operand of a step: a number, or the value of an element."""
        ref = array.operands[i]
        if not isinstance(ref, Ref):
            return ref
        source = ref.array
        if source.made != self.index:
            strides = self.accesses[array.number, i]
            if self.is_periodic(strides):
                name = self._periods(source, strides[-1], ref.layout.offset)
                return writer.load(f"{name}[i{len(strides) - 1}]", source.dtype, source.weak)
            code = f"{self._name(source, False, ref.layout.offset)}[{self._element(strides)}]"
        elif source.number in known:
            return known[source.number]
        elif source.row or source.axes is not None:
            code = f"r{source.number}"
        elif source.stored:
            code = f"{self._name(source)}[{self._element(self.accesses[source.number, -1])}]"
        else:
            code = self._buffer(source)
        return writer.load(code, source.dtype, source.weak)

    def _accumulate(self, r: Reduction, value: Any) -> str:
        number = r.array.number
        code = value.code
        if r.depth == len(self.sizes):
            return r.into(f"{self._target(r)}[{self._element(r.strides)}]", f"({r.type}){code}")
        if r.nan:
            sign = ">" if r.kind == "max" else "<"
            taken = f"s{number} = {code} {sign} s{number} ? {code} : s{number};"
            return f"{taken} n{number} |= {code} != {code};"
        return r.into(f"s{number}", f"({r.type}){code}")

    def _row_step(self, array: Array) -> list[str]:
        """A step that is done once for each row."""
        lines = row_step(array, lambda writer, i: self._operand(writer, {}, array, i))
        if array.stored:
            place = self._element(self.accesses[array.number, -1])
            lines.append(f"{self._name(array, True)}[{place}] = r{array.number};")
        return lines
