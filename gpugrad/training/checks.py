"""What a `Trainer` accepts, and what it says of the rest. Imports data, metrics, nn and below."""

from collections.abc import Iterable, Mapping
from typing import Any

from gpugrad.data.dataset import is_array
from gpugrad.engine.messages import is_whole
from gpugrad.errors import ArgumentError, DTypeError, FileFormatError, ShapeError
from gpugrad.metrics import BY_NAME, Metric
from gpugrad.nn import Module
from gpugrad.tensor import Tensor
from gpugrad.training.callbacks import Callback

__all__ = [
    "as_callbacks", "as_metrics", "check_batches", "check_closure", "check_loss", "check_model",
    "check_state", "check_whole",
]  # fmt: skip


def check_model(model: Any, optimizer: Any, loss: Any, scheduler: Any) -> None:
    """DTypeError, or ArgumentError for an optimizer of another model."""
    if not isinstance(model, Module):
        instead = ". Pass the model itself, and compile=True" if hasattr(model, "report") else ""
        raise DTypeError(f"Trainer: model must be a Module, got {type(model).__name__}{instead}")
    without = optimizer is None  # for evaluate and predict
    if not without and (isinstance(optimizer, type) or not hasattr(optimizer, "param_groups")):
        raise DTypeError(
            f"Trainer: optimizer must be one of gg.optim, such as Adam(model.parameters()), got "
            f"{optimizer!r:.60}"
        )
    ours = set() if without else {id(parameter) for parameter in model.parameters()}
    theirs = set() if without else {id(p) for g in optimizer.param_groups for p in g["params"]}
    if ours and not ours & theirs:
        raise ArgumentError(
            "Trainer: the optimizer has no parameter of the model, so nothing would be learned. "
            "Make it of model.parameters()"
        )
    if isinstance(loss, type) or not callable(loss):
        raise DTypeError(
            f"Trainer: loss must be a function or a module, such as gg.nn.MSELoss(), got {loss!r}"
        )
    if scheduler is not None and (isinstance(scheduler, type) or not hasattr(scheduler, "step")):
        raise DTypeError(
            f"Trainer: scheduler must be one of gg.optim.lr_scheduler, or None, got {scheduler!r}"
        )


def check_closure(
    optimizer: Any, accumulate: int, clip_norm: Any, scaler: Any, parallel: Any
) -> None:
    """ArgumentError for what has no place in an optimizer that computes the gradients itself."""
    given = {
        "accumulate": accumulate != 1,
        "clip_norm": clip_norm is not None,
        "autocast='float16'": scaler is not None,
        "parallel": bool(parallel),
    }
    for name, is_given in given.items():
        if is_given:
            raise ArgumentError(
                f"Trainer: {type(optimizer).__name__} computes the loss of a batch several times a "
                f"step and compares them, so {name} cannot be used. Leave it out, or use Adam"
            )


def check_whole(name: str, value: Any, least: int) -> None:
    """ArgumentError for what is no whole number, or too small."""
    if not is_whole(value, least):
        raise ArgumentError(
            f"Trainer: {name} must be a whole number of {least} or more, got {value!r}"
        )


def as_metrics(metrics: Any) -> list[Metric]:
    """Metrics by their names, or as they are; a single one may stand alone."""
    return [_metric(m) for m in ([metrics] if isinstance(metrics, str | Metric) else metrics)]


def _metric(metric: Any) -> Metric:
    if isinstance(metric, str):
        if metric not in BY_NAME:
            raise ArgumentError(
                f"Trainer: no metric is named {metric!r}; there are {', '.join(BY_NAME)}, and the "
                "classes of gg.metrics"
            )
        return BY_NAME[metric]()
    if not isinstance(metric, Metric):
        raise DTypeError(f"Trainer: a metric is a name or a gg.metrics.Metric, got {metric!r}")
    return metric


def as_callbacks(callbacks: Any) -> list[Callback]:
    """A list of callbacks; a single one may stand alone."""
    listed = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
    for callback in listed:
        if not isinstance(callback, Callback):
            raise DTypeError(
                f"Trainer: a callback is an object of a class made from gg.training.Callback, got "
                f"{callback!r}"
            )
    return listed


def check_batches(who: str, batches: Any) -> None:
    """DTypeError for arrays in place of batches of them."""
    is_data = isinstance(batches, tuple | Tensor | Mapping) or is_array(batches)
    if is_data or not isinstance(batches, Iterable):
        raise DTypeError(
            f"Trainer.{who}: expected batches, got {type(batches).__name__}. Write "
            "gg.data.DataLoader((x, y), batch_size=...)"
        )


def check_loss(loss: Any) -> None:
    """DTypeError for a loss that is no Tensor, ShapeError for one of several numbers."""
    if not isinstance(loss, Tensor):
        raise DTypeError(f"Trainer: the loss must be a Tensor, got {type(loss).__name__}")
    if loss.size != 1:
        raise ShapeError(
            f"Trainer: the loss of a batch must be one number, its mean, got shape {loss.shape}. "
            "Pass reduction='mean'"
        )


def check_state(state: Any, now: Mapping[str, Any]) -> None:
    """FileFormatError for a checkpoint that is not one of this training, whose state is ``now``."""
    if not isinstance(state, Mapping) or set(state) != set(now):
        raise FileFormatError(
            f"Trainer.fit: the checkpoint is no Trainer's: expected {sorted(now)}, got "
            f"{sorted(map(str, state)) if isinstance(state, Mapping) else type(state).__name__}"
        )
    saved, own = ({**s, "generators": s["random"]["generators"]} for s in (state, now))
    for name in ("metrics", "callbacks", "generators"):
        if len(saved[name]) != len(own[name]):
            raise FileFormatError(
                f"Trainer.fit: the checkpoint has {len(saved[name])} {name}, this training "
                f"{len(own[name])}: make trainer, model and loaders as they were"
            )
    for name in ("scheduler", "scaler", "loader"):
        if (state[name] is None) != (now[name] is None):
            what = f"a {name}" if now[name] is None else f"no {name}"
            raise FileFormatError(
                f"Trainer.fit: the checkpoint is of a training with {what}: make it as it was"
            )
