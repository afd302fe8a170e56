"""Estimators: scikit-learn's own checks, and what its users do with them."""

import numpy as np
import pytest

import gpugrad as gg

checks = pytest.importorskip("sklearn.utils.estimator_checks")

ESTIMATORS = [
    gg.sklearn.MLPClassifier((16,), learning_rate_init=0.05, max_iter=30),
    gg.sklearn.MLPRegressor((16,), learning_rate_init=0.05, max_iter=30),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_scikit_learns_checks(estimator):
    results = checks.check_estimator(estimator, on_fail=None, on_skip=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed
    assert sum(r["status"] == "passed" for r in results) > 40


def test_they_search_and_stack_as_others_do(device):
    from sklearn.model_selection import GridSearchCV

    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3)).astype("float32")
    y = np.where(X[:, 0] * X[:, 1] > 0, "same", "other")
    model = gg.sklearn.MLPClassifier((16,), random_state=0, learning_rate_init=0.02, device=device)
    search = GridSearchCV(model, {"alpha": [1e-4, 1e-1]}, cv=2).fit(X, y)
    assert search.score(X, y) > 0.85
    best = search.best_estimator_
    assert {p.device for p in best.model_.parameters()} == {device}
    assert {p.dtype for p in best.model_.parameters()} == {np.dtype("float32")}
    again = gg.sklearn.MLPClassifier(**best.get_params()).fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), best.predict_proba(X))


def test_early_stopping_and_several_outputs():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2))
    y = np.stack([X[:, 0] + X[:, 1], X[:, 0] * X[:, 1]], axis=1)
    model = gg.sklearn.MLPRegressor(
        (32,), random_state=0, learning_rate_init=0.02, early_stopping=True, batch_size=20
    ).fit(X, y)
    assert model.predict(X).shape == (100, 2)
    assert model.score(X, y) > 0.8
    assert len(model.loss_curve_) == model.n_iter_ <= 200
    with pytest.raises(ValueError, match="max_iter"):
        gg.sklearn.MLPRegressor(max_iter=0).fit(X, y)
