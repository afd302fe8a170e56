"""NCCL between GPUs of several processes, through CuPy. Imports device and precision.

Calls run on a stream of their own, beside the computation: each waits for what the current stream
had queued before it, and whoever uses its result has the current stream wait for the event that the
call returns. The host does not wait.
"""

import threading
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from gpugrad.backend.device import Device, device_of
from gpugrad.backend.precision import is_half, kind_of
from gpugrad.errors import DTypeError

__all__ = ["Communicator", "gpu_of", "new_identity", "why_unavailable"]

# NCCL's numbers for the types in which it reduces; complex numbers are two real ones. CuPy's names
# lack bfloat16.
_TYPES = {"b": 0, "B": 1, "i": 2, "I": 3, "l": 4, "q": 4, "L": 5, "Q": 5, "e": 6, "f": 7, "d": 8}
_BYTE, _BFLOAT16 = 1, 9
_OLDEST = 21000  # the first with the reduction "mean"
_OPS = {"sum": 0, "max": 2, "min": 3, "mean": 4}


def why_unavailable() -> str | None:
    """Why NCCL cannot be used here, and what to do; None where it can."""
    with warnings.catch_warnings():  # CuPy's own, of a library that is missing
        warnings.simplefilter("ignore")
        nccl = import_module("cupy.cuda.nccl")
    if not nccl.available:
        return (
            "the library NCCL is missing: run `pip install nvidia-nccl-cu12` (nvidia-nccl-cu13 "
            "for CUDA 13)"
        )
    if nccl.get_version() < _OLDEST:
        return (
            "NCCL is older than 2.10, the first that computes means: run `pip install --upgrade "
            "nvidia-nccl-cu12` (nvidia-nccl-cu13 for CUDA 13)"
        )
    return None


def new_identity() -> list[int]:
    """What all processes of a new communicator must be given: bytes, made by one of them."""
    return list(import_module("cupy.cuda.nccl").get_unique_id())


def gpu_of(device: Device) -> str:
    """What tells a GPU from the others of its machine, whatever their numbers are here."""
    return str(import_module("cupy.cuda").Device(device.index).pci_bus_id)


class Communicator:
    """One process's end: the process of ``rank`` among ``size`` ones, with a GPU of its own."""

    def __init__(self, identity: list[int], size: int, rank: int, device: Device) -> None:
        self.device, self.rank = device, rank
        cuda = import_module("cupy.cuda")
        self._cuda = cuda
        with device.activate():
            self._nccl = import_module("cupy.cuda.nccl").NcclCommunicator(
                size, bytes(identity), rank
            )
            self._stream = cuda.Stream(non_blocking=True)

    # Each queues a call in place on a contiguous array, and returns its event.

    def all_reduce(self, array: Any, op: str) -> Any:
        """Reduce over all processes."""
        kind, count = _typed(array, op)
        pointer = array.data.ptr
        return self._queued(
            lambda stream: self._nccl.allReduce(pointer, pointer, count, kind, _OPS[op], stream)
        )

    def reduce(self, array: Any, root: int, op: str) -> Any:
        """Reduce at one process; the arrays of the others stay."""
        kind, count = _typed(array, op)
        pointer = array.data.ptr
        return self._queued(
            lambda stream: self._nccl.reduce(pointer, pointer, count, kind, _OPS[op], root, stream)
        )

    def reduce_each(self, arrays: Sequence[Any], roots: Sequence[int | None], op: str) -> Any:
        """Reduce each of some arrays at one process, or at all for None, as one call of NCCL's."""

        def call(stream: int) -> None:
            for array, root in zip(arrays, roots):
                kind, count = _typed(array, op)
                pointer = array.data.ptr
                if not count:
                    continue
                if root is None:
                    self._nccl.allReduce(pointer, pointer, count, kind, _OPS[op], stream)
                else:
                    self._nccl.reduce(pointer, pointer, count, kind, _OPS[op], root, stream)

        return self._queued(call, joined=True)

    def broadcast_each(self, arrays: Sequence[Any], roots: Sequence[int]) -> Any:
        """Replace each of some arrays by that of one process, as one call of NCCL's."""

        def call(stream: int) -> None:
            for array, root in zip(arrays, roots):
                if array.size:
                    self._nccl.bcast(array.data.ptr, array.nbytes, _BYTE, root, stream)

        return self._queued(call, joined=True)

    def reduce_scatter(self, array: Any, own: Any, op: str) -> Any:
        """Reduce, into this process's part of the array."""
        kind, count = _typed(own, op)
        whole, part = array.data.ptr, own.data.ptr
        return self._queued(
            lambda stream: self._nccl.reduceScatter(whole, part, count, kind, _OPS[op], stream)
        )

    def all_gather(self, array: Any, own: Any) -> Any:
        """Fill in the parts of the other processes."""
        whole, part = array.data.ptr, own.data.ptr
        return self._queued(
            lambda stream: self._nccl.allGather(part, whole, own.nbytes, _BYTE, stream)
        )

    def broadcast(self, array: Any, root: int) -> Any:
        """Replace the array by that of one process."""
        pointer = array.data.ptr
        return self._queued(
            lambda stream: self._nccl.bcast(pointer, array.nbytes, _BYTE, root, stream)
        )

    def send(self, array: Any, to: int) -> Any:
        """Send the array to one process."""
        return self._queued(
            lambda stream: self._nccl.send(array.data.ptr, array.nbytes, _BYTE, to, stream)
        )

    def recv(self, array: Any, source: int) -> Any:
        """Replace the array by what one process sends."""
        return self._queued(
            lambda stream: self._nccl.recv(array.data.ptr, array.nbytes, _BYTE, source, stream)
        )

    def _queued(self, call: Any, joined: bool = False) -> Any:
        """``joined`` makes one of several calls, which run at the same time."""
        with self.device.activate():
            current = self._cuda.get_current_stream()
            self._stream.wait_event(current.record(self._cuda.Event(disable_timing=True)))
            if joined:
                nccl = import_module("cupy.cuda.nccl")
                nccl.groupStart()
                try:
                    call(self._stream.ptr)
                finally:
                    nccl.groupEnd()
            else:
                call(self._stream.ptr)
            return self._stream.record(self._cuda.Event(disable_timing=True))

    def after(self, event: Any) -> None:
        """Have the current stream wait for a call."""
        with self.device.activate():
            self._cuda.get_current_stream().wait_event(event)

    def check(self) -> None:
        """Raise CuPy's error where NCCL has noticed one since."""
        self._nccl.check_async_error()

    def is_done(self, event: Any) -> bool:
        """Whether a call has ended, with an error too, which the main thread meets by itself."""
        try:
            with self.device.activate():
                return bool(event.done)
        except RuntimeError:
            return True

    def abort(self) -> None:
        """Stop the calls that wait for processes which do not come; from any thread, in another."""
        threading.Thread(target=self._nccl.abort, name="gpugrad-nccl-abort", daemon=True).start()


def _typed(array: Any, op: str) -> tuple[int, int]:
    """NCCL's number of a dtype, and the number of elements."""
    dtype = np.dtype(array.dtype)
    if is_half(dtype) and dtype.char != "e":
        return _BFLOAT16, array.size
    if kind_of(dtype) == "c":
        return _TYPES["f" if dtype.char == "F" else "d"], 2 * array.size
    if dtype.kind == "b" and op in ("max", "min"):
        return _BYTE, array.size
    if dtype.char not in _TYPES:
        raise DTypeError(f"all_reduce: NCCL does not compute with {device_of(array)}'s {dtype}")
    return _TYPES[dtype.char], array.size
