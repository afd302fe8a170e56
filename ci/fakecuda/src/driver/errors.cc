#include "errors.h"

#include <array>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <string>

#include "state.h"

namespace fakecuda {

namespace {

// The numbers of both APIs agree where both have a code.
constexpr std::array errors = {
    ErrorName{0, "CUDA_SUCCESS", "cudaSuccess", "no error"},
    ErrorName{1, "CUDA_ERROR_INVALID_VALUE", "cudaErrorInvalidValue", "invalid argument"},
    ErrorName{2, "CUDA_ERROR_OUT_OF_MEMORY", "cudaErrorMemoryAllocation", "out of memory"},
    ErrorName{3, "CUDA_ERROR_NOT_INITIALIZED", "cudaErrorInitializationError",
              "initialization error"},
    ErrorName{4, "CUDA_ERROR_DEINITIALIZED", "cudaErrorCudartUnloading", "driver shutting down"},
    ErrorName{9, nullptr, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    ErrorName{12, nullptr, "cudaErrorInvalidPitchValue", "invalid pitch argument"},
    ErrorName{17, nullptr, "cudaErrorInvalidDevicePointer", "invalid device pointer"},
    ErrorName{21, nullptr, "cudaErrorInvalidMemcpyDirection",
              "invalid copy direction for memcpy"},
    ErrorName{35, nullptr, "cudaErrorInsufficientDriver",
              "CUDA driver version is insufficient for CUDA runtime version"},
    ErrorName{98, nullptr, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    ErrorName{100, "CUDA_ERROR_NO_DEVICE", "cudaErrorNoDevice",
              "no CUDA-capable device is detected"},
    ErrorName{101, "CUDA_ERROR_INVALID_DEVICE", "cudaErrorInvalidDevice",
              "invalid device ordinal"},
    ErrorName{200, "CUDA_ERROR_INVALID_IMAGE", "cudaErrorInvalidKernelImage",
              "device kernel image is invalid"},
    ErrorName{201, "CUDA_ERROR_INVALID_CONTEXT", "cudaErrorDeviceUninitialized",
              "invalid device context"},
    ErrorName{209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "cudaErrorNoKernelImageForDevice",
              "no kernel image is available for execution on the device"},
    ErrorName{215, "CUDA_ERROR_UNSUPPORTED_LIMIT", "cudaErrorUnsupportedLimit",
              "limit is not supported on this architecture"},
    ErrorName{217, "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED", "cudaErrorPeerAccessUnsupported",
              "peer access is not supported between these two devices"},
    ErrorName{218, "CUDA_ERROR_INVALID_PTX", "cudaErrorInvalidPtx",
              "a PTX JIT compilation failed"},
    ErrorName{222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "cudaErrorUnsupportedPtxVersion",
              "the provided PTX was compiled with an unsupported toolchain."},
    ErrorName{301, "CUDA_ERROR_FILE_NOT_FOUND", "cudaErrorFileNotFound", "file not found"},
    ErrorName{304, "CUDA_ERROR_OPERATING_SYSTEM", "cudaErrorOperatingSystem",
              "OS call failed or operation not supported on this OS"},
    ErrorName{400, "CUDA_ERROR_INVALID_HANDLE", "cudaErrorInvalidResourceHandle",
              "invalid resource handle"},
    ErrorName{401, "CUDA_ERROR_ILLEGAL_STATE", "cudaErrorIllegalState",
              "the operation cannot be performed in the present state"},
    ErrorName{500, "CUDA_ERROR_NOT_FOUND", "cudaErrorSymbolNotFound", "named symbol not found"},
    ErrorName{600, "CUDA_ERROR_NOT_READY", "cudaErrorNotReady", "device not ready"},
    ErrorName{700, "CUDA_ERROR_ILLEGAL_ADDRESS", "cudaErrorIllegalAddress",
              "an illegal memory access was encountered"},
    ErrorName{701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "cudaErrorLaunchOutOfResources",
              "too many resources requested for launch"},
    ErrorName{702, "CUDA_ERROR_LAUNCH_TIMEOUT", "cudaErrorLaunchTimeout",
              "the launch timed out and was terminated"},
    ErrorName{704, "CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED", "cudaErrorPeerAccessAlreadyEnabled",
              "peer access is already enabled"},
    ErrorName{705, "CUDA_ERROR_PEER_ACCESS_NOT_ENABLED", "cudaErrorPeerAccessNotEnabled",
              "peer access has not been enabled"},
    ErrorName{708, "CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE", "cudaErrorSetOnActiveProcess",
              "cannot set while device is active in this process"},
    ErrorName{709, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "cudaErrorContextIsDestroyed",
              "context is destroyed"},
    ErrorName{710, "CUDA_ERROR_ASSERT", "cudaErrorAssert", "device-side assert triggered"},
    ErrorName{712, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
              "cudaErrorHostMemoryAlreadyRegistered",
              "part or all of the requested memory range is already mapped"},
    ErrorName{713, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", "cudaErrorHostMemoryNotRegistered",
              "pointer does not correspond to a registered memory region"},
    ErrorName{715, "CUDA_ERROR_ILLEGAL_INSTRUCTION", "cudaErrorIllegalInstruction",
              "an illegal instruction was encountered"},
    ErrorName{716, "CUDA_ERROR_MISALIGNED_ADDRESS", "cudaErrorMisalignedAddress",
              "misaligned address"},
    ErrorName{717, "CUDA_ERROR_INVALID_ADDRESS_SPACE", "cudaErrorInvalidAddressSpace",
              "operation not supported on global/shared address space"},
    ErrorName{718, "CUDA_ERROR_INVALID_PC", "cudaErrorInvalidPc", "invalid program counter"},
    ErrorName{719, "CUDA_ERROR_LAUNCH_FAILED", "cudaErrorLaunchFailure",
              "unspecified launch failure"},
    ErrorName{720, "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE",
              "cudaErrorCooperativeLaunchTooLarge", "too many blocks in cooperative launch"},
    ErrorName{800, "CUDA_ERROR_NOT_PERMITTED", "cudaErrorNotPermitted", "operation not permitted"},
    ErrorName{801, "CUDA_ERROR_NOT_SUPPORTED", "cudaErrorNotSupported", "operation not supported"},
    ErrorName{900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "cudaErrorStreamCaptureUnsupported",
              "operation not permitted when stream is capturing"},
    ErrorName{901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "cudaErrorStreamCaptureInvalidated",
              "operation failed due to a previous error during capture"},
    ErrorName{902, "CUDA_ERROR_STREAM_CAPTURE_MERGE", "cudaErrorStreamCaptureMerge",
              "operation would result in a merge of separate capture sequences"},
    ErrorName{903, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "cudaErrorStreamCaptureUnmatched",
              "capture was not ended in the same stream as it began"},
    ErrorName{904, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "cudaErrorStreamCaptureUnjoined",
              "capturing stream has unjoined work"},
    ErrorName{905, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "cudaErrorStreamCaptureIsolation",
              "dependency created on uncaptured work in another stream"},
    ErrorName{906, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", "cudaErrorStreamCaptureImplicit",
              "operation would make the legacy stream depend on a capturing blocking stream"},
    ErrorName{907, "CUDA_ERROR_CAPTURED_EVENT", "cudaErrorCapturedEvent",
              "operation not permitted on an event last recorded in a capturing stream"},
    ErrorName{908, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD", "cudaErrorStreamCaptureWrongThread",
              "attempt to terminate a thread-local capture sequence from another thread"},
    ErrorName{909, "CUDA_ERROR_TIMEOUT", "cudaErrorTimeout", "wait operation timed out"},
    ErrorName{910, "CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE", "cudaErrorGraphExecUpdateFailure",
              "the graph update was not performed because it included changes which violated "
              "constraints specific to instantiated graph update"},
    ErrorName{999, "CUDA_ERROR_UNKNOWN", "cudaErrorUnknown", "unknown error"},
};

auto &messages_mutex = *new std::mutex;
auto &messages = *new std::string;  // since Python last took them, one a line

constexpr size_t messages_limit = 16 * 1024;  // nobody takes them where the loader is not used

}  // namespace

const ErrorName *find_error(int code) {
    for (const ErrorName &error : errors) {
        if (error.code == code) {
            return &error;
        }
    }
    return nullptr;
}

CUresult report(const Fault &fault) {
    if (*fault.what() != '\0') {
        fakecuda_complain(fault.what());
    }
    return static_cast<CUresult>(fault.code);
}

}  // namespace fakecuda

using namespace fakecuda;

FAKECUDA_EXPORT void fakecuda_complain(const char *text) {
    std::fprintf(stderr, "[fakecuda] %s\n", text);
    std::lock_guard<std::mutex> lock(messages_mutex);
    if (messages.size() < messages_limit) {
        messages += std::string(text) + "\n";
    }
}

FAKECUDA_EXPORT int fakecuda_not_implemented(const char *name, int status) {
    const std::string text = std::string(name) + " is not in the stand-in for the CUDA driver";
    fakecuda_complain(text.c_str());
    return status;
}

FAKECUDA_EXPORT size_t fakecuda_messages(char *buffer, size_t size) {
    std::lock_guard<std::mutex> lock(messages_mutex);
    const size_t length = messages.size();
    if (size > 0) {
        buffer[messages.copy(buffer, size - 1)] = '\0';
        if (size > length) {
            messages.clear();
        }
    }
    return length;
}

extern "C" {

CUresult cuGetErrorName(CUresult error, const char **text) {
    const ErrorName *name = find_error(error);
    const bool known = name != nullptr && name->driver != nullptr;
    *text = known ? name->driver : nullptr;
    return known ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult error, const char **text) {
    const ErrorName *name = find_error(error);
    const bool known = name != nullptr && name->driver != nullptr;
    *text = known ? name->text : nullptr;
    return known ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

const char *cudaGetErrorName(cudaError_t error) {
    const ErrorName *name = find_error(error);
    return name != nullptr && name->runtime != nullptr ? name->runtime : "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error) {
    const ErrorName *name = find_error(error);
    return name != nullptr && name->runtime != nullptr ? name->text : "unrecognized error code";
}

}  // extern "C"
