"""Files that scripts here write from the op table, and the check that they are current."""

import argparse
import difflib
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["write_or_check"]


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
        kept = path.read_text(encoding="utf-8") if path.exists() else ""
        if not check:
            path.write_text(text, encoding="utf-8")
        elif kept != text:
            status = 1
            pair = kept.splitlines(), text.splitlines()
            print(*difflib.unified_diff(*pair, name, f"{name}, made anew", lineterm=""), sep="\n")
            print(f"{name} is not what the table says: run python {script}")
    return status
