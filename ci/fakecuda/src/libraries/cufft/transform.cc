#include "cufft/transform.h"

#include <bit>
#include <cmath>
#include <numbers>

namespace fakecuda::fft {

namespace {

// exp(-2 pi i k / n), from an angle of an eighth of a turn at most, so that quarters are exact.
Number root(size_t k, size_t n) {
    size_t eighth = (8 * k + n / 2) / n;  // the nearest multiple of an eighth
    double rest = 2 * std::numbers::pi * (double(8 * k) - double(eighth * n)) / double(8 * n);
    Number small(std::cos(rest), -std::sin(rest));
    constexpr double h = std::numbers::sqrt2 / 2;
    constexpr Number turns[8] = {{1, 0},  {h, -h}, {0, -1}, {-h, -h},
                                 {-1, 0}, {-h, h}, {0, 1},  {h, h}};
    return small * turns[eighth % 8];
}

}  // namespace

Transform::Transform(size_t n) : n(n) {
    if (std::has_single_bit(n)) {
        for (size_t k = 0; k < n / 2; ++k) {
            roots.push_back(root(k, n));
        }
        return;
    }
    size_t size = std::bit_ceil(2 * n - 1);
    longer = std::make_unique<Transform>(size);
    filter.assign(size, 0);
    for (size_t k = 0; k < n; ++k) {
        chirp.push_back(root(k * k % (2 * n), 2 * n));
        filter[k] = filter[(size - k) % size] = std::conj(chirp[k]);
    }
    longer->run(filter.data(), -1);
}

void Transform::run(Number *line, int sign) const {
    if (longer) {
        bluestein(line, sign);
    } else {
        power_of_two(line, sign);
    }
}

void Transform::power_of_two(Number *line, int sign) const {
    for (size_t i = 1, j = 0; i < n; ++i) {  // j counts with its bits reversed
        size_t bit = n >> 1;
        for (; j & bit; bit >>= 1) {
            j ^= bit;
        }
        j ^= bit;
        if (i < j) {
            std::swap(line[i], line[j]);
        }
    }
    for (size_t half = 1; half < n; half *= 2) {
        for (size_t start = 0; start < n; start += 2 * half) {
            for (size_t k = 0; k < half; ++k) {
                Number twiddle = roots[k * (n / 2 / half)];
                Number odd = (sign < 0 ? twiddle : std::conj(twiddle)) * line[start + half + k];
                Number even = line[start + k];
                line[start + k] = even + odd;
                line[start + half + k] = even - odd;
            }
        }
    }
}

// j k = (j^2 + k^2 - (k - j)^2) / 2 makes a convolution of the transform. The inverse is the
// conjugate of the transform of the conjugate.
void Transform::bluestein(Number *line, int sign) const {
    std::vector<Number> padded(longer->length());
    for (size_t k = 0; k < n; ++k) {
        padded[k] = (sign < 0 ? line[k] : std::conj(line[k])) * chirp[k];
    }
    longer->run(padded.data(), -1);
    for (size_t k = 0; k < padded.size(); ++k) {
        padded[k] *= filter[k];
    }
    longer->run(padded.data(), +1);
    for (size_t k = 0; k < n; ++k) {
        Number value = padded[k] * chirp[k] / double(padded.size());
        line[k] = sign < 0 ? value : std::conj(value);
    }
}

}  // namespace fakecuda::fft
