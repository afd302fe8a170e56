// What the instructions of barriers and the scheduler of a block share.
#pragma once

#include "machine.h"

namespace ptx {

// In Instruction::flags of a barrier.
enum : uint32_t {
    barrier_counts = 1,  // with a number of threads
    barrier_popc = 2,
    barrier_and = 4,
    barrier_or = 8,
    barrier_reduces = barrier_popc | barrier_and | barrier_or,
};

// How many threads arrive with these lanes: a barrier with a number counts whole warps as 32.
uint32_t threads_of_warp(const Warp &warp, uint32_t which);

// Gives a lane that waits at a bar.red its result.
void write_barrier_result(Warp &warp, unsigned lane, uint32_t truths, uint32_t threads);

}  // namespace ptx
