"""Inputs for every op of the table, and derivatives by differences: what the op tests share."""

import inspect

import numpy as np

import gpugrad as gg
from gpugrad.engine.op import TABLE, Sample
from gpugrad.functions import FUNCTIONS
from gpugrad.tensor import TENSORS

UNARY = [Sample((2, 3)), Sample(()), Sample((0,))]
BINARY = [Sample((2, 3), (2, 3)), Sample((2, 3), (3,)), Sample((2, 1), (1, 3)), Sample((), (2,))]
TERNARY = [Sample((2, 3), (2, 3), (2, 3)), Sample((3,), (2, 1), ())]


def samples(op):
    """The inputs that an op is tried on: its own, or those for its number of arrays."""
    if op.samples or op.samples is None:
        return op.samples or ()
    return {1: UNARY, 2: BINARY, 3: TERNARY}[len(op.arrays)]


def cases(differentiable=False):
    return [
        (op, sample)
        for op in TABLE.values()
        for sample in samples(op)
        if op.differentiable or not differentiable
    ]


def case_id(value):
    return value.name if hasattr(value, "forward") else repr(value).removeprefix("Sample")


def drawn(op, index):
    """What the entry says of an array, ``real``, ``whole`` or ``mask``; variadic ones are alike."""
    return op.operands[min(index, len(op.operands) - 1)]


def is_integer(op):
    """Whether an op takes whole numbers alone."""
    return set(op.operands) == {"whole"}


def differs_at(op, number):
    """Whether devices or libraries give different values where an operand is this number."""
    arrays = [np.array([number])] * len(op.arrays)
    return op.checks.differs is not None and bool(op.checks.differs(*arrays).any())


def arrays_for(op, sample, dtype=np.float64, seed=3):
    """Arrays from the op's domain, with no two elements near a tie."""
    rng = np.random.default_rng(seed)
    low, high = op.domain
    made = []
    for index, shape in enumerate(sample.shapes):
        if isinstance(shape, np.ndarray):
            made.append(shape)
            continue
        size = int(np.prod(shape))
        steps = (rng.permutation(size) + rng.uniform(0.2, 0.8, size)) / max(size, 1)
        array = (low + (high - low) * steps).reshape(shape) + 0.013 * index
        if drawn(op, index) == "mask":
            array = array > (low + high) / 2
        elif drawn(op, index) == "whole":  # beside real numbers in a dtype that promotes no other
            array = (np.abs(array) * 3).astype(np.int64 if is_integer(op) else np.int8)
        else:
            array = array.astype(dtype)
        made.append(np.asarray(array))
    return made


def prepared(op, arrays):
    """The arrays as the op itself gets them: made valid where it does not take any."""
    if op.prepare is None:
        return arrays
    return [t.numpy() for t in op.prepare(TENSORS, *(gg.tensor(array) for array in arrays))]


def tensors_for(op, sample, device="cpu", dtype=np.float64, requires_grad=True, seed=3):
    return [
        gg.tensor(array, device=device, requires_grad=requires_grad and array.dtype.kind == "f")
        for array in arrays_for(op, sample, dtype, seed)
    ]


def apply(op, sample, tensors):
    result = FUNCTIONS[op.name] if op.name in PLAIN_CALL else None
    function = result or bound(op)
    if op.prepare is not None:
        tensors = op.prepare(TENSORS, *tensors)
    result = function(*tensors, **sample.parameters)
    if op.observe is not None:
        result = op.observe(TENSORS, *outputs_of(result))
    return result


def outputs_of(result):
    return result if isinstance(result, tuple) else (result,)


def bound(op):
    from gpugrad.engine.record import bind

    return bind(op)


_references = {}


def reference(compute, *key):
    """``compute()``, once for a case: the devices, which come one after the other, share it."""
    if key not in _references:
        if len(_references) >= 16:
            _references.clear()
        _references[key] = compute()
    return _references[key]


# Functions whose public signature is the op's own.
PLAIN_CALL = {
    name
    for name, op in TABLE.items()
    if name in FUNCTIONS and inspect.signature(FUNCTIONS[name]) == op.signature
}


def scalar(outputs, weights):
    """A real number that depends on every element of the outputs, on both parts of complex ones."""
    outputs = outputs_of(outputs)
    total = None
    for output, weight in zip(outputs, weights, strict=True):
        if output.dtype.kind == "c":
            output = output.real + output.imag
        term = (output * weight).sum()
        total = term if total is None else total + term
    return total


def weights_for(outputs, seed=11):
    """A weight for each element of the outputs, on their device."""
    rng = np.random.default_rng(seed)
    outputs = outputs_of(outputs)
    return [
        gg.tensor(np.asarray(rng.uniform(0.5, 1.5, output.shape)), device=output.device)
        for output in outputs
    ]


def numeric_gradients(f, arrays, step=1e-6):
    """Central differences of the float f(*arrays) in every element of every float array."""
    results = []
    for index, array in enumerate(arrays):
        if array.dtype.kind != "f":
            results.append(None)
            continue
        slope = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            moved = [a.copy() for a in arrays]
            moved[index][place] += step
            up = f(*moved)
            moved[index][place] -= 2 * step
            slope[place] = (up - f(*moved)) / (2 * step)
        results.append(slope)
    return results
