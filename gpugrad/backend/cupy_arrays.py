"""The namespace of CuPy's arrays: its functions, and what mends those that differ from NumPy's.

Imports cupy_namespace, device, mended_ufuncs, products and special; CuPy with its first array.
`gpugrad.kernels` makes the same namespace with kernels in it.
"""

import sys
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

import numpy

from gpugrad.backend.cupy_namespace import CupyNamespace
from gpugrad.backend.device import check_same_device
from gpugrad.backend.mended_ufuncs import UFUNCS
from gpugrad.backend.namespace import FORMULAS, LIBRARIES, namespace_of, register
from gpugrad.backend.products import Products
from gpugrad.backend.special import Special
from gpugrad.errors import DeviceError

__all__ = ["make_namespace", "register_arrays"]

S = TypeVar("S", bound=CupyNamespace)


def make_namespace(cupy: Any, cls: type[S], products: Products, **functions: Any) -> S:
    """A namespace of a class for CuPy's arrays; ``functions`` are those of its own."""
    try:
        several = cupy.cuda.runtime.getDeviceCount() > 1
    except RuntimeError:  # no driver: names and signatures can be looked up all the same
        several = False
    mended = {
        "argpartition_order": _argpartition_order,
        "cholesky": _cholesky,
        "matmul": products.matmul,
        "pinv": _pinv,
        "solve_triangular": _solve_triangular,
    }
    checks = _check_each_device if several else _check_one_device
    namespace = cls(cupy, fast=mended | functions, checks=checks, alone=not several)
    namespace.special = Special("cupyx.scipy.special", mending=namespace)
    return namespace


def register_arrays() -> None:
    """Let cupy.ndarray be computed on with CuPy's functions and no kernel of gpugrad's."""
    cupy = import_module("cupy")
    namespace = make_namespace(cupy, CupyNamespace, Products(cupy))
    for name, formula in UFUNCS.items():
        setattr(namespace, name, partial(formula, namespace, cupy))
    register(cupy.ndarray, namespace)


LIBRARIES["cupy"] = register_arrays


def _cholesky(x: Any, /) -> Any:
    """NaN for a matrix that is not positive definite; cuSOLVER leaves what it came to."""
    cupy = sys.modules["cupy"]
    factor = FORMULAS["cholesky"](namespace_of(x), x)
    diagonal = cupy.diagonal(factor, axis1=-2, axis2=-1).real
    definite = (diagonal > 0).all(axis=-1)[..., None, None]
    return cupy.where(definite, factor, factor.dtype.type(numpy.nan))


def _argpartition_order(x: Any, /, kth: Any, axis: int | None) -> Any:
    """The whole order, as CuPy's function gives it, which waits for the device as well."""
    if axis is None:
        x, axis = x.reshape(-1), -1
    size = x.shape[axis]
    for place in numpy.ravel(kth):
        if not -size <= place < size:
            raise ValueError(f"kth(={place}) out of bounds ({size})")
    return sys.modules["cupy"].argsort(x, axis=axis)


def _pinv(x: Any, /, rcond: Any = 1e-15) -> Any:
    """As CuPy's, in which an assignment through a mask waits for the device."""
    if not x.size or x.dtype.char not in "fdFD":
        return FORMULAS["pinv"](namespace_of(x), x, rcond)
    cupy = sys.modules["cupy"]
    u, s, vt = cupy.linalg.svd(x.conj(), full_matrices=False)
    least = (rcond * s.max(axis=-1))[..., None]
    inverse = cupy.where(s <= least, s.dtype.type(0), 1 / s)
    return cupy.matmul(vt.swapaxes(-2, -1), inverse[..., None] * u.swapaxes(-2, -1))


def _solve_triangular(a: Any, b: Any, lower: bool = False, unit_diagonal: bool = False) -> Any:
    """By substitution for one matrix; CuPy has none for stacks."""
    words = {"lower": lower, "unit_diagonal": unit_diagonal}
    if a.dtype == b.dtype and a.dtype.char in "fdFD" and a.ndim == b.ndim == 2 and b.size:
        return import_module("cupyx.scipy.linalg").solve_triangular(a, b, **words)
    return FORMULAS["solve_triangular"](namespace_of(a), a, b, **words)


def _check_one_device(op: str, raws: tuple[Any, ...]) -> None:
    """Refuse NumPy arrays beside CuPy arrays; NumPy scalars are numbers and welcome."""
    for raw in raws:
        if isinstance(raw, numpy.ndarray):
            check_same_device(op, raws)


def _check_each_device(op: str, raws: tuple[Any, ...]) -> None:
    """As ``_check_one_device``, and CuPy arrays must be on one GPU: the current one.

    CuPy would let the current GPU read the other's memory through peer access, and put
    the result on a device that nobody chose.
    """
    cupy = sys.modules["cupy"]
    array = cupy.ndarray
    home = None
    for raw in raws:
        if isinstance(raw, array):
            found = raw.device.id
            if home is None:
                home = found
            elif home != found:
                check_same_device(op, raws)
        elif isinstance(raw, numpy.ndarray):
            check_same_device(op, raws)
    if home is not None:
        current = cupy.cuda.device.get_device_id()
        if home != current:
            raise DeviceError(
                f"{op}: the operands are on cuda:{home}, but CuPy's current device in this "
                f'thread is cuda:{current}. Work inside with gpugrad.device("cuda:{home}"):'
            )
