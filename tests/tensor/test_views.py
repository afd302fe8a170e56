"""In-place changes of tensors that share memory, in recorded code: what NumPy does, differentiated.

Random programs of views and changes run over NumPy's arrays and over recorded tensors. The values
must be NumPy's, and the gradient the difference quotient of NumPy's results, or a GradientError.
"""

import contextlib
import gc
import random

import numpy as np
import pytest
from arrays import host, made

import gpugrad as gg
from gpugrad.engine import aliasing
from gpugrad.errors import ArgumentError, DTypeError, GradientError, ShapeError

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


# ---------------------------------------------------------------- a base and its views


def test_a_change_through_a_view_is_one_of_its_base(device):
    w = made([[1.0, 2.0], [3.0, 4.0]], device)
    h = w * 1.0
    v = h[0]
    v += 10.0
    assert h.tolist() == [[11, 12], [3, 4]]
    v *= w[1]
    assert h.tolist() == [[33, 48], [3, 4]]
    h.sum().backward()
    assert w.grad.tolist() == [[3, 4], [12, 13]]
    w.grad = None
    out = w * 2.0
    for row in out:
        row += w[0]
    assert out.tolist() == [[3, 6], [7, 10]]
    out.sum().backward()
    assert w.grad.tolist() == [[4, 4], [2, 2]]


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("keep", [False, True])
def test_a_loop_that_reads_a_row_and_writes_the_next(layout, keep, device):
    """Windows that do not overlap do not matter, also where every state stays alive."""
    start = made([0.5, 0.25], device)
    states = gg.zeros((6, 2) if layout == "rows" else (2, 6), dtype="float64", device=device)
    states = states if layout == "rows" else states.T
    states[0] = start
    seen = []
    for i in range(5):
        y = states[i]
        states[i + 1] = y + 0.5 * y * y
        if keep:
            seen.append(y)
    slope = gg.gradients(states[5].sum() + sum((y.sum() for y in seen), 0.0), start)

    def plain(x):
        total, y = 0.0, x
        for _ in range(5):
            total = total + y.sum() * keep
            y = y + 0.5 * y * y
        return total + y.sum()

    np.testing.assert_allclose(host(slope), gg.grad(plain)(host(start)), rtol=1e-12)


def test_a_value_computed_before_keeps_its_gradient(device):
    x = made([1.0, 2.0], device)
    states = gg.ones((3, 2), dtype="float64", device=device) * x
    y = states[1]
    square = y * y  # saves the row
    states[1] = 7 * x
    assert y.tolist() == [7, 14]
    assert square.tolist() == [1, 4]
    (square.sum() + y.sum()).backward()
    assert x.grad.tolist() == [2 + 7, 4 + 7]


def test_views_of_views_and_constants(device):
    x = made([2.0], device)
    base = gg.zeros((2, 3), dtype="float64", device=device)
    row, last, turned = base[1], base[1][1:], base.T
    last[0] = x[0]  # a view becomes part of the graph, and so does all that looks there
    assert base.tolist() == [[0, 0, 0], [0, 2, 0]]
    assert row.tolist() == [0, 2, 0]
    assert turned[1].tolist() == [0, 2]
    (base.sum() + row.sum() + last.sum() + turned.sum()).backward()
    assert x.grad.tolist() == [4]
    row *= 3.0
    assert base[1].tolist() == turned[:, 1].tolist() == [0, 6, 0]
    with gg.no_grad():
        turned[0, 1] = 5.0  # memory is still shared
    assert row.tolist() == [5, 6, 0]
    assert base.tolist()[1] == [5, 6, 0]


def test_second_derivatives_go_through_views(device):
    def f(x):
        h = x * x
        row, turned = h[0], h.T
        row *= x[1]
        turned[0] += h[:, 1]
        return (h * h).sum()

    x = np.array([[1.0, 2.0], [0.5, 1.5]])
    placed = gg.tensor(x, device=device)
    direction = gg.tensor(np.array([[0.3, -0.2], [0.7, 0.1]]), device=device)
    hvp = host(gg.hvp(f, placed, direction))
    step = 1e-6
    ends = [host(gg.grad(f)(placed + s * direction)) for s in (step, -step)]
    np.testing.assert_allclose(hvp, (ends[0] - ends[1]) / (2 * step), rtol=1e-6)
    _, tangent = gg.jvp(gg.grad(f), (placed,), (direction,))
    np.testing.assert_allclose(host(tangent), hvp, rtol=1e-12)


def test_the_retained_gradient_is_that_of_the_value_of_the_name(device):
    x = made([1.0, 2.0, 3.0], device)
    y = (x * 2).retain_grad()
    before = y * 1
    y[0] = x[1]
    y += 1
    (y * y).sum().backward()
    assert y.grad.tolist() == [6, 10, 14]  # 2 (y + 1)
    assert before.tolist() == [2, 4, 6]
    rows = (gg.stack([x, x])).retain_grad()
    row = rows[0].retain_grad()
    row *= 2.0
    (rows.sum() + row.sum()).backward()
    assert rows.grad.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert row.grad.tolist() == [2, 2, 2]  # the sum of rows came from it too


def test_hooks_stay_with_the_value_that_they_were_registered_for(device):
    x = made([1.0, 2.0], device)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    y[0] = 5.0
    y.sum().backward()
    assert seen == [[0, 1]]


def test_what_looks_elsewhere_keeps_its_node(device):
    x = made([1.0, 2.0], device)
    h = gg.stack([x, x, x])
    first, last = h[0], h[2]
    nodes = first.grad_fn, last.grad_fn
    h[1] = 3.0
    h[1] += x
    assert (first.grad_fn, last.grad_fn) == nodes


def test_a_change_through_a_view_does_not_search_through_memory(device, monkeypatch):
    monkeypatch.setattr(aliasing.gc, "get_objects", None)
    x = made([[1.0, 2.0], [3.0, 4.0]], device)
    h = x * 1.0
    v = h[0]
    v += 1.0
    v *= v
    del v
    h[1:] *= x[1:]
    for row in h:
        row -= x[0]
    for row in h:
        row[1:] += 1.0
    assert h.tolist() == [[3, 8], [8, 15]]


def test_nothing_is_left_behind(device):
    def work():
        x = made([[0.5, 0.25], [1.0, 2.0]], device)
        h = x * 1.0
        rows = list(h)
        rows[0] *= x[1]
        h += 1.0
        h.T[1] = rows[0]
        (h.sum() + rows[1].sum()).backward()

    work()
    gc.collect()
    gc.disable()
    try:
        work()
        assert gc.collect() == 0
    finally:
        gc.enable()


# ---------------------------------------------------------------- refusals


def test_a_view_of_a_leaf_is_refused(device):
    w = made([[1.0, 2.0], [3.0, 4.0]], device)
    for view in (w[0], w.T, w.reshape(-1)[1:]):
        with pytest.raises(GradientError, match=r"view of a leaf .*v = v \+ d.*\.copy\(\)"):
            view += 1.0
        with pytest.raises(GradientError, match="view of a leaf"):
            view[..., 0] = 1.0
    assert w.tolist() == [[1, 2], [3, 4]]
    v = w[0].copy()
    v += 1.0
    v.sum().backward()
    assert w.grad.tolist() == [[1, 1], [0, 0]]


def test_a_detached_tensor_over_the_memory_refuses(device):
    x = made([1.0, 2.0], device)
    h = x * 2
    other = h.detach()
    for change in (lambda: h.__iadd__(x), lambda: h.__setitem__(0, x[1])):
        with pytest.raises(GradientError, match=r"another tensor .*\.detach\(\).*t\.copy\(\)"):
            change()
    assert h.tolist() == other.tolist() == [2, 4]
    other[0] = 9.0  # a change that is not recorded, as the tensor is not
    assert h.tolist() == [9, 4]


def test_the_real_part_of_a_complex_tensor_refuses(device):
    z = gg.tensor(np.array([1 + 2j, 3j]), requires_grad=True, device=device) * 1
    part = z.real
    with pytest.raises(GradientError, match=r"dtype float64, such as its \.real"):
        z *= 2
    with pytest.raises(GradientError, match="dtype complex128"):
        part += 1.0
    assert z.tolist() == [1 + 2j, 3j]


def test_nothing_broadcast_is_written_to(device):
    t = gg.ones(1, device=device)
    x = gg.ones((), device=device, requires_grad=True)
    recorded = t * x
    for one in (gg.broadcast_to(t, (3,)), gg.broadcast_arrays(t, gg.ones(3, device=device))[0]):
        for change in (
            lambda t: t.__setitem__(0, 5.0),
            lambda t: t.__setitem__(0, x),
            lambda t: t.__iadd__(1.0),
            lambda t: t.__iadd__(x),
            lambda t: t[1:].__imul__(2.0),
            lambda t: np.multiply(t, 2.0, out=t),
        ):
            with pytest.raises(ArgumentError, match=r"made by broadcasting.*t = t\.copy\(\)"):
                change(one)
    assert t.tolist() == [1]
    for one in (gg.broadcast_to(recorded, (3,)), gg.broadcast_to(t * x, (3,))):
        with pytest.raises(ArgumentError, match="made by broadcasting"):
            one[0] = x
        with pytest.raises(ArgumentError, match="made by broadcasting"):
            one += 1.0
    assert recorded.tolist() == [1]
    copied = gg.broadcast_to(t, (3,)).copy()
    copied[0] = 5.0
    assert copied.tolist() == [5, 1, 1]


def test_shuffling_rows_is_refused(device):
    t = gg.tensor(np.arange(6.0).reshape(3, 2), device=device)
    for rows in (t, t * gg.ones((), device=device, requires_grad=True)):
        with pytest.raises(ArgumentError, match=r"random\.shuffle: .*gg\.random\.permutation\(t\)"):
            random.shuffle(rows)
    assert t.tolist() == [[0, 1], [2, 3], [4, 5]]
    numbers = gg.tensor(np.arange(6.0), device=device)
    random.shuffle(numbers)  # elements are values
    assert sorted(numbers.tolist()) == [0, 1, 2, 3, 4, 5]


def test_shape_and_dtype_are_those_of_the_tensor(device):
    x = made([1.0, 2.0], device)
    t = gg.zeros(2, dtype="float32", device=device)
    t += x
    assert t.dtype == np.float32
    with pytest.raises(ShapeError, match=r"__iadd__: .*\(2, 2\).*\(2,\)"):
        t += gg.ones((2, 2), device=device)
    whole = gg.tensor(np.array([1, 2]), device=device)
    with pytest.raises(DTypeError, match="__imul__: .*float64.*int64"):
        whole *= x
    assert whole.tolist() == [1, 2]
    t.sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_a_checkpoint_may_change_its_own_tensors_and_no_others(device):
    x = made([1.0, 2.0], device)

    def f(x):
        out = gg.zeros((2, 2), dtype="float64", device=device)
        out[0] = x * x
        row = out[1]
        row += out[0] * x
        return out

    slopes = [gg.gradients(g(x * 1).sum(), x).tolist() for g in (f, gg.checkpoint(f))]
    assert slopes[0] == slopes[1] == [2 + 3, 4 + 12]
    constant, recorded = gg.zeros(2, dtype="float64", device=device), x * 2
    views = constant[:1], recorded[:1]
    for target in (constant, recorded, *views):

        def changes(x, target=target):
            target[0] = x[0]
            return x * x

        with pytest.raises(GradientError, match=r"checkpoint: .* from outside in place.*t\.at"):
            gg.checkpoint(changes)(x * 1)
