"""What PyTorch's users look for in ``nn.utils``: clipping, and parameters as one vector.

Imports functions and below, and `optim.clip`.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gpugrad.backend.device import check_same_device
from gpugrad.engine import versions
from gpugrad.engine.windows import check_writable
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions.manipulation import concatenate
from gpugrad.optim.clip import clip_grad_norm_, clip_grad_value_, get_total_norm
from gpugrad.tensor import Tensor, as_tensor
from gpugrad.tensor.hints import members
from gpugrad.tensor.lost import check_kept

__all__ = [
    "clip_grad_norm_", "clip_grad_value_", "get_total_norm", "parameters_to_vector",
    "vector_to_parameters",
]  # fmt: skip


def _listed(who: str, parameters: Iterable[Tensor]) -> list[Tensor]:
    tensors = list(parameters)
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise DTypeError(f"{who}: expected Tensors, got {type(tensor).__name__}")
    return tensors


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters, one behind the other, as a vector; gradients go through it.

    >>> import gpugrad as gg
    >>> layer = gg.nn.Linear(2, 3)
    >>> gg.nn.utils.parameters_to_vector(layer.parameters()).shape
    (9,)
    """
    tensors = _listed("parameters_to_vector", parameters)
    if not tensors:
        raise ValueError("parameters_to_vector: there are no parameters")
    return concatenate([tensor.reshape(-1) for tensor in tensors])


def vector_to_parameters(vec: Any, parameters: Iterable[Tensor]) -> None:
    """Set all parameters, in place, to the parts of a vector.

    ShapeError for a vector of another length; nothing has been changed then.

    >>> import gpugrad as gg
    >>> layer = gg.nn.Linear(1, 2)
    >>> gg.nn.utils.vector_to_parameters(gg.tensor([1.0, 2.0, 3.0, 4.0]), layer.parameters())
    >>> layer.weight.tolist(), layer.bias.tolist()
    ([[1.0], [2.0]], [3.0, 4.0])
    """
    who = "vector_to_parameters"
    tensors = _listed(who, parameters)
    vec = as_tensor(vec)
    size = sum(math.prod(tensor.shape) for tensor in tensors)
    if vec.shape != (size,):
        raise ShapeError(f"{who}: expected a vector of {size} elements, got shape {vec.shape}")
    check_kept(who, vec, "Take parts of the vector in the place of the parameters")
    flat, at = vec.data, 0
    calls: list[Any] = []
    for tensor in tensors:
        check_writable(who, tensor.data)
        check_same_device(who, (tensor.data, flat))
        part = flat[at : at + tensor.size].reshape(tensor.shape)
        calls += versions.writing(tensor.data, part)
        at += tensor.size
    versions.change(calls, [tensor.data for tensor in tensors])


if not TYPE_CHECKING:  # a checker then reports names that are not there
    __getattr__, __dir__ = members("nn.utils", __all__)
