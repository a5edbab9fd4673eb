#!/bin/bash
# programs.sh - interpreters nobody here built, asked while they run: down to the C function that
# holds what the script holds, within 10 %, by tidepool dump and jeprof.
set -u
. "$(dirname "$0")/lib.sh"
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null; rm -rf "$tmp"' EXIT

# asked NAME MIB FUNCTION PROGRAM ARG...: the program prints "ready" when it holds MIB, and sleeps.
asked() {
    local name=$1 want=$2 function=$3 program profile got
    shift 3
    program=$(command -v "$1") || { skip "$name" "$1 is not installed"; return; }
    dir=$(mktemp -d -p "$tmp")
    : >"$tmp/out"
    # 16K: the error by chance of 50 MiB is 1.8 %.
    TIDEPOOL_SAMPLE=16K TIDEPOOL_SAMPLE_DIR=$dir LD_PRELOAD=$LIB "$@" >"$tmp/out" 2>"$tmp/err" &
    pid=$!
    for _ in $(seq 300); do
        grep -q ready "$tmp/out" && break
        sleep 0.1
    done
    # The socket is opened within a second of the first sample.
    for _ in $(seq 50); do
        profile=$("$B/tidepool" dump $pid 2>"$tmp/why") && break
        sleep 0.1
    done
    kill $pid
    wait $pid 2>/dev/null
    pid=
    if [ -z "$profile" ] || [ "$profile" != "$(newest "$dir")" ]; then
        fail "$name" "no profile: $(cat "$tmp/why")"
        return
    fi
    got=$(total "$(readlink -f "$program")" "$profile" | awk -F'\t' -v f="$function" '$1 == f { print $2; exit }')
    if [ -n "$got" ] && awk "BEGIN { exit !($got > 0.9 * $want && $got < 1.1 * $want) }"; then
        pass "$name: $got MiB of $want in $function"
    else
        fail "$name" "${got:-nothing} MiB in $function, not $want"
    fi
}

# What a program writes is what it wrote, whoever walks its stacks by then.
for walker in builtin fp libunwind; do
    TIDEPOOL_SAMPLE=4K TIDEPOOL_SAMPLE_UNWIND=$walker TIDEPOOL_SAMPLE_DIR=$tmp LD_PRELOAD=$LIB /usr/bin/python3 -c "
import os, time
for _ in range(8):
    keep = [bytearray(3000) for _ in range(2000)]
    time.sleep(0.1)
os.write(1, b'hello\n')" >"$tmp/out" 2>"$tmp/err"
    if [ "$(od -An -tx1 "$tmp/out")" = ' 68 65 6c 6c 6f 0a' ] && [ ! -s "$tmp/err" ]; then pass "own output, $walker"
    else fail "own output, $walker" "$(od -c "$tmp/out" | head -n 2) $(head -n 2 "$tmp/err")"; fi
done

if ! command -v jeprof >/dev/null; then
    skip programs "jeprof is not installed"
    finish programs
fi
asked python3 95.4 PyByteArray_Resize /usr/bin/python3 -c "
import time
keep = [bytearray(200_000) for _ in range(500)]
print('ready', flush=True)
time.sleep(60)"
asked 'python3, small objects' 57.2 PyList_AsTuple /usr/bin/python3 -c "
import time
keep = [tuple([i] * 120) for i in range(60_000)]
print('ready', flush=True)
time.sleep(60)"
asked node 95.4 node::NodeArrayBufferAllocator::AllocateUninitialized node -e "
const keep = [];
for (let i = 0; i < 500; i++) keep.push(Buffer.alloc(200000, 1));
console.log('ready');
setTimeout(() => {}, 60000);"
finish programs
