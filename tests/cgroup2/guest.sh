# guest.sh [CASE...] - what tidepool does under cgroup v2, run as root inside the VM by busybox sh.
#
# Every case has its control: the same load without the library is killed, or held up, or keeps
# what it freed; where it is not, the case proves nothing and fails. Nothing waits for a fixed time:
# what happens with the library has FOR_EVER to happen, and a control that should not end has three
# times as long as the library took.

root=/sys/fs/cgroup
# Seconds: ten times what the slowest step takes on a quiet machine.
FOR_EVER=150
passed=0 failed=0

say() { echo "| $*"; }
pass() { passed=$((passed + 1)); say "ok      $1$(took)"; }
fail() { failed=$((failed + 1)); say "FAILED  $1: $2$(took)"; [ -s /tmp/err ] && sed 's/^/|     /' /tmp/err; }

# Seconds since the last result.
seconds() { cut -d. -f1 /proc/uptime; }
took() { echo " ($(($(seconds) - since)) s)"; }
# What a control gets, after the library's run that began then.
three_times() { echo $((($(seconds) - $1) * 3 + 6)); }

# make NAME FILE=VALUE...
make() {
    dir=$root/$1
    mkdir "$dir"
    echo 0 >"$dir/memory.swap.max"
    shift
    for setting; do echo "${setting#*=}" >"$dir/${setting%%=*}"; done
}

# Ends what is inside and takes the cgroup away. (cgroup.kill is there from Linux 5.14 on.)
drop() {
    until rmdir "$1" 2>/dev/null; do
        while read -r pid; do kill -KILL "$pid"; done <"$1/cgroup.procs"
        sleep 0.1
    done
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
usual_load='/t/growth 48 large 48 4000 buffers'
load=$usual_load

# survives NAME DIR_FOR_LIMIT DIR_FOR_PROGRAM: 80 MiB are enough for what is live, not for what was freed.
survives() {
    inside "$3" without $load >/tmp/err 2>&1
    # The first of a group is gone before the last is counted.
    while grep -q . "$3/cgroup.procs"; do sleep 0.1; done
    kills=$(event "$2" oom_kill)
    if [ "$kills" -eq 0 ]; then fail "$1" 'no proof: not killed without tidepool'; return; fi
    inside "$3" - $load >/tmp/err 2>&1
    status=$?
    now=$(event "$2" oom_kill)
    if [ $status -eq 0 ] && [ "$now" -eq "$kills" ]; then pass "$1"; else fail "$1" "status $status, kills $kills, then $now"; fi
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

# What the kernel has is what the table in building.md says.
test_features() {
    make features memory.max=80M
    inside $dir without /t/features $dir >/tmp/err 2>&1
    status=$?
    sed 's/^/|         /' /tmp/err
    if [ $status -eq 0 ]; then pass 'what this kernel has'; else fail 'what this kernel has' "status $status"; fi
    drop $dir
}

# Half a processor: the watchdog's thread gets it late, as do the threads that grow.
test_quota() {
    make quota memory.max=80M cpu.max='50000 100000'
    survives 'cpu.max of half a processor: killed without, finished with' $dir $dir
    drop $dir
}

# One kill takes all of them: four processes that peak in turn.
test_group() {
    make group memory.max=84M memory.oom.group=1
    load='/t/family 60 4'
    survives 'memory.oom.group: all killed without, finished with' $dir $dir
    load=$usual_load
    drop $dir
}

# What lies free in one cgroup is missed in the one beside it: the limit is their parent's.
test_siblings() {
    name='a sibling under a tight parent wakes an idle process'
    for how in without -; do
        make above memory.max=96M cgroup.subtree_control=+memory
        top=$dir
        make above/other memory.max=500M
        other=$dir
        make above/idle memory.max=500M
        start_idle $how
        inside $other $how timeout -s KILL $FOR_EVER /t/shift 64 narrow >/tmp/neighbour 2>&1
        status=$?
        kills=$(event $top oom_kill)
        [ $how = - ] || kills_without=$kills
        drop $dir
        drop $other
        drop $top
    done
    if [ "$kills_without" -eq 0 ]; then fail "$name" 'no proof: none was killed without tidepool'
    elif [ $status -eq 0 ] && [ "$kills" -eq 0 ]; then pass "$name"
    else fail "$name" "the neighbour ended with $status, kills $kills"; fi
}

# Above memory.high nothing is killed: what allocates is put to sleep, longer and longer.
test_high() {
    name='memory.high is a limit: held up without, finished with'
    begin=$(seconds)
    make high memory.high=80M memory.max=400M
    inside $dir TIDEPOOL_STATS=exit timeout -s KILL $FOR_EVER $load >/tmp/err 2>&1
    with=$?
    drop $dir
    make high memory.high=80M memory.max=400M
    inside $dir without timeout -s KILL $(three_times $begin) $load >/tmp/control 2>&1
    without=$?
    if [ $without -eq 0 ]; then fail "$name" 'no proof: finished without tidepool'
    elif [ $with -eq 0 ] && grep -q 'limit_bytes 83886080 .* limit memory.high' /tmp/err; then pass "$name"
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

# start_idle HOW: a process in $dir that freed 64 MiB in sixteen threads and sleeps.
start_idle() {
    rm -f /tmp/idle
    inside $dir "$1" /t/giveback 64 buffers 16 3000 >/tmp/idle 2>>/tmp/err &
    wait_until $FOR_EVER grep -qs freed /tmp/idle || say "        the idle process freed nothing in $FOR_EVER s"
}

# The limit is lowered by memory.high first, as agents do: memory.max would kill at once.
test_lowered() {
    name='limit lowered while idle: kept without, given back with'
    for how in - without; do
        make lowered memory.max=400M
        start_idle $how
        [ $how = without ] || begin=$(seconds) patience=$FOR_EVER
        echo 40M >$dir/memory.high
        wait_until $patience below $dir 40
        eval "ended_$([ $how = - ] && echo with || echo without)=$?"
        patience=$(three_times $begin)
        drop $dir
    done
    if [ $ended_without -eq 0 ]; then fail "$name" 'no proof: glibc gave back as well'
    elif [ $ended_with -ne 0 ]; then fail "$name" 'still above 40 MiB'
    else pass "$name"; fi
}

# The neighbour, without tidepool, is held up above memory.high until the idle process gives back. Its clock would
# find that, too: what the kernel says is the next case.
test_woken() {
    name='an idle process gives back to a neighbour that is held up'
    patience=$FOR_EVER
    for how in - without; do
        make woken memory.high=96M memory.max=400M
        start_idle $how
        [ $how = without ] || { pid=$(head -n 1 $dir/cgroup.procs) begin=$(seconds); }
        inside $dir without timeout -s KILL $patience /t/shift 64 narrow >/tmp/neighbour 2>&1
        eval "status_$([ $how = without ] && echo without || echo with)=$?"
        [ $how = without ] || ls -l /proc/$pid/task/*/fd >/tmp/fds
        patience=$(three_times $begin)
        drop $dir
    done
    if [ $status_without -eq 0 ]; then fail "$name" 'no proof: the neighbour was not held up'
    elif [ $status_with -eq 0 ]; then pass "$name"
    else cat /tmp/fds >>/tmp/err; fail "$name" "the neighbour ended with $status_with"; fi
}

# The last evaluation of the process that writes /tmp/err put the next one off for an hour.
rests() { grep -qs freed /tmp/idle && grep 'evaluation by' /tmp/err | tail -n 1 | grep -q 'next in 3600000 ms'; }
evaluations() { grep -c 'evaluation by watchdog' /tmp/err; }
more_than() { [ "$(evaluations)" -gt "$1" ]; }

# hears WHOSE SECONDS [SETTING]: an idle process beside one that is held up above memory.high, of their own
# cgroup or of the one above. Nothing but the kernel tells it so: its clock is an hour away. It has a thread for
# the metrics' sake, and rests from the first evaluation on.
hears() {
    make above cgroup.subtree_control=+memory
    top=$dir
    make above/both
    [ $1 = own ] && echo 96M >$dir/memory.high || echo 96M >$top/memory.high
    rm -f /tmp/idle
    inside $dir "TIDEPOOL_INTERVAL=60m TIDEPOOL_PROM_DIR=/tmp TIDEPOOL_VERBOSE=3 $3" \
        /t/giveback 1 buffers 1 3000 >/tmp/idle 2>/tmp/err &
    wait_until $FOR_EVER rests || say '        the idle process does not rest'
    seen=$(evaluations) begin=$(seconds)
    inside $dir without /t/growth 0 large 120 4000 >/tmp/neighbour 2>&1 &
    wait_until $2 more_than $seen
    heard=$? events=$(event $dir high)
    drop $dir
    drop $top
    return $heard
}

# The limit above is the case of PSI alone: the events of their own cgroup do not count it.
test_told() {
    name='memory.events alone tells an idle process that memory is short'
    if hears own $FOR_EVER MEMORY_PRESSURE_WATCH=/dev/null; then pass "$name"; else fail "$name" 'it did not hear'; fi
    name='PSI alone tells an idle process that memory is short'
    hears above $FOR_EVER
    with=$? events_with=$events patience=$(three_times $begin)
    hears above $patience MEMORY_PRESSURE_WATCH=/dev/null
    without=$?
    if [ $without -eq 0 ]; then fail "$name" 'no proof: it heard without PSI'
    elif [ $events_with -ne 0 ]; then fail "$name" "no proof: $events_with events"
    elif [ $with -eq 0 ]; then pass "$name"
    else fail "$name" 'it did not hear'; fi
}

# The program raises its own limit half way; the control writes the old one. The rest of the way is the same, and
# more than the old limit's 75 %.
test_raised() {
    name='a limit that is raised: no level and no reclaim by the old one'
    for to in 72M 200M; do
        make raised memory.max=72M
        inside $dir 'TIDEPOOL_STATS=exit TIDEPOOL_VERBOSE=3' timeout -s KILL $FOR_EVER \
            /t/regroup 56 $dir/memory.max $to >/tmp/err 2>&1
        status=$?
        high=$(grep -c -e 'evaluation by .*: high' -e 'evaluation by .*: critical' /tmp/err)
        [ $to = 200M ] || high_low=$high
        drop $dir
    done
    say "        evaluations at high or critical: $high_low under the old limit, $high with the new one"
    if [ $high_low -lt 8 ]; then fail "$name" 'no proof: hardly high under the old limit'
    elif [ $status -eq 0 ] && [ $((high * 3)) -lt $high_low ] && grep -q 'limit_bytes 209715200' /tmp/err; then pass "$name"
    else fail "$name" "status $status"; fi
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
    # With a little of it the kernel pushes out until that is full, and kills.
    make full memory.max=80M memory.swap.max=8M
    survives 'memory.swap.max: killed without, finished with' $dir $dir
    drop $dir
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
        inside $dir TIDEPOOL_ON_LIMIT=enomem:1K timeout -s KILL $FOR_EVER /t/refused $blocks 2 >/tmp/err 2>&1
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
        inside $dir - timeout -s KILL $FOR_EVER /t/regroup 64 $file $text >/tmp/err 2>&1
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

# The patterns of the survival bench, each under a limit of its own: live MiB with the bar's share of them, and
# 4 to 6 MiB for the program. Three of the controls have to be killed; what glibc lives through is no proof.
test_patterns() {
    proofs=0
    for line in '68 shift 60 narrow' '68 idle 60 16' '68 handover 60' '74 family 60 4' '80 random 60 pooled 4' \
        '80 drift 60 4' '72 workers 60 drop 4'; do
        limit=${line%% *} pattern=${line#* }
        for how in without -; do
            make pattern memory.max=${limit}M
            start=$(cut -d. -f1 /proc/uptime)
            inside $dir $how timeout -s KILL $FOR_EVER /t/$pattern >/tmp/err 2>&1
            status=$?
            kills=$(event $dir oom_kill)
            drop $dir
            [ $how = - ] || { ended="status $status, $kills killed"; [ "$kills" -eq 0 ] || proofs=$((proofs + 1)); }
        done
        name="$pattern under $limit MiB, $(($(cut -d. -f1 /proc/uptime) - start)) s (glibc: $ended)"
        if [ $status -eq 0 ] && [ "$kills" -eq 0 ]; then pass "$name"; else fail "$name" "status $status, kills $kills"; fi
    done
    [ $proofs -ge 3 ] || fail 'patterns' "no proof: $proofs killed without tidepool"
}

say "Linux $(uname -r)"
thp madvise
since=$(seconds)
for case in ${*:-features max ancestor quota group siblings high lowered woken told raised swap enomem regrouped moves thp}; do
    : >/tmp/err
    test_$case
    since=$(seconds)
done
say "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
