"""Products of matrices for CuPy: two axes wherever possible, transposes as flags, no copies."""

from types import SimpleNamespace

import numpy as np
import pytest
from fake_cublas import HANDLE, Cublas

import gpugrad as gg
from gpugrad.backend import namespace, sim
from gpugrad.backend.products import matmul_with


@pytest.fixture
def cupy():
    """As much of CuPy as products need, over sim's arrays; notes what CuPy itself multiplies."""
    plain = []

    def matmul(a, b):
        plain.append((a.ndim, b.ndim))
        return sim.matmul(a, b)

    types = SimpleNamespace(
        get_compute_type=lambda dtype: 1, compute_type_to_str=lambda kind: "COMPUTE_TYPE_DEFAULT"
    )
    return SimpleNamespace(
        matmul=matmul,
        plain=plain,
        empty=sim.empty,
        cuda=SimpleNamespace(
            cublas=Cublas(), device=SimpleNamespace(get_cublas_handle=lambda: HANDLE)
        ),
        _core=SimpleNamespace(_routines_linalg=types),
    )


def turn(x):
    return x.swapaxes(-1, -2)


def same(x):
    return x


SHAPES = [
    ((5, 2, 3), (5, 3, 4)),
    ((2, 5, 2, 3), (2, 5, 3, 4)),
    ((1, 2, 3), (5, 3, 4)),
    ((5, 2, 3), (1, 3, 4)),
    ((2, 3), (5, 3, 4)),
    ((1, 1, 2, 3), (4, 5, 3, 2)),
    ((5, 1, 3), (5, 3, 4)),
    ((5, 2, 1), (5, 1, 4)),
    ((5, 2, 3), (5, 3, 1)),
    ((5, 1, 1), (5, 1, 1)),
    ((1, 2, 3), (1, 3, 4)),
]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("first", [same, turn])
@pytest.mark.parametrize("second", [same, turn])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128"])
def test_stacks_go_to_cublas_as_they_lie(shapes, first, second, dtype, cupy, rng):
    a, b = (
        sim.asarray(
            (rng.integers(-4, 5, x.shape) * (1 + 1j if x.dtype.kind == "c" else 1)).astype(dtype)
        )
        for x in (first(np.empty(shapes[0], dtype)), second(np.empty(shapes[1], dtype)))
    )
    a, b = first(a), second(b)
    y = matmul_with(cupy)(a, b)
    np.testing.assert_array_equal(y.get(), a.get() @ b.get())
    assert y.dtype == dtype
    assert y.flags.c_contiguous
    assert cupy.plain == []
    ((transposed_b, transposed_a, compute),) = cupy.cuda.cublas.calls
    for operand, transposed, turned in ((a, transposed_a, first), (b, transposed_b, second)):
        if min(operand.shape[-2:]) > 1:
            assert transposed == (turned is turn)
    assert compute == (70 if dtype in ("float64", "complex128") else 68)


ODD = {
    "parts of a larger stack": (lambda x: x[:, 1:, ::1], lambda x: x[:, :, :2]),
    "every other matrix": (lambda x: x[::2], lambda x: x[1::2]),
    "part of the axes of a stack": (lambda x: x[0:4:2], lambda x: turn(turn(x)[2:4])),
}


@pytest.mark.parametrize(("first", "second"), ODD.values(), ids=list(ODD))
def test_views_with_even_steps_are_not_copied(first, second, cupy, rng):
    a = first(sim.asarray(rng.standard_normal((4, 3, 3))))
    b = second(sim.asarray(rng.standard_normal((4, 3, 3))))
    y = matmul_with(cupy)(a, b)
    np.testing.assert_allclose(y.get(), a.get() @ b.get())
    assert len(cupy.cuda.cublas.calls) == 1


LEFT_TO_CUPY = {
    "every other column": lambda x: (x[..., ::2], x[..., ::2, :]),
    "backwards": lambda x: (x[::-1], x),
    "rows backwards": lambda x: (x[:, ::-1], x),
    "two dtypes": lambda x: (x, x.astype("float32")),
    "whole numbers": lambda x: (x.astype("int64"), x.astype("int64")),
    "broadcast within": lambda x: (x.reshape(2, 2, 4, 4), x.reshape(4, 1, 4, 4)[:2]),
    "empty": lambda x: (x[:0], x[:0]),
    "no terms": lambda x: (x[:, :, :0], x[:, :0]),
    "vector first": lambda x: (x[0, 0], x),
    "transposed rows": lambda x: (turn(x), x[0, 0]),
}


@pytest.mark.parametrize("operands", LEFT_TO_CUPY.values(), ids=list(LEFT_TO_CUPY))
def test_what_does_not_fit_is_left_to_cupy(operands, cupy, rng):
    a, b = operands(sim.asarray(rng.standard_normal((4, 4, 4))))
    y = matmul_with(cupy)(a, b)
    np.testing.assert_allclose(y.get(), a.get() @ b.get())
    assert len(cupy.plain) == 1
    assert cupy.cuda.cublas.calls == []


@pytest.mark.parametrize("shape", [(5, 2, 3), (2, 1, 4, 3), (1, 1, 3)])
@pytest.mark.parametrize("second", [(3, 4), (3,)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "int64"])
def test_rows_of_any_stack_are_multiplied_as_one_matrix(shape, second, dtype, cupy, rng):
    a = sim.asarray(rng.integers(-4, 5, shape).astype(dtype))
    b = sim.asarray(rng.integers(-4, 5, second).astype(dtype))
    y = matmul_with(cupy)(a, b)
    np.testing.assert_array_equal(y.get(), a.get() @ b.get())
    assert cupy.plain == [(2, len(second))]
    assert y.flags.c_contiguous


def test_a_transposed_stack_times_one_matrix_is_no_copy_either(cupy, rng):
    a = turn(sim.asarray(rng.standard_normal((5, 3, 2))))
    b = sim.asarray(rng.standard_normal((3, 4)))
    np.testing.assert_allclose(matmul_with(cupy)(a, b).get(), a.get() @ b.get())
    assert [call[:2] for call in cupy.cuda.cublas.calls] == [(0, 1)]


def test_shapes_that_do_not_fit_are_refused_by_cupy(cupy):
    for first, second in [((5, 2, 3), (4, 3)), ((5, 2, 3), (5, 4, 3)), ((5, 2, 3), (4, 3, 2))]:
        with pytest.raises(ValueError, match="match|broadcast"):
            matmul_with(cupy)(sim.ones(first), sim.ones(second))


def test_tf32_is_taken_where_cupy_takes_it(cupy):
    cupy._core._routines_linalg.compute_type_to_str = lambda kind: "COMPUTE_TYPE_TF32"
    for dtype in ("float32", "float16", "float64"):
        matmul_with(cupy)(sim.ones((2, 2, 2), dtype), sim.ones((2, 2, 2), dtype))
    assert [call[2] for call in cupy.cuda.cublas.calls] == [77, 68, 70]


GRADIENTS = [*SHAPES, ((5, 2, 3), (3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 4)), ((2, 3), (3, 4))]


@pytest.mark.parametrize("shapes", GRADIENTS, ids=str)
def test_gradients_are_those_of_the_cpu_and_copy_no_operand(shapes, cupy, rng, monkeypatch):
    xp = namespace.namespace_of(sim.zeros(1))
    monkeypatch.setitem(xp.__dict__, "matmul", matmul_with(cupy))
    values = [rng.standard_normal(shape) for shape in shapes]
    weight = rng.standard_normal((values[0] @ values[1]).shape)

    def run(device):
        a, b, w = (gg.tensor(v, device=device, requires_grad=True) for v in (*values, weight))
        (gg.matmul(a, b) * w).sum().backward()
        return a.grad.numpy(), b.grad.numpy()

    for got, expected in zip(run("sim"), run("cpu")):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)
    if min(map(len, shapes)) > 1:
        assert all(ndim <= (2, 2) for ndim in cupy.plain)


def test_what_is_asked_of_the_real_cupy_is_there():
    cupy = pytest.importorskip("cupy")
    routines = cupy._core._routines_linalg
    assert callable(routines.get_compute_type)
    assert routines.compute_type_to_str(7) == "COMPUTE_TYPE_TF32"
    assert callable(cupy.cuda.device.get_cublas_handle)
    types = [("e", "CUDA_R_16F"), ("f", "CUDA_R_32F"), ("d", "CUDA_R_64F"), ("F", "CUDA_C_32F")]
    from gpugrad.backend.products import _KINDS

    for char, name in [*types, ("D", "CUDA_C_64F")]:
        assert getattr(cupy.cuda.runtime, name) == _KINDS[char][0]
