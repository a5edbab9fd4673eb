// dlopen - libraries that are opened with RTLD_DEEPBIND get this heap, too.
//
// With that flag a library is searched before the program, with its own dependencies, and so finds
// libc's malloc and free: a block that crosses its border is freed in the wrong heap. PHP opens
// each of its modules that way and dies at its start under any preloaded allocator. So the flag is
// taken off, and nothing else: what two libraries define in common now comes from the first of
// them.
//
// A program may open an interpreter, too, as a server its module for Python: then the interpreter
// is looked for when that opens its own modules.
#include <assert.h>
#include <dlfcn.h>
#include <stdatomic.h>

#include "shim/base.h"
#include "shim/base/log.h"
#include "shim/heap.h"
#include "shim/init.h"
#include "shim/profile/script.h"

typedef void *open_fn(const char *, int);

static open_fn *find_next(void)
{
    void *symbol = dlsym(RTLD_NEXT, "dlopen");
    open_fn *next;

    static_assert(sizeof next == sizeof symbol, "POSIX: a function's address fits");
    __builtin_memcpy(&next, &symbol, sizeof next);
    return next;
}

static int __attribute__((noinline)) without_flag(const char *file, int mode)
{
    if (boot_config.deepbind_keep)
        return mode;
    log_line(LOG_INFO, "%s is opened without RTLD_DEEPBIND, to share this heap", file ? file : "");
    return mode & ~RTLD_DEEPBIND;
}

// libc's goes by the address that it returns to when it reads the caller's own search path, so the
// last call has to be a jump; at -O2 it is, and tests/preload/deepbind.c would notice.
HEAP_EXPORT void *dlopen(const char *file, int mode)
{
    static open_fn *_Atomic next;
    open_fn *open = atomic_load_explicit(&next, memory_order_relaxed);

    if (unlikely(!open)) {
        open = find_next();
        atomic_store_explicit(&next, open, memory_order_relaxed);
    }
    if (unlikely(mode & RTLD_DEEPBIND))
        mode = without_flag(file, mode);
    if (unlikely(boot_config.sample_bytes))
        script_find(false);
    return open(file, mode);
}
