"""Products of matrices for CuPy: two axes wherever possible, transposes as flags, no copies."""

import ctypes
import math
from contextlib import nullcontext

import numpy as np
import optable
import pytest
from gpu import needs_gpu

import gpugrad as gg
from gpugrad.backend import namespace
from gpugrad.backend.products import _DTYPES, DEFAULT, PEDANTIC, TF32, Products
from gpugrad.engine.accumulate import Gradients
from gpugrad.engine.op import TABLE
from gpugrad.engine.outputs import OutputsNode
from gpugrad.engine.pull import pull_back, unbroadcast

pytestmark = needs_gpu
cupy = pytest.importorskip("cupy")


class Calls:
    """What CuPy multiplied, and what cuBLAS was asked for past it: transposes and precision."""

    def __init__(self):
        self.plain, self.cublas, self.added = [], [], 0
        self.matrices = 0  # calls for two matrices


@pytest.fixture
def calls(monkeypatch):
    """Notes products on their way to CuPy and to cuBLAS, and lets them go on."""
    found = Calls()
    plain, cublas = cupy.matmul, cupy.cuda.cublas
    two, stacks = cublas.gemmEx, cublas.gemmStridedBatchedEx

    def note(first, second, beta, kind, compute):
        number = ctypes.c_double if kind in (1, 5) else ctypes.c_float
        found.cublas.append((first, second, compute))
        found.added += number.from_address(beta).value != 0

    def matmul(a, b):
        found.plain.append((a.ndim, b.ndim))
        with monkeypatch.context() as patch:  # CuPy's own calls are not looked at
            patch.setattr(cublas, "gemmEx", two)
            patch.setattr(cublas, "gemmStridedBatchedEx", stacks)
            return plain(a, b)

    def gemm(handle, first, second, *rest):
        *_, beta, _, kind, _, compute, _ = rest
        found.matrices += 1
        note(first, second, beta, kind, compute)
        two(handle, first, second, *rest)

    def gemm_of_stacks(handle, first, second, *rest):
        *_, beta, _, kind, _, _, _, compute, _ = rest
        note(first, second, beta, kind, compute)
        stacks(handle, first, second, *rest)

    monkeypatch.setattr(cupy, "matmul", matmul)
    monkeypatch.setattr(cublas, "gemmEx", gemm)
    monkeypatch.setattr(cublas, "gemmStridedBatchedEx", gemm_of_stacks)
    return found


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
def test_stacks_go_to_cublas_as_they_lie(shapes, first, second, dtype, calls, rng):
    a, b = (
        cupy.asarray(
            (rng.integers(-4, 5, x.shape) * (1 + 1j if x.dtype.kind == "c" else 1)).astype(dtype)
        )
        for x in (first(np.empty(shapes[0], dtype)), second(np.empty(shapes[1], dtype)))
    )
    a, b = first(a), second(b)
    y = Products(cupy).matmul(a, b)
    np.testing.assert_array_equal(y.get(), a.get() @ b.get())
    assert y.dtype == dtype
    assert y.flags.c_contiguous
    assert calls.plain == []
    ((transposed_b, transposed_a, compute),) = calls.cublas
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
def test_views_with_even_steps_are_not_copied(first, second, calls, rng):
    a = first(cupy.asarray(rng.standard_normal((4, 3, 3))))
    b = second(cupy.asarray(rng.standard_normal((4, 3, 3))))
    y = Products(cupy).matmul(a, b)
    np.testing.assert_allclose(y.get(), a.get() @ b.get())
    assert len(calls.cublas) == 1


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
def test_what_does_not_fit_is_left_to_cupy(operands, calls, rng):
    a, b = operands(cupy.asarray(rng.standard_normal((4, 4, 4))))
    y = Products(cupy).matmul(a, b)
    np.testing.assert_allclose(y.get(), a.get() @ b.get())
    assert len(calls.plain) == 1
    assert calls.cublas == []


@pytest.mark.parametrize("shape", [(5, 2, 3), (2, 1, 4, 3), (1, 1, 3)])
@pytest.mark.parametrize("second", [(3, 4), (3,)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "int64"])
def test_rows_of_any_stack_are_multiplied_as_one_matrix(shape, second, dtype, calls, rng):
    a = cupy.asarray(rng.integers(-4, 5, shape).astype(dtype))
    b = cupy.asarray(rng.integers(-4, 5, second).astype(dtype))
    y = Products(cupy).matmul(a, b)
    np.testing.assert_array_equal(y.get(), a.get() @ b.get())
    ours = len(second) == 2 and dtype != "int64"
    assert calls.plain == ([] if ours else [(2, len(second))])
    assert calls.matrices == ours
    assert y.flags.c_contiguous


def test_a_transposed_stack_times_one_matrix_is_no_copy_either(calls, rng):
    a = turn(cupy.asarray(rng.standard_normal((5, 3, 2))))
    b = cupy.asarray(rng.standard_normal((3, 4)))
    np.testing.assert_allclose(Products(cupy).matmul(a, b).get(), a.get() @ b.get())
    assert [call[:2] for call in calls.cublas] == [(0, 1)]


def test_shapes_that_do_not_fit_are_refused_by_cupy(calls):
    for first, second in [((5, 2, 3), (4, 3)), ((5, 2, 3), (5, 4, 3)), ((5, 2, 3), (4, 3, 2))]:
        with pytest.raises(ValueError, match="shapes|match|broadcast"):
            Products(cupy).matmul(cupy.ones(first), cupy.ones(second))


@pytest.mark.parametrize(
    ("chosen", "computed"), [(1, [68, 68, 70]), (7, [77, 68, 70]), (2, [69, 69, 71])]
)
@pytest.mark.parametrize("shape", [(2, 2, 2), (2, 2)], ids=str)
def test_products_are_computed_as_cupy_computes_them(chosen, computed, shape, calls, monkeypatch):
    """By default, in TF32, and without what cuBLAS may shorten: chosen while a program runs."""
    matmul = Products(cupy).matmul
    matmul(cupy.ones(shape, "f"), cupy.ones(shape, "f"))
    monkeypatch.setattr(cupy._core._routines_linalg, "get_compute_type", lambda dtype: chosen)
    for dtype in ("float32", "float16", "float64"):
        matmul(cupy.ones(shape, dtype), cupy.ones(shape, dtype))
    assert [call[2] for call in calls.cublas] == [68, *computed]


@pytest.mark.parametrize("first", [same, turn])
@pytest.mark.parametrize("second", [same, turn])
def test_two_matrices_are_multiplied_as_they_lie(first, second, calls, rng):
    a = first(cupy.asarray(whole_numbers(rng, first(np.empty((2, 3))).shape, "f")))
    b = second(cupy.asarray(whole_numbers(rng, second(np.empty((3, 4))).shape, "f")))
    np.testing.assert_array_equal(Products(cupy).matmul(a, b).get(), a.get() @ b.get())
    turned = Products(cupy).multiply(turn(a), turn(b), True, True)
    np.testing.assert_array_equal(turned.get(), a.get() @ b.get())
    assert calls.plain == []
    assert calls.matrices == 2


def test_one_number_of_two_matrices_is_left_to_cupy_s_kernel(calls):
    assert Products(cupy).matmul(cupy.ones((1, 5)), cupy.ones((5, 1))).get() == 5
    assert calls.plain == [(2, 2)]


def whole_numbers(rng, shape, dtype):
    return rng.integers(-4, 5, shape).astype(dtype)


@pytest.mark.parametrize("shapes", [*SHAPES, ((2, 3), (3, 4)), ((1, 3), (3, 1))], ids=str)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
def test_a_product_is_added_in_one_call(shapes, order, dtype, calls, rng):
    a, b = (whole_numbers(rng, shape, dtype) for shape in shapes)
    before = np.asarray(whole_numbers(rng, (a @ b).shape, dtype), order=order)
    total = cupy.asarray(before)
    added = Products(cupy).add_product(total, cupy.asarray(a), cupy.asarray(b))
    assert added == (order == "C" or total.ndim == 2 or total.flags.c_contiguous)
    np.testing.assert_array_equal(total.get(), before + a @ b if added else before)
    assert len(calls.cublas) == calls.added == added


def test_rows_of_several_axes_are_added_to_as_they_lie(calls, rng):
    a, b, before = (whole_numbers(rng, shape, "f") for shape in ((6, 4), (4, 5), (2, 3, 5)))
    total = cupy.asarray(before)
    assert Products(cupy).add_product(total, cupy.asarray(a), turn(cupy.asarray(turn(b).copy())))
    np.testing.assert_array_equal(total.get(), before + (a @ b).reshape(2, 3, 5))
    assert not Products(cupy).add_product(
        cupy.zeros((3, 2, 5), "f").T, cupy.asarray(a), cupy.asarray(b)
    )


@pytest.mark.parametrize(
    "operands",
    [
        lambda: (cupy.zeros((2, 4), "d"), cupy.ones((2, 3), "f"), cupy.ones((3, 4), "f")),
        lambda: (cupy.zeros((2, 4), "f"), cupy.ones((2, 3), "d"), cupy.ones((3, 4), "f")),
        lambda: (cupy.zeros((1, 4), "f"), cupy.ones((2, 3), "f"), cupy.ones((3, 4), "f")),
        lambda: (cupy.zeros((2, 4), "f"), cupy.ones((5, 2, 3), "f"), cupy.ones((5, 3, 4), "f")),
        lambda: (cupy.zeros((4, 5, 2), "f"), cupy.ones((2, 3), "f"), cupy.ones((3, 20), "f")),
        lambda: (cupy.zeros((3, 2, 4), "f"), cupy.ones((2, 3), "f"), cupy.ones((3, 4), "f")),
        lambda: (cupy.zeros((2, 4), "f"), cupy.ones((2, 6), "f")[:, ::2], cupy.ones((3, 4), "f")),
        lambda: (cupy.zeros((2, 4), "i"), cupy.ones((2, 3), "i"), cupy.ones((3, 4), "i")),
        lambda: (cupy.zeros((2, 4), "f"), cupy.ones((2, 0), "f"), cupy.ones((0, 4), "f")),
        lambda: (cupy.zeros((2, 8), "f")[:, ::2], cupy.ones((2, 3), "f"), cupy.ones((3, 4), "f")),
    ],
)
def test_what_does_not_fit_is_not_added(operands, calls):
    total, a, b = operands()
    assert Products(cupy).add_product(total, a, b) is False
    assert not total.get().any()
    assert calls.cublas == []


@pytest.mark.parametrize(
    ("op", "sample"),
    [(op, sample) for op in TABLE.values() if op.adds for sample in optable.samples(op)],
    ids=optable.case_id,
)
def test_what_is_added_in_place_is_what_the_rule_gives(op, sample, monkeypatch):
    xp = namespace.namespace_of(np.zeros(1))
    found = []

    def add_product(total, a, b):
        product = a @ b
        if product.size != total.size:
            return False
        found.append(1)
        total += product.reshape(total.shape)
        return True

    monkeypatch.setattr(xp, "add_product", add_product)
    tensors = optable.tensors_for(op, sample)

    def gradients(node, in_place):
        sums = Gradients(in_place=True)
        if in_place:
            sums.by_node = {p: np.ones(p.shape) for p in node.parents if p is not None}
            sums.owned = set(sums.by_node)
        several = isinstance(node, OutputsNode)
        shapes = [part.shape for part in node.shape] if several else [node.shape]
        gs = [np.linspace(1, 2, math.prod(shape)).reshape(shape) for shape in shapes]
        g = tuple(gs) if several else gs[0]
        y = node if node.y is None else node.y
        needs = sums.needs(node, xp, g, node.parents)
        ds = pull_back(op, xp, g, y, needs, node.values, node.parameters or {})
        return [
            d if total is None else total - 1 if d is None else d
            for d, total in zip(ds, map(sums.by_node.get, node.parents))
        ]

    y = optable.apply(op, sample, tensors)
    node = y[0].grad_fn.parents[0] if isinstance(y, tuple) else y.grad_fn
    apart, added = gradients(node, False), gradients(node, True)
    assert not any(node.parents[len(apart) :])  # arrays of an index have no rule
    for one, other, parent in zip(apart, added, node.parents, strict=False):
        if parent is not None:
            wanted = unbroadcast(xp, one, parent.shape, parent.dtype)
            got = unbroadcast(xp, other, parent.shape, parent.dtype)
            np.testing.assert_allclose(got, wanted, rtol=1e-12)
    if op.name.startswith("linear") or op.name == "attention_heads":
        assert len(found) == 2


@pytest.fixture
def adding(calls, monkeypatch):
    """The products that the engine has added by cuBLAS, and all the others."""
    xp = namespace.namespace_of(cupy.zeros(1))
    monkeypatch.setitem(xp.__dict__, "matmul", Products(cupy).matmul)
    monkeypatch.setitem(xp.__dict__, "add_product", Products(cupy).add_product)
    return calls


def recurrent(device, batch=(4,)):
    """The gradients of a recurrent network's parameters and inputs, over five steps."""
    rng = np.random.default_rng(3)
    make = lambda *shape: gg.tensor(  # noqa: E731
        rng.standard_normal(shape), device=device, requires_grad=True, dtype=gg.float64
    )
    u, w, bias, h = make(3, 3), make(3, 3), make(3), make(*batch, 3)
    start, x = h, make(*batch, 3)
    for _ in range(5):
        h = (h @ u + gg.nn.functional.linear(x, w, bias)).tanh()
    (h * h).sum().backward()
    return [t.grad.numpy() for t in (u, w, bias, x, start)]


@pytest.mark.parametrize("batch", [(4,), (2, 3)])
@pytest.mark.parametrize("moved", [False, True])
def test_a_weight_s_gradients_are_added_by_the_products(batch, moved, adding, monkeypatch):
    monkeypatch.setattr("gpugrad.engine.follow._moved", moved)  # a graph may be on two devices
    found = recurrent("cuda", batch)
    assert adding.added == 3 * 3  # of u, w and x: the first two of five are not
    for one, other in zip(found, recurrent("cpu", batch), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_a_layer_with_its_activation_adds_to_the_gradient_of_its_weight(adding):
    found = {}
    for device in ("cuda", "cpu"):
        gg.manual_seed(1)
        with gg.device(device):
            model = gg.nn.MLP(3, [4, 3], "gelu", "tanh", dtype=gg.float64)
            h = gg.ones((2, 3), dtype=gg.float64)
            for _ in range(5):
                h = model(h)
            (h * h).sum().backward()
            found[device] = [p.grad.numpy() for p in model.parameters()]
    assert adding.added == 2 * 3  # of two weights: the first two of five are not
    for one, other in zip(*found.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_products_add_to_nobody_else_s_memory(adding):
    """A gradient that was passed on as it is, and one that a user gave, stay what they were."""
    a = gg.tensor(np.eye(3), device="cuda", requires_grad=True)
    b = gg.tensor(np.full((3, 3), 2.0), device="cuda", requires_grad=True)
    given = gg.tensor(np.ones((3, 3)), device="cuda")
    y = (a + b) @ a + a @ b + a @ a
    y.backward(given, retain_graph=True)
    first = [t.grad.numpy() for t in (a, b)]
    y.backward(given)
    for before, t in zip(first, (a, b)):
        np.testing.assert_array_equal(t.grad.numpy(), 2 * before)
    assert (given.numpy() == 1).all()
    assert adding.added > 0


def test_those_who_look_at_gradients_see_each_of_them(adding):
    a = gg.tensor(np.ones((2, 2)), device="cuda", requires_grad=True)
    y = sum(gg.ones((2, 2), dtype=gg.float64, device="cuda") @ a for _ in range(5))
    for context, count in ((gg.detect_anomaly, 0), (nullcontext, 3)):
        a.grad = None
        with context():
            y.backward(gg.ones((2, 2), dtype=gg.float64, device="cuda"), retain_graph=True)
        assert adding.added == count
        assert a.grad.tolist() == [[10.0, 10.0], [10.0, 10.0]]


GRADIENTS = [*SHAPES, ((5, 2, 3), (3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 4)), ((2, 3), (3, 4))]


@pytest.mark.parametrize("shapes", GRADIENTS, ids=str)
def test_gradients_are_those_of_the_cpu_and_copy_no_operand(shapes, adding, rng):
    values = [rng.standard_normal(shape) for shape in shapes]
    weight = rng.standard_normal((values[0] @ values[1]).shape)

    def run(device):
        a, b, w = (gg.tensor(v, device=device, requires_grad=True) for v in (*values, weight))
        (gg.matmul(a, b) * w).sum().backward()
        return a.grad.numpy(), b.grad.numpy()

    for got, expected in zip(run("cuda"), run("cpu")):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)
    if min(map(len, shapes)) > 1:
        assert all(ndim <= (2, 2) for ndim in adding.plain)


def test_what_is_asked_of_the_real_cupy_is_there():
    routines = cupy._core._routines_linalg
    assert callable(routines.get_compute_type)
    assert routines.compute_type_to_str(TF32) == "COMPUTE_TYPE_TF32"
    assert routines.compute_type_to_str(PEDANTIC) == "COMPUTE_TYPE_PEDANTIC"
    assert cupy.cuda.cublas.CUBLAS_GEMM_DEFAULT == DEFAULT
    assert callable(cupy.cuda.device.get_cublas_handle)
    types = [("e", "CUDA_R_16F"), ("f", "CUDA_R_32F"), ("d", "CUDA_R_64F"), ("F", "CUDA_C_32F")]
    for char, name in [*types, ("D", "CUDA_C_64F")]:
        assert getattr(cupy.cuda.runtime, name) == _DTYPES[char][0]
