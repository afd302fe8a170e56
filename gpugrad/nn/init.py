"""Initialization of parameters, in place: ``gg.nn.init``. Imports tensor, random and errors.

Each function fills a leaf, whether or not operations are recorded, and returns it. Random numbers
come from ``gg.random``, so the same seed gives the same values on every device (normal ones up to
rounding); ``generator=`` is the generator to draw from.

The fans of a weight of shape (outputs, inputs, k1, k2, ...) are the number of inputs of one
output, ``fan_in = inputs · k1 · k2 ...``, and the number of outputs of one input,
``fan_out = outputs · k1 · k2 ...``.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from gpugrad import random
from gpugrad.backend.precision import SINGLE, kind_of
from gpugrad.errors import DTypeError, GradientError, ShapeError
from gpugrad.random import Generator
from gpugrad.tensor import Tensor
from gpugrad.tensor.hints import members

__all__ = [
    "calculate_gain", "constant_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_",
    "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
]  # fmt: skip

T = TypeVar("T", bound=Tensor)


def _checked(who: str, tensor: Any) -> None:
    if not isinstance(tensor, Tensor):
        raise DTypeError(f"{who}: expected a Tensor to fill, got {type(tensor).__name__}")
    if not tensor.is_leaf:
        raise GradientError(
            f"{who}: this tensor was computed by an operation; only a leaf can be filled in place"
        )


def _filled(who: str, tensor: T, values: Any) -> T:
    _checked(who, tensor)
    tensor._write(Ellipsis, values)
    return tensor


def drawn_in(dtype: Any) -> Any:
    """The dtype in which random numbers of a dtype are drawn: float32 for bfloat16."""
    return SINGLE if dtype.kind != "f" and kind_of(dtype) == "f" else dtype


def _drawn(
    who: str, tensor: T, draw: Callable[..., Tensor], a: float, b: float, generator: Any
) -> T:
    """A tensor filled with the numbers of a distribution with two parameters."""
    _checked(who, tensor)
    like: Any = {"dtype": drawn_in(tensor.dtype), "device": tensor.device}
    return _filled(who, tensor, draw(a, b, tensor.shape, generator=generator, **like))


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None) -> T:
    """Uniform on [a, b).

    >>> import gpugrad as gg
    >>> w = gg.nn.init.uniform_(gg.empty((2, 3)), -1.0, 1.0)
    >>> bool((abs(w) <= 1).all())
    True
    """
    return _drawn("uniform_", tensor, random.uniform, a, b, generator)


def normal_(
    tensor: T, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> T:
    """Normal with a mean and a standard deviation.

    >>> import gpugrad as gg
    >>> gg.nn.init.normal_(gg.empty(3), 5.0, 0.0).tolist()
    [5.0, 5.0, 5.0]
    """
    return _drawn("normal_", tensor, random.normal, mean, std, generator)


def constant_(tensor: T, val: Any) -> T:
    """A constant: a number, or what broadcasts, without a gradient.

    >>> import gpugrad as gg
    >>> gg.nn.init.constant_(gg.empty(2), 0.5)
    tensor([0.5, 0.5])
    """
    if isinstance(val, Tensor) and val.requires_grad:
        raise GradientError(
            "constant_: an initial value has no gradient. Give it a number, as t.item() is"
        )
    return _filled("constant_", tensor, val)


def zeros_(tensor: T) -> T:
    """Zeros."""
    return _filled("zeros_", tensor, 0.0)


def ones_(tensor: T) -> T:
    """Ones."""
    return _filled("ones_", tensor, 1.0)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that compensates for the shrinking of a signal by an activation.

    1 for "linear" and "sigmoid", 5/3 for "tanh", √2 for "relu", √(2 / (1 + a²)) for "leaky_relu"
    of slope a = ``param`` (0.01 if None), ¾ for "selu", as in PyTorch. ValueError for others.

    >>> import gpugrad as gg
    >>> round(gg.nn.init.calculate_gain("relu"), 4)
    1.4142
    """
    slope = 0.01 if param is None else param
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5.0 / 3.0,
        "relu": math.sqrt(2.0),
        "leaky_relu": math.sqrt(2.0 / (1.0 + slope**2)),
        "selu": 0.75,
    }
    if nonlinearity not in gains:
        raise ValueError(
            f"calculate_gain: nonlinearity must be one of {', '.join(gains)}, got {nonlinearity!r}"
        )
    return gains[nonlinearity]


def _fans(who: str, tensor: Any) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight of shape (outputs, inputs, ...)."""
    _checked(who, tensor)
    if tensor.ndim < 2:
        raise ShapeError(
            f"{who}: expected a weight of two axes or more, (outputs, inputs, ...), got shape "
            f"{tensor.shape}; it has no fan. Use uniform_ or normal_"
        )
    if not tensor.size:
        raise ShapeError(f"{who}: a weight of shape {tensor.shape} has no elements to fill")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _xavier(who: str, tensor: Any, gain: float) -> float:
    fan_in, fan_out = _fans(who, tensor)
    return gain * math.sqrt(2.0 / (fan_in + fan_out))


def _kaiming(who: str, tensor: Any, a: float, mode: str, nonlinearity: str) -> float:
    fan_in, fan_out = _fans(who, tensor)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{who}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    gain = calculate_gain(nonlinearity, a)
    return gain / math.sqrt(fan_in if mode == "fan_in" else fan_out)


def xavier_uniform_(tensor: T, gain: float = 1.0, *, generator: Generator | None = None) -> T:
    """Uniform on ±gain · √(6 / (fan_in + fan_out)).

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", 2010, equation 16. ShapeError for fewer than two axes.

    >>> import gpugrad as gg
    >>> w = gg.nn.init.xavier_uniform_(gg.empty((2, 4)))
    >>> bool((abs(w) <= 1).all())
    True
    """
    bound = math.sqrt(3.0) * _xavier("xavier_uniform_", tensor, gain)
    return uniform_(tensor, -bound, bound, generator=generator)


def xavier_normal_(tensor: T, gain: float = 1.0, *, generator: Generator | None = None) -> T:
    """Normal with the standard deviation gain · √(2 / (fan_in + fan_out)).

    Glorot and Bengio, 2010, equation 12: the variance that preserves signals and gradients.
    ShapeError for fewer than two axes.

    >>> import gpugrad as gg
    >>> gg.nn.init.xavier_normal_(gg.empty((2, 4))).shape
    (2, 4)
    """
    return normal_(tensor, 0.0, _xavier("xavier_normal_", tensor, gain), generator=generator)


def kaiming_uniform_(
    tensor: T, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", *,
    generator: Generator | None = None,
) -> T:  # fmt: skip
    """Uniform on ±gain · √(3 / fan), the gain that of `calculate_gain`.

    He et al., "Delving deep into rectifiers", 2015, equation 15 (``a`` is the slope of a leaky
    relu, 0 for a relu): "fan_in" preserves the size of signals, "fan_out" that of gradients.
    ShapeError for fewer than two axes, ValueError for another mode.

    >>> import gpugrad as gg
    >>> w = gg.nn.init.kaiming_uniform_(gg.empty((2, 6)))
    >>> bool((abs(w) <= 1).all())
    True
    """
    bound = math.sqrt(3.0) * _kaiming("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator=generator)


def kaiming_normal_(
    tensor: T, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", *,
    generator: Generator | None = None,
) -> T:  # fmt: skip
    """Normal with the standard deviation gain / √fan: see `kaiming_uniform_`.

    >>> import gpugrad as gg
    >>> gg.nn.init.kaiming_normal_(gg.empty((2, 6)), mode="fan_out").shape
    (2, 6)
    """
    std = _kaiming("kaiming_normal_", tensor, a, mode, nonlinearity)
    return normal_(tensor, 0.0, std, generator=generator)


if not TYPE_CHECKING:  # a checker then reports names that are not there
    __getattr__, __dir__ = members("nn.init", __all__)
