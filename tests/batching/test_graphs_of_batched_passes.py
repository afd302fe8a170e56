"""Derivatives of derivatives that vmap has made of a graph outside of it.

What a recorded walk makes of an op's outputs and residuals is as much outside of the level as the
op itself, so that all elements add to its gradient.
"""

import numpy as np
import optable
import pytest
from devices import in_turn

import gpugrad as gg
from gpugrad.engine.op import TABLE

OPS = [op for op in TABLE.values() if op.differentiable and op.name != "to_device"]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_the_gradient_of_pull_backs_of_a_batch(op):
    for sample in in_turn(optable.samples(op), "cpu", op.name):
        check(op, sample)


def check(op, sample):
    arrays = optable.arrays_for(op, sample)
    tensors = [gg.tensor(array) for array in arrays]
    moving = tuple(i for i, array in enumerate(arrays) if array.dtype.kind == "f")

    def f(*xs):
        given = list(tensors)
        for i, x in zip(moving, xs):
            given[i] = x
        outputs = optable.outputs_of(optable.apply(op, sample, given))
        parts = [y.reshape(-1) for y in outputs if y.dtype.kind == "f"]
        return gg.concat(parts) if parts else None

    xs = [tensors[i] for i in moving]
    y = f(*xs) if moving else None
    if y is None or not y.size:
        return
    rng = np.random.default_rng(0)
    seeds = gg.tensor(rng.normal(size=(2, y.size)), dtype=y.dtype)

    def total(rows):
        return sum((d * d).sum() for d in rows)

    def batched(*xs):
        _, pull = gg.vjp(f, *xs)
        return total(gg.vmap(lambda seed: tuple(pull(seed)))(seeds))

    def looped(*xs):
        _, pull = gg.vjp(f, *xs)
        return sum(total(pull(seed)) for seed in seeds)

    of = tuple(range(len(xs)))
    for got, expected in zip(gg.grad(batched, of)(*xs), gg.grad(looped, of)(*xs), strict=True):
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-8, atol=1e-8)
