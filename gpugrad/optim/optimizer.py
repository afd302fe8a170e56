"""The base of all optimizers: parameter groups, state, checks. Imports tensor and below.

A subclass has a rule (see `rules`), and ``_values``, which computes the rule's numbers from a
group's settings at a step; everything else is here and in `apply`.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from gpugrad.backend.device import device_of
from gpugrad.backend.interrupts import whole
from gpugrad.backend.memory import says_who
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.modes import enable_grad, tracing
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.optim.apply import (
    MASTER,
    SMALL,
    Clock,
    FlatParameters,
    Numbers,
    Plan,
    Rule,
    buckets_of,
    jobs_of,
    separate,
    takes,
    working_dtype,
)
from gpugrad.optim.flat import in_order
from gpugrad.optim.loading import loaded_groups, loaded_states
from gpugrad.optim.parameters import check_parameter, groups_of, named
from gpugrad.optim.settings import setting
from gpugrad.optim.skipping import Skip
from gpugrad.optim.together import Layout, Together, drop_layouts, is_due, zero_gradients
from gpugrad.optim.traced import record_clearing, record_step
from gpugrad.optim.unneeded import OF_OPTIMIZERS
from gpugrad.tensor import Tensor
from gpugrad.tensor.hints import explain

__all__ = ["Optimizer"]

Group = dict[str, Any]


class Optimizer:
    """The base class: parameter groups, state, ``step`` and the state dict.

    ``params`` is an iterable of Tensors that require a gradient, or of dicts with such an
    iterable under "params" and settings that differ from the optimizer's own. The settings are
    read from ``param_groups`` at each step, so they may be changed there.

    A subclass has a ``rule`` (see `gpugrad.optim.rules`), the names of the state arrays of a
    group, and the numbers of the rule. State arrays begin with zeros, or with `_filled`. What is
    counted on the host beside the steps has its names in ``counted``, its first values from
    `_start` and its next ones from `_advance`.

    GradientError for a Tensor that requires no gradient or is not a leaf, DTypeError for
    anything but Tensors, ValueError for no parameters, duplicates and invalid settings.
    """

    rule: ClassVar[Rule]
    scratch: ClassVar[int] = 1  # the number of scratch arrays of the rule
    names: ClassVar[tuple[str, ...]] = ()  # of the state arrays
    elementwise: ClassVar[bool] = True  # otherwise the rule needs the whole of a parameter
    counted: ClassVar[tuple[str, ...]] = ("step",)
    # Where a setting lies that is not from 0 on, and below which number.
    ranges: ClassVar[dict[str, tuple[float, float]]] = {"betas": (0.0, 1.0)}
    _kinds: ClassVar[dict[str, Any]] = {}  # of the settings, as __init__ declares them

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self._state: dict[Tensor, dict[str, Any]] = {}
        self._layouts: list[Layout | None] = []
        self._exposed = False  # whether the state was handed out and may have been changed
        self._apart: dict[Tensor, None] = {}  # small, but without a gradient in some step
        self._memories: list[dict[Any, Any]] = [{}, {}]
        self._pending: Skip | None = None  # of the last step, which the device may have skipped
        for group in groups_of(self._who(), params):
            self.add_param_group(group)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._kinds = cls._kinds | cls.__init__.__annotations__
        explain(cls, OF_OPTIMIZERS)

    @classmethod
    def _who(cls) -> str:
        return cls.__name__

    # Defined by a subclass.

    def _names(self, group: Group) -> tuple[str, ...]:
        """The names of the state arrays for the group's settings, in the rule's order.

        As long as they are the same it must be the same tuple: that is how a change is noticed.
        """
        return self.names

    def _values(self, group: Group, t: int) -> Numbers:
        """The rule's numbers at step ``t`` of a parameter, counted from 1."""
        raise NotImplementedError

    def _filled(self, group: Group, name: str) -> float:
        """What a state array is filled with at first."""
        return 0.0

    def _start(self, group: Group) -> Clock:
        """The values of ``counted`` before the first step."""
        return (0,)

    def _advance(self, group: Group, clock: Clock) -> tuple[Clock, Numbers]:
        """The values of ``counted`` after one more step, and the rule's numbers at it."""
        t = clock[0] + 1
        return (t,), self._values(group, t)

    def _check(self, group: Group) -> None:
        """Raise where the group's settings are invalid; convert numbers to floats.

        ``__init__`` declares flags, counts, numbers and tuples of numbers; see ``ranges``.
        """
        for name, kind in self._kinds.items():
            if name in group and name != "params":
                low, high = self.ranges.get(name, (0.0, math.inf))
                group[name] = setting(f"{self._who()}: {name}", group[name], kind, low, high)

    # Parameters.

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add a group of parameters; settings in the dict override the optimizer's.

        >>> import gpugrad as gg
        >>> w, b = (gg.zeros(n, requires_grad=True) for n in (3, 1))
        >>> optimizer = gg.optim.SGD([w], lr=0.1)
        >>> optimizer.add_param_group({"params": [b], "lr": 0.01})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.1, 0.01]
        """
        who = self._who()
        if not isinstance(group, Mapping) or "params" not in group:
            raise DTypeError(
                f"{who}: a parameter group is a dict with the key 'params', got {group!r}"
            )
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        if not params:
            raise ValueError(f"{who}: a parameter group has no parameters")
        unknown = [key for key in group if key != "params" and key not in self.defaults]
        if unknown:
            raise ValueError(
                f"{who}: a parameter group has the unknown setting {unknown[0]!r}; "
                f"known are {', '.join(self.defaults)}"
            )
        members = dict.fromkeys(p for other in self.param_groups for p in other["params"])
        for index, p in enumerate(params):
            self._check_parameter(index, p)
            if p in members:
                raise ValueError(
                    f"{who}: {named(index, p)} is there twice; each parameter belongs to one "
                    "group, once"
                )
            members[p] = None
        settings = {
            "params": params,
            **self.defaults,
            **{k: v for k, v in group.items() if k != "params"},
        }
        self._check(settings)
        self.param_groups.append(settings)
        self._layouts.append(None)

    def _check_parameter(self, index: int, p: Any) -> None:
        """Raise where the optimizer cannot train a parameter, the one at ``index`` of its group."""
        check_parameter(self._who(), index, p)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of all parameters, or replace them by zeros."""
        if set_to_none:
            record_clearing(self)
            for group in self.param_groups:
                for p in group["params"]:
                    p._grad = None
            return
        zero_gradients([p for group in self.param_groups for p in group["params"]])

    # The step.

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, in place; gradients are unchanged.

        ``closure``, if given, is called first to compute the loss and its gradients, and the
        loss is returned. Nothing waits for a device.

        >>> import gpugrad as gg
        >>> w = gg.tensor([1.0, 2.0], requires_grad=True)
        >>> optimizer = gg.optim.SGD([w], lr=0.5)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w.tolist()
        [0.0, 0.0]
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self._make_step()
        return loss

    def _make_step(self, skip: Skip | None = None) -> None:
        """One step; with ``skip`` all parameters are on its device, which may skip it."""
        self._settle()
        if tracing.get() is not None:
            record_step(self)
            return
        if self._exposed:
            self._check_layouts()
        if len(self._layouts) != len(self.param_groups):  # changed by hand
            drop_layouts(self)
        # First all that may fail; what follows is done whole, also where an interrupt arrives.
        plan = Plan(skip)
        rule = type(self).rule
        for index, group in enumerate(self.param_groups):
            names = self._names(group)
            layout = self._layouts[index]
            if layout is not None:
                layout = layout.valid_for(names, group)
            if layout is None:
                layout = self._layouts[index] = self._new_layout(group, names)
            for bucket in layout.buckets:
                undo = () if skip is None else layout.taking_back(bucket, self._state)
                calls = bucket.prepared(rule, self._advance, group, skip)
                if calls is not None:
                    plan.add(calls, bucket.arrays, undo)
                else:
                    layout.remove(bucket)
                    self._disband(group, bucket, plan)
            for p, alone in zip(layout.singles, layout.alone):
                self._prepare_one(group, p, names, alone, plan)
        if skip is not None:
            plan.calls.append(partial(setattr, self, "_pending", skip))
        plan.run(self._memories)

    def _settle(self) -> None:
        """Take back the counts of the last step if its device has skipped it."""
        if self._pending is not None:
            self._pending.settle(partial(setattr, self, "_pending", None))

    def _prepare_one(
        self, group: Group, p: Tensor, names: tuple[str, ...], alone: bool, plan: Plan
    ) -> None:
        """Add the step of one parameter, as jobs where it may run beside others."""
        grad = p.grad
        if grad is None or p._node is None:  # a frozen one may have an old gradient
            return
        array, g = p.data, grad.data
        if group.get(MASTER):
            names = self._with_master(group, p, names)
        state = self._entry(group, p, names)
        if g.dtype != array.dtype:
            g = g.astype(array.dtype)
        arrays = [array, g]
        for name in names:
            arrays.append(state[name])
            if arrays[-1].shape != array.shape:
                raise ShapeError(
                    f"{self._who()}: a parameter's shape is {array.shape} and its state's another. "
                    "Make a new optimizer for parameters of another shape"
                )
        before = self._clock(state)
        clock, values = self._advance(group, before)
        parts: tuple[list[Any], ...] = (arrays,)
        if array.dtype.kind == "c":  # a complex number is updated as two real ones, as in PyTorch
            parts = ([a.real for a in arrays], [a.imag for a in arrays])
        jobs = [
            job
            for part in parts
            for job in jobs_of(
                type(self).rule, part, self.scratch, values, MASTER in names,
                cut=self.elementwise, alone=alone,
            )
        ]  # fmt: skip
        if plan.skip is not None:
            undo: Any = partial(state.update, dict(zip(self.counted, before)))
            if before[:1] == (0,):  # a state may begin with the rate of its first step
                undo = partial(self._state.pop, p, None)
            plan.skip.undo.append(undo)
            restores = plan.skip.restoring([array, *arrays[2:]])
        if alone and type(array) is np.ndarray:
            plan.jobs += jobs
        else:
            for job in jobs:
                plan.calls += job(self._memories[0])
        if plan.skip is not None:
            plan.calls += restores
        plan.calls.append(partial(state.update, zip(self.counted, clock)))
        plan.arrays.append(array)

    @staticmethod
    def _with_master(group: Group, p: Tensor, names: tuple[str, ...]) -> tuple[str, ...]:
        """The names of a parameter's states: the rule's, and its master weights, if it has any."""
        has_master = group.get(MASTER) and working_dtype(p.dtype) != p.dtype
        return (*names, MASTER) if has_master else names

    def _clock(self, entry: dict[str, Any]) -> Clock:
        return tuple([entry[name] for name in self.counted])

    def _entry(self, group: Group, p: Tensor, names: tuple[str, ...]) -> dict[str, Any]:
        """The state of a parameter on its device, made where there is none."""
        entry = self._state.get(p)
        if entry is None:
            entry = self._state[p] = dict(zip(self.counted, self._start(group)))
        array = p.data
        dtype = working_dtype(array.dtype)
        for name in names:
            state = entry.get(name)
            if state is None:
                with says_who(f"{self._who()}: {name}"), device_of(array).activate():
                    start = array if name == MASTER else namespace_of(array).zeros_like(array)
                    if start.dtype != dtype:
                        start = start.astype(dtype)
                    if name != MASTER and (fill := self._filled(group, name)):
                        start[...] = fill * (1 + 1j) if dtype.kind == "c" else fill
                    entry[name] = start
            elif type(state) is not type(array) or state.dtype != dtype:
                # Another dict tells compiled steps to look for the states anew.
                entry = self._state[p] = {**entry, name: device_of(array).send(state).astype(dtype)}
        return entry

    # Buckets.

    def _new_layout(self, group: Group, names: tuple[str, ...]) -> Layout:
        layout = Layout(names, group)
        params = group["params"]
        alone = dict(zip(params, separate([p.data for p in params])))
        small: dict[Any, list[Tensor]] = {}
        on_device: dict[Any, list[Tensor]] = {}
        for p in params:
            array = p.data
            batch = None
            if array.dtype.kind == "c" or not self.elementwise:
                pass  # its real and imaginary parts are not dense
            elif type(array) is np.ndarray:
                if alone[p] and p not in self._apart and is_due(p) and p.size <= SMALL:
                    batch = small if array.flags.c_contiguous else None
            elif alone[p] and (multi := namespace_of(array).multi_tensor) and multi.dense(array):
                if not is_due(p):
                    layout.late.append(p)
                    continue
                batch = on_device
            if batch is None:
                layout.singles.append(p)
                layout.alone.append(alone[p])
            else:
                own = self._with_master(group, p, names)
                clock = self._clock(self._entry(group, p, own))
                key = (device_of(array), p.dtype, clock)
                batch.setdefault(key, []).append(p)
        cls = type(self)
        for members in small.values():
            for part in buckets_of(in_order(members)):
                entries = [self._state[p] for p in part]
                _, values = self._advance(group, self._clock(entries[0]))
                own = self._with_master(group, part[0], names)
                if not takes(cls.rule, own, self.scratch, values):
                    layout.singles.extend(part)
                    layout.alone.extend([True] * len(part))
                    continue
                layout.buckets.append(
                    FlatParameters(part, entries, own, self.counted, self.scratch)
                )
        for members in on_device.values():
            entries = [self._state[p] for p in members]
            _, values = self._advance(group, self._clock(entries[0]))
            own = self._with_master(group, members[0], names)
            if Together.takes(cls.rule, entries, own, self.scratch, members[0].data, values):
                layout.buckets.append(Together(members, entries, own, self.counted, self.scratch))
            else:
                layout.singles.extend(members)
                layout.alone.extend([True] * len(members))
        return layout

    def _disband(self, group: Group, bucket: FlatParameters, plan: Plan) -> None:
        """Add the steps of the members of a bucket whose joint step was impossible."""
        left = bucket.tensors
        names = self._names(group)
        due = [p for p in left if is_due(p)]
        if type(bucket) is Together and len(due) < len(left):
            # A new layout of the others costs less than launching the rule for each.
            layout = self._new_layout({**group, "params": due}, names)
            left = layout.singles
            for other in layout.buckets:
                before = other.noting(other.clock)
                calls = other.prepared(type(self).rule, self._advance, group, plan.skip)
                if calls is not None:
                    plan.add([*calls, *other.noting(other.next_clock)], other.arrays, before)
                else:
                    left += other.tensors
        for p in left:
            if not is_due(p):
                self._apart[p] = None
            self._prepare_one(group, p, names, True, plan)

    def _check_layouts(self) -> None:
        """Drop the layouts of groups whose state the user has changed."""
        self._exposed = False
        for index, layout in enumerate(self._layouts):
            if layout and not all(bucket.whole(self._state) for bucket in layout.buckets):
                self._layouts[index] = None

    @property
    def state(self) -> dict[Tensor, dict[str, Any]]:
        """The state of each parameter by name: "step" and arrays.

        Read the property again before replacing an array in it: changes to a dict that was read
        before the last step are not noticed.
        """
        self._settle()
        for layout in self._layouts:
            if layout is not None:
                for bucket in layout.buckets:
                    bucket.unload()
        self._exposed = True
        return self._state

    # Saving.

    def state_dict(self) -> dict[str, Any]:
        """The state to resume training from, as a nested dict of plain numbers and arrays.

        ``state`` has an entry for each parameter that was updated, by its number in the order
        of the groups; ``param_groups`` has the settings, with these numbers in place of the
        parameters. The arrays are not copied.

        >>> import gpugrad as gg
        >>> w = gg.ones(2, requires_grad=True)
        >>> gg.optim.SGD([w], lr=0.5).state_dict()["param_groups"][0]["params"]
        [0]
        """
        order = {p: i for i, p in enumerate(p for g in self.param_groups for p in g["params"])}
        state = self.state
        return {
            "state": {i: dict(state[p]) for p, i in order.items() if p in state},
            "param_groups": [
                {
                    **{key: value for key, value in group.items() if key != "params"},
                    "params": [order[p] for p in group["params"]],
                }
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a ``state_dict``; arrays are copied to the devices of their parameters.

        ValueError where groups or settings differ or something is missing, ShapeError where an
        array does not have its parameter's shape, DTypeError for other types. After an error
        nothing has been changed.
        """
        self._settle()
        who = f"{self._who()}.load_state_dict"
        groups = loaded_groups(who, state_dict, self.param_groups, self._check)
        states = loaded_states(who, state_dict, groups, self._names, self.counted)
        calls: list[Any] = [
            partial(current.update, settings)
            for current, settings in zip(self.param_groups, groups)
        ]
        calls += [
            partial(setattr, self, "_state", states),
            partial(setattr, self, "_layouts", [None] * len(self.param_groups)),
            self._apart.clear,
        ]
        whole(calls)

    def __getstate__(self) -> dict[str, Any]:
        _ = self.state
        return {
            **self.__dict__,
            "_layouts": [None] * len(self._layouts),
            "_memories": [{}, {}],
        }

    def __repr__(self) -> str:
        lines = []
        for index, group in enumerate(self.param_groups):
            count = sum(p.size for p in group["params"])
            settings = ", ".join(f"{k}={v!r}" for k, v in group.items() if k != "params")
            tensors = len(group["params"])
            lines.append(
                f"  group {index}: {tensors} tensor{'s' * (tensors != 1)}, {count:,} "
                f"parameter{'s' * (count != 1)}, {settings}"
            )
        return "\n".join([f"{self._who()}(", *lines, ")"])
