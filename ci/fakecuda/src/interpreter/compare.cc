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
struct Numbers {
    template <class T>
    static bool apply(T a, T b) { return a == a && b == b; }
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

// In Instruction::flags: with the predicate from[2], and whether the opposite is asked.
enum : uint32_t { with_and = 1, with_or = 2, with_xor = 3, with_any = 3, opposite = 4 };

uint32_t combined(const Warp &warp, const Instruction &in, uint32_t mask) {
    switch (in.flags & with_any) {
        case with_and: return mask & warp.predicate(in.from[2]);
        case with_or: return mask | warp.predicate(in.from[2]);
        case with_xor: return mask ^ warp.predicate(in.from[2]);
        default: return mask;
    }
}

template <class Op, class View>
uint32_t compared(Warp &warp, const Instruction &in) {
    using Row = typename View::Row;
    const Row *a = warp.row<Row>(in.from[0]), *b = warp.row<Row>(in.from[1]);
    uint32_t mask = test_lanes(
        warp, [=](unsigned lane) { return Op::apply(View::load(a[lane]), View::load(b[lane])); });
    return in.flags & opposite ? ~mask : mask;
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

// ---------------------------------------------------------------- choosing the function

template <class Op>
Instruction::Run run_of(Type type, bool ftz) {
    switch (type) {
        case Type::f16: return set_predicate<Op, Small<Half>>;
        case Type::bf16: return set_predicate<Op, Small<Bfloat>>;
        case Type::f16x2: return set_predicates_of_pair<Op, Half>;
        case Type::bf16x2: return set_predicates_of_pair<Op, Bfloat>;
        case Type::f64: return set_predicate<Op, Plain<double>>;
        case Type::f32: return ftz ? set_predicate<Op, Flushed> : set_predicate<Op, Plain<float>>;
        default:
            return with_integer(type, [](auto zero) -> Instruction::Run {
                return set_predicate<Op, Plain<decltype(zero)>>;
            });
    }
}

enum class For : uint8_t { all, floats, integers };

// a > b is b < a, and a comparison that holds for NaN is the opposite of one that does not.
struct Comparison {
    std::string_view name;
    For types;
    Instruction::Run (*run)(Type, bool);
    bool swapped, opposite;
};

constexpr Comparison comparisons[] = {
    {"eq", For::all, run_of<Equal>, false, false},
    {"ne", For::all, run_of<Different>, false, false},
    {"lt", For::all, run_of<Less>, false, false},
    {"le", For::all, run_of<LessOrEqual>, false, false},
    {"gt", For::all, run_of<Less>, true, false},
    {"ge", For::all, run_of<LessOrEqual>, true, false},
    {"lo", For::integers, run_of<Less>, false, false},
    {"ls", For::integers, run_of<LessOrEqual>, false, false},
    {"hi", For::integers, run_of<Less>, true, false},
    {"hs", For::integers, run_of<LessOrEqual>, true, false},
    {"equ", For::floats, run_of<Different>, false, true},
    {"neu", For::floats, run_of<Equal>, false, true},
    {"ltu", For::floats, run_of<LessOrEqual>, true, true},
    {"leu", For::floats, run_of<Less>, true, true},
    {"gtu", For::floats, run_of<LessOrEqual>, false, true},
    {"geu", For::floats, run_of<Less>, false, true},
    {"num", For::floats, run_of<Numbers>, false, false},
    {"nan", For::floats, run_of<Numbers>, false, true},
};

const Comparison &take_comparison(Form &form) {
    for (const Comparison &entry : comparisons)
        if (form.take(entry.name)) return entry;
    form.refuse("the interpreter does not have this comparison");
}

void take_combination(Form &form) {
    std::string_view name = form.one_of({"and", "or", "xor"});
    if (name == "and") {
        form.in.flags |= with_and;
        form.in.defined = Definedness::by_third_and;
    } else if (name == "or") {
        form.in.flags |= with_or;
        form.in.defined = Definedness::by_third_or;
    } else if (name == "xor") {
        form.in.flags |= with_xor;
    }
}

// Takes the operands that are compared and emits the comparison.
void compare(Form &form, const Comparison &entry, Type type, bool ftz) {
    For other = is_integer(type) ? For::floats : For::integers;
    if (entry.types == other || size_of(type) < 2) form.refuse("no such comparison for this type");
    if (ftz && type != Type::f32) form.refuse(".ftz is for .f32");
    form.from(type);
    form.from(type);
    if (form.in.flags & with_any) form.from_predicate();
    if (entry.swapped) std::swap(form.in.from[0], form.in.from[1]);
    if (entry.opposite) form.in.flags |= opposite;
    form.emit(entry.run(type, ftz));
}

void decode_setp(Form &form) {
    const Comparison &entry = take_comparison(form);
    take_combination(form);
    bool ftz = form.take("ftz");
    Type type = form.type();
    form.to_predicates();
    compare(form, entry, type, ftz);
}

// ---------------------------------------------------------------- set

// A comparison, and then this: all ones or 1.0 where the predicate holds.
template <class T>
void write_truth(Warp &warp, const Instruction &in) {
    uint32_t mask = warp.predicate(in.from[0]);
    T value = static_cast<T>(in.flags);
    write_lanes<T>(warp, in.to[0], [=](unsigned lane) { return mask >> lane & 1 ? value : T{0}; });
}

void write_truths(Warp &warp, const Instruction &in) {
    uint32_t low = warp.predicate(in.from[0]), high = warp.predicate(in.from[1]), value = in.flags;
    write_lanes<uint32_t>(warp, in.to[0], [=](unsigned lane) {
        return (low >> lane & 1 ? value : 0) | (high >> lane & 1 ? value << 16 : 0);
    });
}

uint32_t pattern_of_truth(Form &form, Type result, bool pair) {
    switch (result) {
        case Type::u16:
        case Type::s16: return 0xffff;
        case Type::u32:
        case Type::s32: return pair ? 0xffff : 0xffffffff;
        case Type::f32: return std::bit_cast<uint32_t>(1.0f);
        case Type::f16:
        case Type::f16x2: return 0x3c00;
        case Type::bf16:
        case Type::bf16x2: return 0x3f80;
        default: form.refuse("the interpreter does not have it for this type");
    }
}

void decode_set(Form &form) {
    const Comparison &entry = take_comparison(form);
    take_combination(form);
    bool ftz = form.take("ftz");
    Type result = form.type(), type = form.type();
    bool pair = facts(type).kind == 'v';
    Instruction second = form.in;
    second.flags = pattern_of_truth(form, result, pair);
    second.defined = Definedness::by_all;
    form.to(result);
    second.to[second.to_count++] = form.in.to[0];
    form.in.to_count = 0;
    for (int i = 0; i < 1 + pair; i++) {
        Operand truth = form.decoding().new_register(Type::pred);
        form.in.to[form.in.to_count++] = truth;
        second.from[second.from_count++] = truth;
    }
    compare(form, entry, type, ftz);
    form.in = second;
    if (pair) form.emit(write_truths);
    else form.emit(size_of(result) == 2 ? write_truth<uint16_t> : write_truth<uint32_t>);
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
    form.in.defined = Definedness::by_choice;
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
