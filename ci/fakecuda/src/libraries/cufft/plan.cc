#include "cufft/plan.h"

#include <functional>
#include <limits>
#include <numeric>

#include "half.h"

namespace fakecuda::fft {

namespace {

long long product(const std::vector<long long> &lengths) {
    return std::accumulate(lengths.begin(), lengths.end(), 1LL, std::multiplies<>());
}

// An array in device memory: lines of real or complex elements of type T.
template <typename T>
struct Array {
    T *start;
    int parts;  // 1 real, 2 complex
    const Layout &layout;
    const std::vector<long long> &lengths;

    long long lines() const { return product(lengths) / lengths.back(); }
    T *line(long long batch, long long number) const {
        return start + layout.place(batch, number, lengths) * parts;
    }
    void check(long long batch, bool write, const std::string &what) const {
        for (long long i = 0; i < lines(); ++i) {
            check_vectors(line(batch, i), parts, lengths.back(), layout.stride * parts, write,
                          what);
        }
    }
    std::vector<Number> load(long long batch) const {
        std::vector<Number> result;
        result.reserve(product(lengths));
        for (long long i = 0; i < lines(); ++i) {
            const T *element = line(batch, i);
            for (long long k = 0; k < lengths.back(); ++k, element += layout.stride * parts) {
                result.emplace_back(element[0], parts == 2 ? double(element[1]) : 0.0);
            }
        }
        return result;
    }
    // `value` gives the element of a line by the line's number and its place in it.
    template <typename Value>
    void store(long long batch, Value value) const {
        for (long long i = 0; i < lines(); ++i) {
            T *element = line(batch, i);
            for (long long k = 0; k < lengths.back(); ++k, element += layout.stride * parts) {
                Number number = value(i, k);
                element[0] = T(number.real());
                if (parts == 2) {
                    element[1] = T(number.imag());
                }
            }
        }
    }
};

// Transforms an array along one of its axes.
void along(const Transform &transform, std::vector<Number> &data,
           const std::vector<long long> &lengths, size_t axis, int sign) {
    long long stride = 1;
    for (size_t i = axis + 1; i < lengths.size(); ++i) {
        stride *= lengths[i];
    }
    long long n = lengths[axis];
    std::vector<Number> line(n);
    for (long long begin = 0; begin < (long long)data.size(); begin += n * stride) {
        for (long long offset = begin; offset < begin + stride; ++offset) {
            for (long long k = 0; k < n; ++k) {
                line[k] = data[offset + k * stride];
            }
            transform.run(line.data(), sign);
            for (long long k = 0; k < n; ++k) {
                data[offset + k * stride] = line[k];
            }
        }
    }
}

template <typename T>
class Run {
public:
    Run(const Plan &plan, const char *name, void *in, void *out)
        : plan(plan), name(name), half(plan.complex_lengths()),
          real_in(plan.kind == Kind::real_to_complex), real_out(plan.kind == Kind::complex_to_real),
          input_layout(layout_of(plan.input, real_in, in == out)),
          output_layout(layout_of(plan.output, real_out, in == out)),
          input{static_cast<T *>(in), real_in ? 1 : 2, input_layout, real_in ? plan.lengths : half},
          output{static_cast<T *>(out), real_out ? 1 : 2, output_layout,
                 real_out ? plan.lengths : half} {}

    void all(int sign) {
        for (long long b = 0; b < plan.batch; ++b) {
            input.check(b, false, name + ", the input");
            output.check(b, true, name + ", the output");
        }
        // Transforms in place may write over the input of the next of the batch.
        std::vector<std::vector<Number>> data;
        for (long long b = 0; b < plan.batch; ++b) {
            data.push_back(input.load(b));
        }
        for (long long b = 0; b < plan.batch; ++b) {
            if (plan.kind == Kind::complex_to_real) {
                to_real(b, data[b]);
            } else {
                to_complex(b, data[b], plan.kind == Kind::real_to_complex ? -1 : sign);
            }
        }
    }

private:
    // In place, lines of real numbers are padded to the length of the complex ones.
    Layout layout_of(Layout layout, bool real, bool in_place) const {
        if (real && in_place && plan.packed) {
            layout.embed.back() = 2 * half.back();
            layout.distance = 2 * product(half);
        }
        return layout;
    }

    void to_complex(long long b, std::vector<Number> &data, int sign) {
        for (size_t axis = 0; axis < plan.axes.size(); ++axis) {
            along(*plan.axes[axis], data, plan.lengths, axis, sign);
        }
        long long n = plan.lengths.back();
        output.store(b, [&](long long line, long long k) { return data[line * n + k]; });
    }

    // The last axis comes last. Of the imaginary parts that a real result does not have, those of
    // the first number and of the middle one, nothing is read.
    void to_real(long long b, std::vector<Number> &data) {
        size_t last = plan.axes.size() - 1;
        for (size_t axis = 0; axis < last; ++axis) {
            along(*plan.axes[axis], data, half, axis, +1);
        }
        // cuFFT uses the input of several dimensions as a place to work in.
        if (last > 0 && static_cast<void *>(input.start) != static_cast<void *>(output.start)) {
            input.check(b, true, name + ", the input");
            input.store(b, [](long long, long long) {
                return Number(std::numeric_limits<double>::quiet_NaN(), 0);
            });
        }
        long long n = plan.lengths.back(), h = half.back();
        std::vector<Number> whole(product(plan.lengths));
        for (size_t line = 0; line < whole.size() / n; ++line) {
            Number *to = whole.data() + line * n;
            const Number *from = data.data() + line * h;
            for (long long k = 0; k < n; ++k) {
                to[k] = k < h ? from[k] : std::conj(from[n - k]);
            }
            to[0] = to[0].real();
            if (n % 2 == 0) {
                to[n / 2] = to[n / 2].real();
            }
            plan.axes[last]->run(to, +1);
        }
        output.store(b, [&](long long line, long long k) { return whole[line * n + k]; });
    }

    const Plan &plan;
    std::string name;
    std::vector<long long> half;
    bool real_in, real_out;
    Layout input_layout, output_layout;
    Array<T> input, output;
};

}  // namespace

Layout Layout::packed(const std::vector<long long> &lengths) {
    return {lengths, 1, product(lengths)};
}

long long Layout::place(long long batch, long long line,
                        const std::vector<long long> &lengths) const {
    long long place = 0, factor = embed.back();
    for (size_t axis = lengths.size() - 1; axis-- > 0;) {
        place += line % lengths[axis] * factor;
        line /= lengths[axis];
        factor *= embed[axis];
    }
    return batch * distance + place * stride;
}

void Plan::prepare() {
    for (long long length : lengths) {
        axes.push_back(std::make_shared<Transform>(length));
    }
}

std::vector<long long> Plan::complex_lengths() const {
    std::vector<long long> result = lengths;
    if (kind != Kind::complex_to_complex) {
        result.back() = result.back() / 2 + 1;
    }
    return result;
}

size_t Plan::work_bytes() const {
    size_t element = precision == Precision::half ? 4 : precision == Precision::single ? 8 : 16;
    return size_t(product(complex_lengths())) * batch * element;
}

void Plan::run(const char *name, void *in, void *out, int sign) const {
    switch (precision) {
        case Precision::half: return Run<Half>(*this, name, in, out).all(sign);
        case Precision::single: return Run<float>(*this, name, in, out).all(sign);
        case Precision::double_: return Run<double>(*this, name, in, out).all(sign);
    }
}

}  // namespace fakecuda::fft
