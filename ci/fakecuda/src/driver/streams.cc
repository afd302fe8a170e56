#include "streams.h"

#include <chrono>
#include <condition_variable>

#include "capture.h"
#include "counters.h"
#include "memory.h"

namespace fakecuda {

namespace {

auto &task_ended = *new std::condition_variable_any;
thread_local bool host_function = false;

// Leaves the lock while code runs that is not ours.
class Unlocked {
public:
    Unlocked() { state_mutex.unlock(); }
    ~Unlocked() { state_mutex.lock(); }
};

void run_task(Stream &stream, Task &task) {
    Context &context = *stream.context;
    for (const Moment &moment : task.after) {
        run_until(moment);
    }
    if (context.failure != 0 && !task.cleans_up) {
        return;
    }
    DeviceInUse scope(context.device);
    try {
        if (task.unlocked) {
            Unlocked unlocked;
            host_function = true;
            try {
                task.run();
            } catch (...) {
                host_function = false;
                throw;
            }
            host_function = false;
        } else {
            task.run();
        }
    } catch (const Fault &fault) {
        fail(context, fault);
    }
}

void wait_for_other_thread(const Stream &stream) {
    if (stream.runner == std::this_thread::get_id()) {
        throw Fault(CUDA_ERROR_NOT_PERMITTED,
                    std::string(api_name()) + ": a host function waits for its own stream");
    }
    task_ended.wait(state_mutex);
}

void run_next(Stream &stream) {
    Task task = std::move(stream.tasks.front());
    stream.tasks.pop_front();
    stream.busy = true;
    stream.runner = std::this_thread::get_id();
    run_task(stream, task);
    stream.busy = false;
    stream.finished++;
    task_ended.notify_all();
}

// What CUDA's rules for the legacy stream make a new task of a stream wait for.
void add_implicit_dependencies(const Stream &stream, std::vector<Moment> &after) {
    Context &context = *stream.context;
    auto add = [&](const StreamPointer &other) {
        if (other->finished < other->issued) {
            after.push_back(last_moment(other));
        }
    };
    if (stream.legacy) {
        for (const StreamPointer &other : context.streams) {
            if (other->blocking()) {
                add(other);
            }
        }
    } else if (stream.blocking()) {
        add(context.legacy);
    }
}

// What must be done before a stream is: for the legacy stream also the work of blocking streams.
std::vector<Moment> moments_to_wait_for(const StreamPointer &stream) {
    std::vector<Moment> moments;
    if (stream->legacy) {
        add_implicit_dependencies(*stream, moments);
    }
    moments.push_back(last_moment(stream));
    return moments;
}

// Runs one task on the way to an unfinished moment. Unlike run_until it never waits for another
// thread, which may want a lock of the caller's: CuPy asks with Python's lock held.
void advance(const Moment &moment) {
    Stream &stream = *moment.stream;
    if (stream.busy) {
        return;
    }
    for (const Moment &dependency : stream.tasks.front().after) {
        if (!finished(dependency)) {
            advance(dependency);
            return;
        }
    }
    run_next(stream);
}

// Whether a query should make progress, since the caller asks until the answer changes: it asked
// with its last call too, or has asked many times.
bool looks_like_a_loop(Stream &stream) {
    constexpr unsigned many = 16;
    thread_local uint64_t last_query = 0;
    const bool again = api_calls() == last_query + 1;
    last_query = api_calls();
    return ++stream.queries % many == 0 || again;
}

}  // namespace

Moment last_moment(const StreamPointer &stream) { return {stream, stream->issued}; }

bool finished(const Moment &moment) { return moment.stream->finished >= moment.position; }

void run_until(const Moment &moment) {
    Stream &stream = *moment.stream;
    while (stream.finished < moment.position) {
        if (stream.busy) {
            wait_for_other_thread(stream);
        } else {
            run_next(stream);
        }
    }
}

void run_all(const StreamPointer &stream) {
    for (const Moment &moment : moments_to_wait_for(stream)) {
        run_until(moment);
    }
    trim_pools(stream->context->device);
}

void run_all(Context &context) {
    const std::vector<StreamPointer> streams = context.streams;
    run_until(last_moment(context.legacy));
    for (const StreamPointer &stream : streams) {
        run_until(last_moment(stream));
    }
    trim_pools(context.device);
}

bool poll(const Moment &moment) {
    if (finished(moment)) {
        return true;
    }
    if (looks_like_a_loop(*moment.stream)) {
        advance(moment);
    }
    return false;
}

bool poll(const StreamPointer &stream) {
    const std::vector<Moment> moments = moments_to_wait_for(stream);
    auto open = std::ranges::find_if_not(moments, finished);
    return open == moments.end() || poll(*open);
}

void discard(Stream &stream) {
    while (stream.busy) {
        wait_for_other_thread(stream);
    }
    std::deque<Task> tasks = std::move(stream.tasks);
    stream.tasks.clear();
    stream.finished = stream.issued;
}

Moment put(const StreamPointer &stream, Task task) {
    add_implicit_dependencies(*stream, task.after);
    stream->tasks.push_back(std::move(task));
    stream->issued++;
    const Moment moment = last_moment(stream);
    if (!lazy()) {
        run_until(moment);
        check_failure(*stream->context);
    }
    return moment;
}

bool prepare(const OperationPointer &operation, Task &task) {
    operation->count();
    if (idle() && operation->dropped_when_idle()) {
        return false;
    }
    task.unlocked = operation->unlocked();
    task.run = [operation] { operation->run(); };
    return true;
}

Moment submit(const StreamPointer &stream, OperationPointer operation) {
    if (stream->capture) {
        add_node(*stream, std::move(operation));
        return {stream, 0};
    }
    check_failure(*stream->context);
    Task task;
    if (!prepare(operation, task)) {
        return last_moment(stream);
    }
    return put(stream, std::move(task));
}

void check_failure(const Context &context) {
    if (context.failure != 0) {
        refuse(context.failure);
    }
}

void fail(Context &context, const Fault &fault) {
    report(fault);
    if (context.failure == 0) {
        context.failure = fault.code;
    }
}

bool in_host_function() { return host_function; }

}  // namespace fakecuda
