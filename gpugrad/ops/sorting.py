"""Orders of elements, and elements in an order. Imports engine.op.

Sorting is stable on every device: equal elements keep their order, and NaN comes last.
"""

from typing import Any

import numpy as np

from gpugrad.engine.op import Sample, op


def _argsort(
    xp: Any, x: Any, /, axis: int | None = -1, descending: bool = False, stable: bool = True
) -> Any:
    if axis is None:
        x, axis = x.reshape(-1), -1
    if not x.shape:  # a vector of one element, as in NumPy
        return xp.zeros((1,), "int64")
    if not descending:
        return xp.native_argsort(x, axis=axis, kind="stable")
    # Stable in the other direction as well: sorted from the back, then turned round.
    order = xp.native_argsort(xp.flip(x, axis=axis), axis=axis, kind="stable")
    return x.shape[axis] - 1 - xp.flip(order, axis=axis)


# fmt: off
op("argsort", _argsort, method=True,
   samples=(Sample((2, 3)), Sample((4, 2), axis=0), Sample((2, 3), axis=None),
            Sample((5,), descending=True)),
   doc="The order that sorts x along an axis, equal elements in theirs, NaN last. No gradient.")
op("argpartition_order", lambda xp, x, /, kth, axis: xp.argpartition(x, kth, axis=axis),
   samples=(Sample((5,), kth=2, axis=-1),), public="",
   doc="An order in which the element at ``kth`` is where sorting puts it. No gradient.")
op("permuted", lambda xp, x, order, /, axis: xp.take_along_axis(x, order, axis),
   vjp=[lambda xp, g, y, x, order, axis: xp.permuted(g, xp.argsort(order, axis=axis), axis=axis),
        None],
   saves=("order", ""),
   kind="linear", moves=True, chooses=True, operands="real whole", public="",
   samples=[Sample((3,), np.array([2, 0, 1]), axis=0),
            Sample((2, 2), np.array([[1, 0], [0, 1]]), axis=-1)],
   doc="The elements along an axis in an order, a permutation of them for each row.")
# fmt: on
