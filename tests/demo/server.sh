# server - one redis-server in a cgroup, under an allocator of choice, and what it says. Sourced;
# needs cgroup.sh, $B (the build) and $work (a folder).

port='' server_status=''

# Debian keeps the server's program in redis-tools, under the name of a tool; the package redis-server
# adds a service and this name. The program behaves as the name that it is called by.
server_find() {
    local program
    program=$(command -v redis-server || command -v redis-check-rdb) || return 1
    command -v redis-benchmark >/dev/null || return 1
    ln -sfn "$program" "$work/redis-server"
}

server_ask() { timeout 10 redis-cli -h 127.0.0.1 -p "$port" "$@" 2>/dev/null; }
server_info() { server_ask info "$1" | tr -d '\r' | sed -n "s/^$2://p"; }
server_alive() { [ -n "$cg_pid" ] && kill -0 "$cg_pid" 2>/dev/null; }

# A line of /proc/PID/status, in MiB.
server_mib() { awk -v f="$1:" '$1 == f { print int($2 / 1024) }' "/proc/$cg_pid/status"; }

# server_start ALLOCATOR LIMIT_BYTES LOG
server_start() {
    local preload='' try waited
    case $1 in
        glibc) preload=libc.so.6 ;;
        tidepool) preload=$B/libtidepool.so ;;
    esac
    for try in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 12000))
        cgroup_start "$2" env LD_PRELOAD="$preload" TIDEPOOL_STATS=exit "$work/redis-server" \
            --bind 127.0.0.1 --port $port --save '' --appendonly no --dir "$work" \
            >"$3" 2>&1 || return 1
        for ((waited = 0; waited < 100; waited++)); do
            server_alive || break
            if [ "$(server_info server process_id)" = "$cg_pid" ]; then
                cgroup_started
                return 0
            fi
            sleep 0.05
        done
        # Somebody has the port, or the server does not come up at all.
        server_kill
        cgroup_stop
    done
    return 1
}

server_kill() {
    kill -9 "$cg_pid"
    wait "$cg_pid"
} 2>/dev/null

# Asks it to end; its exit status is in server_status afterwards, 137 if it had to be killed. bash
# reports a killed job on stderr, where the table tells the same.
server_stop() {
    local waited
    if server_alive; then server_ask shutdown nosave; fi
    for ((waited = 0; waited < 100; waited++)); do
        server_alive || break
        sleep 0.05
    done
    kill -9 "$cg_pid"
    wait "$cg_pid"
    server_status=$?
} 2>/dev/null

# Does it allocate from what its row says? jemalloc's own statistics tell, and the maps.
server_uses() {
    local used own
    used=$(server_info memory used_memory) own=$(server_info memory allocator_allocated)
    case $1 in
        glibc) [ "$own" -lt $((used / 4)) ] ;;
        jemalloc) [ "$own" -gt $((used / 2)) ] && ! grep -q libtidepool "/proc/$cg_pid/maps" ;;
        tidepool) [ "$own" -gt $((used / 2)) ] && grep -q libtidepool "/proc/$cg_pid/maps" ;;
    esac
}

# server_benchmark ARGS...: lines `TEST requests/s p99_ms`. Fails when the server went away.
server_benchmark() {
    timeout 40 redis-benchmark -h 127.0.0.1 -p "$port" --csv "$@" 2>>"$work/benchmark.err" |
        awk -F'"' '/"rps"/ { next } NF > 14 { print $2, $4, $14; n++ } END { exit !n }'
    [ "${PIPESTATUS[*]}" = '0 0' ]
}
