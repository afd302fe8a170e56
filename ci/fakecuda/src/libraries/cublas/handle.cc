// Contexts of cuBLAS: creation, streams, modes, workspace.
#include "cublas/blas.h"

using namespace fakecuda;
using namespace fakecuda::blas;

namespace {

Status no_handle(const char *name) {
    return refuse(not_initialized, std::string(name) + ": no handle");
}

}  // namespace

FAKECUDA_EXPORT Status cublasCreate_v2(Handle **handle) {
    if (!handle) {
        return refuse(invalid_value, "cublasCreate: no place for the handle");
    }
    *handle = new Handle;
    return success;
}

FAKECUDA_EXPORT Status cublasDestroy_v2(Handle *handle) {
    if (!handle) {
        return no_handle("cublasDestroy");
    }
    delete handle;
    return success;
}

FAKECUDA_EXPORT Status cublasGetVersion_v2(Handle *, int *version) {
    *version = 120900;
    return success;
}

FAKECUDA_EXPORT Status cublasGetProperty(int type, int *value) {
    constexpr int version[] = {12, 9, 0};
    if (type < 0 || type > 2) {
        return refuse(invalid_value, "cublasGetProperty: not a property");
    }
    *value = version[type];
    return success;
}

// The workspace goes back to cuBLAS's own, as NVIDIA documents it.
FAKECUDA_EXPORT Status cublasSetStream_v2(Handle *handle, void *stream) {
    if (!handle) {
        return no_handle("cublasSetStream");
    }
    handle->stream = stream;
    handle->workspace = nullptr;
    handle->workspace_bytes = 0;
    return success;
}

FAKECUDA_EXPORT Status cublasGetStream_v2(Handle *handle, void **stream) {
    if (!handle) {
        return no_handle("cublasGetStream");
    }
    *stream = handle->stream;
    return success;
}

FAKECUDA_EXPORT Status cublasSetWorkspace_v2(Handle *handle, void *workspace, size_t bytes) {
    if (!handle) {
        return no_handle("cublasSetWorkspace");
    }
    if (reinterpret_cast<uint64_t>(workspace) % 256) {
        return refuse(invalid_value, "cublasSetWorkspace: not aligned to 256 bytes");
    }
    // Never written by the stand-in, but another's memory, or less than was said, is found here.
    if (bytes && fakecuda_check(reinterpret_cast<uint64_t>(workspace), bytes, 1,
                                "cublasSetWorkspace")) {
        return invalid_value;
    }
    handle->workspace = workspace;
    handle->workspace_bytes = bytes;
    return success;
}

FAKECUDA_EXPORT Status cublasSetPointerMode_v2(Handle *handle, int mode) {
    Arguments arguments("cublasSetPointerMode", handle);
    if (arguments.flag(mode).wrong()) {
        return arguments.status;
    }
    handle->device_scalars = mode == 1;
    return success;
}

FAKECUDA_EXPORT Status cublasGetPointerMode_v2(Handle *handle, int *mode) {
    if (!handle) {
        return no_handle("cublasGetPointerMode");
    }
    *mode = handle->device_scalars;
    return success;
}

FAKECUDA_EXPORT Status cublasSetMathMode(Handle *handle, int mode) {
    if (!handle) {
        return no_handle("cublasSetMathMode");
    }
    handle->math_mode = mode;
    return success;
}

FAKECUDA_EXPORT Status cublasGetMathMode(Handle *handle, int *mode) {
    if (!handle) {
        return no_handle("cublasGetMathMode");
    }
    *mode = handle->math_mode;
    return success;
}
