"""gg.random: Tensors, devices, the state of generators, threads, and refused arguments."""

import copy
import math
import pickle
import threading

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import random
from gpugrad.backend.device import device as within
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.random import Generator
from gpugrad.tensor import Tensor

# ---------------------------------------------------------------- tensors


@pytest.mark.parametrize("size", [None, (), 3, (3,), [2, 2], (2, 0), np.int64(4), (np.int32(2), 3)])
def test_sizes(size):
    shape = Generator(1).uniform(size=size).shape
    assert shape == np.empty(() if size is None else size).shape


def test_results_are_leaves_and_may_require_gradients():
    for x in (Generator(1).uniform(size=3), Generator(1).normal(size=3)):
        assert isinstance(x, Tensor)
        assert not x.requires_grad
    for draw_one in (random.uniform, random.normal):
        x = draw_one(size=3, requires_grad=True)
        assert x.requires_grad
        assert x.is_leaf


def test_the_device_of_a_draw():
    with within("sim"):
        assert str(Generator(1).uniform(size=2).device) == "sim:0"
        assert str(Generator(1, "cpu").uniform(size=2).device) == "cpu"
        assert str(Generator(1, "cpu").bits(2, device="sim:1").device) == "sim:1"
    assert Generator(1, "sim:1").device == "sim:1"
    assert str(Generator(1, "sim:1").permutation(4).device) == "sim:1"
    assert Generator(1).device is None


# ---------------------------------------------------------------- state


def test_state_is_saved_and_restored():
    g = Generator(21)
    g.uniform(size=5)
    g.split()
    state, saved = g.get_state(), g.state_dict()
    assert state == (21, 2, 1)
    assert saved == {"seed": 21, "counter": 2, "children": 1}
    ahead = g.normal(size=9).numpy(), g.split().seed
    other = Generator(0)
    other.load_state_dict(saved)
    assert np.array_equal(other.normal(size=9).numpy(), ahead[0])
    assert other.split().seed == ahead[1]
    g.set_state(state)
    assert np.array_equal(g.normal(size=9).numpy(), ahead[0])
    g.load_state_dict({name: np.array(value) for name, value in saved.items()})
    assert g.get_state() == state
    assert all(type(value) is int for value in g.get_state())


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))]
)
def test_copies_go_their_own_way(duplicate):
    g = Generator(21, "sim")
    g.bits(9)
    twin = duplicate(g)
    assert twin.get_state() == g.get_state()
    assert twin.device == "sim"
    assert np.array_equal(twin.bits(8).numpy(), g.bits(8).numpy())
    twin.bits(8)
    assert twin.counter == g.counter + 2


def test_advance_skips_what_draws_would_take():
    a, b = Generator(22), Generator(22)
    a.uniform(size=400)
    b.advance(100)
    assert np.array_equal(a.bits(4).numpy(), b.bits(4).numpy())
    b.advance(2**64 - 102)
    b.set_state(b.get_state())
    with pytest.raises(ValueError, match=r"0 of its 2\*\*64 blocks left, 1 were requested"):
        b.bits(1)


N = 1 << 15


def test_children_are_reproducible_and_apart():
    g = Generator(23)
    children = g.spawn(3)
    assert [child.seed for child in Generator(23).spawn(3)] == [child.seed for child in children]
    later = [*g.spawn(2), g.split()]
    seeds = {g.seed, *(child.seed for child in children + later)}
    assert len(seeds) == 7
    assert g.counter == 0
    draws = np.stack([child.uniform(size=N).numpy() for child in children + later])
    apart = np.corrcoef(draws) - np.eye(6)
    assert np.abs(apart).max() < 5 / math.sqrt(N)
    assert Generator(1, "sim").split().device == "sim"
    assert g.spawn(0) == []


def test_seeds_from_the_system_differ():
    assert Generator().seed != Generator().seed


def test_public_names():
    assert gg.random is random
    assert gg.manual_seed is random.manual_seed
    assert all(hasattr(random, name) for name in random.__all__)


def test_manual_seed_repeats():
    random.manual_seed(5)
    first = random.uniform(size=4).numpy(), random.permutation(9).numpy()
    g = random.manual_seed(5)
    assert g is random.default_generator()
    assert np.array_equal(random.uniform(size=4).numpy(), first[0])
    assert np.array_equal(random.permutation(9).numpy(), first[1])
    state = random.get_state()
    again = random.bits(3).numpy()
    random.set_state(state)
    assert np.array_equal(random.bits(3).numpy(), again)


def test_functions_draw_as_the_methods_do():
    random.manual_seed(5)
    state = random.get_state()
    pairs = [
        (lambda m, **k: m.bits(5, **k)),
        (lambda m, **k: m.uniform(1, 2, 5, dtype="float64", **k)),
        (lambda m, **k: m.normal(1, 2, 5, dtype="float64", **k)),
        (lambda m, **k: m.integers(1, 20, 5, dtype="int16", **k)),
        (lambda m, **k: m.bernoulli(0.4, 5, dtype="int8", **k)),
        (lambda m, **k: m.permutation(5, **k)),
    ]
    for call in pairs:
        expected = call(Generator(5))
        given = call(random, generator=Generator(5), device="sim")
        assert str(given.device) == "sim:0"
        assert given.dtype == expected.dtype
        assert np.array_equal(given.numpy(), expected.numpy())
        assert random.get_state() == state
        assert np.array_equal(call(random).numpy(), expected.numpy())
        random.set_state(state)


def test_threads_share_the_default_generator_without_repeats():
    random.manual_seed(31)
    drawn: list[np.ndarray] = []
    start = threading.Barrier(4)

    def work():
        start.wait()
        drawn.extend(random.bits(8).numpy() for _ in range(100))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert random.default_generator().counter == 800
    blocks = {tuple(block) for words in drawn for block in words.reshape(2, 4).tolist()}
    whole = Generator(31).bits(3200).numpy().reshape(800, 4)
    assert blocks == {tuple(block) for block in whole.tolist()}


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Generator(-1), ValueError, r"seed must be at least 0 and below 2\*\*64, got -1"),
        (lambda: Generator(2**64), ValueError, "seed must be at least 0"),
        (lambda: Generator(1.5), DTypeError, "seed must be a whole number, got 1.5"),
        (lambda: Generator(True), DTypeError, "seed must be a whole number, got True"),
        (lambda: Generator(np.zeros(2, int)), DTypeError, "seed must be a whole number"),
        (lambda: random.manual_seed("x"), DTypeError, "seed must be a whole number, got 'x'"),
        (lambda: random.uniform(size=-1), ShapeError, "uniform: size must not be negative, got -1"),
        (lambda: random.bits((2, -3)), ShapeError, "bits: size must not be negative"),
        (lambda: random.normal(size=2.5), ShapeError, "normal: size must be a whole number or a"),
        (lambda: random.normal(size=("a",)), ShapeError, "normal: size must be a whole number"),
        (lambda: random.uniform(1, 1), ValueError, "uniform: low must be below high, got low=1.0"),
        (lambda: random.uniform(0, math.inf), ValueError, "uniform: high must be finite, got inf"),
        (lambda: random.uniform("a"), DTypeError, "uniform: low must be a number, got 'a'"),
        (
            lambda: random.uniform(0, 1e5, dtype="float16"),
            ValueError,
            "must fit float16, whose largest number is 65504",
        ),
        (
            lambda: random.uniform(dtype="int32"),
            DTypeError,
            "uniform: dtype must be one of float16, float32, float64, got int32",
        ),
        (lambda: random.uniform(dtype="flot"), DTypeError, "uniform: 'flot' is not a dtype"),
        (lambda: random.normal(dtype=complex), DTypeError, "normal: dtype must be one of"),
        (lambda: random.normal(0, -1.0), ValueError, "normal: scale must not be negative, got -1"),
        (lambda: random.normal(math.nan), ValueError, "normal: loc must be finite, got nan"),
        (lambda: random.integers(5, 5), ValueError, "low must be below high, got low=5, high=5"),
        (lambda: random.integers(0), ValueError, "low must be below high, got low=0, high=0"),
        (lambda: random.integers(0.5), DTypeError, "high must be a whole number, got 0.5"),
        (
            lambda: random.integers(0, 300, dtype="int8"),
            ValueError,
            "int8 holds -128 to 127, got low=0, high=300",
        ),
        (lambda: random.integers(-1, 3, dtype="uint8"), ValueError, "uint8 holds 0 to 255"),
        (lambda: random.integers(3, dtype=float), DTypeError, "dtype must be an integer type"),
        (lambda: random.bernoulli(1.1), ValueError, "p is a probability, from 0 to 1, got 1.1"),
        (lambda: random.bernoulli(-0.1), ValueError, "p is a probability"),
        (lambda: random.bernoulli(math.nan), ValueError, "p must be finite"),
        (lambda: random.bernoulli(0.5, dtype="S1"), DTypeError, "must be bool, integer or float"),
        (lambda: random.permutation(-2), ValueError, "permutation: x must be at least 0"),
        (lambda: random.permutation(2.5), ShapeError, "a whole number or an array with at least"),
        (
            lambda: random.permutation(np.arange(3), device="cpu"),
            ValueError,
            "device= goes with a number",
        ),
        (lambda: Generator(1).spawn(-1), ValueError, "spawn: n must be at least 0"),
        (lambda: Generator(1).advance(-1), ValueError, "advance: blocks must be at least 0"),
        (lambda: Generator(1).set_state((1, 2)), ValueError, "three whole numbers of get_state"),
        (lambda: Generator(1).set_state((1, -2, 0)), ValueError, "counter must be at least 0"),
        (
            lambda: Generator(1).load_state_dict({"seed": 1}),
            ValueError,
            r"has the keys \['children', 'counter', 'seed'\], got \['seed'\]",
        ),
        (
            lambda: random.uniform(generator=np.random.default_rng(1)),
            DTypeError,
            "generator must be a gg.random.Generator, got Generator; gg.random.Generator",
        ),
    ],
)
def test_errors(call, error, message):
    random.manual_seed(1)
    with pytest.raises(error, match=message):
        call()
    assert random.get_state() == (1, 0, 0), "a refused draw moves nothing"
