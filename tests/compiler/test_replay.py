"""Programs as Python functions: what they give, where they write, what they leave alone."""

import re
import threading

import numpy as np
import pytest
from optable import arrays_for, cases, prepared
from programs import Writer, evaluated, on, random_program, same, sent

import gpugrad as gg
from gpugrad.backend.interrupts import whole
from gpugrad.backend.namespace import namespace_of
from gpugrad.compiler.programs.passes import simplified
from gpugrad.compiler.programs.program import VIEWS, Program, Step, Value, flat
from gpugrad.compiler.replay import numpy_source, tail
from gpugrad.compiler.replay import replay as replay_module
from gpugrad.compiler.replay.extremes import LEAST, beside_row
from gpugrad.compiler.replay.replay import build

F = np.dtype("f")


def copies(arrays):
    return [array.copy() if hasattr(array, "copy") else array for array in arrays]


def check(program, inputs):
    """A replay gives what the steps give: as new arrays, into outs, and into the inputs."""
    expected = evaluated(program, inputs)
    replay = build(program)
    for _ in range(2):
        before = copies(inputs)
        results = replay.run(inputs)
        assert all(map(same, results, expected)), f"{program}\n\n{replay.sources[-1]}"
        assert all(map(same, before, inputs))
    xp = namespace_of(next(x for x in inputs if hasattr(x, "shape")))
    outs = [xp.empty(x.shape, dtype=x.dtype) for x in expected]
    results = replay.run(inputs, outs)
    assert all(map(same, results, expected)), f"{program}\n\n{replay.sources[-1]}"
    assert all(a is b for a, b in zip(results, outs))
    given = copies(inputs)
    outs = []
    for x in expected:  # each into an input that fits, if there is one left
        fits = [
            one for one in given
            if hasattr(one, "shape") and (one.shape, one.dtype) == (x.shape, x.dtype)
            and not isinstance(one, np.generic) and all(one is not out for out in outs)
        ]  # fmt: skip
        outs.append(fits[0] if fits else None)
    results = replay.run(given, outs)
    assert all(map(same, results, expected)), f"{program}\n\n{replay.sources[-1]}"
    assert all(out is None or out is one for out, one in zip(outs, results))


@pytest.mark.parametrize("seed", range(40))
def test_a_replay_gives_what_the_steps_give(seed):
    for number in range(5 * seed, 5 * seed + 5):
        program, inputs = random_program(number)
        check(program, inputs)
        check(simplified(program), inputs)


@pytest.mark.parametrize("seed", range(10))
def test_calls_in_blocks_give_the_same(seed, monkeypatch):
    for module in (tail, numpy_source):
        monkeypatch.setattr(module, "BLOCK", 2)
    for number in range(500 + 10 * seed, 510 + 10 * seed):
        program, inputs = random_program(number)
        check(program, inputs)


def test_an_update_of_large_arrays_goes_block_by_block():
    """What lies between is in one block of memory, and what is read later is written first."""
    writer = Writer()
    p, m, g = (writer.input(np.full(100_000, number, "f")) for number in (1.0, 2.0, 3.0))
    after = writer("add", writer("multiply", m, 0.5), writer("multiply", g, 0.25))
    step = writer("multiply", writer("sqrt", writer("square", after)), 0.1)
    program = writer.program([after, writer("subtract", p, step)])
    check(program, writer.given())
    replay = build(program)
    arrays = copies(writer.given())
    results, calls = replay.prepare(arrays, [arrays[1], arrays[0]])
    assert len(calls) == 7 * 4 + 1
    assert same(arrays[0], writer.arrays[p])
    whole(calls)
    assert all(map(same, results, evaluated(program, writer.given())))


def test_an_array_that_is_two_inputs_is_written_at_the_end():
    writer = Writer()
    x, y = writer.input(np.ones(3)), writer.input(np.ones(3))
    z = writer("multiply", x, 2.0)
    program = writer.program([z, writer("add", z, y), y])
    array = np.ones(3)
    results = build(program).run([array, array], [array, None, None])
    assert [result[0] for result in results] == [2.0, 3.0, 1.0]


def test_on_each_device(device):
    for seed in range(400, 404 if device.kind == "cuda" else 430):
        program, inputs = random_program(seed)
        program, inputs = on(device, program), sent(device, inputs)
        try:
            evaluated(program, inputs)
        except (AttributeError, TypeError, ValueError):  # CuPy lacks that step
            continue
        check(program, inputs)


def steps(write, *arrays):
    """The program of what ``write`` writes with a function that adds a step, and the source."""
    writer = Writer()
    made = write(writer, *map(writer.input, arrays))
    program = writer.program(made if isinstance(made, list) else [made])
    check(program, list(arrays))
    replay = build(program)
    replay.run(list(arrays))
    return program, replay.sources[-1]


X = np.arange(6.0).reshape(2, 3)


def test_results_go_to_memory_that_is_read_no_more():
    _, source = steps(lambda w, x: w("sum", w("tanh", w("exp", w("negative", x))), axis=1), X)
    assert "u_negative(x0, v1)\n    u_exp(v1, v1)\n    u_tanh(v1, v1)\n" in source


def test_a_loop_over_slices_copies_nothing():
    def write(w, x):
        y = w("exp", x)
        for i in range(3):
            y = w("set_item", y, i, w("get_item", x, i))
            y = w("add_item", y, slice(i, None), w("get_item", y, slice(i, None)))
        return w("tanh", y)

    for x in (np.ones(5), np.ones((4, 5))):
        _, source = steps(write, x)
        assert "copy" not in source
        assert source.count("[...] =") == 0


def test_an_array_that_is_read_as_it_was_is_copied_before_a_change():
    _, source = steps(lambda w, x: w("add", w("set_item", x, 0, 1.0), x), X)
    assert "[...] = x0" in source


def test_a_view_of_planned_memory_is_made_once():
    _, source = steps(lambda w, x: w("exp", w("transpose", w("reshape", w("exp", x), (3, 2)))), X)
    assert "reshape" not in source
    assert "transpose" not in source


def test_results_have_the_layout_that_numpy_gives_them():
    program, _ = steps(
        lambda w, x: [w("sum", w("exp", w("tanh", w("transpose", x))), axis=0),
                      w("exp", w("transpose", w("tanh", x)))],
        np.random.default_rng(3).normal(size=(40, 30)).astype("f"),
    )  # fmt: skip
    inputs = [np.random.default_rng(3).normal(size=(40, 30)).astype("f")]
    for a, b in zip(build(program).run(inputs), evaluated(program, inputs)):
        assert a.strides == b.strides


def test_what_the_caller_gets_stays_as_it_is():
    writer = Writer()
    x = writer.input(X)
    y = writer("exp", x)
    program = writer.program([y, writer("reshape", y, (3, 2)), writer("copy", x), x])
    replay = build(program)
    first = replay.run([X])
    before = copies(first)
    replay.run([2 * X])
    assert all(map(same, first, before))
    assert np.may_share_memory(first[0], first[1])
    assert not np.may_share_memory(first[2], X)
    assert first[3] is X


def test_outputs_are_written_when_all_is_read():
    """Each of two inputs gets what the other was, and a third the sum."""
    writer = Writer()
    x, y, z = (writer.input(np.full(3, number)) for number in (1.0, 2.0, 3.0))
    program = writer.program(
        [y, x, writer("add", writer("multiply", x, y), z), writer("negative", z)]
    )
    inputs = [np.full(3, number) for number in (1.0, 2.0, 3.0)]
    results = build(program).run(inputs, [*inputs, None])
    assert [x[0] for x in results] == [2.0, 1.0, 5.0, -3.0]
    assert [x[0] for x in inputs] == [2.0, 1.0, 5.0]


def test_an_update_is_written_at_once():
    """Without a copy of the parameter, and after everything that may raise."""
    writer = Writer()
    p, g, rate = writer.input(np.ones(3, "f")), writer.input(np.ones(3, "f")), writer.input(0.5)
    new = writer("subtract", p, writer("multiply", g, rate))
    program = writer.program([new, writer("exp", g)])
    replay = build(program)
    arrays = [np.ones(3, "f"), np.full(3, 2, "f")]
    replay.run([*arrays, 0.25], [arrays[0], None])
    assert same(arrays[0], np.full(3, 0.5, "f"))
    assert "[partial(u_subtract, x0, v3, out0)]" in replay.sources[-1].splitlines()[-1]


def test_what_is_prepared_is_written_by_its_calls():
    writer = Writer()
    p, g = writer.input(np.ones(3)), writer.input(np.ones(3))
    program = writer.program([writer("subtract", p, writer("multiply", g, 0.5)), p])
    replay = build(program)
    array = np.ones(3)
    results, calls = replay.prepare([array, np.full(3, 2.0)], [array, None])
    other, others = replay.prepare([np.ones(3), np.full(3, 4.0)], [np.empty(3), None])
    assert same(array, np.ones(3))
    whole(calls)
    whole(others)
    assert same(array, np.zeros(3))
    assert same(other[0], np.full(3, -1.0))
    assert same(results[1], np.ones(3))


def test_an_error_leaves_the_inputs_as_they_were():
    x, y, z = Value((2, 2), F), Value((2, 2), F), Value((2, 2), F)
    program = Program([x], {}, [
        Step("negative", [x], {}, [y]), Step("cholesky", [y], {}, [z])
    ], [y, z])  # fmt: skip
    replay = build(program)
    array = np.eye(2, dtype=F)
    for _ in range(2):
        with pytest.raises(np.linalg.LinAlgError):
            replay.run([array], [array, None])
        assert same(array, np.eye(2, dtype=F))
    replay.run([-np.eye(2, dtype=F)])


def test_a_replay_warns_of_nothing():
    writer = Writer()
    x = writer.input(np.zeros(3))
    with np.errstate(all="raise"):
        build(writer.program([writer("log", x)])).run([np.zeros(3)])


def test_threads_share_no_memory():
    writer = Writer()
    x = y = writer.input(np.ones(20_000))
    for _ in range(20):
        y = writer("add", writer("multiply", y, 0.5), x)
    replay = build(writer.program([writer("sum", y)]))
    expected = [replay.run([np.full(20_000, float(i))])[0] for i in range(4)]
    errors = []

    def work(i):
        for _ in range(20):
            found = replay.run([np.full(20_000, float(i))])
            errors.extend([i] * (not same(found[0], expected[i])))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_python_numbers_stay_weak():
    writer = Writer()
    x, rate = writer.input(np.ones(3, "f")), writer.input(0.1)
    half = writer("multiply", rate, 0.5)
    program = writer.program([writer("multiply", x, half), writer("power", x, rate), half])
    results = build(program).run([np.ones(3, "f"), 0.5])
    assert [getattr(result, "dtype", float) for result in results] == ["f", "f", float]


def test_results_that_nobody_reads_and_that_are_none():
    x, q, r = Value((2, 2), F), Value((2, 2), F), Value((2,), F)
    program = Program([x], {}, [Step("eigh", [x], {}, [r, None])], [r])
    assert same(build(program).run([np.eye(2, dtype=F)])[0], np.ones(2, F))
    assert q.ndim == 2


def test_only_views_share_memory_with_their_operands():
    """Memory of operands is used again, as soon as nobody reads them or a view of them."""
    for op, sample in cases():
        arrays = prepared(op, arrays_for(op, sample))
        with np.errstate(all="ignore"):
            result = getattr(namespace_of(np.empty(0)), op.name)(*arrays, **sample.parameters)
        made = [one for one in flat(result) if isinstance(one, np.ndarray)]
        shares = any(np.may_share_memory(x, one) for x in arrays for one in made)
        assert op.name in VIEWS or not shares, op.name


@pytest.mark.parametrize(
    "view", [lambda a: a.T.reshape(-1), lambda a: a.T.ravel(), lambda a: a[:, ::-1].reshape(-1)]
)
@pytest.mark.parametrize("change", [lambda a, b: a.__setitem__(0, b), lambda a, b: a.__iadd__(b)])
def test_a_change_of_a_view_that_was_a_copy(view, change, by_numpy):
    """It is no memory of the plan, though what it was copied from is read no more."""

    def function(x):
        y = view(x * 2)
        change(y, x.sum())
        return (y * 3).sum(), x

    x = gg.tensor(np.arange(12.0).reshape(3, 4))
    f = gg.compile(function)
    for _ in range(3):
        for got, expected in zip(f(x), function(x), strict=True):
            np.testing.assert_array_equal(got.data, expected.data)


@pytest.mark.parametrize("rows", [8, 16, 32, 64])
@pytest.mark.parametrize("behind", [None, "sum", "tanh"])
def test_few_rows_times_transposed_weights_are_multiplied_the_other_way_round(rows, behind):
    """In half of the time. What reads the product lies row by row; so does what the caller gets."""
    rng = np.random.default_rng(rows)
    x, w, b = (rng.normal(size=shape).astype("f") for shape in ((rows, 256), (256, 256), (256,)))
    writer = Writer()
    inputs = [writer.input(array) for array in (x, w, b)]
    y = writer("matmul", inputs[0], writer("transpose", inputs[1]))
    if behind != "sum":
        y = writer("add", y, inputs[2])
    program = writer.program([y if behind is None else writer(behind, y)])
    replay = build(program)
    (result,) = replay.run([x, w, b])
    (expected,) = evaluated(program, [x, w, b])
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
    assert result.strides == expected.strides
    assert (".T.dot(x0.T, " in replay.sources[-1]) == (behind != "sum")


def test_large_results_of_functions_are_written_over_where_nobody_reads_them(monkeypatch):
    """As a bias is added to a product; one that is read later stays as it is."""
    monkeypatch.setattr(replay_module, "LARGE", 16)
    x = np.random.default_rng(0).normal(size=(8, 8))

    def product(w, x, read_later):
        y = w("matmul", x, x)
        z = w("add", w("reshape", y, (4, 16)), 1.0)
        for _ in range(3):
            z = w("cumsum", z, axis=1)  # which takes no memory
        return [w("sum", z), w("sum", w("exp", y))] if read_later else w("sum", z)

    _, source = steps(lambda w, x: product(w, x, False), x)
    assert re.search(r"u_add\((v\d+), n0, out=\1\)", source)
    _, source = steps(lambda w, x: product(w, x, True), x)
    assert "u_add" in source
    assert "n0, out=" not in source


SPECIAL = [0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-45, 1.0, -1.0]


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_extremes_of_large_arrays_and_a_number_are_those_of_numpy(name, dtype):
    """Bit by bit, in any order of memory, in place or not: with gaps, they are NumPy's own."""
    ufunc, bits = getattr(np, name), f"i{np.dtype(dtype).itemsize}"
    array = np.resize(np.array(SPECIAL, dtype), (7, 50, 300))
    orders = [array, array.transpose(2, 0, 1), array[::-1], array[:, :, ::2], array.reshape(-1)]
    for x in orders:
        for number in (0.0, -0.0, 6.0, np.nan):
            number = np.array(number, dtype)
            expected = ufunc(x, number)
            result = beside_row(ufunc, x, number)
            assert result.strides == np.empty_like(x).strides
            np.testing.assert_array_equal(result.view(bits), expected.view(bits))
            own = x.copy(order="K")
            assert beside_row(ufunc, own, number, own) is own
            np.testing.assert_array_equal(own.view(bits), expected.view(bits))


def test_a_relu_of_a_large_array_meets_a_row():
    x = np.resize(np.array(SPECIAL, "f"), (LEAST // 64, 64))
    for y in (x, x.T):
        _, source = steps(lambda w, x: w("sum", w("maximum", w("add", x, 1.0), 0)), y)
        assert "row_maximum(v" in source
    _, source = steps(lambda w, x: w("sum", w("maximum", w("add", x, 1.0), 0)), x[1:])
    assert "row_maximum" not in source
