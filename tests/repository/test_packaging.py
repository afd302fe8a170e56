"""What is shipped: metadata, the wheel's content, and the cost of ``import gpugrad``."""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from repository import ROOT, project

import gpugrad as gg

PROJECT = project()
URL = PROJECT["project"]["urls"]["Repository"]
SETUPTOOLS = PROJECT["build-system"]["requires"][0]


def run_python(
    *arguments: str, cwd: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | environment,
        check=True,
    )


def test_metadata_says_what_the_readme_promises() -> None:
    project = PROJECT["project"]
    assert project["name"] == "gpugrad"
    assert project["requires-python"] == ">=3.11"
    assert project["dependencies"] == ["numpy>=2.2"]
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


def test_the_readme_s_links_hold_on_pypi_too() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(
        r"\]\((\S+?)\)|^\[[^]]+\]: (\S+)|(?:src|href)=\"(\S+?)\"", readme, re.MULTILINE
    )
    found = ["".join(link) for link in links]
    assert len(found) > 20
    assert [link for link in found if not link.startswith("https://")] == []
    inside = [link for link in found if link.startswith(URL)]
    paths = [link.removeprefix(f"{URL}/blob/main/").partition("#")[0] for link in inside]
    assert [path for path in paths if not (ROOT / path).is_file()] == []
    shown = re.findall(r"\[(docs/\w+\.md)\](?!:)", readme)
    assert {f"[{name}]: {URL}/blob/main/{name}" for name in shown} <= {*readme.splitlines()}


def test_one_address_of_the_repository() -> None:
    assert all(url.startswith((URL, _pages(URL))) for url in PROJECT["project"]["urls"].values())
    files = [
        ROOT / name for name in ("README.md", "SECURITY.md", "CITATION.cff", "CONTRIBUTING.md")
    ]
    for path in (*files, *(ROOT / ".github").rglob("*.yml")):
        text = path.read_text(encoding="utf-8")
        others = [
            url for url in re.findall(r"https://github\.com/[\w./-]+", text) if URL not in url
        ]
        assert others == [], path


def _pages(url: str) -> str:
    owner, name = url.removeprefix("https://github.com/").split("/")
    return f"https://{owner}.github.io/{name}/"


def test_the_citation_has_the_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {gg.__version__}\n" in text
    assert f"repository-code: {URL}\n" in text


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build from, so that the repository gets no build folder."""
    needed = int(re.fullmatch(r"setuptools>=(\d+)", SETUPTOOLS).group(1))
    try:
        found = int(version("setuptools").partition(".")[0])
    except ModuleNotFoundError:
        found = 0
    if found < needed:
        pytest.skip(f"building without the network needs {SETUPTOOLS}; here is {found or 'none'}")
    source = tmp_path_factory.mktemp("source")
    left_out = ("__pycache__", ".git", ".venv*", ".hypothesis", ".*_cache", "build", "*.egg-info")
    ignored = shutil.ignore_patterns(*left_out, *_ignored())
    shutil.copytree(ROOT, source, ignore=ignored, dirs_exist_ok=True)
    return source


def _ignored() -> list[str]:
    """What git ignores, by the names in .gitignore; an sdist has no such file."""
    path = ROOT / ".gitignore"
    lines = path.read_text(encoding="utf-8").split() if path.exists() else []
    return [line.strip("/") for line in lines if not line.startswith("#")]


def _built(source: Path, what: str, target: Path) -> Path:
    code = f"from setuptools import build_meta as b; print(b.build_{what}({str(target)!r}))"
    name = run_python("-c", code, cwd=source).stdout.split()[-1]
    return target / name


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    target = tmp_path_factory.mktemp("wheel")
    return zipfile.ZipFile(_built(source, "wheel", target))


def test_the_sdist_holds_what_its_tests_need(source: Path, tmp_path: Path) -> None:
    with tarfile.open(_built(source, "sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = "benchmarks ci docs examples gpugrad notebooks tests .github".split()
    for folder in folders:
        for path in (source / folder).rglob("*"):
            if path.is_file():
                assert path.relative_to(source).as_posix() in names
    assert {"pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"} <= names


def test_an_editable_installation_is_a_path(source: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(_built(source, "editable", tmp_path)) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".pth")]
        assert Path(archive.read(name).decode().strip()) == source


@pytest.fixture
def above(tmp_path: Path) -> Path:
    """A folder with a clone in it, as git names it."""
    (tmp_path / "gpugrad").symlink_to(ROOT)
    return tmp_path


def test_the_package_is_found_from_the_folder_above_a_clone(above: Path) -> None:
    code = """
import sys
sys.path.insert(0, "")
import gpugrad, gpugrad.nn
from importlib import reload, resources
inside = sys.argv[1]
for module in (gpugrad, reload(gpugrad)):
    assert gpugrad.__file__ == gpugrad.__spec__.origin == inside + "/__init__.py"
    assert [*gpugrad.__path__] == [inside] == [str(resources.files("gpugrad"))]
    assert gpugrad.__spec__.loader is gpugrad.__loader__ and "NumPy" in gpugrad.__doc__
    assert gpugrad.nn.__file__ == inside + "/nn/__init__.py"
print(gpugrad.tensor([1.0]).dtype)
"""
    inside = (above / "gpugrad/gpugrad").as_posix()
    assert run_python("-I", "-c", code, inside, cwd=above).stdout == "float32\n"
    assert gg.__version__ in run_python("-m", "gpugrad", "--version", cwd=above).stdout


def test_the_root_of_the_clone_is_no_package_of_tests(request: pytest.FixtureRequest) -> None:
    assert not any(isinstance(node, pytest.Package) for node in request.node.listchain())
    assert (ROOT / "__init__.py").is_file()


def test_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert "gpugrad/py.typed" in names
    sources = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("*.py", "*.pyi", "*.json", "*.txt", "*.c", "*.html")
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


def test_import_adds_little_to_numpys() -> None:
    # Calls of Python functions, which are the same on each machine: these take 70 ms.
    code = """
import sys, numpy
calls = 0
def count(frame, event, argument):
    global calls
    calls += event == "call"
sys.setprofile(count)
import gpugrad
sys.setprofile(None)
print(calls)
"""
    run_python("-c", code)  # which may compile
    calls = int(run_python("-c", code).stdout)
    assert 10_000 < calls < 65_000, f"import gpugrad calls {calls} functions"
