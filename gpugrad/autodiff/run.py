"""One run of a function on leaves of its own: what all transforms are made of.

Imports tensor, engine and the modules beside it.

A transform calls ``f`` on fresh leaves, so that neither the caller's tensors nor their
``grad`` are touched, and two transforms inside each other never take one's perturbation for
the other's. Where the caller's own tensor is part of a graph, the fresh one is connected to
it, and derivatives are recorded as well: another transform, or a later ``backward``, goes
through them. Where nobody watches, the walk runs over raw arrays.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any

import numpy as np

from gpugrad.autodiff import tree
from gpugrad.backend.device import default_device, device_of
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.accumulate import steal_or_copy
from gpugrad.engine.backward import GraphMode, run_backward
from gpugrad.engine.forward import push
from gpugrad.engine.messages import check_real
from gpugrad.engine.modes import enable_grad, is_grad_enabled
from gpugrad.engine.node import Node, next_serial
from gpugrad.engine.op import TABLE
from gpugrad.errors import DTypeError, GradientError
from gpugrad.tensor import GRAPH_MODE, TENSORS, Tensor, as_tensor

__all__ = ["PLAIN", "Run", "connected", "inside_since", "kind_of", "numbers_of", "restored"]

# A walk with Tensors that are no part of the graph which is walked: what it computes is
# recorded only as far as the gradients it starts from are.
PLAIN = GraphMode(TENSORS, lambda array, node: Tensor(array))

# The serial number at which the outermost transform that is running began.
_outermost: ContextVar[int | None] = ContextVar("gpugrad_outermost", default=None)


def kind_of(value: Any) -> str:
    """What a leaf is: a "tensor", an "array", a NumPy "scalar" or a Python "number"."""
    if isinstance(value, Tensor):
        return "tensor"
    if namespace_of(value) is None:
        return "number"
    return "scalar" if isinstance(value, np.generic) else "array"


def restored(kind: str, tensor: Tensor) -> Any:
    """A result as the kind of what it belongs to; as a Tensor where it carries a graph."""
    if kind == "tensor" or tensor._node is not None:
        return tensor
    array = tensor.data
    if array.ndim == 0 and kind == "number":
        return array.item()
    if array.ndim == 0 and kind == "scalar" and isinstance(array, np.ndarray):
        return array[()]
    return array


def numbers_of(who: str, where: str, value: Any) -> Tensor:
    """A Tensor of a leaf; DTypeError where it has no derivative."""
    # A NumPy scalar goes where numbers go.
    made = as_tensor(value, device=default_device() if isinstance(value, np.generic) else None)
    if made.dtype.kind not in "fc":
        raise DTypeError(
            f"{who}: dtype {made.dtype} has no gradient here ({where}). Pass floating-point "
            "numbers, cast with .astype, or leave the argument out of argnums"
        )
    return made


def connected(value: Tensor) -> Tensor:
    """The same values as a new place in the graph, over the same memory."""
    array, node = value.data, value._node
    if node is None:
        return Tensor(array).requires_grad_()
    op, xp = TABLE["positive"], namespace_of(array)
    return Tensor(array, Node(op, (node,), (node,), None, xp, array.shape, array.dtype, None))


def inside_since(
    roots: Iterable[Any], start: int, stop: dict[Any, None]
) -> tuple[list[Any], list[Any]]:
    """The nodes made since ``start`` that lead to ``roots``, and the older ones they came from.

    Goes no further back than the nodes in ``stop``, so what happened before costs nothing.
    """
    found = dict.fromkeys(roots)
    stack = list(found)
    older = []
    inside = []
    while stack:
        node = stack.pop()
        if node.serial < start:
            older.append(node)
            continue
        inside.append(node)
        if node in stop:
            continue
        for parent in node.parents:
            if parent is not None and parent not in found:
                found[parent] = None
                stack.append(parent)
    key: Callable[[Any], int] = lambda node: node.serial  # noqa: E731
    return sorted(inside, key=key), sorted(older, key=key)


class Run:
    """``f(*args, **kwargs)``, with the arguments that ``argnums`` names on leaves of their own.

    ``fresh`` are those leaves; ``outputs`` the leaves of what ``f`` returned, as Tensors.
    ``watched`` says that derivatives must be recorded.
    """

    def __init__(
        self,
        who: str,
        f: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any] | None = None,
        argnums: int | Sequence[int] = 0,
        has_aux: bool = False,
    ) -> None:
        recorded = is_grad_enabled()
        start = next_serial()
        self.who = who
        self.numbers = _checked_argnums(who, argnums, len(args))
        self.alone = isinstance(argnums, int)
        self.trees: list[tree.Tree] = []
        self.kinds: list[str] = []
        self.fresh: list[Tensor] = []
        watched = False
        given = list(args)
        for number in self.numbers:
            leaves, structure = tree.flatten(args[number])
            self.trees.append(structure)
            made = []
            for leaf, path in zip(leaves, structure.paths(f"argument {number}")):
                value = numbers_of(who, path, leaf)
                self.kinds.append(kind_of(leaf))
                watched = watched or (recorded and value._node is not None)
                made.append(connected(value if recorded else value.detach()))
            self.fresh.extend(made)
            given[number] = tree.unflatten(structure, made)
        self.targets: dict[Any, None] = dict.fromkeys(fresh._node for fresh in self.fresh)
        self.aux: Any = None
        outermost = _outermost.get()
        token = _outermost.set(start if outermost is None else outermost)
        try:
            with enable_grad():
                result = f(*given, **(kwargs or {}))
        finally:
            _outermost.reset(token)
        if has_aux:
            if not isinstance(result, tuple) or len(result) != 2:
                raise GradientError(
                    f"{who}: with has_aux=True the function must return a pair (output, aux), "
                    f"got {type(result).__name__}"
                )
            result, aux = result
        leaves, self.structure = tree.flatten(result)
        self.outputs = [as_tensor(leaf) for leaf in leaves]
        roots = [output._node for output in self.outputs if output._node is not None]
        _, self.older = inside_since(roots, start, self.targets)
        if recorded and self.older and not watched:
            # Recorded tensors that f found elsewhere. A raw result cannot carry a graph, so
            # it is made a Tensor only where a transform outside this one needs it.
            values = [leaf for arg in args for leaf in tree.flatten(arg)[0]]
            watched = any(isinstance(value, Tensor) for value in values) or (
                outermost is not None and any(node.serial > outermost for node in self.older)
            )
        self.watched = watched
        if has_aux:
            parts, structure = tree.flatten(aux)
            self.aux = tree.unflatten(
                structure,
                [self.given_back(part) if isinstance(part, Tensor) else part for part in parts],
            )

    # What was computed.

    def given_back(self, output: Tensor) -> Any:
        """A value that f returned, as the caller gets it: raw where all arguments were raw."""
        if self.watched:
            return output
        kinds = set(self.kinds)
        if "tensor" in kinds or not kinds:
            return output.detach()
        kind = "array" if "array" in kinds else "number" if kinds == {"number"} else "scalar"
        return restored(kind, output.detach())

    def values(self) -> Any:
        """What f returned, as the caller gets it."""
        return self.output_structure([self.given_back(output) for output in self.outputs])

    def output_structure(self, leaves: Iterable[Any]) -> Any:
        """One leaf for each output, in the structure that f returned."""
        return tree.unflatten(self.structure, leaves)

    def input_structure(self, leaves: Iterable[Any]) -> Any:
        """One leaf for each differentiated number, in the structure of the arguments."""
        rest = iter(leaves)
        parts = [
            tree.unflatten(structure, [next(rest) for _ in structure.paths()])
            for structure in self.trees
        ]
        return parts[0] if self.alone else tuple(parts)

    def number(self) -> Tensor:
        """The one number that f returned, or GradientError."""
        if self.structure != tree.LEAF or self.outputs[0].size != 1:
            if self.structure == tree.LEAF:
                got = f"an array of shape {self.outputs[0].shape}"
            else:
                got = f"the structure {self.structure}"
            raise GradientError(
                f"{self.who}: expected a function that returns one number, got {got}. Reduce it, "
                "as with .sum(), or use gg.jacobian or gg.vjp"
            )
        return self.outputs[0]

    def scalar(self) -> Tensor:
        """The one real number that f returned, or GradientError."""
        if self.number().dtype.kind == "c":
            raise GradientError(
                f"{self.who}: expected a function that returns a real number, got a complex one. "
                "Make it real, as with abs() or .real, or use gg.vjp"
            )
        return self.outputs[0]

    # Derivatives.

    def place(self) -> AbstractContextManager[Any]:
        """Where the outputs are: new arrays of a walk that begins there arise there."""
        arrays = [tensor._array for tensor in (*self.outputs, *self.fresh)]
        return device_of(arrays[0]).activate() if arrays else nullcontext()

    def pull(
        self, cotangents: Sequence[Any], keep: bool = False, by_choice: bool = False
    ) -> list[Tensor]:
        """The gradient for each fresh leaf, from one for each output (None where it is zero).

        ``keep`` leaves the graph for another pull; ``by_choice`` is that of `run_backward`.
        """
        pairs = [
            (output._node, cotangent)
            for output, cotangent in zip(self.outputs, cotangents)
            if output._node is not None and cotangent is not None
        ]
        mode = is_grad_enabled()
        if mode and (self.watched or any(c._node is not None for _, c in pairs)):
            found = run_backward(
                pairs,
                graph=GRAPH_MODE if self.watched else PLAIN,
                targets=self.targets,
                by_choice=by_choice,
            )
            return [
                found[fresh._node] if fresh._node in found else _zeros(fresh)
                for fresh in self.fresh
            ]
        seeds = [(node, cotangent._array) for node, cotangent in pairs]
        del pairs
        found = self.pull_raw(seeds, keep, by_choice)
        return [
            Tensor(steal_or_copy(found.pop(fresh._node))) if fresh._node in found else _zeros(fresh)
            for fresh in self.fresh
        ]

    def pull_raw(
        self, seeds: list[tuple[Any, Any]], keep: bool, by_choice: bool = False
    ) -> dict[Any, Any]:
        """A walk over raw arrays, down to the fresh leaves and no further."""
        # Without recorded tensors from elsewhere, and with fresh leaves that are leaves, every
        # path ends in the right place, and the walk need not look for the paths first.
        free = not self.older and not any(isinstance(node, Node) for node in self.targets)
        return run_backward(
            seeds,
            retain_graph=keep,
            targets=None if free else self.targets,
            by_choice=by_choice,
        )

    def push(self, tangents: Sequence[Tensor], by_choice: bool = False) -> list[Tensor]:
        """The tangent of each output, from one for each fresh leaf; ``by_choice`` as in `pull`."""
        watched = self.watched and is_grad_enabled()
        if not is_grad_enabled():
            tangents = [tangent.detach() for tangent in tangents]
        known = {fresh._node: tangent for fresh, tangent in zip(self.fresh, tangents)}
        nodes = [output._node for output in self.outputs]
        quiet = np.errstate(divide="ignore", over="ignore", invalid="ignore")
        with enable_grad(), self.place(), quiet:
            found = push(known, nodes, GRAPH_MODE if watched else PLAIN, by_choice)
        plain = not watched and all(tangent._node is None for tangent in tangents)
        return [
            _zeros(output) if tangent is None else tangent.detach() if plain else tangent
            for output, tangent in zip(self.outputs, found)
        ]


def like(who: str, tensor: Tensor, value: Any) -> Tensor:
    """A gradient or tangent with the dtype, and on the device, of what it belongs to."""
    made = as_tensor(value) if isinstance(value, Tensor) else tensor._like(value)
    if made.device != tensor.device:
        made = made.to(tensor.device)
    check_real(who, made, tensor, "gradient or tangent")
    return made if made.dtype == tensor.dtype else made.astype(tensor.dtype)


def _zeros(tensor: Tensor) -> Tensor:
    with device_of(tensor._array).activate():
        return Tensor(namespace_of(tensor._array).zeros_like(tensor.data))


def _checked_argnums(who: str, argnums: int | Sequence[int], count: int) -> list[int]:
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    checked = []
    for number in numbers:
        if not -count <= number < count:
            raise GradientError(
                f"{who}: argnums names argument {number}, but the function was called with "
                f"{count} positional argument{'s' * (count != 1)}. Pass what is differentiated "
                "by position"
            )
        checked.append(number % count)
    if len(set(checked)) < len(checked):
        raise GradientError(f"{who}: argnums {tuple(numbers)} names an argument twice")
    return checked
