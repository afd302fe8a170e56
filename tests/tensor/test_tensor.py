"""The Tensor: creation, operators, conversions, copies, and what Python and NumPy make of it."""

import copy
import math
import pickle

import numpy as np
import pytest
from arrays import host, made

import gpugrad as gg
from gpugrad import Tensor

# Creation.

CREATED = {
    "zeros": (lambda **w: gg.zeros((2, 3), **w), np.zeros((2, 3))),
    "ones": (lambda **w: gg.ones((2, 3), **w), np.ones((2, 3))),
    "full": (lambda **w: gg.full((2,), 7.5, **w), np.full(2, 7.5)),
    "arange": (lambda **w: gg.arange(0.0, 2.0, 0.5, **w), np.arange(0, 2, 0.5)),
    "linspace": (lambda **w: gg.linspace(0, 1, 5, **w), np.linspace(0, 1, 5)),
    "open linspace": (
        lambda **w: gg.linspace(0, 1, 4, endpoint=False, **w),
        np.linspace(0, 1, 4, endpoint=False),
    ),
    "eye": (lambda **w: gg.eye(2, 3, k=1, **w), np.eye(2, 3, k=1)),
    "tensor": (lambda **w: gg.tensor([[1, 2], [3, 4]], **w), np.array([[1.0, 2], [3, 4]])),
    "number": (lambda **w: gg.tensor(3, **w), np.array(3.0)),
    "asarray": (lambda **w: gg.asarray((1, 2.5), **w), np.array([1, 2.5])),
}


@pytest.mark.parametrize("name", CREATED)
def test_creation(name, device):
    make, expected = CREATED[name]
    t = make()
    assert (t.dtype, t.device, t.requires_grad) == (np.float32, device, False)
    np.testing.assert_allclose(host(t), expected.astype(np.float32), rtol=1e-6)
    t = make(dtype="float64", device="sim:1", requires_grad=True)
    assert (t.dtype, str(t.device), t.requires_grad) == (np.float64, "sim:1", True)
    np.testing.assert_allclose(host(t), expected)
    with gg.device("sim:1"):
        assert str(make().device) == "sim:1"


def test_arrays_whose_operators_do_other_things():
    with pytest.warns(PendingDeprecationWarning):
        m = np.matrix([[1.0, 2.0], [3.0, 4.0]])
    t = gg.tensor(m)
    assert type(t.data) is np.ndarray
    assert (t * t).tolist() == [[1.0, 4.0], [9.0, 16.0]]
    masked = np.ma.array([1.0, 2.0], mask=[False, True])
    for f in (
        lambda: gg.tensor(masked),
        lambda: gg.exp(masked),
        lambda: gg.add(gg.ones(2), masked),
    ):
        with pytest.raises((gg.DTypeError, TypeError), match="MaskedArray"):
            f()


def test_empty_and_what_is_like_another(device):
    assert gg.empty((2, 0)).shape == (2, 0)
    x = gg.ones((2, 3), dtype="float16", device="sim:1")
    for make, value in ((gg.zeros_like, 0), (gg.ones_like, 1)):
        t = make(x)
        assert (t.shape, t.dtype, t.device) == (x.shape, x.dtype, x.device)
        assert host(t).tolist() == [[value] * 3] * 2
        t = make(x, dtype="float64", device=device, requires_grad=True)
        assert (t.dtype, t.device, t.requires_grad) == (np.float64, device, True)
    assert gg.full_like(x, 2.5).tolist() == [[2.5] * 3] * 2
    assert gg.empty_like(x).shape == x.shape
    assert np.zeros_like(x).device == x.device


def test_dtypes_of_what_is_given():
    assert gg.tensor(np.arange(3)).dtype == np.int64
    assert gg.tensor([1, 2]).dtype == np.float32
    assert gg.tensor(True).dtype == gg.tensor([True]).dtype == np.bool_
    assert gg.tensor(np.float64(1)).dtype == np.float64
    assert gg.tensor(np.float16(1)).dtype == np.float16
    assert gg.arange(3).dtype == np.int64
    assert gg.full(2, True).dtype == np.bool_
    assert gg.full(2, gg.tensor(3.0)).tolist() == [3.0, 3.0]
    assert gg.tensor(gg.ones(2), dtype="float64").dtype == np.float64
    gg.set_default_dtype("float64")
    try:
        assert gg.zeros(2).dtype == gg.tensor([1]).dtype == np.float64
    finally:
        gg.set_default_dtype("float32")


def test_an_array_is_neither_copied_nor_cast(device):
    raw = device.send(np.arange(3.0))
    t = gg.tensor(raw)
    assert t.data is raw
    assert gg.asarray(t) is t
    assert t.device == device
    assert gg.asarray(t, dtype=np.float64) is t
    assert gg.asarray(t, dtype="float32").dtype == np.float32


# Devices and dtypes.


def test_moving_between_devices_keeps_the_graph(device):
    x = made([1.0, 2.0], device)
    there = x.to("sim:1")
    assert str(there.device) == "sim:1"
    assert str(x.to(gg.Device("sim:1")).device) == "sim:1"
    assert x.to(device) is x
    back = (there * there).to(device=device, dtype="float32")
    assert (back.device, back.dtype) == (device, np.float32)
    (back.cpu() * np.array([1.0, 10.0])).sum().backward()
    assert x.grad.device == device
    assert x.grad.dtype == np.float64
    assert host(x.grad).tolist() == [2.0, 40.0]
    slope = gg.gradients((x.to("sim:1") ** 3).sum(), x, create_graph=True)
    assert slope.device == device
    assert gg.gradients(slope.sum(), x).tolist() == [6.0, 12.0]


def test_casting(device):
    x = made([1.25, -2.5], device)
    assert x.to("float16").dtype == x.astype(np.float16).dtype == np.float16
    assert x.to(np.float64) is x
    whole = x.astype("int32")
    assert whole.tolist() == [1, -2]
    assert not whole.requires_grad
    (x.to("float16") * 2).sum().backward()
    assert x.grad.dtype == np.float64
    assert x.grad.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_gradients_keep_their_data_s_dtype_in_mixed_company(dtype, device):
    for f, result in (
        (lambda x: x * 2.5, dtype),
        (lambda x: 1 / x, dtype),
        (lambda x: x**3, dtype),
        (lambda x: gg.where(x > 0, x, 0.0), dtype),
        (lambda x: gg.clip(x, 0.1, 5.0), dtype),
        (lambda x: x * np.float64(2), np.float64),
        (lambda x: np.float64(2) * x, np.float64),
        (lambda x: x + gg.tensor(np.array(1.0), device=device), np.float64),
        (lambda x: x * gg.ones(2, dtype="float64"), np.float64),
        (lambda x: gg.concat([x, gg.ones(1, dtype="float64")]), np.float64),
        (lambda x: x * gg.arange(2), np.result_type(dtype, np.int64)),
        (lambda x: x @ gg.ones((2, 2), dtype="float64"), np.float64),
        (lambda x: gg.maximum(x, gg.zeros(2, dtype="float64")), np.float64),
        (lambda x: x > 1, np.bool_),
    ):
        x = made([1.5, 2.0], device, dtype=dtype)
        y = f(x)
        assert y.dtype == result
        if result != np.bool_:
            y.sum().backward()
            assert x.grad.dtype == dtype
            assert x.grad.device == device


# What Python makes of a tensor.


def test_numbers_and_truth(device):
    t = made(2.5, device).detach()
    assert (float(t), int(t), t.item(), complex(t)) == (2.5, 2, 2.5, 2.5 + 0j)
    assert type(t.item()) is float
    assert math.sin(t) == math.sin(2.5)
    assert bool(t)
    assert not gg.zeros(1)
    assert made([[3.0]], device).item() == 3.0
    assert [10, 20, 30][gg.tensor(1, dtype="int64")] == 20
    assert list(range(gg.tensor(3, dtype="int64"))) == [0, 1, 2]
    with pytest.raises(gg.DTypeError, match="one integer is an index"):
        [1][t]


@pytest.mark.parametrize("kind", [float, int, complex, math.sin])
def test_a_python_number_does_not_leave_a_graph_unseen(kind, device):
    t = made(2.5, device).requires_grad_()
    for tensor in (t, t * 1):
        with pytest.raises(gg.GradientError, match=r"Write gg.sin\(t\) for a function of it"):
            kind(tensor)
        assert kind(tensor.detach()) == kind(2.5)
    assert (t.item(), f"{t:.1f}") == (2.5, "2.5")


def test_sequences(device):
    t = made([[1.0, 2.0], [3.0, 4.0]], device)
    assert len(t) == 2
    rows = list(t)
    assert [row.shape for row in rows] == [(2,), (2,)]
    (rows[0] * rows[1]).sum().backward()
    assert t.grad.tolist() == [[3.0, 4.0], [1.0, 2.0]]
    a, b = made([5.0, 6.0], device)
    assert (a.item(), b.item()) == (5.0, 6.0)
    assert 4.0 in t
    assert 9.0 not in t
    with pytest.raises(gg.DTypeError, match="no axes"):
        iter(made(1.0, device))


def test_order_equality_and_hashing(device):
    a, b = made(3.0, device), made(1.0, device)
    assert [t.item() for t in sorted([a, b])] == [1.0, 3.0]
    assert max(a, b) is a
    assert (a == made(3.0, device)).item() is True
    assert a in [b, a]
    assert hash(a) == hash(a)
    assert {a: 1, b: 2}[a] == 1
    assert a not in {made(3.0, device): 1}
    assert {a, b, a} == {a, b}


def test_text(device):
    t = made([1.0, 2.0], device)
    place = "" if device.kind == "cpu" else f", device='{device}'"
    assert repr(t) == str(t) == f"tensor([1., 2.], dtype=float64{place}, requires_grad=True)"
    assert "grad_fn=<multiply>" in repr(t * 2)
    t.name = "w"
    assert repr(t).endswith("name='w')")
    assert f"{made(2.5, device):.3f}" == "2.500"
    assert f"{t}" == repr(t)
    with pytest.raises(ValueError, match="format"):
        f"{t:.3f}"
    assert len(repr(gg.zeros((1000, 1000)))) < 2000


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies(how, device):
    t = made([1.0, 2.0], device)
    t.name = "w"
    (t * t).sum().backward()
    c = how(t)
    assert c is not t
    assert type(c) is Tensor
    assert (c.name, c.requires_grad, c.device, c.dtype) == ("w", True, device, t.dtype)
    assert c.tolist() == [1.0, 2.0]
    with gg.no_grad():
        c += 1
    assert t.tolist() == ([2.0, 3.0] if how is copy.copy else [1.0, 2.0])
    (c * 5).sum().backward()
    assert t.grad.tolist() == [2.0, 4.0]
    if how is copy.copy:
        assert how(t * 2).tolist() == [4.0, 6.0]
        assert c.grad.tolist() == [5.0, 5.0]
    else:
        assert c.grad.tolist() == [7.0, 9.0]
        with pytest.raises(gg.GradientError, match=r"\.detach\(\)"):
            how(t * 2)


def test_copies_and_gradients_stay_where_they_were(device):
    """On a device that is not the current one, where CuPy's own ``copy`` would not."""
    t = made([1.0, 2.0], "sim:1")
    for _ in range(2):
        (t * t + t).sum().backward()
        assert str(t.grad.device) == "sim:1"
    c = copy.deepcopy(t)
    assert (str(c.device), str(c.grad.device)) == ("sim:1", "sim:1")
    found = gg.gradients(t + 0.0, [t, t], gg.ones(2, dtype="float64", device="sim:1"))
    assert {str(g.device) for g in found} == {"sim:1"}
    assert str(t.copy().device) == str(gg.zeros_like(t).device) == "sim:1"


def test_copies_within_a_structure_stay_one_object(device):
    t = made([1.0], device)
    for how in (copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))):
        a, b = how([t, t])
        assert a is b
    c = t.copy()
    assert not c.is_leaf
    c.backward()
    assert t.grad.tolist() == [1.0]


# The attributes.


def test_attributes(device):
    t = made(np.zeros((2, 3)), device)
    assert (t.ndim, t.size, t.nbytes, t.itemsize) == (2, 6, 48, 8)
    assert (t.T.shape, t.mT.shape) == ((3, 2), (3, 2))
    assert t.is_leaf
    assert t.grad_fn is None
    y = t * 2
    assert not y.is_leaf
    assert y.grad_fn.op.name == "multiply"
    assert y.detach().data is y.data
    assert y.detach().is_leaf
    y.name = "y"
    assert y.grad_fn.name == "y"


def test_setting_data_grad_and_requires_grad(device):
    t = made([1.0, 2.0], device)
    raw = device.send(np.array([5.0, 6.0]))
    y = t * t
    t.data = raw
    assert t.data is raw
    y.sum().backward()  # of the values that y was computed from
    assert t.grad.tolist() == [2.0, 4.0]
    t.grad = gg.ones(2, dtype="float32", device=device)
    assert t.grad.dtype == np.float64
    (t * 3).sum().backward()
    assert t.grad.tolist() == [4.0, 4.0]
    t.grad = device.send(np.zeros(2))
    assert isinstance(t.grad, Tensor)
    t.grad = None
    assert t.grad is None
    t.requires_grad = False
    assert not (t * 2).requires_grad
    assert t.requires_grad_() is t
    assert (t * 2).requires_grad


# What NumPy makes of it.


def test_numpy_functions_and_ufuncs():
    x = made([[1.0, 4.0], [9.0, 16.0]], "cpu")
    array = x.detach().numpy()
    for f in (
        np.sqrt, np.sum, np.mean, np.transpose, np.ravel, np.cumsum, np.max, np.add.reduce,
        lambda a: np.sum(a, axis=0, keepdims=True), lambda a: np.concatenate([a, a], axis=1),
        lambda a: np.stack((a, a)), lambda a: np.where(a > 3, a, 0.0), lambda a: np.clip(a, 2, 9),
        lambda a: np.clip(a, a_min=2, a_max=None), lambda a: np.reshape(a, (4,)),
        lambda a: np.einsum("ij->i", a), lambda a: np.std(a, axis=1, ddof=1),
        lambda a: np.dot(a, a), lambda a: np.multiply.reduce(a), lambda a: np.maximum.reduce(a),
        lambda a: np.pad(a, ((1, 0), (0, 2))), lambda a: np.tile(a, (2, 1)), lambda a: np.flip(a),
        lambda a: np.repeat(a, 2, axis=0), lambda a: np.roll(a, 1), lambda a: np.outer(a, a),
        lambda a: np.tensordot(a, a, axes=1), lambda a: np.expand_dims(a, 0), lambda a: np.copy(a),
    ):  # fmt: skip
        y = f(x)
        assert isinstance(y, Tensor)
        assert y.requires_grad
        np.testing.assert_allclose(host(y), f(array), rtol=1e-15)
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2, 2), 2, 4)
    assert np.allclose(x, array)
    assert np.array_equal(x, array)


def test_conversion_to_numpy(device):
    t = made([1.0, 2.0], device, requires_grad=False)
    assert t.tolist() == [1.0, 2.0]
    assert isinstance(t.numpy(), np.ndarray)
    if device.kind == "cpu":
        assert np.asarray(t) is t.data
        assert np.array(t, dtype="float32").dtype == np.float32
        assert np.array(t) is not t.data
    else:
        with pytest.raises(gg.DTypeError, match=r"\.cpu\(\)\.numpy\(\)"):
            np.asarray(t)


def test_out_and_arrays_on_the_left_of_in_place_forms():
    t = made([0.0, 1.0], "cpu", requires_grad=False)
    out = np.empty(2)
    assert np.sin(t, out=out) is out
    assert np.add(t, 1.0, out=t) is t
    assert t.tolist() == [1.0, 2.0]
    out += t
    np.testing.assert_allclose(out, np.sin([0.0, 1.0]) + np.array([1.0, 2.0]))
    assert isinstance(out, np.ndarray)
    total = np.empty(())
    np.sum(t, out=total)
    assert total == 3.0
    for f in (
        lambda: np.sin(made([1.0], "cpu"), out=out),
        lambda: np.sin(t, out=made([1.0], "cpu")),
    ):
        with pytest.raises(gg.GradientError, match="out="):
            f()
