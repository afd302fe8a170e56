// cuStreamCreate and the like, and host functions.
#include <map>

#include "capture.h"
#include "counters.h"
#include "streams.h"

namespace fakecuda {

namespace {

constexpr int lowest_priority = 0, highest_priority = -5;

auto &streams = *new Handles<Stream>;
unsigned long long last_stream = 2;  // 1 and 2 are handles of the default streams

const auto legacy_handle = reinterpret_cast<CUstream>(uintptr_t{1});
const auto thread_handle = reinterpret_cast<CUstream>(uintptr_t{2});

StreamPointer make_stream(Context &context, unsigned flags, int priority) {
    std::erase_if(context.streams, [](const StreamPointer &stream) {
        return stream.use_count() == 1 && stream->finished == stream->issued;
    });
    auto stream = std::make_shared<Stream>();
    stream->context = &context;
    stream->flags = flags;
    stream->priority = std::clamp(priority, highest_priority, lowest_priority);
    stream->id = ++last_stream;
    context.streams.push_back(stream);
    return stream;
}

StreamPointer thread_stream(Context &context) {
    thread_local std::map<Context *, StreamPointer> own;
    StreamPointer &stream = own[&context];
    if (!stream) {
        stream = make_stream(context, CU_STREAM_DEFAULT, 0);
    }
    return stream;
}

class HostCall : public Operation {
public:
    HostCall(CUhostFn function, void *argument) : function(function), argument(argument) {}
    CUgraphNodeType type() const override { return CU_GRAPH_NODE_TYPE_HOST; }
    std::string describe() const override { return "a host function"; }
    void run() const override { function(argument); }
    bool unlocked() const override { return true; }
    std::string differs(const Operation &) const override { return ""; }

private:
    CUhostFn function;
    void *argument;
};

}  // namespace

StreamPointer find_stream(CUstream handle) {
    if (handle == nullptr || handle == legacy_handle) {
        return current_context().legacy;
    }
    if (handle == thread_handle) {
        return thread_stream(current_context());
    }
    return streams.get(handle, "stream");
}

StreamPointer stream_for_work(CUstream handle) {
    StreamPointer stream = find_stream(handle);
    if (stream->legacy) {
        check_legacy_stream(*stream->context);
    }
    return stream;
}

StreamPointer stream_of_current_context(CUstream handle) {
    StreamPointer stream = stream_for_work(handle);
    const Context &current = current_context();
    if (stream->context != &current) {
        throw Fault(CUDA_ERROR_INVALID_HANDLE,
                    format("%s: the stream is of device %d and the current device is %d",
                           api_name(), stream->context->device, current.device));
    }
    return stream;
}

void destroy_streams(Context &context) {
    for (const StreamPointer &stream : context.streams) {
        abandon_capture(*stream);
        discard(*stream);
    }
    discard(*context.legacy);
    context.streams.clear();
    streams.remove_if([&](const Stream &stream) { return stream.context == &context; });
}

}  // namespace fakecuda

using namespace fakecuda;

extern "C" {

CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int priority) {
    return driver_call("cuStreamCreateWithPriority", Needs::context, [&] {
        check_pointer(stream, "phStream");
        if ((flags & ~unsigned{CU_STREAM_NON_BLOCKING}) != 0) {
            refuse(CUDA_ERROR_INVALID_VALUE);
        }
        *stream = streams.add(make_stream(current_context(), flags, priority));
    });
}

CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
    return cuStreamCreateWithPriority(stream, flags, 0);
}

CUresult cuStreamDestroy(CUstream handle) {
    return driver_call("cuStreamDestroy", Needs::driver, [&] {
        abandon_capture(*streams.remove(handle, "stream"));
    });
}

CUresult cuStreamGetPriority(CUstream handle, int *priority) {
    return driver_call("cuStreamGetPriority", Needs::context, [&] {
        check_pointer(priority, "priority");
        *priority = find_stream(handle)->priority;
    });
}

CUresult cuStreamGetFlags(CUstream handle, unsigned *flags) {
    return driver_call("cuStreamGetFlags", Needs::context, [&] {
        check_pointer(flags, "flags");
        *flags = find_stream(handle)->flags;
    });
}

CUresult cuStreamGetId(CUstream handle, unsigned long long *id) {
    return driver_call("cuStreamGetId", Needs::context, [&] {
        check_pointer(id, "streamId");
        *id = find_stream(handle)->id;
    });
}

CUresult cuStreamGetCtx(CUstream handle, CUcontext *context) {
    return driver_call("cuStreamGetCtx", Needs::context, [&] {
        check_pointer(context, "pctx");
        *context = find_stream(handle)->context;
    });
}

CUresult cuStreamGetDevice(CUstream handle, CUdevice *device) {
    return driver_call("cuStreamGetDevice", Needs::context, [&] {
        check_pointer(device, "device");
        *device = find_stream(handle)->context->device;
    });
}

CUresult cuStreamQuery(CUstream handle) {
    return driver_call("cuStreamQuery", Needs::context, [&] {
        const StreamPointer stream = find_stream(handle);
        check_synchronisation(*stream);
        check_unsafe_call();
        if (!poll(stream)) {
            refuse(CUDA_ERROR_NOT_READY);
        }
        check_failure(*stream->context);
    });
}

CUresult cuStreamSynchronize(CUstream handle) {
    return driver_call("cuStreamSynchronize", Needs::context, [&] {
        const StreamPointer stream = find_stream(handle);
        check_synchronisation(*stream);
        check_unsafe_call();
        count_wait();
        run_all(stream);
        check_failure(*stream->context);
    });
}

CUresult cuLaunchHostFunc(CUstream handle, CUhostFn function, void *argument) {
    return driver_call("cuLaunchHostFunc", Needs::context, [&] {
        check_pointer(function, "fn");
        submit(stream_for_work(handle), std::make_shared<HostCall>(function, argument));
    });
}

CUresult cuStreamAddCallback(CUstream handle, CUstreamCallback callback, void *argument, unsigned) {
    return driver_call("cuStreamAddCallback", Needs::context, [&] {
        check_pointer(callback, "callback");
        const StreamPointer stream = stream_for_work(handle);
        check_synchronisation(*stream);
        const auto call = [=, context = stream->context] {
            callback(handle, static_cast<CUresult>(context->failure.load()), argument);
        };
        put(stream, {.run = call, .unlocked = true, .cleans_up = true});
    });
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    return driver_call("cuCtxGetStreamPriorityRange", Needs::context, [&] {
        if (least != nullptr) {
            *least = lowest_priority;
        }
        if (greatest != nullptr) {
            *greatest = highest_priority;
        }
    });
}

}  // extern "C"
