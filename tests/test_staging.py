"""Batches on their way to a GPU: right at every timing, one ahead, and with no wait of the host."""

import gc
import logging
import sys

import fake_streams
import numpy as np
import pytest

import gpugrad as gg
from gpugrad.backend import probe, staging
from gpugrad.backend.probe import Probe, Step

SCHEDULES = ["eager", "late", *range(20)]


@pytest.fixture
def install(monkeypatch, fresh_cuda):
    """Makes a fake with a schedule the installed CuPy, on which CUDA works."""

    def install(schedule, **faults):
        cupy, cupyx = fake_streams.make(schedule, **faults)
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setitem(sys.modules, "cupyx", cupyx)
        monkeypatch.setattr(probe, "_kept", Probe((Step("all", True, ""),)))
        monkeypatch.setattr(staging, "_streams", {})
        monkeypatch.setattr(staging, "_in_flight", [])
        return cupy

    return install


X = np.arange(80, dtype=np.float32).reshape(20, 4)
Y = np.arange(20)


def seen_by(cupy, loader, steps=2):
    """What kernels of a training loop, which lets go of each batch at once, read."""
    seen, work = [], []
    for xb, yb in loader:
        for _ in range(steps):  # of which the first has the batch before in its hands no more
            xb.kernel(work)
            scratch = cupy.empty(xb.shape, xb.dtype)
            scratch.kernel([])
            yb.kernel(seen)
            xb.kernel(seen)
            del scratch
        del xb, yb
    cupy.gpu.finish()
    return [(ys, xs) for ys, xs in zip(seen[::2], seen[1::2])]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("strided", [True, False])
def test_kernels_read_the_batches_whatever_runs_when(schedule, shuffle, strided, install):
    cupy = install(schedule)
    x = np.repeat(X, 2, axis=1)[:, ::2] if strided else X
    loader = gg.data.DataLoader((x, Y), 3, shuffle, generator=gg.random.Generator(1), device="cuda")
    for _ in range(2):
        pairs = seen_by(cupy, loader)
        assert len(pairs) == 14
        for ys, xs in pairs:
            np.testing.assert_array_equal(xs, X[ys])
        assert sorted(np.concatenate([ys for ys, _ in pairs])) == sorted([*Y, *Y])
    assert cupy.gpu.host_waits == 0


BROKEN = {
    "the consumer does not wait": lambda cupy, patch: patch.setattr(
        cupy.cuda.Stream, "wait_event", _unless_null(cupy)
    ),
    "pinned memory is let go of": lambda cupy, patch: patch.setattr(
        staging, "_keep", lambda hosts, copied: None
    ),
    "the copy does not wait": lambda cupy, patch: patch.setattr(
        cupy.cuda.Stream, "wait_event", _only_null(cupy)
    ),
}


def _unless_null(cupy):
    original, null = cupy.cuda.Stream.wait_event, cupy.cuda.get_current_stream()
    return lambda self, event: None if self is null else original(self, event)


def _only_null(cupy):
    original, null = cupy.cuda.Stream.wait_event, cupy.cuda.get_current_stream()
    return lambda self, event: original(self, event) if self is null else None


@pytest.mark.parametrize("fault", BROKEN.values(), ids=list(BROKEN))
def test_without_any_of_the_safeguards_some_timing_reads_other_numbers(fault, install, monkeypatch):
    wrong = 0
    for schedule in SCHEDULES:
        with monkeypatch.context() as patch:
            cupy = install(schedule)
            fault(cupy, patch)
            pairs = seen_by(cupy, gg.data.DataLoader((X, Y), 3, device="cuda"))
            for number, (ys, xs) in enumerate(pairs):
                rows = slice(number // 2 * 3, number // 2 * 3 + 3)
                wrong += not (np.array_equal(xs, X[rows]) and np.array_equal(ys, Y[rows]))
    assert wrong


def test_one_batch_ahead_and_no_more(install):
    cupy = install("late")
    asked = []

    class Data:
        def __len__(self):
            return 12

        def __getitem__(self, rows):
            asked.append(int(rows[0]))
            return X[rows]

    batches = iter(gg.data.DataLoader(Data(), 3, device="cuda"))
    assert asked == []
    first = next(batches)
    assert asked == [0, 3]
    assert cupy.asnumpy(first).tolist() == X[:3].tolist()
    next(batches)
    assert asked == [0, 3, 6]
    assert len(list(batches)) == 2
    assert asked == [0, 3, 6, 9]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_loop_that_is_left_gives_memory_back_after_its_copy(schedule, install):
    cupy = install(schedule)
    seen = []
    batches = iter(gg.data.DataLoader((X, Y), 3, device="cuda"))
    next(batches)
    del batches
    gc.collect()
    # The same memory again, for work on the same stream: a copy that comes late would be seen.
    made = [cupy.empty((3, 4), np.float32) for _ in range(4)]
    for number, array in enumerate(made):
        there = array.view()
        cupy.cuda.get_current_stream().give(lambda there=there, n=number: there.fill(n))
    for array in made:
        array.kernel(seen)
    cupy.gpu.finish()
    assert [block.max() for block in seen] == [block.min() for block in seen] == [0, 1, 2, 3]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_stream_that_changes_between_batches(schedule, install):
    cupy = install(schedule)
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
    seen = []
    loader = iter(gg.data.DataLoader((X, Y), 2, device="cuda"))
    for number in range(10):
        with streams[number % 2]:
            xb, yb = next(loader)
            xb.kernel(seen)
            yb.kernel(seen)
            del xb, yb
    cupy.gpu.finish()
    rows = sorted(tuple(part.ravel().tolist()) for part in seen)
    expected = [X[i : i + 2].ravel() for i in range(0, 20, 2)] + [
        Y[i : i + 2] for i in range(0, 20, 2)
    ]
    assert rows == sorted(tuple(part.tolist()) for part in expected)


def test_an_error_of_the_data_comes_in_the_place_of_its_batch(install):
    cupy = install("late")

    class Data:
        def __len__(self):
            return 9

        def __getitem__(self, rows):
            if 5 in rows:
                raise OSError("row 5 cannot be read")
            return X[rows]

    loader = gg.data.DataLoader(Data(), 3, device="cuda")
    batches = iter(loader)
    assert cupy.asnumpy(next(batches)).tolist() == X[:3].tolist()
    assert loader.state_dict()["given"] == 1
    with pytest.raises(OSError, match="row 5"):
        next(batches)


def test_what_is_given_counts_not_what_is_on_its_way(install):
    install("late")
    loader = gg.data.DataLoader((X, Y), 3, device="cuda")
    batches = iter(loader)
    next(batches)
    next(batches)
    state = loader.state_dict()
    assert state["given"] == 2
    again = gg.data.DataLoader((X, Y), 3, device="cuda")
    again.load_state_dict(state)
    assert len(list(again)) == len(loader) - 2


def test_tensors_stay_tensors_and_parts_keep_their_places(install):
    cupy = install("late")
    there = cupy.asarray(X)
    big_endian = X.astype(">f4")

    class Data:
        def __len__(self):
            return 4

        def __getitem__(self, rows):
            return gg.tensor(Y[rows]), there, X[rows], np.float32(7), big_endian[rows]

    (batch,) = gg.data.DataLoader(Data(), 4, device="cuda")
    labels, same, rows, number, swapped = batch
    assert isinstance(labels, gg.Tensor)
    assert cupy.asnumpy(labels.data).tolist() == [0, 1, 2, 3]
    assert same is there
    assert cupy.asnumpy(rows).tolist() == X[:4].tolist()
    assert cupy.asnumpy(number) == 7
    assert cupy.asnumpy(swapped).tolist() == X[:4].tolist()
    (alone,) = gg.data.DataLoader(X[:2], 2, device="cuda")
    assert cupy.asnumpy(alone).tolist() == X[:2].tolist()


def test_rows_of_no_elements(install):
    install("late")
    shapes = [batch.shape for batch in gg.data.DataLoader(np.zeros((5, 0)), 2, device="cuda")]
    assert shapes == [(2, 0), (2, 0), (1, 0)]
    assert list(gg.data.DataLoader(np.zeros((0, 3)), 2, True, device="cuda")) == []


def test_pinned_memory_is_let_go_of_when_its_copy_is_done(install):
    cupy = install("eager")
    for _ in gg.data.DataLoader((X, Y), 2, device="cuda"):
        assert len(staging._in_flight) <= 2
    cupy = install("late")
    for _ in gg.data.DataLoader((X, Y), 2, device="cuda"):
        pass
    assert len(staging._in_flight) == 10
    cupy.gpu.finish()
    for _ in gg.data.DataLoader((X, Y), 20, device="cuda"):
        pass
    assert len(staging._in_flight) == 1


def test_a_host_that_is_far_ahead_waits_for_the_oldest_copy(install):
    cupy = install("late")
    x = np.arange(100)
    seen, most = [], 0
    with gg.sync_guard():
        for batch in gg.data.DataLoader(x, 1, device="cuda"):
            batch.kernel(seen)
            most = max(most, len(staging._in_flight))
            del batch
    assert most == staging.MOST
    assert cupy.gpu.host_waits > 0
    cupy.gpu.finish()
    assert np.concatenate(seen).tolist() == x.tolist()


def test_a_copy_that_fails_leaves_no_memory_to_others(install, monkeypatch):
    cupy = install("late")
    original, calls = cupy.ndarray.set, []

    def second_fails(self, arr, stream=None):
        calls.append(arr.shape)
        if len(calls) == 2:
            raise RuntimeError("cudaErrorUnknown")
        original(self, arr, stream)

    monkeypatch.setattr(cupy.ndarray, "set", second_fails)
    with pytest.raises(RuntimeError, match="Unknown"):
        next(iter(gg.data.DataLoader((X, Y), 3, device="cuda")))
    gc.collect()
    seen = []
    again = cupy.empty((3, 4), np.float32)
    there = again.view()
    cupy.cuda.get_current_stream().give(lambda: there.fill(5))
    again.kernel(seen)
    cupy.gpu.finish()
    assert seen[0].tolist() == np.full((3, 4), 5).tolist()


def test_a_batch_that_does_not_fit(install, monkeypatch):
    cupy = install("late")

    def fail(shape, dtype):
        raise MemoryError("no room")

    monkeypatch.setattr(cupy, "empty", fail)
    with pytest.raises(gg.OutOfMemoryError, match=r"^a batch for cuda:0: no room. Try a smaller"):
        next(iter(gg.data.DataLoader(X, 3, device="cuda")))


def test_without_pinned_memory_the_batches_are_the_same(install, caplog):
    cupy = install("late", pinned_fails=True)
    with caplog.at_level(logging.WARNING, "gpugrad"):
        pairs = seen_by(cupy, gg.data.DataLoader((X, Y), 3, device="cuda"))
    for ys, xs in pairs:
        np.testing.assert_array_equal(xs, X[ys])
    assert "no pinned memory for a batch" in caplog.text


@pytest.mark.parametrize("shuffle", [True, False])
def test_data_on_the_device_is_indexed_there_by_an_order_sent_once(shuffle, monkeypatch):
    sends = []
    original = gg.Device.send
    monkeypatch.setattr(
        gg.Device, "send", lambda self, array, **words: (
            sends.append(array), original(self, array, **words)
        )[1]
    )  # fmt: skip
    place = gg.Device("sim")
    x, y = place.send(X), gg.tensor(Y, device="sim")
    sends.clear()
    loader = gg.data.DataLoader((x, y), 3, shuffle, device="sim")
    with gg.sync_guard():
        batches = list(loader)
    assert len(batches) == 7
    assert [type(array) for array in sends if isinstance(array, np.ndarray)] == (
        [np.ndarray] if shuffle else []
    )
    for xb, yb in batches:
        np.testing.assert_array_equal(xb.get(), X[yb.numpy()])


def test_what_is_asked_of_the_real_cupy_is_there():
    import inspect

    cupy = pytest.importorskip("cupy")
    import cupyx

    stream, event = cupy.cuda.Stream, cupy.cuda.Event
    inspect.signature(stream).bind(non_blocking=True)
    inspect.signature(event).bind(disable_timing=True)
    inspect.signature(stream.wait_event).bind(None, None)
    inspect.signature(event.record).bind(None, None)
    assert isinstance(event.done, property)
    assert cupy.ndarray.set.__doc__.startswith("_ndarray_base.set(self, arr, stream=None)")
    inspect.signature(cupyx.empty_pinned).bind((2, 3), np.float32)
    assert callable(cupy.cuda.get_current_stream)


@pytest.mark.skipif(not gg.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_loader_on_a_gpu_behind_a_queue_that_is_full(shuffle):
    import cupy

    x = np.arange(1 << 20, dtype=np.float32).reshape(-1, 256)
    y = np.arange(len(x))
    busy = cupy.ones((2048, 2048), cupy.float32)
    found = []
    for xb, yb in gg.data.DataLoader((x, y), 128, shuffle, device="cuda"):
        for _ in range(5):
            busy = busy @ busy * 1e-4
        found.append((xb.sum(axis=1), yb.copy()))
        del xb, yb
    for sums, numbers in found:
        expected = x[numbers.get()].astype(np.float64).sum(axis=1)
        np.testing.assert_allclose(sums.get(), expected, rtol=1e-5)
