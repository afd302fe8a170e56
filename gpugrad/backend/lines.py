"""The line of the user's code that is running. Imports nothing of gpugrad.

NumPy's RuntimeWarnings name the innermost line of Python, a formula here. This module puts a filter
in front of Python's, which gives those of gpugrad's lines again at the user's (`_AtUsersLine`).
"""

import linecache
import os
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["NUMPY_WARNINGS", "called_at", "user_line", "warn"]

# Code that is not the user's: gpugrad's own (files, and functions bound from the op table),
# installed packages, and the standard library.
_OTHERS = (
    str(Path(__file__).resolve().parents[1]) + os.sep,
    "<gpugrad",
    "<frozen",
    os.path.dirname(os.__file__) + os.sep,
)
_INSTALLED = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))


def _user_frame() -> FrameType | None:
    """The innermost frame whose code is neither gpugrad's nor its libraries'."""
    frame: FrameType | None = sys._getframe(1)
    outermost = frame
    while frame is not None:
        name = frame.f_code.co_filename
        if not (name.startswith(_OTHERS) or any(part in name for part in _INSTALLED)):
            break
        outermost, frame = frame, frame.f_back
    return frame or outermost


def user_line() -> str:
    """``file.py:12: y = f(x)``: the line of the user's code that is running."""
    line_frame = _user_frame()
    if line_frame is None:
        return "an unknown line"
    text = linecache.getline(line_frame.f_code.co_filename, line_frame.f_lineno).strip()
    where = f"{line_frame.f_code.co_filename}:{line_frame.f_lineno}"
    return f"{where}: {text}" if text else where


def warn(message: str, category: type[Warning]) -> None:
    """A warning at the line of the user's code that is running; Python shows it once a line."""
    frame = _user_frame()
    if frame is None:
        warnings.warn(message, category, stacklevel=2)
        return
    module = frame.f_globals.get("__name__")
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(
        message, category, frame.f_code.co_filename, frame.f_lineno, module, registry
    )


class _AtUsersLine:
    """The message of a warnings filter: NumPy's at gpugrad's lines, which it gives again elsewhere.

    Python asks its filters in the frame that warns, and only once there is a warning: an operation
    without one costs nothing. Filters that are set later stand in front of this one.
    """

    pattern = "(?!)"  # which matches nothing, for a copy of the filters, as scikit-learn makes one

    def match(self, message: str) -> bool:
        """Whether the warning has been given at the user's line, and is to be ignored here."""
        frame = sys._getframe(1)
        if (
            " encountered in " not in message
            or not frame.f_code.co_filename.startswith(_OTHERS[:2])
            or frame.f_globals is globals()  # it is the one that was given again
        ):
            return False
        warn(message, RuntimeWarning)
        return True


NUMPY_WARNINGS = ("ignore", _AtUsersLine(), RuntimeWarning, None, 0)
warnings.filters.insert(0, NUMPY_WARNINGS)  # type: ignore[attr-defined]


def called_at(node: Any) -> str:
    """The line that called a node's operation, for errors; known for observed nodes."""
    where = getattr(node, "where", None)
    return f"called at {where}" if where else "called outside the block that watches"
