// yields BLOCKS BLOCK_MIB GROWN_MIB self|populate|advise|neighbour PAUSE_MS - free memory is for
// others, too.
//
// A process fills large blocks, rests, frees them all and asks for nothing more. After the pause
// GROWN_MIB are taken past malloc, by mmap:
//
//   self       the process itself touches page after page, as a runtime's own heap would
//   populate   the process takes all pages in one mmap(2) with MAP_POPULATE
//   advise     the process takes all pages in one madvise(2) with MADV_POPULATE_WRITE
//   neighbour  another process in the same cgroup, without tidepool, touches page after page. If
//              that process was killed, this one exits with 1.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

// Linux 5.14, which older headers lack.
enum { POPULATE_WRITE = 23 };
enum { MAX_BLOCKS = 1000, REST_MS = 1500 };

static void *map(size_t mib, int flags)
{
    void *p =
        mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (p == MAP_FAILED)
        load_die("mmap");
    return p;
}

static void map_and_touch(size_t mib)
{
    for (size_t i = 0; i < mib; i++)
        memset(map(1, 0), 1, MIB);
}

static void grow(const char *how, size_t mib)
{
    if (strcmp(how, "populate") == 0)
        map(mib, MAP_POPULATE);
    else if (strcmp(how, "self") == 0)
        map_and_touch(mib);
    else if (madvise(map(mib, 0), mib * MIB, POPULATE_WRITE))
        load_die("madvise(MADV_POPULATE_WRITE)");
}

static void fill_and_free(size_t blocks, size_t mib)
{
    static struct block *block[MAX_BLOCKS];
    for (size_t i = 0; i < blocks; i++)
        block[i] = load_take(mib * MIB);
    usleep(REST_MS * 1000);
    for (size_t i = 0; i < blocks; i++)
        load_give(block[i]);
}

// Forked first, so that it shares nothing but the cgroup. It grows when it is told to.
static pid_t start_neighbour(int *tell, size_t mib)
{
    int ends[2];
    char go;
    if (pipe(ends))
        load_die("no pipe");
    pid_t pid = fork();
    if (pid < 0)
        load_die("no neighbour");
    if (pid == 0) {
        if (read(ends[0], &go, 1) == 1)
            map_and_touch(mib);
        _exit(0);
    }
    *tell = ends[1];
    return pid;
}

int main(int argc, char **argv)
{
    load_start(argc, argv);
    size_t blocks = argc == 6 ? strtoull(argv[1], NULL, 10) : 0;
    if (!blocks || blocks > MAX_BLOCKS)
        load_die("yields BLOCKS BLOCK_MIB GROWN_MIB self|populate|advise|neighbour PAUSE_MS");
    size_t grown_mib = strtoull(argv[3], NULL, 10);
    const char *who = argv[4];
    bool by_neighbour = strcmp(who, "neighbour") == 0;
    int tell = -1, status = 0;
    pid_t pid = by_neighbour ? start_neighbour(&tell, grown_mib) : 0;
    fill_and_free(blocks, strtoull(argv[2], NULL, 10));
    usleep((useconds_t)strtoul(argv[5], NULL, 10) * 1000);
    if (!by_neighbour)
        grow(who, grown_mib);
    else if (write(tell, "", 1) != 1 || waitpid(pid, &status, 0) != pid)
        load_die("the neighbour is gone");
    return status != 0;
}
