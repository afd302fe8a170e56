"""The C text of what runs the items of a program: once, or in all turns of a loop. Imports items.

A loop's body has its arrays in a tuple as any program has. They are checked once; between two turns
pointers move: from one slice to the next, and from the carries that were written to those that are
read. The mode of floating-point numbers is set once, but where the items need two.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.compiler.c.functions import ALIGNMENT
from gpugrad.compiler.schedule.items import Array, Assembly, Item, Loop

__all__ = ["flushes_small", "mode", "modes_around", "turns_begin", "turns_of"]


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
    in_range: str | None,
) -> list[str]:  # fmt: skip
    """A loop of ``length`` turns whose slices go on by ``step``, forwards or backwards.

    ``moves`` has the numbers of carries and slices. ``in_range`` is the call of the function that
    checks the numbers of indices, which may be others in a later turn; None where none does.
    """
    carries, slices = moves
    first = len(reads)
    moving = [*enumerate(reads)][carries : carries + slices]
    moving += [*enumerate(writes, first)][carries:]
    return [
        "    for (index_t turn = 0; turn < length; turn++) {",
        *(
            [f"        if ({in_range}) {{ SET_MODE(mode); return {in_range}; }}"]
            if in_range
            else []
        ),
        *calls,
        *(f"        swap(a + {i}, a + {first + i});" for i in range(carries)),
        *(f"        a[{i}] += step * {array.nbytes};" for i, array in moving if array.nbytes),
        "    }",
    ]


def turns_begin(
    reads: Sequence[Array], writes: Sequence[Array], loop: Any, workspace: int
) -> tuple[list[str], int]:
    """The pointers of the first turn of a loop that is part of a program, and the memory it takes.

    A carry is read in one of two places and written to the other: the last one in the result.
    """
    carries, first, start = loop.carries, len(reads), loop.length - 1 if loop.reverse else 0
    lines, size = [f"    char *a[{first + len(writes)}];"], -(-workspace // ALIGNMENT) * ALIGNMENT
    for i, array in enumerate([*reads, *writes]):
        moves = carries <= i < carries + loop.slices or i >= first + carries
        offset = f" + {start * array.nbytes}" if moves and start else ""
        lines.append(f"    a[{i}] = (char *)arrays[{i}]{offset};")
    for i, array in enumerate(reads[:carries]):
        own, result = f"work + {size}", f"(char *)arrays[{first + i}]"
        before, after = (own, result) if loop.length % 2 else (result, own)
        lines += [f"    a[{i}] = {before};", f"    a[{first + i}] = {after};"]
        lines.append(f"    memcpy(a[{i}], arrays[{i}], {array.nbytes});")
        size += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
    lines += [
        "    const unsigned mode = MODE;",
        f"    const index_t length = {loop.length}, step = {-1 if loop.reverse else 1};",
    ]
    return lines, size
