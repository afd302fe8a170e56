"""CUDA C to machine code without a GPU: NVRTC, ptxas and nvdisasm, and their figures.

NVRTC gets CuPy's options. The three programs come with wheels
(nvidia-cuda-nvrtc-cu12, nvidia-cuda-nvcc-cu12, nvidia-cuda-nvdisasm), the headers with
nvidia-cuda-runtime-cu12 and CuPy.
"""

import ctypes
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

__all__ = ["CompileError", "Machine", "assemble", "missing", "versions"]


class CompileError(Exception):
    """A compiler's message on a source that it refused."""


class Machine(NamedTuple):
    """The registers and bytes of memory of a kernel, or of a function that was not inlined.

    ``registers`` is None for a function: it uses those of its kernels. ``stack`` is local memory,
    ``spilled`` the bytes of registers moved there and back. ``loads`` and ``stores`` count the
    instructions between global memory and registers, by the bytes that each moves.
    """

    registers: int | None
    shared: int
    stack: int
    spilled: int
    loads: dict[int, int]
    stores: dict[int, int]


def _nvidia(pattern: str) -> list[Path]:
    """The files of NVIDIA's wheels with names of a pattern."""
    spec = importlib.util.find_spec("nvidia")
    roots = (spec.submodule_search_locations or ()) if spec else ()
    return [path for root in roots for path in sorted(Path(root).glob(pattern))]


def missing() -> str | None:
    """The command that installs missing wheels; None where all are installed."""
    needed = {
        "nvidia-cuda-nvrtc-cu12": _nvidia("cuda_nvrtc/lib/libnvrtc.so.12"),
        "nvidia-cuda-runtime-cu12": _nvidia("cuda_runtime/include/cuda_fp16.h"),
        "nvidia-cuda-nvcc-cu12": _nvidia("cuda_nvcc/bin/ptxas"),
        "nvidia-cuda-nvdisasm": _nvidia("*/bin/nvdisasm"),
        "cupy-cuda12x": importlib.util.find_spec("cupy"),
    }
    absent = [wheel for wheel, present in needed.items() if not present]
    return f"pip install {' '.join(absent)}" if absent else None


def versions() -> str:
    """The compilers and their versions, for the table."""
    wheels = {"NVRTC": "nvidia-cuda-nvrtc-cu12", "ptxas": "nvidia-cuda-nvcc-cu12"}
    wheels["CuPy"] = "cupy-cuda12x"
    return ", ".join(f"{name} {importlib.metadata.version(w)}" for name, w in wheels.items())


# ---------------------------------------------------------------- from source to PTX


@functools.cache
def _nvrtc() -> ctypes.CDLL:
    return ctypes.CDLL(str(_nvidia("cuda_nvrtc/lib/libnvrtc.so.12")[0]))


@functools.cache
def _includes() -> tuple[str, ...]:
    cupy = importlib.metadata.distribution("cupy-cuda12x")
    own = Path(cupy.locate_file("cupy/_core/include"))
    header = _nvidia("cuda_runtime/include/cuda_fp16.h")[0]
    bundled = [own / "cupy" / "_cccl" / part for part in ("cub", "thrust", "libcudacxx")]
    return tuple(f"-I{folder}" for folder in (*bundled, own, header.parent))


def _to_ptx(source: str, arch: str, options: tuple[str, ...]) -> str:
    nvrtc, program = _nvrtc(), ctypes.c_void_p()
    status = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None
    )
    if status != 0:
        raise CompileError(f"nvrtcCreateProgram returned {status}")
    flags = [*options, *_includes(), "-ftz=true", f"-arch={arch}"]
    flags.append("--device-as-default-execution-space")
    encoded = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
    try:
        if nvrtc.nvrtcCompileProgram(program, len(flags), encoded) != 0:
            raise CompileError(_text(program, "ProgramLog"))
        return _text(program, "PTX")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _text(program: ctypes.c_void_p, what: str) -> str:
    size = ctypes.c_size_t()
    getattr(_nvrtc(), f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(_nvrtc(), f"nvrtcGet{what}")(program, buffer)
    return buffer.value.decode()


# ---------------------------------------------------------------- from PTX to machine code

_PROPERTIES = re.compile(
    r"Function properties for (\S+)\n\s*(\d+) bytes stack frame, (\d+) bytes spill stores, "
    r"(\d+) bytes spill loads\n(ptxas info\s*: Used .*)?"
)
_ACCESS = re.compile(r"\b(LDG|STG)((?:\.\w+)+)")


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompileError(done.stderr)
    return done


def _count(text: str, what: str) -> int:
    match = re.search(rf"(\d+) {what}", text)
    return int(match[1]) if match else 0


def _accesses(code: str) -> dict[str, dict[str, dict[int, int]]]:
    """By kernel the widths of its loads and stores, from the output of nvdisasm."""
    by_kernel: dict[str, dict[str, dict[int, int]]] = {}
    for part in code.split("\n.text.")[1:]:
        name, _, body = part.partition(":")
        widths = by_kernel[name] = {"LDG": {}, "STG": {}}
        for instruction, modifiers in _ACCESS.findall(body):
            bits = re.search(r"\.(?:[US])?(128|64|16|8)\b", modifiers)
            width = int(bits[1]) // 8 if bits else 4
            widths[instruction][width] = widths[instruction].get(width, 0) + 1
    return by_kernel


def _assembled(ptx: str, arch: str, look: bool) -> dict[str, Machine]:
    ptxas = _nvidia("cuda_nvcc/bin/ptxas")[0]
    with tempfile.TemporaryDirectory(prefix="gpugrad-kernels-") as folder:
        text, code = Path(folder, "kernels.ptx"), Path(folder, "kernels.cubin")
        text.write_text(ptx)
        properties = _run(ptxas, "-v", f"-arch={arch}", text, "-o", code).stderr
        accesses = _accesses(_run(_nvidia("*/bin/nvdisasm")[0], code).stdout) if look else {}
    machines = {}
    for name, stack, stores, loads, used in _PROPERTIES.findall(properties):
        machines[name] = Machine(
            _count(used, "registers") if used else None,
            _count(used, "bytes smem"),
            int(stack),
            int(stores) + int(loads),
            accesses.get(name, {}).get("LDG", {}),
            accesses.get(name, {}).get("STG", {}),
        )
    return machines


def assemble(
    source: str, arch: str, options: tuple[str, ...], look: bool, cache: Path | None = None
) -> dict[str, Machine]:
    """The kernels and functions of a source, by name, assembled for "sm_90", say.

    ``look`` counts their loads and stores, which takes a disassembler. A folder ``cache`` keeps
    the results. CompileError with the compilers' message.
    """
    text = repr((source, arch, options, look, versions()))
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    path = None if cache is None else cache / f"{key}.json"
    if path is not None and path.exists():
        cached = json.loads(path.read_text())
        return {name: _machine(*values) for name, values in cached.items()}
    machines = _assembled(_to_ptx(source, arch, options), arch, look)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            json.dump(machines, file)
        Path(file.name).replace(path)  # in one step: other processes read it
    return machines


def _machine(*values: object) -> Machine:
    *numbers, loads, stores = values
    widths = [{int(width): n for width, n in d.items()} for d in (loads, stores)]  # type: ignore
    return Machine(*numbers, *widths)  # type: ignore
