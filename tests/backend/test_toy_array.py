"""An array type from outside the package differentiates: `toy_array.Toy`, registered there."""

import numpy as np
import optable
import pytest
from toy_array import Toy

import gpugrad as gg
from gpugrad.backend import device_of, to_numpy
from gpugrad.engine import forward
from gpugrad.errors import DeviceError, DTypeError, GradientError
from gpugrad.tensor import GRAPH_MODE, Tensor


def plain(value):
    return value


def results(op, sample, box):
    """An op's outputs, their gradients twice accumulated, a second derivative and a tangent."""
    arrays = optable.arrays_for(op, sample)
    tensors = [gg.tensor(box(a), requires_grad=a.dtype.kind == "f") for a in arrays]
    outputs = optable.outputs_of(optable.apply(op, sample, tensors))
    made = list(outputs)
    if not op.differentiable:
        return made
    weights = [Tensor(box(to_numpy(weight.data))) for weight in optable.weights_for(outputs)]
    loss = optable.scalar(outputs, weights)
    leaves = [t for t in tensors if t.requires_grad]
    loss.backward(retain_graph=True)
    loss.backward(retain_graph=True)
    made += [leaf.grad for leaf in leaves]
    slopes = gg.gradients(loss, leaves, create_graph=True)
    made += slopes
    total = sum((slope * slope).sum() for slope in slopes)
    if total.requires_grad:
        seconds = gg.gradients(total, leaves, retain_graph=True, allow_unused=True)
        made += [second for second in seconds if second is not None]
    directions = {
        leaf._node: Tensor(box(np.cos(np.arange(leaf.size)).reshape(leaf.shape))) for leaf in leaves
    }
    return made + [t for t in forward.push(directions, [loss._node], GRAPH_MODE) if t is not None]


@pytest.mark.parametrize(("op", "sample"), optable.cases(), ids=optable.case_id)
def test_every_op_computes_and_differentiates(op, sample):
    got, wanted = results(op, sample, Toy), results(op, sample, plain)
    for one, other in zip(got, wanted, strict=True):
        assert type(one.data) is Toy
        assert one.dtype == other.dtype
        np.testing.assert_allclose(
            one.detach().numpy(), other.detach().numpy(), rtol=1e-9, atol=1e-12
        )


def toy(*values):
    return gg.tensor(Toy(np.array(values)), requires_grad=True)


def f(x):
    return (gg.sin(x) * x[::2].sum() + x**2).sum() / 3.0


X = np.array([0.5, -1.0, 2.0, 0.25])
TRANSFORMS = {
    "grad": lambda x, v: gg.grad(f)(x),
    "value_and_grad": lambda x, v: gg.value_and_grad(f)(x)[1],
    "grad of grad": lambda x, v: gg.grad(lambda x: gg.grad(f)(x).sum())(x),
    "jvp": lambda x, v: gg.jvp(f, (x,), (v,))[1],
    "vjp": lambda x, v: gg.vjp(lambda x: gg.sin(x) * x, x)[1](v),
    "hvp": lambda x, v: gg.hvp(f, x, v),
    "jacobian": lambda x, v: gg.jacobian(lambda x: gg.sin(x) * x.sum())(x),
    "hessian": lambda x, v: gg.hessian(f)(x),
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
@pytest.mark.parametrize("of", [gg.tensor, lambda array: array], ids=["tensors", "arrays"])
def test_function_transforms(transform, of):
    def raw(result):
        result = result[0] if isinstance(result, tuple) else result
        return result.detach().data if isinstance(result, Tensor) else result

    v = np.array([1.0, 0.5, -0.5, 2.0])
    got = raw(transform(of(Toy(X)), of(Toy(v))))
    assert type(got) is Toy
    np.testing.assert_allclose(got.values, raw(transform(of(X), of(v))), rtol=1e-12)


def test_gradients_of_two_passes_add_up_in_memory_of_their_own():
    a, b = toy(1.0, 2.0), toy(3.0, 4.0)
    for _ in range(2):
        (a + b).sum().backward()
    np.testing.assert_array_equal(a.grad.data.values, [2.0, 2.0])
    np.testing.assert_array_equal(b.grad.data.values, [2.0, 2.0])
    assert not np.shares_memory(a.grad.data.values, b.grad.data.values)


def test_a_change_in_place_is_found_in_views_as_well():
    x = toy(1.0, 2.0, 3.0)
    y = gg.exp(x)
    view = y.detach()[1:]
    loss = (y * y).sum()
    view[0] = 0.0
    with pytest.raises(GradientError, match="multiply needs .* changed in place"):
        loss.backward()


def test_lists_numbers_and_indices_go_along():
    x = toy(1.0, 2.0, 3.0)
    y = (x * [1.0, 2.0, 3.0] + 1)[[2, 0, 0]]
    y = y.at[np.array([1, 1])].set([5.0, 6.0])
    y.backward([1.0, 10.0, 100.0])
    np.testing.assert_array_equal(y.detach().numpy(), [10.0, 6.0, 2.0])
    np.testing.assert_array_equal(x.grad.data.values, [100.0, 0.0, 3.0])
    made = (gg.zeros_like(x), gg.full_like(x, 2.0), gg.empty_like(x), x.detach() > 1)
    assert all(type(t.data) is Toy for t in made)


@pytest.mark.parametrize(
    "mixed",
    [
        lambda x, y: x * y,
        lambda x, y: y * gg.tensor(x.data),
        lambda x, y: gg.where(x > 0, x, y),
        lambda x, y: gg.concat([x, y]),
    ],
)
def test_mixing_it_with_numpy_is_an_error(mixed):
    y = np.ones(2)
    with pytest.raises(DeviceError, match=r"arrays of two types, .*, which cannot be mixed"):
        mixed(toy(1.0, 2.0), y)


def test_numbers_of_numpy_are_no_arrays():
    x = toy(1.0, 2.0)
    (x * np.float64(3.0)).sum().backward()
    np.testing.assert_array_equal(x.grad.data.values, [3.0, 3.0])


def test_it_prints_converts_and_says_where_it_is():
    x = toy(1.0, 2.0)
    assert repr(x) == "tensor([1., 2.], dtype=float64, requires_grad=True)"
    assert x.device == device_of(x.data) == "cpu"
    assert x.to("cpu").data is x.data
    assert np.asarray(x.detach()).tolist() == x.tolist() == [1.0, 2.0]
    assert type(x.to("sim").data).__module__.startswith("gpugrad.backend.sim")


@pytest.mark.parametrize("host", [False, True])
def test_custom_ops_give_arrays_of_its_type(host):
    @gg.custom_op(host=host)
    def cube(xp, x):
        assert (type(x) is Toy) is not host
        return x * x * x

    @cube.defvjp
    def _(xp, g, y, x):
        return 3 * g * x * x

    x = toy(1.0, 2.0)
    y = cube(x)
    y.sum().backward()
    assert type(y.data) is type(x.grad.data) is Toy
    np.testing.assert_array_equal(x.grad.data.values, [3.0, 12.0])


FUNCTIONS = {
    "cross_entropy": lambda x: gg.nn.functional.cross_entropy(gg.stack([x, 2 * x]), [0, 1]),
    "linspace": lambda x: gg.linspace(x, 2 * x, 3).sum(),
    "repeat": lambda x: (gg.repeat(x, [1, 2, 0]) ** 2).sum(),
    "sort": lambda x: (gg.sort(x) * [1.0, 2.0, 3.0]).sum(),
    "quantile": lambda x: gg.quantile(x, 0.3),
    "interp": lambda x: gg.interp(x, x.detach() * 2, gg.sort(x) ** 2).sum(),
    "reflected": lambda x: (gg.pad(x, 1, mode="reflect") ** 2).sum(),
    "checkpoint": lambda x: gg.checkpoint(lambda y: gg.sin(y).sum())(x),
}


@pytest.mark.parametrize("block", [gg.detect_anomaly, gg.debug_mode])
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_composed_functions_and_those_who_watch(function, block):
    x, plain_x = toy(0.5, 1.5, 2.0), gg.tensor(np.array([0.5, 1.5, 2.0]), requires_grad=True)
    with block():
        for one in (x, plain_x):
            function(one).backward()
    assert type(x.grad.data) is Toy
    np.testing.assert_allclose(x.grad.data.values, plain_x.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("make", [gg.optim.SGD, gg.optim.Adam])
def test_optimizers_update_it(make):
    def trained(box):
        w = gg.tensor(box(np.array([1.0, -2.0, 3.0])), requires_grad=True)
        optimizer = make([w], lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            (w * w).sum().backward()
            gg.optim.clip_grad_norm_([w], 1.0)
            optimizer.step()
        return to_numpy(w.data)

    np.testing.assert_allclose(trained(Toy), trained(plain), rtol=1e-12)


def test_a_type_that_is_not_registered_is_named():
    class Unknown:
        pass

    with pytest.raises(DTypeError, match="got .*Unknown; .* gpugrad.backend.register"):
        gg.backend.namespace_of(Unknown())


def test_a_type_that_numpy_cannot_read_says_what_it_lacks(monkeypatch):
    monkeypatch.setattr(
        type(gg.backend.namespace_of(Toy(X))), "to_numpy", gg.backend.Namespace.to_numpy
    )
    with pytest.raises(DTypeError, match="Toy does not become a NumPy array: give it .*__array__"):
        toy(1.0).detach().numpy()
