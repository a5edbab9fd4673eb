// Every member of the allocation family makes a block, which is written, resized and freed by
// every member that frees. A library that exports only a part of the family dies here, because the
// block of one heap reaches the other.

#include "tests/preload/victim.h"

#include <malloc.h>

struct maker {
    const char *name;
    size_t align;
    void *(*make)(size_t size);
};

static void *by_malloc(size_t n)
{
    return malloc(n);
}
static void *by_calloc(size_t n)
{
    return calloc(1, n);
}
static void *by_realloc(size_t n)
{
    return realloc(NULL, n);
}
static void *by_reallocarray(size_t n)
{
    return reallocarray(NULL, n, 1);
}
static void *by_aligned_alloc(size_t n)
{
    return aligned_alloc(4096, n);
}
static void *by_posix_memalign(size_t n)
{
    void *p = NULL;
    return posix_memalign(&p, 64, n) ? NULL : p;
}
static void *by_memalign(size_t n)
{
    return memalign(256, n);
}
static void *by_valloc(size_t n)
{
    return valloc(n);
}
static void *by_pvalloc(size_t n)
{
    return pvalloc(n);
}

// Blocks that libc makes for itself and leaves to the caller to free.
static void *by_memstream(size_t n)
{
    char *p = NULL;
    size_t size;
    FILE *f = open_memstream(&p, &size);
    if (!f)
        return NULL;
    for (size_t i = 0; i < n; i += 7)
        fwrite("seven..", 1, n - i < 7 ? n - i : 7, f);
    fclose(f);
    return p;
}
static void *by_strdup(size_t n)
{
    char *text = malloc(n + 1);
    memset(text, 'x', n);
    text[n] = 0;
    char *copy = strdup(text);
    free(text);
    return copy;
}

static void *by_libc_malloc(size_t n)
{
    return ((void *(*)(size_t))victim_symbol("__libc_malloc"))(n);
}
static void *by_libc_calloc(size_t n)
{
    return ((void *(*)(size_t, size_t))victim_symbol("__libc_calloc"))(n, 1);
}
static void *by_libc_realloc(size_t n)
{
    return ((void *(*)(void *, size_t))victim_symbol("__libc_realloc"))(NULL, n);
}
static void *by_libc_memalign(size_t n)
{
    return ((void *(*)(size_t, size_t))victim_symbol("__libc_memalign"))(512, n);
}
static void *by_libc_valloc(size_t n)
{
    return ((void *(*)(size_t))victim_symbol("__libc_valloc"))(n);
}
static void *by_libc_pvalloc(size_t n)
{
    return ((void *(*)(size_t))victim_symbol("__libc_pvalloc"))(n);
}
static void *by_libc_posix_memalign(size_t n)
{
    int (*f)(void **, size_t, size_t) =
        (int (*)(void **, size_t, size_t))victim_symbol("__posix_memalign");
    void *p = NULL;
    // glibc keeps this one to itself (GLIBC_PRIVATE); only a replacement shows it.
    return f ? (f(&p, 128, n) ? NULL : p) : memalign(128, n);
}

static const struct maker makers[] = {
    {"malloc", 16, by_malloc},
    {"calloc", 16, by_calloc},
    {"realloc", 16, by_realloc},
    {"reallocarray", 16, by_reallocarray},
    {"aligned_alloc", 4096, by_aligned_alloc},
    {"posix_memalign", 64, by_posix_memalign},
    {"memalign", 256, by_memalign},
    {"valloc", 4096, by_valloc},
    {"pvalloc", 4096, by_pvalloc},
    {"open_memstream", 1, by_memstream},
    {"strdup", 1, by_strdup},
    {"__libc_malloc", 16, by_libc_malloc},
    {"__libc_calloc", 16, by_libc_calloc},
    {"__libc_realloc", 16, by_libc_realloc},
    {"__libc_memalign", 512, by_libc_memalign},
    {"__libc_valloc", 4096, by_libc_valloc},
    {"__libc_pvalloc", 4096, by_libc_pvalloc},
    {"__posix_memalign", 128, by_libc_posix_memalign},
};

struct taker {
    const char *name;
    void (*take)(void *p, size_t align, size_t size);
};

static void (*free_sized_fn)(void *, size_t);
static void (*free_aligned_sized_fn)(void *, size_t, size_t);
static void (*cfree_fn)(void *);
static void (*libc_free_fn)(void *);
static void (*libc_cfree_fn)(void *);
static void *(*libc_realloc_fn)(void *, size_t);

static void to_free(void *p, size_t align, size_t size)
{
    (void)align, (void)size;
    free(p);
}
static void to_realloc_zero(void *p, size_t align, size_t size)
{
    (void)align, (void)size;
    void *q = realloc(p, 0);
    CHECK(q == NULL, "realloc(p, 0) frees and says NULL, as glibc's does");
}
static void to_cfree(void *p, size_t align, size_t size)
{
    (void)align, (void)size;
    (cfree_fn ? cfree_fn : free)(p);
}
static void to_libc_free(void *p, size_t align, size_t size)
{
    (void)align, (void)size;
    libc_free_fn(p);
}
static void to_libc_cfree(void *p, size_t align, size_t size)
{
    (void)align, (void)size;
    (libc_cfree_fn ? libc_cfree_fn : free)(p);
}
// C23 asks that the sizes be those of the request, so only plain makers may come here.
static void to_free_sized(void *p, size_t align, size_t size)
{
    if (align == 16 && free_sized_fn)
        free_sized_fn(p, size);
    else
        free(p);
}
static void to_free_aligned_sized(void *p, size_t align, size_t size)
{
    if (align == 4096 && free_aligned_sized_fn)
        free_aligned_sized_fn(p, align, size);
    else
        free(p);
}
static void to_libc_realloc(void *p, size_t align, size_t size)
{
    (void)align;
    p = libc_realloc_fn(p, size / 2 + 1);
    CHECK(p, "__libc_realloc to %zu", size / 2 + 1);
    free(p);
}

static const struct taker takers[] = {
    {"free", to_free},
    {"realloc", to_realloc_zero},
    {"cfree", to_cfree},
    {"free_sized", to_free_sized},
    {"free_aligned_sized", to_free_aligned_sized},
    {"__libc_free", to_libc_free},
    {"__libc_cfree", to_libc_cfree},
    {"__libc_realloc", to_libc_realloc},
};

static void one(const struct maker *m, const struct taker *t, size_t size)
{
    void *p = m->make(size);
    CHECK(p, "%s(%zu)", m->name, size);
    size_t align = size < m->align && m->align == 16 ? 1 : m->align;
    CHECK((uintptr_t)p % align == 0, "%s(%zu) = %p", m->name, size, p);
    CHECK(malloc_usable_size(p) >= size, "%s(%zu): %zu", m->name, size, malloc_usable_size(p));
    victim_fill(p, size, size);
    CHECK(victim_intact(p, size, size, size), "%s(%zu)", m->name, size);
    t->take(p, m->align, size);

    // And once more through a resize: the block that is freed was born elsewhere.
    p = m->make(size);
    victim_fill(p, size, size + 1);
    p = realloc(p, 2 * size);
    CHECK(p && victim_intact(p, size, size, size + 1), "realloc of %s(%zu)", m->name, size);
    t->take(p, 16, 2 * size);
}

int main(void)
{
    free_sized_fn = (void (*)(void *, size_t))victim_symbol("free_sized");
    free_aligned_sized_fn = (void (*)(void *, size_t, size_t))victim_symbol("free_aligned_sized");
    cfree_fn = (void (*)(void *))victim_symbol("cfree");
    libc_free_fn = (void (*)(void *))victim_symbol("__libc_free");
    libc_cfree_fn = (void (*)(void *))victim_symbol("__libc_cfree");
    libc_realloc_fn = (void *(*)(void *, size_t))victim_symbol("__libc_realloc");
    for (size_t m = 0; m < COUNT(makers); m++)
        for (size_t t = 0; t < COUNT(takers); t++)
            // Large blocks cost most of the time, and one way of freeing them says it all.
            for (size_t s = 0; s < COUNT(victim_sizes) && (t == 0 || victim_sizes[s] <= MIB / 2);
                 s++)
                one(&makers[m], &takers[t], victim_sizes[s]);

    void (*const all[])(void *) = {free, cfree_fn, libc_free_fn, libc_cfree_fn};
    for (size_t i = 0; i < COUNT(all); i++)
        if (all[i])
            all[i](NULL);
    if (free_sized_fn)
        free_sized_fn(NULL, 100);
    if (free_aligned_sized_fn)
        free_aligned_sized_fn(NULL, 64, 128);
    return 0;
}
