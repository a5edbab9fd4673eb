// number - decimal numbers in text, read and written without libc. Below all folders; any thread.
#ifndef TIDEPOOL_SHIM_NUMBER_H
#define TIDEPOOL_SHIM_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#define NUMBER_DIGITS_MAX 20

// Digits at *at, which then points behind them; false if there are none. What is too large for
// *out is UINT64_MAX. No sign, no blanks.
static inline bool number_read(const char **at, uint64_t *out)
{
    const char *p = *at;
    uint64_t n = 0;
    bool full = false;

    for (; *p >= '0' && *p <= '9'; p++) {
        full |= __builtin_mul_overflow(n, (uint64_t)10, &n);
        full |= __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n);
    }
    if (p == *at)
        return false;
    *out = full ? UINT64_MAX : n;
    *at = p;
    return true;
}

// Writes up to NUMBER_DIGITS_MAX digits and no NUL; returns where they end.
static inline char *number_write(char *to, uint64_t n)
{
    char digits[NUMBER_DIGITS_MAX];
    unsigned count = 0;

    do
        digits[count++] = (char)('0' + n % 10);
    while (n /= 10);
    while (count)
        *to++ = digits[--count];
    return to;
}

#endif
