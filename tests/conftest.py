"""The devices that the tests run on, and what each test starts from."""

import gc
import importlib
import itertools
import os
from functools import partial
from types import SimpleNamespace

import keywords
import leaks
import numpy as np
import pytest
from devices import DEVICES
from turns import pytest_runtestloop

import gpugrad as gg
from gpugrad.backend import cuda, probe
from gpugrad.backend.namespace import FORMULAS, NAMESPACES
from gpugrad.engine.op import Op
from gpugrad.engine.record import bind

__all__ = ["pytest_runtestloop"]  # pytest finds it here


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Tens of thousands of tests are made and stay: to look for garbage among them finds none.

    Neither while they are made nor later, where a test collects garbage to see what is left.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items):
    """What to leave out, for ci/gpu's processes and for the stage ``cuda`` of ci/test.

    With GPUGRAD_TEST_SHARD=3/16 every 16th test is run, from the fourth on. With
    GPUGRAD_TEST_CASES=one, of the cases of a test for one op one is run: shapes, parameters and
    dtypes take turns from one op to the next. Tests on the host are left out.
    """
    if os.environ.get("GPUGRAD_TEST_CASES") == "one":
        items[:] = _one_of_each([item for item in items if not _is_on_the_host(item)])
    if shard := os.environ.get("GPUGRAD_TEST_SHARD"):
        first, _, step = shard.partition("/")
        items[:] = items[int(first) :: int(step)]


# Where a test without a device computes on the CPU or on sim alone, whatever else there is.
HOST = (
    "tests/backend/sim/test_sim.py", "tests/backend/sim/test_sim_devices.py",
    "tests/backend/sim/test_sim_functions.py", "tests/backend/sim/test_sim_matches_cupy.py",
    "tests/backend/test_cupy_names.py", "tests/backend/test_toy_array.py",
    "tests/cli/test_train_predict.py", "tests/codegen/test_host_math.py", "tests/compiler",
    "tests/engine", "tests/examples", "tests/inspect/test_drawing.py",
    "tests/inspect/test_inspect.py", "tests/io", "tests/ops", "tests/parallel/test_cores.py",
    "tests/parallel/test_data_parallel.py", "tests/parallel/test_faults.py", "tests/repository",
    "tests/tensor", "tests/test_data_files.py", "tests/test_data_workers.py",
    "tests/test_foreign_names.py", "tests/test_newcomers.py", "tests/test_tables.py",
    "tests/training/test_trainer_kills.py",
)  # fmt: skip


def _is_on_the_host(item):
    conditions = [mark.kwargs["reason"] for mark in item.own_markers if mark.name == "skipif"]
    conditional = any("compiler" not in reason for reason in conditions)
    return item.nodeid.startswith(HOST) and "device" not in item.fixturenames and not conditional


SUBJECTS = ("op", "case", "call", "name")  # parameters of tests that say what is tested


def _one_of_each(items):
    groups = {}
    for item in items:
        parameters = getattr(item, "callspec", None)
        words = parameters.params if parameters is not None else {}
        subject = next((words[word] for word in SUBJECTS if word in words), None)
        # A test without a subject, or without other parameters beside it, is on its own.
        key = item.nodeid if subject is None else (item.path, item.originalname, _name(subject))
        groups.setdefault(key, []).append(item)
    chosen = {group[turn % len(group)] for turn, group in enumerate(groups.values())}
    return [item for item in items if item in chosen]


def _name(subject):
    return getattr(subject, "name", None) or str(subject)


@pytest.hookimpl(wrapper=True)
def pytest_generate_tests(metafunc):
    """The device varies fastest, so that what a case is compared with is computed once for all."""
    yield
    direct = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "device" in metafunc.fixturenames and not any("device" in names for names in direct):
        metafunc.parametrize("device", DEVICES, indirect=True)
    keywords.drop_others(metafunc)


@pytest.fixture
def device(request):
    """Each device of the matrix, as the default one."""
    with gg.device(request.param):
        yield gg.Device(request.param)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(autouse=True)
def _as_it_was():
    """No test leaves a mode, a device or a default behind it, or depends on what others drew."""
    gg.manual_seed(0)
    yield
    left = leaks.changes()
    assert not left, f"the test has left changes in the process. {'; '.join(left)}"


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Nor does the import of a file of tests."""
    report = yield
    if (left := leaks.changes()) and report.passed:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} changes the process at import. {'; '.join(left)}"
    return report


@pytest.fixture
def fresh_cuda():
    """Each test probes CUDA anew, and leaves neither its result nor a fake's array type behind."""
    importlib.import_module("gpugrad.backend.sim")  # whose first import makes its arrays known
    known = dict(NAMESPACES)
    cuda.reset()
    yield
    cuda.reset()
    NAMESPACES.clear()
    NAMESPACES.update(known)


@pytest.fixture
def break_at(monkeypatch):
    """A function that makes a step of the probe fail on a machine where those before succeed."""

    def break_at(step, error=None, driver=12080, distributions=("cupy-cuda12x",)):
        runtime = SimpleNamespace(driverGetVersion=lambda: driver, runtimeGetVersion=lambda: 12090)
        asked = []

        def attempt(name, state):
            asked.append(name)
            state["cupy"] = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))
            if name == step:
                raise error
            return "it works"

        steps = tuple((name, partial(attempt, name)) for name, _ in probe._STEPS)
        monkeypatch.setattr(probe, "_STEPS", steps)
        monkeypatch.setattr(probe, "distributions", lambda: dict.fromkeys(distributions, "14.2.0"))
        cuda.reset()
        return asked

    return break_at


_numbers = itertools.count()


@pytest.fixture
def make_op(monkeypatch):
    """Makes the function of an op that is not in the table."""

    def make(forward, rules, **entry):
        name = f"test_op_{next(_numbers)}"  # namespaces remember what they found by its name
        made = Op(name, forward, vjp=rules, **entry)
        monkeypatch.setitem(FORMULAS, name, made.forward)
        if made.residuals:
            monkeypatch.setitem(FORMULAS, made.recorded, forward)
        return bind(made)

    return make


@pytest.fixture
def by_numpy(monkeypatch):
    """Let compiled functions run by NumPy, whose results are the same to the last bit."""
    from gpugrad.compiler.c.compiler import find_compiler

    monkeypatch.setenv("GPUGRAD_COMPILER", "none")
    find_compiler.cache_clear()
    yield
    find_compiler.cache_clear()
