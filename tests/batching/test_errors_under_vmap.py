"""What a bad call raises under vmap is what it raises for one element: the same type and text.

Calls are made of the table's samples by an operand of another shape, an axis that is none, and the
like; those that are refused without vmap are compared.
"""

import inspect
import zlib

import composed
import numpy as np
import optable
import pytest

import gpugrad as gg
from gpugrad.backend.namespace import namespace_of
from gpugrad.batching.namespace import batched_type
from gpugrad.engine.op import TABLE
from gpugrad.errors import BatchError, IndexingError

# Ops whose shapes their callers have checked.
INTERNAL = {"attention", "elman", "from_diagonal", "lstm", "matrix_function"}
# Checks before an op, in words of their own wherever indices are not read, as on a GPU.
UNREAD = {"put_along_axis"}


def resized(arrays):
    """Lists of operands, of which one has another shape."""
    for i, array in enumerate(arrays):
        others = [np.concatenate([array, array[:1]]), array[0]] if array.size and array.ndim else []
        others += [np.repeat(array, 2, axis=-1)] if array.ndim > 1 else []
        for other in [*others, np.stack([array] * 4)]:
            yield [*arrays[:i], other, *arrays[i + 1 :]]


def replaced(op, sample):
    """Parameters of an op, of which one names an axis, a size or an index that there is not."""
    own = {
        name: p.default
        for name, p in op.signature.parameters.items()
        if p.kind is p.KEYWORD_ONLY and p.default is not inspect.Parameter.empty
    }
    for name, value in {**own, **sample.parameters}.items():
        others = []
        if name == "index":
            others = [9, (0,) * 7, (Ellipsis, Ellipsis)]
        elif isinstance(value, int) and not isinstance(value, bool):
            others = [7, -9]
        elif isinstance(value, tuple) and value and all(type(one) is int for one in value):
            others = [(*value[:-1], 7), (-9, *value[1:]), (value[0],) * len(value), value[:-1]]
        elif value is None and name in ("axis", "axes"):
            others = [7, (0, 0), (0, 7)]
        for other in others:
            yield {**sample.parameters, name: other}


def raised(call):
    try:
        call()
    except Exception as error:  # noqa: BLE001  any may come, and both are compared
        return type(error), str(error)
    return None


def compare(name, f, arrays):
    """The number of calls that were refused and compared."""
    tensors = [gg.tensor(array) for array in arrays]
    expected = raised(lambda: f(*tensors))
    if expected is None:
        return 0
    count = len(arrays)
    turn = zlib.crc32(repr((name, [array.shape for array in arrays])).encode())
    for held in [{turn % count}, set(range(count))]:
        given = [
            gg.tensor(np.stack([array, array])) if k in held else tensor
            for k, (array, tensor) in enumerate(zip(arrays, tensors))
        ]
        axes = tuple(0 if k in held else None for k in range(count))
        found = raised(lambda given=given, axes=axes: gg.vmap(f, axes)(*given))
        # What vmap cannot do at all, it says first: as of a mask that is another one for each.
        assert found == expected or found[0] is BatchError, (held, [a.shape for a in arrays])
    return 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("op", TABLE.values(), ids=optable.case_id)
def test_of_an_op(op):
    if op.name in INTERNAL or op.name == "to_device":
        return

    def called(parameters):
        given = type(sample)(*sample.shapes, **parameters)
        return lambda *tensors: optable.apply(op, given, list(tensors))

    for sample in optable.samples(op):
        arrays = optable.arrays_for(op, sample)
        for operands in resized(arrays):
            compare(op.name, called(sample.parameters), operands)
        for parameters in replaced(op, sample):
            compare(op.name, called(parameters), arrays)


@pytest.mark.filterwarnings("ignore")
def test_of_functions_that_are_made_of_others():
    count = 0
    for case in composed.CASES:
        if case.name in UNREAD:
            continue
        for operands in resized(case.arrays()):
            count += compare(case.name, lambda *x, case=case: case.apply(x), operands)
        for words in ({"axis": 7}, {"axis": (0, 0)}, {"axes": (0, 9)}):

            def f(*x, case=case, words=words):
                function = getattr(gg, case.name)
                return case.call(lambda *given, **own: function(*given, **{**own, **words}), *x)

            count += compare(case.name, f, case.arrays())
    assert count > 1000


def test_of_another_element_than_the_first():
    x, i = gg.ones((3, 2)), np.array([0, 1, 7])
    with pytest.raises(IndexingError, match="index 7 is out of bounds for axis 0 with size 2"):
        gg.vmap(lambda row, k: row[k])(x, i)
    matrices = np.stack([np.eye(2), np.zeros((2, 2))])
    with pytest.raises(np.linalg.LinAlgError, match=r"inv: Singular.*shape \(2, 2\)$"):
        gg.vmap(gg.linalg.inv)(matrices)
    places = np.zeros(1000, np.int64)
    places[[643, 871]] = 9, -7  # found by bisection
    with pytest.raises(IndexingError, match="index 9 is out of bounds for axis 0 with size 2"):
        gg.vmap(lambda k: x[0][k])(places)
    with pytest.raises(gg.ShapeError, match=r"inner sizes differ: \(2,\) @ \(3,\)"):
        gg.vmap(gg.vmap(lambda a, b: a @ b, (0, None)), (0, None))(gg.ones((4, 3, 2)), gg.ones(3))


@pytest.mark.parametrize("index", [5, (0, 0), slice(0, 2)], ids=repr)
def test_of_an_assignment(index):
    def f(x):
        y = x * 1
        y[index] = gg.ones(3)
        return y

    x = np.ones((4, 3))
    expected = raised(lambda: f(gg.tensor(x[0])))
    assert expected is not None
    assert raised(lambda: gg.vmap(f)(x)) == expected
    assert raised(lambda: gg.vmap(gg.vmap(f))(np.ones((2, 4, 3)))) == expected


@pytest.mark.parametrize("bins", [0, -2, [0.0, 2.0, 1.0]], ids=str)
def test_of_the_bins_of_a_histogram(bins):
    x = np.ones((4, 3))
    for f in (lambda x: gg.histogram(x, bins)[0], lambda x: gg.histogram2d(x, x, bins)[0]):
        with pytest.raises(ValueError, match=r"positive|increase monotonically"):
            gg.vmap(f)(x)
        with pytest.raises(ValueError, match=r"positive|increase monotonically"):
            f(gg.tensor(x[0], requires_grad=True))


def test_a_mask_of_another_size():
    with pytest.raises(IndexingError, match="boolean index did not match .* axis 0; size of axis"):
        gg.vmap(lambda x: x[np.array([True, False, True])])(gg.ones((2, 4, 3)))


def test_no_element_fails_where_there_is_no_memory(monkeypatch):
    """What the whole batch has no memory for is not tried again for each element."""

    def full(x):
        calls.append(x.array.shape)
        raise MemoryError("full")

    calls = []
    monkeypatch.setattr(batched_type(namespace_of(np.ones(1))).xp, "sinh", full)
    with pytest.raises(gg.OutOfMemoryError, match="sinh"):
        gg.vmap(gg.sinh)(np.ones((1000, 2)))
    assert calls == [(1000, 2)]
