// Factorisations of many small matrices, getrfBatched, getrsBatched, getriBatched, and triangles
// stored without their gaps, tpttr and trttp.
#include <vector>

#include "cublas/blas.h"

using namespace fakecuda;
using namespace fakecuda::blas;

namespace {

// The pivots of matrix `i`, from device memory, or those that exchange nothing.
std::vector<int> pivots_of(const char *name, const int *pivots, int n, int i) {
    std::vector<int> result(n);
    if (pivots) {
        check_read(pivots + size_t(i) * n, n, 1, n, std::string(name) + ", the pivots");
        std::copy_n(pivots + size_t(i) * n, n, result.begin());
    } else {
        for (int j = 0; j < n; ++j) {
            result[j] = j + 1;
        }
    }
    return result;
}

template <typename T>
Status getrf(const char *name, Handle *handle, int n, T *const *a, int lda, int *pivots, int *info,
             int count) {
    Arguments arguments(name, handle);
    arguments.sizes(n, count).leading("lda", lda, n);
    if (arguments.wrong()) {
        return arguments.status;
    }
    return submit_with_workspace(name, handle, [=] {
        std::string text(name);
        check_read(a, count, 1, count, text + ", the addresses of A");
        check_write(info, count, 1, count, text + ", info");
        for (int i = 0; i < count; ++i) {
            check_update(a[i], n, n, lda, text + ", A");
            info[i] = 0;
            if (pivots) {
                int *own = pivots + size_t(i) * n;
                check_write(own, n, 1, n, text + ", the pivots");
                lapack<T>("getrf", n, n, a[i], lda, own, info + i);
            } else {
                info[i] = factor_without_pivots(n, n, a[i], lda);
            }
        }
    });
}

template <typename T>
Status getrs(const char *name, Handle *handle, Operation op, int n, int columns, const T *const *a,
             int lda, const int *pivots, T *const *b, int ldb, int *info, int count) {
    Arguments arguments(name, handle);
    arguments.operation(op).sizes(n, columns, count);
    arguments.leading("lda", lda, n).leading("ldb", ldb, n);
    if (info) {  // of the host: whether an argument was wrong
        *info = arguments.wrong() ? -1 : 0;
    }
    if (arguments.wrong() || n == 0 || columns == 0) {
        return arguments.status;
    }
    return submit_with_workspace(name, handle, [=] {
        std::string text(name);
        check_read(a, count, 1, count, text + ", the addresses of A");
        check_read(b, count, 1, count, text + ", the addresses of B");
        for (int i = 0; i < count; ++i) {
            check_read(a[i], n, n, lda, text + ", A");
            check_update(b[i], n, columns, ldb, text + ", B");
            auto order = pivots_of(name, pivots, n, i);
            int failed = 0;
            lapack<T>("getrs", letter(op), n, columns, a[i], lda, order.data(), b[i], ldb,
                      &failed);
        }
    });
}

template <typename T>
Status getri(const char *name, Handle *handle, int n, const T *const *a, int lda,
             const int *pivots, T *const *c, int ldc, int *info, int count) {
    Arguments arguments(name, handle);
    arguments.sizes(n, count).leading("lda", lda, n).leading("ldc", ldc, n);
    if (arguments.wrong()) {
        return arguments.status;
    }
    return submit_with_workspace(name, handle, [=] {
        std::string text(name);
        check_read(a, count, 1, count, text + ", the addresses of A");
        check_read(c, count, 1, count, text + ", the addresses of C");
        check_write(info, count, 1, count, text + ", info");
        std::vector<T> work(size_t(std::max(1, n)) * 64);
        for (int i = 0; i < count; ++i) {
            check_read(a[i], n, n, lda, text + ", A");
            check_write(c[i], n, n, ldc, text + ", C");
            for (int j = 0; j < n; ++j) {
                std::copy_n(a[i] + size_t(j) * lda, n, c[i] + size_t(j) * ldc);
            }
            auto order = pivots_of(name, pivots, n, i);
            info[i] = 0;
            lapack<T>("getri", n, c[i], ldc, order.data(), work.data(), int(work.size()),
                      info + i);
        }
    });
}

// The elements of a triangle column by column, packed or in a matrix: `move` gets both places.
template <typename Move>
void each_of_triangle(Fill fill, int n, int lda, Move move) {
    size_t packed = 0;
    for (int j = 0; j < n; ++j) {
        for (int i = fill == lower ? j : 0; i < (fill == lower ? n : j + 1); ++i) {
            move(packed++, size_t(j) * lda + i);
        }
    }
}

template <typename T>
Status unpack(const char *name, Handle *handle, Fill fill, int n, const T *packed, T *a, int lda) {
    Arguments arguments(name, handle);
    if (arguments.flag(fill).sizes(n).leading("lda", lda, n).wrong()) {
        return arguments.status;
    }
    return submit(name, handle, [=] {
        std::string text(name);
        size_t count = size_t(n) * (n + 1) / 2;
        check_read(packed, count, 1, count, text + ", AP");
        check_triangle(a, fill, n, lda, true, text + ", A");
        each_of_triangle(fill, n, lda, [&](size_t from, size_t to) { a[to] = packed[from]; });
    });
}

template <typename T>
Status pack(const char *name, Handle *handle, Fill fill, int n, const T *a, int lda, T *packed) {
    Arguments arguments(name, handle);
    if (arguments.flag(fill).sizes(n).leading("lda", lda, n).wrong()) {
        return arguments.status;
    }
    return submit(name, handle, [=] {
        std::string text(name);
        size_t count = size_t(n) * (n + 1) / 2;
        check_triangle(a, fill, n, lda, false, text + ", A");
        check_write(packed, count, 1, count, text + ", AP");
        each_of_triangle(fill, n, lda, [&](size_t to, size_t from) { packed[to] = a[from]; });
    });
}

}  // namespace

#define FACTORS(LETTER, T)                                                                        \
    FAKECUDA_EXPORT Status cublas##LETTER##getrfBatched(Handle *handle, int n, T *const *a,       \
                                                        int lda, int *pivots, int *info,          \
                                                        int count) {                              \
        return getrf("cublas" #LETTER "getrfBatched", handle, n, a, lda, pivots, info, count);    \
    }                                                                                             \
    FAKECUDA_EXPORT Status cublas##LETTER##getrsBatched(                                          \
        Handle *handle, Operation op, int n, int columns, const T *const *a, int lda,             \
        const int *pivots, T *const *b, int ldb, int *info, int count) {                          \
        return getrs("cublas" #LETTER "getrsBatched", handle, op, n, columns, a, lda, pivots, b,  \
                     ldb, info, count);                                                           \
    }                                                                                             \
    FAKECUDA_EXPORT Status cublas##LETTER##getriBatched(                                          \
        Handle *handle, int n, const T *const *a, int lda, const int *pivots, T *const *c,        \
        int ldc, int *info, int count) {                                                          \
        return getri("cublas" #LETTER "getriBatched", handle, n, a, lda, pivots, c, ldc, info,    \
                     count);                                                                      \
    }

#define PACKED(LETTER, T)                                                                         \
    FAKECUDA_EXPORT Status cublas##LETTER##tpttr(Handle *handle, Fill fill, int n,                \
                                                 const T *packed, T *a, int lda) {                \
        return unpack("cublas" #LETTER "tpttr", handle, fill, n, packed, a, lda);                 \
    }                                                                                             \
    FAKECUDA_EXPORT Status cublas##LETTER##trttp(Handle *handle, Fill fill, int n, const T *a,    \
                                                 int lda, T *packed) {                            \
        return pack("cublas" #LETTER "trttp", handle, fill, n, a, lda, packed);                   \
    }

FACTORS(S, float)
FACTORS(D, double)
FACTORS(C, std::complex<float>)
FACTORS(Z, std::complex<double>)
PACKED(S, float)
PACKED(D, double)
