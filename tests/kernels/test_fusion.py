"""Elementwise formulas as kernels: what is written, and what CuPy makes of it.

A kernel is written for every formula and rule of the op table in several dtypes; on a GPU, or the
stand-in for one, each is compared with the formula over NumPy in one of them. The cases are
generated: a new table entry is tested without a line here.
"""

import functools
import itertools
from types import SimpleNamespace

import numpy as np
import optable
import pytest
from gpu import needs_gpu, run, send

import gpugrad as gg
from gpugrad.backend import sim
from gpugrad.backend.cuda import register_arrays
from gpugrad.backend.cupy_namespace import CupyNamespace
from gpugrad.backend.host import NUMPY
from gpugrad.backend.namespace import NAMESPACES, namespace_of
from gpugrad.backend.special import Special
from gpugrad.codegen.operands import signature
from gpugrad.codegen.operations import TEMPLATES, NotFusibleError
from gpugrad.engine.op import TABLE
from gpugrad.kernels import enabled
from gpugrad.kernels.elementwise import Fused, FusingNamespace, cupy_kernel, write

F16, F32, F64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)

ELEMENTWISE = [op for op in TABLE.values() if op.kind == "elementwise"]

FLOATS = [op for op in ELEMENTWISE if not optable.is_integer(op) and not op.checks.bits]

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-3, -37.5, 150.0, np.inf, -np.inf, np.nan]

# Where SciPy, which NumPy's rules call, is wrong: gammaln and erfcinv of the least number are
# infinite there.
WITHOUT_TINY = {"beta", "betaln", "erfcinv", "gammainc", "gammaincc", "gammaln"}

# 2**-149.5 times infinity: CuPy's kernels take the first for zero.
WITHOUT_150 = {"logaddexp2"}


class Case:
    """A formula of an op or one of its rules, and operands for it."""

    def __init__(self, op, place, dtypes, number=None):
        self.op = op
        self.rule = op.forward if place is None else op.vjps[place]
        self.name = op.name if place is None else f"{op.name}_vjp{place}"
        self.label = f"{self.name}-{'-'.join(d.char for d in dtypes)}-{number}"
        self.words = {n: p.default for n, p in op.parameters.items()}
        if op.samples:
            self.words |= op.samples[-1].parameters
        if op.name.startswith("bessel_"):
            self.words["order"] = 2.0  # the others run operation by operation
        self.place = place
        self.dtypes = dtypes
        self.number = number  # in the place of the last array

    def operands(self, special=True):
        """Arrays of one shape: from the op's domain, and special numbers in all combinations."""
        count = len(self.op.arrays)
        rng = np.random.default_rng(11)
        columns = [rng.uniform(*self.op.domain, 64) for _ in range(count)]
        slopes = rng.uniform(-2, 2, 64)
        if special:
            values = SPECIAL if count < 3 else SPECIAL[:6]
            if self.op.name in WITHOUT_150:
                values = [value for value in values if value != 150]
            if optable.differs_at(self.op, np.inf):
                values = [value for value in values if not np.isinf(value)]
            if count < 3 and self.op.name not in WITHOUT_TINY:
                # CuPy's kernels take float32's subnormal numbers for zeros.
                least = float(np.finfo(self.dtypes[0]).smallest_subnormal)
                values = [*values, 1e-30 if F32 in self.dtypes else least]
            grid = np.array(list(itertools.product(values, repeat=count))).T
            columns = [np.concatenate(pair) for pair in zip(columns, grid, strict=True)]
            more = np.resize([1.0, 0.0, -2.5, 1.0, 1.0, np.inf, 0.25], grid.shape[1])
            slopes = np.concatenate([slopes, more])
        with np.errstate(all="ignore"):
            arrays = [
                column > 0 if optable.drawn(self.op, index) == "mask" else column.astype(dtype)
                for index, (column, dtype) in enumerate(zip(columns, self.dtypes, strict=True))
            ]
            if self.number is not None:
                arrays[-1] = self.number
            if self.place is None:
                return arrays
            y = self.run(getattr(NUMPY, self.op.name), arrays)
            return [slopes.astype(y.dtype), y, *arrays]

    def run(self, formula, operands):
        """A formula over NumPy; in float32 where the dtype is float16, and rounded at the end."""
        half = any(getattr(o, "dtype", None) == F16 for o in operands)
        wide = [o.astype(F32) if half and getattr(o, "dtype", None) == F16 else o for o in operands]
        y = formula(*wide, **self.words)
        return y.astype(F16) if half and y.dtype == F32 else y

    def expected(self, operands):
        if self.place is None:
            return self.run(getattr(NUMPY, self.op.name), operands)
        return self.run(functools.partial(self.rule, NUMPY), operands)

    def kernel(self, operands):
        return write(self.name, self.rule, signature(tuple(operands), self.words))


def _cases():
    for op in FLOATS:
        count = len(op.arrays)
        places = [index for index, rule in enumerate(op.vjps or ()) if rule is not None]
        for place in ([None] if op.forward is not None else []) + places:
            for dtype in (F16, F32, F64):
                yield Case(op, place, [dtype] * count)
            if count == 2:
                yield Case(op, place, [F32, F64])
                yield Case(op, place, [F64, F32])
                numbers = (2, 0.37, 10**20) if op.name == "multiply" else (2, 0.37)
                yield from (Case(op, place, [F32, F32], number) for number in numbers)


def _has_kernel(case):
    try:
        case.kernel(case.operands(special=False))
    except NotFusibleError as error:
        WITHOUT[case.label] = str(error)
        return False
    return True


WITHOUT = {}

# They run operation by operation: the text of one takes a compiler minutes.
INTEGRALS = (
    "gammainc_slope", "gammainc_slope_vjp0", "gammainc_vjp0", "gammaincc_vjp0",
    "betainc_slope", "betainc_slope_vjp0", "betainc_slope_vjp1", "betainc_vjp0", "betainc_vjp1",
)  # fmt: skip

CASES = [case for case in _cases() if _has_kernel(case)]

# Each kind of case of a formula in one dtype of three, another from one formula to the next.
CHOSEN = [case for number, case in enumerate(CASES) if number % 3 == 0 or case.number is not None]

by_label = pytest.mark.parametrize("case", CHOSEN, ids=lambda case: case.label)

# ---------------------------------------------------------------- the table's formulas


def test_every_elementwise_formula_and_rule_has_a_kernel():
    """In every dtype: the special functions' with what CuPy brings."""
    pytest.importorskip("cupy")
    labels = {case.label for case in CASES}
    assert {"sigmoid-e-None", "gelu_vjp0-f-None", "where_vjp2-d-d-d-None"} <= labels
    assert {"digamma_vjp0-e-None", "betainc-f-f-f-None", "i1e_vjp0-d-None"} <= labels
    integrals = {label for label in WITHOUT if label.startswith(INTEGRALS)}
    assert {label.partition("-")[0] for label in integrals} == set(INTEGRALS)
    assert WITHOUT.keys() == integrals
    whole = np.array([3, 5])
    for op in ELEMENTWISE:  # those that are not in CASES
        if op not in FLOATS and not op.checks.bits and op.forward is not None:
            write(op.name, op.forward, signature((whole,) * len(op.arrays)))


TOLERANCE = {"float16": 2e-3, "float32": 2e-5, "float64": 2e-13}


@needs_gpu
@by_label
def test_kernels_compute_what_the_formula_does(case):
    operands = case.operands()
    kernel = case.kernel(operands)
    with np.errstate(all="ignore"):
        wanted = case.expected(operands)
        if isinstance(kernel, int):
            got = operands[kernel]
        else:
            everything = [*operands, *case.words.values()]
            got = run(kernel, *[everything[index] for index, _ in kernel.inputs])
    got, wanted = np.broadcast_arrays(got, wanted)
    if case.place is not None and (got.dtype, wanted.dtype) == (F32, F16):
        with np.errstate(over="ignore"):
            got = got.astype(F16)  # a gradient may stay as wide as it is computed: the walk rounds
    assert got.dtype == wanted.dtype
    tolerance = max(TOLERANCE[dtype.name] for dtype in (*case.dtypes, wanted.dtype))
    finite = np.abs(wanted[:64][np.isfinite(wanted[:64])])
    scale = min(1.0, float(finite.max())) if finite.size else 1.0
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * scale)


# ---------------------------------------------------------------- operations, one by one


OPERATIONS = sorted(
    {*TEMPLATES, "remainder", "floor_divide"}
    - {op.name for op in TABLE.values() if optable.is_integer(op)}
)

SIGNED = {"negative", "copysign", "multiply", "divide", "remainder", "floor_divide", "rint"}


def numbers_for(name, dtype):
    # CUDA's hypot overflows a little below the largest number.
    most = np.finfo(dtype).max / (2 if name == "hypot" else 1)
    values = np.array([*SPECIAL, 7.25, -3.0, most], dtype)
    if getattr(np, name).nin == 1:
        return [values]
    return [array.ravel() for array in np.meshgrid(values, values)]


def alone(name, dtype):
    """A kernel of one operation."""
    operands = tuple(numbers_for(name, dtype))
    return write(name, lambda xp, *values: getattr(xp, name)(*values), signature(operands))


@needs_gpu
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_numpy_s_on_special_values(name, dtype):
    operands = numbers_for(name, dtype)
    with np.errstate(all="ignore"):
        wanted = getattr(np, name)(*operands)
    got = run(alone(name, dtype), *operands)
    assert got.dtype == wanted.dtype
    limits = np.finfo(dtype)
    flushed = limits.tiny if dtype == F32 else 0  # subnormal results, by CuPy's kernels
    np.testing.assert_allclose(got, wanted, rtol=4 * limits.eps, atol=flushed)
    if name in SIGNED:
        known = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(got)[known], np.signbit(wanted)[known])


# ---------------------------------------------------------------- in the engine


@pytest.fixture
def fused(monkeypatch):
    """CuPy's namespace anew; gives the kernels that it makes and the names of those launched."""
    made, launched = [], []

    def make(kernel):
        made.append(kernel)
        launch = cupy_kernel(kernel)

        def counted(*operands):
            launched.append(kernel.name)
            return launch(*operands)

        return counted

    import cupy

    before = namespace_of(cupy.ones(1))
    space = FusingNamespace(cupy, checks=before.checks, alone=before.alone, make=make)
    space.special = Special("cupyx.scipy.special", replacing=space)
    monkeypatch.setitem(NAMESPACES, cupy.ndarray, space)
    plain = CupyNamespace(cupy, checks=before.checks)
    return SimpleNamespace(made=made, launched=launched, plain=plain)


def gradients(function, *arrays):
    tensors = [gg.tensor(array, device="cuda", requires_grad=True) for array in arrays]
    y = function(*tensors)
    g = np.linspace(-1, 2, y.size).reshape(y.shape).astype(y.dtype)
    y.backward(gg.tensor(g, device="cuda"))
    return [y.detach().cpu().numpy(), *(t.grad.cpu().numpy() for t in tensors)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@needs_gpu
def test_a_chain_of_ops_has_the_same_gradients_as_without_kernels(dtype, fused, monkeypatch, rng):
    def chain(a, b):
        c = gg.nn.functional.gelu(a * b + 0.7) / (2.5 + gg.exp(-a))
        return gg.where(c > 0.1, gg.tanh(c) * 3.0, c**2 - a.sigmoid())

    arrays = rng.normal(size=(3, 4)).astype(dtype), rng.normal(size=4).astype(dtype)
    with_kernels = gradients(chain, *arrays)
    assert {"multiply_vjp0", "gelu", "gelu_vjp0", "power_vjp0", "sigmoid"} <= set(fused.launched)
    monkeypatch.setitem(NAMESPACES, type(send(arrays[0])[0]), fused.plain)
    for one, other in zip(with_kernels, gradients(chain, *arrays), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5 if dtype == np.float32 else 1e-12)


@needs_gpu
def test_a_rule_is_one_kernel_and_what_passes_through_is_none(fused):
    x = gg.tensor([0.5, -1.0], device="cuda", requires_grad=True)
    (x + 1.0).sigmoid().backward(gg.ones(2, device="cuda"))
    assert fused.launched == ["sigmoid", "sigmoid_vjp0"]


@pytest.mark.parametrize("name", ["betainc", "digamma", "erfinv", "gamma", "i1e", "rel_entr"])
@needs_gpu
def test_a_special_function_and_its_derivatives_are_one_kernel_each(name, fused):
    function, op = getattr(gg.special, name), TABLE[name]
    arrays = [np.array([0.25, 0.75]) for _ in op.arrays]
    needed = [
        rule is not None and f"{name}_vjp{place}" not in INTEGRALS
        for place, rule in enumerate(op.vjps)
    ]
    found = {}
    for device in ("cpu", "cuda"):
        tensors = [
            gg.tensor(a, device=device, requires_grad=n)
            for a, n in zip(arrays, needed, strict=True)
        ]
        y = function(*tensors)
        y.backward(gg.ones(2, dtype="float64", device=device))
        found[device] = [y.tolist(), *(t.grad.tolist() for t in tensors if t.requires_grad)]
    np.testing.assert_allclose(found["cuda"], found["cpu"], rtol=1e-12)
    rules = [f"{name}_vjp{place}" for place, there in enumerate(needed) if there]
    assert sorted(fused.launched) == sorted([name, *rules])


@needs_gpu
def test_numbers_are_arguments_so_that_another_number_compiles_nothing(fused):
    x = gg.tensor([0.5, -1.0], device="cuda", requires_grad=True)
    for number in (0.3, 0.01, 7.5, 1e-9):
        x.grad = None
        (x * number).backward(gg.ones(2, device="cuda"))
        np.testing.assert_allclose(x.grad.cpu().numpy(), number, rtol=1e-7)
    assert [kernel.name for kernel in fused.made] == ["multiply_vjp0"]
    # A small whole exponent is looked at by the formula: a kernel of its own, without pow.
    (x**2).backward(gg.ones(2, device="cuda"))
    assert "pow" not in fused.made[-1].body


@needs_gpu
def test_the_zeros_of_both_signs_have_kernels_of_their_own(fused):
    x = gg.tensor([0.5, -1.0], device="cuda", requires_grad=True)
    for zero, slopes in ((0.0, [1.0, -1.0]), (-0.0, [-1.0, 1.0]), (0.0, [1.0, -1.0])):
        x.grad = None
        gg.copysign(x, zero).backward(gg.ones(2, device="cuda"))
        assert x.grad.tolist() == slopes


@needs_gpu
def test_half_precision_is_computed_in_single(fused):
    # The square of 300 is infinite in float16; the kernel rounds at the end alone.
    x = gg.tensor(np.array([300.0], np.float16), device="cuda", requires_grad=True)
    (gg.arctan(x) * np.float16(1000)).backward(gg.tensor(np.ones(1, np.float16), device="cuda"))
    np.testing.assert_allclose(x.grad.cpu().numpy(), 1000 / 90001, rtol=1e-3)


@needs_gpu
def test_second_derivatives_run_over_tensors_as_ever(fused):
    x = gg.tensor([0.5, -1.0], device="cuda", requires_grad=True, dtype="float64")
    (slope,) = gg.gradients(x.sigmoid().sum(), [x], create_graph=True)
    (second,) = gg.gradients(slope.sum(), [x])
    s = 1 / (1 + np.exp(-np.array([0.5, -1.0])))
    np.testing.assert_allclose(second.cpu().numpy(), s * (1 - s) * (1 - 2 * s), rtol=1e-12)


def test_what_no_kernel_computes_runs_as_the_formula_is_written():
    def never(kernel):
        raise AssertionError(f"{kernel.name} was compiled")

    doubled = Fused("doubled", lambda xp, x: xp.where(x == x, 2 * x, x), never)
    z = np.array([1 + 2j, -1j])
    np.testing.assert_array_equal(doubled(NUMPY, z), 2 * z)
    chosen = Fused("chosen", lambda xp, x: x if bool((x > 0).all()) else -x, never)
    np.testing.assert_array_equal(chosen(NUMPY, np.array([-1.0])), [1.0])
    sorted_ = Fused("sorted", lambda xp, x: xp.sort(x), never)
    np.testing.assert_array_equal(sorted_(NUMPY, np.array([2.0, 1.0])), [1.0, 2.0])


def test_what_looks_at_the_bits_of_numbers_has_no_kernel():
    one = np.ones(1, F16)
    with pytest.raises(NotFusibleError, match="no view"):
        write("next", lambda xp, x: xp.nextafter(x, xp.full_like(x, 2)), signature((one,)))
    spacing = Fused("spacing", TABLE["spacing"].forward, cupy_kernel)
    np.testing.assert_array_equal(spacing(NUMPY, one), np.spacing(one))


@needs_gpu
def test_an_op_that_is_not_in_the_table_keeps_its_rules(fused, make_op):
    def rule(xp, g, y, x):
        assert not isinstance(g, float)
        return xp.sort(g * x.shape[0])

    double = make_op(lambda xp, x, /: 2 * x, [rule], kind="elementwise", saves="x")
    x = gg.tensor([0.5, -1.0], device="cuda", requires_grad=True)
    double(x).backward(gg.tensor([3.0, 1.0], device="cuda"))
    assert x.grad.tolist() == [2.0, 6.0]
    assert fused.made == []


@needs_gpu
def test_strides_broadcasting_empty_and_0d_arrays(fused):
    x = gg.tensor(np.arange(6.0).reshape(2, 3), device="cuda", requires_grad=True)
    scale = gg.tensor(2.5, device="cuda", requires_grad=True)
    (x.T * scale).sigmoid().sum().backward()
    s = 1 / (1 + np.exp(-2.5 * np.arange(6.0).reshape(2, 3)))
    np.testing.assert_allclose(x.grad.cpu().numpy(), 2.5 * s * (1 - s), rtol=1e-5, atol=1e-7)
    assert scale.grad.shape == ()
    empty = gg.zeros((0, 3), device="cuda", requires_grad=True)
    empty.sigmoid().sum().backward()
    assert empty.grad.shape == (0, 3)


# ---------------------------------------------------------------- and CuPy


def test_cupy_takes_the_kernels():
    cupy = pytest.importorskip("cupy")
    kernel = write("f", lambda xp, x, y: xp.where(x > y, x, 2.5 * y), signature((F16.type(1), 0.3)))
    made = cupy_kernel(kernel)
    assert isinstance(made, cupy.ElementwiseKernel)
    assert [(p.name, np.dtype(p.dtype)) for p in made.in_params] == [("x0", F16), ("x1", F64)]
    assert [(p.name, np.dtype(p.dtype)) for p in made.out_params] == [("y", F16)]


@pytest.mark.parametrize(("said", "kind"), [("1", FusingNamespace), ("0", CupyNamespace)])
def test_the_environment_turns_kernels_off(said, kind, monkeypatch):
    cupy = pytest.importorskip("cupy")
    monkeypatch.setenv("GPUGRAD_FUSION", said)
    monkeypatch.setitem(NAMESPACES, cupy.ndarray, None)
    enabled.cache_clear()
    try:
        register_arrays()
    finally:
        enabled.cache_clear()
    assert type(NAMESPACES[cupy.ndarray]) is kind


def test_where_there_is_one_gpu_its_arrays_are_looked_at_once(monkeypatch, make_op):
    """No op asks for their device; that they meet NumPy's arrays is refused as ever."""
    plain = NAMESPACES[sim.ndarray]

    class Fusing(type(plain), FusingNamespace):
        """Arrays of sim, which say where they are, with kernels."""

    alone = Fusing(plain.module, checks=plain.checks, alone=True)
    monkeypatch.setitem(NAMESPACES, sim.ndarray, alone)
    # Ops of this test's own, since functions remember the namespaces that they met.
    double = make_op(lambda xp, x, /: 2 * x, [lambda xp, g, y, x: 2 * g])
    power = make_op(lambda xp, x, /, n=1: x**n, [lambda xp, g, y, x, n: n * g * x], saves="x")
    mean = make_op(lambda xp, a, b, /: (a + b) / 2, [lambda xp, g, y, a, b: g / 2] * 2)
    x = gg.tensor([0.5, -1.0], device="sim", requires_grad=True)
    monkeypatch.setattr("gpugrad.engine.operands.device_of", None)
    y = mean(double(x), power(x, n=2))
    assert y.device == "sim"
    assert y.tolist() == [0.625, -0.5]
    y.backward(gg.ones(2, device="sim"))
    assert x.grad.tolist() == [1.5, 0.0]
    for _ in range(2):
        with pytest.raises(gg.DeviceError, match="two devices"):
            mean(x, gg.tensor([0.5, -1.0]))
        with pytest.raises(gg.DeviceError, match="two devices"):
            mean(gg.tensor([0.5, -1.0]), x)
