// Under TIDEPOOL_KSM=on the pools, large blocks and large anonymous mappings are marked for merging
// ("mg" in smaps), and under nothing they are not.
//
//   merges_pages yes|no

#include <sys/mman.h>

#include "victim.h"

// Is the mapping that holds `p` marked?
static bool is_marked(const void *p)
{
    char line[4096];
    bool inside = false, marked = false;
    FILE *f = fopen("/proc/self/smaps", "re");
    unsigned long start, end;

    CHECK(f, "smaps");
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            inside = (unsigned long)p >= start && (unsigned long)p < end;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            marked = strstr(line, " mg") != NULL;
    }
    fclose(f);
    return marked;
}

int main(int argc, char **argv)
{
    bool want = argc > 1 && strcmp(argv[1], "yes") == 0;
    char *pooled = malloc(64 * KIB), *large = malloc(8 * MIB);
    char *own = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *small = mmap(NULL, 64 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *shared = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    pooled[0] = large[0] = own[0] = small[0] = shared[0] = 1;
    CHECK(is_marked(pooled) == want, "pooled");
    CHECK(is_marked(large) == want, "large");
    CHECK(is_marked(own) == want, "mapped");
    CHECK(!is_marked(small), "not worth it");
    CHECK(!is_marked(shared), "shared memory is not ours to merge");
    return 0;
}
