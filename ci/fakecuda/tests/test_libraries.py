"""The stand-ins for cuBLAS, cuSOLVER, cuFFT, cuRAND, cuSPARSE and Thrust, through the real CuPy,
beside NumPy and SciPy. Runs under ci/fakecuda/run."""

import ctypes
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

fakecuda = pytest.importorskip("fakecuda")

import cupy  # noqa: E402
import cupyx  # noqa: E402
import cupyx.cusolver  # noqa: E402
import cupyx.scipy.linalg  # noqa: E402
import scipy.linalg  # noqa: E402
import scipy.stats  # noqa: E402
from cupy import cublas  # noqa: E402
from fakecuda.loader import libraries  # noqa: E402

DTYPES = "fdFD"


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def draw(rng, dtype, *shape):
    values = rng.standard_normal(shape)
    if dtype in "FD":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def close(found, wanted, loose=1.0):
    wanted = np.asarray(wanted)
    single = cupy.asnumpy(found).dtype.char in "fFi"
    tolerance = loose * (2e-5 if single else 1e-11)
    np.testing.assert_allclose(cupy.asnumpy(found), wanted, rtol=tolerance, atol=tolerance)


def run_alone(text, mode=None):
    """Runs a program in a process of its own, for errors that stick and for other modes."""
    text = "import cupy\nimport numpy as np\n" + textwrap.dedent(text)
    environment = {**os.environ, **({} if mode is None else {"FAKECUDA_MODE": mode})}
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------ cuBLAS


@pytest.mark.parametrize("dtype", "efdFD")
@pytest.mark.parametrize("shapes", [((5, 3), (3, 4)), ((6, 5, 3), (6, 3, 4)), ((7,), (7, 2))])
def test_products(rng, dtype, shapes):
    a, b = (draw(rng, dtype, *shape) for shape in shapes)
    found = (cupy.array(a) @ cupy.array(b)).get()
    wanted = a.astype("F" if dtype == "F" else "D") @ b
    error = {"e": 2e-3, "f": 1e-6, "F": 1e-6}.get(dtype, 1e-14)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=error, atol=error * 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposes", ["NN", "NT", "TN", "TH", "HT", "HH"])
def test_gemm_with_transposes_into_what_is_there(rng, dtype, transposes):
    def stored(kind, matrix):
        return {"N": matrix, "T": matrix.T, "H": matrix.conj().T}[kind]

    a, b, c = draw(rng, dtype, 4, 3), draw(rng, dtype, 3, 5), draw(rng, dtype, 4, 5)
    out = cupy.array(c, order="F")
    cublas.gemm(
        *transposes,
        cupy.array(stored(transposes[0], a), order="F"),
        cupy.array(stored(transposes[1], b), order="F"),
        out=out, alpha=0.5, beta=2.0,
    )  # fmt: skip
    close(out, 0.5 * (a @ b) + 2 * c)


def test_a_product_with_beta_0_does_not_read_what_is_there(rng):
    a = cupy.array(draw(rng, "f", 3, 3), order="F")
    out = cupy.full((3, 3), np.nan, "f", order="F")
    cublas.gemm("N", "N", a, a, out=out, beta=0.0)
    close(out, a.get() @ a.get())


@pytest.mark.parametrize("on_device", [False, True])
def test_scalars_on_the_host_and_on_the_device(rng, on_device):
    a, x, y = draw(rng, "d", 4, 3), draw(rng, "d", 3), draw(rng, "d", 4)
    out = cupy.array(y)
    alpha, beta = (cupy.array(v) if on_device else v for v in (1.5, -0.5))
    cublas.gemv("N", alpha, cupy.array(a, order="F"), cupy.array(x), beta, out)
    close(out, 1.5 * a @ x - 0.5 * y)


def test_halves_are_converted_exactly_and_rounded_to_nearest_even():
    every = np.arange(1 << 16, dtype="H").view("e")
    every = every[~np.isnan(every)]
    for factor in (1.0, 0.3, 1.7):
        factor = np.array([[factor]], "e")
        with np.errstate(over="ignore"):
            wanted = (every.astype("f") * factor[0].astype("f")).astype("e")
        found = (cupy.array(every)[:, None] @ cupy.array(factor)).get()[:, 0]
        assert np.array_equal(found, wanted)


def test_bfloat16_rounds_to_nearest_even(rng):
    """By the library itself: CuPy's bfloat16 wants a package of its own."""
    a = (cupy.arange(256, dtype="f") / 7).reshape(16, 16)
    bits = (a.view("I") >> 16).astype("H")  # cut off, so that the products are exact in float64
    exact = (bits.astype("I") << 16).view("f").get().astype("d")
    out = cupy.empty((16, 16), "H")
    alpha, beta = np.array(1, "f"), np.array(0, "f")
    handle = cupy.cuda.device.get_cublas_handle()
    cupy.cuda.cublas.setStream(handle, cupy.cuda.get_current_stream().ptr)
    cupy.cuda.cublas.gemmEx(
        handle, 0, 0, 16, 16, 16, alpha.ctypes.data, bits.data.ptr, 14, 16, bits.data.ptr, 14, 16,
        beta.ctypes.data, out.data.ptr, 14, 16, cupy.cuda.cublas.CUBLAS_COMPUTE_32F, -1,
    )  # fmt: skip
    found = (out.astype("I") << 16).view("f").get().astype("d")
    wanted = exact @ exact  # of the columns of the transposes, which gives the same in rows
    assert np.abs(found - wanted).max() <= np.abs(wanted).max() * 2.0**-8
    np.testing.assert_allclose(found, wanted, rtol=2.0**-8)


@pytest.mark.parametrize("dtype", DTYPES)
def test_vectors(rng, dtype):
    x, y = draw(rng, dtype, 50), draw(rng, dtype, 50)
    on_x, on_y = cupy.array(x), cupy.array(y)
    size = abs(x.real) + abs(x.imag)
    assert cublas.iamax(on_x) == np.argmax(size) + 1
    assert cublas.iamin(on_x) == np.argmin(size) + 1
    close(cublas.asum(on_x), size.sum())
    close(cublas.nrm2(on_x), np.linalg.norm(x))
    close(cublas.nrm2(on_x[::2].copy() * 1e30), np.linalg.norm(x[::2].astype("D") * 1e30))
    if dtype in "fd":
        close(cublas.dot(on_x, on_y), x @ y)
    else:
        close(cublas.dotu(on_x, on_y), x @ y)
        close(cublas.dotc(on_x, on_y), x.conj() @ y)
    cublas.axpy(2.0, on_x, on_y)
    close(on_y, y + 2 * x)
    cublas.scal(3.0, on_x)
    close(on_x, 3 * x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_matrices(rng, dtype):
    a, b, x = draw(rng, dtype, 6, 5), draw(rng, dtype, 5, 6), draw(rng, dtype, 6)
    on_a, on_b, on_x = cupy.array(a, order="F"), cupy.array(b, order="F"), cupy.array(x)
    close(cublas.geam("N", "H", 2.0, on_a, 3.0, on_b), 2 * a + 3 * b.conj().T)
    close(cublas.dgmm("L", on_a, on_x), x[:, None] * a)
    close(cublas.dgmm("R", on_a, on_x[:5]), a * x[:5])
    lower = cublas.syrk("N", on_a, lower=True).get()
    close(np.tril(lower), np.tril(a @ a.T))
    outer = cupy.array(a, order="F")
    if dtype in "fd":
        cublas.ger(2.0, on_x, on_x[:5], outer)
    else:
        cublas.gerc(2.0, on_x, on_x[:5], outer)
    close(outer, a + 2 * np.outer(x, x[:5].conj()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("trans", [0, 1, 2])
def test_triangular_solves(rng, dtype, lower, trans):
    a = draw(rng, dtype, 5, 5) + 4 * np.eye(5, dtype=dtype)
    b = draw(rng, dtype, 5, 3)
    found = cupyx.scipy.linalg.solve_triangular(
        cupy.array(a), cupy.array(b), trans=trans, lower=lower
    )
    close(found, scipy.linalg.solve_triangular(a, b, trans=trans, lower=lower))


def test_wrong_arguments_are_refused_in_words():
    a = cupy.zeros((4, 4), "f")
    handle = cupy.cuda.device.get_cublas_handle()
    one = np.array(1, "f").ctypes.data
    with pytest.raises(cupy.cuda.cublas.CUBLASError, match=r"INVALID_VALUE\n.*ldb is too small"):
        cupy.cuda.cublas.sgemm(
            handle, 0, 0, 4, 4, 4, one, a.data.ptr, 4, a.data.ptr, 3, one, a.data.ptr, 4
        )


def test_memory_that_is_too_small_is_found():
    run_alone(
        """
        a, handle = cupy.zeros((4, 4), "f"), cupy.cuda.device.get_cublas_handle()
        one = np.array(1, "f").ctypes.data
        cupy.cuda.set_allocator(None)
        small = cupy.zeros(15, "f")
        try:
            cupy.cuda.cublas.sgemm(
                handle, 0, 0, 4, 4, 4, one, a.data.ptr, 4, small.data.ptr, 4, one, a.data.ptr, 4
            )
            cupy.cuda.runtime.deviceSynchronize()
        except RuntimeError as error:
            assert "cublasSgemm, B" in str(error), error
        else:
            raise AssertionError("no error")
        """
    )


def test_setting_a_stream_forgets_the_workspace():
    """In a capture cuBLAS can't allocate: it wants a workspace, set after the stream."""
    library = libraries()["libcublas.so.12"]
    handle = ctypes.c_void_p()
    assert library.cublasCreate_v2(ctypes.byref(handle)) == 0
    a = cupy.full((4, 4), 2, "f")
    workspace = cupy.empty(1 << 16, "b")
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    pointer = ctypes.c_void_p(a.data.ptr)
    out = cupy.zeros((4, 4), "f")

    def multiply():
        return library.cublasSgemm_v2(
            handle, 0, 0, 4, 4, 4, ctypes.byref(one), pointer, 4, pointer, 4, ctypes.byref(zero),
            ctypes.c_void_p(out.data.ptr), 4,
        )  # fmt: skip

    def set_workspace():
        return library.cublasSetWorkspace_v2(
            handle, ctypes.c_void_p(workspace.data.ptr), ctypes.c_size_t(workspace.nbytes)
        )

    stream = cupy.cuda.Stream(non_blocking=True)
    assert set_workspace() == 0
    assert library.cublasSetStream_v2(handle, ctypes.c_void_p(stream.ptr)) == 0
    cupy.cuda.runtime.deviceSynchronize()
    with stream:
        stream.begin_capture()
        assert multiply() == 13  # CUBLAS_STATUS_EXECUTION_FAILED
        assert "workspace" in fakecuda.messages()
        stream.end_capture()
        assert set_workspace() == 0
        stream.begin_capture()
        assert multiply() == 0
        graph = stream.end_capture()
        out.fill(0)
        graph.launch()
        stream.synchronize()
    close(out, np.full((4, 4), 16))
    assert library.cublasDestroy_v2(handle) == 0


# ------------------------------------------------------------------ cuSOLVER

STACKS = [(5, 5), (3, 4, 4), (40, 40), (2, 33, 33)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", STACKS)
def test_linear_systems(rng, dtype, shape):
    a = draw(rng, dtype, *shape) + 4 * np.eye(shape[-1], dtype=dtype)
    b = draw(rng, dtype, *shape[:-1], 2)
    on_a = cupy.array(a)
    close(cupy.linalg.solve(on_a, cupy.array(b)), np.linalg.solve(a, b), 20)
    close(cupy.linalg.inv(on_a), np.linalg.inv(a), 20)
    close(cupy.linalg.det(on_a).get() / np.linalg.det(a), np.ones(shape[:-2]), 10)
    h = a @ a.conj().swapaxes(-1, -2)
    close(cupy.linalg.cholesky(cupy.array(h)), np.linalg.cholesky(h), 20)


@pytest.mark.parametrize("dtype", DTYPES)
def test_lu(rng, dtype):
    a, b = draw(rng, dtype, 6, 6), draw(rng, dtype, 6)
    lu, pivots = cupyx.scipy.linalg.lu_factor(cupy.array(a))
    wanted = scipy.linalg.lu_factor(a)
    close(lu, wanted[0])
    assert np.array_equal(pivots.get(), wanted[1])
    for trans in (0, 1, 2):
        found = cupyx.scipy.linalg.lu_solve((lu, pivots), cupy.array(b), trans=trans)
        close(found, scipy.linalg.lu_solve(wanted, b, trans=trans), 20)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", STACKS)
@pytest.mark.parametrize("uplo", "LU")
def test_symmetric_eigenvalues(rng, dtype, shape, uplo):
    a = draw(rng, dtype, *shape)
    h = a + a.conj().swapaxes(-1, -2)
    wanted = np.linalg.eigvalsh(h)
    # The other triangle is not looked at.
    half = np.tril(h) if uplo == "L" else np.triu(h)
    w, v = (part.get() for part in cupy.linalg.eigh(cupy.array(half), UPLO=uplo))
    close(w, wanted, 20)
    close(v @ (w[..., None] * v.conj().swapaxes(-1, -2)), h, 50)
    close(cupy.linalg.eigvalsh(cupy.array(half), UPLO=uplo), wanted, 20)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", STACKS)
def test_general_eigenvalues(rng, dtype, shape):
    a = draw(rng, dtype, *shape)
    w, v = (part.get() for part in cupy.linalg.eig(cupy.array(a)))
    close(a @ v, v * w[..., None, :], 100)
    close(np.sort(cupy.linalg.eigvals(cupy.array(a)).get()), np.sort(w), 100)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(5, 3), (3, 5), (2, 40, 35), (2, 3, 5), (2, 5, 3), (4, 0), (0, 3, 3)]
)
@pytest.mark.parametrize("full", [False, True])
def test_singular_values_and_qr(rng, dtype, shape, full):
    a = draw(rng, dtype, *shape)
    wanted = np.linalg.svd(a, full_matrices=full)
    u, s, v = (part.get() for part in cupy.linalg.svd(cupy.array(a), full_matrices=full))
    assert (u.shape, v.shape) == (wanted[0].shape, wanted[2].shape)
    close(s, wanted[1])
    rank = s.shape[-1]
    close((u[..., :rank] * s[..., None, :]) @ v[..., :rank, :], a, 20)
    close(cupy.linalg.svd(cupy.array(a), compute_uv=False), wanted[1])
    mode = "complete" if full else "reduced"
    for part, of_numpy in zip(cupy.linalg.qr(cupy.array(a), mode), np.linalg.qr(a, mode)):
        close(part, of_numpy, 20)


@pytest.mark.parametrize("dtype", DTYPES)
def test_jacobi_methods(rng, dtype):
    a = draw(rng, dtype, 3, 6, 4)
    values = np.linalg.svd(a, compute_uv=False)
    u, s, v = (part.get() for part in cupyx.cusolver.gesvdj(cupy.array(a[0])))
    close(s, values[0], 20)
    close((u[:, :4] * s) @ v.conj().T, a[0], 20)
    u, s, v = (part.get() for part in cupyx.cusolver.gesvda(cupy.array(a)))
    close(s, values, 20)
    close((u * s[:, None]) @ v.conj().swapaxes(1, 2), a, 20)
    h = a @ a.conj().swapaxes(1, 2)
    close(cupyx.cusolver.syevj(cupy.array(h), with_eigen_vector=False), np.linalg.eigvalsh(h), 50)


def test_what_has_no_factors_is_reported():
    with cupyx.errstate(linalg="raise"):
        with pytest.raises(np.linalg.LinAlgError, match=r"getrf.*devInfo = \[1\]"):
            cupy.linalg.inv(cupy.zeros((3, 3)))
        with pytest.raises(np.linalg.LinAlgError, match=r"potrf.*devInfo = \[2\]"):
            cupy.linalg.cholesky(cupy.diag(cupy.array([1.0, -1.0])))


# ------------------------------------------------------------------ cuFFT


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [*range(1, 20), 31, 64, 100, 101, 1009])
def test_transforms_of_every_length(rng, dtype, n):
    x = draw(rng, dtype, 2, n)
    on_x = cupy.array(x)
    close(cupy.fft.fft(on_x), np.fft.fft(x), n)
    close(cupy.fft.ifft(on_x), np.fft.ifft(x))
    close(cupy.fft.fft(on_x, n + 3), np.fft.fft(x, n + 3), n)
    if dtype in "fd":
        close(cupy.fft.rfft(on_x), np.fft.rfft(x), n)
        close(cupy.fft.ihfft(on_x), np.fft.ihfft(x))
    else:
        close(cupy.fft.irfft(on_x, n), np.fft.irfft(x, n))
        close(cupy.fft.hfft(on_x, n), np.fft.hfft(x, n), n)
    assert np.array_equal(on_x.get(), x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axes", [None, (0, 1), (-1,), (0,), (1, 0), (-2, -1)])
@pytest.mark.parametrize("order", "CF")
def test_transforms_of_several_axes(rng, dtype, axes, order):
    x = np.asarray(draw(rng, dtype, 5, 6, 4), order=order)
    on_x = cupy.array(x, order=order)
    close(cupy.fft.fftn(on_x, axes=axes), np.fft.fftn(x, axes=axes), 100)
    close(cupy.fft.ifftn(on_x, axes=axes), np.fft.ifftn(x, axes=axes))
    if dtype in "fd":
        close(cupy.fft.rfftn(on_x, axes=axes), np.fft.rfftn(x, axes=axes), 100)
    else:
        close(cupy.fft.irfftn(on_x, axes=axes), np.fft.irfftn(x, axes=axes))
    assert np.array_equal(on_x.get(), x)


def test_a_plan_for_several_gpus_says_that_it_is_missing(rng):
    x = cupy.array(draw(rng, "D", 64))
    plan = cupy.cuda.cufft
    with pytest.raises(plan.CuFFTError, match="cufftXtSetGPUs"):
        plan.Plan1d(64, plan.CUFFT_Z2Z, 1, devices=[0, 1], out=x)


# ------------------------------------------------------------------ cuRAND


def test_random_numbers_repeat_in_whatever_portions_they_are_drawn():
    cupy.random.seed(3)
    parts = cupy.concatenate([cupy.random.rand(600), cupy.random.rand(400)])
    cupy.random.seed(3)
    whole = cupy.random.rand(1000)
    assert (parts == whole).all()
    cupy.random.seed(4)
    assert not (cupy.random.rand(1000) == whole).any()


@pytest.mark.parametrize("dtype", "fd")
def test_distributions(dtype):
    cupy.random.seed(1)
    n = 20_000
    uniform = cupy.random.random_sample(n, dtype=dtype).get()
    assert uniform.min() >= 0
    assert uniform.max() < 1  # CuPy turns (0, 1] around
    assert scipy.stats.kstest(uniform, "uniform").pvalue > 1e-3
    normal = cupy.random.normal(1, 2, n, dtype=dtype).get()
    assert scipy.stats.kstest(normal, "norm", (1, 2)).pvalue > 1e-3
    log = cupy.random.lognormal(0, 0.5, n, dtype=dtype).get()
    assert scipy.stats.kstest(log, "lognorm", (0.5,)).pvalue > 1e-3
    assert abs(np.corrcoef(normal[::2], normal[1::2])[0, 1]) < 0.03


def test_poisson_and_bits():
    cupy.random.seed(1)
    drawn = cupy.random.poisson(4.0, 20_000).get()
    assert abs(drawn.mean() - 4) < 0.06
    assert abs(drawn.var() - 4) < 0.2
    integers = cupy.random.randint(0, 6, 20_000).get()
    assert np.abs(np.bincount(integers) - 20_000 / 6).max() < 250


def test_an_odd_number_of_normal_numbers_is_refused():
    """By the library itself: CuPy refuses it before."""
    library = libraries()["libcurand.so.10"]
    generator = ctypes.c_void_p()
    assert library.curandCreateGenerator(ctypes.byref(generator), 100) == 0
    drawn = cupy.empty(4, "f")
    out = ctypes.c_void_p(drawn.data.ptr)
    mean, deviation = ctypes.c_float(0), ctypes.c_float(1)
    draw_normal = library.curandGenerateNormal
    assert draw_normal(generator, out, ctypes.c_size_t(3), mean, deviation) == 105
    assert "an odd count, 3" in fakecuda.messages()
    assert draw_normal(generator, out, ctypes.c_size_t(4), mean, deviation) == 0
    assert library.curandDestroyGenerator(generator) == 0


# ------------------------------------------------------------------ Thrust, cuSPARSE


@pytest.mark.parametrize("dtype", "?bBhHiIlLefdFD")
def test_sorting(rng, dtype):
    x = rng.integers(0, 5, (3, 40)).astype(dtype)
    if dtype in "efdFD":
        x[0, 3] = x[1, 7] = np.nan
        x[0, 9] = np.inf
    if dtype in "FD":
        x[1, 8] = complex(1, np.nan)
        x[1, 9] = complex(np.nan, 1)
        x[2] += rng.integers(0, 3, 40) * 1j
    on_x = cupy.array(x)
    for found, wanted in [
        (cupy.sort(on_x), np.sort(x, kind="stable")),
        (cupy.sort(on_x[2]), np.sort(x[2], kind="stable")),
        (cupy.argsort(on_x, kind="stable"), np.argsort(x, kind="stable")),
        (cupy.argsort(on_x[0], kind="stable"), np.argsort(x[0], kind="stable")),
        (cupy.lexsort(on_x[[0, 2]]), np.lexsort(x[[0, 2]])),
    ]:
        np.testing.assert_array_equal(found.get(), wanted)


def test_a_function_that_is_missing_is_named():
    import cupyx.scipy.sparse

    with pytest.raises(cupy.cuda.cusparse.CuSparseError, match=r"NOT_SUPPORTED.*\ncusparseCreate"):
        cupyx.scipy.sparse.csr_matrix(cupy.eye(3)) @ cupy.ones(3)


@pytest.mark.parametrize("call", ["a @ a", "cupy.fft.fft(a)", "cupy.linalg.inv(a)", "cupy.sort(a)"])
def test_a_forgotten_event_is_seen_in_lazy_mode(call):
    """The work waits on its stream; another stream that does not wait for it reads old memory."""
    run_alone(
        f"""
        a = cupy.asarray(np.random.default_rng(1).standard_normal((4, 4)))
        first, second = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
        {call}
        cupy.cuda.runtime.deviceSynchronize()
        with first:
            result = {call}
            event = first.record()
        wrong, right = np.zeros_like(result.get(second)), np.zeros_like(result.get(second))
        result.data.copy_to_host_async(wrong.ctypes.data, wrong.nbytes, second)
        second.synchronize()
        second.wait_event(event)
        result.data.copy_to_host_async(right.ctypes.data, right.nbytes, second)
        second.synchronize()
        assert not np.array_equal(wrong, right)
        a = a.get()
        np.testing.assert_allclose(right, {call.replace("cupy", "np")})
        """,
        "lazy",
    )


def test_library_calls_are_counted(rng):
    a = cupy.array(draw(rng, "d", 4, 4))
    a @ a  # the handle is made
    with fakecuda.count() as counts:
        a @ a
        cupy.linalg.svd(a)
    assert counts.library["cublasGemmEx"] == 1
    assert counts.library["cusolverDnDgesvd"] == 1
    assert counts.total_library == 2
