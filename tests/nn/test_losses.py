"""Losses against PyTorch's figures, and what each of them has to refuse."""

from pathlib import Path

import numpy as np
import pytest
from arrays import host

import gpugrad as gg

F = gg.nn.functional
FIGURES = dict(np.load(Path(__file__).parents[1] / "data" / "pytorch" / "losses.npz"))
CALLS, NUMBERS, SIZES = (FIGURES.pop(name) for name in ("calls", "numbers", "sizes"))
ROWS = dict(zip(CALLS.tolist(), np.split(NUMBERS, np.cumsum(SIZES)[:-1]), strict=True))
LEAVES = "xyzpv"


def tensors(device, dtype=np.float64):
    return {
        name: gg.tensor(
            array.astype(dtype) if array.dtype.kind == "f" else array,
            device=device, dtype=None if array.dtype.kind == "f" else array.dtype,
            requires_grad=name in LEAVES,
        )
        for name, array in FIGURES.items()
    }  # fmt: skip


# The calls that differ in their reduction, by the call without one.
ALIKE: dict[str, list[str]] = {}
for _call in ROWS:
    ALIKE.setdefault(_call.partition(", reduction")[0], []).append(_call)


@pytest.mark.parametrize("some", ALIKE.values(), ids=ALIKE)
def test_values_and_gradients_are_those_of_pytorch(some, device):
    for call in some:
        arrays = tensors(device)
        loss = eval(f"F.{call}", {"F": F}, arrays)
        (loss * loss).sum().backward()
        found = [loss, *(arrays[name].grad for name in LEAVES if arrays[name].grad is not None)]
        found = np.concatenate([host(tensor).ravel() for tensor in found])
        np.testing.assert_allclose(found, ROWS[call], rtol=1e-9, atol=1e-12, err_msg=call)


@pytest.mark.parametrize("call", [call for call in ROWS if "mean" in call])
def test_they_are_differentiated_twice(call):
    arrays = tensors("cpu")
    names = [name for name in LEAVES if f"({name}" in call or f" {name}" in call]

    def loss(*leaves):
        return eval(f"F.{call}", {"F": F}, arrays | dict(zip(names, leaves, strict=True))) ** 2

    assert gg.gradgradcheck(loss, [arrays[name] for name in names])


@pytest.mark.parametrize("call", [call for call in ROWS if "reduction='sum'" in call])
def test_half_precision_is_half_precision(call, device):
    if "log_target" in call:  # the logarithms are no logarithms of probabilities
        return
    loss = eval(f"F.{call}", {"F": F}, tensors(device, np.float16))
    right = eval(f"F.{call}", {"F": F}, tensors(device))
    assert loss.dtype == np.float16
    np.testing.assert_allclose(host(loss), host(right), rtol=2e-2, atol=2e-2)


MODULES = {
    "BCELoss(weight=W)": ("binary_cross_entropy(p, P, weight=W)", "p, P"),
    "BCEWithLogitsLoss(W, pos_weight=V)": (
        "binary_cross_entropy_with_logits(x, P, weight=W, pos_weight=V)", "x, P"
    ),
    "CrossEntropyLoss(V, label_smoothing=0.3)": (
        "cross_entropy(x, C, weight=V, label_smoothing=0.3)", "x, C"
    ),
    "NLLLoss(V, ignore_index=0)": ("nll_loss(x, C, weight=V, ignore_index=0)", "x, C"),
    "KLDivLoss(log_target=True)": ("kl_div(x, y, log_target=True)", "x, y"),
    "SmoothL1Loss(beta=0.25)": ("smooth_l1_loss(x, y, beta=0.25)", "x, y"),
    "PoissonNLLLoss(False, full=True)": (
        "poisson_nll_loss(p, N, log_input=False, full=True)", "p, N"
    ),
    "GaussianNLLLoss(full=True)": ("gaussian_nll_loss(x, y, v, full=True)", "x, y, v"),
    "MarginRankingLoss(0.3)": ("margin_ranking_loss(x, y, S, margin=0.3)", "x, y, S"),
    "HingeEmbeddingLoss(0.2)": ("hinge_embedding_loss(x, S, margin=0.2)", "x, S"),
    "SoftMarginLoss()": ("soft_margin_loss(x, S)", "x, S"),
    "MultiMarginLoss(2, 0.5, V)": ("multi_margin_loss(x, C, p=2, margin=0.5, weight=V)", "x, C"),
    "MultiLabelSoftMarginLoss(V)": ("multilabel_soft_margin_loss(x, S01, weight=V)", "x, S01"),
    "CosineEmbeddingLoss(0.3)": ("cosine_embedding_loss(x, y, T, margin=0.3)", "x, y, T"),
    "TripletMarginLoss(0.5, 1, swap=True)": (
        "triplet_margin_loss(x, y, z, margin=0.5, p=1, swap=True)", "x, y, z"
    ),
}  # fmt: skip


@pytest.mark.parametrize("made", MODULES)
def test_modules_call_their_functions(made, device):
    call, operands = MODULES[made]
    arrays = tensors(device)
    module = eval(f"nn.{made}", {"nn": gg.nn}, arrays)
    row = ROWS[f"{call[:-1]}, reduction='mean')"]
    loss = eval(f"module({operands})", {"module": module}, arrays)
    assert loss.item() == pytest.approx(row[0])
    assert ("weight" in module.state_dict()) == (" weight=" in call)
    assert "reduction='mean'" in repr(module)


def test_far_out_they_are_finite(device):
    p = gg.tensor([0.0, 1.0, 0.0], device=device, requires_grad=True)
    t = gg.tensor([0.0, 1.0, 1.0], device=device)
    with np.errstate(all="ignore"):
        loss = F.binary_cross_entropy(p, t, reduction="none")
        loss.sum().backward()
    assert host(loss).tolist() == [0, 0, 100]
    assert host(p.grad).tolist() == pytest.approx([0, 0, -1e12])
    x = gg.tensor([-1e4, 1e4], device=device, requires_grad=True)
    F.soft_margin_loss(x, gg.ones(2, device=device), reduction="sum").backward()
    assert host(x.grad).tolist() == [-1, 0]
    zero = gg.zeros(2, device=device)
    logs = gg.tensor([-np.inf, 0.0], device=device, requires_grad=True)
    assert F.kl_div(logs, zero).item() == 0


CASES = [
    ("binary_cross_entropy(x, P)", ValueError, "probabilities, from 0 to 1, .*with_logits"),
    ("binary_cross_entropy(p, P, weight=T)", gg.ShapeError, r"weight of shape \(4,\) does not"),
    ("binary_cross_entropy(p, T)", gg.ShapeError, "one shape"),
    ("binary_cross_entropy(p, P, reduction='all')", ValueError, "reduction must be"),
    ("cross_entropy(x, C, weight=T)", gg.ShapeError, "weight must have one number for each of 3 c"),
    ("cross_entropy(x, P, weight=T)", gg.ShapeError, "weight must have one number for each of 3 c"),
    ("nll_loss(x, C, weight=T)", gg.ShapeError, "nll_loss: weight must have one number for each"),
    ("kl_div(x, P, 'batch')", ValueError, "kl_div: reduction must be"),
    ("smooth_l1_loss(x, y, beta=-1)", ValueError, "beta must not be negative, got -1"),
    ("gaussian_nll_loss(x, y, T[:3])", gg.ShapeError, "var must have the shape of the prediction"),
    ("gaussian_nll_loss(x, y, -p)", ValueError, "a variance must not be negative, got -0"),
    ("margin_ranking_loss(x, y, T)", gg.ShapeError, r"\(4, 3\), \(4, 3\), \(4,\) do not broadcast"),
    ("hinge_embedding_loss(x, T)", gg.ShapeError, "do not broadcast"),
    ("multi_margin_loss(x, C, p=3)", ValueError, "p must be 1 or 2, got 3"),
    ("multi_margin_loss(x, C[:3])", gg.ShapeError, "expected scores .* got"),
    (
        "multi_margin_loss(x, C + 1)",
        gg.IndexingError,
        "class numbers must be from 0 to 2, .* 3",
    ),
    ("multi_margin_loss(x, T)", gg.DTypeError, "whole numbers"),
    ("multi_margin_loss(x, C, weight=T)", gg.ShapeError, "one number for each of 3 classes"),
    ("cosine_embedding_loss(x, y, S)", gg.ShapeError, r"a target \(samples,\); got"),
    ("triplet_margin_loss(x, y, T)", gg.ShapeError, "triplet_margin_loss: shapes"),
    ("soft_margin_loss(x * 1j, S)", gg.DTypeError, "it takes no complex numbers"),
]


@pytest.mark.parametrize(("call", "error", "words"), CASES, ids=[call for call, *_ in CASES])
def test_what_does_not_fit_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        eval(f"F.{call}", {"F": F}, tensors("cpu"))


def test_lists_beside_tensors(device):
    x = gg.tensor([[0.5, 1.0, 0.0]], device=device)
    assert F.multi_margin_loss(x, [1], weight=[1.0, 2.0, 1.0]).item() == pytest.approx(1 / 3)
    assert F.cross_entropy(x, [1], [1.0, 2.0, 1.0]).item() == pytest.approx(
        F.cross_entropy(x, [1]).item()
    )
    assert F.hinge_embedding_loss([0.5, 0.5], [1, -1]).item() == 0.5


def test_nothing_waits(device):
    arrays = tensors(device)
    with gg.sync_guard():
        for call in ROWS:
            if "embedding(C" not in call:
                eval(f"F.{call}", {"F": F}, arrays).sum().backward()


def test_probabilities_in_half_precision_are_no_class_numbers(device):
    pytest.importorskip("ml_dtypes")
    logits, target = (
        gg.tensor([[2.0, 0.0]], device=device),
        gg.tensor([[0.25, 0.75]], device=device),
    )
    wanted = F.cross_entropy(logits, target).item()
    for dtype in ("float16", "bfloat16"):
        got = F.cross_entropy(logits.astype(dtype), target.astype(dtype))
        assert str(got.dtype) == dtype
        assert got.item() == pytest.approx(wanted, rel=1e-2)
