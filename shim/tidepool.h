/* tidepool.h - for programs that want more of libtidepool.so than malloc.
 *
 * Link nothing: every function here is a weak symbol, there when the library is preloaded and NULL
 * when it is not, so that one binary runs either way:
 *
 *     if (tidepool_reclaim)
 *         tidepool_reclaim(0);
 *
 * C99 and C++. All functions are safe from any thread and leave errno alone unless they say
 * otherwise. Sizes are bytes.
 */
#ifndef TIDEPOOL_H
#define TIDEPOOL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef TIDEPOOL_API
#define TIDEPOOL_API __attribute__((weak))
#endif

/* The version of the loaded library, "0.1.0". */
TIDEPOOL_API const char *tidepool_version(void);

/* A buffer of at least `size` bytes, contents undefined, for tidepool_release() or free(). The same
 * as malloc(), with one thing more: *usable (unless NULL) becomes the bytes that may be used, which
 * is the whole block. NULL with errno ENOMEM. */
TIDEPOOL_API void *tidepool_acquire(size_t size, size_t *usable);

/* Gives a buffer back, whatever allocated it; NULL is allowed. */
TIDEPOOL_API void tidepool_release(void *buffer);

/* Frees what the calling thread, and only it, keeps for reuse: for a thread that is about to sleep
 * for long. Returns the bytes moved to the shelf that all threads share. */
TIDEPOOL_API uint64_t tidepool_drain(void);

/* Gives memory that is free back to the kernel, now, out of every thread's caches, until at most
 * `keep` bytes of free blocks remain; returns the bytes that the kernel got. Takes some ms for each
 * 100 MiB. malloc_trim(0) does the same with `keep` 0. */
TIDEPOOL_API uint64_t tidepool_reclaim(uint64_t keep);

/* A bucket is a range of request sizes: above the previous bucket's bound, up to its own. */
struct tidepool_bucket {
    uint64_t bound;       /* largest request it serves, bytes */
    uint64_t limit;       /* of its free blocks over all threads together; UINT64_MAX: none */
    uint64_t limit_bytes; /* the same in bytes, where it was set in bytes; else 0 */
    uint64_t created;     /* requests served with a new block; only grows */
    uint64_t reused;      /* requests served with a block used before; only grows */
    uint64_t freed;       /* blocks the program gave back; only grows */
    uint64_t live;        /* blocks the program has now */
    uint64_t live_bytes;  /* and their sizes, slack included */
    uint64_t free;        /* blocks kept for reuse now: never more than the limit */
    uint64_t free_bytes;
};

/* Fills up to `count` entries, smallest bound first; returns how many buckets there are, 0 when the
 * pools are off. Reads counters of running threads: a figure may be some requests old. */
TIDEPOOL_API unsigned tidepool_stats(struct tidepool_bucket *bucket, unsigned count);

#ifdef __cplusplus
}
#endif

#endif
