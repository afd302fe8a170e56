"""What `Compiled.report` says of a program, with the time of each part."""

import re

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.compiler.c.compiler import find_compiler


def times(text):
    """Microseconds of each part, by what it says, and of all."""
    whole = float(re.findall(r"^  ([\d,.]+) µs, where", text, re.M)[0].replace(",", ""))
    parts = re.findall(r"^ +([\d,.]+) µs +\d+%  (.+)$", text, re.M)
    return whole, [(what, float(time.replace(",", ""))) for time, what in parts]


@pytest.fixture(params=["C", "calls"])
def way(request, monkeypatch):
    if request.param == "calls":
        request.getfixturevalue("by_numpy")
    return request.param


def trained(device):
    gg.manual_seed(0)
    model = gg.nn.Linear(64, 32, device=device)
    optimizer = gg.optim.SGD(model.parameters(), lr=0.1)

    @gg.compile
    def step(x):
        optimizer.zero_grad()
        loss = (model(x).tanh() ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss.detach(), gg.linalg.qr(x[:4, :4])[1]

    step(gg.ones((16, 64), device=device))
    return step, model


def test_each_part_has_its_time_and_nothing_changes(way, device):
    step, model = trained(device)
    before = model.weight.detach().cpu().numpy().copy()
    text = step.report(times=True)
    whole, parts = times(text)
    assert whole == pytest.approx(sum(time for _, time in parts), abs=0.1 * len(parts))
    assert any("qr" in what for what, _ in parts)
    assert len(parts) > 3
    assert "12,424 bytes given" in text  # x, the weight, the bias, the rate
    np.testing.assert_array_equal(model.weight.detach().cpu().numpy(), before)
    assert "µs" not in step.report()


def test_parts_of_c_say_what_they_compute():
    step, _ = trained("cpu")
    text = step.report(times=True, source=True)
    if "runs in C" not in text:
        pytest.skip("there is no C compiler")
    labels = [what for what, _ in times(text)[1]]
    assert "product of (16, 64) and (64, 32)" in labels
    assert any(re.match(r"loop over \(16, 32\), [\d,]+ bytes written: .*tanh", w) for w in labels)
    assert "qr, by the array library" in labels
    assert "#define NOINLINE" in text
    assert "gpugrad_now" not in text  # the program that runs has no clocks


def test_what_is_not_recorded_has_no_times():
    assert gg.compile(lambda x: x).report(times=True) == "nothing recorded yet: call the function"


def test_norms_are_part_of_the_loops_in_c():
    x = np.random.default_rng(0).normal(size=(30, 40)).astype("f")
    function = gg.compile(lambda x: np.vdot(x, x) + np.sqrt(np.vdot(x, x + 1)))
    np.testing.assert_allclose(function(x), function._function(x), rtol=1e-6)
    if "runs in C" in function.report():
        assert " 0 NumPy steps" in function.report()


def test_turns_of_a_loop_have_their_own_times():
    """They share functions of C."""

    @gg.compile
    def turns(h, w):
        for _ in range(3):
            h = gg.tanh(h @ w)
        return h

    h = gg.ones((256, 256))
    turns(h, h / 256)
    spent = [time for _, time in times(turns.report(times=True))[1]]
    assert len(spent) >= 3
    assert min(spent) > 0


@pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler")
@pytest.mark.parametrize(
    ("dtype", "left"),
    [("float16", "exp of float16, sort of float16"), ("float32", "sort of float32")],
)
def test_what_c_does_not_compute_is_named(dtype, left):
    f = gg.compile(lambda x: (np.sort(np.exp(x)), np.exp(x)))
    f(np.ones(3, dtype))
    assert f"  left to the library: {left}\n" in f.report() + "\n"
