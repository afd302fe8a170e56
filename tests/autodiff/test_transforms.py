"""grad, value_and_grad, vjp, jvp, linearize, hvp: kinds, structures, nesting, errors."""

import dataclasses
import threading
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
from arrays import raw
from hypothesis import given
from hypothesis import strategies as st

import gpugrad as gg
from gpugrad.autodiff.tree import flatten, unflatten
from gpugrad.backend.device import to_numpy

Pair = namedtuple("Pair", "first second")


@dataclasses.dataclass(frozen=True)
class Model:
    weight: object
    bias: object
    name: str = "model"


def close(value, expected, **kwargs):
    value = value.detach().data if isinstance(value, gg.Tensor) else value
    np.testing.assert_allclose(to_numpy(value), expected, **{"rtol": 1e-6, **kwargs})


# ---------------------------------------------------------------- trees


LEAVES = st.floats(-1, 1) | st.none() | st.text(max_size=2)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.tuples(inner, inner).map(lambda p: Pair(*p))
        | st.tuples(inner, inner).map(lambda p: Model(*p))
        | st.dictionaries(st.integers(0, 5), inner, max_size=3).map(OrderedDict)
    ),
    max_leaves=12,
)


@given(TREES)
def test_a_structure_comes_back_as_it_was(value):
    leaves, tree = flatten(value)
    again = unflatten(tree, leaves)
    assert again == value
    assert type(again) is type(value)
    assert flatten(again)[1] == tree
    assert len(list(tree.paths())) == len(leaves)


def test_paths_say_where_a_leaf_is():
    leaves, tree = flatten(({"w": [1.0, 2.0]}, Model(3.0, Pair(4.0, None)), True))
    assert leaves == [1.0, 2.0, 3.0, 4.0]
    assert list(tree.paths("a")) == [
        "a[0]['w'][0]",
        "a[0]['w'][1]",
        "a[1].weight",
        "a[1].bias.first",
    ]
    assert repr(tree) == (
        "({'w': [*, *]}, Model(weight=*, bias=Pair(first=*, second=None), name='model'), True)"
    )


def test_constants_and_containers_tell_structures_apart():
    trees = [flatten(value)[1] for value in ([1.0], (1.0,), {"a": 1.0}, ["a"], [None], 1.0)]
    for i, one in enumerate(trees):
        for j, other in enumerate(trees):
            assert (one == other) == (i == j)
    assert trees[0] != "tree"


# ---------------------------------------------------------------- kinds


def test_raw_arrays_in_raw_arrays_out(device):
    x = raw(device, [1.0, 2.0])
    g = gg.grad(lambda x: (x**3).sum())(x)
    assert type(g) is type(x)
    assert g.dtype == np.float64
    close(g, [3.0, 12.0])
    value, g = gg.value_and_grad(lambda x: (x**3).sum())(x)
    assert type(value) is type(g) is type(x)
    assert value.shape == ()
    close(value, 9.0)


def test_the_kind_of_each_result_is_that_of_its_argument(device):
    def f(a, b, c, d):
        return (a * b * c * d).sum()

    x = raw(device, [1.0, 2.0])
    args = gg.tensor(x), x, 3.0, np.float64(4.0)
    a, b, c, d = gg.grad(f, argnums=(0, 1, 2, 3))(*args)
    assert isinstance(a, gg.Tensor)
    assert not a.requires_grad
    assert type(b) is type(x)
    assert type(c) is float
    assert type(d) is np.float64 or device.kind != "cpu"
    close(a, [12, 24])
    close(b, [12, 24])
    assert c == 20
    assert float(d) == 15


def test_python_numbers_in_python_numbers_out():
    assert gg.value_and_grad(lambda x: x**2)(3) == (9.0, 6.0)
    value, slope = gg.jvp(lambda x: x**2, (3.0,), (1.0,))
    assert (type(value), type(slope)) == (float, float)


def test_a_tensor_of_no_graph_gives_a_tensor_of_no_graph(device):
    x = gg.tensor([1.0, 2.0])
    value, g = gg.value_and_grad(lambda x: (x * x).sum())(x)
    assert not value.requires_grad
    assert not g.requires_grad
    assert x.grad is None
    assert not x.requires_grad


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gradients_keep_the_dtype(device, dtype):
    x = device.send(np.array([1.0, 2.0], dtype=dtype))
    assert gg.grad(lambda x: (x * 2.5 * np.float64(1)).sum())(x).dtype == dtype
    value, tangent = gg.jvp(lambda x: x * 2.5, (x,), (x,))
    assert value.dtype == tangent.dtype == dtype
    assert gg.jacobian(lambda x: x.astype("float64") * 2, mode="forward")(x).dtype == dtype


def test_results_share_no_memory_with_arguments_or_each_other(device):
    x, y = raw(device, [1.0, 2.0]), raw(device, [3.0, 4.0])
    a, b = gg.grad(lambda x, y: (x + y).sum(), argnums=(0, 1))(x, y)
    a += 1
    close(b, [1, 1])
    a, b = gg.grad(lambda x, y: (x * y).sum(), argnums=(0, 1))(x, y)
    a += 1
    close(y, [3, 4])
    _, pull = gg.vjp(lambda x: x + 0, x)
    seed = raw(device, [1.0, 1.0])
    (g,) = pull(seed)
    g += 1
    close(seed, [1, 1])


def test_numpy_functions_on_the_arguments_are_differentiated(device):
    if device.kind != "cpu":
        x = gg.tensor(raw(device, [0.3, 0.7]))
        close(
            gg.grad(lambda x: np.sum(np.sin(x) * x))(x),
            np.cos([0.3, 0.7]) * [0.3, 0.7] + np.sin([0.3, 0.7]),
        )
        return
    x = np.array([0.3, 0.7])
    close(gg.grad(lambda x: np.sum(np.sin(x) * x))(x), np.cos(x) * x + np.sin(x))


# ---------------------------------------------------------------- structures


def test_structures_of_arguments(device):
    params = {
        "layers": [Model(raw(device, [1.0, 2.0]), 3.0), Model(raw(device, [4.0, 5.0]), 6.0)],
        "pair": Pair(2.0, None),
    }

    def f(p):
        total = p["pair"].first
        for layer in p["layers"]:
            assert layer.name == "model"
            total = total * (layer.weight.sum() + layer.bias)
        return total

    g = gg.grad(f)(params)
    assert list(g) == ["layers", "pair"]
    assert [type(layer) for layer in g["layers"]] == [Model, Model]
    assert g["pair"] == Pair(90.0, None)
    assert g["layers"][0].name == "model"
    close(g["layers"][0].weight, [30, 30])
    assert g["layers"][1].bias == 12.0
    assert type(params["pair"].first) is float  # the argument itself is as it was


def test_structures_of_outputs(device):
    x = raw(device, [1.0, 2.0])

    def f(x):
        return {"square": x * x, "rest": (x.sum(), "label")}

    value, pull = gg.vjp(f, x)
    assert value["rest"][1] == "label"
    close(value["square"], [1, 4])
    (g,) = pull({"square": raw(device, [1.0, 0.0]), "rest": (1.0, "label")})
    close(g, [3, 1])
    value, tangent = gg.jvp(f, (x,), (raw(device, [1.0, 1.0]),))
    close(tangent["square"], [2, 4])
    close(tangent["rest"][0], 2)
    assert type(tangent["square"]) is type(x)


def test_keywords_and_other_arguments_pass_through(device):
    x = raw(device, [1.0, 2.0])
    f = lambda x, scale, *, shift: ((x - shift) * scale).sum()  # noqa: E731
    close(gg.grad(f)(x, 3.0, shift=1.0), [3, 3])
    assert gg.grad(f, argnums=-1)(x, 3.0, shift=1.0) == 1.0


def test_aux_comes_back(device):
    x = raw(device, [1.0, 2.0])
    f = lambda x: ((x * x).sum(), {"seen": x + 1, "note": "n"})  # noqa: E731
    g, aux = gg.grad(f, has_aux=True)(x)
    close(g, [2, 4])
    assert type(aux["seen"]) is type(x)
    assert aux["note"] == "n"
    (value, aux), g = gg.value_and_grad(f, has_aux=True)(gg.tensor(x))
    close(value, 5)
    assert not aux["seen"].requires_grad
    value, pull, aux = gg.vjp(f, x, has_aux=True)
    close(pull(1.0)[0], [2, 4])
    value, tangent, aux = gg.jvp(f, (x,), (x,), has_aux=True)
    close(tangent, 10)


# ---------------------------------------------------------------- what does not depend


def test_what_does_not_depend_has_gradient_zero(device):
    x, y = raw(device, [1.0, 2.0]), raw(device, [3.0])
    a, b = gg.grad(lambda x, y: x.sum(), argnums=(0, 1))(x, y)
    close(a, [1, 1])
    close(b, [0])
    assert type(b) is type(x)
    assert gg.value_and_grad(lambda x: 7.0)(2.0) == (7.0, 0.0)
    close(gg.grad(lambda x: np.float64(7.0))(x), [0, 0])
    _, tangent = gg.jvp(lambda x: np.ones(2), (x,), (x,))
    close(tangent, [0, 0])
    close(gg.grad(lambda x: x.argmax())(x), [0, 0])
    close(gg.grad(lambda x: x[0])(x), [1, 0])


def test_the_argument_itself_as_result():
    assert gg.grad(lambda x: x)(2.0) == 1.0
    assert gg.jvp(lambda x: x, (2.0,), (5.0,)) == (2.0, 5.0)
    x = gg.tensor(2.0, requires_grad=True)
    assert gg.grad(lambda x: x)(x).item() == 1.0


# ---------------------------------------------------------------- forward mode


def test_vjp_and_jvp_agree(device, rng):
    x, y = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
    u, v = rng.normal(size=x.shape), rng.normal(size=y.shape)

    def f(x, y):
        z = gg.tanh(x @ y)
        return z, gg.softmax(z, axis=0).max(axis=1)

    primals = raw(device, x), raw(device, y)
    tangents = raw(device, u), raw(device, v)
    _, tangent = gg.jvp(f, primals, tangents)
    eps = 1e-6
    up = f(gg.tensor(raw(device, x + eps * u)), gg.tensor(raw(device, y + eps * v)))
    down = f(gg.tensor(raw(device, x - eps * u)), gg.tensor(raw(device, y - eps * v)))
    for t, a, b in zip(tangent, up, down):
        close(t, to_numpy((a - b).data) / (2 * eps), rtol=1e-6, atol=1e-8)
    _, pull = gg.vjp(f, *primals)
    g = pull(tangent)
    left = sum(float((to_numpy(a) * b).sum()) for a, b in zip(g, (u, v)))
    right = sum(float((to_numpy(t) ** 2).sum()) for t in tangent)
    assert left == pytest.approx(right)


def test_a_pull_back_may_be_called_again(device):
    x = raw(device, [1.0, 2.0])
    _, pull = gg.vjp(lambda x: x**2, x)
    close(pull(raw(device, [1.0, 0.0]))[0], [2, 0])
    close(pull(raw(device, [0.0, 1.0]))[0], [0, 4])


def test_linearize_runs_the_function_once(device):
    calls = []

    def f(x, y):
        calls.append(1)
        return x * x * y

    x = raw(device, [1.0, 2.0])
    value, push = gg.linearize(f, x, 3.0)
    close(value, [3, 12])
    close(push(x, 0.0), [6, 24])
    close(push(raw(device, [0.0, 0.0]), 1.0), [1, 4])
    assert len(calls) == 1


def test_hvp_is_the_hessian_times_a_vector(device, rng):
    x, v = rng.normal(size=5), rng.normal(size=5)
    f = lambda x: (gg.sin(x[:-1]) * x[1:] ** 3).sum()  # noqa: E731
    h = gg.hessian(f)(raw(device, x))
    close(gg.hvp(f, raw(device, x), raw(device, v)), to_numpy(h) @ v)
    # Forward over reverse says the same.
    _, forward = gg.jvp(gg.grad(f), (raw(device, x),), (raw(device, v),))
    close(forward, to_numpy(h) @ v)
    structured = gg.hvp(lambda p: p["a"] * p["b"] ** 2, {"a": 2.0, "b": 3.0}, {"a": 1.0, "b": 0.0})
    assert structured == {"a": 0.0, "b": 6.0}


# ---------------------------------------------------------------- in each other


def power(n):
    return lambda x: x**n


def test_derivatives_of_derivatives():
    f = power(5)
    d = gg.grad
    assert d(d(f))(2.0) == 160.0
    assert d(d(d(f)))(2.0) == 240.0
    assert d(d(d(d(f))))(2.0) == 240.0


def slope(f):
    """The derivative, by forward mode."""
    return lambda x: gg.jvp(f, (x,), (1.0,))[1]


def pulled(f):
    """The derivative, by vjp."""

    def derivative(x):
        value, pull = gg.vjp(f, x)
        return pull(gg.ones_like(value) if isinstance(value, gg.Tensor) else 1.0)[0]

    return derivative


def lined(f):
    return lambda x: gg.linearize(f, x)[1](1.0)


MODES = {"grad": gg.grad, "jvp": slope, "vjp": pulled, "linearize": lined}


@pytest.mark.parametrize("first", MODES)
@pytest.mark.parametrize("second", MODES)
@pytest.mark.parametrize("third", MODES)
def test_every_transform_in_every_other(first, second, third):
    f = lambda x: gg.sin(x) * x * x  # noqa: E731
    x = np.float64(0.7)
    s, c = np.sin(x), np.cos(x)
    expected = 6 * c - 6 * x * s - x * x * c
    got = MODES[third](MODES[second](MODES[first](f)))(x)
    assert float(got) == pytest.approx(expected)
    assert type(got) is np.float64


@pytest.mark.parametrize("outer", MODES)
@pytest.mark.parametrize("inner", MODES)
def test_perturbations_are_not_confused(outer, inner):
    outer, inner = MODES[outer], MODES[inner]
    assert outer(lambda x: x * inner(lambda y: x + y)(1.0))(2.0) == 1.0
    assert outer(lambda x: x * inner(lambda y: x * y)(1.0))(3.0) == 6.0
    # d/dx x * (d/dy (x * y**2 at y = x)) = d/dx 2 x**3
    assert outer(lambda x: x * inner(lambda y: x * y * y)(x))(2.0) == 24.0
    # The inner function's result does not depend on the outer variable at all.
    assert outer(lambda x: x * inner(lambda y: y * y)(3.0))(2.0) == 6.0

    # Through a name of the outer function, not through an argument.
    def f(x):
        z = x * x
        return inner(lambda y: y * z)(1.0)

    assert outer(f)(5.0) == 10.0


def test_three_levels_of_closures():
    d = gg.grad
    f = lambda x: d(lambda y: d(lambda z: x * y * z * z)(y))(x)  # noqa: E731
    # d/dz = 2xyz at z=y: 2xy^2; d/dy = 4xy at y=x: 4x^2; d/dx = 8x
    assert f(3.0) == 36.0
    assert d(f)(3.0) == 24.0


def test_the_gradient_of_a_tangent_by_the_tangent(device):
    x = raw(device, [1.0, 2.0])
    g = gg.grad(lambda v: (gg.jvp(lambda x: x**3, (x,), (v,))[1] ** 2).sum())(x)
    close(g, 2 * 9 * np.array([1.0, 2.0]) ** 5)
    (g,) = gg.vjp(lambda u: gg.vjp(lambda x: x**3, x)[1](u)[0], x)[1](x)
    close(g, 3 * np.array([1.0, 2.0]) ** 3)


def test_a_recorded_argument_keeps_its_graph(device):
    x = gg.tensor([1.0, 2.0], requires_grad=True)
    value, g = gg.value_and_grad(lambda x: (x**3).sum())(x)
    assert value.requires_grad
    assert g.requires_grad
    assert x.grad is None
    (g * g).sum().backward(retain_graph=True)
    close(x.grad, [36, 288])
    x.zero_grad()
    value.backward()
    close(x.grad, [3, 12])


def test_parameters_found_elsewhere_get_gradients_through_a_gradient(device):
    w = gg.tensor([1.0, 2.0], requires_grad=True)
    x = gg.tensor([3.0, 4.0])
    penalty = (gg.grad(lambda x: (w * x * x).sum())(x) ** 2).sum()  # (2wx)**2
    penalty.backward()
    close(w.grad, 8 * np.array([1, 2]) * np.array([9, 16]))
    # Given by position as well.
    g = gg.grad(lambda x, w: (w * x * x).sum())(x.data, w)
    assert g.requires_grad


def test_parameters_found_elsewhere_are_constants_for_raw_arrays(device):
    w = gg.tensor(raw(device, [1.0, 2.0]), requires_grad=True)
    x = raw(device, [3.0, 4.0])
    value, g = gg.value_and_grad(lambda x: (w * x).sum())(x)
    assert type(value) is type(g) is type(x)
    assert w.grad is None
    hidden = w * 2  # a graph that the transform must leave as it is
    close(gg.grad(lambda x: (hidden * x).sum())(x), [2, 4])
    hidden.sum().backward()
    close(w.grad, [2, 2])


def test_nothing_is_recorded_under_no_grad(device):
    x = gg.tensor([1.0, 2.0], requires_grad=True)
    with gg.no_grad():
        value, g = gg.value_and_grad(lambda x: (x**3).sum())(x)
        assert not gg.is_grad_enabled()
        _, tangent = gg.jvp(lambda x: x**2, (x,), (x,))
        assert gg.grad(gg.grad(lambda x: x**3))(2.0) == 12.0
        _, softmax = gg.jvp(lambda x: gg.softmax(x), (x,), (x,))
    for result in (value, g, tangent, softmax):
        assert not result.requires_grad
    close(g, [3, 12])
    s = np.exp([1.0, 2.0]) / np.exp([1.0, 2.0]).sum()
    close(softmax, s * (np.array([1.0, 2.0]) - (s * [1, 2]).sum()), rtol=1e-5)


def test_a_pull_back_called_under_no_grad_is_not_recorded():
    x = gg.tensor([1.0, 2.0], requires_grad=True)
    _, pull = gg.vjp(lambda x: x**2, x)
    with gg.no_grad():
        assert not pull(x)[0].requires_grad
    assert pull(x.detach())[0].requires_grad


def test_a_recorded_cotangent_does_not_make_found_tensors_variables():
    """All arguments are raw, so what f finds is constant, whatever is pulled back."""
    w = gg.tensor([1.0, 2.0], dtype=gg.float64, requires_grad=True)
    u = gg.tensor([3.0, 4.0], dtype=gg.float64, requires_grad=True)
    _, pull = gg.vjp(lambda x: w * x * x, np.array([5.0, 6.0]))
    pull(u)[0].sum().backward()
    close(u.grad, [10, 24])
    assert w.grad is None


def test_the_mode_is_as_before_after_an_exception():
    def fails(x):
        raise KeyError("f")

    for mode in (True, False):
        with gg.set_grad_enabled(mode):
            for transform in (gg.grad(fails), gg.jacobian(fails), gg.hessian(fails)):
                with pytest.raises(KeyError, match="f"):
                    transform(1.0)
                assert gg.is_grad_enabled() is mode
    # The outermost transform is forgotten too: no result is taken for a part of a graph.
    w = gg.tensor(2.0, requires_grad=True)
    assert type(gg.grad(lambda x: w * x)(1.0)) is float


def test_threads_do_not_see_each_other():
    results = {}

    def work(k):
        results[k] = [gg.grad(gg.grad(power(k)))(1.5) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(k,)) for k in (2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {k: [k * (k - 1) * 1.5 ** (k - 2)] * 20 for k in (2, 3, 4)}


def test_first_order_use_walks_over_raw_arrays(monkeypatch):
    from gpugrad.autodiff import run

    lifts = []
    run_backward = run.run_backward
    monkeypatch.setattr(
        run,
        "run_backward",
        lambda *a, **k: lifts.append((k.get("graph"), k["targets"])) or run_backward(*a, **k),
    )
    gg.grad(lambda x: (x * x).sum())(gg.tensor([1.0]))
    gg.grad(lambda x: (x * x).sum())(np.ones(3))
    assert lifts == [(None, None)] * 2


def test_a_walk_to_targets_looks_no_further_back_than_them():
    """Or the cost of a gradient inside a long computation would grow with all that came before."""
    from gpugrad.engine.backward import reachable

    x = gg.tensor(1.0, requires_grad=True)
    before = x
    for _ in range(100):
        before = before * 1
    after = before * 2 * x
    found = reachable([after._node], before._node.serial)
    assert [node.op.name for node in found] == ["multiply"] * 3
    assert found[0] is before._node
    assert len(reachable([after._node])) == 103
    assert gg.gradients(after, before).item() == 2.0


def test_no_cycles_are_left(device):
    import gc

    x = raw(device, [1.0, 2.0])
    f = lambda x: (gg.exp(x) * x).sum()  # noqa: E731

    def differentiate():
        gg.grad(f)(x)
        gg.jvp(f, (x,), (x,))
        gg.hvp(f, x, x)

    differentiate()  # a GPU's kernels are compiled
    gc.collect()
    gc.disable()
    try:
        differentiate()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_another_device_than_the_current_one():
    device = gg.Device("sim:1")
    x = raw(device, [1.0, 2.0, 3.0])
    f = lambda x: (gg.softmax(x) * x).sum()  # noqa: E731
    expected = gg.grad(f)(np.array([1.0, 2.0, 3.0]))
    h = gg.hessian(f)(np.array([1.0, 2.0, 3.0]))
    for g in (f, gg.checkpoint(f)):
        close(gg.grad(g)(x), expected)
        close(gg.jvp(g, (x,), (x,))[1], expected @ [1, 2, 3])
        close(gg.hvp(g, x, x), h @ [1, 2, 3])
        for mode in ("reverse", "forward"):
            close(gg.jacobian(g, mode=mode)(x), expected)
            close(gg.hessian(g, mode=mode)(x), h)
        assert gg.gradcheck(g, (x,))
        assert gg.gradgradcheck(g, (x,))
    unused = gg.grad(lambda x, y: x.sum(), argnums=1)(x, x)
    assert gg.tensor(unused).device == device


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: gg.grad(lambda x: x)(np.ones(3)), gg.GradientError,
         r"grad: expected a function that returns one number, got an array of shape \(3,\)\. "
         r"Reduce it, as with \.sum\(\), or use gg\.jacobian or gg\.vjp"),
        (lambda: gg.grad(lambda x: (x, x))(1.0), gg.GradientError, r"the structure \(\*, \*\)"),
        (lambda: gg.hessian(lambda x: x)(np.ones(3)), gg.GradientError, "returns one number"),
        (lambda: gg.hvp(lambda x: x, np.ones(3), np.ones(3)), gg.GradientError, "^hvp: "),
        (lambda: gg.hvp(lambda x: x.sum(), np.ones(3), np.ones(2)), gg.ShapeError,
         r"hvp: expected v of shape \(3,\), got \(2,\)"),
        (lambda: gg.grad(3.0), gg.GradientError, "function as the first argument, got float"),
        (lambda: gg.vjp(3.0, 1.0), gg.GradientError, "vjp: expected a function"),
        (lambda: gg.jacobian(3.0), gg.GradientError, "jacobian: expected a function"),
        (lambda: gg.grad(lambda x: x, argnums=1)(1.0), gg.GradientError,
         "argnums names argument 1, but the function was called with 1 positional argument"),
        (lambda: gg.grad(lambda x, y: x, argnums=(0, -2))(1.0, 2.0), gg.GradientError,
         "names an argument twice"),
        (lambda: gg.grad(lambda x: x.sum())(np.arange(3)), gg.DTypeError,
         r"grad: dtype int64 has no gradient here \(argument 0\)"),
        (lambda: gg.grad(lambda x: x)({"a": [np.arange(3)]}), gg.DTypeError,
         r"argument 0\['a'\]\[0\]"),
        (lambda: gg.grad(lambda x: x)(1j), gg.GradientError, "returns a real number"),
        (lambda: gg.grad(lambda x: x, has_aux=True)(1.0), gg.GradientError,
         r"must return a pair \(output, aux\), got Tensor"),
        (lambda: gg.jvp(lambda x: x, 1.0, 1.0), gg.DTypeError, r"Write jvp\(f, \(x,\), \(v,\)\)"),
        (lambda: gg.jvp(lambda x: x, (1.0,), ()), gg.DTypeError, "for each of 1 primals, got 0"),
        (lambda: gg.jvp(lambda x: x, (1.0,), 1.0), gg.DTypeError, "of 1 primals, got float"),
        (lambda: gg.jvp(lambda x: x, (np.ones(3),), (np.ones(2),)), gg.ShapeError,
         r"jvp: expected tangent 0 of shape \(3,\), got \(2,\)"),
        (lambda: gg.jvp(lambda x: x["a"], ({"a": 1.0},), ([1.0],)), gg.ShapeError,
         r"expected tangent 0 of the structure \{'a': \*\}, got \[\*\]"),
        (lambda: gg.vjp(lambda x: {"y": x}, np.ones(3))[1]({"y": np.ones(2)}), gg.ShapeError,
         r"vjp: expected a gradient at \['y'\] of shape \(3,\), got \(2,\)"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_an_argument_cannot_be_changed_by_the_function():
    def f(x):
        x += 1
        return x.sum()

    x = np.ones(2)
    with pytest.raises(gg.GradientError, match="in place"):
        gg.grad(f)(x)
    close(x, [1, 1])
