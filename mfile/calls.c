#include "mfile/calls.h"

#include <assert.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "mfile/advise.h"
#include "mfile/maps.h"
#include "mfile/prefetch.h"
#include "mfile/record.h"
#include "shim/base.h"

static_assert(sizeof(off_t) == 8 && sizeof(long) == 8, "the kernel takes offsets in bytes");

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

_Atomic unsigned calls_on;
void (*calls_on_file)(uint64_t bytes);

static const struct policy *policy;

// What the policy said of files seen before, a word each: the rule's number, and 56 bits of a hash
// of device, inode and time of change (a file that is renamed changes). A word is whole or not
// there, so nobody locks.
enum { KNOWN = 1024 };
static _Atomic uint64_t known[KNOWN];

void calls_init(const struct policy *p)
{
    policy = p;
}

void calls_switch_on(unsigned what)
{
    atomic_fetch_or(&calls_on, what);
}

static unsigned on(void)
{
    return atomic_load_explicit(&calls_on, memory_order_relaxed);
}

static long raw_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    return syscall(SYS_mmap, addr, length, prot, flags, fd, offset);
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
    return hash ^ hash >> 29;
}

static unsigned hints_of_rule(int rule)
{
    return rule < 0 ? 0 : policy->rule[rule].hints;
}

static int rule_of_fd(int fd)
{
    // Not PATH_MAX: handlers of signals may have 8 KiB of stack, and half of it used.
    char path[1024];
    int length = maps_path_of_fd(fd, path, sizeof path);

    return length < 0 || (size_t)length >= sizeof path - 1 ? -1 : policy_find(policy, path);
}

// A file with one name is looked up once; the others, a deleted one among them, each time.
static unsigned look_up(int fd, struct mapping *m)
{
    struct stat st;

    if (syscall(SYS_fstat, fd, &st) != 0)
        return 0;
    m->inode = st.st_ino;
    m->dev = major(st.st_dev) << 20 | minor(st.st_dev);
    if (st.st_nlink != 1)
        return hints_of_rule(rule_of_fd(fd));
    uint64_t hash = mix(mix(mix(st.st_dev, st.st_ino), (uint64_t)st.st_ctim.tv_sec),
                        (uint64_t)st.st_ctim.tv_nsec);
    _Atomic uint64_t *slot = &known[hash >> 8 & (KNOWN - 1)];
    uint64_t seen = atomic_load_explicit(slot, memory_order_relaxed);
    int rule;
    if (seen && (seen ^ hash) >> 8 == 0)
        return hints_of_rule((int)(seen & 0xff) - 1);
    static_assert(POLICY_RULES_MAX < 255, "a rule fits a byte");
    rule = rule_of_fd(fd);
    atomic_store_explicit(slot, (hash & ~(uint64_t)0xff) | (uint64_t)(rule + 1),
                          memory_order_relaxed);
    return hints_of_rule(rule);
}

static void give_hints(const struct mapping *m, unsigned hints)
{
    static const struct {
        unsigned hint;
        enum advice advice;
    } flags[] = {
        {HINT_SEQUENTIAL, ADVICE_SEQUENTIAL}, {HINT_RANDOM, ADVICE_RANDOM},
        {HINT_HUGEPAGE, ADVICE_HUGEPAGE},     {HINT_MERGEABLE, ADVICE_MERGEABLE},
        {HINT_DONTDUMP, ADVICE_DONTDUMP},     {HINT_POPULATE, ADVICE_POPULATE},
    };

    // Reading ahead first, so that populating finds some of it done.
    if (hints & HINT_PREFETCH)
        prefetch_post(m->start, m->end, m->inode, m->dev);
    for (unsigned i = 0; i < array_len(flags); i++)
        if (hints & flags[i].hint)
            advise(flags[i].advice, m->start, m->end - m->start);
}

// There is nothing to read, and what is not there yet would be made.
static bool is_in_memory(int fd)
{
    struct statfs fs;
    int saved = errno;
    bool told = syscall(SYS_fstatfs, fd, &fs) == 0;

    errno = saved;
    return !told || fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC ||
           fs.f_type == HUGETLBFS_MAGIC;
}

// Whole pages; false where the kernel will refuse the range.
static bool pages_of(const void *addr, size_t length, uint64_t *start, uint64_t *end)
{
    *start = (uint64_t)(uintptr_t)addr;
    return !(*start & (advise_page_bytes() - 1)) && advise_pages(*start, length, false, start, end);
}

static void note_file(uint64_t start, uint64_t end, int prot, int flags, int fd, off_t offset)
{
    struct mapping m = {
        .start = start,
        .end = end,
        .offset = (uint64_t)offset,
        .prot = (uint8_t)prot,
        .flags = (flags & MAP_TYPE) == MAP_PRIVATE ? 0 : MAPPING_SHARED,
    };
    unsigned hints = 0;

    if (on() & CALLS_RULES) {
        int saved = errno;
        hints = look_up(fd, &m);
        errno = saved;
        m.hints = (uint16_t)hints;
        m.flags |= MAPPING_RULED;
    }
    record_put(&m);
    if (calls_on_file)
        calls_on_file(end - start);
    if ((hints & HINT_PREFETCH) && is_in_memory(fd))
        hints &= ~(unsigned)HINT_PREFETCH;
    if (hints & HINT_AT_ONCE)
        give_hints(&m, hints);
}

// MAP_FIXED_NOREPLACE wins where both are given.
static bool replaces(int flags)
{
    return (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) == MAP_FIXED;
}

void *calls_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    uint64_t start, end;
    bool record = on() & CALLS_RECORD, replace = record && replaces(flags);
    bool anonymous = flags & MAP_ANONYMOUS;

    if (likely(!on()))
        return (void *)raw_mmap(addr, length, prot, flags, fd, offset);
    replace = replace && pages_of(addr, length, &start, &end);
    if (replace) {
        record_begin();
        record_remove(start, end);
    }
    long at = raw_mmap(addr, length, prot, flags, fd, offset);
    if (at == -1) {
        if (replace)
            record_doubt();
    } else if (record && !anonymous && pages_of((void *)at, length, &start, &end)) {
        note_file(start, end, prot, flags, fd, offset);
    } else if (anonymous && (on() & CALLS_MERGE) && length >= CALLS_MERGE_MIN_BYTES &&
               (flags & MAP_TYPE) == MAP_PRIVATE) {
        advise(ADVICE_MERGEABLE, (uint64_t)at, length);
    }
    if (replace)
        record_end();
    return (void *)at;
}

int calls_munmap(void *addr, size_t length)
{
    uint64_t start, end;

    if (!(on() & CALLS_RECORD) || !pages_of(addr, length, &start, &end))
        return (int)syscall(SYS_munmap, addr, length);
    record_begin();
    record_remove(start, end);
    long result = syscall(SYS_munmap, addr, length);
    if (result != 0)
        record_doubt();
    record_end();
    return (int)result;
}

void *calls_mremap(void *old, size_t old_length, size_t length, int flags, void *to)
{
    uint64_t start, end = 0, to_start, to_end, number = 0;
    bool lifted = old_length != 0;

    // With an old length of 0 the mapping stays, and gets a twin.
    if (!(on() & CALLS_RECORD) || !pages_of(old, lifted ? old_length : 1, &start, &end))
        return (void *)syscall(SYS_mremap, old, old_length, length, flags, to);
    record_begin();
    if ((flags & MREMAP_FIXED) && pages_of(to, length, &to_start, &to_end))
        record_remove(to_start, to_end);
    if (lifted)
        number = record_lift(start, end);
    long at = syscall(SYS_mremap, old, old_length, length, flags, to);
    if (at == -1) {
        // Only what is moved in several pieces can have come half way; the target may be gone.
        if (lifted)
            record_drop(number, start, end, start, end - start, false);
        if (flags & MREMAP_FIXED)
            record_doubt();
    } else if (pages_of((void *)at, length, &to_start, &to_end)) {
        if (lifted)
            record_drop(number, start, end, to_start, to_end - to_start, flags & MREMAP_DONTUNMAP);
        else
            record_copy(start, to_start, to_end - to_start);
    }
    record_end();
    return (void *)at;
}

int calls_madvise(void *addr, size_t length, int advice)
{
    uint64_t start, end;
    long result = syscall(SYS_madvise, addr, length, advice);

    if (result != 0 || !(on() & CALLS_RECORD) || !pages_of(addr, length, &start, &end))
        return (int)result;
    switch (advice) {
    case MADV_WILLNEED:
    case MADV_SEQUENTIAL:
    case MADV_RANDOM:
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
        record_use(start, end);
        break;
    case MADV_DONTFORK:
    case MADV_DOFORK:
        record_fork_differs();
        break;
    default:
        break;
    }
    return (int)result;
}
