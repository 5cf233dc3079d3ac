/* Operands as the instructions that multiply narrow numbers want them: several in each 32 bits. */
#ifndef AICALIB_OPERANDS_H
#define AICALIB_OPERANDS_H

#include <stdint.h>
#include <string.h>

static inline uint32_t fp32_bits(int32_t number)
{
    const float value = (float)number;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Operands are whole numbers of at most 8 bits, which a bfloat16 holds exactly: the upper half of an fp32 is all there is. */
static inline uint32_t two_bfloat16(int32_t number)
{
    const uint32_t bits = fp32_bits(number);
    return bits >> 16 | (bits & 0xffff0000u);
}

static inline uint32_t four_bytes(int32_t number)
{
    return ((uint32_t)number & 0xffu) * 0x01010101u;
}

#endif
