"""A process that dies, raises, hangs or ends early ends the others, with its name, in time."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import parallel_faults
import pytest
from gpu import needs_two_gpus
from mpi import NO_MPI, has_mpi, mpiexec, needs_mpi, started_alone

import gpugrad as gg
from gpugrad.cli import launch
from gpugrad.errors import ParallelError
from gpugrad.parallel import launchers
from gpugrad.parallel.group import Group, _server
from gpugrad.parallel.meeting import Meeting, Server, connect
from gpugrad.parallel.watch import Pending, Watch

# What rank 1 does, and what is said of it.
WORDS = {
    "raise": r"rank 1 has raised ValueError: bad value \(in misbehave",
    "exit": r"rank 1 has ended its program after 3 calls of gg.parallel, and rank 0 is at call 4",
    "kill": r"rank 1 \(process \d+ on .*\) has died without a word: killed by a signal",
    "kill rank 0": r"rank 0 \(process \d+ on .*\) has died without a word: killed by a signal",
    "stop": r"rank 0 has waited for 4 s.* rank 1 does not answer: its process is stopped",
    "stop rank 0": r"rank 1 has waited for 4 s.*; rank 0 does not answer: its process is stopped",
    "sleep": r".*rank 1 is not there: it is in misbehave, .*parallel_faults.py:\d+",
    "message": r".*rank 0 sends float64 \(3,\) and rank 1 expects float64 \(4,\)",
    "differ": r".*at call 4 .* rank 0: all_reduce 'sum' of .* \(3,\); rank 1: .* \(4,\)",
}


@pytest.fixture(scope="module")
def said():
    """By what rank 1 does: the status and the output of all processes; all at the same time."""
    if not has_mpi():
        pytest.skip(NO_MPI)
    started = {
        how: launched("--processes", how, "cpu")
        if how == "kill"
        else mpiexec(2, parallel_faults.__file__, how, "cpu", *["--aside"] * (how == "exit"))
        for how in WORDS
    }
    return {how: (one.communicate(timeout=200)[0], one.returncode) for how, one in started.items()}


def launched(option, *arguments):
    command = [sys.executable, "-m", "gpugrad", "launch", option, "2", parallel_faults.__file__]
    return subprocess.Popen(
        [*command, *arguments], env=started_alone(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def check_fault(how, output, status):
    assert status != 0, output
    assert "finished" not in output
    assert re.search(f"(gpugrad.parallel|ParallelError): {WORDS[how]}", output), output


@pytest.mark.parametrize("how", WORDS)
def test_a_fault_ends_all_processes_by_name(how, said):
    check_fault(how, *said[how])


@needs_two_gpus
@pytest.mark.parametrize("how", ["kill", "differ", "message"])
def test_a_fault_of_nccl_ends_all_processes_by_name(how):
    process = launched("--gpus", how, "cuda")
    check_fault(how, process.communicate(timeout=200)[0], process.returncode)


@pytest.fixture
def watches():
    """A function: so many watches of one meeting, as of processes; without hooks at the end."""
    opened, meetings = [], []

    def join(count):
        meeting = Meeting(count, "key")
        meetings.append(meeting)
        found = [Watch(rank, count, 60.0) for rank in range(count)]
        for watch in found:
            watch._hook_ends = lambda: None
        hosts = ["127.0.0.1"]
        joining = [
            threading.Thread(target=watch.join, args=(hosts, meeting.port, "key"))
            for watch in found
        ]
        for thread in joining:
            thread.start()
        for thread in joining:
            thread.join()
        opened.extend(found)
        return found

    yield join
    for watch in opened:
        watch._seen = True
        watch._send(ended=watch.calls)
    for watch in opened:
        watch._over.wait(5)
    for meeting in meetings:
        meeting.end()


def raised(watch):
    """What a watch raises in the end."""
    for _ in range(500):
        try:
            watch.look()
        except ParallelError as error:
            return str(error)
        time.sleep(0.01)
    raise AssertionError("nothing was raised")


def test_calls_that_are_announced_are_compared(watches, capsys):
    pair = watches(2)
    for watch, what in zip(pair, ("all_reduce of float32 (3,)", "all_reduce of float32 (4,)")):
        for call in ("barrier", what):
            with watch.at(call):
                watch.announce(call)
    sentence = (
        "the processes do different things at call 2 of gg.parallel: rank 0: all_reduce of "
        "float32 (3,); rank 1: all_reduce of float32 (4,)."
    )
    for watch in pair:
        assert sentence in raised(watch)
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("first", [0, 1])
def test_messages_that_are_announced_are_compared(first, watches, capsys):
    """Whoever of the two comes first; a message that fits has gone before."""
    pair = watches(2)
    for what in ("float32 (3,)", "float32 (2,)"):
        for rank in (first, 1 - first):
            pair[rank].announce_message(0, 1, "float32 (3,)" if rank else what)
    sentence = "recv: rank 0 sends float32 (2,) and rank 1 expects float32 (3,). Both need"
    for watch in pair:
        assert sentence in raised(watch)
    assert "message 2 of the two" in capsys.readouterr().err


def test_a_call_that_a_gpu_does_not_end_is_late(watches, capsys):
    pair = watches(2)
    stopped = []
    pair[0].pending = lambda: Pending("all_reduce of float32 (3,)", pair[0].now() - 1.0, None, None)
    for watch in pair:
        watch.abort = lambda: stopped.append(1)
        watch.timeout = 0.2
    for watch in pair:
        assert "is at all_reduce of float32 (3,), which its GPU has begun; rank 1" in raised(watch)
    assert stopped
    capsys.readouterr()


def test_values_are_exchanged(watches):
    pair = watches(2)
    got = {}
    threads = [
        threading.Thread(target=lambda w=watch: got.update({w.rank: w.exchange([w.rank, "x"])}))
        for watch in pair
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {0: [[0, "x"], [1, "x"]], 1: [[0, "x"], [1, "x"]]}


def test_a_process_that_does_not_come_is_named(capsys):
    watch = Watch(0, 2, 0.2)
    watch._hook_ends = lambda: None
    words = "rank 0 has waited for 0.2 s; not come: rank 1 of 2"
    with Meeting(2, "key") as meeting, pytest.raises(ParallelError, match=words):
        watch.join(["127.0.0.1"], meeting.port, "key")
    watch._seen = True
    assert watch._over.wait(5)
    assert words in capsys.readouterr().err


# Starts the server, comes as rank 0, and is killed.
KILLED = """
import os, signal, time
from gpugrad.parallel.meeting import Server, connect
server = Server(2, "key")
hello = {"hello": 0, "name": "process 1", "key": "key"}
lines = connect(["127.0.0.1"], server.port, hello, time.monotonic() + 60)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_server_outlives_the_process_that_has_started_it_and_names_it():
    """So that it says who has died, though a launcher kills the others at the same time."""
    run = subprocess.run(
        [sys.executable, "-c", KILLED], env=started_alone(), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == -9
    assert "rank 0 (process 1) has died without a word: killed by a signal" in run.stderr


def test_a_server_ends_with_its_ranks_and_before_them_if_it_is_left():
    server = Server(1, "key")
    hello = {"hello": 0, "name": "a process", "key": "key"}
    lines = connect(["127.0.0.1"], server.port, hello, time.monotonic() + 60)
    lines.send(ended=0)
    server.end()
    assert server._process.returncode == 0
    lines.socket.close()
    Server(2, "key").end()  # nobody has come


def test_a_port_that_is_taken_is_said():
    with socket.create_server(("", 0)) as taken:
        place = launchers.Place("torchrun", 0, 2, 0, ("127.0.0.1", taken.getsockname()[1]))
        with pytest.raises(ParallelError, match="cannot start the server.* in use.* MASTER_PORT"):
            Group(place, 1.0)


def test_a_program_that_was_frozen_is_not_started_again(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    server = _server(1, "key")
    assert isinstance(server, Meeting)
    server.end()


def test_another_program_at_the_port_is_not_taken_for_rank_0():
    words = "rank 1 cannot reach the server of rank 0 at 127.0.0.1, port"
    with Meeting(2, "key of another job") as meeting, pytest.raises(ParallelError, match=words):
        Watch(1, 2, 0.1).join(["127.0.0.1"], meeting.port, "key")


@pytest.mark.parametrize("comes", [0, 1])
def test_a_meeting_ends_with_its_thread_whoever_has_come(comes):
    with Meeting(2, "key") as meeting:
        hello = {"hello": 0, "name": "a process", "key": "key"}
        lines = [
            connect(["127.0.0.1"], meeting.port, hello, time.monotonic() + 5) for _ in range(comes)
        ]
        assert None not in lines
    assert not meeting._thread.is_alive()
    meeting.end()  # again, which does nothing
    for one in lines:
        assert one.socket.recv(1) == b""
        one.socket.close()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, launchers.Place()),
        (
            {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "a",
             "MASTER_PORT": "29500", "TORCHELASTIC_USE_AGENT_STORE": "True"},
            launchers.Place("torchrun", 5, 8, 1, ("a", 29501)),
        ),
        (
            {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2",
             "OMPI_COMM_WORLD_LOCAL_RANK": "1", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"},
            launchers.Place("Open MPI", 1, 2, 1),
        ),
        ({"PMI_RANK": "3", "PMI_SIZE": "4"}, launchers.Place("MPICH", 3, 4)),
        (
            {"SLURM_PROCID": "9", "SLURM_STEP_NUM_TASKS": "16", "SLURM_LOCALID": "1",
             "SLURM_JOB_ID": "40007", "SLURM_STEP_NODELIST": "gpu[03-04]"},
            launchers.Place("Slurm", 9, 16, 1, ("gpu03", 20007)),
        ),
        # A batch script outside of srun.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "16"}, launchers.Place()),
    ],
)  # fmt: skip
def test_launchers_are_known_by_their_variables(variables, expected):
    assert launchers.place(variables) == expected


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"RANK": "x", "WORLD_SIZE": "2"}, "torchrun's variable RANK is 'x'; expected a whole"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "rank 2 of 2 processes .* ranks go from 0 to 1"),
    ],
)
def test_variables_that_cannot_be_are_said(variables, words):
    with pytest.raises(ParallelError, match=words):
        launchers.place(variables)


def test_a_program_that_has_not_called_init_is_told_to(monkeypatch):
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("PMI_SIZE", "2")
    with pytest.raises(ParallelError, match="rank 1 of 2 .* call gg.parallel.init\\(\\) first"):
        gg.parallel.rank()


@needs_mpi
def test_the_mpi_is_that_of_the_launcher():
    """Where MPICH's library lies beside mpi4py, and Open MPI's mpiexec starts the program."""
    found = [folder for folder in os.get_exec_path() if is_open_mpi(f"{folder}/mpiexec")]
    if not found or not list(Path(find_spec("mpi4py").origin).parent.glob("MPI.openmpi.*")):
        pytest.skip("needs Open MPI on the path (apt-get install openmpi-bin), and mpi4py's wheel")
    code = "import gpugrad as gg; gg.parallel.init('cpu'); print(gg.parallel.all_reduce(1))"
    run = subprocess.run(
        [
            f"{found[0]}/mpiexec", "--allow-run-as-root", "--oversubscribe", "-n", "2",
            sys.executable, "-c", code,
        ],
        env=started_alone(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.stdout.count("2") == 2, run.stderr  # the lines of two may mix


def is_open_mpi(path):
    try:
        asked = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return "Open MPI" in asked.stdout or "OpenRTE" in asked.stdout


def test_processes_of_torchrun_without_gpus_are_told_to_use_mpi():
    code = "import gpugrad as gg; gg.parallel.init('cpu', timeout=20)"
    port = str(launch._free_port())
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True,
            env=started_alone(RANK=rank, WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port),
        )
        for rank in "01"
    ]  # fmt: skip
    for one in started:
        assert "start the program with `mpiexec -n 2 python ...`" in one.communicate(timeout=60)[1]
        assert one.returncode == 1
