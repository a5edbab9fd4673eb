#!/bin/bash
# fresh.sh DIR [short] - does a stranger's first minute work? Debootstraps a bare Debian into DIR/root,
# clones HEAD into it, below a folder of mode 700, and runs the first `sh` block below the README's
# heading "## Two commands" there, line by line as it stands. Then a user without sudo runs `make test`
# in a clone of their own, in a path with blanks. DIR/cache keeps the packages for the next time.
#
# `short`, for CI: one round of the demo, and the user runs no race tests.
#
# Everything is mounted in a mount namespace of this script's own, so that nothing stays behind on
# the machine however it ends. Mirrors, keys and proxies are the machine's.
set -euo pipefail
heading='## Two commands'
say() { printf 'fresh: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

cd "$(dirname "$0")/../.."
skip() {
    echo "SKIPPED test-fresh: $*"
    echo '0 passed, 0 failed, 1 skipped'
    exit 0
}
[ "$(id -u)" = 0 ] || skip 'needs root: sudo make test-fresh'
command -v debootstrap >/dev/null || skip 'no debootstrap, nor the right to install it'
if [ -z "${FRESH_INSIDE:-}" ]; then
    unshare --mount --propagation private -- true || skip 'no right to mount anything here'
    FRESH_INSIDE=1 exec unshare --mount --propagation private -- "$0" "$@"
fi

mkdir -p "$1"
dir=$(realpath "$1")
root=$dir/root
tree=/root/tidepool
user=54320 user_home=/home/stranger
user_tree="$user_home/a tree"
short=${2:-}
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:?}")

commands=$(awk -v h="$heading" '
    $0 == h { here = 1; next }
    here && /^## / { exit }
    here && /^```sh/ { block = 1; next }
    block && /^```/ { exit }
    block' README.md)
[ -n "$commands" ] || die "README.md has no sh block below '$heading'"

cleanup() {
    local status=$? m
    for m in sys dev proc var/cache/apt/archives; do
        if mountpoint -q "$root/$m"; then umount --recursive --lazy "$root/$m"; fi
    done
    exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM

mirror=$(apt-get indextargets --format '$(REPO_URI)|$(CODENAME)|$(COMPONENT)' 'Created-By: Packages' |
    awk -F'|' -v c="$codename" '$2 == c && $3 == "main" { print $1; exit }')
[ -n "$mirror" ] || die "this machine's apt has no mirror for $codename main"

say "a bare $codename in $root"
mkdir -p "$dir/cache/debootstrap" "$dir/cache/apt"
rm -rf --one-file-system "$root"
debootstrap --variant=minbase --cache-dir="$dir/cache/debootstrap" "$codename" "$root" "$mirror" \
    >"$dir/debootstrap.log" 2>&1 || die "debootstrap: $(tail -n 3 "$dir/debootstrap.log")"

# The machine's way to its mirrors, without what container images add to keep themselves small: that
# would empty the cache after every installation.
cp -a /etc/apt/. "$root/etc/apt/"
rm -f "$root"/etc/apt/apt.conf.d/docker-*
cp -a /usr/share/keyrings/. "$root/usr/share/keyrings/"
for file in /etc/resolv.conf /etc/hosts; do
    if [ -e "$file" ]; then cp -L "$file" "$root$file"; fi
done
if [ -d /etc/ssl/certs ]; then mkdir -p "$root/etc/ssl" && cp -a /etc/ssl/certs "$root/etc/ssl/"; fi
echo 'APT::Keep-Downloaded-Packages "true";' >"$root/etc/apt/apt.conf.d/99keep"

mount --bind "$dir/cache/apt" "$root/var/cache/apt/archives"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
chmod 700 "$root/root"
git clone -q --no-hardlinks . "$root$tree"
install -d -m 700 "$root$user_home"
git clone -q --no-hardlinks . "$root$user_tree"
chown -R $user:$user "$root$user_home"
if [ -n "$(git status --porcelain)" ]; then say 'note: what is not committed is not tested'; fi

# A login's environment, and the proxies that this machine has.
environment=(HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}"
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
for name in http_proxy https_proxy no_proxy; do
    if [ -n "${!name:-}" ]; then environment+=("$name=${!name}"); fi
done
if [ "$short" ]; then environment+=(DEMO_RUNS=1); fi
passed=0 failed=0
# run NAME ID FOLDER COMMAND: there, as that user and group, of no other group.
run() {
    local start=$SECONDS
    say "\$ $4$1"
    if timeout "${FRESH_TIMEOUT:-900}" env -i "${environment[@]}" \
        chroot --userspec="$2:$2" --groups= "$root" sh -c "cd '$3' && $4" </dev/null; then
        passed=$((passed + 1))
        say "ok, $((SECONDS - start)) s"
    else
        failed=$((failed + 1))
        say "FAILED: $4$1"
    fi
}
step() { run '' 0 "$tree" "$1"; }
step_as_user() { run ' (a user without sudo)' $user "$user_tree" "$1"; }

# An installed Debian has package lists and, at the least, make; this one has neither.
step 'apt-get -qq update'
case $commands in
    *install*make*) ;;
    *)
        step 'apt-get install -y make'
        step 'make 2>&1 | grep "^missing: gcc libc6-dev binutils libjemalloc-dev: "'
        ;;
esac
while read -r line; do
    if [ -n "$line" ]; then step "$line"; fi
done <<<"$commands"
step 'make deb'
step_as_user "make test${short:+ SUITES='unit preload'}"
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
