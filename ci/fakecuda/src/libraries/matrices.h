// What cuBLAS and cuSOLVER share: flags, checks of arguments, matrices in columns.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <string>

#include "lapack.h"
#include "library.h"

namespace fakecuda {

enum Operation { op_n = 0, op_t = 1, op_c = 2 };
enum Fill { lower = 0, upper = 1 };
enum Side { left = 0, right = 1 };
enum Diagonal { non_unit = 0, unit = 1 };

// The letters of LAPACK.
inline char letter(Operation op) { return "NTC"[op]; }
inline char letter(Fill fill) { return "LU"[fill]; }
inline char letter(Side side) { return "LR"[side]; }
inline char letter(Diagonal diagonal) { return "NU"[diagonal]; }

// What a library tells the caller by a status and nothing more, as a sentence.
template <typename Status>
Status refuse(Status status, const std::string &text) {
    fakecuda_complain(text.c_str());
    return status;
}

// The arguments of one call. The first check that fails decides the status, and says what it was.
template <typename Status, Status not_initialized, Status invalid_value>
class CheckedArguments {
public:
    CheckedArguments(const char *name, const void *handle) : name(name) {
        if (!handle) {
            status = refuse(not_initialized, std::string(name) + ": no handle");
        }
    }
    CheckedArguments &need(bool holds, const char *what) {
        if (!holds && status == Status()) {
            status = refuse(invalid_value, std::string(name) + ": " + what);
        }
        return *this;
    }
    CheckedArguments &sizes(long long m, long long n = 0, long long k = 0) {
        return need(m >= 0 && n >= 0 && k >= 0, "a negative size");
    }
    CheckedArguments &leading(const char *what, long long given, long long rows) {
        if (given >= std::max(1LL, rows)) {
            return *this;
        }
        return need(false, (std::string(what) + " is too small").c_str());
    }
    CheckedArguments &operation(int op) { return need(op >= 0 && op <= 2, "not an operation"); }
    CheckedArguments &flag(int value) {
        return need(value == 0 || value == 1, "a flag is neither 0 nor 1");
    }
    CheckedArguments &step(int value) { return need(value != 0, "an increment of 0"); }
    bool wrong() const { return status != Status(); }

    const char *name;
    Status status = Status();
};

// The triangle of a matrix that a call reads or writes.
template <typename T>
void check_triangle(const T *address, Fill fill, int n, int leading, bool write,
                    const std::string &what) {
    for (int j = 0; j < n; ++j) {
        int first = fill == lower ? j : 0, last = fill == lower ? n : j + 1;
        const T *column = address + size_t(j) * leading;
        check_memory(column + first, (last - first) * sizeof(T), write, what);
    }
}

// A matrix that a call reads and writes.
template <typename T>
void check_update(const T *address, size_t rows, size_t columns, size_t stride,
                  const std::string &what) {
    check_read(address, rows, columns, stride, what);
    check_write(address, rows, columns, stride, what);
}

// A vector with an increment, which may be negative.
template <typename T>
void check_vector(const T *address, int n, int step, bool write, const std::string &what) {
    check_vectors(address, 1, n, std::abs(step), write, what);
}

// LU without exchange of rows. The place, from 1, of the first pivot that is 0, or 0.
template <typename T>
int factor_without_pivots(int m, int n, T *a, int lda) {
    int info = 0;
    for (int k = 0; k < std::min(m, n); ++k) {
        T pivot = a[size_t(k) * lda + k];
        if (pivot == T(0)) {
            info = info ? info : k + 1;
            continue;
        }
        for (int i = k + 1; i < m; ++i) {
            T factor = a[size_t(k) * lda + i] /= pivot;
            for (int j = k + 1; j < n; ++j) {
                a[size_t(j) * lda + i] -= factor * a[size_t(j) * lda + k];
            }
        }
    }
    return info;
}

}  // namespace fakecuda
