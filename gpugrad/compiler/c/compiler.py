"""A C compiler of this machine, and the shared objects that it has made. Imports errors.

Shared objects stay on disk, in a folder that nobody else can write to, under the hash of all that
they depend on: the source, the compiler, its options and the processor. Another process then loads
them without a compiler.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from gpugrad.backend.requirements import pip_install
from gpugrad.errors import CompileError

__all__ = ["Compiler", "find_compiler", "is_kept", "load"]

# No -ffast-math: NaN, infinities and the order of operations stay. What is added up in another
# order is said to be so in the text. A function that is not declared is an error, not one of int:
# programs have no headers.
OPTIONS: tuple[str, ...] = (
    "-std=gnu11", "-march=native", "-fPIC", "-shared", "-fopenmp-simd", "-fwrapv",
    "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-fno-strict-aliasing",
    "-Werror=implicit-function-declaration", "-Werror=return-type",
)  # fmt: skip
if platform.machine().lower() in ("x86_64", "amd64"):
    OPTIONS += ("-mprefer-vector-width=512",)  # where the processor has them; compilers hesitate
# Half of gcc's -O3, and the first call of a program is mostly gcc: programs have the form already
# that the other passes would look for. Vector loops are what matters, and common subexpressions of
# inlined functions, which -ftree-pre finds. Not -fivopts: with it gcc 12 writes nothing in some
# loops of vectors over a few elements that stand apart in memory.
OF_GCC = "-O1", "-ftree-vectorize", "-fvect-cost-model=dynamic", "-ftree-pre", "-fno-ivopts"
OF_OTHERS = ("-O3",)
# Python's process has C's libraries already, and a linker finds them in longer than it takes for a
# program. Where that does not load (on some processors gcc calls functions of its own), with them.
LIBRARIES = (("-nostdlib",), ("-lm",)) if sys.platform == "linux" else (("-lm",),)
LIMIT = 300  # seconds
SHOWN = 2000  # characters of what the compiler has said


class Compiler:
    """A command that compiles C, such as ``["cc"]``."""

    def __init__(self, command: list[str], program: str) -> None:
        self.command = command
        self.program = program

    @property
    def identity(self) -> str:
        """What changes when the compiler does, without running it."""
        about = os.stat(self.program)
        return (
            f"{self.command} {os.path.realpath(self.program)} {about.st_size} {about.st_mtime_ns}"
        )

    @property
    def is_gcc(self) -> bool:
        """Whether it takes gcc's options for single passes."""
        name = os.path.basename(os.path.realpath(self.program))
        return sys.platform == "linux" and "gcc" in name

    @property
    def options(self) -> tuple[str, ...]:
        """The options that all programs are compiled with."""
        return OPTIONS + (OF_GCC if self.is_gcc else OF_OTHERS)

    def version(self) -> str:
        """What the compiler calls itself: the first line of ``--version``."""
        try:
            answer = subprocess.run(
                [*self.command, "--version"], capture_output=True, text=True, timeout=20, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            return f"{self} does not run: {error}"
        return (answer.stdout.splitlines() or [str(self)])[0]

    def compile(self, source: str, target: Path, *options: str) -> None:
        """Compile a source to a shared object; CompileError if that fails."""
        path = target.with_suffix(".c")
        path.write_text(source, encoding="ascii")
        command = [*self.command, *self.options, str(path), "-o", str(target), *options]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        except (OSError, subprocess.SubprocessError) as error:
            raise CompileError(f"compile: {self} does not run: {error}") from error
        if done.returncode:
            message = done.stderr.strip()[:SHOWN]
            raise CompileError(f"compile: {self} does not compile a program: {message}")

    def __str__(self) -> str:
        return shlex.join(self.command)


@cache
def find_compiler() -> Compiler | None:
    """The compiler of $CC, else cc, gcc or clang, else that of the package ziglang, else None.

    None as well where $GPUGRAD_COMPILER is "none".
    """
    if os.environ.get("GPUGRAD_COMPILER") == "none":
        return None
    asked = shlex.split(os.environ.get("CC", ""))
    for command in ([asked] if asked else []) + [["cc"], ["gcc"], ["clang"]]:
        program = shutil.which(command[0])
        if program:
            return Compiler([program, *command[1:]], program)
    package = find_spec("ziglang")
    if package is None or package.origin is None:
        return None
    return Compiler([sys.executable, "-m", "ziglang", "cc"], package.origin)


def load(source: str, *options: str) -> ctypes.CDLL:
    """The shared object of a source, compiled with more options unless it is there already.

    CompileError, with a sentence, if there is no compiler or it fails.
    """
    compiler = find_compiler()
    if compiler is None:
        raise CompileError(
            "compile: no C compiler is found: install gcc or clang, or the package ziglang "
            f"({pip_install('compile')}), or name one in the environment variable CC"
        )
    path = _place(source, compiler, *options)
    if path.exists():
        try:
            return ctypes.CDLL(str(path))
        except OSError:
            pass  # damaged: it is made anew
    failure = None
    for libraries in LIBRARIES:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix="making-") as making:
            made = Path(making) / "program.so"
            compiler.compile(source, made, *options, *libraries)
            os.replace(made, path)  # at once, for other processes
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            failure = error
    raise CompileError(f"compile: what {compiler} has made does not load: {failure}") from failure


def is_kept(source: str, *options: str) -> bool:
    """Whether a shared object of a source, with more options, is there already."""
    compiler = find_compiler()
    return compiler is not None and _place(source, compiler, *options).exists()


def _place(source: str, compiler: Compiler, *options: str) -> Path:
    facts = "\0".join((source, compiler.identity, *compiler.options, *options, _processor()))
    return _folder() / f"{hashlib.sha256(facts.encode()).hexdigest()}.so"


@cache
def _folder() -> Path:
    """The folder of shared objects: that of the user's caches, or one for this process alone.

    Code is loaded from it, so it must belong to the user and nobody else may write to it.
    """
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "") or os.path.expanduser("~/.cache")
    folder = Path(base) / "gpugrad" / "programs"
    if folder.is_absolute():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_private(folder):
                return folder.resolve()
        except OSError:
            pass  # no home, or one that is full or read-only
    return _for_this_process()


def _is_private(folder: Path) -> bool:
    """Whether a folder is the user's, and nobody else can write to it or put another in its place.

    On Windows it lies in the profile of the user.
    """
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or not os.access(folder, os.W_OK):
        return False
    if not hasattr(os, "getuid"):
        return True
    if about.st_uid != os.getuid() or about.st_mode & 0o077:
        return False
    for parent in folder.resolve().parents:
        about = parent.stat()
        writable = about.st_mode & 0o022 and not about.st_mode & stat.S_ISVTX
        if about.st_uid not in (0, os.getuid()) or writable:
            return False
    return True


def _for_this_process() -> Path:
    import atexit

    folder = tempfile.mkdtemp(prefix="gpugrad-")  # 0700
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@cache
def _processor() -> str:
    """The processor that -march=native means."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            about = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
        return "".join(dict.fromkeys(about))
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
