"""In-place changes of tensors that share memory, in recorded code: what NumPy does, differentiated.

Random programs of views and changes run over NumPy's arrays and over recorded tensors. The values
must be NumPy's, and the gradient the difference quotient of NumPy's results, or a GradientError.
"""

import contextlib

import numpy as np
import pytest
from arrays import host

import gpugrad as gg
from gpugrad.errors import ArgumentError, GradientError

# ---------------------------------------------------------------- programs


def _writable(t):
    """The diagonal, to which NumPy alone does not write."""
    if isinstance(t, np.ndarray):
        t.flags.writeable = True
    return t


# Views of every kind, by the number of axes that they need at least.
VIEWS = {
    "row": (1, lambda t: t[0:1]),
    "element": (2, lambda t: t[-1]),
    "element as a view": (1, lambda t: t[(1,) * t.ndim + (...,)]),
    "every second": (1, lambda t: t[::2]),
    "column": (2, lambda t: t[:, 1]),
    "backwards": (1, lambda t: t[..., ::-1]),
    "new axis": (0, lambda t: t[None]),
    "whole": (0, lambda t: t[...]),
    "T": (0, lambda t: t.T),
    "transpose": (2, lambda t: t.transpose((1, 0, *range(2, t.ndim)))),
    "swapaxes": (2, lambda t: t.swapaxes(0, -1)),
    "ravel": (0, lambda t: t.reshape(-1)),
    "reshape": (1, lambda t: t.reshape(1, -1)),
    "squeeze": (0, lambda t: t.squeeze()),
    "expand_dims": (0, lambda t: np.expand_dims(t, 0)),
    "moveaxis": (2, lambda t: np.moveaxis(t, 0, -1)),
    "flip": (1, lambda t: np.flip(t, 0)),
    "split": (1, lambda t: np.split(t, [1])[1]),
    "first of a loop": (2, lambda t: next(iter(t))),
    "atleast_2d": (0, np.atleast_2d),
    "broadcast": (0, lambda t: np.broadcast_to(t, (2, *t.shape))),
    "diagonal": (2, lambda t: _writable(t.diagonal())),
    "real": (0, lambda t: t.real),
}
COPIES = {
    "product": lambda t: t * 1.5,
    "copy": lambda t: t.copy(),
    "exponential": lambda t: np.exp(t * 0.1),
    "index array": lambda t: t[np.zeros(2, int)] if t.ndim else t * 1.0,
    "sum": lambda t: t.sum(keepdims=True),
    "square": lambda t: t * t,
}
CHANGES = {
    "+=": lambda t, v: t.__iadd__(v),
    "*=": lambda t, v: t.__imul__(v),
    "-= of itself": lambda t, v: t.__isub__(t * v),
    "all": lambda t, v: t.__setitem__(..., v),
    "first": lambda t, v: t.__setitem__((0,) * min(t.ndim, 1), v),
    "rest": lambda t, v: t.__setitem__(slice(1, None) if t.ndim else (), v),
    "last column": lambda t, v: t.__setitem__((..., -1) if t.ndim else (), v),
    "mask": lambda t, v: t.__setitem__(np.arange(t.shape[0]) > 0 if t.ndim else (), v),
    "index array": lambda t, v: t.__setitem__(np.array([-1]) if t.ndim else (), v),
}


def slice_changes(t, v):
    t[:1] += v


def rows_change(t, v):
    for row in t:
        row *= v


CHANGES_BY_STATEMENT = {"slice +=": slice_changes, "rows": rows_change}


def program(seed, length=7):
    """Steps over a list of variables, each a function of it, and what they are in words."""
    rng = np.random.default_rng(seed)

    def pick(names):
        return names[int(rng.integers(len(names)))]

    steps = []
    for _ in range(length):
        sort, which = rng.choice(5, p=[0.35, 0.15, 0.4, 0.05, 0.05]), int(rng.integers(100))
        other, number = int(rng.integers(100)), float(rng.integers(1, 4)) / 2
        if sort == 0:
            steps.append(("view", pick([*VIEWS]), which, other, number))
        elif sort == 1:
            steps.append(("copy", pick([*COPIES]), which, other, number))
        elif sort == 2:
            steps.append(("change", pick([*CHANGES, *CHANGES_BY_STATEMENT]), which, other, number))
        elif sort == 3:
            steps.append(("drop", "", which, other, number))
        else:
            steps.append(("unrecorded", "", which, other, number))
    return steps


def operand(variables, target, other, number):
    """A number, a variable of the target's shape, or the sum of one."""
    fitting = [v for v in variables if v.shape == target.shape]
    if other % 3 == 0:
        return number
    if other % 3 == 1 and fitting:
        return fitting[other % len(fitting)] * number
    return variables[other % len(variables)].sum() * 0.25


def run(steps, leaves, unrecorded):
    """The loss and all variables."""
    constant = np.full((2, 3), 0.7)
    if isinstance(leaves[0], gg.Tensor):
        constant = gg.tensor(constant, device=leaves[0].device).copy()
    variables = [leaves[0] * 1.0, leaves[1] * leaves[0], constant]
    del constant
    for sort, name, which, other, number in steps:
        t = variables[which % len(variables)]
        if sort == "view":
            least, view = VIEWS[name]
            if (t.ndim >= least and all(size > 1 for size in t.shape[:2])) or least == 0:
                variables.append(view(t))
        elif sort == "copy":
            variables.append(COPIES[name](t))
        elif sort == "drop" and len(variables) > 2:
            del variables[which % len(variables)]
        elif sort == "change" and t.shape:
            value = operand(variables, t, other, number)
            whole = name in ("+=", "*=", "-= of itself", "all")
            if not whole and getattr(value, "shape", ()):
                value = value.sum()
            if name in CHANGES:
                CHANGES[name](t, value)
            elif t.ndim > 1 or name != "rows":
                CHANGES_BY_STATEMENT[name](t, value)
        elif sort == "unrecorded" and t.shape:
            with unrecorded():
                t[...] += number  # the derivative is the same
        t = None
    loss = 0.0
    for place, v in enumerate(variables):
        loss = loss + (v * v * (0.1 + 0.03 * place)).sum()
    return loss, variables


def quotients(steps, arrays):
    found = []
    for array in arrays:
        g = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            at = array[place]
            ends = []
            for step in (1e-6, -1e-6):
                array[place] = at + step
                ends.append(run(steps, arrays, contextlib.nullcontext)[0])
            array[place] = at
            g[place] = (ends[0] - ends[1]) / 2e-6
        found.append(g)
    return found


def check(seed, device):
    """Run a program; whether it was refused."""
    steps = program(seed)
    rng = np.random.default_rng(seed)
    arrays = [rng.uniform(0.5, 1.5, (2, 3)) for _ in range(2)]
    try:
        wanted, values = run(steps, arrays, contextlib.nullcontext)
    except ValueError:  # a change of something broadcast
        return True
    leaves = [gg.tensor(a.copy(), requires_grad=True, device=device) for a in arrays]
    try:
        loss, variables = run(steps, leaves, gg.no_grad)
        np.testing.assert_allclose(loss.item(), wanted, rtol=1e-10, err_msg=f"{seed}: {steps}")
        for one, value in zip(variables, values, strict=True):
            np.testing.assert_allclose(
                one.detach().cpu().numpy(), value, rtol=1e-10, err_msg=f"{seed}: {steps}"
            )
        found = gg.gradients(loss, leaves, create_graph=seed % 3 == 0, allow_unused=True)
    except (GradientError, ArgumentError):
        return True
    numeric = quotients(steps, arrays)
    near = {"rtol": 2e-5, "atol": 1e-6 * abs(wanted), "err_msg": f"{seed}: {steps}"}
    for g, quotient in zip(found, numeric, strict=True):
        own = np.zeros(quotient.shape) if g is None else g.detach().cpu().numpy()
        np.testing.assert_allclose(own, quotient, **near)
    if seed % 3 == 1:
        ones = [gg.ones_like(a.detach()) for a in leaves]
        _, tangent = gg.jvp(
            lambda *a: run(steps, a, gg.no_grad)[0], [a.detach() for a in leaves], ones
        )
        np.testing.assert_allclose(tangent.item(), sum(q.sum() for q in numeric), **near)
    return False


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_random_programs_give_numpy_s_values_and_their_gradients(first, device):
    refused = sum(check(seed, device) for seed in range(first, first + 50))
    assert refused < 10


# ---------------------------------------------------------------- statements


def exchange(t):
    t[0], t[1] = t[1], t[0]
    return t


def chain_of_assignments(t):
    t[0] = a = t[1]
    t[1] = 5.0
    return t + a


def chain_from_the_right(t):
    a = t[0] = t[1]
    a *= 2.0
    return t + a


def views_without_names(t):
    t[0][1:][0] = t[1].sum()
    t.T[0] = t.T[1]
    t.reshape(-1)[2] = 7.0
    return t * t


def backwards(t):
    t[::-1][0] = t[0]
    t[:] = t[::-1]
    t[1:] = t[:-1]
    return t * t


def masks_and_arrays(t):
    t[t > 1.5] += t[0, 0]
    t[[0, 0]] *= 2.0
    t[..., [0]] = t[..., 1:2]
    return t


def rows_together(t):
    for a, b in zip(t, t[::-1]):
        a += b
    return t


def row_and_index(t):
    for i, row in enumerate(t):
        row[i] = row.sum()
        t[i] *= 2.0
    return t


def list_of_rows(t):
    rows = list(t)
    rows[0] += rows[1]
    rows[1] -= rows[0]
    t *= 2.0
    rows[1][0] = rows[0][1]
    return t + rows[0]


def unpacked(t):
    a, b = t
    a *= b
    b += a
    return t


def one_element(t):
    e = t[0, 1, ...]
    e += 5.0
    e *= e
    return t


def halves(t):
    a, b = np.split(t, 2)
    a += b
    b[...] = a * 2.0
    return t


def columns(t):
    a, b = np.hsplit(t, 2)
    a *= b
    return t


def new_axes(t):
    v = t[None, :, None]
    v[0, 0, 0] += v[0, 1, 0]
    v.squeeze()[1] = 3.0
    return t


def narrow_views_of_a_constant(t):
    out = np.ones_like(t)
    narrow = out[:, 1:][1:]
    out[0, :1][...] = t[0, 1]
    narrow *= t[1:, 1:]
    narrow[0][0] += narrow[0, 0]
    out.T[0] *= 2.0
    return out


def rows_of_a_constant(t):
    out = np.zeros_like(t)
    rows = [out[i] for i in range(2)]
    for i, row in enumerate(rows):
        row += t[i] * t[1 - i]
    columns = list(out.T)
    columns[1] *= columns[0]
    return out + np.stack(rows)


def every_state_is_kept(t):
    out = np.zeros_like(np.concatenate([t, t]))
    states = [out[0]]
    out[0] = t[0]
    for i in range(3):
        states.append(out[i + 1])
        out[i + 1] = states[-2] * t[1]
        states[-1] += 0.1
    return states[1] + states[3] * out[:2]


STATEMENTS = [
    exchange, chain_of_assignments, chain_from_the_right, views_without_names, backwards,
    masks_and_arrays, rows_together, row_and_index, list_of_rows, unpacked, one_element, halves,
    columns, new_axes, narrow_views_of_a_constant, rows_of_a_constant, every_state_is_kept,
]  # fmt: skip


@pytest.mark.parametrize("f", STATEMENTS, ids=lambda f: f.__name__)
def test_statements_do_what_they_do_in_numpy(f, device):
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    weights = np.array([[0.3, 0.7], [1.1, -0.4]])
    leaf = gg.tensor(x, device=device, requires_grad=True)
    y = f(leaf * 1.0)
    np.testing.assert_allclose(host(y), f(x.copy()), rtol=1e-12)
    found = host(gg.gradients((y * gg.tensor(weights, device=device)).sum(), leaf))
    numeric = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[place] = 1e-6
        numeric[place] = ((f(x + step) - f(x - step)) * weights).sum() / 2e-6
    np.testing.assert_allclose(found, numeric, rtol=1e-6, atol=1e-7)
    _, tangent = gg.jvp(lambda x: f(x * 1.0), (leaf.detach(),), (gg.ones_like(leaf.detach()),))
    np.testing.assert_allclose((host(tangent) * weights).sum(), numeric.sum(), rtol=1e-6)
