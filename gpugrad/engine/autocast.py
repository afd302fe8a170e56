"""Mixed precision: the block in which products run in half precision. Imports record and below.

What each op does stands in its entry of the table (``autocast`` of `Op`). Operands are cast by a
recorded ``astype``, through which gradients flow back to the float32 tensor. The cast of a leaf,
such as a layer's weight, is kept until the leaf is changed in place or the outermost block ends.
"""

import weakref
from collections.abc import Sequence
from contextvars import ContextVar
from functools import cache, wraps
from typing import Any, NamedTuple

import numpy as np

from gpugrad.backend.blocks import Block, Stack, now
from gpugrad.backend.namespace import NAMESPACES
from gpugrad.backend.precision import SINGLE, is_half, named
from gpugrad.engine import detours, versions
from gpugrad.engine import record as calls
from gpugrad.engine.modes import in_rules, levels, recording
from gpugrad.engine.node import Leaf, next_serial
from gpugrad.engine.op import TABLE, Op
from gpugrad.errors import DTypeError

__all__ = ["autocast", "is_autocast_enabled", "state", "state_again"]


class _Cast(NamedTuple):
    """The cast of a leaf: of which array, when, and the result, raw and in the graph."""

    source: Any
    serial: int
    raw: Any
    result: Any

    def holds_for(self, array: Any) -> bool:
        """Whether it is the array of before, and unchanged."""
        return self.source is array and not versions.changed_since(array, self.serial)


_Casts = weakref.WeakKeyDictionary[Leaf, dict[Any, _Cast]]


class _State:
    """What an open block says: the half dtype, or None where it is off, and the casts of leaves.

    It holds for the code of the block, and not for the rules of a walk inside it: ``in_rules`` says
    which of both began it.
    """

    __slots__ = ("__weakref__", "casts", "dtype", "in_rules")

    def __init__(self, dtype: Any, casts: _Casts) -> None:
        self.dtype = dtype
        self.casts = casts
        self.in_rules = in_rules.get()


_state: ContextVar[Any] = ContextVar("gpugrad_autocast", default=None)


def _enter(state: _State) -> None:
    detours.hold(_in_its_dtype, state)  # as long as there are states the ops look for theirs
    _state.set(state)


def state() -> Any:
    """The state of the innermost block, to compute in the same way again; None outside."""
    return now(_state.get())


class autocast(Block):  # noqa: N801 - PyTorch's name
    """Inside this block, or in a function decorated with it, products run in half precision.

    ``dtype`` is "float16" or "bfloat16". Each operation does what its entry of the table says:
    products of matrices, layers, convolutions, attention and recurrent networks cast float32
    operands to ``dtype``; sums, norms, losses, softmax, exponentials, logarithms and powers cast
    half precision to float32; all others run in what they get, and promote where dtypes differ.
    float64 is left alone, and so is the backward pass, which runs in the dtypes of the forward one.

    Parameters stay float32 and so do their gradients. The half copy of a parameter is made once
    and kept until the parameter is changed in place, as by an optimizer's step, or the outermost
    block ends. With float16 scale the loss, see `gpugrad.GradScaler`. ``enabled=False`` turns
    an outer block off. DTypeError for another dtype.

    >>> import gpugrad as gg
    >>> w = gg.ones((3, 2), requires_grad=True)
    >>> with gg.autocast("float16"):
    ...     y = gg.ones((4, 3)) @ w
    ...     loss = (y * y).sum()
    >>> y.dtype, loss.dtype
    (dtype('float16'), dtype('float32'))
    >>> loss.backward()
    >>> w.grad.dtype
    dtype('float32')
    """

    stack = Stack("gpugrad_autocast_blocks", _state)

    def __init__(self, dtype: Any = "float16", *, enabled: bool = True) -> None:
        self.dtype = _half(dtype) if enabled else None

    def _apply(self) -> None:
        outer = state()
        _enter(_State(self.dtype, weakref.WeakKeyDictionary() if outer is None else outer.casts))


def _with_a_sentence(init: Any) -> Any:
    """``__init__``, which says what to write where PyTorch's arguments are given."""

    @wraps(init)
    def begin(self: autocast, *args: Any, **kwargs: Any) -> None:
        try:
            init(self, *args, **kwargs)
        except TypeError as error:
            if isinstance(error, DTypeError):
                raise
            raise DTypeError(
                f"autocast: {str(error).rpartition('() ')[2]}. Write gg.autocast('float16') or "
                "gg.autocast('bfloat16'), and enabled=: the device is that of the arrays, and "
                "casts of weights are kept until these change"
            ) from None

    return begin


setattr(autocast, "__init__", _with_a_sentence(autocast.__init__))  # noqa: B010  typed as it is


class state_again(Block):  # noqa: N801 - a block, like the others
    """A block with the dtype of an earlier `state`, and casts of its own."""

    stack = autocast.stack

    def __init__(self, before: Any) -> None:
        self.before = before

    def _apply(self) -> None:
        if self.before is None:
            _state.set(None)
        else:
            _enter(_State(self.before.dtype, weakref.WeakKeyDictionary()))


def _half(dtype: Any) -> Any:
    dtype = named(dtype)
    try:
        chosen = np.dtype(dtype)
    except (TypeError, ValueError):
        chosen = None
    if chosen is None or not is_half(chosen):
        raise DTypeError(
            f"autocast: expected 'float16' or 'bfloat16', got {dtype!r}. The device is that of the "
            "arrays"
        )
    return chosen


def is_autocast_enabled() -> bool:
    """Whether products run in half precision here: see `autocast`.

    >>> import gpugrad as gg
    >>> with gg.autocast("float16"):
    ...     gg.is_autocast_enabled()
    True
    """
    here = state()
    return here is not None and here.dtype is not None


# ---------------------------------------------------------------- operands


@cache
def _converts(dtype: Any, half: Any) -> bool:
    """Whether products cast an operand of this dtype."""
    return dtype == SINGLE or (is_half(dtype) and dtype != half)


def _in_its_dtype(op: Op, operands: Sequence[Any], parameters: dict[str, Any] | None) -> Any:
    """The result in the dtype that autocast wants for an op; None where nothing is to be cast."""
    if not op.autocast:
        return None
    here = state()
    if here is None:
        return detours.settle()
    if here.dtype is None or here.in_rules is not in_rules.get():
        return None
    dtypes = [_dtype(op, index, operand) for index, operand in enumerate(operands)]
    if op.autocast == "float32":
        target = SINGLE
        casts = [dtype is not None and is_half(dtype) for dtype in dtypes]
    else:
        target = here.dtype
        if any(dtype is not None and dtype.itemsize > 4 and dtype.kind in "fc" for dtype in dtypes):
            return None
        casts = [dtype is not None and _converts(dtype, target) for dtype in dtypes]
    if not any(casts):
        return None
    pairs = zip(operands, casts)
    own = [_cast(here, operand, target) if needed else operand for operand, needed in pairs]
    return calls.record(op, own, parameters)


def _dtype(op: Op, index: int, operand: Any) -> Any:
    """The dtype of an operand that is an array of numbers; None for masks and Python's numbers."""
    if op.operands[min(index, len(op.operands) - 1)] in ("whole", "mask"):
        return None
    raw = operand._array if isinstance(operand, calls.Tensor) else operand
    return getattr(raw, "dtype", None)


def _cast(here: _State, operand: Any, target: Any) -> Any:
    parameters = {"dtype": target}
    leaf = getattr(operand, "_node", None)
    if not isinstance(leaf, Leaf) or levels.get():  # a cast inside of vmap is of no use outside
        return detours.behind(0, calls.directly, TABLE["astype"], (operand,), parameters)
    array, mode = operand._array, recording.get()
    casts = here.casts.setdefault(leaf, {})
    kept = casts.get(target)
    if kept is None or not kept.holds_for(array):
        serial = next_serial()
        result = calls.directly(TABLE["astype"], (operand,), parameters)
        casts[target] = _Cast(array, serial, result._array, result if mode else None)
        return result
    if not mode:
        return calls.Tensor(kept.raw)
    result = kept.result
    # A walk frees the node; two graphs of one step then share the numbers alone.
    if result is None or result._node.values is None or mode is not True:
        xp = NAMESPACES[type(kept.raw)]
        result = calls.attach_node(
            TABLE["astype"], (array,), (leaf,), xp, parameters, kept.raw, (), mode
        )
        casts[target] = kept._replace(result=result)
    return result
