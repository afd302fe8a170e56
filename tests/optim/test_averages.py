"""Averages of weights: the mean of all, exponential ones, one's own; and parameters as a vector."""

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.optim import swa_utils


def model_of(dtype="float32"):
    gg.manual_seed(0)
    return gg.nn.Sequential(gg.nn.Linear(3, 2), gg.nn.BatchNorm1d(2), gg.nn.Linear(2, 1)).to(dtype)


def change(model, rng):
    """New values for all parameters and buffers, as a training step would give."""
    with gg.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.dtype.kind == "f":
                tensor[...] = gg.tensor(rng.uniform(0.5, 2.0, tensor.shape).astype(tensor.dtype))
            else:
                tensor += 1


def state(model):
    return {name: tensor.cpu().numpy().copy() for name, tensor in model.state_dict().items()}


DECAY = 0.75
# The function to pass, and what it makes of an average, a value and their number.
AVERAGES = {
    "mean": ({}, lambda a, x, n: a + (x - a) / (n + 1)),
    "swa": ({"avg_fn": swa_utils.get_swa_avg_fn()}, lambda a, x, n: a + (x - a) / (n + 1)),
    "swa of all": (
        {"multi_avg_fn": swa_utils.get_swa_multi_avg_fn()}, lambda a, x, n: a + (x - a) / (n + 1)
    ),
    "ema": ({"avg_fn": swa_utils.get_ema_avg_fn(DECAY)}, lambda a, x, n: 0.75 * a + 0.25 * x),
    "ema of all": (
        {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(DECAY)}, lambda a, x, n: 0.75 * a + 0.25 * x
    ),
    "own": ({"avg_fn": lambda a, x, n: a * n + x}, lambda a, x, n: a * n + x),
}  # fmt: skip


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("name", AVERAGES)
def test_an_average_is_that_of_its_formula(name, use_buffers, device, rng):
    words, formula = AVERAGES[name]
    with gg.device(device):
        model = model_of()
        averaged = swa_utils.AveragedModel(model, use_buffers=use_buffers, **words)
        moved = {n for n, _ in model.named_parameters()}
        if use_buffers:
            moved |= {n for n, b in model.named_buffers() if b.dtype.kind == "f"}
        wanted = None
        for count in range(4):
            change(model, rng)
            before = [t.data for t in averaged.parameters()]
            averaged.update_parameters(model)
            assert all(t.data is array for t, array in zip(averaged.parameters(), before))
            new = state(model)
            wanted = new if wanted is None else {
                key: formula(wanted[key], new[key], count) if key in moved else new[key]
                for key in new
            }  # fmt: skip
            found = state(averaged.module)
            for key, expected in wanted.items():
                np.testing.assert_allclose(found[key], expected, rtol=1e-5, atol=1e-6)
        assert int(averaged.n_averaged) == 4


def test_it_is_a_model_that_is_saved_and_computes(tmp_path, device, rng):
    with gg.device(device):
        model = model_of()
        averaged = swa_utils.AveragedModel(model)
        averaged.update_parameters(model)
        change(model, rng)
        averaged.update_parameters(model)
        gg.save(averaged.state_dict(), tmp_path / "averaged")
        other = swa_utils.AveragedModel(model_of())
        other.load_state_dict(gg.load(tmp_path / "averaged"))
        change(model, rng)
        for one in (averaged, other):
            one.update_parameters(model)
            one.eval()
        x = gg.ones((2, 3))
        np.testing.assert_array_equal(averaged(x).tolist(), other(x).tolist())
        np.testing.assert_array_equal(averaged(x).tolist(), averaged.module(x).tolist())
        assert set(averaged.state_dict()) == {
            "n_averaged", *(f"module.{name}" for name in model.state_dict())
        }  # fmt: skip


def test_half_precision_is_averaged_in_float32(device):
    with gg.device(device):
        p, q = gg.full(3, 1000.0, dtype="float16"), gg.full(3, 1001.0, dtype="float16")
        swa_utils.get_ema_multi_avg_fn(0.4)([p], [q], 1)
        assert p.tolist() == [1000.5] * 3


def test_parts_of_one_memory_and_complex_numbers_are_averaged(device):
    with gg.device(device):
        shared = gg.zeros(4, dtype="complex64")
        parts = [gg.Tensor(shared.data[:3]), gg.Tensor(shared.data[3:])]
        values = [gg.full(3, 2j), gg.full(1, 4 + 0j)]
        swa_utils.get_ema_multi_avg_fn(0.5)(parts, [v.astype("complex64") for v in values], 1)
        assert shared.tolist() == [1j, 1j, 1j, 2.0]


def test_nothing_waits():
    with gg.device("sim"):
        model = model_of()
        averaged = swa_utils.AveragedModel(
            model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.5), use_buffers=True
        )
        with gg.sync_guard():
            averaged.update_parameters(model)
            averaged.update_parameters(model)


def test_buffers_of_bfloat16_are_averaged_as_well():
    pytest.importorskip("ml_dtypes")
    model = gg.nn.BatchNorm1d(1).to("bfloat16")
    averaged = swa_utils.AveragedModel(model, use_buffers=True)
    for value in (1.0, 3.0):
        model.running_mean._write(Ellipsis, value)
        averaged.update_parameters(model)
    assert averaged.module.running_mean.item() == 2.0


def test_a_function_that_fails_changes_nothing(rng):
    model = model_of()
    averaged = swa_utils.AveragedModel(model, avg_fn=lambda a, x, n: a + x[0])
    averaged.update_parameters(model)
    before = state(averaged)
    change(model, rng)
    averaged.avg_fn = lambda a, x, n: {}[n] if a.ndim == 1 else a
    with pytest.raises(KeyError):
        averaged.update_parameters(model)
    for key, value in state(averaged).items():
        np.testing.assert_array_equal(value, before[key])


def test_update_bn_takes_the_statistics_of_all_batches(device, rng):
    with gg.device(device):
        model = model_of()
        model.eval()
        batches = [gg.tensor(rng.normal(size=(4, 3)).astype("float32")) for _ in range(3)]
        hidden = [model[0](x).detach().cpu().numpy() for x in batches]
        swa_utils.update_bn([(x, None) for x in batches], model)
        layer = model[1]
        means = np.mean([h.mean(0) for h in hidden], axis=0)
        np.testing.assert_allclose(layer.running_mean.tolist(), means, rtol=1e-5, atol=1e-6)
        variances = np.mean([h.var(0, ddof=1) for h in hidden], axis=0)
        np.testing.assert_allclose(layer.running_var.tolist(), variances, rtol=1e-5)
        assert layer.momentum == 0.1
        assert not any(part.training for part in model.modules())
    plain = gg.nn.Linear(2, 1)
    swa_utils.update_bn([gg.ones((1, 2))], plain)


def test_errors():
    model = model_of()
    with pytest.raises(gg.DTypeError, match="expected a Module, got list"):
        swa_utils.AveragedModel([])
    with pytest.raises(gg.ArgumentError, match="avg_fn or multi_avg_fn, not both"):
        swa_utils.AveragedModel(model, avg_fn=max, multi_avg_fn=max)
    with pytest.raises(ValueError, match="decay must be at least 0"):
        swa_utils.get_ema_multi_avg_fn(1.5)
    averaged = swa_utils.AveragedModel(model)
    with pytest.raises(ValueError, match="model's parameters are not those of the averaged one"):
        averaged.update_parameters(gg.nn.Linear(3, 2))
    other = gg.nn.Sequential(gg.nn.Linear(4, 2), *list(model)[1:])
    with pytest.raises(ValueError, match="'0.weight' is in one of the two, or has other shapes"):
        averaged.update_parameters(other)


# ---------------------------------------------------------------- parameters as a vector


def test_parameters_go_into_a_vector_and_back(device):
    with gg.device(device):
        model = gg.nn.Linear(3, 2)
        vector = gg.nn.utils.parameters_to_vector(model.parameters())
        assert gg.gradients((vector**2).sum(), model.bias).tolist() == (2 * model.bias).tolist()
        held = model.weight.data
        gg.nn.utils.vector_to_parameters(2 * vector, model.parameters())
        assert model.weight.data is held
        np.testing.assert_allclose(
            gg.nn.utils.parameters_to_vector(model.parameters()).tolist(),
            2 * np.array(vector.tolist()),
        )
        with pytest.raises(gg.ShapeError, match="a vector of 8 elements, got shape"):
            gg.nn.utils.vector_to_parameters(gg.ones(9), model.parameters())
    with pytest.raises(gg.DTypeError, match="expected Tensors, got float"):
        gg.nn.utils.parameters_to_vector([1.0])
    with pytest.raises(ValueError, match="there are no parameters"):
        gg.nn.utils.parameters_to_vector([])
