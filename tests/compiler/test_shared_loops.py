"""Large loops in C: the same results with any number of threads, in forks and beside others."""

import os
import threading

import numpy as np
import pytest
from programs import Writer

from gpugrad.backend.threads import thread_count
from gpugrad.compiler.c import functions as c_functions
from gpugrad.compiler.c import native, threads
from gpugrad.compiler.c.compiler import find_compiler

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Parts of few elements, and afterwards as many threads as before."""
    monkeypatch.setattr(c_functions, "WORTH", 1)
    monkeypatch.setattr(c_functions, "PART", 1 << 12)
    monkeypatch.setenv("GPUGRAD_NUM_THREADS", "3")
    yield
    monkeypatch.undo()
    threads.set_threads(thread_count())


def program(shape, dtype="f"):
    """Elementwise steps, and sums and extremes over every set of axes, of numbers and NaN."""
    steps = Writer()
    array = np.random.default_rng(0).normal(size=shape).astype(dtype)
    array.flat[array.size // 3] = np.inf
    array.flat[array.size // 2] = -0.0
    x, y = steps.input(array), steps.input(array[::-1].copy())
    z = steps("add", steps("multiply", steps("tanh", x), y), 0.5)
    e = steps("exp", z)
    made = [z, e, steps("divide", e, steps("sum", e, axis=-1, keepdims=True))]
    with_nan = steps("sqrt", x)
    for axis in (None, 0, -1, tuple(range(len(shape)))):
        made += [steps("sum", z, axis=axis), steps("max", with_nan, axis=axis)]
        made.append(steps("min", y, axis=axis))
    return steps, made


ALONE = [(511,), (3, 700)]  # of which one thread does all
SHARED = [(513,), (2049,), (70_001,), (1025, 3), (37, 5, 40), (300, 200)]


@pytest.mark.parametrize("shape", ALONE + SHARED, ids=str)
def test_any_number_of_threads_gives_the_same(shape):
    steps, made = program(shape)
    with np.errstate(all="ignore"):
        compiled = native.build(steps.program(made))
    assert compiled.counts["NumPy steps"] == 0
    results = []
    for count in (1, 2, 3, 3):
        threads.set_threads(count)
        results.append(compiled.run(steps.given()))
    for value, first, *others in zip(made, *results):
        for other in others:
            np.testing.assert_array_equal(first.view("i4"), other.view("i4"))
        np.testing.assert_allclose(first, steps.arrays[value], 2e-5, 2e-3)
    assert ("_part(" in compiled.source) == (shape in SHARED)


@pytest.mark.parametrize("size", [200, 2000])
def test_loops_over_many_arrays(size):
    """Functions of more pointers than are parameters, with one thread and with several."""
    steps, made = Writer(), []
    x = y = steps.input(np.linspace(0.5, 1.5, size, dtype="f"))
    for _ in range(c_functions.MANY):
        y = steps("add", steps("tanh", steps("multiply", y, x)), 0.5)
        made += [y, steps("sum", y), steps("square", y)]
    compiled = native.build(steps.program(made))
    assert "find(places, " in compiled.source
    assert ("_part(void *const *arrays, char *work, " in compiled.source) == (size > 512)
    results = []
    for count in (1, 3):
        threads.set_threads(count)
        results.append(compiled.run(steps.given()))
    for value, one, other in zip(made, *results):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, steps.arrays[value], 1e-5)


def large():
    """A program of one shared loop, and its arguments."""
    steps, made = program((70_001,))
    return native.build(steps.program(made)), steps.given()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_child_of_a_fork_has_threads_of_its_own():
    compiled, given = large()
    expected = compiled.run(given)
    child = os.fork()
    if not child:
        same = [np.array_equal(a, b, True) for a, b in zip(compiled.run(given), expected)]
        os._exit(0 if all(same) else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(compiled.run(given)[0], expected[0])


def test_threads_of_python_that_run_loops_at_once():
    compiled, given = large()
    expected, wrong = compiled.run(given), []

    def repeat():
        for _ in range(20):
            results = compiled.run(given)
            wrong.extend(1 for a, b in zip(results, expected) if not np.array_equal(a, b, True))

    workers = [threading.Thread(target=repeat) for _ in range(4)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert not wrong


def test_without_a_library_of_threads_one_runs_all_parts(monkeypatch):
    compiled, given = large()
    monkeypatch.setattr(threads, "_library", lambda: None)
    alone, _ = large()
    for a, b in zip(compiled.run(given), alone.run(given)):
        np.testing.assert_array_equal(a, b)
