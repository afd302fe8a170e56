"""The training loop. Imports the modules beside it, data, inspect, metrics, nn, optim and below."""

import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from gpugrad.backend.device import Device
from gpugrad.data.dataset import is_array, map_arrays
from gpugrad.engine.modes import no_grad
from gpugrad.errors import ArgumentError, DTypeError
from gpugrad.functions import FUNCTIONS
from gpugrad.nn.module import Module, in_mode
from gpugrad.optim.lr_scheduler import ReduceLROnPlateau
from gpugrad.tensor import Tensor, as_tensor
from gpugrad.training.callbacks import Callback
from gpugrad.training.checkpoints import Checkpoints
from gpugrad.training.checks import (
    as_callbacks,
    as_metrics,
    check_batches,
    check_closure,
    check_loss,
    check_model,
    check_state,
    check_whole,
)
from gpugrad.training.finite import check_parameters
from gpugrad.training.logs import Progress, Writer
from gpugrad.training.precision import Precision
from gpugrad.training.ranks import merged, metric_states, own_part, ranks_of, take_own
from gpugrad.training.signals import interrupts
from gpugrad.training.state import random_state, restore_random, used_generators
from gpugrad.training.steps import Steps

__all__ = ["Trainer"]


class Trainer:
    """Trains a model: epochs, validation, metrics, checkpoints, exact resumption.

    ``optimizer`` is one of `gpugrad.optim`, or None for a trainer that evaluates and predicts only.

    ``loss(prediction, target)`` is a function or module that gives a mean. A batch is a pair
    (input, target); for others override `compute_loss`. ``metrics`` are names ("accuracy", "f1",
    "r2", "auc") or objects of `gpugrad.metrics`. ``scheduler`` steps after every "epoch" or "step"
    (``scheduler_every``). The gradients of ``accumulate`` batches make a step, averaged; those of a
    last smaller group count as if the missing batches had none. ``clip_norm`` bounds the norm of
    all gradients. ``autocast="bfloat16"`` or ``"float16"`` computes the loss inside `gg.autocast`;
    with float16 a ``scaler``, by default a new `gg.GradScaler`, skips steps that overflow. L-BFGS,
    which computes the loss several times a step, gets a function that does so for each batch.

    ``compile=True`` runs the steps and the evaluation as programs of `gg.compile`, to the same
    results but for rounding. What `compute_loss` asks of Python it then asks in the first batch
    alone; CompileError where the values of an array steer Python.

    ``parallel=True`` trains on all processes of `gpugrad.parallel`: the model becomes a
    `DataParallel`, a `DataLoader` divides each batch, whose size is that of all together, losses
    and metrics are those of all samples, and the first process shows, writes and saves. "shard"
    divides the state of the optimizer as well. Other iterables give each process its own batches.
    Whatever ends one, ends all after the same step.

    ``checkpoints`` is a folder: the state is saved there after each epoch, or every ``save_steps``
    steps or ``save_minutes`` minutes, and after Ctrl-C and SIGTERM; the last ``keep`` files stay.
    With ``fit(..., resume=True)`` the training goes on from the newest, to the same bits as if it
    had not stopped: model, optimizer, schedule, scaler, metrics, callbacks, the place in the data,
    and the generators of gpugrad, NumPy and Python are in it.

    ``progress`` is "bar" (tqdm), "lines" (one for each epoch), None, or "auto": a bar on a
    terminal. ``log`` is a path for JSON lines, or a ``SummaryWriter`` of TensorBoard. A loss or a
    gradient that is not finite raises AnomalyError with the operation that made it; on a GPU, where
    that waits, they are looked at every ``look_steps`` steps. Parameters that are not finite are
    never saved.

    >>> import gpugrad as gg, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    >>> y = (x[:, 0] > x[:, 1]).astype("int64")
    >>> model = gg.nn.MLP(2, [8, 2])
    >>> trainer = gg.Trainer(
    ...     model,
    ...     gg.optim.Adam(model.parameters(), lr=0.05),
    ...     gg.nn.CrossEntropyLoss(),
    ...     metrics=["accuracy"],
    ...     progress=None,
    ... )
    >>> data = gg.data.DataLoader((x, y), batch_size=16, shuffle=True)
    >>> history = trainer.fit(data, validation=data, epochs=20)
    >>> history[-1]["val_accuracy"] > 0.9
    True
    """

    def __init__(
        self,
        model: Module,
        optimizer: Any,
        loss: Callable[[Any, Any], Any],
        *,
        metrics: Iterable[Any] = (),
        scheduler: Any = None,
        scheduler_every: str = "epoch",
        accumulate: int = 1,
        clip_norm: float | None = None,
        autocast: Any = None,
        scaler: Any = None,
        callbacks: Iterable[Callback] = (),
        checkpoints: Any = None,
        save_steps: int | None = None,
        save_minutes: float | None = None,
        keep: int = 3,
        look_steps: int = 50,
        compile: bool = False,
        parallel: bool | str = False,
        progress: Any = "auto",
        log: Any = None,
    ) -> None:
        check_model(model, optimizer, loss, scheduler)
        if scheduler_every not in ("epoch", "step"):
            raise ArgumentError(
                f"Trainer: scheduler_every must be 'epoch' or 'step', got {scheduler_every!r}"
            )
        check_whole("accumulate", accumulate, 1)
        check_whole("look_steps", look_steps, 1)
        if save_steps is not None:
            check_whole("save_steps", save_steps, 1)
        minutes = 0.0 if save_minutes is None else save_minutes
        if not isinstance(minutes, int | float) or not minutes >= 0:
            raise ArgumentError(
                f"Trainer: save_minutes must be a number of 0 or more, got {save_minutes!r}"
            )
        if checkpoints is None and (save_steps is not None or save_minutes is not None):
            raise ArgumentError("Trainer: save_steps and save_minutes need checkpoints=FOLDER")
        self.ranks = ranks_of(parallel)
        self.model, self.loss = self.ranks.model(model), loss
        self.optimizer = self.ranks.optimizer(optimizer)
        self.scheduler, self.scheduler_every = scheduler, scheduler_every
        self.accumulate, self.clip_norm = accumulate, clip_norm
        self.precision = Precision(autocast, scaler)
        if getattr(optimizer, "needs_closure", False):
            check_closure(optimizer, accumulate, clip_norm, self.precision.scaler, parallel)
        self.metrics = as_metrics(metrics)
        self.callbacks = as_callbacks(callbacks)
        is_folder = checkpoints is None or isinstance(checkpoints, Checkpoints)
        self.checkpoints = checkpoints if is_folder else Checkpoints(checkpoints, keep)
        self.save_steps, self.save_minutes = save_steps, save_minutes
        self.look_steps = look_steps
        self.progress, self.writer = progress, Writer(log)
        if self.ranks.rank:  # the first one shows and writes
            self.progress, self.writer = None, Writer(None)
        self.history: list[dict[str, Any]] = []
        self.epoch = 0  # those that are over
        self.step = 0  # of the optimizer, in all epochs
        self.batch = 0  # of the epoch that is on
        self.stop: str | None = None  # why the training is to end
        self._data: tuple[Any, Any] = (None, None)  # for training and validation
        self._last_loss: Any = None
        self.steps = Steps(self, compile)
        self._total: Any = self.steps.begin()  # of the losses of the epoch, and of how many samples
        self._samples = 0
        self._saved = (0, time.monotonic())  # the step and the time of the last checkpoint

    # ------------------------------------------------------------ what may be overridden

    def compute_loss(self, batch: Any) -> tuple[Tensor, Any, Any]:
        """The loss of a batch, a mean, the predictions and the targets."""
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise ArgumentError(
                f"Trainer: a batch must be a pair (input, target), got {_shape_of(batch)}. "
                "Override compute_loss for others"
            )
        x, y = batch
        prediction = self.model(x)
        return self.loss(prediction, y), prediction, y

    def _checked_loss(self, batch: Any) -> tuple[Tensor, Any, Any]:
        with self.precision.block:
            loss, prediction, target = self.compute_loss(batch)
        check_loss(loss)
        return loss, prediction, target

    # ------------------------------------------------------------ training

    def fit(
        self,
        train: Iterable[Any],
        validation: Iterable[Any] | None = None,
        epochs: int = 1,
        *,
        resume: bool = False,
    ) -> list[dict[str, Any]]:
        """Train until there are ``epochs`` epochs, and return the history: a dict for each.

        Called again it goes on, to more epochs. With ``resume`` it goes on from the newest
        checkpoint, if there is one. Ctrl-C ends it after the step: KeyboardInterrupt says where the
        state is. SIGTERM, which schedulers send, does so too, with SystemExit.
        """
        if self.optimizer is None:
            raise ArgumentError("Trainer.fit: pass an optimizer to the Trainer")
        check_batches("fit", train)
        if validation is not None:
            check_batches("fit", validation)
        check_whole("epochs", epochs, 0)
        progress = Progress(self.progress, epochs)
        self.stop, self._data = None, (self.ranks.share(train), validation)
        if resume:
            self._resume()
        self._saved = (self.step, time.monotonic())
        for callback in self.callbacks:
            callback.on_fit_begin(self)
        with interrupts() as interrupted:
            while self.epoch < epochs and self.stop is None:
                self._run_epoch(progress, interrupted)
        if self.checkpoints is not None and self._saved[0] != self.step:
            self.save()  # the last steps, where not each epoch was saved
        for callback in self.callbacks:
            callback.on_fit_end(self)
        return self.history

    def _run_epoch(self, progress: Progress, interrupted: Callable[[], int]) -> None:
        train, validation = self._data
        began, already = time.monotonic(), self._samples
        progress.begin(self.epoch + 1, _length(train), self.batch)
        self.model.train()
        record = None
        try:
            for batch in self._from_here(train):
                self._one_batch(batch)
                progress.batch(self._last_loss)
                if self.batch % self.accumulate:
                    continue
                self._make_step()
                self._save_or_end(interrupted(), self._is_due())
                if self.stop is not None:
                    break
            if not self.batch:
                raise ArgumentError(
                    f"Trainer.fit: there are no batches in epoch {self.epoch + 1}. A generator "
                    "gives them once: pass a DataLoader or a list"
                )
            if self.batch % self.accumulate:
                self.ranks.average(self.model)
                self._make_step()
            record = self._finished(validation, time.monotonic() - began, already)
        finally:
            progress.end(record)
        self.writer.write(record)
        for callback in self.callbacks:
            callback.on_epoch_end(self, record)
        if self.checkpoints is not None and self.save_steps is None and self.save_minutes is None:
            self.save()
        self._save_or_end(interrupted(), False)

    def _from_here(self, train: Any) -> Iterator[Any]:
        """The batches of the epoch that are left. A loader of gpugrad knows its place itself."""
        if hasattr(train, "load_state_dict") or not self.batch:
            return iter(train)
        return islice(train, self.batch, None)

    def _one_batch(self, batch: Any) -> None:
        weight = self.ranks.weight(self._data[0])
        averages = (self.batch + 1) % self.accumulate == 0
        with self.ranks.passing(self.model, averages, self.steps.is_compiled):
            result = self.steps.batch(self._placed(batch), self._total, weight)
        self._last_loss, self._total = result.loss, result.total
        self._samples += result.rows
        for metric in self.metrics if result.rows else ():
            metric.update(*result.output)
        self.batch += 1

    def _make_step(self) -> None:
        self.steps.step()
        self.step += 1
        if self.scheduler is not None and self.scheduler_every == "step":
            self.scheduler.step()
        for callback in self.callbacks:
            callback.on_step_end(self, self._last_loss)

    def _finished(self, validation: Any, seconds: float, already: int) -> dict[str, Any]:
        """The epoch's entry of the history."""
        self.epoch += 1
        record: dict[str, Any] = {"epoch": self.epoch, "step": self.step}
        values, samples, (seconds, already) = merged(
            self, self._total, self._samples, (seconds, already)
        )
        record |= values
        rate = (samples - already) / max(seconds, 1e-9)
        self._begin_sums()
        self.batch = 0
        if validation is not None:
            record |= {f"val_{name}": v for name, v in self.evaluate(validation).items()}
        record["lr"] = float(self.optimizer.param_groups[0]["lr"])
        if self.scheduler is not None and self.scheduler_every == "epoch":
            if isinstance(self.scheduler, ReduceLROnPlateau):
                self.scheduler.step(record.get("val_loss", record["loss"]))
            else:
                self.scheduler.step()
        record |= {"seconds": seconds, "samples_per_second": rate}
        self.history.append(record)
        return record

    def _begin_sums(self) -> None:
        self._total, self._samples = self.steps.begin(), 0
        for metric in self.metrics:
            metric.reset()

    # ------------------------------------------------------------ evaluation

    def evaluate(self, data: Iterable[Any]) -> dict[str, float]:
        """The loss and the metrics on batches, in evaluation mode and without gradients."""
        kept = metric_states(self)
        total, samples, result = self.steps.begin(), 0, None
        try:
            for metric in self.metrics:
                metric.reset()
            with in_mode(self.model, training=False), no_grad():
                data = self.ranks.share(data)
                for batch in data:
                    result = self.steps.evaluated(self._placed(batch), total)
                    if self.ranks.weight(data) == 0:
                        continue
                    total = result.total
                    samples += result.rows
                    for metric in self.metrics:
                        metric.update(*result.output)
            if result is None:
                raise ArgumentError("Trainer.evaluate: there are no batches; a generator ends once")
            return merged(self, total, samples)[0]
        finally:
            for metric, state in zip(self.metrics, kept, strict=True):
                metric.load_state_dict(state)

    def predict(self, data: Any) -> Tensor:
        """The model's output for an array, or for batches one below the other.

        A batch may be a pair, of which the first is the input.
        """
        batches = [data] if isinstance(data, Tensor) or is_array(data) else data
        outputs = []
        with in_mode(self.model, training=False), no_grad():
            for batch in batches:
                x = batch[0] if isinstance(batch, tuple | list) and batch else batch
                if not isinstance(x, Tensor) and not is_array(x):
                    raise DTypeError(
                        "Trainer.predict: expected an array, or batches of arrays, got a batch "
                        f"with {type(x).__name__}"
                    )
                with self.precision.block:
                    outputs.append(self.model(self._placed(x)))
        if not outputs:
            raise ArgumentError("Trainer.predict: there are no batches")
        joined: Tensor = outputs[0] if len(outputs) == 1 else FUNCTIONS["concatenate"](outputs)
        return joined

    def _device(self) -> Device | None:
        """Where the model is; None for one without parameters."""
        return next((parameter.device for parameter in self.model.parameters()), None)

    def _placed(self, batch: Any) -> Any:
        """A batch as Tensors on the device of the model."""
        device = self._device()

        def place(array: Any) -> Any:
            tensor = as_tensor(array)
            return tensor if device is None or tensor.device == device else tensor.to(device)

        return map_arrays(place, batch)

    def higher_is_better(self, name: str) -> bool:
        """Whether a larger value of a number of the history is better; a loss's is not."""
        name = name.removeprefix("val_")
        return any(metric.name == name and metric.higher_is_better for metric in self.metrics)

    # ------------------------------------------------------------ checkpoints

    def save(self) -> Any:
        """Save everything in the folder of checkpoints; returns the path."""
        if self.checkpoints is None:
            raise ArgumentError("Trainer.save: pass checkpoints=FOLDER to the Trainer")
        check_parameters(self.model, self.step)
        state = self._state()
        if self.ranks.size > 1:
            state["ranks"] = self.ranks.gathered(own_part(state))[1:]
        path = self.checkpoints.save(state, self.step)
        self._saved = (self.step, time.monotonic())
        return path

    def _state(self) -> dict[str, Any]:
        train = self._data[0]
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "scaler": self.precision.scaler,
            "metrics": metric_states(self),
            "callbacks": [
                callback.state_dict() if hasattr(callback, "state_dict") else None
                for callback in self.callbacks
            ],
            "loader": train.state_dict() if hasattr(train, "state_dict") else None,
            "random": random_state(used_generators(self.model, *self._data)),
            "counts": [self.epoch, self.step, self.batch, self._samples],
            "total": self._total,
            "history": self.history,
        }

    def _resume(self) -> None:
        """Load the newest checkpoint; nothing where there is none."""
        if self.checkpoints is None:
            raise ArgumentError("Trainer.fit: resume=True needs checkpoints=FOLDER")
        state = self.checkpoints.newest(self._device())
        if state is None:
            return
        others = state.pop("ranks", []) if isinstance(state, dict) else []
        check_state(state, self._state())
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        if self.precision.scaler is not None:
            self.precision.scaler.load_state_dict(state["scaler"])
        for callback, saved in zip(self.callbacks, state["callbacks"], strict=True):
            if saved is not None:
                callback.load_state_dict(saved)  # type: ignore[attr-defined]
        if hasattr(self._data[0], "load_state_dict"):
            self._data[0].load_state_dict(state["loader"])
        self.epoch, self.step, self.batch, _ = state["counts"]
        self.history = state["history"]
        mine = take_own(self, [own_part(state), *others])
        self._total, self._samples = mine["total"], mine["rows"]
        restore_random(mine["random"], used_generators(self.model, *self._data))

    def _is_due(self) -> bool:
        """Whether a checkpoint is due."""
        step, at = self._saved
        by_steps = self.save_steps is not None and self.step - step >= self.save_steps
        minutes = (time.monotonic() - at) / 60
        return by_steps or (self.save_minutes is not None and minutes >= self.save_minutes)

    def _save_or_end(self, number: int, is_due: bool) -> None:
        """Save, or end after a signal; all processes do the same, where one of them has to."""
        number, due, stops = self.ranks.agree([number, is_due, self.stop is not None])
        if stops and self.stop is None:
            self.stop = "another rank has stopped"
        if due:
            self.save()
        if number == signal.SIGINT:
            raise KeyboardInterrupt(self._farewell())
        if number:
            text = self._farewell()
            if self.ranks.rank == 0:
                sys.stderr.write(f"{signal.Signals(number).name}: {text}\n")
            raise SystemExit(128 + number)

    def _farewell(self) -> str:
        """Save after a signal, and say how to go on."""
        if self.checkpoints is None:
            return f"stopped after step {self.step}. Call fit again to go on with the next epoch"
        path = self.save()
        return f"stopped after step {self.step}, saved in {path}. Go on with fit(..., resume=True)"


def _shape_of(batch: Any) -> str:
    if isinstance(batch, tuple | list):
        return f"{len(batch)} parts"
    return f"a {type(batch).__name__}"


def _length(batches: Any) -> int | None:
    try:
        return len(batches)
    except TypeError:
        return None
