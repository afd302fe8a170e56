"""A step is done whole or not at all: also where it fails, and where an interrupt arrives."""

from functools import partial

import numpy as np
import pytest
from interrupts import ARRIVALS, interrupted_everywhere
from optimizers import CLOSURES, OPTIMIZERS

import gpugrad as gg
from gpugrad.backend.interrupts import Repeatable, whole
from gpugrad.optim import apply

MAKERS = OPTIMIZERS | {"master": lambda ps: gg.optim.Adam(ps, lr=0.1, master_weights=True)}
optimizers = pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))
# The slowest test, where the optimizers differ in nothing but the count of their states.
few = pytest.mark.parametrize("make", [MAKERS[name] for name in ("sgd", "nadam", "master")])


# Of places: all arrivals are alike to what is tested, so those that are not Ctrl-C try fewer.
STRIDE = {"SIGINT": 11, "SIGALRM": 13, "thread": 17}
arrivals = pytest.mark.parametrize("arrival", ARRIVALS)


def parameters():
    """Two small ones that are stepped together, one of another dtype, and a view of the first."""
    params = [gg.ones(3, requires_grad=True) for _ in range(2)]
    params.append(gg.ones(2, dtype="float16", requires_grad=True))
    shared = gg.ones(4)
    params += [gg.Tensor(shared.data[part]).requires_grad_() for part in (slice(3), slice(1, 4))]
    for p in params:
        p.grad = gg.full(p.shape, 0.5, dtype=p.dtype)
    return params


def everything(params, optimizer):
    state = optimizer.state
    arrays = [p.detach().cpu().numpy() for p in params]
    entries = [
        {k: v if isinstance(v, int | float) else gg.asarray(v).tolist() for k, v in entry.items()}
        for entry in (state[p] for p in params if p in state)
    ]
    return [array.tolist() for array in arrays], entries


@arrivals
@few
def test_an_interrupt_at_any_bytecode_of_a_step(make, arrival, device):
    """The step is done, or it has not begun; and the next one is right."""

    def begun():
        with gg.device(device):
            params = parameters()
            optimizer = make(params)
            optimizer.step()
        return params, optimizer

    wanted = []
    params, optimizer = begun()
    for _ in range(3):
        wanted.append(everything(params, optimizer))
        optimizer.step()
    outcomes = set()

    def check(made):
        params, optimizer = made
        now = everything(params, optimizer)
        assert now in wanted[:2]
        outcomes.add(wanted.index(now))
        optimizer.step()
        assert everything(params, optimizer) == wanted[wanted.index(now) + 1]

    stride = STRIDE[arrival] if device == "cpu" else 3 * STRIDE[arrival]
    interrupted_everywhere(begun, lambda made: made[1].step(), check, stride, arrival)
    assert outcomes == {0, 1}


def test_an_interrupt_at_any_bytecode_of_a_line_search(device):
    """In the closure too: the parameters are then where they were."""

    def begun():
        params = [gg.full(2, x, requires_grad=True, device=device) for x in (0.5, -2.0)]
        return params, CLOSURES["wolfe"](params)

    def step(made):
        params, optimizer = made

        def closure():
            optimizer.zero_grad()
            loss = sum((p**4 - p).sum() for p in params)
            loss.backward()
            return loss

        optimizer.step(closure)

    wanted = []
    made = begun()
    for _ in range(3):
        wanted.append(([p.tolist() for p in made[0]], repr(made[1].state_dict())))
        step(made)
    outcomes = set()

    def check(made):
        now = [p.tolist() for p in made[0]], repr(made[1].state_dict())
        assert now in wanted[:2]
        outcomes.add(wanted.index(now))
        step(made)
        assert [p.tolist() for p in made[0]] == wanted[wanted.index(now) + 1][0]

    interrupted_everywhere(begun, step, check, stride=211)
    # The last places, where the step is done, are few.
    assert 0 in outcomes


@arrivals
def test_an_interrupt_at_any_bytecode_of_a_backward_pass(arrival, device):
    """It adds to all leaves, or to none."""

    def begun():
        leaves = [gg.ones(2, requires_grad=True, device=device) for _ in range(3)]
        leaves[0].grad = gg.ones(2, device=device)
        leaves.append(gg.tensor(1.0, requires_grad=True, device=device))
        leaves[3].grad = gg.tensor(1.0, device=device)
        return leaves, sum((leaf * (i + 2)).sum() for i, leaf in enumerate(leaves))

    none = [[1.0, 1.0], None, None, 1.0]
    all_ = [[3.0, 3.0], [3.0, 3.0], [4.0, 4.0], 6.0]
    outcomes = []

    def check(made):
        now = [None if leaf.grad is None else leaf.grad.tolist() for leaf in made[0]]
        assert now in (none, all_)
        outcomes.append(now == all_)

    interrupted_everywhere(begun, lambda made: made[1].backward(), check, STRIDE[arrival], arrival)
    assert {True, False} == set(outcomes)


def own_rule(xp, p, g, state, scratch, lr):
    """With operators, so that it cannot be recorded."""
    state[0][...] = state[0] * 0.5 + g
    p -= lr * state[0]


def recorded_rule(xp, p, g, state, scratch, lr):
    xp.multiply(state[0], 0.5, state[0])
    xp.add(state[0], g, out=state[0])
    xp.multiply(state[0], lr, scratch[0])
    xp.subtract(p, scratch[0], p)


def optimizer_by(rule):
    class Own(gg.optim.Optimizer):
        names = ("velocity",)

        def _values(self, group, t):
            return (group["lr"],)

        def _check(self, group):
            pass

    Own.rule = staticmethod(rule)
    return lambda ps: Own(ps, {"lr": 0.25})


CHANGES = {
    "norm": lambda ps: gg.optim.clip_grad_norm_(ps, 0.1),
    "value": lambda ps: gg.optim.clip_grad_value_(ps, 0.1),
    "average": lambda ps: gg.optim.swa_utils.get_ema_multi_avg_fn(0.5)(
        [p.grad for p in ps], [p.detach() for p in ps], 1
    ),
    "unscale": lambda ps: gg.GradScaler(init_scale=2.0).unscale_(
        gg.optim.SGD([p for p in ps if p.dtype != np.float16])
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_interrupt_at_any_bytecode_of_a_change_of_several(name, device):
    """Of clipping, averages and unscaling: by a GPU's kernels there is a launch for each dtype."""

    def begun():
        params = []
        for dtype in ("float32", "float16", "float64", "float32"):
            params.append(gg.ones(3, dtype=dtype, device=device, requires_grad=True))
            params[-1].grad = gg.full(3, 0.5, dtype=dtype, device=device)
        return params

    def gradients(params):
        return [p.grad.tolist() for p in params]

    changed = begun()
    CHANGES[name](changed)
    wanted = [gradients(begun()), gradients(changed)]
    outcomes = set()

    def check(params):
        outcomes.add(wanted.index(gradients(params)))

    stride = 3 if device == "cpu" else 7
    interrupted_everywhere(begun, CHANGES[name], check, stride)
    assert outcomes == {0, 1}


@pytest.mark.parametrize("arrival", ["SIGALRM", "thread"])
def test_a_rule_that_is_not_recorded_gives_the_same_whole_steps(arrival, device):
    with gg.device(device):
        ways = [(ps := parameters(), optimizer_by(rule)(ps)) for rule in (own_rule, recorded_rule)]
        for _ in range(3):
            for _, optimizer in ways:
                optimizer.step()
            assert everything(*ways[0]) == everything(*ways[1])

    def begun():
        with gg.device(device):
            params = parameters()[:3]
            optimizer = optimizer_by(own_rule)(params)
            optimizer.step()
        return params, optimizer

    params, optimizer = begun()
    before = everything(params, optimizer)
    optimizer.step()
    wanted = before, everything(params, optimizer)
    interrupted_everywhere(
        begun,
        lambda made: made[1].step(),
        lambda made: [wanted.index(everything(*made))],
        29,
        arrival,
    )


@arrivals
def test_a_step_on_two_threads_is_whole(arrival, monkeypatch):
    monkeypatch.setattr(apply, "thread_count", lambda: 2)
    monkeypatch.setattr(apply, "JOB", apply.BLOCK // 4)
    size = 3 * apply.BLOCK // 4 + 5

    def begun():
        p = gg.ones(size, requires_grad=True)
        p.grad = gg.ones(size)
        optimizer = gg.optim.SGD([p], lr=0.5, momentum=0.5)
        optimizer.step()
        return p, optimizer

    outcomes = set()

    def check(made):
        p, optimizer = made
        values = {float(x) for part in (p, optimizer.state[p]["momentum_buffer"])
                  for x in (part[[0, -1, size // 2]])}  # fmt: skip
        outcomes.add((optimizer.state[p]["step"], *sorted(values)))

    interrupted_everywhere(begun, lambda made: made[1].step(), check, STRIDE[arrival], arrival)
    assert outcomes == {(1, 0.5, 1.0), (2, -0.25, 1.5)}


def test_the_rules_of_all_optimizers_are_recorded():
    """Otherwise a step copies the parameters and their states."""
    for name, make in MAKERS.items():
        optimizer = make(parameters())
        group = optimizer.param_groups[0]
        if optimizer.elementwise:
            for t in (1, 10):
                _, values = optimizer._advance(group, (t, *optimizer._start(group)[1:]))
                names = optimizer._names(group)
                assert apply.takes(type(optimizer).rule, names, optimizer.scratch, values), name


@arrivals
def test_an_interrupt_at_any_bytecode_of_loading(arrival, device):
    def begun():
        gg.manual_seed(0)
        model = gg.nn.Sequential(gg.nn.Linear(2, 2), gg.nn.Linear(2, 1)).to(device)
        return model, {name: gg.ones_like(t) for name, t in model.state_dict().items()}

    old = {name: t.tolist() for name, t in begun()[0].state_dict().items()}
    new = {name: t.tolist() for name, t in begun()[1].items()}

    def check(made):
        now = {name: t.tolist() for name, t in made[0].state_dict().items()}
        assert now in (old, new)

    stride = 2 * STRIDE[arrival]
    interrupted_everywhere(
        begun, lambda made: made[0].load_state_dict(made[1]), check, stride, arrival
    )


def test_calls_are_all_made_where_some_raise():
    """The first error is raised; what CuPy had to compile before, is called again."""
    done = []
    fails = iter([True, False])

    def once():
        if next(fails):
            raise KeyError("first")
        done.append("again")

    def always():
        done.append("failed")
        raise ValueError("second")

    calls = [partial(done.append, 1), Repeatable(once), partial(done.append, 2), always, always]
    with pytest.raises(KeyError, match="first"):
        whole([*calls, partial(done.append, 3)])
    assert done == [1, "again", 2, "failed", "failed", 3]
    whole([])


@optimizers
def test_a_step_that_fails_changes_nothing(make, device):
    """Whatever is wrong with one parameter, the others keep their values."""
    with gg.device(device):
        faults = [
            lambda p: setattr(p, "_grad", gg.ones(p.shape, device="sim:1")),
            lambda p: setattr(p, "_array", gg.ones(7).data),
        ]
        for fault in faults:
            for index in range(5):
                params = parameters()
                optimizer = make(params)
                optimizer.step()
                before = everything(params, optimizer)
                held = params[index]._array, params[index]._grad
                fault(params[index])
                with pytest.raises((gg.ShapeError, gg.DeviceError)):
                    optimizer.step()
                params[index]._array, params[index]._grad = held
                assert everything(params, optimizer) == before


@optimizers
def test_a_frozen_parameter_with_an_old_gradient_stays(make, device):
    with gg.device(device):
        for frozen in range(4):
            params = parameters()[:4]
            optimizer = make(params)
            for turn in range(4):
                params[frozen].requires_grad_(turn not in (1, 2))
                before = params[frozen].tolist()
                optimizer.step()
                assert (params[frozen].tolist() == before) == (turn in (1, 2))
            steps = [optimizer.state[p]["step"] for p in params]
            assert steps == [2 if i == frozen else 4 for i in range(4)]


# ---------------------------------------------------------------- half precision


@pytest.mark.parametrize("count", [1, 2])  # alone, and together in a bucket
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_half_precision_is_updated_in_float32(name, count, device, rng):
    kwargs = {"momentum": 0.9} if name == "SGD" else {}
    with gg.device(device):
        half = [gg.zeros(5, dtype="float16", requires_grad=True) for _ in range(count)]
        full = [gg.zeros(5, requires_grad=True) for _ in range(count)]
        optimizers = [getattr(gg.optim, name)(ps, lr=0.01, **kwargs) for ps in (half, full)]
        for _ in range(30):
            for h, f in zip(half, full):
                g = rng.normal(size=5).astype("float16") * np.float16(1e-3)
                g[0] = 0.0  # Adam's eps, 1e-8, is nothing in float16
                h.grad, f.grad = (gg.tensor(g.astype(p.dtype), device=device) for p in (h, f))
            for optimizer in optimizers:
                optimizer.step()
        for h, f in zip(half, full):
            np.testing.assert_allclose(h.tolist(), f.tolist(), rtol=3e-3, atol=1e-4)
            for state in ("momentum_buffer", "exp_avg", "exp_avg_sq"):
                if state in optimizers[0].state[h]:
                    one, other = (o.state[p][state] for o, p in zip(optimizers, (h, f)))
                    assert one.dtype == np.float32
                    np.testing.assert_allclose(
                        gg.asarray(one).tolist(), gg.asarray(other).tolist(), rtol=1e-5
                    )


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_master_weights_add_up_what_float16_cannot(name, count, device):
    def stepped(dtype, master, times=40):
        params = [gg.ones(3, dtype=dtype, requires_grad=True) for _ in range(count)]
        optimizer = getattr(gg.optim, name)(params, lr=1e-4, master_weights=master)
        for _ in range(times):
            for p in params:
                p.grad = gg.full(3, 1.0, dtype=dtype)
            optimizer.step()
        return params, optimizer

    with gg.device(device):
        exact = stepped("float32", False)[0][-1].tolist()
        assert stepped("float16", False)[0][-1].tolist() == [1.0] * 3  # each step is lost
        params, optimizer = stepped("float16", True)
        for p in params:
            np.testing.assert_allclose(p.tolist(), exact, rtol=5e-4)
            master = gg.asarray(optimizer.state[p]["master_weights"])
            assert master.dtype == np.float32
            np.testing.assert_allclose(master.tolist(), exact, rtol=1e-6)
        # They are saved, and what was changed otherwise since the last step counts.
        others = [gg.tensor(p.detach().numpy() if device == "cpu" else p.detach(),
                            requires_grad=True) for p in params]  # fmt: skip
        other = getattr(gg.optim, name)(others, lr=1e-4)
        other.load_state_dict(optimizer.state_dict())
        assert other.param_groups[0]["master_weights"] is True
        for ps, o in ((params, optimizer), (others, other)):
            for p in ps:
                p.grad = gg.full(3, 1.0, dtype="float16")
                with gg.no_grad():
                    p[0] = 2.0
            o.step()
        for p, q in zip(params, others):
            one, two = optimizer.state[p]["master_weights"], other.state[q]["master_weights"]
            assert gg.asarray(one).tolist() == gg.asarray(two).tolist()
            assert 1.999 < gg.asarray(one).tolist()[0] < 2.0


def test_float32_has_no_master_weights_and_states_before_them_load():
    p = gg.ones(2, requires_grad=True)
    p.grad = gg.ones(2)
    optimizer = gg.optim.Adam([p], master_weights=True)
    optimizer.step()
    state = optimizer.state_dict()
    assert "master_weights" not in state["state"][0]
    del state["param_groups"][0]["master_weights"]
    gg.optim.Adam([p]).load_state_dict(state)
    with pytest.raises(gg.DTypeError, match="master_weights must be True or False, got 1"):
        gg.optim.SGD([p], lr=0.1, master_weights=1)
