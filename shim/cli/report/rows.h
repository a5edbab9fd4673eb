// rows - stacks summed up by what asked for the memory: a line, a function, or a file.
#ifndef TIDEPOOL_SHIM_CLI_REPORT_ROWS_H
#define TIDEPOOL_SHIM_CLI_REPORT_ROWS_H

#include <stdbool.h>

#include "shim/cli/profile/stacks.h"

enum rows_by { BY_SITE, BY_FUNCTION, BY_MODULE, BYS };
extern const char *const rows_by_names[BYS]; // as the option --by and JSON have them

struct row {
    struct frame frame; // what the rows are not told apart by is 0
    struct held own;    // asked for here
    struct held with;   // and by what it called
    size_t stack;       // the one that holds most of `own`
    double stack_bytes;
};

struct rows {
    struct row *rows; // the largest first; when comparing, the largest change
    size_t count;
};

struct rows rows_make(const struct stacks *s, enum rows_by by, bool comparing);
void rows_free(struct rows *r);

#endif
