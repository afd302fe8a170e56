"""The modes of a thread and an async task: recording, determinism. Imports nothing."""

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Self, TypeVar

__all__ = [
    "Block", "Observers", "Stack", "deterministic", "enable_grad", "in_rules",
    "indices_are_checked", "is_deterministic", "is_grad_enabled", "no_grad", "observed",
    "observer", "recording", "set_grad_enabled", "strict",
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

# True while rules run over Tensors, for derivatives of derivatives: an operation on numbers alone
# then gives a NumPy scalar, which goes to any device, else an array on the default device.
in_rules: ContextVar[bool] = ContextVar("gpugrad_in_rules", default=False)

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
    return _in_order.get()


def indices_are_checked() -> bool:
    """Whether to check indices on a device, for which the host waits: in debug_mode."""
    watch = observer.get()
    if watch is None:
        return False
    members = watch.members if isinstance(watch, Observers) else (watch,)
    return any(getattr(member, "checks_indices", False) for member in members)


class Stack:
    """The open blocks of this thread or task, and the variables that they set.

    A block in a generator may end after one that began later. The values from before a block
    then pass to the block that began after it, so that the last one to end restores them.
    """

    def __init__(self, name: str, *variables: ContextVar[Any]) -> None:
        self._variables = variables
        self._open: ContextVar[tuple[tuple[Any, tuple[Any, ...]], ...]] = ContextVar(
            name, default=()
        )

    def values(self) -> tuple[Any, ...]:
        """The present values of the variables."""
        return tuple([variable.get() for variable in self._variables])

    def restore(self, before: tuple[Any, ...]) -> None:
        """Set the variables to earlier values."""
        for variable, value in zip(self._variables, before):
            variable.set(value)

    def push(self, block: Any, before: tuple[Any, ...] | None = None) -> None:
        """Begin a block, and note the values before it, by default the present ones."""
        self._open.set((*self._open.get(), (block, self.values() if before is None else before)))

    def pop(self, block: Any) -> None:
        """End a block and restore the variables, unless it began in another thread or task."""
        blocks = self._open.get()
        index = len(blocks) - 1
        while index >= 0 and blocks[index][0] is not block:
            index -= 1
        if index < 0:
            return
        before = blocks[index][1]
        if index == len(blocks) - 1:
            self.restore(before)
            self._open.set(blocks[:index])
        else:
            later = (blocks[index + 1][0], before)
            self._open.set((*blocks[:index], later, *blocks[index + 2 :]))


_MODES = Stack("gpugrad_modes", recording, observer)


class Block:
    """A ``with`` block, and decorator, inside which context variables are set.

    It stores nothing of a use as a block, so threads and tasks can share it.
    """

    stack = _MODES

    def _apply(self) -> None:
        """Set the variables."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.stack.push(self)
        self._apply()
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.pop(self)

    def __call__(self, function: F) -> F:
        """Decorate a function, a generator function or a coroutine function (or both in one)."""
        decorate = next((d for holds, d in _DECORATORS if holds(function)), _function)
        return functools.wraps(function)(decorate(self, function))  # type: ignore[return-value]


def _generator(block: Block, function: Callable[..., Any]) -> Callable[..., Any]:
    def generator(*args: Any, **kwargs: Any) -> Any:
        # Between two steps the caller runs, in the caller's mode.
        steps = function(*args, **kwargs)
        resume, argument = steps.send, None
        while True:
            try:
                with block:
                    value = resume(argument)
            except StopIteration as stop:
                return stop.value
            try:
                resume, argument = steps.send, (yield value)
            except BaseException as error:  # noqa: BLE001  for the generator to handle
                resume, argument = steps.throw, error

    return generator


def _async_generator(block: Block, function: Callable[..., Any]) -> Callable[..., Any]:
    async def generator(*args: Any, **kwargs: Any) -> Any:
        steps = function(*args, **kwargs)
        resume, argument = steps.asend, None
        while True:
            try:
                with block:
                    value = await resume(argument)
            except StopAsyncIteration:
                return
            try:
                resume, argument = steps.asend, (yield value)
            except BaseException as error:  # noqa: BLE001  as above
                resume, argument = steps.athrow, error

    return generator


def _coroutine(block: Block, function: Callable[..., Any]) -> Callable[..., Any]:
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        with block:
            return await function(*args, **kwargs)

    return coroutine


def _function(block: Block, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with block:
            return function(*args, **kwargs)

    return call


_DECORATORS = (
    (inspect.isgeneratorfunction, _generator),
    (inspect.isasyncgenfunction, _async_generator),
    (inspect.iscoroutinefunction, _coroutine),
)


class _Mode(Block):
    """A block inside which recording is on or off."""

    mode: bool

    def _apply(self) -> None:
        recording.set(self.mode and (observer.get() or True))


class observed(Block):  # noqa: N801 - a block, like the others
    """Inside this block ``watch`` observes what is recorded and differentiated.

    It joins other observers, unless one of them has its type.
    """

    def __init__(self, watch: Any) -> None:
        self.watch = watch

    def _apply(self) -> None:
        before = observer.get()
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
        self.stack.push(self, self._before)
        self._before = None
        self._apply()
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
