# lib - what the parts of make test-sample share: counting, and reading profiles. Sourced.
B=$(realpath "${B:-build/release}")
LIB=$B/libtidepool.so
V=$B/tests/sample
tmp=$(mktemp -d) || exit 1
passed=0 failed=0 skipped=0

pass() { passed=$((passed + 1)); echo "ok      $1"; }
fail() { failed=$((failed + 1)); echo "FAILED  $1: $2"; }
skip() { skipped=$((skipped + 1)); echo "SKIPPED $1: $2"; }

finish() {
    echo "$1: $passed passed, $failed failed, $skipped skipped"
    [ $failed = 0 ] && [ $((passed + skipped)) -gt 0 ]
    exit
}

# The newest profile of a folder, whole; empty where there is none.
newest() {
    local file
    file=$(ls -t "$1"/*.heap 2>/dev/null | head -n 1)
    [ -z "$file" ] || ! grep -q '^MAPPED_LIBRARIES:' "$file" || echo "$file"
}

# Was libunwind there when the profile was written? It says nothing of who walked before.
has_libunwind() { # PROFILE
    sed -n '/^MAPPED_LIBRARIES:/,$p' "$1" | grep -q '/libunwind\.so'
}

# sampled INTERVAL CMD...: runs it with a profile at exit in a fresh $dir.
sampled() {
    local interval=$1
    shift
    dir=$(mktemp -d -p "$tmp")
    timeout 120 env TIDEPOOL_SAMPLE="$interval" TIDEPOOL_SAMPLE_DUMP=exit TIDEPOOL_SAMPLE_DIR="$dir" \
        LD_PRELOAD="$LIB" "$@" >"$tmp/out" 2>"$tmp/err"
}

# function and MiB, by what its own frame holds, largest first
flat() { # PROGRAM PROFILE
    jeprof --text --show_bytes "$1" "$2" 2>/dev/null | awk '/^ *[0-9]+ +[0-9.]+%/ { print $NF, $1 / 1048576 }'
}

# function and MiB, with what it called
total() { # PROGRAM PROFILE
    jeprof --text --cum --show_bytes "$1" "$2" 2>/dev/null |
        awk '/^ *[0-9]+ +[0-9.]+%/ { name = $6; for (i = 7; i <= NF; i++) name = name " " $i; print name "\t" $4 / 1048576 }'
}
