"""The op table's functions over Tensors, by the names of the ops. Imports ops and engine."""

from typing import Any

from gpugrad import ops  # noqa: F401  fills the table
from gpugrad.backend import host  # noqa: F401  registers NumPy
from gpugrad.engine.op import TABLE
from gpugrad.engine.record import bind

__all__ = ["OPS"]

OPS: dict[str, Any] = {name: bind(op) for name, op in TABLE.items()}
