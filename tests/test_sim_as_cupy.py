"""The device "cuda" where there is no GPU: its own code, over simulated arrays named cupy.

What is seen here is that gpugrad finds, registers and addresses CuPy's arrays; not that CuPy
computes what NumPy does.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import sim_as_cupy

ROOT = Path(__file__).resolve().parent.parent

pytest.importorskip("scipy")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return sim_as_cupy.write(tmp_path_factory.mktemp("cupy"))


def run(environment, *command):
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_device_cuda_is_that_package(environment):
    code = """
import gpugrad as gg
assert gg.cuda.why_unavailable() is None
assert gg.cuda.device_count() == 1
with gg.device("cuda"):
    x = gg.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
assert str(x.grad.device) == "cuda:0" and type(x.data).__module__ == "cupy"
gg.cuda.synchronize(), gg.cuda.empty_cache(), gg.cuda.memory_stats()
try:
    x + gg.ones(2, device="sim")
except gg.DeviceError as error:
    assert "two devices, cuda:0 and sim:0" in str(error), error
print(gg.Device("auto"))
"""
    assert run(environment, "-c", code).strip() == "cuda:0"


def test_every_op_runs_on_it(environment):
    tests = "test_forward_is_the_same or test_gradients_have or test_singular or test_device"
    files = ["tests/test_ops.py", "tests/test_linalg.py", "tests/test_random.py"]
    said = run(environment, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", tests)
    assert int(said.split(" passed")[0].split()[-1].strip("\n")) > 1000


def test_what_a_training_loop_needs_runs_on_it(environment):
    files = ["test_data", "test_deterministic", "test_optim"]
    paths = [f"tests/{name}.py" for name in files]
    said = run(environment, "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths)
    assert int(said.split(" passed")[0].split()[-1]) > 300


@pytest.mark.parametrize("name", ["mlp.py", "regression.py", "gaussian_process.py"])
def test_examples_run_on_it(environment, name):
    assert "cuda:0" in run(environment, f"examples/{name}", "--device", "cuda")


def test_the_benchmarks_run_on_it(environment, tmp_path):
    figures = tmp_path / "figures.json"
    command = ["benchmarks/run.py", "--device", "cuda", "--quick", "--peers", "", "--rounds", "1"]
    run(environment, *command, "--seconds", "0", "--json", str(figures))
    content = json.loads(figures.read_text(encoding="utf-8"))
    assert content["bandwidth"] > 0
    assert content["versions"]["cupy"]
    assert all(case["times"]["gpugrad"] > 0 for case in content["cases"] if "times" in case)
    where = run(environment, *command[:4], "--profile", "8x8-b8-adam-float32")
    assert "optimizer" in where
    assert "no list of kernels" in where
