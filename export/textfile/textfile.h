// textfile - this process's file in node_exporter's folder: written, refreshed, removed.
//
// Written beside and renamed, so that a scrape sees the old file or the new one. Every write opens
// and closes what it needs; between two writes there is no descriptor. The lock is its own: it is
// held while a file is written, so that two threads do not, and by fork(), so that no child
// inherits a half-written one. Everything here leaves errno alone, allocates nothing, and may fail
// without the program noticing: one line is logged, and the next interval tries again.
#ifndef TIDEPOOL_EXPORT_TEXTFILE_TEXTFILE_H
#define TIDEPOOL_EXPORT_TEXTFILE_TEXTFILE_H

#include <stdbool.h>
#include <stdint.h>

struct textfile_options {
    const char *dir; // an absolute path; stays valid
    unsigned interval_ms;
    bool keep;                     // leave the file behind at exit
    void (*log)(const char *text); // one line, no newline
};

// Once, after metrics_init(). Touches no file. The process counts as long-lived from one interval
// after this on.
void textfile_init(const struct textfile_options *options, uint64_t now_ms);

// The process is worth a file before its first interval has gone by.
void textfile_worthwhile(void);

// From the watchdog's thread, now and then: writes when it is time to.
void textfile_tick(uint64_t now_ms);

// From the watchdog's thread, on news: writes now, if the process is worth a file.
void textfile_write(uint64_t now_ms);

// At exit, in a process that owns its memory, once the thread has stopped or is not going to.
// Removes the file, or writes the one that is kept, however short the life was.
void textfile_exit(void);

// Around fork(), outside of all other handlers. The child has no file until it is due for one.
void textfile_prefork(void);
void textfile_postfork_parent(void);
void textfile_postfork_child(uint64_t now_ms);

#endif
