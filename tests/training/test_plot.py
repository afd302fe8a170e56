"""The pictures of gg.plot: the data that they draw, from tensors on any device, and bad input."""

import json
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

import gpugrad as gg

HISTORY = [
    {"epoch": 1, "step": 5, "loss": 2.0, "val_loss": 3.0, "accuracy": 0.5},
    {"epoch": 2, "step": 10, "loss": 0.1, "accuracy": 0.75},
    {"epoch": 3, "step": 15, "loss": 0.05, "val_loss": 0.2, "accuracy": 1.0},
]


@pytest.fixture
def ax():
    return Figure().subplots()


def drawn(ax):
    """Label -> (x, y) of the lines."""
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines}


def test_curves_of_a_history_a_trainer_and_its_file(ax, tmp_path):
    assert gg.plot.curves(HISTORY, ax=ax) is ax
    assert drawn(ax) == {
        "training": ([1, 2, 3], [2.0, 0.1, 0.05]),
        "validation": ([1, 3], [3.0, 0.2]),
    }
    assert ax.get_yscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")

    model = gg.nn.Linear(1, 1)
    optimizer = gg.optim.SGD(model.parameters(), lr=0.1)
    log = tmp_path / "log.jsonl"
    trainer = gg.Trainer(model, optimizer, gg.nn.MSELoss(), progress=None, log=log)
    data = gg.data.DataLoader((np.ones((4, 1), "float32"), np.ones((4, 1), "float32")), 2)
    trainer.fit(data, data, epochs=2)
    with log.open("a") as file:  # a resumed training writes an epoch again
        file.write(json.dumps({**trainer.history[-1], "loss": 0.5, "r2": None}) + "\n")
    panels = Figure().subplots(1, 2)
    of_trainer = drawn(gg.plot.curves(trainer, ax=panels[0]))
    of_file = drawn(gg.plot.curves(log, ax=panels[1]))
    assert of_trainer["training"] == ([1, 2], [record["loss"] for record in trainer.history])
    assert of_file["training"] == ([1, 2], [trainer.history[0]["loss"], 0.5])
    assert of_file["validation"] == of_trainer["validation"]
    assert np.isnan(drawn(gg.plot.curves(log, "r2", ax=ax))["training"][1]).all()


def test_curves_of_a_metric_and_by_name(ax, device):
    assert drawn(gg.plot.curves(HISTORY, "accuracy", ax=ax)) == {
        "training": ([1, 2, 3], [0.5, 0.75, 1.0])
    }
    assert ax.get_yscale() == "linear"
    ax = Figure().subplots()
    losses = [gg.tensor(100.0, device=device), gg.tensor(0.5, device=device)]
    gg.plot.curves({"a": losses, "b": [50.0, 5.0, float("nan")]}, ax=ax)
    assert drawn(ax)["a"] == ([1, 2], [100.0, 0.5])
    assert ax.get_yscale() == "log"


def test_a_loss_that_reaches_zero_ends_with_a_note(ax):
    gg.plot.curves({"a": [1.0, 0.0625, 0.0, 0.0], "b": [1.0, 0.0, 0.5, 0.1]}, ax=ax)
    assert ax.get_yscale() == "log"
    assert [(note.get_text(), note.xy) for note in ax.texts] == [("0 from epoch 3 on", (2, 0.0625))]
    ax = Figure().subplots()
    gg.plot.curves({"a": [0.0, 0.0], "b": [1.0, 0.5]}, ax=ax)
    assert ax.get_yscale() == "linear"
    assert not ax.texts


def test_confusion_matrix(ax, device):
    scores = gg.tensor([[2.0, 1, 0], [0, 1, 0], [0, 3, 1], [0, 0, 1]], device=device)
    truth = gg.asarray([0, 1, 2, 2], device=device)
    expected = [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    for prediction, panel in zip((scores, scores.argmax(axis=1)), Figure().subplots(1, 2)):
        gg.plot.confusion_matrix(prediction, truth, labels=["a", "b", "c"], ax=panel)
        found = np.zeros((3, 3), int)
        for text in panel.texts:
            column, row = text.get_position()
            found[row, column] = int(text.get_text())
        assert found.tolist() == expected
        np.testing.assert_allclose(
            panel.images[0].get_array(), np.sqrt([[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5]])
        )
        assert panel.get_title() == "accuracy 75.0%"
        assert [label.get_text() for label in panel.get_xticklabels()] == ["a", "b", "c"]
    gg.plot.confusion_matrix([0.3, -1.0, 0.7], [1, 0, 0], threshold=0.5, ax=ax)
    assert [text.get_text() for text in ax.texts] == ["1", "1", "1"]
    assert ax.get_title() == "accuracy 33.3%"


def test_predictions(ax, device):
    prediction = gg.tensor([[1.0], [2.5], [3.0]], device=device, requires_grad=True)
    gg.plot.predictions(prediction, [1.0, 2.0, 3.0], ax=ax)
    assert drawn(ax) == {
        "samples": ([1.0, 2.0, 3.0], [1.0, 2.5, 3.0]),
        "equal": ([1.0, 3.0], [1.0, 3.0]),
    }
    assert ax.get_title() == "R² = 0.875"
    ax = Figure().subplots()
    gg.plot.predictions(np.ones((3, 2)), np.arange(6.0).reshape(3, 2), ax=ax)
    assert drawn(ax)["output 1"] == ([1.0, 3.0, 5.0], [1.0, 1.0, 1.0])


def ridges(ax):
    """Label -> (heights of the bins, their edges, the baseline)."""
    return {patch.get_label(): patch.get_data() for patch in ax.patches}


def test_histograms_of_weights_and_gradients(device):
    model = gg.nn.Sequential(gg.nn.Linear(2, 3), gg.nn.Linear(3, 1)).to(device)
    with gg.no_grad():
        model[0].weight[...] = gg.tensor([[-1.0, 0.0], [0.0, 0.0], [1.0, np.inf]], device=device)
    left, right = Figure().subplots(1, 2)
    gg.plot.weights(model, ax=left)
    values, edges, baseline = ridges(left)["0.weight"]
    counts = np.round((values - baseline) / 0.85 * 3)  # three zeros are the tallest bin
    np.testing.assert_array_equal(counts, np.histogram([-1.0, 0, 0, 0, 1.0], edges)[0])
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert labels[0] == "0.weight  (3, 2), 1 not finite"
    assert labels[1:] == ["0.bias  (3,)", "1.weight  (1, 3)", "1.bias  (1,)"]
    assert ridges(left)["1.bias"][2] == -3.0  # the fourth row

    model[0].weight.grad = gg.tensor([[0.0, 1e-6], [0.0, -2e-2], [1.0, 0.0]], device=device)
    gg.plot.gradients(model, ax=right)
    labels = [label.get_text() for label in right.get_yticklabels()]
    assert labels[:2] == ["0.weight  (3, 2), 50% zero", "0.bias  no gradient"]
    values, edges, baseline = ridges(right)["0.weight"]
    np.testing.assert_array_equal((values > baseline).nonzero()[0], [0, 43, 59])
    np.testing.assert_allclose([edges[0], edges[-1]], [1e-6, 1.0])
    gg.plot.gradients({"zeros": np.zeros(3)}, ax=Figure().subplots())


def test_a_new_figure_is_made_by_pyplot():
    import matplotlib.pyplot as plt

    ax = gg.plot.curves(HISTORY)
    assert plt.gcf() is ax.figure
    plt.close(ax.figure)


def test_without_matplotlib_there_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match='pip install "matplotlib>=3.8"'):
        gg.plot.curves(HISTORY)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gg.plot.curves(HISTORY, "f1"), "has no 'f1'; it has accuracy, epoch, loss"),
        (lambda: gg.plot.curves([]), "it has no epoch"),
        (lambda: gg.plot.curves([{"epoch": 1, "loss": [1]}]), "'loss' is no number but list"),
        (lambda: gg.plot.curves(__file__), "line 1 of .* is no entry of a history"),
        (lambda: gg.plot.curves(HISTORY, ax=3), "ax must be an Axes of matplotlib, got int"),
        (lambda: gg.plot.confusion_matrix([0, 1], [0, 1, 2]), "a class number for each"),
        (lambda: gg.plot.confusion_matrix([0, -1], [0, 1]), "begin at 0, got -1"),
        (lambda: gg.plot.confusion_matrix([0, 1], [0, 1], labels="abc"), "each of 2 classes"),
        (lambda: gg.plot.predictions([1.0], [1.0, 2.0]), r"\(1,\) and \(2,\)"),
        (lambda: gg.plot.predictions(np.ones((2, 3)), np.ones((3, 2))), r"\(2, 3\) and \(3, 2\)"),
        (lambda: gg.plot.predictions([], []), r"\(0,\) and \(0,\)"),
        (lambda: gg.plot.weights(3), "expected a Module or a dict of arrays, got int"),
        (lambda: gg.plot.weights(gg.nn.ReLU()), "has no parameters"),
        (lambda: gg.plot.gradients(gg.nn.Linear(1, 1)), r"call loss.backward\(\) before"),
    ],
)
def test_bad_input_gets_a_sentence(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()
