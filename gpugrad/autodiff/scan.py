"""A loop over the first axis of arrays, which carries values along. Imports functions, tensor.

In eager code it is a loop of Python, and what it does is recorded as any other code is. Inside of a
compiled function `gpugrad.compiler` makes one step of the program of it, from the same checks.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.autodiff import tree
from gpugrad.autodiff.batched_scan import over_levels
from gpugrad.autodiff.checkpoint import checkpoint as checkpointed
from gpugrad.autodiff.run import check_function
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.modes import levels, tracing
from gpugrad.errors import ShapeError
from gpugrad.functions.manipulation import concat, stack
from gpugrad.tensor import Tensor

__all__ = ["check_carry", "pair", "scan"]


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    *,
    checkpoint: int | None = None,
) -> tuple[Any, Any]:
    """The last carry and the stacked ys of ``carry, y = f(carry, x)`` over the first axis of xs.

    This is `jax.lax.scan`. The carry, x and y may be nested lists, tuples and dicts of Tensors, raw
    arrays and numbers. ``f`` begins with ``init`` and gets ``xs[0]``, ``xs[1]`` and so on for each
    array of ``xs``; with ``reverse`` it begins with the last, and y is stacked at the place of its
    x. Without ``xs`` it is called ``length`` times with None. The carry keeps its structure, shapes
    and dtypes, but that a Python number in ``init`` takes the dtype that ``f`` returns for it.

    Derivatives of every order and forward mode go through it. With ``checkpoint=k`` the backward
    pass needs less memory: the carry is kept every k steps, and those between are computed again
    (`gpugrad.checkpoint`); about the square root of the length is a good number.

    In eager code ``scan`` is a loop of Python. Inside of `gpugrad.compile` it is a loop of the
    program, forward and backward: ``f`` is recorded over one step, however many there are.

    ShapeError where arrays of ``xs`` have first axes of different lengths, or of another one than
    ``length``, where there is no step, and where ``f`` does not return a pair (carry, y), a carry
    like ``init``, or always the same structure of ys.

    >>> import gpugrad as gg
    >>> def step(total, x):
    ...     total = total + x
    ...     return total, total * 10
    >>> gg.scan(step, 0.0, gg.tensor([1.0, 2.0, 3.0]))
    (tensor(6.), tensor([10., 30., 60.]))
    """
    check_function("scan", f)
    leaves, structure = tree.flatten(xs)
    count = _length(leaves, structure, length)
    if checkpoint is not None:
        return _in_segments(f, init, leaves, structure, count, reverse, checkpoint)
    session = tracing.get()
    if session is not None:
        return _recorded(session, f, init, leaves, structure, count, reverse)
    slices = [_slices(leaf) for leaf in leaves]
    carry, begun, rows = init, False, []
    order = range(count)
    for index in reversed(order) if reverse else order:
        x = tree.unflatten(structure, [one[index] for one in slices])
        after, y = pair(f(carry, x))
        check_carry(carry, after, begun)
        carry, begun = after, True
        rows.append(y)
    return carry, _stacked(rows[::-1] if reverse else rows)


def _recorded(
    session: Any, f: Any, init: Any, leaves: Sequence[Any], structure: tree.Tree, count: int,
    reverse: bool,
) -> tuple[Any, Any]:  # fmt: skip
    """The scan as a loop of a program, over whole batches inside of `vmap`."""

    def checked(carry: Any, x: Any) -> tuple[Any, Any]:
        after, y = pair(f(carry, x))
        check_carry(carry, after, False)
        return after, y

    def scan(f: Any, init: Any, leaves: Sequence[Any], structure: tree.Tree) -> tuple[Any, Any]:
        result: tuple[Any, Any] = session.scan(f, init, leaves, structure, count, reverse, running)
        return result

    running = levels.get()
    return over_levels(scan, checked, init, leaves, structure)


def _length(leaves: Sequence[Any], structure: tree.Tree, length: int | None) -> int:
    """The number of steps; ShapeError where that is not one number, or none."""
    if length is not None and (not isinstance(length, int | np.integer) or length < 0):
        raise ShapeError(f"scan: length must be a whole number, got {length!r}")
    count = None if length is None else int(length)
    for path, value in structure.constants("xs"):
        if value is not None:
            raise ShapeError(
                f"scan: expected arrays in xs, got {type(value).__name__} ({path}). Give f what is "
                "the same in all steps by a closure"
            )
    for leaf, path in zip(leaves, structure.paths("xs")):
        shape = getattr(leaf, "shape", ())
        if not shape:
            raise ShapeError(
                f"scan: expected arrays in xs, whose first axis is scanned, got a number ({path}). "
                "Make one array of a list of numbers"
            )
        if count is not None and shape[0] != count:
            what = f"length={length}" if leaf is leaves[0] else f"a first axis of {count}"
            raise ShapeError(
                f"scan: expected arrays of equal length in xs, got shape {tuple(shape)} ({path}) "
                f"beside {what}"
            )
        count = shape[0]
    if not count:
        got = "neither xs nor length" if count is None else "a length of 0"
        raise ShapeError(
            f"scan: expected at least one step, got {got}. Without a step nobody knows the ys: "
            "where there may be none, ask before"
        )
    return count


def pair(result: Any) -> tuple[Any, Any]:
    """What f has returned, or ShapeError."""
    if not isinstance(result, tuple | list) or len(result) != 2:
        got = f"{len(result)} values" if isinstance(result, tuple) else type(result).__name__
        raise ShapeError(
            f"scan: expected f to return a pair (carry, y), got {got}. Where there is no y, return "
            "carry, None"
        )
    return result[0], result[1]


def check_carry(before: Any, after: Any, begun: bool) -> None:
    """ShapeError where a carry does not look as the one before it.

    ``begun`` says that numbers of Python have to stay such, too.
    """
    olds, structure = tree.flatten(before)
    news, own = tree.flatten(after)
    if structure != own:
        raise ShapeError(
            f"scan: expected a carry of the structure {structure}, as init has, got {own}"
        )
    for old, new, path in zip(olds, news, structure.paths("carry")):
        had, has = _shape_and_dtype(old), _shape_and_dtype(new)
        if had[0] != has[0] or (had[1] != has[1] and (begun or had[1] != "number")):
            raise ShapeError(
                f"scan: the carry changes from step to step: {path} was {_words(*had)}, and "
                f"f returns {_words(*has)}. Give init its last shape and dtype, or cast in f"
            )


def _shape_and_dtype(leaf: Any) -> tuple[tuple[int, ...], Any]:
    shape = tuple(getattr(leaf, "shape", ()))
    return shape, "number" if namespace_of(leaf) is None else leaf.dtype


def _words(shape: tuple[int, ...], dtype: Any) -> str:
    return "a number of Python" if dtype == "number" else f"{dtype} of shape {shape}"


def _slices(leaf: Any) -> Sequence[Any]:
    """What the steps get of an array."""
    return [leaf[index] for index in range(leaf.shape[0])]


def _stacked(rows: Sequence[Any]) -> Any:
    """The ys of all steps, each leaf along a new first axis."""
    flat = [tree.flatten(row) for row in rows]
    structure = flat[0][1]
    for _, own in flat:
        if own != structure:
            raise ShapeError(
                f"scan: expected ys of one structure, got {structure} in one step and {own} in "
                "another"
            )
    return tree.unflatten(structure, map(_column, zip(*(leaves for leaves, _ in flat))))


def _column(leaves: Sequence[Any]) -> Any:
    if all(namespace_of(leaf) is None for leaf in leaves):
        return np.asarray(leaves)
    column = stack(leaves)
    return column if any(isinstance(leaf, Tensor) for leaf in leaves) else column.data


def _in_segments(
    f: Any, init: Any, leaves: Sequence[Any], structure: tree.Tree, count: int, reverse: bool,
    size: Any,
) -> tuple[Any, Any]:  # fmt: skip
    """The scan as a loop over segments of ``size`` steps, whose graphs are not kept.

    What is left over is a segment of its own, at the end.
    """
    if not isinstance(size, int | np.integer) or size < 1:
        raise ShapeError(
            f"scan: checkpoint must be the number of steps between two carries that are kept, got "
            f"{size!r}"
        )
    size = min(int(size), count)
    whole = count - count % size

    def segment(steps: int) -> Any:
        def run(carry: Any, part: Any) -> tuple[Any, Any]:
            return scan(f, carry, part, steps, reverse)

        # In a program the backward loop computes each step again anyway.
        return checkpointed(run) if tracing.get() is None else run

    def part(start: int, stop: int) -> Any:
        return tree.unflatten(structure, [leaf[start:stop] for leaf in leaves])

    folded = [leaf[:whole].reshape((-1, size, *leaf.shape[1:])) for leaf in leaves]
    carry, ends = init, []
    if whole < count and reverse:
        carry, ys = segment(count - whole)(carry, part(whole, count))
        ends.append(ys)
    segments = tree.unflatten(structure, folded)
    carry, ys = scan(segment(size), carry, segments, whole // size, reverse)
    stacked, own = tree.flatten(ys)
    ys = tree.unflatten(own, [leaf.reshape((whole, *leaf.shape[2:])) for leaf in stacked])
    if whole < count and not reverse:
        carry, last = segment(count - whole)(carry, part(whole, count))
        ends.append(last)
    for end in ends:
        pairs = zip(tree.flatten(ys)[0], tree.flatten(end)[0])
        ys = tree.unflatten(own, [_joined(*pair) for pair in pairs])
    return carry, ys


def _joined(first: Any, second: Any) -> Any:
    both = concat([first, second])
    return both if isinstance(first, Tensor) or isinstance(second, Tensor) else both.data
