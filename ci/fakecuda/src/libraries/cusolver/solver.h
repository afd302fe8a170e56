// Handles, statuses and submission of the stand-in for dense cuSOLVER.
//
// Workspaces are checked and not used: LAPACK gets its own. Their sizes grow as the real ones do,
// so that one that was made for another size is found too small.
#pragma once

#include <complex>
#include <string>
#include <vector>

#include "matrices.h"

namespace fakecuda::solver {

enum Status {
    success = 0,
    not_initialized = 1,
    invalid_value = 3,
    execution_failed = 6,
    not_supported = 9,
};

enum Vectors { no_vectors = 0, with_vectors = 1 };

// cudaDataType
enum Type { r_32f = 0, r_64f = 1, c_32f = 4, c_64f = 5 };

struct Handle {
    void *stream = nullptr;
};

// Of the Jacobi methods, which LAPACK's take the place of.
struct JacobiInfo {
    double tolerance = 0, residual = 0;
    int max_sweeps = 100, sweeps = 0;
    bool sort = true;
};

using Arguments = CheckedArguments<Status, not_initialized, invalid_value>;

// Elements of a workspace for matrices of this size.
inline int work_size(long long m, long long n = 1) { return int(32 * std::max({m, n, 1LL})); }

template <typename T>
void check_work(const char *name, const T *work, int needed) {
    check_write(work, needed, 1, needed, std::string(name) + ", the workspace");
}

inline void check_info(const char *name, const int *info, int count = 1) {
    check_write(info, count, 1, count, std::string(name) + ", info");
}

// Puts the work on the handle's stream. cuSOLVER's documentation does not speak of captures, so
// that there is nothing that a program could rely on.
template <typename Work>
Status submit(const char *name, Handle *handle, Work work) {
    if (fakecuda_capturing(handle->stream)) {
        return refuse(execution_failed, std::string(name) + ": the stream is capturing");
    }
    return enqueue(name, handle->stream, std::move(work)) ? execution_failed : success;
}

// A function of LAPACK that ends with (work, lwork, info), with the workspace that it asks for.
// What it returns as info.
template <typename T, typename... A>
int with_workspace(const char *routine, const A &...arguments) {
    T best{};
    int info = 0;
    lapack<T>(routine, arguments..., &best, -1, &info);
    int size = std::max(1, int(std::real(best)));
    std::vector<T> work(size);
    lapack<T>(routine, arguments..., work.data(), size, &info);
    return info;
}

}  // namespace fakecuda::solver
