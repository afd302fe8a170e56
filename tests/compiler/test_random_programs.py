"""Random programs of 5 to 30 operations over Tensors, compiled and as usual.

With derivatives, changes in place and what is changed outside. A program is a number: what it does
is drawn as it runs, and depends on shapes alone.
"""

from random import Random

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.backend.device import to_numpy

UNARY = (
    gg.sin, gg.tanh, gg.abs, gg.special.erf,
    lambda a: -a, lambda a: a * 1, lambda a: 1 - a, lambda a: a.detach() * a,
    lambda a: gg.exp(-a * a), lambda a: gg.log1p(a * a), lambda a: gg.sqrt(a * a + 0.5),
    lambda a: gg.nn.functional.relu(a) + 0.1, lambda a: gg.clip(a, -1.0, 0.8),
)  # fmt: skip
BINARY = (
    lambda a, b: a + b, lambda a, b: a - b, lambda a, b: gg.tanh(a) * b, gg.maximum, gg.hypot,
    lambda a, b: a / (b * b + 1), lambda a, b: gg.where(a > b, a, b * 0.5),
    lambda a, b: gg.where(b > 0, a, 0) + b.sum(), gg.logaddexp,
)  # fmt: skip
MATRIX = (
    lambda a: a.T @ a / 8, lambda a: a.sum(axis=0), lambda a: a.mean(axis=1, keepdims=True) + a,
    lambda a: a.max(axis=0), lambda a: a[:, ::-1], lambda a: a[1:], lambda a: a.reshape(-1),
    lambda a: gg.softmax(a, axis=1), lambda a: gg.concat([a, a * 2], axis=1), lambda a: a.T,
    lambda a: gg.cumsum(a, axis=0) / 4, lambda a: a[:, [1, 0]], lambda a: a - a.sum(axis=0),
)  # fmt: skip


def changed(rng, a, b):
    """A copy of a, changed in place by an element of b: whole, in a part, or by a view."""
    own, number = a * 1.0, b.reshape(-1)[0]
    way = rng.randrange(4)
    if way == 0:
        own += number
    elif way == 1:
        own[0] = number
    elif way == 2:
        own[..., -1] *= number
    else:
        part = own[:1]
        part -= number
    return own


def program(number, x, w):
    """The value of a program, from two matrices: one number."""
    rng = Random(number)
    values = [x, w]
    for _ in range(rng.randint(5, 30)):
        a, b = rng.choice(values[-4:]), rng.choice(values)
        kind = rng.randrange(5)
        if kind == 0 and a.ndim == 2 and a.shape[0] > 1 and a.shape[1] > 1 and a.size < 100:
            a = rng.choice(MATRIX)(a)
        elif kind == 1:
            a = changed(rng, a if a.ndim else a.reshape(1), b)
        elif kind == 2:
            a = rng.choice(UNARY)(a)
        else:
            fits = [v for v in values if v.shape == a.shape or not v.ndim] or [a]
            a = rng.choice(BINARY)(a, rng.choice(fits))
        values.append(a)
    return sum(((v * (i + 1)).mean() for i, v in enumerate(values[-3:])), (x * w).mean())


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
