"""gg.scan inside of gg.vmap in compiled functions: one loop over the batch, with derivatives."""

import numpy as np
import pytest
from scans import CASES, by_hand
from test_compiled_scan import TRANSFORMS, programs, values

import gpugrad as gg


def pairs(count, seed=0):
    """Batches of the operands of `CASES`."""
    rng = np.random.default_rng(seed)
    return tuple(gg.tensor(rng.normal(size=(count, *shape))) for shape in ((6, 3), (3, 3)))


def by_element(f, x, w):
    """The results for each element, by loops of Python, as arrays."""
    rows = [values(f((one, other))) for one, other in zip(x, w)]
    return [np.stack(column) for column in zip(*rows)]


def check(compiled, f, axes=None):
    for seed in range(2):
        x, w = pairs(3, seed)
        for got, one in zip(values(compiled((x, w))), by_element(f, x, w), strict=True):
            np.testing.assert_allclose(got, one, rtol=1e-10, atol=1e-10)
    assert any(step.name == "scan" for one in programs(compiled) for step in one.steps)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", CASES)
def test_a_batch_of_loops_is_one_loop(name, transform, by_numpy):
    f, of = CASES[name], TRANSFORMS[transform]
    compiled = gg.compile(gg.vmap(of(lambda pair: f(gg.scan, *pair))))
    check(compiled, of(lambda pair: f(by_hand, *pair)))


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_of_a_batch_of_loops(name, by_numpy):
    """From outside, also by what all elements share; with each of the ways to loop."""
    f = CASES[name]
    x, w = pairs(3)[0], pairs(1)[1][0]
    for kwargs in ({}, {"reverse": True}, {"checkpoint": 2}):

        def total(scan, x, w):
            rows = [f(scan, one, w, **kwargs) for one in x]  # noqa: B023
            return sum(row * (i + 1) for i, row in enumerate(rows))

        def batched(x, w):
            own = gg.vmap(lambda one: f(gg.scan, one, w, **kwargs))  # noqa: B023
            return (own(x) * gg.asarray(np.arange(1.0, 4.0))).sum()

        compiled = gg.compile(gg.grad(batched, argnums=(0, 1)))
        expected = gg.grad(lambda x, w: total(by_hand, x, w), argnums=(0, 1))(x, w)
        for _ in range(2):
            for got, one in zip(values(compiled(x, w)), values(expected), strict=True):
                np.testing.assert_allclose(got, one, rtol=1e-10, atol=1e-10)
        assert any(step.name == "scan" for one in programs(compiled) for step in one.steps)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("name", CASES)
def test_batches_of_batches_that_share(name, order, by_numpy):
    """Two levels: rows of x by the outer one, of w by the inner one; derivatives inside."""
    f = CASES[name]

    def of(scan):
        def one(x, w):
            return f(scan, x, w)

        derived = gg.grad(one, argnums=(0, 1)) if order else one
        if order == 2:
            return gg.grad(lambda x, w: sum((g * g).sum() for g in derived(x, w)), argnums=(0, 1))
        return derived

    rows = gg.vmap(gg.vmap(of(gg.scan), in_axes=(None, 0)), in_axes=(0, None))
    compiled, (x, w) = gg.compile(rows), pairs(2)
    expected = [[values(of(by_hand)(one, other)) for other in w] for one in x]
    for number, got in enumerate(values(compiled(x, w))):
        own = np.array([[parts[number] for parts in row] for row in expected])
        np.testing.assert_allclose(got, own, rtol=1e-9, atol=1e-9)
    steps = [step for one in programs(compiled) for step in one.steps]
    assert any(step.name == "scan" for step in steps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_carries_that_begin_with_numbers(dtype, by_numpy):
    def f(scan, x):
        def step(carry, one):
            count, total, number = carry
            return (count + 1, total + one * count, number * 0.5), (total, number)

        (count, total, number), (totals, numbers) = scan(step, (0, 0.0, 2.0), x)
        return total * count + number, totals, numbers

    x = gg.tensor(np.arange(12.0).reshape(3, 4), dtype=dtype)
    compiled = gg.compile(gg.vmap(lambda one: f(gg.scan, one)))
    eager = gg.vmap(lambda one: f(gg.scan, one))(x)
    for got, one in zip(values(compiled(x)), values(eager), strict=True):
        np.testing.assert_allclose(got, one)
        assert got.dtype == one.dtype


def test_a_jacobian_of_each_element(by_numpy):
    """Its rows are loops of their own."""

    def f(scan, x):
        return scan(lambda c, _: (gg.sin(c) * x, None), x, None, 4)[0]

    x = pairs(2)[0][:, 0]
    compiled = gg.compile(gg.vmap(gg.jacobian(lambda one: f(gg.scan, one))))
    expected = np.stack([gg.jacobian(lambda one: f(by_hand, one))(one).numpy() for one in x])
    np.testing.assert_allclose(compiled(x).numpy(), expected, rtol=1e-12)


def test_batched_loops_in_c():
    rng = np.random.default_rng(0)
    w, x = gg.tensor(rng.normal(size=(4, 4)) / 2), gg.tensor(rng.normal(size=(8, 5, 4)))

    def loss(scan, w, x):
        h, ys = scan(lambda h, one: (gg.tanh(h @ w + one), h.sum()), x[0] * 0, x)
        return (h * h).sum() + ys.sum()

    compiled = gg.compile(gg.vmap(gg.grad(lambda w, x: loss(gg.scan, w, x)), in_axes=(None, 0)))
    expected = [gg.grad(lambda w, x: loss(by_hand, w, x))(w, one).numpy() for one in x]
    for _ in range(2):
        np.testing.assert_allclose(compiled(w, x).numpy(), expected, rtol=1e-10, atol=1e-12)
    assert "0 NumPy steps" in compiled.report()


def pulled(f, x, w):
    """Pull-backs of a derivative, of a batch of cotangents."""
    _, pull = gg.vjp(gg.grad(f, argnums=(0, 1)), x, w)
    xs, ws = pairs(2, 5)
    return gg.vmap(lambda a, b: pull((a, b)))(xs, ws)


def pulled_by_what_is_shared(f, x, w):
    """Of two levels, by an argument and not by what comes from outside."""
    _, pull = gg.vjp(lambda x: f(x, w * 2.0), x)
    return gg.vmap(gg.vmap(pull))(gg.asarray(np.arange(6.0).reshape(2, 3)))


def pushed(f, x, w):
    _, push = gg.linearize(f, x, w)
    return gg.vmap(push)(*pairs(2, 5))


OUTSIDE = {
    "pulled": pulled,
    "shared": pulled_by_what_is_shared,
    "pushed": pushed,
    "of each": lambda f, x, w: gg.vmap(lambda one: pulled(f, one, w))(gg.stack([x, x * 0.5])),
    "derived": lambda f, x, w: gg.grad(
        lambda x, w: sum((d * d).sum() for d in pulled(f, x, w)), argnums=(0, 1)
    )(x, w),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("way", OUTSIDE)
def test_batches_over_the_derivative_of_a_loop_outside(way, name, by_numpy):
    f, of = CASES[name], OUTSIDE[way]
    x, w = (one[0] for one in pairs(1))
    compiled = gg.compile(lambda x, w: of(lambda x, w: f(gg.scan, x, w), x, w))
    expected = of(lambda x, w: f(by_hand, x, w), x, w)
    for _ in range(2):
        for got, one in zip(values(compiled(x, w)), values(expected), strict=True):
            np.testing.assert_allclose(got, one, rtol=1e-9, atol=1e-9)
    scans = [step for one in programs(compiled) for step in one.steps if step.name == "scan"]
    assert 0 < len(scans) < 40 or (way, name) == ("derived", "unused")


def test_a_jacobian_of_a_loop_is_a_loop_of_all_rows(by_numpy):
    x, w = (one[0] for one in pairs(1))

    def f(scan, x):
        return scan(lambda h, one: (gg.tanh(h @ w + one), h), x[0], x)[1]

    counts = []
    for rows in (x[:2], x):
        compiled = gg.compile(gg.jacobian(lambda x: f(gg.scan, x), mode="reverse"))
        expected = gg.jacobian(lambda x: f(by_hand, x))(rows).numpy()
        np.testing.assert_allclose(compiled(rows).numpy(), expected, rtol=1e-10, atol=1e-12)
        steps = [step for one in programs(compiled) for step in one.steps]
        counts.append(sum(step.name == "scan" for step in steps))
    assert counts == [2, 2]
