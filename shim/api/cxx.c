// cxx - C++'s operator new and delete, in every form of the Itanium ABI, without libstdc++.
//
// A failing operator new must call the program's new_handler and throw std::bad_alloc, which only
// the program's own C++ runtime can do. It is found by dlsym() then, because a runtime that came
// with dlopen() cannot be linked to beforehand. Exceptions pass through these frames: they have
// nothing to clean up, and unwind tables come by default.
#include <dlfcn.h>
#include <stdlib.h>

#include "shim/base/log.h"
#include "shim/heap.h"

struct nothrow;

typedef void (*new_handler)(void);

// In the C++ runtime's own library, whichever of its names it has.
static void *in_library(const char *const name[2])
{
    static const char *const library[] = {"libstdc++.so.6", "libc++.so.1", "libc++abi.so.1"};
    void *found = NULL;

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

// In the program first, which may have it linked in.
static void *in_runtime(const char *const name[2])
{
    void *found = dlsym(RTLD_DEFAULT, name[0]);

    return found ? found : in_library(name);
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

// A nothrow new calls the handler as well, and turns what it throws into NULL, for which it takes a
// try block. The C++ runtime has one in its own nothrow operator, which calls our throwing one.
static __attribute__((noinline)) void *new_nothrow_slow(size_t alignment, size_t size,
                                                        const struct nothrow *tag)
{
    static const char *const plain[2] = {"_ZnwmRKSt9nothrow_t", "_ZnwmRKSt9nothrow_t"};
    static const char *const aligned[2] = {"_ZnwmSt11align_val_tRKSt9nothrow_t",
                                           "_ZnwmSt11align_val_tRKSt9nothrow_t"};
    typedef void *plain_fn(size_t, const struct nothrow *);
    typedef void *aligned_fn(size_t, size_t, const struct nothrow *);
    void *fn = in_library(alignment ? aligned : plain);

    if (!fn)
        return NULL;
    return alignment ? ((aligned_fn *)fn)(size, alignment, tag) : ((plain_fn *)fn)(size, tag);
}

#define NEW_NOTHROW(name, params, alignment)                                                       \
    void *name params;                                                                             \
    HEAP_EXPORT void *name params                                                                  \
    {                                                                                              \
        void *ptr = try((alignment), size);                                                        \
        return likely(ptr) ? ptr : new_nothrow_slow((alignment), size, tag);                       \
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
