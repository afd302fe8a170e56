"""Functions of PyTorch, JAX and NumPy that gpugrad does not have: the advice of `foreign`.

Loaded by the first error that needs it.
"""

from gpugrad.tensor.foreign import IN_PLACE, OPERATIONS, tables

__all__ = ["FUNCTIONS", "MODULES", "SETTINGS"]

MODULES = tables("foreign_functions.txt")
SETTINGS = MODULES.pop("settings of layers")  # `gg.nn.ReLU(inplace=True)`
_LAYERS = MODULES.pop("activations") | MODULES.pop("layers")
FUNCTIONS = OPERATIONS | IN_PLACE | _LAYERS | MODULES.pop("gg")  # of gpugrad itself: `gg.cat`
MODULES["nn.functional"] = _LAYERS | MODULES["nn.functional"]
