// Allocates on a stack whose first function has no caller, but something in the place of its return
// address: a stack walk (TIDEPOOL_SAMPLE) must not follow it.

#include <ucontext.h>

#include "victim.h"

enum { STACK_BYTES = 256 * 1024, BLOCKS = 2000 };

static ucontext_t here, there;

static void on_it(void)
{
    static char *kept[BLOCKS];

    for (;;) {
        for (size_t i = 0; i < BLOCKS; i++)
            kept[i] = malloc(3000);
        for (size_t i = 0; i < BLOCKS; i++)
            free(kept[i]);
        swapcontext(&there, &here);
    }
}

int main(void)
{
    static const uintptr_t odd[] = {0, 1, 0xdeadbeef, 0x7fffffffffff0000, UINTPTR_MAX};
    static char stack[STACK_BYTES] __attribute__((aligned(16)));

    for (size_t i = 0; i < COUNT(odd); i++) {
        CHECK(getcontext(&there) == 0, "getcontext");
        there.uc_stack.ss_sp = stack;
        there.uc_stack.ss_size = sizeof stack;
        makecontext(&there, on_it, 0);
#ifdef __x86_64__
        *(uintptr_t *)there.uc_mcontext.gregs[REG_RSP] = odd[i];
#else
        there.uc_mcontext.regs[30] = odd[i];
#endif
        CHECK(swapcontext(&here, &there) == 0, "swapcontext");
    }
    return 0;
}
