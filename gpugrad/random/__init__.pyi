"""Random numbers that are the same on every device: ``gg.random``.

Written by ci/stubs.py from the op table; do not edit.
"""

from typing import Any

from gpugrad.backend.device import Device
from gpugrad.random.generator import Generator
from gpugrad.tensor.core import Tensor

__all__ = [
    "Generator",
    "bernoulli",
    "bits",
    "default_generator",
    "get_state",
    "integers",
    "manual_seed",
    "normal",
    "permutation",
    "set_state",
    "uniform",
]

def bernoulli(
    p: float = 0.5,
    size: int | tuple[int, ...] | None = None,
    *,
    dtype: Any = ...,
    device: str | Device | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """True (or 1, in the requested dtype) with probability ``p``, else False."""

def bits(
    size: int | tuple[int, ...] | None = None,
    *,
    device: str | Device | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """The raw 32-bit words of the stream, uint32."""

def default_generator() -> Generator:
    """The generator of draws without ``generator=``; all threads of the process share it."""

def get_state() -> tuple[int, int, int]:
    """The default generator's state: see ``Generator.get_state``."""

def integers(
    low: int,
    high: int | None = None,
    size: int | tuple[int, ...] | None = None,
    *,
    dtype: Any = ...,
    device: str | Device | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Integers in [low, high), or in [0, low) where ``high`` is None; any integer dtype."""

def manual_seed(seed: int) -> Generator:
    """Restart the default generator from a seed in [0, 2**64); returns it."""

def normal(
    loc: float = 0.0,
    scale: float = 1.0,
    size: int | tuple[int, ...] | None = None,
    *,
    dtype: Any = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Normal with mean ``loc`` and standard deviation ``scale``, by Box and Muller."""

def permutation(
    x: Any, *, device: str | Device | None = None, generator: Generator | None = None
) -> Tensor:
    """The numbers 0 to x - 1 in random order (int64), or an array's rows in random order."""

def set_state(state: tuple[int, int, int]) -> None:
    """Set the default generator to a state of ``get_state``."""

def uniform(
    low: float = 0.0,
    high: float = 1.0,
    size: int | tuple[int, ...] | None = None,
    *,
    dtype: Any = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Uniform on [low, high), in float16, float32 or float64 (None: the default dtype)."""
