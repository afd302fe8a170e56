// What the parts of the stand-in share: faults, device memory, streams, modes and counters.
//
// The driver (src/driver) defines all of it and is libcuda.so.1. The interpreter (src/interpreter)
// is linked into the same library and uses the C++ part; the stand-ins for cuBLAS and the other
// libraries are shared objects of their own, with a libstdc++ of their own, and use the C part.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#define FAKECUDA_EXPORT extern "C" __attribute__((visibility("default")))

// ---------------------------------------------------------------- C part, exported

// Checks that [address, address + bytes) lies in one live allocation that the current device may
// use, and that every byte was written if it is read in strict mode; a write marks the bytes.
// 0, or a CUresult after the message was printed; `what` says who asks ("cublasSgemm, A").
FAKECUDA_EXPORT int fakecuda_check(uint64_t address, size_t bytes, int write, const char *what);

// Puts a library call on a stream and counts it under `name`. `work` runs in the stream's order:
// at once, or as late as CUDA's rules allow in lazy mode, or at every launch of the graph if the
// stream is capturing. It returns 0 or a CUresult, which then sticks to the context. `release`
// frees `arguments` when the work will not run again; it may not need Python's lock. In the mode
// in which launches do nothing the call is counted and dropped. Returns a CUresult.
FAKECUDA_EXPORT int fakecuda_library_call(const char *name, void *stream,
                                          int (*work)(void *arguments), void *arguments,
                                          void (*release)(void *arguments));

// Waits for a stream as a library does that hands back a number in host memory; counts as a wait.
FAKECUDA_EXPORT int fakecuda_wait(void *stream);

// 1 while the stream captures.
FAKECUDA_EXPORT int fakecuda_capturing(void *stream);

// Says on stderr that a function is not there, remembers it for Python, returns its argument.
FAKECUDA_EXPORT int fakecuda_not_implemented(const char *name, int status);

// Prints "[fakecuda] ..." on stderr and remembers the text: Python puts it into the exception.
FAKECUDA_EXPORT void fakecuda_complain(const char *text);

// ---------------------------------------------------------------- C++ part, inside libcuda.so.1

namespace fakecuda {

// What stops a kernel or a call: a CUresult (700 illegal address, 716 misaligned, 719 launch
// failure, 702 timeout, 710 assert, 801 not supported) and a sentence.
struct Fault : std::runtime_error {
    int code;
    Fault(int code, const std::string &text) : std::runtime_error(text), code(code) {}
};

bool strict();  // FAKECUDA_MODE has "strict": uninitialised memory and half-left barriers are faults
bool lazy();    // FAKECUDA_MODE has "lazy"

// The live allocation around an address, as the device `device` may see it; `end` is 0 if none.
// Interpreters keep it and ask anew only for addresses outside: allocations do not change while a
// kernel runs. `written` has a byte for each byte of the allocation in strict mode, else null.
struct Extent {
    uint64_t begin = 0, end = 0;
    uint8_t *written = nullptr;
    bool read_only = false;  // constant memory
};
Extent extent(uint64_t address, int device);

// The Fault for an access that no extent holds: says what lies near.
[[noreturn]] void bad_access(uint64_t address, size_t bytes, bool write, int device);

}  // namespace fakecuda
