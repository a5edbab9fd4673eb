// advise - which advice is legal where, asked for in one place and counted there.
//
//   advice        anonymous private   file, shared            file, private        by policy
//   FREE          lazy                (EINVAL)                (EINVAL)             never
//   COLD          ok                  ok                      ok                   Moderate, High
//   PAGEOUT       swaps               ok, by the owner        ok, by the owner     Critical
//   REMOVE        (EINVAL)            punches a hole          (EACCES)             never
//   DONTNEED      zeroes              keeps data              loses the changes    never
//
// DONTNEED is nowhere in this module. On a shared mapping it would be harmless. But between the
// check of an address and the call, another thread may unmap it and get anonymous memory there.
// What we do unasked (COLD, PAGEOUT, WILLNEED and the rest) keeps every byte, whatever lies at that
// address by then.
//
// Nor is a file ever opened, to drop it from the page cache or to read it. Closing any descriptor
// of a file drops all of the process's POSIX locks on it.
//
// Missing in the kernel (COLD and PAGEOUT came with 5.4, POPULATE_READ with 5.14), or refused by a
// filesystem, a device, a locked range: counted, and nothing else.
#ifndef TIDEPOOL_MFILE_ADVISE_H
#define TIDEPOOL_MFILE_ADVISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum advice {
    ADVICE_NORMAL,
    ADVICE_PREFETCH, // MADV_WILLNEED
    ADVICE_POPULATE, // MADV_POPULATE_READ
    ADVICE_SEQUENTIAL,
    ADVICE_RANDOM,
    ADVICE_HUGEPAGE,
    ADVICE_NOHUGEPAGE,
    ADVICE_MERGEABLE,
    ADVICE_UNMERGEABLE,
    ADVICE_COLD,
    ADVICE_PAGEOUT,
    ADVICE_FREE,
    ADVICE_REMOVE,
    ADVICE_DONTDUMP,
    ADVICE_DODUMP,
    ADVICES,
};

enum advice_result {
    ADVICE_OK,
    ADVICE_REFUSED,     // by what is mapped there
    ADVICE_UNSUPPORTED, // by this kernel, anywhere
    ADVICE_RESULTS,
};

const char *advice_name(enum advice advice);
const char *advice_result_name(enum advice_result result);
uint64_t advice_count(enum advice advice, enum advice_result result);

// One system call on whole pages: 0 or -errno. Keeps errno. Any thread, any time.
int advise(enum advice advice, uint64_t start, uint64_t length);

// By this kernel, anywhere.
bool advice_is_supported(enum advice advice);

// Counts what was asked for and never came to a call: a prefetch that found the queue full.
void advise_count(enum advice advice, enum advice_result result);

uint64_t advise_page_bytes(void);

// [address, address + length) in whole pages: those inside it, or all that it touches. False where
// none is left, or the range wraps.
bool advise_pages(uint64_t address, uint64_t length, bool inward, uint64_t *start, uint64_t *end);

#endif
