"""Random bits from a key and a counter, and distributions over them, as formulas over ``xp``.

It works on raw arrays and imports only `gpugrad.backend.namespace`. ``xp`` is NumPy, CuPy or
gpugrad's sim (the module or its namespace). Every function is pure: the same key, counter and
arguments give the same result on every device.

The generator is Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers:
as easy as 1, 2, 3" (SC 2011, doi:10.1145/2063384.2063405). A *block* is the four 32-bit
words that one 128-bit counter gives under a 64-bit key. The low 64 bits of the counter are
the position, which grows by one from block to block; the high 64 bits are constant. The words
of all blocks in order are the stream. A 64-bit word is two words of it, the low half first:
on a little-endian host it is the stream's memory viewed as uint64.

The number of words of a value is part of the definition and does not depend on the device:

=======================================  =====
value                                    words
=======================================  =====
bits, bernoulli                          1
uniform, normal in float16 and float32   1
uniform, normal in float64               2
permutation, for each element            2
integers, up to 2**32 different values   2
integers, more than that                 4
=======================================  =====
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy

from gpugrad.backend.namespace import namespace_of

__all__ = [
    "batch_key", "bernoulli", "bits", "blocks", "child_key", "integer_words", "integers", "normal",
    "permutation", "uniform", "value_words",
]  # fmt: skip

Shape = tuple[int, ...]

# Multipliers and key increments of the paper, section 4.3; the increments are the golden
# ratio and sqrt(3) - 1.
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
INCREMENTS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10

LOW_HALF = 0xFFFFFFFF
LOW_WORD = 0xFFFFFFFFFFFFFFFF
# High 64 bits of the counter: draws use 0, so the keys of children share no block with them.
CHILDREN = 0x6368696C6472656E
BATCHES = 0x6261746368657300  # likewise of the keys of batches

# Blocks evaluated at a time on NumPy: four uint64 rows of this length, 512 KiB, about an
# L2 cache. Measured on a draw of 4 Mi float32: 70 ms at 2 Ki, 28 at 16 Ki, 50 in one pass.
CHUNK = 16384

# A draw of a few blocks on NumPy is a hundred calls on tiny arrays, some 130 us. Where such draws
# follow each other, AHEAD blocks are evaluated at once and serve the next draws.
FEW, AHEAD = 64, 512

# Per dtype: words of the stream for a uniform value, and the bits of it that are used.
UNIFORM = {
    numpy.dtype(numpy.float16): (1, 11),
    numpy.dtype(numpy.float32): (1, 24),
    numpy.dtype(numpy.float64): (2, 53),
}


def blocks(count: int, words: int) -> int:
    """The number of blocks of ``count`` values with ``words`` words each, rounded up."""
    return -(-count * words // 4)


def value_words(dtype: Any) -> int:
    """The number of words of a uniform or normal value of a float dtype."""
    return UNIFORM[numpy.dtype(dtype)][0]


def integer_words(low: int, high: int) -> int:
    """The number of words of an integer in [low, high)."""
    return 2 if high - low <= 2**32 or high - low == 2**64 else 4


def _evaluate(xp: Any, key: int, counter: int, index: Any, rows: list[Any], words: Any) -> None:
    """Write the blocks number ``counter + index`` to ``words``, a uint64 array of two columns.

    ``rows`` are four uint64 scratch arrays like ``index``. The row ``a`` holds two words of the
    state, ``x0 * 2**32 + x1``; ``c`` holds ``x2`` and ``x3``. A round, with p = x0 * M0 and
    q = x2 * M1, is

        (x0, x1) <- (high half of q ^ x1 ^ k0, low half of q)  =  (x1, 0) ^ (k0, 0) ^ q
        (x2, x3) <- (high half of p ^ x3 ^ k1, low half of p)  =  (x3, 0) ^ (k1, 0) ^ p

    where every step is one in-place operation on uint64.
    """
    a, c, p, q = rows
    half = numpy.uint64(32)
    m0, m1 = (numpy.uint64(m) for m in MULTIPLIERS)
    w0, w1 = INCREMENTS
    k0, k1 = key & LOW_HALF, key >> 32
    high = counter >> 64
    # The position's low half is x0, its high half x1: the other way round in a row.
    xp.add(index, numpy.uint64(counter & LOW_WORD), out=p)
    xp.left_shift(p, half, out=a)
    xp.right_shift(p, half, out=p)
    xp.bitwise_or(a, p, out=a)
    c.fill(numpy.uint64((high & LOW_HALF) << 32 | high >> 32))
    for _ in range(ROUNDS):
        xp.right_shift(a, half, out=p)
        xp.multiply(p, m0, out=p)
        xp.right_shift(c, half, out=q)
        xp.multiply(q, m1, out=q)
        xp.left_shift(a, half, out=a)
        xp.bitwise_xor(a, numpy.uint64(k0 << 32), out=a)
        xp.bitwise_xor(a, q, out=a)
        xp.left_shift(c, half, out=c)
        xp.bitwise_xor(c, numpy.uint64(k1 << 32), out=c)
        xp.bitwise_xor(c, p, out=c)
        k0, k1 = (k0 + w0) & LOW_HALF, (k1 + w1) & LOW_HALF
    for column, row, spare in ((0, a, p), (1, c, q)):
        xp.right_shift(row, half, out=spare)
        xp.left_shift(row, half, out=row)
        xp.bitwise_or(row, spare, out=words[:, column])


# The key, the first counter and the words of the blocks evaluated last by `_few`. They never
# change, and the tuple is replaced as a whole, so that threads may share it.
_cached: tuple[int, int, Any] = (0, 0, numpy.empty((0, 2), numpy.uint64))


def _few(key: int, counter: int, total: int) -> Any:
    """The words of a few blocks on NumPy, in new memory."""
    global _cached
    cached_key, first, words = _cached
    near = key == cached_key and first <= counter <= first + len(words)
    if not near or counter + total > first + len(words):
        left = 2**64 - (counter & LOW_WORD)  # then the position wraps around
        count = AHEAD if near and left >= AHEAD else total
        words = numpy.empty((count, 2), numpy.uint64)
        rows = [numpy.empty(count, numpy.uint64) for _ in range(4)]
        _evaluate(numpy, key, counter, numpy.arange(count, dtype=numpy.uint64), rows, words)
        first = counter
        if count <= left:
            _cached = (key, first, words)
    return words[counter - first : counter - first + total].copy()


def _stream(xp: Any, key: int, counter: int, out: Any, words: int) -> Iterator[tuple[Any, Any]]:
    """The stream in chunks: the part of ``out`` that a chunk fills, and its words as uint32.

    A chunk is scratch memory that the caller may overwrite, valid until the next one. It ends
    with a block, so the last one may have unused words. On NumPy chunks fit the cache; other
    devices get one chunk.
    """
    out, count = out.reshape(-1), out.size
    total = blocks(count, words)
    if total == 0:
        return
    scratch = xp.empty((min(total, CHUNK), 2), dtype=xp.uint64)
    if not isinstance(scratch, numpy.ndarray):
        scratch = xp.empty((total, 2), dtype=xp.uint64)
    kernel = namespace_of(scratch).philox
    if kernel is not None:
        kernel(key, counter & LOW_WORD, counter >> 64, scratch)
        yield out, scratch.reshape(-1).view(xp.uint32)
        return
    if isinstance(scratch, numpy.ndarray) and total <= min(FEW, CHUNK):
        yield out, _few(key, counter, total).reshape(-1).view(xp.uint32)
        return
    length = scratch.shape[0]
    index = xp.arange(length, dtype=xp.uint64)
    rows = [xp.empty(length, dtype=xp.uint64) for _ in range(4)]
    for first in range(0, total, length):
        size = min(length, total - first)
        piece = scratch[:size]
        parts = [row[:size] for row in rows]
        _evaluate(xp, key, counter + first, index[:size], parts, piece)
        part = out[first * 4 // words : min((first + size) * 4 // words, count)]
        yield part, piece.reshape(-1).view(xp.uint32)


def bits(xp: Any, key: int, counter: int, shape: Shape) -> Any:
    """The raw words of the stream, uint32."""
    out = xp.empty(shape, dtype=xp.uint32)
    for part, words in _stream(xp, key, counter, out, 1):
        part[...] = words[: part.size]
    return out


def child_key(key: int, index: int) -> int:
    """The 64-bit key of the child number ``index`` of a key."""
    low, high = bits(numpy, key, CHILDREN << 64 | index, (2,)).tolist()
    return low | high << 32


def batch_key(key: int, position: int) -> int:
    """The 64-bit key of the numbers of a batch that are drawn at a position."""
    low, high = bits(numpy, key, BATCHES << 64 | position, (2,)).tolist()
    return low | high << 32


def uniform(
    xp: Any, key: int, counter: int, shape: Shape, dtype: Any, low: float = 0.0, high: float = 1.0
) -> Any:
    """Uniform on [low, high), from the top 11, 24 or 53 bits of each value's word.

    On [0, 1) it is an exact multiple of 2**-11, 2**-24 or 2**-53. Other bounds take one product
    and one sum, each rounded by IEEE 754, and a result that rounds up to ``high`` becomes the
    number below it: all of this is the same on every device.
    """
    dtype = numpy.dtype(dtype)
    words_each, used_bits = UNIFORM[dtype]
    unsigned, signed = (xp.uint32, xp.int32) if words_each == 1 else (xp.uint64, xp.int64)
    out = xp.empty(shape, dtype=dtype)
    below = float(numpy.nextafter(dtype.type(high), dtype.type(low)))
    for part, words in _stream(xp, key, counter, out, words_each):
        drawn = words.view(unsigned)[: part.size]
        drawn >>= 32 * words_each - used_bits
        # Signed integers convert faster than unsigned ones; the top bit is clear.
        part[...] = drawn.view(signed)
        part *= 2.0**-used_bits
        if (low, high) != (0.0, 1.0):
            part *= high - low
            part += low
            xp.minimum(part, below, out=part)
    return out


def normal(
    xp: Any, key: int, counter: int, shape: Shape, dtype: Any, loc: float = 0.0, scale: float = 1.0
) -> Any:
    """Normal with mean ``loc`` and standard deviation ``scale``, by Box and Muller's formula.

    From two words u and v: ``sqrt(-2 log u) * cos(pi v)`` and the same with ``sin``, with u
    in (0, 1] and v in [-1, 1]. The largest values are 6.8 (float16 and float32, made in
    float32) and 8.6 (float64). Devices round log, sin and cos differently: values agree to
    1e-5 (float32) and 1e-13 (float64) times ``scale``, not in all bits. G. E. P. Box and M. E.
    Muller, Ann. Math. Statist. 29 (1958).
    """
    dtype = numpy.dtype(dtype)
    words_each = UNIFORM[dtype][0]
    work = numpy.dtype(numpy.float32 if words_each == 1 else numpy.float64)
    out = xp.empty(shape, dtype=dtype)
    for part, words in _stream(xp, key, counter, out, words_each):
        if words_each == 1:
            radius = words[0::2].astype(work)
            angle = words.view(xp.int32)[1::2].astype(work)
            step, turn = 2.0**-32, math.pi * 2.0**-31
        else:
            radius = (words.view(xp.uint64)[0::2] >> numpy.uint64(11)).astype(work)
            angle = words.view(xp.int64)[1::2].astype(work)
            step, turn = 2.0**-53, math.pi * 2.0**-63
        radius *= step
        radius += step / 2  # the middle of the step, so never the logarithm of 0
        xp.log(radius, out=radius)
        radius *= -2.0
        xp.sqrt(radius, out=radius)
        angle *= turn
        both = xp.empty((radius.size, 2), dtype=work)
        xp.multiply(radius, xp.cos(angle), out=both[:, 0])
        xp.multiply(radius, xp.sin(angle), out=both[:, 1])
        if scale != 1.0:
            both *= scale
        if loc != 0.0:
            both += loc
        part[...] = both.reshape(-1)[: part.size]
    return out


def _high_product(xp: Any, a: Any, m: int) -> Any:
    """The high 64 bits of the 128-bit products of a uint64 array and a number below 2**64."""
    mask, half = numpy.uint64(LOW_HALF), numpy.uint64(32)
    m0, m1 = numpy.uint64(m & LOW_HALF), numpy.uint64(m >> 32)
    a0, a1 = a & mask, a >> half
    middle = a1 * m0 + ((a0 * m0) >> half)
    if m <= LOW_HALF:
        return middle >> half
    other = a0 * m1 + (middle & mask)
    return a1 * m1 + (middle >> half) + (other >> half)


def integers(
    xp: Any, key: int, counter: int, shape: Shape, low: int, high: int, dtype: Any = numpy.int64
) -> Any:
    """Integers in [low, high): the top of the product of random bits and ``n = high - low``.

    It takes 64 random bits where ``n <= 2**32`` and 128 above, their first 64-bit word the
    higher. The relative error of each probability ``1/n`` is at most 2**-32, and 0 where n is a
    power of two. There is no rejection, so neither words nor time depend on the values.
    """
    n = high - low
    words_each = integer_words(low, high)
    out = xp.empty(shape, dtype=dtype)
    shift = numpy.uint64(low & LOW_WORD)
    for part, words in _stream(xp, key, counter, out, words_each):
        drawn = words.view(xp.uint64)
        if words_each == 4:
            coarse, fine = drawn[0::2], drawn[1::2]
            carried = _high_product(xp, fine, n)
            total = coarse * numpy.uint64(n) + carried
            drawn = _high_product(xp, coarse, n) + (total < carried)
        elif n < 2**64:
            drawn = _high_product(xp, drawn, n)
        drawn = drawn[: part.size]
        drawn += shift  # modulo 2**64: two's complement handles negative numbers
        part[...] = drawn.view(xp.int64) if low < 0 else drawn
    return out


def bernoulli(xp: Any, key: int, counter: int, shape: Shape, p: float) -> Any:
    """True with probability ``p``, rounded to a multiple of 2**-32; bool.

    A word is compared with an integer, so that rounding cannot differ between devices.
    """
    threshold = round(p * 2.0**32)
    if threshold == 0:
        return xp.zeros(shape, dtype=bool)
    out = xp.empty(shape, dtype=bool)
    for part, words in _stream(xp, key, counter, out, 1):
        xp.less_equal(words[: part.size], numpy.uint32(threshold - 1), out=part)
    return out


def permutation(xp: Any, key: int, counter: int, shape: Shape) -> Any:
    """The numbers 0 to n - 1 in random order, of shape (..., n), int64: an argsort of 64-bit words.

    Equal words (with a probability of n**2 / 2**65 in the whole permutation) keep their order
    on every device, as the sort is stable.
    """
    keys = bits(xp, key, counter, (*shape[:-1], 2 * shape[-1])).view(xp.uint64)
    return xp.argsort(keys, kind="stable").astype(xp.int64, copy=False)
