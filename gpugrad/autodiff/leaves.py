"""Leaves of arguments and results: what they are, as Tensors, and back. Imports foreign, tensor.

A transform computes on Tensors and gives back what came: a Tensor, a raw array, a number, or a
labelled array (`gpugrad.autodiff.foreign`).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpugrad.autodiff import tree
from gpugrad.autodiff.foreign import (
    CONSTANTS,
    check_constant,
    is_labelled,
    refused,
    relabel,
    unlabelled,
)
from gpugrad.backend.device import Device, default_device, device_of
from gpugrad.backend.namespace import namespace_of
from gpugrad.backend.precision import kind_of
from gpugrad.errors import DTypeError
from gpugrad.tensor import Tensor, as_tensor
from gpugrad.tensor.lost import check_raw

__all__ = [
    "check_arguments", "common_type", "leaf_type", "output_of", "restored", "tensors_of",
]  # fmt: skip

# What a leaf may be. A result has the first of those that its arguments have.
LEAF_TYPES = ("tensor", "array", "scalar", "number")


class Labels(NamedTuple):
    """The type of a labelled array, which has the labels."""

    of: Any


def leaf_type(value: Any) -> Any:
    """What a leaf is: a "tensor", an "array", a NumPy "scalar" or a Python "number".

    A labelled array, as a Series of pandas, is `Labels`.
    """
    if isinstance(value, Tensor):
        return "tensor"
    if is_labelled(value):
        return Labels(value)
    if namespace_of(value) is None:
        return "number"
    return "scalar" if isinstance(value, np.generic) else "array"


def common_type(leaf_types: Sequence[Any]) -> str:
    """The type of the results of arguments of these types."""
    types = [one if isinstance(one, str) else "array" for one in leaf_types]
    return min(types, key=LEAF_TYPES.index, default="tensor")


def restored(leaf_type: Any, tensor: Tensor) -> Any:
    """A result with the `leaf_type` of its argument; a Tensor where it is part of a graph."""
    if tensor._node is not None:
        return tensor
    if not isinstance(leaf_type, str):
        return relabel(leaf_type.of, tensor.data)
    if leaf_type == "tensor":
        return tensor
    array = tensor.data
    if array.ndim == 0 and leaf_type == "number":
        return array.item()
    if array.ndim == 0 and leaf_type == "scalar" and isinstance(array, np.ndarray):
        return array[()]
    return array


def tensors_of(
    who: str, leaves: Sequence[Any], types: Sequence[Any], args: Any, path: Callable[[int], str]
) -> list[Tensor]:
    """The leaves of the arguments as Tensors; DTypeError where one has no derivative.

    A number goes beside the arrays among ``args``, to their dtype and device. ``path`` says where
    a leaf is.
    """
    are_numbers = [
        leaf_type in ("number", "scalar") or (leaf_type == "array" and not leaf.ndim)
        for leaf, leaf_type in zip(leaves, types)
    ]
    arrays = []
    if any(are_numbers):
        arrays = [leaf for leaf in tree.flatten(args)[0] if namespace_of(leaf) is not None]
    tensors = []
    for index, (leaf, leaf_type, is_number) in enumerate(zip(leaves, types, are_numbers)):
        if leaf_type == "number":
            dtype = _dtype_of_number(leaf, arrays)
            tensors.append(as_tensor(leaf, dtype=dtype, device=_gpu_of(arrays)))
            continue
        if not isinstance(leaf_type, str):
            leaf = unlabelled(f"{who}: {path(index)}", leaf)
        if kind_of(leaf.dtype) not in "fc":
            raise DTypeError(
                f"{who}: dtype {leaf.dtype} has no gradient here ({path(index)}). Pass "
                "floating-point numbers, cast with .astype, or leave the argument out of argnums"
            )
        device = _gpu_of(arrays) if is_number else None
        if leaf_type == "scalar" and device is None:
            device = default_device()
        tensors.append(as_tensor(leaf, device=device))
    return tensors


def _gpu_of(arrays: Sequence[Any]) -> Device | None:
    """The device of the first array on a GPU, beside which a number goes; None if none is."""
    devices = (one.device if isinstance(one, Tensor) else device_of(one) for one in arrays)
    return next((device for device in devices if device.kind != "cpu"), None)


def _dtype_of_number(number: Any, arrays: Sequence[Any]) -> np.dtype[Any]:
    """The dtype of a Python number: that of the arrays beside it, else float64, as in NumPy."""
    floats = [array.dtype for array in arrays if kind_of(array.dtype) in "fc"]
    common = np.result_type(*floats) if floats else np.dtype(np.float64)
    if isinstance(number, complex):
        return np.result_type(common, np.complex64)
    return np.finfo(common).dtype  # the real one of a complex


def check_arguments(who: str, trees: dict[str, tree.Tree], count: int) -> None:
    """DTypeError where no argument, or one that should have, has anything to differentiate."""
    for where, structure in trees.items():
        if structure is tree.LEAF:
            continue
        for path, value in structure.constants(where):
            check_constant(who, path, value)
            if path == where and not isinstance(value, CONSTANTS):
                raise refused(who, path, value)
    if not count:
        shown = ", ".join(f"{where} is {structure!r:.60}" for where, structure in trees.items())
        raise DTypeError(
            f"{who}: there is nothing to differentiate by: {shown or 'no argument was given'}. "
            "Pass floating-point numbers, or arrays of them"
        )


def output_of(who: str, result: Any) -> tuple[list[Tensor], tree.Tree]:
    """The leaves of a result as Tensors, and its structure; DTypeError where it has none."""
    leaves, structure = tree.flatten(result, labelled=True)
    if structure is not tree.LEAF:
        for path, value in structure.constants("its result"):
            check_constant(f"{who}: the function gives no array", path, value)
    if not leaves:
        raise DTypeError(
            f"{who}: expected a function that returns arrays or numbers, got {structure!r:.60}. "
            "Is there a `return` missing?"
        )
    outputs = [
        leaf if isinstance(leaf, Tensor) else as_tensor(unlabelled(f"{who}: the result", leaf))
        for leaf in leaves
    ]
    check_raw(f"{who}: the result", tuple(output._array for output in outputs))
    return outputs, structure
