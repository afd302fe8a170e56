"""`gpugrad.scan` inside of `vmap` as one loop over batches. Imports levels, tree and below.

The loop is outside of the levels: what it carries, and what it is over, has their axes. Its
function enters the levels again, calls the user's function on one element, and leaves them.
"""

from collections.abc import Callable, Sequence
from typing import Any

from gpugrad.autodiff import tree
from gpugrad.autodiff.levels import Level, entered, inside, shared, taken_out
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.modes import levels
from gpugrad.tensor import TENSORS, Tensor

__all__ = ["over_levels"]

Function = Callable[[Any, Any], tuple[Any, Any]]
Scan = Callable[[Function, Any, Sequence[Any], tree.Tree], tuple[Any, Any]]


def over_levels(
    scan: Scan, f: Function, init: Any, leaves: Sequence[Any], structure: tree.Tree
) -> tuple[Any, Any]:
    """``scan(f, init, leaves, structure)``, outside of the levels that are running.

    ``f`` gets Tensors in place of raw arrays.
    """
    running = levels.get()
    if not running:
        return scan(f, init, leaves, structure)
    level = running[-1]
    carries, own = tree.flatten(_without_numbers(f, init, leaves, structure))
    ys_structure: Any = None
    are_numbers: list[bool] = []  # the ys: the same for all elements

    def batched(carry: Any, x: Any) -> tuple[Any, Any]:
        nonlocal ys_structure, are_numbers
        with inside(running):
            before, parts = (_entered(level, tree.flatten(one)[0], 0) for one in (carry, x))
            after, y = f(tree.unflatten(own, before), tree.unflatten(structure, parts))
            ys, ys_structure = tree.flatten(y)
            are_numbers = [*map(_is_number, ys)]
            after = _left(level, tree.flatten(after)[0], 0)
            return tree.unflatten(own, after), tree.unflatten(ys_structure, _left(level, ys, 0))

    starts, slices = _left(level, carries, 0), _left(level, leaves, 1)
    try:
        levels.set(running[:-1])
        last, ys = over_levels(scan, batched, tree.unflatten(own, starts), slices, structure)
    finally:
        levels.set(running)
    lasts = _entered(level, tree.flatten(last)[0], 0)
    stacks = [
        one if same else _entered(level, [one], 1)[0]
        for one, same in zip(tree.flatten(ys)[0], are_numbers)
    ]
    return tree.unflatten(own, lasts), tree.unflatten(ys_structure, stacks)


def _is_number(leaf: Any) -> bool:
    return not isinstance(leaf, Tensor) and namespace_of(leaf) is None


def _tensor(leaf: Any) -> Tensor:
    return leaf if isinstance(leaf, Tensor) else Tensor(leaf)


def _left(level: Level, leaves: Sequence[Any], axis: int) -> list[Any]:
    return [
        leaf
        if _is_number(leaf)
        else taken_out(shared(_tensor(leaf)), level.number, axis, level.size)
        for leaf in leaves
    ]


def _entered(level: Level, leaves: Sequence[Any], axis: int) -> list[Any]:
    return [
        leaf if _is_number(leaf) else entered(_tensor(leaf), level.number, axis, level.size)
        for leaf in leaves
    ]


def _without_numbers(f: Function, init: Any, leaves: Sequence[Any], structure: tree.Tree) -> Any:
    """The first carry, with Tensors for the numbers in whose place ``f`` returns such."""
    carries, own = tree.flatten(init)
    if not any(map(_is_number, carries)):
        return init
    after, _ = f(init, tree.unflatten(structure, [leaf[0] for leaf in leaves]))
    return tree.unflatten(own, map(_alike, carries, tree.flatten(after)[0]))


def _alike(before: Any, after: Any) -> Any:
    if _is_number(after) or not _is_number(before):
        return before
    zeros = TENSORS.zeros_like(_tensor(after).detach())
    return (zeros + before).astype(zeros.dtype)
