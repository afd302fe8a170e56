"""Optimizers, schedules and clipping: against PyTorch's recorded figures, and their promises."""

import copy
import gc
import json
import math
import pickle
import threading
import tracemalloc
import weakref
from functools import partial

import numpy as np
import pytest
from repository import ROOT

import gpugrad as gg
from gpugrad.optim import apply as applying
from gpugrad.optim import follower

REFERENCE = json.loads((ROOT / "tests" / "data" / "optim_reference.json").read_text())
CASES = {case["name"]: case for case in REFERENCE["cases"]}
OPTIMIZERS = {
    "sgd": lambda params: gg.optim.SGD(params, lr=0.1),
    "sgd-momentum": lambda params: gg.optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01),
    "sgd-nesterov": lambda params: gg.optim.SGD(
        params, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01
    ),
    "adam": lambda params: gg.optim.Adam(params, lr=0.1, weight_decay=0.01),
    "adamw": lambda params: gg.optim.AdamW(params, lr=0.1),
}


@pytest.fixture(params=OPTIMIZERS)
def make(request):
    return OPTIMIZERS[request.param]


def parameters(rng, *shapes, dtype="float64", device=None):
    where = gg.Device(device or gg.default_device())
    arrays = [np.asarray(rng.normal(size=shape), dtype) for shape in shapes]
    return [gg.tensor(array, device=where, requires_grad=True) for array in arrays]


def give_gradients(rng, params):
    for p in params:
        p.grad = gg.tensor(rng.normal(size=p.shape).astype(p.dtype), device=p.device)


def values(params):
    return [p.detach().cpu().numpy().copy() for p in params]


# ---------------------------------------------------------------- trajectories


def trajectory(case):
    """Run a case of the reference file; the largest relative error of what it records."""
    x, y, w, b = (gg.tensor(REFERENCE[key], dtype="float64") for key in "XYWb")
    w.requires_grad = b.requires_grad = True
    kind, groups = case["optimizer"], case["groups"]
    given = (
        [w, b] if groups is None else [{"params": [p], **group} for p, group in zip((w, b), groups)]
    )
    optimizer = getattr(gg.optim, kind["class"])(given, **kind["kwargs"])
    scheduler = None
    if case["scheduler"] is not None:
        named = case["scheduler"]
        scheduler = getattr(gg.optim, named["class"])(optimizer, **named["kwargs"])
    records = {record["step"]: record for record in case["records"]}
    for step in range(1, 101):
        optimizer.zero_grad()
        loss = ((gg.tanh(x @ w + b) - y) ** 2).mean() + 0.05 * (w**4).sum()
        loss.backward()
        norm = gg.optim.clip_grad_norm_([w, b], **(case["clip"] or {"max_norm": 1e9}))
        rates = [group["lr"] for group in optimizer.param_groups]
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        if step in records:
            record = records[step]
            np.testing.assert_allclose(rates, record["lr"], rtol=1e-12)
            np.testing.assert_allclose(loss.item(), record["loss"], rtol=1e-6)
            np.testing.assert_allclose(norm.item(), record["grad_norm"], rtol=1e-6)
            for name, p in (("W", w), ("b", b)):
                np.testing.assert_allclose(p.tolist(), record[name], rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_equals_pytorch(name, device):
    trajectory(CASES[name])


@pytest.mark.parametrize(
    "name", ["sgd-nesterov-weight-decay", "sgd-dampening", "adam-weight-decay"]
)
def test_equals_pytorch_one_by_one(name, monkeypatch):
    # The path of large parameters, with blocks of one or two elements.
    monkeypatch.setattr("gpugrad.optim.optimizer.SMALL", -1)
    monkeypatch.setattr(applying, "BLOCK", 16)
    trajectory(CASES[name])


def test_large_parameters_take_the_same_path_on_two_threads(make, rng, monkeypatch):
    """Blocks, jobs and threads give what one pass over the whole array gives, bit for bit."""
    monkeypatch.setattr("gpugrad.optim.optimizer.SMALL", -1)
    monkeypatch.setattr(applying, "JOB", 1000)
    monkeypatch.setattr(applying, "BLOCK", 1024)
    monkeypatch.setattr(applying, "thread_count", lambda: 2)
    shapes = [(100, 77), (5001,), (30, 17, 13)]
    results = []
    for whole in (False, True):
        if whole:
            monkeypatch.setattr(applying, "BLOCK", 1 << 30)
            monkeypatch.setattr(applying, "thread_count", lambda: 1)
        local = np.random.default_rng(3)
        params = parameters(local, *shapes, dtype="float32")
        optimizer = make(params)
        for _ in range(3):
            give_gradients(local, params)
            optimizer.step()
        results.append(values(params))
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)


def test_an_error_in_the_second_thread_arrives():
    def fail():
        raise ZeroDivisionError

    plan, done = applying.Plan(), []
    plan.jobs = [
        lambda memory, i=i: [fail if i == 1 else partial(done.append, i)] for i in range(4)
    ]
    with pytest.raises(ZeroDivisionError):
        plan.run([{}, {}])
    assert sorted(done) == [0, 2, 3]


def test_without_a_second_thread_the_first_does_it_all(monkeypatch):
    def full(*args):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(follower, "start_new_thread", full)
    plan, done = applying.Plan(), []
    plan.jobs = [lambda memory, i=i: [partial(done.append, i)] for i in range(4)]
    plan.run([{}, {}])
    assert sorted(done) == [0, 1, 2, 3]


@pytest.mark.parametrize("layout", ["strided", "fortran", "mixed", "zero-d", "empty"])
def test_any_memory_layout(layout, make, rng, monkeypatch):
    monkeypatch.setattr(applying, "BLOCK", 256)
    array = rng.normal(size=(70, 90))
    gradient = rng.normal(size=(70, 90))
    if layout == "strided":
        array, gradient = array[::2, ::3], gradient[::2, ::3]
    elif layout == "fortran":
        array, gradient = np.asfortranarray(array), np.asfortranarray(gradient)
    elif layout == "mixed":
        gradient = np.asfortranarray(gradient)
    elif layout == "zero-d":
        array, gradient = array[0, 0:1].reshape(()), gradient[0, 0:1].reshape(())
    else:
        array, gradient = array[:0], gradient[:0]
    p = gg.Tensor(array).requires_grad_()
    plain = gg.tensor(np.array(array, order="C"), requires_grad=True)
    p.grad, plain.grad = gg.Tensor(gradient), gg.Tensor(np.array(gradient, order="C"))
    for q in (p, plain):
        optimizer = make([q])
        for _ in range(3):
            optimizer.step()
    assert p.data is array
    np.testing.assert_allclose(p.data, plain.data, rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_stay(dtype, make, device, rng):
    params = parameters(rng, (3, 2), (2,), dtype=dtype)
    optimizer = make(params)
    for _ in range(2):
        give_gradients(rng, params)
        optimizer.step()
    assert all(p.dtype == dtype for p in params)
    assert all(np.isfinite(x).all() for x in values(params))
    for entry in optimizer.state.values():
        wide = "float32" if dtype == "float16" else dtype
        assert all(x.dtype == wide for name, x in entry.items() if name != "step")


# ---------------------------------------------------------------- promises of the step


def test_memory_is_changed_in_place_and_gradients_are_not(make, device, rng):
    params = parameters(rng, (3, 4), (4,), ())
    before = [p.data for p in params]
    optimizer = make(params)
    give_gradients(rng, params)
    gradients = [p.grad.data for p in params]
    kept = [gg.backend.device.to_numpy(g).copy() for g in gradients]
    old = values(params)
    optimizer.step()
    for p, array, gradient, copied, was in zip(params, before, gradients, kept, old):
        assert p.data is array
        assert p.grad.data is gradient
        np.testing.assert_array_equal(gg.backend.device.to_numpy(gradient), copied)
        assert (p.detach().cpu().numpy() != was).all()


def test_large_gradients_are_not_changed(make, rng):
    params = parameters(rng, (300, 200))
    optimizer = make(params)
    give_gradients(rng, params)
    kept = params[0].grad.numpy().copy()
    optimizer.step()
    np.testing.assert_array_equal(params[0].grad.numpy(), kept)


@pytest.mark.parametrize("shape", [(3,), (300, 200)])
def test_a_graph_that_needs_the_old_value_raises(shape, device, rng):
    w, b = parameters(rng, shape, shape)
    loss = (w * w * b).sum()
    give_gradients(rng, [w, b])
    gg.optim.SGD([w, b], lr=0.1).step()
    with pytest.raises(gg.GradientError, match="changed in place"):
        loss.backward()


def test_parameters_without_gradient_are_left_alone(make, device, rng):
    params = parameters(rng, (2,), (3,), (4,))
    optimizer = make(params)
    for turn in range(4):
        optimizer.zero_grad()
        give_gradients(rng, params if turn % 2 else params[:2])
        before = values(params)
        optimizer.step()
        after = values(params)
        assert (before[0] != after[0]).all()
        assert (before[2] == after[2]).all() == (turn % 2 == 0)
    state = optimizer.state
    assert [state[p]["step"] for p in params] == [4, 4, 2]


@pytest.mark.parametrize("of", ["float32", "float64"])
def test_buckets_give_what_single_parameters_give(of, make, rng):
    """Gradients come and go, of the parameters' dtype or another: the same bits in the end."""
    results = []
    for together in (True, False):
        local = np.random.default_rng(5)
        params = parameters(local, (2, 3), (3,), (1,), (4, 2), dtype="float32")
        optimizers = [make(params)] if together else [make([p]) for p in params]
        for turn in range(12):
            for p in params:
                p.grad = None
            for i, p in enumerate(params):
                if (turn + i) % 5 or turn < 4:
                    p._grad = gg.tensor(local.normal(size=p.shape).astype(of))
            for optimizer in optimizers:
                optimizer.step()
        results.append(values(params))
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)


def test_replaced_data_is_followed(make, rng):
    params = parameters(rng, (2,), (3,))
    optimizer = make(params)
    give_gradients(rng, params)
    optimizer.step()
    old = params[0].data
    kept = old.copy()
    params[0].data = np.zeros(2)
    optimizer.step()
    np.testing.assert_array_equal(old, kept)
    assert (params[0].data != 0).all()


def test_parameters_that_share_memory_are_both_updated(rng):
    memory = rng.normal(size=6)
    a, b = gg.Tensor(memory[:4]).requires_grad_(), gg.Tensor(memory[2:]).requires_grad_()
    optimizer = gg.optim.SGD([a, b], lr=1.0)
    was = memory.copy()
    a.grad, b.grad = gg.ones(4, dtype="float64"), gg.ones(4, dtype="float64")
    optimizer.step()
    optimizer.step()
    np.testing.assert_allclose(was - memory, [2, 2, 4, 4, 2, 2])


def test_separate_finds_overlaps():
    memory = np.zeros(10)
    arrays = [memory[8:], memory[0:9], memory[1:2], np.zeros(3), memory[4:5]]
    assert applying.separate(arrays) == [False, False, False, True, False]
    assert applying.separate([memory[:5], memory[5:]]) == [True, True]


# The setter of ``grad`` refuses another dtype or device; a parameter that was moved between the
# backward pass and the step has one nevertheless.


def test_gradient_of_another_dtype_is_cast(rng):
    w, b = parameters(rng, (3,), (3,), dtype="float32")
    optimizer = gg.optim.SGD([w, b], lr=0.5)
    was = values([w])[0]
    w._grad = b._grad = gg.ones(3, dtype="float64")
    optimizer.step()
    assert w.dtype == np.float32
    np.testing.assert_allclose(was - w.detach().numpy(), 0.5, rtol=1e-6)


def test_gradient_on_another_device_is_refused(rng):
    for count in (1, 2):
        params = parameters(rng, *[(3,)] * count)
        give_gradients(rng, params)
        optimizer = gg.optim.SGD(params, lr=0.5)
        optimizer.step()
        params[0]._grad = gg.ones(3, dtype="float64", device="sim")
        with pytest.raises(gg.DeviceError, match="optimizer step: .* cpu and sim:0"):
            optimizer.step()


def test_state_moves_with_the_parameter(make, rng):
    w, b = parameters(rng, (3,), (2,))
    optimizer, same = make([w, b]), [gg.tensor(p.data.copy(), requires_grad=True) for p in (w, b)]
    other = make(same)
    for turn in range(3):
        give_gradients(rng, [w, b])
        for p, q in zip((w, b), same):
            q.grad = p.grad.cpu()
        if turn == 1:
            for p in (w, b):
                p._array = gg.Device("sim").send(p.data)
                p._grad = p.grad.to("sim")
        optimizer.step()
        other.step()
    assert w.device == "sim"
    np.testing.assert_array_equal(values([w, b])[0], values(same)[0])


def test_nothing_waits_for_the_device(make, monkeypatch, rng):
    with gg.device("sim"):
        params = parameters(rng, (3, 2), (2,))
        optimizer = make(params)
        give_gradients(rng, params)
        schedule = gg.optim.CosineAnnealingLR(optimizer, T_max=5)

        def refuse(*args):
            raise AssertionError("waited for the device")

        kind = type(params[0].data)
        for name in ("__bool__", "__float__", "__int__", "item", "get", "tolist"):
            monkeypatch.setattr(kind, name, refuse)
        gg.optim.clip_grad_norm_(params, 0.1)
        gg.optim.clip_grad_value_(params, 0.1)
        optimizer.step()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


def test_no_temporaries_of_the_models_size(rng):
    p = gg.tensor(np.ones(1 << 20, "float32"), requires_grad=True)
    p.grad = gg.tensor(np.ones(1 << 20, "float32"))
    optimizer = gg.optim.AdamW([p])
    optimizer.step()
    tracemalloc.start()
    try:
        optimizer.step()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < p.nbytes / 4


def test_no_reference_cycle(make, rng):
    params = parameters(rng, (3,), (2,), (200, 200))
    gc.disable()
    try:
        optimizer = make(params)
        schedule = gg.optim.StepLR(optimizer, 1)
        for _ in range(2):
            give_gradients(rng, params)
            optimizer.step()
            schedule.step()
        alive = weakref.ref(optimizer)
        del optimizer, schedule
        assert alive() is None
    finally:
        gc.enable()


def test_closure(rng):
    (w,) = parameters(rng, (3,))
    optimizer = gg.optim.SGD([w], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with gg.no_grad():
        first = optimizer.step(closure)
    assert optimizer.step(closure).item() < first.item()


def test_zero_grad(device, rng):
    params = parameters(rng, (2,), (3,))
    optimizer = gg.optim.SGD(params, lr=0.1)
    give_gradients(rng, params[:1])
    held = params[0].grad.data
    optimizer.zero_grad(set_to_none=False)
    assert params[0].grad.tolist() == [0.0, 0.0]
    assert params[0].grad.data is not held
    assert params[1].grad is None
    optimizer.zero_grad()
    assert params[0].grad is None


def test_settings_are_read_at_each_step(rng):
    w, b = parameters(rng, (2,), (2,))
    optimizer = gg.optim.SGD([w, b], lr=0.0)
    give_gradients(rng, [w, b])
    was = values([w])[0]
    optimizer.step()
    np.testing.assert_array_equal(was, values([w])[0])
    optimizer.param_groups[0]["lr"] = 1.0
    optimizer.param_groups[0]["momentum"] = 0.5
    optimizer.step()
    optimizer.step()
    g = w.grad.numpy()
    np.testing.assert_allclose(was - values([w])[0], g + 1.5 * g)


def test_two_threads_step_two_optimizers(rng):
    found = []

    def train():
        local = np.random.default_rng(1)
        params = parameters(local, (3, 3), (3,), (170, 180))
        optimizer = gg.optim.Adam(params)
        for _ in range(20):
            give_gradients(local, params)
            optimizer.step()
        found.append(values(params))

    threads = [threading.Thread(target=train) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(*found):
        np.testing.assert_array_equal(one, other)


# ---------------------------------------------------------------- state


def test_state_dict_resumes_the_same_trajectory(make, device, rng):
    shapes = [(2, 3), (3,), (170, 190)]
    params = parameters(rng, *shapes)
    optimizer = make(params)
    give_gradients(rng, params)
    for _ in range(3):
        optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    twins = [gg.tensor(p.data.copy(), requires_grad=True) for p in params]
    for p, twin in zip(params, twins):
        twin.grad = p.grad
    other = make(twins)
    other.load_state_dict(saved)
    for _ in range(3):
        optimizer.step()
        other.step()
    for one, two in zip(values(params), values(twins)):
        np.testing.assert_array_equal(one, two)
    assert optimizer.state_dict()["param_groups"] == other.state_dict()["param_groups"]


def test_state_dict_is_plain_numbers_and_arrays_in_order(rng):
    params = parameters(rng, (2,), (3,))
    optimizer = gg.optim.Adam([{"params": params[1:]}, {"params": params[:1], "lr": 0.5}])
    give_gradients(rng, params)
    optimizer.step()
    saved = optimizer.state_dict()
    assert list(saved["state"]) == [0, 1]
    assert saved["state"][0]["exp_avg"].shape == (3,)
    assert saved["state"][0]["step"] == 1
    assert [group["params"] for group in saved["param_groups"]] == [[0], [1]]
    assert saved["param_groups"][1]["lr"] == 0.5


def test_loaded_state_is_a_copy_and_crosses_devices(rng):
    params = parameters(rng, (2,), (3,))
    optimizer = gg.optim.SGD(params, lr=0.1, momentum=0.9)
    give_gradients(rng, params)
    optimizer.step()
    saved = optimizer.state_dict()
    there = parameters(rng, (2,), (3,), dtype="float32", device="sim")
    other = gg.optim.SGD(there, lr=0.5, momentum=0.9)
    other.load_state_dict(saved)
    assert other.param_groups[0]["lr"] == 0.1
    buffer = other.state[there[0]]["momentum_buffer"]
    assert gg.backend.device.device_of(buffer) == "sim"
    assert buffer.dtype == np.float32
    give_gradients(rng, there)
    was = saved["state"][0]["momentum_buffer"].copy()
    other.step()
    np.testing.assert_array_equal(saved["state"][0]["momentum_buffer"], was)


def test_state_that_was_replaced_is_used(rng):
    params = parameters(rng, (2,), (3,))
    optimizer = gg.optim.SGD(params, lr=1.0, momentum=0.5)
    give_gradients(rng, params)
    optimizer.step()
    optimizer.state[params[0]]["momentum_buffer"] = np.zeros(2)
    was = values(params)[0]
    optimizer.step()
    np.testing.assert_allclose(was - values(params)[0], params[0].grad.numpy())
    # Looking does not change anything, and what was seen is the live memory.
    buffer = optimizer.state[params[1]]["momentum_buffer"]
    seen = buffer.copy()
    optimizer.step()
    assert (buffer != seen).all()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_are_independent(copied, make, rng):
    params = parameters(rng, (2,), (3,))
    optimizer = make(params)
    give_gradients(rng, params)
    optimizer.step()
    other = copied(optimizer)
    twins = other.param_groups[0]["params"]
    was = values(params)
    other.step()
    for before, p in zip(was, params):
        np.testing.assert_array_equal(before, p.data)
    optimizer.step()
    for p, twin in zip(params, twins):
        assert p is not twin
        np.testing.assert_array_equal(p.data, twin.data)


def test_repr(rng):
    params = parameters(rng, (1000, 3), (1,))
    text = repr(gg.optim.Adam([{"params": params[:1]}, {"params": params[1:], "lr": 0.5}]))
    assert text.startswith("Adam(\n  group 0: 1 tensor, 3,000 parameters, lr=0.001, betas=")
    assert "group 1: 1 tensor, 1 parameter, lr=0.5" in text


# ---------------------------------------------------------------- errors


def leaf(*shape):
    return gg.zeros(shape, requires_grad=True)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: gg.optim.SGD([], lr=1), ValueError, "SGD: there are no parameters"),
        (lambda: gg.optim.SGD(iter([]), lr=1), ValueError, "an iterator for one use"),
        (lambda: gg.optim.SGD(leaf(2), lr=1), gg.DTypeError, r"Write \[tensor\]"),
        (lambda: gg.optim.SGD([leaf(2), np.ones(2)], lr=1), gg.DTypeError, "ndarray at position 1"),
        (lambda: gg.optim.SGD([gg.zeros(2)], lr=1), gg.GradientError, "requires no gradient"),
        (lambda: gg.optim.SGD([leaf(2) * 2], lr=1), gg.GradientError, "was computed from other"),
        (lambda: gg.optim.SGD([leaf(2)] * 2, lr=1), ValueError, "is there twice"),
        (lambda: gg.optim.SGD([leaf(2)], lr=-1), ValueError, "lr must be at least 0, got -1.0"),
        (lambda: gg.optim.SGD([leaf(2)], lr=float("nan")), ValueError, "lr must be at least 0"),
        (lambda: gg.optim.SGD([leaf(2)], lr="fast"), gg.DTypeError, "lr must be a number"),
        (lambda: gg.optim.SGD([leaf(2)], 1, momentum=-0.1), ValueError, "momentum must be"),
        (lambda: gg.optim.SGD([leaf(2)], 1, weight_decay=-1), ValueError, "weight_decay must be"),
        (lambda: gg.optim.SGD([leaf(2)], 1, nesterov=True), ValueError, "nesterov needs a mom"),
        (
            lambda: gg.optim.SGD([leaf(2)], 1, momentum=0.9, dampening=0.1, nesterov=True),
            ValueError,
            "no dampening",
        ),
        (lambda: gg.optim.Adam([leaf(2)], betas=(0.9, 1.0)), ValueError, r"betas\[1\] must be"),
        (lambda: gg.optim.AdamW([leaf(2)], betas=0.9), gg.DTypeError, "AdamW: betas must be two"),
        (lambda: gg.optim.Adam([leaf(2)], eps=-1), ValueError, "eps must be at least 0"),
        (lambda: gg.optim.SGD([{"lr": 1}], lr=1), gg.DTypeError, "with the key 'params'"),
        (lambda: gg.optim.SGD([{"params": []}], lr=1), ValueError, "has no parameters"),
        (
            lambda: gg.optim.SGD([{"params": leaf(1), "betas": 1}], lr=1),
            ValueError,
            "unknown setting 'betas'",
        ),
        (lambda: gg.optim.StepLR(None, 1), gg.DTypeError, "expected an optimizer, got NoneType"),
        (lambda: gg.optim.StepLR(sgd(), 0), ValueError, "step_size must be at least 1"),
        (lambda: gg.optim.StepLR(sgd(), 1.5), gg.DTypeError, "must be a whole number"),
        (lambda: gg.optim.LambdaLR(sgd(), [abs, abs]), ValueError, "2 functions for 1 groups"),
        (lambda: gg.optim.SequentialLR(sgd(), [], [1]), ValueError, "there are no schedules"),
        (lambda: sequential([3, 3]), ValueError, "milestones must rise"),
        (lambda: sequential([3, 4], sgd()), ValueError, "must be of this optimizer"),
        (lambda: gg.optim.clip_grad_norm_([leaf(1)], -1), ValueError, "max_norm must be at least"),
        (lambda: gg.optim.clip_grad_norm_([leaf(1)], 1, 0), ValueError, "norm_type must be above"),
        (lambda: gg.optim.clip_grad_norm_([1.0], 1), gg.DTypeError, "expected Tensors, got float"),
        (
            lambda: gg.optim.clip_grad_norm_(3, 1),
            gg.DTypeError,
            r"got int. Of a model pass model.p",
        ),
        (lambda: gg.optim.SequentialLR(sgd(), 3, [1]), gg.DTypeError, "a list of schedules, got i"),
        (lambda: gg.optim.ChainedScheduler(3), gg.DTypeError, "a list of schedules, got int"),
        (
            lambda: gg.optim.CyclicLR(sgd(), 0.1, 0.2, scale_fn=3, cycle_momentum=False),
            gg.DTypeError,
            "scale_fn must be a function or None, got 3",
        ),
        (lambda: gg.optim.clip_grad_value_([leaf(1)], -1), ValueError, "clip_value must be"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def sgd():
    return gg.optim.SGD([leaf(1)], lr=1.0)


def sequential(milestones, other=None):
    optimizer = sgd()
    schedules = [gg.optim.StepLR(other or optimizer, 1) for _ in range(3)]
    return gg.optim.SequentialLR(optimizer, schedules, milestones)


def adam_state(params):
    optimizer = gg.optim.Adam(params)
    for p in params:
        p.grad = gg.ones(*p.shape)
    optimizer.step()
    return optimizer, copy.deepcopy(optimizer.state_dict())


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda s: s.pop("state"), ValueError, "expected a dict with 'state' and 'param_groups'"),
        (lambda s: s["param_groups"].append({"params": []}), ValueError, r"of groups of \[2, 0\]"),
        (lambda s: s["param_groups"][0].pop("betas"), ValueError, "an optimizer of another class"),
        (lambda s: s["param_groups"][0].update(lr=-1.0), ValueError, "lr must be at least 0"),
        (
            lambda s: s["state"][1].update(exp_avg=np.zeros((3, 1))),
            gg.ShapeError,
            r"exp_avg of parameter 1 has shape \(3, 1\), the parameter \(3,\)",
        ),
        (lambda s: s["state"][0].update(exp_avg="x"), gg.DTypeError, "exp_avg of parameter 0 is"),
        (lambda s: s["state"][0].pop("step"), ValueError, "has no number of steps"),
        (lambda s: s["state"].update({7: {}}), ValueError, r"unknown parameters: \[7\]"),
    ],
)
def test_bad_states_are_refused_and_change_nothing(spoil, error, message):
    optimizer, saved = adam_state([leaf(2), leaf(3)])
    spoil(saved)
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(saved)
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    np.testing.assert_array_equal(after["state"][1]["exp_avg"], before["state"][1]["exp_avg"])


def test_changed_shape_is_refused():
    w, _ = params = [leaf(2), leaf(3)]
    optimizer, _ = adam_state(params)
    w._array = np.zeros(5, "float32")
    w.grad = gg.ones(5)
    with pytest.raises(gg.ShapeError, match="Make a new optimizer"):
        optimizer.step()


# ---------------------------------------------------------------- schedules


def test_sequential_warm_up_then_cosine():
    optimizer = sgd()
    schedule = gg.optim.SequentialLR(
        optimizer,
        [
            gg.optim.LinearLR(optimizer, start_factor=0.1, total_iters=5),
            gg.optim.CosineAnnealingLR(optimizer, T_max=20),
        ],
        milestones=[5],
    )
    rates = []
    for _ in range(26):
        rates.append(schedule.get_last_lr()[0])
        schedule.step()
    expected = [0.1 + 0.18 * t for t in range(5)]
    expected += [(1 + np.cos(np.pi * t / 20)) / 2 for t in range(21)]
    np.testing.assert_allclose(rates, expected, atol=1e-12)


def test_lambda_for_each_group():
    optimizer = gg.optim.SGD([{"params": leaf(1), "lr": 2.0}, {"params": leaf(1)}], lr=1.0)
    schedule = gg.optim.LambdaLR(optimizer, [lambda t: 0.5**t, lambda t: 1 + t])
    schedule.step()
    schedule.step()
    assert schedule.get_last_lr() == [0.5, 3.0]
    assert repr(schedule) == "LambdaLR(step 2, lr 0.5, 3)"


def test_a_schedule_resumes():
    first = gg.optim.StepLR(sgd(), step_size=3, gamma=0.5)
    for _ in range(4):
        first.step()
    optimizer = gg.optim.SGD([leaf(1)], lr=77.0)
    second = gg.optim.StepLR(optimizer, step_size=3, gamma=0.5)
    second.load_state_dict(first.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.5
    for _ in range(2):
        first.step()
        second.step()
    assert second.get_last_lr() == first.get_last_lr() == [0.25]
    # The optimizer's own state knows a schedule was there, and goes into one without.
    plain = sgd()
    plain.load_state_dict(optimizer.state_dict())
    assert plain.param_groups[0]["lr"] == 0.25


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": "LinearLR"}, "this is the state of a LinearLR"),
        ({"base_lrs": [1.0, 2.0]}, "has 1 groups, the state is of 2"),
        ({"more": 1}, "expected the keys"),
    ],
)
def test_a_schedule_refuses_other_states(change, message):
    schedule = gg.optim.StepLR(sgd(), 1)
    with pytest.raises(ValueError, match=message):
        schedule.load_state_dict({**schedule.state_dict(), **change})


# ---------------------------------------------------------------- clipping


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, float("inf")])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_clip_grad_norm(norm_type, dtype, device, rng):
    params = parameters(rng, (3, 2), (4,), (), (0,), dtype=dtype)
    give_gradients(rng, params)
    flat = np.concatenate([p.grad.cpu().numpy().ravel() for p in params]).astype("float64")
    expected = np.linalg.norm(flat, norm_type)
    tolerance = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-6}[dtype]
    norm = gg.optim.clip_grad_norm_(params, 0.5, norm_type)
    assert norm.shape == ()
    assert norm.device == device
    np.testing.assert_allclose(norm.item(), expected, rtol=tolerance)
    after = np.concatenate([p.grad.cpu().numpy().ravel() for p in params])
    assert after.dtype == dtype
    np.testing.assert_allclose(after, flat * 0.5 / expected, rtol=tolerance, atol=1e-4 * tolerance)


def test_clip_grad_norm_leaves_small_gradients(device, rng):
    params = parameters(rng, (3, 2))
    give_gradients(rng, params)
    was = params[0].grad.cpu().numpy().copy()
    gg.optim.clip_grad_norm_(params[0], 1000.0)
    np.testing.assert_array_equal(params[0].grad.cpu().numpy(), was)


def test_clip_of_large_half_precision_gradients(device):
    p = gg.zeros(4, dtype="float16", requires_grad=True)
    p.grad = gg.full(4, 1000.0, dtype="float16")
    assert gg.optim.clip_grad_norm_([p], 2.0).item() == 2000.0
    np.testing.assert_allclose(p.grad.tolist(), 1.0, rtol=1e-3)


def test_clip_without_gradients():
    assert gg.optim.clip_grad_norm_([leaf(2)], 1.0).item() == 0.0
    gg.optim.clip_grad_value_([leaf(2)], 1.0)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_norm_that_is_not_finite_raises_if_asked(value, device):
    w, b = params = [gg.zeros(2, requires_grad=True, device=device) for _ in range(2)]
    w.grad, b.grad = gg.tensor([3.0, 4.0], device=device), gg.tensor([0.0, value], device=device)
    for norm_type in (2.0, math.inf, 1.0):
        with pytest.raises(
            gg.GradientError, match=f"the norm of order {norm_type:g} .* is {value}"
        ):
            gg.optim.clip_grad_norm_(params, 1.0, norm_type, error_if_nonfinite=True)
        with pytest.raises(RuntimeError, match="so they cannot be clipped"):  # as PyTorch's users
            gg.optim.get_total_norm([p.grad for p in params], norm_type, error_if_nonfinite=True)
    assert w.grad.tolist() == [3.0, 4.0]
    norm = gg.nn.utils.clip_grad_norm_(w, 1.0, error_if_nonfinite=True)
    assert norm.item() == 5.0
    np.testing.assert_allclose(w.grad.tolist(), [0.6, 0.8], rtol=1e-5)
    assert gg.nn.utils.get_total_norm([w.grad], math.inf).item() == pytest.approx(0.8, rel=1e-5)
    assert gg.nn.utils.get_total_norm([]).item() == 0.0
    with pytest.raises(gg.DTypeError, match="error_if_nonfinite must be True or False, got 1"):
        gg.optim.clip_grad_norm_(w, 1.0, error_if_nonfinite=1)


def test_clip_counts_a_parameter_once():
    p = leaf(1)
    p.grad = gg.tensor([3.0])
    assert gg.optim.clip_grad_norm_([p, p], 1.0).item() == 3.0
    np.testing.assert_allclose(p.grad.tolist(), [1.0], rtol=1e-5)


def test_clip_refuses_two_devices():
    here, there = leaf(1), gg.zeros(1, device="sim", requires_grad=True)
    here.grad, there.grad = gg.ones(1), gg.ones(1, device="sim")
    with pytest.raises(gg.DeviceError, match="clip_grad_norm_: the operands are on two devices"):
        gg.optim.clip_grad_norm_([here, there], 1.0)


def test_clip_grad_value(device, rng):
    params = parameters(rng, (30,), (4,))
    give_gradients(rng, params)
    expected = [np.clip(p.grad.cpu().numpy(), -0.5, 0.5) for p in params]
    gg.optim.clip_grad_value_(params, 0.5)
    for p, want in zip(params, expected):
        np.testing.assert_array_equal(p.grad.cpu().numpy(), want)


def test_clip_of_complex_gradients(device):
    w = gg.tensor(np.array([3 + 4j, 0.5 - 12j]), requires_grad=True, device=device)
    gg.sum(gg.abs(w) ** 2).backward()
    norm = gg.optim.clip_grad_norm_([w], 1.0, math.inf)
    assert norm.dtype == np.float64
    np.testing.assert_allclose(norm.item(), abs(1 - 24j))
    np.testing.assert_allclose(np.abs(w.grad.cpu().numpy()).max(), 1.0, rtol=1e-6)
    w.grad = gg.tensor(np.array([3 + 4j, 0.5 - 12j]), device=device)
    norm = gg.optim.clip_grad_norm_([w], 100.0)
    assert norm.dtype == np.float64
    np.testing.assert_allclose(norm.item(), 13.0096118, rtol=1e-7)
    gg.optim.clip_grad_value_([w], 3.5)
    assert w.grad.tolist() == [3 + 3.5j, 0.5 - 3.5j]


def test_clip_keeps_a_graph_from_wrong_values(rng):
    (w,) = parameters(rng, (3,))
    give_gradients(rng, [w])
    x = gg.tensor(1.0, requires_grad=True, dtype="float64")
    loss = (w.grad * x).sum()
    gg.optim.clip_grad_norm_([w], 1e-3)
    with pytest.raises(gg.GradientError, match="changed in place"):
        loss.backward()


def test_the_steps_are_counted_when_the_state_changes_its_names(device):
    """Settings that need other state arrays make a new layout: the old one's steps count."""
    params = [gg.ones(2, requires_grad=True) for _ in range(3)]
    optimizer = gg.optim.SGD(params, lr=0.1)
    for t in range(4):
        optimizer.param_groups[0]["momentum"] = 0.9 if t > 1 else 0.0
        for p in params:
            p.grad = gg.ones(2)
        optimizer.step()
    assert [entry["step"] for entry in optimizer.state_dict()["state"].values()] == [4] * 3


# Five steps of (abs(z**2 - (1 + 2j))**2).sum(), by PyTorch 2.13 in complex128.
COMPLEX_STEPS = {
    "SGD": (
        {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
        [0.888753268169 + 0.188100674424j, -0.664507446068 - 0.274601696377j,
         -0.371527854987 + 1.131750396043j],
    ),
    "Adam": (
        {"lr": 0.1},
        [0.992001590895 + 0.742397986124j, -0.591702787569 - 0.183333564162j,
         0.632422298298 - 0.314477633223j],
    ),
    "AdamW": (
        {"lr": 0.1, "weight_decay": 0.05},
        [0.974834784455 + 0.721297557221j, -0.581271773697 - 0.185175985711j,
         0.612177233945 - 0.300518864314j],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPLEX_STEPS)
def test_complex_parameters_are_pairs_of_real_ones(name, device):
    words, wanted = COMPLEX_STEPS[name]
    start = np.array([0.5 + 1.2j, -0.7 + 0.3j, 1.1 - 0.8j])
    whole = gg.tensor(start, device=device, requires_grad=True)
    # The same in other shapes: numbers alone, and a matrix that is not in order in memory.
    alone = [gg.tensor(np.array(z), device=device, requires_grad=True) for z in start]
    turned = gg.tensor(np.stack([start, start], axis=1), device=device).T
    turned = gg.tensor(turned.data, requires_grad=True)
    params = [whole, *alone, turned, gg.tensor(np.ones(2), device=device, requires_grad=True)]
    optimizer = getattr(gg.optim, name)(params, **words)
    for _ in range(5):
        optimizer.zero_grad()
        sum((gg.abs(p * p - (1 + 2j)) ** 2).sum() for p in params).backward()
        optimizer.step()
    np.testing.assert_allclose(whole.detach().cpu().numpy(), wanted, atol=1e-11)
    np.testing.assert_allclose([p.item() for p in alone], wanted, atol=1e-11)
    np.testing.assert_allclose(turned.detach().cpu().numpy(), [wanted, wanted], atol=1e-11)
    saved = optimizer.state_dict()
    again = getattr(gg.optim, name)(params, **words)
    again.load_state_dict(saved)
    again.step()


def test_one_bucket_s_missing_gradient_leaves_the_others_their_age(device):
    """Each dtype has a bucket; where one of them is parted, all are laid out anew."""
    params = [gg.ones(2, dtype=d, requires_grad=True) for d in (gg.float32, gg.float64) * 2]
    optimizer = gg.optim.Adam(params, lr=0.1)
    for t in range(5):
        for p in params:
            p.grad = None if t == 2 and p is params[0] else gg.ones(2, dtype=p.dtype)
        optimizer.step()
    assert [optimizer.state[p]["step"] for p in params] == [4, 5, 5, 5]


def test_an_error_in_one_bucket_leaves_all_as_they_were():
    params = [gg.ones(2, dtype=d, requires_grad=True) for d in (gg.float32, gg.float64) * 2]
    optimizer = gg.optim.Adam(params, lr=0.1)
    for t in range(4):
        for p in params:
            p.grad = gg.ones(2, dtype=p.dtype)
        held = params[1].data
        if t == 2:
            params[1]._array = gg.ones(3, dtype=gg.float64).data
            params[1]._grad = gg.ones(3, dtype=gg.float64)
            before = [p.tolist() for p in params]
            with pytest.raises(gg.ShapeError, match="a parameter's shape is"):
                optimizer.step()
            assert [p.tolist() for p in params] == before
            params[1]._array = held
        else:
            optimizer.step()
    steps = [optimizer.state[p]["step"] for p in params]
    assert steps == [3] * 4


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_frozen_parameters_wait_until_they_are_to_learn(name):
    gg.manual_seed(0)
    first, second = gg.nn.Linear(2, 3), gg.nn.Linear(3, 1)
    first.requires_grad_(False)
    optimizer = getattr(gg.optim, name)(gg.nn.Sequential(first, second).parameters(), lr=0.1)
    x = gg.tensor([[1.0, -2.0], [0.5, 3.0]])

    def step():
        before = [p.data.copy() for p in optimizer.param_groups[0]["params"]]
        optimizer.zero_grad()
        second(first(x)).sum().backward()
        optimizer.step()
        return [bool((p.data != b).any()) for p, b in zip(first.parameters(), before)]

    assert step() == [False, False]
    optimizer.load_state_dict(optimizer.state_dict())
    first.requires_grad_(True)
    assert step() == [True, True]
