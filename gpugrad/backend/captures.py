"""cuBLAS on a stream that captures, which CuPy's binding refuses. Imports nothing of gpugrad.

cuBLAS itself allows it, given a workspace: what it would allocate meanwhile is an error of CUDA. So
`capturing` gives a handle the stream and a workspace, and the products of this thread are then
calls of the library through ctypes.
"""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["CAPTURES", "capturing"]

# By thread that captures, what its products call: a `_Library`.
CAPTURES: dict[int, Any] = {}

_INT, _LONG, _POINTER = ctypes.c_int, ctypes.c_longlong, ctypes.c_void_p
_HEAD = [_POINTER, *[_INT] * 5, _POINTER]
_ARGUMENTS = {
    "cublasGemmEx": [
        *_HEAD, *[_POINTER, _INT, _INT] * 2, _POINTER, _POINTER, _INT, _INT, _INT, _INT
    ],
    "cublasGemmStridedBatchedEx": [
        *_HEAD, *[_POINTER, _INT, _INT, _LONG] * 2, _POINTER, _POINTER, _INT, _INT, _LONG, _INT,
        _INT, _INT,
    ],
    "cublasSetStream_v2": [_POINTER, _POINTER],
    "cublasSetWorkspace_v2": [_POINTER, _POINTER, ctypes.c_size_t],
}  # fmt: skip

_lock = threading.Lock()  # a handle has one stream at a time
_libraries: dict[int, "_Library"] = {}  # by device


class _Library:
    """The functions of cuBLAS that products call, named as CuPy names them, and a handle."""

    def __init__(self, cublas: Any) -> None:
        self.handle = cublas.create()
        # CuPy has loaded the library; by its name it is found again.
        library = ctypes.CDLL(_name(cublas.getVersion(self.handle) // 10000))
        functions = {name: getattr(library, name) for name in _ARGUMENTS}
        for name, function in functions.items():
            function.argtypes = _ARGUMENTS[name]
            function.restype = _INT
            function.errcheck = _checked
        self.gemmEx = functions["cublasGemmEx"]
        self.gemmStridedBatchedEx = functions["cublasGemmStridedBatchedEx"]
        self.set_stream = functions["cublasSetStream_v2"]
        self.set_workspace = functions["cublasSetWorkspace_v2"]


def _name(version: int) -> str:
    windows = hasattr(ctypes, "windll")
    return f"cublas64_{version}.dll" if windows else f"libcublas.so.{version}"


def _checked(status: int, function: Any, arguments: Any) -> int:
    if status:
        raise RuntimeError(f"{function.__name__} failed with the status {status}")
    return status


@contextmanager
def capturing(cupy: Any, stream: Any) -> Iterator[Any]:
    """Let a stream capture what this thread computes on it; gives the workspace of cuBLAS.

    The caller keeps the workspace as long as the graph, and makes the stream the current one.
    """
    device = cupy.cuda.Device()
    # What NVIDIA recommends: 32 MiB for compute capability 9.0, else 4 MiB.
    workspace = cupy.cuda.alloc((32 if int(device.compute_capability) >= 90 else 4) << 20)
    with _lock:
        library = _libraries.get(device.id)
        if library is None:
            library = _libraries[device.id] = _Library(cupy.cuda.cublas)
        library.set_stream(library.handle, stream.ptr)  # which forgets the workspace
        library.set_workspace(library.handle, workspace.ptr, workspace.mem.size)
        CAPTURES[threading.get_ident()] = library
        try:
            yield workspace
        finally:
            del CAPTURES[threading.get_ident()]
