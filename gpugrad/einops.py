"""einops on Tensors: import this module once. Imports tensor, and the package ``einops``.

    >>> import einops
    >>> import gpugrad as gg
    >>> import gpugrad.einops
    >>> einops.reduce(gg.ones((2, 6)), "b (c n) -> b c", "sum", c=2).shape
    (2, 2)

einops looks for the backend of an array's type among the subclasses of its ``AbstractBackend``;
this module defines the one for Tensors. ``einops.array_api`` works without it, with the functions
of the Array API standard. https://einops.rocks
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from einops import _backends as backends

from gpugrad.functions import FUNCTIONS
from gpugrad.tensor import Tensor, arange, as_tensor

__all__ = ["Backend"]


class Backend(backends.AbstractBackend):
    """The functions of Tensors that einops needs besides their methods."""

    framework_name = "gpugrad"

    def is_appropriate_type(self, tensor: Any) -> bool:
        return isinstance(tensor, Tensor)

    def from_numpy(self, x: np.ndarray) -> Tensor:
        return as_tensor(x)

    def to_numpy(self, x: Tensor) -> np.ndarray:
        return x.detach().cpu().numpy()

    def arange(self, start: int, stop: int) -> Tensor:
        return arange(start, stop)

    def stack_on_zeroth_dimension(self, tensors: list[Any]) -> Tensor:
        return FUNCTIONS["stack"](tensors)

    def add_axis(self, x: Tensor, new_position: int) -> Tensor:
        return FUNCTIONS["expand_dims"](x, new_position)

    def tile(self, x: Tensor, repeats: Sequence[int]) -> Tensor:
        return FUNCTIONS["tile"](x, repeats)

    def concat(self, tensors: Sequence[Any], axis: int) -> Tensor:
        return FUNCTIONS["concat"](tensors, axis)

    def is_float_type(self, x: Tensor) -> bool:
        return x.dtype.kind not in "biu"

    def einsum(self, pattern: str, *x: Any) -> Tensor:
        return FUNCTIONS["einsum"](pattern, *x)
