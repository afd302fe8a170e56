// Handles, statuses and scalars of the stand-in for cuBLAS, and the checks that its calls share.
#pragma once

#include <algorithm>
#include <complex>
#include <string>

#include "lapack.h"
#include "library.h"

namespace fakecuda::blas {

enum Status {
    success = 0,
    not_initialized = 1,
    invalid_value = 7,
    execution_failed = 13,
    not_supported = 15,
};

enum Operation { op_n = 0, op_t = 1, op_c = 2 };
enum Fill { lower = 0, upper = 1 };
enum Side { left = 0, right = 1 };
enum Diagonal { non_unit = 0, unit = 1 };

struct Handle {
    void *stream = nullptr;
    bool device_scalars = false;  // the pointer mode
    int math_mode = 0;
    void *workspace = nullptr;
    size_t workspace_bytes = 0;
};

// What cuBLAS tells the caller by a status and nothing more, as a sentence.
inline Status refuse(Status status, const std::string &text) {
    fakecuda_complain(text.c_str());
    return status;
}

// The arguments of one call: each `need` that fails makes the call return INVALID_VALUE, and says
// which argument it was.
class Arguments {
public:
    Arguments(const char *name, const Handle *handle) : name(name) {
        if (!handle) {
            refuse(not_initialized, std::string(name) + ": no handle");
            status = not_initialized;
        }
    }
    Arguments &need(bool holds, const char *what) {
        if (!holds && status == success) {
            status = refuse(invalid_value, std::string(name) + ": " + what);
        }
        return *this;
    }
    Arguments &sizes(int m, int n = 0, int k = 0) {
        return need(m >= 0 && n >= 0 && k >= 0, "a negative size");
    }
    Arguments &leading(const char *what, int given, int rows) {
        return need(given >= std::max(1, rows), (std::string(what) + " is too small").c_str());
    }
    Arguments &operation(int op) { return need(op >= 0 && op <= 2, "not an operation"); }
    Arguments &flag(int value) { return need(value == 0 || value == 1, "a flag is not 0 or 1"); }
    Arguments &step(int value) { return need(value != 0, "an increment of 0"); }
    bool wrong() const { return status != success; }

    const char *name;
    Status status = success;
};

// alpha or beta: a number of the host, read when the call is made, or one of the device, read when
// the work runs.
template <typename T>
struct Coefficient {
    T number{};
    const T *device = nullptr;

    Coefficient(const Handle *handle, const T *pointer) {
        if (handle->device_scalars) {
            device = pointer;
        } else {
            number = *pointer;
        }
    }
    T value(const char *name) const {
        if (!device) {
            return number;
        }
        check_read(device, 1, 1, 1, std::string(name) + ", a scalar");
        return *device;
    }
};

inline char letter(Operation op) { return "NTC"[op]; }
inline char letter(Fill fill) { return "LU"[fill]; }
inline char letter(Side side) { return "LR"[side]; }
inline char letter(Diagonal diagonal) { return "NU"[diagonal]; }

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

// A vector with an increment, which may be negative.
template <typename T>
void check_vector(const T *address, int n, int step, bool write, const std::string &what) {
    check_vectors(address, 1, n, std::abs(step), write, what);
}

// Puts the work on the handle's stream.
template <typename Work>
Status submit(const char *name, Handle *handle, Work work) {
    return enqueue(name, handle->stream, std::move(work)) ? execution_failed : success;
}

// The same for functions that need a workspace, which they can't allocate while a stream captures.
template <typename Work>
Status submit_with_workspace(const char *name, Handle *handle, Work work) {
    if (!handle->workspace && fakecuda_capturing(handle->stream)) {
        return refuse(execution_failed,
                      std::string(name) + ": the stream is capturing, and the handle has no " +
                          "workspace: call cublasSetWorkspace after cublasSetStream");
    }
    return submit(name, handle, std::move(work));
}

}  // namespace fakecuda::blas
