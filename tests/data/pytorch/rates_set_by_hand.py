"""Write rates_set_by_hand.json: PyTorch's learning rates where something else has set one before.

Run it with a Python that has PyTorch (it is no dependency of gpugrad)::

    .venv-bench/bin/python tests/data/pytorch/rates_set_by_hand.py

Each case has schedules of one optimizer with the rate 1, which are made and stepped in their
order, and rates set by hand, by the number of steps before. Its "rates" are those at the
beginning and after each step.
"""

import json
import warnings
from pathlib import Path

import torch

STEPS = 14
STEP = ("StepLR", {"step_size": 3, "gamma": 0.5})
COSINE = ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.1})
WARM = ("LinearLR", {"start_factor": 0.25, "total_iters": 4})
DOWN = ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 3})

CASES = [
    {"schedules": [schedule], "by_hand": by_hand}
    for schedule in (STEP, COSINE, WARM, DOWN)
    for by_hand in ({2: 7.0}, {0: 0.5, 4: 0.01, 9: 3.0}, {6: 2.0})
] + [
    {"schedules": [STEP, COSINE], "by_hand": {}},
    {"schedules": [WARM, STEP], "by_hand": {5: 9.0}},
    {"schedules": [STEP, WARM, COSINE], "by_hand": {1: 4.0}},
    {"schedules": [("SequentialLR", [[WARM, COSINE, STEP], [3, 8]])], "by_hand": {}},
    {"schedules": [("SequentialLR", [[WARM, STEP], [5]])], "by_hand": {2: 6.0, 7: 0.3}},
]


def schedule_of(optimizer, name, settings):
    kind = getattr(torch.optim.lr_scheduler, name)
    if name != "SequentialLR":
        return kind(optimizer, **settings)
    members, milestones = settings
    return kind(optimizer, [schedule_of(optimizer, *member) for member in members], milestones)


def rates(case):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedules = [schedule_of(optimizer, *schedule) for schedule in case["schedules"]]
    group = optimizer.param_groups[0]
    result = [group["lr"]]
    for step in range(STEPS):
        group["lr"] = case["by_hand"].get(step, group["lr"])
        for schedule in schedules:
            schedule.step()
        result.append(group["lr"])
    return result


warnings.simplefilter("ignore")
cases = [{**case, "rates": rates(case)} for case in CASES]
path = Path(__file__).with_suffix(".json")
path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
