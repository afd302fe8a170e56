// The stand-in for cuRAND's host API: pseudo-random generators that write device memory.
//
// Number i of a sequence is a function of the seed and of i alone (SplitMix64), so that offsets
// cost nothing and a sequence is the same in whatever portions it is asked for. The numbers are not
// those of cuRAND; their distributions are.
#include <cmath>
#include <numbers>
#include <random>

#include "library.h"

using fakecuda::check_write;
using fakecuda::enqueue;

namespace {

enum Status {
    success = 0,
    not_initialized = 101,
    type_error = 103,
    out_of_range = 104,
    length_not_multiple = 105,
    launch_failure = 201,
};

struct Generator {
    int type;
    void *stream = nullptr;
    uint64_t seed = 0, offset = 0;
    uint64_t position = 0;  // of the next number
};

// The numbers of one call.
struct Sequence {
    uint64_t key, position;

    uint64_t word(uint64_t i) const {
        uint64_t z = key + (position + i + 1) * 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    }
    // In (0, 1]: the ends are those of cuRAND.
    template <typename T>
    T uniform(uint64_t i) const {
        constexpr int bits = std::is_same_v<T, float> ? 24 : 53;
        return T((word(i) >> (64 - bits)) + 1) * std::ldexp(T(1), -bits);
    }
    // Box and Muller: two normal numbers out of two uniform ones.
    double normal(uint64_t i) const {
        double radius = std::sqrt(-2 * std::log(uniform<double>(i & ~uint64_t(1))));
        double angle = 2 * std::numbers::pi * uniform<double>(i | 1);
        return radius * (i & 1 ? std::sin(angle) : std::cos(angle));
    }
};

// What std::poisson_distribution draws from: bits made of one number of the sequence.
struct Bits {
    using result_type = uint64_t;
    Sequence sequence;
    uint64_t drawn = 0;

    static constexpr uint64_t min() { return 0; }
    static constexpr uint64_t max() { return ~uint64_t(0); }
    uint64_t operator()() { return sequence.word(drawn++); }
};

Status refuse(Status status, const std::string &text) {
    fakecuda_complain(text.c_str());
    return status;
}

// Fills `count` numbers by `number(sequence, i)`, in the order of the stream.
template <typename T, typename Number>
Status fill(const char *name, Generator *generator, T *output, size_t count, Number number) {
    if (!generator) {
        return refuse(not_initialized, std::string(name) + ": no generator");
    }
    if (fakecuda_capturing(generator->stream)) {
        return refuse(launch_failure, std::string(name) + ": the stream is capturing");
    }
    // Generators of different kinds have different sequences.
    Sequence kind{uint64_t(generator->type), 0};
    Sequence sequence{generator->seed ^ kind.word(0), generator->position};
    generator->position += count;
    int failed = enqueue(name, generator->stream, [=] {
        check_write(output, count, 1, count, std::string(name) + ", the output");
        for (size_t i = 0; i < count; ++i) {
            output[i] = T(number(sequence, i));
        }
    });
    return failed ? launch_failure : success;
}

// Normal numbers come in pairs, so cuRAND wants an even count of them.
template <typename T, typename Shape>
Status fill_normal(const char *name, Generator *generator, T *output, size_t count, T mean,
                   T deviation, Shape shape) {
    if (count % 2) {
        return refuse(length_not_multiple, std::string(name) + ": an odd count, " +
                                               std::to_string(count));
    }
    return fill(name, generator, output, count, [=](const Sequence &sequence, uint64_t i) {
        return shape(double(mean) + double(deviation) * sequence.normal(i));
    });
}

double same(double value) { return value; }
double exponential(double value) { return std::exp(value); }

}  // namespace

FAKECUDA_EXPORT Status curandGetVersion(int *version) {
    *version = 10310;
    return success;
}

FAKECUDA_EXPORT Status curandCreateGenerator(Generator **generator, int type) {
    switch (type) {
        case 100:  // the default, XORWOW, MRG32K3A, MTGP32, MT19937, PHILOX4_32_10
        case 101:
        case 121:
        case 141:
        case 142:
        case 161:
            *generator = new Generator{type};
            return success;
        default:
            return refuse(type_error,
                          "curandCreateGenerator: the stand-in has no generator of type " +
                              std::to_string(type));
    }
}

FAKECUDA_EXPORT Status curandDestroyGenerator(Generator *generator) {
    if (!generator) {
        return refuse(not_initialized, "curandDestroyGenerator: no generator");
    }
    delete generator;
    return success;
}

FAKECUDA_EXPORT Status curandSetStream(Generator *generator, void *stream) {
    if (!generator) {
        return refuse(not_initialized, "curandSetStream: no generator");
    }
    generator->stream = stream;
    return success;
}

FAKECUDA_EXPORT Status curandSetPseudoRandomGeneratorSeed(Generator *generator, uint64_t seed) {
    if (!generator) {
        return refuse(not_initialized, "curandSetPseudoRandomGeneratorSeed: no generator");
    }
    generator->seed = seed;
    generator->position = generator->offset;
    return success;
}

FAKECUDA_EXPORT Status curandSetGeneratorOffset(Generator *generator, uint64_t offset) {
    if (!generator) {
        return refuse(not_initialized, "curandSetGeneratorOffset: no generator");
    }
    generator->offset = generator->position = offset;
    return success;
}

// Orders differ in how a GPU's threads share a sequence. There are no threads here, and one order.
FAKECUDA_EXPORT Status curandSetGeneratorOrdering(Generator *generator, int order) {
    if (!generator) {
        return refuse(not_initialized, "curandSetGeneratorOrdering: no generator");
    }
    if (order < 100 || order > 104) {
        return refuse(out_of_range, "curandSetGeneratorOrdering: no such order");
    }
    return success;
}

FAKECUDA_EXPORT Status curandGenerate(Generator *generator, uint32_t *output, size_t count) {
    return fill("curandGenerate", generator, output, count,
                [](const Sequence &sequence, uint64_t i) { return sequence.word(i) >> 32; });
}

// Only 64-bit quasi-random generators have it, which the stand-in has not.
FAKECUDA_EXPORT Status curandGenerateLongLong(Generator *, uint64_t *, size_t) {
    return refuse(type_error, "curandGenerateLongLong: not of a pseudo-random generator");
}

FAKECUDA_EXPORT Status curandGenerateUniform(Generator *generator, float *output, size_t count) {
    return fill("curandGenerateUniform", generator, output, count,
                [](const Sequence &sequence, uint64_t i) { return sequence.uniform<float>(i); });
}

FAKECUDA_EXPORT Status curandGenerateUniformDouble(Generator *generator, double *output,
                                                   size_t count) {
    return fill("curandGenerateUniformDouble", generator, output, count,
                [](const Sequence &sequence, uint64_t i) { return sequence.uniform<double>(i); });
}

FAKECUDA_EXPORT Status curandGenerateNormal(Generator *generator, float *output, size_t count,
                                            float mean, float deviation) {
    return fill_normal("curandGenerateNormal", generator, output, count, mean, deviation, same);
}

FAKECUDA_EXPORT Status curandGenerateNormalDouble(Generator *generator, double *output,
                                                  size_t count, double mean, double deviation) {
    return fill_normal("curandGenerateNormalDouble", generator, output, count, mean, deviation,
                       same);
}

FAKECUDA_EXPORT Status curandGenerateLogNormal(Generator *generator, float *output, size_t count,
                                               float mean, float deviation) {
    return fill_normal("curandGenerateLogNormal", generator, output, count, mean, deviation,
                       exponential);
}

FAKECUDA_EXPORT Status curandGenerateLogNormalDouble(Generator *generator, double *output,
                                                     size_t count, double mean,
                                                     double deviation) {
    return fill_normal("curandGenerateLogNormalDouble", generator, output, count, mean, deviation,
                       exponential);
}

FAKECUDA_EXPORT Status curandGeneratePoisson(Generator *generator, uint32_t *output, size_t count,
                                             double mean) {
    if (!(mean > 0)) {
        return refuse(out_of_range, "curandGeneratePoisson: the mean is not above 0");
    }
    return fill("curandGeneratePoisson", generator, output, count,
                [=](const Sequence &sequence, uint64_t i) {
                    Bits bits{{sequence.word(i), 0}};
                    return std::poisson_distribution<uint32_t>(mean)(bits);
                });
}
