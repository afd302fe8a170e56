// Arithmetic of f32 and f64, correctly rounded.
#include "form.h"
#include "lanes.h"
#include "numbers.h"

namespace ptx {
namespace {

struct Add {
    template <class T>
    static T apply(T a, T b) { return a + b; }
};
struct Subtract {
    template <class T>
    static T apply(T a, T b) { return a - b; }
};
struct Multiply {
    template <class T>
    static T apply(T a, T b) { return a * b; }
};
struct Divide {
    template <class T>
    static T apply(T a, T b) { return a / b; }
};
struct DivideApproximately {  // a * (1 / b), where 1 / b of a huge b is zero
    static float apply(float a, float b) {
        if (std::fabs(b) > 0x1p126f && std::isfinite(b)) return a * std::copysign(0.0f, b);
        return a / b;
    }
};
struct MultiplyAdd {
    template <class T>
    static T apply(T a, T b, T c) { return std::fma(a, b, c); }
};
// The number where one operand is none; -0 is less than +0.
template <bool keeps_nan>
struct Minimum {
    template <class T>
    static T apply(T a, T b) {
        T number = a != a ? b : a;
        T less = a < b || (a == b && std::signbit(a)) ? a : b;
        bool neither = !(a == a) || !(b == b);
        return neither ? (keeps_nan ? static_cast<T>(NAN) : number) : less;
    }
};
template <bool keeps_nan>
struct Maximum {
    template <class T>
    static T apply(T a, T b) {
        T number = a != a ? b : a;
        T more = a > b || (a == b && !std::signbit(a)) ? a : b;
        bool neither = !(a == a) || !(b == b);
        return neither ? (keeps_nan ? static_cast<T>(NAN) : number) : more;
    }
};

template <class Op, bool ftz, bool sat>
struct Flushing {
    template <class T>
    static T finish(T x) { return flush<ftz>(sat ? saturate(x) : canonical(x)); }
    template <class T>
    static T apply(T a, T b) { return finish(Op::apply(flush<ftz>(a), flush<ftz>(b))); }
    template <class T>
    static T apply(T a, T b, T c) {
        return finish(Op::apply(flush<ftz>(a), flush<ftz>(b), flush<ftz>(c)));
    }
};

struct Options {
    Rounding rounding = Rounding::none;
    bool ftz = false, sat = false;
};

template <class Op, class T, bool ftz, bool sat, int operands>
void run_float(Warp &warp, const Instruction &in) {
    using Whole = Flushing<Op, ftz, sat>;
    if constexpr (operands == 2) binary<Whole, T, T, T>(warp, in);
    else ternary<Whole, T, T, T, T>(warp, in);
}

template <class Op, class T, bool ftz, bool sat, int operands>
Instruction::Run rounded(Rounding rounding) {
    constexpr Instruction::Run run = run_float<Op, T, ftz, sat, operands>;
    switch (rounding) {
        case Rounding::zero: return under_mode<run, FE_TOWARDZERO>;
        case Rounding::down: return under_mode<run, FE_DOWNWARD>;
        case Rounding::up: return under_mode<run, FE_UPWARD>;
        default: return run;
    }
}

template <class Op, int operands>
Instruction::Run run_of(Type type, const Options &options) {
    Rounding r = options.rounding;
    if (type == Type::f64) return rounded<Op, double, false, false, operands>(r);
    if (options.ftz)
        return options.sat ? rounded<Op, float, true, true, operands>(r)
                           : rounded<Op, float, true, false, operands>(r);
    return options.sat ? rounded<Op, float, false, true, operands>(r)
                       : rounded<Op, float, false, false, operands>(r);
}

template <class Op>
Instruction::Run unrounded(Type type, bool ftz) {
    if (type == Type::f64) return run_float<Op, double, false, false, 2>;
    return ftz ? run_float<Op, float, true, false, 2> : run_float<Op, float, false, false, 2>;
}

template <class T, bool negates, bool ftz>
void change_sign(Warp &warp, const Instruction &in) {
    const T *a = warp.row<T>(in.from[0]);
    write_lanes<T>(warp, in.to[0], [=](unsigned lane) {
        T x = flush<ftz>(a[lane]);
        return negates ? -x : std::fabs(x);
    });
}

template <bool negates>
Instruction::Run sign_run(Type type, bool ftz) {
    if (type == Type::f64) return change_sign<double, negates, false>;
    return ftz ? change_sign<float, negates, true> : change_sign<float, negates, false>;
}

void decode_division(Form &form, Type type, const Options &options, bool approximate) {
    form.to(type);
    form.from(type);
    form.from(type);
    if (!approximate) return form.emit(run_of<Divide, 2>(type, options));
    if (type != Type::f32) form.refuse(".approx is for .f32");
    form.emit(options.ftz ? run_float<DivideApproximately, float, true, false, 2>
                          : run_float<DivideApproximately, float, false, false, 2>);
}

void decode_extremum(Form &form, bool minimum, Type type, bool ftz) {
    bool nan = form.take("NaN");
    form.to(type);
    form.from(type);
    form.from(type);
    if (minimum)
        form.emit(nan ? unrounded<Minimum<true>>(type, ftz) : unrounded<Minimum<false>>(type, ftz));
    else
        form.emit(nan ? unrounded<Maximum<true>>(type, ftz) : unrounded<Maximum<false>>(type, ftz));
}

}  // namespace

void decode_float(Form &form, std::string_view opcode, Type type) {
    Options options;
    options.ftz = form.take("ftz");
    if (options.ftz && type == Type::f64) form.refuse(".ftz is for .f32");
    if (opcode == "min" || opcode == "max")
        return decode_extremum(form, opcode == "min", type, options.ftz);
    if (opcode == "neg" || opcode == "abs") {
        form.to(type);
        form.from(type);
        form.emit(opcode == "neg" ? sign_run<true>(type, options.ftz)
                                  : sign_run<false>(type, options.ftz));
        return;
    }
    if (opcode == "div") {
        // .full is as exact as .approx, for all divisors
        bool approximate = form.take("approx");
        form.take("full");
        options.rounding = form.rounding();
        return decode_division(form, type, options, approximate);
    }
    options.rounding = form.rounding();
    options.sat = form.take("sat");
    if (options.sat && type == Type::f64) form.refuse(".sat is for .f32");
    bool three = opcode == "fma" || opcode == "mad";
    form.to(type);
    for (int i = 0; i < 2 + three; i++) form.from(type);
    if (three) form.emit(run_of<MultiplyAdd, 3>(type, options));
    else if (opcode == "add") form.emit(run_of<Add, 2>(type, options));
    else if (opcode == "sub") form.emit(run_of<Subtract, 2>(type, options));
    else if (opcode == "mul") form.emit(run_of<Multiply, 2>(type, options));
    else form.refuse("it is for integers");
}

}  // namespace ptx
