#include "pool/region/page_move.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pool/common/pages.h"
#include "shim/next.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define PAGE ((size_t)4096)

// No mapping can grow in place by that much: it would run into the stack. The kernel's own bound,
// the end of the address space, lies above.
#define IMPOSSIBLE_BYTES (((size_t)1 << 47) - ((size_t)1 << 30))

bool page_move(uintptr_t from, size_t size, uintptr_t to)
{
    const int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;

    return next_own_mremap((void *)from, size, size, flags, (void *)to) == (void *)to;
}

// Asks to grow in place, which changes nothing because it cannot be granted: EFAULT where the range
// is not one mapping, else ENOMEM. All versions of the kernel check the first before the second.
// Raw, because no hook should hear of it.
static int ask(uintptr_t from, size_t size)
{
    return syscall(SYS_mremap, from, size, IMPOSSIBLE_BYTES, 0) == -1 ? errno : 0;
}

size_t page_move_in_one_mapping(uintptr_t from, size_t size)
{
    size_t inside = 0, beyond = size;

    if (ask(from, size) == ENOMEM)
        return size;
    while (beyond - inside > PAGE) {
        size_t middle = inside + ((beyond - inside) / 2 & -PAGE);
        if (ask(from, middle) == ENOMEM)
            inside = middle;
        else
            beyond = middle;
    }
    return inside;
}

static bool is_filled(const char *page, char value)
{
    return page[0] == value && memcmp(page, page + 1, PAGE - 1) == 0;
}

// After a move: does the source read as zero, can the program and the kernel write to it, and is it
// zero again once it was given back?
static bool source_is_fresh(char *page)
{
    if (!is_filled(page, 0))
        return false;
    memset(page, 9, PAGE);
    if (syscall(SYS_prlimit64, 0, RLIMIT_AS, NULL, page) != 0)
        return false;
    return pages_madvise(page, PAGE, MADV_DONTNEED) == 0 && is_filled(page, 0);
}

static bool asks_right(uintptr_t at)
{
    return ask(at, PAGE) == ENOMEM && ask(at, 2 * PAGE) == EFAULT;
}

// Six pages: a move of the last to the second makes two mappings of the first two, which move to
// the next two then.
static enum page_moves probe(char *at)
{
    const uintptr_t from = (uintptr_t)at, to = from + 2 * PAGE;

    memset(at, 1, PAGE);
    memset(at + 5 * PAGE, 2, PAGE);
    if (!page_move(from + 5 * PAGE, PAGE, from + PAGE) || !is_filled(at + PAGE, 2) ||
        !source_is_fresh(at + 5 * PAGE))
        return PAGE_MOVES_NONE;
    if (page_move(from, 2 * PAGE, to))
        return is_filled(at + 2 * PAGE, 1) && is_filled(at + 3 * PAGE, 2) && source_is_fresh(at) &&
                       source_is_fresh(at + PAGE)
                   ? PAGE_MOVES_SEVERAL
                   : PAGE_MOVES_NONE;
    return errno == EFAULT && asks_right(from) ? PAGE_MOVES_ONE : PAGE_MOVES_NONE;
}

enum page_moves page_move_probe(void)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    void *at = pages_mmap(NULL, 6 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);

    if (at == MAP_FAILED)
        return PAGE_MOVES_NONE;
    enum page_moves result = probe(at);
    pages_munmap(at, 6 * PAGE);
    return result;
}
