/* quant.h - weights in blocks of 32 with one scale: ggml's Q8_0 and Q4_0 (the
 * block layouts of GGUF files: ggml/src/ggml-common.h of llama.cpp). */
#ifndef GENET_BASE_QUANT_H
#define GENET_BASE_QUANT_H
#include <stdbool.h>
#include <stdint.h>

enum { QUANT_BLOCK = 32 };

/* Element i is d q[i]; d is an f16. */
typedef struct quant_q8_0 { uint16_t d; int8_t q[QUANT_BLOCK]; } quant_q8_0;
/* Element i < 16 is d ((q[i] & 15) - 8), element 16 + i is d ((q[i] >> 4) - 8). */
typedef struct quant_q4_0 { uint16_t d; uint8_t q[QUANT_BLOCK / 2]; } quant_q4_0;

_Static_assert(sizeof(quant_q8_0) == 34 && sizeof(quant_q4_0) == 18, "as they lie in files");

/* n floats, a multiple of 32, to n / 32 blocks, bit for bit as ggml's reference.  false: a value is
 * inf, NaN or beyond what a scale can hold. */
bool genet__quantize_q8_0(const float *x, int64_t n, quant_q8_0 *to);
bool genet__quantize_q4_0(const float *x, int64_t n, quant_q4_0 *to);
/* And back: n elements.  Exact: an f16 times at most eight bits. */
void genet__dequantize_q8_0(const quant_q8_0 *from, int64_t n, float *x);
void genet__dequantize_q4_0(const quant_q4_0 *from, int64_t n, float *x);
#endif
