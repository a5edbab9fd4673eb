// A million mapping calls from four threads, with signal handlers that map in the middle of them;
// at every check point the table of file mappings has to equal /proc/self/maps. About 10 s, a tenth
// of the calls under ThreadSanitizer. In the second half the worker asks which file each mapping
// is; in the first one the calls do it themselves.
//
// Each thread works on ranges of its own: it maps, unmaps and replaces parts, splits, moves, grows,
// shrinks and doubles them; the addresses that it gives up are taken by the others. Quiet rounds
// hold only calls that succeed: the notes alone must keep the table right, unless the ring ran
// full, because the thread that had the table was kept from the processor. In rough rounds calls
// fail half way and a reader rebuilds the table all the time: there it may be found doubtful, and
// then it must be right after record_check(). The seed is printed; MFILE_SEED repeats it.

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "mfile/calls.h"
#include "mfile/mfile.h"
#include "mfile/parse/maps.h"
#include "mfile/record/record.h"
#include "mfile/rules.h"
#include "shim/base.h"

#define PAGE ((size_t)4096)
#define FILES 4
#define FILE_PAGES 64
#define THREADS 4
#define SPANS 400
#ifdef __SANITIZE_THREAD__
#define CALLS 100000
#else
#define CALLS 1000000
#endif
#define ROUNDS 200

struct span {
    char *at;
    size_t pages;
};

struct worker {
    uint64_t random;
    struct span span[SPANS];
    unsigned spans;
    unsigned long calls;
    bool rough;
};

static int files[FILES];
static uint64_t inodes[FILES];
static _Atomic bool reading;
static unsigned doubts, compared;

static void fail(const char *what)
{
    fprintf(stderr, "mfile_stress: %s\n", what);
    exit(1);
}

static unsigned pick(struct worker *w, unsigned below)
{
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return (unsigned)((w->random * 0x2545f4914f6cdd1dull) >> 33) % below;
}

static void *map_any(struct worker *w, void *at, size_t pages, int fixed)
{
    int prot = pick(w, 2) ? PROT_READ : PROT_READ | PROT_WRITE;
    int type = pick(w, 2) ? MAP_SHARED : MAP_PRIVATE;
    off_t offset = (off_t)(pick(w, FILE_PAGES) * PAGE);

    w->calls++;
    if (pick(w, 4) == 0)
        return calls_mmap(at, pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
    return calls_mmap(at, pages * PAGE, prot, type | fixed, files[pick(w, FILES)], offset);
}

static void add(struct worker *w, char *at, size_t pages)
{
    if (!pages)
        return;
    if (w->spans == SPANS) {
        w->calls++;
        if (calls_munmap(at, pages * PAGE) != 0)
            fail("munmap");
        return;
    }
    w->span[w->spans++] = (struct span){at, pages};
}

static struct span take(struct worker *w)
{
    unsigned i = pick(w, w->spans);
    struct span s = w->span[i];

    w->span[i] = w->span[--w->spans];
    return s;
}

// A part of a span: from page *from on, *n pages.
static void part(struct worker *w, const struct span *s, size_t *from, size_t *n)
{
    *from = pick(w, (unsigned)s->pages);
    *n = 1 + pick(w, (unsigned)(s->pages - *from));
}

static void unmap(struct worker *w)
{
    struct span s = take(w);
    size_t from, n;

    part(w, &s, &from, &n);
    w->calls++;
    if (calls_munmap(s.at + from * PAGE, n * PAGE) != 0)
        fail("munmap");
    add(w, s.at, from);
    add(w, s.at + (from + n) * PAGE, s.pages - from - n);
}

static void replace(struct worker *w)
{
    struct span s = take(w);
    size_t from, n;

    part(w, &s, &from, &n);
    if (map_any(w, s.at + from * PAGE, n, MAP_FIXED) != s.at + from * PAGE)
        fail("MAP_FIXED");
    add(w, s.at, s.pages);
}

// One page lies in one mapping, so it can always be moved and grown.
static void move_page(struct worker *w)
{
    struct span s = take(w);
    size_t at = pick(w, (unsigned)s.pages), pages = 1 + pick(w, 6);
    char *moved;

    w->calls++;
    moved = calls_mremap(s.at + at * PAGE, PAGE, pages * PAGE, MREMAP_MAYMOVE, NULL);
    if (moved == MAP_FAILED)
        fail("mremap");
    if (moved == s.at + at * PAGE) { // grown in place: the page was the last, or it did not grow
        add(w, s.at, at + pages > s.pages ? at + pages : s.pages);
        return;
    }
    add(w, moved, pages);
    add(w, s.at, at);
    add(w, s.at + (at + 1) * PAGE, s.pages - at - 1);
}

static void shrink(struct worker *w)
{
    struct span s = take(w);
    size_t keep = 1 + pick(w, (unsigned)s.pages);

    w->calls++;
    if (calls_mremap(s.at, s.pages * PAGE, keep * PAGE, 0, NULL) == MAP_FAILED)
        fail("mremap that shrinks");
    add(w, s.at, keep);
}

static void put_onto(struct worker *w)
{
    struct span from = take(w);
    if (!w->spans) {
        add(w, from.at, from.pages);
        return;
    }
    struct span to = take(w);
    size_t at = pick(w, (unsigned)from.pages), onto = pick(w, (unsigned)to.pages);
    char *target = to.at + onto * PAGE;

    w->calls++;
    if (calls_mremap(from.at + at * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target) !=
        target)
        fail("mremap onto another");
    add(w, from.at, at);
    add(w, from.at + (at + 1) * PAGE, from.pages - at - 1);
    add(w, to.at, to.pages);
}

// Of length 0: another mapping of a shared one; of a private one the kernel makes none.
static void twin(struct worker *w)
{
    struct span s = take(w);
    size_t pages = 1 + pick(w, 3);
    char *other;

    w->calls++;
    other = calls_mremap(s.at, 0, pages * PAGE, MREMAP_MAYMOVE, NULL);
    if (other != MAP_FAILED)
        add(w, other, pages);
    add(w, s.at, s.pages);
}

static void leave_behind(struct worker *w)
{
    struct span s = take(w);
    char *moved;

    w->calls++;
    moved = calls_mremap(s.at, PAGE, PAGE, MREMAP_MAYMOVE | 4 /* MREMAP_DONTUNMAP */, NULL);
    if (moved != MAP_FAILED)
        add(w, moved, 1);
    add(w, s.at, s.pages);
}

// Over several mappings: some kernels move none of them, some all, some those before a hole.
static void fail_half_way(struct worker *w)
{
    struct span s = take(w);
    char *moved;

    w->calls += 2;
    moved = calls_mremap(s.at, s.pages * PAGE, (s.pages + 1) * PAGE, MREMAP_MAYMOVE, NULL);
    if (moved != MAP_FAILED) {
        s.at = moved;
        s.pages++;
    }
    if (calls_mmap(s.at, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, 12345, 0) != MAP_FAILED)
        fail("a bad descriptor");
    add(w, s.at, s.pages);
}

static void one_call(struct worker *w)
{
    static void (*const others[])(struct worker *) = {
        unmap, unmap, replace, replace, move_page, shrink, put_onto, twin, leave_behind, unmap};

    if (!w->spans || pick(w, 3) == 0) {
        size_t pages = 1 + pick(w, 12);
        char *at = map_any(w, NULL, pages, 0);
        if (at == MAP_FAILED)
            fail("mmap");
        add(w, at, pages);
    } else if (w->rough && pick(w, 8) == 0) {
        fail_half_way(w);
    } else {
        others[pick(w, array_len(others))](w);
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;
    unsigned long until = w->calls + CALLS / THREADS / ROUNDS;

    while (w->calls < until)
        one_call(w);
    return NULL;
}

// In the middle of anything: a mapping that stays for some signals, then goes.
static void on_signal(int number)
{
    static _Atomic(char *) kept;
    int saved = errno;
    char *at = calls_mmap(NULL, 3 * PAGE, PROT_READ, MAP_SHARED, files[0], 0);

    (void)number;
    if (at != MAP_FAILED)
        at = atomic_exchange(&kept, at);
    if (at && at != MAP_FAILED)
        calls_munmap(at, 3 * PAGE);
    errno = saved;
}

struct listing {
    struct mapping *m;
    size_t count, size;
};

// Neighbours that continue each other count as one: the kernel joins them, or not.
static void list(struct listing *l, struct mapping m)
{
    m.used = m.cooled = m.paged = 0;
    m.hints = 0;
    m.flags &= MAPPING_SHARED;
    if (l->count && table_continues(&l->m[l->count - 1], &m)) {
        l->m[l->count - 1].end = m.end;
        return;
    }
    if (l->count == l->size) {
        l->size = l->size ? 2 * l->size : 1024;
        l->m = realloc(l->m, l->size * sizeof m);
    }
    l->m[l->count++] = m;
}

static bool is_ours(uint64_t inode)
{
    for (int i = 0; i < FILES; i++)
        if (inodes[i] == inode)
            return true;
    return false;
}

static bool list_line(void *arg, const struct maps_line *line)
{
    if (is_ours(line->inode))
        list(arg, (struct mapping){.start = line->start,
                                   .end = line->end,
                                   .offset = line->offset,
                                   .inode = line->inode,
                                   .dev = line->dev,
                                   .prot = (uint8_t)line->prot,
                                   .flags = line->shared ? MAPPING_SHARED : 0});
    return true;
}

static void list_table(struct listing *l)
{
    struct mapping m[64];
    bool ok;

    for (uint64_t at = 0;;) {
        unsigned n = record_read(at, m, array_len(m), &ok);
        if (!ok)
            fail("the table is taken");
        for (unsigned i = 0; i < n; i++)
            if (is_ours(m[i].inode))
                list(l, m[i]);
        if (n < array_len(m))
            return;
        at = m[n - 1].end;
    }
}

static void show(const char *where, const struct mapping *m)
{
    fprintf(stderr, "  %s %lx-%lx offset %lx inode %lu prot %d flags %d\n", where,
            (unsigned long)m->start, (unsigned long)m->end, (unsigned long)m->offset,
            (unsigned long)m->inode, m->prot, m->flags);
}

static bool equal(const struct mapping *a, const struct mapping *b)
{
    return a->start == b->start && a->end == b->end && a->offset == b->offset &&
           a->inode == b->inode && a->dev == b->dev && a->prot == b->prot && a->flags == b->flags;
}

// Until every mapping has been asked for, by the worker or by us.
static void settle(void)
{
    for (unsigned i = 0; record_waits(); i++) {
        if (i == 1000000)
            fail("mappings wait for ever");
        rules_settle();
    }
}

// `lost` notes were lost before the round.
static void compare(unsigned round, bool rough, uint64_t lost)
{
    struct listing kernel = {0}, ours = {0};

    settle();
    if (record_is_doubtful()) {
        doubts++;
        if (!rough && record_lost() == lost)
            fail("doubtful in a quiet round");
        if (!record_check(false))
            fail("no thread is at work, and the table cannot be checked");
    }
    settle();
    list_table(&ours);
    maps_read(list_line, &kernel);
    for (size_t i = 0; i < kernel.count || i < ours.count; i++) {
        if (i < kernel.count && i < ours.count && equal(&kernel.m[i], &ours.m[i]))
            continue;
        fprintf(stderr, "mfile_stress: round %u, mapping %zu of %zu, %zu in the table\n", round, i,
                kernel.count, ours.count);
        for (size_t j = i ? i - 1 : 0; j < i + 3; j++) {
            if (j < kernel.count)
                show("maps ", &kernel.m[j]);
            if (j < ours.count)
                show("table", &ours.m[j]);
        }
        exit(1);
    }
    compared += (unsigned)kernel.count;
    free(kernel.m);
    free(ours.m);
}

static void *read_on(void *unused)
{
    struct mapping m[16];
    bool ok;

    while (atomic_load(&reading)) {
        record_check(true);
        record_read(0, m, array_len(m), &ok);
    }
    return unused;
}

static void make_files(void)
{
    char name[] = "/tmp/mfile_stress.XXXXXX", path[64];

    if (!mkdtemp(name))
        fail("mkdtemp");
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "%s/%d", name, i);
        files[i] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (files[i] < 0 || ftruncate(files[i], (off_t)(4 * FILE_PAGES * PAGE)) != 0)
            fail(path);
        struct stat st;
        fstat(files[i], &st);
        inodes[i] = st.st_ino;
        // One is mapped after it was deleted, too.
        if (i == 0)
            unlink(path);
    }
    for (int i = 1; i < FILES; i++) {
        snprintf(path, sizeof path, "%s/%d", name, i);
        unlink(path);
    }
    rmdir(name);
}

static void round_of(struct worker *w, unsigned round)
{
    const struct itimerval often = {{0, 1000}, {0, 1000}}, never = {0};
    bool rough = round % 4 == 3;
    uint64_t lost = record_lost();
    pthread_t thread[THREADS], reader;

    if (rough) {
        atomic_store(&reading, true);
        pthread_create(&reader, NULL, read_on, NULL);
    }
    setitimer(ITIMER_REAL, &often, NULL);
    for (int t = 0; t < THREADS; t++) {
        w[t].rough = rough;
        pthread_create(&thread[t], NULL, work, &w[t]);
    }
    for (int t = 0; t < THREADS; t++)
        pthread_join(thread[t], NULL);
    setitimer(ITIMER_REAL, &never, NULL);
    if (rough) {
        atomic_store(&reading, false);
        pthread_join(reader, NULL);
    }
    compare(round, rough, lost);
}

int main(void)
{
    static struct worker workers[THREADS];
    const char *given = getenv("MFILE_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    const struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    make_files();
    // A policy that looks at every file, so that the table has device and inode from the start.
    mfile_init(&(struct mfile_options){.policy = "*.never=random", .record = true});
    if (!record_check(false))
        fail("the first check");
    sigaction(SIGALRM, &act, NULL);
    for (unsigned t = 0; t < THREADS; t++)
        workers[t].random = (seed + t) * 0x9e3779b97f4a7c15ull | 1;
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (round == ROUNDS / 2)
            mfile_start_worker();
        round_of(workers, round);
    }
    unsigned long calls = 0;
    for (int t = 0; t < THREADS; t++)
        calls += workers[t].calls;
    printf("mfile_stress: %lu calls, %u check points, %u mappings compared, %u times doubtful, %lu "
           "notes lost, seed %lu\n",
           calls, ROUNDS, compared, doubts, (unsigned long)record_lost(), (unsigned long)seed);
    return 0;
}
