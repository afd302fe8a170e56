"""Shapes: binary ops, products, sums and reductions against NumPy, for any that fit."""

import numpy as np
import optable
import pytest
from arrays import host
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gpugrad as gg

FEW = settings(max_examples=100, deadline=None)
DEVICES = st.sampled_from(["cpu", "sim"])


def values(shape, seed):
    return np.random.default_rng(seed).uniform(0.5, 2.0, shape)


def check(f, own, arrays, device="cpu", rtol=1e-6):
    """f of tensors against NumPy's own of arrays; its gradients against differences."""
    expected = np.asarray(own(*arrays))
    tensors = [gg.tensor(a, device=device, requires_grad=True) for a in arrays]
    y = f(*tensors)
    assert y.shape == expected.shape
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(host(y), expected, rtol=1e-12, atol=1e-12)
    weights = values(expected.shape, 99)
    (y * gg.tensor(np.asarray(weights), device=device)).sum().backward()

    def value(*moved):
        return float(np.sum(own(*moved) * weights))

    for tensor, slope in zip(tensors, optable.numeric_gradients(value, arrays), strict=True):
        assert tensor.grad is not None
        assert tensor.grad.shape == tensor.shape
        np.testing.assert_allclose(host(tensor.grad), slope, rtol=rtol, atol=1e-7)


# Elementwise.

PAIRS = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "power", "maximum"])
@settings(max_examples=30, deadline=None)
@given(shapes=PAIRS, device=DEVICES)
def test_binary_ops(name, shapes, device):
    a, b = (values(shape, seed) for seed, shape in enumerate(shapes.input_shapes))
    check(getattr(gg, name), getattr(np, name), [a, b], device)


@FEW
@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, min_side=0, max_side=3),
    device=DEVICES,
)
def test_where(shapes, device):
    c, a, b = (values(shape, seed) for seed, shape in enumerate(shapes.input_shapes))
    mask = c > 1.2
    own = gg.tensor(np.asarray(mask), device=device)
    check(lambda a, b: gg.where(own, a, b), lambda a, b: np.where(mask, a, b), [a, b], device)


@FEW
@given(shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3), data=st.data())
def test_broadcast_to(shape, data):
    lead = data.draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    wide = tuple(data.draw(st.sampled_from([0, 1, 3])) if n == 1 else n for n in shape)
    target = lead + wide
    check(
        lambda a: gg.broadcast_to(a, target),
        lambda a: np.broadcast_to(a, target),
        [values(shape, 0)],
    )


@pytest.mark.parametrize("shape", [3, [3], np.int64(3), (2, 3), [2, 3]], ids=repr)
@pytest.mark.parametrize("x", [2.0, [2.0], [1.0, 2.0, 3.0]], ids=repr)
def test_broadcast_to_takes_any_shape_that_numpy_takes(x, shape, device):
    t = gg.tensor(x, device=device, requires_grad=True)
    y = gg.broadcast_to(t, shape)
    assert np.array_equal(host(y), np.broadcast_to(x, shape))
    y.sum().backward()
    assert host(t.grad).sum() == y.size


# Products.

MATMULS = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)), ((3,), (5, 3, 4)),
    ((5, 2, 3), (3,)), ((1, 2, 3), (5, 3, 4)), ((2, 5, 2, 3), (1, 3, 1)), ((2, 2, 4, 3), (3,)),
    ((3,), (2, 2, 3, 4)), ((1,), (1,)), ((1, 1), (1, 1)),
    # Nothing in one axis or another.
    ((0,), (0,)), ((2, 0), (0, 3)), ((0, 2), (2, 3)), ((2, 3), (3, 0)), ((0, 3), (3,)),
    ((2, 0), (0,)), ((0,), (0, 3)), ((3,), (3, 0)), ((4, 2, 0), (0, 3)), ((0, 2, 3), (3, 4)),
    ((0, 2, 3), (0, 3, 4)), ((4, 2, 3), (3, 0)), ((4, 0, 3), (3, 2)), ((0, 2, 0), (0, 0)),
    ((4, 2, 0), (0,)), ((0,), (4, 0, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), MATMULS, ids=repr)
def test_matmul(one, other, device):
    arrays = [values(one, 1), values(other, 2)]
    check(gg.matmul, np.matmul, arrays, device)
    check(lambda a, b: a @ b, np.matmul, arrays, device)


DOTS = [*MATMULS[:4], ((), (2, 3)), ((2,), ()), ((2, 3), (4, 3, 2)), ((3,), (4, 3, 2)),
        ((2, 2, 3), (3, 4)), ((2, 4, 3), (2, 3, 5)), ((2, 0), (4, 0, 2))]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), DOTS, ids=repr)
def test_dot(one, other, device):
    check(gg.dot, np.dot, [values(one, 1), values(other, 2)], device)


@pytest.mark.parametrize(
    ("one", "other"), [((3,), (2,)), ((), (2,)), ((2, 2), (3,)), ((0,), (2,)), ((2,), (0, 3))]
)
def test_outer(one, other, device):
    check(gg.outer, np.outer, [values(one, 1), values(other, 2)], device)


@pytest.mark.parametrize(
    ("one", "other", "axes"),
    [
        ((2, 3, 4), (3, 4, 5), 2), ((2, 3), (3, 4), 1), ((2, 3), (4, 5), 0), ((3,), (3,), 1),
        ((2, 3, 4), (4, 3, 2), ([1, 2], [1, 0])), ((2, 3), (2, 3), ([0, 1], [0, 1])),
        ((2, 3), (5, 2), (0, 1)), ((2, 3, 4), (4, 2), (-1, 0)), ((2, 3), (4,), ([], [])),
        ((2, 0), (0, 3), 1), ((0, 2), (2, 3), 1), ((), (2,), 0), ((2, 3), (3, 2), ((-1,), (-2,))),
    ],
)  # fmt: skip
def test_tensordot(one, other, axes, device):
    check(
        lambda a, b: gg.tensordot(a, b, axes=axes),
        lambda a, b: np.tensordot(a, b, axes=axes),
        [values(one, 1), values(other, 2)],
        device,
    )


EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("ij,kj", (2, 3), (4, 3)),
    ("ji", (2, 3)), ("ba", (2, 3)), ("ij->", (2, 3)), ("ij->j", (2, 3)), ("i->i", (3,)),
    ("ii", (3, 3)), ("ii->i", (3, 3)), ("iij->j", (2, 2, 3)), ("iji->ij", (2, 3, 2)),
    ("iii->i", (2, 2, 2)), ("ii,ii->i", (2, 2), (2, 2)), ("ii,i", (2, 2), (2,)),
    ("i,i", (3,), (3,)), ("i,i->i", (3,), (3,)), ("i,j->ji", (3,), (2,)), ("i,j", (2,), (3,)),
    (",", (), ()), (",i->i", (), (3,)), ("->", ()), ("ij,ij,ij->i", (2, 3), (2, 3), (2, 3)),
    ("ij,jk,kl->il", (2, 3), (3, 2), (2, 4)), ("ij,k->k", (2, 3), (2,)), ("i,j->", (2,), (3,)),
    ("bij,bjk->bik", (2, 3, 2), (2, 2, 3)), ("...ij,...jk->...ik", (2, 3, 2), (2, 2, 3)),
    ("...ij,...jk", (4, 2, 3), (3, 2)), ("...,...->...", (2, 3), (3,)), ("...", (2, 3)),
    ("...,...", (2, 1), (1, 3)), ("...i,...i->...", (4, 1, 3), (2, 3)), ("...->...", ()),
    ("...i->i...", (2, 3, 4)), ("i...,i...->...", (2, 1, 3), (2, 4, 1)), ("i...j->...", (2, 4, 3)),
    ("...i,i", (2, 3), (3,)), ("b...a", (2, 3, 4)), ("...ii->...i", (4, 2, 2)),
    ("a...a->...a", (2, 3, 2)), ("...ij,j->...i", (1, 1, 2, 3), (3,)),
    ("...,i->...i", (1,), (3,)), ("...,...,...->...", (2, 1, 1), (3, 1), (4,)),
    (" i j , j k -> i k ", (2, 3), (3, 4)), ("Aa,aB->AB", (2, 3), (3, 4)), ("bA", (2, 3)),
    ("ij,ij->ij", (1, 3), (2, 3)), ("ij,j->i", (2, 3), (1,)), ("ij,ij->i", (2, 1), (2, 3)),
    ("ij,jk->ik", (2, 0), (0, 3)), ("ij,jk->ik", (0, 2), (2, 3)), ("ij->j", (0, 3)),
    ("...i->...", (2, 0)), ("ij,ij", (0, 2), (0, 2)), ("i,i->", (1,), (3,)),
]  # fmt: skip


@pytest.mark.parametrize("case", EINSUMS, ids=lambda case: f"{case[0]} {case[1:]}")
def test_einsum(case, device):
    subscripts, *shapes = case
    arrays = [values(shape, seed) for seed, shape in enumerate(shapes)]
    check(
        lambda *t: gg.einsum(subscripts, *t), lambda *a: np.einsum(subscripts, *a), arrays, device
    )


@pytest.mark.parametrize("case", EINSUMS[:30:3], ids=lambda case: f"{case[0]} {case[1:]}")
def test_einsum_twice_differentiated_and_through_numpy(case):
    subscripts, *shapes = case
    tensors = [gg.tensor(values(s, i), requires_grad=True) for i, s in enumerate(shapes)]
    y = np.einsum(subscripts, *tensors)
    assert isinstance(y, gg.Tensor)
    slopes = gg.gradients((y * y).sum(), tensors, create_graph=True)
    along = sum((s * s).sum() for s in slopes)

    def value(*moved):
        again = [gg.tensor(m, requires_grad=True) for m in moved]
        y = gg.einsum(subscripts, *again)
        return sum(float((s * s).sum()) for s in gg.gradients((y * y).sum(), again))

    wanted = optable.numeric_gradients(value, [t.data for t in tensors])
    for got, slope in zip(gg.gradients(along, tensors), wanted, strict=True):
        np.testing.assert_allclose(host(got), slope, rtol=1e-5, atol=1e-6)


# Reductions.


@st.composite
def reduced(draw, min_side=0):
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=min_side, max_side=3))
    if not shape or draw(st.booleans()):
        return shape, draw(st.sampled_from([None, ()])), draw(st.booleans())
    axes = draw(st.lists(st.sampled_from(range(len(shape))), min_size=1, unique=True))
    axes = [axis - len(shape) if draw(st.booleans()) else axis for axis in axes]
    axis = draw(st.sampled_from([axes[0], np.int64(axes[0]), tuple(axes)]))
    return shape, axis, draw(st.booleans())


def check_reduction(name, case, device, own=None, **words):
    shape, axis, keepdims = case
    own = own or getattr(np, name)
    rng = np.random.default_rng(3)
    array = rng.permutation(np.linspace(0.5, 2, int(np.prod(shape)))).reshape(shape)
    check(
        lambda t: getattr(gg, name)(t, axis=axis, keepdims=keepdims, **words),
        lambda a: own(a, axis=axis, keepdims=keepdims, **words),
        [array],
        device,
        rtol=1e-5,
    )


@pytest.mark.parametrize("name", ["sum", "prod"])
@FEW
@given(case=reduced(), device=DEVICES)
def test_sum_and_prod(name, case, device):
    check_reduction(name, case, device)


@pytest.mark.parametrize("name", ["mean", "var", "max", "min"])
@FEW
@given(case=reduced(min_side=1), device=DEVICES)
def test_reductions_of_something(name, case, device):
    check_reduction(name, case, device)


@FEW
@given(case=reduced(min_side=1), device=DEVICES)
def test_logsumexp(case, device):
    def own(a, **words):
        return np.log(np.sum(np.exp(a), **words))

    check_reduction("logsumexp", case, device, own)


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3), (2, 0, 3)])
@pytest.mark.parametrize("axis", [0, -1, None])
def test_reductions_of_nothing(shape, axis, device):
    x = gg.tensor(np.zeros(shape), device=device, requires_grad=True)
    for name in ("sum", "prod", "cumsum"):
        own = getattr(np, name)(x.detach().cpu().data, axis=axis)
        y = getattr(gg, name)(x, axis=axis)
        np.testing.assert_array_equal(host(y), own)
        y.sum().backward()
        assert x.grad.shape == shape
    count = x.size if axis is None else shape[axis]
    if count == 0:
        assert np.isnan(host(gg.mean(x, axis=axis))).all()
        assert np.isnan(host(gg.var(x, axis=axis))).all()
        for name in ("max", "min", "argmax", "argmin"):
            with pytest.raises(gg.ShapeError, match=name):
                getattr(gg, name)(x, axis=axis)


@pytest.mark.parametrize(
    "f",
    [
        lambda xp, x: xp.roll(x, np.int64(1), axis=np.int64(1)),
        lambda xp, x: xp.tile(x, np.int64(2)),
        lambda xp, x: xp.split(x, np.int64(3), axis=np.int64(1))[1],
        lambda xp, x: xp.repeat(x, np.int64(2), axis=np.int64(0)),
        lambda xp, x: xp.concatenate([x, x], axis=np.int64(1)),
        lambda xp, x: xp.cumsum(x, axis=np.int64(1)),
        lambda xp, x: xp.moveaxis(x, np.int64(0), np.int64(1)),
        lambda xp, x: xp.take(x, np.int64(1), axis=np.int64(1)),
        lambda xp, x: xp.transpose(x, np.array([1, 0])),
        lambda xp, x: xp.reshape(x, np.array([3, 2])),
        lambda xp, x: xp.pad(x, np.int64(1)),
        lambda xp, x: xp.split(x, np.array([1, 2]), axis=1)[2],
        lambda xp, x: xp.roll(x, np.array([1, 2]), axis=(0, 1)),
        lambda xp, x: xp.tile(x, np.array([2, 1])),
        lambda xp, x: xp.stack([x, x], axis=np.int64(2)),
    ],
    ids=lambda f: f.__code__.co_names[0],
)
def test_numbers_of_numpy_as_parameters(f):
    check(lambda t: f(gg, t), lambda a: f(np, a), [values((2, 3), 0)])


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_cumsum(axis, device):
    check(
        lambda t: gg.cumsum(t, axis=axis),
        lambda a: np.cumsum(a, axis=axis),
        [values((2, 3), 0)],
        device,
    )
    tensor = gg.tensor(values((2, 3), 0))
    assert np.cumsum(tensor, axis=axis).tolist() == np.cumsum(tensor.data, axis=axis).tolist()
    assert np.add.accumulate(tensor).tolist() == np.add.accumulate(tensor.data).tolist()
