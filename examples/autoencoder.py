"""A variational autoencoder lays handwritten digits out on a plane, and draws new ones.

    python examples/autoencoder.py --plot autoencoder.png

Kingma and Welling, 2013. An encoder says of each picture where it lies on the plane, as a normal
distribution; a decoder draws the picture of a place that is drawn from it. The loss is the error of
that picture, and the divergence of the distribution from the standard one, which keeps the digits
together and leaves no gaps. The labels are for the picture alone: nothing learns from them.
With --checkpoints FOLDER it can be stopped at any time; the same command goes on.
"""

from collections.abc import Sequence
from typing import Any

import common
import digits
import numpy as np

import gpugrad as gg

SIZE = 8  # of the pictures, in pixels
NOISE = 0.3  # variance of a pixel about its decoded value


class Autoencoder(gg.nn.Module):
    """Gives a picture (n, 64) as decoded, and the distribution of its place."""

    def __init__(self, width: int) -> None:
        nn = gg.nn
        self.encoder = nn.MLP(SIZE**2, [width, width, 4], activation="silu")
        self.decoder = nn.MLP(2, [width, width, SIZE**2], activation="silu")

    def place(self, pictures: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
        """Mean and logarithm of the variance of the places, (n, 2) each."""
        both = self.encoder(pictures)
        return both[:, :2], both[:, 2:]

    def forward(self, pictures: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor, gg.Tensor]:
        mean, log_var = self.place(pictures)
        drawn = gg.random.normal(size=mean.shape, dtype=mean.dtype, device=mean.device)
        return self.decoder(mean + gg.exp(log_var / 2) * drawn), mean, log_var


def negative_bound(output: tuple[gg.Tensor, gg.Tensor, gg.Tensor], target: gg.Tensor) -> gg.Tensor:
    """The evidence lower bound with its sign changed, in nats for a picture, without constants."""
    decoded, mean, log_var = output
    error = ((decoded - target) ** 2).sum(axis=1) / (2 * NOISE)
    divergence = (mean**2 + gg.exp(log_var) - 1 - log_var).sum(axis=1) / 2
    return (error + divergence).mean()


def sheet(model: Autoencoder, side: int) -> np.ndarray:
    """What is decoded on a square grid of the plane, as one picture; the top row lies highest."""
    ends = np.linspace(-2.2, 2.2, side)
    y, x = np.meshgrid(ends[::-1], ends, indexing="ij")
    with gg.no_grad():
        places = gg.tensor(np.stack([x, y], axis=-1).reshape(-1, 2), dtype=gg.get_default_dtype())
        decoded = model.decoder(places)
    tiles = decoded.cpu().numpy().reshape(side, side, SIZE, SIZE)
    tiles = np.pad(tiles, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=tiles.min())
    return tiles.transpose(0, 2, 1, 3).reshape((side * (SIZE + 2),) * 2)


def plot(path: Any, model: Autoencoder, data: digits.Data, history: list[dict[str, Any]]) -> None:
    """Draw the loss, where the held-out digits lie, and what is decoded from the plane."""
    picture, (left, middle, right) = common.figure(columns=3)
    gg.plot.curves(history, ax=left)
    left.set_ylabel("nats for a picture, but for a constant")
    left.set_title("variational autoencoder of digits")
    with gg.no_grad():
        places, labels = model.place(data.test_x)[0].cpu().numpy(), data.test_y.cpu().numpy()
    colors = middle.scatter(*places.T, c=labels, cmap="tab10", vmin=-0.5, vmax=9.5, s=14)
    picture.colorbar(colors, ax=middle, ticks=range(10), label="digit")
    middle.set_aspect("equal", adjustable="datalim")
    middle.grid(alpha=0.3)
    middle.set_title("where it puts digits it has not seen")
    right.imshow(sheet(model, 14), cmap="gray_r", vmin=-0.8, vmax=2)
    right.set_axis_off()
    right.set_title("digits that it draws, over the same plane")
    common.save_picture(picture, path)
    print(f"picture: {path}")


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and print the error of held-out pictures."""
    flags = common.parser((__doc__ or "").partition("\n")[0], trains=False)
    common.add_trainer_flags(flags, epochs=150)
    args = flags.parse_args(argv)
    device = common.setup(args)
    data = digits.load(args.seed, args.dtype, device)
    model = Autoencoder(128)
    optimizer = gg.optim.AdamW(model.parameters(), lr=3e-3)
    trainer = gg.Trainer(
        model,
        optimizer,
        negative_bound,
        scheduler=gg.optim.CosineAnnealingLR(optimizer, args.epochs),
        callbacks=[common.SameFlags(args)],
        checkpoints=args.checkpoints,
        compile=args.compile,
    )
    train = gg.data.DataLoader((data.x, data.x), 64, shuffle=True)
    test = gg.data.DataLoader((data.test_x, data.test_x), len(data.test_x))
    print(f"{len(data.x)} pictures, {args.dtype} on {device}")
    history = trainer.fit(train, test, args.epochs, resume=args.checkpoints is not None)
    with gg.no_grad():
        decoded = model.decoder(model.place(data.test_x)[0])
        error = ((decoded - data.test_x) ** 2).mean().item()
    kept = 1 - error / data.test_x.var().item()
    print(f"two numbers for a picture keep {kept:.0%} of the variance of its pixels")
    if args.plot:
        plot(args.plot, model, data, history)


if __name__ == "__main__":
    common.run(main)
