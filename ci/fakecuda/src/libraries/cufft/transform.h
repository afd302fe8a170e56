// Discrete Fourier transforms of any length, in double.
#pragma once

#include <complex>
#include <memory>
#include <vector>

namespace fakecuda::fft {

using Number = std::complex<double>;

// out[k] = sum of in[j] exp(sign * 2 pi i j k / n), sign being -1 forward and +1 inverse; nothing
// is scaled. Lengths that are no power of two go by Bluestein's way over one that is.
class Transform {
public:
    explicit Transform(size_t n);
    void run(Number *line, int sign) const;
    size_t length() const { return n; }

private:
    void power_of_two(Number *line, int sign) const;
    void bluestein(Number *line, int sign) const;

    size_t n;
    std::vector<Number> roots;  // exp(-2 pi i k / n)
    std::vector<Number> chirp;  // exp(-pi i k^2 / n)
    std::vector<Number> filter;  // the transform of its conjugate, wrapped around
    std::unique_ptr<Transform> longer;
};

}  // namespace fakecuda::fft
