"""The functions of `special` that are ops as they stand: those that an entry says are special.

Imports tensor. ci/stubs.py declares them for type checkers.
"""

from gpugrad.engine.op import TABLE
from gpugrad.tensor import OPS

# Of the others `special` has forms with SciPy's arguments.
COMPOSED = ("log_softmax", "logsumexp", "polygamma", "softmax")

__all__ = sorted(  # noqa: PLE0605  names of the table
    op.name for op in TABLE.values() if "special" in op.public and op.name not in COMPOSED
)
globals().update({name: OPS[name] for name in __all__})
