"""A solver of the heat equation, written for NumPy, and the derivatives of its result.

    python examples/heat.py
    python examples/heat.py --points 65 --steps 800 --device sim
    python examples/heat.py --plot heat.png

`temperatures` is a plain NumPy program, a loop that changes an array in place, without a call of
gpugrad. With Tensors as arguments it has derivatives: of the error at the end by every initial
temperature and by the diffusivity, and the second derivative, for Newton's method, which finds an
unknown diffusivity from a measurement.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from typing import Any

import common
import numpy as np

import gpugrad as gg


def temperatures(initial: Any, diffusivity: Any, time: float, steps: int) -> Any:
    """The temperatures of a rod of length 1 after a time, those of its ends fixed.

    ``initial`` are those of equally spaced points. Explicit steps, central differences: stable
    while diffusivity * time / steps is at most half of the squared distance of two points.
    """
    rate = time / steps * (len(initial) - 1) ** 2 * diffusivity
    u = np.copy(initial)
    for _ in range(steps):
        u[1:-1] += rate * (u[2:] - 2 * u[1:-1] + u[:-2])
    return u


def error(initial: Any, diffusivity: Any, measured: Any, time: float, steps: int) -> Any:
    """The mean squared difference of the temperatures at the end from measured ones."""
    return np.mean((temperatures(initial, diffusivity, time, steps) - measured) ** 2)


def find_diffusivity(f: Callable[[Any], Any], start: Any, rounds: int) -> list[float]:
    """Newton's method for the minimum of ``f``, from a one-element Tensor: all its iterates.

    The start has to be near enough for a positive second derivative.
    """
    first = gg.grad(f)
    second = gg.grad(first)
    k, values = start, [start.item()]
    for _ in range(rounds):
        k = k - first(k) / second(k)
        values.append(k.item())
    return values


def plot(
    path: Any, initial: Any, measured: Any, ends: dict[float, Any], way: list[float], true: float
) -> None:
    """Temperatures at the start and at the end, by diffusivity, and the steps to the true one."""
    picture, (left, right) = common.figure(2)
    places = np.linspace(0, 1, len(initial))
    left.plot(places, initial.cpu().numpy(), color="gray", linestyle="--", label="at the start")
    for k, end in ends.items():
        left.plot(places, end.cpu().numpy(), label=f"at the end, diffusivity {k:.3g}")
    left.plot(places, measured.cpu().numpy(), "k.", label="measured at the end")
    left.set_xlabel("place on the rod")
    left.set_ylabel("temperature")
    left.legend()
    right.axhline(true, color="gray", linewidth=1, label="true")
    right.plot(way, "o-", label="found")
    right.set_xlabel("step of Newton's method")
    right.set_ylabel("diffusivity")
    right.legend()
    for panel in (left, right):
        panel.grid(alpha=0.3)
    common.save_picture(picture, path)
    print(f"temperatures and diffusivities: {path}")


def main(argv: Sequence[str] | None = None) -> None:
    flags = common.parser((__doc__ or "").partition("\n")[0], trains=False, dtype="float64")
    flags.add_argument(
        "--points", type=common.positive_int, default=33, metavar="N", help="(default: 33)"
    )
    flags.add_argument(
        "--steps", type=common.positive_int, default=200, metavar="N", help="(default: 200)"
    )
    common.add_plot(flags)
    args: argparse.Namespace = flags.parse_args(argv)
    device = common.setup(args)
    true, time = 1.0, 0.05
    if args.points < 3:
        flags.error("--points: a rod has two ends and a point between them, or more")
    if 2 * true * time * (args.points - 1) ** 2 > args.steps:
        least = math.ceil(2 * true * time * (args.points - 1) ** 2)
        flags.error(f"--steps: {args.points} points need {least} steps or more to be stable")

    x = gg.linspace(0, 1, args.points, dtype=args.dtype)
    initial = np.sin(np.pi * x) + np.sin(3 * np.pi * x) / 2
    measured = temperatures(initial, true, time, args.steps)
    print(f"{args.points} points, {args.steps} steps, {args.dtype}, on {device}\n")

    guess = gg.tensor(0.6)
    value, (by_initial, by_diffusivity) = gg.value_and_grad(error, argnums=(0, 1))(
        initial, guess, measured, time, args.steps
    )
    print(f"error at the end with diffusivity {guess.item():g}: {value.item():.6f}")
    print(f"its derivative by the diffusivity: {by_diffusivity.item():.6f}")
    middle = by_initial[args.points // 2].item()
    print(f"by the initial temperature in the middle: {middle:.6f}\n")

    print("Newton's method for the diffusivity:")
    way = find_diffusivity(lambda k: error(initial, k, measured, time, args.steps), guess, rounds=6)
    for number, k in enumerate(way):
        print(f"  {number}  {k:.8f}")
    print(f"true {true:.8f}")
    if args.plot:
        ends = {k: temperatures(initial, k, time, args.steps) for k in (way[0], way[-1])}
        plot(args.plot, initial, measured, ends, way, true)


if __name__ == "__main__":
    common.run(main)
