"""Indexing against NumPy, with every kind of index, and its gradient against a dense one."""

import numpy as np
import pytest
from arrays import host
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gpugrad as gg

DEVICES = ["cpu", "sim"]
FEW = settings(max_examples=120, deadline=None)


def placed(index, device, as_tensors):
    """An index with its arrays on a device, or as Tensors there."""
    if isinstance(index, tuple):
        return tuple(placed(part, device, as_tensors) for part in index)
    if isinstance(index, np.ndarray):
        return gg.tensor(index, device=device) if as_tensors else gg.Device(device).send(index)
    return index


def check(array, index, device="cpu", as_tensors=False):
    """x[index] and its gradient, knowing from an array of positions what went where."""
    expected = array[index]
    x = gg.tensor(array, device=device, requires_grad=True)
    y = x[placed(index, device, as_tensors)]
    assert y.shape == expected.shape
    assert y.dtype == array.dtype
    np.testing.assert_array_equal(host(y), expected)
    weights = np.arange(1.0, expected.size + 1).reshape(expected.shape)
    (y * gg.tensor(weights, device=device)).sum().backward()
    dense = np.zeros(array.size)
    positions = np.arange(array.size).reshape(array.shape)[index]
    for position, weight in zip(np.ravel(positions), np.ravel(weights), strict=True):
        dense[position] += weight
    np.testing.assert_array_equal(host(x.grad), dense.reshape(array.shape))


def numbers(shape):
    return np.arange(10.0, 10.0 + np.prod(shape, dtype=int)).reshape(shape)


SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def basic(draw):
    shape = draw(SHAPES)
    return shape, draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))


@st.composite
def mixed(draw):
    """Integers, slices, arrays, lists, masks and new axes, some of each."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    common = draw(st.sampled_from([(2,), (3,), (2, 3), (1,), (0,)]))
    parts, axis = [], 0
    stop = draw(st.integers(0, len(shape)))
    while axis < stop:
        size = shape[axis]
        kind = draw(st.sampled_from(["int", "slice", "array", "list", "mask", "none", "one"]))
        if kind == "none":
            parts.append(None)
            continue
        integers = st.integers(-size, size - 1)
        if kind == "int":
            parts.append(draw(integers))
        elif kind == "slice":
            parts.append(draw(st.slices(size)))
        elif kind in ("array", "one"):
            form = common if kind == "array" else (1,)
            parts.append(draw(hnp.arrays(np.int64, form, elements=integers)))
        elif kind == "list":
            parts.append(draw(st.lists(integers, min_size=1, max_size=1)) * common[0])
        elif not any(isinstance(part, np.ndarray | list) for part in parts):
            # As many True as the arrays of `common` broadcast to, where that can be.
            mask = np.zeros(size, bool)
            mask[: draw(st.integers(0, 1))] = True
            parts.append(mask)
        axis += 1
    if draw(st.booleans()) and parts:
        parts.insert(draw(st.integers(0, len(parts))), Ellipsis)
    return shape, tuple(parts)


@FEW
@given(case=basic(), device=st.sampled_from(DEVICES))
def test_basic_indices(case, device):
    shape, index = case
    check(numbers(shape), index, device)


@FEW
@given(data=st.data(), device=st.sampled_from(DEVICES), as_tensors=st.booleans())
def test_integer_arrays(data, device, as_tensors):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    result = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    index = data.draw(hnp.integer_array_indices(shape, result_shape=result))
    check(numbers(shape), index, device, as_tensors)


@FEW
@given(case=mixed(), device=st.sampled_from(DEVICES), as_tensors=st.booleans())
def test_mixed_indices(case, device, as_tensors):
    shape, index = case
    try:
        numbers(shape)[index]
    except IndexError:  # arrays that do not broadcast, or (sim wraps it) a place beyond the end
        with pytest.raises((IndexError, gg.ShapeError)):
            gg.tensor(numbers(shape))[placed(index, "cpu", as_tensors)]
    else:
        check(numbers(shape), index, device, as_tensors)


@FEW
@given(data=st.data(), device=st.sampled_from(DEVICES), as_tensors=st.booleans())
def test_masks(data, device, as_tensors):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    covered = data.draw(st.integers(1, len(shape)))
    mask = data.draw(hnp.arrays(np.bool_, shape[:covered]))
    check(numbers(shape), mask, device, as_tensors)
    check(numbers(shape), (mask, Ellipsis), device, as_tensors)


def test_repeated_indices_add_up(device):
    x = gg.tensor(np.zeros(3), device=device, requires_grad=True)
    x[[0, 0, 2, -1, 0]].sum().backward()
    assert x.grad.tolist() == [3.0, 0.0, 2.0]
    x.zero_grad()
    (x[1] * x[1] + x[1:] @ x[:2] + x[-2]).backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0]


def test_the_second_derivative_of_indexing(device):
    x = gg.tensor(np.array([1.0, 2.0, 3.0]), device=device, requires_grad=True)
    y = (x[[0, 2, 2]] ** 3).sum()
    slope = gg.gradients(y, x, create_graph=True)
    assert gg.gradients(slope.sum(), x).tolist() == [6.0, 0.0, 36.0]


@pytest.mark.parametrize("index", [gg.tensor(1, dtype="int64"), np.int64(1), np.array(1), True])
def test_scalars_as_indices(index):
    array = numbers((3, 2))
    own = index.data if isinstance(index, gg.Tensor) else index
    x = gg.tensor(array, requires_grad=True)
    np.testing.assert_array_equal(host(x[index]), array[own])
    x[index].sum().backward()
    wanted = np.zeros((3, 2))
    wanted[own] = 1
    np.testing.assert_array_equal(host(x.grad), wanted)


def test_an_index_tensor_inside_a_slice_and_from_an_argmax(device):
    x = gg.tensor(np.array([3.0, 9.0, 4.0]), device=device, requires_grad=True)
    k = gg.argmax(x)
    (x[k] + x[: k.cpu().item()].sum() + x[slice(k, None)].sum()).backward()
    assert x.grad.tolist() == [1.0, 2.0, 1.0]


# take, take_along_axis.


def test_masks_in_place_of_indices(device):
    """NumPy's take and bincount count them as 0 and 1; an index of each element is no mask."""
    x = gg.tensor([5.0, 6.0, 7.0], device=device)
    mask = np.array([False, True, True])
    for indices in (mask, gg.asarray(mask, device=device), mask.tolist()):
        assert gg.take(x, indices).tolist() == x.take(indices).tolist() == [5, 6, 6]
    numbers = gg.asarray(mask, device=device)
    assert gg.bincount(numbers).tolist() == [1, 2]
    assert gg.bincount(numbers, weights=x).tolist() == [5, 13]
    with pytest.raises(gg.IndexingError, match=r"take_along_axis: .* got a mask\. Write x\[mask\]"):
        gg.take_along_axis(x, numbers, 0)
    with pytest.raises(gg.IndexingError, match="put_along_axis: .* got a mask"):
        gg.put_along_axis(x, numbers, 1.0, 0)


@FEW
@given(data=st.data(), device=st.sampled_from(DEVICES))
def test_take(data, device):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    axis = data.draw(st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1)))
    size = int(np.prod(shape)) if axis is None else shape[axis]
    form = data.draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    indices = data.draw(hnp.arrays(np.int64, form, elements=st.integers(-size, size - 1)))
    array = numbers(shape)
    positions = np.take(np.arange(array.size).reshape(shape), indices, axis=axis)
    kinds = [gg.Device(device).send(indices), gg.tensor(indices, device=device)]
    if indices.size:
        kinds.append(indices.tolist())
    if axis is not None:
        kinds.append(indices)  # one of NumPy, also for a tensor elsewhere
    for own in kinds:
        x = gg.tensor(array, device=device, requires_grad=True)
        y = gg.take(x, own, axis=axis)
        np.testing.assert_array_equal(host(y), np.take(array, indices, axis=axis))
        (y * y).sum().backward()
        wanted = np.zeros(array.size)
        np.add.at(wanted, positions, 2 * np.take(array, indices, axis=axis))
        np.testing.assert_array_equal(host(x.grad), wanted.reshape(shape))


@FEW
@given(data=st.data(), device=st.sampled_from(DEVICES))
def test_take_along_axis(data, device):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    form = list(shape)
    form[axis] = data.draw(st.integers(0, 4))
    size = shape[axis]
    indices = data.draw(hnp.arrays(np.int64, tuple(form), elements=st.integers(-size, size - 1)))
    array = numbers(shape)
    x = gg.tensor(array, device=device, requires_grad=True)
    y = gg.take_along_axis(x, gg.tensor(indices, device=device), axis=axis)
    expected = np.take_along_axis(array, indices, axis=axis)
    np.testing.assert_array_equal(host(y), expected)
    (y * y).sum().backward()
    positions = np.take_along_axis(np.arange(array.size).reshape(shape), indices, axis=axis)
    wanted = np.zeros(array.size)
    np.add.at(wanted, positions, 2 * expected)
    np.testing.assert_array_equal(host(x.grad), wanted.reshape(shape))


def test_sorting_by_take_along_axis_through_numpy_s_names():
    x = gg.tensor(np.array([[3.0, 1.0, 2.0]]), requires_grad=True)
    order = np.argsort(x.data, axis=1)
    y = np.take_along_axis(x, order, axis=1)
    assert y.tolist() == [[1.0, 2.0, 3.0]]
    (y * np.array([10.0, 20.0, 30.0])).sum().backward()
    assert x.grad.tolist() == [[30.0, 10.0, 20.0]]
    assert np.take(x, [2, 0], axis=1).tolist() == [[2.0, 3.0]]


# Assignment outside a graph.


@FEW
@given(case=mixed(), device=st.sampled_from(DEVICES), as_tensors=st.booleans())
def test_assignment_is_numpy_s(case, device, as_tensors):
    shape, index = case
    array = numbers(shape)
    try:
        value = -np.ones_like(array[index])
    except IndexError:
        return
    t = gg.tensor(array.copy(), device=device)
    place = placed(index, device, as_tensors)
    array[index] = value
    t[place] = gg.tensor(value, device=device) if as_tensors else gg.Device(device).send(value)
    np.testing.assert_array_equal(host(t), array)
    array[index] = 7.0
    t[place] = 7.0
    np.testing.assert_array_equal(host(t), array)


def test_assignment_of_lists_and_through_views(device):
    t = gg.zeros((2, 3), device=device)
    t[0] = [1, 2, 3]
    t[1][1:] = [5, 6]
    t[[0, 1], [0, 0]] += 10
    assert t.tolist() == [[11.0, 2.0, 3.0], [10.0, 5.0, 6.0]]
