"""Programs that run in C give what NumPy gives, for every kind of step, layout and dtype."""

import threading

import numpy as np
import pytest
from programs import Writer, evaluated, random_program

import gpugrad as gg
from gpugrad.backend.namespace import namespace_of
from gpugrad.codegen.operations import TEMPLATES
from gpugrad.compiler.c import native
from gpugrad.compiler.c.compiler import find_compiler
from gpugrad.errors import DTypeError, ShapeError

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler")

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, np.inf, -np.inf, np.nan, 1e-30, 88.0, -104.0]
INTEGERS = [0, 1, 2, 3, 7, 100, 127, 5, 64]
DTYPES = "?bhilBHILfd"


class Steps(Writer):
    """Steps whose program returns by default what no other step reads."""

    def program(self, *outputs):
        read = {value for step in self.steps for value in step.values()}
        made = [value for step in self.steps for value in step.results]
        return super().program(outputs or [value for value in made if value not in read])


def numbers(dtype, shape=()):
    """Numbers of a dtype, special ones first."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        known, more = SPECIAL, np.random.default_rng(3).normal(size=50) * 3
    elif dtype.kind == "b":
        known, more = [True, False, False], []
    else:
        known, more = INTEGERS + ([-1, -5, -128] if dtype.kind == "i" else [255]), []
    values = np.array([*known, *more]).astype(dtype)
    return np.resize(values, shape) if shape else values


def close(got, expected, units=4):
    """Whether arrays are equal, but for some units in the last place of floating-point numbers."""
    assert got.dtype == expected.dtype
    assert got.shape == np.shape(expected)
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, expected)
        return
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    tiny = np.finfo(got.dtype).tiny
    if got.dtype == np.float32:  # what is below the smallest normal number may be 0
        expected = np.where((got == 0) & (np.abs(expected) < tiny), got, expected)
    finite = np.isfinite(got)
    np.testing.assert_array_equal(got[~finite], np.asarray(expected)[~finite])
    a, b = got[finite], np.asarray(expected)[finite]
    scale = np.abs(b).max(initial=0) if units > 4 else np.abs(b)
    bound = np.spacing(np.maximum(scale, tiny)) * units
    assert (np.abs(a - b) <= bound).all(), np.abs(a - b).max()


def check(steps, *outputs, units=4, c_only=True):
    """Run the program in C and compare all its outputs; returns what runs it."""
    program = steps.program(*outputs)
    compiled = native.build(program)
    assert compiled is not None
    if c_only:
        assert compiled.counts["NumPy steps"] == 0, [
            item.step for item in compiled._schedule.items if hasattr(item, "step")
        ]
    for _ in range(2):  # the second time in memory that was used
        with np.errstate(all="ignore"):
            got = compiled.run(steps.given())
        for value, array in zip(program.outputs, got):
            close(array, steps.arrays[value], units)
    return compiled


@pytest.mark.parametrize("dtype", DTYPES)
def test_ufuncs(dtype):
    steps = Steps()
    x = numbers(dtype)
    a, b = steps.input(x), steps.input(np.ascontiguousarray(np.roll(x, 5)))
    weak = steps.input(0.75)
    for name in TEMPLATES:
        count = getattr(np, name).nin
        for operands in ((a, b), (a, weak), (a, 2)) if count == 2 else ((a,),):
            try:
                steps(name, *operands[:count])
            except (TypeError, ValueError, OverflowError):
                continue  # NumPy has no such loop, or integers have no negative powers
    for other in DTYPES:
        if other not in "bhBHIL" or np.dtype(dtype).kind != "f":
            steps("astype", a, np.dtype(other))
    condition = steps("greater", a, b)
    steps("where", condition, a, 1)
    steps("where", condition, weak, b)
    kept = [s for s in steps.steps if s.results[0].dtype != np.float16]
    steps.steps[:] = kept
    check(steps, c_only=False)


def test_functions_that_c_computes_are_not_left_to_numpy():
    for dtype, some in (("f", set(TEMPLATES) - {"invert"}), ("l", {"add", "multiply", "maximum"})):
        steps = Steps()
        a = steps.input(np.arange(1, 5).astype(dtype))
        for name in some:
            if dtype == "f" and name.startswith("bitwise"):
                continue
            steps(name, *(a,) * getattr(np, name).nin)
        check(steps)


@pytest.mark.parametrize("dtype", ["f", "l"])
def test_views_and_broadcasting(dtype):
    steps = Steps()
    x = steps.input(numbers(dtype, (3, 4, 5)))
    row = steps.input(numbers(dtype, (5,)))
    column = steps.input(numbers(dtype, (4, 1)))
    scalar = steps.input(numbers(dtype, (1,)).reshape(()))
    views = [
        x,
        steps("transpose", x, (2, 0, 1)),
        steps("reshape", x, (12, 5)),
        steps("reshape", x, (3, 2, 2, 5)),
        steps("swapaxes", x, 0, 2),
        steps("moveaxis", x, 0, -1),
        steps("get_item", x, (slice(None), 1, slice(None, None, -1))),
        steps("get_item", x, (Ellipsis, None, slice(1, 4, 2))),
        steps("get_item", x, (2, 3, 4)),
        steps("flip", x, axis=1),
        steps("expand_dims", x, 1),
        steps("squeeze", steps("get_item", x, (slice(0, 1),)), 0),
        steps("broadcast_to", row, (4, 5)),
        steps("diagonal", x, 0, 1, 2),
        steps("ravel", x),
        steps("windows", x, (2,), (2,)),
        steps("broadcast_to", scalar, (3, 2)),
    ]
    for view in views:
        shape = view.shape
        twice = steps("add", view, view)
        again = steps("transpose", twice)
        steps("multiply", again, 2)
        steps("add", steps("reshape", twice, (int(np.prod(shape)),)), scalar)
        steps("maximum", view, scalar)
    for one in (row, column, scalar):
        total = steps("add", x, one)
        steps("subtract", total, steps("multiply", one, one))
        steps("reshape", total, (5, 12))
    steps("copy", steps("reshape", steps("transpose", x), (60,)))
    check(steps, c_only=False)


@pytest.mark.parametrize("dtype", ["f", "d", "l", "b", "?", "B"])
def test_reductions(dtype):
    steps = Steps()
    rng = np.random.default_rng(0)
    array = rng.normal(size=(3, 7, 10)) * 50 if dtype in "fd" else rng.integers(0, 100, (3, 7, 10))
    x = steps.input(array.astype(dtype))
    for view in (x, steps("transpose", x), steps("add", x, x) if dtype != "?" else x):
        for name in ("sum", "max", "min") if dtype != "?" else ("sum",):
            for axis in (None, 0, 1, -1, (0, 1), (1, 2), (0, 2), (0, 1, 2)):
                keepdims = axis in (0, (0, 2))
                y = steps(name, view, axis=axis, keepdims=keepdims)
                if y.shape and dtype != "?":
                    steps("subtract", y, 1)
    check(steps, units=64)


def test_subnormal_numbers():
    """Results of float32 may be 0 instead; operands, float64 and what comes after are exact."""
    steps = Steps()
    given = np.array([1e-40, -1e-40, 1e-30, -1e-30], "f")
    x, wide = steps.input(given), steps.input(np.array([1e-310, -1e-310]))
    made = steps("multiply", x, 1e-9), steps("log", steps("absolute", x)), steps("negative", x)
    made += (steps("multiply", wide, 0.5),)
    small, logs, copied, half = native.build(steps.program(*made)).run(steps.given())
    exact = given * np.float32(1e-9)
    np.testing.assert_array_equal(np.signbit(small), np.signbit(given))
    assert np.isin(np.abs(small), [0, *np.abs(exact)]).all()
    np.testing.assert_allclose(logs, np.log(np.abs(given)), 1e-6)
    np.testing.assert_array_equal(copied, -given)
    np.testing.assert_array_equal(half, [5e-311, -5e-311])
    np.testing.assert_array_equal(given * np.float32(1e-9), exact)  # NumPy still has them


def test_extremes_of_nan():
    steps = Steps()
    array = np.ones((40, 33), "f")
    array[3, 5] = array[7, 0] = np.nan
    array[4] = -np.inf
    x = steps.input(array)
    for name in ("max", "min"):
        for axis in (None, 0, 1):
            steps(name, x, axis=axis)
    check(steps)


def test_long_sums_keep_their_digits():
    steps = Steps()
    x = steps.input(np.full(1 << 20, 0.1, "f"))
    rows = steps("reshape", x, (1 << 18, 4))
    steps("sum", x, axis=None)
    steps("sum", rows, axis=0)
    steps("sum", rows, axis=None)
    compiled = native.build(steps.program())
    for got, count in zip(compiled.run(steps.given()), (1 << 20, 1 << 18, 1 << 20)):
        np.testing.assert_allclose(got, np.float64(np.float32(0.1)) * count, rtol=1e-6)


def test_rows():
    """What is read again after a sum of its row: softmax and normalization, forward and back."""
    steps = Steps()
    rng = np.random.default_rng(1)
    x = steps.input(rng.normal(size=(6, 5, 40)).astype("f"))
    g = steps.input(rng.normal(size=(6, 5, 40)).astype("f"))
    top = steps("max", x, axis=-1, keepdims=True)
    e = steps("exp", steps("subtract", x, top))
    total = steps("sum", e, axis=2, keepdims=True)
    y = steps("divide", e, total)
    log = steps("add", steps("log", total), top)
    steps("subtract", x, log)
    inner = steps("sum", steps("multiply", g, y), axis=-1, keepdims=True)
    back = steps("multiply", y, steps("subtract", g, inner))
    steps("sum", back, axis=(0, 1))
    steps("sum", log, axis=None)
    mean = steps("divide", steps("sum", x, axis=(1, 2), keepdims=True), 200)
    centered = steps("subtract", x, mean)
    spread = steps("sum", steps("multiply", centered, centered), axis=(1, 2), keepdims=True)
    steps("divide", centered, steps("sqrt", steps("add", spread, 1e-5)))
    compiled = check(steps, units=32)
    assert compiled.counts["loops"] <= 4


def test_products_without_blas(monkeypatch):
    monkeypatch.setattr(native, "blas", lambda: None)
    steps = Steps()
    a, b = (steps.input(np.arange(n * 30.0).reshape(n, 30)) for n in (20, 25))
    steps("matmul", a, steps("transpose", b))
    steps("matmul", steps("transpose", a), a)
    steps("matmul", a, steps.input(np.arange(30 * 300.0).reshape(30, 300)))
    assert "gemm" not in check(steps).source


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_products(dtype):
    steps = Steps()
    rng = np.random.default_rng(2)

    def array(*shape):
        return steps.input(rng.integers(-4, 5, shape).astype(dtype))

    for m, k, n in ((3, 4, 5), (1, 7, 1), (33, 20, 17), (1, 80, 90), (70, 90, 1), (5, 1, 6)):
        a, b = array(m, k), array(k, n)
        steps("matmul", a, b)
        turned_a, turned_b = array(k, m), array(n, k)
        steps("matmul", steps("transpose", turned_a), b)
        steps("matmul", a, steps("transpose", turned_b))
        steps("transposed_matmul", turned_a, steps("transpose", turned_b))
        steps("matmul", steps("get_item", array(2 * m, k), (slice(None, None, 2),)), b)
        steps("matmul", a, steps("get_item", array(k, 2 * n), (slice(None), slice(None, None, 2))))
        steps("matmul", steps("add", a, 1), steps("multiply", b, 2))
    vector = array(20)
    steps("matmul", array(20), vector)
    steps("matmul", array(30, 20), vector)
    steps("matmul", vector, array(20, 30))
    stack = array(2, 3, 20, 15)
    steps("matmul", stack, array(15, 16))
    steps("matmul", stack, array(3, 15, 2))
    steps("matmul", steps("swapaxes", stack, -1, -2), stack)
    steps("matmul", stack, array(15))
    steps("matmul", steps("broadcast_to", array(20, 1), (20, 30)), array(30, 25))
    check(steps)


def test_arrays_put_together():
    steps = Steps()
    x = steps.input(numbers("f", (4, 6)))
    y = steps.input(numbers("f", (3, 6)))
    twice = steps("add", x, x)
    steps("set_item", x, (slice(1, 3),), 5.0)
    steps("set_item", twice, (slice(None), -1), steps("get_item", y, (0, slice(0, 4))))
    steps("set_item", twice, (Ellipsis,), steps("sum", y, axis=0))
    steps("concatenate", (x, steps("multiply", y, 2)))
    steps("concatenate", (x, twice), axis=1)
    steps("stack", (x, twice), axis=1)
    views = (("transpose", (), {}), ("get_item", (slice(2, 4),), {}))
    steps("set_view", x, views, 1.5)
    check(steps)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "bool"])
def test_products_of_elements_and_running_sums(dtype):
    """Along each axis, of arrays in several orders; 40 factors of 0.5 to 1.5 do not overflow."""
    steps = Steps()
    x = np.random.default_rng(5).uniform(0.5, 1.5, (2, 4, 5))
    x = x.astype(dtype) if np.dtype(dtype).kind == "f" else numbers(dtype, (2, 4, 5))
    given = steps.input(x)
    others = (
        steps("transpose", given, (2, 0, 1)),
        steps("get_item", given, (slice(None, None, -1),)),
    )
    for array in (given, *others, steps.input(x[:1, :1]), steps.input(x[0, 0])):
        for axis in (None, 0, -1, *([1, (0, 2)] if array.ndim > 1 else [])):
            steps("prod", array, axis=axis, keepdims=axis == -1)
            if not isinstance(axis, tuple):
                steps("cumsum", array, axis=axis)
                steps("cumprod", array, axis=axis)
    check(steps, units=16)


def test_rows_that_are_joined_are_copied_whole():
    """A loop for each of many arrays, as of an LSTM's steps, takes a compiler half a second."""
    steps = Steps()
    x, y = (steps.input(np.arange(24.0).reshape(2, 3, 4) + n) for n in range(2))
    steps("stack", (x, y))
    rows = check(steps).source
    assert rows.count("memcpy(a") == 2
    steps("concatenate", (x, y), axis=1)
    steps("stack", (x, y), axis=-1)
    steps("concatenate", (steps("transpose", x, (1, 0, 2)), steps("transpose", y, (1, 0, 2))))
    assert check(steps).source.count("memcpy(a") == 2


def test_running_sums_are_those_of_numpy():
    """To the last bit, and with its special numbers: they have one order."""
    for dtype in ("f", "d"):
        x = numbers(dtype, (6, 10))
        steps = Steps()
        given = steps.input(x)
        made = [steps(name, given, axis=axis) for name in ("cumsum", "cumprod") for axis in (0, 1)]
        for got, value in zip(check(steps).run(steps.given()), made):
            np.testing.assert_array_equal(got, steps.arrays[value])
            same = np.signbit(got) == np.signbit(steps.arrays[value])
            assert (same | np.isnan(got)).all()


def test_steps_of_numpy_between():
    steps = Steps()
    x = steps.input(numbers("d", (5, 8)))
    weak = steps.input(2.0)
    order = steps("argsort", steps("multiply", x, weak), axis=1)
    steps("take_along_axis", steps("exp", x), order, 1)
    product = steps("multiply", weak, 0.5)
    steps("cumsum", steps("transpose", steps("add", x, product)), axis=0)
    steps("clip", steps("sort", steps("get_item", x, (slice(1, 3), slice(None, None, 2)))), weak, 3)
    steps("get_item", x, (np.array([3, 1]),))
    half = steps("astype", x, np.dtype(np.float16))
    steps("multiply", half, half)
    steps("reshape", steps("sort", x), (40,))
    compiled = check(steps, c_only=False)
    assert compiled.counts["NumPy steps"] >= 5
    # Outputs that are views of inputs would change with them.
    flat = compiled.run(steps.given())
    assert not any(np.may_share_memory(one, steps.given()[0]) for one in flat)


def test_formulas_are_taken_apart():
    """Whole layers and activations are computed by loops and products, in C."""
    steps = Steps()
    rng = np.random.default_rng(4)
    x, w, b = (steps.input(rng.normal(size=s).astype("f")) for s in ((8, 5), (7, 5), (7,)))
    y = steps("linear_relu", x, w, b)
    steps("softmax", y, axis=-1)
    steps("log_softmax", steps("gelu", y), axis=0)
    steps("sum_of_rows", steps("multiply", y, steps("full", (7,), 0.5, dtype="float32")))
    check(steps, units=32)


def test_a_program_without_work_for_c_is_left_to_numpy():
    steps = Steps()
    steps("sort", steps.input(np.arange(3.0)))
    assert native.build(steps.program()) is None


def test_constants_of_any_layout():
    constants = np.arange(24.0).reshape(4, 6)[:, ::2].T, np.arange(12.0).reshape(4, 3).T, np.ones(4)
    for constant in (*constants, np.broadcast_to(constants[2], (3, 4))):
        steps = Steps()
        steps("multiply", steps.input(np.ones((3, 4))), steps.constant(constant))
        program_in_c = native.build(steps.program())
        np.testing.assert_array_equal(
            program_in_c.run([np.full((3, 4), 2.0)])[0], np.ones((3, 4)) * constant * 2
        )


def test_inputs_of_any_layout_and_kind():
    steps = Steps()
    x, y = steps.input(np.ones((3, 4), "f")), steps.input(np.float32(2))
    z, constant = steps.input(1.5), steps.constant(np.arange(4, dtype="f"))
    total = steps("add", steps("multiply", x, z), constant)
    steps("multiply", total, y)
    program_in_c = native.build(steps.program())
    array = np.arange(24, dtype="f").reshape(4, 6)[:, ::2].T
    expected = (array * 1.5 + np.arange(4, dtype="f")) * np.float32(2)
    np.testing.assert_array_equal(program_in_c.run([array, np.float32(2), 1.5])[0], expected)
    np.testing.assert_array_equal(
        program_in_c.run([array, np.float32(2), np.float64(1.5)])[0], expected
    )
    with pytest.raises(ShapeError, match=r"a program for shape \(3, 4\) got \(4, 3\)"):
        program_in_c.run([array.T, np.float32(2), 1.5])
    with pytest.raises(DTypeError, match="a program for float32 got float64"):
        program_in_c.run([array.astype("d"), np.float32(2), 1.5])


@pytest.mark.parametrize("cut", [False, True])
def test_outputs_take_the_place_of_inputs(cut):
    """A step of an optimizer: parameters and what moves with them change in place."""
    steps = Steps()
    rng = np.random.default_rng(5)
    w, m, x = (steps.input(rng.normal(size=(6, 6))) for _ in range(3))
    g = steps("matmul", steps("transpose", w), x)
    g = steps("sort", g) if cut else g
    moved = steps("add", steps("multiply", m, 0.9), g)
    after = steps("subtract", w, steps("multiply", moved, 0.1))
    loss = steps("sum", steps("multiply", w, after), axis=None)
    program = steps.program(after, moved, loss)
    program_in_c = native.build(program, reuse={0: 0, 1: 1})
    # Written over the inputs by their loop.
    assert cut or program_in_c.source.count("clashes(") == 2
    given = [one.copy() for one in steps.given()]
    got = program_in_c.run(given, [given[0], given[1], None])
    assert got[0] is given[0]
    assert got[1] is given[1]
    for one, value in zip(got, program.outputs):
        np.testing.assert_allclose(one, steps.arrays[value], rtol=1e-14)
    np.testing.assert_array_equal(given[2], steps.given()[2])
    # Given once as two inputs, in another layout, or nowhere to write to.
    for make in (lambda a: a.copy(), lambda a: np.asfortranarray(a), lambda a: a[::-1][::-1]):
        given = [make(one) for one in steps.given()]
        got = program_in_c.run(given, [given[0], None, None])
        assert got[0] is given[0]
        for one, value in zip(got, program.outputs):
            np.testing.assert_allclose(one, steps.arrays[value], rtol=1e-14)
        np.testing.assert_array_equal(given[1], steps.given()[1])
    same = steps.given()[0].copy()
    expected = native.build(program).run([same, same.copy(), steps.given()[2]])
    got = program_in_c.run([same, same, steps.given()[2]], [same, None, None])
    for one, other in zip(got, expected):
        np.testing.assert_allclose(one, other, rtol=1e-14)


def test_random_programs():
    rng = np.random.default_rng(7)
    for _ in range(4):
        steps = Steps()
        dtype = rng.choice(["f", "d"])
        values = [
            steps.input(rng.uniform(0.5, 2, s).astype(dtype)) for s in ((4, 3, 6), (3, 6), (6,))
        ]
        for _ in range(40):
            x = values[rng.integers(len(values))]
            y = values[rng.integers(len(values))]
            choice = rng.integers(8)
            if choice < 3:
                try:
                    np.broadcast_shapes(x.shape, y.shape)
                except ValueError:
                    continue
                values.append(steps(rng.choice(["add", "multiply", "maximum"]), x, y))
            elif choice < 5:
                values.append(steps(rng.choice(["tanh", "negative", "square", "sin"]), x))
            elif choice == 5 and x.ndim:
                axis = int(rng.integers(x.ndim))
                name = rng.choice(["sum", "max"])
                values.append(steps(name, x, axis=axis, keepdims=bool(rng.integers(2))))
            elif choice == 6:
                values.append(steps("transpose", x))
            elif choice == 7 and x.ndim == 2:
                values.append(steps("matmul", steps("transpose", x), x))
        for value in values:
            steps("tanh", value)
        check(steps, units=200)


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_of_any_dtype(seed):
    """Steps of all kinds on special values, some of them NumPy's."""
    program, given = random_program(seed)
    compiled = native.build(program)
    if compiled is None:
        return
    with np.errstate(all="ignore"):
        got = compiled.run(given)
    for one, expected in zip(got, evaluated(program, given)):
        assert np.shape(one) == np.shape(expected)
        assert np.asarray(one).dtype == np.asarray(expected).dtype
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-4)


def test_threads():
    steps = Steps()
    x = steps.input(np.zeros((50, 40)))
    y = steps("exp", x)
    steps("matmul", steps("transpose", steps("add", y, x)), y)
    program_in_c = native.build(steps.program())
    wrong = []

    def work(seed):
        a = np.random.default_rng(seed).normal(size=(50, 40))
        expected = program_in_c.run([a])[0]
        wrong.extend(seed for _ in range(50) if (program_in_c.run([a])[0] != expected).any())

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_turns_of_an_unrolled_loop_share_their_functions():
    steps = Steps()
    rng = np.random.default_rng(6)
    x, w, h = (steps.input(rng.normal(size=s).astype("f")) for s in ((20, 8, 6), (6, 6), (8, 6)))
    for t in range(20):
        h = steps("tanh", steps("add", steps("matmul", h, w), steps("get_item", x, t)))
    compiled = check(steps, units=64)
    assert compiled.counts["loops"] == compiled.counts["products"] == 20
    assert compiled.source.count("NOINLINE void item") == 2


@pytest.mark.parametrize("dtypes", ["fd", "df", "fl", "?d", "fH"])
def test_products_of_two_dtypes_are_computed_in_c(dtypes):
    """They were left to NumPy, as of data in double precision and parameters in single."""
    steps = Steps()
    for shapes in [((3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((2, 3, 4), (1, 4, 5))]:
        arrays = [np.ones(shape, dtype) * 3 for shape, dtype in zip(shapes, dtypes, strict=True)]
        arrays[0][..., 1] = 0
        steps("matmul", *map(steps.input, arrays))
    steps("transposed_matmul", *[steps.input(np.ones((4, n), t)) for n, t in zip((2, 3), dtypes)])
    compiled = check(steps)
    assert compiled.counts["products"] == 5
    assert not compiled.counts["NumPy steps"]


@pytest.mark.parametrize("dtype", "fd?bL")
def test_steps_that_are_written_as_others(dtype):
    steps = Steps()
    x = steps.input(numbers(dtype, (3, 4, 5)))
    for axis in (None, 0, -1):
        for name in ("any", "all", "argmax", "argmin"):
            steps(name, x, axis=axis, keepdims=axis == 0)
            steps(name, steps("logical_not", x), axis=axis)
        steps("roll", x, -2, axis)
    steps("roll", x, (1, 7), axis=(0, 2))
    steps("tril", x)
    steps("triu", x, k=-1)
    steps("array", x)
    steps("add_item", x, (slice(None), slice(0, 3, 2)), steps("get_item", x, (0, 1)))
    steps("add_item", x, (1, -1, 2), steps("get_item", x, (0, 0, 1)))
    if dtype in "fd":
        row = steps.input(numbers(dtype))
        other = steps.input(np.roll(numbers(dtype), 3))
        steps("logaddexp", row, other)
        steps("logaddexp", row, row)
        steps("deg2rad", row)
        steps("rad2deg", row)
        whole = steps.input(np.arange(60.0).reshape(3, 4, 5).astype(dtype))
        steps("vdot", whole, steps("subtract", whole, 7))
    check(steps, units=16)


def test_large_constants_are_made_in_c():
    def f(x):
        xp = namespace_of(x)
        same = xp.full_like(x, 3.0), xp.full_like(x, -0.0)
        return *same, xp.full_like(x, 2, dtype=np.dtype("int32"), shape=(50_000,))

    compiled, x = gg.compile(f), np.ones((300, 200), np.float32)
    for got, expected in zip(compiled(x), f(x), strict=True):
        assert (got.dtype, got.tobytes()) == (expected.dtype, expected.tobytes())
    assert "0 NumPy steps" in compiled.report()


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_real_numbers_are_their_own_conjugates_in_c(dtype):
    compiled = gg.compile(lambda x: (gg.conj(x) * x, np.conjugate(x) + 1))
    x = gg.tensor(np.arange(6).reshape(2, 3), dtype=dtype)
    for _ in range(2):
        for got, expected in zip(compiled(x), (x * x, x + 1), strict=True):
            assert (got.dtype, got.tolist()) == (expected.dtype, expected.tolist())
    assert "0 NumPy steps" in compiled.report()
