"""Puts the stand-in in place when CuPy is first imported, and mends nothing before that.

`install` is called by sitecustomize.py. From then on an import of CuPy
- loads libcuda.so.1 and the libraries of $FAKECUDA, which CuPy then finds loaded;
- takes two extension modules from $FAKECUDA that the wheel has with NVIDIA's runtime inside;
- hands SciPy's BLAS and LAPACK to the stand-ins for cuBLAS and cuSOLVER;
- adds what the stand-in has to say to the text of CuPy's errors;
- compiles with precompiled headers;
- in strict mode turns CuPy's memory pools off, which hide overruns and old values.
"""

import ctypes
import functools
import os
import sys
from importlib.machinery import ExtensionFileLoader, PathFinder
from importlib.util import spec_from_file_location

LIBRARIES = (
    "libcuda.so.1",
    "libnvJitLink.so.12",
    "libcublasLt.so.12",
    "libcublas.so.12",
    "libcusolver.so.11",
    "libcufft.so.11",
    "libcurand.so.10",
    "libcusparse.so.12",
    "libnccl.so.2",
)
REBUILT = ("cupy_backends.cuda.api.runtime", "cupy.cuda.thrust")
ERRORS = {
    "cupy_backends.cuda.api.runtime": "CUDARuntimeError",
    "cupy_backends.cuda.api.driver": "CUDADriverError",
    "cupy_backends.cuda.libs.cublas": "CUBLASError",
    "cupy_backends.cuda.libs.cusolver": "CUSOLVERError",
    "cupy_backends.cuda.libs.curand": "CURANDError",
    "cupy_backends.cuda.libs.cusparse": "CuSparseError",
    "cupy.cuda.cufft": "CuFFTError",
}


def modes() -> frozenset[str]:
    """What FAKECUDA_MODE names: "lazy", "strict", both or nothing."""
    return frozenset(filter(None, os.environ.get("FAKECUDA_MODE", "").split(",")))


@functools.cache
def libraries() -> dict[str, ctypes.CDLL]:
    """The libraries by their sonames. Their symbols are not put in front of anybody's."""
    folder = os.path.join(os.environ["FAKECUDA"], "lib")
    return {name: ctypes.CDLL(os.path.join(folder, name)) for name in LIBRARIES}


def messages() -> str:
    """What the stand-in said since the last call."""
    driver = libraries()["libcuda.so.1"]
    driver.fakecuda_messages.restype = ctypes.c_size_t
    driver.fakecuda_messages.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
    buffer = ctypes.create_string_buffer(1 << 16)
    driver.fakecuda_messages(buffer, len(buffer))
    return buffer.value.decode(errors="replace").strip()


class Finder:
    """The first of sys.meta_path: finds CuPy's modules, and has a word with some of them."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ("cupy", "cupy_backends"):
            return None
        _prepare()
        if name in REBUILT:
            file = os.path.join(os.environ["FAKECUDA"], "ext", f"{name}.so")
            spec = spec_from_file_location(name, file, loader=ExtensionFileLoader(name, file))
        else:
            spec = PathFinder.find_spec(name, path, target)
        if spec is not None and (steps := _steps(name)):
            _run_after(spec.loader, steps)
        return spec


def install() -> None:
    sys.meta_path.insert(0, Finder())


@functools.cache
def _prepare() -> None:
    os.environ["CUPY_COMPILE_WITH_PTX"] = "1"  # NVRTC is to give PTX, not machine code
    os.environ["CUPY_ACCELERATORS"] = ""  # reductions are NVRTC's, not precompiled
    os.environ.setdefault("CUPY_CACHE_DIR", os.path.join(os.environ["FAKECUDA"], "cache"))
    libraries()


def _steps(name: str) -> list:
    """What is to be done with a module as soon as it was executed."""
    steps = []
    if name in ERRORS:
        steps.append(functools.partial(_explain, class_name=ERRORS[name]))
    if name == "cupy_backends.cuda.libs.cublas":
        steps.append(lambda module: _hand_over_lapack("libcublas.so.12"))
    if name == "cupy_backends.cuda.libs.cusolver":
        steps.append(lambda module: _hand_over_lapack("libcusolver.so.11"))
    if name == "cupy.cuda.compiler":
        from fakecuda.headers import precompile

        steps.append(precompile)
    if name == "cupy" and "strict" in modes():
        steps.append(_without_pools)
    return steps


def _run_after(loader, steps: list) -> None:
    execute = loader.exec_module

    def exec_module(module):
        execute(module)
        for step in steps:
            step(module)

    loader.exec_module = exec_module


def _explain(module, class_name: str) -> None:
    """Adds the stand-in's messages to the text of an error as it is made."""
    error = getattr(module, class_name)
    initialize = error.__init__

    def __init__(self, *args, **kwargs):  # noqa: N807
        initialize(self, *args, **kwargs)
        if text := messages():
            self.args = (f"{self.args[0]}\n{text}", *self.args[1:])

    error.__init__ = __init__


def _hand_over_lapack(soname: str) -> None:
    """Gives a library the addresses of all functions of SciPy's BLAS and LAPACK, by their names."""
    from scipy.linalg import cython_blas, cython_lapack

    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = (ctypes.py_object,)
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
    take = libraries()[soname].fakecuda_take_lapack
    take.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
    for module in (cython_blas, cython_lapack):
        for name, capsule in module.__pyx_capi__.items():
            pointer = api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))
            take(name.encode(), pointer)


def _without_pools(cupy) -> None:
    cupy.cuda.set_allocator(None)
    cupy.cuda.set_pinned_memory_allocator(None)
