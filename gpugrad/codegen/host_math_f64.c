/* float64: see host_math.py. */

static inline uint64_t gg_bits_f64(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double gg_from_bits_f64(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* a * b + c, in one rounding where that is as quick as two. */
static inline double gg_muladd_f64(double a, double b, double c) {
#ifdef GG_FMA
    return fma(a, b, c);
#else
    return a * b + c;
#endif
}

/* a * b - product, exactly, where product is a * b rounded. By Dekker's splitting (1971) where
   there is no fused multiply-add; |a| and |b| stay below 2^996. */
static inline double gg_product_error_f64(double a, double b, double product) {
#ifdef GG_FMA
    return fma(a, b, -product);
#else
    const double c = a * 134217729.0, d = b * 134217729.0;
    const double a_high = c - (c - a), b_high = d - (d - b);
    const double a_low = a - a_high, b_low = b - b_high;
    return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
#endif
}

/* a + b - sum, exactly, where sum is a + b rounded (Knuth). */
static inline double gg_sum_error_f64(double a, double b, double sum) {
    const double b_used = sum - a;
    return (a - (sum - b_used)) + (b - b_used);
}

/* (a + a_low) / (d + d_low) */
static inline double gg_quotient_f64(double a, double a_low, double d, double d_low) {
    const double inverse = 1.0 / d, q = a * inverse, back = q * d;
    const double left = (a - back) - gg_product_error_f64(q, d, back);
    return gg_muladd_f64(left + gg_muladd_f64(-q, d_low, a_low), inverse, q);
}

/* y 2^n, rounded once, for a whole number |n| < 2046. */
static inline double gg_scale_f64(double y, double n) {
    /* 2^(n / 2), rounded to a whole power, and the rest: exponents as last bits of large numbers. */
    const double shifted = gg_muladd_f64(n, 0.5, 0x1.8p52 + 1023.0);
    const double other = n + ((0x1.8p53 + 2046.0) - shifted);
    const double first = gg_from_bits_f64(gg_bits_f64(shifted) << 52);
    return y * first * gg_from_bits_f64(gg_bits_f64(other) << 52);
}

/* 2^n for a whole number -1022 <= n <= 1023. */
static inline double gg_power_of_two_f64(double n) {
    return gg_from_bits_f64(gg_bits_f64(n + (0x1.8p52 + 1023.0)) << 52);
}

/* x as n ln 2 + r, |r| <= ln 2 / 2: ln 2 in two parts (Cody and Waite, 1980). */
static inline double gg_exp_n_f64(double x) {
    return gg_muladd_f64(x, 0x1.71547652b82fep+0, 0x1.8p52) - 0x1.8p52;
}

static inline double gg_exp_high_f64(double x, double n) {
    return gg_muladd_f64(n, -0x1.62e42fefa3800p-1, x); /* exact */
}

static inline double gg_exp_low_f64(double n) {
    return n * -0x1.ef35793c76730p-45;
}

/* e^r - 1 - high for r = high + low, |r| <= 0.35 */
static inline double gg_exp_tail_f64(double high, double low) {
    const double r = high + low;
    return gg_muladd_f64(r * r, gg_poly_exp_f64(r), low);
}

/* e^x 2^-n - 1 for the n of x */
static inline double gg_exp_small_f64(double x, double n) {
    const double high = gg_exp_high_f64(x, n);
    return high + gg_exp_tail_f64(high, gg_exp_low_f64(n));
}

static inline double gg_clamp_f64(double x, double low, double high) {
    x = x < low ? low : x;
    return x > high ? high : x;
}

static inline double gg_exp_f64(double x) {
    const double t = gg_clamp_f64(x, -746.0, 710.0), n = gg_exp_n_f64(t);
    return gg_scale_f64(1.0 + gg_exp_small_f64(t, n), n);
}

static inline double gg_exp2_f64(double x) {
    const double t = gg_clamp_f64(x, -1076.0, 1025.0), n = (t + 0x1.8p52) - 0x1.8p52;
    const double f = t - n, high = f * 0x1.62e42fefa39efp-1, low = f * 0x1.abc9e3b39803fp-56;
    return gg_scale_f64(1.0 + (high + gg_exp_tail_f64(high, low)), n);
}

static inline double gg_expm1_f64(double x) {
    const double t = gg_clamp_f64(x, -40.0, 710.0), n = gg_exp_n_f64(t);
    const double high = gg_exp_high_f64(t, n), scale = gg_scale_f64(0.5, n);
    const double tail = gg_exp_tail_f64(high, gg_exp_low_f64(n));
    return copysign(2.0 * gg_muladd_f64(scale, tail, gg_muladd_f64(scale, high, scale - 0.5)), x);
}

/* x > 0 as 2^k m, sqrt(1/2) <= m < sqrt(2). */
static inline double gg_log_k_f64(double x) {
    const double normal = x < 0x1p-1022 ? x * 0x1p54 : x;
    const uint64_t bits = gg_bits_f64(normal) + 0x00095f619980c433;
    const double k = gg_from_bits_f64((bits >> 52) | 0x4330000000000000) - (0x1p52 + 1023.0);
    return x < 0x1p-1022 ? k - 54.0 : k;
}

static inline double gg_log_m_f64(double x) {
    const double normal = x < 0x1p-1022 ? x * 0x1p54 : x;
    const uint64_t bits = gg_bits_f64(normal) + 0x00095f619980c433;
    return gg_from_bits_f64((bits & 0x000fffffffffffff) + 0x3fe6a09e667f3bcd);
}

/* log(1 + f) - f for m = 1 + f, by the series of atanh(s), s = f / (2 + f). */
static inline double gg_log_tail_f64(double f) {
    const double s = f / (2.0 + f), z = s * s, half = 0.5 * f * f;
    return gg_muladd_f64(s, gg_muladd_f64(z, gg_poly_log_f64(z), half), -half);
}

/* y, which is a logarithm of u where 0 < u < inf; else the logarithm's limit or NaN. */
static inline double gg_log_limits_f64(double u, double y) {
    y = u < INFINITY ? y : u;
    return u > 0.0 ? y : u == 0.0 ? -INFINITY : NAN;
}

static inline double gg_log_f64(double x) {
    const double k = gg_log_k_f64(x), f = gg_log_m_f64(x) - 1.0;
    const double low = gg_muladd_f64(k, 0x1.ef35793c76730p-45, gg_log_tail_f64(f));
    return gg_log_limits_f64(x, gg_muladd_f64(k, 0x1.62e42fefa3800p-1, f + low));
}

/* log(u + c) for c below half a unit in the last place of u. */
static inline double gg_log_sum_f64(double u, double c) {
    const double k = gg_log_k_f64(u), m = gg_log_m_f64(u), f = m - 1.0;
    const double c_over_u = c * gg_power_of_two_f64(k > 1000.0 ? -1000.0 : -k)
        * gg_muladd_f64(f, f, 1.0 - f);
    const double low = gg_log_tail_f64(f) + gg_muladd_f64(k, 0x1.ef35793c76730p-45, c_over_u);
    return gg_muladd_f64(k, 0x1.62e42fefa3800p-1, f + low);
}

static inline double gg_log1p_f64(double x) {
    const double u = 1.0 + x;
    const double c = x < 1.0 ? x - (u - 1.0) : 1.0 - (u - x);
    const double y = gg_log_limits_f64(u, gg_log_sum_f64(u, c));
    return x == 0.0 ? x : y;
}

static inline double gg_log2_f64(double x) {
    const double k = gg_log_k_f64(x), f = gg_log_m_f64(x) - 1.0, tail = gg_log_tail_f64(f);
    const double high = f * 0x1.71547652b82fep+0;
    const double low = gg_product_error_f64(f, 0x1.71547652b82fep+0, high)
        + gg_muladd_f64(tail, 0x1.71547652b82fep+0, f * 0x1.777d0ffda0d24p-56);
    return gg_log_limits_f64(x, k + (high + low));
}

static inline double gg_log10_f64(double x) {
    const double k = gg_log_k_f64(x), f = gg_log_m_f64(x) - 1.0, tail = gg_log_tail_f64(f);
    const double high = f * 0x1.bcb7b1526e50ep-2;
    const double low = gg_product_error_f64(f, 0x1.bcb7b1526e50ep-2, high)
        + gg_muladd_f64(tail, 0x1.bcb7b1526e50ep-2, f * 0x1.95355baaafad3p-57)
        + k * 0x1.fef311f12b358p-46;
    return gg_log_limits_f64(x, gg_muladd_f64(k, 0x1.34413509f7800p-2, high + low));
}

static inline double gg_tanh_f64(double x) {
    const double a = gg_clamp_f64(2.0 * fabs(x), 0.0, 40.0), n = gg_exp_n_f64(a);
    const double scale = gg_power_of_two_f64(n), high = gg_exp_high_f64(a, n);
    const double first = gg_muladd_f64(scale, high, scale - 1.0);
    const double second = scale * gg_exp_tail_f64(high, gg_exp_low_f64(n));
    /* e / d for e = exp(a) - 1 and d = e + 2, with what their roundings left.
       1 / d is (1 - y) / 2. */
    const double e = first + second, e_low = second - (e - first);
    const double d = e + 2.0, d_low = e < 2.0 ? e - (d - 2.0) : 2.0 - (d - e);
    const double y = e / d;
    const double left = gg_muladd_f64(-y, d_low + e_low, e_low);
    return copysign(gg_muladd_f64(left, gg_muladd_f64(-0.5, y, 0.5), y), x);
}

static inline double gg_sigmoid_f64(double x) {
    const double t = gg_clamp_f64(-fabs(x), -746.0, 0.0), n = gg_exp_n_f64(t);
    const double small = gg_exp_small_f64(t, n), sum = 1.0 + small, e = gg_scale_f64(sum, n);
    const double d = 1.0 + e, y = (x < 0.0 ? e : 1.0) / d, inverse = x < 0.0 ? 1.0 - y : y;
    /* What the roundings of e, relative to it, and of d left; 1 / d is 1 - y or y. */
    const double e_low = x < 0.0 ? small - (sum - 1.0) : 0.0, d_low = e - (d - 1.0);
    return gg_muladd_f64(y * (e_low - d_low), inverse, y);
}

static inline double gg_sinh_f64(double x) {
    const double a = fabs(x), t = gg_clamp_f64(a, 0.0, 712.0), n = gg_exp_n_f64(t), z = x * x;
    const double y = gg_scale_f64(gg_muladd_f64(0.5, gg_exp_small_f64(t, n), 0.5), n);
    return a < 1.0 ? gg_muladd_f64(x * z, gg_poly_sinh_f64(z), x) : copysign(y - 0.25 / y, x);
}

static inline double gg_cosh_f64(double x) {
    const double t = gg_clamp_f64(fabs(x), 0.0, 712.0), n = gg_exp_n_f64(t);
    const double y = gg_scale_f64(gg_muladd_f64(0.5, gg_exp_small_f64(t, n), 0.5), n);
    return y + 0.25 / y;
}

/* erfc(y) for 0 <= y, as exp(-y^2) / (1 + 2 y) times a function close to 1 (Shepherd and
   Laframboise, 1981). */
static inline double gg_erfc_positive_f64(double y) {
    y = y > 28.0 ? 28.0 : y;
    const double square = y * y, low = gg_product_error_f64(y, y, square);
    const double n = gg_exp_n_f64(-square), high = gg_exp_high_f64(-square, n);
    const double tail = gg_exp_tail_f64(high, gg_exp_low_f64(n) - low);
    const double small = high + tail, e = 1.0 + small;
    const double e_low = (small - (e - 1.0)) + (tail - (small - high));
    const double shape = gg_poly_erfcx_f64((y - 4.0) / (y + 4.0)), g = 1.25 + shape;
    const double g_low = shape - (g - 1.25);
    const double d = 1.0 + 2.0 * y, d_low = y < 0.5 ? 2.0 * y - (d - 1.0) : 1.0 - (d - 2.0 * y);
    const double product = e * g, product_low = gg_product_error_f64(e, g, product);
    const double quotient
        = gg_quotient_f64(product, product_low + gg_muladd_f64(e_low, g, e * g_low), d, d_low);
    return gg_scale_f64(quotient, n);
}

static inline double gg_erf_f64(double x) {
    const double a = fabs(x), y = a > 6.0 ? 6.0 : a, t = -y * y, n = gg_exp_n_f64(t);
    const double g = 1.25 + gg_poly_erfcx_f64((y - 4.0) / (y + 4.0));
    const double e = gg_power_of_two_f64(n) * (1.0 + gg_exp_small_f64(t, n));
    const double large = copysign(1.0 - e * g / gg_muladd_f64(2.0, y, 1.0), x);
    return a < 1.0 ? gg_muladd_f64(x, gg_poly_erf_f64(x * x), x) : large;
}

static inline double gg_erfc_f64(double x) {
    const double a = fabs(x), y = gg_erfc_positive_f64(a);
    const double small = 1.0 - (gg_muladd_f64(x, gg_poly_erf_f64(x * x), x));
    return a < 0.5 ? small : x < 0.0 ? 2.0 - y : y;
}

/* What is left of x in radians, high + low, after ``quadrant`` quarter turns.

   x is X 2^(16 k). The quarter turns in 2^(16 k) come from a table, less those that make whole
   turns with every X, in four parts (after Payne and Hanek, 1983): 212 bits, of which 70 may
   belong to the whole number. The sums are exact but for the last. */
typedef struct {
    double high, low;
    uint64_t quadrant;
} gg_angle_f64;

static inline gg_angle_f64 gg_reduce_f64(double x) {
    const uint64_t bits = gg_bits_f64(x), exponent = (bits >> 52) & 0x7ff;
    const uint64_t k = exponent < 1043 ? 0 : (exponent - 1043) >> 4;
    const double scaled = gg_from_bits_f64(bits - (k << 56));
    const double c0 = gg_turns_0_f64[k], c1 = gg_turns_1_f64[k], c2 = gg_turns_2_f64[k];
    const double p0 = scaled * c0, p0_low = gg_product_error_f64(scaled, c0, p0);
    const double p1 = scaled * c1, p1_low = gg_product_error_f64(scaled, c1, p1);
    const double p2 = scaled * c2, p2_low = gg_product_error_f64(scaled, c2, p2);
    const double p3 = scaled * gg_turns_3_f64[k];
    const double remainder = p0 - ((p0 + 0x1.8p72) - 0x1.8p72); /* modulo 2^20 */
    const double a = p0_low + p1, a_low = gg_sum_error_f64(p0_low, p1, a);
    const double b = remainder + a, b_low = gg_sum_error_f64(remainder, a, b);
    const double shifted = b + 0x1.8p52, part = b - (shifted - 0x1.8p52);
    const double c = p1_low + p2, c_low = gg_sum_error_f64(p1_low, p2, c);
    const double d = a_low + b_low, d_low = gg_sum_error_f64(a_low, b_low, d);
    const double e = c + d, e_low = gg_sum_error_f64(c, d, e);
    const double f = part + e, f_low = gg_sum_error_f64(part, e, f);
    const double tail = f_low + (e_low + ((c_low + d_low) + (p2_low + p3)));
    const double turn = f + tail, turn_low = tail - (turn - f);
    const double high = turn * 0x1.921fb54442d18p+0;
    const double low = gg_product_error_f64(turn, 0x1.921fb54442d18p+0, high)
        + gg_muladd_f64(turn, 0x1.1a62633145c07p-54, turn_low * 0x1.921fb54442d18p+0);
    return (gg_angle_f64){high, low, gg_bits_f64(shifted)};
}

/* sin(r) - r.high */
static inline double gg_sin_tail_f64(gg_angle_f64 r) {
    const double z = r.high * r.high;
    return gg_muladd_f64(r.high * z, gg_poly_sin_f64(z), r.low);
}

/* cos(r) - 1 + r.high^2 / 2 */
static inline double gg_cos_tail_f64(gg_angle_f64 r) {
    const double z = r.high * r.high;
    return gg_muladd_f64(z * z, gg_poly_cos_f64(z), -r.high * r.low);
}

/* The sine of r after a number of quarter turns. */
static inline double gg_turned_f64(gg_angle_f64 r, uint64_t quarters) {
    const double half = 0.5 * r.high * r.high, w = 1.0 - half;
    const double cosine = w + (((1.0 - w) - half) + gg_cos_tail_f64(r));
    const double y = quarters & 1 ? cosine : r.high + gg_sin_tail_f64(r);
    return gg_from_bits_f64(gg_bits_f64(y) ^ (quarters & 2) << 62);
}

static inline double gg_sin_f64(double x) {
    const gg_angle_f64 r = gg_reduce_f64(x);
    const double y = fabs(x) < 0x1p-27 ? x : gg_turned_f64(r, r.quadrant);
    return fabs(x) < INFINITY ? y : NAN;
}

static inline double gg_cos_f64(double x) {
    const gg_angle_f64 r = gg_reduce_f64(x);
    return fabs(x) < INFINITY ? gg_turned_f64(r, r.quadrant + 1) : NAN;
}

static inline double gg_tan_f64(double x) {
    const gg_angle_f64 r = gg_reduce_f64(x);
    const double half = 0.5 * r.high * r.high, w = 1.0 - half;
    const double c_tail = ((1.0 - w) - half) + gg_cos_tail_f64(r), c = w + c_tail;
    const double s_tail = gg_sin_tail_f64(r), s = r.high + s_tail;
    const double c_low = c_tail - (c - w), s_low = s_tail - (s - r.high);
    const int turned = r.quadrant & 1;
    const double y = gg_quotient_f64(
        turned ? -c : s, turned ? -c_low : s_low, turned ? s : c, turned ? s_low : c_low);
    return fabs(x) < INFINITY ? (fabs(x) < 0x1p-27 ? x : y) : NAN;
}

/* x^y where |x|^y is ``power`` for finite x but 0: the sign, and C99's limits (F.9.4.4). */
static inline double gg_power_limits_f64(double x, double y, double power) {
    const double a = fabs(x), b = fabs(y), half = 0.5 * b;
    const double whole = b < 0x1p52 ? (b + 0x1p52) - 0x1p52 : b;
    const double even = half < 0x1p52 ? (half + 0x1p52) - 0x1p52 : half;
    const double zero = y < 0.0 ? INFINITY : 0.0, infinite = y < 0.0 ? 0.0 : INFINITY;
    const double size = a == 0.0 ? zero : a == INFINITY ? infinite : power;
    const double odd = even == half ? size : copysign(size, x);
    const double between = x < 0.0 ? (a < INFINITY ? NAN : size) : size;
    const double z = whole == b ? odd : between;
    const double known = x != x ? x : y != y ? y : z;
    return x == 1.0 ? 1.0 : y == 0.0 ? 1.0 : known;
}

static inline double gg_power_f64(double x, double y) {
    const double a = fabs(x), k = gg_log_k_f64(a), f = gg_log_m_f64(a) - 1.0;
    /* log(1 + f) = 2 s (1 + w) of the series of atanh(s), s = f / (2 + f), to 66 bits. */
    const double d = 2.0 + f, d_low = f - (d - 2.0), inverse = 1.0 / d;
    const double s = f * inverse, back = s * d;
    const double s_low = inverse
        * (((f - back) - gg_product_error_f64(s, d, back)) - s * d_low);
    const double z = s * s, z_low = gg_muladd_f64(2.0 * s, s_low, gg_product_error_f64(s, s, z));
    const double third = z * 0x1.5555555555555p-2;
    const double third_low = gg_product_error_f64(z, 0x1.5555555555555p-2, third)
        + gg_muladd_f64(z, 0x1.5555555555555p-56, z_low * 0x1.5555555555555p-2);
    const double rest = z * z * gg_poly_pow_f64(z);
    const double w = third + rest, w_low = (rest - (w - third)) + third_low;
    const double p = s * w, p_error = gg_product_error_f64(s, w, p);
    const double p_low = gg_muladd_f64(s, w_low, gg_muladd_f64(s_low, w, p_error));
    const double m = s + p, m_low = (p - (m - s)) + (p_low + s_low);
    const double whole = k * 0x1.62e42fefa3800p-1, sum = whole + 2.0 * m;
    const double sum_low = (2.0 * m - (sum - whole))
        + gg_muladd_f64(k, 0x1.ef35793c76730p-45, 2.0 * m_low);
    const double log = sum + sum_low, log_low = sum_low - (log - sum);
    /* exp(y log) */
    const double b = gg_clamp_f64(y, -0x1p65, 0x1p65), e = b * log;
    const double e_low = gg_muladd_f64(b, log_low, gg_product_error_f64(b, log, e));
    const double t = gg_clamp_f64(e, -746.0, 710.0), n = gg_exp_n_f64(t);
    const double high = gg_exp_high_f64(t, n);
    const double tail = gg_exp_tail_f64(high, gg_exp_low_f64(n) + (t == e ? e_low : 0.0));
    return gg_power_limits_f64(x, y, gg_scale_f64(1.0 + (high + tail), n));
}

static inline double gg_cbrt_f64(double x) {
    const double a = fabs(x), k = gg_log_k_f64(a), m = gg_log_m_f64(a);
    const double third = gg_muladd_f64(k, 0x1.5555555555555p-2, 0x1.8p52) - 0x1.8p52;
    const double rest = gg_muladd_f64(-3.0, third, k);
    const double up = rest > 0.0 ? 2.0 : 1.0, root_up = rest > 0.0 ? 0x1.428a2f98d728bp+0 : 1.0;
    const double b = m * (rest < 0.0 ? 0.5 : up);
    const double guess = gg_poly_cbrt_f64(m) * (rest < 0.0 ? 0x1.965fea53d6e3dp-1 : root_up);
    /* One step of Halley's method, from a guess of 26 bits, whose square is exact. */
    const double y = gg_from_bits_f64(gg_bits_f64(guess) & 0xfffffffff8000000), square = y * y;
    const double cube = square * y, left = (b - cube) - gg_product_error_f64(square, y, cube);
    const double root = gg_scale_f64(y + y * left / gg_muladd_f64(2.0, cube, b), third);
    return a < INFINITY && a > 0.0 ? copysign(root, x) : x;
}

/* atan(t) for 0 <= t <= 1 is t + this. */
static inline double gg_atan_tail_f64(double t) {
    const double z = t * t;
    return t * z * gg_poly_atan_f64(z);
}

static inline double gg_arctan_f64(double x) {
    const double a = fabs(x), t = a > 1.0 ? 1.0 / a : a, tail = gg_atan_tail_f64(t);
    const double large = 0x1.921fb54442d18p+0 - (t + (tail - 0x1.1a62633145c07p-54));
    return copysign(a > 1.0 ? large : t + tail, x);
}

static inline double gg_arctan2_f64(double y, double x) {
    const double a = fabs(x), b = fabs(y);
    const double small = b > a ? a : b, large = b > a ? b : a;
    const double ratio = large == 0.0 ? 0.0 : small == INFINITY ? 1.0 : small / large;
    const double tail = gg_atan_tail_f64(ratio);
    const double steep = 0x1.921fb54442d18p+0 - (ratio + (tail - 0x1.1a62633145c07p-54));
    const double angle = b > a ? steep : ratio + tail;
    const double left = 0x1.921fb54442d18p+1 - (angle - 0x1.1a62633145c07p-53);
    const double turned = copysign(1.0, x) < 0.0 ? left : angle;
    return x != x || y != y ? x + y : copysign(turned, y);
}

/* asin(s) for 0 <= s <= 9/16 is s + this, of z = s^2. */
static inline double gg_asin_tail_f64(double s, double z) {
    return s * z * gg_poly_asin_f64(z);
}

static inline double gg_arcsin_f64(double x) {
    const double a = fabs(x), z = a < 0.5625 ? a * a : gg_muladd_f64(-0.5, a, 0.5);
    const double s = a < 0.5625 ? a : sqrt(z);
    const double tail = gg_asin_tail_f64(s, z);
    const double large = 0x1.921fb54442d18p+0 - (2.0 * s + (2.0 * tail - 0x1.1a62633145c07p-54));
    return copysign(a < 0.5625 ? s + tail : large, x);
}

static inline double gg_arccos_f64(double x) {
    const double a = fabs(x), z = a < 0.5625 ? a * a : gg_muladd_f64(-0.5, a, 0.5);
    const double s = a < 0.5625 ? a : sqrt(z);
    const double tail = gg_asin_tail_f64(s, z), twice = 2.0 * (s + tail);
    const double middle = 0x1.921fb54442d18p+0
        - (copysign(s, x) + (copysign(tail, x) - 0x1.1a62633145c07p-54));
    const double left = 0x1.921fb54442d18p+1 - (twice - 0x1.1a62633145c07p-53);
    return a < 0.5625 ? middle : x < 0.0 ? left : twice;
}

/* log(1 + s + s_low) for s >= 0 */
static inline double gg_log1p_sum_f64(double s, double s_low) {
    const double u = 1.0 + s, c = s < 1.0 ? s - (u - 1.0) : 1.0 - (u - s);
    return gg_log_sum_f64(u, c + s_low);
}

/* The same, or log(2 x) if x > 2^28. */
static inline double gg_log1p_or_log_f64(double s, double s_low, double x) {
    const double u = x > 0x1p28 ? x : 1.0 + s;
    const double c = s < 1.0 ? s - (u - 1.0) : 1.0 - (u - s);
    const double y = gg_log_sum_f64(u, x > 0x1p28 ? 0.0 : c + s_low);
    return x < INFINITY ? (x > 0x1p28 ? y + 0x1.62e42fefa39efp-1 : y) : x;
}

static inline double gg_arcsinh_f64(double x) {
    const double a = fabs(x), t = a > 0x1p28 ? 0x1p28 : a, square = t * t;
    const double q = square / (1.0 + sqrt(1.0 + square)), s = t + q;
    return copysign(gg_log1p_or_log_f64(s, q - (s - t), a), x);
}

static inline double gg_arccosh_f64(double x) {
    const double t = (x > 0x1p28 ? 0x1p28 : x) - 1.0, d = t + 2.0, square = t * d;
    const double square_low = gg_muladd_f64(t, t - (d - 2.0), gg_product_error_f64(t, d, square));
    /* The root of t (t + 2), with what its roundings left. */
    const double q = sqrt(square), back = q * q;
    const double left = (square - back) - gg_product_error_f64(q, q, back) + square_low;
    const double q_low = q > 0.0 ? 0.5 * left / q : 0.0, s = q + t;
    const double y = gg_log1p_or_log_f64(s, (t - (s - q)) + q_low, x);
    return x >= 1.0 ? y : NAN;
}

static inline double gg_arctanh_f64(double x) {
    const double a = fabs(x), d = 1.0 - a;
    const double s = gg_quotient_f64(2.0 * a, 0.0, d, (1.0 - d) - a);
    const double y = a == 1.0 ? INFINITY : 0.5 * gg_log1p_sum_f64(s, 0.0);
    return copysign(a <= 1.0 ? y : NAN, x);
}

static inline double gg_logaddexp_f64(double x, double y) {
    const double high = x > y ? x : y, low = x > y ? y : x, d = low - high;
    const double t = gg_clamp_f64(d, -746.0, 0.0), n = gg_exp_n_f64(t);
    const double small = gg_exp_small_f64(t, n), first = 1.0 + small;
    const double e = gg_scale_f64(first, n);
    const double e_low = e * (gg_sum_error_f64(low, -high, d) + (small - (first - 1.0)));
    const double sum = high + gg_log1p_sum_f64(e, e_low);
    const double limit = x != x ? x : y != y ? y : high;
    return x == y ? x + 0x1.62e42fefa39efp-1 : d > -INFINITY ? sum : limit;
}

static inline double gg_hypot_f64(double x, double y) {
    const double a = fabs(x), b = fabs(y), large = a > b ? a : b, small = a > b ? b : a;
    const double up = large < 0x1p-500 ? 0x1p600 : 1.0;
    const double scale = large > 0x1p500 ? 0x1p-600 : up, back = large > 0x1p500 ? 0x1p600 : 1.0;
    const double c = large * scale, d = small * scale;
    const double root = sqrt(c * c + d * d) * (large < 0x1p-500 ? 0x1p-600 : back);
    return a == INFINITY ? a : b == INFINITY ? b : root;
}
