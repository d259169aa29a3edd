/* half.h - bf16 and f16 as storage: to float exactly, from float to nearest
 * even, NaN stays NaN.  Scalar forms; kernels vectorise them. */
#ifndef GENET_BASE_HALF_H
#define GENET_BASE_HALF_H
#include <stdint.h>
#include <string.h>

static inline float genet__from_bf16(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}
static inline uint16_t genet__to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    uint32_t nan = (u & 0x7fffffffu) > 0x7f800000u;
    uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    return (uint16_t)(nan ? (u >> 16) | 0x40u : rounded);
}
float    genet__from_f16(uint16_t h);
uint16_t genet__to_f16(float f);
#endif
