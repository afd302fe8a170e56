// The runtime API: memory, copies and fills.
#include "capture.h"
#include "copies.h"
#include "memory.h"

using namespace fakecuda;

namespace {

CUdeviceptr address(const void *pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }

CUdeviceptr *addresses(void **pointer) { return reinterpret_cast<CUdeviceptr *>(pointer); }

// The runtime allocates nothing where the driver refuses to.
bool gives_null(void **pointer, size_t bytes) {
    if (pointer != nullptr && bytes == 0) {
        *pointer = nullptr;
        return true;
    }
    return false;
}

CopyEnds ends_of(cudaMemcpyKind kind) {
    switch (kind) {
        case cudaMemcpyHostToHost: return {End::host, End::host};
        case cudaMemcpyHostToDevice: return {End::device, End::host};
        case cudaMemcpyDeviceToHost: return {End::host, End::device};
        case cudaMemcpyDeviceToDevice: return {End::device, End::device};
        case cudaMemcpyDefault: return {End::either, End::either};
    }
    throw Fault(cudaErrorInvalidMemcpyDirection,
                format("%s: %d is no kind of copy", api_name(), static_cast<int>(kind)));
}

Region rectangle(void *destination, size_t destination_pitch, const void *source,
                 size_t source_pitch, size_t width, size_t height) {
    if (width > destination_pitch || width > source_pitch) {
        throw Fault(cudaErrorInvalidPitchValue,
                    format("%s: rows of %zu bytes are wider than their pitch", api_name(), width));
    }
    return {.destination = address(destination), .source = address(source), .width = width,
            .height = height, .destination_pitch = destination_pitch,
            .source_pitch = source_pitch};
}

template <typename Body>
cudaError_t copy_call(const char *name, Body body) {
    return runtime_call(name, [&] { return driver_call(name, Needs::context, body); });
}

template <typename Body>
CUresult with_contexts(int first, int second, Body body) {
    CUcontext contexts[2] = {};
    CUresult result = cuDevicePrimaryCtxRetain(&contexts[0], first);
    if (result == CUDA_SUCCESS) {
        result = cuDevicePrimaryCtxRetain(&contexts[1], second);
    }
    return result == CUDA_SUCCESS ? body(contexts[0], contexts[1]) : result;
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void **pointer, size_t bytes) {
    return runtime_call("cudaMalloc", [&] {
        return gives_null(pointer, bytes) ? CUDA_SUCCESS : cuMemAlloc(addresses(pointer), bytes);
    });
}

cudaError_t cudaMallocManaged(void **pointer, size_t bytes, unsigned flags) {
    return runtime_call("cudaMallocManaged",
                        [&] { return cuMemAllocManaged(addresses(pointer), bytes, flags); });
}

cudaError_t cudaMallocPitch(void **pointer, size_t *pitch, size_t width, size_t height) {
    return runtime_call("cudaMallocPitch", [&] {
        return cuMemAllocPitch(addresses(pointer), pitch, width, height, 4);
    });
}

cudaError_t cudaFree(void *pointer) {
    return runtime_call("cudaFree", [&] { return cuMemFree(address(pointer)); });
}

cudaError_t cudaMallocAsync(void **pointer, size_t bytes, cudaStream_t stream) {
    return runtime_call("cudaMallocAsync", [&] {
        return gives_null(pointer, bytes) ? CUDA_SUCCESS
                                          : cuMemAllocAsync(addresses(pointer), bytes, stream);
    });
}

cudaError_t cudaMallocFromPoolAsync(void **pointer, size_t bytes, cudaMemPool_t pool,
                                    cudaStream_t stream) {
    return runtime_call("cudaMallocFromPoolAsync", [&] {
        return gives_null(pointer, bytes)
                   ? CUDA_SUCCESS
                   : cuMemAllocFromPoolAsync(addresses(pointer), bytes, pool, stream);
    });
}

cudaError_t cudaFreeAsync(void *pointer, cudaStream_t stream) {
    return runtime_call("cudaFreeAsync", [&] { return cuMemFreeAsync(address(pointer), stream); });
}

cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned flags) {
    return runtime_call("cudaHostAlloc", [&] {
        return gives_null(pointer, bytes) ? CUDA_SUCCESS : cuMemHostAlloc(pointer, bytes, flags);
    });
}

cudaError_t cudaMallocHost(void **pointer, size_t bytes) {
    return runtime_call("cudaMallocHost", [&] {
        return gives_null(pointer, bytes) ? CUDA_SUCCESS : cuMemHostAlloc(pointer, bytes, 0);
    });
}

cudaError_t cudaFreeHost(void *pointer) {
    return runtime_call("cudaFreeHost", [&] { return cuMemFreeHost(pointer); });
}

cudaError_t cudaHostRegister(void *pointer, size_t bytes, unsigned flags) {
    return runtime_call("cudaHostRegister",
                        [&] { return cuMemHostRegister(pointer, bytes, flags); });
}

cudaError_t cudaHostUnregister(void *pointer) {
    return runtime_call("cudaHostUnregister", [&] { return cuMemHostUnregister(pointer); });
}

cudaError_t cudaHostGetDevicePointer(void **device, void *pointer, unsigned flags) {
    return runtime_call("cudaHostGetDevicePointer", [&] {
        return cuMemHostGetDevicePointer(addresses(device), pointer, flags);
    });
}

cudaError_t cudaHostGetFlags(unsigned *flags, void *pointer) {
    return runtime_call("cudaHostGetFlags", [&] { return cuMemHostGetFlags(flags, pointer); });
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
    return runtime_call("cudaMemGetInfo", [&] { return cuMemGetInfo(free, total); });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *attributes, const void *pointer) {
    return copy_call("cudaPointerGetAttributes", [&] {
        check_pointer(attributes, "attributes");
        *attributes = {};
        const Allocation *allocation = find_allocation(address(pointer));
        if (allocation == nullptr) {
            attributes->type = cudaMemoryTypeUnregistered;
            attributes->device = -2;  // cudaInvalidDeviceId
            attributes->hostPointer = const_cast<void *>(pointer);
            return;
        }
        const bool managed = allocation->kind == MemoryKind::managed;
        attributes->type = managed                  ? cudaMemoryTypeManaged
                           : allocation->on_host() ? cudaMemoryTypeHost
                                                   : cudaMemoryTypeDevice;
        attributes->device = allocation->device;
        attributes->devicePointer = const_cast<void *>(pointer);
        if (managed || allocation->on_host()) {
            attributes->hostPointer = const_cast<void *>(pointer);
        }
    });
}

cudaError_t cudaMemcpy(void *destination, const void *source, size_t bytes, cudaMemcpyKind kind) {
    return copy_call("cudaMemcpy",
                     [&] { copy(line(destination, source, bytes), ends_of(kind)); });
}

cudaError_t cudaMemcpyAsync(void *destination, const void *source, size_t bytes,
                            cudaMemcpyKind kind, cudaStream_t stream) {
    return copy_call("cudaMemcpyAsync", [&] {
        copy_async(line(destination, source, bytes), ends_of(kind), stream_for_work(stream));
    });
}

cudaError_t cudaMemcpy2D(void *destination, size_t destination_pitch, const void *source,
                         size_t source_pitch, size_t width, size_t height, cudaMemcpyKind kind) {
    return copy_call("cudaMemcpy2D", [&] {
        copy(rectangle(destination, destination_pitch, source, source_pitch, width, height),
             ends_of(kind));
    });
}

cudaError_t cudaMemcpy2DAsync(void *destination, size_t destination_pitch, const void *source,
                              size_t source_pitch, size_t width, size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream) {
    return copy_call("cudaMemcpy2DAsync", [&] {
        copy_async(rectangle(destination, destination_pitch, source, source_pitch, width, height),
                   ends_of(kind), stream_for_work(stream));
    });
}

cudaError_t cudaMemcpyPeer(void *destination, int destination_device, const void *source,
                           int source_device, size_t bytes) {
    return runtime_call("cudaMemcpyPeer", [&] {
        return with_contexts(
            destination_device, source_device, [&](CUcontext to, CUcontext from) {
                return cuMemcpyPeer(address(destination), to, address(source), from, bytes);
            });
    });
}

cudaError_t cudaMemcpyPeerAsync(void *destination, int destination_device, const void *source,
                                int source_device, size_t bytes, cudaStream_t stream) {
    return runtime_call("cudaMemcpyPeerAsync", [&] {
        return with_contexts(
            destination_device, source_device, [&](CUcontext to, CUcontext from) {
                return cuMemcpyPeerAsync(address(destination), to, address(source), from, bytes,
                                         stream);
            });
    });
}

cudaError_t cudaMemset(void *destination, int value, size_t bytes) {
    return runtime_call("cudaMemset", [&] {
        return cuMemsetD8(address(destination), static_cast<unsigned char>(value), bytes);
    });
}

cudaError_t cudaMemsetAsync(void *destination, int value, size_t bytes, cudaStream_t stream) {
    return runtime_call("cudaMemsetAsync", [&] {
        return cuMemsetD8Async(address(destination), static_cast<unsigned char>(value), bytes,
                               stream);
    });
}

cudaError_t cudaMemset2DAsync(void *destination, size_t pitch, int value, size_t width,
                              size_t height, cudaStream_t stream) {
    return runtime_call("cudaMemset2DAsync", [&] {
        return cuMemsetD2D8Async(address(destination), pitch, static_cast<unsigned char>(value),
                                 width, height, stream);
    });
}

cudaError_t cudaMemPrefetchAsync(const void *pointer, size_t bytes, int device,
                                 cudaStream_t stream) {
    return runtime_call("cudaMemPrefetchAsync", [&] {
        return cuMemPrefetchAsync(address(pointer), bytes, device, stream);
    });
}

cudaError_t cudaMemAdvise(const void *pointer, size_t bytes, cudaMemoryAdvise advice, int device) {
    return runtime_call("cudaMemAdvise", [&] {
        return cuMemAdvise(address(pointer), bytes, static_cast<CUmem_advise>(advice), device);
    });
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int device) {
    return runtime_call("cudaDeviceGetDefaultMemPool",
                        [&] { return cuDeviceGetDefaultMemPool(pool, device); });
}

cudaError_t cudaDeviceGetMemPool(cudaMemPool_t *pool, int device) {
    return runtime_call("cudaDeviceGetMemPool", [&] { return cuDeviceGetMemPool(pool, device); });
}

cudaError_t cudaDeviceSetMemPool(int device, cudaMemPool_t pool) {
    return runtime_call("cudaDeviceSetMemPool", [&] { return cuDeviceSetMemPool(device, pool); });
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t *pool, const cudaMemPoolProps *properties) {
    return runtime_call("cudaMemPoolCreate", [&] {
        if (properties == nullptr) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        CUmemPoolProps wanted{};
        wanted.allocType = static_cast<CUmemAllocationType>(properties->allocType);
        wanted.handleTypes = static_cast<CUmemAllocationHandleType>(properties->handleTypes);
        wanted.location.type = static_cast<CUmemLocationType>(properties->location.type);
        wanted.location.id = properties->location.id;
        return cuMemPoolCreate(pool, &wanted);
    });
}

cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
    return runtime_call("cudaMemPoolDestroy", [&] { return cuMemPoolDestroy(pool); });
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t keep) {
    return runtime_call("cudaMemPoolTrimTo", [&] { return cuMemPoolTrimTo(pool, keep); });
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void *value) {
    return runtime_call("cudaMemPoolGetAttribute", [&] {
        return cuMemPoolGetAttribute(pool, static_cast<CUmemPool_attribute>(attribute), value);
    });
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void *value) {
    return runtime_call("cudaMemPoolSetAttribute", [&] {
        return cuMemPoolSetAttribute(pool, static_cast<CUmemPool_attribute>(attribute), value);
    });
}

}  // extern "C"
