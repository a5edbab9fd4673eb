// raw - see raw.c: its functions are declared by libc's headers.
#ifndef TIDEPOOL_SHIM_BASE_RAW_H
#define TIDEPOOL_SHIM_BASE_RAW_H

// libc's own clock_gettime(), by address; NULL leaves the system call. Once, by the constructor.
void raw_use_clock(void *symbol);

#endif
