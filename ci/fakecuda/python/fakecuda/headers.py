"""Precompiled headers for NVRTC, which spends most of its time on reading CuPy's.

A folder for each set of options, since headers precompiled with others are of no use; removed when
the process ends. What a kernel compiles to is the same, and so is its place in CuPy's cache.
"""

import atexit
import functools
import os
import shutil
import tempfile


@functools.cache
def _folder(process: int) -> str:
    """A folder of this process, which a forked child does not share."""
    folder = tempfile.mkdtemp(prefix="fakecuda-")

    def remove() -> None:
        if os.getpid() == process:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


@functools.cache
def _folder_for(process: int, options: tuple[str, ...]) -> str:
    return tempfile.mkdtemp(dir=_folder(process))


def precompile(compiler) -> None:
    """Makes cupy.cuda.compiler ask NVRTC for precompiled headers, which take a large part of its
    time. Where NVRTC refuses, the program is compiled again without them."""
    program = compiler._NVRTCProgram
    compile_without = program.compile

    @functools.wraps(compile_without)
    def compile(self, options=(), log_stream=None):
        folder = _folder_for(os.getpid(), tuple(options))
        try:
            return compile_without(self, (*options, "--pch", f"--pch-dir={folder}"), log_stream)
        except compiler.CompileException:
            pass  # an error of the program's own comes again, without a trace of the first try
        return compile_without(self, options, log_stream)

    program.compile = compile
