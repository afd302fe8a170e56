"""Floating-point instructions against exact fractions, rounded once."""

import math
from fractions import Fraction

import numpy as np
import pytest
from ptx import run

# digits with the leading one, exponents of the smallest and largest normal numbers, bits, integer
FORMATS = {
    "f16": (11, -14, 15, np.uint16),
    "bf16": (8, -126, 127, np.uint16),
    "f32": (24, -126, 127, np.uint32),
    "f64": (53, -1022, 1023, np.uint64),
}
MODES = ["rn", "rz", "rm", "rp"]


def to_integer(x: Fraction, mode: str) -> int:
    if mode == "rz":
        return math.trunc(x)
    if mode in ("rm", "rp"):
        return math.floor(x) if mode == "rm" else math.ceil(x)
    if mode == "rna":
        return math.floor(abs(x) + Fraction(1, 2)) * (1 if x > 0 else -1)
    return round(x)  # to even


def rounded(x: Fraction, name: str, mode: str = "rn") -> float:
    """The number of the format to which a fraction rounds, as a double."""
    digits, lowest, highest, _ = FORMATS[name]
    if x == 0:
        return 0.0
    exponent = abs(x.numerator).bit_length() - x.denominator.bit_length()
    exponent -= abs(x) < Fraction(2) ** exponent
    unit = Fraction(2) ** (max(exponent, lowest) - digits + 1)
    result = to_integer(x / unit, mode) * unit
    largest = (2 - Fraction(2) ** (1 - digits)) * Fraction(2) ** highest
    sign = 1 if x > 0 else -1
    if abs(result) > largest:
        stays = mode == "rz" or mode == ("rm" if x > 0 else "rp")
        return math.copysign(float(largest) if stays else math.inf, sign)
    return math.copysign(float(result), sign)


def decode(bits: np.ndarray, name: str) -> np.ndarray:
    if name == "bf16":
        return (bits.astype(np.uint32) << 16).view(np.float32).astype(float)
    return bits.view({"f16": "f2", "f32": "f4", "f64": "f8"}[name]).astype(float)


def patterns(name: str, seed: int) -> np.ndarray:
    """Bit patterns of finite numbers: at the edges, of all sizes, and of sizes alike."""
    digits, _lowest, highest, integer = FORMATS[name]
    rng = np.random.default_rng(seed)
    bits = np.dtype(integer).itemsize * 8
    one = highest << (digits - 1)
    top = ((2 * highest) << (digits - 1)) | ((1 << (digits - 1)) - 1)
    edges = [0, 1, 2, (1 << (digits - 1)) - 1, 1 << (digits - 1), one, one + 1, one - 1, top]
    edges += [x | 1 << (bits - 1) for x in edges]
    near = one + rng.integers(-3 << (digits - 1), 3 << (digits - 1), 120)
    signs = rng.integers(0, 2, 120).astype(integer) << integer(bits - 1)
    wild = rng.integers(0, top, 120).astype(integer) | signs
    return np.concatenate([rng.permutation(np.array(edges, integer)), near.astype(integer), wild])


def subnormal(x: float, name: str = "f32") -> bool:
    return 0 < abs(x) < 2.0 ** FORMATS[name][1]


def flushed(x: float) -> float:
    return math.copysign(0.0, x) if subnormal(x) else x


def same(found: float, wanted: float) -> bool:
    if math.isnan(wanted):
        return math.isnan(found)
    return found == wanted and math.copysign(1, found) == math.copysign(1, wanted)


def check(instruction, name, count, expected, mode="rn", flush=False):
    """`expected` gives a Fraction, or a float where the rules of IEEE 754 are about more."""
    inputs = [patterns(name, i) for i in range(count)]
    operands = ", ".join(["%d", *("%" + n for n in "abc"[:count])])
    found = decode(run(f"{instruction} {operands};", *inputs, to=FORMATS[name][3]), name)
    for got, *values in zip(found, *(decode(x, name) for x in inputs), strict=True):
        given = [flushed(x) for x in values] if flush else values
        wanted = expected(*given)
        if isinstance(wanted, Fraction):
            wanted = rounded(wanted, name, mode)
            if wanted == 0 and not any(given[:1]):
                wanted = abs(got) * math.copysign(1, got)  # the sign of a sum of zeros
            wanted = flushed(wanted) if flush else wanted
        if wanted == 0:
            assert got == 0, (instruction, values, got)
        else:
            assert same(got, wanted), (instruction, values, got, wanted)


def sum_of(a, b):
    return Fraction(a) + Fraction(b)


def product(a, b):
    return Fraction(a) * Fraction(b)


def quotient(a, b):
    if b == 0:
        return math.nan if a == 0 else math.copysign(math.inf, a) * math.copysign(1, b)
    return Fraction(a) / Fraction(b)


def multiply_add(a, b, c):
    return Fraction(a) * Fraction(b) + Fraction(c)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["f32", "f64"])
def test_arithmetic(name, mode):
    check(f"add.{mode}.{name}", name, 2, sum_of, mode)
    check(f"sub.{mode}.{name}", name, 2, lambda a, b: sum_of(a, -b), mode)
    check(f"mul.{mode}.{name}", name, 2, product, mode)
    check(f"div.{mode}.{name}", name, 2, quotient, mode)
    check(f"fma.{mode}.{name}", name, 3, multiply_add, mode)
    check(f"rcp.{mode}.{name}", name, 1, lambda a: quotient(1.0, a), mode)


def test_flushing():
    """.ftz makes subnormal operands and results zeros."""
    check("add.ftz.f32", "f32", 2, sum_of, flush=True)
    check("mul.rz.ftz.f32", "f32", 2, product, "rz", flush=True)
    check("fma.rn.ftz.f32", "f32", 3, multiply_add, flush=True)
    tiny = np.array([2**-140, -(2**-140)], "f4")
    assert run("mul.ftz.f32 %d, %a, 0f7E800000;", tiny, to="f4").tolist() == [0, 0]
    assert run("mul.f32 %d, %a, 0f7E800000;", tiny, to="f4").tolist() == [2**-14, -(2**-14)]
    found = run("neg.ftz.f32 %d, %a;", tiny, to="f4")
    assert np.signbit(found).tolist() == [True, False]
    assert not found.any()
    body = "setp.gt.ftz.f32 %p, %a, 0f00000000; selp.u32 %d, 1, 0, %p;"
    assert run(body, tiny, to="u4").tolist() == [0, 0]


@pytest.mark.parametrize("mode", MODES)
def test_roots(mode):
    for name in ("f32", "f64"):
        x = patterns(name, 3)
        found = decode(run(f"sqrt.{mode}.{name} %d, %a;", x, to=FORMATS[name][3]), name)
        number = np.float32 if name == "f32" else np.float64
        for got, value in zip(found, decode(x, name), strict=True):
            if value <= 0:
                assert math.isnan(got) if value < 0 else got == 0
                continue
            below, above = (
                Fraction(float(np.nextafter(number(got), number(to)))) for to in (0, np.inf)
            )
            exact, root = Fraction(value), Fraction(got)
            if mode == "rn":
                assert ((root + below) / 2) ** 2 <= exact <= ((root + above) / 2) ** 2
            elif mode == "rp":
                assert below**2 < exact <= root**2
            else:
                assert root**2 <= exact < above**2


@pytest.mark.parametrize("name", ["f16", "bf16"])
def test_small_formats(name):
    check(f"fma.rn.{name}", name, 3, multiply_add)
    if name == "f16":
        check("add.f16", name, 2, sum_of)
        check("sub.rn.f16", name, 2, lambda a, b: sum_of(a, -b))
        check("mul.f16", name, 2, product)
    check(f"neg.{name}", name, 1, lambda a: -a)
    check(f"abs.{name}", name, 1, abs)
    check(f"max.{name}", name, 2, max)
    relu = lambda a, b, c: max(multiply_add(a, b, c), Fraction(0))  # noqa: E731
    check(f"fma.rn.relu.{name}", name, 3, relu)


def test_fma_of_bf16_rounds_once():
    """A sum in double precision would round to a tie first, and then to even."""
    a = np.array([0x3F81], np.uint16)  # 1.0078125, whose square is 1.01568603515625
    tiny = np.array([0x0080], np.uint16)
    square = Fraction(decode(a, "bf16")[0]) ** 2
    found = decode(run("fma.rn.bf16 %d, %a, %a, %b;", a, tiny, to="u2"), "bf16")
    assert found[0] == rounded(square + Fraction(decode(tiny, "bf16")[0]), "bf16")
    # 257 = 257 * 1 is a tie between 256 and 258
    many = np.array([0x4380, 0x4380], np.uint16)  # 256
    parts = np.array([0x3F80, 0x3F80], np.uint16)  # 1: one product of 256 * (1 + 2^-8) is no bf16
    assert run("fma.rn.bf16 %d, %a, %b, %b;", many, parts, to="u2").tolist() == [0x4380, 0x4380]


def test_pairs():
    low, high = patterns("f16", 1), patterns("f16", 2)
    pair = low.astype(np.uint32) | high.astype(np.uint32) << 16
    found = run("fma.rn.f16x2 %d, %a, %a, %a;", pair, to="u4")
    for part, shift in ((low, 0), (high, 16)):
        x = decode(part, "f16")
        got = decode((found >> shift).astype(np.uint16), "f16")
        wanted = [rounded(multiply_add(v, v, v), "f16") for v in x]
        assert all(g == w for g, w in zip(got, wanted, strict=True))


def test_least_and_greatest():
    x = np.array([1, np.nan, 2, np.nan, 0.0, -0.0, -np.inf], "f4")
    y = np.array([np.nan, 3, 1, np.nan, -0.0, 0.0, 5], "f4")
    least = run("min.f32 %d, %a, %b;", x, y, to="f4")
    most = run("max.f32 %d, %a, %b;", x, y, to="f4")
    np.testing.assert_array_equal(least, np.array([1, 3, 1, np.nan, -0.0, -0.0, -np.inf], "f4"))
    np.testing.assert_array_equal(most, np.array([1, 3, 2, np.nan, 0.0, 0.0, 5], "f4"))
    assert np.signbit(least[4:6]).all()
    assert not np.signbit(most[4:6]).any()
    kept = run("max.NaN.f32 %d, %a, %b;", x, y, to="f4")
    assert np.isnan(kept).tolist() == [True, True, False, True, False, False, False]


def test_nan_is_canonical():
    x = np.array([np.inf], "f4")
    assert run("sub.f32 %d, %a, %a;", x, to="u4")[0] == 0x7FFFFFFF
    half = np.array([np.inf], "f2")
    assert run("sub.f16 %d, %a, %a;", half, to="u2")[0] == 0x7FFF


def test_saturation():
    x = np.array([-1, -0.0, 0.25, 1, 7, np.nan], "f4")
    zero = ", 0f00000000"
    for body in (f"add.sat.f32 %d, %a{zero};", "cvt.sat.f32.f32 %d, %a;"):
        assert run(body, x, to="f4").tolist() == [0, 0, 0.25, 1, 1, 0]


def test_divisions_by_approximation():
    x = np.array([1, 10, 2.0**-100, 1, np.inf], "f4")
    y = np.array([3, 7, 2.0**-101, 2.0**127, 2.0**127], "f4")
    found = run("div.approx.f32 %d, %a, %b;", x, y, to="f4")
    np.testing.assert_allclose(found[:3], x[:3] / y[:3], rtol=3e-7)
    assert found[3] == 0
    assert np.isnan(found[4])
    assert run("div.full.f32 %d, %a, %b;", x, y, to="f4")[3] == 2.0**-127


FUNCTIONS = {
    "rcp.approx.ftz.f32": lambda x: 1 / x,
    "sqrt.approx.f32": np.sqrt,
    "rsqrt.approx.f32": lambda x: 1 / np.sqrt(x),
    "sin.approx.ftz.f32": np.sin,
    "cos.approx.f32": np.cos,
    "ex2.approx.ftz.f32": np.exp2,
    "lg2.approx.ftz.f32": np.log2,
    "tanh.approx.f32": np.tanh,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    x = np.concatenate([np.geomspace(1e-3, 60, 200), [np.inf, np.nan, 1, 2, 0.5]]).astype("f4")
    with np.errstate(all="ignore"):
        wanted = FUNCTIONS[name](x.astype("f8"))
    np.testing.assert_allclose(run(f"{name} %d, %a;", x, to="f4"), wanted, rtol=1e-7)


def test_functions_of_halves():
    x = np.array([0, 0.5, -3, 4], "f2")
    np.testing.assert_array_equal(run("tanh.approx.f16 %d, %a;", x, to="f2"), np.tanh(x))
    np.testing.assert_array_equal(run("ex2.approx.f16 %d, %a;", x, to="f2"), np.exp2(x))


def test_upper_halves_of_doubles():
    """rcp.approx.ftz.f64 starts Newton's iteration: 20 digits, and nothing below."""
    x = np.array([3.0, -0.1, 1e300, 7e-310])
    found = run("rcp.approx.ftz.f64 %d, %a;", x, to="f8")
    np.testing.assert_allclose(found[:3], 1 / x[:3], rtol=2e-6)
    assert np.isinf(found[3])
    assert not (found.view("u8")[:3] & 0xFFFFFFFF).any()


# ------------------------------------------------------------------ comparisons

ORDERED = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: (a < b) | (a > b),
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


@pytest.mark.parametrize("name", ["f16", "bf16", "f32", "f64"])
def test_comparisons(name):
    integer = FORMATS[name][3]
    x, y = patterns(name, 1), patterns(name, 1)
    y[::3] = patterns(name, 2)[::3]
    nan = {"f16": 0x7E00, "bf16": 0x7FC0, "f32": 0x7FC00000, "f64": 0x7FF8000000000000}[name]
    x[5:7], y[6:8] = integer(nan), integer(nan)
    a, b = decode(x, name), decode(y, name)
    missing = np.isnan(a) | np.isnan(b)
    cases = dict(ORDERED)
    cases |= {f"{n}u": lambda a, b, f=f: f(a, b) | missing for n, f in ORDERED.items()}
    cases |= {"num": lambda a, b: ~missing, "nan": lambda a, b: missing}
    for case, expected in cases.items():
        body = f"setp.{case}.{name} %p|%q, %a, %b; selp.u32 %d, 1, 0, %p; @%q add.u32 %d, %d, 2;"
        found = run(body, x, y, to="u4")
        np.testing.assert_array_equal(found == 1, expected(a, b), err_msg=case)
        assert set(found) <= {1, 2}


@pytest.mark.parametrize("signed", [False, True])
def test_comparisons_of_integers(signed):
    x, y = patterns("f32", 1), patterns("f32", 1)
    y[::2] = patterns("f32", 2)[::2]
    a, b = (v.view("i4") if signed else v for v in (x, y))
    kind = "s32" if signed else "u32"
    cases = {"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}
    if not signed:
        cases |= {"lo": a < b, "ls": a <= b, "hi": a > b, "hs": a >= b}
    for case, wanted in cases.items():
        body = f"setp.{case}.{kind} %p, %a, %b; selp.u32 %d, 1, 0, %p;"
        np.testing.assert_array_equal(run(body, x, y, to="u4"), wanted, err_msg=case)
        third = f"setp.ne.u32 %q, %i, 7; setp.{case}.xor.{kind} %p, %a, %b, !%q;"
        found = run(f"{third} selp.u32 %d, 1, 0, %p;", x, y, to="u4")
        np.testing.assert_array_equal(found, wanted ^ (np.arange(x.size) == 7), err_msg=case)


def test_set_and_selections():
    x, y = np.array([1, 2, np.nan], "f4"), np.array([2, 1, 1], "f4")
    assert run("set.lt.u32.f32 %d, %a, %b;", x, y, to="u4").tolist() == [2**32 - 1, 0, 0]
    assert run("set.ltu.f32.f32 %d, %a, %b;", x, y, to="f4").tolist() == [1, 0, 1]
    assert run("slct.f32.f32 %d, %a, %b, %a;", x, y, to="f4").tolist() == [1, 2, 1]
    s = np.array([-1, 0, 1], "i4")
    assert run("slct.u32.s32 %d, 10, 20, %a;", s, to="u4").tolist() == [20, 10, 10]


def test_tests_and_signs():
    x = np.array([1, 2**-130, 0, np.inf, np.nan], "f4")
    wanted = {
        "finite": [1, 1, 1, 0, 0],
        "infinite": [0, 0, 0, 1, 0],
        "number": [1, 1, 1, 1, 0],
        "notanumber": [0, 0, 0, 0, 1],
        "normal": [1, 0, 0, 0, 0],
        "subnormal": [0, 1, 0, 0, 0],
    }
    for name, truths in wanted.items():
        body = f"testp.{name}.f32 %p, %a; selp.u32 %d, 1, 0, %p;"
        assert run(body, x, to="u4").tolist() == truths, name
    found = run("copysign.f32 %d, 0fBF800000, %a;", x[:4], to="f4")
    np.testing.assert_array_equal(found, -x[:4])


# ------------------------------------------------------------------ conversions


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("target", ["f16", "bf16", "f32"])
@pytest.mark.parametrize("source", ["f32", "f64"])
def test_narrowing(source, target, mode):
    if source == target or (target == "bf16" and source == "f64"):
        return
    x = patterns(source, 4)
    found = decode(run(f"cvt.{mode}.{target}.{source} %d, %a;", x, to=FORMATS[target][3]), target)
    for got, value in zip(found, decode(x, source), strict=True):
        assert same(got, rounded(Fraction(value), target, mode) if value else value), value


def test_widening():
    for source, target in (("f16", "f32"), ("f16", "f64"), ("bf16", "f32"), ("f32", "f64")):
        x = patterns(source, 5)
        found = decode(run(f"cvt.{target}.{source} %d, %a;", x, to=FORMATS[target][3]), target)
        np.testing.assert_array_equal(found, decode(x, source))


def test_pairs_from_singles():
    x, y = patterns("f32", 1), patterns("f32", 2)
    for pair, part in (("f16x2", "f16"), ("bf16x2", "bf16")):
        found = run(f"cvt.rn.{pair}.f32 %d, %a, %b;", x, y, to="u4")
        for values, bits in ((x, found >> 16), (y, found & 0xFFFF)):
            got = decode(bits.astype(np.uint16), part)
            wanted = [rounded(Fraction(v), part) if v else v for v in decode(values, "f32")]
            np.testing.assert_array_equal(got, wanted)


def test_tf32():
    x = patterns("f32", 6)
    found = run("cvt.rna.tf32.f32 %d, %a;", x, to="u4")
    assert not (found & 0x1FFF).any()
    near = np.abs(decode(found, "f32") - decode(x, "f32")) <= np.abs(decode(x, "f32")) * 2.0**-11
    assert (near | (np.abs(decode(x, "f32")) < 2.0**-126) | np.isinf(decode(found, "f32"))).all()


@pytest.mark.parametrize("target", ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"])
@pytest.mark.parametrize("source", ["f16", "f32", "f64"])
def test_to_integers(source, target):
    bits = int(target[1:])
    low, high = (0, 2**bits - 1) if target[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    x = np.array([0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 127.5, 255.5, 3e4, -3e4], "f2")
    x = x.astype({"f16": "f2", "f32": "f4", "f64": "f8"}[source])
    if source != "f16":
        x = np.append(x, np.array([1e9, -1e9, 1e19, -1e19, 3e38, 2.0**31, 2.0**63], x.dtype))
    x = np.append(x, np.array([np.inf, -np.inf], x.dtype))
    integer = np.dtype(("uint" if target[0] == "u" else "int") + str(max(bits, 16)))
    for mode, exact in (("rni", "rn"), ("rzi", "rz"), ("rmi", "rm"), ("rpi", "rp")):
        found = run(f"cvt.{mode}.{target}.{source} %d, %a;", x, to=integer)
        for got, value in zip(found.tolist(), x.tolist(), strict=True):
            whole = to_integer(Fraction(value), exact) if math.isfinite(value) else value
            assert got == max(low, min(high, whole)), (mode, value)
    nan = run(f"cvt.rzi.{target}.{source} %d, %a;", np.array([np.nan], x.dtype), to=integer)
    wide = source == "f64" or bits == 64
    unsigned = int(nan[0]) & (2**bits - 1)
    assert unsigned == (2 ** (bits - 1) if wide else 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("target", ["f16", "bf16", "f32", "f64"])
@pytest.mark.parametrize("source", ["u32", "s32", "u64", "s64"])
def test_from_integers(source, target, mode):
    x = patterns("f64" if source.endswith("64") else "f32", 7)
    x = x.view(np.dtype(("uint" if source[0] == "u" else "int") + source[1:])).copy()
    x[::4] >>= x.itemsize * 4  # also smaller numbers
    found = decode(run(f"cvt.{mode}.{target}.{source} %d, %a;", x, to=FORMATS[target][3]), target)
    for got, value in zip(found, x.tolist(), strict=True):
        assert got == rounded(Fraction(value), target, mode), value


def test_to_whole_numbers_of_the_same_type():
    x = np.array([0.5, 1.5, -0.5, -1.5, 2.25, np.inf], "f4")
    assert run("cvt.rni.f32.f32 %d, %a;", x, to="f4").tolist() == [0, 2, 0, -2, 2, np.inf]
    assert run("cvt.rzi.f32.f32 %d, %a;", x, to="f4").tolist() == [0, 1, 0, -1, 2, np.inf]
    x = x.astype("f8")
    assert run("cvt.rmi.f64.f64 %d, %a;", x, to="f8").tolist() == [0, 1, -1, -2, 2, np.inf]
    assert run("cvt.rpi.f64.f64 %d, %a;", x, to="f8").tolist() == [1, 2, 0, -1, 3, np.inf]
