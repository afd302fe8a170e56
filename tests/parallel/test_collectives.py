"""Collectives between two and four processes of a real MPI: values, derivatives, differing calls.

The processes start once for each number of them and make all checks of `parallel_checks`.
"""

import json

import numpy as np
import parallel_checks
import pytest
from devices import DEVICES
from gpu import STAND_IN
from mpi import mpiexec, needs_mpi

import gpugrad as gg

RUNS = {}


@pytest.fixture
def said(tmp_path_factory):
    """A function: by the name of a check, what each of so many processes said of it."""

    def run(count):
        if count not in RUNS:
            folder = tmp_path_factory.mktemp("processes")
            devices = [one for one in ENGINES if count == 2 or not one.startswith("cuda")]
            started = mpiexec(count, parallel_checks.__file__, folder, ",".join(devices))
            output = started.communicate(timeout=300)[0]
            files = [folder / f"{rank}.json" for rank in range(count)]
            reports = [json.loads(file.read_text()) if file.exists() else {} for file in files]
            RUNS[count] = output, started.returncode, reports
        return RUNS[count]

    return run


# On GPUs by NCCL, over the stand-in with its two, and there by MPI as well.
ENGINES = [*DEVICES, *(["cuda" + parallel_checks.BY_MPI] if "cuda" in DEVICES and STAND_IN else [])]
CASES = [
    (count, device, check)
    for device in ENGINES
    for count in ((2,) if device.startswith("cuda") else (2, 4))
    for check in parallel_checks.checks(device)
]


@needs_mpi
@pytest.mark.parametrize(("count", "device", "check"), CASES)
def test_between_processes(check, device, count, said):
    if device.startswith("cuda") and gg.cuda.device_count() < 2:
        pytest.skip("needs two GPUs, or the stand-in's: ci/fakecuda/run python -m pytest")
    output, status, reports = said(count)
    for report in reports:
        assert report.get(f"{check}-{device}") == "", output
    assert status == 0, output


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", parallel_checks.DIFFERENTIABLE)
def test_a_process_alone_is_a_world_of_one(name, device):
    if name in ("broadcast", "ring"):  # they name another process
        return
    collective, whole = parallel_checks.DIFFERENTIABLE[name]
    x = gg.tensor(np.array([1.0, 2.0]), device=device, requires_grad=True)
    y = collective(x)
    parallel_checks.loss(y, 0).backward()
    xs = gg.tensor(np.array([[1.0, 2.0]]), requires_grad=True)
    parallel_checks.loss(whole(xs, 0), 0).backward()
    np.testing.assert_array_equal(y.detach().numpy(), whole(xs, 0).detach().numpy())
    np.testing.assert_allclose(x.grad.numpy(), xs.grad.numpy()[0], 1e-12)


P = gg.parallel


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: P.all_reduce(1.0, "average"), ValueError, "one of sum, mean, max, min, got 'aver"),
        (lambda: P.reduce_scatter(np.ones((1, 2)), "avg"), ValueError, "one of sum, mean"),
        (lambda: P.all_reduce(3, "mean"), TypeError, r"Convert it first, with .astype\(gg.float32"),
        (lambda: P.all_reduce(np.ones(2, complex), "max"), TypeError, 'no "max" of complex128'),
        (lambda: P.all_reduce(np.array([True])), TypeError, 'no "sum" of bool'),
        (lambda: P.all_reduce(np.array(["a"])), TypeError, "expected numbers, got an array of <U1"),
        (lambda: P.all_reduce({"a": [True]}), TypeError, 'no "sum" of bool'),
        (lambda: P.all_reduce({1.0}), TypeError, "x is a set"),
        (lambda: gg.compile(P.all_gather)(np.ones(2)), RuntimeError, "of a compiled function. Com"),
        (
            lambda: gg.compile(lambda x: x + P.all_reduce(2.0))(np.ones(2)), RuntimeError,
            "all_reduce: processes cannot talk to each other inside of a compiled function",
        ),
        (
            lambda: gg.vmap(lambda x: P.all_reduce({"a": x}))(np.ones(2)), RuntimeError,
            "inside of vmap. Call all_reduce outside of it, on the whole batch",
        ),
        (lambda: P.reduce_scatter(np.ones(3)), ValueError, r"shape \(1, ...\), one part for each"),
        (lambda: P.broadcast(1.0, root=1), ValueError, "one of the 1 processes, 0 to 0, got 1"),
        (lambda: P.broadcast(1.0, root="0"), ValueError, "got '0'"),
        (lambda: P.send(1.0, 0), ValueError, "to is 0, which is this process itself"),
        (lambda: P.recv(1.0, 2), ValueError, "expected source to be the rank"),
        (lambda: P.init("cpu", timeout=0), ValueError, "a timeout in seconds above 0, got 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(call, error, words):
    with pytest.raises(error, match=words):
        call()
