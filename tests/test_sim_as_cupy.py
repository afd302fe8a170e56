"""The device "cuda" where there is no GPU: its own code, over simulated arrays named cupy.

What is seen here is that gpugrad finds, registers and addresses CuPy's arrays, and calls its own
kernels as CuPy wants them called; not that CuPy computes what NumPy does.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import sim_as_cupy
from compilers import HOST_COMPILER
from conftest import wheel

ROOT = Path(__file__).resolve().parent.parent

pytest.importorskip("scipy")
pytestmark = pytest.mark.skipif(HOST_COMPILER is None, reason="needs a C++ compiler (g++ or c++)")


@pytest.fixture(scope="module")
def with_kernels(tmp_path_factory):
    return sim_as_cupy.write(tmp_path_factory.mktemp("cupy"))


@pytest.fixture(scope="module")
def environment(with_kernels):
    return with_kernels | {"GPUGRAD_FUSION": "0"}


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


def test_between_a_cpu_and_one_gpu_no_device_is_looked_for(environment):
    code = """
import gpugrad as gg
from gpugrad.engine import passes

for there, looked_for in (("cuda", False), ("sim:1", True)):
    t = gg.ones(2, device="cpu", requires_grad=True)
    y = (t.to(there) * 2).to("cpu").sum()
    y.backward()
    assert t.grad.tolist() == [2.0, 2.0]
    assert passes._moved == looked_for, there
"""
    run(environment, "-c", code)


STEPS = """
import cupy
import numpy as np
import gpugrad as gg

F = gg.nn.functional
launched = set()
for kind in (cupy.ElementwiseKernel, cupy.RawKernel):
    def call(self, *args, original=kind.__call__, **words):
        launched.add(self.name)
        return original(self, *args, **words)
    kind.__call__ = call


def steps(device):
    gg.manual_seed(1)
    with gg.device(device):
        model = gg.nn.Sequential(
            gg.nn.Linear(6, 40), gg.nn.GELU(), gg.nn.LayerNorm(40), gg.nn.Linear(40, 3)
        )
        optimizer = gg.optim.AdamW(model.parameters(), lr=0.01)
        x, target = gg.random.normal(size=(300, 6)), gg.random.integers(0, 3, (300,))
        for _ in range(3):
            scores = model(x)
            loss = F.cross_entropy(scores, target) + F.mse_loss(scores.tanh(), scores * 0.5)
            loss = loss + (scores.softmax(axis=-1).exp() / (1 + scores.square())).mean()
            optimizer.zero_grad(set_to_none=False)
            loss.backward()
            gg.optim.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
        return [loss.item()] + [p.detach().numpy() for p in model.parameters()]


for one, other in zip(steps("cpu"), steps("cuda"), strict=True):
    np.testing.assert_allclose(other, one, rtol=2e-4, atol=1e-5)
print(*sorted(launched))
"""
RAW = "clear clip cross_entropy cross_entropy_vjp epilogue layer_norm layer_norm_vjp norms softmax"


def test_kernels_run_on_it(with_kernels):
    launched = run(with_kernels, "-c", STEPS).split()
    assert {*RAW.split(), "squares", "squares_vjp", "update"} <= set(launched)
    assert {"gpugrad_philox4x32_10", "gpugrad_tanh_vjp0"} <= set(launched)


SPECIAL = """
import cupy
import numpy as np
import gpugrad as gg

launched = []
class Kernel(cupy.ElementwiseKernel):
    def __call__(self, *args, **words):
        launched.append(self.name)
        return super().__call__(*args, **words)
cupy.ElementwiseKernel = Kernel

for name in ("digamma", "i1e", "log_ndtr", "polygamma"):
    f = getattr(gg.special, name)
    f = f if name != "polygamma" else lambda x: gg.special.polygamma(2, x)
    found = []
    for device in ("cpu", "cuda"):
        x = gg.tensor([0.3, 1.5, 90.0, 1e4], device=device, requires_grad=True, dtype="float64")
        y = f(x)
        y.backward(gg.ones(4, device=device, dtype="float64"))
        found.append([*y.tolist(), *x.grad.tolist()])
    np.testing.assert_allclose(*found, rtol=1e-10)
print(*launched)
"""


def test_special_functions_are_kernels_made_of_cupy_s_code(with_kernels):
    wheel()
    launched = run(with_kernels, "-c", SPECIAL).split()
    names = ("digamma", "i1e", "log_ndtr", "polygamma")
    assert launched == [f"gpugrad_{name}{of}" for name in names for of in ("", "_vjp0")]


def test_special_functions_have_scipy_s_values_operation_by_operation(environment):
    words = ["-q", "-p", "no:cacheprovider", "-k", "extremes or keep_their_dtype"]
    said = run(environment, "-m", "pytest", "tests/test_special.py", *words)
    assert int(said.split(" passed")[0].split()[-1]) > 100


def test_kernels_are_called_as_cupy_wants_it(with_kernels):
    files = ["tests/test_cupy_kernels.py"]
    said = run(with_kernels, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    assert int(said.split(" passed")[0].split()[-1]) > 20


def test_it_can_round_as_a_gpu_may(with_kernels):
    code = """
import cupy
import numpy as np

x = cupy.asarray(np.linspace(0.0, 3.0, 1000))
exp = cupy.ElementwiseKernel("T x", "T y", "y = exp(x)", "exponential")
for y in (cupy.exp(x), exp(x), cupy.matmul(cupy.exp(x)[:, None], x[None, :1] + 1)[:, 0]):
    off = (y.get() - np.exp(x.get())) / np.spacing(y.get())
    assert off[0] == 0 and (abs(off) <= 2).all() and (off != 0).sum() > 300, off
a = cupy.asarray([1 + 2.0**-30])
both = cupy.ElementwiseKernel("T x", "T y", "y = x * x - (1 + 2 * 9.313225746154785e-10)", "once")
assert both(a).item() == 2.0**-60
"""
    run(with_kernels | {"GPUGRAD_GPU_ROUNDING": "1"}, "-c", code)
    with pytest.raises(AssertionError):
        run(with_kernels, "-c", code)


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
