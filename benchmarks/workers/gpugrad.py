"""gpugrad's side of the benchmark, through its public API as a user would write it."""

import contextlib
import cProfile
import io
import pstats
import tracemalloc
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
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
from gpu_cases import BOTH, gradient, operands, products

import gpugrad as gg

VERSIONS = {"gpugrad": gg.__version__, "numpy": np.__version__}


def prepare(device: str, threads: int) -> None:
    """``threads`` reaches NumPy's BLAS by environment variables, set before it was imported."""
    if device == "cuda":
        import cupy

        if (reason := gg.cuda.why_unavailable()) is not None:
            raise ImportError(reason)
        VERSIONS["cupy"] = cupy.__version__
        VERSIONS["cuda"] = str(cupy.cuda.runtime.runtimeGetVersion())
        VERSIONS["cuda driver"] = str(cupy.cuda.runtime.driverGetVersion())


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    gg.Device(device).synchronize()


def release(device: str) -> None:
    """Give unused memory back, for the other processes."""
    if device == "cuda":
        gg.cuda.empty_cache()


def to_numpy(result: Any) -> np.ndarray:
    """What a step returned, a Tensor or a raw array, on the host."""
    return gg.Device("cpu").send(result.data if isinstance(result, gg.Tensor) else result)


def mlp(case: Case, device: str) -> gg.nn.Module:
    """The network of a case, with its weights."""
    model: gg.nn.Module
    if case.norm:
        model = normalized(case)
    else:
        model = gg.nn.MLP(case.sizes[0], list(case.sizes[1:]), activation="tanh")
    transposed = gg.nn.Linear(2, 3).weight.shape == (3, 2)
    values = [a for w, b in weights(case) for a in (w.T if transposed else w, b)]
    parameters = [
        parameter
        for layer in model.modules()
        if isinstance(layer, gg.nn.Linear)
        for parameter in layer.parameters()
    ]
    if len(parameters) != len(values):
        raise RuntimeError(f"MLP has {len(parameters)} parameters, expected {len(values)}")
    with gg.no_grad():
        for parameter, value in zip(parameters, values):
            parameter.data[...] = value
    return model.to(device).to(dtype(case))


def normalized(case: Case) -> gg.nn.Module:
    """An MLP with layer normalization before each activation."""
    layers: list[gg.nn.Module] = []
    for nin, nout in zip(case.sizes[:-1], case.sizes[1:]):
        layers += [gg.nn.Linear(nin, nout), gg.nn.LayerNorm(nout), gg.nn.Tanh()]
    return gg.nn.Sequential(*layers[:-2])


def phases(case: Case, device: str) -> dict[str, Callable[[], Any]]:
    """The parts of a training step, in order; the first of them gives the loss."""
    x, y = (gg.tensor(array, dtype=array.dtype, device=device) for array in data(case))
    model = mlp(case, device)
    optimizer: gg.optim.Optimizer
    if case.optimizer == "adam":
        optimizer = gg.optim.Adam(model.parameters(), lr=ADAM_LR, betas=BETAS, eps=EPS)
    else:
        momentum = 0.0 if case.optimizer == "plain" else MOMENTUM
        optimizer = gg.optim.SGD(model.parameters(), lr=LR, momentum=momentum)
    criterion = getattr(gg.nn.functional, case.loss)
    loss: Any = None

    def forward() -> Any:
        nonlocal loss
        loss = criterion(model(x), y)
        return loss

    def backward() -> None:
        optimizer.zero_grad()
        loss.backward()

    return {"forward": forward, "backward": backward, "optimizer": optimizer.step}


def step(case: Case, device: str) -> Callable[[], Any]:
    """A training step: forward, the loss, backward, the optimizer. Returns the loss."""
    forward, backward, update = phases(case, device).values()

    def run() -> gg.Tensor:
        loss = forward()
        backward()
        update()
        return loss

    return run


def convolution(case: Case, device: str) -> Callable[[], Any]:
    """A training step of a network of two convolutions. Returns the loss."""
    nn = gg.nn
    x, y = (gg.tensor(array, dtype=array.dtype, device=device) for array in images(case))
    _, first, second = case.sizes
    arrays = kernels(case)
    model = nn.Sequential(
        nn.Conv2d(1, first, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2) if pooled(case) > 1 else nn.Identity(),
        nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(arrays[-2].shape[1], 10),
    ).to(device)  # fmt: skip
    with gg.no_grad():
        for parameter, array in zip(model.parameters(), arrays, strict=True):
            parameter[...] = gg.tensor(array, device=device)
    optimizer = gg.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)

    def run() -> gg.Tensor:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return run


def sequence(case: Case, device: str) -> Callable[[], Any]:
    """A training step of an LSTM or a transformer, by Adam. Returns the loss."""
    nn = gg.nn
    x, y = (gg.tensor(array, dtype=array.dtype, device=device) for array in sequences(case))
    hidden = case.sizes[2]
    if case.op == "lstm":
        model = nn.LSTM(case.sizes[1], hidden, batch_first=True).to(device)
    else:
        layer = nn.TransformerEncoderLayer(hidden, 4, 4 * hidden, 0.0, batch_first=True)
        model = nn.TransformerEncoder(layer, case.sizes[3]).to(device)
    values = parameters({name: tuple(p.shape) for name, p in model.named_parameters()})
    with gg.no_grad():
        for name, p in model.named_parameters():
            p[...] = gg.tensor(values[name], device=device)
    optimizer = gg.optim.Adam(model.parameters(), lr=ADAM_LR, betas=BETAS, eps=EPS)

    def run() -> gg.Tensor:
        result = model(x)[0] if case.op == "lstm" else model(x, is_causal=True)
        loss = nn.functional.mse_loss(result, y)
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


def fit(case: Case, device: str) -> Callable[[], Any]:
    """The normal equations of a fit: JᵀJ and Jᵀr of a Runge-Kutta solution, stacked."""
    p, angles = (gg.tensor(array, device=device) for array in fit_data(case))
    start = tuple(gg.tensor(np.float32(value), device=device) for value in (1.0, 0.0))

    def residuals(p: Any) -> Any:
        def advance(state: Any, _: Any) -> Any:
            state = pendulum(gg.sin, p, *state)
            return state, state[0]

        return gg.scan(advance, start, length=case.sizes[0])[1] - angles

    def run() -> gg.Tensor:
        r, j = residuals(p), gg.jacobian(residuals)(p)
        return gg.concatenate([j.T @ j, (j.T @ r)[None]])

    return run


def hvp(case: Case, device: str) -> Callable[[], Any]:
    """The Hessian of the loss by all parameters, times them. Returns what it gives first."""
    x, y = (gg.tensor(array, device=device) for array in data(case))
    model = mlp(case, device)
    parameters = list(model.parameters())
    vectors = [p.detach().clone() for p in parameters]

    def run() -> gg.Tensor:
        loss = gg.nn.functional.mse_loss(model(x), y)
        slopes = gg.gradients([loss], parameters, create_graph=True)
        along = sum((d * v).sum() for d, v in zip(slopes, vectors))
        return gg.gradients([along], parameters)[0].T

    return run


BATCHED: dict[str, Callable[[Any], Any]] = {
    "samples": lambda f: gg.vmap(gg.grad(f), in_axes=(None, 0, 0)),
    "gradient": gg.grad,
    "reverse": lambda f: gg.jacobian(f, mode="reverse"),
    "forward": lambda f: gg.jacobian(f, mode="forward"),
    "hessian": gg.hessian,
}


def batched(case: Case, device: str) -> Callable[[], Any]:
    """A derivative that is computed for many samples, rows or columns. Returns all arrays of it."""
    f, arguments = problem(case, gg, lambda array: gg.tensor(array, device=device))
    derivative = BATCHED[case.op](f)

    def run() -> tuple[Any, ...]:
        result = derivative(*arguments)
        return sum(result, ()) if isinstance(result, list) else (result,)

    return run


def derivative(case: Case, device: str) -> Callable[[], Any]:
    """A derivative of higher order, elementwise."""
    x = gg.tensor(operand(case), device=device, requires_grad=True)

    def run() -> gg.Tensor:
        y = gg.tanh(x) * gg.exp(-(x * x))
        for left in range(case.order, 0, -1):
            (y,) = gg.gradients([y.sum()], [x], create_graph=left > 1)
        return y

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


OPS: dict[str, Callable[[Any, Any], Any]] = {
    "exp": lambda x, other: gg.exp(x),
    "mul": lambda x, other: x * other,
    "broadcast": lambda x, other: x * other,
    "sum": lambda x, other: gg.sum(x, axis=1),
    "softmax": lambda x, other: gg.softmax(x, axis=-1),
    "matmul": lambda x, other: x @ other,
    "index": lambda x, other: x[other],
}


def _leaves(case: Case, device: str) -> tuple[Any, Any]:
    first, other = operands(case)
    x = gg.tensor(first, device=device, requires_grad=True)
    if other is None:
        return x, None
    return x, gg.tensor(other, dtype=other.dtype, device=device, requires_grad=case.op in BOTH)


def forward(case: Case, device: str) -> Callable[[], Any]:
    """One op, recorded. Returns its output."""
    x, other = _leaves(case, device)
    function = OPS[case.op]
    return lambda: function(x, other)


def backward(case: Case, device: str) -> Callable[[], Any]:
    """The backward pass of one op, over the same graph. Returns the gradient."""
    x, other = _leaves(case, device)
    y = OPS[case.op](x, other)
    given = gg.tensor(gradient(y.shape), device=device)

    def run() -> gg.Tensor:
        x.grad = None
        if case.op in BOTH:
            other.grad = None
        y.backward(given, retain_graph=True)
        return x.grad

    return run


def matmuls(case: Case, device: str) -> Callable[[], Any]:
    """The matrix products of a case and nothing else, into memory that is there already."""
    xp = gg.Device(device).xp
    made = []
    for first, second, a_turned, b_turned in products(case):
        a, b = (xp.ones(shape, dtype=dtype(case)) * 0.5 for shape in (first, second))
        a, b = a.T if a_turned else a, b.T if b_turned else b
        made.append((a, b, xp.empty((a.shape[0], b.shape[1]), dtype=dtype(case))))
    matmul = xp.matmul

    def run() -> Any:
        for a, b, out in made:
            matmul(a, b, out=out)
        return made[0][2]

    return run


def copy(case: Case, device: str) -> Callable[[], Any]:
    """A copy from one array to another."""
    xp = gg.Device(device).xp
    source, target = (xp.ones(case.sizes, dtype=dtype(case)) for _ in range(2))
    copyto = xp.copyto

    def run() -> Any:
        copyto(target, source)
        return target

    return run


def idle(device: str) -> contextlib.AbstractContextManager[Any]:
    """A context in which the stand-in driver counts what it is asked for and does nothing."""
    if device != "cuda":
        return contextlib.nullcontext()
    import fakecuda

    return fakecuda.idle()


def counted(run: Callable[[], Any]) -> dict[str, Any]:
    """What a step asks of the stand-in driver: kernels, library calls, copies, waits."""
    import fakecuda

    with fakecuda.count() as counts:
        run()
    return {
        "launches": counts.total_launches,
        "library": counts.total_library,
        "copies": counts.total_copies,
        "waits": counts.total_waits,
        "kernels": dict(counts.launches),
    }


def peak(run: Callable[[], Any], device: str, steps: int) -> int:
    """The most memory in use during some steps: CuPy's pool's, or what Python traces."""
    if device == "cuda":
        gg.cuda.reset_peak()
        for _ in range(steps):
            run()
        return int(gg.cuda.memory_stats()["peak"])
    tracemalloc.start()
    for _ in range(steps):
        run()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def profile(case: Case, device: str, steps: int) -> str:
    """Where the time of a training step goes: by phase, by kernel, by Python function."""
    parts = phases(case, device)
    for _ in range(3):
        for part in parts.values():
            part()
    lines = ["phase         host alone  host in row device in row   (medians of a step)"]
    rows = [_clocked(parts, device) for _ in range(steps)]
    for name in parts:
        alone, row, there = (float(np.median([row[i][name] for row in rows])) for i in range(3))
        lines.append(
            f"{name:10} {alone * 1e6:10.0f} µs {row * 1e6:10.0f} µs {there * 1e6:12.0f} µs"
        )
    lines += ["host alone: with the device waited for before and after", ""]
    return "\n".join([*lines, _kernels(parts, device, steps), "", _functions(parts, steps)])


def _clocked(parts: dict[str, Callable[[], Any]], device: str) -> list[dict[str, float]]:
    """Seconds of each phase: alone and waited for; in a row, on the host and on the device."""
    alone, row, there = {}, {}, {}
    for name, part in parts.items():
        synchronize(device)
        start = perf_counter()
        part()
        synchronize(device)
        alone[name] = perf_counter() - start
    marks = []
    for name, part in parts.items():
        begun = _mark(device)
        start = perf_counter()
        part()
        row[name] = perf_counter() - start
        marks.append((name, begun, _mark(device)))
    synchronize(device)
    for name, begun, ended in marks:
        there[name] = _between(begun, ended)
    return [alone, row, there]


def _mark(device: str) -> Any:
    """A point in time on the device: an event there, or what the clock says."""
    if device != "cuda":
        return perf_counter()
    import cupy

    event = cupy.cuda.Event()
    event.record()
    return event


def _between(begun: Any, ended: Any) -> float:
    if isinstance(begun, float):
        return float(ended - begun)
    import cupy

    return float(cupy.cuda.get_elapsed_time(begun, ended)) / 1e3


def _kernels(parts: dict[str, Callable[[], Any]], device: str, steps: int) -> str:
    """The kernels of a step by device time. PyTorch's profiler sees those of the whole process."""
    if device != "cuda":
        return f"no kernels on {device}"
    try:
        import torch
        from torch.profiler import ProfilerActivity
    except ImportError as error:
        return f"no list of kernels: it takes PyTorch's profiler ({error})"
    if not torch.cuda.is_available():
        return "no list of kernels: it takes PyTorch's profiler, and this PyTorch finds no CUDA"
    torch.cuda.init()
    with torch.profiler.profile(activities=[ProfilerActivity.CUDA]) as found:
        for _ in range(steps):
            for part in parts.values():
                part()
        synchronize(device)
    on_device = (k for k in found.key_averages() if str(k.device_type).endswith("CUDA"))
    kinds = [k for k in on_device if k.self_device_time_total > 0]
    kinds.sort(key=lambda k: -k.self_device_time_total)
    total = sum(k.self_device_time_total for k in kinds) / steps
    launched = sum(k.count for k in kinds) / steps
    lines = [f"{launched:.0f} kernels and copies a step, {total:.0f} µs on the device"]
    lines += [
        f"{k.self_device_time_total / steps:9.0f} µs {k.count / steps:7.1f} x  {k.key[:80]}"
        for k in kinds[:20]
    ]
    return "\n".join(lines)


def _functions(parts: dict[str, Callable[[], Any]], steps: int) -> str:
    """The Python functions of a step by the time in themselves; the profiler slows them."""
    seen = cProfile.Profile()
    seen.enable()
    for _ in range(steps):
        for part in parts.values():
            part()
    seen.disable()
    text = io.StringIO()
    pstats.Stats(seen, stream=text).strip_dirs().sort_stats("tottime").print_stats(15)
    table = text.getvalue().partition("ncalls")[2]
    return f"host, {steps} steps:\n   ncalls{table.rstrip()}"
