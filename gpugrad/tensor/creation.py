"""New tensors: from data, and filled with numbers. Imports core, conversion and dlpack."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gpugrad.backend.device import Device, default_device, device_of
from gpugrad.backend.namespace import NAMESPACES, namespace_of
from gpugrad.backend.precision import begin_bfloat16, is_half, named, when_bfloat16_begins
from gpugrad.engine.modes import is_grad_enabled, tracing
from gpugrad.engine.record import use_tensor_class
from gpugrad.errors import ArgumentError, DTypeError, GradientError, ShapeError
from gpugrad.tensor.conversion import (
    complex_dtype,
    get_default_dtype,
    holds_tensors,
    host_array,
    raw_array,
    set_default_dtype,
    weak_array,
)
from gpugrad.tensor.core import TENSORS, Tensor
from gpugrad.tensor.dlpack import detached, shared_array
from gpugrad.tensor.hints import of_one_shape

__all__ = [
    "arange", "asarray", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like",
    "get_default_dtype", "linspace", "ones", "ones_like", "set_default_dtype", "tensor", "zeros",
    "zeros_like",
]  # fmt: skip


def tensor(
    data: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    name: str | None = None,
) -> Tensor:
    """A tensor of ``data``: an array, a number, or (nested) lists of numbers.

    Data of the host go to the default device, that of ``with gg.device(...)`` or GPUGRAD_DEVICE,
    unless ``device`` names another; an array or tensor on a GPU stays there. An array keeps its
    dtype, and is not copied where it stays: training such a tensor changes the array. A recorded
    tensor stays in its graph, unless ``requires_grad`` makes a new leaf of a leaf. Numbers and
    lists become the default dtype. DTypeError for data without numbers, ShapeError for ragged
    lists.

    >>> import gpugrad as gg
    >>> gg.tensor([[1, 2], [3, 4]])
    tensor([[1., 2.],
            [3., 4.]])
    >>> gg.tensor(np.arange(3)).dtype
    dtype('int64')
    """
    if isinstance(data, Tensor) and data.requires_grad and is_grad_enabled():
        result = _in_its_graph(data, dtype, device, requires_grad)
    else:
        if device is None and isinstance(data, np.ndarray | np.generic):
            home = default_device()
            device = None if home.kind == "cpu" else home
        result = _tensor_of(data, dtype, device)
    if requires_grad:
        result.requires_grad_()
    if name is not None:
        result.name = name
    return result


def _in_its_graph(data: Tensor, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    """A tensor of a recorded one, in its graph; a new leaf of a leaf, if that is asked for."""
    if requires_grad and data._in_graph():
        raise GradientError(
            "tensor: a new leaf of a tensor in a graph would end its gradient. Leave requires_grad "
            "out, or write gg.tensor(t.detach(), requires_grad=True)"
        )
    if requires_grad:
        return _tensor_of(data, dtype, device)
    made = as_tensor(data, dtype=dtype, device=device)
    return Tensor(made._array, made._node)


def _tensor_of(data: Any, dtype: Any, device: Any) -> Tensor:
    """A new tensor of data; an array stays where it is, unless ``device`` names another place."""
    dtype = named(dtype)
    if isinstance(data, Tensor):
        array = data._array
    elif type(data) in NAMESPACES and namespace_of(data) is not None:
        array = data
    else:
        array = raw_array(data, dtype, device)
    if array.dtype.kind not in "biufcV":
        raise DTypeError(f"tensor: expected numbers, got an array of dtype {array.dtype}")
    if device is not None:
        array = Device(device).send(array)
    if dtype is not None and array.dtype != dtype:
        array = array.astype(dtype)
    if isinstance(array, np.generic):
        array = np.asarray(array)
    if array.dtype.kind == "V":
        if not is_half(array.dtype):
            raise DTypeError(f"tensor: expected numbers, got an array of dtype {array.dtype}")
        begin_bfloat16()
    result = Tensor(array)
    if (session := tracing.get()) is not None and not _shares(array, data):
        session.own(result)
    return result


def _shares(array: Any, data: Any) -> bool:
    """Whether a new tensor is over memory of what it was made of."""
    return array is data or array is getattr(data, "_array", None)


def as_tensor(data: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """An operand as a Tensor: a Tensor that fits is returned itself, an array stays where it is."""
    if not isinstance(data, Tensor):
        return _tensor_of(data, dtype, device)
    if device is not None:
        data = data.to(device)
    if dtype is not None and data.dtype != dtype:
        data = data.astype(dtype)
    return data


def asarray(
    obj: Any,
    /,
    *,
    dtype: Any = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of ``obj``, by the Array API standard's rules.

    Whole numbers and lists of them become int64 here, bools bool, all others the default
    dtype; `tensor` makes the default dtype of whole numbers too. ``obj`` may also be an array,
    which keeps its dtype and, unlike that of `tensor`, its device; an object with DLPack or the
    buffer protocol; or a Tensor or lists of Tensors, which stay in their graph. With ``copy``
    None memory is shared where it can be, with True it never is; with False ArgumentError is
    raised where it cannot be.

    >>> import gpugrad as gg
    >>> gg.asarray([1, 2]).dtype, gg.asarray([1.0, 2.0]).dtype, gg.tensor([1, 2]).dtype
    (dtype('int64'), dtype('float32'), dtype('float32'))
    """
    if not isinstance(obj, Tensor):
        numbers = isinstance(obj, bool | int | float | complex | list | tuple)
        fresh = numbers and not isinstance(obj, np.generic)
        if fresh and copy is False:
            raise ArgumentError(
                f"asarray: copy=False, but {type(obj).__name__} has no memory to share"
            )
        if fresh and holds_tensors(obj):
            obj, copy = _joined(obj), None
        elif fresh:
            raw, copy = host_array(obj, dtype, "asarray"), None
            obj = Device(default_device() if device is None else device).send(raw)
        elif not (type(obj) in NAMESPACES or hasattr(obj, "__array__")):
            obj = _exchanged(obj)
    result = obj if isinstance(obj, Tensor) else _tensor_of(obj, None, None)
    moves = device is not None and result.device != Device(device)
    casts = dtype is not None and result.dtype != dtype
    if copy is False and (moves or casts):
        to = f"{result.device} to {device}" if moves else f"{result.dtype} to {np.dtype(dtype)}"
        raise ArgumentError(f"asarray: copy=False, but going from {to} needs a copy")
    if moves or casts:
        result = as_tensor(result, dtype=dtype, device=device)
    elif copy:
        result = result.copy()
    return result.requires_grad_() if requires_grad else result


def _joined(data: Any) -> Tensor:
    """(Nested) lists of Tensors as one, in their graphs."""
    if not isinstance(data, list | tuple):
        return asarray(data)
    result: Tensor = TENSORS.stack([_joined(part) for part in data])
    return result


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of another library's array, which has ``__dlpack__``.

    Memory of the host becomes a NumPy array inside, CUDA's a CuPy array. With ``device`` it is
    copied where it has to be, with ``copy`` True always, with False never: ArgumentError if one is
    needed. DTypeError for an object without the protocol, or a dtype that NumPy lacks;
    GradientError for a recorded Tensor, which must be detached.

    >>> import numpy as np
    >>> import gpugrad as gg
    >>> a = np.arange(3.0)
    >>> t = gg.from_dlpack(a)
    >>> a[0] = 7
    >>> t
    tensor([7., 1., 2.], dtype=float64)
    """
    if isinstance(x, Tensor):
        raw = detached(x).data
    elif NAMESPACES.get(type(x)) is not None:
        raw = x
    else:
        raw = shared_array(x)
    return asarray(raw, device=device, copy=copy)


def _exchanged(obj: Any) -> Any:
    """A raw array over the memory of an object with DLPack or the buffer protocol."""
    if hasattr(obj, "__dlpack__"):
        return from_dlpack(obj)._array
    try:
        return np.asarray(memoryview(obj))
    except TypeError:
        raise DTypeError(
            f"asarray: expected an array, a number, lists of numbers, or an object with "
            f"__dlpack__ or the buffer protocol, got {type(obj).__name__}"
        ) from None


def _create(
    make: Callable[[Any], Any], device: Any, requires_grad: bool, like: Any = None
) -> Tensor:
    """A tensor of ``make(xp)``, with xp of a device, or of the array ``like``.

    The array type is that of ``like``, unless ``device`` differs from the device of ``like``.
    """
    home = default_device() if like is None else device_of(like)
    target = home if device is None else Device(device)
    xp = target.xp if like is None or target != home else namespace_of(like)
    with target.activate():
        result = Tensor(make(xp))
    if (session := tracing.get()) is not None:
        session.own(result)
    return result.requires_grad_() if requires_grad else result


@of_one_shape
def zeros(
    shape: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of zeros, of the default dtype unless ``dtype`` is given.

    >>> import gpugrad as gg
    >>> gg.zeros((2, 3)).shape
    (2, 3)
    """
    chosen = named(dtype) or get_default_dtype()
    return _create(lambda xp: xp.zeros(shape, chosen), device, requires_grad)


@of_one_shape
def ones(
    shape: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of ones, of the default dtype unless ``dtype`` is given."""
    chosen = named(dtype) or get_default_dtype()
    return _create(lambda xp: xp.ones(shape, chosen), device, requires_grad)


@of_one_shape
def empty(
    shape: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor with uninitialised elements."""
    chosen = named(dtype) or get_default_dtype()
    return _create(lambda xp: xp.empty(shape, chosen), device, requires_grad)


@of_one_shape
def full(
    shape: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of one number, in the dtype that `asarray` gives it unless ``dtype`` is given.

    The number may be a 0-d Tensor, or one that broadcasts, and then has a gradient.

    >>> import gpugrad as gg
    >>> gg.full(2, 7), gg.full(2, 7.0).dtype
    (tensor([7, 7]), dtype('float32'))
    """
    if isinstance(fill_value, Tensor):
        return _filled(fill_value, shape, dtype, device, requires_grad)
    chosen = named(dtype) or _dtype_of(fill_value)
    return _create(lambda xp: xp.full(shape, fill_value, dtype=chosen), device, requires_grad)


def _filled(value: Tensor, shape: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    """A Tensor broadcast to a shape, in memory of its own."""
    if device is not None:
        value = value.to(device)
    sizes = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    result: Tensor = TENSORS.astype(TENSORS.broadcast_to(value, sizes), named(dtype) or value.dtype)
    return result.requires_grad_() if requires_grad else result


def _dtype_of(*numbers: Any) -> np.dtype[Any]:
    """The dtype of Python numbers by the rule of `asarray`."""
    dtype = np.result_type(*(np.asarray(number).dtype for number in numbers))
    if dtype.kind == "c":
        return complex_dtype()
    return get_default_dtype() if dtype.kind == "f" else dtype


def arange(
    start: Any,
    /,
    stop: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers from ``start``, 0 by default, up to ``stop``, which is excluded.

    Integers make int64, floats the default dtype.

    >>> import gpugrad as gg
    >>> gg.arange(3), gg.arange(0.0, 1.0, 0.25)
    (tensor([0, 1, 2]), tensor([0.  , 0.25, 0.5 , 0.75]))
    """
    if stop is None:
        start, stop = 0, start
    if any(isinstance(v, Tensor) and v.requires_grad for v in (start, stop, step)):
        raise GradientError(
            "arange: it has no gradient, as its ends decide how many numbers there are. Write "
            "start + step * gg.arange(count), or gg.linspace(start, stop, count)"
        )
    start, stop, step = (v.item() if isinstance(v, Tensor) else v for v in (start, stop, step))
    chosen = named(dtype) or _dtype_of(start, stop, step)
    return _create(lambda xp: xp.arange(start, stop, step, dtype=chosen), device, requires_grad)


def is_array(value: Any) -> bool:
    """Whether a value is a Tensor or an array, of any number of axes, and not a number."""
    return hasattr(value, "ndim") and not isinstance(value, np.generic)


def linspace(
    start: Any,
    stop: Any,
    /,
    num: int = 50,
    *,
    endpoint: bool = True,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    axis: int = 0,
) -> Tensor:
    """``num`` evenly spaced numbers from ``start`` to ``stop``, which is included.

    They have the default dtype, or a complex one where an end is complex, unless ``dtype`` is
    given. Ends that are arrays broadcast and may have a gradient; the numbers lie along a new
    axis.

    >>> import gpugrad as gg
    >>> gg.linspace(0, 1, 3)
    tensor([0. , 0.5, 1. ])
    """
    if num < 0:
        raise ShapeError(f"linspace: expected num of 0 or more, got {num}")
    if is_array(start) or is_array(stop):
        result = _between(start, stop, num, endpoint, device, axis)
        result = result if dtype is None or result.dtype == dtype else result.astype(dtype)
        return result.requires_grad_() if requires_grad else result
    chosen = named(dtype) or _dtype_of(start, stop, 0.0)
    return _create(
        lambda xp: _spaced(xp, start, stop, num, endpoint, np.dtype(chosen)), device, requires_grad
    )


def _spaced(xp: Any, start: Any, stop: Any, num: int, endpoint: bool, dtype: np.dtype) -> Any:
    """linspace of two numbers; of complex ones by parts, which CuPy's function does not take."""
    if dtype.kind != "c":
        return xp.linspace(start, stop, num, endpoint=endpoint, dtype=dtype)
    first, last = complex(start), complex(stop)
    result = xp.zeros(num, "complex128")
    result.real = xp.linspace(first.real, last.real, num, endpoint=endpoint)
    result.imag = xp.linspace(first.imag, last.imag, num, endpoint=endpoint)
    return result.astype(dtype)


def _between(start: Any, stop: Any, num: int, endpoint: bool, device: Any, axis: int) -> Tensor:
    """`linspace` of arrays: exact at both ends."""
    operand = start if isinstance(start, Tensor) else stop
    if isinstance(operand, Tensor) and device is None:
        device = operand.device
    # Numbers stay numbers, so that they promote nothing.
    start, stop = (_end(end, device) if is_array(end) else end for end in (start, stop))
    steps = num - 1 if endpoint else num
    span = TENSORS.subtract(stop, start)
    weights = TENSORS.arange_like(span, num).astype(np.finfo(span.dtype).dtype) / max(steps, 1)
    weights = weights.reshape((num,) + (1,) * span.ndim)
    last = stop if isinstance(stop, Tensor) else full_like(span, stop)
    ends = weights == 1 if endpoint and num > 1 else weights > 1
    result: Tensor = TENSORS.where(ends, last, start + weights * span)
    return result if axis == 0 else TENSORS.moveaxis(result, 0, axis)


def _end(end: Any, device: Any) -> Tensor:
    """An end as a Tensor; whole numbers, of which a difference may wrap around, in double."""
    end = as_tensor(end, device=device)
    return end if end.dtype.kind in "fc" else end.astype(np.float64)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A matrix with ones on its diagonal ``k`` and zeros elsewhere."""
    return _create(
        lambda xp: xp.eye(n_rows, n_cols, k=k, dtype=named(dtype) or get_default_dtype()),
        device,
        requires_grad,
    )


def full_like(
    x: Any,
    /,
    fill_value: Any,
    *,
    dtype: Any = None,
    shape: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of one number, with the shape, dtype and device of ``x`` unless they are given."""
    like = as_tensor(x)._array
    sizes = like.shape if shape is None else shape
    dtype = named(dtype) or like.dtype
    if isinstance(fill_value, Tensor):
        return _filled(fill_value, sizes, dtype, device or device_of(like), requires_grad)

    def make(xp: Any) -> Any:
        if getattr(xp, "batched", False):
            return xp.full_like(like, fill_value, dtype=dtype, shape=sizes)
        return xp.full(sizes, fill_value, dtype=dtype)

    return _create(make, device, requires_grad, like)


def zeros_like(
    x: Any, /, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of zeros, with the shape, dtype and device of ``x`` unless they are given."""
    return full_like(x, 0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones_like(
    x: Any, /, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of ones, with the shape, dtype and device of ``x`` unless they are given."""
    return full_like(x, 1, dtype=dtype, device=device, requires_grad=requires_grad)


def empty_like(
    x: Any, /, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor with uninitialised elements, with the shape, dtype and device of ``x``."""
    like = as_tensor(x)._array
    dtype = named(dtype) or like.dtype
    if getattr(namespace_of(like), "batched", False):
        return zeros_like(x, dtype=dtype, device=device, requires_grad=requires_grad)
    return _create(lambda xp: xp.empty(like.shape, dtype=dtype), device, requires_grad, like)


def _begin_bfloat16() -> None:
    from gpugrad.engine import bfloat16  # few need it

    bfloat16.begin()


use_tensor_class(Tensor, raw_array, weak_array)
when_bfloat16_begins(_begin_bfloat16)

TENSORS.__dict__.update(zeros_like=zeros_like, ones_like=ones_like, full_like=full_like)
