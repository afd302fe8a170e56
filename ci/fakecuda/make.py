#!/usr/bin/env python3
"""Builds the stand-in into a folder; called by ci/fakecuda/build and run, which see to the rest.

    make.py FOLDER      builds what is older than its sources; exits with status 4 where the
                        environment lacks something, with status 3 where nothing helps
    make.py --missing   prints the requirements that the environment lacks, for pip

FOLDER/lib gets libcuda.so.1 and the libraries under their real sonames, FOLDER/ext the two
extensions of CuPy that have NVIDIA's static runtime or machine code inside, compiled from CuPy's
source distribution against libcuda.so.1.
"""

import importlib.metadata as metadata
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "src"
SERIES = "14.2"  # of CuPy

# What is needed beyond what ci/test installs. The headers and the compiler are of one CUDA.
NEEDS = {
    "cupy-cuda12x": f"cupy-cuda12x=={SERIES}.*",
    "scipy": "scipy>=1.13",
    "cython": "cython==3.2.*",
    "setuptools": "setuptools>=77",
    "nvidia-cuda-nvrtc-cu12": "nvidia-cuda-nvrtc-cu12==12.9.*",
    "nvidia-cuda-runtime-cu12": "nvidia-cuda-runtime-cu12==12.9.*",
    "nvidia-cuda-nvcc-cu12": "nvidia-cuda-nvcc-cu12==12.9.*",
}

FLAGS = "-std=c++20 -fPIC -Wall -Wextra -fvisibility=hidden".split()
# The interpreter rounds as a GPU does: nothing is fused that PTX does not fuse.
EXACT = "-O3 -ffp-contract=off -frounding-math -fno-strict-aliasing".split()
# It runs 32 lanes at once in the vector instructions of 2013 and later, where the machine has them.
VECTORS = {"avx2", "bmi2", "f16c", "fma", "movbe"}
if VECTORS.issubset(Path("/proc/cpuinfo").read_text().split()):
    EXACT.append("-march=x86-64-v3")


@dataclass
class Library:
    """A shared object under a real soname, and the extension of CuPy that is linked to it."""

    soname: str
    folders: list[str]  # of its sources
    names: str = ""  # what is exported, as a pattern of a version script
    extension: str = ""
    status: int = 0  # its NOT_SUPPORTED, which functions return that it does not have


DRIVER = "libcuda.so.1"
LIBRARIES = [
    Library("libcublas.so.12", ["libraries/cublas", "libraries/lapack"], "cublas*",
            "cupy_backends/cuda/libs/cublas", 15),
    Library("libcusolver.so.11", ["libraries/cusolver", "libraries/lapack"], "cusolver*",
            "cupy_backends/cuda/libs/cusolver", 9),
    Library("libcufft.so.11", ["libraries/cufft"], "cufft*", "cupy/cuda/cufft", 16),
    Library("libcurand.so.10", ["libraries/curand"], "curand*",
            "cupy_backends/cuda/libs/curand", 999),
    Library("libcusparse.so.12", ["libraries/cusparse"], "cusparse*",
            "cupy_backends/cuda/libs/cusparse", 10),
    Library("libnccl.so.2", ["libraries/nccl"], "nccl*", "cupy_backends/cuda/libs/nccl", 3),
    # Nothing calls these two: they are what NVIDIA's own libraries are made of, so that
    # cuda-pathfinder wants them there.
    Library("libcublasLt.so.12", []),
    Library("libnvJitLink.so.12", []),
]  # fmt: skip


class RefusedError(Exception):
    """The stand-in can't be built here; the text says why."""


def version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def missing() -> list[str]:
    """The requirements that are not met. Another CuPy than the stand-in is made for is an error."""
    other = [
        name
        for d in metadata.distributions()
        if re.fullmatch(r"cupy(-(cuda|rocm).*)?", name := (d.name or "").lower())
        and name != "cupy-cuda12x"
    ]
    if other:
        raise RefusedError(f"it needs the wheel cupy-cuda12x, and {other[0]} is installed")
    lacking = {name: text for name, text in NEEDS.items() if not met(version(name), text)}
    if (found := version("cupy-cuda12x")) and "cupy-cuda12x" in lacking:
        raise RefusedError(f"it is made for CuPy {SERIES}, and {found} is installed")
    return list(lacking.values())


def met(found: str, requirement: str) -> bool:
    """Whether a version, "" for none, is one that a requirement with at most one bound takes."""
    kind, bound = re.fullmatch(r"[\w-]+(==|>=|)([\d.]*?)(?:\.\*)?", requirement).groups()
    numbers, wanted = ([int(n) for n in re.findall(r"\d+", text)] for text in (found, bound))
    return bool(found) and (numbers >= wanted if kind == ">=" else numbers[: len(wanted)] == wanted)


def site(package: str) -> Path:
    return Path(sysconfig.get_paths()["platlib"]) / package


def command(*words: object, **options) -> str:
    """Runs a command; its output, or an exit with what it printed."""
    text = [str(word) for word in words]
    done = subprocess.run(
        text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    if done.returncode:
        sys.exit(f"{shlex.join(text)}\n{done.stdout}\nfailed with status {done.returncode}")
    return done.stdout


def symbols(files: list[Path], defined: bool, prefix: str) -> set[str]:
    """Names of functions that ELF files define, or that they want of others."""
    if not files:
        return set()
    which = "--defined-only" if defined else "--undefined-only"
    dynamic = [] if files[0].suffix == ".o" else ["-D"]
    text = command("nm", "-P", which, *dynamic, *files)
    names = {line.split()[0].partition("@")[0] for line in text.splitlines() if " " in line}
    return {name for name in names if re.match(prefix + "[A-Z]", name)}


class Build:
    def __init__(self, folder: Path):
        self.folder, self.objects = folder, folder / "obj"
        for name in ("lib", "ext", "obj"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.cuda = [f"-I{site('nvidia')}/{part}/include" for part in ("cuda_runtime", "cuda_nvcc")]
        self.pool = ThreadPoolExecutor(os.cpu_count())

    def forget_other_versions(self) -> None:
        """Removes what was built with another Python, CuPy, Cython, NumPy, CUDA, or processor."""
        named = ["cupy-cuda12x", "cython", "numpy", "nvidia-cuda-runtime-cu12"]
        numbers = [f"{name}-{version(name)}" for name in named]
        text = " ".join([sys.version.split()[0], *numbers, *EXACT])
        stamp = self.folder / "versions"
        if not stamp.exists() or stamp.read_text() != text:
            for file in [*self.objects.glob("*"), *self.folder.glob("ext/*")]:
                file.unlink()
            stamp.write_text(text)

    def stale(self, target: Path, sources: list[Path]) -> bool:
        """Whether `target` is older than one of `sources`, or than the headers it was made of."""
        if not target.exists():
            return True
        listed = target.with_suffix(".d")
        if target.suffix == ".o" and listed.exists():
            names = listed.read_text().replace("\\\n", " ").partition(": ")[2].split()
            sources = [*sources, *map(Path, names)]
        made = target.stat().st_mtime
        return any(not s.exists() or s.stat().st_mtime > made for s in [*sources, Path(__file__)])

    def make(self, target: Path, *words: object, **options) -> None:
        """Runs a command that writes `target`, aside: who has the old file open keeps it."""
        aside = target.with_name(f"{target.name}.{os.getpid()}")
        command(*words, "-o", aside, **options)
        aside.rename(target)

    def compile(self, source: Path, name: str, *flags: str) -> Path:
        target = self.objects / f"{name}.o"
        if self.stale(target, [source]):
            listing = ["-MMD", "-MF", target.with_suffix(".d"), "-MT", "x"]
            self.make(target, "g++", *flags, *listing, "-c", source)
        return target

    def compile_folder(self, folder: str, *flags: str) -> list[Path]:
        """The objects of a folder's sources, compiled side by side."""
        files = sorted((SOURCE / folder).glob("*.cc"))
        include = [f"-I{SOURCE}", f"-I{SOURCE / 'libraries'}", *self.cuda]
        start = [
            self.pool.submit(
                self.compile, file, f"{folder.replace('/', '-')}-{file.stem}",
                *FLAGS, *include, *flags,
            )
            for file in files
        ]  # fmt: skip
        return [future.result() for future in start]

    def placeholders(self, soname: str, names: set[str], status: int) -> list[Path]:
        """An object with functions that say that they are not there and return `status`."""
        file = self.objects / f"{soname}-missing.cpp"
        lines = ['#include "standin.h"', "#define MISSING(NAME) FAKECUDA_EXPORT int NAME() "
                 f"{{ return fakecuda_not_implemented(#NAME, {status}); }}"]  # fmt: skip
        text = "\n".join([*lines, *(f"MISSING({name})" for name in sorted(names)), ""])
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
        return [self.compile(file, file.stem, *FLAGS, "-O1", f"-I{SOURCE}")]

    def link(self, target: Path, objects: list[Path], *flags: object) -> None:
        if self.stale(target, objects):
            static = ["-shared", "-static-libstdc++", "-static-libgcc", "-Wl,-Bsymbolic"]
            self.make(target, "g++", *static, *objects, *flags, "-Wl,-z,defs")

    def driver(self, runtime: Path) -> Path:
        """libcuda.so.1; `runtime` is the object that wants its cuda* functions."""
        objects = self.compile_folder("driver", "-O2") + self.compile_folder("interpreter", *EXACT)
        lacking = symbols([runtime], False, "cuda") - symbols(objects, True, "cuda")
        objects += self.placeholders(DRIVER, lacking, 801)
        target = self.folder / "lib" / DRIVER
        script = self.script(DRIVER, "{ global: cu[A-Z]*; cuda[A-Z]*; fakecuda_*; local: *; };")
        self.link(target, objects, f"-Wl,-soname,{DRIVER}", script, "-ldl", "-lpthread")
        return target

    def script(self, soname: str, text: str) -> str:
        file = self.objects / f"{soname}.map"
        file.write_text(text)
        return f"-Wl,--version-script={file}"

    def library(self, library: Library, driver: Path) -> None:
        objects = [o for folder in library.folders for o in self.compile_folder(folder, "-O2")]
        if library.extension:
            suffix = sysconfig.get_config_var("EXT_SUFFIX")
            prefix = library.names.rstrip("*")
            wanted = symbols([site(library.extension + suffix)], False, prefix)
            lacking = wanted - symbols(objects, True, prefix)
            objects += self.placeholders(library.soname, lacking, library.status)
        # CuPy's extension asks for its functions by name and version, which is the soname.
        names = f"global: {library.names}; fakecuda_*;" if library.names else ""
        exported = f"{library.soname} {{ {names} local: *; }};"
        self.link(
            self.folder / "lib" / library.soname, objects, f"-Wl,-soname,{library.soname}",
            self.script(library.soname, exported), driver,
        )  # fmt: skip

    def cupy_source(self) -> Path:
        """CuPy's source distribution, of the version that the wheel has, unpacked."""
        name = f"cupy-{version('cupy-cuda12x')}"
        root = self.folder / name
        if not root.exists():
            # pip asks a source distribution for its metadata; the stub build, which CuPy's
            # documentation is made with, answers without a CUDA toolkit. pip compares the
            # archive with the index's hash.
            command(
                sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "cupy",
                "--no-build-isolation", "--dest", self.folder, name.replace("-", "=="),
                env={**os.environ, "CUPY_INSTALL_USE_STUB": "1"},
            )  # fmt: skip
            with tempfile.TemporaryDirectory(dir=self.folder) as aside:
                with tarfile.open(self.folder / f"{name}.tar.gz") as archive:
                    archive.extractall(aside, filter="data")
                (Path(aside) / name).rename(root)
        return root

    def extension_object(self, root: Path, module: str) -> Path:
        """The object of one of CuPy's extension modules, with the settings of CuPy's setup.py."""
        source = root / module.replace(".", "/")
        short = module.rpartition(".")[2]
        text, target = source.with_suffix(".pyx"), self.objects / f"{short}.cpp"
        header = (site("nvidia") / "cuda_runtime/include/cuda.h").read_text()
        number = re.search(r"#define CUDA_VERSION (\d+)", header).group(1)
        constants = {
            "CUPY_USE_CUDA_PYTHON": False,
            "CUPY_CUFFT_STATIC": False,
            "CUPY_CYTHON_VERSION": version("cython"),
            "CUPY_CUDA_VERSION": number,
            "CUPY_HIP_VERSION": 0,
        }
        directives = [
            f"-X{name}=True"
            for name in ("embedsignature", "c_api_binop_methods", "freethreading_compatible")
        ] + ["-Xbinding=False", "-Xwarn.deprecated.IF=False"]
        if self.stale(target, [text]):
            self.make(
                target, sys.executable, "-m", "cython", "-3", "--cplus", *directives,
                "-E", ",".join(f"{key}={value}" for key, value in constants.items()),
                f"-I{root}", text, cwd=root,
            )  # fmt: skip
        include = [
            SOURCE / "libraries/include", root / "cupy/cuda", root / "cupy_backends",
            root / "cupy_backends/cuda/api", site("numpy/_core/include"),
            sysconfig.get_paths()["include"],
        ]  # fmt: skip
        flags = ["-D_FORCE_INLINES=1", '-DCYTHON_EXTERN_C=extern "C"',
                 "-DNPY_TARGET_VERSION=NPY_2_0_API_VERSION"]  # fmt: skip
        return self.compile(
            target, short, "-std=c++20", "-O1", "-fPIC", "-fpermissive", "-w",
            *flags, *self.cuda, *(f"-I{folder}" for folder in include),
        )  # fmt: skip

    def extension(self, module: str, objects: list[Path], driver: Path) -> None:
        target = self.folder / "ext" / f"{module}.so"
        if self.stale(target, objects):
            static = ["-static-libstdc++", "-static-libgcc"]
            self.make(target, "g++", "-shared", *static, *objects, driver)

    def all(self) -> None:
        self.forget_other_versions()
        root = self.cupy_source()
        names = ["cupy_backends.cuda.api.runtime", "cupy.cuda.thrust"]
        runtime, thrust = self.pool.map(lambda name: self.extension_object(root, name), names)
        driver = self.driver(runtime)
        for library in LIBRARIES:
            self.library(library, driver)
        self.extension(names[0], [runtime], driver)
        self.extension(names[1], [thrust, *self.compile_folder("libraries/thrust", "-O2")], driver)


def main() -> None:
    try:
        lacking = missing()
    except RefusedError as reason:
        print(f"ci/fakecuda: the stand-in for CUDA can't be built here: {reason}", file=sys.stderr)
        sys.exit(3)
    if sys.argv[1] == "--missing":
        print(*lacking)
        return
    if lacking:
        sys.exit(4)
    Build(Path(sys.argv[1]).resolve()).all()


if __name__ == "__main__":
    main()
