"""CUDA through CuPy: whether it works here, its memory, its arrays. Imports errors, probe.

The public face is ``gpugrad.cuda``. CuPy is imported when it is first needed, never by
``import gpugrad``.
"""

import contextlib
import re
import sys
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Any

import numpy

from gpugrad import kernels
from gpugrad.backend import memory, products
from gpugrad.backend.cupy_namespace import CupyNamespace
from gpugrad.backend.mended_ufuncs import UFUNCS
from gpugrad.backend.namespace import FORMULAS, LIBRARIES, namespace_of, register
from gpugrad.backend.probe import Probe, Step, probe, reset
from gpugrad.backend.special import Special
from gpugrad.errors import DeviceError

__all__ = [
    "Probe",
    "Step",
    "current_device",
    "device_count",
    "empty_cache",
    "is_available",
    "memory_stats",
    "probe",
    "register_arrays",
    "reset",
    "reset_peak",
    "synchronize",
    "why_unavailable",
]


def is_available() -> bool:
    """True where CUDA works: CuPy imports, allocates, runs a kernel and multiplies matrices.

    >>> is_available() == (why_unavailable() is None)
    True
    """
    return probe().ok


def why_unavailable() -> str | None:
    """What keeps CUDA from working and what mends it, in one line; None where it works.

    >>> reason = why_unavailable()
    >>> reason is None or reason.endswith(".")
    True
    """
    return probe().reason


def device_count() -> int:
    """How many CUDA devices can be used: 0 where CUDA does not work.

    >>> (device_count() > 0) == is_available()
    True
    """
    return int(_cupy().cuda.runtime.getDeviceCount()) if is_available() else 0


def current_device() -> int:
    """The index of the device on which CuPy works in this thread; DeviceError without CUDA.

    >>> current_device() if is_available() else 0
    0
    """
    cupy = sys.modules.get("cupy")
    if cupy is None or probe().reason is not None:
        require()
        cupy = _cupy()
    found: int = cupy.cuda.device.get_device_id()
    return found


def synchronize(device: Any = None) -> None:
    """Wait until the device has done all that it was given; needed before a clock is read.

    ``device`` is an index, a name such as "cuda:1", a Device, or None for the current
    one. DeviceError where CUDA does not work; ``Device.synchronize`` does nothing on a CPU.

    >>> if is_available():
    ...     synchronize()
    """
    with _on(device) as cupy:
        cupy.cuda.runtime.deviceSynchronize()


def memory_stats(device: Any = None) -> dict[str, int]:
    """The memory of a device, in bytes; ``device`` as for ``synchronize``.

    - ``used``: held by living arrays, from CuPy's default pool;
    - ``peak``: the most that ``used`` has been since `reset_peak`, or since the first call of
      either of the two functions: who does not ask does not pay for the counting;
    - ``reserved``: taken from the driver by that pool, ``used`` and its cache together;
    - ``total`` and ``free``: of the whole device, with other processes counted.

    What another allocator (``cupy.cuda.set_allocator``) hands out is seen in ``free`` alone.
    Where several threads allocate, what one of them frees in the same instant that another
    allocates may be missing in ``peak``.

    >>> if is_available():
    ...     assert memory_stats()["used"] <= memory_stats()["peak"] <= memory_stats()["total"]
    """
    with _on(device) as cupy:
        pool = cupy.get_default_memory_pool()
        free, total = cupy.cuda.runtime.memGetInfo()
        return {
            "used": int(pool.used_bytes()),
            "peak": memory.peak(cupy),
            "reserved": int(pool.total_bytes()),
            "free": int(free),
            "total": int(total),
        }


def reset_peak(device: Any = None) -> None:
    """Let the ``peak`` of `memory_stats` begin anew, at what is in use now.

    Counting puts a function before the allocator of CuPy's default pool, in all threads and for
    the rest of the process; it adds some tenths of a microsecond to each allocation. ``device`` as
    for ``synchronize``.

    >>> if is_available():
    ...     reset_peak()
    """
    with _on(device) as cupy:
        memory.reset_peak(cupy)


def empty_cache() -> None:
    """Give what CuPy's pools hold unused, device and pinned memory, back to the driver.

    Living arrays stay. DeviceError where CUDA does not work.

    >>> if is_available():
    ...     empty_cache()
    """
    require()
    cupy = _cupy()
    cupy.get_default_memory_pool().free_all_blocks()
    cupy.get_default_pinned_memory_pool().free_all_blocks()


# ---------------------------------------------------------------- for gpugrad.backend.device


def require(index: int | None = None) -> None:
    """Raise DeviceError unless CUDA works and, where one is given, has the device ``index``."""
    reason = probe().reason
    if reason is not None:
        asked = "cuda" if index is None else f"cuda:{index}"
        raise DeviceError(f"{asked}: CUDA does not work here: {reason}")
    if index is not None:
        count = device_count()
        if not 0 <= index < count:
            names = ", ".join(f"cuda:{i}" for i in range(count))
            has = f"{count} CUDA device{'s' * (count > 1)}: {names}"
            raise DeviceError(f"cuda:{index}: this machine has {has}")


def on_index(index: int) -> Any:
    """A context manager that makes a device CuPy's current one in this thread."""
    return _cupy().cuda.Device(index)


def _cupy() -> Any:
    return sys.modules.get("cupy") or import_module("cupy")


@contextlib.contextmanager
def _on(device: Any) -> Iterator[Any]:
    """CuPy, while a device given as index, name, Device or None is the current one."""
    name = re.fullmatch(r"(?:cuda:)?(\d+)|cuda|None", str(device))
    if name is None:
        raise DeviceError(f'expected a CUDA device, such as 0 or "cuda:0", got {str(device)!r}')
    index = current_device() if name[1] is None else int(name[1])
    require(index)
    with on_index(index):
        yield _cupy()


# ---------------------------------------------------------------- CuPy's arrays


def register_arrays() -> None:
    """Let cupy.ndarray be computed on with CuPy. Imports CuPy; needs no GPU.

    With GPUGRAD_FUSION=0 no kernel of `gpugrad.kernels` stands in for a formula.
    """
    cupy = import_module("cupy")
    try:
        several = cupy.cuda.runtime.getDeviceCount() > 1
    except RuntimeError:  # no driver: names and signatures can be looked up all the same
        several = False
    checks = _check_each_device if several else _check_one_device
    multiplied = products.Products(cupy)
    fast: dict[str, Any] = {
        "argpartition_order": _argpartition_order,
        "cholesky": _cholesky,
        "matmul": multiplied.matmul,
        "pinv": _pinv,
        "solve_triangular": _solve_triangular,
    }
    kind: type[CupyNamespace] = CupyNamespace
    if kernels.enabled():
        from gpugrad.kernels.elementwise import FusingNamespace
        from gpugrad.kernels.epilogue import Epilogue
        from gpugrad.kernels.layer_norm import LayerNorm
        from gpugrad.kernels.multi_tensor import MultiTensor
        from gpugrad.kernels.ones import Ones
        from gpugrad.kernels.rows import Rows
        from gpugrad.kernels.squares import Squares

        kind = FusingNamespace
        for family in (Rows, LayerNorm, Squares, Ones):
            fast |= family(cupy).functions()
        epilogue = Epilogue(cupy, multiply=multiplied.multiply)
        fast |= {"multi_tensor": MultiTensor(cupy), "epilogue": epilogue}
        fast |= {"add_product": multiplied.add_product}
        fast |= epilogue.functions()
    space = kind(cupy, fast=fast, checks=checks, alone=not several)
    if kind is CupyNamespace:
        for name, formula in UFUNCS.items():
            setattr(space, name, partial(formula, space, cupy))
    space.special = Special("cupyx.scipy.special", mending=space)
    register(cupy.ndarray, space)


LIBRARIES["cupy"] = register_arrays


def _cholesky(x: Any, /) -> Any:
    """NaN for a matrix that is not positive definite; cuSOLVER leaves what it came to."""
    cupy = _cupy()
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
    return _cupy().argsort(x, axis=axis)


def _pinv(x: Any, /, rcond: Any = 1e-15) -> Any:
    """As CuPy's, in which an assignment through a mask waits for the device."""
    if not x.size or x.dtype.char not in "fdFD":
        return FORMULAS["pinv"](namespace_of(x), x, rcond)
    cupy = _cupy()
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
            _refuse(op, raws)


def _check_each_device(op: str, raws: tuple[Any, ...]) -> None:
    """As ``_check_one_device``, and CuPy arrays must be on one GPU: the current one.

    CuPy would let the current GPU read the other's memory through peer access, and put
    the result on a device that nobody chose.
    """
    cupy = _cupy()
    array = cupy.ndarray
    home = None
    for raw in raws:
        if isinstance(raw, array):
            found = raw.device.id
            if home is None:
                home = found
            elif home != found:
                _refuse(op, raws)
        elif isinstance(raw, numpy.ndarray):
            _refuse(op, raws)
    if home is not None:
        current = cupy.cuda.device.get_device_id()
        if home != current:
            raise DeviceError(
                f"{op}: the operands are on cuda:{home}, but CuPy's current device in this "
                f'thread is cuda:{current}. Work inside with gpugrad.device("cuda:{home}"):'
            )


def _refuse(op: str, raws: tuple[Any, ...]) -> None:
    from gpugrad.backend.device import check_same_device  # which stands on this module

    check_same_device(op, raws)
