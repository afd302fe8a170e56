"""The modes of a thread and an async task: recording, determinism. Imports nothing."""

import functools
import inspect
import sys
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from types import FrameType
from typing import Any, Self, TypeVar

__all__ = [
    "Block", "Observers", "Stack", "deterministic", "enable_grad", "in_rules",
    "is_debugging", "is_deterministic", "is_grad_enabled", "no_grad", "observed",
    "observer", "outermost", "recording", "running_again", "set_grad_enabled", "strict",
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


def is_debugging() -> bool:
    """Whether debug_mode is on, in which checks may wait for a device and compute twice."""
    watch = observer.get()
    if watch is None:
        return False
    members = watch.members if isinstance(watch, Observers) else (watch,)
    return any(getattr(member, "is_debug_mode", False) for member in members)


# A block that is open, and the values of the variables before it.
_Open = tuple["weakref.ref[Any]", tuple[Any, ...]]


class Stack:
    """The open blocks of this thread or task, and the variables that they set.

    A block in a generator may end after one that began later. The values from before a block
    then pass to the block that began after it, so that the last one to end restores them.
    """

    def __init__(self, name: str, *variables: ContextVar[Any]) -> None:
        self._variables = variables
        self._open: ContextVar[tuple[_Open, ...]] = ContextVar(name, default=())

    def values(self) -> tuple[Any, ...]:
        """The present values of the variables."""
        return tuple([variable.get() for variable in self._variables])

    def restore(self, before: tuple[Any, ...]) -> None:
        """Set the variables to earlier values."""
        for variable, value in zip(self._variables, before):
            variable.set(value)

    def begin(self, block: Any, before: tuple[Any, ...] | None = None) -> "_Open":
        """Note that a block begins, and the values before it, by default the present ones."""
        blocks = self._open.get()
        while blocks and blocks[-1][0]() is None:  # an interrupt came before its __exit__ began
            self.restore(blocks[-1][1])
            blocks = blocks[:-1]
        opened = (weakref.ref(block), self.values() if before is None else before)
        self._open.set((*blocks, opened))
        return opened

    def last(self, block: Any) -> "_Open | None":
        """What `begin` returned last for a block; None if that was in another thread or task."""
        for opened in self._open.get()[::-1]:
            if opened[0]() is block:
                return opened
        return None

    def end(self, opened: "_Open | None") -> None:
        """End a block and restore the variables; nothing happens where it has ended already.

        So it can be called again where an interrupt came in between.
        """
        blocks = self._open.get()
        if opened is None or opened not in blocks:
            return
        if opened is not blocks[-1]:  # without those that ended in another task
            blocks = tuple([one for one in blocks if one is opened or one[0]() is not None])
        index = blocks.index(opened)
        if index == len(blocks) - 1:
            self.restore(opened[1])
            self._open.set(blocks[:index])
        else:
            later = (blocks[index + 1][0], opened[1])
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

    def _begin(self, before: tuple[Any, ...] | None = None) -> Self:
        opened = None
        try:
            opened = self.stack.begin(self, before)
            self._set(opened[1])
        except BaseException:  # an interrupt: nobody will call __exit__
            self.stack.end(opened or self.stack.last(self))
            raise
        return self

    def _set(self, before: tuple[Any, ...]) -> None:
        """Set the variables for a with block; ``before`` has their values before it."""
        self._apply()

    def __enter__(self) -> Self:
        return self._begin()

    def __exit__(self, *error: object) -> None:
        opened = self.stack.last(self)
        try:
            self.stack.end(opened)
        except BaseException:
            self.stack.end(opened)
            raise

    def _copy(self) -> Self:
        """A block of its own for one call of a decorated function."""
        block: Self = object.__new__(type(self))
        block.__dict__.update(self.__dict__)
        return block

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
                with block._copy():
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
                with block._copy():
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
        with block._copy():
            return await function(*args, **kwargs)

    return coroutine


def _function(block: Block, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with block._copy():
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

    def _set(self, before: tuple[Any, ...]) -> None:
        if self.mode:
            self._apply()
            return
        frame = sys._getframe(3)  # of the with statement
        in_steps = frame.f_code.co_flags & inspect.CO_ASYNC_GENERATOR
        recording.set(_Off(self, before[0], frame if in_steps else None))


class _Off:
    """The value of `recording` in a block without: false while the block is open, then as before.

    Mostly the block restores the variable. Not where an interrupt comes when ``__exit__`` is called
    and has not begun; and an asynchronous generator that is left before its end is closed by
    another task, which cannot set the variables of this one. There the block counts as open while
    the ``frame`` of the generator runs, so that its mode is none of the caller's.
    """

    __slots__ = ("before", "block", "frame")

    def __init__(self, block: Block, before: Any, frame: FrameType | None) -> None:
        self.block = weakref.ref(block)
        self.before = before
        self.frame = frame

    def __bool__(self) -> bool:
        if self.block() is None:
            self.frame = None
            return bool(self.before)
        if self.frame is None:
            return False
        running: FrameType | None = sys._getframe(1)
        while running is not None and running is not self.frame:
            running = running.f_back
        return running is None and bool(self.before)

    def __call__(self, node: Any, raws: Any, y: Any) -> None:
        if self.before is not True:
            self.before(node, raws, y)


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
        before, self._before = self._before, None
        return self._begin(before)

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
