// workers LIVE_MIB [MODE [PROCESSES]] - a parent that holds data, and processes forked from it.
//
// churn  half of what is live is the parent's; each of the processes fills its share of the other
//        half, and when all have, makes and drops blocks at random (servers that fork ahead)
// holes  as churn, where the parent freed half as much again before it forks
// drop   as churn, where each frees what it inherited: those pages are still the parent's
// save   four times: a process reads the parent's blocks and ends, while the parent replaces half
//        of them (a server that saves what it holds); what both hold is live once
//
// Only the allocator writes to pages that are shared.

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

enum { ROUNDS = 8, SAVES = 4, SLOTS = 256, MOST_PROCESSES = 64 };

static size_t live_bytes, processes;
static int filled[2], go[2];

static size_t next_size(uint64_t *seed)
{
    return load_random_size(seed, 64, MIB);
}

// With `holes` every third block was freed.
static struct block_list fill(uint64_t *seed, size_t bytes, bool holes)
{
    struct block_list kept = {0}, freed = {0};

    for (size_t held = 0, n = 1; held < bytes; n++) {
        bool frees = holes && n % 3 == 0;
        size_t size = next_size(seed);
        held += frees ? 0 : size;
        load_push(frees ? &freed : &kept, load_take(size));
    }
    load_give_all(&freed);
    return kept;
}

struct shelf {
    struct block_list slots[SLOTS];
    size_t bytes, made;
    uint64_t seed;
};

static void add(struct shelf *s, size_t most_bytes)
{
    size_t size = next_size(&s->seed);

    while (s->bytes && s->bytes + size > most_bytes) {
        struct block *b = load_pop(&s->slots[load_random(&s->seed) % SLOTS]);
        if (b) {
            s->bytes -= b->size;
            load_give(b);
        }
    }
    load_push(&s->slots[load_random(&s->seed) % SLOTS], load_take(size));
    s->bytes += size;
    s->made += size;
}

// The process that forked waits for a byte of each, and lets them go by closing its pipe.
static void churn(uint64_t seed, size_t bytes)
{
    struct shelf s = {.seed = seed};
    char end;

    while (s.bytes + MIB < bytes)
        add(&s, bytes);
    if (write(filled[1], "x", 1) != 1 || read(go[0], &end, 1) < 0)
        load_die("cannot wait");
    while (s.made < (ROUNDS + 1) * bytes)
        add(&s, bytes);
    for (size_t i = 0; i < SLOTS; i++)
        load_give_all(&s.slots[i]);
}

static void drop(const struct block_list *data)
{
    for (struct block *b = data->first, *next; b; b = next) {
        next = b->next;
        load_give_shared(b);
    }
}

static pid_t start(void)
{
    pid_t child = fork();

    if (child < 0)
        load_die("no process");
    return child;
}

static void wait_for(pid_t child)
{
    int status;

    if (waitpid(child, &status, 0) != child || status)
        load_die("a process was killed");
}

// One that is killed while it fills never writes its byte.
static void on_child(int unused)
{
    (void)unused;
    _exit(1);
}

static void work_ahead(struct block_list *data, bool drops)
{
    pid_t children[MOST_PROCESSES];
    char end;

    if (pipe(filled) || pipe(go))
        load_die("no pipes");
    signal(SIGCHLD, on_child);
    for (size_t i = 0; i < processes; i++) {
        children[i] = start();
        if (!children[i]) {
            close(go[1]);
            if (drops)
                drop(data);
            churn(i + 3, live_bytes / 2 / processes);
            _exit(0);
        }
    }
    close(filled[1]);
    for (size_t i = 0; i < processes; i++)
        if (read(filled[0], &end, 1) != 1)
            load_die("cannot wait");
    signal(SIGCHLD, SIG_DFL);
    close(go[1]);
    for (size_t i = 0; i < processes; i++)
        wait_for(children[i]);
}

static const struct block *read_some(const struct block *b, size_t count)
{
    for (; b && count; count--, b = b->next)
        load_check(b);
    return b;
}

// Returns the bytes that the other process still holds.
static size_t replace(struct block_list *data, size_t bytes, uint64_t *seed)
{
    size_t given = 0, taken = 0;

    while (given < bytes) {
        struct block *b = load_pop(data);
        given += b->size;
        load_give_shared(b);
        while (taken < given) {
            size_t size = next_size(seed);
            taken += size;
            load_push(data, load_take(size));
        }
    }
    return given;
}

static void save(struct block_list *data, size_t bytes, uint64_t *seed)
{
    int replaced[2];

    if (pipe(replaced))
        load_die("no pipe");
    pid_t child = start();
    if (!child) {
        char end;
        close(replaced[1]);
        const struct block *b = read_some(data->first, data->count / 2);
        if (read(replaced[0], &end, 1) < 0)
            load_die("cannot wait");
        read_some(b, data->count);
        _exit(0);
    }
    close(replaced[0]);
    size_t shared = replace(data, bytes / 2, seed);
    close(replaced[1]);
    wait_for(child);
    load_uncount(shared);
}

int main(int argc, char **argv)
{
    live_bytes = load_start(argc, argv);
    const char *mode = argc > 2 ? argv[2] : "churn";
    bool saves = !strcmp(mode, "save");
    size_t bytes = saves ? live_bytes / 3 * 2 : live_bytes / 2;
    uint64_t seed = 11;

    processes = argc > 3 ? strtoull(argv[3], NULL, 10) : 4;
    if (!processes || processes > MOST_PROCESSES)
        load_die("1 to 64 processes");
    struct block_list data = fill(&seed, bytes, !strcmp(mode, "holes"));
    for (int i = 0; saves && i < SAVES; i++)
        save(&data, bytes, &seed);
    if (!saves)
        work_ahead(&data, !strcmp(mode, "drop"));
    load_give_all(&data);
    load_report();
}
