"""CUDA kernels of your own, with gradient kernels: a robust loss, and atoms that attract.

    python examples/kernel.py                  # no GPU: the twins in NumPy
    python examples/kernel.py --device cuda    # the kernels

Each op has two bodies. On a GPU it calls a kernel compiled by CuPy: an ElementwiseKernel for
the loss, a RawKernel for the atoms, whose N x N distances never exist as an array. Elsewhere
it computes the same with the functions of ``xp``. This twin has three uses: the program
runs and is tested on machines with no GPU; the kernel is tested against it on a GPU; and second
derivatives differentiate it, since a kernel takes no tensors.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import common
import numpy as np

import gpugrad as gg

TYPES = {"float32": "float", "float64": "double"}


def has_kernels(xp: Any, x: Any) -> bool:
    """Whether there are kernels for an array: not for NumPy, the simulated device and tensors."""
    return hasattr(xp, "RawKernel") and x.dtype.name in TYPES


# ---------------------------------------------------------------- elementwise


@cache
def huber_kernels() -> tuple[Any, Any]:
    """The pseudo-Huber loss and its gradient. CuPy compiles them for each dtype it meets."""
    import cupy

    root = "const T s = sqrt(1 + (x / d) * (x / d));"
    loss = cupy.ElementwiseKernel("T x, T d", "T y", f"{root} y = d * d * (s - 1)", "huber")
    slope = cupy.ElementwiseKernel("T g, T x, T d", "T z", f"{root} z = g * x / s", "huber_slope")
    return loss, slope


@gg.custom_op(saves="x", kind="elementwise")
def huber(xp: Any, x: Any, *, d: float = 1.0) -> Any:
    """d² (√(1 + (x/d)²) - 1): x²/2 near 0, linear far from it."""
    if has_kernels(xp, x):
        return huber_kernels()[0](x, x.dtype.type(d))
    return d * d * (xp.sqrt(1 + (x / d) ** 2) - 1)


@huber.defvjp
def _(xp: Any, g: Any, y: Any, x: Any, d: float) -> Any:
    if has_kernels(xp, x):
        return huber_kernels()[1](g, x, x.dtype.type(d))
    return g * x / xp.sqrt(1 + (x / d) ** 2)


# ---------------------------------------------------------------- all pairs

# One thread for each atom loops over all others. Each atom has half of the potential
# 4 (r^-12 - r^-6) of a pair. The gradient kernel does the same with the derivative: pair i, j
# counts with the gradients of both energies.
PAIRS = r"""
template<typename T> __global__ void energy(const T* x, T* e, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    T sum = 0;
    for (int j = 0; j < n; ++j) {
        if (j == i) continue;
        T dx = x[3*i] - x[3*j], dy = x[3*i+1] - x[3*j+1], dz = x[3*i+2] - x[3*j+2];
        T r2 = dx*dx + dy*dy + dz*dz, s = 1 / (r2 * r2 * r2);
        sum += 2 * (s * s - s);
    }
    e[i] = sum;
}
template<typename T> __global__ void slope(const T* g, const T* x, T* d, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    T a = 0, b = 0, c = 0;
    for (int j = 0; j < n; ++j) {
        if (j == i) continue;
        T dx = x[3*i] - x[3*j], dy = x[3*i+1] - x[3*j+1], dz = x[3*i+2] - x[3*j+2];
        T r2 = dx*dx + dy*dy + dz*dz, s = 1 / (r2 * r2 * r2);
        T w = -12 * (2 * s * s - s) / r2 * (g[i] + g[j]);
        a += w * dx; b += w * dy; c += w * dz;
    }
    d[3*i] = a; d[3*i+1] = b; d[3*i+2] = c;
}
"""


@cache
def pair_kernel(name: str, dtype: str, device: int) -> Any:
    """One of the two kernels, compiled for a dtype; a compiled kernel belongs to a device."""
    import cupy

    wanted = f"{name}<{TYPES[dtype]}>"
    module = cupy.RawModule(code=PAIRS, options=("-std=c++17",), name_expressions=[wanted])
    return module.get_function(wanted)


def launch(xp: Any, name: str, out: Any, *arrays: Any) -> Any:
    """Fill ``out`` with a thread for each of its rows. A RawKernel ignores strides: copy them."""
    n = out.shape[0]
    kernel = pair_kernel(name, out.dtype.name, out.device.id)
    inputs = [xp.ascontiguousarray(array) for array in arrays]
    # The kernel's type: a Python int would be passed with 64 bits.
    kernel(((n + 127) // 128,), (128,), (*inputs, out, np.int32(n)))
    return out


def pairs(xp: Any, x: Any) -> tuple[Any, Any, Any]:
    """For the twins: the differences of all positions, their squared distances, and r^-6."""
    between = x[:, None] - x[None]
    r2 = xp.sum(between * between, axis=-1)
    same = r2 == 0
    r2 = xp.where(same, xp.ones_like(r2), r2)
    return between, r2, xp.where(same, xp.zeros_like(r2), r2**-3)


@gg.custom_op(saves="x")
def energies(xp: Any, x: Any) -> Any:
    """Each atom's share of the Lennard-Jones energy, (n,), of positions (n, 3)."""
    if has_kernels(xp, x):
        return launch(xp, "energy", xp.empty_like(x, shape=x.shape[:1]), x)
    _, _, s = pairs(xp, x)
    return xp.sum(2 * (s * s - s), axis=1)


@energies.defvjp
def _(xp: Any, g: Any, y: Any, x: Any) -> Any:
    if has_kernels(xp, x):
        return launch(xp, "slope", xp.empty_like(x, order="C"), g, x)
    between, r2, s = pairs(xp, x)
    w = -12 * (2 * s * s - s) / r2 * (g[:, None] + g[None])
    return xp.sum(w[..., None] * between, axis=1)


# ---------------------------------------------------------------- their uses


class Line(gg.nn.Module):
    """A slope and an intercept, both 0 at first."""

    def __init__(self) -> None:
        super().__init__()
        self.p = gg.nn.Parameter(gg.zeros(2))

    def forward(self, x: gg.Tensor) -> gg.Tensor:
        return self.p[0] * x + self.p[1]


class Moves(gg.nn.Module):
    """Moves each of some positions, at first by nothing."""

    def __init__(self, x: gg.Tensor) -> None:
        super().__init__()
        self.by = gg.nn.Parameter(gg.zeros_like(x))

    def forward(self, x: gg.Tensor) -> gg.Tensor:
        return x + self.by


def trainer_of(
    model: gg.nn.Module, loss: Callable[[Any, Any], Any], lr: float, **settings: Any
) -> gg.Trainer:
    """What moves the parameters of a model by Adam to where the loss is least."""
    optimizer = gg.optim.Adam(model.parameters(), lr=lr)
    return gg.Trainer(model, optimizer, loss, progress=None, **settings)


def fit_line(
    x: gg.Tensor, y: gg.Tensor, d: float | None, is_compiled: bool = False
) -> tuple[float, float]:
    """Slope and intercept, by the pseudo-Huber loss, or with ``d`` None by least squares."""

    def loss(found: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        off = found - y
        return (off * off if d is None else huber(off, d=d)).mean()

    line = Line()
    trainer_of(line, loss, 0.1, compile=is_compiled).fit([(x, y)] * 200)
    slope, intercept = line.p.detach().tolist()
    return slope, intercept


def lattice(atoms: int) -> gg.Tensor:
    """Positions on a cubic lattice, each a little off."""
    side = round(atoms ** (1 / 3) + 0.499)
    index = gg.arange(atoms)
    cells = [index // side**2, index // side % side, index % side]
    noise = gg.random.normal(scale=0.05, size=(atoms, 3))
    return 1.1 * gg.stack(cells, axis=1).astype(noise.dtype) + noise


def relax(x: gg.Tensor, **settings: Any) -> tuple[gg.Tensor, float]:
    """Positions from which atoms no longer move, and their energy."""
    moves = Moves(x)
    trainer = trainer_of(moves, lambda x, _: energies(x).sum(), 0.01, **settings)
    trainer.fit([(x, None)] * 500, resume=trainer.checkpoints is not None)
    with gg.no_grad():
        found = moves(x)
        return found, energies(found).sum().item()


def main(argv: Sequence[str] | None = None) -> None:
    """Fit a line through data with outliers, and let a cluster of atoms relax."""
    flags = common.parser((__doc__ or "").partition("\n")[0], trains=False, dtype="float64")
    flags.add_argument(
        "--atoms",
        type=common.positive_int,
        default=13,
        metavar="N",
        help="of the cluster (default: 13)",
    )
    common.add_checkpoints(flags, "after each 100 steps of the cluster")
    common.add_compile(flags)
    args = flags.parse_args(argv)
    device = common.setup(args)
    body = "kernels" if device.kind == "cuda" else "twins"
    print(f"{args.dtype} on {device}: {body}")

    print(
        "\n100 points of y = 2 x + 1, and 10 is added to those of x > 0.8: outliers. Least\n"
        "squares counts their errors squared, and follows them; the pseudo-Huber loss counts\n"
        "large errors as they are, and finds the line of the others."
    )
    x = gg.linspace(-1, 1, 100)
    noise = gg.random.normal(scale=0.1, size=100)
    y = 2 * x + 1 + noise + gg.where(x > 0.8, 10.0, 0.0)  # a tenth of the data is wrong
    for name, d in {"least squares": None, "pseudo-Huber": 0.1}.items():
        slope, intercept = fit_line(x, y, d, args.compile)
        print(f"{name:14} slope {slope:6.3f} (2)  intercept {intercept:6.3f} (1)")

    print("\natoms that attract each other, moved until no force is left:")
    saves = {"checkpoints": args.checkpoints, "save_steps": 100} if args.checkpoints else {}
    positions, energy = relax(
        lattice(args.atoms), compile=args.compile, callbacks=common.SameFlags(args), **saves
    )
    force = gg.grad(lambda x: energies(x).sum())(positions)
    print(f"{args.atoms} atoms: energy {energy:.4f}, largest force {abs(force).max().item():.2g}")


if __name__ == "__main__":
    common.run(main)
