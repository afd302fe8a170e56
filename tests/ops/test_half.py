"""float16 at sizes that it cannot count: what adds up or counts does so in float32.

The ops are those of the table that reduce along axes; then the functions made of them. Each is
compared with itself over float64 numbers, of which every one is a float16: its value and gradient
differ by the rounding of float16 alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from arrays import host
from devices import DEVICES

import gpugrad as gg
from gpugrad.engine.op import TABLE

F = gg.nn.functional
COUNT = 70_000  # more than the largest float16, 65504
CLASSES = np.arange(COUNT // 2) % 2
FIRST = np.zeros(2050, np.int64)  # 2048 is the first number without a successor in float16


@dataclass
class Case:
    name: str
    function: Any
    factor: float = 1.0  # of the numbers, so that results fit into float16
    error: float = 1e-3  # of a gradient, as a part of the largest one


def of_table():
    """Every op that reduces along an axis, over one long axis."""
    for op in TABLE.values():
        moves = op.name in ("flip", "roll", "split")
        if op.differentiable and "axis" in op.parameters and op.name in gg.__all__ and not moves:
            # A saved log-probability of -11 has an error of 0.004, as in PyTorch.
            error = 8e-3 if op.name == "log_softmax" else 1e-3
            yield Case(op.name, getattr(gg, op.name), 1e-2, error)


def pairs(x):
    return x.reshape(COUNT // 2, 2)


def apart(x):
    """A second operand beside x, without a gradient."""
    return x.detach() * 0.5 + 1


FUNCTIONS = [
    Case("ptp", gg.ptp),
    Case("nansum", gg.nansum, 1e-2),
    Case("nanmean", gg.nanmean),
    Case("nanvar", gg.nanvar),
    Case("nanstd", gg.nanstd),
    Case("nanmax", gg.nanmax),
    Case("mean of a first axis", lambda x: x.reshape(-1, 1).mean(axis=0)),
    Case("average", lambda x: gg.average(x, weights=apart(x) * 0 + 3)),
    Case("weights", lambda x: gg.average(x.detach(), weights=x * x + 3)),
    Case("norm", gg.linalg.norm, 30),
    Case("norm of columns", lambda x: gg.linalg.norm(pairs(x), axis=0), 30),
    Case("norm 1", lambda x: gg.linalg.vector_norm(x, ord=1), 1e-2),
    Case("norm 3", lambda x: gg.linalg.vector_norm(x, ord=3), 30),
    Case("norm inf", lambda x: gg.linalg.vector_norm(x, ord=np.inf)),
    Case("Frobenius", lambda x: gg.linalg.matrix_norm(x.reshape(7, -1)), 30),
    Case("cov", lambda x: gg.cov(x.reshape(2, -1)), 30),
    Case("trapezoid", gg.trapezoid, 1e-2),
    Case("mse_loss", lambda x: F.mse_loss(x, apart(x)), 30),
    Case("mse_loss of a target", lambda x: F.mse_loss(apart(x), x)),
    Case("l1_loss", lambda x: F.l1_loss(x, apart(x))),
    Case("huber_loss", lambda x: F.huber_loss(x, apart(x))),
    Case("bce", lambda x: F.binary_cross_entropy_with_logits(x, x.detach() > 0)),
    Case("cross_entropy", lambda x: F.cross_entropy(x.reshape(1, -1), [5])),
    Case("smoothed", lambda x: F.cross_entropy(x.reshape(1, -1), [5], label_smoothing=0.1)),
    Case("rows", lambda x: F.cross_entropy(pairs(x), CLASSES.tolist())),
    Case("ignoring", lambda x: F.cross_entropy(
        gg.stack([x, -x], axis=1), [0] * COUNT, ignore_index=7)),
    Case("nll_loss", lambda x: F.nll_loss(
        gg.stack([x, -x], axis=1), [0] * COUNT, ignore_index=7)),
    Case("probabilities", lambda x: F.cross_entropy(
        x.reshape(1, -1), x.detach().reshape(1, -1) * 0 + 1 / COUNT)),
    Case("layer_norm", lambda x: F.layer_norm(x.reshape(1, -1), COUNT)),
    Case("weight of layer_norm", lambda x: F.layer_norm(
        pairs(x.detach()) * 1e-2, 2, x[:2], x[2:4]), 1e-2),
    Case("bias of linear", lambda x: F.linear(
        pairs(x.detach()), x[:2].reshape(1, 2), x[2:3]), 1e-2),
    Case("broadcast", lambda x: gg.broadcast_to(x[:1], (COUNT,)) * 1e-2),
    Case("einsum of rows", lambda x: gg.einsum("ij->j", pairs(x)), 1e-2),
    Case("einsum of few rows", lambda x: gg.einsum("ij->j", pairs(x)[:4100]), 1e-2),
    Case("einsum of products", lambda x: gg.einsum(
        "ij,ij->j", pairs(x)[:4100], apart(pairs(x)[:4100])), 1e-2),
    Case("einsum that repeats", lambda x: gg.einsum(
        "j,ij->i", x[:2], pairs(x.detach())[:4100]), 1e-2),
    Case("index", lambda x: x[FIRST]),
    Case("take", lambda x: gg.take(x, FIRST)),
]  # fmt: skip
VALUES = {
    "drawn": np.random.default_rng(5).normal(size=COUNT).astype(np.float16),
    "equal": np.full(COUNT, 0.5, np.float16),
}


def value_and_gradient(case, values, dtype, device):
    x = gg.tensor(values.astype(dtype), device=device, requires_grad=True)
    y = case.function(x)
    assert y.dtype == dtype
    weights = np.linspace(0.5, 1.5, max(y.size, 1), dtype=np.float16).reshape(y.shape or 1)
    seed = gg.tensor(weights.astype(dtype).reshape(y.shape), device=device)
    gradient = gg.gradients(y, x, seed)
    assert gradient.dtype == dtype
    return host(y), host(gradient)


def assert_rounded(half, exact, error):
    """``half`` is ``exact`` with float16's precision, at numbers that are not its smallest ones."""
    with np.errstate(over="ignore"):
        assert np.array_equal(np.isfinite(half), np.isfinite(exact.astype(np.float16)))
    known = np.isfinite(half)
    half, exact = half[known].astype(np.float64), exact[known]
    largest = np.abs(exact).max(initial=0)
    assert (np.abs(half - exact) <= 5e-3 * np.abs(exact) + error * largest + 1.2e-7).all()


CASES = [(case, name) for case in (*of_table(), *FUNCTIONS) for name in VALUES]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("case", "drawn"), CASES, ids=lambda it: getattr(it, "name", it))
def test_sums_and_counts_beyond_float16(case, drawn, device):
    values = (VALUES[drawn].astype(np.float64) * case.factor).astype(np.float16)
    half = value_and_gradient(case, values, np.float16, device)
    exact = value_and_gradient(case, values, np.float64, device)
    for ours, right in zip(half, exact, strict=True):
        assert_rounded(ours, right, case.error)


# Two rows and two others: an eps of 1e-8 is 0 in float16, and a product of two numbers inf or 0.
ROWS = {
    "zeros": [[0.0, 0.0], [0.0, 0.0]],
    "large": [[300.0, -250.0], [270.0, 280.0]],
    "small": [[1e-4, -3e-4], [2e-4, 1e-4]],
}
WITH_EPS = {
    "normalize": F.normalize,
    "normalize 1": lambda x: F.normalize(x, 1.0),
    "cosine_similarity": lambda x: F.cosine_similarity(x, x[::-1]),
    "pairwise_distance": lambda x: F.pairwise_distance(x, x[::-1]),
    "cosine_embedding_loss": lambda x: F.cosine_embedding_loss(x, x[::-1], [1.0, -1.0]),
    "triplet_margin_loss": lambda x: F.triplet_margin_loss(x, x[::-1], x * 0.5),
    "poisson_nll_loss": lambda x: F.poisson_nll_loss(abs(x), x.detach(), log_input=False),
    "gaussian_nll_loss": lambda x: F.gaussian_nll_loss(x, x[::-1], abs(x.detach())),
    "binary_cross_entropy": lambda x: F.binary_cross_entropy(abs(x) * 1e-3, x.detach() * 0),
    "layer_norm": lambda x: F.layer_norm(x, 2),
    "rms_norm": lambda x: F.rms_norm(x, 2, eps=1e-6),
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
}


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("name", WITH_EPS)
def test_eps_and_products_that_float16_does_not_hold(name, rows, device):
    case = Case(name, WITH_EPS[name])
    values = np.array(ROWS[rows], np.float16)
    half = value_and_gradient(case, values, np.float16, device)
    exact = value_and_gradient(case, values, np.float64, device)
    for ours, right in zip(half, exact, strict=True):
        assert_rounded(ours, right, 1e-3)


def test_half_beside_single_precision_is_single(device):
    half = gg.ones((2, 3), dtype="float16", device=device)
    single = gg.ones((2, 3), device=device)
    for function in (F.cosine_similarity, gg.cov, lambda a, b: gg.average(a, weights=b)):
        assert function(half, single).dtype == function(single, half).dtype == np.float32
        assert function(half, half).dtype == np.float16


def test_the_table_has_its_reductions_among_the_cases():
    names = {case.name for case in of_table()}
    assert {"sum", "mean", "max", "var", "softmax", "logsumexp", "cumsum", "prod"} <= names


def test_the_numbers_of_the_issue(device):
    thirty = gg.tensor(np.full(300, 30.0, np.float16), device=device, requires_grad=True)
    norm = gg.linalg.norm(thirty)
    assert norm.item() == pytest.approx(30 * 300**0.5, rel=1e-3)
    np.testing.assert_allclose(host(gg.gradients(norm, thirty)), 300**-0.5, rtol=1e-3)
    one = gg.ones(1, dtype="float16", device=device, requires_grad=True)
    assert gg.gradients(one[FIRST].sum(), one).item() == 2050


def test_a_product_overflows_only_where_its_value_does(device):
    x = gg.tensor(np.array([300.0, 300.0, 0.001], np.float16), device=device, requires_grad=True)
    product = gg.prod(x)
    assert product.item() == pytest.approx(90, rel=2e-3)
    with np.errstate(over="ignore"):
        assert gg.cumprod(x)[2].item() == pytest.approx(90, rel=2e-3)
    np.testing.assert_allclose(host(gg.gradients(product, x)), [0.3, 0.3, np.inf], rtol=2e-3)


# Each uses x 40 times, after it has a gradient of 2048 from the last: in float16 2048 + 1 is 2048.
USES = {
    "a leaf": lambda x: x,
    "a value": lambda x: x * 1.0,
    "with a hook": lambda x: _hooked(x * 1.0),
    "elements": lambda x: x[np.array([1, 0])],
    "a part of several": lambda x: gg.split(gg.concat([x, x]), 2)[1],
}
TERMS = {
    "added": lambda x: x * 1.0,
    "sliced": lambda x: x[:1],
    "multiplied as a matrix": lambda x: x @ gg.eye(2, dtype=x.dtype, device=x.device)[:, :1],
    "squared": lambda x: x * x * 0.5,
}


def _hooked(h):
    h.register_hook(lambda g: g)
    return h


def used(x, use, term):
    h = USES[use](x)
    parts = [TERMS[term](h).sum() for _ in range(40)]
    return sum(parts) + (2048.0 * h).sum()


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("use", USES)
def test_gradients_of_many_uses_are_added_in_single_precision(use, term, device):
    wide = gg.grad(lambda x: used(x, use, term))(np.ones(2))
    x = gg.ones(2, dtype="float16", device=device, requires_grad=True)
    used(x, use, term).backward(retain_graph=True)
    (recorded,) = gg.gradients(used(x, use, term), (x,), create_graph=True)
    alone = gg.gradients(used(x, use, term), x)
    for d in (x.grad, recorded, alone):
        assert d.dtype == np.float16
        np.testing.assert_allclose(host(d.detach()).astype(float), wide, rtol=1e-3)
    assert wide.max() >= 2088
