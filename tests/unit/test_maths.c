// Our logarithm and its like beside libm's.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdint.h>

#include "pool/common/maths.h"

#define NUMBERS 200000
#define MOST_ERROR 1e-14

static double between(double low, double high)
{
    static uint64_t state = 4711;

    state = state * 6364136223846793005 + 1442695040888963407;
    return low + (high - low) * ((double)(state >> 11) * 0x1p-53);
}

static void expect_near(double x, double is, double wanted)
{
    cr_expect(fabs(is - wanted) <= MOST_ERROR * fabs(wanted), "%a: %a, not %a", x, is, wanted);
}

Test(maths, the_logarithm_is_libms)
{
    for (int i = 0; i < NUMBERS; i++) {
        double u = between(0x1p-53, 1), large = ldexp(between(1, 2), (int)between(-1000, 1000));
        expect_near(u, maths_log(u), log(u));
        expect_near(large, maths_log(large), log(large));
    }
    cr_expect(eq(dbl, maths_log(1), 0));
}

Test(maths, powers_of_e_are_libms)
{
    for (int i = 0; i < NUMBERS; i++) {
        double x = between(-40, 40), small = ldexp(between(-1, 1), (int)between(-60, 0));
        expect_near(x, maths_exp(x), exp(x));
        expect_near(x, maths_expm1(x), expm1(x));
        expect_near(small, maths_expm1(small), expm1(small));
    }
    for (double x = -700; x <= 700; x += 0.37)
        cr_expect(fabs(maths_exp(x) / exp(x) - 1) < 1e-13, "%a", x);
    cr_expect(eq(dbl, maths_expm1(0), 0));
    cr_expect(eq(dbl, maths_exp(0), 1));
}

Test(maths, beyond_the_end_it_stays_there)
{
    cr_expect(eq(dbl, maths_exp(1e300), maths_exp(700)));
    cr_expect(eq(dbl, maths_exp(-1e300), maths_exp(-700)));
    cr_expect(eq(dbl, maths_expm1(-1e300), -1));
}

Test(maths, rounds_as_libm)
{
    const double numbers[] = {0, 0.25, 0.5, 0.75, 1.5, 1e9 + 0.5, 0x1p52, 0x1p60};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        cr_expect(eq(dbl, maths_round(numbers[i]), round(numbers[i])), "%g", numbers[i]);
}
