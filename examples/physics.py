"""A physics-informed network: it learns the heat equation from the equation alone.

    python examples/physics.py --plot physics.png

A rod of length 1 with cold ends has the temperature u(x, t), where u_t = k u_xx. A network is to
satisfy that at random places and times: its loss is the squared residual, which has its first and
second derivatives by x and t. No solution is shown to it. It is u(x, 0) + t x (1 - x) net(x, t), so
that beginning and ends are right by themselves. Here the exact solution is known, for comparison.
With --checkpoints FOLDER it can be stopped at any time; the same command goes on.
"""

from collections.abc import Sequence
from typing import Any

import common
import numpy as np

import gpugrad as gg

DIFFUSIVITY = 0.1
WAVES = {1: 1.0, 3: 0.5}  # amplitude of sin(n pi x) at the beginning, by n


def exact(x: Any, t: Any) -> Any:
    """The temperature: each wave decays by itself."""
    return sum(
        a * np.exp(-DIFFUSIVITY * (n * np.pi) ** 2 * t) * np.sin(n * np.pi * x)
        for n, a in WAVES.items()
    )


class Rod(gg.nn.Module):
    """The temperature by a network, and as its output by how much it violates the equation."""

    def __init__(self, width: int) -> None:
        self.net = gg.nn.MLP(2, [width, width, width, 1], activation="tanh")

    def temperature(self, x: gg.Tensor, t: gg.Tensor) -> gg.Tensor:
        """u(x, t), of as many places as times."""
        correction = self.net(gg.stack([2 * x - 1, 2 * t - 1], axis=-1))[..., 0]
        return exact(x, 0.0) + t * x * (1 - x) * correction

    def forward(self, points: gg.Tensor) -> gg.Tensor:
        """u_t - k u_xx at points (n, 2)."""
        x, t = points[:, 0], points[:, 1]
        u_x = gg.grad(lambda x: self.temperature(x, t).sum())
        u_xx = gg.grad(lambda x: u_x(x).sum())
        u_t = gg.grad(lambda t: self.temperature(x, t).sum())
        return u_t(t) - DIFFUSIVITY * u_xx(x)


def on_grid(model: Rod, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The network's temperatures and the exact ones, (times, places), both from 0 to 1."""
    t, x = np.meshgrid(*[np.linspace(0, 1, size)] * 2, indexing="ij")
    with gg.no_grad():
        found = model.temperature(*(gg.tensor(a, dtype=gg.get_default_dtype()) for a in (x, t)))
    return found.cpu().numpy(), exact(x, t)


def plot(path: Any, found: np.ndarray, true: np.ndarray) -> None:
    """Draw the temperatures, how far off they are, and some moments of them."""
    picture, (left, middle, right) = common.figure(columns=3)
    off = found - true
    for panel, values, colors, title in (
        (left, found, "inferno", "temperature, by the network"),
        (middle, off, "RdBu_r", "what it is off by"),
    ):
        most = np.abs(off).max()
        ends = {"vmin": -most, "vmax": most} if panel is middle else {}
        shown = panel.imshow(values.T, cmap=colors, origin="lower", extent=(0, 1, 0, 1), **ends)
        panel.set_xlabel("time")
        panel.set_ylabel("place")
        panel.set_title(title)
        picture.colorbar(shown, ax=panel, shrink=0.8)
    x = np.linspace(0, 1, len(true))
    for share in (0.0, 0.05, 0.15, 0.4, 1.0):
        row = round(share * (len(true) - 1))
        (line,) = right.plot(x, found[row], linewidth=2, label=f"t = {x[row]:.2f}")
        right.plot(x[::5], true[row, ::5], ".", color=line.get_color(), markeredgecolor="black")
    right.set_xlabel("place")
    right.set_title("lines: the network, dots: exact")
    right.grid(alpha=0.3)
    right.legend()
    common.save_picture(picture, path)
    print(f"picture: {path}")


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and print how far off the temperatures are."""
    flags = common.parser((__doc__ or "").partition("\n")[0], trains=False)
    common.add_trainer_flags(flags, epochs=40)
    args = flags.parse_args(argv)
    device = common.setup(args)
    points = gg.random.uniform(size=(4096, 2))
    points[:, 1] **= 2  # more of them where the temperatures change fast
    data = gg.data.DataLoader((points, gg.zeros(len(points))), 64, shuffle=True)
    model = Rod(32)
    optimizer = gg.optim.Adam(model.parameters(), lr=1e-2)
    trainer = gg.Trainer(
        model,
        optimizer,
        gg.nn.MSELoss(),
        scheduler=gg.optim.CosineAnnealingLR(optimizer, args.epochs),
        callbacks=[common.SameFlags(args)],
        checkpoints=args.checkpoints,
        compile=args.compile,
    )
    print(f"{len(points)} points, {args.dtype} on {device}; the loss is the squared residual")
    trainer.fit(data, epochs=args.epochs, resume=args.checkpoints is not None)
    found, true = on_grid(model, 101)
    print(f"temperatures up to {true.max():.2f}: off by {np.abs(found - true).max():.4f} at most")
    if args.plot:
        plot(args.plot, found, true)


if __name__ == "__main__":
    common.run(main)
