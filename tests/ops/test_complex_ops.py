"""Every op of the table over complex numbers: derivatives against differences in both directions.

The tests are generated: a new table entry is tested without a line here. The gradient of a real
loss by z = a + bi is dL/da + i dL/db, as in PyTorch.
"""

import numpy as np
import optable
import pytest
from complex_numbers import differences, product, total, weights_for

import gpugrad as gg
from gpugrad.engine import forward
from gpugrad.errors import DTypeError
from gpugrad.tensor import GRAPH_MODE


def real_only(op, sample, index):
    """Whether an operand is a mask, has whole numbers, or alone would lose its imaginary part."""
    return optable.drawn(op, index) != "real" or "dtype" in sample.parameters


def patterns(op, sample):
    """Which operands are complex: all of them; of the op's first sample, also one alone."""
    count = len(sample.shapes)
    found = {tuple(range(count))}
    if sample is optable.samples(op)[0]:
        found |= {(0,), (count - 1,)}
    kept = {which for which in found if len(which) > 1 or not real_only(op, sample, which[0])}
    real = [i for i in range(count) if optable.drawn(op, i) in ("real", "cast")]
    return sorted({tuple(i for i in which if i in real) for which in kept})


CASES = [
    (op, sample, which)
    for op, sample in optable.cases(differentiable=True)
    for which in patterns(op, sample)
]

TAKEN = [case for case in CASES if case[0].complex != "refused"]

REFUSED = [case for case in CASES if case[0].complex == "refused"]


def case_id(value):
    return "".join(map(str, value)) if type(value) is tuple else optable.case_id(value)


def parametrize(cases):
    return pytest.mark.parametrize(("op", "sample", "which"), cases, ids=case_id)


def arrays_for(op, sample, which, dtype=np.complex128):
    rng = np.random.default_rng(7)
    arrays = optable.arrays_for(op, sample)
    for index in which:
        array = arrays[index]
        arrays[index] = np.asarray(array + 1j * rng.uniform(-0.7, 0.7, array.shape)).astype(dtype)
    return arrays


def tensors_for(arrays, device):
    return [gg.tensor(a, device=device, requires_grad=a.dtype.kind in "fc") for a in arrays]


def outputs(op, sample, arrays, device="cpu"):
    with gg.no_grad():
        return optable.outputs_of(
            optable.apply(op, sample, [gg.tensor(a, device=device) for a in arrays])
        )


def directions_for(arrays):
    rng = np.random.default_rng(5)
    found = []
    for array in arrays:
        direction = rng.uniform(-1, 1, array.shape)
        if array.dtype.kind == "c":
            direction = direction + 1j * rng.uniform(-1, 1, array.shape)
        found.append(np.asarray(direction) if array.dtype.kind in "fc" else None)
    return found


@parametrize(TAKEN)
def test_first_derivative(op, sample, which, device):
    arrays = arrays_for(op, sample, which)
    tensors = tensors_for(arrays, device)
    results = optable.outputs_of(optable.apply(op, sample, tensors))
    weights = weights_for(results)
    total(results, weights).backward()

    def value(*moved):
        return total(outputs(op, sample, moved), weights).item()

    slopes = optable.reference(lambda: differences(value, arrays), "first", op, sample, which)
    for tensor, slope in zip(tensors, slopes, strict=True):
        if slope is not None:
            own = np.zeros_like(slope) if tensor.grad is None else tensor.grad.cpu().numpy()
            assert own.dtype == slope.dtype
            np.testing.assert_allclose(own, slope, rtol=3e-6, atol=3e-7)


@parametrize(TAKEN)
def test_second_derivative(op, sample, which, device):
    """The gradient of <gradient, v>, against differences of the first gradient."""
    arrays = arrays_for(op, sample, which)
    directions = [d for d in directions_for(arrays) if d is not None]

    def slope_along(device, moved, create_graph):
        tensors = tensors_for(moved, device)
        results = optable.outputs_of(optable.apply(op, sample, tensors))
        loss = total(results, weights_for(results)) + sum(product(y, y) for y in results) * 0.5
        inputs = [t for t in tensors if t.requires_grad]
        found = gg.gradients(loss, inputs, create_graph=create_graph, allow_unused=True)
        terms = [
            product(g, gg.tensor(d, device=device))
            for g, d in zip(found, directions, strict=True)
            if g is not None
        ]
        return inputs, sum(terms[1:], terms[0])

    inputs, along = slope_along(device, arrays, create_graph=True)
    got = gg.gradients(along, inputs, allow_unused=True) if along.requires_grad else [None] * 9

    def value(*moved):
        return slope_along("cpu", moved, create_graph=False)[1].item()

    wanted = optable.reference(lambda: differences(value, arrays), "second", op, sample, which)
    for g, slope in zip(got, [w for w in wanted if w is not None]):
        own = np.zeros_like(slope) if g is None else g.cpu().numpy()
        np.testing.assert_allclose(own, slope, rtol=1e-5, atol=3e-6)


@parametrize(TAKEN)
def test_forward_mode(op, sample, which, device):
    arrays = arrays_for(op, sample, which)
    tensors = tensors_for(arrays, device)
    directions = directions_for(arrays)
    results = optable.outputs_of(optable.apply(op, sample, tensors))
    known = {
        t._node: gg.tensor(d, device=device)
        for t, d in zip(tensors, directions, strict=True)
        if d is not None
    }
    tangents = forward.push(known, [r._node for r in results], GRAPH_MODE)
    moved = [
        outputs(
            op,
            sample,
            [a if d is None else a + step * d for a, d in zip(arrays, directions, strict=True)],
        )
        for step in (1e-6, -1e-6)
    ]
    for tangent, up, down in zip(tangents, *moved, strict=True):
        slope = (up.numpy() - down.numpy()) / 2e-6
        own = np.zeros_like(slope) if tangent is None else tangent.detach().cpu().numpy()
        assert own.shape == slope.shape
        np.testing.assert_allclose(own, slope, rtol=3e-6, atol=3e-7)


@parametrize(REFUSED)
def test_what_has_no_complex_derivative_says_so(op, sample, which, device):
    arrays = arrays_for(op, sample, which)
    with pytest.raises(DTypeError, match="complex|not supported|real numbers|Wrong type"):
        optable.apply(op, sample, tensors_for(arrays, device))


def values_of_numpy(op, sample, arrays):
    """What NumPy's function of that name gives, such as the larger by the real parts; or None."""
    try:
        return getattr(np, op.name)(*optable.prepared(op, arrays), **sample.parameters)
    except (AttributeError, TypeError):
        return None


@parametrize(REFUSED)
def test_and_without_a_record_it_has_the_value_of_numpy_or_none(op, sample, which, device):
    arrays = arrays_for(op, sample, which)
    wanted = values_of_numpy(op, sample, arrays)
    if wanted is None:
        for dtype in (np.complex128, np.complex64, ">c16" if device == "cpu" else np.complex64):
            with pytest.raises(DTypeError, match="takes no complex numbers|expected real numbers"):
                outputs(op, sample, [np.asarray(a, dtype) for a in arrays], device)
        return
    (got,) = outputs(op, sample, arrays, device)
    np.testing.assert_array_equal(got.cpu().numpy(), wanted)


CLASSES, SHARES = np.array([0, 1]), np.full((2, 3), 1 / 3)


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize(
    ("function", "others"),
    [
        (gg.nn.functional.huber_loss, (SHARES,)),
        (gg.nn.functional.mse_loss, (SHARES,)),
        (gg.nn.functional.cross_entropy, (CLASSES,)),
        (gg.nn.functional.cross_entropy, (SHARES,)),
        (gg.nn.functional.nll_loss, (CLASSES,)),
        (gg.spacing, ()),
    ],
)
def test_the_sentence_is_one(function, others, recorded, device):
    z = gg.tensor(np.full((2, 3), 1 + 1j), device=device, requires_grad=recorded)
    others = [gg.tensor(array, device=device) for array in others]
    said = f"{function.__name__}: it takes no complex numbers; give it abs"
    with pytest.raises(DTypeError, match=said):
        function(z, *others)


@parametrize([case for case in TAKEN if case[2][0] == 0])
def test_single_precision_stays_single(op, sample, which, device):
    arrays = [
        a.astype(np.float32) if a.dtype == np.float64 else a
        for a in arrays_for(op, sample, which, np.complex64)
    ]
    tensors = tensors_for(arrays, device)
    results = optable.outputs_of(optable.apply(op, sample, tensors))
    expected = {"complex64", "float32", sample.parameters.get("dtype", "float32")}
    assert {r.dtype.name for r in results} <= expected
    total(results, [w.astype(r.dtype) for w, r in zip(weights_for(results), results)]).backward()
    for tensor, array in zip(tensors, arrays):
        assert tensor.grad is None or tensor.grad.dtype == array.dtype
