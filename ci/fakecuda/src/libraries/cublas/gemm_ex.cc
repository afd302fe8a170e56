// Products whose operands say their types: GemmEx, GemmStridedBatchedEx, SgemmEx.
#include "cublas/blas.h"
#include "cublas/product.h"

using namespace fakecuda;
using namespace fakecuda::blas;

namespace {

enum Type { r_32f = 0, r_64f = 1, r_16f = 2, c_32f = 4, c_64f = 5, r_16bf = 14 };
enum Compute {
    compute_16f = 64,
    compute_16f_pedantic = 65,
    compute_32f = 68,
    compute_32f_pedantic = 69,
    compute_64f = 70,
    compute_64f_pedantic = 71,
    compute_32f_fast_16f = 74,
    compute_32f_fast_16bf = 75,
    compute_32f_fast_tf32 = 77,
};

struct Operand {
    void *start;
    int type;
    long long stride;
};

struct Product {
    const char *name;
    Handle *handle;
    Shape shape;
    const void *alpha, *beta;
    Operand a, b, c;
    int count;
};

// Each matrix of the batch by `one`, which gets the coefficients and the three addresses.
template <typename T, typename Out, typename Scale, typename One>
Status run(const Product &product, One one) {
    Coefficient<Scale> alpha(product.handle, static_cast<const Scale *>(product.alpha));
    Coefficient<Scale> beta(product.handle, static_cast<const Scale *>(product.beta));
    return submit_with_workspace(product.name, product.handle, [=] {
        Batch<const T> a{static_cast<const T *>(product.a.start), product.a.stride};
        Batch<const T> b{static_cast<const T *>(product.b.start), product.b.stride};
        Batch<Out> c{static_cast<Out *>(product.c.start), product.c.stride};
        Scale scale = alpha.value(product.name), keep = beta.value(product.name);
        for (int i = 0; i < product.count; ++i) {
            one(scale, a[i], b[i], keep, c[i]);
        }
    });
}

template <typename T>
Status in_own_type(const Product &product) {
    return run<T, T, T>(product, [=](T alpha, const T *a, const T *b, T beta, T *c) {
        multiply(product.name, product.shape, alpha, a, b, beta, c);
    });
}

template <typename T, typename Out, typename Scale = float>
Status in_float(const Product &product) {
    auto one = [=](Scale alpha, const T *a, const T *b, Scale beta, Out *c) {
        multiply_in_float(product.name, product.shape, float(alpha), a, b, float(beta), c);
    };
    return run<T, Out, Scale>(product, one);
}

// The combinations that NVIDIA documents, but for those of 8-bit integers.
Status dispatch(const Product &product, int compute) {
    int in = product.a.type, out = product.c.type;
    bool same = in == product.b.type;
    bool exact = compute == compute_32f || compute == compute_32f_pedantic;
    bool fast = compute == compute_32f_fast_16f || compute == compute_32f_fast_16bf ||
                compute == compute_32f_fast_tf32;
    bool half = compute == compute_16f || compute == compute_16f_pedantic;
    bool wide = compute == compute_64f || compute == compute_64f_pedantic;
    if (same && in == out) {
        if ((exact || fast) && in == r_32f) {
            return in_own_type<float>(product);
        }
        if ((exact || fast) && in == c_32f) {
            return in_own_type<std::complex<float>>(product);
        }
        if (wide && in == r_64f) {
            return in_own_type<double>(product);
        }
        if (wide && in == c_64f) {
            return in_own_type<std::complex<double>>(product);
        }
        if (half && in == r_16f) {
            return in_float<Half, Half, Half>(product);
        }
        if (exact && in == r_16f) {
            return in_float<Half, Half>(product);
        }
        if (exact && in == r_16bf) {
            return in_float<BFloat16, BFloat16>(product);
        }
    }
    if (same && exact && out == r_32f && in == r_16f) {
        return in_float<Half, float>(product);
    }
    if (same && exact && out == r_32f && in == r_16bf) {
        return in_float<BFloat16, float>(product);
    }
    return refuse(not_supported, std::string(product.name) + ": no product of types " +
                                     std::to_string(in) + " and " + std::to_string(product.b.type) +
                                     " into " + std::to_string(out) + " in compute type " +
                                     std::to_string(compute));
}

Status gemm_ex(const Product &product, int compute) {
    Arguments arguments(product.name, product.handle);
    product.shape.check(arguments).need(product.count >= 0, "a negative number of matrices");
    if (arguments.wrong() || product.shape.empty()) {
        return arguments.status;
    }
    return dispatch(product, compute);
}

}  // namespace

FAKECUDA_EXPORT Status cublasGemmEx(Handle *handle, Operation op_a, Operation op_b, int m, int n,
                                    int k, const void *alpha, void *a, int type_a, int lda,
                                    void *b, int type_b, int ldb, const void *beta, void *c,
                                    int type_c, int ldc, int compute, int) {
    Shape shape{op_a, op_b, m, n, k, lda, ldb, ldc};
    return gemm_ex({"cublasGemmEx", handle, shape, alpha, beta, {a, type_a, 0}, {b, type_b, 0},
                    {c, type_c, 0}, 1},
                   compute);
}

FAKECUDA_EXPORT Status cublasGemmStridedBatchedEx(
    Handle *handle, Operation op_a, Operation op_b, int m, int n, int k, const void *alpha,
    void *a, int type_a, int lda, long long stride_a, void *b, int type_b, int ldb,
    long long stride_b, const void *beta, void *c, int type_c, int ldc, long long stride_c,
    int count, int compute, int) {
    Shape shape{op_a, op_b, m, n, k, lda, ldb, ldc};
    return gemm_ex({"cublasGemmStridedBatchedEx", handle, shape, alpha, beta,
                    {a, type_a, stride_a}, {b, type_b, stride_b}, {c, type_c, stride_c}, count},
                   compute);
}

FAKECUDA_EXPORT Status cublasSgemmEx(Handle *handle, Operation op_a, Operation op_b, int m, int n,
                                     int k, const float *alpha, void *a, int type_a, int lda,
                                     void *b, int type_b, int ldb, const float *beta, void *c,
                                     int type_c, int ldc) {
    Shape shape{op_a, op_b, m, n, k, lda, ldb, ldc};
    return gemm_ex({"cublasSgemmEx", handle, shape, alpha, beta, {a, type_a, 0}, {b, type_b, 0},
                    {c, type_c, 0}, 1},
                   compute_32f);
}
