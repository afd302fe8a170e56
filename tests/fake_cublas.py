"""cuBLAS played by NumPy: reads the arrays' memory as cuBLAS would, column by column."""

import ctypes

import numpy as np

HANDLE = 77
REAL = {0: np.float32, 1: np.float64, 2: np.float16, 4: np.complex64, 5: np.complex128}


def memory(ptr, dtype, rows, columns, leading, step, count):
    """A stack of matrices in memory, stored column by column."""
    assert leading >= max(1, rows)
    size = np.dtype(dtype).itemsize
    length = ((count - 1) * step + (columns - 1) * leading + rows) * size
    flat = np.frombuffer((ctypes.c_char * length).from_address(ptr), dtype)
    strides = (step * size, size, leading * size)
    return np.lib.stride_tricks.as_strided(flat, (count, rows, columns), strides)


class Cublas:
    CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_COMPUTE_64F = 68, 77, 70
    CUBLAS_COMPUTE_32F_PEDANTIC, CUBLAS_COMPUTE_64F_PEDANTIC = 69, 71
    CUBLAS_GEMM_DEFAULT = -1

    def __init__(self):
        self.calls = []
        self.added = 0
        self.matrices = 0  # calls for two matrices

    def gemmEx(  # noqa: N802
        self, handle, ta, tb, m, n, k, alpha, A, At, lda, B, Bt, ldb, beta, C, Ct, ldc, *how
    ):  # fmt: skip
        self.matrices += 1
        first, second, third = (A, At, lda, 0), (B, Bt, ldb, 0), (C, Ct, ldc, 0)
        sizes = (ta, tb, m, n, k)
        self.gemmStridedBatchedEx(handle, *sizes, alpha, *first, *second, beta, *third, 1, *how)

    def gemmStridedBatchedEx(  # noqa: N802
        self, handle, ta, tb, m, n, k, alpha, A, At, lda, step_a, B, Bt, ldb, step_b,
        beta, C, Ct, ldc, step_c, count, compute, algo,
    ):  # fmt: skip
        assert handle == HANDLE
        assert algo == self.CUBLAS_GEMM_DEFAULT
        assert At == Bt == Ct
        for value in (ta, tb, m, n, k, lda, step_a, ldb, step_b, ldc, step_c, count):
            assert isinstance(value, int)
        scalar = {2: np.float32}.get(At, REAL[At])
        size = np.dtype(scalar).itemsize
        alpha, beta = (
            np.frombuffer((ctypes.c_char * size).from_address(address), scalar)[0]
            for address in (alpha, beta)
        )
        assert alpha == 1
        a = memory(A, REAL[At], *((k, m) if ta else (m, k)), lda, step_a, count)
        b = memory(B, REAL[At], *((n, k) if tb else (k, n)), ldb, step_b, count)
        c = memory(C, REAL[At], m, n, ldc, step_c, count)
        a, b = (x.swapaxes(1, 2) if t else x for x, t in ((a, ta), (b, tb)))
        product = a.astype(scalar) @ b.astype(scalar)
        c[...] = product + beta * c.astype(scalar) if beta else product  # c may be anything
        self.added += beta != 0
        self.calls.append((ta, tb, compute))
