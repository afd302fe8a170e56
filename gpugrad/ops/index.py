"""Selecting elements by an index, and its transpose. Imports engine.op.

An index is what NumPy takes: integers, slices, Ellipsis, None, integer arrays, boolean
masks, or a tuple of these, all of them raw arrays.
"""

from typing import Any

import numpy as np

from gpugrad.engine.op import Sample, op


def is_basic(index: Any) -> bool:
    """Whether an index selects each element once at most: no arrays in it."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None or part is Ellipsis or isinstance(part, slice | int | np.integer)
        for part in parts
    )


def _has_mask(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(getattr(part, "dtype", None) == np.bool_ for part in parts)


def _scatter(xp: Any, g: Any, /, index: Any, shape: tuple[int, ...]) -> Any:
    out = xp.full_like(g, 0, shape=shape)
    if is_basic(index) or (_has_mask(index) and not isinstance(index, tuple)):
        out[index] = g
    else:
        xp.module.add.at(out, index, g)  # an index may come up more than once
    return out


op(
    "scatter",
    _scatter,
    vjp=[lambda xp, g, y, x, index, shape: g[index]],
    kind="linear",
    samples=[
        Sample((3,), index=slice(1, 4), shape=(5,)),
        Sample((2, 3), index=(slice(None), slice(0, 3)), shape=(2, 4)),
    ],
    doc="Zeros of a shape, to whose elements at ``index`` g is added: the transpose of indexing.",
)
op(
    "getitem",
    lambda xp, x, /, index: x[index],
    vjp=[lambda xp, g, y, x, index: xp.scatter(g, index=index, shape=x.shape)],
    kind="linear",
    samples=[
        Sample((4,), index=1),
        Sample((2, 3), index=(slice(None), 1)),
        Sample((2, 3, 4), index=(Ellipsis, None, slice(None, None, -2))),
    ],
    doc="x[index].",
)
