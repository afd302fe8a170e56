"""Ops of your own: a function over arrays, and its derivatives. Imports tensor, engine, backend.

`gpugrad.autodiff.rules` has what runs and checks the functions given here.
"""

import functools
import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

from gpugrad.autodiff.calls import Call, Rule
from gpugrad.autodiff.elements import are_batched, for_each_element
from gpugrad.autodiff.levels import are_running, shared
from gpugrad.autodiff.outside import Kept, Place, arrays_in, places_outside, values_at
from gpugrad.autodiff.rules import (
    array_beside,
    first_array,
    map_values,
    on_host,
    raw_array,
    refusing,
    running,
    weak_dtype,
)
from gpugrad.autodiff.run import is_recorded
from gpugrad.engine.modes import recording
from gpugrad.engine.op import KINDS, Op
from gpugrad.engine.operands import unwrap
from gpugrad.engine.record import attach_node
from gpugrad.errors import GradientError, ShapeError
from gpugrad.tensor import Tensor

__all__ = ["CustomOp", "Saved", "custom_op", "saved"]


class Saved(NamedTuple):
    """The outputs of an op, and arrays for its derivatives: see `saved`."""

    outputs: Any
    extras: dict[str, Any]


def saved(outputs: Any, /, **extras: Any) -> Saved:
    """The outputs of a custom op's forward, and arrays to save for its derivatives.

    ``outputs`` is one array or a tuple of them. Each of ``extras``, an array or a number, reaches
    the vjp and the jvp as a keyword of that name, so that it need not be computed again. As with
    all saved arrays, it must not change before it is used.

    >>> import gpugrad as gg
    >>> def forward(xp, x):
    ...     u = 1 + x * x
    ...     return gg.saved(xp.log(u), u=u)
    >>> f = gg.custom_op(forward, lambda xp, g, y, x, u: 2 * g * x / u)
    >>> gg.grad(f)(1.0), gg.grad(gg.grad(f))(1.0)
    (1.0, 0.0)
    """
    return Saved(outputs, extras)


def _entry(
    custom: "CustomOp", count: int | None, extras: tuple[str, ...], kept: Kept | None = None
) -> Op:
    """A custom op as the engine sees it: ``count`` outputs (None: one), and named extras.

    ``kept`` is what the forward has left outside in this very call.
    """

    def call(y: Any, values: tuple[Any, ...], parameters: dict[str, Any]) -> Call:
        ys = (y,) if count is None else y
        size = len(values) - len(extras)
        residuals = dict(zip(extras, values[size:]))
        return Call(custom, count, ys, values[:size], parameters, residuals, kept)

    def forward(xp: Any, *arrays: Any, **parameters: Any) -> Any:
        outputs, _, residuals = custom._compute(xp, arrays, parameters)
        y = outputs[0] if count is None else outputs
        return (y, *residuals.values()) if extras else y

    def joint(xp: Any, g: Any, y: Any, needs: Any, *values: Any, **parameters: Any) -> Any:
        gs = (g,) if count is None else g
        return call(y, values, parameters).pull(xp, gs, needs)

    def jvp(xp: Any, tangents: Any, y: Any, *values: Any, **parameters: Any) -> Any:
        results = call(y, values, parameters).push(tangents)
        return results[0] if count is None else results

    forward.__signature__ = custom._formal  # type: ignore[attr-defined]
    saves = custom._saves
    return Op(
        custom.name,
        forward,
        vjp_all=joint,
        jvp=jvp,
        saves=[
            " ".join((names, *extras))
            for names in ([saves] * len(custom._operands) if isinstance(saves, str) else saves)
        ],
        kind=custom.kind,
        complex="same",
        outputs=count is not None,
        residuals={name: _extra(custom, name) for name in extras},
        doc=custom.__doc__ or "",
    )


def _extra(custom: "CustomOp", name: str) -> Op:
    """An extra as a function of the arguments, differentiated through the forward."""

    def forward(xp: Any, *arrays: Any, **parameters: Any) -> Any:
        return custom._compute(xp, arrays, parameters)[2][name]

    def joint(xp: Any, g: Any, y: Any, needs: Any, *values: Any, **parameters: Any) -> Any:
        return Call(custom, None, (y,), values, parameters, {}).pull_extra(xp, name, g, needs)

    def jvp(xp: Any, tangents: Any, y: Any, *values: Any, **parameters: Any) -> Any:
        return Call(custom, None, (y,), values, parameters, {}).push_extra(name, tangents)

    forward.__signature__ = custom._formal  # type: ignore[attr-defined]
    return Op(
        f"{name} of {custom.name}", forward, vjp_all=joint, jvp=jvp, saves=custom._saves,
        complex="same", doc="An array that the forward of a custom op has saved.",
    )  # fmt: skip


class CustomOp:
    """An op of your own, made by `custom_op`: call it as you would any function of gpugrad."""

    def __init__(
        self, forward: Rule, vjp: Rule | Sequence[Rule | None] | None, jvp: Rule | None,
        name: str | None, saves: str | Sequence[str] | None, kind: str, host: bool,
    ) -> None:  # fmt: skip
        if not callable(forward):
            raise TypeError(
                f"custom_op: expected a function forward(xp, *arrays), got {type(forward).__name__}"
            )
        own_name = getattr(forward, "__name__", "custom_op")
        self.name = name or ("custom_op" if own_name == "<lambda>" else own_name)
        self.what = f"custom op {self.name!r}"
        if kind not in KINDS or kind == "multilinear":
            raise ValueError(
                f"{self.what}: kind must be 'general', 'elementwise' or 'linear', got {kind!r}"
            )
        self.forward = forward
        self.kind = kind
        self.host = host
        self._read_signature()
        self._saves: str | Sequence[str] = saves if saves is not None else self._everything
        if self._variadic and saves is not None:
            names = set((saves if isinstance(saves, str) else " ".join(saves)).split())
            self._saves = self._everything if names - {"y"} else " ".join(names)
        self.vjp: Rule | None = None
        self.vjps: tuple[Rule | None, ...] | None = None
        self.jvp: Rule | None = None
        # Where rules read outside of themselves, what the forward writes there, and whether that
        # was an array.
        self.outside: list[Place] = []
        self._written: dict[Any, None] = {}
        self.keeps_outside = False
        self._entries: dict[Any, Op] = {}
        self._single = self._entry(None, ())
        self.unknown_vjp = refusing(f"vjp of {self.name}")
        self.unknown_jvp = refusing(f"jvp of {self.name}")
        self.__name__ = self.__qualname__ = self.name
        self.__doc__ = getattr(forward, "__doc__", None)
        if vjp is not None:
            self.defvjp(vjp)
        if jvp is not None:
            self.defjvp(jvp)

    def __repr__(self) -> str:
        return f"<custom op {self.name}{self.__signature__}>"

    def _read_signature(self) -> None:
        """Which arguments are arrays, and which are parameters."""
        try:
            whole = inspect.signature(self.forward)
        except (TypeError, ValueError):
            raise TypeError(
                f"{self.what}: the arguments of {self.forward!r} cannot be read. Wrap it: "
                "lambda xp, x: f(x)"
            ) from None
        rest = list(whole.parameters.values())
        first = rest.pop(0) if rest else None
        if first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
            raise TypeError(
                f"{self.what}: forward must take the namespace first, as in "
                f"lambda xp, x: xp.exp(x); got {self.name}{whole}"
            )
        marked = any(p.kind is p.POSITIONAL_ONLY for p in rest)

        def is_operand(p: inspect.Parameter) -> bool:
            if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL):
                return True
            return p.kind is p.POSITIONAL_OR_KEYWORD and not marked and p.default is p.empty

        self._operands = [p.name for p in rest if is_operand(p)]
        if not self._operands:
            raise TypeError(
                f"{self.what}: forward takes no arrays; got {self.name}{whole}. An argument "
                "with a default is a parameter, unless a / follows it"
            )
        self._variadic = any(p.kind is p.VAR_POSITIONAL for p in rest)
        self._parameters = [p.name for p in rest if not is_operand(p)]
        self._everything = " ".join(["y", *self._operands])
        self.__signature__ = whole.replace(parameters=rest)
        formal = [
            p
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
            else p.replace(kind=p.POSITIONAL_ONLY if is_operand(p) else p.KEYWORD_ONLY)
            for p in rest
        ]
        self._kinds = whole.replace(parameters=formal)  # arrays by position, parameters by name
        xp = first.replace(kind=first.POSITIONAL_ONLY)
        self._formal = whole.replace(parameters=[xp, *formal])

    # Its derivatives.

    def defvjp(self, *rules: Any) -> Any:
        """Give the vjp: one function for all arguments together, or one for each.

        See `custom_op`. Also a decorator: ``@f.defvjp``. Returns its argument.
        """
        vjp = rules[0] if len(rules) == 1 else rules
        if isinstance(vjp, list | tuple):
            if not self._variadic and len(vjp) != len(self._operands):
                raise TypeError(
                    f"{self.what}: expected a vjp for each of its {len(self._operands)} array "
                    f"arguments ({', '.join(self._operands)}), got {len(vjp)}; None where "
                    "there is no derivative"
                )
            if self._variadic:
                raise TypeError(
                    f"{self.what}: it takes any number of arrays, so its vjp must be one "
                    "function that returns all gradients"
                )
            for rule in vjp:
                if rule is not None:
                    self._check_rule(rule, "vjp")
            self.vjps, self.vjp = tuple(vjp), None
        else:
            self._check_rule(vjp, "vjp")
            self.vjp, self.vjps = vjp, None
        return vjp

    def defjvp(self, rule: Rule) -> Rule:
        """Give the jvp; see `custom_op`. Also a decorator: ``@f.defjvp``. Returns its argument."""
        self._check_rule(rule, "jvp")
        self.jvp = rule
        return rule

    def _check_rule(self, rule: Any, which: str) -> None:
        """Note what a rule reads; TypeError where it does not take what it will be called with."""
        if not callable(rule):
            raise TypeError(
                f"{self.what}: expected a function as {which}, got {type(rule).__name__}"
            )
        self.outside += places_outside([rule])
        try:
            signature = inspect.signature(rule)
        except (TypeError, ValueError):
            return  # a built-in function may have no signature
        formal = self._formal.parameters
        names = [n for n in self._parameters if formal[n].kind is not formal[n].VAR_KEYWORD]
        first = ("xp", "g" if which == "vjp" else "tangents", "y", *self._operands)
        try:
            signature.bind_partial(*first, **dict.fromkeys(names))
        except TypeError as error:
            call = ", ".join([*first, *(f"{n}={n}" for n in names)])
            raise TypeError(
                f"{self.what}: its {which} is called as {which}({call}), but takes "
                f"{signature}: {error}"
            ) from None

    @functools.cached_property
    def adjoint(self) -> "CustomOp":
        """Of a linear op: its vjp as an op, whose own vjp is the forward."""
        return CustomOp(
            lambda xp, g, *, call: call.backward(xp, g),
            lambda xp, h, y, g, call: call.forward(xp, h),
            None,
            f"vjp of {self.name}",
            "",
            "linear",
            self.host,
        )

    # The call.

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.apply(*self._bound(args, kwargs))

    def apply(self, operands: Sequence[Any], parameters: dict[str, Any] | None) -> Any:
        """Apply the op to operands, with a value for every parameter."""
        if are_running():
            operands = [shared(operand) for operand in operands]
        raws, nodes, xp = unwrap(self._single, operands)
        if self.vjps is not None:
            nodes = [None if rule is None else node for node, rule in zip(nodes, self.vjps)]
        mode = recording.get()
        if not mode or all(node is None for node in nodes):
            outputs, several, _ = self._compute(xp, raws, parameters)
            return tuple(map(Tensor, outputs)) if several else Tensor(outputs[0])
        before = values_at(self.outside)
        outputs, several, extras = self._compute(xp, raws, parameters)
        kept = self._kept(before) if self.outside else {}
        entry = self._entry(len(outputs) if several else None, tuple(extras), kept)
        y = outputs if several else outputs[0]
        values = tuple(extras.values())
        return attach_node(entry, raws, nodes, xp, parameters, y, values, mode)

    def _kept(self, before: Kept) -> Kept:
        """What the forward has written outside, in this call and in earlier ones."""
        after = values_at(self.outside)
        for key, value in after.items():
            if key not in before or value is not before[key]:
                self._written[key] = None
        if self._written and not self.keeps_outside:
            old = arrays_in(before.values())
            new = arrays_in(after.values())
            self.keeps_outside = any(all(one is not other for other in old) for one in new)
        return {key: after[key] for key in self._written if key in after}

    def _entry(self, count: int | None, extras: tuple[str, ...], kept: Kept | None = None) -> Op:
        if kept:
            return _entry(self, count, extras, kept)
        key = (count, extras)
        if key not in self._entries:
            self._entries[key] = _entry(self, count, extras)
        return self._entries[key]

    def _bound(self, args: Any, kwargs: Any) -> tuple[Sequence[Any], dict[str, Any] | None]:
        """The array arguments, and the parameters with their defaults."""
        arrays_alone = not kwargs and not self._parameters and not self._variadic
        if arrays_alone and len(args) == len(self._operands):
            return args, None
        try:
            bound = self.__signature__.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}{self.__signature__}: {error}") from None
        bound.apply_defaults()
        kinds = inspect.BoundArguments(self._kinds, bound.arguments)
        parameters = {name: self._parameter(name, value) for name, value in kinds.kwargs.items()}
        return kinds.args, parameters or None

    def _parameter(self, name: str, value: Any) -> Any:
        """A parameter as the functions get it: the raw array of a tensor."""
        parts = value if isinstance(value, list | tuple) else (value,)
        if any(map(is_recorded, parts)):
            raise GradientError(
                f"{self.what}: its parameter {name!r} is a tensor that requires a gradient, and "
                "parameters have no derivative. Make it an array argument of forward (one with "
                "no default, or before a /), or pass its .detach()"
            )
        if isinstance(value, list | tuple) and any(isinstance(part, Tensor) for part in value):
            return type(value)(map(raw_array, value))
        return raw_array(value) if isinstance(value, Tensor) else value

    def _compute(
        self, xp: Any, raws: Sequence[Any], parameters: dict[str, Any] | None
    ) -> tuple[tuple[Any, ...], bool, dict[str, Any]]:
        """The outputs, whether they are several, and the extras; all raw and checked."""
        raws = map_values(raws, raw_array)
        like = first_array(raws)
        kwargs = parameters or {}
        if self.host and are_batched(raws, kwargs):
            return self._each(raws, kwargs)
        if self.host:
            xp, raws, kwargs = on_host(raws, kwargs)
        with running(f"the forward of {self.what}"):
            result = self.forward(xp, *raws, **kwargs)
        extras: dict[str, Any] = {}
        if isinstance(result, Saved):
            extras, result = result.extras, result.outputs
        several = isinstance(result, list | tuple)
        what, dtype = f"{self.what}: its forward", weak_dtype(raws)
        outputs = tuple(
            array_beside(y, like, what, dtype, self.host)
            for y in (result if several else (result,))
        )
        if not outputs:
            raise ShapeError(f"{what} gave no output; expected an array, or a tuple of arrays")
        for name in extras:
            if name in kwargs:
                raise ValueError(f"{what} saved {name!r}, which is the name of a parameter")
        extras = {
            name: array_beside(extra, like, f"{what}, to be saved as {name!r},", dtype, self.host)
            for name, extra in extras.items()
        }
        return outputs, several, extras

    def _each(
        self, raws: Sequence[Any], parameters: dict[str, Any]
    ) -> tuple[tuple[Any, ...], bool, dict[str, Any]]:
        """As `_compute`, for each element of a batch."""
        several, names = False, [""]

        def compute(raws: Sequence[Any], parameters: dict[str, Any]) -> Sequence[Any]:
            nonlocal several, names
            outputs, several, extras = self._compute(None, raws, parameters)
            names = list(extras)
            return [*outputs, *extras.values()]

        results = for_each_element(compute, raws, parameters)
        count = len(results) - len(names)
        return tuple(results[:count]), several, dict(zip(names, results[count:]))

    def names(self, count: int) -> list[str]:
        """The names of ``count`` array arguments."""
        *first, last = self._operands
        return [*first, *([last] * (count - len(first)))] if self._variadic else self._operands


def custom_op(
    forward: Rule | None = None, vjp: Rule | Sequence[Rule | None] | None = None,
    jvp: Rule | None = None, name: str | None = None, *, saves: str | Sequence[str] | None = None,
    kind: str = "general", host: bool = False,
) -> Any:  # fmt: skip
    """A function of tensors, made from functions of arrays: its forward and its derivatives.

    ``forward(xp, *arrays, **parameters)`` gets raw NumPy or CuPy arrays and the namespace that
    computes on them: NumPy's or CuPy's functions, and gpugrad's where they have none. It returns
    an array, or a tuple of arrays for several outputs, and does not change its arguments. Its
    arrays are the arguments without a default, or if there is a ``/``, those before it; all
    others are parameters: anything, without a derivative.

    ``vjp(xp, g, y, *arrays, **parameters)`` returns the gradients of the arrays for the gradient
    ``g`` of the output ``y``: a tuple with one for each, None where it is zero; a single one may
    come bare. Or ``vjp`` is a list with a function for each array, None where the array is to
    count as a constant. With several outputs ``g`` and ``y`` are tuples.

    ``jvp(xp, tangents, y, *arrays, **parameters)`` returns the tangent of the output, or a tuple
    of those of the outputs. A tangent that is zero is an array of zeros; of integers it is None.
    Without a jvp the vjp is transposed, without a vjp the jvp is, if it is written with ``xp``.

    A rule that computes with the functions of ``xp`` and with operators can be differentiated
    itself. One that does not is never differentiated silently: a derivative of it raises. So does
    that of a rule that reads what the forward keeps in a closure, a global or an attribute: return
    it by `saved`.

    ``saves`` names the arrays, and ``y``, whose values the rules use, as in ``saves="x y"``, and
    so what may not change before the derivative is computed: by default all. `saved` hands on
    other arrays. With ``kind="elementwise"`` or ``"linear"`` forward mode, and for linear ops
    derivatives of any order, need no rule written with ``xp``. With ``host=True`` the functions
    get NumPy arrays, whatever the device is; results are copied back to it. Inside of `vmap` they
    are called for one element after the other.

    Also a decorator: ``@gg.custom_op``, then ``@f.defvjp`` and ``@f.defjvp`` on the rules.

    >>> import gpugrad as gg
    >>> @gg.custom_op
    ... def cube(xp, x):
    ...     return x * x * x
    >>> @cube.defvjp
    ... def _(xp, g, y, x):
    ...     return 3 * g * xp.square(x)
    >>> gg.grad(cube)(2.0), gg.grad(gg.grad(cube))(2.0)
    (12.0, 12.0)
    """
    if forward is None:
        return functools.partial(
            custom_op, vjp=vjp, jvp=jvp, name=name, saves=saves, kind=kind, host=host
        )
    return CustomOp(forward, vjp, jvp, name, saves, kind, host)
