"""The type stubs: that they say what the table says, and that a strict checker reads them so."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from repository import ROOT, load_script

import gpugrad as gg
from gpugrad.engine.op import TABLE, Op
from gpugrad.engine.record import bind


def needs(*tools: str) -> pytest.MarkDecorator:
    """Skip a test where one of the tools of ci/test is not installed, as on a GPU's machine."""
    missing = [tool for tool in tools if importlib.util.find_spec(tool) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not installed")


START = """\
from typing import assert_type
import numpy as np
import gpugrad as gg
from gpugrad import Tensor
t = gg.tensor([1.0, 2.0])
"""

RIGHT = """\
assert_type(gg.exp(t), Tensor)
assert_type(gg.exp(np.ones(3)), Tensor)
assert_type(gg.absolute(t), Tensor)
assert_type(gg.sum(t, axis=(0, -1), keepdims=True), Tensor)
assert_type(gg.special.erf(t), Tensor)
assert_type(gg.split(t, 2), tuple[Tensor, ...])
assert_type(t.split([1]), tuple[Tensor, ...])
assert_type(t.unstack(), tuple[Tensor, ...])
assert_type(t.T, Tensor)
assert_type(t.mT, Tensor)
assert_type(t.sum(np.int64(0)), Tensor)
assert_type(t.astype(gg.float64), Tensor)
assert_type(t.to("cpu", dtype="float64"), Tensor)
assert_type(t.reshape(2, -1).transpose(1, 0), Tensor)
assert_type(t.copy(), Tensor)
assert_type(t + 1, Tensor)
assert_type(1 - t, Tensor)
assert_type(2.0 ** t @ t, Tensor)
assert_type(-t, Tensor)
assert_type(t == t, Tensor)
assert_type(t < 1, Tensor)
assert_type(t[0, ..., None], Tensor)
assert_type(t.grad, Tensor | None)
assert_type(t.shape, tuple[int, ...])
assert_type({t: 1}[t], int)
assert_type([float(u) for u in t], list[float])
t += t
t[0] = 3.0
"""

# A use, and the mypy error that it has to be.
WRONG = {
    "gg.exponential(t)": "attr-defined",
    "gg.getitem(t, 0)": "attr-defined",  # an op that is no public function
    "gg.Any": "attr-defined",  # what the stub itself imports
    "gg.exp()": "call-arg",
    "gg.exp(t, t)": "call-arg",
    "gg.special.erf(t, t)": "call-arg",
    "gg.special.error(t)": "attr-defined",
    "gg.exp(x=t)": "call-arg",
    "gg.sum(t, axis='rows')": "arg-type",
    "t.summ()": "attr-defined",
    "t.sum(axes=0)": "call-arg",
    "t.sum(axis='rows')": "arg-type",
    "t.T()": "operator",
    "t.T = t": "misc",
    "t.flatten('all')": "arg-type",
    "n: int = t.sum()": "assignment",
    "s: Tensor = t.split(2)": "assignment",
    "t.weights = t": "attr-defined",
}


@pytest.fixture(scope="module")
def script():
    return load_script("stubs")


def errors(folder: Path, source: str) -> dict[int, list[str]]:
    """What a strict mypy says of a user's module: by line, the codes and texts of its errors."""
    module = folder / "user.py"
    module.write_text(source, encoding="utf-8")
    # In a cache of its own: the flags differ from those of the project's own check.
    options = ["--strict", "--follow-imports=silent", "--cache-dir", ".mypy_cache/stubs"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--no-pretty", "--no-color-output", str(module)],
        capture_output=True,
        cwd=ROOT,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[int, list[str]] = {}
    for line in done.stdout.splitlines():
        if match := re.search(r"user\.py:(\d+): error: (.*)", line):
            found.setdefault(int(match[1]), []).append(match[2])
    assert bool(found) == bool(done.returncode), done.stdout + done.stderr
    return found


@needs("ruff")
def test_stubs_are_current(script) -> None:
    for name, write in script.STUBS.items():
        kept = (ROOT / name).read_text(encoding="utf-8")
        assert kept == write(), f"{name} does not match the table: run python ci/stubs.py"


@needs("mypy")
def test_all_that_exists_is_known_to_a_type_checker(script, tmp_path: Path) -> None:
    # What Python writes into any class (`__firstlineno__` from 3.13 on) is known to no checker, and
    # a look-up of __init__ on an instance is an error.
    class Plain:
        annotated: int

    Plain.__annotations__  # Python 3.14 adds names to a class once it is asked
    hidden = {"__init__", "__slots__", *vars(Plain)}
    members = [n for n in dir(gg.Tensor) if n not in hidden and hasattr(gg.Tensor, n)]
    public = [name for name in gg.__all__ if script.is_available(name)]
    assert {"sum", "T", "__add__", "backward", "_node"} <= set(members)
    assert {"exp", "absolute", "Tensor", "float32", "manual_seed"} <= set(public)
    lines = [f"t.{name}" for name in members] + [f"gg.{name}" for name in public]
    found = errors(tmp_path, START + RIGHT + "\n".join([*lines, "gg.__version__"]))
    assert not found, found


@needs("mypy")
def test_wrong_uses_are_errors(tmp_path: Path) -> None:
    found = errors(tmp_path, START + "\n".join(WRONG))
    first = START.count("\n") + 1
    for line, (use, code) in enumerate(WRONG.items(), first):
        said = found.pop(line, [])
        assert len(said) == 1, f"{use}: expected one error [{code}], got {said}"
        assert said[0].endswith(f"[{code}]"), f"{use}: expected [{code}], got {said[0]}"
    assert not found


def test_members_are_bound_to_a_class_without_a_dict() -> None:
    tensor = gg.tensor(1.0)
    assert not hasattr(tensor, "__dict__")
    with pytest.raises(AttributeError, match="weights"):
        tensor.weights = 1


@needs("ruff")
def test_an_op_needs_its_table_entry_only(script, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(xp, x, scale=None, /, axis=None, order: str = "C", *, alpha=1.0, where=()): ...

    probe = Op("probe", forward, doc='The "probe" of x\\y.\n\nAt length.')
    monkeypatch.setitem(TABLE, "probe", probe)
    stub = script.Stub("A test.")
    stub.body.append(stub.function("probe", bind(probe)))
    assert stub.text().partition("| None\n")[2].strip() == (
        "def probe(\n"
        "    x: Any,\n"
        "    scale: Any = None,\n"
        "    /,\n"
        "    axis: _Axis = None,\n"
        '    order: str = "C",\n'
        "    *,\n"
        "    alpha: float = 1.0,\n"
        "    where: Any = ...,\n"
        ") -> Tensor:\n"
        '    r"""The "probe" of x\\y."""'
    )
    assert "from gpugrad.tensor.core import Tensor\n" in stub.text()
    pieces = Op("probe", "x, /, shape, *, count", outputs=True, doc='One of "a" and "b"')
    monkeypatch.setitem(TABLE, "probe", pieces)
    assert stub.function("probe", bind(pieces), method=True) == (
        "def probe(self, /, shape: SupportsIndex | Sequence[SupportsIndex], *, count: Any) "
        '-> tuple[Tensor, ...]:\n    """One of "a" and "b"\n    """\n'
    )
    assert stub.imports["Sequence"] == "collections.abc"


def test_a_function_must_say_what_it_returns(script) -> None:
    def unclear(x: int): ...

    with pytest.raises(TypeError, match="unclear: expected a function with a return annotation"):
        script.Stub("A test.").function("unclear", unclear)


def test_check_says_what_to_do(
    script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "STUBS", {"made.pyi": lambda: "x: int\n"})
    monkeypatch.setattr(sys, "argv", ["stubs.py", "--check"])
    assert script.main() == 1
    output = capsys.readouterr().out
    assert "+x: int" in output
    assert "made.pyi does not match the table: run python ci/stubs.py" in output
    assert not (tmp_path / "made.pyi").exists()
    monkeypatch.setattr(sys, "argv", ["stubs.py"])
    assert script.main() == 0
    monkeypatch.setattr(sys, "argv", ["stubs.py", "--check"])
    assert script.main() == 0
    assert capsys.readouterr().out == ""


def test_stubs_are_shipped(script) -> None:
    # test_packaging.py looks into a wheel, where one can be built.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert {"py.typed", "*.pyi"} <= set(project["tool"]["setuptools"]["package-data"]["*"])
    assert (ROOT / "gpugrad" / "py.typed").exists()
    stubs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gpugrad").rglob("*.pyi")}
    assert stubs == set(script.STUBS)
