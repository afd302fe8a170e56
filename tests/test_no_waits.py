"""Nothing of a training step waits for the device.

On sim a guard tells, the stand-in for a GPU counts, and on a GPU its own clock tells: `held` says
how, by a kernel that stands first in the queue.
"""

import pytest
from devices import DEVICES as ALL_DEVICES
from gpu import STAND_IN, needs_gpu, waits
from held import held
from layers import CLASSES, LAYERS, OTHERS, VALUES, WINDOWED
from optable import apply, cases, outputs_of, tensors_for
from optimizers import CLOSURES, MATRICES, OPTIMIZERS, OTHER_SCHEDULES, SCHEDULES
from optimizers import step as step_of

import gpugrad as gg
from gpugrad import nn, optim

DEVICES = [name for name in ALL_DEVICES if name != "cpu"]  # which never waits


def assert_no_wait_on_the_gpu(step):
    if STAND_IN:
        waited = waits(step)
        assert not waited, f"the host waited for the device: {waited}"
        return
    with held():  # pinned memory as well: of a loader whose copies are held back
        step()
    with held() as event:
        step()
        waited = event.done
    assert not waited, "the host waited for the device"


def check(device, step):
    """A step once as it is, so that all it needs is compiled and allocated, then watched."""
    with gg.device(device):
        step()
        if device == "cuda":
            assert_no_wait_on_the_gpu(step)
        with gg.sync_guard():
            step()


@needs_gpu
def test_a_wait_is_noticed():
    x = gg.ones(3, device="cuda")
    with pytest.raises(AssertionError, match="the host waited"):
        assert_no_wait_on_the_gpu(lambda: x.sum().item())


# ---------------------------------------------------------------- what is public, all of it

CLIPPING = {
    "norm": lambda p: optim.clip_grad_norm_(p, 0.1),
    "norm of 1": lambda p: optim.clip_grad_norm_(p, 0.1, 1.0),
    "largest": lambda p: optim.clip_grad_norm_(p, 0.1, float("inf")),
    "value": lambda p: optim.clip_grad_value_(p, 0.1),
}


def test_the_tables_have_all_that_is_public():
    modules = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    modules -= {"Module", "Parameter", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict"}
    assert modules == {*LAYERS, *WINDOWED, *OTHERS, *VALUES, *CLASSES}
    public = {name for name in optim.__all__ if isinstance(getattr(optim, name), type)}
    makers = [*(OPTIMIZERS | MATRICES | CLOSURES).values()]
    optimizers = [make([leaf(2, 2)]) for make in makers]
    schedules = [make(optimizers[0]) for make in (SCHEDULES | OTHER_SCHEDULES).values()]
    mentioned = {type(thing).__name__ for thing in (*optimizers, *schedules)}
    assert public - mentioned == {"LRScheduler", "Optimizer"}


def leaf(*shape):
    return gg.random.normal(0.0, 1.0, shape).requires_grad_()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, device):
    with gg.device(device):
        layer = LAYERS[name]()
        x = leaf(5, 2, 4)

    def step():
        layer(x).sum().backward()

    check(device, step)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", WINDOWED)
def test_windows(name, device):
    make, axes = WINDOWED[name]
    with gg.device(device):
        layer = make()
        x = leaf(3, 2, *(4,) * axes)

    def step():
        layer(x).sum().backward()

    check(device, step)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", OTHERS)
def test_layers_with_other_inputs(name, device):
    make, *shapes = OTHERS[name]
    with gg.device(device):
        layer = make()
        inputs = [
            gg.random.integers(0, 4, (5,)) if shape == "whole" else leaf(*shape) for shape in shapes
        ]

    def step():
        y = layer(*inputs)
        (y[0] if isinstance(y, tuple) else y).sum().backward()

    check(device, step)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", [*VALUES, *CLASSES])
def test_losses(name, reduction, device):
    loss = getattr(nn, name)(reduction=reduction)
    with gg.device(device):
        scores = leaf(6, 4)
        target = (
            gg.random.integers(0, 4, (6,)) if name in CLASSES else gg.random.uniform(0, 1, (6, 4))
        )

    def step():
        loss(scores, target).sum().backward()

    check(device, step)


def trained(make, make_schedule):
    """A step of a model with an optimizer and a schedule, which waits for no loss."""
    model = nn.MLP(4, [8, 3])
    x, target = gg.random.normal(0.0, 1.0, (6, 4)), gg.random.integers(0, 3, (6,))
    optimizer = make(
        [p for p in model.parameters() if p.ndim == 2 or make not in MATRICES.values()]
    )
    scheduler = make_schedule(optimizer)

    def step():
        loss = nn.functional.cross_entropy(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step_of(scheduler)

    return step


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", OPTIMIZERS | MATRICES)  # those with a closure need its loss
def test_optimizers(name, device):
    with gg.device(device):
        check(device, trained((OPTIMIZERS | MATRICES)[name], SCHEDULES["step"]))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", SCHEDULES | OTHER_SCHEDULES)
def test_schedules(name, device):
    with gg.device(device):
        check(device, trained(OPTIMIZERS["sgd"], (SCHEDULES | OTHER_SCHEDULES)[name]))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("clip", CLIPPING.values(), ids=list(CLIPPING))
@pytest.mark.parametrize("set_to_none", [True, False])
def test_clipping_and_clearing(clip, set_to_none, device):
    with gg.device(device):
        model = nn.MLP(4, [8, 3])
        x = gg.random.normal(0.0, 1.0, (6, 4))
        optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step():
        optimizer.zero_grad(set_to_none=set_to_none)
        (model(x) ** 2).sum().backward()
        clip(model.parameters())

    check(device, step)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("deterministic", [False, True])
def test_indices(deterministic, device):
    with gg.device(device):
        table = leaf(7, 3)
        words = gg.random.integers(0, 7, (4, 2))

    def step():
        with gg.deterministic(deterministic):
            (table[words] ** 2).sum().backward()
            gg.segment_sum(table[:4], words[:, 0], 7).sum().backward()

    check(device, step)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("lies_on", ["cpu", "the device"])
def test_loaders(lies_on, shuffle, device):
    there = gg.Device("cpu" if lies_on == "cpu" else device)
    x, y = (gg.random.normal(0.0, 1.0, (32, 4), device=there) for _ in range(2))
    loader = gg.data.DataLoader((x, y), 4, shuffle, device=device)
    with gg.device(device):
        model = nn.MLP(4, [8, 4])

    def step():
        for xb, yb in loader:
            nn.functional.mse_loss(model(xb), yb).backward()

    check(device, step)


def ops():
    found = {}
    for op, sample in cases():
        found.setdefault(op.name, (op, sample))
    return found


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ops())
def test_ops(name, device):
    op, sample = ops()[name]
    with gg.device(device):
        tensors = tensors_for(op, sample, device)

    def step():
        outputs = outputs_of(apply(op, sample, tensors))
        seeds = [y for y in outputs if y.requires_grad]
        for y in seeds:
            y.backward(gg.ones(y.shape, dtype=y.dtype), retain_graph=True)

    check(device, step)
