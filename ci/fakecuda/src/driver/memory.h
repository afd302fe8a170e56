// Device memory, pinned host memory and module variables: what is allocated, where, and by whom.
#pragma once

#include <memory>
#include <string>

#include "state.h"

namespace fakecuda {

enum class MemoryKind { device, managed, pinned, registered, variable, constant };

using Pool = CUmemPoolHandle_st;

struct Allocation {
    uint64_t begin = 0;
    size_t bytes = 0;
    MemoryKind kind = MemoryKind::device;
    int device = 0;
    unsigned flags = 0;      // of cudaHostAlloc and the like
    uint64_t id = 0;
    Pool *pool = nullptr;    // of asynchronous allocations
    bool freed_later = false;  // a stream will free it
    std::unique_ptr<uint8_t[]> written = nullptr;  // strict mode, where the host can't write

    uint64_t end() const { return begin + bytes; }
    bool on_host() const { return kind == MemoryKind::pinned || kind == MemoryKind::registered; }
};

// Memory of exactly this size, filled with a pattern that is NaN and -1. Fault 2 if the device has
// no more.
Allocation &allocate(size_t bytes, MemoryKind kind, int device, size_t align = 512);
Allocation &register_host(void *pointer, size_t bytes, unsigned flags, int device);
void release(Allocation &allocation);
void release_device(int device);  // all of it, as a reset does

// The live allocation around an address, or null.
Allocation *find_allocation(uint64_t address);
// The live allocation that begins there. Fault 1 that says what lies there instead.
Allocation &allocation_at(const void *pointer);
bool visible(const Allocation &allocation, int device);

size_t memory_used(int device);

// Pools (pools.cc): what freed memory goes back to, what a synchronisation takes from them, and
// what they keep beyond what is used.
void give_back(Pool *pool, size_t bytes);
void trim_pools(int device);
size_t pool_reserve(int device);

// "40 bytes at 0x7f.. run past the end of an allocation of 32 bytes at ..": why no extent holds a
// range.
std::string describe_range(uint64_t address, size_t bytes);

void mark_written(uint64_t address, size_t bytes);
// The first byte of a range that nothing wrote, in strict mode; `bytes` if all are written.
size_t first_unwritten(uint64_t address, size_t bytes);

}  // namespace fakecuda
