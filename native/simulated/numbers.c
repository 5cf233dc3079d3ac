/* Small floating-point formats; see numbers.h. */
#include "numbers.h"

#include <math.h>

double number_decode(uint32_t bits, unsigned exponent_bits, unsigned mantissa_bits, bool finite_only)
{
    unsigned mantissa = bits & ((1u << mantissa_bits) - 1);
    int exponent = (int)(bits >> mantissa_bits & ((1u << exponent_bits) - 1));
    int bias = (1 << (exponent_bits - 1)) - 1, most = (1 << exponent_bits) - 1;
    double sign = bits >> (exponent_bits + mantissa_bits) & 1 ? -1 : 1;
    if (finite_only ? exponent == most && mantissa == (1u << mantissa_bits) - 1 : exponent == most && mantissa != 0)
        return NAN;
    if (!finite_only && exponent == most)
        return sign * INFINITY;
    if (exponent == 0)
        return sign * ldexp(mantissa, 1 - bias - (int)mantissa_bits);
    return sign * ldexp(mantissa + (1u << mantissa_bits), exponent - bias - (int)mantissa_bits);
}

uint32_t number_encode(double value, unsigned exponent_bits, unsigned mantissa_bits)
{
    unsigned sign = signbit(value) ? 1u << (exponent_bits + mantissa_bits) : 0;
    int bias = (1 << (exponent_bits - 1)) - 1;
    unsigned most = (1u << exponent_bits) - 1;
    if (isnan(value))
        return most << mantissa_bits | ((1u << mantissa_bits) - 1);
    double size = fabs(value);
    if (isinf(size))
        return sign | most << mantissa_bits;
    int exponent = 0;
    if (size > 0)
        frexp(size, &exponent);
    int lowest = 1 - bias;
    int e = exponent - 1 < lowest ? lowest : exponent - 1;
    double units = nearbyint(ldexp(size, (int)mantissa_bits - e));
    if (units >= ldexp(1, (int)mantissa_bits + 1)) {
        units /= 2;
        e++;
    }
    if (e > bias)
        return sign | most << mantissa_bits;
    if (units < ldexp(1, (int)mantissa_bits))
        return sign | (unsigned)units;
    return sign | (unsigned)(e + bias) << mantissa_bits | ((unsigned)units - (1u << mantissa_bits));
}
