// runs_out SIZE PERCENT: takes blocks of SIZE bytes until a limit (ulimit -d, ulimit -v) says no,
// at least PERCENT of it; gives half of them back, and has these again.

#include "tests/preload/victim.h"

#include <sys/resource.h>

// Each block holds the address of the one before: a table would count against the limit, too.
static void **last;

static size_t take_all(size_t size)
{
    size_t n = 0;

    for (void **p; (p = malloc(size)); last = p, n++) {
        memset(p, 1, size);
        *p = last;
    }
    CHECK(errno == ENOMEM, "out of memory says errno %d", errno);
    return n;
}

static void give_back(size_t n)
{
    while (n--) {
        void **p = last;
        last = *p;
        free(p);
    }
}

static size_t limit_bytes(void)
{
    struct rlimit space, data;

    CHECK(getrlimit(RLIMIT_AS, &space) == 0 && getrlimit(RLIMIT_DATA, &data) == 0, "getrlimit");
    CHECK(space.rlim_cur != RLIM_INFINITY || data.rlim_cur != RLIM_INFINITY, "no limit");
    return space.rlim_cur < data.rlim_cur ? space.rlim_cur : data.rlim_cur;
}

int main(int argc, char **argv)
{
    CHECK(argc == 3, "two arguments");
    size_t size = strtoul(argv[1], NULL, 10), percent = strtoul(argv[2], NULL, 10);
    size_t most = take_all(size);

    CHECK(most * size >= limit_bytes() / 100 * percent, "%zu blocks of %zu are %zu%% of the limit",
          most, size, most * size / (limit_bytes() / 100));
    usleep(200000); // the library's thread has something to do now
    give_back(most / 2);
    size_t again = take_all(size);
    CHECK(again >= most / 2 - most / 16, "%zu blocks of %zu, half of them and %zu again", most,
          size, again);
    return 0;
}
