// Streams: queues of work that run at once, or in lazy mode as late as CUDA's rules allow.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "state.h"

namespace fakecuda {

using Stream = CUstream_st;
using StreamPointer = std::shared_ptr<Stream>;

// A place in a stream's order: behind its first `position` tasks.
struct Moment {
    StreamPointer stream;
    uint64_t position = 0;
};

struct Task {
    std::function<void()> run;
    std::vector<Moment> after = {};
    bool unlocked = false;     // calls code that is not ours, without the lock
    bool cleans_up = false;    // runs also after a fault: it frees something or marks a time
};

struct Capture;

// What a stream is given to do: a kernel, a copy, a fill, a call of a library or of the host.
// Immutable, so that a graph can run it many times.
class Operation {
public:
    virtual ~Operation() = default;
    virtual CUgraphNodeType type() const = 0;
    virtual std::string describe() const = 0;
    virtual void count() const {}
    virtual void run() const = 0;
    virtual bool unlocked() const { return false; }
    virtual bool dropped_when_idle() const { return false; }
    // Why a graph that has this operation can't be given the other one; empty if it can.
    virtual std::string differs(const Operation &other) const = 0;
};

using OperationPointer = std::shared_ptr<const Operation>;

// Puts an operation on a stream, or into the graph that the stream captures. Returns its place.
Moment submit(const StreamPointer &stream, OperationPointer operation);
// Puts a task on a stream that does not capture.
Moment put(const StreamPointer &stream, Task task);
// An operation as a task, counted; false if the idle mode drops it.
bool prepare(const OperationPointer &operation, Task &task);

void run_until(const Moment &moment);
void run_all(const StreamPointer &stream);
void run_all(Context &context);
bool finished(const Moment &moment);
// What a query does: says whether all is done, and makes some progress if it is asked in a loop.
bool poll(const Moment &moment);
bool poll(const StreamPointer &stream);
Moment last_moment(const StreamPointer &stream);
// Throws away what has not begun, waits for what runs.
void discard(Stream &stream);

// The stream of a handle: 0 and 1 are the legacy stream of the current context, 2 the thread's own.
StreamPointer find_stream(CUstream handle);
// The same, for work that is put on it: not the legacy stream while a blocking stream captures.
StreamPointer stream_for_work(CUstream handle);
// The same, of the current context.
StreamPointer stream_of_current_context(CUstream handle);

void check_failure(const Context &context);  // throws what broke it
void fail(Context &context, const Fault &fault);

// This thread runs a host function, which may not call CUDA.
bool in_host_function();

void destroy_streams(Context &context);
void destroy_events(Context &context);

}  // namespace fakecuda

struct CUstream_st {
    fakecuda::Context *context = nullptr;
    unsigned flags = 0;
    int priority = 0;
    unsigned long long id = 0;
    bool legacy = false;

    std::deque<fakecuda::Task> tasks;
    uint64_t issued = 0, finished = 0;
    bool busy = false;  // a thread runs a task, perhaps without the lock
    std::thread::id runner;
    unsigned queries = 0;  // that found it unfinished

    std::shared_ptr<fakecuda::Capture> capture;
    std::vector<CUgraphNode_st *> tail;  // what the next captured operation depends on

    bool blocking() const { return !legacy && (flags & CU_STREAM_NON_BLOCKING) == 0; }
};
