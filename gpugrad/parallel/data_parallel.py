"""One model on every process, each with its share of a batch. Imports nn and below, and `buckets`.

The engine tells when the gradient of a leaf is complete. Once those of a bucket are, their mean
over the processes is computed while the backward pass goes on, which waits for all at its end.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from gpugrad import random
from gpugrad.backend.interrupts import whole
from gpugrad.data.sharing import share_state
from gpugrad.engine import versions
from gpugrad.engine.modes import recording, tracing
from gpugrad.engine.node import COMPLETES, LENDS, Handle, add_hook, next_serial
from gpugrad.errors import CompileError, DTypeError, GradientError, ParallelError
from gpugrad.nn import Module
from gpugrad.optim.apply import separate
from gpugrad.optim.divided import Elsewhere, Own, refuse_another_pass
from gpugrad.optim.flat import Flat
from gpugrad.parallel.agreement import check_alike
from gpugrad.parallel.buckets import Bucket, Moving, cut
from gpugrad.parallel.group import Group, group
from gpugrad.parallel.owners import owner_of
from gpugrad.random import philox
from gpugrad.tensor import Tensor

__all__ = ["DataParallel", "stream_of"]

_FORWARD = 1 << 63  # above the numbers of a generator's children


class DataParallel(Module):
    """A model whose gradients are the means over all processes, for a share of the batch on each.

    When it is made, parameters, buffers and the state of the default generator of random numbers
    are sent from rank 0 to all. A backward pass then averages the gradients: those of many small
    parameters in one message, a large one in its own memory, and each as soon as it is complete,
    while the pass goes on. On the host small parameters lie in one memory from then on, and so do
    their gradients, so that neither messages nor the optimizer copy them: arrays that shared memory
    with a parameter before do so no more. At its end ``grad`` of all parameters are the means, the
    same on all ranks, and the buffers that training has changed are those of rank 0. Each process
    makes the same step of the optimizer after that, on its own copy of the model; see `shard` for
    an optimizer whose state is divided.

    Where the loss is the mean over a rank's samples and all have as many, the mean of the gradients
    is the gradient of the mean over all samples: training is the same, but for rounding, as that of
    one process with the whole batch. `gpugrad.data.DataLoader` with ``parallel=True`` cuts the
    batches, and says by ``weight`` how much a rank with fewer samples counts.

    Names are the model's own: ``state_dict()``, ``named_parameters()`` and attributes are those of
    ``module``, without a prefix, so that a file of one is loaded by the other. A deep copy is one
    of the model alone, which communicates with nobody.

    Inside of the forward pass the default generator has another stream on each rank and in each
    call, derived from its state outside, so that dropout differs; outside it is the same on all.

    ParallelError where the model of a rank has another part, shape or dtype; DTypeError for what is
    no Module. A backward pass raises GradientError, which names the parameters, where some have no
    gradient: the others would wait for them.

    >>> import gpugrad as gg
    >>> model = gg.parallel.DataParallel(gg.nn.Linear(2, 1))
    >>> loss = (model(gg.ones((4, 2))) ** 2).mean()
    >>> loss.backward()
    >>> list(model.state_dict()), model.weight.grad.shape
    (['weight', 'bias'], (1, 2))
    """

    module: Module

    def __init__(self, module: Module) -> None:
        if isinstance(module, DataParallel) or not isinstance(module, Module):
            raise DTypeError(
                f"DataParallel: expected a gg.nn.Module, got {type(module).__name__}"
                + (", which is parallel already" if isinstance(module, DataParallel) else "")
            )
        self.module = module
        self._group = group()
        state = module._state()
        check_alike(self._group, module, state)
        arrays = [tensor.data for tensor in state.values()]
        Moving(arrays, [0] * len(arrays), 1).run(self._group, arrays, "the model of rank 0")
        share_state(random.default_generator())
        self._averages = True
        self._reducer = _Reducer(self)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's forward pass, on this rank's share of the batch."""
        if tracing.get() is not None:
            if self._averages and recording.get():
                raise CompileError(
                    "compile: a DataParallel model talks to other processes while it is "
                    "differentiated, which cannot be recorded. Call a compiled function that ends "
                    "with loss.backward() inside of `with model.no_sync():`, and then "
                    "model.average_gradients(); gg.Trainer(..., parallel=True, compile=True) does "
                    "so"
                )
            return self.module(*args, **kwargs)
        self._reducer.update()
        with stream_of(self._group.rank):
            return self.module(*args, **kwargs)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """A block whose backward passes add up gradients on each process without communication.

        The first backward pass after it averages what has been added up.

        >>> import gpugrad as gg
        >>> model = gg.parallel.DataParallel(gg.nn.Linear(2, 1))
        >>> with model.no_sync():
        ...     model(gg.ones((4, 2))).sum().backward()
        >>> model(gg.ones((4, 2))).sum().backward()
        >>> model.bias.grad.tolist()
        [8.0]
        """
        before = self._averages
        try:
            self._averages = False
            yield
        finally:
            self._averages = before

    def average_gradients(self) -> None:
        """Average the gradients over all processes now: after backward passes inside `no_sync`.

        GradientError for parameters without a gradient.
        """
        self._reducer.update()
        self._reducer.finish()

    # The parts are those of the model.

    def _attributes(self) -> Any:
        return self.module._attributes()

    def _named(self, wanted: Callable[[Any], bool]) -> Iterator[tuple[str, Any]]:
        return self.module._named(wanted)

    def _unsaved_names(self) -> set[str]:
        return self.module._unsaved_names()

    def apply(self, function: Callable[[Module], Any]) -> "DataParallel":
        """`Module.apply` of the model."""
        self.module.apply(function)
        return self

    @property
    def training(self) -> bool:
        """Whether the model is in training mode."""
        return self.module.training

    @training.setter
    def training(self, mode: bool) -> None:
        self.module.training = mode

    def __getattr__(self, name: str) -> Any:
        """An attribute of the model; called for what is none of this alone."""
        if name == "module":
            raise AttributeError(name)
        return getattr(self.module, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Module:
        return copy.deepcopy(self.module, memo)

    def __reduce__(self) -> Any:
        raise ParallelError(
            "DataParallel: a model that talks to other processes cannot be pickled; pickle "
            "model.module, or gg.save(model, path)"
        )


@contextmanager
def stream_of(rank: int) -> Iterator[None]:
    """A block in which the default generator has a stream of this rank and this call.

    Its state is exchanged, not the generator: what `gg.checkpoint` runs again finds it.
    """
    generator = random.default_generator()
    seed, position = generator.take(1)
    before = generator.get_state()
    own = philox.child_key(philox.child_key(seed, _FORWARD + position), rank)
    try:
        generator.set_state((own, 0, 0))
        yield
    finally:
        generator.set_state(before)


class _Reducer:
    """Averages gradients, bucket by bucket, in the same order on all processes."""

    def __init__(self, model: DataParallel) -> None:
        self._model = model
        self._group: Group = model._group
        self._buffers = _Buffers(model)
        self._handles: list[Handle] = []
        self._key: list[Any] = []
        self._begun: list[tuple[Bucket, Any, list[Tensor], Any]] = []
        self.update()

    def update(self) -> None:
        """Find the parameters that need a gradient anew where they have changed."""
        named = [(n, p) for n, p in self._model.module.named_parameters() if p.requires_grad]
        owners = [owner_of(p) for _, p in named]
        key = [(p._node, p.dtype, p.device, owner) for (_, p), owner in zip(named, owners)]
        if key == self._key:
            return
        for handle in self._handles:
            handle.remove()
        self._key = key
        self._names = [name for name, _ in named]
        self._parameters = [p for _, p in named]
        # Gradients become complete from the last layer to the first.
        order = range(len(named) - 1, -1, -1)
        arrays = [p.data for p in self._parameters]
        self.buckets = cut(arrays, order, owners, self._group.size)
        self._of = {i: bucket for bucket in self.buckets for i in bucket.members}
        parts = list(dict.fromkeys(self._model.module._state().values()))
        alone = dict(zip(parts, separate([part.data for part in parts])))
        self._storage = [_laid(bucket, self._parameters, alone) for bucket in self.buckets]
        self._handles = [
            add_hook(p._node, COMPLETES, partial(self._arrive, index))
            for index, p in enumerate(self._parameters)
        ]
        self._handles += [
            add_hook(self._parameters[index]._node, LENDS, partial(self._lend, bucket, place))
            for bucket in self.buckets
            for place, index in enumerate(bucket.members)
        ]
        self._forget()

    def _forget(self, failed: bool = False) -> None:
        """Begin anew: no gradient has arrived, nothing is on the way.

        After a pass that has ``failed`` messages may still be: their memory is left to them.
        """
        if failed:
            for bucket, *_ in self._begun:
                bucket.renew()
        self._left = {bucket: len(bucket.members) for bucket in self.buckets}
        self._arrived: set[int] = set()
        self._begun = []

    # A backward pass.

    def _lend(self, bucket: Bucket, place: int) -> Any:
        """Where a pass adds up the gradient of a parameter that has none yet."""
        parameter = self._parameters[bucket.members[place]]
        if self._begun or getattr(parameter, "_grad", None) is not None:
            return None
        return bucket.memory(place)

    def _arrive(self, index: int) -> Any:
        """The gradient of a parameter is complete."""
        if not self._model._averages:
            return None
        if index in self._arrived:
            self._forget(failed=True)  # the pass before
        self._arrived.add(index)
        self._left[self._of[index]] -= 1
        for bucket in self.buckets[len(self._begun) :]:
            if self._left[bucket]:
                break
            self._begin(bucket)
        return self.finish

    def _begin(self, bucket: Bucket) -> None:
        """Send a bucket on its way."""
        parameters = [self._parameters[index] for index in bucket.members]
        for index, p in zip(bucket.members, parameters):
            if isinstance(p._grad, Own):
                refuse_another_pass(self._names[index])
            if p._grad._node is not None:
                raise GradientError(
                    f"DataParallel: the gradient of {self._names[index]} is recorded "
                    "(create_graph=True), and would be averaged without its graph. Take "
                    "model.module inside of gg.grad, and average what you need by "
                    "gg.parallel.all_reduce"
                )
        arrays = [p._grad._array for p in parameters]
        engine = self._group.engine(arrays[0])
        note = f"the gradients of {self._names[bucket.members[0]]}"
        if len(parameters) > 1:
            note += f" to {self._names[bucket.members[-1]]}"
        message = bucket.message(arrays, engine)
        self._begun.append((bucket, message, parameters, bucket.reduce(engine, message, note)))

    def finish(self) -> None:
        """Send what has not gone yet, and wait for all: the end of a backward pass."""
        if not self._model._averages and self._arrived:
            self._forget(failed=True)
            return
        failed = True
        try:
            self._check_all_there()
            for bucket in self.buckets[len(self._begun) :]:
                self._begin(bucket)
            self._buffers.send()
            for bucket, message, parameters, handle in self._begun:
                handle.wait()
                self._give(bucket, message, parameters)
            failed = False
        finally:
            self._forget(failed)

    def _check_all_there(self) -> None:
        missing = [
            name
            for index, (name, p) in enumerate(zip(self._names, self._parameters))
            if index not in self._arrived and p.grad is None
        ]
        if missing:
            more = f" and {len(missing) - 8} others" if len(missing) > 8 else ""
            raise GradientError(
                f"DataParallel: on rank {self._group.rank} the loss does not depend on "
                f"{', '.join(missing[:8])}{more}, so their gradients never come, and all ranks "
                "would wait for them. Freeze them with requires_grad_(False), or add their sum "
                "times 0 to the loss"
            )

    def _give(self, bucket: Bucket, message: Any, parameters: list[Tensor]) -> None:
        """Give parameters the averages as gradients, in the memory in which they have come.

        Of a divided bucket this process has its own alone.
        """
        group = self._group
        own = [p._grad._array for p in parameters]
        views = bucket.views(message, own)
        versions.changed_all(views if isinstance(message, list) else [message, *views])
        if bucket.is_divided:
            for index, p, part, owner in zip(bucket.members, parameters, views, bucket.owners):
                if owner == group.rank:
                    p._grad = Own(part, group)
                else:
                    p._grad = Elsewhere(p._array, self._names[index], owner or 0, group)
        elif message is not own[0]:
            for p, before, part in zip(parameters, own, views):
                if part is not before:
                    p._grad = Tensor(part)


def _laid(bucket: Bucket, parameters: list[Tensor], alone: dict[Tensor, bool]) -> Flat | None:
    """The one memory in which the parameters of a bucket lie from now on, on the host.

    Not if one of them shares its memory with another part of the model, as ``alone`` says.
    """
    members = [parameters[index] for index in bucket.members]
    if bucket.alone or not bucket.on_host or not all(alone.get(p, True) for p in members):
        return None
    flat = Flat(bucket.shapes, bucket.dtype)
    calls: list[Any] = []
    for p, array in zip(members, flat.arrays):
        array[...] = p._array
        calls.append(partial(setattr, p, "_array", array))
    whole(calls)
    return flat


class _Buffers:
    """Gives all ranks the buffers of rank 0 that have changed since the last time.

    All ranks compute alike, so they agree on which these are; constants stay where they are.
    """

    def __init__(self, model: DataParallel) -> None:
        self._group, self._module = model._group, model.module
        self._some = any(True for _ in self._module.buffers())  # those who have none look once
        self._moving: dict[tuple[int, ...], Moving] = {}
        self._remember([buffer.data for buffer in self._module.buffers()])

    def _remember(self, arrays: list[Any]) -> None:
        self._arrays, self._serial = arrays, next_serial()

    def send(self) -> None:
        """Send them; all ranks do so together."""
        if not self._some or self._group.size == 1:
            return
        arrays = [buffer.data for buffer in self._module.buffers()]
        key = tuple(
            index
            for index, array in enumerate(arrays)
            if index >= len(self._arrays)
            or array is not self._arrays[index]
            or versions.changed_since(array, self._serial)
        )
        if not key:
            return
        changed = [arrays[index] for index in key]
        if key not in self._moving:
            self._moving = {key: Moving(changed, [0] * len(key), 1)}
        self._moving[key].run(self._group, changed, f"{len(key)} changed buffers of rank 0")
        self._remember(arrays)
