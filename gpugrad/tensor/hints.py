"""Errors for names of PyTorch, JAX and NumPy that gpugrad does not have: they say what to write.

`hasattr` is False for these names, and `dir` omits them. Imports the tables of names beside it.
"""

from typing import Any, NoReturn

from gpugrad.tensor.foreign import METHODS, OF_MODULES

__all__ = ["METHODS", "NUMPY", "NUMPY_KEYWORDS", "OF_MODULES", "Foreign", "absent", "hint"]

_SAVE = "gg.save(path, {'name': t})"
_MASKED = "gg.where(mask, values, t)"

# Of NumPy, called with a tensor: `np.copyto(a, t)`.
NUMPY = {
    "array2string": "repr(t), or np.array2string(t.numpy())",
    "common_type": "gg.result_type(t, u)",
    "copyto": "`t[...] = values` under gg.no_grad(), or np.copyto(a, t.detach().numpy())",
    "isfortran": "np.isfortran(t.data)",
    "min_scalar_type": "gg.result_type(t)",
    "place": _MASKED,
    "put": "t.at[indices].set(values), which gives a new tensor",
    "putmask": _MASKED,
    "save": _SAVE,
    "savetxt": "np.savetxt(path, t.numpy())",
    "savez": _SAVE,
    "savez_compressed": _SAVE,
}

# Keywords of NumPy's functions: `np.sum(t, where=mask)`.
NUMPY_KEYWORDS = {
    "casting": "it without: dtypes promote as NumPy's do",
    "dtype": "t.astype(dtype)",
    "initial": "gg.maximum(result, initial), or what else joins the two",
    "order": "it without: a tensor does not show the layout of its memory",
    "subok": "it without: the result is a tensor",
    "where": "gg.where(mask, t, value) first, or gg.where(mask, result, value) afterwards",
}


def hint(name: str) -> str:
    """The advice after "module 'gpugrad' has no attribute"; empty for most names."""
    from gpugrad.tensor.foreign_functions import FUNCTIONS

    return f". Write {FUNCTIONS[name]}" if name in FUNCTIONS else ""


def absent(module: str, name: str) -> AttributeError:
    """The error for a name that a module of ``gpugrad`` does not have."""
    from gpugrad.tensor.foreign_functions import MODULES

    instead = MODULES[module].get(name)
    advice = "" if instead is None else f". Write {instead}"
    return AttributeError(f"module 'gpugrad.{module}' has no attribute {name!r}{advice}")


class Foreign:
    """A class attribute that raises AttributeError with advice; it costs nothing until it is read.

    A ``__getattr__`` of the class would make all of its attributes slower.
    """

    __slots__ = ("_instead", "_name")

    def __init__(self, name: str, instead: str) -> None:
        self._name = name
        self._instead = instead

    def __get__(self, instance: Any, owner: Any = None) -> NoReturn:
        cls = type(instance) if owner is None else owner
        raise AttributeError(
            f"{cls.__name__!r} object has no attribute {self._name!r}. Write {self._instead}"
        )
