// load - blocks that are really used, and an exact count of how many bytes of them are live.
//
// Every block carries a stamp in its first and last word and in one word of each page: the pages
// are resident, and a block handed out twice, moved or cut short is found when it is given back
// (the program says so and aborts). Counters lie in shared memory, so that the processes of one
// family count together. Nothing here allocates with malloc: what is charged beside the live bytes
// is the allocator's own doing, or stands in the run without data.
#ifndef TESTS_SURVIVAL_LOAD_H
#define TESTS_SURVIVAL_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

// A block lies in one list at a time; the link is its own first bytes, so that bookkeeping costs
// nothing beside it.
struct block {
    struct block *next;
    size_t size;
};

struct block_list {
    struct block *first, *last;
    size_t count;
};

// Call once, before threads and children. `argv[1]` is the live size in MiB; 0 is the run without
// data, which measures what the program itself costs.
size_t load_start(int argc, char **argv);

// At least sizeof(struct block); aborts when malloc fails: a limit must be met by giving memory
// back, not by an error.
struct block *load_take(size_t size);
void load_give(struct block *b);
// Frees it, but it still counts: another process of the family holds it, too. load_uncount() when
// that one ends.
void load_give_shared(struct block *b);
void load_uncount(size_t bytes);
// Aborts where the block is not as it was made; load_give() does that, too.
void load_check(const struct block *b);

// For memory of the pattern itself (tables): zeroed, touched, counted as live.
void *load_table(size_t bytes);

void load_push(struct block_list *l, struct block *b);
struct block *load_pop(struct block_list *l);
void load_give_all(struct block_list *l);

// Bytes live now, over all processes of the family.
size_t load_live(void);

uint64_t load_random(uint64_t *state);
// As many sizes between 1K and 2K as between 512K and 1M.
size_t load_random_size(uint64_t *state, size_t min, size_t max);

// "pooled", "small" or "large": the three ways a request can go; "buffers" are those of the pooled
// sizes that glibc keeps in its heaps.
struct load_kind {
    size_t min, max;
};
struct load_kind load_kind(const char *name);

// Blocks of one kind, `bytes` in all.
struct block_list load_fill(struct load_kind kind, size_t bytes, uint64_t seed);

// Starts `threads` threads, each of which fills its share of `bytes`, all at once; when all have
// filled, `filled` is called, and each frees its own but for one small block and sleeps until the
// process ends. Returns when all sleep.
void load_idle_threads(size_t threads, struct load_kind kind, size_t bytes, void (*filled)(void));

// Runs `run` in that number of threads, with 0 (in the caller) and up for arguments, until all are
// done.
void load_in_threads(size_t threads, void *(*run)(void *));

double load_seconds(void);

// One line for the harness: peak of live bytes, operations, seconds since load_start.
void load_report(void);

// Not for measuring: "no pattern may go on after this".
_Noreturn void load_die(const char *what);

#endif
