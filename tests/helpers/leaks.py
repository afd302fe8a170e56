"""What a test, or the import of its file, changes in the process and leaves so.

Which tests run before another in one process depends on the machine (`turns`), so a test that
leaves something behind makes others pass or fail by chance. `tests/conftest.py` asks after each.
"""

import gc
import itertools
import os
import sys
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

import numpy as np

from gpugrad.backend import processes
from gpugrad.backend.blocks import Off, now
from gpugrad.backend.device import default_device, set_default_device
from gpugrad.backend.namespace import ELEMENTWISE, FORMULAS, NAMESPACES
from gpugrad.engine import detours
from gpugrad.engine.op import TABLE
from gpugrad.tensor.conversion import get_default_dtype, set_default_dtype

__all__ = ["changes"]

REGISTER = ("builtins", "numpy", "cupy", "gpugrad", "toy_array")  # types of arrays when imported
# Environment variables that pytest, scikit-learn and the stand-in for CUDA set.
OTHERS = ("PYTEST_", "KMP_", "CUPY_", "GPUGRAD_TEST_TURNS")


def _end_modes() -> list[str]:
    """End all blocks and modes; returns the names of those that hold.

    What was set by a block that is gone does not: the next block would have tidied it.
    """
    context, unset = copy_context(), Context()
    holding = []
    for variable in context:
        if variable.name.startswith("gpugrad_"):
            first, value = unset.run(variable.get), context[variable]
            if _without_gone(value) != first:
                holding.append(variable.name)
            if value != first:
                variable.set(first)
    return holding


def _without_gone(value: Any) -> Any:
    value = now(value)
    if isinstance(value, Off):
        return bool(value)
    if isinstance(value, tuple):  # the open blocks of a `Stack`
        is_open = [not isinstance(one, tuple) or one[0]() is not None for one in value]
        return tuple(itertools.compress(value, is_open))
    return value


def _detours() -> tuple[Any, ...]:
    detours.settle()
    return tuple(detours.active)


def _end_detours(before: tuple[Any, ...]) -> None:
    for detour in detours.active:
        if detour not in before:
            detours.use(detour, False)


def _end_bfloat16() -> None:
    """Its first array changes the path of all ops, for as long as the process lives."""
    if (bfloat16 := sys.modules.get("gpugrad.engine.bfloat16")) is not None:
        bfloat16.end()


def _foreign_arrays() -> tuple[type, ...]:
    """The types with a namespace of their own that no library and no helper has registered."""
    return tuple([
        cls
        for cls, namespace in NAMESPACES.items()
        if cls.__module__.partition(".")[0] not in REGISTER
        and all(NAMESPACES.get(base) is not namespace for base in cls.__mro__[1:])
    ])  # fmt: skip


def _forget_arrays(before: tuple[type, ...]) -> None:
    for cls in _foreign_arrays():
        if cls not in before:
            del NAMESPACES[cls]


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in os.environ if not name.startswith(OTHERS)}


def _set_environment(before: dict[str, str]) -> None:
    for name in _environment().keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def _difference(before: Any, value: Any) -> str:
    """What has changed, in words: of dicts the keys alone, since an environment has secrets."""
    if not isinstance(value, dict):
        return f"{before!r} before, {value!r} now"
    keys = [key for key in before.keys() | value.keys() if before.get(key) != value.get(key)]
    return ", ".join(sorted(keys))


# What is asked: by a word for it how it is read, and how it is put back.
PARTS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "detours of ops": (_detours, _end_detours),
    "default dtype": (get_default_dtype, set_default_dtype),
    "default device": (default_device, set_default_device),
    "registered types of arrays": (_foreign_arrays, _forget_arrays),
    "environment": (_environment, _set_environment),
    "folder": (os.getcwd, os.chdir),
    "NumPy's errstate": (np.geterr, lambda before: np.seterr(**before)),
}
TABLES = {"op table": TABLE, "formulas": FORMULAS, "elementwise formulas": ELEMENTWISE}


class Before:
    """The state of the process at one time."""

    def __init__(self) -> None:
        self.state = {part: read() for part, (read, _) in PARTS.items()}
        self.names = {part: set(table) for part, table in TABLES.items()}

    def changes(self) -> list[str]:
        """What is otherwise now, in words; it is put back."""
        _end_bfloat16()
        processes.joined = None  # which `gg.parallel.init` sets for as long as the process lives
        found = [f"mode {name}" for name in _end_modes()]
        for part, (read, restore) in PARTS.items():
            before, value = self.state[part], read()
            if value != before:
                gc.collect()  # a program that is garbage may keep the state that autocast had
                value = read()
            if value != before:
                found.append(f"{part}: {_difference(before, value)}")
                restore(before)
        for part, table in TABLES.items():
            if len(table) != len(self.names[part]):
                extra = [name for name in table if name not in self.names[part]]
                found.append(f"{part}: {extra} are new")
                for name in extra:
                    del table[name]
        return found


_before = Before()
changes = _before.changes
