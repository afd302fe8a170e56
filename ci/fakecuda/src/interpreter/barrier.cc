// Barriers of a block: how threads come to them. How they are released is in launch.cc.
#include "barrier.h"

#include "form.h"
#include "lanes.h"

namespace ptx {
namespace {

// The operands come as [0] the barrier, [1] the number of threads if flags say so, and the
// predicate last.
void check_barrier(const Warp &warp, unsigned lane, uint32_t barrier) {
    if (barrier >= 16)
        warp.fault(719, lane, "there is no barrier " + std::to_string(barrier) + ", only 0 to 15");
}

void set_expected(Warp &warp, const Instruction &in, unsigned lane, uint32_t barrier) {
    if (!(in.flags & barrier_counts)) return;
    uint32_t count = warp.row<uint32_t>(in.from[1])[lane];
    if (count == 0 || count % lanes)
        warp.fault(719, lane, "a barrier for " + std::to_string(count) +
                                  " threads, which is not a multiple of 32");
    warp.machine->barriers[barrier].expected = count;
}

void wait(Warp &warp, const Instruction &in) {
    const uint32_t *barrier = warp.row<uint32_t>(in.from[0]);
    uint32_t predicate =
        in.flags & barrier_reduces ? warp.predicate(in.from[in.from_count - 1]) : 0;
    warp.barrier_value = (warp.barrier_value & ~warp.active) | (predicate & warp.active);
    each_lane(warp.active, [&](unsigned lane) {
        check_barrier(warp, lane, barrier[lane]);
        set_expected(warp, in, lane, barrier[lane]);
        warp.lane_barrier[lane] = static_cast<uint8_t>(barrier[lane]);
    });
    warp.wait_at_barrier(warp.active);
}

void arrive(Warp &warp, const Instruction &in) {
    unsigned lane = static_cast<unsigned>(std::countr_zero(warp.active));
    uint32_t barrier = warp.row<uint32_t>(in.from[0])[lane];
    check_barrier(warp, lane, barrier);
    set_expected(warp, in, lane, barrier);
    warp.machine->barriers[barrier].arrived += threads_of_warp(warp, warp.active);
}

void decode_barrier(Form &form) {
    if (form.take("warp")) return decode_warp_barrier(form);
    form.without_effect({"cta", "aligned"});
    std::string_view action = form.needed({"sync", "arrive", "red"});
    if (action != "red") {
        form.from(Type::b32);
        if (form.more()) {
            form.from(Type::b32);
            form.in.flags |= barrier_counts;
        } else if (action == "arrive") {
            form.refuse("the number of threads is missing");
        }
        form.in.consumes = form.in.from_count;
        return form.emit(action == "sync" ? wait : arrive);
    }
    std::string_view operation = form.needed({"popc", "and", "or"});
    form.in.flags |= operation == "popc"  ? barrier_popc
                     : operation == "and" ? barrier_and
                                          : barrier_or;
    Type type = form.type_of({operation == "popc" ? Type::u32 : Type::pred});
    form.to(type);
    form.from(Type::b32);
    if (form.statement().operands.size() == 4) {
        form.from(Type::b32);
        form.in.flags |= barrier_counts;
    }
    form.from_predicate();
    form.in.consumes = form.in.from_count;
    form.emit(wait);
}

}  // namespace

uint32_t threads_of_warp(const Warp &warp, uint32_t which) {
    return which == warp.live ? lanes : static_cast<uint32_t>(std::popcount(which));
}

void write_barrier_result(Warp &warp, unsigned lane, uint32_t truths, uint32_t threads) {
    const Instruction &in = warp.machine->code->instructions[warp.lane_pc[lane]];
    if (!(in.flags & barrier_reduces)) return;
    warp.frame = warp.lane_frame[lane];
    warp.bases[1] = warp.registers + warp.frame.registers;
    warp.active = 1u << lane;
    if (in.flags & barrier_popc) warp.row<uint32_t>(in.to[0])[lane] = truths;
    else if (in.flags & barrier_and)
        warp.set_predicate(in.to[0], truths == threads ? all_lanes : 0);
    else warp.set_predicate(in.to[0], truths ? all_lanes : 0);
    if (warp.machine->strict) warp.defined[warp.frame.index + in.to[0].index] |= warp.active;
}

void add_barrier_opcodes(Opcodes &opcodes) { opcodes["bar"] = opcodes["barrier"] = decode_barrier; }

}  // namespace ptx
