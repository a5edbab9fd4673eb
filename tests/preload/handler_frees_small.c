// handler_frees_small: run with TIDEPOOL_ON_LIMIT=enomem:1. A handler frees and takes blocks of a
// size that its thread is just being given: none of them is lost.

#include "tests/preload/victim.h"

#include <malloc.h>
#include <signal.h>
#include <sys/time.h>

enum { BLOCKS = 3000, OF_HANDLER = 64, AT_ONCE = 8, CALLS = 40000, SIZE = 100 };

static void *block[BLOCKS], *of_handler[OF_HANDLER];
static volatile sig_atomic_t calls;

static void replace(int sig)
{
    (void)sig;
    // A call that takes longer than the interval is followed by the next one at once. Without a
    // short one in between the thread would never go on.
    if (calls++ % 2)
        return;
    for (int i = 0; i < AT_ONCE; i++) {
        void **at = &of_handler[(calls / 2 * AT_ONCE + i) % OF_HANDLER];
        free(*at);
        *at = malloc(SIZE);
    }
}

int main(void)
{
    struct sigaction action = {.sa_handler = replace, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 50}, {0, 50}}, never = {{0, 0}, {0, 0}};

    CHECK(sigaction(SIGALRM, &action, NULL) == 0, "sigaction");
    size_t before = mallinfo2().uordblks;
    setitimer(ITIMER_REAL, &often, NULL);
    while (calls < CALLS) {
        for (int i = 0; i < BLOCKS; i++)
            block[i] = malloc(SIZE);
        for (int i = 0; i < BLOCKS; i++)
            free(block[i]);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    size_t after = mallinfo2().uordblks;
    CHECK(after < before + MIB, "%zu KiB in use, %zu before", after / KIB, before / KIB);
    return 0;
}
