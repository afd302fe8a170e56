"""The training loop: ``gg.Trainer`` and its callbacks. Imports data, io, nn, optim and below.

>>> import gpugrad as gg, numpy as np
>>> x = np.linspace(-1.0, 1.0, 32, dtype="float32").reshape(32, 1)
>>> model = gg.nn.Linear(1, 1)
>>> trainer = gg.Trainer(
...     model, gg.optim.Adam(model.parameters(), lr=0.1), gg.nn.MSELoss(), progress=None
... )
>>> history = trainer.fit(gg.data.DataLoader((x, 3 * x + 1), batch_size=8), epochs=50)
>>> history[-1]["loss"] < 1e-3
True
"""

from gpugrad.training.callbacks import BestModel, Callback, EarlyStopping
from gpugrad.training.checkpoints import Checkpoints
from gpugrad.training.trainer import Trainer

__all__ = ["BestModel", "Callback", "Checkpoints", "EarlyStopping", "Trainer"]
