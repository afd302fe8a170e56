"""Convolution on handwritten digits: a small network reaches 99% on scikit-learn's 8 x 8 pictures.

Two convolutions with batch normalization look for strokes, and a max pool halves the pictures. The
data, the loss and the steps are those of digits.py, whose network of linear layers has five times
as many parameters and stays at 98%.

    python examples/convolution.py --plot convolution.png
    python examples/convolution.py --device cuda
"""

import time
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


def plot(
    path: Any, curves: dict[str, list[float]], model: Any, data: digits.Data, wrong: np.ndarray,
    predicted: np.ndarray, title: str,
) -> None:  # fmt: skip
    """The loss curves, what the first kernels make of a picture, and the pictures taken wrongly."""
    picture, (left, middle, right) = common.figure(columns=3)
    common.draw_losses(left, curves, "cross-entropy, labels smoothed")
    left.set_title(title)
    with gg.no_grad():
        maps = model[:4](data.test_x[:1])[0].cpu().numpy()
    draw_tiles(middle, [data.test_x[0].cpu().numpy().reshape(SIZE, SIZE), *maps[:15]], 4)
    middle.set_title("a picture, and 15 of the 16 maps of the first layer")
    shown = wrong[:16]
    pictures = data.test_x.cpu().numpy()[shown].reshape(-1, SIZE, SIZE)
    truth = data.test_y.cpu().numpy()[shown]
    names = [f"{a}, taken for {b}" for a, b in zip(truth, predicted[shown], strict=True)]
    draw_tiles(right, list(pictures), max(2, int(np.ceil(np.sqrt(len(pictures))))), names)
    right.set_title(f"the {len(wrong)} pictures that it took for others")
    picture.savefig(path)
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
    parser = common.parser(
        "Train a convolution network on scikit-learn's handwritten digits.",
        trains=True, epochs=20, optimizer="adamw", rates=digits.RATES,
    )  # fmt: skip
    parser.add_argument(
        "--batch-size",
        type=common.positive_int,
        default=64,
        metavar="N",
        help="pictures in a step (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    device = common.setup(args)
    data = digits.load(args.seed, args.dtype, device)
    model = network()
    optimizer = common.optimizer(args, model.parameters())
    parameters = sum(p.size for p in model.parameters())
    print(f"{parameters} parameters, {args.dtype} on {device}")
    print(f"{len(data.x)} pictures to learn from, {len(data.test_x)} held out")

    state = common.resume(args, "convolution", model=model, optimizer=optimizer)
    curves = {name: state.get(name, []) for name in ("training", "held out")}
    done = len(curves["training"])
    start = time.perf_counter()
    with common.Progress(range(done + 1, done + args.epochs + 1)) as progress:
        for _ in progress:
            loss = digits.train_epoch(model, optimizer, data, args.batch_size)
            test_loss, predicted = digits.evaluate(model, data)
            # Here the host waits for the device, once an epoch.
            for name, value in zip(curves, common.numbers([loss, test_loss])):
                curves[name].append(value)
            progress.report(**{f"{name} loss": curve[-1] for name, curve in curves.items()})
    seconds = time.perf_counter() - start

    truth, predicted = data.test_y.cpu().numpy(), predicted.cpu().numpy()
    digits.print_confusion(digits.confusion(truth, predicted))
    print(f"trained {args.epochs} epochs in {seconds:.1f} s on {device}")
    common.save(args, "convolution", model=model, optimizer=optimizer, **curves)
    wrong = np.flatnonzero(truth != predicted)
    accuracy = f"test accuracy: {1 - len(wrong) / len(truth):.1%}"
    if args.plot:
        plot(args.plot, curves, model, data, wrong, predicted, accuracy)
    print(accuracy)


if __name__ == "__main__":
    common.run(main)
