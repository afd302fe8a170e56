// BLAS and LAPACK on the host: those of SciPy, whose addresses the Python loader hands over.
#pragma once

#include <complex>
#include <type_traits>

namespace fakecuda {

// The address of a function by its name in lower case ("dgemm"). Throws where SciPy has none.
void *lapack_address(char letter, const char *name);

template <typename T>
struct Scalar;
template <>
struct Scalar<float> {
    using Real = float;
    static constexpr char letter = 's';
};
template <>
struct Scalar<double> {
    using Real = double;
    static constexpr char letter = 'd';
};
template <>
struct Scalar<std::complex<float>> {
    using Real = float;
    static constexpr char letter = 'c';
};
template <>
struct Scalar<std::complex<double>> {
    using Real = double;
    static constexpr char letter = 'z';
};

template <typename T>
using Real = typename Scalar<T>::Real;

template <typename T>
constexpr bool is_complex = !std::is_same_v<T, Real<T>>;

// Fortran takes everything by address: arrays as they are, numbers by their place on the stack.
template <typename A>
auto by_address(const A &argument) {
    if constexpr (std::is_pointer_v<A>) {
        return argument;
    } else {
        return &argument;
    }
}

// Calls the function `name` for the type T: lapack<double>("getrf", m, n, a, lda, pivots, &info).
// Whole numbers are to be int, flags char.
template <typename T, typename... A>
void lapack(const char *name, const A &...arguments) {
    using Function = void(decltype(by_address(arguments))...);
    auto function = reinterpret_cast<Function *>(lapack_address(Scalar<T>::letter, name));
    function(by_address(arguments)...);
}

}  // namespace fakecuda
