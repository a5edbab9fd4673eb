// watchcost MIB SECONDS - processor time of every thread that is not ours, while the process idles.

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "load.h"

// Nanoseconds on a processor, of the threads beside main; how many there are.
static unsigned long long others_ns(int *threads)
{
    unsigned long long sum = 0;
    DIR *dir = opendir("/proc/self/task");
    if (!dir)
        load_die("no /proc/self/task");
    *threads = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        char path[320];
        unsigned long long ns;
        if (e->d_name[0] == '.' || atoi(e->d_name) == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", e->d_name);
        FILE *f = fopen(path, "r");
        if (!f || fscanf(f, "%llu", &ns) != 1)
            load_die("no schedstat");
        fclose(f);
        sum += ns;
        ++*threads;
    }
    closedir(dir);
    return sum;
}

int main(int argc, char **argv)
{
    size_t bytes = load_start(argc, argv);
    if (argc < 3)
        load_die("watchcost MIB SECONDS");
    struct block_list blocks = load_fill(load_kind("pooled"), bytes, 5);
    // What it costs to start is not what it costs to run.
    sleep(1);
    int threads;
    double begin_s = load_seconds();
    unsigned long long begin_ns = others_ns(&threads);
    for (unsigned left_s = (unsigned)strtoul(argv[2], NULL, 10); left_s;)
        left_s = sleep(left_s);
    double spent_s = (double)(others_ns(&threads) - begin_ns) / 1e9;
    printf("watchcost threads=%d percent=%.4f\n", threads,
           100 * spent_s / (load_seconds() - begin_s));
    load_give_all(&blocks);
}
