#include "pressure/pressure.h"

#define MIB (UINT64_C(1) << 20)

const struct pressure_options pressure_defaults = {
    .moderate_percent = 60,
    .high_percent = 75,
    .critical_percent = 90,
    .hysteresis_percent = 5,
    .interval_ms = 5000,
    .cooldown_ms = 10000,
    .watch_min_bytes = 32 * MIB,
    .on_limit_min_bytes = 1 * MIB,
    .tick_ms = 1000,
    .looks = true,
    .thread = true,
    .accelerators = true,
    .root = "",
};

// Memory is there to be used: caches stay until it is nearly gone, and are seldom looked at.
static const struct pressure_options throughput = {
    .moderate_percent = 75,
    .high_percent = 85,
    .critical_percent = 95,
    .hysteresis_percent = 3,
    .interval_ms = 10000,
    .cooldown_ms = 30000,
    .watch_min_bytes = 128 * MIB,
    .on_limit_min_bytes = 1 * MIB,
    .tick_ms = 1000,
    .looks = true,
    .thread = true,
    .accelerators = true,
    .root = "",
};

// Memory is short, or shared with others who need it: give back early and often.
static const struct pressure_options tight = {
    .moderate_percent = 50,
    .high_percent = 65,
    .critical_percent = 80,
    .hysteresis_percent = 5,
    .interval_ms = 1000,
    .cooldown_ms = 3000,
    .watch_min_bytes = 8 * MIB,
    .on_limit_min_bytes = 1 * MIB,
    .tick_ms = 1000,
    .looks = true,
    .thread = true,
    .accelerators = true,
    .root = "",
};

const struct pressure_options *pressure_preset(enum pressure_preset preset)
{
    switch (preset) {
    case PRESSURE_PRESET_THROUGHPUT:
        return &throughput;
    case PRESSURE_PRESET_TIGHT:
        return &tight;
    default:
        return &pressure_defaults;
    }
}

const char *pressure_options_error(const struct pressure_options *o)
{
    if (o->moderate_percent < 1 || o->moderate_percent > 100)
        return "moderate must be 1 to 100 percent";
    if (o->high_percent <= o->moderate_percent || o->high_percent > 100)
        return "high must lie above moderate, at most 100 percent";
    if (o->critical_percent <= o->high_percent || o->critical_percent > 100)
        return "critical must lie above high, at most 100 percent";
    if (o->hysteresis_percent >= o->moderate_percent)
        return "hysteresis must lie below moderate";
    if (o->interval_ms < 10)
        return "interval must be at least 10 ms";
    return NULL;
}

const char *pressure_level_name(enum pressure_level level)
{
    static const char *const names[PRESSURE_LEVELS] = {"normal", "moderate", "high", "critical"};
    return (unsigned)level < PRESSURE_LEVELS ? names[level] : "unknown";
}

const char *pressure_limit_name(enum pressure_limit_kind kind)
{
    static const char *const names[PRESSURE_LIMIT_KINDS] = {
        "none", "option", "cgroup v1", "memory.max", "memory.high", "RAM", "rlimit"};
    return (unsigned)kind < PRESSURE_LIMIT_KINDS ? names[kind] : "unknown";
}
