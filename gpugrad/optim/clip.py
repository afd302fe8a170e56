"""Clipping of gradients, without waiting for the device. Imports tensor and below."""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from gpugrad.backend.device import check_same_device, device_of
from gpugrad.backend.interrupts import Repeatable
from gpugrad.backend.namespace import namespace_of
from gpugrad.backend.precision import kind_of
from gpugrad.engine import versions
from gpugrad.errors import DTypeError, GradientError
from gpugrad.optim.apply import separate
from gpugrad.optim.divided import Parts, parts_of
from gpugrad.optim.recorded import recorded
from gpugrad.optim.settings import flag, number
from gpugrad.tensor import Tensor, get_default_dtype

__all__ = ["clip_grad_norm_", "clip_grad_value_", "get_total_norm"]


def _tensors(who: str, tensors: Any) -> list[Tensor]:
    """One Tensor or several as a list; duplicates count once."""
    if not isinstance(tensors, Iterable):
        raise DTypeError(
            f"{who}: expected Tensors, got {type(tensors).__name__}. Of a model pass "
            "model.parameters()"
        )
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise DTypeError(f"{who}: expected Tensors, got {type(tensor).__name__}")
    return list(dict.fromkeys(tensors))


def _gradients(who: str, parameters: Any) -> tuple[list[Any], Parts | None]:
    """The raw gradients of the parameters that have one, and how those of other processes count."""
    grads = [p.grad for p in _tensors(who, parameters) if p.grad is not None]
    parts = parts_of(grads)
    gradients = [g.data for g in grads] if parts is None else [*parts.own, *parts.whole]
    check_same_device(who, tuple(gradients))
    return gradients, parts


def _norm_of_parts(parts: Parts, order: float) -> Any:
    """The norm of gradients of which each process has some: all processes compute it together.

    The parts' norms are joined in float64, where their squares fit.
    """
    with parts.device.activate():
        namespace, xp = parts.namespace, parts.namespace.module

        def power(arrays: list[Any]) -> Any:
            flats = [_flat(xp, array) for array in arrays if array.size]
            if not flats:
                return xp.zeros((), np.float64)
            norm = _joint_norm(namespace, flats, order).astype(np.float64)
            return norm if order == math.inf else norm**order

        joined = parts.join(power(parts.own), "max" if order == math.inf else "sum")
        rest = power(parts.whole)
        if order == math.inf:
            total = xp.maximum(joined, rest)
        else:
            total = (joined + rest) ** (1 / order)
        dtype = np.zeros((), parts.dtype).real.dtype
        return total.astype(np.float32 if dtype.itemsize < 4 else dtype)


def _flat(xp: Any, g: Any) -> Any:
    flat = (g if kind_of(g.dtype) == "f" else xp.abs(g)).reshape(-1)
    # In half precision squares overflow at 256 and underflow below 2**-12.
    return flat.astype(xp.float32) if g.dtype.itemsize < 4 else flat


def _joint_norm(namespace: Any, flats: Any, order: float) -> Any:
    """The norm of all arrays as one vector, in float64 where squares do not fit into float32."""
    xp, dtype = namespace.module, np.result_type(*(flat.dtype for flat in flats))
    wide = dtype.itemsize < 8 and order != math.inf
    if not (wide and namespace.waits):
        with np.errstate(over="ignore", under="ignore"):
            total = _norm(xp, flats, order)
        # Whether squares overflowed or vanished: on the host it can be looked at.
        if not wide or 0 < total < math.inf:
            return total
    doubles = [flat.astype(xp.float64) for flat in flats]
    return _norm(xp, doubles, order).astype(dtype)


def _norm(xp: Any, flats: Any, order: float) -> Any:
    if order == 2:
        return xp.sqrt(xp.sum(xp.stack([xp.vdot(g, g) for g in flats])))
    if order == math.inf:
        return xp.max(xp.stack([xp.max(xp.abs(g)) for g in flats]))
    return xp.sum(xp.stack([xp.sum(xp.abs(g) ** order) for g in flats])) ** (1 / order)


def _checked(who: str, norm_type: Any) -> float:
    order = math.inf if norm_type == math.inf else number(f"{who}: norm_type", norm_type)
    if order <= 0:
        raise ValueError(f"{who}: norm_type must be above 0, got {norm_type}")
    return order


def _check_finite(who: str, total: Any, order: float) -> None:
    """Raise where the norm is infinite or NaN; this waits for the device."""
    if not bool(namespace_of(total).module.isfinite(total)):
        raise GradientError(
            f"{who}: the norm of order {order:g} of all gradients is {float(total)}, so they "
            "cannot be clipped. See gg.detect_anomaly for the operation that began it, or pass "
            "error_if_nonfinite=False"
        )


def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """The norm of all tensors as one vector, a 0-d Tensor; of gradients, say.

    ``norm_type`` and errors as in `clip_grad_norm_`.

    >>> import gpugrad as gg
    >>> gg.optim.get_total_norm([gg.tensor([3.0]), gg.tensor([[4.0]])])
    tensor(5.)
    """
    who = "get_total_norm"
    order = _checked(who, norm_type)
    flag(f"{who}: error_if_nonfinite", error_if_nonfinite)
    listed = _tensors(who, tensors)
    if (parts := parts_of(listed)) is not None:
        total = _norm_of_parts(parts, order)
        if error_if_nonfinite:
            _check_finite(who, total, order)
        return Tensor(total)
    arrays = [t.data for t in listed]
    check_same_device(who, tuple(arrays))
    filled = [array for array in arrays if array.size]
    if not filled:
        return Tensor(np.zeros((), get_default_dtype()))
    namespace = namespace_of(filled[0])
    with device_of(filled[0]).activate():
        flats = [_flat(namespace.module, array) for array in filled]
        total = _joint_norm(namespace, flats, order)
        if error_if_nonfinite:
            _check_finite(who, total, order)
    return Tensor(total)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients so that their joint norm is at most ``max_norm``; returns the norm.

    The norm, a 0-d Tensor, is that of all gradients as one vector, before clipping. They are
    multiplied in place by min(1, max_norm / (norm + 1e-6)), as in PyTorch; on a GPU the factor
    stays there. Of gradients that are divided among processes (`gpugrad.parallel.shard`) all these
    compute the norm together, and each scales its own. ``norm_type`` is above 0; ``inf`` is the
    largest absolute value. Of complex numbers the absolute values are taken. With
    ``error_if_nonfinite`` a norm that is infinite or NaN raises GradientError and leaves the
    gradients; on a GPU this waits for the norm.

    ValueError for a negative ``max_norm`` or another ``norm_type``, DTypeError for anything but
    Tensors, DeviceError for gradients on two devices.

    >>> import gpugrad as gg
    >>> w = gg.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> gg.optim.clip_grad_norm_([w], max_norm=5.0)
    tensor(10.)
    >>> [round(x, 4) for x in w.grad.tolist()]
    [3.0, 4.0]
    """
    who = "clip_grad_norm_"
    max_norm = number(f"{who}: max_norm", max_norm, 0.0)
    order = _checked(who, norm_type)
    flag(f"{who}: error_if_nonfinite", error_if_nonfinite)
    gradients, parts = _gradients(who, parameters)
    if parts is not None:
        total = _norm_of_parts(parts, order)
        if error_if_nonfinite:
            _check_finite(who, total, order)
        _scale(gradients, total, max_norm)
        return Tensor(total)
    if not gradients:
        return Tensor(np.zeros((), get_default_dtype()))
    namespace = namespace_of(gradients[0])
    with device_of(gradients[0]).activate():
        xp = namespace.module
        filled = [g for g in gradients if g.size]
        if not filled:
            return Tensor(xp.zeros((), gradients[0].dtype))
        multi = namespace.multi_tensor
        dense = multi and all(map(multi.dense, filled)) and all(separate(filled))
        if dense and not error_if_nonfinite:
            total, calls = multi.clip_norm(filled, max_norm, order)
            versions.change(calls, filled)
            return Tensor(total)
        total = _joint_norm(namespace, [_flat(xp, g) for g in filled], order)
        if error_if_nonfinite:
            _check_finite(who, total, order)
        _scale(gradients, total, max_norm)
    return Tensor(total)


def _scale(gradients: list[Any], total: Any, max_norm: float) -> None:
    """Scale raw gradients with the norm ``total`` to the norm ``max_norm``, if that is less."""
    namespace, device = namespace_of(total), device_of(total)
    xp = namespace.module
    with device.activate():
        factor = xp.minimum(max_norm / (total + 1e-6), 1.0)
        # On the host the factor can be read; elsewhere that would wait for the device.
        if namespace.waits or not factor >= 1:
            kind = Repeatable if device.kind == "cuda" else partial
            calls = [kind(xp.multiply, g, factor, g, casting="same_kind") for g in gradients]
            with np.errstate(invalid="ignore"):  # of an infinite one NaN is left
                versions.change(calls, gradients)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clip each element of the gradients to [-clip_value, clip_value], in place.

    Of complex numbers the real and the imaginary parts are clipped separately, as in PyTorch.
    ValueError for a negative ``clip_value``, DTypeError for anything but Tensors.

    >>> import gpugrad as gg
    >>> w = gg.tensor([-3.0, 0.25], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> gg.optim.clip_grad_value_([w], 1.0)
    >>> w.grad
    tensor([-1. ,  0.5])
    """
    limit = number("clip_grad_value_: clip_value", clip_value, 0.0)
    gradients, _ = _gradients("clip_grad_value_", parameters)
    if not gradients:
        return
    namespace = namespace_of(gradients[0])
    with device_of(gradients[0]).activate():
        multi = namespace.multi_tensor
        if multi and all(map(multi.dense, gradients)) and all(separate(gradients)):
            versions.change(multi.changes(_limit, gradients, (limit, -limit)), gradients)
            return
        steps = recorded(_limit, 0, 0, (True, True))
        assert steps is not None
        calls: list[Any] = []
        for g in gradients:
            for part in (g.real, g.imag) if g.dtype.kind == "c" else (g,):
                calls += steps.calls(namespace.module, [part, part, limit, -limit])
        versions.change(calls, gradients)


def _limit(xp: Any, p: Any, g: Any, state: Any, scratch: Any, high: float, low: float) -> None:
    """`clip_grad_value_` of one array, in the form of an optimizer's rule."""
    xp.minimum(g, high, out=p)
    xp.maximum(p, low, out=p)
