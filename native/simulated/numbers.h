/* Small floating-point formats, by their widths of exponent and mantissa: fp16 5/10, bf16 8/7, e4m3 4/3, hf32 8/11. */
#ifndef AICALIB_SIMULATED_NUMBERS_H
#define AICALIB_SIMULATED_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>

/* finite_only: the format has no infinities, and one NaN (e4m3). */
double number_decode(uint32_t bits, unsigned exponent_bits, unsigned mantissa_bits, bool finite_only);

/* Rounds to the nearest, ties to even, overflow to infinity. */
uint32_t number_encode(double value, unsigned exponent_bits, unsigned mantissa_bits);

#endif
