// The state of a running kernel: the machine, of which a host thread has one, and its warps.
#pragma once

#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "../interpreter.h"
#include "../standin.h"
#include "code.h"

namespace ptx {

inline constexpr uint32_t all_lanes = 0xffffffff;
inline constexpr unsigned lanes = 32;

// Addresses of the spaces that are not global memory, in the generic space: no host address.
inline constexpr uint64_t shared_window = uint64_t{1} << 62;
inline constexpr uint64_t local_window = uint64_t{1} << 61;
inline constexpr uint64_t parameter_window = uint64_t{1} << 60;
inline constexpr uint64_t window_bytes = uint64_t{1} << 32;

// In Instruction::flags of bar.warp.sync: lanes may come together at different instructions.
inline constexpr uint32_t meets_anywhere = uint32_t{1} << 31;

struct Machine;

// Where a lane is in the stack of calls.
struct Frame {
    uint32_t registers = 0;  // byte offset of its register frame
    uint32_t index = 0;      // offset of its marks of defined registers
    uint32_t local = 0;      // byte offset of its frame in local memory
    uint32_t depth = 0;
    bool operator==(const Frame &) const = default;
};

struct Return {
    uint32_t pc = 0;
    Frame frame;
    const Call *call = nullptr;
};

struct Warp {
    Machine *machine = nullptr;
    uint32_t number = 0;  // in the block
    // [0]: constants, [1]: registers of the group that runs
    std::byte *bases[2] = {nullptr, nullptr};
    Frame frame;
    uint32_t pc = 0;      // of the next instruction
    uint32_t join = 0;    // where the group stops, to be joined with others
    uint32_t group = 0;   // the lanes that run together
    uint32_t active = 0;  // those of the group for which the guard holds
    uint32_t carry = 0;   // CC.CF
    uint32_t fuel = 0;    // backward branches until others get their turn
    bool preempted = false;
    bool calls = false;   // some lanes may be in functions that they called

    uint32_t present = 0;     // lanes that the block has
    uint32_t live = 0;        // that have not exited
    uint32_t at_barrier = 0;  // waiting at a barrier of the block
    uint32_t at_sync = 0;     // waiting at an instruction of the warp
    uint32_t barrier_value = 0;  // predicates brought to a bar.red

    std::array<uint32_t, lanes> lane_pc;  // of lanes outside the group
    std::array<Frame, lanes> lane_frame;
    std::array<uint32_t, lanes> lane_mask;    // the member mask with which a lane waits
    std::array<uint8_t, lanes> lane_barrier;  // the barrier at which it waits
    std::vector<std::array<Return, lanes>> stack;

    std::byte *registers = nullptr;       // frames of all depths
    std::vector<uint32_t> defined;        // strict mode: the lanes for which a register has a value
    std::array<uint32_t, 4> loaded_undefined{};  // lanes whose load met bytes never written
    std::byte *local = nullptr;           // `local_stride` bytes for each lane
    uint8_t *local_written = nullptr;  // strict mode: 1 for a byte that has a value
    size_t local_stride = 0;

    template <class T>
    T *row(Operand operand) const {
        return reinterpret_cast<T *>(bases[operand.index != 0] + operand.offset);
    }
    uint32_t predicate(Operand operand) const { return *row<uint32_t>(operand); }
    void set_predicate(Operand operand, uint32_t value) {
        uint32_t *word = row<uint32_t>(operand);
        *word = (*word & ~active) | (value & active);
    }
    std::byte *local_of(unsigned lane) const { return local + lane * local_stride; }

    // Strict mode: the lanes for which an operand has a value.
    uint32_t defined_lanes(Operand operand) const {
        return operand.index ? defined[frame.index + operand.index] : all_lanes;
    }

    uint32_t runnable() const { return live & ~at_barrier & ~at_sync; }
    void start(const Function &function, uint32_t lanes_present);
    void run();

    // For instructions that change where lanes go on. A lane that leaves the group goes on at
    // `to` when its turn comes.
    void branch(uint32_t taken, uint32_t to);
    void leave_group(uint32_t which, uint32_t to, const Frame &then);
    void end(uint32_t which);
    void wait_at_barrier(uint32_t which);

    // For instructions of the warp with a member mask: whether lanes are complete, which are then
    // the active ones; the others wait.
    bool meet(const Instruction &in, Operand masks);

    // Poisons the registers and local variables of the frame that `which` lanes enter.
    void enter(uint32_t which, const Frame &entered, const Function &function);

    std::string where() const;  // which lanes wait where, for messages
    [[noreturn]] void fault(int code, unsigned lane, const std::string &what) const;
    [[noreturn]] void fault_at(uint32_t at, int code, unsigned lane, const std::string &what) const;

private:
    bool select();
    bool together(uint32_t which, uint32_t at) const;
    void release_syncs();
    void burn_fuel();
    bool complete(uint32_t mask, uint32_t arrived) const;
    uint32_t waiting_with(const Instruction &in) const;
    void check_members(Operand masks) const;
    void check_guard(const Instruction &in) const;
    void check_operands(const Instruction &in) const;
    void run_checked(const Instruction &in);
    template <bool strict>
    void run_group();
};

struct BarrierState {
    uint32_t arrived = 0;   // threads that only arrived and went on (bar.arrive)
    uint32_t expected = 0;  // threads; 0: all of the block
};

struct Machine {
    const Code *code = nullptr;
    const Entry *entry = nullptr;
    const Function *function = nullptr;
    Dim grid{}, block{}, index{};
    unsigned threads = 0, warps_in_block = 0;
    int device = 0;
    bool strict = false, reversed = false;
    uint64_t executed = 0, limit = 0;
    const uint8_t *parameters = nullptr;
    size_t parameter_bytes = 0;

    std::vector<std::byte> shared;
    std::vector<uint8_t> shared_written;  // strict mode: 1 for a byte that has a value
    size_t static_shared = 0;             // where the dynamic part begins

    std::vector<Warp> warps;
    Buffer register_memory, local_memory, local_marks;
    std::array<BarrierState, 16> barriers{};
    std::vector<fakecuda::Extent> sites;  // the last allocation that each instruction met
    // x, y and z of each thread, in rows for whole warps
    std::array<std::vector<uint32_t>, 3> thread_index;
    Dim indexed_block{};  // for which block thread_index is right

    void prepare(size_t dynamic_shared);
    void run();

private:
    void prepare_warps();
    void number_threads();
    void run_block();
    bool run_warps();
    bool release_barriers();
    bool barrier_complete(unsigned barrier) const;
    void release_barrier(unsigned barrier);
    [[noreturn]] void fault_of_waiting(int code, const std::string &what) const;
};

// Calls `work(lane)` for each lane of `mask`, in order.
template <class Work>
inline void each_lane(uint32_t mask, Work work) {
    for (; mask; mask &= mask - 1) work(static_cast<unsigned>(std::countr_zero(mask)));
}

}  // namespace ptx
