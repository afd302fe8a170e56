// Handles, statuses and scalars of the stand-in for cuBLAS.
#pragma once

#include <complex>
#include <string>

#include "matrices.h"

namespace fakecuda::blas {

enum Status {
    success = 0,
    not_initialized = 1,
    invalid_value = 7,
    execution_failed = 13,
    not_supported = 15,
};

struct Handle {
    void *stream = nullptr;
    bool device_scalars = false;  // the pointer mode
    int math_mode = 0;
    void *workspace = nullptr;
    size_t workspace_bytes = 0;
};

using Arguments = CheckedArguments<Status, not_initialized, invalid_value>;

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
