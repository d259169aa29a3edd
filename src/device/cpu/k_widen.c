/* k_widen.c - runs of stored types (bf16, f16, quantised blocks) to `real`. */
#include "device/cpu/widen.h"
#include "base/quant.h"
#if defined(__AVX512F__) || defined(__F16C__)
#include <immintrin.h>
#endif

static void run_bf16(const uint16_t *at, int64_t n, real *to)
{
    for (int64_t i = 0; i < n; i++) to[i] = widen_bf16(at[i]);
}

static void run_f16(const uint16_t *at, int64_t n, real *to)
{
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(to + i, _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(at + i))));
#elif defined(__F16C__)
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(at + i))));
#endif
    for (; i < n; i++) to[i] = widen_f16(at[i]);
}

/* The last block may be wanted in part. */
static void run_q8_0(const quant_q8_0 *b, int64_t n, real *to)
{
    for (; n > 0; n -= QUANT_BLOCK, to += QUANT_BLOCK, b++) {
        float d = widen_f16(b->d);
        if (n >= QUANT_BLOCK)
            for (int i = 0; i < QUANT_BLOCK; i++) to[i] = d * (float)b->q[i];
        else
            for (int i = 0; i < n; i++) to[i] = d * (float)b->q[i];
    }
}

static void run_q4_0(const quant_q4_0 *b, int64_t n, real *to)
{
    for (; n > 0; n -= QUANT_BLOCK, to += QUANT_BLOCK, b++) {
        float d = widen_f16(b->d);
        real part[QUANT_BLOCK], *y = n >= QUANT_BLOCK ? to : part;
        for (int i = 0; i < QUANT_BLOCK / 2; i++) y[i] = d * (float)((b->q[i] & 15) - 8);
        for (int i = 0; i < QUANT_BLOCK / 2; i++) y[QUANT_BLOCK / 2 + i] = d * (float)((b->q[i] >> 4) - 8);
        if (y == part) memcpy(to, part, (size_t)n * sizeof(real));
    }
}

static void stepped(const char *at, dtype type, int64_t step, int64_t n, real *to)
{
    const uint16_t *half = (const uint16_t *)at;
    if (type == GENET_BF16)
        for (int64_t i = 0; i < n; i++) to[i] = widen_bf16(half[i * step]);
    else if (type == GENET_F16)
        for (int64_t i = 0; i < n; i++) to[i] = widen_f16(half[i * step]);
    else
        for (int64_t i = 0; i < n; i++) to[i] = ((const real *)at)[i * step];
}

void K(widen)(const char *at, dtype type, int64_t first, int64_t step, int64_t n, real *to)
{
    at += genet_dtype_bytes(type, first);
    if (type == GENET_Q8_0)      run_q8_0((const quant_q8_0 *)at, n, to);
    else if (type == GENET_Q4_0) run_q4_0((const quant_q4_0 *)at, n, to);
    else if (step != 1)          stepped(at, type, step, n, to);
    else if (type == GENET_BF16) run_bf16((const uint16_t *)at, n, to);
    else if (type == GENET_F16)  run_f16((const uint16_t *)at, n, to);
    else                         memcpy(to, at, (size_t)n * sizeof(real));
}
