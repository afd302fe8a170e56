"""One call of a custom op, and its derivatives. Imports tensor, engine and the module beside it."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from gpugrad.autodiff.rules import (
    array_on,
    checked_gradient,
    connected,
    converted,
    fetched,
    is_array,
    on_host,
    place_of,
    plain,
    running,
    zero_of,
)
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.backward import run_backward
from gpugrad.engine.forward import push
from gpugrad.engine.modes import enable_grad
from gpugrad.engine.outputs import ShapeDtype
from gpugrad.engine.pull import unbroadcast
from gpugrad.errors import GradientError, ShapeError
from gpugrad.tensor import GRAPH_MODE, TENSORS, Tensor

__all__ = ["Call", "Rule", "Rules"]


Rule = Callable[..., Any]


class _NotWithXpError(Exception):
    """A rule does not run over Tensors; the text says how that shows."""


def _constant_as_raw(value: Any) -> Any:
    return value if connected(value) else plain(value)


def _reason(error: Exception) -> str:
    sentence = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
    return f"{type(error).__name__}: {sentence}"


def _as_leaf(value: Any) -> Any:
    if not isinstance(value, Tensor) or value.dtype.kind in "biu":
        return value
    return value.detach().requires_grad_()


class Rules(Protocol):
    """What a call asks of its custom op: the forward, its rules, and how they are written."""

    forward: Rule
    host: bool
    jvp: Rule | None
    kind: str
    unknown_jvp: Rule
    unknown_vjp: Rule
    vjp: Rule | None
    vjps: tuple[Rule | None, ...] | None
    what: str

    @property
    def adjoint(self) -> Rule:
        """Of a linear op: its vjp as an op."""

    def applied(self, operands: Sequence[Any], parameters: dict[str, Any] | None) -> Any:
        """The op of some operands."""

    def names(self, count: int) -> list[str]:
        """The names of ``count`` array arguments."""


class Call:
    """The outputs, arguments, parameters and extras of one call, raw or all as Tensors.

    An array that was not kept is a stand-in with a shape and a dtype.
    """

    def __init__(
        self,
        custom: Rules,
        count: int | None,
        ys: Sequence[Any],
        values: Sequence[Any],
        parameters: dict[str, Any],
        extras: dict[str, Any],
    ) -> None:
        self.custom = custom
        self.what = custom.what
        self.count = count
        self.ys = ys
        self.values = values
        self.parameters = parameters
        self.extras = extras

    def _bare(self, parts: Sequence[Any]) -> Any:
        """Something for each output as a rule gets it: bare where the op has one output."""
        return parts[0] if self.count is None else tuple(parts)

    # Backward.

    def pulled(self, xp: Any, gs: Sequence[Any], needs: Sequence[bool]) -> list[Any]:
        """The gradients of the arguments that need one, for those of the outputs."""
        if xp is not TENSORS:
            return self._vjp(xp, plain, gs, needs)
        adjoint = None
        if self.custom.kind == "linear" and len(self.values) == len(self.ys) == 1:
            adjoint = self._adjoint
        return self._recorded(
            lambda xp, convert, gs: self._vjp(xp, convert, gs, needs),
            gs,
            self.custom.unknown_vjp,
            f"second derivative of {self.what}: its vjp is not written with xp",
            None if adjoint is None else lambda: [adjoint(gs[0])],
        )

    def _vjp(
        self, xp: Any, convert: Callable[[Any], Any], gs: Sequence[Any], needs: Sequence[bool]
    ) -> list[Any]:
        """The gradients, checked, by the rules over arrays or over Tensors."""
        custom = self.custom
        gs = own = converted(gs, convert)
        ys, values = converted(self.ys, convert), converted(self.values, convert)
        kwargs = {**self.parameters, **converted(self.extras, convert)}
        space = xp
        if custom.host and xp is not TENSORS:
            space, own, ys, values, kwargs = on_host(xp, gs, ys, values, kwargs)
        ds = self._by_rules(space, own, ys, values, kwargs, needs)
        results: list[Any] = []
        place = place_of(gs)
        for d, need, value, name in zip(ds, needs, self.values, custom.names(len(ds))):
            if not need:
                results.append(None)
                continue
            if xp is TENSORS:
                self._check_recorded(d, gs, f"the gradient of {name!r}", "g")
            results.append(
                checked_gradient(
                    d, xp, gs[0], value, place, f"{self.what}: its vjp", name, custom.host
                )
            )
        return results

    def _by_rules(
        self,
        xp: Any,
        gs: Sequence[Any],
        ys: Sequence[Any],
        values: Sequence[Any],
        kwargs: dict[str, Any],
        needs: Sequence[bool],
    ) -> Sequence[Any]:
        custom = self.custom
        g, y = self._bare(gs), self._bare(ys)
        what = f"the vjp of {self.what}"
        if custom.vjps is not None:
            with running(what, lifted=xp is TENSORS):
                return [
                    rule(xp, g, y, *values, **kwargs) if need and rule is not None else None
                    for rule, need in zip(custom.vjps, needs)
                ]
        if custom.vjp is not None:
            with running(what, lifted=xp is TENSORS):
                result = custom.vjp(xp, g, y, *values, **kwargs)
            return self._counted(result)
        if custom.jvp is None:
            raise GradientError(
                f"{self.what}: its derivative is asked for, and it has none. Give it a vjp, as in "
                "gg.custom_op(forward, vjp=...), or a jvp"
            )
        if custom.kind == "elementwise" and not self._is_complex():
            ds: list[Any] = []
            for index, need in enumerate(needs):
                tangents = [zero_of(xp, gs[0], value) for value in values]
                tangents[index] = gs[0]
                with running(f"the jvp of {self.what}", lifted=xp is TENSORS):
                    ds.append(
                        custom.jvp(xp, tuple(tangents), y, *values, **kwargs) if need else None
                    )
            return ds
        return self._by_transposed_jvp(xp, gs, ys, values, kwargs, needs)

    def _is_complex(self) -> bool:
        """Whether a gradient is multiplied with the conjugate of what a tangent is."""
        parts = (*self.ys, *self.values)
        return any(part.dtype.kind == "c" for part in parts if hasattr(part, "dtype"))

    def _counted(self, result: Any) -> Sequence[Any]:
        """One gradient for each array argument; of a single argument it may come bare."""
        count = len(self.values)
        several = isinstance(result, list | tuple)
        if count == 1 and not several:
            return [result]
        if not several or len(result) != count:
            came = len(result) if several else f"one {type(result).__name__}"
            raise GradientError(
                f"{self.what}: its vjp gave {came}; expected a tuple of {count} gradients, one for "
                f"each of {', '.join(self.custom.names(count))}, None where there is none"
            )
        return result

    def _by_transposed_jvp(
        self,
        xp: Any,
        gs: Sequence[Any],
        ys: Sequence[Any],
        values: Sequence[Any],
        kwargs: dict[str, Any],
        needs: Sequence[bool],
    ) -> Sequence[Any]:
        """J^T g, as the derivative of t -> <J t, g>, which is the same at every t."""
        lifted = xp is TENSORS

        def tensor(value: Any) -> Any:
            return Tensor(value) if is_array(value) and not isinstance(value, Tensor) else value

        tangents = [tensor(zero_of(xp, gs[0], value)) for value in values]
        wanted = [t.requires_grad_() for t, need in zip(tangents, needs) if need]
        extras = {name: tensor(kwargs[name]) for name in self.extras}
        try:
            with running(f"the jvp of {self.what}", lifted=True):
                result = self.custom.jvp(  # type: ignore[misc]
                    TENSORS,
                    tuple(tangents),
                    self._bare([tensor(y) for y in ys]),
                    *map(tensor, values),
                    **{**kwargs, **extras},
                )
            outputs = [result] if self.count is None else list(result)
            if not any(connected(output) for output in outputs):
                raise _NotWithXpError("its result does not depend on the tangents")
        except Exception as error:
            raise GradientError(
                f"{self.what}: it has no vjp, and none can be had from its jvp, which is not "
                f"written with xp ({_reason(error)}). Write it so, or give a vjp"
            ) from error
        seeds = [
            (output._node, unbroadcast(xp, g, output.shape, output.dtype))
            for output, g in zip(outputs, gs)
            if connected(output)
        ]
        targets = [t._node for t in wanted]
        found = run_backward(
            seeds, retain_graph=True, graph=GRAPH_MODE if lifted else None, targets=targets
        )
        return [found.get(t._node) if need else None for t, need in zip(tangents, needs)]

    def _adjoint(self, g: Any) -> Any:
        """The gradient of a linear op's argument, as an op whose own vjp is the forward."""
        shapes = [ShapeDtype(tuple(part.shape), part.dtype) for part in (*self.ys, *self.values)]
        extras = {name: plain(extra) for name, extra in self.extras.items()}
        call = Call(self.custom, None, shapes[:1], shapes[1:], self.parameters, extras)
        return self.custom.adjoint(g, call=call)

    def backward(self, xp: Any, g: Any) -> Any:
        """The one argument's gradient, of a call that has only shapes of its values."""
        kwargs = self._kept({**self.parameters, **self.extras}, xp)
        (d,) = self._by_rules(xp, [g], self.ys, self.values, kwargs, (True,))
        return d

    def forward(self, xp: Any, x: Any) -> Any:
        """The op of another argument, with the same parameters."""
        result = self.custom.forward(xp, x, **self._kept(self.parameters, xp))
        return getattr(result, "outputs", result)

    def _kept(self, kwargs: dict[str, Any], xp: Any) -> dict[str, Any]:
        """Arrays that did not come as arguments, where the functions expect arrays to be."""
        return converted(kwargs, fetched) if self.custom.host and xp is not TENSORS else kwargs

    # What is recorded again.

    def _check_recorded(self, d: Any, leading: Sequence[Any], what: str, by: str) -> None:
        """_NotWithXpError where a rule's result over Tensors would be a constant."""
        if d is None or (isinstance(d, int | float) and d == 0):
            return
        if not isinstance(d, Tensor):
            raise _NotWithXpError(f"{what} is a {type(d).__module__}.{type(d).__qualname__}")
        if d._node is None and any(map(connected, leading)):
            raise _NotWithXpError(f"{what} does not depend on {by}; where it is zero, return None")

    def _recorded(
        self,
        run: Callable[[Any, Callable[[Any], Any], Sequence[Any]], list[Any]],
        leading: Sequence[Any],
        unknown: Callable[..., Tensor],
        text: str,
        otherwise: Callable[[], list[Any]] | None = None,
    ) -> list[Any]:
        """What a rule gives over Tensors, or over their arrays where it takes no Tensors.

        In between it is tried on Tensors for what is in a graph and on arrays for what is not.
        What it gave over arrays alone refuses to be differentiated.
        """
        involved = [*leading, *self.ys, *self.values, *self.extras.values()]
        tensors = [value for value in involved if isinstance(value, Tensor)]
        nodes = list(dict.fromkeys(tensor._node for tensor in tensors if connected(tensor)))
        place = tensors[0].device
        ways: list[Callable[[Any], Any]] = [lambda value: value]
        if len(nodes) and not (self.custom.host and place.kind != "cpu"):
            ways.append(_constant_as_raw)
        reason = ""
        for way in ways:
            try:
                results = run(TENSORS, way, leading)
                constant = any(isinstance(d, Tensor) and d._node is None for d in results)
                if constant and nodes and not any(map(connected, leading)):
                    # It should be one, by a rule that is linear, where what comes in is one.
                    run(TENSORS, way, [_as_leaf(part) for part in leading])
                return results
            except _NotWithXpError as error:
                reason = reason or str(error)
            except Exception as error:  # noqa: BLE001  it is raised again below, or is the reason
                reason = reason or _reason(error)
        if otherwise is not None and nodes:
            return otherwise()
        xp = namespace_of(tensors[0].data)
        return [
            None if d is None else unknown(d, nodes, xp, text, reason)
            for d in run(xp, plain, leading)
        ]

    def pulled_through(self, xp: Any, name: str, g: Any, needs: Sequence[bool]) -> list[Any]:
        """The gradients of the arguments for that of an extra: the forward, differentiated."""
        lifted = xp is TENSORS
        leaves: list[Any] = []
        for value, need in zip(self.values, needs):
            if need and is_array(value):
                # A node of its own, so that the walk ends here and not further up.
                with enable_grad():
                    value = (
                        TENSORS.positive(value)
                        if connected(value)
                        else Tensor(plain(value)).requires_grad_()
                    )
            elif is_array(value) and not isinstance(value, Tensor):
                value = Tensor(plain(value))
            leaves.append(value)
        seeds = [(self._extra_of(leaves, name)._node, g)]
        targets = [leaf._node for leaf in leaves if connected(leaf)]
        found = run_backward(
            seeds, retain_graph=True, graph=GRAPH_MODE if lifted else None, targets=targets
        )
        ds = [found.get(leaf._node) if need else None for leaf, need in zip(leaves, needs)]
        return [
            xp.full_like(g, 0, dtype=value.dtype, shape=tuple(value.shape))
            if need and d is None
            else d
            for d, value, need in zip(ds, self.values, needs)
        ]

    def _extra_of(self, leaves: Sequence[Any], name: str) -> Tensor:
        """An extra, computed again over Tensors."""
        try:
            with running(f"the forward of {self.what}", lifted=True):
                extra = self.custom.forward(TENSORS, *leaves, **self.parameters).extras[name]
            if not connected(extra):
                raise _NotWithXpError(f"{name!r} does not depend on the arguments")
        except Exception as error:
            reason = str(error) if isinstance(error, _NotWithXpError) else _reason(error)
            raise GradientError(
                f"second derivative of {self.what}: its vjp uses the saved {name!r}, and its "
                "forward, which computes that, is not written with xp, or saves= leaves out an "
                f"argument ({reason}). Write it with the functions of xp, or compute in the vjp "
                "what is saved"
            ) from error
        return extra

    # Forward mode.

    def pushed(self, tangents: Sequence[Any]) -> list[Any]:
        """The tangents of the outputs, Tensors; None among the arguments' stands for zero."""
        custom = self.custom
        some = next(t for t in tangents if t is not None)
        full = [
            zero_of(TENSORS, some, value) if tangent is None else tangent
            for tangent, value in zip(tangents, self.values)
        ]
        if custom.jvp is not None:
            found = self._recorded(
                self._jvp,
                full,
                custom.unknown_jvp,
                f"derivative of the jvp of {self.what}: it is not written with xp",
            )
        elif custom.kind == "linear":
            result = custom.applied(
                [value if t is None else t for t, value in zip(full, self.values)], self.parameters
            )
            found = [result] if self.count is None else list(result)
        elif custom.kind == "elementwise" and self.count is None and not self._is_complex():
            total: Any = None
            for index, tangent in enumerate(tangents):
                if tangent is None:
                    continue
                needs = [i == index for i in range(len(tangents))]
                spread = TENSORS.broadcast_to(tangent, tuple(self.ys[0].shape))
                d = self.pulled(TENSORS, [spread], needs)[index]
                total = d if total is None else total + d
            found = [total]
        else:
            found = self._by_transposed_vjp(tangents, some)
        return [
            unbroadcast(TENSORS, d, tuple(y.shape), y.dtype) if y.dtype.kind not in "biu" else d
            for d, y in zip(found, self.ys)
        ]

    def _jvp(self, xp: Any, convert: Callable[[Any], Any], tangents: Sequence[Any]) -> list[Any]:
        """The outputs' tangents, checked, by the jvp over arrays or over Tensors."""
        custom = self.custom
        own = tangents = converted(tangents, convert)
        ys, values = converted(self.ys, convert), converted(self.values, convert)
        kwargs = {**self.parameters, **converted(self.extras, convert)}
        space = xp
        if custom.host and xp is not TENSORS:
            space, own, ys, values, kwargs = on_host(xp, tangents, ys, values, kwargs)
        with running(f"the jvp of {self.what}", lifted=xp is TENSORS):
            result = custom.jvp(  # type: ignore[misc]
                space, tuple(own), self._bare(ys), *values, **kwargs
            )
        if self.count is None:
            result = [result]
        elif not isinstance(result, list | tuple) or len(result) != self.count:
            raise GradientError(
                f"{self.what}: its jvp must give a tuple of {self.count} tangents, one for each "
                "output"
            )
        place = place_of(tangents)
        found = []
        for d, y in zip(result, self.ys):
            if xp is TENSORS:
                self._check_recorded(d, tangents, "the tangent", "the tangents")
                if not isinstance(d, Tensor):
                    d = TENSORS.full_like(tangents[0], 0, dtype=y.dtype, shape=tuple(y.shape))
            else:
                d = array_on(d, place, f"{self.what}: its jvp", y.dtype, custom.host)
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
            found.append(d)
        return found

    def _by_transposed_vjp(self, tangents: Sequence[Any], some: Any) -> list[Any]:
        """J t, as the derivative of u -> <J^T u, t>, which is the same at every u."""
        us = [TENSORS.full_like(some, 0, dtype=y.dtype, shape=tuple(y.shape)) for y in self.ys]
        wanted = [u.requires_grad_() for u in us if u.dtype.kind not in "biu"]
        with enable_grad():
            ds = self.pulled(TENSORS, us, [tangent is not None for tangent in tangents])
        unknown = self.custom.unknown_vjp.op  # type: ignore[attr-defined]
        seeds = []
        for d, tangent in zip(ds, tangents):
            if tangent is None or not connected(d):
                continue
            if d._node.op is unknown:
                reason = d._node.parameters["refusal"].reason
                raise GradientError(
                    f"forward mode of {self.what}: its vjp is not written with xp ({reason}), so "
                    'it cannot be transposed. Give a jvp, or where it holds kind="elementwise" or '
                    '"linear"'
                )
            seeds.append((d._node, unbroadcast(TENSORS, tangent, d.shape, d.dtype)))
        targets = [u._node for u in wanted]
        found = run_backward(seeds, graph=GRAPH_MODE, targets=targets)
        return [found[u._node] if u._node in found else u.detach() for u in us]

    def pushed_to(self, name: str, tangents: Sequence[Any]) -> Any:
        """The tangent of an extra: the forward, differentiated."""
        with enable_grad():
            leaves = [
                value
                if tangent is None
                else Tensor(plain(value)).requires_grad_()
                if not connected(value)
                else TENSORS.positive(value)
                for tangent, value in zip(tangents, self.values)
            ]
        known = {
            leaf._node: tangent for leaf, tangent in zip(leaves, tangents) if tangent is not None
        }
        return push(known, [self._extra_of(leaves, name)._node], GRAPH_MODE)[0]
