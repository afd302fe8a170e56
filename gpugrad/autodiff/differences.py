"""A gradient against finite differences: where they disagree, and why.

Works on NumPy arrays of float64 alone; imports nothing of gpugrad. `gpugrad.autodiff.gradcheck`
is what users call.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Map", "Mismatch", "Tolerance", "cause", "compare"]

LIMIT = 200  # up to here every element is tried, beyond it random directions are
DIRECTIONS = 6
SAMPLE = 64
TINY = 1e-30  # the complex step: nothing is subtracted, so no rounding grows


@dataclass
class Tolerance:
    """Step of the differences, and how far apart two numbers may be."""

    eps: float
    atol: float
    rtol: float

    def apart(self, a: np.ndarray, n: np.ndarray) -> np.ndarray:
        """By how much each pair exceeds the tolerance; infinite where one is not finite."""
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(a - n) - (self.atol + self.rtol * np.abs(n))
        return np.where(np.isfinite(error), error, np.inf)


class Map:
    """A function of arrays and its gradient, to be compared.

    ``forward`` takes arrays like ``inputs`` (complex ones for the complex step) and returns the
    outputs; ``pull`` takes a gradient for each output and returns one for each input. ``pull_rows``
    does so for several at once, along a new first axis of all arrays, or returns None.
    """

    def __init__(
        self,
        inputs: Sequence[np.ndarray],
        forward: Callable[[list[np.ndarray]], list[np.ndarray]],
        pull: Callable[[list[np.ndarray]], list[np.ndarray]],
        pull_rows: Callable[[list[np.ndarray]], list[np.ndarray] | None] = lambda rows: None,
    ) -> None:
        self.inputs = [np.array(value, dtype=np.float64) for value in inputs]
        self._forward, self._pull, self._pull_rows = forward, pull, pull_rows
        self.x = _joined(self.inputs)
        self.output_shapes = [y.shape for y in forward(self.inputs)]
        self.y = self.f(self.x)

    def f(self, x: np.ndarray) -> np.ndarray:
        """The outputs, as one vector, for the inputs as one vector."""
        return _joined(self._forward(_split(x, [value.shape for value in self.inputs])))

    def gradient(self, u: np.ndarray) -> np.ndarray:
        """The gradient of ``u @ f(x)``, as one vector."""
        return _joined(self._pull(_split(u, self.output_shapes)))

    def gradients(self, rows: np.ndarray) -> np.ndarray:
        """The gradient of ``u @ f(x)`` for each row u, as rows."""
        count = len(rows)
        ends = np.cumsum([math.prod(shape) for shape in self.output_shapes])
        parts = np.split(rows, ends[:-1], axis=1)
        pulled = self._pull_rows(
            [part.reshape(count, *shape) for part, shape in zip(parts, self.output_shapes)]
        )
        if pulled is None:
            return np.stack([self.gradient(u) for u in rows])
        return np.concatenate([part.reshape(count, -1) for part in pulled], axis=1)

    def central(self, v: np.ndarray, eps: float) -> np.ndarray:
        """The derivative along ``v`` by central differences."""
        with np.errstate(all="ignore"):
            return (self.f(self.x + eps * v) - self.f(self.x - eps * v)) / (2 * eps)

    def complex_step(self, v: np.ndarray) -> np.ndarray | None:
        """The derivative along ``v`` by a complex step; None where f drops imaginary parts.

        Squire and Trapp, Using complex variables to estimate derivatives of real functions,
        SIAM Review 40 (1998).
        """
        with np.errstate(all="ignore"):
            y = self.f(self.x + 1j * TINY * v)
        return y.imag / TINY if y.dtype.kind == "c" else None

    def input_element(self, column: int) -> tuple[int, tuple[int, ...]]:
        """The input, and the index into it, of an element of ``x``."""
        return _element(column, [value.shape for value in self.inputs])

    def output_element(self, row: int) -> tuple[int, tuple[int, ...]]:
        """The output, and the index into it, of an element of ``y``."""
        return _element(row, self.output_shapes)


@dataclass
class Mismatch:
    """A part of a Jacobian by the gradient (``a``) and by differences (``n``).

    ``columns`` are the elements of the inputs. A row is an element of the outputs, or
    (``projected``) a random combination of them. ``worst`` is the row and column with the
    largest error.
    """

    map: Map
    a: np.ndarray
    n: np.ndarray
    columns: np.ndarray
    projected: bool
    worst: tuple[int, int]
    method: str


def compare(
    both: Map, tolerance: Tolerance, refine: Callable[[Callable[[], Any]], Any]
) -> Mismatch | None:
    """None where gradient and differences agree.

    ``refine`` calls a function that takes complex steps, and returns None where that fails.
    """
    size, outputs = both.x.size, both.y.size
    if not size or not outputs:
        return None
    random = np.random.default_rng(0)
    if size <= LIMIT:
        columns = np.arange(size)
        whole = outputs <= LIMIT
        rows = np.eye(outputs) if whole else _signs(random, DIRECTIONS, outputs)
        a = both.gradients(rows)
    else:
        disagreement = _by_directions(both, tolerance, random)
        if disagreement is None:
            return None
        u, columns = disagreement
        rows, whole = u[None], outputs == 1
        if whole:
            rows = np.ones((1, 1))
        a = both.gradient(rows[0])[None, columns]
    units = [_unit(size, int(column)) for column in columns]
    n = rows @ np.stack([both.central(v, tolerance.eps) for v in units], axis=1)
    method = "central differences"
    if not (tolerance.apart(a, n) > 0).any() and size <= LIMIT:
        return None

    def stepped() -> np.ndarray | None:
        steps = [step for v in units if (step := both.complex_step(v)) is not None]
        if len(steps) < len(units):
            return None
        return np.asarray(rows @ np.stack(steps, axis=1))

    better = refine(stepped)
    # A complex step is exact, but only for functions that are analytic: differences decide.
    noise = 1e-14 * max(1.0, float(np.abs(both.y).max())) / tolerance.eps * np.abs(rows).sum()
    if better is not None and np.all(np.abs(better - n) <= 0.05 * np.abs(better) + noise):
        n, method = better, "the complex step"
        if not (tolerance.apart(a, n) > 0).any() and size <= LIMIT:
            return None
    error = tolerance.apart(a, n)
    worst = np.unravel_index(int(error.argmax()), error.shape)
    return Mismatch(both, a, n, columns, not whole, (int(worst[0]), int(worst[1])), method)


def _by_directions(
    both: Map, tolerance: Tolerance, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """The outputs' combination and the inputs' elements to compare; None where both agree."""
    size = both.x.size
    for v, u in zip(_signs(random, DIRECTIONS, size), _signs(random, DIRECTIONS, both.y.size)):
        g = both.gradient(u)
        allowed = tolerance.atol * np.sqrt(size) + tolerance.rtol * np.linalg.norm(g)

        def error(part: np.ndarray, g: np.ndarray = g, u: np.ndarray = u) -> float:
            value = abs(u @ both.central(part, tolerance.eps) - g @ part)
            return value if np.isfinite(value) else np.inf

        if error(v) <= allowed:
            continue
        # Halve the elements that are moved until one wrong element is left.
        suspects = np.arange(size)
        while suspects.size > 1:
            halves = np.array_split(suspects, 2)
            errors = [error(_part(v, half)) for half in halves]
            suspects = halves[int(errors[1] > errors[0])]
        others = random.choice(size, size=SAMPLE - 1, replace=False)
        return u, np.unique(np.concatenate([suspects, others]))
    return None


def cause(mismatch: Mismatch, tolerance: Tolerance) -> str:
    """The likely mistake, in a sentence."""
    both = mismatch.map
    row, column = mismatch.worst
    if not np.isfinite(mismatch.n[row, column]):
        return (
            "the function itself is not finite around this point. Check it where it is defined, "
            "away from the edge"
        )
    if not np.isfinite(mismatch.a[row, column]):
        return "the gradient is not finite: a rule divides by zero, or multiplies zero by infinity"
    if text := _kink(mismatch, tolerance):
        return text
    which, _ = both.input_element(int(mismatch.columns[column]))
    own = np.array([both.input_element(int(c))[0] == which for c in mismatch.columns])
    a, n = mismatch.a[:, own], mismatch.n[:, own]
    shape = both.inputs[which].shape

    def equal(left: np.ndarray, right: np.ndarray) -> bool:
        return bool(left.shape == right.shape and (tolerance.apart(left, right) <= 0).all())

    if not a.any():
        return (
            "no gradient arrives: the value left the graph (.detach(), .data, .item(), no_grad, a "
            "NumPy function of the raw array), or the rule gives zero"
        )
    if equal(n, np.zeros_like(n)):
        return (
            "the function does not change with this input, so the gradient should be zero: a "
            "constant stands in its place"
        )
    if equal(a, -n):
        return "the sign: the gradient is -1 times the right one"
    factor = float((a * n).sum() / (n * n).sum())
    many = both.y.size / max(both.inputs[which].size, 1)
    if equal(a, factor * n):
        text = f"a factor: the gradient is {factor:.6g} times the right one"
        if many > 1 and np.isclose(factor * many, 1):
            text += ", as if a mean, or one element, stood where the sum over a broadcast axis must"
        return text
    missing = ~a.any(axis=1) & n.any(axis=1)
    if many > 1 and missing.any() and equal(a[~missing], n[~missing]):
        return "the sum over a broadcast axis is missing: some outputs give this input no gradient"
    if len(shape) > 1 and a.shape[1] == both.inputs[which].size:
        cube = n.reshape(-1, *shape)
        for axes in list(itertools.permutations(range(1, len(shape) + 1)))[1:]:
            if equal(a, cube.transpose(0, *axes).reshape(n.shape)):
                return "the gradient is transposed: its elements are right, its axes exchanged"
    if equal(np.sort(a, axis=1), np.sort(n, axis=1)):
        return "the gradient's elements are right but stand in another order"
    for r, one in enumerate(a):
        if one.size > 1 and np.ptp(one) == 0 and np.ptp(n[r]) > tolerance.atol:
            return "the gradient is a constant, the right one is not: it does not look at the input"
    return "none of the common mistakes: the rule's formula is wrong in another way"


def _kink(mismatch: Mismatch, tolerance: Tolerance) -> str | None:
    """The text for a kink, where the slopes on the left and on the right differ; else None."""
    both, (row, column) = mismatch.map, mismatch.worst
    v = _unit(both.x.size, int(mismatch.columns[column]))
    eps = tolerance.eps
    with np.errstate(all="ignore"):
        up, down = both.f(both.x + eps * v) - both.y, both.y - both.f(both.x - eps * v)
        half = both.f(both.x + eps / 2 * v) - both.y
    apart = np.abs(up - down) / eps
    at = int(apart.argmax()) if mismatch.projected else row
    left, right, nearer = down[at] / eps, up[at] / eps, half[at] / (eps / 2)
    size = max(abs(left), abs(right))
    # On a curve the slopes differ by little; at a corner they do not come closer together.
    if abs(right - left) > 1e-2 * size + tolerance.atol and abs(nearer - right) < 0.1 * abs(
        right - left
    ):
        return (
            f"the function is not differentiable at this point: its slope is {left:.6g} on the "
            f"left and {right:.6g} on the right. Check it elsewhere"
        )
    return None


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([part.reshape(-1) for part in parts]) if parts else np.zeros(0)


def _split(vector: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    if not shapes:
        return []
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = np.split(vector, ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def _element(number: int, shapes: Sequence[tuple[int, ...]]) -> tuple[int, tuple[int, ...]]:
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    which = int(np.searchsorted(ends, number, side="right"))
    start = ends[which - 1] if which else 0
    return which, tuple(map(int, np.unravel_index(number - start, shapes[which])))


def _signs(random: np.random.Generator, count: int, size: int) -> np.ndarray:
    return random.integers(0, 2, size=(count, size)) * 2.0 - 1.0


def _unit(size: int, index: int) -> np.ndarray:
    v = np.zeros(size)
    v[index] = 1.0
    return v


def _part(v: np.ndarray, indices: np.ndarray) -> np.ndarray:
    part = np.zeros_like(v)
    part[indices] = v[indices]
    return part
