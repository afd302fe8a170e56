"""Kernels over many arrays: optimizer steps, clipping and zeros."""

import math

import numpy as np
import pytest
from gpu import launches, needs_gpu, needs_two_gpus, send

import gpugrad as gg
from gpugrad.codegen.expression import NotFusibleError
from gpugrad.kernels.multi_tensor import (
    STEP_OPTIONS,
    MultiTensor,
    tables,
    update_source,
)
from gpugrad.optim.rules import sgd

pytestmark = needs_gpu


def test_a_step_contracts_no_product_and_sum():
    """NumPy rounds both, and CPU and GPU are to have the same bits."""
    kernels = MultiTensor(np, lambda text, name, *options: options)
    assert kernels.updater(sgd, np.dtype(np.float32), 0, 1, (True, *[False] * 4)) == STEP_OPTIONS


def test_a_table_fits_into_the_arguments_of_a_kernel():
    for places in range(1, 6):
        made = tables((5,) * 1000, places, 4)
        assert all(table.record.nbytes <= 4096 - 2 * 80 for table in made)
        assert made[0].blocks == 2 * made[0].span.stop
        assert made[-1].span.stop == 1000
    assert len(tables((5,) * 85, 4, 4)) == 1  # of a model with 85 parameters, all of Adam's step


# ---------------------------------------------------------------- updates

OPTIMIZERS = {
    "sgd": (gg.optim.SGD, {"lr": 0.1}),
    "decay": (gg.optim.SGD, {"lr": 0.1, "weight_decay": 0.01}),
    "momentum": (gg.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    "dampening": (gg.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
    "nesterov": (gg.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "adam": (gg.optim.Adam, {"lr": 0.01, "eps": 1e-4}),
    "adam decay": (gg.optim.Adam, {"lr": 0.01, "eps": 1e-4, "weight_decay": 0.1}),
    "adamw": (gg.optim.AdamW, {"lr": 0.01, "eps": 1e-4}),
    "amsgrad": (gg.optim.Adam, {"lr": 0.01, "eps": 1e-4, "amsgrad": True, "maximize": True}),
    "adagrad": (gg.optim.Adagrad, {"weight_decay": 0.1, "initial_accumulator_value": 0.5}),
    "rmsprop": (gg.optim.RMSprop, {"weight_decay": 0.1, "eps": 1e-4}),
    "rmsprop all": (gg.optim.RMSprop, {"momentum": 0.5, "centered": True, "eps": 1e-2}),
    "adadelta": (gg.optim.Adadelta, {"weight_decay": 0.1, "maximize": True}),
    "adamax": (gg.optim.Adamax, {"eps": 1e-4}),
    "nadam": (gg.optim.NAdam, {"eps": 1e-4, "weight_decay": 0.1}),
    "radam": (gg.optim.RAdam, {"eps": 1e-4, "betas": (0.5, 0.7)}),  # step 2 has other numbers
    "lion": (gg.optim.Lion, {"lr": 0.01, "weight_decay": 0.1}),
    "rprop": (gg.optim.Rprop, {}),
    "asgd": (gg.optim.ASGD, {"t0": 1, "maximize": True}),
}
SHAPES = [(3,), (), (0,), (40, 60), (2048,), (2049,), (1, 5), (7, 300)]


def trained(where, name, dtype, shapes=SHAPES, steps=4, seed=0, spoil=None):
    """Parameters and state after some steps with the same gradients, on some device."""
    rng = np.random.default_rng(seed)
    make, words = OPTIMIZERS[name]
    with gg.device(where):
        params = [
            gg.tensor(rng.standard_normal(shape).astype(dtype), device=where, requires_grad=True)
            for shape in shapes
        ]
        optimizer = make(params, **words)
        for t in range(steps):
            for p in params:
                g = rng.standard_normal(p.shape).astype(dtype)
                if spoil is not None:
                    spoil(t, g)
                p.grad = gg.tensor(g, device=where)
            optimizer.step()
        state = [optimizer.state[p][key] for p in params for key in sorted(optimizer.state[p])]
        return [p.detach().numpy() for p in params], [
            value if isinstance(value, int | float) else gg.backend.to_numpy(value)
            for value in state
        ]


def assert_same(one, other):
    for a, b in zip(one[0] + one[1], other[0] + other[1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_is_that_of_the_cpu_to_the_last_bit(name, dtype):
    found, count = launches(trained, "cuda", name, dtype)
    assert count == 4
    assert_same(found, trained("cpu", name, dtype))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_half_precision_is_computed_in_float32_and_rounded_once(name, rng):
    make, words = OPTIMIZERS[name]
    p, g = (rng.standard_normal(300).astype(np.float16) for _ in range(2))
    w = gg.tensor(p, device="cuda", requires_grad=True)
    optimizer = make([w], **words)
    (group,) = optimizer.param_groups
    names = optimizer._names(group)
    state = [np.full(p.shape, optimizer._filled(group, name), np.float32) for name in names]
    clock = optimizer._start(group)
    for _ in range(3):
        w.grad = gg.tensor(g, device="cuda")
        assert launches(optimizer.step)[1] == 1
        arrays = [a.astype(np.float32) for a in (p, g, *state)]
        spare = tuple(np.empty_like(arrays[0]) for _ in range(make.scratch))
        clock, values = optimizer._advance(group, clock)
        make.rule(np, *arrays[:2], tuple(arrays[2:]), spare, *values)
        p, state = arrays[0].astype(np.float16), arrays[2:]
        np.testing.assert_array_equal(w.detach().numpy(), p)
        for key, expected in zip(names, state, strict=True):
            np.testing.assert_array_equal(optimizer.state[w][key].get(), expected)


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_special_values_go_through_a_step_as_on_the_cpu(name):
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3e38], np.float32)

    def spoil(t, g):
        g.reshape(-1)[: special.size] = special[: g.size]

    with np.errstate(all="ignore"):
        host = trained("cpu", name, np.float32, spoil=spoil)
    assert_same(trained("cuda", name, np.float32, spoil=spoil), host)


def test_many_parameters_go_in_a_few_launches():
    shapes = [(n % 7 + 1,) for n in range(200)]
    found, count = launches(trained, "cuda", "adam", np.float64, shapes, steps=2)
    assert len(tables((1,) * 200, 4, 1)) == 3
    assert count == 2 * 3
    assert_same(found, trained("cpu", "adam", np.float64, shapes, steps=2))


def leaves(where, rng, *shapes, dtype=np.float64):
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    return [gg.tensor(array, device=where, requires_grad=True) for array in arrays]


def stepped(where, change, steps=3, names=("sgd", "momentum", "adam")):
    """Parameters after steps in which ``change(t, params, optimizer)`` gives the gradients."""
    found = []
    for name in names:
        rng = np.random.default_rng(3)
        make, words = OPTIMIZERS[name]
        with gg.device(where):
            params = leaves(where, rng, (3, 4), (5,), (6, 2))
            optimizer = make(params, **words)
            for t in range(steps):
                for p in params:
                    p.grad = gg.tensor(rng.standard_normal(p.shape), device=where)
                params, optimizer = change(t, params, optimizer)
                optimizer.step()
            found += [p.detach().numpy() for p in params]
    return found


def without_a_gradient(t, params, optimizer):
    if t == 1:
        params[1].grad = None
    return params, optimizer


def others_each_time(t, params, optimizer):
    """As in a mixture of experts: in every step another has no gradient."""
    params[t % 3].grad = None
    return params, optimizer


def one_comes_late(t, params, optimizer):
    if t == 0:
        params[2].grad = None
    return params, optimizer


def momentum_goes_and_comes(t, params, optimizer):
    if type(optimizer) is gg.optim.SGD:
        optimizer.param_groups[0]["momentum"] = 0.9 if t % 2 else 0.0
    return params, optimizer


def transposed_gradient(t, params, optimizer):
    params[0]._grad = gg.Tensor(params[0].grad.data.T.copy().T)
    assert not params[0].grad.data.flags.c_contiguous
    return params, optimizer


def another_array(t, params, optimizer):
    if t == 1:
        params[0]._array = params[0]._array.copy()
    return params, optimizer


def another_state(t, params, optimizer):
    if t == 2:
        for entry in optimizer.state.values():
            for key, value in entry.items():
                if key != "step":
                    entry[key] = value * 0.5
    return params, optimizer


def loaded(t, params, optimizer):
    if t == 1:
        state = optimizer.state_dict()
        fresh = type(optimizer)(params, lr=0.5)
        fresh.load_state_dict(state)
        return params, fresh
    return params, optimizer


def another_rate(t, params, optimizer):
    optimizer.param_groups[0]["lr"] *= 0.7
    return params, optimizer


@pytest.mark.parametrize(
    "change",
    [
        without_a_gradient, others_each_time, one_comes_late, momentum_goes_and_comes,
        transposed_gradient, another_array, another_state, loaded, another_rate,
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_what_changes_between_steps_counts(change, name):
    found, count = launches(stepped, "cuda", change, 3, (name,))
    if change is another_array:
        assert count == 2  # in one step they are updated one by one
    elif change is others_each_time:
        assert 3 <= count <= 7  # parameters of different ages have launches of their own
    else:
        assert 3 <= count <= 5
    for a, b in zip(found, stepped("cpu", change, 3, (name,)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_parameters_of_other_layouts_and_shared_memory_are_updated_one_by_one(rng):
    whole = rng.standard_normal((6, 6))
    g = rng.standard_normal((6, 6))
    found = {}
    for where in ("cpu", "cuda"):
        memory = gg.Device(where).send(whole.copy())
        params = [gg.Tensor(memory[:3]), gg.Tensor(memory[2:4]), gg.Tensor(memory.copy().T)]
        params = [p.requires_grad_() for p in params]
        for p in params:
            p.grad = gg.tensor(g[: p.shape[0]], device=where)
        optimizer = gg.optim.SGD(params, lr=0.1, momentum=0.9)
        _, count = launches(optimizer.step)
        assert count == 0
        found[where] = [p.detach().numpy() for p in params]
    for a, b in zip(*found.values(), strict=True):
        np.testing.assert_array_equal(a, b)


@needs_two_gpus
def test_groups_dtypes_and_devices_have_launches_of_their_own(rng):
    params = leaves("cuda", rng, (3,), (4,)) + leaves("cuda", rng, (5,), dtype=np.float32)
    with gg.device("cuda:1"):
        params += leaves("cuda:1", rng, (2,), (6,))
    groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.5}]
    optimizer = gg.optim.SGD(groups, lr=0.1)
    before = [p.detach().numpy().copy() for p in params]
    for p in params:
        with p.device.activate():
            p.grad = gg.ones_like(p).detach()
    _, count = launches(optimizer.step)
    assert count == 4
    for p, old, lr in zip(params, before, [0.1, 0.5, 0.5, 0.5, 0.5], strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), old - p.dtype.type(lr))


@needs_two_gpus
def test_a_gradient_on_another_device_is_refused_as_it_was():
    w = gg.ones(3, device="cuda", requires_grad=True)
    optimizer = gg.optim.SGD([w], lr=0.1)
    w.grad = gg.ones(3, device="cuda")
    optimizer.step()
    w._grad._array = gg.ones(3, device="cuda:1")._array
    with pytest.raises(gg.DeviceError, match="two devices"):
        optimizer.step()


class Signs(gg.optim.SGD):
    """A user's optimizer: its rule is run to write the kernel, as ours are."""

    @staticmethod
    def rule(xp, p, g, state, scratch, lr, *rest):
        s = scratch[0]
        xp.sign(g, s)
        xp.maximum(s, -0.5, out=s)
        xp.multiply(s, lr, s)
        xp.subtract(p, s, p)


class Means(gg.optim.SGD):
    """A rule that looks at more than one element: against the contract, but no kernel's fault."""

    @staticmethod
    def rule(xp, p, g, state, scratch, lr, *rest):
        p -= lr * (g - g.mean())


@pytest.mark.parametrize(("kind", "expected"), [(Signs, 2), (Means, 0)])
def test_rules_of_users(kind, expected, rng):
    start = rng.standard_normal((4, 3))
    found = []
    for where in ("cpu", "cuda"):
        w = gg.tensor(start.copy(), device=where, requires_grad=True)
        optimizer = kind([w], lr=0.1)
        w.grad = gg.tensor(start - 0.2, device=where)
        _, first = launches(optimizer.step)
        _, second = launches(optimizer.step)
        found.append(w.detach().numpy())
    assert first + second == expected
    np.testing.assert_array_equal(*found)


def test_a_rule_that_no_kernel_can_do_says_so():
    def reads_scratch(xp, p, g, state, scratch):
        xp.add(p, scratch[0], p)

    def gives_new(xp, p, g, state, scratch):
        xp.add(p, g)

    def no_ufunc(xp, p, g, state, scratch):
        xp.clip(p, 0, 1, p)

    for rule, reason in [
        (reads_scratch, "read before it is written"),
        (gives_new, "without an output array"),
        (no_ufunc, "clip is no ufunc"),
    ]:
        with pytest.raises(NotFusibleError, match=reason):
            update_source(rule, np.dtype(np.float32), 0, 1, ())
        assert MultiTensor(np).updater(rule, np.dtype(np.float32), 0, 1, ()) is None


def test_a_step_waits_for_nothing_and_stamps_what_it_changes(rng):
    w, x = leaves("cuda", rng, (4, 4), (4, 4))
    optimizer = gg.optim.Adam([w], lr=0.1)
    y = (w * x).sum()
    y.backward(retain_graph=True)
    with gg.sync_guard():
        gg.optim.clip_grad_norm_([w], 0.1)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
    with pytest.raises(gg.GradientError, match="changed"):
        y.backward()


# ---------------------------------------------------------------- clipping


def clipped(where, arrays, most, kind):
    params = [gg.tensor(a, device=where, requires_grad=True) for a in arrays]
    for p, a in zip(params, arrays, strict=True):
        p.grad = gg.tensor(a.copy(), device=where)
    norm = gg.optim.clip_grad_norm_(params, most, kind)
    return norm.numpy(), [p.grad.numpy() for p in params]


@pytest.mark.parametrize("kind", [2.0, math.inf, 1.0, 3.5])
@pytest.mark.parametrize("dtypes", ["f", "d", "e", "fde"])
def test_clipping_is_that_of_the_cpu(kind, dtypes, rng):
    shapes = [(3,), (5000,), (0, 2), (), (2048,), (40, 70)]
    arrays = [rng.standard_normal(shape).astype(char) for shape in shapes for char in dtypes]
    expected = clipped("cpu", arrays, 0.5, kind)
    found, count = launches(clipped, "cuda", arrays, 0.5, kind)
    assert count == 2 * len(dtypes)
    assert found[0].dtype == expected[0].dtype
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5 if dtypes != "d" else 1e-12)
    for a, b in zip(found[1], expected[1], strict=True):
        assert a.dtype == b.dtype
        rtol = {"e": 2e-3, "f": 1e-5, "d": 1e-5 if dtypes != "d" else 1e-12}[a.dtype.char]
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-7 if a.dtype.char == "e" else 0)


def test_gradients_below_the_limit_stay_as_they_are(rng):
    arrays = [rng.standard_normal(5), np.array([0.0, -0.0])]
    norm, found = clipped("cuda", arrays, 100.0, 2.0)
    assert norm == pytest.approx(np.linalg.norm(arrays[0]))
    for a, b in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(a, b)
    assert clipped("cuda", [np.zeros(3)], 1.0, 2.0)[0] == 0


@pytest.mark.parametrize("kind", [2.0, math.inf, 3.0])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38])
def test_a_norm_that_is_not_finite_is_that_of_the_cpu(kind, value, rng):
    arrays = [rng.standard_normal(300).astype(np.float32), np.ones(5, np.float32)]
    arrays[0][7] = value
    with np.errstate(all="ignore"):
        expected = clipped("cpu", arrays, 1.0, kind)
    found = clipped("cuda", arrays, 1.0, kind)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    for a, b in zip(found[1], expected[1], strict=True):
        # Numbers below the least normal one are zeros to CuPy's kernels.
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=np.finfo(np.float32).tiny)


def test_many_gradients_are_clipped_together(rng):
    arrays = [rng.standard_normal(n % 5 + 1) for n in range(500)]
    found, count = launches(clipped, "cuda", arrays, 1.0, 2.0)
    assert count == 2 * len(tables((1,) * 500, 1, 1)) == 6
    total = np.linalg.norm(np.concatenate(arrays))
    np.testing.assert_allclose(found[0], total, rtol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(np.concatenate(found[1])), 1.0, rtol=1e-6)


def test_what_no_kernel_takes_is_clipped_one_by_one(rng):
    array = rng.standard_normal((4, 6))
    params = [gg.zeros((4, 3), dtype=gg.float64, device="cuda", requires_grad=True)]
    params[0]._grad = gg.Tensor(send(array)[0][:, ::2])
    norm, count = launches(gg.optim.clip_grad_norm_, params, 0.1)
    assert count == 0
    np.testing.assert_allclose(norm.item(), np.linalg.norm(array[:, ::2]))
    np.testing.assert_allclose(np.linalg.norm(params[0].grad.numpy()), 0.1, rtol=1e-5)


@pytest.mark.parametrize("layout", ["dense", "strided"])
def test_clipping_by_value_is_that_of_the_cpu(layout, rng):
    arrays = [
        np.asarray(rng.standard_normal(shape)).astype(char)
        for shape in [(5, 2), (), (3000,), (0,)]
        for char in "fde"
    ]
    arrays[0].reshape(-1)[:5] = [np.inf, -np.inf, np.nan, -0.0, 0.5]
    found = []
    for place in ("cpu", "cuda"):
        params = [gg.tensor(a, device=place, requires_grad=True) for a in arrays]
        for p, a in zip(params, arrays, strict=True):
            p.grad = gg.tensor(a.copy(), device=place)
        if layout == "strided":
            raw = params[0].grad.data
            params[0]._grad = gg.Tensor(raw.T.copy().T)
        _, count = launches(gg.optim.clip_grad_value_, params, 0.5)
        found.append([p.grad.numpy() for p in params])
    assert count == (3 if layout == "dense" else 0)
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
    gg.optim.clip_grad_value_([gg.zeros(2, requires_grad=True)], 1.0)  # without a gradient


# ---------------------------------------------------------------- zeros


def test_gradients_become_zeros_in_one_launch(rng):
    shapes = [(3,), (), (0,), (5000, 3), (16384,), (7, 5)]
    params = leaves("cuda", rng, *shapes)
    params += [p.astype(char).detach().requires_grad_() for p in params[3:5] for char in "ef"]
    params += leaves("cuda", rng, (2, 2))
    held = []
    for p in params[:-1]:
        p.grad = gg.Tensor(*send(np.asarray(rng.standard_normal(p.shape)).astype(p.dtype)))
        held.append(p.grad.data.get())
    old = [p.grad.data for p in params[:-1]]
    optimizer = gg.optim.SGD(params, lr=0.1)
    _, count = launches(optimizer.zero_grad, set_to_none=False)
    assert count == 1
    assert params[-1].grad is None
    for p, before, kept in zip(params, old, held, strict=False):
        np.testing.assert_array_equal(p.grad.numpy(), np.zeros(p.shape, p.dtype))
        assert p.grad.dtype == p.dtype
        np.testing.assert_array_equal(before.get(), kept)  # someone may hold the old ones


def test_ages_are_kept_where_gradients_come_and_go(rng):
    params = leaves("cuda", rng, (2,), (3,), (4,)) + leaves("cuda", rng, (5,), dtype=np.float32)
    optimizer = gg.optim.Adam(params, lr=0.1)
    for t in range(6):
        for i, p in enumerate(params):
            p.grad = None if (t + i) % 3 == 0 else gg.ones_like(p).detach()
        optimizer.step()
    assert [optimizer.state[p]["step"] for p in params] == [4, 4, 4, 4]


def test_one_launch_averages_all_parameters():
    with gg.device("cuda"):
        tensors = [gg.zeros((n, 3)) for n in range(1, 9)]
        values = [gg.ones((n, 3)) for n in range(1, 9)]
        average = gg.optim.swa_utils.get_ema_multi_avg_fn(0.5)
        _, count = launches(average, tensors, values, 1)
        assert count == 1
        assert all((t == 0.5).all() for t in tensors)
