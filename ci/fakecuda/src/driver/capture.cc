#include "capture.h"

#include <unordered_set>

namespace fakecuda {

namespace {

auto &captures = *new std::vector<CapturePointer>;  // begun and not ended
unsigned long long last_capture = 0;
thread_local CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

bool forbids_unsafe_calls(const Capture &capture) {
    const bool own = capture.thread == std::this_thread::get_id();
    if (thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED) {
        return false;
    }
    if (own) {
        return capture.mode != CU_STREAM_CAPTURE_MODE_RELAXED;
    }
    return thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL &&
           capture.mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
}

// Invalidates all captures that a call conflicts with, and refuses the call if there are any.
template <typename Conflicts, typename Reason>
void forbid(Conflicts conflicts, CUresult code, Reason reason) {
    Capture *first = nullptr;
    for (const CapturePointer &capture : captures) {
        if (conflicts(*capture)) {
            capture->invalid = true;
            first = first == nullptr ? capture.get() : first;
        }
    }
    if (first != nullptr) {
        invalidate(*first, code, reason(*first));
    }
}

std::unordered_set<const CUgraphNode_st *> ancestors(const std::vector<CUgraphNode_st *> &nodes) {
    std::unordered_set<const CUgraphNode_st *> found;
    std::vector<const CUgraphNode_st *> open(nodes.begin(), nodes.end());
    while (!open.empty()) {
        const CUgraphNode_st *node = open.back();
        open.pop_back();
        if (found.insert(node).second) {
            open.insert(open.end(), node->after.begin(), node->after.end());
        }
    }
    return found;
}

// The first node that the origin stream does not wait for, or null.
const CUgraphNode_st *find_unjoined(const Capture &capture) {
    const auto joined = ancestors(capture.origin->tail);
    for (const auto &node : capture.graph->nodes) {
        if (!joined.contains(node.get())) {
            return node.get();
        }
    }
    return nullptr;
}

void leave(Capture &capture) {
    capture.active = false;
    for (const StreamPointer &stream : capture.streams) {
        stream->capture = nullptr;
        stream->tail.clear();
    }
    std::erase_if(captures, [&](const CapturePointer &other) { return other.get() == &capture; });
}

}  // namespace

void begin_capture(const StreamPointer &stream, CUstreamCaptureMode mode) {
    if (stream->legacy) {
        throw Fault(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                    std::string(api_name()) + ": the legacy default stream can't capture");
    }
    if (stream->capture) {
        throw Fault(CUDA_ERROR_ILLEGAL_STATE,
                    std::string(api_name()) + ": the stream captures already");
    }
    auto capture = std::make_shared<Capture>();
    capture->id = ++last_capture;
    capture->mode = mode;
    capture->thread = std::this_thread::get_id();
    capture->origin = stream.get();
    capture->graph = std::make_shared<Graph>();
    capture->streams.push_back(stream);
    stream->capture = capture;
    captures.push_back(capture);
}

GraphPointer end_capture(const StreamPointer &stream) {
    const CapturePointer capture = stream->capture;
    if (!capture) {
        throw Fault(CUDA_ERROR_ILLEGAL_STATE,
                    std::string(api_name()) + ": the stream does not capture");
    }
    if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED &&
        capture->thread != std::this_thread::get_id()) {
        throw Fault(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,
                    std::string(api_name()) + ": another thread began the capture");
    }
    if (capture->origin != stream.get()) {
        invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED,
                   "the capture began on another stream");
    }
    const CUgraphNode_st *unjoined = capture->invalid ? nullptr : find_unjoined(*capture);
    leave(*capture);
    if (capture->invalid) {
        refuse(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    }
    if (unjoined != nullptr) {
        throw Fault(CUDA_ERROR_STREAM_CAPTURE_UNJOINED,
                    std::string(api_name()) + ": the stream does not wait for " +
                        unjoined->operation->describe() + ", captured on another stream");
    }
    return capture->graph;
}

void abandon_capture(Stream &stream) {
    if (const CapturePointer capture = stream.capture) {
        capture->invalid = true;
        if (capture->origin == &stream) {
            leave(*capture);
        }
    }
}

void add_node(Stream &stream, OperationPointer operation) {
    Capture &capture = *stream.capture;
    check_valid(capture);
    auto node = std::make_unique<CUgraphNode_st>();
    node->operation = std::move(operation);
    node->after = stream.tail;
    node->graph = capture.graph.get();
    node->index = capture.graph->nodes.size();
    stream.tail = {node.get()};
    capture.graph->nodes.push_back(std::move(node));
}

void join(const StreamPointer &stream, const CapturePointer &capture,
          const std::vector<CUgraphNode_st *> &nodes) {
    check_valid(*capture);
    if (stream->legacy) {
        invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
                   "the legacy default stream waits for an event of a capture");
    }
    if (!stream->capture) {
        stream->capture = capture;
        capture->streams.push_back(stream);
    } else if (stream->capture != capture) {
        stream->capture->invalid = true;
        invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_MERGE,
                   "a stream of one capture waits for an event of another");
    }
    for (CUgraphNode_st *node : nodes) {
        if (std::ranges::find(stream->tail, node) == stream->tail.end()) {
            stream->tail.push_back(node);
        }
    }
}

void check_valid(const Capture &capture) {
    if (capture.invalid) {
        refuse(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    }
}

void invalidate(Capture &capture, CUresult code, const std::string &reason) {
    capture.invalid = true;
    throw Fault(code, std::string(api_name()) + ": " + reason + "; the capture is invalid now");
}

void check_unsafe_call() {
    forbid(forbids_unsafe_calls, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, [](const Capture &capture) {
        const bool global = capture.mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
        return std::string("not allowed while a stream captures in ") +
               (global ? "global" : "thread-local") + " mode";
    });
}

void check_synchronisation(const Stream &stream) {
    if (stream.capture) {
        invalidate(*stream.capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                   "the stream captures: its work does not run, and can't be waited for");
    }
    if (stream.legacy) {
        check_legacy_stream(*stream.context);
    }
}

void check_synchronisation(const Context &context) {
    const auto of_context = [&](const Capture &capture) {
        return std::ranges::any_of(capture.streams, [&](const StreamPointer &stream) {
            return stream->context == &context;
        });
    };
    forbid(of_context, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, [](const Capture &) {
        return "waits for all streams of the device, one of which captures";
    });
}

void check_legacy_stream(const Context &context) {
    const auto blocking = [&](const Capture &capture) {
        return std::ranges::any_of(capture.streams, [&](const StreamPointer &stream) {
            return stream->context == &context && stream->blocking();
        });
    };
    forbid(blocking, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, [](const Capture &) {
        return "uses the legacy default stream, which waits for blocking streams, one of which "
               "captures (make it with cudaStreamNonBlocking)";
    });
}

}  // namespace fakecuda

using namespace fakecuda;

extern "C" {

CUresult cuStreamBeginCapture(CUstream handle, CUstreamCaptureMode mode) {
    return driver_call("cuStreamBeginCapture", Needs::context,
                       [&] { begin_capture(find_stream(handle), mode); });
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph *graph) {
    return driver_call("cuStreamEndCapture", Needs::context, [&] {
        check_pointer(graph, "graph");
        *graph = nullptr;
        *graph = graphs().add(end_capture(find_stream(handle)));
    });
}

CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *status) {
    return driver_call("cuStreamIsCapturing", Needs::context, [&] {
        check_pointer(status, "captureStatus");
        const StreamPointer stream = find_stream(handle);
        if (stream->legacy) {
            check_legacy_stream(*stream->context);
        }
        *status = !stream->capture           ? CU_STREAM_CAPTURE_STATUS_NONE
                  : stream->capture->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                             : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    });
}

CUresult cuStreamGetCaptureInfo(CUstream handle, CUstreamCaptureStatus *status, cuuint64_t *id,
                                CUgraph *graph, const CUgraphNode **dependencies, size_t *number) {
    return driver_call("cuStreamGetCaptureInfo", Needs::context, [&] {
        check_pointer(status, "captureStatus_out");
        if (graph != nullptr || dependencies != nullptr || number != nullptr) {
            throw Fault(CUDA_ERROR_NOT_SUPPORTED,
                        "cuStreamGetCaptureInfo: the stand-in gives the status and id of a "
                        "capture, not its unfinished graph");
        }
        const StreamPointer stream = find_stream(handle);
        *status = !stream->capture           ? CU_STREAM_CAPTURE_STATUS_NONE
                  : stream->capture->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                             : CU_STREAM_CAPTURE_STATUS_ACTIVE;
        if (id != nullptr && stream->capture) {
            *id = stream->capture->id;
        }
    });
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode) {
    return driver_call("cuThreadExchangeStreamCaptureMode", Needs::driver, [&] {
        check_pointer(mode, "mode");
        std::swap(*mode, thread_mode);
    });
}

}  // extern "C"
