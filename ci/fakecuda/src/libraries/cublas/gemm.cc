// Products of matrices in one type: gemm, its batched and its strided form.
#include <vector>

#include "cublas/blas.h"
#include "cublas/product.h"

using namespace fakecuda;
using namespace fakecuda::blas;

namespace {

template <typename T>
Status gemm(const char *name, Handle *handle, const Shape &shape, const T *alpha, const T *a,
            const T *b, const T *beta, T *c) {
    Arguments arguments(name, handle);
    if (shape.check(arguments).wrong() || shape.empty()) {
        return arguments.status;
    }
    Coefficient<T> scale(handle, alpha), keep(handle, beta);
    return submit_with_workspace(name, handle, [=] {
        multiply(name, shape, scale.value(name), a, b, keep.value(name), c);
    });
}

template <typename T>
Status gemm_strided(const char *name, Handle *handle, const Shape &shape, const T *alpha,
                    Batch<const T> a, Batch<const T> b, const T *beta, Batch<T> c, int count) {
    Arguments arguments(name, handle);
    shape.check(arguments).need(count >= 0, "a negative number of matrices");
    if (arguments.wrong() || shape.empty()) {
        return arguments.status;
    }
    Coefficient<T> scale(handle, alpha), keep(handle, beta);
    return submit_with_workspace(name, handle, [=] {
        T by = scale.value(name), old = keep.value(name);
        for (int i = 0; i < count; ++i) {
            multiply(name, shape, by, a[i], b[i], old, c[i]);
        }
    });
}

template <typename T>
Status gemm_batched(const char *name, Handle *handle, const Shape &shape, const T *alpha,
                    const T *const *a, const T *const *b, const T *beta, T *const *c, int count) {
    Arguments arguments(name, handle);
    shape.check(arguments).need(count >= 0, "a negative number of matrices");
    if (arguments.wrong() || shape.empty()) {
        return arguments.status;
    }
    Coefficient<T> scale(handle, alpha), keep(handle, beta);
    return submit_with_workspace(name, handle, [=] {
        T by = scale.value(name), old = keep.value(name);
        check_read(a, count, 1, count, std::string(name) + ", the addresses of A");
        check_read(b, count, 1, count, std::string(name) + ", the addresses of B");
        check_read(c, count, 1, count, std::string(name) + ", the addresses of C");
        for (int i = 0; i < count; ++i) {
            multiply(name, shape, by, a[i], b[i], old, c[i]);
        }
    });
}

}  // namespace

#define PRODUCTS(LETTER, T)                                                                      \
    FAKECUDA_EXPORT Status cublas##LETTER##gemm_v2(                                              \
        Handle *handle, Operation op_a, Operation op_b, int m, int n, int k, const T *alpha,     \
        const T *a, int lda, const T *b, int ldb, const T *beta, T *c, int ldc) {                \
        return gemm<T>("cublas" #LETTER "gemm", handle, {op_a, op_b, m, n, k, lda, ldb, ldc},    \
                       alpha, a, b, beta, c);                                                    \
    }                                                                                            \
    FAKECUDA_EXPORT Status cublas##LETTER##gemmStridedBatched(                                   \
        Handle *handle, Operation op_a, Operation op_b, int m, int n, int k, const T *alpha,     \
        const T *a, int lda, long long stride_a, const T *b, int ldb, long long stride_b,        \
        const T *beta, T *c, int ldc, long long stride_c, int count) {                           \
        return gemm_strided<T>("cublas" #LETTER "gemmStridedBatched", handle,                    \
                               {op_a, op_b, m, n, k, lda, ldb, ldc}, alpha, {a, stride_a},       \
                               {b, stride_b}, beta, {c, stride_c}, count);                       \
    }                                                                                            \
    FAKECUDA_EXPORT Status cublas##LETTER##gemmBatched(                                          \
        Handle *handle, Operation op_a, Operation op_b, int m, int n, int k, const T *alpha,     \
        const T *const *a, int lda, const T *const *b, int ldb, const T *beta, T *const *c,      \
        int ldc, int count) {                                                                    \
        return gemm_batched<T>("cublas" #LETTER "gemmBatched", handle,                           \
                               {op_a, op_b, m, n, k, lda, ldb, ldc}, alpha, a, b, beta, c,       \
                               count);                                                           \
    }

PRODUCTS(S, float)
PRODUCTS(D, double)
PRODUCTS(C, std::complex<float>)
PRODUCTS(Z, std::complex<double>)
