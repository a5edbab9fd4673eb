# one.sh NAME: runs one program both ways and leaves a row. Called by run.sh with LIB and ROWS.
set -u
name=$1
here=$(cd "$(dirname "$0")/.." && pwd)
family=$(grep -lE "^# programs:.* $(echo "$name" | sed "s/+/[+]/g")( |\$)" "$here"/[a-z]*.sh)
work=$(mktemp -d "${TMPDIR:-/tmp}/programs.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
ulimit -c 0

row() {
    echo "$2" >"$ROWS/$name.result"
    printf '  %-16s %-8s %8ss %8ss  %s\n' "$name" "$2" "${plain_time:--}" "${preload_time:--}" "${3:-}"
}
now() { date +%s%N; }

# Both ways in a folder of the same name, because some programs print or record where they are.
run() {
    way=$1
    rm -rf "$work/here" && mkdir "$work/here" && chmod 755 "$work/here"
    start=$(now)
    (cd "$work/here" && PRELOAD=$2 TREE=$here/../.. HOME=$work/here LC_ALL=C timeout -k 5 "${LIMIT:-300}" \
        sh -eu -c '. "$1/lib/common.sh"; . "$2"; "prog_$(echo "$3" | tr +- _)"' - "$here" "$family" "$name" \
        >"$work/$way.out" 2>"$work/$way.err" 3>"$work/missing")
    status=$?
    tenths=$((($(now) - start) / 100000000))
    eval "${way}_time=$((tenths / 10)).$((tenths % 10)) ${way}_status=$status"
}

run plain ''
if [ -s "$work/missing" ]; then
    row "$name" skipped "SKIPPED: no $(tr '\n' ' ' <"$work/missing")"
    exit 0
fi
if [ "$plain_status" != 0 ]; then
    row "$name" failed "ended with $plain_status even without the library"
    tail -n 15 "$work/plain.out" "$work/plain.err" | sed 's/^/      /'
    exit 0
fi
run preload "$LIB"
if [ "$preload_status" != 0 ]; then
    row "$name" failed "ended with $preload_status"
    tail -n 15 "$work/preload.out" "$work/preload.err" | sed 's/^/      /'
elif ! cmp -s "$work/plain.out" "$work/preload.out"; then
    row "$name" failed "prints something else"
    diff "$work/plain.out" "$work/preload.out" | head -n 15 | sed 's/^/      /'
elif grep -E '^tidepool: |<jemalloc>' "$work/preload.err" >"$work/said"; then
    row "$name" failed "the library complained"
    head -n 5 "$work/said" | sed 's/^/      /'
elif [ ! -s "$work/plain.out" ]; then
    row "$name" failed "printed nothing, so nothing was compared"
else
    row "$name" passed
fi
exit 0
