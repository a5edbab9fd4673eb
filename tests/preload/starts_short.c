// starts_short: where a request at the start fails, the program gets NULL, and later ones are
// served.

#include "tests/preload/victim.h"

int main(void)
{
    size_t served = 0;

    for (size_t i = 0; i < COUNT(victim_sizes); i++) {
        char *p = victim_hide(malloc(victim_sizes[i]));
        if (p)
            memset(p, 1, victim_sizes[i]);
        else
            CHECK(errno == ENOMEM, "errno %d", errno);
        served += p != NULL;
        free(p);
    }
    CHECK(served >= COUNT(victim_sizes) - 1, "%zu of %zu served", served, COUNT(victim_sizes));
    return 0;
}
