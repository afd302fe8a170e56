"""The kernels of recurrent steps give what the formulas give; what the steps of layers launch."""

import numpy as np
import pytest
from gpu import launches, needs_gpu, needs_usual_stand_in, send

import gpugrad as gg
from gpugrad.backend.host import NUMPY
from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.kernels.source import FLOATS

try:
    import fakecuda
except ImportError:  # a GPU's own driver
    fakecuda = None

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


# What PyTorch 2.13 launches without cuDNN, by its sources in aten/src/ATen/native: RNN.cpp and
# cuda/RNN.cu have for each step two products and a kernel forward (a GRU too), and two products by
# the states, two by the weights, a kernel and two sums by the biases backward.
# cuda/Normalization.cu has two kernels forward and two backward, and an addition that counts
# batches. A convolution: test_window_kernels.py. Here x has no gradient.
@needs_usual_stand_in
@pytest.mark.parametrize(
    ("kind", "forward", "backward"),
    [
        ("LSTM", (STEPS + 3, STEPS + 1), (STEPS + 2, STEPS + 3)),
        ("GRU", (STEPS + 5, STEPS + 1), (STEPS + 7, STEPS + 3)),
        ("BatchNorm2d", (4, 0), (1, 0)),
        ("Conv2d", (2, 1), (3, 1)),
    ],
)
def test_a_training_step_launches_few_kernels_and_never_waits(kind, forward, backward):
    with gg.device("cuda"):
        if kind in ("LSTM", "GRU"):
            layer, x = getattr(gg.nn, kind)(3, 5), gg.ones((STEPS, 2, 3))
        else:
            layer = gg.nn.Conv2d(3, 4, 3) if kind == "Conv2d" else gg.nn.BatchNorm2d(3)
            x = gg.ones((2, 3, 6, 6))
        optimizer = gg.optim.Adam(layer.parameters())

        def run():
            y = layer(x)
            return y[0] if isinstance(y, tuple) else y

        g = gg.ones_like(run())
        for _ in range(2):  # the first one compiles and allocates
            with fakecuda.count() as first:
                y = run()
            with fakecuda.count() as second:
                y.backward(g)
            with fakecuda.count() as third:
                optimizer.step()
                optimizer.zero_grad()
    assert (first.total_launches, first.total_library) == forward
    assert (second.total_launches, second.total_library) == backward
    assert third.total_launches == 1
    assert [one.waits for one in (first, second, third)] == [{}] * 3
