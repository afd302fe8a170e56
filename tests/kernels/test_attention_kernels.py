"""The kernels of attention give what the formulas give, by one launch for each block of queries."""

import itertools

import numpy as np
import pytest
from gpu import launches, needs_gpu, send

import gpugrad as gg
from gpugrad.backend.host import NUMPY
from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.backend.products import Products
from gpugrad.kernels.source import FLOATS
from gpugrad.nn.attention import _Dropout
from gpugrad.ops.attention import BLOCK

pytestmark = needs_gpu
TOLERANCES = {2: 4e-3, 4: 1e-5, 8: 1e-12}

# The axes in front of query, key and bias, the lengths, whether attention is causal, the block.
# With "bias of samples" and "of heads" the bias has one query, or one key.
LAYOUTS = {
    "one matrix": ((), (), None, (4, 5), False, 256),
    "bias of all": ((2, 3), (2, 3), (), (4, 5), False, 256),
    "bias of samples": ((2, 3), (2, 3), (2, 1), (1, 5), False, 256),
    "bias of heads": ((2, 3), (2, 3), (3,), (4, 1), True, 256),
    "bias of each": ((2, 3), (2, 3), (2, 3), (4, 5), True, 256),
    "bias of some": ((2, 3, 2), (2, 3, 2), (2, 1, 2), (4, 5), False, 256),
    "shared heads": ((2, 2, 3), (2, 2, 1), None, (4, 5), False, 256),
    "more queries": ((2,), (2,), None, (19, 7), True, 2),
    "more keys": ((2,), (2,), (), (5, 11), True, 2),
    "blocks": ((2, 2), (2, 2), (2, 2), (15, 7), False, 3),
    "long": ((1,), (1,), None, (3, 700), False, 256),
}


def operands(name, dtype, rng):
    """Query, key, value and bias, a gradient, and the last arguments of the op."""
    in_front, shared, of_bias, sizes, causal, block = LAYOUTS[name]
    queries, keys = (size if size > 1 else 5 for size in sizes)
    shapes = [(*in_front, queries, 3), (*shared, keys, 3), (*shared, keys, 2)]
    q, k, v = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    bias = None
    if of_bias is not None:
        bias = rng.standard_normal((*of_bias, *sizes)).astype(dtype)
        bias[..., 0, : keys if sizes[0] > 1 else 2] = -np.inf  # no key for the first query
    g = rng.standard_normal((*in_front, queries, 2)).astype(dtype)
    return (q, k, v, bias), g, (0.7, causal, block)


def compare(found, expected, dtype, least=0.0):
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            tolerance = TOLERANCES[dtype.itemsize]
            one = one.get()
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * 4 + least)


def on_gpu(name, *arguments):
    cupy = pytest.importorskip("cupy")
    sent = [send(a)[0] if isinstance(a, np.ndarray) else a for a in arguments]
    return launches(getattr(namespace_of(cupy.zeros(1)), name), *sent)


def widened(*arrays):
    return [
        a.astype("f") if isinstance(a, np.ndarray) and a.dtype == np.float16 else a for a in arrays
    ]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
def test_rows_of_scores_are_one_kernel_each_way(name, dtype, p, rng):
    arrays, g, (scale, causal, block) = operands(name, dtype, rng)
    keep = None
    if p:
        batch = int(np.prod(g.shape[:-2]))
        words = batch * BLOCK * BLOCK // 4
        keep = _Dropout(p, words, 64, gg.random.Generator(3))
    settings = (scale, causal, keep, block)
    count = -(-g.shape[-2] // max(1, 4 * block**2 // arrays[1].shape[-2]))
    assert count > 1 or block > 3
    forward, launched = on_gpu("attention_and_residuals", *arrays, *settings)
    assert launched == count
    assert forward[0].dtype == dtype
    expected = FORMULAS["attention_and_residuals"](NUMPY, *widened(*arrays), *settings)
    compare(forward, expected, dtype)
    y, lse = expected
    subsets = itertools.product([True, False], repeat=3) if p == 0 else [(True, True, True)]
    for needs in subsets:
        needs = (*needs, arrays[3] is not None and needs[0])
        if not any(needs):
            continue
        backward, launched = on_gpu(
            "attention_vjp", g, y.astype(dtype), needs, *arrays, lse, *settings
        )
        assert launched == count
        expected = FORMULAS["attention_vjp"](
            NUMPY, *widened(g, y), needs, *widened(*arrays), lse, *settings
        )
        compare(backward, expected, dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precisions_are_multiplied_as_they_are(dtype, rng, monkeypatch):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="needs ml_dtypes")
    multiplied = []
    into = Products._into

    def noting(products, y, plan, a, *rest):
        multiplied.append((a.dtype.name, y.dtype.name))
        into(products, y, plan, a, *rest)

    monkeypatch.setattr(Products, "_into", noting)
    with gg.device("cuda"):
        values = [gg.tensor(rng.standard_normal((2, 5, 4)).astype("f")) for _ in range(3)]
        q, k, v = (x.astype(dtype).requires_grad_(True) for x in values)
        y = gg.nn.functional.scaled_dot_product_attention(q, k, v)
        y.backward(gg.ones((2, 5, 4), dtype=dtype))
    assert multiplied == [(dtype, "float32"), (dtype, dtype)] + [(dtype, "float32")] * 5
    one, other, third = (x.astype(dtype).astype("float32").cpu().numpy() for x in values)
    weights = np.exp(np.matmul(one, other.swapaxes(-1, -2)) / 2)
    expected = np.matmul(weights / weights.sum(-1, keepdims=True), third)
    np.testing.assert_allclose(y.detach().astype("float32").cpu().numpy(), expected, atol=0.02)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_heads_are_brought_in_order_by_one_kernel_each_way(dtype, batch_first, rng):
    for size, heads in ((3, 2), (70, 1)):
        x = rng.standard_normal((4, 2, 3 * heads * size)).astype(dtype)
        parts, launched = on_gpu("split_heads", x, heads, 3, batch_first)
        assert launched == 1
        assert all(part.flags.c_contiguous for part in parts)
        compare(parts, FORMULAS["split_heads"](NUMPY, x, heads, 3, batch_first), dtype)
        joined, launched = launches(
            namespace_of(parts[0]).join_heads, *parts, batch_first=batch_first
        )
        assert launched == 1
        np.testing.assert_array_equal(joined.get(), x)
