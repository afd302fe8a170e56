"""The simulated device: that it computes as NumPy does and refuses what CuPy refuses."""

import copy
import pickle
import subprocess
import sys
import weakref

import numpy
import pytest
from repository import ROOT
from simulated import same

import gpugrad.backend.sim as xp
from gpugrad.backend.namespace import namespace_of
from gpugrad.errors import DeviceError


@pytest.fixture
def a():
    return xp.arange(6.0).reshape(2, 3)


# To and from the host


def test_implicit_conversion_to_numpy_is_refused_with_the_way_out(a):
    with pytest.raises(TypeError, match=r"Implicit conversion to a NumPy array.*\.get\(\)"):
        numpy.asarray(a)
    with pytest.raises(TypeError, match=r"\.get\(\)"):
        numpy.array([a, a])
    assert not hasattr(a, "__array_interface__")
    assert not hasattr(a, "__cuda_array_interface__")
    assert not hasattr(a, "__index__")
    with pytest.raises((TypeError, BufferError)):
        memoryview(a)


def test_get_gives_a_numpy_copy(a):
    host = a.get()
    assert type(host) is numpy.ndarray
    host[...] = 9
    assert float(a.max()) == 5.0
    assert a.T.get(order="F").flags.f_contiguous
    out = numpy.empty((2, 3))
    assert a.get(out=out) is out
    assert out[1, 2] == 5
    with pytest.raises(TypeError, match="float32 array cannot be obtained from float64"):
        a.get(out=numpy.empty((2, 3), "f4"))
    with pytest.raises(ValueError, match="Shape mismatch"):
        a.get(out=numpy.empty(6))
    same(xp.asarray(xp.asnumpy(a)), numpy.arange(6.0).reshape(2, 3))


def test_arrays_made_from_numpy_do_not_share_its_memory():
    host = numpy.ones(3)
    for make in (xp.array, xp.asarray, lambda h: xp.array(h, copy=None)):
        made = make(host)
        made[0] = 5
        assert host[0] == 1


def test_set_copies_from_numpy(a):
    a.set(numpy.zeros((2, 3)))
    assert float(a.sum()) == 0
    with pytest.raises(TypeError, match=r"Only numpy\.ndarray can be set"):
        a.set([[1]])
    with pytest.raises(TypeError, match="float32 array cannot be set to float64"):
        a.set(numpy.zeros((2, 3), "f4"))
    with pytest.raises(ValueError, match="Shape mismatch"):
        a.set(numpy.zeros(3))
    with pytest.raises(RuntimeError, match="non-contiguous"):
        a[:, :2].set(numpy.zeros((2, 2)))


def test_assignment_of_numpy_arrays_and_lists_is_refused(a):
    with pytest.raises(ValueError, match=r"non-scalar ndarray cannot be used for fill.*arr\.set"):
        a[...] = numpy.zeros((2, 3))
    with pytest.raises(ValueError, match="non-scalar list cannot be used for fill"):
        a[0] = [1.0, 2.0, 3.0]
    a[0] = 1
    a[1, :] = numpy.float32(2)
    a[:, 2] = xp.asarray([8, 9])
    same(a, numpy.array([[1.0, 1, 8], [2, 2, 9]]))


def test_scalar_conversions():
    x = xp.asarray(2.5)
    assert (float(x), int(x), bool(x), complex(x), x.item()) == (2.5, 2, True, 2.5 + 0j, 2.5)
    assert f"{x:.3f}" == "2.500"
    assert xp.arange(2).tolist() == [0, 1]
    with pytest.raises(ValueError, match="ambiguous"):
        bool(xp.ones(2))
    with pytest.raises(ValueError, match="size 1"):
        xp.ones(2).item()
    with pytest.raises(TypeError):
        float(xp.ones(2))
    with pytest.raises(TypeError):
        range(xp.asarray(2))
    with pytest.warns(DeprecationWarning, match="empty array"):
        assert not xp.zeros(0)


def test_copy_pickle_weakref(a):
    for other in (copy.copy(a), copy.deepcopy(a), pickle.loads(pickle.dumps(a)), a.copy()):
        same(other, a.get())
        other[...] = 0
        assert float(a[1, 2]) == 5
    assert weakref.ref(a)() is a
    assert pickle.loads(pickle.dumps(xp.add)) is xp.add
    with xp.Device(2):
        b = xp.ones(1)
    assert copy.deepcopy(b).device.id == 2


def test_dlpack_only_hands_out_host_copies_when_asked(a):
    with pytest.raises(BufferError, match=r"\.get\(\)"):
        a.__dlpack__()
    with pytest.raises(BufferError, match="host memory; use asarray"):
        xp.from_dlpack(numpy.ones(2))
    same(xp.from_dlpack(numpy.ones(2), copy=True), numpy.ones(2))
    assert xp.from_dlpack(a).base is not None


# Shape and memory


def test_attributes(a):
    assert (a.shape, a.ndim, a.size, a.itemsize, a.nbytes) == ((2, 3), 2, 6, 8, 48)
    assert a.strides == (24, 8)
    assert a.flags.c_contiguous
    assert a.flags["C_CONTIGUOUS"]
    assert not a.T.flags.c_contiguous
    assert not hasattr(a.flags, "writeable")
    assert len(a) == 2
    assert [row.tolist() for row in a] == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(TypeError, match="0-d"):
        iter(a.sum())
    with pytest.raises(TypeError, match="unsized"):
        len(a.sum())
    with pytest.raises(AttributeError, match=r"cupy.ndarray has no attribute 'setflags', numpy"):
        a.setflags(write=False)
    with pytest.raises(AttributeError, match=r"cupy\.ndarray has no attribute 'frobnicate'"):
        a.frobnicate()
    assert repr(a) == repr(a.get())
    assert str(a) == str(a.get())
    with pytest.raises(TypeError, match="unhashable"):
        hash(a)


def test_views_know_their_base():
    a = xp.zeros((2, 3))
    assert a.base is None
    for view in (a[0], a[1, 2], a.T, a.reshape(3, 2), a.view(), a.ravel(), xp.squeeze(a[:1])):
        assert view.base is a
        view[...] = view + 1
    assert float(a.sum()) > 0
    assert a[0].T.base is a
    for fresh in (a + 1, a.copy(), a[[0]], a[a > 0], a.flatten(), a.astype("f4"), a.sum()):
        assert fresh.base is None
    b = a.astype("d", copy=False)
    assert b is a or b.base is a


def test_shape_can_be_set_where_no_copy_is_needed():
    a = xp.arange(6)
    a.shape = (2, 3)
    assert a.shape == (2, 3)
    with pytest.raises(AttributeError, match="copy"):
        a.T.shape = (6,)


def test_a_single_element_is_a_writable_view(a):
    one = a[1, 2]
    assert type(one) is xp.ndarray
    assert one.shape == ()
    one[()] = 50
    assert float(a[1, 2]) == 50
    one += 1
    assert float(a[1, 2]) == 51


def test_broadcast_to_and_diagonal_give_writable_views():
    a = xp.zeros((1, 3))
    wide = xp.broadcast_to(a, (2, 3))
    wide[0, 1] = 4
    assert wide.base is a
    assert float(a[0, 1]) == 4
    square = xp.zeros((3, 3))
    square.diagonal()[...] = 1
    assert float(square.trace()) == 3
    first, _ = xp.broadcast_arrays(a, xp.zeros((2, 3)))
    first[1, 2] = 9
    assert float(a[0, 2]) == 9


def test_reductions_give_arrays_without_dimensions(a):
    for result in (
        a.sum(),
        a.max(),
        xp.mean(a),
        a.argmax(),
        xp.linalg.norm(a),
        xp.count_nonzero(a),
        xp.array_equal(a, a),
        xp.allclose(a, a),
        a.any(),
        xp.dot(a[0], a[0]),
    ):
        assert type(result) is xp.ndarray
        assert result.shape == ()


# Operators


OPERATORS = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "truediv": lambda x, y: x / y,
    "floordiv": lambda x, y: x // y,
    "mod": lambda x, y: x % y,
    "pow": lambda x, y: x**y,
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
    "lt": lambda x, y: x < y,
    "ge": lambda x, y: x >= y,
    "divmod": lambda x, y: divmod(x, y)[1],
}


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "u1"])
@pytest.mark.parametrize("other", [2, 2.0, numpy.float64(2), numpy.float32(2), numpy.int16(2)])
def test_operators_promote_as_numpy_2(operator, dtype, other):
    host = numpy.arange(1, 5).astype(dtype)
    device = xp.asarray(host)
    power = operator is OPERATORS["pow"] and isinstance(other, numpy.generic)
    if not (
        power and numpy.lib.NumpyVersion(numpy.__version__) < "2.3.0"
    ):  # kept the array's dtype
        same(operator(device, other), operator(host, other))
    same(operator(other, device), operator(other, host))
    same(operator(device, device), operator(host, host))


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("other", [numpy.ones(3), [1.0, 2.0, 3.0], (1.0, 2.0, 3.0)], ids=repr)
def test_operators_refuse_numpy_arrays_and_lists_on_both_sides(operator, other):
    device = xp.ones(3)
    with pytest.raises(TypeError, match="Unsupported type"):
        operator(device, other)
    with pytest.raises(TypeError, match="Unsupported type"):
        operator(other, device)


def test_matmul_operator():
    x, y = numpy.arange(6.0).reshape(2, 3), numpy.arange(12.0).reshape(3, 4)
    same(xp.asarray(x) @ xp.asarray(y), x @ y)
    with pytest.raises(TypeError, match="Unsupported type"):
        xp.asarray(x) @ y
    with pytest.raises(TypeError, match="Unsupported type"):
        x @ xp.asarray(y)
    with pytest.raises(ValueError, match="mismatch"):
        xp.asarray(x) @ xp.asarray(x)


def test_in_place_operators_keep_the_array_and_its_dtype():
    a = b = xp.ones(3, "f4")
    a += 1
    a *= xp.asarray(2.0)
    a /= 2
    a -= numpy.float64(0.5)
    assert a is b
    same(a, numpy.full(3, 1.5, "f4"))
    with pytest.raises(TypeError, match="Unsupported type"):
        a += numpy.ones(3)
    with pytest.raises(TypeError):
        xp.ones(3, "i4").__itruediv__(2)
    bits = xp.asarray([5, 6])
    bits &= 4
    bits <<= 1
    same(bits, numpy.array([8, 8]))


def test_unary_operators():
    x = numpy.array([-1.5, 2.0])
    d = xp.asarray(x)
    same(-d, -x)
    same(+d, x)
    same(abs(d), abs(x))
    same(~xp.asarray([1, 2]), ~numpy.array([1, 2]))


def test_comparison_with_objects_that_equal_nothing(a):
    same(a == None, numpy.zeros((2, 3), bool))  # noqa: E711
    same(a != object(), numpy.ones((2, 3), bool))


class Decides:
    """A right operand that CuPy leaves the operation to: it says that it is no NumPy operand."""

    __array_ufunc__ = None

    def __rmul__(self, other):
        return "right"

    __radd__ = __rsub__ = __rtruediv__ = __rpow__ = __rmatmul__ = __rmul__

    def __gt__(self, other):
        return "right"


class Outranks:
    __array_priority__ = 200

    def __rmul__(self, other):
        return "right"


class Outranked:
    __array_priority__ = 10

    def __rmul__(self, other):
        return "right"


def test_right_operands_win_as_with_cupy(a):
    other = Decides()
    assert a * other == a + other == a - other == a / other == a**other == a @ other == "right"
    assert (a < other) == "right"
    assert a * Outranks() == "right"
    with pytest.raises(TypeError):
        a * Outranked()
    with pytest.raises(TypeError, match="Unsupported type"):
        a += other


class Overrides:
    def __cupy_override_elementwise_kernel__(self, function, *args, **kwargs):
        return function.__name__, len(args)


def test_ufuncs_give_way_to_the_override_of_cupy(a):
    assert xp.exp(Overrides()) == ("cupy_exp", 1)
    assert xp.add(a, Overrides()) == ("cupy_add", 2)


# NumPy's functions called with simulated arrays


def test_numpy_functions_dispatch(a):
    same(numpy.exp(a), numpy.exp(a.get()))
    same(numpy.add(a, 1), a.get() + 1)
    same(numpy.sum(a, axis=0), a.get().sum(0))
    same(numpy.concatenate([a, a]), numpy.concatenate([a.get()] * 2))
    same(numpy.linalg.norm(a), numpy.linalg.norm(a.get()))
    same(numpy.add.reduce(a), a.get().sum(0))
    out = xp.empty((2, 3))
    assert numpy.sqrt(a, out=out) is out
    with pytest.raises(TypeError, match="Unsupported type"):
        numpy.multiply(numpy.ones(3), a)
    with pytest.raises(TypeError, match="Unsupported type"):
        numpy.concatenate([a, numpy.ones((1, 3))])
    with pytest.raises(TypeError):
        numpy.insert(a, 0, 1)
    with pytest.raises(TypeError):
        numpy.spacing(a)
    with pytest.raises(TypeError, match="Unsupported type"):
        numpy.ones(3).__iadd__(a[0])


# Into gpugrad


def test_the_type_is_registered_with_gpugrad(a):
    namespace = namespace_of(a)
    assert namespace.exp is xp.exp
    with xp.Device(1):
        b = xp.ones(1)
    namespace.checks("add", (a, a, 2.0, numpy.float64(1)))
    with pytest.raises(DeviceError, match=r'add: .*sim:0 and sim:1\. .*\.to\("sim:0"\)'):
        namespace.checks("add", (a, b))
    with pytest.raises(DeviceError, match=r'mul: .*cpu and sim:0\. .*\.to\("sim:0"\)'):
        namespace.checks("mul", (numpy.ones(1), a))


def test_import_is_lazy_and_brings_in_few_modules():
    code = (
        "import sys, gpugrad.backend; before = {*sys.modules}; import gpugrad.backend.sim;"
        "print(*sys.modules.keys() - before)"
    )
    names = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "gpugrad.backend.sim" in names
    others = {name.partition(".")[0] for name in names} - {"gpugrad", "json", "_json"}
    assert not others
    assert len(names) < 30, sorted(names)


def test_get_array_module(a):
    assert xp.get_array_module(a, numpy.ones(1)) is xp
    assert xp.get_array_module(numpy.ones(1), 2) is numpy
    assert xp.ndarray.__module__ == "gpugrad.backend.sim"
    assert xp.float32 is numpy.float32
    assert xp.pi == numpy.pi
    assert xp.newaxis is None
    assert "add" in dir(xp)
    assert "insert" not in dir(xp)


def test_the_examples_of_the_page_run():
    import doctest

    page = ROOT / "docs" / "sim.md"
    outcome = doctest.testfile(str(page), module_relative=False)
    assert outcome.attempted > 10
    assert outcome.failed == 0


def test_it_can_stand_in_for_an_import_of_cupy():
    code = (
        "import sys, gpugrad.backend.sim as sim; sys.modules['cupy'] = sim;"
        "import cupy as cp; from cupy import linalg; import cupy;"
        "print(linalg.norm(cp.ones(4)), cupy.cuda.Device().id)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2.0", "0"]
