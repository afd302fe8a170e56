"""The functions of the simulated device: each against NumPy, and the refusals of CuPy."""

import numpy
import pytest
from simulated import same

import gpugrad.backend.sim as xp
from gpugrad.backend.sim.signatures import FFT, FUNCTIONS, LINALG, UFUNCS
from gpugrad.engine.op import TABLE


@pytest.fixture
def a():
    return xp.arange(6.0).reshape(2, 3)


# Ufuncs


def test_ufuncs_take_out_dtype_and_casting_only(a):
    same(xp.add(a, 1, dtype="f4"), numpy.add(a.get(), 1, dtype="f4", casting="same_kind"))
    out = xp.empty((2, 3))
    assert xp.multiply(a, 2, out) is out
    assert xp.multiply(a, 2, out=out) is out
    same(out, a.get() * 2)
    for keyword in ("where", "order", "subok", "axis", "keepdims"):
        with pytest.raises(TypeError, match="only out, dtype and casting"):
            xp.add(a, a, **{keyword: None})
    with pytest.raises(TypeError, match="Wrong number of arguments"):
        xp.add(a)
    with pytest.raises(ValueError, match="both"):
        xp.add(a, a, out, out=out)
    with pytest.raises(TypeError, match="Unsupported type"):
        xp.add(a, a, out=numpy.empty((2, 3)))
    with pytest.raises(TypeError, match="cast"):
        xp.add(a, 0.5, out=xp.empty((2, 3), "i4"))
    fraction, whole = xp.modf(xp.asarray([1.5]))
    assert (fraction.tolist(), whole.tolist()) == ([0.5], [1.0])
    same(xp.sqrt(4.0), numpy.asarray(2.0))
    assert xp.abs is xp.absolute
    assert repr(xp.add) == "<ufunc 'cupy_add'>"
    assert (xp.add.nin, xp.add.nout, xp.add.nargs) == (2, 1, 3)
    assert "dd->d" in xp.add.types
    assert "gg->g" not in xp.add.types


@pytest.mark.filterwarnings("ignore:numpy.fix is deprecated:DeprecationWarning")  # since NumPy 2.5
@pytest.mark.parametrize("name", ["fix", "sinc", "i0"])
def test_ufuncs_that_numpy_has_as_functions(name):
    x = numpy.array([0.5, 1.5])
    same(getattr(xp, name)(xp.asarray(x)), getattr(numpy, name)(x))
    out = xp.empty(2)
    assert getattr(xp, name)(xp.asarray(x), out=out) is out
    same(out, getattr(numpy, name)(x))
    assert getattr(xp, name)(xp.asarray(x), dtype="f4").dtype == "f4"


def test_ufunc_methods_are_those_of_cupy(a):
    same(xp.add.reduce(a), a.get().sum(0))
    same(xp.multiply.reduce(a, axis=1, keepdims=True), a.get().prod(1, keepdims=True))
    same(xp.add.accumulate(a, 1), a.get().cumsum(1))
    same(xp.multiply.accumulate(a), a.get().cumprod(0))
    same(xp.add.reduceat(a[0], xp.asarray([0, 2])), numpy.add.reduceat(a[0].get(), [0, 2]))
    same(xp.multiply.outer(a[0], a[1]), numpy.multiply.outer(a[0].get(), a[1].get()))
    for method in (xp.maximum.reduce, xp.maximum.accumulate, xp.logical_and.reduce):
        with pytest.raises(NotImplementedError, match="not supported yet"):
            method(a)
    with pytest.raises(NotImplementedError, match="reduceat"):
        xp.multiply.reduceat(a, xp.asarray([0]))
    with pytest.raises(TypeError, match="where"):
        xp.add.reduce(a, where=a > 1)


def test_scatter():
    index = numpy.array([0, 2, 0, 5])
    for name, start in (("add", 0.0), ("maximum", -9.0), ("minimum", 9.0)):
        host = numpy.full(3, start)
        device = xp.asarray(host)
        values = numpy.array([1.0, 2.0, 3.0, 4.0])
        getattr(xp, name).at(device, xp.asarray(index), xp.asarray(values))
        getattr(numpy, name).at(host, index % 3, values)
        same(device, host)
    whole = xp.zeros(3)
    xp.add.at(whole, slice(0, 2), 1)
    same(whole, numpy.array([1.0, 1, 0]))
    with pytest.raises(TypeError, match=r"cupy.add.at only supports .*int16"):
        xp.add.at(xp.zeros(2, "i2"), xp.asarray([0]), 1)
    with pytest.raises(TypeError, match=r"cupy\.subtract.at only supports int32, uint32"):
        xp.subtract.at(xp.zeros(2), xp.asarray([0]), 1)
    with pytest.raises(NotImplementedError, match=r"multiply\.at"):
        xp.multiply.at(whole, xp.asarray([0]), 2)
    with pytest.raises(TypeError, match="Unsupported type"):
        xp.add.at(whole, slice(0, 1), numpy.ones(1))
    xp.add.at(whole, xp.asarray([0]), numpy.ones(1))  # for index arrays CuPy copies it
    same(whole, numpy.array([2.0, 1, 0]))


def test_where_asks_a_condition_for_astype_as_cupy_does(a):
    for condition in (True, [True]):
        with pytest.raises(AttributeError, match="has no attribute 'astype'"):
            xp.where(condition, a, 0)
    same(xp.where(numpy.bool_(True), a, 0), a.get())


# Keywords and names


REFUSED = {
    "sum where": lambda a: xp.sum(a, where=a > 1),
    "sum initial": lambda a: a.sum(initial=1),
    "max initial": lambda a: xp.max(a, initial=0),
    "mean where": lambda a: a.mean(where=a > 1),
    "any where": lambda a: xp.any(a, where=a > 1),
    "var correction": lambda a: xp.var(a, correction=1),
    "std mean": lambda a: a.std(mean=a.mean()),
    "zeros device": lambda a: xp.zeros(3, device="cpu"),
    "asarray device": lambda a: xp.asarray(a, device="cpu"),
    "sort stable": lambda a: xp.sort(a, stable=True),
    "argsort stable": lambda a: a.argsort(stable=True),
    "take mode": lambda a: xp.take(a, xp.asarray([0]), mode="clip"),
    "clip keywords": lambda a: xp.clip(a, min=0, max=1),
    "einsum out": lambda a: xp.einsum("ij->i", a, out=xp.empty(2)),
    "einsum order": lambda a: xp.einsum("ij->i", a, order="C"),
    "reshape shape": lambda a: xp.reshape(a, shape=(6,)),
    "linspace device": lambda a: xp.linspace(0, 1, 3, device="cpu"),
    "concatenate of numpy": lambda a: xp.concatenate([a, numpy.ones((1, 3))]),
    "where numpy condition": lambda a: xp.where(a.get() > 1, a, 0),
    "where list": lambda a: xp.where(a > 1, a, [0, 0, 0]),
    "sum of a list": lambda a: xp.sum([1, 2]),
    "exp of a list": lambda a: xp.exp([1.0]),
    "dot with numpy": lambda a: xp.dot(a, numpy.ones(3)),
    "array as axis": lambda a: xp.sum(a, axis=xp.asarray(0)),
    "array as shape": lambda a: xp.reshape(a, (xp.asarray(6),)),
    "array as reshape argument": lambda a: a.reshape(xp.asarray(6)),
    "array as zeros shape": lambda a: xp.zeros(xp.asarray(3)),
    "full_like subok": lambda a: xp.full_like(a, 1, subok=False),
    "astype casting": lambda a: a.astype("f4", casting="safe"),
    "meshgrid of lists": lambda a: xp.meshgrid([1, 2]),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_what_cupy_does_not_take_is_a_type_error(call, a):
    with pytest.raises(TypeError):
        call(a)


def test_absent_names_say_why():
    with pytest.raises(AttributeError, match="cupy has no attribute 'insert', though numpy has"):
        xp.insert
    with pytest.raises(AttributeError, match=r"cupy\.random exists, but .*; gpugrad\.random draws"):
        xp.random
    with pytest.raises(AttributeError, match=r"cupy has no attribute 'frobnicate'$"):
        xp.frobnicate
    with pytest.raises(AttributeError, match=r"cupy.linalg has no attribute 'svdvals', though"):
        xp.linalg.svdvals
    with pytest.raises(AttributeError, match=r"cupy.fft has no attribute 'nothing'"):
        xp.fft.nothing
    with pytest.raises(AttributeError, match=r"cupy.cuda.nccl is not imitated"):
        xp.cuda.nccl
    for name in ("block", "geomspace", "vecdot", "unstack", "nanquantile", "errstate"):
        assert not hasattr(xp, name), name


def test_dtypes_that_gpus_lack_are_refused():
    for bad in (["a"], numpy.longdouble(1), [None], numpy.array(["2020-01-01"], "M8[D]")):
        with pytest.raises(ValueError, match="Unsupported dtype"):
            xp.array(bad)
    with pytest.raises(ValueError, match="Unsupported dtype"):
        xp.zeros(3, object)
    with pytest.raises(ValueError, match="Unsupported dtype"):
        xp.ones(3).astype("O")
    with pytest.raises(ValueError, match="Unsupported dtype"):
        xp.ndarray(3, "O")
    assert xp.array(numpy.ones(2, ">f4")).dtype == numpy.dtype("f4")


def test_no_warnings_of_floating_point_errors():
    with numpy.errstate(all="raise"):
        same(xp.log(xp.zeros(1)), numpy.array([-numpy.inf]))
        same(xp.ones(1) / 0, numpy.array([numpy.inf]))
        assert bool(xp.isnan(xp.zeros(0).mean()))
        assert bool(xp.isnan(xp.nanmean(xp.asarray([numpy.nan]))))


def test_casting_complex_numbers_to_real_ones_warns():
    with pytest.warns(numpy.exceptions.ComplexWarning):
        same(xp.asarray([1 + 2j]).astype(float), numpy.array([1.0]))
    same(xp.asarray([1 + 2j]).astype(bool), numpy.array([True]))


def test_linalg_does_not_raise_for_singular_matrices():
    bad = xp.zeros((2, 2))
    assert bool(xp.isnan(xp.linalg.inv(bad)).all())
    assert bool(xp.isnan(xp.linalg.cholesky(bad - 1)).all())
    both = xp.stack([xp.eye(2), bad])
    inverse = xp.linalg.inv(both)
    same(inverse[0], numpy.eye(2))
    assert bool(xp.isnan(inverse[1]).all())
    solved = xp.linalg.solve(both, xp.ones((2, 2, 1)))
    assert solved.shape == (2, 2, 1)
    same(solved[0], numpy.ones((2, 1)))
    with pytest.raises(numpy.linalg.LinAlgError):
        xp.linalg.inv(xp.ones((2, 3)))
    values, vectors = xp.linalg.eigh(xp.eye(2))
    assert type(values) is type(vectors) is xp.ndarray


# Every function, on the same data through NumPy and through the simulated device. What NumPy
# calls otherwise stands behind the arrow.
#   A (2, 3) floats, B (2, 3) floats, v w (3,) floats, n (3,) integers, m (2, 3) booleans,
#   S (3, 3) positive definite, N (2, 3) with NaNs, C (3,) complex, Z (4, 3) zeros to write in
CALLS = """
all(m, axis=0)                  any(m, 1, keepdims=True)        alltrue(m) -> all(m)
sometrue(m) -> any(m)           allclose(A, A)                  amax(A, axis=1)
amin(A)                         angle(C)                        append(A, B, 0)
apply_along_axis(lambda r: r.sum(), 0, A)                       argwhere(m)
apply_over_axes(xp.sum, A, [0, 1])                              arange(3)
arange(1, 7, 2, "f4")           argmax(A, 0)                    argmin(A, axis=1, keepdims=True)
argpartition(n, 1)              argsort(v)                      around(A, 1)
array_equal(A, B)               array_equiv(A, B)               array_split(v, 2)
array([[1, 2], [3, 4]], "f4")   asarray([1.0, 2.0])             asanyarray([1, 2])
asarray_chkfinite(A)            ascontiguousarray(A.T)          asfortranarray(A)
asfarray(n) -> asarray(n, float)                                astype(A, xp.float32)
atleast_1d(v)                   atleast_2d(v, A)                atleast_3d(v)
average(A, axis=1, weights=v)   bartlett(5)                     bincount(n, minlength=9)
bincount(n, v)                  blackman(5)                     broadcast_arrays(v, A)
broadcast_to(v, (2, 3))         choose(n % 2, A)                clip(A, 1, v)
clip(A, None, 2.0)              clip(A, None, None) -> copy(A)  column_stack([v, w])
compress(v > 1, A, axis=1)
concat([A, B])                  concatenate((A, B), axis=1)     convolve(v, w)
copy(A)                         corrcoef(S)                     correlate(v, w, "full")
count_nonzero(m, axis=0)        count_nonzero(m)                cov(A)
cross(v, w)                     cumprod(A, axis=1)              cumproduct(v) -> cumprod(v)
cumsum(A, 0)                    cumsum(A)                       cumulative_prod(v)
cumulative_sum(v, include_initial=True)                         delete(A, 1, axis=1)
diag(v)                         diag_indices(3)                 diag_indices_from(S)
diagflat(v)                     diagonal(S, 1)                  diff(A, axis=1)
digitize(v, w)                  dot(A, v)                       dot(v, w)
dsplit(A[..., None], 1)         dstack([A, B])                  ediff1d(v)
einsum("ij,kj->ik", A, B)       empty((0, 3))                   expand_dims(A, 1)
extract(m, A)                   eye(3, k=1)                     flatnonzero(m)
flip(A, 1)                      fliplr(A)                       flipud(A)
full((2, 2), 1.5)               full(2, 7, "u1")                full_like(A, 3)
fromfunction(lambda i, j: i + j, (2, 3))                        frombuffer(b"ab", "u1")
fromiter(iter([1, 2]), int)     fromstring("1 2", sep=" ")      gradient(A, axis=1)
hamming(5)                      hanning(5)                      histogram(v, 3)
histogram2d(v, w, 2)            histogramdd((v, w), 2)          hsplit(A, 3)
hstack([A, B])                  identity(2)                     imag(C)
in1d(v, w) -> isin(v, w)        indices((2, 3))                 inner(A, B)
interp(v, w, v)                 intersect1d(v, w)               isclose(A, B)
iscomplex(C)                    isin(A, v)                      isneginf(A)
isposinf(A)                     isreal(C)                       ix_([0, 1], [2])
kaiser(5, 2.0)                  kron(v, w)                      lexsort(A)
linspace(0, 1, 5)               linspace(0, 1, 4, endpoint=False, dtype="f4")
logspace(0, 2, 3)               matmul(A, S)                    matrix_transpose(A)
mask_indices(3, xp.triu)        max(A, axis=0, keepdims=True)   mean(A, (0, 1))
mean(A, axis=0, dtype="f4")     median(A, axis=1)               meshgrid(v, w, indexing="ij")
min(A, axis=1)                  moveaxis(A, 0, 1)               msort(A) -> sort(A, 0)
nan_to_num(N, nan=1.0)          nanargmax(N, axis=0)            nanargmin(N)
nancumprod(N)                   nancumsum(N, axis=1)            nanmax(N, axis=0)
nanmean(N, axis=1)              nanmedian(N)                    nanmin(N)
nanprod(N)                      nanstd(N)                       nansum(N, axis=0)
nanvar(N, ddof=1)               nonzero(m)                      ones((2, 3), "f4")
ones_like(A)                    outer(v, w)                     packbits(m)
pad(A, ((1, 1), (0, 2)), constant_values=4)                     pad(v, 1, mode="edge")
partition(v, 1)                 percentile(A, 30, axis=0)       permute_dims(A, (1, 0))
poly(v)                         polyfit(v, w, 1)                polyval(v, w)
prod(A, axis=0)                 product(A) -> prod(A)           ptp(A, axis=1)
quantile(A, 0.3)                ravel(A, "F")                   ravel_multi_index((n, n), (9, 9))
real(C)                         real_if_close(C)                repeat(A, 2, axis=0)
repeat(v, n)                    reshape(A, (3, -1))             resize(v, (2, 2))
roll(A, 1, axis=1)              rollaxis(A, 1)                  roots(v)
rot90(A)                        round(A, 1)                     round_(A) -> round(A)
row_stack([A, B]) -> vstack([A, B])                             searchsorted(w, v, "right")
select([m, ~m], [A, B])         setdiff1d(v, w)                 setxor1d(v, w)
sort(A, 0)                      sort_complex(C)                 split(A, 3, axis=1)
squeeze(A[:1])                  stack([A, B], axis=2)           std(A, axis=0, ddof=1)
sum(A)                          sum(m, axis=1)                  sum(A.astype("f2"), dtype="f8")
swapaxes(A, 0, 1)               take(A, n % 2, axis=0)          take_along_axis(A, n[:2, None], 1)
tensordot(A, B, ([1], [1]))     tile(v, (2, 2))                 trace(S)
transpose(A, (1, 0))            trapezoid(v, w)                 trapz(v, w) -> trapezoid(v, w)
tri(3, 4)                       tril(S)                         tril_indices(3)
tril_indices_from(S)            trim_zeros(v)                   triu(S, 1)
triu_indices(3)                 triu_indices_from(S)            union1d(v, w)
unique(n)                       unique(n, return_inverse=True, return_counts=True)
unique_all(n)                   unique_counts(n)                unique_inverse(n)
unique_values(n)                unpackbits(n.astype("u1"))      unravel_index(n, (3, 3))
unwrap(v)                       vander(v, 3)                    var(A, axis=1, keepdims=True)
vdot(v, w)                      vsplit(A, 2)                    vstack([A, v])
where(m, A, 0)                  where(m, 1.5, B)                where(m)
zeros((2, 3), order="F")        zeros_like(A, dtype="i4")       empty_like(A[:0])
linalg.cholesky(S)              linalg.cond(S)                  linalg.cross(v, w)
linalg.det(S)                   linalg.eig(S)                   linalg.eigh(S)
linalg.eigvals(S)               linalg.eigvalsh(S)              linalg.inv(S)
linalg.lstsq(S, v)              linalg.matmul(A, S)             linalg.matrix_power(S, 3)
linalg.matrix_rank(S)           linalg.matrix_transpose(S)      linalg.norm(A, axis=1)
linalg.norm(A)                  linalg.pinv(A)                  linalg.qr(S)
linalg.slogdet(S)               linalg.solve(S, v)              linalg.svd(S)
linalg.svd(A, full_matrices=False)                              linalg.tensorsolve(S, v)
linalg.tensorinv(S.reshape(3, 3), ind=1)                        fft.fft(v)
fft.fft2(A)                     fft.fftfreq(4)                  fft.fftn(A)
fft.fftshift(v)                 fft.hfft(C)                     fft.ifft(v)
fft.ifft2(A)                    fft.ifftn(A)                    fft.ifftshift(v)
fft.ihfft(v)                    fft.irfft(C)                    fft.irfft2(A)
fft.irfftn(A)                   fft.rfft(v, 8)                  fft.rfft2(A)
fft.rfftfreq(4)                 fft.rfftn(A)
"""
WRITES = """
copyto(Z, v)                    copyto(Z, 1, where=Z == 0)      fill_diagonal(Z, 5)
put(Z, n, v)                    put(Z, [1], 2.0)                putmask(Z, Z == 0, v)
place(Z, Z == 0, v)             put_along_axis(Z[:3], n[:, None], 2.0, 1)
"""
# Answered on the host.
ANSWERS = """
array2string(v)                 array_repr(A)                   array_str(A)
base_repr(5)                    binary_repr(5)                  broadcast_shapes((1, 3), (2, 1))
can_cast("f4", "f8")            common_type(A, n)               format_float_positional(1.5)
format_float_scientific(1.5)    get_printoptions()              iscomplexobj(C)
isdtype(xp.float32, "real floating")                            isfortran(A)
isrealobj(A)                    isscalar(1.5)                   issubdtype("f4", xp.floating)
iterable(v)                     may_share_memory(A, A[0])       min_scalar_type(200)
mintypecode("fd")               ndim(A)                         promote_types("i4", "f4")
result_type(A, n, 2)            shape(A)                        shares_memory(A, A[0])
size(A)                         size(A, 1)                      typename("d")
"""


def lines(table):
    import re

    return [call for line in table.splitlines() for call in re.split(r"\s{2,}", line) if call]


def data(module):
    """The arrays of the table, as those of NumPy or of the simulated device."""
    hosts = {
        "A": numpy.array([[0.5, 2.25, -1.0], [4.0, 1.5, 3.0]]),
        "B": numpy.array([[1.0, 0.0, 2.0], [4.0, -5.0, 3.0]]),
        "v": numpy.array([0.5, 1.25, 3.0]),
        "w": numpy.array([0.25, 1.25, 7.0]),
        "n": numpy.array([2, 0, 1]),
        "m": numpy.array([[True, False, True], [False, True, True]]),
        "S": numpy.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.25], [0.5, 0.25, 2.0]]),
        "N": numpy.array([[numpy.nan, 2.0, 1.0], [3.0, 4.0, numpy.nan]]),
        "C": numpy.array([1 + 2j, 3.0, -1j]),
        "Z": numpy.zeros((4, 3)),
    }
    return {"xp": module} | {
        k: h.copy() if module is numpy else xp.asarray(h) for k, h in hosts.items()
    }


def equal(got, expected):
    """Whether two results agree, piece by piece; the simulated one holds sim arrays only."""
    if isinstance(expected, (tuple, list)):
        assert type(got).__name__ == type(expected).__name__
        assert len(got) == len(expected)
        for g, e in zip(got, expected, strict=True):
            equal(g, e)
        return
    assert type(got) is xp.ndarray, type(got)
    expected = numpy.asarray(expected)
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    numpy.testing.assert_array_equal(got.get(), expected)


def both(call):
    """The results of a line of the table: on the simulated device, and from NumPy."""
    own, _, other = call.partition(" -> ")
    return eval(f"xp.{own}", data(xp)), eval(f"xp.{other or own}", data(numpy))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("call", lines(CALLS))
def test_functions_compute_as_numpy(call):
    equal(*both(call))


@pytest.mark.parametrize("call", lines(WRITES))
def test_functions_that_write_into_an_array(call):
    device, host = data(xp), data(numpy)
    assert eval(f"xp.{call}", device) is None
    eval(f"xp.{call}", host)
    equal(device["Z"], host["Z"])


@pytest.mark.filterwarnings(
    "ignore:numpy.typename is deprecated:DeprecationWarning"
)  # since NumPy 2.5
@pytest.mark.parametrize("call", lines(ANSWERS))
def test_functions_that_answer_on_the_host(call):
    got, expected = both(call)
    assert type(got) is type(expected)
    assert got == expected


def test_the_tables_leave_no_function_out():
    tested = {call.partition("(")[0] for call in lines(CALLS + WRITES + ANSWERS)}
    elsewhere = {
        "asnumpy",
        "byte_bounds",
        "from_dlpack",
        "fromfile",
        "genfromtxt",
        "get_array_module",
        "is_available",
        "loadtxt",
        "printoptions",
        "save",
        "savetxt",
        "savez",
        "savez_compressed",
        "set_printoptions",
    }
    offered = {name for name in FUNCTIONS if hasattr(xp, name)}
    offered |= {f"linalg.{name}" for name in LINALG} | {f"fft.{name}" for name in FFT}
    assert offered - tested == elsewhere


@pytest.mark.filterwarnings("ignore:numpy.fix is deprecated:DeprecationWarning")  # since NumPy 2.5
@pytest.mark.parametrize("name", [n for n in UFUNCS if hasattr(xp, n)])
@pytest.mark.parametrize("dtype", ["f4", "i4"])
def test_ufuncs_compute_as_numpy(name, dtype):
    function, expected = getattr(xp, name), getattr(numpy, name)
    arguments = [numpy.array([1, 2, 3], dtype), numpy.array([2, 1, 2], dtype)][: function.nin]
    if name in TABLE and TABLE[name].operands == ("real", "whole"):
        arguments[1] = arguments[1].astype(int)
    with numpy.errstate(all="ignore"):
        try:
            wanted = expected(*arguments)
        except TypeError:
            with pytest.raises(TypeError):
                function(*map(xp.asarray, arguments))
            return
    equal(function(*map(xp.asarray, arguments)), wanted)


def test_callbacks_get_arrays_of_the_device(a):
    kinds = []
    xp.apply_along_axis(lambda row: kinds.append(type(row)) or row.max(), 1, a)
    assert set(kinds) == {xp.ndarray}


def test_grids():
    for name in ("mgrid", "ogrid"):
        equal(getattr(xp, name)[0:2, 1:4], getattr(numpy, name)[0:2, 1:4])


def test_files_and_printing(a, tmp_path):
    xp.save(tmp_path / "a.npy", a)
    same(xp.asarray(numpy.load(tmp_path / "a.npy")), a.get())
    xp.savez(tmp_path / "a.npz", a=a)
    xp.savez_compressed(tmp_path / "b.npz", a)
    with numpy.load(tmp_path / "a.npz") as first, numpy.load(tmp_path / "b.npz") as second:
        assert (first["a"] == second["arr_0"]).all()
    xp.savetxt(tmp_path / "a.txt", a)
    for read in (xp.loadtxt, xp.genfromtxt):
        same(read(tmp_path / "a.txt"), a.get())
    a.tofile(tmp_path / "a.bin")
    same(xp.fromfile(tmp_path / "a.bin"), a.get().ravel())
    with xp.printoptions(precision=1):
        assert "1.2" in str(xp.asarray(1.23))
    assert a.tobytes() == a.get().tobytes()
    low, high = xp.byte_bounds(a)
    assert high - low == a.nbytes


def test_refusals_that_only_functions_of_their_own_used_to_lack():
    a = xp.ones(3)
    for call in (
        lambda: xp.in1d(a, [1.0]),
        lambda: xp.corrcoef(a, [1.0, 2.0, 3.0]),
        lambda: xp.linalg.matmul([1.0, 1.0, 1.0], a),
        lambda: xp.zeros([xp.asarray(2)]),
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(ValueError, match="Unsupported dtype object"):
        xp.concatenate([a, a], dtype=object)
    assert xp.corrcoef(a + xp.arange(3), bias=True).shape == ()
