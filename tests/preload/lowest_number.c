// Counts on the rule that a new file has the lowest free number, and on its files' staying where it
// put them, while a thread of the allocator's looks at /proc and cgroups all the time. With a path,
// it maps that file over and over as well.

#include "tests/preload/victim.h"

#include <fcntl.h>
#include <sys/mman.h>

enum { ROUNDS = 200000, FREE = 40 };

static void map_once(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0, "%s", path);
    void *p = mmap(NULL, MIB, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED, "mmap");
    close(fd);
    munmap(p, MIB);
}

int main(int argc, char **argv)
{
    // Grows, so that there is a thread, which has its own descriptors before it looks at anything.
    static char *kept[60];
    for (size_t i = 0; i < COUNT(kept); i++) {
        kept[i] = malloc(MIB);
        memset(kept[i], 1, MIB);
    }
    if (argc > 1)
        map_once(argv[1]);
    usleep(300000);

    int input = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < ROUNDS; i++) {
        int copy = dup(input);
        CHECK(copy == input + 1, "round %d: the lowest free number was %d, not %d", i, copy,
              input + 1);
        // What dup2 closes unasked is whatever stands there.
        CHECK(dup2(input, FREE) == FREE, "dup2");
        off_t at = lseek(input, i % 4096, SEEK_SET);
        CHECK(at == i % 4096 && lseek(FREE, 0, SEEK_CUR) == at, "round %d: another file", i);
        close(copy);
        close(FREE);
        if (argc > 1 && i % 100 == 0)
            map_once(argv[1]);
    }
    return 0;
}
