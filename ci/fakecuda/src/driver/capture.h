// Streams that capture: what is put on them becomes the nodes of a graph.
#pragma once

#include "graph.h"
#include "streams.h"

namespace fakecuda {

struct Capture {
    unsigned long long id = 0;
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
    std::thread::id thread;
    Stream *origin = nullptr;
    GraphPointer graph;
    bool active = true;
    bool invalid = false;
    std::vector<StreamPointer> streams;  // the origin and those that joined by an event
};

using CapturePointer = std::shared_ptr<Capture>;

void begin_capture(const StreamPointer &stream, CUstreamCaptureMode mode);
GraphPointer end_capture(const StreamPointer &stream);  // Fault if the capture was invalidated
// For a stream that is destroyed while it captures.
void abandon_capture(Stream &stream);

// Appends what is put on a capturing stream to its graph.
void add_node(Stream &stream, OperationPointer operation);
// Makes what a stream is given next depend on these nodes, and the stream part of their capture.
void join(const StreamPointer &stream, const CapturePointer &capture,
          const std::vector<CUgraphNode_st *> &nodes);

void check_valid(const Capture &capture);  // Fault 901
// Invalidates a capture because of a call that it does not allow, which fails with `code`.
[[noreturn]] void invalidate(Capture &capture, CUresult code, const std::string &reason);

// For calls that CUDA calls potentially unsafe, as cudaMalloc: Fault 900 while a stream captures in
// a mode that forbids them to this thread.
void check_unsafe_call();
// For a call that waits for all streams of a context.
void check_synchronisation(const Context &context);
// For a call that waits for a stream or asks how far it is.
void check_synchronisation(const Stream &stream);
// For a call that uses the legacy stream.
void check_legacy_stream(const Context &context);

}  // namespace fakecuda
