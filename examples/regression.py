"""Regression, twice: a linear map by hand-written updates, and the diabetes data by an MLP.

    python examples/regression.py --plot loss.png
    python examples/regression.py --data diabetes

The synthetic data are 100 x 3 normal numbers x and y = x * coef - 3; ``x @ w + b`` learns
them, so w becomes diag(coef) and b becomes -3.

The diabetes data are 442 patients: ten measurements each, and the progress of the disease a year
later. A quarter is held out. Of the rest, three quarters are for training and one quarter, the
validation part, chooses the epoch, and the penalty of ridge regression, its baseline. The
held-out patients are used for one score of each.
"""

import argparse
import math
from collections.abc import Sequence
from typing import NamedTuple

import common
import numpy as np

import gpugrad as gg
import gpugrad.nn.functional as F

COEF = [-1.0, 3.0, -2.0]
SYNTHETIC_RATES = {"sgd": 3e-4, "momentum": 3e-5, "adam": 0.1, "adamw": 0.1}
DIABETES_RATES = {"sgd": 0.01, "momentum": 1e-3, "adam": 1e-3, "adamw": 1e-3}


# ---------------------------------------------------------------- synthetic data


def synthetic(args: argparse.Namespace, device: gg.Device) -> tuple[gg.Tensor, gg.Tensor]:
    """Fit ``x @ w + b`` to ``x * coef - 3``; returns w and b."""
    x = gg.random.normal(size=(100, 3))
    y = x * gg.tensor(COEF) - 3
    w = gg.random.normal(size=(3, 3)).requires_grad_()
    b = gg.random.normal(size=3).requires_grad_()
    lr = common.rate(args)
    # Plain descent is written out below; the other optimizers come from gg.optim.
    optimizer = None if args.optimizer == "sgd" else common.optimizer(args, [w, b])
    print(f"x @ w + b: {w.size + b.size} parameters, {args.dtype} on {device}")

    parts = {} if optimizer is None else {"optimizer": optimizer}
    state = common.resume(args, "regression", **parts)
    losses = state.get("losses", [])
    with gg.no_grad():
        if state:
            w[...], b[...] = state["w"], state["b"]

    done = len(losses)
    with common.Progress(range(done, done + args.epochs), every=10) as progress:
        for _ in progress:
            predicted = x @ w + b
            loss = ((predicted - y) ** 2).sum()
            loss.backward()
            if optimizer is None:
                with gg.no_grad():
                    w -= lr * w.grad
                    b -= lr * b.grad
            else:
                optimizer.step()
            w.zero_grad()
            b.zero_grad()
            losses.append(loss.detach())
            progress.report(loss=loss)

    losses = common.numbers(losses)
    print("w (to learn: diag" + str(tuple(COEF)) + ")")
    for row in w.detach().tolist():
        print("   ", "  ".join(f"{value:8.4f}" for value in row))
    print("b (to learn: -3)")
    print("   ", "  ".join(f"{value:8.4f}" for value in b.detach().tolist()))
    print(f"final loss: {losses[-1]:.6f}")
    common.save(args, "regression", w=w.detach(), b=b.detach(), losses=losses, **parts)
    if args.plot:
        common.plot_losses(args.plot, {"loss": losses}, "x @ w + b", "sum of squared errors")
    return w, b


# ---------------------------------------------------------------- diabetes


class Part(NamedTuple):
    """Standardised measurements (n, 10), and the course of the disease (n, 1)."""

    x: np.ndarray
    y: np.ndarray


def load(seed: int) -> tuple[Part, Part, Part]:
    """The training, validation and test part, standardised by the mean and spread of the first."""
    datasets = common.need("sklearn.datasets", "scikit-learn", "examples")
    split = common.need("sklearn.model_selection", "scikit-learn", "examples").train_test_split
    x, y = datasets.load_diabetes(return_X_y=True)
    y = y[:, None]
    seed %= 2**32
    x, test_x, y, test_y = split(x, y, test_size=0.25, random_state=seed)
    x, valid_x, y, valid_y = split(x, y, test_size=0.25, random_state=seed)
    return tuple(
        Part((px - x.mean(0)) / x.std(0), (py - y.mean(0)) / y.std(0))
        for px, py in ((x, y), (valid_x, valid_y), (test_x, test_y))
    )


def r2(predicted: np.ndarray, truth: np.ndarray) -> float:
    """The share of the variance that a prediction explains: 1 is perfect, 0 is the mean."""
    return float(1 - ((predicted - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def ridge(train: Part, valid: Part, test: Part) -> float:
    """R² on the test part of ridge regression, its penalty chosen by the validation part."""

    def fitted(penalty: float) -> np.ndarray:
        x, y = train
        return np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)

    best = max(
        (fitted(10.0**power) for power in range(-2, 5)),
        key=lambda w: r2(valid.x @ w, valid.y),
    )
    return r2(test.x @ best, test.y)


def diabetes(args: argparse.Namespace, device: gg.Device) -> tuple[float, float]:
    """Train an MLP, keep its best epoch by the validation part; R² of it and of ridge."""
    parts = load(args.seed)
    (x, y), (valid_x, valid_y), (test_x, _) = (
        tuple(gg.tensor(array, dtype=args.dtype, device=device) for array in part) for part in parts
    )
    model = gg.nn.Sequential(
        gg.nn.Linear(10, 64), gg.nn.ReLU(), gg.nn.Dropout(0.3), gg.nn.Linear(64, 1)
    )
    optimizer = common.optimizer(args, model.parameters(), decay=1.0)
    parameters = sum(p.size for p in model.parameters())
    print(f"{parameters} parameters, {args.dtype} on {device}")
    print(f"{len(x)} patients to learn from, {len(valid_x)} to choose by, {len(test_x)} held out")

    state = common.resume(args, "regression", model=model, optimizer=optimizer)
    curves = {name: state.get(name, []) for name in ("training", "validation")}
    best = state.get("best", {})
    done = len(curves["training"])
    batches = gg.data.DataLoader((x, y), batch_size=32, shuffle=True)
    with common.Progress(range(done + 1, done + args.epochs + 1), every=10) as progress:
        for _ in progress:
            model.train()
            total = gg.zeros(())
            for batch_x, batch_y in batches:
                loss = F.mse_loss(model(batch_x), batch_y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total = total + loss.detach() * len(batch_x)
            model.eval()
            with gg.no_grad():
                valid_loss = F.mse_loss(model(valid_x), valid_y)
            train_loss, valid_loss = common.numbers([total / len(x), valid_loss])
            if valid_loss < min(curves["validation"], default=math.inf):
                best = {name: value.copy() for name, value in model.state_dict().items()}
            curves["training"].append(train_loss)
            curves["validation"].append(valid_loss)
            progress.report(**{f"{name} loss": curve[-1] for name, curve in curves.items()})

    common.save(args, "regression", model=model, optimizer=optimizer, best=best, **curves)
    if args.plot:
        common.plot_losses(args.plot, curves, "diabetes", "mean squared error")
    model.load_state_dict(best)
    with gg.no_grad():
        score = r2(model(test_x).cpu().numpy(), parts[2].y)
    beside = ridge(*parts)
    epoch = 1 + int(np.argmin(curves["validation"]))
    print(f"epoch {epoch} is the best by the validation part")
    print(f"R² on the held-out quarter: MLP {score:.3f}, ridge regression {beside:.3f}")
    return score, beside


def main(argv: Sequence[str] | None = None) -> None:
    """Fit the data that the flags name."""
    parser = common.parser(
        "Fit a linear map by hand-written updates, or scikit-learn's diabetes data by an MLP "
        "(whose defaults are --epochs 100 --optimizer adamw --lr 1e-3).",
        trains=True, epochs=101, rates=SYNTHETIC_RATES,
    )  # fmt: skip
    parser.add_argument(
        "--data",
        choices=("synthetic", "diabetes"),
        default="synthetic",
        help="what to fit (default: %(default)s)",
    )
    known, _ = parser.parse_known_args(argv)
    if known.data == "diabetes":
        parser.set_defaults(rates=DIABETES_RATES, epochs=100, optimizer="adamw")
    args = parser.parse_args(argv)
    fit = diabetes if args.data == "diabetes" else synthetic
    fit(args, common.setup(args))


if __name__ == "__main__":
    common.run(main)
