#!/bin/bash
# deb.sh PACKAGE DIR - a Debian package in a bare root: installed, used by an ordinary user, and removed
# with nothing left behind. DIR/cache keeps the root's packages for the next time.
#
# Everything is mounted in a mount namespace of this script's own. Mirrors, keys and proxies are the machine's.
set -euo pipefail
say() { printf 'deb: %s\n' "$*" >&2; }
skip() {
    echo "SKIPPED test-deb: $*"
    echo '0 passed, 0 failed, 1 skipped'
    exit 0
}
[ "$(id -u)" = 0 ] || skip 'needs root'
command -v debootstrap >/dev/null || skip 'no debootstrap'
if [ -z "${DEB_INSIDE:-}" ]; then
    unshare --mount --propagation private -- true || skip 'no right to mount anything here'
    DEB_INSIDE=1 exec unshare --mount --propagation private -- "$0" "$@"
fi
package=$(realpath "$1")
mkdir -p "$2/cache"
dir=$(realpath "$2")
root=$dir/root
user=54321
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:?}")
mirror=$(apt-get indextargets --format '$(REPO_URI)|$(CODENAME)|$(COMPONENT)' 'Created-By: Packages' |
    awk -F'|' -v c="$codename" '$2 == c && $3 == "main" { print $1; exit }')
[ -n "$mirror" ] || skip "this machine's apt has no mirror for $codename main"
trap 'umount --lazy "$root/proc" 2>/dev/null || :' EXIT

rm -rf --one-file-system "$root"
say "a bare $codename in $root"
debootstrap --variant=minbase --include=adduser --cache-dir="$dir/cache" "$codename" "$root" "$mirror" >"$dir/debootstrap.log" 2>&1 ||
    { tail -n 3 "$dir/debootstrap.log" >&2; exit 1; }
mount -t proc proc "$root/proc"
cp "$package" "$root/tmp/tidepool.deb"

passed=0 failed=0
# try NAME USER COMMAND
try() {
    if env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/tmp \
        chroot --userspec="$2:$2" --groups= "$root" sh -ec "$3" </dev/null >"$dir/out" 2>&1; then
        passed=$((passed + 1))
        say "ok: $1"
    else
        failed=$((failed + 1))
        say "FAILED: $1: $3"
        sed 's/^/  /' "$dir/out" >&2
    fi
}
# What dpkg itself keeps, and logs, aside.
files() { (cd "$root" && find . -xdev -path ./proc -prune -o -path ./tmp -prune -o \
    \( -path ./var/lib/dpkg -o -path ./var/log -o -path ./var/cache \) -prune -o -print | sort); }

files >"$dir/before"
try 'it is installed' 0 'dpkg -i /tmp/tidepool.deb'
try 'the machine is checked' $user 'tidepool check | grep "^library *ok */usr/lib/"'
try 'a program runs with it' $user 'tidepool --verbose true 2>&1 | grep "^tidepool: version "'
try 'the loader finds it by its name' $user 'TIDEPOOL_VERBOSE=1 LD_PRELOAD=libtidepool.so /bin/true 2>&1 | grep "^tidepool: version "'
try "the examples' library is there" $user 'env TIDEPOOL_VERBOSE=1 "$(grep ^LD_PRELOAD= /usr/share/doc/tidepool/examples/systemd/tidepool.env)" /bin/true 2>&1 |
    grep "^tidepool: version "'
try 'metrics are written' $user 'mkdir -p /tmp/m; tidepool --prom-dir=/tmp/m --prom-interval=1s sleep 60 &
    until grep -qs tidepool_memory_usage_ratio /tmp/m/*.prom; do kill -0 $! || exit 1; sleep 0.1; done; kill $!'
try 'a profile is taken' $user 'tidepool --sample-dump=exit --sample-dir=/tmp perl -e "@x = map { q(x) x 3000 } 1 .. 9000" && ls /tmp/tidepool-*.heap &&
    tidepool report /tmp/tidepool-*.heap'
try 'the files for others are there' $user 'ls /usr/share/tidepool/prometheus/rules.yml /usr/share/tidepool/grafana/tidepool.json \
    /usr/include/tidepool.h /usr/share/doc/tidepool/examples/systemd/tidepool.conf'
# Links, and paths of the system or of the sources.
try 'what its documents name is there' $user 'cd /usr/share/doc/tidepool
    find . -name "*.md*" | while read -r f; do
        zcat -f "$f" | sed -nE "s/\]\(http[^)]*//g; s/\`(\/usr\/share\/|export\/[a-z]+\/)/](\1/g; s/\]\(/\n&/g; p" |
            sed -nE "s|^\]\((/[^)#\` ]+).*|\1|p; t; s|^\]\(([^)#\` ]+).*|$(dirname "$f")/\1|p"
    done | sort -u >/tmp/named
    test "$(wc -l </tmp/named)" -gt 15
    xargs ls -d </tmp/named'
try 'its changes are told' $user 'zcat -f /usr/share/doc/tidepool/changelog.gz | grep -q /usr/share/doc/tidepool/CHANGES
    grep -q "^0.1.0" /usr/share/doc/tidepool/CHANGES'
try 'all licences are in it' $user 'grep -q "^ Permission is hereby granted" /usr/share/doc/tidepool/copyright
    grep -A 20 "^License: BSD-2-Clause" /usr/share/doc/tidepool/copyright | grep -q "^ 2. Redistributions in binary form must"'
try "it wants the C library of README.md" $user 'wanted=$(zcat -f /usr/share/doc/tidepool/README.md* | sed -n "s/.*glibc (\([0-9.]*\)).*/\1/p")
    dpkg-query -W -f "\${Depends}\n" tidepool | grep -F "libc6 (>= $wanted)"'
try 'nothing is preloaded by its installation' 0 '! grep -q tidepool /etc/ld.so.preload /proc/self/maps 2>/dev/null'
try 'it is removed' 0 'dpkg -P tidepool'
files >"$dir/after"
if diff "$dir/before" "$dir/after" >"$dir/left"; then
    passed=$((passed + 1))
    say 'ok: nothing is left behind'
else
    failed=$((failed + 1))
    say 'FAILED: left behind:'
    cat "$dir/left" >&2
fi
rm -rf --one-file-system "$root/tmp/m"
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
