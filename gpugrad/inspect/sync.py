"""Finding where a program waits for its device. Imports engine and backend.

On a simulated device the arrays say themselves where CuPy's would wait. On CUDA the functions of
CuPy that fetch a value, wait, or copy an array of the host are replaced while a guard is on.
"""

import functools
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

import numpy as np

from gpugrad.engine.modes import Block, Stack
from gpugrad.errors import SyncError
from gpugrad.inspect.lines import user_line

__all__ = ["sync_guard"]

_guarded: ContextVar[bool] = ContextVar("gpugrad_sync_guard", default=False)
_lock = threading.Lock()
_guards = 0  # in all threads together
# By owner (a class or a module) and name, what the owner had itself by that name.
_replaced: dict[tuple[Any, str], Any] = {}

# The methods of a CuPy array that copy to the host, and so wait.
_FETCHING = (
    "__bool__", "__complex__", "__float__", "__format__", "__int__", "__repr__", "__str__",
    "dump", "dumps", "get", "item", "nonzero", "tobytes", "tofile", "tolist",
)  # fmt: skip
# Functions of CuPy that make an array of what lies on the host.
_SENDING = ("array", "asanyarray", "asarray", "ascontiguousarray", "asfortranarray")
_WAITING = ("deviceSynchronize", "eventSynchronize", "streamSynchronize")  # of CUDA's runtime


class sync_guard(Block):  # noqa: N801 - a block, like no_grad
    """Inside this block a wait for the device, or a copy by stealth, raises SyncError.

    Reading a value (``float(t)``, ``t.item()``, ``if t:``, printing), selecting by a mask, and
    using a host array as an index make the host wait for the device or copy behind one's back;
    each costs a GPU more than many operations. The error names the line. Copies that the
    program asks for, ``t.to("cuda")`` and ``gg.tensor(array, device="cuda")``, are allowed,
    copies to the host are not. On the device "sim" this works on any machine, so a test of a
    CPU-only CI can hold a training loop free of waits; arrays of the device "cpu" never wait.
    On CUDA the functions of CuPy that fetch values, wait, or make arrays of what lies on the host
    are watched, if CuPy is imported when the block begins; what CuPy does from within (a list as
    an index of a raw array) is not heard there. Functions can be decorated with
    ``@gg.sync_guard()``.

    >>> import gpugrad as gg
    >>> x = gg.ones(3, device="sim")
    >>> with gg.sync_guard():
    ...     y = (x * 2).sum()
    ...     if y > 1:  # doctest: +ELLIPSIS
    ...         pass
    Traceback (most recent call last):
        ...
    gpugrad.errors.SyncError: sync_guard: the host waits for the device here (item)...
    """

    stack = Stack("gpugrad_sync_guards", _guarded)

    def __enter__(self) -> Self:
        _watch(+1)
        return super().__enter__()

    def _apply(self) -> None:
        _guarded.set(True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _watch(-1)
        super().__exit__(kind, error, trace)


def _refuse(kind: str) -> None:
    """Called wherever a device waits, in any thread; raises in the guarded ones."""
    if not _guarded.get():
        return
    from gpugrad.backend.device import sending

    if sending.get():
        return
    if kind == "host to device":
        what = "an array of the host is copied to the device by stealth here"
    else:
        what = "the host waits for the device here"
    raise SyncError(
        f"sync_guard: {what} ({kind}). Keep the value on the device, or move this out of the "
        f"guarded block. At {user_line()}"
    )


def _watch(change: int) -> None:
    """Begin to listen with the first guard of the process, and end with the last."""
    global _guards
    from gpugrad.backend import sim

    with _lock:
        if _guards == 0:
            sim.sync_callbacks.append(_refuse)
        _guards += change
        if change > 0 and not _replaced:  # CuPy may have been imported since
            _replace()
        if _guards == 0:
            sim.sync_callbacks.remove(_refuse)
            _restore()


def _replace() -> None:
    cupy = sys.modules.get("cupy")
    if cupy is None:
        return
    for name in _FETCHING:
        _put(cupy.ndarray, name, _refusing(name))
    for name in _SENDING:
        _put(cupy, name, _refusing("host to device", lambda args: args and _on_host(cupy, args[0])))
    _put(cupy.ndarray, "set", _refusing("host to device"))
    for name in _WAITING:
        _put(cupy.cuda.runtime, name, _refusing(name))
    for kind in (cupy.cuda.Stream, cupy.cuda.Event):
        _put(kind, "synchronize", _refusing(f"{kind.__name__}.synchronize"))


def _put(owner: Any, name: str, refusing: Callable[[Any], Any]) -> None:
    original = getattr(owner, name, None)
    if original is not None:
        _replaced[owner, name] = vars(owner).get(name)
        setattr(owner, name, refusing(original))


def _restore() -> None:
    while _replaced:
        (owner, name), original = _replaced.popitem()
        if original is None:  # it was inherited
            delattr(owner, name)
        else:
            setattr(owner, name, original)


def _refusing(
    kind: str, counts: Callable[[tuple[Any, ...]], Any] = lambda args: True
) -> Callable[[Any], Any]:
    """Makes a function that refuses in the place of another, where its arguments count."""

    def refusing(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def function(*args: Any, **kwargs: Any) -> Any:
            if counts(args):
                _refuse(kind)
            return original(*args, **kwargs)

        return function

    return refusing


def _on_host(cupy: Any, value: Any) -> bool:
    """Whether CuPy would copy a value from the host: an array or a list, but not a number."""
    while isinstance(value, list | tuple) and value:
        value = value[0]
        if not isinstance(value, list | tuple | np.ndarray):
            return not isinstance(value, cupy.ndarray)  # a list of arrays of the device stays there
    return isinstance(value, np.ndarray) and value.ndim > 0
