"""Loops that may run at the same time become one, with what they share computed once."""

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.backend.device import to_numpy
from gpugrad.compiler.programs.passes import simplified


def loops(compiled):
    """The loops of a compiled function's program."""
    ((entry,),) = compiled._entries.values()
    return [
        step.parameters["loop"] for step in simplified(entry.program).steps if step.name == "scan"
    ]


def scan_of(rate, start, xs, reverse=False):
    def turn(carry, x):
        a, b = carry
        a = a - 0.1 * rate * gg.sin(a) + x
        return (a, b + a * a), a * x

    return gg.scan(turn, (start, start), xs, reverse=reverse)


def equal(rate, start, xs):
    """Two loops of the same turns: the second one is nothing of its own."""
    return [*scan_of(rate, start, xs)[0], *scan_of(rate, start, xs)[0], scan_of(rate, start, xs)[1]]


def other_rates(rate, start, xs):
    """Carries that begin with the same and differ from the first or from the second turn on."""
    return [
        scan_of(rate, start, xs)[1],
        scan_of(rate * 2, start, xs)[1],
        scan_of(rate, start, xs)[1],
    ]


def one_after_another(rate, start, xs):
    """A loop over what another one gives, beside one that depends on none."""
    ys = scan_of(rate, start, xs)[1]
    return [scan_of(rate, start, ys)[1], scan_of(ys[0], start, xs)[1], ys]


def other_ways(rate, start, xs):
    """Loops that go the other way, or are of another length."""
    return [
        scan_of(rate, start, xs)[1], scan_of(rate, start, xs, True)[1],
        scan_of(rate, start, xs[1:])[1],
    ]  # fmt: skip


def unused(rate, start, xs):
    """A carry and slices that nobody reads."""

    def turn(carry, x):
        a, b, c = carry
        return (a + x[0], b + c * x[1], c + x[1]), (a, b)

    (a, *_), (ys, _) = gg.scan(turn, (start, start, start), (xs, xs * rate))
    return [a, ys]


# Functions, the numbers of their loops, and of the carries and slices of these.
CASES = {
    equal: [(2, 1)],
    other_rates: [(2, 1)],
    one_after_another: [(1, 1), (2, 2)],
    other_ways: [(1, 1), (1, 1), (1, 1)],
    unused: [(1, 1)],
}  # fmt: skip


@pytest.mark.parametrize("f", CASES, ids=lambda f: f.__name__)
def test_loops_become_one(device, f, by_numpy):
    rng = np.random.default_rng(0)
    given = [device.send(rng.normal(size=shape)) for shape in ((), (), (5,))]
    compiled = gg.compile(lambda *arrays: f(*map(gg.tensor, arrays)))
    for _ in range(2):
        results = compiled(*given)
    for got, expected in zip(results, f(*map(gg.tensor, given)), strict=True):
        np.testing.assert_allclose(to_numpy(got.data), to_numpy(expected.data), rtol=1e-12)
    assert [(one.carries, one.slices) for one in loops(compiled)] == CASES[f]


def test_directions_of_a_derivative_are_one_loop(device):
    """Three columns of a forward Jacobian, which are an axis of the carry."""
    p = device.send(np.array([0.3, 0.2, -0.4]))

    def solved(p):
        def turn(y, _):
            y = y + 0.1 * (p[0] * gg.sin(y) + p[1] * y + p[2])
            return y, y

        return gg.scan(turn, p[0] * 2, length=8)[1]

    compiled = gg.compile(gg.jacobian(solved, mode="forward"))
    for _ in range(2):
        result = compiled(p)
    expected = gg.jacobian(solved, mode="forward")(p)
    np.testing.assert_allclose(to_numpy(result), to_numpy(expected), rtol=1e-12)
    primal, tangents = loops(compiled)
    assert (primal.carries, primal.slices) == (1, 0)
    assert (tangents.carries, tangents.slices) == (1, 1)
    assert tangents.body.inputs[0].shape == (3,)
