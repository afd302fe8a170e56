"""Programs that run in several processes, joined by a real MPI on this machine's CPU."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

from gpugrad.cli.launch import _mpiexec

__all__ = ["NO_MPI", "has_mpi", "mpiexec", "mpiexec_command", "needs_mpi", "started_alone"]

NO_MPI = "needs MPI: pip install gpugrad[mpi]"


def has_mpi():
    """Whether there are mpi4py and an mpiexec."""
    beside = str(Path(sys.executable).parent)
    path = os.pathsep.join([beside, os.environ.get("PATH", "")])
    found = shutil.which("mpiexec", path=path)
    return found is not None and importlib.util.find_spec("mpi4py") is not None


needs_mpi = pytest.mark.skipif(not has_mpi(), reason=NO_MPI)

# pytest's own process may have been started by a launcher.
_LAUNCHERS = (
    "PMI_",
    "MPI_",
    "OMPI_",
    "SLURM_",
    "RANK",
    "WORLD_SIZE",
    "LOCAL_",
    "MASTER_",
    "GPUGRAD_",
)


def started_alone(**variables):
    """The environment of a process that no launcher has started, with the repository's files."""
    kept = {
        name: value for name, value in os.environ.items()
        if not name.startswith(_LAUNCHERS) or name.startswith("GPUGRAD_TEST")
    }  # fmt: skip
    path = os.pathsep.join(
        [str(ROOT), str(ROOT / "tests/helpers"), os.environ.get("PYTHONPATH", "")]
    )
    return {**kept, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **variables}


def mpiexec_command(count):
    """The command that starts Python in so many processes."""
    return [*_mpiexec(), "-n", str(count), sys.executable]


def mpiexec(count, *arguments):
    """Start Python in so many processes; a Popen with its output."""
    return subprocess.Popen(
        [*mpiexec_command(count), *map(str, arguments)],
        env=started_alone(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
