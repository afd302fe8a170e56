"""A blurred picture, restored by a NumPy program with Fourier transforms, and by gradients.

    python examples/deconvolution.py
    python examples/deconvolution.py --size 48 --steps 100 --device sim
    python examples/deconvolution.py --plot deconvolution.png

`blurred` and `restored` are plain NumPy programs with 2-D transforms and complex numbers: a
convolution, and its inverse by N. Wiener's filter (1949). Called with Tensors they have gradients
by all arguments: by the width of the blur and the strength of the filter, which are fitted to a
known picture, and by every pixel, which improves the restored one.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import common
import numpy as np

import gpugrad as gg


def kernel(width: Any, distance: Any) -> Any:
    """A Gaussian blur of a width in pixels, for the distances of all pixels from the first."""
    weights = np.exp(-0.5 * (distance / width) ** 2)
    return weights / np.sum(weights)


def blurred(picture: Any, width: Any, distance: Any) -> Any:
    """The picture convolved with a blur, as if it repeated beyond its edges."""
    spectrum = np.fft.rfft2(picture) * np.fft.rfft2(kernel(width, distance))
    return np.fft.irfft2(spectrum, s=picture.shape)


def restored(seen: Any, width: Any, strength: Any, distance: Any) -> Any:
    """Wiener's estimate of the picture that was blurred; ``strength`` damps the noise."""
    keeps = np.fft.rfft2(kernel(width, distance))
    spectrum = np.fft.rfft2(seen) * np.conj(keeps) / (np.abs(keeps) ** 2 + strength)
    return np.fft.irfft2(spectrum, s=seen.shape)


def error(logs: Any, seen: Any, picture: Any, distance: Any) -> Any:
    """The mean squared error of a restored picture, by the logarithms of width and strength."""
    width, strength = np.exp(logs)
    return np.mean((restored(seen, width, strength, distance) - picture) ** 2)


def misfit(picture: Any, seen: Any, width: Any, distance: Any, edges: float) -> Any:
    """The squared error of a picture's blur against ``seen``, plus ``edges`` times its variation.

    The variation is smoothed where it is nearly 0. L. Rudin, S. Osher and E. Fatemi (1992).
    """
    down, right = picture - np.roll(picture, 1, 0), picture - np.roll(picture, 1, 1)
    variation = np.mean(np.sqrt(down**2 + right**2 + 1e-4))
    return np.mean((blurred(picture, width, distance) - seen) ** 2) + edges * variation


def boxes(size: int, count: int, dtype: str) -> gg.Tensor:
    """A picture of rectangles, at random places, of random greys."""
    picture = gg.zeros((size, size), dtype=dtype)
    corners = gg.random.uniform(0, 0.7, (count, 2)).tolist()
    sides = gg.random.uniform(0.15, 0.5, (count, 2)).tolist()
    for (top, left), (height, width), grey in zip(
        corners, sides, gg.random.uniform(0.2, 1, count).tolist(), strict=True
    ):
        rows = slice(int(top * size), int((top + height) * size) + 1)
        picture[rows, int(left * size) : int((left + width) * size) + 1] = grey
    return picture


def descend(
    args: argparse.Namespace, f: Callable[[Any], Any], start: gg.Tensor, lr: float
) -> gg.Tensor:
    """The point where Adam ends, minimizing ``f`` from ``start``."""
    x = start.copy().requires_grad_()
    optimizer = gg.optim.Adam([x], lr=lr)

    def step() -> None:
        optimizer.zero_grad()
        f(x).backward()
        optimizer.step()

    step = common.compiled(args, step)
    for _ in range(args.steps):
        step()
    return x.detach()


def plot(path: Any, pictures: dict[str, gg.Tensor]) -> None:
    """The pictures beside each other, on one scale of greys."""
    drawn, panels = common.figure(len(pictures))
    for panel, (title, picture) in zip(panels, pictures.items(), strict=True):
        panel.imshow(picture.cpu().numpy(), cmap="gray", vmin=0, vmax=1)
        panel.set_title(title)
        panel.set_axis_off()
    common.save_picture(drawn, path)
    print(f"\nthe pictures: {path}")


def main(argv: Sequence[str] | None = None) -> None:
    flags = common.parser((__doc__ or "").partition("\n")[0], trains=False, dtype="float64")
    flags.add_argument(
        "--size", type=common.positive_int, default=64, metavar="N", help="pixels (default: 64)"
    )
    flags.add_argument(
        "--steps", type=common.positive_int, default=200, metavar="N", help="(default: 200)"
    )
    common.add_plot(flags)
    common.add_compile(flags)
    args: argparse.Namespace = flags.parse_args(argv)
    device = common.setup(args)
    if args.size < 8:
        flags.error("--size: a picture that can be blurred has 8 pixels a side or more")
    along = gg.fft.fftfreq(args.size, 1 / args.size, dtype=args.dtype)  # 0, 1, ..., -2, -1
    distance = np.hypot(along[:, None], along[None, :])
    true, noise = 1.5, 0.01
    known, picture = boxes(args.size, 12, args.dtype), boxes(args.size, 12, args.dtype)
    samples = [
        blurred(p, true, distance) + noise * gg.random.normal(size=p.shape, dtype=args.dtype)
        for p in (known, picture)
    ]
    print(f"{args.size} x {args.size} pixels, {args.dtype}, on {device}\n")

    start = gg.tensor(np.log([1.0, 0.1]).tolist(), dtype=args.dtype)
    logs = descend(args, lambda x: error(x, samples[0], known, distance), start, lr=0.05)
    width, strength = np.exp(logs).tolist()
    print(f"found on a known picture: width {width:.3f} (true {true}), strength {strength:.5f}\n")

    seen = samples[1]
    wiener = restored(seen, width, strength, distance)
    better = descend(args, lambda x: misfit(x, seen, width, distance, edges=3e-4), wiener, lr=0.01)
    print("distance from another picture, root mean square:")
    pictures = {"the picture": picture}
    for name, one in (("as seen", seen), ("restored", wiener), ("improved", better)):
        distance = np.sqrt(np.mean((one - picture) ** 2)).item()
        print(f"  {name:10}{distance:.4f}")
        pictures[f"{name}: {distance:.4f} from it"] = one
    if args.plot:
        plot(args.plot, pictures)


if __name__ == "__main__":
    common.run(main)
