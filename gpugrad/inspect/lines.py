"""The line of the user's code that is running. Imports nothing of gpugrad."""

import linecache
import sys
from pathlib import Path

__all__ = ["user_line"]

_OWN = str(Path(__file__).resolve().parents[1])


def user_line() -> str:
    """``file.py:12: y = f(x)``: the innermost line that is neither gpugrad's nor its libraries'."""
    frame = sys._getframe(1)
    outermost = frame
    while frame is not None:
        name = frame.f_code.co_filename
        if not (name.startswith((_OWN, "<frozen")) or "site-packages" in name):
            break
        outermost, frame = frame, frame.f_back  # type: ignore[assignment]
    found = frame or outermost
    text = linecache.getline(found.f_code.co_filename, found.f_lineno).strip()
    where = f"{found.f_code.co_filename}:{found.f_lineno}"
    return f"{where}: {text}" if text else where
