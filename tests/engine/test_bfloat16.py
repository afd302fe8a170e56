"""bfloat16: every op is right in it, as in float32 and rounded once; layers, optimizers, files."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from optable import arrays_for, case_id, drawn, prepared, samples

import gpugrad as gg
from gpugrad.engine.op import TABLE
from gpugrad.tensor import OPS, TENSORS

pytest.importorskip("ml_dtypes", reason="needs ml_dtypes")

PYTORCH = np.load(Path(__file__).parents[1] / "data" / "pytorch" / "amp.npz")
EVERY = [op for op in TABLE.values() if samples(op) and op.name != "astype"]


def results(op, arrays, sample, dtype):
    """The dtypes of the outputs, what is unique of them, and the operands' gradients."""
    operands = [
        gg.tensor(array, dtype="bfloat16").astype(dtype).requires_grad_()
        if drawn(op, index) in ("real", "cast")
        else gg.tensor(array)
        for index, array in enumerate(arrays)
    ]
    y = OPS[op.name](*operands, **sample.parameters)
    outputs = y if isinstance(y, tuple) else (y,)
    dtypes = [one.dtype.name for one in outputs]
    if op.observe is not None:
        seen = op.observe(TENSORS, *outputs)
        outputs = seen if isinstance(seen, tuple) else (seen,)
    parts = [gg.real(one).astype("float64") for one in outputs if one.requires_grad]
    if parts:
        loss = sum((one / (1 + one * one)).sum() for one in parts)
        loss.backward()
    return dtypes, outputs, [x.grad for x in operands if x.grad is not None]


@pytest.mark.parametrize("op", EVERY, ids=case_id)
def test_every_op_is_that_of_float32_rounded(op, device):
    sample = samples(op)[0]
    arrays = [
        a.astype("float32") if a.dtype.kind == "f" else a
        for a in prepared(op, arrays_for(op, sample))
    ]
    with np.errstate(all="ignore"):
        dtypes, ours, by = results(op, arrays, sample, "bfloat16")
        wide_dtypes, wide, expected = results(op, arrays, sample, "float32")
    assert dtypes == [{"float32": "bfloat16"}.get(name, name) for name in wide_dtypes]
    for a, b in zip(ours, wide, strict=True):
        a, b = (t.detach().cpu().numpy() for t in (a, b))
        if op.name in ("nextafter", "spacing"):  # of float32, rounded
            assert np.isfinite(a).all()
        elif a.dtype.kind in "biu":
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a.astype(b.dtype), b, rtol=0.02, atol=0.02)
    for a, b in zip(by, expected, strict=True):
        assert (a.dtype.name, a.shape) == ("bfloat16", b.shape)
        assert gg.isfinite(a).all()
        if op.observe is None:
            b = b.cpu().numpy()
            size = max(float(np.abs(b).max(initial=0)), 0.1)
            np.testing.assert_allclose(a.astype("float32").cpu(), b, atol=0.1 * size)


def test_a_network_is_pytorchs(device):
    """Its loss and gradients, in a block of bfloat16; the weights' in float32."""
    values = {name: gg.tensor(PYTORCH[name]) for name in ("w0", "b0", "w1", "b1")}
    for value in values.values():
        value.requires_grad_()
    with gg.autocast("bfloat16"):
        hidden = gg.relu(
            gg.nn.functional.linear(gg.tensor(PYTORCH["x"]), values["w0"], values["b0"])
        )
        scores = gg.nn.functional.linear(hidden, values["w1"], values["b1"])
        assert scores.dtype.name == "bfloat16"
        loss = gg.nn.functional.cross_entropy(scores, gg.tensor(PYTORCH["classes"]))
    loss.backward()
    np.testing.assert_allclose(loss.item(), PYTORCH["loss"], rtol=2e-3)
    for name, value in values.items():
        assert value.grad.dtype == np.float32
        np.testing.assert_allclose(value.grad.cpu(), PYTORCH[f"d_{name}"], atol=3e-3)


def test_numbers_and_lists_are_weak_and_other_dtypes_promote(device):
    x = gg.tensor([1.5, 2.0], dtype="bfloat16")
    for y in (x * 2.0, 2 * x, x - [1.0, 2.0], x**2, x / 3.0, gg.maximum(x, 0.0), x > 1.0):
        assert y.dtype.name == ("bool" if y.dtype.kind == "b" else "bfloat16")
    assert (x + gg.ones(2)).dtype == np.float32
    assert (x + gg.ones(2, dtype="float16")).dtype == np.float32
    assert (x * gg.ones(2, dtype="float64")).dtype == np.float64


def test_long_sums_and_products_add_in_float32(device):
    x = gg.ones((4096, 3), dtype="bfloat16", requires_grad=True)
    bias = gg.zeros(3, dtype="bfloat16", requires_grad=True)
    (gg.nn.functional.linear(x, gg.ones((3, 3), dtype="bfloat16"), bias) + bias).sum().backward()
    assert bias.grad.tolist() == [8192.0] * 3
    assert (x.T @ x).tolist() == [[4096.0] * 3] * 3
    assert x.sum().item() == 12288.0


def test_views_and_changes_in_place(device):
    x = gg.tensor([1.0, 2.0, 3.0], dtype="bfloat16")
    row = x[1:]
    row *= 2
    x[0] += 0.5
    x[2] = 9
    assert x.tolist() == [1.5, 4.0, 9.0]


def test_a_module_is_trained_in_bfloat16(device):
    gg.manual_seed(0)
    model = gg.nn.Sequential(gg.nn.Linear(3, 8), gg.nn.GELU(), gg.nn.Linear(8, 1)).bfloat16()
    model.to(device)
    optimizer = gg.optim.Adam(model.parameters(), lr=0.05)
    x = gg.tensor(np.random.default_rng(0).normal(size=(32, 3)), dtype="bfloat16")
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = ((model(x) - x[:, :1]) ** 2).mean()
        loss.backward()
        gg.optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert {p.dtype.name for p in model.parameters()} == {"bfloat16"}
    assert {e["exp_avg"].dtype.name for e in optimizer.state.values()} == {"float32"}
    assert model.float()[0].weight.dtype == np.float32


def test_a_file_is_saved_and_loaded(device, tmp_path):
    x = gg.tensor([1.5, -2.0], dtype="bfloat16")
    gg.save({"x": x}, tmp_path / "file")
    y = gg.load(tmp_path / "file", device=device)["x"]
    assert (y.dtype, y.tolist()) == (x.dtype, x.tolist())
    assert gg.exp(gg.asarray(y)).dtype == x.dtype


def test_the_dtype_by_its_names():
    assert gg.bfloat16 is gg.tensor(1.0, dtype="bfloat16").dtype.type
    assert gg.zeros(2, dtype=gg.bfloat16).dtype == gg.ones(2).astype("bfloat16").dtype
    assert gg.finfo("bfloat16").eps == 2.0**-7
    assert gg.ones(2).to("bfloat16").dtype.name == "bfloat16"


def test_without_ml_dtypes_a_sentence():
    code = (
        "import sys; sys.modules['ml_dtypes'] = None\n"
        "import gpugrad as gg\n"
        "for f in (lambda: gg.autocast('bfloat16'), lambda: gg.ones(2, dtype='bfloat16'),\n"
        "          lambda: gg.bfloat16, lambda: gg.ones(2).to('bfloat16')):\n"
        "    try: f()\n"
        "    except (gg.errors.DTypeError, AttributeError) as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.count('pip install "ml_dtypes>=0.5"') == 4
