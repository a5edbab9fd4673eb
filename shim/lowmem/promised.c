#include "shim/lowmem/promised.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

#include "pool/common/pages.h"
#include "pool/pool.h"

#ifndef MADV_POPULATE_WRITE // Linux 5.14
#define MADV_POPULATE_WRITE 23
#endif

#define PAGE_BYTES ((uintptr_t)4096)
// One system call costs what a few faults cost.
#define POPULATE_MIN_BYTES (4 * PAGE_BYTES)
// Counted as kept one by one, so that evaluations meanwhile are wrong by less than that a thread.
#define PART_BYTES (16 * PAGE_BYTES)
// Of a block, after which it is asked whether others took the memory.
#define ASK_BYTES ((uintptr_t)1 << 20)

// This thread's own promise covers the pages that jemalloc takes.
static _Thread_local bool promising __attribute__((tls_model("initial-exec")));

struct promised promised_begin_slow(size_t bytes)
{
    struct promised p = {bytes, false};
    int saved = errno;

    if (promising || pool_entered() || !bytes)
        return (struct promised){0, false};
    if (!promise_begin(bytes)) {
        errno = ENOMEM;
        return (struct promised){0, true};
    }
    errno = saved;
    promising = true;
    return p;
}

// Contents stay: some may have been copied already.
static void touch(uintptr_t from, uintptr_t to)
{
    static _Atomic bool unknown;

    if (to - from >= POPULATE_MIN_BYTES && !atomic_load_explicit(&unknown, memory_order_relaxed)) {
        if (pages_madvise((void *)from, to - from, MADV_POPULATE_WRITE) == 0)
            return;
        if (errno == EINVAL)
            atomic_store_explicit(&unknown, true, memory_order_relaxed);
    }
    for (; from < to; from += PAGE_BYTES)
        atomic_fetch_or_explicit((_Atomic unsigned char *)from, 0, memory_order_relaxed);
}

// False where the rest is not to be had any more. *left: of the promise, what is not kept yet.
static bool touch_all(uintptr_t from, uintptr_t to, size_t *left, bool may_give_up)
{
    for (uintptr_t at = from & -PAGE_BYTES; at < to; at += PART_BYTES) {
        uintptr_t end =
            to - at > PART_BYTES ? at + PART_BYTES : (to + PAGE_BYTES - 1) & -PAGE_BYTES;
        size_t part = end - at < *left ? end - at : *left;

        touch(at, end);
        promise_keep(part);
        *left -= part;
        if (may_give_up && end < to && (end - from) / ASK_BYTES != (at - from) / ASK_BYTES &&
            !promise_holds())
            return false;
    }
    return true;
}

bool promised_end_slow(struct promised p, void *ptr, size_t from, size_t to)
{
    int saved = errno;
    size_t left = p.bytes;
    uintptr_t at = (uintptr_t)ptr;
    bool there = true;

    if (ptr && pool_owns(ptr) && from < to)
        to = pool_usable_size(ptr);
    if (ptr && from < to)
        there = touch_all(at + from, at + to, &left, !from && p.bytes >= to);
    promise_keep(left);
    promising = false;
    errno = saved;
    return there;
}

void promised_note(size_t bytes)
{
    if (promise_is_on && !promising)
        promise_note(bytes);
}
