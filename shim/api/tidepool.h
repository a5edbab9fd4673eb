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

/* A buffer of at least `size` bytes, contents undefined, for tidepool_release() or free(). Like
 * malloc(), but *usable (unless NULL) becomes the bytes that may be used, which is the whole block.
 * NULL with errno ENOMEM. */
TIDEPOOL_API void *tidepool_acquire(size_t size, size_t *usable);

/* Gives a buffer back, whatever allocated it; NULL is allowed. */
TIDEPOOL_API void tidepool_release(void *buffer);

/* Frees what the calling thread, and only it, keeps for reuse: for a thread that is about to sleep
 * for long. Returns the bytes moved to the transfer cache that all threads share. */
TIDEPOOL_API uint64_t tidepool_drain(void);

/* Gives free memory back to the kernel, now, out of every thread's caches, until at most `keep`
 * bytes of free blocks remain. Returns the bytes that the kernel got. Takes some ms for each
 * 100 MiB. malloc_trim(0) does that with `keep` 0. */
TIDEPOOL_API uint64_t tidepool_reclaim(uint64_t keep);

/* A bucket is a range of request sizes: above the previous bucket's bound, up to its own. */
struct tidepool_bucket {
    uint64_t bound;       /* largest request it serves, bytes */
    uint64_t limit;       /* of its free blocks over all threads together; UINT64_MAX: none */
    uint64_t limit_bytes; /* the limit in bytes, where it was set in bytes; else 0 */
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

/* Mapped files. All of these but map work on any mapping of the process, whatever made it;
 * addresses need no alignment. What gives memory up touches only whole pages inside the range, what
 * brings it in all pages that the range touches; the end of a file ends both. Contents never
 * change, but by free_lazy on anonymous memory and by remove, and both say so. Those that return
 * int: 0, or -1 and errno EINVAL (the range wraps), ENOMEM (a part of it is not mapped; the rest is
 * done), or what the kernel said. Not for signal handlers. */

#define TIDEPOOL_MFILE_WRITE 1u   /* else read only */
#define TIDEPOOL_MFILE_PRIVATE 2u /* what is written stays with the process */
#define TIDEPOOL_MFILE_CREATE                                                                      \
    4u /* with WRITE: make it, mode 0666 less umask, and at least *length bytes long */

/* Maps a regular file from its start: *length bytes, or all of it if that is 0 or length is NULL;
 * *length becomes what was mapped. The descriptor does not stay open, and closing it drops the
 * process's POSIX locks on that file, as any close does. NULL and errno: as of open() and mmap();
 * EINVAL for what is empty or no regular file, for CREATE without a length, and for unknown flags.
 */
TIDEPOOL_API void *tidepool_mfile_map(const char *path, size_t *length, unsigned flags);

/* Unmaps; as munmap(), so that address has to be a multiple of the page size. */
TIDEPOOL_API int tidepool_mfile_close(void *address, size_t length);

enum tidepool_mfile_advice {
    TIDEPOOL_MFILE_NORMAL,     /* as it was mapped */
    TIDEPOOL_MFILE_SEQUENTIAL, /* read far ahead, forget soon */
    TIDEPOOL_MFILE_RANDOM,     /* do not read ahead */
    TIDEPOOL_MFILE_POPULATE,   /* read and map all of it before this returns */
    TIDEPOOL_MFILE_HUGEPAGE,   /* these two where the filesystem can */
    TIDEPOOL_MFILE_NOHUGEPAGE,
    TIDEPOOL_MFILE_MERGEABLE, /* these two for anonymous memory */
    TIDEPOOL_MFILE_UNMERGEABLE,
    TIDEPOOL_MFILE_COLD,     /* the first to go when memory gets short */
    TIDEPOOL_MFILE_PAGEOUT,  /* out of memory now; only files that you own or may write */
    TIDEPOOL_MFILE_DONTDUMP, /* not in core files */
    TIDEPOOL_MFILE_DODUMP,
    TIDEPOOL_MFILE_LAZYFREE, /* the watchdog may mark it cold at High and page it out at Critical */
    TIDEPOOL_MFILE_KEEP      /* the watchdog leaves it alone, whatever TIDEPOOL_MFILE says */
};

/* EINVAL also for advice that the kernel does not know, or has no use for there (LAZYFREE: where
 * there is no file). EAGAIN (LAZYFREE, KEEP) while other threads map without a pause. */
TIDEPOOL_API int tidepool_mfile_advise(void *address, size_t length,
                                       enum tidepool_mfile_advice advice);

/* Memory that may go when the kernel needs it. Of files nothing is lost: pages come back from the
 * file, private changes stay. ANONYMOUS MEMORY that is not written again meanwhile may read as
 * zeroes afterwards. Returns the bytes advised, or -1 and errno. */
TIDEPOOL_API int64_t tidepool_mfile_free_lazy(void *address, size_t length);

/* Reads ahead, by a thread of the library's, without waiting for the disk; not more than half of
 * the memory that is left, nothing from High on. */
TIDEPOOL_API int tidepool_mfile_prefetch(const void *address, size_t length);

/* DESTROYS what the file holds there: a hole is punched into it, which reads as zeroes for
 * every process. Shared, writable mappings of files only, or -1 and EACCES with nothing done,
 * nor is anything where a part is not mapped (ENOMEM); EOPNOTSUPP where the filesystem has no
 * holes. */
TIDEPOOL_API int tidepool_mfile_remove(void *address, size_t length);

#ifdef __cplusplus
}
#endif

#endif
