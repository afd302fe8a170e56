"""Zeros by choice stay zero behind any rule; zeros that are values are numbers."""

import numpy as np
import optable
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpugrad as gg
from gpugrad.engine import forward, support
from gpugrad.engine.op import TABLE

X = np.array([0.0, 1.0, 4.0])


def guarded(x):
    return gg.where(x > 0, gg.sqrt(x), 0.0)


CHOICES = {
    "where": guarded,
    "where, other branch": lambda x: gg.where(x <= 0, 0.0, gg.sqrt(x)),
    "product behind the choice": lambda x: gg.where(x > 0, x * gg.log(x), 0.0),
    "index": lambda x: gg.sqrt(x)[1:],
    "index array": lambda x: gg.sqrt(x)[np.array([1, 2, 1])],
    "mask": lambda x: gg.sqrt(x)[np.array([False, True, True])],
    "element": lambda x: gg.sqrt(x)[1] + gg.sqrt(x)[2],
    "split": lambda x: gg.split(gg.sqrt(x), (1,))[1],
    "largest": lambda x: gg.sqrt(x).max(),
    "reshape": lambda x: gg.where(x > 0, gg.sqrt(x).reshape(3, 1)[:, 0], 0.0),
    "transpose": lambda x: gg.where(x > 0, gg.sqrt(x[None]).T[:, 0], 0.0),
    "broadcast": lambda x: gg.where(
        (x > 0)[:, None], gg.broadcast_to(gg.sqrt(x)[:, None], (3, 2)), 0.0
    ),
    "stack": lambda x: gg.stack([gg.sqrt(x), x])[:, 1:],
    "concat": lambda x: gg.concat([gg.sqrt(x), x[1:]])[1:],
    "sum": lambda x: gg.where(x > 0, gg.sqrt(x[:, None]).sum(axis=1), 0.0),
    "cumsum": lambda x: gg.flip(gg.cumsum(gg.flip(gg.sqrt(x))))[1:],
    "norm": lambda x: gg.where(x > 0, gg.linalg.norm(x[:, None] * x[:, None], axis=1), 0.0),
    "std": lambda x: gg.where(x > 0, gg.std(gg.stack([x, 3 * x]), axis=0), 0.0),
    "maximum": lambda x: gg.maximum(gg.sqrt(x), 0.5),
    "clip": lambda x: gg.clip(gg.log(x + 0.0), -1.0, None),
    "nan_to_num": lambda x: gg.nan_to_num(gg.log(x), neginf=0.0, posinf=0.0),
    "tril": lambda x: gg.triu(gg.broadcast_to(gg.sqrt(x), (3, 3)), 1),
    "two choices": lambda x: gg.where(x > 0, gg.sqrt(x), 0.0) + gg.sqrt(x)[1:].sum(),
    "used twice": lambda x: (lambda s: gg.where(x > 0, s, 0.0) * gg.where(x > 0, s, 1.0))(
        gg.sqrt(x)
    ),
    "in front of the function": lambda x: gg.sqrt(gg.where(x > 0, x, 0.0))[1:],
}


@pytest.fixture(autouse=True)
def _quiet():
    with np.errstate(all="ignore"):
        yield


def sent(device, array):
    return gg.tensor(array, device=device).data


# The functions of CHOICES and FILLED, each of which may be the one that runs again.
FUNCTIONS = (
    "sqrt where log split broadcast_to stack concat cumsum flip std maximum clip nan_to_num triu "
    "tril pad diag diagflat index_update"
).split()


@pytest.fixture(params=["plain", "in checkpoints"])
def way(request, monkeypatch):
    """As it is written, or with each function in a checkpoint of its own."""
    if request.param != "plain":
        for module, names in ((gg, FUNCTIONS), (gg.linalg, ["norm"])):
            for name in names:
                monkeypatch.setattr(module, name, gg.checkpoint(getattr(module, name)))
    return request.param


@pytest.mark.parametrize("name", CHOICES)
def test_what_was_not_chosen_is_zero_in_every_order(device, name, way):
    f = CHOICES[name]
    total = lambda x: f(x).sum()  # noqa: E731
    x = sent(device, X)

    def second(x):
        return gg.grad(total)(x).sum()

    first = gg.grad(total)(x)
    for derivative in (first, gg.grad(second)(x), gg.grad(lambda x: gg.grad(second)(x).sum())(x)):
        found = gg.backend.to_numpy(derivative)
        assert np.isfinite(found).all(), found
        assert found[0] == 0


@pytest.mark.parametrize("mode", ["reverse", "forward"])
@pytest.mark.parametrize("name", CHOICES)
def test_jacobians_are_finite_where_only_an_element_was_asked_for(device, name, mode, way):
    found = gg.jacobian(lambda x: CHOICES[name](x).reshape(-1), mode=mode)(sent(device, X))
    found = gg.backend.to_numpy(found)
    assert np.isfinite(found).all(), found
    assert (found[:, 0] == 0).all()


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_rows_of_a_jacobian_are_of_one_element_each(device, mode, way):
    found = gg.jacobian(gg.sqrt, mode=mode)(sent(device, X))
    expected = np.diag([np.inf, 0.5, 0.25])
    np.testing.assert_array_equal(gg.backend.to_numpy(found), expected)


def test_a_zero_that_is_a_value_is_a_number(device, way):
    x = sent(device, X)
    assert gg.grad(lambda x: gg.sqrt(x).sum())(x)[0] == np.inf
    assert np.isnan(float(gg.grad(lambda x: (gg.sqrt(x) ** 2).sum())(x)[0]))
    _, pull = gg.vjp(gg.sqrt, x)
    (d,) = pull(sent(device, [0.0, 1.0, 1.0]))  # the user's own zero
    assert np.isnan(float(d[0]))


def test_a_sum_is_zero_by_choice_only_where_both_terms_are(device, way):
    x = sent(device, X)

    def f(x):
        s = gg.sqrt(x)
        return gg.where(x > 0, s, 0.0).sum() + (s * 0.0).sum()

    assert np.isnan(float(gg.grad(f)(x)[0]))  # the second term asks for 0 * inf


def test_a_parent_that_comes_twice(device, way):
    x = sent(device, X)

    def f(x):
        s = gg.sqrt(x)
        return gg.where(x > 0, s, s).sum()  # every element is chosen, by one or the other

    assert gg.grad(f)(x)[0] == np.inf


def test_a_hook_may_fill_what_was_not_chosen(device):
    x = gg.tensor(X, device=device, requires_grad=True)
    s = gg.sqrt(x)
    s.register_hook(lambda g: None)
    gg.where(x > 0, s, 0.0).sum().backward()
    assert x.grad.numpy()[0] == 0  # a hook that only looks leaves it as it was
    x = gg.tensor(X, device=device, requires_grad=True)
    s = gg.sqrt(x)
    s.register_hook(lambda g: g + 1)
    gg.where(x > 0, s, 0.0).sum().backward()
    assert x.grad.numpy()[0] == np.inf


def test_an_output_of_a_checkpoint_that_nothing_uses_is_not_chosen(device):
    both = gg.checkpoint(lambda x: (gg.sqrt(x), x * x, gg.ones_like(x.detach()) * 0))
    x = sent(device, X)
    for f in (lambda x: both(x)[1].sum(), lambda x: (both(x)[1] + gg.sqrt(both(x)[2])).sum()):
        np.testing.assert_array_equal(gg.backend.to_numpy(gg.grad(f)(x)), 2 * X)
        _, tangent = gg.jvp(f, (x,), (sent(device, np.ones(3)),))
        assert float(tangent) == 10


def test_no_mask_is_made_where_no_rule_asks(monkeypatch):
    from gpugrad.engine.support import Support

    monkeypatch.setattr(Support, "mask", lambda self: pytest.fail("a mask was made"))
    w = gg.tensor(np.ones((3, 3)), requires_grad=True)
    x = gg.tensor(np.ones((4, 3)), requires_grad=True)
    y = gg.nn.functional.relu(x @ w) @ w
    (2 * gg.maximum(y, 0.5)[1:] + x[1:]).sum().backward()
    gg.maximum(gg.checkpoint(lambda x: 2 * gg.maximum(x, 0.1))(x), 0.5).sum().backward()
    with pytest.raises(pytest.fail.Exception):
        gg.where(x > 0, gg.sqrt(x), 0.0).sum().backward()


def test_supports_come_from_thousands_of_others(device):
    x = gg.tensor(X, device=device, requires_grad=True)
    y = gg.sqrt(x)
    for _ in range(3000):
        y = gg.where(x > 0, y + 1.0, 0.0)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, 0.5, 0.25])


def test_slices_of_a_long_loop_are_joined_in_place(device):
    n = 1000
    x = gg.tensor(np.arange(float(n)), device=device, requires_grad=True)
    y = gg.sqrt(x)
    sum(y[i] for i in range(1, n)).backward()
    assert x.grad.numpy()[0] == 0
    np.testing.assert_allclose(x.grad.numpy()[1:], 0.5 / np.sqrt(np.arange(1, n)), rtol=1e-6)


def test_masks_of_a_loop_are_computed_once_for_all_of_its_steps(monkeypatch):
    made = []
    pull = support.pull_back
    monkeypatch.setattr(support, "pull_back", lambda *given: made.append(1) or pull(*given))

    def count(steps):
        def run(x):
            y, z, found = x[0], x[1], []
            for _ in range(steps):
                y, z = y + 0.1 * z, z - x[2] * gg.sin(y)
                found.append(y)
            return gg.stack([*found, gg.sqrt(x[3])])  # masked, as its slope is infinite

        made.clear()
        gg.jacobian(run, mode="reverse")(np.array([1.0, 0.5, 0.25, 0.0]))
        return len(made)

    assert 0 < count(40) <= 2.2 * count(20)


FILLED = {
    "pad": lambda x: gg.pad(x, (1, 0)),
    "pad, constant mode": lambda x: gg.pad(x, (1, 1), mode="constant"),
    "diagonal": gg.diag,
    "diagonal, flat": lambda x: gg.diagflat(x[1:]),
    "triangle": lambda x: gg.tril(gg.broadcast_to(x[1:], (2, 2))),
    "concat": lambda x: gg.concat([x[1:], x[1:] * 0 + 1, gg.zeros_like(x.detach())]),
    "where": lambda x: gg.where(x > 0, x, 0.0),
    "assignment": lambda x: gg.index_update(gg.zeros_like(x.detach()), slice(1, 3), x[1:]),
}


@pytest.mark.parametrize("name", FILLED)
def test_a_zero_that_is_filled_in_does_not_move(device, name, way):
    """In forward mode: such an element is a constant, whatever the slope behind it."""
    x = sent(device, X + (name in ("pad", "pad, constant mode", "diagonal")))
    _, tangent = gg.jvp(lambda x: gg.sqrt(FILLED[name](x)), (x,), (sent(device, np.ones(3)),))
    assert np.isfinite(gg.backend.to_numpy(tangent)).all(), tangent


@pytest.mark.parametrize("name", [n for n, op in TABLE.items() if op.moves])
def test_an_op_that_fills_in_zeros_says_so(name):
    op = TABLE[name]
    zeros = False
    for sample in optable.samples(op):
        tensors = [
            gg.ones_like(tensor) if tensor.dtype.kind == "f" else tensor
            for tensor in optable.tensors_for(op, sample, requires_grad=False)
        ]
        results = optable.outputs_of(optable.apply(op, sample, tensors))
        zeros = zeros or any((y.numpy() == 0).any() for y in results)
    assert not zeros or op.fills or op.chooses


@pytest.mark.parametrize("name", [n for n, op in TABLE.items() if op.moves])
def test_a_mask_moves_as_a_gradient_does(name):
    """The coefficients of an op that moves have one sign: no elements of a mask cancel."""
    op = TABLE[name]
    assert op.kind == "linear" or op.outputs
    for sample in optable.samples(op):
        tensors = optable.tensors_for(op, sample, dtype=np.float32)
        leaves = [tensor for tensor in tensors if tensor.requires_grad]
        signs = set()
        for y in optable.outputs_of(optable.apply(op, sample, tensors)):
            for index in np.ndindex(*y.shape):
                seed = np.zeros(y.shape, y.dtype)
                seed[index] = 1
                found = gg.gradients(y, leaves, seed, allow_unused=True, retain_graph=True)
                signs.update(*(np.sign(d.numpy()).ravel() for d in found if d is not None))
        assert not {-1, 1} <= signs


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_a_mask_that_was_asked_for_is_not_joined_by_others(mode):
    def f(x):
        y = x * x
        return (y * y).sum() * x[1:].sum()

    x = np.array([0.5, 1.0, 2.0])
    expected = [[9.0, 0.5, 0.5], [0.5, 44.0, 36.0], [0.5, 36.0, 208.0]]
    np.testing.assert_allclose(gg.hessian(f, mode=mode)(x), expected)


# Steps of random programs, each a function of arrays of four elements.
STEPS = (
    lambda a, b: a * b,
    lambda a, b: a + b,
    lambda a, b: gg.tanh(a),
    lambda a, b: a / (1.5 + b * b),
    lambda a, b: gg.where(a > b, a, b * b),
    lambda a, b: gg.maximum(a, 0.3 * b),
    lambda a, b: gg.clip(a, -0.5, 0.9),
    lambda a, b: gg.concat([a[1:], b[:1]]),
    lambda a, b: a[np.array([2, 0, 0, 3])] * b[::-1],
    lambda a, b: a * b.sum(),
    lambda a, b: gg.broadcast_to(a[1:3].reshape(2, 1), (2, 2)).reshape(4) - b,
    lambda a, b: gg.cumsum(a) * 0.5,
    lambda a, b: gg.stack([a, b]).max(axis=0),
    lambda a, b: gg.split(a, (1,))[1].sum() * b,
    lambda a, b: gg.linalg.norm(gg.stack([a, b + 2.0]), axis=0),
    lambda a, b: gg.softmax(a) * b,
    lambda a, b: gg.checkpoint(lambda a: gg.where(a > b, a * b, b))(a),
)


@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)), max_size=9),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_where_all_is_finite_a_mask_changes_nothing(program, seed):
    """A support that is too small would lose a part of a gradient."""
    x = np.random.default_rng(seed).normal(size=4)

    def f(x):
        values = [x, x * x]
        for step, a, b in program:
            step = STEPS[step % len(STEPS)]
            values.append(step(values[a % len(values)], values[-1 - b % len(values)]))
        return values[-1]

    def derivatives():
        yield gg.jacobian(f, mode="reverse")(x)
        yield gg.jacobian(f, mode="forward")(x)
        total = gg.grad(lambda x: (f(x)[1:] * gg.where(x[1:] > 0, f(x)[1:], 1.0)).sum())
        yield gg.jacobian(total, mode="reverse")(x)
        yield gg.jacobian(total, mode="forward")(x)

    masked = list(derivatives())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(support, "asks", lambda node, index: False)
        patch.setattr(forward, "asks", lambda node, index: False)
        plain = list(derivatives())
    for found, expected in zip(masked, plain, strict=True):
        np.testing.assert_array_equal(found, expected)
