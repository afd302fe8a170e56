"""What is called during training: `Callback`, `EarlyStopping` and `BestModel`. Imports errors."""

import copy
import math
from collections.abc import Mapping
from typing import Any

from gpugrad.engine.messages import is_whole
from gpugrad.errors import ArgumentError

__all__ = ["BestModel", "Callback", "EarlyStopping"]


class Callback:
    """Called by a `Trainer`; a subclass defines the methods that it needs.

    A callback that has ``state_dict`` and ``load_state_dict`` is saved with the checkpoints. To end
    the training after the step or epoch, set ``trainer.stop`` to the reason.
    """

    def on_fit_begin(self, trainer: Any) -> None:
        """Before the first step, or the first one after a resumption."""

    def on_step_end(self, trainer: Any, loss: Any) -> None:
        """After a step of the optimizer; ``loss`` is that of its last batch, a detached Tensor."""

    def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
        """After an epoch and its validation; ``record`` is its entry of the history."""

    def on_fit_end(self, trainer: Any) -> None:
        """After the last epoch, also where the training was ended before."""


class _Watcher(Callback):
    """Watches one number of the history."""

    def __init__(self, monitor: str = "val_loss", mode: str | None = None) -> None:
        if mode not in (None, "min", "max"):
            raise ArgumentError(
                f"{type(self).__name__}: mode must be 'min', 'max' or None, got {mode!r}"
            )
        self.monitor = monitor
        self.mode = mode
        self.best: float | None = None

    def _improved(self, trainer: Any, record: Mapping[str, Any], least: float = 0.0) -> bool:
        """Whether the number is better than the best one so far, which it then is."""
        if self.monitor not in record:
            raise ArgumentError(
                f"{type(self).__name__}: there is no {self.monitor!r} in the history, which has "
                f"{', '.join(record)}. Pass monitor=, or validation data to fit"
            )
        value = float(record[self.monitor])
        higher = trainer.higher_is_better(self.monitor) if self.mode is None else self.mode == "max"
        if math.isnan(value):
            return False
        if self.best is not None:
            gain = value - self.best if higher else self.best - value
            if not gain > least:
                return False
        self.best = value
        return True


class EarlyStopping(_Watcher):
    """Ends the training when a number of the history has not improved for ``patience`` epochs.

    An improvement is one by more than ``min_delta``. ``mode`` says whether a smaller number ("min")
    or a larger one ("max") is better; None asks the metric, and takes "min" for losses.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        if not is_whole(patience, 1):
            raise ArgumentError(
                f"EarlyStopping: patience must be a whole number of 1 or more, got {patience!r}"
            )
        self.patience = patience
        self.min_delta = min_delta
        self.waited = 0

    def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
        if self._improved(trainer, record, self.min_delta):
            self.waited = 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.stop = (
                f"{self.monitor} has not improved on {self.best:.6g} for {self.waited} epochs"
                if self.best is not None
                else f"{self.monitor} was no number for {self.waited} epochs"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.best, self.waited = state_dict["best"], state_dict["waited"]


class BestModel(_Watcher):
    """Keeps the model of the best epoch, and gives the model its values when the training ends."""

    def __init__(self, monitor: str = "val_loss", mode: str | None = None) -> None:
        super().__init__(monitor, mode)
        self.epoch: int | None = None
        self.model: dict[str, Any] | None = None

    def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
        if self._improved(trainer, record):
            self.epoch = record["epoch"]
            self.model = copy.deepcopy(trainer.model.state_dict())

    def on_fit_end(self, trainer: Any) -> None:
        if self.model is not None:
            trainer.model.load_state_dict(self.model)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "epoch": self.epoch, "model": self.model}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.best, self.epoch = state_dict["best"], state_dict["epoch"]
        self.model = state_dict["model"]
