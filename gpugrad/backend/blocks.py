"""Blocks that set context variables: what opens, nests and ends them. Imports nothing.

`gpugrad.engine.modes` has the blocks that set modes of the engine, `gpugrad.backend.device` the one
that sets the default device.
"""

import functools
import inspect
import sys
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from types import FrameType
from typing import Any, Protocol, Self, TypeVar

__all__ = ["Block", "Held", "Off", "Stack", "held", "now"]

F = TypeVar("F", bound=Callable[..., Any])


class Held:
    """The value of a variable in a block: while the block is open, then the value before.

    Mostly the block restores the variable. Not where an interrupt comes when ``__exit__`` is called
    and has not begun, and not where a generator is left before its end and closed by another thread
    or task, which cannot set the variables of this one: then the value knows that the block is
    gone. Nobody can tell when an asynchronous generator that was left will be closed, so its block
    counts as open while its ``frame`` runs, and its mode is none of the caller's.
    """

    __slots__ = ("before", "block", "frame", "value")

    def __init__(
        self, block: Callable[[], Any], before: Any, value: Any, frame: FrameType | None
    ) -> None:
        self.block = block
        self.before = before
        self.value = value
        self.frame = frame

    def is_open(self) -> bool:
        """Whether the block holds here and now."""
        if self.block() is None:
            self.frame = None
        if self.frame is None:
            return self.block() is not None
        running: FrameType | None = sys._getframe(1)
        while running is not None and running is not self.frame:
            running = running.f_back
        return running is not None

    def __bool__(self) -> bool:
        return bool(now(self))

    def __call__(self, node: Any, raws: Any, y: Any) -> None:
        """Observe an operation, as the value of `gpugrad.engine.modes.recording` does."""
        watch = now(self)
        if callable(watch):
            watch(node, raws, y)

    def end(self) -> None:
        """Note that the block has ended, though another that began later has not."""
        self.block, self.frame = _nothing, None


def _nothing() -> None:
    return None


class Off(list[Any]):
    """A false value in a block, for which nothing in Python is called to see that it is false.

    It is an empty list. An interrupt may come when ``__exit__`` is called and has not begun. Then
    the reference to the block, which is gone, is appended, so that the value is true, and stands
    for the one before.
    """

    __slots__ = ("before",)

    before: Any

    def gone(self, block: "weakref.ref[Any]") -> None:
        """Stand for the value before, if that is true by now."""
        if self.before:
            self.append(block)

    def end(self) -> None:
        """Note that the block has ended, though another that began later has not."""
        self.append(None)

    def __call__(self, node: Any, raws: Any, y: Any) -> None:
        """Observe an operation, as `Held` does."""
        watch = now(self.before)
        if callable(watch):
            watch(node, raws, y)


def now(value: Any) -> Any:
    """A variable's value without what blocks hold that are gone."""
    while type(value) is Held:
        value = value.value if value.is_open() else value.before
    return value


class Variable(Protocol):
    """What a block sets: a context variable, or what can be read and set like one."""

    def get(self) -> Any:
        """The present value."""

    def set(self, value: Any, /) -> Any:
        """Set another value."""


# A block that is open, and the values of the variables before it.
_Open = tuple[weakref.ref[Any], tuple[Any, ...]]


class Stack:
    """The open blocks of this thread or task, and the variables that they set.

    A block in a generator may end after one that began later. The values from before a block
    then pass to the block that began after it, so that the last one to end restores them.
    """

    def __init__(self, name: str, *variables: Variable) -> None:
        self._variables = variables
        self._values = tuple([variable.get for variable in variables])
        self._open: ContextVar[tuple[_Open, ...]] = ContextVar(name, default=())

    def values(self) -> tuple[Any, ...]:
        """The present values of the variables."""
        return tuple([value() for value in self._values])

    def restore(self, before: tuple[Any, ...]) -> None:
        """Set the variables to earlier values."""
        for variable, value in zip(self._variables, before):
            variable.set(value)

    def begin(self, block: Any, before: tuple[Any, ...] | None = None, left: Any = None) -> "_Open":
        """Note that a block begins, and the values before it, by default the present ones.

        ``left`` is called if the block is gone without its end having been noted.
        """
        blocks = self._open.get()
        if blocks and blocks[-1][0]() is None:
            blocks = self.tidy()
        opened = (weakref.ref(block, left), self.values() if before is None else before)
        self._open.set((*blocks, opened))
        return opened

    def tidy(self) -> tuple["_Open", ...]:
        """End the last blocks where they are gone; returns those that are open."""
        blocks = self._open.get()
        while blocks and blocks[-1][0]() is None:  # an interrupt came before its __exit__ began
            self.restore(blocks[-1][1])
            blocks = blocks[:-1]
        self._open.set(blocks)
        return blocks

    def hold(self, opened: "_Open", frame: FrameType) -> None:
        """Let the values that a block has set hold while it is open: see `Held`."""
        for index, variable in enumerate(self._variables):
            value = variable.get()
            if value is not opened[1][index]:
                variable.set(held(opened, index, value, frame))

    def last(self, block: Any) -> "_Open | None":
        """What `begin` returned last for a block; None if that was in another thread or task."""
        blocks = self._open.get()
        if blocks and blocks[-1][0]() is block:  # mostly
            return blocks[-1]
        return next((opened for opened in blocks[::-1] if opened[0]() is block), None)

    def end(self, opened: "_Open | None") -> None:
        """End a block and restore the variables; nothing happens where it has ended already.

        So it can be called again where an interrupt came in between.
        """
        blocks = self._open.get()
        if opened is None or not blocks:
            return
        if opened is blocks[-1]:
            self.restore(opened[1])
            self._open.set(blocks[:-1])
            return
        if opened not in blocks:
            return
        # Without those that ended in another task.
        blocks = tuple([one for one in blocks if one is opened or one[0]() is not None])
        index = blocks.index(opened)
        if index == len(blocks) - 1:
            self.restore(opened[1])
            self._open.set(blocks[:index])
        else:
            for value in blocks[index + 1][1]:  # which others may have as the value before
                if isinstance(value, Held | Off):
                    value.end()
            later = (blocks[index + 1][0], opened[1])
            self._open.set((*blocks[:index], later, *blocks[index + 2 :]))


def held(opened: _Open, index: int, value: Any, frame: FrameType) -> Held:
    """A value of a variable, that with a number in the stack, while a block is open."""
    steps = frame if frame.f_code.co_flags & inspect.CO_ASYNC_GENERATOR else None
    return Held(opened[0], opened[1][index], value, steps)


class Block:
    """A ``with`` block, and decorator, inside which context variables are set.

    It stores nothing of a use as a block, so threads and tasks can share it.
    """

    stack: Stack

    def _apply(self) -> None:
        """Set the variables."""
        raise NotImplementedError

    def _begin(self, frame: FrameType, before: tuple[Any, ...] | None = None) -> None:
        """Begin the block of a ``with`` statement in the frame, with the values before it."""
        opened = None
        try:
            opened = self.stack.begin(self, before)
            self._apply()
            self.stack.hold(opened, frame)
        except BaseException:  # an interrupt: nobody will call __exit__
            self.stack.end(opened or self.stack.last(self))
            raise

    def __enter__(self) -> Any:
        self._begin(sys._getframe(1))
        return self

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
