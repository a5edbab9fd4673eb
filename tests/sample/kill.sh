#!/bin/bash
# kill.sh [RUNS] - who leaks is named, after the kernel has killed: a profile is written before.
#
# Real kills in real memory cgroups (v1), RUNS (3) of each kind. A run counts when the kernel killed
# (memory.oom_control says so), a whole profile is there, and the first name in it is the culprit's.
# Needs root, and a v1 memory cgroup that we may make children of; else it is skipped, loudly.
set -u
. "$(dirname "$0")/lib.sh"
runs=${1:-${RUNS:-3}}
limit_mib=200
parent=/sys/fs/cgroup/memory$(awk -F: '$2 == "memory" { print $3 }' /proc/self/cgroup)
cg=
trap 'leave; rm -rf "$tmp"' EXIT

leave() {
    local pid try
    [ -n "$cg" ] && [ -d "$cg" ] || return 0
    for try in $(seq 50); do
        for pid in $(cat "$cg/cgroup.procs"); do kill -9 "$pid" 2>/dev/null; done
        rmdir "$cg" 2>/dev/null && break
        sleep 0.1
    done
    cg=
}

# killed DIR THREADS BYTES: true when the kernel killed it.
killed() {
    local dir=$1 kills
    shift
    cg=$parent/tidepool-sample-$$-$RANDOM
    mkdir "$cg" && echo $((limit_mib << 20)) >"$cg/memory.limit_in_bytes" || return 1
    {
        TIDEPOOL_SAMPLE=on TIDEPOOL_SAMPLE_DIR=$dir timeout -s KILL 60 sh -c \
            'echo $$ >"$0/cgroup.procs" && LD_PRELOAD=$1 exec "$2" "$3" "$4"' "$cg" "$LIB" \
            "$V/culprit" "$@" >"$tmp/out" 2>"$tmp/err"
    } 2>/dev/null
    kills=$(awk '$1 == "oom_kill" { print $2 }' "$cg/memory.oom_control")
    leave
    [ "${kills:-0}" -gt 0 ]
}

if ! [ -w "$parent" ] || ! mkdir "$parent/tidepool-sample-$$" 2>/dev/null; then
    skip kill "no memory cgroup (v1) that we may make children of"
    finish kill
fi
rmdir "$parent/tidepool-sample-$$"

for kind in '1 100' '1 10000' '1 300000' '1 3000000' '4 100' '4 40000' '8 1500000'; do
    named=0 why=
    for run in $(seq "$runs"); do
        dir=$(mktemp -d -p "$tmp")
        if ! killed "$dir" $kind; then
            why="run $run: not killed by the kernel"
        elif profile=$(newest "$dir"); [ -z "$profile" ]; then
            why="run $run: no whole profile"
        elif first=$(flat "$V/culprit" "$profile" | head -n 1); [ "${first%% *}" != leak_here ]; then
            why="run $run: it names $first"
        else
            named=$((named + 1))
        fi
        rm -rf "$dir"
    done
    name="killed at $limit_mib MiB with $kind (threads, bytes): culprit named in $named of $runs"
    if [ $named = "$runs" ]; then pass "$name"; else fail "$name" "$why"; fi
done
finish kill
