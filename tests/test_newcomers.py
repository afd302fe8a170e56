"""What people write who come from NumPy, PyTorch, JAX or HIPS autograd: it works, or says how."""

import numpy as np
import pytest

import gpugrad as gg


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

    monkeypatch.setattr(np, "einsum", einsum)
    a = np.ones((20, 20))
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


ERRORS = {
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
