// reader - live heap beside a mapped file that was read: what a limit has to hold.
//
//   reader HEAP_MIB FILE [keep]
//
// Fills HEAP_MIB of 64 KiB blocks, maps FILE and reads all of it, and its first 60 MiB again after
// every 8, so that the kernel takes those for active. Says "ready" and waits for the end of its
// input. Then all has to be what it was: "intact". With `keep` the file is out of the watchdog's
// reach.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/api/tidepool.h"

enum { BLOCK = 64 << 10, PAGE = 4096 };

static uint64_t sum_of(const char *at, size_t from, size_t to)
{
    uint64_t sum = 0;

    for (size_t i = from; i < to; i += PAGE)
        sum = sum * 31 + *(const volatile uint64_t *)(const volatile void *)(at + i);
    return sum;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    size_t blocks = strtoul(argv[1], NULL, 10) * 16, hot = 60ul << 20, step = 8ul << 20;
    char **heap = malloc(blocks * sizeof *heap);
    for (size_t b = 0; b < blocks; b++) {
        heap[b] = malloc(BLOCK);
        if (!heap[b])
            return 3;
        memset(heap[b], (int)b, BLOCK);
    }
    struct stat st;
    int fd = open(argv[2], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        return 4;
    size_t bytes = (size_t)st.st_size & -(size_t)PAGE;
    char *at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return 5;
    if (argc > 3 && tidepool_mfile_advise)
        tidepool_mfile_advise(at, bytes, TIDEPOOL_MFILE_KEEP);
    close(fd);
    uint64_t before = 0;
    for (size_t i = 0; i < bytes; i += step) {
        before ^= sum_of(at, i, i + step < bytes ? i + step : bytes);
        sum_of(at, 0, hot < bytes ? hot : bytes);
    }
    puts("ready");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    for (size_t b = 0; b < blocks; b++)
        for (size_t i = 0; i < BLOCK; i += PAGE)
            if (heap[b][i] != (char)b)
                return 6;
    for (size_t i = 0; i < bytes; i += step)
        before ^= sum_of(at, i, i + step < bytes ? i + step : bytes);
    if (before)
        return 7;
    puts("intact");
    return 0;
}
