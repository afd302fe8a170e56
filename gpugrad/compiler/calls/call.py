"""Calls of programs as built-in functions of Python. Imports the modules beside it.

`call.c` checks all that a program depends on, runs it and stores its results, within 1 µs and some
20 ns for each array. Here its structures are filled: of words, each a number or the address of an
object or of other words. It is compiled once for all programs, by a thread after the first call of
one: so long calls run in Python. Where a program, or this Python, is of another kind than it knows,
there is no such function, and each call runs in Python.
"""

import ctypes
import re
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from gpugrad.autodiff.tree import Tree
from gpugrad.backend.blocks import Off
from gpugrad.compiler.c.compiler import find_compiler, is_kept, load
from gpugrad.compiler.calls import places
from gpugrad.compiler.calls.modes import places_of_modes
from gpugrad.compiler.calls.places import NewTensor, Output, Place, StaleError
from gpugrad.engine import versions
from gpugrad.engine.node import Leaf
from gpugrad.errors import CompileError
from gpugrad.tensor import Tensor

__all__ = ["MISSED", "built_in", "is_ready", "make"]

MISSED: Any = object()  # what the function returns where it does not know what to do
LONG = 1 << 16  # bytes: during a program on more, other threads run

BuiltIn = Callable[[tuple[Any, ...], dict[str, Any]], Any]


class _UnknownError(Exception):
    """Something that call.c does not know."""


def built_in(entry: Any, state: Any, leaves: Sequence[Any]) -> BuiltIn | None:
    """The function for an entry, which takes the arguments of a call as a tuple and a dict.

    It returns `MISSED`, and has done nothing, where the entry may not be right. ``state`` has the
    `modes`, ``leaves`` arguments for which the entry is right. None where there is no function.
    """
    modes = places_of_modes(state)
    native = entry.native
    if modes is None or native is None or not native.is_whole or entry.recorded.guards:
        return None
    arrays = [id(array) for _, array, *_ in entry.recorded.tensors]
    if len({*arrays}) < len(arrays):  # tensors over one array, which may become two
        return None
    if not _library():
        return None
    words = _Words()
    try:
        address = words.entry(entry, modes, leaves)
    except _UnknownError:
        return None
    return _library()((address, words.kept))


# ---------------------------------------------------------------- the library

_making: threading.Thread | None = None


def is_ready() -> bool:
    """Whether the library is there, or cannot be had."""
    if _making is not None:
        return not _making.is_alive()  # nor is it in the child of a fork
    return find_compiler() is None or is_kept(_source(), FAST)


def make() -> None:
    """Have a thread make the library, unless it is there."""
    global _making
    if _making is None and not is_ready():
        _making = threading.Thread(target=_made, name="gpugrad compiles the calls of programs")
        _making.start()


def _made() -> None:
    with suppress(CompileError, OSError):  # `_library` meets it again
        load(_source(), FAST)


@cache
def _source() -> str:
    here = Path(__file__).parent
    return "".join((here / name).read_text(encoding="ascii") for name in SOURCES)


@cache
def _library() -> Any:
    """What makes functions of tuples with the address of an entry; None if there is none."""
    source = _source()
    if sys.implementation.name != "cpython" or Tensor.__new__ is not object.__new__:
        return None
    try:
        functions = [_address(name) for name in re.findall(r"    _\(.+?, (\w+), \(", source)]
        facts = _facts()
        library = load(source, FAST)
    except (AttributeError, ImportError, CompileError, _UnknownError):
        return None
    library.gpugrad_connect.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.gpugrad_connect(_array(functions), _array(facts))
    call = ctypes.cast(library.gpugrad_call, ctypes.c_void_p).value or 0
    name = ctypes.create_string_buffer(b"compiled")
    _kept.extend((name, _array([ctypes.addressof(name), call, METH_FASTCALL, 0])))
    pointer = ctypes.c_void_p
    new = _python("PyCFunction_NewEx", ctypes.py_object, pointer, ctypes.py_object, pointer)
    return lambda own: new(ctypes.addressof(_kept[-1]), own, None)


SOURCES = "call_checks.c", "call.c"
FAST = "-O2"
METH_FASTCALL = 0x80
_kept: list[Any] = []  # what the library refers to


def _python(name: str, *types: Any) -> Any:
    """A function of Python's, of a result and arguments of these types."""
    return ctypes.PYFUNCTYPE(*types)((name, ctypes.pythonapi))


def _array(words: Sequence[int]) -> Any:
    return (ctypes.c_ssize_t * max(1, len(words)))(*words)


def _address(name: str) -> int:
    """The address of a function of Python's or NumPy's."""
    if name.startswith("PyArray"):
        return _numpy_function(NUMPY_FUNCTIONS[name])
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0


NUMPY_FUNCTIONS = {"PyArray_Empty": 184}  # their places in NumPy's table, which never change
ARRAY_TYPE = 2


def _numpy_function(place: int) -> int:
    pointer = _python("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    module = import_module("numpy._core._multiarray_umath")
    table = ctypes.cast(pointer(module._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    if table[ARRAY_TYPE] != id(np.ndarray):
        raise _UnknownError
    return table[place] or 0


def _facts() -> list[int]:
    """The fields of `known` in call.c."""
    names = sys.intern("item"), sys.intern("_settings"), sys.intern("latest")
    objects = [
        None, True, False, np.ndarray, Tensor, tuple, dict, str, int, Off, MISSED, StaleError,
        *names, *versions.parts(),
    ]  # fmt: skip
    _kept.extend(objects)
    slots = map(_slot, ("_array", "_node", "_grad", "_name"))
    marks = [object()] * 3
    if ctypes.c_uint32.from_address(id(marks[0])).value != len(marks):
        raise _UnknownError  # references are counted elsewhere
    return [*map(id, objects), *slots, Tensor.__weakrefoffset__, tuple.__basicsize__]


def _slot(name: str) -> int:
    """Where a tensor has the value of a slot, in bytes from its start."""
    mark, tensor = object(), Tensor(None)
    setattr(tensor, name, mark)
    size = ctypes.sizeof(ctypes.c_void_p)
    for at in range(object.__basicsize__, Tensor.__basicsize__, size):
        if ctypes.c_void_p.from_address(id(tensor) + at).value == id(mark):
            return at
    raise _UnknownError


# ---------------------------------------------------------------- structures

TENSOR, ARRAY, NUMBER, CONSTANT = range(4)
PLACES = [
    places.Argument, places.Fixed, places.Living, places.ArrayOf, places.GradientOf, places.Item,
    places.StateOf, places.Called,
]  # fmt: skip
IN_PLACE, COPIED, NEW_ARRAY, NEW_GRADIENT, CLEARED = range(5)
OUTPUT, NEW_TENSOR, GIVEN = range(3)


class _Words:
    """Writes the structures of call.c, and keeps what is in them."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def of(self, value: Any) -> int:
        """The address of an object."""
        self.kept.append(value)
        return id(value)

    def table(self, rows: Iterable[Sequence[int]]) -> int:
        """The address of rows of words."""
        buffer = _array([word for row in rows for word in row])
        self.kept.append(buffer)
        return ctypes.addressof(buffer)

    def objects(self, values: Iterable[Any]) -> int:
        return self.table([[self.of(value)] for value in values])

    def kind(self, shape: Sequence[int], dtype: Any) -> list[int]:
        dtype = np.dtype(dtype)
        size = dtype.itemsize
        for length in shape:
            size *= length
        return [self.of(dtype), len(shape), size, self.table([shape])]

    def node(self, part: Tree) -> list[int]:
        if part.is_leaf:
            return [0, 0, 0, 0, 0]
        if part.is_constant:
            return [0, self.of(part.model), 0, 0, 0]
        if part.type not in (tuple, list, dict):
            raise _UnknownError
        children = self.table([self.node(child) for child in part.children])
        keys = self.objects(part.keys)
        return [self.of(part.type), 0, len(part.children), children, keys]

    def leaf(self, leaf: Any, is_alone: bool) -> list[int]:
        cls = self.of(type(leaf))
        if isinstance(leaf, Tensor):
            kind = self.array(leaf._array)
            # Not kept: what takes its place in memory is another one, when it is gone.
            return [TENSOR, cls, self.of(type(leaf._node)), id(leaf) if is_alone else 0, *kind]
        if type(leaf) is np.ndarray:
            return [ARRAY, cls, 0, 0, *self.array(leaf)]
        if type(leaf) is float:
            return [NUMBER, cls, 0, 0, 0, 0, 0, 0]
        if type(leaf) is int:
            return [CONSTANT, cls, 0, self.of(leaf), 0, 0, 0, 0]
        raise _UnknownError

    def array(self, array: Any) -> list[int]:
        if type(array) is not np.ndarray:
            raise _UnknownError
        return self.kind(array.shape, array.dtype)

    def place(self, place: Place) -> int:
        """The address of a place."""
        what = PLACES.index(type(place))
        row = [what, getattr(place, "index", 0), 0, 0, 0]
        for name in "value", "reference", "items", "entries", "function":
            if hasattr(place, name):
                row[2] = self.of(getattr(place, name))
        if isinstance(place, places.StateOf):
            row[3] = self.of(place.name)
        if isinstance(place, places.ArrayOf | places.GradientOf):
            row[4] = self.place(place.tensor)
        return self.table([row])

    def entry(self, entry: Any, modes: Any, leaves: Sequence[Any]) -> int:
        """The address of the structure of an entry."""
        recorded, native = entry.recorded, entry.native
        variables, dicts = modes
        args, kwargs = entry.structure.children
        given = {value: place for place, value in enumerate(recorded.program.inputs)}
        outputs = entry.program.outputs
        results = recorded.results
        gradients = [write.output for write in recorded.writes if write.name == "_grad"]
        finish = entry.finish if entry.attach or _builder(recorded.structure) is None else None
        sizes = [_bytes(value) for value in given]
        before = [function for function in recorded.before if function != recorded.undo.clear]
        if recorded.after or before:
            before = recorded.before
        is_pure = not (before or recorded.writes)
        # The inputs that are changed in place, but for arguments.
        changed = [given.get(w.value) for w in entry.changes if not w.is_argument]
        work = native.workspace
        row = [
            *native.addresses(),
            len(variables), len(dicts), len(leaves), len(recorded.tensors), len(recorded.modules),
            len(before), len(given), len(outputs), len(recorded.writes), len(recorded.after),
            len(results),
            self.table([[*map(self.of, pair)] for pair in variables]),
            self.table([[*map(self.of, triple)] for triple in dicts]),
            self.table([self.node(args), self.node(kwargs)]),
            self.table([self.leaf(leaf, i in entry.alone) for i, leaf in enumerate(leaves)]),
            self.table([self.tensor(*one) for one in recorded.tensors]),
            self.table([[*map(self.of, one[:2])] for one in recorded.modules]),
            self.objects(before),
            self.table([[self.place(place)] for place in recorded.finds]),
            self.table([sizes]), self.table([[i in entry.arguments for i in range(len(sizes))]]),
            self.table([[i in changed for i in range(len(sizes))]]),
            self.table([[0] * len(sizes)]) if changed else 0,
            self.table([
                [
                    *self.kind(value.shape, value.dtype), entry.reuse.get(i, -1), value.weak,
                    i in gradients,
                    0
                    if native.are_contiguous[i] and not native.are_large[i]
                    else self.of(native.makers[i]),
                ]
                for i, value in enumerate(outputs)
            ]),
            self.table([self.write(write, given, outputs, native) for write in recorded.writes]),
            self.table([[self.of(one.entries), self.of(one.next)] for one in recorded.after]),
            self.table([self.result(result) for result in results]),
            *([0, 0] if is_pure else map(self.of, (entry.lock.acquire, entry.lock.release))),
            self.of(entry.undo), self.of(entry.rest),
            self.of(finish) if finish else 0,
            0 if finish or recorded.structure.is_leaf else self.of(_builder(recorded.structure)),
            self.of(native.spare), *self.kind((work,), np.uint8),
            sum(sizes) + sum(map(_bytes, outputs)) + work >= LONG,
        ]  # fmt: skip
        return self.table([row])

    def tensor(self, find: Place, array: Any, hooks: Any, has_grad: Any) -> list[int]:
        has = -1 if has_grad is None else has_grad
        if hooks:
            raise _UnknownError
        node = type(None) if hooks is None else Leaf
        return [self.place(find), *self.array(array), self.of(node), has]

    def write(
        self, write: Any, given: dict[Any, int], outputs: Sequence[Any], native: Any
    ) -> list[int]:
        place, output = self.place(write.find), write.output
        if output is None:
            return [CLEARED, 0, -1, -1, place]
        value = outputs[output]
        if value.weak:
            raise _UnknownError
        if write.name is not None:
            what = NEW_ARRAY if write.name == "_array" else NEW_GRADIENT
            if what == NEW_GRADIENT and not native.are_contiguous[output]:
                raise _UnknownError
            return [what, 0, output, -1, place]
        if write.value in given:
            return [IN_PLACE, write.is_argument, output, given[write.value], place]
        is_same = (write.value.shape, write.value.dtype) == (value.shape, value.dtype)
        if not (is_same and native.are_contiguous[output]):
            raise _UnknownError
        return [COPIED, write.is_argument, output, -1, place]

    def result(self, result: Any) -> list[int]:
        if isinstance(result, Output):
            what = NEW_TENSOR if isinstance(result, NewTensor) else OUTPUT
            return [what, result.number, 0]
        return [GIVEN, 0, self.place(result.place)]


def _bytes(value: Any) -> int:
    size = np.dtype(value.dtype).itemsize
    for length in value.shape:
        size *= length
    return size


def _builder(structure: Tree) -> Callable[..., Any] | None:
    """A function that makes a result of its leaves; None for other containers than Python's."""
    constants: list[Any] = []
    names: list[str] = []

    def text(part: Tree) -> str:
        if part.is_leaf:
            names.append(f"x{len(names)}")
            return names[-1]
        if part.is_constant or part.type not in (tuple, list, dict):
            if not part.is_constant:
                raise _UnknownError
            constants.append(part.model)
            return f"constants[{len(constants) - 1}]"
        parts = [text(child) for child in part.children]
        if part.type is dict:
            constants.append(part.keys)
            keys = f"constants[{len(constants) - 1}]"
            pairs = [f"{keys}[{i}]: {one}" for i, one in enumerate(parts)]
            return "{" + ", ".join(pairs) + "}"
        inside = "".join(f"{one}, " for one in parts)
        return f"[{inside}]" if part.type is list else f"({inside})"

    try:
        body = text(structure)
    except _UnknownError:
        return None
    function: Any = eval(f"lambda {', '.join(names)}: {body}", {"constants": constants})
    return function
