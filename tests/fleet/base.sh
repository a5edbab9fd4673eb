#!/bin/bash
# base.sh FILE - a bare Debian with this machine's way to its mirrors, as a tar file for `podman import`; nothing is
# done where the file is there. Needs root and debootstrap.
set -euo pipefail
[ ! -e "$1" ] || exit 0
root=$(mktemp -d "$1.XXXXXX")
trap 'rm -rf --one-file-system "$root"' EXIT
trap 'exit 130' INT TERM
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:?}")
mirror=$(apt-get indextargets --format '$(REPO_URI)|$(CODENAME)|$(COMPONENT)' 'Created-By: Packages' |
    awk -F'|' -v c="$codename" '$2 == c && $3 == "main" { print $1; exit }')
debootstrap --variant=minbase "$codename" "$root" "$mirror" >"$1.log" 2>&1
cp -a /etc/apt/. "$root/etc/apt/"
rm -f "$root"/etc/apt/apt.conf.d/docker-*
cp -a /usr/share/keyrings/. "$root/usr/share/keyrings/"
mkdir -p "$root/etc/ssl"
[ ! -d /etc/ssl/certs ] || cp -a /etc/ssl/certs "$root/etc/ssl/"
rm -rf "$root"/var/cache/apt/archives/*.deb
tar -C "$root" -cf "$1.part" .
mv "$1.part" "$1"
