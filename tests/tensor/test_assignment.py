"""Item assignment: the pure forms, recorded `t[i] = v`, and where it has to be refused."""

import gc
import sys
import weakref

import numpy as np
import optable
import pytest
from devices import DEVICES
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gpugrad as gg
from gpugrad.backend import sim
from gpugrad.engine import aliasing
from gpugrad.engine.node import Node
from gpugrad.errors import DTypeError, GradientError, ShapeError

FORMS = {
    "set": None, "add": np.add, "multiply": np.multiply, "min": np.minimum, "max": np.maximum,
}  # fmt: skip

# A shape and an index of every sort, with the repeated elements that it may have.
INDICES = [
    ((4,), 1),
    ((4,), slice(3, None, -2)),
    ((2, 3), (Ellipsis, None, 1)),
    ((2, 3), ()),
    ((), ()),
    ((3,), slice(0, 0)),
    ((5,), np.array([True, False, True, True, False])),
    ((2, 3), np.array([[True, False, True], [False, True, False]])),
    ((2, 3), (1, np.array([True, False, True]))),
    ((4,), np.array([1, 1, -3, 0])),
    ((4,), [3, 3]),
    ((4,), np.array([], dtype=np.int64)),
    ((4,), np.array(2)),
    ((3, 2), (np.array([0, 2, 0]), slice(None))),
    ((3, 2), np.array([[0, 1], [1, 1]]).T),
    ((3, 4), (np.array([[0], [2]]), np.array([1, 1, 3]))),
    ((3, 2, 2), (np.array([0, 0]), slice(None), np.array([1, 1]))),
    ((2, 3, 2), (np.array([0, 1, 0]), np.array([[True, False], [True, False], [True, False]]))),
    ((2, 2, 3), (slice(None), 0, np.array([2, 2, 2, 2, 2]))),
]
IDS = [f"{shape}-{index}".replace("\n", "") for shape, index in INDICES]
SELECT = pytest.mark.parametrize(("shape", "index"), INDICES, ids=IDS)


def numbers(shape, seed=0):
    """Numbers with no two of them near each other."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    return np.asarray((rng.permutation(size) * 1.3 + 0.4 + 0.17 * seed).reshape(shape) % 5 - 2)


def by_hand(form, x, index, v):
    """The result, element by element, and which values are in it: for each, its place in v."""
    places = np.arange(x.size).reshape(x.shape)[index]
    while v.ndim > np.ndim(places):  # as in NumPy's own assignment
        v = v[0]
    values = np.broadcast_to(v, places.shape)
    out = x.copy().reshape(-1)
    winners = {}
    for number, (place, value) in enumerate(
        zip(np.ravel(places).tolist(), values.ravel().tolist(), strict=True)
    ):
        out[place] = value if form == "set" else FORMS[form](out[place], value)
        winners[place] = number
    return out.reshape(x.shape), winners, places


def apply(form, x, index, v):
    return getattr(x.at[index], form)(v)


def check(form, shape, index, value_shape, device):
    """Value, first and second derivative against a dense reference and differences."""
    arrays = [numbers(shape, 1), numbers(value_shape, 2)]
    wanted, _, _ = by_hand(form, arrays[0], index, arrays[1])
    weights = numbers(shape, 3)
    directions = [numbers(shape, 4), numbers(value_shape, 5)]

    def slopes(moved, create_graph, device):
        leaves = [gg.tensor(a.copy(), device=device, requires_grad=True) for a in moved]
        result = apply(form, leaves[0], index, leaves[1])
        weight = gg.tensor(weights, device=device)
        total = (result * result * weight + result * weight).sum()
        return leaves, result, total, gg.gradients(total, leaves, create_graph=create_graph)

    leaves, result, _, found = slopes(arrays, True, device)
    assert result.device == device
    np.testing.assert_allclose(result.detach().cpu().numpy(), wanted, rtol=1e-12)
    along = sum(
        (g * gg.tensor(d, device=device)).sum() for g, d in zip(found, directions, strict=True)
    )
    second = gg.gradients(along, leaves, allow_unused=True)

    def value(*moved):
        r = by_hand(form, moved[0], index, moved[1])[0]
        return float((r * r * weights + r * weights).sum())

    def slope_along(*moved):
        g = slopes(moved, False, "cpu")[3]
        return sum(float((a.numpy() * d).sum()) for a, d in zip(g, directions, strict=True))

    firsts = optable.numeric_gradients(value, arrays)
    seconds = optable.numeric_gradients(slope_along, arrays)
    for leaf, g, first, gg2, second_wanted in zip(
        leaves, found, firsts, second, seconds, strict=True
    ):
        assert g.shape == leaf.shape
        assert g.dtype == leaf.dtype
        np.testing.assert_allclose(g.detach().cpu().numpy(), first, rtol=1e-5, atol=1e-6)
        got = np.zeros(leaf.shape) if gg2 is None else gg2.cpu().numpy()
        np.testing.assert_allclose(got, second_wanted, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------- the pure forms


@pytest.mark.parametrize("form", FORMS)
@SELECT
def test_pure_forms_have_values_and_derivatives_of_both_orders(form, shape, index, device):
    raw = tuple(index) if isinstance(index, tuple) else index
    selected = np.empty(shape)[raw].shape
    check(form, shape, index, selected, device)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value_shape", [(), (1,), (2,), (3, 1), (1, 1, 3, 2)], ids=str)
def test_the_value_broadcasts(form, value_shape, device):
    check(form, (4, 2), np.array([1, 3, 1]), value_shape, device)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("value", [2.0, [2.0], [2.0, 5.0], [[2.0], [5.0]]], ids=str)
def test_a_value_that_broadcasts_is_added_as_often_as_it_is_repeated(value, ordered, device):
    """NumPy's own add.at forgets some of them where the array has one axis."""
    x = gg.tensor(np.array([1.0, 4.0]), device=device, requires_grad=True)
    v = gg.tensor(np.array(value), device=device, requires_grad=True)
    with gg.deterministic(ordered):
        y = x.at[np.array([[0, 0], [0, 1]])].add(v)
        spread = np.broadcast_to(value, (2, 2))
        assert y.tolist() == [1 + spread[0].sum() + spread[1, 0], 4 + spread[1, 1]]
        y.sum().backward()
    assert x.grad.tolist() == [1, 1]
    assert v.grad.sum().item() == 4


@pytest.mark.parametrize("place", DEVICES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_set_and_add_agree_with_a_dense_reference(place, data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    integers = hnp.integer_array_indices(
        shape, result_shape=hnp.array_shapes(min_dims=1, max_dims=2, max_side=5)
    )
    index = data.draw(
        st.one_of(
            hnp.basic_indices(shape, allow_newaxis=True),
            integers,
            hnp.arrays(np.bool_, shape),
            hnp.arrays(np.bool_, shape[:1]),
        )
    )
    selected = np.zeros(shape)[index].shape
    value_shape = data.draw(hnp.broadcastable_shapes(selected, max_dims=len(selected), max_side=4))
    if np.broadcast_shapes(value_shape, selected) != selected:
        value_shape = selected
    x, v = numbers(shape, 1), numbers(value_shape, 2)
    weights = numbers(shape, 3)
    for form in ("set", "add"):
        wanted, winners, places = by_hand(form, x, index, v)
        leaves = [gg.tensor(a, device=place, requires_grad=True) for a in (x.copy(), v.copy())]
        result = apply(form, leaves[0], index, leaves[1])
        np.testing.assert_allclose(result.detach().cpu().numpy(), wanted, rtol=1e-12)
        (result * gg.tensor(weights, device=place)).sum().backward()
        for_x, for_values = weights.copy(), np.asarray(weights.reshape(-1)[places])
        if form == "set":
            for_x.reshape(-1)[places] = 0
            lost = np.ones(places.size, bool)
            lost[list(winners.values())] = False
            for_values.reshape(-1)[lost] = 0
        # The transpose of broadcasting is a sum.
        for_v = np.zeros(v.shape)
        np.add.at(for_v, tuple(np.indices(v.shape)), 0)
        owners = np.broadcast_to(np.arange(v.size).reshape(v.shape), places.shape)
        np.add.at(for_v.reshape(-1), np.ravel(owners), np.ravel(for_values))
        np.testing.assert_allclose(leaves[0].grad.cpu().numpy(), for_x, rtol=1e-12)
        np.testing.assert_allclose(leaves[1].grad.cpu().numpy(), for_v, rtol=1e-12, atol=1e-12)


def test_of_repeated_elements_the_last_value_wins_and_the_others_get_no_gradient(device):
    v = gg.tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True, device=device)
    y = gg.index_update(gg.zeros(3, dtype="float64"), [2, 0, 2], v)
    assert y.tolist() == [2, 0, 3]
    y.sum().backward()
    assert v.grad.tolist() == [0, 1, 1]
    scalar = gg.tensor(4.0, requires_grad=True, device=device)
    gg.index_update(gg.zeros(3), [1, 1, 1], scalar).sum().backward()
    assert scalar.grad.item() == 1


def test_min_and_max_split_a_tie_as_maximum_does(device):
    x = gg.tensor([1.0, 5.0], requires_grad=True, device=device)
    v = gg.tensor([1.0, 2.0], requires_grad=True, device=device)
    for form in ("min", "max"):
        x.grad = v.grad = None
        apply(form, x, [0, 1], v).sum().backward()
        a, b = (gg.tensor(t.detach(), requires_grad=True) for t in (x, v))
        getattr(gg, f"{form}imum")(a, b).sum().backward()
        assert x.grad.tolist() == a.grad.tolist()
        assert v.grad.tolist() == b.grad.tolist()


def test_many_of_one_place(device):
    values = np.linspace(0.9, 1.2, 1001)
    v = gg.tensor(values, requires_grad=True, device=device)
    x = gg.tensor(np.array([2.0, 7.0]), requires_grad=True, device=device)
    y = x.at[np.zeros(1001, int)].multiply(v)
    y.sum().backward()
    product = values.prod()
    np.testing.assert_allclose(y.tolist(), [2 * product, 7], rtol=1e-9)
    np.testing.assert_allclose(x.grad.tolist(), [product, 1], rtol=1e-9)
    np.testing.assert_allclose(v.grad.cpu().numpy(), 2 * product / values, rtol=1e-9)


def test_get_is_indexing(device):
    x = gg.tensor([1.0, 2.0, 3.0], requires_grad=True, device=device)
    x.at[[0, 0, 2]].get().sum().backward()
    assert x.grad.tolist() == [2, 0, 1]
    assert "shape (3,)" in repr(x.at[0])


def test_pure_forms_leave_the_tensor_as_it_is(device):
    x = gg.tensor([1.0, 2.0], requires_grad=True, device=device)
    for form in FORMS:
        apply(form, x, 0, 5.0)
        apply(form, x, [0, 0], [5.0, 6.0])
    assert x.tolist() == [1, 2]
    assert x.is_leaf


def test_tensors_and_arrays_of_the_device_are_indices(device):
    x = gg.arange(6.0, device=device).reshape(2, 3)
    x = gg.tensor(x, requires_grad=True)
    rows = gg.tensor(np.array([1, 1, 0]), device=device)
    for index in (rows, rows.data, x.detach() > 2, (rows, rows.data), (rows > 0).data[:2]):
        v = gg.tensor(2.0, requires_grad=True, device=device)
        for form in FORMS:
            y = apply(form, x, index, v)
            assert y.device == device
            raw = [
                p.cpu().numpy() if isinstance(p, gg.Tensor) else gg.tensor(p).cpu().numpy()
                for p in (index if isinstance(index, tuple) else (index,))
            ]
            wanted = by_hand(form, x.detach().cpu().numpy(), tuple(raw), np.array(2.0))[0]
            np.testing.assert_allclose(y.detach().cpu().numpy(), wanted)
            y.sum().backward()
        assert v.grad.device == device


def test_a_raw_array_is_a_tensor_to_index_update(device):
    raw = gg.zeros(3, device=device).data
    y = gg.index_update(raw, 1, 2)
    assert isinstance(y, gg.Tensor)
    assert y.tolist() == [0, 2, 0]
    assert raw.tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_the_dtype_is_that_of_the_tensor(form, dtype, device):
    x = gg.ones(3, dtype=dtype, device=device, requires_grad=True)
    for value in (
        gg.tensor(np.array([1.5, 2.5]), device=device, requires_grad=True),
        gg.tensor(np.float16(1.5), device=device, requires_grad=True),
        np.float64(2),
        2,
        True,
        [1, 2.5],
        gg.tensor(np.array([1, 2]), device=device),
    ):
        x.grad = None
        y = apply(form, x, [0, 2], value)
        assert y.dtype == dtype
        y.sum().backward()
        assert x.grad.dtype == dtype
        if getattr(value, "requires_grad", False):
            assert value.grad.dtype == value.dtype
            assert value.grad.shape == value.shape


@pytest.mark.parametrize("form", FORMS)
def test_whole_numbers_stay_whole(form, device):
    x = gg.tensor(np.array([1, 2, 3]), device=device)
    y = apply(form, x, [0, 1], [4, 5])
    assert y.dtype == np.int64
    for value in (1.5, [1, 1.5], gg.ones(2, device=device), np.float32(1)):
        with pytest.raises(DTypeError, match=r"real numbers do not fit .* dtype int64.*astype"):
            apply(form, x, [0, 1], value)
    with pytest.raises(DTypeError, match="complex numbers do not fit"):
        apply(form, gg.ones(2, device=device), 0, 1j)


def test_numbers_have_no_place_among_booleans(device):
    x = gg.tensor(np.array([True, False]), device=device)
    assert x.at[1].set(True).tolist() == [True, True]
    with pytest.raises(DTypeError, match="whole numbers do not fit"):
        x.at[0].set(2)
    with pytest.raises(DTypeError, match="expected a tensor of numbers, got dtype bool"):
        x.at[0].add(True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("index", [slice(0, 2), [0, 2], np.array([True, False, True])], ids=str)
def test_a_value_that_does_not_fit_is_named_with_both_shapes(form, index, device):
    x = gg.ones(3, device=device)
    with pytest.raises(ShapeError, match=rf"at\[\]\.{form}: .*\(3,\).*\(2,\).*\(3,\)"):
        apply(form, x, index, gg.ones(3, device=device))
    with pytest.raises(ShapeError, match=r"\(2, 2\)"):
        apply(form, x, index, gg.ones((2, 2), device=device))


def test_what_is_no_value_is_refused(device):
    x = gg.ones(3, device=device)
    for value in (None, "one", object()):
        with pytest.raises(DTypeError, match="index_update: expected a Tensor, an array"):
            gg.index_update(x, 0, value)
    with pytest.raises(DTypeError, match=r"gg\.stack"):
        gg.index_update(x, slice(2), [gg.ones(()), gg.ones(())])


def test_an_index_outside_is_an_index_error():
    for change in (lambda x: x.at[3].set(1.0), lambda x: x.at[[0, 5]].add(1.0)):
        with pytest.raises(IndexError, match="out of bounds"):
            change(gg.ones(3))


def test_on_the_host_an_index_that_repeats_nothing_costs_nothing_more():
    x = gg.zeros(3, requires_grad=True)
    assert not x.at[[2, 0]].set([1.0, 2.0]).grad_fn.parameters["ordered"]
    ordered = x.at[[2, 2]].set([1.0, 2.0]).grad_fn
    assert ordered.parameters["ordered"]
    assert ordered.values[-1].tolist() == [1, 1]


def test_an_index_may_be_written_over_after_use(device):
    x = gg.tensor([1.0, 2.0, 3.0], requires_grad=True, device=device)
    index = np.array([0, 0])
    total = x[index].sum() + x.at[index].multiply(5.0).sum() + gg.index_update(x, index, 0.0).sum()
    v = gg.tensor([1.0, 2.0], requires_grad=True, device=device)
    out = gg.zeros(3, device=device)
    out[index] = v
    total = total + out[0] + gg.zeros(3, device=device).at[index].add(v)[0]
    index[:] = 2
    total.backward()
    assert x.grad.tolist() == [2 + 25 + 0, 2, 2]
    assert v.grad.tolist() == [1, 2]


def test_a_mask_beside_integers_counts_repeated_elements(device):
    x = gg.ones((2, 3), device=device, requires_grad=True)
    mask = np.array([True, True, True])
    x[[0, 0, 0], mask].sum().backward()
    assert x.grad.tolist() == [[1, 1, 1], [0, 0, 0]]
    x.grad = None
    x[[0, 0, 0], np.array([False, True, False])].sum().backward()
    assert x.grad.tolist() == [[0, 3, 0], [0, 0, 0]]


# ---------------------------------------------------------------- t[i] = v, recorded


@SELECT
def test_assignment_records_what_the_pure_form_does(shape, index, device):
    v = gg.tensor(numbers(np.empty(shape)[index].shape, 2), requires_grad=True, device=device)
    for make in (
        lambda: gg.zeros(shape, dtype="float64", device=device),
        lambda: gg.zeros(shape, dtype="float64", device=device, requires_grad=True) * 2,
    ):
        out = make()
        before = out
        out[index] = v
        assert out is before
        same = make().at[index].set(v)
        np.testing.assert_array_equal(out.detach().cpu().numpy(), same.detach().cpu().numpy())
        weights = gg.tensor(numbers(shape, 3), device=device)
        one, other = (gg.gradients((y * weights).sum(), v) for y in (out, same))
        np.testing.assert_array_equal(one.cpu().numpy(), other.cpu().numpy())


def test_a_loop_fills_a_tensor(device):
    x = gg.tensor(2.0, requires_grad=True, device=device)
    out = gg.zeros(5, device=device)
    for i in range(5):
        out[i] = x**i
    assert out.tolist() == [1, 2, 4, 8, 16]
    out.sum().backward()
    assert x.grad.item() == sum(i * 2 ** (i - 1) for i in range(5))


@pytest.mark.parametrize("n", [3, 12])
def test_a_recurrence_has_derivatives_of_both_orders(n, device):
    x = gg.tensor(np.array([1.1, 0.9]), requires_grad=True, device=device)
    out = gg.zeros((n, 2), dtype="float64", device=device)
    out[0] = x
    for i in range(1, n):
        out[i] = out[i - 1] * x
    slope = gg.gradients(out.sum(), x, create_graph=True)
    curve = gg.gradients(slope.sum(), x)
    k = np.arange(1, n + 1)[:, None]
    raw = x.detach().cpu().numpy()
    np.testing.assert_allclose(slope.detach().cpu().numpy(), (k * raw ** (k - 1)).sum(0))
    np.testing.assert_allclose(curve.cpu().numpy(), (k * (k - 1) * raw ** (k - 2.0)).sum(0))


def test_a_recurrence_may_name_an_element(device):
    x = gg.tensor(2.0, requires_grad=True, device=device)
    out = gg.ones(4, device=device)
    for i in range(3):
        element = out[i]  # no view, on any device
        out[i + 1] = element * x
    assert out.tolist() == [1, 2, 4, 8]
    assert element.item() == 4
    with gg.no_grad():
        element, inner = out[3], out[..., 3]
        out[3] = 5
    assert element.item() == 8
    assert inner.item() == 5


def test_a_recurrence_of_checkpoints(device):
    x = gg.tensor(np.array([0.5, 0.25]), requires_grad=True, device=device)
    slopes = []
    for step in (lambda h, x: gg.tanh(h * x) * x, gg.checkpoint(lambda h, x: gg.tanh(h * x) * x)):
        out = gg.zeros((4, 2), dtype="float64", device=device)
        out[0] = x
        for i in range(3):
            out[i + 1] = step(out[i], x)
        slopes.append(gg.gradients(out.sum(), x).cpu().numpy())
    np.testing.assert_array_equal(*slopes)


def test_the_loop_does_not_search_through_memory(device, monkeypatch):
    def never():
        raise AssertionError("gc was asked")

    monkeypatch.setattr(aliasing.gc, "get_objects", never)
    x = gg.tensor(np.array([0.5, 0.25]), requires_grad=True, device=device)
    out = gg.zeros((4, 2), dtype="float64", device=device)
    out[0] = x
    out[1:] = gg.ones((3, 2), device=device)
    for i in range(1, 4):
        out[i] = gg.tanh(out[i - 1] * x + out[0] * out[i])
    out[:2] *= x
    out[2:] = out[:2] * 1
    out[...] = gg.exp(out)
    out[0] = x
    out = gg.exp(x)
    out[0] = x[1]
    assert out.requires_grad


def test_the_fast_path_is_taken_where_nothing_is_saved(monkeypatch):
    def never(*args):
        raise AssertionError("the slow path was taken")

    monkeypatch.setattr(sys.modules["gpugrad.tensor.views"], "sharers", never)
    x = gg.tensor(2.0, requires_grad=True)
    for out in (gg.zeros(3), gg.zeros(6).reshape(2, 3), x * gg.ones(3), (x * gg.ones(3)).T):
        for i in range(2):
            out[i] = x * i
        assert out.requires_grad


def test_all_names_of_the_tensor_see_the_assignment(device):
    x = gg.tensor(3.0, requires_grad=True, device=device)
    out = gg.zeros(2, device=device)
    alias, kept = out, {"out": [out]}
    out[1] = x
    assert alias is out
    assert alias.tolist() == kept["out"][0].tolist() == [0, 3]
    assert not out.is_leaf
    alias.sum().backward()
    assert x.grad.item() == 1


def test_the_name_goes_with_the_tensor(device):
    out = gg.zeros(2, device=device)
    out.name = "states"
    out[0] = gg.ones((), device=device, requires_grad=True)
    assert out.name == "states"
    assert out.grad_fn.name == "states"


def test_what_was_computed_before_keeps_its_value_and_gradient(device):
    x = gg.tensor(np.array([2.0, 3.0]), requires_grad=True, device=device)
    h = gg.exp(x)  # which keeps its output for the derivative
    square = h * h  # which keeps it as well
    h[0] = x[1] * 0
    assert h.tolist() == [0, pytest.approx(np.exp(3.0))]
    (square.sum() + h.sum()).backward()
    raw = np.array([2.0, 3.0])
    np.testing.assert_allclose(
        x.grad.cpu().numpy(), 2 * np.exp(2 * raw) + np.array([0, np.exp(3.0)])
    )


def test_a_scalar_may_be_assigned_as_a_whole(device):
    x = gg.tensor(3.0, requires_grad=True, device=device)
    for index in ((), Ellipsis):
        for t in (gg.tensor(1.0, device=device), gg.sum(x * gg.ones(2, device=device))):
            t[index] = x * x
            assert t.shape == ()
            assert gg.gradients(t, x).item() == 6


def test_constants_are_assigned_to_recorded_tensors(device):
    x = gg.tensor([1.0, 2.0, 3.0], requires_grad=True, device=device)
    y = x * 2
    y[0] = 7
    y[gg.tensor(np.array([False, True, False]), device=device)] = 8.0
    y[2:] = [9]
    assert y.tolist() == [7, 8, 9]
    assert y.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [0, 0, 0]


def test_outside_a_graph_memory_changes(device):
    for t in (gg.zeros((3, 2), device=device), gg.zeros((3, 2), device=device, requires_grad=True)):
        array = t.data
        with gg.no_grad():
            t[1] = gg.tensor([1.0, 2.0], device=device)
            t[0, 1] = 5
            t[[2, 2]] = gg.tensor([[3.0, 3.0], [4.0, 4.0]], device=device)
            t[np.array([[0], [0]]), 0] = [[6], [7]]
        assert t.data is array
        assert t.tolist() == [[7, 5], [1, 2], [4, 4]]
        assert t.is_leaf


def test_the_last_of_repeated_elements_wins_in_memory_too(device):
    t = gg.zeros(4, device=device)
    # NumPy assigns in the order of these arrays in memory.
    index = np.asfortranarray(np.array([[0, 1], [1, 0], [3, 0]]))
    value = np.asfortranarray(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], np.float32))
    t[index] = gg.tensor(value, device=device)
    assert t.tolist() == [6, 3, 0, 5]
    v = gg.tensor(value, device=device, requires_grad=True)
    assert gg.zeros(4, device=device).at[index].set(v).tolist() == t.tolist()


def test_the_last_wins_where_the_device_writes_in_any_order(monkeypatch):
    plain = sim.ndarray.__setitem__

    def backwards(self, key, value):
        if isinstance(key, sim.ndarray) and key.ndim == 1 and getattr(value, "ndim", 0) == 1:
            key, value = key[::-1], value[::-1]
        plain(self, key, value)

    monkeypatch.setattr(sim.ndarray, "__setitem__", backwards)
    v = gg.tensor([1.0, 2.0, 3.0], requires_grad=True, device="sim")
    t = gg.zeros(2, device="sim")
    t.data[v.data.astype(int) * 0] = v.data
    assert t.tolist() == [1, 0]  # the device does as CuPy may
    y = t.at[[1, 0, 1]].set(v)
    assert y.tolist() == [2, 3]
    t[[1, 0, 1]] = v.detach()
    assert t.tolist() == [2, 3]
    assert gg.gradients(y.sum(), v).tolist() == [0, 1, 1]


def test_a_list_is_assigned_in_the_dtype_of_the_tensor(device):
    t = gg.zeros(2, dtype="float64", device=device)
    t[:] = [0.1, 0.2]
    assert t.tolist() == [0.1, 0.2]
    t = t * gg.ones((), dtype="float64", device=device, requires_grad=True)
    t[:] = [0.3, 0.4]
    assert t.tolist() == [0.3, 0.4]


def test_errors_of_assignment_name_both_shapes(device):
    for t in (gg.zeros(3, device=device), gg.zeros(3, device=device, requires_grad=True) * 1):
        for index in (slice(2), [0, 1], np.array([True, True, False])):
            with pytest.raises(ShapeError, match=r"item assignment: .*\(3,\).*\(2,\).*\(3,\)"):
                t[index] = gg.ones(3, device=device)
    t = gg.zeros(3, dtype="int64", device=device)
    with pytest.raises(DTypeError, match="item assignment: real numbers do not fit"):
        t[0] = gg.ones((), device=device, requires_grad=True)
    assert t.tolist() == [0, 0, 0]


def test_a_refused_assignment_leaves_the_tensor_as_it_was(device):
    t = gg.zeros(3, device=device, requires_grad=True) * 1
    node, array = t._node, id(t._array)
    with pytest.raises(ShapeError):
        t[:2] = gg.ones(3, device=device)
    assert t._node is node
    assert id(t._array) == array


def test_a_value_on_another_device_is_refused():
    out = gg.zeros(2, device="sim")
    with pytest.raises(gg.errors.DeviceError):
        out[0] = gg.ones((), requires_grad=True)


ASSIGNED = {
    "number": lambda x: x.at[0].set(5.0),
    "whole number": lambda x: x.at[0].set(5),
    "scalar of NumPy": lambda x: x.at[0].set(np.float32(5)),
    "negative zero": lambda x: x.at[0].set(-0.0),
    "list": lambda x: x.at[[0, 1]].set([5.0, 6.0]),
    "mask": lambda x: x.at[np.array([True, False, True])].set(2.0),
    "repeated": lambda x: x.at[[0, 0]].multiply(5.0),
    "nothing": lambda x: x.at[0:0].set(3.0),
}


def item(index, number):
    def f(x):
        y = x * x
        y[index] = number
        y[2] = y[1] * x[0]
        return y

    return f


for _index in (0, slice(0, 2), [0, 1]):
    ASSIGNED[f"t[{_index}]"] = item(_index, 5.0)


@pytest.mark.parametrize("f", ASSIGNED.values(), ids=list(ASSIGNED))
def test_an_assigned_number_has_a_tangent_of_zero(f, device):
    x = gg.tensor(np.array([1.0, 2.0, 3.0]), device=device)
    wanted = np.stack([gg.grad(lambda x, i=i: f(x)[i])(x).cpu().numpy() for i in range(3)])
    columns = [gg.jvp(f, (x,), (one,))[1].cpu().numpy() for one in gg.eye(3, dtype=x.dtype)]
    np.testing.assert_array_equal(np.stack(columns, axis=1), wanted)
    np.testing.assert_array_equal(gg.jacobian(f)(x).cpu().numpy(), wanted)


# ---------------------------------------------------------------- refusals


def recorded_value(device):
    return gg.tensor(1.0, requires_grad=True, device=device)


def test_a_leaf_that_requires_a_gradient_is_not_assigned_to(device):
    t = gg.zeros(3, device=device, requires_grad=True)
    for value in (1.0, recorded_value(device)):
        with pytest.raises(GradientError, match=r"leaf .*no_grad.*t\.at\[index\]\.set"):
            t[0] = value
    assert t.tolist() == [0, 0, 0]


# What somebody holds who would see an assignment in NumPy. Those that are tensors of the graph do.
VIEWS = {
    "row": lambda t: t[0],
    "column": lambda t: t[:, 1],
    "row of a row": lambda t: t[2][1:],
    "transposed": lambda t: t.T,
    "reshaped": lambda t: t.reshape(-1),
    "newaxis": lambda t: t[None],
    "rows": lambda t: list(t)[2],
    "closure": lambda t: (lambda view=t[1:]: view)(),
    "in a graph and held": lambda t: (lambda r: (r, r * recorded_value(t.device)))(t[2])[0],
}
HELD = {
    "data": lambda t: t.data,
    "view of data": lambda t: t.data[0],
}


def targets(device):
    two = gg.tensor(2.0, requires_grad=True, device=device)
    return {
        "constant": lambda: gg.zeros((3, 2), device=device),
        "constant view": lambda: gg.zeros(6, device=device).reshape(3, 2),
        "recorded": lambda: gg.ones((3, 2), device=device) * two,
        "recorded view": lambda: (gg.ones(6, device=device) * two).reshape(3, 2),
        "saved": lambda: gg.exp(gg.ones((3, 2), device=device) * two),
        "saved view": lambda: gg.exp(gg.ones(6, device=device) * two).reshape(3, 2),
    }


@pytest.mark.parametrize("target", targets("cpu"))
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_sees_an_assignment_to_its_base(target, view, device):
    x = recorded_value(device)
    t = targets(device)[target]()
    kept = t * t
    squares = (t.detach() ** 2).tolist()
    other = VIEWS[view](t)
    t[2] = 3 * x
    assert t.tolist()[2] == [3, 3]
    assert other.tolist() == VIEWS[view](t).tolist()
    assert kept.tolist() == squares
    count = (other.detach() == 3).sum().item()
    x.grad = None
    other.sum().backward() if count else None
    assert (x.grad.item() if count else 0) == 3 * count


@pytest.mark.parametrize("target", targets("cpu"))
@pytest.mark.parametrize("held", HELD)
def test_an_array_over_the_memory_of_the_target_refuses(target, held, device):
    t = targets(device)[target]()
    x = recorded_value(device)
    other = HELD[held](t)
    before = t.tolist()
    with pytest.raises(GradientError, match=r"(?s)\(3, 2\) is shared with another .*t\.copy"):
        t[2] = x
    assert t.tolist() == before
    # The ways out that the error names.
    made = t.at[2].set(x)
    assert made.tolist() == [*before[:2], [1, 1]]
    t = t.copy()
    t[2] = x
    assert t.tolist() == made.tolist()
    del other
    t = targets(device)[target]()
    other = HELD[held](t)
    del other
    t[2] = x
    assert t.tolist() == made.tolist()


def test_an_array_that_the_tensor_was_made_from_refuses():
    array = np.zeros(3)
    x = recorded_value("cpu")
    out = gg.tensor(array)
    with pytest.raises(GradientError, match="shared with another array"):
        out[0] = x
    out = gg.tensor(array[1:])
    with pytest.raises(GradientError, match="shared with another array"):
        out[0] = x
    out = gg.zeros(3)
    host = out.numpy()
    with pytest.raises(GradientError, match="shared with another array"):
        out[0] = x
    assert host.tolist() == [0, 0, 0]
    foreign = gg.tensor(np.frombuffer(bytearray(12), np.float32))
    with pytest.raises(GradientError, match="shared with another array"):
        foreign[0] = x
    out = gg.tensor(array.copy())
    out[0] = x
    assert out.requires_grad


def test_a_tensor_over_another_tensor_s_memory_refuses(device):
    x = gg.tensor([1.0, 2.0], requires_grad=True, device=device)
    out = x.detach()
    with pytest.raises(GradientError, match="a view of a leaf"):
        out[0] = x[1]
    assert x.tolist() == [1, 2]


def test_arrays_that_graphs_keep_do_not_refuse(device):
    x = gg.tensor(np.array([1.0, 2.0]), requires_grad=True, device=device)
    out = gg.ones((3, 2), dtype="float64", device=device)
    kept = [out[0] * x, out.T[0] * x[0], gg.stack([x, x]) * out[:2]]  # graphs of their own
    out[0] = x
    later = [out[1] * x, (out.reshape(-1)[:2] * x).sum(), out @ x]
    out[1] = x * 3
    out[2] = out[0] * out[1]
    total = sum(k.sum() for k in kept + later) + out.sum()
    total.backward()
    raw = np.array([1.0, 2.0])
    # kept: x + 3 x0 + 2 x; later: x, x . x, x . x + 2 sum(x); out: x + 3 x + 3 x x
    wanted = 1 + np.array([3, 0]) + 2 + 1 + 2 * raw + (2 * raw + 2) + 4 + 6 * raw
    np.testing.assert_allclose(x.grad.cpu().numpy(), wanted)


def test_outputs_of_one_operation_may_be_assigned_to(device):
    x = gg.tensor(np.array([1.0, 2.0, 3.0, 4.0]), requires_grad=True, device=device)

    @gg.custom_op(saves="y")
    def both(xp, x):
        return xp.exp(x), xp.exp(-x)

    @both.defvjp
    def _(xp, g, y, x):
        return g[0] * y[0] - g[1] * y[1]

    up, _ = both(x)
    up[0] = x[3]  # the operation keeps its outputs
    up.sum().backward(retain_graph=True)
    np.testing.assert_allclose(x.grad.cpu().numpy(), [0, *np.exp([2.0, 3.0]), 1 + np.exp(4.0)])
    low, high = gg.split(up, 2)
    low[0] = x[0] * x[0]  # the pieces are views of one array
    assert up.tolist()[0] == 1
    assert high.shape == (2,)
    x.grad = None
    up.sum().backward()
    np.testing.assert_allclose(x.grad.cpu().numpy(), [2, *np.exp([2.0, 3.0]), np.exp(4.0)])


@pytest.mark.skipif(
    not aliasing._TEMPORARY < aliasing._NAMED,
    reason="this Python counts the references to a value without a name like those with one",
)
def test_a_view_assigned_to_its_own_tensor(device, monkeypatch):
    x = gg.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True, device=device)
    t = x * 1
    monkeypatch.setattr(aliasing.gc, "get_objects", None)  # which is not called for this
    t[1:] = t[:-1]
    monkeypatch.undo()
    assert t.tolist() == [1, 1, 2, 3]
    t[...] = t
    t.sum().backward()
    assert x.grad.tolist() == [2, 1, 1, 0]
    view = t[:2]
    t[2:] = view
    assert t.tolist() == [1, 1, 1, 1]


# ---------------------------------------------------------------- t[2:] += 1


def test_in_place_on_a_slice_changes_memory_outside_a_graph(device):
    t = gg.ones(4, device=device)
    array, view = t.data, t[2:]
    t[2:] += 1
    t[0] -= 3
    t[gg.tensor(np.array([1]), device=device)] *= 5
    assert t.data is array
    assert t.tolist() == [-2, 5, 2, 2]
    assert view.tolist() == [2, 2]
    leaf = gg.ones(4, device=device, requires_grad=True)
    with gg.no_grad():
        leaf[2:] *= 4
    assert leaf.tolist() == [1, 1, 4, 4]
    assert leaf.is_leaf


def test_in_place_on_a_slice_is_seen_by_a_graph_that_needs_the_old_value(device):
    x = gg.tensor([1.0, 2.0, 3.0], requires_grad=True, device=device)
    t = gg.ones(3, device=device)
    product, total = (t * x).sum(), (t + x).sum()
    t[2:] += 1
    with pytest.raises(GradientError, match="multiply needs its argument 'a'.*changed in place"):
        product.backward()
    total.backward()  # which needs no value
    assert x.grad.tolist() == [1, 1, 1]
    square = (x * x).sum()
    with gg.no_grad():
        x[2:] += 1
    with pytest.raises(GradientError, match="changed in place"):
        square.backward()


@pytest.mark.parametrize("index", [slice(2, None), 2, [2, 3], np.arange(4) > 1], ids=str)
def test_in_place_on_a_slice_in_recorded_code(index, device):
    x = gg.tensor(3.0, requires_grad=True, device=device)
    for t in (
        gg.ones(4, device=device),  # a constant, which becomes recorded
        gg.ones(4, device=device) * x / 3,
    ):
        name = t
        t[index] += x
        t[index] *= x
        assert t is name
        selected = np.zeros(4)
        selected[index] = 1
        np.testing.assert_allclose(t.tolist(), np.where(selected == 1, 12, 1))
        t.sum().backward()
    # (1 + x) x, and (x/3 + x) x
    count = selected.sum()
    np.testing.assert_allclose(x.grad.item(), count * 7 + count * 8 + (4 - count) / 3, rtol=1e-6)


def test_in_place_on_a_slice_by_a_constant_in_recorded_code(device):
    x = gg.tensor([1.0, 2.0, 3.0], requires_grad=True, device=device)
    t = x * 2
    saved = t * t
    t[1:] += 1
    t[1:] *= 3
    assert t.tolist() == [2, 15, 21]
    (t.sum() + saved.sum()).backward()  # the old value is still there
    assert x.grad.tolist() == [2 + 8, 6 + 16, 6 + 24]


def test_in_place_on_a_slice_of_a_leaf_is_refused(device):
    x = gg.ones(3, device=device, requires_grad=True)
    with pytest.raises(GradientError, match="leaf"):
        x[1:] += 1
    assert x.tolist() == [1, 1, 1]


# ---------------------------------------------------------------- memory


def test_nothing_is_left_behind(device):
    gc.collect()  # what other tests have left, before it is counted
    if device.kind == "cuda":  # what is left of compiling the kernels is not ours
        assign_in_a_graph(device)
    gc.collect()
    gc.disable()
    try:
        assign_in_a_graph(device)
        assert gc.collect() == 0
    finally:
        gc.enable()


def assign_in_a_graph(device):
    before = sum(isinstance(o, Node) for o in gc.get_objects())
    x = gg.tensor(np.array([0.5, 0.25]), requires_grad=True, device=device)
    out = gg.zeros((6, 2), dtype="float64", device=device)
    for i in range(6):
        out[i] = x * i
        out[i:] *= out[0] * x + 1
    assert sum(isinstance(o, Node) for o in gc.get_objects()) > before
    out.sum().backward()
    del out
    assert sum(isinstance(o, Node) for o in gc.get_objects()) == before


def test_an_assignment_that_replaces_a_tensor_lets_go_of_its_memory():
    x = gg.tensor(1.0, requires_grad=True)
    out = gg.zeros(1000) * x
    old = weakref.ref(out._array)
    out[0] = x
    assert old() is None


@pytest.mark.parametrize("zero", [-0.0, np.float32(-0.0), np.array(-0.0), complex(-0.0, -0.0)])
def test_a_negative_zero_keeps_its_sign(zero, device):
    """CuPy fills a number that equals 0 in as bytes of 0."""
    dtype = np.complex128 if isinstance(zero, complex) else np.float64
    ones = gg.ones(3, dtype=dtype)
    ones[1] = zero
    ones[2:] = zero
    moved = [ones, gg.ones(2, dtype=dtype).at[0].set(zero), gg.asarray(zero), gg.full(2, zero)]
    signs = [np.signbit(t.cpu().numpy().real).tolist() for t in moved]
    assert signs == [[False, True, True], [True, False], True, [True, True]]


@pytest.mark.parametrize("name", ["apply", "divide", "mul", "power", "subtract"])
def test_methods_of_other_libraries_say_what_to_write(name):
    with pytest.raises(
        AttributeError, match=rf"at\[\] has no method '{name}'\. Write x\.at\[index"
    ):
        getattr(gg.ones(3).at[0], name)
    assert not hasattr(gg.ones(3).at[0], "else")
