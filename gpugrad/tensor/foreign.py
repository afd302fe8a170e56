"""Names that PyTorch, JAX and NumPy have and gpugrad has not, and what to write in their place.

Nothing else than better errors: `hasattr` says False, `dir` leaves them out. Imports nothing of
gpugrad.
"""

from typing import Any, NoReturn

__all__ = ["METHODS", "NAMES", "NUMPY", "NUMPY_KEYWORDS", "Foreign", "hint"]

# Of the module: `gg.cat`.
NAMES = {
    "array": "gg.tensor(...), or gg.asarray(...), which keeps whole numbers whole",
    "bmm": "gg.matmul(a, b)",
    "cat": "gg.concat(tensors, axis=0)",
    "clamp": "gg.clip(x, low, high)",
    "digamma": "gg.special.digamma(x)",
    "double": "gg.float64",
    "erfc": "gg.special.erfc(x)",
    "erfinv": "gg.special.erfinv(x)",
    "float": "gg.float32",
    "from_numpy": "gg.tensor(array), which does not copy",
    "gammaln": "gg.special.gammaln(x)",
    "inference_mode": "gg.no_grad()",
    "lgamma": "gg.special.gammaln(x)",
    "logit": "gg.special.logit(x)",
    "mm": "gg.matmul(a, b)",
    "permute": "gg.transpose(x, axes)",
    "polygamma": "gg.special.polygamma(n, x)",
    "rand": "gg.random.uniform(0, 1, shape)",
    "randint": "gg.random.integers(low, high, shape)",
    "randn": "gg.random.normal(0, 1, shape)",
    "randperm": "gg.random.permutation(n)",
    "stop_gradient": "x.detach()",
    "unsqueeze": "gg.expand_dims(x, axis)",
    "xlogy": "gg.special.xlogy(a, b)",
}

_IN_PLACE = "an operator in place, `t {} x`, under gg.no_grad()"

# Of a Tensor: `t.view`.
METHODS = {
    "add_": _IN_PLACE.format("+="),
    "bmm": "a @ b",
    "clamp": "t.clip(low, high)",
    "contiguous": "nothing: it is not needed",
    "copy_": "`t[...] = x` under gg.no_grad()",
    "dim": "t.ndim",
    "div_": _IN_PLACE.format("/="),
    "double": "t.astype(gg.float64)",
    "expand": "t.broadcast_to(shape)",
    "fill": "`t[...] = x` under gg.no_grad()",
    "fill_": "`t[...] = x` under gg.no_grad()",
    "flat": "t.ravel()",
    "float": "t.astype(gg.float32)",
    "gather": "gg.take_along_axis(t, indices, axis)",
    "get": "t.numpy()",
    "half": "t.astype(gg.float16)",
    "index_select": "t.take(indices, axis)",
    "is_cuda": "t.device.kind == 'cuda'",
    "long": "t.astype(gg.int64)",
    "masked_fill": "gg.where(mask, value, t)",
    "mm": "a @ b",
    "mul_": _IN_PLACE.format("*="),
    "numel": "t.size",
    "permute": "t.transpose(axes)",
    "put": "t.at[indices].set(values), which gives a new tensor",
    "resize": "gg.resize(t, shape)",
    "strides": "t.data.strides",
    "sub_": _IN_PLACE.format("-="),
    "t": "t.T",
    "tobytes": "t.numpy().tobytes()",
    "type_as": "t.astype(other.dtype)",
    "unsqueeze": "t.expand_dims(axis)",
    "view": "t.reshape(shape)",
    "zero_": "t.zero_grad() to forget the gradient of t, or `t[...] = 0` under gg.no_grad()",
}

_SAVE = "gg.save(path, {'name': t})"
_MASKED = "gg.where(mask, values, t)"
_MEMORY = "np.shares_memory(t.data, u.data)"

# Of NumPy, called with a tensor: `np.copyto(a, t)`.
NUMPY = {
    "array2string": "repr(t), or np.array2string(t.numpy())",
    "common_type": "gg.result_type(t, u)",
    "copyto": "`t[...] = values` under gg.no_grad(), or np.copyto(a, t.detach().numpy())",
    "isfortran": "np.isfortran(t.data)",
    "may_share_memory": _MEMORY,
    "min_scalar_type": "gg.result_type(t)",
    "place": _MASKED,
    "put": "t.at[indices].set(values), which gives a new tensor",
    "putmask": _MASKED,
    "save": _SAVE,
    "savetxt": "np.savetxt(path, t.numpy())",
    "savez": _SAVE,
    "savez_compressed": _SAVE,
    "shares_memory": _MEMORY,
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
    """What to say behind "module 'gpugrad' has no attribute": empty for most names."""
    return f". Write {NAMES[name]}" if name in NAMES else ""


class Foreign:
    """A class attribute that is not there, and says what is: free until it is read.

    A ``__getattr__`` of the class would make every attribute of it slower.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: Any = None) -> NoReturn:
        raise AttributeError(
            f"'Tensor' object has no attribute {self._name!r}. Write {METHODS[self._name]}"
        )
