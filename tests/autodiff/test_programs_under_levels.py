"""Random programs of 5 to 15 operations under two levels, against loops over the elements."""

from functools import partial

import numpy as np
import pytest
from functions_by_chance import program

import gpugrad as gg

ROWS, COLUMNS = 3, 2


def stacked(rows):
    return np.stack([one.numpy() if isinstance(one, gg.Tensor) else one for one in rows])


def looped(f, xs, ws):
    """The results of f for each x and each w, as a table."""
    return stacked([stacked([f(x, w) for w in ws]) for x in xs])


def on_grid(f):
    """Two levels: the outer one has the x, the inner one the w."""
    return gg.vmap(lambda x, ws: gg.vmap(f, in_axes=(None, 0))(x, ws), in_axes=(0, None))


def pushed(f, x, w):
    return gg.jvp(f, (x, w), (w * 0.5, x - 1.0))[1]


def sums(f, xs, ws):
    """The sum over all pairs, through two levels."""
    return (on_grid(f)(xs, ws) * weights()).sum()


def weights():
    return np.arange(1.0, 1.0 + ROWS * COLUMNS).reshape(ROWS, COLUMNS)


# By name a function of the program and the operands that goes by `vmap`, and what loops give.
WAYS = {
    "vmap of vmap": (lambda f, xs, ws: on_grid(f)(xs, ws), looped),
    "vmap of grad": (
        lambda f, xs, ws: on_grid(gg.grad(f))(xs, ws),
        lambda f, xs, ws: looped(gg.grad(f), xs, ws),
    ),
    "grad of vmap": (
        lambda f, xs, ws: gg.grad(partial(sums, f), 1)(xs, ws),
        lambda f, xs, ws: (
            looped(gg.grad(f, 1), xs, ws) * weights()[..., None, None]
        ).sum(axis=0),
    ),
    "vmap of jvp": (
        lambda f, xs, ws: on_grid(partial(pushed, f))(xs, ws),
        lambda f, xs, ws: looped(partial(pushed, f), xs, ws),
    ),
    "vmap of hvp": (
        lambda f, xs, ws: on_grid(lambda x, w: gg.hvp(lambda x: f(x, w), x, w))(xs, ws),
        lambda f, xs, ws: looped(lambda x, w: gg.hvp(lambda x: f(x, w), x, w), xs, ws),
    ),
    "jvp of vmap": (
        lambda f, xs, ws: gg.jvp(lambda xs: on_grid(f)(xs, ws), (xs,), (xs * 0.5,))[1],
        lambda f, xs, ws: looped(
            lambda x, w: gg.jvp(lambda x: f(x, w), (x,), (x * 0.5,))[1], xs, ws
        ),
    ),
    "compile of vmap": (
        lambda f, xs, ws: twice(gg.compile(on_grid(f)), xs, ws),
        looped,
    ),
    "compile of vmap of grad": (
        lambda f, xs, ws: twice(gg.compile(on_grid(gg.grad(f))), xs, ws),
        lambda f, xs, ws: looped(gg.grad(f), xs, ws),
    ),
}  # fmt: skip


def twice(f, xs, ws):
    """The result of the second call, after one with other numbers."""
    f(ws.mean() + xs, ws)
    return f(xs, ws)


def check(number, way):
    """One of the ways for one program, or a sentence about where they differ."""
    rng = np.random.default_rng(number)
    xs, ws = (gg.tensor(rng.normal(size=(count, 3, 4))) for count in (ROWS, COLUMNS))
    f = partial(program, number, most=15, is_apart=True)
    batched, by_loop = WAYS[way]
    with np.errstate(all="ignore"):
        expected = by_loop(f, xs, ws)
        found = batched(f, xs, ws).numpy()
    scale = np.abs(expected).max(initial=1e-3)
    np.testing.assert_allclose(
        found, expected, rtol=1e-9, atol=1e-9 * scale, err_msg=f"{number}, {way}"
    )


@pytest.mark.parametrize("way", WAYS)
def test_programs_under_two_levels(way, by_numpy):
    for number in range(12):
        check(number, way)


@pytest.mark.parametrize("number", [499, 792])
def test_an_assignment_at_a_recorded_index_of_an_array_that_is_not(number, by_numpy):
    check(number, "compile of vmap of grad")
