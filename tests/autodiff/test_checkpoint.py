"""checkpoint: the same to the bit, less memory, parameters, random numbers, modes, errors."""

import gc
import math
import tracemalloc
import weakref

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.backend.device import to_numpy


def tensor(device, values, **kwargs):
    return gg.tensor(device.send(np.asarray(values, dtype=np.float64)), **kwargs)


def values(t):
    return to_numpy(t.detach().data)


def same(a, b):
    np.testing.assert_array_equal(values(a), values(b))


@pytest.fixture
def layers(device, rng):
    return [
        (
            tensor(device, rng.normal(size=(4, 4)) / 2, requires_grad=True),
            tensor(device, rng.normal(size=4), requires_grad=True),
        )
        for _ in range(3)
    ]


def block(layers, x):
    for weight, bias in layers:
        x = gg.tanh(x @ weight + bias)
    return x


def gradients_of(f, layers, x):
    leaves = [x, *(leaf for pair in layers for leaf in pair)]
    for leaf in leaves:
        leaf.zero_grad()
    result = f(x)
    (result * result).sum().backward()
    return result, [leaf.grad for leaf in leaves]


def test_results_and_gradients_are_the_same_to_the_bit(device, layers, rng):
    x = tensor(device, rng.normal(size=(5, 4)), requires_grad=True)
    plain, expected = gradients_of(lambda x: block(layers, x), layers, x)
    kept, got = gradients_of(gg.checkpoint(lambda x: block(layers, x)), layers, x)
    same(plain, kept)
    for a, b in zip(expected, got, strict=True):
        same(a, b)


def test_parameters_get_gradients_where_the_input_needs_none(device, layers, rng):
    x = tensor(device, rng.normal(size=(5, 4)))
    out = gg.checkpoint(lambda x: block(layers, x))(x)
    out.sum().backward()
    got = [leaf.grad for pair in layers for leaf in pair]
    for pair in layers:
        for leaf in pair:
            leaf.zero_grad()
    block(layers, x).sum().backward()
    for a, leaf in zip(got, (leaf for pair in layers for leaf in pair), strict=True):
        same(a, leaf.grad)


def test_a_module_is_a_function_too(device):
    with gg.device(device):
        model = gg.nn.MLP(3, [8, 2])
    x = gg.ones((4, 3))
    gg.checkpoint(model)(x).sum().backward()
    got = [p.grad for p in model.parameters()]
    model.zero_grad()
    model(x).sum().backward()
    for a, p in zip(got, model.parameters(), strict=True):
        same(a, p.grad)


def test_structures_keywords_and_several_outputs(device):
    x = tensor(device, [1.0, 2.0], requires_grad=True)
    y = tensor(device, [3.0, 4.0], requires_grad=True)

    @gg.checkpoint
    def f(pair, *, scale, note):
        assert note == "n"
        a, b = pair["a"], pair["b"]
        return {"sum": a * scale + b, "product": a * b, "argmax": a.argmax(), "n": 3, "b": b}

    out = f({"a": x, "b": y}, scale=2.0, note="n")
    assert out["n"] == 3
    assert not out["argmax"].requires_grad
    (out["sum"].sum() + out["b"].sum()).backward()  # nothing comes from "product"
    np.testing.assert_array_equal(values(x.grad), [2, 2])
    np.testing.assert_array_equal(values(y.grad), [2, 2])
    assert f.__name__ == "f"


def test_an_input_that_the_result_does_not_depend_on(device):
    """It has no gradient, as without the checkpoint."""
    x = tensor(device, [1.0, 2.0], requires_grad=True)
    y = tensor(device, [3.0, 4.0], requires_grad=True)
    f = gg.checkpoint(lambda x, y: x * 2)
    f(x, y).sum().backward()
    np.testing.assert_array_equal(values(x.grad), [2, 2])
    assert y.grad is None
    with pytest.raises(gg.GradientError, match="do not depend on input 1"):
        gg.gradients(f(x, y).sum(), (x, y))
    np.testing.assert_array_equal(gg.grad(lambda y: (f(x, y) + y).sum())(y).numpy(), [1, 1])


def test_what_is_not_recorded_passes_through(device):
    f = gg.checkpoint(lambda x: x * 2)
    assert not f(tensor(device, [1.0])).requires_grad
    x = tensor(device, [1.0], requires_grad=True)
    with gg.no_grad():
        assert not f(x).requires_grad


# ---------------------------------------------------------------- random numbers


@pytest.mark.parametrize("own", [False, True])
def test_the_same_random_numbers(device, own):
    """From the default generator, and from one that the function finds elsewhere."""
    generator = gg.random.Generator(5) if own else None
    chosen = generator or gg.random.default_generator()
    w = tensor(device, np.ones((6, 6)), requires_grad=True)
    x = tensor(device, np.arange(12.0).reshape(2, 6), requires_grad=True)

    def f(x):
        noise = gg.random.normal(size=(2, 6), dtype="float64", generator=generator)
        return gg.tanh((x * noise) @ w) * gg.random.bernoulli(0.5, (2, 6), generator=generator)

    results = []
    for g in (f, gg.checkpoint(f), gg.checkpoint(lambda x: gg.checkpoint(f)(x))):
        chosen.set_state((9, 0, 0))
        w.zero_grad()
        x.zero_grad()
        out = g(x)
        after = chosen.get_state()
        gg.random.uniform(size=3, generator=generator)  # drawn between the passes
        between = chosen.get_state()
        out.sum().backward()
        assert chosen.get_state() == between  # the second run leaves no trace
        results.append((out, after, x.grad, w.grad))
    for out, after, gx, gw in results[1:]:
        same(out, results[0][0])
        assert after == results[0][1]
        same(gx, results[0][2])
        same(gw, results[0][3])


def test_dropout_with_a_generator_of_its_own(device):
    layer = gg.nn.Dropout(0.5, generator=gg.random.Generator(3))
    x = tensor(device, np.ones(100), requires_grad=True)
    out = gg.checkpoint(layer)(x)
    out.sum().backward()
    same(out, x.grad)  # each element is the mask itself
    assert 0 < int((values(out) == 0).sum()) < 100


# ---------------------------------------------------------------- higher order, forward mode


def test_derivatives_of_any_order(device):
    f = lambda x: gg.sin(x) * x  # noqa: E731
    c = gg.checkpoint(f)
    x = np.float64(0.7)
    for depth in (1, 2, 3):
        a, b = f, c
        for _ in range(depth):
            a, b = gg.grad(a), gg.grad(b)
        assert float(a(x)) == pytest.approx(float(b(x)), rel=1e-12)


def test_numbers_in_the_second_run_have_the_dtype_of_the_first(device):
    """Also where the gradient is recorded: rules compute with numbers in another way."""
    x = gg.tensor([1.0, 2.0], device=device, dtype="float32", requires_grad=True)
    f = gg.checkpoint(lambda x: x * gg.exp(2.0))
    (slope,) = gg.gradients(f(x).sum(), (x,), create_graph=True)
    np.testing.assert_allclose(values(slope), np.exp([2.0, 2.0]), rtol=1e-6)


def test_second_order_reaches_parameters(device):
    w = tensor(device, [1.0, 2.0], requires_grad=True)
    x = tensor(device, [3.0, 4.0], requires_grad=True)
    grads = []
    for f in (lambda x: (w * x) ** 3, gg.checkpoint(lambda x: (w * x) ** 3)):
        g = gg.gradients(f(x).sum(), x, create_graph=True)
        grads.append(gg.gradients((g * g).sum(), (w, x)))
    for a, b in zip(*grads, strict=True):
        np.testing.assert_allclose(values(a), values(b), rtol=1e-12)


def test_forward_mode(device):
    w = tensor(device, [1.0, 2.0], requires_grad=True)
    x, v = device.send(np.array([3.0, 4.0])), device.send(np.array([1.0, -1.0]))

    def f(x):
        return gg.exp(x * 0.1) * w, x.sum(), w * 2

    out, tangent = gg.jvp(f, (x,), (v,))
    out2, tangent2 = gg.jvp(gg.checkpoint(f), (x,), (v,))
    for a, b in zip((*out, *tangent), (*out2, *tangent2), strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-12)
    # And forward over reverse.
    h = gg.hvp(lambda x: gg.checkpoint(f)(x)[0].sum(), x, v)
    expected = gg.hvp(lambda x: f(x)[0].sum(), x, v)
    np.testing.assert_allclose(to_numpy(h), to_numpy(expected), rtol=1e-12)
    _, slope = gg.jvp(gg.grad(lambda x: gg.checkpoint(f)(x)[0].sum()), (x,), (v,))
    np.testing.assert_allclose(to_numpy(slope), to_numpy(expected), rtol=1e-12)


def test_a_recorded_tensor_found_elsewhere_keeps_its_graph(device):
    w = tensor(device, [1.0, 2.0], requires_grad=True)
    x = tensor(device, [3.0, 4.0], requires_grad=True)
    h = gg.exp(w)  # computed outside, used inside, twice
    f = gg.checkpoint(lambda x: x * h)
    (f(x) + f(x * 2)).sum().backward()
    np.testing.assert_allclose(values(w.grad), np.exp([1.0, 2.0]) * [9, 12])
    np.testing.assert_allclose(values(x.grad), np.exp([1.0, 2.0]) * 3)


def test_checkpoints_in_checkpoints(device, layers, rng):
    x = tensor(device, rng.normal(size=(5, 4)), requires_grad=True)

    def nested(x):
        for pair in layers:
            x = gg.checkpoint(lambda x, pair=pair: block([pair], x))(x)
        return x

    _, expected = gradients_of(lambda x: block(layers, x), layers, x)
    _, got = gradients_of(gg.checkpoint(nested), layers, x)
    for a, b in zip(expected, got, strict=True):
        same(a, b)


@pytest.mark.parametrize("create_graph", [False, True])
def test_hooks_of_what_the_function_finds_are_called_once(device, create_graph):
    def gradients(wrap):
        seen = []

        def hook(g):
            seen.append(values(g).tolist())
            return g * 2

        w = tensor(device, [1.0, 2.0], requires_grad=True)
        x = tensor(device, [3.0, 4.0], requires_grad=True)
        h = w * w
        for t in (w, x, h):
            t.register_hook(hook)
        out = wrap(lambda x: x * w * h)(x)
        out.sum().backward(create_graph=create_graph)
        return seen, w.grad, x.grad

    (seen, *plain), (again, *kept) = gradients(lambda f: f), gradients(gg.checkpoint)
    assert sorted(seen) == sorted(again)
    for a, b in zip(plain, kept, strict=True):
        np.testing.assert_allclose(values(a), values(b), rtol=1e-12)


def test_hooks_inside_are_called_in_the_second_run(device):
    x = tensor(device, [3.0, 4.0], requires_grad=True)

    def f(x):
        y = x * 2
        y.register_hook(lambda g: g * 10)
        return y * 3

    gg.checkpoint(f)(x).sum().backward()
    np.testing.assert_array_equal(values(x.grad), [60, 60])


# ---------------------------------------------------------------- memory


def retained(f, x):
    y = f(x)
    y.sum().backward(retain_graph=True)
    return x.grad


def delivered(f, x):
    f(x).sum().backward()
    return x.grad


WAYS = {
    "backward": delivered,
    "retain_graph": retained,
    "gradients of some": lambda f, x: gg.gradients((f(x) * x).sum(), x),
    "forward": lambda f, x: gg.jvp(f, (x.data,), (gg.ones_like(x.detach()).data,))[1],
}


def peak(way, depth, segment, width=4096):
    """The most memory that a chain of layers took, forward and backward, in arrays of its width."""
    x = gg.tensor(np.full(width, 0.5), requires_grad=True)

    def piece(x, n):
        for _ in range(n // 2):
            x = gg.sin(gg.where(x > 0.1, x, 0.0))
        return x

    def f(x):
        for _ in range(depth // segment):
            x = gg.checkpoint(piece)(x, segment) if segment < depth else piece(x, segment)
        return x

    gc.collect()
    tracemalloc.start()
    try:
        d = WAYS[way](f, x)
        return tracemalloc.get_traced_memory()[1] / (8 * width), np.asarray(d)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("way", WAYS)
def test_memory_grows_with_the_square_root_of_depth(way):
    peak(way, 16, 4)  # imports and caches
    plain, expected = peak(way, 256, 256)
    whole, got = peak(way, 256, 16)
    quarter, _ = peak(way, 64, 8)
    np.testing.assert_array_equal(expected, got)
    assert plain > 128
    most = 5 if way == "forward" else 3  # which has a tangent beside each value
    assert whole < most * math.sqrt(256)
    assert whole < 2.5 * quarter  # four times as deep, twice the memory


def test_a_freed_graph_lets_go_of_the_arguments():
    x = gg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    kept = weakref.ref(y.data)
    out = gg.checkpoint(gg.sin)(y)
    del y
    assert kept() is not None
    out.backward([1.0, 1.0])
    assert kept() is None


def test_no_cycles_are_left(device, layers, rng):
    x = tensor(device, rng.normal(size=(5, 4)), requires_grad=True)
    f = gg.checkpoint(lambda x: block(layers, x))
    f(x).sum().backward()
    gc.collect()
    gc.disable()
    try:
        f(x).sum().backward()
        assert gc.collect() == 0
    finally:
        gc.enable()


# ---------------------------------------------------------------- errors and modes


def test_modes_and_generators_are_as_before_after_an_exception(device):
    runs = []

    def fails(x):
        runs.append(1)
        y = x * gg.random.uniform(size=2, dtype="float64")
        if len(runs) == 2:
            raise KeyError("second run")
        return y

    x = tensor(device, [1.0, 2.0], requires_grad=True)
    out = gg.checkpoint(fails)(x)
    state = gg.random.get_state()
    with gg.no_grad(), pytest.raises(KeyError, match="second run"):
        out.backward([1.0, 1.0])
    assert gg.is_grad_enabled()
    assert gg.random.get_state() == state
    with gg.no_grad():
        runs.append(1)

        def at_once(x):
            raise KeyError("first run")

        with pytest.raises(KeyError, match="first run"):
            gg.checkpoint(at_once)(x)
        assert not gg.is_grad_enabled()


def test_an_argument_changed_in_place_raises(device):
    x = tensor(device, [1.0, 2.0], requires_grad=True)
    c = tensor(device, [1.0, 2.0])
    w = tensor(device, [1.0, 2.0], requires_grad=True)
    for changed in (x, c, w):
        out = gg.checkpoint(lambda x, c: x * c * w)(x, c)
        with gg.no_grad():
            changed += 1
        with pytest.raises(
            gg.GradientError, match="checkpoint needs its argument 'arrays'.* changed"
        ):
            out.sum().backward()


def test_a_parameter_that_no_rule_needs_must_not_change_either(device):
    """The second run would compute with its new value."""
    x = tensor(device, [1.0, 2.0], requires_grad=True)
    w = tensor(device, [1.0, 2.0], requires_grad=True)
    out = gg.checkpoint(lambda x: gg.sin(x + w))(x)
    with gg.no_grad():
        w += 1
    with pytest.raises(gg.GradientError, match="changed in place"):
        out.sum().backward()


def test_a_function_that_does_something_else_raises(device):
    x = tensor(device, [1.0, 2.0], requires_grad=True)
    w = tensor(device, [1.0, 2.0], requires_grad=True)
    runs = []

    def other_shape(x):
        runs.append(1)
        return x[: len(runs)]

    def other_parameters(x):
        runs.append(1)
        return x * w if len(runs) > 1 else x

    for f in (other_shape, other_parameters):
        runs.clear()
        out = gg.checkpoint(f)(x)
        with pytest.raises(gg.GradientError, match="did something else when it ran again"):
            out.sum().backward()


def test_a_freed_graph_raises(device):
    x = tensor(device, [1.0, 2.0], requires_grad=True)
    out = gg.checkpoint(lambda x: x * x)(x).sum()
    out.backward(retain_graph=True)
    out.backward()
    np.testing.assert_array_equal(values(x.grad), [4, 8])
    with pytest.raises(gg.GradientError, match="freed"):
        out.backward()


def test_only_functions_are_checkpointed():
    text = "checkpoint: expected a function as the first argument, got Tensor"
    with pytest.raises(gg.GradientError, match=text):
        gg.checkpoint(gg.tensor(1.0))


def test_the_second_run_uses_the_device_of_the_first():
    x = gg.tensor([1.0, 2.0], device="sim", requires_grad=True)
    with gg.device("sim"):
        out = gg.checkpoint(lambda x: x * gg.ones(2) * 3)(x)
    out.sum().backward()
    np.testing.assert_array_equal(values(x.grad), [3, 3])


def test_graphs_with_checkpoints_are_drawn():
    x = gg.tensor([1.0, 2.0], requires_grad=True, name="x")
    out = gg.checkpoint(lambda x: x * x)(x).sum()
    assert "checkpoint" in str(gg.draw(out, values=True))
    assert "checkpoint" in str(gg.explain(out))


@pytest.mark.parametrize("own", [True, False])
def test_debug_mode_finds_a_generator_that_is_not_gpugrad_s(own, device):
    generator = np.random.default_rng(0)

    def noisy(x):
        noise = generator.normal(size=3) if own else np.random.normal(size=3)
        return x * gg.tensor(noise.astype("float32"), device=device)

    def quiet(x):
        return x * gg.random.normal(size=3, device=device)

    x = gg.ones(3, device=device, requires_grad=True)
    with gg.debug_mode():
        gg.checkpoint(quiet)(x).sum().backward()
        loss = gg.checkpoint(noisy)(x).sum()
        with pytest.raises(gg.GradientError, match=r"gave other values.* draw with gg\.random"):
            loss.backward()
    gg.checkpoint(noisy)(x).sum().backward()  # outside nothing is compared


PLACES = {
    "argument": lambda c, w: lambda y: c(lambda w, y: gg.sin(w * y) * w)(w, y).sum(),
    "closure": lambda c, w: lambda y: c(lambda y: gg.sin(w * y) * w)(y).sum(),
    "both, and outside": lambda c, w: lambda y: (w * c(lambda v: gg.sin(w * y) * v)(w)).sum(),
    "several results": lambda c, w: lambda y: (
        lambda a, b: (gg.sin(a) * b).sum()
    )(*c(lambda y: (w * y, w * 2))(y)),
    "one within another": lambda c, w: lambda y: c(
        lambda y: c(lambda v: gg.sin(v * w) * y)(w * y)
    )(y).sum(),
    "a derivative inside": lambda c, w: lambda y: gg.grad(
        lambda v: c(lambda v: gg.sin(v * w) * v)(v).sum()
    )(y).sum(),
    "random numbers": lambda c, w: lambda y: c(
        lambda y: gg.random.normal(size=3) * gg.sin(w) * y
    )(y).sum(),
}  # fmt: skip


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("place", PLACES)
def test_tensors_from_outside_of_vmap(place, levels, device, rng):
    """Their gradients are those without a checkpoint, of each order and without the hidden axis."""
    numbers, ys = rng.normal(size=3), rng.normal(size=(2, 4, 3)[-levels - 1 :])
    found = []
    for c in (lambda f: f, gg.checkpoint):
        gg.manual_seed(3)
        w, y = (gg.tensor(x, device=str(device), requires_grad=True) for x in (numbers, ys))
        f = PLACES[place](c, w)
        for _ in range(levels):
            f = gg.vmap(f, randomness="different")
        slopes = gg.gradients((f(y) ** 2).sum(), [w, y], create_graph=True)
        more = gg.gradients(sum((slope**2).sum() for slope in slopes), [w, y])
        found.append([one.tolist() for one in (*slopes, *more)])
    for one, other in zip(*found):
        np.testing.assert_allclose(other, one, rtol=1e-12)
