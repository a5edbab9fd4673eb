// stacks - what one or several profiles say, by name: frames, and stacks of them with what
// they hold.
//
// Two profiles can be added up or compared only when their addresses have become names, because
// each process has its libraries elsewhere. A stack counts twice: `now`, and `before`, which is
// that of the older profile of a comparison.
#ifndef TIDEPOOL_SHIM_CLI_PROFILE_STACKS_H
#define TIDEPOOL_SHIM_CLI_PROFILE_STACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/cli/profile/intern.h"

enum { SIDE_NOW, SIDE_BEFORE, SIDES };

// Numbers of strings; the empty string where something is unknown.
struct frame {
    uint32_t function, file, module, line;
};

struct held {
    double bytes[SIDES], blocks[SIDES];
};

struct stacks {
    struct intern strings, frames, keys;
    struct held *held; // by the number of the key: the stack's
    size_t held_room;
    struct held total;
};

void held_add(struct held *to, const struct held *h);

void stacks_init(struct stacks *s);
void stacks_free(struct stacks *s);

uint32_t stacks_frame(struct stacks *s, const char *function, const char *file, unsigned line,
                      const char *module);

// Frames by number, outermost first.
void stacks_add(struct stacks *s, const uint32_t *frames, size_t count, int side, double bytes,
                double blocks);

size_t stacks_count(const struct stacks *s);
const uint32_t *stacks_frames(const struct stacks *s, size_t stack, size_t *count);
const struct frame *stacks_get(const struct stacks *s, uint32_t frame);
const char *stacks_text(const struct stacks *s, uint32_t string);

#endif
