"""gpugrad launch: what it starts, and what it returns. Its faults are in tests/parallel."""

import os
import subprocess
import sys
import threading

import pytest
from mpi import started_alone
from processes import run_python

from gpugrad.cli import launch, main


def launched(*arguments):
    command = [sys.executable, "-m", "gpugrad", "launch", *map(str, arguments)]
    done = subprocess.run(command, env=started_alone(), capture_output=True, text=True, timeout=100)
    return done.returncode, done.stdout


def test_the_status_and_the_arguments_are_the_programs(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import sys; print(sys.argv[1:]); sys.exit(int(sys.argv[2]))")
    assert launched("--processes", 1, program, "--n", "3") == (3, "['--n', '3']\n")
    (tmp_path / "part.py").write_text(
        "import os, sys; sys.stdout.write(os.environ['RANK'] + os.environ['WORLD_SIZE'] + '\\n')\n"
        "sys.exit(5 * (os.environ['RANK'] == '1'))"
    )
    status, output = launched("--gpus", 2, tmp_path / "part.py")
    assert status == 5
    assert sorted(output.split()) == ["02", "12"]


def test_processes_divide_the_cores_that_the_command_may_use(monkeypatch):
    """Not those of the machine, of which a container may have a few."""
    for name in ("OMP_NUM_THREADS", "GPUGRAD_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    assert launch._threads(2) == {"OMP_NUM_THREADS": "2", "GPUGRAD_NUM_THREADS": "2"}
    assert launch._threads(8)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert launch._threads(2) == {"GPUGRAD_NUM_THREADS": "2"}


@pytest.fixture
def no_thread_is_left():
    """The server of the meeting ends with the command, in a process that goes on."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.usefixtures("no_thread_is_left")
def test_a_machine_without_mpi_is_told_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(launch.shutil, "which", lambda *args, **kwargs: None)
    assert main(["launch", "--processes", "2", str(tmp_path / "program.py")]) == 2
    assert 'there is no mpiexec. Run `pip install "mpi4py' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gpus", "0", "x.py"], "expected a number of processes from 1, got '0'"),
        (["--processes", "two", "x.py"], "expected a number of processes from 1, got 'two'"),
        (["--processes", "1.5", "x.py"], "expected a number of processes from 1, got '1.5'"),
        (["--gpus", "1", "--processes", "1", "x.py"], "not allowed with argument"),
        (["x.py"], "one of the arguments --gpus --processes is required"),
    ],
)
def test_options_that_cannot_be_are_refused(arguments, words, capsys):
    with pytest.raises(SystemExit):
        main(["launch", *arguments])
    assert words in capsys.readouterr().err


@pytest.mark.usefixtures("no_thread_is_left")
def test_processes_that_never_meet_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "_mpiexec", lambda: ["env"])
    program = tmp_path / "program.py"
    program.write_text("import sys; sys.exit(4)")
    # `env -n` fails: nobody comes to the meeting.
    assert main(["launch", "--processes", "2", str(program)]) != 0


def test_other_commands_do_not_import_what_launch_needs():
    code = "import sys, gpugrad.cli; print('gpugrad.parallel' in sys.modules)"
    assert run_python(code) == ["False"]


@pytest.mark.parametrize(
    ("says", "options"),
    [("mpirun (Open MPI) 5.0.8", True), ("HYDRA build details", False)],
)
def test_open_mpi_is_told_to_run_more_processes_than_cores(says, options, monkeypatch):
    answer = subprocess.CompletedProcess([], 0, says, "")
    monkeypatch.setattr(launch.subprocess, "run", lambda *args, **kwargs: answer)
    monkeypatch.setattr(launch.shutil, "which", lambda *args, **kwargs: "mpiexec")
    assert ("--oversubscribe" in launch._mpiexec()) == options
