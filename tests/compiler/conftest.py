"""What the tests of compiled functions share."""

import pytest

from gpugrad.compiler.c.compiler import find_compiler
from gpugrad.compiler.calls import call


@pytest.fixture(autouse=True, scope="session")
def library_of_calls():
    """Have calls built in from the first one on, as in all processes but a machine's first."""
    call.make()
    if call._making is not None:
        call._making.join()


@pytest.fixture(params=["C", "NumPy"])
def by_each(request):
    """Let programs run in C where there is a compiler, and by NumPy."""
    if request.param == "NumPy":
        request.getfixturevalue("by_numpy")


@pytest.fixture
def by_numpy(monkeypatch):
    """Let programs run by NumPy, whose results are the same to the last bit."""
    monkeypatch.setenv("GPUGRAD_COMPILER", "none")
    find_compiler.cache_clear()
    yield
    find_compiler.cache_clear()
