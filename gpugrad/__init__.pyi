"""gpugrad: derivatives of NumPy and CuPy code.

Written by ci/stubs.py from the op table; do not edit.
"""

import builtins
from collections.abc import Callable, Sequence
from typing import Any, Literal, SupportsIndex, TypeAlias

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

from gpugrad import (
    autodiff,
    backend,
    data,
    errors,
    inspect,
    io,
    metrics,
    nn,
    optim,
    parallel,
    plot,
    random,
    sklearn,
    training,
)
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
    scan,
    value_and_grad,
    vjp,
    vmap,
)
from gpugrad.backend import Device, cuda, default_device, set_default_device
from gpugrad.backend.device import device
from gpugrad.backend.reuse import empty_cache
from gpugrad.compiler.api import compile
from gpugrad.engine.autocast import autocast, is_autocast_enabled
from gpugrad.engine.modes import (
    deterministic,
    enable_grad,
    is_deterministic,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from gpugrad.errors import (
    AnomalyError,
    ArgumentError,
    AxisError,
    BatchError,
    CompileError,
    DeviceError,
    DTypeError,
    DTypeWarning,
    FileFormatError,
    GpugradError,
    GradientError,
    IndexingError,
    OutOfMemoryError,
    ParallelError,
    ShapeError,
    SyncError,
)
from gpugrad.functions import fft, linalg, special
from gpugrad.functions.array_api import Info
from gpugrad.functions.dtypes import FloatInfo, WholeInfo
from gpugrad.functions.index_tricks import c_, r_
from gpugrad.functions.setops import UniqueAll, UniqueCounts, UniqueInverse
from gpugrad.inspect import debug_mode, detect_anomaly, draw, explain, sync_guard
from gpugrad.io import load, save
from gpugrad.nn.stateless import functional_call, stack_parameters
from gpugrad.optim.grad_scaler import GradScaler
from gpugrad.random import manual_seed
from gpugrad.tensor import Tensor
from gpugrad.tensor.creation import (
    arange,
    asarray,
    empty,
    empty_like,
    eye,
    from_dlpack,
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
from gpugrad.training import Trainer

_Axis: TypeAlias = SupportsIndex | tuple[SupportsIndex, ...] | None
__all__ = [
    "AnomalyError",
    "ArgumentError",
    "AxisError",
    "BatchError",
    "CompileError",
    "DTypeError",
    "DTypeWarning",
    "Device",
    "DeviceError",
    "FileFormatError",
    "GpugradError",
    "GradScaler",
    "GradientError",
    "IndexingError",
    "OutOfMemoryError",
    "ParallelError",
    "ShapeError",
    "SyncError",
    "Tensor",
    "Trainer",
    "__array_api_version__",
    "__array_namespace_info__",
    "abs",
    "absolute",
    "acos",
    "acosh",
    "add",
    "all",
    "allclose",
    "amax",
    "amin",
    "angle",
    "any",
    "append",
    "apply_along_axis",
    "apply_over_axes",
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
    "argpartition",
    "argsort",
    "argwhere",
    "around",
    "array_equal",
    "array_equiv",
    "array_split",
    "asarray",
    "asin",
    "asinh",
    "astype",
    "atan",
    "atan2",
    "atanh",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "autocast",
    "autodiff",
    "average",
    "backend",
    "bartlett",
    "bincount",
    "bitwise_and",
    "bitwise_count",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "blackman",
    "block",
    "bool",
    "bool_",
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "c_",
    "can_cast",
    "cbrt",
    "ceil",
    "celu",
    "checkpoint",
    "choose",
    "clip",
    "column_stack",
    "compile",
    "complex64",
    "complex128",
    "compress",
    "concat",
    "concatenate",
    "conj",
    "conjugate",
    "convolve",
    "copysign",
    "corrcoef",
    "correlate",
    "cos",
    "cosh",
    "count_nonzero",
    "cov",
    "cross",
    "cuda",
    "cumprod",
    "cumsum",
    "cumulative_prod",
    "cumulative_sum",
    "custom_op",
    "data",
    "debug_mode",
    "default_device",
    "deg2rad",
    "degrees",
    "delete",
    "detect_anomaly",
    "deterministic",
    "device",
    "diag",
    "diag_indices",
    "diag_indices_from",
    "diagflat",
    "diagonal",
    "diff",
    "digitize",
    "divide",
    "divmod",
    "dot",
    "draw",
    "dsplit",
    "dstack",
    "e",
    "ediff1d",
    "einsum",
    "einsum_path",
    "elu",
    "empty",
    "empty_cache",
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
    "extract",
    "eye",
    "fabs",
    "fft",
    "fill_diagonal",
    "finfo",
    "fix",
    "flatnonzero",
    "flatten",
    "flip",
    "fliplr",
    "flipud",
    "float16",
    "float32",
    "float64",
    "float_power",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "frexp",
    "from_dlpack",
    "fromfunction",
    "full",
    "full_like",
    "functional_call",
    "gcd",
    "gelu",
    "geomspace",
    "get_default_dtype",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "gradient",
    "gradients",
    "greater",
    "greater_equal",
    "hamming",
    "hanning",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "heaviside",
    "hessian",
    "histogram",
    "histogram2d",
    "histogram_bin_edges",
    "histogramdd",
    "hsplit",
    "hstack",
    "hvp",
    "hypot",
    "i0",
    "identity",
    "iinfo",
    "imag",
    "index_update",
    "indices",
    "inf",
    "inner",
    "insert",
    "inspect",
    "int8",
    "int16",
    "int32",
    "int64",
    "interp",
    "intersect1d",
    "invert",
    "io",
    "is_autocast_enabled",
    "is_deterministic",
    "is_grad_enabled",
    "isclose",
    "iscomplex",
    "iscomplexobj",
    "isdtype",
    "isfinite",
    "isin",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "isrealobj",
    "isscalar",
    "iterable",
    "ix_",
    "jacobian",
    "jvp",
    "kaiser",
    "kron",
    "lcm",
    "ldexp",
    "leaky_relu",
    "left_shift",
    "less",
    "less_equal",
    "lexsort",
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
    "logsigmoid",
    "logspace",
    "logsumexp",
    "make_diagonal",
    "manual_seed",
    "mask_indices",
    "matmul",
    "matrix_transpose",
    "matvec",
    "max",
    "maximum",
    "mean",
    "median",
    "meshgrid",
    "metrics",
    "min",
    "minimum",
    "mish",
    "mod",
    "modf",
    "moveaxis",
    "multiply",
    "nan",
    "nan_to_num",
    "nanargmax",
    "nanargmin",
    "nancumprod",
    "nancumsum",
    "nanmax",
    "nanmean",
    "nanmedian",
    "nanmin",
    "nanpercentile",
    "nanprod",
    "nanquantile",
    "nanstd",
    "nansum",
    "nanvar",
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
    "packbits",
    "pad",
    "parallel",
    "partition",
    "percentile",
    "permute_dims",
    "pi",
    "piecewise",
    "plot",
    "poly",
    "polyadd",
    "polyder",
    "polydiv",
    "polyfit",
    "polyint",
    "polymul",
    "polysub",
    "polyval",
    "positive",
    "pow",
    "power",
    "prod",
    "promote_types",
    "ptp",
    "put_along_axis",
    "quantile",
    "r_",
    "rad2deg",
    "radians",
    "random",
    "ravel",
    "ravel_multi_index",
    "real",
    "real_if_close",
    "reciprocal",
    "relu",
    "relu6",
    "remainder",
    "repeat",
    "reshape",
    "resize",
    "result_type",
    "right_shift",
    "rint",
    "roll",
    "rollaxis",
    "roots",
    "rot90",
    "round",
    "row_stack",
    "save",
    "saved",
    "scan",
    "scatter_add",
    "searchsorted",
    "segment_sum",
    "select",
    "selu",
    "set_default_device",
    "set_default_dtype",
    "set_grad_enabled",
    "setdiff1d",
    "setxor1d",
    "sigmoid",
    "sign",
    "signbit",
    "silu",
    "sin",
    "sinc",
    "sinh",
    "sklearn",
    "sliding_window_view",
    "softmax",
    "softplus",
    "softshrink",
    "softsign",
    "sort",
    "sort_complex",
    "spacing",
    "special",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "stack_parameters",
    "std",
    "subtract",
    "sum",
    "swapaxes",
    "sync_guard",
    "take",
    "take_along_axis",
    "tan",
    "tanh",
    "tanhshrink",
    "tensor",
    "tensordot",
    "threshold",
    "tile",
    "topk",
    "trace",
    "training",
    "transpose",
    "trapezoid",
    "tri",
    "tril",
    "tril_indices",
    "tril_indices_from",
    "trim_zeros",
    "triu",
    "triu_indices",
    "triu_indices_from",
    "true_divide",
    "trunc",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "union1d",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "unpackbits",
    "unravel_index",
    "unstack",
    "unwrap",
    "value_and_grad",
    "vander",
    "var",
    "vdot",
    "vecdot",
    "vecmat",
    "vectorize",
    "vjp",
    "vmap",
    "vsplit",
    "vstack",
    "where",
    "zeros",
    "zeros_like",
]
__version__: str
__array_api_version__: str
bfloat16: type[Any]  # of ml_dtypes, where that is installed

def sigmoid(x: Any, /) -> Tensor:
    """1 / (1 + e ** -x), elementwise, for x of any size."""

def relu(x: Any, /) -> Tensor:
    """x where x > 0 and else 0; its derivative at 0 is 0."""

def softplus(x: Any, /, beta: float = 1.0, threshold: float | None = None) -> Tensor:
    """log(1 + e ** (beta * x)) / beta, elementwise, for x of any size; x itself where beta *
    x exceeds ``threshold``, by default nowhere (PyTorch's is 20).
    """

def silu(x: Any, /) -> Tensor:
    """x * sigmoid(x), elementwise (Elfwing et al., 2018); also named swish."""

def elu(x: Any, /, alpha: float | Tensor = 1.0) -> Tensor:
    """x where x > 0 and else alpha * (e ** x - 1) (Clevert et al., 2016)."""

def leaky_relu(x: Any, /, negative_slope: float | Tensor = 0.01) -> Tensor:
    """x where x > 0 and else negative_slope * x."""

def selu(x: Any, /) -> Tensor:
    """1.0507 x where x > 0 and else 1.0507 * 1.6733 * (e ** x - 1), with which deep networks
    keep mean 0 and variance 1 (Klambauer et al., 2017).
    """

def celu(x: Any, /, alpha: float = 1.0) -> Tensor:
    """x where x > 0 and else alpha * (e ** (x / alpha) - 1), without a kink (Barron, 2017)."""

def mish(x: Any, /) -> Tensor:
    """x * tanh(softplus(x)), elementwise (Misra, 2019)."""

def softsign(x: Any, /) -> Tensor:
    """x / (1 + |x|), elementwise."""

def tanhshrink(x: Any, /) -> Tensor:
    """x - tanh(x), elementwise."""

def logsigmoid(x: Any, /) -> Tensor:
    """log(sigmoid(x)), elementwise, for x of any size."""

def relu6(x: Any, /) -> Tensor:
    """x held between 0 and 6; its derivative at both is 0."""

def hardtanh(x: Any, /, min_val: float | Tensor = -1.0, max_val: float | Tensor = 1.0) -> Tensor:
    """x held between min_val and max_val; its derivative at both is 0."""

def hardsigmoid(x: Any, /) -> Tensor:
    """x / 6 + 1/2 held between 0 and 1 (Howard et al., 2019); its derivative at -3 and 3 is
    0.
    """

def hardswish(x: Any, /) -> Tensor:
    """x * hardsigmoid(x) (Howard et al., 2019); its derivative is 0 at -3 and 1 at 3."""

def hardshrink(x: Any, /, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd and else 0; its derivative where |x| <= lambd is 0."""

def softshrink(x: Any, /, lambd: float = 0.5) -> Tensor:
    """x moved by lambd towards 0, and 0 where |x| <= lambd; its derivative there is 0."""

def threshold(x: Any, /, threshold: float, value: float) -> Tensor:
    """x where x > threshold and else value; its derivative where x <= threshold is 0."""

def erf(x: Any, /) -> Tensor:
    """The error function, elementwise (W. J. Cody's approximation, 1969)."""

def gelu(x: Any, /, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """x * Φ(x), Φ the normal distribution function (Hendrycks and Gimpel, 2016);
    approximate="tanh" for their faster form.
    """

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
    correction: float | Tensor = 0,
    ddof: float | Tensor | None = None,
) -> Tensor:
    """The variance along axes, with n - correction in the denominator (NumPy's ``ddof``)."""

def std(
    x: Any,
    /,
    axis: Any = None,
    keepdims: builtins.bool = False,
    *,
    correction: float | Tensor = 0,
    ddof: float | Tensor | None = None,
) -> Tensor:
    """The standard deviation along axes, with n - correction in the denominator (NumPy's
    ``ddof``).
    """

def logsumexp(x: Any, /, axis: _Axis = None, keepdims: builtins.bool = False) -> Tensor:
    """log(sum(exp(x))) along axes, for x of any size; -inf for no probability at all."""

def softmax(x: Any, /, axis: _Axis = -1, *, dim: _Axis = None) -> Tensor:
    """exp(x) divided by its sum along axis, or dim, for x of any size."""

def log_softmax(x: Any, /, axis: _Axis = -1, *, dim: _Axis = None) -> Tensor:
    """The logarithm of softmax along axis, or dim."""

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

def i0(x: Any, /) -> Tensor:
    """The modified Bessel function of the first kind of order 0, elementwise."""

def real(x: Any, /) -> Tensor:
    """The real part, elementwise."""

def imag(x: Any, /) -> Tensor:
    """The imaginary part, elementwise; 0 for real numbers."""

def conj(x: Any, /) -> Tensor:
    """The complex conjugate, elementwise; x for real numbers."""

def abs(x: Any, /) -> Tensor:
    """The absolute value, elementwise; its derivative at 0 is 0."""

def sign(x: Any, /) -> Tensor:
    """-1, 0 or 1, as x is negative, zero or positive, elementwise; its derivative is 0. Of
    complex x, x / abs(x), and 0 at 0.
    """

def angle(z: Any, deg: builtins.bool = False) -> Tensor:
    """The angle of complex numbers in [-π, π], in degrees with ``deg``; of real ones 0 or π."""

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
    """x clipped to [``min``, ``max``], numbers or arrays, either of which may be None."""

def where(condition: Any, a: Any, b: Any, /) -> Tensor:
    """a where the condition holds and else b."""

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

def cumprod(x: Any, /, axis: _Axis = None) -> Tensor:
    """The running product along an axis; its derivatives are exact where elements are 0."""

def reshape(
    x: Any, /, shape: int | Sequence[int], order: str = "C", *, copy: builtins.bool | None = None
) -> Tensor:
    """The same elements in another shape, one size of which may be -1."""

def transpose(x: Any, /, axes: SupportsIndex | Sequence[int] | None = None) -> Tensor:
    """The axes in another order: reversed, or as ``axes`` lists them (also ``permute_dims``)."""

def broadcast_to(x: Any, /, shape: SupportsIndex | Sequence[SupportsIndex]) -> Tensor:
    """x repeated along new axes and those of size 1 until it has a shape."""

def split(x: Any, /, indices_or_sections: Any, axis: _Axis = 0) -> tuple[Tensor, ...]:
    """x cut along an axis: into that many equal pieces, or at the given indices."""

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
    kind: str | None = None,
    *,
    descending: builtins.bool = False,
    stable: builtins.bool = True,
) -> Tensor:
    """The indices that sort x along an axis, or the raveled x for None. No gradient."""

def hypot(a: Any, b: Any, /) -> Tensor:
    """sqrt(a**2 + b**2), elementwise, without overflow; its derivative at (0, 0), a kink, is
    0.
    """

def arctan2(a: Any, b: Any, /) -> Tensor:
    """The angle in [-π, π] of the point (b, a); at (0, 0) it has no derivative: NaN."""

def logaddexp(a: Any, b: Any, /) -> Tensor:
    """log(exp(a) + exp(b)), elementwise, for numbers of any size."""

def logaddexp2(a: Any, b: Any, /) -> Tensor:
    """log2(2**a + 2**b), elementwise, for numbers of any size."""

def copysign(a: Any, b: Any, /) -> Tensor:
    """The absolute value of a with the sign of b; its derivatives at a = 0 and by b are 0."""

def nextafter(a: Any, b: Any, /) -> Tensor:
    """The next number after a in the direction of b, elementwise; its derivative by a is 1."""

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
    """The real cube root, elementwise; its derivative at 0 is infinite."""

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

def bitwise_count(x: Any, /) -> Tensor:
    """How many bits of abs(x) are 1, elementwise. No gradient."""

def spacing(x: Any, /) -> Tensor:
    """The distance from x to the next number away from 0, elementwise. No gradient."""

def append(x: Any, /, values: Any, axis: int | None = None) -> Tensor:
    """x with ``values`` after it along an axis; both raveled where axis is None."""

def concat(arrays: Sequence[Any], /, axis: int | None = 0) -> Tensor:
    """Arrays joined along an existing axis (also ``concatenate``); None ravels them first."""

def delete(x: Any, /, obj: Any, axis: int | None = None) -> Tensor:
    """x without the elements at ``obj``: numbers, a mask or a slice. Waits for the device."""

def expand_dims(x: Any, /, axis: Any = 0) -> Tensor:
    """New axes of size 1 at the positions ``axis`` of the result (PyTorch's ``unsqueeze``)."""

def flatten(
    x: Any, /, start_dim: int | Literal["C", "F"] = 0, end_dim: int = -1, order: str = "C"
) -> Tensor:
    """The axes from ``start_dim`` to ``end_dim``, both included, merged into one."""

def fliplr(x: Any, /) -> Tensor:
    """The columns in reverse order: x flipped along its second axis."""

def flipud(x: Any, /) -> Tensor:
    """The rows in reverse order: x flipped along its first axis."""

def insert(x: Any, /, obj: Any, values: Any, axis: int | None = None) -> Tensor:
    """x with ``values`` before the elements at ``obj``: a number, numbers, a mask or a slice."""

def matrix_transpose(x: Any, /) -> Tensor:
    """The last two axes exchanged."""

def moveaxis(x: Any, /, source: Any, destination: Any) -> Tensor:
    """Axes moved to other positions; the others keep their order."""

def ravel(x: Any, /, order: str = "C") -> Tensor:
    """The elements along one axis, the last axis varying fastest; with ``order="F"`` the
    first.
    """

def repeat(x: Any, /, repeats: Any, axis: int | None = None) -> Tensor:
    """Each element repeated along an axis; ``repeats`` is a number, or one for each element."""

def resize(x: Any, /, new_shape: int | Sequence[int]) -> Tensor:
    """The elements of x in another shape, repeated from the start until it is full."""

def rollaxis(x: Any, /, axis: int, start: int = 0) -> Tensor:
    """One axis moved before the axis ``start``; `moveaxis` is easier to read."""

def rot90(x: Any, /, k: int = 1, axes: Sequence[int] = ...) -> Tensor:
    """x rotated ``k`` times by 90 degrees, from the first of two axes to the second."""

def squeeze(x: Any, /, axis: Any = None) -> Tensor:
    """Without axes of size 1: all of them, or those in ``axis``."""

def stack(arrays: Sequence[Any], /, axis: int = 0) -> Tensor:
    """Arrays of one shape joined along a new axis."""

def swapaxes(x: Any, /, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged."""

def tile(x: Any, /, reps: int | Sequence[int]) -> Tensor:
    """Copies of x joined, ``reps`` along each axis."""

def trim_zeros(x: Any, /, trim: str = "fb", axis: Any = None) -> Tensor:
    """x without the zeros at its front, its back or both, along all axes or some."""

def unstack(x: Any, /, axis: int = 0) -> tuple[Tensor, ...]:
    """The pieces of x along an axis, without that axis."""

def array_split(x: Any, /, indices_or_sections: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """x split along an axis into a number of nearly equal pieces, the first longer, or at
    indices.
    """

def atleast_1d(*arrays: Any) -> Any:
    """x with one axis if it has none; a tuple for several arrays."""

def atleast_2d(*arrays: Any) -> Any:
    """x with new axes before its own until it has two; a tuple for several arrays."""

def atleast_3d(*arrays: Any) -> Any:
    """x with three axes or more; a tuple for several arrays."""

def block(arrays: Any) -> Tensor:
    """An array of blocks: nested lists of them, the innermost joined along the last axis."""

def column_stack(tup: Sequence[Any]) -> Tensor:
    """Vectors, as columns, and matrices joined along the second axis."""

def dsplit(x: Any, /, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """x, of three axes or more, split along its third axis; see `split`."""

def dstack(tup: Sequence[Any]) -> Tensor:
    """Arrays joined along their third axis, made by `atleast_3d`."""

def hsplit(x: Any, /, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """x split along its second axis, or its only one; see `split`."""

def hstack(tup: Sequence[Any]) -> Tensor:
    """Arrays joined along their second axis; along the first where they have one."""

def vsplit(x: Any, /, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """x, of two axes or more, split along its first axis; see `split`."""

def vstack(tup: Sequence[Any]) -> Tensor:
    """Arrays joined along their first axis; vectors become rows."""

def broadcast_arrays(*arrays: Any) -> tuple[Tensor, ...]:
    """Arrays broadcast to a common shape."""

def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape to which shapes broadcast; ShapeError where they do not."""

def sliding_window_view(x: Any, window_shape: Any, axis: Any = None) -> Tensor:
    """All windows of a shape that fit into x, their elements along new axes at the end."""

def pad(x: Any, /, pad_width: Any, mode: str = "constant", **options: Any) -> Tensor:
    """x padded with ``pad_width`` elements before and after each axis, in NumPy's forms."""

def diag(x: Any, /, k: int = 0) -> Tensor:
    """The diagonal ``k`` of a matrix, or the matrix with a vector on it and zeros elsewhere."""

def diagflat(x: Any, /, k: int = 0) -> Tensor:
    """The matrix with the elements of x on its diagonal ``k`` and zeros elsewhere."""

def make_diagonal(x: Any, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Matrices with the vectors of x's last axis on a diagonal, and zeros elsewhere."""

def trace(x: Any, /, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Tensor:
    """The sum of a diagonal of the matrices that two axes make."""

def vander(x: Any, /, N: int | None = None, increasing: builtins.bool = False) -> Tensor:
    """The matrix of the powers of a vector's elements, descending unless ``increasing``."""

def fromfunction(
    function: Callable[..., Any], shape: Sequence[int], *, dtype: Any = None, **kwargs: Any
) -> Any:
    """A function evaluated at the coordinates of an array, one tensor of them for each axis."""

def geomspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: builtins.bool = True,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Tensor:
    """``num`` numbers at equal ratios from ``start`` to ``stop``, which is included."""

def identity(n: int, dtype: Any = None, *, device: Any = None) -> Tensor:
    """A square matrix with ones on its diagonal and zeros elsewhere."""

def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: builtins.bool = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Tensor:
    """``base`` to the powers at equal distances from ``start`` to ``stop``, which is
    included.
    """

def tri(
    n: int, m: int | None = None, k: int = 0, dtype: Any = None, *, device: Any = None
) -> Tensor:
    """A matrix with ones at and below its diagonal ``k`` and zeros above it."""

def diag_indices(n: int, ndim: int = 2, *, device: Any = None) -> tuple[Tensor, ...]:
    """The index of the diagonal of an array of ``ndim`` axes of size n."""

def diag_indices_from(x: Any, /) -> tuple[Tensor, ...]:
    """The index of the diagonal of an array, whose axes have one size."""

def fill_diagonal(x: Any, /, val: Any, wrap: builtins.bool = False) -> Tensor:
    """A copy of x with ``val`` on its diagonal: a number, or one for each element."""

def indices(
    dimensions: Sequence[int],
    dtype: Any = ...,
    sparse: builtins.bool = False,
    *,
    device: Any = None,
) -> Any:
    """For each axis of an array of these sizes, the number of each element along it."""

def ix_(*args: Any) -> tuple[Tensor, ...]:
    """The index of the rows, columns and so on that each of several vectors names."""

def mask_indices(n: int, mask_func: Callable[..., Any], k: Any = 0) -> tuple[Tensor, ...]:
    """The index of the elements of a square matrix that ``mask_func(ones, k)`` does not zero."""

def meshgrid(
    *arrays: Any, copy: builtins.bool = True, sparse: builtins.bool = False, indexing: str = "xy"
) -> tuple[Tensor, ...]:
    """The coordinates of a grid, from those along each axis; with ``sparse``, in broadcast
    shapes.
    """

def ravel_multi_index(
    multi_index: Sequence[Any], dims: Sequence[int], mode: Any = "raise", order: str = "C"
) -> Tensor:
    """The number of each element in a raveled array of sizes ``dims``, by its index."""

def tril_indices(
    n: int, k: int = 0, m: int | None = None, *, device: Any = None
) -> tuple[Tensor, ...]:
    """The index of the elements on and below the diagonal ``k`` of an n x m matrix."""

def tril_indices_from(x: Any, /, k: int = 0) -> tuple[Tensor, ...]:
    """The index of the elements on and below the diagonal ``k`` of a matrix."""

def triu_indices(
    n: int, k: int = 0, m: int | None = None, *, device: Any = None
) -> tuple[Tensor, ...]:
    """The index of the elements on and above the diagonal ``k`` of an n x m matrix."""

def triu_indices_from(x: Any, /, k: int = 0) -> tuple[Tensor, ...]:
    """The index of the elements on and above the diagonal ``k`` of a matrix."""

def unravel_index(indices: Any, shape: int | Sequence[int], order: str = "C") -> tuple[Tensor, ...]:
    """The index of elements of an array of a shape, by their numbers in the raveled array."""

def argwhere(x: Any, /) -> Tensor:
    """The indices of the elements that are not 0, one row for each. Waits for the device."""

def choose(a: Any, choices: Sequence[Any], mode: str = "raise") -> Tensor:
    """For each whole number in ``a`` the element of that choice, all of them broadcast."""

def compress(condition: Any, x: Any, /, axis: int | None = None) -> Tensor:
    """The elements along an axis where a vector of conditions holds. Waits for the device."""

def extract(condition: Any, x: Any, /) -> Tensor:
    """The elements of x where a condition of its size holds, raveled. Waits for the device."""

def flatnonzero(x: Any, /) -> Tensor:
    """The indices of the elements of the raveled x that are not 0. Waits for the device."""

def nonzero(x: Any, /) -> tuple[Tensor, ...]:
    """For each axis, the indices of the elements that are not zero. Waits for the device."""

def put_along_axis(x: Any, /, indices: Any, values: Any, axis: int | None) -> Tensor:
    """A copy of x with ``values`` at ``indices`` along an axis: the inverse of
    `take_along_axis`.
    """

def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Tensor:
    """For each element that of the first choice whose condition holds, else ``default``."""

def take(x: Any, /, indices: Any, axis: int | None = None, *, mode: str = "raise") -> Tensor:
    """The elements at ``indices`` along an axis; along the raveled x where axis is None."""

def take_along_axis(x: Any, /, indices: Any, axis: int = -1) -> Tensor:
    """The elements that ``indices`` select along an axis, each in its own vector."""

def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Tensor:
    """The count of each whole number 0, 1, ... in x, or the sum of its ``weights``."""

def scatter_add(x: Any, index: Any, values: Any) -> Tensor:
    """A copy of x with ``values`` added to its elements at ``index``; repeated indices
    accumulate.
    """

def segment_sum(data: Any, segment_ids: Any, /, num_segments: int | None = None) -> Tensor:
    """The sums of the rows of ``data`` that have the same number in ``segment_ids``."""

def argpartition(x: Any, /, kth: Any, axis: int | None = -1) -> Tensor:
    """Indices that put the element ``kth`` where sorting would, and smaller ones before it."""

def digitize(x: Any, bins: Any, right: builtins.bool = False) -> Tensor:
    """The number of the bin of each element, between edges that rise or fall. No gradient."""

def lexsort(keys: Any, /, axis: int = -1) -> Tensor:
    """The indices that sort by several keys, the last of which is the primary one. No
    gradient.
    """

def partition(x: Any, /, kth: Any, axis: int | None = -1) -> Tensor:
    """x with its element ``kth`` where sorting would put it, smaller ones before it."""

def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Tensor:
    """The indices that insert ``v`` into a sorted vector ``a``, before or after equal
    elements.
    """

def sort(
    x: Any,
    /,
    axis: int | None = -1,
    kind: str | None = None,
    *,
    descending: builtins.bool = False,
    stable: builtins.bool = True,
) -> Tensor:
    """x sorted along an axis, the raveled x for None; NaN last. A new tensor, as a method
    too.
    """

def sort_complex(x: Any, /) -> Tensor:
    """x sorted along its last axis, as complex numbers: by their real parts, then the others."""

def topk(x: Any, /, k: int, axis: int = -1, largest: builtins.bool = True) -> tuple[Tensor, Tensor]:
    """The ``k`` largest elements along an axis, or smallest, in order, and their indices."""

def intersect1d(a: Any, b: Any, /) -> Tensor:
    """The elements of both a and b, sorted. The gradient is that of `unique`. Waits for the
    device.
    """

def isin(
    element: Any,
    test_elements: Any,
    assume_unique: builtins.bool = False,
    invert: builtins.bool = False,
) -> Tensor:
    """Whether each element is one of ``test_elements``. ``assume_unique`` has no effect."""

def setdiff1d(a: Any, b: Any, /) -> Tensor:
    """The elements of a that are not in b, sorted. The gradient is that of `unique`. Waits
    for the device.
    """

def setxor1d(a: Any, b: Any, /) -> Tensor:
    """The elements of one of a and b, not both, sorted. The gradient is that of `unique`.
    Waits for the device.
    """

def union1d(a: Any, b: Any, /) -> Tensor:
    """The elements of a and b, sorted. The gradient is that of `unique`. Waits for the
    device.
    """

def unique(
    x: Any,
    /,
    return_index: builtins.bool = False,
    return_inverse: builtins.bool = False,
    return_counts: builtins.bool = False,
    axis: int | None = None,
    *,
    equal_nan: builtins.bool = True,
) -> Any:
    """The unique elements of x, sorted; on request their first indices, the inverse and
    counts.
    """

def unique_all(x: Any, /) -> UniqueAll:
    """The unique elements, their first indices, the inverse and their counts."""

def unique_counts(x: Any, /) -> UniqueCounts:
    """The unique elements and their counts; NaNs all differ. The gradient is that of
    `unique`.
    """

def unique_inverse(x: Any, /) -> UniqueInverse:
    """The unique elements, and the index among them of each element of x."""

def unique_values(x: Any, /) -> Tensor:
    """The unique elements, sorted; NaNs all differ. The gradient is that of `unique`."""

def packbits(x: Any, /, axis: int | None = None, bitorder: str = "big") -> Tensor:
    """Booleans, or whether numbers are not 0, packed into bytes, along an axis or raveled."""

def unpackbits(
    x: Any, /, axis: int | None = None, count: int | None = None, bitorder: str = "big"
) -> Tensor:
    """The bits of bytes, as 0 and 1 of dtype uint8, along an axis or raveled."""

def cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Tensor:
    """The cross product of vectors of 3 elements along an axis; the other axes broadcast."""

def dot(a: Any, b: Any, /) -> Tensor:
    """NumPy's dot: a product of numbers, vectors or matrices; of more axes, a tensordot."""

def inner(a: Any, b: Any, /) -> Tensor:
    """The sums of products over the last axes of a and of b."""

def kron(a: Any, b: Any) -> Tensor:
    """Kronecker's product: every element of a times the whole of b, as blocks."""

def matvec(a: Any, b: Any, /) -> Tensor:
    """Each matrix of a stack times a vector: of shapes (..., m, n) and (..., n)."""

def outer(a: Any, b: Any, /) -> Tensor:
    """Every element of a times every element of b, as a matrix."""

def tensordot(a: Any, b: Any, /, axes: Any = 2) -> Tensor:
    """The sum of products over axes: the last ``axes`` of a with the first of b, or as
    listed.
    """

def vdot(a: Any, b: Any, /) -> Tensor:
    """The sum of products of all elements, a conjugated; both are raveled."""

def vecmat(a: Any, b: Any, /) -> Tensor:
    """A vector, conjugated, times each matrix of a stack: of shapes (..., n) and (..., n, m)."""

def einsum(subscripts: Any, /, *operands: Any, optimize: Any = None) -> Tensor:
    """Einstein's summation over any number of operands, with ``...`` for broadcast axes."""

def einsum_path(subscripts: str, /, *operands: Any, optimize: Any = "greedy") -> tuple[Any, str]:
    """The cheapest order in which `einsum` contracts its operands, computed by NumPy from
    shapes.
    """

def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: builtins.bool = False
) -> Tensor:
    """The cumulative product along an axis; with ``include_initial`` it begins with 1."""

def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: builtins.bool = False
) -> Tensor:
    """The cumulative sum along an axis; with ``include_initial`` it begins with 0."""

def ptp(x: Any, axis: Any = None, *, keepdims: builtins.bool = False) -> Tensor:
    """The largest element minus the smallest, along axes; ties share the gradient."""

def average(
    x: Any,
    axis: Any = None,
    weights: Any = None,
    returned: builtins.bool = False,
    *,
    keepdims: builtins.bool = False,
) -> Any:
    """The mean along axes, with ``weights`` of x's shape or of one axis; both have a
    gradient.
    """

def corrcoef(x: Any, y: Any = None, rowvar: builtins.bool = True, *, dtype: Any = None) -> Tensor:
    """The coefficients of correlation of variables; see `cov`. NaN for a variable that is
    constant.
    """

def cov(
    m: Any,
    y: Any = None,
    rowvar: builtins.bool = True,
    bias: builtins.bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Tensor:
    """The covariances of variables: the rows of ``m``, and of ``y``, or with ``rowvar=False``
    their columns.
    """

def median(x: Any, axis: Any = None, *, keepdims: builtins.bool = False) -> Tensor:
    """The middle element along axes; of an even number, the mean of the two in the middle."""

def nanmedian(x: Any, axis: Any = None, *, keepdims: builtins.bool = False) -> Tensor:
    """The middle of the elements that are not NaN, along axes; NaN where there is none."""

def nanpercentile(
    x: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: builtins.bool = False
) -> Tensor:
    """The percentile of the elements that are not NaN; NaN where there is none."""

def nanquantile(
    x: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: builtins.bool = False
) -> Tensor:
    """The quantile of the elements that are not NaN; NaN where there is none. See `quantile`."""

def percentile(
    x: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: builtins.bool = False
) -> Tensor:
    """The percentile ``q``, in [0, 100], along axes; see `quantile`."""

def quantile(
    x: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: builtins.bool = False
) -> Tensor:
    """The quantile ``q``, in [0, 1], along axes; one for each q along new first axes."""

def nan_to_num(
    x: Any,
    copy: builtins.bool = True,
    nan: float = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """x with NaN replaced by 0 and infinities by the largest numbers, or by those given."""

def nanargmax(x: Any, axis: Any = None, *, keepdims: builtins.bool = False) -> Tensor:
    """The index of the first of the largest elements that are not NaN; -1 if all are. No
    gradient.
    """

def nanargmin(x: Any, axis: Any = None, *, keepdims: builtins.bool = False) -> Tensor:
    """The index of the first of the smallest elements that are not NaN; -1 if all are. No
    gradient.
    """

def nancumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    """The cumulative product along an axis, with NaN as 1."""

def nancumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    """The cumulative sum along an axis, with NaN as 0."""

def nanmax(x: Any, axis: Any = None, *, keepdims: builtins.bool = False) -> Tensor:
    """The largest element along axes that is not NaN; those that tie share the gradient."""

def nanmean(
    x: Any, axis: Any = None, dtype: Any = None, *, keepdims: builtins.bool = False
) -> Tensor:
    """The mean along axes of the elements that are not NaN; NaN where there is none."""

def nanmin(x: Any, axis: Any = None, *, keepdims: builtins.bool = False) -> Tensor:
    """The smallest element along axes that is not NaN; those that tie share the gradient."""

def nanprod(
    x: Any, axis: Any = None, dtype: Any = None, *, keepdims: builtins.bool = False
) -> Tensor:
    """The product along axes of the elements that are not NaN: 1 where there is none."""

def nanstd(
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    correction: float | None = None,
    keepdims: builtins.bool = False,
) -> Tensor:
    """The standard deviation along axes of the elements that are not NaN: see `nanvar`."""

def nansum(
    x: Any, axis: Any = None, dtype: Any = None, *, keepdims: builtins.bool = False
) -> Tensor:
    """The sum along axes of the elements that are not NaN: 0 where there is none."""

def nanvar(
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    correction: float | None = None,
    keepdims: builtins.bool = False,
) -> Tensor:
    """The variance along axes of the n elements that are not NaN, with n - ddof in the
    denominator.
    """

def histogram(
    x: Any, bins: Any = 10, range: Any = None, density: builtins.bool = False, weights: Any = None
) -> tuple[Tensor, Tensor]:
    """The number of elements of the raveled x in each bin, and the edges of the bins."""

def histogram2d(
    x: Any,
    y: Any,
    bins: Any = 10,
    range: Any = None,
    density: builtins.bool = False,
    weights: Any = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The number of points (x, y) in each cell of a grid, and its edges along both axes."""

def histogram_bin_edges(x: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Tensor:
    """The edges of the bins of `histogram`; ``weights`` do not change them."""

def histogramdd(
    sample: Any,
    bins: Any = 10,
    range: Any = None,
    density: builtins.bool = False,
    weights: Any = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The number of points in each cell of a grid, and the edges of the grid along each axis."""

def convolve(a: Any, v: Any, mode: str = "full") -> Tensor:
    """The convolution of two sequences: "full", as long as the longer ("same"), or "valid"."""

def correlate(a: Any, v: Any, mode: str = "valid") -> Tensor:
    """The sums of products of a with v moved along it, v conjugated: a convolution, v
    reversed.
    """

def diff(x: Any, /, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """The differences of neighbours along an axis, ``n`` times over."""

def ediff1d(x: Any, /, to_end: Any = None, to_begin: Any = None) -> Tensor:
    """The differences of neighbours of the raveled x, between ``to_begin`` and ``to_end``."""

def gradient(f: Any, /, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """The slopes of sampled values along each axis, by differences: NumPy's ``gradient``."""

def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Tensor:
    """Linear interpolation at ``x`` between the points (xp, fp)."""

def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Tensor:
    """The integral along an axis by the trapezoidal rule, of samples at ``x`` or ``dx``
    apart.
    """

def unwrap(
    p: Any, /, discont: float | None = None, axis: int = -1, *, period: float = 6.283185307179586
) -> Tensor:
    """Angles without jumps: whole periods are added where neighbours differ by more than half
    one.
    """

def poly(seq_of_zeros: Any) -> Tensor:
    """The coefficients of the monic polynomial with these roots."""

def polyadd(a1: Any, a2: Any) -> Tensor:
    """The sum of two polynomials."""

def polyder(p: Any, m: int = 1) -> Tensor:
    """The coefficients of the derivative of a polynomial, of the order m."""

def polydiv(u: Any, v: Any) -> tuple[Tensor, Tensor]:
    """The quotient and the remainder of a division of polynomials."""

def polyfit(
    x: Any,
    y: Any,
    deg: int,
    rcond: float | None = None,
    full: builtins.bool = False,
    w: Any = None,
    cov: builtins.bool | str = False,
) -> Any:
    """The coefficients of the polynomial of a degree that fits points best, by least squares."""

def polyint(p: Any, m: int = 1, k: Any = None) -> Tensor:
    """The coefficients of a polynomial whose derivative of the order m is p."""

def polymul(a1: Any, a2: Any) -> Tensor:
    """The product of two polynomials, without leading zeros."""

def polysub(a1: Any, a2: Any) -> Tensor:
    """The difference of two polynomials."""

def polyval(p: Any, x: Any) -> Tensor:
    """The values at x of the polynomial with the coefficients p, by Horner's rule."""

def roots(p: Any) -> Tensor:
    """The roots of a polynomial, in any order: the eigenvalues of its companion matrix."""

def bartlett(m: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A window of m points: a triangle whose ends are 0."""

def blackman(m: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A window of m points: the sum of a constant and two cosines, nearly 0 at the ends."""

def hamming(m: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A window of m points: 0.54 - 0.46 cos."""

def hanning(m: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A window of m points: 0.5 - 0.5 cos, 0 at the ends."""

def kaiser(m: int, beta: float, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A window of m points by a Bessel function, the narrower the larger ``beta`` is."""

def divmod(a: Any, b: Any, /) -> tuple[Tensor, Tensor]:
    """a // b and a % b, elementwise."""

def float_power(a: Any, b: Any, /) -> Tensor:
    """a ** b, elementwise, in float64, or complex128 where one of them is complex."""

def frexp(x: Any, /) -> tuple[Tensor, Tensor]:
    """A mantissa between 0.5 and 1 and a whole exponent, so that x = mantissa * 2**exponent."""

def isneginf(x: Any, /) -> Tensor:
    """Whether x is negative infinity, elementwise. No gradient."""

def isposinf(x: Any, /) -> Tensor:
    """Whether x is positive infinity, elementwise. No gradient."""

def modf(x: Any, /) -> tuple[Tensor, Tensor]:
    """The fractional and the integral part, whose sum is x."""

def allclose(
    a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: builtins.bool = False
) -> builtins.bool:
    """Whether all elements are close: see `isclose`. A Python bool, for which the host waits."""

def array_equal(a: Any, b: Any, equal_nan: builtins.bool = False) -> builtins.bool:
    """Whether two arrays have one shape and equal elements. A Python bool; the host waits."""

def array_equiv(a: Any, b: Any) -> builtins.bool:
    """Whether two arrays are equal when broadcast. A Python bool; the host waits."""

def isclose(
    a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: builtins.bool = False
) -> Tensor:
    """Whether abs(a - b) <= atol + rtol * abs(b), elementwise, or both are one infinity."""

def iscomplex(x: Any) -> Tensor:
    """Whether each element has an imaginary part other than 0. No gradient."""

def iscomplexobj(x: Any) -> builtins.bool:
    """Whether x has a complex dtype, whatever its elements are. A Python bool."""

def isreal(x: Any) -> Tensor:
    """Whether each element has the imaginary part 0. No gradient."""

def isrealobj(x: Any) -> builtins.bool:
    """Whether x has a dtype of real numbers. A Python bool."""

def real_if_close(x: Any, /, tol: float = 100) -> Tensor:
    """The real parts of x if all imaginary parts are nearly 0, else x. Waits for the device."""

def apply_along_axis(
    func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any
) -> Tensor:
    """A function of vectors applied along an axis of an array, its results joined."""

def apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> Tensor:
    """A function ``func(x, axis)`` applied along several axes, one after another."""

def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Tensor:
    """Functions, or numbers, each where its condition holds; one more for where none does."""

def vectorize(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numbers as one of arrays, which broadcast: called once for each element."""

def can_cast(from_: Any, to: Any, /, casting: str = "safe") -> builtins.bool:
    """Whether a dtype, or an array's, can be cast to another by NumPy's rule ``casting``."""

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

def isscalar(element: Any) -> builtins.bool:
    """Whether an object is a number or a string; a 0-d Tensor is neither, as a 0-d array."""

def iterable(y: Any) -> builtins.bool:
    """Whether an object can be iterated over, as a Tensor with axes can."""

def promote_types(type1: Any, type2: Any) -> dtype[Any]:
    """The smallest dtype to which both can be cast safely, as in NumPy; DTypeError if none
    is.
    """

def result_type(*arrays_and_dtypes: Any) -> dtype[Any]:
    """The dtype to which arrays, dtypes and Python numbers promote, as in NumPy 2."""

def __array_namespace_info__() -> Info:
    """The capabilities, devices, dtypes and default dtypes of gpugrad on this machine."""

def index_update(x: Any, /, index: Any, value: Any) -> Tensor:
    """A copy of x in which the elements at ``index`` are ``value``, which broadcasts."""

def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """The inner product of the vectors along an axis of each operand, before they broadcast."""

concatenate = concat
row_stack = vstack
amax = max
amin = min
conjugate = conj
absolute = abs
true_divide = divide
pow = power
mod = remainder
asin = arcsin
acos = arccos
atan = arctan
asinh = arcsinh
acosh = arccosh
atanh = arctanh
fix = trunc
around = round
bitwise_left_shift = left_shift
bitwise_right_shift = right_shift
bitwise_invert = invert
bitwise_not = invert
permute_dims = transpose
atan2 = arctan2
radians = deg2rad
degrees = rad2deg
