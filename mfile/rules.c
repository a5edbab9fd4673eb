#include "mfile/rules.h"

#include <assert.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "mfile/advise.h"
#include "mfile/parse/maps.h"
#include "mfile/prefetch.h"
#include "mfile/record/record.h"
#include "shim/base.h"

static const struct policy *policy;

// What the policy said of files seen before, a word each: the rule's number, and 56 bits of a hash
// of device, inode and time of change (a file that is renamed changes). A word is whole or not
// there, so there is no lock.
enum { REMEMBERED = 1024 };
static _Atomic uint64_t remembered[REMEMBERED];
// Not where folders matter to a rule: they are renamed, and the file does not change.
static bool folders_matter;

// Where a file's pages come from.
enum place { ON_DISK, IN_MEMORY, NOWHERE_KNOWN };

void rules_init(const struct policy *p)
{
    policy = p;
    folders_matter = false;
    for (unsigned r = 0; r < p->count; r++)
        folders_matter |= memchr(p->rule[r].glob, '/', p->rule[r].length) != NULL;
}

static uint16_t hints_of(int rule)
{
    return rule < 0 ? 0 : policy->rule[rule].hints;
}

uint16_t rules_hints(const char *path)
{
    return hints_of(policy_find(policy, path));
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
    return hash ^ hash >> 29;
}

static int rule_of_fd(int fd)
{
    // Not PATH_MAX: handlers of signals may have 8 KiB of stack, and half of it used.
    char path[1024];
    int length = maps_path_of_fd(fd, path, sizeof path);

    return length < 0 || (size_t)length >= sizeof path - 1 ? -1 : policy_find(policy, path);
}

// A file with one name is checked once; the others, a deleted one among them, each time.
static int rule_of_file(int fd, const struct stat *st)
{
    uint64_t hash = mix(mix(mix(st->st_dev, st->st_ino), (uint64_t)st->st_ctim.tv_sec),
                        (uint64_t)st->st_ctim.tv_nsec);
    _Atomic uint64_t *slot = &remembered[hash >> 8 & (REMEMBERED - 1)];
    uint64_t seen = atomic_load_explicit(slot, memory_order_relaxed);

    if (st->st_nlink != 1 || folders_matter)
        return rule_of_fd(fd);
    if (seen && (seen ^ hash) >> 8 == 0)
        return (int)(seen & 0xff) - 1;
    static_assert(POLICY_RULES_MAX < 255, "a rule fits a byte");
    int rule = rule_of_fd(fd);
    atomic_store_explicit(slot, (hash & ~(uint64_t)0xff) | (uint64_t)(rule + 1),
                          memory_order_relaxed);
    return rule;
}

void rules_ask(int fd, struct mapping *m)
{
    struct stat st;
    int saved = errno;

    m->flags |= MAPPING_RULED;
    if (syscall(SYS_fstat, fd, &st) == 0) {
        m->inode = st.st_ino;
        m->dev = major(st.st_dev) << 20 | minor(st.st_dev);
        m->hints = hints_of(rule_of_file(fd, &st));
    }
    errno = saved;
}

// On tmpfs there is nothing to read, and what is not there yet would be made.
static enum place place_of(bool told, const struct statfs *fs)
{
    if (!told)
        return NOWHERE_KNOWN;
    return fs->f_type == TMPFS_MAGIC || fs->f_type == RAMFS_MAGIC || fs->f_type == HUGETLBFS_MAGIC
               ? IN_MEMORY
               : ON_DISK;
}

// What the kernel keeps as flags of a mapping.
static void give_flags(uint16_t hints, uint64_t start, uint64_t end)
{
    static const struct {
        unsigned hint;
        enum advice advice;
    } flags[] = {
        {HINT_SEQUENTIAL, ADVICE_SEQUENTIAL}, {HINT_RANDOM, ADVICE_RANDOM},
        {HINT_HUGEPAGE, ADVICE_HUGEPAGE},     {HINT_MERGEABLE, ADVICE_MERGEABLE},
        {HINT_DONTDUMP, ADVICE_DONTDUMP},
    };

    for (unsigned i = 0; i < array_len(flags); i++)
        if (hints & flags[i].hint)
            advise(flags[i].advice, start, end - start);
}

static void give(const struct mapping *m, enum place place)
{
    // Reading ahead first, so that populating finds some of it done. On tmpfs there is nothing to
    // read, and holes would be filled, which counts against the limit; of what may be tmpfs nothing
    // is said that could do so: the inode of a job means that it can be populated.
    if ((m->hints & HINT_PREFETCH) && place != IN_MEMORY)
        prefetch_post(m->start, m->end, place == ON_DISK ? m->inode : 0, m->dev);
    give_flags(m->hints, m->start, m->end);
    if ((m->hints & HINT_POPULATE) && place != IN_MEMORY)
        advise(ADVICE_POPULATE, m->start, m->end - m->start);
}

void rules_give(int fd, const struct mapping *m)
{
    struct statfs fs;
    int saved = errno;

    if (!(m->hints & HINT_AT_ONCE))
        return;
    give(m, place_of((m->hints & (HINT_PREFETCH | HINT_POPULATE)) &&
                         syscall(SYS_fstatfs, fd, &fs) == 0,
                     &fs));
    errno = saved;
}

bool rules_level(uint64_t start, uint64_t end)
{
    uint16_t hints = record_hints(start, end);

    give_flags(hints, start, end);
    return hints & HINT_AT_ONCE;
}

// Mappings that are asked for, and the answers.
enum { BATCH = 64 };
struct batch {
    unsigned count;
    struct mapping asked[BATCH], known[BATCH];
    enum place place[BATCH];
    bool found[BATCH];
};

// What the kernel has at the start of one of them, unless that is something else by now. The path's
// place is used only if it is of use, and the path still leads to that file.
static void take_line(struct batch *b, unsigned i, const struct maps_line *line)
{
    const struct mapping *m = &b->asked[i];
    uint16_t hints;
    struct statfs fs;
    struct stat st;

    if (!line->inode || line->offset + (m->start - line->start) != m->offset)
        return;
    hints = rules_hints(line->path);
    b->found[i] = true;
    b->known[i] = (struct mapping){.inode = line->inode, .dev = line->dev, .hints = hints};
    b->place[i] =
        place_of((hints & (HINT_PREFETCH | HINT_POPULATE)) && statfs(line->path, &fs) == 0 &&
                     stat(line->path, &st) == 0 && st.st_ino == line->inode,
                 &fs);
}

static bool take_lines(void *arg, const struct maps_line *line)
{
    struct batch *b = arg;

    for (unsigned i = 0; i < b->count; i++)
        if (b->asked[i].start >= line->start && b->asked[i].start < line->end)
            take_line(b, i, line);
    return b->count > 0;
}

bool rules_settle(void)
{
    struct batch b = {.count = 0};
    bool any = false;
    int fd;

    if (!record_waits() || (fd = maps_open()) < 0)
        return false;
    b.count = record_fresh(b.asked, BATCH);
    maps_read_from(fd, take_lines, &b);
    for (unsigned i = 0; i < b.count; i++) {
        if (!record_answer(&b.asked[i], b.found[i] ? &b.known[i] : NULL))
            continue;
        any = true;
        if (b.known[i].hints & HINT_AT_ONCE)
            give(&b.known[i], b.place[i]);
    }
    // What has to be asked for again can wait for a nap.
    return any;
}
