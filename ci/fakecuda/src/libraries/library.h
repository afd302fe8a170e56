// What every library of the stand-in does with a call: put it on the stream, check its memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include "standin.h"

namespace fakecuda {

// Device memory that a call may not use; the stand-in has said why.
struct BadMemory {
    int code;  // a CUresult
};

inline void check_memory(const void *address, size_t bytes, bool write, const std::string &what) {
    if (bytes == 0) {
        return;
    }
    auto place = reinterpret_cast<uint64_t>(address);
    if (int code = fakecuda_check(place, bytes, write, what.c_str())) {
        throw BadMemory{code};
    }
}

// Memory of `count` vectors of `length` elements whose beginnings are `stride` elements apart:
// a matrix in columns, or a batch.
template <typename T>
void check_vectors(const T *address, size_t length, size_t count, size_t stride, bool write,
                   const std::string &what) {
    if (length == 0 || count == 0) {
        return;
    }
    if (length >= stride) {
        check_memory(address, (stride * (count - 1) + length) * sizeof(T), write, what);
        return;
    }
    for (size_t i = 0; i < count; ++i) {
        check_memory(address + i * stride, length * sizeof(T), write, what);
    }
}

template <typename T>
void check_read(const T *address, size_t rows, size_t columns, size_t stride,
                const std::string &what) {
    check_vectors(address, rows, columns, stride, false, what);
}

template <typename T>
void check_write(const T *address, size_t rows, size_t columns, size_t stride,
                 const std::string &what) {
    check_vectors(address, rows, columns, stride, true, what);
}

// Puts `work`, which takes nothing and returns nothing, on a stream under the name of the
// library's function. Returns a CUresult; what fails later sticks to the context.
template <typename Work>
int enqueue(const char *name, void *stream, Work work) {
    struct Call {
        const char *name;
        Work work;
    };
    auto run = [](void *argument) -> int {
        auto call = static_cast<Call *>(argument);
        try {
            call->work();
        } catch (const BadMemory &memory) {
            return memory.code;
        } catch (const std::exception &error) {
            fakecuda_complain((std::string(call->name) + ": " + error.what()).c_str());
            return 719;
        }
        return 0;
    };
    auto release = [](void *argument) { delete static_cast<Call *>(argument); };
    return fakecuda_library_call(name, stream, run, new Call{name, std::move(work)}, release);
}

}  // namespace fakecuda
