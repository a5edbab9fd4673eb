// sequential - reads a mapped file once from its start to its end, with nothing of it in memory.
//
//   sequential FILE [WAIT_MS [WORDS]]    does something else first for WAIT_MS; then takes WORDS of
//   each
//                                        page (default 64). Prints the seconds that the reading
//                                        took
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    struct stat st;
    int fd = argc > 1 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
    long wait_ms = argc > 2 ? atol(argv[2]) : 0;
    size_t words = argc > 3 ? (size_t)atol(argv[3]) : 64;
    if (fd < 0 || fstat(fd, &st) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        return 2;
    size_t bytes = (size_t)st.st_size & ~(size_t)4095;
    const volatile uint64_t *at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return 3;
    close(fd);
    for (double until = seconds() + (double)wait_ms * 1e-3; seconds() < until;)
        ;
    double start = seconds();
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes / 8; i += 512)
        for (size_t w = 0; w < words; w++)
            sum += at[i + w * 512 / words % 512];
    printf("%.4f %lx\n", seconds() - start, (unsigned long)sum);
    return 0;
}
