"""The devices that the tests run on, and what each test starts from."""

import importlib
import itertools
import os

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.backend import cuda
from gpugrad.backend.namespace import FORMULAS, NAMESPACES
from gpugrad.engine.op import Op
from gpugrad.engine.record import bind


def _devices() -> list[str]:
    named = os.environ.get("GPUGRAD_TEST_DEVICES")
    if named:
        return named.split(",")
    return ["cpu", "sim", *(["cuda"] if gg.cuda.is_available() else [])]


DEVICES = _devices()


def wheel():
    """CuPy as its wheel has it, not as `sim_as_cupy.py` plays it; skips where that is not here."""
    cupy = pytest.importorskip("cupy")
    if hasattr(cupy, "sync_callbacks"):
        pytest.skip("this is about CuPy's wheel", allow_module_level=True)
    return cupy


def pytest_collection_modifyitems(items):
    """With GPUGRAD_TEST_SHARD=3/16 every 16th test, from the fourth on: ci/gpu's processes."""
    if shard := os.environ.get("GPUGRAD_TEST_SHARD"):
        first, _, step = shard.partition("/")
        items[:] = items[int(first) :: int(step)]


@pytest.fixture(params=DEVICES)
def device(request):
    """Each device of the matrix, as the default one."""
    with gg.device(request.param):
        yield gg.Device(request.param)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(autouse=True)
def _as_it_was():
    """No test leaves a mode, a device or a default behind it."""
    yield
    assert gg.is_grad_enabled()
    assert gg.get_default_dtype() == np.float32


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


_numbers = itertools.count()


@pytest.fixture
def make_op(monkeypatch):
    """Makes the function of an op that is not in the table."""

    def make(forward, rules, **entry):
        name = f"test_op_{next(_numbers)}"  # namespaces remember what they found by its name
        made = Op(name, forward, vjp=rules, **entry)
        monkeypatch.setitem(FORMULAS, name, made.forward)
        return bind(made)

    return make
