"""Writes recurrent.npz, PyTorch's figures for recurrent layers: run it with PyTorch.

Keys are as in attention.py. With lengths the input is a packed sequence.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

torch.manual_seed(0)
figures = {}


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def keep(name, module, operands, results):
    """Enter a case, with the gradients of the sum of all results times their weights."""
    total = 0.0
    for key, tensor in results.items():
        weights = torch.randn(tensor.shape, dtype=torch.float64)
        total = total + (tensor * weights).sum()
        figures[f"{name}/out/{key}"] = tensor
        figures[f"{name}/weights/{key}"] = weights
    total.backward()
    for key, tensor in operands.items():
        figures[f"{name}/in/{key}"] = tensor
        if tensor.grad is not None:
            figures[f"{name}/grad/{key}"] = tensor.grad
    for key, tensor in module.state_dict().items():
        figures[f"{name}/state/{key}"] = tensor
    for key, tensor in module.named_parameters():
        figures[f"{name}/grad/{key}"] = tensor.grad


def case(kind, name, lengths=None, layers=1, directions=1, **settings):
    layer = getattr(nn, kind)(2, 3, layers, bidirectional=directions == 2, **settings).double()
    x = draw(4, 2, 2)
    operands = {"x": x, "h": draw(layers * directions, 2, 3)}
    if kind == "LSTM":
        operands["c"] = draw(layers * directions, 2, 3)
    first = tuple(operands[key] for key in ("h", "c") if key in operands)
    first = first if len(first) > 1 else first[0]
    if lengths is None:
        y, last = layer(x.transpose(0, 1) if settings.get("batch_first") else x, first)
    else:
        y, last = layer(pack_padded_sequence(x, lengths, enforce_sorted=False), first)
        y, _ = pad_packed_sequence(y, total_length=4)
        operands["lengths"] = torch.tensor(lengths)
    ends = last if isinstance(last, tuple) else (last,)
    keep(f"{kind} {name}", layer, operands, {"y": y, **dict(zip(("end_h", "end_c"), ends))})


for kind in ("RNN", "LSTM", "GRU"):
    case(kind, "plain")
    case(kind, "without a bias", bias=False, batch_first=True)
    case(kind, "lengths", lengths=[2, 4], layers=2, directions=2)
case("RNN", "relu", nonlinearity="relu")
arrays = {name: tensor.detach().numpy() for name, tensor in figures.items()}
np.savez_compressed(Path(__file__).with_suffix(".npz"), **arrays)
