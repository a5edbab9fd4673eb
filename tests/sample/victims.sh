#!/bin/bash
# victims.sh - the victims of tests/preload, with call sites sampled at 4K: whatever a block may be
# asked for has to hold for one that is sampled, too. What is not said of a wrong free needs no
# sample to be silent, and what is said by default is what "abort" says.
cd "$(dirname "$0")/../.." || exit 1
SAMPLE=4K exec sh tests/preload/run.sh ${VICTIMS-'family*' jemalloc_api alignment realloc_keeps calloc_zeroes usable_size \
    errno_rules fork_storm signal_alloc thread_exit producer_consumer 'misuse,*' 'misuse*abort' 'misuse*warn' glibc_extras dlopen_loop}
