// The three functions of CuPy's thrust extension: sort, argsort and lexsort, each stable, on the
// order of the stream. NaN comes last, as in NumPy.
#include <algorithm>
#include <cmath>
#include <complex>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "half.h"
#include "library.h"

using namespace fakecuda;
using Shape = std::vector<ptrdiff_t>;

namespace {

template <typename T>
bool less(const T &a, const T &b) {
    return a < b;
}

template <typename T>
bool less_with_nan(T a, T b) {
    return std::isnan(b) ? !std::isnan(a) : a < b;
}

bool less(const float &a, const float &b) { return less_with_nan(a, b); }
bool less(const double &a, const double &b) { return less_with_nan(a, b); }
bool less(const Half &a, const Half &b) { return less_with_nan(float(a), float(b)); }

// The order of NumPy: [R + Rj, R + nanj, nan + Rj, nan + nanj], R being numbers; where the same
// parts are NaN the others decide.
template <typename T>
bool less(const std::complex<T> &a, const std::complex<T> &b) {
    auto kind = [](const std::complex<T> &z) {
        return 2 * std::isnan(z.real()) + std::isnan(z.imag());
    };
    int kind_a = kind(a), kind_b = kind(b);
    if (kind_a != kind_b) {
        return kind_a < kind_b;
    }
    if (kind_a < 2 && a.real() != b.real()) {
        return a.real() < b.real();
    }
    return kind_a % 2 == 0 && a.imag() < b.imag();
}

// Rows of `length` elements one after the other: the last axis of a shape, and what is before it.
struct Rows {
    size_t count, length;

    explicit Rows(const Shape &shape) : count(1), length(shape.back()) {
        for (size_t i = 0; i + 1 < shape.size(); ++i) {
            count *= shape[i];
        }
    }
    size_t size() const { return count * length; }
};

template <typename T>
struct Sorting {
    static void check(const char *name, const T *data, size_t size) {
        check_read(data, size, 1, size, std::string(name) + ", the data");
        check_write(data, size, 1, size, std::string(name) + ", the data");
    }
    // Thrust numbers the rows in a place that CuPy gives it where there are several.
    static void check_keys(const char *name, const size_t *keys, size_t size) {
        check_write(keys, size, 1, size, std::string(name) + ", the keys");
    }

    static void sort(void *start, size_t *keys, const Shape &shape) {
        Rows rows(shape);
        T *data = static_cast<T *>(start);
        check("thrust_sort", data, rows.size());
        if (shape.size() > 1) {
            check_keys("thrust_sort", keys, rows.size());
        }
        for (size_t i = 0; i < rows.count; ++i, data += rows.length) {
            std::stable_sort(data, data + rows.length,
                             [](const T &a, const T &b) { return less(a, b); });
        }
    }

    // The data are sorted as well: CuPy hands over a copy.
    static void argsort(size_t *indices, void *start, void *keys, const Shape &shape) {
        Rows rows(shape);
        T *data = static_cast<T *>(start);
        check("thrust_argsort", data, rows.size());
        check_write(indices, rows.size(), 1, rows.size(), "thrust_argsort, the indices");
        if (shape.size() > 1) {
            check_keys("thrust_argsort", static_cast<size_t *>(keys), rows.size());
        }
        std::vector<T> old(rows.length);
        for (size_t i = 0; i < rows.count; ++i, data += rows.length, indices += rows.length) {
            std::copy_n(data, rows.length, old.begin());
            std::iota(indices, indices + rows.length, size_t(0));
            std::stable_sort(indices, indices + rows.length,
                             [&](size_t a, size_t b) { return less(old[a], old[b]); });
            std::transform(indices, indices + rows.length, data,
                           [&](size_t index) { return old[index]; });
        }
    }

    // `count` keys of `length` elements each, the last of which decides first.
    static void lexsort(size_t *indices, void *start, size_t count, size_t length) {
        T *key = static_cast<T *>(start);
        check_read(key, count * length, 1, count * length, "thrust_lexsort, the keys");
        check_write(indices, length, 1, length, "thrust_lexsort, the indices");
        std::iota(indices, indices + length, size_t(0));
        for (size_t i = 0; i < count; ++i, key += length) {
            std::stable_sort(indices, indices + length,
                             [&](size_t a, size_t b) { return less(key[a], key[b]); });
        }
    }
};

// Calls `function` with the Sorting of the type that CuPy numbers so (cupy/cuda/common.pyx).
template <typename Function>
void with_type(int type, Function function) {
    switch (type) {
        case 0: return function(Sorting<int8_t>());
        case 1: return function(Sorting<uint8_t>());
        case 2: return function(Sorting<int16_t>());
        case 3: return function(Sorting<uint16_t>());
        case 4: return function(Sorting<int32_t>());
        case 5: return function(Sorting<uint32_t>());
        case 6: return function(Sorting<int64_t>());
        case 7: return function(Sorting<uint64_t>());
        case 8: return function(Sorting<Half>());
        case 9: return function(Sorting<float>());
        case 10: return function(Sorting<double>());
        case 11: return function(Sorting<std::complex<float>>());
        case 12: return function(Sorting<std::complex<double>>());
        case 13: return function(Sorting<bool>());
        default: throw std::runtime_error("no type of number " + std::to_string(type));
    }
}

template <typename Work>
void submit(const char *name, intptr_t stream, Work work) {
    if (enqueue(name, reinterpret_cast<void *>(stream), std::move(work))) {
        throw std::runtime_error(std::string(name) + " failed");  // a RuntimeError in Python
    }
}

}  // namespace

void thrust_sort(int type, void *data, size_t *keys, const Shape &shape, intptr_t stream, void *) {
    submit("thrust_sort", stream, [=] {
        with_type(type, [&](auto sorting) { sorting.sort(data, keys, shape); });
    });
}

void thrust_argsort(int type, size_t *indices, void *data, void *keys, const Shape &shape,
                    intptr_t stream, void *) {
    submit("thrust_argsort", stream, [=] {
        with_type(type, [&](auto sorting) { sorting.argsort(indices, data, keys, shape); });
    });
}

void thrust_lexsort(int type, size_t *indices, void *keys, size_t count, size_t length,
                    intptr_t stream, void *) {
    submit("thrust_lexsort", stream, [=] {
        with_type(type, [&](auto sorting) { sorting.lexsort(indices, keys, count, length); });
    });
}
