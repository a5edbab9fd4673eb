// harness - what the benchmark programs share: the clock, the sizes, the payload, the report line.
//
// A program runs one cell (one pattern, one size, touched or not) under whatever allocator is
// preloaded and prints its cost in ns, and its peak and last resident memory in KiB. Nothing here
// allocates: tables are static, and what is random comes from one seed in every process.
#pragma once

#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum {
    WARM_US = 6000,
    WARM_MAX_US = 3000000,
    PATIENCE_S = 60,
    CHUNK_US = 100, // between two looks at the clock
    PAGE = 4096,
    LINE = 64,
};

_Noreturn static inline void die(const char *what)
{
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

ALWAYS_INLINE uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

ALWAYS_INLINE uint64_t wall_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

// An ordinary call through the PLT whose result the compiler cannot follow, so that it can
// neither drop the pair nor move it.
ALWAYS_INLINE void *take(size_t size)
{
    void *p = malloc(size);
    __asm__ volatile("" : "+r"(p) : : "memory");
    if (__builtin_expect(!p, 0))
        die("malloc returned NULL");
    return p;
}

// What a program that fills its buffer does to the memory below: the first line whole, then a word
// a page. The word moves on by a line from page to page, because at one offset in all pages the
// words of a large block compete for one set of the cache, and that is all one would measure. The
// tag is in the first word and says whose block this is.
ALWAYS_INLINE void touch(void *p, size_t size, uint64_t tag)
{
    size_t line = size < LINE ? size : LINE;
    volatile uint64_t *word = p;
    for (size_t i = 0; i < line / sizeof *word; i++)
        word[i] = tag;
    for (size_t page = PAGE; page < size; page += PAGE) {
        size_t at = page + page / PAGE * LINE % PAGE;
        word[(at < size ? at : page) / sizeof *word] = tag;
    }
}

ALWAYS_INLINE void expect(const void *p, uint64_t tag)
{
    if (__builtin_expect(*(const volatile uint64_t *)p != tag, 0))
        die("payload changed: a block was handed out twice or written by the allocator");
}

static uint64_t seed_state = 0x9e3779b97f4a7c15u;

static inline uint64_t next_random(void)
{
    seed_state ^= seed_state << 13;
    seed_state ^= seed_state >> 7;
    return seed_state ^= seed_state << 17;
}

// Log-uniform in [low, high): every doubling is as likely as every other, and inside a doubling
// sizes are uniform.
static inline uint32_t log_uniform(uint32_t low, unsigned doublings, uint32_t high)
{
    for (;;) {
        uint64_t base = (uint64_t)low << next_random() % doublings;
        uint64_t size = base + next_random() % base;
        if (size <= high)
            return (uint32_t)size;
    }
}

// A size with an optional K or M; *end is what follows.
static inline uint32_t scan_size(const char *at, char **end)
{
    unsigned long size = strtoul(at, end, 10);
    unsigned shift = **end == 'K' ? 10 : **end == 'M' ? 20 : 0;
    if (*end == at || size > 64u << 20 || size << shift < 16 || size << shift > 64u << 20)
        die("size: 16..64M, LOW-HIGH, mix or smallmix");
    *end += shift != 0;
    return (uint32_t)(size << shift);
}

// "mix" is 1K-1M, "smallmix" 16-1000, "LOW-HIGH" uniform between two sizes, anything else a size.
static inline uint32_t draw_size(const char *spec)
{
    if (!strcmp(spec, "mix"))
        return log_uniform(1024, 10, 1u << 20);
    if (!strcmp(spec, "smallmix"))
        return log_uniform(16, 6, 1000);
    char *end;
    uint32_t low = scan_size(spec, &end), high = *end == '-' ? scan_size(end + 1, &end) : low;
    if (*end || high < low)
        die("size: 16..64M, LOW-HIGH, mix or smallmix");
    return low + (uint32_t)(next_random() % (high - low + 1));
}

static inline bool is_mixed(const char *spec)
{
    return strstr(spec, "mix") || strchr(spec, '-');
}

// A field of /proc/self/status in KiB; 0 where it cannot be read.
static inline unsigned long status_kib(const char *field)
{
    static char text[8192];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *at = strstr(text, field);
    return at ? strtoul(at + strlen(field), NULL, 10) : 0;
}

// The line of a cell: its cost, and the process's resident memory, at its peak and now.
static inline void report(double ns)
{
    unsigned long steady = status_kib("VmRSS:"), peak = status_kib("VmHWM:");
    printf("%.3f %lu %lu\n", ns, peak, steady);
}

// Every program begins here; one that hangs is ended. ld.so only warns about a library that it
// cannot preload, and then we would measure glibc under another name.
static inline void check_allocator(void)
{
    alarm(PATIENCE_S);
    const char *want = getenv("BENCH_MALLOC"); // valgrind puts its own library into LD_PRELOAD
    if (!want)
        want = getenv("LD_PRELOAD");
    Dl_info info;
    void *address = dlsym(RTLD_DEFAULT, "malloc");
    if (!address || !dladdr(address, &info) || !info.dli_fname)
        die("no malloc to be found");
    if (want && *want ? strcmp(want, info.dli_fname) != 0 : !strstr(info.dli_fname, "/libc.so"))
        die("malloc is not that of the preloaded library");
}

// Runs `run(rounds)` until caches are warm and then for `ms`; returns ns an operation. The work
// is a single thread's, so CPU time of the process is what it costs whatever else runs on the core,
// and it includes what helper threads of an allocator burn. Where sizes vary, an allocator goes on
// touching new pages until each of its classes has seen its peak: hence `warm_ops`, bounded in time
// because some never arrive.
static inline double measure(void (*run)(size_t rounds), size_t ops_a_round, size_t warm_ops,
                             unsigned ms)
{
    const clockid_t cpu = CLOCK_PROCESS_CPUTIME_ID;
    size_t chunk = 1, done = 0;
    for (uint64_t start = clock_ns(cpu), before = start, after;; before = after) {
        run(chunk);
        done += chunk * ops_a_round;
        after = clock_ns(cpu);
        bool warm = after - start >= WARM_US * 1000u && done >= warm_ops;
        if (after - before < CHUNK_US * 1000u)
            chunk *= 2;
        else if (warm || after - start >= WARM_MAX_US * 1000u)
            break;
    }
    size_t rounds = 0;
    uint64_t start = clock_ns(cpu), now;
    do {
        run(chunk);
        rounds += chunk;
        now = clock_ns(cpu);
    } while (now - start < ms * 1000000u);
    return (double)(now - start) / (double)(rounds * ops_a_round);
}
