"""L-BFGS with a line search: an optimizer for functions of few data, without noise.

Names, settings and trajectories are PyTorch's. Imports the modules beside it, and `wolfe`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from gpugrad.backend.device import check_same_device, device_of
from gpugrad.backend.interrupts import whole
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine import versions
from gpugrad.engine.modes import enable_grad
from gpugrad.errors import DTypeError
from gpugrad.optim.loading import loaded_array, loaded_groups, parts
from gpugrad.optim.optimizer import Group, Optimizer
from gpugrad.optim.parameters import named
from gpugrad.optim.settings import choice, count, number, settings_of
from gpugrad.optim.traced import not_recorded
from gpugrad.optim.wolfe import Point, strong_wolfe
from gpugrad.tensor import Tensor

__all__ = ["LBFGS"]

_NUMBERS = ("func_evals", "n_iter", "t", "H_diag", "prev_loss")
_ARRAYS = ("d", "prev_flat_grad")
_LISTS = ("old_dirs", "old_stps", "ro")


@dataclass(frozen=True)
class _Memory:
    """What one iteration leaves to the next; arrays are flat, of all parameters, never changed.

    ``d`` and ``t`` are the last direction and step, ``old_dirs`` and ``old_stps`` the differences
    of gradients and of parameters, ``ro`` the inverses of their products.
    """

    func_evals: int = 0
    n_iter: int = 0
    d: Any = None
    t: float = 0.0
    old_dirs: tuple[Any, ...] = ()
    old_stps: tuple[Any, ...] = ()
    ro: tuple[Any, ...] = ()
    H_diag: float = 1.0
    prev_flat_grad: Any = None
    prev_loss: float = 0.0


class LBFGS(Optimizer):
    """L-BFGS: Newton's steps by a curvature that is estimated from past gradients.

    Names, settings and formulas are PyTorch's (Nocedal and Wright 2006, algorithm 7.5). For
    functions without noise: full batches, and no dropout. ``step(closure)`` takes up to
    ``max_iter`` iterations, each of which calls the closure; it computes the loss and its gradients
    and returns the loss. ``line_search_fn="strong_wolfe"`` looks for a step that meets Wolfe's
    conditions, by up to ``max_eval`` calls in all (1.25 ``max_iter`` if None); otherwise each step
    is ``lr`` times the direction. ``history_size`` past gradients are kept, each of the size of all
    parameters. A step ends early where no gradient is above ``tolerance_grad``, or nothing changes
    by more than ``tolerance_change``.

    All parameters are one group, real and on one device. Every call of the closure waits for the
    device, since the next point depends on the loss. A step that fails or is interrupted, in the
    closure too, puts all parameters back.
    DTypeError for complex parameters, DeviceError for two devices, ValueError for two groups and
    for settings out of range.

    >>> import gpugrad as gg
    >>> w = gg.tensor([-1.5, 2.0], dtype="float64", requires_grad=True)
    >>> optimizer = gg.optim.LBFGS([w], max_iter=50, line_search_fn="strong_wolfe")
    >>> def closure():  # Rosenbrock's function, whose minimum is at (1, 1)
    ...     optimizer.zero_grad()
    ...     loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
    ...     loss.backward()
    ...     return loss
    >>> first = optimizer.step(closure)
    >>> [round(x, 4) for x in w.tolist()]
    [1.0, 1.0]
    """

    needs_closure = True  # a `Trainer` asks

    def __init__(
        self, params: Iterable[Any], lr: float = 1.0, max_iter: int = 20,
        max_eval: int | None = None, tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9,
        history_size: int = 100, line_search_fn: str | None = None,
    ) -> None:  # fmt: skip
        if max_eval is None:
            max_eval = count("LBFGS: max_iter", max_iter) * 5 // 4
        self._memory = _Memory()
        super().__init__(params, settings_of(locals()))

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add the one group of parameters; ValueError for a second."""
        if self.param_groups:
            raise ValueError("LBFGS: all parameters must be in one group; there is one already")
        super().add_param_group(group)
        check_same_device("LBFGS", tuple(p.data for p in self.param_groups[0]["params"]))

    def _check_parameter(self, index: int, p: Any) -> None:
        super()._check_parameter(index, p)
        if p.dtype.kind == "c":
            raise DTypeError(f"LBFGS: {named(index, p)} is complex; expected real parameters")

    def _check(self, group: Group) -> None:
        super()._check(group)
        count("LBFGS: max_eval", group["max_eval"])
        if group["line_search_fn"] is not None:
            choice("LBFGS: line_search_fn", group["line_search_fn"], "strong_wolfe")

    # The parameters and gradients as one vector.

    def _flat(self, gradients: bool = False) -> Any:
        """All parameters, or gradients, as a new vector of the widest dtype, at least float32.

        The gradient of a frozen parameter is zero.
        """
        params: list[Tensor] = self.param_groups[0]["params"]
        dtype = np.result_type(np.float32, *(p.dtype for p in params))
        xp = namespace_of(params[0].data).module
        rows = []
        for p in params:
            if not gradients:
                rows.append(p.data.reshape(-1).astype(dtype))
            elif (grad := p.grad) is None or not p.requires_grad:
                rows.append(xp.zeros(p.size, dtype))
            else:
                check_same_device("LBFGS", (p.data, grad.data))
                rows.append(grad.data.reshape(-1).astype(dtype))
        return xp.concatenate(rows)

    def _write(self, flat: Any, *more: Callable[[], Any]) -> None:
        """Set all parameters but frozen ones, and make more calls, as one whole."""
        at, calls, changed = 0, [], []
        for p in self.param_groups[0]["params"]:
            if p.requires_grad:
                part = flat[at : at + p.size].reshape(p.shape).astype(p.dtype)
                calls += versions.writing(p.data, part)
                changed.append(p.data)
            at += p.size
        versions.change([*calls, *more], changed)

    # The step.

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take up to ``max_iter`` iterations; returns the loss before the first.

        TypeError without a ``closure``, which computes the loss and its gradients and returns the
        loss.
        """
        if closure is None:
            raise DTypeError(
                "LBFGS.step: it needs a function that computes the loss and its gradients and "
                "returns the loss. Write optimizer.step(closure)"
            )
        not_recorded("LBFGS.step", "the number of its iterations depends on values")
        with device_of(self.param_groups[0]["params"][0].data).activate():
            start = self._flat()
            done: list[bool] = []
            try:
                run = _Run(self, closure, start)
                memory = run.iterate(self._memory)
                keep = partial(setattr, self, "_memory", memory)
                self._write(run.x, keep, partial(done.append, True))
            except BaseException:
                if not done:
                    self._write(start)
                raise
        return run.first_loss

    # Saving.

    @property
    def state(self) -> dict[Tensor, dict[str, Any]]:
        """What the last step left to the next, as the state of the first parameter.

        The arrays are flat, of all parameters in their order.
        """
        memory = self._memory
        if not memory.n_iter:
            return {}
        entry: dict[str, Any] = {name: getattr(memory, name) for name in (*_NUMBERS, *_ARRAYS)}
        for name in _LISTS:
            entry[name] = list(getattr(memory, name))
        return {self.param_groups[0]["params"][0]: entry}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a ``state_dict``; arrays are copied to the device of the parameters.

        ValueError, ShapeError and DTypeError as in `Optimizer.load_state_dict`; after an error
        nothing has been changed.
        """
        who = "LBFGS.load_state_dict"
        groups = loaded_groups(who, state_dict, self.param_groups, self._check)
        _, states = parts(who, state_dict)
        if set(states) - {0}:
            raise ValueError(f"{who}: expected one state, that of parameter 0")
        memory = self._loaded(who, states[0]) if states else _Memory()
        whole(
            [
                partial(self.param_groups[0].update, groups[0]),
                partial(setattr, self, "_memory", memory),
            ]
        )

    def _loaded(self, who: str, saved: Any) -> _Memory:
        names = {*_NUMBERS, *_ARRAYS, *_LISTS}
        if not isinstance(saved, Mapping) or set(saved) != names:
            raise ValueError(f"{who}: expected a state with {', '.join(sorted(names))}")
        flat = self._flat()

        def vector(name: str, value: Any) -> Any:
            return loaded_array(f"{who}: {name}", value, flat, "the vector of all parameters")

        for name in _LISTS:
            if not isinstance(saved[name], list | tuple):
                raise DTypeError(f"{who}: {name} must be a list, got {saved[name]!r}")
        if len({len(saved[name]) for name in _LISTS}) > 1:
            raise ValueError(f"{who}: {', '.join(_LISTS)} must be lists of one length")
        return _Memory(
            func_evals=count(f"{who}: func_evals", saved["func_evals"]),
            n_iter=count(f"{who}: n_iter", saved["n_iter"]),
            t=number(f"{who}: t", saved["t"]),
            H_diag=number(f"{who}: H_diag", saved["H_diag"]),
            prev_loss=number(f"{who}: prev_loss", saved["prev_loss"]),
            d=vector("d", saved["d"]),
            prev_flat_grad=vector("prev_flat_grad", saved["prev_flat_grad"]),
            old_dirs=tuple(vector("old_dirs", x) for x in saved["old_dirs"]),
            old_stps=tuple(vector("old_stps", x) for x in saved["old_stps"]),
            ro=tuple(number(f"{who}: ro", x) for x in saved["ro"]),
        )


class _Run:
    """One step: the point ``x``, its loss and gradient, and how often the closure was called."""

    def __init__(self, optimizer: LBFGS, closure: Callable[[], Any], x: Any) -> None:
        self._optimizer, self._closure = optimizer, closure
        self._xp = namespace_of(x).module
        self._settings = optimizer.param_groups[0]
        self.x = x
        self.evaluations = 0
        self.first_loss: Any = None
        self.loss, self.gradient = self._evaluate(x, write=False)

    def _evaluate(self, x: Any, write: bool = True) -> tuple[float, Any]:
        """The loss and the gradient at a point."""
        if write:
            self._optimizer._write(x)
        with enable_grad():
            loss = self._closure()
        if self.evaluations == 0:
            self.first_loss = loss
        self.evaluations += 1
        value = loss.item() if isinstance(loss, Tensor) else float(loss)
        return value, self._optimizer._flat(gradients=True)

    def _largest(self, array: Any) -> float:
        return float(self._xp.max(self._xp.absolute(array))) if array.size else 0.0

    def _dot(self, a: Any, b: Any) -> float:
        return float(self._xp.vdot(a, b))

    def iterate(self, memory: _Memory) -> _Memory:
        """All iterations of the step; moves ``x`` and returns what they leave."""
        settings, started = self._settings, memory.func_evals
        if self._largest(self.gradient) <= settings["tolerance_grad"]:
            return replace(memory, func_evals=started + 1) if memory.n_iter else memory
        for iteration in range(1, settings["max_iter"] + 1):
            memory = self._direction(memory)
            slope = self._dot(self.gradient, memory.d)
            if slope > -settings["tolerance_change"]:
                break
            before = memory.prev_loss
            t, last = self._move(memory, slope, iteration == settings["max_iter"])
            memory = replace(memory, t=t)
            if last or self.evaluations >= settings["max_eval"]:
                break
            if self._largest(self.gradient) <= settings["tolerance_grad"]:
                break
            if self._largest(memory.d * t) <= settings["tolerance_change"]:
                break
            if abs(self.loss - before) < settings["tolerance_change"]:
                break
        return replace(memory, func_evals=started + self.evaluations)

    def _direction(self, memory: _Memory) -> _Memory:
        """The next direction: minus the gradient times the estimate of the inverse Hessian."""
        settings, gradient = self._settings, self.gradient
        if memory.n_iter == 0:
            t = min(1.0, 1.0 / float(self._xp.sum(self._xp.absolute(gradient)))) * settings["lr"]
            return _Memory(0, 1, -gradient, t, prev_flat_grad=gradient, prev_loss=self.loss)
        y, s = gradient - memory.prev_flat_grad, memory.d * memory.t
        curvature = self._dot(y, s)
        dirs, steps, ro, scale = memory.old_dirs, memory.old_stps, memory.ro, memory.H_diag
        if curvature > 1e-10:
            kept = slice(max(0, len(dirs) + 1 - settings["history_size"]), None)
            dirs, steps = (*dirs, y)[kept], (*steps, s)[kept]
            ro = (*ro, 1.0 / curvature)[kept]
            scale = curvature / self._dot(y, y)
        d, shares = -gradient, []
        for y, s, inverse in zip(reversed(dirs), reversed(steps), reversed(ro)):
            shares.append(self._xp.vdot(s, d) * inverse)
            d = d - y * shares[-1]
        d = d * scale
        for y, s, inverse in zip(dirs, steps, ro):
            d = d + s * (shares.pop() - self._xp.vdot(y, d) * inverse)
        return _Memory(
            memory.func_evals, memory.n_iter + 1, d, settings["lr"], dirs, steps, ro, scale,
            gradient, self.loss,
        )  # fmt: skip

    def _move(self, memory: _Memory, slope: float, last: bool) -> tuple[float, bool]:
        """Go along the direction: how far, and whether this was the last iteration."""
        x, d, t = self.x, memory.d, memory.t
        if self._settings["line_search_fn"] is None:
            self.x = x + d * t
            if not last:  # nothing needs the gradient behind the last iteration
                self.loss, self.gradient = self._evaluate(self.x)
            return t, last

        def at(step: float) -> Point:
            loss, gradient = self._evaluate(x + d * step)
            return Point(step, loss, gradient, self._dot(gradient, d))

        here = Point(0.0, self.loss, self.gradient, slope)
        left = self._settings["max_eval"] - self.evaluations
        found = strong_wolfe(at, here, t, self._largest(d), left)
        self.x = x + d * found.t
        self.loss, self.gradient = found.loss, found.gradient
        return found.t, last
