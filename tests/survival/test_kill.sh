#!/bin/bash
# test_kill.sh - real kills in real cgroups (v1): a load that is killed without tidepool ends well with it.
#
# Each case runs the same program twice under the same limit. Without the library it has to be killed
# (memory.oom_control says so), or the case proves nothing and fails; with it, it has to finish. The
# last cases turn this round: what is truly live is killed under tidepool too.
# Needs root, and a v1 memory cgroup we may make children of; else all is skipped, loudly.
set -u
B=${B:-build/release}
lib=$B/libtidepool.so
passed=0 failed=0 skipped=0
cases=28
# shellcheck source=tests/setup/memcg.sh
. "$(dirname "$0")/../setup/memcg.sh"
trap memcg_leave EXIT

pass() { passed=$((passed + 1)); echo "ok      $1"; }
fail() { failed=$((failed + 1)); echo "FAILED  $1: $2"; }

# inside MIB PRELOAD CMD...: sets $status, $kills and $hits, how often the limit was met. No more than 60 s.
inside() {
    local limit=$1 preload=$2
    shift 2
    memcg_new kill "$limit" || return 1
    # The braces take the shell's own word about the kill.
    {
        timeout -s KILL 60 sh -c 'echo $$ >"$0/cgroup.procs" && exec env "$@"' "$cg" \
            ${preload:+LD_PRELOAD="$preload"} "$@" >"$out" 2>&1
        status=$?
    } 2>/dev/null
    kills=$(memcg_kills) hits=$(cat "$cg/memory.failcnt")
    memcg_leave
}

# killed_without NAME MIB CMD...
killed_without() {
    local name=$1 limit=$2
    shift 2
    inside "$limit" '' "$@"
    if [ "$kills" -eq 0 ]; then
        fail "$name" "no proof: not killed without tidepool (status $status)"
        return
    fi
    inside "$limit" "$lib" "$@"
    if [ "$status" -eq 0 ] && [ "$kills" -eq 0 ]; then
        pass "$name: killed without tidepool, finished with it under $limit MiB"
    else
        fail "$name" "with tidepool: status $status, $kills killed"
        tail -n 5 "$out"
    fi
}

# killed_with NAME MIB CMD...: there is nothing to give back, so the kernel must win.
killed_with() {
    local name=$1 limit=$2
    shift 2
    inside "$limit" "$lib" "$@"
    if [ "$kills" -gt 0 ]; then pass "$name"; else fail "$name" "status $status, not killed"; fi
}

# lives_with NAME MIB CMD...: so it does under glibc, which gives large blocks back with each free.
lives_with() {
    local name=$1 limit=$2
    shift 2
    inside "$limit" "$lib" "$@"
    if [ "$status" -eq 0 ] && [ "$kills" -eq 0 ]; then pass "$name"; else fail "$name" "status $status, $kills killed"; fi
}

# never_at_limit NAME MIB CMD...: in one of five runs, where another process has to get its processor in time.
never_at_limit() {
    local name=$1 limit=$2 run
    shift 2
    for run in 1 2 3 4 5; do
        inside "$limit" "$lib" "$@"
        [ "$status" -ne 0 ] || [ "$hits" -ne 0 ] || { pass "$name"; return; }
    done
    fail "$name" "status $status, at the limit $hits times, $run runs"
}

# moves_pages NAME MIB CMD...: lives, says nothing of a byte that changed, and pages did move: 800 to 1700 MiB
# where moves go on, 20 to 60 where the first one that fails ends them.
moves_pages() {
    local name=$1 limit=$2 moved
    shift 2
    inside "$limit" "$lib" env TIDEPOOL_STATS=exit "$@"
    moved=$(sed -n 's/.*pages: .* moved_bytes //p' "$out")
    if [ "$status" -ne 0 ] || [ "$kills" -ne 0 ]; then
        fail "$name" "status $status, $kills killed"
        tail -n 5 "$out"
    elif [ "${moved:-0}" -lt $((400 << 20)) ]; then
        fail "$name" "no proof: ${moved:-no} bytes moved"
    else
        pass "$name"
    fi
}

# glibc keeps the small blocks that idle threads freed: the kernel refuses a limit below them.
lowered_while_idle() {
    local name='limit lowered under an idle process' how preload try
    for how in without with; do
        preload=''
        [ $how = with ] && preload=$lib
        memcg_new kill 400 || return
        : >"$out"
        sh -c 'echo $$ >"$0/cgroup.procs" && exec env "$@"' "$cg" ${preload:+LD_PRELOAD="$preload"} \
            "$B/tests/survival/giveback" 200 small 16 60 >"$out" 2>&1 &
        for try in $(seq 300); do
            grep -q freed "$out" && break
            sleep 0.1
        done
        for try in $(seq 40); do
            echo $((100 << 20)) 2>/dev/null >"$cg/memory.limit_in_bytes" && break
            sleep 0.25
        done
        lowered=$(($(cat "$cg/memory.limit_in_bytes") >> 20))
        memcg_leave
        wait 2>/dev/null
        case $how/$lowered in
            without/400 | with/100) ;;
            without/*) fail "$name" "no proof: glibc gave back as well"; return ;;
            *) fail "$name" "still more than 100 MiB after 10 s"; return ;;
        esac
    done
    pass "$name: refused without tidepool, done with it"
}

# refuses MIB THREADS MIN MAX HOW: malloc says no before the kernel kills, and not before 0.9 of the
# limit are used.
refuses() {
    local limit=$1 name="enomem: $2 threads, $3 to $4 bytes, written $5, $1 MiB" used
    shift
    memcg_new kill "$limit" || return 1
    {
        timeout -s KILL 60 sh -c 'echo $$ >"$0/cgroup.procs" && exec env "$@"' "$cg" TIDEPOOL_ON_LIMIT=enomem:1K \
            LD_PRELOAD="$lib" "$B/tests/survival/refused" "$@" 3 >"$out" 2>&1
        status=$?
    } 2>/dev/null
    used=$(($(cat "$cg/memory.max_usage_in_bytes") * 100 / (limit << 20)))
    memcg_leave
    if [ "$status" -ne 0 ]; then fail "$name" "status $status"; tail -n 5 "$out"
    elif [ "$used" -lt 90 ]; then fail "$name" "only $used % used"
    else pass "$name"; fi
}

# lives_regrouped NAME WAY: 75 MiB are freed under a limit of 1 GiB; then 110 MiB have to do.
lives_regrouped() {
    local name=$1 text=0 file above
    memcg_new kill 1024 || return 1
    above=$cg
    case $2 in
        moved) mkdir "$above/narrow" && echo $((110 << 20)) >"$above/narrow/memory.limit_in_bytes"
            file=$above/narrow/cgroup.procs ;;
        falls) file=$above/memory.limit_in_bytes text=$((110 << 20)) ;;
        above) mkdir "$above/below" && file=$above/memory.limit_in_bytes text=$((110 << 20)) ;;
    esac
    [ "$2" = above ] && cg=$above/below
    {
        timeout -s KILL 60 sh -c 'echo $$ >"$0/cgroup.procs" && exec env "$@"' "$cg" \
            LD_PRELOAD="$lib" "$B/tests/survival/regroup" 75 "$file" "$text" >"$out" 2>&1
        status=$?
    } 2>/dev/null
    cg=$above
    rmdir "$above/narrow" "$above/below" 2>/dev/null
    memcg_leave
    if [ "$status" -eq 0 ]; then pass "$name"; else fail "$name" "status $status"; tail -n 5 "$out"; fi
}

main() {
    out=$(mktemp)
    if ! memcg_find; then
        echo "SKIPPED all of test-pressure: no v1 memory cgroup that we may make children of"
        echo "0 passed, 0 failed, $cases skipped"
        exit 0
    fi
    [ -e "$lib" ] || { echo "$lib is not built" >&2; exit 1; }
    local p=$B/tests/survival
    killed_without 'idle threads' 230 "$p/idle" 200 64
    # Limits at which tidepool lives each time, and glibc never. How near to the live peak it gets is
    # what bench-survival measures.
    killed_without 'processes peaking in turn' 275 "$p/family" 200 4
    killed_without 'random sizes in threads' 250 "$p/random" 200 pooled 10 8
    killed_without 'forked workers that free what they inherited' 225 "$p/workers" 200 drop 4
    killed_without 'a python Pool whose workers peak in turn' 160 python3 "${0%/*}/pool.py" 4 80
    lowered_while_idle
    lives_with 'what a large free left makes room for the program itself' 64 "$p/yields" 1 32 55 self 200
    lives_with 'and in the same moment, in one call' 165 "$p/yields" 100 1 100 populate 0
    lives_with 'and in one call that names pages mapped before' 165 "$p/yields" 100 1 100 advise 0
    lives_with 'and for a neighbour, of one block' 32 "$p/yields" 1 16 26 neighbour 20
    lives_with 'and of many' 128 "$p/yields" 20 3 115 neighbour 300
    never_at_limit 'a thread at the limit waits for a neighbour that is late' 100 "$p/late" 60 60 36 10
    lives_with 'a buffer that grows is never there twice' 130 "$p/buffer" 100 64
    moves_pages 'free pages move, and no byte is lost, in children neither' 250 "$p/moves" 200 8 1
    moves_pages 'and from one kind of request to the next' 250 "$p/turns" 200
    moves_pages 'and with threads' 280 "$p/moves" 200 10 3
    lives_regrouped 'moved to a narrower cgroup, and grows at once' moved
    lives_regrouped 'the limit falls, and the process grows at once' falls
    lives_regrouped "the parent's falls" above
    for how in now late; do
        refuses 60 1 1024 16384 $how
        refuses 200 4 65536 1000000 $how
        refuses 120 32 1024 16777216 $how
        refuses 600 8 1048576 16777216 $how
    done
    killed_with 'live data above the limit' 190 "$p/shift" 200 narrow
    rm -f "$out"
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}
main
