// Arithmetic of integers. All of it wraps around, as the hardware's does.
#include <algorithm>
#include <limits>

#include "form.h"
#include "lanes.h"

namespace ptx {
namespace {

// Unsigned, and not promoted to int: what wraps around in C++.
template <class T>
using Wrapping = std::conditional_t<(sizeof(T) < 4), uint32_t, std::make_unsigned_t<T>>;
template <class T>
Wrapping<T> wrapping(T value) { return static_cast<Wrapping<T>>(value); }

template <class T>
using Doubled = std::conditional_t<
    sizeof(T) == 2, std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>,
    std::conditional_t<sizeof(T) == 4, std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>,
                       std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>>>;

struct Add {
    template <class T>
    static T apply(T a, T b) { return static_cast<T>(wrapping(a) + wrapping(b)); }
};
struct Subtract {
    template <class T>
    static T apply(T a, T b) { return static_cast<T>(wrapping(a) - wrapping(b)); }
};
struct AddSaturated {  // for s32 only
    static int32_t apply(int32_t a, int32_t b) { return clamp(int64_t{a} + b); }
    static int32_t clamp(int64_t value) {
        using Limits = std::numeric_limits<int32_t>;
        return static_cast<int32_t>(std::clamp<int64_t>(value, Limits::min(), Limits::max()));
    }
};
struct SubtractSaturated {
    static int32_t apply(int32_t a, int32_t b) { return AddSaturated::clamp(int64_t{a} - b); }
};
struct Low {
    template <class T>
    static T apply(T a, T b) { return static_cast<T>(wrapping(a) * wrapping(b)); }
};
struct High {
    template <class T>
    static T apply(T a, T b) {
        return static_cast<T>((static_cast<Doubled<T>>(a) * static_cast<Doubled<T>>(b)) >>
                              (8 * sizeof(T)));
    }
};
struct Wide {
    template <class T>
    static Doubled<T> apply(T a, T b) {
        return static_cast<Doubled<T>>(static_cast<Doubled<T>>(a) * static_cast<Doubled<T>>(b));
    }
};
template <class Product>
struct PlusThird {
    template <class T, class R>
    static R apply(T a, T b, R c) { return Add::apply<R>(Product::apply(a, b), c); }
};
// Division by zero gives all ones and leaves the dividend, as NVIDIA's code sequences do; PTX does
// not say.
struct Divide {
    template <class T>
    static T apply(T a, T b) {
        if (b == 0) return static_cast<T>(~T{0});
        if (std::is_signed_v<T> && b == static_cast<T>(-1)) return static_cast<T>(-wrapping(a));
        return static_cast<T>(a / b);
    }
};
struct Remainder {
    template <class T>
    static T apply(T a, T b) {
        if (b == 0) return a;
        if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
        return static_cast<T>(a % b);
    }
};
struct Minimum {
    template <class T>
    static T apply(T a, T b) { return b < a ? b : a; }
};
struct Maximum {
    template <class T>
    static T apply(T a, T b) { return a < b ? b : a; }
};
struct Negate {
    template <class T>
    static T apply(T a) { return static_cast<T>(-wrapping(a)); }
};
struct Absolute {
    template <class T>
    static T apply(T a) { return a < 0 ? Negate::apply(a) : a; }
};

template <class Op>
Instruction::Run binary_of(Type type) {
    return with_integer(type, [](auto zero) -> Instruction::Run {
        using T = decltype(zero);
        return binary<Op, T, T, T>;
    });
}

// ---------------------------------------------------------------- with a carry

enum : uint32_t { takes_carry = 1, gives_carry = 2 };

template <class T>
void store_with_carry(Warp &warp, const Instruction &in, unsigned lane, unsigned __int128 value) {
    warp.row<T>(in.to[0])[lane] = static_cast<T>(value);
    if (!(in.flags & gives_carry)) return;
    uint32_t bit = static_cast<uint32_t>(value >> (8 * sizeof(T))) & 1;
    warp.carry = (warp.carry & ~(1u << lane)) | bit << lane;
}

uint32_t carry_into(const Warp &warp, const Instruction &in, unsigned lane) {
    return in.flags & takes_carry ? warp.carry >> lane & 1 : 0;
}

template <class T, bool subtracts>
void add_with_carry(Warp &warp, const Instruction &in) {
    const T *a = warp.row<T>(in.from[0]), *b = warp.row<T>(in.from[1]);
    each_lane(warp.active, [&](unsigned lane) {
        unsigned __int128 x = a[lane], y = b[lane];
        y += carry_into(warp, in, lane);
        store_with_carry<T>(warp, in, lane, subtracts ? x - y : x + y);
    });
}

template <class T, class Product>
void multiply_with_carry(Warp &warp, const Instruction &in) {
    using Unsigned = std::make_unsigned_t<T>;
    const T *a = warp.row<T>(in.from[0]), *b = warp.row<T>(in.from[1]);
    const Unsigned *c = warp.row<Unsigned>(in.from[2]);
    each_lane(warp.active, [&](unsigned lane) {
        unsigned __int128 product = static_cast<Unsigned>(Product::apply(a[lane], b[lane]));
        store_with_carry<Unsigned>(warp, in, lane, product + c[lane] + carry_into(warp, in, lane));
    });
}

// ---------------------------------------------------------------- decoders

void decode_sum(Form &form, std::string_view opcode, Type type) {
    bool subtracts = opcode.starts_with("sub");
    if (opcode.ends_with("c")) form.in.flags |= takes_carry;
    if (form.take("cc")) form.in.flags |= gives_carry;
    bool saturates = form.take("sat");
    form.to(type);
    form.from(type);
    form.from(type);
    if (saturates) {
        if (type != Type::s32 || form.in.flags) form.refuse(".sat is for .s32");
        form.emit(subtracts ? binary<SubtractSaturated, int32_t, int32_t, int32_t>
                            : binary<AddSaturated, int32_t, int32_t, int32_t>);
    } else if (!form.in.flags) {
        form.emit(subtracts ? binary_of<Subtract>(type) : binary_of<Add>(type));
    } else if (size_of(type) == 4) {
        form.emit(subtracts ? add_with_carry<uint32_t, true> : add_with_carry<uint32_t, false>);
    } else {
        if (size_of(type) != 8) form.refuse("carries are for 32 and 64 bits");
        form.emit(subtracts ? add_with_carry<uint64_t, true> : add_with_carry<uint64_t, false>);
    }
}

template <class T>
Instruction::Run product_of(bool adds, std::string_view part) {
    if (part == "lo") return adds ? ternary<PlusThird<Low>, T, T, T, T> : binary<Low, T, T, T>;
    if (part == "hi") return adds ? ternary<PlusThird<High>, T, T, T, T> : binary<High, T, T, T>;
    if constexpr (sizeof(T) == 8) {
        return nullptr;
    } else {
        using R = Doubled<T>;
        return adds ? ternary<PlusThird<Wide>, R, T, T, R> : binary<Wide, R, T, T>;
    }
}

Type doubled(Form &form, Type type) {
    switch (type) {
        case Type::u16: return Type::u32;
        case Type::s16: return Type::s32;
        case Type::u32: return Type::u64;
        case Type::s32: return Type::s64;
        default: form.refuse(".wide is for 16 and 32 bits");
    }
}

void decode_product(Form &form, std::string_view opcode, Type type) {
    bool adds = opcode != "mul";
    if (opcode == "madc") form.in.flags |= takes_carry;
    if (form.take("cc")) form.in.flags |= gives_carry;
    std::string_view part = form.needed({"lo", "hi", "wide"});
    Type result = part == "wide" ? doubled(form, type) : type;
    form.to(result);
    form.from(type);
    form.from(type);
    if (adds) form.from(result);
    if (!form.in.flags) {
        form.emit(with_integer(type, [=](auto zero) -> Instruction::Run {
            using T = decltype(zero);
            if constexpr (sizeof(T) == 1) return nullptr;
            else return product_of<T>(adds, part);
        }));
        return;
    }
    if (!adds || part == "wide" || size_of(type) < 4) form.refuse("no such form with a carry");
    form.emit(with_integer(type, [=](auto zero) -> Instruction::Run {
        using T = decltype(zero);
        if constexpr (sizeof(T) < 4) return nullptr;
        else return part == "lo" ? multiply_with_carry<T, Low> : multiply_with_carry<T, High>;
    }));
}

}  // namespace

void decode_integer(Form &form, std::string_view opcode, Type type) {
    if (size_of(type) == 1) form.refuse("there is no arithmetic of 8 bits");
    if (opcode.starts_with("add") || opcode.starts_with("sub"))
        return decode_sum(form, opcode, type);
    if (opcode.starts_with("mul") || opcode.starts_with("mad"))
        return decode_product(form, opcode, type);
    if (opcode == "fma") form.refuse("fma is for floating-point numbers");
    form.to(type);
    form.from(type);
    if (opcode == "neg" || opcode == "abs") {
        form.emit(with_integer(type, [=](auto zero) -> Instruction::Run {
            using T = decltype(zero);
            if constexpr (!std::is_signed_v<T>) return nullptr;
            else return opcode == "neg" ? unary<Negate, T, T> : unary<Absolute, T, T>;
        }));
        return;
    }
    form.from(type);
    if (opcode == "div") form.emit(binary_of<Divide>(type));
    else if (opcode == "rem") form.emit(binary_of<Remainder>(type));
    else if (opcode == "min") form.emit(binary_of<Minimum>(type));
    else form.emit(binary_of<Maximum>(type));
}

}  // namespace ptx
