"""SciPy's optimisers on gpugrad's derivatives: Rosenbrock's function, and a fit of a curve.

    python examples/scipy_minimize.py
    python examples/scipy_minimize.py --size 50 --device sim

Nothing is adapted: ``gg.grad(f)`` takes a NumPy array and gives one, which is what
``scipy.optimize.minimize`` calls ``jac``; ``gg.hvp(f, x, p)`` is its ``hessp``, the Hessian
times a vector, for the price of two gradients. On another device than the CPU, `for_scipy`
carries the few numbers of SciPy there and back.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import common
import numpy as np

import gpugrad as gg

try:
    from scipy.optimize import OptimizeResult, minimize
except ImportError as missing:
    common.leave_without("SciPy", "scipy", missing)


def rosenbrock(x: Any) -> Any:
    """A curved valley with its lowest point at (1, 1, ..., 1).

    Plain arithmetic: NumPy arrays, CuPy arrays and Tensors can be put in.
    """
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


TRUE = np.array([2.5, 1.3, 0.5])  # height, rate, and what is left


def decay(n: int = 200, dtype: str = "float64") -> Callable[[Any], Any]:
    """The squared error of a decaying exponential, fitted to ``n`` noisy measurements."""
    t = gg.linspace(0, 4, n, dtype=dtype)
    noise = gg.random.normal(scale=0.05, size=n, dtype=dtype)
    measured = TRUE[0] * gg.exp(-TRUE[1] * t) + TRUE[2] + noise

    def error(p: Any) -> Any:
        return ((p[0] * gg.exp(-p[1] * t) + p[2] - measured) ** 2).mean()

    return error


def for_scipy(f: Callable[..., Any], device: gg.Device) -> Callable[..., Any]:
    """A function of arrays on a device as one of NumPy arrays; on the CPU the function itself."""
    if device.kind == "cpu":
        return f

    def call(*arrays: np.ndarray) -> np.ndarray:
        result = f(*(device.send(array) for array in arrays))
        return device.fetch(result.data if isinstance(result, gg.Tensor) else result)

    return call


def solve(
    f: Callable[[Any], Any], start: np.ndarray, method: str, device: gg.Device
) -> OptimizeResult:
    """The minimum of ``f`` by BFGS, which asks for gradients, or by Newton-CG."""
    second: dict[str, Any] = {}
    if method == "Newton-CG":
        second["hessp"] = for_scipy(lambda x, p: gg.hvp(f, x, p), device)
    return minimize(
        for_scipy(f, device), start, method=method, jac=for_scipy(gg.grad(f), device), **second
    )


def main(argv: Sequence[str] | None = None) -> None:
    flags = common.parser((__doc__ or "").partition("\n")[0], trains=False, dtype="float64")
    flags.add_argument(
        "--size", type=common.positive_int, default=10, metavar="N", help="variables (default: 10)"
    )
    args: argparse.Namespace = flags.parse_args(argv)
    if args.size < 2:
        flags.error("--size: Rosenbrock's function has two variables or more")
    device = common.setup(args)
    problems = {
        "rosenbrock": (rosenbrock, np.zeros(args.size, dtype=args.dtype)),
        "decay": (decay(dtype=args.dtype), np.array([1.0, 1.0, 0.0], dtype=args.dtype)),
    }
    print(f"{'problem':12}{'method':12}{'iterations':>12}{'value':>14}  minimum, on {device}")
    for name, (f, start) in problems.items():
        for method in ("BFGS", "Newton-CG"):
            result = solve(f, start, method, device)
            shown = ", ".join(f"{x:.4f}" for x in result.x[:3])
            more = ", ..." if len(result.x) > 3 else ""
            print(f"{name:12}{method:12}{result.nit:12d}{result.fun:14.3e}  ({shown}{more})")


if __name__ == "__main__":
    common.run(main)
