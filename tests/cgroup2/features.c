// features - what the library uses of the kernel, and from which version on it is there: the table
// in building.md. One line each. Exit 1 where one is missing; an older kernel may have taken it
// over.

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/membarrier.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define VERSION(major, minor) ((major)*1000 + (minor))

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

// Four pages that are there.
static char *pages(void)
{
    char *at = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    memset(at, 1, 4 * PAGE);
    return at;
}

static bool advise(int advice)
{
    return madvise(pages(), PAGE, advice) == 0;
}

static bool membarriers(void)
{
    return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0 &&
           syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

static bool wipes(void)
{
    return advise(MADV_WIPEONFORK);
}

static bool ages(void)
{
    return advise(MADV_COLD) && advise(MADV_PAGEOUT);
}

static bool populates(void)
{
    return advise(MADV_POPULATE_READ) && advise(MADV_POPULATE_WRITE);
}

static bool unlocks(void)
{
    char *at = pages();

    return mlock(at, PAGE) == 0 && madvise(at, PAGE, MADV_DONTNEED_LOCKED) == 0 && !*at;
}

static bool own_descriptors(void)
{
    return syscall(SYS_close_range, 1000U, ~0U, CLOSE_RANGE_UNSHARE) == 0;
}

static bool move(char *from, char *to, size_t size)
{
    const int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;

    return mremap(from, size, size, flags, to) == to;
}

static bool moves(void)
{
    char *from = pages(), *to = pages();

    return move(from, to, PAGE) && *to == 1 && !*from;
}

// The page that came from elsewhere is a mapping of its own.
static bool moves_several(void)
{
    char *at = pages(), *other = pages();

    return moves() && move(other, at + PAGE, PAGE) && move(at, other + 2 * PAGE, 2 * PAGE);
}

static bool takes_trigger(const char *path)
{
    static const char trigger[] = "some 150000 2000000";
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);

    return fd >= 0 && write(fd, trigger, sizeof trigger) > 0;
}

static const char *own_cgroup; // argv[1]

static bool own_pressure(void)
{
    char path[512];

    snprintf(path, sizeof path, "%s/memory.pressure", own_cgroup);
    return takes_trigger(path);
}

// By a process that was never allowed more than others are.
static bool pressure_for_all(void)
{
    int status;
    pid_t child = fork();

    if (!child)
        _exit(setuid(65534) != 0 || !takes_trigger("/proc/pressure/memory"));
    return waitpid(child, &status, 0) == child && status == 0;
}

static const struct {
    const char *what;
    int from;
    bool (*works)(void);
} table[] = {
    {"membarrier", VERSION(4, 14), membarriers},
    {"MADV_WIPEONFORK", VERSION(4, 14), wipes},
    {"PSI trigger, own cgroup", VERSION(5, 2), own_pressure},
    {"MADV_COLD, MADV_PAGEOUT", VERSION(5, 4), ages},
    {"page moves", VERSION(5, 7), moves},
    {"CLOSE_RANGE_UNSHARE", VERSION(5, 9), own_descriptors},
    {"MADV_POPULATE_", VERSION(5, 14), populates},
    {"MADV_DONTNEED_LOCKED", VERSION(5, 18), unlocks},
    {"PSI trigger, machine, no privilege", VERSION(6, 5), pressure_for_all},
    {"page moves, several mappings", VERSION(6, 17), moves_several},
};

int main(int argc, char **argv)
{
    struct utsname u;
    int major = 0, minor = 0, wrong = 0;

    if (argc != 2 || uname(&u) != 0 || sscanf(u.release, "%d.%d", &major, &minor) != 2)
        return 2;
    own_cgroup = argv[1];
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        bool on = table[i].works(), due = VERSION(major, minor) >= table[i].from;
        printf("%-36s %d.%-3d %s%s\n", table[i].what, table[i].from / 1000, table[i].from % 1000,
               on ? "on" : "off", due && !on ? "  MISSING" : "");
        wrong |= due && !on;
    }
    return wrong;
}
