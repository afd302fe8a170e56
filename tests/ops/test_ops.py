"""Every op of the table on every device: forward, derivatives of both orders, dtypes.

The tests are generated: a new table entry is tested without a line here.
"""

import inspect

import numpy as np
import optable
import pytest
from devices import DEVICES
from optable import outputs_of

import gpugrad as gg
from gpugrad.engine import forward
from gpugrad.engine.op import TABLE
from gpugrad.functions import FUNCTIONS
from gpugrad.kernels import wide
from gpugrad.tensor import GRAPH_MODE, Tensor

ALL = pytest.mark.parametrize(("op", "sample"), optable.cases(), ids=optable.case_id)
DIFFERENTIABLE = pytest.mark.parametrize(
    ("op", "sample"), optable.cases(differentiable=True), ids=optable.case_id
)


@ALL
def test_forward_is_the_same_on_every_device_and_as_numpy(op, sample, device):
    arrays = optable.arrays_for(op, sample)
    tensors = [gg.tensor(array, device=device) for array in arrays]
    got = outputs_of(optable.apply(op, sample, tensors))
    own = getattr(np, op.name, None)
    if op.native and own is not None:
        wanted = outputs_of(own(*arrays, **sample.parameters))
    else:
        with gg.device("cpu"):
            wanted = outputs_of(optable.apply(op, sample, [gg.tensor(a) for a in arrays]))
        wanted = [w.numpy() for w in wanted]
    for one, other in zip(got, wanted, strict=True):
        assert one.device == device
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one.cpu().numpy(), other, rtol=1e-12, atol=1e-12)


@DIFFERENTIABLE
def test_first_derivative(op, sample, device):
    arrays = optable.arrays_for(op, sample)
    tensors = [gg.tensor(a, device=device, requires_grad=a.dtype.kind == "f") for a in arrays]
    result = optable.apply(op, sample, tensors)
    weights = optable.weights_for(result)
    host_weights = [w.cpu() for w in weights]
    optable.scalar(result, weights).backward()

    def value(*moved):
        with gg.no_grad(), gg.device("cpu"):
            again = optable.apply(op, sample, [gg.tensor(a) for a in moved])
            return optable.scalar(again, host_weights).item()

    slopes = optable.reference(
        lambda: optable.numeric_gradients(value, arrays), "first", op, sample
    )
    for tensor, slope in zip(tensors, slopes, strict=True):
        if slope is not None:
            assert tensor.grad.shape == tensor.shape
            assert tensor.grad.device == tensor.device
            np.testing.assert_allclose(tensor.grad.cpu().numpy(), slope, rtol=2e-6, atol=1e-7)


@DIFFERENTIABLE
def test_second_derivative(op, sample, device):
    """The gradient of <gradient, v>, against differences of the first gradient."""
    arrays = optable.arrays_for(op, sample)
    floats = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
    rng = np.random.default_rng(5)
    directions = [rng.uniform(-1, 1, arrays[i].shape) for i in floats]

    def slope_along(device, moved, create_graph):
        tensors = [gg.tensor(a, device=device, requires_grad=a.dtype.kind == "f") for a in moved]
        result = optable.apply(op, sample, tensors)
        total = optable.scalar(
            outputs_of(result * result)
            if isinstance(result, Tensor)
            else tuple(r * r for r in result),
            optable.weights_for(result),
        )
        inputs = [tensors[i] for i in floats]
        found = gg.gradients(total, inputs, create_graph=create_graph)
        terms = [
            (g * gg.tensor(np.asarray(d), device=device)).sum()
            for g, d in zip(found, directions, strict=True)
        ]
        return inputs, sum(terms[1:], terms[0])

    inputs, along = slope_along(device, arrays, create_graph=True)
    if along.requires_grad:
        got = gg.gradients(along, inputs, allow_unused=True)
    else:
        got = [None] * len(inputs)

    def value(*moved):
        return slope_along("cpu", moved, create_graph=False)[1].item()

    wanted = optable.reference(
        lambda: optable.numeric_gradients(value, arrays), "second", op, sample
    )
    for index, g in zip(floats, got, strict=True):
        own = np.zeros_like(arrays[index]) if g is None else g.cpu().numpy()
        np.testing.assert_allclose(own, wanted[index], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("op", "sample", "device"),
    [
        (op, sample, device)
        for op, sample in optable.cases(differentiable=True)
        for device in DEVICES
        if device.startswith("cuda") and op.kind == "elementwise"
    ],
    ids=optable.case_id,
)
def test_derivatives_by_the_kernels_for_large_arrays(op, sample, device, monkeypatch):
    monkeypatch.setattr(wide, "LARGE", 1)
    with gg.device(device):
        test_first_derivative(op, sample, gg.Device(device))
        test_second_derivative(op, sample, gg.Device(device))


@DIFFERENTIABLE
def test_forward_mode(op, sample, device):
    arrays = optable.arrays_for(op, sample)
    tensors = [gg.tensor(a, device=device, requires_grad=a.dtype.kind == "f") for a in arrays]
    rng = np.random.default_rng(5)
    directions = [rng.uniform(-1, 1, a.shape) if a.dtype.kind == "f" else None for a in arrays]
    result = outputs_of(optable.apply(op, sample, tensors))
    known = {
        t._node: gg.tensor(np.asarray(d), device=device)
        for t, d in zip(tensors, directions, strict=True)
        if d is not None
    }
    tangents = forward.push(known, [r._node for r in result], GRAPH_MODE)

    def outputs(step):
        moved = [a if d is None else a + step * d for a, d in zip(arrays, directions, strict=True)]
        with gg.no_grad():
            return outputs_of(optable.apply(op, sample, [gg.tensor(a) for a in moved]))

    for tangent, up, down in zip(tangents, outputs(1e-6), outputs(-1e-6), strict=True):
        slope = (up.numpy() - down.numpy()) / 2e-6
        assert tangent.shape == slope.shape
        np.testing.assert_allclose(tangent.detach().cpu().numpy(), slope, rtol=2e-6, atol=1e-7)


# How far results of a dtype may be from those in float64, relative to the whole.
NEAR = {np.float16: 2e-2, np.float32: 1e-5, np.float64: 1e-12}


@pytest.mark.parametrize("dtype", NEAR)
@DIFFERENTIABLE
def test_values_and_gradients_have_their_dtype_and_are_near_the_cpu_s_in_float64(
    op, sample, dtype, device
):
    arrays = optable.arrays_for(op, sample, dtype)

    def results(device, arrays):
        tensors = [gg.tensor(a, device=device, requires_grad=a.dtype.kind == "f") for a in arrays]
        with gg.device(device):
            outputs = outputs_of(optable.apply(op, sample, tensors))
            weights = [w.astype(y.dtype) for w, y in zip(optable.weights_for(outputs), outputs)]
            optable.scalar(outputs, weights).backward()
        gradients = [t.grad for t in tensors if t.requires_grad]
        found = [np.asarray(y.detach().cpu().numpy(), np.float64) for y in (*outputs, *gradients)]
        return found, {y.dtype for y in outputs}, {g.dtype for g in gradients}

    wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
    found, of_outputs, of_gradients = results(device, arrays)
    promoted = np.promote_types(dtype, op.checks.least)
    assert of_outputs == {np.dtype(sample.parameters.get("dtype", promoted))}
    assert of_gradients <= {np.dtype(dtype)}
    host, *_ = optable.reference(lambda: results("cpu", wide), dtype, op, sample)
    for got, wanted in zip(found, host, strict=True):
        assert np.linalg.norm(got - wanted) <= NEAR[dtype] * (np.linalg.norm(wanted) + 0.1)


@pytest.mark.parametrize(
    ("op", "sample"),
    [
        (op, sample)
        for op, sample in optable.cases(differentiable=True)
        if op.kind == "elementwise" and len(op.arrays) == 2 and "gg" in op.public
    ],
    ids=optable.case_id,
)
def test_python_numbers_do_not_promote(op, sample):
    one = optable.tensors_for(op, sample, dtype=np.float32)[0]
    for result in (FUNCTIONS[op.name](one, 1.5), FUNCTIONS[op.name](2.5, one)):
        assert result.dtype == np.float32
        one.grad = None
        result.sum().backward()
        assert one.grad.dtype == np.float32


@pytest.mark.parametrize(
    ("op", "name"),
    [(op, name) for op in TABLE.values() for name in op.methods if op.name in optable.PLAIN_CALL],
    ids=optable.case_id,
)
def test_method_function_and_numpy_s_own_name_agree(op, name):
    sample = optable.samples(op)[0]
    tensors = optable.tensors_for(op, sample)
    by_function = FUNCTIONS[name](*tensors, **sample.parameters)
    by_method = getattr(tensors[0], name)(*tensors[1:], **sample.parameters)
    results = [by_method]
    if callable(own := getattr(np, name, None)):
        words = {} if name == "astype" else sample.parameters  # np.astype(x, dtype, /)
        values = sample.parameters.values() if name == "astype" else ()
        results.append(own(*tensors, *values, **words))
    for result in results:
        for one, other in zip(outputs_of(result), outputs_of(by_function), strict=True):
            assert isinstance(one, Tensor)
            assert one.requires_grad == other.requires_grad
            np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())


def test_every_public_function_is_reached_through_numpy_where_numpy_has_it():
    x = gg.tensor(np.array([[0.1, 0.4], [0.2, 0.3]]), requires_grad=True)
    unary = [
        name
        for name, function in FUNCTIONS.items()
        if isinstance(native := getattr(np, name, None), np.ufunc)
        and native.nout == 1
        and len(inspect.signature(function).parameters) == 1
        and not (function.__name__ in TABLE and optable.is_integer(TABLE[function.__name__]))
    ]
    assert len(unary) > 30
    for name in unary:
        low, _ = getattr(TABLE.get(FUNCTIONS[name].__name__), "domain", (0, 0))
        y = x + max(low, 0)
        result = getattr(np, name)(y)
        assert isinstance(result, Tensor), name
        np.testing.assert_array_equal(
            result.detach().numpy(), getattr(np, name)(y.detach().numpy())
        )
