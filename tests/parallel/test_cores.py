"""How many threads each of the processes on a machine takes."""

import os
import subprocess
from types import SimpleNamespace

import pytest
from mpi import mpiexec_command, needs_mpi, started_alone

from gpugrad.backend import blas
from gpugrad.parallel import cores


class Others:
    """The watch of a rank whose machine others share, with equal masks of cores."""

    def __init__(self, rank, count):
        self.rank, self.count = rank, count

    def exchange(self, own):
        return [own] * self.count


@pytest.fixture
def threads(monkeypatch):
    """As if this process had four cores, and the environment said nothing; the limits of BLAS."""
    for name in cores.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "")  # so that it is taken back at the end
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(cores, "own_cores", lambda: [0, 1, 2, 3])
    found = []
    monkeypatch.setattr(cores, "limit_threads", lambda count: found.append(count) or True)
    return found


@pytest.mark.parametrize(("count", "share"), [(1, None), (2, 2), (3, 1), (4, 1), (9, 1)])
def test_processes_divide_the_cores(count, share, threads, capsys):
    cores.share_cores(Others(0, count))
    assert threads == ([] if share is None else [share])
    assert os.environ.get("OMP_NUM_THREADS") == (share and str(share))
    said = f"{count} processes share this machine's cores, so each takes {share} thread"
    assert (said in capsys.readouterr().err) == (share is not None)


def test_the_other_ranks_say_nothing(threads, capsys):
    cores.share_cores(Others(1, 2))
    assert threads == [2]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", cores.VARIABLES)
def test_who_says_a_number_himself_gets_it(name, threads, monkeypatch, capsys):
    monkeypatch.setenv(name, "4")
    cores.share_cores(Others(0, 2))
    assert threads == []
    assert capsys.readouterr().err == ""


def test_a_library_that_cannot_be_told_is_a_warning(threads, monkeypatch):
    monkeypatch.setattr(cores, "limit_threads", lambda count: False)
    with pytest.warns(UserWarning, match="each takes 2 threads.*It must be set before Python"):
        cores.share_cores(Others(0, 2))


def test_a_core_that_is_bound_to_a_process_is_its_own():
    machines = [("a", 0b000111), ("a", 0b111000), ("a", 0b111000), ("b", 0b1111)]
    assert [cores.own_share(machines, rank) for rank in range(4)] == [3, 1, 1, 4]


class Function:
    """As ctypes has it: types may be set."""

    def __init__(self, call):
        self.call = call

    def __call__(self, *args):
        return self.call(*args)


@pytest.mark.parametrize(("before", "after"), [(8, 2), (1, 1)])
def test_a_library_takes_no_more_than_it_is_told_to(before, after):
    now = [before]
    library = SimpleNamespace(
        openblas_get_num_threads=Function(lambda: now[-1]),
        openblas_set_num_threads=Function(now.append),
    )
    assert blas._limited(library, 2)
    assert now[-1] == after
    assert not blas._limited(SimpleNamespace(), 2)


PROGRAM = """
import scipy.linalg
import gpugrad as gg
from gpugrad.backend import blas, threads
gg.parallel.init("cpu", timeout=60)
print(f"[{blas.blas().threads()} {threads.thread_count()}]\\n", end="", flush=True)
"""


@needs_mpi
@pytest.mark.parametrize("variable", ["", "OPENBLAS_NUM_THREADS"])
def test_processes_that_mpiexec_starts_divide_the_cores(variable):
    """As many processes as cores, so that each has one; and as many threads as a variable says."""
    count = max(2, min(4, os.cpu_count() or 1))
    variables = {n: value for n, value in started_alone().items() if n not in cores.VARIABLES}
    variables |= {variable: "2"} if variable else {}
    run = subprocess.run(
        [*mpiexec_command(count), "-c", PROGRAM], env=variables, capture_output=True, text=True,
        timeout=120, check=True,
    )  # fmt: skip
    own = "1" if not variable or os.cpu_count() == 1 else "2"
    assert run.stdout.count(f"[{own} {own}]") == count, run.stdout
    line = f"{count} processes share this machine's cores, so each takes 1 thread."
    assert run.stderr.count(line) == (not variable), run.stderr
