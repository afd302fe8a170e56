"""The exceptions of gpugrad. This module imports nothing of gpugrad.

Each derives from ``GpugradError`` and from the built-in exception that a user
of NumPy or PyTorch would expect in its place, so ``except ValueError`` works.
"""

__all__ = [
    "DTypeError",
    "DeviceError",
    "FileFormatError",
    "GpugradError",
    "GradientError",
    "ShapeError",
]


class GpugradError(Exception):
    """Base class of every error that gpugrad raises on purpose."""


class ShapeError(GpugradError, ValueError):
    """Shapes, axes or lengths that do not fit together."""


class DeviceError(GpugradError, RuntimeError):
    """A device that does not exist or does not work, or operands on two devices."""


class DTypeError(GpugradError, TypeError):
    """A dtype, or data of a kind, that the operation cannot take."""


class GradientError(GpugradError, RuntimeError):
    """A derivative that cannot be had: no graph, a freed graph, changed values."""


class FileFormatError(GpugradError, ValueError):
    """A file that is truncated, foreign, or does not match what is loaded into."""
