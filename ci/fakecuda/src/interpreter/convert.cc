// cvt: between numbers of all types. Rows are widened to 64-bit integers or doubles, which hold
// every value, and rounded once to the result.
#include <algorithm>
#include <limits>

#include "form.h"
#include "lanes.h"
#include "numbers.h"

namespace ptx {
namespace {

struct Values {
    int64_t integer[lanes];  // the bits of a u64 too
    double real[lanes];
};

// What `in` says about a conversion, packed into `flags` and the counters.
struct Conversion {
    Type from, to;
    uint8_t from_bytes, to_bytes;  // of the registers
    Rounding rounding;
    bool integral, ftz, sat, relu;
};

Conversion unpack(const Instruction &in) {
    return {static_cast<Type>(in.flags & 31), static_cast<Type>(in.flags >> 5 & 31), in.width,
            in.count, static_cast<Rounding>(in.flags >> 10 & 7), (in.flags >> 13 & 1) != 0,
            (in.flags >> 14 & 1) != 0, (in.flags >> 15 & 1) != 0, (in.flags >> 16 & 1) != 0};
}

void pack(Instruction &in, const Conversion &c) {
    in.width = c.from_bytes;
    in.count = c.to_bytes;
    in.flags = static_cast<uint32_t>(c.from) | static_cast<uint32_t>(c.to) << 5 |
               static_cast<uint32_t>(c.rounding) << 10 | uint32_t{c.integral} << 13 |
               uint32_t{c.ftz} << 14 | uint32_t{c.sat} << 15 | uint32_t{c.relu} << 16;
}

template <class Row, class Load>
void read_rows(const Warp &warp, Operand operand, Load load) {
    const Row *row = warp.row<Row>(operand);
    for (unsigned lane = 0; lane < lanes; lane++) load(lane, row[lane]);
}

template <class Load>
void read_width(const Warp &warp, Operand operand, unsigned bytes, Load load) {
    switch (bytes) {
        case 1: return read_rows<uint8_t>(warp, operand, load);
        case 2: return read_rows<uint16_t>(warp, operand, load);
        case 4: return read_rows<uint32_t>(warp, operand, load);
        default: return read_rows<uint64_t>(warp, operand, load);
    }
}

// The lower part of `bits`, with the sign or zeros above.
int64_t extended(uint64_t bits, Type type) {
    unsigned unused = 64 - 8 * size_of(type);
    uint64_t up = bits << unused;
    return is_signed(type) ? static_cast<int64_t>(up) >> unused
                           : static_cast<int64_t>(up >> unused);
}

void read_values(const Warp &warp, const Instruction &in, const Conversion &c, Values &values) {
    Operand from = in.from[0];
    switch (c.from) {
        case Type::f64:
            return read_rows<double>(warp, from, [&](unsigned l, double x) { values.real[l] = x; });
        case Type::f32:
        case Type::tf32:
            return read_rows<float>(warp, from, [&](unsigned l, float x) {
                values.real[l] = c.ftz ? flush<true>(x) : x;
            });
        case Type::f16:
            return read_width(warp, from, c.from_bytes, [&](unsigned l, uint64_t x) {
                values.real[l] = Half::load(static_cast<uint16_t>(x));
            });
        case Type::bf16:
            return read_width(warp, from, c.from_bytes, [&](unsigned l, uint64_t x) {
                values.real[l] = Bfloat::load(static_cast<uint16_t>(x));
            });
        default:
            return read_width(warp, from, c.from_bytes, [&](unsigned l, uint64_t x) {
                values.integer[l] = extended(x, c.from);
            });
    }
}

template <class Get>
void write_width(Warp &warp, const Instruction &in, unsigned bytes, Get get) {
    switch (bytes) {
        case 1: return write_lanes<uint8_t>(warp, in.to[0], get);
        case 2: return write_lanes<uint16_t>(warp, in.to[0], get);
        case 4: return write_lanes<uint32_t>(warp, in.to[0], get);
        default: return write_lanes<uint64_t>(warp, in.to[0], get);
    }
}

// ---------------------------------------------------------------- one value

struct Range {
    int64_t lowest;
    uint64_t highest;
};
Range range_of(Type type) {
    unsigned bits = 8 * size_of(type);
    uint64_t ones = ~uint64_t{0} >> (64 - bits);
    if (!is_signed(type)) return {0, ones};
    return {-static_cast<int64_t>(ones >> 1) - 1, ones >> 1};
}

int64_t saturated(int64_t value, bool from_signed, Type to) {
    Range range = range_of(to);
    if (from_signed && value < 0) return std::max(value, range.lowest);
    return static_cast<int64_t>(std::min(static_cast<uint64_t>(value), range.highest));
}

int64_t to_integer(double x, const Conversion &c) {
    Range range = range_of(c.to);
    if (x != x) {  // what the PTX manual says of NaN
        bool wide = c.from == Type::f64 || size_of(c.to) == 8;
        return wide ? static_cast<int64_t>(uint64_t{1} << (8 * size_of(c.to) - 1)) : 0;
    }
    x = round_integral(x, c.rounding);
    if (x <= static_cast<double>(range.lowest)) return range.lowest;
    if (x >= static_cast<double>(range.highest)) return static_cast<int64_t>(range.highest);
    return x < 0x1p63 ? static_cast<int64_t>(x) : static_cast<int64_t>(static_cast<uint64_t>(x));
}

// A 64-bit integer to f64 in any rounding: long double has 64 digits and holds it.
double integer_to_double(int64_t value, bool negative, Rounding rounding) {
    long double exact = negative ? static_cast<long double>(value)
                                 : static_cast<long double>(static_cast<uint64_t>(value));
    double near = static_cast<double>(exact);
    bool above = near > exact, below = near < exact;
    bool lower = above && (rounding == Rounding::down || (rounding == Rounding::zero && exact > 0));
    bool raise = below && (rounding == Rounding::up || (rounding == Rounding::zero && exact < 0));
    if (lower) return std::nextafter(near, -HUGE_VAL);
    return raise ? std::nextafter(near, HUGE_VAL) : near;
}

// The pattern of a float or of a small format.
uint64_t to_pattern(double x, Type type, const Conversion &c) {
    if (c.sat) x = saturate(x);
    if (c.relu && x <= 0) x = 0;
    switch (type) {
        case Type::f64: return std::bit_cast<uint64_t>(x);
        case Type::f16: return to_small<Half>(x, c.rounding);
        case Type::bf16: return to_small<Bfloat>(x, c.rounding);
        case Type::tf32: x = round_to(x, tf32_format, c.rounding); break;
        default:
            if (c.rounding != Rounding::nearest) x = round_to(x, float_format, c.rounding);
    }
    float single = canonical(static_cast<float>(x));
    return std::bit_cast<uint32_t>(c.ftz ? flush<true>(single) : single);
}

// ---------------------------------------------------------------- whole warps

template <bool from_float, bool to_float>
void convert(Warp &warp, const Instruction &in) {
    Conversion c = unpack(in);
    Values values;
    read_values(warp, in, c, values);
    bool negative = is_signed(c.from);
    write_width(warp, in, c.to_bytes, [&](unsigned lane) -> uint64_t {
        if constexpr (from_float && to_float) {
            double x = values.real[lane];
            if (c.integral) x = round_integral(x, c.rounding);
            return to_pattern(x, c.to, c);
        } else if constexpr (from_float) {
            return static_cast<uint64_t>(extended(to_integer(values.real[lane], c), c.to));
        } else if constexpr (to_float) {
            int64_t x = values.integer[lane];
            if (c.to == Type::f64)
                return to_pattern(integer_to_double(x, negative, c.rounding), c.to, c);
            return to_pattern(negative ? to_odd(x) : to_odd(static_cast<uint64_t>(x)), c.to, c);
        } else {
            int64_t x = values.integer[lane];
            if (c.sat) x = saturated(x, negative, c.to);
            return static_cast<uint64_t>(extended(static_cast<uint64_t>(x), c.to));
        }
    });
}

// The commonest: integers whose registers have their width, without saturation.
struct Cast {
    template <class To>
    struct As {
        template <class From>
        static To apply(From x) { return static_cast<To>(x); }
    };
};

// Two floats into a pair; the first becomes the upper half.
template <class F>
void convert_pair(Warp &warp, const Instruction &in) {
    Conversion c = unpack(in);
    const float *high = warp.row<float>(in.from[0]), *low = warp.row<float>(in.from[1]);
    Type type = std::is_same_v<F, Half> ? Type::f16 : Type::bf16;
    write_lanes<uint32_t>(warp, in.to[0], [&](unsigned lane) {
        return static_cast<uint32_t>(to_pattern(high[lane], type, c) << 16 |
                                     to_pattern(low[lane], type, c));
    });
}

// ---------------------------------------------------------------- the decoder

Rounding rounding_of(Form &form, bool &integral) {
    integral = true;
    if (form.take("rni")) return Rounding::nearest;
    if (form.take("rzi")) return Rounding::zero;
    if (form.take("rmi")) return Rounding::down;
    if (form.take("rpi")) return Rounding::up;
    integral = false;
    if (form.take("rna")) return Rounding::away;
    return form.rounding();
}

Instruction::Run plain_cast(Type from, Type to) {
    return with_integer(from, [=](auto x) -> Instruction::Run {
        using From = decltype(x);
        return with_integer(to, [](auto y) -> Instruction::Run {
            using To = decltype(y);
            return unary<Cast::As<To>, To, From>;
        });
    });
}

void decode_pair(Form &form, Conversion &c) {
    if (c.from != Type::f32) form.refuse("the interpreter makes pairs of .f32");
    bool half = c.to == Type::f16x2;
    form.to(c.to);
    form.from(Type::f32);
    form.from(Type::f32);
    pack(form.in, c);
    form.emit(half ? convert_pair<Half> : convert_pair<Bfloat>);
}

void decode_cvt(Form &form) {
    Conversion c{};
    c.rounding = rounding_of(form, c.integral);
    c.ftz = form.take("ftz");
    c.sat = form.take("sat");
    c.relu = form.take("relu");
    c.to = form.type();
    c.from = form.type();
    if (facts(c.to).kind == 'v') return decode_pair(form, c);
    bool from_float = is_float(c.from), to_float = is_float(c.to);
    bool known = (from_float || is_integer(c.from)) && (to_float || is_integer(c.to));
    if (!known) form.refuse("the interpreter does not have this conversion");
    bool to_any = size_of(c.to) < 4 || !to_float;
    c.to_bytes = static_cast<uint8_t>(size_of(form.to_any_width()));
    if (c.to_bytes < size_of(c.to) || (!to_any && c.to_bytes != size_of(c.to)))
        form.refuse("the result does not fit");
    c.from_bytes = static_cast<uint8_t>(size_of(form.from_any_width(c.from)));
    bool same_widths = c.to_bytes == size_of(c.to) && c.from_bytes == size_of(c.from);
    if (!from_float && !to_float && !c.sat && same_widths)
        return form.emit(plain_cast(c.from, c.to));
    pack(form.in, c);
    if (from_float) form.emit(to_float ? convert<true, true> : convert<true, false>);
    else form.emit(to_float ? convert<false, true> : convert<false, false>);
}

}  // namespace

void add_conversion_opcodes(Opcodes &opcodes) { opcodes["cvt"] = decode_cvt; }

}  // namespace ptx
