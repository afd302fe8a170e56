// The opcodes of arithmetic, which the kind of the type leads to a file of its own, and those that
// only integers have.
#include <cstdlib>

#include "form.h"
#include "lanes.h"

namespace ptx {
namespace {

void decode_arithmetic(Form &form) {
    Type type = form.type();
    std::string_view opcode = form.statement().opcode;
    if (is_integer(type)) return decode_integer(form, opcode, type);
    if (type == Type::f32 || type == Type::f64) return decode_float(form, opcode, type);
    if (is_float(type) || facts(type).kind == 'v') return decode_half(form, opcode, type);
    form.refuse("the interpreter does not have it for this type");
}

// ---------------------------------------------------------------- 24 bits

template <class T>
int64_t low_24(T value) {  // with sign or zeros above
    using Wide = std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>;
    return static_cast<Wide>(static_cast<uint32_t>(value) << 8) >> 8;
}

template <bool high>
struct Multiply24 {
    template <class T>
    static T apply(T a, T b) {
        int64_t product = low_24(a) * low_24(b);
        return static_cast<T>(high ? product >> 16 : product);
    }
    template <class T>
    static T apply(T a, T b, T c) {
        return static_cast<T>(static_cast<uint32_t>(apply(a, b)) + static_cast<uint32_t>(c));
    }
};

void decode_24(Form &form) {
    bool adds = form.statement().opcode == "mad24";
    bool high = form.needed({"lo", "hi"}) == "hi";
    Type type = form.type_of({Type::u32, Type::s32});
    form.to(type);
    for (int i = 0; i < 2 + adds; i++) form.from(type);
    form.emit(with_integer(type, [=](auto zero) -> Instruction::Run {
        using T = decltype(zero);
        if (adds)
            return high ? ternary<Multiply24<true>, T, T, T, T>
                        : ternary<Multiply24<false>, T, T, T, T>;
        return high ? binary<Multiply24<true>, T, T, T> : binary<Multiply24<false>, T, T, T>;
    }));
}

// ---------------------------------------------------------------- sums of products, of differences

struct AbsoluteDifference {
    template <class T>
    static T apply(T a, T b, T c) {
        using Unsigned = std::make_unsigned_t<T>;
        Unsigned x = static_cast<Unsigned>(a), y = static_cast<Unsigned>(b);
        Unsigned distance = static_cast<Unsigned>(a < b ? y - x : x - y);
        return static_cast<T>(distance + static_cast<Unsigned>(c));
    }
};

void decode_sad(Form &form) {
    Type type = form.type();
    if (!is_integer(type)) form.refuse("sad is for integers");
    form.to(type);
    for (int i = 0; i < 3; i++) form.from(type);
    form.emit(with_integer(type, [](auto zero) -> Instruction::Run {
        using T = decltype(zero);
        return ternary<AbsoluteDifference, T, T, T, T>;
    }));
}

// Part number `i` of `width` bits.
int32_t part(uint32_t value, unsigned i, unsigned width, bool negative) {
    uint32_t up = value << (32 - width * (i + 1));
    return negative ? static_cast<int32_t>(up) >> (32 - width)
                    : static_cast<int32_t>(up >> (32 - width));
}

enum : uint32_t { a_signed = 1, b_signed = 2, upper_half = 4 };

template <unsigned terms>  // 4: dp4a, 2: dp2a
void dot_product(Warp &warp, const Instruction &in) {
    const uint32_t *a = warp.row<uint32_t>(in.from[0]), *b = warp.row<uint32_t>(in.from[1]);
    const uint32_t *c = warp.row<uint32_t>(in.from[2]);
    write_lanes<uint32_t>(warp, in.to[0], [&](unsigned lane) {
        uint32_t sum = c[lane];
        for (unsigned i = 0; i < terms; i++) {
            unsigned other = terms == 2 && (in.flags & upper_half) ? i + 2 : i;
            sum += static_cast<uint32_t>(part(a[lane], i, 32 / terms, in.flags & a_signed) *
                                         part(b[lane], other, 8, in.flags & b_signed));
        }
        return sum;
    });
}

void decode_dot(Form &form) {
    bool four = form.statement().opcode == "dp4a";
    if (!four && form.needed({"lo", "hi"}) == "hi") form.in.flags |= upper_half;
    if (is_signed(form.type_of({Type::u32, Type::s32}))) form.in.flags |= a_signed;
    if (is_signed(form.type_of({Type::u32, Type::s32}))) form.in.flags |= b_signed;
    form.to(Type::b32);
    for (int i = 0; i < 3; i++) form.from(Type::b32);
    form.emit(four ? dot_product<4> : dot_product<2>);
}

}  // namespace

void add_arithmetic_opcodes(Opcodes &opcodes) {
    for (auto name : {"add", "sub", "mul", "mad", "fma", "div", "rem", "min", "max", "neg", "abs",
                      "addc", "subc", "madc"})
        opcodes[name] = decode_arithmetic;
    opcodes["mul24"] = opcodes["mad24"] = decode_24;
    opcodes["sad"] = decode_sad;
    opcodes["dp4a"] = opcodes["dp2a"] = decode_dot;
}

}  // namespace ptx
