// giveback MIB KIND THREADS SECONDS - what an idle process still holds, some time after freeing.
//
// THREADS 0: main fills and frees, and a line says so. Then nothing runs, and the resident set is
// read again.

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "load.h"

static double filled_mib;

static double resident_mib(void)
{
    unsigned long size, resident;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%lu %lu", &size, &resident) != 2)
        load_die("no /proc/self/statm");
    fclose(f);
    return (double)resident * 4096 / MIB;
}

static void note_filled(void)
{
    filled_mib = resident_mib();
}

int main(int argc, char **argv)
{
    size_t bytes = load_start(argc, argv);
    if (argc < 5)
        load_die("giveback MIB KIND THREADS SECONDS");
    struct load_kind kind = load_kind(argv[2]);
    size_t threads = strtoull(argv[3], NULL, 10);
    double before_mib = resident_mib();
    if (threads) {
        load_idle_threads(threads, kind, bytes, note_filled);
    } else {
        struct block_list blocks = load_fill(kind, bytes, 5);
        note_filled();
        load_give_all(&blocks);
    }
    puts("giveback freed");
    fflush(stdout);
    for (unsigned left_s = (unsigned)strtoul(argv[4], NULL, 10); left_s;)
        left_s = sleep(left_s);
    double after_mib = resident_mib();
    printf("giveback before_mib=%.1f filled_mib=%.1f after_mib=%.1f returned=%.1f\n", before_mib,
           filled_mib, after_mib, 100 * (filled_mib - after_mib) / (filled_mib - before_mib));
}
