"""The documents that are made from the op table: that they are current, and say what is true."""

import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from repository import ROOT, load_script

import gpugrad as gg
from gpugrad.engine.op import TABLE, Op
from gpugrad.functions import FUNCTIONS
from gpugrad.functions.bind import PUBLIC
from gpugrad.inspect import rules as rule_texts
from gpugrad.ops import elementwise, special


@pytest.fixture(scope="module")
def script():
    return load_script("reference")


@pytest.fixture(scope="module")
def ops(script) -> str:
    return script.ops_document()


@pytest.fixture(scope="module")
def coverage(script) -> str:
    return script.coverage_document()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_documents_are_current(script, ops, coverage) -> None:
    for name, text in {"docs/ops.md": ops, "docs/coverage.md": coverage}.items():
        kept = (ROOT / name).read_text(encoding="utf-8")
        assert kept == text, f"{name} does not match the table: run python ci/reference.py"
    assert set(script.DOCUMENTS) == {"docs/ops.md", "docs/coverage.md"}


def test_every_function_is_in_the_reference_once(script, ops) -> None:
    rows = [cells(line) for line in ops.splitlines() if line.startswith("| `")]
    first = [re.match(r"`([\w.]+)\(", row[0])[1] for row in rows]
    assert len(first) == len(set(first))
    assert {script.public(name)[0] for name in TABLE} <= set(first)
    aliases = set(re.findall(r"`(\w+)`", " ".join(row[-1] for row in rows)))
    assert {*PUBLIC} <= {name.removeprefix("gg.") for name in first} | aliases
    assert all(row[1] for row in rows), "a function says nothing of what it gives"
    assert not re.search(r"0x[0-9a-f]{6}|<function|<object", ops)


def test_rows_say_what_the_table_says(ops) -> None:
    rows = {row[0]: row for row in map(cells, ops.splitlines()) if row}
    everywhere = "NumPy, CuPy, sim"
    assert rows["`gg.sin(x, /)`"][2:5] == ["`g * cos(x)`", "every", everywhere]
    assert rows["`gg.divide(a, b, /)`"][2:] == [
        "a: `g / b`; b: `-g * y / b`", "every", everywhere,
        "also `true_divide`; elementwise; complex too, conjugated",
    ]  # fmt: skip
    assert rows["`gg.floor(x, /)`"][2:4] == ["0", "every; all are 0"]
    assert rows["`gg.equal(a, b, /)`"][2:4] == ["—", "none"]
    assert rows["`gg.bitwise_or(a, b, /)`"][1].startswith("a \\| b")
    assert rows["`gg.sigmoid(x, /)`"][4] == f"{everywhere} (a formula)"
    assert rows["`gg.matmul(a, b, /)`"][2] == "a: `_matmul_a`, below; b: `_matmul_b`, below"
    assert "```python\ndef _matmul_a(" in ops


def test_the_formulas_are_those_that_are_computed(script) -> None:
    """What is printed for an elementwise op of one operand, evaluated: the op's own gradient."""
    names = {n: getattr(np, n) for n in dir(np) if isinstance(getattr(np, n), np.ufunc)}
    names["math"] = math
    for module in (elementwise, special):
        names |= {n: value for n, value in vars(module).items() if isinstance(value, float)}
    names |= {
        n: lambda *a, f=FUNCTIONS[n], **words: f(*a, **words).numpy()
        for n in TABLE
        if n not in names
    }
    tried = 0
    for op in TABLE.values():
        text = script.gradient(op)
        if op.kind != "elementwise" or len(op.arrays) != 1 or op.parameters or text[0] != "`":
            continue
        if "below" in text or "dtype" in text:
            continue
        low, high = op.domain
        x = gg.tensor(np.linspace(low + 0.1, high - 0.1, 5), requires_grad=True)
        y = FUNCTIONS[op.name](x)
        y.sum().backward()
        values = {"x": x.detach().numpy(), "y": y.detach().numpy(), "g": np.ones(5)}
        np.testing.assert_allclose(
            eval(text.strip("`"), names | values), x.grad.numpy(), rtol=1e-12, err_msg=op.name
        )
        tried += 1
    assert tried > 25


def test_of_two_rules_in_a_line_each_is_found(script) -> None:
    rules = [lambda xp, g, y, a, b: g * b, lambda xp, g, y, a, b: -xp.floor(g / a)]
    probe = Op("probe", "u, v, /", vjp=rules)
    rule_texts.tree.cache_clear()
    source = Path(__file__).read_text(encoding="utf-8")
    found = [rule_texts.definition(rule) for rule in rules]
    assert len({node.lineno for node in found}) == 1
    assert source.splitlines()[found[0].lineno - 1].startswith("    rules = [lambda")
    assert script.gradient(probe) == "u: `g * v`; v: `-floor(g / u)`"


def test_coverage_counts_and_what_is_missing(script, coverage) -> None:
    names = json.loads(script.NAMES.read_text(encoding="utf-8"))
    rows = [cells(line) for line in coverage.splitlines() if line.startswith("|")]
    counts = {row[0]: row[1:] for row in rows if len(row) == 5 and row[1].isdigit()}
    for library, one in names.items():
        for part, listed in one["names"].items():
            total, *split = map(int, counts[f"{library}.{part}" if part else library])
            assert total == len(listed) == sum(split)
    state = {row[0].strip("`"): row[1] for row in rows if row[0][0] == "`" and len(row) == 5}
    assert state["exp"] == "`gg.exp`"
    assert state["linalg.solve"] == "`gg.linalg.solve`"
    assert state["ndim"] == "`np.ndim`, of a Tensor"
    assert state["save"] == state["load"] == "left out"
    missing = {name for name, said in state.items() if said == "**missing**"}
    listed = {row[0].strip("`") for row in rows if row[0][0] == "`" and len(row) == 4}
    assert missing == listed
    t = gg.tensor(np.eye(2))
    for name in ("packbits", "unwrap", "vander"):  # what is called missing is refused by its name
        if name in missing:
            with pytest.raises(gg.DTypeError, match=f"np.{name}: gpugrad has no such function"):
                getattr(np, name)(t)


def test_what_is_left_out_is_known_to_numpy(script) -> None:
    known = json.loads(script.NAMES.read_text(encoding="utf-8"))["NumPy"]["names"][""]
    left_out = [name for names in script.LEFT_OUT.values() for name in names.split()]
    assert len(left_out) == len(set(left_out))
    assert set(left_out) <= set(known)


def test_check_says_what_to_do(script, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "DOCUMENTS", {"made.md": lambda: "# Made\n"})
    monkeypatch.setattr(sys, "argv", ["reference.py", "--check"])
    assert script.main() == 1
    output = capsys.readouterr().out
    assert "+# Made" in output
    assert "made.md does not match the table: run python ci/reference.py" in output
    assert not (tmp_path / "made.md").exists()
    monkeypatch.setattr(sys, "argv", ["reference.py"])
    assert script.main() == 0
    monkeypatch.setattr(sys, "argv", ["reference.py", "--check"])
    assert script.main() == 0
    assert capsys.readouterr().out == ""


def test_the_files_that_the_reference_names_are_there() -> None:
    named = re.findall(r"^From `(.*)`\.$", (ROOT / "docs" / "ops.md").read_text("utf-8"), re.M)
    assert named
    assert [path for path in named if not (ROOT / path).is_file()] == []
