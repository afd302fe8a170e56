"""What the tests of compiled functions share."""

import pytest

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
