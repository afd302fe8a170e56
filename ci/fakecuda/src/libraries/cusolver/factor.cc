// Factorisations and what is solved with them: potrf, potrs, their batched forms, getrf, getrs.
#include "cusolver/solver.h"

using namespace fakecuda;
using namespace fakecuda::solver;

namespace {

Status size_of_work(const char *name, Handle *handle, long long m, long long n, int lda,
                    int *size) {
    Arguments arguments(name, handle);
    if (!arguments.sizes(m, n).leading("lda", lda, m).wrong()) {
        *size = work_size(m, n);
    }
    return arguments.status;
}

template <typename T>
int cholesky(const char *name, Fill fill, int n, T *a, int lda) {
    check_triangle(a, fill, n, lda, false, std::string(name) + ", A");
    check_triangle(a, fill, n, lda, true, std::string(name) + ", A");
    int info = 0;
    lapack<T>("potrf", letter(fill), n, a, lda, &info);
    return info;
}

template <typename T>
void solve_cholesky(const char *name, Fill fill, int n, int columns, const T *a, int lda, T *b,
                    int ldb) {
    check_triangle(a, fill, n, lda, false, std::string(name) + ", A");
    check_update(b, n, columns, ldb, std::string(name) + ", B");
    int info = 0;
    lapack<T>("potrs", letter(fill), n, columns, a, lda, b, ldb, &info);
}

template <typename T>
Status potrf(const char *name, Handle *handle, Fill fill, int n, T *a, int lda, T *work,
             int size, int *info) {
    Arguments arguments(name, handle);
    arguments.flag(fill).sizes(n).leading("lda", lda, n);
    arguments.need(size >= work_size(n), "the workspace is too small");
    if (arguments.wrong()) {
        return arguments.status;
    }
    return submit(name, handle, [=] {
        check_work(name, work, work_size(n));
        check_info(name, info);
        *info = cholesky(name, fill, n, a, lda);
    });
}

template <typename T>
Status potrs(const char *name, Handle *handle, Fill fill, int n, int columns, const T *a, int lda,
             T *b, int ldb, int *info) {
    Arguments arguments(name, handle);
    arguments.flag(fill).sizes(n, columns).leading("lda", lda, n).leading("ldb", ldb, n);
    if (arguments.wrong()) {
        return arguments.status;
    }
    return submit(name, handle, [=] {
        check_info(name, info);
        solve_cholesky(name, fill, n, columns, a, lda, b, ldb);
        *info = 0;
    });
}

template <typename T>
Status potrf_batched(const char *name, Handle *handle, Fill fill, int n, T **a, int lda,
                     int *info, int count) {
    Arguments arguments(name, handle);
    if (arguments.flag(fill).sizes(n, count).leading("lda", lda, n).wrong()) {
        return arguments.status;
    }
    return submit(name, handle, [=] {
        check_info(name, info, count);
        check_read(a, count, 1, count, std::string(name) + ", the addresses of A");
        for (int i = 0; i < count; ++i) {
            info[i] = cholesky(name, fill, n, a[i], lda);
        }
    });
}

template <typename T>
Status potrs_batched(const char *name, Handle *handle, Fill fill, int n, int columns, T **a,
                     int lda, T **b, int ldb, int *info, int count) {
    Arguments arguments(name, handle);
    arguments.flag(fill).sizes(n, count).leading("lda", lda, n).leading("ldb", ldb, n);
    arguments.need(columns == 1, "only one right-hand side is supported");
    if (arguments.wrong()) {
        return arguments.status;
    }
    return submit(name, handle, [=] {
        check_info(name, info);
        check_read(a, count, 1, count, std::string(name) + ", the addresses of A");
        check_read(b, count, 1, count, std::string(name) + ", the addresses of B");
        for (int i = 0; i < count; ++i) {
            solve_cholesky(name, fill, n, columns, a[i], lda, b[i], ldb);
        }
        *info = 0;
    });
}

template <typename T>
Status getrf(const char *name, Handle *handle, int m, int n, T *a, int lda, T *work, int *pivots,
             int *info) {
    Arguments arguments(name, handle);
    if (arguments.sizes(m, n).leading("lda", lda, m).wrong()) {
        return arguments.status;
    }
    return submit(name, handle, [=] {
        check_work(name, work, work_size(m, n));
        check_info(name, info);
        check_update(a, m, n, lda, std::string(name) + ", A");
        if (!pivots) {
            *info = factor_without_pivots(m, n, a, lda);
            return;
        }
        int count = std::min(m, n);
        check_write(pivots, count, 1, count, std::string(name) + ", the pivots");
        *info = 0;
        lapack<T>("getrf", m, n, a, lda, pivots, info);
    });
}

template <typename T>
Status getrs(const char *name, Handle *handle, Operation op, int n, int columns, const T *a,
             int lda, const int *pivots, T *b, int ldb, int *info) {
    Arguments arguments(name, handle);
    arguments.operation(op).sizes(n, columns).leading("lda", lda, n).leading("ldb", ldb, n);
    if (arguments.wrong()) {
        return arguments.status;
    }
    return submit(name, handle, [=] {
        check_info(name, info);
        check_read(a, n, n, lda, std::string(name) + ", A");
        check_update(b, n, columns, ldb, std::string(name) + ", B");
        std::vector<int> order(n);
        if (pivots) {
            check_read(pivots, n, 1, n, std::string(name) + ", the pivots");
            order.assign(pivots, pivots + n);
        } else {
            for (int i = 0; i < n; ++i) {
                order[i] = i + 1;
            }
        }
        *info = 0;
        lapack<T>("getrs", letter(op), n, columns, a, lda, order.data(), b, ldb, info);
    });
}

}  // namespace

#define FACTORS(LETTER, T)                                                                        \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##potrf_bufferSize(Handle *handle, Fill, int n,      \
                                                                T *, int lda, int *size) {        \
        return size_of_work("cusolverDn" #LETTER "potrf_bufferSize", handle, n, 1, lda, size);    \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##potrf(Handle *handle, Fill fill, int n, T *a,      \
                                                     int lda, T *work, int size, int *info) {     \
        return potrf("cusolverDn" #LETTER "potrf", handle, fill, n, a, lda, work, size, info);    \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##potrs(Handle *handle, Fill fill, int n,            \
                                                     int columns, const T *a, int lda, T *b,      \
                                                     int ldb, int *info) {                        \
        return potrs("cusolverDn" #LETTER "potrs", handle, fill, n, columns, a, lda, b, ldb,      \
                     info);                                                                       \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##potrfBatched(                                      \
        Handle *handle, Fill fill, int n, T **a, int lda, int *info, int count) {                 \
        return potrf_batched("cusolverDn" #LETTER "potrfBatched", handle, fill, n, a, lda, info,  \
                             count);                                                              \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##potrsBatched(                                      \
        Handle *handle, Fill fill, int n, int columns, T **a, int lda, T **b, int ldb, int *info, \
        int count) {                                                                              \
        return potrs_batched("cusolverDn" #LETTER "potrsBatched", handle, fill, n, columns, a,    \
                             lda, b, ldb, info, count);                                           \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##getrf_bufferSize(Handle *handle, int m, int n,     \
                                                                T *, int lda, int *size) {        \
        return size_of_work("cusolverDn" #LETTER "getrf_bufferSize", handle, m, n, lda, size);    \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##getrf(Handle *handle, int m, int n, T *a, int lda, \
                                                     T *work, int *pivots, int *info) {           \
        return getrf("cusolverDn" #LETTER "getrf", handle, m, n, a, lda, work, pivots, info);     \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##getrs(                                             \
        Handle *handle, Operation op, int n, int columns, const T *a, int lda, const int *pivots, \
        T *b, int ldb, int *info) {                                                               \
        return getrs("cusolverDn" #LETTER "getrs", handle, op, n, columns, a, lda, pivots, b,     \
                     ldb, info);                                                                  \
    }

FACTORS(S, float)
FACTORS(D, double)
FACTORS(C, std::complex<float>)
FACTORS(Z, std::complex<double>)
