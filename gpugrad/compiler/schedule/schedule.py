"""Which steps of a program share a loop, and in which order they run. Imports items, steps.

Items run in order. A step joins the first loop of its shape behind all that it reads; it may join a
loop that computes an operand if it reads the same element of it, or the sum, maximum or minimum of
the row that the element is in. Views are no steps: who reads one reads the array that it is a view
of.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from gpugrad.backend.namespace import waits
from gpugrad.backend.windows import Windows
from gpugrad.compiler.programs.liveness import steps_needed
from gpugrad.compiler.programs.program import Program, Step, Value, is_elementwise
from gpugrad.compiler.schedule.elementwise import has_c_type, in_c
from gpugrad.compiler.schedule.indexed import index_of, places_of
from gpugrad.compiler.schedule.items import (
    Array,
    Assembly,
    Call,
    Convolution,
    Indexed,
    Item,
    Loop,
    Numbers,
    Product,
    Ref,
    Running,
    Turns,
    has_rows,
    refs_in,
    rows_of,
)
from gpugrad.compiler.schedule.layout import (
    Layout,
    broadcast,
    contiguous,
    in_order,
    is_even,
    is_for_blas,
    matrices_of,
    order_of,
    parts_of,
    permuted,
    reduced,
    result_order,
    squeezed,
    strides_in,
    transposed,
    view_of,
    with_axes,
)
from gpugrad.compiler.schedule.steps import (
    CONVOLUTIONS,
    COPIES,
    PRODUCTS,
    REDUCTIONS,
    RUNNING,
    axes_of,
    computes,
    is_view,
    weight_of,
)

__all__ = ["Schedule"]

SMALL = 8192  # elements up to which a loop takes steps that have nothing to do with its own
MOST = 4000  # the weight of a loop
SOON = 6  # steps after which a step has to do with what they meet


class Schedule:
    """The items of a program, and which arrays are its inputs, constants and outputs.

    An array is C-contiguous, ``on_host`` in the order of axes that NumPy would give it; a `Ref`
    turns it around. ``reuse`` has, by output, the input whose memory the caller will have it
    written to. ``body_of`` gives the schedule of a loop's body, or None if C cannot compute it.
    """

    def __init__(
        self, program: Program, reuse: dict[int, int] | None = None, on_host: bool = False,
        body_of: Callable[[Any], Any] | None = None,
    ) -> None:  # fmt: skip
        self._body_of = body_of
        self._on_host = on_host
        self._known = program.constants
        places = reuse or {}
        self.items: list[Item] = []
        self.arrays: list[Array] = []
        self._refs: dict[Value, Ref] = {}
        self._loops: dict[tuple[int, ...], list[int]] = {}  # indices of loops by their shape
        self._taken: set[int] = set()  # the numbers of the arrays that are outputs
        for value in (*program.inputs, *program.constants):
            array = self._new(value)
            self._refs[value] = Ref(array, array.seen)
        steps = steps_needed(program)
        self._readers: dict[Value, list[Step]] = {}
        for step in steps:
            for value in step.values():
                self._readers.setdefault(value, []).append(step)
        for step in steps:
            self._add(step)
        self.inputs = [self._refs[value].array for value in program.inputs]
        # C reads them without strides. Those of a GPU stay there.
        self.constants = {
            (one := self._refs[v].array): a
            if waits(a)
            else np.asarray(a.transpose(order_of(one.seen)), order="C")
            for v, a in program.constants.items()
        }
        self.outputs = [
            self._output(value, self.inputs[places[i]].seen if i in places else None)
            for i, value in enumerate(program.outputs)
        ]

    # Operands.

    def _new(self, value: Value, made: int = -1) -> Array:
        array = Array(value, len(self.arrays), made)
        self.arrays.append(array)
        return array

    def _lowered(self, operand: Any) -> Any:
        if isinstance(operand, Value):
            return self._refs[operand]
        if isinstance(operand, tuple | list):
            return type(operand)(map(self._lowered, operand))
        return operand

    def _store(self, operand: Any, index: int) -> None:
        """Note that the item ``index`` reads the arrays of an operand in memory."""
        for ref in refs_in(operand):
            ref.array.stored = True
            ref.array.read = max(ref.array.read, index)

    def _output(self, value: Value, wanted: Layout | None) -> Array:
        """The array of an output, if need be in a layout: one that is computed for it alone."""
        array, layout = self._refs[value]
        called = array.made >= 0 and isinstance(self.items[array.made], Call)
        if wanted is None:
            wanted = layout if self._on_host else contiguous(value.shape)
        order = order_of(wanted)
        if (
            array.made < 0
            or array.number in self._taken
            or order is None
            or order != order_of(layout)
            or array.size != prod(value.shape)
            or (called and array.seen != layout)
        ):
            array, layout = self._copied(self._refs[value], value, order)
        self._taken.add(array.number)
        array.seen = layout
        array.stored = True
        return array

    def _copied(self, ref: Ref, like: Value, order: Sequence[int] | None = None) -> Ref:
        """A copy of what is read, of the dtype of ``like``, in C's order or another one."""
        array, layout = ref
        result = Value(layout.shape, like.dtype, like.weak)
        dtype = np.dtype(like.dtype)
        operands = (ref,) if array.dtype == dtype else (ref, dtype)
        step = Step("copy" if array.dtype == dtype else "astype", operands, {}, (result,))
        if 0 not in layout.shape and has_c_type(array.dtype) and has_c_type(dtype):
            self._place(step, operands, layout.shape, None, order or range(len(layout.shape)))
        else:
            self._call(step, operands)
        return self._refs[result]

    # Steps.

    def _add(self, step: Step) -> None:
        if computes(step) and self._in_c(step):
            return
        if step.name == "scan" and self._loop(step):
            return
        self._call(step, tuple(map(self._lowered, step.operands)))

    def _call(self, step: Step, operands: tuple[Any, ...]) -> None:
        """Add a step that NumPy computes."""
        arrays = tuple(None if one is None else self._made(one, True) for one in step.results)
        self._store(operands, len(self.items))
        self.items.append(Call(step, operands, arrays))

    def _in_c(self, step: Step) -> bool:
        """Add a step that C computes; False if it is none after all."""
        result = step.results[0]
        first = step.operands[0]
        if isinstance(first, Value):
            if step.name in COPIES:
                self._refs[result] = self._refs[first]
                return True
            if is_view(step, first):
                return self._view(step)
        if step.name in ("prod", *RUNNING) and self._body_of is None:
            return False  # of CUDA, where they are the library's
        if step.name in REDUCTIONS:
            self._reduce(step)
        elif step.name in RUNNING:
            self._run_along(step)
        elif step.name in PRODUCTS:
            self._multiply(step)
        elif step.name in CONVOLUTIONS:
            self._convolve(step)
        elif in_c(step.name, step.operands, step.parameters, result):
            operands = tuple(map(self._lowered, step.operands))
            self._place(step, operands, result.shape, None)
        elif (index := index_of(step)) is not None:
            return self._index(step, index)
        else:
            self._assemble(step)
        return True

    def _loop(self, step: Step) -> bool:
        """Add all turns of a loop; False if C does not compute them."""
        loop = step.parameters["loop"]
        values = step.operands
        body = self._body_of(loop) if self._body_of else None
        if body is None or not all(isinstance(value, Value) for value in values):
            return False
        carries, first = loop.carries, loop.carries + loop.slices
        if any(
            value.weak or np.dtype(value.dtype) != array.dtype or array.shape != own
            for i, (value, array) in enumerate(zip(values, body.inputs))
            for own in (value.shape[1:] if carries <= i < first else value.shape,)
        ):
            return False
        refs = []
        for i, (value, array) in enumerate(zip(values, body.inputs)):
            ref, wanted = self._refs[value], array.seen if i >= first else contiguous(value.shape)
            if squeezed(ref.layout) != squeezed(wanted):
                ref = self._copied(ref, value, order_of(wanted))
            refs.append(ref)
        shapes = [
            array.shape if i < carries else (loop.length, *array.shape)
            for i, array in enumerate(body.outputs)
        ]
        arrays = tuple(
            self._made(Value(shape, array.dtype) if one is None else one)
            for one, array, shape in zip(step.results, body.outputs, shapes)
        )
        self._store(refs, len(self.items))
        self.items.append(Turns(loop, body, tuple(refs), arrays))
        return True

    def _index(self, step: Step, index: Sequence[Any]) -> bool:
        """Add a step whose index has arrays: given ones, so that they are looked at beforehand."""
        result, first = step.results[0], step.operands[0]
        gathers = step.name == "get_item"
        refs = {part: self._refs[part] for part in index if isinstance(part, Value)}
        if not self._on_host or any(ref.array.made >= 0 for ref in refs.values()):
            return False
        x = self._refs[first].layout if gathers else contiguous(result.shape)
        places = places_of(x, index, {part: ref.layout for part, ref in refs.items()})
        if places is None or (gathers and places.layout.shape != result.shape):
            return False
        if not all(map(self._are_in_range, places.numbers)):
            return False
        base = source = self._refs[first]
        if step.name == "set_item":
            source = self._source(step.operands[2], places.layout, result)
            if base.array.dtype != np.dtype(result.dtype) or base.layout != contiguous(first.shape):
                base = self._copied(base, result)
        if not gathers and isinstance(source, Ref):
            shape = places.layout.shape
            source = Ref(source.array, broadcast(source.layout, shape))
        array = self._made(result, by_numpy=gathers)
        numbers = tuple(
            Numbers(Ref(refs[part].array, layout), size, stride)
            for part, layout, size, stride in places.numbers
        )
        item = Indexed(
            array, source, places.layout, numbers, array.seen if gathers else None,
            base if step.name == "set_item" else None,
        )  # fmt: skip
        self.items.append(item)
        self._store(item.reads(), array.made)
        return True

    def _are_in_range(self, numbers: Any) -> bool:
        """Whether numbers of an index are so, if they are known."""
        value, _, size, _ = numbers
        known = self._known.get(value)
        return known is None or bool((known >= -size).all() and (known < size).all())

    def _view(self, step: Step) -> bool:
        """Add a step that makes a view of a contiguous array, if need be of a copy."""
        first = step.operands[0]
        ref = self._refs[first]
        layout = view_of(ref.layout, step)
        if layout is None:
            if not has_c_type(ref.array.dtype):
                return False
            ref = self._copied(ref, first)
            layout = view_of(ref.layout, step)
        if layout is None:
            return False
        self._refs[step.results[0]] = Ref(ref.array, layout)
        return True

    def _reduce(self, step: Step) -> None:
        x, result = step.operands[0], step.results[0]
        axes = axes_of(step)
        if axes:
            self._place(step, (self._refs[x],), x.shape, axes)
            return
        array, layout = self._refs[x]  # of one element
        step = Step("astype", (x, result.dtype), {}, (result,))
        given = Ref(array, with_axes(layout, result.shape))
        self._place(step, (given, result.dtype), result.shape, None)

    def _multiply(self, step: Step) -> None:
        a, b = step.operands
        result = step.results[0]
        left, right = self._refs[a], self._refs[b]
        if step.name == "transposed_matmul":
            left = Ref(left.array, transposed(left.layout))
        layouts = matrices_of(left.layout, right.layout)
        refs = [
            Ref(one.array, layout)
            if is_for_blas(layout) and (self._on_host or is_even(layout))
            else self._copied(Ref(one.array, layout), a)
            for one, layout in zip((left, right), layouts)
        ]
        array = self._made(result)
        array.step = step
        self.items.append(Product(array, *refs))
        self._store(refs, array.made)

    def _convolve(self, step: Step) -> None:
        """Add a product of what is under windows."""
        x, other = (self._refs[value] for value in step.values())
        parameters, of_weight = dict(step.parameters), step.name.endswith("gradient")
        groups = parameters.pop("groups")
        if not of_weight and not (other.layout.is_contiguous and other.array.size):
            other = self._copied(other, step.operands[1])
        array = self._made(step.results[0])
        array.step = step
        self.items.append(Convolution(array, x, other, Windows(**parameters), groups, of_weight))
        self._store((x, other), array.made)

    def _run_along(self, step: Step) -> None:
        """Add running sums or products."""
        x, array = self._refs[step.operands[0]], self._made(step.results[0])
        axis = (step.parameters.get("axis") or 0) % len(x.layout.shape)
        self.items.append(Running(array, x, axis, "+" if step.name == "cumsum" else "*"))
        self._store(x, array.made)

    def _assemble(self, step: Step) -> None:
        """Add an array that is another one with other elements somewhere, or several in a row."""
        result = step.results[0]
        parts = parts_of(step) or []
        sources = [(layout, self._source(operand, layout, result)) for layout, operand in parts]
        array = self._made(result)
        self.items.append(Assembly(array, tuple(sources)))
        self._store([source for _, source in sources], array.made)

    def _source(self, operand: Any, layout: Layout, result: Value) -> Any:
        """What is copied to a layout: a number, or an array of the dtype of the result."""
        if not isinstance(operand, Value):
            return operand
        ref = self._refs[operand]
        if ref.array.dtype != np.dtype(result.dtype):
            ref = self._copied(ref, result)
        return ref

    def _made(self, value: Value, by_numpy: bool = False) -> Array:
        """The array that the next item computes in memory, in C's order unless NumPy does so."""
        array = self._new(value, len(self.items))
        array.stored = True
        if not by_numpy:
            array.seen = contiguous(value.shape)
        self._refs[value] = Ref(array, array.seen)
        return array

    # Loops.

    def _place(
        self, step: Step, operands: tuple[Any, ...], shape: tuple[int, ...], axes: Any,
        order: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        """Add an elementwise step over a shape, or a reduction over axes of it, to a loop.

        The loop goes over the axes in an order, else in that of the operands.
        """
        if order is None:
            layouts = [ref.layout for ref in refs_in(operands)]
            order = result_order(layouts, shape) if self._on_host else range(len(shape))
        operands = tuple(
            Ref(one.array, permuted(broadcast(one.layout, shape), order))
            if isinstance(one, Ref)
            else one
            for one in operands
        )
        array = self._new(step.results[0])
        array.step, array.operands, array.stored = step, operands, False
        layout = in_order(shape, order)
        if axes is not None:
            array.axes, layout = reduced(shape, axes, order)
        self._refs[step.results[0]] = Ref(array, with_axes(layout, step.results[0].shape))
        shape = tuple(shape[axis] for axis in order)
        array.shape = shape if axes is None else array.shape
        refs = [*refs_in(operands)]
        inner = tuple(size for size in shape if size != 1)
        start = max((ref.array.made for ref in refs), default=-1)
        index = self._joined(array, refs, shape, inner, start)
        if index is None:
            index = self._following(array, refs, inner, start + 1)
        loop: Any = self.items[index]
        array.made = index
        loop.arrays.append(array)
        loop.weight += weight_of(step)
        for ref in refs:
            loop.reads.add(ref.array.number)
            if ref.array.made != index:
                self._store(ref, index)

    def _joined(
        self, array: Array, refs: Sequence[Ref], shape: tuple[int, ...],
        inner: tuple[int, ...], start: int,
    ) -> int | None:  # fmt: skip
        """The index of the loop that computes operands, if the step can be part of it."""
        loop = self.items[start] if start >= 0 else None
        if not isinstance(loop, Loop) or loop.weight >= MOST:
            return None
        own = [ref for ref in refs if ref.array.made == start]
        return start if self._fits(loop, array, own, shape, inner) else None

    def _fits(
        self, loop: Loop, array: Array, own: Sequence[Ref], shape: tuple[int, ...],
        inner: tuple[int, ...],
    ) -> bool:  # fmt: skip
        """Whether a step can be part of a loop that computes its operands ``own``."""
        whole = loop.shape == inner
        rows, part, of_rows = loop.rows, 0, False
        for ref in own:
            source = ref.array
            strides = strides_in(ref.layout, shape)
            count = rows_of(source, loop)
            if count is None:  # an element for each of the loop
                if not whole or ref.layout.offset or strides != contiguous(inner).strides:
                    return False
                part = max(part, source.part)
                continue
            if rows not in (None, count) or not has_rows(loop, count) or ref.layout.offset:
                return False
            rows = count
            outer = contiguous(loop.shape[:count]).strides
            if whole and strides == outer + (0,) * (len(inner) - count):
                part = max(part, source.part + 1)
            elif inner == loop.shape[:count] and strides == outer and array.axes is None:
                of_rows = True
                part = max(part, source.part)
            else:
                return False
        if not whole and not of_rows:
            return False
        loop.rows, array.part, array.row = rows, part, of_rows
        return True

    def _following(
        self, array: Array, refs: Sequence[Ref], inner: tuple[int, ...], start: int
    ) -> int:
        """The index of the first loop from ``start`` on that a step can join, or of a new one."""
        indices = self._loops.setdefault(inner, [])
        is_small, reads = prod(inner) <= SMALL, {ref.array.number for ref in refs}
        soon = set() if is_small else self._met_soon(array.step.results[0], inner)
        for index in indices[bisect_left(indices, start) :]:
            loop: Any = self.items[index]
            near = is_small or index in soon or not reads.isdisjoint(loop.reads)
            if loop.weight < MOST and near:
                return index
        self.items.append(Loop(inner))
        indices.append(len(self.items) - 1)
        return len(self.items) - 1

    def _met_soon(self, value: Value, inner: tuple[int, ...]) -> set[int]:
        """The items whose results elementwise steps soon bring together with a value.

        As in a step of Adam, where the moments meet again.
        """
        met, reached = set(), {value}
        for _ in range(SOON):
            steps = [
                step
                for one in reached
                for step in self._readers.get(one, ())
                if is_elementwise(step.name)
                and tuple(size for size in step.results[0].shape if size != 1) == inner
            ]
            others = {one for step in steps for one in step.values() if one in self._refs}
            met |= {self._refs[one].array.made for one in others - reached}
            reached = {step.results[0] for step in steps}
        return met
