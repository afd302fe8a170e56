"""Rules of products and of linear algebra, over stacks of matrices. Imports operands."""

import math
from collections.abc import Callable
from string import ascii_letters
from typing import Any

from gpugrad.batching.operands import Operands, aligned, one_of_zeros
from gpugrad.errors import ShapeError

__all__ = ["RULES"]


def _matmul(operands: Operands) -> Any:
    a, b = operands.arrays
    of_a, of_b = operands.held
    ndim_a, ndim_b = operands.ndim(0), operands.ndim(1)
    xp = operands.xp
    if not of_b and ndim_b == 2:
        return _of_rows(xp, a, b)
    if not of_a and ndim_a == 2 and (ndim_b == 1 or (ndim_b == 2 and b.shape[-1] == 1)):
        # One matrix times columns: at once as well.
        y = xp.matmul(b.reshape(b.shape[:2]), a.T)
        return y if ndim_b == 1 else y[..., None]
    if ndim_a == 1:
        a = a[..., None, :]
    if ndim_b == 1:
        b = b[..., None]
    if (of_a and of_b) or max(ndim_a, ndim_b) > 2:
        a, b = _stacks(a, of_a), _stacks(b, of_b)
        most = max(len(a.shape), len(b.shape))
        a, b = _higher(a, of_a, most), _higher(b, of_b, most)
    y = xp.outer_products(a, b) if _is_outer(a, b) else xp.matmul(a, b)
    shape = y.shape
    if ndim_a == 1:
        shape = (*shape[:-2], shape[-1])
    if ndim_b == 1:
        shape = shape[:-1]
    return y if shape == y.shape else y.reshape(shape)


def _is_outer(a: Any, b: Any) -> bool:
    """Whether a product adds nothing up: that of columns and rows, by far quicker as such."""
    return bool(a.shape[-1] == 1 == b.shape[-2] and a.dtype.kind in "fciu")


def _outer_products(operands: Operands) -> Any:
    columns, rows = operands.arrays
    if operands.ndim(1) == 1:
        rows = rows[..., None, :]
    pair = Operands(
        operands.xp, "multiply", [columns, rows], operands.held, operands.size, operands.level
    )
    return operands.xp.outer_products(*aligned(pair))


def _of_rows(xp: Any, a: Any, b: Any) -> Any:
    """A stack times one matrix: all its rows at once, which beats a product for each matrix."""
    shape = a.shape
    if len(shape) == 2:
        return xp.matmul(a, b)
    y = xp.matmul(a.reshape((math.prod(shape[:-1]), shape[-1])), b)
    return y.reshape((*shape[:-1], y.shape[-1]))


def _stacks(x: Any, held: bool) -> Any:
    """A stack of matrices, with the hidden axis where one is to come."""
    return x if held else x[None]


def _higher(x: Any, held: bool, ndim: int) -> Any:
    """Axes of size 1 behind the first one."""
    missing = ndim - len(x.shape)
    return x.reshape((x.shape[0], *(1,) * missing, *x.shape[1:])) if missing else x


def _transposed_matmul(operands: Operands) -> Any:
    a, b = operands.arrays
    turned = operands.xp.swapaxes(a, -1, -2)
    inner = Operands(
        operands.xp, "matmul", [turned, b], operands.held, operands.size, operands.level
    )
    return _matmul(inner)


def _linear(operands: Operands) -> Any:
    """x @ weight.T + bias; with weights that all elements share, of all their rows at once."""
    x, weight, *rest = operands.arrays
    bias = rest[0] if rest else None
    if bias is not None and operands.ndim(2) > 1:
        raise ShapeError(f"linear: expected a vector as bias, got shape {operands.shape(2)}")
    held = [*operands.held, False][:3]
    if not any(held[1:]):
        return operands.xp.linear(x, weight, bias)
    axes = (0, *range(operands.ndim(1), 0, -1))
    turned = operands.xp.transpose(weight, axes) if held[1] else weight.T
    inner = Operands(operands.xp, "matmul", [x, turned], held[:2], operands.size, operands.level)
    y = _matmul(inner) if any(held[:2]) else operands.xp.matmul(x, turned)
    if bias is None:
        return y
    held = [any(held[:2]), held[2]]
    summed = Operands(operands.xp, "add", [y, bias], held, operands.size, operands.level)
    return operands.xp.add(*aligned(summed))


def _einsum_explicit(operands: Operands, subscripts: str, optimize: Any = None) -> Any:
    letter = next(one for one in ascii_letters if one not in subscripts)
    inputs, output = subscripts.split("->")
    terms = [
        letter + term if own else term
        for term, own in zip(inputs.split(","), operands.held, strict=True)
    ]
    # An order of the caller's is one of the letters that there were.
    optimize = optimize if isinstance(optimize, bool) else None
    whole = f"{','.join(terms)}->{letter}{output}"
    return operands.xp.einsum_explicit(*operands.arrays, subscripts=whole, optimize=optimize)


def _stacked(operands: Operands, **parameters: Any) -> Any:
    """A function of stacks of matrices, which broadcast."""
    if any(operands.held[k] and operands.ndim(k) < 2 for k in range(len(operands.arrays))):
        raise ShapeError(
            f"{operands.name}: expected matrices, got operands of shape "
            f"{' and '.join(str(operands.shape(k)) for k in range(len(operands.arrays)))}"
        )
    function: Any = operands.xp
    for part in operands.name.split("."):
        function = getattr(function, part)
    return function(*aligned(operands), **parameters)


def _convolve(operands: Operands) -> Any:
    """For each element of the batch: NumPy convolves two sequences at a time."""
    xp, size = operands.xp, operands.size
    if not size:
        operands = one_of_zeros(operands)
    pairs = [
        [array[number] if own else array for array, own in zip(operands.arrays, operands.held)]
        for number in range(operands.size)
    ]
    return xp.stack([xp.convolve(*pair) for pair in pairs])[:size]


_STACKED = (
    "adjugate", "adjugate_slope", "cholesky", "det", "eig", "eigh", "eigvals", "eigvalsh", "expm",
    "inv", "least_squares", "lyapunov", "matrix_function", "pinv", "polar_factor", "qr", "slogdet",
    "solve", "solve_triangular", "sqrtm", "svd", "svdvals",
    *(f"linalg.{name}" for name in (
        "cholesky", "det", "eig", "eigh", "eigvals", "eigvalsh", "inv", "pinv", "qr", "slogdet",
        "solve", "svd")),
)  # fmt: skip

RULES: dict[str, Callable[..., Any]] = {
    "matmul": _matmul,
    "outer_products": _outer_products,
    "transposed_matmul": _transposed_matmul,
    "linear": _linear,
    "convolve": _convolve,
    "einsum_explicit": _einsum_explicit,
    **dict.fromkeys(_STACKED, _stacked),
}  # fmt: skip
