"""gg.deterministic: sums in one order, and the same bits in two runs."""

import asyncio
import threading

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.backend import sim
from gpugrad.backend.cupy_namespace import CupyNamespace
from gpugrad.backend.namespace import namespace_of
from gpugrad.ops.ordered import sums_in_order

SIM = namespace_of(sim.zeros(1))


# The mode.


def test_off_at_first_then_a_block_a_call_and_a_decorator():
    assert not gg.is_deterministic()
    with gg.deterministic():
        assert gg.is_deterministic()
        with gg.deterministic(False):
            assert not gg.is_deterministic()
        assert gg.is_deterministic()
    assert not gg.is_deterministic()
    gg.deterministic(True)
    assert gg.is_deterministic()
    gg.deterministic(False)

    @gg.deterministic(True)
    def inside():
        return gg.is_deterministic()

    assert not gg.is_deterministic()
    assert inside()
    assert not gg.is_deterministic()


def test_other_threads_and_tasks_are_left_alone():
    found = []

    async def look():
        found.append(gg.is_deterministic())
        gg.deterministic(False)

    with gg.deterministic():
        thread = threading.Thread(target=lambda: found.append(gg.is_deterministic()))
        thread.start()
        thread.join()
        asyncio.run(look())  # a task begins with what it is begun in, and keeps its own changes
        assert gg.is_deterministic()
    assert found == [False, True]


def test_an_exception_ends_the_block():
    with pytest.raises(KeyError), gg.deterministic():
        raise KeyError
    assert not gg.is_deterministic()


# The sums.

INDICES = {
    "repeated": ((6, 3), np.array([1, 4, 1, 1, 0, 4])),
    "negative": ((6,), np.array([-1, 5, 0, -6, -1])),
    "of two axes": ((5, 2), np.array([[0, 3, 0], [3, 3, 4]])),
    "two arrays": ((3, 4, 2), (np.array([0, 2, 0, 0]), np.array([1, -1, 1, 2]))),
    "two arrays apart": ((3, 2, 4), (np.array([0, 2, 0]), slice(None), np.array([1, -1, 1]))),
    "behind a slice": ((2, 5), (slice(None), np.array([4, 0, 4, 4]))),
    "behind all": ((2, 3, 4), (Ellipsis, np.array([0, 0, 3]))),
    "before all": ((4, 3), (np.array([2, 2, 0]), Ellipsis)),
    "with a new axis": ((4, 3), (None, np.array([2, 2, 0]))),
    "with a number": ((4, 3, 2), (1, np.array([2, 2, 0]))),
    "beside a mask": ((3, 4), (np.array([True, False, True]), np.array([1, 1]))),
    "beside the truth": ((4,), (True, np.array([1, 1, 3]))),
    "broadcast": ((3, 4), (np.array([[0], [0]]), np.array([1, 1, 2]))),
    "none at all": ((4, 2), np.zeros(0, np.int64)),
    "of no rows": ((0, 2), np.zeros(0, np.int64)),
    "rows of nothing": ((4, 0), np.array([1, 1, 2])),
    "one place, many times": ((1, 2), np.zeros(1000, np.int64)),
}


def on_sim(index):
    parts = index if isinstance(index, tuple) else (index,)
    return tuple(sim.asarray(p) if isinstance(p, np.ndarray) else p for p in parts)


@pytest.mark.parametrize(("shape", "index"), INDICES.values(), ids=list(INDICES))
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "int32", "int64"])
def test_sums_are_those_of_add_at(shape, index, dtype, rng):
    expected = np.zeros(shape, dtype)
    values = rng.standard_normal(expected[index].shape)
    if dtype.startswith("complex"):
        values = values + 1j * values[..., ::-1]
    values = (values * 8).astype(dtype)
    np.add.at(expected, index, values)
    from gpugrad.ops.index import without_masks

    index = without_masks(namespace_of(sim.ones(1)), on_sim(index))
    got = sums_in_order(SIM, sim.asarray(values), index, shape).get()
    assert got.dtype == expected.dtype
    assert got.shape == shape
    # np.add.at adds one after the other in float16; the tree is nearer to the truth.
    error = {"float16": 2e-2, "float64": 1e-12}.get(dtype, 1e-5)
    np.testing.assert_allclose(got, expected, rtol=error, atol=error * len(values.ravel()))


def test_infinities_stay_at_their_places():
    values = sim.asarray(np.array([1.0, np.inf, 2.0, np.nan, 3.0, -0.0]))
    index = (sim.asarray(np.array([3, 1, 3, 0, 2, 2])),)
    got = sums_in_order(SIM, values, index, (5,)).get()
    np.testing.assert_array_equal(got, [np.nan, np.inf, 3.0, 3.0, 0.0])


def test_the_sum_of_many_is_nearer_to_the_truth_than_one_after_the_other():
    values = np.full(100_000, 0.1, np.float32)
    index = (sim.zeros(values.size, np.int64),)
    got = sums_in_order(SIM, sim.asarray(values), index, (1,)).get()
    assert abs(got[0] - 1e4) < 1e-2


def test_the_atomic_dtypes_are_those_of_add_at():
    index = sim.asarray(np.array([0, 0]))
    for char in "?bBhHiIlLqQefdFD":
        out = sim.zeros(1, char)
        if char in CupyNamespace.atomic:
            sim.add.at(out, index, sim.ones(2, char))
        else:
            with pytest.raises(TypeError, match="only supports"):
                sim.add.at(out, index, sim.ones(2, char))


@pytest.mark.parametrize("dtype", ["complex64", "int8", "bool"])
def test_what_has_no_atomic_sum_is_sorted_at_any_time(dtype):
    x = gg.tensor(np.array([1, 0, 1, 1]), dtype=dtype, device="sim")
    numbers = gg.tensor([0, 1, 0, 1], dtype="int64", device="sim")
    got = gg.segment_sum(x, numbers, 2)
    assert got.dtype == dtype
    assert got.tolist() == [2, 1] if dtype != "bool" else [True, True]


SCATTERED = {
    "x[index]": lambda x, i: x[i] ** 2,
    "take": lambda x, i: gg.take(x, i, axis=0) * 3,
    "take_along_axis": lambda x, i: gg.take_along_axis(x, i[:5, None] % 3, axis=1) ** 2,
    "segment_sum": lambda x, i: gg.segment_sum(x, i[:5], 7) ** 2,
    "scatter_add": lambda x, i: gg.scatter_add(x, i, x[i]),
    "bincount": lambda x, i: gg.bincount(i[:5], weights=x[:, 0]),
    "interp": lambda x, i: gg.interp(i * 0.4, gg.arange(5.0), x[:, 0]),
    "cumsum": lambda x, i: gg.cumsum(x * x),
}


@pytest.fixture
def atomics(monkeypatch):
    """The calls of sim's add.at."""
    calls = []
    original = type(sim.add).at
    monkeypatch.setattr(
        type(sim.add), "at", lambda self, *args: (calls.append(self), original(self, *args))[1]
    )
    return calls


@pytest.mark.parametrize("f", SCATTERED.values(), ids=list(SCATTERED))
def test_functions_that_add_at_indices(f, device, atomics, rng):
    values = rng.standard_normal((5, 3)).astype("float32")
    index = np.array([0, 3, 3, 1, 0, 0])

    def run():
        here = gg.default_device()
        x = gg.tensor(values, requires_grad=True, device=here)
        y = f(x, gg.tensor(index, device=here))
        y.sum().backward()
        return y.detach().numpy(), x.grad.numpy()

    with gg.device("cpu"):
        expected = run()
    usual = run()
    used = len(atomics)
    with gg.deterministic():
        ordered = run()
        again = run()
    assert len(atomics) == used, "an atomic sum under deterministic"
    for one, two, three, four in zip(expected, usual, ordered, again):
        np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(three, one, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(three, four)


def test_the_faster_way_is_taken_otherwise(atomics):
    x = gg.ones((3, 2), device="sim", requires_grad=True)
    x[gg.tensor([0, 0, 2], dtype="int64", device="sim")].sum().backward()
    assert len(atomics) == 1


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
@pytest.mark.parametrize("axis", [None, 1])
def test_running_sums_and_products_never_scan_a_flattened_array(name, axis, monkeypatch, rng):
    axes = []
    original = getattr(sim, name)
    monkeypatch.setattr(
        namespace_of(sim.ones(1)),
        f"native_{name}",
        lambda x, axis=None: (axes.append(axis), original(x, axis=axis))[1],
    )
    values = rng.standard_normal((2, 3))
    for chosen in (False, True):
        x = gg.tensor(values, device="sim", requires_grad=True)
        with gg.deterministic(chosen):
            y = getattr(gg, name)(x, axis=axis)
            y.sum().backward()
        np.testing.assert_allclose(y.detach().numpy(), getattr(np, name)(values, axis=axis))
        assert (None in axes) == (axis is None and not chosen)
        axes.clear()


HISTOGRAMS = {
    "number of bins": {"bins": 4},
    "range": {"bins": 3, "range": (-0.5, 1.0)},
    "edges": {"bins": [-1.0, 0.0, 0.25, 1.0]},
    "density": {"bins": 4, "density": True},
}


@pytest.mark.parametrize("words", HISTOGRAMS.values(), ids=list(HISTOGRAMS))
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_weighted_histograms(words, dtype, device, rng):
    x = np.append(rng.standard_normal((4, 5)).round(1), [[-1.0, 0.0, 0.25, 1.0, 7.0]], axis=0)
    weights = rng.standard_normal((5, 5)).astype(dtype) + 2
    expected = np.histogram(x, weights=weights, **words)
    with gg.deterministic():
        got = gg.histogram(
            gg.tensor(x, device=device), weights=gg.tensor(weights, device=device), **words
        )
    for one, two in zip(got, expected):
        np.testing.assert_allclose(one.numpy(), two, rtol=1e-5)


def test_second_derivatives_through_sorted_sums(device):
    x = gg.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    index = gg.tensor([0, 3, 3, 0, 1], dtype="int64")
    with gg.deterministic():
        (g,) = gg.gradients((x[index] ** 3).sum(), [x], create_graph=True)
        (h,) = gg.gradients((g * g).sum(), [x])
    assert g.tolist() == [6.0, 12.0, 0.0, 96.0]
    assert h.tolist() == [2 * 6 * 12, 2 * 12 * 12, 0.0, 2 * 96 * 48]


def test_no_wait_in_a_sorted_sum():
    x = gg.ones((4, 2), device="sim", requires_grad=True)
    index = gg.tensor([0, 0, 2], dtype="int64", device="sim")
    with gg.deterministic(), gg.sync_guard():
        x[index].sum().backward()


# Training.


def trained(optimizer):
    gg.manual_seed(3)
    table = gg.nn.Parameter(gg.random.normal(0.0, 1.0, (11, 4)))
    model = gg.nn.MLP(4, [16, 3])
    words = gg.random.integers(0, 11, (64,))
    targets = gg.random.integers(0, 3, (64,))
    loader = gg.data.DataLoader((words, targets), batch_size=16, shuffle=True)
    parameters = [table, *model.parameters()]
    steps = getattr(gg.optim, optimizer)(parameters, lr=0.05)
    losses = []
    for _ in range(3):
        for x, y in loader:
            loss = gg.nn.functional.cross_entropy(model(table[x]), y)
            steps.zero_grad()
            loss.backward()
            gg.optim.clip_grad_norm_(parameters, 1.0)
            steps.step()
            losses.append(loss.detach())
    return [t.detach().numpy().tobytes() for t in (*losses, *parameters)]


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_two_runs_with_one_seed_are_the_same_bit_by_bit(device, optimizer):
    with gg.deterministic(device.kind != "cpu"):  # a CPU needs no asking
        assert trained(optimizer) == trained(optimizer)
