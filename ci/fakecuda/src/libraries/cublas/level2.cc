// A matrix and vectors: gemv, ger, sbmv.
#include "cublas/blas.h"

using namespace fakecuda;
using namespace fakecuda::blas;

namespace {

template <typename T>
Status gemv(const char *name, Handle *handle, Operation op, int m, int n, const T *alpha,
            const T *a, int lda, const T *x, int step_x, const T *beta, T *y, int step_y) {
    Arguments arguments(name, handle);
    arguments.operation(op).sizes(m, n).leading("lda", lda, m).step(step_x).step(step_y);
    if (arguments.wrong() || m == 0 || n == 0) {
        return arguments.status;
    }
    Coefficient<T> scale(handle, alpha), keep(handle, beta);
    return submit_with_workspace(name, handle, [=] {
        std::string text(name);
        T by = scale.value(name), old = keep.value(name);
        int inner = op == op_n ? n : m, outer = op == op_n ? m : n;
        check_read(a, m, n, lda, text + ", A");
        check_vector(x, inner, step_x, false, text + ", x");
        if (old != T(0)) {
            check_vector(y, outer, step_y, false, text + ", y");
        }
        check_vector(y, outer, step_y, true, text + ", y");
        lapack<T>("gemv", letter(op), m, n, by, a, lda, x, step_x, old, y, step_y);
    });
}

template <typename T>
Status ger(const char *name, const char *routine, Handle *handle, int m, int n, const T *alpha,
           const T *x, int step_x, const T *y, int step_y, T *a, int lda) {
    Arguments arguments(name, handle);
    arguments.sizes(m, n).leading("lda", lda, m).step(step_x).step(step_y);
    if (arguments.wrong() || m == 0 || n == 0) {
        return arguments.status;
    }
    Coefficient<T> scale(handle, alpha);
    return submit(name, handle, [=] {
        std::string text(name);
        T by = scale.value(name);
        check_vector(x, m, step_x, false, text + ", x");
        check_vector(y, n, step_y, false, text + ", y");
        check_update(a, m, n, lda, text + ", A");
        lapack<T>(routine, m, n, by, x, step_x, y, step_y, a, lda);
    });
}

// A symmetric matrix of which the k diagonals beside the main one are given.
template <typename T>
Status sbmv(const char *name, Handle *handle, Fill fill, int n, int k, const T *alpha, const T *a,
            int lda, const T *x, int step_x, const T *beta, T *y, int step_y) {
    Arguments arguments(name, handle);
    arguments.flag(fill).sizes(n, k).leading("lda", lda, k + 1).step(step_x).step(step_y);
    if (arguments.wrong() || n == 0) {
        return arguments.status;
    }
    Coefficient<T> scale(handle, alpha), keep(handle, beta);
    return submit(name, handle, [=] {
        std::string text(name);
        T by = scale.value(name), old = keep.value(name);
        for (int j = 0; j < n; ++j) {  // without the corner that no diagonal reaches
            int missing = fill == upper ? std::max(0, k - j) : std::max(0, k - (n - 1 - j));
            const T *column = a + size_t(j) * lda + (fill == upper ? missing : 0);
            check_memory(column, (k + 1 - missing) * sizeof(T), false, text + ", A");
        }
        check_vector(x, n, step_x, false, text + ", x");
        if (old != T(0)) {
            check_vector(y, n, step_y, false, text + ", y");
        }
        check_vector(y, n, step_y, true, text + ", y");
        lapack<T>("sbmv", letter(fill), n, k, by, a, lda, x, step_x, old, y, step_y);
    });
}

}  // namespace

#define GEMV(LETTER, T)                                                                           \
    FAKECUDA_EXPORT Status cublas##LETTER##gemv_v2(                                               \
        Handle *handle, Operation op, int m, int n, const T *alpha, const T *a, int lda,          \
        const T *x, int step_x, const T *beta, T *y, int step_y) {                                \
        return gemv("cublas" #LETTER "gemv", handle, op, m, n, alpha, a, lda, x, step_x, beta, y, \
                    step_y);                                                                      \
    }

#define GER(LETTER, ROUTINE, T)                                                                   \
    FAKECUDA_EXPORT Status cublas##LETTER##ROUTINE##_v2(Handle *handle, int m, int n,             \
                                                        const T *alpha, const T *x, int step_x,   \
                                                        const T *y, int step_y, T *a, int lda) {  \
        return ger("cublas" #LETTER #ROUTINE, #ROUTINE, handle, m, n, alpha, x, step_x, y,        \
                   step_y, a, lda);                                                               \
    }

#define SBMV(LETTER, T)                                                                           \
    FAKECUDA_EXPORT Status cublas##LETTER##sbmv_v2(                                               \
        Handle *handle, Fill fill, int n, int k, const T *alpha, const T *a, int lda, const T *x, \
        int step_x, const T *beta, T *y, int step_y) {                                            \
        return sbmv("cublas" #LETTER "sbmv", handle, fill, n, k, alpha, a, lda, x, step_x, beta,  \
                    y, step_y);                                                                   \
    }

GEMV(S, float)
GEMV(D, double)
GEMV(C, std::complex<float>)
GEMV(Z, std::complex<double>)
GER(S, ger, float)
GER(D, ger, double)
GER(C, geru, std::complex<float>)
GER(C, gerc, std::complex<float>)
GER(Z, geru, std::complex<double>)
GER(Z, gerc, std::complex<double>)
SBMV(S, float)
SBMV(D, double)
