"""The notebooks: that they run, and that the outputs which they were saved with are theirs."""

import copy
import json

import pytest
from repository import ROOT, load_script

FILES = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def script():
    return load_script("notebooks")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_notebook_gives_its_outputs(script, file, monkeypatch):
    for library in ("matplotlib", "scipy", "sklearn"):
        pytest.importorskip(library)
    monkeypatch.setenv("MPLBACKEND", "agg")  # no window
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert script.differences(kept, script.executed(kept)) == []


def test_notebooks_are_small_and_whole():
    assert len(FILES) == 3
    assert sum(file.stat().st_size for file in FILES) < 300_000
    for file in FILES:
        notebook = json.loads(file.read_text(encoding="utf-8"))
        assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
        ids = [cell["id"] for cell in notebook["cells"]]
        assert len(ids) == len({*ids})
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]


def cell(source):
    return {"cell_type": "code", "source": [source], "outputs": []}


def test_cells_run_as_in_a_notebook(script):
    notebook = {
        "cells": [
            cell("x = 2.0\nprint('x')"),
            cell("def f():\n    return x + 1\nf()"),
            cell("x = None\nx"),
        ]
    }
    first, second, third = script.executed(notebook)["cells"]
    assert first["outputs"] == [{"output_type": "stream", "name": "stdout", "text": ["x\n"]}]
    assert second["outputs"][0]["data"] == {"text/plain": ["3.0"]}
    assert second["outputs"][0]["execution_count"] == 2
    assert third["outputs"] == []


def test_differences_are_found(script):
    kept = script.executed({"cells": [cell("print('loss', 0.5)"), cell("[1.0, 'a']")]})
    assert script.differences(kept, kept) == []
    for new, text in [
        ("print('loss', 0.501)", ""),
        ("print('lost', 0.5)", "lost"),
        ("1", "stream"),
    ]:
        changed = copy.deepcopy(kept)
        changed["cells"][0] = script.executed({"cells": [cell(new)]})["cells"][0]
        found = script.differences(kept, changed)
        assert len(found) == bool(text)
        assert text in "".join(found)
    assert not script.is_close("[1.0, 2.0]", "[1.0, 2.1]")
