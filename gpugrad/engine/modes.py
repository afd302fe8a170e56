"""Whether operations are recorded: per thread and per async task. Imports nothing."""

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self, TypeVar

__all__ = [
    "enable_grad", "is_grad_enabled", "no_grad", "observed", "observer", "recording",
    "set_grad_enabled",
]  # fmt: skip

# A context variable is seen by one thread, and by one asyncio task, alone.
# While operations are being observed it holds the observer in the place of True.
recording: ContextVar[Any] = ContextVar("gpugrad_recording", default=True)

# Called as observer(node, raws, y) for each recorded operation, and in a walk as
# observer.gradient(node, parent, d) for each gradient of an argument. None for nobody.
observer: ContextVar[Any] = ContextVar("gpugrad_observer", default=None)

F = TypeVar("F", bound=Callable[..., Any])


def is_grad_enabled() -> bool:
    """Whether operations on tensors that require a gradient are being recorded.

    >>> import gpugrad as gg
    >>> with gg.no_grad():
    ...     gg.is_grad_enabled()
    False
    """
    return bool(recording.get())


class _Mode:
    """A block, or a decorated function, inside which recording is on or off."""

    def __init__(self, mode: bool) -> None:
        self.mode = mode
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        self._before.append(recording.get())
        self._apply()
        return self

    def _apply(self) -> None:
        recording.set(self.mode and (observer.get() or True))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        recording.set(self._before.pop())

    def __call__(self, function: F) -> F:
        """Decorate a function, a generator function or a coroutine function (or both in one)."""
        mode = self.mode
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Any:
                # Between two steps the caller runs, and the mode there is the caller's.
                steps = function(*args, **kwargs)
                send: Callable[[], Any] = functools.partial(next, steps)
                while True:
                    try:
                        with _Mode(mode):
                            value = send()
                    except StopIteration as stop:
                        return stop.value
                    try:
                        received = yield value
                    except GeneratorExit:
                        with _Mode(mode):
                            steps.close()
                        raise
                    except BaseException as error:  # noqa: BLE001  what is thrown in goes to the generator
                        send = functools.partial(steps.throw, error)
                    else:
                        send = functools.partial(steps.send, received)

            return generator  # type: ignore[return-value]
        if inspect.isasyncgenfunction(function):

            @functools.wraps(function)
            async def async_generator(*args: Any, **kwargs: Any) -> Any:
                steps = function(*args, **kwargs)
                send: Callable[[], Any] = steps.__anext__
                while True:
                    try:
                        with _Mode(mode):
                            value = await send()
                    except StopAsyncIteration:
                        return
                    try:
                        received = yield value
                    except GeneratorExit:
                        with _Mode(mode):
                            await steps.aclose()
                        raise
                    except BaseException as error:  # noqa: BLE001  as above
                        send = functools.partial(steps.athrow, error)
                    else:
                        send = functools.partial(steps.asend, received)

            return async_generator  # type: ignore[return-value]
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def coroutine(*args: Any, **kwargs: Any) -> Any:
                with _Mode(mode):
                    return await function(*args, **kwargs)

            return coroutine  # type: ignore[return-value]

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with _Mode(mode):
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


class observed:  # noqa: N801 - a block, like the others
    """Inside this block ``watch`` observes what is recorded and differentiated."""

    def __init__(self, watch: Any) -> None:
        self.watch = watch
        self._before: list[tuple[Any, Any]] = []

    def __enter__(self) -> Any:
        self._before.append((observer.get(), recording.get()))
        observer.set(self.watch)
        if recording.get():
            recording.set(self.watch)
        return self.watch

    def __exit__(self, *_: object) -> None:
        before, mode = self._before.pop()
        observer.set(before)
        recording.set(mode)


class _FixedMode(_Mode):
    mode: bool

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        made = super().__new__(cls)
        if function is None:
            return made
        made.__init__()  # type: ignore[misc]
        return made(function)  # `@gg.no_grad`, without the parentheses

    def __init__(self) -> None:
        super().__init__(self.mode)


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
    """Inside this block operations are recorded, also where an outer block says not to.

    >>> import gpugrad as gg
    >>> x = gg.tensor(2.0, requires_grad=True)
    >>> with gg.no_grad(), gg.enable_grad():
    ...     (x * x).requires_grad
    True
    """

    mode = True


class set_grad_enabled(_Mode):  # noqa: N801 - PyTorch's name
    """Turn recording on or off: from the call on, or for one ``with`` block.

    >>> import gpugrad as gg
    >>> x = gg.tensor(2.0, requires_grad=True)
    >>> with gg.set_grad_enabled(False):
    ...     (x * x).requires_grad
    False
    """

    def __init__(self, mode: bool) -> None:
        super().__init__(bool(mode))
        super().__enter__()
        self._entered = True

    def __enter__(self) -> Self:
        if not self._entered:  # the second block with the same object
            super().__enter__()
        self._entered = False
        return self

    def __call__(self, function: F) -> F:
        if self._entered:
            self._entered = False
            recording.set(self._before.pop())
        return super().__call__(function)
