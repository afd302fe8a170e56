"""Bits of bytes, packed and unpacked. Imports manipulation and tensor."""

from typing import Any

import numpy as np

from gpugrad.errors import ArgumentError, DTypeError
from gpugrad.functions.manipulation import moveaxis, raveled_or_along, reshape
from gpugrad.tensor import OPS, Tensor, creation

__all__ = ["packbits", "unpackbits"]


def _shifts(name: str, x: Tensor, bitorder: str) -> Tensor:
    """The shifts of the eight bits of a byte, on the device of x."""
    if bitorder not in ("big", "little"):
        raise ArgumentError(f"{name}: expected bitorder 'big' or 'little', got {bitorder!r}")
    bits = np.arange(8, dtype=np.uint8)
    return Tensor(x.device.send(bits if bitorder == "little" else bits[::-1].copy()))


def _longer(bits: Tensor, more: int) -> Tensor:
    """Bits with zeros appended along the last axis."""
    return OPS["pad_zeros"](bits, pad_width=((0, 0),) * (bits.ndim - 1) + ((0, more),))


def packbits(x: Any, /, axis: int | None = None, bitorder: str = "big") -> Tensor:
    """Booleans, or whether numbers are not 0, packed into bytes, along an axis or raveled.

    >>> import gpugrad as gg
    >>> gg.packbits(gg.asarray([1, 0, 0, 0, 0, 0, 0, 1, 1]))
    tensor([129, 128], dtype=uint8)
    """
    x = creation.asarray(x).detach()
    if x.dtype.kind not in "iub":
        raise DTypeError(f"packbits: expected whole numbers or booleans, got {x.dtype}")
    shifts = _shifts("packbits", x, bitorder)
    x, axis = raveled_or_along("packbits", x, axis)
    bits = moveaxis((x != 0).astype(np.uint8), axis, -1)
    bits = _longer(bits, -bits.shape[-1] % 8)
    bits = reshape(bits, (*bits.shape[:-1], bits.shape[-1] // 8, 8))
    return moveaxis(OPS["sum"](bits << shifts, axis=-1).astype(np.uint8), -1, axis)


def unpackbits(
    x: Any, /, axis: int | None = None, count: int | None = None, bitorder: str = "big"
) -> Tensor:
    """The bits of bytes, as 0 and 1 of dtype uint8, along an axis or raveled.

    ``count`` is their number, zeros being appended; a negative one drops as many from the end.
    """
    x = creation.asarray(x).detach()
    if x.dtype != np.uint8:
        raise DTypeError(f"unpackbits: expected dtype uint8, got {x.dtype}")
    shifts = _shifts("unpackbits", x, bitorder)
    x, axis = raveled_or_along("unpackbits", x, axis)
    bits = (moveaxis(x, axis, -1)[..., None] >> shifts) & np.uint8(1)
    bits = reshape(bits, (*bits.shape[:-2], 8 * bits.shape[-2]))
    if count is not None:
        bits = _longer(bits, max(count - bits.shape[-1], 0))[..., :count]
    return moveaxis(bits, -1, axis)
