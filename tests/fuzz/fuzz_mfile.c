// TIDEPOOL_MFILE and lines of /proc/self/maps, whatever they are: no byte outside is read, and what
// is taken is something that the rest can take unseen. The input is a policy, a newline, and a path
// or a line of maps.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mfile/parse/maps.h"
#include "mfile/parse/policy.h"
#include "shim/base.h"

// Exactly as long as it is, so that the sanitizer sees a byte too many.
static char *text_of(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *newline = memchr(data, '\n', size);
    size_t first = newline ? (size_t)(newline - data) : size;
    char *policy_text = text_of(data, first);
    char *line = newline ? text_of(newline + 1, size - first - 1) : text_of(data, size);
    struct policy p;
    struct maps_line l;

    if (policy_parse(policy_text, &p)) {
        MUST(p.count >= 1 && p.count <= POLICY_RULES_MAX);
        for (unsigned i = 0; i < p.count; i++) {
            MUST(p.rule[i].length && p.rule[i].hints && !(p.rule[i].hints >> HINTS));
            MUST(p.rule[i].glob + p.rule[i].length < policy_text + strlen(policy_text));
        }
        int rule = policy_find(&p, line);
        MUST(rule >= -1 && rule < (int)p.count);
    }
    if (maps_parse(line, &l)) {
        MUST(l.start < l.end);
        MUST(l.path >= line && l.path <= line + strlen(line));
        maps_is_file(&l);
    }
    free(policy_text);
    free(line);
    return 0;
}
