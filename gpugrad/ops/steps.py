"""Elementwise parts of the optimizers' rules that look at whole parameters. Imports engine.

Each is one kernel on cuda, where the operations of a formula would be one each.
"""

import math
from typing import Any

from gpugrad.engine.op import part


def _unit(xp: Any, largest: Any) -> Any:
    """A number by which an array is divided, so that its squares are of moderate size."""
    return xp.where(xp.logical_and(largest > 0, largest < math.inf), largest, 1.0)


def _moved(
    xp: Any, p: Any, u: Any, largest_p: Any, sum_p: Any, largest_u: Any, sum_u: Any, lr: Any
) -> Any:
    """p - lr u norm(p) / norm(u), the norms by their parts: see `gpugrad.optim.matrices`."""
    length, size = _unit(xp, largest_p) * xp.sqrt(sum_p), _unit(xp, largest_u) * xp.sqrt(sum_u)
    both = xp.logical_and(length > 0, size > 0)
    return p - u * (lr * (xp.where(both, length, 1.0) / xp.where(both, size, 1.0)))


part("optim_average", lambda xp, m, d, rate, rest: m * rate + d * rest, elementwise=True)
part("optim_average_squares", lambda xp, v, d, rate, rest: v * rate + d * d * rest,
     elementwise=True)  # fmt: skip
part("optim_direction", lambda xp, m, v, p, scale, eps, decay: (
    m / (xp.sqrt(v) + eps) * scale + p * decay), elementwise=True)  # fmt: skip
part("optim_lamb", _moved, elementwise=True)
part("optim_scaled", lambda xp, x, largest: x / _unit(xp, largest), elementwise=True)
part("optim_normal", lambda xp, x, largest, total, eps: (
    x / xp.maximum(_unit(xp, largest) * xp.sqrt(total), eps)), elementwise=True)  # fmt: skip
