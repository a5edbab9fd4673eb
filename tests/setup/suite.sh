#!/bin/bash
# suite.sh NAME RESULTS PROGRAM [ARG...] [--- PROGRAM [ARG...]]...
#   runs every program, whatever the ones before it did, and appends `NAME passed failed skipped` to
#   the file RESULTS. Fails when a test failed or when there was nothing to run.
# suite.sh --total RESULTS
#   adds the lines of RESULTS up: `N passed, N failed, N skipped`. Fails when one failed or none ran.
#
# What a program counts for: Criterion's synthesis; else the last line `[NAME: ]N passed, N failed[, N
# skipped]` that it prints; else its exit status, as one test. Unless that line counts them, each
# line starting with SKIPPED is one skipped, and so is Criterion's [SKIP], which it says only under
# --verbose. Whatever a program prints, ending non-zero is at least one failure.
#
# Names of tests that run (Criterion's [RUN]) or passed (`  ok NAME`, for which VERBOSE asks) are shown
# as progress: on a terminal in one line that the next replaces, in a log one every few seconds.
set -u
limit=${TEST_TIMEOUT:-600}
every=${PROGRESS_S:-5}
export VERBOSE=1

# Reads a program's output; prints `passed failed skipped`. rc is its exit status.
count() {
    sed 's/\x1b\[[0-9;]*m//g' | awk -v rc="$1" '
        /Synthesis: Tested: / {
            gsub(/[^0-9 ]/, " ")
            criterion = 1; passed += $2; failed += $1 - $2; next
        }
        /^([a-z_0-9-]+: )?[0-9]+ passed, [0-9]+ failed/ {
            sub(/^[^ ]*: /, "")
            own = 1; p = $1; f = $3; s = NF > 4 ? $5 : -1; next
        }
        /^ *SKIPPED/ || (/^\[SKIP\]/ && !/Test is disabled$/) { skipped++ }
        END {
            if (own) { passed += p; failed += f; if (s >= 0) skipped = s }
            else if (!criterion && rc == 0 && !skipped) passed = 1
            if (rc != 0 && !failed) failed = 1
            print passed + 0, failed + 0, skipped + 0
        }'
}

total() {
    awk '{ p += $2; f += $3; s += $4 }
        END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 || p == 0 }' "$1"
}

# Says on which test we are.
progress() {
    local text="$name: $1"
    if [ "$terminal" ]; then
        printf '\r\033[K%s' "${text:0:columns-1}"
    elif [ "${EPOCHREALTIME/[.,]/}" -ge "$next" ]; then
        next=$((${EPOCHREALTIME/[.,]/} + every * 1000000))
        printf '  %s\n' "$text"
    fi
}

wipe() { [ -z "$terminal" ] || printf '\r\033[K'; }

show() {
    local line
    while IFS= read -r line; do
        case $line in
            '[RUN '*) progress "${line#*] }" ;;
            '  ok '*) progress "${line##  ok*( )}" ;;
            '[PASS'* | '[====] '* | '[----] Criterion v'* | *'Test is disabled') ;;
            *) wipe && printf '%s\n' "$line" ;;
        esac
    done
}

run() {
    local start=$SECONDS rc p f s program=$1
    case $1 in sh | bash | python3) program=$2 ;; esac
    progress "${program##*/}"
    timeout -k 10 "$limit" "$@" 2>&1 | tee "$out" | show
    rc=${PIPESTATUS[0]}
    wipe
    [ "$rc" != 124 ] || echo "$name: ${1##*/}: took more than $limit s"
    read -r p f s < <(count "$rc" <"$out")
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    [ "$rc" = 0 ] || echo "$name: FAILED: $* (status $rc, $((SECONDS - start)) s)"
}

if [ "${1:-}" = --total ]; then
    touch "$2"
    total "$2"
    exit
fi
name=$1 results=$2
shift 2
mkdir -p "$(dirname "$results")"
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
passed=0 failed=0 skipped=0 next=0 terminal= columns=80
shopt -s extglob
if [ -t 1 ] && [ "${TERM:-dumb}" != dumb ]; then
    terminal=1 columns=$(stty size <&1 2>/dev/null | cut -d ' ' -f 2)
    [ "${columns:-0}" -gt 10 ] || columns=80
fi

while [ $# -gt 0 ]; do
    command=()
    while [ $# -gt 0 ] && [ "$1" != --- ]; do
        command+=("$1")
        shift
    done
    [ $# -eq 0 ] || shift
    [ ${#command[@]} -eq 0 ] || run "${command[@]}"
done
if [ $((passed + failed + skipped)) = 0 ]; then
    echo "$name: FAILED: no test ran"
    failed=1
fi
echo "$name $passed $failed $skipped" >>"$results"
printf '%-8s %d passed, %d failed, %d skipped\n' "$name:" "$passed" "$failed" "$skipped"
[ "$failed" = 0 ]
