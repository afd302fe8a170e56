"""The kernels of recurrent steps give what the formulas give."""

import numpy as np
import pytest
from gpu import launches, needs_gpu, send

from gpugrad.backend.host import NUMPY
from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.kernels.source import FLOATS

pytestmark = needs_gpu
TOLERANCES = {2: 6e-3, 4: 2e-5, 8: 1e-12}
STEPS = 4


def compare(name, operands, dtype, count):
    """A kernel's results are the formula's, with so many launches and no others of gpugrad."""
    cupy = pytest.importorskip("cupy")

    def sent(value):
        if isinstance(value, tuple):
            return tuple(map(sent, value))
        return send(value)[0]

    def wide(value):
        if isinstance(value, tuple):
            return tuple(map(wide, value))
        return value.astype("f") if getattr(value, "dtype", None) == np.float16 else value

    found, launched = launches(
        getattr(namespace_of(cupy.zeros(1)), name), *[sent(value) for value in operands]
    )
    assert launched == count
    right = FORMULAS[name](NUMPY, *[wide(value) for value in operands])
    found, right = (value if isinstance(value, tuple) else (value,) for value in (found, right))
    for one, other in zip(flat(found), flat(right), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == dtype
            tolerance = TOLERANCES[dtype.itemsize]
            np.testing.assert_allclose(one.get(), other, rtol=tolerance, atol=tolerance * 4)
    return right


def flat(value):
    return [leaf for one in value for leaf in flat(one)] if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_step_is_one_kernel_each_way(kind, dtype, rng):
    states = 2 if kind == "lstm" else 1
    for batch, hidden, lengths in (
        (1, 1, None),
        (3, 5, None),
        (3, 5, [STEPS, 1, 0]),
        (2, 140, None),
    ):
        mask = None if lengths is None else np.arange(STEPS)[:, None, None] < np.c_[lengths]
        rows = (4 if kind == "lstm" else 3) * hidden
        x, start, weight, bias, g = (
            rng.standard_normal(shape).astype(dtype)
            for shape in ((STEPS, batch, rows), (states, batch, hidden), (rows, hidden), hidden,
                          (2, STEPS, batch, hidden))
        )  # fmt: skip
        weight *= 0.5
        ends = (bias,) if kind == "gru" else ()
        operands = (x, *start, weight, *ends, mask)
        after, kept = compare(f"{kind}_steps", operands, dtype, STEPS)
        after, kept = (
            tuple(a.astype(dtype) for a in after) if kind == "lstm" else after.astype(dtype),
            kept.astype(dtype),
        )
        for gs in ((g[0], g[1]), (None, g[1]), (g[0], None)):
            given = gs if kind == "lstm" else gs[0]
            operands = (given, None, (True,) * 4, *start, weight, mask, after, kept)
            compare(f"{kind}_steps_vjp", operands, dtype, STEPS)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_a_step_of_an_rnn_is_one_kernel_each_way(nonlinearity, dtype, rng):
    for batch, hidden, lengths in ((1, 1, None), (3, 5, [STEPS, 1, 0]), (2, 140, None)):
        mask = None if lengths is None else np.arange(STEPS)[:, None, None] < np.c_[lengths]
        x, start, weight, g = (
            rng.standard_normal(shape).astype(dtype)
            for shape in ((STEPS, batch, hidden), (batch, hidden), (hidden, hidden),
                          (STEPS, batch, hidden))
        )  # fmt: skip
        weight *= hidden**-0.5
        x[1, 0, 0] = np.nan if nonlinearity == "relu" else np.inf
        (after,) = compare("elman", (x, start, weight, mask, nonlinearity), dtype, STEPS)
        for needs in ((True,) * 4, (True, True, False, False)):
            operands = (g, needs, start, weight, mask, after.astype(dtype), nonlinearity)
            compare("elman_vjp", operands, dtype, STEPS)
