"""gpugrad's side of the benchmark, through its public API as a user would write it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from cases import CHAIN_ROUNDS, LR, MOMENTUM, Case, data, operand, weights

import gpugrad as gg

VERSIONS = {"gpugrad": gg.__version__, "numpy": np.__version__}


def prepare(device: str, threads: int) -> None:
    """``threads`` reaches NumPy's BLAS by environment variables, set before it was imported."""
    if device == "cuda":
        import cupy

        VERSIONS["cupy"] = cupy.__version__


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        gg.cuda.synchronize()


def to_numpy(result: Any) -> np.ndarray:
    """What a step returned, on the host."""
    return result.detach().numpy()


def step(case: Case, device: str) -> Callable[[], Any]:
    """A training step: forward, mse_loss, backward, SGD with momentum. Returns the loss."""
    x, y = (gg.tensor(array, device=device) for array in data(case))
    model = gg.nn.MLP(case.sizes[0], list(case.sizes[1:]), activation="tanh")
    transposed = gg.nn.Linear(2, 3).weight.shape == (3, 2)
    values = [a for w, b in weights(case) for a in (w.T if transposed else w, b)]
    parameters = list(model.parameters())
    if len(parameters) != len(values):
        raise RuntimeError(f"MLP has {len(parameters)} parameters, expected {len(values)}")
    with gg.no_grad():
        for parameter, value in zip(parameters, values):
            parameter.data[...] = value
    model.to(device)
    optimizer = gg.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    mse_loss = gg.nn.functional.mse_loss

    def run() -> gg.Tensor:
        loss = mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return run


def chain(case: Case, device: str) -> Callable[[], Any]:
    """Elementwise ops forward and backward. Returns the gradient."""
    x = gg.tensor(operand(case), device=device, requires_grad=True)
    ones = gg.tensor(np.ones(case.sizes, np.float32), device=device)
    tanh = gg.tanh

    def run() -> gg.Tensor:
        x.grad = None
        y = x
        for _ in range(CHAIN_ROUNDS):
            y = tanh(y * x) + 0.5
        y.backward(ones)
        return x.grad

    return run


def op(case: Case, device: str) -> Callable[[], Any]:
    """One op forward and backward. Returns the gradient."""
    x = gg.tensor(operand(case), device=device, requires_grad=True)
    function = {
        "add": lambda x: x + x,
        "mul": lambda x: x * x,
        "tanh": gg.tanh,
        "sum": gg.sum,
        "matmul": lambda x: x @ x,
    }[case.op]
    shape = function(x).shape
    ones = gg.tensor(np.ones(shape, np.float32), device=device)

    def run() -> gg.Tensor:
        x.grad = None
        function(x).backward(ones)
        return x.grad

    return run
