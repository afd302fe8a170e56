"""Factors of matrices: Cholesky, QR, singular values, eigenvalues.

Imports engine.op, linalg, phases and subspaces.

All of them take stacks of matrices. The operand of `cholesky`, `eigh` and `eigvalsh` counts as
Hermitian: only its lower triangle is read, and the gradient is that of a function of Hermitian
matrices, hence Hermitian itself. Of complex matrices each eigenvector, and each pair of singular
vectors, has a phase that is not unique either: a loss that depends on it is refused (phases.py).
The diagonals of R and of L are real.

Where eigenvalues or singular values repeat, their vectors are not unique. subspaces.py says what
becomes of losses that use them. Of the values alone the gradient is right where the loss is
symmetric in the equal ones, and else one of the subgradients.

Sources: M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008); I. Murray, "Differentiation of the Cholesky decomposition" (2016); S.
Walter and L. Lehmann, "Algorithmic differentiation of linear algebra functions with application
in optimum experimental design" (2009); for complex numbers, Z.-Q. Wan and S.-X. Zhang, "Automatic
differentiation for complex valued SVD" (2019).
"""

from typing import Any

import numpy as np

from gpugrad.engine.op import Checks, Sample, op
from gpugrad.errors import DeviceError, GradientError
from gpugrad.ops.dtypes import widened
from gpugrad.ops.linalg import adjoint, lapack, turned
from gpugrad.ops.phases import free_of_phases
from gpugrad.ops.subspaces import Rotations, nearness, rotated

SQUARE = (Sample((3, 3)), Sample((2, 2, 2)), Sample((1, 1)))


def symmetric(xp: Any, x: Any) -> tuple[Any]:
    """A symmetric matrix, its eigenvalues apart, of any: for tests."""
    size = x.shape[-1]
    steps = xp.cumsum(xp.eye_like(x), axis=0)[-1]  # ones
    apart = xp.eye_like(x) * xp.cumsum(steps, axis=0)
    return ((x + adjoint(xp, x)) / (2 * size) + apart,)


def positive(xp: Any, x: Any) -> tuple[Any]:
    """A positive definite matrix of any: for tests."""
    return (xp.matmul(x, adjoint(xp, x)) / x.shape[-1] + xp.eye_like(x),)


def _squares(xp: Any, w: Any, v: Any) -> tuple[Any, Any]:
    """Eigenvalues, and eigenvectors without their sign or phase."""
    return w, v * xp.conj(v)


# Cholesky.


def _cholesky_vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
    turned = adjoint(xp, y)
    m = xp.matmul(turned, g)
    m = (xp.tril(m) + xp.tril(m, k=-1)) * 0.5
    m = xp.solve_triangular(turned, m)
    m = xp.solve_triangular(turned, adjoint(xp, m))
    return (m + adjoint(xp, m)) * 0.5


op("cholesky", lambda xp, x, /: lapack(xp, "cholesky", x), vjp=[_cholesky_vjp], saves="y",
   hermitian=True, complex="same", samples=SQUARE, prepare=positive, public="linalg",
   autocast="float32",
   doc="The lower triangular L with L @ L.T.conj() equal to x, positive definite.")  # fmt: skip

# QR.


def _qr_vjp(xp: Any, gs: Any, ys: Any, needs: Any, x: Any, mode: str) -> list[Any]:
    (gq, gr), (q, r) = gs, ys
    rows, columns = x.shape[-2:]
    if mode == "complete" and rows > columns:
        raise GradientError(
            f"qr: mode 'complete' has no derivative for matrices of shape {(rows, columns)}: the "
            "last columns of Q are not unique. Use mode 'reduced'"
        )
    if rows >= columns:
        return [_qr_tall(xp, gq, gr, q, r)]
    # x = [a, b], with a square: a = Q R, and what stands right of R is Q.T b.
    left, right = (Ellipsis, slice(None, rows)), (Ellipsis, slice(rows, None))
    gq = gq + xp.matmul(q, xp.matmul(r[right], adjoint(xp, gr[right])))
    ga = _qr_tall(xp, gq, gr[left], q, r[left])
    return [xp.concat([ga, xp.matmul(q, gr[right])], axis=-1)]


def _qr_tall(xp: Any, gq: Any, gr: Any, q: Any, r: Any) -> Any:
    m = xp.matmul(r, adjoint(xp, gr)) - xp.matmul(adjoint(xp, gq), q)
    m = (xp.tril(m) + xp.tril(m, k=-1)) * 0.5
    m = m + adjoint(xp, m)
    b = gq + xp.matmul(q, m)
    return adjoint(xp, xp.solve_triangular(r, adjoint(xp, b)))


op("qr", lambda xp, x, /, mode="reduced": lapack(xp, "qr", x, mode=mode), vjp_all=_qr_vjp,
   saves="y", complex="same", outputs=True,
   samples=[Sample((3, 3)), Sample((3, 2)), Sample((2, 2, 3)), Sample((2, 2), mode="complete")],
   prepare=lambda xp, x: (xp.matmul(x, adjoint(xp, x) @ x) * 0.1 + x,),
   observe=lambda xp, q, r: (q * xp.conj(q), r * xp.conj(r)), public="linalg", autocast="float32",
   doc="Q with orthonormal columns and an upper triangular R, with Q @ R equal to x.")  # fmt: skip

# Singular values.


def _apart(xp: Any, m: Any) -> Any:
    """A mask of the pairs of two vectors: of what is not on the diagonal."""
    return xp.eye_like(m) == 0


def _gaps(values: Any) -> Any:
    """By how much the value of each column exceeds that of each row."""
    return values[..., None, :] - values[..., :, None]


def _both(xp: Any, m: Any) -> Any:
    """The sizes of two numbers that are opposite on both sides of the diagonal."""
    size = xp.abs(m)
    return size + turned(xp, size)


def _reduced(x: Any, u: Any, s: Any, vh: Any, used: bool) -> tuple[Any, Any]:
    """The vectors of the singular values; GradientError where there are others that are used."""
    count = s.shape[-1]
    if used and max(u.shape[-1], vh.shape[-2]) > count:
        raise GradientError(
            f"svd: full_matrices=True has no derivative for matrices of shape {x.shape[-2:]}: "
            "the last singular vectors are not unique. Use full_matrices=False, or svdvals for "
            "the singular values alone"
        )
    return u[..., :count], vh[..., :count, :]


def _svd_vjp(xp: Any, gs: Any, ys: Any, needs: Any, x: Any, full_matrices: bool) -> list[Any]:
    """The vectors of two values rotate by the gap between these, on both sides together.

    Those on the left rotate against those on the right by the sum of the values, and a vector into
    what is orthogonal to all of them by its own value.
    """
    (gu, g, gvh), (u, s, vh) = gs, ys
    u, vh = _reduced(x, u, s, vh, gu is not None or gvh is not None)
    if (gu is None and gvh is None) or 0 in x.shape:
        return [xp.matmul(u if g is None else u * g[..., None, :], vh)]
    gv = None if gvh is None else adjoint(xp, gvh)
    a = 0.0 if gu is None else xp.matmul(adjoint(xp, u), gu)
    b = 0.0 if gv is None else xp.matmul(vh, gv)
    together, against = a + b, a - b
    rotations = Rotations(xp, s, g, *(m for m in (gu, gv) if m is not None))
    turn, other = together - adjoint(xp, together), against - adjoint(xp, against)
    apart = _apart(xp, together)
    inner = rotations.over(turn, _gaps(s), _both(xp, together), apart)
    # One vector against its own partner: the phase that complex ones have.
    sums = s[..., None, :] + s[..., :, None]
    alone = other.dtype.kind == "c" or apart
    inner = inner + rotations.over(other, sums, _both(xp, against), alone)
    inner = inner * 0.5
    if g is not None:
        inner = inner + xp.eye_like(inner) * g[..., None, :]
    d = xp.matmul(xp.matmul(u, inner), vh)
    if u.shape[-2] > s.shape[-1] and gu is not None:
        beside = gu - xp.matmul(u, a)
        d = d + xp.matmul(rotations.over(beside, s[..., None, :], xp.abs(beside)), vh)
    elif vh.shape[-1] > s.shape[-1] and gv is not None:
        beside = gv - xp.matmul(adjoint(xp, vh), b)
        across = rotations.over(beside, s[..., None, :], xp.abs(beside))
        d = d + xp.matmul(u, adjoint(xp, across))
    d = free_of_phases(xp, "svd", d, together, (u, gu), (vh, gvh), (s, g))
    return [rotations.checked("svd", d)]


def _svd_jvp(xp: Any, tangents: Any, ys: Any, x: Any, full_matrices: bool) -> tuple[Any, ...]:
    (dx,), (u, s, vh) = tangents, ys
    u, vh = _reduced(x, u, s, vh, True)
    v = adjoint(xp, vh)
    change = xp.matmul(xp.matmul(adjoint(xp, u), dx), v)
    ds = xp.sum(xp.real(change * xp.eye_like(change)), axis=-1)
    if 0 in x.shape:
        return xp.zeros_like(u), ds, xp.zeros_like(vh)
    near, apart = nearness(xp, s), _apart(xp, change)
    back = adjoint(xp, change)
    together = rotated(xp, change + back, _gaps(s), near, apart) * 0.5
    sums = s[..., None, :] + s[..., :, None]
    against = rotated(xp, change - back, sums, near, change.dtype.kind == "c" or apart) * 0.5
    du, dv = xp.matmul(u, together + against), xp.matmul(v, together - against)
    if u.shape[-2] > s.shape[-1]:
        beside = xp.matmul(dx, v) - xp.matmul(u, change)
        du = du + rotated(xp, beside, s[..., None, :], near)
    elif v.shape[-2] > s.shape[-1]:
        beside = xp.matmul(adjoint(xp, dx), u) - xp.matmul(v, back)
        dv = dv + rotated(xp, beside, s[..., None, :], near)
    return du, ds, adjoint(xp, dv)


# fmt: off
op("svd", lambda xp, x, /, full_matrices=True: lapack(xp, "svd", x, full_matrices=full_matrices),
   vjp_all=_svd_vjp, jvp=_svd_jvp, saves="y", complex="same", outputs=True, partial=True,
   samples=[Sample((3, 3)), Sample((3, 2), full_matrices=False),
            Sample((2, 2, 3), full_matrices=False)],
   observe=lambda xp, u, s, vh: (u * xp.conj(u), s, vh * xp.conj(vh)), public="linalg",
   autocast="float32",
   doc="U, the singular values in descending order, and the adjoint of V: x = U * S @ Vh.")
op("svdvals", lambda xp, x, /: lapack(xp, "svd", x, compute_uv=False),
   samples=[Sample((3, 2)), Sample((2, 2, 2))], public="linalg", autocast="float32",
   doc="The singular values, in descending order: the op without a gradient, which `svd` has.")
# fmt: on

# Eigenvalues of Hermitian matrices.


def _eigh_vjp(xp: Any, gs: Any, ys: Any, needs: Any, x: Any) -> list[Any]:
    (gw, gv), (w, v) = gs, ys
    vt = adjoint(xp, v)
    if gv is None or 0 in x.shape:
        return [xp.matmul(v if gw is None else v * gw[..., None, :], vt)]
    turns = xp.matmul(vt, gv)
    rotations = Rotations(xp, w, gw, gv)
    turn = turns - adjoint(xp, turns)
    m = rotations.over(turn, _gaps(w), _both(xp, turns), _apart(xp, turns)) * 0.5
    if gw is not None:
        m = m + xp.eye_like(m) * gw[..., None, :]
    d = xp.matmul(xp.matmul(v, m), vt)
    d = free_of_phases(xp, "eigh", d, turns, (v, gv), (w, gw))
    return [rotations.checked("eigh", d)]


def _eigh_jvp(xp: Any, tangents: Any, ys: Any, x: Any) -> tuple[Any, Any]:
    (dx,), (w, v) = tangents, ys
    change = xp.matmul(xp.matmul(adjoint(xp, v), (dx + adjoint(xp, dx)) * 0.5), v)
    dw = xp.sum(xp.real(change * xp.eye_like(change)), axis=-1)
    if 0 in x.shape:
        return dw, xp.zeros_like(v)
    return dw, xp.matmul(v, rotated(xp, change, _gaps(w), nearness(xp, w), _apart(xp, change)))


op("eigh", lambda xp, x, /: lapack(xp, "eigh", x), vjp_all=_eigh_vjp, jvp=_eigh_jvp, saves="y",
   hermitian=True, complex="same", outputs=True, partial=True, samples=SQUARE, prepare=symmetric,
   observe=_squares, public="linalg", autocast="float32",
   doc="Eigenvalues in ascending order and eigenvectors, in columns, of Hermitian x.")  # fmt: skip
# fmt: off
op("eigvalsh", lambda xp, x, /: lapack(xp, "eigvalsh", x), samples=SQUARE, prepare=symmetric,
   public="linalg", autocast="float32",
   doc="The eigenvalues of Hermitian x, ascending: the op without a gradient, which `eigh` has.")
# fmt: on

# Eigenvalues of any square matrices: complex, for real matrices too.


def _of_any(xp: Any, name: str, x: Any) -> tuple[Any, ...]:
    """The results of a function of the array library's ``linalg``, complex whatever they are."""
    x = widened(x)
    try:
        result = getattr(xp.linalg, name)(x)
    except RuntimeError as error:  # CuPy's, where cuSOLVER lacks what CUDA 12.6 brought
        if "geev" not in str(error):
            raise
        raise DeviceError(
            f"{name}: the CUDA libraries of this machine have no such function ({error}). Install "
            "newer ones, use eigh for Hermitian matrices, or move the matrix with .cpu()"
        ) from error
    kind = np.result_type(x.dtype, np.complex64)
    return tuple(y.astype(kind, copy=False) for y in (result if name == "eig" else (result,)))


def _eig_vjp(xp: Any, gs: Any, ys: Any, needs: Any, x: Any) -> list[Any]:
    """C. Boeddeker et al., "On the computation of complex-valued gradients" (2017), section 4.

    For vectors of size 1.
    """
    (gw, gv), (w, v) = gs, ys
    vh = adjoint(xp, v)
    eye = xp.eye_like(v)
    if gv is None or 0 in x.shape:
        return [xp.solve(vh, (vh if gw is None else gw[..., :, None] * vh))]
    turns = xp.matmul(vh, gv)
    sizes = xp.sum(xp.real(turns) * xp.real(eye), axis=-1)
    turn = turns - xp.matmul(vh, v) * sizes[..., None, :]
    rotations = Rotations(xp, w, gw, gv)
    m = rotations.over(turn, xp.conj(_gaps(w)), None, _apart(xp, turn))
    if gw is not None:
        m = m + eye * gw[..., None, :]
    d = xp.solve(vh, xp.matmul(m, vh))
    d = free_of_phases(xp, "eig", d, turns, (v, gv), (w, gw))
    return [rotations.checked("eig", d)]


def _eig_jvp(xp: Any, tangents: Any, ys: Any, x: Any) -> tuple[Any, Any]:
    (dx,), (w, v) = tangents, ys
    eye = xp.eye_like(v)
    change = xp.solve(v, xp.matmul(dx.astype(v.dtype), v))
    dw = xp.sum(change * eye, axis=-1)
    if 0 in x.shape:
        return dw, xp.zeros_like(v)
    turn = rotated(xp, change, _gaps(w), nearness(xp, w), _apart(xp, change))
    dv = xp.matmul(v, turn)
    longer = xp.sum(xp.real(xp.conj(v) * dv), axis=-2)  # the vectors keep size 1
    return dw, dv - v * longer[..., None, :]


# fmt: off
op("eig", lambda xp, x, /: _of_any(xp, "eig", x), vjp_all=_eig_vjp, jvp=_eig_jvp, saves="y",
   complex="same", outputs=True, partial=True, samples=SQUARE,
   observe=lambda xp, w, v: (xp.real(w), xp.imag(w), xp.real(v * xp.conj(v))), public="linalg",
   checks=Checks(least="float32"), autocast="float32",
   doc="Eigenvalues and eigenvectors, in columns and of size 1, of square x: complex numbers.")
op("eigvals", lambda xp, x, /: _of_any(xp, "eigvals", x)[0], samples=SQUARE, public="linalg",
   autocast="float32",
   doc="The eigenvalues of square x, complex numbers: the op without a gradient, which `eig` has.")
# fmt: on
