"""What people write who come from NumPy, PyTorch, JAX or HIPS autograd: it works, or says how."""

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.tensor.foreign import OF_MODULES
from gpugrad.tensor.foreign_functions import MODULES


@pytest.fixture
def x():
    return np.arange(1.0, 13.0).reshape(4, 3)


# NumPy's spellings: each once on the array, once on a tensor.
SPELLINGS = {
    "reshape F": lambda t: t.reshape(2, -1, order="F"),
    "reshape F function": lambda t: np.reshape(t, (2, -1), order="F"),
    "reshape F positional": lambda t: np.reshape(t, (2, 6), "F"),
    "flatten F": lambda t: t.flatten("F"),
    "flatten F keyword": lambda t: t.flatten(order="F"),
    "ravel F": lambda t: np.ravel(t, "F"),
    "ravel C": lambda t: t.ravel("C"),
    "einsum lists": lambda t: np.einsum(t, [0, 1], t.T, [1, 2]),
    "einsum lists, output": lambda t: np.einsum(t, [0, 1], t.T, [1, 2], [2, 0]),
    "einsum lists, dots": lambda t: np.einsum(t, [..., 0], t, [..., 0], [...]),
    "einsum optimize": lambda t: np.einsum("ij,kj,kl->il", t, t, t, optimize=True),
    "einsum optimal": lambda t: np.einsum("ij,kj,kl->il", t, t, t, optimize="optimal"),
    "einsum all at once": lambda t: np.einsum("ij,kj,kl->il", t, t, t, optimize=False),
    "einsum path": lambda t: np.einsum(
        "ij,kj,kl->il", t, t, t, optimize=["einsum_path", (0, 1), (0, 1)]
    ),
    "where of a condition": lambda t: np.where(t > 4)[1],
    "logaddexp.reduce": lambda t: np.logaddexp.reduce(t),
    "logaddexp.reduce, axis": lambda t: np.logaddexp.reduce(t, axis=1, keepdims=True),
    "windows": lambda t: np.lib.stride_tricks.sliding_window_view(t, (2, 2)),
    "windows, axis": lambda t: np.lib.stride_tricks.sliding_window_view(t, 2, axis=-1),
    "windows, axes": lambda t: np.lib.stride_tricks.sliding_window_view(t, (2, 3), axis=(1, 0)),
    "bincount of a list": lambda t: np.bincount([0, 1, 1, 2], weights=t[:, 0]),
    "choose by a list": lambda t: np.choose([0, 1, 0], [t[0], t[1]]),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_what_numpy_takes(name, x):
    write = SPELLINGS[name]
    expected = write(x)
    made = write(gg.tensor(x))
    assert isinstance(made, gg.Tensor)
    assert made.dtype == expected.dtype
    np.testing.assert_allclose(made.numpy(), expected, rtol=1e-12)
    if made.dtype.kind == "f":
        weights = np.cos(np.arange(expected.size)).reshape(expected.shape)
        assert gg.gradcheck(lambda t: np.sum(write(t) * weights), x)
        assert gg.gradgradcheck(lambda t: np.sum(write(t) * weights * write(t)), x)


def test_round_gives_a_tensor():
    t = gg.tensor(1.26, requires_grad=True)
    assert round(t, 1).item() == pytest.approx(1.3)
    assert round(t).item() == 1


def test_a_long_einsum_is_joined_two_by_two(monkeypatch):
    asked = []
    plain = np.einsum

    def einsum(*operands, optimize):
        asked.append((operands[0], bool(optimize)))
        return plain(*operands, optimize=optimize)

    a = np.ones((20, 20))
    monkeypatch.setattr(gg.backend.namespace_of(a), "einsum", einsum)
    t = gg.tensor(a, requires_grad=True)
    gg.einsum("ij,jk,kl->il", t, a, a).sum().backward()
    assert t.grad.tolist() == (a @ (a @ a).T).tolist()
    for small in ("ij,kj->ik", "ij,ij->ij"):
        gg.einsum(small, a, a)
    assert [pairs for _, pairs in asked] == [True, True, False, False], asked


def test_windows_leave_the_values_alone(x):
    t = gg.tensor(x, requires_grad=True)
    y = gg.sliding_window_view(t, 2, axis=0)
    z = (y * y).sum()
    with gg.no_grad():
        t += 1.0
    with pytest.raises(gg.GradientError, match="changed in place"):
        z.backward()


@pytest.mark.parametrize(("module", "name"), [(m, n) for m in MODULES for n in MODULES[m]])
def test_a_name_of_another_library_s_module_says_what_to_write(module, name):
    where = gg
    for part in module.split("."):
        where = getattr(where, part)
    assert not hasattr(where, name)
    with pytest.raises(AttributeError, match=f"gpugrad.{module}' has no .*'{name}'. Write "):
        getattr(where, name)
    with pytest.raises(AttributeError, match="no attribute 'frobnicate'$"):
        where.frobnicate


@pytest.mark.parametrize("name", OF_MODULES)
def test_a_module_s_method_of_pytorch_says_what_to_write(name):
    layer = gg.nn.Linear(1, 1)
    with pytest.raises(AttributeError, match=f"'Linear' object has no .*'{name}'. Write "):
        getattr(layer, name)
    setattr(layer, name, 1)
    assert getattr(layer, name) == 1


def test_a_parameter_is_not_lost_by_an_assignment():
    layer = gg.nn.Linear(2, 2)
    old = layer.weight
    with pytest.raises(
        gg.DTypeError, match=r"Linear\.weight is a Parameter.*`weight\[\.\.\.\] = v"
    ):
        layer.weight = layer.weight - 0.1
    with pytest.raises(gg.DTypeError, match=r"assign gg\.nn\.Parameter\(value\)"), gg.no_grad():
        layer.weight = layer.weight * 2
    assert layer.weight is old
    layer.weight = gg.nn.Parameter(layer.weight * 2)
    layer.bias = None
    assert len(list(layer.parameters())) == 1
    layer.state = gg.zeros(2)
    layer.state = layer.state + layer.weight.sum()  # never a Parameter
    del layer.weight
    layer.weight = gg.ones((2, 2))
    assert not list(layer.parameters())


def test_an_empty_tensor_shows_its_shape():
    assert repr(gg.zeros((0, 3))) == "tensor([], shape=(0, 3))"
    assert repr(gg.zeros(0)) == "tensor([])"


def test_a_drawing_s_file_may_come_second(tmp_path):
    gg.draw(gg.ones(2, requires_grad=True).sum(), tmp_path / "graph.dot")
    assert (tmp_path / "graph.dot").read_text().startswith("digraph")


ERRORS = {
    "numbers that are floats": (
        lambda t: t[gg.tensor([0, 1])],
        gg.IndexingError,
        r"getitem: .*integer.*gg\.asarray\(\[0, 1\]\) does not\. Operands",
    ),
    "classes that are floats": (
        lambda t: gg.nn.functional.cross_entropy(t, gg.tensor([0, 1, 1, 0])),
        gg.ShapeError,
        r"Class numbers need an integer dtype, as gg\.asarray\(\[0, 1\]\) has",
    ),
    "an array of tensors": (
        lambda t: np.array([t, t]),
        gg.GradientError,
        r"For np\.array.* write gg\.stack\(\[t, u\]\)",
    ),
    "a list of layers": (
        lambda t: gg.nn.Sequential([gg.nn.Tanh()]),
        gg.DTypeError,
        r"Write Sequential\(\*l",
    ),
    "order": (lambda t: t.reshape(-1, order="A"), ValueError, "reshape: expected order 'C'.*'A'"),
    "flatten order": (lambda t: t.flatten(1, order="X"), ValueError, "flatten: .* all axes"),
    "einsum numbers": (lambda t: gg.einsum(t, [0, 99]), gg.DTypeError, "einsum: .*0 to 51.*99"),
    "einsum, no lists": (lambda t: gg.einsum(t, t), gg.DTypeError, "einsum: .*'ij,jk->ik'"),
    "window sizes": (
        lambda t: gg.sliding_window_view(t, 2),
        gg.ShapeError,
        "each of 2 axes.*axis=",
    ),
    "window too long": (lambda t: gg.sliding_window_view(t, 4, 1), gg.ShapeError, "does not fit"),
    "window of a float": (lambda t: gg.sliding_window_view(t, 2.0, 1), gg.DTypeError, "whole"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_to_write(name, x):
    write, kind, text = ERRORS[name]
    with pytest.raises(kind, match=text):
        write(gg.tensor(x, requires_grad=True))
