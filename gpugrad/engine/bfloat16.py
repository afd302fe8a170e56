"""bfloat16: most ops compute it in float32 and round once. Imports record and below.

ml_dtypes' own functions take Python numbers for float64, know no other dtype of 16 bits and no
`einsum`, and SciPy, LAPACK and most of gpugrad's kernels know no bfloat16. So only products, sums
of two, what moves elements, and what a namespace has kernels for run on such arrays themselves.
From the first tensor of this dtype on all operations of the process come by here; before it nobody
asks.
"""

from collections.abc import Sequence
from typing import Any

from gpugrad.backend.namespace import namespace_of
from gpugrad.backend.precision import SINGLE, is_half
from gpugrad.engine import detours
from gpugrad.engine import record as calls
from gpugrad.engine.op import TABLE, Op

__all__ = ["begin", "end"]

RANK = 1  # among detours: behind autocast, before what `vmap` does
# Ops that run on bfloat16 arrays; the products with sums in float32.
NATIVE = frozenset((
    "add astype attention attention_heads broadcast_to concat_arrays diagonal flip getitem "
    "index_set linear matmul multiply negative positive real reshape scatter split stack_arrays "
    "subtract to_device transposed_matmul transpose windows"
).split())  # fmt: skip


def begin() -> None:
    """Let all ops look for operands of bfloat16."""
    if _through_float32 not in detours.active:
        detours.use(_through_float32, True, RANK)


def end() -> None:
    """Let no op look for them, until `begin`: for tests."""
    detours.use(_through_float32, False)


def _is_brain(dtype: Any) -> bool:
    return dtype.kind == "V" and is_half(dtype)


def _through_float32(op: Op, operands: Sequence[Any], parameters: dict[str, Any] | None) -> Any:
    """The result of an op with operands of bfloat16; None where it needs no help."""
    brain: Any = None
    array: Any = None
    others, numbers = False, False
    for index, operand in enumerate(operands):
        raw = operand._array if isinstance(operand, calls.Tensor) else operand
        dtype = getattr(raw, "dtype", None)
        if dtype is None:
            numbers = numbers or raw is not None
        elif _is_brain(dtype):
            brain, array = dtype, raw
        elif op.operands[min(index, len(op.operands) - 1)] in ("real", "cast"):
            others = others or dtype.kind != "b"
    if brain is None or op.name in ("astype", "to_device"):
        return None
    if not (others or numbers):
        if op.name in NATIVE or (array.size and op.name in namespace_of(array).bfloat16):
            return None
        if op.name.startswith("linear_"):  # the product itself in bfloat16
            y = _onward(TABLE["linear"], operands)
            activation = TABLE[op.name.removeprefix("linear_")]
            result = _through_float32(activation, (y,), parameters)
            return _onward(activation, (y,), parameters) if result is None else result
    y = _onward(op, [_cast(x, brain, SINGLE) for x in operands], parameters)
    if others:  # what float32 promotes to
        return y
    if isinstance(y, tuple):
        return tuple([_cast(one, SINGLE, brain) for one in y])
    return _cast(y, SINGLE, brain)


def _cast(x: Any, source: Any, target: Any) -> Any:
    if getattr(x, "dtype", None) != source:
        return x
    return _onward(TABLE["astype"], (x,), {"dtype": target})


def _onward(op: Op, operands: Sequence[Any], parameters: dict[str, Any] | None = None) -> Any:
    return detours.behind(RANK, calls.directly, op, operands, parameters)
