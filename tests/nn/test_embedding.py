"""Tables of vectors, one-hot rows, angles, distances and bilinear forms."""

import numpy as np
import pytest
from arrays import host

import gpugrad as gg

F = gg.nn.functional


def test_rows_and_their_gradients(device, rng):
    table = rng.standard_normal((5, 3))
    weight = gg.tensor(table, device=device, requires_grad=True)
    numbers = np.array([[4, 0, 4], [1, 1, 4]])
    g = rng.standard_normal((2, 3, 3))
    right = np.zeros_like(table)
    np.add.at(right, numbers, g)
    for given in (numbers, numbers.tolist(), gg.asarray(numbers, device=device)):
        for padding in (None, 1, -4):
            weight.grad = None
            y = F.embedding(given, weight, padding_idx=padding)
            np.testing.assert_array_equal(host(y), table[numbers])
            (y * gg.tensor(g, device=device)).sum().backward()
            expected = right * (np.arange(5) != (9 if padding is None else 1))[:, None]
            np.testing.assert_allclose(host(weight.grad), expected, rtol=1e-12)
    assert F.embedding([], weight).shape == (0, 3)
    assert gg.gradgradcheck(lambda w: F.embedding(numbers, w, 1) ** 3, weight)


def test_the_layer(device):
    layer = gg.nn.Embedding(6, 4, padding_idx=-1, device=device, generator=gg.random.Generator(3))
    again = gg.nn.Embedding(6, 4, padding_idx=5, device=device, generator=gg.random.Generator(3))
    assert host(layer.weight).tolist() == host(again.weight).tolist()
    assert list(layer.state_dict()) == ["weight"]
    assert layer.padding_idx == 5
    assert not host(layer.weight)[5].any()
    assert host(layer.weight)[:5].std() > 0.5
    assert repr(layer).startswith("Embedding(6, 4, padding_idx=5)")
    y = layer(gg.asarray([[1, 5]], device=device))
    assert y.shape == (1, 2, 4)
    y.sum().backward()
    assert host(layer.weight.grad).sum(axis=1).tolist() == [0, 4, 0, 0, 0, 0]


def test_a_table_that_is_there(device):
    table = gg.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)
    frozen = gg.nn.Embedding.from_pretrained(table)
    assert not frozen.weight.requires_grad
    assert isinstance(frozen, gg.nn.Embedding)
    assert frozen.weight.device == device
    assert gg.nn.Embedding.from_pretrained(table, freeze=False, padding_idx=1).padding_idx == 1
    with pytest.raises(gg.ShapeError, match=r"from_pretrained: expected .* got shape \(2,\)"):
        gg.nn.Embedding.from_pretrained(table[0])


def test_rows_that_are_too_long_are_scaled_down(device):
    table = gg.tensor([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0]], device=device)
    layer = gg.nn.Embedding.from_pretrained(table.copy(), freeze=False, max_norm=1.0)
    y = layer([0, 1, 0])
    np.testing.assert_allclose(host(y), [[0.6, 0.8], [0.3, 0.4], [0.6, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(host(layer.weight), [[0.6, 0.8], [0.3, 0.4], [6, 8]], rtol=1e-6)
    y.sum().backward()
    assert host(layer.weight.grad).tolist() == [[2, 2], [1, 1], [0, 0]]
    by_ones = F.embedding([2], gg.nn.Parameter(table.copy()), max_norm=7.0, norm_type=1)
    np.testing.assert_allclose(host(by_ones), [[3, 4]], rtol=1e-6)
    with pytest.raises(gg.GradientError, match="max_norm changes the weight in place"):
        F.embedding([0], layer.weight * 2, max_norm=1.0)


def test_rows_of_a_gpu_are_looked_up_without_waiting(device):
    layer = gg.nn.Embedding(6, 4, padding_idx=0, device=device)
    numbers = gg.asarray([1, 2], device=device)
    with gg.sync_guard():
        layer(numbers).sum().backward()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: F.embedding([5], gg.ones((5, 2))), gg.IndexingError, "from 0 to 4, .* got 5"),
        (lambda: F.embedding([-1], gg.ones((5, 2))), gg.IndexingError, "from 0 to 4, .* got -1"),
        (lambda: F.embedding([0.5], gg.ones((5, 2))), gg.DTypeError, "whole numbers .* got float"),
        (lambda: F.embedding([0], gg.ones(5)), gg.ShapeError, r"\(count, width\), got shape \(5"),
        (lambda: F.embedding([0], gg.ones((5, 2)), 5), ValueError, "one of 5 rows, got 5"),
        (lambda: F.embedding([0], gg.ones((5, 2)), 0.5), gg.DTypeError, "padding_idx must be a wh"),
        (lambda: F.embedding([0], gg.ones((5, 2)), max_norm=0), ValueError, "must be positive"),
        (lambda: gg.nn.Embedding(3, 2, sparse=True), ValueError, "leave out sparse"),
        (lambda: gg.nn.Embedding(3, 2, scale_grad_by_freq=True), ValueError, "scale_grad_by_freq"),
        (lambda: gg.nn.Embedding(0, 2), gg.ShapeError, "num_embeddings must be a whole number"),
        (lambda: F.one_hot([0, 3], 3), gg.IndexingError, "one_hot: numbers of classes .* got 3"),
        (lambda: F.one_hot([]), ValueError, "pass num_classes"),
        (lambda: F.bilinear(gg.ones(2), gg.ones(3), gg.ones((1, 3, 2))), gg.ShapeError,
         r"bilinear: expected .* got \(2,\), \(3,\), \(1, 3, 2\)"),
        (lambda: F.cosine_similarity(gg.ones((2, 3)), gg.ones((2, 2))), gg.ShapeError, "broadcast"),
        (lambda: F.cosine_similarity(gg.ones(3), gg.ones(3)), gg.ShapeError, "no axis 1"),
        (lambda: F.normalize(gg.ones(3)), gg.ShapeError, r"normalize: there is no axis 1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_numbers_on_a_gpu_are_checked_in_debug_mode():
    weight = gg.ones((5, 2), device="sim")
    numbers = gg.asarray([5], device="sim")
    with gg.debug_mode(), pytest.raises(gg.IndexingError, match="from 0 to 4"):
        F.embedding(numbers, weight)


def test_one_hot_rows(device):
    for numbers in ([[1, 0], [2, 2]], gg.asarray([[1, 0], [2, 2]], device=device)):
        for count in (3, -1):
            y = F.one_hot(numbers, count)
            assert y.dtype == np.int64
            assert y.tolist() == np.eye(3, dtype=int)[[[1, 0], [2, 2]]].tolist()


def test_angles_distances_and_lengths(device, rng):
    arrays = rng.standard_normal((2, 4, 3))
    a, b = (gg.tensor(array, device=device, requires_grad=True) for array in arrays)
    sizes = np.linalg.norm(arrays, axis=-1)
    cosines = (arrays[0] * arrays[1]).sum(-1) / sizes.prod(axis=0)
    np.testing.assert_allclose(host(F.cosine_similarity(a, b)), cosines, rtol=1e-12)
    np.testing.assert_allclose(host(F.cosine_similarity(a[:, None], b[None], dim=-1)).diagonal(),
                               cosines, rtol=1e-12)  # fmt: skip
    distance = np.linalg.norm(arrays[0] - arrays[1] + 1e-6, axis=-1, keepdims=True)
    np.testing.assert_allclose(host(F.pairwise_distance(a, b, keepdim=True)), distance, rtol=1e-12)
    np.testing.assert_allclose(
        host(gg.nn.PairwiseDistance(1.0)(a, b)),
        abs(arrays[0] - arrays[1] + 1e-6).sum(-1), rtol=1e-12,
    )  # fmt: skip
    for p in (1, 2, 3, np.inf):
        y = host(F.normalize(a, p, dim=1))
        np.testing.assert_allclose(np.linalg.norm(y, p, axis=1), 1, rtol=1e-12)
    assert F.normalize(gg.asarray([[3, 4]], device=device)).tolist() == [[0.6, 0.8]]
    zero = gg.zeros((1, 2), device=device, requires_grad=True)
    F.cosine_similarity(zero, zero + 1).sum().backward()
    assert np.isfinite(host(zero.grad)).all()


def test_they_are_differentiated_twice(rng):
    a, b = (gg.tensor(array, requires_grad=True) for array in rng.standard_normal((2, 3, 2)))
    for f in (F.cosine_similarity, F.pairwise_distance, lambda a, b: F.normalize(a) * b):
        assert gg.gradcheck(f, [a, b])
        assert gg.gradgradcheck(f, [a, b])


def test_bilinear_forms(device, rng):
    layer = gg.nn.Bilinear(2, 3, 4, dtype="float64", device=device)
    assert {name: t.shape for name, t in layer.state_dict().items()} == {
        "weight": (4, 2, 3), "bias": (4,)
    }  # fmt: skip
    a, b = rng.standard_normal((5, 2)), rng.standard_normal((5, 3))
    y = layer(gg.tensor(a, device=device), gg.tensor(b, device=device))
    right = np.einsum("bi,oij,bj->bo", a, host(layer.weight), b) + host(layer.bias)
    np.testing.assert_allclose(host(y), right, rtol=1e-10)
    y.sum().backward()
    np.testing.assert_allclose(host(layer.bias.grad), [5.0] * 4)
