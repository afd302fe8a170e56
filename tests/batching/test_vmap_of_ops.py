"""Every op of the table under vmap: against a loop, with derivatives inside and outside of it."""

import numpy as np
import optable
import pytest
from batches import SIZE, choices, elements, is_refused
from devices import DEVICES, in_turn

import gpugrad as gg
from gpugrad.engine.op import TABLE

CASES = [
    (device, op, sample)
    for device in DEVICES
    for op in TABLE.values()
    for sample in in_turn(optable.samples(op), device, op.name)
    if op.name != "to_device"
]


def id_of(value):
    return optable.case_id(value) if not isinstance(value, str) else value


@pytest.mark.parametrize(("device", "op", "sample"), CASES, ids=id_of)
def test_an_op_under_vmap_is_a_loop(device, op, sample):
    batches = elements(op, sample)
    count = len(batches[0])
    for held in in_turn(choices(op, sample, count), device, f"{op.name} held"):
        if not is_refused(op, batches[0], held):
            check(device, op, sample, batches, held)


def check(device, op, sample, batches, held):
    # Axes in turn: the last one for the second operand, and so on.
    axes = [
        None if not own else (index % 2) * array.ndim
        for index, (array, own) in enumerate(zip(batches[0], held))
    ]
    each = [[b[i] if own else batches[0][i] for i, own in enumerate(held)] for b in batches]
    given = [
        gg.tensor(
            batches[0][i] if axis is None else np.stack([b[i] for b in batches], axis=axis),
            device=device,
        )
        for i, axis in enumerate(axes)
    ]
    looped = [[gg.tensor(array, device=device) for array in arrays] for arrays in each]

    def f(*tensors):
        return optable.outputs_of(optable.apply(op, sample, list(tensors)))

    expected = [f(*tensors) for tensors in looped]
    ys = gg.vmap(f, in_axes=tuple(axes))(*given)
    for index, y in enumerate(ys):
        same(y, [outputs[index].numpy() for outputs in expected])

    moving = tuple(i for i, array in enumerate(batches[0]) if array.dtype.kind == "f")
    if not op.differentiable or not moving or all(y.dtype.kind in "biu" for y in expected[0]):
        return
    weights = optable.weights_for(expected[0])

    def loss(*tensors):
        outputs = f(*tensors)
        pairs = [(y, w) for y, w in zip(outputs, weights) if y.dtype.kind in "fc"]
        return optable.scalar(tuple(y for y, _ in pairs), [w for _, w in pairs])

    slopes = [gg.grad(loss, moving)(*tensors) for tensors in looped]
    inside = gg.vmap(gg.grad(loss, moving), in_axes=tuple(axes))(*given)
    for index, d in enumerate(inside):
        same(d, [slope[index].numpy() for slope in slopes])
    outside = gg.grad(lambda *xs: gg.vmap(loss, in_axes=tuple(axes))(*xs).sum(), moving)(*given)
    for index, d in zip(moving, outside):
        parts = [slope[moving.index(index)].numpy() for slope in slopes]
        if axes[index] is None:
            close(d.numpy(), sum(parts))
        else:
            close(d.numpy(), np.stack(parts, axis=axes[index]))


def same(y, parts):
    assert y.shape[0] == len(parts)
    assert y.dtype == parts[0].dtype
    close(y.numpy(), np.stack(parts))


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("device", "op"),
    [
        (d, op)
        for d in DEVICES
        for op in TABLE.values()
        if op.differentiable and op.samples is not None
    ],
    ids=id_of,
)
def test_second_derivatives_of_what_all_elements_share(device, op):
    """The operands have no axis of elements; the gradient that comes to them has."""
    sample = next(iter(optable.samples(op)))
    arrays = optable.arrays_for(op, sample, seed=3)
    given = [gg.tensor(array, device=device) for array in arrays]
    moving = tuple(i for i, array in enumerate(arrays) if array.dtype.kind == "f")
    outputs = optable.outputs_of(optable.apply(op, sample, given))
    if not moving or all(y.dtype.kind not in "fc" for y in outputs):
        pytest.skip("no gradient of this sample")
    weights = optable.weights_for(outputs)
    scales = gg.tensor(np.arange(1.0, 1 + SIZE), device=device)

    def element(scale, *tensors):
        ys = optable.outputs_of(optable.apply(op, sample, list(tensors)))
        pairs = [(y * scale, w) for y, w in zip(ys, weights) if y.dtype.kind in "fc"]
        return optable.scalar(tuple(y for y, _ in pairs), [w for _, w in pairs])

    def batched(*tensors):
        return gg.vmap(lambda scale: element(scale, *tensors))(scales).sum()

    def looped(*tensors):
        return sum(element(scale, *tensors) for scale in scales)

    def second(total):
        def of_slopes(*tensors):
            slopes = gg.grad(total, moving)(*tensors)
            return sum((slope.abs() ** 2).sum() for slope in slopes)

        return gg.grad(of_slopes, moving)(*given)

    for got, expected in zip(second(batched), second(looped), strict=True):
        close(got.numpy(), expected.numpy())
