"""Writes normalization.npz: PyTorch's normalizing layers in three steps and in eval mode.

    python tests/data/pytorch/normalization.py

Needs PyTorch, which the tests do not. A case is the call that makes the layer, here and in gpugrad.
Its numbers are in one row, as `tests/nn/test_batch_norm.py` reads them: the values of state_dict
before; of each step the input, the output, and the gradient by the input of sum(output²); the
gradients by the parameters; the values of state_dict after; the output in eval mode.
"""

from pathlib import Path

import numpy as np
import torch

CASES = {
    "BatchNorm1d(3)": (4, 3),
    "BatchNorm1d(3, momentum=None)": (2, 3, 4),
    "BatchNorm2d(2, eps=0.01, momentum=0.3)": (3, 2, 2, 3),
    "BatchNorm2d(2, affine=False)": (2, 2, 2, 2),
    "BatchNorm2d(2, track_running_stats=False)": (2, 2, 2, 2),
    "BatchNorm3d(2)": (2, 2, 1, 2, 2),
    "InstanceNorm1d(3)": (2, 3, 4),
    "InstanceNorm2d(2, affine=True, track_running_stats=True)": (2, 2, 2, 3),
    "InstanceNorm3d(2, affine=True)": (2, 2, 2, 1, 2),
    "GroupNorm(2, 4)": (3, 4, 2),
    "GroupNorm(1, 4, eps=0.1, affine=False)": (3, 4, 2, 2),
    "RMSNorm(4)": (3, 4),
    "RMSNorm((2, 3), eps=0.1)": (4, 2, 3),
    "RMSNorm(3, elementwise_affine=False)": (4, 3),
    "LayerNorm((2, 3))": (4, 2, 3),
}


def main() -> None:
    rows = {}
    rng = np.random.default_rng(4)
    for name, shape in CASES.items():
        layer = eval(f"torch.nn.{name}").double()
        for parameter in layer.parameters():
            parameter.data = torch.tensor(rng.standard_normal(parameter.shape))
        row = [tensor.clone() for tensor in layer.state_dict().values()]
        for _ in range(3):
            x = torch.tensor(rng.standard_normal(shape) * 2 + 1, requires_grad=True)
            y = layer(x)
            (y * y).sum().backward()
            row += [x, y, x.grad]
        row += [parameter.grad for parameter in layer.parameters()]
        row += layer.state_dict().values()
        row += [layer.eval()(x)]
        numbers = [tensor.detach().numpy().astype(float).ravel() for tensor in row]
        rows[f"{name}|{shape}"] = np.concatenate(numbers)
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **rows)


if __name__ == "__main__":
    main()
