"""Finding where a program waits for its device. Imports engine and backend.

On a simulated device the arrays say themselves where CuPy's would wait. On CUDA the methods
of CuPy's arrays that fetch a value are replaced while a guard is on.
"""

import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

from gpugrad.engine.modes import Block, Stack
from gpugrad.errors import SyncError
from gpugrad.inspect.lines import user_line

__all__ = ["sync_guard"]

_guarded: ContextVar[bool] = ContextVar("gpugrad_sync_guard", default=False)
_lock = threading.Lock()
_guards = 0  # in all threads together
_replaced: dict[str, tuple[type, Any]] = {}  # the class, and what it had itself by that name

# The methods of a CuPy array that copy to the host, and so wait.
_FETCHING = (
    "__bool__", "__complex__", "__float__", "__format__", "__int__", "__repr__", "__str__",
    "dump", "dumps", "get", "item", "nonzero", "tobytes", "tofile", "tolist",
)  # fmt: skip


class sync_guard(Block):  # noqa: N801 - a block, like no_grad
    """Inside this block a wait for the device, or a copy by stealth, raises SyncError.

    Reading a value (``float(t)``, ``t.item()``, ``if t:``, printing), selecting by a mask, and
    using a host array as an index make the host wait for the device or copy behind one's back;
    each costs a GPU more than many operations. The error names the line. Copies that the
    program asks for, ``t.to("cuda")`` and ``gg.tensor(array, device="cuda")``, are allowed,
    copies to the host are not. On the device "sim" this works on any machine, so a test of a
    CPU-only CI can hold a training loop free of waits; arrays of the device "cpu" never wait.
    On CUDA the methods that fetch values are watched, if CuPy is imported when the block
    begins; copies to the device are not. Functions can be decorated with ``@gg.sync_guard()``.

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

    if kind == "host to device":
        if sending.get():
            return
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
        original = getattr(cupy.ndarray, name, None)
        if original is not None:
            _replaced[name] = cupy.ndarray, vars(cupy.ndarray).get(name)
            setattr(cupy.ndarray, name, _refusing(name, original))


def _restore() -> None:
    while _replaced:
        name, (kind, original) = _replaced.popitem()
        if original is None:
            delattr(kind, name)
        else:
            setattr(kind, name, original)


def _refusing(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse(name)
        return original(self, *args, **kwargs)

    return method
