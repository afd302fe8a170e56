"""PyTorch's figures in tests/data/pytorch, written by the scripts beside them."""

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1] / "data" / "pytorch"


def cases(family):
    """The cases of a family: ``{name: {"in": {...}, "state": {...}, "out": ..., "grad": ...}}``."""
    found = {}
    with np.load(FOLDER / f"{family}.npz") as figures:
        for key, array in figures.items():
            name, part, *rest = key.split("/", 2)
            entry = found.setdefault(name, {"in": {}, "state": {}, "out": {}, "grad": {}})
            if rest:
                entry[part][rest[0]] = array
            else:
                entry[part] = array
    return found
