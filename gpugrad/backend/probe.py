"""The CUDA probe: whether CUDA works, and if not, the cause and the fix. Imports errors only.

A successful import of CuPy proves little: its CUDA libraries load lazily and fail at their first
use. So the probe tries CUDA: one allocation, one elementwise kernel, one matmul. The first step
that fails is the reason that users see.
"""

import contextlib
import os
import re
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy

from gpugrad.backend.requirements import pip_install
from gpugrad.errors import DeviceError

__all__ = [
    "Probe",
    "Step",
    "cuda_version",
    "distributions",
    "duplicates_fix",
    "probe",
    "reset",
]


class Step(NamedTuple):
    """One step of the probe: its result and, where it failed, the fix."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


class Probe(NamedTuple):
    """The steps in order. The first that fails is the last."""

    steps: tuple[Step, ...]

    @property
    def ok(self) -> bool:
        """True where every step succeeded."""
        return self.steps[-1].ok

    @property
    def reason(self) -> str | None:
        """The cause and the fix in one line; None where CUDA works."""
        last = self.steps[-1]
        return None if last.ok else f"{last.detail}. {last.fix}".rstrip(" .") + "."


_lock = threading.Lock()
_result: Probe | None = None


def probe() -> Probe:
    """The result of the probe on CuPy's current device; it runs once per process.

    >>> [step.name for step in probe().steps][0]
    'import cupy'
    """
    global _result
    result = _result
    if result is None:
        with _lock:
            result = _result
            if result is None:
                result = _result = _run_probe()
    return result


def reset() -> None:
    """Discard the result of the probe, so that CUDA is tried again.

    For a running process in which a cause was removed: memory freed, a library installed.
    """
    global _result, _lock
    _lock, _result = threading.Lock(), None


# A CUDA context does not survive a fork: in the child the probe runs again, and fails.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=reset)


def _run_probe() -> Probe:
    state: dict[str, Any] = {}
    steps: list[Step] = []
    for name, attempt in _STEPS:
        try:
            steps.append(Step(name, True, attempt(state)))
        except Exception as error:  # noqa: BLE001  what CuPy raises is the result
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


# ---------------------------------------------------------------- causes and fixes


def distributions() -> dict[str, str]:
    """The installed distributions that contain a ``cupy`` module: name to version.

    >>> set(distributions()) <= {"cupy", *(f"cupy-cuda{n}x" for n in range(8, 20))}
    True
    """
    from importlib import metadata  # takes 30 ms and is seldom needed

    names = ["cupy", *(f"cupy-cuda{major}x" for major in range(11, 16))]
    versions = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def duplicates_fix() -> str | None:
    """The fix for several CuPy distributions in one environment; None if there are not several."""
    installed = distributions()
    if len(installed) < 2:
        return None
    return (
        f"Several CuPy distributions overwrite each other's files ({', '.join(installed)}): "
        f"pip uninstall -y {' '.join(installed)}, then {_INSTALL}"
    )


_INSTALL = (
    f"{pip_install('cuda12')} (with a driver for CUDA 13 or newer, cuda13x in the place of cuda12x)"
)


def _with_libraries() -> str:
    """The command that reinstalls the installed distribution with its CUDA libraries."""
    named = [name for name in distributions() if name != "cupy"]
    return f'pip install "{named[0] if named else "cupy-cuda12x"}[ctk]"'


def cuda_version(number: int) -> str:
    """A version that CUDA writes as an integer, in readable form.

    >>> cuda_version(12090)
    '12.9'
    """
    return f"{number // 1000}.{number % 1000 // 10}"


def _text(error: BaseException) -> str:
    """An exception in one line, with its type unless the text names it."""
    text = " ".join(str(error).split()) or "no message"
    if len(text) > 400:
        text = text[:400] + " ..."
    named = text.startswith(("cuda", "CUDA")) or isinstance(error, DeviceError)
    return text.rstrip(".") if named else f"{type(error).__name__}: {text}".rstrip(".")


def _diagnose(step: str, error: Exception, state: dict[str, Any]) -> tuple[str, str]:
    """The cause of an exception and the fix."""
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
    for signs, answer in _CAUSES:
        if re.search(signs, text, re.IGNORECASE):
            if callable(answer):
                return answer(text, state["cupy"])
            cause, fix = answer
            return f"{cause} ({text})", fix.replace("{libraries}", _with_libraries())
    return (
        f"the {step} step failed: {text}",
        'See what CuPy finds: python -c "import cupy; cupy.show_config()"',
    )


def _insufficient_driver(text: str, cupy: Any) -> tuple[str, str]:
    runtime = cupy.cuda.runtime
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
        f"pip uninstall -y {' '.join(distributions()) or 'cupy'}, then {pip_install('cuda12')}",
    )


def _no_device(text: str, cupy: Any) -> tuple[str, str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = "" if visible is None else f"; CUDA_VISIBLE_DEVICES is {visible!r}"
    fix = (
        "See whether nvidia-smi lists a GPU; in a container pass it through (docker run --gpus all)"
    )
    if visible is not None:
        fix = "Unset CUDA_VISIBLE_DEVICES or set it to a GPU that nvidia-smi -L lists"
    return f"the driver shows no CUDA device ({text}{hidden})", fix


_MISSING = r"(DynamicLibNotFound|ImportError|OSError|cannot open shared object|failure finding)"

_REINSTALL = "Install CuPy with its CUDA libraries: {libraries}"

# Patterns for the type and text of an exception, in the order in which they are tried: the cause
# and the fix, or a function that finds them.
_CAUSES: tuple[tuple[str, Callable[[str, Any], tuple[str, str]] | tuple[str, str]], ...] = (
    (r"cudaErrorInsufficientDriver|cudaErrorStubLibrary", _insufficient_driver),
    (r"cudaErrorNoDevice", _no_device),
    (
        r"OutOfMemory|cudaErrorMemoryAllocation|OUT_OF_MEMORY|_ALLOC_FAILED",
        (
            "the GPU is out of memory",
            "See who holds it with nvidia-smi and end that, or choose another GPU with "
            "CUDA_VISIBLE_DEVICES",
        ),
    ),
    (
        r"cudaErrorInitializationError",
        (
            "CUDA does not start in this process",
            "If this process was forked from one that had used CUDA, start it afresh: "
            'multiprocessing.set_start_method("spawn")',
        ),
    ),
    (
        rf"{_MISSING}.*nvrtc|cannot open source file|could not open source file",
        (
            "the driver works, but NVRTC, which compiles kernels, or its headers are missing",
            _REINSTALL,
        ),
    ),
    (
        rf"{_MISSING}.*cublas",
        ("kernels work, but cuBLAS, which multiplies matrices, is missing", _REINSTALL),
    ),
    (rf"{_MISSING}.*(libcu|cudart|cuda)", ("a CUDA library is missing", _REINSTALL)),
)
