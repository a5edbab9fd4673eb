# shellcheck shell=sh
# memcg.sh - memory cgroups (v1) of a test's own, below that of who runs it. For `.`; bash or sh.
#
# $cg is the one that memcg_new made last. Call memcg_leave when it is done, and in a trap on EXIT.
cg=''
memcg_parent=''

# Can we make any? False where there is no such controller, or no right to.
memcg_find() {
    memcg_parent=$(awk -F: '$2 == "memory" { print $3 }' /proc/self/cgroup)
    [ -n "$memcg_parent" ] || return 1
    memcg_parent=/sys/fs/cgroup/memory$memcg_parent
    mkdir "$memcg_parent/tidepool-try-$$" 2>/dev/null && rmdir "$memcg_parent/tidepool-try-$$"
}

# memcg_new NAME MIB: with this limit.
memcg_new() {
    cg=$(mktemp -d "$memcg_parent/tidepool-$1-$$-XXXXXX") && echo $(($2 << 20)) >"$cg/memory.limit_in_bytes"
}

# How many the kernel killed in it.
memcg_kills() { awk '$1 == "oom_kill" { print $2 }' "$cg/memory.oom_control"; }

# Whatever is still inside is the test's.
memcg_leave() {
    [ -n "$cg" ] && [ -d "$cg" ] || return 0
    # shellcheck disable=SC2034 # counts
    for memcg_try in $(seq 50); do
        for memcg_pid in $(cat "$cg/cgroup.procs"); do kill -9 "$memcg_pid" 2>/dev/null; done
        rmdir "$cg" 2>/dev/null && break
        sleep 0.1
    done
    cg=''
}
