// Memory in the order of streams (cuMemAllocAsync) and the pools that it comes from.
#include "capture.h"
#include "counters.h"
#include "memory.h"
#include "streams.h"

struct CUmemPoolHandle_st {
    int device = 0;
    uint64_t used = 0, used_high = 0;
    uint64_t reserved = 0, reserved_high = 0;  // what the pool keeps of the device's memory
    uint64_t threshold = 0;                    // what a synchronisation leaves it
    int reuse[3] = {1, 1, 1};

    void take(size_t bytes) {
        used += bytes;
        used_high = std::max(used_high, used);
        reserved = std::max(reserved, used);
        reserved_high = std::max(reserved_high, reserved);
    }
    void trim(uint64_t keep) { reserved = std::max(used, std::min(reserved, keep)); }
};

namespace fakecuda {

namespace {

auto &pools = *new Handles<Pool>;
auto &default_pools = *new std::unordered_map<int, Pool *>;
auto &current_pools = *new std::unordered_map<int, Pool *>;

Pool *default_pool(int device) {
    Pool *&pool = default_pools[device];
    if (pool == nullptr) {
        auto made = std::make_shared<Pool>();
        made->device = device;
        pool = pools.add(std::move(made));
    }
    return pool;
}

Pool *current_pool(int device) {
    auto found = current_pools.find(device);
    return found != current_pools.end() ? found->second : default_pool(device);
}

void check_no_capture(const StreamPointer &stream) {
    if (stream->capture) {
        invalidate(*stream->capture, CUDA_ERROR_NOT_SUPPORTED,
                   "memory that a graph allocates or frees is not in the stand-in");
    }
}

// Memory that streams are about to free may be what is missing.
Allocation &allocate_or_wait(size_t bytes, const Pool &pool, Context &context) {
    try {
        return allocate(bytes, MemoryKind::device, pool.device);
    } catch (const Fault &fault) {
        if (fault.code != CUDA_ERROR_OUT_OF_MEMORY) {
            throw;
        }
    }
    run_all(context);
    return allocate(bytes, MemoryKind::device, pool.device);
}

CUdeviceptr allocate_async(size_t bytes, Pool *handle, const StreamPointer &stream) {
    check_no_capture(stream);
    if (bytes == 0) {
        refuse(CUDA_ERROR_INVALID_VALUE);
    }
    const auto pool = pools.get(handle, "memory pool");
    count_allocation(bytes);
    Allocation &allocation = allocate_or_wait(bytes, *pool, *stream->context);
    allocation.pool = pool.get();
    pool->take(bytes);
    return allocation.begin;
}

void free_async(CUdeviceptr pointer, const StreamPointer &stream) {
    check_no_capture(stream);
    Allocation &allocation = allocation_at(reinterpret_cast<void *>(pointer));
    if (allocation.freed_later) {
        throw Fault(CUDA_ERROR_INVALID_VALUE,
                    format("%s: %#llx is freed already, in the order of a stream", api_name(),
                           pointer));
    }
    if (allocation.kind != MemoryKind::device) {
        throw Fault(CUDA_ERROR_INVALID_VALUE,
                    format("%s: %#llx is not device memory", api_name(), pointer));
    }
    allocation.freed_later = true;
    const auto free = [pointer, id = allocation.id] {
        Allocation *allocation = find_allocation(pointer);
        if (allocation != nullptr && allocation->id == id) {
            release(*allocation);
        }
    };
    put(stream, {.run = free, .cleans_up = true});
}

// Numbers are int up to REUSE_ALLOW_INTERNAL_DEPENDENCIES and 64 bits after that.
constexpr int reuse_attributes = CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES;

void get_attribute(const Pool &pool, CUmemPool_attribute attribute, void *value) {
    if (attribute >= 1 && attribute <= reuse_attributes) {
        *static_cast<int *>(value) = pool.reuse[attribute - 1];
        return;
    }
    auto &number = *static_cast<cuuint64_t *>(value);
    switch (attribute) {
        case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: number = pool.threshold; break;
        case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT: number = pool.reserved; break;
        case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH: number = pool.reserved_high; break;
        case CU_MEMPOOL_ATTR_USED_MEM_CURRENT: number = pool.used; break;
        case CU_MEMPOOL_ATTR_USED_MEM_HIGH: number = pool.used_high; break;
        default: refuse(CUDA_ERROR_INVALID_VALUE);
    }
}

void set_attribute(Pool &pool, CUmemPool_attribute attribute, const void *value) {
    if (attribute >= 1 && attribute <= reuse_attributes) {
        pool.reuse[attribute - 1] = *static_cast<const int *>(value);
        return;
    }
    const cuuint64_t number = *static_cast<const cuuint64_t *>(value);
    if (attribute == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) {
        pool.threshold = number;
        return;
    }
    if (number != 0) {  // marks of the highest use can only be set back
        refuse(CUDA_ERROR_INVALID_VALUE);
    }
    switch (attribute) {
        case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH: pool.reserved_high = pool.reserved; break;
        case CU_MEMPOOL_ATTR_USED_MEM_HIGH: pool.used_high = pool.used; break;
        default: refuse(CUDA_ERROR_INVALID_VALUE);
    }
}

}  // namespace

void give_back(Pool *pool, size_t bytes) { pool->used -= bytes; }

void trim_pools(int device) {
    for (const auto &[owner, pool] : default_pools) {
        if (owner == device) {
            pool->trim(pool->threshold);
        }
    }
}

size_t pool_reserve(int device) {
    auto found = default_pools.find(device);
    return found == default_pools.end() ? 0 : found->second->reserved - found->second->used;
}

}  // namespace fakecuda

using namespace fakecuda;

extern "C" {

CUresult cuMemAllocAsync(CUdeviceptr *pointer, size_t bytes, CUstream handle) {
    return driver_call("cuMemAllocAsync", Needs::context, [&] {
        check_pointer(pointer, "dptr");
        const StreamPointer stream = stream_for_work(handle);
        *pointer = allocate_async(bytes, current_pool(stream->context->device), stream);
    });
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *pointer, size_t bytes, CUmemoryPool pool,
                                 CUstream handle) {
    return driver_call("cuMemAllocFromPoolAsync", Needs::context, [&] {
        check_pointer(pointer, "dptr");
        *pointer = allocate_async(bytes, pool, stream_for_work(handle));
    });
}

CUresult cuMemFreeAsync(CUdeviceptr pointer, CUstream handle) {
    return driver_call("cuMemFreeAsync", Needs::context, [&] {
        if (pointer != 0) {
            free_async(pointer, stream_for_work(handle));
        }
    });
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device) {
    return driver_call("cuDeviceGetDefaultMemPool", Needs::driver, [&] {
        check_pointer(pool, "pool_out");
        check_device(device);
        *pool = default_pool(device);
    });
}

CUresult cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice device) {
    return driver_call("cuDeviceGetMemPool", Needs::driver, [&] {
        check_pointer(pool, "pool");
        check_device(device);
        *pool = current_pool(device);
    });
}

CUresult cuDeviceSetMemPool(CUdevice device, CUmemoryPool pool) {
    return driver_call("cuDeviceSetMemPool", Needs::driver, [&] {
        check_device(device);
        if (pools.get(pool, "memory pool")->device != device) {
            throw Fault(CUDA_ERROR_INVALID_VALUE,
                        format("%s: the pool is of device %d", api_name(), pool->device));
        }
        current_pools[device] = pool;
    });
}

CUresult cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *properties) {
    return driver_call("cuMemPoolCreate", Needs::driver, [&] {
        check_pointer(pool, "pool");
        check_pointer(properties, "poolProps");
        const bool plain = properties->allocType == CU_MEM_ALLOCATION_TYPE_PINNED &&
                           properties->location.type == CU_MEM_LOCATION_TYPE_DEVICE &&
                           properties->handleTypes == CU_MEM_HANDLE_TYPE_NONE;
        if (!plain) {
            throw Fault(CUDA_ERROR_NOT_SUPPORTED,
                        std::string(api_name()) +
                            ": the stand-in has pools of device memory that is not shared");
        }
        check_device(properties->location.id);
        auto made = std::make_shared<CUmemPoolHandle_st>();
        made->device = properties->location.id;
        *pool = pools.add(std::move(made));
    });
}

CUresult cuMemPoolDestroy(CUmemoryPool pool) {
    return driver_call("cuMemPoolDestroy", Needs::driver, [&] {
        const auto found = pools.get(pool, "memory pool");
        if (found.get() == default_pool(found->device)) {
            throw Fault(CUDA_ERROR_INVALID_VALUE,
                        std::string(api_name()) + ": a default pool can't be destroyed");
        }
        if (found->used != 0) {
            throw Fault(CUDA_ERROR_NOT_SUPPORTED,
                        std::string(api_name()) +
                            ": the stand-in destroys a pool only when its memory is free");
        }
        std::erase_if(current_pools, [&](const auto &entry) { return entry.second == pool; });
        pools.remove(pool, "memory pool");
    });
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t keep) {
    return driver_call("cuMemPoolTrimTo", Needs::driver,
                       [&] { pools.get(pool, "memory pool")->trim(keep); });
}

CUresult cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value) {
    return driver_call("cuMemPoolGetAttribute", Needs::driver, [&] {
        check_pointer(value, "value");
        get_attribute(*pools.get(pool, "memory pool"), attribute, value);
    });
}

CUresult cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value) {
    return driver_call("cuMemPoolSetAttribute", Needs::driver, [&] {
        check_pointer(value, "value");
        set_attribute(*pools.get(pool, "memory pool"), attribute, value);
    });
}

}  // extern "C"
