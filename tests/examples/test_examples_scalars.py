"""examples/scalars.py and examples/chain_rule.py give the figures of their lessons."""

import math
import os
import re
import subprocess
import sys

import pytest
from repository import ROOT

EXAMPLES = ROOT / "examples"


def table(text, title):
    """The rows of the table under a title: name -> what stands behind it."""
    lines = text[text.index(f"\n{title}\n") :].splitlines()[2:]
    rows = {}
    for line in lines:
        if not line.startswith("  "):
            break
        name, _, rest = line.strip().partition("  ")
        rows.setdefault(name, []).append(rest.split())
    return {name: found[0] if len(found) == 1 else found for name, found in rows.items()}


def gradients(text, title):
    """Value and gradient of each node of a table of scalars.py; none had one before the pass."""
    rows = {name: row for name, row in table(text, title).items() if name != "value"}
    assert {row[1] for row in rows.values()} == {"none"}
    return {name: (float(row[0]), float(row[2])) for name, row in rows.items()}


NEURON = {
    "x1": (2, -1.5),
    "x2": (0, 0.5),
    "w1": (-3, 1.0),
    "w2": (1, 0.0),
    "b": (6.8813735870195432, 0.5),
    "x1w1": (-6, 0.5),
    "x2w2": (0, 0.5),
    "n": (0.8813735870195432, 0.5),
    "o": (0.7071067811865476, 1),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_values_and_gradients_of_scalars(example, capsys, device, dtype):
    example("scalars").main(["--device", str(device), "--dtype", dtype])
    text = capsys.readouterr().out
    assert text.startswith(f"scalars in {dtype} on {device}\n")
    near = 1e-11 if dtype == "float64" else 5e-6

    def close(found, expected):
        assert found.keys() == expected.keys()
        for name, pair in expected.items():
            assert found[name] == pytest.approx(pair, rel=near, abs=near), name

    close(gradients(text, "c = a + b"), {"a": (-4, 1), "b": (2, 1), "c": (-2, 1)})
    close(
        gradients(text, "e = a*b; d = e + c; L = d*f"),
        {
            "a": (2, 6), "b": (-3, -4), "c": (10, -2), "f": (-2, 4),
            "e": (-6, -2), "d": (4, -2), "L": (-8, 1),
        },
    )  # fmt: skip
    close(gradients(text, "a neuron: o = tanh(x1*w1 + x2*w2 + b)"), NEURON)
    close(gradients(text, "the same with e = exp(2*n); o = (e - 1)/(e + 1)"), NEURON)


EXPECTED = {  # at, value, derivative
    "a + 2": (-4, -2, 1),
    "2 + a": (-4, -2, 1),
    "a - 2.5": (-4, -6.5, 1),
    "2.5 - a": (-4, 6.5, -1),
    "a * 3": (-4, -12, 3),
    "3 * a": (-4, -12, 3),
    "a / 4": (-4, -1, 0.25),
    "4 / a": (-4, -1, -0.25),
    "-a": (-4, 4, -1),
    "a ** 3": (-4, -64, 48),
    "a ** -2": (-4, 0.0625, 0.03125),
    "a ** 0.5": (4, 2, 0.25),
    "2 ** a": (4, 16, 16 * math.log(2)),
    "relu(a)": [(4, 4, 1), (-4, 0, 0)],
    "tanh(a)": [(0.5, math.tanh(0.5), 1 - math.tanh(0.5) ** 2), (1000, 1, 0)],
    "a + a": (3, 6, 2),
    "3*a**2 - 4*a + 5": (-3, 44, -22),
    "2 * -3 + a": (10, 4, 1),
}


# Numeric derivatives are printed with six digits, in float32 the others too.
@pytest.mark.parametrize(
    ("dtype", "exact", "numeric"), [("float64", 1e-11, 5e-6), ("float32", 5e-6, 1e-4)]
)
def test_exact_and_numeric_derivatives(example, capsys, device, dtype, exact, numeric):
    example("scalars").main(["--device", str(device), "--dtype", dtype])
    rows = table(capsys.readouterr().out, "exact and numeric derivatives")
    assert rows.pop("a") == ["value", "exact", "numeric"]
    assert rows.keys() == EXPECTED.keys()
    for name, expected in EXPECTED.items():
        found = rows[name] if isinstance(expected, list) else [rows[name]]
        for row, (at, value, slope) in zip(found, expected if len(found) > 1 else [expected]):
            numbers = [float(number) for number in row]
            assert numbers[:3] == pytest.approx([at, value, slope], rel=exact, abs=exact), name
            assert numbers[3] == pytest.approx(slope, rel=numeric, abs=numeric), name


def test_the_neuron_is_drawn(example, capsys, tmp_path):
    path = tmp_path / "neuron.dot"
    example("scalars").main(["--plot", str(path)])
    assert f"drawing of the neuron: {path}" in capsys.readouterr().out
    source = path.read_text(encoding="utf-8")
    assert 'label="x1 | 2 | grad = -1.5"' in source
    assert 'label="o | 0.7071 | ∂o/∂o = 1"' in source
    assert 'label="tanh"' in source


def test_values_and_derivatives_of_the_chain_rule(example, capsys, device):
    example("chain_rule").main(["--device", str(device), "--epochs", "1"])
    text = capsys.readouterr().out
    values = {name: float(row[-1]) for name, row in table(text, "forward").items()}
    assert values == pytest.approx(
        {
            "x": 3,
            "k": 0.35915077292816744,
            "b": 0.3737660632429008,
            "y": 0.6087876106387002,
            "linear": 1.4512183820274032,
            "sigmoid": 0.8101858733432837,
            "loss": 0.04056126022042443,
        },
        rel=1e-11,
    )
    assert [
        line.strip() for line in text[text.index("in symbols") :].splitlines()[1:7]
    ] == [
        "∂loss/∂y",
        "∂loss/∂sigmoid",
        "∂loss/∂linear   = ∂loss/∂sigmoid · ∂sigmoid/∂linear",
        "∂loss/∂x        = ∂loss/∂sigmoid · ∂sigmoid/∂linear · ∂linear/∂x",
        "∂loss/∂k        = ∂loss/∂sigmoid · ∂sigmoid/∂linear · ∂linear/∂k",
        "∂loss/∂b        = ∂loss/∂sigmoid · ∂sigmoid/∂linear · ∂linear/∂b",
    ]  # fmt: skip
    found = {name: float(row[-1]) for name, row in table(text, "backward, in numbers").items()}
    assert found == pytest.approx(
        {
            "∂loss/∂y": -0.402796525409167,
            "∂loss/∂sigmoid": 0.402796525409167,
            "∂loss/∂linear": 0.06194395247945269,
            "∂loss/∂x": 0.02224721841122111,
            "∂loss/∂k": 0.18583185743835806,
            "∂loss/∂b": 0.06194395247945269,
        },
        rel=1e-11,
    )
    assert (
        "∂loss/∂k = ∂loss/∂sigmoid · ∂sigmoid/∂linear · ∂linear/∂k = 0.4028 · 0.1538 · 3 = 0.1858"
        in text
    )


def final_loss(text):
    return float(re.search(r"^final loss: (.*)$", text, re.M)[1])


def test_training_drives_the_loss_to_its_minimum(example, capsys, device):
    example("chain_rule").main(["--device", str(device)])
    text = capsys.readouterr().out
    assert final_loss(text) < 1e-20
    assert "sigmoid 0.608788, wanted 0.608788" in text


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "adamw"])
def test_training_with_other_optimizers(example, capsys, optimizer):
    example("chain_rule").main(["--optimizer", optimizer, "--dtype", "float32"])
    assert final_loss(capsys.readouterr().out) < 1e-4


def test_a_training_that_is_resumed_ends_where_one_run_does(example, capsys, tmp_path):
    main = example("chain_rule").main
    saved = str(tmp_path / "state")
    flags = ["--optimizer", "momentum"]
    main([*flags, "--epochs", "12"])
    whole = capsys.readouterr().out
    main([*flags, "--epochs", "7", "--save", saved])
    main([*flags, "--epochs", "5", "--resume", saved, "--plot", str(tmp_path / "loss.png")])
    resumed = capsys.readouterr().out
    assert resumed.splitlines()[-2] == whole.splitlines()[-1]
    assert "epoch 12" in resumed
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("script", "flags", "sentence"),
    [
        ("scalars.py", ["--plot", "neuron"], "'neuron' has no suffix"),
        ("scalars.py", ["--plot", "no/such/neuron.dot"], "there is no folder 'no/such'"),
        (
            "scalars.py",
            ["--plot", "neuron.png"],
            "error: draw: a picture of format 'png' needs the",
        ),
        ("scalars.py", ["--device", "gpu"], "gpu"),
        ("chain_rule.py", ["--epochs", "0"], "expected a whole number from 1, got '0'"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path, script, flags, sentence):
    environment = {**os.environ, "PATH": str(tmp_path), "PYTHONIOENCODING": "utf-8"}
    environment["PYTHONPATH"] = str(EXAMPLES.parent)
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *flags],
        capture_output=True,
        encoding="utf-8",
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
