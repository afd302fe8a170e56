"""The example scipy_minimize, and gpugrad's derivatives handed to SciPy as they are."""

import importlib
import re

import numpy as np
import pytest
from repository import ROOT

import gpugrad as gg

optimize = pytest.importorskip("scipy.optimize")

EXAMPLES = ROOT / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    device, dtype = gg.default_device(), gg.get_default_dtype()
    yield importlib.import_module("scipy_minimize")
    gg.set_default_device(device)
    gg.set_default_dtype(dtype)


START = np.zeros(6)


# ---------------------------------------------------------------- SciPy, directly


@pytest.mark.parametrize(
    "method", ["BFGS", "L-BFGS-B", "CG", "SLSQP", "Newton-CG", "trust-exact", "trust-krylov"]
)
def test_methods_with_derivatives_find_the_minimum(example, method):
    f = example.rosenbrock
    second = {}
    if method in ("Newton-CG", "trust-krylov"):
        second["hessp"] = lambda x, p: gg.hvp(f, x, p)
    elif method == "trust-exact":
        second["hess"] = gg.hessian(f)
    found = optimize.minimize(f, START, method=method, jac=gg.grad(f), **second)
    assert found.success, found.message
    np.testing.assert_allclose(found.x, 1, atol=2e-3)


def test_value_and_gradient_in_one_call(example):
    f = example.rosenbrock
    found = optimize.minimize(gg.value_and_grad(f), START, jac=True, method="BFGS")
    apart = optimize.minimize(f, START, jac=gg.grad(f), method="BFGS")
    np.testing.assert_array_equal(found.x, apart.x)
    assert found.nfev == apart.nfev


def test_a_function_that_returns_a_tensor(example):
    value = lambda x: gg.sum((gg.exp(x) - 2) ** 2)  # noqa: E731
    found = optimize.minimize(value, np.zeros(3), jac=gg.grad(value), method="BFGS")
    np.testing.assert_allclose(found.x, np.log(2), atol=1e-5)


def test_the_hessian_is_that_of_scipy(example):
    x = np.linspace(0.5, 1.5, 6)
    np.testing.assert_allclose(gg.grad(example.rosenbrock)(x), optimize.rosen_der(x))
    np.testing.assert_allclose(gg.hessian(example.rosenbrock)(x), optimize.rosen_hess(x))
    p = np.linspace(-1, 1, 6)
    np.testing.assert_allclose(gg.hvp(example.rosenbrock, x, p), optimize.rosen_hess_prod(x, p))


def test_least_squares_root_and_newton_take_derivatives():
    t = np.linspace(0, 2, 30)
    y = 2.0 * np.exp(-1.5 * t)
    residuals = lambda p: p[0] * np.exp(-p[1] * t) - y  # noqa: E731  NumPy's own functions
    found = optimize.least_squares(residuals, [1.0, 1.0], jac=gg.jacobian(residuals))
    np.testing.assert_allclose(found.x, [2.0, 1.5], rtol=1e-6)
    f = lambda x: np.stack([x[0] ** 2 + x[1] - 3, x[0] - x[1] + 1])  # noqa: E731
    root = optimize.root(f, [1.0, 1.0], jac=gg.jacobian(f))
    np.testing.assert_allclose(root.x, [1.0, 2.0])
    g = lambda x: x**3 - 2  # noqa: E731
    assert optimize.newton(g, 1.0, fprime=gg.grad(g), fprime2=gg.grad(gg.grad(g))) == pytest.approx(
        2 ** (1 / 3)
    )


# ---------------------------------------------------------------- the example


@pytest.mark.parametrize("method", ["BFGS", "Newton-CG"])
def test_both_problems_on_every_device(example, device, method):
    gg.manual_seed(0)
    found = example.solve(example.rosenbrock, START, method, device)
    assert found.success, found.message
    np.testing.assert_allclose(found.x, 1, atol=2e-3)
    found = example.solve(example.decay(), np.array([1.0, 1.0, 0.0]), method, device)
    assert found.success, found.message
    np.testing.assert_allclose(found.x, example.TRUE, atol=0.05)


def test_the_program_prints_a_line_for_each_run(example, capsys):
    example.main(["--size", "4", "--device", "sim"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["problem", "method"],
        ["rosenbrock", "BFGS"], ["rosenbrock", "Newton-CG"],
        ["decay", "BFGS"], ["decay", "Newton-CG"],
    ]  # fmt: skip
    assert lines[0].endswith("on sim:0")
    for line in lines[1:3]:
        assert re.search(r"\((1\.000\d|0\.999\d), ", line)


def test_one_variable_is_refused(example, capsys):
    with pytest.raises(SystemExit):
        example.main(["--size", "1"])
    assert "has two variables or more" in capsys.readouterr().err
