"""An optimizer whose state is divided among the processes. Imports optim and below, and `buckets`.

This is stage 1 of ZeRO (Rajbhandari et al., 2020). Whole parameters are dealt out, so that every
rule can be divided, also one that needs the whole of a parameter.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpugrad.backend.device import to_numpy
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.modes import tracing
from gpugrad.errors import ArgumentError, CompileError, DTypeError
from gpugrad.optim.loading import parts
from gpugrad.optim.optimizer import Optimizer
from gpugrad.parallel.agreement import objects_of_all
from gpugrad.parallel.buckets import Moving
from gpugrad.parallel.group import Group, group
from gpugrad.parallel.owners import Owners
from gpugrad.tensor import Tensor

__all__ = ["is_sharded", "shard"]


def shard(optimizer: Optimizer) -> Optimizer:
    """Divide the state of an optimizer among the processes; returns the optimizer itself.

    Each process keeps the state of its part of the parameters, updates them, and gets the others
    from the processes that have updated those. For N processes an Adam needs 2 / N arrays of the
    size of the model in place of 2. A `DataParallel` model's gradients are averaged for the process
    that updates their parameter, and are there alone: a step sends as many bytes as without.
    `clip_grad_norm_`, `get_total_norm` and `GradScaler` take all parts together, and are called on
    all processes; elsewhere a gradient that is read raises GradientError with the rank that has it,
    and so does a pass that would be added to averages. Gradients that are averaged in another way
    are used as they are.

    ``state_dict()`` is called on all processes. On rank 0 it is that of an optimizer that is not
    divided, with arrays on the host: saved, it is loaded by any number of processes. On another
    rank it has that rank's part. It is a function, and not an argument of each optimizer, since it
    is the same for all of them.

    DTypeError for what is no optimizer, ArgumentError for one that is divided already, or that
    computes the gradients itself, as LBFGS.

    >>> import gpugrad as gg
    >>> model = gg.parallel.DataParallel(gg.nn.Linear(2, 1))
    >>> optimizer = gg.parallel.shard(gg.optim.Adam(model.parameters(), lr=0.1))
    >>> model(gg.ones((4, 2))).sum().backward()
    >>> optimizer.step()
    >>> len(optimizer.state_dict()["state"])
    2
    """
    if not isinstance(optimizer, Optimizer):
        raise DTypeError(f"shard: expected an optimizer, got {type(optimizer).__name__}")
    if is_sharded(optimizer) or getattr(optimizer, "needs_closure", False):
        why = "is divided already" if is_sharded(optimizer) else "needs all gradients at once"
        raise ArgumentError(f"shard: this {type(optimizer).__name__} {why}")
    cls = type(optimizer)
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    setattr(optimizer, "_parts", _Parts(group()))  # noqa: B010  of a class that is made below
    optimizer.__class__ = type(cls.__name__, (_Sharded, cls), names)
    optimizer.load_state_dict(Optimizer.state_dict(optimizer))  # which drops what others keep
    return optimizer


def is_sharded(optimizer: Any) -> bool:
    """Whether the state of an optimizer is divided."""
    return isinstance(optimizer, _Sharded)


class _Parts:
    """Which process has which parameter, and how they get them from each other."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self._owners = Owners(group.size)
        self._arrays: list[Any] = []
        self._moving = Moving([], [], group.size)

    def owner(self, optimizer: Optimizer, parameter: Tensor) -> int:
        """The rank that updates a parameter."""
        rank = self._owners.get(parameter)
        if rank is None:
            self._owners.deal(_parameters(optimizer))
            rank = self._owners.get(parameter)
            assert rank is not None
        return rank

    def exchange(self, optimizer: Optimizer) -> None:
        """Give all processes the parameters that each has updated."""
        learned = [p for p in _parameters(optimizer) if p.requires_grad]
        arrays = [p.data for p in learned]
        if len(arrays) != len(self._arrays) or any(
            a is not b for a, b in zip(arrays, self._arrays)
        ):
            roots = [self.owner(optimizer, p) for p in learned]
            self._arrays, self._moving = arrays, Moving(arrays, roots, self.group.size)
        self._moving.run(self.group, arrays, "parameters after a step")


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


class _Sharded(Optimizer):
    """The methods of an optimizer that is divided; its class is made from this and its own."""

    _parts: _Parts

    def _owns(self, parameter: Tensor) -> bool:
        return self._parts.owner(self, parameter) == self._parts.group.rank

    def _new_layout(self, group: dict[str, Any], names: tuple[str, ...]) -> Any:
        own = [p for p in group["params"] if self._owns(p)]
        return super()._new_layout({**group, "params": own}, names)

    def _make_step(self, skip: Any = None) -> None:
        if tracing.get() is not None:
            raise CompileError(
                f"compile: the step of a {self._who()} that is divided (gg.parallel.shard) talks "
                "to other processes, which cannot be recorded. Call it outside of the compiled "
                "function"
            )
        super()._make_step(skip)
        self._parts.exchange(self)

    def state_dict(self) -> dict[str, Any]:
        """The state: on rank 0 of all parameters, on another one of its own. Called on all."""
        whole = super().state_dict()
        whole["state"] = _gathered(self._parts.group, whole["state"])
        return whole

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """`Optimizer.load_state_dict`, of which this process takes its part."""
        groups, states = parts(f"{self._who()}.load_state_dict", state_dict)
        numbers = [number for group in groups for number in group["params"]]
        others = {n for n, p in zip(numbers, _parameters(self)) if not self._owns(p)}
        own = {number: entry for number, entry in states.items() if number not in others}
        super().load_state_dict({**state_dict, "state": own})


def _gathered(group: Group, own: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """On rank 0 the entries of all processes, the others' arrays on the host; else one's own."""
    described = {
        number: {
            name: [str(value.dtype), *value.shape] if hasattr(value, "dtype") else value
            for name, value in entry.items()
        }
        for number, entry in own.items()
    }
    all_described = objects_of_all(group, described)
    if group.rank:
        for entry in own.values():
            for value in entry.values():
                if hasattr(value, "dtype"):
                    whole = namespace_of(value).module.ascontiguousarray(value)
                    group.engine(whole).send(whole, 0)
        return own
    entries = dict(own)
    like = next((v for e in own.values() for v in e.values() if hasattr(v, "dtype")), np.empty(0))
    for rank, theirs in enumerate(all_described[1:], 1):
        for number, entry in theirs.items():
            entries[number] = {
                name: _received(group, rank, like, value) if isinstance(value, list) else value
                for name, value in entry.items()
            }
    return {number: entries[number] for number in sorted(entries)}


def _received(group: Group, source: int, like: Any, described: list[Any]) -> np.ndarray:
    """An array that a process sends, through memory where the others of the optimizer are."""
    dtype, *shape = described
    array = namespace_of(like).module.empty(tuple(shape), np.dtype(dtype))
    group.engine(array).recv(array, source)
    return to_numpy(array)
