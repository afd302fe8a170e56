// How the functions of the driver API (cu*) and of the runtime API (cuda*) are entered and left.
#pragma once

#pragma GCC visibility push(default)
#include <cuda.h>
#include <cuda_runtime_api.h>

// Declared in headers that the wheel does not have.
extern "C" CUresult cuProfilerStart();
extern "C" CUresult cuProfilerStop();
extern "C" cudaError_t cudaProfilerStart();
extern "C" cudaError_t cudaProfilerStop();
#pragma GCC visibility pop

#include <mutex>
#include <utility>

#include "../standin.h"

namespace fakecuda {

// Guards all state of the driver. Kernels and copies run under it; host functions and the work of
// libraries, which may need Python's lock, do not (see streams.h).
extern std::mutex &state_mutex;

// The outermost function of either API that this thread is in: "cudaMemcpy".
const char *api_name();
uint64_t api_calls();  // how many functions this thread has entered

class ApiName {
public:
    explicit ApiName(const char *name);
    ~ApiName();
    ApiName(const ApiName &) = delete;
    ApiName &operator=(const ApiName &) = delete;

private:
    bool outermost;
};

// What must hold before a function of the driver API runs.
enum class Needs {
    nothing,
    driver,   // cuInit was called, in this process
    context,  // a context is current, which no earlier fault has broken
};

// Fault 3 in a child of a process that used CUDA, where the lock may be held for ever, and 800 in a
// host function: before the lock is taken.
void check_caller(Needs needs);
void require(Needs needs);

// A Fault that needs no sentence: the code says all, or the caller expects it.
[[noreturn]] inline void refuse(int code) { throw Fault(code, ""); }

// Prints the sentence of a fault, if it has one, and gives its code.
CUresult report(const Fault &fault);

// A function of the driver API: checks, lock, and faults turned into results.
template <typename Body>
CUresult driver_call(const char *name, Needs needs, Body &&body) {
    ApiName scope(name);
    try {
        check_caller(needs);
        std::lock_guard<std::mutex> lock(state_mutex);
        require(needs);
        std::forward<Body>(body)();
        return CUDA_SUCCESS;
    } catch (const Fault &fault) {
        return report(fault);
    }
}

// Keeps a result as the thread's last error, as cudaGetLastError gives it.
cudaError_t remember(CUresult result);

// Initialises the driver and makes the primary context of the thread's device current, as the
// runtime API does at each call.
CUresult runtime_enter(bool context);

// A function of the runtime API over functions of the driver API: the body returns a CUresult.
template <typename Body>
cudaError_t runtime_call(const char *name, Body &&body, bool context = true) {
    ApiName scope(name);
    CUresult result = runtime_enter(context);
    if (result == CUDA_SUCCESS) {
        result = std::forward<Body>(body)();
    }
    return remember(result);
}

}  // namespace fakecuda
