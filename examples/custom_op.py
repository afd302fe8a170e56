"""SciPy's functions as ops: special functions, an orbit, a blurred picture.

    python examples/custom_op.py
    python examples/custom_op.py --device sim
    python examples/custom_op.py --plot custom_op.png

Each is wrapped in about five lines, and then used where derivatives are needed: to fit a
distribution by Newton's method, to find an orbit's shape, to sharpen a picture. SciPy computes
on the host; ``host=True`` copies the arrays of any device there and back.
"""

from collections.abc import Sequence
from typing import Any

import common
import numpy as np

import gpugrad as gg

try:
    from scipy import ndimage, optimize, special
except ImportError as missing:
    common.leave_without("SciPy", "scipy", missing)

# The gamma function's logarithm, and its derivatives of all orders, each by the next one.
polygamma = gg.custom_op(
    lambda xp, x, *, n: special.polygamma(n, x).astype(x.dtype),
    lambda xp, g, y, x, n: g * polygamma(x, n=n + 1),
    name="polygamma", host=True,
)  # fmt: skip
gammaln = gg.custom_op(
    lambda xp, x: special.gammaln(x),
    lambda xp, g, y, x: g * polygamma(x, n=0),
    name="gammaln", host=True,
)  # fmt: skip


# Kepler's equation E - e sin E = M has no solution in closed form, but its derivatives have one,
# as those of an implicit function. They are written with xp, so they can be differentiated again.
@gg.custom_op(host=True)
def kepler(xp: Any, m: Any, e: Any) -> Any:
    """The eccentric anomaly E at the mean anomaly ``m``, for an orbit of eccentricity ``e``."""
    return optimize.newton(lambda x: x - e * np.sin(x) - m, m, lambda x: 1 - e * np.cos(x))


@kepler.defvjp
def _(xp: Any, g: Any, y: Any, m: Any, e: Any) -> Any:
    d = g / (1 - e * xp.cos(y))
    return d, d * xp.sin(y)


# A blur is linear and symmetric: its own transpose. kind="linear" is enough for derivatives of
# any order.
blur = gg.custom_op(
    lambda xp, x: ndimage.gaussian_filter(x, 1.5, mode="constant"),
    lambda xp, g, y, x: ndimage.gaussian_filter(g, 1.5, mode="constant"),
    name="blur", kind="linear", host=True,
)  # fmt: skip


def fit_gamma(x: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
    """Shape and rate of the gamma distribution under which ``x`` is likeliest."""
    mean, log_mean = x.mean(), gg.log(x).mean()

    def loss(shape: gg.Tensor) -> gg.Tensor:
        rate = shape / mean  # the best one, given the shape
        return gammaln(shape) - shape * gg.log(rate) - (shape - 1) * log_mean + shape

    slope, curvature = gg.grad(loss), gg.grad(gg.grad(loss))
    shape = 0.5 / (gg.log(mean) - log_mean)
    for _ in range(6):  # Newton's method
        shape = shape - slope(shape) / curvature(shape)
    return shape, shape / mean


def speed(times: gg.Tensor, amplitude: Any, e: Any, phase: Any) -> gg.Tensor:
    """The radial speed of a star on an orbit of period 1, seen edge-on."""
    anomaly = kepler(2 * gg.pi * (times - phase), e)
    return amplitude * (1 - e * e) ** 0.5 * gg.cos(anomaly) / (1 - e * gg.cos(anomaly))


def fit_orbit(times: gg.Tensor, speeds: gg.Tensor, steps: int = 300) -> list[float]:
    """Amplitude, eccentricity and phase of a star's radial speed."""
    p = gg.tensor([2.0, -1.0, 0.05], dtype=times.dtype, device=times.device, requires_grad=True)
    optimizer = gg.optim.Adam([p], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        found = speed(times, p[0], gg.sigmoid(p[1]), p[2])
        ((found - speeds) ** 2).mean().backward()
        optimizer.step()
    amplitude, e, phase = p.detach().tolist()
    return [amplitude, 1 / (1 + float(np.exp(-e))), phase]


def sharpen(blurred: gg.Tensor, steps: int = 100) -> gg.Tensor:
    """The picture whose blur is ``blurred``."""
    picture = blurred.detach().copy().requires_grad_()
    optimizer = gg.optim.SGD([picture], lr=0.45, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        ((blur(picture) - blurred) ** 2).sum().backward()
        optimizer.step()
    return picture.detach()


def density(x: np.ndarray, shape: float, rate: float) -> np.ndarray:
    """That of the gamma distribution."""
    log = shape * np.log(rate) + (shape - 1) * np.log(x) - rate * x - special.gammaln(shape)
    return np.exp(log)


def plot(
    path: Any,
    samples: gg.Tensor,
    fitted: tuple[float, float],
    orbit: tuple[gg.Tensor, gg.Tensor, list[float]],
    pictures: Sequence[gg.Tensor],
) -> None:
    """The distribution, the orbit and the pictures, each with what was found."""
    drawn, (left, middle, right) = common.figure(3)
    numbers = samples.cpu().numpy()
    left.hist(numbers, bins=60, density=True, alpha=0.4, label="sample")
    x = np.linspace(0.01, numbers.max(), 200)
    left.plot(x, density(x, *fitted), label="fitted density")
    left.set_title("gamma distribution")
    left.set_xlabel("x")
    times, speeds, found = orbit
    middle.plot(times.cpu().numpy(), speeds.cpu().numpy(), "k.", label="measured")
    every = gg.linspace(0, 2, 300, dtype=times.dtype, device=times.device)
    with gg.no_grad():
        curve = speed(every, *found)
    middle.plot(every.cpu().numpy(), curve.cpu().numpy(), label="fitted orbit")
    middle.set_title("radial speed of a star")
    middle.set_xlabel("time, in periods")
    middle.set_ylabel("speed")
    for panel in (left, middle):
        panel.legend()
    right.imshow(np.hstack([picture.cpu().numpy() for picture in pictures]), cmap="gray")
    right.set_title("a picture, blurred, and sharpened again")
    right.set_axis_off()
    common.save_picture(drawn, path)
    print(f"the fits: {path}")


def main(argv: Sequence[str] | None = None) -> None:
    """Fit the distribution and the orbit, and sharpen the picture."""
    flags = common.parser((__doc__ or "").partition("\n")[0], trains=False, dtype="float64")
    common.add_plot(flags)
    args = flags.parse_args(argv)
    device = common.setup(args)
    print(f"{args.dtype} on {device}")

    def tensor(array: np.ndarray) -> gg.Tensor:
        return gg.tensor(array, dtype=args.dtype, device=device)

    rng = np.random.default_rng(args.seed)
    samples = tensor(rng.gamma(3.5, 1 / 2.0, 20_000))
    shape, rate = (parameter.item() for parameter in fit_gamma(samples))
    print(f"gamma distribution: shape {shape:.3f} (3.5), rate {rate:.3f} (2)")

    times = tensor(np.sort(rng.uniform(0, 2, 60)))
    with gg.no_grad():
        speeds = speed(times, 3, 0.4, 0.1) + gg.random.normal(scale=0.05, size=60)
    found = fit_orbit(times, speeds)
    amplitude, e, phase = found
    print(
        f"orbit: amplitude {amplitude:.3f} (3), eccentricity {e:.3f} (0.4), phase {phase:.3f} (0.1)"
    )

    sharp = np.zeros((32, 32))
    sharp[8:24, 8:24] = 1
    sharp[14:18, 14:18] = 0
    picture = tensor(sharp)
    blurred = blur(picture)
    sharpened = sharpen(blurred)
    errors = [((image - picture) ** 2).mean().item() for image in (blurred, sharpened)]
    print(f"picture: squared error {errors[0]:.4f} blurred, {errors[1]:.4f} sharpened")
    if args.plot:
        orbit = times, speeds, found
        plot(args.plot, samples, (shape, rate), orbit, (picture, blurred, sharpened))


if __name__ == "__main__":
    common.run(main)
