"""What a training step launches, by the stand-in's counters: the table in docs/gpu.md."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from gpu import needs_gpu, needs_usual_stand_in

import gpugrad as gg
from gpugrad.backend.products import Products

try:
    import fakecuda
except ImportError:  # a GPU's own driver
    fakecuda = None

pytestmark = [needs_gpu, needs_usual_stand_in]

DOCUMENT = Path(__file__).parents[2] / "docs" / "gpu.md"
STEPS = 4
nn = gg.nn
IMAGES, SEQUENCES = (2, 3, 6, 6), (STEPS, 2, 8)


class Attention(nn.Module):
    def __init__(self):
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return self.inner(x, x, x, need_weights=False)[0]


class Rows(nn.Module):
    def __init__(self):
        self.inner = nn.Embedding(5, 8)
        self.numbers = gg.asarray([[0, 1], [2, 1]])

    def forward(self, x):
        return self.inner(self.numbers)


class Loss(nn.Module):
    """A loss of a parameter: its backward has nothing else to do."""

    def __init__(self, loss, target):
        self.loss, self.target = loss, target
        self.scores = nn.Parameter(gg.random.normal(size=(4, 3)))

    def forward(self, x):
        return self.loss(self.scores, self.target)


def encoder(dropout):
    return nn.TransformerEncoderLayer(8, 2, 16, dropout, batch_first=True)


def of_classes(name, ignored=None):
    loss = partial(getattr(nn.functional, name), ignore_index=ignored)
    return Loss(loss, gg.asarray([0, 2, 1, 2]))


# By the name in the table: a layer, and the shape of its input.
LAYERS = {
    "Linear": (lambda: nn.Linear(8, 4), SEQUENCES),
    "Linear, ReLU": (lambda: nn.Sequential(nn.Linear(8, 4), nn.ReLU()), SEQUENCES),
    "Conv2d": (lambda: nn.Conv2d(3, 4, 3), IMAGES),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), IMAGES),
    "GroupNorm": (lambda: nn.GroupNorm(3, 3), IMAGES),
    "LayerNorm": (lambda: nn.LayerNorm(8), SEQUENCES),
    "Embedding": (Rows, SEQUENCES),
    "RNN": (lambda: nn.RNN(8, 5), SEQUENCES),
    "LSTM": (lambda: nn.LSTM(8, 5), SEQUENCES),
    "GRU": (lambda: nn.GRU(8, 5), SEQUENCES),
    "MultiheadAttention": (Attention, SEQUENCES),
    "TransformerEncoderLayer": (lambda: encoder(0.0), SEQUENCES),
    "the same with dropout": (lambda: encoder(0.1), SEQUENCES),
    "mse_loss": (lambda: Loss(nn.functional.mse_loss, gg.ones((4, 3))), SEQUENCES),
    "cross_entropy": (lambda: of_classes("cross_entropy"), SEQUENCES),
    "cross_entropy(ignore_index=2)": (lambda: of_classes("cross_entropy", 2), SEQUENCES),
    "nll_loss": (lambda: of_classes("nll_loss"), SEQUENCES),
}


def table():
    """The rows of the document's table by name: launches and products, forward and backward."""
    text = DOCUMENT.read_text(encoding="utf-8").partition("## Launches")[2]
    rows = re.findall(r"^\| (\S.*?) \| (.+?) \| (.+?) \| .+? \|$", text, re.MULTILINE)
    return {name.replace("`", ""): (forward, backward) for name, forward, backward in rows}


def number(text):
    """The launches and the products of a cell such as "T + 3, 2 T"."""
    parts = (re.sub(r"(\d) T", r"\1 * T", part) for part in text.split(","))
    return tuple(eval(part, {"T": STEPS}) for part in parts)


@pytest.mark.parametrize("name", LAYERS)
def test_a_step_launches_what_the_table_says_and_never_waits(name):
    make, shape = LAYERS[name]
    with gg.device("cuda"):
        layer, x = make(), gg.ones(shape)
        optimizer = gg.optim.Adam(layer.parameters())

        def run():
            y = layer(x)
            return y[0] if isinstance(y, tuple) else y

        g = gg.ones_like(run().detach())
        for _ in range(2):  # the first one compiles and allocates
            with fakecuda.count() as first:
                y = run()
            with fakecuda.count() as second:
                y.backward(g)
            with fakecuda.count() as third:
                optimizer.step()
                optimizer.zero_grad()
    forward, backward = table()[name]
    assert (first.total_launches, first.total_library) == number(forward)
    assert (second.total_launches, second.total_library) == number(backward)
    assert third.total_launches == 1
    assert [one.waits for one in (first, second, third)] == [{}] * 3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["Conv2d", "RNN", "LSTM", "GRU"])
def test_half_precisions_are_multiplied_as_they_are(name, dtype, monkeypatch):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="needs ml_dtypes")
    multiplied, into = [], Products._into

    def noting(products, y, plan, a, *rest):
        multiplied.append((a.dtype.name, y.dtype.name))
        into(products, y, plan, a, *rest)

    monkeypatch.setattr(Products, "_into", noting)
    make, shape = LAYERS[name]
    with gg.device("cuda"):
        layer, x = make(), gg.random.normal(size=shape)

        def results(dtype):
            layer.zero_grad()
            with fakecuda.count() as counts:
                y = layer(x.to(dtype=dtype))
                y = y[0] if isinstance(y, tuple) else y
                (y * y).sum().backward()
            values = [y.detach(), *[p.grad for p in layer.parameters()]]
            return counts, [value.astype("float32").cpu().numpy() for value in values]

        _, expected = results("float32")
        multiplied.clear()
        layer.to(dtype=dtype)
        results(dtype)
        multiplied.clear()
        counts, found = results(dtype)
    forward, backward = (number(cell)[1] for cell in table()[name])
    assert multiplied == [(dtype, dtype)] * (forward + backward)
    assert counts.waits == {}
    for one, other in zip(found, expected, strict=True):
        size = max(1.0, abs(other).max())
        np.testing.assert_allclose(one, other, atol=0.03 * size)


ONE_KERNEL = [
    "ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "NAdam", "RAdam", "RMSprop",
    "Rprop", "SGD",
]  # fmt: skip


@pytest.mark.parametrize("name", ONE_KERNEL)
def test_a_step_of_an_optimizer_is_one_kernel(name):
    with gg.device("cuda"):
        model, x = nn.MLP(6, [5, 4, 3]), gg.ones((2, 6))
        optimizer = getattr(gg.optim, name)(model.parameters())
        for _ in range(2):
            model(x).sum().backward()
            with fakecuda.count() as counts:
                optimizer.step()
    assert (counts.total_launches, counts.waits) == (1, {})


@pytest.mark.parametrize(
    ("make", "kernels", "products"), [(gg.optim.LAMB, 15, 0), (gg.optim.Muon, 20, 15)]
)
def test_what_is_elementwise_between_norms_and_products_is_one_launch(make, kernels, products):
    w = gg.ones((6, 4), device="cuda:0", requires_grad=True)
    w.grad = gg.ones((6, 4), device="cuda:0")
    optimizer = make([w])
    optimizer.step()
    with fakecuda.count() as counts:
        optimizer.step()
    assert sum(counts.launches.values()) == kernels  # a product of the stand-in is no launch
    assert counts.library.get("cublasGemmEx", 0) == products
    assert not counts.waits
