"""Zeros by choice, and no others, for every elementwise op of the table.

What was chosen has the derivative that mathematics gives it: the tests know no formula, but look at
what the function does beside a point. What was not chosen has the gradient 0 in every order and
mode, whatever the derivative is there.
"""

import itertools

import numpy as np
import optable
import pytest
from devices import in_turn

import gpugrad as gg
from gpugrad.engine.op import TABLE
from gpugrad.engine.record import bind

INF = np.inf
POINTS = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, INF, -INF, np.nan]

# Where the slope by an operand is that of the documentation, and no limit.
DOCUMENTED = {
    ("root", 0): lambda x: x == 0,
    ("power", 1): lambda a, b: a == b == 0,
    ("xlogy", 0): lambda a, b: a == b == 0,
    ("xlog1py", 0): lambda a, b: a == 0 and b == -1,
}
# Quotients of gamma functions, whose poles may cancel in the value but do not in its derivatives.
QUOTIENTS = {"beta", "betaln"}

# Where a derivative is bounded on purpose, as the entry says.
BOUNDED = {"bce": lambda p, target: not 0 < p < 1}


def elementwise(*counts):
    """The elementwise ops of so many real operands, once for each of their parameters."""
    return [
        pytest.param(op, parameters, id=f"{op.name}{parameters or ''}")
        for op in TABLE.values()
        if op.kind == "elementwise" and op.differentiable and len(op.arrays) in counts
        if set(op.operands) == {"real"}
        for parameters in {repr(s.parameters): s.parameters for s in optable.samples(op)}.values()
    ]


def host(tensor):
    return tensor.detach().cpu().numpy()


@pytest.fixture(autouse=True)
def _without_warnings():
    with np.errstate(all="ignore"):
        yield


def value_and_slopes(op, parameters, arrays):
    tensors = [gg.tensor(array, requires_grad=True) for array in arrays]
    y = bind(op)(*tensors, **parameters)
    slopes = gg.gradients(y.sum(), tensors, allow_unused=True)
    zeros = np.zeros(y.shape)
    return host(y), [zeros if slope is None else host(slope) for slope in slopes]


# ---------------------------------------------------------------- what was chosen

STEPS = (1e-4, 1e-7, 1e-10)


def quotients(op, parameters, arrays, index, y):
    """The difference quotients to the right and to the left, for each of the steps."""
    found = []
    for h in (*STEPS, *(-h for h in STEPS)):
        moved = [array + h if i == index else array for i, array in enumerate(arrays)]
        found.append((value_and_slopes(op, parameters, moved)[0] - y) / h)
    return np.stack(found[:3]), np.stack(found[3:])


def complaint(slope, y, right, left, may_be_nan):
    """What is wrong with a slope where these are the quotients of the steps; None if nothing is."""
    sides = [side for side in (right, left) if np.isfinite(side[1])]
    ends = [side[1] for side in sides]
    if np.isfinite(slope):
        if not ends:
            jumps = np.isinf(y) and (np.isinf(right[1]) or np.isinf(left[1]))
            return "a number where the function is infinite" if jumps else None
        near = 1e-4 * (1 + abs(slope))
        inside = min(ends) - near <= slope <= max(ends) + near
        return None if inside else "no slope of the function, nor between two"
    if np.isinf(slope):
        grows = any(abs(s[2]) > 1.2 * abs(s[0]) or not np.isfinite(s[2]) for s in (right, left))
        return None if grows else "infinite where the slope is a number"
    near = 1e-2 * (1 + max(map(abs, ends), default=0))
    smooth = len(ends) == 2 and np.ptp([s[i] for s in sides for i in (0, 1)]) < near
    return "NaN where the slope is a number" if smooth and not may_be_nan else None


@pytest.mark.parametrize(("op", "parameters"), elementwise(1, 2))
def test_a_slope_is_what_the_function_does_beside_the_point(op, parameters):
    grid = np.array([*itertools.product(POINTS, repeat=len(op.arrays))]).T
    y, slopes = value_and_slopes(op, parameters, grid)
    wrong = []
    for index, slope in enumerate(slopes):
        right, left = quotients(op, parameters, list(grid), index, y)
        mask = op.masks[index]
        chosen = np.ones(y.shape, bool) if mask is None else mask(np, y, *grid, **parameters)
        for i, point in enumerate(grid.T.tolist()):
            if not np.isfinite(point[index]) or BOUNDED.get(op.name, lambda *_: False)(*point):
                continue
            at = DOCUMENTED.get((op.name, index))
            if not chosen[i] or (at is not None and at(*point)):
                assert slope[i] == 0
            else:
                may_be_nan = op.name in QUOTIENTS or not np.isfinite(point).all()
                said = complaint(slope[i], y[i], right[:, i], left[:, i], may_be_nan)
                wrong += [f"by {op.arrays[index]} at {point}: {slope[i]} is {said}"] if said else []
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("op", "parameters"), elementwise(1))
def test_at_infinity_a_slope_is_what_it_goes_to(op, parameters):
    _, (slopes,) = value_and_slopes(op, parameters, [np.array([INF, 1e300, -INF, -1e300])])
    for end, near in (slopes[:2], slopes[2:]):
        assert np.isnan(end) or np.isclose(end, near, rtol=0, atol=1e-6) or np.isinf(end)


@pytest.mark.parametrize(("op", "parameters"), elementwise(1))
def test_of_nan_a_slope_is_nan_unless_it_is_the_same_everywhere(op, parameters):
    y, (slopes,) = value_and_slopes(op, parameters, [np.array([np.nan])])
    assert np.isnan(slopes[0]) or op.finite or not op.masks[0](np, y, np.array([np.nan])).any()


# ---------------------------------------------------------------- what was not chosen


MODES = ("r", "rr", "rrr", "f", "ff", "fff", "rf", "fr", "rfr", "ffr", "rrf")


def derivatives(f, x):
    """The derivatives of a function along ones: reverse, forward, and one of the other."""
    ones = gg.ones_like(x)

    def forward(function):
        return lambda t: gg.jvp(function, (t,), (ones,))[1]

    def reverse(function):
        return gg.grad(lambda t: function(t).sum())

    for modes in MODES:
        made = f
        for mode in reversed(modes):
            made = reverse(made) if mode == "r" else forward(made)
        yield modes, host(made(x))


def check_zeros(f, x, chosen):
    """All derivatives are 0 where nothing was chosen, and numbers elsewhere."""
    for modes, found in derivatives(f, x):
        np.testing.assert_array_equal(found[~chosen], 0, err_msg=modes)
        assert np.isfinite(found[chosen]).all(), modes


def points_of(op, device):
    """Points that are not chosen, and one that is: singular ones, and one of the op's domain."""
    points = np.array([*POINTS, sum(op.domain) / 2 + 0.01])
    return gg.tensor(points, device=device), np.arange(points.size) == len(POINTS)


@pytest.mark.parametrize(("op", "parameters"), elementwise(1))
def test_a_guard_holds_for_any_function(op, parameters, device):
    x, chosen = points_of(op, device)
    ok = gg.tensor(chosen, device=device)
    check_zeros(lambda t: gg.where(ok, bind(op)(t, **parameters), 0), x, chosen)


@pytest.mark.parametrize(("op", "parameters"), elementwise(2))
@pytest.mark.parametrize("index", [0, 1])
def test_a_guard_holds_for_each_of_two_operands(index, op, parameters, device):
    x, chosen = points_of(op, device)
    ok = gg.tensor(chosen, device=device)
    for other in in_turn((0.0, 1.0, INF), device, f"{op.name}{parameters}{index}"):
        beside = gg.tensor(np.where(chosen, sum(op.domain) / 2, other), device=device)

        def f(t, beside=beside):
            y = bind(op)(*((t, beside) if index == 0 else (beside, t)), **parameters)
            return gg.where(ok, y, 0)

        check_zeros(f, x, chosen)


GUARDS = {
    "function of a function": lambda x, ok: gg.where(ok, gg.log(gg.sqrt(x)), 0),
    "product": lambda x, ok: gg.where(ok, gg.sqrt(x) * gg.log(x) / x, 0),
    "choice of a choice": lambda x, ok: gg.where(ok, gg.where(x < 9, gg.sqrt(x), x), 0),
    "two choices": lambda x, ok: (lambda y: gg.where(ok, y, 0) + gg.where(ok, y * y, 0))(gg.log(x)),
    "select": lambda x, ok: gg.select([ok, x < 0], [gg.sqrt(x), gg.zeros_like(x)], 0.0),
    "piecewise": lambda x, ok: gg.piecewise(x, [ok], [gg.sqrt, lambda t: t * 0.0]),
    "power": lambda x, ok: gg.where(ok, x**0.5 + x**-1.5, 0),
    "negative": lambda x, ok: -gg.where(ok, -gg.sqrt(x), 1.0),
    "reshape": lambda x, ok: gg.where(ok, gg.sqrt(x.reshape((2, 2))).reshape(4), 0),
    "transpose": lambda x, ok: gg.where(ok, gg.sqrt(x.reshape((2, 2))).T.T.reshape(4), 0),
    "repeated": lambda x, ok: gg.where(ok, gg.broadcast_to(gg.sqrt(x), (3, 4)), 0).sum(0),
    "joined": lambda x, ok: gg.where(ok, gg.concat([gg.sqrt(x[:2]), gg.sqrt(x[2:])]), 0),
    "rolled": lambda x, ok: gg.where(ok, gg.roll(gg.roll(gg.sqrt(x), 1), -1), 0),
    "padded": lambda x, ok: gg.where(ok, gg.pad(gg.sqrt(x), 1)[1:-1], 0),
    "indexed": lambda x, ok: gg.pad(gg.sqrt(x)[2:], (2, 0)),
    "indexed by whole numbers": lambda x, ok: gg.pad(gg.sqrt(x)[np.array([2, 3, 3])][:2], (2, 0)),
    "indexed by a mask": lambda x, ok: gg.pad(gg.sqrt(x)[ok], (2, 0)),
    "assigned over": lambda x, ok: gg.sqrt(x).at[:2].set(0.0),
    "split": lambda x, ok: gg.pad(gg.split(gg.sqrt(x), 2)[1], (2, 0)),
    "taken": lambda x, ok: gg.pad(gg.take(gg.sqrt(x), np.array([2, 3])), (2, 0)),
    "triangle": lambda x, ok: gg.triu(gg.sqrt(gg.stack([x, x])), 2).sum(0),
    "largest": lambda x, ok: gg.max(gg.stack([gg.sqrt(x), gg.ones_like(x)]), axis=0),
    "least": lambda x, ok: gg.min(gg.stack([-gg.sqrt(x), -gg.ones_like(x)]), axis=0),
    "larger": lambda x, ok: gg.maximum(gg.where(ok, gg.sqrt(x), -1.0), 0.5),
    "clipped": lambda x, ok: gg.where(ok, gg.clip(gg.sqrt(x), 0.5, 2.0), 0),
    "clipped logarithm": lambda x, ok: gg.clip(gg.log(abs(x)), -1.0, 5.0),
    "rectified": lambda x, ok: gg.relu(gg.log(x) + 1),
    "without infinities": lambda x, ok: gg.nan_to_num(gg.log(x), neginf=0.0),
    "step": lambda x, ok: gg.floor(gg.sqrt(x)) + 0 * x,
    "sum": lambda x, ok: gg.where(ok, gg.sum(gg.sqrt(gg.stack([x, x])), axis=0), 0),
    "norm": lambda x, ok: gg.where(ok, gg.linalg.norm(gg.stack([x, x]), axis=0), 0),
    "x over its norm": lambda x, ok: gg.where(
        ok, gg.sum(gg.stack([x, x]) / gg.sqrt(gg.sum(gg.stack([x * x, x * x]), axis=0)), axis=0), 0
    ),
    "product of all": lambda x, ok: gg.where(ok, gg.prod(gg.log(gg.stack([x, x])), axis=0), 0),
    "deviation": lambda x, ok: gg.where(ok, gg.std(gg.stack([x, 2 * x]), axis=0), 0),
    "mean of roots": lambda x, ok: gg.where(ok, gg.mean(gg.sqrt(gg.stack([x, x])), axis=0), 0),
    "softmax of logarithms": lambda x, ok: gg.where(
        ok, gg.softmax(gg.log(gg.stack([x, 2 * x])), axis=0)[0], 0
    ),
    "normalized rows": lambda x, ok: gg.where(
        ok, gg.nn.functional.layer_norm(gg.log(gg.stack([x, 2 * x, x * x], axis=1)), 3)[:, 0], 0
    ),
    "running product": lambda x, ok: gg.where(
        ok, gg.cumprod(gg.log(gg.stack([x, x])), axis=0)[1], 0
    ),
    "running sum": lambda x, ok: gg.where(ok, gg.cumsum(gg.log(gg.stack([x, x])), axis=0)[1], 0),
    "sorted": lambda x, ok: gg.where(ok, gg.sort(gg.log(gg.stack([x, 2 * x])), axis=0)[1], 0),
    "median": lambda x, ok: gg.where(ok, gg.median(gg.log(gg.stack([x, 2 * x])), axis=0), 0),
    "mean without NaN": lambda x, ok: gg.nanmean(
        gg.stack([gg.where(ok, gg.sqrt(x), np.nan), gg.ones_like(x)]), axis=0
    ),
    "samples that do not count": lambda x, ok: gg.nn.functional.cross_entropy(
        gg.log(gg.stack([x, x * x], axis=1)), (2 * (x > 1) - 1).astype("int64"),
        ignore_index=-1, reduction="none",
    ),
    "dropped": lambda x, ok: gg.nn.functional.dropout(gg.sqrt(x), 1.0) + gg.where(ok, x, 0),
    "log of sums": lambda x, ok: gg.where(ok, gg.logsumexp(gg.log(gg.stack([x, x])), axis=0), 0),
}  # fmt: skip


@pytest.mark.parametrize("case", GUARDS)
def test_a_guard_holds_through_what_stands_between(case, device):
    x = gg.tensor(np.array([0.0, 0.0, 1.5, 2.5]), device=device)
    chosen = np.array([False, False, True, True])
    ok = gg.tensor(chosen, device=device)
    check_zeros(lambda t: GUARDS[case](t, ok), x, chosen)


ANALYTIC = {
    "sqrt": gg.sqrt,
    "log": gg.log,
    "power": lambda z: z**0.5,
    "abs": gg.abs,
    "angle": gg.angle,
    "sign": gg.sign,
    "root of the real part": lambda z: gg.sqrt(z.real),
    "log of the imaginary part": lambda z: gg.log(z.imag),
    "log of the conjugate": lambda z: gg.log(gg.conj(z)),
    "norm": lambda z: gg.linalg.norm(gg.stack([z, z]), axis=0),
}


@pytest.mark.parametrize("case", ANALYTIC)
def test_a_guard_holds_for_complex_numbers(case, device):
    chosen = np.array([False, True])
    ok = gg.tensor(chosen, device=device)
    z = gg.tensor(np.array([0, 1 + 2j]), device=device, requires_grad=True)

    def f(z):
        return gg.where(ok, ANALYTIC[case](z), 0)

    y = f(z)
    for _ in range(3):
        y = gg.gradients(y.real.sum() + y.imag.sum(), z, create_graph=True)
        np.testing.assert_array_equal(host(y)[~chosen], 0)
        assert np.isfinite(host(y)[chosen]).all()
    z = z.detach()
    np.testing.assert_array_equal(host(gg.jvp(f, (z,), (gg.ones_like(z),))[1])[~chosen], 0)
