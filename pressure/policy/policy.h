// policy - how short memory is, and what to do about it: a pure step, with no clock, no file and
// no lock in it.
//
//   usage/cgroup, usage/proc   text -> struct pressure_sample     (joined by usage/sample.h)
//   pressure_step()            state + sample + now -> level and action     (this header)
//   direct_reclaim             the step, taken by a thread that is about to grow
//   watchdog_thread            the step, taken by our own thread when the program does not grow
//
// An evaluation gives two numbers: `keep_bytes`, what free memory may stay with us, and `reclaim`,
// whether to go down to that at once. The pools use the first as their ceiling between evaluations.
// Each rule, and what it bought when it came or was last switched off alone. Sizes are multiples of
// what is live at the peak; "at 1.25" is under a limit of that much. The tests are in
// tests/unit/test_pressure*.c.
//
// clang-format off
//  rule      condition                        action                           bought                             test
//  ceiling   High                             keep half of what is not live,   32 threads at 1.25: 185,000 ->     what_may_be_kept
//                                             down to where High ends, and     131,000 faults
//                                             1/64 of the limit at least
//            Critical                         as High, to where Critical        a program lives on what it freed   critical_lets_be_what_may_be_kept
//                                             begins; many threads: 1/4        many threads at 1.25: 1.42 -> 1.18 s
//  quarter   emergency: under 1/128 left      keep 1/4, or nothing             random sizes at 1.25: 0.89 ->      an_emergency_leaves_a_quarter_where_there_is_one
//                                                                              0.56 s
//  share     others have memory there         1/256 in place of 1/64           4 and 8 forked workers, droppers:  neighbours_keep_less
//                                                                              1.07, 1.10, 1.07 -> 1.06, 1.09,
//                                                                              1.06
//  CLOCK     High after the cooldown,         reclaim; later where futile      32 threads at 1.14, 1.25: nothing  the_first_comes_at_once_and_then_high_cools_down,
//            Critical after 1 s, or                                                                               futile_reclaims_at_high_back_off_until_usage_moves,
//            for the first time                                                                                   critical_reclaims_by_a_slow_clock
//  ROOM      Critical, under 1/32 left, or    reclaim if more is held than     32 threads at 1.25: 174,000 ->     critical_lives_on_what_it_freed_until_a_32nd_is_left
//            512 KiB for each of many         may be kept                      131,000 faults; at 1.14 1 -> 4 of 4
//  untouched of what reclaims gave back the   they count as futile: ROOM and   mariadb (sysbench, 16 threads)     what_was_never_touched_goes_back_in_vain
//            kernel got less than a quarter   CLOCK come later                 at 1.05: 12 -> 4 faults each
//  END       emergency, 256 KiB held          reclaim, futile or not           32 bytes to 4 MiB at 1.09: 6 ->     an_emergency_takes_what_is_held_whatever_the_back_off
//                                                                              17 of 33 live
//  yield     emergency; others hold 1/8 of    a growing thread waits for them  four that peak in turn at 1.05 to  tests/survival/late.c
//            the limit                        20 ms; in vain, not once more    1.12: 9 of 320 killed -> 1 of 470
//                                             for a second
//  OTHERS    High; held memory rose by 1/4    reclaim                          four processes that peak in        what_was_let_go_of_goes_back
//            of the limit, none is taken                                       turn: 1.40 -> 1.14
//  idle      High; held rose by 1/64, hardly  reclaim, keep nothing            with OTHERS                        an_idle_process_keeps_nothing
//            any processor time is used
//  alone     OTHERS, no process beside it     wait for half a second           random sizes at 1.25: 0.53 ->      who_is_alone_keeps_what_was_let_go_of_for_a_while
//                                                                              0.44 s
//  RUSH      others take the limit's rest     give back what 60 ms will        100 MiB freed, then mapped: lives  a_rush_past_us_takes_what_it_will_miss
//            within 60 ms; 1 MiB is missing   miss, at any level               at 140 MiB, not 165
//  promised  handed out, not touched          counts as used, up to half of    32 threads do not pass the limit   what_was_handed_out_counts_as_used_before_it_is_touched
//                                             the headroom                     together
//  tight     not live: under 1/16, now or     a block's unused pages go back   32 threads at 1.14: 8 -> 28 of     it_is_tight_once_live_data_leaves_a_16th
//            within the last cooldown                                          34 live
//  shared    a child holds more than it took  reclaims keep none of that       4 that freed 100 MiB, at 1.09:     a_child_keeps_nothing_that_its_parent_may_hold
//            itself                                                            3 of 8 live -> 8 of 8
//            and 1/32 more, at Moderate       reclaim                          with the one above                 a_child_gives_back_at_moderate_what_it_freed
// clang-format on
//
// What is about to be taken (pending) counts as used here. So does what was handed out and not
// touched yet (promised), up to half of the headroom. The level is that of usage alone. What may be
// kept, and when room is short, follow from the headroom after both.
#ifndef TIDEPOOL_PRESSURE_POLICY_POLICY_H
#define TIDEPOOL_PRESSURE_POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRESSURE_UNLIMITED UINT64_MAX

enum pressure_level {
    PRESSURE_NORMAL,
    PRESSURE_MODERATE,
    PRESSURE_HIGH,
    PRESSURE_CRITICAL,
    PRESSURE_LEVELS,
};

// Which usage counts against the limit: this process's, its cgroup's, or whichever is closer.
enum pressure_usage { PRESSURE_USAGE_MAX, PRESSURE_USAGE_RSS, PRESSURE_USAGE_CGROUP };

enum pressure_on_limit { PRESSURE_ON_LIMIT_GROW, PRESSURE_ON_LIMIT_ENOMEM };

enum pressure_cause {
    PRESSURE_CAUSE_WATCHDOG,
    PRESSURE_CAUSE_ASSIST,
    PRESSURE_CAUSE_API,
    PRESSURE_CAUSES,
};

// Every number that can be set. Take a copy of pressure_defaults and change what the user named.
struct pressure_options {
    uint64_t limit_bytes;            // LIMIT: 0 = find it; else it counts beside the kernel's
    enum pressure_usage source;      // SOURCE
    unsigned moderate_percent;       // MODERATE
    unsigned high_percent;           // HIGH: rising, 1..100
    unsigned critical_percent;       // CRITICAL
    unsigned hysteresis_percent;     // HYSTERESIS: points below a watermark before its level ends
    uint64_t headroom_bytes;         // HEADROOM: Critical when less is left, High 2x, Moderate 3x
    unsigned interval_ms;            // INTERVAL: between evaluations when nothing calls for one
    unsigned cooldown_ms;            // COOLDOWN: between reclaims at High, but see above
    uint64_t evaluate_min_bytes;     // WATCH_MIN: no thread below this much growth
    enum pressure_on_limit on_limit; // ON_LIMIT
    uint64_t on_limit_min_bytes;     // requests below this are never refused
    unsigned tick_ms;                // between two calls of the tick hook
    bool evaluates;    // false: nothing is watched; a thread, if asked for, ticks only
    bool thread;       // false: no thread of our own, evaluations are taken by growth only
    bool accelerators; // false: no descriptor is kept, nothing but evaluations tells of pressure
    const char *root;  // where /proc is found: "" but in tests
    const char *watch_path;  // $MEMORY_PRESSURE_WATCH, or NULL; must stay valid
    const char *watch_write; // $MEMORY_PRESSURE_WRITE, base64, or NULL; must stay valid
};

extern const struct pressure_options pressure_defaults;

// Where the limit of a sample comes from.
enum pressure_limit_kind {
    PRESSURE_LIMIT_NONE,
    PRESSURE_LIMIT_OPTION,
    PRESSURE_LIMIT_CGROUP_V1,
    PRESSURE_LIMIT_CGROUP_MAX,
    PRESSURE_LIMIT_CGROUP_HIGH,
    PRESSURE_LIMIT_RAM,
    PRESSURE_LIMIT_RLIMIT,
    PRESSURE_LIMIT_KINDS,
};

// A sample of memory. The limit is the one closest to being hit, by its share, and the usage is
// what counts against it: they make the level. What can be spared goes by the bytes of headroom.
struct pressure_sample {
    uint64_t limit_bytes;    // PRESSURE_UNLIMITED if there is none
    uint64_t used_bytes;     // working set (or RSS) at that limit
    uint64_t raw_bytes;      // the kernel's own counter there, page cache and all
    uint64_t headroom_bytes; // the least that any limit leaves, floor 0
    // The limit that leaves it: a small container's, while the machine around it is fuller. 0: the
    // one above.
    uint64_t near_limit_bytes;
    uint64_t rss_bytes; // of this process, file pages and all
    enum pressure_limit_kind kind;
    // The closest limit of each kind, 0 where there is none: usage that falls may leave one for
    // another, and the level that ends was the first one's.
    struct {
        uint64_t limit_bytes, used_bytes;
    } of[PRESSURE_LIMIT_KINDS];
    // What the caller knows beside the kernel's numbers.
    uint64_t pending_bytes;  // about to be taken by the thread that evaluates
    uint64_t cpu_us;         // processor time of this process, ever; 0 where unknown
    uint64_t not_ours_bytes; // used, and not this process's anonymous memory; where the sample
                             // includes it
    bool alone;              // others have hardly any anonymous memory there
    uint64_t threads;        // of the process, which may all grow at once
    uint64_t held_bytes;     // free memory that a reclaim could give back, roughly
    uint64_t grown_bytes;    // counters that only rise: taken from the page level,
    uint64_t shrunk_bytes;   // and given back to it,
    uint64_t returned_bytes; // and from there to the kernel
    uint64_t kept_bytes;     // see promise.h
    uint64_t shared_bytes;   // of what a child holds, more than it took: its parent may hold it
    uint64_t faulted_bytes;  // pages that this process faulted in, ever; after a reclaim only
};

static inline uint64_t pressure_near_limit(const struct pressure_sample *s)
{
    return s->near_limit_bytes ? s->near_limit_bytes : s->limit_bytes;
}

// Zero-filled is a valid start. Callers keep it under a lock of theirs.
struct pressure_state {
    enum pressure_level level;
    uint64_t level_since_ms, level_ms[PRESSURE_LEVELS], transitions[PRESSURE_LEVELS];
    bool started;
    uint64_t grown_ms; // the last evaluation that saw memory being taken
    uint64_t evaluated_ms, evaluated_used, evaluated_grown, evaluated_shrunk, evaluated_returned,
        evaluated_cpu_us;       // the last evaluation
    bool idle;                  // hardly ran between the last two evaluations
    unsigned calm;              // evaluations in a row in which growth did not show in usage
    unsigned quiet_evaluations; // evaluations in a row in which usage did not move
    uint64_t rate;              // bytes/s that usage rose lately, decaying
    uint64_t past_rate;         // of that, what did not come from us
    uint64_t rate_ms, rate_used, rate_grown, rate_unseen; // when both were last measured
    uint64_t promised;    // handed out and not seen in usage yet: it may be touched at any time
    uint64_t unseen;      // like promised, were nothing ever freed
    uint64_t promised_ms; // when half of both was last forgotten
    // The last reclaim, and what has to happen before another one is worth it.
    bool reclaimed_once;
    uint64_t reclaim_ms, reclaim_took_us, reclaim_used, reclaim_headroom;
    uint64_t reclaim_grown, reclaim_held, reclaim_keep;
    unsigned futile;                       // reclaims in a row that gave back next to nothing
    uint64_t reclaim_faulted, given, fell; // see is_untouched()
    bool tight;
    uint64_t tight_ms; // when it was so last
};

// Why a reclaim is due: see the head of this file.
enum pressure_reason {
    PRESSURE_REASON_NONE,
    PRESSURE_REASON_RUSH,   // usage rises past us towards the limit
    PRESSURE_REASON_OTHERS, // others need what this process let go of
    PRESSURE_REASON_CLOCK,  // by the clock; the first at once
    PRESSURE_REASON_END,    // an emergency
    PRESSURE_REASON_ROOM,   // at Critical, less than 1/32 of the limit is left
    PRESSURE_REASON_ASKED,  // pressure_reclaim(): malloc_trim() and such
    PRESSURE_REASONS,
};

struct pressure_action {
    enum pressure_level from, level;
    bool reclaim; // now, down to keep_bytes, then tell pressure_reclaimed()
    enum pressure_reason why;
    bool urgent;         // Critical, or will be with what is pending and promised
    bool emergency;      // the next few allocations may be the last
    bool tight;          // see the head of this file
    uint64_t left_bytes; // of the headroom, once what is pending and promised has been taken
    uint64_t keep_bytes; // ceiling of free memory we may hold; PRESSURE_UNLIMITED: none
    unsigned next_evaluation_ms;   // for the thread
    uint64_t evaluate_after_bytes; // of growth, for assist
};

// One evaluation. Never touches anything but *state.
struct pressure_action pressure_step(const struct pressure_options *options,
                                     struct pressure_state *state,
                                     const struct pressure_sample *sample, uint64_t now_ms);

// What a reclaim came to, and how things are after it.
void pressure_reclaimed(struct pressure_state *state, const struct pressure_sample *after,
                        uint64_t freed_bytes, uint64_t took_us, uint64_t now_ms);

// Bytes used from which a level begins.
uint64_t pressure_watermark(const struct pressure_options *options, enum pressure_level level,
                            uint64_t limit_bytes);
const char *pressure_level_name(enum pressure_level level);
const char *pressure_reason_text(enum pressure_reason reason);
const char *pressure_limit_name(enum pressure_limit_kind kind);

#endif
