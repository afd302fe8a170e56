"""What is shipped: metadata, the wheel's content, and the cost of ``import gpugrad``."""

import email
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from repository import ROOT

import gpugrad as gg

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["build-system"]["requires"][0]
IMPORT_BUDGET_US = 100_000


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
        check=True,
    )


def test_metadata_says_what_the_readme_promises() -> None:
    project = PROJECT["project"]
    assert project["name"] == "gpugrad"
    assert project["requires-python"] == ">=3.11"
    assert project["dependencies"] == ["numpy>=2"]
    extras = project["optional-dependencies"]
    assert extras["cuda12"] == ["cupy-cuda12x[ctk]>=14", "gpugrad[bfloat16]"]
    assert extras["cuda13"] == ["cupy-cuda13x[ctk]>=14", "gpugrad[bfloat16]"]
    assert {"progress", "plot", "viz", "examples", "test", "dev"} <= extras.keys()
    assert project["scripts"] == {"gpugrad": "gpugrad.cli:main"}


def test_version_has_one_source_and_an_entry_in_the_changelog() -> None:
    assert "version" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "gpugrad.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", gg.__version__)
    assert f"## [{gg.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy, so that the repository gets no build folder."""
    needed = int(re.fullmatch(r"setuptools>=(\d+)", SETUPTOOLS).group(1))
    try:
        found = int(version("setuptools").partition(".")[0])
    except ModuleNotFoundError:
        found = 0
    if found < needed:
        pytest.skip(f"building without the network needs {SETUPTOOLS}; here is {found or 'none'}")
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("gpugrad", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir"]
    run_python("-m", "pip", "wheel", *options, str(target), str(source))
    (path,) = target.glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert "gpugrad/py.typed" in names
    sources = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("*.py", "*.pyi", "*.json", "*.txt", "*.c")
        for path in (ROOT / "gpugrad").rglob(pattern)
    }
    assert {name for name in names if name.startswith("gpugrad/")} == sources | {"gpugrad/py.typed"}
    info = f"gpugrad-{gg.__version__}.dist-info/"
    assert all(name.startswith(("gpugrad/", info)) for name in names)


def test_wheel_metadata(wheel: zipfile.ZipFile) -> None:
    info = f"gpugrad-{gg.__version__}.dist-info/"
    metadata = email.message_from_bytes(wheel.read(info + "METADATA"))
    assert metadata["Version"] == gg.__version__
    assert metadata["License-Expression"] == "MIT"
    assert b"gpugrad = gpugrad.cli:main" in wheel.read(info + "entry_points.txt")


def test_import_brings_in_no_heavy_library() -> None:
    code = "import sys, gpugrad; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(run_python("-c", code).stdout.split())
    assert "numpy" in loaded
    assert not loaded & {"cupy", "cupyx", "graphviz", "matplotlib", "scipy", "sklearn", "tqdm"}


def test_import_adds_less_than_a_tenth_of_a_second_to_numpys(tmp_path: Path) -> None:
    # The cumulative time of the top module counts what gpugrad imports beside NumPy as well.
    # The least of several runs: the first compiles, and other tests run beside this one.
    # Where the environment forbids byte code to be written, every run would compile.
    kept = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    times = []
    for _ in range(5):
        log = run_python("-X", "importtime", "-c", "import numpy, gpugrad", **kept).stderr
        (line,) = (line for line in log.splitlines() if re.search(r"\| gpugrad$", line))
        times.append(int(line.split("|")[1]))
        if times[-1] < IMPORT_BUDGET_US // 2:
            break
    assert min(times) < IMPORT_BUDGET_US, f"import gpugrad took {min(times) / 1000:.0f} ms"
