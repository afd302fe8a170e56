"""Every op and every layer under `vmap` in a compiled function: what it gives without compile.

With gradients for each element, per-sample gradients, ensembles, Jacobians and Hessians.
"""

import math
from functools import partial

import numpy as np
import optable
import pytest
from batches import choices, elements, is_refused
from layers import CASES, arrays_for, start

import gpugrad as gg
from gpugrad import nn
from gpugrad.autodiff import tree
from gpugrad.engine.op import TABLE

OPS = [op for op in TABLE.values() if optable.samples(op) and op.name != "to_device"]
# Under `vmap` they are programs of thousands of steps.
LONG = {"betainc", "betainc_slope", "gammainc", "gammainc_slope", "gammaincc"}
# Layers with few numbers in their input, of which there is a Hessian.
SMALL = [
    name for name, (_, shape, *_) in CASES.items() if shape != "whole" and math.prod(shape) < 30
]


def alike(function, first, second, make=None):
    """A function gives compiled what it gives as usual, also in the second call."""
    compiled, usual = (make(one) if make else one for one in (gg.compile(function), function))
    with np.errstate(all="ignore"):
        compiled(*first)
        got, expected = leaves(compiled(*second)), leaves(usual(*second))
    assert len(got) == len(expected)
    for own, other in zip(got, expected):
        assert own.dtype == other.dtype
        np.testing.assert_allclose(
            own.detach().numpy(), other.detach().numpy(), rtol=1e-9, atol=1e-9
        )


def leaves(result):
    return [one for one in tree.flatten(result)[0] if one is not None]


def weighted(ys):
    """A number that depends on all elements of the real outputs."""
    ys = tuple(y for y in ys if y.dtype.kind in "fc")
    return optable.scalar(ys, optable.weights_for(ys))


def of_sum(function, moving):
    """The gradient of the sum of all that a function gives."""
    return gg.grad(lambda *xs: function(*xs).sum(), moving)


@pytest.mark.usefixtures("by_numpy")
@pytest.mark.parametrize("op", OPS, ids=optable.case_id)
def test_every_op(op):
    """Its first operand alone has an axis of elements, or all have."""
    sample = optable.samples(op)[0]
    batches = elements(op, sample)
    moving = tuple(i for i, array in enumerate(batches[0]) if array.dtype.kind == "f")
    every = choices(op, sample, len(batches[0]))

    def outputs(*tensors):
        return optable.outputs_of(optable.apply(op, sample, list(tensors)))

    def loss(*tensors):
        return weighted(outputs(*tensors))

    for held in dict.fromkeys((every[0], every[-1])):
        if is_refused(op, batches[0], held):
            continue
        axes = tuple(0 if own else None for own in held)
        first, second = (
            [gg.tensor(np.stack(parts) if own else parts[0]) for own, *parts in zip(held, *several)]
            for several in (batches, batches[::-1])
        )
        second = [b if own else a for own, a, b in zip(held, first, second)]
        has_slope = moving and any(
            y.dtype.kind in "fc" for y in outputs(*map(gg.tensor, batches[0]))
        )
        if not has_slope or op.name in LONG:
            alike(gg.vmap(outputs, axes), first, second)
            continue
        alike(gg.vmap(gg.grad(loss, moving), axes), first, second)
        alike(gg.vmap(loss, axes), first, second, partial(of_sum, moving=moving))


class Layer:
    """A layer with three sets of inputs, and what is asked of it."""

    def __init__(self, name):
        self.name = name
        self.layer = start(name, "cpu")
        self.own = isinstance(self.layer, nn.Module) and bool([*self.layer.parameters()])
        if isinstance(self.layer, nn.Module):
            self.layer.eval()
        self.one = [*arrays_for(name)]
        xs = [np.stack([a, a[::-1], np.roll(a, 1, axis=-1)]) for a in self.one]
        self.first = [gg.tensor(x) for x in xs]
        self.second = [gg.tensor(np.roll(x, 1, axis=0)) for x in xs]
        self.moving = tuple(i for i, a in enumerate(self.one) if a.dtype.kind == "f")

    def outputs(self, *xs, parameters=None):
        """The real arrays that it gives."""
        given = (
            self.layer(*xs)
            if parameters is None
            else gg.functional_call(self.layer, parameters, xs)
        )
        return [y for y in leaves(given) if y.dtype.kind not in "biu"]

    def loss(self, *xs):
        """By the first output: of the others nothing is chosen."""
        return weighted(self.outputs(*xs)[:1])

    def loss_by(self, parameters, *xs):
        return weighted(self.outputs(*xs, parameters=parameters))


@pytest.mark.usefixtures("by_numpy")
@pytest.mark.parametrize("name", CASES)
def test_every_layer(name):
    """Gradients by inputs, which are part of a graph where the layer's parameters are.

    Then those of one model for each sample, and of several models with an input each.
    """
    layer = Layer(name)
    if layer.own:
        check_parameters(layer)
    if not layer.moving:
        alike(gg.vmap(layer.loss), layer.first, layer.second)
        return
    slopes = gg.vmap(gg.grad(layer.loss, layer.moving))
    alike(slopes, layer.first, layer.second)
    parameters = [*layer.layer.parameters()] if layer.own else []

    def by_parameters(function):
        return lambda *xs: gg.gradients(
            sum((d * d).sum() for d in function(*xs)), parameters, allow_unused=True
        )

    if parameters and any(d.requires_grad for d in slopes(*layer.first)):
        alike(slopes, layer.first, layer.second, by_parameters)
    elif not parameters:
        alike(gg.vmap(layer.loss), layer.first, layer.second, partial(of_sum, moving=layer.moving))


def check_parameters(layer):
    one = {name: p.detach() for name, p in layer.layer.named_parameters()}
    several = {name: gg.stack([p, p * 0.9, p + 0.1]) for name, p in one.items()}
    axes = (None, *[0] * len(layer.first))
    alike(gg.vmap(gg.grad(layer.loss_by), axes), [one, *layer.first], [one, *layer.second])
    slopes = gg.vmap(gg.grad(layer.loss_by))
    alike(slopes, [several, *layer.first], [several, *layer.second])


@pytest.mark.usefixtures("by_numpy")
@pytest.mark.parametrize("name", SMALL)
def test_matrices_of_every_layer(name):
    """The Jacobian and the Hessian by the first input, for each element and for one alone."""
    layer = Layer(name)

    def slope(x, *others):
        return gg.jacobian(lambda x: layer.outputs(x, *others)[0])(x)

    def curvature(x, *others):
        return gg.hessian(lambda x: layer.loss(x, *others))(x)

    for function in (slope, curvature):
        alike(gg.vmap(function), layer.first, layer.second)
        alike(function, [x[0] for x in layer.first], [x[1] for x in layer.first])


@pytest.mark.parametrize("name", ["LSTM", "GRU", "BatchNorm1d"])
def test_layers_in_c(name):
    layer = Layer(name)
    alike(gg.vmap(gg.grad(layer.loss, layer.moving)), layer.first, layer.second)
