"""Devices: names, the default and where it comes from, and arrays between devices."""

import asyncio
import copy
import logging
import pickle
import sys
import threading

import numpy
import pytest
from gpu import HINT
from processes import run_python

from gpugrad.backend import (
    Device,
    check_same_device,
    cuda,
    default_device,
    device_of,
    set_default_device,
    to_numpy,
    xp,
)
from gpugrad.backend import device as devices
from gpugrad.backend.device import device
from gpugrad.errors import DeviceError, DTypeError


@pytest.fixture(autouse=True)
def fresh(monkeypatch, fresh_cuda):
    """No default chosen, nothing said by "auto", nothing probed: before and after each test."""
    monkeypatch.setattr(devices, "_process_default", None)
    monkeypatch.setattr(devices, "_unsaid", iter([True]))
    monkeypatch.delenv("GPUGRAD_DEVICE", raising=False)


@pytest.fixture
def gpus():
    """CuPy, where it has two GPUs; the first is its current one again after the test."""
    if cuda.device_count() < 2:
        pytest.skip(f"needs two GPUs, {HINT}")
    import cupy

    yield cupy
    cupy.cuda.Device(0).use()


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    cuda.reset()


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "kind", "index", "text"),
    [
        ("cpu", "cpu", 0, "cpu"),
        ("cuda", "cuda", 0, "cuda:0"),
        ("cuda:0", "cuda", 0, "cuda:0"),
        ("cuda:1", "cuda", 1, "cuda:1"),
        ("sim", "sim", 0, "sim:0"),
        ("sim:1", "sim", 1, "sim:1"),
        ("auto", "cuda", 0, "cuda:0"),
    ],
)
@pytest.mark.usefixtures("gpus")
def test_names(name, kind, index, text):
    found = Device(name)
    assert (found.kind, found.index) == (kind, index)
    assert str(found) == text
    assert repr(found) == f"Device({text!r})"
    assert found == Device(found) == Device(text)
    assert hash(found) == hash(Device(text)) == hash(text)
    assert copy.deepcopy(found) == found
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize(
    "bad", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "CPU", " cpu", "sim:1.5", "auto:1"]
)
def test_what_is_not_a_name(bad):
    with pytest.raises(DeviceError, match=r'is not a device: expected "cpu", "cuda", "cuda:1"'):
        Device(bad)
    assert Device("cpu") != bad


@pytest.mark.parametrize("bad", [0, None, b"cpu", ["cpu"]])
def test_what_is_not_even_a_string(bad):
    with pytest.raises(DeviceError, match="is not a device: expected"):
        Device(bad)
    assert Device("cpu") != bad


def test_equality(gpus):
    assert Device("cpu") == "cpu"
    assert Device("cpu") != Device("sim")
    assert Device("sim") == "sim"
    assert Device("sim:0") == "sim"
    assert Device("sim") == "sim:0"
    assert Device("sim") != "sim:1"
    assert Device("cuda") == "cuda"
    assert Device("cuda:1") != "cuda"
    with gpus.cuda.Device(1):
        assert Device("cuda").index == 1
        assert Device("cuda:1") == "cuda"
    assert Device("cpu") != "auto"
    assert {Device("cpu"): 1}["cpu"] == 1


def test_a_device_does_not_change():
    cpu = Device("cpu")
    with pytest.raises(AttributeError, match="make another"):
        cpu.kind = "cuda"
    with pytest.raises(AttributeError, match="does not change"):
        del cpu.index
    with pytest.raises(AttributeError, match="make another"):
        cpu.other = 1


@pytest.mark.usefixtures("gpus")
def test_an_index_that_the_machine_lacks():
    with pytest.raises(
        DeviceError, match=r"^cuda:77: this machine has \d CUDA devices: cuda:0, cuda:1"
    ):
        Device("cuda:77")
    with pytest.raises(DeviceError, match="99"):
        Device("sim:99")


@pytest.mark.usefixtures("no_gpu")
def test_cuda_where_it_does_not_work():
    with pytest.raises(DeviceError, match=r"^cuda: CUDA does not work here: CuPy is not installed"):
        Device("cuda")


# ---------------------------------------------------------------- auto


@pytest.mark.usefixtures("no_gpu")
def test_auto_falls_back_to_the_cpu_and_says_so_once(caplog):
    with caplog.at_level(logging.INFO, logger="gpugrad"):
        assert Device("auto") == "cpu"
        assert Device("auto") == "cpu"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(
        'device "auto": using cpu, CUDA does not work here: CuPy is not installed. Install it: pip'
    )


@pytest.mark.usefixtures("gpus")
def test_auto_takes_cuda_where_it_works(caplog):
    with caplog.at_level(logging.INFO, logger="gpugrad"):
        assert Device("auto") == Device("auto") == "cuda:0"
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert record.getMessage() == 'device "auto": CUDA works, using cuda'


# ---------------------------------------------------------------- arrays on their way


def test_nothing_is_copied_that_is_there_already():
    x = numpy.arange(3.0)
    assert Device("cpu").send(x) is x
    assert Device("cpu").fetch(x) is x
    assert to_numpy(x) is x
    sim = Device("sim:1")
    y = sim.send(x)
    assert sim.send(y) is y


@pytest.mark.parametrize("name", ["cpu", "sim", "cuda"])
@pytest.mark.parametrize("value", [True, 3, 2.5, 1j, numpy.float32(0.5), numpy.int8(-3)])
@pytest.mark.usefixtures("gpus")
def test_numbers_become_0d_arrays(name, value):
    sent = Device(name).send(value)
    back = Device(name).fetch(sent)
    assert type(back) is numpy.ndarray
    assert sent.shape == back.shape == ()
    assert back.dtype == numpy.asarray(value).dtype
    assert back == value


@pytest.mark.parametrize("name", ["cpu", "sim", "cuda"])
@pytest.mark.usefixtures("gpus")
def test_what_is_not_an_array_is_refused(name):
    for bad in ([1.0, 2.0], "text", None):
        with pytest.raises(DTypeError, match="expected a NumPy, CuPy or sim array or a number"):
            Device(name).send(bad)
    with pytest.raises(DTypeError, match=r"device_of: expected .* got builtins\.list"):
        device_of([1.0])


@pytest.mark.usefixtures("gpus")
def test_any_device_to_any_other():
    names = ["cpu", "cuda:0", "cuda:1", "sim:0", "sim:1"]
    x = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
    for start in names:
        there = Device(start).send(x)
        assert device_of(there) == start
        for end in names:
            moved = Device(end).send(there)
            assert device_of(moved) == end
            assert (moved is there) == (start == end)
            back = Device(end).fetch(moved)
            assert back.dtype == x.dtype
            numpy.testing.assert_array_equal(back, x)
    assert cuda.current_device() == 0


def test_devices_know_their_modules(gpus):
    import gpugrad.backend.sim as sim

    assert Device("cpu").xp is numpy
    assert Device("sim").xp is sim
    assert Device("cuda").xp is gpus


def test_synchronize_waits_for_its_own_device(gpus, monkeypatch):
    waits, runtime = [], gpus.cuda.runtime
    monkeypatch.setattr("gpugrad.backend.sim.device.on_sync", lambda *_: waits.append("sim"))
    monkeypatch.setattr(runtime, "deviceSynchronize", lambda: waits.append(runtime.getDevice()))
    Device("cpu").synchronize()
    Device("cuda:1").synchronize()
    assert waits == [1]
    Device("sim").synchronize()
    assert waits == [1, "sim"]


def test_a_numpy_scalar_belongs_to_the_cpu_but_meets_anything(gpus):
    x = gpus.asarray(numpy.ones(2))
    assert device_of(numpy.float32(1)) == "cpu"
    check_same_device("add", (x, numpy.float32(1), 2.0, None))
    words = r'^add: the operands are on two devices, cpu and sim:1\. .*\.to\("sim:1"\) or \.cpu\(\)'
    with pytest.raises(DeviceError, match=words):
        check_same_device("add", (numpy.ones(()), Device("sim:1").send(1.0)))


# ---------------------------------------------------------------- the default device


def test_the_default_is_the_cpu():
    assert default_device() == "cpu"


def test_the_environment_sets_the_default(monkeypatch):
    monkeypatch.setenv("GPUGRAD_DEVICE", "sim:1")
    assert default_device() == "sim:1"
    set_default_device("cpu")
    assert default_device() == "cpu"


@pytest.mark.parametrize("name", ["nonsense", "sim:99"])
def test_a_bad_environment_is_named_at_each_use_and_not_kept(monkeypatch, name):
    monkeypatch.setenv("GPUGRAD_DEVICE", name)
    for _ in range(2):
        with pytest.raises(DeviceError, match=r"^GPUGRAD_DEVICE: "):
            default_device()
    monkeypatch.setenv("GPUGRAD_DEVICE", "cpu")
    assert default_device() == "cpu"


@pytest.mark.usefixtures("no_gpu")
def test_cuda_in_the_environment_without_cuda(monkeypatch):
    monkeypatch.setenv("GPUGRAD_DEVICE", "cuda")
    with pytest.raises(DeviceError, match=r"^GPUGRAD_DEVICE: cuda: CUDA does not work here: CuPy"):
        xp.zeros(3)


def test_the_environment_is_read_at_first_use_not_at_import():
    code = """
from gpugrad.backend import Device, default_device
print(Device("cpu"))
try:
    default_device()
except RuntimeError as error:
    print(type(error).__name__)
"""
    assert run_python(code, GPUGRAD_DEVICE="nonsense") == ["cpu", "DeviceError"]


def test_with_blocks_nest_and_are_undone_after_exceptions():
    set_default_device("cpu")
    with device("sim:1") as outer:
        assert outer == "sim:1"
        with device("cpu"):
            assert default_device() == "cpu"
            set_default_device("sim")
            assert default_device() == "cpu"
        assert default_device() == "sim:1"
        with pytest.raises(ZeroDivisionError), device("cpu"):
            1 / 0
        assert default_device() == "sim:1"
    assert default_device() == "sim:0"


def test_a_device_that_does_not_work_leaves_the_default_alone():
    with pytest.raises(DeviceError, match="not a device"), device("nonsense"):
        pytest.fail("the block ran")
    with pytest.raises(DeviceError, match="not a device"):
        set_default_device("nonsense")
    assert default_device() == "cpu"


def test_device_decorates_a_function():
    @device("sim:1")
    def inside():
        return default_device()

    assert [inside(), inside(), default_device()] == ["sim:1", "sim:1", "cpu"]


def test_a_block_holds_for_its_thread_alone():
    inside, checked = threading.Event(), threading.Event()
    seen = []

    def other():
        inside.wait(10)
        seen.append(default_device())
        with device("sim:0"):
            seen.append(default_device())
        checked.set()

    thread = threading.Thread(target=other)
    thread.start()
    with device("sim:1"):
        inside.set()
        assert checked.wait(10)
        assert default_device() == "sim:1"
    thread.join()
    assert seen == ["cpu", "sim:0"]


def test_set_default_device_holds_for_all_threads():
    seen = []
    set_default_device("sim")
    thread = threading.Thread(target=lambda: seen.append(default_device()))
    thread.start()
    thread.join()
    assert seen == ["sim:0"]


def test_a_block_holds_for_its_task_alone():
    async def work(name):
        with device(name):
            for _ in range(3):
                await asyncio.sleep(0)
                assert default_device() == name
        return default_device()

    async def both():
        return await asyncio.gather(work("sim:1"), work("cpu"), work("sim:0"))

    assert asyncio.run(both()) == ["cpu"] * 3


def test_the_default_gpu_is_cupys_current_one(gpus):
    with device("cuda:1"):
        assert gpus.cuda.Device().id == 1
        assert device_of(xp.zeros(3)) == "cuda:1"
        with device("cpu"):
            assert type(xp.zeros(3)) is numpy.ndarray
    assert gpus.cuda.Device().id == 0
    with pytest.raises(ZeroDivisionError), device("cuda:1"):
        1 / 0
    assert gpus.cuda.Device().id == 0
    set_default_device("cuda:1")
    assert gpus.cuda.Device().id == 1
    assert default_device() == "cuda:1"


@pytest.mark.usefixtures("gpus")
def test_activate_leaves_the_default_alone():
    with Device("cuda:1").activate():
        assert cuda.current_device() == 1
        assert Device("cuda:1").is_current()
        assert not Device("cuda:0").is_current()
        assert default_device() == "cpu"
    assert cuda.current_device() == 0


def test_xp_makes_arrays_on_the_default_gpu_in_threads_too(gpus):
    set_default_device("cuda:1")
    seen = []

    def other():
        seen.append(gpus.cuda.Device().id)
        seen.append(device_of(xp.zeros(3)))
        seen.append(xp.float32 is numpy.float32)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [0, "cuda:1", True]


def test_xp_follows_the_default_device():
    assert xp.zeros is numpy.zeros
    assert repr(xp) == "<gpugrad.backend.xp: numpy>"
    assert "zeros" in dir(xp)
    with device("sim:1"):
        assert device_of(xp.zeros(3)) == "sim:1"
        assert repr(xp) == "<gpugrad.backend.xp: gpugrad.backend.sim>"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        xp.nonsense()
