// walker - waits until the walker that was asked for is there: libunwind is loaded by a thread of
// the library's, and until then the built-in one walks.
#ifndef TIDEPOOL_TESTS_SAMPLE_WALKER_H
#define TIDEPOOL_TESTS_SAMPLE_WALKER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int walker_is_mapped(void)
{
    char line[4352];
    FILE *maps = fopen("/proc/self/maps", "re");
    int found = 0;

    while (maps && !found && fgets(line, sizeof line, maps))
        found = strstr(line, "/libunwind.so") != NULL;
    if (maps)
        fclose(maps);
    return found;
}

// Its caller is on the stacks of a few samples that are freed.
static inline void walker_wait(void)
{
    const char *asked = getenv("TIDEPOOL_SAMPLE_UNWIND");

    if (!asked || strcmp(asked, "libunwind") != 0)
        return;
    for (int tries = 0; tries < 1000 && !walker_is_mapped(); tries++) {
        // The thread is made where a large request ends, once there was a sample.
        free(malloc((size_t)4 << 20));
        usleep(10000);
    }
    usleep(100000); // mapped comes before ready
}

#endif
