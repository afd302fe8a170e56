// How a warp runs. Lanes at the same instruction run together as a group. Where they part, the
// group that is furthest behind runs first, so that lanes meet again by themselves.
#include <algorithm>

#include "form.h"
#include "machine.h"

namespace ptx {
namespace {

constexpr uint32_t fuel_of_a_turn = 20000;

}  // namespace

void Warp::start(const Function &function, uint32_t lanes_present) {
    present = live = lanes_present;
    at_barrier = at_sync = carry = barrier_value = group = 0;
    preempted = calls = false;
    lane_pc.fill(function.begin);
    lane_frame.fill(Frame{});
    std::memset(registers, 0xcd, function.register_bytes);
    if (machine->strict) std::fill_n(defined.begin(), function.registers, 0u);
    for (unsigned lane = 0; function.local_bytes && lane < lanes; lane++) {
        std::memset(local_of(lane), 0xcd, function.local_bytes);
        if (local_written)
            std::memset(local_written + lane * local_stride, 0, function.local_bytes);
    }
}

void Warp::enter(uint32_t which, const Frame &entered, const Function &function) {
    // rows have columns of other lanes, which may be deeper in calls of their own
    if (which == live)
        std::memset(registers + entered.registers, 0xcd, function.register_bytes);
    if (machine->strict)
        for (uint32_t i = 0; i < function.registers; i++) defined[entered.index + i] &= ~which;
    each_lane(which, [&](unsigned lane) {
        std::memset(local_of(lane) + entered.local, 0xcd, function.local_bytes);
        if (local_written)
            std::memset(local_written + lane * local_stride + entered.local, 0,
                        function.local_bytes);
    });
}

// ---------------------------------------------------------------- choosing a group

// Whether all runnable lanes are at the same instruction of the kernel: the common case.
bool Warp::together(uint32_t which, uint32_t at) const {
    if (calls || which != runnable()) return false;
    uint32_t apart = 0;
    for (unsigned lane = 0; lane < lanes; lane++)
        apart |= (lane_pc[lane] ^ at) & -(which >> lane & 1);
    return !apart;
}

bool Warp::select() {
    if (at_sync) release_syncs();
    uint32_t candidates = runnable();
    if (preempted && (candidates & ~group)) candidates &= ~group;
    preempted = false;
    group = 0;
    if (!candidates) return false;
    unsigned chosen = static_cast<unsigned>(std::countr_zero(candidates));
    fuel = fuel_of_a_turn;
    join = 0xffffffff;
    pc = lane_pc[chosen];
    if (together(candidates, pc)) {
        group = candidates;
        frame = {};
        bases[1] = registers;
        return true;
    }
    each_lane(candidates, [&](unsigned lane) {
        uint32_t depth = lane_frame[lane].depth, deepest = lane_frame[chosen].depth;
        if (depth > deepest || (depth == deepest && lane_pc[lane] < lane_pc[chosen])) chosen = lane;
    });
    pc = lane_pc[chosen];
    frame = lane_frame[chosen];
    bases[1] = registers + frame.registers;
    each_lane(runnable(), [&](unsigned lane) {
        if (lane_pc[lane] == pc && lane_frame[lane] == frame) group |= 1u << lane;
        else if (lane_pc[lane] > pc) join = std::min(join, lane_pc[lane]);
    });
    return true;
}

void Warp::run() {
    for (int turns = 0; select();) {
        if (machine->strict) run_group<true>();
        else run_group<false>();
        each_lane(group, [&](unsigned lane) {
            lane_pc[lane] = pc;
            lane_frame[lane] = frame;
        });
        // a loop that may wait for others: let them run
        if (preempted && (++turns == 8 || runnable() == group)) return;
    }
}

template <bool strict>
void Warp::run_group() {
    const Instruction *code = machine->code->instructions.data();
    do {
        const Instruction &in = code[pc++];
        active = group;
        if (in.guarded) active &= predicate(in.guard) ^ (in.guard_negated ? all_lanes : 0);
        if constexpr (strict) check_guard(in);
        if (!active) continue;
        machine->executed += static_cast<unsigned>(std::popcount(active));
        if constexpr (strict) run_checked(in);
        else in.run(*this, in);
    } while (pc < join);
}

// ---------------------------------------------------------------- leaving it

void Warp::leave_group(uint32_t which, uint32_t to, const Frame &then) {
    each_lane(which, [&](unsigned lane) {
        lane_pc[lane] = to;
        lane_frame[lane] = then;
    });
    group &= ~which;
    join = 0;
}

void Warp::branch(uint32_t taken, uint32_t to) {
    bool backward = to < pc;
    if (backward) burn_fuel();
    if (taken == group) {
        pc = to;
    } else if (backward) {
        leave_group(taken, to, frame);
    } else {
        uint32_t next = std::min(join, to);
        leave_group(taken, to, frame);
        join = next;
    }
}

void Warp::burn_fuel() {
    if (machine->executed > machine->limit) {
        fault(702, static_cast<unsigned>(std::countr_zero(active)),
              "the kernel ran over the limit of " + std::to_string(machine->limit) +
                  " instructions: an endless loop?");
    }
    if (--fuel) return;
    preempted = true;
    join = 0;
}

void Warp::end(uint32_t which) {
    live &= ~which;
    group &= ~which;
    if (!group || at_sync) join = 0;
}

void Warp::wait_at_barrier(uint32_t which) {
    at_barrier |= which;
    leave_group(which, pc - 1, frame);
}

// ---------------------------------------------------------------- member masks

bool Warp::complete(uint32_t mask, uint32_t arrived) const {
    return !(mask & live & ~arrived);
}

// The lanes that wait at an instruction of the warp, or at any other that does the same.
uint32_t Warp::waiting_with(const Instruction &in) const {
    bool anywhere = in.flags & meets_anywhere;
    uint32_t result = 0;
    each_lane(at_sync, [&](unsigned lane) {
        const Instruction &other = machine->code->instructions[lane_pc[lane]];
        bool same = anywhere ? other.run == in.run : &other == &in && lane_frame[lane] == frame;
        if (same) result |= 1u << lane;
    });
    return result;
}

void Warp::check_members(Operand masks) const {
    const uint32_t *mask = row<uint32_t>(masks);
    each_lane(active, [&](unsigned lane) {
        char text[120];
        if (!(mask[lane] >> lane & 1)) {
            std::snprintf(text, sizeof text,
                          "its member mask %#x does not name lane %u, which runs it", mask[lane],
                          lane);
            fault(719, lane, text);
        }
        if (machine->strict && (mask[lane] & present & ~live)) {
            std::snprintf(text, sizeof text,
                          "its member mask %#x names lanes that have exited: %#x", mask[lane],
                          mask[lane] & present & ~live);
            fault(719, lane, text);
        }
    });
}

bool Warp::meet(const Instruction &in, Operand masks) {
    check_members(masks);
    const uint32_t *mask = row<uint32_t>(masks);
    uint32_t waiting = at_sync ? waiting_with(in) : 0, done = 0;
    each_lane(active, [&](unsigned lane) { lane_mask[lane] = mask[lane]; });
    each_lane(active | waiting, [&](unsigned lane) {
        if (complete(lane_mask[lane], active | waiting)) done |= 1u << lane;
    });
    uint32_t stay = active & ~done, come = waiting & done;
    at_sync = (at_sync & ~come) | stay;
    uint32_t go = active & done;
    if (stay) leave_group(stay, pc - 1, frame);
    if (in.flags & meets_anywhere) {
        if (come) join = 0;
        each_lane(come, [&](unsigned lane) { lane_pc[lane]++; });
        return go != 0;
    }
    group |= come;
    active = go | come;
    return active != 0;
}

// Lanes wait for no lane that has exited.
void Warp::release_syncs() {
    uint32_t freed = 0;
    each_lane(at_sync, [&](unsigned lane) {
        const Instruction &in = machine->code->instructions[lane_pc[lane]];
        Frame kept = frame;
        frame = lane_frame[lane];
        uint32_t arrived = waiting_with(in);
        frame = kept;
        if (complete(lane_mask[lane], arrived)) freed |= 1u << lane;
    });
    at_sync &= ~freed;
}

// ---------------------------------------------------------------- messages

namespace {

std::string squeezed(std::string_view text) {
    std::string result;
    for (char c : text) {
        bool blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
        if (!blank) result += c;
        else if (!result.empty() && result.back() != ' ') result += ' ';
    }
    return result;
}

std::string index_text(uint32_t x, uint32_t y, uint32_t z) {
    return "(" + std::to_string(x) + ", " + std::to_string(y) + ", " + std::to_string(z) + ")";
}

std::string instruction_text(const Code &code, uint32_t at) {
    const Statement *statement = code.origins[at].statement;
    if (!statement) return "the end of the function";
    std::string result =
        "PTX line " + std::to_string(statement->line) + ": " + squeezed(statement->text);
    if (!statement->source_line) return result;
    auto file = code.syntax->files.find(statement->source_file);
    result += " (line " + std::to_string(statement->source_line);
    if (file != code.syntax->files.end()) result += " of " + std::string(file->second);
    return result + ")";
}

}  // namespace

std::string Warp::where() const {
    std::string result;
    uint32_t left = at_barrier | at_sync;
    while (left) {
        uint32_t at = lane_pc[std::countr_zero(left)], same = 0;
        each_lane(left, [&](unsigned lane) { same |= uint32_t{lane_pc[lane] == at} << lane; });
        char text[64];
        std::snprintf(text, sizeof text, "; lanes %#x of warp %u at ", same, number);
        result += text + instruction_text(*machine->code, at);
        left &= ~same;
    }
    return result;
}

void Warp::fault(int code, unsigned lane, const std::string &what) const {
    fault_at(pc - 1, code, lane, what);
}

void Warp::fault_at(uint32_t at, int code, unsigned lane, const std::string &what) const {
    const auto &index = machine->thread_index;
    size_t thread = number * lanes + lane;
    const Function *function = machine->code->origins[at].function;
    std::string text = "kernel " + machine->entry->name;
    if (function && function->name != machine->entry->name) text += ", function " + function->name;
    text += ", block " + index_text(machine->index.x, machine->index.y, machine->index.z) +
            ", thread " + index_text(index[0][thread], index[1][thread], index[2][thread]) + ": " +
            what + ", at " + instruction_text(*machine->code, at);
    throw fakecuda::Fault(code, text);
}

}  // namespace ptx
