"""Nothing of a training step waits for the device.

On sim a guard tells, the stand-in for a GPU counts, and on a GPU its own clock tells: `held` says
how, by a kernel that stands first in the queue.
"""

import pytest
from devices import DEVICES as ALL_DEVICES
from gpu import STAND_IN, needs_gpu, waits
from held import held
from optable import apply, cases, outputs_of, tensors_for
from optimizers import CLOSURES, MATRICES, OPTIMIZERS, OTHER_SCHEDULES, SCHEDULES
from optimizers import step as step_of

import gpugrad as gg
from gpugrad import nn, optim
from gpugrad.nn import activations

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

LAYERS = {
    **activations.MODULES,
    "Identity": nn.Identity,
    "Softmax": lambda: nn.Softmax(axis=-1),
    "LogSoftmax": lambda: nn.LogSoftmax(axis=-1),
    "Dropout": lambda: nn.Dropout(0.5),
    "LayerNorm": lambda: nn.LayerNorm(4),
    "Flatten": nn.Flatten,
    "Linear": lambda: nn.Linear(4, 3),
    "MLP": lambda: nn.MLP(4, [8, 3]),
    "Sequential": lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)),
    "Threshold": lambda: nn.Threshold(0.1, 20.0),
    **{name: getattr(nn, name) for name in (
        "GLU", "PReLU", "RReLU", "Softmin", "Softmax2d", "Dropout1d", "AlphaDropout",
        "FeatureAlphaDropout",
    )},
    "BatchNorm1d": lambda: nn.BatchNorm1d(2, momentum=None),
    "InstanceNorm1d": lambda: nn.InstanceNorm1d(2, track_running_stats=True),
    "GroupNorm": lambda: nn.GroupNorm(1, 2),
    "RMSNorm": lambda: nn.RMSNorm(4),
    "Unflatten": lambda: nn.Unflatten(-1, (2, 2)),
    "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(4, 2, 8),
    "TransformerEncoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2),
    "PositionalEncoding": lambda: nn.PositionalEncoding(4),
}  # fmt: skip
# Those that slide windows, with the number of axes of their input.
WINDOWED = {
    **{f"{kind}{axes}d": (lambda k=kind, n=axes: getattr(nn, f"{k}{n}d")(2, 2, 2), axes)
       for kind in ("Conv", "ConvTranspose") for axes in (1, 2, 3)},
    **{f"{kind}Pool{axes}d": (lambda k=kind, n=axes: getattr(nn, f"{k}Pool{n}d")(3), axes)
       for kind in ("Max", "Avg", "AdaptiveMax", "AdaptiveAvg") for axes in (1, 2, 3)},
    **{f"{kind}{axes}d": (lambda k=kind, n=axes: getattr(nn, f"{k}{n}d")(2), axes)
       for kind in ("BatchNorm", "InstanceNorm") for axes in (2, 3)},
    "SyncBatchNorm": (lambda: nn.SyncBatchNorm(2), 2),
    **{f"Dropout{axes}d": (lambda n=axes: getattr(nn, f"Dropout{n}d")(0.5), axes)
       for axes in (2, 3)},
    "Upsample": (lambda: nn.Upsample(scale_factor=1.5, mode="bilinear"), 2),
    "UpsamplingNearest2d": (lambda: nn.UpsamplingNearest2d(7), 2),
    "UpsamplingBilinear2d": (lambda: nn.UpsamplingBilinear2d(7), 2),
    **{f"{kind}Pad{axes}d": (lambda k=kind, n=axes: getattr(nn, f"{k}Pad{n}d")(1), axes)
       for kind in ("Zero", "Reflection", "Replication", "Circular") for axes in (1, 2, 3)},
    **{f"ConstantPad{axes}d": (lambda n=axes: getattr(nn, f"ConstantPad{n}d")(1, 0.5), axes)
       for axes in (1, 2, 3)},
    "Unfold": (lambda: nn.Unfold(2), 2),
    "Fold": (lambda: nn.Sequential(nn.Unfold(2, stride=2), nn.Fold(4, 2, stride=2)), 2),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), 2),
    "PixelShuffle": (lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2)), 2),
}  # fmt: skip
# Those with other inputs, and the shapes of these; "whole" is for numbers of rows.
OTHERS = {
    "Embedding": (lambda: nn.Embedding(4, 3, padding_idx=0), "whole"),
    "Bilinear": (lambda: nn.Bilinear(4, 3, 2), (5, 4), (5, 3)),
    "CosineSimilarity": (nn.CosineSimilarity, (5, 4), (5, 4)),
    "PairwiseDistance": (nn.PairwiseDistance, (5, 4), (5, 4)),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2), *[(3, 5, 4)] * 3),
    "RotaryEmbedding": (lambda: nn.RotaryEmbedding(4), (5, 2, 4)),
    **{name: (lambda name=name: getattr(nn, name)(4, 3), (3, 5, 4))
       for name in ("RNN", "LSTM", "GRU")},
    **{name: (lambda name=name: getattr(nn, name)(4, 3), (5, 4))
       for name in ("RNNCell", "LSTMCell", "GRUCell")},
    **{name: (getattr(nn, name), (5, 4), (5, 4))
       for name in ("HingeEmbeddingLoss", "KLDivLoss", "MultiLabelSoftMarginLoss",
                    "PoissonNLLLoss", "SmoothL1Loss", "SoftMarginLoss")},
    "BCELoss": (lambda: nn.Sequential(nn.Sigmoid(), lambda p: nn.BCELoss()(p, p)), (5, 4)),
    "GaussianNLLLoss": (lambda: lambda x, t: nn.GaussianNLLLoss()(x, t, t * t), (5, 4), (5, 4)),
    "MarginRankingLoss": (nn.MarginRankingLoss, *[(5, 4)] * 3),
    "TripletMarginLoss": (nn.TripletMarginLoss, *[(5, 4)] * 3),
    "CosineEmbeddingLoss": (nn.CosineEmbeddingLoss, (5, 4), (5, 4), (5,)),
}  # fmt: skip
VALUES = ("MSELoss", "L1Loss", "HuberLoss", "BCEWithLogitsLoss")
CLASSES = ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss")
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
