// What is in a mapped file stays what it is, whatever is advised: every hint on every kind of
// mapping, written and not, compared byte for byte in memory and in the file.
//
//   mapped_files policy [FLAG...]   under TIDEPOOL_MFILE="*mapped_files.*=HINT,..."; each mapping
//   gets
//                                   these flags of smaps ("sr"), or where there is none keeps its
//                                   own. With `pressed` under a limit that is passed
//                                   (TIDEPOOL_LIMIT=64M), until pages were really taken out of
//                                   memory
//   mapped_files api                every function of tidepool.h, and what it refuses
//   mapped_files fork               what a child finds
//   mapped_files moved              a folder that is renamed
//   mapped_files grown FLAG         a mapping made of two, the first of which has the flag
//   mapped_files many FLAG          3000 mappings at once while no descriptor is left: all get the
//                                   flag of smaps after there are some again

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "shim/api/tidepool.h"
#include "victim.h"

enum { PAGE = 4096, PAGES = 64, BYTES = PAGE * PAGES };

enum kind { SHARED, SHARED_RO, PRIVATE, PRIVATE_RO, DELETED, MEMFD, KINDS };

struct area {
    enum kind kind;
    bool written;
    int fd;
    uint64_t seed;
    unsigned char *at, *want;
    size_t bytes; // the file ends in the middle of its last page
    char name[64];
};

static struct area areas[2 * KINDS];

static bool is_shared(const struct area *a)
{
    return a->kind != PRIVATE && a->kind != PRIVATE_RO;
}

static bool is_writable(const struct area *a)
{
    return a->kind != SHARED_RO && a->kind != PRIVATE_RO;
}

static void make(struct area *a, unsigned i)
{
    a->kind = (enum kind)(i / 2);
    a->written = i % 2 && is_writable(a);
    a->seed = 1000 + i;
    a->bytes = BYTES - 1000;
    a->want = malloc(BYTES);
    memset(a->want, 0, BYTES);
    victim_fill(a->want, a->bytes, a->seed);
    snprintf(a->name, sizeof a->name, "/var/tmp/mapped_files.%d.%u", (int)getpid(), i);
    a->fd = a->kind == MEMFD ? (int)memfd_create("mapped_files.mem", MFD_CLOEXEC)
                             : open(a->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(a->fd >= 0, "%s: %s", a->name, strerror(errno));
    CHECK(write(a->fd, a->want, a->bytes) == (ssize_t)a->bytes, "%s", a->name);
    // Clean pages only can be taken out of memory.
    CHECK(a->kind == MEMFD || fsync(a->fd) == 0, "%s", a->name);
    if (a->kind == DELETED)
        unlink(a->name);
    a->at = mmap(NULL, BYTES, is_writable(a) ? PROT_READ | PROT_WRITE : PROT_READ,
                 is_shared(a) ? MAP_SHARED : MAP_PRIVATE, a->fd, 0);
    CHECK(a->at != MAP_FAILED, "%s: %s", a->name, strerror(errno));
    if (!a->written)
        return;
    // Every third page, so that written and clean ones lie side by side.
    for (size_t p = 0; p < PAGES; p += 3) {
        a->at[p * PAGE + 7] ^= 0x5a;
        a->want[p * PAGE + 7] ^= 0x5a;
    }
}

static void expect_same(const struct area *a, const char *when)
{
    unsigned char buf[PAGE];

    for (size_t i = 0; i < BYTES; i++)
        CHECK(a->at[i] == a->want[i], "%s: kind %d, written %d: byte %zu is %d", when, a->kind,
              a->written, i, a->at[i]);
    // Private changes stay with the process, shared ones are the file's.
    for (size_t p = 0; p < PAGES; p++) {
        size_t n = (p + 1) * PAGE <= a->bytes ? PAGE : a->bytes - p * PAGE;
        CHECK(pread(a->fd, buf, n, (off_t)(p * PAGE)) == (ssize_t)n, "%s: pread", when);
        if (p % 3 == 0 && a->written && !is_shared(a))
            buf[7] ^= 0x5a;
        CHECK(memcmp(buf, a->want + p * PAGE, n) == 0, "%s: kind %d: page %zu of the file", when,
              a->kind, p);
    }
    struct stat st;
    CHECK(fstat(a->fd, &st) == 0 && st.st_size == (off_t)a->bytes, "%s: length of the file", when);
}

static void expect_all_same(const char *when)
{
    for (unsigned i = 0; i < COUNT(areas); i++)
        expect_same(&areas[i], when);
}

static size_t resident_pages(const struct area *a)
{
    unsigned char vec[PAGES];
    size_t n = 0;

    CHECK(mincore(a->at, BYTES, vec) == 0, "mincore");
    for (size_t p = 0; p < PAGES; p++)
        n += vec[p] & 1;
    return n;
}

// The flags of the mapping that holds `p`, as smaps shows them.
static void flags_of(const void *p, char *flags, size_t size)
{
    char line[4096];
    bool inside = false;
    FILE *f = fopen("/proc/self/smaps", "re");
    unsigned long start, end;

    CHECK(f, "smaps");
    *flags = '\0';
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            inside = (unsigned long)p >= start && (unsigned long)p < end;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            snprintf(flags, size, "%s", line + 8);
    }
    fclose(f);
}

static bool has_flag(const char *flags, const char *flag)
{
    char word[8];

    snprintf(word, sizeof word, " %.5s ", flag);
    return strstr(flags, word);
}

// A mapping gets the flag soon after mmap() has returned, from another thread.
static void expect_flag(const struct area *a, const char *flag)
{
    struct timespec nap = {0, 1000000};
    char flags[256];

    for (int i = 0; i < 10000; i++) {
        flags_of(a->at, flags, sizeof flags);
        if (has_flag(flags, flag))
            return;
        nanosleep(&nap, NULL);
    }
    CHECK(false, "kind %d has no %s:%s", a->kind, flag, flags);
}

static void expect_flags(char **wanted)
{
    static const char *const all[] = {"sr", "rr", "dd", "hg", "mg"};
    char flags[256];

    for (char **flag = wanted; *flag; flag++)
        for (unsigned i = 0; i < COUNT(areas); i++)
            // Shared pages are not merged, and the kernel does not mark them.
            if (strcmp(*flag, "mg") != 0 || !is_shared(&areas[i]))
                expect_flag(&areas[i], *flag);
    for (unsigned i = 0; !*wanted && i < COUNT(areas); i++) {
        flags_of(areas[i].at, flags, sizeof flags);
        for (unsigned f = 0; f < COUNT(all); f++)
            CHECK(!has_flag(flags, all[f]), "kind %d has %s", areas[i].kind, all[f]);
    }
}

// Live heap above the limit, until what may be paged out was: the clean file that was never written
// to.
static void press(void)
{
    const struct area *clean = &areas[2 * SHARED_RO];
    unsigned char *heap[1200];
    struct timespec nap = {0, 100000000};

    for (size_t i = 0; i < COUNT(heap); i++) {
        heap[i] = malloc(64 * KIB);
        victim_fill(heap[i], 64 * KIB, i);
    }
    for (int i = 0; i < 300 && resident_pages(clean); i++)
        nanosleep(&nap, NULL);
    CHECK(resident_pages(clean) == 0, "nothing was paged out");
    for (size_t i = 0; i < COUNT(heap); i++)
        CHECK(victim_intact(heap[i], 64 * KIB, 64 * KIB, i), "heap block %zu", i);
}

static void remove_files(void)
{
    for (unsigned i = 0; i < COUNT(areas); i++)
        unlink(areas[i].name);
}

static void make_all(void)
{
    atexit(remove_files);
    for (unsigned i = 0; i < COUNT(areas); i++)
        make(&areas[i], i);
}

static void advise_everything(const struct area *a)
{
    // Some are refused where they make no sense; none may change a byte.
    for (int advice = TIDEPOOL_MFILE_NORMAL; advice <= TIDEPOOL_MFILE_KEEP; advice++) {
        tidepool_mfile_advise(a->at, BYTES, (enum tidepool_mfile_advice)advice);
        expect_same(a, "advise");
    }
    CHECK(tidepool_mfile_free_lazy(a->at, BYTES) == BYTES, "%s", strerror(errno));
    expect_same(a, "free_lazy");
    CHECK(tidepool_mfile_free_lazy(a->at + 100, BYTES - 100) == BYTES - PAGE, "inward");
    CHECK(tidepool_mfile_free_lazy(a->at + 100, PAGE) == 0, "less than a page");
    expect_same(a, "free_lazy inward");
    CHECK(tidepool_mfile_prefetch(a->at + 5, BYTES - 9) == 0, "%s", strerror(errno));
    expect_same(a, "prefetch");
}

// Only where it is asked for, only whole pages inside, only where it is legal.
static void remove_pages(struct area *a)
{
    bool legal = is_shared(a) && is_writable(a);
    int result = tidepool_mfile_remove(a->at + PAGE + 1, 3 * PAGE);

    if (!legal) {
        CHECK(result == -1 && errno == EACCES, "removed from kind %d", a->kind);
        expect_same(a, "refused remove");
        return;
    }
    if (result == -1 && errno == EOPNOTSUPP)
        return;
    CHECK(result == 0, "kind %d: %s", a->kind, strerror(errno));
    memset(a->want + 2 * PAGE, 0, 2 * PAGE);
    for (size_t i = 0; i < BYTES; i++)
        CHECK(a->at[i] == a->want[i], "removed: kind %d: byte %zu", a->kind, i);
}

static void refuse(void)
{
    char *hole = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    munmap(hole + PAGE, PAGE);
    memset(hole, 1, PAGE);
    CHECK(tidepool_mfile_free_lazy(hole, 4 * PAGE) == -1 && errno == ENOMEM, "a hole");
    CHECK(tidepool_mfile_advise(hole, 4 * PAGE, TIDEPOOL_MFILE_COLD) == -1 && errno == ENOMEM,
          "a hole");
    CHECK(tidepool_mfile_advise(hole, PAGE, (enum tidepool_mfile_advice)99) == -1 &&
              errno == EINVAL,
          "no such advice");
    CHECK(tidepool_mfile_prefetch(hole, SIZE_MAX) == -1 && errno == EINVAL, "wraps");
    CHECK(tidepool_mfile_free_lazy(hole, SIZE_MAX) == -1 && errno == EINVAL, "wraps");
    // What is asked of a range and cannot be done there is not granted.
    CHECK(tidepool_mfile_advise(hole + PAGE, PAGE, TIDEPOOL_MFILE_LAZYFREE) == -1 &&
              errno == ENOMEM,
          "not mapped");
    CHECK(tidepool_mfile_advise(hole, PAGE, TIDEPOOL_MFILE_LAZYFREE) == -1 && errno == EINVAL,
          "no file");
    CHECK(tidepool_mfile_advise(hole, PAGE, TIDEPOOL_MFILE_KEEP) == 0, "kept anyway");
    CHECK(tidepool_mfile_advise(hole, 2 * PAGE, TIDEPOOL_MFILE_KEEP) == -1 && errno == ENOMEM,
          "a hole");
    for (int advice = TIDEPOOL_MFILE_NORMAL; advice <= TIDEPOOL_MFILE_KEEP; advice++)
        CHECK(tidepool_mfile_advise((void *)-100, 50, (enum tidepool_mfile_advice)advice) == -1 &&
                  errno == EINVAL,
              "advice %d at the end of all", advice);
    CHECK(tidepool_mfile_remove((void *)-100, 50) == -1 && errno == EINVAL, "the end of all");
    CHECK(tidepool_mfile_close(hole + 1, PAGE) == -1 && errno == EINVAL, "unaligned");
    CHECK(!tidepool_mfile_map("/nowhere/at/all", NULL, 0) && errno == ENOENT, "no such file");
    CHECK(!tidepool_mfile_map("/", NULL, 0) && errno == EINVAL, "a folder");
    CHECK(!tidepool_mfile_map("/dev/null", NULL, 0) && errno == EINVAL, "a device");
    CHECK(!tidepool_mfile_map("/x", NULL, TIDEPOOL_MFILE_CREATE) && errno == EINVAL, "create only");
    CHECK(!tidepool_mfile_map(areas[0].name, NULL, 8) && errno == EINVAL, "an unknown flag");
    const char *empty = "/var/tmp/mapped_files.empty";
    CHECK(!tidepool_mfile_map(empty, NULL, TIDEPOOL_MFILE_WRITE | TIDEPOOL_MFILE_CREATE) &&
              errno == EINVAL && access(empty, F_OK) != 0,
          "a new file of no length");
}

static void map_by_name(void)
{
    char name[64];
    size_t bytes = 3 * PAGE + 10, all = 0;

    snprintf(name, sizeof name, "/var/tmp/mapped_files.%d.new", (int)getpid());
    char *at = tidepool_mfile_map(name, &bytes, TIDEPOOL_MFILE_WRITE | TIDEPOOL_MFILE_CREATE);
    CHECK(at, "%s", strerror(errno));
    memcpy(at + 3 * PAGE, "0123456789", 10);
    char *again = tidepool_mfile_map(name, &all, 0);
    CHECK(again && all == bytes && memcmp(again + 3 * PAGE, "0123456789", 10) == 0, "mapped again");
    char *own = tidepool_mfile_map(name, NULL, TIDEPOOL_MFILE_WRITE | TIDEPOOL_MFILE_PRIVATE);
    CHECK(own, "%s", strerror(errno));
    own[3 * PAGE] = 'x';
    CHECK(again[3 * PAGE] == '0', "a private change came through");
    CHECK(tidepool_mfile_close(own, bytes) == 0 && tidepool_mfile_close(again, bytes) == 0,
          "close");
    CHECK(tidepool_mfile_close(at, bytes) == 0, "close");
    unlink(name);
}

// A program holds POSIX locks on a file that it maps; no descriptor of it may be closed behind its
// back.
static bool is_locked(const struct area *a)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        _exit(fcntl(a->fd, F_GETLK, &l) == 0 && l.l_type != F_UNLCK);
    }
    CHECK(waitpid(child, &status, 0) == child, "waitpid");
    return status != 0;
}

static void lock_one(void)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    CHECK(fcntl(areas[0].fd, F_SETLK, &l) == 0, "%s", strerror(errno));
}

static void api(void)
{
    struct area *a = areas;

    lock_one();
    for (unsigned i = 0; i < COUNT(areas); i++)
        advise_everything(&a[i]);
    for (unsigned i = 0; i < COUNT(areas); i++)
        remove_pages(&a[i]);
    CHECK(is_locked(&areas[0]), "a POSIX lock was lost");
    refuse();
    map_by_name();
}

static void forked(void)
{
    int status;

    tidepool_mfile_advise(areas[0].at, BYTES, TIDEPOOL_MFILE_LAZYFREE);
    madvise(areas[2].at, BYTES, MADV_DONTFORK);
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0) {
            expect_same(&areas[0], "in the child");
            char *more = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, areas[0].fd, 0);
            CHECK(tidepool_mfile_advise(more, BYTES, TIDEPOOL_MFILE_LAZYFREE) == 0, "in the child");
            CHECK(tidepool_mfile_prefetch(more, BYTES) == 0, "in the child");
            munmap(more, BYTES);
            _exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child && status == 0, "the child ended with %d",
              status);
    }
    madvise(areas[2].at, BYTES, MADV_DOFORK);
}

// A rule that names folders goes by where the file is now. TIDEPOOL_MFILE has populate (which is
// asked in mmap(), and remembers) and random for what is below /var/tmp/mapped_files.<pid>.b/.
static void moved(void)
{
    char a[64], b[64], name[80];
    struct area file = {.kind = SHARED_RO};

    snprintf(a, sizeof a, "/var/tmp/mapped_files.%d.a", (int)getpid());
    snprintf(b, sizeof b, "/var/tmp/mapped_files.%d.b", (int)getpid());
    CHECK(mkdir(a, 0700) == 0, "%s: %s", a, strerror(errno));
    snprintf(name, sizeof name, "%s/file", a);
    file.fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(file.fd >= 0 && ftruncate(file.fd, BYTES) == 0, "%s", strerror(errno));
    for (int round = 0; round < 2; round++) {
        char flags[256];
        file.at = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, file.fd, 0);
        flags_of(file.at, flags, sizeof flags);
        CHECK(!has_flag(flags, "rr") == !round, "%s a rename: %s", round ? "after" : "before",
              flags);
        munmap(file.at, BYTES);
        if (!round)
            CHECK(rename(a, b) == 0, "%s", strerror(errno));
    }
    snprintf(name, sizeof name, "%s/file", b);
    unlink(name);
    rmdir(b);
}

// What was mapped by two calls is one mapping, and is moved by one call, though the first part has
// its hints already.
static void grown(const char *flag)
{
    struct area *a = &areas[0];
    size_t half = BYTES / 2;
    char *room = mmap(NULL, BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    for (int round = 0; round < 20; round++) {
        a->at = mmap(room, half, PROT_READ, MAP_SHARED | MAP_FIXED, a->fd, 0);
        CHECK(a->at == (unsigned char *)room, "%s", strerror(errno));
        expect_flag(a, flag);
        CHECK(mmap(room + half, half, PROT_READ, MAP_SHARED | MAP_FIXED, a->fd, (off_t)half) ==
                  room + half,
              "%s", strerror(errno));
        void *moved = mremap(room, BYTES, BYTES + PAGE, MREMAP_MAYMOVE);
        CHECK(moved != MAP_FAILED, "round %d: %s", round, strerror(errno));
        CHECK(memcmp(moved, a->want, a->bytes) == 0, "what is in it");
        munmap(moved, BYTES + PAGE);
    }
    errno = 0;
    CHECK(mremap(room, BYTES, BYTES + PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT,
          "nothing is mapped there: %s", strerror(errno));
}

// The mappings of the process from `from` on, below `to`, with a flag of smaps.
static unsigned count_flagged(const char *from, const char *to, const char *flag)
{
    char line[4096];
    FILE *f = fopen("/proc/self/smaps", "re");
    unsigned long start, end;
    bool inside = false;
    unsigned n = 0;

    CHECK(f, "smaps");
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            inside = start >= (unsigned long)from && start < (unsigned long)to;
        else if (strncmp(line, "VmFlags:", 8) == 0)
            n += inside && has_flag(line, flag);
    fclose(f);
    return n;
}

static void many(const char *flag)
{
    enum { MANY = 3000 };
    struct timespec nap = {0, 10000000};
    struct rlimit files, none;
    unsigned n = 0;
    // Side by side, and none continues its neighbour.
    char *room = mmap(NULL, (size_t)MANY * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0, "%s", strerror(errno));
    none = files;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);
    for (size_t i = 0; i < MANY; i++)
        CHECK(mmap(room + i * PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, areas[0].fd, 0) !=
                  MAP_FAILED,
              "%s", strerror(errno));
    nanosleep(&nap, NULL);
    setrlimit(RLIMIT_NOFILE, &files);
    for (int i = 0; i < 200 && n != MANY; i++) {
        n = count_flagged(room, room + (size_t)MANY * PAGE, flag);
        nanosleep(&nap, NULL);
    }
    CHECK(n == MANY, "%u of %d have %s", n, MANY, flag);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";

    make_all();
    expect_all_same("as mapped");
    if (strcmp(mode, "policy") == 0) {
        lock_one();
        if (argc > 2 && strcmp(argv[2], "pressed") == 0)
            press();
        else
            expect_flags(argv + 2);
        expect_all_same("after the policy");
        CHECK(is_locked(&areas[0]), "a POSIX lock was lost");
    } else if (strcmp(mode, "api") == 0) {
        api();
        return 0;
    } else if (strcmp(mode, "moved") == 0) {
        moved();
    } else if (strcmp(mode, "grown") == 0 && argc > 2) {
        grown(argv[2]);
        return 0;
    } else if (strcmp(mode, "fork") == 0) {
        forked();
    } else if (strcmp(mode, "many") == 0 && argc > 2) {
        many(argv[2]);
    } else {
        return 2;
    }
    expect_all_same("at the end");
    return 0;
}
