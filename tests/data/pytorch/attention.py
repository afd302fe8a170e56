"""Writes attention.npz, PyTorch's figures for attention and transformers: run it with PyTorch.

A case is ``name/in/...``: operands, ``name/state/...``: the parameters, ``name/out/...``: results,
and ``name/grad/...``: the gradients of the sum of the result times ``name/weights/...``.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

torch.manual_seed(0)
figures = {}


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def keep(name, operands, y, module=None, extra=None):
    """Enter a case: its operands, state, result and gradients."""
    weights = torch.randn(y.shape, dtype=torch.float64)
    (y * weights).sum().backward()
    figures[f"{name}/weights/y"] = weights
    figures[f"{name}/out/y"] = y
    for key, tensor in operands.items():
        figures[f"{name}/in/{key}"] = tensor
        if tensor.grad is not None:
            figures[f"{name}/grad/{key}"] = tensor.grad
    for key, tensor in (extra or {}).items():
        figures[f"{name}/out/{key}"] = tensor
    if module is not None:
        for key, tensor in module.state_dict().items():
            figures[f"{name}/state/{key}"] = tensor
        for key, tensor in module.named_parameters():
            figures[f"{name}/grad/{key}"] = tensor.grad


def products():
    def operands(heads=2, shared=2, length=4, keys=5):
        return {
            "query": draw(2, heads, length, 3),
            "key": draw(2, shared, keys, 3),
            "value": draw(2, shared, keys, 2),
        }

    def case(name, made, **settings):
        arrays = {k: v for k, v in settings.items() if isinstance(v, torch.Tensor)}
        keep(name, {**made, **arrays}, scaled_dot_product_attention(*made.values(), **settings))

    case("product", operands())
    case("product causal", operands(length=3), is_causal=True)
    case("product scale", operands(), scale=0.3)
    mask = torch.rand(4, 5) < 0.6
    mask[2] = False
    case("product mask", operands(), attn_mask=mask)
    case("product bias", operands(), attn_mask=draw(2, 1, 4, 5))
    case("product gqa", operands(heads=4), enable_gqa=True)


def layers():
    padding = torch.tensor([[False] * 4, [False, False, True, True]])
    later = torch.triu(torch.ones(4, 4, dtype=torch.bool), 1)

    layer = nn.MultiheadAttention(6, 2, batch_first=True).double()
    x = draw(2, 4, 6)
    y, weights = layer(x, x, x, padding)
    keep("multihead", {"query": x, "padding": padding}, y, layer, {"weights": weights})

    layer = nn.MultiheadAttention(6, 2, kdim=3, vdim=5).double()
    made = {"query": draw(4, 2, 6), "key": draw(5, 2, 3), "value": draw(5, 2, 5)}
    y, weights = layer(*made.values(), average_attn_weights=False)
    keep("multihead kdim", made, y, layer, {"weights": weights})

    for norm_first in (False, True):
        one = nn.TransformerEncoderLayer(
            6, 2, 8, 0.0, "gelu", batch_first=True, norm_first=norm_first
        )
        model = nn.TransformerEncoder(one, 2, nn.LayerNorm(6), enable_nested_tensor=False).double()
        x = draw(2, 4, 6)
        y = model(x, later, padding)
        keep(f"encoder {norm_first}", {"src": x, "mask": later, "padding": padding}, y, model)


products()
layers()
arrays = {name: tensor.detach().numpy() for name, tensor in figures.items()}
np.savez_compressed(Path(__file__).with_suffix(".npz"), **arrays)
