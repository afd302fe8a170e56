// What the two devices say of themselves: those of compute capability 8.0, but for their number of
// multiprocessors.
#include <cstring>

#include "counters.h"
#include "memory.h"
#include "state.h"

namespace fakecuda {

namespace {

struct Attribute {
    CUdevice_attribute attribute;
    int value;
};

constexpr Attribute attributes[] = {
    {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, 1024},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, 1024},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 2147483647},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 65535},
    {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, shared_memory_default},
    {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, shared_memory_optin},
    {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, shared_memory_multiprocessor},
    {CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK, 1024},
    {CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY, 65536},
    {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
    {CU_DEVICE_ATTRIBUTE_MAX_PITCH, 2147483647},
    {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, 65536},
    {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, 65536},
    {CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 1410000},
    {CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT, 512},
    {CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT, 32},
    {CU_DEVICE_ATTRIBUTE_GPU_OVERLAP, 1},
    {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, multiprocessors},
    {CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT, 0},
    {CU_DEVICE_ATTRIBUTE_INTEGRATED, 0},
    {CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1},
    {CU_DEVICE_ATTRIBUTE_COMPUTE_MODE, CU_COMPUTEMODE_DEFAULT},
    {CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS, 1},
    {CU_DEVICE_ATTRIBUTE_ECC_ENABLED, 1},
    {CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID, 0},
    {CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID, 0},
    {CU_DEVICE_ATTRIBUTE_TCC_DRIVER, 0},
    {CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 1215000},
    {CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 5120},
    {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 40 << 20},
    {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 2048},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, 32},
    {CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, 3},
    {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
    {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 8},
    {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0},
    {CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED, 1},
    {CU_DEVICE_ATTRIBUTE_GLOBAL_L1_CACHE_SUPPORTED, 1},
    {CU_DEVICE_ATTRIBUTE_LOCAL_L1_CACHE_SUPPORTED, 1},
    {CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, 1},
    {CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS, 1},
    {CU_DEVICE_ATTRIBUTE_MULTI_GPU_BOARD, 0},
    {CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO, 2},
    {CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS, 0},
    {CU_DEVICE_ATTRIBUTE_COMPUTE_PREEMPTION_SUPPORTED, 1},
    {CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM, 1},
    {CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED, 1},
    {CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 0},
    {CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 1},
};

int attribute_value(CUdevice_attribute attribute, int device) {
    if (attribute == CU_DEVICE_ATTRIBUTE_PCI_BUS_ID) {
        return device + 1;
    }
    for (const Attribute &known : attributes) {
        if (known.attribute == attribute) {
            return known.value;
        }
    }
    if (attribute <= 0 || attribute >= CU_DEVICE_ATTRIBUTE_MAX) {
        refuse(CUDA_ERROR_INVALID_VALUE);
    }
    return 0;  // what the devices do not have: textures, and the features of later GPUs
}

}  // namespace

}  // namespace fakecuda

using namespace fakecuda;

extern "C" {

CUresult cuDriverGetVersion(int *version) {
    return driver_call("cuDriverGetVersion", Needs::nothing, [&] {
        check_pointer(version, "driverVersion");
        *version = driver_version();
    });
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    return driver_call("cuDeviceGet", Needs::driver, [&] {
        check_pointer(device, "device");
        check_device(ordinal);
        *device = ordinal;
    });
}

CUresult cuDeviceGetCount(int *count) {
    return driver_call("cuDeviceGetCount", Needs::driver, [&] {
        check_pointer(count, "count");
        *count = device_count();
    });
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
    return driver_call("cuDeviceGetName", Needs::driver, [&] {
        check_pointer(name, "name");
        check_device(device);
        std::snprintf(name, static_cast<size_t>(length), "Stand-in for a GPU (PTX interpreter)");
    });
}

CUresult cuDeviceTotalMem(size_t *bytes, CUdevice device) {
    return driver_call("cuDeviceTotalMem", Needs::driver, [&] {
        check_pointer(bytes, "bytes");
        check_device(device);
        *bytes = device_memory;
    });
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
    return driver_call("cuDeviceGetUuid", Needs::driver, [&] {
        check_pointer(uuid, "uuid");
        check_device(device);
        std::memset(uuid->bytes, 0, sizeof uuid->bytes);
        uuid->bytes[0] = static_cast<char>(device + 1);
    });
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) { return cuDeviceGetUuid(uuid, device); }

CUresult cuDeviceGetPCIBusId(char *text, int length, CUdevice device) {
    return driver_call("cuDeviceGetPCIBusId", Needs::driver, [&] {
        check_pointer(text, "pciBusId");
        check_device(device);
        std::snprintf(text, static_cast<size_t>(length), "0000:%02x:00.0", device + 1);
    });
}

CUresult cuDeviceGetByPCIBusId(CUdevice *device, const char *text) {
    return driver_call("cuDeviceGetByPCIBusId", Needs::driver, [&] {
        check_pointer(device, "dev");
        check_pointer(text, "pciBusId");
        for (int ordinal = 0; ordinal < device_count(); ordinal++) {
            const std::string whole = format("0000:%02x:00.0", ordinal + 1);
            if (text == whole || text == whole.substr(5) || text == whole.substr(0, 10)) {
                *device = ordinal;
                return;
            }
        }
        refuse(CUDA_ERROR_INVALID_DEVICE);
    });
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    return driver_call("cuDeviceGetAttribute", Needs::driver, [&] {
        check_pointer(value, "pi");
        check_device(device);
        *value = attribute_value(attribute, device);
    });
}

CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
    return driver_call("cuDeviceComputeCapability", Needs::driver, [&] {
        check_device(device);
        *major = 8;
        *minor = 0;
    });
}

CUresult cuProfilerStart() { return CUDA_SUCCESS; }

CUresult cuProfilerStop() { return CUDA_SUCCESS; }

}  // extern "C"
