"""The source of a function that runs a program with NumPy in memory planned beforehand.

Results of ufuncs, of products and of sums are written into an arena, over an operand that is read
no more where they fit. Views of that memory are made once. Imports arena, liveness, source.
"""

import math
import re
from collections.abc import Collection
from functools import partial
from operator import is_
from typing import Any

import numpy as np

from gpugrad.backend.precision import DOUBLE, SINGLE
from gpugrad.backend.sums import ENOUGH
from gpugrad.compiler.programs.arena import allocated, dense, packed, result_layout, strided
from gpugrad.compiler.programs.liveness import bytes_of, size_of, viewed
from gpugrad.compiler.programs.program import Program, Step, Value, function_of, values_in
from gpugrad.compiler.programs.rewriting import as_filled
from gpugrad.compiler.replay.extremes import beside_row, meets_number
from gpugrad.compiler.replay.products import is_quicker_turned
from gpugrad.compiler.replay.source import CHANGES, Writer, gives_several
from gpugrad.compiler.replay.tail import BLOCK, Places, block_shape, is_ufunc
from gpugrad.compiler.replay.text import CallText, make_array, make_number, make_view

__all__ = ["HostWriter"]

OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**"}
REDUCTIONS = {"sum": np.add, "max": np.maximum, "min": np.minimum}
FILLED = {"zeros": 0, "ones": 1, "zeros_like": 0, "ones_like": 1}
_NAMES = re.compile(r"\b(?:x|v|out)\d+\b")


class HostWriter(Writer):
    """Writes the function for NumPy."""

    has_tail = True

    def __init__(
        self, program: Program, xp: Any, places: Places, steady: Collection[int] = (),
        stay: Collection[Step] = (), limit: float = math.inf,
    ) -> None:  # fmt: skip
        super().__init__(program, xp, places, stay)
        self._limit = limit  # bytes: larger results of the body are not planned
        self.unplanned = 0  # bytes of the results of functions that take no memory
        self._steady = steady  # the numbers of inputs that are mostly the same array
        # Blocks of the arena: bytes, and the steps from which to which they are in use.
        self._lives: list[tuple[int, int, int]] = []
        self._blocks: dict[Value, int] = {}  # by root, the number of its block
        self._now = 0  # the number of the step
        # Arrays that stand for values that are yet to be read; inputs are taken to be dense.
        self._layouts: dict[Value, np.ndarray] = {
            value: np.asarray(array) for value, array in self.program.constants.items()
        }
        self._in_scope = set(self.program.constants)
        self._small: set[str] = set()  # names of scratch memory, of one block
        self._reshaped: set[Value] = set()  # views that have all that is in their memory
        self._turned: Value | None = None  # a product that was written column by column
        self._makers: list[Any] = []  # what makes the arrays of a scope, in order
        self._numbers: dict[Any, str] = {}
        # Calls of the tail, in groups: those in one may go in blocks, so that memory that is read
        # no more is free at the end of a group.
        self._groups: list[list[CallText]] = []
        self._ends = self._ends_of_groups()  # by number of a step
        self.refused: list[Step] = []  # steps of the tail that are no calls
        self._given = {
            self.root[value]
            for value, place in zip(self.program.outputs, self.places)
            if place is None
        }

    def write(self) -> str:
        """The source."""
        source = super().write()
        self._layouts.clear()
        self._offsets, self.size = packed(self._lives)
        return source

    def scope(self) -> dict[str, Any]:
        """What the names stand for, over memory of its own."""
        names, memory = dict(self.globals), allocated(self.size)
        for make in self._makers:
            make(names, memory, self._offsets)
        return names

    def is_local(self, value: Value) -> bool:
        """Whether the name of a result is a local variable, not one of the scope."""
        return value not in self._in_scope and super().is_local(value)

    def step(self, index: int, step: Step) -> None:
        """Write a step, and give back the memory that it is the last to read."""
        self._now = index
        if not self._planned(index, step):
            if index >= self.body:
                self.refused.append(step)
            super().step(index, step)
            if viewed(step) is None:
                self.unplanned += sum(bytes_of(v) for v in step.results if v is not None)
        for value in (*step.values(), *step.results):
            root = None if value is None else self.root[value]
            if root in self._blocks and self.last[root] == index:
                block = self._blocks.pop(root)
                size, first, _ = self._lives[block]
                self._lives[block] = size, first, self._ends.get(index, index)
            if value is not None and self.last_read[value] == index:
                self._layouts.pop(value, None)

    def _ends_of_groups(self) -> dict[int, int]:
        """For each step of the tail the number of the last one that goes in blocks with it."""
        ends: dict[int, int] = {}
        shape = None
        for index in range(len(self.program.steps) - 1, self.body - 1, -1):
            own = block_shape(self.program.steps[index])
            ends[index] = ends[index + 1] if own is not None and own == shape else index
            shape = own
        return ends

    def _call(self, index: int, call: CallText) -> None:
        """Write a call of a function in C: as a line, or for the tail."""
        if index < self.body:
            self.lines.append(call.line())
        elif self._groups and self._ends[self._groups[-1][0].at] == self._ends[index]:
            self._groups[-1].append(call)
        else:
            self._groups.append([call])

    def expression(self, step: Step) -> str:
        """The call of a step; of scalars, the operator."""
        if all(not value.ndim for value in step.values()) and not step.parameters:
            if step.name in OPERATORS:
                a, b = map(self.text, step.operands)
                return f"{a} {OPERATORS[step.name]} {b}"
            if step.name == "negative":
                return f"-{self.text(step.operands[0])}"
        return super().expression(step)

    def change(self, index: int, step: Step) -> None:
        """Write a change in place, in the arena where the array is there."""
        array, *others = step.operands
        (value,) = step.results
        if not self._may_stay(value):
            super().change(index, step)
            return
        layout = self._layout(array)
        root = self.root[array]
        # A view of what is not contiguous may have been a copy: that is no memory of the arena.
        dies = array in self._in_scope and root in self._blocks and self.last[root] == index
        if dies and layout.flags.carray and layout.size == size_of(root):
            self._take_over(value, array)
        elif array in self.fresh and self.last[array] == index:
            super().change(index, step)
            return
        else:
            self._place(value, dense(value.shape, value.dtype))
            self.lines.append(f"{self.names[value]}[...] = {self.text(array)}")
        self.lines.append(CHANGES[step.name].format(self.names[value], *map(self.text, others)))

    def _planned(self, index: int, step: Step) -> bool:
        """Write a step whose result is in the arena, or goes to an out; False for others."""
        value = step.results[0]
        if value is None or gives_several(step):
            return False
        if self._view(step):
            return True
        if step.name in CHANGES or value.weak:
            return False
        if step.name in ("matmul", "transposed_matmul"):
            return self._product(index, step)
        if step.name == "sum_of_rows":
            return self._sum_of_rows(index, step)
        if step.name in REDUCTIONS:
            return self._reduction(index, step)
        if not value.ndim:
            return False
        if is_ufunc(step):
            return self._ufunc(index, step)
        return self._may_stay(value) and self._filled(index, step)

    def _may_stay(self, value: Value) -> bool:
        """Whether the memory of a result is planned: nobody gets it."""
        is_large = self._now < self.body and bytes_of(value) > self._limit
        return self.root[value] not in self._given and not value.weak and not is_large

    # The forms of steps.

    def _view(self, step: Step) -> bool:
        """A view of memory of the scope is made with it."""
        base = viewed(step)
        (value,) = step.results
        if (
            base is not step.operands[0]
            or not base.ndim
            or any(True for _ in values_in(step.operands[1:]))
        ):
            return False
        layout = self._layout(base)
        make = partial(function_of(layout, step.name), **step.parameters)
        view = make(layout, *step.operands[1:])
        if not isinstance(view, np.ndarray) or (
            view.size and not np.may_share_memory(view, layout)
        ):
            return False
        self._layouts[value] = view
        if step.name == "reshape" and (base in self._reshaped or base is self.root[base]):
            self._reshaped.add(value)
        if base not in self._in_scope or not self._may_stay(value):
            return False
        name = self._named(value, "v")
        self._in_scope.add(value)
        self._makers.append(partial(make_view, name, make, self.names[base], step.operands[1:]))
        return True

    def _ufunc(self, index: int, step: Step) -> bool:
        (value,) = step.results
        if step.name == "power" and not all(_has_axes(one) for one in step.operands):
            return False  # NumPy's ** does other things with common exponents
        others = {one.dtype for one in step.values() if not one.weak}
        dtype = others.pop() if len(others) == 1 else None
        operands = [self._operand(operand, dtype) for operand in step.operands]
        name, function = f"u_{step.name}", getattr(np, step.name)
        if index < self.body and meets_number(step) and operands[1] in self._numbers.values():
            name, function = f"row_{step.name}", partial(beside_row, function)
        self.globals[name] = function
        arrays = [self._layout(one) for one in dict.fromkeys(step.values()) if one.ndim]
        turned = any(one is self._turned for one in step.values())
        layout = result_layout([] if turned else arrays, value.shape, value.dtype)
        if not self._may_stay(value):
            if turned:
                operands.append("order='C'")
            elif (spare := self._spare_variable(index, step, layout)) is not None:
                operands.append(f"out={self.names[spare]}")
            self.lines.append(f"{self._named(value, 'v')} = {name}({', '.join(operands)})")
            self.fresh.add(value)
            return True
        if value in self.direct:
            self.names[value] = f"out{self.direct[value]}"
        else:
            spare = self._spare(index, step, layout)
            if spare is None:
                self._place(value, layout, self._is_scratch(index, value))
            else:
                self._take_over(value, spare)
        self._call(index, CallText(index, name, operands, self.names[value], block_shape(step)))
        return True

    def tail_calls(self) -> list[str]:
        """The lists of calls of the tail: in blocks, where steps of large arrays follow.

        Those that have nothing but memory of the scope, outs and steady inputs stay what they are
        as long as these do.
        """
        lists: list[str] = []
        kept: list[list[str]] = []  # runs of such calls
        key: dict[str, None] = {}
        in_scope = {self.names[value] for value in self._in_scope}
        inputs = {self.names[self.program.inputs[place]] for place in self._steady}
        for calls in self._groups:
            texts = self._texts(calls)
            used = dict.fromkeys(_NAMES.findall(" ".join(texts)))
            outer = [name for name in used if name not in in_scope]
            if not all(name in inputs or name.startswith("out") for name in outer):
                lists += texts
                continue
            if not lists or lists[-1] != f"*kept{len(kept)}":
                kept.append([])
                lists.append(f"*kept{len(kept)}")
            kept[-1] += texts
            key |= dict.fromkeys(outer)
        if kept:
            names = [f"kept{number}" for number in range(1, len(kept) + 1)]
            self.globals |= {"all": all, "is_": is_, "map": map, "key": ()}
            self.lines += [
                f"global key, {', '.join(names)}",
                f"now = ({''.join(f'{name}, ' for name in key)})",
                "if not key or not all(map(is_, key, now)):",
                *(f"    {name} = [{', '.join(part)}]" for name, part in zip(names, kept)),
                "    key = now",
            ]
        return lists

    def _texts(self, calls: list[CallText]) -> list[str]:
        """A group of calls as elements of a list."""
        if calls[0].shape is None:
            return [*map(str, calls)]
        steps = ", ".join(f"({c.function}, ({c.given}, ), {c.out})" for c in calls)
        scratch = dict.fromkeys(c.out for c in calls if c.out in self._small)
        return [f"*in_blocks([{steps}], [{', '.join(scratch)}])"]

    def _is_scratch(self, index: int, value: Value) -> bool:
        """Whether a result is read by calls alone that go in blocks together with its own."""
        end = self._ends.get(index, index)
        is_large = index >= self.body and block_shape(self.program.steps[index]) is not None
        return is_large and self.last[value] <= end

    def _spare(self, index: int, step: Step, layout: np.ndarray) -> Value | None:
        """An operand in whose planned memory the result fits, and which is not read any more."""
        for value in step.values():
            root = self.root[value]
            if root not in self._blocks or value not in self._in_scope:
                continue
            if self.names[root] in self._small and not self._is_scratch(index, step.results[0]):
                continue
            if self._is_spare(index, step, value, layout) and self._layout(value).flags.writeable:
                return value
        return None

    def _spare_variable(self, index: int, step: Step, layout: np.ndarray) -> Value | None:
        """As `_spare`, of memory that is not planned and that nobody gets."""
        if self.root[step.results[0]] in self._given:
            return None
        for value in step.values():
            root = self.root[value]
            whole = value is root or value in self._reshaped
            if whole and root in self.fresh and self._is_spare(index, step, value, layout):
                return value
        return None

    def _is_spare(self, index: int, step: Step, value: Value, layout: np.ndarray) -> bool:
        """Whether an operand has the layout of the result, and its memory is read last here."""
        root, own = self.root[value], self._layout(value)
        return (
            self.last[root] == index
            and (own.shape, own.strides, own.dtype) == (layout.shape, layout.strides, layout.dtype)
            and all(one is value or self.root[one] is not root for one in step.values())
        )

    def _product(self, index: int, step: Step) -> bool:
        a, b = step.operands
        (value,) = step.results
        if not all(isinstance(one, Value) and one.ndim == 2 for one in (a, b)) or step.parameters:
            return False
        if not (a.dtype is b.dtype is value.dtype) or value.dtype not in (SINGLE, DOUBLE):
            return False
        if step.name == "matmul" and self._goes_turned(index, step):
            self._turned = value
            self._place(value, dense(value.shape[::-1], value.dtype).T)
            arguments = [f"{self.text(a)}.T", f"{self.names[value]}.T"]
            self._call(index, CallText(index, f"{self.text(b)}.T.dot", arguments))
            return True
        turned = ".T" if step.name == "transposed_matmul" else ""
        # The method: numpy.dot looks for another library's first, in Python.
        self._into(index, value, f"{self.text(a)}{turned}.dot", [self.text(b)], [])
        return True

    def _goes_turned(self, index: int, step: Step) -> bool:
        """Whether a product is to be computed as the transpose of that of the transposes.

        The step behind it, which alone reads it, writes row by row again.
        """
        a, b = step.operands
        (value,) = step.results
        behind = self.program.steps[index + 1 : index + 2]
        if value in self.direct or not self._may_stay(value) or self.last[value] != index + 1:
            return False
        if not behind or not is_ufunc(behind[0]) or behind[0].results[0].shape != value.shape:
            return False
        return is_quicker_turned(self._layout(a), self._layout(b))

    def _sum_of_rows(self, index: int, step: Step) -> bool:
        """As `gpugrad.backend.sums.sum_of_rows` does of few dense rows."""
        (x,) = step.operands
        (value,) = step.results
        if x.dtype not in (SINGLE, DOUBLE) or not 0 < x.shape[0] <= ENOUGH:
            return False
        if x not in self._in_scope or not self._layout(x).flags.c_contiguous:
            return False
        name = f"ones_{x.dtype.char}{x.shape[0]}"
        self.globals[name] = np.ones(x.shape[0], x.dtype)
        self._into(index, value, f"{name}.dot", [self.text(x)], [])
        return True

    def _reduction(self, index: int, step: Step) -> bool:
        """A sum or an extreme by the ufunc, where the function of the namespace does the same."""
        x, *rest = step.operands
        (value,) = step.results
        given = dict(zip(("axis", "keepdims"), rest)) | step.parameters
        axis, keepdims = given.pop("axis", None), given.pop("keepdims", False)
        if given or not isinstance(x, Value) or x.dtype is not value.dtype or value.ndim > 1:
            return False
        if REDUCTIONS[step.name] is np.add and value.dtype is not DOUBLE:
            few = size_of(x) <= ENOUGH or (type(axis) is int and x.shape[axis] <= ENOUGH)
            dense_rows = axis is None and x in self._in_scope and self._layout(x).flags.c_contiguous
            if value.dtype is not SINGLE or not (few or dense_rows):
                return False
        name = f"reduce_{step.name}"
        self.globals[name] = REDUCTIONS[step.name].reduce
        self._into(index, value, name, [self.text(x), self.text(axis), "None"], [repr(keepdims)])
        return True

    def _into(
        self, index: int, value: Value, function: str, before: list[str], after: list[str]
    ) -> None:
        """Write a call that takes the array for its result, or None, among its arguments."""
        name = None
        if value in self.direct:
            name = self.names[value] = f"out{self.direct[value]}"
        elif value.ndim and self._may_stay(value):
            self._place(value, dense(value.shape, value.dtype))
            name = self.names[value]
        arguments = ", ".join([*before, str(name), *after])
        if name is None:
            self.lines.append(f"{self._named(value, 'v')} = {function}({arguments})")
            self.fresh.add(value)
        else:
            self._call(index, CallText(index, function, [arguments]))

    def _filled(self, index: int, step: Step) -> bool:
        """Casts, copies, and arrays of one number."""
        (value,) = step.results
        first = step.operands[0]
        if step.name in ("astype", "copy", "own"):
            if value.dtype.kind != "c" and first.dtype.kind == "c":
                return False
            right = self.text(first)
        elif step.name in FILLED:
            right = repr(FILLED[step.name])
        elif step.name in ("full", "full_like") and type(step.operands[1]) in (int, float):
            number = as_filled(step.operands[1], value.dtype)
            if number is None:
                return False
            right = self.text(number.item())
        else:
            return False
        if value in self.direct:
            self.names[value] = f"out{self.direct[value]}"
        else:
            self._place(value, dense(value.shape, value.dtype))
        name = self.names[value]
        self._call(index, CallText(index, "setitem", [name, "...", right]))
        return True

    # Operands and memory.

    def _operand(self, operand: Any, dtype: Any) -> str:
        """An operand of a ufunc. Numbers are arrays without axes, which cost half of what they do.

        ``dtype`` is that of the arrays beside it, None where they differ.
        """
        if isinstance(operand, Value):
            constant = self.program.constants.get(operand)
            if isinstance(constant, np.generic):
                return self._number(operand, np.asarray(constant))
            if operand.weak and dtype in (SINGLE, DOUBLE) and operand.dtype.kind == "f":
                return self._weak(operand, dtype)
            return self.text(operand)
        if dtype in (SINGLE, DOUBLE) and type(operand) in (int, float):
            with np.errstate(all="ignore"):
                return self._number((type(operand), repr(operand)), np.array(operand, dtype))
        return self.text(operand)

    def _number(self, key: Any, array: np.ndarray) -> str:
        """The name of an array without axes."""
        name = self._numbers.get((key, array.dtype))
        if name is None:
            name = self._numbers[key, array.dtype] = f"n{len(self._numbers)}"
            self.globals[name] = array
        return name

    def _weak(self, value: Value, dtype: Any) -> str:
        """The name of an array for a number that is given, into which it is written once."""
        name = self._numbers.get((value, dtype))
        if name is None:
            name = self._numbers[value, dtype] = f"n{len(self._numbers)}"
            self._makers.append(partial(make_number, name, dtype))
            self.lines.append(f"{name}[...] = {self.names[value]}")
        return name

    def _layout(self, value: Value) -> np.ndarray:
        """An array that stands for a value; a dense one if that is seen at run time only."""
        if value not in self._layouts:
            self._layouts[value] = strided(value.shape, value.dtype, value.strides)
        return self._layouts[value]

    def _place(self, value: Value, layout: np.ndarray, is_scratch: bool = False) -> None:
        """Give a result memory in the arena, with a layout; of scratch memory one block."""
        shape, strides, size = layout.shape, layout.strides, layout.nbytes
        if is_scratch:
            size = BLOCK * layout.itemsize
            shape, strides = (BLOCK,), (layout.itemsize,)
        block = self._blocks[value] = len(self._lives)
        self._lives.append((size, self._now, len(self.program.steps)))
        self._layouts[value] = layout
        self._in_scope.add(value)
        name = self._named(value, "v")
        if is_scratch:
            self._small.add(name)
        self._makers.append(partial(make_array, name, shape, value.dtype, block, strides))

    def _take_over(self, value: Value, operand: Value) -> None:
        """Give a result the memory of an operand."""
        self._blocks[value] = self._blocks.pop(self.root[operand])
        self._layouts[value] = self._layouts[operand]
        self._in_scope.add(value)
        self.names[value] = self.names[operand]


def _has_axes(operand: Any) -> bool:
    return isinstance(operand, Value) and operand.ndim > 0
