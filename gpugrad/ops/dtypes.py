"""What formulas ask about dtypes: half precisions in float32, whole numbers, no complex ones.

A dtype is known by its identity where that is enough: it costs a tenth of a look at its kind.
Imports precision, the names of which it passes on.
"""

from typing import Any

from gpugrad.backend.precision import DOUBLE, HALF, SINGLE, is_half

__all__ = [
    "DOUBLE", "HALF", "SINGLE", "averaged", "computed", "floating", "narrowed", "refuse_complex",
    "rounded", "widened",
]  # fmt: skip


def widened(x: Any) -> Any:
    """x, in single for half precision, in which sums overflow at 65504 and squares from 256 on.

    A gradient may stay as wide: the walk rounds it to the dtype of its data.
    """
    dtype = x.dtype
    if dtype is SINGLE or dtype is DOUBLE:
        return x
    return x.astype(SINGLE) if is_half(dtype) else x


def narrowed(y: Any, x: Any) -> Any:
    """y, the result of a formula over ``widened(x)``, in half precision where x is in it."""
    return y.astype(x.dtype) if is_half(x.dtype) else y


def floating(x: Any) -> Any:
    """x; whole numbers and truth values in the dtype that NumPy's exp has for them."""
    dtype = x.dtype
    if dtype is SINGLE or dtype is DOUBLE or dtype.kind not in "biu":
        return x
    return x.astype(HALF if dtype.itemsize == 1 else SINGLE if dtype.itemsize == 2 else DOUBLE)


def averaged(x: Any) -> Any:
    """x in a dtype to average it in: whole numbers in double, as NumPy does, half in single."""
    dtype = x.dtype
    if dtype is SINGLE or dtype is DOUBLE:
        return x
    return x.astype(DOUBLE) if dtype.kind in "biu" else widened(x)


def computed(x: Any) -> Any:
    """x in a dtype to add up and count in: `floating` for whole numbers, then single for half."""
    dtype = x.dtype
    if dtype is SINGLE or dtype is DOUBLE:
        return x
    return widened(floating(x))


def rounded(y: Any, x: Any) -> Any:
    """y, the result of a formula over ``computed(x)``, in half precision where x is in it."""
    dtype = floating(x).dtype
    return y.astype(dtype) if is_half(dtype) else y


def refuse_complex(x: Any) -> None:
    """The op's DTypeError for complex numbers, which a formula would take for real ones."""
    kind = x.dtype
    if kind is not SINGLE and kind is not DOUBLE and kind.kind == "c":
        raise TypeError("a function of real numbers")
