"""100 steps of the optimizers and schedules equal PyTorch's, whose figures are in tests/data."""

import json

import numpy as np
import pytest
from repository import ROOT

import gpugrad as gg

DATA = ROOT / "tests" / "data"
FIGURES = np.load(DATA / "pytorch" / "optim.npz")
CASES = {case["name"]: case for case in json.loads(str(FIGURES["cases"]))["cases"]}
PROBLEM = json.loads((DATA / "optim_reference.json").read_text())


def schedule_of(optimizer, kind, kwargs):
    kwargs = dict(kwargs)
    if "base" in kwargs:
        base = kwargs.pop("base")
        kwargs["lr_lambda"] = lambda t: base**t
    if "schedulers" in kwargs:
        kwargs["schedulers"] = [schedule_of(optimizer, *part) for part in kwargs["schedulers"]]
    if kind == "ChainedScheduler":
        return gg.optim.ChainedScheduler(**kwargs)
    return getattr(gg.optim, kind)(optimizer, **kwargs)


def run(case, steps=100):
    """The values of W and b after some steps, and the settings that each step used."""
    x, y, w, b = (gg.tensor(PROBLEM[key], dtype="float64") for key in "XYWb")
    w.requires_grad = b.requires_grad = True
    kind, kwargs = case["optimizer"]
    params, groups = [w] if kind == "Muon" else [w, b], case.get("groups")
    if groups is not None:
        params = [{"params": [p], **group} for p, group in zip(params, groups)]
    optimizer = getattr(gg.optim, kind)(params, **kwargs)
    schedule = schedule_of(optimizer, *case["scheduler"]) if "scheduler" in case else None
    sign = -1 if kwargs.get("maximize") else 1
    values, rates = [], []

    def closure():
        optimizer.zero_grad()
        loss = sign * (((gg.tanh(x @ w + b) - y) ** 2).mean() + 0.05 * (w**4).sum())
        loss.backward()
        return loss

    for step in range(1, steps + 1):
        rates.append([g.get(key) for key in ("lr", "momentum") for g in optimizer.param_groups])
        loss = optimizer.step(closure)
        if case.get("scheduler", [""])[0] == "ReduceLROnPlateau":
            schedule.step(round(loss.item(), 2))
        elif schedule is not None:
            schedule.step()
        for group in optimizer.param_groups:
            group["lr"] *= case.get("by_hand", {}).get(str(step), 1.0)
        if step in PROBLEM["steps"]:
            values.append(w.detach().cpu().numpy().ravel().tolist() + b.tolist())
    return {"values": values, "rates": rates}


@pytest.mark.parametrize("name", [name for name in CASES if "groups" not in CASES[name]])
def test_an_optimizer(name, device):
    values = run(CASES[name], 100 if device == "cpu" else 10)["values"]
    wanted = FIGURES[f"{name}/values"][: len(values)]
    np.testing.assert_allclose(values, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in CASES if "groups" in CASES[name]])
def test_a_schedule(name):
    wanted = FIGURES[f"{name}/rates"]
    np.testing.assert_allclose(run(CASES[name])["rates"], wanted, rtol=1e-9, atol=1e-15)
