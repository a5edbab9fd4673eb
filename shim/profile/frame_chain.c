#include "shim/profile/frame_chain.h"

#include <stdbool.h>

#include "shim/profile/peek.h"

#define PAGE_BYTES 4096
#define FRAME_MAX_BYTES (256 << 10)

// What a frame pointer leads to.
struct pair {
    uintptr_t fp, pc; // of the caller
};

// True where all is readable up to `end`; *known is how far that is so already.
static bool reach(struct peek *p, uintptr_t *known, uintptr_t end)
{
    uintptr_t word;

    for (; *known < end; *known += PAGE_BYTES)
        if (!peek(p, *known, &word, sizeof word))
            return false;
    return true;
}

static bool follows(uintptr_t sp, uintptr_t fp)
{
    return fp >= sp && fp - sp < FRAME_MAX_BYTES && fp % sizeof fp == 0;
}

unsigned frame_chain(uintptr_t *frame, unsigned max, uintptr_t sp, uintptr_t fp)
{
    struct peek p = {0};
    struct pair caller;
    uintptr_t known = sp & -(uintptr_t)PAGE_BYTES;
    unsigned depth = 0;

    while (depth < max && follows(sp, fp)) {
        sp = fp + sizeof caller;
        if (!reach(&p, &known, sp) || !peek(&p, fp, &caller, sizeof caller) ||
            caller.pc < PAGE_BYTES)
            break;
        frame[depth++] = caller.pc;
        fp = caller.fp;
    }
    return depth;
}
