"""Factors of matrices: Cholesky, QR, singular values, eigenvalues.

Imports engine.op, linalg and phases.

All of them take stacks of matrices. The operand of `cholesky`, `eigh` and `eigvalsh` counts as
Hermitian: only its lower triangle is read, and the gradient is that of a function of Hermitian
matrices, hence Hermitian itself. Of complex matrices each eigenvector, and each pair of singular
vectors, has a phase that is not unique either: a loss that depends on it is refused (phases.py).
The diagonals of R and of L are real.

Where eigenvalues or singular values repeat, their vectors are not unique and have no
derivative. What pairs of equal values would contribute counts as zero (`_between`), so all
gradients are finite. They are right for functions that do not depend on the choice of the
vectors of one value: of the values alone, if symmetric in the equal ones, and of projections
onto whole eigenspaces. A product that mixes vectors and values (``V * f(w) @ V.T``) is right
where values are distinct only.

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
from gpugrad.ops.linalg import adjoint, lapack
from gpugrad.ops.phases import free_of_phases

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


op(
    "cholesky",
    lambda xp, x, /: lapack(xp, "cholesky", x),
    vjp=[_cholesky_vjp],
    complex="same",
    saves="y",
    samples=SQUARE,
    prepare=positive,
    public="linalg",
    doc="The lower triangular L with L @ L.T.conj() equal to x, positive definite.",
)

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


op(
    "qr",
    lambda xp, x, /, mode="reduced": lapack(xp, "qr", x, mode=mode),
    vjp_all=_qr_vjp,
    complex="same",
    saves="y",
    outputs=True,
    samples=[
        Sample((3, 3)),
        Sample((3, 2)),
        Sample((2, 2, 3)),
        Sample((2, 2), mode="complete"),
    ],
    prepare=lambda xp, x: (xp.matmul(x, adjoint(xp, x) @ x) * 0.1 + x,),
    observe=lambda xp, q, r: (q * xp.conj(q), r * xp.conj(r)),
    public="linalg",
    doc="Q with orthonormal columns and an upper triangular R, with Q @ R equal to x.",
)

# Singular values.


def _between(xp: Any, m: Any, s: Any, squared: bool = False) -> Any:
    """m[i, j] / (s[j] - s[i]), or with squares of s; zero where the two are equal.

    Equal are numbers that differ by no more than their rounding errors.
    """
    column, row = s[..., :, None], s[..., None, :]
    gap = row - column
    if s.shape[-1] == 0:
        return m
    largest = xp.max(xp.abs(s), axis=-1, keepdims=True)[..., None]
    equal = xp.abs(gap) <= largest * _rounding(s, s.shape[-1])
    if squared:
        gap = gap * (row + column)
    return xp.where(equal, 0.0, m) / xp.where(equal, 1.0, gap)


def _rounding(s: Any, size: int) -> float:
    """How far a computed value may be from the exact one, by the largest."""
    return 2 * size * float(np.finfo(s.dtype).eps)


def _inverses(xp: Any, s: Any, size: int) -> Any:
    """1 / s, and 0 where s is zero but for rounding errors."""
    if s.shape[-1] == 0:
        return s
    none = s <= xp.max(s, axis=-1, keepdims=True) * _rounding(s, size)
    return xp.where(none, 0.0, 1 / xp.where(none, 1.0, s))


def _svd_vjp(xp: Any, gs: Any, ys: Any, needs: Any, x: Any, full_matrices: bool) -> list[Any]:
    (gu, g, gvh), (u, s, vh) = gs, ys
    rows, columns = x.shape[-2:]
    if full_matrices and rows != columns:
        raise GradientError(
            f"svd: full_matrices=True has no derivative for matrices of shape {(rows, columns)}: "
            "the last singular vectors are not unique. Use full_matrices=False, or svdvals for "
            "the singular values alone"
        )
    ut, v, gv = adjoint(xp, u), adjoint(xp, vh), adjoint(xp, gvh)
    a, b = xp.matmul(ut, gu), xp.matmul(vh, gv)
    phases, turns = a - adjoint(xp, a), a + b
    a = _between(xp, phases, s, squared=True) * s[..., None, :]
    b = _between(xp, b - adjoint(xp, b), s, squared=True) * s[..., :, None]
    inner = a + b + xp.eye_like(a) * _diagonal(xp, g, phases, s, max(rows, columns))
    d = xp.matmul(xp.matmul(u, inner), vh)
    if rows > columns:
        beside = gu - xp.matmul(u, xp.matmul(ut, gu))
        d = d + xp.matmul(beside * _inverses(xp, s, rows)[..., None, :], vh)
    elif columns > rows:
        beside = gvh - xp.matmul(xp.matmul(gvh, v), vh)
        d = d + xp.matmul(u, beside * _inverses(xp, s, columns)[..., :, None])
    return [free_of_phases(xp, "svd", d, turns, (u, gu), (vh, gvh), (s, g))]


def _diagonal(xp: Any, g: Any, phases: Any, s: Any, size: int) -> Any:
    """What the singular values get, and the phases that the vectors of one have together."""
    g = g[..., None, :]
    if phases.dtype.kind != "c":
        return g
    return g + phases * (_inverses(xp, s, size) / 2)[..., None, :]


op(
    "svd",
    lambda xp, x, /, full_matrices=True: lapack(xp, "svd", x, full_matrices=full_matrices),
    vjp_all=_svd_vjp,
    complex="same",
    saves="y",
    outputs=True,
    samples=[
        Sample((3, 3)),
        Sample((3, 2), full_matrices=False),
        Sample((2, 2, 3), full_matrices=False),
    ],
    observe=lambda xp, u, s, vh: (u * xp.conj(u), s, vh * xp.conj(vh)),
    public="linalg",
    doc="U, the singular values in descending order, and the adjoint of V: x = U * S @ Vh.",
)


def _svdvals_vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
    u, _, vh = xp.svd(x, full_matrices=False)
    return xp.matmul(u * g[..., None, :], vh)


op(
    "svdvals",
    lambda xp, x, /: lapack(xp, "svd", x, compute_uv=False),
    vjp=[_svdvals_vjp],
    complex="same",
    saves="x",
    samples=[Sample((3, 2)), Sample((2, 2, 2))],
    public="linalg",
    doc="The singular values, in descending order.",
)

# Eigenvalues of Hermitian matrices.


def _eigh_vjp(xp: Any, gs: Any, ys: Any, needs: Any, x: Any) -> list[Any]:
    (gw, gv), (w, v) = gs, ys
    vt = adjoint(xp, v)
    turns = xp.matmul(vt, gv)
    m = _between(xp, turns - adjoint(xp, turns), w) * 0.5
    m = m + xp.eye_like(m) * gw[..., None, :]
    d = xp.matmul(xp.matmul(v, m), vt)
    return [free_of_phases(xp, "eigh", d, turns, (v, gv), (w, gw))]


op(
    "eigh",
    lambda xp, x, /: lapack(xp, "eigh", x),
    vjp_all=_eigh_vjp,
    complex="same",
    saves="y",
    outputs=True,
    samples=SQUARE,
    prepare=symmetric,
    observe=_squares,
    public="linalg",
    doc="Eigenvalues in ascending order and eigenvectors, in columns, of Hermitian x.",
)


def _eigvalsh_vjp(xp: Any, g: Any, y: Any, x: Any) -> Any:
    _, v = xp.eigh(x)
    return xp.matmul(v * g[..., None, :], adjoint(xp, v))


op(
    "eigvalsh",
    lambda xp, x, /: lapack(xp, "eigvalsh", x),
    vjp=[_eigvalsh_vjp],
    complex="same",
    saves="x",
    samples=SQUARE,
    prepare=symmetric,
    public="linalg",
    doc="The eigenvalues of Hermitian x, in ascending order.",
)

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
    vh, eye = adjoint(xp, v), xp.eye_like(v)
    turns = xp.matmul(vh, gv)
    sizes = xp.sum(xp.real(turns) * xp.real(eye), axis=-1)
    m = _between(xp, turns - xp.matmul(vh, v) * sizes[..., None, :], xp.conj(w))
    d = xp.solve(vh, xp.matmul(m + eye * gw[..., None, :], vh))
    return [free_of_phases(xp, "eig", d, turns, (v, gv), (w, gw))]


op(
    "eig",
    lambda xp, x, /: _of_any(xp, "eig", x),
    vjp_all=_eig_vjp,
    complex="same",
    saves="y",
    outputs=True,
    samples=SQUARE,
    observe=lambda xp, w, v: (xp.real(w), xp.imag(w), xp.real(v * xp.conj(v))),
    public="linalg",
    checks=Checks(least="float32"),
    doc="Eigenvalues and eigenvectors, in columns and of size 1, of square x: complex numbers.",
)
op(
    "eigvals",
    lambda xp, x, /: _of_any(xp, "eigvals", x)[0],
    samples=SQUARE,
    public="linalg",
    doc="The eigenvalues of square x, complex numbers: the op without a gradient, which `eig` has.",
)
