"""Data sets, loaders and splits: every row once, the same batches everywhere, resumable."""

import collections

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.backend.device import device_of, to_numpy


def host(batch):
    return (
        [host(part) for part in batch]
        if isinstance(batch, tuple)
        else to_numpy(batch.data if isinstance(batch, gg.Tensor) else batch).tolist()
    )


def batches(loader):
    return [host(batch) for batch in loader]


# ---------------------------------------------------------------- TensorDataset


def test_dataset_rows(device, rng):
    x, y = rng.normal(size=(5, 2)), rng.integers(0, 9, size=5)
    dataset = gg.data.TensorDataset(device.send(x), gg.tensor(y, device=device))
    assert len(dataset) == 5
    one, label = dataset[2]
    np.testing.assert_array_equal(to_numpy(one), x[2])
    assert label.item() == y[2]
    part, labels = dataset[1:3]
    assert part.shape == (2, 2)
    assert labels.tolist() == y[1:3].tolist()
    assert repr(dataset) == f"TensorDataset(float64 (5, 2), {y.dtype} (5,))"


def test_dataset_to(device, rng):
    x = rng.normal(size=(5, 2))
    moved = gg.data.TensorDataset(x, [1, 2, 3, 4, 5]).to(device)
    assert device_of(moved.arrays[0]) == device
    assert moved.arrays[1].device == device


# ---------------------------------------------------------------- DataLoader


def test_order_and_sizes(device):
    x = device.send(np.arange(7))
    assert batches(gg.data.DataLoader(x, 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    loader = gg.data.DataLoader((x, x), 3, drop_last=True)
    assert batches(loader) == [[[0, 1, 2]] * 2, [[3, 4, 5]] * 2]
    assert len(loader) == 2
    assert len(gg.data.DataLoader(x, 3)) == 3
    assert len(gg.data.DataLoader(x, 7)) == 1
    assert batches(gg.data.DataLoader([x], 7)) == [[list(range(7))]]


@pytest.mark.parametrize("drop_last", [True, False])
def test_no_rows(drop_last):
    for shuffle in (True, False):
        loader = gg.data.DataLoader(np.zeros((0, 3)), 2, shuffle, drop_last)
        assert len(loader) == 0
        assert batches(loader) == []


def test_shuffled_epochs_have_every_row_once_and_differ(device, rng):
    x = rng.normal(size=(20, 3))
    pairs = device.send(x), gg.tensor(np.arange(20), device=device)
    loader = gg.data.DataLoader(pairs, 6, shuffle=True, generator=gg.random.Generator(1))
    epochs = []
    for _ in range(3):
        rows = []
        for xb, yb in loader:
            assert device_of(xb) == device
            assert isinstance(yb, gg.Tensor)
            np.testing.assert_array_equal(to_numpy(xb), x[yb.tolist()])
            rows += yb.tolist()
        assert sorted(rows) == list(range(20))
        epochs.append(rows)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] != list(range(20))


def test_a_seed_gives_the_same_batches_on_every_device(device):
    def shuffled(where, generator):
        x = gg.Device(where).send(np.arange(50))
        return batches(gg.data.DataLoader(x, 8, shuffle=True, generator=generator))

    expected = shuffled("cpu", gg.random.Generator(5))
    assert shuffled(device, gg.random.Generator(5)) == expected
    # A generator with a device of its own, and the default one.
    assert shuffled(device, gg.random.Generator(5, device="sim")) == expected
    gg.manual_seed(5)
    assert shuffled(device, None) == expected
    assert shuffled(device, gg.random.Generator(6)) != expected


def test_batches_are_sent_to_a_device(device):
    x = np.arange(6.0)
    for shuffle in (True, False):
        for xb, yb in gg.data.DataLoader((x, gg.tensor(x)), 4, shuffle, device=device):
            assert device_of(xb) == device
            assert yb.device == device


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("to", [None, "same", "sim:1"])
def test_a_change_of_a_batch_is_none_of_the_data(shuffle, to, device):
    raw = device.send(np.zeros((10, 3)))
    data = (raw, gg.Tensor(device.send(np.zeros(10))), raw[::-1])
    for size in (4, 10):
        for batch in gg.data.DataLoader(data, size, shuffle, device=device if to == "same" else to):
            for part in batch:
                part[...] = 1.0
    assert host(data) == [[[0.0] * 3] * 10, [0.0] * 10, [[0.0] * 3] * 10]


class Labelled:
    """What a Series or DataFrame is here: brackets take labels, which are not the positions."""

    iloc = None

    def __init__(self, values):
        self.values = np.asarray(values)

    def to_numpy(self):
        return self.values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, label):
        raise AssertionError("read by label")


@pytest.mark.parametrize("shuffle", [True, False])
def test_tables_are_read_by_position(shuffle, device):
    x, y = np.arange(12.0).reshape(6, 2), np.arange(6)
    for pair in ((Labelled(x), Labelled(y)), [Labelled(x), y]):
        generators = [gg.random.Generator(4) for _ in range(2)]
        found, expected = (
            batches(gg.data.DataLoader(data, 4, shuffle, generator=generator, device=device))
            for data, generator in zip((pair, (x, y)), generators)
        )
        assert found == expected
    alone = gg.data.DataLoader(Labelled(y), 4)
    assert batches(alone) == [[0, 1, 2, 3], [4, 5]]
    parts = gg.data.train_test_split(Labelled(x), Labelled(y), generator=gg.random.Generator(0))
    assert (parts[0][:, 0] == 2 * parts[2]).all()
    with pytest.raises(gg.DTypeError, match="Labelled with values of object; expected numbers"):
        gg.data.DataLoader(Labelled(np.array([1, "a"], object)))


def test_a_state_is_of_batches_of_one_size_and_of_one_data_set():
    loader = gg.data.DataLoader(np.arange(12), 3)
    next(iter(loader))
    state = loader.state_dict()
    with pytest.raises(ValueError, match=r"batch_size=3, this one has 4: its position is another"):
        gg.data.DataLoader(np.arange(12), 4).load_state_dict(state)
    with pytest.raises(ValueError, match=r"a loader with rows=12, this one has 13"):
        gg.data.DataLoader(np.arange(13), 3).load_state_dict(state)


def test_a_data_set_of_ones_own(device):
    class Squares:
        batched = True

        def __len__(self):
            return 6

        def __getitem__(self, rows):
            return rows, rows**2

    found = batches(gg.data.DataLoader(Squares(), 4, device=device))
    assert found == [[[0, 1, 2, 3], [0, 1, 4, 9]], [[4, 5], [16, 25]]]
    (both,) = batches(gg.data.DataLoader(Squares(), 6, shuffle=True))
    assert sorted(both[0]) == list(range(6))
    assert [n**2 for n in both[0]] == both[1]


Point = collections.namedtuple("Point", ["x", "y"])


class Samples:
    """A data set as PyTorch's users write it: the sample of one number."""

    def __init__(self, make, count=7):
        self.make, self.count = make, count

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        assert type(i) is int
        if not 0 <= i < self.count:
            raise IndexError(i)
        return self.make(i)


@pytest.mark.parametrize("base", [object, gg.data.Dataset])
@pytest.mark.parametrize("home", ["cpu", None])
def test_single_samples_are_collated(base, home, device):
    def x(i):
        row = np.array([i, -i], np.float32)
        return row if home else gg.tensor(row, device=device)

    kind = type("Own", (Samples, base), {})
    loader = gg.data.DataLoader(kind(lambda i: (x(i), i)), 3, device=device)
    seen = list(loader)
    assert [b[0].shape for b in seen] == [(3, 2), (3, 2), (1, 2)]
    assert [b[1].tolist() for b in seen] == [[0, 1, 2], [3, 4, 5], [6]]
    assert {str(gg.asarray(part).device) for b in seen for part in b} == {str(device)}
    assert seen[1][0].tolist() == [[3, -3], [4, -4], [5, -5]]
    assert seen[0][1].dtype == np.int64
    assert seen[0][0].dtype == np.float32
    shuffled = gg.data.DataLoader(kind(lambda i: (x(i), i)), 2, shuffle=True, device=device)
    rows = [
        (tuple(a), n)
        for one, two in shuffled
        for a, n in zip(one.tolist(), two.tolist(), strict=True)
    ]
    assert sorted(rows) == [((i, -i), i) for i in range(7)]


def test_samples_of_any_structure(device):
    made = Samples(
        lambda i: {"p": Point(np.arange(2) + i, 0.5 * i), "name": str(i), "ok": i > 0}, 2
    )
    (batch,) = gg.data.DataLoader(made, 2, device=device)
    assert type(batch["p"]) is Point
    assert batch["p"].x.tolist() == [[0, 1], [1, 2]]
    assert batch["p"].y.tolist() == [0.0, 0.5]
    assert batch["p"].y.dtype == gg.get_default_dtype()
    assert batch["name"] == ["0", "1"]
    assert batch["ok"].tolist() == [False, True]
    (joined,) = gg.data.DataLoader(Samples(str, 3), 3, collate_fn="".join)
    assert joined == "012"


def test_numbers_of_several_types_make_one_array():
    assert gg.data.collate([1, np.int32(2), 2.5]).tolist() == [1, 2, 2.5]
    assert gg.data.collate([np.int64(1), True]).tolist() == [1, 1]
    assert gg.data.collate([np.zeros(()), np.float32(1)]).tolist() == [0, 1]


def test_samples_that_cannot_be_stacked_say_why():
    with pytest.raises(gg.ShapeError, match=r"one shape to be stacked, the first has \(0,\) and"):
        list(gg.data.DataLoader(Samples(np.zeros), 2))
    with pytest.raises(gg.ShapeError, match="one length to be stacked"):
        list(gg.data.DataLoader(Samples(lambda i: (1,) * i), 2))
    with pytest.raises(gg.ShapeError, match="one keys to be stacked"):
        list(gg.data.DataLoader(Samples(lambda i: {i: 1}), 2))
    for kinds in ([1.0, "a"], [1.0, None], [np.zeros(2), 3.0], [{"a": 1}, (1,)], [gg.ones(2), "a"]):
        with pytest.raises(gg.ShapeError, match="one kind to be stacked, the first has"):
            gg.data.collate(kinds)
    with pytest.raises(ValueError, match="collate_fn makes a batch of single samples"):
        gg.data.DataLoader(np.arange(3), collate_fn=list)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("given", [0, 1, 3, 4])
@pytest.mark.parametrize("own", [True, False])
def test_resuming_in_the_middle_of_an_epoch(shuffle, given, own, tmp_path):
    def begun():
        generator = gg.random.Generator(9) if own else gg.manual_seed(9)
        given_one = generator if own else None
        return gg.data.DataLoader(np.arange(10), 3, shuffle, generator=given_one), generator

    loader, generator = begun()
    batches(loader)  # an epoch before
    epoch = iter(loader)
    for _ in range(given):
        next(epoch)
        generator.uniform(size=10)  # the same generator may serve others, a dropout say
    gg.save({"loader": loader, "generator": generator}, tmp_path / "x")
    rest, state, following = (
        [host(batch) for batch in epoch],
        generator.get_state(),
        batches(loader),
    )

    other, drawn = begun()
    found = gg.load(tmp_path / "x")
    drawn.load_state_dict(found["generator"])
    other.load_state_dict(found["loader"])
    assert batches(other) == rest
    assert drawn.get_state() == state
    assert batches(other) == following


def test_two_iterations_at_once():
    loader = gg.data.DataLoader(np.arange(4), 1)
    assert [(int(a[0]), int(b[0])) for a, b in zip(loader, loader)] == [(i, i) for i in range(4)]


# ---------------------------------------------------------------- splits


def test_random_split(device, rng):
    x, y = rng.normal(size=(11, 2)), np.arange(11)
    dataset = gg.data.TensorDataset(device.send(x), gg.tensor(y, device=device))
    parts = gg.data.random_split(dataset, [5, 4, 2], gg.random.Generator(3))
    assert [len(part) for part in parts] == [5, 4, 2]
    rows = [row for part in parts for row in part.arrays[1].tolist()]
    assert sorted(rows) == list(range(11))
    assert rows != list(range(11))
    for part in parts:
        assert device_of(part.arrays[0]) == device
        np.testing.assert_array_equal(to_numpy(part.arrays[0]), x[part.arrays[1].tolist()])
    again = gg.data.random_split((x, y), [5, 4, 2], gg.random.Generator(3))
    assert [row for part in again for row in part.arrays[1].tolist()] == rows


@pytest.mark.parametrize(
    ("count", "fractions", "sizes"),
    [
        (10, [0.7, 0.3], [7, 3]),
        (10, [0.25, 0.25, 0.5], [3, 2, 5]),
        (11, [0.5, 0.5], [6, 5]),
        (100, [0.71, 0.29], [71, 29]),
        (1, [0.5, 0.5], [1, 0]),
    ],
)
def test_fractions(count, fractions, sizes):
    parts = gg.data.random_split(np.arange(count), fractions)
    assert [len(part) for part in parts] == sizes


@pytest.mark.parametrize("batched", [False, True])
def test_random_split_of_a_data_set_of_ones_own(batched, rng):
    x = rng.normal(size=(11, 2))

    class Own:
        def __len__(self):
            return len(x)

        def __getitem__(self, i):
            assert batched or type(i) is int
            return x[i], i

    Own.batched = batched
    parts = gg.data.random_split(Own(), [0.6, 0.4], gg.random.Generator(3))
    assert [len(part) for part in parts] == [7, 4]
    rows = []
    for part in parts:
        for values, numbers in gg.data.DataLoader(part, 3, shuffle=True):
            rows += numbers.tolist()
            np.testing.assert_array_equal(to_numpy(values), x[numbers.tolist()])
    assert sorted(rows) == list(range(11))


def test_train_test_split(device, rng):
    x, y = rng.normal(size=(10, 3)), np.arange(10)
    for generator in (gg.random.Generator(4), None):
        parts = gg.data.train_test_split(
            device.send(x), gg.tensor(y, device=device), test_fraction=0.25, generator=generator
        )
        x_train, x_test, y_train, y_test = parts
        assert (x_train.shape, x_test.shape) == ((7, 3), (3, 3))
        assert sorted(y_train.tolist() + y_test.tolist()) == list(range(10))
        np.testing.assert_array_equal(to_numpy(x_test), x[y_test.tolist()])
        assert device_of(x_train) == device
    one = gg.data.train_test_split(y, test_fraction=0.5, generator=gg.random.Generator(4))
    assert [len(part) for part in one] == [5, 5]
    assert [len(part) for part in gg.data.train_test_split(y[:2], test_fraction=0.9)] == [1, 1]
    assert len(gg.data.train_test_split(np.arange(100), test_fraction=0.29)[1]) == 29


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: gg.data.TensorDataset(), ValueError, "expected at least one array"),
        (
            lambda: gg.data.TensorDataset(np.ones(3), np.ones((4, 2))),
            gg.ShapeError,
            "the arrays have 3, 4 rows",
        ),
        (lambda: gg.data.TensorDataset(np.ones(())), gg.ShapeError, "array 0 is 0-d"),
        (lambda: gg.data.TensorDataset(np.ones(2), "ab"), gg.DTypeError, "array 1 is a str"),
        (lambda: gg.data.DataLoader(np.ones(2), 0), ValueError, "batch_size must be at least 1"),
        (lambda: gg.data.DataLoader(np.ones(2), 2.5), gg.DTypeError, "must be a whole number"),
        (lambda: gg.data.DataLoader(7), gg.DTypeError, "expected a TensorDataset or arrays, got"),
        (
            lambda: gg.data.DataLoader(np.ones(2), generator=np.random.default_rng()),
            gg.DTypeError,
            r"generator must be a gg\.random\.Generator",
        ),
        (lambda: gg.data.DataLoader(np.ones(2), device="gpu"), gg.DeviceError, "is not a device"),
        (lambda: gg.data.random_split(np.ones(4), [1, 2]), ValueError, "add up to the 4 rows"),
        (lambda: gg.data.random_split(np.ones(4), [0.5, 0.6]), ValueError, "add up to 1, got"),
        (lambda: gg.data.random_split(np.ones(4), [5, -1]), ValueError, "must not be negative"),
        (lambda: gg.data.random_split(np.ones(4), ["a"]), gg.DTypeError, "must be a number"),
        (lambda: split(test_fraction=1.0), ValueError, "must lie between 0 and 1, got 1.0"),
        (lambda: split(test_fraction="x"), ValueError, "must lie between 0 and 1, got 'x'"),
        (lambda: gg.data.train_test_split(np.ones(1)), ValueError, "1 rows cannot be split"),
        (lambda: loaded({"given": 1}), ValueError, "expected the keys"),
        (
            lambda: loaded({"given": 9, "order": None, "batch_size": 1, "rows": 4}),
            ValueError,
            "but an epoch has 4",
        ),
        (
            lambda: loaded({"given": 1, "order": {}, "batch_size": 1, "rows": 4}),
            ValueError,
            "the state is of a loader with shuffle=True",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def split(**kwargs):
    return gg.data.train_test_split(np.ones(4), **kwargs)


def loaded(state):
    gg.data.DataLoader(np.ones(4)).load_state_dict(state)


def test_a_list_of_samples_is_a_data_set(device):
    samples = [(np.full(2, float(i)), i) for i in range(5)]
    loader = gg.data.DataLoader(samples, batch_size=2, device=device)
    got = [(x.tolist(), y.tolist()) for x, y in loader]
    assert got == [([[0, 0], [1, 1]], [0, 1]), ([[2, 2], [3, 3]], [2, 3]), ([[4, 4]], [4])]
    (batch,) = gg.data.DataLoader([{"x": 1.5, "name": "a"}, {"x": 2.5, "name": "b"}], 2)
    assert batch["x"].tolist() == [1.5, 2.5]
    assert batch["name"] == ["a", "b"]
    assert [len(text) for text in gg.data.DataLoader(["a", "b", "c"], 2)] == [2, 1]
    arrays = [np.arange(2), np.arange(2)]
    assert len(next(iter(gg.data.DataLoader(arrays, 2)))) == 2  # arrays have a row for each sample
    (joined,) = gg.data.DataLoader(arrays, 2, collate_fn=np.concatenate)
    assert joined.tolist() == [0, 1, 0, 1]
    with pytest.raises(ValueError, match="at least one array"):
        gg.data.DataLoader([])


def test_a_loader_says_what_to_write_for_keywords_of_pytorch():
    for name in ("batch_sampler", "in_order", "pin_memory_device"):
        with pytest.raises(gg.ArgumentError, match=rf"there is no {name}=\. Write "):
            gg.data.DataLoader(np.arange(3), **{name: None})
    with pytest.raises(TypeError, match="unexpected keyword"):
        gg.data.DataLoader(np.arange(3), unknown=1)
    with pytest.raises(gg.DTypeError, match="drop_last must be True or False"):
        gg.data.DataLoader(np.arange(3), 2, True, np.arange(3))  # PyTorch's fourth is the sampler
