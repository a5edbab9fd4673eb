#include "export/outside.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mfile/lazy.h"
#include "mfile/parse/maps.h"
#include "pool/common/marks.h"
#include "pool/jemalloc_private/jemalloc_private.h"
#include "pool/region/region.h"
#include "pressure/usage/proc.h"

#define CHUNK_BYTES (UINT64_C(1) << MARKS_CHUNK_LG)
// Chunks of which the kernel is asked: those of a resident GiB, and those of 8 GiB of addresses.
#define ASKED_MAX 512
#define LOOKED_AT_MAX 4096
// Where fewer than one chunk in 64 is asked, the ones that are resident may all be missed.
#define STEP_MAX 64

struct count {
    uint64_t step;     // one chunk of this many is asked for
    uint64_t resident; // bytes of the heap's chunks that were asked for
};

static _Atomic pid_t counting;
static _Atomic uint64_t last_bytes;

static bool is_heap(uint64_t at)
{
    return region_holds((const void *)at) || marks_may_be_heap(at); // NOLINT(*-int-to-ptr)
}

static bool may_hold_heap(const struct maps_line *m)
{
    return m->prot != PROT_NONE && m->path[0] != '/';
}

static bool add_length(void *arg, const struct maps_line *m)
{
    uint64_t *bytes = arg;

    *bytes += may_hold_heap(m) ? m->end - m->start : 0;
    return true;
}

// The kernel joins neighbours, so that a mapping may be the heap's in parts.
static bool count_mapping(void *arg, const struct maps_line *m)
{
    struct count *c = arg;
    uint64_t chunk = m->start / CHUNK_BYTES, rest = chunk % c->step;

    if (!may_hold_heap(m))
        return true;
    // The last page of all has a mapping, too: compared by number, or the address would wrap.
    chunk += rest ? c->step - rest : 0;
    for (; chunk <= (m->end - 1) / CHUNK_BYTES; chunk += c->step) {
        uint64_t at = chunk * CHUNK_BYTES, end = at + CHUNK_BYTES;
        at = at > m->start ? at : m->start;
        end = end < m->end ? end : m->end;
        if (is_heap(at))
            c->resident += lazy_resident_bytes(at, end);
    }
    return true;
}

static uint64_t count(void)
{
    struct count c = {0};
    struct proc_rss rss;
    uint64_t addresses = 0;

    if (!je_private_is_on() || proc_read_rss("", &rss) != 0)
        return 0;
    if (maps_read(add_length, &addresses) != 0)
        return 0;
    uint64_t by_addresses = addresses / CHUNK_BYTES / LOOKED_AT_MAX;
    uint64_t by_resident = rss.anon_bytes / CHUNK_BYTES / ASKED_MAX;
    c.step = 1 + (by_addresses > by_resident ? by_addresses : by_resident);
    if (by_addresses >= STEP_MAX || maps_read(count_mapping, &c) != 0)
        return 0;
    uint64_t heap = c.resident * c.step;
    return rss.anon_bytes > heap ? rss.anon_bytes - heap : 0;
}

uint64_t outside_bytes(void)
{
    pid_t self = (pid_t)syscall(SYS_getpid), was = atomic_load(&counting);

    // A parent may have been at it when it forked.
    if (was != self && atomic_compare_exchange_strong(&counting, &was, self)) {
        atomic_store(&last_bytes, count());
        atomic_store(&counting, 0);
    }
    return atomic_load(&last_bytes);
}
