"""How long the memory of a program's values is needed. Imports program.

A view has the memory of the value that it is a view of, its root.
"""

import math

from gpugrad.compiler.programs.program import Program, Step, Value, gives_view

__all__ = ["bytes_of", "escaping", "last_uses", "peak_bytes", "roots", "size_of", "steps_needed"]


def size_of(value: Value) -> int:
    """The number of elements of a value."""
    return math.prod(value.shape)


def bytes_of(value: Value) -> int:
    """The size of a value in memory."""
    return size_of(value) * int(value.dtype.itemsize)


def viewed(step: Step) -> Value | None:
    """The value of which the result of a step is a view, None for one with memory of its own."""
    return next(step.values(), None) if gives_view(step) else None


def roots(program: Program) -> dict[Value, Value]:
    """The root of each value."""
    known = {value: value for value in (*program.inputs, *program.constants)}
    for step in program.steps:
        base = viewed(step)
        for value in step.results:
            if value is not None:
                known[value] = value if base is None else known[base]
    return known


def escaping(program: Program) -> set[Value]:
    """The values whose memory the caller gets: outputs, and what outputs are views of."""
    found = set(program.outputs)
    for step in reversed(program.steps):
        base = viewed(step)
        if base is not None and not found.isdisjoint(step.results):
            found.add(base)
    return found


def last_uses(program: Program) -> dict[Value, int]:
    """By root, the number of the last step that reads it or a view of it.

    Beyond all steps for what escapes.
    """
    root = roots(program)
    last: dict[Value, int] = {}
    for index, step in enumerate(program.steps):
        for value in (*step.values(), *step.results):
            if value is not None:
                last[root[value]] = index
    last |= dict.fromkeys((root[value] for value in program.outputs), len(program.steps))
    return last


def steps_needed(program: Program) -> list[Step]:
    """The steps on which the outputs depend, in order."""
    needed, steps = set(program.outputs), []
    for step in reversed(program.steps):
        if not needed.isdisjoint(step.results):
            needed.update(step.values())
            steps.append(step)
    return steps[::-1]


def peak_bytes(program: Program) -> int:
    """The most memory that results of steps have at one time, without what steps use inside.

    >>> import numpy as np
    >>> x, y, z = (Value((1000,), np.dtype("f")) for _ in range(3))
    >>> peak_bytes(Program([x], {}, [Step("exp", [x], {}, [y]), Step("sin", [y], {}, [z])], [z]))
    8000
    """
    last, root = last_uses(program), roots(program)
    freed: dict[int, int] = {}
    live = peak = 0
    for index, step in enumerate(program.steps):
        made = [value for value in step.results if value is not None and root[value] is value]
        live += sum(map(bytes_of, made))
        peak = max(peak, live)
        for value in made:
            freed[last[value]] = freed.get(last[value], 0) + bytes_of(value)
        live -= freed.pop(index, 0)
    return peak
