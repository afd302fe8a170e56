"""The functions that CUDA has for numbers, and C++ lacks: for device code compiled for the host.

They are slow and exact: sums of series, continued fractions and bisection in long double. Of
complex numbers there is what the text of CuPy's special functions names, so that it compiles.
"""

import importlib.util
import re
from pathlib import Path

__all__ = ["MATH", "for_the_host"]

MATH = r"""
#include <math.h>
#include <string.h>
#include <complex>
#define __device__
#define __constant__
#define __noinline__
using std::complex;

static inline float __int_as_float(unsigned int i) { float x; memcpy(&x, &i, 4); return x; }
static inline double __longlong_as_double(unsigned long long i)
{
    double x;
    memcpy(&x, &i, 8);
    return x;
}

typedef long double wide;
static const wide PI = 3.14159265358979323846264338327950288L;
static wide wide_erfcx(wide x)
{
    if (x < 100) return expl(x * x) * erfcl(x);
    wide below = 0;
    for (int k = 20; k; --k) below = k / 2.0L / (x + below);
    return 1 / (sqrtl(PI) * (x + below));
}
static wide wide_erfinv(wide y);
static wide wide_erfcinv(wide y)
{
    if (!(y > 0)) return y == 0 ? INFINITY : NAN;
    if (y > 0.5L) return wide_erfinv(1 - y);
    wide low = 0, high = 110;
    for (int k = 0; k < 80; ++k) {
        const wide middle = (low + high) / 2;
        (erfcl(middle) > y ? low : high) = middle;
    }
    return low;
}
static wide wide_erfinv(wide y)
{
    const wide a = fabsl(y);
    if (!(a <= 1)) return NAN;
    if (a > 0.5L) return copysignl(wide_erfcinv(1 - a), y);
    wide x = sqrtl(PI) / 2 * y;
    for (int k = 0; k < 8; ++k) x -= (erfl(x) - y) * sqrtl(PI) / 2 * expl(x * x);
    return y == 0 ? y : x;
}
static wide wide_bessel(int order, wide x)
{
    if (fabsl(x) > 800) return order && x < 0 ? -INFINITY : INFINITY;
    wide term = order ? x / 2 : 1, sum = 0;
    for (int k = 1; k < 2000; ++k) {
        sum += term;
        term *= x / 2 * (x / 2) / k / (k + order);
    }
    return sum;
}
static wide wide_normal_inverse(wide p)
{
    return p < 0.25L ? -sqrtl(2) * wide_erfcinv(2 * p) : sqrtl(2) * wide_erfinv(2 * p - 1);
}

#define OF_BOTH(name, of_x) \
    static inline double cuda_##name(double x) { return of_x; } \
    static inline float cuda_##name(float x) { return of_x; } \
    static inline float cuda_##name##f(float x) { return of_x; }
OF_BOTH(erfcx, wide_erfcx(x))
OF_BOTH(erfinv, wide_erfinv(x))
OF_BOTH(erfcinv, wide_erfcinv(x))
OF_BOTH(normcdf, erfcl(-x * sqrtl(0.5L)) / 2)
OF_BOTH(normcdfinv, wide_normal_inverse(x))
OF_BOTH(cyl_bessel_i0, wide_bessel(0, x))
OF_BOTH(cyl_bessel_i1, wide_bessel(1, x))
OF_BOTH(sinpi, sinl(PI * x))
OF_BOTH(cospi, cosl(PI * x))
template <typename T> static inline bool isnan(complex<T> z) { return z != z; }
"""
NAMES = "erfcxf? erfc?inv normcdff? normcdfinvf? cyl_bessel_i[01] (?:sin|cos)pi"
CALLED = re.compile(rf"(?<![\w:])({NAMES.replace(' ', '|')})(?=\()")


def for_the_host(text: str) -> str:
    """Device code as the host's compiler takes it behind MATH, CuPy's headers by their paths."""
    cupy = importlib.util.find_spec("cupy")
    if cupy is not None and cupy.origin is not None:
        headers = Path(cupy.origin).parent / "_core" / "include"
        text = re.sub(r"#include <(cupy/.*)>", rf'#include "{headers}/\1"', text)
    return CALLED.sub(r"cuda_\1", text)
