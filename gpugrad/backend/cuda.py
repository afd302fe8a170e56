"""CUDA through CuPy: whether it works here, why not, and its memory. Imports only errors.

CuPy is imported when it is first needed, never by ``import gpugrad``. That it imports
says little: its CUDA libraries load lazily and fail at their first use. So whether CUDA
works is decided by a probe, run once per process: one allocation, one elementwise
kernel, one matmul. The first step that fails is the reason that users are shown.
"""

import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy

from gpugrad.backend.namespace import Namespace, register
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
    "synchronize",
    "why_unavailable",
]


@dataclass(frozen=True)
class Step:
    """One step of the probe: its result in words and, where it failed, what mends it."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


@dataclass(frozen=True)
class Probe:
    """The steps that ran, in order. Only the last can have failed; then none followed."""

    steps: tuple[Step, ...]

    @property
    def ok(self) -> bool:
        """True where every step succeeded."""
        return self.steps[-1].ok

    @property
    def reason(self) -> str | None:
        """What failed and what mends it, in one line; None where CUDA works."""
        last = self.steps[-1]
        return None if last.ok else f"{last.detail}. {last.fix}".rstrip(" .") + "."


_lock = threading.Lock()
_kept: Probe | None = None


def probe() -> Probe:
    """The result of trying CUDA on CuPy's current device: tried once per process, then kept.

    >>> [step.name for step in probe().steps][0]
    'import cupy'
    """
    global _kept
    found = _kept
    if found is None:
        with _lock:
            found = _kept
            if found is None:
                found = _kept = _run_probe()
    return found


def reset() -> None:
    """Forget the probe's result, so that the next question tries CUDA again.

    For after something was mended in a running process (memory freed, a library installed).
    """
    global _kept, _lock
    _lock, _kept = threading.Lock(), None


# A CUDA context does not survive a fork: the child asks again, and is told so.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=reset)


def _run_probe() -> Probe:
    state: dict[str, Any] = {}
    steps: list[Step] = []
    for name, attempt in _STEPS:
        try:
            steps.append(Step(name, True, attempt(state)))
        except Exception as error:  # noqa: BLE001  what CuPy raises is the answer we came for
            detail, fix = _diagnose(name, error, state)
            steps.append(Step(name, False, detail, fix))
            break
    return Probe(tuple(steps))


def _try_import(state: dict[str, Any]) -> str:
    state["cupy"] = cupy = import_module("cupy")
    return f"CuPy {cupy.__version__}"


def _try_driver(state: dict[str, Any]) -> str:
    runtime = state["cupy"].cuda.runtime
    count = runtime.getDeviceCount()
    if count == 0:
        raise DeviceError("cudaErrorNoDevice: the driver lists 0 devices")
    version = cuda_version(runtime.driverGetVersion())
    return f"driver for CUDA {version}, {count} device{'s' * (count > 1)}"


def _try_allocation(state: dict[str, Any]) -> str:
    state["x"] = state["cupy"].asarray(numpy.arange(4, dtype=numpy.float32))
    return "16 bytes allocated and copied to the device"


def _try_kernel(state: dict[str, Any]) -> str:
    y = state["x"] * 2 + 1
    _expect(state["cupy"].asnumpy(y), [1, 3, 5, 7])
    return "2 * x + 1 compiled and ran"


def _try_matmul(state: dict[str, Any]) -> str:
    x = state["x"].reshape(2, 2)
    _expect(state["cupy"].asnumpy(x @ x), [[2, 3], [6, 11]])
    return "a 2x2 product ran"


def _expect(got: Any, wanted: Any) -> None:
    if not numpy.array_equal(got, wanted):
        raise DeviceError(f"wrong numbers: expected {wanted}, got {got.tolist()}")


_STEPS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("import cupy", _try_import),
    ("driver", _try_driver),
    ("allocation", _try_allocation),
    ("elementwise kernel", _try_kernel),
    ("matmul", _try_matmul),
)


# ---------------------------------------------------------------- causes and what mends them


def distributions() -> dict[str, str]:
    """The installed distributions that bring a ``cupy`` module: name to version.

    >>> set(distributions()) <= {"cupy", *(f"cupy-cuda{n}x" for n in range(8, 20))}
    True
    """
    from importlib import metadata  # 30 ms, and seldom needed

    names = ["cupy", *(f"cupy-cuda{major}x" for major in range(11, 16))]
    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def duplicates_fix() -> str | None:
    """How to mend several CuPy distributions in one environment; None where all is well."""
    found = distributions()
    if len(found) < 2:
        return None
    return (
        f"Several CuPy distributions overwrite each other's files ({', '.join(found)}): "
        f"pip uninstall -y {' '.join(found)}, then {_INSTALL}"
    )


_INSTALL = 'pip install "gpugrad[cuda12]" (with a driver for CUDA 13 or newer: "gpugrad[cuda13]")'


def _with_libraries() -> str:
    """The distribution to reinstall with its CUDA libraries, by what is installed."""
    named = [name for name in distributions() if name != "cupy"]
    return f'pip install "{named[0] if named else "cupy-cuda12x"}[ctk]"'


def cuda_version(number: int) -> str:
    """CUDA's way of writing versions as an integer, made readable.

    >>> cuda_version(12090)
    '12.9'
    """
    return f"{number // 1000}.{number % 1000 // 10}"


def _text(error: BaseException) -> str:
    """An exception in one line, with its type where the text alone does not tell it."""
    text = " ".join(str(error).split()) or "no message"
    if len(text) > 400:
        text = text[:400] + " ..."
    named = text.startswith(("cuda", "CUDA")) or isinstance(error, DeviceError)
    return text.rstrip(".") if named else f"{type(error).__name__}: {text}".rstrip(".")


def _diagnose(step: str, error: Exception, state: dict[str, Any]) -> tuple[str, str]:
    """Which cause an exception shows: the detail and the fix."""
    text = _text(error)
    if step == "import cupy":
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            return "CuPy is not installed", f"Install it: {_INSTALL}"
        names = distributions()
        installed = ", ".join(f"{name} {version}" for name, version in names.items()) or "unknown"
        again = duplicates_fix() or (
            f"Install it afresh: pip uninstall -y {' '.join(names) or 'cupy'}, then {_INSTALL}"
        )
        return f"CuPy is installed ({installed}) but does not import: {text}", again
    for signs, describe in _CAUSES:
        if re.search(signs, text, re.IGNORECASE):
            return describe(text, state)
    return (
        f"the {step} step failed: {text}",
        'See what CuPy finds: python -c "import cupy; cupy.show_config()"',
    )


def _insufficient_driver(text: str, state: dict[str, Any]) -> tuple[str, str]:
    runtime = state["cupy"].cuda.runtime
    driver, wanted = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if driver == 0:
        return (
            f"CuPy is installed, but this machine has no NVIDIA driver ({text})",
            "Install the driver of an NVIDIA GPU, or in a container pass the GPU through "
            "(docker run --gpus all); on a machine with no GPU use the device cpu",
        )
    return (
        f"the NVIDIA driver is too old: it serves CUDA {cuda_version(driver)}, "
        f"CuPy was built for {cuda_version(wanted)} ({text})",
        "Update the driver, or install a CuPy built for an older CUDA: "
        'pip install "gpugrad[cuda12]" in the place of cuda13',
    )


def _no_device(text: str, state: dict[str, Any]) -> tuple[str, str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = "" if visible is None else f"; CUDA_VISIBLE_DEVICES is {visible!r}"
    fix = (
        "See whether nvidia-smi lists a GPU; in a container pass it through (docker run --gpus all)"
    )
    if visible is not None:
        fix = "Unset CUDA_VISIBLE_DEVICES or set it to a GPU that nvidia-smi -L lists"
    return f"the driver shows no CUDA device ({text}{hidden})", fix


def _out_of_memory(text: str, state: dict[str, Any]) -> tuple[str, str]:
    return (
        f"the GPU is out of memory ({text})",
        "See who holds it with nvidia-smi and end that, or choose another GPU with "
        "CUDA_VISIBLE_DEVICES",
    )


def _no_nvrtc(text: str, state: dict[str, Any]) -> tuple[str, str]:
    return (
        f"the driver works, but NVRTC, which compiles kernels, or its headers are missing ({text})",
        f"Install CuPy with its CUDA libraries: {_with_libraries()}",
    )


def _no_cublas(text: str, state: dict[str, Any]) -> tuple[str, str]:
    return (
        f"kernels work, but cuBLAS, which multiplies matrices, is missing ({text})",
        f"Install CuPy with its CUDA libraries: {_with_libraries()}",
    )


def _no_library(text: str, state: dict[str, Any]) -> tuple[str, str]:
    return (
        f"a CUDA library is missing ({text})",
        f"Install CuPy with its CUDA libraries: {_with_libraries()}",
    )


def _forked(text: str, state: dict[str, Any]) -> tuple[str, str]:
    return (
        f"CUDA does not start in this process ({text})",
        "If this process was forked from one that had used CUDA, start it afresh: "
        'multiprocessing.set_start_method("spawn")',
    )


_MISSING = r"(DynamicLibNotFound|ImportError|OSError|cannot open shared object|failure finding)"

# Searched in this order in the exception's type and text.
_CAUSES: tuple[tuple[str, Callable[[str, dict[str, Any]], tuple[str, str]]], ...] = (
    (r"cudaErrorInsufficientDriver|cudaErrorStubLibrary", _insufficient_driver),
    (r"cudaErrorNoDevice", _no_device),
    (r"OutOfMemory|cudaErrorMemoryAllocation|OUT_OF_MEMORY|_ALLOC_FAILED", _out_of_memory),
    (r"cudaErrorInitializationError", _forked),
    (rf"{_MISSING}.*nvrtc|cannot open source file|could not open source file", _no_nvrtc),
    (rf"{_MISSING}.*cublas", _no_cublas),
    (rf"{_MISSING}.*(libcu|cudart|cuda)", _no_library),
)


# ---------------------------------------------------------------- the public face: gg.cuda


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
    require()
    return int(_cupy().cuda.device.get_device_id())


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
    - ``reserved``: taken from the driver by that pool, ``used`` and its cache together;
    - ``total`` and ``free``: of the whole device, with other processes counted.

    CuPy's pool keeps no peak, so there is none here; what another allocator
    (``cupy.cuda.set_allocator``) hands out is seen in ``free`` alone.

    >>> if is_available():
    ...     assert memory_stats()["used"] <= memory_stats()["total"]
    """
    with _on(device) as cupy:
        pool = cupy.get_default_memory_pool()
        free, total = cupy.cuda.runtime.memGetInfo()
        return {
            "used": int(pool.used_bytes()),
            "reserved": int(pool.total_bytes()),
            "free": int(free),
            "total": int(total),
        }


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
    """Let cupy.ndarray be computed on with CuPy. Imports CuPy; needs no GPU."""
    cupy = import_module("cupy")
    try:
        several = cupy.cuda.runtime.getDeviceCount() > 1
    except RuntimeError:  # no driver: names and signatures can be looked up all the same
        several = False
    checks = _check_each_device if several else _check_one_device
    register(cupy.ndarray, Namespace(cupy, checks=checks))


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
    _check_one_device(op, raws)
    cupy = _cupy()
    homes = {raw.device.id for raw in raws if isinstance(raw, cupy.ndarray)}
    if len(homes) > 1:
        _refuse(op, raws)
    if homes:
        (home,) = homes
        current = cupy.cuda.device.get_device_id()
        if home != current:
            raise DeviceError(
                f"{op}: the operands are on cuda:{home}, but CuPy's current device in this "
                f'thread is cuda:{current}. Work inside with gpugrad.device("cuda:{home}"):'
            )


def _refuse(op: str, raws: tuple[Any, ...]) -> None:
    from gpugrad.backend.device import check_same_device  # which stands on this module

    check_same_device(op, raws)
