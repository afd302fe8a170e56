"""A test that changes the process is named, and the change is put back."""

import os

import leaks
import numpy as np
import pytest

import gpugrad as gg
from gpugrad.backend import Namespace, register
from gpugrad.engine import detours
from gpugrad.engine.op import TABLE


class Foreign:
    """An array of no library."""


class Subclass(np.ndarray):
    """An array of NumPy's namespace."""


CHANGES = {
    "mode gpugrad_modes": lambda: gg.no_grad(),
    "mode gpugrad_autocast": lambda: gg.autocast("float16"),
    "mode gpugrad_device": lambda: gg.device("sim"),
    "detours of ops": lambda: detours.use(lambda op, operands, parameters: None, True),
    "default dtype": lambda: gg.set_default_dtype("float64"),
    "default device": lambda: gg.set_default_device("sim"),
    "registered types of arrays": lambda: register(Foreign, Namespace(np)),
    "environment: GPUGRAD_LEFT": lambda: os.environ.update(GPUGRAD_LEFT="1"),
    "folder": lambda: os.chdir("/"),
    "NumPy's errstate": lambda: np.seterr(all="raise"),
    "op table": lambda: TABLE.update(left=None),
}


@pytest.mark.parametrize(("what", "change"), CHANGES.items(), ids=list(CHANGES))
def test_a_change_is_named_and_put_back(what, change):
    block = change()
    if hasattr(block, "__enter__"):
        block.__enter__()
    left = leaks.changes()
    assert any(one.startswith(what) for one in left), left
    assert leaks.changes() == []


def test_what_every_program_does_is_no_change():
    with gg.no_grad(), gg.device("sim"), gg.autocast("float16"):
        gg.ones((2, 2)) @ gg.ones((2, 2))
    gg.tensor(np.ones(2).view(Subclass)) * 2
    gg.random.uniform()
    assert leaks.changes() == []
