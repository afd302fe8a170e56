"""Averages of a model's weights over the training: ``gg.optim.swa_utils``, with PyTorch's names.

Imports `nn.module`, `lr_scheduler` and below. Averages are computed in place, on a GPU by one
kernel over all of them, without a wait.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gpugrad.backend.device import Device, device_of
from gpugrad.backend.precision import kind_of
from gpugrad.engine import versions
from gpugrad.engine.modes import no_grad, tracing
from gpugrad.errors import ArgumentError, DTypeError
from gpugrad.nn.batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from gpugrad.nn.module import Module, in_mode
from gpugrad.optim.lr_scheduler import SWALR
from gpugrad.optim.rules import toward
from gpugrad.optim.settings import number
from gpugrad.optim.together import change_all
from gpugrad.optim.traced import record_changes, record_count
from gpugrad.tensor import Tensor, as_tensor

__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn",
    "get_swa_multi_avg_fn", "update_bn",
]  # fmt: skip

Average = Callable[[Tensor, Tensor, Any], Any]
MultiAverage = Callable[[list[Tensor], list[Tensor], Any], None]


def _decay(who: str, decay: float) -> float:
    return number(f"{who}: decay", decay, 0.0, float(np.nextafter(1.0, 2.0)))


def _move(averages: Sequence[Tensor], values: Sequence[Tensor], share: float) -> None:
    """averages += share (values - averages), in place."""
    if tracing.get() is not None:
        return record_changes(toward, averages, values, (share,))
    change_all(toward, [t.data for t in averages], [t.data for t in values], (share,))


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """The exponential moving average, of lists and in place: ``multi_avg_fn`` of `AveragedModel`.

    At each update: average = decay average + (1 - decay) value. ValueError for a ``decay`` outside
    [0, 1].

    >>> import gpugrad as gg
    >>> average = gg.optim.swa_utils.get_ema_multi_avg_fn(decay=0.75)
    >>> averages, values = [gg.zeros(2)], [gg.ones(2)]
    >>> average(averages, values, 1)
    >>> averages[0].tolist()
    [0.25, 0.25]
    """
    share = 1 - _decay("get_ema_multi_avg_fn", decay)

    def average(averages: list[Tensor], values: list[Tensor], num_averaged: Any) -> None:
        _move(averages, values, share)

    return average


def get_swa_multi_avg_fn() -> MultiAverage:
    """The mean of all values, of lists and in place: what `AveragedModel` does by itself."""

    def average(averages: list[Tensor], values: list[Tensor], num_averaged: Any) -> None:
        _move(averages, values, 1 / (_counted(num_averaged) + 1))

    return average


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """The exponential moving average of one tensor, as a new one: ``avg_fn`` of `AveragedModel`.

    >>> import gpugrad as gg
    >>> average = gg.optim.swa_utils.get_ema_avg_fn(decay=0.75)
    >>> average(gg.zeros(2), gg.ones(2), 1).tolist()
    [0.25, 0.25]
    """
    decay = _decay("get_ema_avg_fn", decay)
    return lambda averaged, value, num_averaged: decay * averaged + (1 - decay) * value


def get_swa_avg_fn() -> Average:
    """The mean of all values of one tensor, as a new one.

    >>> import gpugrad as gg
    >>> gg.optim.swa_utils.get_swa_avg_fn()(gg.zeros(2), gg.ones(2), 3).tolist()
    [0.25, 0.25]
    """
    return lambda averaged, value, count: averaged + (value - averaged) / (_counted(count) + 1)


def _count(n_averaged: Tensor) -> tuple[Any, bool]:
    """The number of values so far, and whether there are any; a recording counts at each call."""
    if tracing.get() is None:
        count = int(n_averaged)
        return count, bool(count)
    return record_count(n_averaged)


def _counted(count: Any) -> Any:
    """A number of values; one that a recording gives stays what it is."""
    return int(count) if tracing.get() is None else count


class AveragedModel(Module):
    """A copy of a model whose weights are averages over the training: SWA, or EMA.

    ``update_parameters(model)`` takes in the model's present weights: the first time it copies
    them, and then it takes the mean of all (stochastic weight averaging, Izmailov et al. 2018).
    With ``multi_avg_fn=get_ema_multi_avg_fn(0.999)`` it is an exponential moving average instead;
    ``avg_fn`` is a function of the average, the value and the number of values so far that
    returns the new average, ``multi_avg_fn`` one of lists of these that changes the averages in
    place. With ``use_buffers`` buffers of floating-point numbers are averaged as well; otherwise,
    and for whole numbers, they are copied.

    The copy is computed with as the model is, in evaluation mode say; its state dict has the
    model's names behind "module." and "n_averaged", which stays on the CPU. ``device`` puts the
    copy elsewhere. The averages have the parameters' dtypes: of a model in float16, average one
    that was cast, ``AveragedModel(copy.deepcopy(model).to(gg.float32))``.

    ArgumentError for both functions, ValueError for a model of other parameters.

    >>> import gpugrad as gg
    >>> model = gg.nn.Linear(1, 1)
    >>> averaged = gg.optim.swa_utils.AveragedModel(model)
    >>> for value in (1.0, 2.0, 6.0):
    ...     with gg.no_grad():
    ...         model.weight[...] = value
    ...     averaged.update_parameters(model)
    >>> averaged.module.weight.tolist(), int(averaged.n_averaged)
    ([[3.0]], 3)
    """

    def __init__(
        self, model: Module, device: Any = None, avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None, use_buffers: bool = False,
    ) -> None:  # fmt: skip
        if not isinstance(model, Module):
            raise DTypeError(f"AveragedModel: expected a Module, got {type(model).__name__}")
        if avg_fn is not None and multi_avg_fn is not None:
            raise ArgumentError("AveragedModel: pass avg_fn or multi_avg_fn, not both")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module.to(device)
        self.n_averaged = Tensor(np.zeros((), np.int64))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model computes."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the present weights of ``model`` into the averages; all of them or none."""
        averages, values, copies = self._pairs(model)
        count, has_begun = _count(self.n_averaged)
        with no_grad():
            if has_begun and self.avg_fn is not None:
                values = [
                    as_tensor(self.avg_fn(average, value, count))
                    for average, value in zip(averages, values)
                ]
            elif has_begun:
                values = self._averaged(averages, values, count)
        calls = [] if tracing.get() else versions.writing(self.n_averaged.data, count + 1)
        for target, value in [*copies, *zip(averages, values)]:
            calls += versions.writing(target.data, value.data.astype(target.dtype))
        versions.change(calls, [target.data for target, _ in [*copies, *zip(averages, values)]])

    def _averaged(self, averages: list[Tensor], values: list[Tensor], count: int) -> list[Tensor]:
        """Copies of the averages that ``multi_avg_fn`` has changed."""
        function = self.multi_avg_fn or get_swa_multi_avg_fn()
        averages = [average.copy() for average in averages]
        for group in _by_place(averages):
            function([averages[i] for i in group], [values[i] for i in group], count)
        return averages

    def _pairs(self, model: Module) -> tuple[list[Tensor], list[Tensor], list[tuple[Any, Any]]]:
        """The tensors to average and their values, detached, and pairs that are copied."""
        averages, values, copies = [], [], []
        for kind in ("parameters", "buffers"):
            own = dict(getattr(self.module, f"named_{kind}")())
            new = dict(getattr(model, f"named_{kind}")())
            wrong = [n for n in {**own, **new} if n not in own or n not in new]
            wrong += [n for n in own if n in new and own[n].shape != new[n].shape]
            if wrong:
                raise ValueError(
                    f"AveragedModel.update_parameters: the model's {kind} are not those of the "
                    f"averaged one: {wrong[0]!r} is in one of the two, or has other shapes"
                )
            for name, average in own.items():
                value = new[name].detach().to(device_of(average.data))
                real = kind_of(average.dtype) in "fc"
                moves = kind == "parameters" or (self.use_buffers and real)
                if moves:
                    averages.append(average.detach())
                    values.append(value)
                else:
                    copies.append((average.detach(), value))
        return averages, values, copies


def _by_place(tensors: Sequence[Tensor]) -> list[list[int]]:
    """The indices of tensors, by device and dtype."""
    places: dict[Any, list[int]] = {}
    for index, tensor in enumerate(tensors):
        places.setdefault((tensor.device, tensor.dtype), []).append(index)
    return list(places.values())


def update_bn(loader: Iterable[Any], model: Module, device: Device | str | None = None) -> None:
    """Compute the running statistics of batch normalization anew, from a pass over the data.

    Averaged weights have other statistics than the model's in the training. ``loader`` gives
    batches, of which the first element is the input if they are tuples or lists; they are moved to
    ``device`` if it is given. The statistics are then the means over all batches, and the model is
    in the mode that it was in.

    >>> import gpugrad as gg
    >>> model = gg.nn.BatchNorm1d(1)
    >>> gg.optim.swa_utils.update_bn([gg.tensor([[1.0], [3.0]]), gg.tensor([[5.0], [7.0]])], model)
    >>> model.running_mean.tolist(), model.momentum
    ([4.0], 0.1)
    """
    layers: list[Any] = [
        layer
        for layer in model.modules()
        if isinstance(layer, BatchNorm1d | BatchNorm2d | BatchNorm3d)
        and layer.running_mean is not None
    ]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    try:
        with in_mode(model, training=True), no_grad():
            for batch in loader:
                x = batch[0] if isinstance(batch, list | tuple) else batch
                model(as_tensor(x) if device is None else as_tensor(x).to(device))
    finally:
        for layer, momentum in zip(layers, momenta):
            layer.momentum = momentum
