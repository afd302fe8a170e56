"""Gradients of tensors with respect to tensors. Imports tensor and engine."""

from collections.abc import Iterable, Sequence
from typing import Any

from gpugrad.backend.device import copied
from gpugrad.batching.batched import level_of
from gpugrad.engine.accumulate import steal_or_copy
from gpugrad.engine.backward import run_backward
from gpugrad.engine.messages import type_name
from gpugrad.errors import BatchError, DTypeError, GradientError, ShapeError
from gpugrad.tensor import GRAPH_MODE, Tensor

__all__ = ["gradients"]


def gradients(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Any:
    """The gradients of ``outputs`` (summed, if several) with respect to ``inputs``.

    Leaves ``grad`` of every tensor as it is. ``inputs`` may be any tensors of the graph,
    leaves or not. ``grad_outputs`` is a gradient for each output; one element needs none.
    With ``create_graph`` the results can be differentiated again. One input given alone
    gets its gradient alone, several get a tuple. GradientError for an input that the outputs
    do not depend on, unless ``allow_unused``, which gives None for it.

    >>> import gpugrad as gg
    >>> x = gg.tensor(3.0, requires_grad=True)
    >>> slope = gg.gradients(x**3, x, create_graph=True)
    >>> slope.item(), gg.gradients(slope, x).item()
    (27.0, 18.0)
    """
    many_outputs = _tensors("outputs", outputs)
    many_inputs = _tensors("inputs", inputs)
    cotangents: Sequence[Any] = ()
    if grad_outputs is not None:
        alone = isinstance(outputs, Tensor) and not isinstance(grad_outputs, (list, tuple))
        cotangents = (grad_outputs,) if alone else tuple(grad_outputs)
        if len(cotangents) != len(many_outputs):
            raise ShapeError(
                f"gradients: expected a gradient for each of {len(many_outputs)} outputs, got "
                f"{len(cotangents)}"
            )
    targets = [tensor._node for tensor in many_inputs]
    if None in targets:
        raise GradientError(
            f"gradients: input {targets.index(None)} requires no gradient. Make it with "
            "requires_grad=True"
        )
    seeds: list[tuple[Any, Any]] = []
    for number, output in enumerate(many_outputs):
        if output._node is not None:
            gradient = cotangents[number] if cotangents else None
            seeds.append((output._node, output._seed(gradient, create_graph)))
    if not seeds and not allow_unused:
        raise GradientError(
            "gradients: no output requires a gradient or was computed from a tensor that does"
        )
    newest = max(level_of(output._array) for output in many_outputs)
    if any(node.serial < newest for node in targets):
        raise BatchError(
            "gradients: an input comes from outside of the function that vmap was given, where its "
            "gradient is the sum over all elements. Take it as an argument, with in_axes=None, and "
            "write gg.grad(f) for the gradient of each element"
        )
    gradients = run_backward(
        seeds,
        retain_graph=retain_graph,
        graph=GRAPH_MODE if create_graph else None,
        targets=targets,
        ones=grad_outputs is None,
    )
    del seeds
    firsts: dict[Any, Tensor] = {}
    results: list[Tensor | None] = []
    for node in targets:
        if node in gradients:
            firsts[node] = (
                gradients.pop(node) if create_graph else Tensor(steal_or_copy(gradients, node))
            )
            results.append(firsts[node])
        elif node in firsts:  # an input that is given twice
            first = firsts[node]
            results.append(first if create_graph else Tensor(copied(first.data)))
        elif allow_unused:
            results.append(None)
        else:
            raise GradientError(
                f"gradients: the outputs do not depend on input {len(results)}. Pass "
                "allow_unused=True for None in its place"
            )
    return results[0] if isinstance(inputs, Tensor) else tuple(results)


def _tensors(what: str, given: Any) -> Sequence[Tensor]:
    """One Tensor, or several in a list; DTypeError for anything else, or for none."""
    if isinstance(given, Tensor):
        return (given,)
    tensors: Sequence[Any]
    if isinstance(given, (list, tuple)):
        tensors = given
    else:
        alone = hasattr(given, "__array__") or not isinstance(given, Iterable)
        tensors = (given,) if alone else tuple(given)  # a Series has both and iterates
    if not tensors:
        raise DTypeError(f"gradients: expected {what} to be a Tensor or Tensors, got none")
    for one in tensors:
        if not isinstance(one, Tensor):
            number = next(number for number, other in enumerate(tensors) if other is one)
            where = what if one is given else f"{what}[{number}]"
            raise DTypeError(
                f"gradients: expected {what} to be a Tensor or Tensors, but {where} is a "
                f"{type_name(type(one))}. Make it a Tensor with gg.tensor(x, requires_grad=True) "
                "before the computation, or use gg.grad(f)"
            )
    return tensors
