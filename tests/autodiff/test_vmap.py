"""vmap: trees of arguments, axes, levels, derivatives inside and outside, errors."""

from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import pytest
from devices import DEVICES

import gpugrad as gg
from gpugrad.errors import ArgumentError, AxisError, BatchError, DTypeError, ShapeError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(4, 3))
Y = RNG.normal(size=(4, 3))
W = RNG.normal(size=(3, 2))
Y_TENSOR = gg.zeros(3, dtype="float64")


def close(a, b):
    a, b = (
        np.stack([np.asarray(getattr(one, "data", one)) for one in x]) if type(x) is list else x
        for x in (a, b)
    )
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-10, atol=1e-12)


def loss(w, x):
    return (gg.tanh(x @ w) ** 2).sum()


# Arguments and results.


class Pair(NamedTuple):
    a: object
    b: object


@dataclass
class Record:
    a: object
    b: object
    name: str = "a constant"


def test_trees_and_axes():
    def f(tree, scale, *, shift):
        return {"sum": tree["a"].sum() * scale + shift, "pair": (tree["b"][0], tree["a"])}

    tree = {"a": X, "b": [Y.T]}
    result = gg.vmap(f, ({"a": 0, "b": [1]}, None), {"sum": 0, "pair": (0, -1)})(
        tree, 2.0, shift=X[:, 0]
    )
    close(result["sum"], 2 * X.sum(1) + X[:, 0])
    close(result["pair"][0], Y)
    close(result["pair"][1], X.T)
    named = gg.vmap(lambda p: Pair(p.a + 1, p.b), in_axes=(Pair(0, 0),), out_axes=Pair(0, 0))
    assert isinstance(named(Pair(X, Y)), Pair)
    close(gg.vmap(lambda x, y: x @ y, [0, -2])(X, Y), (X * Y).sum(1))
    close(gg.vmap(lambda p: p.a * p.b, (Record(0, None),))(Record(X, 2.0)), 2 * X)


def test_the_type_of_results_is_that_of_the_arguments():
    assert type(gg.vmap(lambda x: x.sum())(X)) is np.ndarray
    assert isinstance(gg.vmap(lambda x: x.sum())(gg.tensor(X)), gg.Tensor)
    w = gg.tensor(W, requires_grad=True)
    assert gg.vmap(lambda x: x @ w)(X).grad_fn is not None
    close(gg.vmap(lambda x: 3.0)(X), np.full(4, 3.0))  # the same for all elements
    close(gg.vmap(lambda x: 3.0, out_axes=None)(X), 3.0)


def test_an_element_has_its_own_shape():
    shapes = []
    gg.vmap(lambda x: shapes.append((x.shape, x.ndim, x.size, len(x))) or x)(X)
    assert shapes == [((3,), 1, 3, 3)]


# Levels, and derivatives on either side of them.


def test_levels_nest():
    outer = gg.vmap(lambda x: gg.vmap(lambda y: x * y + Y[0])(X))(Y)
    close(outer, Y[:, None] * X + Y[0])
    both = gg.vmap(gg.vmap(lambda x, w: x @ w, (0, None)), (None, 0))(X, np.stack([W, 2 * W]))
    close(both, np.stack([X @ W, 2 * X @ W]))
    # Elements of both levels in one index.
    table = np.arange(24.0).reshape(4, 6)
    rows, columns = np.array([3, 1]), np.array([0, 5, 2])
    pick = gg.vmap(lambda r: gg.vmap(lambda c: gg.tensor(table)[r, c])(columns))(rows)
    close(pick, table[rows][:, columns])


def test_derivatives_inside():
    close(gg.vmap(gg.grad(loss), (None, 0))(W, X), [gg.grad(loss)(W, x) for x in X])
    pushed = gg.vmap(lambda x, v: gg.jvp(lambda z: loss(W, z), (x,), (v,))[1])(X, Y)
    close(pushed, [gg.jvp(lambda z: loss(W, z), (x,), (v,))[1] for x, v in zip(X, Y)])
    _, pull_back = gg.vjp(lambda x: gg.tanh(x @ W), X[0])
    close(gg.vmap(pull_back)(np.eye(2))[0], gg.jacobian(lambda x: gg.tanh(x @ W))(X[0]))
    twice = gg.vmap(gg.grad(lambda x: (gg.grad(loss, 1)(W, x) ** 2).sum()))(X)
    close(twice, [gg.grad(lambda x: (gg.grad(loss, 1)(W, x) ** 2).sum())(x) for x in X])


def test_derivatives_outside():
    batched = lambda w: gg.vmap(lambda x: loss(w, x))(X).sum()  # noqa: E731
    looped = lambda w: sum(loss(w, x) for x in X)  # noqa: E731
    close(gg.grad(batched)(W), gg.grad(looped)(W))
    close(gg.jvp(batched, (W,), (W,))[1], gg.jvp(looped, (W,), (W,))[1])
    close(gg.hvp(batched, W, W), gg.hvp(looped, W, W))
    # What is computed from a parameter inside, before an element comes in.
    early = lambda w: gg.vmap(lambda x: loss(gg.exp(w) * 2, x))(X).sum()  # noqa: E731
    close(gg.grad(early)(W), gg.grad(lambda w: looped(gg.exp(w) * 2))(W))


def test_derivatives_on_both_sides():
    slope = gg.grad(loss)
    batched = lambda w: (gg.vmap(lambda x: slope(w, x))(X) ** 2).sum()  # noqa: E731
    looped = lambda w: sum((slope(w, x) ** 2).sum() for x in X)  # noqa: E731
    close(gg.grad(batched)(W), gg.grad(looped)(W))
    of_x = lambda xs: gg.vmap(lambda x: (gg.grad(loss, 1)(W, x) ** 3).sum())(xs).sum()  # noqa: E731
    close(gg.grad(of_x)(X), [gg.grad(lambda x: (gg.grad(loss, 1)(W, x) ** 3).sum())(x) for x in X])


def test_parameters_of_a_model_outside():
    model = gg.nn.Sequential(gg.nn.Linear(3, 5), gg.nn.Tanh(), gg.nn.Linear(5, 1))
    x = gg.tensor(X, dtype="float32")
    gg.vmap(lambda one: model(one).sum())(x).sum().backward()
    batched = [p.grad.numpy() for p in model.parameters()]
    model.zero_grad()
    model(x).sum().backward()
    for own, p in zip(batched, model.parameters(), strict=True):
        np.testing.assert_allclose(own, p.grad.numpy(), rtol=1e-5, atol=1e-6)


HALVES = ["float16", *["bfloat16"] * (find_spec("ml_dtypes") is not None)]


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("way", ["autocast", "half throughout"])
def test_half_precision_with_tensors_from_outside(device, half, way):
    cast = gg.autocast(dtype=half) if way == "autocast" else nullcontext()
    dtype = getattr(gg, "float32" if way == "autocast" else half)
    w = gg.tensor(W, dtype=dtype, device=device, requires_grad=True)
    x = gg.tensor(X, dtype=dtype, device=device)

    def f(x):
        return gg.stack([gg.tanh(x @ w).sum(), (w * w).sum(), gg.exp(w)[0, 0] * x[0]]).sum()

    slopes = []
    for batched in (True, False):
        w.grad = None
        with cast:
            y = gg.vmap(f)(x) if batched else gg.stack([f(row) for row in x])
        y.sum().backward()
        assert w.grad.dtype == dtype
        slopes.append(w.grad.astype("float32").numpy())
    np.testing.assert_allclose(*slopes, rtol=0.03, atol=0.01)


def test_compiled_around_and_inside():
    w = gg.tensor(W, requires_grad=True)

    def step(x):
        total = gg.vmap(lambda one: loss(w, one))(x).sum()
        total.backward()
        return total

    slopes = gg.compile(gg.vmap(gg.grad(loss, 1), (None, 0)))
    compiled, inside = gg.compile(step), gg.vmap(gg.compile(loss), (None, 0))
    for scale in (1.0, -2.0, 0.5):
        x = X * scale
        close(slopes(W, x), [gg.grad(loss, 1)(W, one) for one in x])
        close(inside(W, x), [loss(W, one).item() for one in gg.tensor(x)])
        values = []
        for function in (compiled, step):
            w.grad = None
            values.append((function(gg.tensor(x)).item(), w.grad.numpy().copy()))
        close(values[0][0], values[1][0])
        close(values[0][1], values[1][1])


# Random numbers.


def _attention_with_dropout(x):
    x = gg.stack([x] * 9)
    attention = gg.nn.functional.scaled_dot_product_attention
    values = gg.cumsum(x * 0 + 1, axis=0)  # those that are kept can be told from the sum
    return attention(x * 0, x * 0, values, dropout_p=0.4).sum(-1)


@pytest.mark.parametrize("device", DEVICES)
def test_random_numbers(device):
    x = gg.tensor(X, device=device)
    draws = {
        "uniform": lambda x: x + gg.random.uniform(size=3, dtype="float64", device=device),
        "normal": lambda x: x * 0 + gg.random.normal(size=3, dtype="float32", device=device),
        "integers": lambda x: gg.random.integers(0, 1000, size=3, device=device),
        "permutation": lambda x: gg.random.permutation(x),
        "dropout": lambda x: gg.nn.functional.dropout(x, 0.4),
        "attention": _attention_with_dropout,
    }
    for name, f in draws.items():
        with pytest.raises(BatchError, match='randomness="different"'):
            gg.vmap(f)(x)
        results = []
        for rows in (x, x[:3]):
            gg.random.manual_seed(7)
            results.append(gg.vmap(f, randomness="different")(rows).numpy())
        close(results[0][:3], results[1])  # whatever the size of the batch
        base = 0 if name in ("integers", "permutation", "dropout", "attention") else X
        seen = results[0] - base if name == "uniform" else results[0]
        assert len(np.unique(seen.round(9), axis=0)) == 4
        gg.random.manual_seed(7)
        same = gg.vmap(f, randomness="same")(x).numpy()
        gg.random.manual_seed(7)
        close(same[0], f(x[0]).numpy())

    def all_of(x):
        return [f(x) for f in draws.values() if f is not _attention_with_dropout]

    several = []
    for rows in (x, x[:3]):
        gg.random.manual_seed(7)
        noisy = gg.vmap(all_of, randomness="different")
        several += [noisy(rows), noisy(rows)]
        several.append([gg.random.uniform(size=3, dtype="float64", device=device)])
    for whole, part in zip(several[:3], several[3:]):
        for one, other in zip(whole, part, strict=True):  # also of the later draws, and outside
            close(one.numpy()[:3], other.numpy())
    gg.random.manual_seed(3)
    nested = gg.vmap(gg.vmap(draws["uniform"], randomness="different"), randomness="different")
    numbers = nested(gg.zeros((2, 4, 3), dtype="float64", device=device)).numpy()
    assert len(np.unique(numbers)) == 24
    with pytest.raises(ArgumentError, match="one of error, different, same, got 'other'"):
        gg.vmap(gg.sum, randomness="other")


# Indices and assignments.


@pytest.mark.parametrize("device", DEVICES)
def test_indices_that_differ(device):
    x, i = gg.tensor(X, device=device), gg.tensor(np.array([2, 0, 1, 2]), device=device)
    own = np.arange(4)
    close(gg.vmap(lambda r, k: r[k])(x, i).numpy(), X[own, i.numpy()])
    close(gg.vmap(lambda k: x[:, k])(i).numpy(), X[:, i.numpy()].T)
    close(gg.vmap(lambda r, k: r.at[k].set(9.0))(x, i).numpy()[own, i.numpy()], np.full(4, 9.0))
    close(gg.vmap(lambda r, k: r.at[k].add(r[0]))(x, i).numpy().sum(1), X.sum(1) + X[:, 0])
    close(gg.vmap(lambda r: r.at[r > 0].set(0.0))(x).numpy(), np.minimum(X, 0))
    close(gg.vmap(lambda r: gg.where(r > 0, r, 0.5))(x).numpy(), np.where(X > 0, X, 0.5))


def _filled(x):
    y = x * 1
    y[0] = x[1] * 2
    y[x[0].argsort()] = x * x[2]
    y[:, 1] *= 3.0
    return y


# Functions of a matrix, whose indices depend on it: alike ones, too.
BY_INDEX = {
    "add a number": lambda x: x.at[0].add(2.0),
    "add a row": lambda x: x.at[:2].add(x[2]),
    "add at": lambda x: x.at[x.argmax(axis=1)].add(x),
    "set at": lambda x: x.at[x.argmax(axis=1)].set(x * 2),
    "set in constants": lambda x: gg.zeros(3, dtype="float64").at[x.argmax(axis=0)].set(x[0]),
    "set at two": lambda x: x.at[x.argmax(axis=1), x.argmin(axis=1)].set(x[0]),
    "assign": _filled,
    "interp": lambda x: gg.interp(x[0], np.array([-1.0, 0.0, 1.0]), x[1]),
    "interp between": lambda x: gg.interp(x[0], gg.sort(x[1]), x[2]),
    "cumprod": lambda x: gg.cumprod(x, axis=1),
    "eigenvalues": lambda x: gg.linalg.eigvalsh(x + x.T),
}


@pytest.mark.parametrize("device", DEVICES)
def test_indices_that_depend_on_values(device, rng):
    if device != "cpu":  # of the devices, what runs without waiting for values
        names = ("add a number", "add at", "set at", "interp between")
    else:
        names = tuple(BY_INDEX)
    x = gg.tensor(rng.normal(size=(4, 3, 3)), device=device)
    with gg.device(device):
        for name in names:
            f = BY_INDEX[name]
            loop = gg.stack([f(one) for one in x])
            close(gg.vmap(f)(x).numpy(), loop.numpy())
            # Of two levels, of which only the outer one has the matrix.
            two = gg.vmap(lambda one, f=f: gg.vmap(lambda c: f(one) * c)(one[0]))(x)
            close(
                two.numpy(), (loop[:, None] * x[:, 0].reshape(4, 3, *[1] * (loop.ndim - 1))).numpy()
            )
            slope = gg.grad(lambda one, f=f: (f(one) ** 2).sum())
            slopes = gg.stack([slope(one) for one in x])
            close(gg.vmap(slope)(x).numpy(), slopes.numpy())
            close(gg.grad(lambda x, f=f: (gg.vmap(f)(x) ** 2).sum())(x).numpy(), slopes.numpy())
            if device == "cpu":
                pushed = gg.stack([gg.jacobian(f, mode="forward")(one) for one in x[:2]])
                close(gg.vmap(gg.jacobian(f, mode="forward"))(x[:2]).numpy(), pushed.numpy())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_searches_in_vectors_that_differ(device, side):
    a = np.array([[0.0, 1.0, 1.0, 2.0], [-3.0, 0.0, 0.0, np.nan], [5.0, 5.0, 5.0, 5.0]])
    v = np.array(
        [[[1.0, -1.0], [2.0, 9.0]], [[0.0, np.nan], [-3.0, 1.0]], [[5.0, 4.0], [6.0, 5.0]]]
    )
    f = lambda a, v: gg.searchsorted(a, v, side)  # noqa: E731
    a_there, v_there = gg.tensor(a, device=device), gg.tensor(v, device=device)
    found = gg.vmap(f)(a_there, v_there).numpy()
    np.testing.assert_array_equal(found, [np.searchsorted(*pair, side) for pair in zip(a, v)])
    found = gg.vmap(f, (0, None))(a_there, v_there[0]).numpy()
    np.testing.assert_array_equal(found, [np.searchsorted(one, v[0], side) for one in a])
    found = gg.vmap(f, (None, 0))(a_there[0], v_there).numpy()
    np.testing.assert_array_equal(found, [np.searchsorted(a[0], one, side) for one in v])


def test_a_batched_tensor_prints(capsys):
    gg.vmap(lambda x: print(x) or x)(X)
    assert capsys.readouterr().out == "tensor(<batched array: float64[3] for each of 4>)\n"


def test_assignments():
    def f(x):
        y = gg.zeros_like(x)
        y[1:] = x[:2] * 2
        y[0] += 1.0
        return y

    close(gg.vmap(f)(X), [f(gg.tensor(x)).numpy() for x in X])
    slope = gg.vmap(gg.grad(lambda x: (f(x) ** 2).sum()))(X)
    close(slope, [gg.grad(lambda x: (f(x) ** 2).sum())(x) for x in X])


# Programs of several ops, under two levels.

STEPS = [
    lambda x: gg.tanh(x) * 2,
    lambda x: x + x[::-1],
    lambda x: x - x.mean(),
    lambda x: gg.softmax(x * 1.5, axis=-1),
    lambda x: gg.concat([x[1:], x[:1] * 0.5]),
    lambda x: gg.where(x > 0.1, x, x**2),
    lambda x: (x[:, None] * x[None, :]).sum(axis=0) + x,
    lambda x: gg.cumsum(x) / 3,
    lambda x: x[gg.argsort(x)],
    lambda x: gg.maximum(x, 0.2 * x),
    lambda x: x.reshape(2, 2).T.reshape(-1),
    lambda x: gg.linalg.solve(x[:, None] * x[None, :] + gg.eye(4, dtype=x.dtype) * 3, x),
    lambda x: gg.sort(x) * gg.norm(x) if hasattr(gg, "norm") else gg.sort(x),
]


@pytest.mark.parametrize("seed", range(12))
def test_programs_under_two_levels(seed):
    rng = np.random.default_rng(seed)
    steps = [STEPS[k] for k in rng.integers(len(STEPS), size=rng.integers(5, 16))]

    def f(x, y):
        x = gg.stack([x, y, x * y, x - y])
        for step in steps:
            x = step(x)
        return x @ gg.arange(1.0, 5.0, dtype="float64")

    xs, ys = rng.normal(size=3), rng.normal(size=2)
    grid = lambda g: gg.vmap(lambda x: gg.vmap(lambda y: g(x, y))(ys))(xs)  # noqa: E731
    close(grid(f), [[f(gg.tensor(x), gg.tensor(y)).item() for y in ys] for x in xs])
    slope = gg.grad(f, (0, 1))
    expected = np.array([[slope(x, y) for y in ys] for x in xs])
    for index in (0, 1):
        close(grid(lambda x, y, index=index: slope(x, y)[index]), expected[..., index])
    total = gg.grad(lambda a, b: gg.vmap(lambda x: gg.vmap(lambda y: f(x, y))(b))(a).sum(), (0, 1))
    of_xs, of_ys = total(xs, ys)
    close(of_xs, expected[..., 0].sum(1))
    close(of_ys, expected[..., 1].sum(0))


# Errors.


def test_python_that_depends_on_a_value_raises_with_its_line():
    def f(x):
        return x if x.sum() > 0 else -x  # decides by a value

    with pytest.raises(BatchError, match=r"test_vmap.py.*decides by a value.*gg.where"):
        gg.vmap(f)(X)
    with pytest.raises(BatchError, match=r"gg\.take\(x, k \+ gg\.arange\(n\)\)"):
        gg.vmap(lambda k: gg.tensor(X)[k : k + 2])(np.arange(3))
    for read in (float, int, np.asarray, lambda x: x.item(), lambda x: x.numpy()):
        with pytest.raises(BatchError, match="is asked for"):
            gg.vmap(lambda x, read=read: read(x[0]))(X)
    with pytest.raises(BatchError, match=r"gg\.where\(mask, x, 0\)"):
        gg.vmap(lambda x: x[x > 0])(X)
    for index, value in ((0, lambda x: x[0]), (slice(0, 2), lambda x: x[:2])):
        with pytest.raises(BatchError, match=r"at\[index\]\.set"):
            gg.vmap(lambda x, i=index, v=value: Y_TENSOR.__setitem__(i, v(x)))(X)


def test_a_gradient_by_what_is_outside_is_refused():
    w = gg.tensor(W, requires_grad=True)
    with pytest.raises(BatchError, match="gradients: an input comes from outside"):
        gg.vmap(lambda x: gg.gradients(loss(w, x), w))(X)
    inside = gg.vmap(lambda w, x: gg.gradients(loss(w, x), w), (None, 0))
    with pytest.raises(BatchError, match="gradients: an input comes from outside"):
        inside(w, X)

    def own(x):
        v = (gg.tensor(W) * 1.0).requires_grad_()
        return gg.gradients(loss(v, x), v)

    close(gg.vmap(own)(X), [gg.grad(loss)(W, x) for x in X])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: gg.vmap(gg.sum, 2)(X),
            AxisError,
            r"argument 0 has the shape \(4, 3\), and no axis 2",
        ),
        (lambda: gg.vmap(gg.add)(X, 1.0), AxisError, "argument 1 is a number, and no axis 0"),
        (lambda: gg.vmap(gg.sum)([1.0, 2.0]), AxisError, "make an array of a list of numbers"),
        (lambda: gg.vmap(gg.sum)(X, axis=0), AxisError, r"axis is a number.*functools\.partial"),
        (
            lambda: gg.vmap(lambda k: gg.random.Generator(k).bits())(np.arange(3)),
            BatchError,
            'seed of a generator is the same .* randomness="different"',
        ),
        (
            lambda: gg.vmap(lambda i: X[i])(np.arange(3)),
            BatchError,
            r"write gg\.asarray\(array\)\[i\]",
        ),
        (
            lambda: gg.vmap(gg.add, (0, 1))(X, Y),
            ShapeError,
            "argument 0 has 4 along axis 0, argument 1 has 3 along axis 1",
        ),
        (lambda: gg.vmap(gg.add, None)(X, Y), ArgumentError, "no argument has an axis of elements"),
        (lambda: gg.vmap(gg.add, (0,))(X, Y), ArgumentError, "an entry for each of 2 positional"),
        (lambda: gg.vmap(gg.sum, "0")(X), ArgumentError, "expected in_axes to be a whole number"),
        (lambda: gg.vmap(gg.sum, ({"a": 0},))({"b": X}), ArgumentError, "which is {'b': "),
        (lambda: gg.vmap(lambda x: "text")(X), DTypeError, "vmap: .*got 'text'"),
        (lambda: gg.vmap(lambda x: None)(X), DTypeError, "Is there a `return` missing"),
        (lambda: gg.vmap(gg.sum, 0, 1)(X), AxisError, "out_axes names"),
        (lambda: gg.vmap(gg.sum, 0, None)(X), BatchError, "out_axes is None for its result"),
        (lambda: gg.vmap(3), gg.errors.GradientError, "expected a function"),
    ],
    ids=range(16),
)
def test_errors_are_sentences(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_batch_normalization_says_what_to_do():
    layer, x = gg.nn.BatchNorm1d(3, dtype="float64"), np.stack([X, Y])
    with pytest.raises(
        BatchError, match=r"batch_norm: .*running statistics.*\.eval\(\).*GroupNorm"
    ):
        gg.vmap(layer)(x)
    close(layer.running_mean, np.zeros(3))
    alone = gg.nn.BatchNorm1d(3, track_running_stats=False, dtype="float64")
    for one in (alone, layer.eval()):
        rows = [one(part).detach().numpy() for part in x]
        close(gg.vmap(one)(x).detach(), np.stack(rows))


def test_tangents_that_are_zero_by_choice_come_out_of_a_batch(device, monkeypatch):
    """Also where they are looked up for graphs over several devices."""
    monkeypatch.setattr("gpugrad.engine.support.has_moved", lambda: True)

    def f(x):
        return gg.sqrt(gg.where(x > 0, x, 0.0))

    x = gg.tensor([[4.0, -1.0], [0.0, 1.0]], device=device)
    _, tangent = gg.jvp(lambda x: gg.vmap(f)(x), (x,), (gg.ones_like(x),))
    assert tangent.tolist() == [[0.25, 0.0], [0.0, 0.5]]


@pytest.mark.parametrize("axes", [(None, 0), (0, None), (0, 0)])
def test_a_pull_back_takes_batched_cotangents_beside_others(axes):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 3))
    seeds = [
        rng.normal(size=shape if axis is None else (4, *shape))
        for axis, shape in zip(axes, ((3,), (3, 3)))
    ]
    _, pull = gg.vjp(lambda x: tuple(gg.linalg.eigh(x @ x.T)), x)
    got = gg.vmap(lambda *each: pull(each), in_axes=axes)(*seeds)
    for i in range(4):
        own = [seed if axis is None else seed[i] for axis, seed in zip(axes, seeds)]
        np.testing.assert_allclose(got[0][i], pull(tuple(own))[0], rtol=1e-10)


@pytest.mark.parametrize("out_axes", [(0, 0), (0, None), (1, -1)])
def test_gradients_of_results_that_are_the_same_for_all_elements(out_axes):
    """Beside those of results of each element, by one argument."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 3)), rng.normal(size=3)

    def f(x, y):
        return x * y**2, gg.sin(y)

    def loss(x, y):
        each, same = gg.vmap(f, in_axes=(0, None), out_axes=out_axes)(x, y)
        return (each**2).sum() + (same**2).sum()

    def looped(x, y):
        pairs = [f(row, y) for row in x]
        count = 1 if out_axes[1] is None else len(pairs)
        return sum((a**2).sum() for a, _ in pairs) + count * (gg.sin(y) ** 2).sum()

    for of in (lambda f: gg.grad(f, (0, 1)), lambda f: gg.hessian(f, (0, 1))):
        got, expected = of(loss)(x, y), of(looped)(x, y)
        for a, b in zip(gg.autodiff.tree.flatten(got)[0], gg.autodiff.tree.flatten(expected)[0]):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
