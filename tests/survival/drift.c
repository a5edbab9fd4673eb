// drift LIVE_MIB [ROUNDS [THREADS [trace]]] - sizes and lifetimes at random, and the sizes drift.
//
// At first blocks have 1 to 8 KiB, at the end 128 KiB to 1 MiB: the window slides up evenly. The
// lifetimes are spread over three orders of magnitude, so that a few small blocks of each moment
// stay among the places of those that have died. A round makes as many bytes as are live; what is
// live keeps to the budget all the time.
//
// With `trace` a line for each half round: MiB that are live, of pages that hold a live byte, and
// resident. The first two differ by what no allocator could give back; the last two by what this
// one does not. It costs memory, so not for the harness.

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "load.h"

// Lifetimes are counted in ticks; one goes by when the budget has no room for the next block.
enum { TICKS = 4096, TRACES = 2 };

struct wheel {
    struct block_list *due; // by tick of death, modulo TICKS
    size_t now, live_bytes, budget_bytes;
    uint64_t seed;
};

static size_t live_bytes, rounds, threads;
static bool traced;

static void tick(struct wheel *w)
{
    struct block_list *l = &w->due[++w->now % TICKS];

    for (struct block *b; (b = load_pop(l));) {
        w->live_bytes -= b->size;
        load_give(b);
    }
}

static void add(struct wheel *w, size_t size)
{
    size_t lifetime = load_random_size(&w->seed, 4, TICKS - 1);

    while (w->live_bytes + size > w->budget_bytes)
        tick(w);
    load_push(&w->due[(w->now + lifetime) % TICKS], load_take(size));
    w->live_bytes += size;
}

static size_t note_pages(unsigned char *bits, const struct block *b)
{
    size_t first = (uintptr_t)b / 4096, last = ((uintptr_t)b + b->size - 1) / 4096, found = 0;

    for (size_t page = first; page <= last; page++) {
        found += !(bits[page / 8] & 1 << page % 8);
        bits[page / 8] |= (unsigned char)(1 << page % 8);
    }
    return found;
}

static size_t live_pages(const struct wheel *w)
{
    const size_t bytes = ((size_t)1 << 47) / 4096 / 8;
    size_t pages = 0;
    unsigned char *bits = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (bits == MAP_FAILED)
        load_die("no address space for a trace");
    for (size_t i = 0; i < TICKS; i++)
        for (const struct block *b = w->due[i].first; b; b = b->next)
            pages += note_pages(bits, b);
    munmap(bits, bytes);
    return pages;
}

static size_t resident_pages(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    size_t total, resident = 0;

    close(fd);
    text[n > 0 ? n : 0] = 0;
    sscanf(text, "%zu %zu", &total, &resident);
    return resident;
}

static void trace(const struct wheel *w, size_t max)
{
    size_t resident = resident_pages();

    dprintf(1, "up to %4zu KiB: live %zu, pages with a live byte %zu, resident %zu MiB\n",
            max / KIB, w->live_bytes / MIB, live_pages(w) * 4096 / MIB, resident * 4096 / MIB);
}

static void *live(void *arg)
{
    struct wheel w = {.budget_bytes = live_bytes / threads, .seed = 7919 * (uintptr_t)arg + 11};
    size_t total = rounds * w.budget_bytes, traces = 0;

    w.due = load_table(TICKS * sizeof *w.due);
    for (size_t done = 0, size; done < total; done += size) {
        uint64_t at = (uint64_t)done * 1000 / total;
        // 128 times as large at the end: seven doublings.
        size_t scale = ((size_t)1024 << at * 7 / 1000) +
                       ((size_t)1024 << at * 7 / 1000) * (at * 7 % 1000) / 1000;
        size = load_random_size(&w.seed, scale, 8 * scale);
        add(&w, size);
        if (traced && done >= traces * w.budget_bytes / TRACES) {
            traces++;
            trace(&w, 8 * scale);
        }
    }
    for (size_t i = 0; i < TICKS; i++)
        load_give_all(&w.due[i]);
    return NULL;
}

int main(int argc, char **argv)
{
    live_bytes = load_start(argc, argv);
    rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 20;
    threads = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    traced = argc > 4 && !strcmp(argv[4], "trace");
    load_in_threads(threads, live);
    load_report();
}
