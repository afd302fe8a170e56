"""Convolution on handwritten digits: a small network reaches 99% on scikit-learn's 8 x 8 pictures.

Two convolutions with batch normalization look for strokes, and a max pool halves the pictures. The
data, the loss and the steps are those of digits.py, whose network of linear layers has five times
as many parameters and stays at 98%.

    python examples/convolution.py --plot convolution.png
    python examples/convolution.py --device cuda
"""

from collections.abc import Sequence
from typing import Any

import common
import digits
import numpy as np

import gpugrad as gg

SIZE = 8  # of the pictures, in pixels


def network() -> gg.nn.Module:
    """64 pixels in, a score for each of ten digits out."""
    nn = gg.nn
    return nn.Sequential(
        nn.Unflatten(1, (1, SIZE, SIZE)),
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(32 * (SIZE // 2) ** 2, 10),
    )  # fmt: skip


def plot(path: Any, found: digits.Fit) -> None:
    """The loss curves, what the first kernels make of a picture, and the pictures taken wrongly."""
    picture, (left, middle, right) = common.figure(columns=3)
    data = found.data
    gg.plot.curves(found.history, ax=left)
    left.set_ylabel("cross-entropy, labels smoothed")
    left.set_title(found.accuracy)
    with gg.no_grad():
        maps = found.model[:4](data.test_x[:1])[0].cpu().numpy()
    draw_tiles(middle, [data.test_x[0].cpu().numpy().reshape(SIZE, SIZE), *maps[:15]], 4)
    middle.set_title("a picture, and 15 of the 16 maps of the first layer")
    wrong = np.flatnonzero(found.truth != found.predicted)
    shown = wrong[:16]
    pictures = data.test_x.cpu().numpy()[shown].reshape(-1, SIZE, SIZE)
    pairs = zip(found.truth[shown], found.predicted[shown], strict=True)
    names = [f"{truth}, taken for {other}" for truth, other in pairs]
    draw_tiles(right, list(pictures), max(2, int(np.ceil(np.sqrt(len(pictures))))), names)
    right.set_title(f"the {len(wrong)} pictures that it took for others")
    common.save_picture(picture, path)
    print(f"loss curve, maps and mistakes: {path}")


def draw_tiles(
    panel: Any, tiles: Sequence[np.ndarray], columns: int, names: Sequence[str] = ()
) -> None:
    """Small pictures in rows, each with its own contrast, and a name under each."""
    panel.set_axis_off()
    step = SIZE + (3 if names else 1)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        extent = (column * step, column * step + SIZE, row * step + SIZE, row * step)
        panel.imshow(tile, cmap="gray_r", extent=extent)
        if names:
            place = (column * step + SIZE / 2, row * step + SIZE + 1.5)
            panel.text(*place, names[index], ha="center", va="center", fontsize=7)
    rows = -(-len(tiles) // columns)
    panel.set_xlim(-1, columns * step)
    panel.set_ylim(max(rows, 1) * step, -1)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and end with the accuracy on the held-out quarter."""
    args, found = digits.fit("a convolution network", network, 20, argv)
    if args.plot:
        plot(args.plot, found)
    print(found.accuracy)


if __name__ == "__main__":
    common.run(main)
