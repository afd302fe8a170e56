"""Metrics that add up over batches: ``gg.metrics``. Imports functions and below.

A metric gets predictions and targets batch by batch, keeps counts or sums on their device, and is
looked at once, by `compute`: no batch waits for a GPU. The values are scikit-learn's.
"""

import math
import operator
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Literal

import numpy as np

from gpugrad.engine.modes import no_grad
from gpugrad.errors import ArgumentError, ShapeError
from gpugrad.functions import FUNCTIONS
from gpugrad.tensor import Tensor, as_tensor

__all__ = [
    "AUC", "F1", "R2", "Accuracy", "ConfusionMatrix", "Metric", "accuracy", "auc",
    "confusion_matrix", "f1", "r2",
]  # fmt: skip

Average = Literal["binary", "macro", "micro", "weighted"]


class Metric:
    """A number that describes predictions; a subclass defines ``update`` and ``compute``.

    What it has added up is in the attributes that ``sums`` names, Tensors, numbers, lists of these,
    or None before the first batch. ``higher_is_better`` says which of two values is better.
    """

    name = "metric"
    higher_is_better = True
    sums: tuple[str, ...] = ()

    def reset(self) -> None:
        """Forget all batches."""
        for name in self.sums:
            setattr(self, name, None)

    def update(self, prediction: Any, target: Any) -> None:
        """Add a batch."""
        raise NotImplementedError(f"{type(self).__name__}: define update(prediction, target)")

    def compute(self) -> Any:
        """The value for all batches so far."""
        raise NotImplementedError(f"{type(self).__name__}: define compute()")

    def state_dict(self) -> dict[str, Any]:
        """What was added up, for ``gg.save``."""
        return {name: getattr(self, name) for name in self.sums}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state; ValueError for that of another metric."""
        if set(state_dict) != set(self.sums):
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: expected {sorted(self.sums)}, got "
                f"{sorted(map(str, state_dict))}"
            )
        for name in self.sums:
            setattr(self, name, state_dict[name])

    def merge(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take the sum of several states, such as those of processes that share the batches.

        Tensors and numbers are added, lists are joined, and None is left out.
        """
        for name in self.sums:
            terms = [state[name] for state in states if state[name] is not None]
            setattr(self, name, reduce(operator.add, terms) if terms else None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _detached(who: str, prediction: Any, target: Any) -> tuple[Tensor, Tensor]:
    prediction = as_tensor(prediction).detach()
    if not hasattr(target, "shape"):
        target = as_tensor(np.asarray(target), device=prediction.device)
    target = as_tensor(target).detach()
    if prediction.shape[:1] != target.shape[:1] or not prediction.ndim:
        raise ShapeError(
            f"{who}: expected one target for each prediction, got {prediction.shape} and "
            f"{target.shape}"
        )
    return prediction, target


def _classes(
    who: str, prediction: Tensor, target: Tensor, threshold: float
) -> tuple[Tensor, Tensor, int]:
    """Predicted and true class numbers, and how many classes there are.

    Predictions are scores (n, classes), or of the class 1 alone, (n,) or (n, 1).
    """
    if prediction.ndim == 2 and prediction.shape[1] > 1:
        classes, predicted = prediction.shape[1], prediction.argmax(axis=1)
    else:
        classes, predicted = 2, (prediction.reshape(-1) > threshold).astype("int64")
    if target.ndim == 2 and target.shape[1] == classes and classes > 1:
        target = target.argmax(axis=1)  # one-hot, or probabilities
    target = target.reshape(-1).astype("int64")
    if target.shape != predicted.shape:
        raise ShapeError(
            f"{who}: expected scores (n, classes) and class numbers (n,), got {prediction.shape} "
            f"and {target.shape}"
        )
    return predicted, target, classes


def added(total: Any, term: Any) -> Any:
    """A total, None before the first term, and a term."""
    return term if total is None else total + term


class Accuracy(Metric):
    """The share of predictions that are right.

    Predictions are scores (n, classes), of which the largest counts, or scores of the class 1,
    (n,) or (n, 1), which count as 1 above ``threshold``: 0 for logits, 0.5 for probabilities.

    >>> import gpugrad as gg
    >>> metric = gg.metrics.Accuracy()
    >>> metric.update([[0.1, 2.0], [1.0, 0.3]], [1, 1])
    >>> metric.compute()
    0.5
    """

    name = "accuracy"
    sums = ("right", "count")
    right: Any
    count: Any

    def __init__(self, threshold: float = 0.0) -> None:
        self.threshold = threshold
        self.reset()

    def update(self, prediction: Any, target: Any) -> None:
        with no_grad():
            prediction, target = _detached("Accuracy", prediction, target)
            predicted, target, _ = _classes("Accuracy", prediction, target, self.threshold)
            self.right = added(self.right, (predicted == target).astype("int64").sum())
            self.count = added(self.count, len(target))

    def compute(self) -> float:
        return int(self.right) / self.count if self.count else math.nan


class ConfusionMatrix(Metric):
    """How often each true class (row) was predicted as each class (column).

    Predictions and ``threshold`` are those of `Accuracy`; the value is a NumPy array.

    >>> import gpugrad as gg
    >>> gg.metrics.confusion_matrix([0.3, -1.0, 2.0], [1, 1, 0]).tolist()
    [[0, 1], [1, 1]]
    """

    name = "confusion_matrix"
    sums = ("counts",)
    counts: Any

    def __init__(self, threshold: float = 0.0) -> None:
        self.threshold = threshold
        self.reset()

    def update(self, prediction: Any, target: Any) -> None:
        who = type(self).__name__
        with no_grad():
            prediction, target = _detached(who, prediction, target)
            predicted, target, n = _classes(who, prediction, target, self.threshold)
            pairs = FUNCTIONS["bincount"](target * n + predicted, minlength=n * n)
            self.counts = added(self.counts, pairs.reshape((n, n)))

    def compute(self) -> Any:
        return np.zeros((0, 0), np.int64) if self.counts is None else self.counts.numpy()


class F1(ConfusionMatrix):
    """The harmonic mean of precision and recall.

    ``average`` is "binary" for that of class 1, "macro" for the mean over the classes that occur,
    "weighted" for the mean by the number of true samples, or "micro" for all counts together. A
    class that is neither true nor predicted has none; without one the value is NaN, in place of
    scikit-learn's 0 and its warning.

    >>> import gpugrad as gg
    >>> gg.metrics.f1([0.3, -1.0, 2.0], [1, 1, 0], average="binary")
    0.5
    """

    name = "f1"

    def __init__(self, average: Average = "macro", threshold: float = 0.0) -> None:
        if average not in ("binary", "macro", "micro", "weighted"):
            raise ArgumentError(
                f"F1: average must be 'binary', 'macro', 'micro' or 'weighted', got {average!r}"
            )
        self.average = average
        super().__init__(threshold)

    def compute(self) -> float:
        counts = super().compute().astype(np.float64)
        right, true, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
        if self.average == "micro":
            return float(right.sum() / counts.sum()) if counts.sum() else math.nan
        occurs = true + predicted > 0
        scores = 2 * right[occurs] / (true + predicted)[occurs]
        if self.average == "binary":
            if len(counts) > 2:
                raise ArgumentError(
                    f"F1: average='binary' is for two classes, there are {len(counts)}. Pass "
                    "average='macro'"
                )
            return float(scores[-1]) if len(counts) and occurs[1] else math.nan
        if not occurs.any():
            return math.nan
        weights = true[occurs] if self.average == "weighted" else None
        return float(np.average(scores, weights=weights))


class R2(Metric):
    """The coefficient of determination: 1 - squared errors / squared deviations from the mean.

    For several outputs the mean over them. NaN for fewer than two samples; where all targets are
    equal 1 for predictions without an error, and 0 for others.

    >>> import gpugrad as gg
    >>> round(gg.metrics.r2([2.5, 0.0, 2.0, 8.0], [3.0, -0.5, 2.0, 7.0]), 4)
    0.9486
    """

    name = "r2"
    sums = ("count", "mean", "deviations", "errors")
    count: Any
    mean: Any
    deviations: Any
    errors: Any

    def __init__(self) -> None:
        self.reset()

    def update(self, prediction: Any, target: Any) -> None:
        with no_grad():
            prediction, target = _detached("R2", prediction, target)
            if not len(target):
                return
            prediction = prediction.reshape((len(prediction), -1)).astype("float64")
            target = target.reshape((len(target), -1)).astype("float64")
            if prediction.shape != target.shape:
                raise ShapeError(
                    f"R2: expected predictions and targets of one shape, got {prediction.shape} "
                    f"and {target.shape}"
                )
            mean = target.mean(axis=0)
            deviations = ((target - mean) ** 2).sum(axis=0)
            self._add(len(target), mean, deviations, ((prediction - target) ** 2).sum(axis=0))

    def _add(self, n: int, mean: Any, deviations: Any, errors: Any) -> None:
        """Add what describes some samples (Chan, Golub and LeVeque, 1979)."""
        if self.count:
            total = self.count + n
            shift = mean - self.mean
            deviations = self.deviations + deviations + shift**2 * (self.count * n / total)
            mean = self.mean + shift * (n / total)
        self.mean, self.deviations = mean, deviations
        self.count = (self.count or 0) + n
        self.errors = added(self.errors, errors)

    def merge(self, states: Sequence[Mapping[str, Any]]) -> None:
        self.reset()
        for state in states:
            if state["count"]:
                self._add(*(state[name] for name in self.sums))

    def compute(self) -> float:
        if not self.count or self.count < 2:
            return math.nan
        errors, deviations = self.errors.numpy(), self.deviations.numpy()
        constant = deviations == 0
        scores = 1 - errors / np.where(constant, 1.0, deviations)
        return float(np.mean(np.where(constant & (errors > 0), 0.0, scores)))


class AUC(Metric):
    """The area under the curve of true over false positives, by ranks; ties count a half.

    Predictions are scores of class 1, (n,) or (n, 1), or scores (n, classes): for two classes those
    of the second less those of the first, for more the mean over the classes, each against all
    others. NaN where a class has no sample or a score is NaN. All scores are kept.

    >>> import gpugrad as gg
    >>> gg.metrics.auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """

    name = "auc"
    sums = ("scores", "targets")
    scores: Any
    targets: Any

    def __init__(self) -> None:
        self.reset()

    def update(self, prediction: Any, target: Any) -> None:
        with no_grad():
            prediction, target = _detached("AUC", prediction, target)
            if not len(target):
                return
            scores = prediction.reshape((len(prediction), -1))
            _, target, _ = _classes("AUC", prediction, target, 0.0)
            if scores.shape[1] == 2:
                scores = scores[:, 1:] - scores[:, :1]
            self.scores = [*(self.scores or []), scores]
            self.targets = [*(self.targets or []), target]

    def compute(self) -> float:
        if not self.scores:
            return math.nan
        scores = np.concatenate([part.numpy() for part in self.scores])
        targets = np.concatenate([part.numpy() for part in self.targets])
        if scores.shape[1] == 1:
            return _area(scores[:, 0], targets == 1)
        areas = [_area(scores[:, c], targets == c) for c in range(scores.shape[1])]
        return float(np.mean(areas))


def _area(scores: np.ndarray, positive: np.ndarray) -> float:
    """The probability that a positive sample has a higher score than a negative one."""
    n = int(np.count_nonzero(positive))
    others = len(positive) - n
    if not n or not others or np.isnan(scores).any():
        return math.nan
    _, index, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[index]  # the mean of those that tie
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * others))


def _at_once(metric: Metric, prediction: Any, target: Any) -> Any:
    metric.update(prediction, target)
    return metric.compute()


def accuracy(prediction: Any, target: Any, threshold: float = 0.0) -> float:
    """`Accuracy` of one batch."""
    return float(_at_once(Accuracy(threshold), prediction, target))


def confusion_matrix(prediction: Any, target: Any, threshold: float = 0.0) -> np.ndarray:
    """`ConfusionMatrix` of one batch."""
    counts: np.ndarray = _at_once(ConfusionMatrix(threshold), prediction, target)
    return counts


def f1(prediction: Any, target: Any, average: Average = "macro", threshold: float = 0.0) -> float:
    """`F1` of one batch."""
    return float(_at_once(F1(average, threshold), prediction, target))


def r2(prediction: Any, target: Any) -> float:
    """`R2` of one batch."""
    return float(_at_once(R2(), prediction, target))


def auc(prediction: Any, target: Any) -> float:
    """`AUC` of one batch."""
    return float(_at_once(AUC(), prediction, target))


# By the names that a `Trainer` takes.
BY_NAME = {"accuracy": Accuracy, "f1": F1, "r2": R2, "auc": AUC}
