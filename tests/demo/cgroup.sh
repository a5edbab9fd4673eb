# cgroup - a memory cgroup of our own for one program, with whatever this machine has. Sourced.
#
# cgroup_find decides once how, in cg_kind:
#   v1, v2    a child of the cgroup that we are in
#   systemd   a transient scope: on cgroup v2 only the root may have both processes and children
#   none      not permitted; cg_why says why
# After cgroup_start the folder is in cg_dir and the process in cg_pid; cgroup_stop removes what we
# made. No cgroup but these is ever written to.

cg_kind=none cg_why= cg_parent= cg_dir= cg_pid= cg_enabled=

# cgroup_own TYPE CONTROLLER: the folder of the cgroup that we are in, or nothing. A mount may show
# a part of the hierarchy only (mountinfo's root field); a folder that does not list us is not ours.
cgroup_own() {
    local root mount path dir
    path=$(awk -F: -v c="$2" '(c == "" && $1 == 0) || index("," $2 ",", "," c ",") && c != "" {
        sub(/^[^:]*:[^:]*:/, ""); print; exit }' /proc/self/cgroup)
    [ -n "$path" ] || return 1
    while read -r root mount; do
        dir=$mount${path#"${root%/}"}
        if grep -qsx $$ "${dir%/}/cgroup.procs"; then
            echo "${dir%/}"
            return 0
        fi
    done < <(awk -v t="$1" -v c="$2" '{
        for (i = 7; $i != "-"; i++) ;
        if ($(i + 1) == t && (c == "" || index("," $(i + 3) ",", "," c ","))) print $4, $5 }' \
        /proc/self/mountinfo)
    return 1
}

cgroup_find() {
    local child
    cg_kind=none
    if cg_parent=$(cgroup_own cgroup memory); then
        child=$cg_parent/tidepool-try.$$
        if mkdir "$child" 2>/dev/null; then
            rmdir "$child"
            cg_kind=v1
            return
        fi
        cg_why="may not make a cgroup below $cg_parent"
        return
    fi
    if ! cg_parent=$(cgroup_own cgroup2 ''); then
        cg_why='no cgroup file system that shows our own cgroup'
        return
    fi
    if ! grep -qsw memory "$cg_parent/cgroup.controllers"; then
        cg_why="no memory controller in $cg_parent"
        return
    fi
    if ! grep -qw memory "$cg_parent/cgroup.subtree_control" &&
        { echo +memory >"$cg_parent/cgroup.subtree_control"; } 2>/dev/null; then
        cg_enabled=1
    fi
    child=$cg_parent/tidepool-try.$$
    if mkdir "$child" 2>/dev/null; then
        [ ! -e "$child/memory.max" ] || cg_kind=v2
        rmdir "$child"
    fi
    if [ $cg_kind = none ] && cgroup_scope 64M true 2>/dev/null; then
        cg_kind=systemd
    fi
    [ $cg_kind != none ] || cg_why="may not limit memory below $cg_parent, nor ask systemd to"
}

# Becomes the command, in a scope of systemd's.
cgroup_scope() {
    local limit=$1 user=--user
    shift
    [ "$(id -u)" != 0 ] || user=
    [ -d /run/systemd/system ] || return 1
    systemd-run $user --scope --quiet --collect -p MemoryMax="$limit" -p MemorySwapMax=0 -- "$@"
}

# cgroup_start BYTES COMMAND... in the background; its output goes where ours goes.
cgroup_start() {
    local limit=$1
    shift
    cg_dir=
    case $cg_kind in
        v1 | v2)
            cg_dir=$cg_parent/tidepool-demo.$$
            mkdir "$cg_dir" || return 1
            if [ $cg_kind = v1 ]; then
                echo "$limit" >"$cg_dir/memory.limit_in_bytes" || return 1
                echo 0 >"$cg_dir/memory.swappiness" || return 1
            else
                echo "$limit" >"$cg_dir/memory.max" || return 1
                [ ! -e "$cg_dir/memory.swap.max" ] || echo 0 >"$cg_dir/memory.swap.max" || return 1
            fi
            bash -c 'echo $$ >"$1/cgroup.procs" || exit 99; shift; exec "$@"' enter "$cg_dir" "$@" &
            ;;
        systemd)
            cgroup_scope "$limit" "$@" &
            ;;
        none)
            "$@" &
            ;;
    esac
    cg_pid=$!
}

# Once the program runs: a scope's folder is known from then on only.
cgroup_started() {
    [ $cg_kind = systemd ] || return 0
    cg_dir=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$cg_pid/cgroup")
}

# Bytes charged, without the file pages that the kernel may drop at once.
cgroup_usage() {
    local usage=memory.current stat=inactive_file
    [ $cg_kind != v1 ] || usage=memory.usage_in_bytes stat=total_inactive_file
    [ -n "$cg_dir" ] && [ -r "$cg_dir/$usage" ] || return 1
    awk -v stat=$stat 'NR == FNR { u = $1; next } $1 == stat { u -= $2 } END { print u }' \
        "$cg_dir/$usage" "$cg_dir/memory.stat"
}

cgroup_oom_kills() {
    local file=memory.events
    [ $cg_kind != v1 ] || file=memory.oom_control
    [ -n "$cg_dir" ] && awk '$1 == "oom_kill" { print $2 }' "$cg_dir/$file" 2>/dev/null
}

# The program has ended; a cgroup may stay busy for a moment after that.
cgroup_stop() {
    local try
    case $cg_kind in
        v1 | v2)
            for try in 1 2 3 4 5 6 7 8 9 10; do
                [ -d "$cg_dir" ] || break
                rmdir "$cg_dir" 2>/dev/null || sleep 0.1
            done
            ;;
    esac
    cg_dir='' cg_pid=''
}

cgroup_done() {
    [ -z "$cg_enabled" ] || echo -memory >"$cg_parent/cgroup.subtree_control" 2>/dev/null || true
}
