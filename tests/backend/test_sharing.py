"""How many threads there are, and blocks that they share: results, errors, interrupts and forks."""

import os
import threading
import time
from functools import partial

import numpy as np
import pytest
from interrupts import interrupted_everywhere

import gpugrad as gg
from gpugrad.backend import threads
from gpugrad.backend.blas import blas
from gpugrad.errors import ArgumentError

nn = gg.nn.functional


def share(work, items, multiplications=threads.SMALL):
    return threads.share(work, items, multiplications)


@pytest.fixture(autouse=True)
def three_threads(monkeypatch):
    """As many as that, whatever the machine has; and none is left afterwards."""
    monkeypatch.setenv("GPUGRAD_NUM_THREADS", "3")
    before = blas().threads() if blas() else 0
    yield
    assert before == (blas().threads() if blas() else 0)
    assert not threads._before[0]
    assert not threads._busy.locked()
    threads._end()


can_share = pytest.mark.skipif(
    blas() is None or blas().set_threads is None, reason="BLAS takes no number of threads"
)

# ---------------------------------------------------------------- how many


def test_how_many_threads_there_are(monkeypatch):
    assert threads.thread_count() == 3
    for wrong in ("many", "0", "-2", "1.5"):
        monkeypatch.setenv("GPUGRAD_NUM_THREADS", wrong)
        with pytest.raises(ArgumentError, match="GPUGRAD_NUM_THREADS is .*: set it to a number"):
            threads.thread_count()
    monkeypatch.delenv("GPUGRAD_NUM_THREADS")
    assert 1 <= threads.thread_count() <= os.cpu_count()


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "2,4"}, 2),
        ({"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "64"}, 8),
        ({"OMP_NUM_THREADS": "x", "MKL_NUM_THREADS": "0"}, 8),
        ({}, 8),
    ],
)
def test_variables_say_it_where_blas_does_not(variables, count, monkeypatch):
    for name in ("GPUGRAD_NUM_THREADS", *threads.VARIABLES):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(threads, "blas", lambda: None)
    monkeypatch.setattr(threads, "processors", lambda: 8)
    assert threads.thread_count() == count


def test_no_more_than_processors(monkeypatch):
    monkeypatch.delenv("GPUGRAD_NUM_THREADS")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    for limit, count in ((0, 4), (3, 3), (9, 4), (1, 1)):
        monkeypatch.setattr(threads, "quota", lambda limit=limit: limit)
        assert threads.processors() == count
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {3}, raising=False)
    assert threads.thread_count() == 1


@pytest.mark.parametrize(
    ("own", "files", "count"),
    [
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 0),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000", "a/b/cpu.max": "max 100000"}, 1),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "50000 100000"}, 1),
        ("3:cpuset:/\n2:cpuacct:/\n1:cpu:/x\n", {
            "cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000",
            "cpu/x/cpu.cfs_quota_us": "200000", "cpu/x/cpu.cfs_period_us": "100000"}, 2),
        ("2:cpu,cpuacct:/docker/0f3\n", {
            "cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ("", {}, 0),
    ],
)  # fmt: skip
def test_limits_of_control_groups(own, files, count, tmp_path):
    (tmp_path / "own").write_text(own, encoding="ascii")
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    quota = threads.quota.__wrapped__
    assert quota(str(tmp_path / "root"), str(tmp_path / "own")) == count
    assert quota(str(tmp_path / "root"), str(tmp_path / "none")) == 0


# ---------------------------------------------------------------- sharing


@can_share
def test_threads_share_items():
    """Each item once, its result in its place; and several threads at once, of BLAS one each."""
    meeting, seen = threading.Barrier(3), []

    def work(item):
        seen.append((threading.get_ident(), blas().threads()))
        if item < 3:
            meeting.wait(20)
        return item * item

    assert share(work, range(20)) == [item * item for item in range(20)]
    assert len(seen) == 20
    assert len({ident for ident, _ in seen}) == 3
    assert {count for _, count in seen} == {1}


@pytest.mark.parametrize("count", [0, 1])
def test_few_items_run_where_they_are(count):
    assert (
        share(lambda item: threading.get_ident(), range(count)) == [threading.get_ident()] * count
    )


def test_what_is_shared_in_the_midst_of_sharing():
    def work(item):
        return sum(share(lambda other: item * other, range(4)))

    assert share(work, range(6)) == [6 * item for item in range(6)]


def test_threads_of_a_user_share_at_once():
    x, wrong = np.arange(30_000.0), []

    def repeat():
        for _ in range(30):
            parts = share(lambda i: x[i::3].sum(), range(3))
            wrong.extend(one for i, one in enumerate(parts) if one != x[i::3].sum())

    users = [threading.Thread(target=repeat) for _ in range(4)]
    for one in users:
        one.start()
    for one in users:
        one.join(60)
        assert not one.is_alive()
    assert not wrong


@pytest.mark.parametrize("failing", range(4))
def test_an_error_of_an_item_is_raised(failing):
    def work(item):
        if item == failing:
            raise ValueError(f"item {item}")
        time.sleep(0.001)

    for _ in range(3):
        with pytest.raises(ValueError, match=f"^item {failing}$"):
            share(work, range(4))


@can_share
def test_errstate_holds_in_all_threads():
    meeting = threading.Barrier(3)

    def work(item):
        meeting.wait(20)
        return np.float32(3e38) * np.ones(1000, np.float32) * np.float32(item + 2)

    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        share(work, range(3))
    with np.errstate(over="ignore"):
        assert np.isinf(share(work, range(3))[2]).all()


def test_without_threads_one_does_it_all(monkeypatch):
    def full(*args):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "start_new_thread", full)
    idents = share(lambda item: threading.get_ident(), range(5))
    assert idents == [threading.get_ident()] * 5
    monkeypatch.setattr(threads, "blas", lambda: None)
    assert share(str, range(3)) == ["0", "1", "2"]


def test_an_interrupt_leaves_nothing_behind():
    """The fixture looks at the threads of BLAS and at the lock, and each run shares again."""

    def check(made):
        assert not threads._busy.locked()
        assert not threads._before[0]
        assert share(abs, range(-3, 3)) == [3, 2, 1, 0, 1, 2]

    interrupted_everywhere(lambda: range(6), partial(share, abs), check)


@can_share
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("is_inside", [False, True])
def test_the_child_of_a_fork_has_threads_of_its_own(is_inside):
    """Also where another thread shares something at that time: the child has no such thread."""
    begun, goes_on = threading.Event(), threading.Event()

    def wait(item):
        begun.set()
        goes_on.wait(60)

    other = threading.Thread(target=share, args=(wait, range(1 + is_inside)))
    count = blas().threads()
    share(abs, range(4))
    if is_inside:
        other.start()
        begun.wait(60)
        threading.Timer(0.2, goes_on.set).start()
    child = os.fork()
    if not child:
        same = share(abs, range(4)) == [0, 1, 2, 3] and blas().threads() == count
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    if is_inside:
        other.join(60)
    assert share(abs, range(4)) == [0, 1, 2, 3]


# ---------------------------------------------------------------- what is shared


def convolution(dtype, rng):
    x = rng.standard_normal((64, 8, 20, 20)).astype(dtype)
    return nn.conv2d, [x, rng.standard_normal((12, 8, 3, 3)).astype(dtype)], {"padding": 1}


def strided(dtype, rng):
    function, arrays, _ = convolution(dtype, rng)
    return function, arrays, {"stride": 2, "groups": 1}


def transposed(dtype, rng):
    x = rng.standard_normal((64, 8, 20, 20)).astype(dtype)
    return nn.conv_transpose2d, [x, rng.standard_normal((8, 12, 3, 3)).astype(dtype)], {}


def attention(dtype, rng, **words):
    arrays = [rng.standard_normal((10, 4, 61, 24)).astype(dtype) for _ in range(3)]
    return nn.scaled_dot_product_attention, arrays, {"is_causal": True, **words}


def biased(dtype, rng):
    bias = rng.standard_normal((10, 1, 61, 61)).astype(dtype)
    function, arrays, words = attention(dtype, rng)

    def with_bias(*operands):
        return function(*operands[:3], operands[3], **words)

    return with_bias, [*arrays, bias], {}


def lstm(dtype, rng):
    model = gg.nn.LSTM(8, 16).to(dtype)
    return lambda x: model(x)[0], [rng.standard_normal((20, 8, 8)).astype(dtype)], {}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "case", [convolution, strided, transposed, attention, biased, lstm],
    ids=lambda case: case.__name__,
)  # fmt: skip
def test_the_same_bits_with_any_number_of_threads(case, dtype, rng, monkeypatch):
    monkeypatch.setattr("gpugrad.backend.convolution.SHARED", 0)
    function, arrays, words = case(dtype, rng)
    results = []
    for count in ("1", "2", "3"):
        monkeypatch.setenv("GPUGRAD_NUM_THREADS", count)
        operands = [gg.tensor(array, requires_grad=True) for array in arrays]
        y = function(*operands, **words)
        (y * y).sum().backward()
        results.append([y.detach().numpy(), *(operand.grad.numpy() for operand in operands)])
    for one, *others in zip(*results):
        assert one.dtype == dtype
        for other in others:
            np.testing.assert_array_equal(one, other)


def test_small_steps_take_no_threads():

    model = gg.nn.Sequential(gg.nn.Linear(3, 4), gg.nn.LayerNorm(4))
    model(gg.tensor(np.ones((5, 3), np.float32))).sum().backward()
    assert not threads._helpers
