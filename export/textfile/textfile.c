#include "export/textfile/textfile.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "export/metrics.h"
#include "export/textfile/folder.h"
#include "export/textfile/place.h"
#include "export/textfile/reap.h"
#include "pressure/kernel/futex_lock.h"

// A write takes some 100 us, or for ever: the folder may be on a server that is gone. fork(), the
// end of the process and another write wait this long for one under way; then they go on without
// it.
#define FORK_WAIT_MS 20
#define WRITE_WAIT_MS 200

// A folder that fails, recovers and fails again is not worth more lines than these.
#define LINES_MAX 4

static struct textfile_options options;
static bool in_use;

static struct futex_lock lock;
static _Atomic uint64_t due_ms; // the next write
static _Atomic uint64_t worthwhile_from_ms;
static _Thread_local bool forking; // this thread took the lock for a fork() under way

// All under the lock. Mapped by textfile_init(): most processes write no file.
static struct file {
    bool closed; // by textfile_exit()
    int pid;     // whose file there is; 0: none
    int failing; // what the last write said
    unsigned lines;
    char name[PLACE_NAME_MAX], temporary[PLACE_NAME_MAX];
    struct metrics metrics;
    char text[PLACE_LINE_MAX + METRICS_TEXT_MAX];
} * file;

static uint64_t load(_Atomic uint64_t *at)
{
    return atomic_load_explicit(at, memory_order_relaxed);
}

static void store(_Atomic uint64_t *at, uint64_t value)
{
    atomic_store_explicit(at, value, memory_order_relaxed);
}

static void set_start(uint64_t now_ms)
{
    store(&worthwhile_from_ms, now_ms + options.interval_ms);
    store(&due_ms, now_ms + options.interval_ms);
}

void textfile_init(const struct textfile_options *o, uint64_t now_ms)
{
    void *at = mmap(NULL, sizeof *file, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    options = *o;
    if (at == MAP_FAILED) {
        options.log("no metrics for Prometheus: no memory");
        return;
    }
    file = at;
    in_use = true;
    set_start(now_ms);
}

void textfile_worthwhile(void)
{
    store(&worthwhile_from_ms, 0);
    store(&due_ms, 0);
}

// What a terminal can show without harm, as much as there is room for.
static const char *shown(char *out, size_t size, const char *text)
{
    size_t n = 0;

    for (; n < size - 4 && text[n]; n++)
        out[n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
    memcpy(out + n, text[n] ? "..." : "", text[n] ? 4 : 1);
    return out;
}

// One line for each new trouble, and none for its going on.
static void tell(int err)
{
    char line[384], folder[128];
    struct out o = out_begin(line, sizeof line - 1, "");

    if (err == file->failing || !err || file->lines == LINES_MAX) {
        file->failing = err;
        return;
    }
    file->failing = err;
    file->lines++;
    out_text(&o, "no metrics for Prometheus: ");
    out_text(&o, file->name[0] ? file->name : "a file");
    out_text(&o, " cannot be written to ");
    out_text(&o, shown(folder, sizeof folder, options.dir));
    out_text(&o, " (TIDEPOOL_PROM_DIR): ");
    out_text(&o, err == -EEXIST    ? "its name is taken by something that is no file"
                 : err == -ENOTDIR ? "not a folder, or a symbolic link"
                                   : strerrordesc_np(-err));
    *o.at = '\0';
    options.log(line);
}

// The whole file into file->text; its length, 0 where it cannot be had.
static size_t compose(bool last)
{
    struct out o = out_begin(file->text, PLACE_LINE_MAX, "");
    struct place_line line = {.interval_ms = options.interval_ms, .keep = last};
    size_t length;

    // At exit this thread may have been interrupted inside jemalloc, by the signal that ends it.
    if (!metrics_read(&file->metrics, !last))
        return 0;
    line.who = file->metrics.who;
    place_write_line(&o, &line);
    length = metrics_render(&file->metrics, o.at, METRICS_TEXT_MAX);
    return length && !o.full ? (size_t)(o.at - file->text) + length : 0;
}

static int write_to(int dir, bool last)
{
    size_t length = compose(last);
    int err;

    if (!length)
        return -EBUSY;
    place_name(file->name, &file->metrics.who, false);
    place_name(file->temporary, &file->metrics.who, true);
    err = folder_replace(dir, file->temporary, file->name, file->text, length);
    if (err)
        return err;
    file->pid = file->metrics.who.pid;
    if (!last)
        reap(dir, &file->metrics.who, options.interval_ms);
    return 0;
}

// Under the lock.
static void write_file(bool last)
{
    int saved = errno, err;
    int dir = folder_open(options.dir);

    err = dir < 0 ? dir : write_to(dir, last);
    if (dir >= 0)
        folder_close(dir);
    tell(err);
    errno = saved;
}

void textfile_write(uint64_t now_ms)
{
    if (!in_use || now_ms < load(&worthwhile_from_ms) || !futex_lock_take(&lock, WRITE_WAIT_MS))
        return;
    if (!file->closed) {
        store(&due_ms, now_ms + options.interval_ms);
        write_file(false);
    }
    futex_lock_drop(&lock);
}

void textfile_tick(uint64_t now_ms)
{
    if (in_use && now_ms >= load(&due_ms))
        textfile_write(now_ms);
}

static void remove_file(void)
{
    int saved = errno;
    int dir = folder_open(options.dir);

    if (dir >= 0) {
        folder_remove(dir, file->name);
        folder_close(dir);
    }
    errno = saved;
}

void textfile_exit(void)
{
    if (!in_use || !futex_lock_take(&lock, WRITE_WAIT_MS))
        return;
    file->closed = true;
    if (options.keep)
        write_file(true);
    else if (file->pid)
        remove_file();
    futex_lock_drop(&lock);
}

void textfile_prefork(void)
{
    int saved = errno;

    // Where it is not had, the child inherits a descriptor or two: better than to hang.
    forking = in_use && futex_lock_take(&lock, FORK_WAIT_MS);
    errno = saved;
}

void textfile_postfork_parent(void)
{
    if (forking)
        futex_lock_drop(&lock);
    forking = false;
}

void textfile_postfork_child(uint64_t now_ms)
{
    if (!in_use)
        return;
    futex_lock_reset(&lock);
    forking = false;
    file->closed = false;
    file->pid = file->failing = 0;
    file->lines = 0;
    file->name[0] = '\0';
    set_start(now_ms);
}
