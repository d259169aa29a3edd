/* vec.h - the mathematical functions of kernels: vec_exp, vec_log, vec_tanh...
 * of `real`.  Float: branch-free straight-line code that the compiler turns
 * into vectors inside any loop; the scalar tail of a loop does the same
 * operations, so it gives the same bits.  Double: libm under the same names,
 * so that the double build of a kernel is its oracle.
 *
 * Errors are measured over all floats by tests/graph/test_elementwise.c, in
 * units in the last place.  NaN gives NaN; zeros keep their sign; infinities,
 * subnormals, overflow and underflow are as in C (Annex F) but without errno
 * and flags.  The rounding mode must be to nearest.
 *
 * Polynomials and rationals are our own minimax fits (Remez and Lawson), good
 * to 2^-26 of the value or better before rounding. */
#ifndef GENET_DEVICE_CPU_VEC_H
#define GENET_DEVICE_CPU_VEC_H
#include <float.h>
#include "device/cpu/kernel.h"

#define VEC_FN static inline __attribute__((always_inline))

/* 1: float, 2: double, 3: int32_t. */
#define VEC_IS_float    1
#define VEC_IS_double   2
#define VEC_IS_int32_t  3
#define VEC_IS_(type)   VEC_IS_##type
#define VEC_IS(type)    VEC_IS_(type)
#define VEC_REAL        VEC_IS(REAL)

/* Before a loop whose result may be exactly an input: no element is needed after it is written. */
#ifndef __clang__
#define IN_PLACE _Pragma("GCC ivdep")
#elif VEC_REAL == 1
#define IN_PLACE _Pragma("clang loop vectorize(assume_safety)")
#else
#define IN_PLACE                /* libm calls: clang would complain */
#endif

/* a b + c: with one rounding where the build has FMA, else with two. */
#ifdef __FMA__
VEC_FN float  vec_fma32(float a, float b, float c)    { return __builtin_fmaf(a, b, c); }
VEC_FN double vec_fma64(double a, double b, double c) { return __builtin_fma(a, b, c); }
#else
VEC_FN float  vec_fma32(float a, float b, float c)    { return a * b + c; }
VEC_FN double vec_fma64(double a, double b, double c) { return a * b + c; }
#endif

VEC_FN uint32_t vec_bits(float x)       { uint32_t u; memcpy(&u, &x, 4); return u; }
VEC_FN float    vec_float(uint32_t u)   { float x; memcpy(&x, &u, 4); return x; }
VEC_FN uint64_t vec_bits64(double x)    { uint64_t u; memcpy(&u, &x, 8); return u; }

#if VEC_REAL == 1

VEC_FN float vec_fma(float a, float b, float c) { return vec_fma32(a, b, c); }
VEC_FN float vec_fabs(float x)          { return __builtin_fabsf(x); }
VEC_FN float vec_sqrt(float x)          { return __builtin_sqrtf(x); }      /* 0.5 ulp */
VEC_FN float vec_rsqrt(float x)         { return 1 / __builtin_sqrtf(x); }  /* 1 ulp */
VEC_FN bool  vec_isnan(float x)         { return x != x; }

/* --- to whole numbers: exact ------------------------------------------------ */

/* To nearest, halves to even. */
VEC_FN float vec_rint(float x)
{
#ifdef __SSE4_1__
    return __builtin_rintf(x);
#else
    float a = vec_fabs(x), r = (a + 0x1p23f) - 0x1p23f;
    return __builtin_copysignf(a < 0x1p23f ? r : a, x);
#endif
}

VEC_FN float vec_floor(float x)
{
#ifdef __SSE4_1__
    return __builtin_floorf(x);
#else
    float r = vec_rint(x);
    return r > x ? r - 1 : r;
#endif
}

/* --- the exponential family --------------------------------------------------
 * x = k ln 2 + r with |r| <= ln 2 / 2; adding VEC_ROUND rounds to whole and
 * leaves k in the low bits.  ln 2 in two parts, the first of 9 bits, so that
 * k times it is exact. */

#define VEC_ROUND       0x1.8p23f
#define VEC_ROUND64     0x1.8p52
#define VEC_LOG2E       1.44269504f
#define VEC_LN2         0.693147180559945309
#define VEC_LN2_HI      0.693359375f
#define VEC_LN2_LO      -2.12194440e-4f

/* e^r - 1 for |r| <= ln 2 / 2: r + r^2 (...). */
VEC_FN float vec__expm1_small(float r)
{
    float q = 1.388252480e-03f;
    q = vec_fma32(q, r, 8.366520517e-03f);
    q = vec_fma32(q, r, 4.166720062e-02f);
    q = vec_fma32(q, r, 1.666654348e-01f);
    q = vec_fma32(q, r, 4.999999702e-01f);
    return vec_fma32(r * r, q, r);
}

/* x 2^k for -160 <= k <= 130, in two steps so that only the last one rounds. */
VEC_FN float vec__scale(float x, int32_t k)
{
    int32_t half = k >> 1;
    return x * vec_float((uint32_t)(half + 127) << 23) * vec_float((uint32_t)(k - half + 127) << 23);
}

VEC_FN float vec__exp_reduce(float x, int32_t *k)
{
    float t = vec_fma32(x, VEC_LOG2E, VEC_ROUND), n = t - VEC_ROUND;
    *k = (int32_t)(vec_bits(t) - vec_bits(VEC_ROUND));
    return vec_fma32(n, -VEC_LN2_LO, vec_fma32(n, -VEC_LN2_HI, x));
}

VEC_FN float vec_exp(float x)
{
    x = x > 89 ? 89 : x;
    x = x < -105 ? -105 : x;
    int32_t k;
    float r = vec__exp_reduce(x, &k);
    return vec__scale(1 + vec__expm1_small(r), k);
}

/* e^x of an x <= 0, or above it by an error of rounding: one end to guard, and a single step of
 * scaling, from 64 places above. */
VEC_FN float vec_exp_neg(float x)
{
    x = x < -105 ? -105 : x;
    float t = vec_fma32(x, VEC_LOG2E, VEC_ROUND), n = t - VEC_ROUND;
    float r = vec_fma32(n, -VEC_LN2_LO, vec_fma32(n, -VEC_LN2_HI, x));
    return (1 + vec__expm1_small(r)) * vec_float((vec_bits(t) << 23) + (191u << 23)) * 0x1p-64f;
}

/* e^(x + low), low up to 0.05: for an x that is a product known in two parts,
 * because its rounding to float would be magnified up to 100 times. */
VEC_FN float vec__exp_sum(float x, float low)
{
    x = x > 89 ? 89 : x;
    x = x < -105 ? -105 : x;
    int32_t k;
    float r = vec__exp_reduce(x, &k) + low;
    return vec__scale(1 + vec__expm1_small(r), k);
}

/* The same for an x known in double. */
VEC_FN float vec_exp_wide(double x)
{
    x = x > 89 ? 89 : x;
    x = x < -105 ? -105 : x;
    double t = vec_fma64(x, 1.44269504088896341, VEC_ROUND64), n = t - VEC_ROUND64;
    float r = (float)vec_fma64(n, -VEC_LN2, x);
    return vec__scale(1 + vec__expm1_small(r), (int32_t)(uint32_t)vec_bits64(t));
}

/* e^-u for the u of GELU by tanh, 2 sqrt(2/pi) (b + 0.044715 b^3), b >= 0: as 2^-(b s), s =
 * p + q b^2 being known in two parts, because an error of u is magnified up to 100 times. */
VEC_FN float vec_gelu_exp(float b)
{
#ifdef __FMA__
    const float p = 2.30220818f, p_low = 1.29484024e-08f, q = 1.02943242e-01f, q_low = -2.01619843e-09f;
    b = b > 11 ? 11 : b;                                    /* 2^-160 */
    float square = b * b, square_low = vec_fma32(b, b, -square);
    float m = q * square, m_low = vec_fma32(q, square, -m), s = p + m, back = s - p;
    float low = (p - (s - back)) + (m - back) + (m_low + vec_fma32(q_low, square, vec_fma32(q, square_low, p_low)));
    float t = vec_fma32(-b, s, VEC_ROUND), n = t - VEC_ROUND;
    float r = vec_fma32(-b, low, vec_fma32(-b, s, -n)), y = 1.535336117e-04f;      /* 2^r, |r| <= 1/2 */
    y = vec_fma32(y, r, 1.339887466e-03f);
    y = vec_fma32(y, r, 9.618437363e-03f);
    y = vec_fma32(y, r, 5.550332470e-02f);
    y = vec_fma32(y, r, 2.402264791e-01f);
    y = vec_fma32(y, r, 6.931472029e-01f);
    y = vec_fma32(y, r, 1);
    return y * vec_float((vec_bits(t) << 23) + (191u << 23)) * 0x1p-64f;
#else
    return vec_exp_wide(-1.5957691216057308 * b * (1 + 0.044715 * b * b));
#endif
}

/* The slope of GELU by tanh at a, to 3e-7: with z = e^-u(b), b = |a|, and w = b u'(b) it is (1 + z + z w) / (1 + z)^2,
 * and z (1 + z - w) / (1 + z)^2 below 0.  From 9.9 on it is that of 9.9, where z = 2^-123 is still normal. */
VEC_FN float vec_gelu_slope(float a)
{
    float b = vec_fabs(a);
    b = b > 9.9f ? 9.9f : b;
    float square = b * b, s = vec_fma32(square, 1.02943242e-01f, 2.30220818f);
    float t = vec_fma32(-b, s, VEC_ROUND), r = vec_fma32(-b, s, -(t - VEC_ROUND)), y = 1.326472731e-03f;
    y = vec_fma32(y, r, 9.671512991e-03f);
    y = vec_fma32(y, r, 5.550733581e-02f);
    y = vec_fma32(y, r, 2.402224243e-01f);
    y = vec_fma32(y, r, 6.931470037e-01f);
    y = vec_fma32(y, r, 1);
    float z = vec_float(vec_bits(y) + (vec_bits(t) << 23)), e = 1 + z;
    float w = __builtin_copysignf(b * vec_fma32(square, 2.14064449e-01f, 1.59576912f), a);
    return vec_fma32(z, w, (a < 0 ? z : 1) * e) / (e * e);
}

/* 2^k (e^r - 1) + (2^k - 1), halved so that k = 128 fits. */
VEC_FN float vec_expm1(float x)
{
    float c = x > 89 ? 89 : x;
    c = c < -20 ? -20 : c;
    int32_t k;
    float p = vec__expm1_small(vec__exp_reduce(c, &k)), s = vec_float((uint32_t)(k + 126) << 23);
    float y = 2 * vec_fma32(s, p, s - 0.5f);
    return vec_fabs(x) < 1e-20f ? x : y;
}

/* With e = e^2|x| - 1: e / (e + 2); from |x| = 10 on the result is 1. */
VEC_FN float vec_tanh(float x)
{
    float a = 2 * vec_fabs(x);
    a = a > 20 ? 20 : a;
    int32_t k;
    float p = vec__expm1_small(vec__exp_reduce(a, &k)), s = vec_float((uint32_t)(k + 127) << 23);
    float e = vec_fma32(s, p, s - 1);
    return __builtin_copysignf(e / (e + 2), x);
}

/* --- logarithms ---------------------------------------------------------------
 * x = 2^e (1 + f) with 1 + f in [2/3, 4/3). */

/* log(1 + f) - f = f^2 (...). */
VEC_FN float vec__log_tail(float f)
{
    float w = -1.294966936e-01f;
    w = vec_fma32(w, f, 1.400543451e-01f);
    w = vec_fma32(w, f, -1.216700375e-01f);
    w = vec_fma32(w, f, 1.400103420e-01f);
    w = vec_fma32(w, f, -1.668231636e-01f);
    w = vec_fma32(w, f, 2.001075447e-01f);
    w = vec_fma32(w, f, -2.499971688e-01f);
    w = vec_fma32(w, f, 3.333320916e-01f);
    w = vec_fma32(w, f, -0.5f);
    return f * f * w;
}

VEC_FN int32_t vec__log_exponent(float x) { return (int32_t)(vec_bits(x) - 0x3f2aaaabu) >> 23; }

VEC_FN float vec__log_join(float f, float e)
{
    return vec_fma32(e, VEC_LN2_HI, vec_fma32(e, VEC_LN2_LO, vec__log_tail(f)) + f);
}

/* f and e of x > 0, subnormal x included. */
VEC_FN float vec__log_reduce(float x, float *e)
{
    float s = x < FLT_MIN ? x * 0x1p23f : x, shift = x < FLT_MIN ? -23 : 0;
    int32_t k = vec__log_exponent(s);
    *e = (float)k + shift;
    return vec_float(vec_bits(s) - ((uint32_t)k << 23)) - 1;
}

VEC_FN float vec_log(float x)
{
    float e, f = vec__log_reduce(x, &e), y = vec__log_join(f, e);
    y = x < INFINITY ? y : x;           /* infinity, NaN */
    y = x < 0 ? NAN : y;
    return x == 0 ? -INFINITY : y;
}

/* e is that of 1 + x, and f = x 2^-e + (2^-e - 1) nearly without error; in
 * quarters, so that 2^-128 needs no subnormal. */
VEC_FN float vec_log1p(float x)
{
    int32_t k = vec__log_exponent(1 + x);
    float s = vec_float((uint32_t)(129 - k) << 23);
    float y = vec__log_join(vec_fma32(0.25f * x, s, vec_fma32(0.25f, s, -1)), (float)k);
    y = x < INFINITY ? y : x;
    y = x < -1 ? NAN : y;
    y = x == -1 ? -INFINITY : y;
    return vec_fabs(x) < 1e-20f ? x : y;
}

/* log x of x >= 0 to 2^-35 of its value. */
VEC_FN double vec__log_wide(float x)
{
    float e;
    double f = vec__log_reduce(x, &e), q = 1.0905591421666933e-01;
    q = vec_fma64(q, f, -1.1505320522672223e-01);
    q = vec_fma64(q, f, 8.5702606795693081e-02);
    q = vec_fma64(q, f, -9.5308316762694301e-02);
    q = vec_fma64(q, f, 1.1151296058552412e-01);
    q = vec_fma64(q, f, -1.2532177210968293e-01);
    q = vec_fma64(q, f, 1.4284159747217445e-01);
    q = vec_fma64(q, f, -1.6665610984975238e-01);
    q = vec_fma64(q, f, 2.0000027738933251e-01);
    q = vec_fma64(q, f, -2.5000014646612045e-01);
    q = vec_fma64(q, f, 3.3333333165280421e-01);
    q = vec_fma64(q, f, -4.9999999943406814e-01);
    double y = vec_fma64((double)e, VEC_LN2, vec_fma64(f * f, q, f));
    y = x < INFINITY ? y : (double)x;
    return x == 0 ? -(double)INFINITY : y;
}

/* |x|^y as e^(y log|x|), then the sign and the special cases of C, Annex F. */
VEC_FN float vec_pow(float x, float y)
{
    float a = vec_fabs(x), m = vec_exp_wide((double)y * vec__log_wide(a));
    float whole = vec_floor(y), half = vec_floor(0.5f * y);
    bool even = half * 2 == y;
    m = ((x < 0) & (a < INFINITY) & (whole != y)) ? NAN : m;
    m = ((whole == y) & !even) ? __builtin_copysignf(m, x) : m;
    return ((y == 0) | (x == 1) | ((a == 1) & (vec_fabs(y) == INFINITY))) ? 1 : m;
}

/* --- sine and cosine ------------------------------------------------------------
 * x = (n + frac) pi/2, right for every float: x = v 16^k, and entry k is
 * 16^k (2/pi) mod 4: 27 binary places, whose product with v is exact in
 * double, and the rest (Payne and Hanek 1983). */

static const double vec__quadrant_high[27] = {
    0x1.45f306cp-1, -0x1.d067c92p+0, -0x1.067c91cp+0, -0x1.9f246c8p-2, 0x1.836e4e4p+0,
    0x1.b72722p-3, -0x1.236378p-1, -0x1.1b1bbecp+0, -0x1.b1bbeaep+0, 0x1.c882a5p-1,
    -0x1.bbead62p+0, 0x1.054a7fp-2, 0x1.529fc2p-4, 0x1.529fc26p+0, 0x1.29fc274p+0,
    -0x1.603d8aap+0, 0x1.fc2757cp+0, -0x1.ec5418p-3, 0x1.3abe8fp-3, -0x1.8a82e0cp+0,
    -0x1.505c15cp-1, 0x1.7d1f534p+0, -0x1.70565ap-3, 0x1.1f534dcp+0, 0x1.f534ddcp+0,
    -0x1.596448p-1, 0x1.34ddc0cp+0,
};
static const double vec__quadrant_low[27] = {
    3.3308114761321758e-09, 1.138919439648014e-09, 3.3215498405205676e-09, 9.9073326986228212e-10,
    9.5057112394885931e-10, 3.0797678933409213e-10, 4.9276286293454741e-09, 4.3362521002893065e-09,
    2.3248082323144544e-09, 7.394609329335956e-09, 6.555040315517873e-09, 5.7251669135237035e-10,
    1.709686464714098e-09, 5.0032416446540859e-09, 5.5460603452270883e-09, 6.780578957471309e-09,
    4.1811349626073521e-09, 7.2935146263270022e-09, 4.9375250673746187e-09, 4.4945951087556123e-09,
    4.8582963677753385e-09, 3.2269359151671382e-09, 6.9274910611312388e-09, 6.5317286211662297e-09,
    1.995295817260851e-10, 3.1924733076173616e-09, 6.3760893403348163e-09,
};

/* Sine of x + turn pi/2: the series of sine or cosine, by the quadrant. */
VEC_FN float vec__sine(float x, uint32_t turn)
{
    int32_t e = (int32_t)(vec_bits(x) >> 23 & 255) - 150;
    uint32_t k16 = (uint32_t)(e & ~(e >> 31)) >> 2;         /* 0 when e < 0 */
    int64_t k = k16;                                        /* GCC gathers by 64-bit indices */
    double v = vec_float(vec_bits(x) - (k16 << 25));
    double q = v * vec__quadrant_high[k], rest = v * vec__quadrant_low[k], t = q + rest + VEC_ROUND64;
    double frac = q - (t - VEC_ROUND64) + rest;
    float r = (float)(frac * 1.57079632679489662), z = r * r;
    float s = vec_fma32(vec_fma32(-1.951665618e-04f, z, 8.332173340e-03f), z, -1.666665524e-01f);
    float c = vec_fma32(vec_fma32(2.443772973e-05f, z, -1.388736186e-03f), z, 4.166664556e-02f);
    s = vec_fma32(s * z, r, r);
    c = vec_fma32(c * z, z, vec_fma32(-0.5f, z, 1));
    uint32_t n = (uint32_t)vec_bits64(t) + turn;
    float y = n & 1 ? c : s;
    return vec_float(vec_bits(y) ^ (n & 2) << 30) + (x - x);      /* infinity gives NaN */
}

VEC_FN float vec_sin(float x)
{
    float y = vec__sine(x, 0);
    return x == 0 ? x : y;
}
VEC_FN float vec_cos(float x) { return vec__sine(x, 1); }

/* --- the normal distribution ------------------------------------------------------ */

/* Below 0.9 x + x p(x^2), above 1 - e^-g(x), from 3.95 on 1. */
VEC_FN float vec_erf(float x)
{
    float t = vec_fabs(x);
    t = t > 3.95f ? 3.95f : t;
    float z = t * t, p = 8.483831334e-05f, g = -1.982195827e-04f;
    p = vec_fma32(p, z, -8.169027278e-04f);
    p = vec_fma32(p, z, 5.203302484e-03f);
    p = vec_fma32(p, z, -2.686029486e-02f);
    p = vec_fma32(p, z, 1.128371134e-01f);
    p = vec_fma32(p, z, -3.761263490e-01f);
    p = vec_fma32(p, z, 1.283791671e-01f);
    g = vec_fma32(g, t, 3.065489698e-03f);
    g = vec_fma32(g, t, -2.231521159e-02f);
    g = vec_fma32(g, t, 1.041136757e-01f);
    g = vec_fma32(g, t, 6.369760633e-01f);
    g = vec_fma32(g, t, 1.127797246e+00f);
    g = vec_fma32(g, t, 1.664481242e-04f);
    int32_t k;
    float e = vec__expm1_small(vec__exp_reduce(-g, &k)), s = vec_float((uint32_t)(k + 127) << 23);
    float y = t < 0.9f ? vec_fma32(t, p, t) : 1 - vec_fma32(s, e, s);
    return __builtin_copysignf(y, x);
}

/* x^2 = the result + low, without error. */
VEC_FN float vec__square(float x, float *low)
{
#ifdef __FMA__
    float y = x * x;
    *low = vec_fma32(x, x, -y);
#else
    float high = vec_float(vec_bits(x) & 0xfffff000u), y = high * high;
    *low = (x + high) * (x - high);
#endif
    return y;
}

/* The part of the standard normal distribution below x, its lower tail too:
 * with t = |x|, e^(-t^2/2) / (sqrt(2 pi) t + P(t) / Q(t)) lies outside; in this
 * form an error of Q nearly cancels. */
VEC_FN float vec_normal_cdf(float x)
{
    float t = vec_fabs(x);
    t = t > 14.6f ? 14.6f : t;
    float p = 6.277319658e-03f, q = 2.504046075e-03f;
    p = vec_fma32(p, t, 7.498502224e-02f);
    p = vec_fma32(p, t, 4.170992855e-01f);
    p = vec_fma32(p, t, 1.261858407e+00f);
    p = vec_fma32(p, t, 2);
    q = vec_fma32(q, t, 2.992690355e-02f);
    q = vec_fma32(q, t, 1.711388975e-01f);
    q = vec_fma32(q, t, 5.666890740e-01f);
    q = vec_fma32(q, t, 1.086358905e+00f);
    q = vec_fma32(q, t, 1);
    float low, square = vec__square(t, &low), e = vec__exp_sum(-0.5f * square, -0.5f * low);
    float tail = e * (q / vec_fma32(2.506628275f * t, q, p));
    return x < 0 ? tail : 1 - tail;
}

#elif VEC_REAL == 2

VEC_FN double vec_fma(double a, double b, double c) { return vec_fma64(a, b, c); }
VEC_FN double vec_fabs(double x)          { return fabs(x); }
VEC_FN double vec_sqrt(double x)          { return sqrt(x); }
VEC_FN double vec_rsqrt(double x)         { return 1 / sqrt(x); }
VEC_FN bool   vec_isnan(double x)         { return x != x; }
VEC_FN double vec_rint(double x)          { return rint(x); }
VEC_FN double vec_floor(double x)         { return floor(x); }
VEC_FN double vec_exp(double x)           { return exp(x); }
VEC_FN double vec_exp_neg(double x)       { return exp(x); }
VEC_FN double vec_gelu_exp(double b)      { return exp(-1.5957691216057308 * b * (1 + 0.044715 * b * b)); }
VEC_FN double vec_expm1(double x)         { return expm1(x); }
VEC_FN double vec_gelu_slope(double a)
{
    double b = fabs(a) > 9.9 ? 9.9 : fabs(a), z = vec_gelu_exp(b), w = 1.5957691216057308 * b * (1 + 0.134145 * b * b);
    return a < 0 ? z * (1 + z - w) / ((1 + z) * (1 + z)) : (1 + z + z * w) / ((1 + z) * (1 + z));
}
VEC_FN double vec_log(double x)           { return log(x); }
VEC_FN double vec_log1p(double x)         { return log1p(x); }
VEC_FN double vec_tanh(double x)          { return tanh(x); }
VEC_FN double vec_pow(double x, double y) { return pow(x, y); }
VEC_FN double vec_sin(double x)           { return sin(x); }
VEC_FN double vec_cos(double x)           { return cos(x); }
VEC_FN double vec_erf(double x)           { return erf(x); }
VEC_FN double vec_normal_cdf(double x)    { return 0.5 * erfc(-0.707106781186547524 * x); }

#endif
#endif
