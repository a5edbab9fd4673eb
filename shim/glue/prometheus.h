// prometheus - the export module put to work: settings in, misuse counted, the life of the process.
//
// Files are written by the watchdog's thread. So that thread has to be started in a process too
// small for the watchdog, without giving every `ls` a second thread. It is asked for
//
//   in a large one       once it has grown to TIDEPOOL_WATCH_MIN
//   in a threaded one    at once: another thread more changes nothing for it
//   in any other         once it has lived for a second, or for an interval that is shorter
//
// each time at the next place where a thread can be made: a refill from jemalloc, new pages, or
// 64 KiB of small requests. A program that never comes by there again, because it sleeps or takes
// back just what it freed, has no file but the one that TIDEPOOL_PROM_KEEP leaves at exit.
#ifndef TIDEPOOL_SHIM_GLUE_PROMETHEUS_H
#define TIDEPOOL_SHIM_GLUE_PROMETHEUS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shim/base.h"
#include "shim/config/config.h"

// Once, with the settings, while the library starts, after watchdog_init(). Starts nothing and
// reads nothing yet.
void exporter_init(const struct config *config);

// Before a safe point for starting the thread: a load and a branch once it has been asked for, and
// where nothing is exported.
extern _Atomic bool exporter_waiting;
void exporter_ask_thread(void);

static inline void exporter_poke(void)
{
    if (unlikely(atomic_load_explicit(&exporter_waiting, memory_order_relaxed)))
        exporter_ask_thread();
}

// From the watchdog's thread. Before the first reader of metrics: not done at the start, where a
// child of fork() would pay for it.
void exporter_metrics(void);

void exporter_tick(uint64_t now_ms);
void exporter_level_changed(void);

// At exit, after the watchdog's thread was stopped.
void exporter_exit(void);

// Around fork(): outside of the watchdog's and the pools' own handlers.
void exporter_prefork(void);
void exporter_parent(void);
void exporter_child(void);

#endif
