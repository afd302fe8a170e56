"""Functions of Hermitian matrices, and polar factors, as SciPy names them.

Imports decompositions, manipulation, operands, type_check, tensor and engine.

The derivatives are in ``gpugrad/ops/matrix_functions.py``. Equal eigenvalues are ordinary points
of all these, where those of a product of `eigh`'s results have no derivative.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.namespace import waits
from gpugrad.engine.backward import run_backward
from gpugrad.engine.modes import enable_grad, no_grad
from gpugrad.errors import ArgumentError, DTypeError, GradientError, ShapeError
from gpugrad.functions.linalg.decompositions import matrices
from gpugrad.functions.manipulation import matrix_transpose
from gpugrad.functions.operands import floating
from gpugrad.functions.type_check import conjugated
from gpugrad.ops.matrix_functions import LOG
from gpugrad.tensor import GRAPH_MODE, OPS, TENSORS, Tensor, as_tensor

__all__ = ["PolarResult", "funm", "logm", "polar", "sqrtm"]


class PolarResult(NamedTuple):
    """The results of `polar`."""

    U: Tensor
    P: Tensor


def _adjoint(x: Tensor) -> Tensor:
    return matrix_transpose(conjugated(x))


def _hermitian(name: str, x: Any) -> Tensor:
    """x as Hermitian matrices; ArgumentError where they are not (on a GPU: NaN)."""
    x = floating(matrices(name, x))
    if x.size == 0:
        return x
    with no_grad():
        size = OPS["max"](OPS["abs"](x), axis=(-2, -1), keepdims=True)
        gap = OPS["max"](OPS["abs"](x - _adjoint(x)), axis=(-2, -1), keepdims=True)
        wrong = gap > size * float(np.finfo(x.dtype).eps) ** 0.5
    if waits(x._array):
        return OPS["where"](wrong, float("nan"), x)
    if bool(wrong.any()):
        raise ArgumentError(
            f"{name}: expected Hermitian matrices (real ones: symmetric), got others. Symmetrize "
            "them if they are meant to be, as (x + x.mT.conj()) / 2"
        )
    return x


def sqrtm(x: Any, /) -> Tensor:
    """The square root of positive definite matrices: the positive definite y with y @ y equal to x.

    x is Hermitian (ArgumentError if not; on a GPU: NaN). A negative eigenvalue gives NaN, a zero
    one an infinite derivative.

    >>> import gpugrad as gg
    >>> gg.linalg.sqrtm(gg.tensor([[4.0, 0.0], [0.0, 9.0]]))
    tensor([[2., 0.],
            [0., 3.]])
    """
    return OPS["sqrtm"](_hermitian("sqrtm", x))


def logm(x: Any, /) -> Tensor:
    """The logarithm of positive definite matrices: the Hermitian y with expm(y) equal to x.

    x is Hermitian (ArgumentError if not; on a GPU: NaN). A negative eigenvalue gives NaN.

    >>> import gpugrad as gg
    >>> gg.linalg.logm(gg.tensor([[1.0, 0.0], [0.0, 1.0]]))
    tensor([[0., 0.],
            [0., 0.]])
    """
    return OPS["matrix_function"](_hermitian("logm", x), f=LOG)


def funm(x: Any, f: Callable[[Tensor], Any], /) -> Tensor:
    """A function of Hermitian matrices: ``V * f(w) @ V.mT.conj()`` with their eigenvalues w.

    ``f`` is a function of a Tensor, elementwise and real, which gpugrad differentiates. The
    derivatives are right at equal eigenvalues too; the n-th takes memory for ``size ** n`` numbers.
    ArgumentError if x is not Hermitian (on a GPU: NaN), GradientError if ``f`` uses other tensors
    that require a gradient: it would not reach them.

    >>> import gpugrad as gg
    >>> x = gg.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    >>> gg.linalg.funm(x, lambda w: w**3).sum().backward()
    >>> x.grad
    tensor([[3., 3.],
            [3., 3.]])
    """
    return OPS["matrix_function"](_hermitian("funm", x), f=_Derivatives(f))


class _Derivatives:
    """A user's function of Tensors, and its derivatives, as functions of raw arrays."""

    def __init__(self, f: Callable[[Tensor], Any]) -> None:
        self.f = f

    def __call__(self, xp: Any, w: Any, order: int) -> Any:
        """The derivative of an order at each number."""
        with enable_grad():
            if not order:
                return self._checked(as_tensor(self.f(Tensor(w))), w)
            x = Tensor(w).requires_grad_()
            y = as_tensor(self.f(x))
            for _ in range(order):
                seeds = [] if y._node is None else [(y._node, TENSORS.ones_like(y.detach()))]
                gradients = run_backward(seeds, graph=GRAPH_MODE, targets=[x._node])
                if x._node not in gradients:  # a constant
                    return xp.zeros_like(w)
                y = gradients[x._node]
        return y.detach().data.astype(w.dtype, copy=False)

    def _checked(self, y: Tensor, w: Any) -> Any:
        """The values of the function itself, unless it is none of the kind that is expected."""
        if y.requires_grad:
            raise GradientError(
                "funm: f uses a tensor that requires a gradient, which would not reach it. Apply "
                "it to the matrix instead, as funm(t * x, gg.exp), or give f its .detach()"
            )
        if y.shape != w.shape:
            raise ShapeError(
                f"funm: expected f to be elementwise, but it made shape {y.shape} of {w.shape}"
            )
        if y.dtype.kind == "c":
            raise DTypeError("funm: expected f to be real, but its results are complex numbers")
        return y.data.astype(w.dtype, copy=False)


def polar(x: Any, /, side: str = "right") -> PolarResult:
    """The polar factors of matrices of full rank: x is equal to U @ P.

    U has orthonormal columns (rows, if x is wide), and P is positive definite; with
    ``side="left"`` x is equal to P @ U. The derivative of U requires full rank.

    >>> import gpugrad as gg
    >>> u, p = gg.linalg.polar(gg.tensor([[0.0, -2.0], [2.0, 0.0]]))
    >>> bool(gg.allclose(u @ p, gg.tensor([[0.0, -2.0], [2.0, 0.0]])))
    True
    """
    x = floating(matrices("polar", x, square=False))
    if side not in ("right", "left"):
        raise ArgumentError(f"polar: expected side 'right' or 'left', got {side!r}")
    if x.shape[-2] >= x.shape[-1]:
        u = OPS["polar_factor"](x)
    else:
        u = _adjoint(OPS["polar_factor"](_adjoint(x)))
    product = OPS["matmul"](_adjoint(u), x) if side == "right" else OPS["matmul"](x, _adjoint(u))
    return PolarResult(u, (product + _adjoint(product)) * 0.5)
