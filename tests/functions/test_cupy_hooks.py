"""CuPy's own functions on Tensors. The wheel needs no GPU for this: the hook is asked first.

The simulated device's ufuncs ask it as CuPy's do.
"""

import importlib

import numpy as np
import optable
import pytest
from extremes import ORDERED

import gpugrad as gg
import gpugrad.backend.sim as sim
from gpugrad import special
from gpugrad.backend.sim import scipy_special, signatures
from gpugrad.engine.op import TABLE
from gpugrad.errors import DTypeError, GradientError
from gpugrad.functions import FUNCTIONS

cupy = pytest.importorskip("cupy")
cupy_special = importlib.import_module("cupyx.scipy.special")

cuda = pytest.mark.skipif(not gg.cuda.is_available(), reason="needs CUDA")
MODULES = {"cupy": cupy, "sim": sim}
SPECIAL = {"cupy": cupy_special, "sim": scipy_special}
KNOWN = [name for name in signatures.UFUNCS if name in FUNCTIONS]
MISSING = [name for name in signatures.UFUNCS if name not in FUNCTIONS]


def operands(name, count, grad=True):
    op = TABLE.get(FUNCTIONS[name].__name__ if name in FUNCTIONS else name)
    low = 0.2 if op is None else max(op.domain[0], 0.2)
    arrays = [
        np.array([2, 3])
        if op is not None and optable.drawn(op, i) == "whole"
        else np.array([low, low + 0.3]) + 0.1 * i
        for i in range(count)
    ]
    return [gg.tensor(a, requires_grad=grad and a.dtype.kind == "f") for a in arrays]


@pytest.fixture(params=MODULES)
def module(request):
    return MODULES[request.param]


@pytest.mark.parametrize("name", KNOWN)
def test_ufuncs_are_recorded(name, module):
    if not hasattr(module, name):
        pytest.skip("not imitated")
    ufunc = getattr(module, name)
    inputs = operands(name, ufunc.nin)
    got, wanted = ufunc(*inputs), FUNCTIONS[name](*inputs)
    for one, other in zip(*(r if isinstance(r, tuple) else (r,) for r in (got, wanted))):
        assert isinstance(one, gg.Tensor)
        assert one.requires_grad == other.requires_grad
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())


@pytest.mark.parametrize("name", [n for n in special.__all__ if n in signatures.SPECIAL])
@pytest.mark.parametrize("kind", SPECIAL)
def test_special_functions_are_recorded(name, kind):
    ufunc = getattr(SPECIAL[kind], name)
    inputs = operands(name, ufunc.nin, grad=False)
    inputs[-1].requires_grad_()
    if name in ORDERED:
        inputs = [2, inputs[-1]]
    got = ufunc(*inputs)
    assert got.requires_grad
    wanted = getattr(special, name)(*inputs)
    np.testing.assert_array_equal(got.detach().numpy(), wanted.detach().numpy())


def test_every_ufunc_of_cupy_is_known_or_refused(module):
    for name in MISSING:
        if hasattr(module, name):
            ufunc = getattr(module, name)
            with pytest.raises(DTypeError, match=r"cupy\.\w+: gpugrad has no such function"):
                ufunc(*operands(name, ufunc.nin))
    with pytest.raises(DTypeError, match=r"cupyx\.scipy\.special\.gdtr: gpugrad has no such"):
        cupy_special.gdtr(*operands("gdtr", 3))


def test_a_tensor_meets_other_operands_on_either_side(module):
    t = gg.tensor(np.array([1.0, 2.0]), requires_grad=True)
    y = module.add(module.multiply(2.0, t), 1)
    y = module.subtract(y, gg.ones(2))
    y.sum().backward()
    assert t.grad.tolist() == [2, 2]


def test_arrays_of_the_module_meet_tensors(module):
    if module is cupy and not gg.cuda.is_available():
        pytest.skip("needs CUDA")
    place = "sim" if module is sim else "cuda"
    a = module.asarray(np.array([2.0, 3.0]))
    t = gg.tensor(np.array([1.0, 5.0]), device=place, requires_grad=True)
    y = module.add(module.multiply(a, t), module.maximum(t, a)) + a * t
    assert y.device == place
    y.sum().backward()
    assert t.grad.tolist() == [4, 7]
    module.add(a, t.detach(), a)
    assert a.tolist() == [3, 8]
    with pytest.raises(GradientError, match="out=: a result that requires a gradient cannot"):
        module.add(a, t, a)


def test_where_has_a_ufunc_behind_it(module):
    t = gg.tensor(np.array([1.0, -2.0]), requires_grad=True)
    y = module.where(t.detach() > 0, t, 0.0)
    y.sum().backward()
    assert t.grad.tolist() == [1, 0]


def test_angle_has_a_ufunc_behind_it():
    assert cupy.angle(gg.asarray([1j])).item() == pytest.approx(np.pi / 2)


def test_outputs(module):
    t = gg.tensor(np.array([0.0, 1.0]))
    out = gg.zeros(2, dtype="float64")
    assert module.exp(t, out) is out
    assert module.exp(t, out=out) is out
    np.testing.assert_allclose(out.numpy(), np.exp([0, 1]))
    assert module.exp(t.requires_grad_(), out=out) is out
    assert gg.gradients(out.sum(), t).tolist() == out.tolist()
    with pytest.raises(DTypeError, match=r"cupy\.exp: dtype= is not supported for tensors"):
        module.exp(t, dtype="float32")


def test_kernels_of_one_s_own_are_refused():
    t = gg.ones(2, requires_grad=True)
    kernel = cupy.ElementwiseKernel("T x", "T y", "y = x", "mine")
    with pytest.raises(
        DTypeError, match=r"mine: gpugrad does not know.*ElementwiseKernel.*gg\.cus"
    ):
        kernel(t)
    # A name alone makes no ufunc CuPy's own.
    pytest.importorskip("cupy")
    core = importlib.import_module("cupy._core")
    other = core.create_ufunc("cupy_exp", ("d->d",), "out0 = in0")
    with pytest.raises(DTypeError, match="cupy_exp: gpugrad does not know the derivative of this"):
        other(t)


def test_reductions():
    pytest.importorskip("cupy")
    t = gg.tensor(np.array([[1.0, 0.0], [2.0, 3.0]]), requires_grad=True)
    assert cupy.count_nonzero(t).item() == 3
    assert cupy.count_nonzero(t, axis=0).tolist() == [2, 1]
    core = importlib.import_module("cupy._core")
    total = core.create_reduction_func("cupy_sum", ("d->d",), ("in0", "a + b", "out0 = a", None))
    assert total(t, axis=1, keepdims=True).tolist() == [[1], [5]]
    assert total(t, dtype="float32").dtype == np.float32
    mine = core.create_reduction_func("mine", ("d->d",), ("in0", "a + b", "out0 = a", None))
    with pytest.raises(DTypeError, match="mine: gpugrad does not know this reduction"):
        mine(t)


def test_cupy_does_not_take_a_tensor_for_an_array_of_its_own():
    t = gg.ones(2)
    assert not hasattr(t, "__cuda_array_interface__")
    assert not hasattr(t, "__cupy_get_ndarray__")  # or `array @ t` would not be the Tensor's


@cuda
@pytest.mark.parametrize(
    "call",
    [
        lambda t: cupy.concatenate([t, t]),
        lambda t: cupy.concatenate([t, t.detach().data]),
        lambda t: cupy.hstack([t, t]),
        lambda t: cupy.asarray(t),
        lambda t: cupy.array([t, t]),
        lambda t: cupy.atleast_2d(t),
    ],
    ids="concatenate mixed hstack asarray array atleast_2d".split(),
)
@pytest.mark.parametrize("grad", [True, False])
def test_where_cupy_wants_an_array_an_error_says_what_to_write(call, grad):
    t = gg.tensor(np.array([1.0, 2.0]), device="cuda", requires_grad=grad)
    with pytest.raises(DTypeError, match=r"expected arrays of CuPy's, got a Tensor.*t\.data"):
        call(t)


@cuda
@pytest.mark.parametrize("grad", [True, False])
def test_compiled_methods_of_cupy_refuse_a_tensor_as_numpy_s_would(grad):
    t = gg.tensor(np.array([1.0, 2.0]), device="cuda", requires_grad=grad)
    said = "which a NumPy array cannot carry" if grad else "does not become a NumPy array by itself"
    for call in (lambda: cupy.zeros(3).fill(t), lambda: cupy.zeros(2).__setitem__(0, t[0])):
        with pytest.raises((DTypeError, GradientError, gg.errors.DeviceError), match=said):
            call()


@cuda
def test_the_error_names_the_function_and_gpugrad_s():
    t = gg.ones(2, device="cuda")
    with pytest.raises(DTypeError, match=r"^cupy\.concatenate: .*Write gg\.concatenate, which has"):
        cupy.concatenate([t])
    with pytest.raises(DTypeError, match=r"^cupy\.asfarray: .*Write a function of gpugrad, which"):
        cupy.asfarray(t)


@pytest.mark.parametrize("name", "sum prod mean var std max min amax amin argmax argmin".split())
@pytest.mark.parametrize("words", [{}, {"axis": 1}, {"axis": 0, "keepdims": True}], ids=repr)
def test_reductions_of_cupy_call_the_tensor_s_own(name, words):
    t = gg.tensor(np.array([[1.0, 0.5], [2.0, 3.0]]), requires_grad=True)
    got, wanted = getattr(cupy, name)(t, **words), FUNCTIONS[name](t, **words)
    assert isinstance(got, gg.Tensor)
    assert got.requires_grad == wanted.requires_grad
    np.testing.assert_array_equal(got.detach().numpy(), wanted.detach().numpy())
    out = gg.zeros_like(wanted)
    assert getattr(cupy, name)(t.detach(), out=out, **words) is out
    np.testing.assert_array_equal(out.numpy(), wanted.detach().numpy())


def test_ddof_is_passed_on():
    t = gg.tensor(np.array([1.0, 2.0, 4.0]), requires_grad=True)
    assert cupy.var(t, ddof=1).item() == gg.var(t, correction=1).item()
    assert t.std(0, None, None, 1, True).shape == (1,)
    assert t.sum(0, True).shape == t.sum(0, None, None, True).shape == (1,)
    assert t.sum(0, "float32", None, False).dtype == np.float32
    with pytest.raises(DTypeError, match="sum: order= is not supported for tensors"):
        t.sum(order="F")
