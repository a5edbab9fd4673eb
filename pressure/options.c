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
