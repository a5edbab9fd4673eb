// settings - what a setting promises, seen from the program: `settings NAME`. Values come from
// run.sh; the command line says what they have to lead to.

#include "tests/preload/victim.h"

#include <fcntl.h>
#include <sys/auxv.h>

#include "shim/api/tidepool.h"

enum { BUCKETS = 16, BLOCKS = 64, BLOCK = 64 * KIB };

typedef void *(*address_fn)(void);

static struct tidepool_bucket bucket[BUCKETS];

static uint64_t free_bytes(void)
{
    uint64_t sum = 0;
    unsigned count = tidepool_stats(bucket, BUCKETS);

    CHECK(count, "no pools");
    for (unsigned i = 0; i < count; i++)
        sum += bucket[i].free_bytes;
    return sum;
}

static void fill_and_free(void)
{
    void *block[BLOCKS];

    for (int i = 0; i < BLOCKS; i++)
        block[i] = malloc(BLOCK);
    for (int i = 0; i < BLOCKS; i++)
        free(block[i]);
}

// TIDEPOOL_WARMUP: the blocks lie free before the first request.
static void warm(void)
{
    unsigned count = tidepool_stats(bucket, BUCKETS), i = 0;

    while (i < count && bucket[i].bound < BLOCK)
        i++;
    CHECK(i < count && bucket[i].free >= 32, "%lu blocks are free", i < count ? bucket[i].free : 0);
    uint64_t created = bucket[i].created;
    void *block = malloc(BLOCK);
    tidepool_stats(bucket, BUCKETS);
    CHECK(block && bucket[i].created == created, "a block was made anew");
    free(block);
}

// TIDEPOOL_POOL_MAX: 4 MiB are freed, and no more than the ceiling stays.
static void ceiling(uint64_t least, uint64_t most)
{
    fill_and_free();
    uint64_t kept = free_bytes();
    CHECK(kept >= least && kept <= most, "%lu bytes are kept", kept);
}

// TIDEPOOL_THP: the flag of the mapping in which a block lies; and of what the library keeps for
// itself, mapped without a reservation, where that shall have no huge pages.
static void huge_pages(const char *flag)
{
    char line[512], *block = malloc(BLOCK);
    unsigned long begin, end, rss = 0;
    bool here = false, seen = false, said = false;
    FILE *f = fopen("/proc/self/smaps", "re");

    CHECK(block && f, "%s", strerror(errno));
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
            here = (uintptr_t)block >= begin && (uintptr_t)block < end;
        sscanf(line, "Rss: %lu kB", &rss);
        if (strncmp(line, "VmFlags:", 8) == 0 && rss && strcmp(flag, " nh") == 0)
            CHECK(!strstr(line, " nr") || strstr(line, flag), "%s", line);
        if (here && strncmp(line, "VmFlags:", 8) == 0) {
            seen = true;
            said = strstr(line, " hg") || strstr(line, " nh");
            CHECK(*flag == '-' ? !said : strstr(line, flag) != NULL, "%s", line);
        }
    }
    fclose(f);
    CHECK(seen, "no mapping has the block");
    free(block);
}

// TIDEPOOL_DEEPBIND: whose malloc() does a plugin call?
static void deepbind(bool ours)
{
    void *lib = dlopen("plugin.so", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    CHECK(lib, "%s", dlerror());
    void *symbol = dlsym(lib, "plugin_malloc"), *mine = dlsym(RTLD_DEFAULT, "malloc");
    CHECK(symbol && mine, "%s", dlerror());
    address_fn theirs;
    memcpy(&theirs, &symbol, sizeof theirs);
    CHECK((theirs() == mine) == ours, "the plugin's malloc is %s", ours ? "another" : "ours");
}

// A set-uid program: what its caller set does not count.
static void secure(void)
{
    CHECK(getauxval(AT_SECURE), "not set-uid");
    CHECK(dlsym(RTLD_DEFAULT, "tidepool_version"), "the library is not here");
    CHECK(getenv("TIDEPOOL_POOL_MAX") && getenv("TIDEPOOL_BUCKETS"), "nothing to ignore");
    ceiling(MIB / 2, 4 * MIB);
}

// MEMORY_PRESSURE_WATCH: the program grows until the watchdog's thread listens, and then writes
// into the fifo that the variable names.
static void watch(bool ring)
{
    char *block[80];
    int fd;

    for (size_t i = 0; i < COUNT(block); i++) {
        block[i] = malloc(MIB);
        memset(block[i], 1, MIB);
    }
    usleep(500000);
    if (ring) {
        fd = open(getenv("MEMORY_PRESSURE_WATCH"), O_WRONLY | O_NONBLOCK);
        CHECK(fd >= 0 && write(fd, "x", 1) == 1, "%s", strerror(errno));
        close(fd);
    }
    usleep(300000);
    for (size_t i = 0; i < COUNT(block); i++)
        free(block[i]);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

    if (strcmp(name, "warmup") == 0)
        warm();
    else if (strcmp(name, "pool_max") == 0)
        ceiling(strtoul(argv[2], NULL, 0), strtoul(argv[3], NULL, 0));
    else if (strcmp(name, "thp") == 0)
        huge_pages(argv[2]);
    else if (strcmp(name, "deepbind") == 0)
        deepbind(strcmp(argv[2], "strip") == 0);
    else if (strcmp(name, "secure") == 0)
        secure();
    else if (strcmp(name, "watch") == 0)
        watch(strcmp(argv[2], "ring") == 0);
    else
        CHECK(false, "no such setting: %s", name);
    return 0;
}
