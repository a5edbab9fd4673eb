// atfork - what the modules do around a fork.
//
// A fork stops every other thread where it is, for ever, and the child has what they held. Before
// it, each module brings what others may be in the middle of to an end; after it, the child forgets
// them. The setting up of the pools is no exception: a fork waits for it, and it is put off during
// a fork.
#ifndef TIDEPOOL_SHIM_ATFORK_H
#define TIDEPOOL_SHIM_ATFORK_H

#include <stdbool.h>

// Registers the handlers, once. Behind those of jemalloc, so that they run before its own take its
// locks: the threads that we wait for may need these. Therefore it makes jemalloc's first request.
void forks_register(void);

// In a child that was made without them, once it holds no lock that is not its own: what their last
// part does for everything but the pools and jemalloc. In no call of jemalloc's.
void forks_settle_child(void);

// Is a thread between its handlers?
bool forks_under_way(void);

#endif
