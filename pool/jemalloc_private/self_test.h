// self_test - does this jemalloc have the private parts that were verified? And the way without
// them.
#ifndef TIDEPOOL_POOL_JEMALLOC_PRIVATE_SELF_TEST_H
#define TIDEPOOL_POOL_JEMALLOC_PRIVATE_SELF_TEST_H

// For good. To be called before the pools are set up; jemalloc itself may be in use. Its extents
// that were made before stay usable.
void je_private_switch_off(void);

// Allocates a block, frees it and purges it, and looks whether every wrap was passed and every
// layout fits. NULL where all is well, or nothing can be said for want of memory; else what is not.
// Once, by a thread that holds no lock, before the pools are set up; takes some 20 us.
const char *je_private_test(void);

#endif
