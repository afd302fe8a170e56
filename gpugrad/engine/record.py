"""The path of an op call: unwrap, compute, record.

`bind` makes the public function of a table entry. This is the hot path: an operation on
small arrays costs little more than NumPy's own call, so rare cases are handled out of line.
Imports backend, errors and the modules beside it; the Tensor class registers itself with
`use_tensor_class`.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from gpugrad.backend.namespace import NAMESPACES
from gpugrad.backend.precision import SINGLE
from gpugrad.engine import detours
from gpugrad.engine.messages import explain, one_too_many
from gpugrad.engine.modes import recording
from gpugrad.engine.node import new_node
from gpugrad.engine.op import Op
from gpugrad.engine.operands import (
    convert,
    first_number,
    namespace_of_all,
    on_device_of,
    placed,
    scalar,
    unwrap,
)
from gpugrad.engine.operands import use_tensor_class as set_conversions
from gpugrad.engine.outputs import OutputsNode, ShapeDtype, pick
from gpugrad.engine.parameters import PLAIN, over_tensors, unusual
from gpugrad.errors import DTypeError

__all__ = [
    "attach_node", "bind", "bind_operator", "directly", "record", "use_keywords",
    "use_tensor_class",
]  # fmt: skip

# Set once by gpugrad.tensor, which stands above this module.
Tensor: Any = None
# Set once by gpugrad.functions: calls with keywords that an op does not name.
_more_keywords: Callable[..., Any]

_new: Callable[[Any], Any] = object.__new__


def use_tensor_class(cls: type, from_python: Callable[..., Any], weak: Callable[..., Any]) -> None:
    """Set the class that ops take and return, and the conversions of lists and numbers.

    ``weak(list, dtypes)`` is that beside arrays of these dtypes.
    """
    global Tensor
    Tensor = cls
    set_conversions(cls, from_python, weak)


def use_keywords(apply: Callable[..., Any]) -> None:
    """Set what computes ``function(*arrays, **keywords)`` where an op does not name all of them."""
    global _more_keywords
    _more_keywords = apply


def record(op: Op, operands: Sequence[Any], parameters: dict[str, Any] | None = None) -> Any:
    """Apply an op to Tensors, raw arrays and numbers; the result is a Tensor (or a tuple)."""
    if detours.active:
        for detour in detours.active:
            result = detour(op, operands, parameters)
            if result is not None:
                return result
    return directly(op, operands, parameters)


def directly(op: Op, operands: Sequence[Any], parameters: dict[str, Any] | None = None) -> Any:
    """As `record`, without a detour."""
    raws, nodes, xp = unwrap(op, operands)
    mode = op.differentiable and nodes.count(None) < len(nodes) and recording.get()
    compute = getattr(xp, op.recorded if mode else op.name)
    if not xp.alone:
        compute = on_device_of(raws, compute)
    try:
        y = compute(*raws, **parameters) if parameters else compute(*raws)
    except Exception as error:
        explain(op, raws, parameters, error)
        raise
    if not mode:
        return Tensor(y) if not op.outputs else tuple(map(Tensor, y))
    residuals: Sequence[Any] = ()
    if op.residuals:
        y, *residuals = y
    return attach_node(op, raws, nodes, xp, parameters, y, residuals, mode)


def attach_node(
    op: Op,
    raws: Sequence[Any],
    nodes: Sequence[Any],
    xp: Any,
    parameters: dict[str, Any] | None,
    y: Any,
    residuals: Sequence[Any],
    mode: Any,
) -> Any:
    """The Tensor (or a tuple) of an op's result in the graph; ``mode`` is that of `recording`."""
    needs = tuple([node is not None for node in nodes])
    saves, saves_y, dropped = op.keep_table.get(needs) or op.enter_kept(needs)
    values = [*raws]
    for index in dropped:  # for an array that no derivative needs stands its node
        values[index] = nodes[index]
    if residuals:
        values += [
            residual if save else ShapeDtype(residual.shape, residual.dtype)
            for residual, save in zip(residuals, saves[len(raws) :])
        ]
    if op.outputs:
        whole = OutputsNode(op, tuple(nodes), tuple(values), y, xp, parameters)
        if mode is not True:
            mode(whole, raws, y)
        return tuple(
            Tensor(one) if one.dtype.kind in "biu" else Tensor(one, pick(whole, index, one))
            for index, one in enumerate(y)
        )
    dtype = y.dtype
    if dtype.kind in "biu":
        return Tensor(y)
    if dtype.kind == "c":
        op = op.over_complex()
    saved_y = y if saves_y else None
    node = new_node(op, tuple(nodes), tuple(values), saved_y, xp, y.shape, dtype, parameters, 0)
    if mode is not True:
        mode(node, raws, y)
    return Tensor(y, node)


def bind(op: Op) -> Callable[..., Any]:
    """The public function of a table entry, taking Tensors, raw arrays and numbers."""
    simple = not (op.variadic or op.outputs or op.optional or op.residuals)
    if simple and not op.parameters:
        if len(op.arrays) == 1:
            return _named(_unary(op), op)
        if len(op.arrays) == 2 and op.constants in ((), (1,)):
            return _named(_second_constant(op) if op.constants else _binary(op), op)
    # Python binds the arguments itself, at the speed and with the errors of any function.
    *names, last = op.arrays
    arrays = f"({', '.join([*names, f'*{last}' if op.variadic else last])},)"
    scope: dict[str, Any] = {"op": op, "record": record}
    call = f"record(op, {arrays}, parameters)"
    if not names and simple:
        call = f"call({last}, parameters)"
        scope["call"] = _unary(op)
    elif len(names) == 1 and op.variadic and op.is_constant(1):  # mostly the first comes alone
        call = f"{call} if {last} else call({names[0]}, parameters)"
        scope["call"] = _unary(op)
    defaults = {}
    pieces = []
    for parameter in op.signature.parameters.values():
        if parameter.default is not parameter.empty:
            defaults[parameter.name] = parameter.default
            parameter = parameter.replace(default=_Name(f"_default_{parameter.name}"))
        pieces.append(parameter.replace(annotation=parameter.empty))
    scope.update({f"_default_{name}": value for name, value in defaults.items()})
    open_ended = bool(op.parameters) and not op.variadic
    if open_ended:  # which does not show in the signature
        pieces.append(inspect.Parameter("_more", inspect.Parameter.VAR_KEYWORD))
    signature = op.signature.replace(parameters=pieces, return_annotation=op.signature.empty)
    keywords = ", ".join(f"{name!r}: {name}" for name in op.parameters)
    conditions = [*["_more"] * open_ended, *unusual(op)]
    lines = [f"def {op.name}{signature}:", f"    parameters = {{{keywords}}}"]
    if conditions:
        scope |= {"plain": PLAIN, "special": _special}
        more = f"{op.name}, _more" if open_ended else "None, {}"
        lines.append(f"    if {' or '.join(conditions)}:")
        lines.append(f"        return special(op, {arrays}, parameters, {more})")
    lines.append(f"    return {call}")
    exec(compile("\n".join(lines), f"<gpugrad.{op.name}>", "exec"), scope)
    return _named(scope[op.name], op)


def _special(
    op: Op, arrays: tuple[Any, ...], parameters: dict[str, Any], function: Any, more: Any
) -> Any:
    """An op with keywords that it does not name, or with a parameter that is no plain number."""
    if more:
        return _more_keywords(op.name, function, arrays, parameters | more)

    def tensor(operand: Any) -> Any:
        return operand if isinstance(operand, Tensor) else Tensor(unwrap(op, (operand,))[0][0])

    result = over_tensors(op, arrays, parameters, Tensor, tensor)
    return record(op, arrays, parameters) if result is None else result


def bind_operator(op: Op) -> Callable[[Any, Any], Any]:
    """The function of an operator; for unknown operands NotImplemented, for their reflected one."""
    return _named(_binary(op, operator=True), op)


def _second_constant(op: Op) -> Callable[[Any, Any], Any]:
    """The path of an op of two arrays, the second of which has no derivative."""
    call = _binary(op)

    def constant(a: Any, b: Any, /) -> Any:
        return call(a, Tensor(b._array) if isinstance(b, Tensor) and b._node is not None else b)

    return constant


class _Name(str):
    """A string that prints as the name it holds."""

    __repr__ = str.__str__


def _named(function: Callable[..., Any], op: Op) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = op.doc
    function.__module__ = "gpugrad"
    function.__signature__ = op.signature  # type: ignore[attr-defined]
    return function


class _Dispatch(detours.Dispatch):
    """For one op, from an array's type to its namespace and the function that computes the op.

    Arrays of a namespace that checks its operands (``alone`` is False) are not entered.
    """

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.name = op.name
        self.by_namespace: dict[Any, tuple[Any, Any]] = {}

    def look_up(self, op: Op, *raws: Any) -> Any:
        """Namespace and function for any operands; None if all of them are numbers."""
        xp = namespace_of_all(op, raws)
        if xp is None:
            return None
        if not xp.alone:
            return xp, on_device_of(raws, getattr(xp, self.name))
        entry = self.by_namespace.setdefault(xp, (xp, getattr(xp, self.name)))
        with detours.lock:
            for raw in raws if not self.is_passed_by() else ():
                if NAMESPACES[type(raw)] is xp:
                    self[type(raw)] = entry
        return entry


def _unary(op: Op) -> Callable[..., Any]:
    """The path of an op of one array, and of parameters where it has any."""
    differentiable = op.differentiable and not op.constants
    (keep_x,), keep_y = op.keeps((True,))
    recorded = recording.get
    dispatch = _Dispatch(op)
    get = dispatch.get

    def call(x: Any, parameters: dict[str, Any] | None = None, /) -> Any:
        if not isinstance(x, Tensor):
            if not isinstance(parameters, dict | None):
                raise one_too_many(op)
            return record(op, (x,), parameters)
        raw = x._array
        entry = get(type(raw))
        if entry is None:
            if dispatch.is_passed_by():
                return record(op, (x,), parameters)
            entry = dispatch.look_up(op, raw)
        xp, compute = entry
        try:
            y = compute(raw) if parameters is None else compute(raw, **parameters)
        except Exception as error:
            explain(op, (raw,), parameters, error)
            raise
        node = x._node
        if node is None or not differentiable or not (mode := recorded()):
            return Tensor(y)
        dtype = y.dtype
        if parameters is not None and dtype.kind in "biu":
            return Tensor(y)
        own = op if dtype is SINGLE or dtype.kind != "c" else op.over_complex()
        nodes = (node,)
        values = (raw,) if keep_x else nodes
        kept = y if keep_y else None
        node = new_node(own, nodes, values, kept, xp, y.shape, dtype, parameters, node.leaf)
        if mode is not True:
            mode(node, (raw,), y)
        result = _new(Tensor)
        result._array, result._node = y, node
        return result

    return call


def _binary(op: Op, operator: bool = False) -> Callable[[Any, Any], Any]:
    differentiable = op.differentiable
    (both_a, both_b), both_y = op.keeps((True, True))
    (only_a, _), only_a_y = op.keeps((True, False))
    (_, only_b), only_b_y = op.keeps((False, True))
    recorded = recording.get
    dispatch = _Dispatch(op)
    get = dispatch.get

    def converted(operand: Any, other: Any) -> Any:
        try:
            return convert(op, operand, (other,))
        except DTypeError:
            if operator:
                return NotImplemented
            raise

    def call(a: Any, b: Any, /) -> Any:
        if isinstance(a, Tensor):
            node_a = a._node
            raw_a = a._array
        else:
            node_a = None
            raw_a = a if type(a) in NAMESPACES else converted(a, b)
            if raw_a is NotImplemented:
                return NotImplemented
        if isinstance(b, Tensor):
            node_b = b._node
            raw_b = b._array
        else:
            node_b = None
            raw_b = b if type(b) in NAMESPACES else converted(b, a)
            if raw_b is NotImplemented:
                return NotImplemented
        type_a, type_b = type(raw_a), type(raw_b)
        # A number beside an array takes the fast path as well.
        if type_a is float or type_a is int:
            entry = get(type_b)
        else:
            entry = get(type_a)
            if type_b is not type_a and type_b is not float and type_b is not int:
                entry = entry if entry is get(type_b) else None
        if entry is None:
            if dispatch.is_passed_by():
                return record(op, (a, b))
            raw_a = placed(a, raw_a) if node_a is not None else scalar(a, raw_a)
            raw_b = placed(b, raw_b) if node_b is not None else scalar(b, raw_b)
            entry = dispatch.look_up(op, raw_a, raw_b)
            if entry is None:
                return record(op, (a, b))
            raw_a = first_number(raw_a, raw_b)
        xp, compute = entry
        try:
            y = compute(raw_a, raw_b)
        except Exception as error:
            explain(op, (raw_a, raw_b), None, error)
            raise
        if node_a is None and node_b is None:
            return Tensor(y)
        if not differentiable or not (mode := recorded()):
            return Tensor(y)
        # A constant is saved as it is; for an array that no derivative needs stands its node.
        if node_b is None:
            values = (raw_a if only_a else node_a, raw_b)
            keep_y, leaf = only_a_y, node_a.leaf
        elif node_a is None:
            values = (raw_a, raw_b if only_b else node_b)
            keep_y, leaf = only_b_y, node_b.leaf
        else:
            values = (raw_a if both_a else node_a, raw_b if both_b else node_b)
            keep_y, leaf = both_y, node_a.leaf
            if leaf != node_b.leaf:
                leaf = 0
        dtype = y.dtype
        own = op if dtype is SINGLE or dtype.kind != "c" else op.over_complex()
        kept, nodes = y if keep_y else None, (node_a, node_b)
        node = new_node(own, nodes, values, kept, xp, y.shape, dtype, None, leaf)
        if mode is not True:
            mode(node, (raw_a, raw_b), y)
        result = _new(Tensor)
        result._array, result._node = y, node
        return result

    return call
