"""The members of `Tensor` from the op table, for type checkers and editors. Imports nothing.

The methods, properties and operators are bound at run time (`gpugrad.functions.bind`), where no
checker sees them. The stub beside this file, written by ci/stubs.py, declares them for the class
that Tensor inherits from; at run time it is empty.
"""

__all__ = ["Members"]


class Members:
    """The methods, properties and operators of Tensor that come from the op table."""

    __slots__ = ()
