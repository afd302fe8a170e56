"""The diabetes data by an MLP, beside ridge regression, its baseline.

    python examples/diabetes.py --plot diabetes.png

The data are 442 patients: ten measurements each, and the progress of the disease a year later. A
quarter is held out. Of the rest, three quarters are for training and one quarter, the validation
part, chooses the epoch, and the penalty of ridge regression. The held-out patients are used for
one score of each.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import common
import numpy as np

import gpugrad as gg

RATES = {"sgd": 0.01, "momentum": 1e-3, "adam": 1e-3, "adamw": 1e-3}


class Part(NamedTuple):
    """Standardised measurements (n, 10), and the course of the disease (n, 1)."""

    x: np.ndarray
    y: np.ndarray


def load(seed: int) -> tuple[Part, Part, Part]:
    """The training, validation and test part, standardised by the mean and spread of the first."""
    datasets = common.need("sklearn.datasets", "scikit-learn")
    split = common.need("sklearn.model_selection", "scikit-learn").train_test_split
    x, y = datasets.load_diabetes(return_X_y=True)
    y = y[:, None]
    seed %= 2**32
    x, test_x, y, test_y = split(x, y, test_size=0.25, random_state=seed)
    x, valid_x, y, valid_y = split(x, y, test_size=0.25, random_state=seed)
    return tuple(
        Part((px - x.mean(0)) / x.std(0), (py - y.mean(0)) / y.std(0))
        for px, py in ((x, y), (valid_x, valid_y), (test_x, test_y))
    )


def ridge(train: Part, valid: Part, test: Part) -> float:
    """R² on the test part of ridge regression, its penalty chosen by the validation part."""

    def fitted(penalty: float) -> np.ndarray:
        x, y = train
        return np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)

    best = max(
        (fitted(10.0**power) for power in range(-2, 5)),
        key=lambda w: gg.metrics.r2(valid.x @ w, valid.y),
    )
    return gg.metrics.r2(test.x @ best, test.y)


def plot(path: Any, history: list[dict[str, Any]], predicted: gg.Tensor, truth: Any) -> None:
    """The loss curves, and the predictions for the held-out patients over the truth."""
    picture, (left, right) = common.figure(columns=2)
    gg.plot.curves(history, ax=left)
    left.set_ylabel("mean squared error")
    left.set_title("diabetes")
    gg.plot.predictions(predicted, truth, ax=right)
    right.set_title(f"held-out patients, {right.get_title()}")
    common.save_picture(picture, path)
    print(f"loss curve and predictions: {path}")


def main(argv: Sequence[str] | None = None) -> None:
    """Train an MLP, keep its best epoch by the validation part; R² of it and of ridge."""
    flags = common.parser("Fit scikit-learn's diabetes data by an MLP.", trains=False)
    common.add_trainer_flags(flags, 100, "adamw", RATES)
    args = flags.parse_args(argv)
    device = common.setup(args)
    parts = load(args.seed)
    train, valid, test = (
        tuple(gg.tensor(array, dtype=args.dtype) for array in part) for part in parts
    )
    model = gg.nn.Sequential(
        gg.nn.Linear(10, 64), gg.nn.ReLU(), gg.nn.Dropout(0.3), gg.nn.Linear(64, 1)
    )
    parameters = sum(p.size for p in model.parameters())
    print(f"{parameters} parameters, {args.dtype} on {device}")
    sizes = [len(part.x) for part in parts]
    print("{} patients to learn from, {} to choose by, {} held out".format(*sizes))

    best = gg.training.BestModel()
    trainer = gg.Trainer(
        model,
        common.optimizer(args, model.parameters(), decay=1.0),
        gg.nn.MSELoss(),
        callbacks=[best, common.SameFlags(args)],
        checkpoints=args.checkpoints,
        compile=args.compile,
    )
    history = trainer.fit(
        gg.data.DataLoader(train, batch_size=32, shuffle=True),
        gg.data.DataLoader(valid, batch_size=len(parts[1].x)),
        args.epochs,
        resume=args.checkpoints is not None,
    )
    predicted, truth = trainer.predict(test[0]), test[1]
    if args.plot:
        plot(args.plot, history, predicted, truth)
    print(f"epoch {best.epoch} is the best by the validation part")
    score, beside = gg.metrics.r2(predicted, truth), ridge(*parts)
    print(f"R² on the held-out quarter: MLP {score:.3f}, ridge regression {beside:.3f}")


if __name__ == "__main__":
    common.run(main)
