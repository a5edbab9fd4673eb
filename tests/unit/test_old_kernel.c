// Kernels and emulators that treat mremap and madvise otherwise: pages still move where they can,
// what is live stays as it is, what has to be zero is, and what is off is said once.
//
// The definitions of mremap and madvise below stand before libc's, as those of a preloaded library
// would; next_find() makes the heap call them.

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pool/region/page_move.h"
#include "pool/region/region.h"
#include "pool/region/remap.h"
#include "shim/next.h"

#define K ((size_t)1024)
#define M (K * K)

enum { BLOCKS = 24 };

static enum {
    THIS_KERNEL,
    BEFORE_6_17,   // a move of several mappings unmaps the target and fails
    QEMU_USER,     // what moved away counts as unmapped: MADV_DONTNEED there does nothing
    WITHOUT_MOVES, // EINVAL
} kernel;

static uintptr_t gone, gone_end; // QEMU_USER: the source of the last move
static unsigned refused;         // moves, BEFORE_6_17
static unsigned said;

// As mremap says it of a request to grow that it cannot grant.
static bool is_one_mapping(void *at, size_t size)
{
    return syscall(SYS_mremap, at, size, size + M * M, 0) == -1 && errno == ENOMEM;
}

void *mremap(void *old, size_t old_length, size_t length, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    void *to = va_arg(args, void *);
    va_end(args);
    if (kernel == WITHOUT_MOVES) {
        errno = EINVAL;
        return MAP_FAILED;
    }
    if (kernel == BEFORE_6_17 && !is_one_mapping(old, old_length)) {
        refused++;
        munmap(to, length);
        errno = EFAULT;
        return MAP_FAILED;
    }
    gone = (uintptr_t)old, gone_end = gone + old_length;
    return (void *)syscall(SYS_mremap, old, old_length, length, flags, to);
}

int madvise(void *addr, size_t length, int advice)
{
    uintptr_t at = (uintptr_t)addr;

    if (kernel == QEMU_USER && at < gone_end && at + length > gone)
        return 0;
    return (int)syscall(SYS_madvise, addr, length, advice);
}

static void say(const char *why)
{
    cr_expect(why != NULL);
    said++;
}

static void init(void)
{
    next_find();
    size_class_init();
    cr_assert(eq(int, region_init(REGION_THP_DEFAULT), 0));
    remap_allow(say);
}

TestSuite(old_kernel, .init = init);

static bool is_all(const unsigned char *p, size_t bytes, unsigned char value)
{
    return p[0] == value && memcmp(p, p + 1, bytes - 1) == 0;
}

static uint32_t unit_of(const void *ptr)
{
    return (uint32_t)region_unit(ptr);
}

static unsigned char *block_of(size_t size, unsigned char value)
{
    unsigned char *p = region_block_new(size_class_of(size), false);

    cr_assert(p != NULL);
    memset(p, value, size);
    return p;
}

// Blocks of 256 KiB, each free one between two live ones, and each made of two mappings: its second
// half changes places with the pages of another mapping.
static void scatter(unsigned char *live[BLOCKS])
{
    unsigned char *dead[BLOCKS];

    for (int i = 0; i < BLOCKS; i++) {
        dead[i] = block_of(256 * K, 0xdd);
        live[i] = block_of(256 * K, (unsigned char)i);
        void *other =
            mmap(NULL, 128 * K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(other, 0xdd, 128 * K);
        uintptr_t middle = ((uintptr_t)dead[i] & ~(uintptr_t)4095) + 128 * K;
        cr_assert(page_move((uintptr_t)other, 128 * K, middle));
        cr_assert(eq(sz, page_move_in_one_mapping(middle - 64 * K, 128 * K), 64 * K));
    }
    for (int i = 0; i < BLOCKS; i++)
        region_block_delete(unit_of(dead[i]));
}

// As a request does it.
static unsigned char *fill(size_t size, size_t *moved)
{
    struct remap r = {0};

    *moved = 0;
    if (!remap_usable())
        return block_of(size, 0);
    cr_assert(remap_begin(&r));
    unsigned char *p = region_block_new(size_class_of(size), false);
    *moved = remap_fill(&r, (uintptr_t)p & ~(uintptr_t)4095, (uintptr_t)p + size, REMAP_ANY);
    remap_end();
    cr_expect(not(r.lost));
    return p;
}

static void expect_all_well(unsigned char *live[BLOCKS], unsigned char *filled, size_t size)
{
    memset(filled, 0x77, size);
    for (int i = 0; i < BLOCKS; i++) {
        unsigned char *zeroed = region_block_new(size_class_of(256 * K), true);
        cr_expect(is_all(zeroed, 256 * K, 0), "block %d", i);
        memset(zeroed, 0x99, 256 * K);
    }
    cr_expect(is_all(filled, size, 0x77));
    for (int i = 0; i < BLOCKS; i++)
        cr_expect(is_all(live[i], 256 * K, (unsigned char)i), "block %d", i);
}

static void move_and_check(enum page_moves expected, size_t moved_at_least)
{
    unsigned char *live[BLOCKS];
    size_t moved;

    scatter(live);
    cr_expect(eq(int, page_move_probe(), expected));
    unsigned char *p = fill(M, &moved);
    cr_expect(ge(sz, moved, moved_at_least));
    cr_expect(eq(int, remap_enabled(), moved_at_least > 0));
    cr_expect(eq(uint, said, moved_at_least == 0));
    expect_all_well(live, p, M);
}

Test(old_kernel, this_kernel_moves_pages_of_several_mappings_or_is_treated_as_an_older_one)
{
    enum page_moves here = page_move_probe();

    cr_expect(ne(int, here, PAGE_MOVES_NONE));
    move_and_check(here, 7 * 128 * K);
}

Test(old_kernel, before_6_17_pages_move_mapping_by_mapping)
{
    kernel = BEFORE_6_17;
    move_and_check(PAGE_MOVES_ONE, 7 * 128 * K);
    cr_expect(eq(uint, refused, 2), "the two probes are all that was refused");
}

Test(old_kernel, where_the_source_counts_as_unmapped_afterwards_nothing_moves)
{
    unsigned char *live[BLOCKS];
    size_t moved;

    scatter(live);
    kernel = QEMU_USER;
    unsigned char *p = fill(M, &moved);
    gone_end = 0;
    cr_expect(eq(sz, moved, 0));
    cr_expect(eq(uint, said, 1));
    cr_expect(not(remap_usable()));
    cr_expect(eq(uint, said, 1));
    expect_all_well(live, p, M);
}

Test(old_kernel, where_mremap_cannot_move_nothing_moves)
{
    unsigned char *live[BLOCKS];
    size_t moved;

    scatter(live);
    kernel = WITHOUT_MOVES;
    unsigned char *p = fill(M, &moved);
    cr_expect(eq(sz, moved, 0));
    cr_expect(eq(uint, said, 1));
    expect_all_well(live, p, M);
}

// Pieces below 64 KiB between the borders are not worth a move.
Test(old_kernel, small_pieces_are_passed_over)
{
    const uintptr_t page = 4096;
    struct remap r = {0};
    char *from = mmap(NULL, M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *to = mmap(NULL, M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    kernel = BEFORE_6_17;
    cr_assert(remap_usable());
    memset(from, 5, M);
    for (size_t at = 256 * K; at < 512 * K; at += 32 * K)
        cr_assert(mprotect(from + at, page, PROT_READ) == 0);
    r.to = (uintptr_t)to, r.end = r.to + M;
    cr_assert(remap_begin(&r));
    cr_expect(eq(sz, remap_take((uintptr_t)from, M), 256 * K + 540 * K));
    remap_end();
    cr_expect(eq(uint, refused, 1));
    cr_expect(eq(chr, from[300 * K], 5), "stays");
    cr_expect(eq(chr, from[0], 0), "moved");
    cr_expect(eq(chr, from[M - 1], 0), "moved");
}
