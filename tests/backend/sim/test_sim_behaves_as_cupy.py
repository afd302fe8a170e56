"""The simulated device beside the real CuPy: the same calls, and what comes of them.

Functions, methods, operators and indices with the same arguments on both: the class of the error,
or the types, dtypes, shapes and values of the results. Needs a GPU, or the stand-in for the driver.
"""

import operator

import numpy
import pytest

import gpugrad as gg
import gpugrad.backend.sim as sim

cupy = pytest.importorskip("cupy")

pytestmark = [
    pytest.mark.skipif(not gg.cuda.is_available(), reason="CuPy is to compute"),
    pytest.mark.filterwarnings("ignore"),
]


class Array:
    """An array that either module makes anew for a call: of small whole numbers."""

    def __init__(self, shape, dtype="float32", first=0):
        size = int(numpy.prod(shape))
        self.values = ((numpy.arange(size) * 7 + first) % 5).reshape(shape).astype(dtype)

    def __repr__(self):
        return f"{self.values.dtype}{self.values.shape}"


def given(module, argument):
    if isinstance(argument, Array):
        return module.asarray(argument.values)
    if isinstance(argument, list | tuple):
        return type(argument)(given(module, part) for part in argument)
    return argument


def told(result):
    """What is compared of a result."""
    if isinstance(result, sim.ndarray | cupy.ndarray):
        return "array", str(result.dtype), result.shape, result.get().tolist()
    if isinstance(result, list | tuple):
        return [told(part) for part in result]
    return type(result).__name__, result


def outcome(module, call, arguments, words):
    """What a call gives and what it leaves of its first argument; or the class of its error."""
    made = [given(module, argument) for argument in arguments]
    try:
        with numpy.errstate(all="ignore"):
            result = call(module)(*made, **words)
    except numpy.exceptions.AxisError:  # an IndexError, as which CuPy raises some of them
        return "IndexError"
    except Exception as error:  # noqa: BLE001  its class is what is compared
        return next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins").__name__
    return told([result, made[0] if isinstance(arguments[0], Array) else None])


def near(one, other):
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(near, one, other))
    if isinstance(one, tuple) and isinstance(other, tuple) and one[:1] == other[:1] == ("array",):
        return one[1:3] == other[1:3] and numpy.allclose(
            one[3], other[3], rtol=1e-3, atol=1e-5, equal_nan=True
        )
    return one == other


def check(calls):
    """Compare (name, how to find what is called in a module, arguments, keywords)."""
    different = []
    for name, call, arguments, words in calls:
        got, wanted = (outcome(module, call, arguments, words) for module in (sim, cupy))
        if not near(got, wanted):
            different.append(f"{name}{(*arguments, words)}: sim {got}, CuPy {wanted}")
    assert not different, "\n".join(different)


ARRAYS = [Array(()), Array((0,)), Array((3,)), Array((2, 3)), Array((2, 3), "int32")]


# Indices.

INDICES = [
    0, -1, 5, (0, 1), slice(None), slice(2, 0, -1), None, Ellipsis, (0,), [0, 1], [0, 9], [],
    (0, [0, 1]), ([0, 1], [0, 1]), ([0, 1], [0, 1, 2]), (slice(None), [0]), (0, 0, 0), (None, 0),
    (Ellipsis, 0), (Ellipsis, Ellipsis), ([True, False, True],), (slice(None), None, [0, 1]),
    True, numpy.bool_(True), numpy.int64(1), numpy.array([0, 1]), numpy.array(1), "a", 1.0, {},
    numpy.float32(1), [0.5], Array((2,), "int32"), Array((2,), "int64", 7), Array((), "int32"),
    Array((0,), "int32"), Array((2,), "uint8"), Array((3,), "bool"), Array((2, 3), "bool"),
    Array((2,), "bool"), Array((2,)), (Array((2,), "int64"), slice(None)),
    (Array((2,), "bool"), Array((2,), "int64")), (slice(None), Array((3,), "bool")),
]  # fmt: skip
VALUES = [
    1.0, numpy.float64(2), numpy.array(2.0), numpy.ones(3), [1.0, 2.0, 3.0], Array(()), Array((3,)),
    Array((4,)),
]  # fmt: skip


@pytest.mark.parametrize("array", ARRAYS, ids=repr)
def test_indexing(array):
    check(("getitem", lambda m: operator.getitem, (array, index), {}) for index in INDICES)


@pytest.mark.parametrize("array", ARRAYS[2:], ids=repr)
def test_assignment(array):
    check(
        ("setitem", lambda m: operator.setitem, (array, index, value), {})
        for index in INDICES
        # CuPy writes repeated elements in any order.
        if not (isinstance(index, Array) and index.values.dtype.kind in "iu" and index.values.size)
        for value in VALUES
    )


# Operators.

OPERANDS = [
    Array((2, 3), "float32", 1), Array((3,), "int8", 1), 2, 2.5, True, 1j, numpy.float64(2),
    numpy.float32(2), numpy.int64(2), numpy.array(2.0), numpy.ones(3), [1.0, 2.0, 3.0], None, "a",
]  # fmt: skip
OPERATORS = """
add sub mul truediv floordiv mod pow and_ or_ xor lshift eq lt iadd imul itruediv
""".split()


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name):
    function = getattr(operator, name)

    def calls():
        # Every other pair, the others for the next operator: each is a kernel to compile.
        turn = OPERATORS.index(name)
        for dtype in ("bool", "int32", "float16", "float32"):
            array = Array((2, 3), dtype, 1)
            turn += len(OPERANDS) + 1
            for other in OPERANDS:
                turn += 1
                if turn % 2 or name.startswith("i"):
                    yield name, lambda m: function, (array, other), {}
                else:
                    yield f"r{name}", lambda m: lambda a, b: function(b, a), (array, other), {}

    check(calls())


# Functions.

AXES = [{}, {"axis": 0}, {"axis": -1}, {"axis": 1}, {"axis": (0, 1)}, {"axis": None}]
REDUCTIONS = "sum prod max min mean var std any all argmax argmin count_nonzero".split()


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name):
    check(
        (name, lambda m: getattr(m, name), (array,), words | more)
        for array in [*ARRAYS, Array((2, 3), "bool"), Array((2, 3), "float16")]
        for words in AXES
        for more in ({}, {"keepdims": True})
        # sim is stricter: NumPy's argmax takes one axis.
        if not (name.startswith("arg") and isinstance(words.get("axis"), tuple))
    )


def test_where_takes_arrays_as_conditions():
    condition = Array((3,), "bool")
    check(
        ("where", lambda m: m.where, arguments, {})
        for arguments in [
            (condition, 1.0, 2.0),
            (condition, Array((3,)), 0),
            (condition, 1, Array((3,), "int8")),
            (True, 1.0, 2.0),
            (numpy.bool_(True), Array((3,)), 1.0),
            ([True], 1.0, 2.0),
        ]
    )
