// names - the shape of a demangled name, by its brackets.

#include "shim/cli/profile/names.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base.h"

// What is longer is no name that a person reads; the demangler's work can grow with it steeply.
enum { MANGLED_MAX = 4096 };

typedef char *demangle_fn(const char *mangled, char *buffer, size_t *length, int *status);

static demangle_fn *find_demangler(void)
{
    static bool tried;
    static demangle_fn *found;
    if (!tried) {
        tried = true;
        // Linking it would make every start of the launcher need it.
        void *library = dlopen("libstdc++.so.6", RTLD_NOW | RTLD_LOCAL);
        void *symbol = library ? dlsym(library, "__cxa_demangle") : NULL;
        memcpy(&found, &symbol, sizeof found);
    }
    return found;
}

char *name_demangle(const char *name)
{
    // ".part.0", ".constprop.0", ".cold": pieces of a function, to the compiler. "@@VERSION" is the
    // linker's.
    size_t length = strcspn(name, ".@");
    int status = 0;
    if (!length || length > MANGLED_MAX)
        return NULL;
    char *plain = strndup(name, length), *readable = NULL;
    if (plain && strncmp(name, "_Z", 2) == 0 && find_demangler())
        readable = find_demangler()(plain, NULL, NULL, &status);
    if (!readable)
        return plain;
    free(plain);
    return readable;
}

// Behind the word there are characters that are brackets elsewhere.
static const char *skip_operator(const char *p)
{
    p += strlen("operator");
    if (strncmp(p, "()", 2) == 0)
        return p + 2;
    return p + strcspn(p, "(");
}

static const char *whole_name(const char *name, const char **end)
{
    *end = name + strlen(name);
    return name;
}

const char *name_start(const char *demangled, const char **end)
{
    static const char anonymous[] = "(anonymous namespace)";
    const char *start = demangled, *p = demangled;
    int depth = 0;
    while (*p) {
        if (strncmp(p, anonymous, sizeof anonymous - 1) == 0) {
            p += sizeof anonymous - 1;
            continue;
        }
        if (depth == 0 && strncmp(p, "operator", 8) == 0 && (p == start || p[-1] == ':')) {
            p = skip_operator(p);
            break;
        }
        if (*p == '(' && depth == 0) {
            // Behind a blank no arguments start: it is a script's name, or a pointer to a function.
            if (p == start)
                return whole_name(demangled, end);
            break;
        }
        depth += strchr("(<{", *p) != NULL;
        depth -= strchr(")>}", *p) != NULL;
        if (*p++ == ' ' && depth == 0)
            start = p;
    }
    *end = p;
    // A blank at the end, or brackets that do not match, are no C++.
    if (!*start || start == p)
        return whole_name(demangled, end);
    return start;
}

void name_shorten(const char *demangled, char *out, size_t size)
{
    static const struct {
        const char *from, *to;
    } spellings[] = {
        {"std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >",
         "std::string"},
        {"std::basic_string<char, std::char_traits<char>, std::allocator<char> >", "std::string"},
        {"std::__cxx11::", "std::"},
        {"(anonymous namespace)::", ""},
        {" >", ">"},
    };
    const char *end = demangled + strlen(demangled), *p = demangled;
    // C names and those of scripts have no brackets, or brackets of their own.
    if (strstr(demangled, "::") || (end > demangled && end[-1] == ')'))
        p = name_start(demangled, &end);
    size_t n = 0;
    while (p < end && n + 1 < size) {
        size_t i = 0;
        while (i < array_len(spellings) &&
               strncmp(p, spellings[i].from, strlen(spellings[i].from)) != 0)
            i++;
        if (i == array_len(spellings)) {
            out[n++] = *p++;
            continue;
        }
        p += strlen(spellings[i].from);
        for (const char *t = spellings[i].to; *t && n + 1 < size; t++)
            out[n++] = *t;
    }
    out[n] = '\0';
}
