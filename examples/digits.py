"""Handwritten digits: an MLP with dropout learns scikit-learn's 8 x 8 pictures in mini-batches.

A quarter of the pictures is held out, for the test alone. All data are on the device, and the
host waits for the device once an epoch.

    python examples/digits.py --plot digits.png
    python examples/digits.py --device cuda --checkpoints run    # the same command goes on
    mpiexec -n 4 python examples/digits.py --parallel            # CPUs, or a GPU each
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import common
import numpy as np

import gpugrad as gg

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
    datasets = common.need("sklearn.datasets", "scikit-learn")
    selection = common.need("sklearn.model_selection", "scikit-learn")
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


def plot(path: Any, found: "Fit", title: str) -> None:
    """The loss curves, and beside them the confusion matrix, as a picture."""
    figure, (left, right) = common.figure(columns=2)
    gg.plot.curves(found.history, ax=left)
    left.set_ylabel(f"cross-entropy, labels smoothed by {SMOOTHING}")
    left.set_title("loss")
    gg.plot.confusion_matrix(found.predicted, found.truth, ax=right)
    right.set_title(title)
    common.save_picture(figure, path)
    print(f"loss curve and confusion matrix: {path}")


def print_confusion(truth: np.ndarray, predicted: np.ndarray) -> None:
    """How often each digit was taken for each digit, as text, with a dot for each zero."""
    counts = np.zeros((10, 10), dtype=int)
    np.add.at(counts, (truth, predicted), 1)
    print("held-out pictures: the digit (row), and what it was taken for (column)")
    print("     " + "".join(f"{digit:4d}" for digit in range(10)))
    for digit, row in enumerate(counts):
        print(f"{digit:4d} " + "".join(f"{count or '·':>4}" for count in row))


class Fit(NamedTuple):
    """A trained network and what it says of the held-out pictures, on the host."""

    model: gg.nn.Module
    data: Data
    history: list[dict[str, Any]]
    truth: np.ndarray
    predicted: np.ndarray

    @property
    def accuracy(self) -> str:
        return f"test accuracy: {np.mean(self.truth == self.predicted):.1%}"


def fit(
    kind: str, network: Callable[[], gg.nn.Module], epochs: int, argv: Sequence[str] | None
) -> tuple[argparse.Namespace, Fit]:
    """Read the flags of an example that learns the digits by a network, and train it."""
    flags = common.parser(f"Train {kind} on scikit-learn's handwritten digits.", trains=False)
    common.add_trainer_flags(flags, epochs, "adamw", RATES)
    common.add_parallel(flags)
    flags.add_argument(
        "--batch-size",
        type=common.positive_int,
        default=64,
        metavar="N",
        help="pictures in a step, of all processes together (default: %(default)s)",
    )
    args = flags.parse_args(argv)
    device = common.setup(args)
    data = load(args.seed, args.dtype, device)
    model = network()
    parameters = sum(p.size for p in model.parameters())
    print(f"{parameters} parameters, {args.dtype} on {device}")
    print(f"{len(data.x)} pictures to learn from, {len(data.test_x)} held out")

    trainer = gg.Trainer(
        model,
        common.optimizer(args, model.parameters()),
        gg.nn.CrossEntropyLoss(label_smoothing=SMOOTHING),
        metrics=["accuracy"],
        callbacks=[common.SameFlags(args)],
        checkpoints=args.checkpoints,
        compile=args.compile,
        parallel=args.parallel,
    )
    train = gg.data.DataLoader((data.x, data.y), args.batch_size, shuffle=True)
    test = gg.data.DataLoader((data.test_x, data.test_y), len(data.test_x))
    start = time.perf_counter()
    history = trainer.fit(train, test, args.epochs, resume=args.checkpoints is not None)
    seconds = time.perf_counter() - start

    predicted = trainer.predict(data.test_x).argmax(axis=1)
    result = Fit(model.eval(), data, history, data.test_y.cpu().numpy(), predicted.cpu().numpy())
    print_confusion(result.truth, result.predicted)
    print(f"trained {args.epochs} epochs in {seconds:.1f} s on {device}")
    return args, result


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and end with the accuracy on the held-out quarter."""
    args, found = fit("an MLP", classifier, 30, argv)
    if args.plot:
        plot(args.plot, found, found.accuracy)
    print(found.accuracy)


if __name__ == "__main__":
    common.run(main)
