// no_tcache - a thread that asks jemalloc for little, and has none of its caches.
#ifndef TIDEPOOL_POOL_NO_TCACHE_H
#define TIDEPOOL_POOL_NO_TCACHE_H

// On the thread itself, before its first request. jemalloc takes 28 KiB for a thread's caches then,
// and crashes where there is no memory left for them (5.3). Without caches no memory is needed, and
// each request that fails returns NULL.
void no_tcache_self(void);

#endif
