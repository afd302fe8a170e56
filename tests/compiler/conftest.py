"""What the tests of compiled functions share."""

import pytest

from gpugrad.compiler.c_compiler import find_compiler


@pytest.fixture
def by_numpy(monkeypatch):
    """Let programs run by NumPy, whose results are the same to the last bit."""
    monkeypatch.setenv("GPUGRAD_COMPILER", "none")
    find_compiler.cache_clear()
    yield
    find_compiler.cache_clear()
