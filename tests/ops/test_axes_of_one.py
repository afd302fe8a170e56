"""Every op of the table over axes of one element, whose memory lies in every order at once.

Code of a device of its own is compared with the formulas, which ``sim`` runs, and operands stay as
they were: an array that needs no copy to be in another order must not be written.
"""

import numpy as np
import optable
import pytest
from devices import DEVICES
from optable import outputs_of

from gpugrad.engine.op import TABLE, Sample


def collapsed(sample):
    """The sample with axes of one element in place of all that have a certain size, for each."""
    shapes = [shape for shape in sample.shapes if isinstance(shape, tuple)]
    for size in sorted({n for shape in shapes for n in shape if n > 1}):
        yield Sample(
            *[tuple(1 if n == size else n for n in shape) if isinstance(shape, tuple) else shape
              for shape in sample.shapes],
            **sample.parameters,
        )  # fmt: skip


def run(op, sample, device):
    """The outputs and the gradients; nothing where the parameters do not fit the shapes."""
    try:
        tensors = optable.tensors_for(op, sample, device)
        outputs = outputs_of(optable.apply(op, sample, tensors))
        parts = tuple(y for y in outputs if y.requires_grad)
        if op.differentiable and parts:
            optable.scalar(parts, optable.weights_for(parts)).backward()
    except (AttributeError, ValueError, IndexError):
        return None
    for tensor, array in zip(tensors, optable.arrays_for(op, sample), strict=True):
        np.testing.assert_array_equal(tensor.detach().cpu().numpy(), array)
    return [
        t.detach().cpu().numpy() for t in (*outputs, *(x.grad for x in tensors)) if t is not None
    ]


@pytest.mark.parametrize("device", [device for device in DEVICES if device != "sim"])
@pytest.mark.parametrize("op", [op for op in TABLE.values() if op.samples], ids=optable.case_id)
def test_axes_of_one_element(op, device):
    for sample in (one for own in op.samples for one in collapsed(own)):
        got, wanted = run(op, sample, device), run(op, sample, "sim")
        if got is None or wanted is None:
            continue
        for one, other in zip(got, wanted, strict=True):
            assert one.shape == other.shape, sample
            np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9, err_msg=repr(sample))
