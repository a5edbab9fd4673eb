// dlopen_loop PLUGIN: loads and unloads a library 1,000 times, uses its thread-local storage from
// two threads, and lives on the blocks it made after it is gone.

#include "tests/preload/victim.h"

#include <pthread.h>

enum { LOOPS = 1000, KEPT = 16 };
typedef void *work_fn(size_t);
static work_fn *work;

static void *in_thread(void *arg)
{
    free(work(*(size_t *)arg));
    return NULL;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2, "usage: dlopen_loop PLUGIN");
    void *kept[KEPT] = {NULL};
    size_t size[KEPT] = {0};
    uint64_t state = 1;
    for (int i = 0; i < LOOPS; i++) {
        void *lib = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        CHECK(lib, "round %d: %s", i, dlerror());
        void *symbol = dlsym(lib, "plugin_work");
        CHECK(symbol, "%s", dlerror());
        memcpy(&work, &symbol, sizeof work);
        size_t at = (size_t)i % KEPT;
        CHECK(!kept[at] || victim_intact(kept[at], size[at], size[at], size[at]), "round %d", i);
        free(kept[at]);
        size[at] = victim_pooled_size(&state) / 4 + 16;
        kept[at] = work(size[at]);
        pthread_t t;
        CHECK(pthread_create(&t, NULL, in_thread, &size[at]) == 0, "thread");
        pthread_join(t, NULL);
        CHECK(dlclose(lib) == 0, "round %d: %s", i, dlerror());
    }
    for (size_t i = 0; i < KEPT; i++)
        free(kept[i]);
    return 0;
}
