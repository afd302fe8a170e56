"""What the processes of a training do together. Imports data, nn, optim and below, and parallel.

`Alone` is a training of one process; `Ranks` has the same methods for several of them.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any

import numpy as np

from gpugrad.backend import processes
from gpugrad.data import DataLoader
from gpugrad.data.dataset import map_arrays
from gpugrad.errors import ArgumentError
from gpugrad.tensor import Tensor

__all__ = ["Alone", "Ranks", "merged", "metric_states", "own_part", "ranks_of", "take_own"]


class Alone:
    """A training of one process."""

    rank, size = 0, 1
    divides = False  # whether the optimizer's state is divided

    def model(self, model: Any) -> Any:
        """What is called in place of the model."""
        return model

    def optimizer(self, optimizer: Any) -> Any:
        """The optimizer, which may be divided."""
        return optimizer

    def share(self, data: Any) -> Any:
        """The batches of this process."""
        return data

    def weight(self, data: Any) -> float | None:
        """What the mean loss of the last batch is multiplied by, None for 1."""
        return None

    def passing(self, model: Any, averages: bool, compiled: bool) -> Any:
        """A block for the passes of a batch, which average the gradients at its end or not."""
        return nullcontext()

    def average(self, model: Any) -> None:
        """Average gradients that were added up without."""

    def agree(self, flags: Sequence[int]) -> list[int]:
        """The largest of each number over the processes."""
        return list(flags)

    def gathered(self, value: Any) -> list[Any]:
        """What each process gives."""
        return [value]


class Ranks(Alone):
    """A training of all processes of `gpugrad.parallel`."""

    def __init__(self, divides: bool) -> None:
        if processes.joined is None:
            raise ArgumentError(
                "Trainer: parallel=True trains with the processes of gg.parallel, which have not "
                "met yet. Call gg.parallel.init() first, before the model is made: it takes a "
                "device for this process"
            )
        self._group: Any = processes.joined
        self.rank, self.size, self.divides = self._group.rank, self._group.size, divides

    def model(self, model: Any) -> Any:
        from gpugrad.parallel.data_parallel import DataParallel

        return model if isinstance(model, DataParallel) else DataParallel(model)

    def optimizer(self, optimizer: Any) -> Any:
        from gpugrad.parallel.sharding import is_sharded, shard

        if optimizer is None or is_sharded(optimizer) or not self.divides:
            return optimizer
        return shard(optimizer)

    def share(self, data: Any) -> Any:
        if not isinstance(data, DataLoader) or data.parallel or data.is_stream:
            return data
        shared = copy.copy(data)
        shared.parallel = True
        return shared

    def weight(self, data: Any) -> float | None:
        weight = getattr(data, "weight", 1.0)
        return None if weight == 1.0 else float(weight)

    def passing(self, model: Any, averages: bool, compiled: bool) -> Any:
        if averages and not compiled:
            return nullcontext()
        from gpugrad.parallel.data_parallel import stream_of

        def average(kind: Any, error: Any, trace: Any) -> None:
            if averages and error is None:  # else the error is what there is to be said
                model.average_gradients()

        block = ExitStack()
        block.push(average)
        block.enter_context(model.no_sync())
        if compiled:
            block.enter_context(stream_of(self.rank))
        return block

    def average(self, model: Any) -> None:
        model.average_gradients()

    def agree(self, flags: Sequence[int]) -> list[int]:
        numbers = np.array(flags, np.uint8)
        self._group.engine().all_reduce(numbers, "max", note="whether the training goes on")
        return [int(number) for number in numbers]

    def gathered(self, value: Any) -> list[Any]:
        from gpugrad.parallel.agreement import objects_of_all

        return objects_of_all(self._group, map_arrays(_on_host, value))


def _on_host(array: Any) -> Any:
    """A Tensor on the host: another process has another GPU."""
    return array.detach().cpu() if isinstance(array, Tensor) else array


def ranks_of(parallel: Any) -> Alone:
    """What ``parallel`` of a Trainer says: False, True, or "shard" to divide the optimizer too."""
    if parallel not in (False, True, "shard"):
        raise ArgumentError(
            f"Trainer: parallel must be False, True or 'shard', which divides the state of the "
            f"optimizer as well, got {parallel!r}"
        )
    return Ranks(parallel == "shard") if parallel else Alone()


def metric_states(trainer: Any) -> list[dict[str, Any]]:
    """What the metrics of a trainer have added up."""
    return [metric.state_dict() for metric in trainer.metrics]


def merged(
    trainer: Any, total: Any, samples: int, times: tuple[float, int] = (0.0, 0)
) -> tuple[dict[str, Any], int, tuple[float, int]]:
    """The loss and the metrics of the samples of all processes, and how many these are.

    ``times`` are seconds, of which those of the first process count, and a number of samples.
    """
    own = (0.0 if total is None else float(total), samples, times, metric_states(trainer))
    parts = trainer.ranks.gathered(own)
    if len(parts) > 1:
        for number, metric in enumerate(trainer.metrics):
            metric.merge([states[number] for *_, states in parts])
    losses, counts, all_times, _ = zip(*parts)
    values = {"loss": sum(losses) / sum(counts) if sum(counts) else math.nan}
    values |= {metric.name: metric.compute() for metric in trainer.metrics}
    return values, sum(counts), (all_times[0][0], sum(before for _, before in all_times))


def own_part(state: Mapping[str, Any]) -> dict[str, Any]:
    """What of a checkpoint is the process's own: sums of the epoch, and random numbers."""
    names = ("metrics", "random", "total")
    return {name: state[name] for name in names} | {"rows": state["counts"][3]}


def take_own(trainer: Any, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Load the metrics of this process's part of a checkpoint, and return the part.

    Where there were more processes, or fewer, the first one goes on with what all had added up.
    """
    ranks, begun = trainer.ranks, trainer.steps.begin()
    if len(parts) == ranks.size:
        part = parts[ranks.rank]
        for metric, saved in zip(trainer.metrics, part["metrics"], strict=True):
            metric.load_state_dict(saved)
        return part
    all_metrics = [part["metrics"] for part in parts] if ranks.rank == 0 else []
    for number, metric in enumerate(trainer.metrics):
        metric.merge([states[number] for states in all_metrics])
    part = parts[0] | {"rows": 0, "total": begun}
    if ranks.rank == 0:
        totals = [one["total"] for one in parts if one["total"] is not None]
        part["total"] = sum(totals[1:], totals[0]) if totals else begun
        part["rows"] = sum(one["rows"] for one in parts)
    return part
