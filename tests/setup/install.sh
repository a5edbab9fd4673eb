#!/bin/sh
# install.sh GROUP... - installs what the groups of tests/setup/packages need and this machine lacks.
#
# Says in one line what it installs, and nothing at all when everything is there. Package lists are
# refreshed only when apt cannot do without. Services that come with a package are not started.
set -eu

here=$(dirname "$0")
log=build/setup.log
say() { printf 'setup: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}
wanted() {
    for group; do
        awk -v group="$group" '$1 == group { print $2; n++ } END { exit !n }' "$here/packages" ||
            die "no group '$group' in $here/packages"
    done
}

packages=$(wanted "$@") || exit 1
if ! command -v dpkg-query >/dev/null 2>&1; then
    # Not Debian's family: everything may be there under other names, so the build decides.
    say "SKIPPED: no dpkg here. Debian's names for what is needed:" $packages
    exit 0
fi
# dpkg-query ends non-zero when it does not know a name, which is the answer we ask for.
have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $packages 2>/dev/null |
    sed -n 's/^installed //p' || true)
missing=
for p in $packages; do
    case " $(echo $have) $missing " in
        *" $p "*) ;;
        *) missing="${missing:+$missing }$p" ;;
    esac
done
[ -n "$missing" ] || exit 0

by_hand="apt-get install --no-install-recommends $missing"
command -v apt-get >/dev/null 2>&1 || die "missing and no apt-get to fetch it: $missing"
sudo=
if [ "$(id -u)" != 0 ]; then
    # One that wants a password, where there is no terminal to type it on, is none.
    sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null 2>&1; } ||
        die "missing, and neither root nor sudo here; as root: $by_hand"
    sudo=sudo
fi
say "installing $missing${sudo:+ (with sudo)}"

# Debian asks policy-rc.d before a package starts its service. The machine's own one stays.
policy=/usr/sbin/policy-rc.d
ours=
cleanup() {
    if [ -n "$ours" ]; then $sudo rm -f "$policy"; fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM
if [ ! -e "$policy" ]; then
    ours=1
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod 755 "$policy"
fi

apt() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 \
        -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o Dpkg::Use-Pty=0 \
        "$@" >>"$log" 2>&1
}
install_missing() { apt install --no-install-recommends $missing; }

mkdir -p "$(dirname "$log")"
: >"$log"
# Lists that are absent, or older than the archive, make this fail: then refresh them once.
if ! install_missing; then
    say 'apt needs fresh package lists'
    if ! apt update || ! install_missing; then
        say "apt-get could not install them (no network?); it said:"
        grep -E '^[EW]: ' "$log" | tail -n 3 >&2 || tail -n 3 "$log" >&2
        die "all of it is in $log; by hand: $by_hand"
    fi
fi
