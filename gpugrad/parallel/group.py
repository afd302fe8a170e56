"""The processes that compute together: `init`, and which of them this one is.

Imports errors, backend, launchers, engine and watch; mpi where there are several processes.
"""

from typing import Any

from gpugrad.backend import cuda
from gpugrad.backend.device import Device, set_default_device
from gpugrad.errors import ArgumentError, ParallelError
from gpugrad.parallel import launchers
from gpugrad.parallel.engine import Engine
from gpugrad.parallel.watch import Watch

__all__ = ["Group", "barrier", "group", "init", "joined", "local_rank", "rank", "size"]


class Group:
    """The processes of a program, and the engines that move arrays between them."""

    def __init__(self, place: launchers.Place, timeout: float = 600.0) -> None:
        self.rank, self.size, self.local_rank = place.rank, place.size, place.local_rank
        self.watch = Watch(place.rank, place.size, timeout)
        self._host = Engine()
        if place.size > 1:
            self._host = _mpi_engine(place, self.watch)

    def engine(self, array: Any = None) -> Engine:
        """The engine for an array, by where it lives; of the host for None."""
        return self._host


def _mpi_engine(place: launchers.Place, watch: Watch) -> Engine:
    started = f"{place.launcher} has started this as rank {place.rank} of {place.size} processes"
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise ParallelError(
            f"init: {started}, and they meet through mpi4py, which cannot be imported ({error}). "
            "Run `pip install gpugrad[mpi]`, or on a cluster with its own MPI `pip install mpi4py`"
        ) from error
    if MPI.COMM_WORLD.size != place.size:
        raise ParallelError(
            f"init: {started}, but mpi4py's MPI ({MPI.Get_library_version().splitlines()[0]}) "
            f"sees {MPI.COMM_WORLD.size}. Start with the mpiexec of the MPI that mpi4py uses"
        )
    from gpugrad.parallel.mpi import MPIEngine

    return MPIEngine(MPI.COMM_WORLD, watch)


_group: Group | None = None
_alone = Group(launchers.Place())


def init(device: "str | Device" = "auto", *, timeout: float = 600.0) -> Device:
    """Join the processes that were started together, and take this one's device.

    Whatever started them says how many there are: ``mpiexec``, ``gpugrad launch``, torchrun, srun
    of Slurm, Kubernetes' operators for MPI and PyTorch. A process that was started alone is alone.
    All processes call it, before any other function of ``gg.parallel``; later calls do nothing.

    ``device`` becomes the default device, and is returned: "cuda" is the GPU of this process's
    `local_rank`, "auto" is that where CUDA works, else the CPU. ``timeout`` says how many seconds
    a process waits for another one before the program ends with an error.

    ParallelError where the processes do not meet, DeviceError where the device does not work.

    >>> import gpugrad as gg
    >>> gg.parallel.init("cpu")
    Device('cpu')
    """
    global _group
    if timeout <= 0:
        raise ArgumentError(f"init: expected a timeout in seconds above 0, got {timeout!r}")
    place = launchers.place()
    chosen = _own_device(device, place.local_rank)
    set_default_device(chosen)
    if _group is None:
        _group = Group(place, timeout)
    return chosen


def _own_device(device: "str | Device", local_rank: int) -> Device:
    """The device of a process: of those of a kind, the one with the number of its local rank."""
    if device == "auto":
        device = "cuda" if cuda.is_available() else "cpu"
    if device == "cuda":
        return Device(f"cuda:{local_rank % max(cuda.device_count(), 1)}")
    return Device(device)


def joined() -> Group:
    """The group that `init` has joined; this process alone where it was not called."""
    return _group or _alone


def group() -> Group:
    """The group that `init` has joined; ParallelError where it should have been called."""
    if _group is None and (place := launchers.place()).size > 1:
        raise ParallelError(
            f"{place.launcher} has started this as rank {place.rank} of {place.size} processes, "
            "which have not met yet: call gg.parallel.init() first"
        )
    return joined()


def rank() -> int:
    """Which of the processes this is, from 0."""
    return group().rank


def size() -> int:
    """The number of processes."""
    return group().size


def local_rank() -> int:
    """Which of the processes on this machine this is, from 0."""
    return group().local_rank


def barrier() -> None:
    """Return when all processes have come here."""
    group().engine().barrier()
