// Runs a grid: its blocks one after another, the warps of a block in turn until each waits or ends.
#include <cstdlib>
#include <new>

#include "barrier.h"
#include "machine.h"

namespace ptx {

void Buffer::Free::operator()(std::byte *memory) const {
    ::operator delete(memory, std::align_val_t{64});
}

std::byte *Buffer::at_least(size_t bytes) {
    if (bytes > capacity_ || !memory_) {
        memory_.reset();
        memory_.reset(static_cast<std::byte *>(::operator new(bytes + 64, std::align_val_t{64})));
        capacity_ = bytes;
    }
    return memory_.get();
}

// ---------------------------------------------------------------- before the first block

void Machine::prepare(size_t dynamic_shared) {
    threads = block.x * block.y * block.z;
    warps_in_block = (threads + lanes - 1) / lanes;
    static_shared = function->static_shared;
    if (dynamic_shared) static_shared = (static_shared + 15) / 16 * 16;
    shared.resize(static_shared + dynamic_shared);
    if (strict) shared_written.resize(shared.size());
    sites.assign(code->sites, {});
    executed = 0;
    if (warps.size() < warps_in_block) warps.resize(warps_in_block);
    prepare_warps();
    number_threads();
}

void Machine::prepare_warps() {
    size_t registers = (function->stack_registers + 63) / 64 * 64;
    size_t local = (function->stack_local + 15) / 16 * 16;
    std::byte *register_rows = register_memory.at_least(registers * warps_in_block);
    std::byte *variables = local_memory.at_least(local * lanes * warps_in_block);
    std::byte *marks = strict ? local_marks.at_least(local * lanes * warps_in_block) : nullptr;
    for (unsigned i = 0; i < warps_in_block; i++) {
        Warp &warp = warps[i];
        warp.machine = this;
        warp.number = i;
        warp.bases[0] = code->constant_rows;
        warp.registers = register_rows + registers * i;
        warp.local = variables + local * lanes * i;
        warp.local_written =
            strict ? reinterpret_cast<uint8_t *>(marks) + local * lanes * i : nullptr;
        warp.local_stride = local;
        if (strict) warp.defined.resize(function->stack_indices);
    }
}

void Machine::number_threads() {
    bool same =
        indexed_block.x == block.x && indexed_block.y == block.y && indexed_block.z == block.z;
    if (same) return;
    indexed_block = block;
    for (auto &row : thread_index) row.assign(warps_in_block * lanes, 0);
    size_t thread = 0;
    for (uint32_t z = 0; z < block.z; z++) {
        for (uint32_t y = 0; y < block.y; y++) {
            for (uint32_t x = 0; x < block.x; x++, thread++) {
                thread_index[0][thread] = x;
                thread_index[1][thread] = y;
                thread_index[2][thread] = z;
            }
        }
    }
}

void Machine::run() {
    uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t number = reversed ? blocks - 1 - i : i;
        index.x = static_cast<uint32_t>(number % grid.x);
        index.y = static_cast<uint32_t>(number / grid.x % grid.y);
        index.z = static_cast<uint32_t>(number / grid.x / grid.y);
        run_block();
    }
}

// ---------------------------------------------------------------- a block

void Machine::run_block() {
    if (!shared.empty()) std::memset(shared.data(), 0xcd, shared.size());
    if (strict && !shared.empty()) std::memset(shared_written.data(), 0, shared.size());
    barriers.fill({});
    for (unsigned i = 0; i < warps_in_block; i++) {
        unsigned count = std::min(threads - i * lanes, lanes);
        warps[i].start(*function, count == lanes ? all_lanes : (1u << count) - 1);
    }
    for (;;) {
        bool progress = run_warps();
        bool ended = true;
        for (unsigned i = 0; i < warps_in_block; i++) ended = ended && !warps[i].live;
        if (ended) return;
        progress |= release_barriers();
        if (!progress) fault_of_waiting(702, "threads wait for others, which never come");
    }
}

bool Machine::run_warps() {
    bool progress = false;
    for (unsigned i = 0; i < warps_in_block; i++) {
        Warp &warp = warps[reversed ? warps_in_block - 1 - i : i];
        if (!warp.live || (!warp.runnable() && !warp.at_sync)) continue;
        uint64_t before = executed;
        warp.run();
        progress |= executed != before;
    }
    return progress;
}

void Machine::fault_of_waiting(int code, const std::string &what) const {
    std::string text = what;
    const Warp *first = nullptr;
    for (unsigned i = 0; i < warps_in_block; i++) {
        const Warp &warp = warps[i];
        if (!(warp.at_barrier | warp.at_sync)) continue;
        if (!first) first = &warp;
        if (text.size() < 2000) text += warp.where();
    }
    unsigned lane = static_cast<unsigned>(std::countr_zero(first->at_barrier | first->at_sync));
    first->fault_at(first->lane_pc[lane], code, lane, text);
}

// ---------------------------------------------------------------- barriers

bool Machine::release_barriers() {
    uint32_t used = 0;
    for (unsigned i = 0; i < warps_in_block; i++)
        each_lane(warps[i].at_barrier,
                  [&](unsigned lane) { used |= 1u << warps[i].lane_barrier[lane]; });
    bool released = false;
    each_lane(used, [&](unsigned barrier) {
        if (!barrier_complete(barrier)) return;
        release_barrier(barrier);
        released = true;
    });
    return released;
}

namespace {

uint32_t waiting_lanes(const Warp &warp, unsigned barrier) {
    uint32_t result = 0;
    each_lane(warp.at_barrier, [&](unsigned lane) {
        result |= uint32_t{warp.lane_barrier[lane] == barrier} << lane;
    });
    return result;
}

// Kernels of CuPy's own whose threads are known to exit before a barrier: hardware counts those as
// arrived, though CUDA's manual does not promise it. No test of other code should stop at them.
bool may_exit_early(const std::string &kernel) {
    return kernel == "cupy_inclusive_batch_scan_kernel";
}

}  // namespace

bool Machine::barrier_complete(unsigned barrier) const {
    uint32_t live = 0, waiting = 0, counted = barriers[barrier].arrived, place = 0;
    bool one_place = true;
    for (unsigned i = 0; i < warps_in_block; i++) {
        const Warp &warp = warps[i];
        uint32_t here = waiting_lanes(warp, barrier);
        live += static_cast<uint32_t>(std::popcount(warp.live));
        if (!here) continue;
        each_lane(here, [&](unsigned lane) {
            if (waiting++ && warp.lane_pc[lane] != place) one_place = false;
            place = warp.lane_pc[lane];
        });
        counted += threads_of_warp(warp, here);
    }
    if (uint32_t expected = barriers[barrier].expected) return counted >= expected;
    if (waiting < live) return false;
    if (strict && live < threads && !may_exit_early(entry->name))
        fault_of_waiting(719, "a barrier for the whole block, of which " +
                                  std::to_string(threads - live) + " threads have exited");
    if (strict && !one_place)
        fault_of_waiting(719, "threads of the block wait at different barriers");
    return true;
}

void Machine::release_barrier(unsigned barrier) {
    uint32_t truths = 0, count = 0;
    for (unsigned i = 0; i < warps_in_block; i++) {
        uint32_t here = waiting_lanes(warps[i], barrier);
        truths += static_cast<uint32_t>(std::popcount(here & warps[i].barrier_value));
        count += static_cast<uint32_t>(std::popcount(here));
    }
    for (unsigned i = 0; i < warps_in_block; i++) {
        Warp &warp = warps[i];
        uint32_t here = waiting_lanes(warp, barrier);
        each_lane(here, [&](unsigned lane) {
            write_barrier_result(warp, lane, truths, count);
            warp.lane_pc[lane]++;
        });
        warp.at_barrier &= ~here;
    }
    barriers[barrier] = {};
}

// ---------------------------------------------------------------- the driver's call

uint64_t launch(const Module &module, const Entry &entry, Dim grid, Dim block,
                size_t dynamic_shared, const uint8_t *parameters, int device) {
    static thread_local Machine machine;
    const char *limit = std::getenv("FAKECUDA_LIMIT"), *order = std::getenv("FAKECUDA_ORDER");
    machine.code = static_cast<const Code *>(module.code.get());
    machine.entry = &entry;
    machine.function = entry.function;
    machine.grid = grid;
    machine.block = block;
    machine.device = device;
    machine.parameters = parameters;
    machine.parameter_bytes = entry.parameter_bytes;
    machine.strict = fakecuda::strict();
    machine.reversed = order && std::string_view(order) == "reversed";
    machine.limit = limit ? std::strtoull(limit, nullptr, 10) : 20'000'000'000;
    machine.prepare(dynamic_shared);
    machine.run();
    return machine.executed;
}

}  // namespace ptx
