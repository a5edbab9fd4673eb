// je - the part of jemalloc that the pools use, under the prefixed names that the build gives it.
//
// The flag macros repeat jemalloc(3): they are part of its public, stable interface, and taking
// them from <jemalloc/jemalloc.h> would also declare the unprefixed functions.
#ifndef TIDEPOOL_POOL_COMMON_JE_H
#define TIDEPOOL_POOL_COMMON_JE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JE_ALIGN_LG(lg) ((int)(lg))
#define JE_LG_ALIGN_MASK 63
#define JE_ZERO ((int)0x40)
#define JE_TCACHE_NONE ((int)1 << 8)
#define JE_ARENA(i) ((int)(((unsigned)(i) + 1) << 20))

// What MALLOCX_ALIGN and MALLOCX_LG_ALIGN put into the flags.
static inline size_t je_alignment(int flags)
{
    return (size_t)1 << (flags & 63);
}

#define JE_ARENAS_ALL 4096 // MALLCTL_ARENAS_ALL

void *je_malloc(size_t size);
void *je_calloc(size_t count, size_t size);
void *je_realloc(void *ptr, size_t size);
void je_free(void *ptr);
int je_posix_memalign(void **out, size_t alignment, size_t size);
void *je_aligned_alloc(size_t alignment, size_t size);
void *je_memalign(size_t alignment, size_t size);
void *je_valloc(size_t size);
size_t je_malloc_usable_size(void *ptr);

void *je_mallocx(size_t size, int flags);
void *je_rallocx(void *ptr, size_t size, int flags);
size_t je_xallocx(void *ptr, size_t size, size_t extra, int flags);
size_t je_sallocx(const void *ptr, int flags);
void je_dallocx(void *ptr, int flags);
void je_sdallocx(void *ptr, size_t size, int flags);
size_t je_nallocx(size_t size, int flags);
int je_mallctl(const char *name, void *old, size_t *old_len, void *new_value, size_t new_len);
int je_mallctlnametomib(const char *name, size_t *mib, size_t *mib_len);
int je_mallctlbymib(const size_t *mib, size_t mib_len, void *old, size_t *old_len, void *new_value,
                    size_t new_len);
void je_malloc_stats_print(void (*write_cb)(void *, const char *), void *arg, const char *opts);

// jemalloc(3), "arena.<i>.extent_hooks"; every function returns true on failure.
typedef struct extent_hooks_s extent_hooks_t;
struct extent_hooks_s {
    void *(*alloc)(extent_hooks_t *, void *addr, size_t size, size_t alignment, bool *zero,
                   bool *commit, unsigned arena);
    bool (*dalloc)(extent_hooks_t *, void *addr, size_t size, bool committed, unsigned arena);
    void (*destroy)(extent_hooks_t *, void *addr, size_t size, bool committed, unsigned arena);
    bool (*commit)(extent_hooks_t *, void *addr, size_t size, size_t offset, size_t length,
                   unsigned arena);
    bool (*decommit)(extent_hooks_t *, void *addr, size_t size, size_t offset, size_t length,
                     unsigned arena);
    bool (*purge_lazy)(extent_hooks_t *, void *addr, size_t size, size_t offset, size_t length,
                       unsigned arena);
    bool (*purge_forced)(extent_hooks_t *, void *addr, size_t size, size_t offset, size_t length,
                         unsigned arena);
    bool (*split)(extent_hooks_t *, void *addr, size_t size, size_t size_a, size_t size_b,
                  bool committed, unsigned arena);
    bool (*merge)(extent_hooks_t *, void *addr_a, size_t size_a, void *addr_b, size_t size_b,
                  bool committed, unsigned arena);
};

#endif
