"""A model of a table, with all that it needs to read one: what ``gpugrad train`` saves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import gpugrad as gg
from gpugrad.data.tables import as_numbers, as_texts, spread
from gpugrad.errors import ArgumentError, FileFormatError

__all__ = ["TableModel", "Target"]

FORMAT = "gpugrad table model"
VERSION = 1

# The target has classes where its numbers are whole and not more than these.
FEW = 20


class Target(NamedTuple):
    """What is predicted: one of ``classes``, or a number, which is normalized."""

    name: str
    classes: list[str] | None
    mean: float = 0.0
    std: float = 1.0

    @classmethod
    def of(cls, name: str, values: list[Any], numbers: Sequence[int], task: str) -> "Target":
        """Decide by the values, of which none is missing; ``numbers`` are those of their rows."""
        found, wrong = as_numbers(values)
        texts = as_texts(values)
        if task == "regression" or (task == "auto" and 0 < wrong.mean() < 0.1):
            if wrong.any():
                place = int(wrong.argmax())
                raise ArgumentError(
                    f"target {name!r}: {texts[place][:60]!r} in row {numbers[place]} is no finite "
                    "number. Correct it, or pass --task classification"
                )
            return cls(name, None)
        if task == "auto" and not wrong.any():
            different = len(np.unique(found))
            few = different <= FEW and different * 5 <= len(found)
            if not (few and (found == found.round()).all()):
                return cls(name, None)
        order = {text: (number, text) for text, number in zip(texts, found)}
        classes = sorted(order, key=(str if wrong.any() else order.__getitem__))
        if len(classes) < 2 or len(classes) > max(2, len(texts) // 2):
            count = "one value" if len(classes) < 2 else f"{len(classes)} different values"
            raise ArgumentError(
                f"target {name!r} has {count} in {len(texts)} rows: expected classes, each of "
                "which comes several times, or numbers"
            )
        return cls(name, classes)

    def fitted(self, values: list[Any]) -> "Target":
        """The target with the mean and the deviation of the rows for training."""
        if self.classes is not None:
            return self
        numbers, _ = as_numbers(values)
        if (numbers == numbers[0]).all():
            raise ArgumentError(f"target {self.name!r} is {numbers[0]:g} in all rows")
        mean, std = spread(numbers)
        return self._replace(mean=mean, std=std)

    def encoded(self, values: list[Any]) -> np.ndarray:
        """The numbers of classes, (rows,), or normalized numbers, (rows, 1)."""
        if self.classes is not None:
            place = {text: i for i, text in enumerate(self.classes)}
            return np.array([place[text] for text in as_texts(values)])
        numbers, _ = as_numbers(values)
        return ((numbers - self.mean) / self.std).astype(np.float32).reshape(-1, 1)


class TableModel:
    """A multilayer perceptron, the encoder of its inputs, and its target."""

    def __init__(
        self,
        encoder: gg.data.TableEncoder,
        target: Target,
        hidden: Sequence[int],
        dropout: float,
        generator: Any = None,
    ) -> None:
        self.encoder, self.target = encoder, target
        self.hidden, self.dropout = list(hidden), dropout
        layers: list[Any] = []
        size = len(encoder.feature_names)
        for width in hidden:
            layers += [gg.nn.Linear(size, width, generator=generator), gg.nn.ReLU()]
            if dropout:
                layers.append(gg.nn.Dropout(dropout, generator=generator))
            size = width
        outputs = 1 if target.classes is None else len(target.classes)
        self.network = gg.nn.Sequential(*layers, gg.nn.Linear(size, outputs, generator=generator))

    def save(self, path: Path | str) -> None:
        """Write all of it to one file."""
        gg.save(
            {
                "kind": FORMAT,
                "version": VERSION,
                "encoder": self.encoder.state_dict(),
                "target": self.target._asdict(),
                "hidden": self.hidden,
                "dropout": self.dropout,
                "network": self.network,
            },
            path,
        )

    @classmethod
    def load(cls, path: Path | str) -> "TableModel":
        """Read a file of `save`, to the default device; FileFormatError for another file."""
        state = gg.load(path)
        if not isinstance(state, Mapping) or state.get("kind") != FORMAT:
            raise FileFormatError(f"{path} holds no model that `gpugrad train` has saved")
        if state["version"] != VERSION:
            raise FileFormatError(
                f"{path} has version {state['version']}, this gpugrad reads {VERSION}. Install a "
                "newer one"
            )
        try:
            encoder = gg.data.TableEncoder()
            encoder.load_state_dict(state["encoder"])
            model = cls(encoder, Target(**state["target"]), state["hidden"], state["dropout"])
            model.network.load_state_dict(state["network"])
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path} is a damaged model: {error}") from None
        model.network.eval()
        return model

    def predict(self, columns: Mapping[str, Any], rows: Sequence[int]) -> np.ndarray:
        """The probabilities of the classes, (rows, classes), or the numbers, (rows,)."""
        features = self.encoder.transform(columns, rows)
        with gg.no_grad():
            outputs = self.network(gg.tensor(features))
            if self.target.classes is not None:
                outputs = gg.softmax(outputs, axis=1)
        found: np.ndarray = outputs.cpu().numpy().astype(np.float64)
        if self.target.classes is not None:
            return found
        return found[:, 0] * self.target.std + self.target.mean
