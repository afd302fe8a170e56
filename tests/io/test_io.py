"""Saving and loading: what goes in comes out, and what is not whole is refused."""

import contextlib
import errno
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gpugrad as gg
from gpugrad.backend.device import device_of, to_numpy

DTYPES = (
    "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64 "
    "complex64 complex128"
).split()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.safetensors"


def same(one, other):
    """Whether two nestings are equal, in types and in bits."""
    if isinstance(one, gg.Tensor):
        assert isinstance(other, gg.Tensor)
        assert one.name == other.name
        assert one.requires_grad == other.requires_grad
        return same(one.data, other.data)
    if hasattr(one, "dtype"):
        one, other = to_numpy(one), to_numpy(other)
        return (one.shape, one.dtype, one.tobytes()) == (other.shape, other.dtype, other.tobytes())
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


# ---------------------------------------------------------------- round trips


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 0, 3)])
def test_every_dtype_and_shape(dtype, shape, path, device, rng):
    array = np.asarray(rng.integers(0, 2, size=shape) * (1 + 2j if "complex" in dtype else 1))
    array = array.astype(dtype)
    there = device.send(array)
    gg.save({"tensor": gg.Tensor(there), "raw": there}, path)
    found = gg.load(path)
    assert same({"tensor": gg.Tensor(array), "raw": array}, found)
    assert found["tensor"].device == device
    assert device_of(found["raw"]) == device


def test_nesting_numbers_and_strings(path):
    obj = {
        "list": [1, 2.5, True, None, "text ∂", [], {}, ()],
        "tuple": (1, (2, [3])),
        "numbers": [float("inf"), -float("inf"), float("nan"), -0.0, 0.1, 1e-320, 2**80, 1 - 2j],
        "keys": {0: "a", (1, "b"): "c", None: "d", 1.5: "e", (False,): "f"},
        "dict": {"dict": {"array": 1}, "tensor": "x", "": ""},
        "a.b": np.ones(2),
        "a": {"b": np.zeros(3)},
        "__metadata__": np.ones(1),
    }
    gg.save(obj, path)
    assert same(obj, gg.load(path))


@pytest.mark.parametrize("obj", [None, 3, "s", [], (1,), np.arange(3), gg.ones(2), np.float64(2.0)])
def test_anything_at_the_top(obj, path):
    gg.save(obj, path)
    found = gg.load(path)
    assert same(obj, found) or (found == obj and type(found) is float)


trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.complex_numbers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.dictionaries(st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(trees)
def test_any_nesting(tmp_path, obj):
    gg.save(obj, tmp_path / "x")
    assert same(obj, gg.load(tmp_path / "x"))


def test_memory_layouts(path, rng):
    array = rng.normal(size=(6, 8))
    views = [array.T, array[::2, ::3], np.asfortranarray(array), np.broadcast_to(array[0], (3, 8))]
    swapped = array.astype(">f8")
    gg.save([*views, swapped], path)
    found = gg.load(path)
    for one, other in zip([*views, swapped], found):
        np.testing.assert_array_equal(one, other)
        assert other.flags.c_contiguous
        assert other.flags.writeable
        assert other.dtype == np.dtype("float64")


def test_tensors_keep_what_they_are(path):
    w = gg.tensor([1.0, 2.0], requires_grad=True, name="w")
    gg.save({"leaf": w, "computed": w * 2, "plain": gg.ones(1)}, path)
    found = gg.load(path)
    assert found["leaf"].requires_grad
    assert found["leaf"].name == "w"
    assert not found["computed"].requires_grad
    assert found["computed"].tolist() == [2.0, 4.0]
    (found["leaf"] ** 2).sum().backward()
    assert found["leaf"].grad.tolist() == [2.0, 4.0]


def test_devices(path):
    gg.save({"x": gg.ones(2, device="sim"), "y": np.ones(2)}, path)
    assert {x.device for x in map(gg.tensor, gg.load(path).values())} == {gg.Device("cpu")}
    there = gg.load(path, device="sim:1")
    assert there["x"].device == "sim:1"
    assert device_of(there["y"]) == "sim:1"
    with gg.device("sim"):
        assert gg.load(path)["x"].device == "sim"


def test_a_whole_training_in_one_file(path, device):
    """Model, optimizer, schedule and generator: what goes on is what would have gone on."""

    def begun():
        gg.random.manual_seed(5)
        model = gg.nn.MLP(3, [4, 1])
        optimizer = gg.optim.Adam(model.parameters(), lr=0.1)
        return model, optimizer, gg.optim.StepLR(optimizer, 2), gg.random.Generator(3)

    def train(model, optimizer, schedule, generator):
        for _ in range(3):
            x = generator.normal(size=(5, 3))
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            optimizer.step()
            schedule.step()

    names = ("model", "optimizer", "schedule", "generator")
    parts = begun()
    train(*parts)
    gg.save(dict(zip(names, parts)), path)
    train(*parts)
    others = begun()
    found = gg.load(path)
    for name, part in zip(names, others):
        part.load_state_dict(found[name])
    train(*others)
    for one, other in zip(parts[0].parameters(), others[0].parameters()):
        np.testing.assert_array_equal(one.detach().cpu().numpy(), other.detach().cpu().numpy())
    assert parts[2].get_last_lr() == others[2].get_last_lr()


def test_saving_does_not_change_what_is_saved(path):
    model = gg.nn.Linear(2, 2)
    optimizer = gg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        model(gg.ones((1, 2))).sum().backward()
        optimizer.step()
        before = [
            buffer.copy() for buffer in (s["momentum_buffer"] for s in optimizer.state.values())
        ]
        gg.save({"model": model, "optimizer": optimizer}, path)
        after = [s["momentum_buffer"] for s in optimizer.state.values()]
        assert same(before, after)


def test_bfloat16(path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.arange(5).astype(ml_dtypes.bfloat16)
    gg.save({"x": x}, path)
    assert same({"x": x}, gg.load(path))


def test_bfloat16_without_ml_dtypes(path):
    # In another process: here the module may be imported already.
    header = json.dumps({"x": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    code = (
        "import sys; sys.modules['ml_dtypes'] = None\n"
        "import gpugrad as gg\n"
        f"try: gg.load({str(path)!r})\n"
        "except gg.FileFormatError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "ml_dtypes>=0.5"' in run.stdout


# ---------------------------------------------------------------- other programs


def test_safetensors_reads_our_files(path, device):
    model = gg.nn.Linear(3, 2)
    gg.save({"model": model, "epoch": 3, "x": np.arange(4, dtype="int16")}, path)
    found = safetensors.numpy.load_file(path)
    assert sorted(found) == ["model.bias", "model.weight", "x"]
    np.testing.assert_array_equal(found["model.weight"], model.weight.detach().cpu().numpy())
    assert found["x"].dtype == np.int16


def test_we_read_files_of_safetensors(path):
    arrays = {"a.weight": np.ones((2, 3), "float16"), "b": np.array(7)}
    safetensors.numpy.save_file(arrays, path, metadata={"format": "pt"})
    found = gg.load(path)
    assert sorted(found) == ["a.weight", "b"]
    assert all(isinstance(x, gg.Tensor) and same(x.data, arrays[k]) for k, x in found.items())


# ---------------------------------------------------------------- crashes


@pytest.mark.skipif(os.name == "nt", reason="needs limits of resources")
def test_a_full_disk_is_an_error_with_its_number_and_leaves_the_old_file(path):
    gg.save({"x": 1}, path)
    code = (
        "import gpugrad as gg, numpy as np, resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        f"try: gg.save({{'x': np.ones(100_000)}}, {str(path)!r})\n"
        "except OSError as error: print(type(error).__name__, error.errno)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["OSError", str(errno.EFBIG)]
    assert gg.load(path) == {"x": 1}
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("moment", ["os.fsync", "os.replace"])
def test_an_interrupt_leaves_the_old_file(moment, path, monkeypatch):
    gg.save({"x": 1}, path)

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(moment, interrupted)
    with pytest.raises(KeyboardInterrupt):
        gg.save({"x": np.ones(1000)}, path)
    monkeypatch.undo()
    assert gg.load(path) == {"x": 1}
    assert os.listdir(path.parent) == [path.name]


def killed_in(moment, path):
    """Save in a process that is killed when it calls a function of os."""
    code = (
        "import gpugrad as gg, numpy as np, os, signal\n"
        "def die(*args): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"os.{moment} = die\n"
        f"gg.save({{'x': np.ones(100000)}}, {str(path)!r})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert run.returncode < 0, run.stderr


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_killed_process_leaves_the_old_file_and_the_next_one_tidies_up(moment, path):
    gg.save({"x": 1}, path)
    killed_in(moment, path)
    assert gg.load(path) == {"x": 1}
    assert len(os.listdir(path.parent)) == 2
    gg.save(0, path.with_name("other"))  # another file's are no business of this one
    assert len(os.listdir(path.parent)) == 3
    gg.save({"x": 2}, path)
    assert gg.load(path) == {"x": 2}
    assert sorted(os.listdir(path.parent)) == [path.name, "other"]


def test_a_file_that_another_thread_is_writing_is_left_alone(path, monkeypatch):
    fsync, seen = os.fsync, []

    def flushed(handle):
        monkeypatch.setattr("os.fsync", fsync)
        gg.save({"x": "in between"}, path)
        seen.append(gg.load(path))
        fsync(handle)

    monkeypatch.setattr("os.fsync", flushed)
    gg.save({"x": "last"}, path)
    assert seen == [{"x": "in between"}]
    assert gg.load(path) == {"x": "last"}
    assert os.listdir(path.parent) == [path.name]


def test_what_is_no_file_is_refused_and_stays(tmp_path):
    folder, pipe, link = (tmp_path / name for name in ("folder", "pipe", "link"))
    folder.mkdir()
    link.symlink_to(os.devnull)
    if hasattr(os, "mkfifo"):
        os.mkfifo(pipe)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(IsADirectoryError, match="this is a folder"):
        gg.save(1, folder)
    with pytest.raises(IsADirectoryError):
        gg.load(folder)
    for path in [link, pipe][: 1 + hasattr(os, "mkfifo")]:
        with pytest.raises(OSError, match="a device or a pipe") as caught:
            gg.save(1, path)
        assert caught.value.errno == errno.EINVAL
        with pytest.raises(gg.FileFormatError, match="a device or a pipe"):
            gg.load(path)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_file_that_is_replaced_while_it_is_read(path, monkeypatch):
    """All comes from the file that was opened: nothing of the one that took its place."""
    gg.save({"step": 1, "x": np.full(3, 1.0)}, path)
    gg.save({"step": 2, "x": np.full(3, 2.0)}, other := path.with_name("other"))
    loads = json.loads

    def replaced(*args, **kwargs):
        if other.exists():
            os.replace(other, path)
        return loads(*args, **kwargs)

    monkeypatch.setattr("json.loads", replaced)
    found = gg.load(path)
    assert not other.exists()
    assert found["step"] == found["x"][0] == 1


def test_file_and_folder_are_flushed_before_and_after_the_rename(path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace

    def flushed(handle):
        events.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        fsync(handle)

    def renamed(*args):
        events.append("rename")
        replace(*args)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc to tell a file from a folder")
    monkeypatch.setattr("os.fsync", flushed)
    monkeypatch.setattr("os.replace", renamed)
    gg.save({"x": np.ones(3)}, path)
    assert events == ["file", "rename", "folder"]


def test_permissions_and_links(path):
    mask = os.umask(0o022)
    try:
        gg.save(1, path)
        assert path.stat().st_mode & 0o777 == 0o644
        path.chmod(0o640)
        link = path.with_name("link")
        link.symlink_to(path)
        gg.save(2, link)
    finally:
        os.umask(mask)
    assert link.is_symlink()
    assert gg.load(path) == 2
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        gg.save(1, tmp_path / "no" / "file")
    with pytest.raises(FileNotFoundError):
        gg.load(tmp_path / "file")


# ---------------------------------------------------------------- damaged files


def whole(path):
    gg.save({"x": np.arange(100.0), "n": [1, 2]}, path)
    return path.read_bytes()


def with_header(raw, change):
    """The file with its header's dict changed."""
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + raw[8 + length :]


def test_cut_off_anywhere(path):
    raw = whole(path)
    for end in [*range(0, len(raw), 37), len(raw) - 1]:
        path.write_bytes(raw[:end])
        with pytest.raises(gg.FileFormatError, match="cut off"):
            gg.load(path)


@given(st.binary(max_size=200))
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes(tmp_path, raw):
    (tmp_path / "x").write_bytes(raw)
    with pytest.raises(gg.FileFormatError):
        gg.load(tmp_path / "x")


def test_changed_bytes_give_a_clear_error_or_a_value(path, rng):
    raw = whole(path)
    (length,) = struct.unpack("<Q", raw[:8])
    for _ in range(200):
        spoilt = bytearray(raw)
        spoilt[rng.integers(0, 8 + length)] = rng.integers(0, 256)
        path.write_bytes(spoilt)
        try:
            gg.load(path)
        except gg.FileFormatError:
            pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"x": print}), "looks like a pickle.*runs it. Convert it with"),
        (b"PK\x03\x04" + bytes(100), "zip archive"),
        (b"just text, and more of it", "is no safetensors file$"),
    ],
)
def test_foreign_files(content, message, path):
    path.write_bytes(content)
    with pytest.raises(gg.FileFormatError, match=message):
        gg.load(path)


def test_npy_file(path):
    stream = io.BytesIO()
    np.save(stream, np.ones(3))
    path.write_bytes(stream.getvalue())
    with pytest.raises(gg.FileFormatError, match=r"numpy\.load"):
        gg.load(path)


@pytest.mark.parametrize("length", [2**63, 10**12])
def test_a_forged_length_takes_no_memory(length, path):
    path.write_bytes(struct.pack("<Q", length) + b"{" + bytes(50))
    tracemalloc.start()
    try:
        with pytest.raises(gg.FileFormatError, match="is no safetensors file"):
            gg.load(path)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def test_an_oversized_header(path):
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 10**8 + 1) + b"{")
        file.truncate(2 * 10**8)  # takes no room on the disk
    with pytest.raises(gg.FileFormatError, match="more than the 100,000,000"):
        gg.load(path)


def shape_of(shape):
    return lambda header: header["x"].update(shape=shape)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shape_of([101]), "invalid shape"),
        (shape_of([10**18]), "damaged"),
        (shape_of([-100]), "damaged"),
        (lambda h: h["x"].update(dtype="F33"), "damaged"),
        (lambda h: h["x"].update(data_offsets=[0, 10**15]), "cut off: its header promises"),
        (lambda h: h["x"].update(data_offsets=[8, 800]), "damaged"),
        (lambda h: h["x"].update(data_offsets="x"), "header is damaged"),
        (lambda h: h["x"].pop("data_offsets"), "header is damaged"),
        (lambda h: h.update(y=7), "header is damaged"),
        (shape_of([1.0, 100]), "header is damaged"),
        (shape_of([True] * 3), "header is damaged"),
        (shape_of([1] * 70 + [100]), "invalid shape"),
        (shape_of([0, 2**70]), "damaged"),
        (shape_of([10**4000]), "damaged"),
        (lambda h: h["x"].update(data_offsets=[0, 0], shape=[0]), "800 bytes follow"),
        (lambda h: h["x"].update(data_offsets=[-800, 0]), "header is damaged"),
        (lambda h: h["x"].update(data_offsets=[0.0, 8e2]), "header is damaged"),
        (lambda h: h["x"].update(data_offsets=[800, 0]), "damaged"),
        (lambda h: h.update(y=dict(h["x"])), "overlap or have gaps"),
        (lambda h: h.update(__metadata__={"gpugrad": 3}), "header is damaged"),
        (lambda h: h.update(__metadata__=[]), "header is damaged"),
    ],
)
def test_headers_that_lie(change, message, path):
    path.write_bytes(with_header(whole(path), change))
    with pytest.raises(gg.FileFormatError, match=message):
        gg.load(path)


@pytest.mark.parametrize("long", [2**31, 2**62, 2**63, 2**64, 10**30])
@pytest.mark.parametrize("axes", [1, 2, 63])
def test_empty_arrays_with_long_axes(long, axes, path, device):
    """Loaded, where an array may have such a shape, or refused."""
    entry = {"dtype": "F32", "shape": [0] + [long] * axes, "data_offsets": [0, 0]}
    text = json.dumps({"x": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with contextlib.suppress(gg.FileFormatError):
        assert gg.load(path)["x"].size == 0


HOSTILE = {
    "empty lists": "[" + ",".join(["[]"] * 100_000) + "]",
    "dicts": "{" + ",".join(f'"{i}":{{}}' for i in range(50_000)) + "}",
    "entries": "{" + ",".join(
        f'"{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(4_000)
    ) + "}",
    "one long shape": '{"x":{"dtype":"F32","shape":[' + "1," * 200_000 + "1]}}" ,
    "metadata": '{"__metadata__":{' + ",".join(f'"{i}":"ab"' for i in range(10_000)) + "}}",
    "metadata of lists": '{"__metadata__":{"gpugrad":[' + "[]," * 100_000 + "[]]}}",
    "nesting": "[" * 300_000,
    "nested entry": '{"x":' + '{"x":' * 100_000,
    "numbers": '{"x":[' + "1.5," * 100_000 + "1]}",
}  # fmt: skip


def peak_of_loading(path):
    """Bytes allocated at a time by loading a file, or refusing it."""
    tracemalloc.start()
    try:
        gg.load(path)
    except gg.FileFormatError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_a_header_costs_at_most_ten_times_its_size(text, path):
    path.write_bytes(struct.pack("<Q", len(text)) + text.encode())
    assert peak_of_loading(path) < 10 * len(text) + 100_000


def test_contents_cost_at_most_ten_times_their_size(path, monkeypatch):
    monkeypatch.setattr("gpugrad.io.tree.ALLOWED", 1_000_000)
    for element in ([], {}, [1, 2], "ab", {"a": {}}, ""):
        text = json.dumps({"format": 1, "tree": [element] * 100_000})
        safetensors.numpy.save_file({}, path, metadata={"gpugrad": text})
        assert peak_of_loading(path) < 11 * len(text), element
    with pytest.raises(ValueError, match="Make arrays of long lists"):  # and none is written
        gg.save([[]] * 100_000, path)


def nested(depth, wrap):
    obj = 1
    for _ in range(depth):
        obj = wrap(obj)
    return obj


@pytest.mark.parametrize(
    "wrap",
    [lambda x: [x], lambda x: (x,), lambda x: {"a": x}, lambda x: {1: x}, lambda x: {(1, (2,)): x}],
    ids=["list", "tuple", "dict", "items", "keys"],
)
def test_what_save_writes_load_reads(wrap, path):
    gg.save(nested(100, wrap), path)
    assert same(gg.load(path), nested(100, wrap))
    before = path.read_bytes()
    for depth in (101, 250, 330, 5000):
        with pytest.raises(ValueError, match="nested too deeply, over 100 levels"):
            gg.save(nested(depth, wrap), path)
    assert path.read_bytes() == before


def test_keys_and_numbers_that_cannot_be_read_are_not_written(path):
    with pytest.raises(ValueError, match="nested too deeply"):
        gg.save({nested(200, lambda x: (x,)): 1}, path)
    with pytest.raises(ValueError, match="whole number at n has over 4,300 digits"):
        gg.save({"n": 10**5000}, path)
    assert not path.exists()
    gg.save([10**3800, -(10**3800)], path)
    assert gg.load(path) == [10**3800, -(10**3800)]


def tree(value):
    return json.dumps({"format": 1, "tree": value})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "contents is damaged"),
        ("[]", "contents is damaged"),
        ('{"tree": 1}', "contents is damaged"),
        (json.dumps({"format": 2, "tree": 1}), "has format 2, this gpugrad reads formats up to 1"),
        (json.dumps({"format": "x", "tree": 1}), "has format 'x'"),
        (tree({"array": "y"}), "the array 'y' is not in it"),
        (tree({"array": ["x"]}), "is not in it"),
        (tree({"tensor": None}), "is not in it"),
        (tree({"array": "x", "dtype": "complex128"}), "has no pairs of numbers"),
        (tree({"tensor": "b", "requires_grad": True}), "has no gradient"),
        (tree({"call": "os.system"}), r"an object with the keys \['call'\]"),
        (tree({"dict": [1]}), "an invalid dict"),
        (tree({"items": {}}), "items that are not a list"),
        (tree({"items": [[1]]}), "an item that is not a pair"),
        (tree({"items": [[[1], 2]]}), "an unhashable key"),
        (tree({"tuple": 3}), "an invalid tuple"),
        (tree({"float": "1e5"}), "an invalid number"),
        (tree({"complex": [1]}), "a complex number"),
        (tree({"complex": [1, "x"]}), "an invalid complex number"),
        (tree({"complex": [10**400, 0.0]}), "an invalid complex number"),
        (tree([{"array": "x"}, {"array": "x"}]), "or is there twice"),
        (tree({"items": [[{"tensor": "x"}, 1]]}), "an unhashable key"),
        (tree(float("nan")), "NaN is no JSON"),
        (json.dumps({"format": True, "tree": 1}), "has format True"),
        ('{"format": 1, "tree": ' + "[" * 5000 + "]" * 5000 + "}", "contents is damaged"),
    ],
)
def test_contents_that_make_no_sense(text, message, path):
    arrays = {"x": np.zeros(3), "b": np.zeros(2, bool)}
    safetensors.numpy.save_file(arrays, path, metadata={"gpugrad": text})
    with pytest.raises(gg.FileFormatError, match=message):
        gg.load(path)


def test_a_state_of_other_shapes(path):
    gg.save({"model": gg.nn.Linear(3, 2)}, path)
    with pytest.raises(gg.ShapeError):
        gg.nn.Linear(4, 2).load_state_dict(gg.load(path)["model"])


# ---------------------------------------------------------------- what cannot be saved


class Thing:
    pass


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"a": [Thing()]}, r"cannot save a Thing at a\.0: expected Tensors"),
        ({"f": print}, "cannot save a builtin_function_or_method at f"),
        ({1, 2}, "cannot save a set:"),
        ({"m": gg.nn.Linear}, "cannot save a type at m"),
        ({"x": {Thing(): 1}}, "a key of type Thing at x"),
        ({"x": np.array(["a"])}, "cannot save an array of <U1 at x"),
        (np.array([None]), "cannot save an array of object"),
    ],
)
def test_what_cannot_be_saved(obj, message, path):
    with pytest.raises(gg.DTypeError, match=message):
        gg.save(obj, path)
    assert not path.exists()


def test_an_object_that_contains_itself(path):
    obj = []
    obj.append(obj)
    with pytest.raises(ValueError, match="contains itself"):
        gg.save(obj, path)


def test_too_much_text(path, monkeypatch):
    monkeypatch.setattr("gpugrad.io.safetensors.LIMIT", 1000)
    with pytest.raises(ValueError, match="Make arrays of long lists"):
        gg.save(list(range(1000)), path)
