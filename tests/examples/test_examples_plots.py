"""The pictures of the examples that compute something else than a training."""

import pytest

pytest.importorskip("matplotlib")


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("heat", ["--points", "9", "--steps", "20"]),
        ("gaussian_process", ["--size", "12", "--steps", "3"]),
        ("deconvolution", ["--size", "8", "--steps", "2"]),
        ("custom_op", []),
    ],
)
def test_a_picture_of_the_result(example, capsys, tmp_path, name, flags):
    if name == "custom_op":
        pytest.importorskip("scipy")
    path = tmp_path / "picture.png"
    example(name).main([*flags, "--device", "sim", "--plot", str(path)])
    assert path.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.rstrip().endswith(f": {path}")


def test_the_picture_of_the_regression_counts_epochs_as_its_lines_do(
    example, capsys, monkeypatch, tmp_path
):
    drawn = []
    monkeypatch.setattr(example("common"), "plot_losses", lambda *args: drawn.append(args[1]))
    example("regression").main(["--epochs", "3", "--plot", str(tmp_path / "loss.png")])
    assert "epoch 0" in capsys.readouterr().out
    assert [record["epoch"] for record in drawn[0]] == [0, 1, 2]
