// victim - what the programs of this folder share: a check that names its line, seeded payloads,
// and a few numbers about the running process.
//
// A victim exits 0 and prints nothing when all is well. Whatever it prints goes to stderr by
// write(2), so that a report cannot allocate.
#ifndef TIDEPOOL_TESTS_VICTIM_H
#define TIDEPOOL_TESTS_VICTIM_H

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

// The format says which values failed; every check has one, because a bare line does not help.
#define CHECK(x, ...)                                                                              \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            char victim_text_[400];                                                                \
            int victim_n_ = snprintf(victim_text_, sizeof victim_text_, "%s:%d: %s: ", __FILE__,   \
                                     __LINE__, #x);                                                \
            victim_n_ += snprintf(victim_text_ + victim_n_,                                        \
                                  sizeof victim_text_ - (size_t)victim_n_, __VA_ARGS__);           \
            victim_text_[sizeof victim_text_ - 1] = '\n';                                          \
            if (victim_n_ < (int)sizeof victim_text_ - 1)                                          \
                victim_text_[victim_n_++] = '\n';                                                  \
            if (write(STDERR_FILENO, victim_text_, strnlen(victim_text_, (size_t)victim_n_)) < 0)  \
                _exit(3);                                                                          \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

// Sizes on both sides of every border: jemalloc's small ones, the pool's ends, classes, large.
static const size_t victim_sizes[] = {
    1,     8,      24,        100,    1000,       1023,    1024,     1025,     1280,    1281,
    2048,  4095,   4096,      4097,   5000,       14000,   16 * KIB, 20 * KIB, 33000,   64 * KIB,
    70000, 200000, 256 * KIB, 300000, 1000 * KIB, MIB - 1, MIB,      MIB + 1,  3 * MIB, 5000000,
};

static inline uint64_t victim_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dull;
}

// Roughly as many small sizes as large ones, all of them between 1 KiB and 1 MiB.
static inline size_t victim_pooled_size(uint64_t *state)
{
    size_t top = KIB << (victim_random(state) % 10);
    return top + victim_random(state) % (top + 1);
}

// Every byte depends on the seed and its place, so that a shifted or a foreign block shows.
static inline void victim_fill(void *block, size_t size, uint64_t seed)
{
    unsigned char *p = (unsigned char *)block;
    uint64_t v = seed * 0x9e3779b97f4a7c15ull;
    size_t i = 0;
    for (; i + 8 <= size; i += 8, v += 0x100000001b3ull)
        memcpy(p + i, &v, 8);
    for (; i < size; i++)
        p[i] = (unsigned char)(seed + i);
}

// Only the first `size` of the `filled` bytes need still be there.
static inline bool victim_intact(const void *block, size_t size, size_t filled, uint64_t seed)
{
    const unsigned char *p = (const unsigned char *)block;
    uint64_t v = seed * 0x9e3779b97f4a7c15ull;
    size_t i = 0;
    for (; i + 8 <= size && i + 8 <= filled; i += 8, v += 0x100000001b3ull)
        if (memcmp(p + i, &v, 8) != 0)
            return false;
    // What follows in the last word of the filling, or its bytewise end.
    if (i + 8 <= filled)
        return memcmp(p + i, &v, size - i) == 0;
    for (; i < size; i++)
        if (p[i] != (unsigned char)(seed + i))
            return false;
    return true;
}

// A pointer that the compiler knows nothing about, so that it cannot warn of what is meant.
static inline void *victim_hide(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

// NULL where the process has no such symbol.
static inline void *victim_symbol(const char *name)
{
    return dlsym(RTLD_DEFAULT, name);
}

static inline size_t victim_resident_bytes(void)
{
    size_t size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    CHECK(f, "statm: %s", strerror(errno));
    CHECK(fscanf(f, "%zu %zu", &size, &resident) == 2, "statm");
    fclose(f);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

#endif
