"""Files that PyTorch wrote: names, shapes and order of states, and what layers make of them."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from arrays import host

import gpugrad as gg

FOLDER = Path(__file__).parents[1] / "data" / "pytorch"


def read():
    """For each case the state, the operands and the output, from the file that PyTorch wrote."""
    cases = {}
    for key, tensor in gg.load(FOLDER / "states.safetensors", device="cpu").items():
        call, kind, *name = key.split("|")
        case = cases.setdefault(call, {"state": {}, "x": []})
        if kind == "state":
            case["state"][name[0]] = tensor
        elif kind == "y":
            case["y"] = tensor
        else:
            case["x"].append(tensor)
    return cases


CASES = read()


@pytest.mark.parametrize("call", CASES)
def test_a_state_of_pytorch_fits_and_gives_its_output(call, device):
    case = CASES[call]
    with gg.device(device):
        layer = eval(f"nn.{call}", {"nn": gg.nn}).eval()
    own = layer.state_dict()
    assert list(own) == list(case["state"])
    for name, tensor in case["state"].items():
        assert own[name].shape == tensor.shape
        assert own[name].dtype == tensor.dtype
    assert layer.load_state_dict(case["state"]) == ([], [])
    y = layer(*(x.to(device) for x in case["x"]))
    y = y[0] if isinstance(y, tuple) else y
    np.testing.assert_allclose(host(y), host(case["y"]), rtol=2e-4, atol=2e-5)


def plain_reader(path):
    """The arrays of a file, read as the format says and by nothing of gpugrad."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    types = {"F32": np.float32, "I64": np.int64}
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], types[entry["dtype"]]).reshape(
            entry["shape"]
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }


def test_a_state_that_was_saved_is_read_by_others(tmp_path, device):
    with gg.device(device):
        model = gg.nn.Sequential(gg.nn.Linear(3, 4), gg.nn.BatchNorm1d(4))
        model(gg.ones((5, 3)))
    gg.save(model, tmp_path / "model.safetensors")
    found = plain_reader(tmp_path / "model.safetensors")
    assert found.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(found[name], host(tensor))
        assert found[name].shape == tensor.shape


def test_bfloat16_is_loaded_into_float32(device):
    pytest.importorskip("ml_dtypes")
    state = gg.load(FOLDER / "states_bfloat16.safetensors", device=device)
    layer = gg.nn.Linear(3, 2, device=device)
    layer.load_state_dict(state)
    assert layer.weight.dtype == np.float32
    np.testing.assert_array_equal(host(layer.weight), host(state["weight"]).astype(np.float32))
