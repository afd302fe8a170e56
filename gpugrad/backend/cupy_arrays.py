"""The namespace of CuPy arrays, with replacements of functions that differ from NumPy's.

Imports cupy_namespace, device, cupy_ufuncs, products and special, and CuPy at its first array.
`gpugrad.kernels.attach` makes the same namespace with kernels.
"""

import sys
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

import numpy

from gpugrad.backend.cupy_namespace import CupyNamespace
from gpugrad.backend.cupy_ufuncs import UFUNCS
from gpugrad.backend.device import check_same_device
from gpugrad.backend.namespace import FORMULAS, namespace_of, register
from gpugrad.backend.products import Products
from gpugrad.backend.special import Special
from gpugrad.errors import DeviceError

__all__ = ["make_namespace", "register_arrays"]

S = TypeVar("S", bound=CupyNamespace)


def make_namespace(cupy: Any, cls: type[S], products: Products, **functions: Any) -> S:
    """A namespace of class ``cls`` for CuPy arrays, with more ``functions`` by name."""
    try:
        several = cupy.cuda.runtime.getDeviceCount() > 1
    except RuntimeError:  # no driver: names and signatures are there all the same
        several = False
    replacements = {
        "argpartition_order": _argpartition_order,
        "cholesky": _cholesky,
        "full_like": _full_like,
        "matmul": products.matmul,
        "pinv": _pinv,
        "solve_triangular": _solve_triangular,
    }
    checks = _check_each_device if several else _check_one_device
    namespace = cls(cupy, fast=replacements | functions, checks=checks, alone=not several)
    namespace.special = Special("cupyx.scipy.special", replacing=namespace)
    return namespace


def register_arrays() -> None:
    """Register cupy.ndarray with CuPy's functions and without kernels of gpugrad."""
    cupy = import_module("cupy")
    namespace = make_namespace(cupy, CupyNamespace, Products(cupy))
    for name, formula in UFUNCS.items():
        setattr(namespace, name, partial(formula, namespace, cupy))
    register(cupy.ndarray, namespace)


def _cholesky(x: Any, /) -> Any:
    """NaN for a matrix that is not positive definite, where cuSOLVER leaves a partial result."""
    cupy = sys.modules["cupy"]
    factor = FORMULAS["cholesky"](namespace_of(x), x)
    diagonal = cupy.diagonal(factor, axis1=-2, axis2=-1).real
    definite = (diagonal > 0).all(axis=-1)[..., None, None]
    return cupy.where(definite, factor, factor.dtype.type(numpy.nan))


def _full_like(x: Any, value: Any, dtype: Any = None, shape: Any = None) -> Any:
    """Zeros by a fill of memory, which takes no kernel."""
    cupy = sys.modules["cupy"]
    if value.__class__ is int and not value:
        return cupy.zeros_like(x, dtype=dtype, shape=shape)
    return cupy.full_like(x, value, dtype=dtype, shape=shape)


def _argpartition_order(x: Any, /, kth: Any, axis: int | None) -> Any:
    """The complete order; CuPy's argpartition is a full sort that waits for the device."""
    if axis is None:
        x, axis = x.reshape(-1), -1
    size = x.shape[axis]
    for index in numpy.ravel(kth):
        if not -size <= index < size:
            raise ValueError(f"kth(={index}) out of bounds ({size})")
    return sys.modules["cupy"].argsort(x, axis=axis)


def _pinv(x: Any, /, rcond: Any = 1e-15) -> Any:
    """CuPy's formula without its assignment through a mask, which waits for the device."""
    if not x.size or x.dtype.char not in "fdFD":
        return FORMULAS["pinv"](namespace_of(x), x, rcond)
    cupy = sys.modules["cupy"]
    u, s, vt = cupy.linalg.svd(x.conj(), full_matrices=False)
    least = (rcond * s.max(axis=-1))[..., None]
    inverse = cupy.where(s <= least, s.dtype.type(0), 1 / s)
    return cupy.matmul(vt.swapaxes(-2, -1), inverse[..., None] * u.swapaxes(-2, -1))


def _solve_triangular(a: Any, b: Any, lower: bool = False, unit_diagonal: bool = False) -> Any:
    """By substitution for one matrix; CuPy has no substitution for stacks."""
    options = {"lower": lower, "unit_diagonal": unit_diagonal}
    if a.dtype == b.dtype and a.dtype.char in "fdFD" and a.ndim == b.ndim == 2 and b.size:
        return import_module("cupyx.scipy.linalg").solve_triangular(a, b, **options)
    return FORMULAS["solve_triangular"](namespace_of(a), a, b, **options)


def _check_one_device(op: str, raws: tuple[Any, ...]) -> None:
    """Refuse NumPy arrays with CuPy arrays. NumPy scalars are numbers and may meet them."""
    for raw in raws:
        if isinstance(raw, numpy.ndarray):
            check_same_device(op, raws)


def _check_each_device(op: str, raws: tuple[Any, ...]) -> None:
    """As ``_check_one_device``; in addition CuPy arrays must be on the current GPU.

    CuPy would read the memory of another GPU through peer access, and create the result on the
    current GPU, which nobody chose.
    """
    cupy = sys.modules["cupy"]
    array = cupy.ndarray
    home = None
    for raw in raws:
        if isinstance(raw, array):
            index = raw.device.id
            if home is None:
                home = index
            elif home != index:
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
