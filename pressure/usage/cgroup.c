#include "pressure/usage/cgroup.h"

#include <errno.h>

#include "pressure/kernel/text.h"

// v1 has no word for "none": it shows the largest number of pages it can count, in bytes.
#define V1_UNLIMITED (UINT64_C(1) << 62)

// A missing controller seldom appears.
#define FIND_AGAIN_MS 30000

// A namespace allows 32 levels or so by default; more than this is not to be expected.
#define MAX_LEVELS 64

struct stat_values {
    uint64_t inactive_file, anon, hierarchical_limit;
};

void cgroup_init(struct cgroup_source *s, const char *root)
{
    // Big, and all of it is rewritten before it is read, but for this.
    s->at.root = root;
    s->at.memory.len = s->at.unified.len = 0;
    s->found = false;
    s->next_find_ms = 0;
    s->binding_len = 0;
    s->limits_hash = 0;
    s->hidden_binds = false;
}

static int number_at(struct cgroup_dir *d, size_t len, const char *name, uint64_t *out)
{
    char text[32];
    int n = cgroup_read_at(d, len, name, text, sizeof text);
    if (n < 0)
        return n;
    return text_limit(text, out) ? 0 : -EINVAL;
}

// memory.stat grows with every kernel, so it is read by lines.
static void stat_at(struct cgroup_dir *d, size_t len, bool v2, struct stat_values *out)
{
    struct text_lines lines;
    char saved[64];
    unsigned missing = v2 ? 2 : 3;
    *out = (struct stat_values){0, UINT64_MAX, UINT64_MAX};
    int r = text_open(&lines, cgroup_file_at(d, len, "memory.stat", saved));
    cgroup_file_done(d, len, "memory.stat", saved);
    if (r)
        return;
    for (const char *line; missing && (line = text_next(&lines));) {
        missing -=
            text_value(line, v2 ? "inactive_file" : "total_inactive_file", &out->inactive_file);
        missing -= text_value(line, v2 ? "anon" : "total_rss", &out->anon);
        missing -= !v2 && text_value(line, "hierarchical_memory_limit", &out->hierarchical_limit);
    }
    text_close(&lines);
}

static uint64_t without(uint64_t raw, uint64_t inactive)
{
    return raw > inactive ? raw - inactive : 0;
}

// A level with a limit: does it bind closer than what was found so far? Its memory.stat is read
// unless it is known, and only if it matters.
static void offer(struct cgroup_source *s, size_t len, enum pressure_limit_kind kind,
                  uint64_t limit, uint64_t raw, const struct stat_values *known,
                  struct cgroup_reading *r)
{
    r->lowest_bytes = limit < r->lowest_bytes ? limit : r->lowest_bytes;
    double closest = r->found ? (double)r->used_bytes / (double)r->limit_bytes : -1;
    // A limit of 0 is legal, and met.
    limit = limit ? limit : 1;
    // The working set is at most the usage, so this level cannot win.
    if ((double)raw / (double)limit <= closest)
        return;
    struct stat_values stat;
    if (known)
        stat = *known;
    else
        stat_at(&s->at.memory, len, s->at.v2, &stat);
    uint64_t used = without(raw, stat.inactive_file);
    if ((double)used / (double)limit <= closest)
        return;
    r->found = true;
    r->limit_bytes = limit;
    r->raw_bytes = raw;
    r->used_bytes = used;
    r->anon_bytes = stat.anon;
    r->kind = kind;
    s->binding_len = len;
    s->inactive_matters = stat.inactive_file > limit / 128;
}

// FNV-1a, a number at a time.
#define HASH_START UINT64_C(0xcbf29ce484222325)
static uint64_t hash(uint64_t h, uint64_t x)
{
    return (h ^ x) * UINT64_C(0x100000001b3);
}

// The limits of one level, UINT64_MAX where there is none. 0 or -errno.
static int limits_at(struct cgroup_source *s, size_t len, uint64_t *max, uint64_t *high)
{
    struct cgroup_dir *d = &s->at.memory;
    *max = *high = UINT64_MAX;
    if (!s->at.v2)
        return number_at(d, len, "memory.limit_in_bytes", max);
    int e = number_at(d, len, "memory.max", max);
    number_at(d, len, "memory.high", high);
    return e;
}

bool cgroup_unchanged(struct cgroup_source *s)
{
    uint64_t h = HASH_START, max, high;
    size_t len = s->at.memory.len;
    if (s->hidden_binds || cgroup_moved(&s->at))
        return false;
    for (int i = 0; i < MAX_LEVELS; i++) {
        limits_at(s, len, &max, &high);
        h = hash(hash(h, max), high);
        if (len == s->at.memory.mount_len)
            break;
        len = cgroup_parent(&s->at.memory, len);
    }
    return h == s->limits_hash;
}

static int read_v2(struct cgroup_source *s, struct cgroup_reading *r)
{
    struct cgroup_dir *d = &s->at.memory;
    size_t len = d->len;
    s->limits_hash = HASH_START;
    for (int i = 0; i < MAX_LEVELS; i++) {
        uint64_t max, high, raw;
        int e = limits_at(s, len, &max, &high);
        // The root has none; elsewhere the files of a living cgroup do not go away.
        if (e && len > d->mount_len)
            return e;
        s->limits_hash = hash(hash(s->limits_hash, max), high);
        // Above memory.high a process is stalled until it gives back: as good as killed, for a
        // server. So it is a limit.
        uint64_t limit = high < max ? high : max;
        if (limit != UINT64_MAX && number_at(d, len, "memory.current", &raw) == 0)
            offer(s, len, high < max ? PRESSURE_LIMIT_CGROUP_HIGH : PRESSURE_LIMIT_CGROUP_MAX,
                  limit, raw, NULL, r);
        if (len == d->mount_len)
            break;
        len = cgroup_parent(d, len);
    }
    return 0;
}

static int read_v1(struct cgroup_source *s, struct cgroup_reading *r)
{
    struct cgroup_dir *d = &s->at.memory;
    struct stat_values stat;
    uint64_t own_raw = 0, lowest = UINT64_MAX;
    size_t len = d->len;

    int e = number_at(d, len, "memory.usage_in_bytes", &own_raw);
    if (e)
        return e;
    stat_at(d, len, false, &stat);
    s->limits_hash = HASH_START;
    for (int i = 0; i < MAX_LEVELS; i++) {
        uint64_t limit, none, raw;
        e = limits_at(s, len, &limit, &none);
        s->limits_hash = hash(hash(s->limits_hash, limit), none);
        if (e == 0 && limit < V1_UNLIMITED) {
            // Without use_hierarchy (old kernels) a parent's limit does not bind its children,
            // and is then below what the kernel says binds here.
            bool binds = limit >= stat.hierarchical_limit || len == d->len ||
                         stat.hierarchical_limit == UINT64_MAX;
            bool own = len == d->len;
            raw = own_raw;
            if (binds && (own || number_at(d, len, "memory.usage_in_bytes", &raw) == 0)) {
                lowest = limit < lowest ? limit : lowest;
                offer(s, len, PRESSURE_LIMIT_CGROUP_V1, limit, raw, own ? &stat : NULL, r);
            }
        }
        if (len == d->mount_len)
            break;
        len = cgroup_parent(d, len);
    }
    // An ancestor that we cannot see has the lowest limit: our own usage is all there is to hold
    // against it.
    s->hidden_binds = stat.hierarchical_limit < V1_UNLIMITED && stat.hierarchical_limit < lowest;
    if (s->hidden_binds)
        offer(s, d->len, PRESSURE_LIMIT_CGROUP_V1, stat.hierarchical_limit, own_raw, &stat, r);
    return 0;
}

static int read_levels(struct cgroup_source *s, bool want_own, struct cgroup_reading *r)
{
    *r = (struct cgroup_reading){.limit_bytes = UINT64_MAX, .lowest_bytes = UINT64_MAX};
    s->binding_len = 0;
    int e = s->at.v2 ? read_v2(s, r) : read_v1(s, r);
    if (e || !want_own)
        return e;
    struct stat_values stat;
    struct cgroup_dir *d = &s->at.memory;
    const char *usage = s->at.v2 ? "memory.current" : "memory.usage_in_bytes";
    if (number_at(d, d->len, usage, &r->own_raw_bytes) == 0) {
        stat_at(d, d->len, s->at.v2, &stat);
        r->own_used_bytes =
            r->own_raw_bytes > stat.inactive_file ? r->own_raw_bytes - stat.inactive_file : 0;
    }
    return 0;
}

static void find(struct cgroup_source *s, uint64_t now)
{
    s->found = cgroup_find(&s->at) == 0;
    s->next_find_ms = now + FIND_AGAIN_MS;
}

int cgroup_read(struct cgroup_source *s, bool want_own, uint64_t now, struct cgroup_reading *out)
{
    bool fresh = false;
    if (cgroup_moved(&s->at) || (!s->found && now >= s->next_find_ms)) {
        find(s, now);
        fresh = true;
    }
    if (!s->found)
        return -ENOENT;
    struct cgroup_reading r;
    int e = read_levels(s, want_own, &r);
    // The cgroup was removed, or unmounted, from under us: find it again, once, at once.
    if (e && !fresh) {
        find(s, now);
        e = s->found ? read_levels(s, want_own, &r) : -ENOENT;
    }
    if (e)
        return e;
    *out = r;
    return 0;
}

int cgroup_read_again(struct cgroup_source *s, uint64_t *raw, uint64_t *used)
{
    struct cgroup_dir *d = &s->at.memory;
    struct stat_values stat = {0, 0, 0};
    if (!s->found || !s->binding_len)
        return -ENOENT;
    int e =
        number_at(d, s->binding_len, s->at.v2 ? "memory.current" : "memory.usage_in_bytes", raw);
    if (e)
        return e;
    // Little page cache then is little now, for it does not come by growing. Taking none for
    // granted errs on the safe side.
    if (s->inactive_matters)
        stat_at(d, s->binding_len, s->at.v2, &stat);
    *used = without(*raw, stat.inactive_file);
    return 0;
}
