// Instructions of a warp in which lanes exchange values: shfl, vote, match, redux and
// bar.warp.sync, and those about the warp itself.
#include <algorithm>

#include "form.h"
#include "lanes.h"

namespace ptx {
namespace {

// Calls `work(members)` for each set of active lanes that came with the same member mask.
template <class Work>
void each_team(const Warp &warp, Operand masks, Work work) {
    const uint32_t *mask = warp.row<uint32_t>(masks);
    for (uint32_t left = warp.active; left;) {
        uint32_t members = mask[std::countr_zero(left)] & warp.active;
        work(members);
        left &= ~members;
    }
}

// ---------------------------------------------------------------- shfl

enum class Shuffle : uint8_t { up, down, butterfly, index };

// The lane from which `lane` takes its value; `valid` as PTX says.
template <Shuffle mode>
int source_lane(int lane, uint32_t b, uint32_t c, bool &valid) {
    int by = static_cast<int>(b & 31), clamp = static_cast<int>(c & 31);
    int segment = static_cast<int>(c >> 8 & 31);
    int lowest = lane & segment, highest = lowest | (clamp & ~segment), source;
    switch (mode) {
        case Shuffle::up:
            source = lane - by;
            valid = source >= highest;
            break;
        case Shuffle::down:
            source = lane + by;
            valid = source <= highest;
            break;
        case Shuffle::butterfly:
            source = lane ^ by;
            valid = source <= highest;
            break;
        default:
            source = lowest | (by & ~segment);
            valid = source <= highest;
    }
    return valid ? source : lane;
}

template <Shuffle mode>
void shuffle(Warp &warp, const Instruction &in) {
    if (!warp.meet(in, in.from[2])) return;
    const uint32_t *b = warp.row<uint32_t>(in.from[0]), *c = warp.row<uint32_t>(in.from[1]);
    const uint32_t *masks = warp.row<uint32_t>(in.from[2]);
    uint32_t values[lanes], valid_lanes = 0, strays = 0;
    std::memcpy(values, warp.row<uint32_t>(in.from[3]), sizeof values);
    uint32_t *result = warp.row<uint32_t>(in.to[0]);
    uint32_t defined = warp.machine->strict ? warp.defined_lanes(in.from[3]) : all_lanes;
    each_lane(warp.active, [&](unsigned lane) {
        bool valid = false;
        int source = source_lane<mode>(static_cast<int>(lane), b[lane], c[lane], valid);
        bool there = source < 32 && (warp.active & masks[lane]) >> source & 1;
        valid_lanes |= uint32_t{valid} << lane;
        // the value of a lane that takes no part is undefined
        result[lane] = there ? values[source] : 0xcdcdcdcd;
        if (!there || !(defined >> source & 1)) strays |= 1u << lane;
    });
    if (in.to_count > 1) warp.set_predicate(in.to[1], valid_lanes);
    warp.loaded_undefined[0] = strays;
}

void decode_shuffle(Form &form) {
    form.needed({"sync"});
    std::string_view mode = form.needed({"up", "down", "bfly", "idx"});
    form.type_of({Type::b32});
    OperandSyntax to = form.next(), value = form.next();
    std::string_view predicate = to.second;
    to.second = {};
    if (to.text == "_") to.kind = OperandSyntax::sink;
    form.add_to(to, Type::b32);
    if (!predicate.empty()) {
        to.text = predicate;
        to.kind = predicate == "_" ? OperandSyntax::sink : OperandSyntax::name;
        form.add_to(to, Type::pred);
    }
    for (int i = 0; i < 3; i++) form.from(Type::b32);
    form.add_from(value, Type::b32);
    form.in.consumes = 3;
    form.in.defined = Definedness::by_other_lanes;
    if (mode == "up") form.emit(shuffle<Shuffle::up>);
    else if (mode == "down") form.emit(shuffle<Shuffle::down>);
    else if (mode == "bfly") form.emit(shuffle<Shuffle::butterfly>);
    else form.emit(shuffle<Shuffle::index>);
}

// ---------------------------------------------------------------- vote

enum class Vote : uint8_t { all, any, uniform, ballot };

template <Vote mode>
void vote(Warp &warp, const Instruction &in) {
    if (!warp.meet(in, in.from[1])) return;
    uint32_t predicate = warp.predicate(in.from[0]), truths = 0;
    uint32_t *ballots = warp.row<uint32_t>(in.to[0]);
    uint32_t ballot_of[lanes];
    each_team(warp, in.from[1], [&](uint32_t members) {
        uint32_t ballot = predicate & members;
        bool holds = mode == Vote::all   ? ballot == members
                     : mode == Vote::any ? ballot != 0
                                         : ballot == members || ballot == 0;
        if (holds) truths |= members;
        each_lane(members, [&](unsigned lane) { ballot_of[lane] = ballot; });
    });
    if (mode != Vote::ballot) return warp.set_predicate(in.to[0], truths);
    each_lane(warp.active, [&](unsigned lane) { ballots[lane] = ballot_of[lane]; });
}

void decode_vote(Form &form) {
    form.needed({"sync"});
    std::string_view mode = form.needed({"all", "any", "uni", "ballot"});
    Type type = form.type_of({mode == "ballot" ? Type::b32 : Type::pred});
    form.to(type);
    form.from_predicate();
    form.from(Type::b32);
    form.in.consumes = 2;
    form.in.defined = Definedness::by_other_lanes;
    if (mode == "all") form.emit(vote<Vote::all>);
    else if (mode == "any") form.emit(vote<Vote::any>);
    else if (mode == "uni") form.emit(vote<Vote::uniform>);
    else form.emit(vote<Vote::ballot>);
}

// ---------------------------------------------------------------- match

template <class T, bool all>
void match(Warp &warp, const Instruction &in) {
    if (!warp.meet(in, in.from[1])) return;
    T values[lanes];
    std::memcpy(values, warp.row<T>(in.from[0]), sizeof values);
    uint32_t *result = warp.row<uint32_t>(in.to[0]);
    uint32_t agreed = 0, found[lanes];
    each_team(warp, in.from[1], [&](uint32_t members) {
        each_lane(members, [&](unsigned lane) {
            uint32_t same = 0;
            each_lane(members, [&](unsigned other) {
                same |= uint32_t{values[other] == values[lane]} << other;
            });
            bool whole = same == members;
            if (whole) agreed |= 1u << lane;
            found[lane] = all && !whole ? 0 : same;
        });
    });
    each_lane(warp.active, [&](unsigned lane) { result[lane] = found[lane]; });
    if (in.to_count > 1) warp.set_predicate(in.to[1], agreed);
}

void decode_match(Form &form) {
    bool all = form.needed({"any", "all"}) == "all";
    form.needed({"sync"});
    Type type = form.type_of({Type::b32, Type::b64});
    OperandSyntax to = form.next();
    std::string_view predicate = to.second;
    to.second = {};
    form.add_to(to, Type::b32);
    if (!predicate.empty()) {
        if (!all) form.refuse("match.any gives no predicate");
        to.text = predicate;
        if (predicate == "_") to.kind = OperandSyntax::sink;
        form.add_to(to, Type::pred);
    }
    form.from(type);
    form.from(Type::b32);
    form.in.consumes = 2;
    form.in.defined = Definedness::by_other_lanes;
    if (type == Type::b32) form.emit(all ? match<uint32_t, true> : match<uint32_t, false>);
    else form.emit(all ? match<uint64_t, true> : match<uint64_t, false>);
}

// ---------------------------------------------------------------- redux

struct Sum {
    template <class T>
    static T apply(T a, T b) {
        return static_cast<T>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
    }
};
struct Minimum {
    template <class T>
    static T apply(T a, T b) { return std::min(a, b); }
};
struct Maximum {
    template <class T>
    static T apply(T a, T b) { return std::max(a, b); }
};
struct And {
    template <class T>
    static T apply(T a, T b) { return a & b; }
};
struct Or {
    template <class T>
    static T apply(T a, T b) { return a | b; }
};
struct ExclusiveOr {
    template <class T>
    static T apply(T a, T b) { return a ^ b; }
};

template <class Op, class T>
void reduce(Warp &warp, const Instruction &in) {
    if (!warp.meet(in, in.from[1])) return;
    const T *values = warp.row<T>(in.from[0]);
    T *result = warp.row<T>(in.to[0]);
    each_team(warp, in.from[1], [&](uint32_t members) {
        T total = values[std::countr_zero(members)];
        each_lane(members & (members - 1),
                  [&](unsigned lane) { total = Op::apply(total, values[lane]); });
        each_lane(members, [&](unsigned lane) { result[lane] = total; });
    });
}

template <class Op>
Instruction::Run reduce_run(Type type) {
    return is_signed(type) ? reduce<Op, int32_t> : reduce<Op, uint32_t>;
}

void decode_redux(Form &form) {
    form.needed({"sync"});
    std::string_view name = form.needed({"add", "min", "max", "and", "or", "xor"});
    Type type = form.type_of({Type::u32, Type::s32, Type::b32});
    form.to(Type::b32);
    form.from(Type::b32);
    form.from(Type::b32);
    form.in.consumes = 2;
    form.in.defined = Definedness::by_other_lanes;
    if (name == "add") form.emit(reduce_run<Sum>(type));
    else if (name == "min") form.emit(reduce_run<Minimum>(type));
    else if (name == "max") form.emit(reduce_run<Maximum>(type));
    else if (name == "and") form.emit(reduce_run<And>(type));
    else if (name == "or") form.emit(reduce_run<Or>(type));
    else form.emit(reduce_run<ExclusiveOr>(type));
}

// ---------------------------------------------------------------- activemask, elect

void active_mask(Warp &warp, const Instruction &in) {
    uint32_t active = warp.active;
    write_lanes<uint32_t>(warp, in.to[0], [=](unsigned) { return active; });
}

void decode_active_mask(Form &form) {
    form.type_of({Type::b32});
    form.to(Type::b32);
    form.emit(active_mask);
}

void elect(Warp &warp, const Instruction &in) {
    if (!warp.meet(in, in.from[0])) return;
    uint32_t *result = warp.row<uint32_t>(in.to[0]), leaders = 0;
    uint32_t leader_of[lanes];
    each_team(warp, in.from[0], [&](uint32_t members) {
        leaders |= members & -members;
        each_lane(members, [&](unsigned lane) {
            leader_of[lane] = static_cast<uint32_t>(std::countr_zero(members));
        });
    });
    each_lane(warp.active, [&](unsigned lane) { result[lane] = leader_of[lane]; });
    warp.set_predicate(in.to[1], leaders);
}

void decode_elect(Form &form) {
    form.needed({"sync"});
    OperandSyntax to = form.next();
    if (to.second.empty()) form.refuse("a register and a predicate are expected");
    OperandSyntax predicate = to;
    predicate.text = to.second;
    predicate.second = to.second = {};
    if (to.text == "_") to.kind = OperandSyntax::sink;
    form.add_to(to, Type::b32);
    form.add_to(predicate, Type::pred);
    form.from(Type::b32);
    form.in.consumes = 1;
    form.in.defined = Definedness::by_other_lanes;
    form.emit(elect);
}

void synchronize(Warp &warp, const Instruction &in) { warp.meet(in, in.from[0]); }

}  // namespace

void decode_warp_barrier(Form &form) {
    form.needed({"sync"});
    form.from(Type::b32);
    form.in.consumes = 1;
    form.in.flags = meets_anywhere;
    form.emit(synchronize);
}

void add_warp_opcodes(Opcodes &opcodes) {
    opcodes["shfl"] = decode_shuffle;
    opcodes["vote"] = decode_vote;
    opcodes["match"] = decode_match;
    opcodes["redux"] = decode_redux;
    opcodes["activemask"] = decode_active_mask;
    opcodes["elect"] = decode_elect;
}

}  // namespace ptx
