"""Handwritten digits: an MLP with dropout learns scikit-learn's 8 x 8 pictures in mini-batches.

A quarter of the pictures is held out, for the test alone. All data are on the device, and the
host waits for the device once an epoch.

    python examples/digits.py --plot digits.png
    python examples/digits.py --device cuda
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import common
import numpy as np

import gpugrad as gg
import gpugrad.nn.functional as F

SMOOTHING = 0.1  # of the labels: 0.91 for the right digit, 0.01 for each other
RATES = {"sgd": 0.1, "momentum": 0.02, "adam": 2e-3, "adamw": 2e-3}


class Data(NamedTuple):
    """Pictures (n, 64) and their digits (n,), for training and held out."""

    x: gg.Tensor
    y: gg.Tensor
    test_x: gg.Tensor
    test_y: gg.Tensor


def load(seed: int, dtype: str, device: gg.Device) -> Data:
    """The data on the device, standardised by the training pictures' mean and spread."""
    datasets = common.need("sklearn.datasets", "scikit-learn", "examples")
    selection = common.need("sklearn.model_selection", "scikit-learn", "examples")
    pictures, digits = datasets.load_digits(return_X_y=True)
    x, test_x, y, test_y = selection.train_test_split(
        pictures, digits, test_size=0.25, stratify=digits, random_state=seed % 2**32
    )
    mean, spread = x.mean(), x.std()
    x, test_x = (x - mean) / spread, (test_x - mean) / spread
    return Data(
        gg.tensor(x, dtype=dtype, device=device),
        gg.tensor(y, device=device),
        gg.tensor(test_x, dtype=dtype, device=device),
        gg.tensor(test_y, device=device),
    )


def classifier() -> gg.nn.Module:
    """64 pixels in, a score for each of ten digits out."""
    nn = gg.nn
    return nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(128, 10),
    )  # fmt: skip


def loss_of(scores: gg.Tensor, digits: gg.Tensor) -> gg.Tensor:
    """The mean cross-entropy, with smoothed labels."""
    return F.cross_entropy(scores, digits, label_smoothing=SMOOTHING)


def batches(x: gg.Tensor, y: gg.Tensor, size: int) -> Iterator[tuple[gg.Tensor, gg.Tensor]]:
    """All samples in a new order, in batches: gathered once on the device, then sliced."""
    order = gg.random.permutation(len(x))
    x, y = x[order], y[order]
    for start in range(0, len(x), size):
        yield x[start : start + size], y[start : start + size]


def train_epoch(model: gg.nn.Module, optimizer: Any, data: Data, batch_size: int) -> gg.Tensor:
    """One pass over the training pictures; their mean loss, still on the device."""
    model.train()
    total = gg.zeros(())
    for x, y in batches(data.x, data.y, batch_size):
        loss = loss_of(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total = total + loss.detach() * len(x)
    return total / len(data.x)


def evaluate(model: gg.nn.Module, data: Data) -> tuple[gg.Tensor, gg.Tensor]:
    """The mean loss of the held-out pictures, and the predicted digits; both on the device."""
    model.eval()
    with gg.no_grad():
        scores = model(data.test_x)
        return loss_of(scores, data.test_y), scores.argmax(axis=1)


def confusion(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """How often each digit (row) was taken for each digit (column)."""
    counts = np.zeros((10, 10), dtype=int)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def print_confusion(counts: np.ndarray) -> None:
    """The confusion matrix as text, with a dot for each zero."""
    print("held-out pictures: the digit (row), and what it was taken for (column)")
    print("     " + "".join(f"{digit:4d}" for digit in range(10)))
    for digit, row in enumerate(counts):
        print(f"{digit:4d} " + "".join(f"{count or '·':>4}" for count in row))


def plot(path: Any, curves: dict[str, list[float]], counts: np.ndarray, title: str) -> None:
    """The loss curves, and beside them the confusion matrix, as a picture."""
    figure, (left, right) = common.figure(columns=2)
    common.draw_losses(left, curves, f"cross-entropy, labels smoothed by {SMOOTHING}")
    left.set_title("loss")
    # Colours by the share of the row's pictures; a root keeps the few mistakes visible.
    right.imshow(np.sqrt(counts / counts.sum(axis=1, keepdims=True)), cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts):
        colour = "white" if row == column else "black"
        right.text(column, row, counts[row, column], ha="center", va="center", color=colour)
    right.set_xticks(range(10))
    right.set_yticks(range(10))
    right.set_xlabel("taken for")
    right.set_ylabel("digit")
    right.set_title(title)
    figure.savefig(path)
    print(f"loss curve and confusion matrix: {path}")


class Fit(NamedTuple):
    """A trained network and what it says of the held-out pictures, on the host."""

    model: gg.nn.Module
    data: Data
    curves: dict[str, list[float]]
    truth: np.ndarray
    predicted: np.ndarray

    @property
    def accuracy(self) -> str:
        return f"test accuracy: {np.mean(self.truth == self.predicted):.1%}"


def fit(
    name: str, kind: str, network: Callable[[], gg.nn.Module], epochs: int,
    argv: Sequence[str] | None,
) -> tuple[argparse.Namespace, Fit]:  # fmt: skip
    """Read the flags of an example that learns the digits by a network, and train it."""
    parser = common.parser(
        f"Train {kind} on scikit-learn's handwritten digits.",
        trains=True, epochs=epochs, optimizer="adamw", rates=RATES,
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
    data = load(args.seed, args.dtype, device)
    model = network()
    optimizer = common.optimizer(args, model.parameters())
    parameters = sum(p.size for p in model.parameters())
    print(f"{parameters} parameters, {args.dtype} on {device}")
    print(f"{len(data.x)} pictures to learn from, {len(data.test_x)} held out")

    state = common.resume(args, name, model=model, optimizer=optimizer)
    curves = {which: state.get(which, []) for which in ("training", "held out")}
    done = len(curves["training"])
    start = time.perf_counter()
    with common.Progress(range(done + 1, done + args.epochs + 1)) as progress:
        for _ in progress:
            loss = train_epoch(model, optimizer, data, args.batch_size)
            test_loss, predicted = evaluate(model, data)
            # Here the host waits for the device, once an epoch.
            for curve, value in zip(curves.values(), common.numbers([loss, test_loss])):
                curve.append(value)
            progress.report(**{f"{which} loss": curve[-1] for which, curve in curves.items()})
    seconds = time.perf_counter() - start

    result = Fit(model, data, curves, data.test_y.cpu().numpy(), predicted.cpu().numpy())
    print_confusion(confusion(result.truth, result.predicted))
    print(f"trained {args.epochs} epochs in {seconds:.1f} s on {device}")
    common.save(args, name, model=model, optimizer=optimizer, **curves)
    return args, result


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and end with the accuracy on the held-out quarter."""
    args, found = fit("digits", "an MLP", classifier, 30, argv)
    if args.plot:
        counts = confusion(found.truth, found.predicted)
        plot(args.plot, found.curves, counts, found.accuracy)
    print(found.accuracy)


if __name__ == "__main__":
    common.run(main)
