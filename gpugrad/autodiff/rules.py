"""Running the forward and the derivatives that a user wrote. Imports tensor, engine and backend.

A rule runs over raw arrays, or over Tensors where its result is to be differentiated again.
Its result is checked before the engine sees it. A rule that cannot run over Tensors runs over
their arrays; its result then refuses to be differentiated, since the derivative would take it
for a constant and be silently wrong.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpugrad.backend.device import beside, device_of, to_numpy
from gpugrad.backend.namespace import namespace_of
from gpugrad.backend.precision import kind_of
from gpugrad.engine.modes import enable_grad, no_grad, strict
from gpugrad.engine.node import Node
from gpugrad.engine.op import Op
from gpugrad.engine.outputs import zeros
from gpugrad.errors import DeviceError, DTypeError, GradientError, ShapeError
from gpugrad.tensor import TENSORS, Tensor, get_default_dtype

__all__ = [
    "array_beside", "checked_gradient", "first_array", "host_array", "is_array", "map_values",
    "on_host", "raw_array", "refusing", "running", "weak_dtype", "zero_of", "zeros",
]  # fmt: skip


@contextmanager
def running(what: str, *, recorded: bool = False) -> Iterator[None]:
    """A block for the user's code: it restores the modes, and errors name ``what``.

    ``recorded`` code runs over Tensors. Then no number may be taken out of a tensor, since the
    derivative would take it for a constant.
    """
    before = strict.get()
    try:
        strict.set(recorded)
        with enable_grad() if recorded else no_grad():
            yield
    except Exception as error:
        error.add_note(f"in {what}")
        raise
    finally:
        strict.set(before)


def is_array(value: Any) -> bool:
    """Whether a value is an array or Tensor, and not a number, None or a `ShapeDtype`."""
    return hasattr(value, "ndim") and hasattr(value, "dtype")


def raw_array(value: Any) -> Any:
    """The raw array of a Tensor, an array of a NumPy scalar; anything else as it is."""
    if isinstance(value, Tensor):
        return value.data
    return np.asarray(value) if isinstance(value, np.generic) else value


def host_array(value: Any) -> Any:
    """An array as a NumPy array on the host; anything else as it is."""
    return to_numpy(value) if is_array(value) else value


def first_array(values: Sequence[Any]) -> Any:
    """The first array among some values, raw."""
    return raw_array(next(value for value in values if is_array(value)))


def array_beside(value: Any, like: Any, what: str, dtype: Any = None, send: bool = False) -> Any:
    """The result of a user's function as a raw array, on the device of the raw array ``like``.

    Numbers become arrays, Python's floats of ``dtype``. DTypeError for anything but an array or
    a number, DeviceError for an array of another device, unless ``send`` has it copied.
    """
    if isinstance(value, Tensor):
        value = value.data
    if isinstance(value, bool | int | float | complex | np.generic):
        number = np.asarray(value, dtype=dtype if type(value) is float else None)
        return beside(number, like, asked=True)
    try:
        namespace_of(value)
    except DTypeError:
        raise DTypeError(
            f"{what} gave {type(value).__name__}; expected an array or a number"
        ) from None
    if value.dtype.kind in "OSUmM":
        raise DTypeError(f"{what} gave an array of dtype {value.dtype}; expected numbers")
    own, device = device_of(value), device_of(like)
    if own != device and not send:
        raise DeviceError(
            f"{what} gave an array on {own}, but its arguments are on {device}. Compute with "
            "the functions of xp; for a function that knows only NumPy pass host=True"
        )
    same = own == device and (not send or namespace_of(value) is namespace_of(like))
    return value if same else beside(to_numpy(value), like, asked=True)


def weak_dtype(values: Sequence[Any]) -> Any:
    """The dtype of Python's floats beside some arrays: that of their floating-point numbers."""
    dtypes = [value.dtype for value in values if is_array(value) and kind_of(value.dtype) == "f"]
    return np.result_type(*dtypes) if dtypes else get_default_dtype()


def zero_of(xp: Any, like: Any, value: Any) -> Any:
    """A tangent of zero for an argument; None where it has no derivative."""
    if isinstance(value, float):
        return 0.0
    dtype = getattr(value, "dtype", None)
    if dtype is None or np.dtype(dtype).kind in "biu":
        return None
    return zeros(xp, like, value)


def checked_gradient(
    d: Any, xp: Any, like: Any, value: Any, what: str, name: str, send: bool
) -> Any:
    """One gradient that a rule gave, as an array that the engine can unbroadcast.

    ``like`` is a raw array on the right device. None and 0 stand for zeros.
    """
    shape = tuple(value.shape)
    if d is None or (isinstance(d, int | float) and d == 0):
        return zeros(xp, like, value)
    if xp is not TENSORS:
        d = array_beside(d, like, f"{what}, for its argument {name!r},", value.dtype, send)
    pairs = zip(reversed(tuple(d.shape)), reversed(shape))
    if any(a != b and a != 1 and b != 1 for a, b in pairs):
        raise ShapeError(
            f"{what} gave a gradient of shape {tuple(d.shape)} for its argument {name!r} of shape "
            f"{shape}: expected that shape, or one that broadcasting leads to from it"
        )
    if d.dtype.kind == "c" and value.dtype.kind != "c":
        raise DTypeError(
            f"{what} gave a complex gradient for its argument {name!r}, which is real. Return its "
            "real part"
        )
    return d


@dataclass
class _Refusal:
    """Why a result cannot be differentiated, and the result."""

    what: str
    reason: str
    value: Any

    def __repr__(self) -> str:
        return "…"


def _refuse(
    xp: Any, g: Any, y: Any, needs: tuple[bool, ...], *inputs: Any, refusal: _Refusal
) -> Any:
    raise GradientError(
        f"{refusal.what} ({refusal.reason}), so it cannot be differentiated itself. Write it with "
        "the functions of xp, or wrap what it calls in a gg.custom_op of its own"
    )


def refusing(name: str) -> Callable[..., Tensor]:
    """A function that puts a raw result in the graph so that its derivative raises.

    It takes the array, the nodes that this was computed from, their namespace, and ``what`` and
    ``reason`` for the error.
    """
    op = Op(
        name,
        lambda xp, /, *inputs, refusal: refusal.value,
        vjp_all=_refuse,
        doc="A derivative that cannot be differentiated itself.",
    )

    def tensor(array: Any, nodes: list[Any], xp: Any, what: str, reason: str) -> Tensor:
        if not nodes:
            return Tensor(array)
        parents = tuple(nodes)
        refusal = {"refusal": _Refusal(what, reason, array)}
        return Tensor(
            array, Node(op, parents, parents, None, xp, array.shape, array.dtype, refusal)
        )

    tensor.op = op  # type: ignore[attr-defined]
    return tensor


NUMPY = namespace_of(np.empty(0))


def on_host(*groups: Any) -> Any:
    """NumPy's namespace, and lists and dicts with their arrays on the host."""
    return (NUMPY, *(map_values(group, host_array) for group in groups))


def map_values(group: Any, convert: Callable[[Any], Any]) -> Any:
    """The values of a list or a dict, each converted."""
    if isinstance(group, dict):
        return {name: convert(value) for name, value in group.items()}
    return [convert(value) for value in group]
