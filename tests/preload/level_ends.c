// level_ends: run with TIDEPOOL_LIMIT=100M on a machine with more memory than that, and stderr a
// file. Fills the limit, frees it, and waits until both are told; run.sh reads by which limit.

#include "tests/preload/victim.h"

#include <fcntl.h>

// Up to 30 s; what the library wrote so far is read from the start each time.
static void wait_for(const char *words)
{
    static char text[1 << 16];

    for (int i = 0; i < 300; i++) {
        int fd = open("/proc/self/fd/2", O_RDONLY);
        CHECK(fd >= 0, "stderr is no file: %s", strerror(errno));
        ssize_t n = read(fd, text, sizeof text - 1);
        close(fd);
        text[n > 0 ? n : 0] = '\0';
        if (strstr(text, words))
            return;
        usleep(100000);
    }
    CHECK(false, "never: %s", words);
}

int main(void)
{
    static char *block[95];

    for (size_t i = 0; i < COUNT(block); i++) {
        block[i] = malloc(MIB);
        CHECK(block[i], "block %zu", i);
        memset(block[i], 1, MIB);
    }
    wait_for("memory pressure critical");
    for (size_t i = 0; i < COUNT(block); i++)
        free(block[i]);
    wait_for("memory pressure normal");
    return 0;
}
