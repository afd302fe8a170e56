"""Checks of what an optimizer is given to train. Imports tensor and below."""

from collections.abc import Iterable, Mapping
from typing import Any

from gpugrad.engine.windows import check_writable
from gpugrad.errors import DTypeError, GradientError
from gpugrad.tensor import Tensor

__all__ = ["check_parameter", "groups_of", "named"]


def groups_of(who: str, params: Any) -> list[Any]:
    """The parameter groups of an optimizer's first argument, whose contents are unchecked."""
    if isinstance(params, Tensor):
        raise DTypeError(f"{who}: expected an iterable of Tensors, got one Tensor. Write [tensor]")
    if not isinstance(params, Iterable):
        raise DTypeError(
            f"{who}: expected an iterable of Tensors, got {type(params).__name__}. "
            "Of a model pass model.parameters()"
        )
    groups = list(params)
    if not groups:
        raise ValueError(
            f"{who}: there are no parameters to train. A model's parameters() is an "
            "iterator for one use: call it again, or pass list(model.parameters())"
        )
    return groups if isinstance(groups[0], Mapping) else [{"params": groups}]


def check_parameter(who: str, index: int, p: Any) -> None:
    """Raise for anything but a leaf that requires a gradient; ``index`` is its place in a group."""
    if not isinstance(p, Tensor):
        raise DTypeError(f"{who}: expected Tensors, got {type(p).__name__} at position {index}")
    # A frozen Parameter may be unfrozen later; a plain Tensor without a gradient is a mistake.
    if not p.requires_grad and type(p) is Tensor:
        raise GradientError(
            f"{who}: {named(index, p)} requires no gradient. Make it with "
            "requires_grad=True, or leave it out"
        )
    if not p.is_leaf:
        raise GradientError(
            f"{who}: {named(index, p)} was computed from other tensors, so no gradient "
            "arrives in it. Pass the leaf it came from, or its .detach().requires_grad_()"
        )
    if p._in_graph():
        raise GradientError(
            f"{who}: {named(index, p)} is an argument of a function that is being differentiated, "
            "and a step in place would end its gradient. Write the step as p = p - lr * g, with g "
            "by gg.gradients(loss, p, create_graph=True)"
        )
    if p.requires_grad:
        check_writable(who, p.data)


def named(index: int, p: Tensor) -> str:
    """A parameter in an error: its place, its name if it has one, and its shape."""
    name = f" {p.name!r}" if p.name else ""
    return f"parameter {index}{name} of shape {p.shape}"
