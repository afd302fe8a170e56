"""The C text of what runs the items of a program: once, or in all turns of a loop. Imports items.

A loop's body has its arrays in a tuple as any program has. They are checked once; between two turns
pointers move: from one slice to the next, and from the carries that were written to those that are
read. The mode of floating-point numbers is set once, but where the items need two.
"""

from collections.abc import Sequence

import numpy as np

from gpugrad.compiler.items import Array, Assembly, Item, Loop

__all__ = ["flushes_small", "mode", "modes_around", "turns_of"]


def flushes_small(item: Item) -> bool | None:
    """Whether results of an item that are below the smallest normal number may be 0.

    They are those of float32 alone, as on CUDA; of products they are those of BLAS. None for an
    item that copies alone.
    """
    if isinstance(item, Assembly):
        return None
    return isinstance(item, Loop) and any(array.dtype == np.float32 for array in item.arrays)


def mode(flushes: bool) -> str:
    """The statement that makes results 0 that are below the smallest normal number, or not."""
    return f"    SET_MODE(mode{' | SMALL_AS_ZERO' if flushes else ''});"


def modes_around(calls: Sequence[str], flushes: Sequence[bool | None]) -> tuple[bool, list[str]]:
    """The mode in which calls of items begin and end, and the calls, each in its mode."""
    first = before = next((own for own in flushes if own is not None), False)
    lines = []
    for call, own in zip(calls, flushes):
        if own is not None and own != before:
            lines.append(mode(before := own))
        lines.append(call)
    return first, lines if before == first else [*lines, mode(first)]


def turns_of(
    calls: Sequence[str], reads: Sequence[Array], writes: Sequence[Array], moves: tuple[int, int],
    in_range: str,
) -> list[str]:  # fmt: skip
    """A loop of ``length`` turns whose slices go on by ``step``, forwards or backwards.

    ``moves`` has the numbers of carries and slices. ``in_range`` is the call of the function that
    checks the numbers of indices, which may be others in a later turn.
    """
    carries, slices = moves
    first = len(reads)
    moving = [*enumerate(reads)][carries : carries + slices]
    moving += [*enumerate(writes, first)][carries:]
    return [
        "    for (index_t turn = 0; turn < length; turn++) {",
        f"        if ({in_range}) {{ SET_MODE(mode); return {in_range}; }}",
        *calls,
        *(f"        swap(a + {i}, a + {first + i});" for i in range(carries)),
        *(f"        a[{i}] += step * {array.nbytes};" for i, array in moving if array.nbytes),
        "    }",
    ]
