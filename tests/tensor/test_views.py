"""In-place changes in recorded code of a base and its views, and what is refused."""

import copy
import gc
import itertools
import random

import numpy as np
import pytest
from arrays import host, made
from interrupts import interrupted_everywhere

import gpugrad as gg
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine import aliasing
from gpugrad.errors import ArgumentError, DTypeError, GradientError, ShapeError
from gpugrad.functions.bind import PUBLIC
from gpugrad.optim.flat import Flat, run_of
from gpugrad.tensor.views import Change

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


def rows_of_zeros(device):
    return gg.zeros((2, 3), dtype="float64", device=device)


def by_index(out):
    return out, [out[0], out[1]]


def unpacked(out):
    return out, list(out)


def without_their_base(out):
    return None, list(out)


def views_of_views(out):
    return out, [out[:1][0], out[1:][0][...]]


def turned(out):
    return out, [out.T[:, 0], out.T.T[1]]


def reshaped(out):
    flat = out.reshape(-1)
    return out, [flat[:3], flat[3:]]


def split(out):
    return out, [half.reshape(-1) for half in np.split(out, 2)]


def made_under_no_grad(out):
    with gg.no_grad():
        return out, [out[0], out[1]]


def copied_by_reference(out):
    return out, [copy.copy(out[0]), copy.copy(out)[1]]


WAYS = [
    by_index, unpacked, without_their_base, views_of_views, turned, reshaped, split,
    made_under_no_grad, copied_by_reference,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_views_of_a_constant_all_get_into_the_graph(way, device):
    """Whichever is changed first, and though they do not overlap each other."""
    w = made([1.0, 2.0, 3.0], device)
    out, (first, second) = way(rows_of_zeros(device))
    first += w
    second += w * w
    second[1:] *= first[:2]
    assert first.tolist() == [1, 2, 3]
    assert second.tolist() == [1, 4 * 1, 9 * 2]
    loss = first.sum() + second.sum()
    slope = [1 + 2 + 4, 1 + 4 * 1 + 9, 1 + 6 * 2]
    if out is not None:
        assert out.tolist() == [first.tolist(), second.tolist()]
        loss, slope = loss + out.sum(), [2 * s for s in slope]
    loss.backward()
    assert w.grad.tolist() == slope


def test_a_change_of_the_base_reaches_views_that_an_earlier_one_did_not(device):
    w = made([1.0, 2.0, 3.0], device)
    out = rows_of_zeros(device)
    first, last = out[0], out[1]
    part = last[1:]
    out[0] = w
    assert (first.sum() + last.sum()).item() == 6
    out[1] = w * w
    assert last.tolist() == [1, 4, 9]
    assert part.tolist() == [4, 9]
    (part.sum() + first.sum()).backward()
    assert w.grad.tolist() == [1, 1 + 4, 1 + 6]


def test_views_apart_from_all_that_changed_stay_constants(device):
    w = made([1.0, 2.0, 3.0], device)
    first, second = rows_of_zeros(device)
    columns = list(gg.zeros((3, 2), dtype="float64", device=device).T)
    first += w
    columns[0] += w
    assert not second.requires_grad
    assert not columns[1].requires_grad
    assert second.tolist() == [0, 0, 0]


def test_a_detached_tensor_follows_the_numbers_and_not_the_graph(device):
    x = made([1.0, 2.0], device)
    h = x * 2
    detached = h.detach()
    with gg.no_grad():
        first = h[:1]
    saved = detached * x  # keeps the old value
    h += x
    h[0] = 7.0
    assert h.tolist() == detached.tolist() == [7, 6]
    assert first.tolist() == [7]
    assert not detached.requires_grad
    assert not first.requires_grad
    (h.sum() + saved.sum()).backward()
    assert x.grad.tolist() == [0 + 2, 3 + 4]


def test_a_change_that_cannot_be_differentiated_ends_in_a_constant(device):
    x = made([1.0, 2.0], device)
    h = x * 2.5
    row, last = h[...], h[1:]
    row //= 1.0
    assert h.tolist() == [2, 5]
    assert last.tolist() == [5]
    assert gg.gradients((h * x).sum() + last.sum(), x).tolist() == [2, 5]


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


def test_a_view_that_looks_elsewhere_stays_a_view(device):
    """Also where nobody knows of it but a node that saved its array."""
    x = made([1.0, 2.0], device)
    h = gg.stack([x, x])
    last = h[1:]
    saved = last * last
    h[:1] = 5.0
    last += x
    assert h.tolist() == [[5, 5], [2, 4]]
    (h.sum() + saved.sum()).backward()
    assert x.grad.tolist() == [2 + 2, 2 + 4]


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


def test_values_that_nodes_saved_are_told_from_views(device):
    """Both are references to the array, and are counted."""
    x = made([1.0, 2.0], device)
    for keep in (False, True):
        h = gg.exp(x)  # saves its output
        held = h[:1] if keep else None
        h *= h * gg.sin(h)  # which save it too
        if keep:
            assert held.item() == h[0].item()
            assert held.grad_fn is not None
    y = host(h)
    np.testing.assert_allclose(y, np.exp(2 * host(x)) * np.sin(np.exp(host(x))))
    e = np.exp(host(x))
    slope = gg.gradients(held.sum(), x)
    np.testing.assert_allclose(host(slope), [(2 * e * e * np.sin(e) + e**3 * np.cos(e))[0], 0])


def test_a_node_that_is_both_operands_of_another_is_one_reference(device):
    x = made([1.0, 2.0], device)
    h = x * 1.0
    s = gg.sin(h)  # which saves h
    held = h[:1]
    h += (s + s).sum()
    assert held.item() == h[0].item() != 1.0
    np.testing.assert_allclose(host(gg.gradients(held.sum(), x)), [1, 0] + 2 * np.cos(host(x)))


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


def test_an_interrupted_change_is_done_or_not():
    def begin():
        x = made([1.0, 2.0], "cpu")
        out = gg.stack([x, x])
        first, last = out
        change = Change("+=", first)  # which changes nothing yet
        return x, out, first, last, change, first + x * x

    def work(state):
        *_, change, result = state
        change.done(result)

    def check(state):
        x, out, first, last, *_ = state
        changed = first.tolist() == [2, 6]
        assert changed or first.tolist() == [1, 2]
        assert out.tolist() == [first.tolist(), last.tolist()]
        for one, factor in ((first, 1), (out, 2)):
            slope = gg.gradients(one.sum(), x, retain_graph=True).tolist()
            assert slope == ([factor + 2, factor + 4] if changed else [factor, factor])

    interrupted_everywhere(begin, work, check, stride=2)


def test_no_interrupt_is_dropped_where_known_arrays_end():
    def work(_):
        rows = gg.zeros((2, 3))
        memory = aliasing.Memory(rows.data)
        for i in range(2):
            assert memory.look(rows[i])  # which ends
        flat = Flat([(2,), (3,)], np.dtype("float32"))
        assert run_of(flat.arrays) is not None

    interrupted_everywhere(lambda: None, work, lambda _: None, stride=2)


# ---------------------------------------------------------------- what is a view

X = np.arange(24.0).reshape(2, 3, 4) + 1
ARGUMENTS = [
    (X,), (X[0],), (X[0, 0],), (X, 1), (X, 0, 1), (X[0], 2), (X, (4, 6)), (X, (2, 0, 1)),
    (X, (2, 2, 3, 4)), (X, X), (X, [0], 0), (X, X.shape), (X, None), (X, 1, 0), (X, None, None),
]  # fmt: skip
OTHERWISE = {"real_if_close"}  # their results depend on the values


def arrays_of(result):
    parts = result if isinstance(result, tuple | list) else [result]
    return [part.data if isinstance(part, gg.Tensor) else part for part in parts]


def owners(arrays):
    return {id(namespace_of(a).owner_of(a)) for a in arrays if getattr(a, "size", 0)}


@pytest.mark.parametrize("name", sorted(n for n in PUBLIC if hasattr(np, n) and n not in OTHERWISE))
@pytest.mark.filterwarnings("ignore")
def test_a_copy_of_numpy_s_shares_no_memory(name, device):
    """Else a change of it would be one of the tensor that it was made of."""
    for (first, *rest), flip in itertools.product(ARGUMENTS, (False, True)):
        array, others = first.copy(), copy.deepcopy(rest)  # some may be out=
        t = gg.tensor(first.copy(), device=device)
        if flip:
            array, t = array[..., ::-1], t[..., ::-1]
        try:
            theirs, ours = getattr(np, name)(array, *others), PUBLIC[name](t, *rest)
        except (
            ArithmeticError, AttributeError, IndexError, TypeError, ValueError, gg.GpugradError
        ):  # fmt: skip
            continue
        views = [np.shares_memory(a, array) for a in arrays_of(theirs) if isinstance(a, np.ndarray)]
        if not any(views):
            kept = arrays_of(ours)
            assert not owners([t.data]) & owners(kept), rest


@pytest.mark.parametrize("method", ["flatten", "clip", "repeat", "take", "copy"])
def test_methods_that_copy_share_no_memory(method, device):
    t = gg.tensor(X.copy(), device=device)
    results = [getattr(t, method)(*((1,) if method in ("repeat", "take") else ()))]
    if method == "flatten":
        results.append(t.T.flatten("F"))
    if method == "copy":  # of which NumPy's ravel is a view
        results.append(t.T.copy())
        results[-1].ravel()[:1] = 99.0
        assert results[-1].max().item() == 99.0
    for result in results:
        result += 1.0
    assert t.tolist() == X.tolist()


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


def test_a_detached_tensor_refuses_a_recorded_change(device):
    x = made([1.0, 2.0], device)
    h = x * 2
    with gg.no_grad():
        views = h.detach(), h[:1], h[...], h.detach()[1:]
    for other in views:
        for change in (lambda t: t.__iadd__(x[0]), lambda t: t.__setitem__(0, x[1])):
            with pytest.raises(
                GradientError, match=r"no part of the graph .*\.detach\(\).*no_grad.*t\.copy\(\)"
            ):
                change(other)
    assert h.tolist() == [2, 4]
    views[0][0] = 9.0  # a change that is not recorded, as the tensor is not
    assert h.tolist() == [9, 4]


def test_the_real_part_of_a_complex_tensor_refuses(device):
    z = gg.tensor(np.array([1 + 2j, 3j]), requires_grad=True, device=device) * 1
    for part in (z.real, z.imag):
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
    with pytest.raises(ArgumentError, match="SGD: .* made by broadcasting"):
        gg.optim.SGD([gg.broadcast_to(t, (3,)).requires_grad_()], lr=0.1)
    copied = gg.broadcast_to(t, (3,)).copy()
    copied[0] = 5.0
    assert copied.tolist() == [5, 1, 1]


SHUFFLES = {
    "random": lambda t: random.shuffle(t),
    "random.Random": lambda t: random.Random(3).shuffle(t),
    "numpy.random": lambda t: np.random.shuffle(t),
    "RandomState": lambda t: np.random.RandomState(3).shuffle(t),
    "Generator": lambda t: np.random.default_rng(3).shuffle(t),
    "axis": lambda t: np.random.default_rng(3).shuffle(t, axis=0),
}  # written out: a call of NumPy's is known by its name


@pytest.mark.filterwarnings("ignore:you are shuffling a 'Tensor'")
@pytest.mark.parametrize("shuffle", SHUFFLES.values(), ids=list(SHUFFLES))
def test_shuffling_rows_is_refused(shuffle, device):
    t = gg.tensor(np.arange(6.0).reshape(3, 2), device=device)
    for rows in (t, t * gg.ones((), device=device, requires_grad=True)):
        with pytest.raises(ArgumentError, match=r"shuffle: .*gg\.random\.permutation\(t\)"):
            shuffle(rows)
        assert rows.tolist() == [[0, 1], [2, 3], [4, 5]]
    numbers = gg.tensor(np.arange(6.0), device=device)
    shuffle(numbers)  # elements are values
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
