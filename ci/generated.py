"""Writing files from the op table, or checking that they are current.

A script that imports it has the repository's root on its path.
"""

import argparse
import difflib
from collections.abc import Callable, Mapping
from pathlib import Path

from gpugrad.io import aside

__all__ = ["replace_text", "write_or_check"]


def replace_text(path: Path, text: str) -> None:
    """Write a file, in UTF-8. An old one is replaced whole or stays."""
    aside.write(path, text.encode())


def write_or_check(
    root: Path, documents: Mapping[str, Callable[[], str]], doc: str | None, script: str
) -> int:
    """Write each document under ``root``; with --check only compare, 1 where one is stale."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    check = parser.parse_args().check
    status = 0
    for name, write in documents.items():
        path, text = root / name, write()
        current = path.read_text(encoding="utf-8") if path.exists() else ""
        if not check:
            replace_text(path, text)
        elif current != text:
            status = 1
            pair = current.splitlines(), text.splitlines()
            print(*difflib.unified_diff(*pair, name, f"{name}, rewritten", lineterm=""), sep="\n")
            print(f"{name} does not match the table: run python {script}")
    return status
