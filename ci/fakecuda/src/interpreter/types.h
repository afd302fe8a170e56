// The types of PTX.
#pragma once

#include <cstdint>
#include <string_view>

namespace ptx {

enum class Type : uint8_t {
    none, pred,
    b8, b16, b32, b64,
    u8, u16, u32, u64,
    s8, s16, s32, s64,
    f16, bf16, f16x2, bf16x2, tf32, f32, f64,
};

struct TypeFacts {
    std::string_view name;
    Type type;
    uint8_t bytes;  // in memory; a predicate has none
    char kind;      // p predicate, b untyped bits, u unsigned, s signed, f floating point, v a pair
};

inline constexpr TypeFacts type_facts[] = {
    {"", Type::none, 0, '-'},
    {"pred", Type::pred, 0, 'p'},
    {"b8", Type::b8, 1, 'b'},
    {"b16", Type::b16, 2, 'b'},
    {"b32", Type::b32, 4, 'b'},
    {"b64", Type::b64, 8, 'b'},
    {"u8", Type::u8, 1, 'u'},
    {"u16", Type::u16, 2, 'u'},
    {"u32", Type::u32, 4, 'u'},
    {"u64", Type::u64, 8, 'u'},
    {"s8", Type::s8, 1, 's'},
    {"s16", Type::s16, 2, 's'},
    {"s32", Type::s32, 4, 's'},
    {"s64", Type::s64, 8, 's'},
    {"f16", Type::f16, 2, 'f'},
    {"bf16", Type::bf16, 2, 'f'},
    {"f16x2", Type::f16x2, 4, 'v'},
    {"bf16x2", Type::bf16x2, 4, 'v'},
    {"tf32", Type::tf32, 4, 'f'},
    {"f32", Type::f32, 4, 'f'},
    {"f64", Type::f64, 8, 'f'},
};

constexpr const TypeFacts &facts(Type type) { return type_facts[static_cast<int>(type)]; }
constexpr unsigned size_of(Type type) { return facts(type).bytes; }
constexpr bool is_signed(Type type) { return facts(type).kind == 's'; }
constexpr bool is_float(Type type) { return facts(type).kind == 'f'; }
constexpr bool is_integer(Type type) {
    return facts(type).kind == 'u' || facts(type).kind == 's' || facts(type).kind == 'b';
}

// Type::none where the name is not a type's.
constexpr Type type_named(std::string_view name) {
    for (const TypeFacts &entry : type_facts)
        if (!name.empty() && entry.name == name) return entry.type;
    return Type::none;
}

}  // namespace ptx
