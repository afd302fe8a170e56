// Events: cuEventCreate and the like. What cuEventRecord marks is a moment of a stream.
#include <chrono>

#include "capture.h"
#include "counters.h"

namespace {

using Clock = std::chrono::steady_clock;

// One cuEventRecord: the event forgets it at the next, streams that wait for it do not.
struct Record {
    fakecuda::Moment moment;
    Clock::time_point time;
};

}  // namespace

struct CUevent_st {
    fakecuda::Context *context = nullptr;
    unsigned flags = 0;
    std::shared_ptr<Record> record;
    fakecuda::CapturePointer capture;     // in which the event was recorded last
    std::vector<CUgraphNode_st *> nodes;  // what the stream had captured then
};

namespace fakecuda {

namespace {

using Event = CUevent_st;

auto &events = *new Handles<Event>;

void record(Event &event, const StreamPointer &stream, unsigned flags) {
    if (event.context != stream->context) {
        throw Fault(CUDA_ERROR_INVALID_HANDLE,
                    format("%s: an event of device %d is recorded on a stream of device %d",
                           api_name(), event.context->device, stream->context->device));
    }
    if (stream->capture) {
        check_valid(*stream->capture);
        if ((flags & CU_EVENT_RECORD_EXTERNAL) != 0) {
            invalidate(*stream->capture, CUDA_ERROR_NOT_SUPPORTED,
                       "external events in a graph are not in the stand-in");
        }
        event.capture = stream->capture;
        event.nodes = stream->tail;
        event.record = nullptr;
        return;
    }
    event.capture = nullptr;
    event.nodes.clear();
    auto record = std::make_shared<Record>();
    event.record = record;
    record->moment = {stream, stream->issued + 1};
    put(stream, {.run = [record] { record->time = Clock::now(); }, .cleans_up = true});
}

void wait_for(const StreamPointer &stream, const Event &event) {
    if (event.capture) {
        if (!event.capture->active) {
            throw Fault(CUDA_ERROR_CAPTURED_EVENT,
                        std::string(api_name()) +
                            ": the event was recorded in a capture that ended");
        }
        join(stream, event.capture, event.nodes);
    } else if (stream->capture) {
        check_valid(*stream->capture);
        invalidate(*stream->capture, CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
                   "the stream captures, and the event was recorded outside of the capture");
    } else if (event.record && (stream->legacy || !finished(event.record->moment))) {
        put(stream, {.run = [] {}, .after = {event.record->moment}});
    }
}

// For a call that asks the host how far an event is.
void check_not_captured(const Event &event) {
    if (!event.capture) {
        return;
    }
    if (event.capture->active) {
        invalidate(*event.capture, CUDA_ERROR_CAPTURED_EVENT, "the event belongs to a capture");
    }
    throw Fault(CUDA_ERROR_CAPTURED_EVENT,
                std::string(api_name()) + ": the event was recorded in a capture");
}

// A Fault if the two have no time between them.
float milliseconds_between(const Event &start, const Event &end) {
    for (const Event *event : {&start, &end}) {
        check_not_captured(*event);
        if ((event->flags & CU_EVENT_DISABLE_TIMING) != 0) {
            throw Fault(CUDA_ERROR_INVALID_HANDLE,
                        std::string(api_name()) + ": an event was made with timing disabled");
        }
        if (!event->record) {
            throw Fault(CUDA_ERROR_INVALID_HANDLE,
                        std::string(api_name()) + ": an event was not recorded");
        }
    }
    if (start.context != end.context) {
        throw Fault(CUDA_ERROR_INVALID_HANDLE,
                    std::string(api_name()) + ": the events are of different devices");
    }
    if (!finished(start.record->moment) || !finished(end.record->moment)) {
        refuse(CUDA_ERROR_NOT_READY);
    }
    return std::chrono::duration<float, std::milli>(end.record->time - start.record->time).count();
}

}  // namespace

void destroy_events(Context &context) {
    events.remove_if([&](const Event &event) { return event.context == &context; });
}

}  // namespace fakecuda

using namespace fakecuda;

extern "C" {

CUresult cuEventCreate(CUevent *event, unsigned flags) {
    return driver_call("cuEventCreate", Needs::context, [&] {
        check_pointer(event, "phEvent");
        const bool interprocess = (flags & CU_EVENT_INTERPROCESS) != 0;
        if (interprocess && (flags & CU_EVENT_DISABLE_TIMING) == 0) {
            throw Fault(CUDA_ERROR_INVALID_VALUE,
                        std::string(api_name()) + ": interprocess events need timing disabled");
        }
        auto made = std::make_shared<CUevent_st>();
        made->context = &current_context();
        made->flags = flags;
        *event = events.add(made);
    });
}

CUresult cuEventDestroy(CUevent event) {
    return driver_call("cuEventDestroy", Needs::driver, [&] { events.remove(event, "event"); });
}

CUresult cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned flags) {
    return driver_call("cuEventRecordWithFlags", Needs::context, [&] {
        record(*events.get(event, "event"), stream_for_work(stream), flags);
    });
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
    return driver_call("cuEventRecord", Needs::context, [&] {
        record(*events.get(event, "event"), stream_for_work(stream), CU_EVENT_RECORD_DEFAULT);
    });
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
    return driver_call("cuStreamWaitEvent", Needs::context, [&] {
        wait_for(stream_for_work(stream), *events.get(event, "event"));
    });
}

CUresult cuEventQuery(CUevent handle) {
    return driver_call("cuEventQuery", Needs::context, [&] {
        const auto event = events.get(handle, "event");
        check_not_captured(*event);
        check_unsafe_call();
        if (event->record && !poll(event->record->moment)) {
            refuse(CUDA_ERROR_NOT_READY);
        }
        check_failure(*event->context);
    });
}

CUresult cuEventSynchronize(CUevent handle) {
    return driver_call("cuEventSynchronize", Needs::context, [&] {
        const auto event = events.get(handle, "event");
        check_not_captured(*event);
        check_unsafe_call();
        count_wait();
        if (event->record) {
            run_until(event->record->moment);
        }
        check_failure(*event->context);
    });
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
    return driver_call("cuEventElapsedTime", Needs::context, [&] {
        check_pointer(milliseconds, "pMilliseconds");
        *milliseconds =
            milliseconds_between(*events.get(start, "event"), *events.get(end, "event"));
    });
}

}  // extern "C"
