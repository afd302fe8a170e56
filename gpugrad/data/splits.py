"""Random splits of a data set. Imports `dataset` and random."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.data.dataset import Dataset, Rows, TensorDataset, has_labels, home_of, is_array
from gpugrad.data.mapped import is_mapped
from gpugrad.errors import DTypeError
from gpugrad.random import Generator, default_generator
from gpugrad.tensor import Tensor

__all__ = ["random_split", "train_test_split"]


def permutation(count: int, generator: Generator | None) -> np.ndarray:
    """The numbers of so many rows in random order, on the host."""
    chosen = default_generator() if generator is None else generator
    return chosen.permutation(count, device="cpu").numpy()


def random_split(
    dataset: Any, lengths: Sequence[float], generator: Generator | None = None
) -> list[Any]:
    """A data set split into disjoint random parts, by ``generator`` (or ``gg.manual_seed``).

    ``lengths`` are numbers of rows that add up to all, or fractions that add up to 1. Fractions
    are rounded down, and the first parts get one remaining row each, as in PyTorch.
    ``dataset`` is a `TensorDataset`, an array, or a tuple of arrays, whose parts are copies of
    their rows; or arrays in mapped files or a `Dataset` of your own, whose parts read the rows when
    they are asked for. ValueError for lengths that do not fit.

    >>> import gpugrad as gg, numpy as np
    >>> parts = gg.data.random_split(np.arange(10), [0.75, 0.25], gg.random.Generator(0))
    >>> [len(part) for part in parts]
    [8, 2]
    """
    own = _is_own(dataset)
    if not own and not isinstance(dataset, TensorDataset):
        dataset = TensorDataset(*(dataset if isinstance(dataset, list | tuple) else [dataset]))
    count = len(dataset)
    sizes = _sizes(count, list(lengths))
    order = permutation(count, generator)
    ends = np.cumsum(sizes)
    part = _Part if own or any(map(is_mapped, dataset.arrays)) else _part
    return [part(dataset, order[end - size : end]) for size, end in zip(sizes, ends)]


def _is_own(dataset: Any) -> bool:
    """Whether a data set gives samples itself and is no array, nor a few of them."""
    if isinstance(dataset, Tensor | TensorDataset | list | tuple) or has_labels(dataset):
        return False
    return hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__") and not is_array(dataset)


class _Part(Dataset):
    """Some samples of a data set, which reads them when they are asked for."""

    def __init__(self, dataset: Any, numbers: np.ndarray) -> None:
        self.dataset = dataset
        self.numbers = numbers
        self.batched = getattr(dataset, "batched", False)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        numbers = self.numbers[index]
        return self.dataset[numbers if self.batched else int(numbers)]


def _part(dataset: TensorDataset, numbers: np.ndarray) -> TensorDataset:
    """The rows with these numbers, which are sent to each device once."""
    sent = {device: device.send(numbers) for device in dict.fromkeys(map(home_of, dataset.arrays))}
    return TensorDataset(*(Rows(a, sent[home_of(a)]).read() for a in dataset.arrays))


def _sizes(count: int, lengths: list[Any]) -> list[int]:
    for length in lengths:
        if isinstance(length, bool) or not isinstance(length, int | float | np.number):
            raise DTypeError(f"random_split: a length must be a number, got {length!r}")
        if not length >= 0:
            raise ValueError(f"random_split: a length must not be negative, got {length}")
    if any(isinstance(length, float | np.floating) for length in lengths):
        if not abs(sum(lengths) - 1) < 1e-6:
            raise ValueError(
                f"random_split: fractions must add up to 1, got {lengths}, which is "
                f"{sum(lengths):g}"
            )
        # 0.7 * 10 must be 7, though the product of floats may lie just below.
        sizes = [int(count * length + 1e-9) for length in lengths]
        for index in range(count - sum(sizes)):
            sizes[index % len(sizes)] += 1
        return sizes
    if sum(lengths) != count:
        raise ValueError(
            f"random_split: lengths must add up to the {count} rows, got {lengths}, which is "
            f"{sum(lengths)}"
        )
    return [int(length) for length in lengths]


def train_test_split(
    *arrays: Any, test_fraction: float = 0.25, generator: Generator | None = None
) -> tuple[Any, ...]:
    """Each array split at random into rows for training and rows for testing.

    Returns ``train, test`` for one array, ``x_train, x_test, y_train, y_test`` for two, and so
    on, with the same rows of each. Of n rows ``n * test_fraction``, rounded up, are for testing;
    each side has at least one. The rows are drawn by ``generator``, None for the default one.

    ValueError for a fraction outside (0, 1) or fewer than two rows.

    >>> import gpugrad as gg, numpy as np
    >>> x, y = np.arange(8).reshape(8, 1), np.arange(8)
    >>> x_train, x_test, y_train, y_test = gg.data.train_test_split(
    ...     x, y, test_fraction=0.25, generator=gg.random.Generator(0)
    ... )
    >>> x_train.shape, y_test.shape, bool((x_test[:, 0] == y_test).all())
    ((6, 1), (2,), True)
    """
    if not isinstance(test_fraction, int | float) or not 0 < test_fraction < 1:
        raise ValueError(
            f"train_test_split: test_fraction must lie between 0 and 1, got {test_fraction!r}"
        )
    dataset = TensorDataset(*arrays)
    count = len(dataset)
    if count < 2:
        raise ValueError(f"train_test_split: {count} rows cannot be split")
    tests = min(count - 1, int(np.ceil(count * test_fraction - 1e-9)))
    train, test = random_split(dataset, [count - tests, tests], generator)
    return tuple(part for pair in zip(train.arrays, test.arrays) for part in pair)
