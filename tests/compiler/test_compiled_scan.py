"""gg.scan inside of compiled functions: a loop of the program, with every derivative."""

import numpy as np
import pytest
from devices import in_turn
from scans import CASES, by_hand, inputs

import gpugrad as gg
from gpugrad.backend.device import to_numpy
from gpugrad.compiler.c import functions as c_functions
from gpugrad.compiler.programs.loop import Loop

KWARGS = ({}, {"reverse": True}, {"checkpoint": 2})
TRANSFORMS = {
    "value": lambda f: f,
    "gradient": gg.grad,
    "curvature": lambda f: lambda pair: gg.hvp(f, pair, (gg.ones_like(pair[0]), pair[1])),
    "tangent": lambda f: lambda pair: gg.jvp(f, (pair,), ((gg.ones_like(pair[0]), pair[1]),)),
}


def values(result):
    return [to_numpy(one.data) for one in (result if isinstance(result, tuple) else (result,))]


def programs(compiled):
    """The programs of a compiled function, with those of its loops."""
    programs = [entry.program for several in compiled._entries.values() for entry in several]
    for program in programs:
        programs += [step.parameters["loop"].body for step in program.steps if step.name == "scan"]
    return programs


def check(device, name, transform, kwargs, afterwards=lambda: None):
    f = CASES[name]
    compiled = gg.compile(TRANSFORMS[transform](lambda pair: f(gg.scan, *pair, **kwargs)))
    for seed in range(2):
        pair = inputs(device, seed)
        expected = TRANSFORMS[transform](lambda pair: f(by_hand, *pair, **kwargs))(tuple(pair))
        for got, one in zip(values(compiled(tuple(pair))), values(expected), strict=True):
            np.testing.assert_allclose(got, one, rtol=1e-11, atol=1e-11)
        afterwards()
    assert any(step.name == "scan" for one in programs(compiled) for step in one.steps)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", CASES)
def test_a_loop_of_the_program_is_the_loop_of_python(device, name, transform, by_numpy):
    where = device if transform == "gradient" else "one of them"
    for kwargs in in_turn(KWARGS, where, name + transform):
        check(device, name, transform, kwargs)


@pytest.mark.parametrize("transform", ["gradient"])
@pytest.mark.parametrize("name", CASES)
def test_a_loop_in_c_is_the_loop_of_python(name, transform, monkeypatch):
    """All turns of the second call run in C, also those of a loop that is inside of another."""
    (kwargs,) = in_turn(KWARGS, "c", name + transform)

    def without_python():
        monkeypatch.delattr(Loop, "turns", raising=False)

    check(gg.backend.Device("cpu"), name, transform, kwargs, without_python)


def test_a_loop_that_is_called_has_another_inside(monkeypatch):
    """The turns of neither are Python's, though the outer one has an index that is an array."""
    order = gg.asarray([2, 0, 1])

    def f(w, xs):
        def turn(c, x):
            c = gg.scan(lambda d, _: (gg.sin(d * w) + x, None), c[order], length=3)[0]
            return c, c[0] * x

        c, ys = gg.scan(turn, w, xs)
        return (c * ys[0]).sum()

    w, xs = (np.random.default_rng(0).normal(size=shape) for shape in ((3,), (4, 3)))
    compiled = gg.compile(gg.grad(f, argnums=(0, 1)))
    compiled(w, xs)
    monkeypatch.delattr(Loop, "turns")
    for got, one in zip(compiled(w, xs), gg.grad(f, argnums=(0, 1))(w, xs), strict=True):
        np.testing.assert_allclose(got, one, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kind", ["one function", "threads", "called"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 4])
def test_all_turns_run_in_c(monkeypatch, length, reverse, kind):
    """As part of the program, or as a function that it calls where an index has arrays."""
    order = gg.asarray([2, 0, 1]) if kind == "called" else slice(None, None, -1)
    if kind == "threads":
        monkeypatch.setattr(c_functions, "WORTH", 1)

    def f(w, xs):
        def turn(c, x):
            return gg.sin(c @ w.T)[order] + x.T[0], (c, x[1])

        c, ys = gg.scan(turn, w[0], xs, None, reverse)
        return (c * ys[0]).sum() + (ys[1] ** 2).sum()

    w = gg.tensor(np.random.default_rng(0).normal(size=(3, 3)))
    xs = gg.tensor(np.random.default_rng(1).normal(size=(2, length, 3))).T.moveaxis(1, 0)[:, ::-1]
    compiled = gg.compile(gg.grad(f, argnums=(0, 1)))
    compiled(w, xs)
    assert (", 0 NumPy steps" in compiled.report()) == (kind != "called")
    assert ("share(threads" in compiled.report(source=True)) == (kind == "threads")
    monkeypatch.delattr(Loop, "turns")
    for got, one in zip(compiled(w, xs), gg.grad(f, argnums=(0, 1))(w, xs), strict=True):
        np.testing.assert_allclose(values(got)[0], values(one)[0], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_a_jacobian_of_a_loop(device, mode):
    """Its rows are loops, which are recorded one by one."""

    def f(x):
        return gg.scan(lambda c, _: (gg.sin(c * x) + c, c[:1] * x[1:]), x, length=3)[1]

    x = gg.tensor(device.send(np.array([0.3, 0.7])))
    jacobian = gg.jacobian(f, mode=mode)
    compiled = gg.compile(jacobian)
    for _ in range(2):
        np.testing.assert_allclose(*map(to_numpy, (compiled(x).data, jacobian(x).data)), 1e-11)


def test_the_program_is_as_long_for_any_number_of_steps(by_numpy):
    def loss(w, xs):
        return gg.scan(lambda c, x: (gg.tanh(c * w + x), None), gg.zeros(3), xs)[0].sum()

    lengths = []
    for count in (3, 300):
        compiled = gg.compile(gg.grad(loss))
        compiled(gg.ones(3), gg.ones((count, 3)))
        lengths.append([len(one.steps) for one in programs(compiled)])
    assert lengths[0] == lengths[1]


def test_a_model_trains_through_a_loop(device):
    def trained(compile, scan):
        gg.manual_seed(0)
        cell = gg.nn.Linear(4, 4).to(device)
        optimizer = gg.optim.SGD(cell.parameters(), lr=0.1)

        def step(xs):
            optimizer.zero_grad()
            h, ys = scan(lambda h, x: (gg.tanh(cell(h) + x), h.sum()), gg.zeros_like(xs[0]), xs)
            loss = (h * h).sum() + (ys * ys).mean()
            loss.backward()
            optimizer.step()
            return loss

        step = compile(step)
        xs = gg.tensor(device.send(np.ones((6, 4), np.float32)))
        return [step(xs).item() for _ in range(4)]

    expected = trained(lambda f: f, by_hand)
    np.testing.assert_allclose(trained(gg.compile, gg.scan), expected, rtol=1e-5)
    assert expected[3] < expected[0]


def test_over_a_batch_a_scan_is_a_loop_of_the_program(by_numpy):
    def f(x):
        return gg.scan(lambda c, _: (gg.sin(c) * x, c), x, length=4)[0].sum()

    x = inputs(gg.backend.Device("cpu"))[0]
    compiled = gg.compile(gg.vmap(gg.grad(f)))
    for batch in (x, x * 2):
        expected = np.stack([gg.grad(f)(one).numpy() for one in batch])
        np.testing.assert_allclose(compiled(batch).numpy(), expected)


def test_a_turn_runs_again_as_it_ran(device, by_numpy):
    """In the block's half precision, after which the backward pass begins."""
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(4, 4)), rng.normal(size=(5, 3, 4))
    w, xs = (gg.tensor(device.send(one.astype(np.float32))) for one in arrays)
    w.requires_grad_()

    def step(scan, xs):
        with gg.autocast(dtype="float16"):
            start = xs[0] @ w  # w is cast before the loop, too
            h, _ = scan(lambda h, x: (gg.tanh(h.astype("float32") @ w + x), None), xs[0], xs)
            loss = (h * h).sum() + start.sum()
        loss.backward()
        gradient, w.grad = w.grad, None
        return gradient

    compiled = gg.compile(lambda xs: step(gg.scan, xs))
    for _ in range(2):
        expected = to_numpy(step(by_hand, xs).data)
        np.testing.assert_allclose(to_numpy(compiled(xs).data), expected, rtol=5e-3, atol=5e-3)
    products = [s for one in programs(compiled) for s in one.steps if "matmul" in s.name]
    assert len(products) >= 5
    assert {step.results[0].dtype for step in products} == {np.dtype("float16")}


def test_a_turn_runs_again_on_its_device(device, by_numpy):
    x = gg.tensor(device.send(np.ones((3, 2))), requires_grad=True)

    @gg.compile
    def step(x):
        with gg.device(device):
            c, _ = gg.scan(lambda c, one: (c * one + gg.arange(2.0, dtype=x.dtype), None), x[0], x)
        return gg.gradients(c.sum(), x)

    for _ in range(2):
        assert step(x).tolist() == [[2, 2], [1, 2], [1, 3]]


def test_raw_arrays_and_numbers_stay_what_they_are(device, by_numpy):
    def f(xs, start):
        _, ys = gg.scan(lambda c, x: (c * 2, x * c), 1, xs)
        return *gg.scan(lambda c, x: (c + x, {"y": c * 2, "none": None}), start, xs), ys

    xs = device.send(np.arange(1, 4, dtype=np.float32))
    for start in (1.0, 5.0):
        (carry, ys, twice), (own, own_ys, own_twice) = f(xs, start), gg.compile(f)(xs, start)
        assert not isinstance(own, gg.Tensor)
        assert own_ys["none"] is None
        for got, expected in ((own, carry), (own_ys["y"], ys["y"]), (own_twice, twice)):
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(to_numpy(got), to_numpy(expected))


def test_a_loop_counts_in_whole_numbers(device, by_numpy):
    xs = device.send(np.ones(3))
    count, numbers = gg.compile(lambda xs: gg.scan(lambda n, x: (n + 1, n), 0, xs))(xs)
    assert (count, type(count)) == (3, int)
    np.testing.assert_array_equal(to_numpy(numbers), [0, 1, 2], strict=True)


OUTSIDE = gg.zeros(3)


def _change_outside(c, x):
    OUTSIDE[0] = x[0]
    return c, None


def _change_carry(c, x):
    c += x
    return c, None


def _change_own(c, x):
    own = gg.zeros(3)
    own[1] = x[0]
    return c + own, None


REFUSED = {
    "outside": (_change_outside, "from outside in place at .*test_compiled_scan"),
    "carry": (_change_carry, "changes its carry|is shared with another array"),
    "random": (lambda c, x: (c + gg.random.normal(size=3), None), "before the loop"),
    "shape": (lambda c, x: (gg.stack([c, c]), None), "carry changes"),
    "value": (lambda c, x: (c if c.sum() > 0 else x, None), "its truth is asked for"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_loop_cannot_do_is_refused(name):
    function, words = REFUSED[name]
    compiled = gg.compile(lambda x: gg.scan(function, x[0], x)[0])
    with pytest.raises(gg.GpugradError, match=words):
        compiled(gg.ones((2, 3)))
    assert OUTSIDE.tolist() == [0, 0, 0]


def test_what_a_turn_keeps_elsewhere_cannot_be_used_afterwards():
    def f(x):
        kept = []
        gg.scan(lambda c, one: (kept.append(c * one), (c, None))[1], x[0], x)
        return kept[0] + x[0]

    with pytest.raises(gg.CompileError, match="by a call that has ended"):
        gg.compile(f)(gg.ones((2, 3)))


def test_a_turn_may_change_what_it_has_made(device):
    f = gg.compile(lambda x: gg.scan(_change_own, x[0], x)[0])
    for _ in range(2):
        assert f(gg.ones((2, 3), device=device)).tolist() == [1, 3, 1]
