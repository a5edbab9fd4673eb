// heap_text - bytes on their way to a file: a buffer of the caller's, and raw write(2).
//
// No allocation, no stdio, no cancellation point. After a failure the rest is not written, and
// `error` says why.
#ifndef TIDEPOOL_EXPORT_HEAP_HEAP_TEXT_H
#define TIDEPOOL_EXPORT_HEAP_HEAP_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct heap_text {
    int fd;
    int error;     // -errno of the first failure
    uint64_t room; // bytes that may still be written: RLIMIT_FSIZE kills at the next one
    size_t used;
    char buffer[4096];
};

void heap_text_begin(struct heap_text *t, int fd);
void heap_text_bytes(struct heap_text *t, const char *bytes, size_t size);
void heap_text_add(struct heap_text *t, const char *text);
void heap_text_number(struct heap_text *t, uint64_t n);
void heap_text_hex(struct heap_text *t, uint64_t n);

// Writes what is left; returns `error`.
int heap_text_end(struct heap_text *t);

#endif
