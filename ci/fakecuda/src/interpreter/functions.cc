// Roots, reciprocals and elementary functions. What the hardware approximates is computed in double
// precision and rounded: it is at least as close.
#include "form.h"
#include "lanes.h"
#include "numbers.h"

namespace ptx {
namespace {

struct Reciprocal {
    template <class T>
    static T apply(T x) { return 1 / x; }
};
struct SquareRoot {
    template <class T>
    static T apply(T x) { return std::sqrt(x); }
};
struct ReciprocalRoot {
    static float apply(float x) { return static_cast<float>(1 / std::sqrt(double{x})); }
    static double apply(double x) { return 1 / std::sqrt(x); }
};
struct Sine {
    static float apply(float x) { return static_cast<float>(std::sin(double{x})); }
};
struct Cosine {
    static float apply(float x) { return static_cast<float>(std::cos(double{x})); }
};
struct Exponential {
    static float apply(float x) { return static_cast<float>(std::exp2(double{x})); }
};
struct Logarithm {
    static float apply(float x) { return static_cast<float>(std::log2(double{x})); }
};
struct HyperbolicTangent {
    static float apply(float x) { return static_cast<float>(std::tanh(double{x})); }
};
// rcp.approx.ftz.f64 and its like look at the upper half of a double and give an upper half.
template <class Op>
struct UpperHalf {
    static double upper(double x) {
        uint64_t bits = std::bit_cast<uint64_t>(x);
        if (x == x) bits &= 0xffffffff00000000;
        if (!(bits >> 52 & 0x7ff)) bits &= uint64_t{1} << 63;
        return std::bit_cast<double>(bits);
    }
    static double apply(double x) { return upper(Op::apply(upper(x))); }
};

template <class Op, bool ftz>
struct Finished {
    template <class T>
    static T apply(T x) { return flush<ftz>(canonical(Op::apply(flush<ftz>(x)))); }
};

template <class Op, class T, bool ftz>
void run_function(Warp &warp, const Instruction &in) { unary<Finished<Op, ftz>, T, T>(warp, in); }

template <class Op, class T, bool ftz>
Instruction::Run rounded(Rounding rounding) {
    constexpr Instruction::Run run = run_function<Op, T, ftz>;
    switch (rounding) {
        case Rounding::zero: return under_mode<run, FE_TOWARDZERO>;
        case Rounding::down: return under_mode<run, FE_DOWNWARD>;
        case Rounding::up: return under_mode<run, FE_UPWARD>;
        default: return run;
    }
}

template <class Op>
void decode_root(Form &form) {  // rcp, sqrt, rsqrt
    bool approximate = form.take("approx"), ftz = form.take("ftz");
    Rounding rounding = form.rounding();
    Type type = form.type_of({Type::f32, Type::f64});
    form.to(type);
    form.from(type);
    if (type == Type::f32)
        form.emit(ftz ? rounded<Op, float, true>(rounding) : rounded<Op, float, false>(rounding));
    else if (ftz && approximate)
        form.emit(unary<UpperHalf<Op>, double, double>);
    else if (ftz)
        form.refuse(".ftz is for .f32");
    else
        form.emit(rounded<Op, double, false>(rounding));
}

// ---------------------------------------------------------------- also for 16 bits

template <class Op, class F, class Bits>
void run_small(Warp &warp, const Instruction &in) {
    const Bits *a = warp.row<Bits>(in.from[0]);
    write_lanes<Bits>(warp, in.to[0], [=](unsigned lane) {
        auto part = [&](unsigned shift) {
            return to_small<F>(Op::apply(F::load(static_cast<uint16_t>(a[lane] >> shift))));
        };
        Bits result = part(0);
        if constexpr (sizeof(Bits) == 4) result |= static_cast<uint32_t>(part(16)) << 16;
        return result;
    });
}

template <class Op>
void decode_function(Form &form) {  // sin, cos, ex2, lg2, tanh
    constexpr bool small = std::is_same_v<Op, Exponential> || std::is_same_v<Op, HyperbolicTangent>;
    form.needed({"approx"});
    bool ftz = form.take("ftz");
    Type type = form.type();
    form.to(type);
    form.from(type);
    if (type == Type::f32)
        return form.emit(ftz ? run_function<Op, float, true> : run_function<Op, float, false>);
    if constexpr (small) {  // their subnormal results are as small as .ftz allows: it is for bf16
        switch (type) {
            case Type::f16: return form.emit(run_small<Op, Half, uint16_t>);
            case Type::f16x2: return form.emit(run_small<Op, Half, uint32_t>);
            case Type::bf16: return form.emit(run_small<Op, Bfloat, uint16_t>);
            case Type::bf16x2: return form.emit(run_small<Op, Bfloat, uint32_t>);
            default: break;
        }
    }
    form.refuse("the interpreter does not have it for this type");
}

// ---------------------------------------------------------------- tests and signs

template <class T, int which, bool opposite>
void test_number(Warp &warp, const Instruction &in) {
    const T *a = warp.row<T>(in.from[0]);
    warp.set_predicate(in.to[0], test_lanes(warp, [=](unsigned lane) {
                           T x = a[lane];
                           bool result = which == FP_NAN ? x != x : std::fpclassify(x) == which;
                           if (which == FP_ZERO) result = std::isfinite(x);
                           return result != opposite;
                       }));
}

template <class T>
Instruction::Run test_run(std::string_view name) {
    if (name == "finite") return test_number<T, FP_ZERO, false>;
    if (name == "infinite") return test_number<T, FP_INFINITE, false>;
    if (name == "number") return test_number<T, FP_NAN, true>;
    if (name == "notanumber") return test_number<T, FP_NAN, false>;
    if (name == "normal") return test_number<T, FP_NORMAL, false>;
    return test_number<T, FP_SUBNORMAL, false>;
}

void decode_test(Form &form) {
    std::string_view name =
        form.needed({"finite", "infinite", "number", "notanumber", "normal", "subnormal"});
    Type type = form.type_of({Type::f32, Type::f64});
    form.to_predicates();
    form.from(type);
    form.emit(type == Type::f32 ? test_run<float>(name) : test_run<double>(name));
}

struct CopySign {  // the sign is that of the first operand
    template <class T>
    static T apply(T sign, T number) { return std::copysign(number, sign); }
};

void decode_copysign(Form &form) {
    Type type = form.type_of({Type::f32, Type::f64});
    form.to(type);
    form.from(type);
    form.from(type);
    form.emit(type == Type::f32 ? binary<CopySign, float, float, float>
                                : binary<CopySign, double, double, double>);
}

}  // namespace

void add_function_opcodes(Opcodes &opcodes) {
    opcodes["rcp"] = decode_root<Reciprocal>;
    opcodes["sqrt"] = decode_root<SquareRoot>;
    opcodes["rsqrt"] = decode_root<ReciprocalRoot>;
    opcodes["sin"] = decode_function<Sine>;
    opcodes["cos"] = decode_function<Cosine>;
    opcodes["ex2"] = decode_function<Exponential>;
    opcodes["lg2"] = decode_function<Logarithm>;
    opcodes["tanh"] = decode_function<HyperbolicTangent>;
    opcodes["testp"] = decode_test;
    opcodes["copysign"] = decode_copysign;
}

}  // namespace ptx
