"""Order statistics, averages and covariances: compositions.

Imports indexing, manipulation, operands, type_check, ufunclike and tensor. Sorting is stable: among
equal elements the gradient of a quantile goes to those at its position in the stable order.
"""

import math
from typing import Any

import numpy as np

from gpugrad.backend.precision import kind_of
from gpugrad.errors import GradientError, ShapeError
from gpugrad.functions.indexing import take_along_axis
from gpugrad.functions.manipulation import (
    concat,
    moveaxis,
    ravel,
    reshape,
    squeeze,
    stack,
    transpose,
)
from gpugrad.functions.operands import (
    axis_numbers,
    beside,
    cast,
    floating,
    in_single,
    together,
    with_axes,
    without_lists,
    xp_of,
)
from gpugrad.functions.type_check import by_parts, conjugated, real_only
from gpugrad.functions.ufunclike import clip
from gpugrad.tensor import OPS, TENSORS, Tensor, as_tensor, getitem

__all__ = [
    "average", "corrcoef", "cov", "median", "nanmedian", "nanpercentile", "nanquantile",
    "percentile", "quantile",
]  # fmt: skip


# Hyndman and Fan, "Sample quantiles in statistical packages" (1996): the continuous methods by
# the constants of their plotting positions.
CONTINUOUS = {
    "linear": (1.0, 1.0),
    "interpolated_inverted_cdf": (0.0, 1.0),
    "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}

# The others; WHOLE choose an element, so that whole numbers stay whole.
WHOLE = ("closest_observation", "higher", "inverted_cdf", "lower", "nearest")
DISCRETE = ("averaged_inverted_cdf", "midpoint", *WHOLE)


def _position(xp: Any, n: Any, q: float, method: str) -> tuple[Any, Any]:
    """The position below a quantile of n sorted elements, and the weight of the next element.

    ``n`` is a number or an array of ``xp``. The formulas are those of NumPy's
    `_quantile_methods`, which hold for arrays as for one number.
    """
    if method in CONTINUOUS:
        alpha, beta = CONTINUOUS[method]
        if method == "linear":
            at = (n - 1) * q
        else:
            at = n * q + (alpha + q * (1 - alpha - beta)) - 1
    elif method == "inverted_cdf":
        at = xp.ceil(n * q) - 1
    elif method == "averaged_inverted_cdf":
        at = n * q - 1
        low = xp.floor(at)
        at = xp.where(at - low > 0, low + 1, low + 0.5)
        at = xp.where(n * q == 0, 0, at)
    elif method == "closest_observation":
        at = n * q - 1.5
        low = xp.floor(at)
        stays = (at == low) & (low % 2 == 1)
        at = xp.where(stays, low, low + 1)
    elif method == "midpoint":
        at = (n - 1) * q
        at = xp.where(at == xp.floor(at), at, xp.floor(at) + 0.5)
    else:
        at = (n - 1) * q
        at = {"lower": xp.floor, "higher": xp.ceil, "nearest": xp.rint}[method](at)
    at = xp.minimum(xp.maximum(at, 0), n - 1)
    low = xp.floor(at)
    return low, at - low


def _last(name: str, x: Any, axis: Any) -> tuple[Tensor, tuple[int, ...]]:
    """x with the axes of a reduction merged into a last axis, and the shape with keepdims."""
    x = real_only(name, x)
    if axis is None:
        return ravel(x), (1,) * x.ndim
    axes = axis_numbers(name, axis, x.ndim)
    shape = tuple(1 if i in axes else size for i, size in enumerate(x.shape))
    ends = tuple(range(-len(axes), 0))
    moved = moveaxis(x, axes, ends)
    rest, merged = moved.shape[: x.ndim - len(axes)], moved.shape[x.ndim - len(axes) :]
    return reshape(moved, (*rest, math.prod(merged))), shape


def _sorted(x: Tensor) -> Tensor:
    order = OPS["argsort"](x.detach(), axis=-1)
    return OPS["permuted"](x, order, axis=x.ndim - 1) if x.ndim else x


def _at(x: Tensor, position: int) -> Tensor:
    return getitem(x, (Ellipsis, position))


def _quantiles(
    name: str, x: Any, q: Any, axis: Any, method: str, keepdims: bool, most: float = 1.0
) -> Tensor:
    """The quantiles ``q / most``; by a name with "nan", of the elements that are not NaN."""
    if method not in CONTINUOUS and method not in DISCRETE:
        methods = ", ".join([*CONTINUOUS, *sorted(DISCRETE)])
        raise ShapeError(f"{name}: expected one of the methods {methods}, got {method!r}")
    shares = _shares(name, q, most)
    rows, shape = _last(name, x, axis)
    rows = rows if method in WHOLE else floating(rows)
    if not rows.shape[-1]:
        raise ShapeError(f"{name}: expected one element or more, got shape {as_tensor(x).shape}")
    ordered = _sorted(rows)
    one_quantile = _one_nanquantile if name.startswith("nan") else _one_quantile
    results = [one_quantile(ordered, share, method) for share in shares.ravel().tolist()]
    if keepdims:
        results = [reshape(one, shape) for one in results]
    if not shares.ndim:
        return results[0]
    stacked = stack(results, axis=0)
    return reshape(stacked, (*shares.shape, *stacked.shape[1:]))


def _one_quantile(ordered: Tensor, share: float, method: str) -> Tensor:
    size = ordered.shape[-1]
    position, fraction = _position(np, size, share, method)
    low, part = int(position), float(fraction)
    y = _at(ordered, low)
    if part:
        y = y + (_at(ordered, low + 1) - y) * part
    if kind_of(ordered.dtype) != "f":
        return y
    last = _at(ordered, size - 1)  # NaN is sorted last
    return OPS["where"](OPS["isnan"](last), math.nan, y)


def _one_nanquantile(ordered: Tensor, share: float, method: str) -> Tensor:
    raw = ordered.detach().data
    if kind_of(raw.dtype) != "f":
        return _one_quantile(ordered, share, method)
    xp = xp_of(ordered)
    n = xp.sum((~xp.isnan(raw)).astype("int64"), axis=-1, keepdims=True)
    count = xp.maximum(n, 1)
    position, fraction = _position(xp, count.astype("float64"), share, method)
    low = position.astype("int64")
    high = xp.minimum(low + 1, count - 1)
    y0 = take_along_axis(ordered, low, -1)
    y1 = take_along_axis(ordered, high, -1)
    part = Tensor(fraction.astype(raw.dtype))
    y = y0 + OPS["where"](part == 0, 0, (y1 - y0) * part)
    return _at(OPS["where"](Tensor(n == 0), math.nan, y), 0)


def _shares(name: str, q: Any, most: float) -> Any:
    """q divided by ``most``, its upper bound; ShapeError where it is out of range."""
    if isinstance(q, Tensor):
        if q.requires_grad:
            raise GradientError(
                f"{name}: there is no gradient by q. Pass q.detach() or a number in its place"
            )
        q = q.numpy()
    shares = np.asarray(q, dtype=np.float64) / most
    if not np.all((shares >= 0) & (shares <= 1)):
        raise ShapeError(f"{name}: expected q between 0 and {most:g}, got {q!r}")
    return shares


def quantile(
    x: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """The quantile ``q``, in [0, 1], along axes; one for each q along new first axes.

    ``method`` is any of NumPy's. A NaN makes the result NaN. The gradient goes to the elements
    on both sides of the quantile, by their weights. q has none; the host reads it.

    >>> import gpugrad as gg
    >>> gg.quantile(gg.tensor([1.0, 2.0, 4.0]), [0.0, 0.75])
    tensor([1., 3.])
    """
    return _quantiles("quantile", x, q, axis, method, keepdims)


def percentile(
    x: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """The percentile ``q``, in [0, 100], along axes; see `quantile`."""
    return _quantiles("percentile", x, q, axis, method, keepdims, 100.0)


def nanquantile(
    x: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """The quantile of the elements that are not NaN; NaN where there is none. See `quantile`."""
    return _quantiles("nanquantile", x, q, axis, method, keepdims)


def nanpercentile(
    x: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """The percentile of the elements that are not NaN; NaN where there is none."""
    return _quantiles("nanpercentile", x, q, axis, method, keepdims, 100.0)


def median(x: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """The middle element along axes; of an even number, the mean of the two in the middle.

    A NaN makes it NaN. Among equal elements the gradient goes to those in the middle of the
    stable order.

    >>> import gpugrad as gg
    >>> x = gg.tensor([4.0, 1.0, 3.0, 9.0], requires_grad=True)
    >>> gg.gradients(gg.median(x), x)
    tensor([0.5, 0. , 0.5, 0. ])
    """
    return _quantiles("median", x, 0.5, axis, "midpoint", keepdims)


def nanmedian(x: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """The middle of the elements that are not NaN, along axes; NaN where there is none."""
    return _quantiles("nanmedian", x, 0.5, axis, "midpoint", keepdims)


# Averages and covariances.


@in_single
def average(
    x: Any,
    axis: Any = None,
    weights: Any = None,
    returned: bool = False,
    *,
    keepdims: bool = False,
) -> Any:
    """The mean along axes, with ``weights`` of x's shape or of one axis; both have a gradient.

    With ``returned`` the sum of the weights is returned as well. Weights that add up to 0 give
    NaN or infinities instead of an error, so that the host does not wait.

    >>> import gpugrad as gg
    >>> gg.average(gg.tensor([1.0, 2.0, 6.0]), weights=gg.tensor([1.0, 1.0, 2.0]))
    tensor(3.75)
    """
    x = as_tensor(without_lists(x, weights)[0])
    if weights is None:
        y = OPS["mean"](x, axis=axis, keepdims=keepdims)
        count = x.size // max(y.size, 1)
        return (y, TENSORS.full_like(y.detach(), count)) if returned else y
    weights = beside(weights, x)
    if weights.shape != x.shape:
        if axis is None:
            raise ShapeError(
                f"average: weights of shape {weights.shape} for x of {x.shape} need an axis"
            )
        axes = axis_numbers("average", axis, x.ndim)
        if weights.shape != tuple(x.shape[i] for i in axes):
            raise ShapeError(
                f"average: expected weights of shape {x.shape} or "
                f"{tuple(x.shape[i] for i in axes)}, got {weights.shape}"
            )
        order = sorted(range(len(axes)), key=lambda i: axes[i])
        shape = [size if i in axes else 1 for i, size in enumerate(x.shape)]
        weights = reshape(transpose(weights, order), shape)
    x, weights = floating(x), OPS["broadcast_to"](weights, x.shape)
    total = OPS["sum"](weights, axis=axis, keepdims=keepdims)
    y = OPS["sum"](OPS["multiply"](x, weights), axis=axis, keepdims=keepdims) / total
    return (y, total) if returned else y


def _observations(name: str, x: Any, y: Any, rowvar: bool) -> Tensor:
    """Variables as rows, observations as columns."""
    rows = []
    for part in [x] if y is None else together(x, y):
        part = floating(with_axes(name, part, "a vector or a matrix", 0, 2))
        part = reshape(part, (1, -1)) if part.ndim < 2 else part
        rows.append(part if rowvar or part.shape[0] == 1 else part.T)
    return concat(rows, axis=0) if len(rows) > 1 else rows[0]


@in_single
def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Tensor:
    """The covariances of variables: the rows of ``m``, and of ``y``, or with ``rowvar=False``
    their columns.

    The divisor is the number of observations minus 1, with ``bias`` the number itself, and with
    ``ddof`` the number minus that. ``fweights`` are the frequencies of the observations,
    ``aweights`` their weights. Where the divisor is 0 or less the result is NaN.

    >>> import gpugrad as gg
    >>> gg.cov(gg.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    m, y, _ = without_lists(m, y, aweights)
    rows = cast(_observations("cov", m, y, rowvar), dtype)
    freedom = (0 if bias else 1) if ddof is None else ddof
    count = rows.shape[1]
    weights = None
    for factors in (fweights, aweights):
        if factors is None:
            continue
        factors = beside(factors, rows)
        if factors.shape != (count,):
            raise ShapeError(f"cov: expected {count} weights, got shape {factors.shape}")
        factors = factors.astype(rows.dtype)
        weights = factors if weights is None else weights * factors
    if weights is None:
        centered = rows - OPS["mean"](rows, axis=1, keepdims=True)
        divisor = count - freedom
        scaled = centered / (divisor if divisor > 0 else math.nan)
    else:
        total = OPS["sum"](weights)
        centered = rows - OPS["sum"](rows * weights, axis=1, keepdims=True) / total
        if aweights is None or not freedom:
            loss: Any = freedom
        else:
            heavy = beside(aweights, rows).astype(rows.dtype)
            loss = freedom * OPS["sum"](weights * heavy) / total
        divisor = total - loss
        scaled = centered * weights / OPS["where"](divisor > 0, divisor, math.nan)
    product = OPS["matmul"](scaled, conjugated(centered.T))
    return squeeze(product if count else product / 0.0)  # without observations a sum of nothing


@in_single
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Tensor:
    """The coefficients of correlation of variables; see `cov`. NaN for a variable that is constant.

    They are clipped to [-1, 1] against rounding.
    """
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.ndim:
        return c / c
    diagonal = OPS["diagonal"](c)
    scale = OPS["sqrt"](OPS["real"](diagonal) if c.dtype.kind == "c" else diagonal)
    c = c / scale[:, None] / scale[None, :]
    return by_parts(lambda part: clip(part, -1, 1), c)
