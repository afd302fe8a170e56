"""Every function that adds up keeps counting where a sum one by one stands still.

A sum begins with the first number that has no successor in its dtype, and goes on with ones: added
one by one they are lost, in blocks or in a wider dtype they are not. Values and gradients are
compared with those of float64. An entry is a function of a vector; a gradient that adds up
(of what is repeated, broadcast or gathered) gets such numbers as its cotangent.
"""

import numpy as np
import pytest
from arrays import host

import gpugrad as gg
from gpugrad.backend.sums import careful_einsum

F = gg.nn.functional
LARGEST = {"float32": 2.0**24, "float16": 2.0**11}  # above it, adding one changes nothing


def columns(x, count=2):
    """x in each of a few columns, without memory of its own."""
    return gg.broadcast_to(x[:, None], (x.size, count))


def ones(x, *shape):
    return gg.ones(shape or x.shape, dtype=x.dtype, device=x.device)


def signs(x):
    """The roots of x with signs that change: of a mean of nearly 0, and of squares that are x."""
    return gg.sqrt(x) * gg.tensor((-1.0) ** np.arange(x.size), dtype=x.dtype, device=x.device)


def zeros(x):
    """As many whole numbers 0."""
    return gg.zeros(x.size, dtype="int64", device=x.device)


def points(x, *values):
    return gg.tensor(list(values), dtype=x.dtype, device=x.device)


SUMS = {
    "sum": gg.sum,
    "sum of rows": lambda x: columns(x).sum(axis=0),
    "mean of rows": lambda x: columns(x).mean(axis=0),
    "nansum": lambda x: gg.nansum(columns(x), axis=0),
    "nanmean": lambda x: gg.nanmean(columns(x), axis=0),
    "average": lambda x: gg.average(columns(x), axis=0, weights=ones(x)),
    "add.reduce": lambda x: np.add.reduce(columns(x), axis=0),
    "add.accumulate": lambda x: np.add.accumulate(columns(x), axis=0),
    "cumsum": gg.cumsum,
    "cumsum of rows": lambda x: gg.cumsum(columns(x), axis=0),
    "cumulative_sum": lambda x: gg.cumulative_sum(x, include_initial=True),
    "nancumsum": lambda x: gg.nancumsum(columns(x), axis=0),
    "trapezoid": lambda x: gg.trapezoid(columns(x), axis=0),
    "einsum": lambda x: gg.einsum("ij->j", columns(x)),
    "einsum of products": lambda x: gg.einsum("ij,ij->j", columns(x), ones(x, x.size, 2)),
    "einsum of one path": lambda x: gg.einsum(
        "ij,ij->j", columns(x), ones(x, x.size, 2), optimize=False
    ),
    "einsum of three": lambda x: gg.einsum("ij,ij,j->j", columns(x), ones(x, x.size, 2), x[1:3]),
    "einsum of matrices": lambda x: gg.einsum("ij,ik->jk", columns(x), ones(x, x.size, 3)),
    "einsum of two axes": lambda x: gg.einsum(
        "ijk,ijk->k", columns(x).reshape(2, -1, 2), ones(x, 2, x.size // 2, 2)
    ),
    "dot": lambda x: gg.dot(x, ones(x)),
    "vdot": lambda x: gg.vdot(x, ones(x)),
    "vecdot": lambda x: gg.vecdot(columns(x), ones(x, x.size, 2), axis=0),
    "inner": lambda x: gg.inner(x, ones(x)),
    "matmul": lambda x: columns(x).T @ ones(x, x.size, 3),
    "matmul by a vector": lambda x: columns(x).T @ ones(x),
    "matmul of broadcast ones": lambda x: x[None] @ gg.broadcast_to(x[1], (x.size, 1)),
    "tensordot": lambda x: gg.tensordot(columns(x), ones(x, x.size, 3), axes=([0], [0])),
    "matvec": lambda x: gg.matvec(gg.broadcast_to(x, (2, x.size)), ones(x)),
    "vecmat": lambda x: gg.vecmat(x, ones(x, x.size, 2)),
    "convolve": lambda x: gg.convolve(x[:2048], ones(x)[:2048], "valid"),
    "correlate": lambda x: gg.correlate(x[:2048], ones(x)[:2048], "valid"),
    "polyfit": lambda x: gg.polyfit(gg.linspace(-1, 1, x.size, device=x.device), x, 0),
    "lstsq": lambda x: gg.linalg.lstsq(ones(x, x.size, 1), x)[0],
    "vector_norm 1": lambda x: gg.linalg.vector_norm(columns(x), ord=1, axis=0),
    "norm": lambda x: gg.linalg.norm(gg.sqrt(columns(x)), axis=0),
    "matrix_norm 1": lambda x: gg.linalg.matrix_norm(columns(x), ord=1),
    "logsumexp": lambda x: gg.logsumexp(gg.log(columns(x)), axis=0),
    "softmax": lambda x: gg.softmax(gg.log(columns(x)), axis=0)[:1],
    "var": lambda x: gg.var(columns(signs(x)), axis=0),
    "std": lambda x: gg.std(columns(signs(x)), axis=0),
    "nanvar": lambda x: gg.nanvar(columns(signs(x)), axis=0),
    "cov": lambda x: gg.cov(signs(x)),
    "corrcoef": lambda x: gg.corrcoef(signs(x), signs(ones(x))),
    "mse_loss": lambda x: F.mse_loss(gg.sqrt(x), ones(x) * 0),
    "l1_loss": lambda x: F.l1_loss(x, ones(x) * 0),
    "rfft": lambda x: gg.fft.rfft(x)[0].real,
}
GRADIENTS = {
    "broadcast_to": lambda x: gg.broadcast_to(x[:2], (x.size, 2)),
    "repeat": lambda x: gg.repeat(x[:1], x.size),
    "resize": lambda x: gg.resize(x[:1], x.size),
    "multiply": lambda x: x[:2] * ones(x, x.size, 2),
    "outer": lambda x: gg.outer(ones(x), x[:2]),
    "where": lambda x: gg.where(ones(x) > 0, x[:1], 0.0),
    "pad": lambda x: gg.pad(x[:3], (x.size, 0), mode="edge"),
    "cumsum": gg.cumsum,
    "matmul": lambda x: ones(x, x.size, 1) @ x[:3][None],
    "matmul of a vector": lambda x: columns(ones(x)) @ x[:2],
    "linear": lambda x: F.linear(ones(x, x.size, 1), x[:3, None], x[:3]),
    "einsum": lambda x: gg.einsum("j,ij->ij", x[:2], ones(x, x.size, 2)),
}
# What adds up at indices does so in a wider dtype from 2**16 on, on a GPU by atomic operations.
SCATTERED = {
    "bincount": lambda x: gg.bincount(zeros(x), weights=x),
    "segment_sum": lambda x: gg.segment_sum(columns(x), zeros(x), 2),
    "scatter_add": lambda x: gg.scatter_add(ones(x, 2), zeros(x), x),
    "at.add": lambda x: ones(x, 2).at[zeros(x)].add(x),
    "index": lambda x: x[:3][zeros(x)],
    "take": lambda x: gg.take(x[:3], zeros(x)),
    "histogram": lambda x: gg.histogram(ones(x), bins=points(x, 0, 2), weights=x)[0],
    "gradient of interp": lambda x: gg.interp(ones(x) * 0.5, points(x, 0, 1), x[:2]),
    "take_along_axis": lambda x: gg.take_along_axis(x[:3], zeros(x), 0),
}
# Horner's rule counts as far as float32 does.
HALF = {
    "polyval": lambda x: gg.polyval(x[:3000], ones(x, 2)),
}
# The stand-in for cuBLAS adds one by one, cuBLAS itself in blocks.
PRODUCTS = (
    "matmul", "matmul by a vector", "tensordot", "matvec", "gradient of matmul of a vector",
    "gradient of linear",
)  # fmt: skip


def growing(shape, dtype):
    """Ones, behind a first row of the first number without a successor."""
    values = np.ones(shape)
    if shape and shape[0] > 1:
        values[0] = LARGEST[dtype]
    return values


def value_and_gradient(function, count, dtype, wide, device):
    x = gg.tensor(growing((count,), dtype), dtype=wide, device=device, requires_grad=True)
    y = function(x)
    seed = gg.tensor(growing(y.shape, dtype), dtype=y.dtype, device=device)
    return host(y), host(gg.gradients(y, x, seed))


def assert_counted(function, count, dtype, device):
    """The error is a third, at most, of what a sum one by one would lose."""
    exact = value_and_gradient(function, count, dtype, "float64", device)
    found = value_and_gradient(function, count, dtype, dtype, device)
    for ours, right in zip(found, exact, strict=True):
        finite = np.isfinite(right.astype(dtype))
        error, largest = (np.abs(v[finite]).max(initial=0) for v in (ours - right, right))
        assert error <= largest * count / (count + LARGEST[dtype]) / 3


CASES = {**SUMS, **{f"gradient of {name}": case for name, case in GRADIENTS.items()}}


@pytest.mark.parametrize("name", CASES)
def test_float32_counts(name, device):
    # On a GPU, whose threads are interpreted in tests, as many as tell the two apart.
    count = 1 << 13 if device.kind == "cuda" else 1 << 16
    if device.kind != "cuda" or name not in PRODUCTS:
        assert_counted(CASES[name], count, "float32", device)


@pytest.mark.parametrize("name", SCATTERED)
def test_float32_counts_at_indices(name, device):
    if device.kind != "cuda":  # there by atomic operations, one by one, as PyTorch's are
        assert_counted(SCATTERED[name], 1 << 16, "float32", device)


@pytest.mark.filterwarnings("ignore:overflow")  # 2**11 times a sum is above float16's largest
@pytest.mark.parametrize("name", [*CASES, *SCATTERED, *HALF])
def test_float16_counts(name, device):
    assert_counted({**CASES, **SCATTERED, **HALF}[name], 1 << 12, "float16", device)


def test_an_einsum_of_any_form_is_numpys(rng):
    a, b = rng.normal(size=(2, 3, 3)), rng.normal(size=(2, 3))
    for text, operands in (
        ("...ij,...j->...i", (a, b)), ("ij,ij", (b, b)), ("b i j, b j -> b i", (a, b)),
        ("...ii->...i", (a,)), ("ij->", (b,)), (",ij->ij", (np.float64(2), b)),
    ):  # fmt: skip
        np.testing.assert_allclose(careful_einsum(text, *operands), np.einsum(text, *operands))


def test_the_tolerance_of_a_least_squares_fit_in_float16_is_not_one(device):
    """The number of rows times float16's rounding error is: every singular value was cut."""
    y = gg.ones(8192, dtype="float16", device=device)
    solution, _, rank, _ = gg.linalg.lstsq(gg.ones((8192, 1), dtype="float16", device=device), y)
    assert (rank, host(solution).tolist()) == (1, [1.0])
