"""Writes convolution.npz: convolutions and their derivatives by PyTorch, of which tests need none.

    .venv-bench/bin/python tests/data/pytorch/convolution.py    # torch 2.13.0, CPU

Of each case: the operands, the result, the gradients of sum(g * y) by the operands, and those of
the penalty sum(d**2), where d is the gradient of sum(g * y**2) by x.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

# function, shapes of the input and of the weight, whether there is a bias, keyword arguments
CASES = (
    ("conv1d", (2, 3, 7), (4, 3, 3), True, {"padding": 1}),
    ("conv1d", (1, 2, 9), (2, 1, 2), False, {"stride": 3, "dilation": 2, "groups": 2}),
    ("conv1d", (3, 8), (2, 3, 4), True, {"padding": "same"}),
    ("conv2d", (2, 2, 5, 4), (3, 2, 3, 3), True, {"padding": 1}),
    ("conv2d", (2, 2, 5, 6), (4, 1, 3, 2), True,
     {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}),
    ("conv2d", (2, 3, 4, 4), (2, 3, 1, 1), True, {}),
    ("conv2d", (2, 2, 6, 4), (3, 2, 2, 2), True, {"stride": 2}),
    ("conv2d", (1, 3, 4, 4), (3, 1, 2, 3), False, {"padding": "same", "groups": 3}),
    ("conv3d", (2, 2, 3, 4, 3), (2, 2, 2, 3, 2), True, {"padding": (1, 0, 1), "stride": (1, 2, 1)}),
    ("conv_transpose1d", (2, 3, 4), (3, 2, 3), True, {"stride": 2, "padding": 1}),
    ("conv_transpose1d", (2, 2, 3), (2, 1, 2), True,
     {"stride": 2, "dilation": 3, "output_padding": 2, "groups": 2}),
    ("conv_transpose2d", (2, 2, 3, 3), (2, 3, 3, 3), True, {"padding": 1}),
    ("conv_transpose2d", (2, 4, 3, 2), (4, 1, 3, 2), False,
     {"stride": (2, 3), "padding": (0, 1), "output_padding": (1, 2), "groups": 2}),
    ("conv_transpose3d", (1, 2, 2, 2, 3), (2, 2, 2, 2, 2), True, {"stride": 2}),
)  # fmt: skip


def main() -> None:
    rng = np.random.default_rng(0)
    arrays = {"cases": np.array(json.dumps([(name, kwargs) for name, *_, kwargs in CASES]))}
    for index, (name, shape, weight, bias, kwargs) in enumerate(CASES):
        outputs = weight[0] if "transpose" not in name else weight[1] * kwargs.get("groups", 1)
        shapes = [shape, weight] + [(outputs,)] * bias
        operands = [torch.tensor(rng.uniform(-1, 1, s), requires_grad=True) for s in shapes]
        y = getattr(F, name)(*operands, **kwargs)
        g = torch.tensor(rng.uniform(-1, 1, y.shape))
        first = torch.autograd.grad((y * g).sum(), operands, retain_graph=True)
        (d,) = torch.autograd.grad((y * y * g).sum(), operands[:1], create_graph=True)
        second = torch.autograd.grad((d * d).sum(), operands)
        for key, value in (("y", y), ("g", g)):
            arrays[f"{index}.{key}"] = value.detach().numpy()
        for key, values in (("x", operands), ("first", first), ("second", second)):
            for number, value in enumerate(values):
                arrays[f"{index}.{key}.{number}"] = value.detach().numpy()
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **arrays)


if __name__ == "__main__":
    main()
