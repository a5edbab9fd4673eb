// maths - the four functions of libm that the library needs. So a process need not load libm for
// us: 300 KiB of RSS, and 70 us at its start.
//
// Sampling draws and weighs by them; so does jemalloc's profile, whose archive gets these names.
// Relative errors are below 1e-14, and 1e-13 for powers beyond 40 (tests/unit/test_maths.c). Pure:
// any thread, signal handlers too; errno and the modes of floating point stay as they are.
#ifndef TIDEPOOL_POOL_COMMON_MATHS_H
#define TIDEPOOL_POOL_COMMON_MATHS_H

// The natural logarithm of a positive, finite, normal number.
double maths_log(double x);

// e to the power of x, and that less 1, for |x| up to 700; beyond, as at 700.
double maths_exp(double x);
double maths_expm1(double x);

// The nearest integer of a number that is not negative; halves go up.
double maths_round(double x);

#endif
