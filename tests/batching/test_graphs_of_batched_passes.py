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


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_columns_of_a_batch_are_those_of_a_pass_each(op):
    """Tangents are raw arrays in a Jacobian of NumPy's arrays, Tensors in `linearize`."""
    for sample in in_turn(optable.samples(op), "cpu", op.name):
        arrays = optable.arrays_for(op, sample)
        moving = [i for i, array in enumerate(arrays) if array.dtype.kind == "f"]

        def f(*xs):
            given = [gg.tensor(array) for array in arrays]  # noqa: B023
            for i, x in zip(moving, xs):  # noqa: B023
                given[i] = x
            outputs = optable.outputs_of(optable.apply(op, sample, given))  # noqa: B023
            parts = [y.reshape(-1) for y in outputs if y.dtype.kind == "f"]
            return gg.concat(parts) if parts else gg.zeros(0, dtype="float64")

        xs = [gg.tensor(arrays[i]) for i in moving]
        if not xs or not f(*xs).size:
            continue
        _, push = gg.linearize(f, *xs)
        found = gg.jacobian(f, tuple(range(len(xs))), mode="forward")(*xs)
        for number, (x, own) in enumerate(zip(xs, found)):
            for place in range(min(x.size, 3)):
                unit = np.zeros(x.size)
                unit[place] = 1.0
                seeds = [gg.zeros_like(one) for one in xs]
                seeds[number] = gg.tensor(unit.reshape(x.shape), dtype=x.dtype)
                column = own.numpy().reshape(-1, x.size)[:, place]
                np.testing.assert_allclose(column, push(*seeds).numpy(), rtol=1e-9, atol=1e-9)
