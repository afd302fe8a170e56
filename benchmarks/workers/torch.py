"""PyTorch's side of the benchmark: eager mode, the optimizer with its defaults."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from cases import CHAIN_ROUNDS, LR, MOMENTUM, Case, data, operand, weights

VERSIONS = {"torch": torch.__version__}


def prepare(device: str, threads: int) -> None:
    """The same number of threads as everyone; full float32 products (no TF32) on a GPU."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ImportError("this PyTorch finds no CUDA")
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = False


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def to_numpy(result: Any) -> np.ndarray:
    """What a step returned, on the host."""
    return result.detach().cpu().numpy()


def step(case: Case, device: str) -> Callable[[], Any]:
    """A training step: forward, mse_loss, backward, SGD with momentum. Returns the loss."""
    x, y = (torch.tensor(array, device=device) for array in data(case))
    layers: list[torch.nn.Module] = []
    for w, b in weights(case):
        linear = torch.nn.Linear(*w.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(w.T))
            linear.bias.copy_(torch.tensor(b))
        layers += [linear, torch.nn.Tanh()]
    model = torch.nn.Sequential(*layers[:-1]).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    mse_loss = torch.nn.functional.mse_loss

    def run() -> torch.Tensor:
        loss = mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return run


def chain(case: Case, device: str) -> Callable[[], Any]:
    """Elementwise ops forward and backward. Returns the gradient."""
    x = torch.tensor(operand(case), device=device, requires_grad=True)
    ones = torch.ones(case.sizes, device=device)
    tanh = torch.tanh

    def run() -> torch.Tensor | None:
        x.grad = None
        y = x
        for _ in range(CHAIN_ROUNDS):
            y = tanh(y * x) + 0.5
        y.backward(ones)
        return x.grad

    return run


def op(case: Case, device: str) -> Callable[[], Any]:
    """One op forward and backward. Returns the gradient."""
    x = torch.tensor(operand(case), device=device, requires_grad=True)
    function: Callable[[torch.Tensor], torch.Tensor] = {
        "add": lambda x: x + x,
        "mul": lambda x: x * x,
        "tanh": torch.tanh,
        "sum": torch.sum,
        "matmul": lambda x: x @ x,
    }[case.op]
    ones = torch.ones(function(x).shape, device=device)

    def run() -> torch.Tensor | None:
        x.grad = None
        function(x).backward(ones)
        return x.grad

    return run
