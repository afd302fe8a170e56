"""Functions that transforms return: they pickle where the function does, and keep its name."""

import copy
import inspect
import pickle

import numpy as np
import pytest

import gpugrad as gg


def cube(x, power=3.0):
    """x to a power."""
    return (x**power).sum()


def pair(x):
    return cube(x), {"x": x}


@gg.value_and_grad
def decorated(x):
    return cube(x)


class Model:
    factor = 2.0

    @gg.grad
    def slope(self, x):
        return self.factor * cube(x)

    @staticmethod
    @gg.checkpoint
    def static(x):
        return cube(x)


class Power:
    """A function that is an object."""

    def __call__(self, x):
        return cube(x)


FUNCTIONS = {
    "grad": gg.grad(cube),
    "argnums": gg.grad(cube, argnums=(0,)),
    "aux": gg.grad(pair, has_aux=True),
    "value_and_grad": gg.value_and_grad(cube),
    "jacobian": gg.jacobian(cube, mode="forward", chunk_size=2),
    "hessian": gg.hessian(cube),
    "holomorphic": gg.hessian(cube, holomorphic=True),
    "checkpoint": gg.checkpoint(cube),
    "nested": gg.hessian(gg.checkpoint(cube)),
    "twice": gg.jacobian(gg.grad(cube)),
    "decorated": decorated,
    "object": gg.grad(Power()),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("how", [lambda f: pickle.loads(pickle.dumps(f)), copy.deepcopy, copy.copy])
def test_a_transformed_function_pickles(name, how):
    function = FUNCTIONS[name]
    twin = how(function)
    x = np.array([1.0, 2.0]) + (1j if name == "holomorphic" else 0.0)
    got, expected = twin(x), function(x)
    for one, other in zip(_leaves(got), _leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def _leaves(value):
    if isinstance(value, tuple | dict):
        parts = value.values() if isinstance(value, dict) else value
        return [leaf for part in parts for leaf in _leaves(part)]
    return [value]


def test_a_function_that_does_not_pickle_says_so():
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(gg.grad(lambda x: x))


def test_it_is_still_a_function():
    slope = gg.grad(cube)
    assert (slope.__name__, slope.__doc__, slope.__wrapped__) == ("cube", "x to a power.", cube)
    assert list(inspect.signature(slope).parameters) == ["x", "power"]
    assert callable(slope)
    assert repr(slope).startswith("<gpugrad.grad of <function cube")
    assert Model().slope.__self__.factor == 2.0
    with pytest.raises(gg.DTypeError, match="argument 0 is a .*Model"):
        Model().slope(np.ones(2))
    assert Model.static(gg.tensor([2.0])).item() == 8.0
