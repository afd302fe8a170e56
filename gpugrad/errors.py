"""The exceptions and the warning of gpugrad. This module imports nothing of gpugrad.

Each derives from ``GpugradError`` and from the built-in exception that NumPy or PyTorch
raises, so ``except ValueError`` works.
"""

__all__ = [
    "AnomalyError", "ArgumentError", "AxisError", "BatchError", "CompileError", "DTypeError",
    "DTypeWarning", "DeviceError", "FileFormatError", "GpugradError", "GradientError",
    "IndexingError", "OutOfMemoryError", "ParallelError", "ShapeError", "SyncError",
]  # fmt: skip


class GpugradError(Exception):
    """The base class of gpugrad's errors."""


class ShapeError(GpugradError, ValueError):
    """Shapes, axes or lengths that do not fit together."""


class AxisError(ShapeError, IndexError):
    """An axis that an array does not have."""


class IndexingError(GpugradError, IndexError):
    """An index that is out of range or invalid."""


class DeviceError(GpugradError, RuntimeError):
    """A device that does not exist or does not work, or operands on two devices."""


class DTypeError(GpugradError, TypeError):
    """A dtype, or a type of data, that the operation does not support."""


class ArgumentError(GpugradError, ValueError):
    """An argument with an unknown or unsupported value."""


class BatchError(GpugradError, RuntimeError):
    """What `gpugrad.vmap` cannot do for all elements of a batch at once, and why."""


class CompileError(GpugradError, RuntimeError):
    """A function that `gpugrad.compile` cannot turn into a program, and why."""


class GradientError(GpugradError, RuntimeError):
    """A derivative that cannot be computed: no graph, a freed graph, changed values."""


class AnomalyError(GpugradError, FloatingPointError):
    """A NaN or an infinity, found by `gpugrad.detect_anomaly`."""


class SyncError(GpugradError, RuntimeError):
    """A wait for the device, or a copy from it, where `gpugrad.sync_guard` forbids one."""


class ParallelError(GpugradError, RuntimeError):
    """Processes of `gpugrad.parallel` that did not meet: one ended, hangs, or does other things."""


class OutOfMemoryError(GpugradError, MemoryError):
    """A failed allocation of memory."""


class FileFormatError(GpugradError, ValueError):
    """A file that is truncated, damaged or of another format."""


class DTypeWarning(UserWarning):
    """A number that lost or gained digits between operations, found by `gpugrad.debug_mode`."""
