"""The kernels that stand in for formulas on CUDA: compiled, and run on the host."""

import pytest

from gpugrad.backend import kernels


@pytest.fixture
def fusion(monkeypatch):
    """Sets GPUGRAD_FUSION, which is read once."""

    def set_to(value):
        monkeypatch.setenv("GPUGRAD_FUSION", value)
        kernels.enabled.cache_clear()
        return kernels.enabled

    yield set_to
    monkeypatch.undo()
    kernels.enabled.cache_clear()


@pytest.mark.parametrize(("value", "expected"), [("", True), ("1", True), ("0", False)])
def test_the_environment_turns_kernels_off(fusion, value, expected):
    assert fusion(value)() is expected


def test_another_value_is_refused(fusion):
    enabled = fusion("no")
    with pytest.raises(ValueError, match=r"GPUGRAD_FUSION: expected 0 .* or 1 .*, got 'no'"):
        enabled()
