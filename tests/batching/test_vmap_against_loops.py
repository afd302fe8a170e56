"""What meets in few programs, under `vmap` and by loops over the elements.

Custom ops under two levels, what is outside of them, reductions with ``where`` and ``initial``,
batches of none and of one, axes counted from the end, trees, hooks of functional calls.
"""

import dataclasses
from itertools import product

import numpy as np
import pytest

import gpugrad as gg

F = gg.nn.functional
RNG = np.random.default_rng(3)
X = RNG.normal(size=(5, 3, 4))
GRID = {"both": (0, 0), "outer": (0, None), "inner": (None, 0), "none": (None, None)}


def numpy(one):
    return one.detach().numpy() if isinstance(one, gg.Tensor) else np.asarray(one)


def stacked(rows):
    return np.stack([numpy(one) for one in rows])


def close(found, expected):
    found, expected = numpy(found), numpy(expected)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


def squares(f):
    return lambda *operands: (f(*operands) ** 2).sum()


OWN_OPS = {
    "rule": gg.custom_op(
        lambda xp, x, y: xp.sin(x) * xp.sum(y) + xp.matmul(x, y),
        lambda xp, g, out, x, y: (
            g * xp.cos(x) * xp.sum(y) + xp.sum(g) * y,
            xp.sum(g * xp.sin(x)) * xp.ones_like(y) + xp.sum(g) * x,
        ),
    ),
    "tangents": gg.custom_op(
        lambda xp, x, y: xp.sin(x) * y, None, lambda xp, t, out, x, y: (
            t[0] * xp.cos(x) * y + xp.sin(x) * t[1]
        ),
    ),
    "elementwise": gg.custom_op(
        lambda xp, x, y: x * xp.exp(y),
        [lambda xp, g, out, x, y: g * xp.exp(y), lambda xp, g, out, x, y: g * out],
        kind="elementwise",
    ),
    "saved": gg.custom_op(
        lambda xp, x, y: gg.saved(xp.exp(x) * y, e=xp.exp(x)),
        lambda xp, g, out, x, y, e: (g * e * y, g * e),
    ),
    "several": gg.custom_op(
        lambda xp, x, y: (x * y, xp.sum(x)), lambda xp, g, out, x, y: (g[0] * y + g[1], g[0] * x)
    ),
    "host": gg.custom_op(
        lambda xp, x, y: np.sin(x) * y.sum(),
        lambda xp, g, out, x, y: (
            g * np.cos(x) * y.sum(), (g * np.sin(x)).sum() * np.ones_like(y)
        ),
        host=True,
    ),
}  # fmt: skip
DERIVATIVES = {
    "value": lambda f: f,
    "by x": lambda f: gg.grad(squares(f)),
    "by y": lambda f: gg.grad(squares(f), 1),
    "forward": lambda f: lambda x, y: gg.jvp(f, (x, y), (y, x))[1],
    "second": lambda f: lambda x, y: gg.hvp(lambda x: squares(f)(x, y), x, y),
}


def _part(array, axes):
    """An array of a grid without the axes that are None."""
    return array[tuple(0 if axis is None else slice(None) for axis in axes)]


@pytest.mark.parametrize("name", OWN_OPS)
def test_custom_ops_under_two_levels(name):
    """Each operand with the outer level, the inner one, both or none."""
    f = OWN_OPS[name]
    if name == "several":
        f = lambda x, y: sum(OWN_OPS[name](x, y))  # noqa: E731
    a, b = RNG.normal(size=(2, 3, 2, 4))
    for of_x, of_y in product(GRID, GRID):
        outer, inner = zip(GRID[of_x], GRID[of_y])
        if (None, None) in (outer, inner):
            continue
        x, y = gg.tensor(_part(a, GRID[of_x])), gg.tensor(_part(b, GRID[of_y]))

        def each(one, axes, i, j):
            one = one if axes[0] is None else one[i]
            return one if axes[1] is None else one[j]

        def pairs(x, y, of_x=of_x, of_y=of_y, each=each):
            return [
                [(each(x, GRID[of_x], i, j), each(y, GRID[of_y], i, j)) for j in range(2)]
                for i in range(3)
            ]

        def batched(f, outer=outer, inner=inner):
            return gg.vmap(gg.vmap(f, inner), outer)

        for way, of in DERIVATIVES.items():
            if not (name == "host" and way == "second"):
                rows = [stacked([of(f)(*pair) for pair in row]) for row in pairs(x, y)]
                close(batched(of(f))(x, y), stacked(rows))
        for index in (0, 1):  # through the levels
            found = gg.grad(squares(batched(f)), index)(x, y)
            expected = gg.grad(
                lambda x, y, pairs=pairs: sum(squares(f)(*p) for row in pairs(x, y) for p in row),
                index,
            )
            close(found, expected(x, y))


def _changed(w, y):
    z = y * 1
    z[0] = w[1] * 2
    z += w
    return z


def _changed_by_a_view(w, y):
    z = w * 1
    part = z[1:]
    part *= 2
    return z * y


OUTSIDE = {
    "scan": lambda w, y: gg.scan(lambda c, x: (c * gg.sin(w)[0] + x, c * w), y[0], y)[1],
    "changed": _changed,
    "changed by a view": _changed_by_a_view,
    "own": lambda w, y: OWN_OPS["elementwise"](w, y),
    "own of it alone": lambda w, y: OWN_OPS["elementwise"](w, w),
    "own of an array": lambda w, y: OWN_OPS["elementwise"](w, np.arange(4.0)) * y,
    "hessian": lambda w, y: gg.hessian(lambda z: (gg.sin(w) * z * z).sum())(y),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_gradients_of_what_comes_from_outside(name):
    f, w, ys = OUTSIDE[name], X[0, 0], X[1]
    batched = lambda w: squares(gg.vmap(lambda y: f(w, y)))(gg.tensor(ys))  # noqa: E731
    looped = lambda w: sum(squares(lambda y: f(w, y))(gg.tensor(y)) for y in ys)  # noqa: E731
    close(gg.grad(batched)(gg.tensor(w)), gg.grad(looped)(gg.tensor(w)))
    close(gg.hessian(batched)(gg.tensor(w)), gg.hessian(looped)(gg.tensor(w)))
    leaf = gg.tensor(w, requires_grad=True)
    batched(leaf).backward()
    close(leaf.grad, gg.grad(looped)(gg.tensor(w)))
    scales = gg.tensor([1.0, 2.0], dtype="float64")
    two = lambda w: squares(gg.vmap(lambda s: gg.vmap(lambda y: f(w, y * s))(gg.tensor(ys))))  # noqa: E731
    close(
        gg.grad(lambda w: two(w)(scales))(gg.tensor(w)),
        gg.grad(lambda w: sum(squares(f)(w, gg.tensor(y) * s) for y in ys for s in (1.0, 2.0)))(
            gg.tensor(w)
        ),
    )


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "std", "var", "any", "all"])
def test_reductions_with_where_and_initial(name):
    reduce, masks = getattr(gg, name), RNG.random((5, 3, 4)) > 0.3
    masks[:, 0] = masks[:, :, 0] = True  # so that each reduction has an element
    more = [{}]
    if name in ("sum", "prod", "max", "min"):
        more = [{"initial": -0.5}] if name in ("max", "min") else [{}, {"initial": 0.5}]
    for axis, keepdims, keywords in product((None, 0, -1, (0, 1)), (False, True), more):

        def f(x, mask, axis=axis, keepdims=keepdims, keywords=keywords):
            return reduce(x, axis=axis, keepdims=keepdims, where=mask, **keywords)

        for axes in ((0, 0), (0, None), (None, 0), (0, "row")):
            operands = [X, masks]
            if axes[1] == "row":
                axes, operands[1] = (0, 0), masks[:, :1]
            given = [gg.tensor(one if axis == 0 else one[0]) for one, axis in zip(operands, axes)]
            rows = [
                [gg.tensor(one[i if axis == 0 else 0]) for one, axis in zip(operands, axes)]
                for i in range(5)
            ]
            close(gg.vmap(f, axes)(*given), stacked([f(*row) for row in rows]))
            if name not in ("any", "all"):
                slope = gg.grad(squares(f))
                close(gg.vmap(slope, axes)(*given), stacked([slope(*row) for row in rows]))


_lstm = gg.nn.LSTM(4, 2, dtype="float64")
OF_ANY_SIZE = {
    "sum": lambda x: x.sum(),
    "matmul": lambda x: x @ x.T,
    "gather": lambda x: x[gg.argsort(x[:, 0])],
    "scatter": lambda x: x.at[gg.argmax(x[:, 0])].set(x[0]),
    "solve": lambda x: gg.linalg.solve(x @ x.T + gg.eye(3, dtype="float64"), x),
    "convolution": lambda x: F.conv2d(x[None, None], gg.ones((2, 1, 2, 2), dtype="float64")),
    "own weights": lambda x: F.conv2d(x[None, None], x[None, None, :2, :2]),
    "transposed": lambda x: F.conv_transpose2d(x[None, None], x[None, None, :2, :2]),
    "pool": lambda x: F.max_pool2d(x[None, None], 2),
    "average": lambda x: F.avg_pool2d(x[None, None], 2),
    "convolve": lambda x: gg.convolve(x[0], x[1]),
    "cross-entropy": lambda x: F.cross_entropy(x, gg.asarray([0, 1, 3])),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x),
    "recurrent": lambda x: _lstm(x)[0],
    "scan": lambda x: gg.scan(lambda c, row: (c + row, c * row), x[0], x)[1],
    "host": lambda x: OWN_OPS["host"](x[0], x[1]),
    "changed": lambda x: _changed(x[0], x[1]),
}


@pytest.mark.parametrize("name", OF_ANY_SIZE)
def test_batches_of_none_and_of_one(name):
    """Their results are the first ones of a larger batch, along each axis."""
    f = OF_ANY_SIZE[name]
    slope, slid = gg.grad(squares(f)), lambda x: gg.jvp(f, (x,), (x * 2,))[1]
    whole = {g: stacked([g(gg.tensor(one)) for one in X]) for g in (f, slope, slid)}
    for size in (0, 1):
        for axis in (0, 1, -1, -2):
            xs = gg.tensor(np.moveaxis(X[:size], 0, axis).copy())
            for g, expected in whole.items():
                close(gg.vmap(g, in_axes=axis)(xs), expected[:size])
            back = gg.vmap(f, in_axes=axis, out_axes=-1)(xs)
            close(back, np.moveaxis(whole[f][:size], 0, -1))
        xs = gg.tensor(X[:size])
        close(gg.vmap(f, chunk_size=1)(xs), whole[f][:size])
        close(gg.grad(squares(gg.vmap(f)))(xs), whole[slope][:size])
        scales = gg.tensor([1.0, 1.0], dtype="float64")
        for two in (
            gg.vmap(lambda s, xs=xs: gg.vmap(lambda x: f(x * s))(xs))(scales),
            gg.vmap(lambda x: gg.vmap(lambda s: f(x * s))(gg.ones_like(x[0, :2])), out_axes=1)(xs),
        ):
            close(two, np.stack([whole[f][:size]] * 2))


@dataclasses.dataclass
class Line:
    w: object
    b: object


@dataclasses.dataclass(frozen=True)
class Problem:
    line: Line
    x: object
    name: str = "a"


def test_trees_with_axes_counted_from_the_end():
    w, b = RNG.normal(size=(3, 2, 4)), RNG.normal(size=(3, 4))
    x = RNG.normal(size=(5, 3, 2))

    def f(problem):
        line = problem.line
        return Line(problem.x @ line.w + line.b, {"sums": [line.w.sum(), problem.x]})

    axes = Problem(Line(0, -2), -2, None)
    found = gg.vmap(f, (axes,), Line(-1, {"sums": [0, 1]}))(Problem(Line(w, b), x))
    rows = [Problem(Line(w[i], b[i]), x[:, i]) for i in range(3)]
    expected = [f(row) for row in rows]
    assert type(found) is Line
    close(found.w, np.stack([one.w for one in expected], axis=-1))
    close(found.b["sums"][0], stacked([one.b["sums"][0] for one in expected]))
    close(found.b["sums"][1], x.swapaxes(0, 1).swapaxes(0, 1))
    slope = gg.grad(lambda problem: (f(problem).w ** 2).sum())
    found = gg.vmap(slope, (axes,))(Problem(Line(w, b), x))
    assert found.name == "a"
    for get in (lambda p: p.line.w, lambda p: p.line.b, lambda p: p.x):
        close(get(found), stacked([get(slope(row)) for row in rows]))


class _Hooked(gg.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = gg.nn.Linear(4, 3, dtype="float64")
        self.last = gg.nn.Linear(3, 1, dtype="float64")

    def forward(self, x):
        h = gg.tanh(self.first(x))
        if h.requires_grad:
            h.register_hook(lambda g: g * 3)
        if self.last.weight.requires_grad:
            self.last.weight.register_hook(lambda g: g / (1 + (g**2).sum()))
        return self.last(h).sum()


def test_hooks_of_functional_calls_see_each_element():
    model = _Hooked()
    own = {name: p.detach() for name, p in model.named_parameters()}
    many = {name: gg.stack([p, p * 2]) for name, p in own.items()}

    def loss(parameters, x):
        return gg.functional_call(model, parameters, x) ** 2

    slope, xs = gg.grad(loss), gg.tensor(X[0])
    found = gg.vmap(slope, (None, 0))(own, xs)
    grid = gg.vmap(lambda p: gg.vmap(slope, (None, 0))(p, xs))(many)
    for name in own:
        rows = [[slope({n: p[k] for n, p in many.items()}, x)[name] for x in xs] for k in (0, 1)]
        close(found[name], stacked(rows[0]))
        close(grid[name], stacked([stacked(row) for row in rows]))
