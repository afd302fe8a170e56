"""Which of how many processes this one is, by the variables that launchers set. Imports errors.

torchrun (and ``gpugrad launch``, Kubernetes' PyTorchJob), Open MPI, MPICH and Slurm are known; a
process that none of them has started is alone.
"""

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from gpugrad.errors import ParallelError

__all__ = ["MEETING", "Place", "first_host", "meeting", "place"]

# Set by `gpugrad launch`: host, port and key of the server where the processes meet.
MEETING = "GPUGRAD_MEETING"

# A launcher's variables: rank, size, rank on this machine. Slurm's number of tasks is that of the
# step: in a batch script outside of srun there is none, and one process. mpiexec inside of a Slurm
# job sets its own as well.
_LAUNCHERS = (
    ("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK"),
    ("Open MPI", *(f"OMPI_COMM_WORLD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK"))),
    ("MPICH", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
    ("Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
)  # fmt: skip


class Place(NamedTuple):
    """The rank of a process, the number of processes, and where rank 0 is to be met."""

    launcher: str = "one process"
    rank: int = 0
    size: int = 1
    local_rank: int = 0
    address: tuple[str, int] | None = None


def place(variables: Mapping[str, str] | None = None) -> Place:
    """This process's place, read from the environment or from other variables.

    ParallelError where a launcher's variables are no numbers, or one of them is missing.

    >>> place({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "3"})
    Place(launcher='torchrun', rank=3, size=8, local_rank=3, address=None)
    """
    variables = os.environ if variables is None else variables
    for launcher, *names in _LAUNCHERS:
        if names[0] not in variables or names[1] not in variables:
            continue
        rank, size, local = (
            _number(launcher, name, variables.get(name, "0" if name is names[2] else None))
            for name in names
        )
        if not 0 <= rank < size:
            raise ParallelError(
                f"init: {launcher}'s variables say rank {rank} of {size} processes ({names[0]} and "
                f"{names[1]}); ranks go from 0 to {size - 1}"
            )
        return Place(launcher, rank, size, local, _address(launcher, variables))
    return Place()


def _number(launcher: str, name: str, text: str | None) -> int:
    if text is None or not text.strip().isdigit():
        raise ParallelError(
            f"init: {launcher}'s variable {name} is {text!r}; expected a whole number"
        )
    return int(text)


def _address(launcher: str, variables: Mapping[str, str]) -> tuple[str, int] | None:
    """Where rank 0 listens; None where that is for MPI to say."""
    host, port = variables.get("MASTER_ADDR"), variables.get("MASTER_PORT")
    if host and port:
        # torchrun's own agent listens at MASTER_PORT where it says so.
        shift = variables.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        return host, _number(launcher, "MASTER_PORT", port) + shift
    if launcher == "Slurm" and "SLURM_STEP_NODELIST" in variables:
        job = _number(launcher, "SLURM_JOB_ID", variables.get("SLURM_JOB_ID"))
        return first_host(variables["SLURM_STEP_NODELIST"]), 20000 + job % 20000
    return None


def meeting(variables: Mapping[str, str] | None = None) -> tuple[list[str], int, str] | None:
    """Hosts, port and key of the server that `gpugrad launch` has, where it has started this."""
    text = (os.environ if variables is None else variables).get(MEETING)
    if not text:
        return None
    host, port, key = text.split(" ")
    return [host], int(port), key


def first_host(nodes: str) -> str:
    """The first host of a list as Slurm writes it.

    >>> first_host("gpu[007-009,12],login1")
    'gpu007'
    """
    found = re.match(r"([^,\[]+)(?:\[([^\],-]+)[^\]]*\]([^,]*))?", nodes)
    if found is None:
        raise ParallelError(f"init: cannot read Slurm's list of nodes {nodes!r}")
    return "".join(part or "" for part in found.groups())
