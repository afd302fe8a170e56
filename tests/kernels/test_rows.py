"""The kernels over rows, compared with the formulas."""

from functools import partial

import numpy as np
import optable
import pytest
from gpu import kernel, launches, needs_gpu, send

import gpugrad as gg
from gpugrad.backend.namespace import FORMULAS, NAMESPACES
from gpugrad.engine.op import TABLE
from gpugrad.functions import FUNCTIONS
from gpugrad.kernels import class_losses
from gpugrad.kernels import rows as row_kernels
from gpugrad.kernels.source import FLOATS

pytestmark = needs_gpu

DTYPES = pytest.mark.parametrize("dtype", FLOATS, ids=str)

TOLERANCE = {"float16": 2e-3, "float32": 3e-6, "float64": 1e-13}

ROUNDING = {"float16": 1e-6, "float32": 5e-6, "float64": 1e-14}


def arrays(rng, rows, length, dtype):
    """Ordinary numbers, and in some rows those that formulas stumble over."""
    x = rng.standard_normal((rows, length)) * 3
    x[1::7] *= 1e30 if dtype != np.float16 else 5e3
    x = x.astype(dtype)
    inf = np.inf
    special = [inf, -inf, np.nan, 0.0, -0.0, np.finfo(dtype).smallest_subnormal]
    for row, value in enumerate(special, 2):
        x[row % rows, rng.integers(length)] = value
    if rows > 10:
        x[8], x[9], x[10] = -inf, 0.0, np.finfo(dtype).max
        x[11 % rows, 1:] = -inf
    return x


def formula(name, *operands):
    """The formula over NumPy; float16 is computed in float32 and rounded once."""
    wide = [
        a.astype(np.float32) if getattr(a, "dtype", None) == np.float16 else a for a in operands
    ]
    with np.errstate(all="ignore"):
        return FORMULAS[name](NAMESPACES[np.ndarray], *wide)


def check(name, dtype, *operands):
    """One kernel's result beside its formula's."""
    y, count = launches(kernel, name, *operands)
    assert count
    with np.errstate(over="ignore"):
        expected = np.asarray(formula(name, *operands)).astype(dtype)
    assert y.dtype == dtype
    assert y.shape == expected.shape
    # Differences lose digits; numbers below the least normal one are zeros to CuPy's kernels.
    exact = name in ("softmax", "logsumexp") and dtype != np.float16
    least = np.finfo(dtype).tiny if exact else ROUNDING[str(dtype)]
    np.testing.assert_allclose(y.get(), expected, rtol=TOLERANCE[str(dtype)], atol=least)


SHAPES = [(1, 1), (3, 2), (13, 10), (40, 31), (12, 256), (12, 300), (2, 5000)]


@DTYPES
@pytest.mark.parametrize(("rows", "length"), SHAPES)
def test_rows_are_those_of_the_formulas(rows, length, dtype, rng):
    x = arrays(rng, rows, length, dtype)
    g = rng.standard_normal(x.shape).astype(dtype)
    for name in ("softmax", "log_softmax", "logsumexp"):
        check(name, dtype, x, -1)
    with np.errstate(all="ignore"):
        y = formula("softmax", x, -1).astype(dtype)
        check("softmax_vjp", dtype, g, y, -1)
        y = formula("log_softmax", x, -1).astype(dtype)
        check("log_softmax_vjp", dtype, g, y, -1)
        y = formula("logsumexp", x, -1).astype(dtype)
        check("logsumexp_vjp", dtype, g[:, 0], y, x, -1, False)


@DTYPES
@pytest.mark.parametrize(("rows", "length"), SHAPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_cross_entropy_is_that_of_the_formula(rows, length, dtype, reduction, rng):
    x = arrays(rng, rows, length, dtype)
    target = rng.integers(0, length, rows)
    check("class_cross_entropy", dtype, x, target, reduction)
    loss, scores = kernel("class_cross_entropy_and_residuals", x, target, reduction)
    alone = kernel("class_cross_entropy", x, target, reduction)
    np.testing.assert_array_equal(loss.get(), alone.get())
    with np.errstate(over="ignore"):
        right = formula("log_softmax", x, -1).astype(dtype)
    near = {"rtol": TOLERANCE[str(dtype)], "atol": ROUNDING[str(dtype)]}
    np.testing.assert_allclose(scores.get(), right, **near)
    g = rng.standard_normal(rows if reduction == "none" else ()).astype(dtype)
    check("class_cross_entropy_vjp", dtype, np.asarray(g), target, right, reduction)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(("rows", "length"), [(7, 5), (200, 3), (3, 700)])
def test_samples_that_do_not_count_and_log_probabilities(rows, length, dtype, reduction, rng):
    x = rng.standard_normal((rows, length)).astype(dtype)
    target = rng.integers(0, length, rows)
    target[1::3] = -100
    x[1] = np.nan  # of a sample that does not count
    g = np.asarray(rng.standard_normal(rows if reduction == "none" else ()).astype(dtype))
    check("cross_entropy_ignoring", dtype, x, target, -100, reduction)
    loss, scores = kernel("cross_entropy_ignoring_and_residuals", x, target, -100, reduction)
    assert np.isfinite(loss.get()).all()
    check("class_cross_entropy_vjp", dtype, g, target, scores.get(), reduction, -100)
    check("class_nll", dtype, x, target, reduction, -100)
    check("class_nll_vjp", dtype, g, target, x, reduction, -100)
    target[1::3] = length  # no class, and so NaN
    check("class_nll", dtype, x, target, reduction)
    check("class_nll_vjp", dtype, g, target, x, reduction)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "int32", "int64", "uint64"])
def test_a_class_that_there_is_not_gives_nan(kind, rng):
    x = rng.standard_normal((6, 5)).astype(np.float32)
    most = np.iinfo(kind)
    target = np.array([int(n) for n in (0, 4, 5, 100, most.max, most.min)], object).astype(kind)
    for reduction in ("none", "mean", "sum"):
        check("class_cross_entropy", x.dtype, x, target, reduction)
    losses = kernel("class_cross_entropy", x, target, "none").get()
    out = (target < 0) | (target.astype(object) >= 5)
    np.testing.assert_array_equal(np.isnan(losses), out)
    scores = formula("log_softmax", x, -1)
    check("class_cross_entropy_vjp", x.dtype, np.ones(6, np.float32), target, scores, "none")


def test_axes_layouts_and_shapes(rng):
    x = rng.standard_normal((4, 3, 5))
    for axis in (-1, 2, np.int64(-1), (2,), (1, 2), (-1, -2), (0, 1, 2)):
        check("softmax", x.dtype, x, axis)
    for keepdims in (False, True):
        for axis in (-1, (1, 2), None):
            check("logsumexp", x.dtype, x, axis, keepdims)
            y = FORMULAS["logsumexp"](NAMESPACES[np.ndarray], x, axis, keepdims)
            check("logsumexp_vjp", x.dtype, np.ones_like(y), y, x, axis, keepdims)
    strided, turned = send(rng.standard_normal((6, 8)), rng.standard_normal((5, 4)))
    for layout in (strided[::2, ::-2], turned.T):
        y, count = launches(kernel, "softmax", layout, -1)
        assert count == 1
        np.testing.assert_allclose(y.get(), formula("softmax", layout.get(), -1), rtol=1e-14)


def test_what_no_kernel_is_for_goes_to_the_formula(rng, monkeypatch):
    x = rng.standard_normal((4, 5))
    target = rng.integers(0, 5, 4)
    xs, ts = send(x, target)
    softmax, loss = partial(kernel, "softmax"), partial(kernel, "class_cross_entropy")
    for module in (row_kernels, class_losses):
        monkeypatch.setattr(module, "LONGEST", 4)

    def results():
        return [
            (softmax(xs, 0), formula("softmax", x, 0)),
            (softmax(xs, -1), formula("softmax", x, -1)),  # few rows, and too long now
            (softmax(xs.astype("F"), -1), formula("softmax", x.astype("F"), -1)),
            (softmax(xs[:0], -1), np.zeros((0, 5))),
            (loss(xs, ts), formula("class_cross_entropy", x, target)),
        ]

    found, count = launches(results)
    assert count == 0
    for y, expected in found:
        np.testing.assert_allclose(y.get(), expected, rtol=1e-6 if y.dtype == "F" else 1e-14)
    with pytest.raises(ValueError, match="reduction must be"):
        loss(xs, ts, "most")
    assert softmax(xs[:, :0], -1).shape == (4, 0)


OPS = (
    "softmax", "log_softmax", "logsumexp", "class_cross_entropy", "cross_entropy_ignoring",
    "class_nll",
)  # fmt: skip

CASES = pytest.mark.parametrize(
    ("op", "sample"),
    [(op, sample) for op, sample in optable.cases() if op.name in OPS],
    ids=optable.case_id,
)


@CASES
def test_derivatives_of_every_order_are_those_on_the_cpu(op, sample):
    found = {}
    for device in ("cpu", "cuda"):
        with gg.device(device):
            x, *rest = optable.tensors_for(op, sample, gg.Device(device))
            y, count = launches(FUNCTIONS[op.name], x, *rest, **sample.parameters)
            (d,) = gg.gradients([(y * y).sum()], [x], create_graph=True)
            (dd,) = gg.gradients([(d * d).sum()], [x])
            found[device] = [part.detach().numpy() for part in (y, d, dd)]
    for one, other in zip(*found.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)
    if sample.shapes != ((),):  # whose formula has a kernel for its 1
        assert (count == 0) == (sample.parameters.get("axis") in (0, (0, 2)))


def test_a_plain_backward_pass_launches_the_rule_s_kernel():
    assert {"softmax_vjp", "class_cross_entropy_vjp"} <= set(FORMULAS) - set(TABLE)
    with gg.device("cuda"):
        x = gg.ones((4, 3), requires_grad=True)
        target = gg.asarray([0, 1, 2, 0])
        for f in (gg.softmax, gg.log_softmax, gg.logsumexp):
            y, forward = launches(f, x, axis=-1)
            _, backward = launches(y.backward, gg.ones_like(y))
            assert (forward, backward) == (1, 1)
        loss, forward = launches(gg.nn.functional.cross_entropy, x, target)
        _, backward = launches(loss.backward)
        assert (forward, backward) == (1, 2)  # one for the cotangent
