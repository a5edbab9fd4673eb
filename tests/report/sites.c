// Five call sites that hold about 10, 20, 30, 40 and 100 MiB, in blocks of 100 B to 2 MiB. Prints
// what each asked for and how much of memory that is to the allocator, and ends with all of it
// live.

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#define MIB ((size_t)1 << 20)

static void *kept[1 << 18];
static size_t count;

// Each site is a function of its own, and its call no tail call: the line after it is executed.
#define SITE(name, block, mib)                                                                     \
    __attribute__((noinline)) void name(void);                                                     \
    __attribute__((noinline)) void name(void)                                                      \
    {                                                                                              \
        size_t held = 0;                                                                           \
        for (size_t i = 0; i < MIB * (mib) / (block); i++) {                                       \
            void *p = malloc(block);                                                               \
            held += malloc_usable_size(p);                                                         \
            kept[count++] = p;                                                                     \
        }                                                                                          \
        printf("%s %zu %zu\n", #name, MIB *(mib) / (block) * (block), held);                       \
    }

SITE(holds_10, 100, 10)
SITE(holds_20, 3000, 20)
SITE(holds_30, 50000, 30)
SITE(holds_40, 400000, 40)
SITE(holds_100, 2 * MIB, 100)

// Does not return, so that its caller ends with the call: the return address is the next
// function's.
__attribute__((noinline, noreturn)) static void finish(void)
{
    holds_30();
    holds_20();
    exit(fflush(stdout) != 0);
}

int main(void)
{
    holds_40();
    holds_10();
    holds_100();
    finish();
}
