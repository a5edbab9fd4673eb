#include "pool/jemalloc_private/tcache.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/common/je.h"
#include "pool/jemalloc_private/jemalloc_private.h"
#include "pool/jemalloc_private/layouts.h"

// What a thread allocates or frees before it gets a thread cache. In an arena where nothing else
// lives a request costs 0.7 us without one, because its slab comes and goes.
#define LITTLE_BYTES ((uint64_t)8 << 10)

// jemalloc knows more of the thread than that it frees; or it was asked to, once.
static _Thread_local bool known __attribute__((tls_model("initial-exec")));

void tcache_note_freed(uint64_t bytes)
{
    if (likely(known) || bytes < LITTLE_BYTES)
        return;
    known = true;
    int saved = errno;
    je_free(je_malloc(1));
    errno = saved;
}

#ifdef TIDEPOOL_JE_TCACHE_AT_ONCE

bool __real_je_tsd_tcache_enabled_data_init(struct tsd *);
bool __wrap_je_tsd_tcache_enabled_data_init(struct tsd *);
void je_tsd_slow_update(struct tsd *);

static _Thread_local bool without __attribute__((tls_model("initial-exec")));

void tcache_never_self(void)
{
    without = true;
}

void tcache_make_self(void)
{
}

bool tcache_lists_fit(void)
{
    return true;
}

// At a thread's first request. What jemalloc does itself under opt.tcache:false.
bool __wrap_je_tsd_tcache_enabled_data_init(struct tsd *tsd)
{
    known = true;
    if (!without || !je_private_is_on())
        return __real_je_tsd_tcache_enabled_data_init(tsd);
    tsd->has_tcache = false;
    je_tsd_slow_update(tsd);
    return false;
}

#else

// jemalloc has an event for each 64 KiB that a thread allocates, and for each that it frees. After
// this number of events in a row for frees its cache is emptied: more than 256 blocks of 512 bytes.
#define FREES_IN_A_ROW 3

#define FIRST_FILL 4 // blocks

struct cache_bin_info;
struct cache_bin {
    void **head;
    uint64_t requests; // that it served since it was last filled or emptied
};

bool __real_je_tsd_tcache_enabled_data_init(struct tsd *);
bool __wrap_je_tsd_tcache_enabled_data_init(struct tsd *);
void __real_je_tcache_cleanup(struct tsd *);
void __wrap_je_tcache_cleanup(struct tsd *);
uint64_t __real_je_tcache_gc_new_event_wait(struct tsd *);
uint64_t __wrap_je_tcache_gc_new_event_wait(struct tsd *);
uint64_t __real_je_tcache_gc_dalloc_new_event_wait(struct tsd *);
uint64_t __wrap_je_tcache_gc_dalloc_new_event_wait(struct tsd *);
void __real_je_arena_decay(struct tsdn *, struct arena *, bool background, bool all);
void __wrap_je_arena_decay(struct tsdn *, struct arena *, bool background, bool all);
void *__real_je_arena_palloc(struct tsdn *, struct arena *, size_t size, size_t alignment,
                             bool zero, void *tcache);
void *__wrap_je_arena_palloc(struct tsdn *, struct arena *, size_t size, size_t alignment,
                             bool zero, void *tcache);
void __real_je_tcache_gc_event_handler(struct tsd *, uint64_t elapsed);
void __wrap_je_tcache_gc_event_handler(struct tsd *, uint64_t elapsed);
void __real_je_tcache_gc_dalloc_event_handler(struct tsd *, uint64_t elapsed);
void __wrap_je_tcache_gc_dalloc_event_handler(struct tsd *, uint64_t elapsed);
// What makes an empty list of `most` blocks, its pointers at an offset of `lists`.
void je_cache_bin_info_init(struct cache_bin_info *, uint16_t most);
void je_cache_bin_init(struct cache_bin *, struct cache_bin_info *, void *lists, size_t *offset);

void __real_je_arena_cache_bin_fill_small(struct tsdn *, struct arena *, struct cache_bin *,
                                          struct cache_bin_info *, unsigned class, unsigned count);
void __wrap_je_arena_cache_bin_fill_small(struct tsdn *, struct arena *, struct cache_bin *,
                                          struct cache_bin_info *, unsigned class, unsigned count);
void __wrap_je_cache_bin_preincrement(struct cache_bin_info *, unsigned count, void *lists,
                                      size_t *offset);
void __wrap_je_cache_bin_postincrement(struct cache_bin_info *, unsigned count, void *lists,
                                       size_t *offset);

// Makes the thread cache; true is failure.
bool je_tsd_tcache_data_init(struct tsd *);
void je_tsd_slow_update(struct tsd *);
void je_tcache_flush(struct tsd *);
extern bool je_opt_tcache;

enum { ASKED_LITTLE, HAS_TCACHE, NONE_FOR_GOOD };

static _Thread_local struct {
    uint8_t state : 2;
    uint8_t begins : 1; // its cache is made
    uint8_t ends : 1;   // and taken down
    uint8_t frees_in_a_row : 4;
} own __attribute__((tls_model("initial-exec")));

void tcache_never_self(void)
{
    own.state = NONE_FOR_GOOD;
}

// At a thread's first request. What jemalloc does itself under opt.tcache:false.
bool __wrap_je_tsd_tcache_enabled_data_init(struct tsd *tsd)
{
    known = true;
    if (!je_opt_tcache || !je_private_is_on()) {
        own.state = NONE_FOR_GOOD;
        return __real_je_tsd_tcache_enabled_data_init(tsd);
    }
    tsd->has_tcache = false;
    je_tsd_slow_update(tsd);
    return false;
}

// A thread gets its arena with its first block, which fails without memory. Then jemalloc's code
// for thread caches crashes.
static bool has_arena(void)
{
    int saved = errno;
    void *block = je_mallocx(1, JE_TCACHE_NONE);

    if (block)
        je_dallocx(block, JE_TCACHE_NONE);
    errno = saved;
    return block;
}

static void make_tcache(struct tsd *tsd)
{
    // What that asked for may have been an event in turn.
    if (!has_arena() || own.state != ASKED_LITTLE)
        return;
    own.begins = true;
    bool failed = je_tsd_tcache_data_init(tsd);
    own.begins = false;
    // Where there is no memory for it, the next event tries again.
    if (failed)
        return;
    own.state = HAS_TCACHE;
    tsd->has_tcache = true;
    je_tsd_slow_update(tsd);
}

// jemalloc asks for lists that are zero, which nothing needs: for that it gives pages back.
void *__wrap_je_arena_palloc(struct tsdn *tsdn, struct arena *arena, size_t size, size_t alignment,
                             bool zero, void *tcache)
{
    return __real_je_arena_palloc(tsdn, arena, size, alignment, zero && !own.begins, tcache);
}

void tcache_make_self(void)
{
    // A request that the compiler sees freed at once may be left out.
    void *volatile block;

    for (uint64_t asked = 0; own.state == ASKED_LITTLE && asked < 2 * LITTLE_BYTES; asked += 512) {
        block = je_malloc(512);
        je_free(block);
    }
}

// A thread has allocated so much. Here no lock is held, and no list is in use.
void __wrap_je_tcache_gc_event_handler(struct tsd *tsd, uint64_t elapsed)
{
    own.frees_in_a_row = 0;
    if (own.state == ASKED_LITTLE)
        make_tcache(tsd);
    else
        __real_je_tcache_gc_event_handler(tsd, elapsed);
}

// It has freed so much.
void __wrap_je_tcache_gc_dalloc_event_handler(struct tsd *tsd, uint64_t elapsed)
{
    if (own.state == ASKED_LITTLE) {
        make_tcache(tsd);
    } else if (!je_private_is_on() || ++own.frees_in_a_row < FREES_IN_A_ROW) {
        __real_je_tcache_gc_dalloc_event_handler(tsd, elapsed);
    } else {
        own.frees_in_a_row = 0;
        if (tsd->has_tcache)
            je_tcache_flush(tsd);
    }
}

// At a thread's end, and where the program switches it off.
void __wrap_je_tcache_cleanup(struct tsd *tsd)
{
    own.state = NONE_FOR_GOOD;
    own.ends = je_private_is_on();
    __real_je_tcache_cleanup(tsd);
    own.ends = false;
}

// At the end of an arena's last thread the free pages stay, for the next one. They go when they are
// old, or memory is short.
void __wrap_je_arena_decay(struct tsdn *tsdn, struct arena *arena, bool background, bool all)
{
    __real_je_arena_decay(tsdn, arena, background, all && !own.ends);
}

uint64_t __wrap_je_tcache_gc_new_event_wait(struct tsd *tsd)
{
    return own.state == ASKED_LITTLE ? LITTLE_BYTES : __real_je_tcache_gc_new_event_wait(tsd);
}

uint64_t __wrap_je_tcache_gc_dalloc_new_event_wait(struct tsd *tsd)
{
    return own.state == ASKED_LITTLE ? LITTLE_BYTES
                                     : __real_je_tcache_gc_dalloc_new_event_wait(tsd);
}

// An empty list is filled; jemalloc says with half of what it holds, or less. A quarter leaves room
// for what comes back: a program that takes and frees 256 blocks in turns would fill and flush half
// a list each time.
void __wrap_je_arena_cache_bin_fill_small(struct tsdn *tsdn, struct arena *arena,
                                          struct cache_bin *bin, struct cache_bin_info *info,
                                          unsigned class, unsigned count)
{
    uint64_t most = FIRST_FILL + 2 * bin->requests;

    if (!je_private_is_on())
        most = count;
    else
        count = count / 2 + 1;
    __real_je_arena_cache_bin_fill_small(tsdn, arena, bin, info, class,
                                         most < count ? (unsigned)most : count);
}

bool tcache_lists_fit(void)
{
    enum { BLOCKS = 4, CLASS = 0 };
    // The list has more members than are known here. Those that jemalloc does not set are 1.
    _Alignas(64) union {
        struct cache_bin bin;
        uint64_t word[8];
    } list = {.word = {1, 1, 1, 1, 1, 1, 1, 1}};
    _Alignas(64) char info[64] = {0};
    void *block[2 * BLOCKS] = {0};
    size_t offset = 0;
    struct cache_bin_info *i = (struct cache_bin_info *)(void *)info;

    je_cache_bin_info_init(i, BLOCKS);
    je_cache_bin_init(&list.bin, i, block, &offset);
    if (list.bin.head != &block[BLOCKS] || list.bin.requests != 1)
        return false;
    __real_je_arena_cache_bin_fill_small(NULL, je_arenas[0], &list.bin, i, CLASS, 1);
    if (list.bin.head == &block[BLOCKS])
        return true; // for want of memory
    je_dallocx(block[BLOCKS - 1], JE_TCACHE_NONE);
    // The one request is among those of the arena now.
    return list.bin.requests == 0;
}

// jemalloc writes a mark into the word in front of a thread's lists, and into that behind them: a
// page each. The fast path may read the words, and does not mind what they say.
void __wrap_je_cache_bin_preincrement(struct cache_bin_info *infos, unsigned count, void *lists,
                                      size_t *offset)
{
    (void)infos, (void)count, (void)lists;
    *offset += sizeof(void *);
}

void __wrap_je_cache_bin_postincrement(struct cache_bin_info *infos, unsigned count, void *lists,
                                       size_t *offset)
{
    (void)infos, (void)count, (void)lists;
    *offset += sizeof(void *);
}

#endif
