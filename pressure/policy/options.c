#include "pressure/policy/policy.h"

#define MIB (UINT64_C(1) << 20)

const struct pressure_options pressure_defaults = {
    .moderate_percent = 60,
    .high_percent = 75,
    .critical_percent = 90,
    .hysteresis_percent = 5,
    .interval_ms = 5000,
    .cooldown_ms = 10000,
    .evaluate_min_bytes = 32 * MIB,
    .on_limit_min_bytes = 1 * MIB,
    .tick_ms = 1000,
    .evaluates = true,
    .thread = true,
    .accelerators = true,
    .root = "",
};

const char *pressure_level_name(enum pressure_level level)
{
    static const char *const names[PRESSURE_LEVELS] = {"normal", "moderate", "high", "critical"};
    return (unsigned)level < PRESSURE_LEVELS ? names[level] : "unknown";
}

const char *pressure_limit_name(enum pressure_limit_kind kind)
{
    static const char *const names[PRESSURE_LIMIT_KINDS] = {
        "none", "TIDEPOOL_LIMIT", "cgroup v1", "memory.max", "memory.high", "RAM", "rlimit"};
    return (unsigned)kind < PRESSURE_LIMIT_KINDS ? names[kind] : "unknown";
}

const char *pressure_reason_text(enum pressure_reason reason)
{
    static const char *const texts[PRESSURE_REASONS] = {
        [PRESSURE_REASON_NONE] = "no reason",
        [PRESSURE_REASON_RUSH] = "usage rises fast towards the limit",
        [PRESSURE_REASON_OTHERS] = "others may need what this process does not use",
        [PRESSURE_REASON_CLOCK] = "memory is short",
        [PRESSURE_REASON_END] = "the limit is next",
        [PRESSURE_REASON_ROOM] = "room runs out",
        [PRESSURE_REASON_ASKED] = "asked for by a call",
    };
    return (unsigned)reason < PRESSURE_REASONS ? texts[reason] : texts[PRESSURE_REASON_NONE];
}
