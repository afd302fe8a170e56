"""Item assignment that has a gradient: ``x.at[i].set(v)``, `index_update` and ``t[i] = v``.

Imports indices, creation and core. The pure forms return a new tensor. In recorded code
``t[i] = v`` is a pure form to whose result the tensor is bound.
"""

from sys import _getframe, getrefcount
from typing import Any

import numpy as np

from gpugrad.backend.cupy_compat import is_negative_zero
from gpugrad.backend.device import to_numpy
from gpugrad.backend.namespace import common_namespace, namespace_of
from gpugrad.engine.aliasing import is_temporary
from gpugrad.engine.modes import recording
from gpugrad.engine.node import Leaf
from gpugrad.errors import ArgumentError, BatchError, DTypeError, GradientError, ShapeError
from gpugrad.ops.index import is_basic, last_of_each, may_repeat, split
from gpugrad.tensor import creation
from gpugrad.tensor.core import Tensor
from gpugrad.tensor.indices import getitem, index_errors, raw_index
from gpugrad.tensor.instructions import shuffles
from gpugrad.tensor.table import OPS
from gpugrad.tensor.views import Change, is_assigned

__all__ = ["At", "Selection", "at", "index_update", "setitem"]


def index_update(x: Any, /, index: Any, value: Any) -> Tensor:
    """A copy of x in which the elements at ``index`` are ``value``, which broadcasts.

    Any NumPy index is accepted. Where an element is selected more than once, the last value
    wins on every device, and the others have gradient 0. The dtype is that of x. ShapeError for
    a value that does not broadcast to the selection, DTypeError for one that would lose its
    fraction or its imaginary part, IndexingError for an index outside of x. An index on a GPU
    is checked in `debug_mode` only; elsewhere it wraps around.

    >>> import gpugrad as gg
    >>> v = gg.tensor([5.0, 6.0], requires_grad=True)
    >>> y = gg.index_update(gg.zeros(3), [1, 1], v)
    >>> y.detach()
    tensor([0., 6., 0.])
    >>> gg.gradients(y.sum(), v)
    tensor([0., 1.])
    """
    if isinstance(x, list | tuple) and isinstance(value, Tensor):
        x = value._like(x)  # no less precise than what is written into it
    x = creation.as_tensor(x)
    return _updated("index_update", x, raw_index("index_update", index, x._array, True), value)


class At:
    """The value of ``x.at``: indexing it selects the elements to change."""

    __slots__ = ("_tensor",)

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __getitem__(self, index: Any) -> "Selection":
        return Selection(self._tensor, index)


class Selection:
    """Elements of a tensor; each method returns a copy of the tensor in which they changed.

    >>> import gpugrad as gg
    >>> x = gg.tensor([1.0, 2.0, 3.0])
    >>> x.at[0].set(9.0)
    tensor([9., 2., 3.])
    >>> x.at[[1, 1]].add(x[:2])
    tensor([1., 5., 3.])
    """

    __slots__ = ("_index", "_tensor")

    def __init__(self, tensor: Tensor, index: Any) -> None:
        self._tensor = tensor
        self._index = raw_index("at", index, tensor._array, keep=True)

    def __repr__(self) -> str:
        return f"<elements of a tensor of shape {self._tensor.shape}: get, set, add, ...>"

    def __getattr__(self, name: str) -> Any:
        advice = f". Write {_INSTEAD[name]}" if name in _INSTEAD else ""
        raise AttributeError(f"at[] has no method {name!r}{advice}")

    def get(self) -> Tensor:
        """The elements: x[index]."""
        return getitem(self._tensor, self._index)

    def set(self, value: Any) -> Tensor:
        """The elements replaced by ``value``; of repeated ones the last wins: `index_update`."""
        return _updated("at[].set", self._tensor, self._index, value)

    def add(self, value: Any) -> Tensor:
        """``value`` added to the elements, once for each time that one is selected.

        On a GPU the order of these sums, and so their rounding, may differ from run to run.
        """
        x, index = self._tensor, self._index
        if x.dtype == np.bool_:
            raise DTypeError("at[].add: expected a tensor of numbers, got dtype bool. Use .set")
        v = _array("at[].add", x, index, value)
        if may_repeat(index):
            # NumPy's add.at (2.4) drops values that it broadcasts; sums in a fixed order need all.
            with index_errors("at[].add", x):
                v = OPS["broadcast_to"](v, _selected(x, index))
        pattern, arrays = split(index)
        return OPS["add"](x, OPS["scatter"](v, *arrays, index=pattern, shape=x.shape))

    def multiply(self, value: Any) -> Tensor:
        """The elements multiplied by ``value``, repeated ones by each."""
        return self._combine("at[].multiply", "multiply", value)

    def min(self, value: Any) -> Tensor:
        """The smaller of the elements and ``value``; at a tie each gets half of the gradient."""
        return self._combine("at[].min", "minimum", value)

    def max(self, value: Any) -> Tensor:
        """The larger of the elements and ``value``; at a tie each gets half of the gradient."""
        return self._combine("at[].max", "maximum", value)

    def _combine(self, who: str, op_name: str, value: Any) -> Tensor:
        x, index, combine = self._tensor, self._index, OPS[op_name]
        v = _array(who, x, index, value)
        if may_repeat(index):
            with index_errors(who, x), x.device.activate():
                repeated = _Repeated(x, index)
            if repeated.most:
                return repeated.combined(x, v, combine)
        return _replaced(x, combine(getitem(x, index), v), index)


# Methods of JAX's that have no like here.
_INSTEAD = {
    "apply": "x.at[index].set(f(x[index]))",
    "divide": "x.at[index].multiply(1 / value)",
    "mul": "x.at[index].multiply(value)",
    "power": "x.at[index].set(x[index] ** value)",
    "subtract": "x.at[index].add(-value)",
}


class _Repeated:
    """Where an index selects an element of a tensor more than once.

    ``places`` are the selected elements in flat memory, sorted, equal ones from the last to the
    first, ``order`` their numbers in the selection, ``rank`` how many equal ones come before each
    there, ``most`` the largest rank, or the largest that is possible where reading it would wait.
    """

    def __init__(self, x: Tensor, index: Any) -> None:
        xp, pattern, arrays = _namespace(x, index), *split(index)
        places = xp.getitem(xp.arange(x.size).reshape(x.shape), *arrays, index=pattern)
        self.shape = places.shape
        self.size = x.size
        order = xp.argsort(places.reshape(-1))
        self.order = xp.flip(order, axis=0)
        self.places = places.reshape(-1)[self.order]
        self.last = xp.last_alike(self.places, size=x.size)
        self.rank = self.last - xp.arange_like(self.last, self.last.size)
        self.most = self.rank.size - 1
        if self.rank.size and not xp.waits:
            self.most = int(self.rank.max())

    def combined(self, x: Tensor, v: Tensor, combine: Any) -> Tensor:
        """x with its elements and all values for each of them combined, pairwise as in a tree."""
        flat, shape = OPS["reshape"](x, -1), x.shape
        v = OPS["reshape"](OPS["broadcast_to"](v, self.shape), -1)
        v, step = getitem(v, self.order), 1
        while step <= self.most:
            pairs = combine(v[step:], v[:-step])
            first = self.rank[step:] % (2 * step) == 0
            first = first & (self.places[step:] == self.places[:-step])
            v = OPS["concat_arrays"](v[:step], OPS["where"](first, pairs, v[step:]))
            step *= 2
        changed = combine(getitem(flat, self.places), v)
        return OPS["reshape"](_replaced(flat, changed, self.places, self.last), shape)


def at(self: Tensor) -> At:
    """Elements to change in a copy: ``x.at[index].set(v)``, ``.add``, ``.multiply``, ..."""
    return At(self)


# Assigned values.

_RANKS = {"b": 0, "i": 1, "u": 1, "f": 2, "V": 2, "c": 3}  # V: bfloat16
_KINDS = ("booleans", "whole numbers", "real numbers", "complex numbers")


def _operand(who: str, x: Tensor, value: Any) -> Any:
    """A value as a Tensor, a raw array or a number; DTypeError if x's dtype cannot hold it."""
    if isinstance(value, bool | int | float | complex) and not isinstance(value, np.generic):
        dtype_kind = {bool: "b", int: "i", float: "f"}.get(type(value), "c")
    elif isinstance(value, list | tuple):
        array = x._like(value, x.dtype)
        dtype_kind = np.asarray(value).dtype.kind if array.size else "b"
        value = array
    else:
        if not isinstance(value, Tensor):
            try:
                namespace_of(value)
            except DTypeError:
                raise DTypeError(
                    f"{who}: expected a Tensor, an array, a number or a list of numbers, got "
                    f"{type(value).__name__}"
                ) from None
            if isinstance(value, np.ndarray) and not value.ndim:
                value = value[()]  # a number, which goes to any device
        dtype_kind = value.dtype.kind
    if _RANKS[dtype_kind] > _RANKS[x.dtype.kind]:
        raise DTypeError(
            f"{who}: {_KINDS[_RANKS[dtype_kind]]} do not fit into a tensor of dtype {x.dtype}. "
            "Cast the tensor or the value with .astype first"
        )
    return value


def _selected(x: Tensor, index: Any) -> tuple[int, ...]:
    """The shape of x[index]."""
    array = x.data
    if is_basic(index):
        return array[index].shape
    # Selecting from one byte, broadcast to x's shape, is quicker than selecting from x.
    xp, pattern, arrays = _namespace(x, index), *split(index)
    with x.device.activate():
        mask = xp.broadcast_to(xp.zeros((), np.bool_), array.shape)
        shape: tuple[int, ...] = xp.getitem(mask, *arrays, index=pattern).shape
        return shape


def _namespace(x: Tensor, index: Any) -> Any:
    """The namespace of x, or that of the index: inside of `vmap` it may be another one."""
    return common_namespace(x.data, *split(index)[1])


def _without_extra_axes(who: str, x: Tensor, value: Any, shape: tuple[int, ...]) -> Any:
    """The value without extra axes of size 1; ShapeError if it does not fit the selection."""
    value_shape = value.shape
    extra = max(len(value_shape) - len(shape), 0)
    rest = value_shape[extra:]
    lead = len(shape) - len(rest)
    if any(size != 1 for size in value_shape[:extra]) or any(
        size not in (1, target) for size, target in zip(rest, shape[lead:], strict=True)
    ):
        raise ShapeError(
            f"{who}: a value of shape {tuple(value_shape)} does not fit the {tuple(shape)} that "
            f"the index selects of a tensor of shape {x.shape}"
        )
    return OPS["reshape"](value, rest) if extra else value


def _array(who: str, x: Tensor, index: Any, value: Any) -> Tensor:
    """A value as a Tensor of x's dtype that fits the selection."""
    value = _operand(who, x, value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int | float | complex):
        return creation.full_like(x, value, shape=())
    if value.shape:
        with index_errors(who, x):
            value = _without_extra_axes(who, x, value, _selected(x, index))
    value = creation.as_tensor(value)
    return value if value.dtype == x.dtype else OPS["astype"](value, x.dtype)


def _without_negative_zero(x: Tensor, value: Any) -> Any:
    """A value as CuPy can assign it: of the number -0.0 it would write 0.0."""
    if x.device.kind == "cpu" or not isinstance(value, float | complex | np.inexact):
        return value
    return x.device.send(np.asarray(value)) if is_negative_zero(value) else value


def _updated(who: str, x: Tensor, index: Any, value: Any) -> Tensor:
    value = _without_negative_zero(x, _operand(who, x, value))
    shape = getattr(value, "shape", ())
    order = None
    with index_errors(who, x):
        if may_repeat(index) and (shape or getattr(value, "_node", None) is not None):
            order = _order(x, index)
        if shape:
            value = _without_extra_axes(who, x, value, _selected(x, index))
    return _replaced(x, value, index, order)


def _order(x: Tensor, index: Any) -> Any:
    """`last_of_each`; None where, on the host, no element is selected twice."""
    xp = _namespace(x, index)
    with x.device.activate():
        order = last_of_each(xp, index, x.shape)
    if not xp.waits and (to_numpy(order).reshape(-1) == np.arange(order.size)).all():
        return None
    return order


def _replaced(x: Tensor, value: Any, index: Any, order: Any = None) -> Tensor:
    """A copy of x with a value at an index, ``order`` telling which of several values wins."""
    pattern, arrays = split(index)
    if order is not None:
        arrays.append(order)
    replaced: Tensor = OPS["index_set"](x, value, *arrays, index=pattern, ordered=order is not None)
    return replaced


# t[i] = v


def setitem(self: Tensor, index: Any, value: Any) -> None:
    """``t[index] = value``: changes memory, or in recorded code binds t to a new value.

    Code is recorded where t or the value requires a gradient. The tensor then takes new memory,
    at the cost of a copy; to fill a large t from small pieces, `gg.stack` and `gg.concat` are
    quicker. Every name of the tensor sees the assignment, and so do its views and the tensor that
    it is a view of; earlier results keep their gradients. A detached tensor sees the numbers
    alone. GradientError for a leaf that requires a gradient or a view of one, for a detached
    tensor, and where an array beside the tensors is over the memory (``t.data``, the one that t
    was made of), which would not see it. ArgumentError for a broadcast tensor, and for a
    ``shuffle`` of rows; ShapeError, DTypeError and IndexingError as for `index_update`.

    >>> import gpugrad as gg
    >>> x = gg.tensor(3.0, requires_grad=True)
    >>> out = gg.ones(3)
    >>> out[1] = x * x
    >>> out[2] = out[1] * x
    >>> out.sum().backward()
    >>> x.grad
    tensor(33.)
    """
    references = getrefcount(value)
    if isinstance(value, Tensor) and value._array.ndim and shuffles(_getframe(1)):
        raise ArgumentError(
            f"shuffle: the rows of a tensor of shape {self.shape} are views, and exchanging "
            "them would lose some. Write `t = gg.random.permutation(t)`"
        )
    node = self._node
    other = value._node if isinstance(value, Tensor) else None
    if not recording.get() or (node is None and other is None):
        raw = raw_index("item assignment", index, self._array)
        with index_errors("item assignment", self._array):
            _write(self, raw, value)
        return
    if type(node) is Leaf:
        raise GradientError(
            "item assignment: a leaf that requires a gradient cannot be changed in place while "
            "operations are recorded. Use `with gg.no_grad():` for an update, or "
            "`t = t.at[index].set(value)` for a new tensor"
        )
    with index_errors("item assignment", self):
        if is_assigned(self, index, value):
            return  # the last step of `t[index] += d`, which has changed t through its view already
        raw = raw_index("item assignment", index, self._array, keep=True)
        part = raw if is_basic(raw) else None
        passing = is_temporary(references)
        change = Change("item assignment", self, part, value, other, passing)
    change.done(_updated("item assignment", self, raw, value))


def _is_batched(t: Tensor) -> bool:
    return getattr(namespace_of(t._array), "batched", False)


def _write(t: Tensor, index: Any, value: Any) -> None:
    """Change memory; of repeated elements the last value wins."""
    if isinstance(value, Tensor) and _is_batched(value) and not _is_batched(t):
        raise BatchError(
            "item assignment: the tensor has one value for all elements of the batch of vmap, what "
            "is assigned has one for each. Make the tensor of one that has, as by "
            "gg.zeros_like(x), or write `t = t.at[index].set(value)`"
        )
    if isinstance(value, list | tuple):
        value = t._like(value, t.dtype)
    elif isinstance(value, np.ndarray) and not value.ndim:
        value = value[()]  # a number, which goes to any device
    shape = getattr(value, "shape", ())
    if shape and _order_matters(t, index) and creation.as_tensor(value).device == t.device:
        value = _without_extra_axes("item assignment", t, value, _selected(t, index))
        value = creation.as_tensor(value)._array
        with t.device.activate():
            order = last_of_each(_namespace(t, index), index, t.shape)
            xp = common_namespace(value, order)
            value = xp.take(xp.broadcast_to(value, order.shape).reshape(-1), order, axis=0)
    try:
        t._write(index, _without_negative_zero(t, value))
    except ValueError:
        if shape:
            _without_extra_axes("item assignment", t, value, _selected(t, index))
        raise


def _order_matters(t: Tensor, index: Any) -> bool:
    # NumPy assigns in order where the index has one axis; CuPy in any order.
    if not may_repeat(index):
        return False
    parts = index if isinstance(index, tuple) else (index,)
    in_order = namespace_of(t.data).atomic is None
    return not in_order or any(getattr(part, "ndim", 0) > 1 for part in parts)
