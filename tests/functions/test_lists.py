"""Lists and Python's numbers beside arrays: they take the arrays' dtype and keep their digits."""

import numpy as np
import pytest
from composed import CASES
from optable import PLAIN_CALL, arrays_for, drawn, prepared, samples

import gpugrad as gg
from gpugrad.engine.op import TABLE
from gpugrad.functions import FUNCTIONS


def _of_table():
    for op in TABLE.values():
        if op.name not in PLAIN_CALL or not samples(op) or len(op.arrays) < 2 or op.observe:
            continue
        sample = next(s for s in samples(op) if len(s.shapes) > 1)
        places = [i for i in range(len(sample.shapes)) if drawn(op, i) == "real"]

        def call(*arrays, op=op, sample=sample):
            return FUNCTIONS[op.name](*arrays, **sample.parameters)

        if len(places) > 1:
            yield op.name, call, prepared(op, arrays_for(op, sample)), places


class _SeenError(Exception):
    """What a case handed to its function."""


def _reaches(one, arrays, place):
    """Whether a case hands the function what it gets, so that a list arrives as a list."""
    mixed = list(arrays)
    mixed[place] = arrays[place].tolist()

    def look(*operands, **keywords):
        parts = [*operands, *keywords.values()]
        nested = [part for group in parts if isinstance(group, list | tuple) for part in group]
        raise _SeenError(any(part is mixed[place] for part in [*parts, *nested]))

    try:
        one.call(look, *mixed)
    except _SeenError as seen:
        return seen.args[0]
    except (AttributeError, TypeError):
        return False
    return False


def _of_composed():
    seen = set()
    for one in CASES:
        if len(one.shapes) < 2 or one.name in seen | APART or 0 in np.concatenate(one.shapes):
            continue
        arrays = one.arrays()
        if not all(_reaches(one, arrays, place) for place in range(len(arrays))):
            continue  # the case computes with an operand first, or calls with each alone
        seen.add(one.name)

        def call(*arrays, one=one):
            return one.call(getattr(gg, one.name), *arrays)

        yield one.name, call, arrays, range(len(one.shapes))


# Each operand gives a result of its own, or a list is structure.
APART = {"atleast_1d", "atleast_2d", "atleast_3d", "meshgrid", "block"}


def _of_words():
    """Functions whose cases compute with their operands first."""
    rng = np.random.default_rng(4)
    one, other, rising = rng.normal(size=4), rng.normal(size=4), np.sort(rng.normal(size=4))
    calls = {
        "dot": (gg.dot, one, other), "outer": (gg.outer, one, other),
        "einsum": (lambda a, b: gg.einsum("i,j->ij", a, b), one, other),
        "average": (lambda a, b: gg.average(a, weights=b), one, abs(other)),
        "gradient": (gg.gradient, one, rising),
        "searchsorted": (gg.searchsorted, rising, rising),
        "digitize": (gg.digitize, rising, rising), "isin": (gg.isin, one, one),
        "union1d": (gg.union1d, one, other), "setdiff1d": (gg.setdiff1d, one, other),
        "intersect1d": (gg.intersect1d, one, one), "setxor1d": (gg.setxor1d, one, other),
        "select": (lambda a, b, c: gg.select([[True] * 4, [False] * 4], [a, b], c),
                   one, other, rising),
        "choose": (lambda a, b: gg.choose([0, 1, 1, 0], [a, b]), one, other),
        "put_along_axis": (lambda a, b: gg.put_along_axis(a, [0, 1, 2, 3], b, 0), one, other),
        "histogramdd": (lambda a, b: gg.histogramdd([a, b], bins=2), one, other),
        "weights": (lambda a, b: gg.histogram(a, 3, weights=b), one, other),
        "clip": (lambda a, b: gg.clip(a, b, None), one, other),
        "isclose": (lambda a, b: gg.isclose(a, b, 0, 0), one, one), "np.dot": (np.dot, one, other),
        "array_equal": (lambda a, b: gg.asarray(gg.array_equal(a, b)), one, one),
        "array_equiv": (lambda a, b: gg.asarray(gg.array_equiv(a, b)), one, one),
        "cov": (lambda a, b: gg.cov(a, aweights=b), one, abs(other)),
        "np.where": (lambda a, b: np.where(gg.tensor(True), a, b), one, other),
        "at": (lambda a, b: gg.index_update(a, slice(None), b), one, other),
    }  # fmt: skip
    for name, (call, *arrays) in calls.items():
        yield name, call, arrays, range(len(arrays))


def _of_linalg():
    rng = np.random.default_rng(2)
    square, rows, vector = rng.normal(size=(3, 3)), rng.normal(size=(4, 3)), rng.normal(size=3)
    calls = {
        "solve": (square, vector), "lstsq": (rows, rng.normal(size=4)), "outer": (vector, vector),
        "vecdot": (rows, vector), "cross": (rows, vector), "tensordot": (square, square),
        "matmul": (rows, square), "multi_dot": (rows, square, vector),
        "tensorsolve": (square, vector),
    }  # fmt: skip
    for name, arrays in calls.items():
        keywords = {"axes": 1} if name == "tensordot" else {}

        def call(*arrays, name=name, keywords=keywords):
            function = getattr(gg.linalg, name)
            return function(list(arrays)) if name == "multi_dot" else function(*arrays, **keywords)

        yield f"linalg.{name}", call, arrays, range(len(arrays))


def _of_layers():
    """Layers and losses, which look at shapes before they call their ops."""
    rng = np.random.default_rng(3)
    rows, weight, bias = rng.normal(size=(4, 3)), rng.normal(size=(3, 3)), rng.normal(size=3)
    functional = gg.nn.functional
    shares = rng.uniform(size=(4, 3))
    calls = {
        "linear": (functional.linear, rows, weight, bias),
        "layer_norm": (lambda x, w, b: functional.layer_norm(x, 3, w, b), rows, bias, bias),
        "mse_loss": (functional.mse_loss, rows, shares),
        "l1_loss": (functional.l1_loss, rows, shares),
        "huber_loss": (functional.huber_loss, rows, shares),
        "cross_entropy": (functional.cross_entropy, rows, shares),
        "binary_cross_entropy_with_logits": (
            lambda x, t, w: functional.binary_cross_entropy_with_logits(x, t, pos_weight=w),
            rows, shares, bias,
        ),
    }  # fmt: skip
    for name, (call, *arrays) in calls.items():
        yield f"functional.{name}", call, arrays, range(len(arrays))


CALLS = {
    name: words
    for group in (_of_table(), _of_composed(), _of_words(), _of_linalg(), _of_layers())
    for name, *words in group
}


def _flat(result):
    if isinstance(result, list | tuple):
        return [array for part in result for array in _flat(part)]
    return [result.detach().cpu().numpy()]


@pytest.mark.parametrize("name", CALLS)
def test_a_list_beside_arrays_has_their_dtype(name, device):
    call, arrays, places = CALLS[name]
    for dtype in ("float64", "float32"):
        tensors = [
            gg.tensor(a.astype(dtype) if a.dtype.kind == "f" else a, device=device) for a in arrays
        ]
        expected = _flat(call(*tensors))
        for place in places:
            mixed = list(tensors)
            mixed[place] = tensors[place].tolist()
            got = _flat(call(*mixed))
            assert [g.dtype for g in got] == [e.dtype for e in expected], place
            for g, e in zip(got, expected, strict=True):
                np.testing.assert_array_equal(g, e, err_msg=f"{dtype}, operand {place}")


WHOLE = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: b - a,
    "maximum": gg.maximum,
    "where": lambda a, b: gg.where(gg.equal(a, a), b, a),
    "stack": lambda a, b: gg.stack([a, b]),
    "concat": lambda a, b: gg.concat([b, a]),
    "equal": gg.equal,
    "bitwise_or": lambda a, b: a | b,
    "dot": gg.dot,
    "select": lambda a, b: gg.select([a < 0], [a], b),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_keep_their_digits(name, device):
    call, numbers = WHOLE[name], [2**53 + 1, -(2**53) - 1]
    ones = gg.tensor(np.ones(2, np.int64), device=device)
    expected = call(ones, gg.tensor(np.array(numbers), device=device))
    got = call(ones, numbers)
    assert got.dtype == expected.dtype
    assert got.tolist() == expected.tolist()


def test_the_dtype_of_a_list_is_that_of_a_number(device):
    for dtype in ("int8", "uint8", "int64", "float16", "float32", "float64", "complex64"):
        x = gg.tensor(np.ones(2, dtype), device=device)
        for number in (1, 1.5, 1j, True):
            expected = np.ones(2, dtype) + (number if number is not True else np.True_)
            assert gg.add(x, [number, number]).dtype == expected.dtype, (dtype, number)
            assert gg.add([number, number], x).dtype == expected.dtype, (dtype, number)
    small = gg.tensor(np.uint8([1, 2]), device=device)
    assert gg.add(small, [300, 1]).tolist() == [301, 3]  # more than uint8 holds
    assert gg.stack([[1, 2], [3, 4]]).dtype == np.float32  # no array beside them
    mask = gg.tensor(np.array([True, False]), device=device)
    assert gg.where(mask, [1.5, 2.5], [0.5, 0.5]).dtype == np.float32  # a mask is no number
    two = gg.tensor(np.ones(2), device=device)
    assert gg.concat([gg.tensor(np.ones(2, np.float32), device=device), [1.1, 2.2], two]).tolist()[
        2:4
    ] == [1.1, 2.2]


def test_lists_where_an_array_waits_for_them(device):
    x = gg.tensor(np.array([1.0, 2.0]), device=device, requires_grad=True)
    (x * 2.0).backward([1.1, 2.2])
    assert x.grad.tolist() == [2.2, 4.4]
    with gg.no_grad():
        x[:] = [1.1, 2.2]
    assert x.tolist() == [1.1, 2.2]
    assert x.at[0].add(1.1).tolist() == [2.2, 2.2]
