"""What other libraries do with a recorded tensor, or bring along: a sentence says what to write."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.integrate
import scipy.interpolate
import scipy.ndimage
import scipy.optimize
import scipy.signal
import scipy.sparse
import scipy.special

import gpugrad as gg

SPARSE = scipy.sparse.eye_array(2).tocsr()


def plotting(name):
    def call(t):
        plots = pytest.importorskip("matplotlib.pyplot")
        plots.switch_backend("agg")
        return getattr(plots, name)(
            *([t] if name == "imshow" else [t[0], t[1]][: 1 + (name == "bar")])
        )

    return call


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda t: scipy.signal.convolve(t[0], [1.0, 2.0]), r"SciPy's convolve .*gg\.custom_op"),
        (lambda t: scipy.ndimage.gaussian_filter(t, 1.0), r"gaussian_filter .*gg\.custom_op"),
        (lambda t: scipy.special.softmax(t), r"write gg\.special\.softmax"),
        (lambda t: scipy.special.log_softmax(t), r"write gg\.special\.log_softmax"),
        (lambda t: scipy.special.logsumexp(t, axis=1), r"write gg\.special\.logsumexp"),
        (lambda t: scipy.optimize.minimize(lambda p: (t * p[0]).sum(), [1.0]), "value_and_grad"),
        (lambda t: scipy.interpolate.interp1d([1.0, 2.0], t[0]), "SciPy's interp1d makes"),
        (lambda t: np.random.default_rng(0).permutation(t), r"t\[rng\.permutation\(len\(t\)\)\]"),
        (lambda t: SPARSE @ t, r"\.toarray\(\).*gg\.custom_op"),
        (lambda t: t @ SPARSE, r"\.toarray\(\).*gg\.custom_op"),
        (lambda t: np.ma.masked_array(np.ones((2, 2)), True) + t, r"gg\.where\(mask, 0, t\)"),
        (lambda t: np.r_[t[0], 1.0], r"for np\.r_ gg\.r_"),
        (plotting("plot"), r"plot .*t\.detach\(\)\.cpu\(\)\.numpy\(\)"),
        (plotting("imshow"), r"plot .*t\.detach\(\)\.cpu\(\)\.numpy\(\)"),
    ],
)  # fmt: skip
def test_a_library_that_makes_an_array_of_it(call, advice):
    t = gg.tensor(np.arange(1.0, 5.0).reshape(2, 2), requires_grad=True)
    with pytest.raises(gg.GradientError, match=advice):
        call(t)


class Table:
    """A table of another library, which is not in the test extra."""

    __module__ = "pandas.core"


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (SPARSE, r"csr_array\. Write x\.toarray\(\)"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), r"x\.filled\(0\).*where=~x\.mask"),
        (Table(), r"Write x\.to_numpy\(\)"),
    ],
)
def test_an_operand_of_another_library(value, advice):
    with pytest.raises(gg.DTypeError, match=advice):
        gg.multiply(gg.ones(2), value)


def test_a_table_is_no_data_set():
    with pytest.raises(gg.DTypeError, match=r"array 0 is a Table; .*Write x\.to_numpy\(\)"):
        gg.data.TensorDataset(Table())


def test_the_rate_of_an_optimizer_is_in_its_groups():
    optimizer = gg.optim.SGD([gg.ones(2, requires_grad=True)], lr=0.1)
    for use in (lambda: optimizer.lr, lambda: setattr(optimizer, "lr", 0.5)):
        with pytest.raises(AttributeError, match=r"Write optimizer\.param_groups\[0\]\['lr'\]"):
            use()


def test_the_gradient_of_a_computed_tensor_is_kept_if_it_is_asked_for(device):
    x = gg.ones(2, device=device, requires_grad=True)
    y = 2 * x
    y.sum().backward()
    with pytest.warns(UserWarning, match=r"grad: .*t\.retain_grad\(\)") as caught:
        assert y.grad is None
    assert caught[0].filename == __file__
    y = (2 * x).retain_grad()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert y.grad is None
        assert gg.ones(2).grad is None
        y.sum().backward()
        assert y.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("fit", [gg.polyfit, np.polyfit], ids=["gg", "np"])
def test_warnings_point_at_the_line_of_the_user(fit):
    with pytest.warns(np.exceptions.RankWarning) as caught:
        fit(gg.tensor(np.ones(4)), gg.tensor(np.ones(4)), 2)
    assert caught[0].filename == __file__


def test_the_doctor_ends_quietly_where_nobody_reads_on():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "gpugrad", "doctor"],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert done.stderr == b""


@pytest.mark.parametrize("name", ["cuda", "linalg", "special", "fft", "nn", "optim", "random"])
def test_modules_have_their_public_names_in_errors(name):
    with pytest.raises(AttributeError, match=f"^module 'gpugrad.{name}' has no .* 'frobnicate'$"):
        getattr(gg, name).frobnicate
