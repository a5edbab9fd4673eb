#!/bin/bash
# stress.sh [SECONDS] - the storm, with each walker, asked for profiles all the while: it ends, no
# block is damaged, every profile is whole and in order, and at the end what is live by the estimate
# is little: what libc and the C++ runtime keep, times what one sample stands for, is below 4 MB.
set -u
. "$(dirname "$0")/lib.sh"
seconds=${1:-${STRESS_S:-15}}
trap 'rm -rf "$tmp"' EXIT

# Every line as heap_profile.h has it; estimates of what is live are never more than of all.
in_order() {
    awk '
        NR == 1 { if ($0 != "heap_v2/1") bad = "its head"; next }
        /^MAPPED_LIBRARIES:$/ { whole = 1; next }
        whole { if ($1 !~ /^[0-9a-f]+-[0-9a-f]+$/) bad = "a mapping: " $0; next }
        /^#/ || /^$/ { next }
        /^@( 0x[0-9a-f]+)+$/ { stacks++; if (NF > 65) bad = "a deep stack"; next }
        /^  t\*: [0-9]+: [0-9]+ \[[0-9]+: [0-9]+\]$/ {
            gsub(/[^0-9 ]/, " ")
            if ($2 > $4 + 0 || $1 > $3 + 0) bad = "more live than ever: " $0
            next
        }
        { bad = "a line: " $0 }
        END { if (!whole) bad = "cut short"; if (!stacks) bad = "no stack"; print bad; exit bad != "" }' "$1"
}

# One that has ended and is not waited for yet has no channel, and `tidepool dump` waits for that.
running() { # PID
    grep -q '^State:.[^ZX]' "/proc/$1/status" 2>/dev/null
}

storm() { # WALKER
    local pid status=0 asked=0 wrong= loaded= file live left
    dir=$(mktemp -d -p "$tmp")
    # libunwind walks under a lock of the loader's, and the storm's callback for that lock takes one of
    # its own: see shim/profile/backtrace.h. Without that callback libunwind has to stand the rest.
    unset STORM_NO_CALLBACK
    [ "$1" != libunwind ] || export STORM_NO_CALLBACK=1
    TIDEPOOL_SAMPLE=4K TIDEPOOL_SAMPLE_UNWIND=$1 TIDEPOOL_SAMPLE_DIR=$dir TIDEPOOL_STATS=exit \
        LD_PRELOAD=$LIB "$V/storm" "$seconds" "$V/plugin.so" >"$tmp/out" 2>"$tmp/err" &
    pid=$!
    while running $pid; do
        sleep 0.3
        running $pid || break
        file=$(timeout 10 "$B/tidepool" dump $pid 2>/dev/null) || continue
        asked=$((asked + 1))
        [ -n "$loaded" ] || ! has_libunwind "$file" || loaded=1
        [ -n "$wrong" ] || wrong=$(in_order "$file") || cp "$file" "$dir/wrong"
        rm -f "$dir"/*.heap "$dir"/*.folded
    done
    wait $pid || status=$?
    # Its own last word: children that exec say theirs before.
    left=$(grep '^tidepool: samples:' "$tmp/err" | tail -n 1)
    live=$(echo "$left" | sed -n 's/.* live_bytes \([0-9]*\) .*/\1/p')
    if [ $status != 0 ]; then
        fail "storm, $1" "status $status: $(grep -v '^tidepool: \(bucket\|heap prof\)' "$tmp/err" | tail -n 3)"
    elif [ -n "$wrong" ]; then
        fail "storm, $1" "a profile has $wrong"
    elif [ $asked -lt 3 ]; then
        fail "storm, $1" "only $asked profiles were to be had"
    elif [ "$1" = libunwind ] && [ -z "$loaded" ]; then
        fail "storm, $1" "libunwind was not loaded"
    elif [ "${live:-99999999}" -gt 4000000 ]; then
        fail "storm, $1" "all was freed, but: $left"
    else
        pass "storm, $1: $seconds s, $asked profiles, $(cat "$tmp/out"); ${left#tidepool: samples: }"
    fi
}

for walker in ${WALKERS:-builtin fp libunwind}; do storm $walker; done
finish stress
