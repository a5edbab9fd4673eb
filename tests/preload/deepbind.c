// deepbind - opens plugin.so with RTLD_DEEPBIND, by a name that only this program's own search path
// leads to, and frees what the plugin allocated.

#include "tests/preload/victim.h"

#include <dlfcn.h>

enum { ROUNDS = 100 };
typedef void *work_fn(size_t);

int main(void)
{
    uint64_t state = 5;
    for (int i = 0; i < ROUNDS; i++) {
        void *lib = dlopen("plugin.so", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
        CHECK(lib, "%s", dlerror());
        void *symbol = dlsym(lib, "plugin_work");
        CHECK(symbol, "%s", dlerror());
        work_fn *work;
        memcpy(&work, &symbol, sizeof work);
        free(work(i % 2 ? victim_pooled_size(&state) : (size_t)i + 1));
        CHECK(dlclose(lib) == 0, "%s", dlerror());
    }
    return 0;
}
