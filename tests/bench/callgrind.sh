#!/bin/bash
# callgrind - instructions of a malloc/free pair, counted rather than timed.
#
#   B=build/release bash tests/bench/callgrind.sh [PATTERN [SIZE...]]      default: pair 64 64K mix
#
# Callgrind leaves malloc alone, so the preloaded one is counted. Two runs that differ only in their
# number of rounds are subtracted: start-up and warm-up fall out, the harness's own loop does not
# (some ten instructions, the same for all). The kernel's work is not counted. Scudo is not
# here: it cannot get its reservation from valgrind.
set -u -o pipefail
B=$(realpath "${B:-build/release}")
pattern=${1:-pair}
shift
[ $# -gt 0 ] || set -- 64 64K mix
case $pattern in
batch*) ops=$((2 * ${pattern#batch}));;
pair | rand*) ops=1;;
*) echo 'callgrind: pair, batchN or randN' >&2; exit 2;;
esac
command -v valgrind >/dev/null || { echo 'callgrind: valgrind is not installed' >&2; exit 1; }
few=$((8192 / ops)) many=$((24576 / ops)) failed=0 # whole turns of the mixed sizes
lib=/usr/lib/$(gcc -print-multiarch)

instructions() { # LIBRARY SIZE ROUNDS
    BENCH_MALLOC=$1 LD_PRELOAD=$1 MALLOC_CONF=${conf:-} valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        "$B/tests/bench/single" "$pattern" "$2" untouched "=$3" 2>&1 |
        awk '/Collected/ {n = $4} /^bench:/ {exit 1} END {print n}'
}

count() { # NAME LIBRARY [CONF]
    local name=$1 library=$2 conf=${3:-} size a b
    shift 3
    [ "$library" = "" ] || [ -e "$library" ] || { printf '%-12s ABSENT\n' "$name"; return; }
    printf '%-12s' "$name"
    for size; do
        a=$(instructions "$library" "$size" $few) && b=$(instructions "$library" "$size" $many)
        if [ -n "$a" ] && [ -n "${b:-}" ]; then
            awk "BEGIN {printf \" %9.1f\", ($b - $a) / (($many - $few) * $ops)}"
        else
            printf ' %9s' FAILED
            failed=1
        fi
    done
    echo
}

printf '%-12s' "$pattern"
printf ' %9s' "$@"
echo
count tidepool "$B/libtidepool.so" '' "$@"
count glibc '' '' "$@"
count jemalloc "$lib/libjemalloc.so.2" '' "$@"
count jemalloc-1M "$lib/libjemalloc.so.2" tcache_max:1048576 "$@"
count mimalloc "$lib/libmimalloc.so.2" '' "$@"
count tcmalloc "$lib/libtcmalloc_minimal.so.4" '' "$@"
exit $failed
