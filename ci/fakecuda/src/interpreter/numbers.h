// Floating-point numbers as the hardware treats them: rounding, subnormals, small formats.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace ptx {

enum class Rounding : uint8_t { none, nearest, zero, down, up, away };  // .rn .rz .rm .rp .rna

inline constexpr uint32_t canonical_nan = 0x7fffffff;

inline float canonical(float x) { return x == x ? x : std::bit_cast<float>(canonical_nan); }
inline double canonical(double x) { return x; }  // doubles keep what the NaN carries

// .ftz: a subnormal number becomes zero with its sign.
template <bool ftz>
inline float flush(float x) {
    if constexpr (!ftz) return x;
    uint32_t bits = std::bit_cast<uint32_t>(x);
    uint32_t keep = (bits & 0x7f800000) ? 0xffffffff : 0x80000000;
    return std::bit_cast<float>(bits & keep);
}
template <bool ftz>
inline double flush(double x) { return x; }

// .sat: to [0, 1]; NaN becomes 0.
template <class T>
inline T saturate(T x) { return x > 0 ? (x < 1 ? x : T{1}) : T{0}; }

// A floating-point format no larger than float.
struct Format {
    int digits;  // of the significand, with the leading one
    int lowest, highest;  // exponents of normal numbers
};
inline constexpr Format half_format{11, -14, 15}, bfloat_format{8, -126, 127},
    tf32_format{11, -126, 127}, float_format{24, -126, 127};

inline double power_of_two(int exponent) {
    return std::bit_cast<double>(static_cast<uint64_t>(exponent + 1023) << 52);
}

inline double round_integral(double x, Rounding rounding) {
    switch (rounding) {
        case Rounding::zero: return std::trunc(x);
        case Rounding::down: return std::floor(x);
        case Rounding::up: return std::ceil(x);
        case Rounding::away: return std::round(x);
        default: return std::nearbyint(x);
    }
}

// The number of a format to which x rounds, as a double.
inline double round_to(double x, const Format &format, Rounding rounding) {
    if (!std::isfinite(x) || x == 0) return x;
    int exponent = static_cast<int>(std::bit_cast<uint64_t>(x) >> 52 & 0x7ff) - 1023;
    if (exponent < format.lowest) exponent = format.lowest;
    double unit = power_of_two(exponent - format.digits + 1);
    double result = round_integral(x / unit, rounding) * unit;
    double largest = (2 - power_of_two(1 - format.digits)) * power_of_two(format.highest);
    if (std::fabs(result) <= largest) return std::copysign(result, x);
    bool stays = rounding == Rounding::zero || rounding == (x > 0 ? Rounding::down : Rounding::up);
    return std::copysign(stays ? largest : HUGE_VAL, x);
}

// a + b, rounded to odd where it is not exact: to round it again to at most 51 digits gives what
// rounding the exact sum gives.
inline double sum_to_odd(double a, double b) {
    double sum = a + b;
    if (!std::isfinite(sum)) return sum;
    double part = sum - a, error = (a - (sum - part)) + (b - part);
    uint64_t bits = std::bit_cast<uint64_t>(sum);
    if (error == 0 || (bits & 1)) return sum;
    bool grows = (error > 0) == (sum > 0);
    return std::bit_cast<double>(grows ? bits + 1 : bits - 1);
}

// A whole number as a double, rounded to odd.
inline double to_odd(uint64_t x) {
    if (x >> 53) x = (x >> 11 | ((x & 0x7ff) != 0)) << 11;
    return static_cast<double>(x);
}
inline double to_odd(int64_t x) {
    return x < 0 ? -to_odd(-static_cast<uint64_t>(x)) : to_odd(static_cast<uint64_t>(x));
}

// ---------------------------------------------------------------- 16 bits

struct Half {
    static constexpr Format format = half_format;
    static float load(uint16_t bits) { return std::bit_cast<_Float16>(bits); }
    static uint16_t store_exact(float x) {
        if (x != x) return 0x7fff;
        return std::bit_cast<uint16_t>(static_cast<_Float16>(x));
    }
};
struct Bfloat {
    static constexpr Format format = bfloat_format;
    static float load(uint16_t bits) {
        return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
    }
    static uint16_t store_exact(float x) {
        if (x != x) return 0x7fff;
        return static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16);
    }
};

template <class F>
inline uint16_t to_small(double x, Rounding rounding = Rounding::nearest) {
    return F::store_exact(static_cast<float>(round_to(x, F::format, rounding)));
}

}  // namespace ptx
