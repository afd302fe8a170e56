"""Write amp.npz: PyTorch's GradScaler and autocast on the CPU.

Run it with a Python that has PyTorch (it is no dependency of gpugrad)::

    .venv-bench/bin/python tests/data/pytorch/amp.py

``gradients`` (10, 3) are those of the steps of one weight, unscaled; some are not finite. After a
step ``scales``, ``trackers`` and ``weights`` are what GradScaler, with a growth interval of 2, and
Adam have made of it.

``x``, ``classes``, ``w0``, ``b0``, ``w1`` and ``b1`` are of a network Linear, ReLU, Linear, in
float32. ``loss`` and ``d_NAME`` are its cross-entropy and gradients under bfloat16.
"""

from pathlib import Path

import numpy as np
import torch

GRADIENTS = np.random.default_rng(0).normal(size=(10, 3)).astype("float32")
GRADIENTS[[1, 2, 6], [0, 1, 2]] = np.inf, np.nan, -np.inf


def scaled_steps() -> dict[str, np.ndarray]:
    weight = torch.ones(3, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
    rows: dict[str, list] = {"scales": [], "trackers": [], "weights": []}
    for gradient in GRADIENTS:
        optimizer.zero_grad()
        scaler.scale((weight * torch.from_numpy(gradient)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        state = scaler.state_dict()
        rows["scales"].append(state["scale"])
        rows["trackers"].append(state["_growth_tracker"])
        rows["weights"].append(weight.detach().numpy().copy())
    return {name: np.array(each) for name, each in rows.items()}


def network() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(16, 5)).astype("float32")
    classes = rng.integers(3, size=16)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.tensor(classes))
    loss.backward()
    values = dict(zip(("w0", "b0", "w1", "b1"), model.parameters()))
    arrays = {name: value.detach().numpy() for name, value in values.items()}
    arrays |= {f"d_{name}": value.grad.numpy() for name, value in values.items()}
    return {"x": x, "classes": classes, "loss": loss.detach().numpy(), **arrays}


if __name__ == "__main__":
    path = Path(__file__).with_suffix(".npz")
    np.savez_compressed(path, gradients=GRADIENTS, **scaled_steps(), **network())
