// takes_all_fds MIB - takes every descriptor when MIB are live, and grows to what a limit of 100
// MiB calls critical: its threads can read no file. The watchdog's thread, which may have started
// by then or not, can; and its level is not taken back by theirs.

#include "tests/preload/victim.h"

#include <fcntl.h>
#include <sys/resource.h>

static void grow_to(int mib)
{
    static int have;

    for (; have < mib; have++) {
        char *p = malloc(MIB);
        CHECK(p, "%d MiB", have);
        memset(p, 1, MIB);
        usleep(2000);
    }
}

int main(int argc, char **argv)
{
    struct rlimit few = {100, 100};

    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0, "setrlimit");
    grow_to(argc > 1 ? atoi(argv[1]) : 0);
    // So that the watchdog's thread has started, if it is to start by then.
    usleep(300000);
    while (open("/dev/null", O_RDONLY) >= 0)
        ;
    grow_to(94);
    usleep(300000);
    return 0;
}
