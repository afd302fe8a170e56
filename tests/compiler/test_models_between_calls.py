"""Models that change between the calls of a compiled function."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from twins import seen

import gpugrad as gg
from gpugrad import nn
from gpugrad.nn.settings import settings_of


class Scaled(nn.Module):
    """A user's own, with settings of several kinds."""

    def __init__(self):
        self.layer = nn.Linear(3, 3)
        self.factor, self.power, self.kind = 2.0, 2, "tanh"
        self.steps, self.options = [1.0, 2.0], {"shift": 1.0}
        self.function = gg.sin
        self.table = gg.ones(3).numpy()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        x = self.function(self.layer(x)) * self.factor**self.power * self.steps[-1]
        x = gg.tanh(x) if self.kind == "tanh" else x
        return x + self.options["shift"] + self.table


class Lists(nn.Module):
    def __init__(self):
        self.listed = nn.ModuleList([nn.Linear(3, 3), nn.Tanh()])
        self.named = nn.ModuleDict({"a": nn.Linear(3, 3)})

    def forward(self, x):
        for layer in (*self.listed, *self.named.values()):
            x = layer(x)
        return x


def _plain():
    return nn.Sequential(
        nn.Linear(3, 3), nn.LeakyReLU(0.1), nn.BatchNorm1d(3), nn.Dropout(0.0), nn.LayerNorm(3)
    )


def _set(model, name, value):
    setattr(model, name, value)


MODELS = {"plain": _plain, "own": Scaled, "lists": Lists}
CHANGES = {
    "negative_slope": ("plain", lambda m: _set(m[1], "negative_slope", 0.5)),
    "momentum": ("plain", lambda m: _set(m[2], "momentum", 0.5)),
    "eps of a batch": ("plain", lambda m: _set(m[2], "eps", 0.5)),
    "p": ("plain", lambda m: _set(m[3], "p", 0.5)),
    "eps": ("plain", lambda m: _set(m[4], "eps", 0.5)),
    "eval": ("plain", lambda m: m.eval()),
    "append": ("plain", lambda m: m.append(nn.Tanh())),
    "extend": ("plain", lambda m: m.extend([nn.Tanh(), gg.sin])),
    "insert": ("plain", lambda m: m.insert(0, nn.Tanh())),
    "pop": ("plain", lambda m: m.pop()),
    "del": ("plain", lambda m: m.__delitem__(1)),
    "layer": ("plain", lambda m: m.__setitem__(0, nn.Linear(3, 3, bias=False))),
    "weight": ("plain", lambda m: _set(m[0], "weight", nn.Parameter(m[0].weight.detach() * 2))),
    "no bias": ("plain", lambda m: _set(m[0], "bias", None)),
    "buffer": ("plain", lambda m: _set(m.eval()[2], "running_mean", gg.ones(3))),
    "forward": ("plain", lambda m: _set(m[0], "forward", lambda x: x * 2)),
    "factor": ("own", lambda m: _set(m, "factor", 3.0)),
    "sign of zero": ("own", lambda m: (_set(m, "factor", 0.0), _set(m, "factor", -0.0))),
    "power": ("own", lambda m: _set(m, "power", 2.5)),
    "kind": ("own", lambda m: _set(m, "kind", "none")),
    "steps": ("own", lambda m: _set(m, "steps", [1.0, 2.0, 3.0])),
    "options": ("own", lambda m: _set(m, "options", {"shift": 2.0})),
    "function": ("own", lambda m: _set(m, "function", gg.cos)),
    "table": ("own", lambda m: _set(m, "table", m.table * 2)),
    "another layer": ("own", lambda m: _set(m, "layer", nn.Linear(3, 3))),
    "del and set": ("own", lambda m: (delattr(m, "layer"), _set(m, "layer", nn.Linear(3, 3)))),
    "of a list": ("lists", lambda m: m.listed.__setitem__(0, nn.Linear(3, 3))),
    "list append": ("lists", lambda m: m.listed.append(nn.Tanh())),
    "list extend": ("lists", lambda m: m.listed.extend([nn.Tanh()])),
    "list insert": ("lists", lambda m: m.listed.insert(0, nn.Tanh())),
    "list pop": ("lists", lambda m: m.listed.pop()),
    "list del": ("lists", lambda m: m.listed.__delitem__(0)),
    "of a dict": ("lists", lambda m: m.named.__setitem__("a", nn.Tanh())),
    "new key": ("lists", lambda m: m.named.__setitem__("b", nn.Tanh())),
    "dict update": ("lists", lambda m: m.named.update({"a": nn.Linear(3, 3)})),
    "dict pop": ("lists", lambda m: m.named.pop("a")),
    "dict del": ("lists", lambda m: m.named.__delitem__("a")),
    "dict clear": ("lists", lambda m: m.named.clear()),
}


@pytest.mark.usefixtures("by_each")
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen(name, backward):
    """What was in the place is kept elsewhere, so that it is not missed."""
    made, change = CHANGES[name]

    def results(compile):
        gg.manual_seed(0)
        model = MODELS[made]()
        kept = [*model.modules()], [*model.parameters()]

        def step(x):
            y = model(x)
            if backward:
                for p in model.parameters():
                    p.grad = None
                (y**3).sum().backward()
            return y.detach()

        f, found = compile(step), []
        for turn in range(6):
            if turn == 3:
                change(model)
            found.append(f(gg.random.normal(size=(4, 3))))
            found += [p.grad for p in model.parameters() if p.grad is not None]
        assert kept
        return found, getattr(f, "_count", None)

    expected, _ = results(lambda f: f)
    got, programs = results(gg.compile)
    for one, other in zip(expected, got, strict=True):
        np.testing.assert_allclose(other.numpy(), one.numpy(), rtol=1e-3, atol=1e-4)
    assert programs == 2


def test_what_is_as_before_has_the_program_of_before():
    model = _plain()
    f = gg.compile(model)
    x = gg.ones((4, 3))
    for _ in range(3):
        for slope in (0.1, 0.2):
            model[1].negative_slope = slope
            model.eval()
            f(x)
            model.train()
            f(x)
    assert f._count == 4


def test_what_a_model_sets_itself_is_no_change():
    """It counts its calls, of which a program makes none."""
    model = Scaled()
    f = gg.compile(model)
    for rows in (1, 2, 1, 2, 1):
        f(gg.ones((rows, 3)))
    assert f._count == model.calls == 2


def test_the_mode_that_a_function_leaves_is_the_next_one():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))

    def train_once(x):
        y = model(x).detach()
        model.eval()
        return y

    expected = model.eval()(gg.ones((4, 3))).detach()
    model.train()
    f = gg.compile(train_once)
    f(gg.ones((4, 3)))
    assert seen(f(gg.ones((4, 3)))) == seen(expected)


def test_settings_keep_no_part_of_a_model_and_are_not_copied():
    model = Scaled()
    before = settings_of(model)
    f = gg.compile(model)
    f(gg.ones((1, 3)))
    assert settings_of(copy.deepcopy(model)) is not before
    clone = pickle.loads(pickle.dumps(nn.Sequential(nn.Tanh())))
    assert settings_of(clone[0]) is settings_of(nn.Tanh())
    layer = weakref.ref(model.layer)
    model.layer = nn.Linear(3, 3)
    gc.collect()
    assert layer() is None


def test_equal_settings_are_equal_when_they_are_not_one_object(monkeypatch):
    monkeypatch.setattr("gpugrad.nn.settings._MOST", 0)
    model = _plain()
    f = gg.compile(model)
    for slope in (0.1, 0.2, 0.1, 0.2):
        model[1].negative_slope = slope
        f(gg.ones((4, 3)))
    assert f._count == 2
