// buffer MIB STEP_KIB|half: one buffer that grows by realloc, by a step or by half of what it has,
// and every byte of which is what was written there. Twice, so that the second begins among what
// the first left.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST ((size_t)64 << 10)

static uint64_t word_at(size_t i)
{
    return i * 0x9e3779b97f4a7c15u;
}

// A step of 0: half of what it has.
static int grow(size_t bytes, size_t step)
{
    uint64_t *buffer = NULL;
    size_t have = 0;

    while (have < bytes) {
        size_t next = step ? have + step : have < FIRST ? FIRST : have + have / 2;
        if (next > bytes)
            next = bytes;
        uint64_t *larger = realloc(buffer, next);
        if (!larger)
            return perror("realloc"), 1;
        buffer = larger;
        for (size_t i = have / 8; i < next / 8; i++)
            buffer[i] = word_at(i);
        have = next;
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
    size_t bytes = (size_t)atol(argv[1]) << 20;
    size_t step = strcmp(argv[2], "half") == 0 ? 0 : (size_t)atol(argv[2]) << 10;

    return grow(bytes, step) || grow(bytes, step);
}
