// QR and what is done with its reflectors: geqrf, orgqr (ungqr), ormqr (unmqr).
#include "cusolver/solver.h"

using namespace fakecuda;
using namespace fakecuda::solver;

namespace {

template <typename T>
Status geqrf(const char *name, Handle *handle, int m, int n, T *a, int lda, T *tau, T *work,
             int size, int *info) {
    Arguments arguments(name, handle);
    arguments.sizes(m, n).leading("lda", lda, m);
    arguments.need(size >= work_size(m, n), "the workspace is too small");
    if (arguments.wrong()) {
        return arguments.status;
    }
    return submit(name, handle, [=] {
        int count = std::min(m, n);
        check_work(name, work, work_size(m, n));
        check_info(name, info);
        check_update(a, m, n, lda, std::string(name) + ", A");
        check_write(tau, count, 1, count, std::string(name) + ", tau");
        *info = with_workspace<T>("geqrf", m, n, a, lda, tau);
    });
}

// Q itself, of k reflectors.
template <typename T>
Status orgqr(const char *name, Handle *handle, int m, int n, int k, T *a, int lda, const T *tau,
             T *work, int size, int *info) {
    Arguments arguments(name, handle);
    arguments.sizes(m, n, k).leading("lda", lda, m);
    arguments.need(n <= m && k <= n, "not k <= n <= m");
    arguments.need(size >= work_size(m, n), "the workspace is too small");
    if (arguments.wrong()) {
        return arguments.status;
    }
    return submit(name, handle, [=] {
        check_work(name, work, work_size(m, n));
        check_info(name, info);
        check_read(a, m, k, lda, std::string(name) + ", A");
        check_write(a, m, n, lda, std::string(name) + ", A");
        check_read(tau, k, 1, k, std::string(name) + ", tau");
        *info = with_workspace<T>(is_complex<T> ? "ungqr" : "orgqr", m, n, k, a, lda, tau);
    });
}

// Q times a matrix, from the left or the right.
template <typename T>
Status ormqr(const char *name, Handle *handle, Side side, Operation op, int m, int n, int k,
             const T *a, int lda, const T *tau, T *c, int ldc, T *work, int size, int *info) {
    Arguments arguments(name, handle);
    int order = side == left ? m : n;
    arguments.flag(side).operation(op).sizes(m, n, k);
    arguments.leading("lda", lda, order).leading("ldc", ldc, m).need(k <= order, "k is too large");
    arguments.need(op != (is_complex<T> ? op_t : op_c), "an operation of the other kind of number");
    arguments.need(size >= work_size(m, n), "the workspace is too small");
    if (arguments.wrong()) {
        return arguments.status;
    }
    return submit(name, handle, [=] {
        check_work(name, work, work_size(m, n));
        check_info(name, info);
        check_read(a, order, k, lda, std::string(name) + ", A");
        check_read(tau, k, 1, k, std::string(name) + ", tau");
        check_update(c, m, n, ldc, std::string(name) + ", C");
        *info = with_workspace<T>(is_complex<T> ? "unmqr" : "ormqr", letter(side), letter(op), m,
                                  n, k, a, lda, tau, c, ldc);
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

// Complex functions have other names than real ones.
#define QR(LETTER, GQR, MQR, T)                                                                   \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##geqrf_bufferSize(Handle *handle, int m, int n,     \
                                                                T *, int, int *size) {            \
        return size_of_work("cusolverDn" #LETTER "geqrf_bufferSize", handle, m, n, size);         \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##geqrf(Handle *handle, int m, int n, T *a, int lda, \
                                                     T *tau, T *work, int size, int *info) {      \
        return geqrf("cusolverDn" #LETTER "geqrf", handle, m, n, a, lda, tau, work, size, info);  \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##GQR##_bufferSize(                                   \
        Handle *handle, int m, int n, int, const T *, int, const T *, int *size) {                \
        return size_of_work("cusolverDn" #LETTER #GQR "_bufferSize", handle, m, n, size);         \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##GQR(                                               \
        Handle *handle, int m, int n, int k, T *a, int lda, const T *tau, T *work, int size,      \
        int *info) {                                                                              \
        return orgqr("cusolverDn" #LETTER #GQR, handle, m, n, k, a, lda, tau, work, size,         \
                     info);                                                                       \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##MQR##_bufferSize(                                   \
        Handle *handle, Side, Operation, int m, int n, int, const T *, int, const T *, const T *, \
        int, int *size) {                                                                         \
        return size_of_work("cusolverDn" #LETTER #MQR "_bufferSize", handle, m, n, size);         \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDn##LETTER##MQR(                                               \
        Handle *handle, Side side, Operation op, int m, int n, int k, const T *a, int lda,        \
        const T *tau, T *c, int ldc, T *work, int size, int *info) {                              \
        return ormqr("cusolverDn" #LETTER #MQR, handle, side, op, m, n, k, a, lda, tau, c,        \
                     ldc, work, size, info);                                                      \
    }

QR(S, orgqr, ormqr, float)
QR(D, orgqr, ormqr, double)
QR(C, ungqr, unmqr, std::complex<float>)
QR(Z, ungqr, unmqr, std::complex<double>)
