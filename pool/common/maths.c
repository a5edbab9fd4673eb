#include "pool/common/maths.h"

#include <stdint.h>
#include <string.h>

#define LN_2 0x1.62e42fefa39efp-1
#define SQRT_2 0x1.6a09e667f3bcdp+0
#define MAX_POWER 700.0

// An IEEE 754 double: a sign, 11 bits of exponent, 52 bits of fraction.
#define FRACTION_BITS 52
#define BIAS 1023

static uint64_t bits_of(double x)
{
    uint64_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double of_bits(uint64_t bits)
{
    double x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

// x = m * 2^e with m around 1, and ln m = 2 * artanh s as a series in s = (m - 1) / (m + 1).
double maths_log(double x)
{
    uint64_t bits = bits_of(x), one = (uint64_t)BIAS << FRACTION_BITS;
    int exponent = (int)(bits >> FRACTION_BITS) - BIAS;
    double m = of_bits((bits & ((UINT64_C(1) << FRACTION_BITS) - 1)) | one), sum = 0;

    if (m > SQRT_2) {
        m /= 2;
        exponent++;
    }
    double s = (m - 1) / (m + 1), square = s * s;
    for (int n = 21; n > 0; n -= 2)
        sum = sum * square + 1.0 / n;
    return 2 * s * sum + exponent * LN_2;
}

// e^x - 1 as a series, for |x| up to 1/2.
static double near_zero(double x)
{
    double sum = 1;

    for (int n = 15; n > 1; n--)
        sum = 1 + sum * x / n;
    return x * sum;
}

// x = k * ln 2 + rest.
double maths_exp(double x)
{
    double in = x > MAX_POWER ? MAX_POWER : x < -MAX_POWER ? -MAX_POWER : x;
    int k = (int)(in / LN_2 + (in < 0 ? -0.5 : 0.5));

    return (1 + near_zero(in - k * LN_2)) * of_bits((uint64_t)(BIAS + k) << FRACTION_BITS);
}

double maths_expm1(double x)
{
    return x > -0.5 && x < 0.5 ? near_zero(x) : maths_exp(x) - 1;
}

double maths_round(double x)
{
    return x < 0x1p52 ? (double)(int64_t)(x + 0.5) : x;
}
