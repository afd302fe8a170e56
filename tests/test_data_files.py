"""Data sets on the disk: mapped arrays, CSV and Parquet, read in chunks; and files that are bad."""

import copy
import io
import pickle
import sys
import tempfile
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpugrad as gg
from gpugrad.data import CSVDataset, DataLoader, NumpyDataset, ParquetDataset, random_split

FOLDER = tempfile.TemporaryDirectory()  # for tests that are given many files

# ---------------------------------------------------------------- mapped arrays


@pytest.fixture
def arrays(tmp_path):
    """Arrays of 1,000 rows, in C and in Fortran order, and their files."""
    x = np.arange(3000, dtype="float32").reshape(1000, 3)
    y = np.asfortranarray(np.stack([np.arange(1000), -np.arange(1000)], axis=1))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    return x, y, tmp_path / "x.npy", tmp_path / "y.npy"


def on_host(batches):
    return [[gg.asarray(part).cpu().numpy().tolist() for part in batch] for batch in batches]


@pytest.mark.parametrize("shuffle", [False, True])
def test_mapped_files_are_read_as_arrays_in_memory(shuffle, arrays, device):
    x, y, *paths = arrays

    def loader(data, **settings):
        generator = gg.random.Generator(2)
        return DataLoader(data, 300, shuffle, generator=generator, device=device, **settings)

    mapped = NumpyDataset(*paths)
    batches = list(loader(mapped))
    assert on_host(batches) == on_host(loader((x, y)))
    assert {gg.asarray(part).device for batch in batches for part in batch} == {device}
    if shuffle and device == "cpu":
        spawned = loader(mapped, num_workers=1, multiprocessing_context="spawn")
        assert on_host(spawned) == on_host(batches)


def test_batches_of_mapped_files_are_plain_copies(arrays):
    x, _, path, _ = arrays
    for data in (NumpyDataset(path), np.load(path, mmap_mode="r+"), np.load(path, mmap_mode="c")):
        for shuffle in (False, True):
            batch = next(iter(DataLoader(data, 4, shuffle)))
            batch = batch[0] if isinstance(batch, tuple) else batch
            assert type(batch) is np.ndarray
            batch[...] = -1
    assert (np.load(path) == x).all()


def test_a_mapped_array_is_sent_by_its_path(arrays):
    x, y, *paths = arrays
    rows = np.load(paths[0], mmap_mode="r")
    for data, expected, size in (
        (NumpyDataset(*paths), (x, y), 1000),
        (gg.data.TensorDataset(rows[100:900][50:]), (x[150:900],), 1000),
        (gg.data.TensorDataset(rows[:, 1:]), (x[:, 1:],), 20_000),  # not one part
    ):
        sent = pickle.dumps(data)
        assert len(sent) < size
        for other in (pickle.loads(sent), copy.copy(data), copy.deepcopy(data)):
            for array, values in zip(other.arrays, expected, strict=True):
                np.testing.assert_array_equal(array, values)
    changed = np.load(paths[0], mmap_mode="c")  # whose changes are in this process alone
    changed[0] = 7
    (array,) = pickle.loads(pickle.dumps(gg.data.TensorDataset(changed))).arrays
    assert array[0].tolist() == [7, 7, 7]


def test_parts_of_mapped_files_stay_on_the_disk(arrays):
    parts = random_split(NumpyDataset(arrays[2]), [0.8, 0.2], gg.random.Generator(0))
    assert [len(part) for part in parts] == [800, 200]
    assert [len(part.dataset.arrays[0]) for part in parts] == [1000, 1000]
    seen = [y for part in parts for (y,) in DataLoader(part, 64)]
    assert sorted(np.concatenate(seen)[:, 0].tolist()) == list(range(0, 3000, 3))


BAD_ARRAYS = {
    "": "is no .npy file$",
    "x,y\n1,2\n": "is no .npy file$",
    "PK\x03\x04": "an archive, which cannot be mapped",
    "\x93NUMPY": "cannot be mapped: ",
}


@pytest.mark.parametrize("content", BAD_ARRAYS)
def test_a_bad_npy_file_gets_a_sentence(content, tmp_path):
    path = tmp_path / "x.npy"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(gg.FileFormatError, match=f"x.npy (.*, but )?{BAD_ARRAYS[content]}"):
        NumpyDataset(path)


def test_other_bad_npy_files(arrays, tmp_path):
    whole = arrays[2].read_bytes()
    short, objects, words, number = (tmp_path / f"{name}.npy" for name in "abcd")
    short.write_bytes(whole[:-1])
    np.save(objects, np.array([None, {}]), allow_pickle=True)
    np.save(words, np.array(["a", "b"]))
    np.save(number, np.array(1.0))
    with pytest.raises(gg.FileFormatError, match="cannot be mapped: mmap length is greater"):
        NumpyDataset(short)
    with pytest.raises(gg.FileFormatError, match="cannot be mapped: .*Python objects"):
        NumpyDataset(objects)
    with pytest.raises(gg.FileFormatError, match="has values of <U1; expected numbers"):
        NumpyDataset(words)
    with pytest.raises(gg.ShapeError, match="array 0 is 0-d"):
        NumpyDataset(number)
    with pytest.raises(gg.ShapeError, match="have 1000, 2 rows"):
        NumpyDataset(arrays[2], save(tmp_path / "e.npy", np.ones(2)))
    with pytest.raises(FileNotFoundError, match="absent.npy"):
        NumpyDataset(tmp_path / "absent.npy")
    with pytest.raises(ValueError, match="at least one array"):
        NumpyDataset()


def save(path, array):
    np.save(path, array)
    return path


@given(st.integers(0, 127), st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_a_damaged_header_gets_a_sentence(place, byte):
    buffer = io.BytesIO()
    np.save(buffer, np.arange(6.0).reshape(3, 2))
    content = bytearray(buffer.getvalue())
    content[place] = byte
    path = FOLDER.name + "/damaged.npy"
    with open(path, "wb") as file:
        file.write(content)
    with suppress(gg.FileFormatError, gg.ShapeError):
        assert len(NumpyDataset(path)) >= 0


# ---------------------------------------------------------------- CSV and Parquet

N = 403


def table():
    """Columns a, b and y, in which a counts the rows."""
    rng = np.random.default_rng(0)
    return {"a": np.arange(float(N)), "b": rng.normal(size=N).round(3), "y": np.arange(N) % 3}


def write_csv(path, columns, end="\n"):
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values()))]
    path.write_text(end.join(lines) + end, encoding="utf-8")
    return path


def write_parquet(path, columns, names=None, **options):
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(sys.modules["pyarrow"].table(columns, names), path, **options)
    return path


@pytest.fixture(params=["csv", "parquet"])
def stream(request, tmp_path):
    """A function that gives a data set of the table, in small chunks, with settings."""
    if request.param == "csv":
        path, kind = write_csv(tmp_path / "t.csv", table()), CSVDataset
    else:
        path = write_parquet(tmp_path / "t.parquet", table(), row_group_size=60)
        kind = ParquetDataset
    usual = {"target": "y", "target_dtype": "int64", "chunk_rows": 50, "shuffle_buffer": 80}
    return lambda **settings: kind(path, **(usual | settings))


def loader(data, **settings):
    return DataLoader(data, **{"batch_size": 32, "generator": gg.random.Generator(5)} | settings)


def first_column(batches):
    return [int(row[0]) for x, _ in batches for row in x]


@pytest.mark.parametrize("num_workers", [0, 3])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_row_comes_once_and_an_epoch_resumes(stream, shuffle, num_workers):
    settings = {"shuffle": shuffle, "num_workers": num_workers}
    one = loader(stream(), **settings)
    epochs = [list(one), list(one)]
    for batches in epochs:
        assert sorted(first_column(batches)) == list(range(N))
        assert len(batches) <= N // 32 + max(1, num_workers)
        for x, y in batches:
            assert (x.dtype, y.dtype, x.shape[1:], y.shape[1:]) == ("float32", "int64", (2,), ())
            np.testing.assert_array_equal(y, x[:, 0] % 3)
    orders = [first_column(batches) for batches in epochs]
    assert (orders[0] == orders[1]) is not shuffle
    if shuffle:  # the place of a row says little of when it comes
        assert abs(np.corrcoef(orders[0][: N // 2], range(N // 2))[0, 1]) < 0.97

    two = loader(stream(), **settings)
    batches = iter(two)
    seen = [next(batches) for _ in range(3)]
    state = pickle.loads(pickle.dumps(two.state_dict()))
    batches.close()
    rest = loader(stream(), **settings | {"generator": gg.random.Generator(9)})
    rest.load_state_dict(state)
    assert first_column([*seen, *rest]) == orders[0]


def test_batches_go_to_the_device(stream, device):
    for x, y in loader(stream(), device=device, drop_last=True):
        assert gg.asarray(x).device == gg.asarray(y).device == device
        assert x.shape == (32, 2)


def test_what_a_batch_has_is_chosen(stream):
    (x,) = DataLoader(stream(target=None), N)
    assert x.shape == (N, 3)
    x, y = next(iter(DataLoader(stream(columns=["b"], target=["y", "a"], dtype="float16"), 5)))
    assert (x.dtype, x.shape, y.dtype, y.tolist()[2]) == ("float16", (5, 1), "int64", [2, 2])
    x, y = next(iter(stream()))
    assert (x.shape, y.shape) == ((2,), ())
    changed = stream(transform=lambda x, y: {"input": x[:, :1] * 2, "label": y})
    assert next(iter(DataLoader(changed, 3)))["input"].tolist() == [[0], [2], [4]]
    assert sum(len(batch["input"]) for batch in DataLoader(changed, 4, drop_last=True)) == 400


def test_several_files_are_one_set(tmp_path):
    columns = table()
    half = {name: values[200:] for name, values in columns.items()}
    paths = [write_csv(tmp_path / "1.csv", columns), write_csv(tmp_path / "2.csv", half, "\r\n")]
    data = CSVDataset(paths, "y", chunk_rows=70)
    assert first_column(DataLoader(data, 64)) == [*range(N), *range(200, N)]


def test_a_training_from_a_stream_goes_on_to_the_same_bits(tmp_path, stream):
    def trained(epochs, stop_at=None, resume=False):
        gg.manual_seed(0)
        model = gg.nn.Linear(1, 3)
        optimizer = gg.optim.Adam(model.parameters(), lr=0.1)
        trainer = gg.Trainer(
            model, optimizer, gg.nn.CrossEntropyLoss(), progress=None,
            checkpoints=tmp_path / "run", save_steps=1, callbacks=[Stop(stop_at)],
        )  # fmt: skip
        batches = loader(stream(columns=["b"]), batch_size=100, shuffle=True)
        trainer.fit(batches, epochs=epochs, resume=resume)
        return trainer.step, model.weight.tolist()

    class Stop(gg.training.Callback):
        def __init__(self, at):
            self.at = at

        def on_step_end(self, trainer, loss):
            if trainer.step == self.at:
                trainer.save()
                raise KeyboardInterrupt

    steps, weights = trained(3)
    assert steps == 15
    for path in (tmp_path / "run").iterdir():
        path.unlink()
    with pytest.raises(KeyboardInterrupt):
        trained(3, stop_at=7)
    assert trained(3, resume=True) == (steps, weights)


def test_a_stream_keeps_some_chunks_in_memory(tmp_path, stream):
    def peak(data, rows):
        tracemalloc.start()
        try:
            for shuffle in (False, True):
                read = sum(len(x) for x, _ in loader(data, shuffle=shuffle))
                assert read == rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    data = stream()
    peak(data, N)  # what is imported and compiled at first
    small = peak(data, N)
    long = type(data)(data.paths * 40, "y", chunk_rows=50, shuffle_buffer=80)
    # All rows have 2.5 MB as text and 0.5 MB as arrays. The first run fills Python's own lists of
    # freed tuples, up to 2,000 of each length.
    assert min(peak(long, N * 40) for _ in range(2)) < small + 150_000


def test_pyarrow_holds_a_group_of_rows(tmp_path):
    pa = pytest.importorskip("pyarrow")
    columns = {"a": np.random.default_rng(0).normal(size=100_000)}  # 800 kB
    path = write_parquet(tmp_path / "t.parquet", columns, row_group_size=1000)
    before = pa.total_allocated_bytes()
    data = DataLoader(ParquetDataset(path), 500, shuffle=True)
    assert max(pa.total_allocated_bytes() - before for _ in data) < 200_000


def test_missing_values_become_a_number(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,y\n1,,0\nNA, 2 ,1\n", encoding="utf-8")
    (batch,) = DataLoader(CSVDataset(path, "y", missing=-9), 4)
    assert batch[0].tolist() == [[1, -9], [-9, 2]]
    (x, _) = next(iter(DataLoader(CSVDataset(path, "y", missing=float("nan")), 4)))
    assert np.isnan(x).tolist() == [[False, True], [True, False]]
    (x,) = DataLoader(CSVDataset(path, dtype="int8", missing=7), 4)
    assert x.tolist() == [[1, 7, 0], [7, 2, 1]]
    path = write_parquet(tmp_path / "t.parquet", {"a": [1, None, 3], "b": [0.5, float("nan"), 2]})
    (x,) = DataLoader(ParquetDataset(path, missing=-1), 4)
    assert x.tolist() == [[1, 0.5], [-1, -1], [3, 2]]
    with pytest.raises(gg.FileFormatError, match="column 'a': there are values that are null"):
        list(ParquetDataset(path))


def test_forms_of_csv(tmp_path):
    path = tmp_path / "t.csv"
    forms = {
        b"\xef\xbb\xbfa,b\n1,2\n\n3,4\n\n": {},
        b'a,b\r\n"1","2"\r\n"3","4"': {},
        b"a;b\n1;2\n3;4\n": {"delimiter": ";"},
        b"1,2\n3,4\n": {"names": ["a", "b"]},
        "a,bü\n1,2\n3,4\n".encode("cp1252"): {"encoding": "cp1252"},
        b',a,b\n0,1,2\n1,3,4\n': {},  # with an index of pandas
        b'a,text,b\n1,"x,\ny",2\n3,"",4\n': {"columns": ["a", "b"]},
    }  # fmt: skip
    for content, options in forms.items():
        path.write_bytes(content)
        (x,) = DataLoader(CSVDataset(path, **options), 9)
        assert x.tolist() == [[1, 2], [3, 4]], content


BAD_TABLES = {
    b"": "t.csv is empty",
    b"\n1,2\n": "t.csv begins with a blank line",
    b"a,y\n": "t.csv: there are no rows",
    b"a,b\n1,2\n": "t.csv has no column 'y', but 'a', 'b'",
    b"a;y\n1;2\n": "t.csv has no column 'y', but 'a;y'. Is the delimiter ';'?",
    b"y\n1\n": "t.csv has no column beside the target",
    b"a,a,y\n1,2,3\n": "t.csv has two columns with the name 'a'",
    b"a,y\n1,2\nx,2\n": "t.csv, row 3, column 'a': 'x' is no finite number of float32. Correct",
    b"a,y\n1,2\n1e39,2\n": "t.csv, row 3, column 'a': '1e39' is no finite number of float32",
    b"a,y\n1,2\ninf,2\n": "t.csv, row 3, column 'a': 'inf' is no finite number of float32",
    b"a,y\n\n1,2\n,2\n": "t.csv, row 4, column 'a': there is no value, but ''. Of a column of x",
    b"a,y\n1,NA\n": "t.csv, row 2, column 'y': there is no value, but 'NA'",
    b"a,y\n1,2\n1\n": "t.csv, row 3 has 1 values, and there are 2 columns. Is a text with a ','",
    b"a,y\n1,2\n1,2,3\n": "t.csv, row 3 has 3 values, and there are 2 columns",
    b'a,y\n1,2\n1,"2\n3,4\n': "t.csv, row 3, column 'y': '2\\n3,4\\n' is no finite number",
    b"a,y\n1,\xff\n": "t.csv is no text of utf-8 after line 0: invalid start byte. Save it as UTF",
    b"PK\x03\x04\x99a,y": "t.csv is a ZIP archive, as a workbook of Excel is",
    b"\x1f\x8b\x08": "t.csv is compressed by gzip. Unpack it",
    "a,y\n1,2\n".encode("utf-16"): "t.csv is text of utf-16. Save it as UTF-8, or pass that",
    b"a,y\n1," + b"2" * 140_000: "t.csv, line 2: field larger than field limit",
}


@pytest.mark.parametrize("content", BAD_TABLES, ids=range(len(BAD_TABLES)))
def test_a_bad_csv_file_gets_a_sentence(content, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises((gg.FileFormatError, gg.ArgumentError)) as caught:
        list(CSVDataset(path, "y"))
    assert BAD_TABLES[content] in str(caught.value)


@given(
    st.lists(st.sampled_from([*'a,y12.;"\n\r\t\0 é', "\n1,2", "NA", "e99", "\ud800"]), max_size=30)
)
@settings(max_examples=150, deadline=None)
def test_whatever_a_file_holds_it_gets_numbers_or_a_sentence(parts):
    path = FOLDER.name + "/hostile.csv"
    text = "a,y\n1,2\n" + "".join(parts)
    with open(path, "w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        file.write(text)
    with suppress(gg.FileFormatError):
        assert all(np.isfinite(x).all() and np.isfinite(y) for x, y in CSVDataset(path, "y"))


def test_bad_settings(tmp_path):
    path = write_csv(tmp_path / "t.csv", table())
    bad = {
        "missing='x' is no number of float32": {"missing": "x"},
        "missing=0.5 is no number of int32": {"missing": 0.5, "dtype": "int32"},
        "dtype must be one of numbers, got bool": {"dtype": "bool"},
        "target_dtype must be one of numbers, got <U1": {"target_dtype": "U1"},
        "chunk_rows must be a whole number of 1 or more, got 0": {"chunk_rows": 0},
        "shuffle_buffer must be a whole number of 1 or more, got 0.5": {"shuffle_buffer": 0.5},
        "delimiter must be one character, got ''": {"delimiter": ""},
        "there is no encoding 'latin-99'": {"encoding": "latin-99"},
        "has 3 columns, and names= has 1 names": {"names": ["a"]},
        "has no column 'c', but 'a', 'b', 'y'": {"columns": ["a", "c"]},
    }
    for message, options in bad.items():
        with pytest.raises(gg.GpugradError) as caught:
            CSVDataset(path, **options)
        assert message in str(caught.value)
    with pytest.raises(gg.ArgumentError, match="expected at least one file"):
        CSVDataset([])
    with pytest.raises(FileNotFoundError):
        CSVDataset(tmp_path / "absent.csv")
    data = CSVDataset(path, "y")
    with pytest.raises(gg.ArgumentError, match="collate_fn makes a batch of single samples"):
        DataLoader(data, collate_fn=list)
    with pytest.raises(gg.ArgumentError, match="has no rows to shuffle"):
        DataLoader(data, sampler=[1, 0])
    with pytest.raises(TypeError, match="has no len"):
        len(DataLoader(data))


def test_bad_parquet_files(tmp_path):
    path = write_parquet(tmp_path / "t.parquet", {"a": [1, 300], "word": ["x", "y"]})
    with pytest.raises(gg.FileFormatError, match="'word': its values are of type string; expected"):
        ParquetDataset(path)
    with pytest.raises(gg.ArgumentError, match="has no column 'y', but 'a', 'word'"):
        ParquetDataset(path, "y")
    with pytest.raises(gg.FileFormatError, match="column 'a': 300 is no finite number of int8"):
        list(ParquetDataset(path, columns=["a"], dtype="int8"))
    twice = write_parquet(tmp_path / "twice.parquet", [np.ones(2), np.ones(2)], ["a", "a"])
    with pytest.raises(gg.FileFormatError, match="has two columns with the name 'a'"):
        ParquetDataset(twice)
    whole = path.read_bytes()
    for content in (b"", b"a,y\n1,2\n", whole[:-10], whole[:40]):
        path.write_bytes(content)
        with pytest.raises(gg.FileFormatError, match="t.parquet cannot be read as Parquet: "):
            ParquetDataset(path)
    with pytest.raises(FileNotFoundError):
        ParquetDataset(tmp_path / "absent.parquet")
    write_parquet(path, {"a": np.empty(0)})
    with pytest.raises(gg.FileFormatError, match="t.parquet: there are no rows"):
        ParquetDataset(path)


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        ImportError, match='A Parquet file needs pyarrow: pip install "pyarrow>=17"'
    ):
        ParquetDataset(tmp_path / "t.parquet")
