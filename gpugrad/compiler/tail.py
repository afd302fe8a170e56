"""The end of a program: elementwise steps whose results go to memory that the caller has.

They are calls of ufuncs, to be made as a whole after all that may raise (`whole`). Over large
arrays they are made block by block, so that what one call has written is in the cache for the next.
Imports liveness, program.
"""

import math
from collections.abc import Sequence
from functools import partial
from itertools import repeat
from typing import Any

from gpugrad.compiler.liveness import roots
from gpugrad.compiler.program import Program, Step, Value, is_elementwise

__all__ = ["BLOCK", "UNKNOWN", "Places", "in_blocks", "is_ufunc", "tail_of"]

# For each out the number of the input that it is, -1 for another array, UNKNOWN for the array of
# several inputs, or None.
Places = tuple[int | None, ...]
UNKNOWN = -2
BLOCK = 1 << 15  # elements: so that those of some arrays fit into a core's cache


def is_ufunc(step: Step) -> bool:
    """Whether a step is a call of one of NumPy's ufuncs, with operands alone."""
    return (
        is_elementwise(step.name) and step.name not in ("where", "astype") and not step.parameters
    )


def tail_of(program: Program, places: Places) -> tuple[list[Step], dict[Value, int]]:
    """The steps that only outs depend on, and of their results those that are written to an out.

    That is done where no later step reads the input that has that memory. Of steps of small arrays
    these are the last alone: a call that is made later costs more than one that is made at once.
    """
    outputs, root = program.outputs, roots(program)
    read = {value for value, place in zip(outputs, places) if place is None}
    inner = {value for step in program.steps for value in step.values()}
    tail: list[Step] = []
    for step in reversed(program.steps):
        value = step.results[0]
        fits = is_ufunc(step) and step.name != "power" and value.ndim and value not in read
        if fits and (value not in inner or math.prod(value.shape) >= 2 * BLOCK):
            tail.append(step)
        else:
            read.update(step.values())
    tail.reverse()
    last_read = {root[one]: i for i, step in enumerate(tail) for one in step.values()}
    numbers: dict[Value, int] = {}
    for number, value in enumerate(outputs):
        numbers[value] = -1 if value in numbers else number
    direct: dict[Value, int] = {}
    for index, step in enumerate(tail):
        (value,) = step.results
        number = numbers.get(value, -1)
        if number < 0:
            continue
        place = places[number]
        if place is None or place == UNKNOWN:
            continue
        own = program.inputs[place] if place >= 0 else None
        if own is not None:
            views = any(root[one] is own and one is not own for one in step.values())
            fits = own.shape == value.shape and own.dtype == value.dtype
            if views or not fits or last_read.get(own, -1) > index:
                continue
        direct[value] = number
    return tail, direct


Call = tuple[Any, Sequence[Any], Any]  # a ufunc, its operands, and where it writes to


def as_calls(steps: Sequence[Call]) -> list[Any]:
    """Calls of ufuncs, without arguments."""
    # NumPy wants the name for out in maximum and minimum.
    return [partial(ufunc, *operands, out=out) for ufunc, operands, out in steps]


def in_blocks(steps: Sequence[Call], scratch: Sequence[Any]) -> list[Any]:
    """Calls of ufuncs over arrays of one shape, block by block.

    Of ``scratch``, arrays that nothing outside of the steps reads, the first block serves for all.
    """
    arrays = {id(one): one for _, operands, out in steps for one in (*operands, out)
              if getattr(one, "ndim", 0)}  # fmt: skip
    if not all(array.flags.c_contiguous for array in arrays.values()):
        return as_calls(steps)
    size = steps[0][2].size
    starts = range(0, size, BLOCK)
    parts = {
        key: [array.reshape(-1)[start : start + BLOCK] for start in starts]
        for key, array in arrays.items()
    }
    for array in scratch:
        flat = array.reshape(-1)
        parts[id(array)] = [flat[: min(BLOCK, size - start)] for start in starts]

    def along(one: Any) -> Any:
        return parts[id(one)] if id(one) in parts else repeat(one)

    by_step = [
        [partial(ufunc, *own, out=part) for *own, part in zip(*map(along, operands), along(out))]
        for ufunc, operands, out in steps
    ]
    return [call for block in zip(*by_step) for call in block]
