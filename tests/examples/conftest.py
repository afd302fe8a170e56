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
