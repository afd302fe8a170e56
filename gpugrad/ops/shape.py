"""Ops that move, repeat or join elements without changing them. Imports engine.op."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.engine.op import Sample, op


def _inverse(axes: Any, ndim: int) -> tuple[int, ...] | None:
    """The permutation that undoes one; None, which reverses all axes, is its own inverse."""
    if axes is None:
        return None
    inverse = [0] * ndim
    for to, source in enumerate(axes):
        inverse[source] = to
    return tuple(inverse)


# fmt: off
op("reshape", lambda xp, x, /, shape: x.reshape(shape),
   vjp=[lambda xp, g, y, x, shape: xp.reshape(g, x.shape)],
   kind="linear", moves=True,
   samples=[Sample((2, 3), shape=(3, 2)), Sample((2, 3), shape=(-1,)), Sample((), shape=(1, 1))],
   doc="The same elements in another shape, one size of which may be -1.")
op("transpose", "x, /, axes=None",
   vjp=[lambda xp, g, y, x, axes: xp.transpose(g, _inverse(axes, len(x.shape)))],
   kind="linear", moves=True, aliases="permute_dims",
   samples=[Sample((2, 3)), Sample((2, 3, 4), axes=(2, 0, 1)), Sample((2, 3, 4), axes=(-1, 0, 1))],
   doc="The axes in another order: reversed, or as ``axes`` lists them.")
op("broadcast_to", "x, /, shape",
   vjp=[lambda xp, g, y, x, shape: g],  # what broadcasting did, the engine undoes
   kind="linear", moves=True, method=True,
   samples=[Sample((3,), shape=(2, 3)), Sample((2, 1), shape=(4, 2, 3)), Sample((), shape=(2,))],
   doc="x repeated along new axes and those of size 1 until it has a shape.")
# fmt: on


def _split_back(
    xp: Any, g: Any, needs: Sequence[Any], arrays: tuple[Any, ...], axis: int
) -> list[Any]:
    pieces: list[Any] = []
    start = 0
    axis %= len(g.shape)
    for array, need in zip(arrays, needs):
        stop = start + array.shape[axis]
        pieces.append(g[(slice(None),) * axis + (slice(start, stop),)] if need else None)
        start = stop
    return pieces


# The public concat, stack and einsum take their arrays in a list or after a string; the ops
# behind them take arrays alone.
op("concat_arrays", lambda xp, /, *arrays, axis=0: xp.concatenate(arrays, axis=axis),
   vjp_all=lambda xp, g, y, needs, *arrays, axis: _split_back(xp, g, needs, arrays, axis),
   kind="linear", moves=True, public="", shown="concat",
   samples=[Sample((2, 3), (1, 3)), Sample((2, 3), (2, 1), (2, 2), axis=-1)],
   doc="Arrays joined along an axis that they have.")  # fmt: skip
op("stack_arrays", lambda xp, /, *arrays, axis=0: xp.stack(arrays, axis=axis),
   vjp_all=lambda xp, g, y, needs, *arrays, axis: [
       g[(slice(None),) * (axis % len(g.shape)) + (index,)] if need else None
       for index, need in enumerate(needs)],
   kind="linear", moves=True, public="", shown="stack",
   samples=[Sample((3,), (3,)), Sample((2, 3), (2, 3), axis=-1)],
   doc="Arrays of one shape joined along a new axis.")  # fmt: skip


def _sections(x: Any, sections: Any, axis: int) -> list[tuple[slice, ...]]:
    """The index of each piece, for a number of equal pieces or a list of places to cut at."""
    size, axis = x.shape[axis], axis % len(x.shape)
    if isinstance(sections, int | np.integer):
        if sections < 1 or size % sections:
            raise ValueError(f"cannot cut {size} elements into {sections} equal pieces")
        cuts = [i * (size // sections) for i in range(1, sections)]
    else:
        cuts = [int(cut) for cut in sections]
    edges = [None, *cuts, None]
    return [(slice(None),) * axis + (slice(low, high),) for low, high in itertools.pairwise(edges)]


def _split_vjp(
    xp: Any, gs: Any, ys: Any, needs: Any, x: Any, indices_or_sections: Any, axis: int
) -> list[Any]:
    if sum(y.shape[axis] for y in ys) == x.shape[axis]:
        return [xp.concat(gs, axis=axis)]
    pieces = _sections(x, indices_or_sections, axis)  # the cuts overlap or leave gaps
    total = xp.scatter(gs[0], index=pieces[0], shape=x.shape)
    for g, piece in zip(gs[1:], pieces[1:], strict=True):
        total = total + xp.scatter(g, index=piece, shape=x.shape)
    return [total]


op("split",
   lambda xp, x, /, indices_or_sections, axis=0: tuple(
       x[index] for index in _sections(x, indices_or_sections, axis)),
   vjp_all=_split_vjp,
   jvp=lambda xp, tangents, y, x, indices_or_sections, axis: tuple(
       xp.split(tangents[0], indices_or_sections, axis=axis)),
   complex="same", outputs=True, moves=True, chooses=True, method=True,
   samples=[Sample((4, 3), indices_or_sections=2),
            Sample((2, 5), indices_or_sections=(1, 3), axis=-1),
            Sample((6,), indices_or_sections=(4, 2))],
   doc="x cut along an axis: into that many equal pieces, or at the given indices.")  # fmt: skip
op("flip", "x, /, axis=None", vjp=[lambda xp, g, y, x, axis: xp.flip(g, axis=axis)],
   kind="linear", moves=True, method=True,
   samples=[Sample((2, 3)), Sample((2, 3), axis=1), Sample((2, 3, 4), axis=(0, -1))],
   doc="The elements in reverse order along axes.")  # fmt: skip


def _negated(shift: Any) -> Any:
    return -shift if isinstance(shift, int | np.integer) else tuple(-s for s in shift)


# fmt: off
op("roll", "x, /, shift, axis=None",
   vjp=[lambda xp, g, y, x, shift, axis: xp.roll(g, _negated(shift), axis=axis)],
   kind="linear", moves=True, method=True,
   samples=[Sample((2, 3), shift=2), Sample((2, 3), shift=-1, axis=1),
            Sample((2, 3), shift=(1, 2), axis=(0, 1))],
   doc="The elements moved along axes; those that leave at one end enter at the other.")
op("pad_zeros", lambda xp, x, /, pad_width: xp.pad(x, pad_width),
   vjp=[lambda xp, g, y, x, pad_width: g[tuple(
            slice(before, before + size)
            for (before, _), size in zip(pad_width, x.shape, strict=True))]],
   kind="linear", moves=True, fills=True, public="", shown="pad",
   samples=[Sample((2, 3), pad_width=((1, 0), (0, 2))), Sample((3,), pad_width=((2, 1),))],
   doc="x with zeros around it: that many before and after, for each axis.")
op("astype", lambda xp, x, /, dtype: x.astype(dtype),
   vjp=[lambda xp, g, y, x, dtype: g],  # the engine casts a gradient to its data's dtype
   kind="linear", moves=True, samples=[Sample((2, 3), dtype="float64")], method=True,
   doc="x in another dtype. Integers and booleans have no gradient.")
# fmt: on
