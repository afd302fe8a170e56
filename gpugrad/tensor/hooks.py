"""Hooks on tensors: functions that are called with gradients. Imports core and engine."""

import weakref
from collections.abc import Callable
from typing import Any

from gpugrad.engine.node import CHANGES, COMPLETES, RETAINS, Handle, Leaf, add_hook, retains
from gpugrad.errors import GradientError
from gpugrad.tensor.core import Tensor
from gpugrad.tensor.delivery import deliver

__all__ = ["register_hook", "register_post_accumulate_grad_hook", "retain_grad"]


def register_hook(self: Tensor, hook: Callable[[Tensor], Any]) -> Handle:
    """Call ``hook(gradient)`` in every backward pass, once this tensor's gradient is complete.

    A return value other than None replaces the gradient, for this tensor and for everything
    behind it. Hooks run in the order of registration. Returns a handle; ``handle.remove()``
    removes the hook. GradientError for a tensor that requires no gradient.

    >>> import gpugrad as gg
    >>> x = gg.tensor([1.0, 2.0], requires_grad=True)
    >>> handle = x.register_hook(lambda g: 10 * g)
    >>> (3 * x).sum().backward()
    >>> x.grad
    tensor([30., 30.])
    >>> handle.remove()
    """
    return add_hook(_node(self, "register_hook"), CHANGES, hook)


def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], Any]) -> Handle:
    """Call ``hook(tensor)`` during a backward pass, once ``grad`` of this leaf is complete.

    The pass has not ended yet: a data-parallel layer can start to exchange the gradient here,
    while the gradients of other leaves are computed. Returns a handle that removes the hook.

    >>> import gpugrad as gg
    >>> w = gg.tensor(2.0, requires_grad=True, name="w")
    >>> handle = w.register_post_accumulate_grad_hook(lambda t: print(t.name, t.grad.item()))
    >>> (w * w).backward()
    w 4.0
    """
    node = _node(self, "register_post_accumulate_grad_hook")
    if not isinstance(node, Leaf):
        raise GradientError(
            "register_post_accumulate_grad_hook: only a leaf accumulates a gradient. Use "
            "register_hook, or retain_grad"
        )
    reference = weakref.ref(self)

    def call() -> None:
        tensor = reference()
        if tensor is not None:
            hook(tensor)

    return add_hook(node, COMPLETES, call)


def retain_grad(self: Tensor) -> Tensor:
    """Let backward passes fill ``grad`` of this tensor although it is no leaf; returns it.

    >>> import gpugrad as gg
    >>> x = gg.tensor(3.0, requires_grad=True)
    >>> y = (x * x).retain_grad()
    >>> (2 * y).backward()
    >>> y.grad, x.grad
    (tensor(2.), tensor(12.))
    """
    node = _node(self, "retain_grad")
    if isinstance(node, Leaf) or retains(node):
        return self
    hook = _Retain(self)
    hook.handle = add_hook(node, RETAINS, hook)
    return self


class _Retain:
    """The hook of `retain_grad`: it goes with the tensor when that is changed in place."""

    handle: Handle

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = weakref.ref(tensor)

    def __call__(self, g: Any) -> None:
        tensor = self.tensor()
        if tensor is not None:
            deliver(Tensor, {0: g}, [(tensor, 0)])


def move_retained(tensor: Tensor, node: Any) -> None:
    """Fill ``grad`` with the gradient at the tensor's node now, no longer at an earlier node."""
    for hook in list(getattr(node, "hooks", {}).values()):
        if isinstance(hook, _Retain) and hook.tensor() is tensor:
            hook.handle.remove()
            if tensor._node is not None:
                retain_grad(tensor)


def _node(tensor: Tensor, who: str) -> Any:
    if tensor._node is None:
        raise GradientError(
            f"{who}: this tensor requires no gradient. Make it with requires_grad=True"
        )
    return tensor._node
