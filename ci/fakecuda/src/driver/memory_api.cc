// cuMemAlloc and the like, host memory, pointer attributes.
#include "capture.h"
#include "copies.h"
#include "counters.h"
#include "memory.h"

namespace fakecuda {

namespace {

// Freeing memory waits for all that may use it.
void wait_for_everything() {
    check_unsafe_call();
    count_wait();
    for (const auto &context : all_contexts()) {
        run_all(*context);
    }
}

CUdeviceptr allocate_for_api(size_t bytes, MemoryKind kind, unsigned flags) {
    check_unsafe_call();
    if (bytes == 0) {
        refuse(CUDA_ERROR_INVALID_VALUE);
    }
    if (kind != MemoryKind::pinned) {
        count_allocation(bytes);
    }
    Allocation &allocation = allocate(bytes, kind, current_context().device, 4096);
    allocation.flags = flags;
    if (logging()) {
        log(format("%s of %zu bytes at %#lx", api_name(), bytes, allocation.begin));
    }
    return allocation.begin;
}

void free_for_api(const void *pointer, bool host) {
    if (pointer == nullptr) {
        return;
    }
    wait_for_everything();
    Allocation &allocation = allocation_at(pointer);
    const bool right = host ? allocation.kind == MemoryKind::pinned
                            : allocation.kind == MemoryKind::device ||
                                  allocation.kind == MemoryKind::managed;
    if (!right) {
        throw Fault(CUDA_ERROR_INVALID_VALUE,
                    format("%s: %p is not %s memory", api_name(), pointer,
                           host ? "pinned host" : "device"));
    }
    release(allocation);
    check_failure(current_context());
}

const Allocation &known(CUdeviceptr pointer) {
    const Allocation *allocation = find_allocation(pointer);
    if (allocation == nullptr) {
        refuse(CUDA_ERROR_INVALID_VALUE);  // expected: it is how one asks
    }
    return *allocation;
}

void pointer_attribute(void *data, CUpointer_attribute attribute, CUdeviceptr pointer) {
    const Allocation &allocation = known(pointer);
    switch (attribute) {
        case CU_POINTER_ATTRIBUTE_CONTEXT:
            *static_cast<CUcontext *>(data) = &primary_context(allocation.device);
            break;
        case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
            *static_cast<unsigned *>(data) =
                allocation.on_host() ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
            break;
        case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
            *static_cast<CUdeviceptr *>(data) = pointer;
            break;
        case CU_POINTER_ATTRIBUTE_HOST_POINTER:
            if (!allocation.on_host() && allocation.kind != MemoryKind::managed) {
                refuse(CUDA_ERROR_INVALID_VALUE);
            }
            *static_cast<CUdeviceptr *>(data) = pointer;
            break;
        case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS: *static_cast<unsigned *>(data) = 0; break;
        case CU_POINTER_ATTRIBUTE_BUFFER_ID:
            *static_cast<unsigned long long *>(data) = allocation.id;
            break;
        case CU_POINTER_ATTRIBUTE_IS_MANAGED:
            *static_cast<unsigned *>(data) = allocation.kind == MemoryKind::managed;
            break;
        case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
            *static_cast<int *>(data) = allocation.device;
            break;
        case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
            *static_cast<CUdeviceptr *>(data) = allocation.begin;
            break;
        case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
            *static_cast<size_t *>(data) = allocation.bytes;
            break;
        case CU_POINTER_ATTRIBUTE_MAPPED: *static_cast<unsigned *>(data) = 1; break;
        case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
            *static_cast<CUmemoryPool *>(data) = allocation.pool;
            break;
        default: {
            const std::string name = format("pointer attribute %d", static_cast<int>(attribute));
            fakecuda_not_implemented(name.c_str(), 0);
            refuse(CUDA_ERROR_NOT_SUPPORTED);
        }
    }
}

}  // namespace

}  // namespace fakecuda

using namespace fakecuda;

extern "C" {

CUresult cuMemGetInfo(size_t *free, size_t *total) {
    return driver_call("cuMemGetInfo", Needs::context, [&] {
        check_pointer(free, "free");
        check_pointer(total, "total");
        const int device = current_context().device;
        const size_t taken = memory_used(device) + pool_reserve(device);
        *free = device_memory - std::min(taken, device_memory);
        *total = device_memory;
    });
}

CUresult cuMemAlloc(CUdeviceptr *pointer, size_t bytes) {
    return driver_call("cuMemAlloc", Needs::context, [&] {
        check_pointer(pointer, "dptr");
        *pointer = allocate_for_api(bytes, MemoryKind::device, 0);
    });
}

CUresult cuMemAllocManaged(CUdeviceptr *pointer, size_t bytes, unsigned flags) {
    return driver_call("cuMemAllocManaged", Needs::context, [&] {
        check_pointer(pointer, "dptr");
        if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST) {
            refuse(CUDA_ERROR_INVALID_VALUE);
        }
        *pointer = allocate_for_api(bytes, MemoryKind::managed, flags);
    });
}

CUresult cuMemAllocPitch(CUdeviceptr *pointer, size_t *pitch, size_t width, size_t height,
                         unsigned element) {
    return driver_call("cuMemAllocPitch", Needs::context, [&] {
        check_pointer(pointer, "dptr");
        check_pointer(pitch, "pPitch");
        if (element != 4 && element != 8 && element != 16) {
            refuse(CUDA_ERROR_INVALID_VALUE);
        }
        *pitch = (width + 511) / 512 * 512;
        *pointer = allocate_for_api(*pitch * height, MemoryKind::device, 0);
    });
}

CUresult cuMemFree(CUdeviceptr pointer) {
    return driver_call("cuMemFree", Needs::context,
                       [&] { free_for_api(reinterpret_cast<void *>(pointer), false); });
}

CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) {
    return driver_call("cuMemHostAlloc", Needs::context, [&] {
        check_pointer(pointer, "pp");
        constexpr unsigned known_flags = CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP |
                                         CU_MEMHOSTALLOC_WRITECOMBINED;
        if ((flags & ~known_flags) != 0) {
            refuse(CUDA_ERROR_INVALID_VALUE);
        }
        *pointer =
            reinterpret_cast<void *>(allocate_for_api(bytes, MemoryKind::pinned, flags));
    });
}

CUresult cuMemAllocHost(void **pointer, size_t bytes) { return cuMemHostAlloc(pointer, bytes, 0); }

CUresult cuMemFreeHost(void *pointer) {
    return driver_call("cuMemFreeHost", Needs::context, [&] { free_for_api(pointer, true); });
}

CUresult cuMemHostRegister(void *pointer, size_t bytes, unsigned flags) {
    return driver_call("cuMemHostRegister", Needs::context, [&] {
        check_unsafe_call();
        check_pointer(pointer, "p");
        if (bytes == 0) {
            refuse(CUDA_ERROR_INVALID_VALUE);
        }
        register_host(pointer, bytes, flags, current_context().device);
    });
}

CUresult cuMemHostUnregister(void *pointer) {
    return driver_call("cuMemHostUnregister", Needs::context, [&] {
        wait_for_everything();
        Allocation *allocation = find_allocation(reinterpret_cast<uint64_t>(pointer));
        if (allocation == nullptr || allocation->kind != MemoryKind::registered ||
            allocation->begin != reinterpret_cast<uint64_t>(pointer)) {
            refuse(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
        }
        release(*allocation);
    });
}

CUresult cuMemHostGetDevicePointer(CUdeviceptr *device, void *pointer, unsigned) {
    return driver_call("cuMemHostGetDevicePointer", Needs::context, [&] {
        check_pointer(device, "pdptr");
        const auto address = reinterpret_cast<uint64_t>(pointer);
        if (!known(address).on_host()) {
            refuse(CUDA_ERROR_INVALID_VALUE);
        }
        *device = address;
    });
}

CUresult cuMemHostGetFlags(unsigned *flags, void *pointer) {
    return driver_call("cuMemHostGetFlags", Needs::context, [&] {
        check_pointer(flags, "pFlags");
        const Allocation &allocation = known(reinterpret_cast<uint64_t>(pointer));
        if (!allocation.on_host()) {
            refuse(CUDA_ERROR_INVALID_VALUE);
        }
        *flags = allocation.flags;
    });
}

CUresult cuMemGetAddressRange(CUdeviceptr *begin, size_t *bytes, CUdeviceptr pointer) {
    return driver_call("cuMemGetAddressRange", Needs::context, [&] {
        const Allocation *allocation = find_allocation(pointer);
        if (allocation == nullptr) {
            refuse(CUDA_ERROR_NOT_FOUND);
        }
        if (begin != nullptr) {
            *begin = allocation->begin;
        }
        if (bytes != nullptr) {
            *bytes = allocation->bytes;
        }
    });
}

CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr pointer) {
    return driver_call("cuPointerGetAttribute", Needs::context, [&] {
        check_pointer(data, "data");
        pointer_attribute(data, attribute, pointer);
    });
}

// Sizes and hints of managed memory, which is in one place here.
CUresult cuMemPrefetchAsync(CUdeviceptr pointer, size_t bytes, CUdevice device, CUstream stream) {
    return driver_call("cuMemPrefetchAsync", Needs::context, [&] {
        if (device != CU_DEVICE_CPU) {
            check_device(device);
        }
        find_stream(stream);
        const Allocation &allocation = known(pointer);
        if (allocation.kind != MemoryKind::managed || pointer + bytes > allocation.end()) {
            refuse(CUDA_ERROR_INVALID_VALUE);
        }
    });
}

CUresult cuMemAdvise(CUdeviceptr pointer, size_t bytes, CUmem_advise, CUdevice device) {
    return driver_call("cuMemAdvise", Needs::context, [&] {
        if (device != CU_DEVICE_CPU) {
            check_device(device);
        }
        const Allocation &allocation = known(pointer);
        if (allocation.kind != MemoryKind::managed || pointer + bytes > allocation.end()) {
            refuse(CUDA_ERROR_INVALID_VALUE);
        }
    });
}

}  // extern "C"
