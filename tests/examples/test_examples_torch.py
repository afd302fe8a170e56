"""The example torch_bridge: gradients are those of PyTorch alone, and no array is copied."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
from devices import DEVICES
from repository import ROOT

import gpugrad as gg

EXAMPLES = ROOT / "examples"
HAS_TORCH = importlib.util.find_spec("torch") is not None

# Sim hands out copies, and only when asked.
shared = pytest.mark.parametrize("device", [d for d in DEVICES if d != "sim"], indirect=True)
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="needs PyTorch")


@pytest.fixture
def bridge(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    device, dtype = gg.default_device(), gg.get_default_dtype()
    yield importlib.import_module("torch_bridge")
    gg.set_default_device(device)
    gg.set_default_dtype(dtype)


@pytest.fixture
def place(device):
    """Where PyTorch's tensors are for a device of gpugrad's."""
    import torch

    if device.kind == "cuda" and not torch.cuda.is_available():
        pytest.skip("PyTorch is here without CUDA")
    return "cuda" if device.kind == "cuda" else "cpu"


@pytest.mark.skipif(HAS_TORCH, reason="PyTorch is installed")
def test_without_pytorch_one_sentence_is_said():
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "torch_bridge.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: this needs PyTorch, which cannot be imported")


@needs_torch
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_fits_find_what_they_look_for(bridge, device, place, dtype, capsys):
    bridge.main(["--device", str(device), "--dtype", dtype])
    text = capsys.readouterr().out
    assert "length 0.8000 (0.8), friction 0.3000 (0.3)" in text
    words = text.splitlines()[-1].split()
    before, after = (float(word) for word in (words[3], words[5]))
    assert after < before / 100


@needs_torch
def test_a_gpugrad_function_in_a_graph_of_pytorch(bridge, device, place, rng):
    import torch

    values = [torch.tensor(rng.standard_normal((3, 4)), device=place) for _ in range(3)]
    x, y, constant = values
    x.requires_grad_()
    y.requires_grad_()
    f = bridge.function_for_torch(lambda x, y, c: gg.tanh(x) * y + c * x, device)
    z = f(x * 2, y, constant)
    (z**2).sum().backward(retain_graph=True)
    found = [x.grad.clone(), y.grad.clone()]
    expected = torch.autograd.grad(((torch.tanh(x * 2) * y + constant * x * 2) ** 2).sum(), [x, y])
    for one, two in zip(found, expected):
        np.testing.assert_allclose(one.cpu(), two.cpu(), rtol=1e-12)
    z.sum().backward()  # the graph is kept; a gradient of ones without memory of their own
    unused = bridge.function_for_torch(lambda x, y: x * 2, device)(x, y)
    assert torch.autograd.grad(unused.sum(), y, allow_unused=True) == (None,)


@needs_torch
def test_pytorch_is_told_that_it_cannot_differentiate_again(bridge, device, place):
    import torch

    x = torch.ones(3, device=place, requires_grad=True)
    f = bridge.function_for_torch(lambda x: x**3, device)
    (g,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
    assert g.tolist() == [3.0, 3.0, 3.0]
    with pytest.raises(RuntimeError, match="does not require grad|once_differentiable"):
        torch.autograd.grad(g.sum(), x)


@needs_torch
def test_a_module_of_pytorch_in_a_graph_of_gpugrad(bridge, device, place, rng):
    import torch

    torch.manual_seed(1)
    module = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.GELU(), torch.nn.Linear(5, 2))
    module.to(place, torch.float64)
    f, leaves = bridge.op_of_module(module, device)
    values = rng.standard_normal((4, 3))
    x = gg.tensor(values, device=device, requires_grad=True)
    (f(x * 2) ** 2).sum().backward()
    theirs = torch.tensor(values, device=place, requires_grad=True)
    (module(theirs * 2) ** 2).sum().backward()
    for ours, other in zip((x, *leaves), (theirs, *module.parameters())):
        np.testing.assert_allclose(ours.grad.numpy(), other.grad.cpu(), rtol=1e-10)
    f(x).sum().backward()  # a gradient of ones without memory of their own
    assert gg.gradcheck(f, (gg.tensor(values, device=device),))


@needs_torch
@shared
def test_parameters_are_shared_not_copied(bridge, device, place):
    import torch

    module = torch.nn.Linear(2, 2).to(place)
    _, leaves = bridge.op_of_module(module, device)
    optimizer = gg.optim.SGD(leaves, lr=1.0)
    before = [p.detach().clone() for p in module.parameters()]
    for leaf in leaves:
        leaf.grad = gg.ones(leaf.shape, device=device)
    optimizer.step()
    for p, then in zip(module.parameters(), before):
        np.testing.assert_allclose(p.detach().cpu(), then.cpu() - 1, rtol=1e-6)


@needs_torch
def test_what_is_asked_of_streams_on_a_gpu_is_there():
    import torch

    cupy = pytest.importorskip("cupy")
    assert hasattr(torch.cuda.Stream, "__cuda_stream__")
    assert callable(cupy.cuda.Stream.from_external)


# ---------------------------------------------------------------- DLPack


def address(t):
    return t.data.ctypes.data if t.device.kind == "cpu" else t.data.data.ptr


@needs_torch
@shared
@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int32", "int64", "uint8", "bool", "complex64"]
)
def test_arrays_are_shared_with_pytorch_both_ways(device, place, dtype, rng):
    import torch

    values = (rng.standard_normal((3, 4)) * 8).astype(dtype)
    ours = gg.tensor(values, device=device)
    theirs = torch.from_dlpack(ours)
    assert theirs.data_ptr() == address(ours)
    np.testing.assert_array_equal(theirs.cpu().numpy(), values)
    back = gg.from_dlpack(theirs)
    assert address(back) == address(ours)
    assert back.device == device
    turned = gg.from_dlpack(torch.tensor(values, device=place).T)  # strides and all
    np.testing.assert_array_equal(turned.numpy(), values.T)
    theirs[0, 0] = 1  # seen on both sides
    assert ours[0, 0].item() == 1


@shared
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_arrays_are_shared_with_jax_both_ways(device, dtype, rng):
    jax = pytest.importorskip("jax")
    kind = "gpu" if device.kind == "cuda" else "cpu"
    try:
        there = jax.devices(kind)[0]
    except RuntimeError:
        pytest.skip(f"JAX is here without {kind}")
    values = (rng.standard_normal((64, 4)) * 8).astype(dtype)
    theirs = jax.device_put(values, there)
    ours = gg.from_dlpack(theirs)
    assert ours.device == device
    assert address(ours) == theirs.unsafe_buffer_pointer()
    np.testing.assert_array_equal(ours.numpy(), values)
    back = jax.dlpack.from_dlpack(gg.tensor(values, device=device))
    np.testing.assert_array_equal(np.asarray(back), values)
