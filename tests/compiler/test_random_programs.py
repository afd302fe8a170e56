"""Random programs of 5 to 30 operations over Tensors, compiled and as usual.

With derivatives, changes in place and what is changed outside.
"""

import numpy as np
import pytest
from functions_by_chance import program

import gpugrad as gg
from gpugrad.backend.device import to_numpy


def results(number, device, compile):
    """What three calls give: the value, a derivative, and what is changed outside."""
    rng = np.random.default_rng(number)
    dtype = np.float64 if number % 4 else np.float32

    def tensor(**kwargs):
        return gg.tensor(device.send(rng.normal(size=(3, 4)).astype(dtype)), **kwargs)

    w, kept = tensor(requires_grad=True), tensor()

    def step(x):
        loss = program(number, x, w)
        loss.backward()
        with gg.no_grad():
            kept[...] += loss
        return loss, x * kept

    def curvature(x):
        return gg.hvp(lambda x: program(number, x, kept), x, x * 0.5)

    run, arrays = compile(step if number % 2 else curvature), []
    for _ in range(3):
        result = run(tensor())
        got = (*result, w.grad, kept) if number % 2 else (result,)
        arrays += [to_numpy(one.detach().data).copy() for one in got if one is not None]
    return arrays


def check(number, device):
    rtol = 1e-8 if number % 4 else 3e-3
    expected = results(number, device, lambda f: f)
    for got, one in zip(results(number, device, gg.compile), expected, strict=True):
        scale = np.abs(one).max(initial=1e-3)
        np.testing.assert_allclose(got, one, rtol=rtol, atol=rtol * scale, err_msg=str(number))


@pytest.mark.parametrize("start", range(0, 40, 10))
def test_programs_by_the_library(start, device, by_numpy):
    count = {"cpu": 10, "sim": 3}.get(device.kind, 1)
    for number in range(start, start + count):
        check(number, device)


@pytest.mark.parametrize("number", [1011, 1032])
def test_masks_of_gradients_that_are_the_same_at_each_call(number, device, by_numpy):
    """They meet others that record, in a sum in place and under an index that records."""
    check(number, device)


@pytest.mark.parametrize("number", range(100, 106))
def test_programs_in_c(number):
    check(number, gg.backend.Device("cpu"))
