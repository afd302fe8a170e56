"""The functions behind the "batched" cases, written once for all frameworks.

A worker gives its ``xp``, with ``tanh``, ``sin``, ``exp``, ``log1p`` and ``stack``, and what makes
its arrays. Imports cases.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from cases import Case, data, pendulum, weights

ROWS = 1000  # of the logistic regression


def problem(case: Case, xp: Any, array: Callable[[np.ndarray], Any]) -> tuple[Any, tuple[Any, ...]]:
    """The function of a case, and its arguments: the derivative is by the first one."""
    if case.op in ("samples", "gradient"):
        x, y = map(array, data(case))
        return _loss(xp), ([(array(w), array(b)) for w, b in weights(case)], x, y)
    if case.op == "hessian":
        return _logistic(case, xp, array), (array(np.full(case.sizes, 0.1, np.float32)),)
    p = np.array([1.2, 0.1, 1.0, 0.0], np.float32)
    return _solution(case, xp), (array(p),)


def _loss(xp: Any) -> Callable[..., Any]:
    """The mean squared error of a network, for one sample or a batch."""

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        for i, (w, b) in enumerate(parameters):
            x = x @ w + b
            if i != len(parameters) - 1:
                x = xp.tanh(x)
        return ((x - y) ** 2).mean()

    return loss


def _logistic(case: Case, xp: Any, array: Callable[[np.ndarray], Any]) -> Callable[..., Any]:
    """The mean loss of a logistic regression."""
    rng = np.random.default_rng(4)
    x = array(rng.standard_normal((ROWS, case.sizes[0])).astype(np.float32))
    y = array(rng.integers(0, 2, ROWS).astype(np.float32))

    def loss(p: Any) -> Any:
        z = x @ p
        return (xp.log1p(xp.exp(z)) - y * z).mean()

    return loss


def _solution(case: Case, xp: Any) -> Callable[..., Any]:
    """Angles and speeds of a pendulum at each step, by its constants and where it starts."""

    def solve(p: Any) -> Any:
        angle, speed = p[2], p[3]
        found = []
        for _ in range(case.sizes[0]):
            angle, speed = pendulum(xp.sin, p, angle, speed)
            found += [angle, speed]
        return xp.stack(found)

    return solve
