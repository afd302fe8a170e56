// Instructions on bits: logic, shifts, fields, counts and permutations.
#include <algorithm>
#include <bit>

#include "form.h"
#include "lanes.h"

namespace ptx {
namespace {

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
struct Not {
    template <class T>
    static T apply(T a) { return static_cast<T>(~a); }
};
struct LogicalNot {
    template <class T>
    static T apply(T a) { return a == 0; }
};
// Amounts beyond the width shift everything out.
struct ShiftLeft {
    template <class T>
    static T apply(T a, uint32_t by) {
        return by < 8 * sizeof(T) ? static_cast<T>(a << by) : T{0};
    }
};
struct ShiftRight {
    template <class T>
    static T apply(T a, uint32_t by) {
        constexpr uint32_t last = 8 * sizeof(T) - 1;
        if (std::is_signed_v<T>) return static_cast<T>(a >> std::min(by, last));
        return by <= last ? static_cast<T>(a >> by) : T{0};
    }
};
struct CountOnes {
    template <class T>
    static uint32_t apply(T a) { return static_cast<uint32_t>(std::popcount(a)); }
};
struct CountLeadingZeros {
    template <class T>
    static uint32_t apply(T a) { return static_cast<uint32_t>(std::countl_zero(a)); }
};
struct Reverse {
    static uint64_t apply(uint64_t a) {
        a = (a >> 1 & 0x5555555555555555) | (a & 0x5555555555555555) << 1;
        a = (a >> 2 & 0x3333333333333333) | (a & 0x3333333333333333) << 2;
        a = (a >> 4 & 0x0f0f0f0f0f0f0f0f) | (a & 0x0f0f0f0f0f0f0f0f) << 4;
        return __builtin_bswap64(a);
    }
    static uint32_t apply(uint32_t a) {
        return static_cast<uint32_t>(apply(static_cast<uint64_t>(a)) >> 32);
    }
};
// The position of the highest bit that is not a copy of the sign; all ones where there is none.
template <bool as_shift>
struct FindHighest {
    template <class T>
    static uint32_t apply(T a) {
        using Unsigned = std::make_unsigned_t<T>;
        Unsigned bits = static_cast<Unsigned>(a < 0 ? ~a : a);
        if (bits == 0) return 0xffffffff;
        uint32_t zeros = static_cast<uint32_t>(std::countl_zero(bits));
        return as_shift ? zeros : static_cast<uint32_t>(8 * sizeof(T) - 1) - zeros;
    }
};
struct Extract {  // bfe: the field's sign, or the top bit's where the field reaches beyond it
    template <class T>
    static T apply(T a, uint32_t position, uint32_t length) {
        using Unsigned = std::make_unsigned_t<T>;
        constexpr uint32_t width = 8 * sizeof(T);
        position &= 255;
        length &= 255;
        if (length == 0) return 0;
        uint32_t top = std::min(position + length - 1, width - 1);
        bool negative = std::is_signed_v<T> && (static_cast<Unsigned>(a) >> top & 1);
        uint32_t have = position < width ? std::min(length, width - position) : 0;
        Unsigned field = have ? static_cast<Unsigned>(a) >> position : 0;
        Unsigned mask = have < width ? (Unsigned{1} << have) - 1 : ~Unsigned{0};
        return static_cast<T>((field & mask) | (negative ? ~mask : 0));
    }
};
template <class T>
void insert_field(Warp &warp, const Instruction &in) {  // bfi
    const T *a = warp.row<T>(in.from[0]), *b = warp.row<T>(in.from[1]);
    const uint32_t *positions = warp.row<uint32_t>(in.from[2]);
    const uint32_t *lengths = warp.row<uint32_t>(in.from[3]);
    constexpr uint32_t width = 8 * sizeof(T);
    write_lanes<T>(warp, in.to[0], [=](unsigned lane) {
        uint32_t position = positions[lane] & 255, length = lengths[lane] & 255;
        if (length == 0 || position >= width) return b[lane];
        T ones = length < width ? (T{1} << length) - 1 : ~T{0};
        T mask = static_cast<T>(ones << position);
        return static_cast<T>((b[lane] & ~mask) | ((a[lane] << position) & mask));
    });
}

template <bool left, bool wraps>
struct Funnel {
    static uint32_t apply(uint32_t low, uint32_t high, uint32_t by) {
        by = wraps ? by & 31 : std::min(by, 32u);
        uint64_t both = uint64_t{high} << 32 | low;
        return static_cast<uint32_t>(left ? (both << by) >> 32 : both >> by);
    }
};

void look_up(Warp &warp, const Instruction &in) {  // lop3
    const uint32_t *a = warp.row<uint32_t>(in.from[0]), *b = warp.row<uint32_t>(in.from[1]);
    const uint32_t *c = warp.row<uint32_t>(in.from[2]);
    uint32_t terms[8];
    for (unsigned i = 0; i < 8; i++) terms[i] = in.flags >> i & 1 ? all_lanes : 0;
    write_lanes<uint32_t>(warp, in.to[0], [&](unsigned lane) {
        uint32_t x = a[lane], y = b[lane], z = c[lane];
        uint32_t low = ~y & ((terms[0] & ~z) | (terms[1] & z));
        low |= y & ((terms[2] & ~z) | (terms[3] & z));
        uint32_t high = ~y & ((terms[4] & ~z) | (terms[5] & z));
        high |= y & ((terms[6] & ~z) | (terms[7] & z));
        return (low & ~x) | (high & x);
    });
}

// Which of the eight bytes of b:a becomes byte `i` of the result, and whether only its sign.
enum class Permutation : uint32_t { index, f4e, b4e, rc8, ecl, ecr, rc16 };

uint32_t selector(Permutation mode, uint32_t control, uint32_t i) {
    uint32_t low = control & 3;
    switch (mode) {
        case Permutation::index: return control >> (4 * i) & 15;
        case Permutation::f4e: return (low + i) & 7;
        case Permutation::b4e: return (low - i) & 7;
        case Permutation::rc8: return low;
        case Permutation::ecl: return std::max(i, low);
        case Permutation::ecr: return std::min(i, low);
        default: return (control & 1) * 2 + (i & 1);
    }
}

template <Permutation mode>
struct Permute {
    static uint32_t apply(uint32_t a, uint32_t b, uint32_t control) {
        uint64_t both = uint64_t{b} << 32 | a;
        uint32_t result = 0;
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t which = selector(mode, control, i);
            uint32_t byte = static_cast<uint32_t>(both >> (8 * (which & 7))) & 0xff;
            if (which & 8) byte = byte & 0x80 ? 0xff : 0;
            result |= byte << (8 * i);
        }
        return result;
    }
};

template <class Op>
void predicate_logic(Warp &warp, const Instruction &in) {
    uint32_t a = warp.predicate(in.from[0]);
    if constexpr (std::is_same_v<Op, Not>) warp.set_predicate(in.to[0], ~a);
    else warp.set_predicate(in.to[0], Op::apply(a, warp.predicate(in.from[1])));
}

// ---------------------------------------------------------------- decoders

template <class Op>
void decode_logic(Form &form) {
    constexpr bool one = std::is_same_v<Op, Not> || std::is_same_v<Op, LogicalNot>;
    Type type = form.type();
    form.to(type);
    form.from(type);
    if (!one) form.from(type);
    if (type == Type::pred) {
        if (std::is_same_v<Op, And>) form.in.defined = Definedness::by_and;
        if (std::is_same_v<Op, Or>) form.in.defined = Definedness::by_or;
        if constexpr (!std::is_same_v<Op, LogicalNot>) return form.emit(predicate_logic<Op>);
        form.refuse("not for predicates");
    }
    form.emit(with_bits(size_of(type), [](auto zero) -> Instruction::Run {
        using T = decltype(zero);
        if constexpr (one) return unary<Op, T, T>;
        else return binary<Op, T, T, T>;
    }));
}

void decode_shift(Form &form) {
    bool left = form.statement().opcode == "shl";
    Type type = form.type();
    form.to(type);
    form.from(type);
    form.from(Type::b32);
    form.emit(with_integer(type, [=](auto zero) -> Instruction::Run {
        using T = decltype(zero);
        return left ? binary<ShiftLeft, T, T, uint32_t> : binary<ShiftRight, T, T, uint32_t>;
    }));
}

template <class Op>
void decode_count(Form &form) {
    Type type = form.type_of({Type::b32, Type::b64});
    form.to(Type::b32);
    form.from(type);
    form.emit(size_of(type) == 4 ? unary<Op, uint32_t, uint32_t> : unary<Op, uint32_t, uint64_t>);
}

void decode_reverse(Form &form) {
    Type type = form.type_of({Type::b32, Type::b64});
    form.to(type);
    form.from(type);
    form.emit(size_of(type) == 4 ? unary<Reverse, uint32_t, uint32_t>
                                 : unary<Reverse, uint64_t, uint64_t>);
}

void decode_find(Form &form) {
    bool as_shift = form.take("shiftamt");
    Type type = form.type_of({Type::u32, Type::s32, Type::u64, Type::s64});
    form.to(Type::b32);
    form.from(type);
    form.emit(with_integer(type, [=](auto zero) -> Instruction::Run {
        using T = decltype(zero);
        return as_shift ? unary<FindHighest<true>, uint32_t, T>
                        : unary<FindHighest<false>, uint32_t, T>;
    }));
}

void decode_extract(Form &form) {
    Type type = form.type_of({Type::u32, Type::s32, Type::u64, Type::s64});
    form.to(type);
    form.from(type);
    form.from(Type::b32);
    form.from(Type::b32);
    form.emit(with_integer(type, [](auto zero) -> Instruction::Run {
        using T = decltype(zero);
        return ternary<Extract, T, T, uint32_t, uint32_t>;
    }));
}

void decode_insert(Form &form) {
    Type type = form.type_of({Type::b32, Type::b64});
    form.to(type);
    form.from(type);
    form.from(type);
    form.from(Type::b32);
    form.from(Type::b32);
    form.emit(size_of(type) == 4 ? insert_field<uint32_t> : insert_field<uint64_t>);
}

void decode_funnel(Form &form) {
    bool left = form.needed({"l", "r"}) == "l", wraps = form.needed({"wrap", "clamp"}) == "wrap";
    form.type_of({Type::b32});
    form.to(Type::b32);
    for (int i = 0; i < 3; i++) form.from(Type::b32);
    using W = uint32_t;
    if (left)
        form.emit(wraps ? ternary<Funnel<true, true>, W, W, W, W>
                        : ternary<Funnel<true, false>, W, W, W, W>);
    else
        form.emit(wraps ? ternary<Funnel<false, true>, W, W, W, W>
                        : ternary<Funnel<false, false>, W, W, W, W>);
}

void decode_lookup(Form &form) {
    form.type_of({Type::b32});
    form.to(Type::b32);
    for (int i = 0; i < 3; i++) form.from(Type::b32);
    const OperandSyntax &table = form.next();
    if (table.kind != OperandSyntax::number) form.refuse("the table is a constant");
    form.in.flags = static_cast<uint32_t>(table.bits);
    form.emit(look_up);
}

void decode_permutation(Form &form) {
    static constexpr std::pair<std::string_view, Instruction::Run> modes[] = {
        {"f4e", ternary<Permute<Permutation::f4e>, uint32_t, uint32_t, uint32_t, uint32_t>},
        {"b4e", ternary<Permute<Permutation::b4e>, uint32_t, uint32_t, uint32_t, uint32_t>},
        {"rc8", ternary<Permute<Permutation::rc8>, uint32_t, uint32_t, uint32_t, uint32_t>},
        {"ecl", ternary<Permute<Permutation::ecl>, uint32_t, uint32_t, uint32_t, uint32_t>},
        {"ecr", ternary<Permute<Permutation::ecr>, uint32_t, uint32_t, uint32_t, uint32_t>},
        {"rc16", ternary<Permute<Permutation::rc16>, uint32_t, uint32_t, uint32_t, uint32_t>},
    };
    form.type_of({Type::b32});
    Instruction::Run run =
        ternary<Permute<Permutation::index>, uint32_t, uint32_t, uint32_t, uint32_t>;
    for (auto [name, mode] : modes)
        if (form.take(name)) run = mode;
    form.to(Type::b32);
    for (int i = 0; i < 3; i++) form.from(Type::b32);
    form.emit(run);
}

}  // namespace

void negate_predicate(Warp &warp, const Instruction &in) { predicate_logic<Not>(warp, in); }

void add_bit_opcodes(Opcodes &opcodes) {
    opcodes["and"] = decode_logic<And>;
    opcodes["or"] = decode_logic<Or>;
    opcodes["xor"] = decode_logic<ExclusiveOr>;
    opcodes["not"] = decode_logic<Not>;
    opcodes["cnot"] = decode_logic<LogicalNot>;
    opcodes["shl"] = opcodes["shr"] = decode_shift;
    opcodes["popc"] = decode_count<CountOnes>;
    opcodes["clz"] = decode_count<CountLeadingZeros>;
    opcodes["brev"] = decode_reverse;
    opcodes["bfind"] = decode_find;
    opcodes["bfe"] = decode_extract;
    opcodes["bfi"] = decode_insert;
    opcodes["shf"] = decode_funnel;
    opcodes["lop3"] = decode_lookup;
    opcodes["prmt"] = decode_permutation;
}

}  // namespace ptx
