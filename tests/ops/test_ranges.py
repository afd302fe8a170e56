"""Indices and class numbers out of range: on every device what they are on the CPU.

CuPy wraps indices around in silence. Those that come from the host are looked at before they go
to a device; those on a device inside `gg.debug_mode`, for a look would wait.
"""

import numpy as np
import pytest
from devices import DEVICES

import gpugrad as gg

F = gg.nn.functional


def assigned(t, index, value=1.0):
    t = t.copy()
    t[index] = value
    return t


def ones(t, *shape):
    return gg.ones(shape, device=t.device)


def learning(t):
    return gg.tensor(1.0, device=t.device, requires_grad=True)


# Calls with an index that a tensor of shape (3, 4) does not have; `numbers` makes index arrays.
CALLS = {
    "getitem": lambda t, numbers: t[numbers([0, 5])],
    "getitem, negative": lambda t, numbers: t[numbers([0, -4])],
    "getitem, 0-d": lambda t, numbers: t[numbers(9)],
    "getitem, two axes": lambda t, numbers: t[numbers([[0, 7]])],
    "getitem, two arrays": lambda t, numbers: t[numbers([0]), numbers([4])],
    "getitem, beside an integer": lambda t, numbers: t[1, numbers([7])],
    "getitem, behind a slice": lambda t, numbers: t[:, numbers([4])],
    "getitem, behind an ellipsis": lambda t, numbers: t[..., numbers([4])],
    "getitem, before an ellipsis": lambda t, numbers: t[numbers([3]), ...],
    "getitem, behind a new axis": lambda t, numbers: t[None, :, numbers([4])],
    "getitem, behind a mask": lambda t, numbers: t[np.array([True, False, True]), numbers([0, 4])],
    "getitem, behind a wide mask": lambda t, numbers: t[:, :, None][
        np.ones((3, 4), bool), numbers([1])
    ],
    "item assignment": lambda t, numbers: assigned(t, numbers([0, 5])),
    "item assignment of an array": lambda t, numbers: assigned(t, numbers([0, 5]), ones(t, 2, 4)),
    "item assignment, recorded": lambda t, numbers: assigned(t, numbers([0, 5]), learning(t)),
    "at.get": lambda t, numbers: t.at[numbers([5])].get(),
    "at.set": lambda t, numbers: t.at[numbers([5])].set(1.0),
    "at.set of an array": lambda t, numbers: t.at[numbers([5])].set(ones(t, 1, 4)),
    "at.add": lambda t, numbers: t.at[numbers([5])].add(1.0),
    "at.add of an array": lambda t, numbers: t.at[numbers([5, 1])].add(ones(t, 2, 4)),
    "at.multiply": lambda t, numbers: t.at[numbers([5, 5])].multiply(2.0),
    "at.max": lambda t, numbers: t.at[0, numbers([9])].max(2.0),
    "at.min": lambda t, numbers: t.at[numbers([-4])].min(2.0),
    "index_update": lambda t, numbers: gg.index_update(t, numbers([5]), 1.0),
    "index_update of an array": lambda t, numbers: gg.index_update(
        t, numbers([5, 5]), ones(t, 2, 4)
    ),
    "take": lambda t, numbers: gg.take(t, numbers([3]), 0),
    "take, last axis": lambda t, numbers: gg.take(t, numbers([[4]]), -1),
    "take, raveled": lambda t, numbers: gg.take(t, numbers([12])),
    "take_along_axis": lambda t, numbers: gg.take_along_axis(t, numbers([[4], [0], [0]]), 1),
    "put_along_axis": lambda t, numbers: gg.put_along_axis(t, numbers([[4], [0], [0]]), 1.0, 1),
    "put_along_axis, raveled": lambda t, numbers: gg.put_along_axis(t, numbers([12]), 1.0, None),
    "segment_sum": lambda t, numbers: gg.segment_sum(t, numbers([0, 1, 3]), 3),
    "scatter_add": lambda t, numbers: gg.scatter_add(t, numbers([0, 3]), ones(t, 2, 4)),
    "searchsorted": lambda t, numbers: gg.searchsorted(t[0], t[1], sorter=numbers([0, 1, 2, 4])),
    "ravel_multi_index": lambda t, numbers: gg.ravel_multi_index((numbers([2]),), (2,)),
    "unravel_index": lambda t, numbers: gg.unravel_index(numbers([6]), (2, 3)),
}
EVERY_CALL = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def data(device):
    return gg.tensor(np.arange(12.0).reshape(3, 4), device=device)


@EVERY_CALL
@pytest.mark.parametrize("numbers", [list, np.array], ids=["list", "array"])
def test_an_index_from_the_host_is_looked_at(call, numbers, device):
    def given(values):
        return values if numbers is list else np.array(values)

    t = data(device)
    before = t.cpu().numpy().copy()
    with pytest.raises(gg.IndexingError, match=r"out of bounds|is not from 0 to"):
        call(t, given)
    np.testing.assert_array_equal(t.cpu().numpy(), before)


@EVERY_CALL
def test_an_index_in_a_tensor_of_the_cpu_is_looked_at(call, device):
    with pytest.raises((gg.IndexingError, gg.DeviceError)):
        call(data(device), lambda values: gg.tensor(np.array(values), device="cpu"))


@EVERY_CALL
def test_an_index_on_the_device_is_looked_at_in_debug_mode(call, device):
    with gg.debug_mode(), pytest.raises(gg.IndexingError, match=r"out of bounds|is not from 0 to"):
        call(data(device), lambda values: gg.tensor(np.array(values), device=device))


@EVERY_CALL
def test_the_same_calls_in_range_work(call, device):
    """With every number brought into range, also in debug mode."""

    def inside(values):
        return gg.tensor(np.array(values) % 1, device=device)

    with gg.debug_mode():
        call(data(device), inside)
    call(data(device), inside)


def test_the_ends_of_an_axis_are_in_range(device):
    t = data(device)
    for index in ([-3, 2], np.array([-3, 2], np.int8), np.array([2], np.uint8)):
        with gg.debug_mode():
            got = t[index]
        np.testing.assert_array_equal(got.cpu().numpy(), data("cpu").numpy()[index])
    assert t[:0][[]].shape == (0, 4)
    assert t[np.zeros((2, 0), int)].shape == (2, 0, 4)
    with pytest.raises(gg.IndexingError):
        t[:0][[0]]


@pytest.mark.parametrize(
    "index",
    [
        5, -4, np.int64(3), (0, 4), (0, 0, 0), ([0], [0], [0]), ([0, 1], [0, 1, 2]), [0.5], "a",
        (0, "a"), 1.0, np.float32(1), (0, 1.0), np.array(1.0),
        np.ones(2, bool), np.ones((3, 3), bool), (np.ones(3, bool), [0, 1]),
        np.array([2**40]), np.array([200], np.uint8), ([9], 0), ([0], 9), (9, [0]),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_index_raises_one_error_on_every_device(index, device):
    t = data(device)
    for call in (lambda: t[index], lambda: assigned(t, index), lambda: t.at[index].set(1.0)):
        with pytest.raises(gg.IndexingError):
            call()
    recorded = data(device).requires_grad_()
    with pytest.raises(gg.IndexingError):
        assigned(recorded * 1.0, index)


def test_indices_on_a_device_do_not_wait(device):
    index = gg.tensor(np.array([0, 2]), device=device)
    t = data(device).requires_grad_()
    t[index].sum().backward()  # what is compiled and loaded at the first call may wait
    with gg.sync_guard():
        gg.take_along_axis(t[index], index[:, None], 1).sum().backward()


# Class numbers.

LOSSES = {
    "cross_entropy": F.cross_entropy,
    "cross_entropy, smoothed": lambda x, t, **words: F.cross_entropy(
        x, t, label_smoothing=0.1, **words
    ),
    "nll_loss": F.nll_loss,
}
EVERY_LOSS = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def logits(device, dtype=np.float32):
    rng = np.random.default_rng(2)
    return gg.tensor(rng.normal(size=(4, 3)).astype(dtype), device=device, requires_grad=True)


@EVERY_LOSS
@pytest.mark.parametrize("wrong", [3, -1, 100])
def test_a_class_number_from_the_host_is_looked_at(loss, wrong, device):
    with pytest.raises(ValueError, match="class numbers must be from 0 to 2"):
        loss(logits(device), [0, wrong, 1, 2])
    with gg.debug_mode(), pytest.raises(ValueError, match="class numbers must be from 0 to 2"):
        loss(logits(device), gg.tensor(np.array([0, wrong, 1, 2]), device=device))
    with pytest.raises(ValueError, match=f"Write ignore_index={wrong} if samples of that number"):
        loss(logits(device), [0, wrong, 1, 2])
    assert np.isfinite(loss(logits(device), [0, wrong, 1, 2], ignore_index=wrong).item())


@EVERY_LOSS
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("device", [d for d in DEVICES if d != "cpu"])
def test_a_wrong_class_number_on_a_device_makes_loss_and_gradient_nan(
    loss, reduction, dtype, device
):
    x = logits(device, dtype)
    target = gg.tensor(np.array([0, 3, 1, -1]), device=device)
    losses = loss(x, target, reduction=reduction)
    assert losses.dtype == dtype
    np.testing.assert_array_equal(
        np.isnan(losses.detach().cpu().numpy()), [0, 1, 0, 1] if reduction == "none" else True
    )
    (slope,) = gg.gradients(losses.sum(), [x], create_graph=True)
    assert slope.dtype == dtype
    wrong = np.array([False, True, False, True])
    np.testing.assert_array_equal(
        np.isnan(slope.detach().cpu().numpy()), np.repeat(wrong[:, None], 3, 1)
    )
    plain = logits("cpu", dtype)
    share = 4 if reduction == "mean" else 1
    (loss(plain, [0, 0, 1, 0], reduction="none")[[0, 2]].sum() / share).backward()
    np.testing.assert_allclose(
        slope.detach().cpu().numpy()[~wrong], plain.grad.numpy()[~wrong], rtol=1e-2, atol=1e-3
    )
    if slope.requires_grad:
        (curve,) = gg.gradients((slope * slope).sum(), [x])
        assert np.isnan(curve.cpu().numpy()[wrong]).all()


@EVERY_LOSS
def test_a_class_to_ignore_leaves_no_nan(loss, device):
    x = logits(device)
    target = gg.tensor(np.array([0, -100, 1, 2]), device=device)
    loss(x, target, ignore_index=-100).backward()
    assert np.isfinite(x.grad.cpu().numpy()).all()
