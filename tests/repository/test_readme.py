"""The README's commands do what it says; its Python is run as doctests by ci/test."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

import gpugrad as gg

README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = [
    line.split(" #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
EXAMPLES = [line for line in SHELL if line.startswith("python examples/")]
TRAINING = {
    "autoencoder.py", "cartpole.py", "chain_rule.py", "characters.py", "convolution.py",
    "diabetes.py", "digits.py", "forecast.py", "mlp.py", "physics.py", "regression.py",
}  # fmt: skip


def test_every_example_of_the_folder_is_shown():
    shown = {shlex.split(line)[1].split("/")[1] for line in EXAMPLES}
    there = {path.name for path in (ROOT / "examples").glob("*.py")} - {"common.py"}
    assert shown == there
    listed = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert {name for name in there if f"python examples/{name}" in listed} == there


@pytest.mark.parametrize("line", EXAMPLES)
def test_example_commands(line, tmp_path):
    _, script, *flags = shlex.split(line)
    flags = [str(tmp_path / flag) if flag.endswith(".png") else flag for flag in flags]
    if Path(script).name in TRAINING:
        flags += ["--epochs", "2"]
    done = subprocess.run(
        [sys.executable, ROOT / script, *flags],
        cwd=tmp_path,
        env={**_environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if Path(script).name == "torch_bridge.py" and importlib.util.find_spec("torch") is None:
        assert done.stderr.startswith("error: this needs PyTorch")
        return
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert all(Path(flag).exists() for flag in flags if flag.endswith(".png"))


def test_the_page_of_layers_has_every_layer():
    page = (ROOT / "docs" / "nn.md").read_text(encoding="utf-8")
    layers = [name for name in gg.nn.__all__ if isinstance(getattr(gg.nn, name), type)]
    assert [name for name in layers if f"`{name}`" not in page] == []
    assert set(re.findall(r"`([A-Z]\w+)`", page)) <= {*layers}


def _environment():
    return {name: value for name, value in os.environ.items() if name != "GPUGRAD_DEVICE"}


def test_other_commands():
    others = [line for line in SHELL if line not in EXAMPLES]
    for line in others:
        word, *rest = shlex.split(line)
        if word in ("ci/demo", "ci/test", "benchmarks/run.py"):
            assert (ROOT / word).exists()
        elif word == "gpugrad":
            done = subprocess.run(
                [sys.executable, "-m", "gpugrad", *rest],
                env={**_environment(), "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr
        else:
            assert word in ("pip", "python"), line
    assert "ci/demo" in README
    assert "ci/test" in README


def test_commands_for_contributors_can_be_called_as_they_are_written():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = [line.split(" #")[0] for line in text.split("```")[1].splitlines()[1:]]
    named += re.findall(r"`((?:python )?ci/[^`\s]+[^`]*)`", text)
    files = [re.match(r"(python )?((?:\.?ci|benchmarks)/[\w./-]+)", line) for line in named]
    found = [(bool(match[1]), ROOT / match[2]) for match in files if match]
    assert len(found) > 15
    for by_python, file in found:
        assert file.is_file()
        assert by_python or os.access(file, os.X_OK), f"{file}: write python before it"
