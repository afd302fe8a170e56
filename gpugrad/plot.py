"""Pictures of a training and of a model, by matplotlib: ``gg.plot``. Imports training and below.

Each function takes tensors on any device, or arrays, draws into ``ax`` or a new figure of pyplot,
and returns the Axes, whose titles and colours are then yours to change.

>>> import gpugrad as gg
>>> model = gg.nn.MLP(2, [8, 1])
>>> axes = gg.plot.weights(model)
>>> [label.get_text().split()[0] for label in axes.get_yticklabels()]
['layers.0.weight', 'layers.0.bias', 'layers.1.weight', 'layers.1.bias']
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gpugrad import metrics
from gpugrad.backend.requirements import pip_install
from gpugrad.errors import ArgumentError, DTypeError, FileFormatError, ShapeError
from gpugrad.nn import Module
from gpugrad.tensor.creation import asarray
from gpugrad.training import Trainer

__all__ = ["confusion_matrix", "curves", "gradients", "predictions", "weights"]

BINS = 60


def curves(history: Any, metric: str = "loss", *, ax: Any = None) -> Any:
    """A number of a training by epoch, that of the training data and that of the validation data.

    ``history`` is a `Trainer`, the list that ``fit`` returned, the path of its file of JSON lines,
    or a dict of curves by name, which are all drawn. The axis of a loss that falls by more than
    tenfold is logarithmic; a note says from which epoch on a loss is 0.

    >>> import gpugrad as gg
    >>> axes = gg.plot.curves(
    ...     [{"epoch": 1, "loss": 0.5, "val_loss": 0.7}, {"epoch": 2, "loss": 0.3}]
    ... )
    >>> [line.get_label() for line in axes.lines]
    ['training', 'validation']
    """
    ax = _axes(ax)
    named = _named_curves(history, metric)
    for name, (epochs, values) in named.items():
        ax.plot(epochs, values, label=name, linewidth=1.5)
    positive = [v for _, values in named.values() for v in values if 0 < v < math.inf]
    if "loss" in metric and positive and max(positive) > 10 * min(positive):
        ax.set_yscale("log", nonpositive="mask")
        for epochs, values in named.values():
            _mark_zeros(ax, epochs, values)
    ax.set_xlabel("epoch")
    ax.set_ylabel(metric)
    ax.grid(alpha=0.3)
    ax.xaxis.get_major_locator().set_params(integer=True)
    if len(named) > 1:
        ax.legend()
    return ax


def _mark_zeros(ax: Any, epochs: list[int], values: list[float]) -> None:
    """Say where a curve ends since all that follows is 0, which has no place on the axis."""
    last = max((i for i, value in enumerate(values) if value != 0), default=-1)
    if 0 <= last < len(values) - 1:
        ax.annotate(
            f"0 from epoch {epochs[last + 1]} on",
            (epochs[last], values[last]), (8, 0), textcoords="offset points", va="center",
        )  # fmt: skip


def _named_curves(history: Any, metric: str) -> dict[str, tuple[list[int], list[float]]]:
    """Epochs and values by the name of a curve."""
    if isinstance(history, Mapping):
        curves = {name: _host(values).reshape(-1).tolist() for name, values in history.items()}
        return {name: (list(range(1, len(v) + 1)), v) for name, v in curves.items()}
    if isinstance(history, Trainer):
        history = history.history
    elif isinstance(history, str | os.PathLike):
        history = _json_lines(history)
    # A training that went on from a checkpoint has written some epochs twice: the last one counts.
    records = {record["epoch"]: record for record in history}
    found = {}
    for label, name in (("training", metric), ("validation", f"val_{metric}")):
        epochs = [epoch for epoch, record in sorted(records.items()) if name in record]
        if epochs:
            found[label] = (epochs, [_number(name, records[epoch][name]) for epoch in epochs])
    if not found:
        names = sorted({name for record in records.values() for name in record})
        raise ArgumentError(
            f"plot.curves: the history has no {metric!r}; it has {', '.join(names) or 'no epoch'}"
        )
    return found


def _number(name: str, value: Any) -> float:
    if value is not None and not isinstance(value, int | float):
        raise ArgumentError(f"plot.curves: {name!r} is no number but {type(value).__name__}")
    return math.nan if value is None else float(value)  # JSON has no NaN


def _json_lines(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    records = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
                record["epoch"]
            except (ValueError, TypeError, KeyError) as error:
                raise FileFormatError(
                    f"plot.curves: line {number} of {os.fspath(path)} is no entry of a history; "
                    "expected a file that Trainer(log=...) has written"
                ) from error
            records.append(record)
    return records


def confusion_matrix(
    prediction: Any,
    target: Any,
    *,
    labels: Iterable[Any] | None = None,
    threshold: float = 0.0,
    ax: Any = None,
) -> Any:
    """How often each true class (row) was predicted as each class (column).

    ``prediction`` has class numbers, whole, (n,), or scores as `gg.metrics.Accuracy` takes them,
    (n, classes), or (n,) for class 1 above the ``threshold``. ``labels`` are the names of the
    classes. A colour is the share of the row.

    >>> import gpugrad as gg
    >>> axes = gg.plot.confusion_matrix([0, 1, 1, 2], [0, 1, 2, 2], labels=["cat", "dog", "owl"])
    >>> [text.get_text() for text in axes.texts]
    ['1', '1', '1', '1']
    """
    counts = _counts(prediction, target, threshold)
    names = [str(label) for label in (range(len(counts)) if labels is None else labels)]
    if len(names) != len(counts):
        raise ArgumentError(
            f"plot.confusion_matrix: expected a label for each of {len(counts)} classes, got "
            f"{len(names)}"
        )
    ax = _axes(ax)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)  # a root keeps few mistakes visible
    for row, column in np.argwhere(counts):
        color = "white" if shares[row, column] > 0.4 else "black"
        text = f"{counts[row, column]}"
        ax.text(column, row, text, ha="center", va="center", color=color)
    slant = {"rotation": 45, "ha": "right"} if max(map(len, names), default=0) > 3 else {}
    ax.set_xticks(range(len(names)), names, **slant)
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    ax.set_title(f"accuracy {np.trace(counts) / max(counts.sum(), 1):.1%}")
    return ax


def _counts(prediction: Any, target: Any, threshold: float) -> np.ndarray:
    prediction, target = _host(prediction), _host(target)
    if prediction.ndim != 1 or prediction.dtype.kind not in "iub":
        return metrics.confusion_matrix(prediction, target, threshold)
    if prediction.shape != target.shape or target.dtype.kind not in "iub":
        raise ShapeError(
            "plot.confusion_matrix: expected a class number for each prediction, got predictions "
            f"{prediction.shape} and targets {target.shape} of {target.dtype}"
        )
    pairs = np.stack([target, prediction]).astype(np.int64)
    if pairs.size and pairs.min() < 0:
        raise ArgumentError(f"plot.confusion_matrix: class numbers begin at 0, got {pairs.min()}")
    counts = np.zeros((pairs.max(initial=-1) + 1,) * 2, dtype=np.int64)
    np.add.at(counts, tuple(pairs), 1)
    return counts


def predictions(prediction: Any, target: Any, *, ax: Any = None) -> Any:
    """Predictions over the true values, (n,) or (n, outputs), and the line where both are equal.

    >>> import gpugrad as gg
    >>> axes = gg.plot.predictions([1.1, 1.9, 3.2], [1.0, 2.0, 3.0])
    >>> axes.get_title()
    'R² = 0.970'
    """
    prediction, target = _host(prediction), _host(target)
    fits = prediction.size == target.size and prediction.shape[:1] == target.shape[:1]
    if not fits or not prediction.size:
        raise ShapeError(
            "plot.predictions: expected a prediction for each true value, got shapes "
            f"{prediction.shape} and {target.shape}"
        )
    target = target.reshape(len(target), -1) if target.ndim else target.reshape(1, 1)
    prediction = prediction.reshape(target.shape)
    ax = _axes(ax, (5.0, 5.0))
    several = target.shape[1] > 1
    for output in range(target.shape[1]):
        ax.plot(
            target[:, output], prediction[:, output], ".", alpha=0.6, markeredgewidth=0,
            markersize=9, label=f"output {output}" if several else "samples",
        )  # fmt: skip
    both = np.concatenate([target, prediction]).astype(np.float64)
    both = both[np.isfinite(both)]
    ends = [both.min(), both.max()] if both.size else [0.0, 1.0]
    ax.plot(ends, ends, color="black", linewidth=1, linestyle="--", label="equal")
    ax.set_aspect("equal", adjustable="datalim")
    ax.set_xlabel("true")
    ax.set_ylabel("predicted")
    ax.grid(alpha=0.3)
    if several:
        ax.legend()
    ax.set_title(f"R² = {metrics.r2(prediction, target):.3f}")
    return ax


def weights(model: Any, *, ax: Any = None) -> Any:
    """A histogram of each parameter of a model, one above the other, all over the same axis.

    ``model`` is a `Module`, or a dict of arrays by name such as a ``state_dict()``.
    """
    ax = _ridges(_parameters("plot.weights", model), False, ax)
    ax.axvline(0, color="black", linewidth=0.5)
    ax.set_xlabel("value")
    ax.set_title("weights")
    return ax


def gradients(model: Any, *, ax: Any = None) -> Any:
    """A histogram of the size of each parameter's gradient, over a logarithmic axis.

    Layers whose gradients vanish lie far to the left. Zeros, and what is not finite, are no part of
    the histogram but are counted in the labels. ``model`` is a `Module` after ``backward()`` and
    before ``zero_grad()``, or a dict of gradients by name.

    >>> import gpugrad as gg
    >>> model = gg.nn.Sequential(gg.nn.Linear(4, 8), gg.nn.ReLU(), gg.nn.Linear(8, 1))
    >>> model(gg.ones((2, 4))).sum().backward()
    >>> gg.plot.gradients(model).get_xscale()
    'log'
    """
    ax = _ridges(_parameters("plot.gradients", model, gradients=True), True, ax)
    ax.set_xlabel("size of the gradient's elements")
    ax.set_title("gradients")
    return ax


def _parameters(who: str, model: Any, gradients: bool = False) -> dict[str, np.ndarray | None]:
    """Arrays of a model by name; None for a parameter without a gradient."""
    if isinstance(model, Mapping):
        arrays = dict(model)
    elif isinstance(model, Module):
        named = dict(model.named_parameters())
        arrays = {name: p.grad if gradients else p for name, p in named.items()}
    else:
        raise DTypeError(
            f"{who}: expected a Module or a dict of arrays, got {type(model).__name__}"
        )
    if all(array is None for array in arrays.values()):
        need = "no gradient; call loss.backward() before" if arrays else "no parameters"
        raise ArgumentError(f"{who}: the model has {need}")
    return {name: None if array is None else _host(array) for name, array in arrays.items()}


def _ridges(arrays: Mapping[str, np.ndarray | None], sizes: bool, ax: Any) -> Any:
    """Histograms one above the other, the first on top; with ``sizes`` of absolute values."""
    shown, labels = {}, []
    for name, array in arrays.items():
        note = "no gradient"
        if array is not None:
            values = array.reshape(-1).astype(np.float64)
            values = np.abs(values) if sizes else values
            good = np.isfinite(values) & ((values > 0) | (not sizes))
            shown[name] = values[good]
            lost = np.count_nonzero(~np.isfinite(values))
            zeros = np.count_nonzero(values == 0) if sizes else 0
            note = f"{array.shape}"
            note += f", {zeros / values.size:.0%} zero" if zeros else ""
            note += f", {lost} not finite" if lost else ""
        labels.append(f"{name}  {note}")
    everything = np.concatenate([*shown.values(), []])
    low, high = (everything.min(), everything.max()) if everything.size else (0.1, 1.0)
    if low == high:
        low, high = (low / 2, low * 2) if sizes else (low - 0.5, high + 0.5)
    edges = np.geomspace(low, high, BINS + 1) if sizes else np.linspace(low, high, BINS + 1)
    ax = _axes(ax, (7.5, 1.2 + 0.42 * len(arrays)))
    if sizes:
        ax.set_xscale("log")
    for row, name in enumerate(arrays):
        counts = np.histogram(shown.get(name, ()), edges)[0]
        heights = counts / max(counts.max(), 1)
        base = -float(row)
        ax.stairs(base + 0.85 * heights, edges, baseline=base, fill=True, alpha=0.7, label=name)
        ax.axhline(base, color="black", linewidth=0.5, alpha=0.5)
    ax.set_yticks([-row for row in range(len(arrays))], labels, va="bottom")
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", alpha=0.3)
    return ax


def _host(values: Any) -> np.ndarray:
    """A tensor, an array on any device or a list, as an array in host memory."""
    array: np.ndarray = asarray(values).detach().cpu().numpy()
    return array


def _axes(ax: Any, size: tuple[float, float] = (6.0, 4.5)) -> Any:
    """The Axes to draw into: those given, or of a new figure."""
    if ax is not None:
        if not hasattr(ax, "set_xlabel"):
            raise DTypeError(f"plot: ax must be an Axes of matplotlib, got {type(ax).__name__}")
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f"gg.plot needs matplotlib: {pip_install('plot')}") from error
    return plt.subplots(figsize=size, layout="constrained")[1]
