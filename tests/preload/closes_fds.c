// Closes every descriptor above 2, as daemons do, and takes the numbers for its own files. Whatever
// the allocator had open is gone then: it must neither write into those files nor close them.

#include "tests/preload/victim.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { HIGHEST = 1023 };

static void churn(void)
{
    static void *p[256];
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < COUNT(p); i++) {
            p[i] = malloc(256 * KIB);
            memset(p[i], 1, 256 * KIB);
        }
        for (size_t i = 0; i < COUNT(p); i++)
            free(p[i]);
        malloc_trim(0);
    }
}

int main(void)
{
    struct rlimit limit = {4096, 4096};
    setrlimit(RLIMIT_NOFILE, &limit);
    // Large enough that whatever watches memory has begun to.
    churn();
    usleep(300000);
    for (int fd = 3; fd <= HIGHEST; fd++)
        close(fd);
    churn();

    char name[] = "/tmp/closes_fds.XXXXXX";
    int first = mkstemp(name);
    CHECK(first == 3, "the lowest free descriptor is %d", first);
    unlink(name);
    struct stat file, other;
    CHECK(fstat(first, &file) == 0, "fstat");
    for (int fd = 4; fd <= HIGHEST; fd++) {
        // Numbers that the allocator took again in between are its own, and high.
        if (fcntl(fd, F_GETFD) >= 0) {
            CHECK(fd >= 512, "descriptor %d was taken", fd);
            continue;
        }
        CHECK(dup2(first, fd) == fd, "dup2 to %d", fd);
    }
    churn();
    usleep(1500000);
    churn();
    for (int fd = 3; fd < 512; fd++) {
        CHECK(fstat(fd, &other) == 0, "descriptor %d was closed", fd);
        CHECK(other.st_ino == file.st_ino && other.st_dev == file.st_dev, "%d is another file", fd);
    }
    CHECK(fstat(first, &other) == 0 && other.st_size == 0, "%d bytes were written into it",
          (int)other.st_size);
    return 0;
}
