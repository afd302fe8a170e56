// cuMemcpy and cuMemset in their forms.
#include "capture.h"
#include "copies.h"
#include "memory.h"

using namespace fakecuda;

namespace {

const void *pointer(CUdeviceptr address) { return reinterpret_cast<const void *>(address); }

CUresult copy_now(const char *name, const Region &region, CopyEnds ends) {
    return driver_call(name, Needs::context, [&] { copy(region, ends); });
}

CUresult copy_later(const char *name, const Region &region, CopyEnds ends, CUstream stream) {
    return driver_call(name, Needs::context,
                       [&] { copy_async(region, ends, stream_for_work(stream)); });
}

CUresult fill_now(const char *name, const Filling &filling) {
    return driver_call(name, Needs::context, [&] {
        check_unsafe_call();
        fill(filling, stream_for_work(nullptr));
    });
}

CUresult fill_later(const char *name, const Filling &filling, CUstream stream) {
    return driver_call(name, Needs::context, [&] { fill(filling, stream_for_work(stream)); });
}

constexpr CopyEnds to_device{End::device, End::host}, to_host{End::host, End::device},
    inside{End::device, End::device}, anywhere{End::either, End::either};

Filling elements(CUdeviceptr destination, uint32_t value, size_t size, size_t count) {
    return {.destination = destination, .value = value, .size = size, .width = count};
}

// A peer copy: each end must be memory of the device that the caller says.
void check_owner(CUdeviceptr address, CUcontext context, const char *end) {
    const Allocation *allocation = find_allocation(address);
    if (context == nullptr) {
        refuse(CUDA_ERROR_INVALID_CONTEXT);
    }
    if (allocation != nullptr && !allocation->on_host() &&
        allocation->kind != MemoryKind::managed && allocation->device != context->device) {
        throw Fault(CUDA_ERROR_INVALID_VALUE,
                    format("%s: the %s is memory of device %d, not %d", api_name(), end,
                           allocation->device, context->device));
    }
}

}  // namespace

extern "C" {

CUresult cuMemcpy(CUdeviceptr destination, CUdeviceptr source, size_t bytes) {
    return copy_now("cuMemcpy", line(pointer(destination), pointer(source), bytes), anywhere);
}

CUresult cuMemcpyAsync(CUdeviceptr destination, CUdeviceptr source, size_t bytes,
                       CUstream stream) {
    return copy_later("cuMemcpyAsync", line(pointer(destination), pointer(source), bytes), anywhere,
                      stream);
}

CUresult cuMemcpyHtoD(CUdeviceptr destination, const void *source, size_t bytes) {
    return copy_now("cuMemcpyHtoD", line(pointer(destination), source, bytes), to_device);
}

CUresult cuMemcpyDtoH(void *destination, CUdeviceptr source, size_t bytes) {
    return copy_now("cuMemcpyDtoH", line(destination, pointer(source), bytes), to_host);
}

CUresult cuMemcpyDtoD(CUdeviceptr destination, CUdeviceptr source, size_t bytes) {
    return copy_now("cuMemcpyDtoD", line(pointer(destination), pointer(source), bytes), inside);
}

CUresult cuMemcpyHtoDAsync(CUdeviceptr destination, const void *source, size_t bytes,
                           CUstream stream) {
    return copy_later("cuMemcpyHtoDAsync", line(pointer(destination), source, bytes), to_device,
                      stream);
}

CUresult cuMemcpyDtoHAsync(void *destination, CUdeviceptr source, size_t bytes, CUstream stream) {
    return copy_later("cuMemcpyDtoHAsync", line(destination, pointer(source), bytes), to_host,
                      stream);
}

CUresult cuMemcpyDtoDAsync(CUdeviceptr destination, CUdeviceptr source, size_t bytes,
                           CUstream stream) {
    return copy_later("cuMemcpyDtoDAsync", line(pointer(destination), pointer(source), bytes),
                      inside, stream);
}

CUresult cuMemcpyPeer(CUdeviceptr destination, CUcontext destination_context, CUdeviceptr source,
                      CUcontext source_context, size_t bytes) {
    return driver_call("cuMemcpyPeer", Needs::context, [&] {
        check_owner(destination, destination_context, "destination");
        check_owner(source, source_context, "source");
        copy(line(pointer(destination), pointer(source), bytes), inside);
    });
}

CUresult cuMemcpyPeerAsync(CUdeviceptr destination, CUcontext destination_context,
                           CUdeviceptr source, CUcontext source_context, size_t bytes,
                           CUstream stream) {
    return driver_call("cuMemcpyPeerAsync", Needs::context, [&] {
        check_owner(destination, destination_context, "destination");
        check_owner(source, source_context, "source");
        copy_async(line(pointer(destination), pointer(source), bytes), inside,
                   stream_for_work(stream));
    });
}

CUresult cuMemsetD8(CUdeviceptr destination, unsigned char value, size_t count) {
    return fill_now("cuMemsetD8", elements(destination, value, 1, count));
}

CUresult cuMemsetD16(CUdeviceptr destination, unsigned short value, size_t count) {
    return fill_now("cuMemsetD16", elements(destination, value, 2, count));
}

CUresult cuMemsetD32(CUdeviceptr destination, unsigned value, size_t count) {
    return fill_now("cuMemsetD32", elements(destination, value, 4, count));
}

CUresult cuMemsetD8Async(CUdeviceptr destination, unsigned char value, size_t count,
                         CUstream stream) {
    return fill_later("cuMemsetD8Async", elements(destination, value, 1, count), stream);
}

CUresult cuMemsetD16Async(CUdeviceptr destination, unsigned short value, size_t count,
                          CUstream stream) {
    return fill_later("cuMemsetD16Async", elements(destination, value, 2, count), stream);
}

CUresult cuMemsetD32Async(CUdeviceptr destination, unsigned value, size_t count, CUstream stream) {
    return fill_later("cuMemsetD32Async", elements(destination, value, 4, count), stream);
}

CUresult cuMemsetD2D8Async(CUdeviceptr destination, size_t pitch, unsigned char value,
                           size_t width, size_t height, CUstream stream) {
    return fill_later("cuMemsetD2D8Async",
                      {.destination = destination, .value = value, .size = 1, .width = width,
                       .height = height, .pitch = pitch},
                      stream);
}

}  // extern "C"
