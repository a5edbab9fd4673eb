// base - the few macros that every module shares. No state, no functions, nothing of libc's heap.
#ifndef TIDEPOOL_SHIM_BASE_H
#define TIDEPOOL_SHIM_BASE_H

#include <stdlib.h>
#include <unistd.h>

// For data that the fast paths touch: without it, -fvisibility=hidden or not, the compiler takes a
// declared object for another library's and reaches it through a table of addresses.
#define HIDDEN __attribute__((visibility("hidden")))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define array_len(a) (sizeof(a) / sizeof((a)[0]))

#define BASE_STR_(x) #x
#define BASE_STR(x) BASE_STR_(x)

// Going on would hand out memory twice, or lose it. Checked in every build; prints with write(2),
// because stdio allocates, and aborts.
#define MUST(x)                                                                                    \
    do {                                                                                           \
        if (unlikely(!(x))) {                                                                      \
            static const char must_text_[] =                                                       \
                "tidepool: broken invariant: " #x " at " __FILE__ ":" BASE_STR(__LINE__) "\n";     \
            if (write(STDERR_FILENO, must_text_, sizeof must_text_ - 1) < 0)                       \
                abort();                                                                           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

// A precondition, a result, an invariant at unlock: checked in sanitizer builds only.
#ifdef TIDEPOOL_DEBUG
#define ASSERT(x) MUST(x)
#else
#define ASSERT(x) ((void)sizeof(x))
#endif

#endif
