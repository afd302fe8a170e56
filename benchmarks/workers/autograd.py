"""HIPS autograd's side of the benchmark; the layers and the optimizer are written by hand."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
from cases import CHAIN_ROUNDS, LR, MOMENTUM, Case, data, operand, weights

VERSIONS = {"autograd": version("autograd"), "numpy": np.__version__}


def prepare(device: str, threads: int) -> None:
    """``threads`` reaches NumPy's BLAS by environment variables, set before it was imported."""
    if device != "cpu":
        raise ImportError("autograd runs on a CPU only")


def synchronize(device: str) -> None:
    """NumPy has done its work when it returns."""


def to_numpy(result: Any) -> np.ndarray:
    """What a step returned, as an array."""
    return np.asarray(result)


def _loss(case: Case) -> Callable[[list[Any]], Any]:
    """The mean squared error of the network of a case, as a function of its parameters."""
    x, y = data(case)

    def loss_of(parameters: list[Any]) -> Any:
        h = x
        last = len(parameters) - 2
        for i in range(0, len(parameters), 2):
            h = anp.dot(h, parameters[i]) + parameters[i + 1]
            if i != last:
                h = anp.tanh(h)
        d = h - y
        return anp.mean(d * d)

    return loss_of


def step(case: Case, device: str) -> Callable[[], Any]:
    """A training step: forward, mean squared error, backward, SGD with momentum."""
    parameters = [array for pair in weights(case) for array in pair]
    velocities = [np.zeros_like(p) for p in parameters]
    value_and_grad = autograd.value_and_grad(_loss(case))

    def run() -> Any:
        loss, gradients = value_and_grad(parameters)
        for p, g, v in zip(parameters, gradients, velocities):
            v *= MOMENTUM
            v += g
            p -= LR * v
        return loss

    return run


def chain(case: Case, device: str) -> Callable[[], Any]:
    """Elementwise ops forward and backward. Returns the gradient."""
    x = operand(case)
    ones = np.ones(case.sizes, np.float32)

    def function(x: Any) -> Any:
        y = x
        for _ in range(CHAIN_ROUNDS):
            y = anp.tanh(y * x) + 0.5
        return y

    return lambda: autograd.make_vjp(function)(x)[0](ones)


def hvp(case: Case, device: str) -> Callable[[], Any]:
    """The Hessian of the loss by all parameters, times them. Returns what it gives first."""
    parameters = [array for pair in weights(case) for array in pair]
    gradient = autograd.grad(_loss(case))

    def along(parameters: list[Any], vectors: list[Any]) -> Any:
        return sum(anp.sum(d * v) for d, v in zip(gradient(parameters), vectors))

    product = autograd.grad(along)
    return lambda: product(parameters, parameters)[0]


def derivative(case: Case, device: str) -> Callable[[], Any]:
    """A derivative of higher order, elementwise."""
    x = operand(case)

    def function(x: Any) -> Any:
        return anp.tanh(x) * anp.exp(-(x * x))

    for _ in range(case.order):
        function = autograd.elementwise_grad(function)
    return lambda: function(x)


def op(case: Case, device: str) -> Callable[[], Any]:
    """One op forward and backward. Returns the gradient."""
    x = operand(case)
    function = {
        "add": lambda x: x + x,
        "mul": lambda x: x * x,
        "tanh": anp.tanh,
        "sum": anp.sum,
        "matmul": lambda x: anp.dot(x, x),
    }[case.op]
    ones = np.ones(np.shape(function(x)), np.float32)
    return lambda: autograd.make_vjp(function)(x)[0](ones)
