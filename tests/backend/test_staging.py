"""Batches on their way to a GPU: right at every timing, one ahead, and with no wait of the host.

The stand-in has two timings: eager, and with FAKECUDA_MODE=lazy everything as late as CUDA lets it
be. A third comes about where a test waits for the copies alone, which are early then.
"""

import gc
import logging
from types import SimpleNamespace

import numpy as np
import pytest
from gpu import STAND_IN, needs_gpu, needs_lazy, waits

import gpugrad as gg
from gpugrad.backend import staging

X = np.arange(80, dtype=np.float32).reshape(20, 4)
Y = np.arange(20)
EARLY_COPIES = pytest.mark.parametrize("early_copies", [False, True])


@pytest.fixture
def cupy(monkeypatch):
    """CuPy, with nothing on its way."""
    import cupy

    monkeypatch.setattr(staging, "_streams", {})
    monkeypatch.setattr(staging, "_in_flight", [])
    yield cupy
    cupy.cuda.runtime.deviceSynchronize()


def wait_for_copies():
    for stream in staging._streams.values():
        stream.synchronize()


def seen_by(cupy, loader, early_copies=False):
    """What kernels of a training loop, which lets go of each batch at once, read."""
    seen = []
    for xb, yb in loader:
        work = xb * 2  # the first of two has the batch before in its hands no more
        scratch = cupy.zeros(xb.shape, xb.dtype)
        scratch += 7
        seen.append((yb.copy(), xb + 0))
        del xb, yb, work, scratch
        if early_copies:
            wait_for_copies()
    return [(ys.get(), xs.get()) for ys, xs in seen]


@needs_gpu
@EARLY_COPIES
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("strided", [True, False])
def test_kernels_read_the_batches_whatever_runs_when(early_copies, shuffle, strided, cupy):
    x = np.repeat(X, 2, axis=1)[:, ::2] if strided else X
    loader = gg.data.DataLoader((x, Y), 3, shuffle, generator=gg.random.Generator(1), device="cuda")
    for _ in range(2):
        pairs = seen_by(cupy, loader, early_copies)
        assert len(pairs) == 7
        for ys, xs in pairs:
            np.testing.assert_array_equal(xs, X[ys])
        assert sorted(np.concatenate([ys for ys, _ in pairs])) == [*Y]


def waits_for_no_event(cupy, patch):
    patch.setattr(cupy.cuda.Stream, "wait_event", lambda stream, event: None)


def consumer_does_not_wait(cupy, patch):
    original = cupy.cuda.Stream.wait_event
    patch.setattr(
        cupy.cuda.Stream,
        "wait_event",
        lambda stream, event: stream.ptr and original(stream, event),
    )


def copy_does_not_wait(cupy, patch):
    original = cupy.cuda.Stream.wait_event
    patch.setattr(
        cupy.cuda.Stream,
        "wait_event",
        lambda stream, event: stream.ptr or original(stream, event),
    )


def pinned_memory_is_let_go_of(cupy, patch):
    patch.setattr(staging, "_keep", lambda hosts, copied: None)


@needs_lazy
@pytest.mark.parametrize(
    "fault", [waits_for_no_event, consumer_does_not_wait, copy_does_not_wait,
              pinned_memory_is_let_go_of],
)  # fmt: skip
def test_without_any_of_the_safeguards_some_timing_reads_other_numbers(fault, cupy, monkeypatch):
    wrong = 0
    for early_copies in (False, True):
        with monkeypatch.context() as patch:
            fault(cupy, patch)
            loader = gg.data.DataLoader((X, Y), 3, device="cuda")
            for number, (ys, xs) in enumerate(seen_by(cupy, loader, early_copies)):
                rows = slice(number * 3, number * 3 + 3)
                wrong += not (np.array_equal(xs, X[rows]) and np.array_equal(ys, Y[rows]))
        cupy.cuda.runtime.deviceSynchronize()
    assert wrong


@needs_gpu
def test_one_batch_ahead_and_no_more(cupy):
    asked = []

    class Data:
        batched = True

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


@needs_gpu
def test_a_loop_that_is_left_gives_memory_back_after_its_copy(cupy):
    batches = iter(gg.data.DataLoader((X, Y), 3, device="cuda"))
    next(batches)
    del batches
    gc.collect()
    # The same memory again, for work on the same stream: a copy that comes late would be seen.
    made = [cupy.full((3, 4), number, np.float32) for number in range(4)]
    wait_for_copies()
    assert [array.get().tolist() for array in made] == [[[n] * 4] * 3 for n in range(4)]


@needs_gpu
@EARLY_COPIES
def test_a_stream_that_changes_between_batches(early_copies, cupy):
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
    seen = []
    loader = iter(gg.data.DataLoader((X, Y), 2, device="cuda"))
    for number in range(10):
        with streams[number % 2]:
            xb, yb = next(loader)
            seen.append((xb + 0, yb.copy()))
            del xb, yb
        if early_copies:
            wait_for_copies()
    cupy.cuda.runtime.deviceSynchronize()
    for number, (xs, ys) in enumerate(seen):
        np.testing.assert_array_equal(xs.get(), X[2 * number : 2 * number + 2])
        np.testing.assert_array_equal(ys.get(), Y[2 * number : 2 * number + 2])


@needs_gpu
def test_an_error_of_the_data_comes_in_the_place_of_its_batch(cupy):
    class Data:
        batched = True

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


@needs_gpu
def test_what_is_given_counts_not_what_is_on_its_way():
    loader = gg.data.DataLoader((X, Y), 3, device="cuda")
    batches = iter(loader)
    next(batches)
    next(batches)
    state = loader.state_dict()
    assert state["given"] == 2
    again = gg.data.DataLoader((X, Y), 3, device="cuda")
    again.load_state_dict(state)
    assert len(list(again)) == len(loader) - 2


@needs_gpu
def test_tensors_stay_tensors_and_parts_keep_their_places(cupy):
    there = cupy.asarray(X)
    big_endian = X.astype(">f4")

    class Data:
        batched = True

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


@needs_gpu
def test_rows_of_no_elements():
    shapes = [batch.shape for batch in gg.data.DataLoader(np.zeros((5, 0)), 2, device="cuda")]
    assert shapes == [(2, 0), (2, 0), (1, 0)]
    assert list(gg.data.DataLoader(np.zeros((0, 3)), 2, True, device="cuda")) == []


@needs_gpu
def test_pinned_memory_is_let_go_of_when_its_copy_is_done(cupy):
    for _ in gg.data.DataLoader((X, Y), 2, device="cuda"):
        wait_for_copies()
        assert len(staging._in_flight) <= 2


@needs_lazy
def test_pinned_memory_is_kept_until_its_copy_is_done(cupy):
    for _ in gg.data.DataLoader((X, Y), 2, device="cuda"):
        pass
    assert len(staging._in_flight) > 2  # each look at an event lets the stand-in do something
    cupy.cuda.runtime.deviceSynchronize()
    for _ in gg.data.DataLoader((X, Y), 20, device="cuda"):
        pass
    assert len(staging._in_flight) == 1


@needs_lazy
def test_a_host_that_is_far_ahead_waits_for_the_oldest_copy(cupy, monkeypatch):
    monkeypatch.setattr(staging, "MOST", 3)
    x = np.arange(100)
    seen, most = [], 0

    def step():
        nonlocal most
        for batch in gg.data.DataLoader(x, 1, device="cuda"):
            seen.append(batch.copy())
            most = max(most, len(staging._in_flight))
            del batch

    with gg.sync_guard():
        waited = waits(step)
    assert most == 3
    assert waited.keys() == {"cudaEventSynchronize"}
    assert np.concatenate([array.get() for array in seen]).tolist() == x.tolist()


@needs_gpu
def test_a_copy_that_fails_leaves_no_memory_to_others(cupy, monkeypatch):
    def fail(host, stream):
        raise RuntimeError("cudaErrorUnknown")

    empty, made = cupy.empty, []

    def second_fails(shape, dtype):
        made.append(empty(shape, dtype) if not made else SimpleNamespace(set=fail))
        return made[-1]

    with monkeypatch.context() as patch:
        patch.setattr(cupy, "empty", second_fails)
        with pytest.raises(RuntimeError, match="Unknown"):
            next(iter(gg.data.DataLoader((X, Y), 3, device="cuda")))
    made.clear()
    gc.collect()
    again = cupy.full((3, 4), 5, np.float32)
    wait_for_copies()
    assert again.get().tolist() == np.full((3, 4), 5).tolist()


@needs_gpu
def test_a_batch_that_does_not_fit(cupy, monkeypatch):
    def fail(shape, dtype):
        raise MemoryError("no room")

    monkeypatch.setattr(cupy, "empty", fail)
    with pytest.raises(gg.OutOfMemoryError, match=r"^a batch for cuda:0: no room. Try a smaller"):
        next(iter(gg.data.DataLoader(X, 3, device="cuda")))


@needs_gpu
def test_without_pinned_memory_the_batches_are_the_same(cupy, caplog, monkeypatch):
    def fail(shape, dtype):
        raise RuntimeError("cudaErrorMemoryAllocation: out of memory")

    monkeypatch.setattr("cupyx.empty_pinned", fail)
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


@needs_gpu
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_loader_on_a_gpu_behind_a_queue_that_is_full(shuffle):
    import cupy

    x = np.arange(1 << (16 if STAND_IN else 20), dtype=np.float32).reshape(-1, 256)
    y = np.arange(len(x))
    size = 32 if STAND_IN else 2048  # the stand-in has no queue that fills
    busy = cupy.ones((size, size), cupy.float32)
    found = []
    for xb, yb in gg.data.DataLoader((x, y), 128, shuffle, device="cuda"):
        for _ in range(5):
            busy = busy @ busy * 1e-4
        found.append((xb.sum(axis=1), yb.copy()))
        del xb, yb
    for sums, numbers in found:
        expected = x[numbers.get()].astype(np.float64).sum(axis=1)
        np.testing.assert_allclose(sums.get(), expected, rtol=1e-5)
