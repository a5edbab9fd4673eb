#include "export/heap/heap_profile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "export/heap/heap_folder.h"
#include "export/heap/heap_text.h"
#include "export/heap/modules.h"
#include "export/heap/sites.h"

#define PATH_MAX_BYTES 4096

// Not on the stack: it may be the program's, and any small one.
static struct heap_text text;
static char final_path[PATH_MAX_BYTES];

static void write_counts(struct heap_text *t, const struct site *s)
{
    heap_text_add(t, "  t*: ");
    heap_text_number(t, s->live_blocks);
    heap_text_add(t, ": ");
    heap_text_number(t, s->live_bytes);
    heap_text_add(t, " [");
    heap_text_number(t, s->ever_blocks);
    heap_text_add(t, ": ");
    heap_text_number(t, s->ever_bytes);
    heap_text_add(t, "]\n");
}

static void write_total(struct heap_text *t)
{
    struct site sum = {0};

    for (uint32_t n = 0; (n = sites_next(n));) {
        struct site s = sites_at(n);
        sum.live_blocks += s.live_blocks;
        sum.live_bytes += s.live_bytes;
        sum.ever_blocks += s.ever_blocks;
        sum.ever_bytes += s.ever_bytes;
    }
    write_counts(t, &sum);
}

static void write_fact(struct heap_text *t, const char *name, uint64_t n)
{
    heap_text_add(t, "# ");
    heap_text_add(t, name);
    heap_text_add(t, " ");
    heap_text_number(t, n);
    heap_text_add(t, "\n");
}

static void write_stack(struct heap_text *t, const struct site *s)
{
    heap_text_add(t, "@");
    for (unsigned i = 0; i < s->depth; i++) {
        heap_text_add(t, " ");
        heap_text_hex(t, s->frame[i]);
    }
    // A stack without a frame would read as no stack at all.
    if (!s->depth)
        heap_text_add(t, " 0x0");
    heap_text_add(t, "\n");
    write_counts(t, s);
}

static void write_names(struct heap_text *t)
{
    for (uint32_t n = 0; (n = sites_next(n));) {
        uintptr_t name = sites_name_of(n);
        if (!name)
            continue;
        heap_text_add(t, "# name ");
        heap_text_hex(t, name);
        heap_text_add(t, " ");
        heap_text_add(t, sites_name_at(name));
        heap_text_add(t, "\n");
    }
}

int heap_profile_write(int fd, const struct heap_profile_info *info)
{
    struct heap_text *t = &text;

    heap_text_begin(t, fd);
    heap_text_add(t, "heap_v2/1\n");
    write_total(t);
    heap_text_add(t, "# tidepool " TIDEPOOL_VERSION ", written at ");
    heap_text_add(t, info->why);
    heap_text_add(t, "\n");
    write_fact(t, "pid", (uint64_t)getpid());
    write_fact(t, "unix_seconds", info->unix_s);
    write_fact(t, "interval_bytes", info->interval_bytes);
    write_fact(t, "samples", info->samples);
    write_fact(t, "dropped", info->dropped);
    write_fact(t, "outside_bytes", info->outside_bytes);
    modules_write_build_ids(t);
    write_names(t);
    for (uint32_t n = 0; (n = sites_next(n));) {
        struct site s = sites_at(n);
        if (s.ever_bytes)
            write_stack(t, &s);
    }
    heap_text_add(t, "\nMAPPED_LIBRARIES:\n");
    modules_write_maps(t);
    return heap_text_end(t);
}

// Blanks and semicolons mean something in a folded line; tabs part the pieces of a name.
static void write_name(struct heap_text *t, const char *name)
{
    for (; *name; name++) {
        char c = *name == ';' || *name == ' ' ? '_' : *name == '\t' ? ':' : *name;
        heap_text_bytes(t, &c, 1);
    }
}

static void write_frame(struct heap_text *t, uintptr_t frame)
{
    const char *name = sites_name_at(frame);
    uintptr_t offset;

    if (name) {
        write_name(t, name);
        return;
    }
    // A return address may be the next function's: the call is before it.
    modules_find(frame - 1, &name, &offset);
    write_name(t, name);
    heap_text_add(t, "+");
    heap_text_hex(t, offset + 1);
}

int heap_profile_write_folded(int fd)
{
    struct heap_text *t = &text;

    heap_text_begin(t, fd);
    for (uint32_t n = 0; (n = sites_next(n));) {
        struct site s = sites_at(n);
        if (!s.live_bytes)
            continue;
        for (unsigned i = s.depth; i-- > 0;) {
            write_frame(t, s.frame[i]);
            heap_text_add(t, i ? ";" : "");
        }
        heap_text_add(t, s.depth ? " " : "? ");
        heap_text_number(t, s.live_bytes);
        heap_text_add(t, "\n");
    }
    return heap_text_end(t);
}

#define TAKEN_MAX 16

static int write_file(const char *dir, unsigned number, const char *suffix,
                      const struct heap_profile_info *info)
{
    int e = heap_folder_path(final_path, sizeof final_path, dir, number, suffix), fd;

    if (e)
        return e;
    fd = heap_folder_create(final_path);
    if (fd < 0)
        return fd;
    e = info ? heap_profile_write(fd, info) : heap_profile_write_folded(fd);
    if (syscall(SYS_close, fd) != 0 && !e)
        e = -errno;
    if (!e)
        e = heap_folder_publish(final_path);
    if (e)
        heap_folder_discard(final_path);
    return e;
}

static int write_both(const char *dir, unsigned number, const struct heap_profile_info *info)
{
    int e = write_file(dir, number, ".heap", info);

    if (!e) {
        e = write_file(dir, number, ".folded", NULL);
        // One without the other would be under two numbers.
        if (e == -EEXIST)
            heap_profile_remove(dir, number);
    }
    return e;
}

int heap_profile_dump(const char *dir, unsigned *number, const struct heap_profile_info *info,
                      char *path, unsigned size)
{
    int e = write_both(dir, *number, info);

    if (e == -EEXIST) {
        *number = heap_folder_random();
        e = write_both(dir, *number, info);
    }
    if (heap_folder_path(path, size, dir, *number, "") && size)
        path[0] = '\0';
    return e;
}

unsigned heap_profile_taken(const char *dir)
{
    for (unsigned n = 1; n <= TAKEN_MAX; n++)
        if (heap_folder_path(final_path, sizeof final_path, dir, n, ".heap") ||
            syscall(SYS_faccessat, AT_FDCWD, final_path, F_OK) != 0)
            return n - 1;
    return 0;
}

static void remove_file(const char *dir, unsigned number, const char *suffix)
{
    if (!heap_folder_path(final_path, sizeof final_path, dir, number, suffix))
        heap_folder_remove(final_path);
}

void heap_profile_remove(const char *dir, unsigned number)
{
    remove_file(dir, number, ".heap");
    remove_file(dir, number, ".folded");
}
