"""Differences, integrals, interpolation and convolution of sampled functions: compositions.

Imports manipulation, operands, type_check and tensor.
"""

import math
from typing import Any

import numpy as np

from gpugrad.backend.namespace import common_namespace
from gpugrad.backend.precision import kind_of
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions.manipulation import concat, ravel, reshape, slices
from gpugrad.functions.operands import (
    all_or_numbers,
    along_axis,
    axis_number,
    beside,
    floating,
    in_single,
    together,
    with_axes,
    with_size,
    without_lists,
)
from gpugrad.functions.type_check import conjugated, real_only
from gpugrad.tensor import OPS, Tensor, as_tensor

__all__ = ["convolve", "correlate", "diff", "ediff1d", "gradient", "interp", "trapezoid", "unwrap"]


def _between(before: Any, x: Tensor, after: Any, axis: int) -> Tensor:
    """x between arrays, or None, along an axis; a number is one element of each row."""
    parts = [beside(part, x) for part in (before, x, after) if part is not None]
    row = with_size(x.shape, axis, 1)
    parts = [part if part.ndim else OPS["broadcast_to"](part, row) for part in parts]
    return concat(parts, axis=axis) if len(parts) > 1 else x


def diff(x: Any, /, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """The differences of neighbours along an axis, ``n`` times over.

    ``prepend`` and ``append`` are values put before and after x first.
    """
    x = as_tensor(without_lists(x, prepend, append)[0])
    if n < 0:
        raise ShapeError(f"diff: expected n of 0 or more, got {n}")
    if n == 0:
        return x
    axis = axis_number("diff", axis, with_axes("diff", x, "one axis or more", 1).ndim)
    x = _between(prepend, x, append, axis)
    take = "not_equal" if x.dtype == np.bool_ else "subtract"
    for _ in range(n):
        x = OPS[take](slices(x, axis, 1, None), slices(x, axis, None, -1))
    return x


def ediff1d(x: Any, /, to_end: Any = None, to_begin: Any = None) -> Tensor:
    """The differences of neighbours of the raveled x, between ``to_begin`` and ``to_end``."""
    x = ravel(together(x, *(end for end in (to_begin, to_end) if end is not None))[0])
    begin, end = (None if e is None else ravel(beside(e, x)) for e in (to_begin, to_end))
    return _between(begin, slices(x, 0, 1, None) - slices(x, 0, None, -1), end, 0)


def gradient(f: Any, /, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """The slopes of sampled values along each axis, by differences: NumPy's ``gradient``.

    It does not differentiate a function; see `grad` and `gradients`. Inner differences are
    central, of second order; at the ends they are one-sided, of order ``edge_order``, 1 or 2.
    ``varargs`` are spacings, one for all axes or one for each: a number or the coordinates along
    the axis, all of which can have a gradient. Returns a tuple for several axes. ShapeError for
    spacings that do not fit and for axes of fewer than ``edge_order + 1`` samples.

    >>> import gpugrad as gg
    >>> gg.gradient(gg.tensor([1.0, 2.0, 4.0, 7.0]), 0.5)
    tensor([2., 3., 5., 6.])
    """
    f = floating(as_tensor(without_lists(f, *varargs)[0]))
    axes = all_or_numbers("gradient", axis, f.ndim)
    if edge_order not in (1, 2):
        raise ShapeError(f"gradient: expected edge_order 1 or 2, got {edge_order!r}")
    spacings = list(varargs) or [1.0]
    if len(spacings) == 1 and _is_uniform(spacings[0]):
        spacings *= len(axes)
    if len(spacings) != len(axes):
        raise ShapeError(
            f"gradient: expected one spacing, or one for each of {len(axes)} axes, got "
            f"{len(spacings)}"
        )
    slopes = tuple(
        _slope(f, spacing, one, edge_order) for one, spacing in zip(axes, spacings, strict=True)
    )
    return slopes[0] if len(slopes) == 1 else slopes


def _is_uniform(spacing: Any) -> bool:
    """Whether a spacing is one number, which holds for all gaps, and no vector of coordinates."""
    return not isinstance(spacing, list | tuple) and getattr(spacing, "ndim", 0) == 0


def _slope(f: Tensor, spacing: Any, axis: int, edge_order: int) -> Tensor:
    size = f.shape[axis]
    if size < edge_order + 1:
        raise ShapeError(
            f"gradient: axis {axis} of shape {f.shape} needs {edge_order + 1} samples or more"
        )

    def at(start: int | None, stop: int | None) -> Tensor:
        return slices(f, axis, start, stop)

    if _is_uniform(spacing):
        d = spacing
        inner = (at(2, None) - at(None, -2)) / (2.0 * d)
        first_gap = second_gap = gap_before = last_gap = d
    else:
        where = floating(beside(spacing, f))
        if where.shape != (size,):
            raise ShapeError(
                f"gradient: expected {size} coordinates for axis {axis}, got shape {where.shape}"
            )
        gaps = along_axis(diff(where), axis, f.ndim)
        low, high = slices(gaps, axis, None, -1), slices(gaps, axis, 1, None)
        inner = (
            -high / (low * (low + high)) * at(None, -2)
            + (high - low) / (low * high) * at(1, -1)
            + low / (high * (low + high)) * at(2, None)
        )
        first_gap, last_gap = slices(gaps, axis, 0, 1), slices(gaps, axis, size - 2, size - 1)
        if edge_order == 2:
            second_gap = slices(gaps, axis, 1, 2)
            gap_before = slices(gaps, axis, size - 3, size - 2)
    if edge_order == 1:
        start = (at(1, 2) - at(0, 1)) / first_gap
        stop = (at(size - 1, size) - at(size - 2, size - 1)) / last_gap
    else:
        a, b = first_gap, second_gap
        start = (
            -(2.0 * a + b) / (a * (a + b)) * at(0, 1)
            + (a + b) / (a * b) * at(1, 2)
            - a / (b * (a + b)) * at(2, 3)
        )
        a, b = gap_before, last_gap
        stop = (
            b / (a * (a + b)) * at(size - 3, size - 2)
            - (a + b) / (a * b) * at(size - 2, size - 1)
            + (2.0 * b + a) / (b * (a + b)) * at(size - 1, size)
        )
    return concat([start, inner, stop], axis=axis)


@in_single
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Tensor:
    """The integral along an axis by the trapezoidal rule, of samples at ``x`` or ``dx`` apart."""
    y = floating(together(y, x)[0] if x is not None else as_tensor(y))
    axis = axis_number("trapezoid", axis, y.ndim)
    widths = dx
    if x is not None:
        x = floating(beside(x, y))
        widths = along_axis(diff(x), axis, y.ndim) if x.ndim == 1 else diff(x, axis=axis)
    middles = slices(y, axis, 1, None) + slices(y, axis, None, -1)
    return OPS["sum"](widths * middles / 2.0, axis=axis)


def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Tensor:
    """Linear interpolation at ``x`` between the points (xp, fp).

    ``xp`` rises; beyond its ends the values are ``left`` and ``right``, those of the end points
    unless given. With ``period`` the points are sorted and repeat. There is a gradient by x, xp
    and fp; at a point of xp the slope is that on its right, at the last one on its left, and
    beyond the ends it is 0. The result has the promoted dtype of x and fp.

    >>> import gpugrad as gg
    >>> gg.interp(2.5, gg.tensor([1.0, 2.0, 3.0]), gg.tensor([3.0, 2.0, 0.0]))
    tensor(1.)
    """
    fs, xs, x = together(fp, xp, x)
    xs, x = real_only("interp", xs), real_only("interp", x)
    if xs.ndim != 1 or fs.ndim != 1 or xs.shape != fs.shape or not xs.size:
        raise ShapeError(
            f"interp: expected two vectors of one size of 1 or more, got xp of shape {xs.shape} "
            f"and fp of {fs.shape}"
        )
    if period is not None:
        if not period:
            raise ShapeError("interp: expected a period other than 0")
        period = abs(period)
        x, xs = x % period, xs % period
        order = OPS["argsort"](xs.detach())
        xs, fs = xs[order], fs[order]
        xs = concat([xs[-1:] - period, xs, xs[:1] + period])
        fs = concat([fs[-1:], fs, fs[:1]])
    if xs.size == 1:
        y = OPS["broadcast_to"](fs, x.shape if x.ndim else (1,))
        y = reshape(y + x * 0.0, x.shape)
    else:
        xp = common_namespace(xs.data, x.data)
        upper = xp.searchsorted(xs.data, x.data, side="right")
        high = xp.clip(upper, 1, xs.size - 1)
        x0, x1, y0, y1 = xs[high - 1], xs[high], fs[high - 1], fs[high]
        width = x1 - x0
        flat = width == 0
        slope = (y1 - y0) / OPS["where"](flat, 1, width)
        # Beyond the ends the distance is not used; clipped, it cannot overflow.
        y = y0 + slope * (OPS["where"](x.detach() > xs[-1].detach(), x1, x) - x0)
    inside_low = x.detach() < xs[0].detach()
    inside_high = x.detach() > xs[-1].detach()
    y = OPS["where"](inside_low, fs[0] if left is None else left, y)
    return OPS["where"](inside_high, fs[-1] if right is None else right, y)


MODES = ("full", "same", "valid")


def _sequences(name: str, a: Any, v: Any, mode: str) -> tuple[Tensor, Tensor]:
    a, v = together(a, v)
    if mode not in MODES:
        raise ShapeError(f"{name}: expected one of the modes {', '.join(MODES)}, got {mode!r}")
    a, v = (reshape(x, 1) if x.ndim == 0 else x for x in (a, v))
    if a.ndim != 1 or v.ndim != 1 or not a.size or not v.size:
        raise ShapeError(
            f"{name}: expected two vectors that are not empty, got shapes {a.shape} and {v.shape}"
        )
    return a, v


def _convolved(a: Tensor, v: Tensor, mode: str, turned: bool) -> Tensor:
    """A convolution, whole or the part of it for the modes "same" and "valid"."""
    long, short = (a, v) if a.size >= v.size else (v, a)
    if mode == "valid":
        valid: Tensor = OPS["convolve_valid"](long, short)
        return valid
    full: Tensor = OPS["convolve_full"](a, v)
    if mode == "full":
        return full
    start = short.size // 2 if turned else short.size - 1 - short.size // 2
    return slices(full, 0, start, start + long.size)


def convolve(a: Any, v: Any, mode: str = "full") -> Tensor:
    """The convolution of two sequences: "full", as long as the longer ("same"), or "valid"."""
    a, v = _sequences("convolve", a, v, mode)
    return _convolved(a, v, mode, turned=False)


def correlate(a: Any, v: Any, mode: str = "valid") -> Tensor:
    """The sums of products of a with v moved along it, v conjugated: a convolution, v reversed."""
    a, v = _sequences("correlate", a, v, mode)
    return _convolved(a, OPS["flip"](conjugated(v)), mode, turned=v.size > a.size)


def unwrap(
    p: Any, /, discont: float | None = None, axis: int = -1, *, period: float = 2 * math.pi
) -> Tensor:
    """Angles without jumps: whole periods are added where neighbours differ by more than half one.

    The added periods are constant, so the gradient passes unchanged.
    """
    p = as_tensor(p)
    if kind_of(p.dtype) != "f":
        raise DTypeError(f"unwrap: expected floating-point numbers, got {p.dtype}")
    axis = axis_number("unwrap", axis, p.ndim)
    jumps = diff(p.detach(), axis=axis)
    half = period / 2
    wrapped = OPS["remainder"](jumps + half, period) - half
    wrapped = OPS["where"]((wrapped == -half) & (jumps > 0), half, wrapped)
    least = half if discont is None else discont
    turns = OPS["where"](OPS["abs"](jumps) < least, 0, wrapped - jumps)
    start = slices(p, axis, None, 1)
    return concat([start, slices(p, axis, 1, None) + OPS["cumsum"](turns, axis=axis)], axis=axis)
