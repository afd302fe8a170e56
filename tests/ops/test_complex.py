"""Complex numbers: the convention of their gradients, PyTorch's figures, and what is refused."""

import warnings

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.errors import DTypeError, GradientError

Z = np.array([0.5 + 1.2j, -0.7 + 0.3j, 1.1 - 0.8j])


def leaf(array, device="cpu"):
    return gg.tensor(np.asarray(array), device=device, requires_grad=True)


# ---------------------------------------------------------------- the convention


def test_the_gradient_is_the_direction_of_steepest_ascent(device):
    z = leaf(Z, device)
    (gg.abs(z - (2 + 1j)) ** 2).sum().backward()
    np.testing.assert_allclose(z.grad.cpu().numpy(), 2 * (Z - (2 + 1j)))


def test_steps_against_the_gradient_lead_to_the_minimum(device):
    z = leaf(np.zeros(3, complex), device)
    wanted = gg.tensor(Z, device=device)
    for _ in range(60):
        loss = (gg.abs(z * (1 + 0.5j) - wanted) ** 2).sum()
        z.grad = None
        loss.backward()
        with gg.no_grad():
            z -= 0.3 * z.grad
    np.testing.assert_allclose(z.detach().cpu().numpy(), Z / (1 + 0.5j), atol=1e-9)


def test_a_real_parent_takes_the_real_part(device):
    x = leaf(np.array([1.0, 2.0]), device)
    y = x * (2 + 3j)
    assert y.dtype == np.complex128
    y.real.sum().backward()
    assert x.grad.dtype == np.float64
    np.testing.assert_array_equal(x.grad.cpu().numpy(), [2, 2])
    x.grad = None
    (x + 1j).imag.sum().backward()
    np.testing.assert_array_equal(x.grad.cpu().numpy(), [0, 0])


def test_a_real_bias_is_summed_and_made_real():
    bias = leaf(np.array([1.0, 2.0]))
    z = gg.tensor(np.full((3, 2), 1 + 1j))
    ((z * bias).imag).sum().backward()
    np.testing.assert_array_equal(bias.grad.numpy(), [3, 3])


def test_casts_between_real_and_complex():
    x = leaf(np.array([1.0, 2.0], np.float32))
    (x.astype("complex64") * (3 - 1j)).real.sum().backward()
    assert x.grad.dtype == np.float32
    np.testing.assert_array_equal(x.grad.numpy(), [3, 3])
    z = leaf(Z)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's: the imaginary part is discarded
        y = z.astype("float64")
    (y * np.arange(3)).sum().backward()
    assert z.grad.dtype == np.complex128
    np.testing.assert_array_equal(z.grad.numpy(), [0, 1, 2])


def test_a_python_number_beside_a_number_of_numpy():
    x = leaf(3.0)
    for y in (1j * gg.sum(x), gg.sum(x) * 1j, 1j + gg.sum(x), 2j / gg.sum(x)):
        assert y.data.dtype == np.complex128
    (1j * gg.sum(x)).imag.backward()
    assert x.grad.item() == 1
    assert (1j * gg.sum(gg.tensor(np.arange(3.0)))).data.dtype == np.complex128


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "float32", "float64"])
def test_a_list_is_as_precise_as_the_array_beside_it(dtype):
    t = gg.tensor(np.zeros(2, dtype))
    single = np.dtype(dtype).char in "fF"
    assert gg.add(t, [0.1, 0.2]).dtype == dtype
    assert gg.add([0.1j, 0.2], t).dtype == ("complex64" if single else "complex128")
    np.testing.assert_allclose(
        gg.add(t, [0.1, 0.2]).numpy(), [0.1, 0.2], rtol=1e-7 if single else 1e-16
    )


def test_numbers_to_a_complex_power():
    for base in (2.5, -1.5, 0.0, np.float64(-1.5)):
        z = leaf(0.4 + 0.3j)
        y = base**z
        y.backward(gg.ones_like(y))
        slope = complex(base) ** (0.4 + 0.3j) * np.log(complex(base)) if base else 0
        np.testing.assert_allclose(z.grad.numpy(), np.conj(slope))
    x = leaf(np.array([-1.5, 0.0, 2.0]))
    (x ** (2 + 1j)).real.sum().backward()
    with np.errstate(all="ignore"):
        slope = (2 + 1j) * (x.detach().numpy() + 0j) ** (1 + 1j)
    np.testing.assert_allclose(x.grad.numpy(), np.nan_to_num(slope).real, atol=1e-15)
    z = leaf(np.zeros(2, complex))
    (z ** np.array([1 + 0j, 0.5])).real.sum().backward()
    assert z.grad[0].item() == 1
    assert not np.isfinite(z.grad[1].item())  # 0 ** 0.5 has an infinite slope


def test_the_size_has_a_kink_at_zero_and_directions_have_no_derivative_there(device):
    z = leaf(np.zeros(3, complex), device)
    slope = gg.gradients(gg.abs(z).sum(), z, create_graph=True)
    np.testing.assert_array_equal(slope.detach().cpu().numpy(), 0)
    assert not np.isfinite(gg.gradients(slope.real.sum(), z).cpu().numpy()).any()
    for f in (gg.sign, gg.angle, gg.sqrt):
        y = f(z)
        found = gg.gradients(y, z, grad_outputs=gg.ones_like(y))
        assert not np.isfinite(found.cpu().numpy()).any()


def test_the_arc_cosh_has_two_roots_left_of_the_axis():
    z = leaf(np.array([-2 + 0.5j, -2 - 0.5j, 0.3 + 0.1j, 2 + 0.5j]))
    gg.arccosh(z).real.sum().backward()
    h = 1e-6
    at = z.detach().numpy()
    slope = (np.arccosh(at + h) - np.arccosh(at - h)) / (2 * h)
    np.testing.assert_allclose(z.grad.numpy(), slope.conj(), rtol=1e-8)


# ---------------------------------------------------------------- function transforms


def test_transforms_take_complex_numbers():
    value, gradient = gg.value_and_grad(lambda z: gg.abs(z) ** 2)(1 + 2j)
    assert (value, gradient) == (pytest.approx(5.0), pytest.approx(2 + 4j))
    assert type(gg.grad(lambda z: gg.abs(z) ** 2)(Z[0])) is np.complex128
    value, pull_back = gg.vjp(lambda z: z * z, Z)
    np.testing.assert_allclose(pull_back(np.ones(3))[0], 2 * Z.conj())
    np.testing.assert_allclose(pull_back(np.full(3, 1j))[0], 2j * Z.conj())
    value, tangent = gg.jvp(lambda z: z * z, (Z,), (np.full(3, 1j),))
    np.testing.assert_allclose(tangent, 2j * Z)
    _, push = gg.linearize(lambda x: x * 1j, 2.0)
    assert push(3.0) == 3j


def test_the_hessian_times_a_vector():
    f = lambda z: (gg.abs(z) ** 4).sum()  # noqa: E731
    v = np.array([1j, 1 - 1j, 0.5])
    h = 1e-6
    slope = (gg.grad(f)(Z + h * v) - gg.grad(f)(Z - h * v)) / (2 * h)
    np.testing.assert_allclose(gg.hvp(f, Z, v), slope, rtol=1e-8)


def test_a_custom_op_s_own_rule_holds():
    square = gg.custom_op(
        lambda xp, z: z * z,
        vjp=lambda xp, g, y, z: 2 * g * xp.conj(z),
        saves="z",
        kind="elementwise",
    )
    z = leaf(Z)
    square(z).real.sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), 2 * Z.conj())
    _, tangent = gg.jvp(square, (Z,), (np.full(3, 1j),))
    np.testing.assert_allclose(tangent, 2j * Z)


def test_a_custom_op_with_a_jvp_alone():
    square = gg.custom_op(
        lambda xp, z: z * z,
        jvp=lambda xp, ts, y, z: 2 * ts[0] * z,
        saves="z",
        kind="elementwise",
    )
    z = leaf(Z)
    square(z).real.sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), 2 * Z.conj())


def test_checkpoints_and_hooks_take_complex_numbers():
    z = leaf(Z)
    seen = []
    y = gg.checkpoint(lambda z: gg.exp(z) * z)(z)
    y.register_hook(lambda g: seen.append(g.dtype))
    (gg.abs(y) ** 2).sum().backward()
    again = leaf(Z)
    (gg.abs(gg.exp(again) * again) ** 2).sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), again.grad.numpy())
    assert seen == [np.complex128]


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: leaf(1j).backward(), GradientError, "only a real number has a gradient of its"),
        (lambda: gg.gradients(leaf(1j) * 2, leaf(1j)), GradientError, "only a real number"),
        (lambda: leaf(1.0).backward(1j), DTypeError, "of dtype float64, got complex"),
        (lambda: setattr(leaf(1.0), "grad", np.array(1j)), DTypeError, "grad: expected a grad"),
        (lambda: gg.grad(lambda z: z * z)(1j), GradientError, "returns a real number, got a comp"),
        (lambda: gg.vjp(gg.abs, 1j)[1](1j), DTypeError, "vjp: expected a gradient or tangent of"),
        (lambda: gg.jvp(gg.sin, (1.0,), (1j,)), DTypeError, "jvp: expected a gradient or tangent"),
        (
            lambda: gg.jacobian(gg.exp)(Z),
            DTypeError,
            "jacobian: the derivatives of complex numbers",
        ),
        (lambda: gg.maximum(leaf(Z), 1), DTypeError, "maximum: it has no derivative for complex"),
        (lambda: gg.max(leaf(Z)), DTypeError, "max: it has no derivative for complex numbers"),
        (lambda: gg.clip(leaf(Z), 0, 1), DTypeError, "clip: it has no derivative for complex"),
        (lambda: gg.sigmoid(gg.tensor(Z)), DTypeError, "sigmoid"),
        (lambda: gg.softplus(gg.tensor(Z)), DTypeError, "softplus: it takes no complex numbers"),
        (lambda: gg.erf(gg.tensor(Z)), DTypeError, "erf"),
        (
            lambda: gg.nn.functional.mse_loss(leaf(Z), Z),
            DTypeError,
            "mse_loss: it takes no complex",
        ),
    ],
)
def test_errors_say_what_to_do(call, error, said):
    with pytest.raises(error, match=said):
        call()


# ---------------------------------------------------------------- linear algebra

MATRIX = np.array([[1 + 1j, 2 - 1j, 0.5j], [0.3, -1j, 2.0], [1 - 0.4j, 0.2, 3 + 1j]])


def hermitian():
    return MATRIX @ MATRIX.conj().T + np.eye(3)


def test_the_upper_triangle_alone_is_read(device):
    m = hermitian()
    upper = np.triu(m) + np.tril(np.full((3, 3), 9.0), -1)
    x = gg.tensor(upper, device=device)
    w, v = gg.linalg.eigh(x, "U")
    np.testing.assert_allclose(m @ v.cpu().numpy(), v.cpu().numpy() * w.cpu().numpy(), atol=1e-12)
    np.testing.assert_allclose(gg.linalg.eigvalsh(x, "U").cpu().numpy(), w.cpu().numpy())
    factor = gg.linalg.cholesky(x, upper=True).cpu().numpy()
    np.testing.assert_allclose(factor.conj().T @ factor, m, atol=1e-12)


def test_what_least_squares_leave_is_real(device):
    a = gg.tensor(np.vstack([MATRIX, MATRIX[:1] * 1j + 1]), device=device)
    b = gg.tensor(np.array([1j, 2.0, 1 - 1j, 0.5]), device=device)
    _, remains, rank, _ = gg.linalg.lstsq(a, b)
    _, wanted, own_rank, _ = np.linalg.lstsq(a.cpu().numpy(), b.cpu().numpy())
    assert (remains.dtype, rank.item()) == (np.float64, own_rank)
    np.testing.assert_allclose(remains.cpu().numpy(), wanted)


def test_eigenvalues_are_complex_always(device):
    for dtype, kind in (
        ("float32", "complex64"),
        ("float64", "complex128"),
        ("int64", "complex128"),
    ):
        x = gg.tensor(np.diag([1, 2]).astype(dtype), device=device)
        w, v = gg.linalg.eig(x)
        assert w.dtype == v.dtype == gg.linalg.eigvals(x).dtype == kind
        np.testing.assert_array_equal(sorted(w.cpu().numpy().real), [1, 2])
    assert gg.linalg.eig(gg.zeros((0, 0))).eigenvalues.shape == (0,)


def test_eigenvalues_and_vectors_fit_together(device):
    w, v = gg.linalg.eig(gg.tensor(MATRIX, device=device))
    w, v = w.cpu().numpy(), v.cpu().numpy()
    np.testing.assert_allclose(MATRIX @ v, v * w, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(v, axis=0), 1)


def test_a_symmetric_function_of_equal_eigenvalues_has_its_gradient():
    x = leaf(np.eye(3) * 2)
    w = gg.linalg.eigvals(x)
    v = gg.linalg.eig(x).eigenvectors
    ((w**3).sum().real + (gg.abs(v) ** 2).sum()).backward()  # the trace of the third power, and 3
    np.testing.assert_allclose(x.grad.numpy(), 12 * np.eye(3))


def test_a_defective_matrix_has_no_derivative():
    x = leaf(np.array([[0.0, 1.0], [0.0, 0.0]]))
    w = gg.linalg.eigvals(x)
    np.testing.assert_array_equal(w.detach().numpy(), 0)
    with np.errstate(all="ignore"):
        try:
            w[0].real.backward()
        except np.linalg.LinAlgError:
            return
    assert not (np.abs(x.grad.numpy()) < 1e9).all()  # no numbers, or such as nobody overlooks


def test_numpy_s_own_eig_takes_tensors():
    x = leaf(MATRIX)
    assert np.linalg.eig(x).eigenvectors.requires_grad
    np.testing.assert_array_equal(
        np.linalg.eigvals(x).detach().numpy(), np.linalg.eig(MATRIX).eigenvalues
    )


def test_old_cuda_libraries_are_named(monkeypatch):
    from gpugrad.backend.sim import linalg

    def old(a):
        raise RuntimeError("geev is not available")

    monkeypatch.setattr(linalg, "eig", old, raising=False)
    with pytest.raises(
        gg.DeviceError, match=r"eig: the CUDA libraries .* \(geev is not available\)"
    ):
        gg.linalg.eig(gg.tensor(MATRIX, device="sim"))


def test_the_sign_of_a_determinant_turns_with_the_matrix():
    x = leaf(MATRIX)
    sign, size = gg.linalg.slogdet(x)
    np.testing.assert_allclose((sign * gg.exp(size)).detach().numpy(), np.linalg.det(MATRIX))
    with pytest.raises(GradientError, match="backward: only a real number"):
        sign.backward()


# ---------------------------------------------------------------- NumPy's functions


def test_whether_numbers_are_complex(device):
    z = np.array([1 + 2j, 3, 0, 2j])
    t = gg.tensor(z, device=device, requires_grad=True)
    for name in ("iscomplex", "isreal"):
        got = getattr(gg, name)(t)
        assert (got.device, got.requires_grad) == (device, False)
        np.testing.assert_array_equal(got.cpu().numpy(), getattr(np, name)(z))
        np.testing.assert_array_equal(
            getattr(np, name)(gg.tensor(z.real)).numpy(), getattr(np, name)(z.real)
        )
    assert gg.iscomplexobj(t) is np.iscomplexobj(t) is True
    assert gg.isrealobj(t.real) is np.isrealobj(t.real) is True
    assert not gg.isrealobj(t)


def test_angles_in_degrees(device):
    z = leaf(Z, device)
    y = np.angle(z, deg=True)
    np.testing.assert_allclose(y.detach().cpu().numpy(), np.angle(Z, deg=True))
    y.sum().backward()
    np.testing.assert_allclose(z.grad.cpu().numpy(), 180j / np.pi * Z / np.abs(Z) ** 2)
    x = leaf(np.array([-2.0, 3.0]))
    y = gg.angle(x)
    np.testing.assert_allclose(y.detach().numpy(), [np.pi, 0])
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 0)


def test_norms_of_complex_numbers_are_those_of_their_sizes(device):
    z = leaf(Z, device)
    gg.linalg.norm(z).backward()
    np.testing.assert_allclose(z.grad.cpu().numpy(), Z / np.linalg.norm(Z))
    assert gg.linalg.norm(z).dtype == np.float64


# ---------------------------------------------------------------- gradcheck


def test_gradcheck_takes_complex_numbers(device):
    z = gg.tensor(Z.astype(np.complex64), device=device)
    x = gg.tensor(np.array([0.3, 1.2, 0.7]), device=device)
    assert gg.gradcheck(lambda z, x: gg.exp(z * x) / z, (z, x))
    assert gg.gradcheck(lambda z: (gg.abs(z), gg.angle(z)), z)
    assert gg.gradcheck(lambda z: z.real * 2, 1 + 2j)
    assert gg.gradgradcheck(lambda z, x: gg.exp(z) * x * 1j, (z, x))
    assert gg.gradcheck(lambda x: gg.fft.rfft(x), x)
    assert gg.gradcheck(gg.linalg.slogdet, MATRIX)


def test_gradcheck_names_the_part_that_is_wrong():
    square = gg.custom_op(
        lambda xp, z: z * z,
        vjp=lambda xp, g, y, z: 2 * g * z,  # the conjugate is missing
        saves="z",
        name="square",
    )
    with pytest.raises(GradientError) as error:
        gg.gradcheck(lambda z: gg.exp(square(z)), np.array([0.5 + 1.2j]))
    text = str(error.value)
    assert "the gradient by input, of shape (1,), is wrong" in text
    assert "worst element: input[0].real, of output[0].real" in text
    assert "op: square, its derivative by argument 0 (z)" in text
    assert not gg.gradcheck(lambda z: z * z.conj().detach(), Z, raise_exception=False)
    with pytest.raises(GradientError, match="precision: the result is complex64"):
        gg.gradcheck(lambda z: gg.exp(z.astype("complex64")), np.array([0.5 + 1.2j]))
