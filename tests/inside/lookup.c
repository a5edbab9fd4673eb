// dlsym() for victims that have the library linked in: a name that it exports has a prefix there.
#include <dlfcn.h>
#include <stdio.h>

void *inside_dlsym(void *handle, const char *name);

void *inside_dlsym(void *handle, const char *name)
{
    char prefixed[100];

    snprintf(prefixed, sizeof prefixed, "tp_%s", name);
    void *found = handle == RTLD_DEFAULT ? dlsym(handle, prefixed) : NULL;
    return found ? found : dlsym(handle, name);
}
