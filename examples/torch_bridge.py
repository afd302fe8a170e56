"""PyTorch and gpugrad in one graph, both ways round, over the same memory.

    python examples/torch_bridge.py
    python examples/torch_bridge.py --device cuda    # a PyTorch with CUDA, and CuPy

``function_for_torch`` makes a gpugrad function a step of PyTorch's graph, by a
``torch.autograd.Function``; ``op_of_module`` makes a PyTorch module an op of gpugrad's, by
``gg.custom_op``. Arrays cross by DLPack, which copies nothing. Two fits use them: PyTorch's
optimizer finds the length and the friction of a pendulum whose swing gpugrad differentiates, and
gpugrad's optimizer trains a PyTorch module together with parameters of its own.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import common

import gpugrad as gg

try:
    import torch
    from torch.autograd.function import once_differentiable
except ImportError as missing:
    common.leave_without("PyTorch", "torch", missing)


# ---------------------------------------------------------------- arrays


def from_torch(x: "torch.Tensor", device: Any = None) -> gg.Tensor:
    """A gpugrad tensor over the memory of PyTorch's, without its graph."""
    return gg.from_dlpack(x.detach(), device=device)


def to_torch(t: gg.Tensor) -> "torch.Tensor":
    """A PyTorch tensor over the memory of gpugrad's, without its graph."""
    t = t.detach()
    return torch.from_dlpack(t.cpu() if t.device == "sim" else t)  # sim's arrays are not shared


@contextlib.contextmanager
def on_torchs_stream(device: gg.Device) -> Iterator[None]:
    """On a GPU, let CuPy queue its work where PyTorch does: each then sees the other's results.

    By default both are on the null stream already. Where they are not, one waits for the other at
    both ends; shared memory must then be held until both are done with it.
    """
    if device.kind != "cuda":
        yield
        return
    import cupy

    with device.activate():
        before = cupy.cuda.get_current_stream()
        theirs = cupy.cuda.Stream.from_external(torch.cuda.current_stream())
        theirs.wait_event(before.record())
        with theirs:
            yield
        before.wait_event(theirs.record())


# ---------------------------------------------------------------- gpugrad inside PyTorch


def function_for_torch(
    f: Callable[..., gg.Tensor], device: Any = "cpu"
) -> Callable[..., "torch.Tensor"]:
    """A function of PyTorch tensors with the forward and the derivatives of ``f``, of gpugrad.

    Its gradients have no graph: PyTorch cannot differentiate them again.
    """
    device = gg.Device(device)

    class Bridge(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: "torch.Tensor") -> "torch.Tensor":
            with on_torchs_stream(device), gg.enable_grad():
                leaves = [from_torch(x, device) for x in inputs]
                for leaf, needed in zip(leaves, ctx.needs_input_grad):
                    leaf.requires_grad_(needed)
                ctx.y = f(*leaves)
                ctx.leaves = [leaf for leaf in leaves if leaf.requires_grad]
                return to_torch(ctx.y)

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, g: "torch.Tensor") -> tuple[Any, ...]:
            with on_torchs_stream(device):
                ds = gg.gradients(
                    ctx.y, ctx.leaves, from_torch(g, device), retain_graph=True, allow_unused=True
                )
                gradients = iter(None if d is None else to_torch(d) for d in ds)
            return tuple(next(gradients) if needed else None for needed in ctx.needs_input_grad)

    def bridged(*inputs: "torch.Tensor") -> "torch.Tensor":
        result: torch.Tensor = Bridge.apply(*inputs)
        return result

    return bridged


# ---------------------------------------------------------------- PyTorch inside gpugrad


def op_of_module(
    module: "torch.nn.Module", device: Any = "cpu"
) -> tuple[Callable[[gg.Tensor], gg.Tensor], list[gg.Tensor]]:
    """A module as a function in gpugrad's graph, and its parameters as gpugrad's leaves.

    The leaves share the module's memory (except on sim), so an update of them trains the module.
    The gradient computes the module once more; there is no forward mode or second derivative.
    """
    device = gg.Device(device)
    names, parameters = zip(*module.named_parameters())

    def call(x: "torch.Tensor", *weights: "torch.Tensor") -> Any:
        return torch.func.functional_call(module, dict(zip(names, weights)), (x,))

    def shared(*arrays: Any) -> list["torch.Tensor"]:
        return [torch.from_dlpack(array) for array in arrays]

    def back(xp: Any, x: "torch.Tensor") -> Any:
        return xp.module.from_dlpack(x.detach().contiguous())

    # With host=True arrays of sim come as NumPy's; those of a GPU stay there.
    @gg.custom_op(name=type(module).__name__, saves="x weights", host=device.kind != "cuda")
    def op(xp: Any, x: Any, *weights: Any) -> Any:
        with on_torchs_stream(device), torch.no_grad():
            return back(xp, call(*shared(x, *weights)))

    @op.defvjp
    def _(xp: Any, g: Any, y: Any, x: Any, *weights: Any) -> Any:
        with on_torchs_stream(device):
            _, pull = torch.func.vjp(call, *shared(x, *weights))
            return tuple(back(xp, d) for d in pull(*shared(g)))

    leaves = [from_torch(p, device).requires_grad_() for p in parameters]
    return lambda x: op(x, *leaves), leaves


# ---------------------------------------------------------------- the fits


def swing(length: gg.Tensor, friction: gg.Tensor, steps: int = 60) -> gg.Tensor:
    """The angles of a pendulum that starts at rest at 1 radian, in steps of 0.05 s."""
    angle, speed, dt = length * 0 + 1.0, length * 0, 0.05
    angles = []
    for _ in range(steps):
        speed = speed - dt * (9.81 / length * gg.sin(angle) + friction * speed)
        angle = angle + dt * speed
        angles.append(angle)
    return gg.stack(angles)


def fit_pendulum(device: gg.Device, dtype: "torch.dtype") -> tuple[float, float]:
    """Length and friction, found by PyTorch's L-BFGS through gpugrad's derivatives."""
    torch_device = "cuda" if device.kind == "cuda" else "cpu"
    true = (
        torch.tensor(0.8, dtype=dtype, device=torch_device),
        torch.tensor(0.3, dtype=dtype, device=torch_device),
    )
    simulate = function_for_torch(swing, device)
    seen = simulate(*true)
    length, friction = (
        torch.tensor(value, dtype=dtype, device=torch_device, requires_grad=True)
        for value in (1.0, 0.1)
    )
    optimizer = torch.optim.LBFGS([length, friction], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> "torch.Tensor":
        optimizer.zero_grad()
        value = ((simulate(length, friction) - seen) ** 2).sum()
        value.backward()
        return value

    optimizer.step(loss)
    return length.item(), friction.item()


def fit_waves(device: gg.Device, dtype: str, steps: int = 300) -> tuple[float, float]:
    """The loss before and after gpugrad's Adam has trained PyTorch's module and frequencies."""
    torch_device = "cuda" if device.kind == "cuda" else "cpu"
    module = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    module.to(torch_device, getattr(torch, dtype))
    x = gg.random.uniform(-1, 1, (128, 1), dtype=dtype, device=device)
    target = gg.sin(3 * x) * gg.exp(-x * x)
    frequencies = gg.random.normal(0.0, 2.0, (1, 4), dtype=dtype, device=device).requires_grad_()
    network, weights = op_of_module(module, device)

    def loss() -> gg.Tensor:
        waves = gg.concat([gg.sin(x @ frequencies), gg.cos(x @ frequencies)], axis=1)
        return ((network(waves) - target) ** 2).mean()

    optimizer = gg.optim.Adam([frequencies, *weights], lr=0.01)
    before = loss().item()
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return before, loss().item()


def main(argv: Sequence[str] | None = None) -> None:
    """Fit the pendulum and the waves."""
    flags = common.parser((__doc__ or "").partition("\n")[0], trains=False)
    args = flags.parse_args(argv)
    device = common.setup(args)
    if device.kind == "cuda" and not torch.cuda.is_available():
        raise gg.DeviceError("this PyTorch has no CUDA; take --device cpu, or install one that has")
    torch.manual_seed(args.seed)
    print(f"{args.dtype} on {device}")
    length, friction = fit_pendulum(device, getattr(torch, args.dtype))
    print(f"pendulum: length {length:.4f} (0.8), friction {friction:.4f} (0.3)")
    before, after = fit_waves(device, args.dtype)
    print(f"waves: squared error {before:.4f} before, {after:.6f} after")


if __name__ == "__main__":
    common.run(main)
