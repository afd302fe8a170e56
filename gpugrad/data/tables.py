"""Columns of numbers and categories as one array: `TableEncoder`. Imports `csv_rows` and errors."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gpugrad.data.csv_rows import MISSING, chosen
from gpugrad.engine.messages import is_whole
from gpugrad.errors import ArgumentError, DTypeError, FileFormatError, ShapeError

__all__ = ["TableEncoder", "as_numbers", "as_texts", "spread"]

# Normalized numbers are bounded: one absurd value of a file must not decide what a model says.
BOUND = 10.0
# Below this share of texts a column has numbers, of which some are wrong.
WRONG = 0.1


class TableEncoder:
    """Makes an array of a table, for a model: normalized numbers, categories, missing values.

    A table is a dict of columns of one length, with numbers or text, or a DataFrame. ``fit`` looks
    at the rows for training alone, ``transform`` gives (rows, features) in float32:

    - Of a column of numbers the mean becomes 0 and the standard deviation 1, bounded by -10 and 10.
      A missing value becomes 0, and 1 in a feature of its own if there were any in ``fit``.
    - A column with text, or one listed in ``categories``, gets a feature for each of the
      ``max_categories`` most frequent texts that come twice or more, one for all others, and one
      for missing values, as far as they were in ``fit``. What was not has zeros in all of them.
    - A column with one value, or with a different text in each row, is left out; ``left_out`` says
      why.

    Missing are None, NaN, and texts such as "" and "NA". ``feature_names`` names the features,
    ``state_dict`` and ``load_state_dict`` save them with a model. ``rows`` are the numbers of the
    rows for messages, by default from 0.

    ArgumentError for a missing column or one without values, ShapeError for columns of different
    lengths, FileFormatError, with the row, for text in a column of numbers.

    >>> table = {"size": [1.0, 3.0, None], "color": ["red", "red", "blue"], "id": ["x", "y", "z"]}
    >>> encoder = TableEncoder().fit(table)
    >>> encoder.feature_names
    ['size', 'size is missing', 'color is red', 'color is another']
    >>> encoder.left_out
    {'id': 'a different text in each row'}
    >>> encoder.transform(table)
    array([[-1.,  0.,  1.,  0.],
           [ 1.,  0.,  1.,  0.],
           [ 0.,  1.,  0.,  1.]], dtype=float32)
    """

    def __init__(self, categories: Iterable[str] = (), *, max_categories: int = 100) -> None:
        if not is_whole(max_categories, 1):
            raise ArgumentError(
                "TableEncoder: max_categories must be a whole number of 1 or more, got "
                f"{max_categories!r}"
            )
        self.categories = [categories] if isinstance(categories, str) else list(categories)
        self.max_categories = int(max_categories)
        self.left_out: dict[str, str] = {}
        self._columns: list[dict[str, Any]] = []

    def fit(self, table: Any, rows: Sequence[int] | None = None) -> "TableEncoder":
        """Look at the rows for training; returns the encoder."""
        columns = _columns_of(table)
        chosen("TableEncoder: the table", list(columns), self.categories)
        self._columns, self.left_out = [], {}
        for name, values in columns.items():
            column = self._fitted(name, values, rows)
            if isinstance(column, str):
                self.left_out[name] = column
            else:
                self._columns.append(column)
        if not self._columns:
            reasons = "; ".join(f"{name!r} has {why}" for name, why in self.left_out.items())
            raise ArgumentError(f"TableEncoder: no column says anything: {reasons}")
        return self

    def _fitted(self, name: str, values: Any, rows: Sequence[int] | None) -> dict[str, Any] | str:
        """What a column's features are made with, or why it has none."""
        if name not in self.categories:
            numbers, wrong = as_numbers(values)
            absent = np.isnan(numbers) & ~wrong
            if absent.all():
                return "missing values alone"
            if _words(values, wrong) < WRONG * (~absent).sum():
                _check(name, values, wrong, rows, "choose other columns, or make it a category")
                return _fitted_numbers(name, numbers)
        return self._fitted_texts(name, as_texts(values))

    def _fitted_texts(self, name: str, texts: list[str]) -> dict[str, Any] | str:
        counts = Counter(texts)
        absent = counts.pop("", 0)
        if not counts:
            return "missing values alone"
        levels = [text for text, n in counts.most_common(self.max_categories) if n > 1]
        if not levels and len(counts) > 1:
            return "a different text in each row"
        others = len(counts) > len(levels)
        if len(levels) + others + bool(absent) == 1:
            return "one value in all rows"
        return {"name": name, "levels": levels, "others": others, "missing": bool(absent)}

    @property
    def columns(self) -> list[str]:
        """The columns that `transform` needs."""
        return [column["name"] for column in self._columns]

    @property
    def feature_names(self) -> list[str]:
        """A name for each feature."""
        names = []
        for column in self._columns:
            name = column["name"]
            if "levels" in column:
                names += [f"{name} is {level}" for level in column["levels"]]
                names += [f"{name} is another"] * column["others"]
            else:
                names.append(name)
            names += [f"{name} is missing"] * column["missing"]
        return names

    def transform(self, table: Any, rows: Sequence[int] | None = None) -> np.ndarray:
        """The features of a table, (rows, features) in float32."""
        if not self._columns:
            raise ArgumentError("TableEncoder.transform: call fit first, or load a state")
        table = _columns_of(table)
        chosen("TableEncoder.transform: the table", list(table), self.columns)
        parts = [
            (_of_texts if "levels" in column else _of_numbers)(column, table[column["name"]], rows)
            for column in self._columns
        ]
        return np.concatenate(parts, axis=1)

    def state_dict(self) -> dict[str, Any]:
        """All that `transform` needs, as numbers and text."""
        return {"columns": [dict(column) for column in self._columns]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take the state of another encoder; ValueError where it is none."""
        try:
            columns = [dict(column) for column in state_dict["columns"]]
            for column in columns:
                needed = ("levels", "others") if "levels" in column else ("mean", "std")
                _ = [column[key] for key in ("name", "missing", *needed)]
        except (KeyError, TypeError, ValueError):
            raise ValueError("TableEncoder.load_state_dict: it is no state of one") from None
        self._columns = columns


def _columns_of(table: Any) -> dict[str, Any]:
    """The columns of a table by their names."""
    if hasattr(table, "columns") and hasattr(table, "to_numpy"):
        table = {str(name): table[name].to_numpy() for name in table.columns}
    if not isinstance(table, Mapping):
        raise DTypeError(
            f"TableEncoder: expected a dict of columns or a DataFrame, got {type(table).__name__}"
        )
    lengths = {name: len(values) for name, values in table.items()}
    if len(set(lengths.values())) > 1:
        raise ShapeError(f"TableEncoder: the columns have different lengths: {lengths}")
    if not lengths or not next(iter(lengths.values())):
        raise ArgumentError("TableEncoder: the table has no rows")
    return dict(table)


def as_texts(values: Iterable[Any]) -> list[str]:
    """Each value as text, "" for a missing one; the whole numbers of an array without a point."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        values = [int(x) if x.is_integer() else x for x in values.tolist()]
    texts = ("" if value is None else str(value).strip() for value in values)
    return ["" if text in MISSING else text for text in texts]


def as_numbers(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of a column, NaN where there is none, and where there is no finite one, but text.

    >>> as_numbers(["1", "", "x"])
    (array([ 1., nan, nan]), array([False, False,  True]))
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        numbers = values.astype(np.float64)
    else:
        texts = [text or "nan" for text in as_texts(values)]
        try:
            numbers = np.array(texts, np.float64)
        except ValueError:
            found = map(_number, texts)
            numbers = np.array([np.inf if number is None else number for number in found])
    wrong = np.isinf(numbers)
    return np.where(wrong, np.nan, numbers), wrong


def _words(values: Any, wrong: np.ndarray) -> int:
    """How many of the wrong values are text, and not an infinite number."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        return 0
    return sum(_number(str(values[place])) is None for place in np.flatnonzero(wrong))


def _number(text: str) -> float | None:
    """A number; None for what is none."""
    try:
        return float(text)
    except ValueError:
        return None


def _check(
    name: str, values: Any, wrong: np.ndarray, rows: Sequence[int] | None, advice: str
) -> None:
    """FileFormatError for the first value that is no number."""
    if not wrong.any():
        return
    place = int(wrong.argmax())
    row = place if rows is None else rows[place]
    raise FileFormatError(
        f"column {name!r} has numbers, but {str(values[place])[:60]!r} in row {row}. Correct it, "
        f"{advice}"
    )


def spread(numbers: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of finite numbers, of any size.

    In place of a deviation of nothing but rounding errors it is the size of the numbers.
    """
    scale = float(np.abs(numbers).max()) or 1.0
    scaled = numbers / scale
    std = float(scaled.std())
    std = scale * (std if std > 1e-14 else 1.0)
    return float(scaled.mean()) * scale, max(std, math.ulp(0.0))


def _fitted_numbers(name: str, numbers: np.ndarray) -> dict[str, Any] | str:
    absent = np.isnan(numbers)
    present = numbers[~absent]
    if (present == present[0]).all() and not absent.any():
        return "one value in all rows"
    mean, std = spread(present)
    return {"name": name, "mean": mean, "std": std, "missing": bool(absent.any())}


def _of_numbers(column: dict[str, Any], values: Any, rows: Sequence[int] | None) -> np.ndarray:
    numbers, wrong = as_numbers(values)
    _check(column["name"], values, wrong, rows, "or leave the value out")
    absent = np.isnan(numbers)
    with np.errstate(over="ignore"):
        scaled = (numbers - column["mean"]) / column["std"]
    scaled[absent] = 0.0
    features = [scaled.clip(-BOUND, BOUND), absent.astype(np.float64)][: 1 + column["missing"]]
    return np.stack(features, axis=1).astype(np.float32)


def _of_texts(column: dict[str, Any], values: Any, rows: Sequence[int] | None) -> np.ndarray:
    texts = as_texts(values)
    levels, others = column["levels"], column["others"]
    width = len(levels) + others + column["missing"]
    place = {level: i for i, level in enumerate(levels)}
    # What was not there in `fit` gets the place behind the last, which is cut off.
    other = len(levels) if others else width
    absent = width - 1 if column["missing"] else width
    places = [place.get(text, other) if text else absent for text in texts]
    features = np.zeros((len(texts), width + 1), np.float32)
    features[np.arange(len(texts)), places] = 1.0
    return features[:, :width]
