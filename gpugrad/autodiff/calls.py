"""One call of a custom op, and its derivatives. Imports tensor, engine and modules beside it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.autodiff.elements import are_batched, for_each_element
from gpugrad.autodiff.outside import Kept, numbers_changed, put, values_at
from gpugrad.autodiff.rules import (
    array_beside,
    checked_gradient,
    first_array,
    host_array,
    is_array,
    map_values,
    on_host,
    raw_array,
    running,
    zero_of,
    zeros,
)
from gpugrad.autodiff.run import connect, is_recorded
from gpugrad.backend.device import to_numpy
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.backward import run_backward
from gpugrad.engine.forward import push, transpose
from gpugrad.engine.messages import type_name
from gpugrad.engine.modes import enable_grad
from gpugrad.engine.outputs import ShapeDtype
from gpugrad.engine.pull import unbroadcast
from gpugrad.errors import BatchError, GradientError, ShapeError
from gpugrad.tensor import GRAPH_MODE, TENSORS, Tensor

__all__ = ["Call", "Rule"]


Rule = Callable[..., Any]


class _NotWithXpError(Exception):
    """A rule does not run over Tensors; the text says how that shows."""


class Call:
    """The outputs, arguments, parameters and extras of one call, raw or all as Tensors.

    ``custom`` is the `gpugrad.autodiff.custom.CustomOp`, and ``count`` the number of its outputs,
    None for a single one. An array that was not saved has only a shape and a dtype. ``kept`` is
    what the forward has written outside of itself, where the rules read.
    """

    def __init__(
        self, custom: Any, count: int | None, ys: Sequence[Any], values: Sequence[Any],
        parameters: dict[str, Any], extras: dict[str, Any], kept: Kept | None = None,
    ) -> None:  # fmt: skip
        self.custom = custom
        self.what = custom.what
        self.kept = kept or {}
        self.count = count
        self.ys = ys
        self.values = values
        self.parameters = parameters
        self.extras = extras

    def _bare(self, parts: Sequence[Any]) -> Any:
        """One value for each output; not in a tuple where the op has a single output."""
        return parts[0] if self.count is None else tuple(parts)

    def _operands(
        self, xp: Any, convert: Callable[[Any], Any], leading: Sequence[Any]
    ) -> tuple[Any, Any, Any, Any, Any]:
        """What a rule takes: namespace, gradients or tangents, outputs, arrays, keywords."""
        ys, values = map_values(self.ys, convert), map_values(self.values, convert)
        kwargs = {**self.parameters, **map_values(self.extras, convert)}
        if self.custom.host and xp is not TENSORS:
            return on_host(leading, ys, values, kwargs)
        return xp, leading, ys, values, kwargs

    def _leaves(self, wanted: Sequence[bool]) -> list[Any]:
        """The arguments as Tensors; those that are wanted with nodes of their own to end walks."""
        leaves = []
        for value, want in zip(self.values, wanted):
            if is_array(value):
                tensor = value if isinstance(value, Tensor) else Tensor(raw_array(value))
                value = connect(tensor) if want else tensor
            leaves.append(value)
        return leaves

    def _each(
        self, run: Callable[["Call", Any, Sequence[Any]], list[Any]], leading: Sequence[Any]
    ) -> list[Any] | None:
        """The results of a rule over NumPy's arrays, for each element of a batch; None without."""
        if not self.custom.host:
            return None
        groups = [map_values(group, raw_array) for group in (self.ys, self.values, self.extras)]
        if not are_batched(leading, self.parameters, *groups):
            return None
        if self.kept:
            raise BatchError(
                f"{self.what}: its derivative reads a value that the forward keeps outside of "
                "itself, and inside of vmap that is the last element's. Return it from the forward "
                "by gg.saved"
            )

        def compute(leading: Any, parameters: Any, ys: Any, values: Any, extras: Any) -> list[Any]:
            call = Call(self.custom, self.count, ys, values, parameters, extras)
            return run(call, namespace_of(first_array(leading)), leading)

        return for_each_element(compute, leading, self.parameters, *groups)

    # Backward.

    def pull(self, xp: Any, gs: Sequence[Any], needs: Sequence[bool]) -> list[Any]:
        """The gradients of the arguments that need one, given those of the outputs."""
        if xp is not TENSORS:
            return self._vjp(xp, raw_array, gs, needs)
        linear = self.custom.kind == "linear" and len(self.values) == len(self.ys) == 1
        return self._recorded(
            lambda xp, convert, gs: self._vjp(xp, convert, gs, needs),
            gs,
            self.custom.unknown_vjp,
            f"second derivative of {self.what}: its vjp is not written with xp",
            (lambda: [self._adjoint(gs[0])]) if linear else None,
        )

    def _vjp(
        self, xp: Any, convert: Callable[[Any], Any], gs: Sequence[Any], needs: Sequence[bool]
    ) -> list[Any]:
        """The gradients, checked, by the rules over arrays or over Tensors."""
        gs = map_values(gs, convert)
        if xp is TENSORS:  # a gradient may be a value of the graph, and rules run more than once
            gs = [None if g is None else g.copy() for g in gs]
        elif each := self._each(lambda call, xp, gs: call._vjp(xp, raw_array, gs, needs), gs):
            return each
        operands = self._operands(xp, convert, gs)
        ds = self._as_kept("vjp", lambda: self._by_rules(*operands, needs))
        like = first_array(gs)
        results: list[Any] = []
        for d, need, value, name in zip(ds, needs, self.values, self.custom.names(len(ds))):
            if need:
                if xp is TENSORS:
                    self._check_recorded(d, gs, f"the gradient of {name!r}", "g")
                what = f"{self.what}: its vjp"
                d = checked_gradient(d, xp, like, value, what, name, self.custom.host)
            results.append(d if need else None)
        return results

    def _by_rules(
        self, xp: Any, gs: Sequence[Any], ys: Sequence[Any], values: Sequence[Any],
        kwargs: dict[str, Any], needs: Sequence[bool],
    ) -> Sequence[Any]:  # fmt: skip
        custom = self.custom
        g, y = self._bare(gs), self._bare(ys)
        recorded = xp is TENSORS
        if custom.vjps is not None:
            with running(f"the vjp of {self.what}", recorded=recorded):
                return [
                    rule(xp, g, y, *values, **kwargs) if need and rule is not None else None
                    for rule, need in zip(custom.vjps, needs)
                ]
        if custom.vjp is not None:
            with running(f"the vjp of {self.what}", recorded=recorded):
                result = custom.vjp(xp, g, y, *values, **kwargs)
            return self._counted(result)
        if custom.jvp is None:
            raise GradientError(
                f"{self.what}: its derivative is asked for, and it has none. Give it a vjp, as in "
                "gg.custom_op(forward, vjp=...), or a jvp"
            )
        if custom.kind != "elementwise" or self._is_complex():
            return self._by_transposed_jvp(xp, gs, ys, values, kwargs, needs)
        ds: list[Any] = []
        for index, need in enumerate(needs):
            tangents = [zero_of(xp, gs[0], value) for value in values]
            tangents[index] = gs[0]
            with running(f"the jvp of {self.what}", recorded=recorded):
                ds.append(custom.jvp(xp, tuple(tangents), y, *values, **kwargs) if need else None)
        return ds

    def _is_complex(self) -> bool:
        """Whether a gradient is multiplied with the conjugate of what a tangent is."""
        parts = (*self.ys, *self.values)
        return any(part.dtype.kind == "c" for part in parts if hasattr(part, "dtype"))

    def _counted(self, result: Any) -> Sequence[Any]:
        """One gradient for each array argument; that of a single argument may come bare."""
        count = len(self.values)
        several = isinstance(result, list | tuple)
        if count == 1 and not several:
            return [result]
        if not several or len(result) != count:
            got = len(result) if several else f"one {type(result).__name__}"
            raise GradientError(
                f"{self.what}: its vjp gave {got}; expected a tuple of {count} gradients, one for "
                f"each of {', '.join(self.custom.names(count))}, None where there is none"
            )
        return result

    def _by_transposed_jvp(
        self, xp: Any, gs: Sequence[Any], ys: Sequence[Any], values: Sequence[Any],
        kwargs: dict[str, Any], needs: Sequence[bool],
    ) -> Sequence[Any]:  # fmt: skip
        """J^T g, as the derivative of t -> <J t, g>, which is the same at every t."""

        def tensor(value: Any) -> Any:
            return Tensor(value) if is_array(value) and not isinstance(value, Tensor) else value

        tangents = [tensor(zero_of(xp, gs[0], value)) for value in values]
        targets = [t.requires_grad_()._node for t, need in zip(tangents, needs) if need]
        kwargs = {**kwargs, **{name: tensor(kwargs[name]) for name in self.extras}}
        y = self._bare([tensor(y) for y in ys])
        try:
            with running(f"the jvp of {self.what}", recorded=True):
                result = self.custom.jvp(
                    TENSORS, tuple(tangents), y, *map(tensor, values), **kwargs
                )
            outputs = [result] if self.count is None else list(result)
            if not any(map(is_recorded, outputs)):
                raise _NotWithXpError("its result does not depend on the tangents")
        except Exception as error:
            raise GradientError(
                f"{self.what}: it has no vjp, and none can be had from its jvp, which is not "
                f"written with xp ({_reason(error)}). Write it so, or give a vjp"
            ) from error
        seeds = [
            (output._node, unbroadcast(xp, g, output.shape, output.dtype))
            for output, g in zip(outputs, gs)
            if is_recorded(output)
        ]
        graph = GRAPH_MODE if xp is TENSORS else None
        gradients = run_backward(seeds, retain_graph=True, graph=graph, targets=targets)
        return [gradients.get(t._node) if need else None for t, need in zip(tangents, needs)]

    def _adjoint(self, g: Any) -> Any:
        """The gradient of a linear op's argument, as an op whose own vjp is the forward."""
        shapes = [ShapeDtype(tuple(part.shape), part.dtype) for part in (*self.ys, *self.values)]
        extras = map_values(self.extras, raw_array)
        call = Call(self.custom, None, shapes[:1], shapes[1:], self.parameters, extras)
        return self.custom.adjoint(g, call=call)

    def backward(self, xp: Any, g: Any) -> Any:
        """The one argument's gradient, of a call that has only shapes of its values."""
        kwargs = self._arrays({**self.parameters, **self.extras}, xp)
        (d,) = self._by_rules(xp, [g], self.ys, self.values, kwargs, (True,))
        return d

    def forward(self, xp: Any, x: Any) -> Any:
        """The op of another argument, with the same parameters."""
        result = self.custom.forward(xp, x, **self._arrays(self.parameters, xp))
        return getattr(result, "outputs", result)

    def _arrays(self, kwargs: dict[str, Any], xp: Any) -> dict[str, Any]:
        """Keyword arguments, with their arrays on the host where the functions expect that."""
        host = self.custom.host and xp is not TENSORS
        return map_values(kwargs, host_array) if host else kwargs

    # Derivatives that can be differentiated again.

    def _check_recorded(self, d: Any, leading: Sequence[Any], what: str, by: str) -> None:
        """_NotWithXpError where a rule's result over Tensors would be a constant."""
        if d is None or (isinstance(d, int | float) and d == 0):
            return
        if not isinstance(d, Tensor):
            raise _NotWithXpError(f"{what} is a {type_name(type(d))}")
        if d._node is None and any(map(is_recorded, leading)):
            raise _NotWithXpError(f"{what} does not depend on {by}; where it is zero, return None")

    def _recorded(
        self,
        run: Callable[[Any, Callable[[Any], Any], Sequence[Any]], list[Any]],
        leading: Sequence[Any],
        unknown: Callable[..., Tensor],
        text: str,
        otherwise: Callable[[], list[Any]] | None = None,
    ) -> list[Any]:
        """The result of a rule over Tensors, or over their arrays where it takes no Tensors.

        Before arrays alone, it is tried on Tensors for values in a graph and on arrays for others.
        A result over arrays alone refuses to be differentiated.
        """
        involved = [*leading, *self.ys, *self.values, *self.extras.values()]
        tensors = [value for value in involved if isinstance(value, Tensor)]
        nodes = list(dict.fromkeys(tensor._node for tensor in tensors if is_recorded(tensor)))
        conversions: list[Callable[[Any], Any]] = [lambda value: value]
        if nodes and not (self.custom.host and tensors[0].device.kind != "cpu"):
            conversions.append(lambda value: value if is_recorded(value) else raw_array(value))
        reason = ""
        # To a rule over Tensors what the forward keeps outside would be a constant.
        kind = "an array" if self.custom.keeps_outside else "a number"
        if self.custom.keeps_outside or self._reads_numbers(run, leading, tensors[0]):
            reason = f"it reads {kind} that the forward keeps outside; return it by gg.saved"
            conversions = []
        for convert in conversions:
            try:
                results = run(TENSORS, convert, leading)
                constant = any(isinstance(d, Tensor) and d._node is None for d in results)
                if constant and nodes and not any(map(is_recorded, leading)):
                    # Right if the rule is linear in constants: with leaves, it raises if not.
                    run(TENSORS, convert, [_as_leaf(part) for part in leading])
                return results
            except Exception as error:  # noqa: BLE001  it is raised again below, or is the reason
                reason = reason or _reason(error)
        if otherwise is not None and nodes:
            return otherwise()
        xp = namespace_of(tensors[0].data)
        return [
            None if d is None else unknown(d, nodes, xp, text, reason)
            for d in run(xp, raw_array, leading)
        ]

    # What the forward keeps outside.

    def _as_kept(self, which: str, rule: Callable[[], Any]) -> Any:
        """The result of a rule; GradientError where it is another than after this very call."""
        places = self.custom.outside if self.kept else []
        present = values_at(places)
        if all(present.get(key) is value for key, value in self.kept.items()):
            return rule()
        with put(places, self.kept):
            result = rule()
        try:
            same = _are_equal(result, rule())
        except (ArithmeticError, LookupError, TypeError, ValueError):
            same = False  # it does not even work with the value of another call
        if same:
            return result
        raise GradientError(
            f"{self.what}: its {which} reads a value that the forward keeps outside of itself, and "
            "a later call has put another in its place. Return it from the forward by gg.saved"
        )

    def _reads_numbers(self, run: Callable[..., list[Any]], leading: Any, like: Tensor) -> bool:
        """Whether a rule over arrays gives something else if a number kept outside is another."""
        others = numbers_changed(self.kept)
        if not others:
            return False
        xp = namespace_of(like.data)
        result = run(xp, raw_array, leading)
        kept, self.kept = self.kept, {}  # the others are taken as they are
        try:
            with put(self.custom.outside, others):
                return not _are_equal(result, run(xp, raw_array, leading))
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return True
        finally:
            self.kept = kept

    def pull_extra(self, xp: Any, name: str, g: Any, needs: Sequence[bool]) -> list[Any]:
        """The gradients of the arguments, given that of an extra: the forward, differentiated."""
        leaves = self._leaves(needs)
        gradients = run_backward(
            [(self._extra_of(leaves, name)._node, g)],
            retain_graph=True,
            graph=GRAPH_MODE if xp is TENSORS else None,
            targets=[leaf._node for leaf in leaves if is_recorded(leaf)],
        )
        ds = [gradients.get(leaf._node) if need else None for leaf, need in zip(leaves, needs)]
        return [
            zeros(xp, g, value) if need and d is None else d
            for d, value, need in zip(ds, self.values, needs)
        ]

    def push_extra(self, name: str, tangents: Sequence[Any]) -> Any:
        """The tangent of an extra: the forward, differentiated."""
        leaves = self._leaves([tangent is not None for tangent in tangents])
        known = {leaf._node: t for leaf, t in zip(leaves, tangents) if t is not None}
        return push(known, [self._extra_of(leaves, name)._node], GRAPH_MODE)[0]

    def _extra_of(self, leaves: Sequence[Any], name: str) -> Tensor:
        """An extra, computed again over Tensors."""
        try:
            with running(f"the forward of {self.what}", recorded=True):
                extra = self.custom.forward(TENSORS, *leaves, **self.parameters).extras[name]
            if not is_recorded(extra):
                raise _NotWithXpError(f"{name!r} does not depend on the arguments")
        except Exception as error:
            raise GradientError(
                f"second derivative of {self.what}: its vjp uses the saved {name!r}, and its "
                "forward, which computes that, is not written with xp, or saves= leaves out an "
                f"argument ({_reason(error)}). Write it with the functions of xp, or compute in "
                "the vjp what is saved"
            ) from error
        return extra

    # Forward mode.

    def push(self, tangents: Sequence[Any]) -> list[Any]:
        """The tangents of the outputs, Tensors; None among the arguments' stands for zero."""
        custom = self.custom
        some = next(t for t in tangents if t is not None)
        full = [
            zero_of(TENSORS, some, value) if tangent is None else tangent
            for tangent, value in zip(tangents, self.values)
        ]
        if custom.jvp is not None:
            text = f"derivative of the jvp of {self.what}: it is not written with xp"
            results = self._recorded(self._jvp, full, custom.unknown_jvp, text)
        elif custom.kind == "linear":
            operands = [value if t is None else t for t, value in zip(full, self.values)]
            result = custom.apply(operands, self.parameters)
            results = [result] if self.count is None else list(result)
        elif custom.kind == "elementwise" and self.count is None and not self._is_complex():
            total: Any = None
            for index, tangent in enumerate(tangents):
                if tangent is not None:
                    needs = [i == index for i in range(len(tangents))]
                    spread = TENSORS.broadcast_to(tangent, tuple(self.ys[0].shape))
                    d = self.pull(TENSORS, [spread], needs)[index]
                    total = d if total is None else total + d
            results = [total]
        else:
            results = self._by_transposed_vjp(tangents, some)
        return [
            unbroadcast(TENSORS, d, tuple(y.shape), y.dtype) if y.dtype.kind not in "biu" else d
            for d, y in zip(results, self.ys)
        ]

    def _jvp(self, xp: Any, convert: Callable[[Any], Any], tangents: Sequence[Any]) -> list[Any]:
        """The outputs' tangents, checked, by the jvp over arrays or over Tensors."""
        custom = self.custom
        tangents = map_values(tangents, convert)
        if xp is not TENSORS:
            each = self._each(lambda call, xp, own: call._jvp(xp, raw_array, own), tangents)
            if each is not None:
                return each
        space, own, ys, values, kwargs = self._operands(xp, convert, tangents)

        def rule() -> Any:
            with running(f"the jvp of {self.what}", recorded=xp is TENSORS):
                return custom.jvp(space, tuple(own), self._bare(ys), *values, **kwargs)

        result = self._as_kept("jvp", rule)
        if self.count is None:
            result = [result]
        elif not isinstance(result, list | tuple) or len(result) != self.count:
            raise GradientError(
                f"{self.what}: its jvp must give a tuple of {self.count} tangents, one for each "
                "output"
            )
        like = first_array(tangents)
        results = []
        for d, y in zip(result, self.ys):
            if xp is TENSORS:
                self._check_recorded(d, tangents, "the tangent", "the tangents")
                if not isinstance(d, Tensor):
                    d = zeros(TENSORS, tangents[0], y)
            else:
                d = array_beside(d, like, f"{self.what}: its jvp", y.dtype, custom.host)
            shape = tuple(y.shape)
            try:
                fits = np.broadcast_shapes(tuple(d.shape), shape) == shape
            except ValueError:
                fits = False
            if not fits:
                raise ShapeError(
                    f"{self.what}: its jvp gave a tangent of shape {tuple(d.shape)} for an output "
                    f"of shape {shape}"
                )
            results.append(d)
        return results

    def _by_transposed_vjp(self, tangents: Sequence[Any], some: Any) -> list[Any]:
        def vjp(us: list[Any]) -> list[Any]:
            with enable_grad():
                ds = self.pull(TENSORS, us, [tangent is not None for tangent in tangents])
            for d in ds:
                if is_recorded(d) and d._node.op is self.custom.unknown_vjp.op:
                    reason = d._node.parameters["refusal"].reason
                    raise GradientError(
                        f"forward mode of {self.what}: its vjp is not written with xp ({reason}), "
                        "so it cannot be transposed. Give a jvp, or where it holds "
                        'kind="elementwise" or "linear"'
                    )
            return ds

        return transpose(vjp, [zeros(TENSORS, some, y) for y in self.ys], tangents, GRAPH_MODE)


def _are_equal(one: Any, other: Any) -> bool:
    """Whether results of a rule are the same arrays, or equal ones; NaN equals NaN."""
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_are_equal, one, other))
    if one is None or other is None:
        return one is other
    first, second = (to_numpy(raw_array(part)) for part in (one, other))
    return np.array_equal(first, second, equal_nan=first.dtype.kind in "fc")


def _reason(error: Exception) -> str:
    if isinstance(error, _NotWithXpError):
        return str(error)
    sentence = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
    return f"{type(error).__name__}: {sentence}"


def _as_leaf(value: Any) -> Any:
    if not isinstance(value, Tensor) or value.dtype.kind in "biu":
        return value
    return value.detach().requires_grad_()
