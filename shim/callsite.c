#include "shim/callsite.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>

typedef int backtrace_fn(void **buffer, int size);

static backtrace_fn *load_backtrace(void)
{
    static _Atomic(backtrace_fn *) loaded;
    backtrace_fn *fn = atomic_load_explicit(&loaded, memory_order_acquire);
    void *library;

    if (fn)
        return fn;
    library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return NULL;
    fn = (backtrace_fn *)dlsym(library, "unw_backtrace");
    atomic_store_explicit(&loaded, fn, memory_order_release);
    return fn;
}

int callsite_capture(void **frame, int frames)
{
    backtrace_fn *fn = load_backtrace();

    return fn ? fn(frame, frames) : 0;
}
