"""The benchmark suite: it runs, its arithmetic is right, and it notices unequal work."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def conductor(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """benchmarks/run.py as a module, without leaving its short module names behind."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("run")
    for name in ("run", "cases"):
        sys.modules.pop(name, None)


def test_gpugrad_alone_runs_every_kind_of_case(tmp_path: Path) -> None:
    target = tmp_path / "times.json"
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--peers", "", "--rounds", "2"]
    command += ["--seconds", "0.01", "--cases", "3-4-4-1,chain-10,op", "--json", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads(target.read_text(encoding="utf-8"))
    assert content["machine"]["threads"] == 1
    assert "gpugrad" in content["versions"]
    names = {case["name"] for case in content["cases"]}
    assert {"3-4-4-1", "chain-10", "op-add", "op-tanh", "op-matmul"} <= names
    for case in content["cases"]:
        assert not case["failed"]
        assert len(case["rounds"]["gpugrad"]) == 2
        assert 0 < case["times"]["gpugrad"] < 1
    assert "| 3-4-4-1, batch 4" in done.stdout


def test_a_peer_that_is_not_there_is_said_and_left_out(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--peers", "torch", "--rounds", "1"]
    command += ["--seconds", "0.01", "--cases", "op-add", "--json", "-"]
    command += ["--python-for", f"torch={tmp_path / 'nowhere'}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left out: torch" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cases", "nonsense"], "unknown case 'nonsense'"),
        (["--peers", "theano"], "unknown peer 'theano'"),
        (["--python-for", "torch"], "--python-for wants PEER=PATH"),
        (["--threads", "0"], "must be positive"),
    ],
)
def test_bad_options_get_a_sentence(
    conductor: ModuleType,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit, match="2"):
        conductor.parse(arguments)
    assert message in capsys.readouterr().err


def test_the_table_names_targets_that_are_met_and_missed(conductor: ModuleType) -> None:
    common = {"kind": "step", "target": 0.6}
    met = {"title": "a", "times": {"gpugrad": 5e-5, "torch": 1e-4}, "ratios": {"torch": 0.5}}
    missed = {"title": "b", "times": {"gpugrad": 8e-2, "torch": 1e-1}, "ratios": {"torch": 0.8}}
    alone = {"title": "c", "times": {"gpugrad": 2.0}, "ratios": {}}
    results = [common | met, common | missed, common | alone]
    lines = conductor.table(results, ["torch"]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[3:] == [
        ["a", "50 µs", "100 µs", "0.50", "≤ 0.6 met"],
        ["b", "80 ms", "100 ms", "0.80", "≤ 0.6 MISSED"],
        ["c", "2 s", "-", "-", "≤ 0.6"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_workers_that_compute_something_else_are_found(conductor: ModuleType) -> None:
    assert conductor.agree([1.0, 2.0], [1.0 + 1e-5, 2.0])
    assert not conductor.agree([1.0, 2.0], [1.0, 2.01])
    assert not conductor.agree([1.0], [float("nan")])
