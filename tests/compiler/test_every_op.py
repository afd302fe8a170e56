"""Every op of the table and its derivatives of two orders, compiled and run as usual."""

import itertools

import numpy as np
import pytest
from optable import arrays_for, case_id, prepared, samples

import gpugrad as gg
from gpugrad.backend.host import NUMPY
from gpugrad.compiler.programs.program import Step, Value, gives_view
from gpugrad.engine.op import TABLE
from gpugrad.tensor import OPS, TENSORS

EVERY = [op for op in TABLE.values() if samples(op)]
# Their second derivatives are programs of 10,000 steps and more: compiled once, by NumPy.
LONG = {"betainc", "betainc_slope", "gammainc", "gammainc_slope", "gammaincc"}


def total(outputs):
    """A number that depends on all that is differentiable; None where nothing is."""
    parts = [gg.real(y) for y in outputs if y.requires_grad]
    return sum((y / (1 + y * y)).sum() for y in parts) if parts else None


def derivatives(op, sample, order):
    """A function of tensors: the outputs of an op, and the derivatives of one order or two."""

    def function(*operands):
        operands = [x.detach().requires_grad_() if x.dtype.kind == "f" else x for x in operands]
        xs = [x for x in operands if x.requires_grad]
        y = OPS[op.name](*operands, **sample.parameters)
        outputs = y if isinstance(y, tuple) else (y,)
        if op.observe is not None:
            seen = op.observe(TENSORS, *outputs)
            outputs = seen if isinstance(seen, tuple) else (seen,)
        found = []
        loss = total(outputs) if xs else None
        if loss is not None:
            first = gg.gradients(loss, xs, create_graph=True, allow_unused=True)
            parts = [d for d in first if d is not None and d.requires_grad]
            again = total(parts) if order == 2 else None
            found += first
            found += [] if again is None else gg.gradients(again, xs, allow_unused=True)
        return [one.detach() for one in (*outputs, *found) if one is not None]

    return function


def check(op, sample, device, order=2):
    """A compiled op gives what it gives otherwise: when it is recorded, run, and run again."""
    function = derivatives(op, sample, order)
    compiled = gg.compile(function)
    for seed in (3, 4, 5):
        arrays = prepared(op, arrays_for(op, sample, seed=seed))
        tensors = [gg.tensor(array, device=device) for array in arrays]
        with np.errstate(all="ignore"):
            expected = function(*tensors)
            got = compiled(*tensors)
        assert len(got) == len(expected)
        for own, other in zip(got, expected, strict=True):
            assert (own.dtype, own.device) == (other.dtype, other.device)
            a, b = own.cpu().numpy(), other.cpu().numpy()
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("by_numpy")
@pytest.mark.parametrize("op", EVERY, ids=case_id)
def test_programs_that_are_replayed_give_what_their_ops_give(op, device):
    for sample in samples(op)[:2]:
        check(op, sample, device, order=1 if op.name in LONG and device.kind != "cpu" else 2)


def in_every_order(array):
    """The array with its axes in memory in each order."""
    for order in itertools.permutations(range(np.ndim(array))):
        moved = np.array(np.transpose(array, order), order="C")
        yield np.transpose(moved, np.argsort(order))


@pytest.mark.parametrize("op", EVERY, ids=case_id)
def test_what_may_give_a_view_is_known(op):
    """Whatever the order of axes in memory, in which a program may keep an operand."""
    for sample in samples(op):
        first, *others = prepared(op, arrays_for(op, sample))
        for array in in_every_order(first) if isinstance(first, np.ndarray) else (first,):
            operands = [array, *others]
            with np.errstate(all="ignore"):
                results = getattr(NUMPY, op.name)(*operands, **sample.parameters)
            for y in results if isinstance(results, tuple | list) else (results,):
                shared = [isinstance(x, np.ndarray) and np.may_share_memory(x, y) for x in operands]
                if np.size(y) and any(shared):
                    values = [Value(np.shape(x), np.result_type(x)) for x in operands]
                    result = Value(np.shape(y), y.dtype)
                    assert shared.index(True) == 0
                    assert gives_view(Step(op.name, values, dict(sample.parameters), [result]))


@pytest.mark.parametrize("op", EVERY, ids=case_id)
def test_programs_in_c_give_what_their_ops_give(op):
    check(op, samples(op)[0], "cpu", order=1 if op.name in LONG else 2)
