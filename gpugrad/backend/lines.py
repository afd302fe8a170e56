"""The line of the user's code that is running. Imports nothing of gpugrad."""

import linecache
import os
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["called_at", "user_line", "warn"]

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
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(
        message, category, frame.f_code.co_filename, frame.f_lineno, registry=registry
    )


def called_at(node: Any) -> str:
    """The line that called a node's operation, for errors; known for observed nodes."""
    where = getattr(node, "where", None)
    return f"called at {where}" if where else "called outside the block that watches"
