"""CUDA C to machine code where there is no GPU: NVRTC, ptxas and nvdisasm, and what they report.

NVRTC gets the options that CuPy gives it. The three programs come with wheels
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
    """What a compiler said of a source that it did not take."""


class Machine(NamedTuple):
    """What became of a kernel, or of a function that stayed one: registers and bytes of memory.

    ``registers`` is None for a function: it uses those of its kernels. ``stack`` is local memory,
    ``spilled`` the bytes that are moved there and back for want of registers. ``loads`` and
    ``stores`` say how often the code moves so many bytes at once between global memory and
    registers.
    """

    registers: int | None
    shared: int
    stack: int
    spilled: int
    loads: dict[int, int]
    stores: dict[int, int]


def _nvidia(pattern: str) -> list[Path]:
    """The files of NVIDIA's wheels that are called so."""
    spec = importlib.util.find_spec("nvidia")
    roots = (spec.submodule_search_locations or ()) if spec else ()
    return [found for root in roots for found in sorted(Path(root).glob(pattern))]


def missing() -> str | None:
    """What has to be installed before anything can be assembled; None where all is there."""
    needed = {
        "nvidia-cuda-nvrtc-cu12": _nvidia("cuda_nvrtc/lib/libnvrtc.so.12"),
        "nvidia-cuda-runtime-cu12": _nvidia("cuda_runtime/include/cuda_fp16.h"),
        "nvidia-cuda-nvcc-cu12": _nvidia("cuda_nvcc/bin/ptxas"),
        "nvidia-cuda-nvdisasm": _nvidia("*/bin/nvdisasm"),
        "cupy-cuda12x": importlib.util.find_spec("cupy"),
    }
    absent = [wheel for wheel, found in needed.items() if not found]
    return f"pip install {' '.join(absent)}" if absent else None


def versions() -> str:
    """Whose figures they are, in words."""
    names = {"NVRTC": "nvidia-cuda-nvrtc-cu12", "ptxas": "nvidia-cuda-nvcc-cu12"}
    names["CuPy"] = "cupy-cuda12x"
    return ", ".join(f"{word} {importlib.metadata.version(n)}" for word, n in names.items())


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
    words = [*options, *_includes(), "-ftz=true", f"-arch={arch}"]
    words.append("--device-as-default-execution-space")
    texts = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
    try:
        if nvrtc.nvrtcCompileProgram(program, len(words), texts) != 0:
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


def _count(words: str, what: str) -> int:
    found = re.search(rf"(\d+) {what}", words)
    return int(found[1]) if found else 0


def _accesses(code: str) -> dict[str, dict[str, dict[int, int]]]:
    """By kernel the widths of what it loads and stores, from what nvdisasm prints."""
    found: dict[str, dict[str, dict[int, int]]] = {}
    for part in code.split("\n.text.")[1:]:
        name, _, body = part.partition(":")
        widths = found[name] = {"LDG": {}, "STG": {}}
        for kind, modifiers in _ACCESS.findall(body):
            bits = re.search(r"\.(?:[US])?(128|64|16|8)\b", modifiers)
            width = int(bits[1]) // 8 if bits else 4
            widths[kind][width] = widths[kind].get(width, 0) + 1
    return found


def _assembled(ptx: str, arch: str, look: bool) -> dict[str, Machine]:
    ptxas = _nvidia("cuda_nvcc/bin/ptxas")[0]
    with tempfile.TemporaryDirectory(prefix="gpugrad-kernels-") as folder:
        text, code = Path(folder, "kernels.ptx"), Path(folder, "kernels.cubin")
        text.write_text(ptx)
        said = _run(ptxas, "-v", f"-arch={arch}", text, "-o", code).stderr
        accesses = _accesses(_run(_nvidia("*/bin/nvdisasm")[0], code).stdout) if look else {}
    made = {}
    for name, stack, stores, loads, used in _PROPERTIES.findall(said):
        made[name] = Machine(
            _count(used, "registers") if used else None,
            _count(used, "bytes smem"),
            int(stack),
            int(stores) + int(loads),
            accesses.get(name, {}).get("LDG", {}),
            accesses.get(name, {}).get("STG", {}),
        )
    return made


def assemble(
    source: str, arch: str, options: tuple[str, ...], look: bool, cache: Path | None = None
) -> dict[str, Machine]:
    """The kernels and functions of a source, by name, as ptxas makes them for "sm_90", say.

    With ``look`` their loads and stores are counted, which takes a disassembler. A folder ``cache``
    keeps what was found. CompileError with what the compilers said.
    """
    text = repr((source, arch, options, look, versions()))
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    known = None if cache is None else cache / f"{key}.json"
    if known is not None and known.exists():
        kept = json.loads(known.read_text())
        return {name: _machine(*values) for name, values in kept.items()}
    made = _assembled(_to_ptx(source, arch, options), arch, look)
    if known is not None:
        known.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=known.parent, delete=False) as file:
            json.dump(made, file)
        Path(file.name).replace(known)  # at once: other processes look for it
    return made


def _machine(*values: object) -> Machine:
    *numbers, loads, stores = values
    widths = [{int(width): n for width, n in d.items()} for d in (loads, stores)]  # type: ignore
    return Machine(*numbers, *widths)  # type: ignore
