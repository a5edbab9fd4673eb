// stacks - three tables, each of keys made of numbers of the one before.

#include "shim/cli/profile/stacks.h"

#include <stdlib.h>

void held_add(struct held *to, const struct held *h)
{
    for (int side = 0; side < SIDES; side++) {
        to->bytes[side] += h->bytes[side];
        to->blocks[side] += h->blocks[side];
    }
}

void stacks_init(struct stacks *s)
{
    *s = (struct stacks){0};
    intern_string(&s->strings, ""); // number 0: unknown
}

void stacks_free(struct stacks *s)
{
    intern_free(&s->strings);
    intern_free(&s->frames);
    intern_free(&s->keys);
    free(s->held);
    *s = (struct stacks){0};
}

uint32_t stacks_frame(struct stacks *s, const char *function, const char *file, unsigned line,
                      const char *module)
{
    struct frame f = {intern_string(&s->strings, function), intern_string(&s->strings, file),
                      intern_string(&s->strings, module), line};
    return intern_put(&s->frames, &f, sizeof f);
}

static void add(struct held *h, int side, double bytes, double blocks)
{
    h->bytes[side] += bytes;
    h->blocks[side] += blocks;
}

void stacks_add(struct stacks *s, const uint32_t *frames, size_t count, int side, double bytes,
                double blocks)
{
    uint32_t n = intern_put(&s->keys, frames, count * sizeof *frames);
    s->held = room_for(s->held, &s->held_room, (size_t)n + 1, sizeof *s->held);
    add(&s->held[n], side, bytes, blocks);
    add(&s->total, side, bytes, blocks);
}

size_t stacks_count(const struct stacks *s)
{
    return s->keys.count;
}

const uint32_t *stacks_frames(const struct stacks *s, size_t stack, size_t *count)
{
    const uint32_t *frames = intern_get(&s->keys, (uint32_t)stack, count);
    *count /= sizeof *frames;
    return frames;
}

const struct frame *stacks_get(const struct stacks *s, uint32_t frame)
{
    size_t size;
    return intern_get(&s->frames, frame, &size);
}

const char *stacks_text(const struct stacks *s, uint32_t string)
{
    return intern_text(&s->strings, string);
}
