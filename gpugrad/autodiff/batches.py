"""Functions of one element made functions of a batch. Imports levels, leaves, random and tree.

The function runs once, over arrays with a hidden axis (`gpugrad.batching`).
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import is_dataclass
from typing import Any

from gpugrad.autodiff import tree
from gpugrad.autodiff.leaves import common_type, leaf_type, output_of, restored
from gpugrad.autodiff.levels import entered, has_level, running, shared, taken_out
from gpugrad.autodiff.run import check_function
from gpugrad.autodiff.transformed import transformed
from gpugrad.engine.messages import is_whole
from gpugrad.errors import ArgumentError, AxisError, BatchError, ShapeError
from gpugrad.functions import FUNCTIONS
from gpugrad.random.generator import draws, replayed
from gpugrad.tensor import Tensor, as_tensor

__all__ = ["vmap"]

Function = Callable[..., Any]


RANDOMNESS = ("error", "different", "same")


def vmap(
    f: Function, in_axes: Any = 0, out_axes: Any = 0, *, randomness: str = "error",
    chunk_size: int | None = None,
) -> Function:  # fmt: skip
    """A function of batches, of ``f``, a function of one element of each: without a loop.

    ``in_axes`` says along which axis of the arguments the elements lie: a number for all of them,
    or a tuple with one for each argument: a number, None for an argument that is the same for all
    elements, or a structure of these as the argument has it. Keyword arguments have the elements
    along axis 0, as in JAX. ``out_axes`` says where the axis of the elements is to be in the
    results, likewise; None for a result that is the same for all elements.

    ``randomness`` says what becomes of random numbers that ``f`` draws (`gpugrad.random`, dropout):
    an ``"error"``; ``"different"`` ones for each element, which do not depend on how many elements
    there are; or the ``"same"``.

    ``chunk_size`` elements are computed at a time, which takes so much less memory; None for all of
    them. The results are joined. Numbers that are ``"different"`` are those of the chunks one after
    the other.

    ``f`` gets Tensors with the shape of one element. What depends on an element's value in Python
    (``if``, ``float``, an index made of it) raises BatchError. Results are raw arrays where all
    arguments with an axis of elements are, else Tensors, which are part of a graph where one of the
    arguments is. AxisError for an axis that an argument does not have, ShapeError for axes of
    different sizes, ArgumentError where no argument has one.

    >>> import numpy as np
    >>> import gpugrad as gg
    >>> rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> gg.vmap(lambda x, y: (x * y).sum(), in_axes=(0, None))(rows, np.array([10.0, 1.0]))
    array([12., 34.])
    >>> gg.vmap(gg.grad(lambda x: (x**3).sum()))(rows)
    array([[ 3., 12.],
           [27., 48.]])
    """
    check_function("vmap", f)
    if randomness not in RANDOMNESS:
        raise ArgumentError(
            f"vmap: expected randomness to be one of {', '.join(RANDOMNESS)}, got {randomness!r}"
        )
    if chunk_size is not None and not is_whole(chunk_size, 1):
        raise ArgumentError(
            f"vmap: expected chunk_size to be a positive whole number or None, got {chunk_size!r}"
        )
    options = {"randomness": randomness, "chunk_size": chunk_size}

    @transformed(vmap, f, in_axes=in_axes, out_axes=out_axes, **options)
    def batched(*args: Any, **kwargs: Any) -> Any:
        given = _Arguments(args, kwargs, in_axes)
        if chunk_size is None or given.size <= chunk_size:
            results, _, structure = _run(f, given, out_axes, randomness)
        else:
            results, structure = _run_chunks(f, given, out_axes, randomness, chunk_size)
        kind = common_type(given.kinds)
        return tree.unflatten(structure, [restored(kind, one) for one in results])

    return batched


Axes = list[int | None]


def _run(
    f: Function, given: "_Arguments", out_axes: Any, randomness: str
) -> tuple[list[Tensor], Axes, tree.Tree]:
    """The results of all elements at once, the axes of the elements in them, their structure."""
    with running(given.size, randomness) as level:
        result = f(*given.args(level.number), **given.kwargs)
        outputs, structure = output_of("vmap", result)
        axes = _axes_of("out_axes", out_axes, structure, "its result")
        paths = list(structure.paths("its result"))
        results = [
            _result(shared(output), axis, level.number, given.size, path)
            for output, axis, path in zip(outputs, axes, paths)
        ]
    return results, axes, structure


def _run_chunks(
    f: Function, given: "_Arguments", out_axes: Any, randomness: str, chunk_size: int
) -> tuple[list[Tensor], tree.Tree]:
    """The results of some elements after the other, joined."""
    chunks = []
    drawn: dict[Any, Any] = {}
    for start in range(0, given.size, chunk_size):
        part = given.part(start, min(start + chunk_size, given.size))
        if start and randomness == "same":
            with replayed(drawn):
                results, axes, structure = _run(f, part, out_axes, randomness)
        else:
            with draws() as drawn:
                results, axes, structure = _run(f, part, out_axes, randomness)
        chunks.append(results)
    joined = [
        parts[0] if axis is None else FUNCTIONS["concat"](parts, axis=axis)
        for parts, axis in zip(zip(*chunks), axes)
    ]
    return joined, structure


class _Arguments:
    """The arguments of a call, and along which axes their elements lie."""

    def __init__(self, args: Sequence[Any], kwargs: dict[str, Any], in_axes: Any) -> None:
        self.leaves, self.structure = tree.flatten((tuple(args), kwargs))
        of_args, of_kwargs = self.structure.children
        if isinstance(in_axes, list):
            in_axes = tuple(in_axes)
        if isinstance(in_axes, tuple) and len(in_axes) != len(args):
            raise ArgumentError(
                f"vmap: expected in_axes to have an entry for each of {len(args)} positional "
                f"arguments, got {len(in_axes)}: {in_axes!r}"
            )
        axes: list[int | None] = []
        paths: list[str] = []
        for number, part in enumerate(of_args.children):
            own = in_axes[number] if isinstance(in_axes, tuple) else in_axes
            axes += _axes_of("in_axes", own, part, f"argument {number}")
            paths += part.paths(f"argument {number}")
        count = len(paths)  # of arrays that in_axes is about
        for name, part in zip(of_kwargs.keys, of_kwargs.children):
            found = list(part.paths(f"argument {name}"))
            axes += [0] * len(found)
            paths += found
        self.axes = [
            None if axis is None else _checked(leaf, axis, path, by_name=number >= count)
            for number, (leaf, axis, path) in enumerate(zip(self.leaves, axes, paths))
        ]
        self.size = self._common_size(paths)
        self.kinds = [
            leaf_type(leaf) for leaf, axis in zip(self.leaves, self.axes) if axis is not None
        ]
        self.kwargs: dict[str, Any] = {}

    def _common_size(self, paths: Sequence[str]) -> int:
        found: dict[int, str] = {}
        for leaf, axis, path in zip(self.leaves, self.axes, paths):
            if axis is not None:
                found.setdefault(
                    leaf.shape[axis], f"{path} has {leaf.shape[axis]} along axis {axis}"
                )
        if not found:
            raise ArgumentError(
                "vmap: no argument has an axis of elements: in_axes is None for all arrays, or "
                "there are none. Give a number for one of them, or call the function itself"
            )
        if len(found) > 1:
            raise ShapeError(
                f"vmap: expected as many elements in each argument: {', '.join(found.values())}. "
                "Choose other axes with in_axes, or None for what is the same for all elements"
            )
        return int(next(iter(found)))

    def part(self, start: int, stop: int) -> "_Arguments":
        """The same arguments with some of the elements."""
        some = copy(self)
        some.size = stop - start
        some.leaves = [
            leaf if axis is None else as_tensor(leaf)[(*[slice(None)] * axis, slice(start, stop))]
            for leaf, axis in zip(self.leaves, self.axes)
        ]
        return some

    def args(self, level: int) -> Sequence[Any]:
        """The positional arguments inside of a level; sets those by keyword."""
        inside = [
            leaf if axis is None else entered(shared(as_tensor(leaf)), level, axis, self.size)
            for leaf, axis in zip(self.leaves, self.axes)
        ]
        args, self.kwargs = tree.unflatten(self.structure, inside)
        given: Sequence[Any] = args
        return given


def _axes_of(name: str, axes: Any, structure: tree.Tree, path: str) -> list[int | None]:
    """The axis for each leaf of a structure, which ``axes`` describes from the outside in."""
    count = sum(1 for _ in structure.paths())
    if axes is None or is_whole(axes) or not count:
        return [axes] * count
    if is_dataclass(axes) and not isinstance(axes, type):
        axes = {name: getattr(axes, name) for name in axes.__dataclass_fields__}
    parts = axes if isinstance(axes, dict) else dict(enumerate(axes)) if _is_several(axes) else None
    keys = structure.keys or tuple(range(len(structure.children)))
    if parts is None:
        raise ArgumentError(
            f"vmap: expected {name} to be a whole number, None or a structure of these, got "
            f"{axes!r} for {path}"
        )
    if structure.keys and not isinstance(axes, dict) and hasattr(axes, "_asdict"):
        parts = axes._asdict()
    if set(parts) != set(keys) or structure is tree.LEAF:
        raise ArgumentError(
            f"vmap: {name} has {axes!r} for {path}, which is {structure!r:.80}. Give a number or "
            "None for all of it, or a structure like it"
        )
    found: list[int | None] = []
    for key, child in zip(keys, structure.children):
        found += _axes_of(name, parts[key], child, f"{path}[{key!r}]")
    return found


def _is_several(axes: Any) -> bool:
    return isinstance(axes, tuple | list)


def _checked(leaf: Any, axis: int, path: str, *, by_name: bool) -> int:
    """An axis of an argument, counted from the front."""
    shape = getattr(leaf, "shape", ())
    if not -len(shape) <= axis < len(shape):
        what = f"has the shape {tuple(shape)}" if shape else "is a number"
        advice = "Choose another one with in_axes, or None if it is the same for all elements"
        if by_name:
            advice = (
                "Keyword arguments have axis 0: give what is the same for all elements by position "
                "with None in in_axes, or by functools.partial"
            )
        elif path.endswith("]") and not shape:
            advice += "; make an array of a list of numbers"
        raise AxisError(
            f"vmap: {path} {what}, and no axis {axis} along which its elements could lie. {advice}"
        )
    return axis % len(shape)


def _result(output: Tensor, axis: int | None, level: int, size: int, path: str) -> Tensor:
    """An output outside of the level."""
    if axis is None:
        if has_level(output._array, level):
            raise BatchError(
                f"vmap: out_axes is None for {path}, which is another value for each element. Give "
                "an axis for the elements"
            )
        if output._node is None or not size:
            return output
        # Gradients inside have the hidden axis: that of this result goes to the first element.
        return taken_out(output, level, 0, size)[0]
    ndim = output.ndim + 1
    if not -ndim <= axis < ndim:
        raise AxisError(
            f"vmap: {path} has {ndim} axes with that of the elements, and no axis {axis}, which "
            "out_axes names"
        )
    return taken_out(output, level, axis % ndim, size)
