"""In-place changes of memory that a graph may still need. Imports backend and node.

A change is stamped with a serial number, which orders it among the nodes. So nothing is counted
or copied when a value is saved, and a graph younger than the last change needs no check. The
stamp belongs to the memory, so all views share it.
"""

import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import iadd, setitem
from typing import Any

import numpy as np

from gpugrad.backend import device
from gpugrad.backend.interrupts import Repeatable, whole
from gpugrad.backend.namespace import NAMESPACES
from gpugrad.engine.node import next_serial
from gpugrad.errors import GradientError

__all__ = [
    "adding", "change", "changed", "changed_all", "changed_since", "copied", "describe", "latest",
    "parts", "saved", "verify", "writing",
]  # fmt: skip

latest = 0  # the stamp of the last change of any memory

# By the identity of the array that owns the memory: a weak reference that removes the entry
# when the memory is freed, and the stamps of the changes, oldest first.
_stamps: dict[int, tuple[Any, list[int]]] = {}

# A stamp is drawn and entered under this lock: entered late, it would hide the stamps that other
# threads have drawn meanwhile. Whoever is called while memory is freed may enter it again.
_stamping = threading.RLock()


def _owner(array: Any) -> Any:
    namespace = NAMESPACES.get(type(array))
    return array if namespace is None else namespace.owner_of(array)


def changed(array: Any) -> None:
    """Note that the memory of an array has been changed in place."""
    changed_all((array,))


def changed_all(arrays: Iterable[Any]) -> None:
    """Note that the memory of each of some arrays has been changed in place, with one stamp."""
    global latest
    with _stamping:
        latest = stamp = next_serial()
        for array in arrays:
            entry = _stamps.get(id(array))  # mostly the array owns its memory, and is known
            if entry is None:
                owner = _owner(array)
                key = id(owner)
                entry = _stamps.get(key)
                if entry is None:
                    entry = _stamps[key] = (_watch(owner, key), [])
            stamps = entry[1]
            stamps.append(stamp)
            if len(stamps) > 64:
                del stamps[:32]


def parts() -> tuple[Any, ...]:
    """What `changed_all` works on, for the one in C (call.c), and the function itself."""
    return _stamps, globals(), next_serial, _stamping.acquire, _stamping.release, changed_all


def changed_since(array: Any, serial: int) -> bool:
    """Whether the memory of an array was changed in place after a time of the clock."""
    if latest < serial:
        return False
    entry = _stamps.get(id(_owner(array)))
    return entry is not None and entry[1][-1] > serial


def adding(array: Any, d: Any) -> list[Callable[[], Any]]:
    """Calls for `change` that add to an array in place."""
    return _calls(array, iadd, array, d)


def writing(array: Any, value: Any) -> list[Callable[[], Any]]:
    """Calls for `change` that give an array other values, cast to its dtype."""
    return _calls(array, setitem, array, ..., value)


def _calls(array: Any, function: Callable[..., Any], *arguments: Any) -> list[Callable[[], Any]]:
    if type(array) is np.ndarray:
        return [partial(function, *arguments)]
    where = device.device_of(array)
    kind = Repeatable if where.kind == "cuda" else partial
    return where.around([kind(function, *arguments)])


def change(calls: Sequence[Callable[[], Any]], arrays: Sequence[Any]) -> None:
    """Make `whole` calls that change the memory of arrays in place, and note that."""
    try:
        whole(calls)
        changed_all(arrays)
    except BaseException:  # before the stamps, or among them
        try:
            changed_all(arrays)
        except BaseException:  # what has arrived with the first
            changed_all(arrays)
            raise
        raise


def copied(array: Any) -> Any:
    """A copy of an array for a node that saved it: to `verify` it has changed as the array has."""
    copy = device.copied(array)
    with _stamping:
        entry = _stamps.get(id(_owner(array)))
        if entry is not None:
            owner = _owner(copy)
            _stamps[id(owner)] = (_watch(owner, id(owner)), list(entry[1]))
    return copy


def _watch(owner: Any, key: int) -> Any:
    # The callback is a function in C: what arrives in one of Python's is not raised, but dropped.
    return weakref.ref(owner, partial(_stamps.pop, key))


def saved(node: Any) -> list[tuple[str, Any]]:
    """The values that a node's derivatives need, each with its description for errors."""
    needs = tuple(parent is not None for parent in node.parents)
    saves, _ = node.op.keeps(needs)
    values = node.values or ()
    names = node.op.names(len(needs))
    described = [
        (f"its argument {name!r}{_named(parent)}", value)
        for name, parent, value, save in zip(names, node.parents, values, saves)
        if save
    ]
    residuals = node.op.residuals
    described += [
        (f"its saved value {name!r}", value)
        for name, value, save in zip(residuals, values[len(needs) :], saves[len(needs) :])
        if save
    ]
    if isinstance(node.y, tuple):  # several outputs
        described += [("its output", y) for y in node.y]
    elif node.y is not None:
        described.append((f"its output{_named(node)}", node.y))
    for name, value in (node.parameters or {}).items():  # of a custom op, whose users may pass any
        described += [
            (f"its argument {name!r}", part)
            for part in (value if isinstance(value, tuple) else (value,))
            if hasattr(part, "dtype") and hasattr(part, "shape")
        ]
    return described


def _named(node: Any) -> str:
    name = getattr(node, "name", None)
    return "" if name is None else f" (the tensor {name!r})"


def verify(node: Any) -> None:
    """Raise GradientError if an array that the node's derivatives need has changed since."""
    for what, value in saved(node):
        entry = _stamps.get(id(_owner(value)))
        if entry is None or entry[1][-1] < node.serial:
            continue
        after = sum(stamp > node.serial for stamp in entry[1])
        before = len(entry[1]) - after
        where = getattr(node, "where", None)
        raise GradientError(
            f"backward: {node.op.shown} needs {what}, {describe(value)}, at version {before}, "
            f"but it was changed in place and is at version {before + after}. Change a copy, "
            "write `t = t + d` in place of `t += d`, or change it after the backward pass"
            + ("" if where is None else f". {node.op.shown} was called at {where}")
        )


def describe(value: Any) -> str:
    """Dtype and shape of an array, for errors."""
    return f"a {value.dtype} array of shape {tuple(value.shape)}"
