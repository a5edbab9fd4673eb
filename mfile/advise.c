#include "mfile/advise.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/base.h"
#include "shim/next.h"

// Newer than the headers of some systems that we are built on; the kernel's numbers do not differ
// between the architectures that we run on.
#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

static const struct {
    const char *name;
    int number;
} table[] = {
    [ADVICE_NORMAL] = {"normal", MADV_NORMAL},
    [ADVICE_PREFETCH] = {"prefetch", MADV_WILLNEED},
    [ADVICE_POPULATE] = {"populate", MADV_POPULATE_READ},
    [ADVICE_SEQUENTIAL] = {"sequential", MADV_SEQUENTIAL},
    [ADVICE_RANDOM] = {"random", MADV_RANDOM},
    [ADVICE_HUGEPAGE] = {"hugepage", MADV_HUGEPAGE},
    [ADVICE_NOHUGEPAGE] = {"nohugepage", MADV_NOHUGEPAGE},
    [ADVICE_MERGEABLE] = {"mergeable", MADV_MERGEABLE},
    [ADVICE_UNMERGEABLE] = {"unmergeable", MADV_UNMERGEABLE},
    [ADVICE_COLD] = {"cold", MADV_COLD},
    [ADVICE_PAGEOUT] = {"pageout", MADV_PAGEOUT},
    [ADVICE_FREE] = {"free", MADV_FREE},
    [ADVICE_REMOVE] = {"remove", MADV_REMOVE},
    [ADVICE_DONTDUMP] = {"dontdump", MADV_DONTDUMP},
    [ADVICE_DODUMP] = {"dodump", MADV_DODUMP},
};
static_assert(array_len(table) == ADVICES, "a row for each");

static const char *const result_names[ADVICE_RESULTS] = {"ok", "refused", "unsupported"};
static _Atomic uint64_t counts[ADVICES][ADVICE_RESULTS];

const char *advice_name(enum advice advice)
{
    return table[advice].name;
}

const char *advice_result_name(enum advice_result result)
{
    return result_names[result];
}

uint64_t advice_count(enum advice advice, enum advice_result result)
{
    return atomic_load_explicit(&counts[advice][result], memory_order_relaxed);
}

void advise_count(enum advice advice, enum advice_result result)
{
    atomic_fetch_add_explicit(&counts[advice][result], 1, memory_order_relaxed);
}

static int call(uint64_t start, uint64_t length, int number)
{
    int saved = errno;
    int error = next_own_madvise((void *)(uintptr_t)start, length, number) == 0 ? 0 : -errno;

    errno = saved;
    return error;
}

// A kernel that knows the advice takes it for nothing at all.
bool advice_is_supported(enum advice advice)
{
    return call(0, 0, table[advice].number) == 0;
}

int advise(enum advice advice, uint64_t start, uint64_t length)
{
    int error = call(start, length, table[advice].number);
    enum advice_result result = ADVICE_REFUSED;

    // Populating reaches the end of the file before the end of the mapping: all that there is.
    if (advice == ADVICE_POPULATE && error == -EFAULT)
        error = 0;
    if (!error)
        result = ADVICE_OK;
    else if (error == -EINVAL && !advice_is_supported(advice))
        result = ADVICE_UNSUPPORTED;
    advise_count(advice, result);
    return error;
}

uint64_t advise_page_bytes(void)
{
    static _Atomic uint64_t bytes;
    uint64_t b = atomic_load_explicit(&bytes, memory_order_relaxed);

    if (unlikely(!b)) {
        b = getauxval(AT_PAGESZ);
        atomic_store_explicit(&bytes, b, memory_order_relaxed);
    }
    return b;
}

bool advise_pages(uint64_t address, uint64_t length, bool inward, uint64_t *start, uint64_t *end)
{
    uint64_t page = advise_page_bytes(), stop;

    if (__builtin_add_overflow(address, length, &stop) ||
        __builtin_add_overflow(inward ? address : stop, page - 1, inward ? start : end))
        return false;
    if (!inward)
        *start = address;
    else
        *end = stop;
    *start &= -page;
    *end &= -page;
    return *start < *end;
}
