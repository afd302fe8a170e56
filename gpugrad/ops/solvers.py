"""Determinants, inverses, linear equations and the matrix exponential.

Imports engine.op, decompositions, linalg and reduce. All take stacks of matrices. A singular
matrix has no inverse: NumPy raises LinAlgError, CuPy gives NaN or infinity. Sources: M. Giles,
"Collected matrix derivative results" (2008), and those named below.
"""

import math
from typing import Any

import numpy as np

from gpugrad.engine.op import Checks, Sample, op
from gpugrad.ops.decompositions import SQUARE
from gpugrad.ops.dtypes import HALF, SINGLE
from gpugrad.ops.linalg import adjoint, lapack
from gpugrad.ops.reduce import others


def regular(xp: Any, a: Any, *b: Any) -> tuple[Any, ...]:
    """A matrix far from singular of any, and the other operands as they are: for tests."""
    return (a / a.shape[-1] + xp.eye_like(a) * 2, *b)


# Determinants.


def _orientation(xp: Any, u: Any, vh: Any) -> Any:
    """The determinant of a unitary u @ vh, of size 1, as a stack of 1 x 1 matrices."""
    return xp.sign(xp.det(xp.matmul(u, vh)))[..., None, None]


def _adjugate(xp: Any, x: Any, /) -> Any:
    if x.shape[-1] == 0:
        return x
    u, s, vh = lapack(xp, "svd", x, full_matrices=False)
    rest = xp.moveaxis(others(xp, xp.moveaxis(s, -1, 0)), 0, -1)
    y = xp.matmul(adjoint(xp, vh) * rest[..., None, :], adjoint(xp, u))
    return y * _orientation(xp, u, vh)


def _adjugate_slope(xp: Any, x: Any, g: Any, /) -> Any:
    """For a diagonal S, adj(S + E) is adj(S) + F(E) to first order, with products of all s but two:

    F(E)[i, j] is -E[i, j] times those but s[i], s[j]; F(E)[i, i] is the sum over j of E[j, j]
    times those but s[i], s[j]. No division by s, hence right for singular matrices.
    """
    if x.shape[-1] == 0:
        return g
    u, s, vh = lapack(xp, "svd", x, full_matrices=False)
    c = _orientation(xp, u, vh)
    logs = xp.log(xp.maximum(s, float(np.finfo(s.dtype).tiny)))
    exponent = xp.sum(logs, axis=-1)[..., None, None] - logs[..., :, None] - logs[..., None, :]
    eye = xp.eye_like(x)
    rest = xp.exp(xp.where(eye != 0, float("-inf"), exponent))
    h = xp.matmul(xp.matmul(vh, g), u)
    diagonal = xp.sum(h * eye, axis=-1)
    on = xp.matmul(rest, diagonal[..., None])
    return xp.matmul(xp.matmul(u, eye * on - rest * h), vh) * xp.conj(c)


def _traces(xp: Any, m: Any) -> Any:
    return xp.sum(m * xp.eye_like(m), axis=(-2, -1), keepdims=True)


def _adjugate_slope_vjp(xp: Any, g: Any, y: Any, needs: Any, x: Any, e: Any) -> list[Any]:
    """By x the third derivative of the determinant, along e and g; by e the same op along g.

    The determinant of x + t is that of x times exp(trace(log(1 + z @ t))), z the inverse of x:
    here are the terms of third order, one factor short.
    """
    by_e = adjoint(xp, xp.adjugate_slope(x, adjoint(xp, g)))
    if not needs[0] or x.shape[-1] == 0:
        return [x if needs[0] else None, by_e]
    z = xp.inv(x)
    ze, zg = xp.matmul(z, adjoint(xp, e)), xp.matmul(z, g)
    both = xp.matmul(ze, zg)
    of_e, of_g = _traces(xp, ze), _traces(xp, zg)
    inner = both + xp.matmul(zg, ze) - of_e * zg - of_g * ze
    inner = inner + (of_e * of_g - _traces(xp, both)) * xp.eye_like(x)
    return [adjoint(xp, xp.det(x)[..., None, None] * xp.matmul(inner, z)), by_e]


# fmt: off
op("adjugate_slope", _adjugate_slope, vjp_all=_adjugate_slope_vjp, saves=("x g", "x"),
   complex="same", samples=[Sample((3, 3), (3, 3)), Sample((2, 2, 2), (2, 2, 2)),
                            Sample((4, 4), (4, 4)), Sample((1, 1), (1, 1))],
   prepare=regular, public="", autocast="float32",
   doc="The gradient by x of its adjugate's product with g: of singular x as well, to first order.")
op("adjugate", _adjugate, vjp=[lambda xp, g, y, x: xp.adjugate_slope(x, g)], saves="x",
   complex="same", samples=SQUARE, public="", autocast="float32",
   doc="The transposed matrix of cofactors: det(x) times inv(x), but of singular x as well.")
op("det", lambda xp, x, /: lapack(xp, "det", x),
   vjp=[lambda xp, g, y, x: g[..., None, None] * adjoint(xp, xp.adjugate(x))], saves="x",
   complex="same", samples=SQUARE, public="linalg", autocast="float32",
   doc="The determinant; its first two derivatives are exact for singular x, others for regular.")
# fmt: on


def _slogdet_vjp(xp: Any, gs: Any, ys: Any, needs: Any, x: Any) -> list[Any]:
    g = gs[1]
    if x.dtype.kind == "c":  # the sign turns
        g = g + 1j * xp.imag(xp.conj(ys[0]) * gs[0])
    return [g[..., None, None] * adjoint(xp, xp.inv(x))]


op("slogdet", lambda xp, x, /: lapack(xp, "slogdet", x), vjp_all=_slogdet_vjp, saves="x y",
   complex="same", outputs=True, samples=SQUARE, prepare=regular, public="linalg",
   autocast="float32",
   doc="The determinant's sign and the logarithm of its absolute value.")  # fmt: skip

# Inverses.


def _inv_vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
    yt = adjoint(xp, y)
    return -xp.matmul(xp.matmul(yt, g), yt)


# fmt: off
op("inv", lambda xp, x, /: lapack(xp, "inv", x), vjp=[_inv_vjp], saves="y",
   complex="same", samples=SQUARE, prepare=regular, public="linalg", autocast="float32",
   doc="The inverse matrix.")
# fmt: on


def _pinv_vjp(xp: Any, g: Any, y: Any, x: Any, rcond: float) -> Any:
    """G. Golub and V. Pereyra, "The differentiation of pseudo-inverses" (1973): constant rank."""
    gt, yt = adjoint(xp, g), adjoint(xp, y)
    a = xp.matmul(xp.matmul(gt, y), yt)
    b = xp.matmul(yt, xp.matmul(y, gt))
    d = a - xp.matmul(x, xp.matmul(y, a)) + b - xp.matmul(xp.matmul(b, y), x)
    return d - xp.matmul(xp.matmul(yt, g), yt)


# fmt: off
op("pinv", lambda xp, x, /, rcond=1e-15: lapack(xp, "pinv", x, rcond=rcond), vjp=[_pinv_vjp],
   saves="x y", complex="same", public="linalg",
   samples=[Sample((3, 2), rcond=1e-12), Sample((2, 2, 3), rcond=1e-12)], autocast="float32",
   doc="The Moore-Penrose inverse; singular values below rcond times the largest count as 0.")
# fmt: on

# Linear equations. The right-hand sides are matrices here; the public functions take vectors too.


def _together(xp: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Stacks of one shape, as CuPy wants them."""
    if a.shape[:-2] == b.shape[:-2]:
        return a, b
    shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return (
        xp.broadcast_to(a, (*shape, *a.shape[-2:])),
        xp.broadcast_to(b, (*shape, *b.shape[-2:])),
    )


def _solve_vjp(xp: Any, g: Any, y: Any, needs: Any, a: Any, b: Any) -> list[Any]:
    gb = xp.solve(adjoint(xp, a), g)
    return [-xp.matmul(gb, adjoint(xp, y)) if needs[0] else None, gb]


SYSTEMS = (Sample((3, 3), (3, 2)), Sample((2, 2, 2), (2, 1)), Sample((2, 2), (2, 2, 1)))
op("solve", lambda xp, a, b, /: lapack(xp, "solve", *_together(xp, a, b)), vjp_all=_solve_vjp,
   saves=("a y", "a"), complex="same", samples=SYSTEMS, prepare=regular, public="linalg",
   autocast="float32", doc="The x with a @ x equal to b.")  # fmt: skip


def _solve_triangular(
    xp: Any, a: Any, b: Any, /, lower: bool = False, unit_diagonal: bool = False
) -> Any:
    a = _triangle(xp, a, lower, unit_diagonal)
    if unit_diagonal:
        a = a + xp.eye_like(a)
    return lapack(xp, "solve", *_together(xp, a, b))


def _triangle(xp: Any, x: Any, lower: bool, strict: bool) -> Any:
    """The lower or upper triangle, without the diagonal where strict."""
    k = -1 if strict else 0
    return xp.tril(x, k=k) if lower else xp.triu(x, k=-k)


def _solve_triangular_vjp(
    xp: Any, g: Any, y: Any, needs: Any, a: Any, b: Any, lower: bool, unit_diagonal: bool
) -> list[Any]:
    gb = xp.solve_triangular(adjoint(xp, a), g, lower=not lower, unit_diagonal=unit_diagonal)
    ga = None
    if needs[0]:
        ga = _triangle(xp, -xp.matmul(gb, adjoint(xp, y)), lower, unit_diagonal)
    return [ga, gb]


op("solve_triangular", _solve_triangular, vjp_all=_solve_triangular_vjp, saves=("a y", "a"),
   complex="same", prepare=regular, public="linalg",
   samples=[Sample((3, 3), (3, 2)), Sample((2, 2, 2), (2, 1), lower=True),
            Sample((2, 2), (2, 2), lower=True, unit_diagonal=True)], autocast="float32",
   doc="The x with a @ x equal to b, reading one triangle of a.")  # fmt: skip


def _lstsq(xp: Any, a: Any, b: Any, /, rcond: float) -> Any:
    """By the pseudo-inverse, which waits for no rank, as CuPy's own function does."""
    return xp.matmul(xp.pinv(a, rcond=rcond), b)


def _lstsq_vjp(xp: Any, g: Any, y: Any, needs: Any, a: Any, b: Any, rcond: float) -> list[Any]:
    """The derivative of pinv(a) @ b, with nothing of the size of two sides of b but y."""
    p = xp.pinv(a, rcond=rcond)
    pt = adjoint(xp, p)
    gb = xp.matmul(pt, g)
    if not needs[0]:
        return [None, gb]
    beside = b - xp.matmul(a, y)
    rest = g - xp.matmul(p, xp.matmul(a, g))
    ga = xp.matmul(beside, adjoint(xp, xp.matmul(p, gb)))
    ga = ga + xp.matmul(xp.matmul(pt, y), adjoint(xp, rest))
    return [ga - xp.matmul(gb, adjoint(xp, y)), gb]


op("least_squares", _lstsq, vjp_all=_lstsq_vjp, saves=("a b y", "a"),
   complex="same", checks=Checks(fixed="rcond"), public="",
   samples=[Sample((4, 2), (4, 2), rcond=1e-12), Sample((2, 2, 3), (2, 1), rcond=1e-12)],
   autocast="float32", doc="The shortest x for which a @ x is as near as can be to b.")  # fmt: skip

# The exponential.

# N. Higham, "The scaling and squaring method for the matrix exponential revisited" (2005): the
# coefficients of the Padé approximant of degree 13, and the norm up to which it is exact enough.
_PADE = [math.factorial(26 - k) // (math.factorial(k) * math.factorial(13 - k)) for k in range(14)]
PADE = [c / _PADE[0] for c in _PADE]
THETA = 5.371920351148152
SQUARINGS = 32  # for norms up to 2e10; of larger ones, no digit of the exponential would be right


def _expm(xp: Any, x: Any, /) -> Any:
    if x.dtype == HALF:
        return _expm(xp, x.astype(SINGLE)).astype(HALF)
    if x.dtype.kind in "biu":
        x = x * 1.0
    if x.shape[-1] == 0:
        return x
    size = xp.max(xp.sum(xp.abs(x), axis=-2), axis=-1)[..., None, None]
    times = xp.ceil(xp.log2(xp.maximum(size, THETA) / THETA))
    x = xp.where(times <= SQUARINGS, x, float("nan")) * 2 ** -xp.minimum(times, SQUARINGS)
    eye = xp.eye_like(x)
    x2 = xp.matmul(x, x)
    x4 = xp.matmul(x2, x2)
    x6 = xp.matmul(x4, x2)
    c = PADE
    odd = xp.matmul(x6, c[13] * x6 + c[11] * x4 + c[9] * x2)
    odd = xp.matmul(x, odd + c[7] * x6 + c[5] * x4 + c[3] * x2 + c[1] * eye)
    even = xp.matmul(x6, c[12] * x6 + c[10] * x4 + c[8] * x2)
    even = even + c[6] * x6 + c[4] * x4 + c[2] * x2 + c[0] * eye
    y = xp.solve(even - odd, even + odd)
    # The host's numbers are at hand; a GPU's are not, and are not waited for.
    rounds = SQUARINGS
    if not xp.waits:
        rounds = int(xp.max(xp.where(times <= SQUARINGS, times, 0)).item()) if times.size else 0
    for done in range(rounds):
        left = xp.where(done < times, y, 0.0)  # nothing that overflows, for what is ready
        y = xp.where(done < times, xp.matmul(left, left), y)
    return y


def _expm_vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
    """The Fréchet derivative stands in the corner of the exponential of a matrix of blocks.

    R. Mathias, "A chain rule for matrix functions and applications" (1996).
    """
    n = x.shape[-1]
    x = adjoint(xp, x)
    upper = xp.concat([x, g], axis=-1)
    lower = xp.concat([xp.zeros_like(x), x], axis=-1)
    return xp.expm(xp.concat([upper, lower], axis=-2))[..., :n, n:]


op("expm", _expm, vjp=[_expm_vjp], saves="x",
   complex="same", samples=[Sample((3, 3)), Sample((2, 2, 2))], public="linalg", autocast="float32",
   doc="The exponential of a square matrix.")  # fmt: skip
