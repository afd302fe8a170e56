"""gg.nn.functional: values against closed forms, derivatives against central differences."""

import math

import numpy as np
import pytest
from arrays import host

import gpugrad as gg
from gpugrad.nn import functional as F

LOSSES = ("mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy_with_logits")


def close(actual, expected, tolerance=1e-10):
    actual = host(actual) if isinstance(actual, gg.Tensor) else np.asarray(actual)
    expected = np.asarray(expected)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def slopes(f, x, step=1e-6):
    """Central differences of a function of one array that gives a number."""
    found = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        found[place] = (f(up) - f(down)) / (2 * step)
    return found


def check(f, *arrays, device, tolerance=1e-6):
    """First and second derivatives of ``f`` of float64 arrays against central differences."""
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=a.shape) for a in arrays]

    def tensors(values):
        return [gg.tensor(value, device=device, requires_grad=True) for value in values]

    mix = rng.normal(size=f(*tensors(arrays)).shape)

    def value(*values):
        with gg.no_grad():
            return float((f(*tensors(values)) * gg.tensor(mix, device=device)).sum().item())

    def gradients(values, create_graph=False):
        leaves = tensors(values)
        loss = (f(*leaves) * gg.tensor(mix, device=device)).sum()
        loss.backward(create_graph=create_graph)
        return leaves, [leaf.grad for leaf in leaves]

    def along(*values):
        """The gradient's product with fixed weights: its slopes are second derivatives."""
        _, found = gradients(values)
        return sum(float((host(g) * w).sum()) for g, w in zip(found, weights))

    leaves, first = gradients(arrays, create_graph=True)
    for leaf in leaves:
        leaf.zero_grad()
    product = sum((g * gg.tensor(w, device=device)).sum() for g, w in zip(first, weights))
    product.backward()
    for index, array in enumerate(arrays):

        def vary(x, index=index):
            return [x if i == index else a for i, a in enumerate(arrays)]

        close(first[index], slopes(lambda x, v=vary: value(*v(x)), array), tolerance)
        second = leaves[index].grad
        second = np.zeros_like(array) if second is None else host(second)
        close(second, slopes(lambda x, v=vary: along(*v(x)), array), tolerance)


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


# ---------------------------------------------------------------- linear


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3)])
def test_linear(device, rng, shape):
    x, weight, bias = rng.normal(size=shape), rng.normal(size=(2, 3)), rng.normal(size=2)
    x_, weight_, bias_ = (gg.tensor(a, device=device) for a in (x, weight, bias))
    close(F.linear(x_, weight_, bias_), x @ weight.T + bias)
    close(F.linear(x_, weight_), x @ weight.T)
    check(F.linear, x, weight, bias, device=device)
    check(F.linear, x, weight, device=device)
    check(F.linear, x, weight, bias[:1], device=device)


def test_linear_takes_lists():
    assert F.linear([1.0, 2.0], [[3.0, 4.0]], [5.0]).tolist() == [16.0]
    assert F.linear(gg.ones(2), [[3.0, 4.0]]).tolist() == [7.0]


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        (((4, 3), (2, 5)), r"the last axis of x must have size 5, .*; got x \(4, 3\), weight \(2"),
        (((4, 2), (2, 5)), "Did you mean to transpose the weight"),
        (((4, 3), (3,)), "weight must have two axes"),
        (((4, 3), (2, 3), (3,)), r"bias must have shape \(2,\), one number for each output"),
        (((4, 3), (2, 3), (4, 2)), r"bias must have shape \(2,\)"),
        (((), (2, 3)), "the last axis of x must have size 3"),
    ],
)
def test_linear_refuses(device, shapes, text):
    with pytest.raises(gg.ShapeError, match=text):
        F.linear(*(gg.ones(shape) for shape in shapes))


# ---------------------------------------------------------------- losses of numbers

CLOSED = {
    "mse_loss": lambda p, t: (p - t) ** 2,
    "l1_loss": lambda p, t: abs(p - t),
    "huber_loss": lambda p, t: np.where(
        abs(p - t) <= 1, 0.5 * (p - t) ** 2, abs(p - t) - 0.5
    ),
    "binary_cross_entropy_with_logits": lambda p, t: -(
        t * np.log(1 / (1 + np.exp(-p))) + (1 - t) * np.log(1 - 1 / (1 + np.exp(-p)))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_numbers(device, rng, name):
    p, t = rng.normal(size=(4, 3)) * 2, rng.uniform(size=(4, 3))
    p_, t_ = gg.tensor(p, device=device), gg.tensor(t, device=device)
    loss, losses = getattr(F, name), CLOSED[name](p, t)
    close(loss(p_, t_), losses.mean())
    close(loss(p_, t_, reduction="sum"), losses.sum())
    close(loss(p_, t_, reduction="none"), losses)
    for reduction in ("mean", "sum", "none"):
        check(lambda p, t, r=reduction: loss(p, t, reduction=r), p, t, device=device)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_numbers_refuse_to_broadcast(device, name):
    loss = getattr(F, name)
    with pytest.raises(gg.ShapeError, match=rf"{name}: .*\(8, 1\) and \(8,\).*prediction.squeeze"):
        loss(gg.ones((8, 1)), gg.ones(8))
    with pytest.raises(gg.ShapeError, match=r"target.squeeze\(-1\)"):
        loss(gg.ones(8), gg.ones((8, 1)))
    with pytest.raises(gg.ShapeError, match="a loss does not broadcast"):
        loss(gg.ones((8, 2)), gg.ones((1, 2)))
    with pytest.raises(gg.ShapeError, match=r"\(3,\) and \(\)"):
        loss(gg.ones(3), 0.0)


@pytest.mark.parametrize("name", [*LOSSES, "cross_entropy", "nll_loss"])
def test_losses_refuse_another_reduction(name):
    target = gg.ones((2, 2)) if name in LOSSES else [0, 1]
    with pytest.raises(ValueError, match=rf"{name}: reduction must be .*, got 'avg'"):
        getattr(F, name)(gg.ones((2, 2)), target, reduction="avg")


@pytest.mark.parametrize("name", LOSSES)
def test_losses_take_lists_and_keep_the_dtype_with_integer_targets(device, name):
    loss = getattr(F, name)
    p = gg.tensor([0.5, -2.0])
    expected = host(loss(p, gg.tensor([1.0, 0.0])))
    for target in ([1, 0], gg.tensor([1, 0], dtype=gg.int64), gg.tensor([True, False])):
        made = loss(p, target)
        assert made.dtype == np.float32
        assert made.device == device
        close(made, expected, 1e-6)
    assert loss([0.5, -2.0], [1.0, 0.0]).dtype == np.float32


def test_huber_loss_and_delta(device):
    d = gg.tensor([-3.0, -0.5, 0.0, 0.5, 2.0, 3.0], dtype="float64")
    made = F.huber_loss(d, gg.zeros(6, dtype="float64"), "none", 2.0)
    close(made, [4.0, 0.125, 0.0, 0.125, 2.0, 4.0])
    for delta in (0, -1.0, math.nan):
        with pytest.raises(ValueError, match="huber_loss: delta must be positive"):
            F.huber_loss(d, d, delta=delta)


def test_huber_loss_is_curved_where_the_error_is_zero(device):
    x = gg.tensor([0.0], dtype="float64", requires_grad=True)
    F.huber_loss(x, gg.zeros(1, dtype="float64"), "sum").backward(create_graph=True)
    first = x.grad
    x.zero_grad()
    first.sum().backward()
    assert (first.item(), x.grad.item()) == (0.0, 1.0)


def test_binary_cross_entropy_far_out(device):
    x = gg.tensor([1000.0, -1000.0, 1000.0, -1000.0, 50.0, -50.0], requires_grad=True)
    t = gg.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 0.0])
    losses = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    close(losses, [0.0, 0.0, 1000.0, 1000.0, math.exp(-50), math.exp(-50)], 1e-6)
    assert losses[4].item() == pytest.approx(math.exp(-50), rel=1e-5)
    losses.sum().backward()
    close(x.grad, [0.0, 0.0, 1.0, -1.0, 0.0, 0.0], 1e-6)


def test_binary_cross_entropy_and_pos_weight(device, rng):
    x, t, w = rng.normal(size=(4, 3)), rng.uniform(size=(4, 3)), rng.uniform(size=3) + 0.5
    x_, t_, w_ = (gg.tensor(a, device=device) for a in (x, t, w))
    s = 1 / (1 + np.exp(-x))
    expected = -(w * t * np.log(s) + (1 - t) * np.log(1 - s))
    close(F.binary_cross_entropy_with_logits(x_, t_, pos_weight=w_), expected.mean())
    close(F.binary_cross_entropy_with_logits(x_, t_, pos_weight=w.tolist()), expected.mean())
    doubled = -(2 * t * np.log(s) + (1 - t) * np.log(1 - s))
    close(F.binary_cross_entropy_with_logits(x_, t_, pos_weight=2.0), doubled.mean())
    check(
        lambda x: F.binary_cross_entropy_with_logits(x, t_, pos_weight=w_), x, device=device
    )  # fmt: skip
    with pytest.raises(gg.ShapeError, match=r"pos_weight of shape \(4,\) does not broadcast"):
        F.binary_cross_entropy_with_logits(x_, t_, pos_weight=gg.ones(4))


# ---------------------------------------------------------------- losses of classes


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"])
def test_cross_entropy(device, rng, kind):
    x, classes = rng.normal(size=(5, 4)) * 3, np.array([0, 3, 1, 1, 2], kind)
    x_, c_ = gg.tensor(x, device=device), gg.tensor(classes, device=device)
    losses = -np.log(softmax(x)[np.arange(5), classes])
    close(F.cross_entropy(x_, c_), losses.mean())
    close(F.cross_entropy(x_, c_, reduction="sum"), losses.sum())
    close(F.cross_entropy(x_, c_, reduction="none"), losses)
    close(F.cross_entropy(x_, classes.tolist()), losses.mean())
    close(F.nll_loss(F.log_softmax(x_), c_), losses.mean())
    close(F.nll_loss(F.log_softmax(x_), c_, reduction="none"), losses)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("words", [{}, {"label_smoothing": 0.2}, {"ignore_index": 1}])
def test_cross_entropy_derivatives(device, rng, reduction, words):
    x, c = rng.normal(size=(3, 4)), gg.tensor(np.array([1, 3, 0]), device=device)
    check(lambda x: F.cross_entropy(x, c, reduction=reduction, **words), x, device=device)


def test_cross_entropy_of_probabilities(device, rng):
    x, p = rng.normal(size=(3, 4)), softmax(rng.normal(size=(3, 4)))
    x_, p_ = gg.tensor(x, device=device), gg.tensor(p, device=device)
    losses = -(p * np.log(softmax(x))).sum(axis=1)
    close(F.cross_entropy(x_, p_), losses.mean())
    close(F.cross_entropy(x_, p_, reduction="none"), losses)
    close(F.cross_entropy(x_, p.tolist(), reduction="sum"), losses.sum())
    smooth = 0.7 * p + 0.3 / 4
    smoothed = -(smooth * np.log(softmax(x))).sum(axis=1)
    close(F.cross_entropy(x_, p_, label_smoothing=0.3), smoothed.mean())
    check(F.cross_entropy, x, p, device=device)
    one_hot = np.eye(4)[[2, 0, 3]]
    close(
        F.cross_entropy(x_, gg.tensor(one_hot, device=device)),
        host(F.cross_entropy(x_, gg.tensor(np.array([2, 0, 3]), device=device))),
    )


def test_cross_entropy_smoothed_equals_that_of_the_smoothed_distribution(device, rng):
    x, classes = gg.tensor(rng.normal(size=(5, 4)), device=device), [0, 3, 1, 1, 2]
    smoothed = gg.tensor(0.9 * np.eye(4)[classes] + 0.1 / 4, device=device)
    close(F.cross_entropy(x, classes, label_smoothing=0.1), host(F.cross_entropy(x, smoothed)))
    assert host(F.cross_entropy(x, classes, label_smoothing=1.0)) == pytest.approx(
        host(F.cross_entropy(x, gg.full((5, 4), 0.25, dtype="float64")))
    )


def test_cross_entropy_with_axes_after_the_classes(device, rng):
    x, classes = rng.normal(size=(2, 4, 3, 5)), rng.integers(0, 4, size=(2, 3, 5))
    x_, c_ = gg.tensor(x, device=device), gg.tensor(classes, device=device)
    p = softmax(x, axis=1)
    n, i, j = np.indices(classes.shape)
    losses = -np.log(p[n, classes, i, j])
    close(F.cross_entropy(x_, c_, reduction="none"), losses)
    close(F.cross_entropy(x_, c_), losses.mean())
    close(F.nll_loss(F.log_softmax(x_, axis=1), c_), losses.mean())
    target = np.moveaxis(np.eye(4)[classes], -1, 1)
    close(F.cross_entropy(x_, gg.tensor(target, device=device), reduction="none"), losses)
    check(lambda x: F.cross_entropy(x, c_[:, :2, 0]), x[:, :, :2, 0], device=device)


def test_cross_entropy_of_one_sample(device):
    x = gg.tensor([1.0, 2.0, 3.0], dtype="float64")
    expected = -np.log(softmax(np.array([1.0, 2.0, 3.0]))[1])
    close(F.cross_entropy(x, 1), expected)
    close(F.cross_entropy(x, gg.tensor(1, dtype="int64")), expected)
    close(F.nll_loss(F.log_softmax(x), np.int64(1) if device.kind == "cpu" else 1), expected)


def test_ignore_index(device, rng):
    x, classes = rng.normal(size=(4, 3)), np.array([2, -100, 0, -100])
    x_, c_ = gg.tensor(x, device=device, requires_grad=True), gg.tensor(classes, device=device)
    kept = -np.log(softmax(x)[[0, 2], [2, 0]])
    for loss, scores in ((F.cross_entropy, x_), (F.nll_loss, F.log_softmax(x_))):
        close(loss(scores, c_, ignore_index=-100), kept.mean())
        close(loss(scores, c_, ignore_index=-100, reduction="sum"), kept.sum())
        single = host(loss(scores, c_, ignore_index=-100, reduction="none"))
        close(single, [kept[0], 0.0, kept[1], 0.0])
    F.cross_entropy(x_, c_, ignore_index=-100).backward()
    assert host(x_.grad)[[1, 3]].tolist() == [[0, 0, 0], [0, 0, 0]]
    narrow = gg.tensor(x.astype("float32"), device=device)
    for reduction in ("mean", "sum", "none"):
        made = F.cross_entropy(narrow, c_, ignore_index=-100, reduction=reduction)
        assert made.dtype == np.float32


def test_no_sample_counts(device):
    x = gg.tensor([[1.0, 2.0]])
    with np.errstate(invalid="ignore"):
        assert math.isnan(F.cross_entropy(x, [1], ignore_index=1).item())


def test_masked_logits_and_a_one_hot_target_give_no_nan(device):
    x = gg.tensor([[0.0, -math.inf, 1.0]], dtype="float64", requires_grad=True)
    loss = F.cross_entropy(x, gg.tensor([[1.0, 0.0, 0.0]], dtype="float64"))
    loss.backward()
    p = softmax(np.array([0.0, 1.0]))
    close(loss, -np.log(p[0]))
    close(x.grad, [[p[0] - 1, 0.0, p[1]]])


def test_cross_entropy_far_out(device):
    x = gg.tensor([[1000.0, -1000.0], [-1000.0, 1000.0]], requires_grad=True)
    losses = F.cross_entropy(x, [0, 0], reduction="none")
    assert losses.tolist() == [0.0, 2000.0]
    losses.sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0], [-1.0, 1.0]]


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("wrong", [3, -1])
def test_class_numbers_out_of_range(device, loss, wrong):
    x = gg.zeros((2, 3))
    target = gg.tensor(np.array([0, wrong]), device=device)
    if device.kind == "cpu":
        with pytest.raises(ValueError, match=rf"from 0 to 2 for 3 classes, got {wrong} .*at 1"):
            loss(x, target)
        with pytest.raises(ValueError, match="ignores no other class"):
            loss(x, target, ignore_index=0)
    else:
        made = loss(x, target, reduction="none").tolist()
        assert math.isnan(made[1])
        assert not math.isnan(made[0])


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
def test_losses_of_classes_refuse(device, loss):
    x = gg.zeros((2, 3))
    with pytest.raises(gg.ShapeError, match=r"\(2,\) for scores of shape \(2, 3\) .* got \(3,\)"):
        loss(x, [0, 1, 2])
    with pytest.raises(gg.ShapeError, match=r"got \(2, 1\)"):
        loss(x, [[0], [1]])
    with pytest.raises(gg.ShapeError, match="with an axis of classes, got a scalar"):
        loss(gg.zeros(()), 0)
    with pytest.raises(gg.DTypeError, match="class numbers in an integer dtype, got bool"):
        loss(x, gg.tensor([True, False]))


def test_nll_loss_refuses_probabilities():
    with pytest.raises(gg.DTypeError, match="nll_loss: expected class numbers .* got float32"):
        F.nll_loss(gg.zeros((2, 3)), gg.zeros((2, 3)))


def test_cross_entropy_refuses():
    x = gg.zeros((2, 3))
    with pytest.raises(gg.ShapeError, match=r"probabilities of the shape .*\(2, 3\), got \(2,\)"):
        F.cross_entropy(x, [0.0, 1.0])
    with pytest.raises(ValueError, match="ignore_index goes with class numbers"):
        F.cross_entropy(x, gg.zeros((2, 3)), ignore_index=1)
    with pytest.raises(ValueError, match="label_smoothing must be from 0 to 1, got 1.5"):
        F.cross_entropy(x, [0, 1], label_smoothing=1.5)


def test_a_target_on_another_device():
    x = gg.zeros((2, 3), device="sim")
    with pytest.raises(gg.DeviceError, match=r"on sim:0 and the target is on cpu. .*target.to"):
        F.cross_entropy(x, np.array([0, 1]))


# ---------------------------------------------------------------- activations and dropout


def test_dropout(device):
    x = gg.tensor(np.full((100, 100), 3.0), device=device, requires_grad=True)
    y = F.dropout(x, 0.25, generator=gg.random.Generator(5))
    values = host(y)
    assert set(np.unique(values)) == {0.0, 4.0}
    assert abs((values == 0).mean() - 0.25) < 0.02
    y.sum().backward()
    close(x.grad, values / 3)
    assert y.dtype == np.float64


def test_dropout_drops_the_same_on_every_device():
    masks = [
        host(F.dropout(gg.ones((7, 5), device=name), 0.4, generator=gg.random.Generator(5)))
        for name in ("cpu", "sim", *(["cuda"] if gg.cuda.is_available() else []))
    ]
    for mask in masks[1:]:
        assert (mask == masks[0]).all()
    gg.manual_seed(5)
    assert (host(F.dropout(gg.ones((7, 5)), 0.4)) == masks[0]).all()


def test_dropout_of_nothing_and_of_everything(device):
    x = gg.ones(5)
    assert F.dropout(x, 0.0) is x
    assert F.dropout(x, 0.9, training=False) is x
    assert F.dropout(x, 1.0).tolist() == [0.0] * 5


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_dropout_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match="dropout: p is a probability, from 0 to 1"):
        F.dropout(gg.ones(2), p)


def test_dropout_refuses_what_is_no_number():
    with pytest.raises(gg.DTypeError, match="dropout: p must be a number from 0 to 1, got 'half'"):
        F.dropout(gg.ones(2), "half")
