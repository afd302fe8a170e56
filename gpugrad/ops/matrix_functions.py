"""Functions of Hermitian matrices: V * f(w) @ V.T.conj(), and their derivatives of any order.

Imports engine.op, decompositions, dtypes and linalg. Only the lower triangle of the matrix is read,
and its gradient is Hermitian.

The derivatives are those of the matrix, not of its eigenvectors, so equal eigenvalues are ordinary
points. In the basis of the eigenvectors the first one multiplies a change of the matrix, element by
element, by the divided differences ``(f(w[i]) - f(w[j])) / (w[i] - w[j])``, which at equal values
are f'(w[i]). Sources: Y. Daleckii and S. Krein (1951); N. Higham, "Functions of Matrices" (2008),
sections 3.2 and 6.1, and chapter 8 on polar factors.
"""

import functools
import math
from itertools import pairwise
from typing import Any

import numpy as np

from gpugrad.engine.op import Checks, Sample, op
from gpugrad.ops.decompositions import SQUARE, positive
from gpugrad.ops.dtypes import HALF, widened
from gpugrad.ops.linalg import adjoint, lapack


def _hermitian(xp: Any, d: Any) -> Any:
    return (d + adjoint(xp, d)) * 0.5


def _first_positive(xp: Any, x: Any, *others: Any) -> tuple[Any, ...]:
    """A positive definite matrix of any, and the other operands as they are: for tests."""
    return (*positive(xp, x), *others)


# Square roots and polar factors, by a linear equation that has no divided differences.


def _lyapunov(xp: Any, a: Any, q: Any, /) -> Any:
    if HALF in (a.dtype, q.dtype):
        return _lyapunov(xp, widened(a), widened(q)).astype(HALF)
    w, v = lapack(xp, "eigh", a)
    vt = adjoint(xp, v)
    inner = xp.matmul(xp.matmul(vt, q), v) / (w[..., :, None] + w[..., None, :])
    return xp.matmul(xp.matmul(v, inner), vt)


def _lyapunov_vjp(xp: Any, g: Any, y: Any, needs: Any, a: Any, q: Any) -> list[Any]:
    gq = xp.lyapunov(a, g)
    if not needs[0]:
        return [None, gq]
    product = xp.matmul(gq, adjoint(xp, y)) + xp.matmul(adjoint(xp, y), gq)
    return [-_hermitian(xp, product), gq]


op("lyapunov", _lyapunov, vjp_all=_lyapunov_vjp, saves=("a y", "a"), hermitian=True, complex="same",
   samples=[Sample((3, 3), (3, 3)), Sample((2, 2, 2), (2, 2, 2))], prepare=_first_positive,
   public="", autocast="float32",
   doc="The x with a @ x + x @ a equal to q, for Hermitian a.")  # fmt: skip


def _sqrtm(xp: Any, x: Any, /) -> Any:
    w, v = lapack(xp, "eigh", x)
    if w.shape[-1]:  # zeros, but for rounding errors below them
        tiny = xp.max(xp.abs(w), axis=-1, keepdims=True) * (x.shape[-1] * np.finfo(w.dtype).eps)
        w = xp.where((w < 0) & (w >= -tiny), 0.0, w)
    return xp.matmul(v * xp.sqrt(w)[..., None, :], adjoint(xp, v))


op("sqrtm", _sqrtm, vjp=[lambda xp, g, y, x: xp.lyapunov(y, _hermitian(xp, g))], saves="y",
   hermitian=True, complex="same", samples=SQUARE, prepare=positive, public="linalg",
   autocast="float32", doc="The square root of a positive definite matrix.")  # fmt: skip


def _polar_factor(xp: Any, x: Any, /) -> Any:
    u, _, vh = lapack(xp, "svd", x, full_matrices=False)
    return xp.matmul(u, vh)


def _polar_factor_vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
    """With x = y @ p, a change of x turns y by a skew matrix t, with p @ t + t @ p known.

    What is orthogonal to the columns of y changes by the inverse of p.
    """
    yt = adjoint(xp, y)
    p = _hermitian(xp, xp.matmul(yt, x))
    along = xp.matmul(yt, g)
    d = xp.matmul(y, xp.lyapunov(p, along - adjoint(xp, along)))
    if x.shape[-2] > x.shape[-1]:
        beside = g - xp.matmul(y, along)
        d = d + adjoint(xp, xp.solve(p, adjoint(xp, beside)))
    return d


# fmt: off
op("polar_factor", _polar_factor, vjp=[_polar_factor_vjp], saves="x y", complex="same",
   samples=[Sample((3, 3)), Sample((3, 2)), Sample((2, 3, 2))], shown="polar", public="",
   autocast="float32",
   doc="The matrix with orthonormal columns nearest to x, which has no more columns than rows.")
# fmt: on

# Any function, by its divided differences.


class Logarithm:
    """The logarithm and its derivatives, for `matrix_function`."""

    def __call__(self, xp: Any, w: Any, order: int) -> Any:
        """The derivative of an order at each number."""
        if order == 0:
            return xp.log(w)
        return (-1.0) ** (order - 1) * math.factorial(order - 1) / w**order

    def __repr__(self) -> str:
        return "log"


LOG = Logarithm()


@functools.cache
def _quadrature(points: int) -> list[tuple[float, float]]:
    """The nodes and weights of the Gauss rule for the integral from 0 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return [(float(n) / 2 + 0.5, float(w) / 2) for n, w in zip(nodes, weights, strict=True)]


def _ascending(xp: Any, points: list[Any]) -> list[Any]:
    """Several arrays, sorted where they broadcast to each other."""
    points = list(points)
    for end in range(len(points) - 1, 0, -1):
        for i in range(end):
            low, high = points[i], points[i + 1]
            points[i], points[i + 1] = xp.minimum(low, high), xp.maximum(low, high)
    return points


def _divided(xp: Any, f: Any, points: list[Any]) -> Any:
    """The divided difference of f at ascending points.

    Each of the table is a quotient of those before it, the rounding errors of which grow as the
    points come closer together, or an integral, by a rule that is exact for close points:
    whichever has the smaller error.
    """
    eps = float(np.finfo(points[0].dtype).eps)
    values = [f(xp, point, 0) for point in points]
    errors = [xp.abs(y) * eps for y in values]
    for order in range(1, len(points)):
        for i in range(len(points) - order):
            own = points[i : i + order + 1]
            gap = own[-1] - own[0]
            equal = gap == 0
            gap = xp.where(equal, 1.0, gap)
            quotient, error = (values[i + 1] - values[i]) / gap, (errors[i + 1] + errors[i]) / gap
            smooth = _mean(xp, f, own, _quadrature(6))
            smooth_error = xp.abs(smooth - _mean(xp, f, own, _quadrature(4))) + xp.abs(smooth) * eps
            # A jump of f, which its derivatives do not show, is in the quotient alone.
            consistent = xp.abs(smooth - quotient) <= 256 * error
            better = equal | (smooth_error <= error) & consistent
            values[i] = xp.where(better, smooth, quotient)
            errors[i] = xp.where(better, smooth_error, error)
    return values[0]


def _mean(xp: Any, f: Any, points: list[Any], rule: list[tuple[float, float]]) -> Any:
    """The integral of C. Hermite and A. Genocchi: of f's derivative over all means of the points.

    The k-th of the nested variables moves on from the point before by a share of what the one
    before has moved.
    """
    order = len(points) - 1
    steps = [b - a for a, b in pairwise(points)]

    def integral(place: Any, share: float, level: int) -> Any:
        places = [place + share * node * steps[level] for node, _ in rule]
        if level == order - 1:
            parts = f(xp, xp.stack(places), order)
        else:
            parts = [integral(at, share * node, level + 1) for at, (node, _) in zip(places, rule)]
        weights = [weight * node ** (order - 1 - level) for node, weight in rule]
        return sum((parts[k] * weights[k] for k in range(1, len(rule))), parts[0] * weights[0])

    return integral(points[0], 1.0, 0)


def _matrix_function(xp: Any, /, *arrays: Any, f: Any) -> Any:
    if arrays[0].dtype == HALF:
        return _matrix_function(xp, *map(widened, arrays), f=f).astype(HALF)
    x, *changes = arrays
    w, v = xp.linalg.eigh(x)
    vt = adjoint(xp, v)
    count, size = len(changes), w.shape[-1]
    if not count:
        return xp.matmul(v * f(xp, w, 0)[..., None, :], vt)
    inner = [xp.matmul(xp.matmul(vt, e), v) for e in changes]
    shapes = [(1,) * k + (size,) + (1,) * (count - k) for k in range(count + 1)]
    points = [w.reshape((*w.shape[:-1], *shape)) for shape in shapes]
    weights = _divided(xp, f, _ascending(xp, points))
    if count == 1:
        total = weights * inner[0]
    else:
        letters = "abcdefghijklmnopqrstuvwxyz"[: count + 1]
        pairs = ",".join(f"...{a}{b}" for a, b in pairwise(letters))
        subscripts = f"...{letters},{pairs}->...{letters[0]}{letters[-1]}"
        total = xp.einsum(subscripts, weights.astype(inner[0].dtype), *inner)
    return xp.matmul(xp.matmul(v, total), vt)


def _matrix_function_vjp(
    xp: Any, g: Any, y: Any, needs: Any, x: Any, *changes: Any, f: Any
) -> list[Any]:
    """Each derivative of ``x, e1, e2, ...`` is the same op with one change more, or as many.

    The derivative by x along b is the sum over all places of b among the changes. Divided
    differences do not depend on the order of their points, so the trace of a product with g may
    be turned until b stands alone.
    """
    turned = [adjoint(xp, e) for e in changes]

    def around(before: list[Any], after: list[Any]) -> Any:
        return xp.matrix_function(x, *reversed(before), g, *reversed(after), f=f)

    results: list[Any] = [None]
    if needs[0]:
        terms = [around(turned[:k], turned[k:]) for k in range(len(turned) + 1)]
        results = [_hermitian(xp, sum(terms[1:], terms[0]))]
    return results + [
        around(turned[:k], turned[k + 1 :]) if need else None for k, need in enumerate(needs[1:])
    ]


# fmt: off
op("matrix_function", _matrix_function, vjp_all=_matrix_function_vjp, saves="arrays",
   hermitian=True, complex="same",
   samples=[Sample((3, 3), f=LOG), Sample((2, 2, 2), f=LOG), Sample((3, 3), (3, 3), f=LOG),
            Sample((2, 2), (2, 2), (2, 2), f=LOG)],
   prepare=_first_positive, shown="funm", public="", checks=Checks(fixed="f"), autocast="float32",
   doc="f of a Hermitian matrix, or, with changes after it, a term of its derivative along them.")
# fmt: on
