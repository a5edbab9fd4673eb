# limits.sh [LIVE [STEP [ALLOCATOR...]]] - the survival bench's patterns under cgroup v2, run as root inside the VM by
# busybox sh: the smallest memory.max that each survives three times, as a ratio to the MiB that are live.
#
# Limits are found to STEP MiB. The limit counts all that the programs have, so LIVE is to be much more than that.

root=/sys/fs/cgroup
live=${1:-200} step=${2:-2}
shift 2 2>/dev/null || shift $#

say() { echo "| $*"; }

# lives MIB COMMAND... is true where nothing was killed and the load ended well.
lives() {
    local dir=$root/limits status kills
    mkdir $dir
    echo 0 >$dir/memory.swap.max
    echo ${1}M >$dir/memory.max
    shift
    sh -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' $dir env $preload timeout -s KILL 300 "$@" >/dev/null 2>&1
    status=$?
    while grep -q . $dir/cgroup.procs; do sleep 0.1; done
    kills=$(sed -n 's/^oom_kill //p' $dir/memory.events)
    rmdir $dir
    [ $status -eq 0 ] && [ "$kills" -eq 0 ]
}

# smallest COMMAND...: the limit in MiB, or nothing where twice what is live is too little. Single runs halve the range,
# and what they find has to do three times.
smallest() {
    local low=$live high=$((live + live / 3)) middle
    lives $high "$@" || { low=$high high=$((2 * live)); }
    while [ $((high - low)) -gt $step ]; do
        middle=$(((low + high) / 2))
        if lives $middle "$@"; then high=$middle; else low=$middle; fi
    done
    while [ $high -le $((2 * live)) ]; do
        if lives $high "$@" && lives $high "$@" && lives $high "$@"; then
            echo $high
            return
        fi
        high=$((high + step))
    done
}

echo madvise >/sys/kernel/mm/transparent_hugepage/enabled
say "Linux $(uname -r), $live MiB live, limits to $step MiB"
for pattern in "shift $live narrow" "idle $live 64" "handover $live" "family $live 4" "random $live pooled 4" \
    "drift $live 4" "workers $live churn 4" "workers $live drop 4" "workers $live save"; do
    line=$(printf '%-24s' "$pattern")
    for allocator in ${*:-tidepool glibc}; do
        case $allocator in
            glibc) preload= ;;
            tidepool) preload=LD_PRELOAD=/t/libtidepool.so ;;
            *) say "unknown allocator: $allocator (there are: tidepool glibc)"; exit 2 ;;
        esac
        mib=$(smallest /t/$pattern)
        ratio=${mib:+$((mib * 1000 / live))}
        line="$line$(printf '  %s %s' $allocator "${mib:-none}${ratio:+ ($(echo $ratio | sed 's/...$/.&/'))}")"
    done
    say "$line"
done
