"""Where arrays lie in memory: compared with what NumPy says of the same arrays."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from gpugrad.engine.windows import Window, apart, index_within, is_same, meet, overlap

MEMORY = np.arange(60.0)


def windows(seed, count):
    """Views of one memory, of any strides."""
    rng = np.random.default_rng(seed)
    bases = [MEMORY.reshape(shape) for shape in ((60,), (5, 12), (3, 4, 5), (10, 6))]
    found = []
    for _ in range(count):
        view = bases[rng.integers(len(bases))]
        for _ in range(rng.integers(1, 4)):
            view = basic_index(view, rng)[0]
        found.append(view.transpose(rng.permutation(view.ndim)))
    return found


def basic_index(array, rng):
    """A view by an index without arrays, and the index."""
    index = []
    for size in array.shape:
        if size == 0:
            index.append(slice(None))
            continue
        first, last = sorted(rng.integers(0, size, 2))
        step = int(rng.integers(1, 4))
        kinds = [
            int(first), slice(first, last + 1, step), slice(last, first or None, -step),
            slice(None), slice(first, first),
        ]  # fmt: skip
        index.append(kinds[rng.choice(5, p=[0.2, 0.35, 0.2, 0.2, 0.05])])
        if rng.random() < 0.1:
            index.append(None)
    return array[(*index, ...)], tuple(index)


@pytest.mark.parametrize("seed", range(4))
def test_two_windows_meet_where_numpy_s_arrays_share_memory(seed):
    arrays = windows(seed, 60)
    for a in arrays:
        for b in arrays:
            one, other = Window(a), Window(b)
            shared = np.shares_memory(a, b)
            assert meet(one, other) == shared
            assert not (shared and apart(one, other))
            pair = overlap(one, other)
            if shared:
                own, places = pair
                np.testing.assert_array_equal(a.reshape(-1)[own], b.reshape(-1)[places])
                assert set(a.reshape(-1)[own]) == set(a.reshape(-1)) & set(b.reshape(-1))
            else:
                assert pair is None
            index = index_within(one, other)
            if index is not None:
                assert is_same(Window(a[index]), other)


@pytest.mark.parametrize("seed", range(4))
def test_the_index_of_a_view_is_found(seed):
    rng = np.random.default_rng(seed)
    for array in windows(seed, 200):
        view, index = basic_index(array, rng)
        if view.size:
            found = index_within(Window(array), Window(view))
            assert found is not None, (array.shape, index)
            assert is_same(Window(array[found]), Window(view))


def test_windows_whose_elements_are_at_several_places():
    sliding = as_strided(MEMORY, (4, 3), (8, 8))
    repeated = np.broadcast_to(MEMORY[:3], (2, 3))
    for array in (sliding, repeated):
        assert index_within(Window(array), Window(MEMORY[1:3])) is None
        own, places = overlap(Window(array), Window(MEMORY[1:3]))
        np.testing.assert_array_equal(array.reshape(-1)[own], MEMORY[1:3][places])
        assert own.size == np.isin(array, [1, 2]).sum()
    assert not Window(repeated).fills()


def test_parts_of_complex_numbers_meet_their_whole_only():
    z = np.zeros(3, complex)
    assert meet(Window(z), Window(z.imag))
    assert meet(Window(z.real[1:]), Window(z))
    assert not meet(Window(z.real), Window(z.imag))
    assert not meet(Window(z[:1]), Window(z.real[1:]))
    assert index_within(Window(z), Window(z.real)) is None
