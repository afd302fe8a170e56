"""How far a change in place looks for others that have the memory."""

import gc
from types import SimpleNamespace

import pytest
from arrays import made

import gpugrad as gg
from gpugrad.engine import aliasing


@pytest.fixture
def looks(monkeypatch):
    """The generations of objects that were searched, and the arrays that were surveyed."""
    counts = SimpleNamespace(generations=[], surveys=0)
    own, survey = gc.get_objects, aliasing._Held.survey

    def get_objects(generation):
        counts.generations.append(generation)
        return own(generation)

    def counted(held):
        counts.surveys += 1
        return survey(held)

    monkeypatch.setattr(aliasing.gc, "get_objects", get_objects)
    monkeypatch.setattr(aliasing._Held, "survey", counted)
    return counts


@pytest.mark.parametrize("base", ["constant", "recorded"])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_change_costs_the_same_beside_few_and_many_views(base, axis, device, looks):
    x = made([1.0, 2.0], device)
    costs = []
    for count in (40, 160):
        rows = gg.zeros((count, 2), dtype="float64", device=device)
        if base == "recorded":
            rows = rows * x
        rows = rows if axis == 0 else rows.T.copy().T
        kept = []
        looks.surveys = 0
        for i in range(count):
            kept.append(rows[i])
            rows[i] += x
        costs.append(looks.surveys)
        assert kept[-1].tolist() == rows[-1].tolist() == [1, 2]
        (rows.sum() + kept[3].sum()).backward()
        assert x.grad.tolist() == [count + 1, count + 1]
        x.grad = None
    assert costs[1] < 4.5 * costs[0]


def test_old_holders_are_searched_for_once(device, looks):
    x = made([1.0, 2.0], device)
    values = [x * i for i in range(20)]
    kept = [value * value for value in values]
    gc.collect()  # now they are old
    gc.disable()
    try:
        for value in values:
            value += x
    finally:
        gc.enable()
    assert looks.generations.count(2) == 1
    assert [one.tolist() for one in kept[1:3]] == [[1, 4], [4, 16]]
    sum(kept).sum().backward()
    # What is filed lasts until the next full collection. Nobody but the next search is told of it:
    # an interrupt that arrives while the collector calls a function of Python is dropped.
    gc.collect()
    assert not [one for one in gc.callbacks if "gpugrad" in str(getattr(one, "__module__", ""))]
    h, h_kept = values[3] * 1.0, []
    h_kept.append(h * h)
    gc.collect()
    before = aliasing._filed
    h += x
    assert aliasing._filed is not before
    assert h_kept[0].tolist() == [16, 64]


def test_a_young_holder_is_found_among_the_young(device, looks):
    x = made([1.0, 2.0], device)
    h = x * 1.0
    kept = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            kept.append(h * h)
            h += x
    finally:
        gc.enable()
    assert set(looks.generations) == {0}
    assert kept[2].tolist() == [9, 36]
    sum(kept).sum().backward()
    assert x.grad.tolist() == [2 * 55, 4 * 55]
