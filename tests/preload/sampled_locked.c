// What is freed while it may not be written to is freed nonetheless, sampled or not.

#include "tests/preload/victim.h"

#include <sys/mman.h>

int main(void)
{
    for (int i = 0; i < 300; i++) {
        size_t size = (size_t)4096 << (i % 8);
        void *p = NULL;
        CHECK(posix_memalign(&p, 4096, size) == 0, "%zu bytes", size);
        memset(p, 1, size);
        CHECK(mprotect(p, 4096, PROT_READ) == 0, "mprotect");
        free(p);
        CHECK(mprotect(p, 4096, PROT_READ | PROT_WRITE) == 0, "mprotect back");
    }
    return 0;
}
