# `make test` tells from the first second on which test it is at, by name: in a log by a line every few seconds, on a
# terminal by one line that the next replaces. What Criterion says of tests that passed is left out.
#
#   sh tests/preload/progress.sh
set -u
suite=$(cd "$(dirname "$0")/../setup" && pwd)/suite.sh
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
is() {
    if [ "$2" = "$3" ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "  FAILED  $1: $2, not $3"; fi
}

cat >"$tmp/tests.sh" <<'END'
echo '[RUN ] pool::keeps'
sleep 1.2
echo '  ok      fork, then threads'
echo '[PASS] pool::keeps: (0.01s)'
echo '  FAILED  another'
echo '[====] Synthesis: Tested: 2 | Passing: 1 | Failing: 1 | Crashing: 0'
exit 1
END
PROGRESS_S=1 bash "$suite" demo "$tmp/results" sh "$tmp/tests.sh" >"$tmp/log"
is 'a log' "$(sed 's/, [0-9]* s)/, N s)/; s|sh /.*/tests.sh|sh tests.sh|' "$tmp/log")" '  demo: tests.sh
  demo: fork, then threads
  FAILED  another
demo: FAILED: sh tests.sh (status 1, N s)
demo:    1 passed, 1 failed, 0 skipped'
script -qec "TERM=vt100 bash '$suite' demo '$tmp/results' sh '$tmp/tests.sh'" /dev/null </dev/null | tr '\r' '\n' | tr -d '\033' |
    sed -n 's/^\[K//p' | head -n 4 >"$tmp/screen"
is 'a terminal' "$(cat "$tmp/screen")" 'demo: tests.sh
demo: pool::keeps
demo: fork, then threads
  FAILED  another'
echo "progress: $passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
