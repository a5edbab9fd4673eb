// text - small kernel files, read without stdio, by the calls of shim/kernel.h. So an evaluation
// may be taken wherever malloc() may be called. Buffers are on the caller's stack and small.
//
// What the kernel writes is input: lines too long are skipped, numbers too large saturate.
#ifndef TIDEPOOL_PRESSURE_KERNEL_TEXT_H
#define TIDEPOOL_PRESSURE_KERNEL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_LINE 2048

struct text_lines {
    int fd;
    bool skipping; // the rest of a line that did not fit
    size_t start, end;
    char buf[TEXT_LINE];
};

// 0 or -errno. Every successful open is paired with a close; O_CLOEXEC always.
int text_open(struct text_lines *lines, const char *path);
char *text_next(struct text_lines *lines); // the next line without its newline, NULL at the end
void text_close(struct text_lines *lines);

// The start of a file, NUL-terminated; its length or -errno.
int text_read(const char *path, char *buf, size_t size);

// How many files could not be opened so far because no descriptor was free.
unsigned text_without_descriptor(void);

// "KEY NUMBER": is this the line of that key?
bool text_value(const char *line, const char *key, uint64_t *out);

// One number, or "max", which is UINT64_MAX; anything else false.
bool text_limit(const char *text, uint64_t *out);

#endif
