"""Operands of every op with an axis of elements, for tests of `vmap`."""

import numpy as np
import optable

SIZE = 2  # elements of a batch


def elements(op, sample):
    """The operands of each element of a batch."""
    batches = [optable.arrays_for(op, sample, seed=seed) for seed in range(3, 3 + SIZE)]
    for number, arrays in enumerate(batches):
        for index, array in enumerate(arrays):
            given = isinstance(sample.shapes[index], np.ndarray)
            if given and array.dtype != bool and not sample.parameters.get("ordered"):
                arrays[index] = np.roll(array, number, axis=-1)
    return batches


def choices(op, sample, count):
    """Which operands have an axis of elements: each of them alone, and all of them."""
    alone = [tuple(k == index for k in range(count)) for index in range(count)]
    return [*alone, *[(True,) * count] * (count > 1)]


def is_refused(op, arrays, held):
    """Whether a mask as an index would be another one for each element."""
    indices = {"getitem": 1, "scatter": 1, "index_set": 2}.get(op.name)
    return indices is not None and any(
        array.dtype == bool and own for array, own in zip(arrays[indices:], held[indices:])
    )
