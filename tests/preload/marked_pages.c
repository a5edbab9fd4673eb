// marked_pages reused|moved|child|shared|undone: pages that the program marked and freed bear no
// mark for the next block that has them.
//
//   reused   each kind of mark, on blocks of several sizes; the next block at the address
//   moved    MADV_WIPEONFORK on every other block; then larger blocks, near a limit, whose pages
//            come from elsewhere. Run it with TIDEPOOL_LIMIT=40M
//   child    MADV_DONTFORK; the child, which lacks the pages, frees the block and takes it again
//   shared   small blocks, of which some are marked, with the pages that they share with others,
//   and
//            freed: the others keep their contents
//   undone   marks that the program takes off itself, over and over: nothing is left of them

#include "tests/preload/victim.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#define MADV_KEEPONFORK 19
#endif

// libnuma's, where there is one.
typedef long mbind_fn(void *addr, unsigned long length, int mode, const unsigned long *nodes,
                      unsigned long most, unsigned flags);

static int protect_all(void *p, size_t n)
{
    return mprotect(p, n, PROT_NONE);
}
static int protect_writes(void *p, size_t n)
{
    return mprotect(p, n, PROT_READ);
}
static int run_code(void *p, size_t n)
{
    return mprotect(p, n, PROT_READ | PROT_EXEC);
}
static int lock(void *p, size_t n)
{
    return mlock(p, n);
}
static int lock_later(void *p, size_t n)
{
    return mlock2(p, n, 1);
}
static int dont_fork(void *p, size_t n)
{
    return madvise(p, n, MADV_DONTFORK);
}
static int wipe(void *p, size_t n)
{
    return madvise(p, n, MADV_WIPEONFORK);
}
static int dont_dump(void *p, size_t n)
{
    return madvise(p, n, MADV_DONTDUMP);
}
static int merge(void *p, size_t n)
{
    return madvise(p, n, MADV_MERGEABLE);
}
static int huge(void *p, size_t n)
{
    return madvise(p, n, MADV_HUGEPAGE);
}
static int in_order(void *p, size_t n)
{
    return madvise(p, n, MADV_SEQUENTIAL);
}
static int guard(void *p, size_t n)
{
    return madvise(p, n, MADV_GUARD_INSTALL);
}

static int key(void *p, size_t n)
{
    int k = pkey_alloc(0, 0);

    return k < 0 ? -1 : pkey_mprotect(p, n, PROT_READ | PROT_WRITE, k);
}

static int policy(void *p, size_t n)
{
    mbind_fn *mbind = (mbind_fn *)victim_symbol("mbind");
    unsigned long node = 1;
    const int mpol_bind = 2;

    return mbind ? (int)mbind(p, n, mpol_bind, &node, 8, 0) : -1;
}

static int map_over(void *p, size_t n)
{
    const int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED;

    return mmap(p, n, PROT_READ | PROT_WRITE, flags, -1, 0) == p ? 0 : -1;
}

static const struct {
    const char *name;
    int (*mark)(void *p, size_t n);
} kinds[] = {
    {"PROT_NONE", protect_all},    {"PROT_READ", protect_writes},
    {"PROT_EXEC", run_code},       {"mlock", lock},
    {"mlock2", lock_later},        {"DONTFORK", dont_fork},
    {"WIPEONFORK", wipe},          {"DONTDUMP", dont_dump},
    {"MERGEABLE", merge},          {"HUGEPAGE", huge},
    {"SEQUENTIAL", in_order},      {"guard pages", guard},
    {"a protection key", key},     {"a NUMA policy", policy},
    {"another mapping", map_over},
};

static const size_t sizes[] = {8 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, 1000000, 4000000};

// That guards were there once is remembered by the kernel for all pages around (Linux 6.18).
static void forget_guards(char *flags)
{
    char *gu = strstr(flags, " gu");

    if (gu)
        memmove(gu, gu + 3, strlen(gu + 3) + 1);
}

// What the kernel says of the mapping that an address is in.
struct state {
    char flags[128], key[64];
    int policy;
};

static struct state state_of(uintptr_t at)
{
    struct state s = {.policy = -1};
    char line[256];
    bool inside = false;
    FILE *f = fopen("/proc/self/smaps", "re");

    CHECK(f, "smaps");
    while (fgets(line, sizeof line, f)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = at >= from && at < to;
        if (inside && !strncmp(line, "VmFlags:", 8))
            strncpy(s.flags, line + 8, sizeof s.flags - 1), forget_guards(s.flags);
        if (inside && !strncmp(line, "ProtectionKey:", 14))
            strncpy(s.key, line + 14, sizeof s.key - 1);
    }
    fclose(f);
    const int of_address = 2;
    syscall(SYS_get_mempolicy, &s.policy, NULL, 0, at, of_address);
    return s;
}

// Blocks of the size until one covers the address; false where none does.
static char *take_again(uintptr_t at, size_t size)
{
    for (int i = 0; i < 300; i++) {
        char *p = malloc(size);
        CHECK(p, "no memory");
        if (at - (uintptr_t)p < size)
            return p;
    }
    return NULL;
}

static bool child_finds(const char *p, size_t size, char value)
{
    int status;
    pid_t child = fork();

    if (!child) {
        for (size_t i = 0; i < size; i++)
            if (p[i] != value)
                _exit(1);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child, "wait");
    return status == 0;
}

static int reuse(unsigned k, size_t size)
{
    void *block;

    CHECK(posix_memalign(&block, 4096, size) == 0, "no memory");
    memset(block, 1, size);
    uintptr_t at = (uintptr_t)block;
    struct state before = state_of(at);
    if (kinds[k].mark(block, size & ~(size_t)4095) != 0)
        return 0; // this kernel has none
    free(block);
    char *p = take_again(at, size);
    if (!p)
        return 0;
    memset(p, 7, size);
    CHECK(child_finds(p, size, 7), "%s, %zu: the child", kinds[k].name, size);
    struct state after = state_of(at);
    CHECK(!strcmp(before.flags, after.flags), "%s, %zu: flags%s, before%s", kinds[k].name, size,
          after.flags, before.flags);
    CHECK(!strcmp(before.key, after.key), "%s, %zu: key%s", kinds[k].name, size, after.key);
    CHECK(before.policy == after.policy, "%s, %zu: policy %d", kinds[k].name, size, after.policy);
    return 2;
}

// Each in a process of its own: a mark that stays must not reach the next case.
static void reused(void)
{
    unsigned seen = 0;

    for (unsigned k = 0; k < COUNT(kinds); k++)
        for (unsigned i = 0; i < COUNT(sizes); i++) {
            int status;
            pid_t child = fork();
            if (!child)
                _exit(reuse(k, sizes[i]));
            CHECK(waitpid(child, &status, 0) == child, "wait");
            CHECK(WIFEXITED(status), "%s, %zu: signal %d", kinds[k].name, sizes[i],
                  WTERMSIG(status));
            if (WEXITSTATUS(status) == 1)
                _exit(1);
            seen += WEXITSTATUS(status) == 2;
        }
    CHECK(seen > 30, "only %u blocks had an address again", seen);
}

static void moved(void)
{
    enum { BLOCKS = 160, LARGE = 12 };
    const size_t size = 200000, large = 900000;
    static void *block[BLOCKS];
    static char *taken[LARGE];

    for (int i = 0; i < BLOCKS; i++) {
        CHECK(posix_memalign(&block[i], 4096, size) == 0, "no memory");
        memset(block[i], 1, size);
    }
    for (int i = 0; i < BLOCKS; i += 2) {
        CHECK(madvise(block[i], size & ~(size_t)4095, MADV_WIPEONFORK) == 0, "madvise");
        free(block[i]);
    }
    for (int i = 0; i < LARGE; i++) {
        taken[i] = malloc(large + 70000 * (size_t)i);
        CHECK(taken[i], "no memory");
        memset(taken[i], 7, large);
    }
    for (int i = 0; i < LARGE; i++)
        CHECK(child_finds(taken[i], large, 7), "block %d", i);
}

// The parent's block goes on in the child, where it is a hole.
static void child(void)
{
    const size_t size = 256 * KIB;
    void *block;
    int status;

    CHECK(posix_memalign(&block, 4096, size) == 0, "no memory");
    memset(block, 1, size);
    CHECK(madvise(block, size, MADV_DONTFORK) == 0, "madvise");
    pid_t pid = fork();
    if (!pid) {
        uintptr_t at = (uintptr_t)block;
        free(block);
        char *p = take_again(at, size);
        if (p)
            memset(p, 7, size);
        _exit(p ? 0 : 4);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0, "the child ended with %x", status);
}

static void shared(void)
{
    enum { BLOCKS = 4000 };
    static unsigned char *block[BLOCKS];
    static size_t size[BLOCKS];
    uint64_t random = 77;

    for (int round = 0; round < 8; round++) {
        for (uint64_t i = 0; i < BLOCKS; i++) {
            if (block[i])
                continue;
            size[i] = 16 + victim_random(&random) % (i % 2 ? 1000 : 14000);
            block[i] = malloc(size[i]);
            CHECK(block[i], "no memory");
            victim_fill(block[i], size[i], i);
        }
        for (uint64_t i = (uint64_t)round; i < BLOCKS; i += 5) {
            uintptr_t page = (uintptr_t)block[i] & ~(uintptr_t)4095;
            size_t pages = ((uintptr_t)block[i] + size[i] + 4095 - page) & ~(size_t)4095;
            CHECK(mlock(block[i], size[i]) == 0, "mlock");
            CHECK(madvise((void *)page, pages, MADV_DONTDUMP) == 0, "madvise");
            free(block[i]);
            block[i] = NULL;
        }
        for (uint64_t i = 0; i < BLOCKS; i++)
            CHECK(!block[i] || victim_intact(block[i], size[i], size[i], i), "block %lu", i);
    }
}

static void undone(void)
{
    for (int i = 0; i < 2000; i++) {
        void *p;
        size_t size = sizes[i % COUNT(sizes)], pages = size & ~(size_t)4095;
        CHECK(posix_memalign(&p, 4096, size) == 0, "no memory");
        CHECK(madvise(p, pages, MADV_DONTFORK) == 0 && madvise(p, pages, MADV_DOFORK) == 0, "fork");
        CHECK(mprotect(p, pages, PROT_READ) == 0, "mprotect");
        CHECK(mprotect(p, pages, PROT_READ | PROT_WRITE) == 0, "mprotect");
        CHECK(mlock(p, pages) == 0 && munlock(p, pages) == 0, "mlock");
        victim_fill(p, size, (uint64_t)i);
        CHECK(victim_intact(p, size, size, (uint64_t)i), "contents");
        free(p);
    }
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "reused";

    if (!strcmp(mode, "moved"))
        moved();
    else if (!strcmp(mode, "child"))
        child();
    else if (!strcmp(mode, "shared"))
        shared();
    else if (!strcmp(mode, "undone"))
        undone();
    else
        reused();
    return 0;
}
