# Runs real, unmodified programs once as they are and once under the preload, and compares all they print.
#
#   LIB=$PWD/build/release/libtidepool.so sh tests/programs/run.sh [bash git ...]
#   JOBS=2        programs at a time
#   PRIVATE=off   with the public interface of jemalloc alone
#
# A file of this folder is a family of programs; its line "# programs:" names them, and a function
# prog_NAME in it does the work, with `under` before each command that is on trial.
set -u
here=$(cd "$(dirname "$0")" && pwd)
known=$(sed -n 's/^# programs: //p' "$here"/[a-z]*.sh)
# The longest first, so that the others fill the time beside it.
names=${*:-python3 $(echo $known | tr ' ' '\n' | grep -vx python3)}
for name in $names; do
    echo " $(echo $known) " | grep -q " $name " || { echo "no program is called $name; there are:" $known >&2; exit 2; }
done

[ -z "${PRIVATE:-}" ] || export TIDEPOOL_PRIVATE="$PRIVATE"

rows=$(mktemp -d) || exit 1
trap 'rm -rf "$rows"' EXIT
# Readable for the users that servers turn into, whatever folder it was built in.
chmod 755 "$rows"
cp "$LIB" "$rows/$(basename "$LIB")" && chmod 755 "$rows/$(basename "$LIB")" || exit 1
LIB=$rows/$(basename "$LIB")
LD_PRELOAD=$LIB cat /proc/self/maps | grep -qF "$LIB" || { echo "$LIB cannot be preloaded" >&2; exit 1; }

printf '  %-16s %-8s %9s %9s\n' program result plain preload
printf '%s\n' $names | LIB=$LIB ROWS=$rows xargs -n 1 -P "${JOBS:-2}" sh "$here/lib/one.sh"

count() { cat "$rows"/*.result 2>/dev/null | grep -c "^$1"; }
passed=$(count passed) failed=$(count failed) skipped=$(count skipped)
[ "$skipped" = 0 ] || echo "  SKIPPED $skipped: what is missing is in tests/setup/packages, group programs"
# Who died without a word has failed, too.
failed=$((failed + $(echo $names | wc -w) - passed - failed - skipped))
echo "programs: $passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
