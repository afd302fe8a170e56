"""PyTorch's side of the benchmark: eager mode, the optimizer with its defaults.

As "torch-graphs" the model and the loss are compiled with CUDA graphs.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from cases import (
    ADAM_LR,
    BETAS,
    CHAIN_ROUNDS,
    EPS,
    LR,
    MOMENTUM,
    Case,
    data,
    dtype,
    images,
    kernels,
    operand,
    parameters,
    pendulum,
    pooled,
    sequences,
    weights,
)
from cases import fit as fit_data
from derivatives import problem
from gpu_cases import BOTH, gradient, operands

VERSIONS = {"torch": torch.__version__}
WAY: list[str] = []  # "graphs", where it is asked for


def prepare(device: str, threads: int, *way: str) -> None:
    """The same number of threads as everyone."""
    if device == "sim":
        raise ImportError("PyTorch has no device sim")
    if device == "cuda" and not torch.cuda.is_available():
        raise ImportError("this PyTorch finds no CUDA")
    WAY.extend(way)
    torch.set_num_threads(threads)


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def release(device: str) -> None:
    """Give unused memory back, for the other processes; forget what was compiled."""
    if WAY:
        torch.compiler.reset()
    if device == "cuda":
        torch.cuda.empty_cache()


def to_numpy(result: Any) -> np.ndarray:
    """What a step returned, on the host."""
    return result.detach().cpu().numpy()


def mlp(case: Case, device: str) -> torch.nn.Module:
    """The network of a case, with its weights."""
    layers: list[torch.nn.Module] = []
    for w, b in weights(case):
        linear = torch.nn.Linear(*w.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(w.T))
            linear.bias.copy_(torch.tensor(b))
        layers += [linear, *([torch.nn.LayerNorm(len(b))] if case.norm else []), torch.nn.Tanh()]
    precision = torch.float16 if dtype(case) == np.float16 else torch.float32
    return torch.nn.Sequential(*layers[: -2 if case.norm else -1]).to(device, precision)


def step(case: Case, device: str) -> Callable[[], Any]:
    """A training step: forward, the loss, backward, the optimizer. Returns the loss."""
    torch.backends.cuda.matmul.allow_tf32 = case.precision == "tf32"
    x, y = (torch.tensor(array, device=device) for array in data(case))
    model = mlp(case, device)
    optimizer: torch.optim.Optimizer
    if case.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), lr=ADAM_LR, betas=BETAS, eps=EPS)
    else:
        momentum = 0.0 if case.optimizer == "plain" else MOMENTUM
        optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=momentum)
    criterion = getattr(torch.nn.functional, case.loss)

    def forward(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return criterion(model(x), y)

    if WAY:
        forward = torch.compile(forward, mode="reduce-overhead")

    def run() -> torch.Tensor:
        if WAY:
            torch.compiler.cudagraph_mark_step_begin()
        loss = forward(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return run


def convolution(case: Case, device: str) -> Callable[[], Any]:
    """A training step of a network of two convolutions. Returns the loss."""
    nn = torch.nn
    x, y = (torch.tensor(array, device=device) for array in images(case))
    _, first, second = case.sizes
    arrays = kernels(case)
    model = nn.Sequential(
        nn.Conv2d(1, first, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2) if pooled(case) > 1 else nn.Identity(),
        nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(arrays[-2].shape[1], 10),
    ).to(device)  # fmt: skip
    with torch.no_grad():
        for parameter, array in zip(model.parameters(), arrays, strict=True):
            parameter.copy_(torch.tensor(array))
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)

    def run() -> torch.Tensor:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return run


def sequence(case: Case, device: str) -> Callable[[], Any]:
    """A training step of an LSTM or a transformer, by Adam. Returns the loss."""
    nn = torch.nn
    x, y = (torch.tensor(array, device=device) for array in sequences(case))
    hidden = case.sizes[2]
    if case.op == "lstm":
        model = nn.LSTM(case.sizes[1], hidden, batch_first=True).to(device)
    else:
        layer = nn.TransformerEncoderLayer(hidden, 4, 4 * hidden, 0.0, batch_first=True)
        model = nn.TransformerEncoder(layer, case.sizes[3], enable_nested_tensor=False).to(device)
    values = parameters({name: tuple(p.shape) for name, p in model.named_parameters()})
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.tensor(values[name]))
    optimizer = torch.optim.Adam(model.parameters(), lr=ADAM_LR, betas=BETAS, eps=EPS)
    mask = nn.Transformer.generate_square_subsequent_mask(case.sizes[0], device=device)

    def run() -> torch.Tensor:
        result = model(x)[0] if case.op == "lstm" else model(x, mask, is_causal=True)
        loss = nn.functional.mse_loss(result, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return run


def fit(case: Case, device: str) -> Callable[[], Any]:
    """The normal equations of a fit: JᵀJ and Jᵀr of a Runge-Kutta solution, stacked."""
    p, angles = (torch.tensor(array, device=device) for array in fit_data(case))

    def residuals(p: torch.Tensor) -> torch.Tensor:
        angle, speed = torch.ones_like(p[0]), torch.zeros_like(p[0])
        found = []
        for _ in range(case.sizes[0]):
            angle, speed = pendulum(torch.sin, p, angle, speed)
            found.append(angle)
        return torch.stack(found) - angles

    def run() -> torch.Tensor:
        r, j = residuals(p), torch.func.jacfwd(residuals)(p).float()  # it gives float64
        return torch.cat([j.T @ j, (j.T @ r)[None]])

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


def hvp(case: Case, device: str) -> Callable[[], Any]:
    """The Hessian of the loss by all parameters, times them. Returns what it gives first."""
    x, y = (torch.tensor(array, device=device) for array in data(case))
    model = mlp(case, device)
    parameters = list(model.parameters())
    vectors = [p.detach().clone() for p in parameters]

    def run() -> torch.Tensor:
        loss = torch.nn.functional.mse_loss(model(x), y)
        slopes = torch.autograd.grad(loss, parameters, create_graph=True)
        along = sum((d * v).sum() for d, v in zip(slopes, vectors))
        return torch.autograd.grad(along, parameters)[0].T

    return run


BATCHED: dict[str, Callable[[Any], Any]] = {
    "samples": lambda f: torch.func.vmap(torch.func.grad(f), in_dims=(None, 0, 0)),
    "gradient": torch.func.grad,
    "reverse": torch.func.jacrev,
    "forward": lambda f: lambda p: torch.func.jacfwd(f)(p).float(),  # it gives float64
    "hessian": torch.func.hessian,
}


def batched(case: Case, device: str) -> Callable[[], Any]:
    """A derivative that is computed for many samples, rows or columns. Returns all arrays of it."""
    f, arguments = problem(case, torch, lambda array: torch.tensor(array, device=device))
    derivative = BATCHED[case.op](f)

    def run() -> tuple[Any, ...]:
        result = derivative(*arguments)
        return sum(result, ()) if isinstance(result, list) else (result,)

    return run


def derivative(case: Case, device: str) -> Callable[[], Any]:
    """A derivative of higher order, elementwise."""
    x = torch.tensor(operand(case), device=device, requires_grad=True)

    def run() -> torch.Tensor:
        y = torch.tanh(x) * torch.exp(-(x * x))
        for left in range(case.order, 0, -1):
            (y,) = torch.autograd.grad(y.sum(), [x], create_graph=left > 1)
        return y

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


OPS: dict[str, Callable[[Any, Any], torch.Tensor]] = {
    "exp": lambda x, other: torch.exp(x),
    "mul": lambda x, other: x * other,
    "broadcast": lambda x, other: x * other,
    "sum": lambda x, other: torch.sum(x, dim=1),
    "softmax": lambda x, other: torch.softmax(x, dim=-1),
    "matmul": lambda x, other: x @ other,
    "index": lambda x, other: x[other],
}


def _leaves(case: Case, device: str) -> tuple[Any, Any]:
    torch.backends.cuda.matmul.allow_tf32 = False
    first, other = operands(case)
    x = torch.tensor(first, device=device, requires_grad=True)
    if other is None:
        return x, None
    return x, torch.tensor(other, device=device, requires_grad=case.op in BOTH)


def forward(case: Case, device: str) -> Callable[[], Any]:
    """One op, recorded. Returns its output."""
    x, other = _leaves(case, device)
    function = OPS[case.op]
    return lambda: function(x, other)


def backward(case: Case, device: str) -> Callable[[], Any]:
    """The backward pass of one op, over the same graph. Returns the gradient."""
    x, other = _leaves(case, device)
    y = OPS[case.op](x, other)
    given = torch.tensor(gradient(tuple(y.shape)), device=device)

    def run() -> torch.Tensor | None:
        x.grad = None
        if case.op in BOTH:
            other.grad = None
        y.backward(given, retain_graph=True)
        return x.grad

    return run


def peak(run: Callable[[], Any], device: str, steps: int) -> int | None:
    """The most memory in use during some steps; None where PyTorch does not count it."""
    if device != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats()
    for _ in range(steps):
        run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()
