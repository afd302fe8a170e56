"""The processes that compute together: `init`, and which of them this one is.

Imports errors, backend, launchers, engine, watch and cores; mpi where there are several processes.
"""

import os
import secrets
import socket
import sys
import warnings
from typing import Any

import numpy as np

from gpugrad.backend import cuda, nccl, processes
from gpugrad.backend.device import Device, device_of, set_default_device
from gpugrad.backend.requirements import pip_install
from gpugrad.errors import ArgumentError, ParallelError
from gpugrad.parallel import launchers
from gpugrad.parallel.cores import share_cores
from gpugrad.parallel.engine import Engine
from gpugrad.parallel.meeting import Meeting, Server
from gpugrad.parallel.watch import Watch

__all__ = ["Group", "barrier", "group", "init", "joined", "local_rank", "rank", "size"]


class Group:
    """The processes of a program, and the engines that move arrays between them."""

    def __init__(
        self, place: launchers.Place, timeout: float = 600.0, device: Device | None = None
    ) -> None:
        self.rank, self.size, self.local_rank = place.rank, place.size, place.local_rank
        self.watch = Watch(place.rank, place.size, timeout)
        self._host = self._device = self._other = Engine()
        if place.size > 1:
            mpi = _mpi(place)
            _meet(place, self.watch, mpi)
            share_cores(self.watch)
            self._choose(place, device, mpi)
            self.watch.calls = 0

    def engine(self, array: Any = None) -> Engine:
        """The engine for an array, by where it lives; of the host for None."""
        if array is None or isinstance(array, np.ndarray):
            return self._host
        return self._device if device_of(array).kind == "cuda" else self._other

    def _choose(self, place: launchers.Place, device: Device | None, mpi: Any) -> None:
        """The engines for arrays of the host, of GPUs, and of `sim`."""
        from gpugrad.parallel.nccl import through_device, through_host

        nccl = _nccl_engine(self.watch, device)
        if mpi is not None:
            from gpugrad.parallel.mpi import MPIEngine, cuda_aware

            self._host = MPIEngine(mpi, self.watch)
            if isinstance(nccl, Engine):
                self._device = nccl
            elif cuda_aware():
                self._device = self._host
            else:
                self._device = through_host(self._host)
                if device is not None and device.kind == "cuda" and place.rank == 0:
                    warnings.warn(
                        "gg.parallel: arrays of GPUs go through the host's memory, slowly: "
                        f"{nccl}, and this MPI does not say that it is CUDA-aware",
                        stacklevel=4,
                    )
        elif isinstance(nccl, Engine) and device is not None:
            self._device, self._host = nccl, through_device(nccl, device)
        else:
            raise ParallelError(
                f"init: {_started(place)}, without MPI, and NCCL cannot be used: {nccl}. On CPUs "
                f"start the program with `mpiexec -n {place.size} python ...`, after "
                f"`{pip_install('mpi')}`"
            )
        self._other = through_host(self._host)


def _started(place: launchers.Place) -> str:
    return f"{place.launcher} has started this as rank {place.rank} of {place.size} processes"


def _mpi(place: launchers.Place) -> Any:
    """MPI's communicator of all processes; None where something else than MPI has started them."""
    if place.launcher == "torchrun":
        return None
    if place.launcher == "Open MPI":  # mpi4py's wheels are for several, and take the first one
        os.environ.setdefault("MPI4PY_MPIABI", "openmpi")
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        if place.address is not None:
            return None
        raise ParallelError(
            f"init: {_started(place)}, and they meet through mpi4py, which cannot be imported "
            f"({error}). Run `{pip_install('mpi')}`, or on a cluster with its own MPI `pip "
            "install mpi4py`"
        ) from error
    if MPI.COMM_WORLD.size == place.size:
        return MPI.COMM_WORLD
    if place.address is not None:
        return None
    raise ParallelError(
        f"init: {_started(place)}, but mpi4py's MPI ({MPI.Get_library_version().splitlines()[0]}) "
        f"sees {MPI.COMM_WORLD.size}. Start with the mpiexec of the MPI that mpi4py uses"
    )


def _meet(place: launchers.Place, watch: Watch, mpi: Any) -> None:
    """Connect all processes to the server that rank 0 starts, or to that of `gpugrad launch`."""
    own: Server | Meeting | None = None
    if given := launchers.meeting():
        watch.join(*given, server="gpugrad launch")
        return
    if mpi is not None:
        if place.rank == 0:
            own = _server(place.size, secrets.token_hex(8))
        hosts, port, key = mpi.bcast(own and (_own_hosts(), own.port, own.key))
        watch.join(hosts, port, key, own)
        return
    if place.address is None:
        raise ParallelError(
            f"init: {_started(place)}, and the variables MASTER_ADDR and MASTER_PORT, which say "
            "where rank 0 is to be met, are not set"
        )
    host, port = place.address
    key = f"{place.launcher} {place.size}"
    if place.rank == 0:
        own = _server(place.size, key, port)
    watch.join([host], port, key, own)


def _server(size: int, key: str, port: int = 0) -> Server | Meeting:
    """The server of rank 0; in a thread where Python is none that could be started once more."""
    start = Meeting if getattr(sys, "frozen", False) else Server
    try:
        return start(size, key, port)
    except OSError as error:
        raise ParallelError(
            f"init: rank 0 cannot start the server where the processes are to meet: {error}"
            + (f". Set MASTER_PORT to another port than {port}" if port else "")
        ) from error


def _own_hosts() -> list[str]:
    """The names under which other processes may find this machine, the last one on itself only."""
    name = socket.gethostname()
    try:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(name, None)]
    except OSError:
        found = []
    return [*dict.fromkeys([name, *found, "127.0.0.1"])]


def _nccl_engine(watch: Watch, device: Device | None) -> "Engine | str":
    """The engine of NCCL, where all processes have it and a GPU of their own; else why not."""
    if device is None or device.kind != "cuda":
        own = [f"rank {watch.rank} computes on {device}", "", ""]
    else:
        own = [nccl.why_unavailable() or "", socket.gethostname(), nccl.gpu_of(device)]
    answers = watch.exchange(own)
    for reason, *_ in answers:
        if reason:
            return str(reason)
    gpus = [tuple(gpu) for _, *gpu in answers]
    for rank, gpu in enumerate(gpus):
        if gpus.index(gpu) < rank:
            return (
                f"ranks {gpus.index(gpu)} and {rank} share a GPU of {gpu[0]}; NCCL wants one for "
                "each process"
            )
    from gpugrad.parallel.nccl import NCCLEngine

    assert device is not None
    identity = watch.exchange(nccl.new_identity() if watch.rank == 0 else None)[0]
    with watch.at("the start of NCCL"):
        communicator = nccl.Communicator(identity, watch.size, watch.rank, device)
    return NCCLEngine(communicator, watch)


_alone = Group(launchers.Place())


def init(device: "str | Device" = "auto", *, timeout: float = 600.0) -> Device:
    """Join the processes that were started together, and take this one's device.

    Whatever started them says how many there are: ``mpiexec``, ``gpugrad launch``, torchrun, srun
    of Slurm, Kubernetes' operators for MPI and PyTorch. A process that was started alone is alone.
    All processes call it, before any other function of ``gg.parallel``; later calls choose the
    device alone.

    ``device`` becomes the default device, and is returned: "cuda" is the GPU of this process's
    `local_rank`, "auto" is that where CUDA works, else the CPU. ``timeout`` says how many seconds
    a process waits for another one before the program ends with an error.

    ParallelError where the processes do not meet, DeviceError where the device does not work.

    >>> import gpugrad as gg
    >>> gg.parallel.init("cpu")
    Device('cpu')
    """
    if timeout <= 0:
        raise ArgumentError(f"init: expected a timeout in seconds above 0, got {timeout!r}")
    place = launchers.place()
    chosen = _own_device(device, place.local_rank)
    set_default_device(chosen)
    if processes.joined is None:
        processes.joined = Group(place, timeout, chosen)
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
    return processes.joined or _alone


def group() -> Group:
    """The group that `init` has joined; ParallelError where it should have been called."""
    if processes.joined is None and (place := launchers.place()).size > 1:
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
