"""gpugrad.linalg against NumPy and SciPy, by identities, at singular points, and its errors.

The derivatives of the ops are tested with all others, in test_ops.py; here are those of
compositions, and points that no sample meets.
"""

import math

import numpy as np
import pytest
import scipy.linalg
from arrays import host

import gpugrad as gg
from gpugrad import linalg


def gradient(f, *arrays, device="cpu"):
    """The gradients of the scalar f(*tensors), as NumPy arrays."""
    tensors = [gg.tensor(a, device=device, requires_grad=True) for a in arrays]
    found = gg.gradients(f(*tensors), tensors)
    grads = [g.cpu().numpy() for g in found]
    return grads[0] if len(grads) == 1 else grads


def differences(f, array, step=1e-6):
    slope = np.zeros_like(array)
    for place in np.ndindex(array.shape):
        up, down = array.copy(), array.copy()
        up[place] += step
        down[place] -= step
        slope[place] = (f(gg.tensor(up)).item() - f(gg.tensor(down)).item()) / (2 * step)
    return slope


def spd(rng, *shape):
    a = rng.normal(size=shape)
    return a @ a.swapaxes(-1, -2) + np.eye(shape[-1])


# Against NumPy and SciPy, through all ways to a function.

SQUARE = [
    "det", "slogdet", "inv", "pinv", "cholesky", "qr", "svd", "svdvals", "eigh", "eigvalsh", "cond",
    "matrix_rank", "trace", "diagonal", "matrix_transpose", "matrix_norm",
]  # fmt: skip


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (2, 1, 2, 2)])
@pytest.mark.parametrize("name", SQUARE)
def test_functions_of_a_matrix_are_numpys(name, shape, device, rng):
    array = spd(rng, *shape)
    x = gg.tensor(array, device=device)
    wanted = getattr(np.linalg, name)(array)
    got, through_numpy = getattr(linalg, name)(x), getattr(np.linalg, name)(x)
    assert type(got) is type(through_numpy)
    if isinstance(wanted, tuple):
        assert got._fields == wanted._fields
    else:
        wanted, got, through_numpy = (wanted,), (got,), (through_numpy,)
    for one, other, again in zip(got, wanted, through_numpy, strict=True):
        assert isinstance(one, gg.Tensor)
        assert one.device == device
        assert one.shape == np.shape(other)
        assert one.dtype == np.asarray(other).dtype
        np.testing.assert_allclose(host(one), other, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(host(one), host(again))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 3), (3,)),
        ((3, 3), (3, 2)),
        ((2, 3, 3), (3,)),
        ((2, 3, 3), (3, 3)),  # a matrix, by NumPy 2's rule, not a stack of vectors
        ((3, 3), (2, 3, 1)),
        ((2, 1, 3, 3), (4, 3, 2)),
    ],
)
def test_solve_is_numpys(a, b, device, rng):
    a, b = spd(rng, *a), rng.normal(size=b)
    x = linalg.solve(gg.tensor(a, device=device), gg.tensor(b, device=device))
    np.testing.assert_allclose(host(x), np.linalg.solve(a, b))
    by_numpy = np.linalg.solve(gg.tensor(a), gg.tensor(b))
    np.testing.assert_allclose(host(by_numpy), np.linalg.solve(a, b))

    def f(a, b):
        return (linalg.solve(a, b) ** 2).sum()

    ga, gb = gradient(f, a, b, device=device)
    np.testing.assert_allclose(
        ga, differences(lambda t: f(t, gg.tensor(b)), a), rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(
        gb, differences(lambda t: f(gg.tensor(a), t), b), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("b", [(3,), (3, 2), (2, 3, 1)])
def test_solve_triangular_is_scipys(b, lower, unit, device, rng):
    a, b = spd(rng, 3, 3), rng.normal(size=b)
    got = linalg.solve_triangular(
        gg.tensor(a, device=device), gg.tensor(b, device=device), lower=lower, unit_diagonal=unit
    )
    columns = b if b.ndim < 3 else np.concatenate(list(b), axis=-1)
    wanted = scipy.linalg.solve_triangular(a, columns, lower=lower, unit_diagonal=unit)
    if b.ndim == 3:
        wanted = np.stack([wanted[:, :1], wanted[:, 1:]])
    np.testing.assert_allclose(host(got), wanted)


def test_solve_triangular_without_scipy(monkeypatch, rng):
    from gpugrad.backend import host as numpy_backend

    a, b = np.tril(spd(rng, 3, 3)), rng.normal(size=(3, 2))
    by_scipy = host(linalg.solve_triangular(a, b, lower=True))
    monkeypatch.setattr(numpy_backend, "_scipy", lambda module, name: None)
    np.testing.assert_allclose(host(linalg.solve_triangular(a, b, lower=True)), by_scipy)
    np.testing.assert_allclose(a @ by_scipy, b)


@pytest.mark.parametrize("b", [(5,), (5, 2)])
@pytest.mark.parametrize("rows", ["tall", "deficient", "square", "wide"])
def test_lstsq_is_numpys(rows, b, device, rng):
    a = rng.normal(size=(5, {"square": 5, "wide": 7}.get(rows, 3)))
    if rows == "deficient":
        a[:, 2] = a[:, 0] + a[:, 1]
    b = rng.normal(size=b)
    got = linalg.lstsq(gg.tensor(a, device=device), gg.tensor(b, device=device))
    wanted = np.linalg.lstsq(a, b, rcond=None)
    assert got[2].item() == wanted[2]
    np.testing.assert_allclose(host(got[0]), wanted[0], atol=1e-12)
    assert got[1].size == wanted[1].size
    np.testing.assert_allclose(host(got[1]).reshape(-1), wanted[1], atol=1e-12)
    np.testing.assert_allclose(host(got[3]), wanted[3], atol=1e-12)
    if rows == "deficient":
        return

    def f(t):
        return (linalg.lstsq(t, gg.tensor(b, device=t.device))[0] ** 2).sum()

    ga = gradient(f, a, device=device)
    np.testing.assert_allclose(ga, differences(f, a), rtol=1e-5, atol=1e-7)


def test_lstsq_of_stacks(rng):
    a, b = rng.normal(size=(2, 4, 2)), rng.normal(size=(2, 4, 1))
    x, remains, rank, values = linalg.lstsq(gg.tensor(a), gg.tensor(b))
    assert remains.shape == (2, 1)
    assert rank.tolist() == [2, 2]
    for i in range(2):
        wanted = np.linalg.lstsq(a[i], b[i], rcond=None)
        np.testing.assert_allclose(host(x)[i], wanted[0])
        np.testing.assert_allclose(host(remains)[i], wanted[1])
        np.testing.assert_allclose(host(values)[i], wanted[3])


def test_pinv_ranks_and_tolerances(device, rng):
    a = rng.normal(size=(4, 2)) @ rng.normal(size=(2, 3))  # of rank 2
    x = gg.tensor(a, device=device)
    p = host(linalg.pinv(x))
    np.testing.assert_allclose(a @ p @ a, a, atol=1e-12)
    np.testing.assert_allclose(p, np.linalg.pinv(a, rcond=1e-12), atol=1e-12)
    for words in ({"rtol": 0.9}, {"rcond": 0.9}):
        assert np.linalg.matrix_rank(host(linalg.pinv(x, **words))) == 1
    both = linalg.pinv(gg.stack([x, x]), rtol=gg.tensor([0.9, 1e-9], device=device))
    assert [np.linalg.matrix_rank(one) for one in host(both)] == [1, 2]
    assert linalg.matrix_rank(x).item() == 2
    assert linalg.matrix_rank(x, rtol=0.9).item() == 1
    assert linalg.matrix_rank(x, 1e9).item() == 0
    assert linalg.matrix_rank(gg.stack([x, x]), gg.tensor([0.0, 1e9], device=device)).tolist() == [
        3 if np.linalg.svd(a)[1][2] > 0 else 2,
        0,
    ]
    assert linalg.matrix_rank(gg.zeros((2, 0, 3))).tolist() == [0, 0]
    assert linalg.matrix_rank(gg.tensor([0.0, 2.0])).item() == 1

    # Along a path that keeps the rank, the derivative is that of NumPy's own result.
    left, right = rng.normal(size=(4, 2)), rng.normal(size=(2, 3))

    def f(t):
        return (linalg.pinv(t @ gg.tensor(right, device=t.device), rtol=1e-9) ** 2).sum()

    ga = gradient(f, left, device=device)
    np.testing.assert_allclose(ga, differences(f, left), rtol=1e-5)


VECTOR_ORDERS = [None, 2, 1, 0, 3, 0.5, -1, -2, math.inf, -math.inf]
MATRIX_ORDERS = [None, "fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("order", VECTOR_ORDERS)
def test_vector_norms_are_numpys(order, keepdims, device, rng):
    array = rng.normal(size=(2, 3, 4))
    x = gg.tensor(array, device=device)
    for axis in (0, -1, (1,)):
        words = {"ord": order, "axis": axis, "keepdims": keepdims}
        wanted = np.linalg.norm(array, **words)
        for got in (linalg.norm(x, **words), np.linalg.norm(x, **words)):
            np.testing.assert_allclose(host(got), wanted)
    if order is not None:
        for axis in (None, 1, (0, 2)):
            words = {"ord": order, "axis": axis, "keepdims": keepdims}
            wanted = np.linalg.vector_norm(array, **words)
            np.testing.assert_allclose(host(linalg.vector_norm(x, **words)), wanted)
            np.testing.assert_allclose(host(np.linalg.vector_norm(x, **words)), wanted)
    if order == 0:
        return

    def f(t):
        return (linalg.norm(t, order, axis=1) ** 2).sum()

    np.testing.assert_allclose(
        gradient(f, array, device=device), differences(f, array), rtol=1e-5, atol=1e-8
    )


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("order", MATRIX_ORDERS)
def test_matrix_norms_are_numpys(order, keepdims, device, rng):
    array = rng.normal(size=(2, 3, 4))
    x = gg.tensor(array, device=device)
    for axis in ((0, 1), (-1, 0), (2, 1)):
        words = {"ord": order, "axis": axis, "keepdims": keepdims}
        wanted = np.linalg.norm(array, **words)
        for got in (linalg.norm(x, **words), np.linalg.norm(x, **words)):
            np.testing.assert_allclose(host(got), wanted)
    np.testing.assert_allclose(host(linalg.norm(x[0], order)), np.linalg.norm(array[0], order))
    words = {"ord": "fro" if order is None else order, "keepdims": keepdims}
    wanted = np.linalg.matrix_norm(array, **words)
    np.testing.assert_allclose(host(np.linalg.matrix_norm(x, **words)), wanted)

    def f(t):
        return (linalg.norm(t, order, axis=(2, 0)) ** 2).sum()

    np.testing.assert_allclose(
        gradient(f, array, device=device), differences(f, array), rtol=1e-5, atol=1e-8
    )


def test_norm_of_everything(rng):
    array = rng.normal(size=(2, 3, 4))
    np.testing.assert_allclose(host(linalg.norm(array)), np.linalg.norm(array))
    assert linalg.norm(gg.tensor(array), keepdims=True).shape == (1, 1, 1)
    assert linalg.norm(gg.arange(3)).dtype == np.linalg.norm(np.arange(3)).dtype
    np.testing.assert_allclose(linalg.norm(gg.tensor(3.0)).item(), 3.0)


@pytest.mark.parametrize("p", [None, 2, -2, 1, -1, math.inf, -math.inf, "fro", "nuc"])
def test_cond_is_numpys(p, rng):
    array = rng.normal(size=(2, 3, 3))
    np.testing.assert_allclose(host(linalg.cond(array, p)), np.linalg.cond(array, p))
    np.testing.assert_allclose(host(np.linalg.cond(gg.tensor(array), p)), np.linalg.cond(array, p))


@pytest.mark.parametrize("n", [-2, -1, 0, 1, 2, 3, 7])
def test_matrix_power_is_numpys(n, device, rng):
    array = rng.normal(size=(2, 3, 3)) / 2 + np.eye(3)
    x = gg.tensor(array, device=device)
    np.testing.assert_allclose(
        host(np.linalg.matrix_power(x, n)), np.linalg.matrix_power(array, n), rtol=1e-10
    )
    if n:

        def f(t):
            return (linalg.matrix_power(t, n) ** 2).sum()

        np.testing.assert_allclose(
            gradient(f, array, device=device), differences(f, array), rtol=1e-5, atol=1e-6
        )


def test_products_are_numpys(device, rng):
    a, b = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    s, t = gg.tensor(a, device=device), gg.tensor(b, device=device)
    for name in ("vecdot", "cross"):
        wanted = getattr(np.linalg, name)(a, b)
        np.testing.assert_allclose(host(getattr(linalg, name)(s, t)), wanted)
        np.testing.assert_allclose(host(getattr(np.linalg, name)(s, t)), wanted)
    np.testing.assert_allclose(host(linalg.vecdot(s, t, axis=0)), np.linalg.vecdot(a, b, axis=0))
    np.testing.assert_allclose(host(linalg.vecdot(s, t[0])), np.linalg.vecdot(a, b[0]))
    small = gg.tensor(np.array([100, 100], dtype=np.uint8), device=device)
    assert linalg.vecdot(small, small).dtype == np.uint8
    np.testing.assert_allclose(
        host(linalg.cross(s.T, t.T, axis=0)), np.linalg.cross(a.T, b.T, axis=0)
    )
    np.testing.assert_allclose(host(np.linalg.outer(s[0], t[1])), np.outer(a[0], b[1]))
    np.testing.assert_allclose(host(np.linalg.matmul(s, t.T)), a @ b.T)
    np.testing.assert_allclose(host(np.linalg.tensordot(s, t, axes=0)), np.tensordot(a, b, axes=0))


@pytest.mark.parametrize("offset", [-3, -2, -1, 0, 1, 3, 4])
def test_diagonal_and_trace_are_numpys(offset, device, rng):
    array = rng.normal(size=(2, 3, 4))
    x = gg.tensor(array, device=device)
    for name in ("diagonal", "trace"):
        wanted = getattr(np.linalg, name)(array, offset=offset)
        got = getattr(np.linalg, name)(x, offset=offset)
        assert got.shape == wanted.shape
        np.testing.assert_allclose(host(got), wanted)
    assert linalg.trace(x, dtype=gg.float32).dtype == np.float32
    got = gradient(lambda t: (linalg.diagonal(t, offset=offset) * 3).sum(), array, device=device)
    np.testing.assert_array_equal(got, 3 * np.stack([np.eye(3, 4, offset)] * 2))


def test_multi_dot_is_numpys(device, rng):
    arrays = [rng.normal(size=shape) for shape in ((5, 2), (2, 7), (7, 1), (1, 3))]
    tensors = [gg.tensor(a, device=device) for a in arrays]
    np.testing.assert_allclose(host(np.linalg.multi_dot(tensors)), np.linalg.multi_dot(arrays))
    for part in (slice(0, 2), slice(1, 4)):
        np.testing.assert_allclose(
            host(linalg.multi_dot(tensors[part])), np.linalg.multi_dot(arrays[part])
        )
    row, column = arrays[0][0], arrays[3][0]
    chain = [row, *arrays[1:], column]
    got = linalg.multi_dot([gg.tensor(a, device=device) for a in chain])
    assert got.shape == ()
    np.testing.assert_allclose(host(got), np.linalg.multi_dot(chain))


def test_multi_dot_takes_the_cheapest_order():
    # From the book: the matrices' sizes, and where the cheapest product is cut.
    cuts = gg.linalg.products._cuts([30, 35, 15, 5, 10, 20, 25])
    assert cuts[0, 5] == 2
    assert cuts[0, 2] == 0
    assert cuts[3, 5] == 4


@pytest.mark.parametrize(
    ("a", "b", "axes"),
    [
        ((2, 3, 6), (2, 3), None),
        ((6, 2, 3), (2, 3), (0,)),
        ((6, 2, 3), (3, 2), (0,)),  # of which NumPy reads b's elements in their order
        ((6, 2, 3), (6,), None),
        ((2, 6, 3), (6,), [2, 0]),
        ((2, 3, 6), (6,), (0, 1)),
        ((4, 2, 6, 3), (4, 6), (1, 3, 0)),
    ],
)
def test_tensorsolve_is_numpys(a, b, axes, device, rng):
    a, b = rng.normal(size=a), rng.normal(size=b)
    if axes == (1, 3, 0):  # no square system
        with pytest.raises(gg.ShapeError, match=r"tensorsolve: .*axes \(1, 3, 0\) were moved"):
            linalg.tensorsolve(a, b, axes)
        return
    wanted = np.linalg.tensorsolve(a, b, axes)
    x, y = gg.tensor(a, device=device), gg.tensor(b, device=device)
    for got in (linalg.tensorsolve(x, y, axes), np.linalg.tensorsolve(x, y, axes=axes)):
        np.testing.assert_allclose(host(got), wanted)

    def f(t):
        return (linalg.tensorsolve(t, gg.tensor(b, device=t.device), axes) ** 2).sum()

    slope = gradient(f, a, device=device)
    np.testing.assert_allclose(slope, differences(f, a), rtol=1e-4, atol=1e-5 * np.abs(slope).max())


def test_tensorinv_is_numpys(rng):
    a = rng.normal(size=(2, 3, 6))
    np.testing.assert_allclose(
        host(np.linalg.tensorinv(gg.tensor(a), ind=2)), np.linalg.tensorinv(a, ind=2)
    )


@pytest.mark.parametrize("size", [0.0, 1e-3, 1.0, 30.0, 1000.0])
def test_expm_is_scipys(size, device, rng):
    array = rng.normal(size=(2, 4, 4)) * size
    array = array - array.swapaxes(-1, -2) if size > 100 else array  # turns, which stay finite
    got = host(linalg.expm(gg.tensor(array, device=device)))
    wanted = scipy.linalg.expm(array)
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(got / scale, wanted / scale, rtol=1e-9, atol=1e-12)


def test_expm_of_what_is_no_number_and_of_nothing(device):
    bad = gg.tensor(np.array([[[math.inf, 0], [0, 1]], [[math.nan, 0], [0, 1]]]), device=device)
    assert np.isnan(host(linalg.expm(bad))).any(axis=(-1, -2)).all()
    assert linalg.expm(gg.zeros((2, 0, 0), device=device)).shape == (2, 0, 0)
    np.testing.assert_allclose(host(linalg.expm(gg.tensor(np.array([[2]]))))[0, 0], math.e**2)


def test_expm_of_large_beside_small(device):
    """The squarings that one matrix of a stack needs do not make the others overflow."""
    turn = np.array([[0.0, 1e5], [-1e5, 0.0]])
    x = gg.tensor(np.stack([turn, np.full((2, 2), 200.0)]), device=device)
    got = host(linalg.expm(x))
    np.testing.assert_allclose(
        got[0], [[np.cos(1e5), np.sin(1e5)], [-np.sin(1e5), np.cos(1e5)]], atol=1e-9
    )
    np.testing.assert_allclose(got[1], scipy.linalg.expm(np.full((2, 2), 200.0)))


def test_expm_of_a_derivative(rng):
    """d/dt expm(t A) is A expm(t A)."""
    a = rng.normal(size=(3, 3))
    t = gg.tensor(np.asarray(0.7))
    _, slope = gg.jvp(lambda t: linalg.expm(t * a), (t,), (gg.ones_like(t),))
    np.testing.assert_allclose(host(slope), a @ scipy.linalg.expm(0.7 * a), rtol=1e-10)


def test_half_precision_and_whole_numbers(device, rng):
    array = spd(rng, 3, 3).astype(np.float16)
    x = gg.tensor(array, device=device)
    for name in ("det", "inv", "cholesky", "svdvals", "expm", "pinv"):
        assert getattr(linalg, name)(x * 0.1).dtype == np.float16
    whole = gg.tensor(np.array([[2, 0], [0, 4]]), device=device)
    assert linalg.inv(whole).dtype == np.float64
    np.testing.assert_allclose(host(linalg.inv(whole)), np.diag([0.5, 0.25]))


def test_no_elements(device):
    none = gg.zeros((0, 0), device=device, requires_grad=True)
    assert linalg.det(none).item() == 1
    assert linalg.inv(none).shape == (0, 0)
    stack = gg.zeros((0, 2, 2), device=device, requires_grad=True)
    for f in (
        lambda x: linalg.det(x).sum(),
        lambda x: linalg.inv(x).sum(),
        lambda x: linalg.svd(x)[0].sum(),
        lambda x: linalg.eigh(x)[1].sum(),
        lambda x: linalg.qr(x)[0].sum(),
        lambda x: linalg.expm(x).sum(),
        lambda x: linalg.solve(x, x).sum(),
    ):
        (g,) = gg.gradients(f(stack), [stack])
        assert g.shape == (0, 2, 2)
    (g,) = gg.gradients(linalg.det(none), [none])
    assert g.shape == (0, 0)
    (g,) = gg.gradients(linalg.eigvalsh(none).sum(), [none])
    assert g.shape == (0, 0)


# Identities.


def test_factors_multiply_to_the_matrix(device, rng):
    array = rng.normal(size=(2, 4, 3))
    x = gg.tensor(array, device=device)
    u, s, vh = linalg.svd(x, full_matrices=False)
    np.testing.assert_allclose(host(u * s[..., None, :] @ vh), array)
    q, r = linalg.qr(x)
    np.testing.assert_allclose(host(q @ r), array)
    np.testing.assert_allclose(host(q.mT @ q), np.stack([np.eye(3)] * 2), atol=1e-12)
    square = gg.tensor(spd(rng, 2, 3, 3), device=device)
    w, v = linalg.eigh(square)
    np.testing.assert_allclose(host(v * w[..., None, :] @ v.mT), host(square))
    lower = linalg.cholesky(square)
    np.testing.assert_allclose(host(lower @ lower.mT), host(square))
    np.testing.assert_allclose(host(linalg.cholesky(square, upper=True)), host(lower.mT))
    np.testing.assert_allclose(
        host(square @ linalg.inv(square)), np.stack([np.eye(3)] * 2), atol=1e-12
    )
    np.testing.assert_allclose(host(linalg.qr(x, mode="r")), host(r))


def test_multi_dot_of_stacks(rng):
    a, b, c = rng.normal(size=(2, 3, 4)), rng.normal(size=(4, 5)), rng.normal(size=(2, 5, 1))
    np.testing.assert_allclose(host(linalg.multi_dot([a, b, c])), a @ b @ c)


@pytest.mark.parametrize(
    "again",
    [
        lambda x: linalg.inv(linalg.inv(x)),
        lambda x: x @ linalg.inv(x) @ x,
        lambda x: (lambda q, r: q @ r)(*linalg.qr(x)),
        lambda x: (lambda u, s, vh: u * s[..., None, :] @ vh)(*linalg.svd(x)),
        lambda x: linalg.solve(linalg.inv(x), gg.tensor(np.eye(3), device=x.device)),
        lambda x: linalg.pinv(linalg.pinv(x)),
        lambda x: linalg.expm(x) @ linalg.expm(-x) @ x,
        lambda x: linalg.multi_dot([x, linalg.matrix_power(x, -1), x]),
    ],
)
def test_the_derivative_of_an_identity_is_one(again, device, rng):
    """Whatever its parts are differentiated by: what comes back is what went in."""
    array = rng.normal(size=(2, 3, 3)) + 2 * np.eye(3)
    seed = rng.normal(size=array.shape)
    got = gradient(
        lambda x: (again(x) * gg.tensor(seed, device=device)).sum(), array, device=device
    )
    np.testing.assert_allclose(got, seed, rtol=1e-8, atol=1e-8)


def test_the_derivative_of_a_symmetric_identity(device, rng):
    """Cholesky and eigh see symmetric matrices: the symmetric part of the seed comes back."""
    array, seed = spd(rng, 2, 3, 3), rng.normal(size=(2, 3, 3))
    wanted = (seed + seed.swapaxes(-1, -2)) / 2

    def lower(x):
        y = linalg.cholesky(x)
        return y @ y.mT

    def upper(x):
        y = linalg.cholesky(x, upper=True)
        return y.mT @ y

    def vectors(x, which="L"):
        w, v = linalg.eigh(x, which)
        return v * w[..., None, :] @ v.mT

    for again in (lower, upper, vectors, lambda x: vectors(x, "U")):
        got = gradient(
            lambda x, f=again: (f(x) * gg.tensor(seed, device=device)).sum(), array, device=device
        )
        np.testing.assert_allclose(got, wanted, atol=1e-10)


def test_slogdet_is_the_logarithm_of_det(device, rng):
    array = rng.normal(size=(3, 4, 4))
    got = gradient(lambda x: linalg.slogdet(x)[1].sum(), array, device=device)
    np.testing.assert_allclose(got, np.linalg.inv(array).swapaxes(-1, -2))
    got = gradient(lambda x: gg.log(gg.abs(linalg.det(x))).sum(), array, device=device)
    np.testing.assert_allclose(got, np.linalg.inv(array).swapaxes(-1, -2), rtol=1e-8)


def test_one_triangle_is_read(rng):
    array = spd(rng, 3, 3)
    for which, part in (("L", np.tril(array)), ("U", np.triu(array))):
        np.testing.assert_allclose(
            host(linalg.eigvalsh(gg.tensor(part), which)), np.linalg.eigvalsh(array)
        )
        np.testing.assert_allclose(
            host(linalg.eigh(gg.tensor(part), which)[0]), np.linalg.eigvalsh(array)
        )
        np.testing.assert_allclose(
            host(linalg.cholesky(gg.tensor(part), upper=which == "U")),
            np.linalg.cholesky(array, upper=which == "U"),
        )


# Where matrices are singular and values repeat.


def cofactors(a):
    return np.array(
        [
            [
                (-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a, i, 0), j, 1))
                for j in range(len(a))
            ]
            for i in range(len(a))
        ]
    )


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_det_of_singular_matrices_has_both_derivatives(rank, device, rng):
    array = rng.normal(size=(3, rank)) @ rng.normal(size=(rank, 3))
    got = gradient(linalg.det, array, device=device)
    np.testing.assert_allclose(got, cofactors(array), atol=1e-12)
    direction = rng.normal(size=(3, 3))
    x = gg.tensor(array, device=device, requires_grad=True)
    (g,) = gg.gradients(linalg.det(x), [x], create_graph=True)
    (h,) = gg.gradients((g * gg.tensor(direction, device=device)).sum(), [x])
    # Cofactors of a 3 x 3 matrix are quadratic: this difference is exact but for rounding.
    wanted = (cofactors(array + direction) - cofactors(array - direction)) / 2
    np.testing.assert_allclose(host(h), wanted, atol=1e-10)


def test_repeated_eigenvalues_give_finite_gradients(device, rng):
    q, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    array = q @ np.diag([1.0, 1.0, 1.0, 2.0]) @ q.T
    # Of the values, symmetric in the equal ones: the trace of the square.
    got = gradient(lambda x: (linalg.eigvalsh(x) ** 2).sum(), array, device=device)
    np.testing.assert_allclose(got, 2 * array, atol=1e-12)
    got = gradient(lambda x: (linalg.eigh(x)[0] ** 2).sum(), array, device=device)
    np.testing.assert_allclose(got, 2 * array, atol=1e-12)

    # The projection onto all vectors of the value that repeats.
    seed = rng.normal(size=(4, 4))
    seed = seed + seed.T

    def projection(x):
        v = linalg.eigh(x)[1][:, :3]
        return (v @ v.T * gg.tensor(seed, device=x.device)).sum()

    def moved(step):
        return projection(gg.tensor(array + step * direction)).item()

    direction = rng.normal(size=(4, 4))
    direction = direction + direction.T
    got = gradient(projection, array, device=device)
    np.testing.assert_allclose(
        (got * direction).sum(), (moved(1e-6) - moved(-1e-6)) / 2e-6, rtol=1e-6
    )


def test_equal_and_zero_singular_values_give_finite_gradients(device, rng):
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    for array in (q, np.eye(3), np.zeros((3, 3)), q * [1.0, 1.0, 0.0], np.ones((3, 2))):
        got = gradient(lambda x: linalg.svdvals(x).sum(), array, device=device)
        assert np.isfinite(got).all()
        assert np.abs(got).max() < 10
    # The sum of the squares of the singular values is that of the elements.
    got = gradient(lambda x: (linalg.svdvals(x) ** 2).sum(), q, device=device)
    np.testing.assert_allclose(got, 2 * q, atol=1e-12)
    # The nuclear norm of a matrix without any: within the subgradients.
    assert np.linalg.norm(gradient(lambda x: linalg.norm(x, "nuc"), np.zeros((2, 2))), 2) <= 1.0001


@pytest.mark.parametrize("order", [None, 1, 3, math.inf, -math.inf])
def test_norms_of_zeros_have_finite_gradients(order, device):
    x = gg.zeros(3, device=device, requires_grad=True)
    (g,) = gg.gradients(linalg.norm(x, order), [x])
    assert g.tolist() == [0.0, 0.0, 0.0]


def test_singular_matrices(device):
    singular = gg.ones((2, 2), device=device, requires_grad=True)
    calls = [
        (linalg.inv, (singular,)),
        (linalg.solve, (singular, gg.ones(2, device=device))),
        (linalg.cholesky, (-singular,)),
        (linalg.cholesky, (gg.tensor([[1.0, 2.0], [2.0, 1.0]], device=device),)),
        (linalg.cholesky, (-gg.ones((1, 2, 2), device=device),)),
        (linalg.solve_triangular, (singular * 0, gg.ones((1, 2, 1), device=device))),
        (linalg.solve_triangular, (singular * 0, gg.ones(2, device=device))),
    ]
    for f, operands in calls:
        if device.kind == "cpu":
            with pytest.raises(np.linalg.LinAlgError, match=rf"{f.__name__}: .*2, 2\)"):
                f(*operands)
        else:
            assert not np.isfinite(host(f(*operands))).any()
    sign, log = linalg.slogdet(singular)
    assert (sign.item(), log.item()) == (0, -math.inf)
    if device.kind == "cpu":
        with pytest.raises(np.linalg.LinAlgError, match="Singular"):
            log.backward()


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("kind", ["equal", "some equal", "any"])
def test_every_derivative_of_det_along_a_line(kind, dtype, device, rng):
    """It is a polynomial of the place on the line, also where singular values are equal."""
    b = rng.normal(size=(4, 4)) + (1j * rng.normal(size=(4, 4)) if dtype == "complex128" else 0)
    a = {"equal": np.eye(4), "some equal": np.diag([1.0, 1, 2, 2]), "any": b.conj().T + np.eye(4)}
    a = a[kind].astype(dtype)
    places = np.linspace(-1, 1, 5)
    values = np.array([np.linalg.det(a + place * b) for place in places])
    powers = np.linalg.solve(np.vander(places, increasing=True).astype(dtype), values)
    x, along = gg.tensor(a, device=device), gg.tensor(b, device=device)

    def f(t):
        y = linalg.det(x + t * along)
        return y.real if dtype == "complex128" else y

    at = gg.tensor(np.asarray(0.0), device=device)
    for order in range(5):
        wanted = math.factorial(order) * powers[order].real
        np.testing.assert_allclose(host(f(at)), wanted, rtol=1e-9, atol=1e-9)
        f = gg.grad(f)


def test_a_third_derivative_of_a_singular_determinant_is_no_number(device):
    x = gg.tensor(np.ones((3, 3)), device=device)
    third = gg.grad(gg.grad(gg.grad(lambda t: linalg.det(x + t * _line(x)))))
    at = gg.tensor(np.asarray(0.0), device=device)
    if device.kind == "cpu":
        with pytest.raises(np.linalg.LinAlgError):
            third(at)
    else:
        assert not np.isfinite(host(third(at)))


def _line(x):
    return gg.tensor(np.arange(9.0).reshape(3, 3) ** 2, device=x.device)


# Errors.


def test_refusals(rng):
    vector, wide = gg.ones(3), gg.ones((2, 3))
    square = gg.tensor(np.eye(2))
    for f in (linalg.det, linalg.inv, linalg.cholesky, linalg.eigh, linalg.expm, linalg.slogdet):
        with pytest.raises(gg.ShapeError, match=rf"{f.__name__}: expected a matrix.*\(3,\).*None"):
            f(vector)
        with pytest.raises(gg.ShapeError, match=rf"{f.__name__}: expected square.* 2 rows and 3 c"):
            f(wide)
    with pytest.raises(gg.ShapeError, match=r"solve: expected a right-hand side with 2 rows.*None"):
        linalg.solve(square, vector)
    with pytest.raises(gg.ShapeError, match=r"solve: expected a right-hand side"):
        linalg.solve(square, 1.0)
    with pytest.raises(gg.ShapeError, match=r"lstsq: .*2 rows"):
        linalg.lstsq(wide, vector)
    with pytest.raises(gg.ShapeError, match=r"solve: .*\(2, 2, 2\) and \(3, 2, 1\)"):
        linalg.solve(gg.ones((2, 2, 2)), gg.ones((3, 2, 1)))
    with pytest.raises(ValueError, match=r"qr: expected mode .*'raw'"):
        linalg.qr(square, mode="raw")
    with pytest.raises(ValueError, match=r"eigh: expected UPLO 'L' or 'U', got 'x'"):
        linalg.eigh(square, "x")
    with pytest.raises(ValueError, match=r"pinv: expected rcond or rtol"):
        linalg.pinv(square, 1e-3, rtol=1e-3)
    with pytest.raises(gg.DTypeError, match=r"pinv: expected a number as tolerance, got str"):
        linalg.pinv(square, "small")
    with pytest.raises(ValueError, match=r"matrix_rank: expected tol or rtol"):
        linalg.matrix_rank(square, 1e-3, rtol=1e-3)
    with pytest.raises(gg.DTypeError, match=r"matrix_power: expected a whole number, got float"):
        linalg.matrix_power(square, 0.5)
    with pytest.raises(gg.ShapeError, match=r"multi_dot: expected two matrices or more, got 1"):
        linalg.multi_dot([square])
    with pytest.raises(gg.ShapeError, match=r"multi_dot: .*inner sizes agree.*\(2, 3\), \(2, 3\)"):
        linalg.multi_dot([wide, wide])
    with pytest.raises(gg.ShapeError, match=r"cross: expected 3 elements along axis -1, got .*2"):
        linalg.cross(square, square)
    with pytest.raises(gg.ShapeError, match=r"outer: expected two vectors.*gg\.outer ravels"):
        linalg.outer(square, vector)
    with pytest.raises(gg.ShapeError, match=r"vecdot: .*along axis -1, got \(3,\) and \(2, 2\)"):
        linalg.vecdot(vector, square)
    with pytest.raises(gg.ShapeError, match=r"tensorsolve: expected a of shape \(3,\)"):
        linalg.tensorsolve(wide, vector)
    with pytest.raises(ValueError, match=r"tensorinv: expected ind of 1 or more, got 0"):
        linalg.tensorinv(square, 0)
    with pytest.raises(gg.ShapeError, match=r"tensorinv: .*before axis 1 .*\(2, 3\)"):
        linalg.tensorinv(wide, 1)
    with pytest.raises(gg.ShapeError, match=r"norm: expected one axis.*axis=None.*ord=1"):
        linalg.norm(gg.ones((2, 2, 2)), 1)
    with pytest.raises(gg.ShapeError, match=r"norm: expected one axis.*\(0, 0\)"):
        linalg.norm(square, axis=(0, 0))
    with pytest.raises(ValueError, match=r"vector_norm: expected a number as ord, got 'fro'"):
        linalg.norm(vector, "fro")
    with pytest.raises(ValueError, match=r"matrix_norm: expected ord 'fro'.*got 3"):
        linalg.norm(square, 3)
    with pytest.raises(gg.ShapeError, match=r"matrix_norm: expected two axes or more"):
        linalg.matrix_norm(vector)
    with pytest.raises(gg.ShapeError, match=r"cond: expected matrices with elements"):
        linalg.cond(vector)
    with pytest.raises(gg.ShapeError, match=r"cond: p=1 needs square matrices"):
        linalg.cond(wide, 1)


def test_what_has_no_derivative_says_so(device, rng):
    x = gg.tensor(rng.normal(size=(3, 2)), device=device, requires_grad=True)
    q, _ = linalg.qr(x, mode="complete")
    assert q.shape == (3, 3)
    with pytest.raises(gg.GradientError, match=r"qr: mode 'complete'.*\(3, 2\).*'reduced'"):
        q.sum().backward()
    u, _, _ = linalg.svd(x)
    assert u.shape == (3, 3)
    with pytest.raises(gg.GradientError, match=r"svd: full_matrices=True .*full_matrices=False"):
        u.sum().backward()
    assert not linalg.matrix_rank(x).requires_grad


# A use.


def test_the_likelihood_of_a_gaussian_process(device, rng):
    """Its gradient by length scale and noise, against the closed form.

    C. Rasmussen and C. Williams, "Gaussian Processes for Machine Learning" (2006), equation 5.9.
    """
    places, values = rng.uniform(-2, 2, 12), rng.normal(size=12)
    squares = (places[:, None] - places) ** 2

    def covariance(xp, squares, eye, log_scale, log_noise):
        return xp.exp(-0.5 * squares * xp.exp(-2 * log_scale)) + xp.exp(log_noise) * eye

    def likelihood(log_scale, log_noise):
        there = [gg.tensor(a, device=device) for a in (squares, np.eye(12), values)]
        *known, y = there
        lower = linalg.cholesky(covariance(gg, *known, log_scale, log_noise))
        white = linalg.solve_triangular(lower, y, lower=True)
        return (
            -0.5 * (white * white).sum()
            - gg.log(linalg.diagonal(lower)).sum()
            - 6 * math.log(2 * math.pi)
        )

    at = np.asarray(0.3), np.asarray(-1.2)
    tensors = [gg.tensor(a, device=device, requires_grad=True) for a in at]
    got = likelihood(*tensors)
    k = covariance(np, squares, np.eye(12), *at)
    weights = np.linalg.solve(k, values)
    np.testing.assert_allclose(
        got.item(),
        -0.5 * values @ weights - 0.5 * np.linalg.slogdet(k)[1] - 6 * math.log(2 * math.pi),
    )
    got.backward()
    inverse = np.linalg.inv(k)
    by_scale = np.exp(-0.5 * squares * np.exp(-2 * at[0])) * squares * np.exp(-2 * at[0])
    by_noise = np.exp(at[1]) * np.eye(12)
    for tensor, slope in zip(tensors, (by_scale, by_noise), strict=True):
        wanted = 0.5 * np.trace((np.outer(weights, weights) - inverse) @ slope)
        np.testing.assert_allclose(tensor.grad.item(), wanted)


def test_reached_by_its_names():
    assert gg.linalg is linalg
    assert not hasattr(gg, "det")


DIFFERENTIABLE = [
    "det", "slogdet", "inv", "pinv", "cholesky", "qr", "svd", "eigh", "eigvalsh", "svdvals", "expm",
    "norm", "cond",
]  # fmt: skip


@pytest.mark.parametrize("name", [*DIFFERENTIABLE, "matrix_rank"])
def test_the_host_never_waits_for_a_device(name, rng):
    x = gg.tensor(spd(rng, 2, 3, 3), device="sim", requires_grad=True)
    with gg.sync_guard():
        operand = x[0] if name == "norm" else x
        results = getattr(linalg, name)(operand)
        for result in results if isinstance(results, tuple) else (results,):
            if result.requires_grad:
                result.sum().backward(retain_graph=True)
        y = linalg.solve_triangular(linalg.cholesky(x), linalg.solve(x, x), lower=True)
        y.sum().backward()
    assert np.isfinite(host(x.grad)).all()


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_third_derivatives(name, rng):
    """Along a line through a symmetric matrix, against differences of the second."""
    a, b = spd(rng, 3, 3), rng.normal(size=(3, 3))
    b = b + b.T
    # What is unique of the result: nothing that depends on the signs of vectors.
    observed = {"qr": lambda q, r: r * r, "svd": lambda u, s, vh: u * u * s}
    observed |= {"eigh": lambda w, v: v * v * w, "slogdet": lambda sign, log: log}

    def along(t):
        result = getattr(linalg, name)(a + t * b)
        y = observed[name](*result) if name in observed else result
        return gg.sin(y * 0.3).sum()

    def second(t):
        return gg.grad(gg.grad(along))(t)

    at, step = np.asarray(0.05), 1e-5
    got = gg.grad(second)(gg.tensor(at)).item()
    up, down = (second(gg.tensor(at + d)).item() for d in (step, -step))
    np.testing.assert_allclose(got, (up - down) / (2 * step), rtol=1e-5, atol=1e-7)
