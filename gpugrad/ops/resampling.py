"""Arrays in another size, along their last axes, and the transpose. Imports engine.op and dtypes.

Along each axis an element of the result is a weighted sum of a few elements, its taps. They are
computed where the array is, so that nothing is copied to a device. The transpose multiplies with
the matrix of the weights: that adds up in one order, which adding at repeated indices does not.
"""

import math
from typing import Any

from gpugrad.engine.op import Sample, op
from gpugrad.ops.dtypes import averaged, narrowed

Sizes = tuple[int, ...]
Taps = list[tuple[Any, Any]]  # whole numbers of elements, and their weights or None for 1

CUBIC = -0.75  # the coefficient of the cubic kernel (Keys, 1981) that PyTorch and OpenCV use


def _taps(
    xp: Any, like: Any, size: int, count: int, scale: float, mode: str, align_corners: bool
) -> Taps:
    """The elements of an axis of a size that each of ``count`` elements is made of.

    ``scale`` is the distance of two of them in the axis.
    """
    place = xp.arange_like(like, count).astype("float64")
    if mode in ("nearest", "nearest-exact"):
        at = (place + (0.5 if mode == "nearest-exact" else 0.0)) * scale
        return [(xp.minimum(xp.floor(at), size - 1).astype("int64"), None)]
    if mode == "area":
        return _area(xp, like, size, count)
    at = place * scale if align_corners else (place + 0.5) * scale - 0.5
    if mode == "linear":
        at = xp.maximum(at, 0.0)
        low = xp.minimum(xp.floor(at), size - 1)
        part = at - low
        high = xp.minimum(low + 1, size - 1)
        return [(low.astype("int64"), 1 - part), (high.astype("int64"), part)]
    low = xp.floor(at)
    part = at - low
    return [
        (xp.clip(low + step, 0, size - 1).astype("int64"), _cubic(xp.abs(part - step)))
        for step in (-1, 0, 1, 2)
    ]


def _cubic(distance: Any) -> Any:
    """The cubic kernel at distances from 0 to 2."""
    a, t = CUBIC, distance
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return near * (t <= 1) + far * (t > 1)


def _area(xp: Any, like: Any, size: int, count: int) -> Taps:
    """The elements of as many windows of nearly one length, all of which have one weight."""
    place = xp.arange_like(like, count)
    start, stop = place * size // count, ((place + 1) * size + count - 1) // count
    most = max(-(-(i + 1) * size // count) - i * size // count for i in range(count))
    share = 1 / (stop - start).astype("float64")
    return [
        (xp.minimum(start + step, stop - 1), share * (start + step < stop)) for step in range(most)
    ]


def _repeats(size: int, count: int, scale: float, mode: str) -> bool:
    """Whether each element is repeated, equally often."""
    return mode == "nearest" and count % size == 0 and scale * count == size


def _resampled(
    xp: Any, x: Any, /, *, size: Sizes, scale: tuple[float, ...], mode: str, align_corners: bool
) -> Any:
    y = averaged(x) if mode not in ("nearest", "nearest-exact") else x
    for axis, (count, step) in enumerate(zip(size, scale), 2):
        before = y.shape[axis]
        if _repeats(before, count, step, mode):
            if count != before:
                lead, rest = y.shape[:axis], y.shape[axis + 1 :]
                y = y.reshape((*lead, before, 1, *rest))
                y = xp.broadcast_to(y, (*lead, before, count // before, *rest))
                y = y.reshape((*lead, count, *rest))
            continue
        total: Any = None
        for index, weight in _taps(xp, y, before, count, step, mode, align_corners):
            term = xp.take(y, index, axis=axis)
            if weight is not None:
                term = term * weight.reshape((-1, *(1,) * (len(y.shape) - axis - 1))).astype(
                    y.dtype
                )
            total = term if total is None else total + term
        y = total
    return narrowed(y, x)


def _resampled_back(
    xp: Any, g: Any, /, *, size: Sizes, scale: tuple[float, ...], mode: str, align_corners: bool
) -> Any:
    y = averaged(g)
    for axis, (before, step) in enumerate(zip(size, scale), 2):
        count, lead, rest = y.shape[axis], y.shape[:axis], y.shape[axis + 1 :]
        if _repeats(before, count, step, mode):
            if count != before:
                y = xp.sum(y.reshape((*lead, before, count // before, *rest)), axis=axis + 1)
            continue
        places = xp.arange_like(y, before)
        matrix: Any = None  # (before, count)
        for index, weight in _taps(xp, y, before, count, step, mode, align_corners):
            term = (places[:, None] == index).astype(y.dtype)
            if weight is not None:
                term = term * weight.astype(y.dtype)
            matrix = term if matrix is None else matrix + term
        flat = y.reshape((math.prod(lead), count, math.prod(rest)))
        if rest:
            y = xp.matmul(matrix, flat)
        else:
            y = xp.matmul(flat[..., 0], matrix.T)
        y = y.reshape((*lead, before, *rest))
    return narrowed(y, g)


def _sample(*shape: int, size: Sizes, count: Sizes, mode: str, corners: bool = False) -> Sample:
    scale = tuple((n - 1) / (m - 1) if corners else n / m for n, m in zip(size, count, strict=True))
    return Sample(shape, size=count, scale=scale, mode=mode, align_corners=corners)


def _samples(turned: bool) -> list[Sample]:
    cases: Any = (
        ((3,), (6,), "nearest", False), ((3, 4), (4, 3), "nearest-exact", False),
        ((3, 2), (5, 4), "linear", False), ((3, 2), (4, 3), "linear", True),
        ((3, 4), (5, 6), "cubic", False), ((5, 3), (3, 2), "area", False),
    )  # fmt: skip
    made = []
    for size, count, mode, corners in cases:
        sample = _sample(1, 2, *size, size=size, count=count, mode=mode, corners=corners)
        if turned:
            words = {**sample.parameters, "size": size}
            sample = Sample((1, 2, *count), **words)
        made.append(sample)
    return made


# fmt: off
op("resampled", _resampled,
   vjp=[lambda xp, g, y, x, size, **parameters: xp.resampled_back(
            g, size=tuple(x.shape[2:]), **parameters)],
   kind="linear", public="", shown="interpolate", samples=_samples(False),
   doc="x in another size along its last axes: by nearest, weighted or averaged elements.")
op("resampled_back", _resampled_back,
   vjp=[lambda xp, g, y, x, size, **parameters: xp.resampled(
            g, size=tuple(x.shape[2:]), **parameters)],
   kind="linear", public="", shown="interpolate", samples=_samples(True),
   doc="The transpose of ``resampled``, in the size that was.")
# fmt: on
