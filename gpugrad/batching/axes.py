"""Rules of what names axes: reductions, scans, shapes, joins. Imports operands, engine.

The axes of an array with the hidden one are those without it, moved by one.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.batching.operands import Operands, filled, inner_axis

__all__ = ["RULES"]


def _parameters(
    names: str, defaults: dict[str, Any], operands: Operands, count: int, given: dict[str, Any]
) -> dict[str, Any]:
    """The parameters by name, of which some may be among the operands."""
    by_position = zip(names.split(), operands.arrays[count:])
    values = {**defaults, **dict(by_position), **given}
    operands.arrays, operands.held = operands.arrays[:count], operands.held[:count]
    return values


def _inner_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(1, ndim + 1))
    return tuple([inner_axis(one, ndim) for one in (axis if _is_several(axis) else (axis,))])


def _is_several(axis: Any) -> bool:
    return isinstance(axis, tuple | list)


def _reduction(names: str = "axis keepdims", count: int = 1, **defaults: Any) -> Callable[..., Any]:
    """A function along axes, all of them for None, of one array or several of one element."""
    defaults = {"axis": None, **defaults}

    def rule(operands: Operands, **given: Any) -> Any:
        values = _parameters(names, defaults, operands, count, given)
        # The last of the arrays has all axes.
        ndim, arrays = operands.ndim(count - 1), filled(operands)
        axis = values.pop("axis")
        if not ndim:  # a number, along no axis, 0 or -1
            if axis not in (None, (), 0, -1):
                raise np.exceptions.AxisError(f"axis {axis} is out of bounds for a number")
            arrays = [array.reshape((-1, 1)) for array in arrays]
            y = operands.compute(*arrays, axis=1, **{**values, **_without_axes(values)})
            return _reshaped(y, operands.size)
        axes = _inner_axes(axis, ndim)
        return operands.compute(*arrays, axis=axes[0] if len(axes) == 1 else axes, **values)

    return rule


def _without_axes(values: dict[str, Any]) -> dict[str, Any]:
    return {"keepdims": False} if "keepdims" in values else {}


def _reshaped(y: Any, size: int) -> Any:
    return (
        tuple([one.reshape((size,)) for one in y]) if isinstance(y, tuple) else y.reshape((size,))
    )


def _flattening(names: str, keeps: bool, **defaults: Any) -> Callable[..., Any]:
    """A function along one axis; for None of the flattened array, whose shape may be restored."""

    def rule(operands: Operands, **given: Any) -> Any:
        values = _parameters(names, defaults, operands, 1, given)
        (x,), ndim = operands.arrays, operands.ndim(0)
        axis = values["axis"]
        if axis is None or not ndim:
            flat = x.reshape((operands.size, math.prod(x.shape[1:])))
            keepdims = values.pop("keepdims", False)
            y = operands.compute(flat, **{**values, "axis": 1})
            if keeps:
                return y.reshape(x.shape)
            return y.reshape((operands.size, *(1,) * ndim)) if keepdims else y
        several = _inner_axes(axis, ndim)
        return operands.compute(
            x, **{**values, "axis": several if _is_several(axis) else several[0]}
        )

    return rule


def _flip(operands: Operands, axis: Any = None) -> Any:
    (x,) = operands.arrays
    return operands.compute(x, axis=_inner_axes(axis, operands.ndim(0)))


def _fourier(operands: Operands, *, axes: Any = None, axis: Any = None, **given: Any) -> Any:
    names = {"fft.irfft": "n", "fourier": "axes inverse", "fourier_of_real": "axes"}
    values = _parameters(names.get(operands.name, "axes"), {}, operands, 1, given)
    (x,), ndim = operands.arrays, operands.ndim(0)
    axes = values.pop("axes", axes)
    if axes is not None:
        values["axes"] = tuple([inner_axis(one, ndim) for one in axes])
    if axis is not None:
        values["axis"] = inner_axis(axis, ndim)
    function = operands.xp
    for part in operands.name.split("."):
        function = getattr(function, part)
    return function(x, **values)


# ---------------------------------------------------------------- shapes


def _reshape(operands: Operands, shape: Any = None) -> Any:
    x = operands.arrays[0]
    shape = operands.arrays[1] if shape is None else shape
    sizes = [int(n) for n in (shape if _is_several(shape) else (shape,))]
    if -1 in sizes:
        known = -math.prod(sizes)
        sizes[sizes.index(-1)] = math.prod(x.shape[1:]) // known if known else 0
    return x.reshape((operands.size, *sizes))


def _ravel(operands: Operands) -> Any:
    (x,) = operands.arrays
    return x.reshape((operands.size, math.prod(x.shape[1:])))


def _transpose(operands: Operands, axes: Any = None) -> Any:
    x, *given = operands.arrays
    axes = given[0] if given else axes
    ndim = operands.ndim(0)
    order = range(ndim, 0, -1) if axes is None else [inner_axis(axis, ndim) for axis in axes]
    return operands.xp.transpose(x, (0, *order))


def _swapaxes(operands: Operands) -> Any:
    x, first, second = operands.arrays
    ndim = operands.ndim(0)
    return operands.xp.swapaxes(x, inner_axis(first, ndim), inner_axis(second, ndim))


def _moveaxis(operands: Operands, source: Any = None, destination: Any = None) -> Any:
    x, *given = operands.arrays
    source, destination = given or (source, destination)
    ndim = operands.ndim(0)
    return operands.xp.moveaxis(x, _inner_axes(source, ndim), _inner_axes(destination, ndim))


def _broadcast_to(operands: Operands, shape: Any = None) -> Any:
    x, *given = operands.arrays
    shape = given[0] if given else shape
    shape = tuple(shape) if _is_several(shape) else (shape,)
    own = x.shape[1:]
    lifted = x.reshape((operands.size, *(1,) * (len(shape) - len(own)), *own))
    return operands.xp.broadcast_to(lifted, (operands.size, *shape))


def _expand_dims(operands: Operands, axis: Any = None) -> Any:
    x, *given = operands.arrays
    axis = given[0] if given else axis
    several = axis if _is_several(axis) else (axis,)
    ndim = operands.ndim(0) + len(several)
    return operands.xp.expand_dims(x, tuple([inner_axis(one, ndim) for one in several]))


def _squeeze(operands: Operands, axis: Any = None) -> Any:
    x, *given = operands.arrays
    axis = given[0] if given else axis
    own = operands.shape(0)
    if axis is None:
        axis = tuple([index for index, size in enumerate(own) if size == 1])
    return operands.xp.squeeze(x, _inner_axes(axis, len(own)))


def _pad(operands: Operands, pad_width: Any = None, **parameters: Any) -> Any:
    x, *given = operands.arrays
    width = given[0] if given else pad_width
    if not width or len(width) != operands.ndim(0):
        raise ValueError(f"expected a width for each of {operands.ndim(0)} axes, got {width}")
    return operands.compute(x, ((0, 0), *width), **parameters)


def _windows(operands: Operands, sizes: Any = None, axes: Any = None) -> Any:
    x, *given = operands.arrays
    sizes, axes = given or (sizes, axes)
    ndim = operands.ndim(0) - (len(sizes) if operands.name == "overlapped" else 0)
    return operands.compute(x, sizes, tuple([inner_axis(axis, ndim) for axis in axes]))


def _diagonal(operands: Operands, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    (x,), ndim = operands.arrays, operands.ndim(0)
    return operands.xp.diagonal(
        x, offset=offset, axis1=inner_axis(axis1, ndim), axis2=inner_axis(axis2, ndim)
    )


def _from_diagonal(
    operands: Operands, offset: int, axis1: int, axis2: int, shape: tuple[int, ...]
) -> Any:
    (d,), ndim = operands.arrays, len(shape)
    return operands.xp.from_diagonal(
        d, offset=offset, axis1=inner_axis(axis1, ndim), axis2=inner_axis(axis2, ndim),
        shape=(operands.size, *shape),
    )  # fmt: skip


def _triangle(operands: Operands, k: int = 0) -> Any:
    (x,) = operands.arrays
    if operands.ndim(0) == 1:  # NumPy makes a matrix of it, each row of which it is
        x = operands.xp.broadcast_to(x[:, None, :], (*x.shape, x.shape[1]))
    return operands.compute(x, k=k)


# ---------------------------------------------------------------- several arrays


def _join(operands: Operands, axis: Any = 0, new: bool = False) -> Any:
    arrays = filled(operands)
    ndim = len(arrays[0].shape) - 1 + new
    function = operands.xp.stack if new else operands.xp.concatenate
    return function(arrays, axis=inner_axis(axis, ndim))


def _stack(operands: Operands, axis: Any = 0) -> Any:
    return _join(operands, axis, new=True)


def _full_like(operands: Operands, **parameters: Any) -> Any:
    x, value = operands.arrays
    shape = parameters.pop("shape", None)
    shape = operands.shape(0) if shape is None else shape
    if not operands.held[0]:
        x = value
        parameters.setdefault("dtype", operands.arrays[0].dtype)
    if operands.held[1]:
        value = value.reshape((-1, *(1,) * (len(shape) - operands.ndim(1)), *operands.shape(1)))
    return operands.xp.full_like(x, value, shape=(operands.size, *shape), **parameters)


def _like(operands: Operands, **parameters: Any) -> Any:
    (x,) = operands.arrays
    if parameters.get("shape") is not None:
        parameters["shape"] = (operands.size, *parameters["shape"])
    return operands.compute(x, **parameters)


_ALL: Sequence[str] = (
    "all",
    "any",
    "count_nonzero",
    "max",
    "mean",
    "min",
    "native_prod",
    "prod",
    "sum",
)
RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_ALL, _reduction()),
    **dict.fromkeys(("std", "var"), _reduction("axis keepdims correction")),
    "logsumexp": _reduction(),
    "logsumexp_vjp": _reduction(count=3),
    **dict.fromkeys(("softmax", "log_softmax"), _reduction("axis", axis=-1)),
    **dict.fromkeys(("softmax_vjp", "log_softmax_vjp"), _reduction("axis", 2)),
    **dict.fromkeys(("argmax", "argmin"), _flattening("axis keepdims", False, axis=None)),
    **dict.fromkeys(
        ("cumsum", "cumprod", "native_cumsum", "native_cumprod"),
        _flattening("axis", False, axis=None),
    ),
    "argsort": _flattening("axis descending stable", False, axis=-1),
    "native_argsort": _flattening("axis", False, axis=-1),
    "argpartition_order": _flattening("kth axis", False),
    "roll": _flattening("shift axis", True, axis=None),
    "flip": _flip,
    **dict.fromkeys(
        ("fft.fftn", "fft.ifftn", "fft.irfft", "fft.rfftn", "fourier", "fourier_of_real",
         "fourier_to_real"), _fourier),
    "reshape": _reshape,
    "ravel": _ravel,
    "transpose": _transpose,
    "swapaxes": _swapaxes,
    "moveaxis": _moveaxis,
    "broadcast_to": _broadcast_to,
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    **dict.fromkeys(("pad", "pad_zeros"), _pad),
    **dict.fromkeys(("windows", "overlapped"), _windows),
    "diagonal": _diagonal,
    "from_diagonal": _from_diagonal,
    **dict.fromkeys(("tril", "triu"), _triangle),
    "concat_arrays": _join,
    "stack_arrays": _stack,
    "full_like": _full_like,
    **dict.fromkeys(("zeros_like", "ones_like", "empty_like"), _like),
}  # fmt: skip
