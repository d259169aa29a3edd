/* half.c - IEEE 754 binary16 by bit arithmetic, for machines and builds
 * without an instruction for it: 1 sign, 5 exponent (bias 15), 10 fraction. */
#include "base/half.h"

static float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

float genet__from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31u, fraction = h & 0x3ffu;
    if (exponent == 31) {
        if (fraction) fraction |= 0x200u;                       /* NaN, quiet as hardware makes it */
        return float_of(sign | 0x7f800000u | fraction << 13);
    }
    if (exponent == 0) {                                        /* zero or denormal: fraction * 2^-24 */
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    return float_of(sign | (exponent + 112u) << 23 | fraction << 13);
}

/* Drop the low `bits` bits of u, to nearest, ties to even. */
static uint32_t round_shift(uint32_t u, uint32_t bits)
{
    uint32_t half = 1u << (bits - 1), odd = u >> bits & 1u;
    return (u + half - 1 + odd) >> bits;
}

uint16_t genet__to_f16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    uint32_t sign = u >> 16 & 0x8000u, magnitude = u & 0x7fffffffu, h;
    if (magnitude > 0x7f800000u)                                /* NaN: keep the payload's top, quiet */
        h = 0x7e00u | (magnitude >> 13 & 0x3ffu);
    else if (magnitude >= 0x477ff000u)                          /* 65520 and up round to infinity */
        h = 0x7c00u;
    else if (magnitude >= 0x38800000u)                          /* 2^-14 and up: normal */
        h = round_shift(magnitude - (112u << 23), 13);
    else if (magnitude >= 0x33000000u)                          /* 2^-25 and up: denormal, in steps of 2^-24 */
        h = round_shift((magnitude & 0x7fffffu) | 0x800000u, 126u - (magnitude >> 23));
    else
        h = 0;
    return (uint16_t)(sign | h);
}
