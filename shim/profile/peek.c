#include "shim/profile/peek.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/base.h"

#define PAGE 4096 // or a part of one
#define PAGE_NEVER_THERE (UINTPTR_MAX - PAGE + 1)

// The kernel reads the set of signals first, and then finds that there is no such thing to do with
// it. No sandbox forbids this call, and other tests of an address cost a descriptor or more rights.
static bool ask(uintptr_t page)
{
    return syscall(SYS_rt_sigprocmask, -1L, page, NULL, 8L) == -1 && errno == EINVAL;
}

// An emulated kernel may refuse first, and says nothing about memory then.
static bool may_ask(struct peek *p)
{
    if (!p->asked) {
        p->asked = true;
        p->silent = ask(PAGE_NEVER_THERE);
    }
    return !p->silent;
}

static bool is_there(struct peek *p, uintptr_t at)
{
    uintptr_t page = at & -(uintptr_t)PAGE;
    uintptr_t *seen = &p->seen[at / PAGE % array_len(p->seen)];
    int saved = errno;

    if (*seen != page && page && may_ask(p) && ask(page))
        *seen = page;
    errno = saved;
    return page && *seen == page;
}

bool peek(struct peek *p, uintptr_t at, void *to, size_t size)
{
    if (at % sizeof(uintptr_t) || !is_there(p, at) || !is_there(p, at + size - 1))
        return false;
    memcpy(to, (const void *)at, size);
    return true;
}

uintptr_t peek_word(struct peek *p, uintptr_t at)
{
    uintptr_t word;

    return peek(p, at, &word, sizeof word) ? word : 0;
}
