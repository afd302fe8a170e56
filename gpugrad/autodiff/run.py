"""One run of a function on leaves of its own: what all transforms are made of.

Imports tensor, engine and the modules beside it.

A transform calls ``f`` on fresh leaves: the caller's tensors and their ``grad`` stay as they are,
and nested transforms do not confuse their perturbations. Where the caller's tensor is part of a
graph, the fresh one is connected to it and derivatives are recorded, so that another transform,
or a later ``backward``, goes through them. Else the walk runs over raw arrays.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from operator import attrgetter
from typing import Any

import numpy as np

from gpugrad.autodiff import tree
from gpugrad.autodiff.leaves import (
    check_arguments,
    common_type,
    leaf_type,
    output_of,
    restored,
    tensors_of,
)
from gpugrad.autodiff.levels import Level, left, shared
from gpugrad.backend.device import device_of
from gpugrad.backend.namespace import namespace_of
from gpugrad.batching import enter
from gpugrad.engine.accumulate import steal_or_copy
from gpugrad.engine.backward import GraphMode, run_backward
from gpugrad.engine.forward import push, push_raw
from gpugrad.engine.messages import check_real
from gpugrad.engine.modes import enable_grad, is_grad_enabled, outermost
from gpugrad.engine.node import Node, next_serial
from gpugrad.engine.op import TABLE
from gpugrad.errors import GradientError
from gpugrad.tensor import GRAPH_MODE, TENSORS, Tensor

__all__ = [
    "PLAIN", "Run", "check_function", "connect", "inside_since", "is_recorded", "like",
]  # fmt: skip

# A walk with Tensors apart from the graph that it walks: its results are recorded only as far
# as its seeds are.
PLAIN = GraphMode(TENSORS, lambda array, node: Tensor(array))


def check_function(who: str, f: Any) -> None:
    """GradientError where the first argument of a transform is not callable."""
    if not callable(f):
        raise GradientError(
            f"{who}: expected a function as the first argument, got {type(f).__name__}"
        )


def is_recorded(value: Any) -> bool:
    """Whether a value is a Tensor that is part of a graph."""
    return isinstance(value, Tensor) and value._node is not None


def connect(value: Tensor) -> Tensor:
    """The same values, over the same memory, with a new node: a leaf, or a child of the old one."""
    array, node = value.data, value._node
    if node is None:
        leaf = Tensor(array).requires_grad_()
        leaf._node.argument = True
        return leaf
    node = shared(value)._node
    op, xp = TABLE["positive"], namespace_of(array)
    return Tensor(array, Node(op, (node,), (node,), None, xp, array.shape, array.dtype, None))


def inside_since(
    roots: Iterable[Any], start: int, stop: dict[Any, None]
) -> tuple[list[Any], list[Any]]:
    """The nodes made since ``start`` that lead to ``roots``, and the older ones they came from.

    Goes no further back than the nodes in ``stop``, so that an older graph costs nothing.
    """
    reached = dict.fromkeys(roots)
    stack = list(reached)
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
            if parent is not None and parent not in reached:
                reached[parent] = None
                stack.append(parent)
    by_serial = attrgetter("serial")
    return sorted(inside, key=by_serial), sorted(older, key=by_serial)


def _leads_outside(older: list[Any], args: Sequence[Any], outermost: int | None) -> bool:
    """Whether derivatives must be recorded for the sake of recorded tensors from outside of f.

    A raw result has no place in a graph, so it becomes a Tensor only where a transform around
    this one needs it.
    """
    values = (leaf for arg in args for leaf in tree.flatten(arg)[0])
    return bool(older) and (
        any(isinstance(value, Tensor) for value in values)
        or (outermost is not None and any(node.serial > outermost for node in older))
    )


class Run:
    """``f(*args, **kwargs)``, with the arguments that ``argnums`` names on leaves of their own.

    ``fresh`` are those leaves, ``outputs`` the leaves of the result of ``f``, as Tensors.
    ``watched`` says that derivatives must be recorded.
    """

    def __init__(
        self, who: str, f: Callable[..., Any], args: Sequence[Any],
        kwargs: dict[str, Any] | None = None, argnums: int | Sequence[int] = 0,
        has_aux: bool = False,
    ) -> None:  # fmt: skip
        recorded = is_grad_enabled()
        start, before = next_serial(), outermost.get()
        self.who, self.alone = who, isinstance(argnums, int)
        numbers = _checked_argnums(who, argnums, len(args))
        chosen = tuple([args[number] for number in numbers])
        leaves, self.inputs = tree.flatten(chosen, labelled=True)
        trees = {f"argument {n}": one for n, one in zip(numbers, self.inputs.children)}
        check_arguments(who, trees, len(leaves))

        def path(index: int) -> str:
            return [path for where, one in trees.items() for path in one.paths(where)][index]

        self.leaf_types = [leaf_type(leaf) for leaf in leaves]
        tensors = tensors_of(who, leaves, self.leaf_types, args, path)
        self.fresh = [connect(tensor if recorded else tensor.detach()) for tensor in tensors]
        self.targets: dict[Any, None] = dict.fromkeys(leaf._node for leaf in self.fresh)
        arguments = dict(enumerate(args))
        arguments.update(zip(numbers, tree.unflatten(self.inputs, self.fresh)))
        try:
            outermost.set(start if before is None else before)
            with enable_grad():
                result = f(*arguments.values(), **(kwargs or {}))
        finally:
            outermost.set(before)
        result, aux = self._pair(result) if has_aux else (result, None)
        self.outputs, self.structure = output_of(who, result)
        roots = [output._node for output in self.outputs if output._node is not None]
        _, older = inside_since(roots, start, self.targets)
        # Without recorded tensors from elsewhere, and with targets that are all leaves, every
        # path ends at a target, and a walk need not look for the paths first.
        free = not older and not any(isinstance(node, Node) for node in self.targets)
        self._ends = None if free else self.targets
        self.watched = recorded and (
            any(map(is_recorded, tensors)) or _leads_outside(older, args, before)
        )
        self.aux = self._returned_aux(aux)

    def _pair(self, result: Any) -> tuple[Any, Any]:
        """The output of f and what it returns beside that, or GradientError."""
        if not isinstance(result, tuple) or len(result) != 2:
            raise GradientError(
                f"{self.who}: with has_aux=True the function must return a pair (output, aux), "
                f"got {type(result).__name__}"
            )
        return result

    # Results.

    def _returned_aux(self, aux: Any) -> Any:
        parts, structure = tree.flatten(aux)
        parts = [self.returned(part) if isinstance(part, Tensor) else part for part in parts]
        return tree.unflatten(structure, parts)

    def returned(self, output: Tensor) -> Any:
        """An output of f, as the caller gets it: raw where all arguments were raw."""
        if self.watched:
            return output
        return restored(common_type(self.leaf_types), output.detach())

    def values(self) -> Any:
        """The result of f, as the caller gets it."""
        return self.output_structure(map(self.returned, self.outputs))

    def output_structure(self, leaves: Iterable[Any]) -> Any:
        """One leaf for each output, in the structure that f returned."""
        return tree.unflatten(self.structure, leaves)

    def input_structure(self, leaves: Iterable[Any]) -> Any:
        """One leaf for each differentiated number, in the structure of the arguments."""
        parts = tree.unflatten(self.inputs, leaves)
        return parts[0] if self.alone else parts

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

    def device(self) -> AbstractContextManager[Any]:
        """A block in which the device of the outputs is the current one, for new arrays."""
        arrays = [tensor._array for tensor in (*self.outputs, *self.fresh)]
        return device_of(arrays[0]).activate() if arrays else nullcontext()

    def pull(
        self, cotangents: Sequence[Any], keep: bool = False, by_choice: bool = False,
        ones: bool = False,
    ) -> list[Tensor]:  # fmt: skip
        """The gradient for each fresh leaf, from one for each output (None where it is zero).

        ``keep`` leaves the graph for another pull; ``by_choice`` and ``ones`` are those of
        `run_backward`.
        """
        pairs = [
            (output._node, cotangent)
            for output, cotangent in zip(self.outputs, cotangents)
            if output._node is not None and cotangent is not None
        ]
        mode = is_grad_enabled()
        if mode and (self.watched or any(c._node is not None for _, c in pairs)):
            graph = GRAPH_MODE if self.watched else PLAIN
            results = run_backward(
                pairs, graph=graph, targets=self.targets, by_choice=by_choice, ones=ones
            )
            return [
                results[leaf._node] if leaf._node in results else _zeros(leaf)
                for leaf in self.fresh
            ]
        seeds = [(node, cotangent._array) for node, cotangent in pairs]
        del pairs
        results = run_backward(
            seeds, retain_graph=keep, targets=self._ends, by_choice=by_choice, ones=ones
        )
        return [
            Tensor(steal_or_copy(results, leaf._node)) if leaf._node in results else _zeros(leaf)
            for leaf in self.fresh
        ]

    def pull_rows(self, cotangents: Sequence[Tensor]) -> list[Tensor]:
        """`pull` for each row of the cotangents, which is not recorded, in one pass."""
        count = cotangents[0].shape[0]
        level = Level(count)
        seeds = [Tensor(enter(rows._array, level.number, 0)) for rows in cotangents]
        pulled = self.pull(seeds, keep=True)
        return [left(one, level.number, 0, count) for one in pulled]

    def push(
        self, tangents: Sequence[Tensor | None], by_choice: bool | None = False
    ) -> list[Tensor]:
        """The tangent of each output, from one for each fresh leaf (None where it is zero).

        ``by_choice`` is that of `gpugrad.engine.forward.push`.
        """
        watched = self.watched and is_grad_enabled()
        known = {
            leaf._node: tangent if is_grad_enabled() else tangent.detach()
            for leaf, tangent in zip(self.fresh, tangents)
            if tangent is not None
        }
        nodes = [output._node for output in self.outputs]
        quiet = np.errstate(divide="ignore", over="ignore", invalid="ignore")
        plain = not watched and not any(map(is_recorded, known.values()))
        with enable_grad(), self.device(), quiet:
            if plain and by_choice is None:
                raws = {node: tangent.data for node, tangent in known.items()}
                pushed = [
                    None if tangent is None else Tensor(tangent)
                    for tangent in push_raw(raws, nodes, PLAIN)
                ]
            else:
                pushed = push(known, nodes, GRAPH_MODE if watched else PLAIN, by_choice)
        return [
            _zeros(output) if tangent is None else tangent.detach() if plain else tangent
            for output, tangent in zip(self.outputs, pushed)
        ]


def like(who: str, tensor: Tensor, value: Any) -> Tensor:
    """A gradient or tangent of a tensor, with the tensor's dtype and on its device."""
    result = value if isinstance(value, Tensor) else tensor._like(value)
    if result.device != tensor.device:
        result = result.to(tensor.device)
    check_real(who, result, tensor, "gradient or tangent")
    return result if result.dtype == tensor.dtype else result.astype(tensor.dtype)


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
