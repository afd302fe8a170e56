"""Loss scaling for float16, without waiting for the device. Imports tensor and below.

Below 6e-8 a float16 gradient is 0, so the loss is multiplied by a scale and the gradients are
divided by it (Micikevicius et al., "Mixed Precision Training", 2018). Too large a scale overflows:
such a step is skipped, by the device itself, and the scale halved.
"""

import math
from collections.abc import Iterable, Mapping
from functools import partial, reduce
from operator import setitem
from typing import Any

import numpy as np

from gpugrad.backend.device import Device, device_of
from gpugrad.backend.interrupts import Repeatable
from gpugrad.backend.namespace import namespace_of
from gpugrad.backend.precision import HALF, SINGLE
from gpugrad.engine import versions
from gpugrad.engine.modes import tracing
from gpugrad.errors import ArgumentError, DTypeError, GradientError
from gpugrad.optim.apply import separate
from gpugrad.optim.divided import parts_of
from gpugrad.optim.optimizer import Optimizer
from gpugrad.optim.recorded_scaling import (
    record_scaled_step,
    record_unscaling,
    recorded_settings,
    recorded_state,
)
from gpugrad.optim.settings import count, flag, number
from gpugrad.optim.skipping import Skip
from gpugrad.optim.traced import not_recorded
from gpugrad.tensor import OPS, Tensor

__all__ = ["GradScaler"]

# By device whether gradients were not finite: a 0-d array of float32, which is 1 then.
Found = dict[Device, Any]


class GradScaler:
    """Scales the loss so that float16 gradients do not vanish, and skips steps that overflow.

    The scale begins with ``init_scale``. After a step whose gradients are not all finite it is
    multiplied by ``backoff_factor``, and after ``growth_interval`` steps that were by
    ``growth_factor``, as in PyTorch. On a GPU the scale, and whether a step is skipped, stay there:
    the optimizer's kernel changes nothing then. The host learns of it at the next step, by when the
    device has long known it, and takes back the optimizer's count of steps. Only an optimizer with
    parameters on several devices, or with a ``step`` of its own, waits.

    ``enabled=False`` makes all of it do nothing, so that one loop serves all dtypes. ValueError for
    factors and intervals out of range.

    >>> import gpugrad as gg
    >>> w = gg.ones((3, 2), requires_grad=True)
    >>> optimizer = gg.optim.SGD([w], lr=0.1)
    >>> scaler = gg.GradScaler()
    >>> with gg.autocast("float16"):
    ...     loss = (gg.ones((4, 3)) @ w).mean()
    >>> scaler.scale(loss).backward()
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> scaler.get_scale(), w[0, 0].item()
    (65536.0, 0.949999988079071)
    """

    def __init__(
        self, init_scale: Any = 65536.0, growth_factor: float = 2.0, backoff_factor: float = 0.5,
        growth_interval: int = 2000, enabled: bool = True,
    ) -> None:  # fmt: skip
        if isinstance(init_scale, str):
            raise ArgumentError(
                f"GradScaler: the scale follows the loss to its device; leave {init_scale!r} out"
            )
        self._enabled = flag("GradScaler: enabled", enabled)
        self._scale: Any = np.array(_positive("init_scale", init_scale), np.float32)
        self._tracker: Any = np.zeros((), np.int32)
        self.set_growth_factor(growth_factor)
        self.set_backoff_factor(backoff_factor)
        self.set_growth_interval(growth_interval)
        # Of the optimizers since the last update: what was found, and whether they have stepped.
        self._found: dict[Optimizer, Found] = {}
        self._stepped: dict[Optimizer, None] = {}

    # ------------------------------------------------------------ a step

    def scale(self, outputs: Any) -> Any:
        """The loss times the scale; so for each of a list or tuple of Tensors."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            self._move(outputs.device)
            scale = self._scale if tracing.get() is None else recorded_state(self)[0]
            return OPS["multiply"](outputs, Tensor(scale))
        if isinstance(outputs, Iterable) and not isinstance(outputs, str | Mapping):
            scaled = [self.scale(output) for output in outputs]
            return tuple(scaled) if isinstance(outputs, tuple) else scaled
        raise DTypeError(f"GradScaler.scale: expected Tensors, got {type(outputs).__name__}")

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer's parameters by the scale, in place.

        `step` does it where it was not done; do it before clipping. GradientError when called
        twice before `update`, or for no gradients; ArgumentError for float16 gradients.
        """
        if not self._enabled:
            return
        if not hasattr(optimizer, "param_groups"):
            raise DTypeError(f"GradScaler: expected an optimizer, got {type(optimizer).__name__}")
        if optimizer in self._found:
            raise GradientError(
                "GradScaler.unscale_: the gradients of this optimizer are unscaled already. Call "
                "it once for each step, and update() after the step"
            )
        grads = [p.grad for group in optimizer.param_groups for p in group["params"]]
        parts = parts_of(there := [g for g in grads if g is not None])
        arrays = [g.data for g in there] if parts is None else [*parts.own, *parts.whole]
        devices = [] if parts is None else parts.devices  # also where other processes have all
        gradients: dict[Device, list[Any]] = {device: [] for device in devices}
        for array in arrays:
            if array.dtype == HALF:
                raise ArgumentError(
                    "GradScaler: a gradient is in float16, in which it cannot be unscaled. "
                    "Keep the parameters in float32, and compute inside gg.autocast('float16')"
                )
            gradients.setdefault(device_of(array), []).append(array)
        if not gradients:
            raise GradientError(
                "GradScaler: no parameter of the optimizer has a gradient. Call "
                "scaler.scale(loss).backward() first"
            )
        if tracing.get() is not None:
            if len(gradients) > 1 or parts is not None:
                not_recorded("GradScaler", "parameters are on several devices, or divided")
            self._found[optimizer] = dict.fromkeys(gradients, record_unscaling(self, arrays))
            return
        found: dict[Device, Any] = {}
        calls: list[Any] = []
        for device, here in gradients.items():
            found[device], more = self._unscaling(device, here)
            calls += device.around(more)
        calls.append(partial(setitem, self._found, optimizer, found))
        versions.change(calls, arrays)
        if parts is not None:
            for device in devices:
                found[device] = parts.join(found[device], "max")

    def _unscaling(self, device: Device, arrays: list[Any]) -> tuple[Any, list[Any]]:
        """Calls that unscale the gradients on one device, and whether they are not finite."""
        scale = device.send(self._scale)
        namespace = namespace_of(scale)
        xp = namespace.module
        with device.activate():
            found = xp.zeros((), np.float32)
            if not arrays:  # other processes have all of them
                return found, []
            multi = namespace.multi_tensor
            if multi and all(map(multi.dense, arrays)) and all(separate(arrays)):
                return found, multi.unscale(arrays, scale, found)
            inverse = (1.0 / scale.astype(np.float64)).astype(np.float32)
            for array in arrays:
                found = xp.maximum(found, (~xp.isfinite(array)).any().astype(np.float32))
        kind = Repeatable if device.kind == "cuda" else partial
        return found, [kind(xp.multiply, array, inverse, array) for array in arrays]

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """Step the optimizer unless gradients are not finite; returns what its ``step`` does.

        GradientError when called twice before `update`, ArgumentError for a closure.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if args or kwargs:
            raise ArgumentError(
                "GradScaler.step: it takes the optimizer alone. A closure would compute the "
                "gradients anew, unscaled"
            )
        if optimizer in self._stepped:
            raise GradientError(
                "GradScaler.step: this optimizer has made its step. Call update() after each step"
            )
        if optimizer not in self._found:
            self.unscale_(optimizer)
        found = self._found[optimizer]
        first, *others = found.values()
        inherits = type(optimizer).step is Optimizer.step
        if tracing.get() is not None and not (inherits and hasattr(first, "tape")):
            why = "unscale_ was called outside" if inherits else "it has a step of its own"
            not_recorded(f"GradScaler.step of {type(optimizer).__name__}", why)
        self._stepped[optimizer] = None
        if tracing.get() is not None:
            return record_scaled_step(optimizer, first)
        if others or not namespace_of(first).waits or not inherits:
            if any(map(float, found.values())):
                return None
            return optimizer.step()
        optimizer._make_step(Skip(first))
        return None

    def update(self, new_scale: Any = None) -> None:
        """Adjust the scale after the steps of all optimizers, or set it to ``new_scale``.

        GradientError where nothing was unscaled since the last update.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            not_recorded("GradScaler.update", "new_scale is that of this call")
            self._set(_positive("new_scale", new_scale))
        else:
            founds = [array for found in self._found.values() for array in found.values()]
            if not founds:
                raise GradientError(
                    "GradScaler.update: no gradients were looked at. Call step(optimizer) first"
                )
            self._adjust(founds)
        self._found, self._stepped = {}, {}

    def _adjust(self, founds: list[Any]) -> None:
        if tracing.get() is not None:
            own, numbers = recorded_state(self), recorded_settings(self)
            xp = namespace_of(founds[0])
            after = _adjusted(xp, *own, reduce(xp.maximum, founds), *numbers)
            for array, new in zip(own, after):
                array[...] = new
            return
        device = device_of(self._scale)
        with device.activate():
            first, *others = (device.send(found) for found in founds)
            namespace = namespace_of(first)
            xp = namespace.module
            found = first
            for other in others:
                found = xp.maximum(found, other)
            if namespace.multi_tensor:
                self._scale, self._tracker = namespace.multi_tensor.rescale(
                    self._scale, self._tracker, found, self._growth, self._backoff, self._interval
                )
                return
            with np.errstate(over="ignore"):
                self._scale, self._tracker = _adjusted(
                    xp, self._scale, self._tracker, found, self._growth, self._backoff,
                    self._interval,
                )  # fmt: skip

    def _move(self, device: Device) -> None:
        """Keep the scale on the device of the loss."""
        if device_of(self._scale) != device:
            self._scale, self._tracker = map(device.send, (self._scale, self._tracker))

    def _set(self, scale: float, tracker: int | None = None) -> None:
        device = device_of(self._scale)
        self._scale = device.send(np.array(scale, np.float32))
        if tracker is not None:
            self._tracker = device.send(np.array(tracker, np.int32))

    # ------------------------------------------------------------ settings

    def get_scale(self) -> float:
        """The scale; this waits for the device. 1 where scaling is off."""
        if self._enabled and tracing.get() is not None:
            scale: float = recorded_state(self)[0].item()
            return scale
        return float(self._scale) if self._enabled else 1.0

    def is_enabled(self) -> bool:
        """Whether anything is scaled."""
        return self._enabled

    def get_growth_factor(self) -> float:
        """What the scale grows by."""
        return self._growth

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the scale grows by, above 1."""
        self._growth = _positive("growth_factor", new_factor)
        if self._growth <= 1:
            raise ValueError(f"GradScaler: growth_factor must be above 1, got {self._growth}")

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied by after a step that was skipped."""
        return self._backoff

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the scale is multiplied by after a step that was skipped, below 1."""
        self._backoff = _positive("backoff_factor", new_factor)
        if self._backoff >= 1:
            raise ValueError(f"GradScaler: backoff_factor must be below 1, got {self._backoff}")

    def get_growth_interval(self) -> int:
        """After how many steps the scale grows."""
        return self._interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many steps, of which none was skipped, the scale grows."""
        self._interval = count("GradScaler: growth_interval", new_interval)

    # ------------------------------------------------------------ saving

    def state_dict(self) -> dict[str, Any]:
        """The scale and the settings, with PyTorch's names; empty where scaling is off. Waits."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth,
            "backoff_factor": self._backoff,
            "growth_interval": self._interval,
            "_growth_tracker": int(self._tracker),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a ``state_dict``, also PyTorch's; ValueError where something is missing."""
        if not self._enabled:
            return
        names = ("scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker")
        missing = [name for name in names if name not in state_dict]
        if missing:
            raise ArgumentError(
                f"GradScaler.load_state_dict: {', '.join(missing)} is missing. Was it saved with "
                "scaling off?"
            )
        scale = _positive("scale", state_dict["scale"])
        tracker = count("GradScaler: _growth_tracker", state_dict["_growth_tracker"], 0)
        other = GradScaler(scale, *(state_dict[name] for name in names[1:4]))  # checks them
        self._growth, self._backoff = other._growth, other._backoff
        self._interval = other._interval
        self._set(scale, tracker)

    def __repr__(self) -> str:
        if not self._enabled:
            return "GradScaler(enabled=False)"
        return (
            f"GradScaler(growth_factor={self._growth}, backoff_factor={self._backoff}, "
            f"growth_interval={self._interval})"
        )


def _adjusted(
    xp: Any, scale: Any, tracker: Any, found: Any, growth: Any, backoff: Any, interval: Any
) -> tuple[Any, Any]:
    """The scale and the tracker after a step, where ``found`` says whether it was skipped."""
    full = tracker + 1 >= interval
    larger = (scale * growth).astype(SINGLE)
    grown = xp.where(xp.isfinite(larger) & full, larger, scale)
    smaller = (scale * backoff).astype(SINGLE)
    after = xp.where((found != 0) | full, 0, tracker + 1).astype(tracker.dtype)
    return xp.where(found != 0, smaller, grown), after


def _positive(name: str, value: Any) -> float:
    if isinstance(value, Tensor):
        value = value.item()
    result = number(f"GradScaler: {name}", value, 0.0)
    if result <= 0 or not math.isfinite(float(np.float32(result))):
        raise ValueError(f"GradScaler: {name} must be above 0 and fit into float32, got {value}")
    return result
