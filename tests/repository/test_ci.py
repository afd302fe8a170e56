"""The commands of ci/: they are runnable, and say plainly what a machine lacks."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from repository import ROOT
from turns import Turns

BASH = shutil.which("bash")
COMMANDS = ("ci/test", "ci/demo", "ci/gpu", "ci/array-api", ".ci/run")

pytestmark = pytest.mark.skipif(BASH is None, reason="needs bash")


def run(command: str, path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command with nothing on its PATH but what ``path`` holds, from a folder of no meaning."""
    environment |= {"PATH": str(path), "HOME": str(path)}
    return subprocess.run(
        [str(BASH), str(ROOT / command)],
        capture_output=True,
        text=True,
        cwd=path,
        env=environment,
        check=False,
    )


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with the few system tools that the scripts use, and an old python3."""
    for tool in ("basename", "bash", "cat", "cksum", "dirname", "grep", "head", "sed"):
        found = shutil.which(tool)
        assert found is not None, tool
        (tmp_path / tool).symlink_to(found)
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\necho Python 3.8.1\nexit 1\n", encoding="utf-8")
    python.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("command", [*COMMANDS, "ci/venv.sh"])
def test_scripts_parse_and_stop_at_errors(command: str) -> None:
    path = ROOT / command
    subprocess.run([str(BASH), "-n", str(path)], check=True)
    if command in COMMANDS:
        assert os.access(path, os.X_OK)
        assert "set -euo pipefail" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["ci/test", "ci/demo", ".ci/run"])
def test_without_a_python_they_say_which_one_is_needed(command: str, bare: Path) -> None:
    done = run(command, bare, GPUGRAD_VENV=str(bare / "venv"))
    assert done.returncode == 1
    assert "no Python >= 3.11" in done.stderr
    assert "python3 is Python 3.8.1" in done.stderr
    assert not (bare / "venv").exists()


def test_a_named_python_that_does_not_serve_is_refused(bare: Path) -> None:
    done = run("ci/demo", bare, GPUGRAD_VENV=str(bare / "venv"), PYTHON="python3")
    assert done.returncode == 1
    assert "PYTHON=python3 is not a Python >= 3.11" in done.stderr


def test_gpu_run_has_every_example() -> None:
    words = set(re.findall(r"\w+", (ROOT / "ci" / "gpu").read_text(encoding="utf-8")))
    there = {path.stem for path in (ROOT / "examples").glob("*.py")} - {"common"}
    assert there <= words


def test_gpu_run_names_its_parts(bare: Path) -> None:
    done = subprocess.run(
        [str(BASH), str(ROOT / "ci/gpu"), "-k", "matmul"],
        capture_output=True,
        text=True,
        env={"PATH": str(bare)},
        check=False,
    )
    assert done.returncode == 1
    assert "no part '-k': there are tests, unfused, examples, benchmarks" in done.stderr


def test_shards_are_all_tests_once(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("tests_conftest", ROOT / "tests" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("GPUGRAD_TEST_CASES", raising=False)
    shards = []
    for shard in ("0/3", "1/3", "2/3"):
        monkeypatch.setenv("GPUGRAD_TEST_SHARD", shard)
        items = list(range(100))
        module.pytest_collection_modifyitems(items)
        shards.append(items)
    assert sorted(map(len, shards)) == [33, 33, 34]
    assert sorted(item for items in shards for item in items) == list(range(100))


SHARED = """
import pytest

@pytest.mark.parametrize("number", range(50))
def test_one(number):
    with open("ran", "a") as file:
        print(number, file=file)
    assert number != 7
"""


def test_processes_take_all_tests_once_and_say_what_failed(tmp_path: Path) -> None:
    (tmp_path / "test_shared.py").write_text(SHARED, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(ROOT / "ci/pytest_jobs.py"), "2", "-q", "-p", "turns"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests/helpers")},
        check=False,
    )
    ran = (tmp_path / "ran").read_text(encoding="utf-8").split()
    assert sorted(map(int, ran)) == list(range(50))
    assert sum(map(int, re.findall(r"(\d+) passed", done.stdout))) == 49
    assert len(re.findall(r" in [\d.]+s\b", done.stdout)) == 2
    assert "FAILED test_shared.py::test_one[7]" in done.stdout
    assert done.returncode == 1


def test_a_process_ends_when_another_was_told_to_stop_or_has_other_tests(tmp_path: Path) -> None:
    items = [SimpleNamespace(nodeid=str(number)) for number in range(50)]
    turns = tmp_path / "turns"
    turns.touch()
    one, two = Turns(turns, items), Turns(turns, items)
    assert [one.take(5), two.take(1)] == [items[:5], items[5:6]]
    one.end()
    assert list(two) == []
    with pytest.raises(pytest.UsageError, match="collected others"):
        Turns(turns, items[1:]).take(1)


def test_gpu_run_refuses_an_old_python(bare: Path) -> None:
    done = run("ci/gpu", bare)
    assert done.returncode == 1
    assert "older than 3.11" in done.stderr


def test_array_api_run_says_what_it_wants_of_the_checkout(bare: Path, tmp_path: Path) -> None:
    def said(*arguments: str) -> str:
        done = subprocess.run(
            [str(BASH), str(ROOT / "ci/array-api"), *arguments],
            capture_output=True,
            text=True,
            env={"PATH": str(bare)},
            check=False,
        )
        assert done.returncode == 1
        return done.stderr

    assert "usage: ci/array-api PATH_OF_CHECKOUT" in said()
    assert "is no checkout of the tests" in said(str(tmp_path))
    (tmp_path / "array_api_tests").mkdir()
    assert "git submodule update --init" in said(str(tmp_path))


def test_every_skipped_case_has_a_reason() -> None:
    blocks = (ROOT / "ci/array-api-skips.txt").read_text(encoding="utf-8").strip().split("\n\n")
    assert len(blocks) > 1
    for block in blocks:
        reason = [line for line in block.splitlines() if line.startswith("# ")]
        cases = block.splitlines()[len(reason) :]
        assert reason, f"no reason: {block}"
        assert all(case.startswith("array_api_tests/") for case in cases), block


def test_bytecode_is_kept_though_the_machine_says_not_to():
    """Without it each process of the tests compiles and rewrites all of their files anew."""
    asked = f'source "{ROOT}/ci/venv.sh" && printf "%s" "${{PYTHONDONTWRITEBYTECODE-unset}}"'
    done = subprocess.run(
        [str(BASH), "-c", asked, "ci/test"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
    )
    assert done.stdout == "unset"
