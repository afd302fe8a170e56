"""A line search for Wolfe's strong conditions, as PyTorch's L-BFGS has it. Imports nothing.

After Nocedal and Wright 2006, algorithms 3.5 and 3.6, by way of minFunc (Schmidt 2005).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Point", "strong_wolfe"]

DECREASE, CURVATURE = 1e-4, 0.9  # c1 and c2
SMALL = 1e-9  # a bracket in which no element of the parameters moves by more is left


@dataclass(frozen=True)
class Point:
    """A step ``t`` along the line: the loss, the gradient, and the slope of the loss there."""

    t: float
    loss: float
    gradient: Any
    slope: float


def _cubic(a: Point, b: Point, low: float, high: float) -> float:
    """Where the cubic through two points with their slopes is least, between two bounds."""
    if a.t > b.t:
        a, b = b, a
    if a.t == b.t:
        return (low + high) / 2
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    d2 = math.sqrt(square)
    below = b.slope - a.slope + 2 * d2
    if not below:
        return (low + high) / 2
    return min(max(b.t - (b.t - a.t) * ((b.slope + d2 - d1) / below), low), high)


def strong_wolfe(
    at: Callable[[float], Point], here: Point, t: float, largest: float, most: int
) -> Point:
    """A point that meets Wolfe's strong conditions, or the best that ``most`` evaluations find.

    ``at(t)`` evaluates the function; ``here`` is the point at 0, whose slope is negative, ``t`` the
    first step to try and ``largest`` the largest element of the direction.
    """
    before, point = here, at(t)
    spent = 0
    bracket: list[Point] = []
    while spent < most:
        if point.loss > here.loss + DECREASE * point.t * here.slope or (
            spent > 1 and point.loss >= before.loss
        ):
            bracket = [before, point]
            break
        if abs(point.slope) <= -CURVATURE * here.slope:
            return point
        if point.slope >= 0:
            bracket = [before, point]
            break
        low = point.t + 0.01 * (point.t - before.t)
        t = _cubic(before, point, low, point.t * 10)
        before, point = point, at(t)
        spent += 1
    if not bracket:
        bracket = [here, point]
    return _zoom(at, here, bracket, largest, most - spent)


def _zoom(
    at: Callable[[float], Point], here: Point, bracket: list[Point], largest: float, most: int
) -> Point:
    """Narrow a bracket of two points, around one that meets the conditions."""
    stuck = False
    best, other = bracket if bracket[0].loss <= bracket[1].loss else bracket[::-1]
    for _ in range(most):
        low, high = min(best.t, other.t), max(best.t, other.t)
        if (high - low) * largest < SMALL:
            break
        t = _cubic(best, other, low, high)
        # Close to an end for the second time, or at it: a tenth of the bracket away from it.
        margin = 0.1 * (high - low)
        if min(high - t, t - low) < margin:
            if stuck or t >= high or t <= low:
                t = high - margin if abs(t - high) < abs(t - low) else low + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        point = at(t)
        if point.loss > here.loss + DECREASE * t * here.slope or point.loss >= best.loss:
            other = point
            if other.loss < best.loss:
                best, other = other, best
            continue
        if abs(point.slope) <= -CURVATURE * here.slope:
            return point
        if point.slope * (other.t - best.t) >= 0:
            other = best
        best = point
    return best
