"""The end of a program: steps whose results go to memory that the caller has.

They are calls of functions in C, to be made as a whole after all that may raise (`whole`). Those of
ufuncs over large arrays are made block by block, so that what one call has written is in the cache
for the next. Imports liveness, program.
"""

from collections.abc import Collection, Sequence
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np

from gpugrad.compiler.programs.liveness import roots, size_of
from gpugrad.compiler.programs.program import Program, Step, Value, is_elementwise

__all__ = ["BLOCK", "UNKNOWN", "Places", "block_shape", "in_blocks", "is_ufunc", "tail_of"]

# For each out the number of the input that it is, -1 for another array, UNKNOWN for the array of
# several inputs, or None.
Places = tuple[int | None, ...]
UNKNOWN = -2
# Beside ufuncs, steps that may be calls which write to given memory.
OTHERS = frozenset((
    "astype", "copy", "matmul", "max", "min", "own", "sum", "sum_of_rows", "transposed_matmul",
))  # fmt: skip
BLOCK = 1 << 15  # elements: so that those of some arrays fit into a core's cache


def is_ufunc(step: Step) -> bool:
    """Whether a step is a call of one of NumPy's ufuncs, with operands alone."""
    return (
        is_elementwise(step.name) and step.name not in ("where", "astype") and not step.parameters
    )


def block_shape(step: Step) -> Any:
    """The shape of a ufunc's result, if it is large and its operands have it; else None."""
    if not is_ufunc(step):
        return None
    (value,) = step.results
    whole = all(one.shape in ((), value.shape) for one in step.values())
    return value.shape if whole and size_of(value) >= 2 * BLOCK else None


def is_call(step: Step) -> bool:
    """Whether a step may be a call that writes its result to memory which is given."""
    value = step.results[0] if len(step.results) == 1 else None
    if value is None or value.weak or not value.ndim:
        return False
    return (is_ufunc(step) and step.name != "power") or step.name in OTHERS


def tail_of(
    program: Program, places: Places, stay: Collection[Step] = ()
) -> tuple[list[Step], dict[Value, int]]:
    """The steps that only outs depend on, and of their results those that are written to an out.

    They begin with the first that is written to one, where no later step reads the input that has
    that memory. A result on the way to an out may be there before. What is in ``stay`` is no call.
    """
    outputs = program.outputs
    read = {value for value, place in zip(outputs, places) if place is None}
    tail: list[Step] = []
    for step in reversed(program.steps):
        if is_call(step) and step not in stay and step.results[0] not in read:
            tail.append(step)
        else:
            read.update(step.values())
    tail.reverse()
    direct = _direct(program, places, tail)
    start = next((i for i, step in enumerate(tail) if step.results[0] in direct), len(tail))
    return tail[start:], direct


def _direct(program: Program, places: Places, tail: Sequence[Step]) -> dict[Value, int]:
    """The results of the tail's steps that are written to outs, with the numbers of these."""
    root = roots(program)
    last_read = {root[one]: i for i, step in enumerate(tail) for one in step.values()}
    made = {step.results[0]: i for i, step in enumerate(tail)}
    numbers: dict[Value, int] = {}
    for number, value in enumerate(program.outputs):
        numbers[value] = -1 if value in numbers else number
    direct: dict[Value, int] = {}
    for index, step in enumerate(tail):
        (value,) = step.results
        number = numbers.get(value, -1)
        place = None if number < 0 else places[number]
        if place is None or place == UNKNOWN or (place >= 0 and not is_ufunc(step)):
            continue
        own = program.inputs[place] if place >= 0 else None
        if own is not None:
            views = any(root[one] is own and one is not own for one in step.values())
            fits = own.shape == value.shape and own.dtype == value.dtype
            if views or not fits or last_read.get(own, -1) > index:
                continue
        direct[value] = number
        while own is not None:  # what it is made of, as long as the input is read no more
            index, step = made[value], tail[made[value]]
            before = [
                one for one in step.values()
                if one in made and is_ufunc(tail[made[one]]) and one not in numbers
                and last_read[root[one]] == index and root[one] is one
                and (one.shape, one.dtype) == (own.shape, own.dtype)
                and last_read.get(own, -1) <= made[one]
                and all(root[x] is not own or x is own for x in tail[made[one]].values())
            ]  # fmt: skip
            if not before:
                break
            value = before[0]
            direct[value] = number
    return direct


Call = tuple[Any, Sequence[Any], Any]  # a ufunc, its operands, and where it writes to


def as_calls(steps: Sequence[Call]) -> list[Any]:
    """Calls of ufuncs, without arguments."""
    # NumPy wants the name for out in maximum and minimum.
    return [partial(ufunc, *operands, out=out) for ufunc, operands, out in steps]


def in_blocks(steps: Sequence[Call], scratch: Sequence[Any]) -> list[Any]:
    """Calls of ufuncs over arrays of one shape, block by block.

    Of ``scratch``, arrays that nothing outside of the steps reads, the first block serves for all:
    they may have no more than that.
    """
    arrays = {id(one): one for _, operands, out in steps for one in (*operands, out)
              if getattr(one, "ndim", 0)}  # fmt: skip
    whole = max(arrays.values(), key=lambda array: array.size)
    if not all(array.flags.c_contiguous for array in arrays.values()):
        full = {id(one): np.empty(whole.shape, one.dtype) for one in scratch}
        return as_calls([
            (ufunc, [full.get(id(one), one) for one in operands], full.get(id(out), out))
            for ufunc, operands, out in steps
        ])  # fmt: skip
    size = whole.size
    starts = range(0, size, BLOCK)
    small = {id(array): array.reshape(-1) for array in scratch}
    parts = {
        key: [array.reshape(-1)[start : start + BLOCK] for start in starts]
        for key, array in arrays.items()
        if key not in small
    }
    for key, flat in small.items():
        parts[key] = [flat[: min(BLOCK, size - start)] for start in starts]

    def along(one: Any) -> Any:
        return parts[id(one)] if id(one) in parts else repeat(one)

    by_step = [
        [partial(ufunc, *own, out=part) for *own, part in zip(*map(along, operands), along(out))]
        for ufunc, operands, out in steps
    ]
    return [call for block in zip(*by_step) for call in block]
