"""Convolutions in C, which gather in blocks: their values, with any number of threads."""

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.backend.threads import thread_count
from gpugrad.compiler.c import convolutions, threads
from gpugrad.compiler.c.compiler import find_compiler
from gpugrad.nn import functional as F

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler")


def drawn(seed):
    """A convolution of any kind: a function of x and the weight, and these."""
    rng = np.random.default_rng(seed)
    n = seed % 3 + 1
    turned, last = rng.random(2) < 0.4
    groups = int(rng.choice([1, 1, 2, 3]))
    channels, outputs = (groups * int(one) for one in rng.integers(1, 5, 2))
    kernel, stride, dilation = (rng.integers(1, most, n) for most in (5, 4, 3))
    stride = stride if rng.random() < 0.5 else np.ones(n, int)
    dilation = dilation if rng.random() < 0.4 else np.ones(n, int)
    sizes = rng.integers(9, (200, 28, 11)[n - 1], n)
    samples = int(rng.choice([1, 2, 5, 17]))
    shape = (channels, outputs // groups) if turned else (outputs, channels // groups)
    dtype = rng.choice(["f", "d"])
    weight = rng.normal(size=(*shape, *kernel)).astype(dtype)
    x = rng.normal(size=(samples, channels, *sizes)).astype(dtype)
    if last:  # in memory
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    convolve = getattr(F, f"conv_transpose{n}d" if turned else f"conv{n}d")
    words = {
        "stride": tuple(stride.tolist()), "dilation": tuple(dilation.tolist()), "groups": groups,
        "padding": tuple(int(rng.integers(0, k)) for k in kernel),
    }  # fmt: skip
    return lambda x, weight: convolve(x, weight, **words), x, weight


def both_ways(convolve, weights):
    """The result, and the gradients of a sum of it by both operands."""

    def loss(x, weight):
        return (convolve(x, weight) * weights).sum()

    def run(x, weight):
        return convolve(x, weight), *gg.grad(loss, argnums=(0, 1))(x, weight)

    return run


def check(seed):
    convolve, x, weight = drawn(seed)
    size = convolve(x, weight).shape
    weights = np.random.default_rng(seed).normal(size=size).astype(x.dtype)
    run = both_ways(convolve, weights)
    for expected, made in zip(run(x, weight), gg.compile(run)(x, weight)):
        expected, made = np.asarray(expected), np.asarray(made)
        assert made.dtype == expected.dtype
        limit = 64 * np.finfo(x.dtype).eps * max(np.abs(expected).max(), 1)
        np.testing.assert_allclose(made, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("seed", range(9))
def test_any_convolution_gives_what_eager_code_gives(seed):
    check(seed)


@pytest.mark.parametrize("seed", range(9, 18))
def test_blocks_of_a_few_windows_give_the_same(seed, monkeypatch):
    monkeypatch.setattr(convolutions, "BLOCK", 1 << 12)
    check(seed)


def test_groups_with_channels_last_in_memory():
    """gcc left out what is gathered of 3 of 6 channels, as they lie, for a row of windows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 9, 10, 11, 6)).transpose(0, 4, 1, 2, 3).astype("f")
    weight = rng.normal(size=(4, 3, 1, 2, 1)).astype("f")
    convolve = gg.compile(lambda x, weight: F.conv3d(x, weight, groups=2))
    np.testing.assert_allclose(
        np.asarray(convolve(x, weight)), np.asarray(F.conv3d(x, weight, groups=2)), atol=1e-5
    )


@pytest.mark.parametrize("groups", [1, 4])
def test_any_number_of_threads_gives_the_same(groups, monkeypatch):
    monkeypatch.setattr(convolutions, "BLOCK", 1 << 14)
    monkeypatch.setattr(convolutions, "WORTH", 1)
    monkeypatch.setenv("GPUGRAD_NUM_THREADS", "3")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 16, 20, 20)).astype("f")
    weight = rng.normal(size=(32, 16 // groups, 3, 3)).astype("f")
    run = gg.compile(both_ways(lambda x, w: F.conv2d(x, w, groups=groups), 1.0))
    try:
        results = []
        for count in (1, 2, 3):
            threads.set_threads(count)
            results.append([np.asarray(one) for one in run(x, weight)])
    finally:
        monkeypatch.undo()
        threads.set_threads(thread_count())
    for first, *others in zip(*results):
        assert all((first == one).all() for one in others)
