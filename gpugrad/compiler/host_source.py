"""The source of a function that runs a program with NumPy in memory planned beforehand.

Results of ufuncs, of products and of sums are written into an arena, over an operand that is read
no more where they fit. Views of that memory are made once. Imports arena, liveness, source.
"""

from functools import partial
from typing import Any

import numpy as np

from gpugrad.backend.precision import DOUBLE, SINGLE
from gpugrad.backend.sums import ENOUGH
from gpugrad.compiler.arena import Arena, dense, result_layout
from gpugrad.compiler.liveness import size_of, viewed
from gpugrad.compiler.program import Program, Step, Value, function_of, values_in
from gpugrad.compiler.source import CHANGES, Writer, gives_several
from gpugrad.compiler.tail import BLOCK, Places, is_ufunc

__all__ = ["HostWriter"]

OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**"}
REDUCTIONS = {"sum": np.add, "max": np.maximum, "min": np.minimum}
FILLED = {"zeros": 0, "ones": 1, "zeros_like": 0, "ones_like": 1}


class HostWriter(Writer):
    """Writes the function for NumPy."""

    has_tail = True

    def __init__(self, program: Program, xp: Any, places: Places) -> None:
        super().__init__(program, xp, places)
        self._arena = Arena()
        self._blocks: dict[Value, tuple[int, int]] = {}  # by root: an offset and a size
        # Arrays that stand for values that are yet to be read; inputs are taken to be dense.
        self._layouts: dict[Value, np.ndarray] = {
            value: np.asarray(array) for value, array in self.program.constants.items()
        }
        self._in_scope = set(self.program.constants)
        self._makers: list[Any] = []  # what makes the arrays of a scope, in order
        self._numbers: dict[Any, str] = {}
        # Steps of the tail, with their numbers, functions and operands, in groups: blocks of
        # memory that are read no more are free at the end of a group, as it may go in blocks.
        self._groups: list[list[tuple[int, Step, str, list[str]]]] = [[]]
        self._alive: set[Value] = set()
        self._dead: list[tuple[int, int]] = []
        self._given = {
            self.root[value]
            for value, place in zip(self.program.outputs, self.places)
            if place is None
        }

    def scope(self) -> dict[str, Any]:
        """What the names stand for, over memory of its own."""
        names, memory = dict(self.globals), self._arena.allocate()
        for make in self._makers:
            make(names, memory)
        return names

    def is_local(self, value: Value) -> bool:
        """Whether the name of a result is a local variable, not one of the scope."""
        return value not in self._in_scope and super().is_local(value)

    def step(self, index: int, step: Step) -> None:
        """Write a step, and give back the memory that it is the last to read."""
        if not self._planned(index, step):
            super().step(index, step)
        for value in (*step.values(), *step.results):
            root = None if value is None else self.root[value]
            if root in self._blocks and self.last[root] == index:
                self._alive.discard(root)
                self._dead.append(self._blocks.pop(root))
            if value is not None and self.last_read[value] == index:
                self._layouts.pop(value, None)
        if index < self.body or not self._alive:
            self._end_group()

    def _end_group(self) -> None:
        for block in self._dead:
            self._arena.free(*block)
        self._dead.clear()
        self._alive.clear()
        if self._groups[-1]:
            self._groups.append([])

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
        dies = root in self._blocks and self.last[root] == index
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
            return self._product(step)
        if step.name in REDUCTIONS:
            return self._reduction(step)
        if not value.ndim:
            return False
        if is_ufunc(step):
            return self._ufunc(index, step)
        return self._may_stay(value) and self._filled(step)

    def _may_stay(self, value: Value) -> bool:
        """Whether nobody gets the memory of a result."""
        return self.root[value] not in self._given and not value.weak

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
        if base not in self._in_scope or not self._may_stay(value):
            return False
        name = self._named(value, "v")
        self._in_scope.add(value)
        self._makers.append(partial(_make_view, name, make, self.names[base], step.operands[1:]))
        return True

    def _ufunc(self, index: int, step: Step) -> bool:
        (value,) = step.results
        if step.name == "power" and not all(_has_axes(one) for one in step.operands):
            return False  # NumPy's ** does other things with common exponents
        others = {one.dtype for one in step.values() if not one.weak}
        dtype = others.pop() if len(others) == 1 else None
        operands = [self._operand(operand, dtype) for operand in step.operands]
        name = f"u_{step.name}"
        self.globals[name] = getattr(np, step.name)
        if index >= self.body:
            if self._groups[-1] and _block_shape(self._groups[-1][-1][1]) != _block_shape(step):
                self._end_group()
            if value not in self.direct and self.last[value] < len(self.program.steps):
                self._alive.add(value)
        if not self._may_stay(value):
            self.lines.append(f"{self._named(value, 'v')} = {name}({', '.join(operands)})")
            self.fresh.add(value)
            return True
        if value in self.direct:
            self.names[value] = f"out{self.direct[value]}"
        else:
            arrays = [self._layout(one) for one in dict.fromkeys(step.values()) if one.ndim]
            layout = result_layout(arrays, value.shape, value.dtype)
            spare = self._spare(index, step, layout)
            if spare is None:
                self._place(value, layout)
            else:
                self._take_over(value, spare)
        out = self.names[value]
        if index >= self.body:
            self._groups[-1].append((index, step, name, operands))
            return True
        # NumPy wants the name for these two.
        by_name = "out=" if step.name in ("maximum", "minimum") else ""
        self.lines.append(f"{name}({', '.join(operands)}, {by_name}{out})")
        return True

    def tail_calls(self) -> list[str]:
        """The lists of calls of the tail: in blocks, where steps of large arrays follow."""
        lists = []
        for calls in filter(None, self._groups):
            parts = [
                (name, ", ".join(operands), self.names[step.results[0]])
                for _, step, name, operands in calls
            ]
            if _block_shape(calls[0][1]) is None:
                lists += [f"partial({name}, {given}, out={out})" for name, given, out in parts]
            else:
                steps = ", ".join(f"({name}, ({given}, ), {out})" for name, given, out in parts)
                lists.append(f"*in_blocks([{steps}], [{', '.join(self._scratch(calls))}])")
        return lists

    def _scratch(self, calls: list[Any]) -> list[str]:
        """The arrays that calls write before they read them, and that nothing else reads."""
        end = calls[-1][0]
        first: dict[str, bool] = {}
        for _, step, _, operands in calls:
            (value,) = step.results
            for name in operands:
                first.setdefault(name, False)
            name = self.names[value]
            first.setdefault(name, True)
            if self.last_read[value] > end or value not in self._in_scope:
                first[name] = False
        return [name for name, is_written in first.items() if is_written]

    def _spare(self, index: int, step: Step, layout: np.ndarray) -> Value | None:
        """An operand in whose memory the result fits, and which is not read any more."""
        for value in step.values():
            root = self.root[value]
            if root not in self._blocks or self.last[root] != index or value not in self._in_scope:
                continue
            own = self._layout(value)
            same = own.shape == layout.shape and own.strides == layout.strides
            if not same or own.dtype != layout.dtype or not own.flags.writeable:
                continue
            if all(other is value or self.root[other] is not root for other in step.values()):
                return value
        return None

    def _product(self, step: Step) -> bool:
        a, b = step.operands
        (value,) = step.results
        if not all(isinstance(one, Value) and one.ndim == 2 for one in (a, b)) or step.parameters:
            return False
        if not (a.dtype is b.dtype is value.dtype) or value.dtype not in (SINGLE, DOUBLE):
            return False
        self.globals["dot"] = np.dot
        turned = ".T" if step.name == "transposed_matmul" else ""
        self._into(value, f"dot({self.text(a)}{turned}, {self.text(b)}", "")
        return True

    def _reduction(self, step: Step) -> bool:
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
        self._into(value, f"{name}({self.text(x)}, {self.text(axis)}, None", f", {keepdims!r}")
        return True

    def _into(self, value: Value, call: str, end: str) -> None:
        """Write a call of a function whose next argument is the array for its result, or None."""
        if value.ndim and self._may_stay(value):
            self._place(value, dense(value.shape, value.dtype))
            self.lines.append(f"{call}, {self.names[value]}{end})")
        else:
            self.lines.append(f"{self._named(value, 'v')} = {call}, None{end})")
            self.fresh.add(value)

    def _filled(self, step: Step) -> bool:
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
            right = self.text(step.operands[1])
        else:
            return False
        self._place(value, dense(value.shape, value.dtype))
        self.lines.append(f"{self.names[value]}[...] = {right}")
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
            self._makers.append(partial(_make_number, name, dtype))
            self.lines.append(f"{name}[...] = {self.names[value]}")
        return name

    def _layout(self, value: Value) -> np.ndarray:
        """An array that stands for a value; a dense one if that is seen at run time only."""
        if value not in self._layouts:
            self._layouts[value] = dense(value.shape, value.dtype)
        return self._layouts[value]

    def _place(self, value: Value, layout: np.ndarray) -> None:
        """Give a result memory in the arena, with a layout."""
        size = layout.nbytes
        offset = self._arena.take(size)
        self._blocks[value] = offset, size
        self._layouts[value] = layout
        self._in_scope.add(value)
        name = self._named(value, "v")
        shape, strides = layout.shape, layout.strides
        self._makers.append(partial(_make_array, name, shape, value.dtype, offset, strides))

    def _take_over(self, value: Value, operand: Value) -> None:
        """Give a result the memory of an operand."""
        self._alive.discard(self.root[operand])
        self._blocks[value] = self._blocks.pop(self.root[operand])
        self._layouts[value] = self._layouts[operand]
        self._in_scope.add(value)
        self.names[value] = self.names[operand]


def _block_shape(step: Step) -> Any:
    """The shape of a step's result, if it is large and its operands have it; else None."""
    (value,) = step.results
    whole = all(one.shape in ((), value.shape) for one in step.values())
    return value.shape if whole and size_of(value) >= 2 * BLOCK else None


def _has_axes(operand: Any) -> bool:
    return isinstance(operand, Value) and operand.ndim > 0


def _make_array(
    name: str, shape: Any, dtype: Any, offset: int, strides: Any, names: dict[str, Any], memory: Any
) -> None:
    names[name] = np.ndarray(shape, dtype, memory, offset, strides)


def _make_view(
    name: str, make: Any, base: str, operands: Any, names: dict[str, Any], memory: Any
) -> None:
    names[name] = make(names[base], *operands)


def _make_number(name: str, dtype: Any, names: dict[str, Any], memory: Any) -> None:
    names[name] = np.empty((), dtype)


def _shares(view: np.ndarray, array: np.ndarray) -> bool:
    return not view.size or bool(np.may_share_memory(view, array))
