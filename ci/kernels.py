#!/usr/bin/env python
"""Assemble every CUDA kernel of gpugrad and check the machine code; no GPU is needed.

    python ci/kernels.py            # check all kernels, and the table in docs/gpu.md
    python ci/kernels.py --write    # check all kernels, and rewrite the table in docs/gpu.md

NVRTC and ptxas assemble them for the compute capabilities 8.0 and 9.0. None may spill registers;
none may use local memory except as in `LOCAL`; those for large arrays have to move 16 bytes at a
time. A folder named by GPUGRAD_KERNEL_CACHE caches the results, by the hash of the text.
"""

import argparse
import difflib
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER.parent), str(FOLDER)]

from assembler import Machine, assemble, missing, versions  # noqa: E402
from generated import replace_text  # noqa: E402
from kernel_sources import ROOT, Source, sources  # noqa: E402

DOCUMENT = ROOT / "docs" / "gpu.md"
BEGIN, END = "<!-- ci/kernels.py writes this -->", "<!-- as far as here -->"
ARCHS = {"sm_80": "8.0", "sm_90": "9.0"}
DTYPES = ("float16", "float32", "float64")
TOGETHER = 40  # sources in one compilation: most of the time of a single one goes into headers
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include\b.*\n?", re.MULTILINE)
_DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", re.MULTILINE)
_KERNEL = re.compile(r'(extern "C" __global__ void (?:__launch_bounds__\(.*?\) )?)(\w+)')


# Local memory that is allowed: in which kernels, bytes of a thread, why.
LOCAL = (
    (
        r"^(sin|cos|sinc|[jy][01]|bessel_[jy])\w* of float(16|32)",
        32,
        "sine and cosine in float32: CUDA keeps the digits of 2/pi for a large argument there; the "
        "Bessel functions call them",
    ),
    (
        r"^(sin|cos|sinc|[jy][01]|bessel_[jy]|beta|betaln|digamma|gamma|gammainc|gammaln|polygamma)\w*"
        r" of float",
        40,
        "the same in float64, also in CuPy's `digamma` and `polygamma`",
    ),
)
# Functions that are not inlined, and save their callers' registers in local memory.
FUNCTIONS = (
    (r"^__internal_(accurate_pow|trig_reduction_slowpathd)$", "CUDA's `pow`, sine and cosine"),
    (r"gpugrad_(beta|betainc|betaln)_(float|double)", "CuPy's `beta` and its relatives"),
)


FUNCTION = Source("function", "", "function", "")  # the source of all of those


class Kernel(NamedTuple):
    """One kernel, or a function that kernels call, assembled for one architecture."""

    source: Source
    name: str
    arch: str
    machine: Machine

    def __str__(self) -> str:
        return f"{self.source.label}: {self.name} on {ARCHS[self.arch]}"


# ---------------------------------------------------------------- assembling


def _together(some: list[Source]) -> str:
    """Several sources as one: each in a namespace, its kernels numbered, the headers first."""
    headers: dict[str, None] = {}
    parts = []
    for number, source in enumerate(some):
        headers |= dict.fromkeys(line.strip() for line in _INCLUDE.findall(source.text))
        text = _INCLUDE.sub("", source.text)
        text = _KERNEL.sub(rf"\g<1>k{number}_\g<2>", text)
        macros = dict.fromkeys(_DEFINE.findall(text))
        undone = "".join(f"#undef {macro}\n" for macro in macros)
        parts.append(f"namespace n{number} {{\n{text}\n}}\n{undone}")
    return "\n".join([*headers, *parts])


def _assemble(some: list[Source], arch: str) -> list[Kernel]:
    folder = os.environ.get("GPUGRAD_KERNEL_CACHE")
    first = some[0]
    look = first.moves is not None
    machines = assemble(
        _together(some), arch, first.options, look, Path(folder) if folder else None
    )
    kernels = []
    for name, machine in machines.items():
        if machine.registers is None:
            kernels.append(Kernel(FUNCTION, name, arch, machine))
        else:
            number, _, own = name.removeprefix("k").partition("_")
            kernels.append(Kernel(some[int(number)], own, arch, machine))
    return kernels


def assembled() -> list[Kernel]:
    """All kernels, on all cores."""
    every = sources()
    position = {source: index for index, source in enumerate(every)}
    alike: dict[object, list[Source]] = defaultdict(list)
    for source in every:
        alike[source.options, source.moves is None].append(source)
    jobs = [
        (group[first : first + TOGETHER], arch)
        for group in alike.values()
        for first in range(0, len(group), TOGETHER)
        for arch in ARCHS
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        kernels = [k for some in pool.map(lambda job: _assemble(*job), jobs) for k in some]
    return sorted(kernels, key=lambda kernel: position.get(kernel.source, len(every)))


# ---------------------------------------------------------------- the checks


def _allowed(kernel: Kernel) -> bool:
    stack, label = kernel.machine.stack, kernel.source.label
    return any(stack == size and re.search(name, label) for name, size, _ in LOCAL)


def faults(kernel: Kernel) -> Iterable[str]:
    """The faults of a kernel, or of a function that it calls."""
    machine, moves = kernel.machine, kernel.source.moves
    if kernel.source is FUNCTION:
        if machine.stack and not any(re.search(name, kernel.name) for name, _ in FUNCTIONS):
            yield f"uses {machine.stack} bytes of local memory, and is not among FUNCTIONS"
        return
    if machine.spilled:
        yield f"spills {machine.spilled} bytes of registers"
    if machine.stack and not _allowed(kernel):
        yield f"uses {machine.stack} bytes of local memory, and is not in LOCAL with them"
    if moves is not None:
        reads, writes = moves
        for width in set(reads):  # nothing is read where a derivative is zero
            if machine.loads and machine.loads.get(width, 0) < reads.count(width):
                yield f"loads no {width} bytes at once for each array, but {machine.loads}"
        if not machine.stores.get(writes):
            yield f"stores no {writes} bytes at once, but {machine.stores}"


# ---------------------------------------------------------------- the table


def _range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}–{high}"


def _registers(kernels: list[Kernel], arch: str) -> str:
    by_dtype: dict[str, list[int]] = defaultdict(list)
    for kernel in kernels:
        if kernel.arch == arch:
            by_dtype[kernel.source.dtype].append(kernel.machine.registers)
    if not by_dtype.keys() & set(DTYPES):
        return _range([n for numbers in by_dtype.values() for n in numbers])
    return " / ".join(_range(by_dtype[d]) if d in by_dtype else "-" for d in DTYPES)


def table(kernels: list[Kernel]) -> str:
    """The kernels in Markdown: elementwise ones by family, the others singly."""
    rows: dict[str, list[Kernel]] = defaultdict(list)
    for kernel in kernels:
        if kernel.source is FUNCTION:
            continue
        family = kernel.source.family
        several = len(_KERNEL.findall(kernel.source.text)) > 1
        alone = not several or kernel.name == family
        rows[family if alone else f"{family}: {kernel.name}"].append(kernel)
    lines = [
        f"Made by {versions()}. Registers of a thread in float16 / float32 / float64.",
        "",
        "| kernels | number | registers, 8.0 | registers, 9.0 | shared bytes |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, some in rows.items():
        count = len(some) // len(ARCHS)
        registers = " | ".join(_registers(some, arch) for arch in ARCHS)
        shared = _range([kernel.machine.shared for kernel in some])
        lines.append(f"| {name} | {count} | {registers} | {shared} |")
    lines += ["", "No kernel spills registers. Local memory is used for these reasons alone:", ""]
    lines += [f"- {size} bytes a thread: {reason}." for _, size, reason in LOCAL]
    lines += ["- Functions that are called and save registers there: "]
    lines[-1] += "; ".join(reason for _, reason in FUNCTIONS) + "."
    return "\n".join(lines)


def _is_current(before: str, text: str) -> bool:
    """Whether two tables are equal; for other compilers, whether their kernels are."""
    if versions() in before:
        return before == text
    print(f"the table in docs/gpu.md is not made by {versions()}: figures are not compared")
    one, other = (
        [line.split(" | ")[:2] for line in table.splitlines() if line.startswith("| ")]
        for table in (before, text)
    )
    return one == other


def main() -> int:
    """Check all kernels; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write the table in docs/gpu.md")
    write = parser.parse_args().write
    if absent := missing():
        print(f"the kernels were not assembled: {absent}")
        return 1
    kernels = assembled()
    wrong = [f"{kernel}: {fault}" for kernel in kernels for fault in faults(kernel)]
    for name, size, _ in LOCAL:
        if not any(k.machine.stack == size and re.search(name, k.source.label) for k in kernels):
            wrong.append(f"LOCAL: no kernel of {name} needs {size} bytes any more")
    print(*wrong, sep="\n")
    head, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    before, _, tail = rest.partition(END)
    text = f"\n{table(kernels)}\n"
    if write:
        replace_text(DOCUMENT, head + BEGIN + text + END + tail)
    elif not _is_current(before, text):
        wrong.append("stale")
        pair = before.splitlines(), text.splitlines()
        print(*difflib.unified_diff(*pair, "docs/gpu.md", "as assembled", lineterm=""), sep="\n")
        print("docs/gpu.md does not match the kernels: run python ci/kernels.py --write")
    count = sum(kernel.source is not FUNCTION for kernel in kernels)
    print(f"{count} kernels, {len(wrong)} faults")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
