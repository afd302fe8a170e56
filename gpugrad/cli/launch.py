"""``gpugrad launch``: starts a program in several processes on this machine.

On GPUs one process each, with torchrun's variables, so that a program cannot tell the two. On CPUs
by MPI's mpiexec. The processes meet at a server in this process, see `gpugrad.parallel.meeting`,
which tells who was the first to die.
"""

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gpugrad.backend.requirements import pip_install
from gpugrad.errors import ParallelError

__all__ = ["add_to"]

# How many seconds the others have to end when one has failed, or the keyboard has interrupted.
GRACE = 10.0


def add_to(commands: Any) -> None:
    """Add the subcommand to argparse's subparsers."""
    parser = commands.add_parser(
        "launch",
        help="start a program in several processes on this machine, see gg.parallel",
        description="Start a program that calls gg.parallel.init() in several processes on this "
        "machine: one for each GPU, which NCCL joins, or on CPUs, joined by MPI. When one of them "
        "fails all are ended. The exit status is that of the first that failed.",
    )
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--gpus", type=_count, metavar="N", help="so many GPUs, one process each")
    how.add_argument("--processes", type=_count, metavar="N", help="so many processes on CPUs")
    parser.add_argument(
        "-m", dest="module", action="store_true", help="the program is a module, as in python -m"
    )
    parser.add_argument("program", help="a file of Python")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what the program is given")
    parser.set_defaults(run=run)


def _count(text: str) -> int:
    number = int(text) if text.strip().isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number of processes from 1, got {text!r}")
    return number


def run(options: argparse.Namespace) -> int:
    """Start the processes, wait for them, and return the first status that is not 0."""
    from gpugrad.parallel.launchers import MEETING  # not for `gpugrad doctor`
    from gpugrad.parallel.meeting import Meeting

    count = options.gpus or options.processes
    program = [*(["-m"] if options.module else []), options.program, *options.arguments]
    command = [sys.executable, *program]
    variables = {**os.environ, **_threads(count)}
    with ExitStack() as opened:
        if count > 1:
            key = secrets.token_hex(8)
            meeting = opened.enter_context(Meeting(count, key))
            variables[MEETING] = f"127.0.0.1 {meeting.port} {key}"
        if options.gpus:
            port = str(_free_port())
            started = [
                subprocess.Popen(command, env={**variables, **_place(rank, count, port)})
                for rank in range(count)
            ]
        else:
            before = [*_mpiexec(), "-n", str(count)] if count > 1 else []
            started = [subprocess.Popen([*before, *command], env=variables)]
        return _wait(started)


def _threads(count: int) -> dict[str, str]:
    """Each process's share of the cores, for BLAS and compiled programs that ask for it."""
    from gpugrad.backend.threads import own_cores  # not for `gpugrad doctor`

    share = str(max(1, len(own_cores()) // count))
    names = ("OMP_NUM_THREADS", "GPUGRAD_NUM_THREADS")
    return {name: share for name in names if name not in os.environ}


def _place(rank: int, count: int, port: str) -> dict[str, str]:
    """torchrun's variables for one of the processes of a machine."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _mpiexec() -> list[str]:
    """MPI's launcher: that of a package beside this Python, else the one on the path."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("mpiexec", path=beside) or shutil.which("mpiexec")
    if found is None:
        raise ParallelError(
            "on CPUs processes are joined by MPI, and there is no mpiexec. Run "
            f"`{pip_install('mpi')}`, or load your cluster's MPI; for GPUs pass --gpus"
        )
    asked = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    if "Open MPI" not in asked.stdout and "OpenRTE" not in asked.stdout:
        return [found]
    # Open MPI refuses root, and more processes than cores, unless it is told to.
    root = ["--allow-run-as-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return [found, *root, "--oversubscribe"]


def _wait(started: list[subprocess.Popen[bytes]]) -> int:
    """The first status that is not 0; what still runs `GRACE` seconds after it is ended."""
    failed, until = 0, 0.0
    before = signal.signal(signal.SIGTERM, lambda number, frame: _signal_all(started, number))
    try:
        while any(one.poll() is None for one in started):
            ended = [one.returncode for one in started if one.returncode]
            if ended and not failed:
                failed, until = ended[0], time.monotonic() + GRACE
            if failed and time.monotonic() > until:
                _signal_all(started, signal.SIGKILL)
            time.sleep(0.02)
    except BaseException:  # an interrupt of the keyboard, which the processes get as well
        _end(started)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    failed = failed or next((one.returncode for one in started if one.returncode), 0)
    return 128 - failed if failed < 0 else failed


def _end(started: list[subprocess.Popen[bytes]]) -> None:
    until = time.monotonic() + GRACE
    for one in started:
        try:
            one.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            one.kill()


def _signal_all(started: list[subprocess.Popen[bytes]], number: int) -> None:
    for one in started:
        if one.poll() is None:
            one.send_signal(number)
