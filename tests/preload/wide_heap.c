// wide_heap GIB - a heap that has touched next to nothing of its addresses, beside a mapping of
// that many GiB: counting what the process holds does not ask the kernel about each piece of them.
// The program ends in moments; a count that asks about each of 64 TiB takes more than a minute.

#include "tests/preload/victim.h"

#include <sys/mman.h>

int main(int argc, char **argv)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    size_t bytes = argc > 1 ? strtoul(argv[1], NULL, 10) << 30 : 0;
    char *heap = malloc((size_t)64 << 30);
    char *mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);

    CHECK(heap && mapped != MAP_FAILED, "%p %p", (void *)heap, (void *)mapped);
    heap[0] = mapped[0] = 1;
    CHECK(heap[0] == mapped[0], "%d", heap[0]);
    free(heap);
    return 0;
}
