"""Copies between host and GPU, overlapped with the GPU's computation. Imports device.

A copy from pinned memory runs on a stream of its own while the GPU computes. Three races must not
happen: host memory overwritten before it was read, an array read before its copy is done, memory of
an array reused before its last use. So pinned memory is held until an event reports that its copy
is done; the stream that uses an array (not the host) waits for its copy; and arrays are allocated
on that stream, since CuPy's pool reuses memory in the order of the stream of its allocation.
"""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.device import Device, asked_for, device_of
from gpugrad.backend.memory import says_who

__all__ = ["Fetched", "Source", "ahead", "pinned_copies"]

# The most batches in pinned memory whose copies the GPU has not done.
MOST = 16

_lock = threading.Lock()


class Source(NamedTuple):
    """An array yet to be written: its shape, its dtype, and the function that writes it."""

    shape: tuple[int, ...]
    dtype: Any
    fill: Callable[..., Any]  # called with out=, an array of pinned memory


Batch = tuple[Sequence[Source], Callable[[list[Any]], Any]]


def ahead(device: Device, batches: Iterator[Batch]) -> Generator[Any, None, None]:
    """Yield each batch on a GPU; the copy of the next one has begun by then.

    A batch is its sources, and a function that builds it from their arrays. The host waits only
    when `MOST` batches are in pinned memory. An error of ``batches`` is raised in the place of its
    batch.
    """
    coming: _Sent | None = None
    error: Exception | None = None
    try:
        coming = _begun(device, batches)
        while coming is not None:
            batch, coming = coming.taken(), None
            try:
                coming = _begun(device, batches)
            except Exception as caught:  # noqa: BLE001  raised below, after the batch that is ready
                error = caught
            yield batch
            del batch  # not held during the next one
            if error is not None:
                raise error
    finally:
        del error  # its traceback refers to this frame
        if coming is not None:
            coming.dropped()


def _begun(device: Device, batches: Iterator[Batch]) -> "_Sent | None":
    """The next batch with its copy begun; None at the end."""
    batch = next(batches, None)
    return None if batch is None else _Sent(device, *batch)


class _Sent:
    """A batch whose copy to a GPU has begun."""

    def __init__(
        self, device: Device, sources: Sequence[Source], finish: Callable[[list[Any]], Any]
    ) -> None:
        self._device, self._cupy, self._finish = device, device.xp, finish
        cuda = self._cupy.cuda
        _make_room()
        with device.activate():
            hosts = [_pinned(source) for source in sources]
            self._home = cuda.get_current_stream()
            with says_who(f"a batch for {device}"):
                self._arrays = [self._cupy.empty(host.shape, host.dtype) for host in hosts]
            copies = _stream_of_copies(device)
            # Work queued on this stream may still use the memory for another array.
            copies.wait_event(_recorded(cuda, self._home))
            try:
                with asked_for():
                    for array, host in zip(self._arrays, hosts):
                        if host.size:
                            array.set(host, stream=copies)
            except BaseException:
                self._home.wait_event(_recorded(cuda, copies))
                raise
            finally:
                self._copied = _recorded(cuda, copies)
                _keep(hosts, self._copied)

    def taken(self) -> Any:
        """The batch; the current stream waits for its copy."""
        cuda = self._cupy.cuda
        with self._device.activate():
            here = cuda.get_current_stream()
            here.wait_event(self._copied)
            if here != self._home:
                # The pool reuses their memory in the order of another stream.
                self._arrays = [array.copy() for array in self._arrays]
                self._home.wait_event(_recorded(cuda, here))
            return self._finish(self._arrays)

    def dropped(self) -> None:
        """Discard the batch; the memory of its arrays is reused only after their copy."""
        with self._device.activate():
            self._home.wait_event(self._copied)


def pinned_copies(sources: Sequence[Source], finish: Callable[[list[Any]], Any]) -> Any:
    """A batch in pinned memory, on the host."""
    return finish([_pinned(source) for source in sources])


def _recorded(cuda: Any, stream: Any) -> Any:
    """An event after all work queued on a stream so far."""
    event = cuda.Event(disable_timing=True)
    event.record(stream)
    return event


def _pinned(source: Source) -> np.ndarray:
    """The array of a source in pinned memory; in pageable memory if there is none left."""
    try:
        host = import_module("cupyx").empty_pinned(source.shape, source.dtype)
    except RuntimeError as error:
        if "cudaErrorMemoryAllocation" not in str(error):
            raise
        import logging  # a good part of the time of an import

        log = logging.getLogger("gpugrad")
        log.warning("no pinned memory for a batch, its copy is slower: %s", error)
        host = np.empty(source.shape, source.dtype)
    source.fill(out=host)
    return host


class Fetched:
    """A number of a device, whose copy to the host has begun without a wait.

    ``value`` waits if the copy is not there yet; `gg.sync_guard` allows that, as the device has
    more work by then.
    """

    def __init__(self, array: Any) -> None:
        self._event: Any = None
        device = device_of(array)
        if device.kind != "cuda":  # done at once
            self._host = np.array(getattr(array, "_data", array))
            return
        cuda = device.xp.cuda
        with device.activate():
            self._host = _pinned(Source((), array.dtype, lambda out: None))
            stream = cuda.get_current_stream()
            cuda.runtime.memcpyAsync(
                self._host.ctypes.data, array.data.ptr, array.nbytes,
                cuda.runtime.memcpyDeviceToHost, stream.ptr,
            )  # fmt: skip
            self._event = _recorded(cuda, stream)
            self._array = array  # until the copy is done

    def value(self) -> float:
        """The number."""
        if self._event is not None:
            if not self._event.done:
                with asked_for():
                    self._event.synchronize()
            self._event = self._array = None
        return float(self._host)


# ---------------------------------------------------------------- state of the process

_streams: dict[Device, Any] = {}
_in_flight: list[tuple[Any, list[np.ndarray]]] = []


def _stream_of_copies(device: Device) -> Any:
    """The stream of copies to a device, which is CuPy's current one."""
    with _lock:
        if device not in _streams:
            # Blocking streams wait for the null stream, on which CuPy computes by default.
            _streams[device] = device.xp.cuda.Stream(non_blocking=True)
        return _streams[device]


def _keep(hosts: list[np.ndarray], copied: Any) -> None:
    """Hold host memory until its copy is done."""
    with _lock:
        _in_flight.append((copied, hosts))


def _make_room() -> None:
    """Release memory whose copy is done; with `MOST` batches in flight, wait for the oldest."""
    with _lock:
        _in_flight[:] = [(event, held) for event, held in _in_flight if not event.done]
        oldest = _in_flight[0][0] if len(_in_flight) >= MOST else None
    if oldest is not None:
        with asked_for():  # `gg.sync_guard` allows it
            oldest.synchronize()
        _make_room()
