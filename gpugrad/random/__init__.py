"""Random numbers that are the same on every device: ``gg.random``.

Imports tensor, backend, errors and the modules beside it. `philox` has the formulas,
`generator` the class `Generator`, whose draws are functions here as well.

These draw from the default generator, or from the one passed as ``generator=``.
The default generator is one for the whole process. Its seed comes from the operating system,
or from ``manual_seed``. All threads share it safely: no two draws get the same bits, but the
assignment to threads depends on timing. Threads whose results must be reproducible use a
`Generator` each.
"""

import inspect
import threading
from collections.abc import Callable
from typing import Any

from gpugrad.errors import DTypeError
from gpugrad.random.generator import Generator, State
from gpugrad.tensor import Tensor
from gpugrad.tensor.hints import members

__all__ = [
    "Generator", "bernoulli", "bits", "default_generator", "get_state", "integers", "manual_seed",
    "normal", "permutation", "set_state", "uniform",
]  # fmt: skip

_lock = threading.Lock()
_default: Generator | None = None


def default_generator() -> Generator:
    """The generator of draws without ``generator=``; all threads of the process share it.

    >>> import gpugrad as gg
    >>> gg.random.default_generator() is gg.random.default_generator()
    True
    """
    global _default
    if _default is None:
        with _lock:
            if _default is None:
                _default = Generator()
    return _default


def manual_seed(seed: int) -> Generator:
    """Restart the default generator from a seed in [0, 2**64); returns it.

    >>> import gpugrad as gg
    >>> gg.random.manual_seed(42)
    Generator(seed=42, counter=0)
    """
    generator = default_generator()
    generator.set_state((seed, 0, 0))
    return generator


def get_state() -> State:
    """The default generator's state: see ``Generator.get_state``."""
    return default_generator().get_state()


def set_state(state: State) -> None:
    """Set the default generator to a state of ``get_state``."""
    default_generator().set_state(state)


def _drawing(name: str) -> Callable[..., Tensor]:
    """A method of `Generator` as a function, with ``generator`` as one more keyword."""
    method = getattr(Generator, name)

    def draw(*args: Any, generator: Generator | None = None, **kwargs: Any) -> Any:
        if generator is not None and not isinstance(generator, Generator):
            raise DTypeError(
                f"{name}: generator must be a gg.random.Generator, got "
                f"{type(generator).__name__}; gg.random.Generator(seed) makes one"
            )
        return getattr(generator or default_generator(), name)(*args, **kwargs)

    _, *parameters = inspect.signature(method).parameters.values()
    own = inspect.signature(draw).parameters["generator"]
    signature = inspect.signature(method).replace(parameters=[*parameters, own])
    draw.__name__ = draw.__qualname__ = name
    draw.__doc__ = method.__doc__
    setattr(draw, "__signature__", signature)  # noqa: B010
    return draw


bernoulli, bits, integers, normal, permutation, uniform = map(
    _drawing, ("bernoulli", "bits", "integers", "normal", "permutation", "uniform")
)

__getattr__, __dir__ = members("random", __all__)
