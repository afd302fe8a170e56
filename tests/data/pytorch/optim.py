"""Write optim.npz: 100 steps of PyTorch's optimizers and schedules, in float64.

Run it with a Python that has PyTorch (it is no dependency of gpugrad)::

    .venv-bench/bin/python tests/data/pytorch/optim.py

The problem is that of tests/data/optim_reference.py: X, Y and the first W and b are there, and the
loss is mean((tanh(X @ W + b) - Y)**2) + 0.05 * sum(W**4). A case with ``maximize`` has minus that.

The file holds ``cases``, a JSON text with the settings of each case, and an array for each:

    NAME/values  (6, 8): W, row by row, and b after the steps 1, 2, 3, 10, 50 and 100
    NAME/rates   of a case with groups, instead, (100, 4): the learning rates of the two groups that
                 a step used, and their momenta

A schedule's case names a class and its keyword arguments; ``base`` stands for the function
``lambda t: base**t``. ``by_hand`` has factors by which the rates are multiplied after the step of
that number. A plateau's schedule gets the loss, rounded to two digits.

Muon's products are in bfloat16 in PyTorch. Here they are in float64: ``Tensor.bfloat16`` is
replaced while the case runs, and nothing else.
"""

import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from optim_reference import STEPS, B, W, loss_of

BOTH = {"lr": 0.05, "weight_decay": 0.1}
OPTIMIZERS = {
    "adam-amsgrad": ("Adam", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.01}),
    "adam-decoupled": ("Adam", {**BOTH, "decoupled_weight_decay": True}),
    "adamw-amsgrad": ("AdamW", {**BOTH, "amsgrad": True}),
    "adagrad": ("Adagrad", {"lr": 0.1}),
    "adagrad-all": (
        "Adagrad",
        {**BOTH, "lr_decay": 0.02, "initial_accumulator_value": 0.3, "eps": 1e-3},
    ),
    "rmsprop": ("RMSprop", {"lr": 0.01}),
    "rmsprop-momentum": ("RMSprop", {"lr": 0.01, "momentum": 0.7, "alpha": 0.9}),
    "rmsprop-centered": ("RMSprop", {"lr": 0.01, "centered": True, "eps": 1e-2}),
    "rmsprop-all": ("RMSprop", {**BOTH, "momentum": 0.5, "centered": True, "alpha": 0.95}),
    "adadelta": ("Adadelta", {}),
    "adadelta-all": ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    "adamax": ("Adamax", {"lr": 0.02}),
    "adamax-all": ("Adamax", {**BOTH, "betas": [0.8, 0.9], "eps": 1e-3}),
    "nadam": ("NAdam", {"lr": 0.02}),
    "nadam-all": ("NAdam", {"lr": 0.02, "betas": [0.8, 0.95], "momentum_decay": 0.1, "eps": 1e-3}),
    "nadam-decoupled": ("NAdam", {**BOTH, "decoupled_weight_decay": True}),
    "radam": ("RAdam", {"lr": 0.02}),
    "radam-all": ("RAdam", {**BOTH, "betas": [0.8, 0.95], "eps": 1e-3}),
    "radam-decoupled": ("RAdam", {**BOTH, "decoupled_weight_decay": True}),
    "rprop": ("Rprop", {"lr": 0.01}),
    "rprop-all": ("Rprop", {"lr": 0.1, "etas": [0.4, 1.3], "step_sizes": [1e-4, 0.15]}),
    "asgd": ("ASGD", {"lr": 0.1, "lambd": 0.01}),
    "asgd-all": ("ASGD", {**BOTH, "lambd": 0.01, "alpha": 0.5, "t0": 20}),
    "muon": ("Muon", {"lr": 0.02}),
    "muon-all": (
        "Muon",
        {**BOTH, "momentum": 0.8, "nesterov": False, "ns_steps": 3, "ns_coefficients": [3, -4, 2],
         "adjust_lr_fn": "match_rms_adamw"},
    ),
    "lbfgs": ("LBFGS", {"lr": 0.5, "max_iter": 3, "history_size": 4}),
    "lbfgs-wolfe": ("LBFGS", {"max_iter": 2, "line_search_fn": "strong_wolfe"}),
    "lbfgs-short": (
        "LBFGS",
        {"max_iter": 4, "max_eval": 3, "history_size": 2, "line_search_fn": "strong_wolfe"},
    ),
}  # fmt: skip
MAXIMIZE = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "Adam": BOTH,
    "AdamW": {},
    **dict.fromkeys(("Adagrad", "RMSprop", "Adadelta", "Adamax", "NAdam", "RAdam", "ASGD"), BOTH),
    "Rprop": {},
}
SCHEDULES = {
    "step": ("StepLR", {"step_size": 15, "gamma": 0.6}),
    "multi-step": ("MultiStepLR", {"milestones": [10, 40, 40, 70], "gamma": 0.5}),
    "constant": ("ConstantLR", {"factor": 0.25, "total_iters": 40}),
    "linear": ("LinearLR", {"start_factor": 0.1, "end_factor": 0.8, "total_iters": 70}),
    "exponential": ("ExponentialLR", {"gamma": 0.97}),
    "polynomial": ("PolynomialLR", {"total_iters": 80, "power": 2.0}),
    "cosine": ("CosineAnnealingLR", {"T_max": 35, "eta_min": 0.01}),
    "restarts": ("CosineAnnealingWarmRestarts", {"T_0": 9, "T_mult": 2, "eta_min": 0.001}),
    "restarts-equal": ("CosineAnnealingWarmRestarts", {"T_0": 30}),
    "lambda": ("LambdaLR", {"base": 0.98}),
    "multiplicative": ("MultiplicativeLR", {"base": 0.999}),
    "one-cycle": ("OneCycleLR", {"max_lr": 0.3, "total_steps": 101}),
    "one-cycle-all": (
        "OneCycleLR",
        {"max_lr": [0.3, 0.2], "epochs": 21, "steps_per_epoch": 5, "pct_start": 0.4,
         "anneal_strategy": "linear", "base_momentum": 0.7, "max_momentum": 0.9,
         "div_factor": 10.0, "final_div_factor": 100.0, "three_phase": True},
    ),
    "one-cycle-no-momentum": (
        "OneCycleLR", {"max_lr": 0.3, "total_steps": 120, "cycle_momentum": False}
    ),
    "cyclic": ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 7}),
    "cyclic-half": (
        "CyclicLR",
        {"base_lr": [0.01, 0.02], "max_lr": 0.2, "step_size_up": 10, "step_size_down": 15,
         "mode": "triangular2", "base_momentum": 0.5, "max_momentum": 0.95},
    ),
    "cyclic-exponential": (
        "CyclicLR",
        {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 12, "mode": "exp_range", "gamma": 0.99,
         "cycle_momentum": False},
    ),
    "plateau": ("ReduceLROnPlateau", {"factor": 0.5, "patience": 3}),
    "plateau-all": (
        "ReduceLROnPlateau",
        {"mode": "max", "factor": 0.3, "patience": 2, "threshold": 0.005, "threshold_mode": "abs",
         "cooldown": 5, "min_lr": [0.001, 0.004]},
    ),
    "swa": ("SWALR", {"swa_lr": 0.05, "anneal_epochs": 30}),
    "swa-linear": (
        "SWALR", {"swa_lr": [0.02, 0.5], "anneal_epochs": 50, "anneal_strategy": "linear"}
    ),
    "sequential": (
        "SequentialLR",
        {"milestones": [10, 60],
         "schedulers": [("LinearLR", {"start_factor": 0.1, "total_iters": 10}),
                        ("CosineAnnealingLR", {"T_max": 50}),
                        ("ExponentialLR", {"gamma": 0.9})]},
    ),
    "chained": (
        "ChainedScheduler",
        {"schedulers": [("ConstantLR", {"factor": 0.2, "total_iters": 20}),
                        ("ExponentialLR", {"gamma": 0.98}),
                        ("StepLR", {"step_size": 30})]},
    ),
}  # fmt: skip
BY_HAND = {"30": 0.5, "57": 3.0}


def cases() -> list[dict]:
    """The settings of all cases."""
    result = [
        {"name": name, "optimizer": [kind, kwargs]} for name, (kind, kwargs) in OPTIMIZERS.items()
    ]
    for kind, kwargs in MAXIMIZE.items():
        settings = {**kwargs, "maximize": True}
        result.append({"name": f"{kind}-maximize", "optimizer": [kind, settings]})
    two = [{"lr": 0.05}, {}]
    sgd = ["SGD", {"lr": 0.1, "momentum": 0.9}]
    result += [
        {"name": f"{name}-by-hand" if by_hand else name, "optimizer": sgd, "groups": two,
         "scheduler": schedule, "by_hand": by_hand}
        for name, schedule in SCHEDULES.items()
        for by_hand in ({}, BY_HAND)
    ]  # fmt: skip
    for kind in ("Adam", "NAdam", "RAdam", "ASGD"):  # which count on the host
        moving = ("OneCycleLR", {"max_lr": 0.1, "total_steps": 101,
                                 "cycle_momentum": kind != "ASGD"})  # fmt: skip
        result.append(
            {"name": f"{kind}-one-cycle", "optimizer": [kind, {"lr": 0.01}], "scheduler": moving}
        )
    return result


def scheduler_of(optimizer: torch.optim.Optimizer, kind: str, kwargs: dict) -> object:
    """A schedule of a case."""
    kwargs = dict(kwargs)
    if "base" in kwargs:
        base = kwargs.pop("base")
        kwargs["lr_lambda"] = lambda t: base**t
    if "schedulers" in kwargs:
        kwargs["schedulers"] = [scheduler_of(optimizer, *part) for part in kwargs["schedulers"]]
    if kind == "SWALR":
        return torch.optim.swa_utils.SWALR(optimizer, **kwargs)
    if kind == "ChainedScheduler":
        return torch.optim.lr_scheduler.ChainedScheduler(**kwargs)
    return getattr(torch.optim.lr_scheduler, kind)(optimizer, **kwargs)


def run(case: dict) -> tuple[str, np.ndarray]:
    """The array of a case, and its name."""
    w, b = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (W, B))
    kind, kwargs = case["optimizer"]
    groups, sign = case.get("groups"), -1 if kwargs.get("maximize") else 1
    params = [w, b] if kind != "Muon" else [w]
    if groups is not None:
        params = [{"params": [p], **group} for p, group in zip(params, groups, strict=True)]
    optimizer = getattr(torch.optim, kind)(params, **kwargs)
    scheduler = scheduler_of(optimizer, *case["scheduler"]) if "scheduler" in case else None
    values, rates = [], []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = sign * loss_of(w, b)
        loss.backward()
        return loss

    for step in range(1, max(STEPS) + 1):
        rates.append([g.get(key) for key in ("lr", "momentum") for g in optimizer.param_groups])
        loss = optimizer.step(closure)
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(round(loss.item(), 2))
        elif scheduler is not None:
            scheduler.step()
        for group in optimizer.param_groups:
            group["lr"] *= case.get("by_hand", {}).get(str(step), 1.0)
        if step in STEPS:
            values.append(torch.cat([w.ravel(), b]).tolist())
    return ("values", np.array(values)) if groups is None else ("rates", np.array(rates))


def main() -> None:
    """Run every case and write the file beside this script."""
    torch.set_default_dtype(torch.float64)  # NAdam and ASGD count in it
    arrays, all_cases = {}, cases()
    with mock.patch.object(torch.Tensor, "bfloat16", torch.Tensor.clone):
        for case in all_cases:
            kind, array = run(case)
            arrays[f"{case['name']}/{kind}"] = array
    path = Path(__file__).with_suffix(".npz")
    text = json.dumps({"torch": torch.__version__, "cases": all_cases})
    np.savez_compressed(path, cases=np.array(text), **arrays)
    print(f"{len(all_cases)} cases, {path.stat().st_size} bytes in {path}")


if __name__ == "__main__":
    main()
