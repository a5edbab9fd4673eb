// own_sigaction - a program that defines sigaction() itself and goes on to libc's __sigaction(), as
// Erlang's does.
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>

static volatile sig_atomic_t came;

static void note(int sig)
{
    came = sig;
}

__attribute__((visibility("default"))) int sigaction(int sig, const struct sigaction *restrict act,
                                                     struct sigaction *restrict old)
{
    typedef int sigaction_fn(int, const struct sigaction *, struct sigaction *);
    sigaction_fn *fn = (sigaction_fn *)dlsym(RTLD_NEXT, "__sigaction");

    return fn(sig, act, old);
}

int main(void)
{
    struct sigaction act = {.sa_handler = note};

    free(malloc(5000));
    if (sigaction(SIGUSR1, &act, NULL) || raise(SIGUSR1))
        return 1;
    return came == SIGUSR1 ? 0 : 2;
}
