// A plan of cuFFT: the shape of the transform, and where its elements lie in memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cufft/transform.h"
#include "library.h"

namespace fakecuda::fft {

enum class Kind { complex_to_complex, real_to_complex, complex_to_real };
enum class Precision { half, single, double_ };

// Element (x, y, z) of transform b is b * distance + ((x * embed[1] + y) * embed[2] + z) * stride
// elements into an array.
struct Layout {
    std::vector<long long> embed;
    long long stride = 1, distance = 0;

    // Of arrays whose elements lie close together.
    static Layout packed(const std::vector<long long> &lengths);
    // Where the line of the last axis begins whose other coordinates make up number `line`.
    long long place(long long batch, long long line, const std::vector<long long> &lengths) const;
};

struct Plan {
    Kind kind;
    Precision precision;
    std::vector<long long> lengths;  // of the transform, the last axis last
    long long batch = 1;
    Layout input, output;
    bool packed = true;  // no layout was given
    std::vector<std::shared_ptr<const Transform>> axes;

    void prepare();  // makes `axes`
    // Lengths of the arrays: of the complex one the last axis holds n / 2 + 1 elements.
    std::vector<long long> complex_lengths() const;
    size_t work_bytes() const;
    // Transforms all of the batch, in the precision of its arrays. Throws BadMemory.
    void run(const char *name, void *in, void *out, int sign) const;
};

}  // namespace fakecuda::fft
