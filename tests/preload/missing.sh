# What the build lacks is said in one line, all of it, and before anything is compiled: a copy of the sources is
# built with a PATH that leaves programs out.
#
#   sh tests/preload/missing.sh
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0

mkdir "$tmp/tree" "$tmp/bin"
(cd "$root" && cp -r Makefile shim pool pressure mfile export "$tmp/tree")
ln -s /usr/bin/* "$tmp/bin"
rm -f "$tmp"/bin/cc "$tmp"/bin/*gcc* "$tmp"/bin/*objcopy

# lacks 'PACKAGE...' PATH [VARIABLE=value...]
lacks() {
    names=$1 path=$2
    shift 2
    echo "missing: $names: apt-get install $names, or make setup for all targets" >"$tmp/want"
    env -u MAKEFLAGS -u MAKELEVEL -u CC -u V -u SAN PATH="$path" make -C "$tmp/tree" --no-print-directory "$@" >"$tmp/out" 2>&1
    if sed '/^make: /d' "$tmp/out" | diff "$tmp/want" - >"$tmp/diff"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "  FAILED  without $names"
        sed 's/^/          /' "$tmp/diff"
    fi
}
lacks 'gcc libc6-dev binutils libjemalloc-dev' "$tmp/bin" JEMALLOC_A=
lacks 'gcc libc6-dev binutils' "$tmp/bin"
lacks libjemalloc-dev "$PATH" JEMALLOC_A=
printf '#!/bin/sh\nexec gcc -nostdinc "$@"\n' >"$tmp/bare" && chmod +x "$tmp/bare"
lacks libc6-dev "$PATH" CC="$tmp/bare"

echo "missing: $passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
