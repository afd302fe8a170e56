"""Special functions as CUDA has them: CuPy's device code in kernels, and what is replaced of it.

Values are SciPy's.
"""

from types import SimpleNamespace

import numpy as np
import optable
import pytest
import scipy.special
from extremes import EXTREMES, UFUNCS
from gpu import needs_gpu, run, send

from gpugrad.backend.cupy_special import REPLACEMENTS
from gpugrad.backend.host import NUMPY
from gpugrad.backend.namespace import Namespace
from gpugrad.backend.special import Special
from gpugrad.codegen import routines
from gpugrad.codegen.expression import NotFusibleError
from gpugrad.codegen.operands import signature
from gpugrad.codegen.routines import device_function
from gpugrad.engine.op import TABLE
from gpugrad.kernels.elementwise import Fused, write
from gpugrad.kernels.wide import Wide

pytest.importorskip("cupy")

INF, NAN = np.inf, np.nan
NAMES = [name for name in UFUNCS if name in TABLE and TABLE[name].forward is not None]
OSCILLATING = ("j0", "j1", "y0", "y1")
TOLERANCE = {"float32": 2e-5, "float64": 1e-10}
by_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])

rng = np.random.default_rng(8)
WIDE = 10.0 ** rng.uniform(-6, 6, 300) * rng.choice([-1, 1], 300)
LARGE = 10.0 ** rng.uniform(6, 10, (2, 300))
CLOSE = 10.0 ** rng.uniform(-8, -1, 300)
# Operands at which CuPy's own functions are wrong.
HARD = {
    "i0e": [[*WIDE, 89.0, 714.0, 1e37, -1e37, INF, -INF, NAN, 49.9, 50.0, 50.1]],
    "i1e": [[*WIDE, 89.0, 714.0, 1e37, -1e37, INF, -INF, NAN, 49.9, 50.0, 50.1]],
    "k0e": [[*abs(WIDE), 89.0, 714.0, 1e37, INF, NAN, 49.9, 50.0, 50.1]],
    "k1e": [[*abs(WIDE), 89.0, 714.0, 1e37, INF, NAN, 49.9, 50.0, 50.1]],
    "logit": [[*(0.5 + CLOSE), *(0.5 - CLOSE), 0.5, 0.3, 0.7, 0.0, 1.0, -1.0, 2.0, NAN]],
    "rel_entr": [
        [*abs(WIDE), *abs(WIDE), 1e-300, 1e300, 0.0, 2.0, -1.0, NAN, 0.0],
        [*(abs(WIDE) * (1 + CLOSE)), *abs(WIDE[::-1]), 1e300, 1e-300, 0.0, 0.0, 2.0, 1.0, NAN],
    ],
    "beta": [[-1.5, 0.25, -12.5, -2.0, NAN, -0.5], [0.5, -7.25, -37.5, 1.0, -1.0, -0.25]],
    "betaln": [[-1.5, 0.25, -12.5, -2.0, NAN, -0.5], [0.5, -7.25, -37.5, 1.0, -1.0, -0.25]],
    "betainc": [
        *LARGE,
        LARGE[0] / sum(LARGE) + rng.normal(size=300) * LARGE.min(0) ** 0.5 / sum(LARGE),
    ],
    "gammainc": [[NAN, NAN, INF, 0.0, 2.0], [0.0, INF, NAN, NAN, 3.0]],
    "gammaincc": [[NAN, NAN, INF, 0.0, 2.0], [0.0, INF, NAN, NAN, 3.0]],
}


def extremes(name, dtype):
    values = [x for x in EXTREMES if not (np.isinf(x) and optable.differs_at(TABLE[name], np.inf))]
    if name in OSCILLATING:  # SciPy's phase loses digits: 6 of j0(1e10) are wrong, none of CUDA's
        values = [x for x in values if not abs(x) > 1e6]
    with np.errstate(over="ignore"):
        columns = np.meshgrid(*[np.array(values).astype(dtype)] * len(TABLE[name].arrays))
    return [column.ravel() for column in columns]


def hard(name, dtype):
    with np.errstate(over="ignore"):
        return [np.array(column).astype(dtype) for column in HARD[name]]


def kernel_of(name, operands):
    return write(name, TABLE[name].forward, signature(tuple(operands)))


def assert_scipy_s(name, got, operands):
    """To the digits of their dtype; SciPy's own float32 has fewer in places."""
    with np.errstate(all="ignore"):
        wide = getattr(scipy.special, name)(*(x.astype(np.float64) for x in operands))
        wanted = wide.astype(operands[0].dtype)
    smallest = np.finfo(wanted.dtype).tiny
    if name in OSCILLATING and wanted.dtype == np.float32:
        smallest = 1e-6  # CUDA bounds the absolute error: near zeros relative digits are lost
    assert got.dtype == wanted.dtype
    np.testing.assert_allclose(got, wanted, TOLERANCE[got.dtype.name], smallest)


@needs_gpu
@by_dtype
@pytest.mark.parametrize("name", NAMES)
def test_kernels_have_scipy_s_values_at_extremes(name, dtype):
    operands = extremes(name, dtype)
    assert_scipy_s(name, run(kernel_of(name, operands), *operands), operands)


@needs_gpu
@by_dtype
@pytest.mark.parametrize("name", sorted(REPLACEMENTS.keys() & TABLE.keys()))
def test_what_cupy_has_wrong_is_replaced_in_kernels(name, dtype):
    operands = hard(name, dtype)
    assert_scipy_s(name, run(kernel_of(name, operands), *operands), operands)


@needs_gpu
@by_dtype
@pytest.mark.parametrize("name", sorted(REPLACEMENTS.keys() & TABLE.keys()))
def test_it_is_replaced_operation_by_operation_as_well(name, dtype):
    cupy = pytest.importorskip("cupy")
    space = Special("cupyx.scipy.special", replacing=Namespace(cupy))
    function, operands = getattr(space, name), hard(name, dtype)
    assert_scipy_s(name, function(*send(*operands)).get(), operands)
    halves = [np.array([0.75, 0.5, 0.25][: len(operands)], np.float16) for _ in operands]
    half = function(*send(*halves)).get()
    assert half.dtype == np.float16
    wanted = getattr(scipy.special, name)(*(x.astype(np.float32) for x in halves))
    np.testing.assert_array_equal(half, wanted.astype(np.float16))


# ---------------------------------------------------------------- what CuPy's functions are made of


@needs_gpu
def test_helpers_of_one_name_and_macros_do_not_meet():
    """beta and gammainc have helpers of the same names, and a macro with two values."""

    def formula(xp, a, b):
        special = xp.special
        return special.beta(a, b) + special.gammainc(a, b) + special.zeta(a, b) - special.erfinv(b)

    a, b = np.array([1.5, 2.5]), np.array([0.25, 0.75])
    kernel = write("sum_of_them", formula, signature((a, b)))
    assert len(kernel.functions) == 4
    s = scipy.special
    wanted = s.beta(a, b) + s.gammainc(a, b) + s.zeta(a, b) - s.erfinv(b)
    np.testing.assert_allclose(run(kernel, a, b), wanted, rtol=1e-12)


def test_a_kernel_has_the_functions_that_it_calls_and_no_others():
    def formula(xp, x):
        xp.special.digamma(x)
        return xp.special.gammaln(x)

    kernel = write("f", formula, signature((np.array([1.5]),)))
    assert [text.count("gpugrad_gammaln_double") for text in kernel.functions] == [1]
    assert not Wide.takes(kernel)  # whose source has none


def loop(kinds, statement):
    *takes, gives = map(np.dtype, kinds)
    return SimpleNamespace(in_types=takes, out_types=[gives], routine=statement)


def ufunc(*loops, **changes):
    return SimpleNamespace(
        **{"_preamble": "", "_loop_prep": "", "_ops": SimpleNamespace(ops=loops), **changes}
    )


OTHERS = {
    "no such function": None,
    "a function that is no ufunc": lambda x: x,
    "no loop of the dtype": ufunc(loop("ff", "out0 = in0")),
    "a loop that widens": ufunc(loop("fd", "out0 = in0")),
    "a loop without text": ufunc(loop("dd", None)),
    "text ahead of the loop": ufunc(loop("dd", "out0 = in0"), _loop_prep="int n = 0;"),
    "other attributes": SimpleNamespace(_ops=ufunc()._ops),
    "types that are no dtypes": ufunc(
        SimpleNamespace(in_types=["real"], out_types=["real"], routine="out0 = in0")
    ),
}


@pytest.mark.parametrize("found", OTHERS.values(), ids=OTHERS)
def test_another_cupy_leaves_formulas_to_run_operation_by_operation(found, monkeypatch):
    module = SimpleNamespace() if found is None else SimpleNamespace(gammaln=found)
    monkeypatch.setattr(routines, "import_module", lambda name: module)
    monkeypatch.setattr(routines, "device_function", device_function.__wrapped__)
    monkeypatch.setattr("gpugrad.codegen.expression.device_function", device_function.__wrapped__)
    x = np.array([1.5, 2.5])
    with pytest.raises(NotFusibleError, match=r"no kernel computes special\.gammaln"):
        kernel_of("gammaln", [x])
    runs = Fused("gammaln", TABLE["gammaln"].forward, lambda kernel: pytest.fail("compiled"))
    np.testing.assert_array_equal(runs(NUMPY, x), scipy.special.gammaln(x))


def test_without_cupy_there_is_no_device_function(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(routines, "import_module", missing)
    assert device_function.__wrapped__("gammaln", np.dtype(float), 1) is None
