"""Compile kernels where there is no GPU: CUDA C to PTX with NVRTC, and the same text for the host.

NVRTC needs no driver. It comes with the wheel nvidia-cuda-nvrtc-cu12 (or with CuPy's extra
``ctk``), the CUDA headers with nvidia-cuda-runtime-cu12; `ci/test` installs both on Linux.
"""

import ctypes
import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

HOST_COMPILER = shutil.which("g++") or shutil.which("c++")
HOST_FLAGS = ("-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC")


class CompileError(Exception):
    """What a compiler said of a source that it did not take."""


def _wheels(*names: str) -> list[Path]:
    """The folders of NVIDIA's wheels that are installed: cuda_nvrtc, or cu13 for CUDA 13."""
    try:
        spec = importlib.util.find_spec("nvidia")
    except ImportError:
        return []
    roots = [Path(root) for root in (spec.submodule_search_locations or ())] if spec else []
    return [root / name for root in roots for name in names if (root / name).is_dir()]


@functools.cache
def _nvrtc() -> ctypes.CDLL | None:
    for folder in _wheels("cuda_nvrtc", "cu13"):
        for library in sorted((folder / "lib").glob("libnvrtc.so.1*")):
            return ctypes.CDLL(str(library))
    return None


@functools.cache
def _includes() -> tuple[str, ...]:
    folders = [folder / "include" for folder in _wheels("cuda_runtime", "cu13")]
    folders.append(Path("/usr/local/cuda/include"))
    found = [folder for folder in folders if (folder / "cuda_fp16.h").exists()][:1]
    cupy = importlib.util.find_spec("cupy")
    if cupy is not None and cupy.origin is not None:
        own = Path(cupy.origin).parent / "_core" / "include"
        bundled = own / "cupy" / "_cccl"
        found += [own, *(bundled / part for part in ("libcudacxx", "thrust", "cub"))]
    return tuple(f"--include-path={folder}" for folder in found)


def to_ptx(source: str, arch: str = "compute_80", *more: str) -> str:
    """The PTX of a CUDA C source as CuPy compiles it; CompileError with the compiler's log.

    ``more`` are further options of the compiler.

    Skips the test where NVRTC or the CUDA headers are not installed.
    """
    nvrtc = _nvrtc()
    if nvrtc is None or not _includes():
        pytest.skip("NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12")
    program = ctypes.c_void_p()
    created = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None
    )
    assert created == 0, f"nvrtcCreateProgram returned {created}"
    if arch == "compute_90":  # machine code as well, which CuPy asks for: does it fit the GPU?
        arch = "sm_90"
    words = [f"--gpu-architecture={arch}", "--std=c++17", "--device-as-default-execution-space"]
    words += [*_includes(), *more]
    options = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
    try:
        status = nvrtc.nvrtcCompileProgram(program, len(words), options)
        if status != 0:
            raise CompileError(_text(nvrtc, program, "ProgramLog"))
        return _text(nvrtc, program, "PTX")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _text(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> str:
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{what}")(program, buffer)
    return buffer.value.decode()


def for_host(source: str, *more: str) -> ctypes.CDLL:
    """A library made of a C++ source, with `extern "C"` functions; CompileError with the log.

    Numbers mean what they mean in IEEE arithmetic: nothing is contracted or reordered, unless
    ``more`` options say so. Skips the test where there is no C++ compiler. A folder named by
    GPUGRAD_HOST_CACHE keeps libraries for later processes.
    """
    if HOST_COMPILER is None:
        pytest.skip("needs a C++ compiler (g++ or c++)")
    name = hashlib.sha256(repr((source, HOST_FLAGS, more)).encode()).hexdigest()[:32]
    kept = os.environ.get("GPUGRAD_HOST_CACHE")
    with tempfile.TemporaryDirectory(prefix="gpugrad-host-", dir=kept) as folder:
        library = Path(kept or folder, f"{name}.so")
        if not library.exists():
            path, made = Path(folder, f"{name}.cpp"), Path(folder, "made.so")
            path.write_text(source)
            command = [HOST_COMPILER, *HOST_FLAGS, *more, str(path), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise CompileError(done.stderr)
            made.replace(library)  # at once: other processes look for it
        return ctypes.CDLL(str(library))
