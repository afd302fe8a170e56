"""Where CuPy makes the host wait for a device, or copies an array of the host. Imports nothing.

CuPy does not tell. The functions that fetch a value, wait, or make an array of what lies on the
host are replaced for as long as somebody listens.
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
# Functions of CuPy that make an array of what lies on the host.
_SENDING = ("array", "asanyarray", "asarray", "ascontiguousarray", "asfortranarray")
_WAITING = ("deviceSynchronize", "eventSynchronize", "streamSynchronize")  # of CUDA's runtime


def listen(cupy: Any, callback: Callable[[str], None]) -> Callable[[], None]:
    """Call ``callback`` with the kind of each wait or copy, before it; returns what ends it."""
    replaced: dict[tuple[Any, str], Any] = {}  # what an owner had itself under a name

    def replace(
        owner: Any, name: str, kind: str, counts: Callable[[Any], Any] | None = None
    ) -> None:
        original = getattr(owner, name, None)
        if original is not None:
            replaced[owner, name] = vars(owner).get(name)
            setattr(owner, name, _telling(original, kind, callback, counts))

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


def _telling(
    original: Callable[..., Any],
    kind: str,
    callback: Callable[[str], None],
    counts: Callable[[Any], Any] | None,
) -> Callable[..., Any]:
    """A function that tells of its calls, those whose arguments count."""

    @functools.wraps(original)
    def function(*args: Any, **kwargs: Any) -> Any:
        if counts is None or counts(args):
            callback(kind)
        return original(*args, **kwargs)

    return function


def is_on_host(cupy: Any, value: Any) -> bool:
    """Whether CuPy would copy a value from the host: an array or a list, but not a number."""
    while isinstance(value, list | tuple) and value:
        value = value[0]
        if not isinstance(value, list | tuple | np.ndarray):
            return not isinstance(value, cupy.ndarray)  # a list of arrays of the device stays there
    return isinstance(value, np.ndarray) and value.ndim > 0
