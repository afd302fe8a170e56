// The two 16-bit formats: conversion to float, and back with rounding to nearest, ties to even.
#pragma once

#include <bit>
#include <cstdint>

namespace fakecuda {

struct Half {  // IEEE binary16
    uint16_t bits = 0;

    Half() = default;
    explicit Half(float value) : bits(round(value)) {}
    operator float() const {
        uint32_t sign = uint32_t(bits & 0x8000) << 16;
        uint32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
        if (exponent == 31) {  // infinity, NaN
            return std::bit_cast<float>(sign | 0x7f800000 | fraction << 13);
        }
        if (exponent == 0) {  // zero, subnormal: fraction * 2^-24
            float size = float(fraction) * 0x1p-24f;
            return sign ? -size : size;
        }
        return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
    }

private:
    static uint16_t round(float value) {
        uint32_t word = std::bit_cast<uint32_t>(value);
        uint16_t sign = word >> 16 & 0x8000;
        uint32_t size = word & 0x7fffffff;
        if (size > 0x7f800000) {
            return sign | 0x7fff;  // NaN
        }
        if (size >= 0x477ff000) {
            return sign | 0x7c00;  // at or above halfway between the largest number and 2^16
        }
        if (size < 0x38800000) {  // below the smallest normal number: a multiple of 2^-24
            // The last bit of a float just above 1/2 is 2^-24: the addition rounds to it.
            float sum = std::bit_cast<float>(size) + 0.5f;
            return sign | uint16_t(std::bit_cast<uint32_t>(sum) - std::bit_cast<uint32_t>(0.5f));
        }
        uint32_t odd = size >> 13 & 1;
        return sign | uint16_t((size - (112u << 23) + 0xfff + odd) >> 13);
    }
};

struct BFloat16 {  // the upper half of a float
    uint16_t bits = 0;

    BFloat16() = default;
    explicit BFloat16(float value) {
        uint32_t word = std::bit_cast<uint32_t>(value);
        if ((word & 0x7fffffff) > 0x7f800000) {
            bits = 0x7fff;
            return;
        }
        bits = uint16_t((word + 0x7fff + (word >> 16 & 1)) >> 16);
    }
    operator float() const { return std::bit_cast<float>(uint32_t(bits) << 16); }
};

}  // namespace fakecuda
