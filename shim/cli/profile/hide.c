// hide - lists of names; all that belongs to the C++ library.

#include "shim/cli/profile/hide.h"

#include <fnmatch.h>
#include <stddef.h>
#include <string.h>

#include "shim/base.h"
#include "shim/cli/profile/names.h"

// Libraries all of whose functions are an allocator's.
static const char *const modules[] = {
    "libtidepool.so*",  "libjemalloc.so*",  "libtcmalloc*.so*",
    "libmimalloc*.so*", "libc_malloc*.so*",
};

// Interpreters, runtimes, and the programs that are little else.
static const char *const interpreters[] = {"python3*", "libpython3*", "ruby*",     "libruby*",
                                           "node",     "libnode*",    "libjvm.so", "libjli.so"};

// libc's functions that return memory, and the wrappers that many programs put around them.
static const char *const functions[] = {
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "memalign",
    "aligned_alloc",
    "posix_memalign",
    "valloc",
    "pvalloc",
    "__libc_*alloc",
    "strdup",
    "__strdup",
    "strndup",
    "__strndup",
    "wcsdup",
    "asprintf",
    "vasprintf",
    "__asprintf_chk",
    "__vasprintf*",
    "je_*alloc*",
    "xmalloc",
    "xcalloc",
    "xrealloc",
    "xzalloc",
    "xstrdup",
    "xstrndup",
    "xmallocarray",
    "xreallocarray",
    "emalloc",
    "erealloc",
    "zmalloc*",
    "zcalloc*",
    "zrealloc*",
    "ztry*alloc*",
    "zstrdup",
    "g_malloc*",
    "g_try_malloc*",
    "g_realloc*",
    "g_try_realloc*",
    "g_strdup",
    "g_strndup",
    "g_memdup*",
    "g_slice_alloc*",
    "PyMem_*alloc",
    "PyMem_*Alloc",
    "PyObject_*alloc",
    "_PyObject_*alloc",
    "_PyMem_*alloc",
    "PyMem_Raw*",
    "_PyMem_Raw*",
    "_PyMem_Debug*",
    "_PyObject_*Alloc",
    "__cxa_allocate_exception",
    "CRYPTO_*alloc",
    "operator new*",
    "os::malloc(*",
    "os::realloc(*",
    "AllocateHeap(*",
};

static bool is_standard_cxx(const char *function)
{
    const char *end, *name = name_start(function, &end);
    if (strncmp(name, "std::", 5) == 0 || strncmp(name, "__gnu_cxx::", 11) == 0)
        return true;
    // A class of its own with an operator new.
    const char *member = strstr(name, "::operator new");
    return member && member < end && (member[14] == '(' || member[14] == '[');
}

// Without what compilers put behind a name: ".constprop.0", "@@GLIBC_2.2.5", " [clone .cold]".
static void plain_name(const char *function, char *out, size_t size)
{
    size_t n = strcspn(function, ".@[");
    while (n && function[n - 1] == ' ')
        n--;
    if (n >= size)
        n = size - 1;
    memcpy(out, function, n);
    out[n] = '\0';
}

static bool matches(const char *const *patterns, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (fnmatch(patterns[i], text, 0) == 0)
            return true;
    return false;
}

bool hide_frame(const char *function, const char *module)
{
    if (matches(modules, array_len(modules), basename(module)))
        return true;
    if (!function)
        return false;
    // Longer ones are C++, and decided by their start.
    char name[96];
    plain_name(function, name, sizeof name);
    return matches(functions, array_len(functions), name) || is_standard_cxx(function);
}

bool hide_interpreter(const char *module, const char *file)
{
    // A path: the module of named functions is their language.
    return strncmp(file, "<frozen importlib", 17) == 0 ||
           (*module == '/' && matches(interpreters, array_len(interpreters), basename(module)));
}
