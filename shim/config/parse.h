// parse - the grammar of single values: sizes, percents, durations, lists, globs.
//
// A scan_ function reads from *at and moves it past what it took; false leaves *at anywhere. The
// callers see to it that nothing follows. No signs, no blanks, no locale, no errno.
#ifndef TIDEPOOL_SHIM_CONFIG_PARSE_H
#define TIDEPOOL_SHIM_CONFIG_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/config/config.h"

// Decimal digits.
bool scan_number(const char **at, uint64_t *n);

// 64, 64B, 64K, 64KB, 64KiB, M G T likewise: powers of 1024. `unit` says whether one was there.
bool scan_size(const char **at, uint64_t *bytes, bool *unit);

// 250ms, 5s, 2m.
bool scan_duration(const char **at, uint64_t *ms);

// 60%, 62.5%; up to three decimals, in thousandths of a percent.
bool scan_percent(const char **at, uint64_t *milli);

// Whole strings; on success only do they change their results.
bool parse_bucket_list(const char *text, struct config_bucket *bucket, unsigned *count);
bool parse_warmup_list(const char *text, struct config_warmup *warmup, unsigned *count);

// The index of text, in any case, among words in lower case, which are separated by blanks; -1
// where it is none of them.
int parse_word(const char *text, const char *words);

// GLOB[,GLOB...], where * stands for any characters and ? for one; none is empty or has a slash.
bool globs_valid(const char *globs);
bool globs_match(const char *globs, const char *name);

// How many letters to type, drop, change or swap to get from a to b; a large number for long names.
unsigned edit_distance(const char *a, size_t a_length, const char *b, size_t b_length);

#endif
