"""The operands of an op call: their raw arrays, their nodes and their namespace.

Imports backend, errors and the modules beside it; the Tensor class registers itself with
`gpugrad.engine.record.use_tensor_class`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from gpugrad.backend.device import beside, check_same_device, device_of
from gpugrad.backend.namespace import NAMESPACES, joint, namespace_of, register
from gpugrad.engine.messages import type_name, wrong_operand
from gpugrad.engine.modes import in_rules
from gpugrad.engine.op import Op
from gpugrad.errors import DeviceError, DTypeError

__all__ = [
    "convert",
    "first_number",
    "namespace_of_all",
    "on_device_of",
    "placed",
    "scalar",
    "unwrap",
    "use_tensor_class",
]  # fmt: skip

# Numbers have no namespace of their own: they take that of the arrays beside them.
for _number in (bool, int, float, complex):
    register(_number, None)

# Set once by gpugrad.tensor, which stands above this module.
Tensor: Any = None
_from_python: Callable[..., Any]
_weak: Callable[..., Any]


def use_tensor_class(cls: type, from_python: Callable[..., Any], weak: Callable[..., Any]) -> None:
    """Set the class of operands in a graph, and the conversions of lists and numbers.

    ``weak(list, dtypes)`` is that beside arrays of these dtypes.
    """
    global Tensor, _from_python, _weak
    Tensor, _from_python, _weak = cls, from_python, weak


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
            raws.append(scalar(operand, operand) if known else convert(op, operand, operands))
            nodes.append(None)
    for index in op.constants:
        nodes[index] = None
    first: Any = type(raws[0]) if raws else None
    for raw in raws:
        if type(raw) is not first:
            break
    else:  # mostly
        xp = NAMESPACES.get(first)
        if xp is not None and xp.alone:  # and then there is nothing else to see
            return raws, nodes, xp
    xp = namespace_of_all(op, raws)
    if (
        xp is not None
        and xp.checks is not None
        and any(isinstance(raw, numpy.generic) for raw in raws)
    ):
        namespace_of_all(op, [placed(*pair) for pair in zip(operands, raws, strict=True)])
    if xp is None:
        raws = [None if raw is None else _of_number(raw) for raw in raws]
        xp = namespace_of_all(op, raws)
    if len(raws) == 2:
        raws[0] = first_number(*raws)
    return raws, nodes, xp


def first_number(a: Any, b: Any) -> Any:
    """The first of two operands; a complex number beside a NumPy float is NumPy's, too.

    Or Python would compute, for which such a float is one of its own, and return its own type.
    """
    return numpy.complex128(a) if type(a) is complex and isinstance(b, float) else a


def scalar(operand: Any, raw: Any) -> Any:
    """The raw array of an operand; of a 0-d NumPy array the scalar, which goes to any device."""
    return raw[()] if operand is raw and type(raw) is numpy.ndarray and not raw.ndim else raw


def _of_number(number: Any) -> Any:
    """A raw array of a Python number; in a rule a NumPy scalar, which goes to any device."""
    return numpy.asarray(number)[()] if in_rules.get() else _from_python(number)


def placed(operand: Any, raw: Any) -> Any:
    """The raw array of an operand; of a NumPy scalar in a graph an array, which has a device.

    As a scalar it would go to any device, and its gradient come from another one than its own.
    """
    in_graph = isinstance(raw, numpy.generic) and getattr(operand, "_node", None) is not None
    return operand.data if in_graph else raw


def namespace_of_all(op: Op, raws: Sequence[Any]) -> Any:
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
        elif (both := joint(xp, own)) is not None:
            xp, first = both, raw if both is own else first
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


def on_device_of(raws: Sequence[Any], compute: Callable[..., Any]) -> Callable[..., Any]:
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


def convert(op: Op, operand: Any, operands: Sequence[Any]) -> Any:
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
