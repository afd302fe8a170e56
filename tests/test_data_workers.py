"""Workers, streams and samplers: one order of batches, seeds, errors, resumption, no leftovers."""

import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from gpu import needs_gpu
from processes import run_python
from repository import ROOT

import gpugrad as gg


class Noisy(gg.data.Dataset):
    """Sample i, with noise of every generator that a data set may use."""

    def __init__(self, rows=10):
        self.rows = rows

    def __len__(self):
        return self.rows

    def __getitem__(self, i):
        noise = [np.random.rand(), random.random(), gg.random.uniform().item()]
        return np.array([i, *noise]), i


class Numbers(gg.data.IterableDataset):
    def __init__(self, count=10, shared=True):
        self.count, self.shared = count, shared

    def __iter__(self):
        info = gg.data.get_worker_info()
        if info is None or not self.shared:
            return iter(range(self.count))
        return iter(range(info.id, self.count, info.num_workers))


def loader(num_workers, dataset=None, **settings):
    dataset = Noisy() if dataset is None else dataset
    generator = gg.random.Generator(3)
    return gg.data.DataLoader(dataset, 4, generator=generator, num_workers=num_workers, **settings)


def values(batches):
    return [[part.tolist() for part in batch] for batch in batches]


def no_process_is_left():
    for _ in range(100):
        if not multiprocessing.active_children():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_the_same_with_any_number_of_workers(shuffle):
    one = loader(1, shuffle=shuffle)
    epochs = [values(one), values(one)]
    three = loader(3, shuffle=shuffle, prefetch_factor=1, persistent_workers=True)
    assert [values(three), values(three)] == epochs
    assert epochs[0] != epochs[1]  # other noise, and another order
    noise = {number for epoch in epochs for x, _ in epoch for row in x for number in row[1:]}
    assert len(noise) == 2 * 10 * 3  # no number comes twice
    rows = [batch[1] for batch in epochs[0]]
    assert rows == [batch[1] for batch in values(loader(0, shuffle=shuffle))]
    three._workers.close()
    assert no_process_is_left()


@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_resumes_at_the_batch_with_the_same_noise(shuffle):
    whole = values(loader(2, shuffle=shuffle))
    first = loader(2, shuffle=shuffle)
    batches = iter(first)
    next(batches)
    state = first.state_dict()
    batches.close()
    second = loader(3, shuffle=shuffle)
    second.load_state_dict(pickle.loads(pickle.dumps(state)))
    assert values(second) == whole[1:]
    assert no_process_is_left()


def test_arrays_and_batched_data_sets_have_workers_too():
    x = np.arange(10)
    assert [b.tolist() for b in gg.data.DataLoader(x, 4, num_workers=2)] == [
        [0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]  # fmt: skip
    (first, _) = next(iter(gg.data.DataLoader((x, x), 4, num_workers=1)))
    assert first.tolist() == [0, 1, 2, 3]


def test_batches_of_workers_go_to_the_device(device):
    batches = list(loader(1, device=device))
    assert {gg.asarray(part).device for batch in batches for part in batch} == {device}


def test_pinned_batches_are_on_the_host():
    x = np.arange(5)
    for workers in (0, 1):
        batches = list(gg.data.DataLoader((x, x), 2, pin_memory=True, num_workers=workers))
        assert [part.tolist() for batch in batches for part in batch] == [
            [0, 1], [0, 1], [2, 3], [2, 3], [4], [4]]  # fmt: skip
        assert all(type(part) is np.ndarray for batch in batches for part in batch)


@needs_gpu
def test_pinned_memory_is_page_locked():
    import cupy

    (batch,) = gg.data.DataLoader(np.arange(5), 5, pin_memory=True)
    host = 1  # cudaMemoryTypeHost; pageable memory has 0
    assert cupy.cuda.runtime.pointerGetAttributes(batch.ctypes.data).type == host


class OnTheCpu(Noisy):
    def __getitem__(self, i):
        with gg.device("cpu"):
            return (gg.ones(2) * i).data, i


@needs_gpu
def test_workers_are_forked_from_a_process_that_has_used_cuda():
    with gg.device("cuda"):
        gg.ones(2).sum().item()
    for dataset in (Noisy(), OnTheCpu()):
        assert [y.tolist() for _, y in loader(1, dataset)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


class Broken(Noisy):
    def __getitem__(self, i):
        if i == 5:
            raise KeyError("no such picture")
        return super().__getitem__(i)


class Exhausted(Noisy):
    """A reader of its own that has come to its end: no end of the data set."""

    def __getitem__(self, i):
        return next(iter(())) if i == 5 else super().__getitem__(i)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_iterator_that_ends_in_a_sample_does_not_end_the_epoch(num_workers):
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(loader(num_workers, Exhausted()))


class Killed(Noisy):
    def __getitem__(self, i):
        if i == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(i)


class Slow(Noisy):
    def __getitem__(self, i):
        time.sleep(60)


class Local(Noisy):
    """An error that does not pickle."""

    def __getitem__(self, i):
        class OddError(Exception):
            pass

        raise OddError("odd")


class LargeAndKilled(Noisy):
    """The second batch of a worker kills it, while a part of the first one is in the pipe."""

    def __getitem__(self, i):
        if i == 8:
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros(100_000)


class TwoArgumentsError(Exception):
    """Pickles, but does not unpickle: its __init__ wants two arguments, and saves one."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


class Unreadable(Noisy):
    def __getitem__(self, i):
        raise TwoArgumentsError("one", "two")


@pytest.mark.parametrize(
    ("dataset", "settings", "error", "words"),
    [
        (Broken(), {}, KeyError, "no such picture"),
        (Killed(), {}, RuntimeError, "exit code -9"),
        (Unreadable(), {}, RuntimeError, "a worker raised an error"),
        (Slow(), {"timeout": 0.5}, TimeoutError, "timeout=0.5"),
        (Local(), {}, RuntimeError, "a worker raised an error"),
    ],
)
def test_what_fails_in_a_worker_is_raised_here(dataset, settings, error, words):
    with pytest.raises(error, match=words) as caught:
        list(loader(2, dataset, **settings))
    if error in (KeyError, RuntimeError) and "exit" not in words:
        assert "__getitem__" in caught.value.__notes__[0]
    assert no_process_is_left()


def test_a_worker_that_dies_amid_a_batch_does_not_hang():
    batches = iter(gg.data.DataLoader(LargeAndKilled(20), 4, num_workers=1))
    next(batches)
    time.sleep(0.5)  # the rest is not read before it is dead
    with pytest.raises(RuntimeError, match="exit code -9"):
        list(batches)
    assert no_process_is_left()


LEFT_ALONE = """
import multiprocessing, signal, sys
import gpugrad as gg
import gpugrad.data.workers
sys.path.insert(0, {tests!r})
from test_data_workers import LargeAndKilled
gpugrad.data.workers.LOOK = 0.05
signal.signal(signal.SIGTERM, lambda *_: None)  # as a Trainer has one
batches = iter(gg.data.DataLoader(LargeAndKilled(8), 1, num_workers=2, persistent_workers=True))
next(batches)
print(*[process.pid for process in multiprocessing.active_children()], flush=True)
{end}
"""


@pytest.mark.parametrize("end", ["signal.raise_signal(signal.SIGKILL)", ""])
def test_workers_end_with_the_main_process(end):
    code = LEFT_ALONE.format(tests=os.path.dirname(__file__), end=end)
    path = [str(ROOT), str(ROOT / "tests" / "helpers"), os.environ.get("PYTHONPATH", "")]
    main = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        stdout=subprocess.PIPE, text=True, timeout=30,
    )  # fmt: skip
    assert main.returncode == (-signal.SIGKILL if end else 0)
    workers = main.stdout.split()
    assert len(workers) == 2
    for _ in range(100):
        if not any(is_running(worker) for worker in workers):
            return
        time.sleep(0.05)
    raise AssertionError("a worker is left")


def is_running(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_abandoned_epoch_leaves_no_process():
    batches = iter(loader(2))
    next(batches)
    del batches
    assert no_process_is_left()


def test_workers_begin_with_their_function(tmp_path):
    def begin(number):
        (tmp_path / str(number)).write_text("begun")

    list(loader(2, worker_init_fn=begin))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def test_spawned_workers():
    out = run_python(
        "import gpugrad as gg, numpy as np\n"
        "loader = gg.data.DataLoader(np.arange(5), 3, num_workers=2,\n"
        "                            multiprocessing_context='spawn')\n"
        "print([batch.tolist() for batch in loader])\n"
    )
    assert " ".join(out) == "[[0, 1, 2], [3, 4]]"


# ---------------------------------------------------------------- streams


def test_streams_are_read_in_batches_and_resume():
    def numbers(**settings):
        return gg.data.DataLoader(Numbers(), 4, **settings)

    assert [b.tolist() for b in numbers()] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [b.tolist() for b in numbers(drop_last=True)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    shared = [b.tolist() for b in numbers(num_workers=2)]
    assert shared == [[0, 2, 4, 6], [1, 3, 5, 7], [8], [9]]
    assert no_process_is_left()
    for workers in (0, 2):
        first = numbers(num_workers=workers, persistent_workers=False)
        batches = iter(first)
        next(batches)
        second = numbers(num_workers=workers)
        second.load_state_dict(first.state_dict())
        whole = [b.tolist() for b in numbers(num_workers=workers)]
        assert [b.tolist() for b in second] == whole[1:]
        assert [b.tolist() for b in second] == whole


class Augmented(Numbers):
    """With noise of every generator that a data set may use."""

    def __iter__(self):
        for i in super().__iter__():
            yield i, np.random.rand(), random.random(), gg.random.uniform().item()


def test_a_stream_in_this_process_resumes_with_the_same_noise():
    whole = gg.data.DataLoader(Augmented(), 4)
    for reseeded in (np.random.seed, random.seed, gg.manual_seed):
        reseeded(0)
    batches = iter(whole)
    next(batches)
    states = np.random.get_state(), random.getstate(), gg.random.default_generator().state_dict()
    state, rest = whole.state_dict(), values(batches)
    np.random.set_state(states[0])
    random.setstate(states[1])
    gg.random.default_generator().load_state_dict(states[2])
    resumed = gg.data.DataLoader(Augmented(), 4)
    resumed.load_state_dict(state)
    assert values(resumed) == rest


def test_two_iterators_of_a_stream_have_their_own_places():
    one = gg.data.DataLoader(Numbers(), 4)
    pairs = [(a.tolist(), b.tolist()) for a, b in zip(one, one, strict=True)]
    assert pairs == [([0, 1, 2, 3],) * 2, ([4, 5, 6, 7],) * 2, ([8, 9],) * 2]


def test_persistent_workers_read_a_stream_anew_in_each_epoch():
    both = gg.data.DataLoader(Numbers(), 4, num_workers=2, persistent_workers=True)
    assert [b.tolist() for b in both] == [b.tolist() for b in both]
    both._workers.close()


# ---------------------------------------------------------------- samplers


def test_random_samplers():
    def drawn(sampler):
        return list(sampler)

    generator = gg.random.Generator(1)
    assert sorted(drawn(gg.data.RandomSampler(range(5), generator=generator))) == [0, 1, 2, 3, 4]
    more = gg.data.RandomSampler(range(3), num_samples=7, generator=generator)
    assert len(more) == len(drawn(more)) == 7
    again = gg.data.RandomSampler(range(2), replacement=True, num_samples=50, generator=generator)
    assert set(drawn(again)) == {0, 1}
    subset = gg.data.SubsetRandomSampler([4, 2, 9], generator)
    assert sorted(drawn(subset)) == [2, 4, 9]
    assert drawn(gg.data.SequentialSampler("abc")) == [0, 1, 2]


@pytest.mark.parametrize("replacement", [True, False])
def test_weights_are_probabilities(replacement):
    generator = gg.random.Generator(1)
    weights = np.array([0.0, 1.0, 3.0])
    count = 4000 if replacement else 1
    sampler = gg.data.WeightedRandomSampler(weights, count, replacement, generator)
    draws = [row for _ in range(1 if replacement else 4000) for row in sampler]
    share = np.bincount(draws, minlength=3) / 4000
    np.testing.assert_allclose(share, weights / 4, atol=0.03)


def test_processes_share_a_data_set(monkeypatch):
    def rows(**settings):
        samplers = [gg.data.DistributedSampler(range(7), 3, rank, **settings) for rank in range(3)]
        for sampler in samplers:
            sampler.set_epoch(settings.get("seed", 0))
        return [list(sampler) for sampler in samplers]

    assert rows(shuffle=False) == [[0, 3, 6], [1, 4, 0], [2, 5, 1]]
    assert rows(shuffle=False, drop_last=True) == [[0, 3], [1, 4], [2, 5]]
    mixed = rows()
    assert {row for share in mixed for row in share} == set(range(7))
    assert rows(seed=1) != mixed
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert list(gg.data.DistributedSampler(range(4), shuffle=False)) == [1, 3]


def test_a_loader_follows_its_sampler_and_resumes(device):
    def sampler():
        return gg.data.WeightedRandomSampler(np.ones(9), 6, generator=gg.random.Generator(5))

    def make():
        return gg.data.DataLoader(device.send(np.arange(9)), 4, sampler=sampler())

    first = make()
    assert len(first) == 2
    batches = iter(first)
    one = gg.asarray(next(batches)).tolist()
    second = make()
    second.load_state_dict(first.state_dict())
    (rest,) = (gg.asarray(batch).tolist() for batch in second)
    assert one + rest == list(sampler())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: loader(-1), "num_workers must be at least 0"),
        (lambda: loader(1.5), "whole number"),
        (lambda: loader(0, prefetch_factor=0), "prefetch_factor"),
        (lambda: loader(0, shuffle=True, sampler=[1]), "shuffle and sampler"),
        (lambda: list(loader(1, multiprocessing_context="thread")), "must be one of .*spawn"),
        (lambda: loader(0, Numbers(), shuffle=True), "no rows to shuffle"),
        (lambda: list(loader(0, sampler=[99])), "from 0 to 9"),
        (lambda: list(loader(0, sampler=["a"])), "row numbers"),
        (lambda: len(loader(0, Numbers())), "has no len"),
        (lambda: gg.data.WeightedRandomSampler([1.0, -1.0], 1), "not negative"),
        (lambda: gg.data.WeightedRandomSampler([1.0, 0.0], 2, False), "cannot be drawn"),
        (lambda: gg.data.WeightedRandomSampler([1.0], 0), "num_samples"),
        (lambda: gg.data.DistributedSampler(range(3)), "WORLD_SIZE"),
        (lambda: gg.data.DistributedSampler(range(3), 2, 2), "from 0 to 1"),
    ],
)
def test_bad_input_gets_a_sentence(call, words, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises((ValueError, TypeError), match=words):
        call()


def test_a_damaged_state_changes_nothing():
    first = loader(2, sampler=list(range(10)))
    batches = iter(first)
    next(batches)
    state = first.state_dict()
    batches.close()
    for change in (
        {"sampled": None}, {"sampled": [99]}, {"sampled": "x"}, {"seeds": {"seed": -1}},
        {"given": 9}, {"rows": 3}, {"extra": 1},
    ):  # fmt: skip
        second = loader(2, sampler=list(range(10)))
        with pytest.raises(ValueError, match="load_state_dict"):
            second.load_state_dict({**state, **change})
        assert second.state_dict()["given"] == 0
