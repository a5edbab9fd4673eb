#include "pressure/stats_snapshot.h"

#include <stdatomic.h>
#include <string.h>

#include "shim/base.h"
#include "shim/clock.h"

const uint32_t pressure_histogram_us[PRESSURE_HISTOGRAM] = {
    50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 100000, 1000000, UINT32_MAX};

union snapshot {
    struct {
        struct pressure_stats stats;
        uint64_t level_since_ms;
    } is;
    uint64_t word[(sizeof(struct pressure_stats) + sizeof(uint64_t) + 7) / 8];
};
#define WORDS array_len(((union snapshot *)0)->word)

static union snapshot next; // under the evaluation's lock
static _Atomic uint64_t word[WORDS], version;
static _Atomic uint64_t refused, late;
static _Atomic bool alive;
static _Atomic unsigned accelerators;

struct pressure_stats *snapshot_stats(void)
{
    return &next.is.stats;
}

// The version is odd while words change.
void snapshot_publish(void)
{
    uint64_t v = atomic_load(&version);
    atomic_store(&version, v + 1);
    for (size_t i = 0; i < WORDS; i++)
        atomic_store(&word[i], next.word[i]);
    atomic_store(&version, v + 2);
}

void pressure_stats(struct pressure_stats *out)
{
    union snapshot b;
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) {
        v = atomic_load(&version);
        for (size_t k = 0; k < WORDS; k++)
            b.word[k] = atomic_load(&word[k]);
        if (!(v & 1) && v == atomic_load(&version))
            break;
    }
    *out = b.is.stats;
    // The level has lasted since the last evaluation, too; before the first there was none.
    if (b.is.level_since_ms)
        out->level_ms[out->level] += clock_now_ms() - b.is.level_since_ms;
    out->late_evaluations = atomic_load(&late);
    out->refused = atomic_load(&refused);
    out->thread = atomic_load(&alive);
    out->accelerators = atomic_load(&accelerators);
}

void snapshot_post(const struct pressure_state *state, const struct pressure_sample *sample)
{
    struct pressure_stats *s = &next.is.stats;
    s->sample = *sample;
    s->level = state->level;
    memcpy(s->level_ms, state->level_ms, sizeof s->level_ms);
    memcpy(s->transitions, state->transitions, sizeof s->transitions);
    next.is.level_since_ms = state->level_since_ms;
    snapshot_publish();
}

void snapshot_count_reclaim(enum pressure_cause cause, uint64_t freed, uint64_t us,
                            uint64_t unix_ms)
{
    struct pressure_stats *s = &next.is.stats;
    unsigned i = 0;
    while (i < PRESSURE_HISTOGRAM - 1 && us > pressure_histogram_us[i])
        i++;
    s->reclaim_histogram[i]++;
    s->reclaims[cause]++;
    s->freed_bytes[cause] += freed;
    s->reclaim_us += us;
    s->reclaim_unix_ms = unix_ms;
}

void snapshot_clear(void)
{
    memset(&next, 0, sizeof next);
    atomic_store(&refused, 0);
    atomic_store(&late, 0);
    snapshot_thread(false, 0);
    atomic_store(&version, 0);
    snapshot_publish();
}

void snapshot_late(void)
{
    atomic_fetch_add(&late, 1);
}

void snapshot_refused(void)
{
    atomic_fetch_add(&refused, 1);
}

void snapshot_thread(bool is_alive, unsigned n)
{
    atomic_store(&alive, is_alive);
    atomic_store(&accelerators, n);
}
