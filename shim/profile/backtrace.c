#include "shim/profile/backtrace.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unwind.h>

#include "shim/base.h"
#include "shim/profile/frame_chain.h"
#include "shim/profile/unwind_end.h"

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

bool callsite_is_ours(uintptr_t pc)
{
    return pc - (uintptr_t)__ehdr_start < (uintptr_t)etext - (uintptr_t)__ehdr_start;
}

struct walk {
    uintptr_t *frame;
    unsigned depth, max;
    bool by_pointers; // from the last frame on
    uintptr_t sp, fp; // there
};

uintptr_t callsite_pc(struct _Unwind_Context *at)
{
    int interrupted = 0;
    uintptr_t pc = (uintptr_t)_Unwind_GetIPInfo(at, &interrupted);

    return pc && interrupted ? pc + 1 : pc;
}

static _Unwind_Reason_Code on_frame(struct _Unwind_Context *context, void *arg)
{
    struct walk *w = arg;
    uintptr_t pc = callsite_pc(context);

    if (!pc)
        return _URC_END_OF_STACK;
    if (!w->depth && callsite_is_ours(pc))
        return _URC_NO_REASON;
    w->frame[w->depth++] = pc;
    w->by_pointers = wanted == CONFIG_UNWIND_FP || unwind_end_no_table;
    if (w->by_pointers) {
        w->sp = _Unwind_GetCFA(context);
        w->fp = _Unwind_GetGR(context, FP_COLUMN);
    }
    return wanted == CONFIG_UNWIND_FP || w->depth == w->max ? _URC_END_OF_STACK : _URC_NO_REASON;
}

// By tables; from the first frame on that has none, as code made at run time, by frame pointers.
// These are asked for at once where they are wanted: only our own frames keep none.
static unsigned walk(uintptr_t *frame, unsigned max)
{
    struct walk w = {.frame = frame, .max = max};

    _Unwind_Backtrace(on_frame, &w);
    if (w.by_pointers)
        w.depth += frame_chain(frame + w.depth, max - w.depth, w.sp, w.fp);
    return w.depth;
}

// 0 during a fork.
static unsigned walk_libunwind(backtrace_fn *backtrace, uintptr_t *frame, unsigned max)
{
    void *all[WALK_MAX];
    int want = (int)(max + OWN_FRAMES_MAX < WALK_MAX ? max + OWN_FRAMES_MAX : WALK_MAX), got;
    unsigned depth = 0;

    atomic_fetch_add(&walking, 1);
    if (atomic_load(&paused)) {
        atomic_fetch_sub(&walking, 1);
        return 0;
    }
    got = backtrace(all, want);
    atomic_fetch_sub(&walking, 1);
    for (int i = 0; i < got && depth < max; i++)
        if (depth || !callsite_is_ours((uintptr_t)all[i]))
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

    depth = fn ? walk_libunwind(fn, frame, max) : 0;
    if (!depth)
        depth = walk(frame, max);
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
