/* float32: see host_math.py. */

static inline uint32_t gg_bits_f32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float gg_from_bits_f32(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* a * b + c, in one rounding where that is as quick as two. */
static inline float gg_muladd_f32(float a, float b, float c) {
#ifdef GG_FMA
    return fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/* a * b - product, exactly, where product is a * b rounded. */
static inline float gg_product_error_f32(float a, float b, float product) {
#ifdef GG_FMA
    return fmaf(a, b, -product);
#else
    return (float)((double)a * b - product);
#endif
}

/* y 2^n, rounded once, for a whole number |n| < 254. */
static inline float gg_scale_f32(float y, float n) {
    /* 2^(n / 2), rounded to a whole power, and the rest: exponents as last bits of large numbers. */
    const float shifted = gg_muladd_f32(n, 0.5f, 0x1.8p23f + 127.0f);
    const float other = n + ((0x1.8p24f + 254.0f) - shifted);
    const float first = gg_from_bits_f32(gg_bits_f32(shifted) << 23);
    return y * first * gg_from_bits_f32(gg_bits_f32(other) << 23);
}

/* 2^n for a whole number -126 <= n <= 127. */
static inline float gg_power_of_two_f32(float n) {
    return gg_from_bits_f32(gg_bits_f32(n + (0x1.8p23f + 127.0f)) << 23);
}

/* x as n ln 2 + r, |r| <= ln 2 / 2: ln 2 in two parts (Cody and Waite, 1980). */
static inline float gg_exp_n_f32(float x) {
    return gg_muladd_f32(x, 0x1.715476p+0f, 0x1.8p23f) - 0x1.8p23f;
}

static inline float gg_exp_high_f32(float x, float n) {
    return gg_muladd_f32(n, -0x1.62e4p-1f, x); /* exact */
}

static inline float gg_exp_low_f32(float n) {
    return n * -0x1.7f7d1cp-20f;
}

/* e^r - 1 - high for r = high + low, |r| <= 0.35 */
static inline float gg_exp_tail_f32(float high, float low) {
    const float r = high + low;
    return gg_muladd_f32(r * r, gg_poly_exp_f32(r), low);
}

/* e^x 2^-n - 1 for the n of x */
static inline float gg_exp_small_f32(float x, float n) {
    const float high = gg_exp_high_f32(x, n);
    return high + gg_exp_tail_f32(high, gg_exp_low_f32(n));
}

static inline float gg_clamp_f32(float x, float low, float high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}

static inline float gg_exp_f32(float x) {
    const float t = gg_clamp_f32(x, -104.0f, 89.0f), n = gg_exp_n_f32(t);
    return gg_scale_f32(1.0f + gg_exp_small_f32(t, n), n);
}

static inline float gg_exp2_f32(float x) {
    const float t = gg_clamp_f32(x, -151.0f, 129.0f), n = (t + 0x1.8p23f) - 0x1.8p23f;
    const float f = t - n, high = f * 0x1.62e43p-1f, low = f * -0x1.05c61p-29f;
    return gg_scale_f32(1.0f + (high + gg_exp_tail_f32(high, low)), n);
}

static inline float gg_expm1_f32(float x) {
    const float t = gg_clamp_f32(x, -20.0f, 89.0f), n = gg_exp_n_f32(t);
    const float high = gg_exp_high_f32(t, n), scale = gg_scale_f32(0.5f, n);
    const float tail = gg_exp_tail_f32(high, gg_exp_low_f32(n));
    const float half = gg_muladd_f32(scale, tail, gg_muladd_f32(scale, high, scale - 0.5f));
    return copysignf(2.0f * half, x);
}

/* x > 0 as 2^k m, sqrt(1/2) <= m < sqrt(2). */
static inline float gg_log_k_f32(float x) {
    const float normal = x < 0x1p-126f ? x * 0x1p25f : x;
    const uint32_t bits = gg_bits_f32(normal) + 0x004afb0d;
    const float k = gg_from_bits_f32((bits >> 23) | 0x4b000000) - (0x1p23f + 127.0f);
    return x < 0x1p-126f ? k - 25.0f : k;
}

static inline float gg_log_m_f32(float x) {
    const float normal = x < 0x1p-126f ? x * 0x1p25f : x;
    const uint32_t bits = gg_bits_f32(normal) + 0x004afb0d;
    return gg_from_bits_f32((bits & 0x007fffff) + 0x3f3504f3);
}

/* log(1 + f) - f for m = 1 + f, by the series of atanh(s), s = f / (2 + f). */
static inline float gg_log_tail_f32(float f) {
    const float s = f / (2.0f + f), z = s * s, half = 0.5f * f * f;
    return gg_muladd_f32(s, gg_muladd_f32(z, gg_poly_log_f32(z), half), -half);
}

/* y, which is a logarithm of u where 0 < u < inf; else the logarithm's limit or NaN. */
static inline float gg_log_limits_f32(float u, float y) {
    y = u < INFINITY ? y : u;
    return u > 0.0f ? y : u == 0.0f ? -INFINITY : NAN;
}

static inline float gg_log_f32(float x) {
    const float k = gg_log_k_f32(x), f = gg_log_m_f32(x) - 1.0f;
    const float low = gg_muladd_f32(k, 0x1.7f7d1cp-20f, gg_log_tail_f32(f));
    return gg_log_limits_f32(x, gg_muladd_f32(k, 0x1.62e4p-1f, f + low));
}

static inline float gg_log1p_f32(float x) {
    const float u = 1.0f + x, k = gg_log_k_f32(u), f = gg_log_m_f32(u) - 1.0f;
    /* log(u + c) for what the rounding of u left. */
    const float c = x < 1.0f ? x - (u - 1.0f) : 1.0f - (u - x);
    const float c_over_u = c * gg_power_of_two_f32(k > 120.0f ? -120.0f : -k)
        * gg_muladd_f32(f, f, 1.0f - f);
    const float low = gg_log_tail_f32(f) + gg_muladd_f32(k, 0x1.7f7d1cp-20f, c_over_u);
    const float y = gg_log_limits_f32(u, gg_muladd_f32(k, 0x1.62e4p-1f, f + low));
    return x == 0.0f ? x : y;
}

static inline float gg_log2_f32(float x) {
    const float k = gg_log_k_f32(x), f = gg_log_m_f32(x) - 1.0f, tail = gg_log_tail_f32(f);
    const float high = f * 0x1.715476p+0f, high_low = gg_product_error_f32(f, 0x1.715476p+0f, high);
    const float rest = gg_muladd_f32(f, 0x1.4ae0cp-26f, high_low);
    const float low = gg_muladd_f32(tail, 0x1.715476p+0f, rest);
    return gg_log_limits_f32(x, k + (high + low));
}

static inline float gg_tanh_f32(float x) {
    const float a = fabsf(x), t = a > 10.0f ? 10.0f : a, z = x * x;
    /* 1 - 2 / (1 + e^(2 t)), where e^(2 t) is 2^(n + f): exact enough, since t is small. */
    const float shifted = gg_muladd_f32(t, 0x1.715476p+1f, 0x1.8p23f + 127.0f);
    const float n = shifted - (0x1.8p23f + 127.0f), f = gg_muladd_f32(t, 0x1.715476p+1f, -n);
    const float scale = gg_from_bits_f32(gg_bits_f32(shifted) << 23);
    const float power = gg_muladd_f32(f, gg_poly_exp2_f32(f), 1.0f);
    const float large = 1.0f - 2.0f / gg_muladd_f32(scale, power, 1.0f);
    const float small = gg_muladd_f32(a * z, gg_poly_tanh_f32(z), a);
    return copysignf(a < 0.6f ? small : large, x);
}

static inline float gg_sigmoid_f32(float x) {
    const float t = gg_clamp_f32(-fabsf(x), -104.0f, 0.0f), n = gg_exp_n_f32(t);
    const float small = gg_exp_small_f32(t, n), sum = 1.0f + small, e = gg_scale_f32(sum, n);
    const float d = 1.0f + e, y = (x < 0.0f ? e : 1.0f) / d, inverse = x < 0.0f ? 1.0f - y : y;
    /* What the roundings of e, relative to it, and of d left; 1 / d is 1 - y or y. */
    const float e_low = x < 0.0f ? small - (sum - 1.0f) : 0.0f, d_low = e - (d - 1.0f);
    return gg_muladd_f32(y * (e_low - d_low), inverse, y);
}

static inline float gg_erf_f32(float x) {
    const float a = fabsf(x), t = gg_poly_erfc_f32(a > 4.0f ? 4.0f : a), n = gg_exp_n_f32(t);
    const float rest = gg_power_of_two_f32(n) * (1.0f + gg_exp_small_f32(t, n));
    return a < 0.95f ? gg_muladd_f32(x, gg_poly_erf_f32(x * x), x) : copysignf(1.0f - rest, x);
}

static inline float gg_sinh_f32(float x) {
    const float a = fabsf(x), t = a > 91.0f ? 91.0f : a, n = gg_exp_n_f32(t), z = x * x;
    const float y = gg_scale_f32(gg_muladd_f32(0.5f, gg_exp_small_f32(t, n), 0.5f), n);
    return a < 1.0f ? gg_muladd_f32(x * z, gg_poly_sinh_f32(z), x) : copysignf(y - 0.25f / y, x);
}

static inline float gg_cosh_f32(float x) {
    const float a = fabsf(x), t = a > 91.0f ? 91.0f : a, n = gg_exp_n_f32(t);
    const float y = gg_scale_f32(gg_muladd_f32(0.5f, gg_exp_small_f32(t, n), 0.5f), n);
    return y + 0.25f / y;
}

/* atan(t) for 0 <= t <= 1 */
static inline float gg_atan_small_f32(float t) {
    const float z = t * t;
    return gg_muladd_f32(t * z, gg_poly_atan_f32(z), t);
}

static inline float gg_arctan_f32(float x) {
    const float a = fabsf(x), y = gg_atan_small_f32(a > 1.0f ? 1.0f / a : a);
    return copysignf(a > 1.0f ? 0x1.921fb6p+0f - (y + 0x1.777a5cp-25f) : y, x);
}

/* asin(s) for 0 <= s <= 9/16, of z = s^2 */
static inline float gg_asin_small_f32(float s, float z) {
    return gg_muladd_f32(s * z, gg_poly_asin_f32(z), s);
}

static inline float gg_arcsin_f32(float x) {
    const float a = fabsf(x), z = a < 0.5625f ? a * a : gg_muladd_f32(-0.5f, a, 0.5f);
    const float y = gg_asin_small_f32(a < 0.5625f ? a : sqrtf(z), z);
    return copysignf(a < 0.5625f ? y : 0x1.921fb6p+0f - (2.0f * y + 0x1.777a5cp-25f), x);
}

static inline float gg_arccos_f32(float x) {
    const float a = fabsf(x), z = a < 0.5625f ? a * a : gg_muladd_f32(-0.5f, a, 0.5f);
    const float y = gg_asin_small_f32(a < 0.5625f ? a : sqrtf(z), z);
    const float middle = 0x1.921fb6p+0f - (copysignf(y, x) + 0x1.777a5cp-25f);
    const float left = 0x1.921fb6p+1f - (2.0f * y + 0x1.777a5cp-24f);
    return a < 0.5625f ? middle : x < 0.0f ? left : 2.0f * y;
}

/* What is left of x after a whole number of half turns, between -1/2 and 1/2, in float64. Moved
   by 1/2 for the cosine. The last bit of ``whole`` is that of the number.

   x is X 4^k, |X| < 2^24. The half turns in 4^k come from a table, less those that make whole
   turns with every X (after Payne and Hanek, 1983): 29 bits, whose product with X is exact,
   and 53. */
typedef struct {
    double rest;
    uint64_t whole;
} gg_angle_f32;

static inline gg_angle_f32 gg_reduce_f32(float x, double move) {
    const uint64_t bits = gg_bits_f64(x), exponent = (bits >> 52) & 0x7ff;
    const uint64_t steps = exponent < 1045 ? 0 : (exponent - 1045) >> 1;
    const uint64_t k = steps & 63; /* 53 of infinity and NaN */
    const double scaled = gg_from_bits_f64(bits - (k << 53));
    const double first = scaled * gg_turns_0_f32[k], second = scaled * gg_turns_1_f32[k];
    const double shifted = (first + (second + move)) + 0x1.8p52;
    const double rest = (first - ((shifted - 0x1.8p52) - move)) + second;
    return (gg_angle_f32){rest, gg_bits_f64(shifted)};
}

/* sin(pi x) for |x| <= 1/2 */
static inline double gg_sinpi_mid(double x) {
    return x * gg_poly_sinpi_mid(x * x);
}

static inline double gg_turned_f32(gg_angle_f32 r) {
    return gg_from_bits_f64(gg_bits_f64(gg_sinpi_mid(r.rest)) ^ r.whole << 63);
}

static inline float gg_sin_f32(float x) {
    const float y = (float)gg_turned_f32(gg_reduce_f32(x, 0.0));
    return fabsf(x) < INFINITY ? (x == 0.0f ? x : y) : NAN;
}

static inline float gg_cos_f32(float x) {
    const float y = (float)gg_turned_f32(gg_reduce_f32(x, 0.5));
    return fabsf(x) < INFINITY ? y : NAN;
}

static inline float gg_tan_f32(float x) {
    const double r = gg_reduce_f32(x, 0.0).rest;
    const float y = (float)(gg_sinpi_mid(r) / gg_sinpi_mid(0.5 - fabs(r)));
    return fabsf(x) < INFINITY ? (x == 0.0f ? x : y) : NAN;
}

/* 2^x for |x| <= 1000, to 36 bits */
static inline double gg_exp2_mid(double x) {
    const double n = (x + 0x1.8p52) - 0x1.8p52, f = x - n;
    return gg_power_of_two_f64(n) * gg_muladd_f64(f, gg_poly_exp2_mid(f), 1.0);
}

/* log2(x) for finite x > 0, not subnormal, to 36 bits */
static inline double gg_log2_mid(double x) {
    const uint64_t bits = gg_bits_f64(x) + 0x00095f619980c433;
    const double k = gg_from_bits_f64((bits >> 52) | 0x4330000000000000) - (0x1p52 + 1023.0);
    const double f = gg_from_bits_f64((bits & 0x000fffffffffffff) + 0x3fe6a09e667f3bcd) - 1.0;
    return gg_muladd_f64(f, gg_poly_log2_mid(f), k);
}

/* x^y where |x|^y is ``power`` for finite x but 0: the sign, and C99's limits (F.9.4.4). */
static inline float gg_power_limits_f32(float x, float y, float power) {
    const float a = fabsf(x), b = fabsf(y), half = 0.5f * b;
    const float whole = b < 0x1p23f ? (b + 0x1p23f) - 0x1p23f : b;
    const float even = half < 0x1p23f ? (half + 0x1p23f) - 0x1p23f : half;
    const float zero = y < 0.0f ? INFINITY : 0.0f, infinite = y < 0.0f ? 0.0f : INFINITY;
    const float size = a == 0.0f ? zero : a == INFINITY ? infinite : power;
    const float odd = even == half ? size : copysignf(size, x);
    const float between = x < 0.0f ? (a < INFINITY ? NAN : size) : size;
    const float z = whole == b ? odd : between;
    const float known = x != x ? x : y != y ? y : z;
    return x == 1.0f ? 1.0f : y == 0.0f ? 1.0f : known;
}

static inline float gg_power_f32(float x, float y) {
    const double b = gg_clamp_f32(y, -0x1p100f, 0x1p100f), log2 = gg_log2_mid(fabs((double)x));
    const float power = (float)gg_exp2_mid(gg_clamp_f64(b * log2, -160.0, 140.0));
    return gg_power_limits_f32(x, y, power);
}

static inline float gg_erfc_f32(float x) {
    const double a = fabs((double)x), y = a > 11.0 ? 11.0 : a, z = y * y;
    const double g = 1.25 + gg_poly_erfcx_mid((y - 4.0) / (y + 4.0));
    const double positive = gg_exp2_mid(z * -0x1.71547652b82fep+0) * g / gg_muladd_f64(2.0, y, 1.0);
    const double small = 1.0 - gg_muladd_f64(x, gg_poly_erf_mid(z), x);
    return (float)(a < 0.5 ? small : x < 0.0f ? 2.0 - positive : positive);
}

static inline float gg_log10_f32(float x) {
    const float k = gg_log_k_f32(x), f = gg_log_m_f32(x) - 1.0f, tail = gg_log_tail_f32(f);
    const float high = f * 0x1.bcb7b2p-2f, high_low = gg_product_error_f32(f, 0x1.bcb7b2p-2f, high);
    const float low = gg_muladd_f32(tail, 0x1.bcb7b2p-2f, high_low - f * 0x1.5b235ep-27f);
    const float rest = gg_muladd_f32(k, -0x1.95ecp-19f, low);
    return gg_log_limits_f32(x, gg_muladd_f32(k, 0x1.3442p-2f, high + rest));
}

static inline float gg_arctan2_f32(float y, float x) {
    const float a = fabsf(x), b = fabsf(y), small = b > a ? a : b, large = b > a ? b : a;
    const float ratio = large == 0.0f ? 0.0f : small == INFINITY ? 1.0f : small / large;
    const float first = gg_atan_small_f32(ratio);
    const float angle = b > a ? 0x1.921fb6p+0f - (first + 0x1.777a5cp-25f) : first;
    const float left = 0x1.921fb6p+1f - (angle + 0x1.777a5cp-24f);
    const float turned = copysignf(copysignf(1.0f, x) < 0.0f ? left : angle, y);
    return x != x ? x : y != y ? y : turned;
}

static inline float gg_cbrt_f32(float x) {
    const double a = fabs((double)x), k = gg_log_k_f64(a), m = gg_log_m_f64(a);
    const double third = gg_muladd_f64(k, 0x1.5555555555555p-2, 0x1.8p52) - 0x1.8p52;
    const double rest = gg_muladd_f64(-3.0, third, k);
    const double up = rest > 0.0 ? 0x1.428a2f98d728bp+0 : 1.0;
    const double scale = rest < 0.0 ? 0x1.965fea53d6e3dp-1 : up;
    const double root = gg_poly_cbrt_mid(m) * scale * gg_power_of_two_f64(third);
    return fabsf(x) < INFINITY && x != 0.0f ? copysignf((float)root, x) : x;
}

static inline float gg_arcsinh_f32(float x) {
    const double a = fabs((double)x), y = 0x1.62e42fefa39efp-1 * gg_log2_mid(a + sqrt(gg_muladd_f64(a, a, 1.0)));
    return fabsf(x) < 0x1p-20f ? x : fabsf(x) < INFINITY ? copysignf((float)y, x) : x;
}

static inline float gg_arccosh_f32(float x) {
    const double a = x, y = 0x1.62e42fefa39efp-1 * gg_log2_mid(a + sqrt(gg_muladd_f64(a, a, -1.0)));
    return x >= 1.0f ? (x < INFINITY ? (float)y : x) : NAN;
}

static inline float gg_arctanh_f32(float x) {
    const double a = fabs((double)x), y = 0x1.62e42fefa39efp-2 * gg_log2_mid((1.0 + a) / (1.0 - a));
    const float large = fabsf(x) < 1.0f ? (float)y : fabsf(x) == 1.0f ? INFINITY : NAN;
    return fabsf(x) < 0x1p-20f ? x : copysignf(large, x);
}

static inline float gg_logaddexp_f32(float x, float y) {
    return (float)gg_logaddexp_f64(x, y);
}

static inline float gg_hypot_f32(float x, float y) {
    const double a = x, b = y;
    const float root = (float)sqrt(a * a + b * b);
    return fabsf(x) == INFINITY ? INFINITY : fabsf(y) == INFINITY ? INFINITY : root;
}
