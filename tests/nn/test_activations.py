"""An activation is one entry of the op table: function, module, stubs and tests come from it."""

import importlib.util
import inspect
import os
import shutil
import subprocess
import sys

import numpy as np
import optable
import pytest
from repository import ROOT

import gpugrad as gg
from gpugrad.engine.op import TABLE
from gpugrad.nn import activations

SQUAREPLUS = """
op(
    "squareplus",
    lambda xp, x, /, beta=4.0: 0.5 * (x + xp.sqrt(x * x + beta)),
    vjp=[lambda xp, g, y, x, beta: g * (0.5 + 0.5 * x / xp.sqrt(x * x + beta))],
    saves="x",
    samples=[Sample((2, 3)), Sample((4,), beta=0.5)],
    public="gg nn.functional",
    method=True,
    layer="Squareplus",
    doc="(x + sqrt(x * x + beta)) / 2, elementwise (Barron, 2021).",
    **REAL,
)
"""

USE = """
import gpugrad as gg, pickle
x = gg.tensor([-1.0, 0.0, 2.0])
y = gg.nn.functional.squareplus(x, 0.5)
assert y.tolist() == gg.squareplus(x, 0.5).tolist() == x.squareplus(beta=0.5).tolist()
layer = gg.nn.Squareplus(beta=0.5)
assert layer(x).tolist() == y.tolist()
assert repr(layer) == "Squareplus(beta=0.5)" and layer.beta == 0.5
assert gg.nn.Squareplus.__doc__.startswith("(x + sqrt(x")
assert gg.nn.MLP(2, [3, 1], activation="squareplus")(gg.ones((4, 2))).shape == (4, 1)
assert pickle.loads(pickle.dumps(layer)).beta == 0.5
assert "Squareplus" in gg.nn.__all__ and "squareplus" in gg.nn.functional.__all__
"""


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """A copy of the package with one more entry in one file."""
    root = tmp_path_factory.mktemp("changed")
    for name in ("gpugrad", "ci", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "fakecuda")
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", root)
    with (root / "gpugrad" / "ops" / "activations.py").open("a", encoding="utf-8") as file:
        file.write(SQUAREPLUS)
    return root


# All cases on two devices, whatever part of them these tests themselves are run with.
CASES = {
    "GPUGRAD_TEST_CASES": "all", "GPUGRAD_TEST_DEVICES": "cpu,sim", "GPUGRAD_TEST_SHARD": "",
}  # fmt: skip


def python(root, *arguments):
    env = os.environ | CASES | {"PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=root, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_one_entry_gives_the_function_and_the_module(changed):
    python(changed, "-c", USE)


def test_its_tests_are_generated(changed):
    (tests,) = (changed / "tests").rglob("test_ops.py")
    said = python(changed, "-m", "pytest", "-q", "-k", "squareplus", str(tests))
    assert int(said.split(" passed")[0].split()[-1]) >= 20


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="ruff is not installed")
def test_its_stubs_are_generated(changed):
    python(changed, "ci/stubs.py")
    stub = (changed / "gpugrad" / "nn" / "__init__.pyi").read_text(encoding="utf-8")
    assert "class Squareplus(Module):" in stub
    assert "def __init__(self, beta: float = 4.0) -> None: ..." in stub
    functional = (changed / "gpugrad" / "nn" / "functional.pyi").read_text(encoding="utf-8")
    assert '"squareplus"' in functional


LAYERS = pytest.mark.parametrize("name", activations.MODULES)


@LAYERS
def test_a_module_has_the_signature_and_the_documentation_of_its_op(name):
    module = getattr(gg.nn, name)
    op = TABLE[module.op.name]
    assert module.__name__ == op.layer == name
    assert module.__doc__ == op.doc
    assert dict(inspect.signature(module).parameters) == op.parameters
    with pytest.raises(TypeError, match=f"{name}: got an unexpected keyword argument 'slope'"):
        module(**optable.samples(op)[0].parameters, slope=1)


@LAYERS
def test_a_module_computes_its_function(name, device):
    module = getattr(gg.nn, name)
    function = getattr(gg, module.op.name)
    assert getattr(gg.nn.functional, module.op.name) is function
    x = gg.tensor(np.linspace(-3, 3, 24).reshape(2, 3, 4), device=device)
    for sample in optable.samples(module.op):
        layer = module(**sample.parameters)
        np.testing.assert_array_equal(
            layer(x).cpu().numpy(), function(x, **sample.parameters).cpu().numpy()
        )
        for word, value in sample.parameters.items():
            assert getattr(layer, word) == value
            assert f"{word}={value!r}" in repr(layer)


# ---------------------------------------------------------------- after a Linear


@pytest.mark.parametrize(
    "op", [op for op in TABLE.values() if f"linear_{op.name}" in TABLE], ids=lambda op: op.name
)
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_and_its_activation_are_one_operation(op, bias, device, monkeypatch):
    def results():
        gg.manual_seed(4)
        words = {"bias": bias, "dtype": gg.float64}
        settings = op.samples[-1].parameters if op.samples else {}
        model = gg.nn.Sequential(
            gg.nn.Linear(3, 4, **words), gg.nn.activations.MODULES[op.layer](**settings),
            gg.nn.Linear(4, 2, **words), getattr(gg, op.name),
        )  # fmt: skip
        x = gg.tensor(np.linspace(-1, 1, 12).reshape(4, 3), device=device, requires_grad=True)
        y = model(x)
        inputs = [x, *model.parameters()]
        first = gg.gradients((y * y).sum(), inputs, create_graph=True)
        second = gg.gradients(sum((d * d).sum() for d in first), inputs)
        return y.grad_fn.op.name, [t.detach().numpy() for t in (y, *first, *second)]

    name, together = results()
    assert name == f"linear_{op.name}"
    monkeypatch.setattr("gpugrad.nn.containers.joined", lambda *_: None)
    name, apart = results()
    assert name == op.name
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)


def test_a_forward_of_somebody_s_own_is_called():
    class Doubled(gg.nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    class Cut(gg.nn.ReLU):
        def forward(self, x):
            return gg.minimum(super().forward(x), 0.5)

    def replaced(module):
        module.forward = lambda x: 3 * type(module).forward(module, x)
        return module

    linear, relu, x = gg.nn.Linear(3, 4), gg.nn.ReLU(), gg.ones((2, 3))
    for layer, after in (
        (Doubled(3, 4), relu),
        (linear, Cut()),
        (replaced(gg.nn.Linear(3, 4)), relu),
        (linear, replaced(gg.nn.ReLU())),
        (linear, lambda t: gg.relu(t)),
        (linear, gg.square),
    ):
        y = gg.nn.Sequential(layer, after)(x)
        assert y.tolist() == after(layer(x)).tolist()
        assert not y.grad_fn.op.name.startswith("linear")
