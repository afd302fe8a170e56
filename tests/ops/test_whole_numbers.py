"""Whole numbers and truth values where the result is a fraction: computed in floating point.

No op of the table wraps around or cuts off on the way to such a result. Those that stay among whole
numbers, as sums and products do, are NumPy's, wrapping included. Each op is compared with itself
over the same numbers in float64.
"""

import numpy as np
import optable
import pytest
from arrays import host
from devices import DEVICES

import gpugrad as gg
from gpugrad.engine.op import TABLE

F = gg.nn.functional
DTYPES = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
ERRORS = {"e": 3e-3, "f": 1e-5, "F": 1e-5}  # in the dtype of the result; else 1e-9


def is_tried(op):
    """Not of functions that stand before an op, nor of matrices, which need valid ones."""
    return {*op.public} - {"nn.functional", "linalg"} and not optable.is_integer(op)


def whole_operands(op, sample, dtype):
    """Small whole numbers from the op's domain, also negative ones where the dtype has them."""
    rng = np.random.default_rng(2)
    made = []
    for index, array in enumerate(optable.arrays_for(op, sample)):
        if optable.drawn(op, index) != "real" or isinstance(sample.shapes[index], np.ndarray):
            made.append(array)
            continue
        least = 1 if op.domain[0] > 0 else 0 if np.dtype(dtype).kind in "bu" else -3
        low, high = (0, 1) if op.domain[1] < 1 else (least, 2 if dtype == "bool" else 4)
        made.append(np.asarray(rng.integers(low, high, array.shape)).astype(dtype))
    return made


def as_doubles(array, op, index, sample):
    same = optable.drawn(op, index) != "real" or isinstance(sample.shapes[index], np.ndarray)
    return array if same else array.astype(np.float64)


OPS = [op for op in TABLE.values() if op.samples is not None and is_tried(op)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("op", OPS, ids=optable.case_id)
def test_a_fraction_is_computed_in_floating_point(op, device):
    function = optable.bound(op)
    sample = optable.samples(op)[0]
    # Each dtype is a kernel of its own, which CI compiles and interprets.
    for dtype in ("uint8", "int32") if device == "cuda" else DTYPES:
        arrays = whole_operands(op, sample, dtype)
        doubles = [as_doubles(array, op, i, sample) for i, array in enumerate(arrays)]
        try:
            ours = function(*(gg.asarray(a, device=device) for a in arrays), **sample.parameters)
        except gg.DTypeError:  # of a function that NumPy refuses for this dtype, too
            with pytest.raises(TypeError):
                getattr(np, op.name)(*arrays, **sample.parameters)
            continue
        right = function(*(gg.asarray(a, device=device) for a in doubles), **sample.parameters)
        for one, other in zip(optable.outputs_of(ours), optable.outputs_of(right), strict=True):
            if one.dtype.kind in "fc" and other.dtype.kind in "fc":
                error = ERRORS.get(one.dtype.char, 1e-9)
                np.testing.assert_allclose(host(one), host(other), rtol=error, atol=10 * error)


AS_EXP = ("sigmoid", "softplus", "silu", "softmax", "log_softmax", "logsumexp")


@pytest.mark.parametrize("name", AS_EXP)
def test_the_dtype_is_that_of_exp(name, device):
    for dtype in DTYPES:
        x = gg.asarray(np.array([0, 1, 1]).astype(dtype), device=device)
        assert getattr(gg, name)(x).dtype == np.exp(np.ones(1, dtype)).dtype


LOSSES = {
    "mse_loss": lambda x, t: F.mse_loss(x, t),
    "mse_loss of each": lambda x, t: F.mse_loss(x, t, reduction="none"),
    "l1_loss": lambda x, t: F.l1_loss(x, t),
    "huber_loss": lambda x, t: F.huber_loss(x, t),
    "bce": lambda x, t: F.binary_cross_entropy_with_logits(x, t > 1),
    "cross_entropy": lambda x, t: F.cross_entropy(x, [0, 2]),
    "smoothed": lambda x, t: F.cross_entropy(x, [0, 2], label_smoothing=0.1),
    "ignoring": lambda x, t: F.cross_entropy(x, [0, 2], ignore_index=2),
    "nll_loss": lambda x, t: F.nll_loss(x, [0, 2]),
    "layer_norm": lambda x, t: F.layer_norm(x, 3),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_whole_numbers(name, device):
    x, t = np.array([[0, 1, 100], [3, 2, 0]]), np.array([[2, 1, 3], [0, 0, 90]])
    if name == "bce":
        x = x % 4
    right = LOSSES[name](*(gg.tensor(a.astype(np.float64), device=device) for a in (x, t)))
    for dtype in DTYPES[1:]:
        ours = LOSSES[name](*(gg.asarray(a.astype(dtype), device=device) for a in (x, t)))
        np.testing.assert_allclose(host(ours), host(right), rtol=3e-3, atol=3e-3)
        assert ours.dtype.kind == "f"


# Functions made of others, whose differences would wrap around.
FUNCTIONS = {
    "linspace": lambda x, t: gg.linspace(x, t, 4),
    "linspace from a number": lambda x, t: gg.linspace(1, x, 4, endpoint=False),
    "logspace": lambda x, t: gg.logspace(x % 3, t % 3, 4, base=1.5),
    "geomspace": lambda x, t: gg.geomspace(x % 3 + 1, t % 3 + 1, 4),
    "gradient": lambda x, t: gg.gradient(x, axis=1),
    "gradient over coordinates": lambda x, t: gg.gradient(x, x[0], axis=1),
    "trapezoid": lambda x, t: gg.trapezoid(x, x=t),
    "interp": lambda x, t: gg.interp(x[1], x[0], t[0]),
    "average": lambda x, t: gg.average(x, weights=t),
    "cov": gg.cov,
    "corrcoef": gg.corrcoef,
    "polyval": lambda x, t: gg.polyval(x[1] * 0.5, t),
    "quantile": lambda x, t: gg.quantile(x - x[0] * 0, 0.3),
    "cosine_similarity": F.cosine_similarity,
    "pairwise_distance": F.pairwise_distance,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_whole_numbers(name, device):
    x, t = np.array([[0, 1, 100], [3, 2, 0]]), np.array([[2, 1, 3], [0, 0, 90]])
    right = FUNCTIONS[name](*(gg.tensor(a.astype(np.float64), device=device) for a in (x, t)))
    for dtype in DTYPES[1:]:
        ours = FUNCTIONS[name](*(gg.asarray(a.astype(dtype), device=device) for a in (x, t)))
        np.testing.assert_allclose(host(ours), host(right), rtol=3e-3, atol=3e-3)
