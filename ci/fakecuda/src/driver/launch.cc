#include "launch.h"

#include <chrono>
#include <cstring>

#include "capture.h"

namespace fakecuda {

namespace {

std::string text(const ptx::Dim &dim) { return format("%u, %u, %u", dim.x, dim.y, dim.z); }

uint64_t volume(const ptx::Dim &dim) { return uint64_t{dim.x} * dim.y * dim.z; }

[[noreturn]] void refuse_launch(const Function &function, CUresult code,
                                const std::string &reason) {
    throw Fault(code, format("%s, kernel %s: ", api_name(), function.entry->name.c_str()) + reason);
}

void check_size(const Function &function, const LaunchSize &size) {
    const auto [grid, block, dynamic_shared] = size;
    if (volume(grid) == 0 || grid.x > 2147483647 || grid.y > 65535 || grid.z > 65535) {
        refuse_launch(function, CUDA_ERROR_INVALID_VALUE,
                      "a grid of (" + text(grid) + ") blocks: 1 to (2147483647, 65535, 65535)");
    }
    if (volume(block) == 0 || block.x > 1024 || block.y > 1024 || block.z > 64 ||
        volume(block) > 1024) {
        refuse_launch(function, CUDA_ERROR_INVALID_VALUE,
                      "a block of (" + text(block) +
                          ") threads: 1 to (1024, 1024, 64), and 1024 in all");
    }
    if (volume(block) > function.entry->max_threads) {
        refuse_launch(function, CUDA_ERROR_INVALID_VALUE,
                      format("a block of %lu threads: its launch bounds say %u", volume(block),
                             function.entry->max_threads));
    }
    if (dynamic_shared > static_cast<size_t>(function.max_dynamic_shared)) {
        refuse_launch(function, CUDA_ERROR_INVALID_VALUE,
                      format("%zu bytes of dynamic shared memory: the function may use %d "
                             "(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)",
                             dynamic_shared, function.max_dynamic_shared));
    }
    const size_t shared = dynamic_shared + function.entry->static_shared;
    const int limit = std::max(shared_memory_default,
                               function.max_dynamic_shared > shared_memory_default
                                   ? shared_memory_optin
                                   : shared_memory_default);
    if (shared > static_cast<size_t>(limit)) {
        refuse_launch(function, CUDA_ERROR_INVALID_VALUE,
                      format("%zu bytes of shared memory in all: a block may use %d", shared,
                             limit));
    }
}

// Parameters that come packed in one buffer.
void copy_packed(const Function &function, void **extra, uint8_t *values) {
    const void *buffer = nullptr;
    size_t bytes = 0;
    for (size_t i = 0; extra[i] != CU_LAUNCH_PARAM_END; i += 2) {
        if (extra[i] == CU_LAUNCH_PARAM_BUFFER_POINTER) {
            buffer = extra[i + 1];
        } else if (extra[i] == CU_LAUNCH_PARAM_BUFFER_SIZE) {
            bytes = *static_cast<size_t *>(extra[i + 1]);
        } else {
            refuse_launch(function, CUDA_ERROR_INVALID_VALUE, "an unknown extra parameter");
        }
    }
    if (buffer == nullptr || bytes < function.entry->parameter_bytes) {
        refuse_launch(function, CUDA_ERROR_INVALID_VALUE,
                      format("a buffer of %zu bytes of parameters: it takes %zu", bytes,
                             function.entry->parameter_bytes));
    }
    std::memcpy(values, buffer, function.entry->parameter_bytes);
}

CUresult launch_kernel(const char *name, Function *function, const LaunchSize &size,
                       CUstream handle, void **parameters, void **extra, bool cooperative) {
    return driver_call(name, Needs::context, [&] {
        const StreamPointer stream = stream_of_current_context(handle);
        auto launch = std::make_shared<KernelLaunch>(function, size, parameters, extra);
        if (&launch->context() != stream->context) {
            refuse_launch(*function, CUDA_ERROR_INVALID_HANDLE,
                          format("its module was loaded on device %d, and the current device is %d",
                                 launch->context().device, stream->context->device));
        }
        if (cooperative && volume(size.grid) > 1) {
            refuse_launch(*function, CUDA_ERROR_NOT_SUPPORTED,
                          "a cooperative launch of several blocks is not in the stand-in, which "
                          "runs one block after another");
        }
        submit(stream, std::move(launch));
    });
}

}  // namespace

KernelLaunch::KernelLaunch(Function *function, const LaunchSize &size, void **parameters,
                           void **extra)
    : module(module_of(function)), function(function), size(size) {
    check_size(*function, size);
    const ptx::Entry &entry = *function->entry;
    values = std::make_unique<uint8_t[]>(entry.parameter_bytes + 1);
    pointers = std::make_unique<void *[]>(entry.parameters.size() + 1);
    if (parameters == nullptr && extra == nullptr && !entry.parameters.empty()) {
        refuse_launch(*function, CUDA_ERROR_INVALID_VALUE, "it takes parameters, and got none");
    }
    if (extra != nullptr) {
        copy_packed(*function, extra, values.get());
    }
    for (size_t i = 0; i < entry.parameters.size(); i++) {
        const ptx::Parameter &parameter = entry.parameters[i];
        pointers[i] = values.get() + parameter.offset;
        if (extra == nullptr) {
            std::memcpy(pointers[i], parameters[i], parameter.size);
        }
    }
}

void KernelLaunch::count() const {
    ++*function->launches;
    if (logging()) {
        log(format("launch %s: grid (%s), block (%s), %zu bytes of shared memory",
                   function->entry->name.c_str(), text(size.grid).c_str(),
                   text(size.block).c_str(), size.dynamic_shared));
    }
}

void KernelLaunch::run() const {
    const auto begin = std::chrono::steady_clock::now();
    const uint64_t instructions =
        ptx::launch(*module->code, *function->entry, size.grid, size.block, size.dynamic_shared,
                    values.get(), module->context->device);
    if (logging()) {
        const std::chrono::duration<double, std::milli> time =
            std::chrono::steady_clock::now() - begin;
        log(format("done %s: %lu instructions, %.2f ms", function->entry->name.c_str(),
                   instructions, time.count()));
    }
}

std::string KernelLaunch::differs(const Operation &other) const {
    const auto *launch = dynamic_cast<const KernelLaunch *>(&other);
    if (launch == nullptr) {
        return describe() + " became a call of a library";
    }
    return &launch->context() == &context() ? "" : describe() + " moved to another device";
}

int blocks_per_multiprocessor(const Function &function, int threads, size_t dynamic_shared) {
    constexpr int registers = 32;  // a thread: the interpreter has no register allocation
    const int warps = (threads + 31) / 32;
    if (threads <= 0 || threads > static_cast<int>(function.entry->max_threads)) {
        return 0;
    }
    const size_t shared = function.entry->static_shared + dynamic_shared + 1024;
    return std::min({32, 64 / warps, 65536 / (registers * 32 * warps),
                     static_cast<int>(shared_memory_multiprocessor / shared)});
}

namespace {

int attribute_of(const Function &function, CUfunction_attribute attribute) {
    switch (attribute) {
        case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
            return static_cast<int>(function.entry->max_threads);
        case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
            return static_cast<int>(function.entry->static_shared);
        case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
            return static_cast<int>(function.entry->local_bytes);
        case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES: return 0;
        case CU_FUNC_ATTRIBUTE_NUM_REGS: return 32;
        case CU_FUNC_ATTRIBUTE_PTX_VERSION: return 80;
        case CU_FUNC_ATTRIBUTE_BINARY_VERSION: return 80;
        case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA: return 0;
        case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: return function.max_dynamic_shared;
        case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT: return function.carveout;
        default: refuse(CUDA_ERROR_INVALID_VALUE);
    }
}

void set_attribute(Function &function, CUfunction_attribute attribute, int value) {
    const int most = shared_memory_optin - static_cast<int>(function.entry->static_shared);
    if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
        if (value < 0 || value > most) {
            throw Fault(CUDA_ERROR_INVALID_VALUE,
                        format("%s, kernel %s: %d bytes of dynamic shared memory: at most %d",
                               api_name(), function.entry->name.c_str(), value, most));
        }
        function.max_dynamic_shared = value;
    } else if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) {
        function.carveout = value;
    } else {
        refuse(CUDA_ERROR_INVALID_VALUE);
    }
}

}  // namespace

}  // namespace fakecuda

using namespace fakecuda;

extern "C" {

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                        CUstream stream, void **parameters, void **extra) {
    const LaunchSize size{{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared};
    return launch_kernel("cuLaunchKernel", function, size, stream, parameters, extra, false);
}

CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned grid_x, unsigned grid_y,
                                   unsigned grid_z, unsigned block_x, unsigned block_y,
                                   unsigned block_z, unsigned shared, CUstream stream,
                                   void **parameters) {
    const LaunchSize size{{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared};
    return launch_kernel("cuLaunchCooperativeKernel", function, size, stream, parameters, nullptr,
                         true);
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
    return driver_call("cuFuncGetAttribute", Needs::context, [&] {
        check_pointer(value, "pi");
        const ModulePointer module = module_of(function);
        *value = attribute_of(*function, attribute);
    });
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    return driver_call("cuFuncSetAttribute", Needs::context, [&] {
        const ModulePointer module = module_of(function);
        set_attribute(*function, attribute, value);
    });
}

CUresult cuFuncSetCacheConfig(CUfunction function, CUfunc_cache) {
    return driver_call("cuFuncSetCacheConfig", Needs::context, [&] { module_of(function); });
}

CUresult cuFuncGetModule(CUmodule *module, CUfunction function) {
    return driver_call("cuFuncGetModule", Needs::context, [&] {
        check_pointer(module, "hmod");
        *module = module_of(function).get();
    });
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction function,
                                                              int threads, size_t dynamic_shared,
                                                              unsigned) {
    return driver_call("cuOccupancyMaxActiveBlocksPerMultiprocessor", Needs::context, [&] {
        check_pointer(blocks, "numBlocks");
        const ModulePointer module = module_of(function);
        if (threads <= 0) {
            refuse(CUDA_ERROR_INVALID_VALUE);
        }
        *blocks = blocks_per_multiprocessor(*function, threads, dynamic_shared);
    });
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int threads,
                                                     size_t dynamic_shared) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, threads,
                                                                dynamic_shared, 0);
}

CUresult cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid, int *block, CUfunction function,
                                                   CUoccupancyB2DSize shared_of_block,
                                                   size_t dynamic_shared, int limit, unsigned) {
    return driver_call("cuOccupancyMaxPotentialBlockSize", Needs::context, [&] {
        check_pointer(grid, "minGridSize");
        check_pointer(block, "blockSize");
        const ModulePointer module = module_of(function);
        const int most = static_cast<int>(function->entry->max_threads);
        int best = 0;
        for (int threads = limit > 0 ? std::min(limit, most) : most; threads > 0;
             threads = (threads - 1) / 32 * 32) {
            const size_t shared =
                shared_of_block != nullptr ? shared_of_block(threads) : dynamic_shared;
            const int blocks = blocks_per_multiprocessor(*function, threads, shared);
            if (blocks * threads > best) {
                best = blocks * threads;
                *block = threads;
                *grid = blocks * multiprocessors;
            }
        }
        if (best == 0) {
            refuse(CUDA_ERROR_INVALID_VALUE);
        }
    });
}

CUresult cuOccupancyMaxPotentialBlockSize(int *grid, int *block, CUfunction function,
                                          CUoccupancyB2DSize shared_of_block,
                                          size_t dynamic_shared, int limit) {
    return cuOccupancyMaxPotentialBlockSizeWithFlags(grid, block, function, shared_of_block,
                                                     dynamic_shared, limit, 0);
}

}  // extern "C"
