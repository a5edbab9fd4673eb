// cxx - C++'s operator new and delete, in every form of the Itanium ABI, without libstdc++.
//
// A failing operator new must call the program's new_handler and throw std::bad_alloc, which only
// the C++ runtime that the program brought can do; it is looked up then, because a runtime that
// came with dlopen() cannot be linked to beforehand. Exceptions pass through these frames, so the
// file is compiled with -fexceptions.
#include <dlfcn.h>
#include <stdlib.h>

#include "shim/heap.h"
#include "shim/log.h"

struct nothrow;

typedef void (*new_handler)(void);

static void *in_runtime(const char *const name[2])
{
    // The runtime's library, in case it is not in the program's global scope.
    static const char *const library[] = {"libstdc++.so.6", "libc++.so.1", "libc++abi.so.1"};
    void *found = NULL;

    for (unsigned n = 0; n < 2 && !found; n++)
        found = dlsym(RTLD_DEFAULT, name[n]);
    for (unsigned i = 0; i < array_len(library) && !found; i++) {
        void *handle = dlopen(library[i], RTLD_LAZY | RTLD_NOLOAD);
        if (!handle)
            continue;
        for (unsigned n = 0; n < 2 && !found; n++)
            found = dlsym(handle, name[n]);
        dlclose(handle);
    }
    return found;
}

// std::get_new_handler() and std::__throw_bad_alloc(), libstdc++'s and libc++'s.
static const char *const get_new_handler[2] = {"_ZSt15get_new_handlerv", "_ZSt15get_new_handlerv"};
static const char *const throw_bad_alloc[2] = {"_ZSt17__throw_bad_allocv",
                                               "_ZNSt3__117__throw_bad_allocEv"};

static void *try(size_t alignment, size_t size)
{
    return alignment ? heap_aligned(alignment, size) : heap_alloc(size);
}

// [new.delete.single]: call the handler and try again, until there is no handler.
static void *retry(size_t alignment, size_t size)
{
    typedef new_handler get_fn(void);
    get_fn *get = (get_fn *)in_runtime(get_new_handler);
    void *ptr = NULL;

    for (new_handler handler; !ptr && get && (handler = get());) {
        handler();
        ptr = try(alignment, size);
    }
    return ptr;
}

static __attribute__((noinline)) void *new_slow(size_t alignment, size_t size)
{
    void *ptr = retry(alignment, size);
    void (*raise)(void);

    if (ptr)
        return ptr;
    raise = (void (*)(void))in_runtime(throw_bad_alloc);
    if (raise)
        raise();
    log_line(LOG_MISUSE, "operator new: out of memory, and no C++ runtime to throw bad_alloc");
    abort();
}

#define NEW(name, params, alignment)                                                               \
    void *name params;                                                                             \
    HEAP_EXPORT void *name params                                                                  \
    {                                                                                              \
        void *ptr = try((alignment), size);                                                        \
        return likely(ptr) ? ptr : new_slow((alignment), size);                                    \
    }

// A handler that throws ends a nothrow new with NULL by the standard. In C it cannot be caught, so
// the nothrow forms do without the handler and just fail.
#define NEW_NOTHROW(name, params, alignment)                                                       \
    void *name params;                                                                             \
    HEAP_EXPORT void *name params                                                                  \
    {                                                                                              \
        (void)tag;                                                                                 \
        return try((alignment), size);                                                             \
    }

#define DELETE(name, params, unused)                                                               \
    void name params;                                                                              \
    HEAP_EXPORT void name params                                                                   \
    {                                                                                              \
        unused;                                                                                    \
        heap_free(ptr);                                                                            \
    }

NEW(_Znwm, (size_t size), 0)
NEW(_Znam, (size_t size), 0)
NEW(_ZnwmSt11align_val_t, (size_t size, size_t alignment), alignment)
NEW(_ZnamSt11align_val_t, (size_t size, size_t alignment), alignment)

NEW_NOTHROW(_ZnwmRKSt9nothrow_t, (size_t size, const struct nothrow *tag), 0)
NEW_NOTHROW(_ZnamRKSt9nothrow_t, (size_t size, const struct nothrow *tag), 0)
NEW_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t,
            (size_t size, size_t alignment, const struct nothrow *tag), alignment)
NEW_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t,
            (size_t size, size_t alignment, const struct nothrow *tag), alignment)

DELETE(_ZdlPv, (void *ptr), )
DELETE(_ZdaPv, (void *ptr), )
DELETE(_ZdlPvm, (void *ptr, size_t size), (void)size)
DELETE(_ZdaPvm, (void *ptr, size_t size), (void)size)
DELETE(_ZdlPvSt11align_val_t, (void *ptr, size_t alignment), (void)alignment)
DELETE(_ZdaPvSt11align_val_t, (void *ptr, size_t alignment), (void)alignment)
DELETE(_ZdlPvmSt11align_val_t, (void *ptr, size_t size, size_t alignment),
       ((void)size, (void)alignment))
DELETE(_ZdaPvmSt11align_val_t, (void *ptr, size_t size, size_t alignment),
       ((void)size, (void)alignment))
DELETE(_ZdlPvRKSt9nothrow_t, (void *ptr, const struct nothrow *tag), (void)tag)
DELETE(_ZdaPvRKSt9nothrow_t, (void *ptr, const struct nothrow *tag), (void)tag)
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t,
       (void *ptr, size_t alignment, const struct nothrow *tag), ((void)alignment, (void)tag))
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t,
       (void *ptr, size_t alignment, const struct nothrow *tag), ((void)alignment, (void)tag))
