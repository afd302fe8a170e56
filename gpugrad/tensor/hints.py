"""Names of PyTorch, JAX and NumPy that gpugrad does not have, and what to write instead.

They only make errors better: `hasattr` is False for them, and `dir` omits them. Imports nothing
of gpugrad.
"""

from typing import Any, NoReturn

__all__ = [
    "METHODS", "MODULES", "NAMES", "NUMPY", "NUMPY_KEYWORDS", "OF_MODULES", "Foreign", "absent",
    "hint",
]  # fmt: skip

# Of the module: `gg.cat`.
NAMES = {
    "Generator": "gg.random.Generator(seed)",
    "array": "gg.tensor(...), or gg.asarray(...), which keeps whole numbers whole",
    "autograd": "gg.gradients(output, inputs), which gives a tuple where inputs is a list, and "
    "the gradient itself where it is one tensor; gg.grad(f) for a function",
    "bmm": "gg.matmul(a, b)",
    "cat": "gg.concat(tensors, axis=0)",
    "chunk": "gg.split(x, pieces, axis=0)",
    "clamp": "gg.clip(x, low, high)",
    "digamma": "gg.special.digamma(x)",
    "double": "gg.float64",
    "elementwise_grad": "gg.grad(lambda x: f(x).sum())",
    "erfc": "gg.special.erfc(x)",
    "erfinv": "gg.special.erfinv(x)",
    "float": "gg.float32",
    "from_numpy": "gg.tensor(array), which does not copy",
    "gammaln": "gg.special.gammaln(x)",
    "gather": "gg.take_along_axis(x, indices, axis)",
    "inference_mode": "gg.no_grad()",
    "is_tensor": "isinstance(x, gg.Tensor)",
    "jacfwd": "gg.jacobian(f, mode='forward')",
    "jacrev": "gg.jacobian(f, mode='reverse')",
    "lgamma": "gg.special.gammaln(x)",
    "logit": "gg.special.logit(x)",
    "masked_fill": "gg.where(mask, value, x)",
    "mm": "gg.matmul(a, b)",
    "norm": "gg.linalg.norm(x)",
    "numel": "x.size",
    "permute": "gg.transpose(x, axes)",
    "polygamma": "gg.special.polygamma(n, x)",
    "rand": "gg.random.uniform(0, 1, shape)",
    "randint": "gg.random.integers(low, high, shape)",
    "randn": "gg.random.normal(0, 1, shape)",
    "randn_like": "gg.random.normal(0, 1, x.shape)",
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
    "chunk": "t.split(pieces, axis)",
    "clamp": "t.clip(low, high)",
    "contiguous": "nothing: it is not needed",
    "copy_": "`t[...] = x` under gg.no_grad()",
    "detach_": "t.detach(), a new tensor over the same memory",
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
    "is_contiguous": "t.data.flags.c_contiguous",
    "is_cuda": "t.device.kind == 'cuda'",
    "long": "t.astype(gg.int64)",
    "masked_fill": "gg.where(mask, value, t)",
    "mm": "a @ b",
    "mul_": _IN_PLACE.format("*="),
    "norm": "gg.linalg.norm(t)",
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

# Of the modules: `gg.nn.Embedding`.
MODULES = {
    "nn": {
        "BatchNorm1d": "gg.nn.LayerNorm(shape), which needs no running statistics",
        "Conv1d": "gg.sliding_window_view(x, size, axis) and gg.einsum in a Module of your own",
        "Conv2d": "gg.sliding_window_view(x, sizes, axes) and gg.einsum in a Module of your own",
        "Embedding": "a gg.nn.Parameter of shape (count, width), and index it: weight[numbers]",
        "ModuleDict": "a dict: a Module finds what it holds in lists, tuples and dicts",
        "ModuleList": "a list: a Module finds what it holds in lists, tuples and dicts",
        "ParameterList": "a list: a Module finds what it holds in lists, tuples and dicts",
        "utils": "gg.optim.clip_grad_norm_(parameters, norm), or what else you look for",
    },
    "nn.functional": {
        "binary_cross_entropy": "binary_cross_entropy_with_logits, of what sigmoid would get",
        "embedding": "weight[numbers]",
        "logsigmoid": "gg.special.log_expit(x)",
        "normalize": "x / gg.linalg.norm(x, axis=-1, keepdims=True)",
        "one_hot": "gg.eye(count)[numbers]",
        "pad": "gg.pad(x, widths), with (before, after) for each axis, the first one first",
    },
    "optim": {
        "LBFGS": "scipy.optimize.minimize(gg.value_and_grad(f), x0, jac=True, method='L-BFGS-B')",
        "lr_scheduler": "gg.optim.StepLR and the like: the schedulers are here",
    },
    "random": {
        "choice": "x[gg.random.integers(0, len(x), count)]",
        "default_rng": "gg.random.Generator(seed)",
        "rand": "gg.random.uniform(0, 1, shape)",
        "randint": "gg.random.integers(low, high, shape)",
        "randn": "gg.random.normal(0, 1, shape)",
        "random": "gg.random.uniform(0, 1, shape)",
        "seed": "gg.manual_seed(seed)",
        "shuffle": "x[gg.random.permutation(len(x))]",
        "standard_normal": "gg.random.normal(0, 1, shape)",
    },
}

# Of a Module: `model.register_buffer`.
OF_MODULES = {
    "add_module": "setattr(module, name, part)",
    "register_buffer": "self.name = tensor: a Tensor that requires no gradient is a buffer",
    "register_parameter": "self.name = gg.nn.Parameter(data)",
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
    """The advice after "module 'gpugrad' has no attribute"; empty for most names."""
    return f". Write {NAMES[name]}" if name in NAMES else ""


def absent(module: str, name: str) -> AttributeError:
    """The error for a name that a module of ``gpugrad`` does not have."""
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
