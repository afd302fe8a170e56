"""gpugrad: derivatives of NumPy and CuPy code.

Written by ci/stubs.py from the op table; do not edit.
"""

import builtins
from collections.abc import Sequence
from typing import Any, SupportsIndex, TypeAlias

from numpy import (
    bool,
    bool_,
    complex64,
    complex128,
    dtype,
    e,
    float16,
    float32,
    float64,
    inf,
    int8,
    int16,
    int32,
    int64,
    nan,
    newaxis,
    pi,
    uint8,
    uint16,
    uint32,
    uint64,
)

from gpugrad import autodiff, backend, data, errors, inspect, io, nn, optim, random
from gpugrad.autodiff import (
    checkpoint,
    custom_op,
    grad,
    gradcheck,
    gradgradcheck,
    gradients,
    hessian,
    hvp,
    jacobian,
    jvp,
    linearize,
    saved,
    value_and_grad,
    vjp,
)
from gpugrad.backend import Device, cuda, default_device, set_default_device
from gpugrad.backend.device import device
from gpugrad.engine.modes import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from gpugrad.errors import (
    AnomalyError,
    ArgumentError,
    AxisError,
    DeviceError,
    DTypeError,
    FileFormatError,
    GpugradError,
    GradientError,
    IndexingError,
    ShapeError,
    SyncError,
)
from gpugrad.inspect import debug_mode, detect_anomaly, draw, explain, sync_guard
from gpugrad.io import load, save
from gpugrad.random import manual_seed
from gpugrad.tensor import Tensor, linalg
from gpugrad.tensor.creation import (
    arange,
    asarray,
    empty,
    empty_like,
    eye,
    full,
    full_like,
    get_default_dtype,
    linspace,
    ones,
    ones_like,
    set_default_dtype,
    tensor,
    zeros,
    zeros_like,
)
from gpugrad.tensor.dtypes import FloatInfo, WholeInfo
from gpugrad.tensor.standard import Info

_Axis: TypeAlias = SupportsIndex | tuple[SupportsIndex, ...] | None
__all__ = [
    "AnomalyError",
    "ArgumentError",
    "AxisError",
    "DTypeError",
    "Device",
    "DeviceError",
    "FileFormatError",
    "GpugradError",
    "GradientError",
    "IndexingError",
    "ShapeError",
    "SyncError",
    "Tensor",
    "__array_api_version__",
    "__array_namespace_info__",
    "abs",
    "absolute",
    "acos",
    "acosh",
    "add",
    "all",
    "amax",
    "amin",
    "any",
    "arange",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "argmax",
    "argmin",
    "argsort",
    "around",
    "asarray",
    "asin",
    "asinh",
    "astype",
    "atan",
    "atan2",
    "atanh",
    "autodiff",
    "backend",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "bool",
    "bool_",
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "can_cast",
    "cbrt",
    "ceil",
    "checkpoint",
    "clip",
    "complex64",
    "complex128",
    "concat",
    "concatenate",
    "conj",
    "conjugate",
    "copysign",
    "cos",
    "cosh",
    "count_nonzero",
    "cuda",
    "cumprod",
    "cumsum",
    "custom_op",
    "data",
    "debug_mode",
    "default_device",
    "deg2rad",
    "degrees",
    "detect_anomaly",
    "device",
    "diagonal",
    "divide",
    "dot",
    "draw",
    "e",
    "einsum",
    "elu",
    "empty",
    "empty_like",
    "enable_grad",
    "equal",
    "erf",
    "errors",
    "exp",
    "exp2",
    "expand_dims",
    "explain",
    "expm1",
    "eye",
    "fabs",
    "finfo",
    "fix",
    "flatten",
    "flip",
    "float16",
    "float32",
    "float64",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "from_dlpack",
    "full",
    "full_like",
    "gcd",
    "gelu",
    "get_default_dtype",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "gradients",
    "greater",
    "greater_equal",
    "heaviside",
    "hessian",
    "hvp",
    "hypot",
    "iinfo",
    "imag",
    "index_update",
    "inf",
    "inspect",
    "int8",
    "int16",
    "int32",
    "int64",
    "invert",
    "io",
    "is_grad_enabled",
    "isdtype",
    "isfinite",
    "isinf",
    "isnan",
    "jacobian",
    "jvp",
    "lcm",
    "ldexp",
    "leaky_relu",
    "left_shift",
    "less",
    "less_equal",
    "linalg",
    "linearize",
    "linspace",
    "load",
    "log",
    "log1p",
    "log2",
    "log10",
    "log_softmax",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "manual_seed",
    "matmul",
    "matrix_transpose",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mod",
    "moveaxis",
    "multiply",
    "nan",
    "negative",
    "newaxis",
    "nextafter",
    "nn",
    "no_grad",
    "nonzero",
    "not_equal",
    "ones",
    "ones_like",
    "optim",
    "outer",
    "pad",
    "permute_dims",
    "pi",
    "positive",
    "pow",
    "power",
    "prod",
    "rad2deg",
    "radians",
    "random",
    "ravel",
    "real",
    "reciprocal",
    "relu",
    "remainder",
    "repeat",
    "reshape",
    "result_type",
    "right_shift",
    "rint",
    "roll",
    "round",
    "save",
    "saved",
    "set_default_device",
    "set_default_dtype",
    "set_grad_enabled",
    "sigmoid",
    "sign",
    "signbit",
    "silu",
    "sin",
    "sinc",
    "sinh",
    "softmax",
    "softplus",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "swapaxes",
    "sync_guard",
    "take",
    "take_along_axis",
    "tan",
    "tanh",
    "tensor",
    "tensordot",
    "tile",
    "transpose",
    "tril",
    "triu",
    "true_divide",
    "trunc",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "unstack",
    "value_and_grad",
    "var",
    "vecdot",
    "vjp",
    "where",
    "zeros",
    "zeros_like",
]
__version__: str
__array_api_version__: str

def sigmoid(x: Any, /) -> Tensor:
    """1 / (1 + e ** -x), elementwise, for x of any size."""

def relu(x: Any, /) -> Tensor:
    """x where x > 0 and else 0; its derivative at 0 is 0."""

def softplus(x: Any, /) -> Tensor:
    """log(1 + e ** x), elementwise, for x of any size."""

def silu(x: Any, /) -> Tensor:
    """x * sigmoid(x), elementwise (Elfwing et al., 2018); also named swish."""

def elu(x: Any, /, alpha: float = 1.0) -> Tensor:
    """x where x > 0 and else alpha * (e ** x - 1) (Clevert et al., 2016)."""

def leaky_relu(x: Any, /, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0 and else negative_slope * x."""

def erf(x: Any, /) -> Tensor:
    """The error function, elementwise (W. J. Cody's approximation, 1969)."""

def gelu(x: Any, /, approximate: str = "none") -> Tensor:
    """x * Φ(x), Φ the normal distribution function (Hendrycks and Gimpel, 2016);
    approximate="tanh" for their faster form.
    """

def real(x: Any, /) -> Tensor:
    """The real part, elementwise."""

def imag(x: Any, /) -> Tensor:
    """The imaginary part, elementwise; 0 for real numbers."""

def conj(x: Any, /) -> Tensor:
    """The complex conjugate, elementwise; x for real numbers."""

def matmul(a: Any, b: Any, /) -> Tensor:
    """The matrix product; stacks of matrices broadcast, vectors act as NumPy's do."""

def tril(x: Any, /, k: int = 0) -> Tensor:
    """Matrices with zeros above their diagonal ``k``."""

def triu(x: Any, /, k: int = 0) -> Tensor:
    """Matrices with zeros below their diagonal ``k``."""

def diagonal(x: Any, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The elements on a diagonal of the matrices that two axes make, along a last axis."""

def add(a: Any, b: Any, /) -> Tensor:
    """a + b, elementwise."""

def subtract(a: Any, b: Any, /) -> Tensor:
    """a - b, elementwise."""

def multiply(a: Any, b: Any, /) -> Tensor:
    """a * b, elementwise."""

def divide(a: Any, b: Any, /) -> Tensor:
    """a / b, elementwise."""

def negative(x: Any, /) -> Tensor:
    """-x, elementwise."""

def positive(x: Any, /) -> Tensor:
    """+x: the values of x."""

def abs(x: Any, /) -> Tensor:
    """The absolute value, elementwise; its derivative at 0 is 0."""

def square(x: Any, /) -> Tensor:
    """x * x, elementwise."""

def sqrt(x: Any, /) -> Tensor:
    """The square root, elementwise."""

def reciprocal(x: Any, /) -> Tensor:
    """1 / x, elementwise."""

def power(a: Any, b: Any, /) -> Tensor:
    """a ** b, elementwise; at a = 0 the derivative by b is 0."""

def floor_divide(a: Any, b: Any, /) -> Tensor:
    """The largest integer not above a / b, elementwise; its derivative is 0."""

def remainder(a: Any, b: Any, /) -> Tensor:
    """a - b * floor(a / b), elementwise: Python's %."""

def exp(x: Any, /) -> Tensor:
    """e ** x, elementwise."""

def exp2(x: Any, /) -> Tensor:
    """2 ** x, elementwise."""

def expm1(x: Any, /) -> Tensor:
    """e ** x - 1, elementwise, accurate near 0."""

def log(x: Any, /) -> Tensor:
    """The natural logarithm, elementwise."""

def log1p(x: Any, /) -> Tensor:
    """log(1 + x), elementwise, accurate near 0."""

def log2(x: Any, /) -> Tensor:
    """The logarithm to base 2, elementwise."""

def log10(x: Any, /) -> Tensor:
    """The logarithm to base 10, elementwise."""

def sin(x: Any, /) -> Tensor:
    """The sine of an angle in radians."""

def cos(x: Any, /) -> Tensor:
    """The cosine of an angle in radians."""

def tan(x: Any, /) -> Tensor:
    """The tangent of an angle in radians."""

def arcsin(x: Any, /) -> Tensor:
    """The angle in [-π/2, π/2], in radians, whose sine is x."""

def arccos(x: Any, /) -> Tensor:
    """The angle in [0, π], in radians, whose cosine is x."""

def arctan(x: Any, /) -> Tensor:
    """The angle in [-π/2, π/2], in radians, whose tangent is x."""

def sinh(x: Any, /) -> Tensor:
    """The hyperbolic sine."""

def cosh(x: Any, /) -> Tensor:
    """The hyperbolic cosine."""

def tanh(x: Any, /) -> Tensor:
    """The hyperbolic tangent: 1 for large x, never an overflow."""

def arcsinh(x: Any, /) -> Tensor:
    """The inverse of the hyperbolic sine."""

def arccosh(x: Any, /) -> Tensor:
    """The inverse of the hyperbolic cosine, for x >= 1."""

def arctanh(x: Any, /) -> Tensor:
    """The inverse of the hyperbolic tangent, for -1 < x < 1."""

def maximum(a: Any, b: Any, /) -> Tensor:
    """The larger of a and b, elementwise; at a tie each gets half of the gradient."""

def minimum(a: Any, b: Any, /) -> Tensor:
    """The smaller of a and b, elementwise; at a tie each gets half of the gradient."""

def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:
    """x held between ``min`` and ``max``, numbers or arrays, either of which may be None."""

def where(condition: Any, a: Any, b: Any, /) -> Tensor:
    """a where the condition holds and else b."""

def sign(x: Any, /) -> Tensor:
    """-1, 0 or 1, as x is negative, zero or positive, elementwise; its derivative is 0."""

def floor(x: Any, /) -> Tensor:
    """The largest integer not above x, elementwise; its derivative is 0."""

def ceil(x: Any, /) -> Tensor:
    """The smallest integer not below x, elementwise; its derivative is 0."""

def trunc(x: Any, /) -> Tensor:
    """x without what follows the point, elementwise; its derivative is 0."""

def rint(x: Any, /) -> Tensor:
    """The nearest integer, the even one at a tie, elementwise; its derivative is 0."""

def round(x: Any, /, decimals: int = 0) -> Tensor:
    """x rounded to ``decimals`` places, to even at a tie; its derivative is 0."""

def equal(a: Any, b: Any, /) -> Tensor:
    """a == b, elementwise. No gradient."""

def not_equal(a: Any, b: Any, /) -> Tensor:
    """a != b, elementwise. No gradient."""

def less(a: Any, b: Any, /) -> Tensor:
    """a < b, elementwise. No gradient."""

def less_equal(a: Any, b: Any, /) -> Tensor:
    """a <= b, elementwise. No gradient."""

def greater(a: Any, b: Any, /) -> Tensor:
    """a > b, elementwise. No gradient."""

def greater_equal(a: Any, b: Any, /) -> Tensor:
    """a >= b, elementwise. No gradient."""

def logical_and(a: Any, b: Any, /) -> Tensor:
    """Both of a and b, elementwise. No gradient."""

def logical_or(a: Any, b: Any, /) -> Tensor:
    """Either of a and b, elementwise. No gradient."""

def logical_xor(a: Any, b: Any, /) -> Tensor:
    """One of a and b, not both, elementwise. No gradient."""

def bitwise_and(a: Any, b: Any, /) -> Tensor:
    """a & b, elementwise. No gradient."""

def bitwise_or(a: Any, b: Any, /) -> Tensor:
    """a | b, elementwise. No gradient."""

def bitwise_xor(a: Any, b: Any, /) -> Tensor:
    """a ^ b, elementwise. No gradient."""

def left_shift(a: Any, b: Any, /) -> Tensor:
    """a << b, of integers, elementwise. No gradient."""

def right_shift(a: Any, b: Any, /) -> Tensor:
    """a >> b, of integers, elementwise. No gradient."""

def logical_not(x: Any, /) -> Tensor:
    """Not x, elementwise. No gradient."""

def invert(x: Any, /) -> Tensor:
    """~x, elementwise. No gradient."""

def isnan(x: Any, /) -> Tensor:
    """Whether x is not a number, elementwise. No gradient."""

def isinf(x: Any, /) -> Tensor:
    """Whether x is infinite, elementwise. No gradient."""

def isfinite(x: Any, /) -> Tensor:
    """Whether x is a finite number, elementwise. No gradient."""

def signbit(x: Any, /) -> Tensor:
    """Whether the sign of x is minus, elementwise. No gradient."""

def sum(
    x: Any,
    /,
    axis: SupportsIndex | tuple[SupportsIndex, ...] | None = None,
    keepdims: builtins.bool = False,
    *,
    dtype: Any = None,
) -> Tensor:
    """The sum along axes; float16 is accumulated in float32."""

def mean(x: Any, /, axis: _Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """The arithmetic mean along axes; NaN for no elements."""

def prod(
    x: Any,
    /,
    axis: SupportsIndex | tuple[SupportsIndex, ...] | None = None,
    keepdims: builtins.bool = False,
    *,
    dtype: Any = None,
) -> Tensor:
    """The product along axes; its derivatives are exact where elements are 0."""

def max(x: Any, /, axis: _Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """The largest element along axes; those that tie share the gradient equally."""

def min(x: Any, /, axis: _Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """The smallest element along axes; those that tie share the gradient equally."""

def var(
    x: Any,
    /,
    axis: Any = None,
    keepdims: builtins.bool = False,
    *,
    correction: float = 0,
    ddof: float | None = None,
) -> Tensor:
    """The variance along axes, with n - correction in the denominator (NumPy's ``ddof``)."""

def std(
    x: Any,
    /,
    axis: Any = None,
    keepdims: builtins.bool = False,
    *,
    correction: float = 0,
    ddof: float | None = None,
) -> Tensor:
    """The standard deviation along axes, with n - correction in the denominator (NumPy's
    ``ddof``).
    """

def logsumexp(x: Any, /, axis: _Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """log(sum(exp(x))) along axes, for x of any size; -inf for no probability at all."""

def softmax(x: Any, /, axis: _Axis = -1) -> Tensor:
    """exp(x) divided by its sum along axis, for x of any size."""

def log_softmax(x: Any, /, axis: _Axis = -1) -> Tensor:
    """The logarithm of softmax along axis, for x of any size."""

def cumsum(x: Any, /, axis: _Axis = None) -> Tensor:
    """The running sum along an axis; of the raveled x where axis is None."""

def argmax(x: Any, /, axis: _Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """The index of the first of the largest elements. No gradient."""

def argmin(x: Any, /, axis: _Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """The index of the first of the smallest elements. No gradient."""

def any(x: Any, /, axis: _Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """Whether any element along axes is not zero. No gradient."""

def all(x: Any, /, axis: _Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """Whether all elements along axes are not zero. No gradient."""

def count_nonzero(x: Any, /, axis: _Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """The number of elements along axes that are not zero. No gradient."""

def cumprod(x: Any, /, axis: _Axis = None) -> Tensor:
    """The running product along an axis; its derivatives are exact where elements are 0."""

def reshape(x: Any, /, shape: int | Sequence[int], *, copy: builtins.bool | None = None) -> Tensor:
    """The same elements in another shape, one size of which may be -1."""

def transpose(x: Any, /, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in another order: reversed, or as ``axes`` lists them (also ``permute_dims``)."""

def broadcast_to(x: Any, /, shape: SupportsIndex | Sequence[SupportsIndex]) -> Tensor:
    """x repeated along new axes and those of size 1 until it has a shape."""

def split(x: Any, /, indices_or_sections: Any, axis: _Axis = 0) -> tuple[Tensor, ...]:
    """x cut along an axis: into that many equal pieces, or at the given places."""

def flip(x: Any, /, axis: _Axis = None) -> Tensor:
    """The elements in reverse order along axes."""

def roll(x: Any, /, shift: Any, axis: _Axis = None) -> Tensor:
    """The elements moved along axes; those that leave at one end enter at the other."""

def astype(x: Any, /, dtype: Any, *, copy: builtins.bool = True, device: Any = None) -> Tensor:
    """x in another dtype (and on another device): a copy, or x itself if ``copy`` is False."""

def argsort(
    x: Any,
    /,
    axis: int | None = -1,
    descending: builtins.bool = False,
    stable: builtins.bool = True,
) -> Tensor:
    """The order that sorts x along an axis, equal elements in theirs, NaN last. No gradient."""

def hypot(a: Any, b: Any, /) -> Tensor:
    """sqrt(a**2 + b**2), elementwise, without overflow; its derivative at (0, 0) is 0."""

def arctan2(a: Any, b: Any, /) -> Tensor:
    """The angle in [-π, π] of the point (b, a); its derivative at (0, 0) is 0."""

def logaddexp(a: Any, b: Any, /) -> Tensor:
    """log(exp(a) + exp(b)), elementwise, for numbers of any size."""

def logaddexp2(a: Any, b: Any, /) -> Tensor:
    """log2(2**a + 2**b), elementwise, for numbers of any size."""

def copysign(a: Any, b: Any, /) -> Tensor:
    """The absolute value of a with the sign of b; its derivatives at a = 0 and by b are 0."""

def nextafter(a: Any, b: Any, /) -> Tensor:
    """The next number after a in the direction of b, elementwise. No gradient."""

def fmax(a: Any, b: Any, /) -> Tensor:
    """The larger of a and b, or the one that is not NaN; at a tie each gets half the
    gradient.
    """

def fmin(a: Any, b: Any, /) -> Tensor:
    """The smaller of a and b, or the one that is not NaN; at a tie each gets half the
    gradient.
    """

def fmod(a: Any, b: Any, /) -> Tensor:
    """a - b * trunc(a / b), elementwise: the remainder with the sign of a, as in C."""

def heaviside(a: Any, b: Any, /) -> Tensor:
    """0 where a is negative, b where it is 0, 1 where it is positive; by a the derivative is
    0.
    """

def ldexp(x: Any, exponent: Any, /) -> Tensor:
    """x * 2**exponent, elementwise, for whole exponents, by which there is no gradient."""

def fabs(x: Any, /) -> Tensor:
    """The absolute value as a floating-point number; its derivative at 0 is 0."""

def cbrt(x: Any, /) -> Tensor:
    """The real cube root, elementwise; its derivative at 0, which is infinite, counts as 0."""

def deg2rad(x: Any, /) -> Tensor:
    """An angle in degrees as radians."""

def rad2deg(x: Any, /) -> Tensor:
    """An angle in radians as degrees."""

def sinc(x: Any, /) -> Tensor:
    """sin(πx) / (πx), and 1 at 0; its derivatives at 0 are exact, of every order."""

def gcd(a: Any, b: Any, /) -> Tensor:
    """The greatest common divisor of whole numbers, elementwise. No gradient."""

def lcm(a: Any, b: Any, /) -> Tensor:
    """The least common multiple of whole numbers, elementwise. No gradient."""

def concat(arrays: Sequence[Any], /, axis: int | None = 0) -> Tensor:
    """Arrays joined along an axis that they have (also ``concatenate``); None ravels them
    first.
    """

def dot(a: Any, b: Any, /) -> Tensor:
    """NumPy's dot: a product of numbers, vectors or matrices; of more axes, a tensordot."""

def einsum(subscripts: str, /, *operands: Any) -> Tensor:
    """Einstein's summation over any number of operands, with ``...`` for broadcast axes."""

def expand_dims(x: Any, /, axis: Any = 0) -> Tensor:
    """New axes of size 1 at the places ``axis`` of the result (PyTorch's ``unsqueeze``)."""

def flatten(x: Any, /, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from ``start_dim`` to ``end_dim``, both included, made one."""

def matrix_transpose(x: Any, /) -> Tensor:
    """The last two axes exchanged."""

def moveaxis(x: Any, /, source: Any, destination: Any) -> Tensor:
    """Axes moved to other places, the others keeping their order."""

def outer(a: Any, b: Any, /) -> Tensor:
    """Every element of a times every element of b, as a matrix."""

def pad(x: Any, /, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Tensor:
    """x with elements around it: ``pad_width`` before and after each axis, in NumPy's forms."""

def ravel(x: Any, /) -> Tensor:
    """The elements along one axis."""

def repeat(x: Any, /, repeats: Any, axis: int | None = None) -> Tensor:
    """Each element repeated along an axis: as often for all, or as ``repeats`` lists."""

def squeeze(x: Any, /, axis: Any = None) -> Tensor:
    """Without axes of size 1: all of them, or those in ``axis``."""

def stack(arrays: Sequence[Any], /, axis: int = 0) -> Tensor:
    """Arrays of one shape joined along a new axis."""

def swapaxes(x: Any, /, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged."""

def take(x: Any, /, indices: Any, axis: int | None = None) -> Tensor:
    """The elements at ``indices`` along an axis; along the raveled x where axis is None."""

def take_along_axis(x: Any, /, indices: Any, axis: int = -1) -> Tensor:
    """For each place of ``indices``, the element that it names along an axis."""

def tensordot(a: Any, b: Any, /, axes: Any = 2) -> Tensor:
    """The sum of products over axes: the last ``axes`` of a with the first of b, or as
    listed.
    """

def tile(x: Any, /, reps: int | Sequence[int]) -> Tensor:
    """x repeated as a whole, ``reps`` times along each axis."""

def unstack(x: Any, /, axis: int = 0) -> tuple[Tensor, ...]:
    """The pieces of x along an axis, without that axis."""

def can_cast(from_: Any, to: Any, /, casting: str = "safe") -> builtins.bool:
    """Whether a dtype, or an array's, goes into another without loss, or by NumPy's
    ``casting``.
    """

def finfo(type: Any, /) -> FloatInfo:
    """The limits of a floating-point dtype, or of an array's: bits, eps, max, min,
    smallest_normal.
    """

def iinfo(type: Any, /) -> WholeInfo:
    """The limits of an integer dtype, or of an array's: bits, max, min. DTypeError for any
    other.
    """

def isdtype(dtype: Any, kind: Any) -> builtins.bool:
    """Whether a dtype is another, or of a kind, or one of a tuple of these."""

def result_type(*arrays_and_dtypes: Any) -> dtype[Any]:
    """The dtype that arrays, dtypes and Python numbers promote to together, as in NumPy 2."""

def __array_namespace_info__() -> Info:
    """What gpugrad can do here: capabilities, devices, dtypes and their defaults."""

def broadcast_arrays(*arrays: Any) -> tuple[Tensor, ...]:
    """Arrays repeated along new axes and those of size 1 until all have the same shape."""

def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that shapes broadcast to together; ShapeError where they do not."""

def nonzero(x: Any, /) -> tuple[Tensor, ...]:
    """For each axis, the indices of the elements that are not zero. Waits for the device."""

def from_dlpack(x: Any, /, *, device: Any = None, copy: builtins.bool | None = None) -> Tensor:
    """A tensor over the memory of another library's array, which has ``__dlpack__``."""

def index_update(x: Any, /, index: Any, value: Any) -> Tensor:
    """A copy of x in which the elements at ``index`` are ``value``, which broadcasts."""

def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """The inner product of the vectors along an axis, counted in each before they broadcast."""

absolute = abs
acos = arccos
acosh = arccosh
amax = max
amin = min
around = round
asin = arcsin
asinh = arcsinh
atan = arctan
atanh = arctanh
bitwise_invert = invert
concatenate = concat
permute_dims = transpose
pow = power
true_divide = divide
mod = remainder
bitwise_left_shift = left_shift
bitwise_right_shift = right_shift
fix = trunc
conjugate = conj
atan2 = arctan2
radians = deg2rad
degrees = rad2deg
bitwise_not = invert
