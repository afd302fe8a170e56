"""Writes activations.npz: values and gradients of PyTorch's activations, at kinks and beside them.

    python tests/data/pytorch/activations.py

Needs PyTorch, which the tests do not. Each case is a name and its arguments as
`tests/nn/test_gates.py` calls them.
"""

from pathlib import Path

import numpy as np
import torch

F = torch.nn.functional
# Whole numbers and halves are the kinks of most.
X = np.concatenate([np.arange(-8.0, 8.5, 0.5), [-40.0, -19.75, 0.3, 19.75, 40.0]])
CASES = {
    "relu6": {}, "selu": {}, "celu": {}, "celu alpha=0.5": {"alpha": 0.5}, "mish": {},
    "hardswish": {}, "hardsigmoid": {}, "hardtanh": {},
    "hardtanh min_val=-2.0 max_val=0.5": {"min_val": -2.0, "max_val": 0.5},
    "hardshrink": {}, "hardshrink lambd=2.0": {"lambd": 2.0},
    "softshrink": {}, "softshrink lambd=1.5": {"lambd": 1.5}, "tanhshrink": {},
    "threshold threshold=1.0 value=-3.0": {"threshold": 1.0, "value": -3.0},
    "logsigmoid": {}, "softsign": {}, "softplus threshold=20.0": {"threshold": 20.0},
    "softplus beta=2.0 threshold=3.0": {"beta": 2.0, "threshold": 3.0},
    "rrelu": {}, "leaky_relu": {}, "elu": {}, "silu": {}, "gelu": {},
}  # fmt: skip


def main() -> None:
    arrays = {"x": X}
    for name, words in CASES.items():
        x = torch.tensor(X, requires_grad=True)
        y = getattr(F, name.split()[0])(x, **words)
        (slope,) = torch.autograd.grad(y.sum(), x)
        arrays[name] = np.stack([y.detach().numpy(), slope.numpy()])
    images = np.random.default_rng(1).standard_normal((2, 4, 3))
    weight = np.array([0.25, -0.5, 0.0, 1.5])
    arrays |= {"images": images, "weight": weight}
    for name, f in {
        "softmin": lambda x, w: F.softmin(x, dim=1),
        "glu": lambda x, w: F.glu(x, dim=1),
        "prelu": F.prelu,
    }.items():
        x, w = torch.tensor(images, requires_grad=True), torch.tensor(weight, requires_grad=True)
        y = f(x, w)
        (y * y).sum().backward()
        arrays[name] = y.detach().numpy()
        arrays[f"{name} by x"] = x.grad.numpy()
        if w.grad is not None:
            arrays[f"{name} by weight"] = w.grad.numpy()
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **arrays)


if __name__ == "__main__":
    main()
