// buffer MIB STEP_KIB: one buffer that grows by realloc, and every byte of which is what was
// written there. Twice, so that the second begins among what the first left.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t word_at(size_t i)
{
    return i * 0x9e3779b97f4a7c15u;
}

static int grow(size_t bytes, size_t step)
{
    uint64_t *buffer = NULL;
    size_t have = 0;

    while (have < bytes) {
        uint64_t *larger = realloc(buffer, have + step);
        if (!larger)
            return perror("realloc"), 1;
        buffer = larger;
        for (size_t i = have / 8; i < (have + step) / 8; i++)
            buffer[i] = word_at(i);
        have += step;
    }
    for (size_t i = 0; i < have / 8; i++)
        if (buffer[i] != word_at(i)) {
            fprintf(stderr, "word %zu is wrong\n", i);
            return 1;
        }
    free(buffer);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    size_t bytes = (size_t)atol(argv[1]) << 20, step = (size_t)atol(argv[2]) << 10;

    return grow(bytes, step) || grow(bytes, step);
}
