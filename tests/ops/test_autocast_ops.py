"""autocast, for every op of the table: values and derivatives are those of casts by hand."""

import zlib
from importlib.util import find_spec

import numpy as np
import pytest
from optable import arrays_for, case_id, drawn, prepared, samples

import gpugrad as gg
from gpugrad.engine.op import TABLE
from gpugrad.tensor import OPS, TENSORS

HALVES = ["float16", *["bfloat16"] * (find_spec("ml_dtypes") is not None)]
EVERY = [op for op in TABLE.values() if samples(op)]


def declared(op, dtype, half):
    """The dtype in which an entry says that an operand is computed."""
    if op.autocast == "half" and dtype in ("float32", "float16", "bfloat16"):
        return half
    if op.autocast == "float32" and dtype in ("float16", "bfloat16"):
        return "float32"
    return dtype


def total(outputs):
    """A number that depends on all that is differentiable, in float64, and never overflows."""
    parts = [y for y in outputs if y.requires_grad]
    parts = [gg.real(y).astype("float64") for y in parts]
    return sum((y / (1 + y * y)).sum() for y in parts) if parts else None


def results(op, sample, half, dtypes, by_hand):
    """The outputs and the derivatives of two orders by the operands."""
    operands = []
    arrays = prepared(op, arrays_for(op, sample))
    for index, (array, dtype) in enumerate(zip(arrays, dtypes, strict=True)):
        real = drawn(op, index) in ("real", "cast")
        x = gg.tensor(array.astype("float32"), dtype=dtype) if real else gg.tensor(array)
        operands.append(x.requires_grad_() if real else x)
    xs = [x for x in operands if x.requires_grad]
    if by_hand:
        casts = [x.astype(declared(op, str(x.dtype), half)) if x in xs else x for x in operands]
        y = OPS[op.name](*casts, **sample.parameters)
    else:
        with gg.autocast(half):
            y = OPS[op.name](*operands, **sample.parameters)
    outputs = y if isinstance(y, tuple) else (y,)
    if op.observe is not None:
        seen = op.observe(TENSORS, *outputs)
        outputs = seen if isinstance(seen, tuple) else (seen,)
    loss, found = total(outputs), []
    if loss is not None:
        first = gg.gradients(loss, xs, create_graph=True, allow_unused=True)
        found += first
        again = total([d for d in first if d is not None])
        found += [] if again is None else gg.gradients(again, xs, allow_unused=True)
    found = [d for d in found if d is not None]
    return [(str(one.dtype), one.detach().cpu().numpy()) for one in (*outputs, *found)]


@pytest.mark.parametrize("op", EVERY, ids=case_id)
def test_autocast_is_a_cast_by_hand(op, device):
    """Operands are in float32; those of an op that runs in float32 in half precision."""
    half = HALVES[zlib.crc32(op.name.encode()) % len(HALVES)]
    sample = samples(op)[0]
    dtypes = [half if op.autocast == "float32" else "float32"] * len(sample.shapes)
    with np.errstate(all="ignore"):
        ours = results(op, sample, half, dtypes, by_hand=False)
        theirs = results(op, sample, half, dtypes, by_hand=True)
    for (dtype, a), (expected, b) in zip(ours, theirs, strict=True):
        assert dtype == expected
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()
