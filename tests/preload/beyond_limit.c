// beyond_limit: run with TIDEPOOL_LIMIT=200M TIDEPOOL_ON_LIMIT=enomem. What the limit has no room
// for is refused at every size, those above 4 GiB included, and the program goes on.

#include "tests/preload/victim.h"

int main(void)
{
    static const size_t mib[] = {300, 1000, 3000, 3584, 4095, 4096, 4100, 5000, 8000, 100000};
    unsigned char *p = malloc(100 * MIB);
    CHECK(p, "100 MiB");
    memset(p, 1, 100 * MIB);
    for (size_t i = 0; i < COUNT(mib); i++) {
        errno = 0;
        void *much = victim_hide(malloc(mib[i] * MIB));
        CHECK(!much && errno == ENOMEM, "%zu MiB: %p, errno %d", mib[i], much, errno);
    }
    CHECK(malloc(MIB), "1 MiB");
    free(p);
    return 0;
}
