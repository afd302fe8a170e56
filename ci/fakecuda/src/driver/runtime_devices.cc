// The runtime API: errors, versions, devices.
#include <cstring>

#include "state.h"

namespace fakecuda {

namespace {

thread_local cudaError_t last_error = cudaSuccess;

// A fault of a kernel stays: cudaGetLastError does not clear it.
cudaError_t standing_error() {
    const Context *context = current_context_or_null();
    return context != nullptr ? static_cast<cudaError_t>(context->failure.load()) : cudaSuccess;
}

int attribute(CUdevice_attribute attribute, int device) {
    int value = 0;
    cuDeviceGetAttribute(&value, attribute, device);
    return value;
}

void fill_properties(cudaDeviceProp &properties, int device) {
    properties = {};
    cuDeviceGetName(properties.name, sizeof properties.name, device);
    CUuuid uuid;
    cuDeviceGetUuid_v2(&uuid, device);
    std::memcpy(&properties.uuid, &uuid, sizeof uuid);
    cuDeviceTotalMem(&properties.totalGlobalMem, device);
    const auto of = [device](CUdevice_attribute which) { return attribute(which, device); };
    const auto size_of = [&](CUdevice_attribute which) { return static_cast<size_t>(of(which)); };

    properties.major = of(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    properties.minor = of(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    properties.warpSize = of(CU_DEVICE_ATTRIBUTE_WARP_SIZE);
    properties.multiProcessorCount = of(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    properties.clockRate = of(CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
    properties.memoryClockRate = of(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
    properties.memoryBusWidth = of(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
    properties.l2CacheSize = of(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
    properties.ECCEnabled = of(CU_DEVICE_ATTRIBUTE_ECC_ENABLED);
    properties.pciBusID = of(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID);

    properties.maxThreadsPerBlock = of(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
    properties.maxThreadsPerMultiProcessor =
        of(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
    properties.maxBlocksPerMultiProcessor = of(CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR);
    properties.maxThreadsDim[0] = of(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X);
    properties.maxThreadsDim[1] = of(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y);
    properties.maxThreadsDim[2] = of(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z);
    properties.maxGridSize[0] = of(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X);
    properties.maxGridSize[1] = of(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y);
    properties.maxGridSize[2] = of(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z);

    properties.sharedMemPerBlock = size_of(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK);
    properties.sharedMemPerBlockOptin =
        size_of(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
    properties.sharedMemPerMultiprocessor =
        size_of(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
    properties.reservedSharedMemPerBlock =
        size_of(CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK);
    properties.totalConstMem = size_of(CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY);
    properties.regsPerBlock = of(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK);
    properties.regsPerMultiprocessor = of(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR);
    properties.memPitch = size_of(CU_DEVICE_ATTRIBUTE_MAX_PITCH);
    properties.textureAlignment = size_of(CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT);
    properties.texturePitchAlignment = size_of(CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT);

    properties.deviceOverlap = of(CU_DEVICE_ATTRIBUTE_GPU_OVERLAP);
    properties.asyncEngineCount = of(CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT);
    properties.concurrentKernels = of(CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS);
    properties.unifiedAddressing = of(CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING);
    properties.canMapHostMemory = of(CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY);
    properties.managedMemory = of(CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY);
    properties.concurrentManagedAccess = of(CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS);
    properties.memoryPoolsSupported = of(CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED);
    properties.streamPrioritiesSupported = of(CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED);
    properties.globalL1CacheSupported = of(CU_DEVICE_ATTRIBUTE_GLOBAL_L1_CACHE_SUPPORTED);
    properties.localL1CacheSupported = of(CU_DEVICE_ATTRIBUTE_LOCAL_L1_CACHE_SUPPORTED);
    properties.hostRegisterSupported = of(CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED);
    properties.canUseHostPointerForRegisteredMem =
        of(CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM);
    properties.computePreemptionSupported =
        of(CU_DEVICE_ATTRIBUTE_COMPUTE_PREEMPTION_SUPPORTED);
    properties.singleToDoublePrecisionPerfRatio =
        of(CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO);
}

}  // namespace

cudaError_t remember(CUresult result) {
    const auto error = static_cast<cudaError_t>(result);
    if (error != cudaSuccess && error != cudaErrorNotReady) {
        last_error = error;
    }
    return error;
}

}  // namespace fakecuda

using namespace fakecuda;

extern "C" {

cudaError_t cudaGetLastError() {
    const cudaError_t error = last_error;
    last_error = standing_error();
    return error;
}

cudaError_t cudaPeekAtLastError() { return last_error; }

cudaError_t cudaDriverGetVersion(int *version) {
    ApiName scope("cudaDriverGetVersion");
    return remember(cuDriverGetVersion(version));
}

cudaError_t cudaRuntimeGetVersion(int *version) {
    if (version == nullptr) {
        return remember(CUDA_ERROR_INVALID_VALUE);
    }
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count) {
    return runtime_call("cudaGetDeviceCount", [&] { return cuDeviceGetCount(count); }, false);
}

cudaError_t cudaGetDevice(int *device) {
    return runtime_call(
        "cudaGetDevice",
        [&] {
            CUcontext context = nullptr;
            cuCtxGetCurrent(&context);
            if (device == nullptr) {
                return CUDA_ERROR_INVALID_VALUE;
            }
            *device = context == nullptr ? 0 : context->device;
            return CUDA_SUCCESS;
        },
        false);
}

cudaError_t cudaSetDevice(int device) {
    return runtime_call(
        "cudaSetDevice",
        [&] {
            CUcontext context = nullptr;
            const CUresult result = cuDevicePrimaryCtxRetain(&context, device);
            return result == CUDA_SUCCESS ? cuCtxSetCurrent(context) : result;
        },
        false);
}

cudaError_t cudaDeviceReset() {
    return runtime_call("cudaDeviceReset", [] {
        CUdevice device = 0;
        cuCtxGetDevice(&device);
        const CUresult result = cuDevicePrimaryCtxReset(device);
        last_error = cudaSuccess;
        return result;
    });
}

cudaError_t cudaDeviceSynchronize() {
    return runtime_call("cudaDeviceSynchronize", [] { return cuCtxSynchronize(); });
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
    return runtime_call(
        "cudaDeviceGetAttribute",
        [&] {
            return cuDeviceGetAttribute(value, static_cast<CUdevice_attribute>(attribute), device);
        },
        false);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device) {
    return runtime_call(
        "cudaGetDeviceProperties",
        [&] {
            CUdevice checked = 0;
            if (CUresult result = cuDeviceGet(&checked, device); result != CUDA_SUCCESS) {
                return result;
            }
            fill_properties(*properties, device);
            return CUDA_SUCCESS;
        },
        false);
}

cudaError_t cudaDeviceGetPCIBusId(char *text, int length, int device) {
    return runtime_call(
        "cudaDeviceGetPCIBusId", [&] { return cuDeviceGetPCIBusId(text, length, device); }, false);
}

cudaError_t cudaDeviceGetByPCIBusId(int *device, const char *text) {
    return runtime_call(
        "cudaDeviceGetByPCIBusId", [&] { return cuDeviceGetByPCIBusId(device, text); }, false);
}

cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer) {
    return runtime_call(
        "cudaDeviceCanAccessPeer", [&] { return cuDeviceCanAccessPeer(can, device, peer); },
        false);
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
    return runtime_call("cudaDeviceEnablePeerAccess", [&] {
        CUcontext context = nullptr;
        const CUresult result = cuDevicePrimaryCtxRetain(&context, peer);
        return result == CUDA_SUCCESS ? cuCtxEnablePeerAccess(context, flags) : result;
    });
}

cudaError_t cudaDeviceDisablePeerAccess(int peer) {
    return runtime_call("cudaDeviceDisablePeerAccess", [&] {
        CUcontext context = nullptr;
        const CUresult result = cuDevicePrimaryCtxRetain(&context, peer);
        return result == CUDA_SUCCESS ? cuCtxDisablePeerAccess(context) : result;
    });
}

cudaError_t cudaDeviceGetLimit(size_t *value, cudaLimit limit) {
    return runtime_call("cudaDeviceGetLimit",
                        [&] { return cuCtxGetLimit(value, static_cast<CUlimit>(limit)); });
}

cudaError_t cudaDeviceSetLimit(cudaLimit limit, size_t value) {
    return runtime_call("cudaDeviceSetLimit",
                        [&] { return cuCtxSetLimit(static_cast<CUlimit>(limit), value); });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    return runtime_call("cudaDeviceGetStreamPriorityRange",
                        [&] { return cuCtxGetStreamPriorityRange(least, greatest); });
}

cudaError_t cudaProfilerStart() {
    return runtime_call("cudaProfilerStart", [] { return cuProfilerStart(); });
}

cudaError_t cudaProfilerStop() {
    return runtime_call("cudaProfilerStop", [] { return cuProfilerStop(); });
}

}  // extern "C"
