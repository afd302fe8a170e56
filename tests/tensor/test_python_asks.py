"""What Python asks of a tensor: a number, a truth value, the same object, a shape."""

import logging
import math
import statistics
import weakref

import numpy as np
import pytest

import gpugrad as gg


def recorded(device, value=2.5):
    return gg.tensor(value, device=device, requires_grad=True) * 2.0


# ---------------------------------------------------------------- numbers

SHOWN = {
    "float": lambda t: float(t),
    "in a list": lambda t: [1, float(t), 2][1],
    "in a call": lambda t: max(0.0, float(t)),
    "in a loop": lambda t: [float(u) for u in (t, t)][-1],
    "in an f-string": lambda t: float(f"{float(t):.3f}"),
    "f-string": lambda t: float(f"{t:.3f}"),
    "format": lambda t: float("{:.3f}".format(t)),  # noqa: UP032
    "percent": lambda t: float("%.3f" % t),  # noqa: UP031
    "percent of a tuple": lambda t: float("%.3f%s" % (t, "0")),  # noqa: UP031
    "item": lambda t: t.item(),
    "isnan": lambda t: 5.0 if not math.isnan(t) else 0.0,
    "isfinite": lambda t: 5.0 if math.isfinite(t) else 0.0,
    "running mean": lambda t: sum(float(u) * 2 for u in (t, t)) / 4,
    "whole percent": lambda t: float("%d" % t),  # noqa: UP031
    "map": lambda t: list(map(float, [t, t]))[1],
    "mean of map": lambda t: sum(map(float, [t, t])) / 2,
    "sorted map": lambda t: sorted(map(float, [t, t]), reverse=True)[0],
    "star of map": lambda t: [*map(float, [t])][0],  # noqa: RUF015
    "loop over map": lambda t: [v for v in map(float, [t])][0],  # noqa: C416, RUF015
    "sum over map": lambda t: sum(2.0 * v for v in map(float, [t])) / 2.0,
    "unpacked map": lambda t: (lambda a, b: (a + b) / 2)(*map(float, [t, t])),
    "fsum of map": lambda t: math.fsum(map(float, [t])),
}
TAKEN = {
    "math.sin": lambda t: math.sin(t),
    "after float": lambda t: 1.0 + math.sin(t),
    "inside float": lambda t: float(math.sin(t)),
    "map of sin": lambda t: list(map(math.sin, [t])),
    "map of map": lambda t: list(map(float, map(math.sin, [t]))),
    "beside map": lambda t: (list(map(float, [t])), math.fsum([t])),
    "behind map": lambda t: math.hypot(max(map(float, [t])), t),
    "dist of map": lambda t: math.dist(map(float, [t]), [t]),
    "a mapped name": lambda t: (lambda function: list(map(function, [t])))(math.exp),
    "math.pow": lambda t: math.pow(t, 2.0),
    "another name": lambda t: (lambda function: function(t))(math.exp),
    "int": lambda t: int(t),
    "complex": lambda t: complex(t),
    "a library": lambda t: statistics.fmean([t]),
    "a library's float": lambda t: statistics.NormalDist(t),
    "array": lambda t: np.asarray(t),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_number_that_is_shown_is_no_derivative(name, device):
    t = recorded(device)
    assert SHOWN[name](t) == 5.0
    assert float(t) == 5.0
    assert float(gg.tensor(5.0, device=device, requires_grad=True)) == 5.0


@pytest.mark.parametrize("name", TAKEN)
def test_a_number_that_a_function_takes_is_refused(name, device):
    for _ in range(30):  # also once Python has specialized the call
        with pytest.raises(gg.GradientError, match="requires"):
            TAKEN[name](recorded(device))


def test_numpys_scalars_show_a_number():
    t = recorded("cpu")
    assert (np.float64(t), np.float32(t), np.float64(t) * 2) == (5.0, 5.0, 10.0)
    with pytest.raises(gg.GradientError, match="requires"):
        np.float64(gg.stack([t, t]))


def test_statistics_says_what_to_write(device):
    for function in (statistics.mean, statistics.fmean, statistics.stdev):
        for t in (recorded(device), recorded(device).detach()):
            if function is not statistics.fmean or t.requires_grad:
                with pytest.raises((gg.DTypeError, gg.GradientError), match=r"gg\.mean.*\.item"):
                    function([t, t])
    assert "as_integer_ratio" not in dir(t)


def test_logging_shows_a_number(caplog, device):
    with caplog.at_level(logging.INFO):
        logging.getLogger("own").info("loss %.3f", recorded(device))
    assert caplog.messages == ["loss 5.000"]


def test_inside_a_differentiated_function_a_float_is_a_constant():
    with pytest.raises(gg.GradientError, match=r"t\.item\(\)"):
        gg.grad(lambda x: float(x) * x)(2.0)
    assert gg.grad(lambda x: x.item() * x)(2.0) == 2.0
    assert gg.grad(lambda x: (f"{x:.3f}", x * x)[1])(2.0) == 4.0


def test_code_without_positions(device):
    for text in ("y = float(t)", "y = 2.0 * float(t) / 2", "y = [float(t)][0]"):
        names = {"t": recorded(device)}
        exec(text, names)
        assert names["y"] == 5.0
    with pytest.raises(gg.GradientError):
        exec("import math\ny = float(1.0) + math.sin(t)", {"t": recorded(device)})


# ---------------------------------------------------------------- objects


def test_a_tensor_in_a_list_is_that_tensor(device):
    t, twin = (gg.tensor(np.arange(3.0), device=device) for _ in range(2))
    other = gg.zeros((2, 2))
    assert t in [other, t]
    assert t in (twin, t)
    assert t not in [other, twin]
    assert other not in [t, twin]
    assert (t not in [other]) is True
    apart = gg.tensor(np.arange(3.0), device="sim:1")
    assert apart not in [t, twin]
    bias, same = (gg.nn.Linear(2, 2).bias for _ in range(2))  # both zeros
    assert bias in [same, bias]
    assert bias not in [same]
    for changed in (t == twin, t == t):
        assert changed.tolist() == [True, True, True]
    with pytest.raises(gg.ShapeError, match="ambiguous"):
        bool(t == twin)
    with pytest.raises(gg.ShapeError):
        assert (t == other) is not None
    nan = gg.tensor(np.array(np.nan), device=device)
    assert not bool(nan == nan)
    assert 2.0 in t
    assert 5.0 not in t


def test_a_list_finds_counts_and_removes_its_tensors(device):
    t, twin = (gg.tensor(np.arange(3.0), device=device) for _ in range(2))
    tensors = [gg.zeros((2, 2)), twin, t]
    assert (tensors.index(t), tensors.count(t)) == (2, 1)
    tensors.remove(t)
    assert tensors[1] is twin
    with pytest.raises(ValueError, match="not in list"):
        tensors.index(t)


def test_weak_dictionaries_find_their_tensors(device):
    keys = [gg.tensor(np.zeros(shape), device=device) for shape in ((3,), (3,), (2, 2), (0,))]
    table = weakref.WeakKeyDictionary()
    seen = weakref.WeakSet()
    for number, key in enumerate(keys):
        table[key] = number
        table[key] = number  # again: the key is found
        seen.add(key)
    assert [table[key] for key in keys] == [0, 1, 2, 3]
    assert len(table) == len(seen) == 4
    assert keys[1] in table
    assert keys[1] in seen
    assert gg.zeros(3) not in table
    key = None
    del table[keys[0]], keys[1:]
    assert len(seen) == 1


# ---------------------------------------------------------------- shapes and memory


def test_a_shape_is_assigned(device):
    t = gg.tensor(np.arange(6.0), device=device)
    alias = t.data
    t.shape = (2, -1)
    assert t.shape == (2, 3)
    t.shape = 6
    with gg.no_grad():
        t[0] = 9.0
    assert alias.reshape(-1)[0] == 9.0
    turned = gg.tensor(np.arange(6.0).reshape(2, 3), device=device).T
    with pytest.raises(gg.ShapeError, match=r"takes a copy.*t\.reshape"):
        turned.shape = 6
    with pytest.raises(gg.ShapeError):
        t.shape = (4, 2)
    leaf = gg.tensor(np.arange(4.0), device=device, requires_grad=True)
    with pytest.raises(gg.GradientError, match="keeps its shape"):
        leaf.shape = (2, 2)
    y = leaf * 2.0
    y.shape = (2, 2)
    (y @ y).sum().backward()
    square = gg.grad(lambda x: (4 * x.reshape(2, 2) @ x.reshape(2, 2)).sum())
    np.testing.assert_allclose(leaf.grad.tolist(), square(np.arange(4.0)))


def test_numpys_generator_permutes_a_tensor():
    for shape in ((5,), (5, 2)):
        array = np.arange(float(np.prod(shape))).reshape(shape)
        made = np.random.default_rng(3).permutation(gg.tensor(array))
        np.testing.assert_array_equal(made, np.random.default_rng(3).permutation(array))
        np.testing.assert_array_equal(
            np.random.default_rng(3).choice(gg.tensor(array), 3),
            np.random.default_rng(3).choice(array, 3),
        )
        assert array[0].sum() in (0.0, 1.0)  # untouched
        with pytest.raises(gg.GradientError):
            np.random.default_rng(3).permutation(gg.tensor(array, requires_grad=True))


def test_tensors_that_share_memory(device):
    t = gg.tensor(np.arange(4.0), device=device)
    for shares in (np.shares_memory, np.may_share_memory):
        assert shares(t, t[1:])
        assert shares(t[:2], t.data) is True
        assert not shares(t, t.copy())
        assert not shares(t, np.arange(4.0))
    assert not np.shares_memory(t[:2], t[2:])
