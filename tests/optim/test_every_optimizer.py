"""What holds for every optimizer and schedule, whatever its formula."""

import copy
import pickle

import numpy as np
import pytest
from optimizers import CLOSURES, MATRICES, OPTIMIZERS, OTHER_SCHEDULES, SCHEDULES, step

import gpugrad as gg


def each(makers):
    return pytest.mark.parametrize("make", makers.values(), ids=list(makers))


every = each(OPTIMIZERS | MATRICES | CLOSURES)
with_rules = each(OPTIMIZERS | MATRICES)
ALL_SCHEDULES = SCHEDULES | OTHER_SCHEDULES
every_schedule = each(ALL_SCHEDULES)


def parameters(dtype="float32"):
    """Two for a bucket, and one that is alone, since another has a part of its memory."""
    rng = np.random.default_rng(1)
    params = [gg.tensor(rng.normal(size=(2, 3)).astype(dtype), requires_grad=True) for _ in "ab"]
    shared = gg.tensor(rng.normal(size=(3, 3)).astype(dtype))
    return params + [gg.Tensor(shared.data[i : i + 2]).requires_grad_() for i in (0, 1)]


def train(params, optimizer, steps, closure=None):
    """Steps that minimize the sum of fourth powers of what is far from 0.3."""
    for _ in steps:
        optimizer.zero_grad()

        def loss():
            optimizer.zero_grad()
            total = sum((abs(p - 0.3) ** 4).sum() for p in params)
            total.backward()
            return total

        optimizer.step(loss)


def values(params):
    return [p.detach().cpu().numpy().copy() for p in params]


@every
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_run_is_resumed_to_the_last_bit_from_a_file(make, dtype, device, tmp_path):
    with gg.device(device):
        params, others = parameters(dtype), parameters(dtype)
        optimizer, other = make(params), make(others)
        held = [p.data for p in params]
        train(params, optimizer, range(3))
        gg.save({"params": params, "optimizer": optimizer.state_dict()}, tmp_path / "state")
        state = gg.load(tmp_path / "state")
        for q, p in zip(others, state["params"]):
            q.data[...] = p.to(device).data
        other.load_state_dict(state["optimizer"])
        train(params, optimizer, range(3))
        train(others, other, range(3))
        for p, q, array in zip(params, others, held):
            assert p.data is array
            assert p.dtype == dtype
            assert np.isfinite(values([p])[0]).all()
            np.testing.assert_array_equal(*values([p, q]))
        wide = "float32" if dtype == "float16" else dtype
        for entry in optimizer.state.values():
            for state in entry.values():
                assert isinstance(state, int | float | list) or state.dtype == wide


@each(OPTIMIZERS)
def test_blocks_on_two_threads_give_what_one_bucket_gives(make, monkeypatch):
    """How large parameters are stepped on the host, with blocks of two elements."""
    if type(make(parameters())).elementwise:
        params, others = parameters(), parameters()
        train(params, make(params), range(4))
        monkeypatch.setattr("gpugrad.optim.optimizer.SMALL", -1)
        monkeypatch.setattr("gpugrad.optim.apply.BLOCK", 8)
        monkeypatch.setattr("gpugrad.optim.apply.JOB", 2)
        monkeypatch.setattr("gpugrad.optim.apply.thread_count", lambda: 2)
        train(others, make(others), range(4))
        for one, two in zip(values(params), values(others)):
            np.testing.assert_array_equal(one, two)


@every
def test_a_state_goes_to_another_device(make):
    params = parameters()[:2]
    optimizer = make(params)
    train(params, optimizer, range(2))
    there = [p.detach().to("sim").requires_grad_() for p in params]
    other = make(there)
    other.load_state_dict(optimizer.state_dict())
    for ps, o in ((params, optimizer), (there, other)):
        train(ps, o, range(2))
    for one, two in zip(values(params), values(there)):
        np.testing.assert_allclose(one, two, rtol=1e-5)


@every
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_go_on_by_themselves(make, copied):
    params = parameters()[:2]
    optimizer = make(params)
    train(params, optimizer, range(2))
    before = values(params)
    other = copied(optimizer)
    twins = other.param_groups[0]["params"]
    train(twins, other, range(2))
    for p, was in zip(params, before):
        np.testing.assert_array_equal(p.data, was)
    train(params, optimizer, range(2))
    for one, two in zip(values(params), values(twins)):
        np.testing.assert_array_equal(one, two)


@every
def test_the_loss_falls(make, device):
    with gg.device(device):
        params = parameters()[:2]
        before = [np.abs(x - 0.3).max() for x in values(params)]
        train(params, make(params), range(40))
        after = [np.abs(x - 0.3).max() for x in values(params)]
    assert all(a < b for a, b in zip(after, before)), (before, after)


@with_rules
def test_maximize_goes_the_other_way(make, device):
    with gg.device(device):
        params, others = parameters(), parameters()
        optimizer, other = make(params), make(others)
        other.param_groups[0]["maximize"] = True
        for _ in range(3):
            for p, q in zip(params, others):
                p.grad, q.grad = gg.ones_like(p) * 0.5, gg.ones_like(p) * -0.5
            optimizer.step()
            other.step()
        for one, two in zip(values(params), values(others)):
            np.testing.assert_array_equal(one, two)


@with_rules
def test_groups_have_settings_of_their_own(make):
    """A group that comes later steps as it would in an optimizer of its own."""
    params, others = parameters()[:2], parameters()[:2]
    optimizer, alone = make(params[:1]), make(others[1:])
    for p in (*params, *others):
        p.grad = gg.ones_like(p)
    optimizer.step()
    optimizer.add_param_group({"params": params[1], "lr": 0.03})
    alone.param_groups[0]["lr"] = 0.03
    for _ in range(3):
        optimizer.step()
        alone.step()
    np.testing.assert_array_equal(*values([params[1], others[1]]))
    assert [optimizer.state[p]["step"] for p in params] == [4, 3]


@each({name: make for name, make in OPTIMIZERS.items() if name != "lamb"})
def test_complex_numbers_are_pairs_of_real_ones(make, device):
    with gg.device(device):
        z = gg.tensor(np.array([1 + 2j, -0.5 + 0.25j]), requires_grad=True)
        pair = [gg.tensor(part(z.detach().cpu().numpy()), requires_grad=True)
                for part in (np.real, np.imag)]  # fmt: skip
        optimizers = make([z]), make(pair)
        for t in range(3):
            g = np.array([0.5 - 1j, 1 + 2j * t])
            z.grad = gg.tensor(g)
            for p, part in zip(pair, (np.real, np.imag)):
                p.grad = gg.tensor(part(g))
            for optimizer in optimizers:
                optimizer.step()
        one, real, imaginary = values([z, *pair])
        np.testing.assert_allclose(one, real + 1j * imaginary, rtol=1e-14)


@with_rules
def test_settings_are_checked(make):
    optimizer = make(parameters())
    for key, value in optimizer.defaults.items():
        for wrong in ("x", float("nan"), [1, 2, 3, 4]):
            group = {"params": [gg.ones((1, 1), requires_grad=True)], key: wrong}
            with pytest.raises((gg.DTypeError, ValueError), match=f": {key}"):
                optimizer.add_param_group(group)
        if isinstance(value, bool):
            with pytest.raises(gg.DTypeError, match=f"{key} must be True or False, got 1"):
                optimizer.add_param_group({**group, key: 1})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("name", ["fused", "foreach", "capturable", "differentiable"])
def test_settings_of_pytorch_that_are_not_needed_say_so(name):
    for kind in (gg.optim.SGD, gg.optim.RMSprop, gg.optim.LBFGS):
        with pytest.raises(gg.DTypeError, match=f"{kind.__name__}: {name} is no setting of it: "):
            kind(parameters(), lr=0.1, **{name: True})
    with pytest.raises(TypeError, match="unexpected keyword argument 'speed'"):
        gg.optim.SGD(parameters(), lr=0.1, speed=1)
    with pytest.raises(gg.DTypeError, match="load_state_dict.state. puts it. Leave it out"):
        gg.optim.StepLR(gg.optim.SGD(parameters()), 3, last_epoch=-1)


# ---------------------------------------------------------------- of whole parameters


def test_lamb_is_the_formula_of_its_authors(device):
    """Adam's direction, as long as the parameter; alone where a norm is zero."""
    rng = np.random.default_rng(2)
    p, m, v = rng.normal(size=(3, 2)), np.zeros((3, 2)), np.zeros((3, 2))
    w = gg.tensor(p, requires_grad=True, device=device)
    zero = gg.zeros(2, requires_grad=True, device=device)
    optimizer = gg.optim.LAMB([w, zero], lr=0.1, weight_decay=0.2)
    for t in range(1, 20):
        g = rng.normal(size=(3, 2))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        u = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-6) + 0.2 * p
        p = p - 0.1 * np.linalg.norm(p) / np.linalg.norm(u) * u
        w.grad = gg.tensor(g, device=device)
        zero.grad = gg.zeros(2, device=device)
        optimizer.step()
    np.testing.assert_allclose(values([w])[0], p, rtol=1e-12)
    assert zero.tolist() == [0.0, 0.0]


def test_lion_is_the_formula_of_its_authors():
    rng = np.random.default_rng(2)
    p, m = rng.normal(size=5), np.zeros(5)
    w = gg.tensor(p, requires_grad=True)
    optimizer = gg.optim.Lion([w], lr=0.1, betas=(0.8, 0.9), weight_decay=0.2)
    for _ in range(20):
        g = rng.normal(size=5)
        p = p * (1 - 0.1 * 0.2) - 0.1 * np.sign(0.8 * m + 0.2 * g)
        m = 0.9 * m + 0.1 * g
        w.grad = gg.tensor(g)
        optimizer.step()
    np.testing.assert_allclose(values([w])[0], p, rtol=1e-12)


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (1, 3), (0, 3)])
def test_muon_makes_singular_values_about_one(shape, device):
    w = gg.zeros(shape, requires_grad=True, device=device)
    w.grad = gg.tensor(np.random.default_rng(1).normal(size=shape).astype("float32"), device=device)
    gg.optim.Muon([w], lr=1.0, adjust_lr_fn="match_rms_adamw").step()
    sizes = np.linalg.svd(values([w])[0], compute_uv=False) / (0.2 * np.sqrt(max(shape)))
    assert (sizes > 0.6).all()
    assert (sizes < 1.3).all()


@each({"lamb": gg.optim.LAMB, "muon": gg.optim.Muon, "lbfgs": gg.optim.LBFGS})
def test_complex_parameters_are_refused(make):
    with pytest.raises(gg.DTypeError, match="is complex; expected real parameters"):
        make([gg.tensor([[1j]], requires_grad=True)])


def test_nothing_waits_in_a_norm_or_a_product():
    with gg.device("sim"):
        params = parameters()
        for make in (OPTIMIZERS["lamb"], MATRICES["muon"]):
            optimizer = make(params)
            for p in params:
                p.grad = gg.ones_like(p)
            with gg.inspect.sync_guard():
                optimizer.step()


# ---------------------------------------------------------------- L-BFGS


def rosenbrock(make, dtype="float64", device=None):
    w = gg.tensor(np.array([-1.5, 2.0], dtype), requires_grad=True, device=device)
    optimizer = make([w])
    calls = []

    def closure():
        optimizer.zero_grad()
        loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
        loss.backward()
        calls.append(w.tolist())
        return loss

    return w, optimizer, closure, calls


def test_lbfgs_finds_the_minimum_of_rosenbrocks_function(device):
    w, optimizer, closure, calls = rosenbrock(
        lambda ps: gg.optim.LBFGS(ps, max_iter=100, line_search_fn="strong_wolfe"), device=device
    )
    loss = optimizer.step(closure)
    np.testing.assert_allclose(loss.item(), 2.5**2 + 100 * 0.25**2)
    np.testing.assert_allclose(w.tolist(), 1.0, atol=1e-5)
    entry = optimizer.state[w]
    assert entry["func_evals"] == len(calls) < 70
    assert entry["n_iter"] < len(calls)


@each(CLOSURES)
def test_a_closure_that_fails_leaves_all_as_it_was(make, device):
    w, optimizer, closure, calls = rosenbrock(make, device=device)
    for failing in range(4):
        before, state = w.tolist(), str(optimizer.state_dict())
        calls.clear()

        def fails(failing=failing):
            if len(calls) == failing:
                raise ZeroDivisionError
            return closure()

        stepped = False
        try:
            optimizer.step(fails)
            stepped = True
        except ZeroDivisionError:
            assert w.tolist() == before
            assert str(optimizer.state_dict()) == state
        if stepped:
            assert w.tolist() != before


def test_lbfgs_leaves_frozen_parameters_and_has_one_group():
    params = parameters()[:2]
    optimizer = CLOSURES["wolfe"](params)
    train(params, optimizer, range(2))
    params[0].requires_grad_(False)
    before = values(params)
    train(params, optimizer, range(2))
    after = values(params)
    assert (before[0] == after[0]).all()
    assert (before[1] != after[1]).any()
    with pytest.raises(ValueError, match="all parameters must be in one group"):
        optimizer.add_param_group({"params": gg.ones(1, requires_grad=True)})
    with pytest.raises(gg.DTypeError, match="Write optimizer.step.closure"):
        optimizer.step()
    with pytest.raises(ValueError, match="line_search_fn must be 'strong_wolfe', got 'w'"):
        gg.optim.LBFGS(params[1:], line_search_fn="w")
    with pytest.raises(gg.DeviceError, match="LBFGS"):
        gg.optim.LBFGS([params[1], gg.ones(1, requires_grad=True, device="sim")])


# ---------------------------------------------------------------- schedules


def optimizer_of(lr=1.0):
    return gg.optim.SGD([gg.zeros(1, requires_grad=True)], lr=lr, momentum=0.9)


@every_schedule
def test_a_schedule_is_resumed_at_every_step(make):
    """By new objects that load the states, whichever of the two is loaded first."""
    figures = [3.0, 2.0, 2.5, 2.4, 1.0, 1.0, 1.0, 1.0]
    optimizer = optimizer_of()
    schedule = make(optimizer)
    groups = []
    for figure in figures:
        groups.append(dict(optimizer.param_groups[0]))
        step(schedule, figure)
    for turn in (0, 1):
        optimizer = optimizer_of()
        schedule = make(optimizer)
        for figure, group in zip(figures, groups):
            assert {**optimizer.param_groups[0], "params": 0} == {**group, "params": 0}
            states = optimizer.state_dict(), schedule.state_dict()
            optimizer = optimizer_of()
            schedule = make(optimizer)
            for i in (turn, 1 - turn):
                (optimizer, schedule)[i].load_state_dict(states[i])
            step(schedule, figure)


@every_schedule
def test_a_schedule_says_where_it_is(make):
    schedule = make(optimizer_of())
    step(schedule)
    name = type(schedule).__name__
    assert repr(schedule).startswith(f"{name}(step 1, lr {schedule.get_last_lr()[0]:g}")
    assert getattr(gg.optim.lr_scheduler, name) is getattr(gg.optim, name) is type(schedule)


def of_two(rates):
    params = [{"params": [gg.zeros(1, requires_grad=True)], "lr": rate} for rate in rates]
    return gg.optim.SGD(params, lr=1.0)


def test_a_list_has_a_number_for_each_group():
    optimizer = of_two([1.0, 2.0])
    schedule = gg.optim.SWALR(optimizer, [0.5, 0.25], anneal_epochs=1)
    schedule.step()
    assert schedule.get_last_lr() == [0.5, 0.25]
    optimizer.add_param_group({"params": [gg.zeros(1, requires_grad=True)]})
    with pytest.raises(ValueError, match="swa_lr has no number for group 2, which was added"):
        schedule.step()
    assert schedule.last_epoch == 1


def test_one_cycle_has_an_end():
    schedule = gg.optim.OneCycleLR(optimizer_of(), 1.0, total_steps=2)
    schedule.step()
    schedule.step()
    before = schedule.state_dict()
    with pytest.raises(ValueError, match="this is step 3 of 2. Call step.. once a batch"):
        schedule.step()
    assert schedule.state_dict() == before


def test_a_cycle_s_height_may_be_a_function():
    schedule = gg.optim.CyclicLR(
        optimizer_of(), 0.0, 1.0, step_size_up=1, scale_fn=lambda cycle: 1 / cycle
    )
    rates = []
    for _ in range(4):
        rates += schedule.get_last_lr()
        schedule.step()
    assert rates == [0.0, 1.0, 0.0, 0.5]


def test_betas_are_cycled_where_there_is_no_momentum():
    optimizer = gg.optim.AdamW([gg.zeros(1, requires_grad=True)])
    gg.optim.OneCycleLR(optimizer, 1.0, total_steps=9, max_momentum=0.97)
    assert optimizer.param_groups[0]["betas"] == (0.97, 0.999)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda o: gg.optim.MultiStepLR(o, 3), gg.DTypeError, "milestones must be a list, got 3"),
        (lambda o: gg.optim.MultiStepLR(o, [0]), ValueError, "a milestone must be at least 1"),
        (lambda o: gg.optim.LambdaLR(o, 0.5), gg.DTypeError, "lr_lambda must be a function"),
        (lambda o: gg.optim.MultiplicativeLR(None, abs), gg.DTypeError, "expected an optimizer"),
        (lambda o: gg.optim.OneCycleLR(o, 1.0), ValueError, "needs total_steps, or epochs and"),
        (lambda o: gg.optim.OneCycleLR(o, [1.0, 2.0], 5), ValueError, "2 numbers for 1 groups"),
        (lambda o: gg.optim.OneCycleLR(o, 1.0, 5, pct_start=2), ValueError, "pct_start must be"),
        (
            lambda o: gg.optim.OneCycleLR(o, 1.0, 5, anneal_strategy="sine"),
            ValueError,
            "anneal_strategy must be 'cos' or 'linear', got 'sine'",
        ),
        (
            lambda o: gg.optim.CyclicLR(gg.optim.Adagrad(o.param_groups[0]["params"]), 0, 1),
            ValueError,
            "Adagrad has neither a momentum nor betas to cycle. Write cycle_momentum=False",
        ),
        (lambda o: gg.optim.ReduceLROnPlateau(o, "low"), ValueError, "mode must be 'min' or 'max'"),
        (lambda o: gg.optim.ReduceLROnPlateau(o, factor=1), ValueError, "factor must be at least"),
        (lambda o: gg.optim.ChainedScheduler([]), ValueError, "there are no schedules"),
        (lambda o: gg.optim.ChainedScheduler(o), gg.DTypeError, "a list of schedules first"),
        (
            lambda o: gg.optim.SequentialLR(o, [gg.optim.ReduceLROnPlateau(o)], []),
            gg.DTypeError,
            "that depend on the number of steps alone, got ReduceLROnPlateau",
        ),
        (
            lambda o: gg.optim.ChainedScheduler([gg.optim.ExponentialLR(o, 0.5)], optimizer_of()),
            ValueError,
            "must be of this optimizer",
        ),
    ],
)
def test_errors_of_schedules(make, error, message):
    with pytest.raises(error, match=message):
        make(optimizer_of())
