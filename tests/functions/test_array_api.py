"""The module as an array namespace: programs written only against the Array API standard."""

import array
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from repository import ROOT

import gpugrad as gg

DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32",
    "float64", "complex64", "complex128",
)  # fmt: skip


# Programs that know the standard alone. array_api_strict runs them first: it has no other names.


def layer_norm(x, gain):
    xp = x.__array_namespace__()
    spread = xp.std(x, axis=-1, correction=1, keepdims=True)
    small = xp.finfo(x.dtype).eps
    y = (x - xp.mean(x, axis=-1, keepdims=True)) / (spread + small) * gain
    return xp.where(y > 0.1, y, 0.1 * y)


def mixture(x, means):
    """The log-density of points under Gaussians of width 1 and equal weight."""
    xp = x.__array_namespace__()
    apart = xp.expand_dims(x, axis=1) - xp.expand_dims(means, axis=0)
    exponents = -0.5 * xp.sum(xp.square(apart), axis=-1)
    top = xp.max(exponents, axis=-1, keepdims=True)
    total = xp.sum(xp.exp(exponents - top), axis=-1, keepdims=True)
    return xp.squeeze(xp.log(total) + top, axis=-1) - xp.log(
        xp.asarray(means.shape[0], dtype=x.dtype, device=x.device)
    )


def shuffled(x, y):
    xp = x.__array_namespace__()
    both = xp.concat([x, xp.flip(y, axis=0)], axis=0)
    rows = xp.take(both, xp.asarray([3, 0, 3], device=x.device), axis=0)
    left, *_ = xp.unstack(xp.permute_dims(rows, (1, 0)))
    tall = xp.tile(xp.roll(both, 1, axis=1), (2, 1)) + xp.repeat(both, 2, axis=0)
    pair = xp.stack(xp.broadcast_arrays(left, xp.asarray([[2.0]], dtype=x.dtype, device=x.device)))
    return xp.sum(tall, dtype=x.dtype) * xp.prod(left) + xp.sum(xp.reshape(pair, (-1,)) ** 2)


def powers(x, y):
    xp = x.__array_namespace__()
    kind = xp.result_type(x, y, 1.0)
    steps = xp.arange(1, x.shape[1] + 1, device=x.device)
    slope = xp.linspace(0.5, 1.5, x.shape[0], dtype=kind, device=x.device)
    z = xp.clip(x, 0.3, 0.7) ** xp.astype(steps, kind) + xp.sin(y) * xp.tanh(x) / 2
    z = xp.maximum(z, xp.multiply(0.9, y)) + xp.minimum(xp.log1p(x), 0.2)
    z = z * xp.eye(*x.shape, dtype=kind, device=x.device) + xp.matrix_transpose(
        xp.matmul(xp.matrix_transpose(y), x)[:1, :]
    ).T[0, : x.shape[1]] * xp.abs(y - 0.5)
    return xp.tensordot(slope, z, axes=1) + xp.full(x.shape[1], 2.0, dtype=kind, device=x.device)


def masked(x, y):
    xp = x.__array_namespace__()
    kept = x[x > 0.5]
    rows = xp.nonzero(y > 0.4)[0]
    assert int(xp.count_nonzero(y > 0.4)) == rows.shape[0]
    assert bool(xp.all(xp.isfinite(kept)))
    assert not bool(xp.any(xp.equal(kept, 0)))
    best = xp.argmax(x, axis=1, keepdims=True)
    return xp.sum(kept**3) + xp.sum(xp.take_along_axis(x * y, best, axis=1)) * x[0, -1]


def regression(x, y):
    """Ridge regression by a Cholesky factor, its evidence, and other ways to the same numbers."""
    xp = x.__array_namespace__()
    gram = xp.matmul(xp.matrix_transpose(x), x)
    gram = gram + 0.1 * xp.eye(x.shape[1], dtype=x.dtype, device=x.device)
    lower = xp.linalg.cholesky(gram)
    beta = xp.linalg.solve(gram, xp.matmul(xp.matrix_transpose(x), y))
    sign, logarithm = xp.linalg.slogdet(gram)
    q, r = xp.linalg.qr(x)
    spread = xp.linalg.eigh(gram).eigenvalues + xp.linalg.svdvals(x) ** 2
    bias = xp.linalg.vector_norm(beta, axis=0) + xp.sum(xp.log(xp.linalg.diagonal(lower)))
    rest = xp.linalg.matrix_norm(y - q @ (xp.matrix_transpose(q) @ y))
    whole = xp.linalg.trace(xp.linalg.inv(gram)) + xp.linalg.det(gram) * sign
    return bias * logarithm + rest + whole + xp.sum(xp.linalg.outer(spread, r[0, :]))


def ordered(x, y):
    xp = x.__array_namespace__()
    ranks = xp.argsort(xp.argsort(x, axis=0), axis=0)
    steps = xp.diff(xp.sort(y, axis=0, descending=True), axis=0, append=y[-1:, :])
    sums = xp.cumulative_sum(steps * y, axis=0, include_initial=True)
    products = xp.cumulative_prod(1 + x, axis=1)
    place = xp.searchsorted(xp.sort(x[:, 0]), y[:, 1])
    chosen = xp.take_along_axis(sums, xp.astype(ranks, xp.int64), axis=0)
    late = xp.astype(place > 1, x.dtype)[:, None]
    return xp.vecdot(chosen * products, late + y) + xp.max(xp.minimum(x, y), axis=1)


def angles(x, y):
    xp = x.__array_namespace__()
    z = xp.atan2(x, y) + xp.hypot(x, -y) * xp.logaddexp(x, y * 30)
    z = z + xp.copysign(x, y - 0.5) * xp.reciprocal(y) + xp.expm1(xp.asinh(x)) * xp.atanh(y)
    z = xp.where(xp.signbit(x - y), xp.log2(z + 3), xp.cosh(z)) - xp.remainder(y * 7, 1 + x)
    return xp.moveaxis(xp.meshgrid(z[0, :], z[:, 1], indexing="ij")[0], 0, 1) ** 2


def relaxed(x, y):
    """Gauss-Seidel sweeps: a program that writes into arrays of its own."""
    xp = x.__array_namespace__()
    u = xp.asarray(x, copy=True)
    total = xp.zeros_like(u)
    for sweep in range(3):
        for i in range(1, u.shape[0] - 1):
            u[i, ...] = (u[i - 1, ...] + u[i + 1, ...]) / 2 + y[i, ...] * 0.1
        total[sweep, ...] = u[1, ...]
        total[-1, :2] += u[2, :2]
    return xp.sum(total, axis=0) * u[2, 0]


PROGRAMS = {
    "regression": (regression, (5, 3), (5, 2)),
    "ordered": (ordered, (4, 3), (4, 3)),
    "angles": (angles, (4, 3), (4, 3)),
    "relaxed": (relaxed, (5, 3), (5, 3)),
    "layer_norm": (layer_norm, (4, 3), (3,)),
    "mixture": (mixture, (4, 3), (2, 3)),
    "shuffled": (shuffled, (4, 3), (2, 3)),
    "powers": (powers, (4, 3), (4, 3)),
    "masked": (masked, (4, 3), (4, 3)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_for_the_standard_run_and_differentiate(name, device, rng):
    program, *shapes = PROGRAMS[name]
    arrays = [rng.uniform(0.2, 0.9, shape) for shape in shapes]
    strict = pytest.importorskip("array_api_strict")
    expected = np.asarray(program(*map(strict.asarray, arrays)))
    tensors = [gg.tensor(a, device=device, requires_grad=True) for a in arrays]
    y = program(*tensors)
    assert isinstance(y, gg.Tensor)
    assert y.device == device
    np.testing.assert_allclose(y.detach().cpu().numpy(), expected, rtol=1e-12)
    gg.gradcheck(program, tensors)


# The namespace.


def test_the_module_is_the_namespace():
    t = gg.ones(2)
    assert t.__array_namespace__() is gg
    assert t.__array_namespace__(api_version="2025.12") is gg
    assert gg.__array_api_version__ == "2025.12"
    with pytest.raises(ValueError, match=r"expected a version of the Array API.*got '2019.01'"):
        t.__array_namespace__(api_version="2019.01")


def test_what_the_namespace_says_of_itself(device):
    info = gg.__array_namespace_info__()
    assert info.capabilities()["boolean indexing"]
    assert info.default_device() == device
    assert device in info.devices()
    assert info.devices()[0] == "cpu"
    assert info.default_dtypes(device="cpu") == {
        "real floating": np.float32,
        "complex floating": np.complex64,
        "integral": np.int64,
        "indexing": np.int64,
    }
    assert list(info.dtypes()) == list(DTYPES)
    assert list(info.dtypes(kind=("bool", "complex floating"))) == [
        "bool", "complex64", "complex128",
    ]  # fmt: skip
    with pytest.raises(gg.DeviceError, match="not a device"):
        info.dtypes(device="tpu")
    with pytest.raises(gg.DeviceError, match="not a device"):
        info.default_dtypes(device="tpu")
    assert "gpugrad" in repr(info)


def test_defaults_follow_the_default_dtype():
    gg.set_default_dtype("float64")
    try:
        assert gg.__array_namespace_info__().default_dtypes()["complex floating"] == np.complex128
        assert gg.asarray([1.0]).dtype == np.float64
        assert gg.full(2, 1j).dtype == np.complex128
        assert gg.tensor(1j).dtype == np.complex128
    finally:
        gg.set_default_dtype("float32")


# Dtypes.


@pytest.mark.parametrize("one", DTYPES)
def test_promotion_is_numpys(one):
    for two in DTYPES:
        expected = np.result_type(np.dtype(one), np.dtype(two))
        a, b = gg.ones(2, dtype=one), gg.ones(3, dtype=two)
        assert gg.result_type(a, getattr(gg, two)) == gg.result_type(b, one) == expected
        assert gg.can_cast(a, two) == np.can_cast(one, two)
        if "bool" not in (one, two):  # NumPy has no `-` of bools, and so on
            assert (gg.ones(2, dtype=one) + gg.ones(2, dtype=two)).dtype == expected
    for number in (True, 1, 1.0, 1j):
        assert gg.result_type(number, gg.ones(2, dtype=one)) == np.result_type(
            number, np.dtype(one)
        )
        assert (gg.ones(2, dtype=one) + number).dtype == np.result_type(number, np.dtype(one))


def test_questions_about_dtypes():
    assert gg.isdtype(gg.ones(2, dtype="int8").dtype, "integral")
    assert gg.isdtype(gg.bool, ("bool", gg.float32))
    assert not gg.isdtype(gg.float32, "numeric") == gg.isdtype(gg.bool, "bool") is False
    limits = gg.finfo(gg.ones(2, dtype="complex64"))
    assert limits.dtype == np.float32
    assert (limits.bits, limits.eps, limits.tiny) == (32, 2.0**-23, 2.0**-126)
    assert -limits.min == limits.max == float(np.finfo("f4").max)
    assert "eps=1.19" in repr(limits)
    assert (gg.iinfo(gg.uint8).min, gg.iinfo(gg.ones(1, dtype="int16")).max) == (0, 32767)
    assert "max=127" in repr(gg.iinfo("int8"))


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda: gg.finfo(gg.int8), "finfo: expected a floating-point dtype, got int8"),
        (lambda: gg.finfo(1.0), "finfo: expected a dtype or an array, got 1.0"),
        (lambda: gg.finfo("floaty"), "finfo: expected a dtype or an array, got 'floaty'"),
        (lambda: gg.iinfo(gg.float32), "iinfo: expected an integer dtype, got float32"),
        (lambda: gg.isdtype(gg.int8, "whole"), "isdtype: expected a dtype or a kind.*whole"),
        (lambda: gg.can_cast(1, gg.int8), "can_cast: expected a dtype or an array, got 1"),
        (lambda: gg.result_type(1, 2.0), "result_type: expected an array or a dtype among"),
        (lambda: gg.result_type("S3", "f4", "datetime64[s]"), "result_type: .*"),
    ],
)
def test_wrong_dtypes_are_refused(f, words):
    with pytest.raises(gg.DTypeError, match=words):
        f()


def test_astype(device):
    x = gg.ones(2, device=device, requires_grad=True)
    assert gg.astype(x, "float32", copy=False) is x
    copied = gg.astype(x, "float32")
    assert copied is not x
    (gg.astype(copied, gg.float64) * 3).sum().backward()
    assert x.grad.dtype == np.float32
    assert x.grad.tolist() == [3.0, 3.0]
    assert gg.astype(x, "float64", device="cpu").device == "cpu"


# Creation.


def test_asarray_follows_the_standard_and_tensor_the_default(device):
    for data, dtype in {
        (True,): "bool", (1, 2): "int64", (1, 2.5): "float32", (1j,): "complex64", (): "float32",
    }.items():  # fmt: skip
        made = gg.asarray(list(data))
        assert made.dtype == dtype
        assert made.device == device
        assert made.tolist() == list(data)
    assert gg.asarray(3).dtype == gg.full(2, 3).dtype == gg.arange(3).dtype == np.int64
    assert gg.tensor([1, 2]).dtype == gg.tensor(3).dtype == np.float32
    assert gg.asarray([1, 2], dtype="int8").dtype == np.int8
    assert gg.asarray(np.float64(2)).dtype == np.float64
    assert gg.full(2, 2.0).dtype == gg.arange(2.0).dtype == np.float32
    assert gg.linspace(0, 1, 3).dtype == np.float32
    assert gg.linspace(0, 1j, 3).dtype == np.complex64
    assert gg.arange(1, 2, gg.asarray(0.5)).tolist() == [1.0, 1.5]
    assert gg.asarray([1.0], requires_grad=True).requires_grad


def test_asarray_copies_when_told():
    a = np.zeros(2)
    assert gg.asarray(a).data is a
    assert gg.asarray(a, copy=False, dtype="float64").data is a
    assert not np.shares_memory(gg.asarray(a, copy=True).data, a)
    t = gg.tensor(a, requires_grad=True)
    assert gg.asarray(t) is t
    gg.asarray(t, copy=True).sum().backward()
    assert t.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda: gg.asarray([1.0], copy=False), "asarray: copy=False, but list has no memory"),
        (
            lambda: gg.asarray(np.ones(2), dtype="float32", copy=False),
            "asarray: copy=False, but going from float64 to float32 needs a copy",
        ),
        (
            lambda: gg.asarray(np.ones(2), device="sim", copy=False),
            "asarray: copy=False, but going from cpu to sim needs a copy",
        ),
        (
            lambda: gg.reshape(gg.ones((2, 3)).T, 6, copy=False),
            r"reshape: copy=False, but \(3, 2\) to \(6,\) needs a copy",
        ),
    ],
)
def test_copies_that_are_forbidden(f, words):
    with pytest.raises(gg.ArgumentError, match=words):
        f()


def test_asarray_joins_tensors(device):
    x = gg.tensor([2.0, 3.0], requires_grad=True)
    y = gg.asarray([[x[0], x[1]], [x[1], 1.0]])
    assert y.tolist() == [[2.0, 3.0], [3.0, 1.0]]
    assert y.device == device
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 2.0]
    assert gg.asarray([gg.tensor(1.0)], dtype="int8").dtype == np.int8


def test_asarray_takes_buffers():
    numbers = array.array("d", [1.0, 2.0])
    t = gg.asarray(numbers)
    numbers[0] = 7.0
    assert t.tolist() == [7.0, 2.0]
    assert gg.asarray(bytearray(b"ab")).tolist() == [97, 98]
    with pytest.raises(gg.DTypeError, match=r"asarray: expected an array.*got object"):
        gg.asarray(object())
    with pytest.raises(gg.ShapeError, match=r"asarray: expected lists of equal lengths"):
        gg.asarray([[1], [1, 2]])


def test_full_of_a_tensor_has_its_gradient(device):
    x = gg.tensor(2.0, requires_grad=True)
    y = gg.full((2, 3), x) * gg.full_like(gg.ones(3, dtype="float64"), x)
    assert y.dtype == np.float64
    y.sum().backward()
    assert x.grad.item() == 24.0
    assert gg.full(2, gg.tensor(1.0), requires_grad=True).is_leaf
    assert gg.full(2, gg.tensor(1.0), device="cpu", dtype="int8").device == "cpu"


def test_reshape_copies_when_told(device):
    x = gg.ones((2, 3))
    shared, copied = gg.reshape(x, (3, 2), copy=False), gg.reshape(x, (3, 2), copy=True)
    x[0, 0] = 5.0
    assert shared[0, 0].item() == 5.0
    assert copied[0, 0].item() == 1.0
    turned = gg.reshape(x.T, 6, copy=True)
    assert turned.tolist()[0] == 5.0
    assert gg.reshape(gg.ones((2, 0)).T, 0, copy=False).shape == (0,)
    assert gg.reshape(gg.tensor(2.0), (1,), copy=False).shape == (1,)


# Functions with the standard's further arguments.


def test_sums_have_the_dtype_that_is_asked_for(device):
    x = gg.asarray([100, 100], dtype="int8")
    assert (gg.sum(x).dtype, gg.sum(x).item()) == (np.int64, 200)
    assert gg.sum(x, dtype="int8").dtype == np.int8
    assert gg.prod(x, dtype="float64").item() == 10000.0
    assert gg.sum(gg.ones((2, 3)), axis=0, keepdims=True).shape == (1, 3)
    t = gg.ones(2, requires_grad=True)
    (gg.sum(t, dtype="float64") * gg.prod(t, dtype="float64")).backward()
    assert t.grad.tolist() == [3.0, 3.0]
    counted = gg.count_nonzero(gg.asarray([[0, 2], [3, 4]]), axis=1, keepdims=True)
    assert counted.tolist() == [[1], [2]]


def test_broadcasting(device):
    assert gg.broadcast_shapes() == ()
    assert gg.broadcast_shapes((2, 1), (3,)) == (2, 3)
    with pytest.raises(gg.ShapeError, match=r"broadcast_shapes: \(2,\), \(3,\) do not"):
        gg.broadcast_shapes((2,), (3,))
    x = gg.ones(3, requires_grad=True)
    a, b = gg.broadcast_arrays(x, gg.zeros((2, 1)))
    assert a.shape == b.shape == (2, 3)
    a.sum().backward()
    assert x.grad.tolist() == [2.0] * 3


def test_nonzero(device):
    rows, columns = gg.nonzero(gg.asarray([[0.0, 2.0], [3.0, 0.0]]))
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])
    assert rows.device == device
    with pytest.raises(gg.ShapeError, match="nonzero: expected axes"):
        gg.nonzero(gg.tensor(1.0))


def test_repeats_may_be_a_tensor(device):
    x = gg.arange(3)
    assert gg.repeat(x, gg.asarray([0, 2, 1])).tolist() == [1, 1, 2]
    empty = gg.zeros(0, dtype="int64")
    assert gg.repeat(gg.zeros(0), empty).shape == (0,)


def test_an_axis_that_is_not_there():
    with pytest.raises(IndexError, match="expand_dims: axis 3 is out of range for 2 axes"):
        gg.expand_dims(gg.ones(2), axis=3)
    with pytest.raises(gg.ShapeError, match="expand_dims: axis -3"):
        gg.expand_dims(gg.ones(2), axis=-3)


def test_parts_of_complex_numbers():
    z = gg.asarray([1 + 2j, 3 - 1j])
    assert z.dtype == np.complex64
    assert (z.real.tolist(), z.imag.tolist()) == ([1.0, 3.0], [2.0, -1.0])
    assert (z.conj() == np.conj(z.numpy())).all()
    assert np.conjugate(z).tolist() == [1 - 2j, 3 + 1j]
    z.requires_grad_()
    (gg.real(z) * 3 + gg.imag(z) * 5).sum().backward()
    assert z.grad.tolist() == [3 + 5j, 3 + 5j]
    z.zero_grad()
    gg.imag(gg.conj(z)).sum().backward()
    assert z.grad.tolist() == [-1j, -1j]


# DLPack.


class Foreign:
    """Another library's array: nothing but the protocol."""

    def __init__(self, array, device=None):
        self.array, self.device = array, device

    def __dlpack__(self, **words):
        if self.array is None:
            raise BufferError("these data stay here")
        return self.array.__dlpack__(**words)

    def __dlpack_device__(self):
        return self.device or self.array.__dlpack_device__()


def test_memory_is_shared_with_numpy_both_ways():
    t = gg.zeros(3)
    a = np.from_dlpack(t)
    t[0] = 5.0
    assert a.tolist() == [5.0, 0.0, 0.0]
    back = gg.from_dlpack(Foreign(a))
    t[1] = 6.0
    assert back.tolist() == [5.0, 6.0, 0.0]
    assert gg.asarray(Foreign(a)).data.ctypes.data == a.ctypes.data
    assert gg.from_dlpack(a).data is a
    assert gg.from_dlpack(t).data is t.data
    assert not np.shares_memory(gg.from_dlpack(Foreign(a), copy=True).data, a)
    scalar = gg.ones(2).sum()  # a NumPy scalar inside
    assert np.from_dlpack(scalar).shape == ()


def test_from_dlpack_to_a_device():
    a = np.arange(3.0)
    moved = gg.from_dlpack(Foreign(a), device="sim")
    assert (moved.device, moved.tolist()) == ("sim", [0.0, 1.0, 2.0])
    assert gg.from_dlpack(moved).data is moved.data
    with pytest.raises(gg.ArgumentError, match="copy=False, but going from cpu to sim"):
        gg.from_dlpack(Foreign(a), device="sim", copy=False)
    with pytest.raises(BufferError, match="simulated device"):
        moved.__dlpack__()
    assert moved.__dlpack_device__() == (12, 0)


def test_a_recorded_tensor_must_be_detached():
    t = gg.ones(2, requires_grad=True)
    words = r"dlpack: this tensor requires a gradient.*Share its \.detach\(\)"
    for share in (np.from_dlpack, gg.from_dlpack):
        with pytest.raises(gg.GradientError, match=words):
            share(t)
        with pytest.raises(gg.GradientError, match=words):
            share(t * 2)
        assert share(t.detach()).tolist() == [1.0, 1.0]


def test_what_does_not_share():
    with pytest.raises(gg.DTypeError, match="expected an object with __dlpack__.*got list"):
        gg.from_dlpack([1.0])
    with pytest.raises(gg.DTypeError, match="Foreign does not share: these data stay here"):
        gg.from_dlpack(Foreign(None, (1, 0)))
    with pytest.raises(gg.DeviceError, match="of the host or of CUDA, got DLPack's device type 8"):
        gg.from_dlpack(Foreign(np.ones(2), (8, 0)))
    if not gg.cuda.is_available():
        with pytest.raises(gg.DeviceError, match="CUDA does not work here"):
            gg.from_dlpack(Foreign(np.ones(2), (2, 0)))


@pytest.mark.skipif(not gg.cuda.is_available(), reason="needs CUDA")
def test_memory_is_shared_with_cupy_both_ways():
    cupy = pytest.importorskip("cupy")
    t = gg.zeros(3, device="cuda")
    a = cupy.from_dlpack(t)
    a[0] = 5.0
    assert t.tolist() == [5.0, 0.0, 0.0]
    assert gg.from_dlpack(Foreign(a)).data.data.ptr == a.data.ptr


def test_memory_is_shared_with_pytorch_both_ways():
    torch = pytest.importorskip("torch", reason="needs PyTorch, which is not in the test extra")
    t = gg.zeros(3)
    there = torch.from_dlpack(t)
    there[0] = 5.0
    assert t.tolist() == [5.0, 0.0, 0.0]
    back = gg.from_dlpack(there)
    there[1] = 6.0
    assert back.tolist() == [5.0, 6.0, 0.0]
    with pytest.raises(gg.DTypeError, match="does not share"):
        gg.from_dlpack(torch.ones(2, requires_grad=True))


def test_to_device(device):
    x = gg.ones(2, requires_grad=True)
    assert x.to_device(device) is x
    y = x.to_device("cpu")
    assert y.device == "cpu"
    (y * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    with pytest.raises(gg.DeviceError, match=r"to_device: expected no stream, got 3.*with stream"):
        x.to_device("cpu", stream=3)


# Other libraries' functions.


def test_scipys_functions_run_and_differentiate():
    scipy = pytest.importorskip("scipy")
    if np.lib.NumpyVersion(scipy.__version__) < "1.15.0":
        pytest.skip("SciPy before 1.15 has few functions of the standard's arrays")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "tests" / "data" / "scipy_array_api.py")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert len(report) in (23, 52)  # with SciPy before 1.17, and since
    for name, (same, other) in report.items():
        assert same, name
        if isinstance(other, str):
            assert "which a NumPy array cannot carry" in other, name
        else:
            assert other < 1e-7, name


EINOPS = {
    "rearrange": lambda e, x: e.rearrange(x, "a b (c d) -> c (a b) d", c=2),
    "rearrange list": lambda e, x: e.rearrange([x, x * 2], "k a b c -> a b (k c)"),
    "reduce mean": lambda e, x: e.reduce(x, "a b c -> b", "mean"),
    "reduce max": lambda e, x: e.reduce(x, "a (b 1) c -> a c", "max"),
    "repeat": lambda e, x: e.repeat(x, "a b c -> (a 2) b k c", k=2),
    "einsum": lambda e, x: e.einsum(x, x, "a b c, a b d -> c d"),
    "pack": lambda e, x: e.pack([x, x[0]], "* c")[0],
    "unpack": lambda e, x: e.unpack(x, [(2,), (1, 1)], "a * c")[1],
}


@pytest.mark.parametrize("name", EINOPS)
@pytest.mark.parametrize("protocol", [False, True], ids=["backend", "array_api"])
def test_einops(name, protocol, device, rng):
    import einops
    import einops.array_api

    import gpugrad.einops  # noqa: F401  teaches einops the type

    a = rng.uniform(-1, 1, (2, 3, 4))
    expected = EINOPS[name](einops, a)
    tools = einops.array_api if protocol and hasattr(einops.array_api, name.split()[0]) else einops
    x = gg.tensor(a, device=device, requires_grad=True)
    y = EINOPS[name](tools, x)
    np.testing.assert_allclose(y.detach().cpu().numpy(), expected)
    gg.gradcheck(lambda x: EINOPS[name](tools, x), [x])


def test_einops_beyond_what_it_does_by_itself():
    import einops

    from gpugrad.einops import Backend

    backend = Backend()
    assert backend.arange(1, 3).tolist() == [1, 2]
    assert backend.to_numpy(backend.from_numpy(np.ones(2))).tolist() == [1.0, 1.0]
    with pytest.raises(NotImplementedError, match="reduce_mean"):
        einops.reduce(gg.arange(3), "a -> ", "mean")
