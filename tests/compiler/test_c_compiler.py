"""The compiler that is found, and the folder of what it has made."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gpugrad.compiler.c import compiler as c_compiler
from gpugrad.compiler.c.compiler import Compiler, find_compiler, load
from gpugrad.errors import CompileError

FAKE = """#!{python}
import sys
path = sys.argv[sys.argv.index("-o") + 1]
open({log!r}, "a").write("compiled\\n")
{body}
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """A folder for caches, and nothing found yet, before and after each test."""
    caches = tmp_path / "caches"
    caches.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(caches))
    monkeypatch.delenv("GPUGRAD_COMPILER", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    forget()
    yield caches
    forget()


def forget():
    find_compiler.cache_clear()
    c_compiler._folder.cache_clear()


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """A function that makes $CC a script, and the number of its calls."""
    script, log = tmp_path / "cc.py", tmp_path / "log"

    def make(body):
        text = FAKE.format(python=sys.executable, log=str(log), body=body)
        script.write_text(text, encoding="utf-8")
        script.chmod(0o700)
        monkeypatch.setenv("CC", str(script))
        forget()
        return lambda: log.read_text().count("compiled") if log.exists() else 0

    return make


def shared_object():
    """The path of a shared object that loads anywhere: Python's own module of C types."""
    import _ctypes

    return _ctypes.__file__


def test_it_is_looked_for_in_order(monkeypatch):
    there = {"cc": "/bin/cc", "gcc": "/bin/gcc", "mycc": "/opt/mycc"}
    monkeypatch.setattr(c_compiler.shutil, "which", there.get)
    for asked, command in (("mycc -m64", ["/opt/mycc", "-m64"]), ("", ["/bin/cc"])):
        monkeypatch.setenv("CC", asked)
        forget()
        assert find_compiler().command == command
    there.clear()
    forget()
    monkeypatch.setattr(c_compiler, "find_spec", lambda name: None)
    assert find_compiler() is None
    with pytest.raises(CompileError, match="no C compiler is found: install gcc or clang"):
        load("")
    forget()
    package = type("Spec", (), {"origin": __file__})
    monkeypatch.setattr(c_compiler, "find_spec", lambda name: package)
    assert find_compiler().command == [sys.executable, "-m", "ziglang", "cc"]
    forget()
    monkeypatch.setenv("GPUGRAD_COMPILER", "none")
    assert find_compiler() is None


def test_another_process_finds_what_was_compiled(compiler, alone):
    calls = compiler(f"import shutil; shutil.copy({shared_object()!r}, path)")
    load("first")
    load("first")
    assert calls() == 1
    load("second")
    forget()
    load("second")
    assert calls() == 2
    folder = alone / "gpugrad" / "programs"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len([*folder.iterdir()]) == 2  # and nothing that was left behind
    # Another version of the compiler, and a file that is damaged, are compiled anew.
    compiler(f"import shutil; shutil.copy({shared_object()!r}, path) ")
    load("second")
    assert calls() == 3


def test_a_damaged_file_is_made_anew(compiler, alone, monkeypatch):
    def open_library(path):  # as dlopen does with a path that it does not know yet
        if Path(path).read_bytes() == b"damaged":
            raise OSError("file too short")

    monkeypatch.setattr(c_compiler.ctypes, "CDLL", open_library)
    calls = compiler(f"import shutil; shutil.copy({shared_object()!r}, path)")
    load("text")
    (path,) = (alone / "gpugrad" / "programs").iterdir()
    path.write_bytes(b"damaged")
    load("text")
    assert calls() == 2


@pytest.mark.parametrize("fault", ["open", "link", "parent", "file"])
def test_a_folder_that_others_can_write_to_is_not_used(compiler, alone, fault, tmp_path):
    """Code is loaded from it: the process then has a folder of its own."""
    compiler(f"import shutil; shutil.copy({shared_object()!r}, path)")
    folder = alone / "gpugrad" / "programs"
    folder.parent.mkdir()
    if fault == "file":
        folder.write_text("no folder")
    elif fault == "link":
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        folder.symlink_to(elsewhere)
    else:
        folder.mkdir(mode=0o700)
        (folder if fault == "open" else folder.parent).chmod(0o777)
    load("text")
    used = c_compiler._folder()
    assert used != folder
    assert stat.S_IMODE(used.stat().st_mode) == 0o700
    assert [path.suffix for path in used.iterdir()] == [".so"]
    assert folder.is_file() or not [*folder.iterdir()]


def test_what_does_not_load_alone_is_linked_with_the_libraries(compiler, alone):
    calls = compiler(
        f"import shutil\nif '-lm' in sys.argv: shutil.copy({shared_object()!r}, path)\n"
        "else: open(path, 'w').write('text')"
    )
    load("text")
    assert calls() == 2
    load("text")
    assert calls() == 2


@pytest.mark.parametrize("name", ["gcc", "x86_64-linux-gnu-gcc-12", "clang-22", "ccache"])
def test_only_gcc_gets_its_own_options(tmp_path, name):
    (tmp_path / name).write_text("")
    (tmp_path / "cc").symlink_to(tmp_path / name)
    options = Compiler(["cc"], str(tmp_path / "cc")).options
    assert ("-ftree-pre" in options) == ("gcc" in name)
    assert ("-O3" in options) == ("gcc" not in name)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sys.exit('error: no such thing')", "does not compile a program: error: no such thing"),
        ("open(path, 'w').write('text')", "has made does not load"),
    ],
)
def test_an_error_of_the_compiler_is_a_sentence(compiler, alone, body, message):
    compiler(body)
    with pytest.raises(CompileError, match=message):
        load("text")


def test_a_command_that_does_not_run(tmp_path):
    nothing = Compiler(["/nowhere/cc"], sys.executable)
    assert "does not run" in nothing.version()
    with pytest.raises(CompileError, match="/nowhere/cc does not run"):
        nothing.compile("", tmp_path / "program.so")


def test_the_version_is_the_first_line():
    first = subprocess.run([sys.executable, "--version"], capture_output=True, text=True)
    assert Compiler([sys.executable], sys.executable).version() == first.stdout.strip()


def test_a_function_that_is_not_declared_is_an_error():
    """Not one of int, as in old C: the text of a program has no headers."""
    if find_compiler() is None:
        pytest.skip("there is no C compiler")
    with pytest.raises(CompileError, match="unknown"):
        load("double f(double x) { return unknown(x); }")
