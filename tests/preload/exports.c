// exports LIBRARY: each member of the family resolves to LIBRARY, so that no block of another heap
// can come in by a name that was forgotten. Prints what does not.

#include "tests/preload/victim.h"

static const char *const family[] = {
    // C, C23, POSIX
    "malloc",
    "calloc",
    "realloc",
    "free",
    "aligned_alloc",
    "free_sized",
    "free_aligned_sized",
    "posix_memalign",
    "reallocarray",
    // glibc and its ancestors
    "memalign",
    "valloc",
    "pvalloc",
    "cfree",
    "malloc_usable_size",
    "malloc_trim",
    "mallinfo",
    "mallinfo2",
    "malloc_info",
    "mallopt",
    "malloc_stats",
    "__libc_malloc",
    "__libc_calloc",
    "__libc_realloc",
    "__libc_free",
    "__libc_memalign",
    "__libc_valloc",
    "__libc_pvalloc",
    "__posix_memalign",
    // C++: new, delete, their arrays; plain, sized, aligned, nothrow
    "_Znwm",
    "_Znam",
    "_ZnwmRKSt9nothrow_t",
    "_ZnamRKSt9nothrow_t",
    "_ZnwmSt11align_val_t",
    "_ZnamSt11align_val_t",
    "_ZnwmSt11align_val_tRKSt9nothrow_t",
    "_ZnamSt11align_val_tRKSt9nothrow_t",
    "_ZdlPv",
    "_ZdaPv",
    "_ZdlPvm",
    "_ZdaPvm",
    "_ZdlPvRKSt9nothrow_t",
    "_ZdaPvRKSt9nothrow_t",
    "_ZdlPvSt11align_val_t",
    "_ZdaPvSt11align_val_t",
    "_ZdlPvmSt11align_val_t",
    "_ZdaPvmSt11align_val_t",
    "_ZdlPvSt11align_val_tRKSt9nothrow_t",
    "_ZdaPvSt11align_val_tRKSt9nothrow_t",
    // jemalloc
    "mallocx",
    "rallocx",
    "xallocx",
    "sallocx",
    "dallocx",
    "sdallocx",
    "nallocx",
    "mallctl",
    "mallctlnametomib",
    "mallctlbymib",
    "malloc_stats_print",
};

int main(int argc, char **argv)
{
    int foreign = 0;
    CHECK(argc == 2, "usage: exports LIBRARY");
    for (size_t i = 0; i < COUNT(family); i++) {
        Dl_info where = {.dli_fname = "nowhere"};
        void *p = victim_symbol(family[i]);
        if (p)
            dladdr(p, &where);
        if (!strstr(where.dli_fname, argv[1])) {
            dprintf(2, "%s is in %s\n", family[i], where.dli_fname);
            foreign++;
        }
    }
    return foreign != 0;
}
