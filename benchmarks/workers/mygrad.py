"""MyGrad's side of the benchmark; the layers and the optimizer are written by hand.

Its guard against writes to arrays in a graph is off, as its documentation advises for speed.
"""

from collections.abc import Callable
from typing import Any

import mygrad as mg
import numpy as np
from cases import CHAIN_ROUNDS, LR, MOMENTUM, Case, data, operand, weights

VERSIONS = {"mygrad": mg.__version__, "numpy": np.__version__}


def prepare(device: str, threads: int) -> None:
    """``threads`` reaches NumPy's BLAS by environment variables, set before it was imported."""
    if device != "cpu":
        raise ImportError("mygrad runs on a CPU only")
    mg.turn_memory_guarding_off()


def synchronize(device: str) -> None:
    """NumPy has done its work when it returns."""


def to_numpy(result: Any) -> np.ndarray:
    """What a step returned, as an array."""
    return np.asarray(result)


def step(case: Case, device: str) -> Callable[[], Any]:
    """A training step: forward, mean squared error, backward, SGD with momentum."""
    x, y = data(case)
    parameters = [mg.tensor(array) for pair in weights(case) for array in pair]
    velocities = [np.zeros_like(p.data) for p in parameters]
    last = len(parameters) - 2

    def run() -> Any:
        h: Any = x
        for i in range(0, len(parameters), 2):
            h = mg.matmul(h, parameters[i]) + parameters[i + 1]
            if i != last:
                h = mg.tanh(h)
        d = h - y
        loss = mg.mean(d * d)
        for p in parameters:
            p.null_grad()
        loss.backward()
        for p, v in zip(parameters, velocities):
            v *= MOMENTUM
            v += p.grad
            data_ = p.data
            data_ -= LR * v
        return loss

    return run


def chain(case: Case, device: str) -> Callable[[], Any]:
    """Elementwise ops forward and backward. Returns the gradient."""
    x = mg.tensor(operand(case))
    ones = np.ones(case.sizes, np.float32)

    def run() -> Any:
        x.null_grad()
        y = x
        for _ in range(CHAIN_ROUNDS):
            y = mg.tanh(y * x) + 0.5
        y.backward(ones)
        return x.grad

    return run


def op(case: Case, device: str) -> Callable[[], Any]:
    """One op forward and backward. Returns the gradient."""
    x = mg.tensor(operand(case))
    function: Callable[[Any], Any] = {
        "add": lambda x: x + x,
        "mul": lambda x: x * x,
        "tanh": mg.tanh,
        "sum": mg.sum,
        "matmul": lambda x: x @ x,
    }[case.op]
    ones = np.ones(function(x).shape, np.float32)

    def run() -> Any:
        x.null_grad()
        function(x).backward(ones)
        return x.grad

    return run
