// load KIND: a service that is well, or ill in one of the ways that an alert is for; until its
// standard input ends. Each does its part a hundred times a second.

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define KEEP 40000

static void *kept[KEEP];
static size_t count;

static void keep(size_t size)
{
    if (count < KEEP && (kept[count] = malloc(size)))
        memset(kept[count++], 1, size);
}

// Requests that are served from what was freed before, and a reclaim now and then.
static void steady(unsigned turn)
{
    void *p[16];
    for (size_t i = 0; i < 16; i++)
        p[i] = malloc(1500 << (i % 8));
    for (size_t i = 0; i < 16; i++)
        free(p[i]);
    if (turn % 50 == 0)
        malloc_trim(0);
}

// All of it live, up to the limit, and then requests that would pass it.
static void full(unsigned turn)
{
    (void)turn;
    for (int i = 0; count < 58; i++)
        keep(MIB);
    void *refused = malloc(32 * MIB);
    if (refused)
        memset(refused, 1, 32 * MIB);
    free(refused);
}

// Just above a block size, and never freed.
static void leak(unsigned turn)
{
    for (unsigned i = 0; i < (turn ? 4 : 36000); i++)
        keep(2049);
}

// A bug, which TIDEPOOL_CHECK=warn lets live.
static void misuse(unsigned turn)
{
    steady(turn);
    if (turn % 50)
        return;
    void *volatile twice = malloc(5000);
    free(twice);
    free(twice);
}

// A mapped file that a policy has advice for, and one that stays.
static void files(unsigned turn)
{
    int fd = open("/proc/self/exe", O_RDONLY);
    void *at = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (turn && at != MAP_FAILED)
        munmap(at, 4096);
    steady(turn);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*work)(unsigned turn);
    } kinds[] = {
        {"steady", steady}, {"full", full}, {"leak", leak}, {"misuse", misuse}, {"files", files}};
    struct pollfd end = {.fd = STDIN_FILENO, .events = POLLIN};
    // Something to watch, first of all.
    for (int i = 0; argc == 2 && i < 4; i++)
        keep(MIB);
    for (size_t k = 0; argc == 2 && k < sizeof kinds / sizeof kinds[0]; k++)
        if (strcmp(kinds[k].name, argv[1]) == 0)
            for (unsigned turn = 0; poll(&end, 1, 10) == 0; turn++)
                kinds[k].work(turn);
    return argc != 2;
}
