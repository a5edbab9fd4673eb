# guest.sh [CASE...] - what tidepool does under cgroup v2, run as root inside the VM by busybox sh.
#
# Every case has its control: the same load without the library is killed, or held up, or keeps
# what it freed; where it is not, the case proves nothing and fails. Waits are bounded by what would
# have to happen for ever, not by how fast it should be.

root=/sys/fs/cgroup
passed=0 failed=0

say() { echo "| $*"; }
pass() { passed=$((passed + 1)); say "ok      $1"; }
fail() { failed=$((failed + 1)); say "FAILED  $1: $2"; [ -s /tmp/err ] && sed 's/^/|     /' /tmp/err; }

# make NAME FILE=VALUE...
make() {
    dir=$root/$1
    mkdir "$dir"
    echo 0 >"$dir/memory.swap.max"
    shift
    for setting; do echo "${setting#*=}" >"$dir/${setting%%=*}"; done
}

# Ends what is inside and takes the cgroup away.
drop() {
    echo 1 >"$1/cgroup.kill"
    until rmdir "$1" 2>/dev/null; do sleep 0.1; done
}

# inside DIR HOW CMD...; HOW is "without" or TIDEPOOL_ settings, `-` for none.
inside() {
    local into=$1 settings
    settings=$(preload "$2")
    shift 2
    sh -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "$into" env $settings "$@"
}

preload() {
    case $1 in
        without) ;;
        -) echo LD_PRELOAD=/t/libtidepool.so ;;
        *) echo LD_PRELOAD=/t/libtidepool.so "$1" ;;
    esac
}

event() { sed -n "s/^$2 //p" "$1/memory.events"; }

# Sixteen threads freed 48 MiB and sleep; then 48 MiB of larger blocks grow.
load='/t/growth 48 large 48 4000 buffers'

# survives NAME DIR_FOR_LIMIT DIR_FOR_PROGRAM: 80 MiB are enough for what is live, not for what was freed.
survives() {
    inside "$3" without $load >/tmp/err 2>&1
    kills=$(event "$2" oom_kill)
    if [ "$kills" -eq 0 ]; then fail "$1" 'no proof: not killed without tidepool'; return; fi
    inside "$3" - $load >/tmp/err 2>&1
    status=$?
    now=$(event "$2" oom_kill)
    if [ $status -eq 0 ] && [ "$now" -eq "$kills" ]; then pass "$1"; else fail "$1" "status $status, kills $now"; fi
}

test_max() {
    make max memory.max=80M
    survives 'memory.max: killed without, finished with' $dir $dir
    drop $dir
}

test_ancestor() {
    make above memory.max=80M cgroup.subtree_control=+memory
    top=$dir
    make above/below memory.max=500M
    survives 'an ancestor binds: killed without, finished with' $top $top/below
    drop $top/below
    drop $top
}

# Above memory.high nobody is killed: whoever allocates is put to sleep, longer and longer.
test_high() {
    name='memory.high is a limit: held up without, finished with'
    make high memory.high=80M memory.max=400M
    inside $dir without timeout -s KILL 12 $load >/tmp/err 2>&1
    without=$?
    drop $dir
    make high memory.high=80M memory.max=400M
    inside $dir - timeout -s KILL 60 $load >/tmp/err 2>&1
    with=$?
    if [ $without -eq 0 ]; then fail "$name" 'no proof: finished without tidepool'
    elif [ $with -eq 0 ] && grep -q 'of 80 MiB' /tmp/err; then pass "$name"
    else fail "$name" "status $with"; fi
    drop $dir
}

# wait_until SECONDS CMD...
wait_until() {
    tries=$(($1 * 5))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.2
    done
}

below() { [ "$(cat "$1/memory.current")" -lt $(($2 << 20)) ]; }
above() { ! below "$1" "$2"; }

# start_idle HOW: a process in $dir that freed 64 MiB in sixteen threads and sleeps.
start_idle() {
    inside $dir "$1" /t/giveback 64 buffers 16 300 >/tmp/err 2>&1 &
    wait_until 30 above $dir 64
    # Filled; freed a moment later.
    sleep 1
}

# The limit is lowered by memory.high first, as agents do: memory.max would kill at once.
test_lowered() {
    name='limit lowered while idle: kept without, given back with'
    for how in without -; do
        make lowered memory.max=400M
        start_idle $how
        echo 40M >$dir/memory.high
        wait_until 12 below $dir 40
        eval "ended_$([ $how = - ] && echo with || echo without)=$?"
        drop $dir
    done
    if [ $ended_without -eq 0 ]; then fail "$name" 'no proof: glibc gave back as well'
    elif [ $ended_with -ne 0 ]; then fail "$name" 'still above 40 MiB'
    else pass "$name"; fi
}

# The timer is an hour away and the limit does not change, so only what the kernel says can wake the idle
# process: its neighbour, without tidepool, is held up above memory.high until it gives back.
test_woken() {
    name='a neighbour short of memory wakes an idle process (memory.events, PSI)'
    for how in without TIDEPOOL_INTERVAL=60m; do
        make woken memory.high=96M memory.max=400M
        start_idle $how
        pid=$(head -n 1 $dir/cgroup.procs)
        inside $dir without timeout -s KILL 15 /t/shift 64 narrow >/tmp/neighbour 2>&1
        eval "status_$([ $how = without ] && echo without || echo with)=$?"
        ls -l /proc/$pid/task/*/fd >/tmp/fds
        drop $dir
    done
    if [ $status_without -eq 0 ]; then fail "$name" 'no proof: the neighbour was not held up'
    elif [ $status_with -eq 0 ]; then pass "$name"
    else cat /tmp/fds >>/tmp/err; fail "$name" "the neighbour ended with $status_with"; fi
}

# With swap the kernel can push free memory out instead of killing; tidepool should leave it nothing to push.
test_swap() {
    name='zram swap: what is free is not swapped out'
    echo 128M >/sys/block/zram0/disksize
    mkswap /dev/zram0 >/dev/null && swapon /dev/zram0 || { fail "$name" 'no zram swap'; return; }
    for how in without -; do
        make swap memory.max=80M memory.swap.max=128M
        before=$(sed -n 's/^pswpout //p' /proc/vmstat)
        inside $dir $how $load >/tmp/err 2>&1
        status=$?
        after=$(sed -n 's/^pswpout //p' /proc/vmstat)
        eval "pages_$([ $how = - ] && echo with || echo without)=$((after - before))"
        drop $dir
    done
    swapoff /dev/zram0
    say "        swapped out: $((pages_without / 256)) MiB without, $((pages_with / 256)) MiB with"
    if [ $((pages_without / 256)) -lt 8 ]; then fail "$name" 'no proof: nothing swapped without tidepool'
    elif [ $status -eq 0 ] && [ $((pages_with * 2)) -lt $pages_without ]; then pass "$name"
    else fail "$name" "status $status"; fi
}

# malloc says no before the kernel kills, whether blocks are written at once or after the last no.
test_enomem() {
    for blocks in '1 1024 16384 late' '4 1024 1048576 now' '8 1048576 16777216 now'; do
        make enomem memory.max=100M
        inside $dir TIDEPOOL_ON_LIMIT=enomem:1K timeout -s KILL 60 /t/refused $blocks 2 >/tmp/err 2>&1
        status=$?
        used=$(($(event $dir oom_kill)))
        if [ $status -ne 0 ] || [ $used -ne 0 ]; then fail "enomem: $blocks" "status $status, $used killed"
        else pass "enomem: $blocks"; fi
        drop $dir
    done
}

# 64 MiB were freed under a limit of 500 MiB; from then on there are 100.
test_regrouped() {
    for way in moved falls; do
        name="a new limit is heeded at once ($way)"
        make wide memory.max=500M
        file=$dir/memory.max text=100M
        if [ $way = moved ]; then
            wide=$dir
            make narrow memory.max=100M
            file=$dir/cgroup.procs text=0 dir=$wide
        fi
        inside $dir - timeout -s KILL 60 /t/regroup 64 $file $text >/tmp/err 2>&1
        status=$?
        if [ $status -eq 0 ]; then pass "$name"; else fail "$name" "status $status"; fi
        drop $root/wide
        [ $way = falls ] || drop $root/narrow
    done
}

# This kernel, 6.1, moves the pages of one mapping at a time. 20 to 60 MiB move where the first source of two
# mappings ends all moves.
test_moves() {
    name='free pages move on a kernel before Linux 6.17, and no byte is lost'
    make moves memory.max=125M
    inside $dir TIDEPOOL_STATS=exit /t/moves 100 1 1 >/tmp/err 2>&1
    status=$?
    moved=$(sed -n 's/.*pages: .* moved_bytes //p' /tmp/err)
    kills=$(event $dir oom_kill)
    drop $dir
    say "        moved: $((${moved:-0} >> 20)) MiB"
    if [ $status -ne 0 ] || [ "$kills" -ne 0 ]; then fail "$name" "status $status, kills $kills"
    elif [ "${moved:-0}" -lt $((100 << 20)) ]; then fail "$name" 'less than 100 MiB moved'
    else pass "$name"; fi
}

# THP is `always` in Debian's kernel: a page of a block may bring 2 MiB. The cases of the limit are about
# tidepool's caches, so they run without; the last one is about huge pages.
thp() { echo $1 >/sys/kernel/mm/transparent_hugepage/enabled; }

test_thp() {
    thp always
    make thp memory.max=80M
    survives 'transparent huge pages: killed without, finished with' $dir $dir
    drop $dir
    thp madvise
}

thp madvise
for case in ${*:-max ancestor high lowered woken swap enomem regrouped moves thp}; do
    test_$case
done
say "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
