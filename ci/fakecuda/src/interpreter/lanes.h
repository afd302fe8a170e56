// Runs an operation for all active lanes of a warp: plain loops over rows, which the compiler
// makes into vector instructions where all 32 lanes are active.
#pragma once

#include <cfenv>

#include "machine.h"

namespace ptx {

// to[lane] = value(lane) for the active lanes. A row may be both source and destination, but rows
// never overlap otherwise: hence ivdep.
template <class T, class Value>
inline void write_lanes(Warp &warp, Operand to, Value value) {
    T *result = warp.row<T>(to);
    if (warp.active == all_lanes) {
#pragma GCC ivdep
        for (unsigned lane = 0; lane < lanes; lane++) result[lane] = value(lane);
    } else {
        each_lane(warp.active, [&](unsigned lane) { result[lane] = value(lane); });
    }
}

// The mask of the active lanes for which test(lane) holds.
template <class Test>
inline uint32_t test_lanes(const Warp &warp, Test test) {
    if (warp.active != all_lanes) {
        uint32_t mask = 0;
        each_lane(warp.active, [&](unsigned lane) { mask |= uint32_t{test(lane)} << lane; });
        return mask;
    }
    alignas(32) uint8_t bytes[lanes];
    for (unsigned lane = 0; lane < lanes; lane++) bytes[lane] = test(lane);
    uint32_t mask = 0;
    for (unsigned part = 0; part < 4; part++) {  // eight bytes of 0 or 1 to eight bits
        uint64_t eight;
        std::memcpy(&eight, bytes + 8 * part, 8);
        mask |= static_cast<uint32_t>((eight * 0x0102040810204080) >> 56) << (8 * part);
    }
    return mask;
}

// Instructions of one, two and three operands of the same type as the result, and of others: Op
// has a static `apply`.
template <class Op, class R, class A>
void unary(Warp &warp, const Instruction &in) {
    const A *a = warp.row<A>(in.from[0]);
    write_lanes<R>(warp, in.to[0], [=](unsigned lane) { return Op::apply(a[lane]); });
}

template <class Op, class R, class A, class B>
void binary(Warp &warp, const Instruction &in) {
    const A *a = warp.row<A>(in.from[0]);
    const B *b = warp.row<B>(in.from[1]);
    write_lanes<R>(warp, in.to[0], [=](unsigned lane) { return Op::apply(a[lane], b[lane]); });
}

template <class Op, class R, class A, class B, class C>
void ternary(Warp &warp, const Instruction &in) {
    const A *a = warp.row<A>(in.from[0]);
    const B *b = warp.row<B>(in.from[1]);
    const C *c = warp.row<C>(in.from[2]);
    write_lanes<R>(warp, in.to[0],
                   [=](unsigned lane) { return Op::apply(a[lane], b[lane], c[lane]); });
}

// Runs another instruction under a rounding mode of the processor. Its operands come from memory
// after the mode was set, and its results go there before it is set back.
template <Instruction::Run run, int mode>
void under_mode(Warp &warp, const Instruction &in) {
    std::fesetround(mode);
    run(warp, in);
    std::fesetround(FE_TONEAREST);
}

}  // namespace ptx
