"""gradcheck and gradgradcheck: what passes, and what the report says of each kind of mistake."""

import numpy as np
import pytest
from optable import arrays_for, bound, outputs_of, prepared

import gpugrad as gg
from gpugrad.backend import namespace_of
from gpugrad.engine.op import TABLE


@pytest.fixture
def broken(monkeypatch):
    """Give an op of the table other derivatives for one test."""

    def change(name, *vjps):
        monkeypatch.setattr(TABLE[name], "vjps", vjps)
        monkeypatch.setattr(TABLE[name], "conjugated", None)  # a copy with these rules

    return change


def tensor(device, values):
    return gg.tensor(device.send(np.asarray(values, dtype=np.float64)))


def report(f, inputs, check=gg.gradcheck, **options):
    """What a check says of a wrong gradient; it also says False where asked not to raise."""
    assert check(f, inputs, raise_exception=False, **options) is False
    with pytest.raises(gg.GradientError) as caught:
        check(f, inputs, **options)
    return str(caught.value)


# ---------------------------------------------------------------- what is right


def test_right_gradients_pass(device, rng):
    x, w = tensor(device, rng.normal(size=(3, 4))), tensor(device, rng.normal(size=(4, 2)))

    def f(x, w):
        return gg.softmax(gg.tanh(x @ w), axis=1), (x * x).sum(axis=0)

    assert gg.gradcheck(f, (x, w))
    assert gg.gradgradcheck(f, (x, w))
    assert x.grad is None
    assert not x.requires_grad


def test_inputs_of_every_kind(device):
    raw = device.send(np.array([0.5, 1.5], dtype=np.float32))
    p = {"a": [raw, 2.0], "name": "n", "k": device.send(np.array([1, 0]))}

    def f(p, mode):
        assert mode == "double"
        assert p["a"][0].dtype == np.float64  # float32 is checked in float64
        return p["a"][0][p["k"]] ** p["a"][1], p["k"]

    assert gg.gradcheck(f, (p, "double"))
    assert gg.gradcheck(lambda x: x**3, 2.0)
    assert gg.gradcheck(lambda x: x**3, [2])
    assert gg.gradcheck(lambda x: 3.0, 2.0)
    assert gg.gradcheck(lambda x: x * 2, (np.zeros((0, 3)),))


def test_large_inputs_are_checked_in_random_directions(device, rng, monkeypatch):
    x = tensor(device, rng.normal(size=(50, 40)))
    calls = []

    def f(x):
        calls.append(1)
        return gg.sin(x).sum(axis=0), (x**2).mean()

    assert gg.gradcheck(f, x)
    assert len(calls) < 30
    assert gg.gradgradcheck(f, x)


def test_many_outputs(device, rng):
    x = tensor(device, rng.normal(size=3))
    m = tensor(device, rng.normal(size=(1000, 3)))
    assert gg.gradcheck(lambda x: gg.tanh(m @ x), x)
    assert gg.gradgradcheck(lambda x: gg.tanh(m @ x), x)


def test_a_complex_step_overrules_rounding():
    """Beside a large number, differences lose all digits; a complex step loses none."""
    assert gg.gradcheck(lambda x: x * x + 1e9, [3.0])
    # Where there is no complex step, the differences have the last word.
    words = report(lambda x: gg.abs(x) + 1e9, 3.0)
    assert "by central differences" in words


def test_gradcheck_under_no_grad_and_with_closures():
    w = gg.tensor([1.0, 2.0], dtype=gg.float64, requires_grad=True)
    with gg.no_grad():
        assert gg.gradcheck(lambda x: w * x, (np.ones(2),))
        assert gg.gradgradcheck(lambda x: w * x**3, (np.ones(2),))
        assert not gg.is_grad_enabled()
    assert w.grad is None


# ---------------------------------------------------------------- what is wrong


X = np.array([0.3, 0.7, 1.1])


def test_a_wrong_sign_names_the_op_and_the_element(broken):
    broken("sin", lambda xp, g, y, x: -g * xp.cos(x))
    words = report(lambda x: (gg.sin(x) * 2).sum(), (gg.tensor(X),))
    assert words.startswith("gradcheck: the gradient by input[0], of shape (3,), is wrong\n")
    assert "worst element: input[0][0], of output\n" in words  # where cos is largest
    assert "the gradient there: -1.910672978; by the complex step: 1.910672978\n" in words
    assert "op: sin, its derivative by argument 0 (x)" in words
    assert "likely cause: the sign: the gradient is -1 times the right one" in words


def test_a_factor(broken):
    broken("square", lambda xp, g, y, x: g * x)
    words = report(lambda x: gg.square(x) + x, (X,))
    assert "op: square" in words
    assert "a factor: the gradient is 0.5 times the right one" in words


def test_a_constant_where_nothing_changes(broken):
    broken("floor_divide", lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: xp.zeros_like(g))
    words = report(lambda x: x // 2.0, (X,))
    assert "op: floor_divide, its derivative by argument 0 (a)" in words
    assert "the gradient should be zero: a constant stands in its place" in words


def test_a_constant_that_does_not_look_at_the_input(broken):
    broken("exp", lambda xp, g, y, x: g)
    words = report(lambda x: gg.exp(x).sum(), (X,))
    assert "op: exp" in words
    assert "in another way" in words  # local: a diagonal, not a constant
    broken("sum", lambda xp, g, y, x, axis, keepdims: xp.broadcast_to(g * 2, x.shape))
    assert "a factor: the gradient is 2 times" in report(lambda x: gg.sum(x), (X,))


def test_a_transposed_gradient(broken):
    a, b = np.arange(6.0).reshape(2, 3) ** 2, np.arange(9.0).reshape(3, 3) ** 1.5
    broken(
        "matmul",
        lambda xp, g, y, a, b: g @ xp.swapaxes(b, -1, -2),
        lambda xp, g, y, a, b: xp.swapaxes(xp.swapaxes(a, -1, -2) @ g, -1, -2),
    )
    words = report(lambda b: gg.tensor(a) @ b, (b,))
    assert "op: matmul, its derivative by argument 1 (b)" in words
    assert "transposed" in words


def test_a_missing_sum_over_a_broadcast_axis(broken):
    broken(
        "broadcast_to",
        lambda xp, g, y, x, shape: g[0],
    )
    words = report(lambda x: gg.broadcast_to(x, (4, 3)) * X, (X,))
    assert "op: broadcast_to" in words
    assert "the sum over a broadcast axis is missing" in words
    broken("broadcast_to", lambda xp, g, y, x, shape: xp.mean(g, axis=0))
    words = report(lambda x: gg.broadcast_to(x, (4, 3)), (X,))
    assert "0.25 times the right one, as if a mean" in words


def test_elements_in_another_order(broken):
    broken("flip", lambda xp, g, y, x, axis: g)
    words = report(lambda x: gg.flip(x).sum(axis=0) + gg.flip(x)[0], (X,))
    assert "op: flip" in words
    assert "stand in another order" in words


def test_a_value_that_left_the_graph():
    words = report(lambda x: x.detach() * 2, (X,))
    assert "op: none was recorded" in words
    assert "no gradient arrives: the value left the graph" in words
    words = report(lambda x: x * float(x.detach()), 3.0)
    assert "op: the last one is multiply (each op's own rule agrees with differences)" in words
    assert "part of the computation left the graph" in words


def test_a_point_without_a_derivative():
    words = report(lambda x: gg.relu(x) * 3, (np.array([1.0, 0.0]),))
    assert "worst element: input[0][1], of output[1]" in words
    assert "op: relu" in words
    assert (
        "not differentiable at this point: its slope is 0 on the left and 1 on the right" in words
    )


def test_a_gradient_that_is_not_finite(broken):
    broken("sqrt", lambda xp, g, y, x: g / (y - y))
    words = report(lambda x: gg.sqrt(x), (X,))
    assert "op: sqrt" in words
    assert "the gradient is not finite" in words


def test_a_function_that_is_not_finite():
    words = report(lambda x: gg.log(x), (np.array([1.0, -1.0]),))
    assert "the function itself is not finite around this point" in words


def test_too_little_precision():
    words = report(lambda x: (x.sum(), x.astype("float32") ** 2), (X,))
    assert "of output 1[" in words
    assert "precision: the result is float32 though the inputs are float64" in words


def test_random_results():
    words = report(lambda x: x * gg.random.uniform(size=3), (X,))
    assert "other values when it is called again" in words


@pytest.mark.parametrize("outputs", [1, 40])
def test_one_wrong_element_of_thousands_is_found(device, rng, monkeypatch, outputs):
    x = tensor(
        device,
        rng.uniform(1, 2, size=(50, outputs)) if outputs > 1 else rng.uniform(1, 2, size=2000),
    )
    wrong = (17, 3) if outputs > 1 else (1234,)
    mask = np.ones(x.shape)
    mask[wrong] = -1
    mask = tensor(device, mask)
    monkeypatch.setattr(TABLE["exp"], "vjps", (lambda xp, g, y, x: g * y * mask.data,))
    space = namespace_of(x.data)
    if "_rules" in vars(space):  # the kernels that it has already made of the rules
        monkeypatch.setattr(space, "_rules", {})
    words = report(lambda x: gg.exp(x).sum(axis=0), x)
    assert f"worst element: input[{', '.join(map(str, wrong))}]" in words
    assert "op: exp" in words


def test_the_path_of_an_input_in_a_structure(broken):
    broken("cos", lambda xp, g, y, x: g * xp.sin(x))
    words = report(lambda p: gg.cos(p["b"][1]) + p["a"], ({"a": 1.0, "b": [2.0, 3.0]},))
    assert "the gradient by input[0]['b'][1], of shape (), is wrong" in words


def test_second_derivatives_that_are_wrong(broken):
    """The first derivative is right, but its factor is a constant to the second."""
    broken(
        "sin",
        lambda xp, g, y, x: g * gg.cos(x.detach()) if isinstance(x, gg.Tensor) else g * xp.cos(x),
    )
    f = lambda x: gg.sin(x)  # noqa: E731
    assert gg.gradcheck(f, (X,))
    words = report(f, (X,), gg.gradgradcheck)
    assert words.startswith("gradgradcheck: the gradient by input[0], of shape (3,), is wrong")
    assert "no gradient arrives" in words


@pytest.mark.parametrize(
    ("op", "f"),
    [
        ("cholesky", gg.linalg.cholesky),
        ("cholesky", lambda x: gg.linalg.cholesky(x, upper=True)),
        ("eigh", lambda x: gg.linalg.eigh(x)[0]),
        ("eigh", lambda x: gg.linalg.eigh(x, "U")[1] ** 2),
        ("eigh", gg.linalg.eigvalsh),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_ops_that_read_one_triangle(op, f, dtype, device, rng):
    """Their gradient is right, though differences of single elements disagree with it."""
    a = rng.normal(size=(3, 3)) + (1j * rng.normal(size=(3, 3)) if dtype == "complex128" else 0)
    x = gg.tensor(a @ a.conj().T + np.diag([1.0, 2.0, 3.0]), device=device)
    real = (lambda x: gg.abs(f(x))) if dtype == "complex128" else f
    words = report(real, x)
    assert "the gradient by input, of shape (3, 3), is not what differences give" in words
    assert f"likely cause: {op} reads one triangle of its matrix" in words
    assert "Check lambda x: f((x + x.mT.conj()) / 2)" in words

    def symmetrized(x):
        return (x + x.mT.conj()) / 2

    assert gg.gradcheck(lambda x: real(symmetrized(x)), x)
    # Another mistake is not taken for it.
    words = report(lambda x: real(symmetrized(x)) * gg.abs(x[0, 0].detach()), x)
    assert "is wrong" in words
    assert "left the graph" in words


@pytest.mark.parametrize(
    "op", [op for op in TABLE.values() if op.hermitian], ids=lambda op: op.name
)
def test_what_counts_as_hermitian_reads_one_triangle(op):
    for sample in op.samples:
        x, *others = prepared(op, arrays_for(op, sample))
        half = np.tril(x) + np.triu(np.full_like(x, 7.0), 1)
        results = [
            outputs_of(bound(op)(*map(gg.tensor, (first, *others)), **sample.parameters))
            for first in (x, half)
        ]
        for whole, part in zip(*results, strict=True):
            np.testing.assert_array_equal(part.numpy(), whole.numpy())


def test_an_op_of_any_matrix_is_not_said_to_read_one_triangle(device):
    x = tensor(device, [[4.0, 1.0], [2.0, 1.0]])
    words = report(lambda x: gg.linalg.eig(x)[0].real * x[0, 0].detach(), x)
    assert "triangle" not in words
    assert "left the graph" in words


def test_checks_refuse_what_is_no_check():
    for check in (gg.gradcheck, gg.gradgradcheck):
        with pytest.raises(
            gg.DTypeError, match="expected an input of floating-point numbers, got none"
        ):
            check(lambda x: x, (np.arange(3), "a"))
        with pytest.raises(
            gg.GradientError, match="expected a function as the first argument, got int"
        ):
            check(3, (X,))


def test_the_tolerance_is_what_is_given(broken):
    broken("sin", lambda xp, g, y, x: g * xp.cos(x) * 1.01)
    assert gg.gradcheck(gg.sin, (X,), rtol=0.02)
    assert gg.gradcheck(gg.sin, (X,), atol=0.1)
    assert not gg.gradcheck(gg.sin, (X,), raise_exception=False)


def test_all_rows_are_pulled_in_one_pass(device, monkeypatch):
    from gpugrad.autodiff.run import Run

    pulls, pull = [], Run.pull
    monkeypatch.setattr(Run, "pull", lambda *a, **k: pulls.append(1) or pull(*a, **k))
    x = tensor(device, np.linspace(0.1, 0.9, 9).reshape(3, 3))
    assert gg.gradcheck(lambda x: (gg.tanh(x @ x), x.sum(), x * 1j), x)
    assert len(pulls) == 1

    def slope(xp, g, y, x):
        return 3 * g * x * x if bool((x > 0).all() | (g > 0).all()) else None  # asks for a value

    cubed = gg.custom_op(lambda xp, x: x * x * x, slope)
    assert gg.gradcheck(cubed, x)
    assert len(pulls) == 1 + 1 + 9
