// family LIVE_MIB [PROCESSES] - processes of one cgroup that peak one after another and stay, idle.
//
// Each fills up to LIVE_MIB, frees all but a fortieth and blocks in read(2); the next starts at
// once. The peak is what all of them hold live at the worst moment. No allocator of the fourth
// process can reach what the first three keep: they must give it back themselves, without having
// anything to do.

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

enum { KEPT_PART = 40 };

static int done[2], leave[2];

static void signal_byte(int fd)
{
    if (write(fd, "x", 1) != 1)
        load_die("cannot signal");
}

static void peak_then_idle(uint64_t seed, size_t live_bytes)
{
    struct block_list kept = {0}, freed = {0};
    for (size_t filled = 0, n = 0; filled < live_bytes; n++) {
        size_t size = load_random_size(&seed, KIB, MIB);
        if (filled + size > live_bytes)
            break;
        filled += size;
        load_push(n % KEPT_PART ? &freed : &kept, load_take(size));
    }
    load_give_all(&freed);
    signal_byte(done[1]);
    char end;
    if (read(leave[0], &end, 1) < 0)
        load_die("cannot wait");
    load_give_all(&kept);
}

// A killed child never reports: without it the others must not wait for ever. Their pipe closes
// with us.
static void on_child(int unused)
{
    (void)unused;
    _exit(1);
}

int main(int argc, char **argv)
{
    size_t live_bytes = load_start(argc, argv);
    int processes = argc > 2 ? atoi(argv[2]) : 4;
    if (pipe(done) || pipe(leave))
        load_die("no pipes");
    signal(SIGCHLD, on_child);
    for (int i = 0; i < processes; i++) {
        pid_t child = fork();
        if (child < 0)
            load_die("no process");
        if (!child) {
            close(leave[1]);
            peak_then_idle((uint64_t)i + 3, live_bytes);
            _exit(0);
        }
        char end;
        if (read(done[0], &end, 1) != 1)
            load_die("cannot wait");
    }
    signal(SIGCHLD, SIG_DFL);
    load_report();
    close(leave[1]);
    while (wait(NULL) > 0)
        ;
}
