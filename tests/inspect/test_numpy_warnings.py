"""NumPy's RuntimeWarnings name the user's line, not gpugrad's, wherever they come from."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.backend.lines import NUMPY_WARNINGS


def _zeros():
    return gg.tensor([0.0, 1e30], requires_grad=True)


def _in_place():
    h = _zeros() * 1.0
    h *= h


def _step():
    p = _zeros()
    p.grad = gg.full(2, 1e38)
    gg.optim.SGD([p], lr=1e38).step()


def _log_sum(x):
    return gg.log(x).sum()


def _backward():
    _log_sum(_zeros()).backward()


SOURCES = {
    "function": lambda: gg.log(_zeros()),
    "NumPy's function": lambda: np.log(_zeros()),
    "operator": lambda: 1.0 / _zeros(),
    "without a graph": lambda: gg.sqrt(-_zeros().detach()),
    "reduction": lambda: gg.prod(gg.full(3, 1e30)),
    "made of others": lambda: gg.nn.functional.mse_loss(_zeros(), gg.zeros(2)),
    "in place": _in_place,
    "cast": lambda: gg.tensor([1e300], dtype="float64").astype("float32"),
    "backward": _backward,
    "second derivative": lambda: gg.grad(lambda x: gg.grad(_log_sum)(x).sum())(_zeros()),
    "forward mode": lambda: gg.jvp(gg.log, (_zeros(),), (gg.ones(2),)),
    "step": _step,
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_a_warning_names_the_users_line(name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filters.insert(0, NUMPY_WARNINGS)
        SOURCES[name]()
    assert caught
    for warning in caught:
        assert (warning.category, warning.filename) == (RuntimeWarning, __file__), str(warning)


def test_warnings_elsewhere_stay_where_they_are():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filters.insert(0, NUMPY_WARNINGS)
        np.log(np.zeros(1))
        warnings.warn("nothing is encountered in this one", UserWarning, stacklevel=1)
        with np.errstate(divide="ignore"):
            gg.log(_zeros())
    assert [warning.category for warning in caught] == [RuntimeWarning, UserWarning]


PROGRAM = """
import gpugrad as gg
x = gg.tensor([0.0], requires_grad=True)
try:
    for _ in range(3):
        y = gg.log(x)
except RuntimeWarning:
    print("raised")
"""


@pytest.mark.parametrize(
    ("setting", "printed", "warned"),
    [(None, "", 1), ("error", "raised", 0), ("ignore", "", 0), ("always", "", 3)],
)
def test_settings_of_the_interpreter_hold(setting, printed, warned, tmp_path):
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    options = [] if setting is None else ["-W", f"{setting}::RuntimeWarning"]
    done = subprocess.run(
        [sys.executable, *options, str(file)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == printed
    place = f"{file}:6: RuntimeWarning: divide by zero encountered in log"
    assert done.stderr.count(place) == done.stderr.count("RuntimeWarning:") == warned


def test_the_filters_can_be_copied_as_scikit_learn_copies_them():
    action, message, category, module, line = NUMPY_WARNINGS
    assert (module, line) == (None, 0)
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("error")
        warnings.filterwarnings(action, message.pattern, category)
        with pytest.raises(RuntimeWarning, match="encountered in"):
            np.log(np.zeros(1))
