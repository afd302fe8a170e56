"""Random numbers that are the same on every device: ``gg.random``.

Imports tensor, backend, errors and the modules beside it. `philox` has the formulas,
`generator` the class `Generator`.

The functions here draw from the default generator, or from the one passed as ``generator=``.
The default generator is one for the whole process. Its seed comes from the operating system,
or from ``manual_seed``. All threads share it safely: no two draws get the same bits, but the
assignment to threads depends on timing. Threads whose results must be reproducible use a
`Generator` each.
"""

import threading
from typing import TYPE_CHECKING, Any

from gpugrad.errors import DTypeError
from gpugrad.random.generator import DeviceLike, Generator, Size, State
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


def _generator_or_default(who: str, generator: Generator | None) -> Generator:
    if generator is None:
        return default_generator()
    if not isinstance(generator, Generator):
        raise DTypeError(
            f"{who}: generator must be a gg.random.Generator, got {type(generator).__name__}; "
            "gg.random.Generator(seed) makes one"
        )
    return generator


def bits(
    size: Size = None, *, device: DeviceLike = None, generator: Generator | None = None
) -> Tensor:
    """Random 32-bit words, uint32: see ``Generator.bits``.

    >>> import gpugrad as gg
    >>> gg.random.bits(4, generator=gg.random.Generator(0)).dtype
    dtype('uint32')
    """
    return _generator_or_default("bits", generator).bits(size, device=device)


def uniform(
    low: float = 0.0,
    high: float = 1.0,
    size: Size = None,
    *,
    dtype: Any = None,
    device: DeviceLike = None,
    generator: Generator | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform on [low, high): see ``Generator.uniform``.

    >>> import gpugrad as gg
    >>> gg.random.uniform(-1, 1, (2, 3)).shape
    (2, 3)
    """
    return _generator_or_default("uniform", generator).uniform(
        low, high, size, dtype=dtype, device=device, requires_grad=requires_grad
    )


def normal(
    loc: float = 0.0,
    scale: float = 1.0,
    size: Size = None,
    *,
    dtype: Any = None,
    device: DeviceLike = None,
    generator: Generator | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal with mean ``loc`` and standard deviation ``scale``: see ``Generator.normal``.

    >>> import gpugrad as gg
    >>> gg.random.normal(size=5, dtype="float64").dtype
    dtype('float64')
    """
    return _generator_or_default("normal", generator).normal(
        loc, scale, size, dtype=dtype, device=device, requires_grad=requires_grad
    )


def integers(
    low: int,
    high: int | None = None,
    size: Size = None,
    *,
    dtype: Any = "int64",
    device: DeviceLike = None,
    generator: Generator | None = None,
) -> Tensor:
    """Integers in [low, high), or in [0, low): see ``Generator.integers``.

    >>> import gpugrad as gg
    >>> gg.random.integers(6, size=(2, 2)).shape
    (2, 2)
    """
    return _generator_or_default("integers", generator).integers(
        low, high, size, dtype=dtype, device=device
    )


def bernoulli(
    p: float = 0.5,
    size: Size = None,
    *,
    dtype: Any = bool,
    device: DeviceLike = None,
    generator: Generator | None = None,
) -> Tensor:
    """True with probability ``p``: see ``Generator.bernoulli``.

    >>> import gpugrad as gg
    >>> gg.random.bernoulli(0.0, 3).numpy().tolist()
    [False, False, False]
    """
    return _generator_or_default("bernoulli", generator).bernoulli(
        p, size, dtype=dtype, device=device
    )


def permutation(x: Any, *, device: DeviceLike = None, generator: Generator | None = None) -> Tensor:
    """0 to x - 1, or an array's rows, in random order: see ``Generator.permutation``.

    >>> import gpugrad as gg
    >>> sorted(gg.random.permutation(4).numpy().tolist())
    [0, 1, 2, 3]
    """
    return _generator_or_default("permutation", generator).permutation(x, device=device)


if not TYPE_CHECKING:  # a checker then reports names that are not there
    __getattr__, __dir__ = members("random", __all__)
