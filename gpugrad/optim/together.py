"""Updates many parameters on a GPU in one kernel. Imports tensor, backend and `apply`.

The kernels are those of `gpugrad.kernels.multi_tensor`, generated from the optimizer's rule.
Parameters that they do not support are updated one by one.
"""

from collections.abc import Sequence
from functools import partial
from operator import is_
from typing import Any

from gpugrad.backend.device import device_of
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine import versions
from gpugrad.optim.apply import (
    MASTER,
    Advance,
    FlatParameters,
    Numbers,
    Rule,
    are_there,
    jobs_of,
    separate,
)
from gpugrad.optim.recorded import Call
from gpugrad.optim.skipping import Skip
from gpugrad.tensor import Tensor

__all__ = [
    "Layout", "Together", "are_identical", "change_all", "drop_layouts", "is_due", "zero_gradients",
]  # fmt: skip


def is_due(p: Any) -> bool:
    """Whether a step updates the parameter: one that is frozen may have an old gradient."""
    return p.grad is not None and p.requires_grad


def are_identical(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether both have the same objects in the same order."""
    return len(some) == len(others) and all(map(is_, some, others))


class Layout:
    """The buckets of a group, and the parameters that are updated one by one.

    ``late`` are those on a GPU without a gradient: once one has it, a new layout is made. So it is
    where the rule's states, the setting ``master`` or the list of parameters have changed.
    """

    __slots__ = ("alone", "buckets", "late", "master", "names", "params", "singles", "stale")

    def __init__(self, names: tuple[str, ...], group: dict[str, Any]) -> None:
        self.names = names
        self.master = group.get(MASTER)
        self.params = [*group["params"]]
        self.buckets: list[FlatParameters] = []
        self.singles: list[Any] = []
        self.late: list[Any] = []
        self.alone: list[bool] = []
        self.stale = False

    def valid_for(self, names: tuple[str, ...], group: dict[str, Any]) -> "Layout | None":
        """Itself if it is still valid; else None, with the clocks written into the state."""
        same = self.names is names and self.master is group.get(MASTER) and not self.stale
        same = same and are_identical(self.params, group["params"])
        if same and not (self.late and any(map(is_due, self.late))):
            return self
        for bucket in self.buckets:
            bucket.unload()
        return None

    def remove(self, bucket: FlatParameters) -> None:
        """Remove a bucket whose members are stepped in another way; the layout is stale then."""
        bucket.unload()
        self.buckets = [other for other in self.buckets if other is not bucket]
        self.stale = True

    def taking_back(self, bucket: FlatParameters, states: dict[Any, Any]) -> list[Call]:
        """Calls that take back what a step of a bucket counts: the states, if it is their first."""
        calls: list[Any] = [partial(setattr, bucket, "clock", bucket.clock)]
        if bucket.clock[:1] == (0,):  # a state may begin with the rate of its first step
            calls.append(partial(self.remove, bucket))
            calls += [partial(states.pop, p, None) for p in bucket.tensors]
        return calls


def drop_layouts(optimizer: Any) -> None:
    """Drop the layouts of all groups; the counts of steps that they keep go to the states."""
    if optimizer._exposed:
        optimizer._check_layouts()
    for layout in optimizer._layouts:
        for bucket in () if layout is None else layout.buckets:
            bucket.unload()
    optimizer._layouts[:] = [None] * len(optimizer.param_groups)


class Together(FlatParameters):
    """Parameters of one device, dtype and age, of any size.

    It has the interface of `FlatParameters`, but the arrays are not concatenated.
    """

    __slots__ = ("_device", "_kernels", "_layout", "_multi", "_shapes")

    def __init__(
        self, tensors: list[Any], states: list[dict[str, Any]], names: tuple[str, ...],
        counted: tuple[str, ...], scratch: int,
    ) -> None:  # fmt: skip
        self._take(tensors, states, names, counted)
        self.state_views = [[entry[name] for entry in states] for name in names]
        self._scratch: Any = (None,) * scratch
        self._shapes = [array.shape for array in self.arrays]
        self._device = device_of(self.arrays[0])
        self._multi = namespace_of(self.arrays[0]).multi_tensor
        self._kernels: dict[Any, Any] = {}
        self._layout = self._multi.layout(self.arrays, 2 + len(names))
        for row, arrays in enumerate((self.arrays, None, *self.state_views)):
            if arrays is not None:  # each step has other gradients
                self._point(row, [array.data.ptr for array in arrays])

    @staticmethod
    def takes(
        rule: Rule, states: Sequence[dict[str, Any]], names: tuple[str, ...], scratch: int,
        array: Any, values: Numbers,
    ) -> bool:  # fmt: skip
        """Whether the rule has a kernel that supports these states."""
        multi = namespace_of(array).multi_tensor
        present = are_there(values)
        master = MASTER in names
        return all(multi.dense(entry[name]) for entry in states for name in names) and (
            multi.updater(rule, array.dtype, len(names) - master, scratch, present, master)
            is not None
        )

    def _point(self, row: int, addresses: list[int]) -> None:
        for table in self._layout:
            table.point(row, addresses)

    def prepared(
        self, rule: Rule, advance: Advance, group: Any, skip: Skip | None = None
    ) -> list[Call] | None:
        """The joint step as calls that do not fail; None where there is none."""
        array_type, dtype, index = self._multi.module.ndarray, self.dtype, self._device.index
        gradients, addresses = [], []
        with self._device.activate():
            for tensor, array, shape in zip(self.tensors, self.arrays, self._shapes):
                grad = tensor._grad
                if tensor._array is not array or grad is None or tensor._node is None:
                    return None
                g = grad._array
                if type(g) is not array_type or g.dtype != dtype or g.shape != shape:
                    return None
                if not g.flags.c_contiguous:
                    g = self._multi.module.ascontiguousarray(g)
                where = g.data
                if where.device_id != index:
                    return None
                gradients.append(g)  # a copy must live until the kernel is launched
                addresses.append(where.ptr)
            clock, values = advance(group, self.clock)
            present = are_there(values)
            key = (present, skip is not None)
            kernel = self._kernels.get(key)
            if kernel is None:
                states = len(self.names) - self.master
                kernel = self._multi.updater(
                    rule, dtype, states, len(self._scratch), present, self.master, skip is not None
                )
                if kernel is None:
                    return None
                self._kernels[key] = kernel
            self._point(1, addresses)
        self.next_clock = clock
        found = None if skip is None else skip.found
        return [
            *self._device.around(self._multi.launches(kernel, self._layout, values, found)),
            partial(setattr, self, "clock", clock),
            partial(len, gradients),  # copies among them live until here
        ]


def change_all(
    rule: Rule, arrays: Sequence[Any], others: Sequence[Any], numbers: Sequence[float]
) -> None:
    """Run a rule without state and with one scratch array over pairs of arrays of one device each.

    ``others`` stand in the place of gradients, and have the shapes and dtypes of ``arrays``.
    """
    calls: list[Call] = []
    for device, places in _by_device(arrays).items():
        here, there = [arrays[i] for i in places], [others[i] for i in places]
        multi = namespace_of(here[0]).multi_tensor
        if multi and all(map(multi.dense, (*here, *there))) and all(separate(here)):
            with device.activate():
                launches = multi.changes(rule, here, numbers, there, scratch=1)
            calls += device.around(launches)
            continue
        for pair in zip(here, there):
            jobs = jobs_of(rule, list(pair), 1, tuple(numbers), False)
            calls += [call for job in jobs for call in job({})]
    versions.change(calls, arrays)


def _by_device(arrays: Sequence[Any]) -> dict[Any, list[int]]:
    places: dict[Any, list[int]] = {}
    for index, array in enumerate(arrays):
        places.setdefault(device_of(array), []).append(index)
    return places


def zero_gradients(parameters: Sequence[Tensor]) -> None:
    """Replace the gradients that are there by zeros; one that is divided among processes by None.

    New arrays: the user or a graph may still hold the old ones.
    """
    whole = [p for p in parameters if type(p.grad) is Tensor]
    for p in parameters:
        if type(p.grad) is not Tensor:
            p._grad = None
    for p, zeros in zip(whole, _zeros_like([p._grad.data for p in whole])):
        p._grad = Tensor(zeros)


def _zeros_like(arrays: list[Any]) -> list[Any]:
    """Arrays of zeros like these; on a GPU by one launch where there is a kernel."""
    results: list[Any] = [None] * len(arrays)
    for device, indices in _by_device(arrays).items():
        here = [arrays[index] for index in indices]
        multi = namespace_of(here[0]).multi_tensor
        with device.activate():
            zeros = multi.zeros_like(here) if multi else map(namespace_of(here[0]).zeros_like, here)
            for index, array in zip(indices, zeros):
                results[index] = array
    return results
