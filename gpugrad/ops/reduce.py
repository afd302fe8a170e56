"""Reductions along axes, and cumulative sums. Imports engine, dtypes, ordered.

``axis`` is None for all axes, an int or a tuple of ints, counted from the end where
negative; ``keepdims`` leaves reduced axes in place with size 1.
"""

import math
from typing import Any

from gpugrad.engine.op import Sample, choosing, op, part
from gpugrad.ops.dtypes import HALF, averaged, computed, floating, narrowed, rounded, widened
from gpugrad.ops.ordered import running

REDUCTIONS = (
    Sample((2, 3, 4)),
    Sample((2, 3), axis=0),
    Sample((2, 3, 4), axis=-1, keepdims=True),
    Sample((2, 3, 4), axis=(0, 2)),
    Sample((2, 3), axis=(0, -1), keepdims=True),
    Sample((), axis=None),
)


def axes_of(x: Any, axis: Any) -> tuple[int, ...]:
    """The reduced axes of x, counted from the front."""
    ndim = len(x.shape)
    if axis is None or not ndim:  # NumPy reduces a number along an axis 0 or -1, too
        return tuple(range(ndim))
    return tuple(i % ndim for i in ((axis,) if hasattr(axis, "__index__") else axis))


def spread(g: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """The gradient (or result) of a reduction, shaped to broadcast against x."""
    if keepdims or axis is None or axis == 0:  # a first axis is added by broadcasting
        return g
    axes = axes_of(x, axis)
    return g.reshape(tuple(1 if i in axes else size for i, size in enumerate(x.shape)))


def spread_mask(
    xp: Any, mask: Any, y: Any, x: Any, axis: Any, keepdims: bool, **parameters: Any
) -> Any:
    """The support of a reduction's gradient: all that went into an element of the result."""
    return spread(mask, x, axis, keepdims)


def along_axis(xp: Any, mask: Any, y: Any, x: Any, axis: Any) -> Any:
    """The support of a gradient in which each element along axes depends on all of them."""
    return xp.any(mask, axis=axis, keepdims=True)


def count(x: Any, axis: Any) -> int:
    """How many elements of x go into one of the result."""
    total = 1
    for i in axes_of(x, axis):
        total *= x.shape[i]
    return total


op("sum", "x, /, axis=None, keepdims=False",
   vjp=[lambda xp, g, y, x, axis, keepdims: spread(g, x, axis, keepdims)],
   at_ones=(), kind="linear", moves=True, samples=REDUCTIONS, method=True, autocast="float32",
   doc="The sum along axes; float16 is accumulated in float32.")  # fmt: skip


def _mean(xp: Any, x: Any, /, axis: Any = None, keepdims: bool = False) -> Any:
    wide = averaged(x)
    total = xp.sum(wide, axis=axis, keepdims=keepdims)
    n = count(x, axis)
    y = total / n if n else total * float("nan")
    return y.astype(x.dtype) if wide is not x and x.dtype == HALF else y


def _mean_vjp(xp: Any, g: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    return spread(widened(g), x, axis, keepdims) / max(count(x, axis), 1)


op("mean", _mean, vjp=[_mean_vjp],
   kind="linear", moves=True, samples=REDUCTIONS, method=True, autocast="float32",
   doc="The arithmetic mean along axes; NaN for no elements.")  # fmt: skip


def others(xp: Any, x: Any) -> Any:
    """For each element along axis 0, the product of all the others, without a division."""
    n = x.shape[0]
    if n == 1:
        return xp.ones_like(x)
    half = n // 2
    left, right = x[:half], x[half : 2 * half]
    pairs = left * right
    if n % 2:
        pairs = xp.concat([pairs, x[2 * half :]], axis=0)
    rest = others(xp, pairs)  # half the size each time: the depth is log2(n)
    parts = [right * rest[:half], left * rest[:half]]
    return xp.concat(parts + ([rest[half:]] if n % 2 else []), axis=0)


def _prod_vjp(xp: Any, g: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    axes = axes_of(x, axis)
    remaining = tuple(i for i in range(len(x.shape)) if i not in axes)
    if not axes:
        return g
    if count(x, axis) == 0:
        return xp.zeros_like(x)
    g, x = widened(g), widened(x)
    order = axes + remaining
    front = xp.transpose(x, order)
    flat = front.reshape((count(x, axis), *front.shape[len(axes) :]))
    rest = xp.transpose(
        others(xp, flat).reshape(front.shape), tuple(order.index(i) for i in range(len(order)))
    )
    return spread(g, x, axis, keepdims) * rest


def _prod(xp: Any, x: Any, /, axis: Any = None, keepdims: bool = False) -> Any:
    y = xp.native_prod(widened(x), axis=axis, keepdims=keepdims)
    return narrowed(y, x)


op("prod", _prod, vjp=[_prod_vjp], saves="x",
   complex="conjugate", support=spread_mask,
   samples=[*REDUCTIONS, Sample((5,)), Sample((1, 3), axis=0)], method=True, autocast="float32",
   doc="The product along axes; its derivatives are exact where elements are 0.")  # fmt: skip


def _shared(xp: Any, g: Any, best: Any, axis: Any, keepdims: bool) -> Any:
    """The gradient in equal shares for the best elements, zero by choice for the others."""
    g = widened(g)
    total = xp.sum(best.astype(g.dtype), axis=axis, keepdims=True)
    return xp.where(best, spread(g, best, axis, keepdims) / total, 0)


def _largest(xp: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """Where nothing is larger; everywhere in case of NaN."""
    return xp.logical_not(x < spread(y, x, axis, keepdims))


def _smallest(xp: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    return xp.logical_not(x > spread(y, x, axis, keepdims))


def _largest_vjp(xp: Any, g: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    return _shared(xp, g, _largest(xp, y, x, axis, keepdims), axis, keepdims)


def _smallest_vjp(xp: Any, g: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    return _shared(xp, g, _smallest(xp, y, x, axis, keepdims), axis, keepdims)


op("max", "x, /, axis=None, keepdims=False", vjp=[choosing(_largest, _largest_vjp)], saves="x y",
   finite=True, support=spread_mask, samples=REDUCTIONS, aliases="amax", method=True,
   doc="The largest element along axes; those that tie share the gradient equally.")  # fmt: skip
op("min", "x, /, axis=None, keepdims=False", vjp=[choosing(_smallest, _smallest_vjp)], saves="x y",
   finite=True, support=spread_mask, samples=REDUCTIONS, aliases="amin", method=True,
   doc="The smallest element along axes; those that tie share the gradient equally.")  # fmt: skip


def _centered(xp: Any, x: Any, axis: Any) -> Any:
    return x - xp.mean(x, axis=axis, keepdims=True)


def _per_freedom(xp: Any, total: Any, x: Any, axis: Any, correction: float) -> Any:
    """A total over what remains of the count, which is 0 at least, as in NumPy."""
    n = count(x, axis) - correction
    operand = hasattr(n, "dtype")  # at whose value nobody looks
    if not operand and n > 0:
        return total / n
    over_nothing = xp.where(total == 0, math.nan, total) * math.inf  # without a warning
    if not operand:
        return over_nothing
    return xp.where(n > 0, total / xp.where(n > 0, n, 1).astype(total.dtype), over_nothing)


def _var(
    xp: Any, x: Any, /, axis: Any = None, keepdims: bool = False, *, correction: float = 0
) -> Any:
    d = _centered(xp, averaged(x), axis)
    squares = xp.real(d * xp.conj(d)) if d.dtype.kind == "c" else d * d
    y = _per_freedom(xp, xp.sum(squares, axis=axis, keepdims=keepdims), x, axis, correction)
    return narrowed(y, x)


def _std(
    xp: Any, x: Any, /, axis: Any = None, keepdims: bool = False, *, correction: float = 0
) -> Any:
    y = xp.root(xp.var(averaged(x), axis=axis, keepdims=keepdims, correction=correction))
    return narrowed(y, x)


MOMENTS = (
    Sample((2, 3, 4)),
    Sample((4, 3), axis=0, correction=1),
    Sample((2, 3, 4), axis=(0, -1), keepdims=True),
    Sample((5,), axis=0),
)


def _var_vjp(xp: Any, g: Any, y: Any, x: Any, axis: Any, keepdims: bool, correction: float) -> Any:
    slope = _per_freedom(xp, 2 * _centered(xp, widened(x), axis), x, axis, correction)
    return spread(g, x, axis, keepdims) * slope


def _std_vjp(xp: Any, g: Any, y: Any, x: Any, axis: Any, keepdims: bool, correction: float) -> Any:
    g, y = spread(g, x, axis, keepdims), spread(y, x, axis, keepdims)
    slope = _per_freedom(xp, _centered(xp, widened(x), axis) / y, x, axis, correction)
    return g * xp.subgradient(slope, y == 0)


op("var", _var, vjp=[_var_vjp], saves="x", smooth="correction",
   complex="same", support=spread_mask, samples=MOMENTS, method=True, autocast="float32",
   doc="The variance along axes, with n - correction in the denominator.")  # fmt: skip
op("std", _std, vjp=[_std_vjp], saves="x y", smooth="correction",
   complex="same", support=spread_mask, samples=MOMENTS, method=True, autocast="float32",
   doc="The standard deviation along axes; its gradient for equal elements is 0.")  # fmt: skip


def finite_shift(xp: Any, m: Any) -> Any:
    """m, with 0 in place of infinities: a shift that never makes inf - inf."""
    return xp.where(xp.isfinite(m), m, 0)


def possible(xp: Any, y: Any) -> Any:
    """y, with 0 in place of -inf: exp(x - y) is 0 then, as all of x are -inf."""
    return xp.where(y == float("-inf"), 0, y)


def highest(xp: Any, x: Any, axis: Any) -> Any:
    """The largest element along axes, or the largest real part: exp of x less that is at most 1.

    0 for no elements.
    """
    if x.dtype.kind == "c":
        x = xp.real(x)
    if not x.size:
        return xp.sum(x, axis=axis, keepdims=True)
    return xp.max(x, axis=axis, keepdims=True)


def _logsumexp(xp: Any, x: Any, /, axis: Any = None, keepdims: bool = False) -> Any:
    wide = computed(x)
    m = finite_shift(xp, highest(xp, wide, axis))
    total = xp.sum(xp.exp(wide - m), axis=axis, keepdims=True)
    none = total == 0  # all are -inf, and so is the result
    y = xp.log(xp.where(none, 1, total)) + m
    y = xp.where(none, float("-inf"), y)
    if wide is not x:
        y = rounded(y, x)
    return (
        y
        if keepdims
        else y.reshape(tuple(n for i, n in enumerate(x.shape) if i not in axes_of(x, axis)))
    )


# fmt: off
part("logsumexp_vjp", lambda xp, g, y, x, axis, keepdims: (
         spread(g, x, axis, keepdims)
         * xp.exp(widened(x) - possible(xp, spread(y, x, axis, keepdims)))))
op("logsumexp", _logsumexp,
   vjp=[lambda xp, g, y, x, axis, keepdims: xp.logsumexp_vjp(g, y, x, axis, keepdims)], saves="x y",
   complex="conjugate", support=spread_mask, samples=REDUCTIONS, public="gg special", method=True,
   autocast="float32",
   doc="log(sum(exp(x))) along axes, for x of any size; -inf for no probability at all.")
# fmt: on


def _softmax(xp: Any, x: Any, /, axis: Any = -1) -> Any:
    wide = computed(x)
    e = xp.exp(wide - highest(xp, wide, axis))
    y = e / xp.sum(e, axis=axis, keepdims=True)
    return y if wide is x else rounded(y, x)


SOFTMAX = (Sample((2, 3)), Sample((2, 3, 4), axis=0), Sample((2, 3, 4), axis=(1, 2)), Sample((5,)))


def _softmax_vjp(xp: Any, g: Any, y: Any, axis: Any) -> Any:
    g = widened(g)
    return (g - xp.sum(g * y, axis=axis, keepdims=True)) * y


part("softmax_vjp", _softmax_vjp)
op("softmax", _softmax, vjp=[lambda xp, g, y, x, axis: xp.softmax_vjp(g, y, axis)], saves="y",
   complex="conjugate", support=along_axis, samples=SOFTMAX,
   public="gg special nn.functional", method=True, autocast="float32",
   doc="exp(x) divided by its sum along axis, or dim, for x of any size.")  # fmt: skip


def _log_softmax(xp: Any, x: Any, /, axis: Any = -1) -> Any:
    wide = computed(x)
    if not x.size:  # the logarithm of no sum
        return floating(x)
    shifted = wide - highest(xp, wide, axis)
    y = shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))
    return y if wide is x else rounded(y, x)


def _log_softmax_vjp(xp: Any, g: Any, y: Any, axis: Any) -> Any:
    g = widened(g)
    return g - xp.exp(widened(y)) * xp.sum(g, axis=axis, keepdims=True)


part("log_softmax_vjp", _log_softmax_vjp)
log_softmax = op("log_softmax", _log_softmax,
                 vjp=[lambda xp, g, y, x, axis: xp.log_softmax_vjp(g, y, axis)], saves="y",
                 complex="conjugate", support=along_axis, samples=SOFTMAX,
                 public="gg special nn.functional", method=True, autocast="float32",
                 doc="The logarithm of softmax along axis, or dim.")  # fmt: skip

op("cumsum", lambda xp, x, /, axis=None: running(xp, "cumsum", x, axis),
   vjp=[lambda xp, g, y, x, axis: xp.flip(
            xp.cumsum(xp.flip(g, axis=axis), axis=axis), axis=axis).reshape(x.shape)],
   kind="linear", moves=True, method=True,
   samples=[Sample((4,)), Sample((2, 3)), Sample((2, 3, 4), axis=1), Sample((2, 3), axis=-1)],
   autocast="float32",
   doc="The running sum along an axis; of the raveled x where axis is None.")  # fmt: skip

# What has no derivative.
INDICES = (Sample((2, 3)), Sample((2, 3), axis=0), Sample((2, 3), axis=-1, keepdims=True))
# fmt: off
op("argmax", "x, /, axis=None, keepdims=False", samples=INDICES, method=True,
   doc="The index of the first of the largest elements. No gradient.")
op("argmin", "x, /, axis=None, keepdims=False", samples=INDICES, method=True,
   doc="The index of the first of the smallest elements. No gradient.")
op("any", "x, /, axis=None, keepdims=False", samples=REDUCTIONS, method=True,
   doc="Whether any element along axes is not zero. No gradient.")
op("all", "x, /, axis=None, keepdims=False", samples=REDUCTIONS, method=True,
   doc="Whether all elements along axes are not zero. No gradient.")
op("count_nonzero",
   lambda xp, x, /, axis=None, keepdims=False: xp.sum(x != 0, axis=axis, keepdims=keepdims),
   samples=(Sample((2, 3)), Sample((2, 3), axis=0, keepdims=True)),
   doc="The number of elements along axes that are not zero. No gradient.")
# fmt: on
