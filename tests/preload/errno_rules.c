// What POSIX and glibc say about errno, refusals, empty requests and overflow.

#include "tests/preload/victim.h"

#include <malloc.h>
#include <stdint.h>

static void *volatile kept;
static char untouched;

static void free_keeps_errno(void)
{
    for (size_t i = 0; i < COUNT(victim_sizes); i++) {
        void *p = malloc(victim_sizes[i]);
        errno = EXDEV;
        free(p);
        CHECK(errno == EXDEV, "free of %zu: errno %d", victim_sizes[i], errno);
    }
    // Large enough that it is unmapped at once, and many, so that caches overflow and pages go.
    static void *many[2000];
    for (size_t i = 0; i < COUNT(many); i++) {
        many[i] = malloc(64 * KIB);
        memset(many[i], 1, 64 * KIB);
    }
    errno = EXDEV;
    for (size_t i = 0; i < COUNT(many); i++)
        free(many[i]);
    free(NULL);
    CHECK(errno == EXDEV, "errno %d", errno);
}

static void refusals_say_enomem(void)
{
    volatile size_t sizes[] = {PTRDIFF_MAX,  (size_t)PTRDIFF_MAX + 1, SIZE_MAX,
                               SIZE_MAX - 1, SIZE_MAX - 4096,         SIZE_MAX / 2 - 4096};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t n = sizes[i];
        errno = 0;
        CHECK(!malloc(n) && errno == ENOMEM, "malloc(%zx): errno %d", n, errno);
        errno = 0;
        CHECK(!calloc(1, n) && errno == ENOMEM, "calloc(%zx): errno %d", n, errno);
        errno = 0;
        CHECK(!calloc(n, 1) && errno == ENOMEM, "calloc(%zx): errno %d", n, errno);
        errno = 0;
        CHECK(!realloc(NULL, n) && errno == ENOMEM, "realloc(%zx): errno %d", n, errno);
        errno = 0;
        CHECK(!aligned_alloc(64, n) && errno == ENOMEM, "aligned_alloc(%zx): errno %d", n, errno);
        errno = 0;
        CHECK(!memalign(64, n) && errno == ENOMEM, "memalign(%zx): errno %d", n, errno);
        errno = 0;
        CHECK(!valloc(n) && errno == ENOMEM, "valloc(%zx): errno %d", n, errno);
        errno = 0;
        CHECK(!pvalloc(n) && errno == ENOMEM, "pvalloc(%zx): errno %d", n, errno);
        void *p = &untouched;
        int rc = posix_memalign(&p, 64, n);
        CHECK(rc == ENOMEM && p == (void *)&untouched, "posix_memalign(%zx): %d", n, rc);
    }
    // May be granted where address space is not counted; must not crash, and says why if not.
    for (size_t n = (size_t)1 << 40; n < PTRDIFF_MAX / 2; n <<= 1) {
        errno = 0;
        kept = malloc(n);
        CHECK(kept || errno == ENOMEM, "malloc(%zx): errno %d", n, errno);
        free(kept);
    }
}

static void refused_resize_keeps_the_block(void)
{
    for (size_t i = 0; i < COUNT(victim_sizes); i++) {
        size_t n = victim_sizes[i];
        void *p = malloc(n);
        victim_fill(p, n, n);
        volatile size_t huge = PTRDIFF_MAX, half = (size_t)1 << 63;
        errno = 0;
        CHECK(!realloc(victim_hide(p), huge) && errno == ENOMEM, "realloc: errno %d", errno);
        errno = 0;
        CHECK(!reallocarray(victim_hide(p), half, 2) && errno == ENOMEM, "errno %d", errno);
        errno = 0;
        CHECK(!reallocarray(victim_hide(p), half + 1, 2) && errno == ENOMEM, "errno %d", errno);
        CHECK(victim_intact(p, n, n, n), "block of %zu", n);
        free(p);
    }
}

static void overflow_is_refused(void)
{
    volatile size_t a[] = {SIZE_MAX, SIZE_MAX / 2 + 1, (size_t)1 << 32, 3};
    volatile size_t b[] = {2, 2, (size_t)1 << 32, SIZE_MAX / 3 + 1};
    for (size_t i = 0; i < COUNT(a); i++) {
        errno = 0;
        CHECK(!calloc(a[i], b[i]) && errno == ENOMEM, "calloc(%zx, %zx)", a[i], b[i]);
        errno = 0;
        CHECK(!calloc(b[i], a[i]) && errno == ENOMEM, "calloc(%zx, %zx)", b[i], a[i]);
        errno = 0;
        CHECK(!reallocarray(NULL, a[i], b[i]) && errno == ENOMEM, "(%zx, %zx)", a[i], b[i]);
    }
}

static void alignments_are_judged(void)
{
    static const size_t bad[] = {0, 1, 2, 4, 7, 24, 48, 100, 4095, SIZE_MAX, SIZE_MAX / 2};
    for (size_t i = 0; i < COUNT(bad); i++) {
        void *p = &untouched;
        errno = EXDEV;
        int rc = posix_memalign(&p, bad[i], 5000);
        CHECK(rc == EINVAL, "posix_memalign with %zu: %d", bad[i], rc);
        CHECK(errno == EXDEV, "posix_memalign with %zu: errno %d", bad[i], errno);
        CHECK(p == (void *)&untouched, "posix_memalign with %zu wrote the pointer", bad[i]);
    }
    // glibc's memalign and, until 2.38, its aligned_alloc take the next power of two.
    static const size_t odd[] = {1, 2, 4, 7, 24, 48, 100, 3000, 4095};
    for (size_t i = 0; i < COUNT(odd); i++)
        for (size_t s = 0; s < COUNT(victim_sizes); s++) {
            size_t n = victim_sizes[s];
            void *p = memalign(odd[i], n);
            CHECK(p && (uintptr_t)p % odd[i] < 64 * KIB, "memalign(%zu, %zu)", odd[i], n);
            size_t power = 1;
            while (power < odd[i])
                power *= 2;
            CHECK((uintptr_t)p % power == 0, "memalign(%zu, %zu) = %p", odd[i], n, p);
            free(p);
            errno = 0;
            p = aligned_alloc(odd[i], n);
            CHECK(p ? (uintptr_t)p % power == 0 : errno == EINVAL, "aligned_alloc(%zu, %zu) = %p",
                  odd[i], n, p);
            free(p);
        }
    // The size need not be a multiple of the alignment.
    void *p = aligned_alloc(4096, 5000);
    CHECK(p && (uintptr_t)p % 4096 == 0, "%p", p);
    free(p);
    // No alignment of half the address space: EINVAL in glibc, ENOMEM elsewhere, never a block.
    errno = 0;
    volatile size_t half = (size_t)1 << 63;
    CHECK(!memalign(half, 1), "a block aligned to 2^63");
    CHECK(errno == ENOMEM || errno == EINVAL, "errno %d", errno);
}

static void empty_requests_get_a_block(void)
{
    void *p[9] = {malloc(0),
                  calloc(0, 0),
                  calloc(0, 5000),
                  calloc(5000, 0),
                  realloc(NULL, 0),
                  reallocarray(NULL, 0, 8),
                  aligned_alloc(64, 0),
                  memalign(4096, 0),
                  valloc(0)};
    for (size_t i = 0; i < COUNT(p); i++) {
        CHECK(p[i], "request %zu", i);
        for (size_t j = 0; j < i; j++)
            CHECK(p[i] != p[j], "%zu and %zu share a block", i, j);
    }
    for (size_t i = 0; i < COUNT(p); i++)
        free(p[i]);
    void *q = NULL;
    CHECK(posix_memalign(&q, 64, 0) == 0, "posix_memalign of nothing");
    free(q);
    q = pvalloc(1);
    CHECK(q && malloc_usable_size(q) >= 4096, "pvalloc(1) is a whole page");
    memset(q, 1, 4096);
    free(q);
    CHECK(malloc_usable_size(NULL) == 0, "NULL has a size");
}

int main(void)
{
    free_keeps_errno();
    refusals_say_enomem();
    refused_resize_keeps_the_block();
    overflow_is_refused();
    alignments_are_judged();
    empty_requests_get_a_block();
    return 0;
}
