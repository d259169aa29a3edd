/* k_int8.c - rows of activations rounded to bytes (int8.h).
 *
 * Rounding is to nearest, halves to even.  What a block's elements are
 * multiplied by is 127 / max|x|; every instruction set makes the same bytes. */
#include "device/cpu/int8.h"
#include "device/cpu/widen.h"

/* What a block's elements are multiplied by: not by what overflows.  A largest
 * element that is not finite makes d not finite, and so the products. */
static const float least_scaled = 1e-30f, most_scaled = 0x1.fffffep127f;

#if defined(__AVX512F__)
/* The largest of each block's 32 |x| (as bits: NaN > infinity > numbers), four times. */
INLINE __m512 largest(const __m512 x[2 * GROUP])
{
    __m512i m[GROUP], sign = _mm512_set1_epi32(0x7fffffff);
    for (int b = 0; b < GROUP; b++)
        m[b] = _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(x[2 * b]), sign),
                                _mm512_and_si512(_mm512_castps_si512(x[2 * b + 1]), sign));
    __m512i a = _mm512_max_epu32(_mm512_shuffle_i32x4(m[0], m[1], 0x44), _mm512_shuffle_i32x4(m[0], m[1], 0xee));
    __m512i c = _mm512_max_epu32(_mm512_shuffle_i32x4(m[2], m[3], 0x44), _mm512_shuffle_i32x4(m[2], m[3], 0xee));
    a = _mm512_max_epu32(_mm512_shuffle_i32x4(a, c, 0x88), _mm512_shuffle_i32x4(a, c, 0xdd));
    a = _mm512_max_epu32(a, _mm512_shuffle_epi32(a, 0x4e));
    return _mm512_castsi512_ps(_mm512_max_epu32(a, _mm512_shuffle_epi32(a, 0xb1)));
}

/* The bytes of halves of four blocks, in order. */
INLINE __m512i to_bytes(__m512 x0, __m512 x1, __m512 x2, __m512 x3)
{
    const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    __m512i x01 = _mm512_packs_epi32(_mm512_cvtps_epi32(x0), _mm512_cvtps_epi32(x1));
    __m512i x23 = _mm512_packs_epi32(_mm512_cvtps_epi32(x2), _mm512_cvtps_epi32(x3));
    return _mm512_permutexvar_epi32(order, _mm512_packs_epi16(x01, x23));
}

static void quantise_group(const real *x, int offset, xgroup *g)
{
    const __m512i each_four = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    __m512 v[2 * GROUP];
    for (int i = 0; i < 2 * GROUP; i++) v[i] = _mm512_loadu_ps((const float *)x + 16 * i);
    __m128 most = _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, largest(v))), all = _mm_set1_ps(127);
    __mmask8 scaled = _mm_cmp_ps_mask(most, _mm_set1_ps(least_scaled), _CMP_GT_OQ) &
                      _mm_cmp_ps_mask(most, _mm_set1_ps(most_scaled), _CMP_LE_OQ);
    __m512 inverse = _mm512_castps128_ps512(_mm_maskz_div_ps(scaled, all, most)), scale = _mm512_castps128_ps512(_mm_div_ps(most, all));
    _mm512_store_ps(g->d, _mm512_permutexvar_ps(each_four, scale));
    for (int b = 0; b < GROUP; b++) {
        __m512 by = _mm512_permutexvar_ps(_mm512_set1_epi32(b), inverse);
        v[2 * b] = _mm512_mul_ps(v[2 * b], by);
        v[2 * b + 1] = _mm512_mul_ps(v[2 * b + 1], by);
    }
    __m512i low = to_bytes(v[0], v[2], v[4], v[6]), high = to_bytes(v[1], v[3], v[5], v[7]);
    _mm512_store_si512(g->low, low);
    _mm512_store_si512(g->high, high);
    __m512i o = _mm512_set1_epi8((char)offset), minus = _mm512_set1_epi16(-1);
    low = _mm512_madd_epi16(_mm512_maddubs_epi16(o, low), minus);
    high = _mm512_madd_epi16(_mm512_maddubs_epi16(o, high), minus);
    _mm512_store_si512(g->excess, _mm512_add_epi32(low, high));
}
#else
INLINE float largest(const real *x)
{
    uint32_t most = 0;
    for (int i = 0; i < QUANT_BLOCK; i++) {
        uint32_t u = vec_bits((float)x[i]) & 0x7fffffff;
        most = u > most ? u : most;
    }
    return vec_float(most);
}

/* Rounds to nearest: the sum's last bit is worth 1. */
INLINE int8_t nearest(float x) { return (int8_t)(vec_bits(x + 0x1.8p23f) - vec_bits(0x1.8p23f)); }

static void quantise_group(const real *x, int offset, xgroup *g)
{
    for (int b = 0; b < GROUP; b++, x += QUANT_BLOCK) {
        float most = largest(x), inverse = most > least_scaled && most <= most_scaled ? 127 / most : 0;
        for (int i = 0; i < 16; i++) g->low[b][i] = nearest((float)x[i] * inverse);
        for (int i = 0; i < 16; i++) g->high[b][i] = nearest((float)x[16 + i] * inverse);
        for (int j = 0; j < 4; j++) {
            int sum = 0;
            for (int i = 4 * j; i < 4 * j + 4; i++) sum += g->low[b][i] + g->high[b][i];
            g->excess[b][j] = -offset * sum;
            g->d[b][j] = most / 127;
        }
    }
}
#endif

void K(quantise_row)(const real *x, int64_t step, int64_t depth, int offset, xgroup *g)
{
    real part[GROUP_DEPTH];
    for (int64_t k = 0; k < depth; k += GROUP_DEPTH, g++) {
        int64_t n = min_i64(GROUP_DEPTH, depth - k);
        const real *from = x + k * step;
        if (step != 1 || n < GROUP_DEPTH) {
            memset(part, 0, sizeof part);
            for (int64_t i = 0; i < n; i++) part[i] = from[i * step];
            from = part;
        }
        quantise_group(from, offset, g);
    }
}
