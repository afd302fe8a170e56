// Strict mode: which lanes of which registers have a value. What has none may be copied and
// computed with, as compilers do with values that they never use; it must not decide a branch, be
// part of an address or get into global memory.
#include "machine.h"

namespace ptx {
namespace {

// The lanes for which the result has a value.
uint32_t defined_result(const Warp &warp, const Instruction &in) {
    uint32_t has[std::size(in.from)], all = all_lanes;
    for (unsigned i = 0; i < in.from_count; i++) {
        has[i] = warp.defined_lanes(in.from[i]);
        all &= has[i];
    }
    auto truth = [&](unsigned i) { return warp.predicate(in.from[i]); };
    switch (in.defined) {
        case Definedness::by_other_lanes: return all_lanes;
        case Definedness::by_choice:
            return has[2] & ((truth(2) & has[0]) | (~truth(2) & has[1]));
        case Definedness::by_and: return all | (has[0] & ~truth(0)) | (has[1] & ~truth(1));
        case Definedness::by_or: return all | (has[0] & truth(0)) | (has[1] & truth(1));
        case Definedness::by_third_and: return all | (has[2] & ~truth(2));
        case Definedness::by_third_or: return all | (has[2] & truth(2));
        default: return all;
    }
}

}  // namespace

void Warp::check_guard(const Instruction &in) const {
    if (!in.guarded) return;
    if (uint32_t missing = group & ~defined_lanes(in.guard))
        fault(719, static_cast<unsigned>(std::countr_zero(missing)),
              "its predicate has no value yet");
}

void Warp::check_operands(const Instruction &in) const {
    for (unsigned i = 0; i < in.consumes; i++) {
        if (uint32_t missing = active & ~defined_lanes(in.from[i]))
            fault(719, static_cast<unsigned>(std::countr_zero(missing)),
                  "it uses a register that has no value yet");
    }
}

void Warp::run_checked(const Instruction &in) {
    check_operands(in);
    uint32_t known = defined_result(*this, in);
    loaded_undefined.fill(0);
    in.run(*this, in);
    for (unsigned i = 0; i < in.to_count; i++) {
        uint32_t &marks = defined[frame.index + in.to[i].index];
        marks = (marks & ~active) | (known & ~loaded_undefined[i] & active);
    }
}

}  // namespace ptx
