"""The base of all schedules but `plateau`'s. Imports engine and `optimizer`.

A schedule is a function of the initial rate of a group and of the number of steps. As in PyTorch, a
step goes on from the rate that a group has: one that was set by hand, or by another schedule, is
multiplied as the schedule's own would be. Use `SequentialLR` for one schedule after the other.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any

from gpugrad.backend.interrupts import whole
from gpugrad.engine.messages import is_whole
from gpugrad.engine.modes import tracing
from gpugrad.errors import DTypeError
from gpugrad.optim.optimizer import Optimizer
from gpugrad.optim.settings import number
from gpugrad.optim.unneeded import OF_SCHEDULES
from gpugrad.tensor.hints import explain

__all__ = ["LRScheduler", "Schedule", "check_optimizer"]


def check_optimizer(who: str, optimizer: Any) -> None:
    """Raise for anything but an optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise DTypeError(f"{who}: expected an optimizer, got {type(optimizer).__name__}")


class Schedule:
    """What all schedules share: an optimizer's rates, and the checks of a state."""

    optimizer: Optimizer

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        explain(cls, OF_SCHEDULES)
        if "step" in vars(cls):
            setattr(cls, "step", _for_each_call(vars(cls)["step"]))  # noqa: B010  no member to type

    def _saved(self) -> Callable[[], None]:
        """What puts back the numbers of the schedule, of those in it and of the groups."""
        schedules = [self, *getattr(self, "schedulers", ())]
        numbers: list[dict[str, Any]] = [one.__dict__ for one in schedules]
        numbers += self.optimizer.param_groups
        calls = [partial(one.update, dict(one)) for one in numbers]
        return partial(whole, calls)

    def get_last_lr(self) -> list[float]:
        """The current learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _check_state(self, who: str, state: Any, names: Sequence[str]) -> None:
        """Raise for what is no state of this schedule with these names."""
        if not isinstance(state, Mapping):
            raise DTypeError(f"{who}: expected a state_dict(), got {type(state).__name__}")
        if set(state) != set(names):
            raise ValueError(
                f"{who}: expected the keys {', '.join(names)}, got {sorted(map(str, state))}"
            )
        schedule = state["schedule"]
        if not isinstance(schedule, str) or schedule != type(self).__name__:
            raise ValueError(f"{who}: this is the state of a {schedule}")

    def _loaded(self, who: str, key: str, rates: Any) -> list[float]:
        """A rate for each group, out of a state."""
        if not isinstance(rates, list | tuple):
            raise ValueError(f"{who}: {key} must be a list of numbers, got {rates!r}")
        count = len(self.optimizer.param_groups)
        if len(rates) != count:
            raise ValueError(
                f"{who}: the optimizer has {count} groups, the state is of {len(rates)}"
            )
        return [number(f"{who}: a rate in {key}", rate, 0.0) for rate in rates]


def _for_each_call(step: Any) -> Any:
    """The ``step`` of a schedule, which each call of a compiled function makes."""

    @wraps(step)
    def stepped(self: Any, *args: Any, **kwargs: Any) -> Any:
        if (session := tracing.get()) is None:
            return step(self, *args, **kwargs)
        return session.host(self, lambda one: step(one, *args, **kwargs), type(self)._saved)

    return stepped


class LRScheduler(Schedule):
    """The base class: sets the learning rates when it is created and at each ``step()``.

    A subclass has ``rate(base, t, group)``: the learning rate after ``t`` steps of the group
    with number ``group``, whose initial rate is ``base``, as a linear function of it. That is the
    rate of the group when its first scheduler was created, or when its optimizer was loaded before,
    stored in it as "initial_lr". A schedule that moves more than the rate has ``settings``.
    """

    # Whether rates follow from the initial ones: otherwise a state must have them.
    from_initial = True

    def __init__(self, optimizer: Optimizer) -> None:
        check_optimizer(type(self).__name__, optimizer)
        self.optimizer = optimizer
        self.last_epoch = 0
        bases = [self._first(index, group) for index, group in enumerate(optimizer.param_groups)]
        self._set(bases, self._next_rates(bases, 0), 0)

    def rate(self, base: float, t: int, group: int) -> float:
        """The learning rate of a group after ``t`` steps, from its initial rate."""
        raise NotImplementedError

    def next_rate(self, lr: float, base: float, t: int, group: int) -> float:
        """The learning rate of a group after ``t`` steps, from its rate ``lr`` one step before.

        That is ``rate(base, t, group)``, unless ``lr`` was set by hand or by another schedule: it
        is then multiplied as the schedule's own. A schedule that overwrites it has its own method.
        """
        if t == 0:
            return self.rate(lr, 0, group)
        expected = self.rate(base, t - 1, group)
        if lr == expected:
            return self.rate(base, t, group)
        least, slope = self._line(t - 1, group)
        if not slope:  # every initial rate has come to the same: there is nothing to multiply
            return lr + self.rate(base, t, group) - expected
        return self.rate((lr - least) / slope, t, group)

    def settings(self, t: int, group: int) -> dict[str, Any]:
        """What else the schedule sets in a group after ``t`` steps: its momentum, by name."""
        return {}

    def _first(self, index: int, group: dict[str, Any]) -> float:
        """The initial rate of a group for a new schedule."""
        return float(group["initial_lr" if "initial_lr" in group else "lr"])

    def _next_rates(self, bases: Sequence[float], t: int) -> list[float]:
        who = f"{type(self).__name__}: lr"
        return [
            self.next_rate(number(who, group["lr"], 0.0), base, t, index)
            for index, (group, base) in enumerate(zip(self.optimizer.param_groups, bases))
        ]

    def _line(self, t: int, group: int) -> tuple[float, float]:
        """The rate after ``t`` steps from the initial rate 0, and its slope by that."""
        least = self.rate(0.0, t, group)
        return least, self.rate(1.0, t, group) - least

    def _set(self, bases: Sequence[float], rates: Sequence[float], t: int) -> None:
        """Set the initial rates of the groups, their rates and the number of steps."""
        groups = self.optimizer.param_groups
        others = [self.settings(t, index) for index in range(len(groups))]
        calls: list[Any] = [partial(vars(self).update, last_epoch=t)]
        for group, base, rate, more in zip(groups, bases, rates, others):
            calls.append(partial(group.update, more, initial_lr=base, lr=rate))
        whole(calls)

    def _bases(self) -> list[float]:
        """The initial rate of each group; of one added since, that which gives its present rate."""
        t, bases = self.last_epoch, []
        for index, group in enumerate(self.optimizer.param_groups):
            if "initial_lr" in group:
                bases.append(group["initial_lr"])
                continue
            # Where a schedule has come to 0, no initial rate gives another.
            least, slope = self._line(t, index)
            bases.append((group["lr"] - least) / slope if slope else group["lr"])
        return bases

    def step(self) -> None:
        """Set the next learning rates; call it after ``optimizer.step()``, per epoch or step.

        A group whose rate was set by hand since the last step, or that was added since, goes on
        from that rate.
        """
        bases, t = self._bases(), self.last_epoch + 1
        self._set(bases, self._next_rates(bases, t), t)

    def state_dict(self) -> dict[str, Any]:
        """The number of steps, the initial rates and the present ones, without the settings."""
        return {
            "schedule": type(self).__name__,
            "last_epoch": self.last_epoch,
            "base_lrs": self._bases(),
            "lrs": self.get_last_lr(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a ``state_dict``, and set its learning rates.

        ValueError for the state of another schedule or number of groups, and for anything else
        that is no state of a schedule; after an error nothing has been changed.
        """
        who = f"{type(self).__name__}.load_state_dict"
        names = ["schedule", "last_epoch", "base_lrs", "lrs"]
        # A state of an earlier version has no present rates: there they follow from the initial.
        if self.from_initial and isinstance(state_dict, Mapping) and "lrs" not in state_dict:
            names.remove("lrs")
        self._check_state(who, state_dict, names)
        t = state_dict["last_epoch"]
        if not is_whole(t, 0) or t >= 2**63:
            raise ValueError(f"{who}: last_epoch must be a number of steps, got {t!r}")
        bases = self._loaded(who, "base_lrs", state_dict["base_lrs"])
        if "lrs" in state_dict:
            rates = self._loaded(who, "lrs", state_dict["lrs"])
        else:
            rates = [self.rate(base, t, index) for index, base in enumerate(bases)]
        self._set(bases, rates, int(t))

    def __repr__(self) -> str:
        rates = ", ".join(f"{rate:g}" for rate in self.get_last_lr())
        return f"{type(self).__name__}(step {self.last_epoch}, lr {rates})"
