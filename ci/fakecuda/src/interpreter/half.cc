// Arithmetic of f16 and bf16, alone and in pairs. Each result is the exact one, rounded once.
#include "form.h"
#include "lanes.h"
#include "numbers.h"

namespace ptx {
namespace {

enum class HalfOp : uint8_t {
    add,
    subtract,
    multiply,
    multiply_add,
    minimum,
    maximum,
    negate,
    absolute
};

enum : uint32_t { ftz = 1, sat = 2, relu = 4, keeps_nan = 8 };

template <class F>
uint16_t flushed(uint16_t bits, uint32_t flags) {
    constexpr uint16_t exponent = F::format.digits == 11 ? 0x7c00 : 0x7f80;
    return (flags & ftz) && !(bits & exponent) ? bits & 0x8000 : bits;
}

double extremum(double a, double b, bool minimum, bool nan) {
    if (a != a || b != b) return nan ? NAN : a != a ? b : a;
    if (a == b) return std::signbit(a) == minimum ? a : b;
    return (a < b) == minimum ? a : b;
}

template <HalfOp op>
double compute(double a, double b, double c, uint32_t flags) {
    switch (op) {
        case HalfOp::add: return sum_to_odd(a, b);
        case HalfOp::subtract: return sum_to_odd(a, -b);
        case HalfOp::multiply: return a * b;
        case HalfOp::multiply_add: return sum_to_odd(a * b, c);
        case HalfOp::minimum: return extremum(a, b, true, flags & keeps_nan);
        case HalfOp::maximum: return extremum(a, b, false, flags & keeps_nan);
        default: return 0;
    }
}

template <class F, HalfOp op>
uint16_t one(uint16_t a, uint16_t b, uint16_t c, uint32_t flags) {
    a = flushed<F>(a, flags);
    if constexpr (op == HalfOp::negate) return a ^ 0x8000;
    if constexpr (op == HalfOp::absolute) return a & 0x7fff;
    b = flushed<F>(b, flags);
    c = flushed<F>(c, flags);
    double x = compute<op>(F::load(a), F::load(b), F::load(c), flags);
    if (flags & sat) x = saturate(x);
    if ((flags & relu) && x <= 0) x = 0;
    return flushed<F>(to_small<F>(x), flags);
}

template <class F, HalfOp op, int operands, class Bits>  // Bits: uint16_t, or uint32_t for a pair
void run_half(Warp &warp, const Instruction &in) {
    const Bits *a = warp.row<Bits>(in.from[0]);
    const Bits *b = operands > 1 ? warp.row<Bits>(in.from[1]) : a;
    const Bits *c = operands > 2 ? warp.row<Bits>(in.from[2]) : a;
    write_lanes<Bits>(warp, in.to[0], [&](unsigned lane) {
        auto part = [&](unsigned shift) {
            return one<F, op>(static_cast<uint16_t>(a[lane] >> shift),
                              static_cast<uint16_t>(b[lane] >> shift),
                              static_cast<uint16_t>(c[lane] >> shift), in.flags);
        };
        Bits result = part(0);
        if constexpr (sizeof(Bits) == 4) result |= static_cast<uint32_t>(part(16)) << 16;
        return result;
    });
}

template <HalfOp op, int operands>
Instruction::Run run_of(Type type) {
    switch (type) {
        case Type::f16: return run_half<Half, op, operands, uint16_t>;
        case Type::bf16: return run_half<Bfloat, op, operands, uint16_t>;
        case Type::f16x2: return run_half<Half, op, operands, uint32_t>;
        case Type::bf16x2: return run_half<Bfloat, op, operands, uint32_t>;
        default: return nullptr;
    }
}

struct Named {
    std::string_view opcode;
    int operands;
    Instruction::Run (*run)(Type);
};

constexpr Named named[] = {
    {"add", 2, run_of<HalfOp::add, 2>},
    {"sub", 2, run_of<HalfOp::subtract, 2>},
    {"mul", 2, run_of<HalfOp::multiply, 2>},
    {"fma", 3, run_of<HalfOp::multiply_add, 3>},
    {"min", 2, run_of<HalfOp::minimum, 2>},
    {"max", 2, run_of<HalfOp::maximum, 2>},
    {"neg", 1, run_of<HalfOp::negate, 1>},
    {"abs", 1, run_of<HalfOp::absolute, 1>},
};

}  // namespace

void decode_half(Form &form, std::string_view opcode, Type type) {
    form.take("rn");  // the only rounding there is
    if (form.take("ftz")) form.in.flags |= ftz;
    if (form.take("sat")) form.in.flags |= sat;
    if (form.take("relu")) form.in.flags |= relu;
    if (form.take("NaN")) form.in.flags |= keeps_nan;
    for (const Named &entry : named) {
        if (entry.opcode != opcode) continue;
        form.to(type);
        for (int i = 0; i < entry.operands; i++) form.from(type);
        return form.emit(entry.run(type));
    }
    form.refuse("the interpreter does not have it for this type");
}

}  // namespace ptx
