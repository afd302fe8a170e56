"""Memory of large results on a CPU, which later ones use again."""

import gc
import threading

import numpy as np
import pytest
from interrupts import interrupted_everywhere

import gpugrad as gg
from gpugrad.backend import reuse
from gpugrad.backend.namespace import namespace_of

ROWS = reuse.LARGE // 4 // 256 + 1  # of 256 numbers of float32: more than LARGE bytes


@pytest.fixture(autouse=True)
def nothing_kept():
    gg.empty_cache()
    yield
    gg.empty_cache()


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_when_nothing_lies_in_it():
    first = reuse.empty((ROWS, 256), np.float32)
    at, view = address(first), first[5:].T
    del first
    assert reuse.kept_bytes() == 0  # a view lies in it
    second = reuse.empty((ROWS, 256), np.float32)
    assert address(second) != at
    del view
    assert reuse.kept_bytes() == ROWS * 1024
    third = reuse.empty((256, ROWS), np.int32)
    assert address(third) == at
    assert third.shape == (256, ROWS)
    assert third.dtype == np.int32
    assert third.flags.writeable
    assert third.flags.c_contiguous
    assert reuse.kept_bytes() == 0


def test_only_as_much_memory_is_taken_as_asked_for():
    del_me = reuse.empty((ROWS, 256), np.float32)
    del del_me
    other = reuse.empty((ROWS + 1, 256), np.float32)
    assert reuse.kept_bytes() == ROWS * 1024
    assert other.nbytes == (ROWS + 1) * 1024


def test_what_is_kept_has_a_limit_and_the_oldest_goes():
    arrays = [reuse.empty((ROWS + i, 256), np.float32) for i in range(12)]
    while arrays:
        arrays.pop(0)
    assert 0 < reuse.kept_bytes() <= reuse.LIMIT
    assert (ROWS + 11) * 1024 in [one.nbytes for one in reuse._pool.values()]
    assert ROWS * 1024 not in [one.nbytes for one in reuse._pool.values()]
    gg.empty_cache()
    assert reuse.kept_bytes() == 0


@pytest.mark.parametrize("size", [0, 1, reuse.LARGE, reuse.LIMIT + 1])
def test_small_arrays_and_those_above_the_limit_are_ordinary(size):
    array = reuse.empty((size,), np.uint8)
    assert array.base is None
    del array
    assert reuse.kept_bytes() == 0


def test_an_array_in_such_memory_counts_as_its_owner():
    array = reuse.empty((ROWS, 256), np.float32)
    xp = namespace_of(array)
    assert xp.owns_buffer(array)
    assert not xp.owns_buffer(array[1:])
    assert xp.owner_of(array[1:]) is array


def test_threads_never_share_memory():
    seen = []

    def work():
        for _ in range(50):
            a, b = (reuse.empty((ROWS, 256), np.float32) for _ in range(2))
            seen.append(address(a) == address(b))
            a[0, 0] = b[0, 0] = threading.get_ident()
            seen.append(a[0, 0] != b[0, 0])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 400
    assert not any(seen)
    assert reuse.kept_bytes() <= reuse.LIMIT


def test_an_interrupt_is_never_lost():
    def work(_):
        first, second = (reuse.empty((ROWS, 256), np.float32) for _ in range(2))
        first[0], second[0] = 1, 2
        assert first[0, 0] == 1
        del first
        third = reuse.empty((ROWS, 256), np.float32)
        third[0] = 3
        assert second[0, 0] == 2

    def check(_):
        gc.collect()
        in_all = sum(memory.nbytes for memory in reuse._pool.values())
        assert reuse.kept_bytes() == in_all <= reuse.LIMIT  # none is in use

    interrupted_everywhere(lambda: None, work, check)


def slopes():
    """Gradients of each of some samples, of more than LARGE bytes, by vmap."""
    w = np.ones((256, 256), np.float32)
    x = np.ones((ROWS // 256 + 1, 256), np.float32)
    return gg.vmap(gg.grad(lambda w, x: (x @ w).sum()), in_axes=(None, 0)), w, x


@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_of_samples_lie_in_memory_that_is_used_again(compiled):
    f, w, x = slopes()
    f = gg.compile(f) if compiled else f
    d = None
    for _ in range(3):  # traced, compiled, and by the quick call
        d = f(w, x)
    at = address(d)
    np.testing.assert_array_equal(d[-1], 1)
    assert reuse.kept_bytes() == d.nbytes
    kept = f(w, 2 * x)  # while d is in use
    assert address(kept) != at
    np.testing.assert_array_equal(d[-1], 1)
    np.testing.assert_array_equal(kept[-1], 2)
    del d
    again = f(w, 3 * x)
    assert address(again) == at
    np.testing.assert_array_equal(again[-1], 3)
    del kept, again
    gc.collect()
    assert reuse.kept_bytes() == 2 * x.nbytes * 256
