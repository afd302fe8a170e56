"""PyTorch's figures in tests/data/pytorch, written by the scripts beside them."""

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1] / "data" / "pytorch"


def cases(family):
    """The cases of a family, by name: for each of the parts below its arrays by name."""
    found = {}
    with np.load(FOLDER / f"{family}.npz") as figures:
        for key, array in figures.items():
            name, part, rest = key.split("/", 2)
            parts = ("in", "state", "out", "weights", "grad")
            entry = found.setdefault(name, {part: {} for part in parts})
            entry[part][rest] = array
    return found
