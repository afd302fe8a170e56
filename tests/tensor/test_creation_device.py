"""Where new tensors go: data of the host follow the default device, `device=` decides."""

import numpy as np
import pytest
from processes import run_python

import gpugrad as gg
from gpugrad.backend.device import device_of

HOST = {
    "array": np.ones(3),
    "0-d array": np.array(1.0),
    "number of NumPy": np.float64(2.0),
    "list": [1.0, 2.0],
    "number": 1.0,
    "of whole numbers": np.arange(3),
}


@pytest.mark.parametrize("name", HOST)
def test_data_of_the_host_go_to_the_default_device(name, device):
    data = HOST[name]
    assert gg.tensor(data).device == device
    assert gg.tensor(data, device="cpu").device == "cpu"
    assert gg.tensor(data, device="sim:1").device == "sim:1"
    with gg.device("cpu"):
        assert gg.tensor(data).device == "cpu"
    dtype = getattr(data, "dtype", np.dtype(np.float32))
    assert gg.tensor(data).dtype == dtype
    if dtype.kind == "f":
        assert gg.nn.Parameter(data).device == device


def test_what_has_a_device_stays_there(device):
    there = gg.tensor(np.ones(2), device="sim:1")
    with gg.device("cpu"):
        here = gg.tensor(np.ones(2))
    for kept in (there, here):
        for make in (gg.tensor, gg.asarray, gg.nn.Parameter):
            assert make(kept).device == kept.device
    assert gg.tensor(there.data).device == "sim:1"
    assert gg.asarray(np.ones(2)).device == "cpu"  # as the standard says
    assert gg.from_dlpack(np.ones(2)).device == "cpu"


def test_an_operand_stays_where_it_is(device):
    """An array that no tensor was made of is computed with where it lies."""
    for function in (gg.sum, gg.sort, gg.ravel, gg.linalg.inv, gg.atleast_1d, gg.median):
        assert function(np.eye(2)).device == "cpu"
    assert gg.zeros_like(np.ones(2)).device == "cpu"
    gradient = gg.grad(lambda x: (x * x).sum())(np.ones(2))
    assert type(gradient) is np.ndarray


def test_memory_is_shared_on_the_cpu_alone():
    array = np.ones(2)
    with gg.device("sim"):
        moved = gg.tensor(array)
    with gg.no_grad():
        moved += 1
        kept = gg.tensor(array)
        kept += 2
    assert array.tolist() == [3.0, 3.0]


def test_batches_of_numpy_arrays_follow(device, rng):
    x, y = rng.normal(size=(7, 3)), np.arange(7)

    class Own:
        def __len__(self):
            return 7

        def __getitem__(self, index):
            return x[index], y[index], "a word"

    for shuffle in (False, True):
        seen = []
        for xs, ys in gg.data.DataLoader((x, y), batch_size=3, shuffle=shuffle):
            assert device_of(xs) == device_of(ys) == device
            assert not isinstance(xs, gg.Tensor)
            seen += gg.asarray(ys).tolist()
        assert sorted(seen) == list(range(7))
    for xs, ys, word in gg.data.DataLoader(Own(), batch_size=3):
        assert device_of(xs) == device_of(ys) == device
        assert word == ["a word"] * len(xs)
    held = gg.tensor(x, device="cpu")
    for xs, ys in gg.data.DataLoader((held, y), batch_size=3, shuffle=True):
        assert (xs.device, device_of(ys)) == ("cpu", device)
        np.testing.assert_array_equal(xs.numpy(), x[gg.asarray(ys).tolist()])
    for xs in gg.data.DataLoader(x, batch_size=3, device="cpu"):
        assert device_of(xs) == "cpu"
    parts = gg.data.train_test_split(x, y)
    assert all(type(part) is np.ndarray for part in parts)


# A program with NumPy's data, as a newcomer writes it.
PROGRAM = """
import numpy as np
import gpugrad as gg

rng = np.random.default_rng(0)
inputs = rng.uniform(-1, 1, (64, 2)).astype("float32")
labels = (np.sum(inputs**2, axis=1) < 0.5).astype("int64")

def train():
    gg.manual_seed(0)
    model = gg.nn.MLP(2, [8, 2])
    optimizer = gg.optim.Adam(model.parameters(), lr=0.02)
    x, y = gg.tensor(inputs), gg.tensor(labels)
    mean = gg.tensor(inputs.mean(axis=0))
    losses = []
    for _ in range(3):
        loss = gg.nn.functional.cross_entropy(model(x - mean), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    for xs, ys in gg.data.DataLoader((inputs, labels), batch_size=16, shuffle=True):
        loss = gg.nn.functional.cross_entropy(model(xs - mean), ys)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, str(loss.device)
"""


def test_a_program_with_numpys_data_runs_on_each_device(device):
    names = {}
    exec(PROGRAM, names)
    losses, where = names["train"]()
    assert where == str(device)
    with gg.device("cpu"):
        np.testing.assert_allclose(losses, names["train"]()[0], rtol=1e-4)


def test_the_environment_is_enough():
    program = PROGRAM + "\nprint(train()[1])\nimport gpugrad as gg\nprint(gg.tensor(inputs).device)"
    run = run_python(program, GPUGRAD_DEVICE="sim:1")
    assert run == ["sim:1", "sim:1"]


def test_assignment_on_a_device_that_is_not_the_current_one():
    x = gg.tensor(np.arange(4.0), device="sim:1")
    values = gg.tensor(np.array([5.0, 6.0]), device="sim:1")
    index = gg.tensor([1, 1], dtype="int64", device="sim:1")
    made = {
        "set": x.at[index].set(values),
        "number": x.at[index].set(6.0),
        "list": x.at[[1, 1]].set(values),
        "maximum": x.at[index].max(values),
        "along": gg.put_along_axis(x, index, values, 0),
        "add": x.at[index].add(values - 3.5),
        "mask": x.at[x == 1].set(6.0),
    }
    for name, one in made.items():
        assert one.device == "sim:1", name
        assert one.tolist() == [0.0, 5.0 if name == "add" else 6.0, 2.0, 3.0], name
    x[index] = values
    assert x.tolist() == [0.0, 6.0, 2.0, 3.0]
