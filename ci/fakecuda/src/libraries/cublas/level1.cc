// Vectors: dot, nrm2, asum, amax, amin, axpy, scal.
#include <cmath>
#include <vector>

#include "cublas/blas.h"

using namespace fakecuda;
using namespace fakecuda::blas;

namespace {

// The elements of a vector in order; with a negative increment it begins at its far end.
template <typename T>
class Vector {
public:
    Vector(T *start, int n, int step)
        : first(step < 0 ? start - (long long)(n - 1) * step : start), step(step) {}
    T &operator[](int i) const { return first[(long long)i * step]; }

private:
    T *first;
    long long step;
};

// A sum in the type itself, in as many parts as a warp has threads, which are added at the end.
template <typename T, typename Term>
T sum(int n, Term term) {
    constexpr int lanes = 32;
    T parts[lanes] = {};
    for (int i = 0; i < n; ++i) {
        parts[i % lanes] += term(i);
    }
    for (int half = lanes / 2; half; half /= 2) {
        for (int i = 0; i < half; ++i) {
            parts[i] += parts[i + half];
        }
    }
    return parts[0];
}

template <typename T>
Real<T> size_of(const T &x) {  // as amax and asum have it
    if constexpr (is_complex<T>) {
        return std::abs(x.real()) + std::abs(x.imag());
    } else {
        return std::abs(x);
    }
}

// Functions with a number as their result, which goes to the device, or to the host after a wait.
template <typename Result, typename Work>
Status reduce(const char *name, Handle *handle, Result *result, Work work) {
    Arguments arguments(name, handle);
    if (arguments.need(result != nullptr, "no place for the result").wrong()) {
        return arguments.status;
    }
    bool on_device = handle->device_scalars;
    Status status = submit(name, handle, [=] {
        Result value = work();
        if (on_device) {
            check_write(result, 1, 1, 1, std::string(name) + ", the result");
        }
        *result = value;
    });
    if (status == success && !on_device && fakecuda_wait(handle->stream)) {
        return execution_failed;
    }
    return status;
}

template <typename T>
Status dot(const char *name, Handle *handle, int n, const T *x, int step_x, const T *y, int step_y,
           T *result, bool conjugate) {
    return reduce(name, handle, result, [=] {
        check_vector(x, std::max(n, 0), step_x, false, std::string(name) + ", x");
        check_vector(y, std::max(n, 0), step_y, false, std::string(name) + ", y");
        Vector<const T> left(x, n, step_x), right(y, n, step_y);
        return sum<T>(n, [&](int i) {
            if constexpr (is_complex<T>) {
                return (conjugate ? std::conj(left[i]) : left[i]) * right[i];
            } else {
                return left[i] * right[i];
            }
        });
    });
}

template <typename T>
Status asum(const char *name, Handle *handle, int n, const T *x, int step, Real<T> *result) {
    return reduce(name, handle, result, [=] {
        int count = step > 0 ? n : 0;
        check_vector(x, std::max(count, 0), step, false, std::string(name) + ", x");
        return sum<Real<T>>(count, [&](int i) { return size_of(x[(long long)i * step]); });
    });
}

// Scaled by the largest element, so that no square overflows.
template <typename T>
Status nrm2(const char *name, Handle *handle, int n, const T *x, int step, Real<T> *result) {
    return reduce(name, handle, result, [=] {
        using R = Real<T>;
        int count = step > 0 ? n : 0;
        check_vector(x, std::max(count, 0), step, false, std::string(name) + ", x");
        R largest = 0;
        for (int i = 0; i < count; ++i) {
            R size = size_of(x[(long long)i * step]);
            largest = size > largest || std::isnan(size) ? size : largest;
        }
        if (largest == 0 || !std::isfinite(largest)) {
            return largest;
        }
        return largest * std::sqrt(sum<R>(count, [&](int i) {
                   return std::norm(x[(long long)i * step] / largest);
               }));
    });
}

// The place, from 1, of the first largest or smallest element; 0 where there is none.
template <typename T, typename Better>
Status extreme(const char *name, Handle *handle, int n, const T *x, int step, int *result,
               Better better) {
    return reduce(name, handle, result, [=] {
        if (n <= 0 || step <= 0) {
            return 0;
        }
        check_vector(x, n, step, false, std::string(name) + ", x");
        int best = 0;
        for (int i = 1; i < n; ++i) {
            if (better(size_of(x[(long long)i * step]), size_of(x[(long long)best * step]))) {
                best = i;
            }
        }
        return best + 1;
    });
}

template <typename T>
Status axpy(const char *name, Handle *handle, int n, const T *alpha, const T *x, int step_x, T *y,
            int step_y) {
    Arguments arguments(name, handle);
    if (arguments.wrong() || n <= 0) {
        return arguments.status;
    }
    Coefficient<T> scale(handle, alpha);
    return submit(name, handle, [=] {
        T by = scale.value(name);
        check_vector(x, n, step_x, false, std::string(name) + ", x");
        check_vector(y, n, step_y, false, std::string(name) + ", y");
        check_vector(y, n, step_y, true, std::string(name) + ", y");
        Vector<const T> source(x, n, step_x);
        Vector<T> target(y, n, step_y);
        for (int i = 0; i < n; ++i) {
            target[i] += by * source[i];
        }
    });
}

template <typename T, typename Factor>
Status scal(const char *name, Handle *handle, int n, const Factor *alpha, T *x, int step) {
    Arguments arguments(name, handle);
    if (arguments.wrong() || n <= 0 || step <= 0) {
        return arguments.status;
    }
    Coefficient<Factor> scale(handle, alpha);
    return submit(name, handle, [=] {
        Factor by = scale.value(name);
        check_vector(x, n, step, false, std::string(name) + ", x");
        check_vector(x, n, step, true, std::string(name) + ", x");
        for (int i = 0; i < n; ++i) {
            x[(long long)i * step] *= by;
        }
    });
}

}  // namespace

// `R` is the letter pair of functions whose result is real: Sc for complex<float>.
#define VECTORS(LETTER, LOWER, R, T)                                                              \
    FAKECUDA_EXPORT Status cublas##LETTER##axpy_v2(Handle *handle, int n, const T *alpha,         \
                                                   const T *x, int step_x, T *y, int step_y) {    \
        return axpy("cublas" #LETTER "axpy", handle, n, alpha, x, step_x, y, step_y);             \
    }                                                                                             \
    FAKECUDA_EXPORT Status cublas##LETTER##scal_v2(Handle *handle, int n, const T *alpha, T *x,   \
                                                   int step) {                                    \
        return scal("cublas" #LETTER "scal", handle, n, alpha, x, step);                          \
    }                                                                                             \
    FAKECUDA_EXPORT Status cublas##R##asum_v2(Handle *handle, int n, const T *x, int step,        \
                                              Real<T> *result) {                                  \
        return asum("cublas" #R "asum", handle, n, x, step, result);                              \
    }                                                                                             \
    FAKECUDA_EXPORT Status cublas##R##nrm2_v2(Handle *handle, int n, const T *x, int step,        \
                                              Real<T> *result) {                                  \
        return nrm2("cublas" #R "nrm2", handle, n, x, step, result);                              \
    }                                                                                             \
    FAKECUDA_EXPORT Status cublasI##LOWER##amax_v2(Handle *handle, int n, const T *x, int step,   \
                                                   int *result) {                                 \
        return extreme("cublasI" #LOWER "amax", handle, n, x, step, result, std::greater<>());    \
    }                                                                                             \
    FAKECUDA_EXPORT Status cublasI##LOWER##amin_v2(Handle *handle, int n, const T *x, int step,   \
                                                   int *result) {                                 \
        return extreme("cublasI" #LOWER "amin", handle, n, x, step, result, std::less<>());       \
    }

#define DOT(NAME, T, CONJUGATE)                                                                   \
    FAKECUDA_EXPORT Status cublas##NAME##_v2(Handle *handle, int n, const T *x, int step_x,       \
                                             const T *y, int step_y, T *result) {                 \
        return dot("cublas" #NAME, handle, n, x, step_x, y, step_y, result, CONJUGATE);           \
    }

VECTORS(S, s, S, float)
VECTORS(D, d, D, double)
VECTORS(C, c, Sc, std::complex<float>)
VECTORS(Z, z, Dz, std::complex<double>)
DOT(Sdot, float, false)
DOT(Ddot, double, false)
DOT(Cdotu, std::complex<float>, false)
DOT(Cdotc, std::complex<float>, true)
DOT(Zdotu, std::complex<double>, false)
DOT(Zdotc, std::complex<double>, true)

FAKECUDA_EXPORT Status cublasCsscal_v2(Handle *handle, int n, const float *alpha,
                                       std::complex<float> *x, int step) {
    return scal("cublasCsscal", handle, n, alpha, x, step);
}

FAKECUDA_EXPORT Status cublasZdscal_v2(Handle *handle, int n, const double *alpha,
                                       std::complex<double> *x, int step) {
    return scal("cublasZdscal", handle, n, alpha, x, step);
}
