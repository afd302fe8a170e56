"""What a compiled function may not do with containers: change them, or give what is used up.

Imports autodiff and errors.
"""

from collections.abc import Sequence
from operator import is_
from typing import Any

from gpugrad.autodiff import tree
from gpugrad.errors import CompileError

__all__ = ["check_arguments", "check_result"]


def check_arguments(now: Any, given: Sequence[Any], structure: tree.Tree) -> None:
    """Raise CompileError for a list or dict among the arguments that the function has changed."""
    leaves, after = now
    if after != structure or not all(map(is_, leaves, given)):
        raise CompileError(
            "compile: the function changes a list, a dict or another container among its "
            "arguments, which calls of the program would not. Return what is new"
        )


def check_result(result: tree.Tree) -> None:
    """Raise CompileError for a result that each call would share, and use up."""
    for path, value in result.constants("the result"):
        if hasattr(value, "__next__") or hasattr(value, "__await__"):
            raise CompileError(
                f"compile: {path} is a {type(value).__name__}, which can be used once alone. "
                "Return a list of what it gives"
            )
