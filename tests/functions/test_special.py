"""gg.special where its values and derivatives are hard to have: tails, zeros, kinks, large numbers.

What holds for every op of the table is tested in test_ops.py; values are SciPy's.
"""

import math
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import scipy.special
from extremes import EXTREMES, UFUNCS

import gpugrad as gg
from gpugrad import special
from gpugrad.engine.op import TABLE
from gpugrad.errors import ArgumentError, DTypeError

INF, NAN = math.inf, math.nan

# Functions of gpugrad's own that stand among the special ones as well: NumPy's rules hold.
SHARED = ("cbrt", "erf", "exp2", "expm1", "log1p")


def slopes(f, values, device, count):
    """f and its derivatives up to an order, at the elements of an array."""
    x = gg.tensor(np.asarray(values, np.float64), device=device, requires_grad=True)
    y = f(x)
    found = [y]
    for _ in range(count):
        y = gg.gradients(y.sum(), x, create_graph=True)
        found.append(y)
    return [y.detach().cpu().numpy() for y in found]


@pytest.mark.parametrize("name", UFUNCS)
def test_values_are_scipy_s_at_extremes(name, device):
    own, theirs = getattr(special, name), getattr(scipy.special, name)
    grid = np.meshgrid(*[np.array(EXTREMES)] * theirs.nin)
    with np.errstate(all="ignore"):
        wanted = theirs(*grid)
        got = own(*(gg.tensor(a, device=device) for a in grid))
    # CuPy's functions have fewer digits, and some the values far out that SciPy's lack.
    differs = TABLE[name].checks.differs if name in TABLE and device == "cuda" else None
    known = ~differs(*grid) if differs else ...
    rtol = 1e-10 if device == "cuda" else 1e-13
    np.testing.assert_allclose(got.cpu().numpy()[known], wanted[known], rtol, atol=1e-300)


@pytest.mark.parametrize("name", UFUNCS)
def test_scipy_s_own_function_takes_tensors(name):
    theirs = getattr(scipy.special, name)
    arrays = [gg.tensor(np.array([0.3, 0.7])) for _ in range(theirs.nin)]
    arrays[-1].requires_grad_()
    got = theirs(*arrays)
    assert isinstance(got, gg.Tensor)
    assert got.requires_grad
    np.testing.assert_array_equal(
        got.detach().numpy(), getattr(special, name)(*arrays).detach().numpy()
    )


@pytest.mark.parametrize("name", [n for n in UFUNCS if n not in SHARED])
@pytest.mark.parametrize("kind", ["bool", "int8", "int64", "float16", "float32", "float64"])
def test_results_keep_their_dtype(name, kind, device):
    function = getattr(special, name)
    operands = [gg.ones(2, dtype=kind)] * getattr(scipy.special, name).nin
    wanted = kind if kind.startswith("float") else "float64"
    with np.errstate(all="ignore"):
        assert function(*operands).dtype == wanted


@pytest.mark.parametrize(
    "name",
    ["xlogy", "xlog1py", "rel_entr", "kl_div", "beta", "betaln", "gammainc", "gammaincc"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_number_beside_a_tensor_costs_no_digits(name, dtype, device):
    function, number = getattr(special, name), 0.3
    x = gg.tensor(np.array([0.4, 0.7], dtype), device=device, requires_grad=True)
    whole = gg.full(2, number, dtype="float64")
    for numbers, arrays in (((x, number), (x, whole)), ((number, x), (whole, x))):
        found, wanted = [], []
        for operands, results in ((numbers, found), (arrays, wanted)):
            y = function(*operands)
            results.append(y)
            while results[-1].requires_grad and len(results) < 4:
                results.append(gg.gradients(results[-1].sum(), x, create_graph=True))
        assert found[0].dtype == dtype
        for one, other in zip(found, wanted, strict=True):
            rtol = 1e-12 if dtype == "float64" else 1e-5
            np.testing.assert_allclose(
                one.detach().cpu().numpy(), other.detach().cpu().numpy(), rtol, atol=rtol / 100
            )


# Tails.


def beyond(x, terms=300):
    """The normal density at x over the probability beyond it, less x: Laplace's fraction."""
    rest = 0.0
    for k in range(terms, 0, -1):
        rest = k / (x + rest)
    return rest


def test_erfc_far_out(device):
    y, slope = slopes(special.erfc, [10.0, -10.0], device, 1)
    np.testing.assert_allclose(y, [2.0884875837625448e-45, 2.0], rtol=1e-13)
    np.testing.assert_allclose(slope, [-2 / math.sqrt(math.pi) * math.exp(-100)] * 2, rtol=1e-13)


def test_log_ndtr_far_below_zero(device):
    x = np.array([40.0, 1e4, 1e8])
    y, *found = slopes(special.log_ndtr, [*-x, 40.0], device, 3)
    more = beyond(x)
    logarithm = -0.5 * x * x - np.log(math.sqrt(2 * math.pi) * (x + more))
    np.testing.assert_allclose(y[:3], logarithm, rtol=1e-14)
    np.testing.assert_allclose(found[0][:3], x + more, rtol=1e-14)
    np.testing.assert_allclose(found[1][:3], -(x + more) * more, rtol=1e-13)
    # The third derivative goes as 2 / x**3 (1 - 12 / x**2), which is a difference of products.
    np.testing.assert_allclose(found[2][:2], (2 / x**3 * (1 - 12 / x**2))[:2], rtol=1e-4)
    assert all(f[3] == 0 for f in found)


def test_erfcx_has_every_derivative_for_large_numbers(device):
    x = np.array([5.0, 100.0, 1e6])
    _, *found = slopes(special.erfcx, x, device, 3)
    # The asymptotic series, to the next term: (-1)**n n! / (sqrt(pi) x**(n+1)).
    for n, slope in enumerate(found, 1):
        leading = (-1) ** n * math.factorial(n) / (math.sqrt(math.pi) * x ** (n + 1))
        correction = 1 - (n + 1) * (n + 2) / (4 * x * x)
        np.testing.assert_allclose(slope[1:], (leading * correction)[1:], rtol=1e-6)
    plain = 2 * 5 * scipy.special.erfcx(5.0) - 2 / math.sqrt(math.pi)
    np.testing.assert_allclose(found[0][0], plain, rtol=1e-12)


def test_expit_keeps_its_digits_on_both_sides(device):
    _, first, second = slopes(special.expit, [-40.0, 40.0], device, 2)
    tail = math.exp(-40)
    np.testing.assert_allclose(first, [tail, tail], rtol=1e-13)
    np.testing.assert_allclose(second, [tail, -tail], rtol=1e-13)
    _, slope, bend = slopes(special.log_expit, [-40.0, 40.0, -1000.0], device, 2)
    np.testing.assert_allclose(slope, [1, tail, 1], rtol=1e-13)
    np.testing.assert_allclose(bend, [-tail, -tail, 0], rtol=1e-13)


# Zeros and kinks.


CLOSE = 1 + 2.0**-40 + 2.0**-52  # a difference of logarithms would round it off


def test_bessel_functions_have_every_derivative_at_zero(device):
    near = [0.0, 1e-12, 1e-5]
    found = slopes(special.i1, near, device, 5)
    for one, value in zip(found, [0, 0.5, 0, 3 / 8, 0, 5 / 16], strict=True):
        np.testing.assert_allclose(one, value, atol=1e-5)
    found = slopes(special.i0, near, device, 4)
    for one, value in zip(found, [1, 0, 0.5, 0, 3 / 8], strict=True):
        np.testing.assert_allclose(one, value, atol=1e-5)
    assert slopes(special.i0e, [0.0], device, 1)[1][0] == 0
    assert slopes(special.i1e, [0.0], device, 1)[1][0] == 0.5


@pytest.mark.parametrize(
    ("name", "points", "wanted"),
    [
        (
            "xlogy",
            [(0.0, 0.0), (0.0, 2.0), (2.0, 3.0)],
            [(0, 0), (math.log(2), 0), (math.log(3), 2 / 3)],  # (0, 0): 0 by definition
        ),
        ("xlog1py", [(0.0, -1.0), (0.0, 1.0)], [(0, 0), (math.log(2), 0)]),
        (
            "rel_entr",
            [(0.0, 0.0), (0.0, 2.0), (2.0, 2.0)],
            [(math.nan, 0), (-math.inf, 0), (1, -1)],
        ),
        (
            "kl_div",
            [(0.0, 0.0), (0.0, 2.0), (2.0, 2.0), (1024.0, 1024.0 * CLOSE)],
            [(math.nan, 1), (-math.inf, 1), (0, 0), (-math.log1p(CLOSE - 1), (CLOSE - 1) / CLOSE)],
        ),
    ],
)
def test_derivatives_where_operands_are_zero(name, points, wanted, device):
    a, b = (gg.tensor(np.array(s), device=device, requires_grad=True) for s in zip(*points))
    y = getattr(special, name)(a, b)
    assert np.isfinite(y.detach().cpu().numpy()).all()
    with np.errstate(all="ignore"):
        found = gg.gradients(y.sum(), [a, b], create_graph=True)
        bends = gg.gradients(found[0].sum() + found[1].sum(), [a, b])
        regular = np.logical_and(*(np.array(side) != 0 for side in zip(*points)))
    for one, values in zip(found, zip(*wanted), strict=True):
        np.testing.assert_allclose(one.detach().cpu().numpy(), values, rtol=1e-12, atol=1e-30)
    # A second derivative at a = b = 0, where the slopes are those of definition, is not made up.
    for bend in (bend.cpu().numpy() for bend in bends):
        assert np.isfinite(bend[regular]).all()
        assert not np.isfinite(bend[0]).all()


def test_entr_at_its_end(device):
    y, slope = slopes(special.entr, [0.0, 1.0, math.e], device, 1)
    np.testing.assert_allclose(y, [0, 0, -math.e])
    np.testing.assert_allclose(slope, [math.inf, -1, -2])


def test_singular_points_get_nothing_where_they_are_not_chosen(device):
    with np.errstate(all="ignore"):
        for f in (special.gammaln, special.digamma, special.logit, special.ndtri, special.erfinv):
            _, slope = slopes(lambda x, f=f: gg.where(x > 0, f(x / 4), x), [0.0, -1.0], device, 1)
            assert slope.tolist() == [1, 1]


# Functions with arguments of their own.


def test_polygamma(device):
    x = np.array([0.5, 2.0, 7.0])
    found = slopes(special.gammaln, x, device, 5)
    for n, one in enumerate(found[1:]):
        np.testing.assert_allclose(one, scipy.special.polygamma(n, x), rtol=1e-13)
        np.testing.assert_allclose(
            special.polygamma(n, gg.tensor(x, device=device)).cpu().numpy(), one, rtol=1e-13
        )
    assert special.polygamma(200, gg.tensor(1.0)).item() == -INF
    with pytest.raises(ArgumentError, match="polygamma: expected an order of 0 or a whole number"):
        special.polygamma(-1, x)
    with pytest.raises(ArgumentError, match=r"a whole number above, got 0\.5"):
        special.polygamma(0.5, x)
    for order in ([1], "one"):
        with pytest.raises(DTypeError, match="expected one number as the order"):
            special.polygamma(order, x)
    with pytest.raises(DTypeError, match="polygamma: there is no derivative by the order"):
        special.polygamma(gg.tensor(1.0, requires_grad=True), x)


def test_multigammaln(device):
    a = np.array([2.5, 7.0])
    for d in (1, 2, 4):
        got = special.multigammaln(gg.tensor(a, device=device), d).cpu().numpy()
        np.testing.assert_allclose(got, scipy.special.multigammaln(a, d), rtol=1e-13)
    gg.gradcheck(lambda a: special.multigammaln(a, 3), gg.tensor(a, device=device))
    with pytest.raises(ArgumentError, match=r"multigammaln: expected a whole number of dim.*0"):
        special.multigammaln(a, 0)


@pytest.mark.parametrize("axis", [None, 0, (0, 1)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_has_scipy_s_defaults(name, axis, device, rng):
    x = rng.normal(size=(3, 4))
    got = getattr(special, name)(gg.tensor(x, device=device), axis=axis)
    np.testing.assert_allclose(
        got.cpu().numpy(), getattr(scipy.special, name)(x, axis=axis), rtol=1e-12
    )


@pytest.mark.parametrize("axis", [None, 1])
def test_logsumexp_with_weights(axis, device, rng):
    a, b = rng.normal(size=(3, 4)) + 1000, rng.uniform(-1, 2, (3, 4))
    b[0, 0], a[0, 1], b[2] = 0, -INF, abs(b[2])
    for words in ({"b": b}, {"b": b, "return_sign": True, "keepdims": True}, {"return_sign": True}):
        with np.errstate(all="ignore"):
            wanted = scipy.special.logsumexp(a, axis=axis, **words)
            words = {k: gg.tensor(v, device=device) if k == "b" else v for k, v in words.items()}
            got = special.logsumexp(gg.tensor(a, device=device), axis=axis, **words)
        pairs = zip(got, wanted) if isinstance(got, tuple) else [(got, wanted)]
        for one, other in pairs:
            np.testing.assert_allclose(one.cpu().numpy(), other, rtol=1e-12)
    a[0, 1] = 0
    gg.gradcheck(
        lambda a, b: special.logsumexp(a, axis=1, b=b, return_sign=True)[0],
        [gg.tensor(a - 1000, device=device), gg.tensor(b + 1, device=device)],
    )


# a, x, and the first and second derivatives of gammainc by a, by mpmath with 60 digits.
GAMMAINC_BY_A = np.array([
    (1e-08, 0.5, -0.55977360064375655, -0.58675956468049429),
    (0.001, 1e-20, -43.454406546972914, 1974.5687266573276),
    (0.01, 5.0, -0.0012026299019355632, -0.0055000585375698087),
    (0.3, 1.9, -0.11168838171434685, -0.19430601605924891),
    (0.5, 2.1, -0.12201111082367007, -0.17142282365322744),
    (1.0, 1.0, -0.4317297106348987, 0.033618035299959197),
    (1.5, 40.0, -1.1285981939695742e-16, -3.8632086563864439e-16),
    (2.0, 2.0, -0.29400469074623089, 0.0062178525663817879),
    (3.5, 2.01, -0.18104086187319273, 0.10407438947852724),
    (4.0, 0.001, -3.5029935937965002e-13, 2.9381745675851585e-12),
    (10.0, 10.0, -0.12721482320991924, 0.00010749206936509897),
    (19.9, 8.0, -0.00026827121709716939, 0.00024553933955334781),
    (20.1, 35.0, -0.0015690405570641008, -0.00087352627846770665),
    (75.0, 60.0, -0.0090694518819496096, 0.0020261746114738757),
    (300.0, 299.6, -0.023048563582332001, 3.0781822986348794e-5),
    (300.0, 450.0, -9.0086083057926186e-15, -3.6536803925473428e-15),
    (2500.0, 2400.0, -0.0010430846503270189, 4.2582229183081904e-5),
]).T  # fmt: skip


@pytest.mark.parametrize(("name", "sign"), [("gammainc", 1), ("gammaincc", -1)])
def test_incomplete_gamma_functions_by_their_parameter(name, sign, device):
    a, x, *wanted = GAMMAINC_BY_A
    beside = gg.tensor(x, device=device)
    found = slopes(lambda a: getattr(special, name)(a, beside), a, device, 2)[1:]
    # Where the second derivative is near its zero, it is small beside what it is made of.
    for got, want, rtol in zip(found, wanted, (3e-13, 1e-10), strict=True):
        np.testing.assert_allclose(got, sign * want, rtol)
    a = gg.tensor(a.astype(np.float32), device=device, requires_grad=True)
    getattr(special, name)(a, gg.tensor(x.astype(np.float32), device=device)).sum().backward()
    there = np.abs(wanted[0]) > 1e-6  # where rounding the operands does not change the result
    np.testing.assert_allclose(a.grad.cpu().numpy()[there], sign * wanted[0][there], 2e-4)


def test_gammainc_of_large_numbers(device):
    """At x = a the density is Stirling's series, and at an a of any size it has its digits."""
    a = np.array([1e2, 1e4, 1e6, 1e8, 1e10])
    wanted = np.exp(-1 / (12 * a) + 1 / (360 * a**3)) / np.sqrt(2 * math.pi * a)
    by_a, by_x = (gg.tensor(a, device=device, requires_grad=True) for _ in range(2))
    special.gammainc(by_a, by_x).sum().backward()
    np.testing.assert_allclose(by_x.grad.cpu().numpy(), wanted, 1e-12)
    # d/da is -d/dx (1 + 1 / (6 a) + ...): N. Temme's expansion for large a.
    np.testing.assert_allclose(-by_a.grad.cpu().numpy() / wanted, 1, atol=2 / a[0])


def test_gammainc_at_its_ends(device):
    a = gg.tensor(np.array([0, 1, 2.5, 1, -1, 1, NAN, 1, 1e-300]), device=device)
    x = gg.tensor(np.array([1, 0, 0, INF, 1, -1, 1, NAN, 1e-300]), device=device)
    found = gg.gradients(special.gammainc(a.requires_grad_(), x).sum(), a).cpu().numpy()
    exponential_integral = -scipy.special.exp1(1)
    wanted = [exponential_integral, 0, 0, 0, NAN, NAN, NAN, NAN, math.log(1e-300) + np.euler_gamma]
    np.testing.assert_allclose(found, wanted, 1e-12)
    x = gg.tensor(np.array([0.0, 0.0, INF]), device=device, requires_grad=True)
    special.gammainc(gg.tensor(np.array([1.0, 2.5, 2.0]), device=device), x).sum().backward()
    np.testing.assert_array_equal(x.grad.cpu().numpy(), [1, 0, 0])


def test_all_derivatives_of_gammainc(device):
    a, x = (gg.tensor(np.array(v), device=device) for v in ([0.7, 3.0, 40.0], [1.5, 2.6, 38.0]))
    for name in ("gammainc", "gammaincc"):
        gg.gradcheck(getattr(special, name), [a, x])
        gg.gradgradcheck(getattr(special, name), [a, x])
    third = lambda a, x: gg.hessian(lambda t: special.gammainc(t[0], t[1]))(gg.stack([a, x]))  # noqa: E731
    gg.gradcheck(third, [gg.tensor(np.array(v), device=device) for v in (2.5, 3.1)])


# a, b, x, and the derivatives of betainc by a, by b, by a twice, by a and b: by mpmath.
BETAINC_BY_A_AND_B = np.array([
    (0.001, 2.0, 1e-09,
     -19.339039599154, 0.000632140135259735, 380.469827312548, 0.619473686513968),
    (0.02, 0.03, 0.4,
     -12.1442762947516, 7.9502992281735, 485.208176999538, 76.5763855737893),
    (0.5, 0.5, 0.7,
     -0.468744583915505, 0.642811481157284, 0.614461605784587, 0.265729758358444),
    (0.7, 0.01, 0.999,
     -0.0259774293247805, 6.99076129330553, 0.0577680694681111, -2.37286581950364),
    (1.0, 1.0, 0.3,
     -0.361191841297781, 0.249672460757113, 0.434865154066938, -0.133248142761706),
    (2.0, 3.0, 0.02,
     -0.00778796351172275, 0.00133166409592621, 0.0255602325107534, -0.00392688619032587),
    (2.5, 4.0, 0.5,
     -0.157599343303521, 0.120875139686312, -0.0136528284862772, 0.0383026073468624),
    (5.0, 0.3, 0.9,
     -0.0353941957292278, 0.647061411093443, 0.00900352515076143, -0.0944255344373505),
    (12.0, 9.0, 0.57,
     -0.0768215282484959, 0.102606477444929, 0.00397991835909374, -0.000886961806219901),
    (40.0, 7.0, 0.6,
     -2.45687789712865e-5, 7.09515492272175e-5, 9.11936275482566e-6, -2.55583181764057e-5),
    (3.0, 150.0, 0.05,
     -0.0208993602925501, 0.000666014265874286, -0.0197730013843, 0.000736204429085651),
    (300.0, 280.0, 0.5,
     -0.0115363968658284, 0.0119418568245365, 0.000411072100654988, -0.00040559489241571),
    (900.0, 0.5, 0.9999,
     -0.000171908506240659, 0.816317064714, 1.12722949364037e-7, 7.6497760245997e-5),
    (0.01, 2000.0, 0.001,
     -0.0503990647804717, 6.85096364018872e-7, -0.153858826219678, 6.93684304531766e-5),
]).T  # fmt: skip


def test_betainc_by_its_parameters(device):
    (a, b, x), wanted = BETAINC_BY_A_AND_B[:3], BETAINC_BY_A_AND_B[3:]
    a, b = (gg.tensor(v, device=device, requires_grad=True) for v in (a, b))
    y = special.betainc(a, b, gg.tensor(x, device=device))
    by_a, by_b = gg.gradients(y.sum(), (a, b), create_graph=True)
    found = (by_a, by_b, *gg.gradients(by_a.sum(), (a, b)))
    for got, want, rtol in zip(found, wanted, (1e-11, 1e-11, 1e-10, 1e-10), strict=True):
        np.testing.assert_allclose(got.detach().cpu().numpy(), want, rtol)
    again = gg.gradients(by_b.sum(), a)
    np.testing.assert_allclose(again.cpu().numpy(), wanted[3], 1e-10)


def test_betainc_close_to_1_and_to_0(device):
    """At 1e-20 the derivative by b comes from 1 - x, which is 1 in float64: no digit is lost."""
    a, b, x = (gg.tensor(np.array([v]), device=device) for v in (2.0, 3.0, 1e-20))
    by_b = gg.gradients(special.betainc(a, b.requires_grad_(), x).sum(), b)
    # I = x**2 / (2 B(2, b)) = x**2 b (b + 1) / 2, but for terms in x**3
    np.testing.assert_allclose(by_b.cpu().numpy(), 1e-40 * 3.5, 1e-12)


def test_betainc_at_its_ends(device):
    a, b, x = np.array([(1, 1, 0), (2, 3, 1), (-1, 2, 0.5), (2, 3, 1.5), (NAN, 1, 0.5)]).T
    a, b = (gg.tensor(v, device=device, requires_grad=True) for v in (a, b))
    y = special.betainc(a, b, gg.tensor(x, device=device))
    for found in gg.gradients(y.sum(), (a, b)):
        np.testing.assert_array_equal(found.cpu().numpy(), [0, 0, NAN, NAN, NAN])


def test_all_derivatives_of_betainc(device):
    values = [0.7, 3.0, 12.0], [2.6, 0.4, 9.0], [0.3, 0.8, 0.5]
    # Its integrals take the stand-in half a minute; what is wrong by less than gradcheck's 0.1% is
    # found by test_ops.py.
    count = 1 if device.kind == "cuda" else 3
    operands = [gg.tensor(np.array(v[:count]), device=device) for v in values]
    gg.gradcheck(special.betainc, operands)
    gg.gradgradcheck(special.betainc, operands)
    gg.gradcheck(gg.hessian(lambda t: special.betainc(*t)), gg.stack(operands)[:, 0])


def test_nothing_waits_for_the_device():
    x = gg.tensor(np.array([0.3, 0.7]), device="sim", requires_grad=True)
    with gg.sync_guard():
        for name in UFUNCS:
            count = getattr(scipy.special, name).nin
            y = getattr(special, name)(*[0.5] * (count - 1), x)
            g = gg.gradients(y.sum(), x, create_graph=True)
            if g.requires_grad:
                gg.gradients(g.sum(), x)
        special.logsumexp(x, b=x).backward()
        special.polygamma(2, x).sum().backward()


# Errors.


@pytest.mark.parametrize("name", [n for n in UFUNCS if n not in (*SHARED, "xlogy", "xlog1py")])
def test_complex_numbers_are_refused(name):
    z = gg.asarray([1j])
    count = getattr(scipy.special, name).nin
    words = (
        "expected real numbers, got .*complex|function of real numbers|Give it real ones|"
        "takes no complex numbers"
    )
    with pytest.raises(DTypeError, match=rf"{name}: .*({words})|digamma: expected real"):
        getattr(special, name)(*[1.0] * (count - 1), z)


def test_what_gpugrad_lacks_of_scipy_is_named():
    t = gg.ones(2)
    with pytest.raises(DTypeError, match=r"scipy\.special\.gdtr: gpugrad has no such function"):
        scipy.special.gdtr(t, t, t)
    with pytest.raises(DTypeError, match=r"scipy\.special\.gammaincinv: .*is gg\.special\.gam"):
        scipy.special.gammaincinv(t, t)
    with pytest.raises(DTypeError, match=r"scipy\.special\.xlogy\.outer: gpugrad has no such"):
        scipy.special.xlogy.outer(t, t)
    other = np.frompyfunc(lambda x: x, 1, 1)
    with pytest.raises(DTypeError, match=r"neither NumPy's nor SciPy's.*gg\.custom_op"):
        other(t)


def test_without_scipy_the_extra_is_named():
    program = """
import sys
from functools import partial
sys.modules["scipy"] = None
import gpugrad as gg
x = gg.tensor([0.5])
for name in ("xlogy", "entr", "expit", "log_expit", "erf", "softmax"):
    getattr(gg.special, name)(*[x] * (2 if name == "xlogy" else 1))
try:
    gg.special.gammaln(x)
except gg.GpugradError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == (
        "special.gammaln: SciPy, which computes it, is not installed. Install it with "
        '`pip install "scipy>=1.13"`'
    ), done.stderr


def test_scipy_is_not_imported_before_it_is_needed():
    program = "import sys, gpugrad as gg; gg.special; assert 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


BESSEL = ["jv", "yv", "iv", "ive", "kv", "kve"]
ORDERS = (-3, -2.5, -0.5, 0, 0.5, 1, 1.5, 2, 12, 29.5)


@pytest.mark.parametrize("name", BESSEL)
def test_bessel_functions_of_whole_and_half_orders(name, device):
    function, own = getattr(gg.special, name), getattr(scipy.special, name)
    for order in ORDERS:
        x = np.array([1e-3, 0.4, 1.3, 2.9, 6.0, 17.0, 41.0, 300.0])
        value = function(order, gg.tensor(x, device=device)).cpu().numpy()
        np.testing.assert_allclose(value, own(order, x), rtol=1e-11, atol=1e-13)
        small = function(order, gg.tensor(x, dtype="float32", device=device)).cpu().numpy()
        with np.errstate(over="ignore", under="ignore"):
            wanted = own(order, x.astype("float32").astype("float64")).astype("float32")
        np.testing.assert_allclose(
            small, wanted, rtol=3e-6, atol=1e-7 if name in "jv yv" else 1e-38
        )
    if name in ("jv", "iv", "ive"):  # of negative numbers for whole orders alone
        x = np.array([-2.0, -40.0])
        value = function(3, gg.tensor(x, device=device)).cpu().numpy()
        np.testing.assert_allclose(value, own(3, x), rtol=1e-11)
        assert gg.isnan(function(0.5, gg.tensor(x, device=device))).all()


@pytest.mark.parametrize("name", BESSEL)
def test_derivatives_of_bessel_functions(name, device):
    x = gg.tensor(np.array([0.4, 1.3, 7.0]), device=device)
    for order in (2, 1.5, *((0.3, -1.7) if device == "cpu" else ())):
        f = partial(getattr(gg.special, name), order)
        assert gg.gradcheck(f, x)
        assert gg.gradgradcheck(f, x)


@pytest.mark.parametrize("name", BESSEL)
def test_scipy_s_bessel_functions_of_tensors(name):
    t = gg.tensor([0.4, 1.3], requires_grad=True)
    for order in (2, 0.5, 0.3, 55.5):
        y = getattr(scipy.special, name)(order, t)
        assert y.requires_grad
        assert y.tolist() == getattr(gg.special, name)(order, t).tolist()
    assert gg.special.jn is gg.special.jv
    assert gg.special.kn is gg.special.kv
    assert gg.special.yn is gg.special.yv


@pytest.mark.parametrize("name", ["hankel1", "hankel2"])
def test_hankel_functions(name, device):
    x = np.array([0.4, 1.3, 17.0])
    t = gg.tensor(x, device=device, requires_grad=True)
    for order in (0, 2, 1.5):
        y = getattr(gg.special, name)(order, t)
        wanted = getattr(scipy.special, name)(order, x)
        np.testing.assert_allclose(y.detach().cpu().numpy(), wanted, rtol=1e-11)
        slope = gg.gradients((y * y.conj()).real.sum(), t)
        change = [getattr(scipy.special, name)(order, x + h) for h in (1e-5, -1e-5)]
        difference = (abs(change[0]) ** 2 - abs(change[1]) ** 2) / 2e-5
        np.testing.assert_allclose(slope.cpu().numpy(), difference, rtol=1e-6)


def test_bessel_functions_of_large_numbers(device):
    """exp(x) and x**order overflow where the function does not (float32, float16)."""
    x = gg.tensor([400.0], device=device)
    for name, order in (("ive", 12), ("ive", 30.5), ("jv", 15), ("kve", 20)):
        wanted = getattr(scipy.special, name)(order, 400.0)
        for dtype, rtol in (("float32", 1e-5), ("float16", 1e-3), ("float64", 1e-11)):
            got = getattr(gg.special, name)(order, x.astype(dtype)).item()
            assert got == pytest.approx(wanted, rel=rtol)
    assert gg.special.iv(5, x.astype("float16") / 40).item() == pytest.approx(777.188, rel=1e-3)


def test_bessel_functions_of_the_first_kind_at_zero(device):
    """Taylor: J[n] = (x / 2)**n / n! (1 - (x / 2)**2 / (n + 1) + ...), and I with a plus."""
    for name, sign in (("jv", -1), ("iv", 1)):
        f = getattr(gg.special, name)
        x = gg.tensor(np.zeros(1), device=device)
        third = partial(f, 1)
        for _ in range(3):
            third = gg.grad(lambda u, g=third: g(u).sum())
        assert third(x).item() == pytest.approx(sign * 3 / 8)


def test_orders_of_bessel_functions(device):
    x = gg.ones(2, device=device)
    with pytest.raises(gg.DTypeError, match="kv: there is no derivative by the order"):
        gg.special.kv(gg.tensor(1.0, requires_grad=True), x)
    with pytest.raises(
        gg.DTypeError, match=r"jv: expected one number .*ndarray of several.*gg\.stack"
    ):
        gg.special.jv(np.arange(3), x)
    with pytest.raises(gg.DTypeError, match="iv: expected one number as the order, got 'two'"):
        gg.special.iv("two", x)
    with pytest.raises(gg.ArgumentError, match="yv: expected a finite order, got nan"):
        gg.special.yv(math.nan, x)
    with pytest.raises(gg.ArgumentError, match="polygamma: expected an order of 0 or a whole"):
        gg.special.polygamma(0.5, x)
    if device == "cpu":
        assert gg.special.jv(np.float64(0.3), x).tolist() == gg.special.jv(0.3, x).tolist()
        return
    for order in (0.3, 40.5):
        with pytest.raises(gg.ArgumentError, match=r"ive: on a GPU .*CPU: ive\(v, x.cpu\(\)\)"):
            gg.special.ive(order, x)
