"""Estimators for scikit-learn: ``gg.sklearn``. Imports training and below, and scikit-learn.

>>> import gpugrad as gg, numpy as np
>>> from sklearn.pipeline import make_pipeline
>>> from sklearn.preprocessing import StandardScaler
>>> rng = np.random.default_rng(0)
>>> X = rng.normal(size=(200, 2))
>>> y = np.where((X**2).sum(axis=1) < 1.0, "in", "out")
>>> model = make_pipeline(StandardScaler(), gg.sklearn.MLPClassifier((32,), random_state=0))
>>> model.fit(X, y).score(X, y) > 0.9
True
"""

from typing import Any, Self

import numpy as np

from gpugrad.backend.device import Device
from gpugrad.data import DataLoader, TensorDataset, random_split
from gpugrad.errors import ArgumentError
from gpugrad.nn import MLP, CrossEntropyLoss, MSELoss
from gpugrad.optim import AdamW
from gpugrad.random import Generator
from gpugrad.training import Callback, Trainer

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        'gg.sklearn needs scikit-learn 1.6 or newer: pip install "scikit-learn>=1.6"'
    ) from error

__all__ = ["MLPClassifier", "MLPRegressor"]


class _Patience(Callback):
    """Ends the training when a loss has not fallen by ``tol`` for some epochs."""

    def __init__(self, monitor: str, tol: float, patience: int) -> None:
        self.monitor, self.tol, self.patience = monitor, tol, patience
        self.best, self.waited = np.inf, 0

    def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> None:
        value = record[self.monitor]
        self.waited = 0 if value < self.best - self.tol else self.waited + 1
        self.best = min(self.best, value)
        if self.waited >= self.patience:
            trainer.stop = f"{self.monitor} has not fallen for {self.waited} epochs"


class _MLP(BaseEstimator):
    """A multilayer perceptron, trained by AdamW on mini-batches."""

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        alpha: float = 1e-4,
        batch_size: int | str = "auto",
        learning_rate_init: float = 1e-3,
        max_iter: int = 200,
        tol: float = 1e-4,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        random_state: Any = None,
        device: str | Device | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.device = device

    def _fit(self, X: np.ndarray, y: np.ndarray, outputs: int, loss: Any) -> None:
        who = type(self).__name__
        if self.max_iter < 1 or self.n_iter_no_change < 1:
            raise ArgumentError(f"{who}: max_iter and n_iter_no_change must be 1 or more")
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if isinstance(sizes, tuple | list | np.ndarray) else [sizes]
        state = check_random_state(self.random_state)
        generator = Generator(int(state.randint(np.iinfo(np.int32).max)))
        self.model_ = MLP(
            X.shape[1], [*map(int, sizes), outputs], self.activation,
            dtype=X.dtype, device=self.device, generator=generator,
        )  # fmt: skip
        data, held_out = TensorDataset(X, y), None
        if self.early_stopping:
            share = self.validation_fraction
            data, held_out = random_split(data, [1.0 - share, share], generator)
        rows = len(data)
        size = min(200, rows) if self.batch_size == "auto" else min(int(self.batch_size), rows)
        optimizer = AdamW(
            self.model_.parameters(), lr=self.learning_rate_init, weight_decay=self.alpha
        )
        watched = "val_loss" if held_out is not None else "loss"
        trainer = Trainer(
            self.model_, optimizer, loss, progress=None,
            callbacks=[_Patience(watched, self.tol, self.n_iter_no_change)],
        )  # fmt: skip
        history = trainer.fit(
            self._loader(data, size, generator),
            None if held_out is None else self._loader(held_out, 1000),
            self.max_iter,
        )
        self.n_iter_ = len(history)
        self.loss_curve_ = [record["loss"] for record in history]
        self.loss_ = self.loss_curve_[-1]

    def _loader(self, data: Any, size: int, generator: Generator | None = None) -> DataLoader:
        shuffle = generator is not None
        return DataLoader(data, size, shuffle=shuffle, generator=generator, device="cpu")

    def _outputs(self, X: Any) -> np.ndarray:
        """The model's outputs for all rows, in batches, as a NumPy array."""
        check_is_fitted(self, "model_")
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        trainer = Trainer(self.model_, None, MSELoss(), progress=None)
        outputs: np.ndarray = trainer.predict(self._loader(X, 1000)).cpu().numpy()
        return outputs


class MLPClassifier(ClassifierMixin, _MLP):
    """A multilayer perceptron that classifies, with scikit-learn's interface.

    Linear layers of ``hidden_layer_sizes`` outputs with ``activation`` between them, trained by
    AdamW on the cross-entropy: ``learning_rate_init``, weight decay ``alpha``, batches of
    ``batch_size`` rows ("auto": 200 at most), for ``max_iter`` epochs, or until the loss has not
    fallen by ``tol`` for ``n_iter_no_change`` epochs; with ``early_stopping`` that of
    ``validation_fraction`` of the rows, which are held out. It computes in the dtype of X, float32
    or else float64, on ``device``, None for the default one. ``model_`` is the network,
    ``classes_`` the labels, ``loss_curve_`` the loss of each epoch.
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train on X, (rows, features), and y, a label for each row."""
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        self._fit(X, numbers.astype(np.int64), len(self.classes_), CrossEntropyLoss())
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, (rows, classes)."""
        scores = self._outputs(X)
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of each row."""
        numbers = self._outputs(X).argmax(axis=1)
        labels: np.ndarray = self.classes_[numbers]
        return labels


class MLPRegressor(RegressorMixin, _MLP):
    """A multilayer perceptron that predicts numbers, with scikit-learn's interface.

    The parameters are those of `MLPClassifier`; the loss is the mean squared error. y is (rows,) or
    (rows, outputs).
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train on X, (rows, features), and y, a number or several for each row."""
        X, y = validate_data(
            self, X, y, dtype=(np.float64, np.float32), multi_output=True, y_numeric=True
        )
        self._flat = y.ndim == 1
        targets = y.reshape((len(y), -1)).astype(X.dtype)
        self._fit(X, targets, targets.shape[1], MSELoss())
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def predict(self, X: Any) -> np.ndarray:
        """The predicted numbers of each row."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self._flat else outputs
