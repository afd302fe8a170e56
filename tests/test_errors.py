"""What is refused, and in which words; afterwards everything works as before."""

import datetime

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.errors import GpugradError
from gpugrad.tensor.foreign import METHODS
from gpugrad.tensor.foreign_functions import FUNCTIONS


@pytest.fixture(autouse=True)
def _usable_afterwards():
    yield
    x = gg.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def leaf(*shape, **words):
    return gg.ones(shape, requires_grad=True, **words)


def test_every_error_is_a_gpugrad_error_and_the_usual_one():
    for own, usual in {
        gg.ShapeError: ValueError,
        gg.DeviceError: RuntimeError,
        gg.DTypeError: TypeError,
        gg.GradientError: RuntimeError,
        gg.FileFormatError: ValueError,
    }.items():
        assert issubclass(own, usual)
        assert issubclass(own, GpugradError)


# Shapes.


@pytest.mark.parametrize(
    ("f", "shapes", "words"),
    [
        (
            lambda a, b: a + b,
            [(2, 3), (3, 2)],
            r"add: shapes \(2, 3\) and \(3, 2\) do not broadcast: axis -1 has 2 and 3.*transpose",
        ),
        (lambda a, b: a * b, [(3, 4), (3,)], r"multiply: .*Did you mean `\[:, None\]`.*\(3,\)"),
        (lambda a, b: a / b, [(3,), (3, 4)], r"divide: .*Did you mean `\[:, None\]`"),
        (lambda a, b: a - b, [(2,), (3,)], r"subtract: .*Each axis must have one size, or 1"),
        (
            lambda a, b: a @ b,
            [(32, 784), (128, 784)],
            r"matmul: inner sizes differ: \(32, 784\) @ \(128, 784\)\. .*transpose the second",
        ),
        (lambda a, b: a @ b, [(3, 2), (3, 4)], "matmul: .*transpose the first"),
        (lambda a, b: a @ b, [(3, 4), (5, 3)], "matmul: .*swap the operands"),
        (lambda a, b: a @ b, [(2, 3), (4, 5)], "matmul: .*must match the last but one"),
        (lambda a, b: a @ b, [(), (2, 2)], r"matmul: expected operands with axes.*Use \*"),
        (lambda a, b: a @ b, [(2, 3, 4), (5, 4, 3)], r"batch axes .*\(2,\) and \(5,\)"),
        (lambda a, b: gg.where(a > 0, a, b), [(2,), (3,)], "where: shapes .*do not broadcast"),
        (lambda a, b: gg.concat([a, b]), [(2, 3), (2, 4)], "concat"),
        (lambda a, b: gg.concat([a, b]), [(2,), (2, 2)], r"concat: expected equal numbers of axes"),
        (lambda a, b: gg.stack([a, b]), [(2,), (3,)], r"stack: expected equal shapes, got \(2,\)"),
        (lambda a, b: gg.einsum("ij,jk->ik", a, b), [(2, 3), (4, 5)], "einsum"),
        (lambda a, b: gg.einsum("ij,j", a, b), [(2,), (2,)], r"'ij' does not fit .*\(2,\)"),
        (lambda a, b: gg.einsum("ij", a, b), [(2, 2), (2,)], "names 1 operands, got 2"),
        (lambda a, b: gg.einsum("ii", a), [(2, 3), ()], "axes 'i' of shape .* differ in size"),
        (lambda a, b: gg.einsum("...i->i", a), [(2, 3), ()], r"leaves the axes of '\.\.\.' out"),
        (lambda a, b: gg.tensordot(a, b, 1), [(2, 3), (4, 5)], "tensordot: the summed axes differ"),
        (lambda a, b: a.reshape(4, 2), [(2, 3), ()], r"reshape: .*\(2, 3\).*shape=\(4, 2\)"),
        (lambda a, b: a.sum(axis=2), [(2, 3), ()], r"sum: axis 2 .*\(2, 3\), axis=2"),
        (lambda a, b: a.swapaxes(0, 5), [(2, 3), ()], "swapaxes: axis 5 is out of range for 2"),
        (lambda a, b: a.squeeze(1), [(2, 3), ()], "squeeze: axis 1 .* does not have size 1"),
        (lambda a, b: gg.split(a, 2, axis=1), [(2, 3), ()], "split: cannot cut 3 .* into 2"),
        (lambda a, b: gg.softmax(a, axis=2), [(2, 3), ()], r"softmax: axis 2"),
        (lambda a, b: gg.max(a), [(0,), ()], r"max: .*\(0,\)"),
        (lambda a, b: bool(a), [(2,), ()], r"truth of a tensor of shape \(2,\).*\.any\(\)"),
        (lambda a, b: a.item(), [(2,), ()], r"item: expected .* one element, got shape \(2,\)"),
        (lambda a, b: len(b), [(2,), ()], "a tensor with no axes has no length"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit(f, shapes, words, device):
    a, b = (leaf(*shape, device=device) for shape in shapes)
    with pytest.raises(gg.ShapeError, match=words):
        f(a, b)


def test_an_index_that_does_not_exist_is_an_index_error():
    words = r"getitem: index 5 is out of bounds .*shape \(3,\), index=5"
    for kind in (IndexError, gg.GpugradError):
        with pytest.raises(kind, match=words):
            leaf(3)[5]


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda a: gg.concat([a, a[:1, :1]]), r"^concat: .*\(2, 3\) and \(1, 1\)"),
        (lambda a: gg.einsum("ij,jk->ik", a, a), r"^einsum: [^.]*\. Operands .*'ij,jk->ik'"),
        (lambda a: gg.concat([a, a.to("sim:1")]), "^concat: .*two devices"),
        (lambda a: gg.stack([a, a.to("sim:1")]), "^stack: .*two devices"),
    ],
)
def test_errors_name_the_public_function(f, words, device):
    with pytest.raises(gg.GpugradError, match=words):
        f(leaf(2, 3, device=device))
    assert "grad_fn=<pad>" in repr(gg.pad(leaf(2), 1))


# Names of other libraries.


@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_pytorch_says_what_to_write(name):
    t = leaf(2)
    assert not hasattr(t, name)
    assert name not in dir(t)
    with pytest.raises(AttributeError, match=f"'Tensor' object has no attribute '{name}'. Write "):
        getattr(t, name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_pytorch_says_what_to_write(name):
    assert not hasattr(gg, name)
    with pytest.raises(AttributeError, match=f"no attribute '{name}'. Write "):
        getattr(gg, name)


def test_a_name_of_nobody():
    with pytest.raises(AttributeError, match="no attribute 'frobnicate'$"):
        gg.frobnicate


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda t: np.add.at(t, 0, 1), r"np.add.at: .*Write t\.at\[index\]\.add\(value\)"),
        (lambda t: np.maximum.at(t, 0, 1), r"np.maximum.at: .*Write t\.at\[index\]\.max\("),
        (np.emath.log, r"np\.emath\.log: gpugrad has no such function.*nearest is gg\.log"),
        (np.is_busday, r"np\.is_busday: gpugrad has no such function of tensors\. For a re"),
        (lambda t: t.to("foo"), "to: expected a dtype or a device, .*got 'foo'"),
        (lambda t: gg.optim.Adam(gg.nn.Linear(2, 1)), r"Adam: .*Linear\. .*\.parameters\(\)"),
        (lambda t: gg.save("file", gg.nn.Linear(2, 1)), r"save: .*Linear\. Write gg\.save\("),
        (lambda t: gg.random.normal((2, 3)), r"normal: .*number, got \(2, 3\)\. Pass .*size="),
    ],
)  # fmt: skip
def test_a_call_that_was_meant_otherwise(f, words):
    with pytest.raises(gg.DTypeError, match=words):
        f(leaf(2))


@pytest.mark.parametrize("second", [2.0, 0, "tanh", ()], ids=repr)
def test_a_second_operand_of_a_function_of_one(second, device):
    """It stands where the op's parameters do."""
    x = gg.ones(3, device=device)
    for operand in (x, x.data, 2.0, [1.0]):
        for f in (gg.sqrt, gg.abs, gg.nn.functional.mish, gg.special.erf):
            with pytest.raises(gg.DTypeError, match="1 positional argument"):
                f(operand, second)


def test_the_format_of_one_number(device):
    assert f"{leaf(1, device=device):.3f}" == "1.000"
    with pytest.raises(gg.ShapeError, match=r"format: '\.3f' .*shape \(2,\).*tolist"):
        f"{leaf(2, device=device):.3f}"


# Devices.


def test_operands_on_two_devices():
    for a, b, words in (
        (leaf(2), leaf(2, device="sim"), r"add: .*cpu and sim:0.*\.to\("),
        (leaf(2, device="sim"), np.ones(2, np.float32), r"add: .*cpu.*\.to\("),
        (leaf(2, device="sim:1"), leaf(2, device="sim"), r"add: .*sim:1.*sim:0.*\.to\("),
    ):
        for one, other in ((a, b), (b, a)):
            with pytest.raises(gg.DeviceError, match=r"add: .*two devices.*\.to\("):
                one + other
        with pytest.raises(gg.DeviceError, match=words):
            a + b
    with pytest.raises(gg.DeviceError, match="matmul: .*two devices"):
        leaf(2, 2) @ leaf(2, 2, device="sim")
    with pytest.raises(gg.DeviceError, match="concat.*two devices"):
        gg.concat([leaf(2), leaf(2, device="sim")])
    with pytest.raises(gg.DeviceError, match=r"grad: expected .* on cpu.*sim:0.*\.to\('cpu'\)"):
        leaf(2).grad = gg.ones(2, device="sim")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "CPU0", "", "sim:", "cpu:1", 3, None])
def test_device_names(name):
    with pytest.raises((gg.DeviceError, gg.DTypeError), match="(?i)device"):
        gg.Device(name)


def test_a_device_name_reaches_creation_and_transfer():
    for f in (
        lambda: gg.zeros(2, device="gpu"),
        lambda: gg.tensor([1.0], device="gpu"),
        lambda: leaf(2).to(device="gpu"),
        lambda: gg.set_default_device("gpu"),
    ):
        with pytest.raises(gg.DeviceError, match="gpu"):
            f()


# Gradients.


def test_backward_of_what_is_no_scalar(device):
    x = leaf(2, 3, device=device)
    with pytest.raises(gg.GradientError, match=r"only a scalar.*\(2, 3\).*\.sum\(\).*gradient="):
        (x * 2).backward()
    (x * 2).backward(gg.ones((2, 3), device=device))
    assert x.grad.tolist() == [[2.0] * 3] * 2


def test_backward_of_what_needs_no_gradient():
    for y in (gg.ones(()), leaf(2).detach().sum(), (leaf(2) > 0).any()):
        with pytest.raises(gg.GradientError, match="requires no gradient.*requires_grad=True"):
            y.backward()


def test_backward_twice():
    y = leaf(2).sum()
    y.backward()
    with pytest.raises(gg.GradientError, match=r"freed.*\(at sum\)\. Pass retain_graph=True"):
        y.backward()


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_integers_have_no_gradient(dtype):
    words = f"floating-point numbers, got dtype {dtype}.*astype"
    with pytest.raises(gg.DTypeError, match=words):
        gg.zeros(3, dtype=dtype, requires_grad=True)
    x = gg.zeros(3, dtype=dtype)
    with pytest.raises(gg.DTypeError, match=words):
        x.requires_grad = True
    assert not x.requires_grad


def test_a_gradient_of_the_wrong_shape(device):
    x = leaf(2, 3, device=device)
    for wrong in (gg.ones(3, device=device), [1.0, 2.0, 3.0], 1.0):
        with pytest.raises(gg.ShapeError, match=r"backward: expected .* shape \(2, 3\).*got \("):
            (x * 2).backward(wrong)
    assert x.grad is None
    with pytest.raises(
        gg.ShapeError, match=r"grad: expected a gradient of shape \(2, 3\).*got \(3,\)"
    ):
        x.grad = gg.ones(3, device=device)


def test_a_leaf_is_not_changed_in_place_while_operations_are_recorded(device):
    x = leaf(3, device=device)

    def add():
        nonlocal x
        x += 1

    def assign():
        x[0] = 5.0

    for change in (add, assign):
        with pytest.raises(gg.GradientError, match="leaf.*in place.*no_grad"):
            change()
    assert x.tolist() == [1.0, 1.0, 1.0]
    with gg.no_grad():
        add()
        assign()
    assert x.tolist() == [5.0, 2.0, 2.0]
    assert x.requires_grad


def test_a_value_that_was_needed_has_changed(device):
    x = leaf(3, device=device)
    c = gg.ones(3, device=device)
    y = x * c
    c[1:] += 1  # through a view of it
    with pytest.raises(
        gg.GradientError, match=r"multiply needs its argument 'b'.*version 0, .*version [12]\."
    ):
        y.sum().backward()
    y = x.exp()
    with gg.no_grad():
        y += 1
    with pytest.raises(gg.GradientError, match="exp needs its output, a float32 array"):
        y.sum().backward()


@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_an_index_may_change_afterwards(kind, device):
    x = leaf(4, device=device)
    for make in (lambda i: x[i], lambda i: x[i, None], lambda i: gg.take(x, i, axis=0)):
        i = gg.arange(2, device=device)
        i = i if kind == "tensor" else i.data
        y = make(i)
        i += 1
        x.zero_grad()
        y.sum().backward()
        assert x.grad.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_what_no_rule_needs_may_change(device):
    x = leaf(3, device=device)
    c = gg.ones(3, device=device)
    y = x + c
    c += 1
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]
    x.zero_grad()
    c += 1
    y = x * c  # changed before, not after
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0, 3.0]


def test_what_is_part_of_a_graph_stays_in_it():
    y = leaf(2) * 2
    for f, words in (
        (lambda: y.numpy(), r"numpy: .*\.detach\(\)\.numpy\(\)"),
        (lambda: np.asarray(y), r"requires a gradient.*\.detach\(\)\.numpy\(\)"),
        (lambda: setattr(y, "requires_grad", False), r"requires_grad: .*\.detach\(\)"),
        (lambda: setattr(y, "data", np.ones(2, np.float32)), "data: .*computed by an operation"),
        (lambda: np.sin(y, out=np.zeros(2, np.float32)), "out=: .*Omit out="),
    ):
        with pytest.raises(gg.GradientError, match=words):
            f()
    x = leaf(2)
    with pytest.raises(gg.ShapeError, match=r"data: expected shape \(2,\) .* got \(3,\)"):
        x.data = np.ones(3, np.float32)
    with pytest.raises(gg.ShapeError, match="data: expected .*float32, got .*float64"):
        x.data = np.ones(2)
    with pytest.raises(gg.DTypeError, match="data: expected an array, got float"):
        x.data = 1.0


# Data.


@pytest.mark.parametrize(
    "data",
    [
        "abc", b"abc", {"a": 1}, {1, 2}, object(), None, ["a", "b"], [{}, {}], [None, 1.0],
        np.array(["a"]), np.array([object()]), np.array(["2020-01-01"], dtype="datetime64[D]"),
        datetime.date(2020, 1, 1), lambda: 1, (x for x in "ab"), [object()],
    ],
    ids=lambda data: type(data).__name__,
)  # fmt: skip
def test_data_of_which_no_tensor_can_be_made(data):
    with pytest.raises(gg.DTypeError, match="tensor: "):
        gg.tensor(data)


def test_ragged_lists_and_lists_of_tensors():
    with pytest.raises(gg.ShapeError, match="tensor: expected lists of equal lengths"):
        gg.tensor([[1.0, 2.0], [3.0]])
    for tensors in ([gg.ones(2), gg.ones(2)], [[leaf()], [leaf()]], (leaf(), 1.0), [1.0, leaf()]):
        with pytest.raises(gg.DTypeError, match=r"list of tensors.*gg\.stack"):
            gg.tensor(tensors)


def test_operands_of_no_known_kind(device):
    x = leaf(2, device=device)
    for operand in ("a", {"a": 1}, None, object()):
        with pytest.raises(TypeError, match="unsupported operand"):
            x + operand
        with pytest.raises(TypeError, match="unsupported operand"):
            operand - x
        with pytest.raises(gg.DTypeError, match=r"add: expected a Tensor.*got .*Convert it"):
            gg.add(x, operand)
        with pytest.raises(gg.DTypeError, match=r"exp: expected a Tensor"):
            gg.exp(operand)
        assert (x == operand) is False
        assert (x != operand) is True


def test_functions_that_gpugrad_lacks():
    x = gg.ones(3)
    with pytest.raises(gg.DTypeError, match=r"np\.emath\.arctanh: .*nearest is gg\.arctanh"):
        np.emath.arctanh(gg.ones((2, 2)))
    with pytest.raises(gg.DTypeError, match=r"np\.isnat: .*nearest is gg\.isnan\."):
        np.isnat(x)
    with pytest.raises(gg.DTypeError, match=r"np\.subtract\.reduce: .*\.detach\(\)\.numpy\(\)"):
        np.subtract.reduce(x)


def test_operations_on_dtypes_that_do_not_have_them():
    with pytest.raises(gg.DTypeError, match="bitwise_and: .*float32"):
        gg.ones(2) & gg.ones(2)
    i = gg.arange(2)
    with pytest.raises(gg.DTypeError, match="__itruediv__: .*float64.*int64"):
        i /= 2
    with pytest.raises(gg.ShapeError, match=r"__iadd__: .*\(3, 2\).*\(2,\)"):
        i += gg.ones((3, 2), dtype="int64")
    with pytest.raises(gg.DTypeError, match="default dtype|set_default_dtype: .*int64"):
        gg.set_default_dtype("int64")
    array = np.zeros(2, dtype=int)
    with pytest.raises(gg.DTypeError, match="out=: the result has dtype float64.*int64"):
        array += gg.ones(2)
    assert array.tolist() == [0, 0]


def test_what_takes_no_complex_numbers_says_so(device):
    z = gg.tensor(np.array([1 + 2j]), device=device)
    with pytest.raises(gg.DTypeError, match=r"sigmoid: it takes no complex numbers; give it abs"):
        gg.sigmoid(z)
