// out - text that came from files, written so that no terminal and no parser is misled.
#ifndef TIDEPOOL_SHIM_CLI_COMMON_OUT_H
#define TIDEPOOL_SHIM_CLI_COMMON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

// At most `columns` columns, the last three of them dots where it is cut; returns the columns used.
// Control characters, those that turn the direction of writing, and broken UTF-8 become '?'.
size_t out_plain(FILE *f, const char *text, size_t columns);

// Text into memory, cut where there is no more room.
const char *out_plain_text(char *out, size_t size, const char *text);

// In quotes. Valid JSON whatever the text is, and safe inside a script element of HTML.
void out_json(FILE *f, const char *text);

// 100B 1.5K 20.0M, into the caller's room; with a sign where asked for.
enum { OUT_SIZE_MAX = 16 };
const char *out_size(char room[OUT_SIZE_MAX], double bytes);
const char *out_change(char room[OUT_SIZE_MAX], double bytes);

// May text have colours? An empty NO_COLOR is as good as none.
bool out_may_colour(void);

// A count or a number of bytes that fits.
uint64_t out_whole(double x);

#endif
