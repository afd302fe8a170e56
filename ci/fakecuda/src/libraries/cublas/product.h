// A product of matrices, c = alpha * op(a) @ op(b) + beta * c, with its memory checked.
#pragma once

#include <string>
#include <vector>

#include "cublas/blas.h"
#include "half.h"

namespace fakecuda::blas {

struct Shape {
    Operation op_a, op_b;
    int m, n, k, lda, ldb, ldc;

    int rows_a() const { return op_a == op_n ? m : k; }
    int columns_a() const { return op_a == op_n ? k : m; }
    int rows_b() const { return op_b == op_n ? k : n; }
    int columns_b() const { return op_b == op_n ? n : k; }
    bool empty() const { return m == 0 || n == 0; }

    Arguments &check(Arguments &arguments) const {
        arguments.operation(op_a).operation(op_b).sizes(m, n, k);
        arguments.leading("lda", lda, rows_a()).leading("ldb", ldb, rows_b());
        return arguments.leading("ldc", ldc, m);
    }
};

// A stack of matrices that begin `stride` elements apart.
template <typename T>
struct Batch {
    T *start;
    long long stride;
    T *operator[](int i) const { return start + stride * i; }
};

template <typename T, typename Out, typename Scale>
void check_product(const char *name, const Shape &shape, const T *a, const T *b, Scale beta,
                   const Out *c) {
    std::string text(name);
    check_read(a, shape.rows_a(), shape.columns_a(), shape.lda, text + ", A");
    check_read(b, shape.rows_b(), shape.columns_b(), shape.ldb, text + ", B");
    if (beta != Scale(0)) {  // else C may hold anything
        check_read(c, shape.m, shape.n, shape.ldc, text + ", C");
    }
    check_write(c, shape.m, shape.n, shape.ldc, text + ", C");
}

// In a type that BLAS has.
template <typename T>
void multiply(const char *name, const Shape &shape, T alpha, const T *a, const T *b, T beta,
              T *c) {
    check_product(name, shape, a, b, beta, c);
    lapack<T>("gemm", letter(shape.op_a), letter(shape.op_b), shape.m, shape.n, shape.k, alpha, a,
              shape.lda, b, shape.ldb, beta, c, shape.ldc);
}

// A matrix in another type, its columns close together.
template <typename To, typename From>
std::vector<To> converted(const From *matrix, int rows, int columns, int leading) {
    std::vector<To> result(size_t(rows) * columns);
    for (int j = 0; j < columns; ++j) {
        for (int i = 0; i < rows; ++i) {
            result[size_t(j) * rows + i] = To(matrix[size_t(j) * leading + i]);
        }
    }
    return result;
}

// In types that BLAS does not have, by way of float.
template <typename T, typename Out>
void multiply_in_float(const char *name, const Shape &shape, float alpha, const T *a, const T *b,
                       float beta, Out *c) {
    check_product(name, shape, a, b, beta, c);
    auto left = converted<float>(a, shape.rows_a(), shape.columns_a(), shape.lda);
    auto right = converted<float>(b, shape.rows_b(), shape.columns_b(), shape.ldb);
    std::vector<float> result(size_t(shape.m) * shape.n);
    if (beta != 0) {
        result = converted<float>(c, shape.m, shape.n, shape.ldc);
    }
    lapack<float>("gemm", letter(shape.op_a), letter(shape.op_b), shape.m, shape.n, shape.k, alpha,
                  left.data(), std::max(1, shape.rows_a()), right.data(),
                  std::max(1, shape.rows_b()), beta, result.data(), shape.m);
    for (int j = 0; j < shape.n; ++j) {
        for (int i = 0; i < shape.m; ++i) {
            c[size_t(j) * shape.ldc + i] = Out(result[size_t(j) * shape.m + i]);
        }
    }
}

}  // namespace fakecuda::blas
