// Initialisation, forks, contexts, and which of them a thread uses.
#include <pthread.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <set>

#include "capture.h"
#include "counters.h"
#include "memory.h"
#include "modules.h"

namespace fakecuda {

std::mutex &state_mutex = *new std::mutex;

namespace {

int first_failure = 0;  // that new contexts begin with
std::atomic<bool> initialised{false};
std::atomic<bool> forked{false};  // this process is a child of one that had initialised the driver
// Never destroyed: threads may use the driver while the process ends.
auto &contexts = *new std::vector<std::unique_ptr<Context>>;  // the primary ones first, by device
auto &peers = *new std::set<std::pair<int, int>>;  // (device, peer whose memory it may use)

thread_local const char *entered = nullptr;
thread_local uint64_t calls = 0;
thread_local std::vector<Context *> stack;  // of current contexts
thread_local int working_device = -1;

int environment(const char *name, int otherwise) {
    const char *value = std::getenv(name);
    return value == nullptr || *value == '\0' ? otherwise : std::atoi(value);
}

std::unique_ptr<Context> make_context(int device) {
    auto context = std::make_unique<Context>();
    context->device = device;
    context->failure = first_failure;
    context->legacy = std::make_shared<Stream>();
    context->legacy->context = context.get();
    context->legacy->id = 1;
    context->legacy->legacy = true;
    return context;
}

void initialise() {
    if (device_count() == 0) {
        refuse(CUDA_ERROR_NO_DEVICE);
    }
    if (!initialised) {
        for (int device = 0; device < device_count(); device++) {
            contexts.push_back(make_context(device));
            contexts.back()->primary = true;
        }
        pthread_atfork(nullptr, nullptr, [] { forked = true; });
        initialised = true;
    }
}

// A context as it was when it was made; what belonged to it is gone.
void reset(Context &context) {
    destroy_streams(context);
    destroy_events(context);
    destroy_modules(context);
    context.failure = 0;
    context.limits.clear();
    if (context.primary) {
        release_device(context.device);
        std::erase_if(peers, [&](const auto &pair) { return pair.first == context.device; });
    }
}

Context &check_context(CUcontext context) {
    auto found = std::ranges::find(contexts, context, [](const auto &own) { return own.get(); });
    if (found == contexts.end()) {
        throw Fault(CUDA_ERROR_INVALID_CONTEXT, std::string(api_name()) + ": not a context");
    }
    if (!context->alive) {
        refuse(CUDA_ERROR_CONTEXT_IS_DESTROYED);
    }
    return *context;
}

}  // namespace

ApiName::ApiName(const char *name) : outermost(entered == nullptr) {
    if (outermost) {
        entered = name;
        calls++;
    }
}

ApiName::~ApiName() {
    if (outermost) {
        entered = nullptr;
    }
}

const char *api_name() { return entered != nullptr ? entered : "library"; }

uint64_t api_calls() { return calls; }

int device_count() {
    static const int count = environment("FAKECUDA_DEVICES", 2);
    return count;
}

int driver_version() {
    static const int version = environment("FAKECUDA_DRIVER_VERSION", 13000);
    return version;
}

void check_device(int device) {
    if (device < 0 || device >= device_count()) {
        throw Fault(CUDA_ERROR_INVALID_DEVICE,
                    format("%s: there is no device %d, only %d devices", api_name(), device,
                           device_count()));
    }
}

void check_caller(Needs needs) {
    if (needs == Needs::nothing) {
        return;
    }
    if (in_host_function()) {
        throw Fault(CUDA_ERROR_NOT_PERMITTED,
                    std::string(api_name()) + ": a host function may not call CUDA");
    }
    if (forked) {
        throw Fault(CUDA_ERROR_NOT_INITIALIZED,
                    std::string(api_name()) + ": CUDA was initialised before this process forked");
    }
}

void require(Needs needs) {
    if (needs != Needs::nothing && !initialised) {
        refuse(CUDA_ERROR_NOT_INITIALIZED);
    }
    if (needs == Needs::context) {
        check_failure(current_context());
    }
}

CUresult runtime_enter(bool context) {
    if (forked) {
        return report(Fault(CUDA_ERROR_NOT_INITIALIZED,
                            std::string(api_name()) +
                                ": CUDA was initialised before this process forked"));
    }
    if (driver_version() / 1000 < CUDART_VERSION / 1000) {
        return static_cast<CUresult>(cudaErrorInsufficientDriver);
    }
    if (!initialised) {
        if (CUresult result = cuInit(0); result != CUDA_SUCCESS) {
            return result;
        }
    }
    if (context && current_context_or_null() == nullptr) {
        set_current_context(&primary_context(0));
    }
    return CUDA_SUCCESS;
}

Context &primary_context(int device) { return *contexts.at(device); }

const std::vector<std::unique_ptr<Context>> &all_contexts() { return contexts; }

void fail_everywhere(int code) {
    first_failure = code;
    for (const auto &context : contexts) {
        if (context->failure == 0) {
            context->failure = code;
        }
    }
}

Context *current_context_or_null() { return stack.empty() ? nullptr : stack.back(); }

Context &current_context() {
    if (stack.empty() || stack.back() == nullptr) {
        throw Fault(CUDA_ERROR_INVALID_CONTEXT,
                    std::string(api_name()) + ": no context is current in this thread");
    }
    if (!stack.back()->alive) {
        refuse(CUDA_ERROR_CONTEXT_IS_DESTROYED);
    }
    return *stack.back();
}

void set_current_context(Context *context) {
    if (stack.empty()) {
        stack.push_back(context);
    } else {
        stack.back() = context;
    }
}

int device_in_use() {
    if (working_device >= 0) {
        return working_device;
    }
    const Context *context = current_context_or_null();
    return context != nullptr ? context->device : 0;
}

DeviceInUse::DeviceInUse(int device) : before(working_device) { working_device = device; }

DeviceInUse::~DeviceInUse() { working_device = before; }

bool peer_access(int device, int peer) {
    return device == peer || peers.contains({device, peer});
}

}  // namespace fakecuda

using namespace fakecuda;

extern "C" {

CUresult cuInit(unsigned flags) {
    if (forked) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    return driver_call("cuInit", Needs::nothing, [&] {
        if (flags != 0) {
            refuse(CUDA_ERROR_INVALID_VALUE);
        }
        initialise();
    });
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    return driver_call("cuDevicePrimaryCtxRetain", Needs::driver, [&] {
        check_pointer(context, "pctx");
        check_device(device);
        *context = &primary_context(device);
    });
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
    return driver_call("cuDevicePrimaryCtxRelease", Needs::driver, [&] { check_device(device); });
}

CUresult cuDevicePrimaryCtxReset(CUdevice device) {
    return driver_call("cuDevicePrimaryCtxReset", Needs::driver, [&] {
        check_device(device);
        check_synchronisation(primary_context(device));
        reset(primary_context(device));
    });
}

CUresult cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned flags) {
    return driver_call("cuDevicePrimaryCtxSetFlags", Needs::driver, [&] {
        check_device(device);
        primary_context(device).flags = flags;
    });
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
    return driver_call("cuDevicePrimaryCtxGetState", Needs::driver, [&] {
        check_device(device);
        *flags = primary_context(device).flags;
        *active = 1;
    });
}

CUresult cuCtxCreate(CUcontext *context, unsigned flags, CUdevice device) {
    return driver_call("cuCtxCreate", Needs::driver, [&] {
        check_pointer(context, "pctx");
        check_device(device);
        contexts.push_back(make_context(device));
        contexts.back()->flags = flags;
        *context = contexts.back().get();
        stack.push_back(*context);
    });
}

CUresult cuCtxDestroy(CUcontext handle) {
    return driver_call("cuCtxDestroy", Needs::driver, [&] {
        Context &context = check_context(handle);
        if (context.primary) {
            throw Fault(CUDA_ERROR_INVALID_CONTEXT,
                        "cuCtxDestroy: a primary context is released, not destroyed");
        }
        reset(context);
        context.alive = false;
        if (current_context_or_null() == &context) {
            stack.pop_back();
        }
    });
}

CUresult cuCtxGetCurrent(CUcontext *context) {
    return driver_call("cuCtxGetCurrent", Needs::driver, [&] {
        check_pointer(context, "pctx");
        *context = current_context_or_null();
    });
}

CUresult cuCtxSetCurrent(CUcontext context) {
    return driver_call("cuCtxSetCurrent", Needs::driver, [&] {
        if (context != nullptr) {
            set_current_context(&check_context(context));
        } else if (!stack.empty()) {
            stack.pop_back();
        }
    });
}

CUresult cuCtxPushCurrent(CUcontext context) {
    return driver_call("cuCtxPushCurrent", Needs::driver,
                       [&] { stack.push_back(&check_context(context)); });
}

CUresult cuCtxPopCurrent(CUcontext *context) {
    return driver_call("cuCtxPopCurrent", Needs::driver, [&] {
        Context &popped = current_context();
        stack.pop_back();
        if (context != nullptr) {
            *context = &popped;
        }
    });
}

CUresult cuCtxGetDevice(CUdevice *device) {
    return driver_call("cuCtxGetDevice", Needs::driver, [&] {
        check_pointer(device, "device");
        *device = current_context().device;
    });
}

CUresult cuCtxGetFlags(unsigned *flags) {
    return driver_call("cuCtxGetFlags", Needs::driver, [&] {
        check_pointer(flags, "flags");
        *flags = current_context().flags;
    });
}

CUresult cuCtxGetApiVersion(CUcontext context, unsigned *version) {
    return driver_call("cuCtxGetApiVersion", Needs::driver, [&] {
        check_pointer(version, "version");
        check_context(context);
        *version = 3020;
    });
}

CUresult cuCtxSynchronize() {
    return driver_call("cuCtxSynchronize", Needs::context, [] {
        Context &context = current_context();
        check_synchronisation(context);
        check_unsafe_call();
        count_wait();
        run_all(context);
        check_failure(context);
    });
}

CUresult cuCtxGetLimit(size_t *value, CUlimit limit) {
    return driver_call("cuCtxGetLimit", Needs::context, [&] {
        check_pointer(value, "pvalue");
        constexpr std::array<size_t, 3> defaults = {1024, 1 << 20, 8 << 20};  // stack, printf, heap
        if (limit < 0 || static_cast<size_t>(limit) >= defaults.size()) {
            refuse(CUDA_ERROR_UNSUPPORTED_LIMIT);
        }
        const auto &limits = current_context().limits;
        const auto set = limits.find(limit);
        *value = set != limits.end() ? set->second : defaults[limit];
    });
}

CUresult cuCtxSetLimit(CUlimit limit, size_t value) {
    return driver_call("cuCtxSetLimit", Needs::context, [&] {
        if (limit < 0 || limit > CU_LIMIT_MALLOC_HEAP_SIZE) {
            refuse(CUDA_ERROR_UNSUPPORTED_LIMIT);
        }
        current_context().limits[limit] = value;
    });
}

CUresult cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer) {
    return driver_call("cuDeviceCanAccessPeer", Needs::driver, [&] {
        check_pointer(can, "canAccessPeer");
        check_device(device);
        check_device(peer);
        *can = device != peer;
    });
}

CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned flags) {
    return driver_call("cuCtxEnablePeerAccess", Needs::context, [&] {
        const int device = current_context().device, other = check_context(peer).device;
        if (flags != 0) {
            refuse(CUDA_ERROR_INVALID_VALUE);
        }
        if (device == other) {
            throw Fault(CUDA_ERROR_INVALID_DEVICE,
                        format("%s: device %d is no peer of itself", api_name(), device));
        }
        if (!peers.insert({device, other}).second) {
            refuse(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
        }
    });
}

CUresult cuCtxDisablePeerAccess(CUcontext peer) {
    return driver_call("cuCtxDisablePeerAccess", Needs::context, [&] {
        const int device = current_context().device, other = check_context(peer).device;
        if (peers.erase({device, other}) == 0) {
            refuse(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED);
        }
    });
}

}  // extern "C"
