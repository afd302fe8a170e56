"""Write optim_reference.json: 100 steps of PyTorch's optimizers, in float64.

Run it with a Python that has PyTorch (it is no dependency of gpugrad)::

    .venv-bench/bin/python tests/data/optim_reference.py

The problem is small, not quadratic, and its gradient is short enough to write out, so
that the trajectories can be checked by code that differentiates nothing. With X (5, 3) and
Y (5, 2) fixed, and parameters W (3, 2) and b (2,):

    H       = tanh(X @ W + b)                                       (5, 2)
    loss    = mean((H - Y)**2) + 0.05 * sum(W**4)
    G       = 2 * (H - Y) * (1 - H**2) / 10                         (5, 2)
    dloss/dW = X.T @ G + 0.2 * W**3                                 (3, 2)
    dloss/db = sum(G, axis=0)                                       (2,)

One step of a case, in this order: the gradients; ``clip_grad_norm_(parameters, **clip)``
where ``clip`` is not null; ``optimizer.step()``; ``scheduler.step()`` where there is one.

What the file holds, for each case:

    name        of the case
    optimizer   the class (torch.optim's name) and its keyword arguments
    groups      null, or the arguments of two parameter groups, of W and of b in this order
    scheduler   null, or the class (torch.optim.lr_scheduler's name) and its keyword arguments
    clip        null, or the keyword arguments of clip_grad_norm_
    records     for each step in "steps" (counted from 1): W and b after the step, the loss and
                the total norm of the gradients before it (and before clipping), and the learning
                rate of each group that the step used

Numbers are written by ``repr``, which is exact for float64 (up to 17 significant digits).
"""

import json
import math
from pathlib import Path

import numpy as np
import torch

STEPS = (1, 2, 3, 10, 50, 100)

# Written out rather than drawn: no generator's stream has to be the same for ever.
X = [[0.5, -1.2, 0.3], [1.5, 0.7, -0.9], [-0.8, 0.1, 1.1], [0.2, 1.9, 0.4], [-1.3, -0.6, -1.7]]
Y = [[0.3, -0.6], [-0.2, 0.8], [0.9, 0.1], [-0.7, -0.4], [0.05, 0.65]]
W = [[0.4, -0.7], [0.9, 0.25], [-0.55, 1.1]]
B = [0.15, -0.35]

CASES = [
    {"name": "sgd", "optimizer": ("SGD", {"lr": 0.1})},
    {"name": "sgd-weight-decay", "optimizer": ("SGD", {"lr": 0.1, "weight_decay": 0.05})},
    {"name": "sgd-momentum", "optimizer": ("SGD", {"lr": 0.05, "momentum": 0.9})},
    {
        "name": "sgd-momentum-weight-decay",
        "optimizer": ("SGD", {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.02}),
    },
    {
        "name": "sgd-dampening",
        "optimizer": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    },
    {
        "name": "sgd-nesterov",
        "optimizer": ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    },
    {
        "name": "sgd-nesterov-weight-decay",
        "optimizer": (
            "SGD",
            {"lr": 0.03, "momentum": 0.95, "nesterov": True, "weight_decay": 0.01},
        ),
    },
    {"name": "adam", "optimizer": ("Adam", {"lr": 0.02})},
    {
        "name": "adam-betas-eps",
        "optimizer": ("Adam", {"lr": 0.05, "betas": [0.8, 0.95], "eps": 1e-4}),
    },
    {"name": "adam-weight-decay", "optimizer": ("Adam", {"lr": 0.02, "weight_decay": 0.1})},
    {"name": "adamw", "optimizer": ("AdamW", {"lr": 0.02})},
    {
        "name": "adamw-weight-decay",
        "optimizer": (
            "AdamW",
            {"lr": 0.03, "betas": [0.85, 0.99], "eps": 1e-6, "weight_decay": 0.2},
        ),
    },
    {
        "name": "sgd-groups",
        "optimizer": ("SGD", {"lr": 0.1, "momentum": 0.9}),
        "groups": [{"lr": 0.02, "weight_decay": 0.1}, {"momentum": 0.5}],
    },
    {
        "name": "adamw-groups",
        "optimizer": ("AdamW", {"lr": 0.02, "weight_decay": 0.1}),
        "groups": [{"lr": 0.05}, {"weight_decay": 0.0}],
    },
    {
        "name": "sgd-step-lr",
        "optimizer": ("SGD", {"lr": 0.2, "momentum": 0.5}),
        "scheduler": ("StepLR", {"step_size": 15, "gamma": 0.6}),
    },
    {
        "name": "sgd-cosine",
        "optimizer": ("SGD", {"lr": 0.2, "momentum": 0.5}),
        "scheduler": ("CosineAnnealingLR", {"T_max": 100}),
    },
    {
        "name": "adam-cosine-beyond-t-max",
        "optimizer": ("Adam", {"lr": 0.05}),
        "scheduler": ("CosineAnnealingLR", {"T_max": 40, "eta_min": 0.001}),
    },
    {
        "name": "adam-warm-up",
        "optimizer": ("Adam", {"lr": 0.05}),
        "scheduler": (
            "LinearLR",
            {"start_factor": 0.1, "end_factor": 1.0, "total_iters": 20},
        ),
    },
    {
        "name": "groups-warm-up",
        "optimizer": ("SGD", {"lr": 0.1, "momentum": 0.9}),
        "groups": [{"lr": 0.02}, {}],
        "scheduler": ("LinearLR", {"start_factor": 0.25, "total_iters": 30}),
    },
    {
        "name": "sgd-clip",
        "optimizer": ("SGD", {"lr": 0.1, "momentum": 0.9}),
        "clip": {"max_norm": 0.1},
    },
    {
        "name": "adamw-clip-warm-up",
        "optimizer": ("AdamW", {"lr": 0.03, "weight_decay": 0.05}),
        "scheduler": ("LinearLR", {"start_factor": 0.2, "total_iters": 10}),
        "clip": {"max_norm": 0.05},
    },
]


def loss_of(w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The loss of the docstring, in PyTorch."""
    x, y = (torch.tensor(values, dtype=torch.float64) for values in (X, Y))
    return ((torch.tanh(x @ w + b) - y) ** 2).mean() + 0.05 * (w**4).sum()


def check_gradients(w: torch.Tensor, b: torch.Tensor) -> None:
    """Raise where PyTorch's gradients are not those of the docstring's formulas."""
    x, y, w_, b_ = np.array(X), np.array(Y), w.detach().numpy(), b.detach().numpy()
    h = np.tanh(x @ w_ + b_)
    g = 2 * (h - y) * (1 - h**2) / 10
    np.testing.assert_allclose(w.grad.numpy(), x.T @ g + 0.2 * w_**3, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(b.grad.numpy(), g.sum(axis=0), rtol=1e-12, atol=1e-14)


def run(case: dict) -> dict:
    """One case: the settings and the recorded steps."""
    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    b = torch.tensor(B, dtype=torch.float64, requires_grad=True)
    name, kwargs = case["optimizer"]
    groups = case.get("groups")
    targets = (
        [w, b]
        if groups is None
        else [{"params": [p], **arguments} for p, arguments in zip((w, b), groups)]
    )
    optimizer = getattr(torch.optim, name)(targets, **kwargs)
    scheduler = None
    if "scheduler" in case:
        schedule, schedule_kwargs = case["scheduler"]
        scheduler = getattr(torch.optim.lr_scheduler, schedule)(optimizer, **schedule_kwargs)
    records = []
    for step in range(1, max(STEPS) + 1):
        optimizer.zero_grad()
        loss = loss_of(w, b)
        loss.backward()
        check_gradients(w, b)
        norm = math.sqrt(sum(float((p.grad**2).sum()) for p in (w, b)))
        if "clip" in case:
            torch.nn.utils.clip_grad_norm_([w, b], **case["clip"])
        rates = [group["lr"] for group in optimizer.param_groups]
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        if step in STEPS:
            records.append(
                {
                    "step": step,
                    "loss": loss.item(),
                    "grad_norm": norm,
                    "lr": rates,
                    "W": w.tolist(),
                    "b": b.tolist(),
                }
            )
    named = {
        key: None if key not in case else {"class": case[key][0], "kwargs": case[key][1]}
        for key in ("optimizer", "scheduler")
    }
    return {
        "name": case["name"],
        "optimizer": named["optimizer"],
        "groups": groups,
        "scheduler": named["scheduler"],
        "clip": case.get("clip"),
        "records": records,
    }


def laid_out(value: object, indent: str = "") -> str:
    """JSON with one line for each thing that fits in one, and each record in one."""
    line = json.dumps(value)
    if len(line) <= 90 or not isinstance(value, (dict, list)) or "grad_norm" in value:
        return line
    inner = indent + " "
    if isinstance(value, dict):
        parts = [f"{json.dumps(k)}: {laid_out(v, inner)}" for k, v in value.items()]
        return "{\n" + ",\n".join(inner + part for part in parts) + f"\n{indent}}}"
    parts = [laid_out(v, inner) for v in value]
    return "[\n" + ",\n".join(inner + part for part in parts) + f"\n{indent}]"


def main() -> None:
    """Run every case and write the file beside this script."""
    content = {
        "about": "Trajectories of PyTorch's optimizers in float64; tests/data/optim_reference.py "
        "wrote this file and says what each field is.",
        "torch": torch.__version__,
        "loss": "mean((tanh(X @ W + b) - Y)**2) + 0.05 * sum(W**4)",
        "X": X,
        "Y": Y,
        "W": W,
        "b": B,
        "steps": STEPS,
        "cases": [run(case) for case in CASES],
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(laid_out(content) + "\n", encoding="utf-8")
    print(f"{len(CASES)} cases written to {path}")


if __name__ == "__main__":
    main()
