"""CUDA kernels in the place of formulas, for CuPy arrays. Imports nothing; needs no GPU itself."""

import os
from functools import cache

__all__ = ["enabled"]


@cache
def enabled() -> bool:
    """Whether kernels stand in for the formulas on CUDA: unless GPUGRAD_FUSION is 0.

    The environment is read once, when the first CuPy array is met. ValueError for another value
    than 0 and 1.

    >>> enabled() == (os.environ.get("GPUGRAD_FUSION", "1") == "1")
    True
    """
    said = os.environ.get("GPUGRAD_FUSION", "").strip() or "1"
    if said not in ("0", "1"):
        raise ValueError(f"GPUGRAD_FUSION: expected 0 (formulas) or 1 (kernels), got {said!r}")
    return said == "1"
