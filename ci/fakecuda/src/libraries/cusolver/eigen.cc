// Eigenvalues: syevd (heevd), the Jacobi method syevj and its batched form, and the 64-bit
// functions Xsyevd and Xgeev.
#include "cusolver/solver.h"

using namespace fakecuda;
using namespace fakecuda::solver;

namespace {

// Eigenvalues in ascending order; the vectors take A's place. Returns LAPACK's info.
template <typename T>
int symmetric(const char *name, Vectors job, Fill fill, int n, T *a, int lda, Real<T> *w) {
    check_triangle(a, fill, n, lda, false, std::string(name) + ", A");
    check_write(a, n, n, lda, std::string(name) + ", A");
    check_write(w, n, 1, n, std::string(name) + ", W");
    if (n == 0) {
        return 0;
    }
    char letter_of_job = job == with_vectors ? 'V' : 'N';
    T best{};
    Real<T> best_real{};
    int best_int = 0, size = -1, size_real = -1, size_int = -1, info = 0;
    auto call = [&](T *work, Real<T> *real_work, int *int_work) {
        if constexpr (is_complex<T>) {
            lapack<T>("heevd", letter_of_job, letter(fill), n, a, lda, w, work, size, real_work,
                      size_real, int_work, size_int, &info);
        } else {
            lapack<T>("syevd", letter_of_job, letter(fill), n, a, lda, w, work, size, int_work,
                      size_int, &info);
        }
    };
    call(&best, &best_real, &best_int);
    size = int(std::real(best));
    size_real = int(best_real);
    size_int = best_int;
    std::vector<T> work(std::max(1, size));
    std::vector<Real<T>> real_work(std::max(1, size_real));
    std::vector<int> int_work(std::max(1, size_int));
    call(work.data(), real_work.data(), int_work.data());
    return info;
}

template <typename T>
Status syevd(const char *name, Handle *handle, Vectors job, Fill fill, int n, T *a, int lda,
             Real<T> *w, T *work, int size, int *info) {
    Arguments arguments(name, handle);
    arguments.flag(job).flag(fill).sizes(n).leading("lda", lda, n);
    arguments.need(size >= work_size(n), "the workspace is too small");
    if (arguments.wrong()) {
        return arguments.status;
    }
    return submit(name, handle, [=] {
        check_work(name, work, work_size(n));
        check_info(name, info);
        *info = symmetric(name, job, fill, n, a, lda, w);
    });
}

template <typename T>
Status syevj_batched(const char *name, Handle *handle, Vectors job, Fill fill, int n, T *a,
                     int lda, Real<T> *w, T *work, int size, int *info, int batch) {
    Arguments arguments(name, handle);
    arguments.flag(job).flag(fill).sizes(n, batch).leading("lda", lda, n);
    arguments.need(size >= work_size(n), "the workspace is too small");
    if (arguments.wrong()) {
        return arguments.status;
    }
    return submit(name, handle, [=] {
        check_work(name, work, work_size(n));
        check_info(name, info, batch);
        for (int i = 0; i < batch; ++i) {
            info[i] = symmetric(name, job, fill, n, a + size_t(i) * lda * n, lda,
                                w + size_t(i) * n);
        }
    });
}

Status size_of_work(const char *name, Handle *handle, int n, int *size) {
    Arguments arguments(name, handle);
    if (!arguments.sizes(n).wrong()) {
        *size = work_size(n);
    }
    return arguments.status;
}

// Eigenvalues of any matrix, and its right eigenvectors: of a real matrix in LAPACK's form, in
// which a complex pair has two columns, the real parts and the imaginary ones.
template <typename T>
int general(const char *name, Vectors job, int n, T *a, int lda, std::complex<Real<T>> *w, T *v,
            int ldv) {
    std::string text(name);
    check_update(a, n, n, lda, text + ", A");
    check_write(w, n, 1, n, text + ", W");
    if (job == with_vectors) {
        check_write(v, n, n, ldv, text + ", VR");
    }
    if (n == 0) {
        return 0;
    }
    char none = 'N', letter_of_job = job == with_vectors ? 'V' : 'N';
    T *left = nullptr;
    if constexpr (is_complex<T>) {
        std::vector<Real<T>> real_work(2 * n);
        std::vector<T> work(size_t(n) * 64);
        int size = int(work.size()), info = 0;
        lapack<T>("geev", none, letter_of_job, n, a, lda, w, left, 1, v, ldv, work.data(), size,
                  real_work.data(), &info);
        return info;
    } else {
        std::vector<T> real(n), imaginary(n);
        int info = with_workspace<T>("geev", none, letter_of_job, n, a, lda, real.data(),
                                     imaginary.data(), left, 1, v, ldv);
        for (int i = 0; i < n; ++i) {
            w[i] = {real[i], imaginary[i]};
        }
        return info;
    }
}

// What the 64-bit functions have in common: the types of A and W, and two workspaces in bytes.
struct Workspaces {
    void *device;
    size_t device_bytes;
    void *host;
    size_t host_bytes;

    static constexpr size_t host_needed = 16;
    static size_t device_needed(long long n) { return size_t(work_size(n)) * 16; }

    void check(Arguments &arguments, long long n) const {
        arguments.need(device_bytes >= device_needed(n), "the device's workspace is too small");
        arguments.need(host && host_bytes >= host_needed, "the host's workspace is too small");
    }
};

Status sizes_of_work(const char *name, Handle *handle, long long n, size_t *device, size_t *host) {
    Arguments arguments(name, handle);
    if (!arguments.sizes(n).wrong()) {
        *device = Workspaces::device_needed(n);
        *host = Workspaces::host_needed;
    }
    return arguments.status;
}

Status wrong_types(const char *name, int type_a, int type_w) {
    return refuse(not_supported, std::string(name) + ": not with A of type " +
                                     std::to_string(type_a) + " and W of type " +
                                     std::to_string(type_w));
}

// Calls `function` with a null pointer to the type of A.
template <typename Function>
Status with_type(int type, Function function) {
    switch (type) {
        case r_32f: return function(static_cast<float *>(nullptr));
        case r_64f: return function(static_cast<double *>(nullptr));
        case c_32f: return function(static_cast<std::complex<float> *>(nullptr));
        default: return function(static_cast<std::complex<double> *>(nullptr));
    }
}

bool known(int type) { return type == r_32f || type == r_64f || type == c_32f || type == c_64f; }
int real_type(int type) { return type & ~4; }
int complex_type(int type) { return type | 4; }

}  // namespace

#define EIGEN(LETTER, SY, T)                                                                      \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##SY##evd_bufferSize(                                \
        Handle *handle, Vectors, Fill, int n, const T *, int, const Real<T> *, int *size) {       \
        return size_of_work("cusolverDn" #LETTER #SY "evd_bufferSize", handle, n, size);          \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##SY##evd(                                           \
        Handle *handle, Vectors job, Fill fill, int n, T *a, int lda, Real<T> *w, T *work,        \
        int size, int *info) {                                                                    \
        return syevd("cusolverDn" #LETTER #SY "evd", handle, job, fill, n, a, lda, w, work, size, \
                     info);                                                                       \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##SY##evj_bufferSize(                                \
        Handle *handle, Vectors, Fill, int n, const T *, int, const Real<T> *, int *size,         \
        JacobiInfo *) {                                                                           \
        return size_of_work("cusolverDn" #LETTER #SY "evj_bufferSize", handle, n, size);          \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##SY##evj(                                           \
        Handle *handle, Vectors job, Fill fill, int n, T *a, int lda, Real<T> *w, T *work,        \
        int size, int *info, JacobiInfo *) {                                                      \
        return syevd("cusolverDn" #LETTER #SY "evj", handle, job, fill, n, a, lda, w, work, size, \
                     info);                                                                       \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##SY##evjBatched_bufferSize(                         \
        Handle *handle, Vectors, Fill, int n, const T *, int, const Real<T> *, int *size,         \
        JacobiInfo *, int) {                                                                      \
        return size_of_work("cusolverDn" #LETTER #SY "evjBatched_bufferSize", handle, n, size);   \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##SY##evjBatched(                                    \
        Handle *handle, Vectors job, Fill fill, int n, T *a, int lda, Real<T> *w, T *work,        \
        int size, int *info, JacobiInfo *, int batch) {                                           \
        return syevj_batched("cusolverDn" #LETTER #SY "evjBatched", handle, job, fill, n, a, lda, \
                             w, work, size, info, batch);                                         \
    }

EIGEN(S, sy, float)
EIGEN(D, sy, double)
EIGEN(C, he, std::complex<float>)
EIGEN(Z, he, std::complex<double>)

FAKECUDA_EXPORT Status cusolverDnXsyevd_bufferSize(Handle *handle, void *, Vectors, Fill,
                                                   int64_t n, int, const void *, int64_t, int,
                                                   const void *, int, size_t *device,
                                                   size_t *host) {
    return sizes_of_work("cusolverDnXsyevd_bufferSize", handle, n, device, host);
}

FAKECUDA_EXPORT Status cusolverDnXsyevd(Handle *handle, void *, Vectors job, Fill fill, int64_t n,
                                        int type_a, void *a, int64_t lda, int type_w, void *w,
                                        int compute, void *device, size_t device_bytes, void *host,
                                        size_t host_bytes, int *info) {
    const char *name = "cusolverDnXsyevd";
    Arguments arguments(name, handle);
    arguments.flag(job).flag(fill).sizes(n).leading("lda", lda, n);
    Workspaces{device, device_bytes, host, host_bytes}.check(arguments, n);
    if (arguments.wrong()) {
        return arguments.status;
    }
    if (!known(type_a) || type_w != real_type(type_a) || compute != type_a) {
        return wrong_types(name, type_a, type_w);
    }
    return with_type(type_a, [=]<typename T>(T *) {
        return submit(name, handle, [=] {
            check_work(name, static_cast<char *>(device), int(Workspaces::device_needed(n)));
            check_info(name, info);
            *info = symmetric(name, job, fill, int(n), static_cast<T *>(a), int(lda),
                              static_cast<Real<T> *>(w));
        });
    });
}

FAKECUDA_EXPORT Status cusolverDnXgeev_bufferSize(Handle *handle, void *, Vectors, Vectors,
                                                  int64_t n, int, const void *, int64_t, int,
                                                  const void *, int, const void *, int64_t, int,
                                                  const void *, int64_t, int, size_t *device,
                                                  size_t *host) {
    return sizes_of_work("cusolverDnXgeev_bufferSize", handle, n, device, host);
}

FAKECUDA_EXPORT Status cusolverDnXgeev(Handle *handle, void *, Vectors left, Vectors right,
                                       int64_t n, int type_a, void *a, int64_t lda, int type_w,
                                       void *w, int, void *, int64_t, int type_vr, void *vr,
                                       int64_t ldvr, int compute, void *device,
                                       size_t device_bytes, void *host, size_t host_bytes,
                                       int *info) {
    const char *name = "cusolverDnXgeev";
    Arguments arguments(name, handle);
    arguments.flag(right).sizes(n).leading("lda", lda, n);
    arguments.need(left == no_vectors, "left eigenvectors are not supported");
    arguments.leading("ldvr", ldvr, right == with_vectors ? n : 1);
    Workspaces{device, device_bytes, host, host_bytes}.check(arguments, n);
    if (arguments.wrong()) {
        return arguments.status;
    }
    if (!known(type_a) || type_w != complex_type(type_a) || type_vr != type_a ||
        compute != type_a) {
        return wrong_types(name, type_a, type_w);
    }
    return with_type(type_a, [=]<typename T>(T *) {
        return submit(name, handle, [=] {
            check_work(name, static_cast<char *>(device), int(Workspaces::device_needed(n)));
            check_info(name, info);
            *info = general(name, right, int(n), static_cast<T *>(a), int(lda),
                            static_cast<std::complex<Real<T>> *>(w), static_cast<T *>(vr),
                            int(ldvr));
        });
    });
}
