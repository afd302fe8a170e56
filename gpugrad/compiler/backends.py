"""What runs a program: C or CUDA where possible, else the array library.

Imports native, replay, and for CUDA device_program.
"""

from typing import Any

from gpugrad.backend.host import NUMPY
from gpugrad.backend.lines import warn
from gpugrad.codegen.operations import NotFusibleError
from gpugrad.compiler.c import native
from gpugrad.compiler.programs.passes import simplified
from gpugrad.compiler.programs.program import Program
from gpugrad.compiler.replay import replay
from gpugrad.errors import CompileError

__all__ = ["built", "in_c", "in_cuda"]


def in_c(program: Program, reuse: dict[int, int], moves: tuple[int, int] | None = None) -> Any:
    """The program in C; None where it is left to NumPy."""
    try:
        return native.build(program, reuse, moves)
    except NotFusibleError:
        return None
    except CompileError as error:
        warn(f"{error}. The program runs by NumPy", RuntimeWarning)
        return None


def in_cuda(program: Program, xp: Any, reuse: dict[int, int]) -> Any:
    """The program in CUDA; None where it is left to the functions of ``xp``."""
    if xp.product_into is None:  # another library, or gpugrad's kernels are turned off
        return None
    from gpugrad.compiler.cuda.program import build

    return build(program, xp, reuse)


def built(program: Program, xp: Any, moves: tuple[int, int]) -> Any:
    """The body of a loop, simplified, as something that runs over arrays of a namespace.

    ``moves`` has the numbers of its carries and of its slices.
    """
    program = simplified(program)
    compiled = in_c(program, {}, moves) if xp is NUMPY else in_cuda(program, xp, {})
    return replay.build(program) if compiled is None else compiled
