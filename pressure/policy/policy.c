#include "pressure/policy/policy.h"

#include "shim/base.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)

// Faster than this no process was seen to touch new memory here (4 KiB pages, two cores).
#define FASTEST_BYTES_PER_MS (4 * MIB)

// A new neighbour is seen when it has grown a little.
#define ALONE_MS 500

static uint64_t min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t clamp64(uint64_t x, uint64_t low, uint64_t high)
{
    return min64(max64(x, low), high);
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t percent(uint64_t x, unsigned points)
{
    return x / 100 * points + x % 100 * points / 100;
}

uint64_t pressure_watermark(const struct pressure_options *o, enum pressure_level level,
                            uint64_t limit)
{
    unsigned points;
    uint64_t times;
    switch (level) {
    case PRESSURE_MODERATE:
        points = o->moderate_percent, times = 3;
        break;
    case PRESSURE_HIGH:
        points = o->high_percent, times = 2;
        break;
    case PRESSURE_CRITICAL:
        points = o->critical_percent, times = 1;
        break;
    default:
        return 0;
    }
    // A headroom meant for a big machine must not put a small container at Critical for good.
    uint64_t room = min64(o->headroom_bytes, limit / 4);
    return min64(percent(limit, points), limit - times * room);
}

// The level that usage names by itself, and then what hysteresis makes of it.
static enum pressure_level classify(const struct pressure_options *o, enum pressure_level was,
                                    const struct pressure_sample *s)
{
    if (s->limit_bytes == PRESSURE_UNLIMITED)
        return PRESSURE_NORMAL;
    enum pressure_level level = PRESSURE_CRITICAL;
    while (level > PRESSURE_NORMAL && s->used_bytes < pressure_watermark(o, level, s->limit_bytes))
        level--;
    // A level is left only once usage is clearly below its watermark.
    uint64_t margin = percent(s->limit_bytes, o->hysteresis_percent);
    while (was > level && s->used_bytes < less(pressure_watermark(o, was, s->limit_bytes), margin))
        was--;
    return max64(was, level);
}

// So little is left that one more batch may be the last.
static uint64_t emergency_bytes(uint64_t limit)
{
    return min64(clamp64(limit / 128, MIB, 64 * MIB), limit / 16);
}

// The least free memory that is worth a reclaim. Where other processes share the limit, each of
// them holds as much.
static uint64_t least_bytes(const struct pressure_sample *s)
{
    bool shares = !s->alone && s->not_ours_bytes;

    return pressure_near_limit(s) / (shares ? 256 : 64);
}

// What is not live, be it with us or still with the kernel, is shared between the program, which
// may free and take the same pages again (each one that goes costs a fault to come back), and the
// room that growing threads need until the next evaluation. A few threads need little of it: what
// we keep shall not raise the level by itself, so at High usage goes to where High ends, and where
// a thread is in need of pages right now, to where Critical begins. Half at most, for live data may
// simply be this large, for good, and must not run without a cache. With many threads each may have
// a large block in hand that it has not touched yet. In an emergency the room is three quarters,
// and all where the rest is not worth having.
static uint64_t keep_bytes(const struct pressure_options *o, enum pressure_level level,
                           bool emergency, uint64_t not_live, const struct pressure_sample *s)
{
    uint64_t limit = pressure_near_limit(s), crowd = s->threads * 2 * MIB, least = least_bytes(s);
    if (emergency)
        return not_live / 4 < max64(least, crowd / 4) ? 0 : not_live / 4;
    if (level < PRESSURE_HIGH)
        return PRESSURE_UNLIMITED;
    uint64_t below = level == PRESSURE_HIGH ? less(pressure_watermark(o, PRESSURE_HIGH, limit),
                                                   percent(limit, o->hysteresis_percent))
                                            : pressure_watermark(o, PRESSURE_CRITICAL, limit);
    uint64_t room = min64(limit - below + least, not_live / 2);
    return max64(not_live - max64(room, min64(crowd, not_live / 4 * 3)), least);
}

// What is missing for processes that take memory past us, by the time that it takes to see them and
// to give back: two evaluations, and some 100 MiB. Where blocks are trimmed the holes that they
// leave pass for that, too.
#define RUSH_MS 60
static uint64_t missing_bytes(const struct pressure_state *st, const struct pressure_sample *s)
{
    uint64_t bytes = less(st->past_rate / 1000 * RUSH_MS, s->headroom_bytes);
    return st->tight || bytes < MIB ? 0 : bytes;
}

// Has usage left the place where the last reclaim put it?
static bool moved(const struct pressure_state *st, uint64_t used)
{
    uint64_t by = used > st->reclaim_used ? used - st->reclaim_used : st->reclaim_used - used;
    return by > st->reclaim_headroom / 4 + 256 * KIB;
}

// Not on each entry: usage that swings around a mark would be a reclaim each time. The first comes
// at once.
static bool is_time(const struct pressure_options *o, const struct pressure_state *st,
                    const struct pressure_sample *s, bool urgent, uint64_t since)
{
    unsigned futile = st->futile < 6 ? st->futile : 6;

    if (!urgent && moved(st, s->used_bytes))
        futile = 0;
    return !st->reclaimed_once || since >= (uint64_t)(urgent ? 1000 : o->cooldown_ms) << futile;
}

// So much that a reclaim of it was worth its time. Half of what is left counts too: close to the
// limit that is all there can be.
static bool is_worth(uint64_t bytes, const struct pressure_sample *s)
{
    return bytes >= pressure_near_limit(s) / 100 ||
           (bytes >= MIB && bytes >= s->headroom_bytes / 2);
}

// Do reclaims give back what was never touched? A server whose threads take large buffers and use
// little of them gives back gigabytes of such pages, and the kernel gets nothing.
#define TOUCHED_PART 4
static bool is_untouched(const struct pressure_state *st)
{
    return st->fell < st->given / TOUCHED_PART;
}

// Reclaims that give nothing may take a fifth of the time at first, and less each time. One says
// nothing of what was freed after it where that is more than it had found.
static bool is_affordable(const struct pressure_state *st, const struct pressure_sample *s,
                          uint64_t since)
{
    unsigned futile = st->futile < 6 ? st->futile : 6;
    uint64_t more = max64(st->reclaim_held, pressure_near_limit(s) / 100);

    return !futile || since * 1000 >= (st->reclaim_took_us * 4) << futile ||
           (!is_untouched(st) && less(s->held_bytes, st->reclaim_held) >= more);
}

// Since the last evaluation, or now.
static bool is_growing(const struct pressure_state *st, const struct pressure_sample *s)
{
    return s->grown_bytes != st->evaluated_grown || s->pending_bytes;
}

static enum pressure_reason want_reclaim(const struct pressure_options *o,
                                         const struct pressure_state *st,
                                         const struct pressure_sample *s,
                                         const struct pressure_action *a, bool urgent, uint64_t now)
{
    uint64_t since = now - st->reclaim_ms, limit = pressure_near_limit(s);
    bool affordable = is_affordable(st, s, since);
    if (s->held_bytes >= MIB && missing_bytes(st, s))
        return affordable ? PRESSURE_REASON_RUSH : PRESSURE_REASON_NONE;
    // Taken again, shared pages are growth that no counter shows.
    if (a->level >= PRESSURE_MODERATE && s->shared_bytes >= limit / 32)
        return affordable ? PRESSURE_REASON_OTHERS : PRESSURE_REASON_NONE;
    if (a->level < PRESSURE_HIGH && !urgent)
        return PRESSURE_REASON_NONE;
    uint64_t grown = s->grown_bytes - st->reclaim_grown;

    // What the program let go of since, without taking any, or lets lie: neighbours under this
    // limit cannot reach it, and no thread here is waiting for it.
    uint64_t let_go = less(s->held_bytes, st->reclaim_held);
    bool growing = is_growing(st, s);
    // What the last reclaim left with us on purpose counts as well, once the process is idle.
    uint64_t left_lying = st->reclaim_keep ? s->held_bytes : let_go;
    bool wanted = !s->alone || now - st->grown_ms >= ALONE_MS;
    if (!growing && ((wanted && let_go >= limit / 4) || (st->idle && left_lying >= least_bytes(s))))
        return PRESSURE_REASON_OTHERS;

    enum pressure_reason clock =
        is_time(o, st, s, urgent, since) ? PRESSURE_REASON_CLOCK : PRESSURE_REASON_NONE;
    if (!urgent)
        return clock;
    if (a->emergency && s->held_bytes >= 256 * KIB)
        return PRESSURE_REASON_END;
    if (a->emergency && grown + s->pending_bytes >= 256 * KIB)
        return affordable ? PRESSURE_REASON_END : PRESSURE_REASON_NONE;
    // The program lives on what it freed a moment ago, as long as there is room for that: a reclaim
    // takes it away, and each page of it costs a fault to get back.
    // Many threads need more of it, for each may be about to touch what it was handed.
    uint64_t crowd = min64(s->threads * MIB / 2, (s->headroom_bytes + s->held_bytes) / 4);
    if (a->left_bytes < max64(limit / 32, crowd) && s->held_bytes > a->keep_bytes)
        return affordable ? PRESSURE_REASON_ROOM : PRESSURE_REASON_NONE;
    return clock;
}

// What free memory there is, with us or with the kernel, swings with what the program keeps: a peak
// that came close comes again.
static bool is_tight(const struct pressure_options *o, struct pressure_state *st,
                     const struct pressure_sample *s, uint64_t now)
{
    uint64_t not_live = less(s->headroom_bytes + s->held_bytes, s->pending_bytes);
    if (s->limit_bytes == PRESSURE_UNLIMITED)
        return false;
    if (not_live < pressure_near_limit(s) / 16) {
        st->tight = true;
        st->tight_ms = now;
    } else if (now - st->tight_ms >= o->cooldown_ms) {
        st->tight = false;
    }
    return st->tight;
}

// How far usage could run before the thread's next evaluation decides when that is.
static unsigned next_evaluation(const struct pressure_options *o, const struct pressure_state *st,
                                const struct pressure_sample *s, const struct pressure_action *a)
{
    static const unsigned pace_ms[PRESSURE_LEVELS] = {UINT32_MAX, 1000, 250, 100};
    // Nothing moves: each quiet evaluation doubles the wait.
    unsigned quiet = st->quiet_evaluations < 10 ? st->quiet_evaluations : 10;
    uint64_t wait = min64(o->interval_ms, (uint64_t)pace_ms[a->level] << quiet);
    if (s->limit_bytes == PRESSURE_UNLIMITED)
        return (unsigned)wait;
    if (st->rate)
        wait = min64(wait, s->headroom_bytes / 2 / (st->rate / 1000 + 1));
    // A neighbour may want, all at once, what we hold; or memory that was handed out and not
    // touched yet may be touched, which no allocation tells us of. 0.05 % of a core, then.
    bool held = s->held_bytes >= max64(s->headroom_bytes / 4, 256 * KIB);
    unsigned least = s->held_bytes >= s->headroom_bytes ? 10 : 25;
    // One does already.
    bool runs = held && st->rate && st->rate / 1000 * 25 >= s->headroom_bytes / 16;
    if (held || st->promised >= max64(s->headroom_bytes / 4, 256 * KIB))
        wait = min64(wait, max64(s->headroom_bytes / FASTEST_BYTES_PER_MS / 2, runs ? 5 : least));
    least = runs ? 5 : a->level == PRESSURE_CRITICAL ? 10 : 20;
    return (unsigned)clamp64(wait, least, o->interval_ms);
}

// How much growth may go by before a growing thread evaluates again.
static uint64_t evaluate_after(const struct pressure_state *st, uint64_t left)
{
    // An eighth of what is left; up to half of it while growth turns out to be recycled memory.
    uint64_t bytes = clamp64((left / 8) << (st->calm < 2 ? st->calm : 2), MIB, 64 * MIB);
    // Close to the end a megabyte is a long way.
    if (left >= 256 * KIB)
        return min64(bytes, left / 2);
    // Past the limit, which is soft or one of our own, and with nothing to give: evaluating at each
    // step would leave no time for the program.
    return min64((128 * KIB) << (st->futile < 9 ? st->futile : 9), 64 * MIB);
}

static void note_movement(struct pressure_state *st, const struct pressure_sample *s, uint64_t now)
{
    uint64_t ms = now - st->evaluated_ms;
    uint64_t by = s->used_bytes > st->evaluated_used ? s->used_bytes - st->evaluated_used
                                                     : st->evaluated_used - s->used_bytes;
    uint64_t grown = s->grown_bytes - st->evaluated_grown;
    if (grown || s->pending_bytes)
        st->grown_ms = now;
    // Growth that usage does not show is memory that goes round.
    if (grown >= MIB)
        st->calm = by <= grown / 8 ? st->calm + 1 : 0;
    if (by > s->headroom_bytes / 32 + 64 * KIB)
        st->quiet_evaluations = 0;
    else if (ms >= 10 && st->quiet_evaluations < UINT32_MAX)
        st->quiet_evaluations++;
    uint64_t shrunk = s->shrunk_bytes - st->evaluated_shrunk;
    // Some of it is never touched, or was there before: half of it is forgotten each second.
    if (now - st->promised_ms >= 1000) {
        st->promised /= 2;
        st->unseen /= 2;
        st->promised_ms = now;
    }
    // What was touched shows in usage, unless as much went back to the kernel meanwhile.
    uint64_t returned = s->returned_bytes - st->evaluated_returned;
    uint64_t touched = less(s->used_bytes + returned, st->evaluated_used);
    st->promised = less(st->promised + grown, touched + shrunk);
    // What was freed untouched may be handed out again, and touched then.
    st->unseen = less(st->unseen + grown, touched);
    // An evaluation itself costs up to half a millisecond, which must not pass for work.
    if (ms >= 5)
        st->idle = s->cpu_us && s->cpu_us - st->evaluated_cpu_us < ms * 1000 / 25 + 1000;
}

static void mark_rate(struct pressure_state *st, const struct pressure_sample *s, uint64_t now)
{
    st->rate_ms = now;
    st->rate_used = s->used_bytes;
    st->rate_grown = s->grown_bytes;
    st->rate_unseen = st->unseen;
}

static void note_rate(struct pressure_state *st, const struct pressure_sample *s, uint64_t now)
{
    uint64_t ms = now - st->rate_ms;
    // Evaluations closer together than the clock can tell would make any growth look furious.
    if (ms < 5)
        return;
    uint64_t rise = less(s->used_bytes, st->rate_used);
    uint64_t past = less(rise, st->rate_unseen + s->grown_bytes - st->rate_grown);
    st->rate = max64(rise * 1000 / ms, ms >= 1000 ? 0 : st->rate / 2);
    st->past_rate = max64(past * 1000 / ms, ms >= 1000 ? 0 : st->past_rate / 2);
    mark_rate(st, s, now);
}

static void enter(struct pressure_state *st, enum pressure_level level, uint64_t now)
{
    st->level_ms[st->level] += now - st->level_since_ms;
    st->level_since_ms = now;
    if (level == st->level)
        return;
    st->transitions[level]++;
    st->level = level;
    st->quiet_evaluations = 0;
}

static void remember(struct pressure_state *st, const struct pressure_sample *s, uint64_t now)
{
    st->evaluated_ms = now;
    st->evaluated_cpu_us = s->cpu_us;
    st->evaluated_used = s->used_bytes;
    st->evaluated_grown = s->grown_bytes;
    st->evaluated_shrunk = s->shrunk_bytes;
    st->evaluated_returned = s->returned_bytes;
}

struct pressure_action pressure_step(const struct pressure_options *o, struct pressure_state *st,
                                     const struct pressure_sample *s, uint64_t now)
{
    // The first evaluation has nothing before it to compare with.
    if (!st->started) {
        st->started = true;
        st->level_since_ms = st->promised_ms = now;
        remember(st, s, now);
        mark_rate(st, s, now);
    }
    struct pressure_action a = {.from = st->level, .level = classify(o, st->level, s)};
    bool limited = s->limit_bytes != PRESSURE_UNLIMITED;
    note_movement(st, s, now);
    note_rate(st, s, now);
    // What other threads were handed a moment ago and have not touched yet is as good as used; but
    // no more than half of what is left is believed of it, for much of it may never be.
    uint64_t left =
        less(less(s->headroom_bytes, s->pending_bytes), min64(st->promised, s->headroom_bytes / 2));
    // Here all of the promise is believed: what was handed out may be touched faster than reclaims
    // could follow that each give half.
    uint64_t not_live = less(s->headroom_bytes + s->held_bytes, s->pending_bytes + st->promised);
    bool urgent = a.level == PRESSURE_CRITICAL;
    if (limited) {
        a.left_bytes = left;
        uint64_t limit = pressure_near_limit(s);
        a.emergency = left < emergency_bytes(limit);
        // A request that would cross the line is treated as if it had, before it does.
        urgent |= a.emergency || limit - left >= pressure_watermark(o, PRESSURE_CRITICAL, limit);
    }
    a.urgent = urgent && a.level >= PRESSURE_HIGH;
    a.keep_bytes = keep_bytes(o, urgent ? PRESSURE_CRITICAL : a.level, a.emergency, not_live, s);
    a.why = limited ? want_reclaim(o, st, s, &a, urgent, now) : PRESSURE_REASON_NONE;
    a.reclaim = a.why != PRESSURE_REASON_NONE;
    // No thread is waiting for what an idle process keeps. One whose threads all wait for room
    // looks idle, too.
    if (a.reclaim && st->idle && !is_growing(st, s))
        a.keep_bytes = 0;
    // And a page that a child shares with its parent is no free memory: to write to it takes a new
    // one, as much as if it had gone back.
    if (a.reclaim && s->shared_bytes)
        a.keep_bytes = min64(a.keep_bytes, less(s->held_bytes, s->shared_bytes));
    if (a.reclaim && missing_bytes(st, s))
        a.keep_bytes = min64(a.keep_bytes, less(s->held_bytes, missing_bytes(st, s)));
    if (a.reclaim)
        st->reclaim_keep = a.keep_bytes;
    a.tight = is_tight(o, st, s, now);

    a.next_evaluation_ms = next_evaluation(o, st, s, &a);
    // This ceiling was made for what is still to come, and may not come.
    if (urgent && a.level < PRESSURE_CRITICAL)
        a.next_evaluation_ms = (unsigned)min64(a.next_evaluation_ms, 100);
    a.evaluate_after_bytes = limited ? evaluate_after(st, left) : 64 * MIB;

    enter(st, a.level, now);
    remember(st, s, now);
    return a;
}

// What the kernel gets shows over the last eight reclaims: usage falls by it, and rises by what is
// faulted in. So what other threads take meanwhile does not disturb the sum. Where usage counts
// pages of others, or pages came without faults (huge ones, a parent's), all counts as touched.
static void note_touched(struct pressure_state *st, const struct pressure_sample *after,
                         uint64_t freed)
{
    uint64_t faulted = after->faulted_bytes - st->reclaim_faulted;
    bool known = st->reclaimed_once && after->alone && after->faulted_bytes >= after->used_bytes;
    uint64_t fell = known ? less(st->reclaim_used + faulted, after->used_bytes) : freed;

    st->reclaim_faulted = after->faulted_bytes;
    st->given += freed - st->given / 8;
    st->fell += min64(fell, freed) - st->fell / 8;
}

void pressure_reclaimed(struct pressure_state *st, const struct pressure_sample *after,
                        uint64_t freed, uint64_t took_us, uint64_t now)
{
    note_touched(st, after, freed);
    st->futile = is_worth(freed, after) && !is_untouched(st) ? 0 : st->futile + 1;
    st->reclaimed_once = true;
    st->reclaim_ms = now;
    st->reclaim_took_us = took_us;
    st->reclaim_used = after->used_bytes;
    st->reclaim_headroom = after->headroom_bytes;
    st->reclaim_grown = after->grown_bytes;
    st->reclaim_held = after->held_bytes;
}
