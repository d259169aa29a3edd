/* quant.c - blocks of 32 weights with one scale, and back.
 *
 * As ggml's reference has it, levels come from the scale before it is rounded
 * to f16, and x is multiplied by the scale's reciprocal, not divided: the last
 * bit of a level depends on both. */
#include "base/quant.h"
#include <math.h>
#include "base/half.h"

/* The scale's reciprocal; where that overflows, f16 has rounded the scale to zero. */
static float reciprocal(float d)
{
    float r = d != 0 ? 1 / d : 0;
    return isfinite(r) ? r : 0;
}

static bool is_finite_f16(uint16_t h) { return (h & 0x7c00u) != 0x7c00u; }

/* d = max |x| / 127, q = round(x / d). */
static bool block_q8_0(const float *x, quant_q8_0 *b)
{
    float most = 0, bad = 0;
    for (int i = 0; i < QUANT_BLOCK; i++) {
        float size = fabsf(x[i]);
        most = size > most ? size : most;
        bad += x[i] - x[i];                     /* NaN after inf and NaN */
    }
    float d = most / 127, r = reciprocal(d);
    b->d = genet__to_f16(d);
    if (bad != 0 || !is_finite_f16(b->d)) return false;
    for (int i = 0; i < QUANT_BLOCK; i++) b->q[i] = (int8_t)roundf(x[i] * r);
    return true;
}

bool genet__quantize_q8_0(const float *x, int64_t n, quant_q8_0 *to)
{
    for (int64_t i = 0; i < n / QUANT_BLOCK; i++)
        if (!block_q8_0(x + i * QUANT_BLOCK, &to[i])) return false;
    return true;
}

/* Levels count from -8, the one of the largest magnitude; its opposite, 8, is cut to 7. */
static unsigned level_q4_0(float x, float r)
{
    unsigned level = (unsigned)(x * r + 8.5f);
    return level < 15 ? level : 15;
}

/* d = (the first value of largest magnitude, with its sign) / -8. */
static bool block_q4_0(const float *x, quant_q4_0 *b)
{
    float most = 0, bad = 0;
    for (int i = 0; i < QUANT_BLOCK; i++) {
        most = fabsf(x[i]) > fabsf(most) ? x[i] : most;
        bad += x[i] - x[i];
    }
    float d = most / -8, r = reciprocal(d);
    b->d = genet__to_f16(d);
    if (bad != 0 || !is_finite_f16(b->d)) return false;
    for (int i = 0; i < QUANT_BLOCK / 2; i++)
        b->q[i] = (uint8_t)(level_q4_0(x[i], r) | level_q4_0(x[i + QUANT_BLOCK / 2], r) << 4);
    return true;
}

bool genet__quantize_q4_0(const float *x, int64_t n, quant_q4_0 *to)
{
    for (int64_t i = 0; i < n / QUANT_BLOCK; i++)
        if (!block_q4_0(x + i * QUANT_BLOCK, &to[i])) return false;
    return true;
}

void genet__dequantize_q8_0(const quant_q8_0 *from, int64_t n, float *x)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = genet__from_f16(from[i / QUANT_BLOCK].d) * from[i / QUANT_BLOCK].q[i % QUANT_BLOCK];
}

void genet__dequantize_q4_0(const quant_q4_0 *from, int64_t n, float *x)
{
    enum { HALF = QUANT_BLOCK / 2 };
    for (int64_t b = 0; b < n / QUANT_BLOCK; b++) {
        float d = genet__from_f16(from[b].d);
        for (int i = 0; i < HALF; i++) {
            x[b * QUANT_BLOCK + i] = d * ((from[b].q[i] & 15) - 8);
            x[b * QUANT_BLOCK + HALF + i] = d * ((from[b].q[i] >> 4) - 8);
        }
    }
}
