"""The modes of a thread and an async task: recording, determinism. Imports backend."""

import sys
from collections.abc import Callable
from contextvars import ContextVar
from inspect import CO_ASYNC_GENERATOR
from types import FrameType
from typing import Any, Self, TypeVar

from gpugrad.backend.blocks import Block, Off, Stack, now

__all__ = [
    "Observers", "deterministic", "enable_grad", "in_rules",
    "is_debugging", "is_deterministic", "is_grad_enabled", "levels", "no_grad", "observed",
    "observer", "outermost", "recording", "running_again", "set_grad_enabled", "strict",
    "tracing", "watching",
]  # fmt: skip

# A context variable has a value for each thread and each asyncio task.
# While operations are observed this one holds the observer in place of True.
recording: ContextVar[Any] = ContextVar("gpugrad_recording", default=True)

# Called as observer(node, raws, y) for each recorded operation, and in a walk as
# observer.visit(node, g) for each node and leaf that is reached, before it is differentiated,
# and as observer.gradient(node, parent, d) for each gradient of an argument; or None.
observer: ContextVar[Any] = ContextVar("gpugrad_observer", default=None)

# True while a user's rule runs over Tensors, to be differentiated itself: taking a number out of
# a Tensor then raises, since the derivative would take it for a constant.
strict: ContextVar[bool] = ContextVar("gpugrad_strict", default=False)

# The serial number at which the outermost running transform (`gg.grad(f)`) began; None outside of
# one. Inside, a number taken out of a Tensor would be a constant in silence.
outermost: ContextVar[int | None] = ContextVar("gpugrad_outermost", default=None)

# True while rules run over Tensors, for derivatives of derivatives: an operation on numbers alone
# then gives a NumPy scalar, which goes to any device, else an array on the default device.
in_rules: ContextVar[bool] = ContextVar("gpugrad_in_rules", default=False)

# True while a checkpointed function runs again for its gradient: what a layer counts or averages
# beside its output, such as running statistics, it has counted in the first run.
running_again: ContextVar[bool] = ContextVar("gpugrad_running_again", default=False)

# What records a compiled function while it runs for the first time (`gpugrad.compiler`), or None.
tracing: ContextVar[Any] = ContextVar("gpugrad_tracing", default=None)

# The calls of functions that `vmap` has made that are running (`gpugrad.autodiff.levels`), the
# outermost first.
levels: ContextVar[tuple[Any, ...]] = ContextVar("gpugrad_levels", default=())

# Whether sums on a GPU must be in the same order in every run.
_in_order: ContextVar[bool] = ContextVar("gpugrad_deterministic", default=False)

F = TypeVar("F", bound=Callable[..., Any])


def is_grad_enabled() -> bool:
    """Whether operations on tensors that require a gradient are being recorded.

    >>> import gpugrad as gg
    >>> with gg.no_grad():
    ...     gg.is_grad_enabled()
    False
    """
    return bool(recording.get())


def is_deterministic() -> bool:
    """Whether a GPU is to give the same bits in every run: see `deterministic`.

    >>> import gpugrad as gg
    >>> with gg.deterministic(True):
    ...     gg.is_deterministic()
    True
    """
    return bool(_in_order.get())


def watching() -> Any:
    """The observer of this thread or task, or None: see `observer`."""
    return now(observer.get())


def is_debugging() -> bool:
    """Whether debug_mode is on, in which checks may wait for a device and compute twice."""
    watch = watching()
    if watch is None:
        return False
    members = watch.members if isinstance(watch, Observers) else (watch,)
    return any(getattr(member, "is_debug_mode", False) for member in members)


_MODES = Stack("gpugrad_modes", recording, observer)


_PLAIN = (True, None)  # recording, and nobody observes


class _Mode(Block):
    """A block inside which recording is on or off."""

    stack = _MODES
    mode: bool

    def _apply(self) -> None:
        recording.set(self.mode and (watching() or True))

    def _begin(self, frame: FrameType, before: tuple[Any, ...] | None = None) -> None:
        if before is None:
            before = (recording.get(), observer.get())
            if before != _PLAIN:
                _MODES.tidy()
                before = (recording.get(), observer.get())
        if frame.f_code.co_flags & CO_ASYNC_GENERATOR or (self.mode and before != _PLAIN):
            super()._begin(frame, before)
            return
        # What is mostly so, without a call in Python for the value.
        value: Any = True
        left = None
        if not self.mode:
            value = Off()
            value.before = before[0]
            left = value.append if before[0] else value.gone
        opened = None
        try:
            opened = _MODES.begin(self, before, left)
            recording.set(value)
        except BaseException:  # as in Block
            _MODES.end(opened or _MODES.last(self))
            raise


class observed(Block):  # noqa: N801 - a block, like the others
    """Inside this block ``watch`` observes what is recorded and differentiated.

    It joins other observers, unless one of them has its type.
    """

    stack = _MODES

    def __init__(self, watch: Any) -> None:
        self.watch = watch

    def _apply(self) -> None:
        before = watching()
        members = before.members if isinstance(before, Observers) else (before,)
        watch = self.watch
        if any(type(member) is type(watch) for member in members):
            watch = before
        elif before is not None:
            watch = Observers((*members, watch))
        observer.set(watch)
        if recording.get():
            recording.set(watch)


class Observers:
    """Several observers as one."""

    def __init__(self, members: tuple[Any, ...]) -> None:
        self.members = members

    def __call__(self, node: Any, raws: Any, y: Any) -> None:
        for member in self.members:
            member(node, raws, y)

    def visit(self, node: Any, g: Any) -> None:
        for member in self.members:
            member.visit(node, g)

    def gradient(self, node: Any, parent: Any, d: Any) -> None:
        for member in self.members:
            member.gradient(node, parent, d)


class _FixedMode(_Mode):
    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        block = super().__new__(cls)
        # A function is given by `@gg.no_grad`, without the parentheses.
        return block if function is None else block(function)


class no_grad(_FixedMode):  # noqa: N801 - PyTorch's name
    """Inside this block, or in a function decorated with it, nothing is recorded.

    >>> import gpugrad as gg
    >>> w = gg.tensor([1.0, 2.0], requires_grad=True)
    >>> with gg.no_grad():
    ...     w -= 0.5
    >>> w
    tensor([0.5, 1.5], requires_grad=True)
    """

    mode = False


class enable_grad(_FixedMode):  # noqa: N801 - PyTorch's name
    """Inside this block operations are recorded, even inside ``no_grad``.

    >>> import gpugrad as gg
    >>> x = gg.tensor(2.0, requires_grad=True)
    >>> with gg.no_grad(), gg.enable_grad():
    ...     (x * x).requires_grad
    True
    """

    mode = True


class _FromTheCallOn(Block):
    """A mode set by the call, or for a ``with`` block or a decorated function alone."""

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        # The values before the call, until a block or a decorated function begins.
        self._before: tuple[Any, ...] | None = self.stack.values()
        self._apply()

    def __enter__(self) -> Self:
        before, self._before = self._before, None
        self._begin(sys._getframe(1), before)
        return self

    def __call__(self, function: F) -> F:
        if self._before is not None:
            self.stack.restore(self._before)
            self._before = None
        return super().__call__(function)


class set_grad_enabled(_FromTheCallOn, _Mode):  # noqa: N801 - PyTorch's name
    """Turn recording on or off: from the call on, or for one ``with`` block.

    >>> import gpugrad as gg
    >>> x = gg.tensor(2.0, requires_grad=True)
    >>> with gg.set_grad_enabled(False):
    ...     (x * x).requires_grad
    False
    """


class deterministic(_FromTheCallOn):  # noqa: N801 - a block, like the others
    """Let a GPU give the same bits in every run, or not: from the call on, or for one block.

    Sums at indices that come up twice (the gradients of ``x[index]`` and ``take``,
    ``segment_sum``, ``bincount`` with weights) have no fixed order; they are then sorted first,
    which costs time. Cumulative sums of flattened arrays take another kernel. Nothing else differs
    from run to run, and on the CPU nothing does. Holds for this thread and async task, as the
    other modes do. docs/devices.md says what it covers.

    >>> import gpugrad as gg
    >>> with gg.deterministic(True):
    ...     gg.is_deterministic()
    True
    >>> gg.is_deterministic()
    False
    """

    stack = Stack("gpugrad_deterministic_blocks", _in_order)

    def __init__(self, mode: bool = True) -> None:
        super().__init__(mode)

    def _apply(self) -> None:
        _in_order.set(self.mode)
