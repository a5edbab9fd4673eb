// A whole heap profile, and behind a NUL what an addr2line and a perf map say: parsed, named by
// what the text itself offers, and put out in every form.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/cli/profile/hide.h"
#include "shim/cli/profile/names.h"
#include "shim/cli/profile/profile.h"
#include "shim/cli/report/report.h"
#include "shim/cli/symbols/lines.h"
#include "shim/cli/symbols/perfmap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(void *arg, size_t index, const struct lines_frame *frames, size_t count)
{
    struct stacks *s = arg;
    for (size_t i = 0; i < count; i++) {
        uint32_t f = stacks_frame(s, frames[i].function ? frames[i].function : "",
                                  frames[i].file ? frames[i].file : "", frames[i].line, "/m");
        stacks_add(s, &f, 1, (int)(index & 1), (double)index, 1);
    }
}

static char *rest_of(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

static void name_stacks(const struct profile *p, const struct perfmap *map, struct stacks *out)
{
    uint32_t frames[PROFILE_DEPTH_MAX];
    for (size_t i = 0; i < p->stack_count; i++) {
        const struct profile_stack *s = &p->stacks[i];
        if (s->depth > PROFILE_DEPTH_MAX || s->first + s->depth > p->pc_count || !(s->bytes >= 0))
            __builtin_trap();
        for (size_t k = 0; k < s->depth; k++) {
            uint64_t pc = p->pcs[s->first + s->depth - 1 - k];
            const struct profile_map *m = profile_find_map(p, pc);
            const char *name = perfmap_find(map, pc);
            hide_frame(name, m ? m->path : "");
            frames[k] = stacks_frame(out, name ? name : "", "", 0, m ? m->path : "");
        }
        stacks_add(out, frames, s->depth, SIDE_NOW, s->bytes, s->blocks);
    }
}

static void write_all(struct report *r, FILE *f)
{
    for (int by = BY_SITE; by <= BY_MODULE; by++) {
        r->by = (enum rows_by)by;
        report_top(r, f);
        report_json(r, f);
    }
    report_folded(r, f);
    report_flame(r, f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *nowhere;
    static const uint64_t asked[] = {0x10, 0x20, 0x30, 0x40};
    static const char *const name[] = {"fuzz"};
    const uint8_t *nul = memchr(data, '\0', size);
    size_t first = nul ? (size_t)(nul - data) : size, rest = first + (nul != NULL);
    struct profile p;
    struct perfmap map;
    if (!nowhere)
        nowhere = fopen("/dev/null", "w");
    if (profile_parse((const char *)data, first, &p) < 0)
        return 0;
    struct report r = {.names = name, .name_count = 1, .interval_bytes = p.rate, .top = 3};
    stacks_init(&r.stacks);
    perfmap_parse(&map, rest_of(data + rest, size - rest));
    name_stacks(&p, &map, &r.stacks);
    char *lines = rest_of(data + rest, size - rest);
    lines_parse(lines, asked, 4, take, &r.stacks);
    char *demangled = name_demangle(lines);
    write_all(&r, nowhere);
    r.old_name = "before";
    write_all(&r, nowhere);
    free(demangled);
    free(lines);
    perfmap_free(&map);
    stacks_free(&r.stacks);
    profile_free(&p);
    return 0;
}
