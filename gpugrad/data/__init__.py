"""Data sets, mini-batches and splits: ``gg.data``. Imports random, tensor and below.

A `TensorDataset` is a few arrays with a row for each sample. A batch is one indexing operation on
each array, on its device: no sample is handled in Python. A `NumpyDataset` has its arrays in files,
a `CSVDataset` and a `ParquetDataset` read tables in chunks. A `Dataset` of your own gives single
samples, of which batches are made. Batches on the host are copied to a GPU while
it computes with the previous batch (`gpugrad.backend.staging`).
"""

from typing import TYPE_CHECKING, NoReturn

from gpugrad.data.dataset import Dataset, IterableDataset, NumpyDataset, TensorDataset, collate
from gpugrad.data.files import CSVDataset, ParquetDataset
from gpugrad.data.loader import DataLoader
from gpugrad.data.samplers import (
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from gpugrad.data.splits import random_split, train_test_split
from gpugrad.data.tables import TableEncoder
from gpugrad.data.workers import WorkerInfo, get_worker_info
from gpugrad.tensor.hints import absent

__all__ = [
    "CSVDataset", "DataLoader", "Dataset", "DistributedSampler", "IterableDataset", "NumpyDataset",
    "ParquetDataset", "RandomSampler", "SequentialSampler", "SubsetRandomSampler", "TableEncoder",
    "TensorDataset", "WeightedRandomSampler", "WorkerInfo", "collate", "get_worker_info",
    "random_split", "train_test_split",
]  # fmt: skip


if not TYPE_CHECKING:

    def __getattr__(name: str) -> NoReturn:
        raise absent("data", name)


def __dir__() -> list[str]:
    return sorted(__all__)
