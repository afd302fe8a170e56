"""Elementwise kernels that move 16 bytes a thread."""

import numpy as np
import pytest
from gpu import launches, needs_gpu, send

import gpugrad as gg
from gpugrad.backend.host import NUMPY
from gpugrad.backend.namespace import NAMESPACES, namespace_of
from gpugrad.codegen.operands import signature
from gpugrad.engine.op import TABLE
from gpugrad.kernels import wide
from gpugrad.kernels.elementwise import FusingNamespace, write
from gpugrad.kernels.wide import Wide

pytestmark = needs_gpu
cupy = pytest.importorskip("cupy")
F16, F32, F64 = (np.dtype(f"float{bits}") for bits in (16, 32, 64))


def rule(name, index=0):
    vjp = TABLE[name].vjps[index]
    return lambda xp, *operands, **words: vjp(xp, *operands, **words)


# What is computed, and of which operands: the dtypes of arrays ("0" before those without axes),
# and numbers.
CASES = {
    "sigmoid": (lambda xp, x: xp.sigmoid(x), ["e"]),
    "gelu": (lambda xp, x: xp.gelu(x), ["f"]),
    "sigmoid_vjp": (rule("sigmoid"), ["f", "f", "f"]),
    "tanh_vjp": (rule("tanh"), ["d", "d", "d"]),
    # Of what relu gives: no negative numbers.
    "relu_vjp": (lambda xp, g, y: xp.relu_vjp(g, xp.abs(y)), ["e", "e"]),
    "multiply": (lambda xp, x, y: xp.multiply(x, y), ["f", "f"]),
    "add": (lambda xp, x, y: xp.add(x, y), ["e", "e"]),
    "mixed": (lambda xp, x, y: xp.subtract(x, y), ["e", "d"]),
    "by a number": (lambda xp, x, y: xp.multiply(x, y), ["f", 0.37]),
    "a number first": (lambda xp, x, y: xp.subtract(x, y), [7, "d"]),
    "by a scalar": (lambda xp, x, y: xp.divide(x, y), ["f", np.float32(3)]),
    "by no axes": (lambda xp, x, y: xp.multiply(x, y), ["0e", "e"]),
    "greater": (lambda xp, x, y: xp.greater(x, y), ["f", "f"]),
    "where": (lambda xp, c, x, y: xp.where(c, x, y), ["?", "d", "d"]),
    "where_vjp": (rule("where", 1), ["f", "f", "?", "f", "f"]),
    "of booleans": (lambda xp, c: xp.where(c, 1.5, -0.5), ["?"]),
    "power": (lambda xp, x, n: xp.power(x, n), ["f", 2]),
}
BY_NAME = pytest.mark.parametrize("name", CASES)


def operands(name, size):
    rng = np.random.default_rng(len(name))
    for kind in CASES[name][1]:
        if not isinstance(kind, str):
            yield kind
        elif kind[0] == "0":
            yield np.array(1.25, kind[1])
        elif kind == "?":
            yield rng.random(size) > 0.5
        else:
            yield (rng.standard_normal(size) * 3).astype(kind)


def kernel_of(name):
    return write("f", CASES[name][0], signature(tuple(operands(name, 4))))


@BY_NAME
@pytest.mark.parametrize("shape", [(1,), (7,), (8,), (4, 4), (3, 4099), (2, 1, 515)])
def test_it_computes_what_the_formula_does(name, shape, monkeypatch):
    monkeypatch.setattr(wide, "LARGE", 1)
    kernel = kernel_of(name)
    given = list(operands(name, shape))
    launch = Wide(kernel, None, cupy)
    everything = send(*given)
    got, count = launches(launch, *[everything[index] for index, _ in kernel.inputs])
    assert count == 1
    host = [x.astype(F32) if getattr(x, "dtype", None) == F16 else x for x in given]
    wanted = CASES[name][0](NUMPY, *host)
    assert got.dtype == kernel.output
    assert got.shape == shape
    tolerance = {1: 0, 2: 2e-3, 4: 5e-6, 8: 1e-13}[got.dtype.itemsize]
    np.testing.assert_allclose(got.get(), wanted.astype(got.dtype), rtol=tolerance, atol=tolerance)


def test_what_is_small_strided_or_of_other_shapes_goes_to_cupys_kernel(monkeypatch):
    monkeypatch.setattr(wide, "LARGE", 8)
    kernel = write("f", lambda xp, x, y: x * y, signature((np.ones(1, "f"), np.ones(1, "f"))))
    taken = []
    launch = Wide(kernel, lambda *given: taken.append(given), cupy)
    x = cupy.ones((4, 4), "f")
    flat = cupy.ones(17, "f")
    for other in [
        (cupy.ones(4, "f"), cupy.ones(4, "f")),
        (x, x.T),
        (x, x[0]),
        (x, cupy.ones((1, 4, 4), "f")),
        (flat[1:], flat[1:]),
        (cupy.ones((4, 8), "f")[:, ::2], x),
        (cupy.ones((), "f"), cupy.ones((), "f")),
        (cupy.ones((0, 8), "f"), cupy.ones((0, 8), "f")),
    ]:
        before = len(taken)
        assert launch(*other) is None
        assert len(taken) == before + 1
    assert launch(x, x).shape == (4, 4)
    assert launch(x, cupy.ones((), "f")).shape == (4, 4)


def test_dtypes_that_it_is_not_for():
    for operand in (np.ones(1, np.int16), np.ones(1, np.uint64)):
        assert not Wide.takes(write("f", lambda xp, x: x * 2.5, signature((operand,))))
    half = write("f", lambda xp, x, y: x * y, signature((np.ones(1, F16), F16.type(2))))
    assert not Wide.takes(half)


# ---------------------------------------------------------------- in the engine


@pytest.fixture
def fused(monkeypatch):
    """CuPy's namespace, whose kernels are for arrays of 8 elements and more, and no others."""

    def make(kernel):
        def plain(*given):
            raise AssertionError(f"{kernel.name} was launched as an ElementwiseKernel")

        return Wide(kernel, plain, cupy)

    monkeypatch.setattr(wide, "LARGE", 8)
    before = namespace_of(cupy.ones(1))
    fast = {"matmul": before.matmul, "multi_tensor": before.multi_tensor}
    space = FusingNamespace(cupy, fast, before.checks, make=make)
    monkeypatch.setitem(NAMESPACES, cupy.ndarray, space)
    return space


def test_large_tensors_go_through_it_forward_and_backward(fused, rng):
    arrays = rng.standard_normal((2, 5, 7))
    g = rng.standard_normal((5, 7))

    def run(device):
        a, b = (gg.tensor(array, device=device, requires_grad=True) for array in arrays)
        y = (1 - gg.exp(a) * b).sigmoid() + a**2 / 0.5
        y.backward(gg.tensor(g, device=device))
        return [t.numpy() for t in (y.detach(), a.grad, b.grad)]

    found, count = launches(run, "cuda")
    # Six operations forward; backward those of two operands twice, and no sums and no copies.
    assert count > 10
    for one, other in zip(found, run("cpu"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_small_arrays_other_dtypes_and_keywords_are_the_modules(fused, rng):
    small, whole, large = send(np.array([0.5, 1.0]), np.arange(10), np.arange(10.0))
    both, z, out = large > 2, large + 1j, cupy.zeros(10)
    calls = [
        (fused.exp, [small], np.exp([0.5, 1.0])),
        (fused.add, [whole, whole], np.arange(0, 20, 2)),
        (fused.add, [2, small], [2.5, 3.0]),
        (fused.multiply, [large, np.float64(2)], np.arange(0.0, 20, 2)),
        (fused.add, [both, both], np.arange(10) > 2),
        (fused.multiply, [z, z], z.get() ** 2),
    ]
    for function, operands, expected in calls:
        y, count = launches(function, *operands)
        np.testing.assert_array_equal(y.get(), expected)
        assert count == 0
    found, count = launches(fused.add, large, large, out=out)
    assert found is out
    assert count == 0
    for function, operands in [
        (fused.add, [large, large]),
        (fused.add, [2, large]),
        (fused.where, [both, large, 0.0]),
    ]:
        assert launches(function, *operands)[1] == 1
