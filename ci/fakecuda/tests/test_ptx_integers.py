"""Integer and bit instructions against Python's whole numbers."""

import numpy as np
import pytest
from ptx import run

BITS = {"u": "uint", "s": "int", "b": "uint"}
SOME = [0, 1, 2, 3, 5, 31, 32, 100, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x12345678]
SOME += [0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x123456789ABCDEF0, 2**63 - 1, 2**63, 2**64 - 1]


def dtype(type_name):
    return np.dtype(BITS[type_name[0]] + type_name[1:])


def numbers(type_name, seed):
    """Numbers at the edges and at random, as arrays of 256."""
    rng = np.random.default_rng(seed)
    random = rng.integers(0, 2**64, 256, np.uint64)
    random[: len(SOME)] = rng.permutation(np.array(SOME, np.uint64))
    random[100:140] = rng.integers(0, 70, 40)
    return random.astype(f"uint{type_name[1:]}").view(dtype(type_name))


def wrapped(value, type_name):
    bits = int(type_name[1:])
    value &= (1 << bits) - 1
    return value - (1 << bits) if type_name[0] == "s" and value >> (bits - 1) else value


def check(instruction, operand_types, result_type, expected, constants=()):
    inputs = [numbers(t, i) for i, t in enumerate(operand_types)]
    operands = ", ".join(["%d", *("%" + n for n in "abce"[: len(inputs)]), *constants])
    found = run(f"{instruction} {operands};", *inputs, to=dtype(result_type))
    for got, *values in zip(found, *inputs, strict=True):
        wanted = wrapped(expected(*map(int, values)), result_type)
        assert int(got) == wanted, (instruction, values)


def quotient(a, b):
    return -1 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def remainder(a, b):
    return a if b == 0 else a - b * quotient(a, b)


@pytest.mark.parametrize("type_name", ["u16", "s16", "u32", "s32", "u64", "s64"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("add", lambda a, b: a + b),
        ("sub", lambda a, b: a - b),
        ("mul.lo", lambda a, b: a * b),
        ("div", quotient),
        ("rem", remainder),
        ("min", min),
        ("max", max),
    ],
)
def test_arithmetic(name, type_name, expected):
    check(f"{name}.{type_name}", [type_name] * 2, type_name, expected)


@pytest.mark.parametrize("type_name", ["u16", "s16", "u32", "s32", "u64", "s64"])
def test_products(type_name):
    bits = int(type_name[1:])
    three = [type_name] * 3
    check(f"mul.hi.{type_name}", three[:2], type_name, lambda a, b: a * b >> bits)
    check(f"mad.lo.{type_name}", three, type_name, lambda a, b, c: a * b + c)
    check(f"mad.hi.{type_name}", three, type_name, lambda a, b, c: (a * b >> bits) + c)
    check(f"sad.{type_name}", three, type_name, lambda a, b, c: abs(a - b) + c)
    if bits < 64:
        wide = f"{type_name[0]}{2 * bits}"
        check(f"mul.wide.{type_name}", three[:2], wide, lambda a, b: a * b)
        check(f"mad.wide.{type_name}", [*three[:2], wide], wide, lambda a, b, c: a * b + c)


@pytest.mark.parametrize("type_name", ["u32", "s32"])
def test_products_of_24_bits(type_name):
    low = lambda x: wrapped(x, type_name[0] + "24")  # noqa: E731
    check(f"mul24.lo.{type_name}", [type_name] * 2, type_name, lambda a, b: low(a) * low(b))
    check(f"mul24.hi.{type_name}", [type_name] * 2, type_name, lambda a, b: low(a) * low(b) >> 16)
    check(f"mad24.lo.{type_name}", [type_name] * 3, type_name, lambda a, b, c: low(a) * low(b) + c)


@pytest.mark.parametrize("type_name", ["s16", "s32", "s64"])
def test_signs(type_name):
    check(f"neg.{type_name}", [type_name], type_name, lambda a: -a)
    check(f"abs.{type_name}", [type_name], type_name, abs)


def test_saturation():
    clamp = lambda x: max(-(2**31), min(2**31 - 1, x))  # noqa: E731
    check("add.sat.s32", ["s32"] * 2, "s32", lambda a, b: clamp(a + b))
    check("sub.sat.s32", ["s32"] * 2, "s32", lambda a, b: clamp(a - b))


def test_carries():
    a, b, c, e = (numbers("u64", i) for i in range(4))
    halves = "mov.b64 {%r0, %r1}, %a; mov.b64 {%r2, %r3}, %b;"
    whole = "mov.b64 %d, {%r4, %r5};"
    found = run(
        f"{halves} add.cc.u32 %r4, %r0, %r2; addc.u32 %r5, %r1, %r3; {whole}", a, b, to="u8"
    )
    assert (found == a + b).all()
    found = run(
        f"{halves} sub.cc.u32 %r4, %r0, %r2; subc.u32 %r5, %r1, %r3; {whole}", a, b, to="u8"
    )
    assert (found == a - b).all()
    # the upper half of a product and a sum of 128 bits
    body = """mul.lo.u64 %l0, %a, %b; add.cc.u64 %l0, %l0, %c; madc.hi.u64 %d, %a, %b, %e;"""
    found = run(body, a, b, c, e, to="u8")
    for got, i, j, k, m in zip(*(x.tolist() for x in (found, a, b, c, e)), strict=True):
        assert got == ((i * j & (2**64 - 1)) + k >> 64) + (i * j >> 64) + m & 2**64 - 1
    body = """mad.lo.cc.u32 %r0, %a, %b, %c; madc.lo.cc.u32 %r1, %a, %b, %c; addc.u32 %d, 0, 0;"""
    a, b, c = (numbers("u32", i) for i in range(3))
    found = run(body, a, b, c, to="u4")
    for got, i, j, k in zip(*(x.tolist() for x in (found, a, b, c)), strict=True):
        low = i * j & (2**32 - 1)
        assert got == low + k + (low + k >> 32) >> 32


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_logic_and_shifts(bits):
    b, u, s = f"b{bits}", f"u{bits}", f"s{bits}"
    check(f"and.{b}", [b, b], b, lambda x, y: x & y)
    check(f"or.{b}", [b, b], b, lambda x, y: x | y)
    check(f"xor.{b}", [b, b], b, lambda x, y: x ^ y)
    check(f"not.{b}", [b], b, lambda x: ~x)
    check(f"cnot.{b}", [b], b, lambda x: int(x == 0))
    check(f"shl.{b}", [b, "u32"], b, lambda x, y: x << y if y < bits else 0)
    check(f"shr.{u}", [u, "u32"], u, lambda x, y: x >> min(y, bits))
    check(f"shr.{s}", [s, "u32"], s, lambda x, y: x >> min(y, bits))


def field(x, position, length, bits, signed):
    position, length = position & 255, length & 255
    if not length:
        return 0
    top = min(position + length - 1, bits - 1)
    sign = signed and x >> top & 1
    have = min(length, max(bits - position, 0))
    value = x >> position & (1 << have) - 1
    return value - (1 << have) if sign else value


@pytest.mark.parametrize("bits", [32, 64])
def test_fields_and_counts(bits):
    b, u, s = f"b{bits}", f"u{bits}", f"s{bits}"
    low = (1 << bits) - 1
    check(f"popc.{b}", [b], "u32", lambda x: x.bit_count())
    check(f"clz.{b}", [b], "u32", lambda x: bits - x.bit_length())
    check(f"brev.{b}", [b], b, lambda x: int(f"{x:0{bits}b}"[::-1], 2))
    check(f"bfind.{u}", [u], "u32", lambda x: x.bit_length() - 1)
    check(f"bfind.{s}", [s], "u32", lambda x: (~x if x < 0 else x).bit_length() - 1)
    check(f"bfind.shiftamt.{u}", [u], "u32", lambda x: bits - x.bit_length() if x else -1)
    three = ["u32", "u32"]
    check(f"bfe.{u}", [u, *three], u, lambda x, p, n: field(x, p, n, bits, False))
    check(f"bfe.{s}", [s, *three], s, lambda x, p, n: field(x & low, p, n, bits, True))

    def inserted(x, y, position, length):
        mask = (((1 << (length & 255)) - 1) << (position & 255)) & low
        return y & ~mask | (x << (position & 255)) & mask

    check(f"bfi.{b}", [b, b, *three], b, inserted)


def test_permutations():
    def permuted(a, b, control, which):
        both = (b << 32 | a).to_bytes(8, "little")
        result = []
        for i in range(4):
            k = which(control, i)
            byte = both[k & 7]
            result.append((255 if byte & 128 else 0) if k & 8 else byte)
        return int.from_bytes(result, "little")

    modes = {
        "": lambda c, i: c >> 4 * i & 15,
        ".f4e": lambda c, i: (c & 3) + i & 7,
        ".b4e": lambda c, i: (c & 3) - i & 7,
        ".rc8": lambda c, i: c & 3,
        ".ecl": lambda c, i: max(i, c & 3),
        ".ecr": lambda c, i: min(i, c & 3),
        ".rc16": lambda c, i: 2 * (c & 1) + i % 2,
    }
    for mode, which in modes.items():
        check(
            f"prmt.b32{mode}",
            ["u32"] * 3,
            "u32",
            lambda a, b, c, which=which: permuted(a, b, c, which),
        )


def test_funnel_shifts_and_tables():
    both = lambda a, b: b << 32 | a  # noqa: E731
    three = ["u32"] * 3
    check("shf.l.wrap.b32", three, "u32", lambda a, b, c: both(a, b) << (c & 31) >> 32)
    check("shf.l.clamp.b32", three, "u32", lambda a, b, c: both(a, b) << min(c, 32) >> 32)
    check("shf.r.wrap.b32", three, "u32", lambda a, b, c: both(a, b) >> (c & 31))
    check("shf.r.clamp.b32", three, "u32", lambda a, b, c: both(a, b) >> min(c, 32))
    check("lop3.b32", three, "u32", lambda a, b, c: a & b | ~a & c, constants=["0xCA"])
    check("lop3.b32", three, "u32", lambda a, b, c: a ^ b ^ c, constants=["0x96"])


def test_dot_products():
    def dot(a, b, c, signs, upper=False, four=True):
        total, n = c, 4 if four else 2
        for i in range(n):
            x = wrapped(a >> (32 // n) * i, f"{signs[0]}{32 // n}")
            total += x * wrapped(b >> 8 * (i + 2 * upper), signs[1] + "8")
        return total

    for signs in ("uu", "us", "su", "ss"):
        form = f"{signs[0]}32.{signs[1]}32"
        three = ["u32"] * 3
        check(f"dp4a.{form}", three, "u32", lambda a, b, c, s=signs: dot(a, b, c, s))
        check(f"dp2a.lo.{form}", three, "u32", lambda a, b, c, s=signs: dot(a, b, c, s, four=False))
        check(
            f"dp2a.hi.{form}", three, "u32", lambda a, b, c, s=signs: dot(a, b, c, s, True, False)
        )


@pytest.mark.parametrize("source", ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"])
@pytest.mark.parametrize("target", ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"])
def test_conversions(source, target):
    """Registers are wider than 8 bits: what is above in the source counts for nothing."""
    read = source if int(source[1:]) > 8 else source[0] + "16"
    give = target if int(target[1:]) > 8 else target[0] + "16"
    limits = np.iinfo(dtype(target))
    check(f"cvt.{target}.{source}", [read], give, lambda a: wrapped(wrapped(a, source), target))
    check(
        f"cvt.sat.{target}.{source}",
        [read],
        give,
        lambda a: max(limits.min, min(limits.max, wrapped(a, source))),
    )
