"""The entries of the op table. Imports only backend and errors.

An op is a forward formula and one derivative for each array argument, all of them
functions over an array namespace ``xp``::

    op(
        "exp",
        "x, /",
        vjp=[lambda xp, g, y, x: g * y],
        saves="y",
        **ANALYTIC,
        method=True,
        doc="e ** x, elementwise.",
    )

``forward`` is the formula, ``f(xp, *arrays, /, **parameters)``, or only its signature
where every namespace has a function of that name. The arguments before the ``/`` are
arrays; the others are parameters, which reach the derivatives by keyword.
"""

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

from gpugrad.backend.namespace import ELEMENTWISE, FORMULAS
from gpugrad.engine.checks import Checks, Sample
from gpugrad.errors import DTypeError

__all__ = [
    "ANALYTIC", "REAL", "SAME", "TABLE", "Checks", "Op", "Sample", "choosing", "op", "part",
    "taken",
]  # fmt: skip

Rule = Callable[..., Any]

# Which arrays are saved, whether the output is, and the indices of the arrays that need a gradient
# and are not saved.
Kept = tuple[tuple[bool, ...], bool, tuple[int, ...]]

TABLE: dict[str, "Op"] = {}

AUTOCAST = ("", "half", "float32")
KINDS = ("general", "elementwise", "linear", "multilinear")
# The default of ``complex``, by kind.
COMPLEX = {
    "general": "refused",
    "elementwise": "refused",
    "linear": "same",
    "multilinear": "conjugate",
}
# What entries of elementwise ops share: of analytic functions; of those with real coefficients or
# with rules made for complex numbers; of functions of real numbers.
ANALYTIC: Any = {"kind": "elementwise", "complex": "conjugate"}
SAME: Any = {"kind": "elementwise", "complex": "same"}
REAL: Any = {"kind": "elementwise", "complex": "refused"}
# The operands that tests draw.
OPERANDS = frozenset({"real", "cast", "whole", "mask"})


class Op:
    """One entry of the table: the forward of an op, and its derivatives.

    ``vjps[i](xp, g, y, *arrays, **parameters)`` is the product of the output's gradient
    ``g`` with the Jacobian for array ``i``; None where there is no derivative. Its shape
    may be any that broadcasting relates to the array's: the engine reduces it.

    ``same(xp, g, y, *arrays)`` is the gradient of an array that is all of the arrays, as in
    ``x * x``: the sum of what the ``vjps`` give, where it has a shorter form.

    ``at_ones[i]`` is the index of the array that the gradient of array ``i`` is where ``g`` is all
    ones, as each factor of a product is that of the other; empty where the gradient is all ones as
    well, as behind a sum. Then a walk may need no rule (`gpugrad.engine.ones`).

    ``joint(xp, g, y, needs, *arrays, **parameters)`` returns all of them at once, None where
    ``needs[i]`` is False.

    ``keeps(needs)`` says which arrays, and whether the output, are saved for the derivatives
    that are needed. Of an array that is not saved, a rule gets only ``shape`` and ``dtype``.

    ``outputs`` says that the forward returns several arrays: True, or the indices of those that
    rules read, where ``saves`` has ``y``. Those of them that were not used have a gradient of
    zeros, or None for a ``partial`` op.

    ``hermitian`` says that the first array counts as Hermitian: one triangle is read, and its
    gradient is Hermitian.

    ``residuals`` names what the forward returns beside the output, ``(y, *residuals)``, for the
    rules, which take them after the arrays: ``rule(xp, g, y, *arrays, *residuals, **parameters)``.
    ``saves`` says which of them a rule needs. With each name comes an op that computes the residual
    from the first of the arrays and parameters of the same names, for derivatives of higher order
    (`gpugrad.engine.residuals`). In a namespace this forward has the name ``recorded``; under the
    op's own name there is one that returns the output alone, which is ``alone`` where that costs
    less.

    ``adds[i](xp, total, g, *arrays, **parameters)`` adds the gradient of array ``i`` to ``total``
    in place, and returns whether it has: cheaper than a rule where only a slice of the gradient is
    not zero, or where a library's product can add. With a joint rule ``adds`` is True:
    ``needs[i]`` may then be an `Into` (`gpugrad.engine.accumulate`) with ``total``.

    ``expand(node)`` computes the outputs of a node again and returns their nodes: derivatives of
    either mode then go through that graph, as if it had been there all along, and not by the
    rules. ``finite`` says that no rule in it asks for zeros by choice.

    ``kind`` is for forward mode: ``"elementwise"`` reuses the vjps, ``"linear"`` applies the op
    to the tangents, ``"multilinear"`` does so argument by argument, ``"general"`` transposes the
    vjp. ``jvp(xp, tangents, y, *arrays, **parameters)`` overrides all of these; a tangent is None
    where it is zero.

    ``complex`` says how complex numbers are differentiated. A gradient by z is dL/da + i dL/db
    with z = a + bi. So for an analytic function it is ``g`` times the conjugate of the derivative,
    where the rule says ``g`` times the derivative: ``"conjugate"`` converts such rules
    (`over_complex`). With ``"same"`` they hold as they are written, being linear with real
    coefficients or made for complex numbers; forward mode of an elementwise op then needs a
    ``jvp``, unless its coefficients are real. With ``"refused"`` recording a complex result
    raises DTypeError.

    ``finite``, ``moves``, ``chooses`` and ``support`` say how zeros by choice pass backward, see
    `gpugrad.engine.support`. ``finite``: the derivative of an elementwise op is finite whatever the
    values are, NaN included; or ``finite(index, *values)`` says so for one array and some values,
    such as a product with a Python number. ``moves``: the coefficients of a linear op have one
    sign, so that in its vjp of a mask no elements cancel. ``chooses``: it leaves elements out as
    well, as an index does; ``fills``: it fills in zeros, which have no tangent. ``lifts``: its
    gradient is of another array type than its output, which the rest of the walk goes on with.
    ``support(xp, mask, y, *arrays, **parameters)`` is the mask of the arguments' gradients for any
    other op; where there is none, all of them are numbers.

    Tests draw arrays from ``domain``, with the shapes in ``samples``, or usual shapes where that is
    empty, or none where it is None, such as for a copy between devices.
    ``operands`` says of each array whether it is of ``real`` numbers (the default), ``whole`` ones
    or a ``mask``: ``"real whole"``; ``cast`` ones get the dtype of the first array.
    ``prepare(xp, *arrays)`` makes valid operands of them, such as a symmetric matrix, and
    ``observe(xp, *outputs)`` returns the unique part of the outputs, such as an eigenvector without
    its sign. Both are functions of Tensors: tests check the derivative of the whole. ``checks`` has
    more for tests.

    ``public`` names the modules in which users find a function of the op's name: ``"gg"`` is
    gpugrad itself, ``"gg special"`` that and `gpugrad.special`; ``""`` is for an op that only rules
    and other functions use. ``aliases`` are other names of the function in gpugrad, those of NumPy,
    the Array API standard and PyTorch. ``method`` is True where Tensor has a method of that name,
    or says by what names it has it. ``operator`` is Python's name of the operator: with ``"add"``
    Tensor has ``__add__``, ``__radd__`` and ``__iadd__``. ``layer`` is the name of the op's class
    in `gpugrad.nn`, such as ``"ReLU"``.

    ``smooth`` names the parameters by which the op has a derivative. A Tensor as such a parameter
    is an operand: the forward's formula then runs over Tensors (`gpugrad.engine.parameters`).

    ``autocast`` says in what dtype the op runs inside `gpugrad.autocast`: ``"half"`` for products,
    in the block's half precision; ``"float32"`` where half precision would overflow or lose digits;
    ``""``, the default, in that of its operands.

    ``shown`` is the name in errors and drawings: that of the public function in front of it,
    where users know no op of this name.
    """

    __slots__ = (
        "adds", "aliases", "arrays", "at_ones", "autocast", "carries", "checks",
        "chooses", "complex", "conjugated", "constants", "doc", "domain", "expand", "fills",
        "finite", "forward", "hermitian", "joint", "jvp", "keep_table", "kind", "layer", "lifts",
        "masks", "methods", "moves", "name", "native", "observe", "operands", "operator",
        "optional", "outputs", "parameters", "partial", "prepare", "public", "recorded",
        "reference", "residuals", "same", "samples", "saves", "shown", "signature", "simple",
        "smooth", "support", "variadic", "vjps",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any] | str,
        *,
        vjp: Sequence[Rule | None] | None = None,
        vjp_all: Rule | None = None,
        jvp: Rule | None = None,
        same: Rule | None = None,
        at_ones: tuple[int, ...] | None = None,
        adds: Sequence[Rule | None] | bool | None = None,
        saves: str | Sequence[str] = "",
        kind: str = "general",
        complex: str | None = None,
        outputs: bool | tuple[int, ...] = False,
        partial: bool = False,
        expand: Callable[[Any], list[Any]] | None = None,
        hermitian: bool = False,
        residuals: "dict[str, Op] | None" = None,
        alone: Rule | None = None,
        finite: bool | Callable[..., bool] = False,
        moves: bool = False,
        chooses: bool = False,
        fills: bool = False,
        lifts: bool = False,
        support: Rule | None = None,
        domain: tuple[float, float] = (-2.0, 2.0),
        samples: Sequence[Sample] | None = (),
        prepare: Rule | None = None,
        observe: Rule | None = None,
        reference: Callable[..., Any] | None = None,
        operands: str = "",
        checks: Checks = Checks(),  # noqa: B008  immutable
        public: str = "gg",
        aliases: str = "",
        method: bool | str = False,
        operator: str = "",
        layer: str = "",
        smooth: str = "",
        autocast: str = "",
        shown: str | None = None,
        doc: str = "",
    ) -> None:
        self.name = name
        self.doc = doc
        self.conjugated: Op | None = None  # its form for complex numbers, once that is needed
        # The results of `keeps`.
        self.keep_table: dict[tuple[bool, ...], Kept] = {}
        self._read_forward(forward, residuals or {}, alone)
        self._read_kind(kind, complex, outputs)
        self._read_rules(vjp, vjp_all, jvp, adds)
        self.expand = expand
        self._read_zeros(finite, moves, chooses, fills, support)
        # Whether all that its node has to do in a walk is to call the rules.
        self.lifts = lifts
        self.simple = vjp_all is None and not adds and not self.chooses and not lifts
        self._read_saves(saves)
        self._read_names(public, aliases, method, operator, layer)
        self.shown = shown or name
        self.smooth = tuple(smooth.split())
        self._read_operands(operands)
        if autocast not in AUTOCAST:
            raise ValueError(f"op {name}: autocast must be one of {AUTOCAST}, got {autocast!r}")
        self.autocast = autocast
        self.partial = partial
        self.hermitian = hermitian
        self.domain = domain
        self.samples = None if samples is None else tuple(samples)
        self.prepare = prepare
        self.observe = observe
        self.same = same
        self.at_ones = at_ones
        self.reference = reference
        self.checks = checks

    def _read_forward(
        self, forward: Callable[..., Any] | str, residuals: "dict[str, Op]", alone: Rule | None
    ) -> None:
        """The formula, and by its signature the arrays and the parameters."""
        self.native = isinstance(forward, str)
        if isinstance(forward, str):
            self.signature = _parse(forward)
            self.forward = None
        else:
            whole = inspect.signature(forward)
            self.signature = whole.replace(parameters=list(whole.parameters.values())[1:])
            self.forward = (alone or _alone(forward)) if residuals else forward
        parameters = list(self.signature.parameters.values())
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self.arrays = tuple(
            p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)
        )
        self.optional = any(p.name in self.arrays and p.default is None for p in parameters)
        self.parameters = {p.name: p for p in parameters if p.name not in self.arrays}
        self.residuals = residuals
        self.recorded = f"{self.name}_and_residuals" if residuals else self.name

    def _read_kind(self, kind: str, complex: str | None, outputs: Any) -> None:
        if kind not in KINDS:
            raise ValueError(f"op {self.name}: kind must be one of {KINDS}, got {kind!r}")
        self.kind = kind
        self.outputs: bool | tuple[int, ...] = outputs
        self.complex = COMPLEX[kind] if complex is None else complex
        if self.complex not in COMPLEX.values() or (outputs and self.complex == "conjugate"):
            raise ValueError(f"op {self.name}: complex must not be {self.complex!r}")

    def _read_rules(
        self, vjp: Sequence[Rule | None] | None, joint: Rule | None, jvp: Rule | None, adds: Any
    ) -> None:
        self.vjps = None if vjp is None else tuple(vjp)
        self.joint = joint
        self.jvp = jvp
        self.adds = adds
        # Arrays without a derivative, such as a condition: constants, whatever is passed.
        self.constants = tuple(i for i, rule in enumerate(self.vjps or ()) if rule is None)
        # The mask of each rule that chooses.
        self.masks = tuple(getattr(rule, "mask", None) for rule in self.vjps or ())

    def _read_zeros(
        self, finite: Any, moves: bool, chooses: bool, fills: bool, support: Rule | None
    ) -> None:
        """How zeros by choice pass backward; after the rules, which may choose."""
        self.finite: bool | Callable[..., bool] = finite
        self.moves = moves
        self.chooses = chooses or any(mask is not None for mask in self.masks)
        self.fills = fills
        self.support = support
        # Whether the gradients of its arguments have a support where that of its output has one.
        self.carries = (
            self.kind == "elementwise" or moves or support is not None or self.expand is not None
        )

    def _read_saves(self, saves: str | Sequence[str]) -> None:
        each = [saves] * len(self.arrays) if isinstance(saves, str) else saves
        self.saves = tuple(frozenset(names.split()) for names in each)
        has = (*self.arrays, *self.residuals)
        for names in self.saves:
            if not names <= {"y", *has}:
                raise ValueError(f"op {self.name}: saves {sorted(names)}, has {has} and 'y'")

    def _read_names(
        self, public: str, aliases: str, method: bool | str, operator: str, layer: str
    ) -> None:
        self.public = tuple(public.split())
        self.aliases = tuple(aliases.split())
        self.methods = tuple((self.name if method is True else method or "").split())
        self.operator = operator
        self.layer = layer

    def _read_operands(self, operands: str) -> None:
        count = len(self.arrays)
        self.operands = tuple(operands.split()) or ("real",) * count
        if len(self.operands) != count or not OPERANDS.issuperset(self.operands):
            raise ValueError(f"op {self.name}: operands {operands!r} for arrays {self.arrays}")

    @property
    def differentiable(self) -> bool:
        """Whether the op has a derivative at all."""
        return self.vjps is not None or self.joint is not None

    def over_complex(self) -> "Op":
        """The op with rules for a complex result; DTypeError where it has none."""
        if self.complex == "same":
            return self
        if self.complex == "refused":
            raise DTypeError(
                f"{self.shown}: it has no derivative for complex numbers. Give it real ones, such "
                "as abs(t), t.real or t.imag, or .detach() what needs no gradient"
            )
        if self.conjugated is None:
            self.conjugated = _conjugated(self)
        return self.conjugated

    def keeps(self, needs: tuple[bool, ...]) -> tuple[tuple[bool, ...], bool]:
        """Which arrays and residuals are saved, and whether the output is.

        ``needs`` says of each argument whether it needs a gradient.
        """
        return (self.keep_table.get(needs) or self.enter_kept(needs))[:2]

    def enter_kept(self, needs: tuple[bool, ...]) -> Kept:
        """What `keeps` says, entered in ``keep_table``, and the arrays that need not be saved."""
        last = len(self.saves) - 1
        wanted = frozenset[str]().union(
            *(self.saves[min(index, last)] for index, need in enumerate(needs) if need)
        )
        saves = tuple(name in wanted for name in (*self.names(len(needs)), *self.residuals))
        dropped = tuple(index for index, need in enumerate(needs) if need and not saves[index])
        kept = self.keep_table[needs] = saves, "y" in wanted, dropped
        return kept

    def names(self, count: int) -> tuple[str, ...]:
        """The names of ``count`` arrays, with that of variadic ones for each of them."""
        return (self.arrays + self.arrays[-1:] * (count if self.variadic else 0))[:count]

    def is_constant(self, index: int) -> bool:
        """Whether an array has no derivative, whatever is passed, such as an index."""
        rules = self.vjps
        return rules is not None and (index >= len(rules) or rules[index] is None)

    def __repr__(self) -> str:
        return f"<op {self.name}{self.signature}>"


def op(name: str, forward: Callable[..., Any] | str, **entry: Any) -> Op:
    """Enter an op in the table. See `Op` for the arguments."""
    if name in TABLE:
        raise ValueError(f"op {name} is in the table already")
    new = TABLE[name] = Op(name, forward, **entry)
    if new.forward is not None:
        FORMULAS[name] = new.forward
    if new.residuals and not isinstance(forward, str):
        FORMULAS[new.recorded] = forward
    if new.kind == "elementwise":
        ELEMENTWISE[name] = new.vjps
    return new


def _alone(forward: Rule) -> Rule:
    """The output of a forward that returns residuals as well."""
    return lambda xp, *arrays, **parameters: forward(xp, *arrays, **parameters)[0]


def choosing(mask: Rule, rule: Rule) -> Rule:
    """The rule, whose gradient is zero by choice wherever ``mask(xp, y, *arrays)`` is False."""
    rule.mask = mask  # type: ignore[attr-defined]
    return rule


def taken(mask: Rule) -> Rule:
    """The rule of a choice: the gradient where ``mask(xp, y, *arrays)`` holds, and else zero."""

    def rule(xp: Any, g: Any, y: Any, *arrays: Any, **parameters: Any) -> Any:
        return xp.where(mask(xp, y, *arrays, **parameters), g, 0)

    return choosing(mask, rule)


def part(name: str, formula: Rule, *, elementwise: bool = False) -> None:
    """Name a part of a rule: every namespace has it as ``xp.name``, and one may have a kernel.

    A part is ``f(xp, *arrays and parameters)`` and uses names of the table, as a rule does. One
    that is ``elementwise`` is one kernel on cuda.
    """
    if name in FORMULAS:
        raise ValueError(f"{name} is a name of the table already")
    FORMULAS[name] = formula
    if elementwise:
        ELEMENTWISE[name] = None


def _conjugated(op: Op) -> Op:
    """The op with rules that return ``g`` times the conjugate of the derivative."""
    import copy  # which costs `import gpugrad` half a millisecond

    new = copy.copy(op)
    new.adds = None
    new.at_ones = None
    new.same = op.same and _over_conjugates(op.same)
    joint, rules = op.joint, op.vjps
    if rules is not None:
        new.vjps = tuple(None if rule is None else _over_conjugates(rule) for rule in rules)
        if op.kind == "elementwise" and op.jvp is None:
            # A tangent is multiplied with the derivative itself.
            new.jvp = lambda xp, tangents, y, *arrays, **parameters: functools.reduce(
                operator.add,
                [
                    rule(xp, tangent, y, *arrays, **parameters)
                    for rule, tangent in zip(rules, tangents, strict=True)
                    if tangent is not None and rule is not None
                ],
            )
    if joint is not None:
        new.joint = lambda xp, g, *rest, **parameters: [
            None if d is None else xp.conj(d) for d in joint(xp, xp.conj(g), *rest, **parameters)
        ]
    return new


def _over_conjugates(rule: Rule) -> Rule:
    return lambda xp, g, *rest, **parameters: xp.conj(rule(xp, xp.conj(g), *rest, **parameters))


@functools.cache
def _parse(signature: str) -> inspect.Signature:
    scope: dict[str, Any] = {}
    exec(f"def f({signature}): pass", scope)
    return inspect.signature(scope["f"])
