# common - what the families share. PRELOAD is the library, or empty; TREE is the source tree.

# Ends the program's turn as skipped when a command is missing.
need() {
    for c in "$@"; do command -v "$c" >/dev/null || { echo "$c" >&3; exit 77; }; done
}

# The command on trial.
under() { env LD_PRELOAD="$PRELOAD" "$@"; }

# The same in the background, as $server; it is ended when the turn ends, however that comes about.
serve() {
    env LD_PRELOAD="$PRELOAD" "$@" &
    server=$!
    trap 'kill $server 2>/dev/null && wait $server || true' EXIT
}

# Comparing two runs without the library would pass for nothing.
loaded() {
    [ -z "$PRELOAD" ] || grep -qF "$(basename "$PRELOAD")" "/proc/$1/maps" || { echo "process $1 runs without the library" >&2; return 1; }
}

# Tries a command until it succeeds, for up to 30 s.
await() {
    for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done
    echo "waited in vain for: $*" >&2
    return 1
}

stop() { kill "$server"; wait "$server" || true; trap - EXIT; }

# A port that is free now.
port() { perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport'; }

digest() { sha256sum | cut -c 1-64; }
