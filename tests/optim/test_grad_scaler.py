"""GradScaler: PyTorch's figures, and steps that a device skips without a wait of the host."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from gpu import needs_usual_stand_in, waits
from optimizers import MATRICES, OPTIMIZERS

import gpugrad as gg

PYTORCH = np.load(Path(__file__).parents[1] / "data" / "pytorch" / "amp.npz")

every = pytest.mark.parametrize("make", (OPTIMIZERS | MATRICES).values(), ids=OPTIMIZERS | MATRICES)


def scaled_step(scaler, optimizer, params, gradients):
    """A step after which the unscaled gradients would be these."""
    optimizer.zero_grad()
    loss = sum((p * g).sum() for p, g in zip(params, gradients))
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()


def test_scales_and_steps_are_pytorchs(device):
    weight = gg.ones(3, requires_grad=True)
    optimizer = gg.optim.Adam([weight], lr=0.1)
    scaler = gg.GradScaler(init_scale=1024.0, growth_interval=2)
    for index, gradient in enumerate(PYTORCH["gradients"]):
        with np.errstate(all="ignore"):
            scaled_step(scaler, optimizer, [weight], [gg.tensor(gradient)])
        state = scaler.state_dict()
        assert state["scale"] == PYTORCH["scales"][index]
        assert state["_growth_tracker"] == PYTORCH["trackers"][index]
        ours = weight.detach().cpu().numpy()
        np.testing.assert_allclose(ours, PYTORCH["weights"][index], rtol=1e-6)


def parameters():
    """Dense ones, one of float64, and one that is not dense."""
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=(4, 3)).astype(dtype) for dtype in ("f4", "f4", "f8")]
    params = [gg.tensor(array, requires_grad=True) for array in arrays]
    whole = gg.tensor(rng.normal(size=(3, 4)).astype("f4"))
    return [*params, gg.Tensor(whole.data.T).requires_grad_()]


def everything(params, optimizer):
    arrays = [p.detach().cpu().numpy().copy() for p in params]
    for _, entry in sorted(optimizer.state_dict()["state"].items()):
        arrays += [
            np.array(gg.asarray(value).cpu().numpy() if hasattr(value, "dtype") else value)
            for _, value in sorted(entry.items())
        ]
    return arrays


@every
def test_a_skipped_step_changes_nothing(make, device):
    """Steps 0, 1 and 3 of four equal three steps without a scaler."""
    rng = np.random.default_rng(2)
    steps = [[rng.normal(size=(4, 3)).astype("f4") for _ in range(4)] for _ in range(4)]
    steps[2][3][1, 1] = np.inf
    plain, scaled = parameters(), parameters()
    usual, optimizer = make(plain), make(scaled)
    scaler = gg.GradScaler(init_scale=2.0)  # a power of two, so that nothing is rounded
    for index, gradients in enumerate(steps):
        gradients = [gg.tensor(g) for g in gradients]
        if index != 2:
            usual.zero_grad()
            sum((p * g).sum() for p, g in zip(plain, gradients)).backward()
            usual.step()
        with np.errstate(all="ignore"):
            scaled_step(scaler, optimizer, scaled, gradients)
        if index >= 2:  # with the counts taken back by reading them, and by the next step
            for ours, theirs in zip(
                everything(scaled, optimizer), everything(plain, usual), strict=True
            ):
                np.testing.assert_array_equal(ours, theirs)
    assert scaler.get_scale() == 1.0


def test_the_first_step_may_be_skipped(device):
    w = gg.ones(2, requires_grad=True)
    optimizer = gg.optim.SGD([w], lr=0.5, momentum=0.9, dampening=0.5)
    scaler = gg.GradScaler(init_scale=2.0)
    with np.errstate(all="ignore"):
        scaled_step(scaler, optimizer, [w], [gg.tensor([np.nan, 1.0])])
    scaled_step(scaler, optimizer, [w], [gg.ones(2)])
    assert w.tolist() == [0.5, 0.5]  # without dampening, as in a first step


@every
def test_a_state_begins_at_the_first_step_that_is_not_skipped(make, device):
    """The rate falls meanwhile, with which some states begin. The CPU knows what is skipped."""

    def steps(where):
        with gg.device(where):
            base = gg.ones((3, 3, 2))
            alone = gg.ones((3, 3), requires_grad=True)
            strided = gg.Tensor(base.data[..., 0]).requires_grad_()  # updated by itself
            optimizer, scaler = make([alone, strided]), gg.GradScaler(init_scale=2.0)
            for turn in range(5):
                g = gg.ones((3, 3)) * (np.inf if turn < 2 else 0.5 + turn)
                scaled_step(scaler, optimizer, [alone, strided], [g, g])
                for group in optimizer.param_groups:
                    group["lr"] *= 0.5
                yield [alone.tolist(), strided.tolist()]
                if turn != 1:  # then the state is looked at by the next step first
                    yield len(optimizer.state)

    with np.errstate(all="ignore"):
        found, expected = [*steps(device)], [*steps("cpu")]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


def test_nothing_waits_for_the_device(device):
    w = [gg.ones((3, 2), requires_grad=True), gg.ones(2, requires_grad=True)]
    optimizer = gg.optim.Adam(w, lr=0.1)
    scaler = gg.GradScaler()
    bad = [gg.full((3, 2), np.inf), gg.ones(2)]
    with np.errstate(all="ignore"):
        scaled_step(scaler, optimizer, w, bad)
        with gg.sync_guard():
            for gradients in (bad, [gg.ones((3, 2)), gg.ones(2)], bad):
                scaled_step(scaler, optimizer, w, gradients)
    assert scaler.get_scale() == 65536.0 / 8
    assert optimizer.state[w[0]]["step"] == 1


@needs_usual_stand_in
def test_the_driver_counts_no_waits():
    with gg.device("cuda"):
        w = [gg.ones((3, 2), requires_grad=True), gg.ones(2, requires_grad=True)]
        optimizer, scaler = gg.optim.Adam(w, lr=0.1), gg.GradScaler()
        good = [gg.ones((3, 2)), gg.ones(2)]
        bad = [gg.full((3, 2), np.inf), gg.ones(2)]
        scaled_step(scaler, optimizer, w, good)

        def steps():
            for gradients in (bad, good, bad):
                scaled_step(scaler, optimizer, w, gradients)

        assert not waits(steps)
        assert scaler.get_scale() == 65536.0 / 4
        assert optimizer.state[w[0]]["step"] == 2


def test_state_and_pickle_go_on_to_the_same_bits(device):
    runs = []
    for resumed in (False, True):
        w = gg.ones(3, requires_grad=True)
        optimizer = gg.optim.Adam([w], lr=0.1)
        scaler = gg.GradScaler(init_scale=8.0, growth_interval=2)
        for index, gradient in enumerate(PYTORCH["gradients"]):
            if resumed and index == 3:
                saved = scaler.state_dict(), optimizer.state_dict()
                scaler, optimizer = gg.GradScaler(), gg.optim.Adam([w], lr=0.5)
                scaler.load_state_dict(saved[0])
                optimizer.load_state_dict(saved[1])
            if resumed and index == 7:
                scaler = pickle.loads(pickle.dumps(scaler))
            with np.errstate(all="ignore"):
                scaled_step(scaler, optimizer, [w], [gg.tensor(gradient)])
        runs.append((w.tolist(), scaler.state_dict(), optimizer.state[w]["step"]))
    assert runs[0] == runs[1]


def test_a_disabled_scaler_does_nothing(device):
    w = gg.ones(2, requires_grad=True)
    optimizer, scaler = gg.optim.SGD([w], lr=0.5), gg.GradScaler(enabled=False)
    scaled_step(scaler, optimizer, [w], [gg.ones(2)])
    assert (w.tolist(), scaler.get_scale(), scaler.state_dict()) == ([0.5, 0.5], 1.0, {})


def test_two_optimizers_and_clipping_share_a_scaler(device):
    a, b = (gg.ones(2, requires_grad=True) for _ in "ab")
    optimizers = [gg.optim.SGD([p], lr=0.5) for p in (a, b)]
    scaler = gg.GradScaler(init_scale=4.0)
    losses = (a * 2).sum(), (b * gg.tensor([np.inf, 1.0])).sum()
    for loss in scaler.scale(losses):
        loss.backward()
    scaler.unscale_(optimizers[0])
    assert a.grad.tolist() == [2.0, 2.0]
    gg.optim.clip_grad_norm_([a], 1.0)
    for optimizer in optimizers:
        scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0
    assert b.tolist() == [1.0, 1.0]
    np.testing.assert_allclose(a.tolist(), [1 - 0.5**1.5] * 2, rtol=1e-6)


def test_errors_say_what_to_do():
    w = gg.ones(2, requires_grad=True)
    optimizer, scaler = gg.optim.SGD([w], lr=0.5), gg.GradScaler()
    with pytest.raises(gg.errors.GradientError, match="no parameter of the optimizer has a grad"):
        scaler.step(optimizer)
    with pytest.raises(gg.errors.GradientError, match="no gradients were looked at"):
        scaler.update()
    scaler.scale(w.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(gg.errors.GradientError, match="unscaled already"):
        scaler.unscale_(optimizer)
    with pytest.raises(gg.errors.ArgumentError, match="closure"):
        scaler.step(optimizer, lambda: None)
    scaler.step(optimizer)
    with pytest.raises(gg.errors.GradientError, match=r"Call update\(\) after each step"):
        scaler.step(optimizer)
    with pytest.raises(gg.errors.DTypeError, match="GradScaler: expected an optimizer, got list"):
        gg.GradScaler().unscale_([w])
    with pytest.raises(gg.errors.ArgumentError, match="follows the loss"):
        gg.GradScaler("cuda")
    with pytest.raises(gg.errors.DTypeError, match="expected Tensors, got dict"):
        scaler.scale({})
    with pytest.raises(gg.errors.ArgumentError, match="is missing"):
        scaler.load_state_dict({})
    for settings in ({"growth_factor": 1}, {"backoff_factor": 1}, {"init_scale": 0}):
        with pytest.raises(ValueError, match="GradScaler"):
            gg.GradScaler(**settings)
    half = gg.ones(2, dtype="float16", requires_grad=True)
    half.sum().backward()
    with pytest.raises(gg.errors.ArgumentError, match="a gradient is in float16"):
        scaler.unscale_(gg.optim.SGD([half], lr=0.5))
