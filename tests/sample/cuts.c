// cuts - one site that holds 200 MiB in blocks that realloc() cut to two fifths; none is touched.
#include <stdlib.h>

enum { BLOCKS = 8000, BYTES = 200 * 1024 * 1024 / BLOCKS / 5 * 5 };

static void *held[BLOCKS];

__attribute__((noinline)) void site_200_cut(void)
{
    for (int i = 0; i < BLOCKS; i++)
        held[i] = malloc(BYTES * 5 / 2);
    for (int i = 0; i < BLOCKS; i++)
        held[i] = realloc(held[i], BYTES);
}

int main(void)
{
    site_200_cut();
    return 0;
}
