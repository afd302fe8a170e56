"""Factors of matrices and eigenvalues, as ``gpugrad.linalg`` has them.

Imports manipulation, type_check and tensor.

The derivatives are in ``gpugrad/ops/decompositions.py``.
"""

from typing import Any, NamedTuple

from gpugrad.errors import ArgumentError, ShapeError
from gpugrad.functions.manipulation import matrix_transpose
from gpugrad.functions.type_check import conjugated
from gpugrad.tensor import OPS, Tensor, as_tensor

__all__ = [
    "EigResult", "EighResult", "QRResult", "SVDResult", "cholesky", "eig", "eigh", "eigvals",
    "eigvalsh", "qr", "svd", "svdvals",
]  # fmt: skip


class EigResult(NamedTuple):
    """The results of `eig`."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class EighResult(NamedTuple):
    """The results of `eigh`."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    """The results of `qr`."""

    Q: Tensor
    R: Tensor


class SVDResult(NamedTuple):
    """The results of `svd`."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def matrices(name: str, x: Any, square: bool = True) -> Tensor:
    """x as a Tensor of matrices; ShapeError where it has too few axes, or is not square."""
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(
            f"{name}: expected a matrix or a stack of matrices, got shape {x.shape}. A vector is "
            "a matrix of one column as x[:, None]"
        )
    if square and x.shape[-1] != x.shape[-2]:
        raise ShapeError(
            f"{name}: expected square matrices, got {x.shape[-2]} rows and {x.shape[-1]} columns "
            f"(shape {x.shape})"
        )
    return x


def cholesky(x: Any, /, *, upper: bool = False) -> Tensor:
    """The lower triangular L of positive definite matrices, with L @ L.mT.conj() equal to x.

    Only the lower triangle of x is read; with ``upper``, only the upper one, and the result is
    L.mT.conj(). The gradient is Hermitian, of real matrices symmetric. LinAlgError where x is not
    positive definite (on a GPU: NaN).
    """
    x = matrices("cholesky", x)
    if upper:
        return matrix_transpose(OPS["cholesky"](matrix_transpose(x)))
    return OPS["cholesky"](x)


def qr(x: Any, /, mode: str = "reduced") -> QRResult | Tensor:
    """Q with orthonormal columns and the upper triangular R, with Q @ R equal to x.

    Mode 'complete' gives a square Q, without a derivative if x has more rows than columns; 'r'
    gives R alone. The derivative requires full rank.
    """
    x = matrices("qr", x, square=False)
    if mode not in ("reduced", "complete", "r"):
        raise ArgumentError(f"qr: expected mode 'reduced', 'complete' or 'r', got {mode!r}")
    q, r = OPS["qr"](x, "reduced" if mode == "r" else mode)
    return r if mode == "r" else QRResult(q, r)


def svd(x: Any, /, full_matrices: bool = True, compute_uv: bool = True) -> SVDResult | Tensor:
    """U, the singular values in descending order, and Vh: x is equal to U * S @ Vh.

    With ``full_matrices`` U and Vh are square, without a derivative if x is not; with
    ``compute_uv=False`` only the singular values are returned. Vectors of equal singular values
    are not unique, nor is the phase of a pair of complex ones. A loss that depends on either
    raises GradientError in ``backward()`` (on a GPU: its gradient is NaN), and so does one of
    equal values and their vectors together: see `eigh`.
    """
    x = matrices("svd", x, square=False)
    if not compute_uv:
        return svdvals(x)
    return SVDResult(*OPS["svd"](x, bool(full_matrices)))


def svdvals(x: Any, /) -> Tensor:
    """The singular values of each matrix, in descending order."""
    x = matrices("svdvals", x, square=False)
    return OPS["svd"](x, full_matrices=False)[1] if x.requires_grad else OPS["svdvals"](x)


def _lower(name: str, x: Any, which: str) -> Tensor:
    """Hermitian matrices of which the lower triangle is read."""
    x = matrices(name, x)
    if which not in ("L", "U", "l", "u"):
        raise ArgumentError(f"{name}: expected UPLO 'L' or 'U', got {which!r}")
    return x if which in "Ll" else matrix_transpose(conjugated(x))


def eigh(x: Any, /, UPLO: str = "L") -> EighResult:
    """Eigenvalues, in ascending order, and eigenvectors, in columns, of Hermitian matrices.

    These include real symmetric matrices. Only the lower triangle of x is read, with
    ``UPLO="U"`` the upper one; the gradient is Hermitian. Vectors of equal eigenvalues are not
    unique, nor is the phase of complex ones. A loss that depends on either raises GradientError in
    ``backward()`` (on a GPU: its gradient is NaN; in forward mode the tangent of the vectors is).
    So does one of values and vectors together, such as ``(v * f(w)) @ v.mT``, where values are
    equal: its derivative does not follow from theirs, and `funm` has it.

    >>> import gpugrad as gg
    >>> x = gg.tensor([[2.0, 0.0], [0.0, 2.0]], requires_grad=True)
    >>> w, v = gg.linalg.eigh(x)
    >>> ((v * w**3) @ v.mT).sum().backward()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    gpugrad.errors.GradientError: eigh: some values are equal, and the loss depends on values ...
    >>> gg.linalg.funm(x, lambda w: w**3).sum().backward()
    >>> x.grad
    tensor([[12., 12.],
            [12., 12.]])
    """
    return EighResult(*OPS["eigh"](_lower("eigh", x, UPLO)))


def eigvalsh(x: Any, /, UPLO: str = "L") -> Tensor:
    """The eigenvalues of Hermitian (or real symmetric) matrices, real, in ascending order."""
    x = _lower("eigvalsh", x, UPLO)
    return OPS["eigh"](x)[0] if x.requires_grad else OPS["eigvalsh"](x)


def eig(x: Any, /) -> EigResult:
    """Eigenvalues, in any order, and eigenvectors, in columns and of size 1, of square matrices.

    All are complex, as in the Array API standard; NumPy returns real ones where it can. A vector
    is unique up to its phase, and those of equal eigenvalues up to their choice: a loss that
    depends on it, or on equal values and vectors together, raises GradientError in ``backward()``
    (on a GPU: its gradient is NaN). A defective matrix, such as [[0, 1], [0, 0]], has no
    derivative: LinAlgError, or meaningless numbers where rounding hides it. DeviceError where
    CUDA's libraries are too old.

    >>> import gpugrad as gg
    >>> gg.linalg.eig(gg.tensor([[0.0, -1.0], [1.0, 0.0]])).eigenvalues
    tensor([0.+1.j, 0.-1.j], dtype=complex64)
    """
    return EigResult(*OPS["eig"](matrices("eig", x)))


def eigvals(x: Any, /) -> Tensor:
    """The eigenvalues of square matrices, in any order, as complex numbers; see `eig`."""
    x = matrices("eigvals", x)
    return OPS["eig"](x)[0] if x.requires_grad else OPS["eigvals"](x)
