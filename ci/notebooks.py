"""Runs the notebooks of notebooks/ and writes their outputs into them, or compares them.

    python ci/notebooks.py            # run all, and save their outputs
    python ci/notebooks.py --check    # say where outputs are others, change nothing
    python ci/notebooks.py NAME...    # some of them

Cells run as in Jupyter: in order, in one namespace; the value of a last expression is shown, in
each form that the object offers, and so are pictures of matplotlib that are open after a cell.
There is no kernel, so a notebook costs what its code costs, and cannot have magics.
tests/repository/test_notebooks.py holds their outputs current.
"""

import argparse
import ast
import base64
import contextlib
import io
import json
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "ci")]

from generated import replace_text  # noqa: E402

FOLDER = ROOT / "notebooks"
FORMS = {"image/svg+xml": "_repr_svg_", "text/html": "_repr_html_", "text/latex": "_repr_latex_"}
NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:e[+-]?\d+)?")


def executed(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with the outputs of a run."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cells, count = [], 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            outputs = run("".join(cell["source"]), namespace, count)
            cell = {**cell, "execution_count": count, "outputs": outputs}
        cells.append(cell)
    return {**notebook, "cells": cells}


def run(source: str, namespace: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """The outputs of a cell."""
    body = ast.parse(source).body
    last = ast.Expression(body.pop().value) if body and isinstance(body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), f"<cell {count}>", "exec"), namespace)
        value = None if last is None else eval(compile(last, f"<cell {count}>", "eval"), namespace)
    outputs = []
    if printed.getvalue():
        outputs.append(
            {"output_type": "stream", "name": "stdout", "text": lines(printed.getvalue())}
        )
    if value is not None:
        outputs.append(
            {"output_type": "execute_result", "execution_count": count, "data": forms(value)}
        )
    outputs += [{"output_type": "display_data", "data": data} for data in figures()]
    return [{**output, "metadata": {}} if "data" in output else output for output in outputs]


def forms(value: Any) -> dict[str, Any]:
    """What a notebook can show of a value."""
    rich = {
        kind: getattr(value, method)() for kind, method in FORMS.items() if hasattr(value, method)
    }
    shown = {kind: lines(text) for kind, text in rich.items() if text is not None}
    # A large text that stands for a picture is of no use beside it.
    text = repr(value)
    return {**shown, "text/plain": lines(text if len(text) < 2000 or not shown else text[:60])}


def figures() -> list[dict[str, Any]]:
    """The pictures of matplotlib that are open, which are closed."""
    plt = sys.modules.get("matplotlib.pyplot")
    found = []
    for number in plt.get_fignums() if plt is not None else ():
        file = io.BytesIO()
        figure = plt.figure(number)
        figure.savefig(file, format="png", dpi=90, bbox_inches="tight", metadata={"Software": ""})
        picture = base64.b64encode(file.getvalue()).decode()
        found.append({"image/png": picture, "text/plain": [repr(figure)]})
        plt.close(figure)
    return found


def lines(text: str) -> list[str]:
    """Text as notebooks hold it."""
    return text.splitlines(keepends=True)


# ---------------------------------------------------------------- comparison


def differences(kept: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Where outputs differ by more than rounding; pictures are the same if both are there."""
    found = []
    for number, (old, new) in enumerate(zip(kept["cells"], now["cells"], strict=True)):
        before, after = summary(old), summary(new)
        if [kind for kind, _ in before] != [kind for kind, _ in after]:
            found.append(f"cell {number}: {before} became {after}")
            continue
        found += [
            f"cell {number}: {first!r} became {second!r}"
            for (kind, first), (_, second) in zip(before, after)
            if kind in ("text/plain", "stream") and not is_close(first, second)
        ]
    return found


def summary(cell: dict[str, Any]) -> list[tuple[str, str]]:
    """The kinds of a cell's outputs, and their text where it is to be compared."""
    found = []
    for output in cell.get("outputs", ()):
        if "data" not in output:
            found.append(("stream", "".join(output["text"])))
        else:
            rich = [(kind, "") for kind in sorted(output["data"]) if kind != "text/plain"]
            found += rich or [("text/plain", "".join(output["data"]["text/plain"]))]
    return found


def is_close(first: str, second: str) -> bool:
    """Whether two texts are the same but for the last digits of their numbers."""
    if NUMBER.sub("#", first).split() != NUMBER.sub("#", second).split():
        return False
    pairs = zip(NUMBER.findall(first), NUMBER.findall(second))
    return all(math.isclose(float(a), float(b), rel_tol=0.02, abs_tol=1e-6) for a, b in pairs)


def main() -> int:
    """Run the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="notebooks without .ipynb; default all")
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    options = parser.parse_args()
    os.environ.setdefault("MPLBACKEND", "agg")  # no window
    status = 0
    for file in sorted(FOLDER.glob("*.ipynb")):
        if options.names and file.stem not in options.names:
            continue
        kept = json.loads(file.read_text(encoding="utf-8"))
        now = executed(kept)
        if options.check:
            for difference in differences(kept, now):
                status = 1
                print(f"{file.name}: {difference}")
        else:
            text = json.dumps(now, indent=1, ensure_ascii=False)
            replace_text(file, text + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
