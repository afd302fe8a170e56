"""Attention and the layers around it: PyTorch's figures, blocks, masks, dropout and memory."""

import tracemalloc

import numpy as np
import pytest
from figures import cases

import gpugrad as gg
from gpugrad.nn import attention as module

attend = gg.nn.functional.scaled_dot_product_attention
FIGURES = cases("attention")
SETTINGS = {
    "product causal": {"is_causal": True},
    "product scale": {"scale": 0.3},
    "product gqa": {"enable_gqa": True},
}


def close(tensor, array):
    np.testing.assert_allclose(tensor.detach().cpu().numpy(), array, rtol=1e-10, atol=1e-12)


def operands(case, device):
    """The operands of a case; those of floating-point numbers need a gradient."""
    return {
        name: gg.tensor(array, device=device, requires_grad=array.dtype.kind == "f")
        for name, array in case["in"].items()
    }


def check(case, y, tensors, model=None):
    """Compare a result, and the gradients of all that has one, with the figures of a case."""
    close(y, case["out"]["y"])
    (y * gg.tensor(case["weights"]["y"], device=y.device)).sum().backward()
    parts = {} if model is None else dict(model.named_parameters())
    for name, expected in case["grad"].items():
        close({**tensors, **parts}[name].grad, expected)


def in_blocks(monkeypatch, size):
    """Attention in blocks of a size, in place of those for long sequences."""
    attention = module._attention
    monkeypatch.setattr(module, "BLOCK", size)
    monkeypatch.setattr(
        module, "_attention", lambda *arrays, **kw: attention(*arrays, **kw, block=size)
    )


@pytest.mark.parametrize("block", [module.BLOCK, 2])
@pytest.mark.parametrize("name", [name for name in FIGURES if name.startswith("product")])
def test_products_are_pytorchs(name, block, device, monkeypatch):
    in_blocks(monkeypatch, block)
    tensors = operands(FIGURES[name], device)
    check(FIGURES[name], attend(**tensors, **SETTINGS.get(name, {})), tensors)


def test_multihead_attention_is_pytorchs(device):
    case = FIGURES["multihead"]
    layer = gg.nn.MultiheadAttention(6, 2, batch_first=True, dtype="float64", device=device)
    layer.load_state_dict(case["state"])
    tensors = operands(case, device)
    x, padding = tensors["query"], tensors["padding"]
    y, weights = layer(x, x, x, padding)
    close(weights, case["out"]["weights"])
    check(case, y, tensors, layer)
    close(layer(x, x, x, padding, need_weights=False)[0], case["out"]["y"])


def test_multihead_attention_with_other_keys_is_pytorchs(device):
    case = FIGURES["multihead kdim"]
    layer = gg.nn.MultiheadAttention(6, 2, kdim=3, vdim=5, dtype="float64", device=device)
    layer.load_state_dict(case["state"])
    tensors = operands(case, device)
    y, weights = layer(*tensors.values(), average_attn_weights=False)
    close(weights, case["out"]["weights"])
    check(case, y, tensors, layer)


@pytest.mark.parametrize("norm_first", [False, True])
def test_transformers_are_pytorchs(norm_first, device):
    case = FIGURES[f"encoder {norm_first}"]
    layer = gg.nn.TransformerEncoderLayer(
        6, 2, 8, 0.0, "gelu", batch_first=True, norm_first=norm_first, dtype="float64"
    )
    model = gg.nn.TransformerEncoder(layer, 2, gg.nn.LayerNorm(6, dtype="float64")).to(device)
    model.load_state_dict(case["state"])
    tensors = operands(case, device)
    y = model(tensors["src"], tensors["mask"], tensors["padding"])
    check(case, y, tensors, model)
    close(model(tensors["src"], None, tensors["padding"], is_causal=True), case["out"]["y"])


def test_one_sequence_is_a_batch_of_one(device):
    layer = gg.nn.TransformerEncoderLayer(4, 2, 8, device=device).eval()
    x = gg.random.Generator(1).normal(size=(5, 4), device=device)
    np.testing.assert_allclose(
        layer(x).detach().cpu().numpy(),
        layer(x[:, None])[:, 0].detach().cpu().numpy(),
        rtol=1e-5,
        atol=1e-6,
    )
    y, weights = layer.self_attn(x, x, x)
    assert (y.shape, weights.shape) == ((5, 4), (5, 5))


def test_causal_attention_has_weights(device):
    layer = gg.nn.MultiheadAttention(4, 2, batch_first=True, device=device)
    x = gg.random.Generator(1).normal(size=(2, 5, 4), device=device)
    y, weights = layer(x, x, x, is_causal=True)
    whole, _ = layer(x, x, x, need_weights=False, is_causal=True)
    np.testing.assert_allclose(
        y.detach().cpu().numpy(), whole.detach().cpu().numpy(), rtol=1e-5, atol=1e-6
    )
    assert not np.triu(weights.detach().cpu().numpy(), 1).any()


def composed(q, k, v, bias):
    return gg.softmax(q @ k.mT / q.shape[-1] ** 0.5 + bias) @ v


@pytest.mark.parametrize("block", [module.BLOCK, 2])
def test_second_derivatives_are_those_of_the_formula(block, device, monkeypatch, rng):
    in_blocks(monkeypatch, block)
    arrays = [rng.normal(size=shape) for shape in ((3, 2), (5, 2), (5, 3), (3, 5))]

    def penalty(function):
        def f(*tensors):
            y = function(*tensors)
            gradients = gg.gradients((y * y).sum(), list(tensors), create_graph=True)
            return sum((g * g).sum() for g in gradients)

        tensors = [gg.tensor(array, device=device) for array in arrays]
        return gg.grad(f, argnums=(0, 1, 2, 3))(*tensors)

    for found, expected in zip(penalty(attend), penalty(composed), strict=True):
        np.testing.assert_allclose(found.cpu().numpy(), expected.cpu().numpy(), rtol=1e-8)


@pytest.mark.parametrize("block", [module.BLOCK, 2])
def test_dropout_keeps_the_same_weights_in_every_pass(block, device, monkeypatch):
    """With dropout the result is linear in the values, with one matrix forward and backward."""
    in_blocks(monkeypatch, block)
    q, k = (gg.random.Generator(i).normal(size=(5, 2), device=device) for i in range(2))
    v = gg.eye(5, device=device).requires_grad_()
    generator = gg.random.Generator(7)
    y = attend(q, k, v, dropout_p=0.5, generator=generator)
    weights = y.detach()
    plain = attend(q, k, v.detach())
    kept = weights.cpu().numpy() != 0
    assert 3 < kept.sum() < 22
    np.testing.assert_allclose(
        weights.cpu().numpy(), np.where(kept, 2 * plain.cpu().numpy(), 0), rtol=1e-5
    )
    g = gg.random.Generator(3).normal(size=(5, 5), device=device)
    (y * g).sum().backward()
    np.testing.assert_allclose(v.grad.cpu().numpy(), (weights.mT @ g).cpu().numpy(), rtol=1e-4)
    again = attend(q, k, v, dropout_p=0.5, generator=generator)
    assert bool((again != y).any())


def test_dropout_is_the_same_on_every_device(device):
    def run(device):
        x = gg.ones((2, 3, 4), device=device)
        return attend(x, x, x, dropout_p=0.3, generator=gg.random.Generator(5)).cpu().numpy()

    np.testing.assert_allclose(run(device), run("cpu"), rtol=1e-6)


def test_a_query_without_keys_gets_zeros(device):
    q, k, v = (gg.ones(shape, device=device).requires_grad_() for shape in ((2, 3), (4, 3), (4, 2)))
    mask = gg.tensor([[True], [False]], device=device)
    y = attend(q, k, v, mask)
    assert y.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    y.sum().backward()
    assert all(bool(gg.isfinite(t.grad).all()) for t in (q, k, v))
    assert attend(q, k[:0], v[:0]).tolist() == [[0.0, 0.0]] * 2


def test_large_scores_and_half_precision(device):
    q = gg.tensor([[300.0], [-300.0]], device=device, dtype="float16")
    y = attend(q, q, gg.eye(2, device=device, dtype="float16"))
    assert y.dtype == "float16"
    assert y.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_memory_does_not_grow_with_the_square_of_the_length():
    def peak(length):
        x = gg.ones((length, 8), requires_grad=True)
        tracemalloc.start()
        try:
            attend(x, x, x, is_causal=True).sum().backward()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(256)
    assert peak(4096) < 2.2 * peak(2048)
    assert peak(4096) < 4096 * 4096  # a fourth of the scores


def test_rotary_products_depend_on_the_distance(device):
    rotary = gg.nn.RotaryEmbedding(6)
    x = gg.random.Generator(2).normal(size=(1, 6), device=device, dtype="float64")
    turned = rotary(gg.broadcast_to(x, (5, 6)))
    products = (turned @ turned.mT).cpu().numpy()
    for distance in range(5):
        diagonal = np.diagonal(products, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=1e-12)
    pairs = gg.nn.functional.rotary_embedding(x[:, [0, 3, 1, 4, 2, 5]], [3], interleaved=True)
    np.testing.assert_allclose(
        pairs.cpu().numpy()[:, [0, 2, 4, 1, 3, 5]], rotary(x, offset=3).cpu().numpy(), rtol=1e-12
    )


def test_sinusoidal_positions_are_the_papers(device):
    p, i = np.arange(7)[:, None], np.arange(4)
    angles = p / 10000 ** (2 * i / 8)
    table = gg.nn.functional.sinusoidal_positions(7, 8, dtype="float64", device=device)
    close(table[:, ::2], np.sin(angles))
    close(table[:, 1::2], np.cos(angles))
    layer = gg.nn.PositionalEncoding(8).eval()
    x = gg.zeros((7, 2, 8), dtype="float64", device=device)
    close(layer(x)[:, 1], table.cpu().numpy())
    close(layer(x[:3])[:, 0], table[:3].cpu().numpy())
    assert not layer.state_dict()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: attend(x[0], x, x), "length, features"),
        (lambda x: attend(x, x[:, :2], x), "equally many features"),
        (lambda x: attend(x, x, x[:2]), "same length"),
        (lambda x: attend(x, x, x, gg.ones((2, 3))), "must broadcast to the scores"),
        (lambda x: attend(x, x, x, gg.ones((4, 4), dtype="int64")), "truth values"),
        (lambda x: attend(x, x, x, enable_gqa=True), "an axis of heads"),
        (lambda x: attend(x, x, x, dropout_p=2.0), "a probability"),
        (lambda x: gg.nn.MultiheadAttention(6, 4), "a multiple of num_heads"),
        (lambda x: gg.nn.MultiheadAttention(6, 2, add_zero_attn=True), "not offered"),
        (lambda x: gg.nn.MultiheadAttention(3, 1)(x, x, x, gg.ones(3)), "key_padding_mask"),
        (lambda x: gg.nn.TransformerEncoder(gg.nn.Linear, 2), "expected a layer"),
        (lambda x: gg.nn.PositionalEncoding(4)(x), "4 features"),
        (lambda x: gg.nn.RotaryEmbedding(3)(x), "must be even"),
    ],
)
def test_bad_input_gets_a_sentence(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call(gg.ones((4, 3)))
