"""What processes must agree on before they train together. Imports errors."""

import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpugrad.errors import ParallelError

__all__ = ["check_alike", "objects_of_all"]


def objects_of_all(group: Any, value: Any) -> list[Any]:
    """The object that each process has, in the order of their ranks; it is pickled."""
    data = np.frombuffer(pickle.dumps(value, pickle.HIGHEST_PROTOCOL), np.uint8)
    lengths = np.zeros(group.size, np.int64)
    lengths[group.rank] = len(data)
    group.engine(lengths).all_gather(lengths)
    rows = np.zeros((group.size, int(lengths.max())), np.uint8)
    rows[group.rank, : len(data)] = data
    group.engine(rows).all_gather(rows)
    return [pickle.loads(row[:length]) for row, length in zip(rows, lengths)]


def check_alike(group: Any, module: Any, state: Mapping[str, Any]) -> None:
    """ParallelError on all processes where the model of one has other parts than rank 0's."""
    lines = [f"a {type(module).__name__}"]
    for name, tensor in state.items():
        kind = "learned" if tensor.requires_grad else "not learned"
        lines.append(f"{name}, {tensor.dtype} of shape {tuple(tensor.shape)}, {kind}")
    first, *others = objects_of_all(group, [*lines, "nothing more"])
    for rank, own in enumerate(others, 1):
        differing = [(a, b) for a, b in zip(first, own) if a != b]
        if differing:
            a, b = differing[0]
            raise ParallelError(
                f"DataParallel: the model of rank {rank} is another one than that of rank 0: it "
                f"has {b} in place of {a}. Make the same model on all ranks"
            )
