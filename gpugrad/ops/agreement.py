"""The operands at which NumPy, SciPy, CuPy and CUDA give different values, for entries' `Checks`.

Imports nothing of gpugrad. The arrays are NumPy's; each docstring is the reason.
"""

from typing import Any

import numpy as np

__all__ = [
    "beyond_the_dtype", "extreme_parameters", "far_out", "far_phase", "infinite", "largest",
    "least_normal", "near_subnormal", "negative_subnormal", "overflowing_product",
    "subnormal", "whole_zero", "wide_shift",
]  # fmt: skip


def _any(mask: Any, arrays: tuple[Any, ...]) -> Any:
    return np.logical_or.reduce([mask(x) & (x.dtype.kind == "f") for x in arrays])


def _subnormal(x: Any) -> Any:
    tiny = np.finfo(x.dtype).tiny if x.dtype.kind == "f" else 0
    return (x != 0) & (np.abs(x) < tiny)


def _largest(x: Any) -> Any:
    return np.abs(x) == (np.finfo(x.dtype).max if x.dtype.kind == "f" else 0)


def subnormal(*arrays: Any) -> Any:
    """Of subnormal numbers CuPy's special functions, or SciPy's, have few digits or none."""
    return _any(_subnormal, arrays)


def near_subnormal(*arrays: Any) -> Any:
    """A difference of such numbers is zero on CUDA, as CuPy compiles it, and times infinity NaN."""
    return _any(lambda x: _subnormal(x / 2), arrays)


def overflowing_product(a: Any, b: Any, added: Any) -> Any:
    """CUDA rounds once after the sum, and has no infinity where the product alone is too large."""
    with np.errstate(all="ignore"):
        return np.isinf(a * b) & np.isfinite(a) & np.isfinite(b)


def negative_subnormal(*arrays: Any) -> Any:
    """As CuPy compiles it, CUDA's logarithm of a negative subnormal number is -inf."""
    return _any(lambda x: _subnormal(x) & (x < 0), arrays)


def infinite(x: Any) -> Any:
    """SciPy has NaN for infinity, CuPy the limit; of subnormal numbers both have few digits."""
    return subnormal(x) | (np.abs(x) == np.inf)


def far_phase(x: Any) -> Any:
    """Of large angles SciPy's J and Y lose digits, 6 of j0(1e10), and CUDA's have other errors.

    Those of CUDA are absolute ones in float32. Of infinity SciPy's are NaN.
    """
    return subnormal(x) | (np.abs(x.astype(float)) >= 150)


def least_normal(x: Any) -> Any:
    """CuPy's K of the smallest normal number, and of those below, is that of 0."""
    tiny = np.finfo(x.dtype).tiny if x.dtype.kind == "f" else 0
    return (x != 0) & (np.abs(x) <= tiny)


def largest(*arrays: Any) -> Any:
    """CUDA's hypot is off by one in the last digit: infinite beside the largest number."""
    return _any(_largest, arrays)


def far_out(x: Any) -> Any:
    """At the largest numbers the derivative is a quotient of subnormal ones."""
    return _any(_largest, (x,))


def extreme_parameters(a: Any, b: Any, x: Any) -> Any:
    """Neither library takes parameters as large or as small as there are."""
    return _any(_largest, (a, b)) | (np.minimum(a, b) < 1e-30)


def whole_zero(x: Any) -> Any:
    """Of a whole 0 NumPy has what the CPU makes of infinity, CuPy has 0."""
    return (x == 0) & (x.dtype.kind in "iu")


def wide_shift(a: Any, b: Any) -> Any:
    """CUDA looks at the low 32 bits of a shift by 2**32 or more, NumPy at all."""
    return (b < 0) | (b >= 64)


def beyond_the_dtype(a: Any, b: Any) -> Any:
    """A multiple that the dtype does not hold is another wrong number."""
    most = np.iinfo(a.dtype).max if a.dtype.kind in "iu" else np.inf
    return np.abs(a.astype(float) * b) > most / 2
