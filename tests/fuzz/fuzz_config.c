// The loader with any environment: the input's lines become its entries, most with the prefix in
// front so that time is not spent on finding it. Whatever comes in, the struct that comes out must
// be one that the modules can take unseen, and every line one that a terminal can show.

#include <stdint.h>
#include <string.h>

#include "shim/base.h"
#include "shim/config/config.h"

enum { ENTRIES_MAX = 64, TEXT_MAX = 8192 };

static void check_line(void *arg, const char *text)
{
    (void)arg;
    size_t length = strlen(text);
    MUST(length > 0 && length < 500);
    for (size_t i = 0; i < length; i++)
        MUST(text[i] >= ' ' && text[i] <= '~');
}

static void check(const struct config *c)
{
    MUST(c->bucket_count >= 1 && c->bucket_count <= CONFIG_BUCKETS_MAX);
    for (unsigned i = 0; i < c->bucket_count; i++) {
        MUST(c->bucket[i].bound_bytes >= 1 << 10 && c->bucket[i].bound_bytes <= 1 << 20);
        MUST(!i || c->bucket[i].bound_bytes > c->bucket[i - 1].bound_bytes);
        // A count of blocks must not overflow when it becomes bytes.
        MUST(c->bucket[i].limit <= UINT64_MAX / c->bucket[i].bound_bytes);
    }
    MUST(c->warmup_count <= CONFIG_WARMUP_MAX);
    for (unsigned i = 0; i < c->warmup_count; i++)
        MUST(c->warmup[i].count && c->warmup[i].size_bytes >= 1 << 10 &&
             c->warmup[i].size_bytes <= 1 << 20);
    MUST(c->hysteresis_ratio >= 0 && c->hysteresis_ratio < c->moderate_ratio);
    MUST(c->moderate_ratio < c->high_ratio && c->high_ratio < c->critical_ratio);
    MUST(c->critical_ratio <= 1);
    MUST(c->on_misuse <= CONFIG_CHECK_OFF && c->thp <= CONFIG_THP_NEVER);
    MUST(c->source <= CONFIG_SOURCE_CGROUP && c->verbose <= 3);
    MUST(c->interval_ms >= 10 && c->interval_ms <= 3600000 && c->cooldown_ms <= 3600000);
    MUST(!c->pool_max_bytes || c->pool_max_bytes >= 64 << 10);
    MUST(!c->limit_bytes || c->limit_bytes >= 1 << 20);
    MUST(!c->prom_dir || c->prom_dir[0] == '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[TEXT_MAX + ENTRIES_MAX * 16];
    char *env[ENTRIES_MAX + 1];
    unsigned entries = 0;
    char *at = text;
    if (size > TEXT_MAX)
        size = TEXT_MAX;
    while (size && entries < ENTRIES_MAX) {
        env[entries++] = at;
        bool bare = *data == '!';
        if (!bare)
            at = stpcpy(at, "TIDEPOOL_");
        for (; size && *data != '\n' && *data; data++, size--)
            *at++ = (char)*data;
        *at++ = '\0';
        if (size)
            data++, size--;
    }
    env[entries] = NULL;

    const struct config_sink sink = {.line = check_line};
    const char *exe = entries ? env[0] : NULL;
    struct config c, quiet;
    memset(&c, 0xa5, sizeof c);
    memset(&quiet, 0x5a, sizeof quiet);
    bool leave = config_load(&c, env, exe, &sink);
    check(&c);
    MUST(!leave || c.strict);
    // Nothing of what was in the struct before, or of an earlier run, may shine through.
    MUST(config_load(&quiet, env, exe, NULL) == leave);
    MUST(memcmp(&c, &quiet, sizeof c) == 0);
    return 0;
}
