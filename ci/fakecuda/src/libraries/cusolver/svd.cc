// Singular values: gesvd, and the Jacobi methods gesvdj, gesvdjBatched, gesvdaStridedBatched.
#include "cusolver/solver.h"

using namespace fakecuda;
using namespace fakecuda::solver;

namespace {

// LAPACK's gesvd, which destroys A. Returns its info.
template <typename T>
int decompose(char job_u, char job_v, int m, int n, T *a, int lda, Real<T> *s, T *u, int ldu,
              T *vt, int ldvt) {
    if (m == 0 || n == 0) {
        return 0;
    }
    T best{};
    int info = 0, size = -1;
    std::vector<Real<T>> real_work(5 * std::min(m, n));
    std::vector<T> work(1);
    auto call = [&](T *place) {
        if constexpr (is_complex<T>) {
            lapack<T>("gesvd", job_u, job_v, m, n, a, lda, s, u, ldu, vt, ldvt, place, size,
                      real_work.data(), &info);
        } else {
            lapack<T>("gesvd", job_u, job_v, m, n, a, lda, s, u, ldu, vt, ldvt, place, size,
                      &info);
        }
    };
    call(&best);
    size = std::max(1, int(std::real(best)));
    work.resize(size);
    call(work.data());
    return info;
}

int vectors_of(char job, int length, int count) {
    return job == 'A' ? length : job == 'S' ? count : 0;
}

template <typename T>
Status gesvd(const char *name, Handle *handle, char job_u, char job_v, int m, int n, T *a, int lda,
             Real<T> *s, T *u, int ldu, T *vt, int ldvt, T *work, int size, int *info) {
    Arguments arguments(name, handle);
    int count = std::min(m, n);
    auto job = [](char c) { return c == 'A' || c == 'S' || c == 'O' || c == 'N'; };
    arguments.sizes(m, n).need(m >= n, "fewer rows than columns, which gesvd does not support");
    arguments.need(job(job_u) && job(job_v), "not a job").leading("lda", lda, m);
    arguments.need(job_u != 'O' || job_v != 'O', "two results in the place of A");
    int columns_u = vectors_of(job_u, m, count), rows_v = vectors_of(job_v, n, count);
    arguments.leading("ldu", ldu, columns_u ? m : 1).leading("ldvt", ldvt, rows_v);
    arguments.need(size >= work_size(m, n), "the workspace is too small");
    if (arguments.wrong()) {
        return arguments.status;
    }
    return submit(name, handle, [=] {
        std::string text(name);
        check_work(name, work, work_size(m, n));
        check_info(name, info);
        check_update(a, m, n, lda, text + ", A");
        check_write(s, count, 1, count, text + ", S");
        check_write(u, columns_u ? m : 0, columns_u, ldu, text + ", U");
        check_write(vt, rows_v, rows_v ? n : 0, ldvt, text + ", VT");
        *info = decompose(job_u, job_v, m, n, a, lda, s, u, ldu, vt, ldvt);
    });
}

// The places of one decomposition into U, S and V (not its transpose).
template <typename T>
struct Decomposition {
    Vectors job;
    int m, n, columns_u, columns_v;
    T *a;
    int lda;
    Real<T> *s;
    T *u;
    int ldu;
    T *v;
    int ldv;

    // `values` is how many singular values are wanted.
    int run(const char *name, int values, bool keep_a) const {
        std::string text(name);
        int count = std::min(m, n);
        check_read(a, m, n, lda, text + ", A");
        if (!keep_a) {
            check_write(a, m, n, lda, text + ", A");
        }
        check_write(s, values, 1, values, text + ", S");
        std::vector<T> copy(size_t(m) * n), left, right;
        for (int j = 0; j < n; ++j) {
            std::copy_n(a + size_t(j) * lda, m, copy.begin() + size_t(j) * m);
        }
        std::vector<Real<T>> all(count);
        char letter = job == with_vectors ? 'A' : 'N';
        if (job == with_vectors) {
            check_write(u, m, columns_u, ldu, text + ", U");
            check_write(v, n, columns_v, ldv, text + ", V");
            left.resize(size_t(m) * m);
            right.resize(size_t(n) * n);
        }
        int info = decompose(letter, letter, m, n, copy.data(), std::max(1, m), all.data(),
                             left.data(), std::max(1, m), right.data(), std::max(1, n));
        std::copy_n(all.begin(), values, s);
        if (job == with_vectors) {
            store(left, right);
        }
        return info;
    }

private:
    void store(const std::vector<T> &left, const std::vector<T> &right) const {
        for (int j = 0; j < columns_u; ++j) {
            std::copy_n(left.begin() + size_t(j) * m, m, u + size_t(j) * ldu);
        }
        for (int j = 0; j < columns_v; ++j) {
            for (int i = 0; i < n; ++i) {
                T value = right[size_t(i) * n + j];
                if constexpr (is_complex<T>) {
                    value = std::conj(value);
                }
                v[size_t(j) * ldv + i] = value;
            }
        }
    }
};

template <typename T>
Status gesvdj(const char *name, Handle *handle, int economic, const Decomposition<T> &whole,
              T *work, int size, int *info) {
    Arguments arguments(name, handle);
    Decomposition<T> d = whole;
    int count = std::min(d.m, d.n);
    d.columns_u = economic ? count : d.m;
    d.columns_v = economic ? count : d.n;
    arguments.flag(d.job).sizes(d.m, d.n).leading("lda", d.lda, d.m);
    if (d.job == with_vectors) {
        arguments.leading("ldu", d.ldu, d.m).leading("ldv", d.ldv, d.n);
    }
    arguments.need(size >= work_size(d.m, d.n), "the workspace is too small");
    if (arguments.wrong()) {
        return arguments.status;
    }
    return submit(name, handle, [=] {
        check_work(name, work, work_size(d.m, d.n));
        check_info(name, info);
        *info = d.run(name, count, false);
    });
}

template <typename T>
Status gesvdj_batched(const char *name, Handle *handle, const Decomposition<T> &first, T *work,
                      int size, int *info, int batch) {
    Arguments arguments(name, handle);
    int m = first.m, n = first.n;
    arguments.flag(first.job).sizes(m, n, batch).leading("lda", first.lda, m);
    arguments.need(m <= 32 && n <= 32, "matrices larger than 32 by 32");
    if (first.job == with_vectors) {
        arguments.leading("ldu", first.ldu, m).leading("ldv", first.ldv, n);
    }
    arguments.need(size >= work_size(m, n), "the workspace is too small");
    if (arguments.wrong()) {
        return arguments.status;
    }
    return submit(name, handle, [=] {
        check_work(name, work, work_size(m, n));
        check_info(name, info, batch);
        Decomposition<T> d = first;
        d.columns_u = m;
        d.columns_v = n;
        for (int i = 0; i < batch; ++i) {
            info[i] = d.run(name, std::min(m, n), false);
            d.a += size_t(d.lda) * n;
            d.s += std::min(m, n);
            d.u += d.job == with_vectors ? size_t(d.ldu) * m : 0;
            d.v += d.job == with_vectors ? size_t(d.ldv) * n : 0;
        }
    });
}

// The largest `rank` singular values of tall matrices.
template <typename T>
Status gesvda(const char *name, Handle *handle, int rank, const Decomposition<T> &first,
              long long stride_a, long long stride_s, long long stride_u, long long stride_v,
              T *work, int size, int *info, double *residuals, int batch) {
    Arguments arguments(name, handle);
    int m = first.m, n = first.n;
    arguments.flag(first.job).sizes(m, n, batch).leading("lda", first.lda, m);
    arguments.need(m >= n, "fewer rows than columns").need(rank >= 0 && rank <= n, "a wrong rank");
    if (first.job == with_vectors) {
        arguments.leading("ldu", first.ldu, m).leading("ldv", first.ldv, n);
    }
    arguments.need(size >= work_size(m, n), "the workspace is too small");
    if (arguments.wrong()) {
        return arguments.status;
    }
    if (residuals) {  // of the host; LAPACK leaves none worth speaking of
        std::fill_n(residuals, batch, 0.0);
    }
    return submit(name, handle, [=] {
        check_work(name, work, work_size(m, n));
        check_info(name, info, batch);
        Decomposition<T> d = first;
        d.columns_u = d.columns_v = rank;
        for (int i = 0; i < batch; ++i) {
            info[i] = d.run(name, rank, true);
            d.a += stride_a;
            d.s += stride_s;
            d.u += stride_u;
            d.v += stride_v;
        }
    });
}

Status size_of_work(const char *name, Handle *handle, int m, int n, int *size) {
    Arguments arguments(name, handle);
    if (!arguments.sizes(m, n).wrong()) {
        *size = work_size(m, n);
    }
    return arguments.status;
}

}  // namespace

#define SVD(LETTER, T)                                                                            \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##gesvd_bufferSize(Handle *handle, int m, int n,     \
                                                                int *size) {                      \
        return size_of_work("cusolverDn" #LETTER "gesvd_bufferSize", handle, m, n, size);         \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##gesvd(                                             \
        Handle *handle, signed char job_u, signed char job_v, int m, int n, T *a, int lda,        \
        Real<T> *s, T *u, int ldu, T *vt, int ldvt, T *work, int size, Real<T> *, int *info) {    \
        return gesvd<T>("cusolverDn" #LETTER "gesvd", handle, job_u, job_v, m, n, a, lda, s, u,   \
                        ldu, vt, ldvt, work, size, info);                                         \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##gesvdj_bufferSize(                                 \
        Handle *handle, Vectors, int, int m, int n, const T *, int, const Real<T> *, const T *,   \
        int, const T *, int, int *size, JacobiInfo *) {                                           \
        return size_of_work("cusolverDn" #LETTER "gesvdj_bufferSize", handle, m, n, size);        \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##gesvdj(                                            \
        Handle *handle, Vectors job, int economic, int m, int n, T *a, int lda, Real<T> *s, T *u, \
        int ldu, T *v, int ldv, T *work, int size, int *info, JacobiInfo *) {                     \
        Decomposition<T> d{job, m, n, 0, 0, a, lda, s, u, ldu, v, ldv};                           \
        return gesvdj("cusolverDn" #LETTER "gesvdj", handle, economic, d, work, size, info);      \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##gesvdjBatched_bufferSize(                          \
        Handle *handle, Vectors, int m, int n, const T *, int, const Real<T> *, const T *, int,   \
        const T *, int, int *size, JacobiInfo *, int) {                                           \
        return size_of_work("cusolverDn" #LETTER "gesvdjBatched_bufferSize", handle, m, n, size); \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##gesvdjBatched(                                     \
        Handle *handle, Vectors job, int m, int n, T *a, int lda, Real<T> *s, T *u, int ldu,      \
        T *v, int ldv, T *work, int size, int *info, JacobiInfo *, int batch) {                   \
        Decomposition<T> d{job, m, n, 0, 0, a, lda, s, u, ldu, v, ldv};                           \
        return gesvdj_batched("cusolverDn" #LETTER "gesvdjBatched", handle, d, work, size, info,  \
                              batch);                                                             \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##gesvdaStridedBatched_bufferSize(                   \
        Handle *handle, Vectors, int, int m, int n, const T *, int, long long, const Real<T> *,   \
        long long, const T *, int, long long, const T *, int, long long, int *size, int) {        \
        return size_of_work("cusolverDn" #LETTER "gesvdaStridedBatched_bufferSize", handle, m, n, \
                            size);                                                                \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##gesvdaStridedBatched(                              \
        Handle *handle, Vectors job, int rank, int m, int n, const T *a, int lda,                 \
        long long stride_a, Real<T> *s, long long stride_s, T *u, int ldu, long long stride_u,    \
        T *v, int ldv, long long stride_v, T *work, int size, int *info, double *residuals,       \
        int batch) {                                                                              \
        Decomposition<T> d{job, m, n, 0, 0, const_cast<T *>(a), lda, s, u, ldu, v, ldv};          \
        return gesvda("cusolverDn" #LETTER "gesvdaStridedBatched", handle, rank, d, stride_a,     \
                      stride_s, stride_u, stride_v, work, size, info, residuals, batch);          \
    }

SVD(S, float)
SVD(D, double)
SVD(C, std::complex<float>)
SVD(Z, std::complex<double>)
