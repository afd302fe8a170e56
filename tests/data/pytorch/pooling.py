"""Writes pooling.npz: pools, interpolation and folding by PyTorch, of which tests need none.

    .venv-bench/bin/python tests/data/pytorch/pooling.py    # torch 2.13.0, CPU

Of each case: x, the result y, a cotangent g, the gradient of sum(g * y) by x, and that of the
penalty sum(d**2), where d is the gradient of sum(g * y**2) by x; of pools that tell where the
largest elements are, these places.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

# function, shape of the input, keyword arguments
CASES = (
    ("max_pool1d", (2, 2, 7), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max_pool2d", (2, 2, 4, 6), {"kernel_size": 2}),
    ("max_pool2d", (2, 6, 7), {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 1),
                               "dilation": (2, 1), "return_indices": True}),
    ("max_pool2d", (1, 2, 6, 5), {"kernel_size": 3, "stride": 2, "ceil_mode": True,
                                  "return_indices": True}),
    ("max_pool3d", (1, 2, 3, 4, 4), {"kernel_size": 2, "stride": 1}),
    ("avg_pool1d", (2, 2, 7), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("avg_pool2d", (2, 2, 4, 6), {"kernel_size": 2}),
    ("avg_pool2d", (1, 2, 5, 6), {"kernel_size": (3, 2), "stride": 2, "padding": (1, 1),
                                  "count_include_pad": False}),
    ("avg_pool2d", (1, 2, 6, 5), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("avg_pool2d", (2, 5, 5), {"kernel_size": 2, "stride": 1, "divisor_override": 3}),
    ("avg_pool3d", (1, 2, 3, 4, 4), {"kernel_size": 2, "stride": 1, "ceil_mode": True,
                                     "count_include_pad": False, "padding": 1}),
    ("adaptive_avg_pool1d", (2, 2, 7), {"output_size": 3}),
    ("adaptive_avg_pool2d", (1, 2, 6, 4), {"output_size": (3, 2)}),
    ("adaptive_avg_pool2d", (1, 2, 5, 7), {"output_size": (3, 9)}),
    ("adaptive_avg_pool3d", (1, 1, 4, 5, 3), {"output_size": (2, None, 2)}),
    ("adaptive_max_pool1d", (2, 8), {"output_size": 4, "return_indices": True}),
    ("adaptive_max_pool2d", (1, 2, 5, 7), {"output_size": (3, 4), "return_indices": True}),
    ("adaptive_max_pool3d", (1, 1, 4, 5, 3), {"output_size": 2}),
    ("interpolate", (2, 2, 5), {"size": 8}),
    ("interpolate", (1, 2, 3, 4), {"scale_factor": 2}),
    ("interpolate", (1, 2, 5, 4), {"scale_factor": (1.7, 0.6)}),
    ("interpolate", (1, 1, 5, 4), {"size": (3, 7), "mode": "nearest-exact"}),
    ("interpolate", (2, 2, 5), {"size": 8, "mode": "linear"}),
    ("interpolate", (1, 2, 3, 4), {"scale_factor": 2, "mode": "bilinear"}),
    ("interpolate", (1, 2, 3, 4), {"size": (5, 3), "mode": "bilinear", "align_corners": True}),
    ("interpolate", (1, 2, 3, 5), {"scale_factor": 1.5, "mode": "bilinear"}),
    ("interpolate", (1, 1, 3, 5), {"scale_factor": 1.5, "mode": "bilinear",
                                   "recompute_scale_factor": True}),
    ("interpolate", (1, 1, 3, 2, 4), {"size": (4, 3, 5), "mode": "trilinear"}),
    ("interpolate", (1, 1, 4, 5), {"size": (7, 8), "mode": "bicubic"}),
    ("interpolate", (1, 1, 4, 5), {"size": (7, 3), "mode": "bicubic", "align_corners": True}),
    ("interpolate", (1, 1, 5, 7), {"size": (3, 4), "mode": "area"}),
    ("unfold", (2, 2, 4, 5), {"kernel_size": (2, 3), "dilation": (2, 1), "padding": 1,
                              "stride": (1, 2)}),
    ("fold", (2, 12, 12), {"output_size": (4, 5), "kernel_size": (2, 3), "dilation": (2, 1),
                           "padding": 1, "stride": (1, 2)}),
    ("pixel_shuffle", (2, 8, 2, 3), {"upscale_factor": 2}),
    ("pixel_unshuffle", (2, 4, 6), {"downscale_factor": 2}),
    ("pad", (2, 3, 4), {"pad": (1, 2)}),
    ("pad", (2, 3, 4), {"pad": (-1, 2, 1, -1), "value": 0.5}),
    ("pad", (1, 2, 3, 4), {"pad": (2, 1, 1, 2), "mode": "reflect"}),
    ("pad", (1, 2, 3, 4), {"pad": (2, 1, 3, 0), "mode": "replicate"}),
    ("pad", (1, 2, 3, 4), {"pad": (2, 1, 1, 3), "mode": "circular"}),
)  # fmt: skip


def main() -> None:
    rng = np.random.default_rng(0)
    arrays = {"cases": np.array(json.dumps([(name, words) for name, _, words in CASES]))}
    for index, (name, shape, words) in enumerate(CASES):
        numbers = rng.permutation(np.prod(shape)).reshape(shape) / 64 - 0.5  # no two are equal
        x = torch.tensor(numbers, requires_grad=True)
        y = getattr(F, name)(x, **words)
        if isinstance(y, tuple):
            y, places = y
            arrays[f"{index}.places"] = places.numpy()
        g = torch.tensor(rng.integers(-64, 64, y.shape) / 64)
        (first,) = torch.autograd.grad((y * g).sum(), x, retain_graph=True)
        (d,) = torch.autograd.grad((y * y * g).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((d * d).sum(), x)
        for key, value in (("x", x), ("y", y), ("g", g), ("first", first), ("second", second)):
            arrays[f"{index}.{key}"] = value.detach().numpy()
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **arrays)


if __name__ == "__main__":
    main()
