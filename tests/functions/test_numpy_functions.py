"""NumPy's functions on tensors: what gradients do at ties, NaN and zeros, errors, and what is not
there.
"""

import inspect
import math
import re
import warnings
from functools import partial

import numpy as np
import pytest
from optable import outputs_of

import gpugrad as gg
from gpugrad import Tensor
from gpugrad.backend.namespace import namespace_of
from gpugrad.errors import (
    ArgumentError,
    DeviceError,
    DTypeError,
    GpugradError,
    GradientError,
    IndexingError,
    ShapeError,
)
from gpugrad.functions import FUNCTIONS
from gpugrad.functions.bind import NUMPY_FUNCTIONS
from gpugrad.tensor.hints import NUMPY as INSTEAD

NAN, INF = math.nan, math.inf


def slopes(f, values, device):
    x = gg.tensor(np.asarray(values), device=device, requires_grad=True)
    return gg.gradients(f(x).sum(), x).cpu().numpy()


# What there is, and what there is not.

MODULES = {"np": np, "np.linalg": np.linalg, "np.fft": np.fft, "np.emath": np.emath}
DISPATCHED = sorted(
    f"{module}.{name}"
    for module, where in MODULES.items()
    for name in dir(where)
    if not name.startswith("_") and hasattr(getattr(where, name), "_implementation")
)


def named(name):
    module, _, attribute = name.rpartition(".")
    return getattr(MODULES[module], attribute)


VALUES = [[2.0, 1.0], [0.5, 3.0]]
SQUARE = gg.tensor(np.array(VALUES), requires_grad=True)
ANSWERS = (GpugradError, TypeError, ValueError, IndexError, AttributeError)


def arrays_in(result):
    parts = result if isinstance(result, tuple | list) else (result,)
    return [part for part in parts if isinstance(part, np.ndarray | np.generic)]


@pytest.mark.filterwarnings("ignore:numpy.fix is deprecated:DeprecationWarning")  # since NumPy 2.5
@pytest.mark.parametrize("name", DISPATCHED)
def test_no_function_of_numpy_turns_a_tensor_into_an_array(name):
    """Whatever the arguments: a result is a tensor or no array, an error names the function."""
    function = named(name)
    square = SQUARE
    tries = [(square,) * n for n in (1, 2, 3)] + [([square, square],), (square, 1), ([square], 1)]
    answers = 0
    for args in tries:
        try:
            result = function(*args)
        except ANSWERS as error:
            answers += f"{function.__name__}: gpugrad has no such function" in str(error)
            continue
        assert not arrays_in(result)
        answers += 1
    assert SQUARE.tolist() == VALUES
    if function not in NUMPY_FUNCTIONS and name not in WITHOUT_OPERANDS:
        assert answers


# Those that NumPy's protocols do not reach: they take numbers, or make an array of what they get.
UNASKED = sorted(
    f"{module}.{name}"
    for module, where in MODULES.items()
    for name in dir(where)
    if not name.startswith("_")
    and callable(function := getattr(where, name))
    and not isinstance(function, np.ufunc | type)
    and not hasattr(function, "_implementation")
    and name not in ("test", "load", "loadtxt", "fromfile")  # run tests, read files
)


@pytest.mark.parametrize("name", UNASKED)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_a_function_that_asks_nobody_makes_no_array_of_a_recorded_tensor(name, capsys):
    """Its conversion to an array is refused, or it does not look at the values."""
    function, total = named(name), SQUARE.sum()
    tries = [(SQUARE,), (total,), (SQUARE, SQUARE), (SQUARE, "float64"), ([SQUARE],),
             ([total, 1.0],), ((2, 2), total), (total, total, 1)]  # fmt: skip
    for args in tries:
        if name == "np.asmatrix" or isinstance(args[0], tuple):
            args = args[:1] if name != "np.full" else args
        try:
            result = function(*args)
        except (*ANSWERS, KeyError, RuntimeError):
            continue
        if not isinstance(args[0], tuple):  # a shape, of an array with nothing of a tensor in it
            assert not arrays_in(result), args
    assert SQUARE.tolist() == VALUES


def test_the_kinds_of_functions_are_all_that_numpy_has():
    known = {named(name) for name in (*DISPATCHED, *UNASKED)}
    for module, where in MODULES.items():
        for name in dir(where):
            function = getattr(where, name)
            public = callable(function) and not name.startswith("_")
            if public and not isinstance(function, np.ufunc | type):
                assert function in known or name in ("test", "load", "loadtxt", "fromfile"), (
                    module, name,
                )  # fmt: skip


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize(
    "name", ["vectorize", "matrix", "ndenumerate", "nditer", "broadcast", "poly1d", "recarray"]
)
def test_classes_of_numpy_make_no_array_of_a_recorded_tensor(name):
    made = getattr(np, name)
    with pytest.raises((GpugradError, TypeError, ValueError)):
        made(lambda x: 2 * x)(SQUARE) if name == "vectorize" else made(SQUARE)


# They take no arrays in these places, or dispatch on a keyword.
WITHOUT_OPERANDS = {"np.busday_offset", "np.datetime_as_string", "np.is_busday", "np.savez"}


@pytest.mark.parametrize("name", [n for n in DISPATCHED if named(n) not in NUMPY_FUNCTIONS])
def test_what_is_not_there_is_named(name):
    t = gg.ones(2)
    function = named(name)
    with pytest.raises(DTypeError, match=rf"np\.(\w+\.)?{function.__name__}: gpugrad has no"):
        t.__array_function__(function, (Tensor,), (t,), {})


@pytest.mark.parametrize(
    "name", [n for n in dir(np) if isinstance(getattr(np, n), np.ufunc) and n not in FUNCTIONS]
)
def test_a_ufunc_that_is_not_there_is_named(name):
    ufunc = getattr(np, name)
    if ufunc.__name__ in ("conjugate", "absolute") or ufunc.__name__ in FUNCTIONS:
        return
    with pytest.raises(DTypeError, match="gpugrad has no such function"):
        ufunc(*[gg.ones((2, 2))] * ufunc.nin)


def test_the_nearest_function_is_offered():
    with pytest.raises(DTypeError, match=r"np\.busday_count: .*\.detach\(\)\.numpy\(\)"):
        np.busday_count(gg.ones(2), gg.ones(2))
    with pytest.raises(DTypeError, match=r"np\.isnat: .*nearest is gg\.isnan"):
        np.isnat(gg.ones((2, 2)))
    with pytest.raises(DTypeError, match=r"np\.zeros: .*nearest is gg\.zeros"):
        np.zeros(2, like=gg.ones(2))
    with pytest.raises(DTypeError, match=r"np\.putmask: .*Write gg\.where\(mask, values, t\)"):
        np.putmask(gg.ones(2), [True, False], 2.0)
    with pytest.raises(DTypeError, match=r"np\.copyto: .*or np\.copyto\(a, t\.detach"):
        np.copyto(np.ones(2), gg.ones(2))
    with pytest.raises(DTypeError, match=r"np\.emath\.sqrt: .*nearest is gg\.sqrt"):
        np.emath.sqrt(gg.ones(2))


def test_what_is_written_in_place_of_numpy_s_functions_is_there():
    assert set(INSTEAD) <= set(dir(np))
    for name, words in INSTEAD.items():
        assert not hasattr(gg, name) or name == "save", name
        for called in re.findall(r"gg\.([\w.]+)", words):
            assert callable(getattr(gg, called)), called


@pytest.mark.parametrize("name", ["hsplit", "vsplit", "dsplit", "array_split", "split"])
@pytest.mark.parametrize("cuts", [[1], [1, 2]])
def test_pieces_are_split_at_an_array_of_indices(name, cuts):
    x = np.arange(27.0).reshape(3, 3, 3)
    expected = [piece.tolist() for piece in getattr(np, name)(x, cuts)]
    assert [piece.tolist() for piece in getattr(gg, name)(x, np.asarray(cuts))] == expected


def test_functions_take_numpy_s_keywords():
    t = gg.tensor(np.arange(4.0))
    assert np.interp(x=1.5, xp=t, fp=2 * t).item() == 3.0
    assert np.trapezoid(y=t, x=2 * t).item() == 9.0
    assert np.sort(a=-t).tolist() == [-3, -2, -1, 0]
    assert np.median(a=t, axis=0, keepdims=True).tolist() == [1.5]
    assert np.diff(a=t, n=2).tolist() == [0, 0]
    assert np.searchsorted(a=t, v=2.5).item() == 3


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda t: np.exp(t, casting="no"), r"np\.exp: casting= is not supported.*promote"),
        (lambda t: np.sort(t, order="x"), r"sort: order= is not supported"),
        (lambda t: t.cumsum(where=[True]), r"cumsum: where= is not supported"),
        (lambda t: t.mean(initial=0), r"mean: initial= is not supported"),
        (lambda t: np.linspace(t, 1, retstep=True), r"retstep= .*what gg\.linspace takes: s"),
    ],
)  # fmt: skip
def test_keywords_that_are_not_taken_are_named(call, text):
    with pytest.raises(DTypeError, match=text):
        call(gg.ones(2))


def test_a_keyword_that_the_user_s_own_function_lacks_is_his():
    def half(v):
        return v / 2

    with pytest.raises(TypeError, match=r"half\(\) got an unexpected keyword argument 'where'"):
        np.apply_along_axis(half, 0, gg.ones(2), where=1)


def test_methods_of_ufuncs(device):
    a, b = np.array([1.0, 2.0, 3.0]), np.array([[0.5, 4.0]])
    t, u = (gg.tensor(x, device=device, requires_grad=True) for x in (a, b))
    y = np.subtract.outer(t, u)
    np.testing.assert_array_equal(y.detach().cpu().numpy(), np.subtract.outer(a, b))
    y.sum().backward()
    assert (t.grad.tolist(), u.grad.tolist()) == ([2, 2, 2], [[-3, -3]])
    assert np.maximum.outer(2.0, t).tolist() == [2, 2, 3]
    assert np.multiply.outer(t, [1.0, 2.0]).dtype == np.float64
    assert np.multiply.accumulate(t).tolist() == [1, 2, 6]
    assert np.multiply.accumulate(u, axis=1).tolist() == [[0.5, 2.0]]
    with pytest.raises(DTypeError, match=r"np\.subtract\.accumulate: gpugrad has no such function"):
        np.subtract.accumulate(t)
    with pytest.raises(DTypeError, match=r"np\.exp\.outer: gpugrad has no such function"):
        t.__array_ufunc__(np.exp, "outer", t, t)


def test_methods():
    t = gg.tensor(np.array([[3.0, 1.0], [2.0, 5.0]]), requires_grad=True)
    assert t.trace().item() == 8
    assert t.diagonal().tolist() == [3, 5]
    assert t.cumprod(axis=1).tolist() == [[3, 3], [2, 10]]
    assert t.argsort().tolist() == [[1, 0], [0, 1]]
    assert t.topk(1)[0].tolist() == [[3], [5]]
    assert t.compress([False, True], axis=0).tolist() == [[2, 5]]
    assert [places.tolist() for places in (t > 2).nonzero()] == [[0, 1], [0, 1]]
    assert t.conjugate().tolist() == t.tolist()
    whole, rest = divmod(t, 2)
    assert (whole.tolist(), rest.tolist()) == ([[1, 0], [1, 2]], [[1, 1], [0, 1]])
    assert divmod(4, t)[1].tolist() == [[1, 0], [0, 4]]
    with pytest.raises(AttributeError, match=r"no attribute 'fill'. Write `x\[\.\.\.\] = value`"):
        t.fill(0.0)
    s = t.sort()  # a new tensor, where ndarray.sort sorts in place
    assert s.tolist() == [[1, 3], [2, 5]]
    assert t.tolist() == [[3, 1], [2, 5]]
    assert s.requires_grad


# Ties, NaN and zeros.


def test_sorting_is_stable_in_both_directions(device):
    x = gg.tensor(np.array([1.0, 0.0, 1.0, 0.0]), device=device)
    assert gg.argsort(x).tolist() == [1, 3, 0, 2]
    assert gg.argsort(x, descending=True).tolist() == [0, 2, 1, 3]
    assert gg.topk(x, 1)[1].tolist() == [0]
    assert slopes(lambda t: gg.sort(t)[:1], [1.0, 0.0, 0.0], device).tolist() == [0, 1, 0]


def test_nan_sorts_last(device):
    x = gg.tensor(np.array([NAN, 2.0, 1.0]), device=device)
    assert gg.argsort(x).tolist() == [2, 1, 0]
    np.testing.assert_array_equal(gg.sort(x).cpu().numpy(), [1, 2, NAN])
    assert math.isnan(gg.median(x).item())
    assert math.isnan(gg.quantile(x, 0.1).item())
    assert gg.nanmedian(x).item() == 1.5


def test_median_shares_between_the_two_in_the_middle(device):
    assert slopes(gg.median, [4.0, 1.0, 3.0, 9.0], device).tolist() == [0.5, 0, 0.5, 0]
    assert slopes(gg.median, [2.0, 2.0, 2.0], device).tolist() == [0, 1, 0]


def test_cumprod_is_exact_at_zeros(device):
    assert slopes(lambda x: gg.cumprod(x), [2.0, 0.0, 3.0], device).tolist() == [1, 8, 0]
    assert slopes(lambda x: gg.cumprod(x), [0.0, 0.0, 3.0], device).tolist() == [1, 0, 0]


@pytest.mark.parametrize("name", ["nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax",
                                  "nanmin", "nanmedian"])  # fmt: skip
def test_nothing_but_nan_gives_numpy_s_answer_and_no_gradient(name, device):
    rows = np.array([[NAN, NAN], [1.0, 2.0]])
    with warnings.catch_warnings():  # NumPy's, of slices that are all NaN
        warnings.simplefilter("ignore")
        wanted = getattr(np, name)(rows, axis=1)
    got = FUNCTIONS[name](gg.tensor(rows, device=device), axis=1)
    np.testing.assert_allclose(got.cpu().numpy(), wanted)
    found = slopes(lambda x: FUNCTIONS[name](x, axis=1), rows, device)
    assert found[0].tolist() == [0, 0]
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("hypot", [(0.0, 0.0), (3.0, 0.0), (INF, 1.0)]),
        ("arctan2", [(0.0, 1.0), (1e-200, 1e-200), (1e200, 1e200)]),
        ("logaddexp", [(-INF, -INF), (INF, INF), (1000.0, -1000.0), (-INF, 1.0)]),
        ("logaddexp2", [(-INF, -INF), (INF, INF), (1000.0, -1000.0)]),
        ("copysign", [(0.0, -1.0), (2.0, -0.0)]),
        ("fmax", [(NAN, 1.0), (1.0, NAN), (NAN, NAN), (1.0, 1.0)]),
        ("fmin", [(NAN, 1.0), (1.0, NAN), (NAN, NAN), (1.0, 1.0)]),
        ("heaviside", [(0.0, 0.5), (-1.0, 0.5)]),
    ],
)
def test_derivatives_at_singular_points_are_finite(name, points, device):
    a, b = (np.array(side) for side in zip(*points, strict=True))
    x, y = (gg.tensor(v, device=device, requires_grad=True) for v in (a, b))
    result = FUNCTIONS[name](x, y)
    np.testing.assert_allclose(result.detach().cpu().numpy(), getattr(np, name)(a, b), rtol=1e-15)
    with np.errstate(all="ignore"):
        for g in gg.gradients(result.sum(), [x, y], allow_unused=True):
            if name != "hypot" or np.isfinite(a).all():
                assert np.isfinite(g.cpu().numpy()).all()


def test_fmax_gives_the_gradient_to_the_one_that_is_not_nan(device):
    x = gg.tensor(np.array([NAN, 1.0, 2.0, NAN]), device=device, requires_grad=True)
    y = gg.tensor(np.array([1.0, NAN, 2.0, NAN]), device=device, requires_grad=True)
    dx, dy = gg.gradients(gg.fmax(x, y).sum(), [x, y])
    assert dx.tolist() == [0, 1, 0.5, 1]
    assert dy.tolist() == [1, 0, 0.5, 1]


def test_cbrt_at_zero_has_an_infinite_slope(device):
    assert slopes(gg.cbrt, [0.0, 8.0], device).tolist() == [INF, pytest.approx(1 / 12)]


def test_arctan2_has_no_derivative_at_the_origin(device):
    for f in (lambda t: gg.arctan2(t, 0.0), lambda t: gg.arctan2(0.0, t)):
        assert np.isnan(slopes(f, [0.0], device)).all()


def test_sinc_has_every_derivative_at_zero(device):
    x = gg.tensor(np.array([0.0, 1e-9, 0.31, 2.0]), device=device, requires_grad=True)
    y = gg.sinc(x)
    found = []
    for _ in range(4):
        (y,) = [gg.gradients(y.sum(), x, create_graph=True)]
        found.append(y.detach().cpu().numpy()[0])
    assert found == pytest.approx([0, -(math.pi**2) / 3, 0, math.pi**4 / 5])


def test_interp_at_its_points_and_beyond(device):
    xs = gg.tensor(np.array([0.0, 1.0, 2.0]), device=device)
    fs = gg.tensor(np.array([0.0, 2.0, 3.0]), device=device)
    found = slopes(lambda x: gg.interp(x, xs, fs), [-1.0, 0.0, 1.0, 2.0, 3.0], device)
    assert found.tolist() == [
        0,
        2,
        1,
        1,
        0,
    ]  # the slope on the right, at the last point on the left
    assert gg.interp(INF, xs, fs).item() == 3.0


def test_average_returns_the_sum_of_weights(device):
    x = gg.tensor(np.arange(6.0).reshape(2, 3), device=device)
    mean, total = gg.average(x, axis=0, returned=True)
    assert (mean.tolist(), total.tolist()) == ([1.5, 2.5, 3.5], [2, 2, 2])
    nan, total = gg.average(x * math.nan, returned=True)
    assert np.isnan(nan.item())
    assert total.item() == 6


def test_bincount_counts_and_sums(device):
    numbers = gg.tensor(np.array([0, 2, 2]), device=device)
    assert gg.bincount(numbers).tolist() == [1, 0, 2]
    weights = gg.tensor(np.array([1.0, 2.0, 4.0], np.float32), device=device, requires_grad=True)
    sums = gg.bincount(numbers, weights, minlength=4)
    assert sums.tolist() == [1, 0, 6, 0]
    assert sums.dtype == np.float32
    assert gg.gradients((sums * sums).sum(), weights).tolist() == [2, 12, 12]
    assert gg.bincount(numbers[:0]).tolist() == []


def test_new_arrays_of_numbers(device):
    numpy_s = {
        "identity": ((3,), {}), "bartlett": ((5,), {}), "blackman": ((5,), {}),
        "hamming": ((5,), {}), "hanning": ((1,), {}), "kaiser": ((5, 8.6), {}),
        "logspace": ((0, 2, 4), {"base": 3}), "geomspace": ((1, 9, 4), {"endpoint": False}),
        "indices": (((2, 3),), {"sparse": True}), "diag_indices": ((2, 3), {}),
        "tril_indices": ((3, 1, 4), {}), "triu_indices": ((3,), {"k": -1}),
    }  # fmt: skip
    for name, (args, words) in numpy_s.items():
        got, wanted = getattr(gg, name)(*args, **words), getattr(np, name)(*args, **words)
        for one, other in zip(*(r if isinstance(r, tuple) else (r,) for r in (got, wanted))):
            assert one.device == device
            assert one.dtype == (np.int64 if other.dtype.kind == "i" else np.float32)
            np.testing.assert_allclose(one.cpu().numpy(), other, rtol=1e-6, atol=1e-7)
        assert all(
            t.device == "cpu" for t in outputs_of(getattr(gg, name)(*args, **words, device="cpu"))
        )
    assert gg.indices((2, 2), dtype="float64").dtype == np.float64
    assert gg.geomspace(1j, 4j, 3).dtype == np.complex64
    assert gg.kaiser(gg.tensor(3), 2.0, dtype="float64").dtype == np.float64
    made = gg.fromfunction(lambda i, j, k: i * j + k, (2, 3), k=5.0)
    assert made.tolist() == [[5, 5, 5], [5, 6, 7]]
    assert [part.tolist() for part in gg.mask_indices(2, gg.tril, -1)] == [[1], [0]]


def test_spacing_is_numpy_s(device):
    x = np.array([1.0, -1.0, 0.0, -0.0, INF, -INF, NAN, 5e-324, -1e300, 1e308])
    for dtype in (np.float64, np.float32, np.float16):
        with np.errstate(all="ignore"):
            # Of negative float16 NumPy's has the other sign, and at -1 half the size.
            values = (abs(x) if dtype == np.float16 else x).astype(dtype)
            wanted = np.spacing(values)
        got = np.spacing(gg.tensor(values, device=device))
        np.testing.assert_array_equal(got.cpu().numpy(), wanted)
        assert got.dtype == dtype
    assert gg.spacing(gg.tensor(np.array([3]), device=device)).item() == np.spacing(3.0)


def test_questions_that_have_no_array_for_an_answer():
    t = gg.ones((2, 3))
    path, text = np.einsum_path("ij,jk,kl->il", t, t.T, t, optimize="optimal")
    assert (path, text) == np.einsum_path("ij,jk,kl->il", *map(np.ones, ((2, 3), (3, 2), (2, 3))),
                                          optimize="optimal")  # fmt: skip
    assert np.isscalar(t) is gg.isscalar(t) is False
    assert gg.isscalar(2.0) is True
    assert np.iterable(t) is gg.iterable(t) is True
    assert np.iterable(t.sum()) is gg.iterable(t.sum()) is False
    assert gg.promote_types("int8", np.uint8) == np.int16
    with pytest.raises(DTypeError, match="promote_types: expected a dtype or an array, got 3"):
        gg.promote_types(3, "int8")
    with pytest.raises(DTypeError, match="promote_types: "):
        gg.promote_types("datetime64[s]", "float32")


def test_a_real_result_of_complex_numbers(device):
    z = gg.tensor(np.array([1 + 1e-20j, 2.0]), device=device)
    assert gg.real_if_close(z).tolist() == [1, 2]
    assert gg.real_if_close(z * 1j).dtype == np.complex128
    assert gg.real_if_close(z + 1e-3j, tol=0.1).dtype == np.float64
    assert np.sort_complex(z * -1).tolist() == [-2, -1 - 1e-20j]
    assert gg.sort_complex(gg.ones(2, dtype="int8")).dtype == np.complex64


def test_a_polynomial_s_leading_zeros_have_a_gradient(device):
    a = gg.tensor(np.array([0.0, 1.0]), device=device, requires_grad=True)
    product = gg.polymul(a, [1.0, 2.0])
    np.testing.assert_allclose(product.tolist(), [1, 2], rtol=1e-12)  # by cuFFT on CUDA
    product.sum().backward()
    assert a.grad.tolist() == [2, 3]


def test_roots_move_as_their_polynomial_says(device):
    """By the theorem of implicit functions: dr / dp[k] = -r**(n - k) / p'(r)."""
    values = np.array([1.0, -2.0, 3.0, -4.0])
    p = gg.tensor(values, device=device, requires_grad=True)
    r = gg.roots(p)
    assert r.dtype == np.complex128
    size = gg.sum(gg.abs(r) ** 2)
    (slope,) = [gg.gradients(size, p).cpu().numpy()]
    z = r.detach().cpu().numpy()
    moves = -(z[:, None] ** np.arange(3, -1, -1)) / np.polyval(np.polyder(values), z)[:, None]
    np.testing.assert_allclose(slope, 2 * (np.conj(z)[:, None] * moves).sum(axis=0).real)
    assert gg.roots([0.0, 2.0, 0.0, 0.0]).tolist() == [0, 0]


def test_polyfit_warns_where_the_rank_is_too_low(device):
    x = gg.tensor(np.ones(3), device=device)
    with pytest.warns(np.exceptions.RankWarning, match="polyfit: the points tell too little"):
        gg.polyfit(x, x, 1)
    found, _, rank, values, rcond = gg.polyfit(x, x, 1, full=True)
    assert (rank.item(), values.shape, found.shape) == (1, (2,), (2,))
    assert rcond == 3 * np.finfo(float).eps


def test_fill_diagonal_of_numpy_changes_the_tensor(device):
    x = gg.zeros((2, 2))
    assert np.fill_diagonal(x, 3.0) is None
    assert np.fill_diagonal(a=x, val=[1.0, 2.0], wrap=True) is None
    assert x.tolist() == [[1, 0], [0, 2]]
    with pytest.raises(GradientError, match=r"fill_diagonal: it would change.*gg\.fill_diagonal"):
        np.fill_diagonal(x.requires_grad_(), 7.0)


def test_put_along_axis_of_numpy_changes_the_tensor(device):
    x = gg.tensor(np.zeros((2, 2)), device=device)
    indices = gg.tensor(np.array([[1], [0]]), device=device)
    assert np.put_along_axis(x, indices, 7.0, 1) is None
    assert x.tolist() == [[0, 7], [7, 0]]
    with pytest.raises(GradientError, match=r"Use gg\.put_along_axis"):
        np.put_along_axis(x.requires_grad_(), indices, 7.0, 1)
    with pytest.raises(DTypeError, match=r"Use gg\.put_along_axis"):
        np.put_along_axis(np.zeros((2, 2)), indices.cpu().numpy(), gg.ones((2, 1)), 1)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_no_derivative_of_a_convolution_costs_more_than_the_convolution(
    name, mode, device, monkeypatch
):
    """Counted by the products of what the library is asked for: here 1,000 numbers by 3."""
    a = gg.ones(1000, dtype="float64", device=device, requires_grad=True)
    v = gg.ones(3, dtype="float64", device=device, requires_grad=True)
    xp = namespace_of(a.data)
    convolve, costs = xp.convolve, []

    def counting(a, v, mode):
        long, short = max(a.size, v.size), min(a.size, v.size)
        costs.append(short * (long if mode == "full" else long - short + 1))
        return convolve(a, v, mode)

    monkeypatch.setattr(xp, "convolve", counting)
    for one, other in ((a, v), (v, a)):
        y = getattr(gg, name)(one, other, mode)
        slopes = gg.gradients((y * y).sum(), (a, v), create_graph=True)
        gg.gradients(sum((slope**2).sum() for slope in slopes), (a, v))
    assert len(costs) >= 10
    assert max(costs) <= 3 * 1002


def test_a_list_beside_an_array_costs_no_precision(device):
    exactly = partial(pytest.approx, rel=1e-15)  # and not as float32
    x = gg.tensor(np.array([1.0, 0.0, 0.0]), device=device)
    assert gg.convolve(x, [0.3])[0].item() == exactly(0.3)
    assert gg.insert(x, 0, 0.3)[0].item() == exactly(0.3)
    assert gg.average(x[:1], weights=[0.3], returned=True)[1].item() == exactly(0.3)
    assert gg.interp(0.1, [0.0, 1.0], x[:2] * 3).item() == exactly(2.7)
    assert gg.append(gg.tensor(np.arange(2), device=device), [0.5]).tolist() == [0, 1, 0.5]
    for values in ([1.0, [2.0]], [x, x]):
        with pytest.raises(GpugradError, match="tensor: "):
            gg.convolve(x, values)


def test_a_dtype_that_is_asked_for_is_that_of_the_result(device):
    x = gg.tensor(np.full((2, 2), 200, np.uint8), device=device)
    for name in ("nansum", "nanprod", "nancumsum", "nancumprod", "trace"):
        assert FUNCTIONS[name](x, dtype=np.uint8).dtype == np.uint8, name
        assert FUNCTIONS[name](x).dtype == getattr(np, name)(x.cpu().numpy()).dtype, name
    for function in (gg.cumulative_sum, gg.cumulative_prod):
        assert function(x, axis=0, dtype=np.uint8, include_initial=True).dtype == np.uint8
    assert gg.cumulative_sum(x, axis=0, dtype=np.uint8).tolist() == [[200, 200], [144, 144]]


def test_operands_on_two_devices_are_refused():
    x = gg.tensor(np.arange(3.0), device="sim")
    for call in (
        lambda: gg.searchsorted(x, np.arange(2.0)),
        lambda: gg.trapezoid(x, np.arange(3.0)),
        lambda: gg.segment_sum(x, gg.tensor(np.arange(3), device="cpu")),
        lambda: gg.bincount(gg.tensor(np.arange(3), device="sim"), np.arange(3.0)),
    ):
        with pytest.raises(DeviceError, match="sim"):
            call()


def test_whole_array_comparisons_give_a_bool(device):
    x = gg.tensor(np.array([1.0, NAN, INF]), device=device)
    assert gg.array_equal(x, x) is False
    assert gg.array_equal(x, x, equal_nan=True) is True
    assert gg.array_equal(x, x[:2]) is False
    assert gg.array_equiv(x[:1], x[:1][None]) is True
    assert gg.array_equiv(x, x[:2]) is False
    assert gg.allclose(x, x, equal_nan=True) is True
    assert gg.isclose(x, -x).tolist() == [False, False, False]
    assert np.allclose(x[:1], [1.0]) is True


def test_numbers_and_sets_of_whole_numbers(device):
    a = gg.tensor(np.array([3, 1, 2, 1]), device=device)
    assert gg.unique(a).tolist() == [1, 2, 3]
    assert gg.isin(a, [1, 7]).tolist() == [False, True, False, True]
    assert gg.isin(a, a[:0]).tolist() == [False] * 4
    assert gg.union1d(a, [9]).tolist() == [1, 2, 3, 9]
    assert gg.quantile(a, 0.5, method="lower").item() == 1
    assert gg.digitize([0.5, 2.0], gg.tensor(np.array([1.0, 2.0]), device=device)).tolist() == [
        0,
        2,
    ]


ERRORS = [
    (lambda t: gg.hsplit(gg.tensor(1.0), 1), ShapeError, "hsplit: expected 1 axis or more"),
    (lambda t: gg.vsplit(t[0], 1), ShapeError, "vsplit: expected 2 axes or more, got"),
    (lambda t: gg.dsplit(t, 1), ShapeError, "dsplit: expected 3 axes"),
    (lambda t: gg.array_split(t, 0), ShapeError, "array_split: expected one piece or more, got 0"),
    (lambda t: gg.fliplr(t[0]), ShapeError, "fliplr: expected 2 axes"),
    (lambda t: gg.flipud(t[0, 0]), ShapeError, "flipud: expected 1 axis"),
    (lambda t: gg.rot90(t, axes=(0,)), ShapeError, "rot90: expected two axes"),
    (lambda t: gg.rot90(t, axes=(1, -1)), ShapeError, "rot90: expected two different axes"),
    (lambda t: gg.rollaxis(t, 0, 5), ShapeError, "rollaxis: start 5 is out of range"),
    (lambda t: gg.hstack([]), ShapeError, "hstack: expected at least one array"),
    (lambda t: gg.meshgrid(t), ShapeError, "meshgrid: expected vectors"),
    (lambda t: gg.meshgrid(t[0], indexing="yx"), ShapeError, "indexing 'xy' or 'ij', got 'yx'"),
    (lambda t: gg.delete(t, 9), ShapeError, "delete: index 9 is out of range for 4"),
    (lambda t: gg.delete(t, [True]), ShapeError, "delete: expected a mask of 4 elements"),
    (lambda t: gg.delete(t, 0.5), ShapeError, "delete: expected whole numbers"),
    (lambda t: gg.insert(t, 9, 1), ShapeError, "insert: index 9 is out of range"),
    (lambda t: gg.block((t, t)), DTypeError, "block: expected lists of arrays, got a tuple"),
    (lambda t: gg.block([t, [t]]), ShapeError, r"block: expected lists nested to one depth.*0, 1"),
    (lambda t: gg.block([[], []]), ShapeError, "block: expected lists with arrays in them"),
    (lambda t: gg.trim_zeros(t, "x"), ArgumentError, "trim_zeros: expected trim 'f', 'b' or 'fb'"),
    (lambda t: gg.matvec(t, gg.ones(3)), ShapeError, r"matvec: expected shapes \(\.\.\., m, n\)"),
    (lambda t: gg.vecmat(gg.ones(3), t), ShapeError, r"vecmat: expected shapes \(\.\.\., n\)"),
    (lambda t: gg.diag_indices_from(t[0]), ShapeError, "diag_indices_from: expected two axes"),
    (lambda t: gg.tril_indices_from(t[0]), ShapeError, "tril_indices_from: expected a matrix"),
    (lambda t: gg.ix_(t), ShapeError, "ix_: expected vectors, got shape"),
    (lambda t: gg.ravel_multi_index((t,), (2,)), DTypeError, "ravel_multi_index: expected whole"),
    (lambda t: gg.ravel_multi_index(([0],), (2, 3)), ShapeError, "expected 2 indices for dims"),
    (lambda t: gg.ravel_multi_index(([2],), (2,)), IndexingError, "index is not from 0 to 1"),
    (lambda t: gg.ravel_multi_index(([2],), (2,), "up"), ArgumentError, "'clip', got 'up'"),
    (lambda t: gg.ravel_multi_index(([0],), (2,), order="K"), ArgumentError, "order 'C' or 'F'"),
    (lambda t: gg.unravel_index([6], (2, 3)), IndexingError, "a number is not from 0 to 5"),
    (lambda t: gg.packbits(t), DTypeError, "packbits: expected whole numbers or booleans"),
    (lambda t: gg.packbits([1], bitorder="up"), ArgumentError, "packbits: expected bitorder 'big"),
    (lambda t: gg.unpackbits(gg.arange(3)), DTypeError, "unpackbits: expected dtype uint8, got"),
    (lambda t: gg.fill_diagonal(t[0], 1), ShapeError, "fill_diagonal: expected a matrix, or more"),
    (lambda t: gg.apply_over_axes(lambda x, i: x[None], t, 0), ShapeError, "that keeps 2"),
    (lambda t: gg.polyval(t, t), ShapeError, "polyval: expected a vector of coefficients"),
    (lambda t: gg.polyadd(t, [1.0]), ShapeError, "polyadd: expected a vector of coefficients"),
    (lambda t: gg.polyder(t[0], -1), ArgumentError, "polyder: expected a whole number m of 0"),
    (lambda t: gg.polyint(t[0], 3, [1.0, 2.0]), ShapeError, "polyint: expected 1 or 3 constants"),
    (lambda t: gg.poly(t[:1]), ShapeError, "poly: expected a vector of zeros or"),
    (lambda t: gg.polyfit(t, t, 1), ShapeError, "polyfit: expected a vector x and a vector or"),
    (lambda t: gg.polyfit(t[0], t[0], -1), ArgumentError, "polyfit: expected a degree of 0 or"),
    (lambda t: gg.polyfit(t[0], t[0], 1, w=[1.0]), ShapeError, "polyfit: expected 2 weights"),
    (lambda t: gg.polyfit(t[0], t[0], 1, cov=True), ShapeError, "more points than coefficients"),
    (lambda t: gg.geomspace(0, 1), ArgumentError, "geomspace: expected ends other than 0"),
    (lambda t: gg.linspace(t, 1.0, -1), ShapeError, "linspace: expected num of 0 or more, got -1"),
    (lambda t: gg.indices(3), ShapeError, "indices: expected the sizes of all axes, got 3"),
    (lambda t: gg.hamming("a"), ShapeError, "hamming: expected a whole number of points, got 'a'"),
    (lambda t: gg.hamming(2.5), ShapeError, r"a whole number of points, got 2\.5"),
    (lambda t: gg.histogram_bin_edges(t, "auto"), DTypeError, "histogram_bin_edges: expected"),
    (lambda t: gg.einsum_path(t, t), DTypeError, "einsum_path: expected subscripts such as"),
    (lambda t: list(t[0, 0]), DTypeError, "iteration over a tensor with no axes"),
    (lambda t: gg.histogramdd(t[None]), ShapeError, "histogramdd: expected points in rows"),
    (lambda t: gg.histogramdd(t, [3]), ShapeError, "expected bins and ranges for 2 axes, got 1"),
    (lambda t: gg.resize(t, -1), ShapeError, "resize: expected sizes of 0 or more"),
    (lambda t: gg.resize(t[:0], 3), ShapeError, "resize: no elements"),
    (lambda t: gg.pad(t, 1, "mirror"), ShapeError, "pad: expected one of the modes constant, edge"),
    (lambda t: gg.pad(t, 1, "edge", end_values=1), DTypeError, "mode 'edge' takes no further"),
    (lambda t: gg.pad(t, (1, 2, 3)), ShapeError, "pad: expected pad_width as a number, a pair"),
    (lambda t: gg.pad(t, -1), ShapeError, "pad: expected whole numbers of 0 or more"),
    (lambda t: gg.pad(t[:0], 1, "edge"), ShapeError, "is empty: nothing to repeat"),
    (lambda t: gg.pad(t, 1, "reflect", reflect_type="x"), ShapeError, "reflect_type 'even' or"),
    (lambda t: gg.pad(t, 1, "mean", stat_length=0), ShapeError, "stat_length of 1 or more"),
    (lambda t: gg.pad(t, 1, "linear_ramp", end_values=t), ShapeError, "numbers or a 0-d tensor"),
    (lambda t: gg.pad(t, 1, constant_values=(1, 2, 3)), ShapeError, "constant_values as a number"),
    (lambda t: gg.diag(t[None]), ShapeError, "diag: expected a vector or a matrix"),
    (lambda t: gg.make_diagonal(t[0, 0]), ShapeError, "make_diagonal: expected vectors, got"),
    (lambda t: gg.make_diagonal(t, axis1=1), ShapeError, "make_diagonal: expected two different"),
    (lambda t: gg.inner(t, gg.ones(3)), ShapeError, "inner: the last axes differ in size"),
    (lambda t: gg.vdot(t, gg.ones(3)), ShapeError, "vdot: expected as many elements, got 4 and 3"),
    (lambda t: gg.vecdot(t, gg.ones(3)), ShapeError, "vecdot: expected vectors of one size"),
    (lambda t: gg.cross(t, gg.ones(4)), ShapeError, "cross: expected vectors of 2 or 3 elements"),
    (lambda t: gg.cross(t, 1.0), ShapeError, "cross: expected vectors, got b"),
    (lambda t: gg.vander(t), ShapeError, "vander: expected a vector"),
    (lambda t: gg.diff(t, n=-1), ShapeError, "diff: expected n of 0 or more"),
    (lambda t: gg.diff(gg.tensor(1.0)), ShapeError, "diff: expected one axis"),
    (lambda t: gg.gradient(t, edge_order=3), ShapeError, "edge_order 1 or 2, got 3"),
    (lambda t: gg.gradient(t, 1, 2, 3), ShapeError, "gradient: expected one spacing, or one for"),
    (lambda t: gg.gradient(t, edge_order=2), ShapeError, "needs 3 samples or more"),
    (lambda t: gg.gradient(t, [1.0], axis=0), ShapeError, "expected 2 coordinates for axis 0"),
    (lambda t: gg.cumulative_sum(t), ShapeError, "cumulative_sum: expected an axis"),
    (lambda t: gg.interp(1.0, t, t), ShapeError, "interp: expected two vectors"),
    (lambda t: gg.interp(1.0, t[0], t[0], period=0), ShapeError, "a period other than 0"),
    (lambda t: gg.convolve(t, t), ShapeError, "convolve: expected two vectors"),
    (lambda t: gg.correlate(t[0], t[0], "all"), ShapeError, "one of the modes full, same, valid"),
    (lambda t: gg.unwrap(gg.arange(3)), DTypeError, "unwrap: expected floating-point"),
    (lambda t: gg.quantile(t, 1.5), ShapeError, "quantile: expected q between 0 and 1"),
    (lambda t: gg.percentile(t, 101), ShapeError, "percentile: expected q between 0 and 100"),
    (lambda t: gg.quantile(t, t), GradientError, r"no gradient by q. Pass q.detach\(\)"),
    (lambda t: gg.quantile(t, 0.5, method="best"), ShapeError, "one of the methods linear"),
    (lambda t: gg.median(t[:0]), ShapeError, "median: expected one element or more"),
    (lambda t: gg.average(t, weights=[1.0]), ShapeError, "need an axis"),
    (lambda t: gg.average(t, 0, [1.0]), ShapeError, "average: expected weights of shape"),
    (lambda t: gg.cov(t[None]), ShapeError, "cov: expected a vector or a matrix"),
    (lambda t: gg.cov(t, aweights=[1.0]), ShapeError, "cov: expected 2 weights"),
    (lambda t: gg.nan_to_num(t, copy=False), DTypeError, "copy=False would change x"),
    (lambda t: gg.sort(t, kind="bubble"), DTypeError, "sort: expected kind None or one of"),
    (lambda t: gg.sort(gg.tensor(1.0)), ShapeError, "sort: expected one axis"),
    (lambda t: gg.partition(t, 5), ShapeError, "kth 5 is out of range for 2"),
    (lambda t: gg.topk(t, 3), ShapeError, "topk: expected k between 0 and 2, got 3"),
    (lambda t: gg.searchsorted(t, 1.0), ShapeError, "searchsorted: expected a sorted vector"),
    (lambda t: gg.searchsorted(t[0], 1.0, side="up"), ShapeError, "side 'left' or 'right'"),
    (lambda t: gg.digitize(t, t), ShapeError, "digitize: expected a vector of bins"),
    (lambda t: gg.lexsort([]), ShapeError, "lexsort: expected at least one key"),
    (lambda t: gg.histogram(t, "auto"), DTypeError, "histogram: expected a number of bins"),
    (lambda t: gg.bincount(t), DTypeError, "bincount: expected a vector of whole numbers"),
    (lambda t: gg.bincount(gg.arange(2) - 1), ShapeError, "bincount: expected no negative"),
    (lambda t: gg.bincount(gg.arange(2), minlength=-1), ShapeError, "minlength of 0 or more"),
    (lambda t: gg.bincount(gg.arange(2), [1.0]), ShapeError, "bincount: expected 2 weights"),
    (lambda t: gg.segment_sum(t, t), DTypeError, "segment_sum: expected whole numbers"),
    (lambda t: gg.segment_sum(t, gg.arange(3)), ShapeError, "a number for each row"),
    (lambda t: gg.select([], []), ShapeError, "select: expected as many choices as conditions"),
    (lambda t: gg.select([t], [t]), DTypeError, "select: expected conditions of dtype bool"),
    (lambda t: gg.choose(t, [t]), DTypeError, "choose: expected whole numbers"),
    (lambda t: gg.choose(gg.arange(2), []), ShapeError, "choose: expected at least one choice"),
    (lambda t: gg.choose(gg.arange(2), [t]), ShapeError, "choose: expected numbers from 0 to 0"),
    (lambda t: gg.choose(gg.arange(2), [t], "up"), ShapeError, "mode 'raise', 'wrap' or 'clip'"),
    (lambda t: gg.piecewise(t, [t > 0], [1, 2, 3]), ShapeError, "expected 1 or 2 functions"),
    (lambda t: gg.compress([True] * 5, t, 0), ShapeError, "compress: expected a vector of up to 2"),
    (lambda t: gg.put_along_axis(t, [0], 1, 0), ShapeError, "indices with 2 axes"),
    (lambda t: gg.apply_along_axis(gg.sum, 1, t[:0]), ShapeError, "apply_along_axis: no vectors"),
    (lambda t: gg.vectorize(abs)(t[:0]), ShapeError, "vectorize: no elements in shape"),
    (lambda t: gg.vectorize(abs)(), ShapeError, "vectorize: expected at least one array"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), ERRORS, ids=[text for _, _, text in ERRORS])
def test_errors_say_what_was_expected(call, error, text):
    t = gg.tensor(np.array([[1.0, 2.0], [3.0, 4.0]]), requires_grad=True)
    with pytest.raises(error, match=text):
        call(t)


def test_nothing_waits_for_the_device_where_it_need_not():
    x = gg.tensor(np.array([3.0, NAN, 2.0, 1.0]), device="sim", requires_grad=True)
    with gg.sync_guard():
        for name in ("sort", "median", "nanmedian", "nanmean", "nanmax", "nanvar", "nanargmax",
                     "cumulative_prod", "ptp", "nan_to_num", "isclose", "unwrap"):  # fmt: skip
            result = gg.isclose(x, x) if name == "isclose" else FUNCTIONS[name](x)
            if result.requires_grad:
                gg.gradients(result.sum(), x)
        gg.quantile(x, [0.1, 0.7])
        gg.pad(x, 2, "reflect")
        gg.topk(x, 2)
        gg.interp(x, gg.sort(x), x)
        gg.convolve(x, x)
        gg.piecewise(x, [x > 0], [gg.sqrt, 0.0])
        gg.gradient(x, 0.5)
        gg.cov(x)


def test_every_function_has_a_sentence():
    for name, function in FUNCTIONS.items():
        text = inspect.getdoc(function)
        assert text, name
        assert text.split("\n\n")[0].rstrip().endswith((".", ":")), name
