"""Indexing, devices and synchronisations of the simulated device."""

import threading

import hypothesis.extra.numpy as arrays_of
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import same

import gpugrad.backend.sim as xp
from gpugrad.errors import DeviceError


@pytest.fixture
def syncs():
    kinds = []
    xp.sync_callbacks.append(kinds.append)
    yield kinds
    xp.sync_callbacks.remove(kinds.append)


# Indexing


KEYS = {
    "int": 1,
    "negative": (-1, -2),
    "slice": (slice(None, None, -1), slice(1, 3)),
    "newaxis": (None, Ellipsis, None, 0),
    "empty": (),
    "list": [0, 1, 1],
    "array": numpy.array([[0, 1], [1, 0]]),
    "two arrays": (numpy.array([0, 1]), slice(None), numpy.array([3, 2])),
    "array and int": (numpy.array([0, 1]), 2),
    "mask": numpy.arange(24).reshape(2, 3, 4) % 3 == 0,
    "row mask": numpy.array([False, True]),
    "mask and slice": (numpy.array([False, True]), slice(0, 2)),
    "mask and array": (numpy.array([True, True]), numpy.array([1, 2])),
    "true": True,
    "empty list": [],
}


def on_device(key):
    if isinstance(key, tuple):
        return tuple(on_device(k) for k in key)
    return xp.asarray(key) if isinstance(key, numpy.ndarray) else key


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_indexing_reads_and_writes_as_numpy(key):
    host = numpy.arange(24.0).reshape(2, 3, 4)
    device = xp.asarray(host)
    same(device[on_device(key)], numpy.asarray(host[key]))
    device[on_device(key)] = -1
    host[key] = -1
    same(device, host)
    value = numpy.asarray(host[key]) * 2
    device[on_device(key)] = xp.asarray(value)
    host[key] = value
    same(device, host)


@st.composite
def array_and_key(draw):
    """A shape and a key: slices, integers, None, Ellipsis, index arrays in and out of range."""
    shape = draw(arrays_of.array_shapes(max_dims=4, max_side=4))
    basic = draw(
        arrays_of.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True, max_dims=6)
    )
    if draw(st.booleans()):
        return shape, basic
    count = draw(st.integers(1, len(shape)))
    index = arrays_of.arrays(
        numpy.int64,
        draw(arrays_of.array_shapes(max_dims=2, max_side=3)),
        elements=st.integers(-9, 9),
    )
    key = [draw(index) if draw(st.booleans()) else slice(None) for _ in range(count)]
    first = next((k for k in key if not isinstance(k, slice)), None)
    return shape, tuple(k if isinstance(k, slice) else first for k in key)


@given(array_and_key())
def test_any_key_reads_and_writes_as_numpy_with_indices_modulo_the_size(case):
    shape, key = case
    host = numpy.arange(float(numpy.prod(shape))).reshape(shape)
    device = xp.asarray(host)
    wrapped = key
    if isinstance(key, tuple) and any(isinstance(k, numpy.ndarray) for k in key):
        wrapped = tuple(
            k % shape[axis] if isinstance(k, numpy.ndarray) else k for axis, k in enumerate(key)
        )
    same(device[on_device(key)], numpy.asarray(host[wrapped]))
    device[on_device(key)] = -1
    host[wrapped] = -1
    same(device, host)


def test_index_arrays_wrap_around_silently_and_integers_do_not():
    a = xp.arange(3)
    same(a[xp.asarray([1, 3, -1, 7])], numpy.array([1, 0, 2, 1]))
    same(a[[1, 3]], numpy.array([1, 0]))
    same(xp.take(a, xp.asarray([5])), numpy.array([2]))
    same(a.take(4), numpy.asarray(1))
    same(xp.take_along_axis(a, xp.asarray([4, 3]), 0), numpy.array([1, 0]))
    b = xp.zeros((2, 300))
    b[xp.asarray([3], "i1"), xp.asarray([302])] = 1
    assert float(b[1, 2]) == 1
    a[xp.asarray([4])] = 9
    same(a, numpy.array([0, 9, 2]))
    for key in (3, -4, (0, 0)):
        with pytest.raises(IndexError):
            a[key]
    with pytest.raises(IndexError, match="empty axis"):
        xp.zeros(0)[xp.asarray([0])]


def test_bad_indices():
    a = xp.arange(3)
    for key in ({}, xp.asarray([0.5])):
        with pytest.raises(IndexError):
            a[key]
    with pytest.raises(ValueError, match="invalid literal"):  # CuPy asks no more of it than int()
        a["x"]
    assert a[1.5].item() == 1
    with pytest.raises(IndexError):
        a[xp.asarray([True, False])]


def test_repeated_indices_keep_the_last_value():
    a = xp.zeros(2)
    a[xp.asarray([0, 1, 0])] = xp.asarray([1.0, 2.0, 3.0])
    same(a, numpy.array([3.0, 2.0]))


def test_flat():
    a = xp.zeros((2, 3))
    a.flat[4] = 1
    assert float(a[1, 1]) == 1
    assert len(a.flat) == 6
    assert [float(v) for v in a.flat] == [0, 0, 0, 0, 1, 0]
    with pytest.raises(TypeError, match="Unsupported type"):
        a.flat[:] = numpy.ones(6)


# Devices


def test_arrays_know_their_device():
    assert xp.zeros(1).device == xp.Device(0)
    with xp.Device(1) as device:
        b = xp.zeros(1)
        with xp.cuda.Device(2):
            assert xp.asarray([1]).device.id == 2
        assert xp.full(2, 1.0).device.id == 1
        assert xp.Device() == device
    assert b.device.id == 1
    assert repr(b.device) == "<sim Device 1>"
    assert (b + 1).device.id == b.sum().device.id == b[0].device.id == xp.exp(b).device.id == 1
    assert xp.asarray(b).device.id == 0
    assert xp.array(b).device.id == 0
    assert len({xp.Device(1), xp.Device(1), xp.Device(0)}) == 2
    with pytest.raises(DeviceError, match="there is no device 99"):
        xp.Device(99)
    assert xp.cuda.runtime.getDeviceCount() == xp.DEVICE_COUNT
    assert xp.is_available()


def test_the_current_device_is_restored_and_local_to_threads():
    with pytest.raises(KeyError), xp.Device(3):
        raise KeyError
    assert xp.Device().id == 0
    seen = []
    with xp.Device(4):
        thread = threading.Thread(target=lambda: seen.append(xp.Device().id))
        thread.start()
        thread.join()
    assert seen == [0]


@pytest.mark.parametrize(
    "mix",
    [
        lambda a, b: a + b,
        lambda a, b: xp.dot(a, b),
        lambda a, b: xp.concatenate([a, b]),
        lambda a, b: xp.add(a, a, out=b),
        lambda a, b: xp.where(a > 0, a, b),
        lambda a, b: a.__setitem__(slice(None), b),
        lambda a, b: a[b.astype(int)],
        lambda a, b: xp.add.at(a, xp.zeros(2, int), b),
        lambda a, b: xp.take(a, b.astype(int)),
        lambda a, b: xp.array([a, b]),
    ],
)
def test_arrays_of_two_devices_do_not_mix(mix):
    a = xp.ones(2)
    with xp.Device(1):
        b = xp.ones(2)
    with pytest.raises(ValueError, match="sim:0 and sim:1"):
        mix(a, b)


# What the host waits for


SYNCS = {
    "float": lambda a: float(a[0]),
    "int": lambda a: int(a[0]),
    "bool": lambda a: bool(a[0]),
    "item": lambda a: a[0].item(),
    "get": lambda a: a.get(),
    "tolist": lambda a: a.tolist(),
    "repr": lambda a: repr(a),
    "str": lambda a: str(a),
    "format": lambda a: f"{a[0]:.1f}",
    "boolean mask": lambda a: a[a > 1],
    "nonzero": lambda a: xp.where(a > 1),
    "unique": lambda a: xp.unique(a),
    "bincount": lambda a: xp.bincount(a.astype(int)),
    "host to device": lambda a: a.set(numpy.ones(3)),
    "index from host": lambda a: a[[0, 1]],
    "Stream.synchronize": lambda a: xp.cuda.Stream.null.synchronize(),
    "Device.synchronize": lambda a: a.device.synchronize(),
}


@pytest.mark.parametrize("kind", SYNCS)
def test_synchronisations_are_reported(kind, syncs):
    a = xp.arange(3.0)
    SYNCS[kind](a)
    assert syncs == [kind]


def test_work_on_the_device_reports_nothing(syncs):
    a = xp.arange(6.0).reshape(2, 3)
    b = (xp.exp(a) @ a.T).sum() * 2
    a[a > 1] = 0
    a[xp.zeros(1, int)] += b
    xp.where(a > 1, a, 0).reshape(3, 2).astype("f4").max(axis=0)
    assert syncs == []
    xp.asarray(numpy.ones(2))
    xp.asnumpy(a)
    assert syncs == ["host to device", "get"]
