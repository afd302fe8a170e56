"""Notebooks as Markdown pages: their text, their code, and the outputs that were saved."""

import json
from pathlib import Path
from typing import Any

__all__ = ["markdown"]


def markdown(file: Path) -> str:
    """The page of a notebook."""
    notebook = json.loads(file.read_text(encoding="utf-8"))
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code":
            parts.append(f"```python\n{source}\n```")
            parts += [output(one) for one in cell["outputs"]]
    parts.append(f"*This page is the notebook `notebooks/{file.name}` of the repository.*")
    return "\n\n".join(parts) + "\n"


def output(one: dict[str, Any]) -> str:
    """One output of a cell, in the richest of its forms that a page can show."""
    if one["output_type"] == "stream":
        return as_text("".join(one["text"]))
    data = {kind: "".join(text) for kind, text in one["data"].items()}
    if "text/html" in data:
        return f'<div class="output">{data["text/html"]}</div>'
    if "image/svg+xml" in data:
        return f'<div class="output">{data["image/svg+xml"]}</div>'
    if "image/png" in data:
        png = data["image/png"].replace("\n", "")
        return f'<img class="output" alt="output" src="data:image/png;base64,{png}">'
    if "text/latex" in data:
        return f"```math\n{data['text/latex'].strip().strip('$')}\n```"
    return as_text(data["text/plain"])


def as_text(text: str) -> str:
    """Plain output, told from code by its own block."""
    return f"```text\n{text.rstrip()}\n```"
