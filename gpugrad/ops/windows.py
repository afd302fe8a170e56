"""Windows that slide along axes, and their sum in offsets. Imports engine.op."""

import itertools
from collections.abc import Iterator
from typing import Any

from gpugrad.engine.op import Sample, op

Sizes = tuple[int, ...]


def _shifted(shape: Sizes, sizes: Sizes, axes: Sizes) -> Iterator[tuple[Sizes, tuple[slice, ...]]]:
    """Each offset in a window, and the slices of x with the elements there."""
    for offsets in itertools.product(*map(range, sizes)):
        start = [0] * (len(shape) - len(sizes))
        for axis, offset in zip(axes, offsets, strict=True):
            start[axis] += offset
        yield offsets, tuple(slice(s, s + n) for s, n in zip(start, shape, strict=False))


def _windows(xp: Any, x: Any, /, sizes: Sizes, axes: Sizes) -> Any:
    # Copies: not every library has views of windows. NumPy's namespace gives them.
    left = list(x.shape)
    for axis, size in zip(axes, sizes, strict=True):
        left[axis] -= size - 1
    shape = (*left, *sizes)
    return xp.stack([x[part] for _, part in _shifted(shape, sizes, axes)], axis=-1).reshape(shape)


def _overlapped(xp: Any, w: Any, /, sizes: Sizes, axes: Sizes) -> Any:
    shape = list(w.shape[: len(w.shape) - len(sizes)])
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] += size - 1
    y = xp.full_like(w, 0, shape=tuple(shape))
    for offsets, part in _shifted(w.shape, sizes, axes):
        y[part] += w[(..., *offsets)]
    return y


_SAMPLES: Any = {"sizes": (2,), "axes": (0,)}, {"sizes": (2, 3), "axes": (2, 1)}

# fmt: off
op("windows", _windows,
   vjp=[lambda xp, g, y, x, sizes, axes: xp.overlapped(g, sizes=sizes, axes=axes)],
   kind="linear", moves=True, public="",
   samples=[Sample((4,), **_SAMPLES[0]), Sample((2, 4, 3), **_SAMPLES[1]),
            Sample((5,), sizes=(2, 2), axes=(0, 0))],
   doc="The windows of some sizes along axes, their elements along new axes at the end.")
op("overlapped", _overlapped,
   vjp=[lambda xp, g, y, w, sizes, axes: xp.windows(g, sizes=sizes, axes=axes)],
   kind="linear", moves=True, public="",
   samples=[Sample((3, 2), **_SAMPLES[0]), Sample((2, 2, 2, 2, 3), **_SAMPLES[1])],
   doc="Windows added up where they lay: the transpose of ``windows``.")
# fmt: on
