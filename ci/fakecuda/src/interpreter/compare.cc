// Comparisons and what chooses by them: setp, set, selp, slct.
#include "form.h"
#include "lanes.h"
#include "numbers.h"

namespace ptx {
namespace {

struct Equal {
    template <class T>
    static bool apply(T a, T b) { return a == b; }
};
struct Different {  // of numbers: false where one is NaN
    template <class T>
    static bool apply(T a, T b) { return a < b || a > b; }
};
struct Less {
    template <class T>
    static bool apply(T a, T b) { return a < b; }
};
struct LessOrEqual {
    template <class T>
    static bool apply(T a, T b) { return a <= b; }
};
struct Greater {
    template <class T>
    static bool apply(T a, T b) { return a > b; }
};
struct GreaterOrEqual {
    template <class T>
    static bool apply(T a, T b) { return a >= b; }
};
struct Numbers {
    template <class T>
    static bool apply(T a, T b) { return a == a && b == b; }
};
template <class Op>
struct Opposite {
    template <class T>
    static bool apply(T a, T b) { return !Op::apply(a, b); }
};

// How an operand of a register row is read.
template <class T>
struct Plain {
    using Row = T;
    static T load(T x) { return x; }
};
struct Flushed {
    using Row = float;
    static float load(float x) { return flush<true>(x); }
};
template <class F>
struct Small {
    using Row = uint16_t;
    static float load(uint16_t x) { return F::load(x); }
};
template <class F, unsigned shift>
struct Packed {  // one of a pair
    using Row = uint32_t;
    static float load(uint32_t x) { return F::load(static_cast<uint16_t>(x >> shift)); }
};

enum class Combine : uint8_t { none, with_and, with_or, with_xor };

uint32_t combined(const Warp &warp, const Instruction &in, uint32_t mask) {
    switch (static_cast<Combine>(in.flags & 3)) {
        case Combine::with_and: return mask & warp.predicate(in.from[2]);
        case Combine::with_or: return mask | warp.predicate(in.from[2]);
        case Combine::with_xor: return mask ^ warp.predicate(in.from[2]);
        default: return mask;
    }
}

template <class Op, class View>
uint32_t compared(Warp &warp, const Instruction &in) {
    using Row = typename View::Row;
    const Row *a = warp.row<Row>(in.from[0]), *b = warp.row<Row>(in.from[1]);
    return test_lanes(
        warp, [=](unsigned lane) { return Op::apply(View::load(a[lane]), View::load(b[lane])); });
}

template <class Op, class View>
void set_predicate(Warp &warp, const Instruction &in) {
    uint32_t mask = compared<Op, View>(warp, in);
    uint32_t first = combined(warp, in, mask), second = combined(warp, in, ~mask);
    warp.set_predicate(in.to[0], first);
    if (in.to_count > 1) warp.set_predicate(in.to[1], second);
}

template <class Op, class F>
void set_predicates_of_pair(Warp &warp, const Instruction &in) {
    uint32_t low = combined(warp, in, compared<Op, Packed<F, 0>>(warp, in));
    uint32_t high = combined(warp, in, compared<Op, Packed<F, 16>>(warp, in));
    warp.set_predicate(in.to[0], low);
    if (in.to_count > 1) warp.set_predicate(in.to[1], high);
}

// set: all ones or 1.0 in the result; flags >> 2 says which.
enum class Truth : uint8_t {
    ones_16,
    ones_32,
    single,
    half,
    bfloat,
    half_pair,
    bfloat_pair,
    ones_pair
};

template <class T>
void write_truth(Warp &warp, const Instruction &in, uint32_t mask, T value) {
    write_lanes<T>(warp, in.to[0],
                   [=](unsigned lane) { return mask >> lane & 1 ? value : T{0}; });
}

template <class Op, class View>
void set_register(Warp &warp, const Instruction &in) {
    uint32_t mask = combined(warp, in, compared<Op, View>(warp, in));
    switch (static_cast<Truth>(in.flags >> 2)) {
        case Truth::ones_32: return write_truth<uint32_t>(warp, in, mask, all_lanes);
        case Truth::single: return write_truth<float>(warp, in, mask, 1);
        case Truth::half: return write_truth<uint16_t>(warp, in, mask, 0x3c00);
        case Truth::bfloat: return write_truth<uint16_t>(warp, in, mask, 0x3f80);
        default: return write_truth<uint16_t>(warp, in, mask, 0xffff);
    }
}

template <class Op, class F>
void set_register_pair(Warp &warp, const Instruction &in) {
    uint32_t low = combined(warp, in, compared<Op, Packed<F, 0>>(warp, in));
    uint32_t high = combined(warp, in, compared<Op, Packed<F, 16>>(warp, in));
    Truth truth = static_cast<Truth>(in.flags >> 2);
    uint32_t one = truth == Truth::half_pair     ? 0x3c00
                   : truth == Truth::bfloat_pair ? 0x3f80
                                                 : 0xffff;
    write_lanes<uint32_t>(warp, in.to[0], [=](unsigned lane) {
        return (low >> lane & 1 ? one : 0) | (high >> lane & 1 ? one << 16 : 0);
    });
}

// ---------------------------------------------------------------- choosing the function

template <bool predicate, class Op, class View>
constexpr Instruction::Run run_with = predicate ? set_predicate<Op, View> : set_register<Op, View>;

template <bool predicate, class Op>
Instruction::Run run_of(Type type, bool ftz) {
    switch (type) {
        case Type::f16: return run_with<predicate, Op, Small<Half>>;
        case Type::bf16: return run_with<predicate, Op, Small<Bfloat>>;
        case Type::f16x2:
            return predicate ? set_predicates_of_pair<Op, Half> : set_register_pair<Op, Half>;
        case Type::bf16x2:
            return predicate ? set_predicates_of_pair<Op, Bfloat> : set_register_pair<Op, Bfloat>;
        case Type::f64: return run_with<predicate, Op, Plain<double>>;
        case Type::f32:
            return ftz ? run_with<predicate, Op, Flushed> : run_with<predicate, Op, Plain<float>>;
        default:
            return with_integer(type, [](auto zero) -> Instruction::Run {
                return run_with<predicate, Op, Plain<decltype(zero)>>;
            });
    }
}

struct Named {
    std::string_view name;
    bool of_floats, of_integers;
    Instruction::Run (*predicate)(Type, bool);
    Instruction::Run (*plain)(Type, bool);
};
template <class Op>
constexpr Named named(std::string_view name, bool of_floats, bool of_integers) {
    return {name, of_floats, of_integers, run_of<true, Op>, run_of<false, Op>};
}

constexpr Named comparisons[] = {
    named<Equal>("eq", true, true),
    named<Different>("ne", true, true),
    named<Less>("lt", true, true),
    named<LessOrEqual>("le", true, true),
    named<Greater>("gt", true, true),
    named<GreaterOrEqual>("ge", true, true),
    named<Less>("lo", false, true),
    named<LessOrEqual>("ls", false, true),
    named<Greater>("hi", false, true),
    named<GreaterOrEqual>("hs", false, true),
    named<Opposite<Different>>("equ", true, false),
    named<Opposite<Equal>>("neu", true, false),
    named<Opposite<GreaterOrEqual>>("ltu", true, false),
    named<Opposite<Greater>>("leu", true, false),
    named<Opposite<LessOrEqual>>("gtu", true, false),
    named<Opposite<Less>>("geu", true, false),
    named<Numbers>("num", true, false),
    named<Opposite<Numbers>>("nan", true, false),
};

const Named &comparison(Form &form) {
    for (const Named &entry : comparisons)
        if (form.take(entry.name)) return entry;
    form.refuse("the interpreter does not have this comparison");
}

Combine combination(Form &form) {
    std::string_view name = form.one_of({"and", "or", "xor"});
    if (name == "and") return Combine::with_and;
    if (name == "or") return Combine::with_or;
    return name == "xor" ? Combine::with_xor : Combine::none;
}

void check(Form &form, const Named &entry, Type type, bool ftz) {
    bool whole = is_integer(type);
    bool fits = whole ? entry.of_integers : entry.of_floats;
    if (!fits || size_of(type) < 2) form.refuse("no such comparison for this type");
    if (ftz && type != Type::f32) form.refuse(".ftz is for .f32");
}

void decode_setp(Form &form) {
    const Named &entry = comparison(form);
    Combine combine = combination(form);
    bool ftz = form.take("ftz");
    Type type = form.type();
    check(form, entry, type, ftz);
    form.in.flags = static_cast<uint32_t>(combine);
    form.to_predicates();
    form.from(type);
    form.from(type);
    if (combine != Combine::none) form.from_predicate();
    form.emit(entry.predicate(type, ftz));
}

Truth truth_of(Form &form, Type result, Type compared) {
    bool pair = compared == Type::f16x2 || compared == Type::bf16x2;
    switch (result) {
        case Type::u32:
        case Type::s32: return pair ? Truth::ones_pair : Truth::ones_32;
        case Type::u16:
        case Type::s16: return Truth::ones_16;
        case Type::f32: return Truth::single;
        case Type::f16: return Truth::half;
        case Type::bf16: return Truth::bfloat;
        case Type::f16x2: return Truth::half_pair;
        case Type::bf16x2: return Truth::bfloat_pair;
        default: form.refuse("the interpreter does not have it for this type");
    }
}

void decode_set(Form &form) {
    const Named &entry = comparison(form);
    Combine combine = combination(form);
    bool ftz = form.take("ftz");
    Type result = form.type(), type = form.type();
    check(form, entry, type, ftz);
    Truth truth = truth_of(form, result, type);
    form.in.flags = static_cast<uint32_t>(combine) | static_cast<uint32_t>(truth) << 2;
    form.to(result);
    form.from(type);
    form.from(type);
    if (combine != Combine::none) form.from_predicate();
    form.emit(entry.plain(type, ftz));
}

// ---------------------------------------------------------------- selections

template <class T>
void select(Warp &warp, const Instruction &in) {
    const T *a = warp.row<T>(in.from[0]), *b = warp.row<T>(in.from[1]);
    uint32_t mask = warp.predicate(in.from[2]);
    write_lanes<T>(warp, in.to[0],
                   [=](unsigned lane) { return mask >> lane & 1 ? a[lane] : b[lane]; });
}

template <class C, bool ftz>
struct SelectBySign {
    template <class T>
    static T apply(T a, T b, C c) {
        if constexpr (std::is_same_v<C, float>) return flush<ftz>(c) >= 0 ? a : b;
        else return c >= 0 ? a : b;
    }
};

void decode_selp(Form &form) {
    Type type = form.type();
    form.to(type);
    form.from(type);
    form.from(type);
    form.from_predicate();
    form.emit(with_bits(size_of(type),
                        [](auto zero) -> Instruction::Run { return select<decltype(zero)>; }));
}

void decode_slct(Form &form) {
    bool ftz = form.take("ftz");
    Type type = form.type(), sign = form.type_of({Type::s32, Type::f32});
    form.to(type);
    form.from(type);
    form.from(type);
    form.from(sign);
    form.emit(with_bits(size_of(type), [=](auto zero) -> Instruction::Run {
        using T = decltype(zero);
        if (sign == Type::s32) return ternary<SelectBySign<int32_t, false>, T, T, T, int32_t>;
        return ftz ? ternary<SelectBySign<float, true>, T, T, T, float>
                   : ternary<SelectBySign<float, false>, T, T, T, float>;
    }));
}

}  // namespace

void add_compare_opcodes(Opcodes &opcodes) {
    opcodes["setp"] = decode_setp;
    opcodes["set"] = decode_set;
    opcodes["selp"] = decode_selp;
    opcodes["slct"] = decode_slct;
}

}  // namespace ptx
