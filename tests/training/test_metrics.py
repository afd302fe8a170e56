"""Metrics are scikit-learn's, in batches, on every device."""

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import metrics as m

sklearn = pytest.importorskip("sklearn.metrics")

N = 60


def scores_and_classes(classes):
    rng = np.random.default_rng(classes)
    scores = rng.normal(size=(N, classes)).round(1)  # ties among them
    return scores if classes > 2 else scores[:, 0], rng.integers(0, classes, N)


def in_batches(metric, prediction, target, device):
    for rows in (slice(0, 25), slice(25, 26), slice(26, None)):
        metric.update(
            gg.tensor(prediction[rows], device=device), gg.tensor(target[rows], device=device)
        )
    return metric.compute()


def predicted(scores):
    return scores.argmax(1) if scores.ndim > 1 else (scores > 0).astype(int)


@pytest.mark.parametrize("classes", [2, 4])
def test_counts_are_sklearns(classes, device):
    scores, target = scores_and_classes(classes)
    expected = sklearn.confusion_matrix(target, predicted(scores))
    np.testing.assert_array_equal(in_batches(m.ConfusionMatrix(), scores, target, device), expected)
    accuracy = in_batches(m.Accuracy(), scores, target, device)
    assert accuracy == pytest.approx(sklearn.accuracy_score(target, predicted(scores)))


@pytest.mark.parametrize("average", ["binary", "macro", "micro", "weighted"])
@pytest.mark.parametrize("classes", [2, 4])
def test_f1_is_sklearns(classes, average, device):
    scores, target = scores_and_classes(classes)
    metric = m.F1(average)
    if average == "binary" and classes > 2:
        with pytest.raises(gg.ArgumentError, match="two classes"):
            in_batches(metric, scores, target, device)
        return
    expected = sklearn.f1_score(target, predicted(scores), average=average)
    assert in_batches(metric, scores, target, device) == pytest.approx(expected)


def test_f1_counts_the_classes_that_occur():
    scores, target = np.eye(4)[[0, 1, 1]], np.array([0, 1, 0])
    expected = sklearn.f1_score(target, [0, 1, 1], average="macro")
    assert m.f1(scores, target) == pytest.approx(expected)


@pytest.mark.parametrize("outputs", [1, 3])
def test_r2_is_sklearns(outputs, device):
    rng = np.random.default_rng(0)
    target = rng.normal(size=(N, outputs)) + 1e4
    prediction = target + rng.normal(size=(N, outputs))
    found = in_batches(m.R2(), prediction, target, device)
    assert found == pytest.approx(sklearn.r2_score(target, prediction), rel=1e-6)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("off", [0.0, 1.0])
def test_r2_of_equal_targets_is_sklearns(outputs, off, device):
    target = np.full((6, outputs), 5.0)
    target[:, 1:] = np.arange(6.0)[:, None]
    found = in_batches(m.R2(), target + off, target, device)
    assert found == pytest.approx(sklearn.r2_score(target, target + off))


def test_what_sklearn_refuses_is_nan():
    assert np.isnan(m.auc([0.2, 0.5], [1, 1]))
    assert np.isnan(m.auc([0.5, np.nan, 0.3], [1, 0, 0]))
    assert np.isnan(m.r2([1.0, np.nan, 0.3], [1.0, 0.0, 0.0]))
    assert np.isnan(m.f1([-1.0, -1.0], [0, 0], average="binary"))


def test_few_samples_with_ties_are_sklearns():
    rng = np.random.default_rng(0)
    for n in range(2, 40):
        scores, target = rng.integers(0, 4, n).astype(float), np.arange(n) % 2
        assert m.auc(scores, target) == pytest.approx(sklearn.roc_auc_score(target, scores))
        several, target = rng.normal(size=(n, 5)), rng.integers(0, 5, n)
        for average in ("macro", "weighted", "micro"):
            expected = sklearn.f1_score(target, several.argmax(axis=1), average=average)
            assert m.f1(several, target, average) == pytest.approx(expected)


@pytest.mark.parametrize("classes", [2, 4])
def test_auc_is_sklearns(classes, device):
    scores, target = scores_and_classes(classes)
    if classes == 2:
        expected = sklearn.roc_auc_score(target, scores)
    else:
        each = [sklearn.roc_auc_score(target == c, scores[:, c]) for c in range(classes)]
        expected = np.mean(each)
    assert in_batches(m.AUC(), scores, target, device) == pytest.approx(expected)


def test_no_batches_have_no_value_and_a_state_goes_on(tmp_path):
    for metric in (m.Accuracy(), m.F1(), m.R2(), m.AUC()):
        assert np.isnan(metric.compute())
        metric.update(np.zeros((0, 1)), np.zeros((0, 1)))
        scores, target = scores_and_classes(2)
        metric.update(scores[:30], target[:30])
        gg.save(metric.state_dict(), tmp_path / "state")
        other = type(metric)()
        other.load_state_dict(gg.load(tmp_path / "state"))
        for one in (metric, other):
            one.update(scores[30:], target[30:])
        assert other.compute() == metric.compute()
        other.reset()
        assert np.isnan(other.compute())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: m.accuracy([1.0, 2.0], [1]), "one target for each"),
        (lambda: m.accuracy(np.ones((2, 3)), np.ones((2, 2))), "class numbers"),
        (lambda: m.r2(np.ones((2, 3)), np.ones((2, 2))), "one shape"),
        (lambda: m.F1("all"), "average must be"),
        (lambda: m.R2().load_state_dict({}), "load_state_dict"),
    ],
)
def test_bad_input_gets_a_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
