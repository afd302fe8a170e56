"""The exceptions of gpugrad. This module imports nothing of gpugrad.

Each derives from ``GpugradError`` and from the built-in exception that a user
of NumPy or PyTorch would expect in its place, so ``except ValueError`` works.
"""

__all__ = [
    "AnomalyError",
    "ArgumentError",
    "AxisError",
    "DTypeError",
    "DeviceError",
    "FileFormatError",
    "GpugradError",
    "GradientError",
    "IndexingError",
    "OutOfMemoryError",
    "ShapeError",
    "SyncError",
]


class GpugradError(Exception):
    """Base class of every error that gpugrad raises on purpose."""


class ShapeError(GpugradError, ValueError):
    """Shapes, axes or lengths that do not fit together."""


class AxisError(ShapeError, IndexError):
    """A number of an axis that an array does not have."""


class IndexingError(GpugradError, IndexError):
    """An index that an array does not have, or that is none."""


class DeviceError(GpugradError, RuntimeError):
    """A device that does not exist or does not work, or operands on two devices."""


class DTypeError(GpugradError, TypeError):
    """A dtype, or data of a kind, that the operation cannot take."""


class ArgumentError(GpugradError, ValueError):
    """A value of an argument that is none of those it may have, or that cannot be honoured."""


class GradientError(GpugradError, RuntimeError):
    """A derivative that cannot be had: no graph, a freed graph, changed values."""


class AnomalyError(GpugradError, FloatingPointError):
    """A NaN or an infinity that `gpugrad.detect_anomaly` was asked to find."""


class SyncError(GpugradError, RuntimeError):
    """A wait for the device, or a copy from it, where `gpugrad.sync_guard` forbids one."""


class OutOfMemoryError(GpugradError, MemoryError):
    """Memory that an operation asked for and that is not there."""


class FileFormatError(GpugradError, ValueError):
    """A file that is truncated, foreign, or does not match what is loaded into."""
