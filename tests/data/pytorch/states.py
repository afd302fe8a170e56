"""Writes states.safetensors and states_bfloat16.safetensors: layers as PyTorch saves them.

    python tests/data/pytorch/states.py

Needs PyTorch, which the tests do not. A case is the call that makes a layer, here and in gpugrad;
"<case>|state|<name>" is what its state_dict has, in its order, "<case>|x<i>" are operands and
"<case>|y" is the output in eval mode. The bytes of the files are put together below, as the
format says, since the library of that name may be absent.
"""

import json
import struct
from pathlib import Path

import torch

CASES = {
    "Linear(3, 2)": [(2, 3)],
    "Bilinear(2, 3, 2)": [(4, 2), (4, 3)],
    "PReLU(3)": [(2, 3)],
    "LayerNorm((2, 3))": [(2, 2, 3)],
    "RMSNorm(3)": [(2, 3)],
    "GroupNorm(2, 4)": [(2, 4, 3)],
    "BatchNorm1d(3)": [(4, 3)],
    "BatchNorm2d(2)": [(2, 2, 3, 2)],
    "InstanceNorm1d(3, affine=True, track_running_stats=True)": [(2, 3, 4)],
    "Conv1d(2, 3, 2)": [(2, 2, 5)],
    "Conv2d(2, 4, 3, stride=2, padding=1, groups=2)": [(2, 2, 5, 5)],
    "ConvTranspose2d(2, 3, 2)": [(1, 2, 3, 3)],
    "MultiheadAttention(4, 2, batch_first=True)": [(2, 3, 4)] * 3,
    "TransformerEncoderLayer(4, 2, 8, batch_first=True)": [(2, 3, 4)],
    "LSTM(3, 2, num_layers=2, bidirectional=True)": [(4, 2, 3)],
    "GRU(3, 2)": [(4, 2, 3)],
    "Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))": [(5, 3)],
    "Sequential(nn.ModuleList([nn.Linear(2, 2)])[0], nn.ModuleDict({'a': nn.Tanh()})['a'])": [
        (1, 2)
    ],
}
CODES = {torch.float32: "F32", torch.int64: "I64", torch.bfloat16: "BF16"}


def write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    header, data = {}, b""
    for name, tensor in tensors.items():
        raw = bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist())
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {
            "dtype": CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets
        }  # fmt: skip
        data += raw
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def main() -> None:
    torch.manual_seed(1)
    tensors = {}
    for call, shapes in CASES.items():
        layer = eval(f"nn.{call}", {"nn": torch.nn}).eval()
        for name, tensor in layer.state_dict().items():
            if "running_var" in name:
                tensor.uniform_(0.5, 2)
            elif tensor.dtype == torch.float32:
                tensor.normal_()
            tensors[f"{call}|state|{name}"] = tensor
        operands = [torch.randn(shape) for shape in shapes] or [torch.tensor([[2, 0], [1, 1]])]
        for index, operand in enumerate(operands):
            tensors[f"{call}|x{index}"] = operand
        y = layer(*operands)
        tensors[f"{call}|y"] = y[0] if isinstance(y, tuple) else y
    folder = Path(__file__).parent
    write(folder / "states.safetensors", tensors)
    layer = torch.nn.Linear(3, 2).bfloat16()
    write(folder / "states_bfloat16.safetensors", layer.state_dict())


if __name__ == "__main__":
    main()
