# Every `sh` block of README.md and the guides runs as it stands, in an empty folder and with tidepool in PATH.
# A block that starts a server is ended after some seconds. One that names a program which is not here is skipped,
# and so are the two commands, which tests/fresh runs. No block's server listens beyond the machine.
#
#   B=$PWD/build/release sh tests/preload/guides.sh
set -u
B=${B:-$PWD/build/release}
root=$(cd "$(dirname "$0")/../.." && pwd)
limit=${GUIDE_TIMEOUT:-12}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0 skipped=0

# Folders that documents name lie in the test's own, and ports are of no other test.
port=$((20000 + $$ % 10000))
adapted() {
    port=$((port + 1))
    sed "s|/tmp/|$tmp/run/|g; s|--port 700[0-9]|--port $port|g; s|127.0.0.1:9100|127.0.0.1:$((port + 10000))|" "$1"
}

mkdir "$tmp/bin" && ln -s "$B/tidepool" "$tmp/bin/tidepool"
for document in "$root/README.md" "$root"/shim/man/guides/*.md; do
    awk -v out="$tmp/block" '
        /^## / { heading = $0 }
        /^```sh$/ { if (heading != "## Two commands") file = sprintf("%s.%02d", out, ++n); next }
        /^```/ { file = ""; next }
        file { print > file }' "$document"
    for block in "$tmp"/block.*; do
        [ -e "$block" ] || continue
        what="$(basename "$document"): $(head -n 1 "$block")"
        missing=
        for program in redis-server prometheus-node-exporter python3; do
            ! grep -q "$program" "$block" || command -v $program >/dev/null || missing=$program
        done
        if [ -n "$missing" ]; then
            skipped=$((skipped + 1))
            echo "  SKIPPED $what: no $missing"
            rm "$block"
            continue
        fi
        if grep -E 'redis-server .*--port|prometheus-node-exporter' "$block" | grep -vF 127.0.0.1; then
            failed=$((failed + 1))
            echo "  FAILED  $what: listens to all the world"
        fi
        rm -rf "$tmp/run" && mkdir "$tmp/run"
        adapted "$block" >"$tmp/script"
        (cd "$tmp/run" && PATH="$tmp/bin:$PATH" timeout -s KILL "$limit" sh -e "$tmp/script" >"$tmp/out" 2>&1 </dev/null)
        status=$?
        # 137: it was still running, as a server does, and all of it was killed. Nothing of ours may have complained.
        if { [ $status = 0 ] || [ $status = 137 ]; } && ! grep -E '^tidepool: ' "$tmp/out" | grep -qvE '^tidepool: (version|events|heap profile)'; then
            passed=$((passed + 1))
            [ -z "${VERBOSE:-}" ] || echo "  ok      $what"
        else
            failed=$((failed + 1))
            echo "  FAILED  $what: ended with $status"
            sed 's/^/          /' "$tmp/out"
        fi
        rm "$block"
    done
done
# Where programs are missing, blocks are skipped; but all of them have to be found, and some to run.
found=$((passed + failed + skipped))
[ $found -gt 3 ] && [ $passed -gt 0 ] || { failed=$((failed + 1)); echo "  FAILED  only $found blocks found, $passed ran"; }
echo "guides: $passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
