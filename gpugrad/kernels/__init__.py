"""CUDA kernels that replace formulas on CuPy arrays. Imports nothing; needs no GPU."""

import os
from functools import cache

__all__ = ["enabled"]


@cache
def enabled() -> bool:
    """Whether kernels replace formulas on CUDA: unless GPUGRAD_FUSION is 0.

    The environment is read once, at the first CuPy array. ValueError for another value than 0
    and 1.

    >>> enabled() == (os.environ.get("GPUGRAD_FUSION", "1") == "1")
    True
    """
    setting = os.environ.get("GPUGRAD_FUSION", "").strip() or "1"
    if setting not in ("0", "1"):
        raise ValueError(f"GPUGRAD_FUSION: expected 0 (formulas) or 1 (kernels), got {setting!r}")
    return setting == "1"
