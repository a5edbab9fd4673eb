// Free pages that move to where new ones would be taken: all that is live stays as it is, what
// moved is where it should be, and a move that cannot be made says so and loses nothing.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/jemalloc_private/page_hooks.h"
#include "pool/region/page_move.h"
#include "pool/region/region.h"
#include "pool/region/remap.h"

#define K ((size_t)1024)
#define M (K * K)

enum { BLOCKS = 24 };

static void init(void)
{
    size_class_init();
    cr_assert(eq(int, region_init(REGION_THP_DEFAULT), 0));
    remap_allow(NULL);
}

TestSuite(remap, .init = init);

static uint32_t unit_of(const void *ptr)
{
    return (uint32_t)region_unit(ptr);
}

static bool is_all(const unsigned char *p, size_t bytes, unsigned char value)
{
    return p[0] == value && memcmp(p, p + 1, bytes - 1) == 0;
}

// Free blocks of 128 KiB, of which no two lie side by side, with pages; and live ones between them.
static void scatter(unsigned char *live[BLOCKS])
{
    unsigned class = size_class_of(128 * K);
    unsigned char *dead[BLOCKS];

    for (int i = 0; i < BLOCKS; i++) {
        dead[i] = region_block_new(class, false);
        live[i] = region_block_new(class, false);
        memset(dead[i], 0xdd, size_class_bytes(class));
        memset(live[i], i, size_class_bytes(class));
    }
    for (int i = 0; i < BLOCKS; i++)
        region_block_delete(unit_of(dead[i]));
}

static void expect_live(unsigned char *live[BLOCKS])
{
    for (int i = 0; i < BLOCKS; i++)
        cr_expect(is_all(live[i], 128 * K, (unsigned char)i), "block %d", i);
}

// As a request does it; returns the block.
static unsigned char *fill(size_t size, size_t *moved)
{
    struct remap r = {0};
    unsigned class = size_class_of(size);

    cr_assert(remap_begin(&r));
    unsigned char *p = region_block_new(class, false);
    cr_assert(p != NULL);
    *moved = remap_fill(&r, (uintptr_t)p & ~(uintptr_t)4095, (uintptr_t)p + size_class_bytes(class),
                        REMAP_ANY);
    remap_end();
    cr_expect(not(r.lost));
    pages_take(r.fresh_end - r.fresh - *moved);
    return p;
}

static size_t resident_bytes(void)
{
    unsigned long size, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    cr_assert(f && fscanf(f, "%lu %lu", &size, &resident) == 2);
    fclose(f);
    return resident * 4096;
}

Test(remap, pages_of_free_blocks_become_those_of_a_new_one)
{
    unsigned char *live[BLOCKS];
    size_t moved;

    cr_assert(remap_usable());
    scatter(live);
    uint64_t held = pages_taken() - pages_returned();
    size_t resident = resident_bytes();
    unsigned char *p = fill(M, &moved);
    cr_expect(ge(sz, moved, 7 * 128 * K), "%zu", moved);
    cr_expect(eq(u64, remap_bytes(), moved));
    // Their contents came along, and nothing was taken or given back for them.
    unsigned from_dead = 0;
    for (size_t at = 0; at < M; at += 4 * K)
        from_dead += p[at + 2000] == 0xdd;
    cr_expect(ge(uint, from_dead, 7 * 32));
    memset(p, 1, M);
    cr_expect(le(sz, resident_bytes(), resident + M - moved + 256 * K));
    cr_expect(le(u64, pages_taken() - pages_returned(), held + M - moved + 64 * K));
    expect_live(live);
}

Test(remap, where_they_were_there_is_room_again)
{
    unsigned char *live[BLOCKS], *p[BLOCKS];
    unsigned class = size_class_of(128 * K);
    size_t moved;

    scatter(live);
    unsigned char *big = fill(M, &moved);
    memset(big, 0xbb, M);
    for (int i = 0; i < BLOCKS; i++) {
        p[i] = region_block_new(class, true);
        cr_expect(is_all(p[i], 128 * K, 0), "block %d", i);
        memset(p[i], 0x77, 128 * K);
    }
    cr_expect(is_all(big, M, 0xbb));
    expect_live(live);
    for (int i = 0; i < BLOCKS; i++)
        cr_expect(is_all(p[i], 128 * K, 0x77));
}

// A free extent of several MiB gives what is wanted of it, and stays for the rest.
Test(remap, of_a_large_extent_only_as_much_as_is_wanted)
{
    unsigned class = size_class_of(M);
    unsigned char *p[40];
    struct remap r = {0};
    size_t moved;

    // The region grows in pieces, and the first are too small for several to lie side by side.
    for (int i = 0; i < 40; i++) {
        p[i] = region_block_new(class, false);
        memset(p[i], 0xdd, M);
    }
    for (int i = 36; i < 39; i++)
        region_block_delete(unit_of(p[i]));
    void *at = mmap(NULL, M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    r.fresh = (uintptr_t)at, r.fresh_end = r.fresh + M;
    uint64_t returned = pages_returned();
    cr_assert(remap_begin(&r));
    moved = remap_fill(&r, r.fresh, r.fresh_end, REMAP_ANY);
    remap_end();
    cr_expect(eq(sz, moved, M));
    cr_expect(lt(u64, pages_returned() - returned, 128 * K));
    cr_expect(is_all(at, M, 0xdd));
    region_purge();
    cr_expect(ge(u64, pages_returned() - returned, 2 * M));
}

static void *begin_in_vain(void *r)
{
    return remap_begin(r) || remap_note(4096, M) ? r : NULL;
}

Test(remap, one_thread_at_a_time_and_a_child_is_free_to)
{
    struct remap r = {0}, other = {0};
    pthread_t id;
    void *did;

    cr_assert(remap_begin(&r));
    cr_assert(eq(int, pthread_create(&id, NULL, begin_in_vain, &other), 0));
    pthread_join(id, &did);
    cr_expect(did == NULL);
    remap_postfork_child();
    cr_expect(remap_begin(&other));
    remap_end();
}

static void *fill_cancelled(void *live)
{
    size_t moved;

    pthread_cancel(pthread_self());
    scatter(live);
    if (remap_usable())
        fill(M, &moved);
    int ignored;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &ignored);
    expect_live(live);
    return live;
}

// A thread that is to end does so where the standard says, and no request for memory is such a
// place.
Test(remap, nobody_is_cancelled_in_the_middle)
{
    unsigned char *live[BLOCKS];
    pthread_t id;
    void *did;

    remap_postfork_parent();
    cr_assert(eq(int, pthread_create(&id, NULL, fill_cancelled, live), 0));
    pthread_join(id, &did);
    cr_expect(did == live);
    cr_expect(gt(u64, remap_bytes(), 0));
}

Test(remap, small_ranges_and_other_threads_ranges_are_not_noted)
{
    struct remap r = {0};

    cr_expect(not(remap_note(4096, M)));
    cr_assert(remap_begin(&r));
    cr_expect(not(remap_note(4096, REMAP_MIN_BYTES - 4096)));
    cr_expect(remap_note(8192, M));
    cr_expect(not(remap_note(M * 4, M)), "the first only");
    remap_end();
    cr_expect(eq(uptr, r.fresh, 8192));
    cr_expect(eq(uptr, r.fresh_end, 8192 + M));
}

// What was noted need not be of this block, where a signal handler came between.
Test(remap, nothing_moves_outside_the_block)
{
    unsigned char *live[BLOCKS];
    struct remap r = {0};

    scatter(live);
    char *at = mmap(NULL, M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *block = mmap(NULL, M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(at, 5, M);
    r.fresh = (uintptr_t)at, r.fresh_end = r.fresh + M;
    cr_assert(remap_begin(&r));
    cr_expect(eq(sz, remap_fill(&r, (uintptr_t)block, (uintptr_t)block + M, REMAP_ANY), 0));
    cr_expect(is_all((unsigned char *)at, M, 5));
    r.to = r.end = 0;
    // Half of it is.
    size_t moved = remap_fill(&r, r.fresh + M / 2 + 100, r.fresh + 3 * M, REMAP_ANY);
    remap_end();
    cr_expect(gt(sz, moved, 0));
    cr_expect(lt(sz, moved, M / 2), "and no further");
    cr_expect(is_all((unsigned char *)at, M / 2 + 4096, 5));
    cr_expect(eq(chr, at[M / 2 + 4096], (char)0xdd));
    expect_live(live);
}

// A child's pages are its parent's, too, until one of them writes to them.
Test(remap, what_is_shared_with_a_child_stays_where_it_is)
{
    unsigned char *live[BLOCKS];
    size_t moved;
    int status;

    scatter(live);
    remap_postfork_parent();
    pid_t child = fork();
    if (!child) {
        remap_postfork_child();
        fill(M, &moved);
        _exit(moved != 0);
    }
    cr_assert(waitpid(child, &status, 0) == child);
    cr_expect(eq(int, status, 0), "the child's did not stay");
    child = fork();
    if (!child) {
        pause();
        _exit(0);
    }
    fill(M, &moved);
    cr_expect(eq(sz, moved, 0));
    kill(child, SIGKILL);
    cr_assert(waitpid(child, &status, 0) == child);
    // Now they are its own.
    scatter(live);
    fill(M, &moved);
    cr_expect(ge(sz, moved, 7 * 128 * K));
    expect_live(live);
}

Test(remap, address_space_that_is_limited_rules_it_out)
{
    struct rlimit as = {.rlim_cur = (rlim_t)1 << 46, .rlim_max = RLIM_INFINITY};

    cr_expect(remap_usable());
    cr_assert(setrlimit(RLIMIT_AS, &as) == 0);
    cr_expect(not(remap_usable()));
    as.rlim_cur = RLIM_INFINITY;
    cr_assert(setrlimit(RLIMIT_AS, &as) == 0);
    cr_expect(remap_usable());
}

Test(remap, data_that_is_limited_rules_it_out)
{
    struct rlimit data = {.rlim_cur = (rlim_t)1 << 40, .rlim_max = RLIM_INFINITY};

    cr_assert(setrlimit(RLIMIT_DATA, &data) == 0);
    cr_expect(not(remap_usable()));
    data.rlim_cur = RLIM_INFINITY;
    cr_assert(setrlimit(RLIMIT_DATA, &data) == 0);
    cr_expect(remap_usable());
}

// A free block that is made of two mappings, which neighbours that moved before make of it.
Test(remap, a_source_of_two_mappings_moves_as_a_whole_or_in_two)
{
    struct remap r = {0};
    char *from = mmap(NULL, M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *other = mmap(NULL, M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *to = mmap(NULL, M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    cr_assert(remap_usable());
    memset(from, 1, M);
    memset(other, 2, M);
    cr_assert(page_move((uintptr_t)other, M / 2, (uintptr_t)from + M / 2));
    r.to = (uintptr_t)to, r.end = r.to + M;
    cr_assert(remap_begin(&r));
    cr_expect(eq(sz, remap_take((uintptr_t)from, M), M));
    remap_end();
    cr_expect(not(r.lost));
    cr_expect(remap_enabled());
    cr_expect(is_all((unsigned char *)to, M / 2, 1));
    cr_expect(is_all((unsigned char *)to + M / 2, M / 2, 2));
    cr_expect(is_all((unsigned char *)from, M, 0));
}

// By the raw system call, for AddressSanitizer's mlock() does nothing. Any user may lock 8 KiB.
static void *lock_memory(void)
{
    void *at = mmap(NULL, 8 * K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    cr_assert(syscall(SYS_mlock, at, 8 * K) == 0);
    return at;
}

Test(remap, memory_that_is_locked_stays_where_it_is)
{
    lock_memory();
    cr_expect(not(remap_usable()));
}

Test(remap, what_is_locked_later_is_heeded_at_once_and_until_it_is_unlocked)
{
    cr_expect(remap_usable());
    void *locked = lock_memory();
    remap_locks_changed();
    cr_expect(not(remap_usable()));
    cr_expect(not(remap_enabled()));
    cr_assert(syscall(SYS_munlock, locked, 8 * K) == 0);
    remap_locks_changed();
    cr_expect(remap_usable());
}

// The program does not tell that memory was locked: it is seen after some moves.
Test(remap, a_lock_by_a_raw_system_call_is_heeded_after_64_moves)
{
    struct remap r = {0};
    char *from = mmap(NULL, 128 * K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *to = mmap(NULL, 128 * K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int moves = 0;

    cr_expect(remap_usable());
    lock_memory();
    cr_assert(remap_begin(&r));
    for (; moves < 1000 && remap_usable(); moves++) {
        r.to = (uintptr_t)to, r.end = r.to + 128 * K;
        cr_assert(eq(sz, remap_take((uintptr_t)from, 128 * K), 128 * K));
    }
    remap_end();
    cr_expect(le(int, moves, 64));
}

// One mapping beside the other, each different from its neighbours.
Test(remap, too_many_mappings_rule_it_out_until_they_are_gone)
{
    enum { MAPPINGS = 20000 };
    char *at = mmap(NULL, MAPPINGS * 4096ul, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    for (size_t i = 0; i < MAPPINGS; i += 2)
        cr_assert(mprotect(at + i * 4096, 4096, PROT_READ) == 0);
    cr_expect(not(remap_usable()));
    munmap(at, MAPPINGS * 4096ul);
    int asked = 0;
    while (!remap_usable() && asked < 100000)
        asked++;
    cr_expect(gt(int, asked, 1000), "it is not counted each time");
    cr_expect(lt(int, asked, 100000));
}

Test(remap, what_cannot_move_is_purged_and_that_was_the_last_try)
{
    struct remap r = {0};
    char *to = mmap(NULL, M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *gone = mmap(NULL, M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    cr_assert(remap_usable());
    munmap(gone, M);
    r.to = (uintptr_t)to, r.end = r.to + M;
    cr_assert(remap_begin(&r));
    cr_expect(eq(sz, remap_take((uintptr_t)gone, 128 * K), 0));
    cr_expect(eq(sz, remap_take((uintptr_t)gone, 128 * K), 0));
    remap_end();
    cr_expect(not(remap_usable()));
    // Either the kernel had not touched it, and it counts as lost, or it is there.
    if (!r.lost)
        memset(to, 1, M);
}
