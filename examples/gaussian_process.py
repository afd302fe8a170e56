"""The hyperparameters of a Gaussian process, by gradients of a likelihood written for NumPy.

    python examples/gaussian_process.py
    python examples/gaussian_process.py --size 100 --steps 200
    python examples/gaussian_process.py --plot process.png

`log_marginal_likelihood` is a plain NumPy program with a Cholesky factor, as in Rasmussen and
Williams, Gaussian Processes for Machine Learning (2006), algorithm 2.1. Called with Tensors it
has a gradient for Adam; its Hessian at the maximum gives error bars.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import common
import numpy as np

import gpugrad as gg

# The true parameters of the data: the kernel's amplitude and length, and the noise.
NAMES = ("amplitude", "length", "noise")
TRUE = np.array([1.5, 0.7, 0.2])


def covariance(theta: Any, x: Any) -> Any:
    """The matrix of covariances of noisy values at the places ``x``, all of them different.

    ``theta`` are the logarithms of amplitude, length and noise.
    """
    amplitude, length, noise = np.exp(theta)
    distance = x[:, None] - x[None, :]
    smooth = amplitude**2 * np.exp(-0.5 * (distance / length) ** 2)
    return smooth + noise**2 * (distance == 0)


def log_marginal_likelihood(theta: Any, x: Any, y: Any) -> Any:
    """The logarithm of the density of the values ``y`` at ``x``."""
    L = np.linalg.cholesky(covariance(theta, x))
    alpha = np.linalg.solve(L.T, np.linalg.solve(L, y))
    fit = -0.5 * np.dot(y, alpha)
    return fit - np.sum(np.log(np.diag(L))) - 0.5 * len(x) * np.log(2 * np.pi)


def predicted(theta: Any, x: Any, y: Any, places: Any) -> tuple[Any, Any]:
    """Mean and standard deviation of the process, without noise, at other places."""
    amplitude, length, _ = np.exp(theta)
    across = amplitude**2 * np.exp(-0.5 * ((places[:, None] - x[None, :]) / length) ** 2)
    L = np.linalg.cholesky(covariance(theta, x))
    half = np.linalg.solve(L, across.T)
    mean = half.T @ np.linalg.solve(L, y)
    return mean, np.sqrt(np.maximum(amplitude**2 - np.sum(half**2, axis=0), 0))


def draw(n: int, dtype: str = "float64") -> tuple[gg.Tensor, gg.Tensor]:
    """Places from 0 to 12, and values of a Gaussian process with the true hyperparameters there."""
    x = gg.linspace(0, 12, n, dtype=dtype)
    theta = gg.tensor(np.log(TRUE).tolist(), dtype=dtype)
    L = np.linalg.cholesky(covariance(theta, x))
    return x, L @ gg.random.normal(size=n, dtype=dtype)


def fit(
    start: gg.Tensor, x: Any, y: Any, steps: int, lr: float = 0.05, is_compiled: bool = False
) -> gg.Tensor:
    """The hyperparameters' logarithms with the greatest likelihood, from ``start`` by Adam."""
    theta = start.copy().requires_grad_()
    optimizer = gg.optim.Adam([theta], lr=lr)

    def step() -> None:
        optimizer.zero_grad()
        loss = -log_marginal_likelihood(theta, x, y)
        loss.backward()
        optimizer.step()

    step = gg.compile(step) if is_compiled else step
    for _ in range(steps):
        step()
    return theta.detach()


def plot(path: Any, thetas: dict[str, gg.Tensor], x: gg.Tensor, y: gg.Tensor) -> None:
    """The process that each of two settings of hyperparameters predicts from the values."""
    picture, panels = common.figure(2)
    places = gg.linspace(-1, 13, 281, dtype=x.dtype, device=x.device)
    for panel, (name, theta) in zip(panels, thetas.items(), strict=True):
        at, mean, deviation = (t.cpu().numpy() for t in (places, *predicted(theta, x, y, places)))
        panel.fill_between(
            at, mean - 2 * deviation, mean + 2 * deviation, alpha=0.25, label="two deviations"
        )
        panel.plot(at, mean, label="mean")
        panel.plot(x.cpu().numpy(), y.cpu().numpy(), "k.", label="values")
        likelihood = log_marginal_likelihood(theta, x, y).item()
        panel.set_title(f"{name}: log likelihood {likelihood:.1f}")
        panel.set_xlabel("x")
        panel.legend()
    panels[0].sharey(panels[1])
    common.save_picture(picture, path)
    print(f"\nthe process before and after: {path}")


def main(argv: Sequence[str] | None = None) -> None:
    flags = common.parser((__doc__ or "").partition("\n")[0], trains=False, dtype="float64")
    flags.add_argument(
        "--size", type=common.positive_int, default=60, metavar="N", help="values (default: 60)"
    )
    flags.add_argument(
        "--steps", type=common.positive_int, default=150, metavar="N", help="(default: 150)"
    )
    common.add_plot(flags)
    common.add_compile(flags)
    args: argparse.Namespace = flags.parse_args(argv)
    device = common.setup(args)
    x, y = draw(args.size, args.dtype)
    start = gg.zeros(3)
    theta = fit(start, x, y, args.steps, is_compiled=args.compile)

    hessian = gg.hessian(log_marginal_likelihood)(theta, x, y)
    variances = np.diag(np.linalg.inv(-hessian)).tolist()
    before, after = (log_marginal_likelihood(t, x, y).item() for t in (start, theta))
    print(f"{args.size} values, {args.dtype}, on {device}")
    print(f"log likelihood: {before:.3f}, after {args.steps} steps {after:.3f}\n")
    print(f"{'':12}{'true':>8}{'fitted':>8}   68% between")
    for name, true, log, variance in zip(NAMES, TRUE, theta.tolist(), variances, strict=True):
        between = "unknown: not at a maximum yet"
        if variance > 0:
            low, high = np.exp(log - variance**0.5), np.exp(log + variance**0.5)
            between = f"{low:.3f} and {high:.3f}"
        print(f"{name:12}{true:8.3f}{np.exp(log):8.3f}   {between}")
    if args.plot:
        plot(args.plot, {"before": start, f"after {args.steps} steps": theta}, x, y)


if __name__ == "__main__":
    common.run(main)
