"""The timed cases, their data and their targets. Imports NumPy alone.

Every worker takes the same float32 arrays and the same initial weights from here, so that the
frameworks compute the same numbers; run.py compares the first results before it times anything.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

# The settings of the optimizers "sgd" (with momentum), "plain" (SGD without) and "adam".
LR = 1e-3
MOMENTUM = 0.9
ADAM_LR = 1e-5  # small, since each weight of a wide layer takes a step of this size
BETAS = (0.9, 0.999)
EPS = 1e-8

CHAIN_ROUNDS = 50  # of three ops each: multiply by the input, tanh, add a number


@dataclass(frozen=True)
class Case:
    """One thing to time.

    ``kind`` names the workers' function: "step" (a training step of an MLP, with ``loss`` and, if
    ``norm``, a layer normalization after each layer but the last), "convolution" (a training step
    of a network of two convolutions), "sequence" (of an LSTM or a transformer, by ``op``), "chain"
    (elementwise ops forward and backward), "op" (one op forward and backward), "fit" (the normal
    equations of a fit of an ordinary differential equation, of ``sizes`` steps), "hvp" (the Hessian
    of an MLP's loss times a vector), "derivative" (of ``order``), "batched" (derivatives for which
    the peers have a ``vmap``, by ``op``: see derivatives.py); for a GPU "forward" and
    "backward" (of one op), "matmuls" (the bare products behind a case) and "copy".
    ``precision`` is "float32", "tf32" or "float16". ``target`` is the highest ratio that the
    project accepts of gpugrad's time to that of ``against``, on a CPU PyTorch's; or None.
    """

    name: str
    kind: str
    title: str
    sizes: tuple[int, ...] = ()
    batch: int = 0
    op: str = ""
    target: float | None = None
    against: str = "torch"
    optimizer: str = "sgd"
    precision: str = "float32"
    order: int = 1
    loss: str = "mse_loss"
    norm: bool = False


def _step(sizes: tuple[int, ...], batch: int, target: float, optimizer: str = "sgd") -> Case:
    name = "-".join(map(str, sizes))
    title = f"{name}, batch {batch}"
    if optimizer != "sgd":
        name, title = f"{name}-{optimizer}", f"{title}, {optimizer}"
    return Case(name, "step", title, sizes, batch, target=target, optimizer=optimizer)


def _sequence(op: str, sizes: tuple[int, ...], batch: int, title: str, target: float) -> Case:
    """``sizes`` are the length, the inputs, the hidden features, and for a transformer layers."""
    return Case(op, "sequence", title, sizes, batch, op=op, target=target, optimizer="adam")


def _convolution(size: int, channels: tuple[int, int], batch: int, target: float) -> Case:
    title = f"{size}×{size} digits, {'-'.join(map(str, channels))} channels, batch {batch}"
    sizes = (size, *channels)
    return Case(
        f"convolution-{size}", "convolution", title, sizes, batch, target=target,
        loss="cross_entropy",
    )  # fmt: skip


def _chain(n: int, target: float | None = None) -> Case:
    title = f"150 ops, {n} elements"
    return Case(f"chain-{n}", "chain", title, (n,), target=target)


def _op(op: str, sizes: tuple[int, ...]) -> Case:
    shape = "×".join(map(str, sizes))
    return Case(f"op-{op}", "op", f"{op}, {shape}", sizes, op=op)


def _hvp(sizes: tuple[int, ...], batch: int, target: float) -> Case:
    name = "-".join(map(str, sizes))
    return Case(f"hvp-{name}", "hvp", f"{name}, batch {batch}", sizes, batch, target=target)


def _batched(
    op: str, name: str, title: str, sizes: tuple[int, ...], batch: int = 0,
    target: float | None = None,
) -> Case:  # fmt: skip
    return Case(name, "batched", title, sizes, batch, op=op, target=target)


def _derivative(order: int, target: float) -> Case:
    title = f"derivative {order} of tanh(x) exp(-x²), 10 elements"
    return Case(f"derivative-{order}", "derivative", title, (10,), target=target, order=order)


CASES = {
    case.name: case
    for case in (
        _step((3, 4, 4, 1), 4, 0.6),
        _step((3, 3), 100, 0.6),
        _step((64, 128, 64, 10), 64, 0.8),
        _step((784, 256, 128, 10), 64, 1.0),
        _step((1024, 4096, 4096, 1024), 256, 1.05),
        _convolution(8, (16, 32), 64, 1.2),
        _convolution(28, (16, 32), 64, 1.2),
        _sequence("lstm", (50, 16, 64), 32, "LSTM of 64, 50 steps, batch 32", 0.9),
        _sequence(
            "transformer", (64, 128, 128, 4), 16, "transformer, 4 × 128, 64 tokens, batch 16", 0.9
        ),
        _step((64, 128, 64, 10), 64, 0.8, "adam"),
        _step((784, 256, 128, 10), 64, 1.0, "adam"),
        _chain(10, 0.6),
        _chain(1000),
        _chain(100_000),
        _chain(1_000_000),
        Case("fit-200", "fit", "RK4, 200 steps, and its Jacobian", (200,)),
        _hvp((3, 4, 4, 1), 4, 1.0),
        _hvp((64, 128, 64, 10), 64, 1.0),
        _derivative(2, 1.0),
        _derivative(3, 1.0),
        _batched(
            "samples",
            "samples",
            "gradients of each of 64 samples, 784-256-128-10",
            (784, 256, 128, 10),
            64,
            1.0,
        ),
        _batched("gradient", "samples-mean", "their mean's gradient", (784, 256, 128, 10), 64),
        _batched("reverse", "jacobian-400", "reverse Jacobian, 400 × 4, of RK4", (200,), 0, 0.8),
        _batched("forward", "jacobian-4", "forward Jacobian, 400 × 4, of RK4", (200,)),
        _batched("hessian", "hessian-50", "Hessian of a logistic regression", (50,), 0, 0.5),
        _op("add", (10,)),
        _op("mul", (10,)),
        _op("tanh", (10,)),
        _op("sum", (10, 10)),
        _op("matmul", (10, 10)),
    )
}

# The most that a compiled case may take of JAX's time under `jit`, as the project asks.
COMPILED_TARGETS = {
    "3-4-4-1": 0.4, "3-3": 0.4, "64-128-64-10": 0.7, "784-256-128-10": 0.85,
    "1024-4096-4096-1024": 0.95, "chain-10": 0.4, "chain-1000": 0.5, "chain-100000": 0.6,
    "chain-1000000": 0.6, "hvp-3-4-4-1": 0.5, "hvp-64-128-64-10": 0.8, "derivative-2": 0.8,
    "derivative-3": 0.8, "fit-200": 0.8, "convolution-8": 1.0, "convolution-28": 1.0, "lstm": 1.0,
    "transformer": 1.0,
}  # fmt: skip

QUICK = ("3-4-4-1", "3-3", "64-128-64-10", "chain-10", "hvp-3-4-4-1", "derivative-2")


def dtype(case: Case) -> np.dtype:
    """The dtype of a case's arrays: TF32 is a way of multiplying float32."""
    return np.dtype("float16" if case.precision == "float16" else "float32")


def data(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (batch, nin) of a "step" or "hvp" case; targets (batch, nout), or class numbers."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((case.batch, case.sizes[0])).astype(dtype(case))
    if case.loss == "cross_entropy":
        return x, rng.integers(0, case.sizes[-1], case.batch)
    y = rng.standard_normal((case.batch, case.sizes[-1])).astype(dtype(case))
    return x, y


def weights(case: Case) -> list[tuple[np.ndarray, np.ndarray]]:
    """(weight (nin, nout), bias (nout,)) of each layer of a "step" or "hvp" case."""
    rng = np.random.default_rng(1)
    return [
        (
            (rng.standard_normal((nin, nout)) / sqrt(nin)).astype(dtype(case)),
            np.zeros(nout, dtype=dtype(case)),
        )
        for nin, nout in zip(case.sizes[:-1], case.sizes[1:])
    ]


def sequences(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (batch, length, inputs) of a "sequence" case, and targets (batch, length, hidden)."""
    rng = np.random.default_rng(0)
    length, inputs, hidden = case.sizes[:3]
    x = rng.standard_normal((case.batch, length, inputs)).astype(dtype(case))
    return x, rng.standard_normal((case.batch, length, hidden)).astype(dtype(case))


def parameters(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Values for parameters by name: the same for all frameworks that name them alike."""
    rng = np.random.default_rng(1)
    return {
        name: (rng.standard_normal(shape) / sqrt(shape[-1])).astype(np.float32)
        for name, shape in sorted(shapes.items())
    }


def images(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Images (batch, 1, size, size) of a "convolution" case, and the classes of ten."""
    rng = np.random.default_rng(0)
    size = case.sizes[0]
    x = rng.standard_normal((case.batch, 1, size, size)).astype(dtype(case))
    return x, rng.integers(0, 10, case.batch)


def pooled(case: Case) -> int:
    """How often a "convolution" case halves its images: those of 8 pixels once."""
    return 1 if case.sizes[0] < 16 else 2


def kernels(case: Case) -> list[np.ndarray]:
    """The weights and biases of two convolutions, 3 × 3, and of the linear layer behind them."""
    rng = np.random.default_rng(1)
    size, first, second = case.sizes
    features = second * (size // 2 ** pooled(case)) ** 2
    arrays: list[np.ndarray] = []
    for shape in ((first, 1, 3, 3), (second, first, 3, 3), (10, features)):
        fan = np.prod(shape[1:])
        arrays.append((rng.standard_normal(shape) / sqrt(fan)).astype(dtype(case)))
        arrays.append(np.zeros(shape[0], dtype(case)))
    return arrays


def operand(case: Case) -> np.ndarray:
    """The float32 array that all other cases start from, between 0.5 and 1.5."""
    return np.random.default_rng(2).uniform(0.5, 1.5, case.sizes).astype(np.float32)


FIT_STEP = 0.05  # seconds, of the pendulum of a "fit" case


def fit(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Stiffness and damping of a pendulum (2,), and the angles to fit at each step."""
    rng = np.random.default_rng(3)
    angles = np.cos(FIT_STEP * np.arange(1, case.sizes[0] + 1)) + 0.1 * rng.standard_normal()
    return np.array([1.2, 0.1], np.float32), angles.astype(np.float32)


def pendulum(sine: Callable[[Any], Any], p: Any, angle: Any, speed: Any) -> tuple[Any, Any]:
    """The next angle and speed by the classical Runge-Kutta method, in any framework."""

    def rates(angle: Any, speed: Any) -> tuple[Any, Any]:
        return speed, -p[0] * sine(angle) - p[1] * speed

    h = FIT_STEP
    a1, b1 = rates(angle, speed)
    a2, b2 = rates(angle + h / 2 * a1, speed + h / 2 * b1)
    a3, b3 = rates(angle + h / 2 * a2, speed + h / 2 * b2)
    a4, b4 = rates(angle + h * a3, speed + h * b3)
    total = (a1 + 2 * a2 + 2 * a3 + a4, b1 + 2 * b2 + 2 * b3 + b4)
    return angle + h / 6 * total[0], speed + h / 6 * total[1]
