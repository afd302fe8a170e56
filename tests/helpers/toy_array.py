"""A toy array type, as somebody outside gpugrad would write one: NumPy's memory in a box.

NumPy does not know it, and it has no more of NumPy's methods than `gpugrad.backend.register` asks
for, so that whatever reaches for NumPy behind the namespace's back fails.
"""

import operator
from types import ModuleType

import numpy as np
import scipy.special

from gpugrad.backend import Namespace, register


class Toy:
    __array_ufunc__ = None

    def __init__(self, values):
        self.values = np.asarray(values)

    shape = property(lambda self: self.values.shape)
    dtype = property(lambda self: self.values.dtype)
    ndim = property(lambda self: self.values.ndim)
    size = property(lambda self: self.values.size)
    T = property(lambda self: Toy(self.values.T))

    def __bool__(self):
        return bool(self.values)

    def __getitem__(self, index):
        return Toy(self.values[bare(index)])

    def __setitem__(self, index, value):
        self.values[bare(index)] = bare(value)


def bare(value):
    """The value with NumPy's arrays in the place of toys."""
    if isinstance(value, tuple | list):
        return type(value)(map(bare, value))
    return value.values if isinstance(value, Toy) else value


def boxed(value):
    if isinstance(value, tuple | list):  # a named tuple too
        return tuple(map(boxed, value))
    return Toy(value) if isinstance(value, np.ndarray | np.generic) else value


def over_toys(function):
    return lambda *operands, **kwargs: boxed(
        function(*map(bare, operands), **{name: bare(value) for name, value in kwargs.items()})
    )


for name in "add sub mul truediv floordiv mod pow and or xor lshift rshift matmul".split():
    method = over_toys(getattr(operator, f"__{name}__"))
    setattr(Toy, f"__{name}__", method)
    setattr(Toy, f"__r{name}__", lambda a, b, method=method: method(b, a))
    setattr(Toy, f"__i{name}__", over_toys(getattr(operator, f"__i{name}__")))
for name in "neg pos abs invert eq ne lt le gt ge".split():
    setattr(Toy, f"__{name}__", over_toys(getattr(operator, f"__{name}__")))
for name in "astype reshape copy item".split():
    setattr(Toy, name, over_toys(getattr(np.ndarray, name)))


class Functions:
    """The functions of one of NumPy's modules, over toys."""

    def __init__(self, module):
        self.__name__ = f"toy of {module.__name__}"
        self.module = module

    def __getattr__(self, name):
        found = getattr(self.module, name)
        if isinstance(found, ModuleType):
            return Functions(found)
        return over_toys(found) if callable(found) and not isinstance(found, type) else found


class ToyNamespace(Namespace):
    def owner_of(self, array):
        return super().owner_of(array.values)

    def to_numpy(self, array):
        return array.values

    def add_at(self, out, index, values):
        np.add.at(out.values, bare(index), bare(values))

    def maximum_at(self, out, index, values):
        np.maximum.at(out.values, bare(index), bare(values))


register(Toy, ToyNamespace(Functions(np), {"special": Functions(scipy.special)}))
