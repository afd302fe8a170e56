"""Arrays of the host on their way to a GPU, beside its computation. Imports device.

A copy from pinned memory runs on a stream of its own while the GPU computes. Three things could go
wrong, at times of the GPU's choosing: memory of the host written anew while it is still being read,
an array read before it has arrived, an array's memory handed out again while it is still in use.
So pinned memory is kept until an event says that its copy is done, the stream (not the host) of
whoever takes an array waits for its copy, and arrays are allocated on that same stream, for CuPy's
pool hands memory out again by the order of the stream that it was allocated on.
"""

import logging
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.device import Device, asked_for
from gpugrad.backend.memory import says_who

__all__ = ["Source", "ahead"]

log = logging.getLogger("gpugrad")

# How many batches may lie in pinned memory while the GPU has not come to their copies.
MOST = 16

_lock = threading.Lock()


class Source(NamedTuple):
    """An array that is still to be written: its shape and dtype, and what writes it."""

    shape: tuple[int, ...]
    dtype: Any
    fill: Callable[..., Any]  # called with out=, an array of pinned memory


Batch = tuple[Sequence[Source], Callable[[list[Any]], Any]]


def ahead(device: Device, batches: Iterator[Batch]) -> Generator[Any, None, None]:
    """Each batch on a GPU, its copy begun when the batch before was handed out.

    A batch is its sources and a function that makes it of their arrays. The host waits only where
    it has come so far ahead of the GPU that `MOST` batches lie in pinned memory. An error of
    ``batches`` is raised where its batch would have come.
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
            del batch  # not held while the next is made
            if error is not None:
                raise error
    finally:
        del error  # its traceback refers to this frame
        if coming is not None:
            coming.dropped()


def _begun(device: Device, batches: Iterator[Batch]) -> "_Sent | None":
    """The next batch, its copy begun; None where there is none."""
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
            hosts = [_pinned(self._cupy, source) for source in sources]
            self._home = cuda.get_current_stream()
            with says_who(f"a batch for {device}"):
                self._arrays = [self._cupy.empty(host.shape, host.dtype) for host in hosts]
            copies = _stream_of_copies(device)
            # The memory may be that of an array which work in the queue of this stream still uses.
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
        """The batch, for the current stream, which waits for its copy."""
        cuda = self._cupy.cuda
        with self._device.activate():
            here = cuda.get_current_stream()
            here.wait_event(self._copied)
            if here != self._home:
                # The pool hands their memory out again by the order of another stream.
                self._arrays = [array.copy() for array in self._arrays]
                self._home.wait_event(_recorded(cuda, here))
            return self._finish(self._arrays)

    def dropped(self) -> None:
        """Let the memory of the arrays be handed out again after their copy, not before."""
        with self._device.activate():
            self._home.wait_event(self._copied)


def _recorded(cuda: Any, stream: Any) -> Any:
    """An event: all that a stream was given until now."""
    event = cuda.Event(disable_timing=True)
    event.record(stream)
    return event


def _pinned(cupy: Any, source: Source) -> np.ndarray:
    """The array of a source in pinned memory, or where there is none left in other memory."""
    try:
        host = import_module("cupyx").empty_pinned(source.shape, source.dtype)
    except RuntimeError as error:
        if "cudaErrorMemoryAllocation" not in str(error):
            raise
        log.warning("no pinned memory for a batch, its copy is slower: %s", error)
        host = np.empty(source.shape, source.dtype)
    source.fill(out=host)
    return host


# ---------------------------------------------------------------- of the whole process

_streams: dict[Device, Any] = {}
_in_flight: list[tuple[Any, list[np.ndarray]]] = []


def _stream_of_copies(device: Device) -> Any:
    """The one stream of copies to a device, which is CuPy's current one."""
    with _lock:
        if device not in _streams:
            # Blocking streams wait for the null stream, on which CuPy computes by default.
            _streams[device] = device.xp.cuda.Stream(non_blocking=True)
        return _streams[device]


def _keep(hosts: list[np.ndarray], copied: Any) -> None:
    """Keep memory of the host until its copy is done."""
    with _lock:
        _in_flight.append((copied, hosts))


def _make_room() -> None:
    """Let go of memory whose copy is done; where there is much that waits, wait for the oldest."""
    with _lock:
        _in_flight[:] = [(event, held) for event, held in _in_flight if not event.done]
        oldest = _in_flight[0][0] if len(_in_flight) >= MOST else None
    if oldest is not None:
        with asked_for():  # which `gg.sync_guard` lets through
            oldest.synchronize()
        _make_room()
