#include "shim/profile/backtrace.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <unwind.h>

#include "shim/base.h"

// What libunwind may leave on top of a full stack: our own frames.
#define OWN_FRAMES_MAX 12
#define WALK_MAX 128

// DWARF's number of the register that points at the frame.
#ifdef __x86_64__
#define FP_COLUMN 6
#else
#define FP_COLUMN 29
#endif

typedef int backtrace_fn(void **buffer, int size);

static enum config_unwind wanted;
static _Atomic(backtrace_fn *) libunwind;
static _Atomic unsigned walking; // threads inside libunwind
static _Atomic bool paused;      // by a fork

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char etext[] __attribute__((visibility("hidden")));

static bool is_ours(uintptr_t pc)
{
    return pc - (uintptr_t)__ehdr_start < (uintptr_t)etext - (uintptr_t)__ehdr_start;
}

struct walk {
    uintptr_t *frame;
    unsigned depth, max;
    bool top_only;     // stop at the first frame of the program's
    uintptr_t cfa, bp; // there
};

static _Unwind_Reason_Code on_frame(struct _Unwind_Context *context, void *arg)
{
    struct walk *w = arg;
    uintptr_t pc = _Unwind_GetIP(context);

    if (!pc)
        return _URC_END_OF_STACK;
    if (!w->depth && is_ours(pc))
        return _URC_NO_REASON;
    w->frame[w->depth++] = pc;
    if (w->top_only) {
        w->cfa = _Unwind_GetCFA(context);
        w->bp = _Unwind_GetGR(context, FP_COLUMN);
    }
    return w->top_only || w->depth == w->max ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static unsigned walk_tables(uintptr_t *frame, unsigned max)
{
    struct walk w = {.frame = frame, .max = max};

    _Unwind_Backtrace(on_frame, &w);
    return w.depth;
}

// Two words of the stack at `at`, asked of the kernel where the page has not just been seen to be
// there.
static bool read_pair(uintptr_t at, uintptr_t pair[2], uintptr_t *page)
{
    struct iovec to = {pair, 2 * sizeof *pair}, from = {(void *)at, 2 * sizeof *pair};

    if ((at & 4095) <= 4096 - sizeof *pair * 2 && (at & ~(uintptr_t)4095) == *page) {
        pair[0] = ((const uintptr_t *)at)[0];
        pair[1] = ((const uintptr_t *)at)[1];
        return true;
    }
    *page = at & ~(uintptr_t)4095;
    return syscall(SYS_process_vm_readv, getpid(), &to, 1L, &from, 1L, 0L) == sizeof pair[0] * 2;
}

// From the program's first frame on, because ours keep no frame pointers: each is where the one
// before was saved, with the return address above it, and lies higher on the stack.
static unsigned walk_pointers(uintptr_t *frame, unsigned max)
{
    struct walk w = {.frame = frame, .max = max, .top_only = true};
    uintptr_t pair[2], page = 0;

    _Unwind_Backtrace(on_frame, &w);
    for (uintptr_t low = w.cfa; w.depth && w.depth < max; low = w.bp + 1, w.bp = pair[0]) {
        if (w.bp < low || w.bp % sizeof(uintptr_t) || !read_pair(w.bp, pair, &page) || !pair[1])
            break;
        frame[w.depth++] = pair[1];
    }
    return w.depth;
}

static unsigned walk_libunwind(backtrace_fn *backtrace, uintptr_t *frame, unsigned max)
{
    void *all[WALK_MAX];
    int want = (int)(max + OWN_FRAMES_MAX < WALK_MAX ? max + OWN_FRAMES_MAX : WALK_MAX), got;
    unsigned depth = 0;

    atomic_fetch_add(&walking, 1);
    if (atomic_load(&paused)) {
        atomic_fetch_sub(&walking, 1);
        return walk_tables(frame, max);
    }
    got = backtrace(all, want);
    atomic_fetch_sub(&walking, 1);
    for (int i = 0; i < got && depth < max; i++)
        if (depth || !is_ours((uintptr_t)all[i]))
            frame[depth++] = (uintptr_t)all[i];
    return depth;
}

void callsite_init(enum config_unwind walker)
{
    wanted = walker;
}

bool callsite_load(void)
{
    void *library, *first[1];
    backtrace_fn *fn;

    if (wanted != CONFIG_UNWIND_LIBUNWIND || atomic_load(&libunwind))
        return true;
    library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);
    fn = library ? (backtrace_fn *)dlsym(library, "unw_backtrace") : NULL;
    if (!fn)
        return false;
    fn(first, 1); // its own start, here and not inside a malloc
    atomic_store_explicit(&libunwind, fn, memory_order_release);
    return true;
}

unsigned callsite_capture(uintptr_t *frame, unsigned max)
{
    backtrace_fn *fn = atomic_load_explicit(&libunwind, memory_order_acquire);
    int saved = errno;
    unsigned depth;

    if (wanted == CONFIG_UNWIND_FP)
        depth = walk_pointers(frame, max);
    else if (fn)
        depth = walk_libunwind(fn, frame, max);
    else
        depth = walk_tables(frame, max);
    errno = saved;
    return depth;
}

void callsite_prefork(void)
{
    atomic_store(&paused, true);
    // A walk takes microseconds, unless its thread is off its processor.
    for (int i = 0; i < 1000 && atomic_load(&walking); i++)
        sched_yield();
}

void callsite_parent(void)
{
    atomic_store(&paused, false);
}

void callsite_child(void)
{
    if (wanted == CONFIG_UNWIND_LIBUNWIND)
        wanted = CONFIG_UNWIND_BUILTIN;
    atomic_store(&libunwind, NULL);
    atomic_store(&walking, 0);
    atomic_store(&paused, false);
}
