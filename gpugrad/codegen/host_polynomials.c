/* Written by ci/minimax.py, which says how. Errors are those of the function that
   the polynomial is a part of. */

/* (exp(x) - 1 - x) / x^2, |x| <= 0.35: error 2^-27.6 */
static inline float gg_poly_exp_f32(float x) {
    const float z = x * x;
    float even = 1.3813162e-03f;
    even = gg_muladd_f32(even, z, 4.1668456e-02f);
    even = gg_muladd_f32(even, z, 4.9999994e-01f);
    float odd = 8.36941e-03f;
    odd = gg_muladd_f32(odd, z, 1.6666515e-01f);
    return gg_muladd_f32(odd, x, even);
}

/* (exp(x) - 1 - x) / x^2, |x| <= 0.35: error 2^-59.9 */
static inline double gg_poly_exp_f64(double x) {
    const double z = x * x;
    double even = 2.082564776405937e-09;
    even = gg_muladd_f64(even, z, 2.7557592251918494e-07);
    even = gg_muladd_f64(even, z, 2.4801586904116976e-05);
    even = gg_muladd_f64(even, z, 0.0013888888889133967);
    even = gg_muladd_f64(even, z, 0.04166666666666603);
    even = gg_muladd_f64(even, z, 0.5);
    double odd = 2.5113212747544702e-08;
    odd = gg_muladd_f64(odd, z, 2.755723152115773e-06);
    odd = gg_muladd_f64(odd, z, 0.00019841269899687828);
    odd = gg_muladd_f64(odd, z, 0.008333333333315719);
    odd = gg_muladd_f64(odd, z, 0.16666666666666685);
    return gg_muladd_f64(odd, x, even);
}

/* (log((1 + s) / (1 - s)) / s - 2) / s^2 in x = s^2, 0 <= s <= 0.1716: error 2^-30.1 */
static inline float gg_poly_log_f32(float x) {
    const float z = x * x;
    float even = 2.9872766e-01f;
    even = gg_muladd_f32(even, z, 6.6666776e-01f);
    float odd = 3.9977506e-01f;
    return gg_muladd_f32(odd, x, even);
}

/* (log((1 + s) / (1 - s)) / s - 2) / s^2 in x = s^2, 0 <= s <= 0.1716: error 2^-59.0 */
static inline double gg_poly_log_f64(double x) {
    const double z = x * x;
    double even = 0.1479715364767359;
    even = gg_muladd_f64(even, z, 0.1818356850851192);
    even = gg_muladd_f64(even, z, 0.28571428743063476);
    even = gg_muladd_f64(even, z, 0.6666666666666735);
    double odd = 0.15313936736003875;
    odd = gg_muladd_f64(odd, z, 0.22222198498102658);
    odd = gg_muladd_f64(odd, z, 0.3999999999941191);
    return gg_muladd_f64(odd, x, even);
}

/* (sin(r) - r) / r^3 in x = r^2, r <= pi / 4: error 2^-56.8 */
static inline double gg_poly_sin_f64(double x) {
    const double z = x * x;
    double even = -2.5050743342936867e-08;
    even = gg_muladd_f64(even, z, -0.00019841269829513363);
    even = gg_muladd_f64(even, z, -0.1666666666666663);
    double odd = 1.5895966441742416e-10;
    odd = gg_muladd_f64(odd, z, 2.755731359403076e-06);
    odd = gg_muladd_f64(odd, z, 0.008333333333322026);
    return gg_muladd_f64(odd, x, even);
}

/* (cos(r) - 1 + r^2 / 2) / r^4 in x = r^2, r <= pi / 4: error 2^-59.2 */
static inline double gg_poly_cos_f64(double x) {
    const double z = x * x;
    double even = 2.087569738423307e-09;
    even = gg_muladd_f64(even, z, 2.48015872887679e-05);
    even = gg_muladd_f64(even, z, 0.041666666666666595);
    double odd = -1.1358353424236264e-11;
    odd = gg_muladd_f64(odd, z, -2.755731415445961e-07);
    odd = gg_muladd_f64(odd, z, -0.0013888888888872926);
    return gg_muladd_f64(odd, x, even);
}

/* sin(pi r) / r in x = r^2, r <= 0.51: error 2^-43.5 */
static inline double gg_poly_sinpi_mid(double x) {
    const double z = x * x;
    double even = 0.0004464381635235859;
    even = gg_muladd_f64(even, z, 0.08214458628935202);
    even = gg_muladd_f64(even, z, 2.5501640344329273);
    even = gg_muladd_f64(even, z, 3.141592653589533);
    double odd = -0.007363239493058706;
    odd = gg_muladd_f64(odd, z, -0.5992644078520354);
    odd = gg_muladd_f64(odd, z, -5.167712779957518);
    return gg_muladd_f64(odd, x, even);
}

/* (2^x - 1) / x, |x| <= 1/2: error 2^-25.5 */
static inline float gg_poly_exp2_f32(float x) {
    const float z = x * x;
    float even = 1.3406643e-03f;
    even = gg_muladd_f32(even, z, 5.5503104e-02f);
    even = gg_muladd_f32(even, z, 6.9314724e-01f);
    float odd = 1.5594676e-04f;
    odd = gg_muladd_f32(odd, z, 9.617693e-03f);
    odd = gg_muladd_f32(odd, z, 2.4022652e-01f);
    return gg_muladd_f32(odd, x, even);
}

/* (2^x - 1) / x, |x| <= 1/2: error 2^-32.0 */
static inline double gg_poly_exp2_mid(double x) {
    const double z = x * x;
    double even = 1.3359841381715681e-05;
    even = gg_muladd_f64(even, z, 0.0013341950972468415);
    even = gg_muladd_f64(even, z, 0.05550400375327768);
    even = gg_muladd_f64(even, z, 0.6931471838168834);
    double odd = 0.0001546136780688407;
    odd = gg_muladd_f64(odd, z, 0.009618056918717236);
    odd = gg_muladd_f64(odd, z, 0.2402265092078964);
    return gg_muladd_f64(odd, x, even);
}

/* log2(1 + x) / x, sqrt(1/2) <= 1 + x <= sqrt(2): error 2^-35.3 */
static inline double gg_poly_log2_mid(double x) {
    const double z = x * x;
    double even = 0.0773707695664807;
    even = gg_muladd_f64(even, z, 0.14474841376095265);
    even = gg_muladd_f64(even, z, 0.15876979531112334);
    even = gg_muladd_f64(even, z, 0.20617536037193726);
    even = gg_muladd_f64(even, z, 0.2885372934355066);
    even = gg_muladd_f64(even, z, 0.48089836139587655);
    even = gg_muladd_f64(even, z, 1.4426950408687054);
    double odd = -0.14283964043534877;
    odd = gg_muladd_f64(odd, z, -0.14315638464360844);
    odd = gg_muladd_f64(odd, z, -0.18030060795314837);
    odd = gg_muladd_f64(odd, z, -0.2404531653429093);
    odd = gg_muladd_f64(odd, z, -0.3606736748316546);
    odd = gg_muladd_f64(odd, z, -0.7213475208687402);
    return gg_muladd_f64(odd, x, even);
}

/* erf(r) / r - 1 in x = r^2, r <= 1: error 2^-27.7 */
static inline float gg_poly_erf_f32(float x) {
    const float z = x * x;
    float even = 7.853861e-05f;
    even = gg_muladd_f32(even, z, 5.1883277e-03f);
    even = gg_muladd_f32(even, z, 1.12835854e-01f);
    even = gg_muladd_f32(even, z, 1.2837917e-01f);
    float odd = -8.0101937e-04f;
    odd = gg_muladd_f32(odd, z, -2.6853811e-02f);
    odd = gg_muladd_f32(odd, z, -3.7612626e-01f);
    return gg_muladd_f32(odd, x, even);
}

/* erf(r) / r - 1 in x = r^2, r <= 1: error 2^-45.6 */
static inline double gg_poly_erf_mid(double x) {
    const double z = x * x;
    double even = 1.529521744934529e-06;
    even = gg_muladd_f64(even, z, 0.00012046046403258494);
    even = gg_muladd_f64(even, z, 0.005223966745828106);
    even = gg_muladd_f64(even, z, 0.11283791657674792);
    even = gg_muladd_f64(even, z, 0.12837916709549171);
    double odd = -1.0444480090823053e-07;
    odd = gg_muladd_f64(odd, z, -1.4792924231334599e-05);
    odd = gg_muladd_f64(odd, z, -0.0008547920950154);
    odd = gg_muladd_f64(odd, z, -0.026866168962346674);
    odd = gg_muladd_f64(odd, z, -0.37612638902775164);
    return gg_muladd_f64(odd, x, even);
}

/* erf(r) / r - 1 in x = r^2, r <= 1: error 2^-56.3 */
static inline double gg_poly_erf_f64(double x) {
    const double z = x * x;
    double even = 2.8016246035554214e-13;
    even = gg_muladd_f64(even, z, 9.322601025543619e-11);
    even = gg_muladd_f64(even, z, 1.4806002048147835e-08);
    even = gg_muladd_f64(even, z, 1.6462110660419594e-06);
    even = gg_muladd_f64(even, z, 0.00012055332978736277);
    even = gg_muladd_f64(even, z, 0.005223977625441639);
    even = gg_muladd_f64(even, z, 0.11283791670955126);
    even = gg_muladd_f64(even, z, 0.1283791670955126);
    double odd = -6.193160192826211e-12;
    odd = gg_muladd_f64(odd, z, -1.2277526961049672e-09);
    odd = gg_muladd_f64(odd, z, -1.6365766563706817e-07);
    odd = gg_muladd_f64(odd, z, -1.4925650231969973e-05);
    odd = gg_muladd_f64(odd, z, -0.0008548327023400214);
    odd = gg_muladd_f64(odd, z, -0.026866170645131218);
    odd = gg_muladd_f64(odd, z, -0.37612638903183754);
    return gg_muladd_f64(odd, x, even);
}

/* (1 + 2 y) exp(y^2) erfc(y) - 5 / 4 in x = (y - 4) / (y + 4), 1 / 2 <= y <= 28: error 2^-33.3 */
static inline double gg_poly_erfcx_mid(double x) {
    const double z = x * x;
    double even = 0.0001294979107088547;
    even = gg_muladd_f64(even, z, -0.0007415890000261547);
    even = gg_muladd_f64(even, z, -0.016204020206270923);
    even = gg_muladd_f64(even, z, -0.06632908340027054);
    even = gg_muladd_f64(even, z, -0.10103919395349449);
    even = gg_muladd_f64(even, z, 0.01537965703480911);
    even = gg_muladd_f64(even, z, -0.0170048814065545);
    double odd = -0.0002338421916434719;
    odd = gg_muladd_f64(odd, z, 0.005054284475371056);
    odd = gg_muladd_f64(odd, z, 0.037160265927906014);
    odd = gg_muladd_f64(odd, z, 0.09373400141603015);
    odd = gg_muladd_f64(odd, z, 0.06809697323769633);
    odd = gg_muladd_f64(odd, z, -0.13962111523122445);
    return gg_muladd_f64(odd, x, even);
}

/* (1 + 2 y) exp(y^2) erfc(y) - 5 / 4 in x = (y - 4) / (y + 4), 1 / 2 <= y <= 28: error 2^-57.0 */
static inline double gg_poly_erfcx_f64(double x) {
    const double z = x * x;
    double even = -1.2138835844938216e-08;
    even = gg_muladd_f64(even, z, 6.679376899721841e-08);
    even = gg_muladd_f64(even, z, 2.9982213992578475e-07);
    even = gg_muladd_f64(even, z, -1.1224898753222874e-05);
    even = gg_muladd_f64(even, z, 0.00015062255807642345);
    even = gg_muladd_f64(even, z, -0.0007577734632812432);
    even = gg_muladd_f64(even, z, -0.01619773403622484);
    even = gg_muladd_f64(even, z, -0.06633036581376883);
    even = gg_muladd_f64(even, z, -0.10103906603624735);
    even = gg_muladd_f64(even, z, 0.01537965210261893);
    even = gg_muladd_f64(even, z, -0.01700488137444749);
    double odd = -1.006838890719904e-08;
    odd = gg_muladd_f64(odd, z, 1.0443850147030734e-07);
    odd = gg_muladd_f64(odd, z, -8.209393768565694e-07);
    odd = gg_muladd_f64(odd, z, 5.707458385827039e-06);
    odd = gg_muladd_f64(odd, z, -2.4398452379795217e-05);
    odd = gg_muladd_f64(odd, z, -0.00019925686416593608);
    odd = gg_muladd_f64(odd, z, 0.005031970002430863);
    odd = gg_muladd_f64(odd, z, 0.03716751553531805);
    odd = gg_muladd_f64(odd, z, 0.09373283499845658);
    odd = gg_muladd_f64(odd, z, 0.06809705425469023);
    odd = gg_muladd_f64(odd, z, -0.1396211168405625);
    return gg_muladd_f64(odd, x, even);
}

/* (tanh(r) - r) / r^3 in x = r^2, r <= 0.6: error 2^-27.8 */
static inline float gg_poly_tanh_f32(float x) {
    const float z = x * x;
    float even = -5.8951583e-03f;
    even = gg_muladd_f32(even, z, -5.378383e-02f);
    even = gg_muladd_f32(even, z, -3.33333e-01f);
    float odd = 2.0795971e-02f;
    odd = gg_muladd_f32(odd, z, 1.3331924e-01f);
    return gg_muladd_f32(odd, x, even);
}

/* (sinh(r) - r) / r^3 in x = r^2, r <= 1: error 2^-27.5 */
static inline float gg_poly_sinh_f32(float x) {
    const float z = x * x;
    float even = 1.983616e-04f;
    even = gg_muladd_f32(even, z, 1.6666667e-01f);
    float odd = 2.8169513e-06f;
    odd = gg_muladd_f32(odd, z, 8.33335e-03f);
    return gg_muladd_f32(odd, x, even);
}

/* (sinh(r) - r) / r^3 in x = r^2, r <= 1: error 2^-56.6 */
static inline double gg_poly_sinh_f64(double x) {
    const double z = x * x;
    double even = 7.758748814836251e-13;
    even = gg_muladd_f64(even, z, 2.5052123136729744e-08);
    even = gg_muladd_f64(even, z, 0.00019841269841431873);
    even = gg_muladd_f64(even, z, 0.16666666666666669);
    double odd = 1.6057259768231587e-10;
    odd = gg_muladd_f64(odd, z, 2.7557319157071836e-06);
    odd = gg_muladd_f64(odd, z, 0.008333333333333148);
    return gg_muladd_f64(odd, x, even);
}

/* (atan(r) - r) / r^3 in x = r^2, r <= 1: error 2^-26.1 */
static inline float gg_poly_atan_f32(float x) {
    float y = -1.7936244e-03f;
    y = gg_muladd_f32(y, x, 1.0914618e-02f);
    y = gg_muladd_f32(y, x, -3.117787e-02f);
    y = gg_muladd_f32(y, x, 5.795762e-02f);
    y = gg_muladd_f32(y, x, -8.403452e-02f);
    y = gg_muladd_f32(y, x, 1.09521866e-01f);
    y = gg_muladd_f32(y, x, -1.4264242e-01f);
    y = gg_muladd_f32(y, x, 1.9998549e-01f);
    y = gg_muladd_f32(y, x, -3.33333e-01f);
    return y;
}

/* (atan(r) - r) / r^3 in x = r^2, r <= 1: error 2^-56.4 */
static inline double gg_poly_atan_f64(double x) {
    double y = -8.654115075797031e-06;
    y = gg_muladd_f64(y, x, 0.00010387084704066052);
    y = gg_muladd_f64(y, x, -0.0005928876370336034);
    y = gg_muladd_f64(y, x, 0.0021515695227743606);
    y = gg_muladd_f64(y, x, -0.005612345250025184);
    y = gg_muladd_f64(y, x, 0.011317580720881381);
    y = gg_muladd_f64(y, x, -0.01861411194703064);
    y = gg_muladd_f64(y, x, 0.026151583931703134);
    y = gg_muladd_f64(y, x, -0.032785367922586385);
    y = gg_muladd_f64(y, x, 0.0382100290942581);
    y = gg_muladd_f64(y, x, -0.0428638934346667);
    y = gg_muladd_f64(y, x, 0.047449255566772534);
    y = gg_muladd_f64(y, x, -0.05259433633468157);
    y = gg_muladd_f64(y, x, 0.05881716120997995);
    y = gg_muladd_f64(y, x, -0.0666658371749839);
    y = gg_muladd_f64(y, x, 0.07692299711149657);
    y = gg_muladd_f64(y, x, -0.0909090854720243);
    y = gg_muladd_f64(y, x, 0.11111111086444334);
    y = gg_muladd_f64(y, x, -0.14285714285036522);
    y = gg_muladd_f64(y, x, 0.19999999999990445);
    y = gg_muladd_f64(y, x, -0.33333333333333287);
    return y;
}

/* (asin(r) - r) / r^3 in x = r^2, r <= 9 / 16: error 2^-28.2 */
static inline float gg_poly_asin_f32(float x) {
    const float z = x * x;
    float even = 6.70071e-03f;
    even = gg_muladd_f32(even, z, 4.4229656e-02f);
    even = gg_muladd_f32(even, z, 1.6666631e-01f);
    float odd = 4.7527853e-02f;
    odd = gg_muladd_f32(odd, z, 3.402586e-02f);
    odd = gg_muladd_f32(odd, z, 7.502117e-02f);
    return gg_muladd_f32(odd, x, even);
}

/* (asin(r) - r) / r^3 in x = r^2, r <= 9 / 16: error 2^-57.6 */
static inline double gg_poly_asin_f64(double x) {
    const double z = x * x;
    double even = -0.07679880026828302;
    even = gg_muladd_f64(even, z, -0.021704713561907295);
    even = gg_muladd_f64(even, z, 0.007760781888755789);
    even = gg_muladd_f64(even, z, 0.013930254336955343);
    even = gg_muladd_f64(even, z, 0.022372017785952072);
    even = gg_muladd_f64(even, z, 0.044642857046279426);
    even = gg_muladd_f64(even, z, 0.1666666666666632);
    double odd = 0.05984117364051501;
    odd = gg_muladd_f64(odd, z, 0.06865895170984945);
    odd = gg_muladd_f64(odd, z, 0.017500163560702723);
    odd = gg_muladd_f64(odd, z, 0.011863992241976479);
    odd = gg_muladd_f64(odd, z, 0.01735544684861007);
    odd = gg_muladd_f64(odd, z, 0.03038194924741799);
    odd = gg_muladd_f64(odd, z, 0.07500000000098);
    return gg_muladd_f64(odd, x, even);
}

/* the cube root of x, sqrt(1/2) <= x <= sqrt(2): error 2^-30.8 */
static inline double gg_poly_cbrt_mid(double x) {
    const double z = x * x;
    double even = -0.11502902152730952;
    even = gg_muladd_f64(even, z, -1.5786850982857725);
    even = gg_muladd_f64(even, z, -3.875518562904258);
    even = gg_muladd_f64(even, z, -2.51213738658285);
    even = gg_muladd_f64(even, z, 0.3502732969446025);
    double odd = 0.010742421744447592;
    odd = gg_muladd_f64(odd, z, 0.5534051972834182);
    odd = gg_muladd_f64(odd, z, 2.968788449591047);
    odd = gg_muladd_f64(odd, z, 3.619701988486733);
    odd = gg_muladd_f64(odd, z, 1.5784587151106);
    return gg_muladd_f64(odd, x, even);
}

/* the cube root of x, sqrt(1/2) <= x <= sqrt(2): error 2^-22.5 */
static inline double gg_poly_cbrt_f64(double x) {
    const double z = x * x;
    double even = -0.020381648807969787;
    even = gg_muladd_f64(even, z, -0.5148432105753273);
    even = gg_muladd_f64(even, z, -1.1870007405418006);
    even = gg_muladd_f64(even, z, 0.39835722148666736);
    double odd = 0.15575028637859023;
    odd = gg_muladd_f64(odd, z, 0.9710652475570808);
    odd = gg_muladd_f64(odd, z, 1.1970527210924362);
    return gg_muladd_f64(odd, x, even);
}

/* (log((1 + s) / (1 - s)) / (2 s) - 1 - s^2 / 3) / s^4 in x = s^2, s <= 0.1716: error 2^-66.3 */
static inline double gg_poly_pow_f64(double x) {
    const double z = x * x;
    double even = 0.058373456391834555;
    even = gg_muladd_f64(even, z, 0.07692278354287005);
    even = gg_muladd_f64(even, z, 0.11111111108758555);
    even = gg_muladd_f64(even, z, 0.1999999999999999);
    double odd = 0.05995037221433868;
    odd = gg_muladd_f64(odd, z, 0.06668161838512857);
    odd = gg_muladd_f64(odd, z, 0.09090909436346145);
    odd = gg_muladd_f64(odd, z, 0.14285714285722595);
    return gg_muladd_f64(odd, x, even);
}

/* log(erfc(x)), 0.9 <= x <= 4: error 2^-26.2 */
static inline float gg_poly_erfc_f32(float x) {
    const float z = x * x;
    float even = 4.3139252e-04f;
    even = gg_muladd_f32(even, z, 2.5080604e-02f);
    even = gg_muladd_f32(even, z, -6.3340086e-01f);
    even = gg_muladd_f32(even, z, 1.692038e-04f);
    float odd = -2.0828524e-05f;
    odd = gg_muladd_f32(odd, z, -4.15625e-03f);
    odd = gg_muladd_f32(odd, z, -1.0822037e-01f);
    odd = gg_muladd_f32(odd, z, -1.1294883e+00f);
    return gg_muladd_f32(odd, x, even);
}
