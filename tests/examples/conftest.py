"""What tests of examples start from."""

import importlib

import pytest
from repository import ROOT

import gpugrad as gg


@pytest.fixture
def example(monkeypatch):
    """Import an example by name; the defaults that its flags set are put back."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    device, dtype = gg.default_device(), gg.get_default_dtype()
    yield importlib.import_module
    gg.set_default_device(device)
    gg.set_default_dtype(dtype)


@pytest.fixture
def run(example, capsys):
    """Run an example as its command line would, and return what it printed."""

    def call(name, *argv):
        example(name).main([str(arg) for arg in argv])
        return capsys.readouterr().out

    return call


@pytest.fixture
def fails(example, capsys):
    """Run an example to its exit with code 2, and return what it said on stderr."""

    def call(name, *argv):
        module = example(name)
        with pytest.raises(SystemExit) as exit_:
            example("common").run(module.main, [str(arg) for arg in argv])
        assert exit_.value.code == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return said.strip().splitlines()[-1]

    return call
