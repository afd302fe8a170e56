"""gg.random: published answers, the same bits on every device, and the distributions."""

import ctypes
import math
import shutil
import subprocess

import numpy as np
import pytest

from gpugrad import backend
from gpugrad.backend import cuda, sim
from gpugrad.kernels.philox import PHILOX, philox_kernel
from gpugrad.random import Generator, philox
from gpugrad.tensor import Tensor

# Random123 (github.com/DEShawResearch/random123, commit 9545ff64), tests/kat_vectors, the
# lines "philox4x32 10": counter, key and answer in hexadecimal words, lowest word first.
KNOWN_ANSWERS = """
00000000 00000000 00000000 00000000 00000000 00000000   6627e8d5 e169c58d bc57ac4c 9b00dbd8
ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff   408f276d 41c83b0e a20bc7c6 6d5451fd
243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0   d16cfe09 94fdcceb 5001e420 24126ea1
"""

needs_cuda = pytest.mark.skipif(not cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", "sim", pytest.param("cuda", marks=needs_cuda)]
OTHERS = DEVICES[1:]

# Every draw whose bits are promised to be the same on all devices.
EXACT = {
    "bits": lambda g: g.bits((7, 5)),
    "uniform16": lambda g: g.uniform(size=37, dtype="float16"),
    "uniform32": lambda g: g.uniform(size=(3, 4, 5), dtype="float32"),
    "uniform64": lambda g: g.uniform(size=37, dtype="float64"),
    "scaled32": lambda g: g.uniform(-0.1, 0.7, 1001, dtype="float32"),
    "scaled64": lambda g: g.uniform(1e3, 1e7, 1001, dtype="float64"),
    "integers": lambda g: g.integers(-3, 1000, 41),
    "integers8": lambda g: g.integers(-128, 128, 41, dtype="int8"),
    "wide": lambda g: g.integers(-(2**62), 2**62 + 12345, 41),
    "all64": lambda g: g.integers(-(2**63), 2**63, 41),
    "unsigned64": lambda g: g.integers(0, 2**64, 41, dtype="uint64"),
    "mask": lambda g: g.bernoulli(0.3, (9, 11)),
    "weights": lambda g: g.bernoulli(0.3, (9, 11), dtype="float32"),
    "permutation": lambda g: g.permutation(101),
    "scalar": lambda g: g.uniform(dtype="float32"),
    "empty": lambda g: g.uniform(size=(0, 3), dtype="float32"),
}


# ---------------------------------------------------------------- Philox


def parsed() -> list[tuple[int, int, list[int]]]:
    rows = [[int(word, 16) for word in line.split()] for line in KNOWN_ANSWERS.split("\n") if line]

    def whole(words: list[int]) -> int:
        return sum(word << 32 * place for place, word in enumerate(words))

    return [(whole(row[:4]), whole(row[4:6]), row[6:]) for row in rows]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("counter", "key", "answer"), parsed())
def test_known_answers_of_random123(device, counter, key, answer):
    words = philox.bits(backend.Device(device).xp, key, counter, (4,))
    assert backend.to_numpy(words).tolist() == answer


def philox_of_the_paper(key: int, counter: int) -> list[int]:
    """One block in Python's unbounded numbers, as section 4.3 of the paper writes it."""
    x0, x1, x2, x3 = (counter >> 32 * place & 0xFFFFFFFF for place in range(4))
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p, q = x0 * 0xD2511F53, x2 * 0xCD9E8D57
        x0, x1, x2, x3 = q >> 32 ^ x1 ^ k0, q & 0xFFFFFFFF, p >> 32 ^ x3 ^ k1, p & 0xFFFFFFFF
        k0, k1 = k0 + 0x9E3779B9 & 0xFFFFFFFF, k1 + 0xBB67AE85 & 0xFFFFFFFF
    return [x0, x1, x2, x3]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("counter", [0, 2**32 - 3, 2**64 - 6, (12345 << 64) + 2**33 + 7])
def test_blocks_follow_each_other(device, counter):
    key = 0xDEADBEEF12345678
    words = backend.to_numpy(philox.bits(backend.Device(device).xp, key, counter, (24,)))
    expected = [philox_of_the_paper(key, counter + block) for block in range(6)]
    assert words.reshape(6, 4).tolist() == expected


def test_pieces_join_seamlessly(monkeypatch):
    # All at once, and in pieces of few blocks whose number divides nothing.
    whole = [EXACT[name](Generator(1)).numpy() for name in EXACT]
    many = philox.normal(np, 1, 0, (20_001,), "float64")
    monkeypatch.setattr(philox, "CHUNK", 7)
    assert all(np.array_equal(EXACT[n](Generator(1)).numpy(), w) for n, w in zip(EXACT, whole))
    monkeypatch.setattr(philox, "CHUNK", 777)
    assert np.array_equal(philox.normal(np, 1, 0, (20_001,), "float64"), many)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_text_of_the_cuda_kernel_makes_the_same_words(tmp_path):
    source, library = tmp_path / "kernel.c", tmp_path / "kernel.so"
    source.write_text(
        "#include <stddef.h>\n"
        "void run(unsigned long long key, unsigned long long start, unsigned long long high,\n"
        "         unsigned long long *words, ptrdiff_t n) {\n"
        "    for (ptrdiff_t i = 0; i < n; ++i) {" + PHILOX + "}\n}\n"
    )
    subprocess.run(
        ["cc", "-Wall", "-Werror", "-shared", "-fPIC", source, "-o", library], check=True
    )
    key, start, high = 0xDEADBEEF12345678, 2**32 - 500, 7 << 40 | 9
    words = np.empty(2000, np.uint64)
    ctypes.CDLL(library).run(
        *(ctypes.c_uint64(number) for number in (key, start, high)),
        ctypes.c_void_p(words.ctypes.data),
        ctypes.c_ssize_t(1000),
    )
    assert np.array_equal(words.view(np.uint32), philox.bits(np, key, high << 64 | start, (4000,)))


def test_cupy_accepts_the_kernel():
    cupy = pytest.importorskip("cupy")
    assert philox_kernel(cupy).name == "gpugrad_philox4x32_10"


# ---------------------------------------------------------------- the same everywhere


@pytest.mark.parametrize("device", OTHERS)
@pytest.mark.parametrize("name", EXACT)
def test_same_numbers_on_every_device(name, device):
    there = EXACT[name](Generator(3, device))
    here = EXACT[name](Generator(3, "cpu"))
    assert str(there.device).startswith(device)
    assert there.dtype == here.dtype
    assert there.shape == here.shape
    assert np.array_equal(there.numpy(), here.numpy())


@pytest.mark.parametrize("device", OTHERS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-13)])
def test_normals_agree_between_devices(device, dtype, tolerance):
    there = Generator(3, device).normal(size=10_001, dtype=dtype).numpy()
    here = Generator(3, "cpu").normal(size=10_001, dtype=dtype).numpy()
    assert np.abs(there - here).max() <= tolerance


# Written down from this implementation: who changes them breaks everyone's results.
PINNED = {
    "bits": [2592828275, 1153470534],
    "uniform32": [0.3462841510772705, 0.435894250869751, 0.897896409034729],
    "uniform64": [0.04929106998612831, 0.07288512094657817],
    "integers": [-2, -25, -6, 34, -1, -48, -10, 6],
    "wide": [827368950074071, 110617118672736],
    "mask": [0, 0, 1, 1, 1, 0, 0, 0],
    "permutation": [4, 5, 6, 2, 7, 3, 0, 1],
    "normal": [0.10986660800706814, -0.4611792026129671],
    "child": 11371539946364395775,
    "counter": 16,
}


def test_the_numbers_of_a_seed_do_not_change():
    g = Generator(2024)
    assert g.bits(2).numpy().tolist() == PINNED["bits"]
    assert g.uniform(size=3, dtype="float32").numpy().tolist() == PINNED["uniform32"]
    assert g.uniform(size=2, dtype="float64").numpy().tolist() == PINNED["uniform64"]
    assert g.integers(-50, 50, 8).numpy().tolist() == PINNED["integers"]
    assert g.integers(0, 10**15, 2).numpy().tolist() == PINNED["wide"]
    assert g.bernoulli(0.5, 8).numpy().astype(int).tolist() == PINNED["mask"]
    assert g.permutation(8).numpy().tolist() == PINNED["permutation"]
    assert g.normal(size=2, dtype="float64").numpy().tolist() == pytest.approx(PINNED["normal"])
    assert g.split().seed == PINNED["child"]
    assert g.counter == PINNED["counter"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_take_whole_blocks(dtype):
    def run(*sizes):
        g = Generator(9)
        return np.concatenate([g.uniform(size=size, dtype=dtype).numpy() for size in sizes])

    whole = run(20)
    assert np.array_equal(run(8, 12), whole)
    assert np.array_equal(run(4, 4, 12), whole)
    # 10 float32 end within a block, whose rest is dropped; 10 float64 end with one.
    assert np.array_equal(run(10, 10)[:10], whole[:10])
    assert np.array_equal(run(10, 10), whole) == (dtype == "float64")


def test_small_draws_that_follow_each_other_are_parts_of_one_stream():
    rng = np.random.default_rng(0)
    sizes = [int(n) for n in rng.integers(1, 300, 60)]  # some more than philox.FEW blocks
    starts = [0, *np.cumsum([philox.blocks(n, 1) for n in sizes])]
    for key, first in ((3, 0), (3, 2**64 - 700), (4, 2**64 - 700), (3, 0)):
        for start, n in zip(starts, sizes, strict=False):
            counter = first + int(start)
            words = philox.bits(np, key, counter, (n,))
            expected = [w for b in range(-(-n // 4)) for w in blocks_of_a_draw(key, counter, b)]
            assert words.tolist() == expected[:n]
            words += 1  # scratch memory of the caller's
    assert philox.bits(np, 3, 0, (4,)).tolist() == philox_of_the_paper(3, 0)


def blocks_of_a_draw(key: int, counter: int, block: int) -> list[int]:
    """Within a draw the position starts anew at 2**64, and the high half stays."""
    high, position = divmod(counter, 2**64)
    return philox_of_the_paper(key, high << 64 | (position + block) % 2**64)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("bits", 35, 1),
        ("uniform16", 37, 1),
        ("uniform32", 60, 1),
        ("uniform64", 37, 2),
        ("integers", 41, 2),
        ("wide", 41, 4),
        ("all64", 41, 2),
        ("mask", 99, 1),
        ("permutation", 101, 2),
        ("scalar", 1, 1),
        ("empty", 0, 1),
    ],
)
def test_counter_grows_by_the_documented_blocks(name, values, words):
    g = Generator(1)
    EXACT[name](g)
    assert g.counter == math.ceil(values * words / 4)


def test_bernoulli_takes_its_blocks_whatever_p_is():
    counters = set()
    for p in (0.0, 1e-20, 0.5, 1.0):
        g = Generator(1)
        g.bernoulli(p, 100)
        counters.add(g.counter)
    assert counters == {25}


# ---------------------------------------------------------------- distributions

N = 1 << 18


def chi_square_is_plausible(counts: np.ndarray) -> bool:
    """Within six standard deviations of the mean of its distribution."""
    expected = counts.sum() / counts.size
    statistic = ((counts - expected) ** 2 / expected).sum()
    freedom = counts.size - 1
    return abs(statistic - freedom) < 6 * math.sqrt(2 * freedom)


def test_the_check_of_counts_can_fail():
    assert not chi_square_is_plausible(np.array([1000, 1000, 1300]))
    assert not chi_square_is_plausible(np.full(1000, 1000))


@pytest.mark.parametrize(("dtype", "kept"), [("float16", 11), ("float32", 24), ("float64", 53)])
def test_uniform(dtype, kept):
    x = Generator(11).uniform(size=N, dtype=dtype).numpy()
    assert x.dtype == dtype
    assert x.min() >= 0
    assert x.max() < 1
    steps = x.astype(np.float64) * 2.0**kept
    assert np.array_equal(steps, np.floor(steps))
    assert (steps % 2 == 1).any()  # the lowest bit is used
    exact = x.astype(np.float64)
    assert abs(exact.mean() - 0.5) < 5 * math.sqrt(1 / 12 / N) + 2.0**-kept
    assert abs(exact.var() - 1 / 12) < 1e-3
    assert chi_square_is_plausible(np.bincount((exact * 128).astype(int), minlength=128))
    assert abs(np.corrcoef(exact[:-1], exact[1:])[0, 1]) < 5 / math.sqrt(N)


def test_uniform_never_reaches_high():
    # [1, 2) in float16: 1 + (1 - 2**-11) would round up to 2 in one draw of 2048.
    x = Generator(5).uniform(1, 2, N, dtype="float16").numpy()
    assert x.max() == np.nextafter(np.float16(2), np.float16(0))
    assert x.min() == 1
    y = Generator(5).uniform(-3.0, 5.0, N, dtype="float32").numpy()
    assert -3 <= y.min() < -2.99
    assert 4.99 < y.max() < 5


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_normal(dtype):
    x = Generator(12).normal(size=N, dtype=dtype).numpy()
    assert x.dtype == dtype
    exact = x.astype(np.float64)
    assert abs(exact.mean()) < 5 / math.sqrt(N)
    assert abs(exact.var() - 1) < 5 * math.sqrt(2 / N)
    assert abs((exact**3).mean()) < 5 * math.sqrt(15 / N)
    assert abs((exact**4).mean() - 3) < 5 * math.sqrt(96 / N)
    # Equal slices of the distribution function hold equally many.
    erf = np.vectorize(math.erf)(exact[: 1 << 15] / math.sqrt(2))
    slices = np.minimum(((1 + erf) * 32).astype(int), 63)
    assert chi_square_is_plausible(np.bincount(slices, minlength=64))
    pairs = exact.reshape(-1, 2)
    assert abs((pairs[:, 0] * pairs[:, 1]).mean()) < 5 / math.sqrt(N / 2)


def test_normal_with_mean_and_deviation():
    plain = Generator(1).normal(size=99, dtype="float64").numpy()
    moved = Generator(1).normal(-2.0, 3.0, 99, dtype="float64").numpy()
    assert np.allclose(moved, plain * 3 - 2, rtol=1e-14, atol=1e-14)
    assert (Generator(1).normal(4.0, 0.0, 99).numpy() == 4).all()


def test_normal_of_the_extreme_words_is_finite(monkeypatch):
    for value in (0, 2**64 - 1):

        def stream(xp, key, counter, out, words, value=value):
            yield out, xp.full(2, value, dtype=xp.uint64).view(xp.uint32)

        monkeypatch.setattr(philox, "_stream", stream)
        for dtype, most in (("float32", 6.8), ("float64", 8.7)):
            x = philox.normal(np, 0, 0, (1,), dtype)
            assert np.isfinite(x).all()
            assert np.abs(x).max() < most
            if value == 0:
                assert np.abs(x).max() > most - 0.1


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0, 10, "int64"), (-5, 2, "int32"), (3, 200, "uint8"), (0, 1, "int64"), (-100, 27, "int8")],
)
def test_integers(low, high, dtype):
    x = Generator(13).integers(low, high, N, dtype=dtype).numpy()
    assert x.dtype == dtype
    counts = np.bincount(x.astype(int) - low, minlength=high - low)
    assert counts.size == high - low
    assert counts.all()
    assert high - low == 1 or chi_square_is_plausible(counts)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (-(2**31), 2**31, "int32"),
        (0, 2**32, "int64"),
        (0, 2**32 + 1, "int64"),
        (5, 3 * 2**61, "int64"),  # a product with 64 bits alone would favour a third of these
        (-(2**63), 2**63, "int64"),
        (0, 2**64, "uint64"),
        (2**63 - 3, 2**64 - 1, "uint64"),
    ],
)
def test_wide_integers(low, high, dtype):
    x = Generator(14).integers(low, high, N // 4, dtype=dtype).numpy().tolist()
    assert low <= min(x)
    assert max(x) < high
    counts = np.bincount([(value - low) * 96 // (high - low) for value in x], minlength=96)
    assert chi_square_is_plausible(counts)


@pytest.mark.parametrize("n", [3, 2**31 + 7, 2**32, 2**32 + 1, 3 * 2**61, 2**64 - 1])
def test_integers_are_the_top_of_the_exact_product(n):
    x = philox.integers(np, 99, 0, (64,), 0, n, np.uint64).tolist()
    words = philox.integer_words(0, n)
    assert words == (2 if n <= 2**32 else 4)
    stream = philox.bits(np, 99, 0, (64, words // 2, 2)).view(np.uint64).reshape(64, -1).tolist()
    # With 128 bits the first 64-bit word is the higher one.
    exact = [
        value[0] * n >> 64 if words == 2 else (value[0] << 64 | value[1]) * n >> 128
        for value in stream
    ]
    assert x == exact


def test_integers_up_to_low_alone():
    assert np.array_equal(
        Generator(1).integers(6, size=50).numpy(), Generator(1).integers(0, 6, 50).numpy()
    )


@pytest.mark.parametrize("p", [0.001, 0.25, 0.5, 0.9, 1 - 2**-20])
def test_bernoulli(p):
    x = Generator(15).bernoulli(p, N).numpy()
    assert x.dtype == bool
    assert abs(x.mean() - p) <= 5 * math.sqrt(p * (1 - p) / N)


@pytest.mark.parametrize("device", DEVICES)
def test_bernoulli_at_the_ends(device):
    assert not Generator(1, device).bernoulli(0.0, 1000).numpy().any()
    assert Generator(1, device).bernoulli(1.0, 1000).numpy().all()
    assert Generator(1, device).bernoulli(1, (), dtype="int8").numpy() == 1


def test_bernoulli_compares_words_with_p():
    p = 0.3
    words = Generator(4).bits(1000).numpy()
    assert np.array_equal(Generator(4).bernoulli(p, 1000).numpy(), words < p * 2**32)


def test_permutation_of_numbers():
    x = Generator(16).permutation(1000).numpy()
    assert x.dtype == np.int64
    assert np.array_equal(np.sort(x), np.arange(1000))
    assert not np.array_equal(x, np.arange(1000))
    assert Generator(16).permutation(0).shape == (0,)
    assert Generator(16).permutation(1).numpy().tolist() == [0]


def test_permutations_are_equally_frequent():
    g = Generator(17)
    orders = [tuple(g.permutation(3).numpy().tolist()) for _ in range(3000)]
    counts = np.array([orders.count(order) for order in sorted(set(orders))])
    assert counts.size == 6
    assert chi_square_is_plausible(counts)


def test_equal_keys_of_a_permutation_keep_their_order(monkeypatch):
    def few_values(xp, key, counter, shape):
        return (xp.arange(shape[0], dtype=xp.uint64) // 2 % 3).astype(xp.uint32)

    monkeypatch.setattr(philox, "bits", few_values)
    expected = sorted(range(1000), key=lambda i: i % 3)
    for xp in (np, sim):
        assert backend.to_numpy(philox.permutation(xp, 0, 0, (1000,))).tolist() == expected


@pytest.mark.parametrize("device", DEVICES)
def test_permutation_of_rows(device):
    rows = np.arange(12.0).reshape(6, 2)
    order = Generator(2).permutation(6).numpy()
    here = Tensor(backend.Device(device).send(rows))
    there = Generator(2, "cpu").permutation(here)
    assert there.device == here.device
    assert np.array_equal(there.numpy(), rows[order])
    assert np.array_equal(Generator(2).permutation([3, 1, 2]).numpy().sum(), 6)


def test_permutation_carries_the_gradient_back():
    x = Tensor(np.arange(5.0)).requires_grad_()
    y = Generator(2).permutation(x)
    (y * Tensor(np.arange(5.0))).sum().backward()
    order = Generator(2).permutation(5).numpy()
    expected = np.empty(5)
    expected[order] = np.arange(5.0)
    assert np.array_equal(x.grad.numpy(), expected)
