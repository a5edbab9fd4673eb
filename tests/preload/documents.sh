# What the guides and tidepool(7) say of settings and metrics is what the code has: every name, every default, and
# no name that is not there; README.md has a few of them. Every line that the library can print is in
# troubleshooting.md, links lead somewhere, and sentences are short.
#
#   B=$PWD/build/release sh tests/preload/documents.sh
set -u
B=${B:-$PWD/build/release}
root=$(dirname "$0")/../..
readme=$root/README.md manual=$root/shim/man/tidepool.7 guides=$root/shim/man/guides
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0

# same WHAT FILE: it lists what the code has.
same() {
    if diff "$tmp/code" "$2" >"$tmp/diff"; then passed=$((passed + 1)); return; fi
    failed=$((failed + 1))
    echo "  FAILED  $1: < in the code, > in the document"
    sed 's/^/          /' "$tmp/diff"
}

# NAME DEFAULT, a line each.
"$B/tidepool" --help-all | awk '/^  --/ { name = $2 } /^      default: / { sub(/^ *default: /, ""); sub(/;.*/, ""); print name, $0 }' |
    sort >"$tmp/code"
[ "$(wc -l <"$tmp/code")" -gt 30 ] || { echo "  FAILED  --help-all lists no settings"; exit 1; }
table() { sed -n 's/^| `\(TIDEPOOL_[A-Z_]*\)` | `\([^`]*\)` |.*/\1 \2/p' "$1" | sort; }
table "$guides/settings.md" >"$tmp/settings"
sed -n 's/^\.BR \(TIDEPOOL_[A-Z_]*\) " (" \(.*\) )$/\1 \2/p' "$manual" | sort >"$tmp/manual"
same 'settings of settings.md' "$tmp/settings"
# README.md's are some of them.
{ table "$readme"; cat "$tmp/code"; } | sort -u >"$tmp/readme"
same 'settings of README.md' "$tmp/readme"
same 'settings of tidepool.7' "$tmp/manual"

cut -d ' ' -f 1 "$tmp/code" >"$tmp/names" && mv "$tmp/names" "$tmp/code"
# Former names are still taken; a document need not tell them.
formerly=$("$B/tidepool" --help-all | sed -n 's/^ *formerly: .* //p')
# In running text no others.
for document in README.md shim/man/tidepool.7 shim/man/tidepool.1 $(cd "$root" && ls shim/man/guides/*.md); do
    # One is misspelt on purpose.
    { grep -oh 'TIDEPOOL_[A-Z_]*[A-Z]' "$root/$document" | grep -vxF -e TIDEPOOL_BUKETS -e "$formerly"; cat "$tmp/code"; } | sort -u >"$tmp/names"
    same "names in $document" "$tmp/names"
done

# Metrics stand there without their prefix where many have it.
sed -n 's/^ *{"tidepool_\([a-z_]*\)", [A-Z]*,.*/\1/p' "$root/export/families.c" | sort >"$tmp/code"
[ "$(wc -l <"$tmp/code")" -gt 40 ] || { echo "  FAILED  families.c lists no metrics"; exit 1; }
for document in "$guides/metrics.md" "$manual"; do
    while read -r name; do
        plain=$(echo "$name" | sed -E 's/^(pool|memory|mfile|jemalloc|heap)_//')
        case $name in jemalloc_*) plain="${plain%_bytes}(_bytes)?" ;; esac
        ! grep -qE "(^|[^a-z_])(tidepool_)?($name|$plain)([^a-z_]|\$)" "$document" || echo "$name"
    done <"$tmp/code" >"$tmp/told"
    same "metrics of $(basename "$document")" "$tmp/told"
done

# A time that is 0 before the first event is asked for with what leaves 0 out.
grep -rhoE 'time\(\) - \(?tidepool_[a-z_]*seconds( > 0\))?' "$readme" "$root/shim/man" "$root/export" >"$tmp/times"
sed -E 's/- \(?(tidepool_[a-z_]*).*/- (\1 > 0)/' "$tmp/times" >"$tmp/code"
[ -s "$tmp/code" ] || { echo "  FAILED  no query has time()"; exit 1; }
same 'times since an event' "$tmp/times"

# The package is where `make deb` puts it.
sed -n 's|^VERSION *:= *\(.*\)|build/deb/tidepool_\1_|p' "$root/Makefile" >"$tmp/code"
grep -o 'build/[a-z/]*tidepool_[0-9.]*_' "$readme" >"$tmp/package"
same 'package of README.md' "$tmp/package"

if python3 "$root/tests/preload/lines.py" "$root"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi

echo "documents: $passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
