"""Errors that are named and worded as those of CuPy and its libraries."""


class CUDARuntimeError(RuntimeError):
    """Named and worded as CuPy's."""


class OutOfMemoryError(MemoryError):
    """Named as CuPy's, and worded so."""

    __module__ = "cupy.cuda.memory"


class DynamicLibNotFoundError(RuntimeError):
    """Named as cuda-pathfinder's."""
