"""Random bits in one kernel: the rounds of Philox4x32-10, a block for each thread.

The formula is that of `gpugrad.random.philox`, which says where it comes from. Imports CuPy with
its arrays.
"""

from functools import cache
from typing import Any

import numpy as np

__all__ = ["PHILOX", "RANDOM", "philox", "philox_kernel"]

# The words x0 to x3 of the block at `position`.
_ROUNDS = """
    unsigned int x0 = (unsigned int)position, x1 = (unsigned int)(position >> 32);
    unsigned int x2 = (unsigned int)high, x3 = (unsigned int)(high >> 32);
    unsigned int k0 = (unsigned int)key, k1 = (unsigned int)(key >> 32);
    for (int round = 0; round < 10; ++round) {
        unsigned long long p = 0xD2511F53ULL * x0, q = 0xCD9E8D57ULL * x2;
        x0 = (unsigned int)(q >> 32) ^ x1 ^ k0;
        x1 = (unsigned int)q;
        x2 = (unsigned int)(p >> 32) ^ x3 ^ k1;
        x3 = (unsigned int)p;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
"""

# A test compiles this text for the CPU and compares it with the formula.
PHILOX = f"""
    unsigned long long position = start + (unsigned long long)i;
{_ROUNDS}
    words[2 * i] = x0 | (unsigned long long)x1 << 32;
    words[2 * i + 1] = x2 | (unsigned long long)x3 << 32;
"""

# For kernels that draw where they need a word, number `index` from a counter on.
RANDOM = f"""
struct Words {{ unsigned int a, b, c, d; }};

__device__ inline Words random_words(
    unsigned long long key, unsigned long long position, unsigned long long high)
{{
{_ROUNDS}
    return {{x0, x1, x2, x3}};
}}

__device__ inline unsigned int random_word(
    unsigned long long key, unsigned long long start, unsigned long long high, long long index)
{{
    const Words of = random_words(key, start + (unsigned long long)(index >> 2), high);
    return index & 2 ? (index & 1 ? of.d : of.c) : (index & 1 ? of.b : of.a);
}}
"""


@cache
def philox_kernel(cupy: Any) -> Any:
    """The kernel, which CuPy compiles at the first launch."""
    return cupy.ElementwiseKernel(
        "uint64 key, uint64 start, uint64 high", "raw uint64 words", PHILOX, "gpugrad_philox4x32_10"
    )


def philox(cupy: Any, key: int, start: int, high: int, words: Any) -> None:
    """Write the words of all blocks from a counter on, two uint64 each."""
    scalars = (np.uint64(number) for number in (key, start, high))
    philox_kernel(cupy)(*scalars, words, size=len(words))
