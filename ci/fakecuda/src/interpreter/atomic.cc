// atom and red. The lanes of a warp update memory in their order.
#include <algorithm>

#include "access.h"
#include "lanes.h"
#include "memory.h"
#include "numbers.h"

namespace ptx {
namespace {

struct Add {
    template <class T>
    static T apply(T old, T b, T) {
        if constexpr (std::is_integral_v<T>) {
            using Unsigned = std::make_unsigned_t<T>;
            return static_cast<T>(static_cast<Unsigned>(old) + static_cast<Unsigned>(b));
        } else {
            return canonical(old + b);
        }
    }
};
struct AddFlushed {  // f32 in global memory
    static float apply(float old, float b, float) {
        return flush<true>(canonical(flush<true>(old) + flush<true>(b)));
    }
};
template <class F>
struct AddSmall {
    static uint16_t apply(uint16_t old, uint16_t b, uint16_t) {
        return to_small<F>(sum_to_odd(F::load(old), F::load(b)));
    }
    static uint32_t apply(uint32_t old, uint32_t b, uint32_t) {
        auto part = [=](unsigned shift) {
            return uint32_t{apply(static_cast<uint16_t>(old >> shift),
                                  static_cast<uint16_t>(b >> shift), uint16_t{})};
        };
        return part(0) | part(16) << 16;
    }
};
struct Minimum {
    template <class T>
    static T apply(T old, T b, T) { return std::min(old, b); }
};
struct Maximum {
    template <class T>
    static T apply(T old, T b, T) { return std::max(old, b); }
};
struct Increment {  // up to b, then from zero
    template <class T>
    static T apply(T old, T b, T) { return old >= b ? 0 : old + 1; }
};
struct Decrement {  // down to zero, then from b
    template <class T>
    static T apply(T old, T b, T) { return old == 0 || old > b ? b : old - 1; }
};
struct And {
    template <class T>
    static T apply(T old, T b, T) { return old & b; }
};
struct Or {
    template <class T>
    static T apply(T old, T b, T) { return old | b; }
};
struct ExclusiveOr {
    template <class T>
    static T apply(T old, T b, T) { return old ^ b; }
};
struct Exchange {
    template <class T>
    static T apply(T, T b, T) { return b; }
};
struct CompareAndSwap {
    template <class T>
    static T apply(T old, T b, T c) { return old == b ? c : old; }
};

template <class Op, class T>
void update(Warp &warp, const Instruction &in) {
    Places places;
    locate(warp, in, Access::update, places);
    const T *b = warp.row<T>(in.from[1]);
    const T *c = in.from_count > 2 ? warp.row<T>(in.from[2]) : b;
    T *result = in.to_count ? warp.row<T>(in.to[0]) : nullptr;
    each_lane(warp.active, [&](unsigned lane) {
        T old, fresh;
        std::memcpy(&old, places.data[lane], sizeof old);
        fresh = Op::apply(old, b[lane], c[lane]);
        std::memcpy(places.data[lane], &fresh, sizeof fresh);
        if (result) result[lane] = old;
    });
}

bool is_shared(const Warp &warp, const Instruction &in) {
    if (in.space != Space::generic) return in.space == Space::shared;
    uint64_t address = warp.row<uint64_t>(in.from[0])[std::countr_zero(warp.active)];
    return address - shared_window < window_bytes;
}

// Atomic addition flushes subnormal numbers in global memory, and not in shared memory.
void add_single(Warp &warp, const Instruction &in) {
    if (is_shared(warp, in)) update<Add, float>(warp, in);
    else update<AddFlushed, float>(warp, in);
}

// ---------------------------------------------------------------- choosing the function

Instruction::Run add_run(Type type) {
    switch (type) {
        case Type::u32:
        case Type::s32: return update<Add, uint32_t>;
        case Type::u64:
        case Type::s64: return update<Add, uint64_t>;
        case Type::f32: return add_single;
        case Type::f64: return update<Add, double>;
        case Type::f16: return update<AddSmall<Half>, uint16_t>;
        case Type::bf16: return update<AddSmall<Bfloat>, uint16_t>;
        case Type::f16x2: return update<AddSmall<Half>, uint32_t>;
        case Type::bf16x2: return update<AddSmall<Bfloat>, uint32_t>;
        default: return nullptr;
    }
}

template <class Op>
Instruction::Run of_integers(Type type) {
    switch (type) {
        case Type::u32: return update<Op, uint32_t>;
        case Type::s32: return update<Op, int32_t>;
        case Type::u64: return update<Op, uint64_t>;
        case Type::s64: return update<Op, int64_t>;
        default: return nullptr;
    }
}

template <class Op>
Instruction::Run of_bits(Type type) {
    if (is_float(type) || facts(type).kind == 'v') return nullptr;
    switch (size_of(type)) {
        case 2: return std::is_same_v<Op, CompareAndSwap> ? update<Op, uint16_t> : nullptr;
        case 4: return update<Op, uint32_t>;
        case 8: return update<Op, uint64_t>;
        default: return nullptr;
    }
}

template <class Op>
Instruction::Run of_u32(Type type) {
    return type == Type::u32 ? update<Op, uint32_t> : nullptr;
}

constexpr std::pair<std::string_view, Instruction::Run (*)(Type)> operations[] = {
    {"add", add_run},
    {"min", of_integers<Minimum>},
    {"max", of_integers<Maximum>},
    {"inc", of_u32<Increment>},
    {"dec", of_u32<Decrement>},
    {"and", of_bits<And>},
    {"or", of_bits<Or>},
    {"xor", of_bits<ExclusiveOr>},
    {"exch", of_bits<Exchange>},
    {"cas", of_bits<CompareAndSwap>},
};

void decode_atomic(Form &form) {
    bool gives = form.statement().opcode == "atom";
    Instruction::Run (*choose)(Type) = nullptr;
    std::string_view operation;
    for (auto [name, run] : operations) {
        if (!form.take(name)) continue;
        operation = name;
        choose = run;
        break;
    }
    if (!choose) form.refuse("the interpreter does not have this operation");
    form.in.space = take_space(form);
    bool policy = take_order_and_caches(form);
    form.take("acq_rel");
    form.take("noftz");  // of 16-bit numbers, where nothing is flushed
    Type type = form.type();
    form.in.width = static_cast<uint8_t>(size_of(type));
    if (gives) form.to(type);
    form.address();
    form.from(type);
    if (operation == "cas") form.from(type);
    take_cache_policy(form, policy);
    form.in.consumes = form.in.from_count;
    form.in.site = form.decoding().code.sites++;
    form.emit(choose(type));
}

}  // namespace

void add_atomic_opcodes(Opcodes &opcodes) { opcodes["atom"] = opcodes["red"] = decode_atomic; }

}  // namespace ptx
