"""The path of an op call: unwrap, compute, record.

`bind` makes the public function of a table entry. This is the hot path: an operation on
small arrays costs little more than NumPy's own call, so rare cases are handled out of line.
Imports backend, errors and the modules beside it; the Tensor class registers itself with
`use_tensor_class`.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from gpugrad.backend.device import beside, check_same_device, device_of
from gpugrad.backend.namespace import NAMESPACES, namespace_of, register
from gpugrad.backend.precision import SINGLE
from gpugrad.engine import detours
from gpugrad.engine.messages import explain, one_too_many, type_name, wrong_operand
from gpugrad.engine.modes import in_rules, recording
from gpugrad.engine.node import new_node
from gpugrad.engine.op import Op
from gpugrad.engine.outputs import OutputsNode, ShapeDtype, pick
from gpugrad.engine.parameters import PLAIN, over_tensors, unusual
from gpugrad.errors import DeviceError, DTypeError

__all__ = [
    "attach_node", "bind", "bind_operator", "directly", "record", "unwrap", "use_keywords",
    "use_tensor_class",
]  # fmt: skip

# Numbers have no namespace of their own: they take that of the arrays beside them.
for _number in (bool, int, float, complex):
    register(_number, None)

# Set once by gpugrad.tensor, which stands above this module.
Tensor: Any = None
_from_python: Callable[..., Any]
_weak: Callable[..., Any]
# Set once by gpugrad.functions: calls with keywords that an op does not name.
_more_keywords: Callable[..., Any]

_new: Callable[[Any], Any] = object.__new__


def use_tensor_class(cls: type, from_python: Callable[..., Any], weak: Callable[..., Any]) -> None:
    """Set the class that ops take and return, and the conversions of lists and numbers.

    ``weak(list, dtypes)`` is that beside arrays of these dtypes.
    """
    global Tensor, _from_python, _weak
    Tensor, _from_python, _weak = cls, from_python, weak


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
        compute = _on_device_of(raws, compute)
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
    saves, saves_y = op.keeps(tuple([node is not None for node in nodes]))
    values = [raw if save or node is None else node for raw, save, node in zip(raws, saves, nodes)]
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


def unwrap(op: Op, operands: Sequence[Any]) -> tuple[list[Any], list[Any], Any]:
    """The operands' raw arrays and nodes, and the namespace that computes on them."""
    raws = []
    nodes = []
    for operand in operands:
        if isinstance(operand, Tensor):
            raws.append(operand._array)
            nodes.append(operand._node)
        else:
            known = type(operand) in NAMESPACES
            raws.append(_scalar(operand, operand) if known else _convert(op, operand, operands))
            nodes.append(None)
    for index in op.constants:
        nodes[index] = None
    xp = NAMESPACES.get(type(raws[0])) if len(set(map(type, raws))) == 1 else None
    if xp is not None and xp.alone:  # mostly: nothing else is left to see
        return raws, nodes, xp
    xp = _namespace(op, raws)
    if (
        xp is not None
        and xp.checks is not None
        and any(isinstance(raw, numpy.generic) for raw in raws)
    ):
        _namespace(op, [_placed(*pair) for pair in zip(operands, raws, strict=True)])
    if xp is None:
        raws = [None if raw is None else _of_number(raw) for raw in raws]
        xp = _namespace(op, raws)
    if len(raws) == 2:
        raws[0] = _first_number(*raws)
    return raws, nodes, xp


def _first_number(a: Any, b: Any) -> Any:
    """The first of two operands; a complex number beside a NumPy float is NumPy's, too.

    Or Python would compute, for which such a float is one of its own, and return its own type.
    """
    return numpy.complex128(a) if type(a) is complex and isinstance(b, float) else a


def _scalar(operand: Any, raw: Any) -> Any:
    """The raw array of an operand; of a 0-d NumPy array the scalar, which goes to any device."""
    return raw[()] if operand is raw and type(raw) is numpy.ndarray and not raw.ndim else raw


def _of_number(number: Any) -> Any:
    """A raw array of a Python number; in a rule a NumPy scalar, which goes to any device."""
    return numpy.asarray(number)[()] if in_rules.get() else _from_python(number)


def _placed(operand: Any, raw: Any) -> Any:
    """The raw array of an operand; of a NumPy scalar in a graph an array, which has a device.

    As a scalar it would go to any device, and its gradient come from another one than its own.
    """
    in_graph = isinstance(raw, numpy.generic) and getattr(operand, "_node", None) is not None
    return operand.data if in_graph else raw


def _namespace(op: Op, raws: Sequence[Any]) -> Any:
    """The namespace of the operands; None if all are numbers; DeviceError if they differ."""
    xp = first = None
    for raw in raws:
        if raw is None:
            continue
        cls = type(raw)
        own = NAMESPACES[cls] if cls in NAMESPACES else namespace_of(raw)
        if own is None or own is xp:
            continue
        if xp is None or isinstance(first, numpy.generic):
            xp, first = own, raw  # a NumPy scalar goes where the arrays are, as in CuPy
        elif _takes(own, xp):
            xp, first = own, raw
        elif _takes(xp, own):
            continue
        elif not isinstance(raw, numpy.generic):
            for namespace in (own, xp):
                if namespace.checks is not None:
                    namespace.checks(op.shown, tuple(raws))
            check_same_device(op.shown, tuple(raws))
            raise DeviceError(
                f"{op.shown}: the operands are arrays of two types, {type_name(type(first))} and "
                f"{type_name(cls)}, which cannot be mixed. Convert one of them first"
            )
    if xp is not None and not xp.alone:
        xp.checks(op.shown, tuple(raws))
    return xp


def _takes(namespace: Any, other: Any) -> bool:
    """Whether a namespace takes the arrays of another one beside its own."""
    while (namespace := getattr(namespace, "lifts", None)) is not None:
        if namespace is other:
            return True
    return False


def _on_device_of(raws: Sequence[Any], compute: Callable[..., Any]) -> Callable[..., Any]:
    """``compute``, on the device of the operands: CuPy makes new arrays on its current one."""
    for raw in raws:
        if NAMESPACES.get(type(raw)) is not None and not isinstance(raw, numpy.generic):
            device = device_of(raw)
            break
    else:
        return compute
    if device.is_current():
        return compute

    def compute_there(*args: Any, **parameters: Any) -> Any:
        with device.activate():
            return compute(*args, **parameters)

    return compute_there


def _convert(op: Op, operand: Any, operands: Sequence[Any]) -> Any:
    """A raw array of a list, or an array whose type is new; DTypeError for anything else."""
    if operand is None and op.optional:
        return None
    try:
        namespace_of(operand)
    except DTypeError as error:
        if isinstance(operand, (list, tuple)):
            return _of_list(op, operand, operands)
        raise wrong_operand(op, operand) from error
    return operand


def _of_list(op: Op, listed: Any, operands: Sequence[Any]) -> Any:
    """A raw array of a list; like a number, it goes where the arrays are, and does not promote."""
    raws = [other._array if isinstance(other, Tensor) else other for other in operands]
    arrays = [raw for raw in raws if NAMESPACES.get(type(raw)) is not None]
    if not arrays:
        return _from_python(listed, asked=False)
    dtypes = [array.dtype for array in arrays]
    for other, kind in zip(operands, op.operands):
        if other is listed and kind == "whole":  # an index is none of the numbers beside it
            dtypes = [numpy.dtype(numpy.int64)]
    home = next((array for array in arrays if not isinstance(array, numpy.generic)), arrays[0])
    return beside(_weak(listed, dtypes), home)


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
        xp = _namespace(op, raws)
        if xp is None:
            return None
        if not xp.alone:
            return xp, _on_device_of(raws, getattr(xp, self.name))
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

    def convert(operand: Any, other: Any) -> Any:
        try:
            return _convert(op, operand, (other,))
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
            raw_a = a if type(a) in NAMESPACES else convert(a, b)
            if raw_a is NotImplemented:
                return NotImplemented
        if isinstance(b, Tensor):
            node_b = b._node
            raw_b = b._array
        else:
            node_b = None
            raw_b = b if type(b) in NAMESPACES else convert(b, a)
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
            raw_a = _placed(a, raw_a) if node_a is not None else _scalar(a, raw_a)
            raw_b = _placed(b, raw_b) if node_b is not None else _scalar(b, raw_b)
            entry = dispatch.look_up(op, raw_a, raw_b)
            if entry is None:
                return record(op, (a, b))
            raw_a = _first_number(raw_a, raw_b)
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
