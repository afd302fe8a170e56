// Triangular solves, symmetric products, sums and scalings of matrices: trsm, syrk, geam, dgmm.
#include "cublas/blas.h"

using namespace fakecuda;
using namespace fakecuda::blas;

namespace {

struct Triangle {
    Side side;
    Fill fill;
    Operation op;
    Diagonal diagonal;
    int m, n, lda, ldb;

    int order() const { return side == left ? m : n; }
    Arguments &check(Arguments &arguments) const {
        arguments.flag(side).flag(fill).flag(diagonal).operation(op).sizes(m, n);
        return arguments.leading("lda", lda, order()).leading("ldb", ldb, m);
    }
};

template <typename T>
void solve(const char *name, const Triangle &t, T alpha, const T *a, T *b) {
    std::string text(name);
    check_triangle(a, t.fill, t.order(), t.lda, false, text + ", A");
    check_update(b, t.m, t.n, t.ldb, text + ", B");
    lapack<T>("trsm", letter(t.side), letter(t.fill), letter(t.op), letter(t.diagonal), t.m, t.n,
              alpha, a, t.lda, b, t.ldb);
}

template <typename T>
Status trsm(const char *name, Handle *handle, const Triangle &triangle, const T *alpha, const T *a,
            T *b) {
    Arguments arguments(name, handle);
    if (triangle.check(arguments).wrong() || triangle.m == 0 || triangle.n == 0) {
        return arguments.status;
    }
    Coefficient<T> scale(handle, alpha);
    return submit_with_workspace(
        name, handle, [=] { solve(name, triangle, scale.value(name), a, b); });
}

template <typename T>
Status trsm_batched(const char *name, Handle *handle, const Triangle &triangle, const T *alpha,
                    const T *const *a, T *const *b, int count) {
    Arguments arguments(name, handle);
    triangle.check(arguments).need(count >= 0, "a negative number of matrices");
    if (arguments.wrong() || triangle.m == 0 || triangle.n == 0) {
        return arguments.status;
    }
    Coefficient<T> scale(handle, alpha);
    return submit_with_workspace(name, handle, [=] {
        check_read(a, count, 1, count, std::string(name) + ", the addresses of A");
        check_read(b, count, 1, count, std::string(name) + ", the addresses of B");
        T by = scale.value(name);
        for (int i = 0; i < count; ++i) {
            solve(name, triangle, by, a[i], b[i]);
        }
    });
}

template <typename T>
Status syrk(const char *name, Handle *handle, Fill fill, Operation op, int n, int k,
            const T *alpha, const T *a, int lda, const T *beta, T *c, int ldc) {
    Arguments arguments(name, handle);
    int rows = op == op_n ? n : k, columns = op == op_n ? k : n;
    arguments.flag(fill).operation(op).sizes(n, k);
    arguments.need(op != op_c || !is_complex<T>, "CUBLAS_OP_C is for herk");
    arguments.leading("lda", lda, rows).leading("ldc", ldc, n);
    if (arguments.wrong() || n == 0) {
        return arguments.status;
    }
    Coefficient<T> scale(handle, alpha), keep(handle, beta);
    return submit_with_workspace(name, handle, [=] {
        std::string text(name);
        T by = scale.value(name), old = keep.value(name);
        check_read(a, rows, columns, lda, text + ", A");
        if (old != T(0)) {
            check_triangle(c, fill, n, ldc, false, text + ", C");
        }
        check_triangle(c, fill, n, ldc, true, text + ", C");
        lapack<T>("syrk", letter(fill), letter(op), n, k, by, a, lda, old, c, ldc);
    });
}

// An element of op(matrix).
template <typename T>
T element(const T *matrix, Operation op, int leading, int i, int j) {
    if (op == op_n) {
        return matrix[size_t(j) * leading + i];
    }
    T value = matrix[size_t(i) * leading + j];
    if constexpr (is_complex<T>) {
        return op == op_c ? std::conj(value) : value;
    } else {
        return value;
    }
}

// c = alpha * op(a) + beta * op(b). A matrix with the coefficient 0 is not looked at.
template <typename T>
Status geam(const char *name, Handle *handle, Operation op_a, Operation op_b, int m, int n,
            const T *alpha, const T *a, int lda, const T *beta, const T *b, int ldb, T *c,
            int ldc) {
    Arguments arguments(name, handle);
    arguments.operation(op_a).operation(op_b).sizes(m, n);
    arguments.leading("lda", lda, op_a == op_n ? m : n).leading("ldb", ldb, op_b == op_n ? m : n);
    arguments.leading("ldc", ldc, m);
    arguments.need(c != a || (op_a == op_n && lda == ldc), "A in place is transposed or wider");
    arguments.need(c != b || (op_b == op_n && ldb == ldc), "B in place is transposed or wider");
    if (arguments.wrong() || m == 0 || n == 0) {
        return arguments.status;
    }
    Coefficient<T> first(handle, alpha), second(handle, beta);
    return submit(name, handle, [=] {
        std::string text(name);
        T by_a = first.value(name), by_b = second.value(name);
        bool with_a = by_a != T(0), with_b = by_b != T(0);
        if (with_a) {
            check_read(a, op_a == op_n ? m : n, op_a == op_n ? n : m, lda, text + ", A");
        }
        if (with_b) {
            check_read(b, op_b == op_n ? m : n, op_b == op_n ? n : m, ldb, text + ", B");
        }
        check_write(c, m, n, ldc, text + ", C");
        for (int j = 0; j < n; ++j) {
            for (int i = 0; i < m; ++i) {
                T left = with_a ? by_a * element(a, op_a, lda, i, j) : T(0);
                T right = with_b ? by_b * element(b, op_b, ldb, i, j) : T(0);
                c[size_t(j) * ldc + i] = left + right;
            }
        }
    });
}

// The rows of a matrix (left) or its columns, each times an element of x.
template <typename T>
Status dgmm(const char *name, Handle *handle, Side side, int m, int n, const T *a, int lda,
            const T *x, int step, T *c, int ldc) {
    Arguments arguments(name, handle);
    arguments.flag(side).sizes(m, n).leading("lda", lda, m).leading("ldc", ldc, m);
    if (arguments.wrong() || m == 0 || n == 0) {
        return arguments.status;
    }
    return submit(name, handle, [=] {
        std::string text(name);
        int length = side == left ? m : n;
        check_read(a, m, n, lda, text + ", A");
        check_vector(x, length, step, false, text + ", x");
        check_write(c, m, n, ldc, text + ", C");
        const T *first = step < 0 ? x - (long long)(length - 1) * step : x;
        for (int j = 0; j < n; ++j) {
            for (int i = 0; i < m; ++i) {
                T factor = first[(long long)(side == left ? i : j) * step];
                c[size_t(j) * ldc + i] = a[size_t(j) * lda + i] * factor;
            }
        }
    });
}

}  // namespace

#define MATRICES(LETTER, T)                                                                       \
    FAKECUDA_EXPORT Status cublas##LETTER##trsm_v2(                                               \
        Handle *handle, Side side, Fill fill, Operation op, Diagonal diagonal, int m, int n,      \
        const T *alpha, const T *a, int lda, T *b, int ldb) {                                     \
        return trsm("cublas" #LETTER "trsm", handle, {side, fill, op, diagonal, m, n, lda, ldb},  \
                    alpha, a, b);                                                                 \
    }                                                                                             \
    FAKECUDA_EXPORT Status cublas##LETTER##trsmBatched(                                           \
        Handle *handle, Side side, Fill fill, Operation op, Diagonal diagonal, int m, int n,      \
        const T *alpha, const T *const *a, int lda, T *const *b, int ldb, int count) {            \
        return trsm_batched("cublas" #LETTER "trsmBatched", handle,                               \
                            {side, fill, op, diagonal, m, n, lda, ldb}, alpha, a, b, count);      \
    }                                                                                             \
    FAKECUDA_EXPORT Status cublas##LETTER##syrk_v2(                                               \
        Handle *handle, Fill fill, Operation op, int n, int k, const T *alpha, const T *a,        \
        int lda, const T *beta, T *c, int ldc) {                                                  \
        return syrk("cublas" #LETTER "syrk", handle, fill, op, n, k, alpha, a, lda, beta, c,      \
                    ldc);                                                                         \
    }                                                                                             \
    FAKECUDA_EXPORT Status cublas##LETTER##geam(                                                  \
        Handle *handle, Operation op_a, Operation op_b, int m, int n, const T *alpha, const T *a, \
        int lda, const T *beta, const T *b, int ldb, T *c, int ldc) {                             \
        return geam("cublas" #LETTER "geam", handle, op_a, op_b, m, n, alpha, a, lda, beta, b,    \
                    ldb, c, ldc);                                                                 \
    }                                                                                             \
    FAKECUDA_EXPORT Status cublas##LETTER##dgmm(Handle *handle, Side side, int m, int n,          \
                                                const T *a, int lda, const T *x, int step, T *c,  \
                                                int ldc) {                                        \
        return dgmm("cublas" #LETTER "dgmm", handle, side, m, n, a, lda, x, step, c, ldc);        \
    }

MATRICES(S, float)
MATRICES(D, double)
MATRICES(C, std::complex<float>)
MATRICES(Z, std::complex<double>)
