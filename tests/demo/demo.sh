#!/bin/bash
# demo - redis-server under glibc's allocator, jemalloc and tidepool, driven by redis-benchmark.
#
# Each run starts a server of its own in a memory cgroup of its own, all with the same limit: 64 KiB
# values are set and read, then keys are set at random to 3 KiB ones, the old 64 KiB ones among them.
# Live data is largest after the first part and shrinks from there, so an allocator that grows
# further keeps what is not live. Runs are interleaved, the table shows medians. Fails when anything
# did not run.
#
# The server is Debian's, linked with libjemalloc.so.2: `jemalloc` is the server as it is. For
# `glibc`, libc itself is preloaded, so that its malloc family stands before jemalloc's. Each
# server is asked which allocator really serves it.
#
# DEMO_LIMIT_MIB and DEMO_RUNS change the limit and the number of rounds. 96 MiB holds the 66 MiB of
# live data in any of the three; at 74 Debian's jemalloc is killed.
set -u
cd "$(dirname "$0")/../.." || exit 1
export LC_ALL=C
B=${B:-$PWD/build/release}
work=${BUILD:-$B}/demo
. tests/demo/cgroup.sh
. tests/demo/server.sh

runs=${DEMO_RUNS:-3}
limit_mib=${DEMO_LIMIT_MIB:-96}
clients=20
big_bytes=65536 big_keys=1000 big_requests=25000
small_bytes=3072 small_keys=6000 small_requests=130000
# No new round is started after this, so that all ends within 90 s on a slow machine too.
budget_s=60
allocators=(glibc jemalloc tidepool)
problems=0

say() { printf '%s\n' "$*" >&2; }
problem() {
    say "demo: PROBLEM: $*"
    problems=$((problems + 1))
}

cleanup() {
    if [ -n "$cg_pid" ]; then
        server_kill
        cgroup_stop
    fi
    cgroup_done
}

# The two parts of a run; adds to $row, which run_one keeps, and names in $phase what is under way.
load() {
    local name rps p99
    phase='64 KiB'
    server_benchmark -c $clients -t set,get -d $big_bytes -r $big_keys -n "$big_requests" \
        >"$work/bench" || return
    while read -r name rps p99; do row+=" $name=$rps $name.p99=$p99"; done <"$work/bench"
    row+=" big=$(server_mib VmRSS)"
    server_uses "$1" || problem "$1: this server is not served by $1"

    phase='3 KiB'
    server_benchmark -c $clients -t set -d $small_bytes -r $small_keys -n $small_requests \
        >"$work/bench" || return
    row+=" small=$(server_mib VmRSS) live=$(($(server_info memory used_memory) >> 20))"
    local usage
    usage=$(cgroup_usage) && row+=" usage=$((usage >> 20))"
    row+=" peak=$(server_mib VmHWM)"
    phase=done
}

# run_one ALLOCATOR N: appends a line of `key=value` to $work/rows.
run_one() {
    local log=$work/$1.$2.log row="allocator=$1" phase kills
    if ! server_start "$1" $((limit_mib << 20)) "$log"; then
        problem "$1: the server did not start; see $log"
        return
    fi
    load "$1"
    kills=$(cgroup_oom_kills)
    server_stop
    cgroup_stop
    if [ "${kills:-0}" -gt 0 ] || [ "$phase$server_status" = '3 KiB137' ] ||
        [ "$phase$server_status" = '64 KiB137' ]; then
        row+=" oom=1"
        phase="OOM-killed in the $phase part"
        [ "$1" != tidepool ] || problem "tidepool: $phase"
    elif [ "$phase" != 'done' ] || [ "$server_status" != 0 ]; then
        problem "$1: $phase, the server ended with status $server_status; see $log"
    fi
    echo "$row" >>"$work/rows"
    say "$(printf '  %3d s  run %d of %d  %-8s  %s' $SECONDS "$2" "$runs" "$1" "$phase")"
}

# The medians of $work/rows.
table() {
    awk -v names="${allocators[*]}" '
        {
            split($1, a, "="); runs[a[2]]++
            for (i = 2; i <= NF; i++) {
                split($i, kv, "=")
                values[a[2], kv[1]] = values[a[2], kv[1]] " " kv[2]
            }
        }
        function median(who, key,   v, n, i, j, t) {
            n = split(values[who, key], v, " ")
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && v[j - 1] + 0 > v[j] + 0; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
            return n ? v[int((n + 1) / 2)] : "-"
        }
        function whole(x) { return x == "-" ? x : sprintf("%.0f", x) }
        function killed(who,   v) { return split(values[who, "oom"], v, " ") }
        END {
            line = "%-9s %9s %9s %9s %9s %9s %9s %9s %9s  %s\n"
            printf line, "", "SET", "GET", "SET p99", "GET p99", "peak", "RSS at", "RSS at", "cgroup", ""
            printf line, "", "64 KiB/s", "64 KiB/s", "ms", "ms", "RSS MiB", "64 KiB", "3 KiB", "at 3 KiB", "OOM-killed"
            split(names, order, " ")
            for (i = 1; i in order; i++) {
                w = order[i]
                if (!runs[w]) { printf "%-9s did not run\n", w; continue }
                printf line, w, whole(median(w, "SET")), whole(median(w, "GET")), \
                    median(w, "SET.p99"), median(w, "GET.p99"), median(w, "peak"), median(w, "big"), \
                    median(w, "small"), median(w, "usage"), \
                    killed(w) ? killed(w) " of " runs[w] : "no"
                if (live == "" || live == "-") live = median(w, "live")
            }
            printf "live at the end, as redis counts it: %s MiB\n", live
        }' "$work/rows"
}

# What tidepool wrote at the end of its last run that had an end.
reuse() {
    local log
    log=$(grep -ls '^tidepool: bucket' "$work"/tidepool.*.log | tail -n 1)
    if [ -z "$log" ]; then
        [ ! -e "$work/tidepool.1.log" ] || problem 'tidepool: no numbers on its buckets'
        return
    fi
    echo
    printf '%-9s %9s %9s %9s\n' tidepool reuse blocks blocks bucket ratio created reused
    awk '/^tidepool: bucket/ {
        for (i = 4; i < NF; i += 2) v[$i] = $(i + 1)
        if (v["created"] + v["reused"] > 0)
            printf "%-9s %9s %9d %9d\n", substr($3, 1, length($3) - 1), v["reuse_ratio"], \
                v["created"], v["reused"]
    }' "$log"
}

rm -rf "$work" && mkdir -p "$work" || exit 1
server_find || { say 'SKIPPED demo: no redis here: apt-get install redis-tools'; exit 0; }
trap cleanup EXIT
trap 'exit 130' INT TERM
: >"$work/rows"
cgroup_find
case $cg_kind in
    none)
        say "demo: NO MEMORY LIMIT: $cg_why"
        where='no memory limit'
        ;;
    *) where="a cgroup ($cg_kind) of $limit_mib MiB" ;;
esac
if [ ! -e "$B/libtidepool.so" ]; then
    problem "tidepool: $B/libtidepool.so is not there"
    allocators=(glibc jemalloc)
fi

say "redis-server $("$work/redis-server" --version | sed 's/.* v=\([^ ]*\).*/\1/') in $where, 64 KiB values, then 3 KiB ones"
for ((n = 1; n <= runs; n++)); do
    if [ $SECONDS -gt $budget_s ]; then
        say "demo: slow machine: $((n - 1)) rounds instead of $runs"
        break
    fi
    for allocator in "${allocators[@]}"; do run_one "$allocator" $n; done
done

allocators=(glibc jemalloc tidepool)
echo
table
reuse
echo "$(nproc) processors, Linux $(uname -r), $where, medians of $((n - 1)) runs"
[ $problems = 0 ] || say "demo: $problems problem(s), see above"
[ $problems = 0 ]
