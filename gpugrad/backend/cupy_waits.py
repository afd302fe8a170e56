"""Where CuPy makes the host wait for a device, or copies a host array. Imports nothing.

CuPy has no hook for this. While somebody listens, the functions of CuPy that fetch a value, wait,
or convert a host array are replaced.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["FETCHING", "is_on_host", "listen"]

# The methods of a CuPy array that copy to the host, and so wait.
FETCHING = (
    "__bool__", "__complex__", "__float__", "__format__", "__int__", "__repr__", "__str__",
    "dump", "dumps", "get", "item", "nonzero", "tobytes", "tofile", "tolist",
)  # fmt: skip
# Functions of CuPy that convert host arrays.
_SENDING = ("array", "asanyarray", "asarray", "ascontiguousarray", "asfortranarray")
_WAITING = ("deviceSynchronize", "eventSynchronize", "streamSynchronize")  # of CUDA's runtime


def listen(cupy: Any, callback: Callable[[str], None]) -> Callable[[], None]:
    """Call ``callback(cause)`` before each wait or copy; returns a function that stops it."""
    replaced: dict[tuple[Any, str], Any] = {}  # the own attributes of owners, by name

    def replace(
        owner: Any, name: str, cause: str, counts: Callable[[Any], Any] | None = None
    ) -> None:
        original = getattr(owner, name, None)
        if original is not None:
            replaced[owner, name] = vars(owner).get(name)
            setattr(owner, name, _reporting(original, cause, callback, counts))

    def restore() -> None:
        while replaced:
            (owner, name), original = replaced.popitem()
            if original is None:  # it was inherited
                delattr(owner, name)
            else:
                setattr(owner, name, original)

    for name in FETCHING:
        replace(cupy.ndarray, name, name)
    for name in _SENDING:
        replace(cupy, name, "host to device", lambda args: args and is_on_host(cupy, args[0]))
    replace(cupy.ndarray, "set", "host to device")
    for name in _WAITING:
        replace(cupy.cuda.runtime, name, name)
    for cls in (cupy.cuda.Stream, cupy.cuda.Event):
        replace(cls, "synchronize", f"{cls.__name__}.synchronize")
    return restore


def _reporting(
    original: Callable[..., Any],
    cause: str,
    callback: Callable[[str], None],
    counts: Callable[[Any], Any] | None,
) -> Callable[..., Any]:
    """A function that reports its calls, if ``counts`` accepts their arguments."""

    @functools.wraps(original)
    def function(*args: Any, **kwargs: Any) -> Any:
        if counts is None or counts(args):
            callback(cause)
        return original(*args, **kwargs)

    return function


def is_on_host(cupy: Any, value: Any) -> bool:
    """Whether CuPy would copy a value from the host: an array or a list, but not a number."""
    while isinstance(value, list | tuple) and value:
        value = value[0]
        if not isinstance(value, list | tuple | np.ndarray):
            return not isinstance(value, cupy.ndarray)  # a list of arrays of the device stays there
    return isinstance(value, np.ndarray) and value.ndim > 0
