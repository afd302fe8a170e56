"""Operands of functions: axis numbers, and the device and dtype of lists and numbers.

Imports tensor and ops.dtypes.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar
from typing import cast as typed

import numpy as np

from gpugrad.backend.device import device_of
from gpugrad.backend.namespace import namespace_of
from gpugrad.backend.precision import SINGLE, is_half, kind_of
from gpugrad.errors import AxisError, DeviceError, DTypeError, ShapeError
from gpugrad.tensor import Tensor, as_tensor
from gpugrad.tensor.conversion import weak_array

_LISTS = (list, tuple)
F = TypeVar("F", bound=Callable[..., Any])


def host_array(who: str, values: Any) -> Any:
    """Numbers or lists of them as an array of NumPy; ShapeError for ragged lists."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ShapeError(f"{who}: expected lists of equal lengths at each depth: {error}") from None


def check_numbers(who: str, **values: Any) -> None:
    """DTypeError for a setting that is neither a number nor an array without axes."""
    for name, value in values.items():
        if not isinstance(value, int | float) and getattr(value, "shape", None) != ():
            raise DTypeError(f"{who}: {name} must be a number, got {value!r}")


def axis_number(name: str, axis: Any, ndim: int) -> int:
    """An axis counted from the front; AxisError for one that is out of range."""
    try:
        number = axis.__index__()
    except AttributeError:
        raise DTypeError(f"{name}: expected an axis number, got {type(axis).__name__}") from None
    if not -ndim <= number < ndim:
        raise AxisError(f"{name}: axis {number} is out of range for {ndim} axes")
    return int(number) % ndim


def axis_numbers(name: str, axis: Any, ndim: int, *, distinct: bool = True) -> tuple[int, ...]:
    """One axis or several, counted from the front; ShapeError for one that is named twice."""
    listed = axis if isinstance(axis, Sequence) else (axis,)
    axes = tuple(axis_number(name, one, ndim) for one in listed)
    if distinct and len(set(axes)) < len(axes):
        raise ShapeError(f"{name}: axis {axis} names an axis twice")
    return axes


def all_or_numbers(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """All axes for None, else those that ``axis`` names, which may name one twice."""
    if axis is None:
        return tuple(range(ndim))
    return axis_numbers(name, axis, ndim, distinct=False)


def with_axes(name: str, x: Any, expected: str, least: int, most: int | None = None) -> Tensor:
    """x as a Tensor of ``least`` to ``most`` axes; ShapeError, which says ``expected``, if not."""
    x = as_tensor(x)
    if x.ndim < least or (most is not None and x.ndim > most):
        raise ShapeError(f"{name}: expected {expected}, got shape {x.shape}")
    return x


def along_axis(values: Any, axis: int, ndim: int) -> Any:
    """A vector along one of ``ndim`` axes, the others of size 1."""
    return values.reshape(tuple(-1 if i == axis else 1 for i in range(ndim)))


def with_size(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    """A shape with another size along an axis that is counted from the front."""
    return (*shape[:axis], size, *shape[axis + 1 :])


def beside(values: Any, x: Any) -> Tensor:
    """An operand beside the array x as a tensor; a list or a number is sent to the device of x.

    A list is weak, as a Python number is: it promotes x no further than its kind needs.
    """
    if isinstance(values, Tensor):
        return values
    x = as_tensor(x)
    return _beside(values, x, [x.dtype])


def _beside(values: Any, home: Tensor, dtypes: Sequence[Any]) -> Tensor:
    if isinstance(values, Tensor):
        return values
    if isinstance(values, list | tuple | bool | int | float | complex) and not is_number(values):
        return Tensor(device_of(home._array).send(weak_array(values, dtypes)))
    return as_tensor(values, device=home.device if is_number(values) else None)


def is_number(value: Any) -> bool:
    """Whether this is a NumPy scalar or 0-d array: a number, with a dtype of its own."""
    return isinstance(value, np.generic | np.ndarray) and not value.ndim


def together(*operands: Any) -> list[Tensor]:
    """Operands as tensors: lists and numbers beside the first array among them."""
    arrays = [o for o in operands if hasattr(o, "dtype")]
    if not arrays:
        return [as_tensor(o) for o in operands]
    home = as_tensor(next((o for o in arrays if not is_number(o)), arrays[0]))
    dtypes = [array.dtype for array in arrays]
    return [_beside(o, home, dtypes) for o in operands]


def without_lists(*operands: Any) -> list[Any]:
    """Operands, with lists as tensors beside the arrays among them; numbers stay as they are."""
    if not any(isinstance(o, _LISTS) for o in operands):
        return list(operands)
    arrays = [o for o in operands if hasattr(o, "dtype") and not is_number(o)]
    if not arrays:
        return list(operands)
    home, dtypes = as_tensor(arrays[0]), [array.dtype for array in arrays]
    return [_beside(o, home, dtypes) if isinstance(o, list | tuple) else o for o in operands]


def cast(x: Tensor, dtype: Any) -> Tensor:
    """x in another dtype; itself where ``dtype`` is None or its own."""
    return x if dtype is None or x.dtype == dtype else x.astype(dtype)


def floating(x: Tensor) -> Tensor:
    """x; whole numbers and truth values as float64."""
    return x if kind_of(x.dtype) in "fc" else x.astype("float64")


def in_single(function: F) -> F:
    """A function of arrays that adds up or counts: it gets half precision as float32.

    It is rounded once, where no other operand is in single precision. Between its operations sums
    above 65504, counts of more than 2048 and an eps of 1e-8 would not fit into float16.
    """

    @wraps(function)
    def wide(*args: Any, **kwargs: Any) -> Any:
        operands = (*args, *kwargs.values())
        dtypes = [x.dtype for x in operands if hasattr(x, "dtype")]
        halves = [dtype for dtype in dtypes if is_half(dtype)]
        if not halves:
            return function(*args, **kwargs)
        result = function(*map(_wider, args), **{k: _wider(v) for k, v in kwargs.items()})
        if kwargs.get("dtype") is not None or SINGLE in dtypes:
            return result
        if isinstance(result, tuple):
            return tuple([_narrow(one, halves[0]) for one in result])
        return _narrow(result, halves[0])

    return typed(F, wide)


def _wider(operand: Any) -> Any:
    half = hasattr(operand, "dtype") and is_half(operand.dtype)
    return operand.astype(SINGLE) if half else operand


def _narrow(result: Any, dtype: Any) -> Any:
    return result.astype(dtype) if getattr(result, "dtype", None) == SINGLE else result


def xp_of(x: Tensor) -> Any:
    """The namespace of a Tensor's raw array."""
    return namespace_of(x.data)


def without_graph(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Two detached operands; a list or a number is sent to the device of the other."""
    one, other = (v.detach() for v in together(a, b))
    check_one_device(name, one, other)
    return one, other


def check_one_device(name: str, a: Tensor, b: Tensor) -> None:
    if a.device != b.device:
        raise DeviceError(
            f"{name}: operands are on two devices, {a.device} and {b.device}; move one with "
            f".to({str(a.device)!r})"
        )


def arange_beside(count: int, like: Any) -> Any:
    """0, 1, ... count - 1, made on the device of an array."""
    with device_of(like).activate():
        return namespace_of(like).arange(count)
